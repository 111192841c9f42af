"""Samples -> additive facts per asset, shift, hour and product.

A window is cut at every shift, break, hour, production day and change of product; every station below (time elements,
counters, meters) is a function of time that can be read at any cut, so facts of a window equal the sum of the facts of
any split of it, to the nanosecond and the millionth of a piece. Rules: docs/kpi-rules.md.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from config.plant import Asset, Plant, Point
from config.schema import COUNTS, ELEMENTS, FACT, NS, SAMPLE, require
from kpis import calendar, states
from kpis.cells import Cells, Planned, cut, labels, planned
from kpis.counters import Counters, Steps
from kpis.elements import elements
from kpis.intervals import (
    UNKNOWN,
    UNMAPPED,
    Ints,
    Timeline,
    constant,
    merged,
    nulls,
    resolve,
    series,
    timeline,
    words,
)

FACT_KEYS = ("asset", "shift", "date", "hour", "product", "ideal_cycle")
MICRO_STOP = UNMAPPED + 1
"""Code of the part of `delay` that micro-stops take."""
_CODES = MICRO_STOP + 1
_NOT_CONTROLLED = ("", "0", "0.0", "-0.0", "off", "false", "manual")

Column = Ints | pl.Series
Columns = dict[str, Column]


@dataclass(slots=True)
class Accounts:
    """Computes facts of windows that follow each other, and keeps from one to the next what must be carried."""

    plant: Plant
    assets: Sequence[Asset]
    stops: dict[str, int] = field(default_factory=dict)
    """When the stop of an asset began that went on at the last window's end [ns]."""
    points: dict[str, list[Point]] = field(default_factory=lambda: defaultdict(list))
    margin: int = 0

    def __post_init__(self) -> None:
        """Sort the points by their assets."""
        for point in self.plant.points:
            self.points[point.asset].append(point)
        self.margin = states.margin(self.plant)

    def window(self, counters: Counters, start: int, end: int) -> pl.DataFrame:
        """Return the FACT rows of [start, end) [ns since 1970, UTC].

        counters: the points' samples inside, and around it what `kpis.states.margin` and rule 4 ask for.
        """
        calendars: dict[tuple[int, ...], Planned] = {}
        rows: list[tuple[Asset, Columns]] = []
        for asset in self.assets:
            covering = tuple(n for n, c in enumerate(self.plant.calendars) if c.covers(asset.asset))
            if covering not in calendars:
                calendars[covering] = planned(self.plant, asset.asset, start, end)
            account = _Account(self, asset, counters, calendars[covering])
            rows.append((asset, account.columns()))
            self.stops.pop(asset.asset, None)
            if account.open_stop is not None:
                self.stops[asset.asset] = account.open_stop
        return _summed(rows)


def facts(
    plant: Plant,
    samples: pl.DataFrame,
    start: int,
    end: int,
    assets: Iterable[str] | None = None,
    executor: Executor | None = None,
) -> pl.DataFrame:
    """Return the FACT rows of [start, end), with `energy.<medium>` and `metered.<medium>` columns for meters.

    samples: a SAMPLE frame in any order; for exact borders it holds, per point, the last good row before the window
    and the first one after it, and what lies within `kpis.states.margin` of it. start, end: [ns since 1970, UTC].
    assets: ids; default all. executor: computes the assets side by side; an asset's facts do not depend on others.
    Raises SchemaError where `samples` is not a SAMPLE frame.
    """
    require(samples, SAMPLE, "samples")
    wanted = set(assets) if assets is not None else None
    chosen = [a for a in plant.assets if wanted is None or a.asset in wanted]
    if executor is None:
        found = series(resolve(samples), uncertain_is_good=plant.uncertain == "good")
        return Accounts(plant, chosen).window(Counters(plant, found), start, end)
    own = [samples.filter(pl.col("point").is_in([p.point for p in plant.points_of(a.asset)])) for a in chosen]
    n = len(chosen)
    frames = list(executor.map(_alone, [plant] * n, chosen, own, [start] * n, [end] * n))
    return pl.concat([pl.DataFrame(schema=dict(FACT)), *frames], how="diagonal")


def _alone(plant: Plant, asset: Asset, samples: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    found = series(resolve(samples), uncertain_is_good=plant.uncertain == "good")
    return Accounts(plant, [asset]).window(Counters(plant, found), start, end)


def _summed(rows: Sequence[tuple[Asset, Columns]]) -> pl.DataFrame:
    """Return the assets' cells summed up per FACT_KEYS."""
    names = list(dict.fromkeys([*FACT, *(name for _, columns in rows for name in columns)]))
    kinds = {name: FACT.get(name, pl.Int64() if name.startswith("energy.") else NS) for name in names}
    heights = [len(columns["start"]) for _, columns in rows]
    cells = {name: _column(name, kinds[name], rows, heights) for name in names if name != "asset"}
    ids = pl.Series([asset.asset for asset, _ in rows], dtype=pl.String).gather(np.repeat(range(len(rows)), heights))
    frame = pl.DataFrame({"asset": ids, **cells})
    return summed_up(frame.select(names))


def summed_up(frame: pl.DataFrame) -> pl.DataFrame:
    """Return FACT rows, or parts of them, summed up per FACT_KEYS."""
    names = frame.columns
    summed = frame.group_by(FACT_KEYS, maintain_order=True).agg(
        pl.min("start"), pl.max("end"), *(_sum(name) for name in names if name not in (*FACT_KEYS, "start", "end"))
    )
    return summed.select(names)


def _column(name: str, kind: pl.DataType, rows: Sequence[tuple[Asset, Columns]], heights: Sequence[int]) -> pl.Series:
    parts = [columns.get(name) for _, columns in rows]
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) == len(parts) > 0:
        return pl.Series(name, np.concatenate(arrays)).cast(kind)
    if all(part is None for part in parts):
        return nulls(sum(heights), kind).alias(name)
    filled = [
        nulls(height, kind) if part is None else pl.Series(part).cast(kind)
        for part, height in zip(parts, heights, strict=True)
    ]
    return pl.concat(filled).alias(name)


def _sum(name: str) -> pl.Expr:
    # The sum of nothing known is nothing known, not zero.
    return pl.when(pl.col(name).is_not_null().any()).then(pl.col(name).sum())


class _Account:
    """One asset's columns over one window."""

    def __init__(self, accounts: Accounts, asset: Asset, counters: Counters, calendar_: Planned) -> None:
        plant = self.plant = accounts.plant
        self.asset, self.counters, self.planned = asset, counters, calendar_
        self.points = accounts.points[asset.asset]
        self.cells = cut(plant, asset, calendar_, labels(self.points, counters.found))
        self.start, self.end = int(self.cells.edges[0]), int(self.cells.edges[-1])
        self.counts = {role: counters.steps(p for p in self.points if p.role == role) for role in COUNTS}
        reach = self.end + accounts.margin
        self.line, self.inferred = elements(plant, asset, self.points, counters, self.start, reach)
        self.open_stop: int | None = None
        self._known_stop = accounts.stops.get(asset.asset)

    def columns(self) -> Columns:
        """Return the FACT columns of the asset's cells, and those of its meters."""
        cells = self.cells
        stops, line = self._stops()
        columns: Columns = {
            "start": cells.edges[:-1],
            "end": cells.edges[1:],
            "date": cells.date,
            "hour": cells.hour,
            "product": cells.product,
            "ideal_cycle": cells.ideal_cycle,
            "shift": cells.shift,
            **self._durations(line),
            **stops,
            **self._counts(),
            **self._control(),
        }
        counters = [s for role in COUNTS for s in self.counts[role]]
        for medium, meters in meters_of(self.points).items():
            of_medium = self.counters.steps(meters)
            columns[f"energy.{medium}"] = self._sums(of_medium, cells.edges)
            columns[f"metered.{medium}"] = metered(meters, self.counters, cells.edges)
            counters += of_medium
        return columns | _events(counters, cells)

    def _stops(self) -> tuple[Columns, Timeline]:
        """Return how many stops begin in each cell, and the elements with micro-stops told apart (rule 21)."""
        begin, end = self.line.runs(states.DELAY)
        if self._known_stop is not None and len(begin) and begin[0] == self.line.edges[0] and end[0] > self.start:
            begin = np.append(min(self._known_stop, int(begin[0])), begin[1:])
        micro = end - begin < self.plant.micro_stop
        first = self._first_planned(begin, end)
        counted_here = (first >= self.start) & (first < np.minimum(end, self.end))
        held = np.flatnonzero((begin < self.end) & (end > self.end))
        self.open_stop = int(begin[held[0]]) if len(held) else None
        columns: Columns = {}
        for name, which in (("stops", ~micro), ("micro_stops", micro)):
            found = np.zeros(len(self.cells.kind), np.int64)
            np.add.at(found, self.cells.within(first[counted_here & which]), 1)
            columns[name] = found
        code = self.line.code.copy()
        code[np.flatnonzero(code == states.DELAY)[micro]] = MICRO_STOP
        return columns, Timeline(self.line.edges, code)

    def _first_planned(self, begin: Ints, end: Ints) -> Ints:
        """Return the first planned instant of each stop, where it lies in the window; else one outside of it."""
        work_begin, work_end = self.planned.work()
        nothing = np.iinfo(np.int64).max
        place = np.searchsorted(work_end, begin, "right")
        following = np.append(work_begin, nothing)[np.minimum(place, len(work_begin))]
        first: Ints = np.maximum(begin, following)
        for n in np.flatnonzero((begin < self.start) & (end > self.start)):  # at most one
            spans = calendar.spans(self.plant, self.asset.asset, int(begin[n]), self.start)
            worked = (spans.kind == calendar.WORK) & (np.diff(spans.edges) > 0)
            first[n] = nothing if worked.any() else np.append(work_begin, nothing)[0]
        return first

    def _durations(self, line: Timeline) -> Columns:
        cells = self.cells
        shared = np.where(cells.work[:, None], line.durations(cells.edges, _CODES), 0)
        length = np.diff(cells.edges)
        unmapped, micro = shared[:, UNMAPPED].copy(), shared[:, MICRO_STOP]
        shared[:, UNKNOWN] += unmapped
        shared[:, states.DELAY] += micro
        columns: Columns = {element: shared[:, n] for n, element in enumerate(ELEMENTS)}
        columns["break"] = np.where(cells.kind == calendar.BREAK, length, 0)
        columns["unscheduled"] = np.where(cells.kind == calendar.UNSCHEDULED, length, 0)
        columns |= {"unmapped": unmapped, "micro_stop": micro.copy()}
        told = shared[:, : len(ELEMENTS)].sum(axis=1) - shared[:, UNKNOWN]
        columns["inferred"] = told if self.inferred else np.zeros_like(told)
        return columns

    def _counts(self) -> Columns:
        """Return the count columns with missing roles filled (rule 13), and their parts in unknown time."""
        columns: dict[str, Ints | None] = {}
        cuts, cell, unknown, starting = self._parts()
        for role in COUNTS:
            columns[role] = columns[f"{role}_unknown"] = None
            if any(p.role == role for p in self.points):
                columns[role] = self._sums(self.counts[role], self.cells.edges)
                columns[f"{role}_unknown"] = self._within(role, cuts, cell, unknown)
        if columns["reject"] is not None:
            columns["reject_startup"] = self._within("reject", cuts, cell, starting)
        for suffix in ("", "_unknown"):
            _fill_missing(columns, suffix)
        if columns["reject"] is not None:
            columns.setdefault("reject_startup", np.zeros(len(self.cells.kind), np.int64))
        return {name: column for name, column in columns.items() if column is not None}

    def _within(self, role: str, cuts: Ints, cell: Ints, which: NDArray[np.bool_]) -> Ints:
        """Return what a role's counters counted in some parts of each cell."""
        found = np.zeros(len(self.cells.kind), np.int64)
        if which.any():
            np.add.at(found, cell[which], self._sums(self.counts[role], cuts)[which])
        return found

    def _parts(self) -> tuple[Ints, Ints, NDArray[np.bool_], NDArray[np.bool_]]:
        """Return cuts at every cell, state and start-up; for each part its cell, and whether it is unknown planned
        time, or start-up."""
        begin, end = states.startups(self.line, self.plant.startup)
        edges = np.concatenate([self.cells.edges, self.line.edges, begin, end])
        cuts = np.unique(np.clip(edges, self.start, self.end))
        cell = self.cells.within(cuts[:-1])
        code = self.line.at(cuts[:-1])
        unknown = ((code == UNKNOWN) | (code == UNMAPPED)) & self.cells.work[cell]
        last = np.searchsorted(begin, cuts[:-1], "right") - 1
        starting = (last >= 0) & (cuts[:-1] < np.append(end, 0)[last])
        return cuts, cell, unknown, starting & ~unknown

    def _sums(self, of: Sequence[Steps], cuts: Ints) -> Ints:
        found = np.zeros(len(cuts) - 1, np.int64)
        for one in of:
            found += np.diff(one.at(cuts))
        return found

    def _control(self) -> Columns:
        """Return the planned time under process control, and that in which this is known (rule 24)."""
        point = next((p for p in self.points if p.role == "apc"), None)
        if point is None:
            return {}
        rows = self.counters.found.get(point.point)
        stretches = constant(rows, point.hold_ns)
        off = np.empty(0, np.bool_)
        if rows is not None:
            off = words(rows, stretches.head).str.to_lowercase().is_in(_NOT_CONTROLLED).to_numpy()
        line = timeline(stretches, off.astype(np.int8), self.start, self.end, unknown=2)
        shared = np.where(self.cells.work[:, None], line.durations(self.cells.edges, 2), 0)
        return {"apc_on": shared[:, 0].copy(), "apc_known": shared.sum(axis=1)}


def _fill_missing(columns: dict[str, Ints | None], suffix: str) -> None:
    total, good, reject = (columns[f"{role}{suffix}"] for role in ("total", "good", "reject"))
    if total is None and good is not None and reject is not None:
        columns[f"total{suffix}"] = good + reject
    elif total is not None and good is not None and reject is None:
        columns[f"reject{suffix}"] = total - good
    elif total is not None and good is None and reject is not None:
        columns[f"good{suffix}"] = total - reject
    elif total is not None and good is None and reject is None:
        columns[f"good{suffix}"] = total


def meters_of(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Return the meters of each medium; power is integrated only where no energy meter counts."""
    media = dict.fromkeys(p.medium for p in points if p.medium is not None)
    energy = {m: [p for p in points if p.role == f"energy.{m}"] for m in media}
    return {m: energy[m] or [p for p in points if p.role == f"power.{m}"] for m in media}


def metered(points: Sequence[Point], counters: Counters, cuts: Ints) -> Ints:
    """Return the time between cuts in which the values of all of some meters were known [ns]."""
    start, end = int(cuts[0]), int(cuts[-1])
    both, *others = (timeline(counters.known(point), 0, start, end, unknown=1) for point in points)
    for line in others:
        edges = np.union1d(both.edges, line.edges)
        both = merged(edges, np.maximum(both.at(edges[:-1]), line.at(edges[:-1])))
    return both.durations(cuts, 1)[:, 0]


def _events(counters: Sequence[Steps], cells: Cells) -> Columns:
    nothing = np.zeros(len(cells.kind), np.int64)
    return {
        "resets": sum((s.events(s.resets, cells.edges) for s in counters), nothing),
        "gap_steps": sum((s.events(s.gaps, cells.edges) for s in counters), nothing),
        "refused_steps": sum((s.events(s.refused, cells.edges) for s in counters), nothing),
        "uncertain": sum((s.events(s.refused, cells.edges, s.uncertain) for s in counters), nothing),
    }

"""Samples -> additive facts per asset, shift, hour and product, and energy per demand interval.

A window is cut at every shift, break, hour, production day and change of product; every station below (time elements,
counters, meters) is a function of time that can be read at any cut, so facts of a window equal the sum of the facts of
any split of it, to the nanosecond and the millionth of a piece. Rules: docs/kpi-rules.md.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from config.plant import Asset, Plant, Point
from config.schema import COUNTS, DEMAND, DURATIONS, ELEMENTS, FACT, NS, SAMPLE, UTC_NS, require
from kpis import calendar
from kpis.counters import Steps, integral, steps
from kpis.intervals import UNKNOWN, UNMAPPED, Series, Timeline, resolve, series, state_timeline, timeline

FACT_KEYS = ("asset", "shift", "date", "hour", "product", "ideal_cycle")

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cells:
    """A window cut into cells in which shift, hour, day, product and ideal cycle stay the same."""

    edges: Ints
    kind: NDArray[np.int8]
    shift: Ints
    shifts: tuple[calendar.ShiftInstance, ...]
    hour: Ints
    date: pl.Series
    product: pl.Series
    ideal_cycle: pl.Series

    def sums(self, steps: Steps | None) -> Ints:
        """Return what was counted in each cell [1e-6 units]."""
        return np.zeros(len(self.kind), np.int64) if steps is None else np.diff(steps.at(self.edges))


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
    and the first one after it. start, end: [ns since 1970, UTC]. assets: ids; default all. executor: computes the
    assets side by side; an asset's facts do not depend on others.
    Raises SchemaError where `samples` is not a SAMPLE frame.
    """
    require(samples, SAMPLE, "samples")
    wanted = set(assets) if assets is not None else None
    chosen = [a for a in plant.assets if wanted is None or a.asset in wanted]
    if executor is None:
        found = series(resolve(samples), uncertain_is_good=plant.uncertain == "good")
        frames = [_of_asset(plant, asset, found, start, end) for asset in chosen]
    else:
        own = [samples.filter(pl.col("point").is_in([p.point for p in plant.points_of(a.asset)])) for a in chosen]
        n = len(chosen)
        frames = list(executor.map(_alone, [plant] * n, chosen, own, [start] * n, [end] * n))
    return pl.concat([pl.DataFrame(schema=dict(FACT)), *frames], how="diagonal")


def _alone(plant: Plant, asset: Asset, samples: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    found = series(resolve(samples), uncertain_is_good=plant.uncertain == "good")
    return _of_asset(plant, asset, found, start, end)


def demand(plant: Plant, samples: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    """Return the DEMAND rows of [start, end): what each asset's meters counted per demand interval.

    Intervals start at the window's start; a last one that the window cuts off is left out.
    """
    found = series(resolve(samples), uncertain_is_good=plant.uncertain == "good")
    interval = plant.demand_interval
    cuts = np.arange(start, end + 1, interval, dtype=np.int64)
    frames = [pl.DataFrame(schema=dict(DEMAND))]
    if len(cuts) < 2:
        return frames[0]
    for asset in plant.assets:
        for medium, points in _meters(plant.points_of(asset.asset)).items():
            counted = sum((np.diff(s.at(cuts)) for s in _steps(points, found)), np.zeros(len(cuts) - 1, np.int64))
            columns = {
                "start": pl.Series(cuts[:-1]).cast(UTC_NS),
                "quantity": counted,
                "metered": pl.Series(_metered(points, found, cuts)).cast(NS),
            }
            labels = {"asset": pl.lit(asset.asset), "medium": pl.lit(medium), "interval": pl.lit(interval).cast(NS)}
            frames.append(pl.DataFrame(columns).with_columns(**labels).select(list(DEMAND)))
    return pl.concat(frames)


def _of_asset(plant: Plant, asset: Asset, found: dict[str, Series], start: int, end: int) -> pl.DataFrame:
    points = plant.points_of(asset.asset)
    state = next((p for p in points if p.role == "state"), None)
    states = plant.states.get(state.states, {}) if state is not None else {}
    elements = state_timeline(found.get(state.point) if state else None, state, states, start, end)
    cells = _cells(plant, asset, points, found, start, end)
    durations, unmapped = _durations(cells, elements)
    counts, counters = _counts(points, found, cells, elements)
    columns: dict[str, pl.Series | Ints] = {
        "start": pl.Series(cells.edges[:-1]).cast(UTC_NS),
        "end": pl.Series(cells.edges[1:]).cast(UTC_NS),
        "date": cells.date,
        "hour": pl.Series(cells.hour).cast(UTC_NS),
        "product": cells.product,
        "ideal_cycle": cells.ideal_cycle,
        "shift": _labels(cells),
        **{name: pl.Series(column).cast(NS) for name, column in durations.items()},
        "unmapped": pl.Series(unmapped).cast(NS),
        **counts,
    }
    for medium, meters in _meters(points).items():
        of_medium = _steps(meters, found)
        columns[f"energy.{medium}"] = sum((cells.sums(s) for s in of_medium), np.zeros(len(cells.kind), np.int64))
        columns[f"metered.{medium}"] = pl.Series(_metered(meters, found, cells.edges)).cast(NS)
        counters = [*counters, *of_medium]
    columns |= _events(counters, cells)
    frame = pl.DataFrame(columns).filter(pl.col("end") > pl.col("start")).with_columns(asset=pl.lit(asset.asset))
    extra = [name for name in columns if name not in FACT]
    summed = frame.group_by(FACT_KEYS, maintain_order=True).agg(
        pl.min("start"),
        pl.max("end"),
        *(_sum(name) for name in frame.columns if name not in (*FACT_KEYS, "start", "end")),
    )
    return summed.select(*FACT, *extra)


def _sum(name: str) -> pl.Expr:
    # The sum of nothing known is nothing known, not zero.
    return pl.when(pl.col(name).is_not_null().any()).then(pl.col(name).sum())


def _cells(
    plant: Plant, asset: Asset, points: Sequence[Point], found: dict[str, Series], start: int, end: int
) -> Cells:
    spans = calendar.spans(plant, asset.asset, start, end)
    hours = calendar.hour_starts(plant, start, end)
    days = calendar.day_starts(plant, start, end)
    products = _changes(points, found, "product")
    cycles = _changes(points, found, "ideal_cycle")
    marks = [spans.edges, hours, np.array([t for t, _ in days], np.int64)]
    marks += [s.ts for s in (products, cycles) if s is not None]
    edges = np.unique(np.clip(np.concatenate(marks), start, end))
    first = edges[:-1]
    span = np.searchsorted(spans.edges, first, "right") - 1
    shift = spans.shift[span]
    day = np.searchsorted([t for t, _ in days], first, "right") - 1
    calendar_day = pl.Series([d for _, d in days], dtype=pl.Date).gather(np.maximum(day, 0))
    shift_day = pl.Series([s.date for s in spans.shifts] or [None], dtype=pl.Date).gather(np.maximum(shift, 0))
    product = _value_at(products, first).alias("product")
    return Cells(
        edges=edges,
        kind=spans.kind[span],
        shift=shift,
        shifts=spans.shifts,
        hour=calendar.hour_of(plant, first),
        date=shift_day.zip_with(pl.Series(shift >= 0), calendar_day),
        product=product,
        ideal_cycle=_ideal_cycles(plant, asset, product, cycles, first),
    )


def _changes(points: Sequence[Point], found: dict[str, Series], role: str) -> Series | None:
    """Return the good samples of the asset's point of a role: they hold until the next one, over every gap."""
    point = next((p for p in points if p.role == role and p.point in found), None)
    if point is None:
        return None
    all_rows = found[point.point]
    kept = np.flatnonzero(all_rows.good)
    rows = Series(all_rows.ts[kept], all_rows.value[kept], all_rows.text.gather(kept), all_rows.good[kept])
    return rows if len(kept) else None


def _value_at(rows: Series | None, at: Ints) -> pl.Series:
    """Return the label that holds at each instant: the text, or the number as text; null before the first."""
    if rows is None:
        return pl.Series([None] * len(at), dtype=pl.String)
    i = np.searchsorted(rows.ts, at, "right") - 1
    number = pl.Series(rows.value)
    whole = number.is_finite() & (number == number.round()) & (number.abs() < 2**53)
    as_text = number.cast(pl.String).zip_with(~whole, number.fill_nan(0).cast(pl.Int64, strict=False).cast(pl.String))
    label = rows.text.zip_with(rows.text.is_not_null(), as_text)
    return label.gather(np.maximum(i, 0)).zip_with(pl.Series(i >= 0), pl.Series([None] * len(at), dtype=pl.String))


def _ideal_cycles(plant: Plant, asset: Asset, product: pl.Series, cycles: Series | None, at: Ints) -> pl.Series:
    names = product.unique().to_list()
    known = pl.Series([plant.ideal_cycle(asset, name) for name in names], dtype=pl.Float64)
    by_product = pl.DataFrame({"product": pl.Series(names, dtype=pl.String), "ideal_cycle": known})
    joined = product.to_frame().join(by_product, on="product", how="left", nulls_equal=True, maintain_order="left")
    declared = joined["ideal_cycle"]
    if cycles is None:
        return declared
    i = np.searchsorted(cycles.ts, at, "right") - 1
    told = pl.Series(cycles.value).gather(np.maximum(i, 0))
    return told.zip_with(pl.Series(i >= 0) & (told > 0), declared)


def _labels(cells: Cells) -> pl.Series:
    labels = pl.Series([s.label for s in cells.shifts] or [None], dtype=pl.String)
    none = pl.Series([None] * len(cells.shift), dtype=pl.String)
    return labels.gather(np.maximum(cells.shift, 0)).zip_with(pl.Series(cells.shift >= 0), none)


def _durations(cells: Cells, elements: Timeline) -> tuple[dict[str, Ints], Ints]:
    shared = elements.durations(cells.edges, UNMAPPED + 1)
    unmapped = np.where(cells.kind == calendar.WORK, shared[:, UNMAPPED], 0)
    shared[:, UNKNOWN] += shared[:, UNMAPPED]
    work, length = cells.kind == calendar.WORK, np.diff(cells.edges)
    durations = {element: np.where(work, shared[:, n], 0) for n, element in enumerate(ELEMENTS)}
    durations["break"] = np.where(cells.kind == calendar.BREAK, length, 0)
    durations["unscheduled"] = np.where(cells.kind == calendar.UNSCHEDULED, length, 0)
    return {name: durations[name] for name in DURATIONS}, unmapped


def _counts(
    points: Sequence[Point], found: dict[str, Series], cells: Cells, elements: Timeline
) -> tuple[dict[str, pl.Series], list[Steps]]:
    """Return the count columns with missing roles filled (rule 13), and the steps they came from."""
    of_role = {role: _steps([p for p in points if p.role == role], found) for role in COUNTS}
    given = {role: any(p.role == role for p in points) for role in COUNTS}
    cuts, cell, unknown = _unknown_parts(cells, elements)
    columns: dict[str, Ints | None] = {}
    for role in COUNTS:
        columns[role] = columns[f"{role}_unknown"] = None
        if given[role]:
            columns[role] = sum((cells.sums(s) for s in of_role[role]), np.zeros(len(cells.kind), np.int64))
            parts = sum((np.diff(s.at(cuts)) for s in of_role[role]), np.zeros(len(cuts) - 1, np.int64))
            in_unknown = np.zeros(len(cells.kind), np.int64)
            np.add.at(in_unknown, cell[unknown], parts[unknown])
            columns[f"{role}_unknown"] = in_unknown
    for suffix in ("", "_unknown"):
        _fill_missing(columns, suffix)
    none = pl.Series([None] * len(cells.kind), dtype=pl.Int64)
    filled = {name: none if column is None else pl.Series(column) for name, column in columns.items()}
    return filled, [s for role in COUNTS for s in of_role[role]]


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


def _unknown_parts(cells: Cells, elements: Timeline) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Return cuts at every cell and state, and for each part its cell and whether it is unknown planned time."""
    cuts = np.unique(np.concatenate([cells.edges, elements.edges]))
    cell = np.searchsorted(cells.edges, cuts[:-1], "right") - 1
    code = elements.code[np.searchsorted(elements.edges, cuts[:-1], "right") - 1]
    return cuts, cell, ((code == UNKNOWN) | (code == UNMAPPED)) & (cells.kind[cell] == calendar.WORK)


def _steps(points: Sequence[Point], found: dict[str, Series]) -> list[Steps]:
    present = [p for p in points if p.point in found]
    return [integral(found[p.point], p) if p.role.startswith("power.") else steps(found[p.point], p) for p in present]


def _meters(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Return the meters of each medium; power is integrated only where no energy meter counts."""
    media = dict.fromkeys(p.medium for p in points if p.medium is not None)
    energy = {m: [p for p in points if p.role == f"energy.{m}"] for m in media}
    return {m: energy[m] or [p for p in points if p.role == f"power.{m}"] for m in media}


def _metered(points: Sequence[Point], found: dict[str, Series], cuts: Ints) -> Ints:
    """Return the time between cuts in which every meter's value was known [ns]."""
    known = np.diff(cuts)
    for point in points:
        rows = found.get(point.point)
        if rows is not None:  # a word in a meter is no reading
            rows = replace(rows, good=rows.good & np.isfinite(rows.value))
        size = 0 if rows is None else len(rows.ts)
        line = timeline(rows, np.zeros(size, np.int8), point.hold_ns, int(cuts[0]), int(cuts[-1]), unknown=1)
        known = np.minimum(known, line.durations(cuts, 1)[:, 0])
    return known


def _events(counters: Sequence[Steps], cells: Cells) -> dict[str, Ints]:
    def total(name: str) -> Ints:
        zero = np.zeros(len(cells.kind), np.int64)
        return sum((s.events(getattr(s, name), cells.edges) for s in counters), zero)

    return {
        "resets": total("reset"),
        "gap_steps": total("gap"),
        "refused_steps": total("refused"),
        "uncertain": total("uncertain"),
    }

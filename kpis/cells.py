"""A window cut into cells in which shift, hour, production day, product and ideal cycle stay the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from config.plant import Asset, Plant, Point
from kpis import calendar
from kpis.intervals import Ints, Series, nulls, words


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of one asset: `edges` of length n + 1, the others of length n."""

    edges: Ints
    kind: NDArray[np.int8]
    """WORK, BREAK or UNSCHEDULED of kpis.calendar."""
    shift: pl.Series
    date: pl.Series
    hour: Ints
    product: pl.Series
    ideal_cycle: pl.Series

    @property
    def work(self) -> NDArray[np.bool_]:
        """Whether a cell is planned operation time."""
        work: NDArray[np.bool_] = self.kind == calendar.WORK
        return work

    def within(self, instants: Ints) -> Ints:
        """Return in which cell instants of the window lie."""
        found: Ints = np.searchsorted(self.edges, instants, "right") - 1
        return found


@dataclass(frozen=True, slots=True)
class Planned:
    """What the calendar says of a window, cut at shifts, breaks, hours and production days."""

    edges: Ints
    kind: NDArray[np.int8]
    shift: pl.Series
    date: pl.Series
    hour: Ints

    def work(self) -> tuple[Ints, Ints]:
        """Return where its planned operation time begins and ends, in order."""
        mine = np.flatnonzero(self.kind == calendar.WORK)
        return self.edges[mine], self.edges[mine + 1]


def planned(plant: Plant, asset: str, start: int, end: int) -> Planned:
    """Return the asset's calendar over [start, end) [ns since 1970, UTC]."""
    spans = calendar.spans(plant, asset, start, end)
    days = calendar.day_starts(plant, start, end)
    turns = np.array([t for t, _ in days], np.int64)
    marks = np.concatenate([spans.edges, calendar.hour_starts(plant, start, end), turns])
    edges = np.unique(np.clip(marks, start, end))
    first = edges[:-1]
    span = np.searchsorted(spans.edges, first, "right") - 1
    shift, inside = np.maximum(spans.shift[span], 0), pl.Series(spans.shift[span] >= 0)
    calendar_day = pl.Series([d for _, d in days], dtype=pl.Date)
    day = calendar_day.gather(np.maximum(np.searchsorted(turns, first, "right") - 1, 0))
    shift_day = pl.Series([s.date for s in spans.shifts] or [None], dtype=pl.Date).gather(shift)
    label = pl.Series([s.label for s in spans.shifts] or [None], dtype=pl.String).gather(shift)
    return Planned(
        edges=edges,
        kind=spans.kind[span],
        shift=label.zip_with(inside, nulls(len(first))),
        date=shift_day.zip_with(inside, day),
        hour=calendar.hour_of(plant, first),
    )


@dataclass(frozen=True, slots=True)
class Labels:
    """What an asset made when, and in which ideal time."""

    products: Series | None
    cycles: Series | None

    def product(self, at: Ints) -> pl.Series:
        """Return the product at each instant; null before the first."""
        return value_at(self.products, at).alias("product")

    def ideal_cycle(self, plant: Plant, asset: Asset, at: Ints) -> pl.Series:
        """Return the planned run time per item [s] at each instant: the machine's word before products and register."""
        product = self.product(at)
        names = product.unique().to_list()
        cycles = pl.Series([plant.ideal_cycle(asset, name) for name in names], dtype=pl.Float64)
        if len(names) == 1:
            declared = cycles.gather(np.zeros(len(at), np.int64))
        else:
            by_product = pl.DataFrame({"product": pl.Series(names, dtype=pl.String), "ideal_cycle": cycles})
            joined = product.to_frame().join(
                by_product, on="product", how="left", nulls_equal=True, maintain_order="left"
            )
            declared = joined["ideal_cycle"]
        if self.cycles is None:
            return declared
        i = np.searchsorted(self.cycles.ts, at, "right") - 1
        told = pl.Series(self.cycles.value).gather(np.maximum(i, 0))
        return told.zip_with(pl.Series(i >= 0) & told.is_finite() & (told > 0), declared)


def labels(points: Sequence[Point], found: Mapping[str, Series]) -> Labels:
    """Return the labels of an asset: they hold from one good sample to the next, over every gap."""
    return Labels(_changes(points, found, "product"), _changes(points, found, "ideal_cycle"))


def cut(plant: Plant, asset: Asset, calendar_: Planned, named: Labels) -> Cells:
    """Return the calendar cut at each change of product and ideal cycle as well."""
    changes = [s.ts for s in (named.products, named.cycles) if s is not None]
    if not changes:
        return _uncut(calendar_, plant.ideal_cycle(asset, None))
    edges = calendar_.edges
    edges = np.unique(np.clip(np.concatenate([edges, *changes]), edges[0], edges[-1]))
    first = edges[:-1]
    of = np.searchsorted(calendar_.edges, first, "right") - 1
    return Cells(
        edges=edges,
        kind=calendar_.kind[of],
        shift=calendar_.shift.gather(of),
        date=calendar_.date.gather(of),
        hour=calendar_.hour[of],
        product=named.product(first),
        ideal_cycle=named.ideal_cycle(plant, asset, first),
    )


def _uncut(calendar_: Planned, cycle: float | None) -> Cells:
    """Return the calendar's cells of an asset of which nobody says what it makes."""
    n = len(calendar_.kind)
    return Cells(
        edges=calendar_.edges,
        kind=calendar_.kind,
        shift=calendar_.shift,
        date=calendar_.date,
        hour=calendar_.hour,
        product=nulls(n),
        ideal_cycle=pl.Series([cycle], dtype=pl.Float64).new_from_index(0, n),
    )


def _changes(points: Sequence[Point], found: Mapping[str, Series], role: str) -> Series | None:
    """Return the good samples of the asset's point of a role at which what it says changes."""
    point = next((p for p in points if p.role == role and p.point in found), None)
    if point is None:
        return None
    rows = found[point.point]
    kept = np.flatnonzero(rows.good)
    if not len(kept):
        return None
    said = words(rows, kept)
    turns = kept[(said.ne_missing(said.shift(1))).to_numpy() | (np.arange(len(kept)) == 0)]
    text = None if rows.text is None else rows.text.gather(turns)
    return Series(rows.ts[turns], rows.value[turns], rows.good[turns], text)


def value_at(rows: Series | None, at: Ints) -> pl.Series:
    """Return the word that holds at each instant (rule 7); null before the first."""
    none = nulls(len(at))
    if rows is None:
        return none
    i = np.searchsorted(rows.ts, at, "right") - 1
    return words(rows, np.arange(len(rows.ts))).gather(np.maximum(i, 0)).zip_with(pl.Series(i >= 0), none)

"""A period's samples, one part after the other: of each instant of a point the row that counts.

Rows stay where they lie in files, as far as a point's lie in order of time: to sort them takes several times as long as
to read them.
"""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl

from config.plant import Plant
from kpis.intervals import resolve, series
from kpis.partitions import HOUR_NS
from kpis.stores.arrays import Run, Stretch, stretch_of
from kpis.stores.base import DAY_NS, Store

PART_ROWS = 4_000_000
"""A UTC day of about so many rows is looked at as one; of a larger one, each hour."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A SAMPLE frame and whose rows of it count: those of one point come in order of time, in all of its runs."""

    frame: pl.DataFrame
    runs: list[Run]


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of [start, end) [ns since 1970, UTC], which lies in one UTC day, and when points were known by them."""

    start: int
    end: int
    rows: list[Rows]
    stretch: Stretch

    @property
    def day(self) -> int:
        """Return the UTC day [days since 1970]."""
        return self.start // DAY_NS


def parts_of(plant: Plant, store: Store, start: int, end: int) -> Iterator[Part]:
    """Yield the parts of [start, end) [ns since 1970, UTC], each while the next is being read; raises StoreError."""
    points, good = [point.point for point in plant.points], plant.uncertain == "good"
    pairs = list(itertools.pairwise(_borders(store, start, end)))
    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(store.rows, points, *pairs[0])
        for (first, last), following in itertools.zip_longest(pairs, pairs[1:]):
            frame = reading.result()
            if following is not None:
                reading = reader.submit(store.rows, points, *following)
            rows, stretch = _in_order(frame, points, uncertain_is_good=good)
            yield Part(first, last, rows, stretch)


def _borders(store: Store, start: int, end: int) -> list[int]:
    """Return where UTC days begin in [start, end], or hours of days that are too large, and its ends."""
    borders = [start]
    for day in range(start // DAY_NS * DAY_NS, end, DAY_NS):
        large = store.height(max(day, start), min(day + DAY_NS, end)) > PART_ROWS
        borders += [at for at in range(day, day + DAY_NS, HOUR_NS if large else DAY_NS) if start < at < end]
    return [*borders, end]


def _in_order(frame: pl.DataFrame, points: Sequence[str], *, uncertain_is_good: bool) -> tuple[list[Rows], Stretch]:
    runs = runs_of(frame["point"])
    sides = [point for point, _, _ in runs], np.array([end for _, _, end in runs], np.int64)
    stretch, disordered = stretch_of(frame, points, sides, uncertain_is_good=uncertain_is_good)
    if not disordered:
        return [Rows(frame, runs)], stretch
    again = resolve(frame.filter(pl.col("point").is_in(disordered)))
    apart = series(again, uncertain_is_good=uncertain_is_good)
    kept = [run for run in runs if run[0] not in apart]
    return [Rows(frame, kept), Rows(again, runs_of(again["point"]))], Stretch(stretch.chunks, apart)


def runs_of(point: pl.Series) -> list[Run]:
    """Return whose rows lie side by side, in order."""
    lengths = point.rle().struct.unnest()
    ends = np.cumsum(lengths["len"].to_numpy()).tolist()
    return list(zip(lengths["value"].to_list(), [0, *ends], ends, strict=False))

"""The contract between the KPI rooms and a store of samples, and what a window needs from outside it.

A counter's increment over the window's border needs the last good row before the window and the first one after it,
and what lies between them and the border; they are looked for at most SEARCH_DAYS away.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Protocol

import polars as pl

from config.schema import SAMPLE
from config.status import GOOD, SEVERITY_MASK
from kpis.intervals import resolve
from kpis.stores.arrays import Stretch

SEARCH_DAYS = 31
"""A sample further away than this says nothing about a window; no increment spans more days (rule 8)."""
DAY_NS = 86_400_000_000_000


class StoreError(Exception):
    """A store cannot be read; the message names it, what it says, and the next step."""


class Store(Protocol):
    """Samples by point and time, whatever they lie in; `str` of it says where."""

    kind: str
    """What evidence cites: lake or influxdb."""

    def read(self, points: Sequence[str], start: int, end: int) -> pl.DataFrame:
        """Return the SAMPLE rows of the points in [start, end) [ns since 1970, UTC], and their neighbours outside it.

        In no order. Raises StoreError; a result that is returned is whole.
        """

    def rows(self, points: Sequence[str], start: int, end: int) -> pl.DataFrame:
        """Return the SAMPLE rows of the points in [start, end) [ns since 1970, UTC], in no order; raises StoreError."""

    def before(self, points: Sequence[str], border: int) -> pl.DataFrame:
        """Return, per point, the rows before an instant [ns since 1970, UTC] back to the nearest good one.

        They are looked for at most SEARCH_DAYS away. Raises StoreError.
        """

    def after(self, points: Sequence[str], border: int) -> pl.DataFrame:
        """Return, per point, the rows from an instant [ns since 1970, UTC] on up to the nearest good one.

        They are looked for at most SEARCH_DAYS away. Raises StoreError.
        """

    def stretch(self, points: Sequence[str], start: int, end: int, *, uncertain_is_good: bool) -> Stretch:
        """Return the points' samples in [start, end) [ns since 1970, UTC], one an instant; raises StoreError."""

    def height(self, start: int, end: int) -> int:
        """Return about how many rows lie in [start, end) [ns since 1970, UTC]; raises StoreError."""

    def extent(self, points: Sequence[str]) -> tuple[int, int] | None:
        """Return the first and last time of the points' samples [ns since 1970, UTC]; None where there are none.

        Raises StoreError.
        """


def search_bounds(start: int, end: int) -> tuple[int, int]:
    """Return from when to when neighbours of the window [start, end) are looked for [ns]: whole UTC days."""
    return (start // DAY_NS - SEARCH_DAYS) * DAY_NS, ((end - 1) // DAY_NS + SEARCH_DAYS + 1) * DAY_NS


STEPS_S = (300, 3600, 6 * 3600, 24 * 3600, 4 * 24 * 3600)
"""How far from a border a neighbour is looked for first, then on and on [s]."""


def nearest(
    rows: Callable[[Sequence[str], int, int], pl.DataFrame], points: Sequence[str], border: int, *, last: bool
) -> pl.DataFrame:
    """Return, per point, the rows from the border up to the nearest good one: before it, or from it on.

    rows: reads the SAMPLE rows of points in [start, end) [ns since 1970, UTC]. last: before the border.
    """
    earliest, latest = search_bounds(border, border)
    steps = [0, *(s * 1_000_000_000 for s in STEPS_S)]
    borders = [max(border - s, earliest) for s in steps] if last else [min(border + s, latest) for s in steps]
    missing, found = list(points), [pl.DataFrame(schema=dict(SAMPLE))]
    for near, far in itertools.pairwise([*borders, earliest if last else latest]):
        if near == far or not missing:
            continue
        there = rows(missing, min(near, far), max(near, far))
        if there.is_empty():
            continue
        kept, done = up_to_good(there, last=last)
        found.append(kept)
        missing = [point for point in missing if point not in done]
    return pl.concat(found)


def up_to_good(rows: pl.DataFrame, *, last: bool) -> tuple[pl.DataFrame, set[str]]:
    """Return the rows from the border up to the nearest good one of each point, and the points that have a good one.

    rows: SAMPLE rows on one side of the window. last: they lie before it, so the nearest is the last.
    """
    usable = pl.col("value").is_finite().fill_null(value=False) | pl.col("text").is_not_null()
    good = resolve(rows).filter(((pl.col("status") & SEVERITY_MASK) == GOOD) & usable)
    nearest = good.group_by("point").agg(nearest=pl.max("ts") if last else pl.min("ts"))
    joined = rows.join(nearest, on="point", how="left")
    beyond = pl.col("ts") < pl.col("nearest") if last else pl.col("ts") > pl.col("nearest")
    return joined.filter(~beyond.fill_null(value=False)).select(list(SAMPLE)), set(nearest["point"])


def without_receive_time(rows: pl.DataFrame) -> pl.DataFrame:
    """Return SAMPLE rows as InfluxDB holds them: one a point and instant, and `ts` in place of the receive time."""
    return resolve(rows).with_columns(ts_recv=pl.col("ts"))

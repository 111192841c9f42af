"""Samples in memory as a store: those of a package, for who computes from them again."""

from collections.abc import Sequence

import polars as pl

from kpis.intervals import resolve, series
from kpis.stores.arrays import Stretch
from kpis.stores.base import nearest


class Memory:
    """The samples of a SAMPLE frame."""

    kind = "memory"

    def __init__(self, samples: pl.DataFrame) -> None:
        """Take the rows, in any order."""
        self._samples = samples.sort("point", "ts", "ts_recv")

    def __str__(self) -> str:
        return f"{self._samples.height} samples in memory"

    def read(self, points: Sequence[str], start: int, end: int) -> pl.DataFrame:
        """Return the SAMPLE rows of the points in [start, end) [ns since 1970, UTC], and their neighbours."""
        return pl.concat([self.before(points, start), self.rows(points, start, end), self.after(points, end)])

    def rows(self, points: Sequence[str], start: int, end: int) -> pl.DataFrame:
        """Return the SAMPLE rows of the points in [start, end) [ns since 1970, UTC]."""
        inside = pl.col("ts").to_physical().is_between(start, end, closed="left")
        return self._samples.filter(inside & pl.col("point").is_in(list(points)))

    def before(self, points: Sequence[str], border: int) -> pl.DataFrame:
        """Return, per point, the rows before an instant [ns since 1970, UTC] back to the nearest good one."""
        return nearest(self.rows, points, border, last=True)

    def after(self, points: Sequence[str], border: int) -> pl.DataFrame:
        """Return, per point, the rows from an instant [ns since 1970, UTC] on up to the nearest good one."""
        return nearest(self.rows, points, border, last=False)

    def stretch(self, points: Sequence[str], start: int, end: int, *, uncertain_is_good: bool) -> Stretch:
        """Return the points' samples in [start, end) [ns since 1970, UTC], one an instant."""
        return Stretch(apart=series(resolve(self.rows(points, start, end)), uncertain_is_good=uncertain_is_good))

    def height(self, start: int, end: int) -> int:
        """Return how many rows lie in [start, end) [ns since 1970, UTC]."""
        inside = pl.col("ts").to_physical().is_between(start, end, closed="left")
        return int(self._samples.select(inside.sum()).item())

    def extent(self, points: Sequence[str]) -> tuple[int, int] | None:
        """Return the first and last time of the points' samples [ns since 1970, UTC]; None where there are none."""
        times = self._samples.filter(pl.col("point").is_in(list(points)))["ts"].to_physical()
        return (int(times.min()), int(times.max())) if len(times) else None  # type: ignore[arg-type]

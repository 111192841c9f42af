"""Messages that a broker delivers again, after a crash or a broken link, give their rows once.

A row is the same when point, source time, status and value are. The last ones are remembered, and after a restart
recovered from the spool's tail, where everything lies that was committed but perhaps never acknowledged.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from connectors.base import Readings

REMEMBERED = 20_000
"""Rows kept in mind; more than a broker may have unacknowledged at a time."""

Key = tuple[int, int, int, int, str | None]


class Repeats:
    """The latest rows of one source."""

    def __init__(self, points: Sequence[str], size: int = REMEMBERED) -> None:
        """Take the ids of the source's points, and how many rows to remember."""
        self._position = {point: n for n, point in enumerate(points)}
        self._size = size
        self._seen: dict[Key, None] = {}

    def recover(self, samples: pl.DataFrame) -> None:
        """Remember SAMPLE rows that were committed before a restart."""
        own = samples.filter(pl.col("point").is_in(list(self._position))).tail(self._size)
        bits = _bits(own["value"].fill_null(np.nan).to_numpy())
        positions = own["point"].replace_strict(self._position, return_dtype=pl.Int64)
        times = own["ts"].to_physical()
        for key in zip(positions, times, own["status"], bits, own["text"], strict=True):
            self._seen[key] = None

    def drop(self, readings: Readings) -> Readings:
        """Return the readings without rows that were seen before, and remember the others."""
        text = readings.text if readings.text is not None else [None] * len(readings.points)
        bits = _bits(np.where(readings.valid, readings.value, np.nan))
        columns = (readings.points.tolist(), readings.ts.tolist(), readings.status.tolist(), bits, text)
        fresh = np.array([self._is_new(key) for key in zip(*columns, strict=True)], np.bool_)
        while len(self._seen) > self._size:
            del self._seen[next(iter(self._seen))]
        if fresh.all():
            return readings
        return readings.take(np.flatnonzero(fresh))

    def _is_new(self, key: Key) -> bool:
        if key in self._seen:
            return False
        self._seen[key] = None
        return True


def _bits(value: np.ndarray) -> list[int]:
    """Return floats as their bits, so that NaN equals NaN."""
    bits: list[int] = np.ascontiguousarray(value, np.float64).view(np.int64).tolist()
    return bits

"""Messages that a publisher or broker delivers again give their rows once.

A row is the same when point, source time, status and value are. The last ones are remembered, and after a restart
recovered from the spool's tail, where everything lies that was committed but perhaps never acknowledged.
"""

import hashlib
from collections import deque
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from connectors.base import Readings

REMEMBERED = 20_000
"""Rows kept in mind; more than a broker may have unacknowledged at a time."""
LONG = 64
"""Texts that are longer are remembered by a digest of this length."""
NEVER = np.iinfo(np.int64).min
_NULL = 0x7FF8_6E75_6C6C_0001

Key = tuple[int, int, int, int, str | None]
Columns = tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.uint32], NDArray[np.int64], Sequence[str | None] | None]
"""Point, time, status, the number's bits, text."""


class Repeats:
    """The latest rows of one source.

    A row that is newer than every one of its point before cannot be a repetition, so most are told by their times
    alone; the others are looked up among those remembered.
    """

    def __init__(self, points: Sequence[str], size: int = REMEMBERED) -> None:
        """Take the ids of the source's points, and how many rows to remember."""
        self._position = {point: n for n, point in enumerate(points)}
        self._size = size
        self._newest = np.full(len(points), NEVER, np.int64)
        self._rows = 0
        # Two generations: the older goes as a whole, since a dict that loses its first keys one by one grows slow.
        self._seen: set[Key] = set()
        self._seen_before: set[Key] = set()
        self._unseen: deque[Columns] = deque()
        """Those remembered that `_seen` does not hold yet."""

    def recover(self, samples: pl.DataFrame) -> None:
        """Remember SAMPLE rows that were committed before a restart."""
        own = samples.filter(pl.col("point").is_in(list(self._position))).tail(self._size)
        if own.is_empty():
            return
        points = own["point"].replace_strict(self._position, return_dtype=pl.Int64).to_numpy().astype(np.intp)
        valid = own["value"].is_not_null().to_numpy()
        bits, text = _bits(own["value"].fill_null(0.0).to_numpy(), valid), _short(own["text"].to_list())
        self._remember((points, own["ts"].to_physical().to_numpy(), own["status"].to_numpy(), bits, text))

    def drop(self, readings: Readings) -> Readings:
        """Return the readings without rows that were seen before, and remember the others."""
        if not len(readings.points):
            return readings
        bits = _bits(readings.value, readings.valid)
        columns: Columns = (readings.points, readings.ts, readings.status, bits, _short(readings.text))
        if self._all_newer(readings.points, readings.ts):
            self._remember(columns)
            return readings
        self._rows = 0
        while self._unseen:
            self._seen.update(_keys(self._unseen.popleft()))
        fresh = np.array([self._is_new(key) for key in _keys(columns)], np.bool_)
        if len(self._seen) > self._size:
            self._seen, self._seen_before = set(), self._seen
        if fresh.all():
            self._note(readings.points, readings.ts)
            return readings
        kept = readings.take(np.flatnonzero(fresh))
        self._note(kept.points, kept.ts)
        return kept

    def _all_newer(self, points: NDArray[np.intp], ts: NDArray[np.int64]) -> bool:
        """Return whether each row is newer than all of its point before it."""
        if not (ts > self._newest[points]).all():
            return False
        order = np.argsort(points, kind="stable")
        same = points[order][1:] == points[order][:-1]
        return bool((~same | (np.diff(ts[order]) > 0)).all())

    def _is_new(self, key: Key) -> bool:
        if key in self._seen or key in self._seen_before:
            return False
        self._seen.add(key)
        return True

    def _remember(self, columns: Columns) -> None:
        self._note(columns[0], columns[1])
        self._unseen.append(columns)
        self._rows += len(columns[0])
        while len(self._unseen) > 1 and self._rows - len(self._unseen[0][0]) >= self._size:
            self._rows -= len(self._unseen.popleft()[0])

    def _note(self, points: NDArray[np.intp], ts: NDArray[np.int64]) -> None:
        np.maximum.at(self._newest, points, ts)


def _short(text: Sequence[str | None] | None) -> Sequence[str | None] | None:
    """Return texts as what tells them apart: of long ones, of which there may be 20,000, a digest."""
    if text is None:
        return None
    return [word if word is None or len(word) <= LONG else _digest(word) for word in text]


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=LONG // 2).hexdigest()


def _keys(columns: Columns) -> list[Key]:
    points, ts, status, bits, text = columns
    words = text if text is not None else [None] * len(points)
    return list(zip(points.tolist(), ts.tolist(), status.tolist(), bits.tolist(), words, strict=True))


def _bits(value: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return floats as their bits, so that NaN equals NaN, and null as bits that no sender's NaN has."""
    bits = np.ascontiguousarray(value, np.float64).view(np.int64)
    found: NDArray[np.int64] = np.where(valid, bits, _NULL)
    return found

"""Rows of files -> each point's samples, without sorting what lies in order.

A row group of the lake is a while of all points, sorted by point and time: a point's samples are one run of each.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from config.status import SEVERITY_MASK
from kpis.intervals import Ints, Series, all_good, is_good, joined, part, texts

COLUMNS = ("point", "ts", "value", "status")
"""What is read of files without texts."""

Found = dict[str, Series]
Runs = tuple[list[str], Ints]
"""The points whose rows lie side by side, and where the rows of each end."""
Run = tuple[str, int, int]
"""A point and the positions [begin, end) of its samples in a chunk."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples of many points, as they lie side by side in a row group."""

    rows: Series
    runs: list[Run]


@dataclass(frozen=True, slots=True)
class Stretch:
    """The samples of a stretch of time: chunks that follow each other, and points that do not lie in order."""

    chunks: list[Chunk] = field(default_factory=list)
    apart: Found = field(default_factory=dict)

    def beginning(self, until: int, limits: Mapping[str, float]) -> Found:
        """Return each point's first samples: at least as far as one from `until` [ns] on that is good, if there is one.

        More may be returned. limits: as for `usable`, by point.
        """
        slices: dict[str, list[Series]] = defaultdict(list)
        missing = {point for chunk in self.chunks for point, _, _ in chunk.runs}
        for chunk in self.chunks:
            if not missing:
                break
            for point, begin, end in chunk.runs:
                if point in missing:
                    slices[point].append(part(chunk.rows, begin, end))
                    if chunk.rows.ts[end - 1] >= until and usable(slices[point][-1], limits.get(point))[-1:].any():
                        missing.discard(point)
        return {point: joined(each) for point, each in slices.items()} | self.apart


class Workspace:
    """Memory for the samples of one stretch after the other, so that each finds the pages of the one before."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.ts, self.value, self.good = np.empty(0, np.int64), np.empty(0), np.empty(0, np.bool_)
        self._at: dict[str, int] = {}
        self._words: dict[str, list[tuple[pl.Series | None, int]]] = {}

    def filled(self, points: Sequence[str], before: Found, stretch: Stretch, after: Found) -> Found:
        """Return each point's samples before, in and after a stretch as one; they are good until the next call."""
        sizes = _sizes(stretch, before, after)
        begins = dict(zip(points, np.cumsum([0, *(sizes[point] for point in points)]).tolist(), strict=False))
        self._make_room(sum(sizes[point] for point in points))
        self._at, self._words = dict(begins), defaultdict(list)
        self._put(before)
        self._put(stretch.apart)
        for chunk in stretch.chunks:
            self._put_chunk(chunk)
        self._put(after)
        return {point: self._of(point, begin) for point, begin in begins.items() if sizes[point]}

    def _make_room(self, rows: int) -> None:
        if len(self.ts) < rows:
            self.ts, self.value, self.good = np.empty(rows, np.int64), np.empty(rows), np.empty(rows, np.bool_)

    def _put(self, found: Mapping[str, Series]) -> None:
        for point, rows in found.items():
            if point in self._at:
                self._copy(point, rows, 0, len(rows.ts))

    def _put_chunk(self, chunk: Chunk) -> None:
        rows, at, ts, value, good = chunk.rows, self._at, self.ts, self.value, self.good
        if rows.text is not None or self._words:
            for point, begin, end in chunk.runs:
                self._copy(point, rows, begin, end)
            return
        for point, begin, end in chunk.runs:  # the same without a look at texts: a run may be short
            first = at[point]
            last = at[point] = first + end - begin
            ts[first:last] = rows.ts[begin:end]
            value[first:last] = rows.value[begin:end]
            good[first:last] = rows.good[begin:end]

    def _copy(self, point: str, rows: Series, begin: int, end: int) -> None:
        first = self._at[point]
        last = self._at[point] = first + end - begin
        self.ts[first:last] = rows.ts[begin:end]
        self.value[first:last] = rows.value[begin:end]
        self.good[first:last] = rows.good[begin:end]
        if rows.text is not None or point in self._words:
            self._words[point].append(
                (None if rows.text is None else rows.text.slice(begin, end - begin), last - first)
            )

    def _of(self, point: str, begin: int) -> Series:
        end, text = self._at[point], None
        if point in self._words:
            told = self._words[point]
            silent = end - begin - sum(length for _, length in told)  # what came before the first text
            text = texts([None, *(text for text, _ in told)], [silent, *(length for _, length in told)])
            if text is not None and text.null_count() == len(text):
                text = None
        return Series(self.ts[begin:end], self.value[begin:end], self.good[begin:end], text)


def _sizes(stretch: Stretch, *around: Mapping[str, Series]) -> dict[str, int]:
    sizes: dict[str, int] = defaultdict(int)
    for found in (*around, stretch.apart):
        for point, rows in found.items():
            sizes[point] += len(rows.ts)
    for chunk in stretch.chunks:
        for point, begin, end in chunk.runs:
            sizes[point] += end - begin
    return sizes


def stretch_of(
    frame: pl.DataFrame, points: Collection[str], runs: Runs | None = None, *, uncertain_is_good: bool
) -> tuple[Stretch, list[str]]:
    """Return the rows of the points that lie in order of time, and the points whose rows do not.

    frame: rows of COLUMNS, and `text` where there are any, as they lie in files one after the other; without `point`
    where `runs` says which rows are whose.
    """
    chunks = _chunks(frame)
    borders = np.cumsum([0, *(chunk.height for chunk in chunks)])
    names, ends = _cut(runs or _runs(frame["point"]), borders)
    last: dict[str, int] = {}
    disordered: set[str] = set()
    found = []
    for rows, begin, end in zip(chunks, borders.tolist(), borders[1:].tolist(), strict=False):
        first, final = np.searchsorted(ends, [begin, end], "right").tolist()
        ts, stops = rows["ts"].to_physical().to_numpy(), ends[first:final] - begin
        starts = np.append(0, stops[:-1])
        named = list(zip(names[first:final], starts.tolist(), stops.tolist(), strict=True))
        for (point, _, _), at, until in zip(named, ts[starts].tolist(), ts[stops - 1].tolist(), strict=True):
            if last.get(point, at - 1) >= at:
                disordered.add(point)
            last[point] = until
        back = ts[1:] <= ts[:-1]
        back[stops[:-1] - 1] = False  # where one point follows the other
        disordered |= {named[n][0] for n in set(np.searchsorted(stops, np.flatnonzero(back) + 1, "right").tolist())}
        found.append(Chunk(_series(rows, ts, uncertain_is_good=uncertain_is_good), named))
    kept = set(points) - disordered
    return Stretch([Chunk(c.rows, [run for run in c.runs if run[0] in kept]) for c in found]), sorted(
        disordered & set(points)
    )


def _runs(point: pl.Series) -> Runs:
    runs = point.rle().struct.unnest()
    return runs["value"].to_list(), np.cumsum(runs["len"].to_numpy()).astype(np.int64)


def _cut(runs: Runs, borders: Ints) -> Runs:
    """Return runs that end with each chunk as well."""
    names, ends = runs
    split = np.union1d(ends, borders[1:]).astype(np.int64)
    if len(split) == len(ends):
        return runs
    return [names[n] for n in np.searchsorted(ends, split, "left").tolist()], split


def _chunks(frame: pl.DataFrame) -> list[pl.DataFrame]:
    """Return a frame's row groups, without copying them."""
    columns = [column.get_chunks() for column in frame.get_columns()]
    if len({tuple(len(chunk) for chunk in chunks) for chunks in columns}) > 1:
        return [frame.rechunk()]
    return [pl.DataFrame(list(chunks)) for chunks in zip(*columns, strict=True) if len(chunks[0])]


def _series(chunk: pl.DataFrame, ts: Ints, *, uncertain_is_good: bool) -> Series:
    """Return a chunk's columns as though all were of one point."""
    value = chunk["value"]
    text = chunk["text"] if "text" in chunk.columns and chunk["text"].null_count() < chunk.height else None
    status = chunk["status"]
    if not value.has_nulls() and not status.has_nulls() and (status & SEVERITY_MASK).max() == 0:
        return Series(ts, value.to_numpy(), all_good(len(ts)), text)
    whole = chunk if text is not None else chunk.with_columns(text=pl.lit(None, pl.String))
    good = whole.select(is_good(uncertain_is_good).fill_null(value=False)).to_series().to_numpy()
    return Series(ts, value.fill_null(np.nan).to_numpy(), good, text)


def usable(rows: Series, limit: float | None) -> NDArray[np.bool_]:
    """Return which samples are good and say something that can be counted from.

    That is a number below the limit; where there is no limit, a finite number or a text.
    """
    if limit is not None:
        numbers: NDArray[np.bool_] = rows.good & (np.abs(rows.value) < limit)
        return numbers
    found = rows.good & np.isfinite(rows.value)
    if rows.text is not None:
        found |= rows.good & rows.text.is_not_null().to_numpy()
    return found

"""Samples -> stretches in which a point is known, and timelines: what something was, from when to when.

A good sample holds until the next sample of its point, at most for its `max_hold`; all else is unknown. Rules 1 to 4
of docs/kpi-rules.md. Arrays are per point and sorted by time; times are [ns since 1970, UTC].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from config.schema import ELEMENTS, SAMPLE, require
from config.status import GOOD, SEVERITY_MASK, UNCERTAIN

UNKNOWN = ELEMENTS.index("unknown")
UNMAPPED = len(ELEMENTS)
"""Code of time in a state that the state map does not name; counted as unknown as well."""

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
_WHOLE = 2.0**63
_ALL_GOOD: Bools = np.ones(2**16, np.bool_)
_LAST = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Series:
    """One point's samples: times, values, whether each is good, and texts where it has any; arrays of length n."""

    ts: Ints
    value: NDArray[np.float64]
    good: Bools
    text: pl.Series | None = None

    def numeric(self, limit: float = np.inf) -> "Series":
        """Return the series with words, and numbers that are not finite or reach the limit, taken for no reading."""
        value = self.value
        if not len(value) or (value.min() > -limit and value.max() < limit):
            return self
        return Series(self.ts, value, self.good & (np.abs(value) < limit))  # false for what is no number


@dataclass(frozen=True, slots=True)
class Stretches:
    """When a point was known: `begin`, `end`, and the sample `head` that begins it; arrays of length n, in order."""

    begin: Ints
    end: Ints
    head: Ints


@dataclass(frozen=True, slots=True)
class Timeline:
    """A window cut into intervals of one code each: `edges` of length n + 1, `code` of length n."""

    edges: Ints
    code: NDArray[np.int8]

    def at(self, instants: Ints) -> NDArray[np.int8]:
        """Return the code at each instant; outside the window that of its border."""
        found: NDArray[np.int8] = self.code[self._place(instants)]
        return found

    def durations(self, cuts: Ints, codes: int) -> Ints:
        """Return the time of each code between neighbouring cuts [ns], shape (len(cuts) - 1, codes); exact."""
        i = self._place(cuts)
        lengths = np.diff(self.edges)
        result = np.empty((len(cuts) - 1, codes), np.int64)
        for code in range(codes):
            mine = self.code == code
            before = np.concatenate([[0], np.cumsum(np.where(mine, lengths, 0))])
            result[:, code] = np.diff(before[i] + np.where(mine[i], cuts - self.edges[i], 0))
        return result

    def runs(self, code: int) -> tuple[Ints, Ints]:
        """Return where the intervals of a code begin and end."""
        mine = np.flatnonzero(self.code == code)
        return self.edges[mine], self.edges[mine + 1]

    def _place(self, instants: Ints) -> Ints:
        return np.clip(np.searchsorted(self.edges, instants, "right") - 1, 0, len(self.code) - 1)


def resolve(samples: pl.DataFrame) -> pl.DataFrame:
    """Return a SAMPLE frame sorted by point and time with one row per instant: the one received last counts.

    Raises SchemaError where `samples` is not a SAMPLE frame.
    """
    frame = require(samples, SAMPLE, "samples")
    before = pl.col("point").shift(1), pl.col("ts").shift(1)
    follows = (pl.col("point") > before[0]) | ((pl.col("point") == before[0]) & (pl.col("ts") > before[1]))
    if frame.select(follows.fill_null(value=True).all()).item():
        return frame  # as a file of the lake lies: the look costs a tenth of the sort
    order = ["point", "ts", "ts_recv", "status", "value", "text"]
    ordered = frame.sort(order, nulls_last=[column == "value" for column in order], maintain_order=False)
    last = (pl.col("point").ne_missing(pl.col("point").shift(-1))) | (pl.col("ts") != pl.col("ts").shift(-1))
    return ordered.filter(last.fill_null(value=True))


def series(resolved: pl.DataFrame, *, uncertain_is_good: bool = False) -> dict[str, Series]:
    """Return each point's arrays from a frame that `resolve` returned."""
    frame = resolved.select("point", pl.col("ts").to_physical(), "value", "text", good=is_good(uncertain_is_good))
    lengths = frame.select(pl.col("point").rle()).unnest("point")
    found, start = {}, 0
    for length, point in lengths.iter_rows():
        found[point] = _series(frame.slice(start, length))
        start += length
    return found


def is_good(uncertain_is_good: bool) -> pl.Expr:
    """Return whether a SAMPLE row is good (rule 2)."""
    severity = pl.col("status") & SEVERITY_MASK
    good = severity == GOOD
    if uncertain_is_good:
        good |= severity == UNCERTAIN
    return good & (pl.col("value").is_not_null() | pl.col("text").is_not_null())


def _series(rows: pl.DataFrame) -> Series:
    text = rows["text"] if rows["text"].null_count() < rows.height else None
    value = rows["value"].fill_null(np.nan) if rows["value"].has_nulls() else rows["value"]
    return Series(rows["ts"].to_numpy(), value.to_numpy(), rows["good"].to_numpy(), text)


def joined(parts: Sequence[Series]) -> Series:
    """Return series of one point that follow each other in time as one."""
    if len(parts) == 1:
        return parts[0]
    return Series(
        np.concatenate([p.ts for p in parts]),
        np.concatenate([p.value for p in parts]),
        np.concatenate([p.good for p in parts]),
        texts([p.text for p in parts], [len(p.ts) for p in parts]),
    )


def all_good(length: int) -> Bools:
    """Return a mask of samples that are all good; it is shared, and not to be written to."""
    global _ALL_GOOD  # noqa: PLW0603  grows to the longest that was asked for
    if len(_ALL_GOOD) < length:
        _ALL_GOOD = np.ones(length, np.bool_)
        _ALL_GOOD.flags.writeable = False
    return _ALL_GOOD[:length]


def texts(parts: Sequence[pl.Series | None], heights: Sequence[int]) -> pl.Series | None:
    """Return texts that follow each other as one column; None where there are none at all."""
    if all(text is None for text in parts):
        return None
    return pl.concat([nulls(n) if text is None else text for text, n in zip(parts, heights, strict=True)])


def nulls(height: int, kind: pl.DataType | type[pl.DataType] = pl.String) -> pl.Series:
    """Return a column that is null throughout."""
    return pl.Series([None], dtype=kind).new_from_index(0, height)


def part(series: Series, begin: int, end: int) -> Series:
    """Return the samples of the positions [begin, end)."""
    text = None if series.text is None else series.text.slice(begin, end - begin)
    return Series(series.ts[begin:end], series.value[begin:end], series.good[begin:end], text)


def known(series: Series | None, hold: int) -> Stretches:
    """Return when a point was known, whatever its values."""
    return _stretches(series, hold, None)


def constant(series: Series | None, hold: int) -> Stretches:
    """Return when a point was known to have one value: each stretch ends where the value changes."""
    if series is None or not len(series.ts):
        return _stretches(series, hold, None)
    bits = series.value.view(np.int64)
    turns = bits[1:] != bits[:-1]
    if series.text is not None:
        turns |= series.text.ne_missing(series.text.shift(1)).to_numpy()[1:]
    return _stretches(series, hold, turns)


def _stretches(series: Series | None, hold: int, turns: Bools | None) -> Stretches:
    if series is None or not len(series.ts):
        none = np.empty(0, np.int64)
        return Stretches(none, none, none)
    ts, good = series.ts, series.good
    # Without sign a difference of more than 292 years is still greater than any hold.
    ends = np.diff(ts).view(np.uint64) > np.uint64(hold)
    if turns is not None:
        ends |= turns
    if good.all():
        turning = np.flatnonzero(ends)
        head, tail = np.append(0, turning + 1), np.append(turning, len(ts) - 1)
    else:
        ends |= ~good[1:] | ~good[:-1]
        head = np.flatnonzero(np.append(True, ends) & good)
        tail = np.flatnonzero(np.append(ends, True) & good)
    following = np.where(tail + 1 < len(ts), ts[np.minimum(tail + 1, len(ts) - 1)], _LAST)
    return Stretches(ts[head], np.minimum(following, np.minimum(ts[tail], _LAST - hold) + hold), head)


def timeline(found: Stretches, code: NDArray[np.int8] | int, start: int, end: int, unknown: int = UNKNOWN) -> Timeline:
    """Return [start, end) as intervals of the stretches' codes, and of `unknown` where none is known.

    code: one a stretch, or one for all; neighbours of one code become one interval.
    """
    n = len(found.begin)
    edges = np.empty(2 * n + 2, np.int64)
    codes = np.full(2 * n + 1, unknown, np.int8)
    edges[0], edges[-1] = start, end
    edges[1:-1:2], edges[2:-1:2] = found.begin, found.end
    codes[1::2] = code
    np.clip(edges, start, end, out=edges)
    return merged(edges, codes)


def merged(edges: Ints, codes: NDArray[np.int8]) -> Timeline:
    """Return intervals as a timeline: without empty ones, and neighbours of one code as one."""
    real = np.diff(edges) > 0
    if not real.any():
        return Timeline(edges[[0, -1]], codes[:1])
    begin, codes, end = edges[:-1][real], codes[real], edges[-1]
    turns = np.append(True, codes[1:] != codes[:-1])
    return Timeline(np.append(begin[turns], end), codes[turns])


def words(series: Series, rows: Ints) -> pl.Series:
    """Return what the samples at these positions say as text (rule 7): whole numbers without a point."""
    text = None if series.text is None else series.text.gather(rows)
    if text is not None and not text.has_nulls():
        return text
    said = _numerals(series.value[rows])
    return said if text is None else text.zip_with(text.is_not_null(), said)


def coded(series: Series, rows: Ints, codes: Mapping[str, int], other: int) -> NDArray[np.int8]:
    """Return the code of what the samples at these positions say, `other` for what has none; shape of `rows`."""
    if series.text is None:  # one look-up a number, not one a sample
        numbers, which = np.unique(series.value[rows], return_inverse=True)
        found = np.array([codes.get(word, other) for word in _numerals(numbers).to_list()], np.int8)
        return found[which]
    told: NDArray[np.int8] = words(series, rows).replace_strict(codes, default=other, return_dtype=pl.Int8).to_numpy()
    return told


def _numerals(numbers: NDArray[np.float64]) -> pl.Series:
    whole = (np.abs(numbers) < _WHOLE) & (numbers == np.rint(numbers))  # false for what is no number
    said = pl.Series(np.where(whole, numbers, 0).astype(np.int64)).cast(pl.String)
    if not whole.all():
        said = said.zip_with(pl.Series(whole), pl.Series(numbers).cast(pl.String))
    return said

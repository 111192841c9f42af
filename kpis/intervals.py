"""Samples -> intervals: what a point was, from when to when, and when nobody knows.

A good sample holds until the next sample of its point, at most for its `max_hold`; all else is unknown. Rules 1 to 4
and 7 of docs/kpi-rules.md. Arrays are per point and sorted by time; times are [ns since 1970, UTC].
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from config.plant import Point
from config.schema import ELEMENTS, SAMPLE, require
from config.status import GOOD, SEVERITY_MASK, UNCERTAIN

UNKNOWN = ELEMENTS.index("unknown")
UNMAPPED = len(ELEMENTS)
"""Code of time in a state that the state map does not name; counted as unknown as well."""


@dataclass(frozen=True, slots=True)
class Series:
    """One point's samples: times, values, texts, and whether each is good; arrays of length n."""

    ts: NDArray[np.int64]
    value: NDArray[np.float64]
    text: pl.Series
    good: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Timeline:
    """A window cut into intervals of one code each: `edges` of length n + 1, `code` of length n."""

    edges: NDArray[np.int64]
    code: NDArray[np.int8]

    def durations(self, cuts: NDArray[np.int64], codes: int) -> NDArray[np.int64]:
        """Return the time of each code between neighbouring cuts [ns], shape (len(cuts) - 1, codes); exact."""
        i = np.clip(np.searchsorted(self.edges, cuts, "right") - 1, 0, len(self.code) - 1)
        lengths = np.diff(self.edges)
        result = np.empty((len(cuts) - 1, codes), np.int64)
        for code in range(codes):
            mine = self.code == code
            before = np.concatenate([[0], np.cumsum(np.where(mine, lengths, 0))])
            result[:, code] = np.diff(before[i] + np.where(mine[i], cuts - self.edges[i], 0))
        return result


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
    severity = pl.col("status") & SEVERITY_MASK
    good = severity == GOOD
    if uncertain_is_good:
        good |= severity == UNCERTAIN
    has_value = pl.col("value").is_not_null() | pl.col("text").is_not_null()
    frame = resolved.select("point", pl.col("ts").to_physical(), "value", "text", good=good & has_value)
    found = {}
    lengths = frame.select(pl.col("point").rle()).unnest("point")
    start = 0
    for length, point in lengths.iter_rows():
        part = frame.slice(start, length)
        found[point] = Series(
            part["ts"].to_numpy(), part["value"].fill_null(np.nan).to_numpy(), part["text"], part["good"].to_numpy()
        )
        start += length
    return found


def known_until(series: Series, hold: int) -> NDArray[np.int64]:
    """Return for each sample until when its value is known: its own time where it is not good."""
    following = np.append(series.ts[1:], np.iinfo(np.int64).max)
    room = np.iinfo(np.int64).max - hold
    held = np.where(series.ts > room, np.iinfo(np.int64).max, np.minimum(series.ts, room) + hold)
    return np.where(series.good, np.minimum(following, held), series.ts)


def timeline(
    series: Series | None, code: NDArray[np.int8], hold: int, start: int, end: int, unknown: int = UNKNOWN
) -> Timeline:
    """Return [start, end) as intervals of the samples' codes, and of `unknown` where none is known.

    `code` holds one code per sample; neighbours of one code become one interval.
    """
    if series is None or not len(series.ts):
        return Timeline(np.array([start, end], np.int64), np.array([unknown], np.int8))
    n = len(series.ts)
    edges = np.empty(2 * n + 2, np.int64)
    codes = np.full(2 * n + 1, unknown, np.int8)
    edges[0], edges[-1] = start, end
    edges[1:-1:2], edges[2:-1:2] = series.ts, known_until(series, hold)
    codes[1::2] = np.where(series.good, code, unknown)
    np.clip(edges, start, end, out=edges)
    real = np.diff(edges) > 0
    edges, codes = np.append(edges[:-1][real], end), codes[real]
    turns = np.append(True, codes[1:] != codes[:-1])
    return Timeline(np.append(edges[:-1][turns], end), codes[turns])


def state_timeline(
    series: Series | None, point: Point | None, states: Mapping[str, str], start: int, end: int
) -> Timeline:
    """Return an asset's time elements over [start, end): codes are positions in ELEMENTS, or UNMAPPED."""
    if series is None or point is None:
        return timeline(None, np.empty(0, np.int8), 0, start, end)
    return timeline(series, _elements(series, states), point.hold_ns, start, end)


def _elements(series: Series, states: Mapping[str, str]) -> NDArray[np.int8]:
    """Return each sample's code; a state that stays is looked up once."""
    bits = series.value.view(np.int64)
    text = series.text.ne_missing(series.text.shift(1)).to_numpy()
    turns = np.append(True, (bits[1:] != bits[:-1]) | text[1:])
    heads = np.flatnonzero(turns)
    codes = _codes(series.value[heads], series.text.gather(heads), states)
    result: NDArray[np.int8] = np.repeat(codes, np.diff(np.append(heads, len(bits))))
    return result


def _codes(values: NDArray[np.float64], text: pl.Series, states: Mapping[str, str]) -> NDArray[np.int8]:
    value = pl.Series(values)
    whole = value.is_finite() & (value == value.round()) & (value.abs() < 2**63)
    as_integer = value.fill_nan(0).cast(pl.Int64, strict=False).cast(pl.String)
    raw = text.zip_with(text.is_not_null(), as_integer.zip_with(whole, value.cast(pl.String)))
    codes = {state: ELEMENTS.index(element) for state, element in states.items()}
    return raw.replace_strict(codes, default=UNMAPPED, return_dtype=pl.Int8).to_numpy()

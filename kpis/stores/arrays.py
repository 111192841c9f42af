"""Rows of files -> each point's arrays, without sorting what lies in order.

A row group of the lake is a while of all points, sorted by point and time: a point's samples are one slice of each.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from config.status import SEVERITY_MASK
from kpis.intervals import Bools, Ints, Series, is_good, texts

COLUMNS = ("point", "ts", "value", "status")
"""What is read of files without texts."""


@dataclass(slots=True)
class _Parts:
    ts: list[Ints] = field(default_factory=list)
    value: list[np.ndarray] = field(default_factory=list)
    good: list[Bools | None] = field(default_factory=list)
    text: list[pl.Series | None] = field(default_factory=list)


def gathered(
    frame: pl.DataFrame, points: Collection[str], *, uncertain_is_good: bool
) -> tuple[dict[str, Series], list[str]]:
    """Return the arrays of the points whose rows lie in order of time, and the points whose rows do not.

    frame: rows of COLUMNS, and `text` where there are any, as they lie in files one after the other.
    """
    parts: dict[str, _Parts] = defaultdict(_Parts)
    for chunk in _chunks(frame):
        _take(chunk, points, parts, uncertain_is_good=uncertain_is_good)
    found, disordered = {}, []
    for point, taken in parts.items():
        ts = _one(taken.ts)
        if len(ts) > 1 and not (ts[1:] > ts[:-1]).all():
            disordered.append(point)
            continue
        found[point] = Series(ts, _one(taken.value), _good(taken), texts(taken.text, [len(t) for t in taken.ts]))
    return found, disordered


def _chunks(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield a frame's row groups, without copying them."""
    columns = [column.get_chunks() for column in frame.get_columns()]
    if len({tuple(len(chunk) for chunk in chunks) for chunks in columns}) > 1:
        yield frame.rechunk()
        return
    for chunks in zip(*columns, strict=True):
        yield pl.DataFrame(list(chunks))


def _take(chunk: pl.DataFrame, points: Collection[str], parts: dict[str, _Parts], *, uncertain_is_good: bool) -> None:
    ts, value = chunk["ts"].to_physical().to_numpy(), chunk["value"]
    text = chunk["text"] if "text" in chunk.columns and chunk["text"].null_count() < chunk.height else None
    good = None
    if value.has_nulls() or not chunk.select(((pl.col("status") & SEVERITY_MASK) == 0).all()).item():
        whole = chunk if text is not None else chunk.with_columns(text=pl.lit(None, pl.String))
        good = whole.select(is_good(uncertain_is_good)).to_series().to_numpy()
        value = value.fill_null(np.nan)
    numbers, at = value.to_numpy(), 0
    for length, point in chunk["point"].rle().struct.unnest().iter_rows():
        if point in points:
            mine, of = slice(at, at + length), parts[point]
            of.ts.append(ts[mine])
            of.value.append(numbers[mine])
            of.good.append(None if good is None else good[mine])
            of.text.append(None if text is None else text.slice(at, length))
        at += length


def _one(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _good(parts: _Parts) -> Bools:
    told = [np.ones(len(ts), np.bool_) if good is None else good for ts, good in zip(parts.ts, parts.good, strict=True)]
    return _one(told)

"""Samples -> how many each point has on each UTC day, and the hash of their canonical writing.

What is written does not depend on files, their order or the store: of each instant of a point the row that counts
(rule 1 of docs/kpi-rules.md), in order of time, without its receive time. docs/evidence-samples.md says it in words.
"""

import datetime as dt
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from config.status import BAD
from kpis.evidence.reading import Rows, runs_of
from kpis.evidence.traces import PARTITIONS
from kpis.intervals import Ints, resolve
from kpis.stores.base import DAY_NS

RECORD = np.dtype([("ts", "<i8"), ("status", "<u4"), ("kind", "u1"), ("value", "<f8")])
"""A row without its text, 21 bytes; kind: 1 where it has a number, 2 where it has a text, 3 with both."""
NUMBER, TEXT = 1, 2
_LENGTH = 4
"""A text follows its record as UTF-8, after so many bytes that say how long it is [B]."""

Bytes = NDArray[np.uint8]


class Partitions:
    """Counts and hashes of what was seen so far, each point's rows in order of time."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._hashes: dict[tuple[int, str], Any] = {}
        self._rows: dict[tuple[int, str], int] = {}

    def add(self, rows: Rows, day: int) -> None:
        """Take rows of a UTC day [days since 1970]."""
        data, at = written(rows.frame)
        for point, begin, end in rows.runs:
            key = day, point
            if key not in self._hashes:
                self._hashes[key], self._rows[key] = hashlib.sha256(), 0
            self._hashes[key].update(data[at[begin] : at[end]])
            self._rows[key] += end - begin

    def table(self) -> pl.DataFrame:
        """Return PARTITIONS, by date and point."""
        keys = sorted(self._hashes)
        columns = {
            "date": [dt.date(1970, 1, 1) + dt.timedelta(days=day) for day, _ in keys],
            "point": [point for _, point in keys],
            "rows": [self._rows[key] for key in keys],
            "sha256": [self._hashes[key].hexdigest() for key in keys],
        }
        return pl.DataFrame(columns, schema=dict(PARTITIONS))


def written(rows: pl.DataFrame) -> tuple[Bytes, Ints]:
    """Return the canonical writing of rows, and where in it each begins, and the last ends; shape (n + 1)."""
    records = np.empty(rows.height, RECORD)
    value, text = rows["value"], rows["text"]
    numbers = value.to_numpy() if not value.has_nulls() else value.fill_null(0.0).to_numpy()
    records["ts"], records["status"] = rows["ts"].to_physical().to_numpy(), rows["status"].fill_null(BAD).to_numpy()
    np.add(numbers, 0.0, out=records["value"])  # of the two zeros the positive one
    records["value"][np.isnan(numbers)] = np.nan  # of all that are no number the same one
    records["kind"] = NUMBER if not value.has_nulls() else np.where(value.is_not_null().to_numpy(), NUMBER, 0)
    if text.null_count() == rows.height:
        return records.view(np.uint8), np.arange(rows.height + 1) * RECORD.itemsize
    return _with_texts(records, text)


def _with_texts(records: NDArray[np.void], text: pl.Series) -> tuple[Bytes, Ints]:
    """Return records with the texts of those that have one behind them."""
    told = np.flatnonzero(text.is_not_null().to_numpy())
    words = text.gather(told)
    lengths = words.str.len_bytes().to_numpy().astype(np.int64)
    records["kind"][told] += TEXT
    sizes = np.full(len(records), RECORD.itemsize)
    sizes[told] += _LENGTH + lengths
    at = np.append(0, np.cumsum(sizes))
    data = np.empty(at[-1], np.uint8)
    _put(data, at[:-1], records.view(np.uint8).reshape(-1, RECORD.itemsize))
    _put(data, at[told] + RECORD.itemsize, lengths.astype("<u4").view(np.uint8).reshape(-1, _LENGTH))
    begin = at[told] + RECORD.itemsize + _LENGTH
    before = np.cumsum(lengths) - lengths
    letters = np.frombuffer("".join(words.to_list()).encode(), np.uint8)
    data[np.repeat(begin - before, lengths) + np.arange(len(letters))] = letters
    return data, at


def _put(data: Bytes, at: Ints, rows: Bytes) -> None:
    """Write rows of bytes, each to its place."""
    data[at[:, None] + np.arange(rows.shape[1])] = rows


def partitions_of(samples: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    """Return PARTITIONS of the samples of [start, end) [ns since 1970, UTC].

    samples: a SAMPLE frame in any order. Raises SchemaError where it is none.
    """
    found = Partitions()
    for day, rows in _by_day(resolve(samples), start, end):
        found.add(Rows(rows, runs_of(rows["point"])), day)
    return found.table()


def _by_day(resolved: pl.DataFrame, start: int, end: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield each UTC day [days since 1970] and its rows."""
    at = pl.col("ts").to_physical()
    inside = resolved.filter(at.is_between(start, end, closed="left")).with_columns(day=at // DAY_NS)
    for (day,), rows in inside.partition_by("day", as_dict=True, maintain_order=True).items():
        yield int(day), rows


def differences(stated: pl.DataFrame, found: pl.DataFrame) -> list[str]:
    """Return where two PARTITIONS are not the same, each point and day in a line; found: what the samples say."""
    both = stated.join(found, on=["date", "point"], how="full", coalesce=True, suffix="_found")
    other = both.filter(pl.col("sha256").ne_missing(pl.col("sha256_found"))).sort("date", "point")
    columns = other.select("date", "point", "rows", "rows_found").fill_null(0)
    return [f"{date} {point}: {_told(*counts)}" for date, point, *counts in columns.iter_rows()]


def _told(stated: int, found: int) -> str:
    if stated == found:
        return f"other samples than the package was made of ({stated} rows)"
    return f"{found} rows, where the package was made of {stated}"

"""Writes Parquet files of the one schema SAMPLE, row group by row group.

Polars' own writer knows neither BYTE_STREAM_SPLIT nor compact footers, and its files are three times as large
(docs/decisions/0012-a-parquet-writer-of-our-own.md). Format: https://parquet.apache.org/docs/file-format/. Each column
of a row group is one data page (version 1), after a dictionary page where it has one; both are compressed with zstd.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import polars as pl
import zstandard
from numpy.typing import NDArray

from collector.sinks import thrift
from collector.sinks.thrift import FALSE, I32, I64, TRUE, Field, binary, listed, struct
from config.lakefiles import RUNS, TEXTS, runs_said

MAGIC = b"PAR1"
GROUPS = "plantproof.groups"
"""Key in the footer: how many rows each row group has."""
LONG_RUN = 200
"""Where a point has so many rows side by side on average, the footer says which points these are."""
QUICK_LEVEL = 3
"""zstd level of files that are written anew within the day or soon after it."""
LARGE = 2**20
"""Pages that are larger than this are long texts: one encoding is tried of them, and compressed quickly [B]."""
_THOROUGH = {"window_log": 21, "chain_log": 18, "hash_log": 18, "search_log": 6, "min_match": 3, "target_length": 128}
"""As small as level 19 makes them, with 5 MB of memory where that takes 35."""

_PLAIN, _RLE, _RLE_DICTIONARY, _BYTE_STREAM_SPLIT = 0, 3, 8, 9
_ZSTD = 6
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_INT32, _INT64, _DOUBLE, _BYTE_ARRAY = 1, 2, 5, 6
_OPTIONAL = 1

_STRING = struct([Field(1, *struct([]))])
_NANOSECONDS_UTC = struct([Field(8, *struct([Field(1, *TRUE), Field(2, *struct([Field(3, *struct([]))]))]))])
_UINT_32 = struct([Field(10, *struct([Field(1, thrift.BYTE, bytes([32])), Field(2, *FALSE)]))])


class Effort(enum.Enum):
    """What is done to make a file small: the more, the longer it stays as it is."""

    LIVE = enum.auto()
    """One encoding a column, compressed quickly: 0.6 µs a row."""
    MERGED = enum.auto()
    """Of a column's encodings the one that comes out smallest, compressed quickly: 1 to 2 µs a row."""
    SETTLED = enum.auto()
    """The same, compressed thoroughly, once for each row: 8 to 20 µs a row, and 12 to 15 % smaller."""


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    physical: int
    logical: tuple[int, bytes] | None
    converted: int | None
    live: int
    """The encoding of files that are merged soon."""
    bounded: bool
    """Whether the footer says the least and the greatest value, so that readers pass over row groups."""


_COLUMNS = (
    _Column("point", _BYTE_ARRAY, _STRING, 0, _RLE_DICTIONARY, bounded=True),
    _Column("ts", _INT64, _NANOSECONDS_UTC, None, _BYTE_STREAM_SPLIT, bounded=True),
    _Column("ts_recv", _INT64, _NANOSECONDS_UTC, None, _RLE_DICTIONARY, bounded=True),
    _Column("value", _DOUBLE, None, None, _BYTE_STREAM_SPLIT, bounded=False),
    _Column("text", _BYTE_ARRAY, _STRING, 0, _RLE_DICTIONARY, bounded=False),
    _Column("status", _INT32, _UINT_32, 13, _RLE_DICTIONARY, bounded=False),
)
"""The columns of SAMPLE, in its order."""


@dataclass(frozen=True, slots=True)
class _Pages:
    """A column of a row group, encoded."""

    data: bytes
    encoding: int
    words: bytes | None = None
    """The dictionary, where the data are positions in it."""
    distinct: int = 0


class Writer:
    """Appends row groups to a binary file that is open for writing; `finish` makes it a Parquet file."""

    def __init__(
        self, file: BinaryIO, about: Mapping[str, str], *, effort: Effort = Effort.LIVE, ordered: bool = False
    ) -> None:
        """Take where to write, and what the footer says beside the schema.

        ordered: the rows are sorted by point, ts and ts_recv.
        """
        self._file, self._about, self._effort, self._ordered = file, about, effort, ordered
        self._quick = zstandard.ZstdCompressor(level=QUICK_LEVEL)
        self._zstd = _thorough() if effort is Effort.SETTLED else self._quick
        self._groups: list[tuple[int, bytes]] = []
        self._heights: list[int] = []
        self._runs: list[dict[str, int]] | None = [] if ordered else None
        self.rows = self._texts = self._at = 0
        self._put(MAGIC)

    def append(self, frame: pl.DataFrame) -> None:
        """Write a SAMPLE frame as one row group."""
        begin = self._at
        chunks = [self._chunk(column, frame[column.name]) for column in _COLUMNS]
        size = sum(plain for _, plain in chunks)
        order = [struct([Field(1, *I32(n)), Field(2, *FALSE), Field(3, *TRUE)]) for n in range(3)]
        group = [
            Field(1, *listed([chunk for chunk, _ in chunks])),
            Field(2, *I64(size)),
            Field(3, *I64(frame.height)),
            *([Field(4, *listed(order))] if self._ordered else []),
            Field(5, *I64(begin)),
            Field(6, *I64(self._at - begin)),
        ]
        self._groups.append(struct(group))
        self._heights.append(frame.height)
        self.rows += frame.height
        self._texts += frame.height - frame["text"].null_count()
        if self._runs is not None:
            counted = frame["point"].rle().struct.unnest()
            self._runs.append(dict(zip(counted["value"].to_list(), counted["len"].to_list(), strict=True)))
            if frame.height < LONG_RUN * counted.height:
                self._runs = None

    def finish(self) -> None:
        """Write the footer; the file stays open."""
        said = {**self._about, GROUPS: ",".join(map(str, self._heights)), TEXTS: str(self._texts)}
        if self._runs is not None:
            said[RUNS] = runs_said(self._runs)
        about = [struct([Field(1, *binary(key)), Field(2, *binary(text))]) for key, text in said.items()]
        orders = [struct([Field(1, *struct([]))]) for _ in _COLUMNS]
        _, footer = struct(
            [
                Field(1, *I32(1)),
                Field(2, *listed(_schema())),
                Field(3, *I64(self.rows)),
                Field(4, *listed(self._groups)),
                Field(5, *listed(about)),
                Field(6, *binary("plantproof")),
                Field(7, *listed(orders)),
            ]
        )
        self._put(footer + len(footer).to_bytes(4, "little") + MAGIC)

    def _put(self, content: bytes) -> None:
        self._file.write(content)
        self._at += len(content)

    def _chunk(self, column: _Column, series: pl.Series) -> tuple[tuple[int, bytes], int]:
        """Write a column of a row group; returns its entry in the footer, and its size uncompressed [B]."""
        present = series.drop_nulls()
        levels = _levels(series)
        begin, plain, words_at = self._at, 0, None
        words, data, pages = self._smallest(column, present, levels)
        if words is not None and pages.words is not None:
            words_at, plain = self._at, len(pages.words)
            kind = Field(7, *struct([Field(1, *I32(pages.distinct)), Field(2, *I32(_PLAIN))]))
            plain += self._page(_DICTIONARY_PAGE, words, len(pages.words), kind)
        data_at = self._at
        numbers = (len(series), pages.encoding, _RLE, _RLE)
        kind = Field(5, *struct([Field(n, *I32(number)) for n, number in enumerate(numbers, 1)]))
        size = len(levels) + len(pages.data)
        plain += size + self._page(_DATA_PAGE, data, size, kind)
        encodings = [I32(e) for e in sorted({_RLE, pages.encoding, *([_PLAIN] if words_at is not None else [])})]
        meta = [
            Field(1, *I32(column.physical)),
            Field(2, *listed(encodings)),
            Field(3, *listed([binary(column.name)])),
            Field(4, *I32(_ZSTD)),
            Field(5, *I64(len(series))),
            Field(6, *I64(plain)),
            Field(7, *I64(self._at - begin)),
            Field(9, *I64(data_at)),
            *([Field(11, *I64(words_at))] if words_at is not None else []),
            Field(12, *_statistics(column, present, len(series) - len(present))),
        ]
        return struct([Field(2, *I64(0)), Field(3, *struct(meta))]), plain

    def _page(self, kind: int, packed: bytes, size: int, header: Field) -> int:
        """Write a page with its header; returns the header's size [B]."""
        fields = [Field(1, *I32(kind)), Field(2, *I32(size)), Field(3, *I32(len(packed))), header]
        _, head = struct(fields)
        self._put(head + packed)
        return len(head)

    def _smallest(self, column: _Column, present: pl.Series, levels: bytes) -> tuple[bytes | None, bytes, _Pages]:
        """Return dictionary and data page, compressed, as they come out smallest, and what they were before."""
        found: list[tuple[bytes | None, bytes, _Pages]] = []
        for pages in _encodings(column, present, every=self._effort is not Effort.LIVE):
            large = len(pages.data) + len(pages.words or b"") > LARGE
            zstd = self._quick if large else self._zstd
            words = zstd.compress(pages.words) if pages.words is not None else None
            found.append((words, zstd.compress(levels + pages.data), pages))
            if large:
                break
        return min(found, key=lambda one: len(one[0] or b"") + len(one[1]))


def _thorough() -> zstandard.ZstdCompressor:
    settled = zstandard.ZstdCompressionParameters(strategy=zstandard.STRATEGY_BTULTRA, **_THOROUGH)
    return zstandard.ZstdCompressor(compression_params=settled)


def _schema() -> list[tuple[int, bytes]]:
    root = struct([Field(4, *binary("schema")), Field(5, *I32(len(_COLUMNS)))])
    leaves = [
        struct(
            [
                Field(1, *I32(column.physical)),
                Field(3, *I32(_OPTIONAL)),
                Field(4, *binary(column.name)),
                *([Field(6, *I32(column.converted))] if column.converted is not None else []),
                *([Field(10, *column.logical)] if column.logical is not None else []),
            ]
        )
        for column in _COLUMNS
    ]
    return [root, *leaves]


def _statistics(column: _Column, present: pl.Series, nulls: int) -> tuple[int, bytes]:
    fields = [Field(3, *I64(nulls))]
    if column.bounded and len(present):
        plain = present.to_physical()
        least, greatest = _bound(plain.min()), _bound(plain.max())
        fields += [Field(5, *binary(greatest)), Field(6, *binary(least)), Field(7, *TRUE), Field(8, *TRUE)]
    return struct(fields)


def _bound(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else int(value).to_bytes(8, "little", signed=True)


def _levels(series: pl.Series) -> bytes:
    """Return the definition levels: which rows are not null; with their length before them."""
    if series.null_count() in (0, len(series)):
        runs = thrift.varint(len(series) << 1) + bytes([series.null_count() == 0])
    else:
        there = series.is_not_null().to_numpy()
        runs = thrift.varint((-(-len(there) // 8)) << 1 | 1) + np.packbits(there, bitorder="little").tobytes()
    return len(runs).to_bytes(4, "little") + runs


def _encodings(column: _Column, present: pl.Series, *, every: bool) -> Iterator[_Pages]:
    """Yield the column's values in one encoding, or in all that may be smallest."""
    strings = column.physical == _BYTE_ARRAY
    dictionary = _words if strings else _numbers
    plain = _plain_strings if strings else _plain_numbers
    ways = [dictionary, plain] if strings or column.physical == _INT32 else [plain, _split, dictionary]
    if not every:
        named = {_PLAIN: plain, _BYTE_STREAM_SPLIT: _split, _RLE_DICTIONARY: dictionary}
        ways = [named[column.live], plain]
    for way in ways:
        pages = way(present)
        if pages is not None:
            yield pages
            if not every:
                break


def _plain_numbers(present: pl.Series) -> _Pages:
    return _Pages(present.to_physical().to_numpy().tobytes(), _PLAIN)


def _split(present: pl.Series) -> _Pages:
    """Return all first bytes of the numbers, then all second ones, and so on."""
    numbers = present.to_physical().to_numpy()
    streams = np.ascontiguousarray(numbers).view(np.uint8).reshape(-1, numbers.itemsize).T
    return _Pages(np.ascontiguousarray(streams).tobytes(), _BYTE_STREAM_SPLIT)


def _plain_strings(present: pl.Series) -> _Pages:
    """Return each string after its length in four bytes."""
    lengths = present.str.len_bytes().to_numpy().astype(np.uint32)
    content = np.frombuffer(_joined(present), np.uint8)
    laid = np.empty(len(content) + 4 * len(lengths), np.uint8)
    heads = (np.cumsum(lengths + 4, dtype=np.int64) - lengths - 4)[:, None] + np.arange(4)
    inside = np.ones(len(laid), np.bool_)
    inside[heads] = False
    laid[heads] = lengths.view(np.uint8).reshape(-1, 4)
    laid[inside] = content
    return _Pages(laid.tobytes(), _PLAIN)


def _joined(strings: pl.Series) -> bytes:
    joined: str | None = strings.str.join("").item() if len(strings) else ""
    return (joined or "").encode()


def _words(present: pl.Series) -> _Pages | None:
    """Return a dictionary of strings; None where so many differ that it would not pay."""
    words = present.unique().sort()
    if len(words) > max(len(present) // 2, 1):
        return None
    runs = present.rle()  # the points of a sorted frame are few runs
    codes = runs.struct.field("value").replace_strict(words, pl.Series(np.arange(len(words), dtype=np.uint32)))
    positions = np.repeat(codes.to_numpy(), runs.struct.field("len").to_numpy()) if len(present) else codes.to_numpy()
    return _Pages(_positions(positions, len(words)), _RLE_DICTIONARY, _plain_strings(words).data, len(words))


def _numbers(present: pl.Series) -> _Pages | None:
    """Return a dictionary of numbers, by their bits; None where so many differ that it would not pay."""
    numbers = present.to_physical().to_numpy()
    bits = numbers.view(np.int64 if numbers.itemsize == 8 else np.uint32)
    words, positions = np.unique(bits, return_inverse=True)
    if len(words) > max(len(bits) // 4 * 3, 1):
        return None
    return _Pages(_positions(positions, len(words)), _RLE_DICTIONARY, words.tobytes(), len(words))


def _positions(positions: NDArray[Any], distinct: int) -> bytes:
    """Return positions in a dictionary, each in whole bytes: zstd finds what repeats only there."""
    kind = np.dtype("<u1") if distinct <= 1 << 8 else np.dtype("<u4")
    if distinct == 1:
        return bytes([1]) + thrift.varint(len(positions) << 1) + b"\0"
    groups = -(-len(positions) // 8)
    padded = np.zeros(groups * 8, kind)
    padded[: len(positions)] = positions
    return bytes([8 * kind.itemsize]) + thrift.varint(groups << 1 | 1) + padded.tobytes()

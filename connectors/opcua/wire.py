"""DataValues on the wire to arrays, without an object a value (encodings: OPC 10000-6, 5.2).

A run of DataValues is walked once to find where each begins; what follows from that is kept as the run's layout.
The next run is checked against it in one comparison of all bytes that shape it (masks, types, lengths): where they
are the same, every offset is the same, and the values are gathered with NumPy. Where not, the run is walked again.
"""

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

SIZES = {0: 0, 1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 4, 8: 8, 9: 8, 10: 4, 11: 8, 13: 8, 14: 16, 19: 4}
"""Bytes of the built-in types of fixed size, by their number (OPC 10000-6, 5.1.2)."""
BOOLEAN = 1
NUMBERS = {
    1: "u1", 2: "i1", 3: "u1", 4: "<i2", 5: "<u2", 6: "<i4", 7: "<u4", 8: "<i8", 9: "<u8", 10: "<f4", 11: "<f8",
    19: "<u4",
}  # fmt: skip
"""The types that are numbers: Boolean, the integers, Float, Double, StatusCode."""
TEXTS = (12, 16)
"""String and XmlElement."""
LARGE = (8, 9)
"""Int64 and UInt64: not every one of them is a float64."""
_BYTES = (12, 15, 16)
_VARIANT = 24
"""May stand in an array alone (OPC 10000-6, 5.1.6)."""
_ARRAY, _DIMENSIONS, _TYPE = 0x80, 0x40, 0x3F
_HAS_VALUE, _HAS_STATUS, _HAS_SOURCE, _HAS_SERVER = 1, 2, 4, 8
_DEPTH = 16
"""So deep may values lie in one another; deeper is an attack."""

_TICKS_1970 = 116_444_736_000_000_000
_TICKS_2001 = _TICKS_1970 + 978_307_200 * 10_000_000
_TICKS_MIN = _TICKS_1970 - 2**63 // 100 + 1
_TICKS_MAX = _TICKS_1970 + 2**63 // 100 - 1


class Malformed(ValueError):  # noqa: N818  it is a state of the message
    """The bytes are not what the encoding allows; nothing of the message may be believed."""


def _tail(mask: int) -> int:
    """Return the size of what follows the value in a DataValue: status, times, picoseconds."""
    return sum(size for bit, size in ((2, 4), (4, 8), (8, 8), (16, 2), (32, 2)) if mask & bit)


TAILS = np.array([_tail(mask) for mask in range(64)] + [0] * 192, np.intp)
_SOURCE_FROM_END = np.array([_tail(mask & ~3) for mask in range(256)], np.intp)
_SERVER_FROM_END = np.array([_tail(mask & 40) for mask in range(256)], np.intp)


def _records() -> list[int]:
    """Return the size of a DataValue by its first two bytes; 0 where more must be looked at, or it is no DataValue."""
    sizes = [0] * 65536
    for mask in range(64):
        for second in range(256):
            if not mask & _HAS_VALUE:
                sizes[mask | second << 8] = 1 + _tail(mask)
            elif second in SIZES:
                sizes[mask | second << 8] = 2 + SIZES[second] + _tail(mask)
    return sizes


_RECORDS = _records()


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """A run of n DataValues as parallel arrays."""

    value: NDArray[np.float64]
    """Numbers; NaN where there is none."""
    valid: NDArray[np.bool_]
    """Whether there is a number that a float64 holds exactly."""
    status: NDArray[np.uint32]
    source: NDArray[np.int64]
    """Source time [ns since 1970, UTC]; NULL_NS for none, UNUSABLE_NS for 1601, 9999 and what 64 bits cannot hold."""
    server: NDArray[np.int64]
    """Server time, likewise."""
    text: dict[int, str]
    """Row -> String or XmlElement."""
    large: dict[int, int]
    """Row -> integer beyond 2^53."""
    opaque: dict[int, bytes]
    """Row -> Variant of another type (array, structure, DateTime ...), as it came."""

    def take(self, rows: NDArray[np.intp]) -> "Columns":
        """Return other rows of the run, each as often as it is named."""
        order = rows.tolist()
        return Columns(
            value=self.value[rows],
            valid=self.valid[rows],
            status=self.status[rows],
            source=self.source[rows],
            server=self.server[rows],
            text={n: self.text[row] for n, row in enumerate(order) if row in self.text},
            large={n: self.large[row] for n, row in enumerate(order) if row in self.large},
            opaque={n: self.opaque[row] for n, row in enumerate(order) if row in self.opaque},
        )


NULL_NS = int(np.iinfo(np.int64).min)
UNUSABLE_NS = NULL_NS + 1
_NO_TICKS = -1


@dataclass(slots=True)
class _Walk:
    """Where the DataValues of a run begin, and which bytes of the variable ones shape it."""

    starts: list[int] = field(default_factory=list)
    end: int = 0
    shapes: list[tuple[int, int]] = field(default_factory=list)


def _walk(body: bytes, at: int, count: int, lead: int) -> _Walk:
    """Find the starts of `count` DataValues from `at`; `lead` bytes (a client handle) stand before each."""
    found = _Walk()
    append, records = found.starts.append, _RECORDS
    try:
        for _ in range(count):
            at += lead
            append(at)
            size = records[body[at] | body[at + 1] << 8]
            at = at + size if size else _variable(body, at, found.shapes)
    except IndexError:
        raise Malformed("the message ends inside a value") from None
    if at > len(body):
        raise Malformed("the message ends inside a value")
    found.end = at
    return found


def _variable(body: bytes, at: int, shapes: list[tuple[int, int]]) -> int:
    """Return the end of a DataValue whose value is of variable size, and note the bytes that shape it."""
    mask = body[at]
    if mask > 63:
        raise Malformed(f"a DataValue's mask is {mask:#04x}; six bits are defined")
    end, shaped = _variant(body, at + 1, 0)
    shapes.append((at + 1, shaped))
    return end + _tail(mask)


def _variant(body: bytes, at: int, depth: int) -> tuple[int, int]:
    """Return a Variant's end, and where the bytes end that shape it (its content follows them)."""
    encoding = body[at]
    kind = encoding & _TYPE
    if kind > 25 or depth > _DEPTH:
        raise Malformed(f"a value's type is {kind}; 25 are defined" if kind > 25 else "values lie too deep in another")
    if not encoding & _ARRAY:
        if encoding & _DIMENSIONS:
            raise Malformed("a value has dimensions and is no array")
        if kind == _VARIANT:
            raise Malformed("a Variant stands right in a Variant")
        end = _skip(body, at + 1, kind, depth)
        return end, at + 5 if kind in _BYTES else end
    count = _length(body, at + 1)
    end = at + 5
    if not kind and count:
        raise Malformed("an array of nothing")
    if kind in SIZES:
        end += count * SIZES[kind]
    else:
        for _ in range(count):
            end = _skip(body, end, kind, depth)
    if not encoding & _DIMENSIONS:
        return end, at + 5 if kind in SIZES else end
    end += 4 + 4 * _length(body, end)
    return end, end


def _length(body: bytes, at: int) -> int:
    """Return the length of an array or text; -1 means null. No part can be longer than the message."""
    if at + 4 > len(body):
        raise Malformed("the message ends inside a length")
    length: int = struct.unpack_from("<i", body, at)[0]
    if length > len(body):
        raise Malformed(f"a length of {length} in a message of {len(body)} bytes")
    return max(length, 0)


def _skip(body: bytes, at: int, kind: int, depth: int) -> int:
    """Return where a value of a built-in type ends."""
    if kind in SIZES:
        return at + SIZES[kind]
    if kind in _BYTES:
        return at + 4 + _length(body, at)
    skips = {17: node_id_end, 18: node_id_end, 20: _qualified_name, 21: _localized_text, 22: extension_end}
    if kind in skips:
        return skips[kind](body, at)
    if kind == 23:
        return _data_value(body, at, depth + 1)
    return _variant(body, at, depth + 1)[0] if kind == 24 else diagnostic_end(body, at, depth + 1)


def node_id_end(body: bytes, at: int) -> int:
    """Return where a NodeId or ExpandedNodeId ends."""
    first = body[at]
    sizes = {0: 2, 1: 4, 2: 7, 4: 19}
    kind = first & _TYPE
    if kind in (3, 5):
        end = at + 7 + _length(body, at + 3)
    elif kind in sizes:
        end = at + sizes[kind]
    else:
        raise Malformed(f"a node id's encoding is {first:#04x}")
    if first & 0x80:  # the namespace's URI
        end += 4 + _length(body, end)
    return end + 4 if first & 0x40 else end  # the server's index


def _qualified_name(body: bytes, at: int) -> int:
    return at + 6 + _length(body, at + 2)


def _localized_text(body: bytes, at: int) -> int:
    end = at + 1
    for bit in (1, 2):
        if body[at] & bit:
            end += 4 + _length(body, end)
    return end


def extension_end(body: bytes, at: int) -> int:
    """Return where an ExtensionObject ends."""
    at = node_id_end(body, at)
    encoding = body[at]
    if encoding > 2:
        raise Malformed(f"a structure's encoding is {encoding}; three are defined")
    return at + 5 + _length(body, at + 1) if encoding else at + 1


def _data_value(body: bytes, at: int, depth: int) -> int:
    mask = body[at]
    if mask > 63 or depth > _DEPTH:
        raise Malformed(f"a DataValue's mask is {mask:#04x}; six bits are defined")
    end = _variant(body, at + 1, depth)[0] if mask & _HAS_VALUE else at + 1
    return end + _tail(mask)


def diagnostic_end(body: bytes, at: int, depth: int = 0) -> int:
    """Return where a DiagnosticInfo ends."""
    mask = body[at]
    if mask > 127 or depth > _DEPTH:
        raise Malformed(f"a DiagnosticInfo's mask is {mask:#04x}; seven bits are defined")
    end = at + 1 + 4 * (mask & 15).bit_count()
    if mask & 16:
        end += 4 + _length(body, end)
    end += 4 if mask & 32 else 0
    return diagnostic_end(body, end, depth + 1) if mask & 64 else end


class _Layout:
    """Everything about a run that follows from the bytes that shape it; offsets count from the run's begin."""

    def __init__(self, body: bytes, at: int, walk: _Walk, lead: int) -> None:
        run = np.frombuffer(body, np.uint8, walk.end - at, at)
        starts = np.array(walk.starts, np.intp) - at
        ends = np.append(starts[1:] - lead, walk.end - at)
        mask = run[starts]
        has = mask & _HAS_VALUE != 0
        encoding = np.where(has, run[starts + has], 0)
        self.length, self.count = walk.end - at, len(starts)
        self.handles = starts - lead
        self._shape = self._shaping(starts, has, walk, at)
        self._shaped = run[self._shape].tobytes()
        values, tails = starts + 2, ends - TAILS[mask]
        self._numbers = [
            (np.dtype(kind), rows, values[rows], number)
            for number, kind in NUMBERS.items()
            if len(rows := np.flatnonzero(encoding == number))
        ]
        self._texts = [int(row) for row in np.flatnonzero(np.isin(encoding, TEXTS))]
        opaque = has & (encoding != 0) & ~np.isin(encoding, [*NUMBERS, *TEXTS])
        self._opaque = [(int(r), int(starts[r]) + 1, int(tails[r])) for r in np.flatnonzero(opaque)]
        self._spans = [(r, int(values[r]), int(tails[r])) for r in self._texts]
        self._status = _where(mask & _HAS_STATUS != 0, tails)
        self._source = _where(mask & _HAS_SOURCE != 0, ends - _SOURCE_FROM_END[mask])
        self._server = _where(mask & _HAS_SERVER != 0, ends - _SERVER_FROM_END[mask])

    @staticmethod
    def _shaping(starts: NDArray[np.intp], has: NDArray[np.bool_], walk: _Walk, at: int) -> NDArray[np.intp]:
        parts = [starts, starts[has] + 1, *(np.arange(a - at, b - at) for a, b in walk.shapes)]
        return np.sort(np.concatenate(parts))

    def fits(self, run: Bytes, count: int) -> bool:
        """Return whether a run of `count` values is shaped the same."""
        return count == self.count and len(run) >= self.length and run[self._shape].tobytes() == self._shaped

    def columns(self, body: bytes, at: int) -> Columns:
        """Gather the values of a run that fits."""
        n = self.count
        value, valid = np.full(n, np.nan), np.zeros(n, np.bool_)
        large: dict[int, int] = {}
        for kind, rows, offsets, number in self._numbers:
            raw = _gather(body, at, kind, offsets)
            value[rows], valid[rows] = raw != 0 if number == BOOLEAN else raw, True
            if number in LARGE:
                beyond = np.flatnonzero((raw > 2**53) | (raw < -(2**53) if kind.kind == "i" else False))
                large |= zip(rows[beyond].tolist(), raw[beyond].tolist(), strict=True)
                valid[rows[beyond]] = False
        return Columns(
            value=value,
            valid=valid,
            status=_scatter(body, at, n, np.uint32(0), self._status),
            source=_nanoseconds(_scatter(body, at, n, np.int64(_NO_TICKS), self._source)),
            server=_nanoseconds(_scatter(body, at, n, np.int64(_NO_TICKS), self._server)),
            text={r: word for r, a, b in self._spans if (word := _text(body, at + a, at + b)) is not None},
            large=large,
            opaque={row: body[at + a : at + b] for row, a, b in self._opaque},
        )


def _where(rows: NDArray[np.bool_], offsets: NDArray[np.intp]) -> tuple[NDArray[np.intp] | slice, NDArray[np.intp]]:
    return (slice(None), offsets) if rows.all() else (np.flatnonzero(rows), offsets[rows])


def _gather(body: bytes, at: int, kind: "np.dtype[Any]", offsets: NDArray[np.intp]) -> NDArray[Any]:
    """Return the numbers that lie at `offsets`, aligned or not."""
    every: NDArray[Any] = np.ndarray((len(body) - at - kind.itemsize + 1,), kind, body, at, (1,))
    return every[offsets]


def _scatter(
    body: bytes, at: int, n: int, default: Any, where: tuple[NDArray[np.intp] | slice, NDArray[np.intp]]
) -> NDArray[Any]:
    """Return the numbers that lie at some rows' offsets, and `default` for the other rows."""
    rows, offsets = where
    kind = default.dtype.newbyteorder("<")
    if isinstance(rows, slice):
        return _gather(body, at, kind, offsets)
    out = np.full(n, default)
    if len(offsets):
        out[rows] = _gather(body, at, kind, offsets)
    return out


def moment(ticks: int) -> int | None:
    """Return one time of 100 ns since 1601 as [ns since 1970, UTC]; None where it is none."""
    return (ticks - _TICKS_1970) * 100 if _TICKS_2001 < ticks < _TICKS_MAX else None


def _nanoseconds(ticks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return times of 100 ns since 1601 as [ns since 1970, UTC]."""
    inside = (ticks > _TICKS_MIN) & (ticks < _TICKS_MAX)
    if inside.all():
        return (ticks - _TICKS_1970) * 100
    known = (np.where(inside, ticks, _TICKS_1970) - _TICKS_1970) * 100
    return np.where(inside, known, np.where(ticks == _NO_TICKS, NULL_NS, UNUSABLE_NS))


def _text(body: bytes, at: int, end: int) -> str | None:
    """Return a String; None where it is null. Bytes that are no UTF-8 are written as \\xNN."""
    return None if body[at : at + 4] == b"\xff\xff\xff\xff" else body[at + 4 : end].decode("utf-8", "backslashreplace")


def refused(count: int, status: int) -> Columns:
    """Return values that a server refused with a StatusCode: no number, no time."""
    return Columns(
        value=np.full(count, np.nan),
        valid=np.zeros(count, np.bool_),
        status=np.full(count, status, np.uint32),
        source=np.full(count, NULL_NS),
        server=np.full(count, NULL_NS),
        text={},
        large={},
        opaque={},
    )


_NOTHING = refused(0, 0)


class Decoder:
    """Decodes one kind of run again and again: the answers of a poll group, or a subscription's notifications."""

    def __init__(self, lead: int = 0) -> None:
        """Take how many bytes stand before each DataValue: 4 for the client handle of a notification."""
        self._lead = lead
        self._layout: _Layout | None = None
        self.walks = 0
        """How many runs were walked; the others had the last one's layout."""

    def decode(self, body: bytes, at: int, count: int) -> tuple[Columns, int]:
        """Return `count` DataValues from `at`, and where they end.

        Raises Malformed where the bytes are no such run.
        """
        if not count:
            return _NOTHING, at
        if at >= len(body):
            raise Malformed("the message ends before its values")
        layout = self._layout
        if layout is None or not layout.fits(np.frombuffer(body, np.uint8, -1, at), count):
            self.walks += 1
            layout = _Layout(body, at, _walk(body, at, count, self._lead), self._lead)
            self._layout = layout
        return layout.columns(body, at), at + layout.length

    def handles(self, body: bytes, at: int, count: int) -> NDArray[np.intp]:
        """Return the client handles of the run of `count` values at `at` that was decoded last."""
        if self._layout is None or not count:
            return np.empty(0, np.intp)
        return _gather(body, at, np.dtype("<u4"), self._layout.handles).astype(np.intp)

"""Bytes of a poll's replies to typed, scaled columns, by a layout that is worked out once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.plant import Point
from config.status import BAD, BAD_DECODING_ERROR, BAD_NO_VALUE, GOOD
from connectors.modbus.datatype import NUMBERS, Datatype
from connectors.modbus.plan import Slot
from connectors.scaling import EXACT_LIMIT, Scaling

MOST_POWER = 12
"""A scale factor of more than ten to this power, either way, is no scale factor (SunSpec's go from -10 to 10)."""

_BIG = ("int64", "uint64", "bcd64")
_BCD_DIGITS = {"bcd16": 4, "bcd32": 8, "bcd64": 16}


def sentinels(text: str, datatype: Datatype) -> list[float | int]:
    """Return the raw values that mean "no value", of `65535 0x8000 nan`; hex are the register's bits.

    Raises ValueError naming the word that is none.
    """
    found: list[float | int] = []
    for word in text.split():
        try:
            found.append(_sentinel(word, datatype))
        except (ValueError, OverflowError, FloatingPointError):
            what = f"no_value {word!r} is no raw value of {datatype}"
            raise ValueError(f"{what}; write a number, bits such as 0x8000, or nan for a float") from None
    return found


def _sentinel(word: str, datatype: Datatype) -> float | int:
    """Return one raw value as the type's bytes read; raises ValueError or OverflowError where it has no such value."""
    if datatype.name not in NUMBERS or datatype.name == "bool":
        raise ValueError(word)
    kind = np.dtype(NUMBERS[datatype.name][1])
    if word[:2].lower() == "0x":
        bits: float | int = np.frombuffer(int(word, 16).to_bytes(kind.itemsize, "big"), kind)[0].item()
        return bits
    if kind.kind == "f":
        with np.errstate(over="raise"):  # what the type cannot hold would become infinite, or a fault of its own
            return _exact(float(word), kind)
    number = int(word)
    if datatype.name in _BCD_DIGITS:
        number = int(f"{number:d}", 16)
    info = np.iinfo(kind)
    if not info.min <= number <= info.max:
        raise ValueError(word)
    return number


def _exact(number: float, kind: np.dtype[Any]) -> float:
    held = float(kind.type(number))
    if np.isinf(held) and not np.isinf(number):
        raise ValueError(number)
    return held


@dataclass(frozen=True, slots=True)
class _Kind:
    """Slots of one type, decoded together."""

    name: str
    rows: NDArray[np.intp]
    index: NDArray[np.intp]
    """Where their bytes lie in the buffer, most significant first; shape (slots, bytes)."""
    none: NDArray[np.generic] | None
    """Raw values that mean "no value"; shape (slots, most of them), padded with each slot's first."""
    has_none: NDArray[np.bool_]


@dataclass(slots=True)
class Columns:
    """A poll's values, one row for each point of the group."""

    value: NDArray[np.float64]
    valid: NDArray[np.bool_]
    status: NDArray[np.uint32]
    text: list[str | None] | None


class Layout:
    """Decodes the buffer of one group of points.

    The first rows are the points', in the group's order; behind them come the registers by which they are scaled.
    """

    def __init__(
        self,
        points: Sequence[Point],
        slots: Sequence[Slot],
        factors: Sequence[Sequence[tuple[int, bool]]],
        places: NDArray[np.intp],
        faults: Counter[str],
    ) -> None:
        """Take the points, their and the factors' slots, each point's factors (row, is power) and each slot's place.

        places: where each slot's first byte lies in the buffer; shape (slots,).
        """
        self._points, self._faults = points, faults
        self._scaling = Scaling(points)
        self._rows = len(slots)
        self._none = [sentinels(p.no_value, slots[n].datatype) for n, p in enumerate(points)]
        self._none += [[] for _ in range(self._rows - len(points))]
        by_type: dict[str, list[int]] = {}
        for row, slot in enumerate(slots):
            by_type.setdefault(slot.datatype.name, []).append(row)
        self._kinds = [self._kind(name, rows, slots, places) for name, rows in by_type.items() if name != "string"]
        self._strings = [
            (row, slots[row].datatype, slots[row].datatype.byte_offsets() + places[row])
            for row in by_type.get("string", [])
        ]
        self._words: dict[int, tuple[bytes, str]] = {}
        self._shift = np.array([slot.bit or 0 for slot in slots], np.uint16)
        most = max(map(len, factors), default=0)
        self._terms = [_term([(row, *of[n]) for row, of in enumerate(factors) if len(of) > n]) for n in range(most)]
        self._scaled = np.array([bool(of) for of in factors], np.bool_)

    def _kind(self, name: str, rows: list[int], slots: Sequence[Slot], places: NDArray[np.intp]) -> _Kind:
        offsets = [slots[row].datatype.byte_offsets() if name != "coil" else [0] for row in rows]
        index = places[rows][:, None] + np.array(offsets, np.intp)
        lists = [self._none[row] for row in rows]
        none = None
        if any(lists):
            wide = max(map(len, lists))
            padded = [(one or [0]) + (one or [0])[:1] * (wide - max(len(one), 1)) for one in lists]
            none = np.array(padded, np.dtype(NUMBERS[name][1]).newbyteorder("="))
        has_none = np.array([bool(one) for one in lists], np.bool_)
        return _Kind(name, np.array(rows, np.intp), index, none, has_none)

    def decode(self, buffer: NDArray[np.uint8], status: NDArray[np.uint32]) -> Columns:
        """Return the points' columns.

        buffer: the poll's data bytes, shape (bytes,).
        status: of each slot's request, shape (slots,); where it is not Good, the bytes mean nothing.
        """
        with np.errstate(all="ignore"):  # infinite and signalling numbers are a device's right, not a fault
            return self._decoded(buffer, status.copy())

    def _decoded(self, buffer: NDArray[np.uint8], status: NDArray[np.uint32]) -> Columns:
        raw = np.empty(self._rows)
        text: list[str | None] | None = None
        exact: list[tuple[int, int]] = []
        for kind in self._kinds:
            raw[kind.rows] = self._numbers(kind, buffer, status, exact)
        n = len(self._points)
        value, status = self._scale(raw, status)
        valid = status < BAD
        if self._strings or exact:
            text = [None] * n
            self._read_strings(buffer, status, valid, text)
            for row, number in exact:
                if row < n and valid[row] and not self._scaled[row]:
                    text[row], valid[row] = self._scaling.exact(row, number), False
        value[~valid] = np.nan
        return Columns(value, valid, status, text)

    def _numbers(
        self, kind: _Kind, buffer: NDArray[np.uint8], status: NDArray[np.uint32], exact: list[tuple[int, int]]
    ) -> NDArray[Any]:
        """Return one type's raw numbers; sets the status of those that mean no value, or are none."""
        chosen = buffer.take(kind.index)
        if kind.name == "coil":
            return chosen[:, 0]
        if kind.name == "bit":
            bits: NDArray[Any] = (chosen.view(">u2")[:, 0] >> self._shift[kind.rows]) & 1
            return bits
        numbers: NDArray[Any] = chosen.view(NUMBERS[kind.name][1])[:, 0]
        if kind.none is not None:
            same = numbers[:, None] == kind.none
            if numbers.dtype.kind == "f":
                same |= np.isnan(numbers)[:, None] & np.isnan(kind.none)
            _worsen(status, kind.rows[same.any(axis=1) & kind.has_none], BAD_NO_VALUE)
        if kind.name in _BCD_DIGITS:
            numbers, wrong = _bcd(numbers.astype(np.uint64), _BCD_DIGITS[kind.name])
            fresh = kind.rows[wrong][status[kind.rows[wrong]] == GOOD]
            if len(fresh):
                self._faults["a BCD register has a digit above 9"] += len(fresh)
                _worsen(status, fresh, BAD_DECODING_ERROR)
        elif kind.name == "bool":
            numbers = numbers != 0
        if kind.name in _BIG:
            big = (numbers > EXACT_LIMIT) | (numbers < -EXACT_LIMIT if kind.name == "int64" else False)
            if big.any():
                exact += zip(kind.rows[big].tolist(), numbers[big].tolist(), strict=True)
        return numbers

    def _scale(
        self, raw: NDArray[np.float64], status: NDArray[np.uint32]
    ) -> tuple[NDArray[np.float64], NDArray[np.uint32]]:
        """Return the points' values in their units, and their status with that of the registers that scale them."""
        n = len(self._points)
        value, mine = raw[:n].copy(), status[:n].copy()
        for rows, factors, powers in self._terms:
            factor = raw[factors]
            wild = powers & ((np.abs(factor) > MOST_POWER) | (factor != np.rint(factor)))
            wild |= ~np.isfinite(factor)
            fresh = wild & (status[factors] == GOOD)
            if fresh.any():
                # SunSpec says "not implemented" by 0x8000; a scale that is none makes no value.
                self._faults["a scale factor is none"] += int((fresh & (factor != -0x8000)).sum())
            power = np.where(powers & ~wild, factor, 0.0)
            value[rows] *= np.where(powers | wild, 1.0, factor)
            up = 10.0 ** np.maximum(power, 0.0)
            down = 10.0 ** np.maximum(-power, 0.0)
            value[rows] = value[rows] * up / down  # 1234 / 100 is 12.34; 1234 * 0.01 is that and a bit
            theirs = np.where(status[factors] != GOOD, status[factors], np.where(wild, BAD_NO_VALUE, GOOD))
            mine[rows] = np.where(mine[rows] == GOOD, theirs, mine[rows])
        return self._scaling.apply_all(value), mine

    def _read_strings(
        self, buffer: NDArray[np.uint8], status: NDArray[np.uint32], valid: NDArray[np.bool_], text: list[str | None]
    ) -> None:
        for row, datatype, index in self._strings:
            if status[row] >= BAD:
                continue
            data = buffer[index].tobytes()
            known = self._words.get(row)
            if known is None or known[0] != data:
                known = self._words[row] = data, decoded(data, datatype.encoding)
            text[row], valid[row] = known[1], False


def decoded(data: bytes, encoding: str) -> str:
    r"""Return a string up to its first NUL, without blanks at its end; bytes that are no text stay, as \xNN."""
    return data.partition(b"\0")[0].decode(encoding, "backslashreplace").rstrip()


def _term(terms: list[tuple[int, int, bool]]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Return the rows that are scaled, the rows of what they are scaled by, and whether it is a power of ten."""
    rows, factors, powers = zip(*terms, strict=True)
    return np.array(rows, np.intp), np.array(factors, np.intp), np.array(powers, np.bool_)


def _worsen(status: NDArray[np.uint32], rows: NDArray[np.intp], code: int) -> None:
    """Set a status where it was good."""
    good = rows[status[rows] == GOOD]
    status[good] = code


def _bcd(numbers: NDArray[np.uint64], digits: int) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the numbers whose decimal digits stand in half bytes, and where a half byte is none."""
    shifts = np.arange(4 * (digits - 1), -1, -4, dtype=np.uint64)
    halves = (numbers[:, None] >> shifts) & np.uint64(0xF)
    powers = np.uint64(10) ** np.arange(digits - 1, -1, -1, dtype=np.uint64)
    wrong: NDArray[np.bool_] = np.any(halves > 9, axis=1)
    return (halves * powers).sum(axis=1, dtype=np.uint64), wrong

"""The wire format of Protocol Buffers, as much of it as payloads need: no schema, no recursion, bounded by its input.

Source: Protocol Buffers, Encoding (protobuf.dev/programming-guides/encoding). A field is a tag, which is its number
and its wire type in one, and a value. What a reader does not know by its tag it passes over, as the standard asks.
"""

import struct
from typing import Any

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Wire types; 3 and 4 are groups, which proto2 has deprecated and no payload here has."""
_SIZES = {FIXED32: 4, FIXED64: 8}
_LAST_TAG = 2**32
_WORD = 2**64
_LONGEST = 10
"""So many bytes has the longest number."""
_F32, _F64 = struct.Struct("<f"), struct.Struct("<d")

Field = tuple[int, Any]
"""A tag, and what its wire type says: the number of a varint, an int, or else the bytes."""


def tag(number: int, wire: int) -> int:
    """Return the tag of a field's number and its wire type."""
    return number << 3 | wire


def fields(data: bytes) -> list[Field]:
    """Return the fields of a message in their order: varints as unsigned numbers of 64 bit, all others as bytes.

    Raises ValueError where the bytes end within a field, or are none of the format.
    """
    found: list[Field] = []
    append, at, end = found.append, 0, len(data)
    try:
        while at < end:
            key = data[at]
            at += 1
            if key > 0x7F:
                key, at = _varint(data, at - 1)
            if not 8 <= key < _LAST_TAG:
                raise ValueError(f"tag {key} is of no field")
            wire = key & 7
            if wire == VARINT:
                number = data[at]
                at += 1
                if number > 0x7F:
                    number, at = _varint(data, at - 1)
                append((key, number))
                continue
            if wire == LENGTH:
                size = data[at]
                at += 1
                if size > 0x7F:
                    size, at = _varint(data, at - 1)
            else:
                size = _SIZES.get(wire, end)  # more than is left: the format has no such field
            start, at = at, at + size
            if at > end:
                raise ValueError(f"field {key >> 3} of wire type {wire} has {size} bytes where {end - start} are left")
            append((key, data[start:at]))
    except IndexError:
        raise ValueError("the bytes end within a field") from None
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of several bytes that begins at `at`, and where it ends."""
    number = shift = 0
    for byte in data[at : at + _LONGEST]:
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number % _WORD, at + shift // 7 + 1
        shift += 7
    raise ValueError("a number has no end")


def varints(value: int | bytes) -> list[int]:
    """Return the numbers of a repeated field: of one entry, or of many that are packed (proto3's way).

    Raises ValueError where a number has no end.
    """
    if isinstance(value, int):
        return [value]
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(number)
    return found


def float32(data: bytes) -> float:
    """Return the number of a field of wire type FIXED32."""
    number: float = _F32.unpack(data)[0]
    return number


def float64(data: bytes) -> float:
    """Return the number of a field of wire type FIXED64."""
    number: float = _F64.unpack(data)[0]
    return number


def written(number: int, value: int | str | bytes) -> bytes:
    """Return a field of a number (a varint, not negative), a text or bytes."""
    if isinstance(value, int):
        return _written_varint(tag(number, VARINT)) + _written_varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _written_varint(tag(number, LENGTH)) + _written_varint(len(data)) + data


def _written_varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)

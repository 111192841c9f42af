"""The compact protocol of Thrift, as far as the footer and the page headers of a Parquet file need it.

Encoding: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from collections.abc import Sequence
from typing import NamedTuple

TRUE, FALSE = (1, b""), (2, b"")
BYTE = 3
_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12
_LONG_LIST = 15

Typed = tuple[int, bytes]
"""A value: its type and its bytes."""


class Field(NamedTuple):
    """A field of a struct; fields stand in rising order of their number."""

    number: int
    kind: int
    content: bytes


def varint(number: int) -> bytes:
    """Return a number from 0 up, seven bits a byte, the lowest first."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _zigzag(number: int) -> bytes:
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def I32(number: int) -> Typed:  # noqa: N802  the type's name in Thrift
    """Return an integer of 32 bits."""
    return _I32, _zigzag(number)


def I64(number: int) -> Typed:  # noqa: N802  the type's name in Thrift
    """Return an integer of 64 bits."""
    return _I64, _zigzag(number)


def binary(content: str | bytes) -> Typed:
    """Return a string."""
    raw = content.encode() if isinstance(content, str) else content
    return _BINARY, varint(len(raw)) + raw


def listed(values: Sequence[Typed]) -> Typed:
    """Return a list of values of one type; an empty one is of structs."""
    kind = values[0][0] if values else _STRUCT
    head = bytes([len(values) << 4 | kind]) if len(values) < _LONG_LIST else bytes([0xF0 | kind]) + varint(len(values))
    return _LIST, head + b"".join(content for _, content in values)


def struct(fields: Sequence[Field]) -> Typed:
    """Return a struct; true and false stand in their fields' types."""
    found, before = bytearray(), 0
    for number, kind, content in fields:
        step = number - before
        found += bytes([step << 4 | kind]) if step < _LONG_LIST + 1 else bytes([kind]) + _zigzag(number)
        found += content
        before = number
    return _STRUCT, bytes(found) + b"\0"

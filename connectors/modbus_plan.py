"""From points to few Modbus requests: addresses, types and the merging of neighbours; no socket in here."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from config.plant import Point, Source

FUNCTIONS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
"""The read function code of each table (Modbus Application Protocol V1.1b3, section 6)."""

MAX_REGISTERS = 125
MAX_BITS = 2000
MAX_GAP = 16
"""Up to so many unasked registers are read along rather than ask twice."""

WORDS = {
    "bool": 1, "int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "float32": 2,
    "int64": 4, "uint64": 4, "float64": 4,
}  # fmt: skip
"""Registers of each type."""

ORDERS = {1: ("AB", "BA"), 2: ("ABCD", "CDAB", "BADC", "DCBA"), 4: ("ABCD", "CDAB", "BADC", "DCBA")}
"""Byte orders by number of registers; the first is the default, big-endian throughout."""

_NAMED = re.compile(r"(?:(\d{1,3})/)?(coil|discrete|holding|input):(0[xX][0-9a-fA-F]{1,4}|\d{1,5})")
_CLASSIC = re.compile(r"(?:(\d{1,3})/)?([0134])(\d{4,5})")
_CLASSIC_TABLES = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Where one point's value lies."""

    position: int
    """Position in the connector's point list."""
    unit: int
    table: str
    address: int
    """Zero-based."""
    count: int
    """Registers or bits."""
    kind: str
    """A key of WORDS."""
    order: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One read request and the slots that its reply fills."""

    unit: int
    table: str
    address: int
    count: int
    slots: tuple[Slot, ...]


def parse_address(text: str, default_unit: int) -> tuple[int, str, int]:
    """Return unit, table and zero-based address of `3/holding:0x10`, `input:9` or the classic `40010`.

    Raises ValueError naming the forms there are.
    """
    if (named := _NAMED.fullmatch(text)) is not None:
        unit, table, address = named[1], named[2], int(named[3], 16 if named[3][:2] in ("0x", "0X") else 10)
    elif (classic := _CLASSIC.fullmatch(text)) is not None:
        unit, table, address = classic[1], _CLASSIC_TABLES[classic[2]], int(classic[3]) - 1
    else:
        raise ValueError(
            f"address {text!r} is none of [unit/]holding:9, input:, coil:, discrete: (zero-based, 0x for "
            "hex) and the classic 40010 (one-based)"
        )
    number = default_unit if unit is None else int(unit)
    if number > 255:
        raise ValueError(f"address {text!r}: unit {number} is above 255")
    if not 0 <= address <= 0xFFFF:
        raise ValueError(f"address {text!r}: zero-based address {address} is not within 0 to 65535")
    return number, table, address


def parse_type(text: str, table: str) -> tuple[str, str]:
    """Return type and byte order of `uint32 CDAB`; empty is uint16, or bool for bits.

    Raises ValueError naming the types or orders there are.
    """
    bits = table in ("coil", "discrete")
    kind, _, order = text.strip().partition(" ")
    kind, order = kind or ("bool" if bits else "uint16"), order.strip().upper()
    if kind not in WORDS:
        raise ValueError(f"type {kind!r} is none of {', '.join(WORDS)}")
    if bits and (kind != "bool" or order):
        raise ValueError(f"type {text!r}: a {table} is a bool; leave the type empty")
    orders = ORDERS[WORDS[kind]]
    if order and order not in orders:
        raise ValueError(f"byte order {order!r} of {kind} is none of {', '.join(orders)}")
    return kind, order or orders[0]


def slot(source: Source, position: int, point: Point) -> Slot:
    """Return where a point's value lies; raises ValueError where its address or type is at fault."""
    unit, table, address = parse_address(point.address, source.unit)
    kind, order = parse_type(point.type, table)
    count = 1 if table in ("coil", "discrete") else WORDS[kind]
    if address + count > 0x10000:
        raise ValueError(f"address {point.address!r}: {kind} takes {count} registers, beyond the last one, 65535")
    return Slot(position=position, unit=unit, table=table, address=address, count=count, kind=kind, order=order)


def plan(slots: Iterable[Slot], *, max_gap: int = MAX_GAP) -> list[Request]:
    """Return few requests that read all slots of one period, none longer than the protocol allows."""
    requests: list[Request] = []
    run: list[Slot] = []
    end = 0
    for one in sorted(slots, key=lambda s: (s.unit, s.table, s.address, s.count)):
        if run and not _fits(run[0], end, one, max_gap):
            requests.append(merge(run))
            run, end = [], 0
        run.append(one)
        end = max(end, one.address + one.count)
    return [*requests, merge(run)] if run else requests


def merge(run: list[Slot]) -> Request:
    """Return the one request that reads slots of one unit and table."""
    first = min(one.address for one in run)
    end = max(one.address + one.count for one in run)
    return Request(unit=run[0].unit, table=run[0].table, address=first, count=end - first, slots=tuple(run))


def _fits(first: Slot, end: int, one: Slot, max_gap: int) -> bool:
    limit = MAX_BITS if one.table in ("coil", "discrete") else MAX_REGISTERS
    same = (one.unit, one.table) == (first.unit, first.table)
    return same and one.address - end <= max_gap and max(end, one.address + one.count) - first.address <= limit

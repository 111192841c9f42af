"""From points to few requests: what lies side by side is read together, within what each device allows; no socket."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from config.plant import Device, Point, Source
from connectors.modbus.address import BIT_TABLES, LAST, TABLES, Address, parse_address
from connectors.modbus.datatype import Datatype, parse_type

MAX_REGISTERS, MAX_BITS = 125, 2000
"""The most that one request may ask for (Modbus Application Protocol V1.1b3, sections 6.1 to 6.4)."""

_RANGE = re.compile(r"(?:([0-9]{1,3})/)?(.+?)(?:\s*-\s*(0[xX][0-9a-fA-F]{1,4}|[0-9]{1,6}))?")
_TERM = re.compile(r"(10\^)?([^\s*^]+)(\s+[^*^]+?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Where one value lies: a point's, or a factor's by which points are scaled."""

    unit: int
    table: str
    address: int
    """Zero-based."""
    datatype: Datatype
    bit: int | None = None

    @property
    def end(self) -> int:
        """The address behind the last register or bit."""
        return self.address + self.datatype.registers


@dataclass(frozen=True, slots=True)
class Factor:
    """A register by whose value, or by ten to the power of it, a point is multiplied."""

    slot: Slot
    power: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one unit allows in a request."""

    registers: int = MAX_REGISTERS
    bits: int = MAX_BITS
    gap: int = 16
    """Up to so many unasked registers are read along rather than ask twice; of bits sixteen times as many."""
    forbidden: tuple[tuple[str, int, int], ...] = ()
    """Ranges that must not be read, not even along: table, first and last address."""

    def touches(self, table: str, first: int, end: int) -> bool:
        """Return whether a range up to before `end` has a forbidden register."""
        return any(of == table and low < end and first <= high for of, low, high in self.forbidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One read request."""

    unit: int
    table: str
    address: int
    count: int
    """Registers or bits."""
    rows: tuple[int, ...]
    """Positions of the slots that its reply fills, by address."""

    def __str__(self) -> str:
        """Return what it reads, `3/holding:10-29`."""
        last = f"-{self.address + self.count - 1}" if self.count > 1 else ""
        return f"{self.unit}/{self.table}:{self.address}{last}"


def slot_of(source: Source, point: Point) -> Slot:
    """Return where a point's value lies; raises ValueError where its address or type is at fault."""
    return _slot(parse_address(point.address, source.unit), point.type, point.address)


def factors_of(source: Source, point: Point) -> tuple[Factor, ...]:
    """Return the registers that scale a point, of `10^holding:14` or `holding:6 * holding:7 uint32`.

    Raises ValueError where one is at fault, or of another unit than the point.
    """
    unit = parse_address(point.address, source.unit).unit
    terms = [term.strip() for term in point.scale_register.split("*")] if point.scale_register else []
    return tuple(_factor(term, unit, point.scale_register) for term in terms)


def _factor(term: str, unit: int, text: str) -> Factor:
    match = _TERM.fullmatch(term)
    if match is None:
        raise ValueError(
            f"scale_register {text!r}: write a register (holding:6), ten to its power (10^holding:14), or several "
            "joined by *"
        )
    try:
        address = parse_address(match[2], unit)
        slot = _slot(address, (match[3] or "").strip() or ("int16" if match[1] else "uint16"), match[2])
    except ValueError as error:
        raise ValueError(f"scale_register {text!r}: {error}") from error
    if address.unit != unit:
        raise ValueError(f"scale_register {text!r}: unit {address.unit} is not the point's, {unit}")
    if slot.datatype.name in ("string", "coil", "bit", "bool"):
        raise ValueError(f"scale_register {text!r}: a {slot.datatype.name} is no number to scale by")
    return Factor(slot, power=match[1] is not None)


def _slot(address: Address, kind: str, text: str) -> Slot:
    datatype = parse_type(kind, address.table, address.bit)
    slot = Slot(
        unit=address.unit, table=address.table, address=address.address, datatype=datatype, bit=address.bit
    )  # fmt: skip
    if slot.end > LAST + 1:
        count = datatype.registers
        raise ValueError(f"address {text!r}: {datatype.name} takes {count} registers, beyond the last one, {LAST}")
    return slot


def limits_of(source: Source, unit: int) -> Limits:
    """Return what a unit allows: its own [[source.device]], else what the source says.

    Raises ValueError naming a forbidden range that is none.
    """
    device = next((device for device in source.device if device.unit == unit), Device(unit=unit))
    ranges = [parse_range(text, source.unit) for text in (*source.forbidden, *device.forbidden)]
    mine = tuple((table, first, last) for of, table, first, last in ranges if of is None or of == unit)
    return Limits(
        registers=device.max_registers or source.max_registers,
        bits=device.max_bits or source.max_bits,
        gap=source.max_gap if device.max_gap is None else device.max_gap,
        forbidden=mine,
    )


def parse_range(text: str, default_unit: int) -> tuple[int | None, str, int, int]:
    """Return unit (None: every unit), table, first and last address of `3/holding:100-199` or `holding:7`.

    The last one is written as the first: holding#101-200 counts both from one. Raises ValueError.
    """
    match = _RANGE.fullmatch(text.strip())
    head = f"{match[1]}/{match[2]}" if match is not None and match[1] else match[2] if match is not None else text
    first = parse_address(head, default_unit)
    last = first
    if match is not None and match[3]:
        # The end is written like the beginning, so it is read like it: 40010-40019, holding#10-19, holding:0xA-0x13.
        table, sign, _ = match[2].partition(":") if ":" in match[2] else match[2].partition("#")
        last = parse_address(f"{table}{sign}{match[3]}" if sign else match[3], default_unit)
    if last.table != first.table or last.address < first.address or first.bit is not None:
        raise ValueError(f"range {text!r}: write its first and last register, such as holding:100-199")
    return (int(match[1]) if match is not None and match[1] else None), first.table, first.address, last.address


def plan(slots: Sequence[Slot], limits: Callable[[int], Limits] = lambda _: Limits()) -> list[Request]:
    """Return few requests that read all slots of one period, by unit, table and address.

    A value is never torn across two requests. Raises ValueError for a slot that no request can read: longer than
    its unit allows, or forbidden.
    """
    requests: list[Request] = []
    run: list[int] = []
    end = 0
    for row in sorted(range(len(slots)), key=lambda n: _place(slots[n])):
        slot = slots[row]
        allowed = limits(slot.unit)
        if (fault := unreadable(slot, allowed)) is not None:
            raise ValueError(fault)
        if run and not _fits(slots[run[0]], end, slot, allowed):
            requests.append(merge(slots, run))
            run, end = [], 0
        run.append(row)
        end = max(end, slot.end)
    return [*requests, merge(slots, run)] if run else requests


def unreadable(slot: Slot, limits: Limits) -> str | None:
    """Return why no request may read a slot, or None."""
    count = slot.end - slot.address
    if slot.table not in BIT_TABLES and count > limits.registers:
        return f"{slot.datatype} takes {count} registers, and unit {slot.unit} allows {limits.registers} in a request"
    if limits.touches(slot.table, slot.address, slot.end):
        return f"unit {slot.unit}, {slot.table}:{slot.address}: a register of it is forbidden"
    return None


def merge(slots: Sequence[Slot], rows: Iterable[int]) -> Request:
    """Return the one request that reads slots of one unit and table."""
    ordered = sorted(rows, key=lambda n: _place(slots[n]))
    first = slots[ordered[0]]
    end = max(slots[row].end for row in ordered)
    count = end - first.address
    return Request(unit=first.unit, table=first.table, address=first.address, count=count, rows=tuple(ordered))


def halves(slots: Sequence[Slot], request: Request) -> list[Request]:
    """Return two requests for what one read, without what lies between; the same one where its slots overlap.

    Both have about as many slots; values that share a register, such as the bits of a word, stay together.
    """
    cuts, end = [], 0
    for n, row in enumerate(request.rows):
        if n and slots[row].address >= end:
            cuts.append(n)
        end = max(end, slots[row].end)
    if not cuts:
        return [request]
    cut = min(cuts, key=lambda n: abs(2 * n - len(request.rows)))
    return [merge(slots, request.rows[:cut]), merge(slots, request.rows[cut:])]


def _place(slot: Slot) -> tuple[int, int, int, int]:
    return slot.unit, TABLES.index(slot.table), slot.address, slot.end


def _fits(first: Slot, end: int, slot: Slot, limits: Limits) -> bool:
    if (slot.unit, slot.table) != (first.unit, first.table):
        return False
    bits = slot.table in BIT_TABLES
    most, gap = (limits.bits, 16 * limits.gap) if bits else (limits.registers, limits.gap)
    whole = max(end, slot.end) - first.address <= most
    return whole and slot.address - end <= gap and not limits.touches(slot.table, end, slot.address)

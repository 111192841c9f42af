"""Modbus addresses as plants and makers write them: unit, table, zero-based address and bit, without ambiguity."""

import re
from dataclasses import dataclass

TABLES = ("coil", "discrete", "input", "holding")
BIT_TABLES = ("coil", "discrete")
LAST = 0xFFFF
"""The last protocol address of each table (Modbus Application Protocol V1.1b3, section 4.4)."""

_UNIT = r"(?:([0-9]{1,3})/)?"
_REST = r"(?:\+([0-9]{1,5}))?(?:\.([0-9]{1,2}))?"
_NAMED = re.compile(_UNIT + r"(coil|discrete|holding|input)([:#])(0[xX][0-9a-fA-F]{1,4}|[0-9]{1,5})" + _REST)
_CLASSIC = re.compile(_UNIT + r"([0134])(?:[xX]([0-9]{1,5})|([0-9]{4,5}))" + _REST)
_CLASSIC_TABLES = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}
_CLASSIC_DIGITS = {table: digit for digit, table in _CLASSIC_TABLES.items()}
FORMS = (
    "holding:9 (protocol address, zero-based; 0x for hex), holding#10 (register number, one-based), the classic "
    "40010 or 4x00010 (one-based); likewise input, coil, discrete; 3/ before it names unit 3, +2 behind it counts on"
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a value begins."""

    unit: int
    table: str
    address: int
    """Zero-based, as it goes over the wire."""
    bit: int | None = None
    """Bit of a register, 0 the lowest."""

    def __str__(self) -> str:
        """Return the address in its plainest form, `3/holding:9.4`."""
        return f"{self.unit}/{self.table}:{self.address}" + (f".{self.bit}" if self.bit is not None else "")

    @property
    def classic(self) -> str:
        """The address in the classic form, one-based: 40010, and 465536 beyond 9999."""
        number = self.address + 1
        return f"{_CLASSIC_DIGITS[self.table]}{number:0{4 if number <= 9999 else 5}d}"


def parse_address(text: str, default_unit: int) -> Address:
    """Return what `3/holding:0x10`, `input#10`, `40010`, `4x00010`, `holding:9.4` or `holding:40000+2` names.

    Raises ValueError naming the forms there are.
    """
    if (named := _NAMED.fullmatch(text)) is not None:
        unit, table, sign, digits, more, bit = named.groups()
        address = int(digits, 16 if digits[:2] in ("0x", "0X") else 10) - (sign == "#")
    elif (classic := _CLASSIC.fullmatch(text)) is not None and not text.lower().startswith("0x"):
        unit, table, more, bit = classic[1], _CLASSIC_TABLES[classic[2]], classic[5], classic[6]
        address = int(classic[3] or classic[4]) - 1
    else:
        raise ValueError(_no_address(text))
    address += int(more or 0)
    number = default_unit if unit is None else int(unit)
    if number > 255:
        raise ValueError(f"address {text!r}: unit {number} is above 255")
    if not 0 <= address <= LAST:
        raise ValueError(f"address {text!r}: zero-based address {address} is not within 0 to {LAST}")
    if bit is not None and (table in BIT_TABLES or int(bit) > 15):
        what = f"a {table} has no bits" if table in BIT_TABLES else "a register has bits 0 to 15"
        raise ValueError(f"address {text!r}: {what}")
    return Address(number, table, address, None if bit is None else int(bit))


def _no_address(text: str) -> str:
    if re.fullmatch(r"(?:[0-9]+/)?0[xX][0-9a-fA-F]+", text):
        hint = f"could be hex or a coil; write holding:{text.rpartition('/')[2]} or coil:..."
    elif re.fullmatch(r"(?:[0-9]+/)?[0-9]+", text):
        number = text.rpartition("/")[2]
        hint = f"could begin at 0 or at 1; write holding:{number} (zero-based) or holding#{number} (one-based)"
    else:
        hint = f"is none of {FORMS}"
    return f"address {text!r} {hint}"

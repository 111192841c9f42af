"""Types of register values: how many registers, in which byte order, and how their bytes read."""

import re
from dataclasses import dataclass

from connectors.modbus.address import BIT_TABLES

NUMBERS = {
    "bool": (1, ">u2"), "int8": (1, "i1"), "uint8": (1, "u1"), "int16": (1, ">i2"), "uint16": (1, ">u2"),
    "float16": (1, ">f2"), "bcd16": (1, ">u2"), "int32": (2, ">i4"), "uint32": (2, ">u4"), "float32": (2, ">f4"),
    "bcd32": (2, ">u4"), "int64": (4, ">i8"), "uint64": (4, ">u8"), "float64": (4, ">f8"), "bcd64": (4, ">u8"),
}  # fmt: skip
"""Registers of each type, and the NumPy type of its bytes, most significant first."""

ORDERS = {1: ("AB", "BA"), 2: ("ABCD", "CDAB", "BADC", "DCBA"), 4: ("ABCD", "CDAB", "BADC", "DCBA")}
"""Byte orders by number of registers; the first is the default, big-endian throughout.

Of four registers: CDAB has the lowest register first, BADC the low byte of each register first, DCBA both.
"""
BYTES = ("L", "H")
"""The low and the high byte of a register, for types of 8 bits; the low one is the default."""
ENCODINGS = ("utf-8", "ascii", "gb18030", "latin-1")
LONGEST_STRING = 250
"""As many bytes as one request brings (125 registers)."""

_STRING = re.compile(r"string\s+([0-9]{1,4})((?:\s+\S+)*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Datatype:
    """How the registers of one value read."""

    name: str
    """A key of NUMBERS, `bit` of a register, `coil` (one bit of a bit table), or `string`."""
    registers: int
    """Registers, or 1 bit."""
    order: str = ""
    encoding: str = ""

    def __str__(self) -> str:
        """Return the type as a point table writes it, order included."""
        size = f" {2 * self.registers}" if self.name == "string" else ""
        words = (self.name + size, self.order, "" if self.encoding == "utf-8" else self.encoding)
        return " ".join(word for word in words if word)

    def byte_offsets(self) -> list[int]:
        """Return where this value's bytes lie, most significant first, counted from its first register."""
        if self.order in BYTES:
            return [BYTES[::-1].index(self.order)]
        offsets = list(range(2 * self.registers))
        if self.order in ("BA", "BADC", "DCBA"):
            offsets = [offset ^ 1 for offset in offsets]  # the two bytes of each register change places
        if self.order in ("CDAB", "DCBA"):
            pairs = [offsets[n : n + 2] for n in range(0, len(offsets), 2)]
            offsets = [offset for pair in reversed(pairs) for offset in pair]  # the last register comes first
        return offsets


def parse_type(text: str, table: str, bit: int | None = None) -> Datatype:
    """Return the type that `uint32 CDAB`, `uint8 H`, `bcd16` or `string 16 BA gb18030` names.

    Empty is uint16, and bool for bits. Raises ValueError naming the types or orders there are.
    """
    text = text.strip()
    if table in BIT_TABLES or bit is not None:
        if text.lower() not in ("", "bool"):
            what = f"a {table}" if bit is None else f"bit {bit} of a register"
            raise ValueError(f"type {text!r}: {what} is a bool; leave the type empty")
        return Datatype(name="coil" if bit is None else "bit", registers=1)
    if text.lower().startswith("string"):
        return _string(text)
    name, _, order = text.partition(" ")
    name, order = name.lower() or "uint16", order.strip().upper()
    if name not in NUMBERS:
        raise ValueError(f"type {name!r} is none of {', '.join(NUMBERS)}, string 16")
    registers = NUMBERS[name][0]
    orders = BYTES if name in ("int8", "uint8") else ORDERS[registers]
    if order and order not in orders:
        raise ValueError(f"byte order {order!r} of {name} is none of {', '.join(orders)}")
    return Datatype(name=name, registers=registers, order=order or orders[0])


def _string(text: str) -> Datatype:
    match = _STRING.fullmatch(text)
    if match is None:
        raise ValueError(f"type {text!r} has no length; write its bytes, such as string 16")
    size, words = int(match[1]), match[2].split()
    if not 2 <= size <= LONGEST_STRING or size % 2:
        raise ValueError(f"type {text!r}: its length is an even number of bytes from 2 to {LONGEST_STRING}")
    order, encoding = "AB", "utf-8"
    for word in words:
        if word.upper() in ORDERS[1]:
            order = word.upper()
        elif word.lower() in ENCODINGS:
            encoding = word.lower()
        else:
            raise ValueError(f"type {text!r}: {word!r} is neither AB, BA nor one of {', '.join(ENCODINGS)}")
    return Datatype(name="string", registers=size // 2, order=order, encoding=encoding)

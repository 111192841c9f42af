"""Sparkplug's data types, and what a value field means under each (Sparkplug 3.0.0, chapter 6, Data Types)."""

import struct

from connectors.mqtt.protobuf import float32, float64

NAMES = (
    "Unknown", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float", "Double", "Boolean",
    "String", "DateTime", "Text", "UUID", "DataSet", "Bytes", "File", "Template", "PropertySet", "PropertySetList",
    "Int8Array", "Int16Array", "Int32Array", "Int64Array", "UInt8Array", "UInt16Array", "UInt32Array", "UInt64Array",
    "FloatArray", "DoubleArray", "BooleanArray", "StringArray", "DateTimeArray",
)  # fmt: skip
"""Names of the data types by their number."""
UNKNOWN, DATETIME, DATASET, TEMPLATE = 0, 13, 16, 19

INT, LONG, FLOAT, DOUBLE, BOOLEAN, STRING, BYTES, TABLE, INSTANCE = range(1, 10)
"""The value fields: those of a metric are numbered from 10 on, those of a property from 3, of a table's cell from 1."""
FIELDS = ("none", "int", "long", "float", "double", "boolean", "string", "bytes", "dataset", "template", "extension")

_SIGNED = {1: 8, 2: 16, 3: 32, 4: 64}
_UNSIGNED = {5: 8, 6: 16, 7: 32, 8: 64, DATETIME: 64}
_REALS, _BOOLEAN, _TEXTS = (9, 10), 11, (12, 14, 15)
_ELEMENTS = {
    22: "b", 23: "h", 24: "i", 25: "q", 26: "B", 27: "H", 28: "I", 29: "Q", 30: "f", 31: "d", 34: "Q",
}  # fmt: skip
_BOOLEANS, _STRINGS = 32, 33
ARRAYS = frozenset([*_ELEMENTS, _BOOLEANS, _STRINGS])

Scalar = int | float | bool | str


class Misfit(ValueError):  # noqa: N818  a state of the payload
    """A value that its data type does not allow, or that no data type tells the meaning of."""


class Unsupported(Misfit):
    """A value that is no scalar, or of a type that this version knows nothing of."""


def name_of(datatype: int) -> str:
    """Return a data type's name, or its number where it has none."""
    return NAMES[datatype] if datatype < len(NAMES) else f"type {datatype}"


def scalar(datatype: int, field: int, raw: int | bytes) -> Scalar:
    """Return the value that a value field holds under a data type; raises Misfit and Unsupported.

    Integers may come in either integer field and reals in either real one, as publishers differ in it and the value
    does not. A negative one may be extended to its field's width or not (both are in use, and the standard is open).
    """
    if field in (INT, LONG) and isinstance(raw, int):
        return _integer(datatype, field, raw)
    if isinstance(raw, bytes):
        if field in (FLOAT, DOUBLE) and (datatype in _REALS or datatype == UNKNOWN):
            return float32(raw) if field == FLOAT else float64(raw)
        if field == STRING and (datatype in _TEXTS or datatype == UNKNOWN):
            return text(raw)
        if field > STRING or (datatype > DATETIME and datatype not in _TEXTS):
            raise Unsupported(f"a {name_of(datatype)} in the field {_field(field)} is no scalar")
    elif field == BOOLEAN and datatype in (_BOOLEAN, UNKNOWN):
        return raw != 0
    raise Misfit(f"the field {_field(field)} holds no {name_of(datatype)}")


def text(raw: bytes) -> str:
    """Return a text; raises Misfit where the bytes are no UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Misfit(f"text {raw[:20]!r} is not UTF-8") from None


def _field(field: int) -> str:
    return FIELDS[field] if field < len(FIELDS) else str(field)


def _integer(datatype: int, field: int, raw: int) -> int:
    width = 32 if field == INT else 64
    raw &= (1 << width) - 1  # a negative number of 32 bit may come in ten bytes
    if (bits := _UNSIGNED.get(datatype)) is not None:
        if raw >> bits:
            raise Misfit(f"{raw} is no {name_of(datatype)}")
        return raw
    if (bits := _SIGNED.get(datatype)) is not None:
        half = 1 << (bits - 1)
        if raw >= half:
            raw -= 2 * half if raw < 2 * half else 1 << width
        if not -half <= raw < half:
            raise Misfit(f"{raw} is no {name_of(datatype)}")
        return raw
    if datatype == UNKNOWN and raw < (128 if field == INT else 1 << 63):
        return raw  # every integer type says the same
    if datatype > DATETIME and datatype not in _TEXTS:
        raise Unsupported(f"a {name_of(datatype)} in the field {_field(field)} is no scalar")
    raise Misfit(f"{raw} in the field {_field(field)} is no {name_of(datatype)} that has one meaning")


def element(datatype: int, raw: bytes, index: int) -> Scalar | None:
    """Return an element of an array, None beyond its end; raises Misfit where the bytes are no such array."""
    if datatype == _STRINGS:
        texts = raw.split(b"\0")
        if texts.pop():
            raise Misfit("the last text of a StringArray has no end")
        return text(texts[index]) if index < len(texts) else None
    if datatype == _BOOLEANS:
        count = int.from_bytes(raw[:4], "little")
        if len(raw) != 4 + (count + 7) // 8:
            raise Misfit(f"{len(raw)} bytes are no BooleanArray of {count}")
        return bool(raw[4 + index // 8] >> (7 - index % 8) & 1) if index < count else None
    code = "<" + _ELEMENTS[datatype]
    size = struct.calcsize(code)
    if len(raw) % size:
        raise Misfit(f"{len(raw)} bytes are no {name_of(datatype)}")
    value: Scalar | None = struct.unpack_from(code, raw, index * size)[0] if index < len(raw) // size else None
    return value

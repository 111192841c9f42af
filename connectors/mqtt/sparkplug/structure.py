"""What a metric holds beside a scalar: tables (DataSet), instances of templates, and properties."""

from dataclasses import dataclass

from connectors.mqtt.protobuf import LENGTH, VARINT, fields, tag, varints
from connectors.mqtt.sparkplug.datatype import UNKNOWN, Misfit, Scalar, scalar, text
from connectors.mqtt.sparkplug.payload import Metric, metric, value_tags

DEEPEST = 8
"""So deep templates may be nested."""
QUALITY = "Quality"
"""The property that says how good a metric's value is (chapter 6, Quality Codes)."""

_COLUMN, _TYPE, _ROW, _CELL = tag(2, LENGTH), tag(3, VARINT), tag(4, LENGTH), tag(1, LENGTH)
_TYPES = tag(3, LENGTH)
_MEMBER, _IS_DEFINITION = tag(2, LENGTH), tag(5, VARINT)
_KEY, _VALUE = tag(1, LENGTH), tag(2, LENGTH)
_VALUE_TYPE, _VALUE_NULL = tag(1, VARINT), tag(2, VARINT)
_CELL_VALUES, _PROPERTY_VALUES = value_tags(1), value_tags(3)


@dataclass(slots=True)
class Table:
    """A DataSet; its cells are decoded when they are asked for."""

    columns: list[str]
    types: list[int]
    rows: list[list[bytes]]

    def cell(self, row: int, column: int) -> Scalar | None:
        """Return the value of a cell, None where it is null; raises ValueError where it does not fit its column."""
        elements = self.rows[row]
        if len(elements) != len(self.columns):
            raise Misfit(f"row {row} has {len(elements)} cells for {len(self.columns)} columns")
        for key, value in fields(elements[column]):
            if (field := _CELL_VALUES.get(key)) is not None:
                return scalar(self.types[column], field, value)
        return None


def table(data: bytes) -> Table:
    """Return a DataSet; raises ValueError where it is malformed."""
    columns, types, rows = [], [], []
    for key, value in fields(data):
        if key == _COLUMN:
            columns.append(text(value))
        elif key in (_TYPE, _TYPES):
            types += varints(value)
        elif key == _ROW:
            rows.append([cell for inner, cell in fields(value) if inner == _CELL])
    if len(columns) != len(types):
        raise Misfit(f"a DataSet of {len(columns)} columns has {len(types)} types")
    return Table(columns, types, rows)


def members(data: bytes, depth: int) -> list[Metric]:
    """Return the members of a template's instance that `depth` others hold; a definition has values of none.

    Raises ValueError where it is malformed or nested too deep.
    """
    if depth == DEEPEST:
        raise Misfit(f"templates are nested deeper than {DEEPEST}")
    found, is_definition = [], False
    for key, value in fields(data):
        if key == _MEMBER:
            found.append(metric(value))
        elif key == _IS_DEFINITION:
            is_definition = value != 0
    return [] if is_definition else found


def properties(data: bytes) -> dict[str, Scalar | None]:
    """Return a PropertySet's scalars by name; what is null or no scalar is None.

    Raises ValueError where it is malformed.
    """
    keys, values = [], []
    for key, value in fields(data):
        if key == _KEY:
            keys.append(text(value))
        elif key == _VALUE:
            values.append(_property(value))
    if len(keys) != len(values):
        raise Misfit(f"a PropertySet of {len(keys)} keys has {len(values)} values")
    return dict(zip(keys, values, strict=True))


def _property(data: bytes) -> Scalar | None:
    datatype, null, field, raw = UNKNOWN, False, 0, 0
    for key, value in fields(data):
        if key == _VALUE_TYPE:
            datatype = value
        elif key == _VALUE_NULL:
            null = value != 0
        elif key in _PROPERTY_VALUES:
            field, raw = _PROPERTY_VALUES[key], value
    if null or not field:
        return None
    try:
        return scalar(datatype, field, raw)
    except Misfit:
        return None

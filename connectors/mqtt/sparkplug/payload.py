"""Sparkplug B payloads (Sparkplug 3.0.0, chapter 6): decoded as deep as they are asked for, and no deeper."""

from dataclasses import dataclass

from connectors.mqtt.protobuf import FIXED32, FIXED64, LENGTH, VARINT, fields, tag
from connectors.mqtt.sparkplug.datatype import (
    BOOLEAN,
    BYTES,
    DOUBLE,
    FLOAT,
    INSTANCE,
    INT,
    LONG,
    STRING,
    TABLE,
    UNKNOWN,
    Scalar,
    scalar,
)  # fmt: skip

EXTENSION = INSTANCE + 1
_WIRES = {
    INT: VARINT, LONG: VARINT, FLOAT: FIXED32, DOUBLE: FIXED64, BOOLEAN: VARINT, STRING: LENGTH, BYTES: LENGTH,
    TABLE: LENGTH, INSTANCE: LENGTH, EXTENSION: LENGTH,
}  # fmt: skip


def value_tags(first: int) -> dict[int, int]:
    """Return the tags of a message's value fields, which are numbered from `first` on, with the fields."""
    return {tag(first - 1 + field, wire): field for field, wire in _WIRES.items()}


_VALUES = value_tags(10)
_SENT, _METRIC, _SEQ = tag(1, VARINT), tag(2, LENGTH), tag(3, VARINT)
_NAME, _PROPERTIES = tag(1, LENGTH), tag(9, LENGTH)
_NUMBERS = {tag(2, VARINT): "alias", tag(3, VARINT): "timestamp", tag(4, VARINT): "datatype"}
_FLAGS = {tag(5, VARINT): "historical", tag(7, VARINT): "null"}


@dataclass(slots=True)
class Metric:
    """A metric as it came; what its value means, `scalar` says with the data type, which may stand in a birth."""

    name: str | None = None
    """None: the alias alone names it."""
    alias: int | None = None
    timestamp: int | None = None
    """[ms since 1970, UTC]"""
    datatype: int = UNKNOWN
    field: int = 0
    """Which value field is there, 0 for none."""
    raw: int | bytes = 0
    historical: bool = False
    null: bool = False
    properties: bytes | None = None

    def value(self, datatype: int = UNKNOWN) -> Scalar | None:
        """Return the scalar, of the metric's own data type or else the one given; raises Misfit, Unsupported."""
        if self.null or not self.field:
            return None
        return scalar(self.datatype or datatype, self.field, self.raw)

    def inner(self) -> bytes:
        """Return the bytes of a value that is no scalar."""
        return self.raw if isinstance(self.raw, bytes) else b""


@dataclass(slots=True)
class Payload:
    """A payload; its metrics are decoded when they are asked for."""

    timestamp: int | None
    """When it was sent [ms since 1970, UTC]."""
    seq: int | None
    parts: list[bytes]
    """The metrics' bytes."""

    def metrics(self) -> list[Metric]:
        """Return the metrics; raises ValueError where one is malformed."""
        return [metric(part) for part in self.parts]


def opened(payload: bytes) -> Payload:
    """Return a payload whose metrics are not looked at yet; raises ValueError where it is malformed."""
    timestamp = seq = None
    parts = []
    for key, value in fields(payload):
        if key == _METRIC:
            parts.append(value)
        elif key == _SENT:
            timestamp = value
        elif key == _SEQ:
            seq = value
    return Payload(timestamp, seq, parts)


def decode(payload: bytes) -> Payload:
    """Return a payload all of whose metrics are sound; raises ValueError where one is malformed."""
    found = opened(payload)
    found.metrics()
    return found


def metric(data: bytes) -> Metric:
    """Return a metric; raises ValueError where its bytes are malformed."""
    found = Metric()
    for key, value in fields(data):
        if key in _NUMBERS:
            setattr(found, _NUMBERS[key], value)
        elif key in _VALUES:
            found.field, found.raw = _VALUES[key], value
        elif key == _NAME:
            # a name that is not UTF-8 is no point's, and no reason to give up its neighbours
            found.name = value.decode(errors="backslashreplace")
        elif key in _FLAGS:
            setattr(found, _FLAGS[key], value != 0)
        elif key == _PROPERTIES:
            found.properties = value
    return found

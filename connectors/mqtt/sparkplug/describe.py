"""What a person sees of a birth: every metric and every part of one that a point can name."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from connectors.mqtt.sparkplug.datatype import ARRAYS, BYTES, INSTANCE, TABLE, Scalar, Unsupported, element, name_of
from connectors.mqtt.sparkplug.payload import Metric, Payload
from connectors.mqtt.sparkplug.structure import members, properties, table

UNIT = "engUnit"
"""The property that publishers give a metric's engineering unit in; the standard names none."""
MOST_ELEMENTS = 16
"""So many elements of an array are shown."""


@dataclass(frozen=True, slots=True)
class Described:
    """A metric of a birth, or a part of one."""

    name: str
    """As it stands in an address behind the #."""
    alias: int | None
    datatype: str
    value: Scalar | None = None
    """None where it is null or no scalar."""
    unit: str = ""
    properties: dict[str, Scalar | None] = field(default_factory=dict)
    """All others of its properties."""
    doubt: str = ""
    """What of it could not be read."""


def described(payload: Payload) -> list[Described]:
    """Return what a payload holds, in its order: metrics, members of templates, columns and elements behind their own.

    Raises ValueError where a metric is malformed; what its value holds may be, and is told then.
    """
    return [found for metric in payload.metrics() for found in _metric(metric, "", 0)]


def _metric(metric: Metric, folder: str, depth: int) -> Iterator[Described]:
    name = folder + (metric.name or "")
    held: dict[str, Scalar | None] = {}
    value, parts, doubt = None, [], ""
    try:
        held = properties(metric.properties) if metric.properties is not None else {}
        parts = list(_parts(metric, name, depth))
        value = metric.value()
    except Unsupported:
        pass  # its parts may be of use
    except ValueError as error:
        doubt = str(error)
    unit = held.pop(UNIT, None)
    yield Described(name, metric.alias, name_of(metric.datatype), value, str(unit or ""), held, doubt)
    yield from parts


def _parts(metric: Metric, name: str, depth: int) -> Iterator[Described]:
    if metric.null:
        return
    if metric.field == INSTANCE:
        for member in members(metric.inner(), depth):
            yield from _metric(member, f"{name}/", depth + 1)
    elif metric.field == TABLE:
        found = table(metric.inner())
        for place, column in enumerate(found.columns):
            value = found.cell(0, place) if found.rows else None
            yield Described(f"{name}[{column}]", None, name_of(found.types[place]), value)
    elif metric.field == BYTES and metric.datatype in ARRAYS:
        yield from _elements(metric, name)


def _elements(metric: Metric, name: str) -> Iterator[Described]:
    kind = name_of(metric.datatype).removesuffix("Array")
    for index in range(MOST_ELEMENTS):
        value = element(metric.datatype, metric.inner(), index)
        if value is None:
            return
        yield Described(f"{name}[{index}]", None, kind, value)

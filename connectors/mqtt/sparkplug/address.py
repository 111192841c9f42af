"""Addresses of Sparkplug metrics, what of a payload they may name, and the topics that bring them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

NAMESPACE = "spBv1.0"
NODE_TYPES, DEVICE_TYPES = ("NBIRTH", "NDATA", "NDEATH"), ("DBIRTH", "DDATA", "DDEATH")
"""Message types that a host takes: birth, data and death, of nodes and of devices (Sparkplug 3.0.0, chapter 4)."""
_TYPES = (*NODE_TYPES, *DEVICE_TYPES, "NCMD", "DCMD", "STATE")
FORM = f"{NAMESPACE}/GROUP/NODE#Metric name or {NAMESPACE}/GROUP/NODE/DEVICE#Metric name"
_ROW = re.compile(r"(.+)\]\[([0-9]{1,9})", re.DOTALL)
_INDEX = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a metric is, or a part of one."""

    group: str
    node: str
    device: str
    """Empty for the node's own metrics."""
    metric: str
    """Its name, with [column], [column][row], [column@timecolumn], [element] or /member behind it for a part."""

    def __str__(self) -> str:
        """Return the address as it stands in the point table."""
        device = f"/{self.device}" if self.device else ""
        return f"{NAMESPACE}/{self.group}/{self.node}{device}#{self.metric}"


def parse_address(address: str) -> Address:
    """Return what `spBv1.0/GROUP/NODE#Metric name` or `spBv1.0/GROUP/NODE/DEVICE#Metric name` names.

    The metric's name begins behind the first # and may hold any sign. Raises ValueError saying what is wrong.
    """
    topic, sign, metric = address.partition("#")
    parts = topic.split("/")
    if parts[0] != NAMESPACE:
        raise ValueError(f"address {address!r} does not begin with {NAMESPACE}/; write {FORM}")
    if not metric:
        what = "names no metric behind its #" if sign else "has no # with a metric's name behind it"
        raise ValueError(f"address {address!r} {what}; write {FORM}")
    ids = parts[1:]
    if len(ids) > 1 and ids[1] in _TYPES:
        raise ValueError(f"address {address!r} holds the message type {ids[1]}; leave it out: {FORM}")
    if len(ids) not in (2, 3) or not all(ids):
        raise ValueError(f"address {address!r} is not group, node and at most one device; write {FORM}")
    if any(wild in part for part in ids for wild in "+\0"):
        raise ValueError(f"address {address!r}: group, node and device hold no wildcard; write a point for each")
    if ids[0] == "STATE":
        raise ValueError(f"address {address!r}: STATE is for host applications and has no metrics; write {FORM}")
    return Address(ids[0], ids[1], ids[2] if len(ids) == 3 else "", metric)


def filters(addresses: Iterable[Address]) -> list[str]:
    """Return the MQTT topic filters that bring the metrics, six for each node, in the order of the addresses.

    They take in every device of a node, as node and devices share one run of sequence numbers (chapter 6, Payload).
    """
    nodes = dict.fromkeys((address.group, address.node) for address in addresses)
    return [
        f"{NAMESPACE}/{group}/{kind}/{node}{'/+' if kind in DEVICE_TYPES else ''}"
        for group, node in nodes
        for kind in (*NODE_TYPES, *DEVICE_TYPES)
    ]


@dataclass(frozen=True, slots=True)
class Part:
    """What stands in brackets behind a metric's name; which it is shows when the metric comes."""

    inside: str

    def column(self, columns: list[str]) -> tuple[int, int] | None:
        """Return the place of a DataSet's column and the row, None where `inside` names no column."""
        if self.inside in columns:
            return columns.index(self.inside), 0
        found = _ROW.fullmatch(self.inside)
        return (columns.index(found[1]), int(found[2])) if found is not None and found[1] in columns else None

    def timed(self, columns: list[str]) -> tuple[int, int] | None:
        """Return the places of a column and of the column of its times, None where `inside` names none such."""
        for sign in re.finditer("@", self.inside):
            value, time = self.inside[: sign.start()], self.inside[sign.end() :]
            if value in columns and time in columns:
                return columns.index(value), columns.index(time)
        return None

    @property
    def element(self) -> int | None:
        """The place of an array's element, None where `inside` is none."""
        return int(self.inside) if _INDEX.fullmatch(self.inside) else None


def parts(metric: str) -> Iterator[tuple[str, Part]]:
    """Yield the ways to read a metric's name as another's with brackets behind it: that name, and what is inside.

    Brackets may belong to the metric's or the column's own name, so that there may be several ways.
    """
    if metric.endswith("]"):
        for sign in re.finditer(r"\[", metric):
            if sign.start() and sign.end() < len(metric) - 1:
                yield metric[: sign.start()], Part(metric[sign.end() : -1])


def folders(metric: str) -> Iterator[str]:
    """Yield the names that a metric may be a template's member under: all that end before a slash."""
    for sign in re.finditer("/", metric):
        yield metric[: sign.start()]

"""A publisher of metrics, which is a node itself or one of its devices, and the points that its metrics feed."""

import contextlib
from collections.abc import Sequence

from config.status import BAD, BAD_DECODING_ERROR, BAD_NODE_ID_UNKNOWN, GOOD
from connectors.mqtt.sparkplug.address import Part, folders, parts
from connectors.mqtt.sparkplug.burst import Burst, ns
from connectors.mqtt.sparkplug.datatype import INSTANCE, TEMPLATE, UNKNOWN
from connectors.mqtt.sparkplug.payload import Metric
from connectors.mqtt.sparkplug.samples import Cells, quality, whole
from connectors.mqtt.sparkplug.structure import members
from connectors.texts import clean

_OWN, _MEMBER, _PART = range(3)
"""Ways that a point's name is found, the better first: a metric's own name, a template's member, a part of a value."""


class Tag:
    """A name that points ask for, and what a birth said of the metric that has it."""

    __slots__ = ("datatype", "folder", "name", "parts", "positions")

    def __init__(self, name: str) -> None:
        """Take the name; points are added to it."""
        self.name, self.datatype = name, UNKNOWN
        self.positions: list[int] = []
        """Points that are the metric itself."""
        self.parts: list[tuple[int, Part]] = []
        """Points that may be parts of its value."""
        self.folder = False
        """Whether there are points that may be members of it."""


class Owner:
    """A node's own metrics, or a device's."""

    def __init__(self, group: str, node: str, device: str) -> None:
        """Take whose metrics they are; device is empty for the node's own."""
        self.name = f"{group}/{node}/{device}" if device else f"{group}/{node}"
        self.positions: list[int] = []
        self.born = False
        """Whether its birth is known, and with it its aliases and data types."""
        self.doubted = False
        """Whether a later birth may have given its aliases to other metrics."""
        self.dead = False
        self.awaited = False
        """Whether the node was born again and this device is still to follow."""
        self.absent: list[str] = []
        """Names that points ask for and the birth does not have."""
        self._asked: dict[int, str] = {}
        self._tags: dict[str, Tag] = {}
        self._aliases: dict[int, Tag | None] = {}
        self._ways: dict[int, int] = {}

    def add(self, position: int, metric: str) -> None:
        """Add a point and the name that it asks for."""
        self.positions.append(position)
        self._asked[position] = metric
        self._tag(metric).positions.append(position)
        for name, part in parts(metric):
            self._tag(name).parts.append((position, part))
        for name in folders(metric):
            self._tag(name).folder = True

    def _tag(self, name: str) -> Tag:
        return self._tags.setdefault(name, Tag(name))

    # --- births ---

    def forget(self) -> None:
        """Forget what the last birth said: aliases and data types are of one birth only."""
        self.born, self.doubted, self.absent = False, False, []
        self._aliases, self._ways = {}, {}
        for tag in self._tags.values():
            tag.datatype = UNKNOWN

    def doubt(self) -> None:
        """Take that a birth may have been lost: what an alias means is open until the next one."""
        self.doubted = bool(self._aliases and self.positions)

    def die(self) -> None:
        """Take a death: what its birth said is over."""
        self.forget()
        self.dead, self.awaited = True, False

    def birth(self, metrics: Sequence[Metric], burst: Burst) -> None:
        """Learn a birth's names, aliases and data types, then take its values; who is not in it is BadNodeIdUnknown."""
        self.forget()
        self._learn(metrics, "", 0)
        self.born, self.dead, self.awaited = True, False, False
        self.data(metrics, burst)
        given = {row[0] for row in (*burst.taken.rows, *burst.taken.historic)}
        missing = [position for position in self.positions if position not in self._ways and position not in given]
        self.absent = [self._asked[position] for position in missing]
        burst.points.end(burst.taken.rows, missing, burst.sent, BAD_NODE_ID_UNKNOWN)

    def _learn(self, metrics: Sequence[Metric], folder: str, depth: int) -> None:
        for metric in metrics:
            if metric.name is None:
                continue
            tag = self._tags.get(folder + metric.name)
            if metric.alias is not None:
                self._aliases[metric.alias] = tag
            if tag is None:
                continue
            tag.datatype = metric.datatype
            way = _MEMBER if folder else _OWN
            for position in tag.positions:
                self._ways[position] = min(way, self._ways.get(position, way))
            if tag.folder and metric.field == INSTANCE:
                with contextlib.suppress(ValueError):  # told when its values are taken
                    self._learn(members(metric.inner(), depth), f"{tag.name}/", depth + 1)

    # --- values ---

    def data(self, metrics: Sequence[Metric], burst: Burst) -> None:
        """Take the values of a message's metrics, as far as they can be told."""
        for metric in metrics:
            tag = self._tags.get(metric.name) if metric.name is not None else self._aliased(metric, burst)
            if tag is not None:
                self._metric(tag, metric, burst, _OWN, 0)

    def _aliased(self, metric: Metric, burst: Burst) -> Tag | None:
        if self.doubted and metric.alias is not None:
            burst.before_birth()
            return None
        if metric.alias in self._aliases:
            return self._aliases[metric.alias]
        burst.wanted = True
        if metric.alias is None:
            burst.refuse("a metric has neither name nor alias")
            return None
        burst.flag("unknown alias")
        if self.born:
            burst.refuse(f"alias {metric.alias} is in no birth of {clean(self.name)}")
        return None

    def _metric(self, tag: Tag, metric: Metric, burst: Burst, way: int, depth: int) -> None:
        datatype = metric.datatype or tag.datatype
        if datatype != tag.datatype and tag.datatype:
            burst.flag("metric changed its type")
        ts = ns(metric.timestamp) or burst.sent
        status = GOOD if metric.properties is None else quality(metric, burst)
        if tag.positions:
            value, worth = whole(metric, tag.name, datatype, status, burst)
            for position in tag.positions:
                if way == _OWN or self._ways.get(position, way) >= way:
                    burst.give(position, ts, value, worth, metric.historical)
        if tag.parts:
            self._parts(tag, Cells(metric, tag.name, datatype, ts, status, burst), burst, metric.historical)
        if tag.folder:
            self._members(tag, metric, datatype, ts, status, burst, depth)

    def _parts(self, tag: Tag, cells: Cells, burst: Burst, historical: bool) -> None:
        if not (cells.has_parts or self.born):
            return  # before a birth it is open whether the brackets belong to another metric's name
        for position, part in tag.parts:
            if self._ways.get(position, _PART) < _PART:
                continue
            samples = cells.samples(part)
            if not samples or samples[-1][2] != BAD_NODE_ID_UNKNOWN:
                self._ways[position] = _PART
            for ts, value, status in samples[:-1]:
                burst.past(position, ts, value, status, historical)
            for ts, value, status in samples[-1:]:
                burst.give(position, ts, value, status, historical)

    def _members(self, tag: Tag, metric: Metric, datatype: int, ts: int, status: int, burst: Burst, depth: int) -> None:
        if metric.field != INSTANCE or metric.null or status & BAD:
            if metric.field == INSTANCE or datatype == TEMPLATE:
                self._below(tag, ts, status, burst, metric.historical)
            return
        try:
            found = members(metric.inner(), depth)
        except ValueError as error:
            burst.refuse(str(error), tag.name)
            self._below(tag, ts, BAD_DECODING_ERROR, burst, metric.historical)
            return
        for member in found:
            known = self._member(tag, member, burst)
            if known is not None:
                member.timestamp = member.timestamp or metric.timestamp
                member.historical = member.historical or metric.historical
                self._metric(known, member, burst, _MEMBER, depth + 1)

    def _member(self, tag: Tag, member: Metric, burst: Burst) -> Tag | None:
        if member.name is None:
            return self._aliased(member, burst)
        return self._tags.get(f"{tag.name}/{member.name}")

    def _below(self, tag: Tag, ts: int, status: int, burst: Burst, historical: bool) -> None:
        """Take a template's instance that has no members, for all points that are members of it."""
        folder = f"{tag.name}/"
        for position in self.positions:
            if self._asked[position].startswith(folder) and self._ways.get(position, _MEMBER) >= _MEMBER:
                burst.give(position, ts, None, status, historical)

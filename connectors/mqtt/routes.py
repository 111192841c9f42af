"""Which topics are subscribed to, and what reads the messages of each."""

import time
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from config.plant import Point, Source, Topic
from config.units import NS_PER_SECOND
from connectors.mqtt import address as addresses
from connectors.mqtt.address import Address, as_filter, covers, cut, overlap
from connectors.mqtt.csv_format import Csv
from connectors.mqtt.formats import Format, Scalar
from connectors.mqtt.influx_format import Influx
from connectors.mqtt.json_format import Json
from connectors.mqtt.presence import Presence
from connectors.mqtt.values import Maker

FORMATS: dict[str, type[Format]] = {"scalar": Scalar, "json": Json, "csv": Csv, "influx": Influx}

_NUMBERS = 2**28 - 2
REMEMBERED = 50_000
"""So many topics are remembered, with what reads them."""
LONG = 200
"""A topic counts as one more for each so many bytes."""
STALE_HEARTBEATS = 3
"""A topic that is silent for so many heartbeats of its points is told of."""


@dataclass(slots=True, eq=False)
class Route:
    """The points of one topic filter."""

    topic: str
    options: Topic
    formats: list[Format]
    positions: list[int]
    stale_s: float
    """Silence after which it is told of [s]."""
    met: int = 0
    """Messages so far."""
    number: int = 0
    """Number of the filter whose copy of a message it takes where several filters bring one."""


@dataclass(slots=True, eq=False)
class Heard:
    """One topic that messages came of, or should come of."""

    name: str
    routes: tuple[Route, ...] = ()
    presences: tuple[Presence, ...] = ()
    last: float = field(default_factory=time.monotonic)
    """When it was last heard of, or first waited for [s]."""
    newest: int = -(2**63)
    """The newest time in its messages [ns]."""

    @property
    def known(self) -> bool:
        """Whether anything reads it."""
        return bool(self.routes or self.presences)


class Routes:
    """All topics of one source, Sparkplug's apart."""

    def __init__(self, source: Source, points: Sequence[tuple[int, Point]], maker: Maker) -> None:
        """Take each point with its position; raises ValueError where an address is none."""
        parsed = [(position, point, addresses.parse(source, point.address)) for position, point in points]
        self.routes = _routes(source, parsed, maker)
        self.presences = _presences(source, parsed)
        self.filters = _filters(source, [a for *_, a in parsed], self.presences)
        self.marks = {one: number_of(one) for one in _overlapping(self.filters)}
        """Numbers of filters that share topics with others: a broker may send such a message once for each."""
        self.numbers = frozenset(self.marks.values())
        wide = [one for one in self.filters if _is_wild(one)]
        own = set(self.filters)
        readers: list[Route | Presence] = [*self.routes, *self.presences]
        for one in readers:
            brings = one.topic if one.topic in own else next(other for other in wide if covers(other, one.topic))
            one.number = number_of(brings)
        self._presences = defaultdict[str, list[Presence]](list)
        for presence in self.presences:
            self._presences[presence.topic].append(presence)
        self._plain = {route.topic: route for route in self.routes if not _is_wild(route.topic)}
        self._wild = [route for route in self.routes if _is_wild(route.topic)]
        self._heard: dict[bytes, Heard] = {}
        self._remembered = 0
        for topic in self._plain:
            self.heard(topic.encode())

    def heard(self, topic: bytes) -> Heard:
        """Return what reads a topic; raises UnicodeDecodeError where it is no text."""
        found = self._heard.get(topic)
        if found is None:
            name = topic.decode()
            plain = self._plain.get(name)
            wild = [route for route in self._wild if covers(route.topic, name)]
            routes = (plain, *wild) if plain is not None else tuple(wild)
            found = Heard(name, routes, tuple(self._presences.get(name, ())))
            if found.known and self._remembered < REMEMBERED:
                self._remembered += 1 + len(topic) // LONG
                self._heard[topic] = found
        return found

    def silent(self) -> list[tuple[str, float]]:
        """Return the topics that are silent for too long, with how long [s], the longest first."""
        now = time.monotonic()
        ages = [(one.name, now - one.last, one.routes) for one in self._heard.values() if one.routes]
        late = [(name, age) for name, age, routes in ages if age > min(route.stale_s for route in routes)]
        return sorted(late, key=lambda pair: -pair[1])

    def ages(self) -> dict[str, float]:
        """Return how long ago each topic was heard of [s], or first waited for."""
        now = time.monotonic()
        return {one.name: now - one.last for one in self._heard.values()}

    def unmet(self) -> list[int]:
        """Return positions of points that no message of their topics spoke of, though some came."""
        return sorted(n for route in self.routes if route.met >= 10 for one in route.formats for n in one.unmet)


def number_of(topic: str) -> int:
    """Return the number of a filter: the same as long as its text is, whatever else the point table holds.

    A session keeps messages for a filter under the number that it had. Source: MQTT 5.0, 3.8.2.1.2 for the range.
    """
    return zlib.crc32(topic.encode()) % _NUMBERS + 1


def _routes(source: Source, parsed: Sequence[tuple[int, Point, Address]], maker: Maker) -> list[Route]:
    by_topic: dict[str, list[tuple[int, Point, Address]]] = defaultdict(list)
    for one in parsed:
        by_topic[one[2].topic].append(one)
    routes = []
    for topic, members in by_topic.items():
        options = members[0][2].options
        by_format: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for position, _, where in members:
            by_format[where.payload].append((position, where.selector))
        formats = [FORMATS[name](some, source, options, maker) for name, some in by_format.items()]
        silence = options.stale_after or STALE_HEARTBEATS * max(point.heartbeat for _, point, _ in members)
        positions = [position for position, *_ in members]
        routes.append(Route(topic, options, formats, positions, silence / NS_PER_SECOND))
    return routes


def _presences(source: Source, parsed: Sequence[tuple[int, Point, Address]]) -> list[Presence]:
    by_will: dict[tuple[str, str, tuple[str, ...]], list[int]] = defaultdict(list)
    for position, point, where in parsed:
        options = where.options
        if not options.will:
            continue
        topic, pointer = cut(options.will)
        will = addresses.filled(topic, options.topic, where.topic)
        if will is None or _is_wild(will):
            raise ValueError(
                f"address {point.address!r}: will {options.will!r} cannot be filled from it; name the levels that "
                f"differ in topic {options.topic!r} as well, and write no wildcard into the address"
            )
        by_will[will, pointer, options.offline].append(position)
    return [Presence(*key, positions) for key, positions in by_will.items()]


def _filters(source: Source, found: Sequence[Address], presences: Sequence[Presence]) -> list[str]:
    """Return the fewest filters that bring all topics.

    A table of the source is subscribed to as a whole, so that topics that no point reads are seen; one that ends in
    # only says how topics are read.
    """
    tables = [as_filter(one.topic) for one in source.topic]
    wills = [as_filter(cut(one.will)[0]) for one in source.topic if one.will]
    wanted = [topic for topic in tables if not topic.endswith("#")]
    wanted += [where.topic for where in found] + [one.topic for one in presences]
    wanted += [topic for topic in wills if not topic.endswith("#") and any(covers(topic, p.topic) for p in presences)]
    unique = list(dict.fromkeys(wanted))
    wild = [topic for topic in unique if _is_wild(topic)]
    return [one for one in unique if not any(other != one and covers(other, one) for other in wild)]


def _overlapping(filters: Sequence[str]) -> list[str]:
    wild = [one for one in filters if _is_wild(one)]
    found = {one for one in wild for other in filters if one != other and overlap(one, other)}
    return [one for one in filters if one in found or (not _is_wild(one) and any(covers(w, one) for w in wild))]


def _is_wild(topic: str) -> bool:
    return "+" in topic or topic.endswith("#")

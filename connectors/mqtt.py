"""MQTT: subscribes to topics and acknowledges a message only after its rows are on disk."""

import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

import numpy as np
from numpy.typing import NDArray

from config.plant import Point, Source
from config.units import NS_PER_SECOND
from connectors.base import Readings, SourceLost, SourceRefused
from connectors.mqtt_decode import TYPES, Row, Topic, split
from connectors.mqtt_link import Link, Message, OldBroker
from connectors.scaling import Scaling
from connectors.urls import is_whole

log = logging.getLogger("plantproof.mqtt")

VERSIONS = ("5", "3.1.1")
BURST = 500
"""So many messages that wait together become one Readings."""
TOPICS = 200
"""Topics in one SUBSCRIBE."""
WATCH_S = 1.0
"""How often the network thread is looked after [s]."""
CLOSE_S = 2.0
LOG_EVERY = 1000
"""Payloads that do not fit are all counted; of each topic the first and each so many are logged."""


def check(source: Source, point: Point) -> str | None:
    """Return what is wrong with the point's address or type, or None."""
    try:
        split(point.address)
    except ValueError as error:
        return str(error)
    if point.type not in TYPES:
        return f"type {point.type!r} is none of {', '.join(TYPES[1:])}; leave it empty to take the payload's own"
    return None


def check_source(source: Source) -> str | None:
    """Return what is wrong with the source's URL, or None."""
    if not is_whole(source.url, "mqtt"):
        return (
            f"url {source.url!r}: this version reads mqtt://host:port alone; "
            "put a bridge (a local broker) in front of mqtts:// and ws:// brokers"
        )
    if _version(source.url) not in VERSIONS:
        return f"url {source.url!r}: version is one of {', '.join(VERSIONS)}, as in mqtt://host:1883?version=3.1.1"
    if source.time_field and not source.time_field.startswith("/"):
        return f"time_field {source.time_field!r}: it is a JSON Pointer such as /ts"
    return None


def reads(source: Source, points: Sequence[Point]) -> list[str]:
    """Return each point's topic and member."""
    topics = {split(point.address)[0] for point in points}
    head = f"{len(topics)} topics are subscribed to, for {len(points)} points"
    return [head, *(f"    {point.point}: {point.address}" for point in points)]


def _version(url: str) -> str:
    return parse_qs(urlsplit(url).query).get("version", ["5"])[0]


class Connector:
    """One session with one broker."""

    def __init__(self, source: Source, points: Sequence[Point]) -> None:
        """Take the source and its points; raises ValueError where `check` would have found a fault."""
        self._source = source
        scaling = Scaling(points)
        members: dict[str, list[tuple[int, str, Point]]] = {}
        for position, point in enumerate(points):
            topic, pointer = split(point.address)
            members.setdefault(topic, []).append((position, pointer, point))
        self._topics = {topic: Topic(rows, source.time_field, scaling) for topic, rows in members.items()}
        self._scaling = scaling
        self._link: Link | None = None
        self.faults: Counter[str] = Counter()
        """Payloads that did not fit, by topic, and messages that were dropped."""
        self.flags: Counter[str] = Counter()
        self.since: NDArray[np.int64] | None = None
        self.filled = True  # there is no history to ask for

    def warnings(self) -> list[str]:
        """Return what a person should know of a connection that works: nothing so far."""
        return []

    async def connect(self) -> None:
        """Connect and subscribe; raises SourceLost, and SourceRefused where the broker refuses either."""
        if (fault := check_source(self._source)) is not None:
            raise SourceRefused(fault)
        source, url = self._source, urlsplit(self._source.url)
        link = await self._open(url.hostname or "", url.port or 1883)
        if source.client_id and not link.session_present:
            log.warning(
                "source %s: the broker has no session of %r; what was sent before now is not in it",
                source.id,
                source.client_id,
            )
        topics = list(self._topics)
        for start in range(0, len(topics), TOPICS):
            await link.subscribe(topics[start : start + TOPICS])

    async def _open(self, host: str, port: int) -> Link:
        """Open a link with MQTT 5.0, or with 3.1.1 where the URL says so or the broker knows no better."""
        source = self._source
        words = source.client_id, source.user, source.password.get_secret_value(), source.timeout / NS_PER_SECOND
        self._link = Link(*words, v5=_version(source.url) != "3.1.1")
        try:
            await self._link.open(host, port)
        except OldBroker:
            await self._link.close(CLOSE_S)
            self._link = Link(*words, v5=False)
            await self._link.open(host, port)
        return self._link

    def figures(self) -> Mapping[str, float | int]:
        """Return how the link does: nothing so far."""
        return {}

    async def readings(self) -> AsyncIterator[Readings]:
        """Yield what came in, up to BURST messages at a time; raises SourceLost when the link is down."""
        while True:
            link = self._link
            if link is None:
                raise SourceLost(f"source {self._source.id} is closed")
            if link.dropped:
                self.faults["QoS 0 messages dropped, too many at once"] += link.dropped
                link.dropped = 0
            messages = [link.messages.popleft() for _ in range(min(BURST, len(link.messages)))]
            if messages:
                readings = self._take(link, messages)
                if readings is not None:
                    yield readings
            elif link.lost is not None:
                raise SourceLost(f"source {self._source.id}: {link.lost}")
            elif not link.alive():
                raise SourceLost(f"source {self._source.id}: the network thread died")
            else:
                await link.wait(WATCH_S)

    async def close(self) -> None:
        """Disconnect, within CLOSE_S; the broker keeps the session, and what is not acknowledged."""
        link, self._link = self._link, None
        if link is not None:
            await link.close(CLOSE_S)

    def _take(self, link: Link, messages: Sequence[Message]) -> Readings | None:
        """Return the rows of messages; None where there are none, and then they are acknowledged here."""
        rows: list[Row] = []
        for message in messages:
            topic = self._topics.get(message.topic)
            if topic is None:  # a topic of an older point table that the session still holds
                self._fault(message.topic, "no point reads it")
                continue
            found, reason = topic.rows(message.payload, message.received)
            rows += found
            if reason is not None:
                self._fault(message.topic, reason)
        acknowledge = _acknowledge(link, messages)
        if not rows:
            acknowledge()
            return None
        return self._readings(rows, acknowledge)

    def _fault(self, topic: str, reason: str) -> None:
        self.faults[topic] += 1
        if self.faults[topic] % LOG_EVERY == 1:
            log.warning(
                "source %s, topic %r: %s (payload at fault number %d)",
                self._source.id,
                topic,
                reason,
                self.faults[topic],
            )

    def _readings(self, rows: Sequence[Row], acknowledge: Callable[[], None]) -> Readings:
        positions = np.array([row.position for row in rows], np.intp)
        raw = np.array([np.nan if row.value is None else row.value for row in rows], np.float64)
        text = [row.text for row in rows]
        return Readings(
            points=positions,
            ts=np.array([row.ts for row in rows], np.int64),
            ts_recv=time.time_ns(),
            value=self._scaling.apply(positions, raw),
            valid=np.array([row.value is not None for row in rows], np.bool_),
            status=np.array([row.status for row in rows], np.uint32),
            text=text if any(word is not None for word in text) else None,
            acknowledge=acknowledge,
            may_repeat=acknowledge is not None,
        )


def _acknowledge(link: Link, messages: Sequence[Message]) -> Callable[[], None]:
    ids = [(message.mid, message.qos) for message in messages if message.qos > 0]
    return lambda: link.ack(ids)

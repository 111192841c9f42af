"""The MQTT connector: messages become rows, and are acknowledged once these are on disk."""

import asyncio
import logging
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from config.plant import Point, Source
from config.status import BAD_NO_COMMUNICATION, GOOD, UNCERTAIN_LAST_USABLE_VALUE
from config.units import NS_PER_SECOND, format_duration
from connectors.base import Figures, Readings, Refused, SourceLost, SourceRefused, lost
from connectors.mqtt import address as addresses
from connectors.mqtt import sparkplug
from connectors.mqtt.check import check_source
from connectors.mqtt.link import Arrived, Link, OldBroker, Session
from connectors.mqtt.packets import DUP, HEAD, RETAIN
from connectors.mqtt.reasons import FAILURE, told
from connectors.mqtt.rebirths import Rebirths
from connectors.mqtt.routes import Heard, Routes
from connectors.mqtt.target import parse_url
from connectors.mqtt.values import Maker, Row
from connectors.scaling import Scaling
from connectors.texts import clean
from connectors.tls import tls_context

log = logging.getLogger("plantproof.mqtt")

BURST = 500
"""So many messages that wait together become one Readings."""
GATHER_S = 0.1
"""So long messages are gathered before they are taken [s]: a part of what a commit takes in any case."""
TICK_S = 1.0
"""How often is looked after what does not come by itself [s]."""
CLOSE_S = 2.0
LOG_EVERY = 1000
"""Payloads that do not fit are all counted; of each topic the first and each so many are logged."""
NAMED = 5
"""So many topics or points are named in a warning."""
AGES = 200
"""So many topics are listed with their ages, those that are silent for longest."""
TOPICS = 200
"""So many topics are counted by name where something is wrong with them; all others together."""
OTHERS = "other topics"
UNKNOWN = ("data before birth", "unknown alias")
"""What Sparkplug data cannot be used for want of a birth: it is lost, not in doubt."""


class Connector:
    """One session with one broker."""

    def __init__(self, source: Source, points: Sequence[Point]) -> None:
        """Take the source and its points; raises ValueError where `check` would have found a fault."""
        self._source = source
        self._scaling = Scaling(points)
        maker = Maker([point.type for point in points], self._scaling)
        plain = [(n, point) for n, point in enumerate(points) if not addresses.is_sparkplug(point.address)]
        nodes = [
            (n, sparkplug.parse_address(point.address))
            for n, point in enumerate(points)
            if addresses.is_sparkplug(point.address)
        ]
        self._routes = Routes(source, plain, maker)
        self._host = sparkplug.Host(nodes, maker)
        self._rebirths = Rebirths(allowed=source.rebirth)
        self._filters = [*self._routes.filters, *sparkplug.filters([where for _, where in nodes])]
        self._ids = [point.point for point in points]
        self._link: Link | None = None
        self._degraded: list[str] = []
        self._counts: Counter[str] = Counter()
        self._unread: Counter[str] = Counter()
        self._tick = self._stood = 0.0
        self.faults: Counter[str] = Counter()
        """Payloads that did not fit, by topic, and messages that no point reads."""
        self.flags: Counter[str] = Counter()
        self.since: NDArray[np.int64] | None = None
        self.taken: Sequence[int] = ()
        self._named: dict[int, int] | None = None
        self.filled = True  # there is no history to ask for

    async def connect(self) -> None:
        """Connect and subscribe; raises SourceLost, and SourceRefused where the broker refuses either."""
        source = self._source
        if (fault := check_source(source)) is not None:
            raise SourceRefused(fault)
        if not self._filters:
            raise SourceRefused(f"source {source.id}: no point reads it; add one or remove the source")
        link = await self._open()
        group = f"$share/{source.share}/" if source.share else ""
        overlapping = [group + one for one in self._routes.overlapping]
        granted = await link.subscribe([group + one for one in self._filters], source.qos, overlapping)
        refused = [f"{topic!r} ({told(code)})" for topic, code in granted if code >= FAILURE]
        if refused:
            names = ", ".join(refused[:NAMED]) + (f" and {len(refused) - NAMED} more" if len(refused) > NAMED else "")
            raise SourceRefused(f"the broker refuses topics {names}; let this user read them")
        self._degraded = [
            f"the broker grants QoS {code} for {clean(topic)}: messages can get lost"
            for topic, code in granted
            if code < source.qos
        ][:NAMED]
        if overlapping and not link.marks:
            names = ", ".join(clean(one) for one in overlapping[:NAMED])
            rule = "share topics, and this broker may send a message once for each of them"
            self._degraded.append(f"filters {names} {rule}; give messages a time of their own, or use MQTT 5.0")

    async def _open(self) -> Link:
        """Open a link with MQTT 5.0, or with 3.1.1 where the URL says so or the broker knows no better."""
        source, target = self._source, parse_url(self._source.url)
        session = Session(
            client_id=source.client_id,
            user=source.user,
            password=source.password.get_secret_value(),
            keep_alive=source.keepalive / NS_PER_SECOND,
            expiry=source.session_expiry / NS_PER_SECOND,
            receive_maximum=source.receive_maximum,
            max_packet=source.max_packet,
        )
        patience, tls = source.timeout / NS_PER_SECOND, tls_context(source) if target.tls else None
        words = {"tls": tls, "server_name": source.server_name}
        self._link = Link(target, session, patience, v5=target.version != "3.1.1", **words)  # type: ignore[arg-type]
        try:
            await self._link.open()
        except OldBroker:
            await self._link.close(CLOSE_S)
            if target.version:
                raise
            self._link = Link(target, session, patience, v5=False, **words)  # type: ignore[arg-type]
            await self._link.open()
        return self._link

    def warnings(self) -> list[str]:
        """Return which topics are silent, which points no message speaks of, and what nobody reads."""
        found = [*self._degraded, *self._host.warnings()]
        if self._link is not None and (warning := self._link.warning()) is not None:
            found.append(warning)
        if silent := self._routes.silent():
            names = ", ".join(
                f"{clean(name)} ({format_duration(round(age) * NS_PER_SECOND)})" for name, age in silent[:NAMED]
            )
            found.append(f"nothing comes from {names}{_more(silent)}")
        if unmet := [self._ids[n] for n in self._routes.unmet()]:
            found.append(
                f"no message of its topic speaks of {', '.join(unmet[:NAMED])}{_more(unmet)}; look at its address"
            )
        if self._unread:
            names = ", ".join(f"{clean(name)} ({count})" for name, count in self._unread.most_common(NAMED))
            found.append(f"no point reads {names}{_more(list(self._unread))} (messages so far)")
        return found

    def figures(self) -> Figures:
        """Return what came, and how long ago each topic was heard of [s], those that are silent for longest."""
        link, ages = self._link, self._routes.ages()
        oldest = sorted(ages.items(), key=lambda pair: -pair[1])[:AGES]
        return {
            "messages": self._counts["messages"],
            "stored_before": self._counts["stored_before"],
            "without_points": self._counts["without_points"],
            "bytes": link.received if link is not None else 0,
            "waiting": len(link.messages) if link is not None else 0,
            "pauses": link.pauses if link is not None else 0,
            "topics": len(ages),
            "unread_messages": self._unread.total(),
            "topic_age_s": {clean(name): round(age, 1) for name, age in oldest},
        }

    async def readings(self) -> AsyncIterator[Readings]:
        """Yield what came in, up to BURST messages at a time; raises SourceLost when the link is down."""
        if (gap := self._session_gap()) is not None:
            yield gap
        while True:
            link = self._link
            if link is None:
                raise SourceLost(f"source {self._source.id} is closed")
            if messages := link.take(BURST):
                for readings in self._take(link, messages):
                    yield readings
                await asyncio.sleep(0)  # where messages never end, others have their turn
            elif link.lost is not None:
                raise link.lost
            elif await link.wait(TICK_S):
                await link.gather(GATHER_S)
            if time.monotonic() - self._tick >= TICK_S:
                self._tick = time.monotonic()
                self._rebirths.ask(self._host.waiting(), link)
                if (stands := self._standing(link)) is not None:
                    yield stands

    async def close(self) -> None:
        """Disconnect, within CLOSE_S; the broker keeps the session, and what is not acknowledged."""
        link, self._link = self._link, None
        if link is not None:
            await link.close(CLOSE_S)

    @property
    def _known(self) -> dict[int, int]:
        """The message that came last under each packet identifier: only that one can come again [MQTT 5.0, 2.2.1]."""
        if self._named is None:
            self._named = {token & 0xFFFF: token for token in self.taken}
        return self._named

    def _session_gap(self) -> Readings | None:
        """Return the gap where the broker no longer has a session that there was: what it kept for us is lost."""
        if self._link is None or self._link.session_present or not self._source.client_id or not len(self.taken):
            return None
        log.warning("source %s: the broker lost session %r", self._source.id, self._source.client_id)
        self.flags["the broker lost the session: what was sent meanwhile is missing"] += 1
        return lost(np.arange(len(self._ids)), time.time_ns(), BAD_NO_COMMUNICATION)

    def _standing(self, link: Link) -> Readings | None:
        """Return word that values stand whose publishers are known to be there, as of the link's last sign of life."""
        alive = [*self._host.standing()]
        alive += [n for presence in self._routes.presences if presence.alive for n in presence.positions]
        if not alive or link.heard_ns <= self._stood:
            return None
        self._stood = link.heard_ns
        return _none(link.heard_ns, stands=np.array(alive, np.intp))

    def _take(self, link: Link, messages: Sequence[Arrived]) -> list[Readings]:
        """Return the rows of messages; what came of nothing is acknowledged with the others, in order [4.6]."""
        burst = Burst()
        for message in messages:
            self._message(message, burst)
        self._counts["messages"] += len(messages)
        mids = [message.mid for message in messages if message.mid]
        if burst.wants:
            self._rebirths.ask(burst.wants, link)
        found = [self._readings(burst.historic, historic=True)] if burst.historic else []
        readings = self._readings(burst.rows) if burst.rows else _none(time.time_ns(), stands=np.empty(0, np.intp))
        whole = replace(
            readings,
            refused=burst.refused,
            tokens=burst.tokens,
            acknowledge=_acknowledge(link, mids),
            urgent=link.unacknowledged >= link.window,
        )
        return [*found, whole]

    def _message(self, message: Arrived, burst: "Burst") -> None:
        token = 0
        if message.mid:
            token = _token(message)
            before, self._known[message.mid] = self._known.get(message.mid), token
            if message.flags & DUP:
                self.flags["delivered again (DUP)"] += 1
                if token == before:
                    self._counts["stored_before"] += 1
                    return
        try:
            heard = self._routes.heard(message.topic)
        except UnicodeDecodeError:
            self._refuse(message, message.topic.decode(errors="backslashreplace"), "its topic is no UTF-8", burst)
            return
        if message.flags & RETAIN and not heard.name.startswith(addresses.SPARKPLUG):
            self.flags["retained"] += 1
        if message.size:
            limit = f"its {message.size} bytes are more than max_packet, {self._source.max_packet}"
            self._refuse(message, heard.name, limit, burst)
        elif heard.name.startswith(addresses.SPARKPLUG):
            self._sparkplug(message, heard, burst)
        elif heard.known:
            self._plain(message, heard, burst)
        else:
            self._nobody(heard.name)
            return
        if token:
            burst.tokens.append(token)

    def _plain(self, message: Arrived, heard: Heard, burst: "Burst") -> None:
        heard.last = time.monotonic()
        for presence in heard.presences:
            if message.ids and presence.number not in message.ids:
                continue
            if not presence.take(message.payload):
                gone = (message.received, None, None, BAD_NO_COMMUNICATION)
                burst.rows += [(position, *gone) for position in presence.positions]
        for route in heard.routes:
            if message.ids and route.number not in message.ids:
                continue  # another copy of the message is for it
            route.met += 1
            for one in route.formats:
                rows, reason = one.rows(message.payload, message.received)
                if reason is not None:
                    self._refuse(message, heard.name, reason, burst)
                elif not rows:
                    self._counts["without_points"] += 1
                if message.flags & RETAIN:
                    rows = _of_any_age(rows, message.received, route.options.retained)
                burst.rows += rows
                self._in_order(rows, heard)

    def _in_order(self, rows: Sequence[Row], heard: Heard) -> None:
        if not rows:
            return
        newest = rows[0][1]
        if newest < heard.newest:
            self.flags["out of order"] += 1
        else:
            heard.newest = newest

    def _sparkplug(self, message: Arrived, heard: Heard, burst: "Burst") -> None:
        taken = self._host.take(heard.name, message.payload, message.received, retained=bool(message.flags & RETAIN))
        burst.rows += taken.rows
        burst.historic += taken.historic
        for flag in taken.flags:
            (self.faults if flag in UNKNOWN else self.flags)[flag] += 1
        if taken.rebirth is not None:
            burst.wants.append(taken.rebirth)
        if taken.refused is not None:
            self._refuse(message, heard.name, taken.refused, burst)

    def _refuse(self, message: Arrived, topic: str, reason: str, burst: "Burst") -> None:
        """Put a message, or the beginning of a long one, aside."""
        reason = clean(reason)
        burst.refused.append(
            Refused(
                place=topic,
                reason=reason,
                payload=message.payload[:HEAD],
                size=message.size or len(message.payload),
                received=message.received,
            )
        )
        key = f"does not fit, topic {clean(topic)!r}"
        if key not in self.faults and len(self.faults) >= TOPICS:
            key = f"does not fit, {OTHERS}"
        self.faults[key] += 1
        if self.faults[key] % LOG_EVERY == 1:
            words = self._source.id, clean(topic), reason, self.faults[key]
            log.warning("source %s, topic %r: %s (payload at fault number %d)", *words)

    def _nobody(self, topic: str) -> None:
        """Count a message that no point reads: of an unknown publisher, or of an older point table's session."""
        self.faults["no point reads its topic"] += 1
        self._unread[topic if topic in self._unread or len(self._unread) < TOPICS else OTHERS] += 1

    def _readings(self, rows: Sequence[Row], *, historic: bool = False) -> Readings:
        positions, ts, value, text, status = zip(*rows, strict=True)
        points, raw = np.array(positions, np.intp), np.array(value, np.float64)  # None becomes NaN
        valid = ~np.isnan(raw) if None in value else np.ones(len(raw), np.bool_)
        if None in value and (found := np.flatnonzero(~valid)).size:  # a NaN that was sent is a number
            valid[found] = [value[n] is not None for n in found.tolist()]
        return Readings(
            points=points,
            ts=np.array(ts, np.int64),
            ts_recv=time.time_ns(),
            value=self._scaling.apply(points, raw),
            valid=valid,
            status=np.array(status, np.uint32),
            text=text if any(word is not None for word in text) else None,
            may_repeat=True,
            historic=historic,
        )


class Burst:
    """What messages that wait together came to."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.historic: list[Row] = []
        self.refused: list[Refused] = []
        self.tokens: list[int] = []
        self.wants: list[tuple[str, str]] = []
        """Sparkplug nodes whose births are missing."""


def _none(now_ns: int, stands: NDArray[np.intp]) -> Readings:
    """Return Readings without rows."""
    return replace(lost(np.empty(0, np.intp), now_ns), stands=stands)


def _of_any_age(rows: list[Row], received: int, worth: str) -> list[Row]:
    """Return the rows of a retained message; of those without a time of their own nobody knows the age."""
    if worth == "good":
        return rows
    if worth == "ignore":
        return [row for row in rows if row[1] != received]
    doubt = UNCERTAIN_LAST_USABLE_VALUE
    return [(*row[:4], doubt) if row[1] == received and row[4] == GOOD else row for row in rows]


def _token(message: Arrived) -> int:
    """Return a name for a message that a broker gives to it again when it sends it again [MQTT 5.0, 4.4]."""
    return zlib.crc32(message.payload, zlib.crc32(message.topic)) << 16 | message.mid


def _more(names: Sequence[object]) -> str:
    return f" and {len(names) - NAMED} more" if len(names) > NAMED else ""


def _acknowledge(link: Link, mids: Sequence[int]) -> Callable[[], None]:
    return lambda: link.ack(mids)

"""The MQTT connector: messages become rows, and are acknowledged once these are on disk."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from config.plant import Point, Source
from config.status import BAD_NO_COMMUNICATION
from config.units import NS_PER_SECOND, format_duration
from connectors.base import Figures, Readings, SourceLost, SourceRefused, lost
from connectors.mqtt.check import check_source
from connectors.mqtt.inbox import Burst, Inbox, shown
from connectors.mqtt.link import Arrived, Link, OldBroker, Session
from connectors.mqtt.reasons import FAILURE, told
from connectors.mqtt.rebirths import Rebirths
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
NAMED = 5
"""So many topics or points are named in a warning."""
AGES = 200
"""So many topics are listed with their ages, those that are silent for longest."""


class Connector:
    """One session with one broker."""

    def __init__(self, source: Source, points: Sequence[Point]) -> None:
        """Take the source and its points; raises ValueError where `check` would have found a fault."""
        self._source = source
        self._scaling = Scaling(points)
        self._inbox = Inbox(source, points, Maker([point.type for point in points], self._scaling))
        self.faults, self.flags = self._inbox.faults, self._inbox.flags
        self._rebirths = Rebirths(source.url, allowed=source.rebirth)
        self._ids = [point.point for point in points]
        self._link: Link | None = None
        self._subscribing: asyncio.Task[None] | None = None
        self._degraded: list[str] = []
        self._tick = self._stood = 0.0
        self.since: NDArray[np.int64] | None = None
        self.taken: Sequence[int] = ()
        self.filled = True  # there is no history to ask for

    async def connect(self) -> None:
        """Connect and subscribe; raises SourceLost, and SourceRefused where the broker refuses either.

        Where so much of the session comes before the SUBACK that it must be taken first, `readings` waits for that.
        """
        source = self._source
        if (fault := check_source(source)) is not None:
            raise SourceRefused(fault)
        if not self._inbox.filters:
            raise SourceRefused(f"source {source.id}: no point reads it; add one or remove the source")
        self._inbox.recall(self.taken)
        link = await self._open()
        self._subscribing = asyncio.create_task(self._subscribe(link))
        full = asyncio.create_task(link.full.wait())
        try:
            await asyncio.wait([self._subscribing, full], return_when=asyncio.FIRST_COMPLETED)
        finally:
            full.cancel()
        self._look_at_subscription()

    def _look_at_subscription(self) -> None:
        """Raise what subscribing came to, once it is done."""
        task = self._subscribing
        if task is not None and task.done():
            self._subscribing = None
            task.result()

    async def _subscribe(self, link: Link) -> None:
        source = self._source
        group = f"$share/{source.share}/" if source.share else ""
        marks = {group + one: number for one, number in self._inbox.routes.marks.items()}
        granted = await link.subscribe([group + one for one in self._inbox.filters], source.qos, marks)
        refused = [f"{topic!r} ({told(code)})" for topic, code in granted if code >= FAILURE]
        if refused:
            first = ", ".join(refused[:NAMED])
            names = f"{first} and {len(refused) - NAMED} more" if len(refused) > NAMED else first
            raise SourceRefused(f"the broker refuses topics {names}; let this user read them")
        self._degraded += [
            f"the broker grants QoS {code} for {clean(topic)}: messages can get lost"
            for topic, code in granted
            if code < source.qos
        ][:NAMED]
        if marks and not link.marks:
            names = ", ".join(clean(one) for one in list(marks)[:NAMED])
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
            self._degraded.append("the broker does not take MQTT 5.0, or hung up when asked for it: 3.1.1 is spoken")
            self._link = Link(target, session, patience, v5=False, **words)  # type: ignore[arg-type]
            await self._link.open()
        return self._link

    def warnings(self) -> list[str]:
        """Return which topics are silent, which points no message speaks of, and what nobody reads."""
        found = [*self._degraded, *self._inbox.host.warnings()]
        if self._link is not None and (warning := self._link.warning()) is not None:
            found.append(warning)
        if silent := self._inbox.routes.silent():
            names = ", ".join(
                f"{shown(name)} ({format_duration(round(age) * NS_PER_SECOND)})" for name, age in silent[:NAMED]
            )
            found.append(f"nothing comes from {names}{_more(silent)}")
        if unmet := [self._ids[n] for n in self._inbox.routes.unmet()]:
            found.append(
                f"no message of its topic speaks of {', '.join(unmet[:NAMED])}{_more(unmet)}; look at its address"
            )
        if self._inbox.unread:
            names = ", ".join(f"{name} ({count})" for name, count in self._inbox.unread.most_common(NAMED))
            found.append(f"no point reads {names}{_more(list(self._inbox.unread))} (messages so far)")
        return found

    def figures(self) -> Figures:
        """Return what came, and how long ago each topic was heard of [s], those that are silent for longest."""
        link, ages = self._link, self._inbox.routes.ages()
        oldest = sorted(ages.items(), key=lambda pair: -pair[1])[:AGES]
        return {
            "messages": self._inbox.counts["messages"],
            "stored_before": self._inbox.counts["stored_before"],
            "without_points": self._inbox.counts["without_points"],
            "copies": self._inbox.counts["copies"],
            "bytes": link.received if link is not None else 0,
            "waiting": len(link.messages) if link is not None else 0,
            "pauses": link.pauses if link is not None else 0,
            "topics": len(ages),
            "unread_messages": self._inbox.unread.total(),
            "topic_age_s": {shown(name): round(age, 1) for name, age in oldest},
        }

    async def readings(self) -> AsyncIterator[Readings]:
        """Yield what came in, up to BURST messages at a time; raises SourceLost when the link is down."""
        if (gap := self._session_gap()) is not None:
            yield gap
        while True:
            link = self._link
            if link is None:
                raise SourceLost(f"source {self._source.id} is closed")
            self._look_at_subscription()
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
                self._rebirths.ask(self._inbox.host.waiting(), link)
                if (stands := self._standing(link)) is not None:
                    yield stands

    async def close(self) -> None:
        """Disconnect, within CLOSE_S; the broker keeps the session, and what is not acknowledged."""
        link, self._link = self._link, None
        task, self._subscribing = self._subscribing, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if link is not None:
            await link.close(CLOSE_S)

    def _session_gap(self) -> Readings | None:
        """Return the gap where the broker no longer has a session that there was: what it kept for us is lost."""
        if self._link is None or self._link.session_present or not self._source.client_id or not len(self.taken):
            return None
        log.warning("source %s: the broker lost session %r", self._source.id, self._source.client_id)
        self.flags["the broker lost the session: what was sent meanwhile is missing"] += 1
        return lost(np.arange(len(self._ids)), time.time_ns(), BAD_NO_COMMUNICATION)

    def _standing(self, link: Link) -> Readings | None:
        """Return word that values stand whose publishers are known to be there, as of the link's last sign of life."""
        alive = self._inbox.standing()
        if not alive or link.heard_ns <= self._stood:
            return None
        self._stood = link.heard_ns
        return _none(link.heard_ns, stands=np.array(alive, np.intp))

    def _take(self, link: Link, messages: Sequence[Arrived]) -> list[Readings]:
        """Return the rows of messages; what came of nothing is acknowledged with the others, in order [4.6]."""
        burst = Burst()
        for message in messages:
            self._inbox.take(message, burst)
        self._inbox.counts["messages"] += len(messages)
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


def _none(now_ns: int, stands: NDArray[np.intp]) -> Readings:
    """Return Readings without rows."""
    return replace(lost(np.empty(0, np.intp), now_ns), stands=stands)


def _more(names: Sequence[object]) -> str:
    return f" and {len(names) - NAMED} more" if len(names) > NAMED else ""


def _acknowledge(link: Link, mids: Sequence[int]) -> Callable[[], None]:
    return lambda: link.ack(mids)

"""What messages come to: rows, refusals, and counts of what needs neither."""

import logging
import time
import zlib
from collections import Counter
from collections.abc import Sequence

from config.plant import Point, Source
from config.status import BAD_DECODING_ERROR, BAD_NO_COMMUNICATION, GOOD, UNCERTAIN_LAST_USABLE_VALUE
from connectors.base import Refused
from connectors.mqtt import address as addresses
from connectors.mqtt import sparkplug
from connectors.mqtt.formats import MOST, Format, Outcome, TooMany
from connectors.mqtt.link import Arrived
from connectors.mqtt.packets import DUP, HEAD, RETAIN
from connectors.mqtt.routes import Heard, Route, Routes
from connectors.mqtt.values import Maker, Row
from connectors.texts import clean

log = logging.getLogger("plantproof.mqtt")

LOG_EVERY = 1000
"""Payloads that do not fit are all counted; of each topic the first and each so many are logged."""
TOPICS = 200
"""So many topics are counted by name where something is wrong with them; all others together."""
OTHERS = "other topics"
SHOWN = 200
"""So much of a topic's name is told."""
AHEAD_NS = 60_000_000_000
"""A time that is so far ahead of ours is told of [ns]."""
UNKNOWN = ("data before birth", "unknown alias")
"""What Sparkplug data cannot be used for want of a birth: it is lost, not in doubt."""


class Burst:
    """What messages that wait together came to."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.historic: list[Row] = []
        self.refused: list[Refused] = []
        self.tokens: list[int] = []
        self.wants: list[tuple[str, str]] = []
        """Sparkplug nodes whose births are missing."""


class Inbox:
    """Sorts the messages of one link by what reads their topics."""

    def __init__(self, source: Source, points: Sequence[Point], maker: Maker) -> None:
        """Take the source and its points; raises ValueError where an address is none."""
        self._source = source
        plain = [(n, point) for n, point in enumerate(points) if not addresses.is_sparkplug(point.address)]
        nodes = [
            (n, sparkplug.parse_address(point.address))
            for n, point in enumerate(points)
            if addresses.is_sparkplug(point.address)
        ]
        self.routes = Routes(source, plain, maker)
        self.host = sparkplug.Host(nodes, maker)
        self.filters = [*self.routes.filters, *sparkplug.filters([where for _, where in nodes])]
        """Topic filters that bring all messages."""
        self.faults: Counter[str] = Counter()
        """Payloads that did not fit, by topic, and messages that no point reads."""
        self.flags: Counter[str] = Counter()
        """What was kept although it is in doubt."""
        self.counts: Counter[str] = Counter()
        """Messages by what became of them."""
        self.unread: Counter[str] = Counter()
        """Messages of topics that no point reads, by topic."""
        self._known: dict[int, int] = {}
        self._before: Arrived | None = None

    def recall(self, tokens: Sequence[int]) -> None:
        """Know messages of links before this one: the last under each packet identifier can come again [2.2.1]."""
        self._known = {token & 0xFFFF: token for token in tokens}

    def standing(self) -> list[int]:
        """Return positions of points whose publishers are known to be there."""
        alive = [n for presence in self.routes.presences if presence.alive for n in presence.positions]
        return [*self.host.standing(), *alive]

    def take(self, message: Arrived, burst: Burst) -> None:
        """Add what a message comes to."""
        token = _token(message) if message.mid else 0
        if token and self._was_stored(message, token):
            self.counts["stored_before"] += 1
            return
        try:
            heard = self.routes.heard(message.topic)
        except UnicodeDecodeError:
            self._refuse(message, message.topic.decode(errors="backslashreplace"), "its topic is no UTF-8", burst)
            return
        if message.flags & RETAIN and not heard.name.startswith(addresses.SPARKPLUG):
            self.flags["retained"] += 1
        if message.size:
            self._too_large(message, heard, burst)
        elif heard.name.startswith(addresses.SPARKPLUG):
            self._sparkplug(message, heard, burst)
        elif heard.known:
            if self._is_copy(message):
                self.counts["copies"] += 1
            else:
                self._plain(message, heard, burst)
        else:
            self._nobody(heard.name)
            return
        if token:
            burst.tokens.append(token)

    def _too_large(self, message: Arrived, heard: Heard, burst: Burst) -> None:
        """Put the beginning of a message aside; what its points are now, nobody knows."""
        limit = f"its {message.size} bytes are more than max_packet, {self._source.max_packet}"
        self._refuse(message, heard.name, limit, burst)
        if heard.name.startswith(addresses.SPARKPLUG):
            retained = bool(message.flags & RETAIN)
            self._host_took(self.host.unreadable(heard.name, message.received, retained=retained), burst)
        bad = (message.received, None, None, BAD_DECODING_ERROR)
        burst.rows += [(position, *bad) for route in heard.routes for position in route.positions]

    def _was_stored(self, message: Arrived, token: int) -> bool:
        """Return whether a message at QoS 1 is sent again although an instance before, or this one, handed it over."""
        before, self._known[message.mid] = self._known.get(message.mid), token
        if not message.flags & DUP:
            return False
        self.flags["delivered again (DUP)"] += 1
        return token == before

    def _is_copy(self, message: Arrived) -> bool:
        """Return whether a message is the one before, for a filter of an older point table that the session still has.

        What such a filter alone brings is taken: it was kept for us.
        """
        before, self._before = self._before, message
        if before is None or (before.topic, before.payload) != (message.topic, message.payload):
            return False
        mine, other = set(message.ids), set(before.ids)
        return mine != other and not (mine & self.routes.numbers and other & self.routes.numbers)

    def _plain(self, message: Arrived, heard: Heard, burst: Burst) -> None:
        heard.last = time.monotonic()
        for presence in heard.presences:
            if not self._is_for(message, presence.number):
                continue
            if not presence.take(message.payload):
                gone = (message.received, None, None, BAD_NO_COMMUNICATION)
                burst.rows += [(position, *gone) for position in presence.positions]
        for route in heard.routes:
            if not self._is_for(message, route.number):
                continue  # another copy of the message is for it
            route.met += 1
            for one in route.formats:
                rows, reason = _rows(one, route, message)
                if reason is not None:
                    self._refuse(message, heard.name, reason, burst)
                elif not rows:
                    self.counts["without_points"] += 1
                if message.flags & RETAIN:
                    rows = _of_any_age(rows, message.received, route.options.retained)
                burst.rows += rows
                self._in_order(message, rows, heard)

    def _is_for(self, message: Arrived, number: int) -> bool:
        """Return whether a message came for the filter of this number, or for one that no number tells from others."""
        return number in message.ids or self.routes.numbers.isdisjoint(message.ids)

    def _in_order(self, message: Arrived, rows: Sequence[Row], heard: Heard) -> None:
        if not rows:
            return
        newest = rows[0][1]
        if newest > message.received + AHEAD_NS:
            self.flags["its time is more than a minute ahead of ours"] += 1
        if newest < heard.newest:
            self.flags["out of order"] += 1
        else:
            heard.newest = newest

    def _sparkplug(self, message: Arrived, heard: Heard, burst: Burst) -> None:
        taken = self.host.take(heard.name, message.payload, message.received, retained=bool(message.flags & RETAIN))
        self._host_took(taken, burst)
        if taken.refused is not None:
            self._refuse(message, heard.name, taken.refused, burst)

    def _host_took(self, taken: sparkplug.Taken, burst: Burst) -> None:
        burst.rows += taken.rows
        burst.historic += taken.historic
        for flag in taken.flags:
            (self.faults if flag in UNKNOWN else self.flags)[flag] += 1
        if taken.rebirth is not None:
            burst.wants.append(taken.rebirth)

    def _refuse(self, message: Arrived, topic: str, reason: str, burst: Burst) -> None:
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
        key = f"does not fit, topic {shown(topic)!r}"
        if key not in self.faults and len(self.faults) >= TOPICS:
            key = f"does not fit, {OTHERS}"
        self.faults[key] += 1
        if self.faults[key] % LOG_EVERY == 1:
            words = self._source.id, shown(topic), reason, self.faults[key]
            log.warning("source %s, topic %r: %s (payload at fault number %d)", *words)

    def _nobody(self, topic: str) -> None:
        """Count a message that no point reads: of an unknown publisher, or of an older point table's session."""
        self.faults["no point reads its topic"] += 1
        topic = shown(topic)
        self.unread[topic if topic in self.unread or len(self.unread) < TOPICS else OTHERS] += 1


def shown(topic: str) -> str:
    """Return a topic as it is told: harmless, and not longer than a person reads."""
    return clean(topic[:SHOWN]) + ("…" if len(topic) > SHOWN else "")


def _rows(one: Format, route: Route, message: Arrived) -> tuple[list[Row], str | None]:
    try:
        return one.rows(message.payload, message.received)
    except TooMany:
        reason = f"more than {MOST:,} samples in one message; let its publisher send smaller ones"
        return Outcome(message.received).all_bad(route.positions, reason)


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

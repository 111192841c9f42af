"""What a broker's topics bear: subscribes, listens for a while and goes; nothing is ever published."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from config.plant import Source
from config.units import NS_PER_SECOND
from connectors.base import SourceLost, SourceRefused
from connectors.mqtt.address import SPARKPLUG, covers, overlap
from connectors.mqtt.browsing.births import Key, Owner, owner_of
from connectors.mqtt.browsing.heard import Topic
from connectors.mqtt.browsing.shapes import MEMBERS
from connectors.mqtt.link import Arrived, Link, OldBroker, Session
from connectors.mqtt.packets import RETAIN
from connectors.mqtt.reasons import FAILURE, told
from connectors.mqtt.target import parse_url
from connectors.tls import tls_context

MAX_PACKET = 8 * 2**20
"""Larger messages are told to the broker as too large [B]; one of 5.0 does not send them."""
LOOK_S = 0.1
"""How often is taken what comes before subscribing is done [s]."""
BURST = 500
CLOSE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to listen to."""

    filters: Sequence[str] = ("#",)
    seconds: float = 10.0
    limit: int = 20_000
    """Topics to keep at most."""


@dataclass(slots=True)
class Found:
    """What was heard."""

    topics: dict[str, Topic] = field(default_factory=dict)
    nodes: dict[Key, Owner] = field(default_factory=dict)
    seconds: float = 0.0
    """How long was listened."""
    refused: list[str] = field(default_factory=list)
    """Filters that the broker refuses, with its reason."""
    cut: bool = False
    """Whether there are more topics than the limit."""
    lost: str = ""
    """Why the link was gone before the time was over; empty: it was not."""
    unread: Counter[str] = field(default_factory=Counter)
    """Messages that are no samples of anybody, by what they are."""
    version: str = ""
    warning: str = ""

    @property
    def heard(self) -> int:
        """Topics, nodes and devices that are known."""
        return len(self.topics) + len(self.nodes)


class Ear:
    """Sorts messages into what is known of their topics."""

    def __init__(self, wanted: Wanted, found: Found) -> None:
        self._wanted, self._found = wanted, found
        self._members = 0
        self._own = any(one.startswith("$") for one in wanted.filters)

    def take(self, message: Arrived) -> bool:
        """Take a message; return whether there is room for its topic."""
        try:
            name = message.topic.decode()
        except UnicodeDecodeError:
            self._found.unread["topics that are no UTF-8"] += 1
            return True
        if name.startswith("$") and not self._own:
            return True
        if message.ids and self._first(name) not in message.ids:
            return True  # another copy of the message was counted, or will be
        retained = bool(message.flags & RETAIN)
        if name.startswith(SPARKPLUG):
            return self._sparkplug(name, message, retained=retained)
        topic = self._found.topics.get(name)
        if topic is None:
            if self._found.heard >= self._wanted.limit:
                return False
            topic = self._found.topics[name] = Topic(name)
        room = MEMBERS - self._members
        self._members += topic.take(message.payload, message.size, message.received, room, retained=retained)
        return True

    def _first(self, name: str) -> int:
        return next((n for n, one in enumerate(self._wanted.filters, 1) if covers(one, name)), 0)

    def _sparkplug(self, name: str, message: Arrived, *, retained: bool) -> bool:
        whose = owner_of(name)
        if whose is None:
            self._found.unread["Sparkplug commands, states of hosts and unknown messages"] += 1
            return True
        key, kind = whose
        owner = self._found.nodes.get(key)
        if owner is None:
            if self._found.heard >= self._wanted.limit:
                return False
            owner = self._found.nodes[key] = Owner(*key)
        owner.retained += retained
        self._members += owner.take(kind, message.payload, message.size, MEMBERS - self._members)
        return True


async def browse(source: Source, wanted: Wanted, tell: Callable[[str], None]) -> Found:
    """Return what is heard of a broker; `tell` takes what is about to be done, in words.

    Raises SourceLost where no link can be made, and SourceRefused where a person must act first: all filters refused
    as well.
    """
    found = Found()
    link = await _open(source, found)
    try:
        ear = Ear(wanted, found)
        granted = await _subscribe(link, wanted, ear)
        found.refused = [f"{one} ({told(code)})" for one, code in granted if code >= FAILURE]
        if len(found.refused) == len(wanted.filters):
            raise SourceRefused(
                f"{link.target.name} refuses to let this user read {', '.join(found.refused)}; "
                "let the broker's access list allow it, or name with --topic what it allows"
            )
        tell(f"listens to {', '.join(wanted.filters)} of {link.target.name} for {wanted.seconds:g} s")
        await _listen(link, wanted, found, ear)
    finally:
        await link.close(CLOSE_S)
    return found


async def _subscribe(link: Link, wanted: Wanted, ear: Ear) -> list[tuple[str, int]]:
    """Subscribe, and take meanwhile what comes before the answer."""
    marks = {
        one: n
        for n, one in enumerate(wanted.filters, 1)
        if any(one != two and overlap(one, two) for two in wanted.filters)
    }
    subscribing = asyncio.create_task(link.subscribe(wanted.filters, 0, marks))
    try:
        while not subscribing.done():
            await asyncio.wait([subscribing], timeout=LOOK_S)
            for message in link.take(BURST):
                ear.take(message)
        return subscribing.result()
    finally:
        subscribing.cancel()


async def _listen(link: Link, wanted: Wanted, found: Found, ear: Ear) -> None:
    start = time.monotonic()
    found.warning = link.warning() or ""
    while (rest := wanted.seconds - (time.monotonic() - start)) > 0 and not found.cut:
        if messages := link.take(BURST):
            found.cut = not all(ear.take(message) for message in messages)
            await asyncio.sleep(0)  # the loop reads on
        elif link.lost is not None:
            found.lost = str(link.lost)
            break
        else:
            await link.wait(rest)
    while not found.cut and not found.lost and (messages := link.take(BURST)):
        found.cut = not all(ear.take(message) for message in messages)
    found.seconds = time.monotonic() - start


async def _open(source: Source, found: Found) -> Link:
    """Open a link with MQTT 5.0, or with 3.1.1 where the URL says so or the broker knows no better."""
    target = parse_url(source.url)
    session = Session(
        user=source.user, password=source.password.get_secret_value(), max_packet=MAX_PACKET,
        keep_alive=source.keepalive / NS_PER_SECOND,
    )  # fmt: skip
    patience, tls = source.timeout / NS_PER_SECOND, tls_context(source) if target.tls else None
    for v5 in (True, False):
        if target.version not in ("", "5" if v5 else "3.1.1"):
            continue
        link = Link(target, session, patience, v5=v5, tls=tls, server_name=source.server_name)
        try:
            await link.open()
        except OldBroker:
            await link.close(CLOSE_S)
            if target.version or not v5:
                raise
            continue
        except (SourceLost, SourceRefused):
            await link.close(CLOSE_S)
            raise
        found.version = "5.0" if v5 else "3.1.1"
        return link
    raise SourceLost(f"{target.name}: no version of MQTT is left to try")

"""The host's view of edge nodes: births, deaths and sequence numbers, and what they make of points; no I/O.

Source: Sparkplug 3.0.0, chapter 5 (sessions, message ordering) and chapter 6 (what each message holds).
"""

from collections.abc import Sequence

from config.status import BAD_DATA_LOST, BAD_NO_COMMUNICATION
from connectors.mqtt.sparkplug.address import DEVICE_TYPES, NAMESPACE, NODE_TYPES, Address
from connectors.mqtt.sparkplug.burst import SHOWN, Burst, Points, Taken, ns
from connectors.mqtt.sparkplug.node import GAP, IN_ORDER, LATE, SEQS, Node
from connectors.mqtt.sparkplug.owner import Owner
from connectors.mqtt.sparkplug.payload import Metric, Payload, opened
from connectors.mqtt.values import Maker
from connectors.texts import clean

MOST_WARNINGS = 5
_BIRTHS, _DATA = ("NBIRTH", "DBIRTH"), ("NDATA", "DDATA")
_NOTHING = Payload(None, None, [])


class Host:
    """Makes rows of the messages that the filters of its points' addresses bring."""

    def __init__(self, members: Sequence[tuple[int, Address]], maker: Maker) -> None:
        """Take the points' positions and addresses, and what makes rows of values."""
        self._nodes: dict[tuple[str, str], Node] = {}
        self._points = Points(maker)
        for position, address in members:
            node = self._nodes.setdefault((address.group, address.node), Node(address.group, address.node))
            owner = node.owner(address.device)
            if owner is None:
                owner = node.devices[address.device] = Owner(address.group, address.node, address.device)
            owner.add(position, address.metric)

    def take(self, topic: str, payload: bytes, received: int, *, retained: bool = False) -> Taken:
        """Return what a message comes to; `received` [ns since 1970, UTC]. Never raises, whatever the bytes are.

        Of messages that are retained only births are used, and their values are not of now (chapter 6: no message of
        an edge node is retained).
        """
        taken = Taken()
        where = self._where(topic)
        if where is None:
            taken.flags.append("not for us")
            return taken
        node, kind, device = where
        if retained:
            taken.flags.append("retained")
            if kind not in _BIRTHS:
                return taken
        found = None
        try:
            found = opened(payload)
        except ValueError as error:
            taken.refused = f"{kind} is malformed: {error}"
        burst = Burst(self._points, taken, ns(found.timestamp) if found is not None else None, received, retained)
        if found is None:
            if not retained:
                self._unread(node, kind, node.owner(device), None, burst)
        elif kind == "NDEATH":
            self._node_death(node, found, burst)
        elif retained:
            self._retained(node, device, found, burst)
        else:
            self._live(node, kind, device, (topic, payload), found, burst)
        if burst.wanted:
            taken.rebirth = node.group, node.name
        return taken

    def unreadable(self, topic: str, received: int, *, retained: bool = False) -> Taken:
        """Return what a message comes to of which the topic alone is known, as the rest was too long to be read."""
        taken = Taken()
        where = self._where(topic)
        if where is None or retained:
            taken.flags.append("not for us" if where is None else "retained")
            return taken
        node, kind, device = where
        burst = Burst(self._points, taken, None, received, late=False)
        self._unread(node, kind, node.owner(device), None, burst)
        if burst.wanted:
            taken.rebirth = node.group, node.name
        return taken

    def _where(self, topic: str) -> tuple[Node, str, str] | None:
        """Return the node, the type and the device of a message's topic, None where there are no points of it."""
        levels = topic.split("/")
        known = levels[0] == NAMESPACE and len(levels) in (4, 5)
        node = self._nodes.get((levels[1], levels[3])) if known else None
        if node is None or levels[2] not in (NODE_TYPES if len(levels) == 4 else DEVICE_TYPES):
            return None
        return node, levels[2], levels[4] if len(levels) == 5 else ""

    def _live(
        self, node: Node, kind: str, device: str, message: tuple[str, bytes], found: Payload, burst: Burst
    ) -> None:
        if found.seq is not None and message == node.last:
            burst.flag("repeated")
            return
        owner = node.owner(device)
        metrics = _metrics(kind, found, burst) if owner is not None else []
        node.last, node.dead = message, False
        if metrics is None:
            self._unread(node, kind, owner, found, burst)
        elif kind == "NBIRTH":
            self._node_birth(node, metrics, found, burst)
        else:
            self._in_sequence(node, found, burst)
            if node.awaits and kind in _DATA and not burst.late:
                self._not_born_again(node, burst)
            if owner is not None:
                self._of_owner(owner, kind, metrics, burst)
        sent = ns(found.timestamp)
        if not burst.late:
            node.known = sent or max((row[1] for row in burst.taken.rows), default=burst.received)

    def _unread(self, node: Node, kind: str, owner: Owner | None, found: Payload | None, burst: Burst) -> None:
        """Take a message whose metrics cannot be read, or (found is None) of which nothing can.

        What it would have said is not known from the last message on; what a birth had said before it is over, as
        aliases are of one birth only. It was seen, so that data of this kind hide no birth.
        """
        if kind == "NDEATH":  # no sequence number would tell that a death was missed
            self._node_death(node, _NOTHING, burst)
            return
        node.dead = False
        if found is None:
            node.unread, node.last = node.unread + 1, None
        if kind == "NBIRTH":
            burst.wanted = bool(node.own.positions)
            self._end(self._standing(node), node.known + 1, BAD_DATA_LOST, burst)
            node.doubted, node.own.dead = True, False
            node.begin(_number(found or _NOTHING))
            self._forget(node)
            return
        if found is not None:
            self._in_sequence(node, found, burst)
        if node.awaits and kind in _DATA and not burst.late:
            self._not_born_again(node, burst)
        if owner is not None and not burst.late:
            self._unread_of_owner(node, owner, kind, burst)

    def _unread_of_owner(self, node: Node, owner: Owner, kind: str, burst: Burst) -> None:
        if kind == "DDEATH":
            self._of_owner(owner, kind, [], burst)
            return
        owner.dead = False
        if not owner.positions:
            return
        burst.wanted = True
        standing = [position for position in owner.positions if position in self._points.stands]
        self._end(standing, node.known + 1, BAD_DATA_LOST, burst)
        if kind == "DBIRTH":
            owner.forget()
            owner.awaited = False
        elif GAP not in burst.taken.flags:
            burst.flag(GAP)

    def _of_owner(self, owner: Owner, kind: str, metrics: Sequence[Metric], burst: Burst) -> None:
        if kind == "DDEATH":
            if not burst.late:  # of a late one nothing is left to end: the gap did
                self._end(owner.positions, burst.sent, BAD_NO_COMMUNICATION, burst)
                owner.die()
        elif kind == "DBIRTH" and not (burst.late and owner.born):
            owner.birth(metrics, burst)
        else:
            owner.dead = False
            if not owner.born:
                burst.before_birth()
            owner.data(metrics, burst)

    def _retained(self, node: Node, device: str, found: Payload, burst: Burst) -> None:
        """Learn of a retained birth what its names mean; its values are old, and what is live knows better."""
        owner = node.owner(device)
        if owner is None or owner.born:
            return
        burst.wanted = True
        metrics = _metrics("a retained birth", found, burst)
        if metrics is not None:
            owner.birth(metrics, burst)

    def _node_birth(self, node: Node, metrics: Sequence[Metric], found: Payload, burst: Burst) -> None:
        """Begin a session, or begin it anew: all devices are to be born again too (chapter 5)."""
        bdseq = _bdseq(metrics)
        if None not in (bdseq, node.bdseq) and bdseq != node.bdseq and self._standing(node):
            burst.flag("new session without a death")
            self._end(self._standing(node), node.known + 1, BAD_DATA_LOST, burst)
        if found.seq != 0:
            burst.flag("birth is not number 0")
        node.bdseq, node.doubted = bdseq, False
        node.begin(_number(found))
        self._forget(node)
        node.own.birth(metrics, burst)

    def _forget(self, node: Node) -> None:
        """Forget what the last births said; the devices' are to follow."""
        node.own.forget()
        for device in node.devices.values():
            device.forget()
            device.awaited = node.awaits = True

    def _node_death(self, node: Node, found: Payload, burst: Burst) -> None:
        """End what stands of the node and its devices, now: the time in a will is that of the connecting (chapter 6).

        A death of an older session may come after the new one's birth; a death that does not say counts, and so does
        one of another session where the birth of that may have been lost.
        """
        bdseq = _bdseq(_metrics("NDEATH", found, burst) or [])
        if None not in (bdseq, node.bdseq) and bdseq != node.bdseq and not node.doubted:
            burst.flag("stale death")
            return
        if node.dead:
            burst.flag("repeated")
            return
        if bdseq is None:
            burst.flag("death without bdSeq")
        self._end(node.positions(), burst.received, BAD_NO_COMMUNICATION, burst)
        for owner in node.owners():
            owner.die()
        node.dead, node.doubted, node.last = True, True, None
        node.begin(None)

    def _in_sequence(self, node: Node, found: Payload, burst: Burst) -> None:
        """Look whether messages are missing before this one: then no value of the node is known any more.

        Births may be among them, so that aliases and the session are in doubt until the next ones.
        """
        number = _number(found)
        if number is None:
            burst.flag("no sequence number" if found.seq is None else "sequence number above 255")
            node.begin(None)
            return
        order = node.step(number)
        if order == IN_ORDER:
            return
        burst.flag(order)
        if order == LATE:
            burst.late = True
        else:
            burst.wanted = node.doubted = True
            for owner in node.owners():
                owner.doubt()
            self._end(self._standing(node), node.known + 1, BAD_DATA_LOST, burst)

    def _not_born_again(self, node: Node, burst: Burst) -> None:
        """End devices that the node's new birth has left out: all births come before any data (chapter 6, DBIRTH)."""
        node.awaits = False
        for device in node.devices.values():
            if device.awaited:
                device.awaited = False
                standing = [position for position in device.positions if position in self._points.stands]
                self._end(standing, node.known + 1, BAD_NO_COMMUNICATION, burst)

    def _standing(self, node: Node) -> list[int]:
        return [position for position in node.positions() if position in self._points.stands]

    def _end(self, positions: Sequence[int], ts: int, status: int, burst: Burst) -> None:
        self._points.end(burst.taken.rows, positions, ts, status)

    def standing(self) -> list[int]:
        """Return the points whose publisher lives and whose last value was not bad, in order: for heartbeats."""
        awaited = {
            position
            for node in self._nodes.values()
            for device in node.devices.values()
            if device.awaited
            for position in device.positions
        }
        return sorted(self._points.stands - awaited)

    def waiting(self) -> list[tuple[str, str]]:
        """Return group and node of those who live, as far as is known, and whose births are not known in full."""
        return [
            key for key, node in self._nodes.items() if not node.dead and any(_waits(owner) for owner in node.owners())
        ]

    def warnings(self) -> list[str]:
        """Return who waits for a birth, who is dead and which metrics no birth has, in a handful of lines."""
        lines = []
        for node in self._nodes.values():
            name = clean(node.own.name)
            if node.dead:
                lines.append(f"edge node {name} is dead; look at it, or at its line to the broker")
                continue
            for owner in node.owners():
                lines += _told(owner)
        more = len(lines) - MOST_WARNINGS
        return lines if more <= 0 else [*lines[:MOST_WARNINGS], f"and {more} more of Sparkplug nodes and devices"]


def _waits(owner: Owner) -> bool:
    return bool(owner.positions) and not owner.dead and (owner.doubted or not owner.born)


def _told(owner: Owner) -> list[str]:
    name = clean(owner.name)
    if owner.dead:
        return [f"device {name} is dead; its node lives"]
    if owner.doubted:
        return [f"{name} waits for its birth: one may have been lost; until then its aliases are not used"]
    if owner.born:
        return [
            f"metric {clean(metric)[:SHOWN]!r} is in no birth of {name}; mend the address" for metric in owner.absent
        ]
    return (
        [f"{name} waits for its birth; until then its aliases and data types are not known"] if owner.positions else []
    )


def _number(found: Payload) -> int | None:
    """Return a message's sequence number, None where it has none that is one."""
    return found.seq if found.seq is not None and found.seq < SEQS else None


def _metrics(kind: str, found: Payload, burst: Burst) -> list[Metric] | None:
    try:
        return found.metrics()
    except ValueError as error:
        burst.refuse(f"{kind} is malformed: {error}")
        return None


def _bdseq(metrics: Sequence[Metric]) -> int | None:
    """Return the number of the session that a birth or a death is of; None where it does not say."""
    for metric in metrics:
        if metric.name == "bdSeq" and isinstance(metric.raw, int) and metric.field:
            return metric.raw
    return None

"""Subscriptions: publishes to Readings, with a watch on sequence numbers, overflow and silence.

What is lost on the way is fetched again (Republish); what the server no longer has becomes a gap row, and the values
of now are read. A notification is acknowledged once its rows are committed.
"""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from numpy.typing import NDArray

from config.plant import Point
from config.status import BAD_NO_COMMUNICATION
from config.units import NS_PER_SECOND
from connectors.base import Readings, SourceLost, lost
from connectors.opcua.messages import (
    TOO_MUCH,
    Encoded,
    Notification,
    ServiceFault,
    acknowledgements,
    publish_response,
    republish_response,
)
from connectors.opcua.polls import Fan, fanned
from connectors.opcua.sequence import Numbers
from connectors.opcua.session import SESSION_OVER, Session, faults
from connectors.opcua.values import OVERFLOW, Values
from connectors.opcua.wire import NULL_NS, Decoder

log = logging.getLogger("plantproof.opcua")

PUBLISHES = 2
"""PublishRequests that wait at the server, so that one is there while the other is on its way."""
LIFETIME_S = 60.0
"""How long a server keeps a subscription whose client is silent [s]."""
STAND_S = 1.0
"""How often publishes with values say that all other values stand [s]."""
NOTIFICATIONS = 10_000
"""Most changes in one publish."""
BAD_DATA_LOST = 0x809D_0000
_NO_SUBSCRIPTION, _TOO_MANY_PUBLISHES, _TIMEOUT = 0x8079_0000, 0x8078_0000, 0x800A_0000
_FILTER_REFUSED = frozenset({0x8043_0000, 0x8044_0000, 0x8045_0000, 0x808E_0000})
"""BadMonitoredItemFilterInvalid, ...Unsupported, BadFilterNotAllowed, BadDeadbandFilterInvalid."""

Deliver = Callable[[Readings | SourceLost], Awaitable[None]]
Refresh = Callable[[Sequence[int]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Item:
    """What is asked of the server for one node; points that ask the same share it."""

    node: ua.NodeId
    sampling: int
    queue: int
    trigger: ua.DataChangeTrigger
    deadband: float
    percent: float

    @classmethod
    def of(cls, point: Point, node: ua.NodeId, period: int) -> "Item":
        """Return a point's item; `period` [ns] is the default of its sampling."""
        trigger = point.trigger or ("timestamp" if point.store == "all" else "value")
        band = point.deadband / abs(point.scale) if point.scale else 0.0
        sampling = point.sampling or period
        return cls(node, sampling, point.queue, _TRIGGERS[trigger], band, point.deadband_percent)

    def request(self, handle: int, *, filtered: bool) -> ua.MonitoredItemCreateRequest:
        """Return the library's request; without a filter where the server refused one."""
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(NodeId=self.node, AttributeId=AttributeIds.Value),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=ua.IntegerId(handle),
                SamplingInterval=ua.Duration(self.sampling / 1_000_000),
                Filter=self._filter() if filtered else None,
                QueueSize=ua.Counter(self.queue),
                DiscardOldest=True,
            ),
        )

    def _filter(self) -> ua.DataChangeFilter:
        kind, value = ua.DeadbandType.None_, 0.0
        if self.percent:
            kind, value = ua.DeadbandType.Percent, self.percent
        elif self.deadband:
            kind, value = ua.DeadbandType.Absolute, self.deadband
        return ua.DataChangeFilter(Trigger=self.trigger, DeadbandType=ua.UInt32(kind), DeadbandValue=ua.Double(value))


_TRIGGERS = {
    "status": ua.DataChangeTrigger.Status,
    "value": ua.DataChangeTrigger.StatusValue,
    "timestamp": ua.DataChangeTrigger.StatusValueTimestamp,
}


class Subscribed:
    """Monitored items of one period; client handles are rows of its fan."""

    def __init__(self, values: Values, deliver: Deliver, refresh: Refresh, faults: Counter[str]) -> None:
        """Take where values are decoded, where readings go, who reads values anew, and where losses are counted."""
        self.id = 0
        self.deadline = math.inf
        """Longest silence [s] after which the subscription counts as dead."""
        self.heard = self.taken = time.monotonic()
        """When a message came last, and when one was last taken in whole (monotonic) [s]."""
        self.fan = Fan([])
        self.monitored = np.empty(0, np.intp)
        """Positions of the points that the server monitors."""
        self.acknowledge: Callable[[int], None] = lambda _number: None
        """Called with the number of a message that is safe."""
        self._values, self._deliver, self._refresh, self._faults = values, deliver, refresh, faults
        self._sequence = Numbers()
        self._stood = -math.inf
        self._sampling = 0  # longest sampling interval [ns]
        self._known = 0  # when the last message was sent, by the clock of its rows' times
        self._session: Session | None = None
        self._republish = Decoder(lead=4)

    async def create(
        self,
        session: Session,
        nodes: Mapping[int, ua.NodeId],
        points: Sequence[Point],
        period: int,
        opened: "Callable[[Subscribed], None]",
    ) -> dict[int, int]:
        """Subscribe to nodes by position; returns the StatusCode of each that the server refused.

        `period` [ns] is the publishing interval; `opened` is called before the first message can come. Raises
        ServiceFault where the server refuses the subscription as a whole, and the errors that `faults` turns.
        """
        self._session = session
        items, of_item = fanned({p: Item.of(points[p], node, period) for p, node in nodes.items()}, nodes)
        self.fan, self._sampling = Fan(of_item), max(item.sampling for item in items)
        await self._open(session, period / NS_PER_SECOND)
        opened(self)
        refused = await self._monitor(session, dict(enumerate(items)), filtered=True)
        again = [handle for handle, code in refused.items() if code in _FILTER_REFUSED]
        if again:
            log.warning("%d points are monitored without deadband: the server refuses their filter", len(again))
            refused = {h: code for h, code in refused.items() if h not in again}
            refused |= await self._monitor(session, {handle: items[handle] for handle in again}, filtered=False)
        monitored = [p for handle, of_one in enumerate(of_item) if handle not in refused for p in of_one]
        self.monitored = np.array(monitored, np.intp)
        return {position: code for handle, code in refused.items() for position in of_item[handle]}

    async def _open(self, session: Session, seconds: float) -> None:
        keep_alives = max(1, round(session.timeout / 2 / seconds))
        asked = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=ua.Duration(seconds * 1000),
            RequestedLifetimeCount=ua.Counter(max(3 * keep_alives, math.ceil(LIFETIME_S / seconds))),
            RequestedMaxKeepAliveCount=ua.Counter(keep_alives),
            MaxNotificationsPerPublish=ua.Counter(NOTIFICATIONS),
            PublishingEnabled=True,
        )
        answer = await session.ask(ua.CreateSubscriptionRequest(Parameters=asked), ua.CreateSubscriptionResponse)
        given = answer.Parameters
        self.id = int(given.SubscriptionId)
        keep_alive = given.RevisedPublishingInterval / 1000 * given.RevisedMaxKeepAliveCount
        self.deadline = max(3 * keep_alive, session.timeout)
        self.heard = time.monotonic()

    async def _monitor(self, session: Session, items: dict[int, Item], *, filtered: bool) -> dict[int, int]:
        """Create monitored items by handle; returns the StatusCodes of the refused ones."""
        refused: dict[int, int] = {}
        waiting = list(items)
        step = session.limits.monitor
        while waiting:
            part, waiting = waiting[:step], waiting[step:]
            request = ua.CreateMonitoredItemsRequest()
            request.Parameters.SubscriptionId = ua.IntegerId(self.id)
            request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
            request.Parameters.ItemsToCreate = [items[handle].request(handle, filtered=filtered) for handle in part]
            try:
                answer = await session.ask(request, ua.CreateMonitoredItemsResponse)
            except ServiceFault as error:
                if error.code in SESSION_OVER:
                    raise
                if error.code in TOO_MUCH and len(part) > 1:
                    step, waiting = len(part) // 2, part + waiting
                else:
                    refused |= dict.fromkeys(part, error.code)
                continue
            codes = zip(part, (result.StatusCode for result in answer.Results), strict=True)
            refused |= {handle: code.value for handle, code in codes if code.is_bad()}
        return refused

    def silent(self) -> str | None:
        """Return what to say where nothing was published for too long, or None."""
        silence = time.monotonic() - self.heard
        return f"nothing was published for {silence:.1f} s" if silence > self.deadline else None

    async def take(self, note: Notification) -> None:
        """Take one message: values, a keep-alive (no rows: all values stand) or the subscription's end.

        The next publish is asked for when this returns, so a full queue makes the server wait.
        """
        received = time.time_ns()
        self.heard = time.monotonic()
        missing = self._sequence.missing(note.sequence, is_data=note.is_data)
        if missing is None:
            self._faults["a notification came twice"] += 1
            self.acknowledge(note.sequence)
            return
        stale = await self._fetch(missing, note, received) if missing else False
        await self._changes(note, received)
        if stale:
            await self._refresh(self.monitored.tolist())
        if note.ended is not None:
            name = ua.StatusCode(ua.UInt32(note.ended)).name
            await self._deliver(SourceLost(f"the server ended a subscription: {name}"))
            return
        if not note.is_data or time.monotonic() - self._stood >= STAND_S:
            # What a publish does not mention stands, as after a keep-alive; the agent's heartbeats live on that.
            clock = self._values.clock(note.sent, received)
            await self._deliver(replace(lost(np.empty(0, np.intp), received), clock=clock, stands=self.monitored))
            self._stood = time.monotonic()
        self._known = self._now(note, received) - self._sampling  # what changed since may come with the next one
        self.heard = self.taken = time.monotonic()

    async def _changes(self, note: Notification, received: int) -> None:
        """Deliver a message's values; it is acknowledged once the last of them is committed."""
        found: list[Readings] = []
        for rows, came in note.changes:
            known = np.flatnonzero(rows < len(self.fan))
            if len(known) < len(rows):
                self._faults["a value came for a point that was never asked for"] += len(rows) - len(known)
            ours = (rows, came) if len(known) == len(rows) else (rows[known], came.take(known))
            positions, columns = self.fan.spread(*ours)
            over = np.unique(positions[columns.status & OVERFLOW == OVERFLOW])
            if len(over):
                self._faults["a queue on the server overflowed"] += len(over)
                log.warning("%d points lost changes: their queues on the server overflowed", len(over))
                await self._deliver(self._gap(over, received, self._now(note, received), 0, BAD_DATA_LOST))
            if len(positions):
                found.append(self._values.readings(positions, columns, received, note.sent))
        for readings in found[:-1]:
            await self._deliver(readings)
        if found:
            await self._deliver(replace(found[-1], acknowledge=lambda: self.acknowledge(note.sequence)))
        elif note.is_data:
            self.acknowledge(note.sequence)

    def _now(self, note: Notification, received: int) -> int:
        """Return when a message was sent, by the clock of its rows' times; the receive time where it is ours."""
        sent = self._values.clock(note.sent, received)
        return received if sent is None else sent

    def _gap(self, positions: NDArray[np.intp], received: int, now: int, since: int, status: int) -> Readings:
        """Return gap rows from `since` [ns], or from right after each point's last row where that is later.

        Both, and `now`, are by the clock of the rows' times.
        """
        stamps = self._values.stamps
        last = stamps.ts[positions]
        begin = np.where(last == NULL_NS, since or now, np.maximum(last + 1, since))
        gap = replace(lost(positions, received, status), ts=np.minimum(begin, np.maximum(now, last + 1)))
        stamps.status[positions], stamps.ts[positions] = gap.status, gap.ts
        return gap

    async def _fetch(self, missing: Sequence[int], before: Notification, received: int) -> bool:
        """Fetch messages again that got lost; returns whether values may be stale, as the server has not all of them.

        What is gone for good becomes a gap. Numbers that may never have been messages leave none, and cost a read.
        """
        lost_ones = 0
        for number in missing:
            note = await self._again(number)
            if note is None:
                lost_ones += 1
            else:
                await self._changes(note, received)
        if self._sequence.explains(lost_ones):
            return True
        log.warning("%d notifications were missing, %d of them could not be fetched again", len(missing), lost_ones)
        if lost_ones:
            self._faults["a notification was lost"] += lost_ones
            now = self._now(before, received)
            await self._deliver(self._gap(self.monitored, received, now, self._known, BAD_NO_COMMUNICATION))
        return lost_ones > 0

    async def _again(self, number: int) -> Notification | None:
        if self._session is None:
            return None
        request = ua.RepublishRequest()
        request.Parameters.SubscriptionId = ua.IntegerId(self.id)
        request.Parameters.RetransmitSequenceNumber = ua.Counter(number)
        body = await self._session.exchange(self._session.encode(request))
        try:
            note = republish_response(body, self.id, self._republish)
        except ServiceFault:
            return None
        # Some servers answer with an empty message where they no longer have it.
        return note if note.sequence == number and note.is_data else None


class Publisher:
    """Asks for the next messages of a session's subscriptions, and acknowledges those that are safe."""

    def __init__(self, session: Session, counted: Counter[str]) -> None:
        """Take the session, and where to count messages that belong to nobody."""
        self.subscriptions: dict[int, Subscribed] = {}
        self._running = 0
        self._session, self._counted = session, counted
        self._decoders: dict[int, Decoder] = {}
        self._safe: list[tuple[int, int]] = []
        self._lock = asyncio.Lock()
        self._request: Encoded = session.encode(ua.PublishRequest(), timeout=0)

    def add(self, subscribed: Subscribed) -> None:
        """Take messages of a subscription from now on."""
        self.subscriptions[subscribed.id], self._decoders[subscribed.id] = subscribed, Decoder(lead=4)
        subscribed.acknowledge = lambda number: self._safe.append((subscribed.id, number))

    def remove(self, subscribed: Subscribed) -> None:
        """Forget a subscription."""
        self.subscriptions.pop(subscribed.id, None)
        self._decoders.pop(subscribed.id, None)

    def claim(self) -> bool:
        """Return whether one more `run` is to be started, which then has to be."""
        if self._running >= PUBLISHES:
            return False
        self._running += 1
        return True

    async def run(self) -> None:
        """Ask for one message after the other, until there is no subscription. Raises SourceLost."""
        try:
            while await self._ask():
                pass
        finally:
            self._running -= 1

    async def _ask(self) -> bool:
        """Ask for one message and take it; returns whether to go on."""
        safe, self._safe = self._safe, []
        with faults("ask for notifications"):
            try:
                after = acknowledgements(safe)
                body = await self._session.exchange(self._request, after=after, patience=0)
                note = publish_response(body, self._decoders)
            except ServiceFault as error:
                self._safe = safe + self._safe
                return self._goes_on(error)
            async with self._lock:  # messages are taken in the order in which they came
                await self._take(note)
        return True

    def _goes_on(self, error: ServiceFault) -> bool:
        """Return whether to ask again after a refusal; raises it where it means the end of the session."""
        if error.code == _TIMEOUT:
            return True
        none_left = error.code == _NO_SUBSCRIPTION and not self.subscriptions
        if none_left or (error.code == _TOO_MANY_PUBLISHES and self._running > 1):
            return False
        raise error

    async def _take(self, note: Notification) -> None:
        subscribed = self.subscriptions.get(note.subscription)
        if subscribed is None:
            self._counted["a message came of a subscription that is not ours"] += 1
            return
        await subscribed.take(note)

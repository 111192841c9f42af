"""One OPC UA subscription: publishes to Readings, with a watch on sequence numbers, overflow and silence."""

import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds

from config.plant import Point
from config.units import NS_PER_SECOND
from connectors.base import Readings, SourceLost
from connectors.opcua_values import OVERFLOW, Stamps, decode
from connectors.scaling import Scaling

log = logging.getLogger("plantproof.opcua")

QUEUE_SIZE = 10_000
"""Changes that the server keeps per point until it can publish them."""
LIFETIME_S = 60.0
"""How long a server keeps a subscription whose client is silent [s]."""
STAND_S = 1.0
"""How often publishes with values say that all other values stand [s]."""
_LAST_SEQUENCE = 0xFFFF_FFFF

Deliver = Callable[[Readings | SourceLost], Awaitable[None]]


class Subscribed:
    """Monitored items of one period; `client handles` are the positions of the points."""

    def __init__(
        self, points: Sequence[Point], scaling: Scaling, stamps: Stamps, deliver: Deliver, faults: Counter[str]
    ) -> None:
        """Take the connector's points, where its readings go, and where overflows are counted."""
        self._faults = faults
        self._points, self._scaling, self._stamps = points, scaling, stamps
        self._deliver = deliver
        self._allowed: set[int] = set()
        self.overflows = 0
        self.heard = time.monotonic()
        self._stood = -math.inf
        self.deadline = math.inf
        """Longest silence [s] after which the subscription counts as dead."""

    async def create(
        self, session: UaSession, nodes: dict[int, ua.NodeId], period: int, patience: float, per_call: int
    ) -> dict[int, int]:
        """Subscribe to nodes by position; returns the StatusCode of each that the server refused.

        `period` [ns] is the publishing and sampling interval; `patience` [s] bounds one request.
        """
        seconds = period / NS_PER_SECOND
        keep_alives = max(1, round(patience / 2 / seconds))
        asked = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=ua.Duration(seconds * 1000),
            RequestedLifetimeCount=ua.Counter(max(3 * keep_alives, math.ceil(LIFETIME_S / seconds))),
            RequestedMaxKeepAliveCount=ua.Counter(keep_alives),
            MaxNotificationsPerPublish=ua.Counter(QUEUE_SIZE),
            PublishingEnabled=True,
        )
        given = await session.create_subscription(asked, self.take)
        keep_alive = given.RevisedPublishingInterval / 1000 * given.RevisedMaxKeepAliveCount
        self.deadline = max(3 * keep_alive, patience)
        self.heard = time.monotonic()
        refused: dict[int, int] = {}
        positions = list(nodes)
        for start in range(0, len(positions), per_call):
            chunk = positions[start : start + per_call]
            request = ua.CreateMonitoredItemsParameters(
                SubscriptionId=given.SubscriptionId,
                TimestampsToReturn=ua.TimestampsToReturn.Both,
                ItemsToCreate=[self._item(position, nodes[position], seconds) for position in chunk],
            )
            results = await session.create_monitored_items(request)
            if len(results) != len(chunk):
                raise SourceLost(f"{len(results)} answers to {len(chunk)} monitored items")
            codes = zip(chunk, (result.StatusCode for result in results), strict=True)
            refused |= {position: code.value for position, code in codes if code.is_bad()}
        return refused

    def _item(self, position: int, node: ua.NodeId, seconds: float) -> ua.MonitoredItemCreateRequest:
        every = self._points[position].store == "all"
        trigger = ua.DataChangeTrigger.StatusValueTimestamp if every else ua.DataChangeTrigger.StatusValue
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=ua.IntegerId(position),
                SamplingInterval=ua.Duration(seconds * 1000),
                Filter=ua.DataChangeFilter(Trigger=trigger),
                QueueSize=ua.Counter(QUEUE_SIZE),
                DiscardOldest=True,
            ),
        )

    def silent(self) -> str | None:
        """Return what to say where nothing was published for too long, or None."""
        silence = time.monotonic() - self.heard
        return f"nothing was published for {silence:.1f} s" if silence > self.deadline else None

    async def take(self, result: ua.PublishResult) -> None:
        """Take one publish: values, a keep-alive (no rows: all values stand) or a change of status.

        The library asks for the next publish when this returns, so a full queue makes the server wait.
        """
        received = time.time_ns()
        self.heard = time.monotonic()
        message = result.NotificationMessage
        items = [i for n in message.NotificationData or () for i in getattr(n, "MonitoredItems", None) or ()]
        ended = [n for n in message.NotificationData or () if isinstance(n, ua.StatusChangeNotification)]
        if ended:
            await self._deliver(SourceLost(f"the server ended a subscription: {ended[0].Status}"))
            return
        if (hole := self._hole(message.SequenceNumber, is_data=bool(message.NotificationData))) is not None:
            await self._deliver(SourceLost(hole))
            return
        positions = np.array([item.ClientHandle for item in items], np.intp)
        readings = decode(positions, [item.Value for item in items], received, self._scaling)
        if overflowed := int(np.count_nonzero(readings.status & OVERFLOW == OVERFLOW)):
            self.overflows += overflowed
            self._faults["a queue on the server overflowed"] += overflowed
            log.warning("%d points lost changes: their queues on the server overflowed", overflowed)
        await self._deliver(self._stamps.apply(readings))
        if items and time.monotonic() - self._stood >= STAND_S:
            # What a publish does not mention stands, as after a keep-alive; the agent's heartbeats live on that.
            await self._deliver(decode(np.empty(0, np.intp), [], received, self._scaling))
            self._stood = time.monotonic()
        self.heard = time.monotonic()

    def _hole(self, number: int, *, is_data: bool) -> str | None:
        """Return what to say where sequence numbers leave one out (OPC 10000-4, 5.14.1.1), or None."""
        allowed, following = self._allowed, number % _LAST_SEQUENCE + 1
        if is_data:
            self._allowed = {following}
        else:  # a keep-alive bears the next number; some servers spend it, some repeat the last one
            self._allowed = allowed | {number, following}
            allowed = allowed | {(a - 2) % _LAST_SEQUENCE + 1 for a in allowed}
        if allowed and number not in allowed:
            return f"notification {number} came where {sorted(allowed)} was next; some are lost"
        return None

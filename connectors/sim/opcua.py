"""An OPC UA server on a free port: its variables bear source timestamps and follow machines."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, cast

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.server import Server
from asyncua.server.subscription_service import SubscriptionService
from asyncua.ua import status_codes

from config.status import BAD_NO_COMMUNICATION, GOOD
from connectors.sim.machine import Machine
from connectors.sim.timeline import ROLES, Change, Value, changes, datetime_of, until

NodeType = Literal["int32", "uint32", "int64", "double", "string"]

VARIANTS: Mapping[str, ua.VariantType] = {
    "int32": ua.VariantType.Int32,
    "uint32": ua.VariantType.UInt32,
    "int64": ua.VariantType.Int64,
    "double": ua.VariantType.Double,
    "string": ua.VariantType.String,
}
ROLE_TYPES: Mapping[str, NodeType] = {
    "state": "int32",
    "total": "uint32",
    "good": "uint32",
    "reject": "uint32",
    "energy": "double",
    "product": "string",
}


class OpcuaServer:
    """A server of named variables, `ns=2;s=<name>`; an async context manager.

    A variable has no value and the status BadWaitingForInitialData until it is set.
    """

    def __init__(self, nodes: Mapping[str, NodeType]) -> None:
        self.nodes = dict(nodes)
        self._server = Server()
        self._ids: dict[str, ua.NodeId] = {}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def endpoint(self) -> str:
        """The server's URL, once it runs."""
        if self._server.bserver is None:
            raise RuntimeError("the OPC UA server has no endpoint yet; start it first")
        return f"opc.tcp://127.0.0.1:{self._server.bserver.port}"

    async def start(self) -> None:
        """Open the socket on a free port and create the variables."""
        # The library warns of every policy that it cannot offer without a certificate.
        logging.getLogger("asyncua.server").setLevel(logging.ERROR)
        self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        self._server.set_endpoint("opc.tcp://127.0.0.1:0")
        await self._server.init()
        index = await self._server.register_namespace("urn:plantproof:sim")
        waiting = ua.DataValue(
            ua.Variant(None, ua.VariantType.Null),
            ua.StatusCode(ua.UInt32(status_codes.StatusCodes.BadWaitingForInitialData)),
        )
        for name, kind in self.nodes.items():
            variant = VARIANTS[kind]
            node = await self._server.nodes.objects.add_variable(
                ua.NodeId(ua.String(name), ua.Int16(index)), name, "" if kind == "string" else 0, variant
            )
            self._ids[name] = node.nodeid
            await self._server.write_attribute_value(node.nodeid, waiting)
        await self._server.start()

    async def stop(self) -> None:
        """Close every connection and the socket."""
        await self._server.stop()

    async def put(self, name: str, value: Value | None, ts: int, status: int = GOOD) -> None:
        """Set the variable with the source time `ts` [ns since 1970, UTC]; a Bad status takes no value."""
        variant = ua.Variant(value, VARIANTS[self.nodes[name]] if value is not None else ua.VariantType.Null)
        await self._server.write_attribute_value(
            self._ids[name],
            ua.DataValue(
                variant,
                ua.StatusCode(ua.UInt32(status)),
                # The library encodes any datetime; its own class adds nothing.
                SourceTimestamp=cast(ua.DateTime, datetime_of(ts)),
                ServerTimestamp=cast(ua.DateTime, datetime_of(time.time_ns())),
            ),
        )

    def queued(self) -> int:
        """Return how many changes wait in the fullest queue of any client's subscription."""
        subscriptions = self._server.iserver.subscription_service.subscriptions.values()
        queues = [queue for one in subscriptions for queue in one._triggered_datachanges.values()]
        return max(map(len, queues), default=0)


OVERFLOW = 0x480
"""Info bits of a StatusCode: a DataValue, whose queue overflowed (OPC 10000-4, 7.39.1)."""


class Subscriptions(SubscriptionService):
    """A server's subscriptions, which do what real servers were seen to do, as soon as a test says so.

    In place of the library's before the server's `init`; overflow bits are set as the standard says.
    """

    def __init__(self, server: Server) -> None:
        super().__init__(server.iserver.aspace, server.iserver)
        server.iserver.subscription_service = self
        self.refuse = 0
        """So many subscriptions are still to be refused."""
        self.refuse_items = 0
        """So many monitored items are still to be refused."""
        self.lose = 0
        """So many messages with values are still to get lost on their way."""
        self.lost: list[ua.PublishResult] = []
        """The messages that got lost."""
        self.keeps = True
        """Whether a lost message can be fetched again."""
        self.says_so = True
        """Whether the fetching of a message that is gone is refused; the library answers it with an empty one."""

    def items(self) -> int:
        """Return how many monitored items there are."""
        return sum(len(one.monitored_item_srv._monitored_items) for one in self.subscriptions.values())

    async def create_subscription(self, *args: Any, **named: Any) -> ua.CreateSubscriptionResult:
        """Refuse, or create one whose messages may get lost."""
        if self.refuse:
            self.refuse -= 1
            raise ServiceError(status_codes.StatusCodes.BadTooManySubscriptions)
        result = await super().create_subscription(*args, **named)
        self._beset(self.subscriptions[result.SubscriptionId])
        return result

    async def create_monitored_items(
        self, params: ua.CreateMonitoredItemsParameters
    ) -> list[ua.MonitoredItemCreateResult]:
        """Refuse the first items that are asked for, and create the others."""
        refused = min(self.refuse_items, len(params.ItemsToCreate))
        self.refuse_items -= refused
        code = ua.StatusCode(ua.UInt32(status_codes.StatusCodes.BadTooManyMonitoredItems))
        params.ItemsToCreate = params.ItemsToCreate[refused:]
        results = await super().create_monitored_items(params)
        return [ua.MonitoredItemCreateResult(StatusCode=code) for _ in range(refused)] + results

    def republish(self, params: ua.RepublishParameters) -> ua.NotificationMessage:
        """Return a message again, or refuse."""
        one = self.subscriptions.get(params.SubscriptionId)
        known = one is not None and params.RetransmitSequenceNumber in one._not_acknowledged_results
        if self.says_so and not known:
            raise ServiceError(status_codes.StatusCodes.BadMessageNotAvailable)
        return super().republish(params)

    def _beset(self, one: InternalSubscription) -> None:
        publish, enqueue = one.publish_results, one._enqueue_event

        async def lossy(*args: Any) -> bool:
            if not (self.lose and one._triggered_datachanges):
                return await publish(*args)
            self.lose -= 1
            self.lost.append(one._pop_publish_result())
            if not self.keeps:
                one._not_acknowledged_results.clear()
            return False

        async def honest(mid: int, event: Any, size: int, queue: dict[int, list[Any]]) -> None:
            full = 0 < size <= len(queue.get(mid, ()))
            await enqueue(mid, event, size, queue)
            if full and size > 1:  # the oldest that is left says that an older one is gone
                first = queue[mid][0]
                code = (first.Value.StatusCode.value if first.Value.StatusCode else 0) | OVERFLOW
                first.Value = dataclasses.replace(first.Value, StatusCode=ua.StatusCode(ua.UInt32(code)))

        one.publish_results = lossy  # type: ignore[assignment, method-assign]
        one._enqueue_event = honest  # type: ignore[assignment, method-assign]


class OpcuaMachines(OpcuaServer):
    """Machines whose points change as their schedules say, with the exact instants as source timestamps.

    `finished` is set after the last change of all. Changes that are past when the server starts are said at
    once, in their order.
    """

    def __init__(self, machines: Sequence[Machine]) -> None:
        super().__init__({f"{m.name}.{role}": ROLE_TYPES[role] for m in machines for role in ROLES})
        self.finished = asyncio.Event()
        self._machines = machines
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the socket and follow the machines."""
        await super().start()
        await self.follow(self._machines)

    async def follow(self, machines: Sequence[Machine]) -> None:
        """Say the first values, and from now on what these machines' schedules say.

        They have the names of those that the server was made for. A server takes seconds to start: make it
        for machines of a far anchor, let clients connect, then follow the same ones anchored to the moment.
        """
        await self._halt()
        self.finished.clear()
        due = sorted((change for machine in machines for change in changes(machine)), key=lambda c: c.ts)
        firsts = {change.point: change for change in reversed(due)}
        now = time.time_ns()
        for change in firsts.values():
            await self._say(change._replace(ts=min(change.ts, now)))
        self._task = asyncio.create_task(self._run(due))

    async def stop(self) -> None:
        """Stop the schedules and close the socket."""
        await self._halt()
        await super().stop()

    async def _halt(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, due: Sequence[Change]) -> None:
        for change in due:
            await until(change.ts)
            await self._say(change)
        self.finished.set()

    async def _say(self, change: Change) -> None:
        status = BAD_NO_COMMUNICATION if change.value is None else GOOD
        await self.put(change.point, change.value, change.ts, status)

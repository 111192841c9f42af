"""OPC UA: reads and subscriptions over one session, which is never mended but built anew."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence

import numpy as np
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.uaerrors import UaError, UaStatusCodeError
from numpy.typing import NDArray

from config.plant import Point, Source
from config.status import BAD_NODE_ID_UNKNOWN
from config.units import NS_PER_SECOND
from connectors import opcua_address
from connectors.base import Readings, SourceLost, SourceRefused, lost
from connectors.opcua_subscription import Subscribed
from connectors.opcua_values import Stamps, decode
from connectors.polling import Schedule, by_period
from connectors.scaling import Scaling

log = logging.getLogger("plantproof.opcua")

OPERATIONS = 1000
"""Nodes in one request where the server states no limit."""
WAITING = 64
"""So many polls and publishes may wait for the agent; then polls pause and the server keeps its changes."""
CLOSE_S = 2.0
"""How long saying goodbye may take [s]."""

_REFUSALS = (
    "BadIdentityToken",
    "BadUserAccessDenied",
    "BadUserSignature",
    "BadSecurity",
    "BadCertificate",
)
"""How the names of StatusCodes begin that a person must mend."""


def check(source: Source, point: Point) -> str | None:
    """Return what is wrong with the source's URL or security or the point's address, or None."""
    return _source_fault(source) or opcua_address.fault(point.address)


def _source_fault(source: Source) -> str | None:
    if not source.url.startswith("opc.tcp://"):
        return f"url {source.url!r}: an OPC UA server's is opc.tcp://host:4840"
    if source.security != "None":
        return (
            f'security {source.security!r}: this version offers "None" alone, asked for by name; '
            'write security = "None" where the network is trusted'
        )
    if source.user or source.password.get_secret_value():
        return (
            f"user {source.user!r}: without encryption a password would be readable on the wire; "
            "leave user and password out and let the server admit anonymous readers"
        )
    return None


@contextlib.contextmanager
def _faults(what: str) -> Iterator[None]:
    """Turn the library's errors into the contract's."""
    try:
        yield
    except UaStatusCodeError as error:
        name = ua.StatusCode(ua.UInt32(error.code)).name
        if name.startswith(_REFUSALS):
            raise SourceRefused(f"{what}: the server refuses with {name}") from error
        raise SourceLost(f"{what}: {name}") from error
    except TimeoutError as error:
        raise SourceLost(f"{what}: no answer in time") from error
    except (OSError, UaError) as error:
        raise SourceLost(f"{what}: {error}") from error


class Connector:
    """One session with one server."""

    def __init__(self, source: Source, points: Sequence[Point]) -> None:
        """Take the source and its points."""
        self._source, self._points = source, points
        self._timeout = source.timeout / NS_PER_SECOND
        self._scaling, self._stamps = Scaling(points), Stamps(len(points))
        self._nodes: dict[int, ua.NodeId] = {}
        self._per_read = self._per_call = OPERATIONS
        self._queue: asyncio.Queue[Readings | SourceLost] = asyncio.Queue(WAITING)
        self._tasks: list[asyncio.Task[None]] = []
        self._client: Client | None = None
        self.subscriptions: list[Subscribed] = []
        self.faults: Counter[str] = Counter()

    async def connect(self) -> None:
        """Open the session, read the server's limits and resolve the addresses."""
        if (fault := _source_fault(self._source)) is not None:
            raise SourceRefused(fault)
        # A task of its own: the library can drop a cancellation while it connects, and would then go on.
        opening = asyncio.create_task(self._open())
        self._tasks.append(opening)
        await asyncio.wait({opening})
        self._tasks.remove(opening)
        opening.result()

    async def _open(self) -> None:
        # The library's own check of the link must not be stricter than the source's timeout.
        client = Client(self._source.url, timeout=self._timeout, watchdog_intervall=max(self._timeout, 1.0))
        self._client = client
        client.connection_lost_callback = self._dropped
        with _faults(f"connect to {self._source.url}"):
            async with asyncio.timeout(5 * self._timeout):
                await client.connect(auto_reconnect=False)
                namespaces = await client.get_namespace_array()
                await self._read_limits(client)
        for position, point in enumerate(self._points):
            if (node := opcua_address.resolve(point.address, namespaces)) is not None:
                self._nodes[position] = node

    async def readings(self) -> AsyncIterator[Readings]:
        """Yield each poll and each publish; raises SourceLost when the link is in doubt."""
        unknown = [p for p in range(len(self._points)) if p not in self._nodes]
        if unknown:
            yield lost(np.array(unknown, np.intp), time.time_ns(), BAD_NODE_ID_UNKNOWN)
        polled = [p for p in self._nodes if self._points[p].mode == "poll"]
        polled += await self._subscribe([p for p in self._nodes if self._points[p].mode == "subscribe"])
        if self.subscriptions:
            self._start(self._watch())
        if polled:
            self._start(self._poll(polled))
        while True:
            item = await self._queue.get()
            if isinstance(item, SourceLost):
                raise item
            yield item

    async def close(self) -> None:
        """Let go of the socket and every task, within twice CLOSE_S."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)
        client, self._client = self._client, None
        if client is None:
            return
        protocol = client.uaclient.protocol
        transport = protocol.transport if protocol is not None else None
        try:
            async with asyncio.timeout(CLOSE_S):
                await client.disconnect()
        except Exception as error:  # noqa: BLE001  whatever the library meets, the socket is let go of below
            log.debug("source %s: goodbye failed: %r", self._source.id, error)
        finally:
            client.disconnect_socket()
            if transport is not None:
                transport.abort()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def _dropped(self, error: Exception) -> None:
        await self._queue.put(SourceLost(f"source {self._source.id}: the connection is gone: {error!r}"))

    async def _read_limits(self, client: Client) -> None:
        """Take the server's OperationLimits; a server that states none, or 0, gets OPERATIONS."""
        limits = (
            ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
            ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
        )
        values = await client.uaclient.session.read(_reads([ua.NodeId(ua.Int32(number)) for number in limits]))
        numbers = [v.Value.Value if v.Value is not None else None for v in values]
        stated = [n if isinstance(n, int) and n > 0 else OPERATIONS for n in numbers]
        self._per_read, self._per_call = (min(n, OPERATIONS) for n in stated)

    async def _subscribe(self, positions: Sequence[int]) -> list[int]:
        """Subscribe to points; returns those that the server refused, which are polled instead.

        A poll says each time why the point has no value, and finds it again when the server has it.
        """
        refused: dict[int, int] = {}
        for period, group in by_period(self._source, self._points, positions).items():
            subscribed = Subscribed(self._points, self._scaling, self._stamps, self._queue.put, self.faults)
            nodes = {position: self._nodes[position] for position in group}
            with _faults("subscribe"):
                refused |= await subscribed.create(
                    self._connected().uaclient.session, nodes, period, self._timeout, self._per_call
                )
            self.subscriptions.append(subscribed)
        for position, code in refused.items():
            log.warning(
                "source %s: point %s is polled: the server refuses to monitor it with %s",
                self._source.id,
                self._points[position].point,
                ua.StatusCode(ua.UInt32(code)).name,
            )
        return list(refused)

    def _connected(self) -> Client:
        if self._client is None:
            raise SourceLost(f"source {self._source.id} is closed")
        return self._client

    async def _watch(self) -> None:
        """Notice subscriptions that went silent; to the library they live as long as the socket."""
        while True:
            await asyncio.sleep(min(s.deadline for s in self.subscriptions) / 4)
            silent = next((text for s in self.subscriptions if (text := s.silent()) is not None), None)
            # With a full queue it is the agent that is slow, and the publishes wait for it.
            if silent is not None and not self._queue.full():
                await self._queue.put(SourceLost(f"source {self._source.id}: {silent}"))
                return

    async def _poll(self, positions: Sequence[int]) -> None:
        """Read each period's points at each of its ticks."""
        chunks = [
            [self._chunk(group[i : i + self._per_read]) for i in range(0, len(group), self._per_read)]
            for group in by_period(self._source, self._points, positions).values()
        ]
        schedule = Schedule(list(by_period(self._source, self._points, positions)))
        try:
            while True:
                for group in await schedule.due():
                    for at, request in chunks[group]:
                        await self._queue.put(await self._read(at, request))
        except SourceLost as error:
            await self._queue.put(error)

    def _chunk(self, positions: Sequence[int]) -> tuple[NDArray[np.intp], ua.ReadParameters]:
        return np.array(positions, np.intp), _reads([self._nodes[position] for position in positions])

    async def _read(self, positions: NDArray[np.intp], request: ua.ReadParameters) -> Readings:
        with _faults("read"):
            values = await self._connected().uaclient.session.read(request)
        if len(values) != len(positions):
            raise SourceLost(f"read: {len(values)} values where {len(positions)} were asked for")
        return self._stamps.apply(decode(positions, values, time.time_ns(), self._scaling))


def _reads(nodes: Sequence[ua.NodeId]) -> ua.ReadParameters:
    """Return a request for the nodes' values, fresh and with both timestamps."""
    return ua.ReadParameters(
        MaxAge=0,
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        NodesToRead=[ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value) for node in nodes],
    )

"""The OPC UA connector: one session at a time, its polls, subscriptions and history, which are never mended.

After any doubt the connection is given up, and the agent makes a new one. What fails alone (a node, a request, a
subscription) is degraded alone: it is polled, asked for in smaller requests, and tried again.
"""

import asyncio
import itertools
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable, Sequence

import numpy as np
from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from numpy.typing import NDArray

from config.plant import Point, Source
from config.status import BAD_NODE_ID_UNKNOWN
from config.units import NS_PER_SECOND, format_duration
from connectors.base import Figures, Readings, SourceLost, SourceRefused, lost
from connectors.opcua import address, security
from connectors.opcua.audit import Audit
from connectors.opcua.history import History
from connectors.opcua.messages import CACHED, ServiceFault, check_response, read_parameters
from connectors.opcua.polls import Group
from connectors.opcua.resolve import Place, resolve
from connectors.opcua.session import SESSION_OVER, Session, faults
from connectors.opcua.subscription import Publisher, Subscribed
from connectors.opcua.values import BAD, Values
from connectors.opcua.wire import Columns
from connectors.polling import Schedule, by_period
from connectors.urls import is_whole

log = logging.getLogger("plantproof.opcua")

WAITING = 64
"""So many polls and publishes may wait for the agent; then polls pause and the server keeps its changes."""
RETRY_S = 30.0
"""How often a refused subscription, and addresses that the server does not know, are tried again [s]."""
CLOSE_S = 2.0
"""How long our own tasks may take to end [s]."""
LOOK_S = 0.05
"""How often is looked whether every point has spoken, before gaps are filled from history [s]."""
NAMED = 5
"""So many points are named in a warning."""


def check(source: Source, point: Point) -> str | None:
    """Return what is wrong with the point's address, or None."""
    return address.fault(point.address)


def check_source(source: Source) -> str | None:
    """Return what is wrong with the source's URLs, security or user, or None."""
    return _url_fault(source) or security.fault(source)


def reads(source: Source, points: Sequence[Point]) -> list[str]:
    """Return each point's node, by how it is asked for."""
    lines = []
    for mode, verb in (("poll", "read"), ("subscribe", "subscribed to")):
        mine = [n for n, point in enumerate(points) if point.mode == mode]
        for period, positions in by_period(source, points, mine).items():
            lines.append(f"every {format_duration(period)}: {len(positions)} nodes are {verb}")
            lines += [f"    {points[n].point}: {points[n].address}" for n in positions]
    return lines


def _url_fault(source: Source) -> str | None:
    for url in (source.url, *source.failover):
        if not is_whole(url, "opc.tcp", port=True):
            return f"url {url!r}: an OPC UA server's is opc.tcp://host:4840, with host and port"
    return None


class Connector:
    """One session with one server."""

    def __init__(self, source: Source, points: Sequence[Point]) -> None:
        """Take the source and its points."""
        self.faults: Counter[str] = Counter()
        self.flags: Counter[str] = Counter()
        self.since: NDArray[np.int64] | None = None
        self.taken: Collection[int] = ()  # nothing is sent twice there
        self.filled = False
        self._source, self._points = source, points
        self._values = Values(points, source.timestamp, self.faults, self.flags)
        self._nodes: dict[int, ua.NodeId] = {}
        self._unknown: list[int] = []
        self._degraded: dict[int, str] = {}
        self._keys = itertools.count()
        self._queue: asyncio.Queue[Readings | SourceLost | SourceRefused] = asyncio.Queue(WAITING)
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: Session | None = None
        self._publisher: Publisher | None = None

    def warnings(self) -> list[str]:
        """Return what a person should know of a connection that works."""
        found = list(self._session.warnings) if self._session is not None else []
        skew = self._values.clocks.skew_ns
        if skew is not None and abs(skew) > NS_PER_SECOND:
            off = f"{abs(skew) / 1e9:.1f}"
            found.append(
                f"the server's clock is {off} s ahead" if skew > 0 else f"the server's clock is {off} s behind"
            )
        if self._unknown:
            found.append(f"the server does not know {self._names(self._unknown)}")
        return found + list(self._degraded.values())

    async def connect(self) -> None:
        """Open a session with the first URL that answers, and resolve the addresses."""
        if (fault := check_source(self._source)) is not None:
            raise SourceRefused(fault)
        urls = (self._source.url, *self._source.failover)
        told: list[SourceLost | SourceRefused] = []
        for url in urls:
            try:
                # A task of its own: the library can drop a cancellation while it connects, and would then go on.
                opening = asyncio.create_task(self._open(url))
                self._tasks.add(opening)
                opening.add_done_callback(_looked_at)
                await asyncio.wait({opening})
                self._tasks.discard(opening)
                opening.result()
            except (SourceLost, SourceRefused) as error:
                told.append(error)
                await self._leave()
            else:
                return
        kind = SourceRefused if all(isinstance(error, SourceRefused) for error in told) else SourceLost
        raise kind("; ".join(str(error) for error in told)) from told[-1]

    async def _open(self, url: str) -> None:
        self._session = session = Session(self._source, url, self._gone)
        await session.open()
        self._values.namespaces = session.namespaces
        with faults("resolve the addresses"):
            await self._place(range(len(self._points)))

    async def _place(self, positions: Iterable[int]) -> list[int]:
        """Find the nodes of points; returns the positions of those that were found, the others are unknown."""
        asked, session = list(positions), self._here()
        places = dict(zip(asked, await resolve(session, [self._points[p].address for p in asked]), strict=True))
        found = {p: place for p, place in places.items() if place is not None}
        self._unknown = [p for p, place in places.items() if place is None]
        for position, place in found.items():
            self._nodes[position] = place.node
            if place.steps:
                self._values.steps[position] = place.steps
        await self._learn_structures(found)
        return list(found)

    async def _learn_structures(self, places: dict[int, Place]) -> None:
        """Ask for the types of the structures that points look into."""
        nodes = list({p.node for p in places.values() if any(isinstance(step, str) for step in p.steps)})
        session = self._here()
        inside = [v.Value.Value for v in await session.read(nodes) if v.Value is not None]
        flat = [one for value in inside for one in (value if isinstance(value, list) else [value])]
        encodings = {one.TypeId for one in flat if isinstance(one, ua.ExtensionObject)}
        await self._values.structures.learn(session, encodings)

    def figures(self) -> Figures:
        """Return how the link does: nothing so far."""
        return {}

    async def readings(self) -> AsyncIterator[Readings]:
        """Yield each poll and each publish; raises SourceLost when the link is in doubt."""
        if self._unknown:
            yield lost(np.array(self._unknown, np.intp), time.time_ns(), BAD_NODE_ID_UNKNOWN)
        self._begin(list(self._nodes))
        self._start(self._keep_alive())
        if self._unknown:
            self._start(self._find())
        if self._source.history and self.since is not None:
            self._start(self._fill(self.since))
        while True:
            item = await self._queue.get()
            if not isinstance(item, Readings):
                raise item
            yield item

    def _begin(self, positions: Sequence[int]) -> None:
        """Poll and subscribe points, as the point table says."""
        self._poll(p for p in positions if self._points[p].mode == "poll")
        subscribe = [p for p in positions if self._points[p].mode == "subscribe"]
        for period, group in by_period(self._source, self._points, subscribe).items():
            self._start(self._follow(period, group))

    async def close(self) -> None:
        """Let go of the socket and every task, within twice CLOSE_S."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)
        await self._leave()

    async def _leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _here(self) -> Session:
        if self._session is None:
            raise SourceLost(f"source {self._source.id} is closed")
        return self._session

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # of a task that was cancelled before its first step
        return task

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        """Run a task whose end by any error is the end of the connection: none may die in silence."""
        try:
            await work
        except (SourceLost, SourceRefused) as error:
            await self._queue.put(error)
        except Exception as error:
            log.exception("source %s", self._source.id)
            await self._queue.put(SourceLost(f"source {self._source.id}: unexpected: {error!r}"))

    def _gone(self, why: SourceLost | SourceRefused) -> None:
        self._start(self._lose(why))

    @staticmethod
    async def _lose(why: SourceLost | SourceRefused) -> None:
        raise why

    async def _keep_alive(self) -> None:
        """Ask for something where nothing else did, and notice what went silent."""
        session = self._here()
        state = session.encode(ua.ReadRequest(Parameters=read_parameters([_SERVER_STATE])))
        while True:
            await asyncio.sleep(session.timeout / 2)
            # With a full queue it is the agent that is slow, and publishes and polls wait for it.
            if self._publisher is not None and self._queue.full():
                for subscribed in self._publisher.subscriptions.values():
                    subscribed.heard = time.monotonic()
            elif self._publisher is not None:
                silent = (s.silent() for s in self._publisher.subscriptions.values())
                if (why := next((text for text in silent if text is not None), None)) is not None:
                    raise SourceLost(f"source {self._source.id}: {why}")
            if time.monotonic() - session.asked >= session.timeout / 2:
                with faults("ask whether the server lives"):
                    check_response(await session.exchange(state))

    async def _find(self) -> None:
        """Look again and again for the addresses that the server did not know."""
        while self._unknown:
            await asyncio.sleep(RETRY_S)
            with faults("resolve the addresses"):
                await self._here().learn()
                self._check_namespaces()
                self._begin(await self._place(self._unknown))

    def _check_namespaces(self) -> None:
        """Take namespaces that were added; raise SourceLost where one moved, as every index may be another's now."""
        before, now = self._values.namespaces, self._here().namespaces
        if tuple(now[: len(before)]) != tuple(before):
            raise SourceLost(f"source {self._source.id}: the server's namespaces moved")
        self._values.namespaces = now

    # --- polls ---

    def _poll(self, positions: Iterable[int]) -> list[asyncio.Task[None]]:
        groups = by_period(self._source, self._points, positions)
        return [
            self._start(self._poll_group(period, Group(self._here(), self._nodes, group), number / len(groups)))
            for number, (period, group) in enumerate(groups.items())
        ]

    async def _poll_group(self, period: int, group: Group, phase: float) -> None:
        """Read one period's points at each of its ticks, which lie `phase` of a period after those of others."""
        schedule = Schedule([period], phases=[int(period * phase)])
        while True:
            await schedule.due()
            with faults("read"):
                await group.read(self._deliver)

    async def _deliver(self, positions: NDArray[np.intp], columns: Columns, sent: int | None) -> None:
        await self._queue.put(self._values.readings(positions, columns, sent=sent))

    async def _refresh(self, positions: Sequence[int]) -> None:
        """Read points once, from what the server has; one that is slow to answer is no doubt in the link."""
        try:
            await Group(self._here(), self._nodes, positions, max_age=CACHED).read(self._deliver)
        except TimeoutError:
            log.warning("source %s: %s could not be read anew in time", self._source.id, self._names(positions))

    async def _fill(self, since: NDArray[np.int64]) -> None:
        """Fill gaps from the server's history, once what is live has begun: so that nothing falls between the two."""
        known, patience = np.array(list(self._nodes), np.intp), time.monotonic() + 2 * self._here().timeout
        while time.monotonic() < patience and (self._values.stamps.turns[known] == 0).any():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        history = History(self._here(), self._values, self.faults)
        newest = int(self._values.stamps.ts[known].max(initial=0))  # the source's clock may be ahead of ours
        until = max(time.time_ns() + self._values.offset, newest)
        async for readings in history.fill(self._nodes, since, until):
            await self._queue.put(readings)
        self.filled = history.complete

    # --- subscriptions ---

    async def _follow(self, period: int, positions: list[int]) -> None:
        """Subscribe to points; while the server refuses a subscription they are polled, and it is tried again."""
        key = next(self._keys)
        while isinstance(outcome := await self._subscribe(period, positions), int):
            name = ua.StatusCode(ua.UInt32(outcome)).name
            told = f"{self._names(positions)} are polled: the server refuses a subscription with {name}"
            self._degrade(key, told)
            await self._poll_for(RETRY_S, positions)
        self._degraded.pop(key, None)
        await self._watch(*outcome, positions, period)

    def _degrade(self, key: int, told: str) -> None:
        if self._degraded.get(key) != told:
            log.warning("source %s: %s", self._source.id, told)
        self._degraded[key] = told

    async def _poll_for(self, seconds: float, positions: Iterable[int]) -> None:
        polls = self._poll(positions)
        await asyncio.sleep(seconds)
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)

    async def _subscribe(self, period: int, positions: list[int]) -> "tuple[Subscribed, dict[int, int]] | int":
        """Subscribe to points; returns the StatusCodes of those that are refused, or that of a refusal of all."""
        session = self._here()
        nodes = {position: self._nodes[position] for position in positions}
        subscribed = Subscribed(self._values, self._queue.put, self._refresh, self.faults)
        try:
            with faults("subscribe"):
                refused = await subscribed.create(session, nodes, self._points, period, self._publish)
                if len(refused) == len(nodes) and self._publisher is not None:
                    self._publisher.remove(subscribed)  # an empty one would only use up what the server has
                    await session.services.delete_subscriptions([subscribed.id])
                return subscribed, refused
        except (SourceLost, SourceRefused) as error:
            fault = error.__cause__
            if isinstance(fault, ServiceFault) and fault.code not in SESSION_OVER:
                return fault.code
            raise

    async def _watch(self, subscribed: Subscribed, refused: dict[int, int], positions: list[int], period: int) -> None:
        """Keep an eye on what is monitored, and ask again for what is not."""
        if refused:
            self._start(self._monitor_again(period, refused))
        watched = {position: self._nodes[position] for position in positions if position not in refused}
        audit = Audit(self._here(), self._values, self._queue.put, self.faults, subscribed)
        while watched:
            with faults("read subscribed points"):
                wrong = await audit.run(watched, self._points, period)
            self.faults["a point is polled now: its monitored item is dead"] += len(wrong)
            self._poll(wrong)
            watched = {position: node for position, node in watched.items() if position not in wrong}

    async def _monitor_again(self, period: int, refused: dict[int, int]) -> None:
        """Poll points that the server refuses to monitor, and ask again for those that have a value.

        A poll says each time why a point has no value, and finds it when the server has it.
        """
        key = next(self._keys)
        while refused:
            names = ", ".join(sorted({ua.StatusCode(ua.UInt32(code)).name for code in refused.values()}))
            told = f"{self._names(list(refused))} are polled: the server refuses to monitor them with {names}"
            self._degrade(key, told)
            await self._poll_for(RETRY_S, refused)
            good = [p for p in refused if self._values.stamps.status[p] >> 30 != BAD]
            refused = {position: code for position, code in refused.items() if position not in good}
            if good:
                self._start(self._follow(period, good))
        self._degraded.pop(key, None)

    def _publish(self, subscribed: Subscribed) -> None:
        """Take a new subscription's messages; asking begins with the first one."""
        if self._publisher is None:
            self._publisher = Publisher(self._here(), self.faults)
        self._publisher.add(subscribed)
        while self._publisher.claim():
            self._start(self._publisher.run())

    def _names(self, positions: Sequence[int]) -> str:
        names = ", ".join(self._points[p].point for p in positions[:NAMED])
        return f"{len(positions)} points: {names}{', ...' if len(positions) > NAMED else ''}"


_SERVER_STATE = ua.NodeId(ua.Int32(ObjectIds.Server_ServerStatus_State))


def _looked_at(task: asyncio.Task[None]) -> None:
    """Take note of how a task ended that nobody may be waiting for by then."""
    if not task.cancelled():
        task.exception()

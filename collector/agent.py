"""The agent: one task per source (connect, read, back off), one committer, one task per sink."""

import asyncio
import contextlib
import functools
import importlib.metadata
import itertools
import logging
import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import polars as pl

from collector import gaps, health, host, reload
from collector.batch import Intake, Rows, to_frame
from collector.delivery import Commits, Delivery, Load
from collector.ledger import Losses
from collector.logs import Told
from collector.payload import decoded, encoded
from collector.quarantine import Quarantine
from collector.reload import Changes, Wanted, setup_of
from collector.repeats import Repeats
from collector.sinks import base as sinks
from collector.spool import Record, Spool, SpoolFull
from collector.status import ReloadStatus, SinkStatus, SourceStatus, Status, exchanged, read_status
from collector.watchdog import REST_S, Heart, Watchdog, to_open, to_read
from config.plant import Plant, Point, Source
from config.plant import Sink as SinkConfig
from config.schema import SAMPLE
from connectors import base as connectors
from connectors.base import Readings, Refused, SourceLost, SourceRefused

log = logging.getLogger("plantproof.agent")

T = TypeVar("T")

BACK_OFF_S = (0.5, 30.0)
"""First and longest pause between tries [s]."""
BEGINNING_S = 1.0
"""What comes so soon after connecting [s] may be what a broker retains, and no sign that the link is of use."""
HASTE_S = 3.0
"""Longest pause after a link that brought good rows at its beginning alone [s]."""
PENDING_ROWS = 500_000
"""So many rows may wait for a commit; then sources wait."""
PENDING_BYTES = 2**20
"""So much of texts, and of messages for the quarantine, may wait for a commit [B]; then sources wait."""
BURST_ROWS = 20
"""A burst of rows takes as much memory as so many rows more; an acknowledgement may hang on it."""
REFUSED_BYTES = 512
"""What a message for the quarantine takes beside its payload [B]."""
TOKENS = 20_000
"""So many messages of a source are known by name, should a broker send them again."""
TAIL_BATCHES = 200
"""So many batches are looked through for messages that were committed but perhaps not acknowledged."""
TAIL_BYTES = 64 * 2**20
"""So much of the tail is looked through [B, compressed]."""
TAIL_ROWS = 300_000
"""So many rows of the tail are looked through, a batch more or less."""
NOTE_EVERY_S = 60
"""How often losses of a kind that the ledger has already are added up into it [s]."""
STUCK_S = 5.0
"""A commit that takes longer than this [s] makes the agent unhealthy."""
PULSE_S = 0.5
STALL_S = 5.0
"""The agent that did not run for so long [s] (stopped, suspended, starved) knows nothing of that time."""
JUMP_S = 2.0
"""The computer's clock that was set by so much [s] stands in the ledger."""
DRAIN_S = 30.0
"""How long a stopping agent lets its sinks drain [s]."""
LEAVE_S = 30.0
"""How long a reload waits for the write under way of a sink that ends [s]; what hangs longer holds up no other."""


@dataclass(slots=True)
class _Held:
    """How a link did: monotonic times [s]."""

    since: float | None = None
    """When it was connected."""
    good: float | None = None
    """When the last good rows came over it that were not known yet."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a source from before it is read."""

    intake: Intake
    repeats: Repeats
    ended: list[Rows]
    """The rows that end its data where the run before ended without a word."""
    tokens: list[int]
    """Names of its last messages."""


class Agent:
    """Collects a plant's samples until `stop` is called; `run` may be called once."""

    def __init__(self, plant: Plant, *, name: str = "agent", load: Callable[[], Plant] | None = None) -> None:
        """Take the plant; `name` is this gateway's, in file names and in status; `load` returns the plant anew.

        `load` raises ConfigError where the configuration is at fault; without it nothing can be reloaded.
        """
        self.plant, self.name, self._load = plant, name, load
        self.setup = setup_of(plant, name)
        self.ids = pl.Series("point", [], dtype=pl.String)
        """Point ids by position; a source that is reloaded with other points takes positions at the end."""
        self._firsts: dict[str, int] = {}
        """Position of each source's first point."""
        self._place(self.setup.sources)
        self.status = Status(agent=name, plant=plant.id)
        self.watchdog = Watchdog(manager=host.ServiceManager())
        self._pending: list[Rows] = []
        self._acknowledge: list[tuple[str, Callable[[], None]]] = []
        self._refused: list[tuple[str, Refused]] = []
        self._tokens: dict[str, list[int]] = {}
        self._taken: dict[str, deque[int]] = {}
        self._rows = 0
        self._bytes = 0
        self._stop = asyncio.Event()
        self._asked_to_reload = asyncio.Event()
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._delivering: dict[str, tuple[Delivery, asyncio.Task[None]]] = {}
        self._unstored: dict[str, Load | None] = {}
        """What sinks that ended had taken from the spool and not stored: those that follow store it."""
        self._let_go: set[asyncio.Task[Any]] = set()
        """Tasks that were asked to end."""
        self._ended: list[asyncio.Task[Any]] = []
        """Tasks that ended by themselves."""
        self._committing = asyncio.Lock()
        self._room = asyncio.Event()
        self._room.set()
        self._sources_done = asyncio.Event()
        self._due = asyncio.Event()
        self._commits = Commits()
        self._named = 0
        """The last batch before all known messages were named again."""
        self._written: Counter[str] = Counter()
        """So many names of each source were written since then."""
        self._losses: dict[str, Losses] = {}
        self._doubts: dict[str, Losses] = {}
        self._links: dict[str, tuple[connectors.Connector, Intake]] = {}
        self._known: dict[str, _Known] = {}
        self._stalls = 0
        self._commit_began: float | None = None
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._planner = ThreadPoolExecutor(1, thread_name_prefix="plan")
        """Sets connectors up: of ten thousand points that takes a third of a second, in which others are read."""

    def stop(self) -> None:
        """Ask the agent to drain and end."""
        self._stop.set()

    def reload(self) -> None:
        """Ask the agent to read its configuration anew; `status.reload` says what became of it."""
        self._asked_to_reload.set()

    @property
    def sources(self) -> list[Source]:
        """The sources that this gateway reads."""
        return list(self.setup.sources.values())

    @property
    def points(self) -> list[Point]:
        """Their points."""
        return self.setup.all_points()

    async def run(self) -> None:
        """Collect until `stop`; then commit, drain the sinks and close.

        Raises host.Locked or SpoolFormat where the spool cannot be opened.
        """
        # A gateway that is short of descriptors later must not fail at an import.
        self._modules, sink_modules = reload.load_modules(self.setup)
        config = self.plant.spool
        self.spool = Spool(
            self.plant.resolve(config.path),
            segment_size=config.segment_size,
            max_size=config.max_size,
            when_full=config.when_full,
            tail=TAIL_BATCHES,
            gap=gaps.in_place_of,
        )
        self._quarantine = Quarantine(self.spool.path / "quarantine", self.spool.ledger)
        try:
            self._tell_start()
            self.spool.forget_all_but([sink.name for sink in self.plant.sinks])
            await self._recover(self.setup.sources)
            for sink in self.plant.sinks:
                self.spool.advance(sink.name)  # from now on nothing that it lacks is removed
            await self._run([self._delivery(sink, sink_modules[sink.name]) for sink in self.plant.sinks])
            self.spool.ledger.add("stopped", "asked to", agent=self.name, rows=self._commits.rows)
        finally:
            self._planner.shutdown(wait=False, cancel_futures=True)
            self._disk.shutdown()
            self.spool.close()

    def _tell_start(self) -> None:
        """Tell the ledger of the start, and whether the run before it was stopped."""
        reason = "first start"
        with contextlib.suppress(FileNotFoundError, ValueError):
            before = read_status(self.spool.path / "status.json")
            reason = (
                "after a stop" if before["stopped"] else "after a run that nobody stopped: killed, or without power"
            )
        version = importlib.metadata.version("plantproof")
        self.spool.ledger.add("started", reason, agent=self.name, version=version, last=self.spool.last)

    def _delivery(self, config: SinkConfig, module: sinks.SinkModule) -> Delivery:
        ledger = self.spool.ledger
        quarantine = Quarantine(self.spool.path / "quarantine", ledger, name=f"sink-{config.name}")
        sink = module.Sink(
            config, self.setup.plant, agent=self.name, spool=self.spool.id, ledger=ledger, quarantine=quarantine
        )
        status = self.status.sinks[config.name] = SinkStatus(kind=config.kind)
        points = pl.Series("point", [point.point for point in self.points], dtype=pl.String)
        left = self._unstored.get(config.name)
        return Delivery(
            config, sink, self.spool, points=points, disk=self._disk, commits=self._commits, status=status, left=left
        )

    async def _run(self, deliveries: list[Delivery]) -> None:
        for source in self.sources:
            self._begin(source)
        committer = self._lasting(self.watchdog.watch("committer", self._committer))
        for one in deliveries:
            self._deliver(one)
        rest = [
            self._lasting(asyncio.create_task(self._report(), name="status")),
            self._lasting(asyncio.create_task(self._pulse(), name="pulse")),
            self._lasting(asyncio.create_task(self.watchdog.run(self._line), name="watchdog")),
        ]
        answering = health.started(self.plant, self.status, self.watchdog)
        reloader = self._lasting(asyncio.create_task(self._reloader(), name="reloader"))
        await self._stop.wait()
        self.watchdog.stopping()
        await _cancelled([reloader])
        await _cancelled(self._reading.values())
        self._sources_done.set()
        self._due.set()
        await committer
        await self._commits.end()
        draining = [task for _, task in self._delivering.values()]
        if draining:
            await asyncio.wait(draining, timeout=DRAIN_S)
        await _cancelled([*draining, *rest, *answering])
        self._look_at_links()
        self.status.stopped = True
        self._write_status()
        log.info("stopped; %d rows were committed, %d wait for a commit", self._commits.rows, self._rows)
        for task in self._ended:  # by a fault of ours
            if not task.cancelled() and task.exception() is not None:
                raise RuntimeError(f"{task.get_name()} ended") from task.exception()

    def _lasting(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        """Let the agent stop once a task ends that was not asked to."""
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[Any]) -> None:
        if task not in self._let_go and not self._stop.is_set():
            self._ended.append(task)
            self._stop.set()
        self._let_go.discard(task)

    def _begin(self, source: Source) -> None:
        self._reading[source.id] = self._lasting(
            self.watchdog.watch(f"source {source.id}", lambda heart: self._source(source, heart))
        )

    def _deliver(self, delivery: Delivery) -> None:
        task = self._lasting(asyncio.create_task(delivery.run(), name=f"sink {delivery.name}"))
        self._delivering[delivery.name] = delivery, task

    async def _reloader(self) -> None:
        """Take the configuration anew whenever asked, one wish after the other; keep the old one on any fault."""
        for number in itertools.count(1):
            await self._asked_to_reload.wait()
            self._asked_to_reload.clear()
            began = reload.now()
            try:
                wanted = await asyncio.to_thread(reload.wanted, self._load, self.plant, self.setup, self.name)
            except Exception as error:  # noqa: BLE001  whatever is wrong with a new file ends no collecting
                self._tell_reload(reload.refused(number, began, error))
            else:
                self._tell_reload(await self._exchange(number, began, wanted))

    def _tell_reload(self, told: ReloadStatus) -> None:
        self.status.reload = told
        if told.refused:
            self.spool.ledger.add("reload refused", told.refused, agent=self.name, first=told.faults[0])
            log.error("reload refused, the configuration before is kept: %s", "; ".join(told.faults))
        else:
            self.spool.ledger.add("reloaded", "asked to", agent=self.name, sources=told.sources, sinks=told.sinks)
            log.info("reloaded: %s; %s", exchanged("sources", told.sources), exchanged("sinks", told.sinks))
            if told.waits_for_restart:
                log.warning("%s of plant.toml waits for a restart", ", ".join(told.waits_for_restart))
        self._write_status()

    async def _exchange(self, number: int, began: str, wanted: Wanted) -> ReloadStatus:
        """Let what changed begin anew; what did not is not touched, and misses nothing."""
        of_sources, of_sinks = wanted.of_sources, wanted.of_sinks
        taken = self._taken_over(of_sources, wanted.setup.sources)
        await self._end_sources(of_sources)
        self._taken |= taken
        self.setup, self._modules = wanted.setup, wanted.connectors
        self._place(of_sources.begun)
        # What a broker may send again is known from the spool's tail, as after a start. An agent that stops meanwhile
        # still hears what became of the commit.
        await asyncio.shield(self._commit())
        async with self._committing:  # what the spool did not take stands beside its tail, and not on its way there
            await self._recover(of_sources.begun)
        for name in of_sources.begun:
            self._begin(self.setup.sources[name])
        faults = await self._exchange_sinks(of_sinks)
        return ReloadStatus(
            number=number,
            began=began,
            at=reload.now(),
            faults=faults,
            sources=of_sources.report(),
            sinks=of_sinks.report(),
            waits_for_restart=wanted.waits_for_restart,
        )

    def _taken_over(self, changes: Changes, sources: dict[str, Source]) -> dict[str, deque[int]]:
        """Return the names of messages that a new source knows from one that is gone: it has that one's session."""
        sessions = {_session(self.setup.sources[name]): self._taken[name] for name in changes.removed}
        heirs = {name: _session(sources[name]) for name in changes.added if sources[name].client_id}
        return {name: sessions[session] for name, session in heirs.items() if session in sessions}

    async def _end_sources(self, changes: Changes) -> None:
        """End what changed or is gone; its points are unknown from now on until their next row."""
        ending = [self._reading[name] for name in changes.ended]
        self._let_go.update(ending)
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending)
        for name in changes.ended:
            del self._reading[name]
            self._links.pop(name, None)
        for name in changes.removed:
            for known in (self._losses, self._doubts, self._taken, self.status.sources):
                known.pop(name, None)
        self.watchdog.hearts = [heart for heart in self.watchdog.hearts if not heart.over]

    async def _exchange_sinks(self, changes: Changes) -> list[str]:
        """End and begin sinks, each between two writes; returns the faults of those that cannot be set up or ended."""
        faults = []
        in_disk = functools.partial(asyncio.get_running_loop().run_in_executor, self._disk)
        hanging = await self._end_sinks([*changes.ended, *changes.begun])
        for name in hanging:
            self._delivering[name][1].add_done_callback(functools.partial(self._follow, name))
            fault = f"sink {name}: its store hangs in a write; what changed is taken once that is over, or at a restart"
            self.status.sinks[name].error = fault
            faults.append(fault)
            log.error("%s", fault)
        for name in [name for name in changes.begun if name not in hanging]:
            try:
                await in_disk(self.spool.advance, name)
                self._begin_sink(name)
            except Exception as error:  # noqa: BLE001  it is told, and ends no collecting
                faults.append(self._not_set_up(name, error))
        # Not before what is new has its place: what only a sink waited for that is gone may be the first that it gets.
        await in_disk(self.spool.forget_all_but, list(self.setup.sinks))
        for name in changes.removed:
            self._unstored.pop(name, None)
        for name in set(self.status.sinks) - set(self.setup.sinks):
            del self.status.sinks[name]
        return faults

    async def _end_sinks(self, names: Iterable[str]) -> list[str]:
        """End those that run, each after the write under way; returns those whose write takes too long."""
        ending = {name: self._delivering[name] for name in names if name in self._delivering}
        for delivery, task in ending.values():
            if not task.done():
                self._let_go.add(task)
            await delivery.leave()
        if ending:
            await asyncio.wait([task for _, task in ending.values()], timeout=LEAVE_S)
        hanging = [name for name, (_, task) in ending.items() if not task.done()]
        for name in set(ending).difference(hanging):
            self._unstored[name] = self._delivering.pop(name)[0].left
        return hanging

    def _begin_sink(self, name: str) -> None:
        config = self.setup.sinks[name]
        self._deliver(self._delivery(config, sinks.load(config.kind)))
        self._unstored.pop(name, None)

    def _not_set_up(self, name: str, error: Exception) -> str:
        """Note that a sink cannot be set up, for status and for the next reload, which tries it again."""
        fault = f"sink {name} cannot be set up: {error!r}; its data waits in the spool, mend it and reload"
        self.status.sinks[name] = SinkStatus(kind=self.setup.sinks[name].kind, error=fault)
        del self.setup.sink_marks[name]
        log.error("sink %s", name, exc_info=error)
        return fault

    def _follow(self, name: str, task: asyncio.Task[None]) -> None:
        """Begin what follows a sink whose store hung while it was reloaded, now that it is over."""
        if self._stop.is_set() or self._delivering.get(name, (None, None))[1] is not task:
            return
        self._unstored[name] = self._delivering.pop(name)[0].left
        if name not in self.setup.sinks:
            del self._unstored[name]
            self._disk.submit(self.spool.forget_all_but, list(self.setup.sinks))
            return
        try:
            self._begin_sink(name)
        except Exception as error:  # noqa: BLE001  it is told, and ends no collecting
            self._not_set_up(name, error)

    async def _source(self, source: Source, heart: Heart) -> None:
        points = self._points_of(source)
        intake, repeats = self._known[source.id].intake, self._known[source.id].repeats
        status = SourceStatus(kind=source.kind, points=len(points), expect_ns=_expected(source, points))
        self.status.sources[source.id] = status
        pause = BACK_OFF_S[0]
        open_since, told, faults = None, False, Told()
        try:
            while True:
                connector = await self._made(source, points, status)
                if connector is None:
                    self._add(intake.lost(time.time_ns()))
                    await asyncio.sleep(BACK_OFF_S[1])
                    continue
                connector.since = since = intake.since(open_since)
                connector.taken = tuple(self._taken[source.id])
                intake.linked()
                self._losses[source.id], self._doubts[source.id] = Losses(connector.faults), Losses(connector.flags)
                self._links[source.id] = connector, intake
                held, unexpected = _Held(), None
                try:
                    await self._collect(source, connector, intake, repeats, status, held, heart)
                except SourceLost as error:
                    status.state, status.error = "lost", str(error)
                except SourceRefused as error:
                    status.state, status.error = "refused", str(error)
                except Exception as error:  # noqa: BLE001  one source's fault must not end the others; told below
                    status.state, status.error, unexpected = "lost", f"unexpected: {error!r}", error
                finally:
                    heart.patience = REST_S
                    open_since = None if connector.filled or not source.history else since
                    await connector.close()
                    self._note_losses(source.id)
                self._add(intake.lost(time.time_ns()))
                if held.since is not None or not told:
                    told = True
                    self.spool.ledger.add("gap", status.error, source=source.id, points=status.points)
                    faults.over()
                self._tell_loss(source, faults, unexpected)
                pause = _pause(status, pause, held)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  spreads reconnects, no secret
                pause = min(pause * 2, BACK_OFF_S[1])
        finally:
            status.state = "stopped"
            self._add(intake.shutdown(time.time_ns()))

    def _tell_loss(self, source: Source, faults: Told, unexpected: Exception | None) -> None:
        status = self.status.sources[source.id]
        if words := faults.worth(f"source {source.id} is {status.state}: {status.error}"):
            log.log(logging.ERROR if unexpected else logging.WARNING, "%s", words, exc_info=unexpected)
            if unexpected is not None:
                self.spool.ledger.add("connector fault", repr(unexpected), source=source.id)

    def _points_of(self, source: Source) -> list[Point]:
        return self.setup.points[source.id]

    async def _made(self, source: Source, points: list[Point], status: SourceStatus) -> connectors.Connector | None:
        """Return a connector, None where it cannot be set up: one source's fault must not end the others."""
        try:
            made = self._modules[source.id].Connector
            return await asyncio.get_running_loop().run_in_executor(self._planner, made, source, points)
        except Exception as error:
            status.state, status.error = "refused", f"cannot be set up: {error!r}"
            self.spool.ledger.add("connector fault", repr(error), source=source.id)
            log.exception("source %s", source.id)
            return None

    async def _collect(
        self,
        source: Source,
        connector: connectors.Connector,
        intake: Intake,
        repeats: Repeats,
        status: SourceStatus,
        held: _Held,
        heart: Heart,
    ) -> None:
        stalls = self._stalls
        heart.patience = to_open(source)
        await connector.connect()
        heart.patience = reading = to_read(source, self._points_of(source), status.expect_ns)
        held.since = time.monotonic()
        status.state, status.error = "connected", ""
        status.connects += 1
        log.info("source %s is connected: %d points", source.id, status.points)
        async for readings in connector.readings():
            status.readings += 1
            if intake.says_something(readings):
                status.last_data = time.monotonic()
            fresh = repeats.drop(readings) if readings.may_repeat else readings
            if len(fresh.points) and intake.says_something(fresh):
                held.good = time.monotonic()
            rows = intake.fill(fresh) if readings.historic else intake.take(fresh)
            status.filled += len(fresh.points) if readings.historic else 0
            status.rows += sum(len(r) for r in rows)
            self._add(rows)
            self._keep_messages(source.id, readings)
            if readings.acknowledge is not None:
                self._acknowledge.append((source.id, readings.acknowledge))
                if readings.urgent and not self.status.spool.get("error"):
                    self._due.set()
            if not self._room.is_set():
                heart.patience = math.inf  # the committer is watched, and a full spool may stay full for days
                await self._held_up(source.id, intake, status)
                heart.patience = reading
            if self._stalls != stalls:
                raise SourceLost(f"the agent stood still for more than {STALL_S:g} s; what came meanwhile is in doubt")
        raise SourceLost("the connector ended without a word")

    async def _held_up(self, source: str, intake: Intake, status: SourceStatus) -> None:
        """Wait until there is room for more rows; what a source that is polled did meanwhile nobody knows."""
        began, began_ns = time.monotonic(), time.time_ns()
        await self._room.wait()
        waited = time.monotonic() - began
        if status.kind != "mqtt" and waited * 1e9 > status.expect_ns:  # a broker keeps what it has for us
            self._add(intake.lost(began_ns))
            self.spool.ledger.add("gap", f"not read for {waited:.1f} s: the spool took nothing", source=source)

    async def _pulse(self) -> None:
        """Notice that the agent itself stood still, and begin the gap where it did."""
        before, clock = time.monotonic(), time.time()
        while True:
            await asyncio.sleep(PULSE_S)
            stood, before = time.monotonic() - before, time.monotonic()
            jumped, clock = time.time() - clock - stood, time.time()
            if abs(jumped) >= JUMP_S:
                self.spool.ledger.add("clock jumped", f"by {jumped:+.1f} s; polling went on")
                log.warning("this computer's clock jumped by %+.1f s", jumped)
            if stood < STALL_S:
                continue
            self._stalls += 1
            began = time.time_ns() - int(stood * 1e9)
            self.spool.ledger.add("agent stood still", f"for {stood:.1f} s", since_ns=began)
            log.error("the agent stood still for %.1f s: suspended, stopped or starved of CPU", stood)
            for _, intake in self._links.values():
                self._add(intake.lost(began))

    def _keep_messages(self, source: str, readings: Readings) -> None:
        """Let the next commit hold which messages it came from, and put aside those that did not fit."""
        self._refused += [(source, one) for one in readings.refused]
        self._bytes += _refused_size(readings.refused)
        if readings.tokens:
            waiting, known = self._tokens.setdefault(source, []), self._taken[source]
            waiting.extend(readings.tokens)
            known.extend(readings.tokens)
            del waiting[: -(known.maxlen or TOKENS)]
        self._look_at_room()

    def _place(self, names: Iterable[str]) -> None:
        """Give the sources' points positions: those that they had, or new ones where the points are others."""
        for name in names:
            ids = pl.Series("point", [point.point for point in self.setup.points[name]], dtype=pl.String)
            first = self._firsts.get(name)
            if first is None or not self.ids[first : first + len(ids)].equals(ids):
                self._firsts[name] = len(self.ids)
                self.ids = pl.concat([self.ids, ids])  # positions of rows that wait for a commit stay

    async def _recover(self, names: Iterable[str]) -> None:
        """Learn of sources what the spool's last batches say, and rows that it did not take yet."""
        ask = functools.partial(self._known_of, list(names), list(self._pending))
        known = await asyncio.get_running_loop().run_in_executor(self._disk, ask)
        self._known |= known
        for name, one in known.items():
            self._add(one.ended)
            size = max(TOKENS, 2 * self.setup.sources[name].receive_maximum)
            self._taken[name] = deque(self._taken.get(name, one.tokens), maxlen=size)

    def _known_of(self, names: list[str], waiting: list[Rows]) -> dict[str, _Known]:
        """Return each source's intake, with what the last batches of the spool say, which a broker may send again."""
        if not names:
            return {}
        after = max(self.spool.before, self.spool.last - TAIL_BATCHES)  # what was dropped is no damage
        tail, tokens = self._tail(after), self.spool.tokens(after)
        if waiting:
            tail = pl.concat([tail, to_frame(waiting, self.ids).select(tail.columns)])
        known = {}
        for name in names:
            points = self.setup.points[name]
            intake = Intake(points, self._firsts[name], quiet=self.setup.sources[name].kind == "mqtt")
            repeats = Repeats([p.point for p in points])
            repeats.recover(tail)
            intake.recover(tail)
            known[name] = _Known(intake, repeats, intake.died(tail), list(tokens.get(name, ())))
        return known

    def _tail(self, after: int) -> pl.DataFrame:
        frames: deque[pl.DataFrame] = deque([pl.DataFrame(schema=dict(SAMPLE))])
        rows = 0
        try:
            for record in self.spool.read(after, TAIL_BYTES):
                if isinstance(record, Record):
                    frames.append(decoded(record.payload))
                    rows += frames[-1].height
                while rows - frames[0].height >= TAIL_ROWS:
                    rows -= frames.popleft().height
        except (OSError, pl.exceptions.PolarsError) as error:
            # A row that is delivered again is stored twice then, which is better than no row at all.
            self.spool.ledger.add("tail not read", f"rows of the last batches: {error}")
            log.error("spool: rows of the last batches cannot be read: %s", error)  # noqa: TRY400
        return pl.concat(frames)

    def _add(self, rows: list[Rows]) -> None:
        self._pending += rows
        self._rows += sum(len(r) for r in rows)
        self._bytes += sum(map(_text_size, rows))
        self._look_at_room()

    def _look_at_room(self) -> None:
        """Let sources wait while too much waits for a commit, and commit it at once."""
        bursts = max(len(self._pending), len(self._acknowledge))
        if self._rows + BURST_ROWS * bursts > PENDING_ROWS or self._bytes > PENDING_BYTES:
            self._room.clear()
            if not self.status.spool.get("error"):
                self._due.set()

    async def _committer(self, heart: Heart) -> None:
        interval = self.plant.spool.commit / 1e9
        heart.patience = interval + REST_S
        while not self._sources_done.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), interval)
            self._due.clear()
            await self._commit()
        await self._commit()  # what came while the last commit was under way
        if self._rows:
            self.spool.ledger.add("lost at stop", str(self.status.spool.get("error")), rows=self._rows)

    async def _commit(self) -> None:
        """Commit what waits; one commit is over before the next begins."""
        async with self._committing:
            await self._commit_now()

    async def _commit_now(self) -> None:
        rows, acknowledge, refused = self._pending, self._acknowledge, self._refused
        if not rows and not acknowledge and not refused:
            return
        tokens = self._names() if rows else {}  # names are written beside rows; others wait for the next ones
        self._pending, self._acknowledge, self._refused, count = [], [], [], self._rows
        self._rows = self._bytes = 0
        if rows or refused:
            self._commit_began = time.monotonic()
            try:
                await asyncio.get_running_loop().run_in_executor(self._disk, self._put, rows, count, tokens, refused)
            except (SpoolFull, OSError) as error:
                self._tokens = {
                    source: tokens.get(source, []) + self._tokens.get(source, [])
                    for source in {**tokens, **self._tokens}
                }
                self._refused = refused + self._refused
                self._keep(rows, acknowledge, count, error)
                return
            finally:
                self._commit_began = None
        self._written.update({source: len(some) for source, some in tokens.items()})
        self.status.spool.pop("error", None)
        self._room.set()
        self._tell(acknowledge)
        await self._commits.add(count)

    def _tell(self, acknowledge: list[tuple[str, Callable[[], None]]]) -> None:
        """Acknowledge what is committed; a link that cannot take it ends nobody else's, and the broker asks again."""
        failed: dict[str, list[Exception]] = {}
        for source, call in acknowledge:
            try:
                call()
            except Exception as error:  # noqa: BLE001  told below, once for all of a source
                failed.setdefault(source, []).append(error)
        for source, errors in failed.items():
            self.spool.ledger.add("connector fault", repr(errors[0]), source=source, unacknowledged=len(errors))
            log.error("source %s: %d acknowledgements failed", source, len(errors), exc_info=errors[0])

    def _names(self) -> dict[str, list[int]]:
        """Return the names of messages that the next batch is to hold.

        Now and then these are all that are known of a source: the tail is short where another source fills it, and a
        broker that was away meanwhile delivers again what it had no acknowledgement for. Where all of them were
        written since the last time they are in the tail.
        """
        tokens, self._tokens = self._tokens, {}
        anew = self.spool.last - self._named >= TAIL_BATCHES // 2
        if anew:
            self._named = self.spool.last
            for source, known in self._taken.items():
                if self._written[source] < len(known):
                    tokens[source] = list(known)
            self._written.clear()
        return tokens

    def _keep(
        self, rows: list[Rows], acknowledge: list[tuple[str, Callable[[], None]]], count: int, error: Exception
    ) -> None:
        """Keep what could not be committed for the next try; beyond PENDING_ROWS the sources wait."""
        self._pending = rows + self._pending
        self._acknowledge = acknowledge + self._acknowledge
        self._rows += count
        if not self.status.spool.get("error"):
            self.spool.ledger.add("commit failed", str(error), rows=count)
            log.error("spool: %s; samples are kept in memory and tried again", error)
        self.status.spool["error"] = str(error)
        self._bytes = sum(map(_text_size, self._pending)) + _refused_size(one for _, one in self._refused)
        self._look_at_room()
        if isinstance(error, SpoolFull):
            self._room.clear()

    def _put(
        self, rows: list[Rows], count: int, tokens: dict[str, list[int]], refused: list[tuple[str, Refused]]
    ) -> None:
        if refused:
            self._quarantine.add(refused)
            refused.clear()  # what follows may fail and be tried again
        if rows:
            self.spool.put(encoded(to_frame(rows, self.ids)), count, tokens)

    async def _report(self) -> None:
        for second in itertools.count():
            for source in self._losses:
                self._note_losses(source, only_new=second % NOTE_EVERY_S != 0)
            self._look_at_links()
            self._write_status()
            await asyncio.sleep(1.0)

    def _note_losses(self, source: str, *, only_new: bool = False) -> None:
        """Write into the ledger what a connector dropped or doubts; `only_new`: only what it never did before."""
        status = self.status.sources[source]
        for reason, count in self._losses[source].take(only_new=only_new).items():
            self.spool.ledger.add("not stored", reason, source=source, count=count)
            status.faults += count
        for reason, count in self._doubts[source].take(only_new=only_new).items():
            self.spool.ledger.add("in doubt", reason, source=source, count=count)
            status.flags[reason] = status.flags.get(reason, 0) + count
        if status.filled > status.filled_noted:
            count, status.filled_noted = status.filled - status.filled_noted, status.filled
            self.spool.ledger.add("backfilled", "from the source's own history", source=source, rows=count)

    def _look_at_links(self) -> None:
        """Take into status what connectors warn of, and how many points are fresh."""
        for source, (connector, intake) in self._links.items():
            status = self.status.sources[source]
            connected = status.state == "connected"
            status.warnings = connector.warnings() if connected else []
            status.link = dict(connector.figures()) if connected else {}
            status.coverage, status.silent = intake.coverage(time.time_ns()), intake.silent(time.time_ns())

    def _line(self) -> str:
        """Return how the agent does, in a line for systemctl status; what sources answer has no place in it."""
        now = time.monotonic()
        fresh = sum(source.fresh(now) for source in self.status.sources.values())
        line = f"{fresh} of {len(self.sources)} sources fresh"
        ailing = [name for name, sink in self.status.sinks.items() if sink.report(now)["error"]]
        if ailing:
            line += f"; at fault: sink {', '.join(ailing)}"
        return line + ("; the spool takes nothing" if self.status.spool.get("error") else "")

    def _write_status(self) -> None:
        if self._commit_began is not None and time.monotonic() - self._commit_began > STUCK_S:
            self.status.spool["error"] = f"a commit takes longer than {STUCK_S:g} s; look at the disk"
        self.status.spool |= {
            "bytes": self.spool.size,
            "last": self.spool.last,
            "pending_rows": self._rows,
            "quarantined_bytes": self.spool.quarantined,
        }
        self.status.ledger = dict(self.spool.ledger.counts)
        try:
            self.status.write(self.spool.path / "status.json")
        except OSError as error:  # an old report is taken as no sign of life, which is what a person must see
            log.error("status: %s", error)  # noqa: TRY400


def _pause(status: SourceStatus, pause: float, held: _Held) -> float:
    """Return how long to wait before the next try [s]: the first pause again where the link was of use.

    A broker gives what it retains with each link: rows that came at its beginning alone are no reason for haste.
    """
    if status.state == "refused":  # a wrong password that is tried often locks the account
        return BACK_OFF_S[1]
    if held.since is None:
        return pause
    if held.good is not None and held.good - held.since >= BEGINNING_S:
        return BACK_OFF_S[0]
    if time.monotonic() - held.since > BACK_OFF_S[1]:
        return BACK_OFF_S[0]
    return min(pause, HASTE_S) if held.good is not None else pause


def _session(source: Source) -> tuple[str, str]:
    """Return what a broker knows a session by, and which broker."""
    return source.url, source.client_id


def _expected(source: Source, points: list[Point]) -> int:
    """Return the longest time between two readings that is in order [ns]."""
    if source.kind == "mqtt":
        return max([p.heartbeat for p in points] + [source.period])
    expect = max([p.period or 0 for p in points if p.mode == "poll"] + [source.period])
    if any(p.mode == "subscribe" for p in points):
        expect = max(expect, source.timeout // 2)  # where nothing changes, a keep-alive comes that often
    return expect


async def _cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they are over."""
    every = list(tasks)
    for task in every:
        task.cancel()
    await asyncio.gather(*every, return_exceptions=True)


def _text_size(rows: Rows) -> int:
    """Return how long the rows' texts are [characters]."""
    return sum(map(len, filter(None, rows.text))) if rows.text is not None else 0


def _refused_size(refused: Iterable[Refused]) -> int:
    """Return what messages for the quarantine take in memory, about [B]."""
    return sum(len(one.payload) + REFUSED_BYTES for one in refused)

"""One sink's task: takes what is committed from the spool to the store, at the store's own pace."""

import asyncio
import contextlib
import fnmatch
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple

import polars as pl

from collector import gaps, ranges
from collector.logs import Told
from collector.payload import decoded
from collector.ranges import Range
from collector.sinks.base import Sink, SinkBusy, SinkRefused
from collector.spool import Hole, Record, Spool
from collector.status import SinkStatus
from config.plant import Sink as SinkConfig
from config.schema import SAMPLE

log = logging.getLogger("plantproof.agent")

BACK_OFF_S = (0.5, 10.0)
"""First and longest pause between tries [s]: a disk that has room again is used within the longest."""
READ_BYTES = 2 * 2**20
"""What one write takes from the spool at most [B, compressed]."""
WRITE_ROWS = 100_000
"""So many rows one write holds, a batch more or less; a row takes some 50 B, and a sink has several copies."""
WRITE_TEXTS = 2**20
"""So much of texts one write holds, a batch more or less [B]: compressed they may be a hundredth of it."""
UPKEEP_EVERY = 8
"""So many writes of a backlog come before the store's housekeeping has a turn."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Commits:
    """Tells sinks what the committer did."""

    def __init__(self) -> None:
        self.rows = 0
        """So many were committed."""
        self.over = False
        """Whether no commit follows."""
        self._news = asyncio.Condition()

    async def add(self, rows: int) -> None:
        """Tell of a commit."""
        self.rows += rows
        await self.tell()

    async def end(self) -> None:
        """Tell that no commit follows."""
        self.over = True
        await self.tell()

    async def tell(self) -> None:
        """Let those who wait look again whether they still have to."""
        async with self._news:
            self._news.notify_all()

    async def wait(self, seconds: float, rows: int | None = None, *, over: Callable[[], bool] = lambda: False) -> None:
        """Wait for so long, until so many rows more are committed, until no commit follows, or it is `over`."""
        seen = self.rows
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(
                    lambda: self.over or over() or (rows is not None and self.rows - seen >= rows)
                )


@dataclass(slots=True)
class Load:
    """Samples of a range of batches, taken from the spool and not stored yet."""

    frame: pl.DataFrame
    range: Range


class Delivery:
    """Feeds one sink until no commit follows and all is stored, or the sink fails then.

    The oldest batches go first. While a backlog is longer than one write, what is committed meanwhile is stored beside
    it, every `config.wait`, so that a dashboard shows the present while the past is filled in.
    """

    def __init__(
        self,
        config: SinkConfig,
        sink: Sink,
        spool: Spool,
        *,
        points: pl.Series,
        disk: ThreadPoolExecutor,
        commits: Commits,
        status: SinkStatus,
        left: Load | None = None,
    ) -> None:
        """Take the sink and the spool, whose one thread is `disk`; `points` are the ids of all points.

        left: what the delivery before it had taken and not stored.
        """
        self._config, self.name, self._sink, self._spool = config, config.name, sink, spool
        self._points, self._disk, self._commits, self._status = points, disk, commits, status
        self._chosen: dict[str, bool] = {}
        """Whether the sink gets a point, by its id."""
        self._leaving = False
        self._stored_at = 0
        """How much the spool had taken when the sink had all of it [B]."""
        # What is new comes between the writes of a backlog, however slowly that may be stored.
        self._most = min(WRITE_ROWS, config.max_rate or WRITE_ROWS)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"sink-{config.name}")
        self._load: Load | None = left
        """What a failed write left: the spool may have dropped it meanwhile."""
        done = spool.done(config.name)
        self._live: int | None = done[-1][1] if len(done) > 1 else None
        """Up to where what is new was stored beside a backlog; None: no backlog is known."""
        self._live_due = 0.0
        self._known_until: dict[int, int] = {}
        """Receive time of the last sample [ns], by the batch up to which was read: of a backlog, and of what is new."""
        self._faults: set[str] = set()
        """Faults that the ledger was told of since the last write."""
        self._told = Told()
        self._writes = 0
        self._due = 0.0
        """When what waits is old enough to be stored, where the sink has all else [s, monotonic]."""
        self._due_rows = 0
        """So many rows committed are enough to be stored before that."""

    @property
    def left(self) -> Load | None:
        """What it took from the spool and did not store: the spool may have dropped it meanwhile."""
        return self._load

    async def leave(self) -> None:
        """Ask it to end after the write under way; what it has not stored waits in the spool."""
        self._leaving = True
        await self._commits.tell()

    async def run(self) -> None:
        """Store until the end; never raises but when it is cancelled."""
        pause, started = BACK_OFF_S[0], False
        try:
            while True:
                try:
                    if not started:
                        await self._start()
                        started = True
                    wrote = await self._turn()
                    pause, self._status.error = BACK_OFF_S[0], ""
                    self._faults.clear()
                    self._told.over()
                    if self._leaving or (not wrote and self._commits.over):
                        return
                except Exception as error:  # noqa: BLE001  one sink's fault must not end the others
                    started = False  # the store may have more than the cursor says, or a part of a range
                    self._tell(error)
                    if self._commits.over or self._leaving:
                        return
                    await self._rest(error.retry_after if isinstance(error, SinkBusy) else pause)
                    pause = min(pause * 2, BACK_OFF_S[1])
        finally:
            self._sink.close()
            self._worker.shutdown(wait=False)

    def _cannot_wait(self) -> bool:
        """Return whether more must not be waited for: the sink is to end, or a small spool would drop what waits."""
        return self._leaving or self._spool.written - self._stored_at > self._spool.max_size // 4

    def _is_to_end(self) -> bool:
        return self._leaving or self._commits.over

    async def _rest(self, seconds: float, rows: int | None = None) -> None:
        await self._commits.wait(seconds, rows, over=lambda: self._leaving)

    def _tell(self, error: Exception) -> None:
        self._status.error = str(error)
        if isinstance(error, OSError | SinkRefused):
            if words := self._told.worth(f"sink {self.name}: {error}; its data waits in the spool"):
                log.error("%s", words)
        else:
            self._status.error = f"unexpected: {error!r}"
            if repr(error) not in self._faults:
                self._faults.add(repr(error))
                self._spool.ledger.add("sink fault", repr(error), sink=self.name)
            if words := self._told.worth(f"sink {self.name}: {error!r}"):
                log.error("%s", words, exc_info=error)

    async def _start(self) -> None:
        done = await self._in(self._worker, self._sink.start, self._spool.done(self.name))
        await self._advance(*done)
        known = self._spool.done(self.name)
        if self._load is not None and ranges.union([*known, self._load.range]) == known:
            self._load = None  # it was stored, and only not noted

    async def _turn(self) -> bool:
        """Store what waits once it is enough or old enough; returns whether there was anything."""
        if self._status.caught_up:
            await self._until_due()
            if self._leaving:
                return False
        # What is committed while the store writes waits for the next turn, or a slow store would write without end.
        last, taken, rows = self._spool.last, self._spool.written, self._commits.rows
        if self._load is None:
            self._load = await self._next()
        wrote = self._load is not None
        if self._load is not None:
            await self._store(self._load)
            self._load = None
        self._status.caught_up = not wrote or not ranges.missing(self._spool.done(self.name), last)
        self._due, self._due_rows = time.monotonic() + self._config.wait / 1e9, rows + self._config.rows
        if self._status.caught_up:
            self._stored_at = taken
        if not wrote:
            self._live = None
            await self._upkeep()
            return False
        self._writes += 1
        if self._status.caught_up or self._writes % UPKEEP_EVERY == 0:
            await self._upkeep()
        return True

    async def _store(self, load: Load) -> None:
        began = time.monotonic()
        wanted = self._wanted(load.frame)
        if wanted.height:
            self._status.writing_since = began
            try:
                await self._in(self._worker, self._sink.write, wanted, *load.range)
            finally:
                self._status.writing_since = None
        if load.range[0] == self._status.cursor + 1:
            newest = load.frame["ts_recv"].to_physical().max()
            self._status.stored_until = newest if isinstance(newest, int) else self._status.stored_until
        await self._advance(load.range)
        self._status.rows += wanted.height
        self._status.figures = dict(self._sink.figures())
        if self._config.max_rate is not None:
            await self._rest(max(0.0, wanted.height / self._config.max_rate - (time.monotonic() - began)))

    def _wanted(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of points that the sink is to get, also of those that the plant no longer has."""
        if not self._config.points and not self._config.exclude:
            return frame
        ids = frame["point"].unique()
        chosen = ids.filter(pl.Series([self._is_chosen(point) for point in ids], dtype=pl.Boolean))
        return frame.filter(pl.col("point").is_in(chosen.implode()))

    def _is_chosen(self, point: str) -> bool:
        if point not in self._chosen:
            named = any(fnmatch.fnmatchcase(point, pattern) for pattern in self._config.points or ("*",))
            self._chosen[point] = named and not any(fnmatch.fnmatchcase(point, one) for one in self._config.exclude)
        return self._chosen[point]

    async def _next(self) -> Load | None:
        """Return what is to be stored next, of what is new or of the backlog; None where nothing waits."""
        lacking = ranges.missing(self._spool.done(self.name), self._spool.last)
        if not lacking:
            return None
        first, last = lacking[0]
        if self._live is not None and first > self._live:
            self._live = None  # the backlog is stored
        if self._live is not None and time.monotonic() >= self._live_due:
            self._live_due = time.monotonic() + self._config.wait / 1e9
            if lacking[-1][1] > self._live:
                load = await self._taken(max(self._live + 1, lacking[-1][0]), lacking[-1][1])
                if load.range[0] > self._live:  # else it is a gap
                    self._live = load.range[1]
                return load
        load = await self._taken(first, last if self._live is None else min(last, self._live))
        if load.range[1] < last and self._live is None:
            self._live = self._spool.last  # what is committed from now on is stored beside the backlog
        return load

    async def _taken(self, first: int, last: int) -> Load:
        """Return the batches from `first` on, as many as one write takes; in place of dropped ones their gap."""
        found = await self._in(self._disk, self._held, first, last)
        if isinstance(found, Load):
            return found
        known_until = self._known_until.pop(first - 1, 0)
        took = await self._in(self._worker, _decoded, found, self._points, known_until, self._most)
        self._known_until[took.until] = took.known_until
        for seq, reason in took.faults:
            self._spool.ledger.add("quarantined", reason, sink=self.name, first=seq, last=seq)
        self._spool.held[self.name] = first, took.until
        return Load(took.frame, (first, took.until))

    def _held(self, first: int, last: int) -> Load | list[Record | Hole]:
        if (gap := self._held_gap()) is not None:
            return gap
        found = list(self._spool.read(first - 1, READ_BYTES, until=last))
        end = found[-1]
        self._spool.held[self.name] = first, end.seq if isinstance(end, Record) else end.last
        return found

    def _held_gap(self) -> Load | None:
        """Return what stands for dropped batches, if any were; what else lies below them is stored or dropped too."""
        gap = self._spool.gap(self.name)
        if gap is None:
            return None
        first, *rest = ranges.missing(self._spool.done(self.name), gap.seq)
        self._spool.advance(self.name, *rest)
        self._spool.held[self.name] = first
        return Load(decoded(gap.payload), first)

    async def _advance(self, *stored: Range) -> None:
        await self._in(self._disk, self._spool.advance, self.name, *stored)
        self._status.cursor = self._spool.cursor(self.name)

    async def _until_due(self, longest: float = math.inf) -> None:
        """Wait until what waits is old enough or enough to be stored, or for the longest time [s]."""
        left, rows = self._due - time.monotonic(), self._due_rows - self._commits.rows
        await self._commits.wait(min(longest, max(0.0, left)), max(0, rows), over=self._cannot_wait)

    def _is_due(self) -> bool:
        return time.monotonic() >= self._due or self._commits.rows >= self._due_rows or self._cannot_wait()

    async def _upkeep(self) -> None:
        """Let the store do its housekeeping, half of the time, until what waits is due or the sink is to end."""
        if self._is_to_end():
            return
        try:
            began = time.monotonic()
            while await self._in(self._worker, self._sink.upkeep, self._status.cursor) and self._status.caught_up:
                await self._until_due(time.monotonic() - began)  # the machine has other work
                if self._is_to_end() or self._is_due():
                    break
                began = time.monotonic()
            self._status.upkeep = ""
        except OSError as error:
            known, self._status.upkeep = self._status.upkeep, str(error)
            if known == self._status.upkeep:
                return
            log.warning("sink %s: housekeeping: %s", self.name, error)
        self._status.figures = dict(self._sink.figures())

    async def _in(self, worker: ThreadPoolExecutor, call: Callable[[*Ts], T], *arguments: *Ts) -> T:
        return await asyncio.get_running_loop().run_in_executor(worker, call, *arguments)


@dataclass(slots=True)
class _Decoded:
    """Batches in one frame; `until` is the last one, `known_until` the receive time of the last sample [ns]."""

    frame: pl.DataFrame
    until: int
    known_until: int
    faults: list[tuple[int, str]]
    """Batches that are whole and yet no samples."""


def _decoded(found: list[Record | Hole], points: pl.Series, known_until: int, most: int) -> _Decoded:
    """Return the first of these in one frame, of about `most` rows and WRITE_TEXTS of texts at most.

    In place of a hole each point is unknown from the last sample before it on, or, where that is not known, from the
    first one after it.
    """
    parts, faults, unknown = [pl.DataFrame(schema=dict(SAMPLE))], [], False
    size = rows = until = 0
    for n, each in enumerate(found):
        until = each.seq if isinstance(each, Record) else each.last
        try:
            if isinstance(each, Record):
                parts.append(decoded(each.payload))
                known_until = int(parts[-1]["ts_recv"].to_physical().max() or known_until)  # type: ignore[arg-type]
                size += int(parts[-1]["text"].str.len_bytes().sum())
                unknown = False
                rows += parts[-1].height
                if size >= WRITE_TEXTS or rows >= most:
                    break
                continue
        except (pl.exceptions.PolarsError, OSError) as error:
            faults.append((until, f"no samples: {error}"))
        if not unknown:
            known_until = known_until + 1 if known_until else _before(found[n + 1 :])
            parts.append(gaps.of_all(points, known_until))
            unknown = True
    return _Decoded(pl.concat(parts), until, known_until, faults)


def _before(found: list[Record | Hole]) -> int:
    """Return a time right before the first of these was received [ns], now where none can be read."""
    for record in found:
        with contextlib.suppress(pl.exceptions.PolarsError, OSError):
            if isinstance(record, Record) and (rows := decoded(record.payload)).height:
                return int(rows["ts_recv"].to_physical().min()) - 1  # type: ignore[arg-type]
    return time.time_ns()

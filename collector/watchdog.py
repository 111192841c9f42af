"""Tells systemd how the agent does, and feeds its watchdog while every loop goes round.

A loop goes round where its task takes steps, whether its PLC answers or not: a source in back-off wakes up from its
pauses, a quiet broker's link looks for messages each second. One that waits for ever for something that does not come
takes no step, though everything else of the agent may run. How long a loop may stand it says itself, by its patience.

A sink is not watched. What it does not store waits in the spool, status tells of it, and other sinks go on: a restart
would cost every source a gap, and cure nothing in a store that hangs.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from collector.host import ServiceManager
from config.plant import Point, Source
from config.units import NS_PER_SECOND

log = logging.getLogger("plantproof.agent")

LOOK_S = 1.0
"""How often the loops are looked at [s]."""
REST_S = 45.0
"""So long a loop may stand that says nothing else [s]; the longest back-off is 30 s."""
GRACE_S = 10.0
"""So much longer [s] than what it waits for a loop may stand: computers are slow at times."""
OPENING_TIMEOUTS = 60
"""Opening a session is up to so many requests, each within its timeout."""
READING_TIMEOUTS = 10
"""So many requests may stay without an answer one after the other before a loop that reads takes a step."""
HEARTBEATS = 5
"""A server says how often it gives a sign of life where nothing changes; after so many heartbeats it is no use."""

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Heart:
    """The beat of one loop."""

    name: str
    patience: float = REST_S
    """How long it may stand [s]."""
    turns: int = 0
    """So many steps it took."""
    over: bool = False
    """Whether it came to its end, as it does when the agent stops."""
    _seen: int = -1
    _stood_since: float = 0.0

    def stuck(self, now: float) -> bool:
        """Return whether it stands for longer than its patience at a time [s] of any clock, always the same."""
        if self.turns != self._seen:
            self._seen, self._stood_since = self.turns, now
        return not self.over and now - self._stood_since > self.patience


class Beating(Coroutine[Any, Any, T]):
    """A loop whose steps are counted by its heart."""

    def __init__(self, heart: Heart, loop: Coroutine[Any, Any, T]) -> None:
        """Take the loop; it is to be the coroutine of a task of its own."""
        self._heart, self._loop = heart, loop

    def send(self, value: Any, /) -> Any:
        """Let the loop go on to where it waits next."""
        self._heart.turns += 1
        try:
            return self._loop.send(value)
        except BaseException:
            self._heart.over = True
            raise

    def throw(self, *error: Any) -> Any:
        """Let the loop go on with an exception where it waits."""
        self._heart.turns += 1
        try:
            return self._loop.throw(*error)
        except BaseException:
            self._heart.over = True
            raise

    def close(self) -> None:
        """End the loop."""
        self._heart.over = True
        self._loop.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._loop.__await__()


@dataclass(slots=True, kw_only=True)
class Watchdog:
    """Says READY once every loop runs, and then feeds while none is stuck."""

    manager: ServiceManager
    clock: Callable[[], float] = time.monotonic
    """[s]"""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    hearts: list[Heart] = field(default_factory=list)
    _stuck: tuple[str, ...] = ()

    def watch(self, name: str, loop: Callable[[Heart], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """Start a loop as a task of that name, and watch it from now on."""
        heart = Heart(name)
        self.hearts.append(heart)
        return asyncio.create_task(Beating(heart, loop(heart)), name=name)

    async def run(self, told: Callable[[], str]) -> None:
        """Tell the service manager until cancelled; `told` returns the agent's state in a line.

        Without a service manager it only says in the log which loop is stuck.
        """
        manager, known, ready, feed_at = self.manager, "", False, self.clock()
        pause = min(LOOK_S, (manager.feed_every or LOOK_S) / 2)
        while True:
            if not ready and all(heart.turns for heart in self.hearts):
                manager.tell("READY=1")
                ready = True
            well = self.looks_well()
            if well and ready and manager.feed_every is not None and self.clock() >= feed_at:
                manager.tell("WATCHDOG=1")
                feed_at = self.clock() + manager.feed_every
            status = _status(told() if well else f"watchdog not fed, stuck: {', '.join(self._stuck)}")
            if status != known:
                manager.tell(known := status)
            await self.sleep(pause)

    @property
    def stuck(self) -> tuple[str, ...]:
        """The loops that were stuck when they were looked at last."""
        return self._stuck

    def looks_well(self) -> bool:
        """Return whether no loop is stuck; one that is new among those is logged."""
        now = self.clock()
        stuck = tuple(heart.name for heart in self.hearts if heart.stuck(now))
        for heart in self.hearts:
            if heart.name in stuck and heart.name not in self._stuck:
                log.error("%s took no step for more than %.0f s: the watchdog is not fed", heart.name, heart.patience)
        self._stuck = stuck
        return not stuck

    def stopping(self) -> None:
        """Tell the service manager that the agent is about to end."""
        self.manager.tell("STOPPING=1", _status("stopping: commits what it holds, sinks drain"))


def to_open(source: Source) -> float:
    """Return how long a loop may stand while a link is opened, with each of its URLs [s]."""
    return GRACE_S + (1 + len(source.failover)) * OPENING_TIMEOUTS * _answer(source)


def to_read(source: Source, points: Sequence[Point], expect: int) -> float:
    """Return how long a loop that reads may stand [s], where a reading comes every `expect` [ns].

    A group of points begins up to a period late; a server that only tells of changes takes its own time.
    """
    subscribed = [point.heartbeat for point in points if point.mode == "subscribe"]
    longest = max([2 * expect, HEARTBEATS * max(subscribed, default=0)])
    return GRACE_S + longest / NS_PER_SECOND + READING_TIMEOUTS * _answer(source)


def _answer(source: Source) -> float:
    """Return how long the slowest device of a source may take for a request, with the silence before it [s]."""
    timeouts = [source.timeout, *(device.timeout for device in source.device)]
    pauses = [source.pause, source.pause_after_connect, *(device.pause for device in source.device)]
    return (max(timeouts) + max(pauses)) / NS_PER_SECOND


def _status(text: str) -> str:
    """Return the line that systemctl status shows."""
    return "STATUS=" + " ".join(text.split())

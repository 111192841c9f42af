"""When to read which group of points: a schedule on the monotonic clock, without drift and without bursts."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from config.plant import Point, Source
from config.units import NS_PER_SECOND


def period_of(source: Source, point: Point) -> int:
    """Return how often a point is read [ns]; the source's period where the point has none."""
    return point.period or source.period


def by_period(source: Source, points: Sequence[Point], positions: Iterable[int]) -> dict[int, list[int]]:
    """Return the positions of points grouped by period [ns], the shortest period first."""
    groups: dict[int, list[int]] = {}
    for position in positions:
        groups.setdefault(period_of(source, points[position]), []).append(position)
    return dict(sorted(groups.items()))


def obey_cancellation() -> None:
    """Raise CancelledError where this task was cancelled and a library kept it to itself.

    Before Python 3.12 `asyncio.wait_for`, which the libraries connect with, drops a cancellation that meets the
    result (python/cpython issue 86296); the agent would then wait for a source that never stops.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Schedule:
    """Ticks for groups of points, each with its own period.

    Every group is due at once, and then at whole periods after the start and its phase. A tick that passed while
    nobody waited is skipped and counted in `missed`: a stall is never followed by a burst.
    """

    def __init__(
        self,
        periods: Sequence[int],
        *,
        phases: Sequence[int] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take the groups' periods and phases [ns]; `clock` gives [ns], `sleep` takes [s]."""
        if not periods or min(periods) <= 0:
            raise ValueError(f"periods {list(periods)} [ns]: a schedule needs at least one, all above 0")
        self.missed = 0
        self._clock, self._sleep = clock, sleep
        self._periods = list(periods)
        self._phases = list(phases or [0] * len(periods))
        self._next = [clock()] * len(periods)

    def slack(self) -> int:
        """Return how long it is until the next tick [ns]; below 0 where it is overdue."""
        return min(self._next) - self._clock()

    async def due(self) -> list[int]:
        """Wait for the next tick and return the groups that are due, the most overdue first."""
        await asyncio.sleep(0)  # others get their turn, however short the periods are
        while (wait := min(self._next) - self._clock()) > 0:
            await self._sleep(wait / NS_PER_SECOND)
        now = self._clock()
        ready = [group for group, at in enumerate(self._next) if at <= now]
        ready.sort(key=lambda group: self._next[group])
        for group in ready:
            period = self._periods[group]
            skipped = (now - self._next[group]) // period
            self.missed += skipped
            self._next[group] += (skipped + 1) * period + self._phases[group]
            self._phases[group] = 0  # from now on it lies in the times themselves
        return ready

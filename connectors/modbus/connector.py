"""The Modbus connector: polls registers and bits in few requests; a unit or register that says no fails alone."""

import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from config.plant import Point, Source
from config.units import format_duration
from connectors.base import Figures, Readings, SourceRefused
from connectors.modbus.bus import Bus
from connectors.modbus.check import check_source
from connectors.modbus.group import Group, probes_of
from connectors.modbus.plan import limits_of
from connectors.modbus.poll import Poller
from connectors.modbus.units import Unit
from connectors.polling import Schedule, by_period

LATELY_S = 60.0
"""Polls that were missed longer ago [s] are no news."""
NAMED = 5
"""So many units are named in a warning."""


class Connector:
    """One link to a Modbus device, serial line or gateway, with one or more units behind it."""

    def __init__(self, source: Source, points: Sequence[Point]) -> None:
        """Take the source and its points; raises ValueError where `check` would have found a fault."""
        self.faults: Counter[str] = Counter()
        self.flags: Counter[str] = Counter()
        self.since: NDArray[np.int64] | None = None
        self.taken: Collection[int] = ()  # nothing is sent twice there
        self.filled = True  # there is no history to ask for
        self._source = source
        self._bus = Bus(source, self.faults)
        limits = partial(limits_of, source)
        periods = by_period(source, points, range(len(points)))
        self._periods = list(periods)
        self._groups = [Group(source, points, mine, limits, self.faults) for mine in periods.values()]
        self._units = {number: Unit(number, probes) for number, probes in probes_of(self._groups).items()}
        self._schedule: Schedule | None = None
        self._missed: deque[tuple[float, int]] = deque()

    async def connect(self) -> None:
        """Open the link; raises SourceLost, and SourceRefused where the source cannot be served."""
        if (fault := check_source(self._source)) is not None:
            raise SourceRefused(fault)
        if not self._groups:
            raise SourceRefused(f"source {self._source.id}: no point reads it; add one or remove the source")
        await self._bus.open()

    def warnings(self) -> list[str]:
        """Return which units and ranges do not answer, and whether polls are missed."""
        found = []
        resting = [unit for unit in self._units.values() if unit.resting]
        if resting:
            why = "; ".join(unit.why for unit in resting[:NAMED])
            told = f"{why} and {len(resting) - NAMED} more" if len(resting) > NAMED else why
            found.append(f"{told}; the other units go on")
        refused = [leaf for group in self._groups for root in group.roots for leaf in root.leaves() if leaf.status]
        if refused:
            more = f" and {len(refused) - NAMED} more" if len(refused) > NAMED else ""
            found.append(f"not readable: {', '.join(str(leaf.request) for leaf in refused[:NAMED])}{more}")
        if missed := self._missed_lately():
            share = self._bus.figures()["bus_time"]
            periods = ", ".join(format_duration(period) for period in self._periods)
            found.append(
                f"{missed} polls were missed within a minute, and the link is busy for {share:.0%} of the time; "
                f"lengthen the periods ({periods}), or read less"
            )
        return found

    def _missed_lately(self) -> int:
        """Return how many polls were missed within the last minute."""
        now, missed = time.monotonic(), self._schedule.missed if self._schedule is not None else 0
        self._missed.append((now, missed))
        while now - self._missed[0][0] > LATELY_S:
            self._missed.popleft()
        return missed - self._missed[0][1]

    def figures(self) -> Figures:
        """Return the link's bus time and how its polls go, for status."""
        requests = sum(len(list(root.leaves())) for group in self._groups for root in group.roots)
        missed = self._schedule.missed if self._schedule is not None else 0
        return {**self._bus.figures(), "requests_a_cycle": requests, "polls_missed": missed}

    async def readings(self) -> AsyncIterator[Readings]:
        """Yield each poll's values; raises SourceLost when the link is in doubt or every unit is silent."""
        shortest, n = min(self._periods), len(self._periods)
        # Groups of other periods begin a little later each, so that the link never has them all at once.
        schedule = self._schedule = Schedule(self._periods, phases=[shortest * k // n for k in range(n)])
        running: dict[int, AsyncGenerator[Readings | None]] = {}
        deadline: dict[int, int] = {}
        again: set[int] = set()
        poller = Poller(self._source, self._bus, self._units, lambda: 0 if again else schedule.slack())

        def start(number: int) -> None:
            running[number] = poller.poll(self._groups[number], patient=number > 0)
            deadline[number] = time.monotonic_ns() + self._periods[number]

        try:
            while True:
                if not running or schedule.slack() <= 0:
                    for number in await schedule.due():
                        schedule.missed += number in again
                        (again.add if number in running else start)(number)
                # Who must be done first goes first; others wait between two of their requests.
                number = min(running, key=lambda one: deadline[one])
                try:
                    if (readings := await anext(running[number])) is not None:
                        yield readings
                except StopAsyncIteration:
                    del running[number]
                    if number in again:  # it became due meanwhile: late, but not missed
                        again.discard(number)
                        start(number)
        finally:
            for poll in running.values():
                await poll.aclose()

    async def close(self) -> None:
        """Let go of the link."""
        self._bus.close()

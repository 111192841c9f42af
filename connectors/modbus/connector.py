"""The Modbus connector: polls registers and bits in few requests; a unit or register that says no fails alone."""

import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from config.plant import Point, Source
from config.status import BAD_COMMUNICATION_ERROR, BAD_NO_COMMUNICATION, BAD_TIMEOUT
from config.units import NS_PER_SECOND, format_duration
from connectors.base import Readings, SourceLost, SourceRefused
from connectors.modbus.bus import Bus
from connectors.modbus.check import check_source
from connectors.modbus.frames import ExceptionReply, WrongReply
from connectors.modbus.group import Group, probes_of
from connectors.modbus.link import Silent
from connectors.modbus.parts import BUSY, HALVINGS, RANGE_AT_FAULT, Part
from connectors.modbus.plan import limits_of
from connectors.modbus.units import Unit
from connectors.polling import Schedule, by_period

log = logging.getLogger("plantproof.modbus")

GATEWAY = (10, 11)
"""Exception codes by which a gateway says that a unit does not answer."""
SHORTEST_PROBE_S = 0.1
"""A unit that rests gets at least so long to answer a probe [s], and else what time the others leave."""
WHOLE_NS = 60 * NS_PER_SECOND
"""So often one unit that rests for long gets all the time it wants, should it have become slow [ns]."""
CROWDED = 0.9
"""Bus time above which a link counts as full."""
NAMED = 5
"""So many units are named in a warning."""


class Connector:
    """One link to a Modbus device, serial line or gateway, with one or more units behind it."""

    def __init__(self, source: Source, points: Sequence[Point]) -> None:
        """Take the source and its points; raises ValueError where `check` would have found a fault."""
        self.faults: Counter[str] = Counter()
        self.flags: Counter[str] = Counter()
        self.since: NDArray[np.int64] | None = None
        self.filled = True  # there is no history to ask for
        self._source = source
        self._bus = Bus(source, self.faults)
        limits = partial(limits_of, source)
        periods = by_period(source, points, range(len(points)))
        self._periods = list(periods)
        self._groups = [Group(source, points, mine, limits, self.faults) for mine in periods.values()]
        self._units = {number: Unit(number, probes) for number, probes in probes_of(self._groups).items()}
        self._schedule: Schedule | None = None
        self._halvings = 0
        self._whole_again = 0

    async def connect(self) -> None:
        """Open the link; raises SourceLost, and SourceRefused where the source cannot be served."""
        if (fault := check_source(self._source)) is not None:
            raise SourceRefused(fault)
        if not self._groups:
            raise SourceRefused(f"source {self._source.id}: no point reads it; add one or remove the source")
        await self._bus.open()
        self._bus.doubt(self._units)

    def warnings(self) -> list[str]:
        """Return which units and ranges do not answer, and whether the link is full."""
        found = []
        resting = [unit for unit in self._units.values() if unit.resting]
        if resting:
            more = f" and {len(resting) - NAMED} more" if len(resting) > NAMED else ""
            found.append("; ".join(unit.why for unit in resting[:NAMED]) + more + "; the other units go on")
        refused = [leaf for group in self._groups for root in group.roots for leaf in root.leaves() if leaf.status]
        if refused:
            more = f" and {len(refused) - NAMED} more" if len(refused) > NAMED else ""
            found.append(f"not readable: {', '.join(str(leaf.request) for leaf in refused[:NAMED])}{more}")
        share = self._bus.figures()["bus_time"]
        if self._schedule is not None and self._schedule.missed and share > CROWDED:
            periods = ", ".join(format_duration(period) for period in self._periods)
            found.append(
                f"the link is busy for {share:.0%} of the time and {self._schedule.missed} polls were missed; "
                f"lengthen the periods ({periods}), or read fewer points"
            )
        return found

    def figures(self) -> Mapping[str, float | int]:
        """Return the link's bus time and how its polls go, for status."""
        requests = sum(len(list(root.leaves())) for group in self._groups for root in group.roots)
        missed = self._schedule.missed if self._schedule is not None else 0
        return {**self._bus.figures(), "requests_a_cycle": requests, "polls_missed": missed}

    async def readings(self) -> AsyncIterator[Readings]:
        """Yield each poll's values; raises SourceLost when the link is in doubt or every unit is silent."""
        shortest, n = min(self._periods), len(self._periods)
        # Groups of other periods begin a little later each, so that the link never has them all at once.
        schedule = self._schedule = Schedule(self._periods, phases=[shortest * k // n for k in range(n)])
        while True:
            for number in await schedule.due():
                async for readings in self._poll(self._groups[number], schedule):
                    yield readings

    async def close(self) -> None:
        """Let go of the link."""
        self._bus.close()

    async def _poll(self, group: Group, schedule: Schedule) -> AsyncIterator[Readings]:
        """Yield what the units say that answer at once, and then what the others say, if anything."""
        self._halvings = HALVINGS
        waiting, later, told = group.begin(), dict[int, list[Part]](), set[int]()
        while waiting:
            ready = self._ready(group, waiting, later)
            failed, error, waiting = await self._read_all(group, ready)
            if failed is not None and isinstance(error, ExceptionReply):
                waiting = [*self._refused(group, failed, error), *waiting]
            elif failed is not None:
                later[failed.request.unit] = [failed]
                # Units come in order: what those before say need not wait for those behind.
                begun = {part.request.unit for part in waiting} | later.keys() | told
                if done := group.units - begun:
                    told |= done
                    yield group.readings(list(done))
        if not later:
            yield group.readings()
            return
        if rest := group.units - later.keys() - told:
            yield group.readings(list(rest))
        for turn, (number, parts) in enumerate(later.items()):
            await self._read_late(group, self._units[number], parts, schedule, first=turn == 0)
        if all(unit.silent for unit in self._units.values()):
            why = "; ".join(unit.why for unit in list(self._units.values())[:NAMED])
            raise SourceLost(f"source {self._source.id}: {why}, and no other unit answers")
        yield group.readings(list(later))

    def _ready(self, group: Group, parts: Sequence[Part], later: dict[int, list[Part]]) -> list[Part]:
        """Return the parts to ask for now; those of units that rest are bad, or wait for the others in `later`."""
        now = time.monotonic_ns()
        ready = []
        for part in parts:
            unit = self._units[part.request.unit]
            if unit.number in later or (unit.resting and unit.rest.over(now)):
                later.setdefault(unit.number, []).append(part)
            elif unit.resting:
                group.bad(part, unit.status)
            elif not part.rest.over(now):
                group.bad(part, part.status)
            else:
                ready.append(part)
        return ready

    async def _read_all(
        self, group: Group, parts: list[Part]
    ) -> tuple[Part | None, ExceptionReply | Silent | WrongReply | None, list[Part]]:
        """Ask for parts in a row and take their values; returns the first that failed, why, and those behind it."""
        if not parts:
            return None, None, []
        taken = 0

        def take(data: bytes) -> None:
            nonlocal taken
            self._good(group, parts[taken], data)
            taken += 1

        try:
            await self._bus.ask_all([(part.question, self._bus.timeout(part.request.unit)) for part in parts], take)
        except (ExceptionReply, Silent, WrongReply) as error:
            return parts[taken], error, parts[taken + 1 :]
        return None, None, []

    async def _read(self, group: Group, part: Part, patience: float) -> list[Part]:
        """Ask for a part and take its values; returns what is to be asked in its place where it was halved.

        Raises Silent and WrongReply.
        """
        if not part.rest.over(time.monotonic_ns()):
            group.bad(part, part.status)
            return []
        try:
            data = await self._bus.ask(part.question, patience)
        except ExceptionReply as reply:
            return self._refused(group, part, reply)
        self._good(group, part, data)
        return []

    def _good(self, group: Group, part: Part, data: bytes) -> None:
        self._units[part.request.unit].heard(part.question)
        part.answer()
        group.good(part, data)

    def _refused(self, group: Group, part: Part, reply: ExceptionReply) -> list[Part]:
        """Take an exception; returns what is to be asked in the part's place where it was halved."""
        now, unit = time.monotonic_ns(), self._units[part.request.unit]
        if reply.code in GATEWAY:
            unit.rest_for(f"unit {unit.number}: {reply}", reply.status, silent=False)
            group.bad(part, reply.status)
            return []
        unit.heard(None)
        if reply.code in RANGE_AT_FAULT and self._halve(group, part, f"answers with {reply}", now):
            return list(part.leaves())
        group.bad(part, reply.status)
        if reply.code not in RANGE_AT_FAULT or len(part.rows) == 1:
            part.refuse(reply.status, now, busy=reply.code in BUSY)
        return []

    def _halve(self, group: Group, part: Part, why: str, now: int) -> bool:
        """Put smaller requests in a part's place; returns whether it could be, in this poll."""
        if self._halvings == 0 or len(part.rows) == 1:
            return False
        if part.former:
            return part.divide(group.slots, now)
        self._halvings -= 1
        log.warning("source %s: unit %d %s to %s; it is read in halves", self._source.id, part.request.unit, why,
                    part.request)  # fmt: skip
        return part.divide(group.slots, now)

    async def _read_late(self, group: Group, unit: Unit, parts: list[Part], schedule: Schedule, *, first: bool) -> None:
        """Read a unit that was silent or rests, once the others had their turn; what it does not say is bad.

        After the first unit of a poll the others' next turn goes before: what is left of them waits.
        """
        waiting = deque(parts)
        asked = not unit.resting  # and it was silent in this very poll
        hurry = not first and schedule.slack() <= 0
        if hurry and asked:
            unit.rest_for(f"unit {unit.number} did not answer", BAD_NO_COMMUNICATION)
        elif not hurry and (asked or await self._is_back(unit, schedule)):
            while waiting and not unit.resting:
                part = waiting.popleft()
                tries = self._source.retries + (0 if asked else 1)
                asked = False
                waiting.extendleft(reversed(await self._read_again(group, part, tries, schedule)))
        for part in waiting:
            group.bad(part, unit.status)

    async def _is_back(self, unit: Unit, schedule: Schedule) -> bool:
        """Return whether a unit that rests answers again; else it rests for longer."""
        question = unit.probe()
        try:
            await self._bus.ask(question, self._patience(unit, schedule))
        except (Silent, WrongReply) as error:
            unit.rest_for(str(error), _status_of(error))
        except ExceptionReply as reply:
            if reply.code in GATEWAY:
                unit.rest_for(f"unit {unit.number}: {reply}", reply.status, silent=False)
            else:
                unit.heard(None)
        else:
            unit.heard(question)
        return not unit.resting

    async def _read_again(self, group: Group, part: Part, tries: int, schedule: Schedule) -> list[Part]:
        """Read a part in up to so many tries; returns what is to be asked in its place.

        After the last one either the range is at fault, where the unit answers another question, or the unit rests.
        """
        unit = self._units[part.request.unit]
        error: Silent | WrongReply = Silent(f"unit {unit.number} did not answer")
        for _ in range(tries):
            try:
                return await self._read(group, part, self._patience(unit, schedule))
            except (Silent, WrongReply) as failed:
                error = failed
        status, now = _status_of(error), time.monotonic_ns()
        if part.answered or not await self._answers_else(unit, part, schedule):
            unit.rest_for(str(error), status)
            log.warning("source %s: %s; its points are bad, and it is asked again in %.0f s",
                        self._source.id, error, unit.rest.pause / NS_PER_SECOND)  # fmt: skip
            group.bad(part, status)
            return []
        if self._halve(group, part, "does not answer", now):
            return list(part.leaves())
        group.bad(part, BAD_TIMEOUT)
        if len(part.rows) == 1:
            part.refuse(BAD_TIMEOUT, now)
        return []

    async def _answers_else(self, unit: Unit, part: Part, schedule: Schedule) -> bool:
        """Return whether a unit answers what it answered before, although it was silent to a part.

        Where nobody ever answered, two of its points are tried alone: the first range may be the one at fault.
        """
        tries = [unit.good] if unit.good is not None else []
        if not tries and all(other.silent for other in self._units.values() if other is not unit):
            tries = [unit.probe(), unit.probe()]
        for question in tries:
            if question == part.question:
                continue
            try:
                await self._bus.ask(question, self._patience(unit, schedule))
            except (Silent, WrongReply):
                continue
            except ExceptionReply as reply:
                return reply.code not in GATEWAY
            unit.good = question
            return True
        return False

    def _patience(self, unit: Unit, schedule: Schedule) -> float:
        """Return how long a doubtful unit may take to answer [s]: what the others leave, and sometimes all it wants."""
        whole = self._bus.timeout(unit.number)
        if len(self._units) == 1:
            return whole
        now = time.monotonic_ns()
        if unit.rest.longest and now >= self._whole_again:
            self._whole_again = now + WHOLE_NS
            return whole
        return min(whole, max(schedule.slack() / NS_PER_SECOND, SHORTEST_PROBE_S))


def _status_of(error: Silent | WrongReply) -> int:
    return BAD_NO_COMMUNICATION if isinstance(error, Silent) else BAD_COMMUNICATION_ERROR

"""One poll of a group: what answers is read at once, what fails is asked again once the others had their turn."""

import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat

from config.plant import Source
from config.status import BAD_TIMEOUT
from config.units import NS_PER_SECOND
from connectors.base import Readings, SourceLost
from connectors.modbus.bus import Bus
from connectors.modbus.frames import ExceptionReply, Read, WrongReply
from connectors.modbus.group import Group
from connectors.modbus.link import Silent
from connectors.modbus.parts import BUSY, HALVINGS, Part
from connectors.modbus.units import Unanswered, Unit

log = logging.getLogger("plantproof.modbus")

SHORTEST_S = 0.1
"""A unit in doubt gets at least so long to answer [s], or half of it where it was ever heard."""
SLOWER = 4
"""And so many times what it took before at the most; more where the others leave it."""
WHOLE_NS = 60 * NS_PER_SECOND
"""So often one unit that rests for long gets all the time it wants, should it have become slow [ns]."""
OF_A_TABLE = (1, 7)
"""Exception codes that are about a whole table or function, not about some of its registers."""
SEVERAL = 8
"""In ranges of so many points it is seen first whether the unit refuses everything."""
NAMED = 5
"""So many units are named in a message."""


@dataclass(slots=True)
class _Turn:
    """How far one poll is."""

    group: Group
    waiting: list[Part]
    later: dict[int, list[Part]] = field(default_factory=dict)
    """What is asked once the others had their turn, by unit."""
    told: set[int] = field(default_factory=set)
    """Units whose values were yielded."""

    def done(self) -> Readings | None:
        """Return the values of units that have none left to ask for and were not yielded yet."""
        units = self.group.units - {part.request.unit for part in self.waiting} - self.later.keys() - self.told
        if not units:
            return None
        self.told |= units
        return self.group.readings(None if len(units) == len(self.group.units) else list(units))


class Poller:
    """Reads groups over one bus, and knows which unit answers."""

    def __init__(self, source: Source, bus: Bus, units: Mapping[int, Unit], slack: Callable[[], int]) -> None:
        """Take the source, its link, the units behind it, and how long it is until the next poll is due [ns]."""
        self._source, self._bus, self._units, self._slack = source, bus, units, slack
        self._whole_again = 0

    async def poll(self, group: Group, *, patient: bool) -> AsyncGenerator[Readings | None]:
        """Yield what the units say that answer at once, and then what the others say, if anything.

        patient: a group that is due more often may go first at each None in between.
        Raises SourceLost when the link is gone, or nobody behind it answers; what was read before is yielded first.
        """
        group.halvings = HALVINGS
        turn = _Turn(group, group.begin())
        while turn.waiting:
            try:
                await self._step(turn, patient=patient)
            except SourceLost:
                if (done := turn.done()) is not None:
                    yield done
                raise
            # Units come in order: what those before say need not wait for those behind.
            if (turn.later or patient) and (done := turn.done()) is not None:
                yield done
            yield None
        if (done := turn.done()) is not None:
            yield done
        # Who was asked longest ago comes first: where time is short, one that is dead must not take all of it.
        for first, unit in zip(chain([True], repeat(False)), self._in_turn(turn.later), strict=False):
            await self._read_late(group, unit, turn.later[unit.number], first=first)
            yield None
        if turn.later:
            await self._see_who_is_left(group)
            yield group.readings(list(turn.later))

    async def _step(self, turn: "_Turn", *, patient: bool) -> None:
        """Ask for what can be asked in a row, up to the first failure or, of a patient group, until another is due."""
        ready = self._ready(turn)
        parts = self._slice(ready) if patient else ready
        turn.waiting = ready
        failed, error = await self._read_all(turn, parts)
        if failed is not None and isinstance(error, ExceptionReply):
            turn.waiting = [*await self._refused(turn.group, failed, error), *turn.waiting]
        elif failed is not None and isinstance(error, Unanswered):
            turn.later[failed.request.unit] = [failed]
            self._units[failed.request.unit].doubt = error

    def _in_turn(self, numbers: Iterable[int]) -> list[Unit]:
        return sorted((self._units[number] for number in numbers), key=lambda unit: unit.rest.until)

    def _ready(self, turn: "_Turn") -> list[Part]:
        """Return the parts to ask for now; those of units that rest are bad, or wait for the others in `later`."""
        now = time.monotonic_ns()
        ready = []
        for part in turn.waiting:
            unit = self._units[part.request.unit]
            if unit.number in turn.later or (unit.resting and unit.rest.over(now)):
                turn.later.setdefault(unit.number, []).append(part)
            elif unit.resting:
                turn.group.bad(part, unit.status)
            elif not part.rest.over(now):
                turn.group.bad(part, part.status)
            else:
                ready.append(part)
        return ready

    def _slice(self, parts: list[Part]) -> list[Part]:
        """Return as many of the parts as can be read until a group is due."""
        slack = max(self._slack(), 0) / NS_PER_SECOND
        return parts[: max(1, int(slack / self._bus.typical))] if self._bus.typical else parts[:1]

    async def _read_all(
        self, turn: "_Turn", parts: Sequence[Part]
    ) -> tuple[Part | None, ExceptionReply | Unanswered | None]:
        """Ask for the first parts that wait and take their values; returns the first that failed, and why."""
        taken = 0

        def take(data: bytes) -> None:
            nonlocal taken
            self._good(turn.group, parts[taken], data)
            taken += 1

        asks = [(part.question, self._bus.timeout(part.request.unit)) for part in parts]
        failed: tuple[Part | None, ExceptionReply | Unanswered | None] = None, None
        try:
            if asks:
                await self._bus.ask_all(asks, take)
        except ExceptionReply as reply:
            failed = parts[taken], Unanswered.of(parts[taken].request.unit, reply) or reply
        except (Silent, WrongReply) as error:
            failed = parts[taken], Unanswered.of(parts[taken].request.unit, error)
        finally:
            del turn.waiting[: taken + (failed[0] is not None)]
        return failed

    def _good(self, group: Group, part: Part, data: bytes) -> None:
        self._units[part.request.unit].heard(part.question, self._bus.took)
        part.answer()
        group.good(part, data)

    async def _ask(self, question: Read) -> bytes:
        """Ask a unit in doubt; raises ExceptionReply, and Unanswered where it or its gateway gives no answer."""
        unit = self._units[question.unit]
        try:
            data = await self._bus.ask(question, self._patience(unit))
        except (ExceptionReply, Silent, WrongReply) as error:
            if (unanswered := Unanswered.of(question.unit, error)) is not None:
                raise unanswered from error
            unit.heard(None, 0.0)
            raise
        unit.heard(question, self._bus.took)
        return data

    async def _refused(self, group: Group, part: Part, reply: ExceptionReply) -> list[Part]:
        """Take an exception; returns what is to be asked in the part's place where it was halved."""
        self._units[part.request.unit].heard(None, 0.0)
        of_range = reply.code not in (*OF_A_TABLE, *BUSY)
        if of_range and await self._says_so_to_all(group, part, reply):
            group.bad(part, reply.status)
            part.refuse(reply.status, time.monotonic_ns())
            return []
        if of_range and self._halve(group, part, f"answers with {reply}"):
            return list(part.leaves())
        group.bad(part, reply.status)
        if part.single or not of_range:
            part.refuse(reply.status, time.monotonic_ns(), busy=reply.code in BUSY)
        return []

    async def _says_so_to_all(self, group: Group, part: Part, reply: ExceptionReply) -> bool:
        """Return whether a unit refuses each of three points of a range as well, when it first refuses the range.

        A controller whose program is loaded refuses everything for a while: its ranges need not be taken apart.
        """
        if len(part.rows) < SEVERAL or part.rest.pause or part.former or group.halvings < HALVINGS:
            return False
        rows = part.request.rows
        for row in (rows[0], rows[len(rows) // 2], rows[-1]):
            slot = group.slots[row]
            try:
                await self._ask(Read(slot.unit, slot.table, slot.address, slot.end - slot.address))
            except ExceptionReply as other:
                if other.code == reply.code:
                    continue
            except Unanswered:
                pass
            return False
        return True

    def _halve(self, group: Group, part: Part, why: str) -> bool:
        """Put smaller requests in a part's place; returns whether it could be, in this poll."""
        now = time.monotonic_ns()
        if part.former:  # it was halved before: that stands again
            return part.divide(group.slots, now)
        if group.halvings == 0 or part.single:
            return False
        group.halvings -= 1
        log.warning("source %s: unit %d %s to %s; it is read in halves", self._source.id, part.request.unit, why,
                    part.request)  # fmt: skip
        return part.divide(group.slots, now)

    async def _read_late(self, group: Group, unit: Unit, parts: list[Part], *, first: bool) -> None:
        """Read a unit that was silent or rests, once the others had their turn; what it does not say is bad.

        Of the units that rest one is asked in each poll, and more only while the others are not due.
        """
        waiting = deque(parts)
        asked = not unit.resting  # and it was silent in this very poll
        if asked or ((first or self._slack() > 0) and await self._is_back(unit)):
            while waiting and not unit.resting:
                part = waiting.popleft()
                tries = self._source.retries + (0 if asked else 1)
                asked = False
                waiting.extendleft(reversed(await self._read_again(group, part, tries)))
        for part in waiting:
            group.bad(part, unit.status)

    async def _is_back(self, unit: Unit) -> bool:
        """Return whether a unit that rests answers again; else it rests for longer."""
        try:
            await self._ask(unit.probe())
        except Unanswered as error:
            unit.rest_for(error)
        except ExceptionReply:
            return True
        return not unit.resting

    async def _read_again(self, group: Group, part: Part, tries: int) -> list[Part]:
        """Read a part in up to so many tries; returns what is to be asked in its place.

        After the last one either the range is at fault, where the unit answers another question, or the unit rests.
        """
        unit = self._units[part.request.unit]
        error = unit.doubt  # the first failure is the telling one: the tries behind it get less time
        for _ in range(tries):
            if not part.rest.over(time.monotonic_ns()):
                group.bad(part, part.status)
                return []
            try:
                self._good(group, part, await self._ask(part.question))
            except Unanswered as failed:
                error = error or failed
            except ExceptionReply as reply:
                return await self._refused(group, part, reply)
            else:
                return []
        # What was answered before is most likely not at fault; a second time it is looked at.
        trusted, part.trusted = part.trusted, False
        if trusted or not await self._answers_else(unit, part):
            error = error or Unanswered.silence(unit.number)
            told = unit.rest.longest
            unit.rest_for(error)
            if not told:
                log.warning("source %s: %s; its points are bad, and it is asked again in %.0f s",
                            self._source.id, error, unit.rest.pause / NS_PER_SECOND)  # fmt: skip
            group.bad(part, error.status)
            return []
        if self._halve(group, part, "does not answer"):
            return list(part.leaves())
        group.bad(part, BAD_TIMEOUT)
        if part.single:
            part.refuse(BAD_TIMEOUT, time.monotonic_ns())
        return []

    async def _answers_else(self, unit: Unit, part: Part) -> bool:
        """Return whether a unit answers something else, although it was silent to a part.

        Where nobody ever answered, two of its points are tried alone: the first range may be the one at fault.
        """
        tries = [unit.good] if unit.good is not None else []
        if not tries and all(other.silent for other in self._units.values() if other is not unit):
            tries = [unit.probe(), unit.probe()]
        for question in tries:
            if question == part.question:
                continue
            try:
                await self._ask(question)
            except Unanswered:
                continue
            except ExceptionReply:
                return True
            return True
        return False

    async def _see_who_is_left(self, group: Group) -> None:
        """Raise SourceLost where nobody behind the link answers.

        A unit that is read seldom is asked now, when all those failed that were asked: it tells a dead unit, or some,
        from a dead link.
        """
        if not all(self._units[number].silent for number in group.units):
            return
        for unit in self._units.values():
            if not unit.silent and await self._is_there(unit):
                return
        why = "; ".join(unit.why for unit in list(self._units.values())[:NAMED])
        raise SourceLost(f"source {self._source.id}: {why}, and no other unit answers")

    async def _is_there(self, unit: Unit) -> bool:
        """Return whether a unit, or its gateway for it, gives an answer; else it rests."""
        try:
            await self._ask(unit.good or unit.probe())
        except Unanswered as error:
            unit.rest_for(error)
            return not error.silent
        except ExceptionReply:
            return True
        return True

    def _patience(self, unit: Unit) -> float:
        """Return how long a unit in doubt may take to answer [s]: what the others leave, and sometimes all it wants."""
        whole = self._bus.timeout(unit.number)
        if len(self._units) == 1:
            return whole
        now = time.monotonic_ns()
        if unit.rest.longest and now >= self._whole_again and not self._waits_longer(unit):
            self._whole_again = unit.had_whole = now + WHOLE_NS
            return whole
        shortest = max(SHORTEST_S / 2, SLOWER * unit.slowest) if unit.slowest else SHORTEST_S
        return min(whole, max(self._slack() / NS_PER_SECOND, shortest))

    def _waits_longer(self, unit: Unit) -> bool:
        """Return whether another unit that rests for long waits longer for all the time it wants."""
        return any(other.rest.longest and other.had_whole < unit.had_whole for other in self._units.values())

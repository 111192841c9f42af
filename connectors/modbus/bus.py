"""What all units of one link share: its pace, its time, and how it comes back in step after a doubt.

Where frames have transaction numbers (TCP, TLS, UDP), a doubt ends with a new connection: what is late goes to the
old one. Frames of serial lines have none, and serial servers pass on what is late, even to the next connection. There
the line is drained, and the unit is asked something whose answer has another shape than any answer that it still owes,
and than the next one: units answer in order, so once that answer came, nothing older can come. A unit of which only
single registers are read is asked who it is; where it is silent to that too, time alone must tell.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from config.plant import Source
from config.units import NS_PER_SECOND
from connectors.base import SourceLost
from connectors.modbus.address import BIT_TABLES
from connectors.modbus.frames import ExceptionReply, Identify, Question, Read, WrongReply
from connectors.modbus.link import Closed, Link, Silent, make_link
from connectors.modbus.target import Target, parse_url

log = logging.getLogger("plantproof.modbus")

QUIET_S = 0.05
"""A serial line on which nothing came for so long is drained [s]; more on slow lines."""
WINDOW_NS = 10 * NS_PER_SECOND
"""Bus time is counted over so long [ns]."""
_FRAME = 256
"""The longest frame on a serial line [B]."""
_CLOSES = 3
"""So often in a row may the other side close the connection on a question before the link is lost."""
_SMOOTH = 20
_SHAPES = 4
"""So many questions of different answers are remembered for each unit."""


@dataclass(slots=True)
class _Window:
    """Bus time of the current window."""

    began: int
    ended: int = 0
    busy: int = 0
    requests: int = 0
    longest: float = 0.0


class Bus:
    """One link with its units, asked one question at a time."""

    def __init__(self, source: Source, faults: Counter[str]) -> None:
        """Take the source; raises ValueError where its URL is none."""
        self.target: Target = parse_url(source.url)
        self._source, self._faults = source, faults
        self._devices = {device.unit: device for device in source.device}
        self._timeout = source.timeout / NS_PER_SECOND
        self._paced = bool(self.target.silence or source.pause or any(device.pause for device in source.device))
        self._link: Link | None = None
        self._closes = 0
        """So often in a row the other side closed the connection instead of answering."""
        self.typical = 0.0
        """How long an answer takes of late [s]."""
        self._owed: dict[int, set[tuple[int, int]]] = {}
        """Shapes of answers that may still come, by unit; none: nobody knows which."""
        self._given_up: dict[int, tuple[float, tuple[int, int]]] = {}
        """When a unit's last question was given up, by the loop's clock [s], and its answer's shape."""
        self._mute: set[int] = set()
        """Units that answer, but not who they are."""
        self._who_late: set[int] = set()
        """Units whose answer to who they are may still come."""
        self._answered: dict[int, dict[tuple[int, int], Read]] = {}
        """Questions that a unit did answer, by shape."""
        self._window = _Window(time.monotonic_ns())
        self._last: _Window | None = None
        self._times: deque[float] = deque(maxlen=1000)

    async def open(self) -> None:
        """Connect, and wait as long as the device wants after that; raises SourceLost or SourceRefused."""
        self.close()
        self._link = make_link(self._source, self.target, self._faults)
        await self._link.open(self._timeout)
        if self._source.pause_after_connect:
            await asyncio.sleep(self._source.pause_after_connect / NS_PER_SECOND)

    @property
    def took(self) -> float:
        """How long the last answer took [s]."""
        return self._link.took if self._link is not None else 0.0

    def doubt(self, units: Iterable[int]) -> None:
        """Take it for possible that units owe answers to questions of the link before this one."""
        for unit in units if self.target.framed_as_rtu else ():
            self._owed.setdefault(unit, set())

    def close(self) -> None:
        """Let go of the link."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def timeout(self, unit: int) -> float:
        """Return how long a unit may take to answer [s], its bytes' way over a serial line included."""
        device = self._devices.get(unit)
        own = device.timeout / NS_PER_SECOND if device is not None else 0.0
        return (own or self._timeout) + self.target.wire_time(_FRAME)

    async def ask(self, question: Question, patience: float) -> bytes:
        """Return the data of the answer to a question, waiting up to `patience` [s].

        Raises ExceptionReply where the unit says no, Silent or WrongReply where it did not answer (the link is then
        in step again), and SourceLost where the link is gone.
        """
        link = await self._in_step()
        if question.unit in self._owed:
            return await self._ask_in_doubt(link, question, patience)
        return await self._once(link, question, patience)

    async def ask_all(self, asks: Sequence[tuple[Question, float]], take: Callable[[bytes], None]) -> None:
        """Ask one question after another, each with its patience [s]; `take` gets the data of each answer.

        The first that fails ends it; raises as `ask`.
        """
        if not asks:
            return
        if self._paced or not self._owed.keys().isdisjoint(question.unit for question, _ in asks):
            for question, patience in asks:
                take(await self.ask(question, patience))
            return
        link = await self._in_step()
        began = time.monotonic_ns()
        try:
            await link.ask_all(asks, take)
        except (Silent, WrongReply) as error:
            at = link.position
            await self._doubt(asks[at][0], error)
            if not self._is_anothers(error):
                raise
            take(await self._once(link, *asks[at], again=True))
            await self.ask_all(asks[at + 1 :], take)
        except Closed as error:
            raise await self._closed(link, asks[link.position][0], error) from error
        finally:
            self._count(link, began)
        self._remember(question for question, _ in asks)

    def figures(self) -> dict[str, float | int]:
        """Return the bus time for status: its share, requests a second, and how long one takes."""
        now = time.monotonic_ns()
        self._roll(now)
        window = self._last or self._window
        span = max((window.ended or now) - window.began, 1)
        ordered = sorted(self._times)
        middle = ordered[len(ordered) // 2] if ordered else 0.0
        return {
            "bus_time": round(window.busy / span, 4),
            "requests_per_s": round(window.requests * NS_PER_SECOND / span, 2),
            "request_ms": round(middle * 1e3, 2),
            "longest_ms": round(window.longest * 1e3, 2),
        }

    async def _in_step(self) -> Link:
        if self._link is None:
            raise SourceLost(f"source {self._source.id} is closed")
        if self._link.broken:  # closed while nothing was asked, as gateways do to quiet clients: no loss
            await self.open()
        elif self._link.dirty:
            await self._recover()
        return self._link

    async def _once(self, link: Link, question: Question, patience: float, *, again: bool = False) -> bytes:
        """Ask a question, and once again at once where another unit's late answer came instead."""
        began = time.monotonic_ns()
        await self._pace(link, question.unit)
        try:
            answer = await link.ask(question, patience)
        except (Silent, WrongReply) as error:
            await self._doubt(question, error)
            if again or not self._is_anothers(error):
                raise
            return await self._once(link, question, patience, again=True)
        except Closed as error:
            raise await self._closed(link, question, error) from error
        finally:
            self._count(link, began)
        self._remember([question])
        return answer

    def _remember(self, questions: Iterable[Question]) -> None:
        """Keep a few questions that were answered, to tell a unit's answers apart after a doubt."""
        for question in questions if self.target.framed_as_rtu else ():
            known = self._answered.setdefault(question.unit, {})
            if isinstance(question, Read) and len(known) < _SHAPES:
                known.setdefault(question.shape, question)

    def _is_anothers(self, error: Silent | WrongReply) -> bool:
        """Return whether it was another unit's late answer that came, which says nothing of the one that was asked."""
        return self.target.framed_as_rtu and isinstance(error, WrongReply) and error.what == "unit"

    async def _closed(self, link: Link, question: Question, error: Closed) -> Exception:
        """Return what it means that the other side closed the connection on a question.

        Some gateways and controllers do so where they do not know a unit or a register: it is that question's failure.
        """
        self._closes = 1 if link.times else self._closes + 1
        if self.target.serial or self._closes >= _CLOSES:
            return error
        await self.open()
        self.doubt([question.unit])
        return Silent(f"unit {question.unit}: {error}")

    async def _doubt(self, question: Question, error: Silent | WrongReply) -> None:
        """Note a question without its answer, and bring the link in step."""
        if isinstance(error, WrongReply):
            self._faults[f"a reply was refused for its {error.what}"] += 1
            log.warning("source %s, unit %d: refused a reply: %s", self._source.id, question.unit, error)
        if self.target.framed_as_rtu:
            self._owed.setdefault(question.unit, set()).add(question.shape)
            self._given_up[question.unit] = asyncio.get_running_loop().time(), question.shape
        await self._recover()

    async def _pace(self, link: Link, unit: int) -> None:
        """Wait until the line was quiet for as long as the standard, the source or the unit wants."""
        device = self._devices.get(unit)
        pause = max(self._source.pause, device.pause if device is not None else 0) / NS_PER_SECOND
        pause = max(pause, self.target.silence)
        if pause and (rest := link.heard + pause - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(rest)

    async def _recover(self) -> None:
        """Bring the link in step after a doubt."""
        if not self.target.framed_as_rtu:
            await self.open()
        elif self._link is not None:
            quiet = max(QUIET_S, self.target.wire_time(40))
            await self._link.quiet(quiet, max(1.0, self._timeout))

    async def _ask_in_doubt(self, link: Link, question: Question, patience: float) -> bytes:
        """Ask a unit that may owe answers."""
        unit, on_new_link = question.unit, not self._owed[question.unit]
        try:
            proven = await self._fence(link, question, patience)
        except Silent:
            if not on_new_link:
                raise
            # Nothing is owed as far as is known, and what it does not know some device is silent to.
            is_mute = Identify(unit, 1).shape in self._owed.pop(unit)
            answer = await self._once(link, question, patience)
            self._mute |= {unit} if is_mute else set()
            return answer
        answer = await self._once(link, question, patience)
        if not proven and isinstance(question, Read) and not await self._confirm(link, unit, patience):
            answer = await self._once(link, question, patience)  # the other one is old by now
        return answer

    async def _fence(self, link: Link, question: Question, patience: float) -> bool:
        """Make sure that nothing that `question.unit` owes can still come; returns False where only time tells.

        Raises as `ask`.
        """
        owed = self._owed[question.unit]
        while (fence := self._unlike(question)) is not None:
            try:
                await self._once(link, fence, patience)
            except ExceptionReply:
                if isinstance(fence, Read):  # it may itself be what was owed
                    owed.update(one.shape for one in self._reads(question))
                    self._given_up[question.unit] = asyncio.get_running_loop().time(), fence.shape
                    continue
            break
        else:
            given_up, _ = self._given_up.get(question.unit, (0.0, None))
            if Identify(question.unit, 1).shape in owed:
                self._who_late.add(question.unit)
            await link.quiet(given_up + patience - asyncio.get_running_loop().time(), 2 * patience)
        del self._owed[question.unit]
        return fence is not None

    async def _confirm(self, link: Link, unit: int, patience: float) -> bool:
        """Return whether what a unit just answered is new, False where it is silent to who it is and took its time.

        Raises WrongReply where it was an older answer.
        """
        if unit in self._mute:
            return True  # as far as can be told
        if unit in self._who_late:  # its answer to that may come from before
            self._who_late.discard(unit)
            return False
        try:
            await self._once(link, Identify(unit, 1), patience)
        except Silent:
            self._mute.add(unit)
            del self._owed[unit]
            return False
        except ExceptionReply:
            return True
        return True

    def _unlike(self, question: Question) -> Question | None:
        """Return a question of the same unit whose answer has another shape than this one's and all that are owed."""
        owed = self._owed[question.unit]
        for one in self._reads(question):
            if one.shape != question.shape and one.shape not in owed:
                return one
        who = Identify(question.unit, 1)
        if who.shape == question.shape or question.unit in self._mute:
            return None
        _, last = self._given_up.get(question.unit, (0.0, None))
        return who if who.shape not in owed or last == question.shape else None

    def _reads(self, question: Question) -> list[Read]:
        """Return what the same unit answered, and parts of a question."""
        found = list(self._answered.get(question.unit, {}).values())
        if isinstance(question, Read):
            step = 8 if question.table in BIT_TABLES else 1
            found += [replace(question, count=n) for n in range(question.count - step, 0, -step)]
        return found

    def _count(self, link: Link, began: int) -> None:
        now = time.monotonic_ns()
        self._roll(now)
        self._window.busy += now - began
        self._window.requests += max(len(link.times), 1)
        self._window.longest = max(self._window.longest, *link.times, 0.0)
        self._times.extend(link.times)
        for took in link.times:
            self.typical += (took - self.typical) / (_SMOOTH if self.typical else 1)
        link.times.clear()

    def _roll(self, now: int) -> None:
        if now - self._window.began >= WINDOW_NS:
            self._window.ended = now
            self._last, self._window = self._window, _Window(now)

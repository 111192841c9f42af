"""What all units of one link share: its pace, its time, and how it comes back in step after a doubt.

Where frames have transaction numbers (TCP, TLS, UDP), a doubt ends with a new connection: what is late goes to the
old one. Frames of serial lines have none, and serial servers pass on what is late, even to the next connection. There
the line is drained, and a question is asked only when no answer of its shape may still come (owed.py); until then the
unit is asked something else: what it answered in another length, less of the same, who it is, or more.
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
from connectors.modbus.address import BIT_TABLES, LAST
from connectors.modbus.frames import ExceptionReply, Identify, Question, Read, WrongReply
from connectors.modbus.link import Closed, Link, Silent, make_link
from connectors.modbus.owed import Owed, owed_on
from connectors.modbus.plan import limits_of
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
"""How many answers `typical` looks back, about."""
_GATEWAY = 4
"""So many of our timeouts a gateway may wait for a silent unit: its own timeout, with three tries more."""
_FENCES = 3
"""So many other questions are tried, where a unit refuses them."""
_LOG_EVERY = 1000
"""Of so many refused replies of a kind one is told in the log; status and the ledger count each."""
_MORE = 4
"""So many registers more than wanted are asked for, where nothing else tells answers apart."""
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
        self._owed: Owed | None = owed_on(self.target.name) if self.target.framed_as_rtu else None
        self._stuck: tuple[int, float] | None = None
        """The unit that was silent last, and until when its gateway may wait for it, by the loop's clock [s]."""
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

    async def ask(self, question: Question, patience: float, *, again: bool = False) -> bytes:
        """Return the data of the answer to a question, waiting up to `patience` [s].

        Where another unit's late answer came instead, it is asked once more at once, unless this is `again`.
        Raises ExceptionReply where the unit says no, Silent or WrongReply where it did not answer (the link is then
        in step again), and SourceLost where the link is gone.
        """
        link = await self._in_step()
        if self._owed is not None and question.shape in self._owed.shapes(question.unit, self.timeout(question.unit)):
            await self._fence(link, question, patience)
        try:
            return await self._once(link, question, patience)
        except WrongReply as error:
            if again or not self._is_anothers(error):
                raise
        return await self.ask(question, patience, again=True)

    async def ask_all(self, asks: Sequence[tuple[Question, float]], take: Callable[[bytes], None]) -> None:
        """Ask one question after another, each with its patience [s]; `take` gets the data of each answer.

        The first that fails ends it; raises as `ask`.
        """
        if not asks:
            return
        if self._paced or (self._owed is not None and any(question.unit in self._owed for question, _ in asks)):
            for question, patience in asks:
                take(await self.ask(question, patience))
            return
        link = await self._in_step()
        began = time.monotonic_ns()
        try:
            await link.ask_all(asks, take, grace=self._grace(asks[0][0].unit))
            self._heard()
        except ExceptionReply:
            self._heard()
            raise
        except (Silent, WrongReply) as error:
            at = link.position
            if at:
                self._heard()
            await self._doubt(asks[at][0], error)
            if not self._is_anothers(error):
                raise
            take(await self.ask(*asks[at], again=True))
            await self.ask_all(asks[at + 1 :], take)
        except Closed as error:
            at = link.position
            if at:
                self._heard()
            raise await self._closed(asks[at][0], error) from error
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

    async def _once(self, link: Link, question: Question, patience: float) -> bytes:
        began = time.monotonic_ns()
        await self._pace(link, question.unit)
        try:
            answer = await link.ask(question, patience, grace=self._grace(question.unit))
        except ExceptionReply:
            self._heard()
            if self._owed is not None:
                self._owed.refused(question.unit, question.shape)
            raise
        except (Silent, WrongReply) as error:
            await self._doubt(question, error)
            raise
        except Closed as error:
            raise await self._closed(question, error) from error
        finally:
            self._count(link, began)
        self._heard()
        if self._owed is not None:
            self._owed.answered(question.unit)
        self._remember([question])
        return answer

    def _heard(self) -> None:
        """Note that somebody answered: nothing is stuck, and a close is none in a row."""
        self._stuck, self._closes = None, 0

    def _remember(self, questions: Iterable[Question]) -> None:
        """Keep a few questions that were answered, to tell a unit's answers apart after a doubt."""
        for question in questions if self.target.framed_as_rtu else ():
            known = self._answered.setdefault(question.unit, {})
            if isinstance(question, Read) and len(known) < _SHAPES:
                known.setdefault(question.shape, question)

    def _is_anothers(self, error: Silent | WrongReply) -> bool:
        """Return whether it was another unit's late answer that came, which says nothing of the one that was asked."""
        return self.target.framed_as_rtu and isinstance(error, WrongReply) and error.what == "unit"

    async def _closed(self, question: Question, error: Closed) -> Exception:
        """Return what it means that the other side closed the connection on a question.

        Some gateways and controllers do so where they do not know a unit or a register: it is that question's failure.
        """
        self._closes += 1
        if self.target.serial or self._closes >= _CLOSES:
            return error
        if self._owed is not None:
            self._owed.add(question.unit, question.shape)
        await self.open()
        return Silent(f"unit {question.unit}: {error}")

    async def _doubt(self, question: Question, error: Silent | WrongReply) -> None:
        """Note a question without its answer, and bring the link in step."""
        if isinstance(error, WrongReply):
            fault = f"a reply was refused for its {error.what}"
            self._faults[fault] += 1
            if self._faults[fault] % _LOG_EVERY == 1:
                words = self._source.id, question.unit, error, self._faults[fault]
                log.warning("source %s, unit %d: refused a reply: %s (such a reply number %d)", *words)
        if self._owed is not None:
            self._owed.add(question.unit, question.shape)
        elif isinstance(error, Silent) and self._stuck is None:
            now = asyncio.get_running_loop().time()
            self._stuck = question.unit, now + _GATEWAY * self.timeout(question.unit)
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

    def _grace(self, unit: int) -> float:
        """Return how much longer than others a unit may take, as its gateway may still wait for another [s].

        Gateways ask a silent unit again, each time with a timeout of their own, and what is asked meanwhile waits.
        """
        if self._stuck is None or self._stuck[0] == unit:
            return 0.0
        return max(0.0, self._stuck[1] - asyncio.get_running_loop().time())

    async def _fence(self, link: Link, question: Question, patience: float) -> None:
        """Ask a unit, of which an answer like that to `question` may still come, something else until it answers.

        Raises Silent and WrongReply where it does not, and Silent where there is nothing else to ask.
        """
        for _ in range(_FENCES):
            fence = self._unlike(question)
            if fence is None:
                break
            try:
                await self._once(link, fence, patience)
            except ExceptionReply:
                if isinstance(fence, Read):
                    continue  # it may itself have been owed
                if self._owed is not None:
                    self._owed.answered(question.unit)
            return
        raise Silent(f"unit {question.unit} may still give an older answer; it is asked again when that cannot come")

    def _unlike(self, question: Question) -> Question | None:
        """Return a question to the same unit whose answer has another shape than any that may still come."""
        unit = question.unit
        owed = self._owed.shapes(unit, self.timeout(unit)) if self._owed is not None else set()
        candidates: list[Question] = [*self._answered.get(unit, {}).values()]
        if isinstance(question, Read):
            step = 8 if question.table in BIT_TABLES else 1
            candidates += [replace(question, count=n) for n in range(question.count - step, 0, -step)]
            candidates.append(Identify(unit, 1))
            limits = limits_of(self._source, unit)
            for more in range(question.count + step, question.count + (_MORE + 1) * step, step):
                end = question.address + more
                if end <= LAST + 1 and not limits.touches(question.table, question.address, end):
                    candidates.append(replace(question, count=more))
        return next((one for one in candidates if one.shape not in owed), None)

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

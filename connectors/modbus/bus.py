"""What all units of one link share: its pace, its time, and how it comes back in step after a doubt.

Where frames have transaction numbers (TCP, TLS, UDP), a doubt ends with a new connection: what is late goes to the
old one. Frames of serial lines have none, and serial servers pass on what is late. There the line is drained, and
the unit is asked something whose answer has another length than any answer that it still owes: units answer in
order, so once that answer came, nothing older can come.
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
from connectors.modbus.frames import ExceptionReply, Question, Read, WrongReply
from connectors.modbus.link import Link, Silent, make_link
from connectors.modbus.target import Target, parse_url

log = logging.getLogger("plantproof.modbus")

QUIET_S = 0.05
"""A serial line on which nothing came for so long is drained [s]; more on slow lines."""
WINDOW_NS = 10 * NS_PER_SECOND
"""Bus time is counted over so long [ns]."""
_FRAME = 256
"""The longest frame on a serial line [B]."""
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
        self._owed: dict[int, set[tuple[int, int]]] = {}
        """Shapes of answers that may still come, by unit."""
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
            await self._fence(link, question, patience)
        return await self._once(link, question, patience)

    async def ask_all(self, asks: Sequence[tuple[Question, float]], take: Callable[[bytes], None]) -> None:
        """Ask one question after another, each with its patience [s]; `take` gets the data of each answer.

        The first that fails ends it; raises as `ask`.
        """
        if self._paced or not self._owed.keys().isdisjoint(question.unit for question, _ in asks):
            for question, patience in asks:
                take(await self.ask(question, patience))
            return
        link = await self._in_step()
        began = time.monotonic_ns()
        try:
            await link.ask_all(asks, take)
        except (Silent, WrongReply) as error:
            await self._doubt(link.asked, error)
            raise
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
            answer = await link.ask(question, patience)
        except (Silent, WrongReply) as error:
            await self._doubt(question, error)
            raise
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

    async def _doubt(self, question: Question, error: Silent | WrongReply) -> None:
        """Note a question without its answer, and bring the link in step."""
        if isinstance(error, WrongReply):
            self._faults[f"a reply was refused for its {error.what}"] += 1
            log.warning("source %s, unit %d: refused a reply: %s", self._source.id, question.unit, error)
        if self.target.framed_as_rtu:
            self._owed.setdefault(question.unit, set()).add(question.shape)
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

    async def _fence(self, link: Link, question: Question, patience: float) -> None:
        """Make sure that nothing that `question.unit` owes can still come."""
        fence = self._unlike(question)
        try:
            if fence is None:
                await link.quiet(patience, 2 * patience)
            else:
                await self._once(link, fence, patience)
        except ExceptionReply:
            await link.quiet(patience, 2 * patience)  # it may itself be what was owed: only time tells
        self._owed.pop(question.unit, None)

    def _unlike(self, question: Question) -> Read | None:
        """Return a question of the same unit whose answer has none of the lengths that are owed."""
        owed = self._owed[question.unit]
        candidates = list(self._answered.get(question.unit, {}).values())
        if isinstance(question, Read):
            step = 8 if question.table in BIT_TABLES else 1
            candidates += [replace(question, count=n) for n in range(question.count - step, 0, -step)]
        return next((one for one in candidates if one.shape not in owed), None)

    def _count(self, link: Link, began: int) -> None:
        now = time.monotonic_ns()
        self._roll(now)
        self._window.busy += now - began
        self._window.requests += max(len(link.times), 1)
        self._window.longest = max(self._window.longest, *link.times, 0.0)
        self._times.extend(link.times)
        link.times.clear()

    def _roll(self, now: int) -> None:
        if now - self._window.began >= WINDOW_NS:
            self._window.ended = now
            self._last, self._window = self._window, _Window(now)

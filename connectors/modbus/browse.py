"""What stands behind a Modbus link: which units answer, who they say they are, and what they hold; only ever read."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from config.plant import Source
from connectors.base import SourceLost
from connectors.modbus import scan, sunspec
from connectors.modbus.address import BIT_TABLES
from connectors.modbus.bus import Bus
from connectors.modbus.frames import ExceptionReply, Identify, Question, Read, WrongReply
from connectors.modbus.identify import Ask, Identity, identify
from connectors.modbus.link import Silent
from connectors.modbus.scan import Scanned, Span

MANY = 5
"""From so many units on it is said how long silent ones take."""


@dataclass(slots=True)
class Unit:
    """One unit of the link."""

    number: int
    present: bool = False
    """Whether it answered, be it with an exception."""
    identity: Identity = field(default_factory=Identity)
    note: str = ""
    """Why nothing is known of it, or less than it may have; empty: nothing is missing."""
    doubtful: bool = False
    """Whether what it said made no sense somewhere."""
    chain: sunspec.Chain | None = None
    scans: list[Scanned] = field(default_factory=list)


@dataclass(slots=True)
class Found:
    """What was found behind a link."""

    units: list[Unit] = field(default_factory=list)
    lost: str = ""
    """Why the link was gone before everything was asked; empty: it was not."""
    cut: bool = False
    """Whether more registers were to be scanned than the limit allows."""

    @property
    def present(self) -> list[Unit]:
        """The units that answered."""
        return [unit for unit in self.units if unit.present]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to look for."""

    units: Sequence[int]
    spans: Sequence[Span] = ()
    """Registers to scan."""
    sunspec: bool = False
    rate: float = 5.0
    """Requests a second at most."""
    limit: int = 100_000
    """Registers to scan at most."""


class Pace:
    """Lets questions through, each a while after the one before."""

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`rate`: so many a second at most."""
        self._every = 1 / rate
        self._clock, self._sleep = clock, sleep
        self._next = clock()

    async def wait(self) -> None:
        """Return when the next question may go."""
        if (rest := self._next - self._clock()) > 0:
            await self._sleep(rest)
        self._next = self._clock() + self._every


def asker(bus: Bus, pace: Pace) -> Ask:
    """Return how one question is asked over a bus: a connection that a device closes is opened once more."""

    async def ask(question: Question) -> bytes:
        await pace.wait()
        try:
            return await bus.ask(question, bus.timeout(question.unit))
        except SourceLost as error:
            await bus.open()
            raise Silent(f"unit {question.unit}: {error}") from error

    return ask


async def browse(source: Source, wanted: Wanted, tell: Callable[[str], None]) -> Found:
    """Return what stands behind a source's link; `tell` takes what is about to be asked, in words.

    Raises SourceLost where no link can be made, and SourceRefused where a person must act first.
    """
    bus = Bus(source, Counter())
    found = Found()
    try:
        await bus.open()
        ask = asker(bus, Pace(wanted.rate))
        if len(wanted.units) >= MANY:
            tell(_patience(wanted, bus))
        try:
            await _look(ask, wanted, found, tell)
        except SourceLost as error:
            found.lost = str(error)
    finally:
        bus.close()
    return found


async def _look(ask: Ask, wanted: Wanted, found: Found, tell: Callable[[str], None]) -> None:
    for number in wanted.units:
        found.units.append(Unit(number))
        await _meet(ask, found.units[-1])
    present = {unit.number: unit for unit in found.present}
    for unit in present.values() if wanted.sunspec else ():
        unit.chain = await sunspec.walk(ask, unit.number)
    spans = [span for span in wanted.spans if span.unit in present]
    kept = scan.within(spans, wanted.limit)
    found.cut = sum(span.count for span in kept) < sum(span.count for span in spans)
    if kept:
        tell(_announced(kept, wanted.rate))
    for span in kept:
        unit, scanned = present[span.unit], Scanned(span)
        unit.scans.append(scanned)
        await scan.scan(ask, scanned, _known(unit))


async def _meet(ask: Ask, unit: Unit) -> None:
    """Find out whether a unit is there, and who it is."""
    try:
        unit.identity = await identify(ask, unit.number)
        unit.present, unit.note = True, unit.identity.note
        unit.doubtful = bool(unit.note)
    except ExceptionReply as reply:
        unit.present = reply.code not in scan.GATEWAY
        unit.note = f"does not identify itself: {reply}" if unit.present else str(reply)
    except (Silent, WrongReply) as error:
        # Some devices never answer what they do not know, against the standard; a read they do know.
        unit.present = await scan.answers(ask, _known(unit))
        unit.doubtful = unit.present and isinstance(error, WrongReply)
        about = "its identification makes no sense" if unit.doubtful else "does not identify itself"
        unit.note = f"{about}: {error}" if unit.present else str(error)


def _known(unit: Unit) -> Question:
    """Return a question that a unit answers if it is there."""
    return Identify(unit.number, 1) if unit.identity.objects else Read(unit.number, "holding", 0, 2)


def _patience(wanted: Wanted, bus: Bus) -> str:
    longest = 2 * sum(bus.timeout(number) + 1 / wanted.rate for number in wanted.units)
    return f"asks {len(wanted.units)} units; where nobody answers, all take up to {duration(longest)}"


def _announced(spans: Sequence[Span], rate: float) -> str:
    requests = sum(len(list(scan.blocks(span, scan.SIZE))) for span in spans)
    what = "bit" if all(span.table in BIT_TABLES for span in spans) else "register"
    return (
        f"reads {', '.join(str(span) for span in spans)}: {_counted(sum(span.count for span in spans), what)} in "
        f"{_counted(requests, 'request')}, {duration(requests / rate)} at {rate:g} a second; longer where a range is "
        "refused or silent"
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a duration as a person says it, rounded up."""
    return f"{math.ceil(seconds)} s" if seconds <= 120 else f"{math.ceil(seconds / 60)} min"

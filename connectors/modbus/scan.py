"""Which registers of a range can be read: a few at a time, and halved where a device refuses or is silent."""

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from connectors.modbus.address import BIT_TABLES
from connectors.modbus.frames import ExceptionReply, Question, Read, WrongReply
from connectors.modbus.identify import Ask
from connectors.modbus.link import Silent

SIZE = 10
"""So many registers or bits are asked for at once."""
SILENCES = 8
"""After so many silences in a row the unit is asked something that it answered before."""
GATEWAY = (10, 11)
"""Exception codes by which a gateway says that a unit does not answer."""
AT_FAULT = (1, 2, 3, 4)
"""Exception codes that a single register of a range can cause."""
GONE = "no answer, not even to what was answered before; asked no further"


@dataclass(frozen=True, slots=True)
class Span:
    """Registers or bits of one unit that lie side by side."""

    unit: int
    table: str
    first: int
    count: int

    def __str__(self) -> str:
        """Return the span as an address, `3/holding:10-29`."""
        last = f"-{self.first + self.count - 1}" if self.count > 1 else ""
        return f"{self.unit}/{self.table}:{self.first}{last}"


@dataclass(frozen=True, slots=True)
class Refused:
    """A span that cannot be read, and why."""

    span: Span
    why: str


@dataclass(slots=True)
class Scanned:
    """What a span holds."""

    span: Span
    values: dict[int, int] = field(default_factory=dict)
    """Raw value by address."""
    refused: list[Refused] = field(default_factory=list)

    def refuse(self, span: Span, why: str) -> None:
        """Note a span that cannot be read; it joins the one before it where the reason is the same."""
        last = self.refused[-1] if self.refused else None
        if last is not None and last.why == why and last.span.first + last.span.count == span.first:
            span = replace(span, first=last.span.first, count=last.span.count + span.count)
            self.refused.pop()
        self.refused.append(Refused(span, why))

    def from_on(self, part: Span) -> Span:
        """Return what begins where a part of the span does, and ends with the span."""
        return replace(part, count=self.span.first + self.span.count - part.first)

    def pair(self, address: int) -> bytes | None:
        """Return the four bytes of a register and the one behind it; None where either cannot be read."""
        if self.span.table in BIT_TABLES or address not in self.values or address + 1 not in self.values:
            return None
        return struct.pack(">HH", self.values[address], self.values[address + 1])


def within(spans: Sequence[Span], limit: int) -> list[Span]:
    """Return the first `limit` registers and bits of some spans."""
    kept = []
    for span in spans:
        if limit > 0:
            kept.append(replace(span, count=min(span.count, limit)))
            limit -= span.count
    return kept


def blocks(span: Span, size: int) -> Iterator[Span]:
    """Yield a span in pieces of up to `size`."""
    for first in range(span.first, span.first + span.count, size):
        yield replace(span, first=first, count=min(size, span.first + span.count - first))


def halves(span: Span) -> tuple[Span, Span]:
    """Return the two parts of a span; the first is even, as many a device refuses to tear a value of two registers."""
    left = (span.count // 2 + 1) // 2 * 2 if span.count > 2 else 1
    return replace(span, count=left), replace(span, first=span.first + left, count=span.count - left)


async def scan(ask: Ask, found: Scanned, known: Question) -> None:
    """Read what the registers of a span hold.

    known: what the unit did answer, and is asked again where it seems to have gone. Raises SourceLost.
    """
    waiting, silences = deque(blocks(found.span, SIZE)), 0
    while waiting:
        part = waiting.popleft()
        try:
            found.values |= await _read(ask, part)
        except (ExceptionReply, Silent, WrongReply) as error:
            silences = silences + 1 if _silent(error) else 0
            gone = silences > 0 and silences % SILENCES == 0 and not await answers(ask, known)
            if gone or _no_such_table(error, found):
                found.refuse(found.from_on(part), GONE if gone else str(error))
                break
            if part.count > 1 and (_silent(error) or _at_fault(error)):
                waiting.extendleft(reversed(halves(part)))
            else:
                found.refuse(part, _why(error))
        else:
            silences = 0


async def _read(ask: Ask, part: Span) -> dict[int, int]:
    data = await ask(Read(part.unit, part.table, part.first, part.count))
    if part.table in BIT_TABLES:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return {part.first + n: int(bits[n]) for n in range(part.count)}
    return dict(enumerate(struct.unpack(f">{part.count}H", data), part.first))


async def answers(ask: Ask, question: Question) -> bool:
    """Return whether a unit answers, be it with an exception of its own."""
    try:
        await ask(question)
    except ExceptionReply as reply:
        return reply.code not in GATEWAY
    except (Silent, WrongReply):
        return False
    return True


def _silent(error: Exception) -> bool:
    return not isinstance(error, ExceptionReply) or error.code in GATEWAY


def _at_fault(error: Exception) -> bool:
    return isinstance(error, ExceptionReply) and error.code in AT_FAULT


def _no_such_table(error: Exception, found: Scanned) -> bool:
    return isinstance(error, ExceptionReply) and error.code == 1 and not found.values


def _why(error: Exception) -> str:
    if isinstance(error, ExceptionReply):
        return str(error)
    return "no answer" if isinstance(error, Silent) else "no answer that makes sense"

"""Requests that can fail in part: a range that a device refuses is halved until the registers at fault stand alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from config.units import NS_PER_SECOND
from connectors.modbus.frames import Read
from connectors.modbus.plan import Request, Slot, halves
from connectors.modbus.units import Rest

REJOIN_NS = 600 * NS_PER_SECOND
"""A range that was halved is tried whole again after this: a PLC's program changes [ns]."""
HALVINGS = 8
"""So many ranges are halved in one poll, so that the rest of it is not late."""
_REFUSED_NS = 10 * NS_PER_SECOND
_BUSY_NS = NS_PER_SECOND
BUSY = (5, 6)
"""Exception codes that pass by themselves."""
RANGE_AT_FAULT = (2, 3, 4)
"""Exception codes that a single register of a range can cause."""


@dataclass(slots=True, kw_only=True)
class Part:
    """One request, or, once it was halved, those in its place."""

    request: Request
    question: Read
    rows: NDArray[np.intp]
    """Rows of the slots that it fills."""
    at: int
    """Where its data goes in the poll's buffer; a register takes two bytes, a bit one."""
    number: int = -1
    """Its place among the poll's times and statuses; below 0: none yet."""
    halves: "list[Part]" = field(default_factory=list)
    former: "list[Part]" = field(default_factory=list)
    """Its halves, while it is tried whole again."""
    halved: int = 0
    """When it was halved [ns, monotonic]."""
    answered: bool = False
    """Whether it ever brought values."""
    status: int = 0
    """Why it rests."""
    rest: Rest = field(default_factory=lambda: Rest(_REFUSED_NS))

    def leaves(self) -> "Iterator[Part]":
        """Yield what is to be asked in its place."""
        if self.halves:
            for half in self.halves:
                yield from half.leaves()
        else:
            yield self

    def rejoin(self, now: int) -> None:
        """Try the whole range again, once the last try is long ago; `divide` puts the known halves back."""
        if self.halves and now - self.halved > REJOIN_NS:
            self.former, self.halves, self.number = self.halves, [], -1

    def divide(self, slots: Sequence[Slot], now: int) -> bool:
        """Put two requests in its place; returns whether it has two slots or more."""
        if self.former:
            self.halves, self.former, self.halved = self.former, [], now
            for leaf in self.leaves():
                leaf.number = -1
            return True
        requests = halves(slots, self.request)
        if len(requests) > 1:
            width = 1 if self.request.table in ("coil", "discrete") else 2
            self.halved = now
            self.halves = [part_of(r, self.at + width * (r.address - self.request.address)) for r in requests]
        return bool(self.halves)

    def answer(self) -> None:
        """Note that it was answered."""
        self.answered, self.former, self.status = True, [], 0
        self.rest.end()

    def refuse(self, status: int, now: int, *, busy: bool = False) -> None:
        """Let it rest with a status."""
        self.status = status
        if busy:
            self.rest.until = now + _BUSY_NS
        else:
            self.rest.lengthen(now)


def part_of(request: Request, at: int) -> Part:
    """Return a request as a part that fills the buffer from `at` on."""
    question = Read(request.unit, request.table, request.address, request.count)
    return Part(request=request, question=question, rows=np.array(request.rows, np.intp), at=at)

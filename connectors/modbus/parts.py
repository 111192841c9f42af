"""Requests that can fail in part: a range that a device refuses is halved until the registers at fault stand alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from config.units import NS_PER_SECOND
from connectors.modbus.address import BIT_TABLES
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


@dataclass(slots=True, kw_only=True)
class Part:
    """One request, or, once it was halved, those in its place."""

    request: Request
    question: Read
    rows: NDArray[np.intp]
    """Rows of the slots that it fills."""
    at: int
    """Where its data goes in the poll's buffer; a register takes two bytes, a bit one."""
    single: bool
    """Whether it cannot be halved: its slots lie in one another."""
    placed: bool = False
    """Whether the group knows that these rows are this part's now."""
    halves: "list[Part]" = field(default_factory=list)
    former: "list[Part]" = field(default_factory=list)
    """Its halves, while it is tried whole again."""
    halved: int = 0
    """When it was halved [ns, monotonic]."""
    trusted: bool = False
    """Whether it was answered since it last met with silence."""
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
            self.former, self.halves, self.placed = self.halves, [], False

    def divide(self, slots: Sequence[Slot], now: int) -> bool:
        """Put two requests in its place; returns whether that can be."""
        if self.former:
            self.halves, self.former, self.halved = self.former, [], now
            for leaf in self.leaves():
                leaf.placed = False
            return True
        requests = halves(slots, self.request)
        if len(requests) > 1:
            width = 1 if self.request.table in BIT_TABLES else 2
            self.halved = now
            self.halves = [part_of(slots, r, self.at + width * (r.address - self.request.address)) for r in requests]
        return bool(self.halves)

    def answer(self) -> None:
        """Note that it was answered."""
        self.former, self.status, self.trusted = [], 0, True
        self.rest.end()

    def refuse(self, status: int, now: int, *, busy: bool = False) -> None:
        """Let it rest with a status."""
        self.status = status
        if busy:
            self.rest.until = now + _BUSY_NS
        else:
            self.rest.lengthen(now)


def part_of(slots: Sequence[Slot], request: Request, at: int) -> Part:
    """Return a request as a part that fills the buffer from `at` on."""
    question = Read(request.unit, request.table, request.address, request.count)
    single = len(halves(slots, request)) == 1
    return Part(request=request, question=question, rows=np.array(request.rows, np.intp), at=at, single=single)

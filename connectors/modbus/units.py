"""Units behind one link: who answers, who rests, and who is asked again when."""

import random
import time
from dataclasses import dataclass, field

from config.units import NS_PER_SECOND
from connectors.modbus.frames import Read

REST_NS = (5 * NS_PER_SECOND, 60 * NS_PER_SECOND)
"""First and longest pause before what did not answer is asked again [ns]."""


@dataclass(slots=True)
class Rest:
    """A pause that doubles each time."""

    first: int = REST_NS[0]
    pause: int = 0
    until: int = 0

    def lengthen(self, now: int) -> None:
        """Begin the next pause at `now` [ns, monotonic]."""
        self.pause = min(max(2 * self.pause, self.first), REST_NS[1])
        self.until = now + self.pause

    def end(self) -> None:
        """Forget every pause."""
        self.pause = self.until = 0

    def over(self, now: int) -> bool:
        """Return whether it may be asked again."""
        return now >= self.until

    @property
    def longest(self) -> bool:
        """Whether the pauses grow no more."""
        return self.pause >= REST_NS[1]


@dataclass(slots=True)
class Unit:
    """One unit."""

    number: int
    probes: list[Read]
    """What it is asked while it rests, one point each in turn: one bad register must not keep it silent."""
    why: str = ""
    """Why it rests; empty: it answers, or was never asked."""
    status: int = 0
    """The StatusCode of its points while it rests."""
    silent: bool = False
    """Whether it rests because nothing came from it, not because a gateway said so."""
    good: Read | None = None
    """The last question that it answered."""
    rest: Rest = field(default_factory=Rest)
    _next: int = field(default_factory=lambda: random.randrange(1000))  # noqa: S311  each try begins elsewhere

    @property
    def resting(self) -> bool:
        """Whether it is left in peace, but for a probe now and then."""
        return bool(self.why)

    def heard(self, question: Read | None) -> None:
        """Note that it answered; `question`: and with what was asked for."""
        self.why, self.silent = "", False
        self.good = question or self.good
        self.rest.end()

    def rest_for(self, why: str, status: int, *, silent: bool = True) -> None:
        """Let it rest, longer each time."""
        if not self.resting or self.silent != silent:  # the first reason is the telling one
            self.why, self.status, self.silent = why, status, silent
        self.rest.lengthen(time.monotonic_ns())

    def probe(self) -> Read:
        """Return the next question to see whether it is back."""
        self._next += 1
        return self.probes[self._next % len(self.probes)]

"""Units behind one link: who answers, who rests, and who is asked again when."""

import random
import time
from dataclasses import dataclass, field

from config.status import BAD_COMMUNICATION_ERROR, BAD_NO_COMMUNICATION
from config.units import NS_PER_SECOND
from connectors.modbus.frames import ExceptionReply, Read, WrongReply
from connectors.modbus.link import Silent

REST_NS = (5 * NS_PER_SECOND, 60 * NS_PER_SECOND)
"""First and longest pause before what did not answer is asked again [ns]."""
_FORGETS = 0.999
"""What is left of the slowest answer's time with each answer that is quicker."""
GATEWAY = (10, 11)
"""Exception codes by which a gateway says that a unit does not answer."""


class Unanswered(Exception):  # noqa: N818  a state of the unit
    """A unit gave no answer: silence, something that is no answer, or its gateway's word that it does not answer."""

    def __init__(self, why: str, status: int, *, silent: bool) -> None:
        """Take what a person is told, the points' StatusCode, and whether the link itself may be the cause."""
        super().__init__(why)
        self.status, self.silent = status, silent

    @classmethod
    def of(cls, unit: int, error: Exception) -> "Unanswered | None":
        """Return what an error of the link says of a unit; None for an exception of its own."""
        if isinstance(error, Silent):
            return cls(str(error), BAD_NO_COMMUNICATION, silent=True)
        if isinstance(error, WrongReply):
            return cls(f"unit {unit} is not answered rightly: {error}", BAD_COMMUNICATION_ERROR, silent=True)
        if isinstance(error, ExceptionReply) and error.code in GATEWAY:
            return cls(f"unit {unit}: {error}", error.status, silent=False)
        return None

    @classmethod
    def silence(cls, unit: int) -> "Unanswered":
        """Return that a unit said nothing."""
        return cls(f"unit {unit} did not answer", BAD_NO_COMMUNICATION, silent=True)


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
    doubt: Unanswered | None = None
    """What it met a question with instead of an answer, until it is heard again."""
    good: Read | None = None
    """The last question that it answered."""
    slowest: float = 0.0
    """How long it took to answer, of late at the most [s]."""
    had_whole: int = 0
    """When it last had all the time it wants [ns, monotonic]."""
    rest: Rest = field(default_factory=Rest)
    _next: int = field(default_factory=lambda: random.randrange(1000))  # noqa: S311  each try begins elsewhere

    @property
    def resting(self) -> bool:
        """Whether it is left in peace, but for a probe now and then."""
        return bool(self.why)

    def heard(self, question: Read | None, took: float) -> None:
        """Note that it answered in so many seconds; `question`: and with what was asked for."""
        self.why, self.silent, self.doubt = "", False, None
        self.good = question or self.good
        self.slowest = max(took, self.slowest * _FORGETS)
        self.rest.end()

    def rest_for(self, error: Unanswered) -> None:
        """Let it rest, longer each time."""
        if not self.resting or self.silent != error.silent:  # the first reason is the telling one
            self.why, self.status, self.silent = str(error), error.status, error.silent
        self.rest.lengthen(time.monotonic_ns())

    def probe(self) -> Read:
        """Return the next question to see whether it is back."""
        self._next += 1
        return self.probes[self._next % len(self.probes)]

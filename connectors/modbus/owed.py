"""Answers that may still come over a line without transaction numbers, where one frame looks like another.

Units answer in the order in which they were asked. So an answer is that of the question asked last, if no question
before it, whose answer has the same shape, may still be answered; and once it came, none before it can come.
"""

import time

Shape = tuple[int, int]
"""Function code and length: all that tells one answer from another."""

LONGEST_S = 5.0
"""What was asked longer ago than this, or ten timeouts, comes no more [s]; but for the last question, of devices that
speak only when they are spoken to."""
TIMEOUTS = 10

_LINES: dict[str, "Owed"] = {}


class Owed:
    """What the units of one line owe, by unit."""

    def __init__(self) -> None:
        self._asked: dict[int, list[tuple[Shape, float]]] = {}

    def __contains__(self, unit: int) -> bool:
        """Return whether a unit owes an answer."""
        return unit in self._asked

    def add(self, unit: int, shape: Shape) -> None:
        """Note a question that was given up."""
        self._asked.setdefault(unit, []).append((shape, time.monotonic()))

    def shapes(self, unit: int, timeout: float) -> set[Shape]:
        """Return the shapes of what a unit may still answer; `timeout` is how long it may take [s]."""
        since = time.monotonic() - max(LONGEST_S, TIMEOUTS * timeout)
        asked = self._asked.get(unit, [])
        kept = [one for one in asked[:-1] if one[1] >= since] + asked[-1:]
        if asked:
            self._asked[unit] = kept
        return {shape for shape, _ in kept}

    def answered(self, unit: int) -> None:
        """Note that the last question's answer came: nothing older can."""
        self._asked.pop(unit, None)

    def refused(self, unit: int, shape: Shape) -> None:
        """Note an exception to a question while others were owed: it may have been the oldest one's."""
        if unit in self._asked:
            self._asked[unit] = [*self._asked[unit][1:], (shape, time.monotonic())]


def owed_on(line: str) -> Owed:
    """Return what is owed on a line: serial servers pass on what is late even to the next connection."""
    return _LINES.setdefault(line, Owed())

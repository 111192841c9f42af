"""Sequence numbers of a subscription: what is missing, and how this server counts (OPC 10000-4, 5.14.1.1)."""

from collections.abc import Iterator

from connectors.base import SourceLost

FAR = 10_000
"""A number further ahead than this is no hole but another subscription's."""
NEAR = 10
"""A first message up to this number tells of messages before it."""
_LAST = 0xFFFF_FFFF


class Numbers:
    """Expects one number after the other, from 1; a keep-alive bears the next one and does not spend it.

    Some servers do spend it, and some repeat the last one. Which, is learnt: the first time that one number is left
    out behind a keep-alive, and the server has no such message, it was spent.
    """

    def __init__(self) -> None:
        """Begin before the first message."""
        self._next: int | None = None
        self._quiet = False  # whether a keep-alive was the last message
        self._spends: bool | None = None
        self._probes = ""  # whether the numbers just left out may never have been messages: "first" or "habit"

    def missing(self, number: int, *, is_data: bool) -> list[int] | None:
        """Return the numbers that were left out before this message; None for a message that came already.

        Raises SourceLost where the number has nothing to do with the last one.
        """
        expected = self._next if self._next is not None else self._first(number)
        ahead = (number - expected) % _LAST
        if is_data and self._quiet and self._spends and ahead == _LAST - 1:
            self._spends, self._next, self._quiet = False, _after(number), False  # it does not spend them after all
            return []
        if ahead > _LAST // 2:
            return None if is_data else []
        if ahead > FAR:
            raise SourceLost(f"notification {number} came where {expected} was next")
        habit = self._spends is None and self._quiet and ahead == 1
        self._probes = "first" if self._next is None else "habit" if habit else ""
        if is_data and self._quiet and not ahead and self._spends is None:
            self._spends = False  # the keep-alive's number is this message's
        self._next = _after(number) if is_data or self._spends else number
        self._quiet = not is_data
        return list(_numbers(expected, ahead))

    def explains(self, unavailable: int) -> bool:
        """Return whether numbers that the server no longer has were never messages, and learn from it."""
        probes, self._probes = self._probes, ""
        if probes == "habit" and not unavailable:
            self._spends = False  # it was a message after all
        if not probes or not unavailable:
            return False
        if probes == "habit":
            self._spends = True
            if self._quiet and self._next is not None:
                self._next = _after(self._next)
        return True

    @staticmethod
    def _first(number: int) -> int:
        return 1 if number <= NEAR else number


def _after(number: int) -> int:
    return number % _LAST + 1


def _numbers(first: int, count: int) -> Iterator[int]:
    for n in range(count):
        yield (first + n - 1) % _LAST + 1

"""How far a package is."""

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Called with what is being done, and how much of it is done, from 0 to 1."""


def unwatched(_doing: str, _share: float) -> None:
    """Tell nobody."""


def part_of(progress: Progress, begin: float, end: float) -> Progress:
    """Return what tells the progress of a part of the work, which takes it from `begin` to `end`."""
    return lambda doing, share: progress(doing, begin + (end - begin) * share)

"""Which days of the lake are past what the plant keeps; pure rules, no files."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One UTC day's folder."""

    date: dt.date
    size: int
    """[B]"""
    written: int
    """When a file of it was written last [ns since 1970, UTC]."""


def expired(
    days: Sequence[Day], keep: int | None, keep_size: int | None, now: int, newest: int
) -> Iterator[tuple[Day, str]]:
    """Yield the days that are to go, and by which rule.

    keep: the age [ns], keep_size: the lake's size [B], None where nothing is said of it; now: the wall clock, newest:
    the newest receive time in the lake [ns since 1970, UTC]. The rules and their reasons stand in docs/sinks.md.
    """
    present = {date_of(now), date_of(newest)}
    tomorrow = max(present) + dt.timedelta(days=1)
    future = [day for day in days if day.date > tomorrow]
    known = sorted((day for day in days if day.date <= tomorrow), key=lambda day: day.date)
    gone = set()
    if keep is not None:
        for day in [*future, *known[: max(len(known) - -(-keep // DAY_NS), 0)]]:
            if day.date not in present and _ended(day, now, future=day in future) < min(now, newest) - keep:
                gone.add(day.date)
                yield day, "keep"
    size = sum(day.size for day in days if day.date not in gone)
    for day in [*future, *known]:
        if keep_size is None or size <= keep_size:
            return
        if day.date not in gone | present:
            size -= day.size
            yield day, "keep_size"


def _ended(day: Day, now: int, *, future: bool) -> int:
    """Return when the last row of a day came, at the latest [ns since 1970, UTC].

    A day of the past may be filled today. A file's time in the future says nothing.
    """
    if future:
        return day.written
    end = (day.date - dt.date(1970, 1, 1)).days * DAY_NS + DAY_NS
    return max(end, day.written) if day.written <= now else end


def date_of(ns: int) -> dt.date:
    """Return the UTC day of an instant [ns since 1970, UTC]."""
    return dt.date(1970, 1, 1) + dt.timedelta(days=ns // DAY_NS)

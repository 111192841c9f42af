"""Shifts, breaks, holidays and exceptions -> planned time, in the plant's time zone.

Half-open intervals in [ns since 1970, UTC]; the zone matters only here and for display. A shift belongs to the
production date on which it starts. Rules 5 and 6 of docs/kpi-rules.md.
"""

import datetime as dt
import functools
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from config import public_holidays
from config.plant import WEEKDAYS, Break, Calendar, Plant, Shift

NS_PER_HOUR = 3_600_000_000_000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DAY = dt.timedelta(days=1)

WORK, BREAK, UNSCHEDULED = 0, 1, 2
"""What a span of calendar time is planned as."""


@dataclass(frozen=True, slots=True)
class ShiftInstance:
    """One shift on one production date."""

    name: str
    date: dt.date
    start: int
    end: int
    breaks: tuple[tuple[int, int], ...]

    @property
    def label(self) -> str:
        """Production date and name, as results show it."""
        return f"{self.date} {self.name}"


@dataclass(frozen=True, slots=True)
class Spans:
    """A window cut into spans of one kind of planning; arrays of length n, `edges` of length n + 1."""

    edges: NDArray[np.int64]
    kind: NDArray[np.int8]
    shift: NDArray[np.int64]
    """Position in `shifts`; -1 outside every shift."""
    shifts: tuple[ShiftInstance, ...]


def to_ns(moment: dt.datetime) -> int:
    """Return an aware datetime as [ns since 1970, UTC], exactly."""
    return (moment - _EPOCH) // dt.timedelta(microseconds=1) * 1000


def local_ns(plant: Plant, date: dt.date, time: dt.time) -> int:
    """Return a wall time of the plant as [ns since 1970, UTC]; one that a clock change skips moves on by the gap."""
    return _wall_ns(plant.zone, date, time)


def _wall_ns(zone: zoneinfo.ZoneInfo, date: dt.date, time: dt.time) -> int:
    return to_ns(dt.datetime.combine(date, time, tzinfo=zone).astimezone(dt.UTC))


def local_date(plant: Plant, ns: int) -> dt.date:
    """Return the calendar date of an instant in the plant's zone."""
    return (_EPOCH + dt.timedelta(microseconds=ns // 1000)).astimezone(plant.zone).date()


def expand(plant: Plant, asset: str, start: int, end: int) -> list[ShiftInstance]:
    """Return the asset's shift instances that touch [start, end), without overlap, in order of time."""
    first, last = local_date(plant, start) - 2 * _DAY, local_date(plant, end) + _DAY
    always = Calendar(shifts=(Shift(name="day", start=plant.day_start, end=plant.day_start),))
    calendars = tuple(c for c in plant.calendars or (always,) if c.covers(asset))
    return [i for i in _planned(plant.zone, calendars, first, last) if i.start < end and i.end > start]


@functools.lru_cache(maxsize=8)
def _planned(
    zone: zoneinfo.ZoneInfo, calendars: tuple[Calendar, ...], first: dt.date, last: dt.date
) -> tuple[ShiftInstance, ...]:
    """Return the shift instances of dates from `first` to `last`; assets of the same calendars share them."""
    days = [first + n * _DAY for n in range((last - first).days + 1)]
    return tuple(_without_overlap([i for day in days for c in calendars for i in _on(zone, c, day)]))


def _on(zone: zoneinfo.ZoneInfo, calendar: Calendar, day: dt.date) -> Iterator[ShiftInstance]:
    rows = [e for e in calendar.exception_rows if e.date == day]
    worked = _worked(calendar, day)
    for shift in calendar.shifts:
        row = next((e for e in reversed(rows) if e.shift in ("", shift.name)), None)
        if row is None and worked:
            yield _instance(zone, shift, day)
        elif row is not None and row.working:
            moved = {"start": row.start or shift.start, "end": row.end or shift.end}
            yield _instance(zone, shift.model_copy(update=moved), day)


def _worked(calendar: Calendar, day: dt.date) -> bool:
    """Return whether weekdays and holidays say that a day is worked."""
    if calendar.holidays:
        year = public_holidays.of_year(calendar.holidays, day.year)
        if day in year.worked or day in year.off:
            return day in year.worked
    return WEEKDAYS[day.weekday()] in calendar.weekdays


def _instance(zone: zoneinfo.ZoneInfo, shift: Shift, day: dt.date) -> ShiftInstance:
    over = day + _DAY if shift.end <= shift.start else day
    start, end = _wall_ns(zone, day, shift.start), _wall_ns(zone, over, shift.end)
    # A break is a time of day: whichever of its days falls inside the shift is meant.
    spans = sorted(_break(zone, pause, day + n * _DAY) for pause in shift.breaks for n in (-1, 0, 1))
    united: list[tuple[int, int]] = []
    for a, b in [(max(a, start), min(b, end)) for a, b in spans]:
        if united and a <= united[-1][1]:
            united[-1] = (united[-1][0], max(b, united[-1][1]))
        elif a < b:
            united.append((a, b))
    return ShiftInstance(shift.name, day, start, end, tuple(united))


def _break(zone: zoneinfo.ZoneInfo, pause: Break, day: dt.date) -> tuple[int, int]:
    over = day + _DAY if pause.end <= pause.start else day
    return _wall_ns(zone, day, pause.start), _wall_ns(zone, over, pause.end)


def _without_overlap(found: list[ShiftInstance]) -> list[ShiftInstance]:
    kept: list[ShiftInstance] = []
    for shift in sorted(found, key=lambda i: (i.start, i.end)):
        start = max(shift.start, kept[-1].end) if kept else shift.start
        if start < shift.end:
            breaks = tuple((max(a, start), b) for a, b in shift.breaks if b > start)
            kept.append(ShiftInstance(shift.name, shift.date, start, shift.end, breaks))
    return kept


def spans(plant: Plant, asset: str, start: int, end: int) -> Spans:
    """Return [start, end) cut into work, break and unscheduled spans of the asset."""
    shifts = expand(plant, asset, start, end)
    edges, kind, index = [start], [], []
    for n, shift in enumerate(shifts):
        stops = [(shift.start, UNSCHEDULED, -1)]
        for a, b in shift.breaks:
            stops += [(a, WORK, n), (b, BREAK, n)]
        stops.append((shift.end, WORK, n))
        for stop, before, position in stops:
            edges.append(min(max(stop, start), end))
            kind.append(before)
            index.append(position)
    edges.append(end)
    kind.append(UNSCHEDULED)
    index.append(-1)
    return Spans(np.array(edges, np.int64), np.array(kind, np.int8), np.array(index, np.int64), tuple(shifts))


def hour_starts(plant: Plant, start: int, end: int) -> NDArray[np.int64]:
    """Return the instants in [start, end) at which an hour of the plant's clock starts, and `start` itself."""
    step = NS_PER_HOUR // 4  # every zone's offset is a multiple of a quarter of an hour
    grid = np.arange(start - start % step, end, step, dtype=np.int64)
    hours = hour_of(plant, grid)
    turns = grid[np.flatnonzero(np.diff(hours)) + 1]
    return np.concatenate([[start], turns[turns > start]])


def hour_of(plant: Plant, ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each instant the start of its hour of the plant's clock [ns since 1970, UTC]."""
    zoned = pl.lit(pl.Series(ns)).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(plant.timezone)
    clock = pl.select(zoned.dt.replace_time_zone(None).to_physical()).to_series().to_numpy()
    result: NDArray[np.int64] = ns - clock % NS_PER_HOUR
    return result


def day_starts(plant: Plant, start: int, end: int) -> list[tuple[int, dt.date]]:
    """Return (instant, production date) of every production day that touches [start, end), in order."""
    first, last = local_date(plant, start) - _DAY, local_date(plant, end) + _DAY
    days = [first + n * _DAY for n in range((last - first).days + 1)]
    turns = [(local_ns(plant, day, plant.day_start), day) for day in days]
    return [t for t, after in zip(turns, [*turns[1:], (end + 1, last)], strict=True) if t[0] < end and after[0] > start]

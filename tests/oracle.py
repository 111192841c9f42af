"""The slow second opinion: accounts and KPIs of one asset by docs/kpi-rules.md, rule by rule, exactly.

It knows nothing of `kpis/`: it cuts a window wherever anything may change and looks everything up anew for
each piece. Instants and durations are integers [ns, UTC]; quantities are fractions of pieces or of the
canonical unit.
"""

import datetime as dt
import math
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

from config.plant import WEEKDAYS, Calendar, Plant, Point, Shift
from config.schema import COUNTS, DURATIONS, ELEMENTS, MICRO
from config.units import METER_UNITS, NS_PER_SECOND

Sample = tuple[str, int, int, float | None, str | None, int]
"""point, ts [ns], ts_recv [ns], value, text, status"""

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


class Turn(NamedTuple):
    """One shift on one date, with its breaks [ns]."""

    label: str
    start: int
    end: int
    breaks: list[tuple[int, int]]


class Step(NamedTuple):
    """The increment between two neighbouring good samples of a counter [1e-6 units]."""

    start: int
    end: int
    amount: int
    refused: int | None
    reset: bool
    gap: bool


class Bounded(NamedTuple):
    """A KPI with its bounds for unknown time and the share of planned operation time that is known."""

    value: Fraction | None
    low: Fraction | None
    high: Fraction | None
    coverage: Fraction | None


def _instant(plant: Plant, date: dt.date, time: dt.time) -> int:
    wall = dt.datetime.combine(date, time.replace(fold=0), tzinfo=plant.zone)
    return (wall.astimezone(dt.UTC) - EPOCH) // dt.timedelta(microseconds=1) * 1000


def _date(plant: Plant, ns: int) -> dt.date:
    return (EPOCH + dt.timedelta(microseconds=ns // 1000)).astimezone(plant.zone).date()


def _span(plant: Plant, date: dt.date, start: dt.time, end: dt.time) -> tuple[int, int]:
    return _instant(plant, date, start), _instant(plant, date + DAY if end <= start else date, end)


def _turn(plant: Plant, calendar: Calendar, shift: Shift, date: dt.date) -> Turn | None:
    working = WEEKDAYS[date.weekday()] in calendar.weekdays
    start, end = shift.start, shift.end
    for row in calendar.exception_rows:
        if row.date == date and row.shift in ("", shift.name):
            working = row.working
            start = start if row.start is None else row.start
            end = end if row.end is None else row.end
    if not working:
        return None
    # A break is a time of day: whichever of its days falls inside the shift is meant.
    days = (date - DAY, date, date + DAY)
    breaks = [_span(plant, day, pause.start, pause.end) for day in days for pause in shift.breaks]
    return Turn(f"{date.isoformat()} {shift.name}", *_span(plant, date, start, end), breaks)


def turns(plant: Plant, asset: str, start: int, end: int) -> list[Turn]:
    """Return the asset's shifts around a window [ns], the earliest start first (rule 5)."""
    always = Calendar(shifts=(Shift(name="day", start=plant.day_start, end=plant.day_start),))
    calendars = [calendar for calendar in plant.calendars or (always,) if calendar.covers(asset)]
    first, last = _date(plant, start) - 2 * DAY, _date(plant, end) + DAY
    dates = [first + n * DAY for n in range((last - first).days + 1)]
    found = [_turn(plant, each, shift, date) for date in dates for each in calendars for shift in each.shifts]
    return sorted((turn for turn in found if turn is not None), key=lambda turn: turn.start)


def _owner(shifts: Sequence[Turn], t: int) -> tuple[Turn, str] | None:
    for turn in shifts:
        if turn.start <= t < turn.end:
            return turn, "break" if any(a <= t < b for a, b in turn.breaks) else "work"
    return None


def _edges(shifts: Sequence[Turn]) -> set[int]:
    return {t for turn in shifts for a, b in [(turn.start, turn.end), *turn.breaks] for t in (a, b)}


def _cut(cuts: Iterable[int], start: int, end: int) -> list[tuple[int, int]]:
    return list(pairwise(sorted({start, end, *(t for t in cuts if start < t < end)})))


def planned(plant: Plant, asset: str, start: int, end: int) -> list[tuple[str, int, int, int, str]]:
    """Return (shift label, shift start, a, b, "work" or "break") of all shift time in a window [ns]."""
    shifts = turns(plant, asset, start, end)
    pieces: list[tuple[str, int, int, int, str]] = []
    for a, b in _cut(_edges(shifts), start, end):
        if owner := _owner(shifts, a):
            turn, kind = owner
            piece = (turn.label, turn.start, a, b, kind)
            if pieces and (*pieces[-1][:2], *pieces[-1][3:]) == (turn.label, turn.start, a, kind):
                piece = (turn.label, turn.start, pieces.pop()[2], b, kind)
            pieces.append(piece)
    return pieces


def _rank(row: Sample) -> tuple[int, int, bool, float, bool, str]:
    _, _, received, value, text, status = row
    return received, status, value is None, value or 0.0, text is not None, text or ""


def history(samples: Iterable[Sample], point: str) -> list[Sample]:
    """Return a point's samples by time, of several at one instant the one that counts (rule 1)."""
    rows = [row for row in samples if row[0] == point]
    return [max((row for row in rows if row[1] == ts), key=_rank) for ts in sorted({row[1] for row in rows})]


def _good(plant: Plant, row: Sample) -> bool:
    severity = row[5] >> 30
    said = row[3] is not None or row[4] is not None
    return said and (severity == 0 or (severity == 1 and plant.uncertain == "good"))


def _held(plant: Plant, point: Point | None, rows: Sequence[Sample], t: int) -> str:
    past = [row for row in rows if row[1] <= t]
    if point is None or not past or not _good(plant, past[-1]) or t >= past[-1][1] + point.hold_ns:
        return "unknown"
    value, text = past[-1][3], past[-1][4]
    if text is None and value is not None:
        text = str(int(value)) if value.is_integer() else repr(value)
    return plant.states[point.states].get(str(text), "unmapped")


def _state_point(plant: Plant, asset: str) -> Point | None:
    return next((point for point in plant.points_of(asset) if point.role == "state"), None)


def state_at(plant: Plant, asset: str, samples: Iterable[Sample], t: int) -> str:
    """Return the time element of the state at `t` [ns], "unknown" or "unmapped"; asks no calendar."""
    point = _state_point(plant, asset)
    return _held(plant, point, history(samples, point.point) if point else [], t)


def _number(row: Sample) -> Fraction | None:
    _, _, _, value, text, _ = row
    if text is not None and re.fullmatch(r"-?[0-9]+", text):
        return Fraction(int(text))
    return None if value is None or not math.isfinite(value) else Fraction(value)


def steps(plant: Plant, point: Point, samples: Iterable[Sample]) -> list[Step]:
    """Return the increments of a counter or meter in order of time (rules 8 to 12)."""
    micro = (METER_UNITS[point.unit].factor if point.unit in METER_UNITS else Fraction(1)) * MICRO
    rows = [(row, _number(row) if _good(plant, row) else None) for row in history(samples, point.point)]
    good = [(place, row[1], round(number * micro)) for place, (row, number) in enumerate(rows) if number is not None]
    rate = None if point.max_rate is None else Fraction(point.max_rate) * micro / NS_PER_SECOND
    modulus = None if point.modulus is None else round(point.modulus * micro)
    found = []
    for (i, start, before), (j, end, this) in pairwise(good):
        amount, reset = this - before, False
        if amount < 0:
            over = -1 if modulus is None else amount + modulus
            limit = Fraction(modulus or 0, 2) if rate is None else rate * (end - start)
            reset = not 0 <= over <= limit
            amount = this if reset else over
        refused = rate is not None and amount > rate * (end - start)
        gap = (j > i + 1 or end - start > point.hold_ns) and not refused
        found.append(Step(start, end, 0 if refused else amount, amount if refused else None, reset, gap))
    return found


def _within(step: Step, pieces: Iterable[tuple[int, int]]) -> Fraction:
    overlap = sum(max(0, min(b, step.end) - max(a, step.start)) for a, b in pieces)
    return Fraction(step.amount * overlap, (step.end - step.start) * MICRO)


def _derive(counts: dict[str, Any], tail: str) -> None:
    total, good, reject = (counts[f"{count}{tail}"] for count in ("total", "good", "reject"))
    if total is None and None not in (good, reject):
        counts[f"total{tail}"] = good + reject
    elif total is not None and good is None:
        counts[f"good{tail}"] = total - (reject or 0)
    elif None not in (total, good) and reject is None:
        counts[f"reject{tail}"] = total - good


def account(plant: Plant, asset: str, samples: Sequence[Sample], start: int, end: int) -> dict[str, Any]:
    """Return what the window [start, end) [ns] holds of an asset, under the names of the FACT schema.

    Durations and `unmapped` are in [ns], counts in [pieces] (None where no role gives them),
    `energy.<medium>` in the canonical unit, `uncertain` in the units of the counters that it sums.
    """
    shifts, state = turns(plant, asset, start, end), _state_point(plant, asset)
    rows = history(samples, state.point) if state else []
    holds = {t for row in rows if state for t in (row[1], row[1] + state.hold_ns)}
    found: dict[str, Any] = dict.fromkeys((*DURATIONS, "unmapped", "resets", "gap_steps", "refused_steps"), 0)
    found["uncertain"] = Fraction(0)
    unknown = []
    for a, b in _cut(_edges(shifts) | holds, start, end):
        owner, raw = _owner(shifts, a), _held(plant, state, rows, a)
        element = "unscheduled" if owner is None else "break" if owner[1] == "break" else raw
        if element == "unmapped":
            found["unmapped"] += b - a
            element = "unknown"
        found[element] += b - a
        unknown += [(a, b)] if element == "unknown" else []
    found |= dict.fromkeys([count + tail for count in COUNTS for tail in ("", "_unknown")])
    for point in plant.points_of(asset):
        if point.role in COUNTS or point.role.startswith("energy."):
            increments = steps(plant, point, samples)
            _add(found, point.role, sum((_within(step, [(start, end)]) for step in increments), Fraction(0)))
            if point.role in COUNTS:
                lost = sum((_within(step, unknown) for step in increments), Fraction(0))
                _add(found, f"{point.role}_unknown", lost)
            _events(found, [step for step in increments if start < step.end <= end])
    for tail in ("", "_unknown"):
        _derive(found, tail)
    return found


def _add(found: dict[str, Any], key: str, amount: Fraction) -> None:
    found[key] = amount if found.get(key) is None else found[key] + amount


def _events(found: dict[str, Any], closed: Sequence[Step]) -> None:
    found["resets"] += sum(step.reset for step in closed)
    found["gap_steps"] += sum(step.gap for step in closed)
    found["refused_steps"] += sum(step.refused is not None for step in closed)
    found["uncertain"] += sum((Fraction(step.refused or 0, MICRO) for step in closed), Fraction(0))


def _over(top: Fraction | int, bottom: Fraction | int) -> Fraction | None:
    return Fraction(top) / bottom if bottom else None


def _quality(
    good: Fraction, total: Fraction, unknown: int, cycle: Fraction | None
) -> tuple[Fraction | None, Fraction | None, Fraction | None]:
    value = _over(good, total)
    if unknown and cycle is None:
        # Nothing limits what unknown time may have made: any number of bad pieces, or of good ones.
        return Fraction(0), value, Fraction(1)
    more = Fraction(0) if cycle is None else unknown / cycle
    return _over(good, total + more), value, _over(good + more, total + more)


def kpis(found: dict[str, Any], ideal: float | None) -> dict[str, Bounded]:
    """Return availability, effectiveness, quality_ratio and oee of an account (rules 15 to 18).

    `ideal` is the planned run time per item [s]. A KPI whose value is null has null bounds.
    """
    unknown, made = found["unknown"], found["production"]
    busy = sum(found[element] for element in ("production", "setup", "delay", "idle"))
    operation = sum(found[element] for element in ELEMENTS)
    total, good = (
        None if found[count] is None else found[count] - found[f"{count}_unknown"] for count in ("total", "good")
    )
    cycle = None if ideal is None else Fraction(ideal) * NS_PER_SECOND

    def bounded(low: Fraction | None, value: Fraction | None, high: Fraction | None) -> Bounded:
        coverage = _over(operation - unknown, operation)
        if value is None or low is None or high is None:
            return Bounded(None, None, None, coverage)
        return Bounded(value, min(low, value), max(high, value), coverage)

    nothing = bounded(None, None, None)
    result = dict.fromkeys(("availability", "effectiveness", "quality_ratio", "oee"), nothing)
    everything = busy + unknown
    result["availability"] = bounded(_over(made, everything), _over(made, busy), _over(made + unknown, everything))
    if cycle is not None and total is not None:
        work, run = cycle * total, made + unknown
        result["effectiveness"] = bounded(_over(work, run), _over(work, made), _over(work + unknown, run))
    if total is not None and good is not None:
        result["quality_ratio"] = bounded(*_quality(good, total, unknown, cycle))
    if cycle is not None and good is not None:
        work = cycle * good
        result["oee"] = bounded(_over(work, everything), _over(work, busy), _over(work + unknown, everything))
    return result

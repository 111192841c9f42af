"""The slow second opinion: accounts and KPIs of one asset by docs/kpi-rules.md, rule by rule, exactly.

It knows nothing of `kpis/`: it cuts a window wherever anything may change and looks everything up anew for
each piece. Instants and durations are integers [ns, UTC]; quantities are fractions of pieces or of the
canonical unit.
"""

import datetime as dt
import fnmatch
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

from config.plant import WEEKDAYS, Calendar, Plant, Point, Refinement, Shift, Swap
from config.schema import COUNTS, DURATIONS, ELEMENTS, MICRO
from config.units import METER_UNITS, NS_PER_SECOND

Sample = tuple[str, int, int, float | None, str | None, int]
"""point, ts [ns], ts_recv [ns], value, text, status"""

HOUR = 3600 * NS_PER_SECOND
EVER = 2**63
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


class Turn(NamedTuple):
    """One shift on one date, with its breaks [ns]."""

    label: str
    start: int
    end: int
    breaks: list[tuple[int, int]]


class Held(NamedTuple):
    """How long a good sample of a point holds [ns], and what it says (rules 3 and 7)."""

    start: int
    end: int
    word: str
    number: Fraction | None


class Stretch(NamedTuple):
    """A longest stretch of one element, or of "unmapped", in an asset's own history [ns]."""

    start: int
    end: int
    element: str


class Run(NamedTuple):
    """Time of one product and one planned run time per item [ns], [s]."""

    start: int
    end: int
    product: str | None
    cycle: Fraction | None


class Piece(NamedTuple):
    """A part of a window in which nothing changes that divides counts [ns], [s]."""

    start: int
    end: int
    unknown: bool
    startup: bool
    cycle: Fraction | None


class Step(NamedTuple):
    """The increment between two neighbouring good samples of a counter [1e-6 units]."""

    start: int
    end: int
    amount: int
    refused: int | None
    reset: bool
    gap: bool


class Bounded(NamedTuple):
    """A KPI with its bounds for unknown time, the known share of planned operation time, and N [s] or [pieces]."""

    value: Fraction | None
    low: Fraction | None
    high: Fraction | None
    coverage: Fraction | None
    denominator: Fraction | None


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
    found: dict[int, Sample] = {}
    for row in samples:
        if row[0] == point:
            found[row[1]] = max(found.get(row[1], row), row, key=_rank)
    return [found[ts] for ts in sorted(found)]


def _micro(point: Point) -> Fraction:
    return (METER_UNITS[point.unit].factor if point.unit in METER_UNITS else Fraction(1)) * MICRO


def _good(plant: Plant, point: Point, row: Sample) -> bool:
    severity = row[5] >> 30
    said = row[3] is not None or row[4] is not None
    if point.role in (*COUNTS, "since_reset") or point.role.startswith(("energy.", "power.")):
        number = _number(row)
        said = number is not None and abs(number * _micro(point)) < 2**62
    return said and (severity == 0 or (severity == 1 and plant.uncertain == "good"))


def _word(row: Sample) -> str:
    _, _, _, value, text, _ = row
    if text is not None or value is None:
        return text or ""
    return str(int(value)) if value.is_integer() else repr(value)


def _number(row: Sample) -> Fraction | None:
    value = row[3]
    return None if value is None or not math.isfinite(value) else Fraction(value)


def held(plant: Plant, point: Point | None, samples: Iterable[Sample]) -> list[Held]:
    """Return when the point is known and what it says then; nothing where there is no point."""
    if point is None:
        return []
    rows = history(samples, point.point)
    ends = [*(row[1] for row in rows), EVER][1:]
    return [
        Held(row[1], min(end, row[1] + point.hold_ns), _word(row), _number(row))
        for row, end in zip(rows, ends, strict=True)
        if _good(plant, point, row)
    ]


def _at(stretches: Sequence[Any], t: int) -> Any:
    """The one of some stretches, in order of time and without overlap, that holds `t`."""
    place = bisect_right(stretches, t, key=lambda each: each.start) - 1
    return stretches[place] if place >= 0 and t < stretches[place].end else None


def _borders(stretches: Iterable[Any]) -> set[int]:
    return {t for each in stretches for t in (each.start, each.end)}


def _the_point(plant: Plant, asset: str, role: str) -> Point | None:
    return next((point for point in plant.points_of(asset) if point.role == role), None)


# Elements.


def _fits(rule: Refinement, element: str, mode: Held | None, order: Held | None) -> bool:
    if rule.element != element:
        return False
    if rule.mode and (mode is None or mode.word not in rule.mode):
        return False
    if rule.mode_not and (mode is None or mode.word in rule.mode_not):
        return False
    return rule.order is None or (order is not None and (order.word not in ("", "0")) == rule.order)


def _told(plant: Plant, asset: str, samples: Sequence[Sample]) -> list[Stretch]:
    """What the state point says, changed by mode and order (rules 6, 7 and 20)."""
    state = _the_point(plant, asset, "state")
    states, modes, orders = (
        held(plant, point, samples)
        for point in (state, _the_point(plant, asset, "mode"), _the_point(plant, asset, "order"))
    )
    found = []
    for each in states if state else []:
        raw = plant.states[state.states].get(each.word, "unmapped")
        for a, b in _cut(_borders(modes) | _borders(orders), each.start, each.end):
            rules = plant.refinements.get(state.states, ())
            fitting = (rule.becomes for rule in rules if _fits(rule, raw, _at(modes, a), _at(orders, a)))
            found.append(Stretch(a, b, next(fitting, raw)))
    return found


def _inferred(plant: Plant, asset: str, samples: Sequence[Sample], changes: Sequence[Run]) -> list[Stretch]:
    """What the pace of the counter says (rule 22)."""
    counter = _the_point(plant, asset, "total") or _the_point(plant, asset, "good")
    if counter is None or not _cycle_reachable(plant, asset):
        return []
    known = held(plant, counter, samples)
    rises = {}
    for step in steps(plant, counter, samples):
        if step.amount > 0 and step.refused is None and not step.gap:
            cycle = _at(changes, step.end - 1).cycle or Fraction(0)
            rises[step.end] = min(round(step.amount * cycle * NS_PER_SECOND / MICRO), HOUR)
    times = sorted(rises)
    unbroken = {b for a, b in pairwise(times) if sum(_overlap(each, a, b) for each in known) == b - a}

    def element(t: int) -> str:
        place = bisect_right(times, t)
        if place == len(times):
            return "delay"
        rise, before = times[place], times[place - 1] if place else None
        near = before is not None and rise in unbroken and rise - before <= 2 * rises[rise]
        return "production" if near or rise - t <= rises[rise] else "delay"

    cuts = {t for rise in times for t in (rise, rise - rises[rise])}
    return [Stretch(a, b, element(a)) for each in known for a, b in _cut(cuts, each.start, each.end)]


def _overlap(each: Any, start: int, end: int) -> int:
    return max(0, min(each.end, end) - max(each.start, start))


def elements(plant: Plant, asset: str, samples: Sequence[Sample]) -> list[Stretch]:
    """Return the asset's own history, whatever calendar and window say; unknown time is left out."""
    if _the_point(plant, asset, "state"):
        found = _told(plant, asset, samples)
    else:
        found = _inferred(plant, asset, samples, runs(plant, asset, samples))
    joined: list[Stretch] = []
    for each in found:
        if joined and (joined[-1].end, joined[-1].element) == (each.start, each.element):
            joined[-1] = joined[-1]._replace(end=each.end)
        else:
            joined.append(each)
    return joined


def state_at(plant: Plant, asset: str, samples: Sequence[Sample], t: int) -> str:
    """Return the time element of the asset at `t` [ns], "unknown" or "unmapped"; asks no calendar."""
    stretch = _at(elements(plant, asset, samples), t)
    return stretch.element if stretch else "unknown"


# Products and ideal cycles.


def _cycle_declared(plant: Plant, asset: str) -> bool:
    register = next(each for each in plant.assets if each.asset == asset)
    listed = any(fnmatch.fnmatchcase(asset, row.asset) for row in plant.products)
    return register.ideal_cycle is not None or listed or _the_point(plant, asset, "ideal_cycle") is not None


def _cycle_reachable(plant: Plant, asset: str) -> bool:
    register = next(each for each in plant.assets if each.asset == asset)
    named = _the_point(plant, asset, "product") is not None and _cycle_declared(plant, asset)
    return register.ideal_cycle is not None or _the_point(plant, asset, "ideal_cycle") is not None or named


def runs(plant: Plant, asset: str, samples: Sequence[Sample]) -> list[Run]:
    """Return the product and the planned run time per item of all time; a value holds over every gap."""
    register = next(each for each in plant.assets if each.asset == asset)
    products, cycles = (
        [each._replace(end=EVER) for each in held(plant, _the_point(plant, asset, role), samples)]
        for role in ("product", "ideal_cycle")
    )
    found = []
    for a, b in _cut({each.start for each in (*products, *cycles)}, -EVER, EVER):
        product, told = _at(products, a), _at(cycles, a)
        name = product.word if product else None
        listed = plant.ideal_cycle(register, name)
        cycle = Fraction(listed) if listed is not None else None
        if told and told.number is not None and told.number > 0:
            cycle = told.number
        found.append(Run(a, b, name, cycle))
    return found


# Counters and meters.


def _swap_instant(plant: Plant, swap: Swap) -> int:
    at = swap.at if swap.at.tzinfo else swap.at.replace(tzinfo=plant.zone)
    return (at.astimezone(dt.UTC) - EPOCH) // dt.timedelta(microseconds=1) * 1000


def _last_resets(plant: Plant, point: Point, samples: Sequence[Sample]) -> list[tuple[int, int]]:
    """Instants, and when the last reset was as `since_reset` told it then [ns] (rule 25)."""
    told = held(plant, _the_point(plant, point.asset, "since_reset"), samples) if point.role in COUNTS else []
    return [(each.start, each.start - round(each.number * NS_PER_SECOND)) for each in told if each.number is not None]


def _swapped(swaps: Sequence[tuple[int, int | None, int]], before: int, after: int) -> int:
    """The step over some swaps (at, last, first) between two samples, in their order (rule 26)."""
    amount = 0
    for _, last, first in swaps:
        amount += 0 if last is None else last - before
        before = first
    return amount + after - before


def steps(plant: Plant, point: Point, samples: Sequence[Sample]) -> list[Step]:
    """Return the increments of a counter or meter in order of time (rules 8 to 12, 25 and 26)."""
    micro = _micro(point)
    rows = [(row, _number(row) if _good(plant, point, row) else None) for row in history(samples, point.point)]
    good = [(place, row[1], round(number * micro)) for place, (row, number) in enumerate(rows) if number is not None]
    rate = None if point.max_rate is None else Fraction(point.max_rate) * micro / NS_PER_SECOND
    modulus = None if point.modulus is None else round(Fraction(point.modulus) * micro)
    swaps = sorted(
        (
            _swap_instant(plant, swap),
            None if swap.last is None else round(Fraction(swap.last) * micro),
            round(Fraction(swap.first) * micro),
        )
        for swap in plant.swaps
        if swap.point == point.point
    )
    told = _last_resets(plant, point, samples)
    found = []
    for (i, start, before), (j, end, this) in pairwise(good):
        amount, reset, refused = this - before, False, None
        between = [swap for swap in swaps if start < swap[0] <= end]
        first, second = (next((last for at, last in reversed(told) if at <= t), None) for t in (start, end))
        if between:
            amount = _swapped(between, before, this)
            refused = 0 if amount < 0 else None
        elif first is not None and second is not None and second - first > 2 * NS_PER_SECOND:
            amount, reset = this, True
        elif amount < 0:
            over = -1 if modulus is None else amount + modulus
            limit = Fraction(modulus or 0, 2) if rate is None else rate * (end - start)
            rollover = 0 <= over <= limit
            reset = not rollover and first is None
            refused = 0 if not rollover and first is not None else None
            amount = over if rollover else this
        if refused is None and rate is not None and amount > rate * (end - start):
            refused = amount
        gap = (j > i + 1 or end - start > point.hold_ns) and refused is None
        found.append(Step(start, end, 0 if refused is not None else amount, refused, reset, gap))
    return found


def _shares(step: Step, pieces: Sequence[Piece]) -> dict[tuple[bool, bool, Fraction | None], Fraction]:
    """What of a step [pieces] fell into time of each kind (unknown, after a setup, ideal cycle)."""
    spans: dict[tuple[bool, bool, Fraction | None], int] = {}
    place = max(0, bisect_right(pieces, step.start, key=lambda each: each.start) - 1)
    while place < len(pieces) and pieces[place].start < step.end:
        kind = pieces[place][2:]
        spans[kind] = spans.get(kind, 0) + _overlap(pieces[place], step.start, step.end)
        place += 1
    return {kind: Fraction(step.amount * ns, (step.end - step.start) * MICRO) for kind, ns in spans.items()}


def _derive(counts: dict[str, Any]) -> None:
    total, good, reject = (counts[count] for count in ("total", "good", "reject"))
    if total is None and None not in (good, reject):
        counts["total"] = good + reject
    elif total is not None and good is None:
        counts["good"] = total - (reject or 0)
    elif None not in (total, good) and reject is None:
        counts["reject"] = total - good


# The account of a window.


def account(plant: Plant, asset: str, samples: Sequence[Sample], start: int, end: int) -> dict[str, Any]:
    """Return what the window [start, end) [ns] holds of an asset, under the names of the FACT schema.

    Durations are in [ns], counts in [pieces] (None where no role gives them), `energy.<medium>` in the canonical
    unit, `uncertain` in the units of the counters that it sums. Beside them stand `ideal_total` and `ideal_good`,
    what the known pieces should have taken [s], and `ideal_unknown`, what unknown time could have made [pieces];
    they leave out what has no ideal cycle: `uncycled_total`, `uncycled_good` [pieces] and `uncycled_unknown` [ns].
    Where none is declared for the asset, the ideal and uncycled counts are None.
    """
    own = elements(plant, asset, samples)
    ever = (min([start, *(each.start for each in own)]), max([end, *(each.end for each in own)]))
    shifts = [Stretch(a, b, kind) for _, _, a, b, kind in planned(plant, asset, *ever)]
    found: dict[str, Any] = _stops(plant, own, shifts, start, end)
    pieces = _durations(plant, asset, samples, own, shifts, found, start, end)
    _counts(plant, asset, samples, pieces, found)
    return found


def _stops(plant: Plant, own: Sequence[Stretch], shifts: Sequence[Stretch], start: int, end: int) -> dict[str, int]:
    """Stops by their whole length, each at its first instant of planned operation time (rule 21)."""
    found = {"stops": 0, "micro_stops": 0}
    for stop in (each for each in own if each.element == "delay"):
        begins = [max(work.start, stop.start) for work in shifts if work.element == "work" and _meet(work, stop)]
        if begins and start <= begins[0] < end:
            found["micro_stops" if stop.end - stop.start < plant.micro_stop else "stops"] += 1
    return found


def _meet(one: Any, other: Any) -> bool:
    return _overlap(one, other.start, other.end) > 0


def _startups(plant: Plant, own: Sequence[Stretch]) -> list[Stretch]:
    setups = [each for each in own if each.element == "setup"]
    following = [*(each.start for each in setups), EVER][1:]
    return [
        Stretch(each.end, min(each.end + plant.startup, later), "startup")
        for each, later in zip(setups, following, strict=True)
    ]


def _durations(
    plant: Plant,
    asset: str,
    samples: Sequence[Sample],
    own: Sequence[Stretch],
    shifts: Sequence[Stretch],
    found: dict[str, Any],
    start: int,
    end: int,
) -> list[Piece]:
    """Add the window's durations (rules 6, 21, 22 and 24); return its pieces."""
    control, changes, startups = _the_point(plant, asset, "apc"), runs(plant, asset, samples), _startups(plant, own)
    told, inferred = held(plant, control, samples), _the_point(plant, asset, "state") is None
    found |= dict.fromkeys((*DURATIONS, "unmapped", "micro_stop", "inferred"), 0)
    found |= dict.fromkeys(("apc_on", "apc_known"), 0 if control else None)
    pieces = []
    for a, b in _cut(set().union(*map(_borders, (own, shifts, told, changes, startups))), start, end):
        shift, stretch, apc = _at(shifts, a), _at(own, a), _at(told, a)
        element = "unscheduled" if shift is None else "break"
        if shift and shift.element == "work":
            element = stretch.element if stretch else "unknown"
            micro = element == "delay" and stretch.end - stretch.start < plant.micro_stop
            found["micro_stop"] += b - a if micro else 0
            found["inferred"] += b - a if inferred and stretch else 0
            if apc:
                found["apc_known"] += b - a
                found["apc_on"] += 0 if apc.word.lower() in ("0", "", "off", "false", "manual") else b - a
        if element == "unmapped":
            found["unmapped"] += b - a
            element = "unknown"
        found[element] += b - a
        pieces.append(Piece(a, b, element == "unknown", _at(startups, a) is not None, _at(changes, a).cycle))
    return pieces


def _counts(
    plant: Plant, asset: str, samples: Sequence[Sample], pieces: Sequence[Piece], found: dict[str, Any]
) -> None:
    """Add the window's counts, meters and events (rules 8 to 14 and 23)."""
    found |= dict.fromkeys(("resets", "gap_steps", "refused_steps"), 0) | {"uncertain": Fraction(0)}
    start, end = pieces[0].start, pieces[-1].end
    kinds = {piece[2:] for piece in pieces}
    made: dict[Any, dict[str, Any]] = {kind: dict.fromkeys(COUNTS) for kind in kinds}
    for point in plant.points_of(asset):
        if point.role not in COUNTS and not point.role.startswith("energy."):
            continue
        increments = steps(plant, point, samples)
        _events(found, [step for step in increments if start < step.end <= end])
        shares = [_shares(step, pieces) for step in increments if step.start < end and start < step.end]
        for kind in kinds:
            amount = sum((share.get(kind, Fraction(0)) for share in shares), Fraction(0))
            _add(made[kind] if point.role in COUNTS else found, point.role, amount)
    startup = _over_kinds(made, "reject", [kind for kind in kinds if kind[1] and not kind[0]])
    for counts in made.values():
        _derive(counts)
    for count in COUNTS:
        found[count] = _over_kinds(made, count, kinds)
        found[f"{count}_unknown"] = _over_kinds(made, count, [kind for kind in kinds if kind[0]])
    found["reject_startup"] = None if found["reject"] is None else startup or Fraction(0)
    _ideal(plant, asset, made, pieces, found)


def _over_kinds(made: Mapping[Any, Mapping[str, Any]], count: str, kinds: Iterable[Any]) -> Fraction | None:
    if any(counts[count] is None for counts in made.values()):
        return None
    return sum((made[kind][count] for kind in kinds), Fraction(0))


def _ideal(
    plant: Plant, asset: str, made: Mapping[Any, Mapping[str, Any]], pieces: Sequence[Piece], found: dict[str, Any]
) -> None:
    """Add what the known pieces should have taken, and what unknown time could have made (rules 15 and 17)."""
    for count in ("total", "good"):
        known = [(cycle, counts[count]) for (unknown, _, cycle), counts in made.items() if not unknown]
        given = found[count] is not None and _cycle_declared(plant, asset)
        timed = [cycle * amount for cycle, amount in known if cycle is not None and given]
        untimed = [amount for cycle, amount in known if cycle is None and given]
        found[f"ideal_{count}"] = sum(timed, Fraction(0)) if given else None
        found[f"uncycled_{count}"] = sum(untimed, Fraction(0)) if given else None
    cycled = [(b - a) / cycle for a, b, unknown, _, cycle in pieces if unknown and cycle]
    found["ideal_unknown"] = sum(cycled, Fraction(0)) / NS_PER_SECOND
    found["uncycled_unknown"] = sum(each.end - each.start for each in pieces if each.unknown and not each.cycle)


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
    good: Fraction, total: Fraction, found: dict[str, Any]
) -> tuple[Fraction | None, Fraction | None, Fraction | None]:
    value, more = _over(good, total), found["ideal_unknown"]
    if found["uncycled_unknown"]:
        # Nothing limits what unknown time may have made: any number of bad pieces, or of good ones.
        return Fraction(0), value, Fraction(1)
    return _over(good, total + more), value, _over(good + more, total + more)


def kpis(found: dict[str, Any]) -> dict[str, Bounded]:
    """Return availability, effectiveness, quality_ratio and oee of an account (rules 15 to 18).

    Pieces without an ideal cycle leave no sum of planned run times, so effectiveness and oee are null. A KPI whose
    value is null has null bounds.
    """
    unknown, made = found["unknown"], found["production"]
    busy = sum(found[element] for element in ("production", "setup", "delay", "idle"))
    operation = sum(found[element] for element in ELEMENTS)
    total, good = (
        None if found[count] is None else found[count] - found[f"{count}_unknown"] for count in ("total", "good")
    )

    busy_s, made_s = Fraction(busy, NS_PER_SECOND), Fraction(made, NS_PER_SECOND)

    def bounded(
        denominator: Fraction | None, low: Fraction | None, value: Fraction | None, high: Fraction | None
    ) -> Bounded:
        coverage = _over(operation - unknown, operation)
        if value is None or low is None or high is None:
            return Bounded(None, None, None, coverage, denominator)
        return Bounded(value, min(low, value), max(high, value), coverage, denominator)

    nothing = bounded(None, None, None, None)
    result = dict.fromkeys(("availability", "effectiveness", "quality_ratio", "oee"), nothing)
    full = busy + unknown
    result["availability"] = bounded(busy_s, _over(made, full), _over(made, busy), _over(made + unknown, full))
    if total is not None and found["uncycled_total"] == 0:
        work, run = found["ideal_total"] * NS_PER_SECOND, made + unknown
        result["effectiveness"] = bounded(made_s, _over(work, run), _over(work, made), _over(work + unknown, run))
    if total is not None and good is not None:
        result["quality_ratio"] = bounded(total, *_quality(good, total, found))
    if total is not None and good is not None and found["uncycled_good"] == 0:
        work = found["ideal_good"] * NS_PER_SECOND
        result["oee"] = bounded(busy_s, _over(work, full), _over(work, busy), _over(work + unknown, full))
    return result

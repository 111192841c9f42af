"""Plants and samples made up from a seed: small, and full of what goes wrong on a shop floor.

Left out, because the rules do not settle them: scaled points, counts in mass units, values that are not finite,
counter values of the modulus or more, two swaps of a point at one instant, refinements without a condition, and two
shifts that start at the same instant by intention.
"""

import datetime as dt
import random
import zoneinfo
from itertools import pairwise
from typing import Any

import polars as pl

from config.plant import Asset, Calendar, CalendarException, Plant, Point, Product, Refinement, Shift, Source, Swap
from config.schema import SAMPLE, UTC_NS
from config.status import BAD, BAD_NO_COMMUNICATION, GOOD, GOOD_CLAMPED, UNCERTAIN

Sample = tuple[str, int, int, float | None, str | None, int]
"""point, ts [ns], ts_recv [ns], value, text, status"""

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

# Zones with dates whose night changes the clock in Berlin and New York.
ZONES = {
    "Asia/Shanghai": ["2026-11-20"],
    "Europe/Berlin": ["2026-03-28", "2026-10-24"],
    "America/New_York": ["2026-03-07", "2026-10-31"],
    "Asia/Kolkata": ["2026-12-31"],
}
SHIFTS = [
    ("early", "06:00", "14:00", [("09:00", "09:15"), ("12:00", "12:30"), ("12:20", "12:45")]),
    ("late", "14:00", "22:00", [("18:00", "18:30")]),
    ("night", "22:00", "06:00", [("01:45", "02:15"), ("02:30", "03:00"), ("23:50", "00:10")]),
    ("office", "08:00", "17:00", [("12:00", "13:00")]),
    ("long", "07:30", "19:30:30", []),
    ("夜班", "20:00", "04:00", [("00:00", "00:20"), ("03:50", "04:00")]),
    ("small hours", "02:30", "10:00", [("02:30", "02:40")]),
    ("round", "07:00", "07:00", [("15:00", "15:30"), ("06:30", "07:00")]),
]
STATES = {
    "default": {"1": "production", "2": "setup", "3": "delay", "4": "idle", "5": "planned"},
    "words": {"RUN": "production", "运行": "production", "Change": "setup", "FAULT": "delay", "off": "idle"},
}
# What the points that speak in words say, as (value, text).
WORDS: dict[str, list[tuple[float | None, str | None]]] = {
    "mode": [(None, "AUTOMATIC"), (None, "SEMI_AUTOMATIC"), (None, "MANUAL"), (3.0, None), (None, "3"), (None, "")],
    "order": [(None, "WO-17"), (4711.0, None), (None, ""), (0.0, None), (None, "0")],
    "apc": [(1.0, None), (2.5, None), (None, "on"), (0.0, None), (None, "OFF"), (None, "Manual"), (None, "")],
    "product": [(None, "A"), (None, "B"), (7.0, None), (None, "unlisted"), (None, "")],
    "ideal_cycle": [(2.5, None), (12.0, None), (40.0, None), (0.0, None), (-1.0, None)],
}
REFINEMENTS = [
    Refinement(element="production", mode_not=("AUTOMATIC", "SEMI_AUTOMATIC"), becomes="setup"),
    Refinement(element="production", mode=("MANUAL", "3"), order=False, becomes="idle"),
    Refinement(element="delay", order=False, becomes="idle"),
    Refinement(element="idle", order=True, becomes="delay"),
    Refinement(element="setup", mode=("AUTOMATIC",), becomes="production"),
    Refinement(element="delay", mode=("3", ""), becomes="planned"),
]
PRODUCTS = [
    Product(product="A", ideal_cycle=20.0),
    Product(product="A", asset="line1/press1", ideal_cycle=7.3),
    Product(product="B", asset="line1/*", ideal_cycle=30.0),
    Product(product="7", ideal_cycle=2.5),
    Product(product="B", asset="line2/oven", ideal_cycle=0.8),
]
ROLES = [
    (),
    ("total",),
    ("good",),
    ("reject",),
    ("total", "good"),
    ("total", "reject"),
    ("good", "reject"),
    ("total", "rework"),
    ("total", "total"),
    ("total", "good", "reject"),
    ("total", "good", "reject", "rework"),
]
# Medium, unit and the meter's smallest step in that unit.
METERS = [
    ("electricity", "kWh", 2),
    ("electricity", "MWh", 3),
    ("heat", "MJ", 1),
    ("gas", "m3", 2),
]


def _time(text: str) -> dt.time:
    return dt.time.fromisoformat(text)


def _shift(name: str, start: str, end: str, breaks: list[tuple[str, str]]) -> dict[str, Any]:
    pauses = [{"start": _time(a), "end": _time(b)} for a, b in breaks]
    return {"name": name, "start": _time(start), "end": _time(end), "breaks": pauses}


def _exceptions(rng: random.Random, base: dt.date, shifts: list[Shift]) -> list[CalendarException]:
    dates = rng.sample([base + dt.timedelta(days=n) for n in range(-1, 4)], rng.randint(0, 3))
    found = []
    for date in dates:
        shift = rng.choice(shifts)
        name, working = rng.choice([shift.name, shift.name, ""]), rng.random() < 0.6
        times: dict[str, dt.time] = {}
        if working and name and rng.random() < 0.7:
            key = rng.choice(["start", "end"])
            hour = (getattr(shift, key).hour + rng.choice([-1, 1, 2])) % 24
            times[key] = dt.time(hour, rng.choice([5, 35, 47]))
        found.append(CalendarException(date=date, shift=name, working=working, **times))
    return found


def _calendars(rng: random.Random, base: dt.date) -> list[Calendar]:
    found, chosen = [], rng.sample(SHIFTS, 3)
    patterns = rng.choice([[], [["*"]], [["*"]], [["line1/*"], ["line2/*"]], [["*"], ["line1/*"]], [["*/press1"]]])
    for n, assets in enumerate(patterns):
        # Calendars that cover one asset share no shift, or two would start at the same instant.
        mine = chosen[n::2] if len(patterns) > 1 else chosen[: rng.randint(1, 3)]
        shifts = [Shift.model_validate(_shift(*shift)) for shift in mine]
        weekdays = rng.choice([("mon", "tue", "wed", "thu", "fri"), ("sat", "sun", "mon"), None, None])
        days = {} if weekdays is None else {"weekdays": weekdays}
        rows = tuple(_exceptions(rng, base, shifts))
        found.append(Calendar(assets=tuple(assets), shifts=tuple(shifts), exception_rows=rows, **days))
    return found


def _wanted(rng: random.Random) -> list[dict[str, Any]]:
    """Rows of an asset's point table, in no order."""
    counts = rng.choice(ROLES)
    found: list[dict[str, Any]] = [{"role": role} for role in counts]
    for medium, unit, _ in rng.sample(METERS, rng.choice([0, 1, 1, 2])):
        found.append({"role": f"energy.{medium}", "unit": unit})
    for row in found:
        row["modulus"] = rng.choice([None, None, 1000, 10_000, 65_536, 655.36])
        row["max_rate"] = rng.choice([None, None, 0.25, 0.5, 2.0])
    if counts and rng.random() < 0.35:
        found.append({"role": "since_reset", "unit": "s"})
    if rng.random() < 0.7:
        found.append({"role": "state", "states": rng.choice(["default", "default", "words"])})
    shares = {"mode": 0.4, "order": 0.3, "apc": 0.35, "product": 0.35, "ideal_cycle": 0.2}
    found += [{"role": role} for role, share in shares.items() if rng.random() < share]
    if rng.random() < 0.2:
        found.append({"role": "measure", "unit": "bar"})
    rng.shuffle(found)
    return found


def _points(rng: random.Random, assets: list[Asset], pace: int) -> list[Point]:
    found: list[Point] = []
    for asset in assets:
        for n, row in enumerate(_wanted(rng)):
            row["max_hold"] = rng.choice([None, None, pace, pace * 2 + 7, pace * 40])
            name = f"{asset.asset}/{row['role']}{n}"
            found.append(Point(point=name, asset=asset.asset, source="plc", address=str(n), heartbeat=pace, **row))
    return found


def _instants(rng: random.Random, start: int, end: int, pace: int) -> list[int]:
    t = start - round(pace * rng.uniform(-2, 5))
    found = []
    while t < end + pace * rng.choice([-2, 1, 3, 3]):
        found.append(t)
        part = rng.choice([0.1, 0.5, 1, 1, 1, 1, 2.5, 6])
        t += max(SECOND, int(pace * part) // SECOND * SECOND) + rng.choice([0, 0, 0, 1, rng.randrange(SECOND)])
    # An instant exactly on the window's borders is where half-open intervals go wrong.
    return sorted({*found, *rng.sample([start, end, end - 1, start - 1], rng.randint(0, 2))})


def _blemish(rng: random.Random, row: Sample) -> Sample:
    point, ts, received, value, text, status = row
    kind = rng.random()
    if kind < 0.05:
        return point, ts, received, None, None, BAD_NO_COMMUNICATION
    if kind < 0.08:
        return point, ts, received, value, text, BAD
    if kind < 0.13:
        return point, ts, received, value, text, UNCERTAIN
    if kind < 0.15:
        return point, ts, received, None, None, GOOD
    return point, ts, received, value, text, GOOD_CLAMPED if kind < 0.2 else status


def _word(rng: random.Random, point: Point) -> tuple[float | None, str | None]:
    if point.role in WORDS:
        return rng.choice([*WORDS[point.role], *WORDS[point.role][:1] * 3])
    if rng.random() < 0.06:
        return rng.choice([(9.0, None), (1.5, None), (None, "unheard of"), (None, ""), (-1.0, None)])
    word = rng.choice([*STATES[point.states], *list(STATES[point.states])[:1] * 4])
    return (float(word), None) if word.isdigit() and rng.random() < 0.9 else (None, word)


def _since(rng: random.Random, times: list[int], resets: list[int]) -> list[float]:
    """Seconds since the last reset, by a clock that is whole or late by about what is forgiven."""
    found = []
    for ts in times:
        past = (ts - max(reset for reset in resets if reset <= ts)) / SECOND
        found.append(rng.choice([past, past, float(int(past)), past + 2, past - 1.5]))
    return found


def _swap(rng: random.Random, point: Point, zone: dt.tzinfo, at: int, last: float, first: float) -> Swap:
    when = EPOCH + dt.timedelta(microseconds=at // 1000)
    local = when.astimezone(zone)
    said = rng.choice([last, last, max(0.0, last - 3), None])
    return Swap(point=point.point, at=rng.choice([when, local, local.replace(tzinfo=None)]), last=said, first=first)


def _count(
    rng: random.Random, point: Point, times: list[int], resets: list[int], zone: dt.tzinfo, cycle: float
) -> tuple[list[float], list[Swap]]:
    """What a counter or meter says at some instants, and its swaps; some keep the pace of the ideal cycle [s]."""
    fine = next((digits for medium, unit, digits in METERS if (medium, unit) == (point.medium, point.unit)), None)
    scale = 10 ** (rng.choice([0, 0, 2]) if fine is None else fine)
    limit = None if point.modulus is None else int(point.modulus * scale)
    now = rng.choice([0, 7, rng.randrange(10**8)]) % (limit or 10**9)
    found, swaps, swapping = [now / scale], [], rng.choice([0, 0, 0, 0.05])
    steady = rng.random() < 0.3
    for before, this in pairwise(times):
        most = int((point.max_rate or 0.1) * scale * (this - before) / SECOND)
        step = int(most * rng.choice([0, 0.1, 0.4, rng.uniform(0, 0.9)]))
        if steady:
            step = round((this - before) * scale * rng.choice([1, 0.5, 0.5, 0.25, 0]) / (cycle * SECOND))
        kind = rng.random()
        if rng.random() < swapping:
            first = rng.choice([0, 0, 5, now])
            at = rng.choice([this, before + 1000, rng.randrange(before, this)])
            swaps.append(_swap(rng, point, zone, at, (now + step) / scale, first / scale))
            now = first + step // 2
        elif any(before < reset <= this for reset in resets) and kind < 0.8:
            now = step // 2 + rng.choice([0, 0, 0, now])
        elif kind < 0.05:
            now = rng.randrange(6)
        elif kind < 0.1:
            now += step + 3 * most + 10
        elif kind < 0.12:
            now = max(0, now - rng.randrange(1, 40))
        else:
            now += step
        now = now if limit is None else now % limit
        found.append(now / scale)
    return found, swaps


def _samples(
    rng: random.Random, point: Point, times: list[int], resets: list[int], zone: dt.tzinfo, cycle: float
) -> tuple[list[Sample], list[Swap]]:
    """A point's samples, and the swaps of its counter."""
    words, numbers, swaps = point.role == "state" or point.role in WORDS, [], []
    if point.role == "since_reset":
        numbers = _since(rng, times, resets)
    elif not words:
        numbers, swaps = _count(rng, point, times, resets, zone, cycle)
    found: list[Sample] = []
    for n, ts in enumerate(times):
        value, text = _word(rng, point) if words else (numbers[n], None)
        row = (point.point, ts, ts + rng.randrange(3 * SECOND), value, text, GOOD)
        found.append(_blemish(rng, row))
        if rng.random() < 0.04:
            # A second telling of the same instant: later, or received at once with another content.
            other = _word(rng, point) if words else (numbers[max(0, n - 1)], None)
            status = rng.choice([GOOD, GOOD, UNCERTAIN, BAD])
            found.append((point.point, ts, found[-1][2] + rng.choice([0, SECOND, -5]), *other, status))
    return found, swaps


def _register(rng: random.Random) -> list[Asset]:
    names = rng.sample(["line1/press1", "line1/press2", "line2/oven"], rng.choice([1, 1, 1, 2, 3]))
    return [Asset(asset=name, ideal_cycle=rng.choice([None, 0.8, 2.5, 10.0, 30.0, 57.6])) for name in names]


def generate(seed: int) -> tuple[Plant, list[Sample], int, int]:
    """Return a plant, its samples in no order and with repeats, and a window [start, end) [ns, UTC].

    The same seed gives the same plant, in another process too.
    """
    rng = random.Random(seed)
    zone = rng.choice(list(ZONES))
    base = dt.date.fromisoformat(rng.choice(ZONES[zone]))
    zone_info = zoneinfo.ZoneInfo(zone)
    midnight = dt.datetime.combine(base, dt.time(), tzinfo=zone_info)
    start = int(midnight.timestamp()) * SECOND + rng.randrange(30) * HOUR
    start += rng.choice([0, 0, 1, rng.randrange(HOUR)])
    length = rng.choice([1, 2, 8, 8, 24, 24, 30, 72]) * HOUR
    end = start + length + rng.choice([0, 0, -1, -rng.randrange(HOUR // 2)])
    assets = _register(rng)
    pace = max(SECOND, length // rng.randint(8, 60 // (len(assets) + 1)) // SECOND * SECOND)
    points = _points(rng, assets, pace)
    # A machine's counters are set to 0 together, the first time days before the window.
    resets = {
        a.asset: [start - 100 * HOUR, *(rng.randrange(start, end) for _ in range(rng.randint(0, 4)))] for a in assets
    }
    told = []
    for asset in assets:
        # Some machines are read all at once, and then all of a machine changes at one instant.
        once = _instants(rng, start, end, pace) if rng.random() < 0.3 else None
        for point in (each for each in points if each.asset == asset.asset):
            times = once or _instants(rng, start, end, pace)
            told.append(_samples(rng, point, times, resets[asset.asset], zone_info, asset.ideal_cycle or 10.0))
    samples = [row for rows, _ in told for row in rows]
    samples += rng.sample(samples, len(samples) // 10)
    samples.append(("line9/stranger", start, start, 1.0, None, GOOD))
    rng.shuffle(samples)
    plant = Plant(
        id="generated",
        timezone=zone,
        day_start=rng.choice([dt.time(0), dt.time(8), dt.time(2, 30)]),
        uncertain=rng.choice(["bad", "good"]),
        # Stops last as long as samples are apart: exactly as long, too.
        micro_stop=rng.choice([120 * SECOND, pace, pace, pace + 1, pace // 2, pace * 5 // 2]),
        startup=rng.choice([60 * SECOND, 600 * SECOND, pace, HOUR]),
        sources=(Source(id="plc", kind="opcua", url="opc.tcp://plc:4840", security="None"),),
        calendars=tuple(_calendars(rng, base)),
        states=STATES,
        refinements={name: tuple(rng.sample(REFINEMENTS, rng.randint(0, 6))) for name in STATES},
        products=tuple(rng.sample(PRODUCTS, rng.choice([0, 2, 3, 5]))),
        swaps=tuple(swap for _, swaps in told for swap in swaps),
        assets=tuple(assets),
        points=tuple(points),
    )
    return plant, samples, start, end


def to_frame(samples: list[Sample]) -> pl.DataFrame:
    """Return the samples as a frame of the schema SAMPLE, in their order."""
    columns = {name: [row[place] for row in samples] for place, name in enumerate(SAMPLE)}
    return pl.DataFrame(
        [
            pl.Series(name, cells, pl.Int64() if SAMPLE[name] == UTC_NS else SAMPLE[name]).cast(SAMPLE[name])
            for name, cells in columns.items()
        ]
    )

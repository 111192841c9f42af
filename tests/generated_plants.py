"""Plants and samples made up from a seed: small, and full of what goes wrong on a shop floor.

Left out, because the rules do not settle them: products, scaled points, counts in mass units, values that are
not finite, counter values outside 0 .. modulus-1, and two shifts that start at the same instant by intention.
"""

import datetime as dt
import random
from itertools import pairwise
from typing import Any

import polars as pl

from config.plant import Asset, Calendar, CalendarException, Plant, Point, Shift, Source
from config.schema import SAMPLE, UTC_NS
from config.status import BAD, BAD_NO_COMMUNICATION, GOOD, GOOD_CLAMPED, UNCERTAIN

Sample = tuple[str, int, int, float | None, str | None, int]
"""point, ts [ns], ts_recv [ns], value, text, status"""

SECOND = 1_000_000_000
HOUR = 3600 * SECOND

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


def _points(rng: random.Random, assets: list[Asset], pace: int) -> list[Point]:
    found: list[Point] = []
    for asset in assets:
        wanted: list[dict[str, Any]] = [{"role": role} for role in rng.choice(ROLES)]
        for medium, unit, _ in rng.sample(METERS, rng.choice([0, 1, 1, 2])):
            wanted.append({"role": f"energy.{medium}", "unit": unit})
        for row in wanted:
            row["modulus"] = rng.choice([None, 1000, 10_000, 65_536])
            row["max_rate"] = rng.choice([None, None, 0.25, 0.5, 2.0])
        if rng.random() < 0.9:
            wanted.append({"role": "state", "states": rng.choice(["default", "default", "words"])})
        if rng.random() < 0.2:
            wanted.append({"role": "measure", "unit": "bar"})
        for n, row in enumerate(wanted):
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


def _state(rng: random.Random, point: Point) -> tuple[float | None, str | None]:
    if rng.random() < 0.06:
        return rng.choice([(9.0, None), (1.5, None), (None, "unheard of"), (None, ""), (-1.0, None)])
    word = rng.choice([*STATES[point.states], *list(STATES[point.states])[:1] * 4])
    return (float(word), None) if word.isdigit() and rng.random() < 0.9 else (None, word)


def _count(rng: random.Random, point: Point, times: list[int]) -> list[float]:
    digits = next((digits for medium, unit, digits in METERS if (medium, unit) == (point.medium, point.unit)), 0)
    scale = 10**digits
    limit = None if point.modulus is None else point.modulus * scale
    now = rng.choice([0, 7, rng.randrange(10**8)]) % (limit or 10**9)
    found = [now / scale]
    for before, this in pairwise(times):
        most = int((point.max_rate or 0.1) * scale * (this - before) / SECOND)
        now += int(most * rng.choice([0, 0.1, 0.4, rng.uniform(0, 0.9)]))
        kind = rng.random()
        if kind < 0.05:
            now = rng.randrange(6)
        elif kind < 0.1:
            now += 3 * most + 10
        elif kind < 0.12:
            now = max(0, now - rng.randrange(1, 40))
        now = now if limit is None else now % limit
        found.append(now / scale)
    return found


def _samples(rng: random.Random, point: Point, times: list[int]) -> list[Sample]:
    counts = _count(rng, point, times) if point.role != "state" else []
    found: list[Sample] = []
    for n, ts in enumerate(times):
        value, text = _state(rng, point) if point.role == "state" else (counts[n], None)
        row = (point.point, ts, ts + rng.randrange(3 * SECOND), value, text, GOOD)
        found.append(_blemish(rng, row))
        if rng.random() < 0.04:
            # A second telling of the same instant: later, or received at once with another content.
            other = _state(rng, point) if point.role == "state" else (counts[max(0, n - 1)], None)
            status = rng.choice([GOOD, GOOD, UNCERTAIN, BAD])
            found.append((point.point, ts, found[-1][2] + rng.choice([0, SECOND, -5]), *other, status))
    return found


def generate(seed: int) -> tuple[Plant, list[Sample], int, int]:
    """Return a plant, its samples in no order and with repeats, and a window [start, end) [ns, UTC].

    The same seed gives the same plant, in another process too.
    """
    rng = random.Random(seed)
    zone = rng.choice(list(ZONES))
    base = dt.date.fromisoformat(rng.choice(ZONES[zone]))
    plant = Plant(
        id="generated",
        timezone=zone,
        day_start=rng.choice([dt.time(0), dt.time(8), dt.time(2, 30)]),
        uncertain=rng.choice(["bad", "good"]),
        sources=(Source(id="plc", kind="opcua", url="opc.tcp://plc:4840", security="None"),),
        calendars=tuple(_calendars(rng, base)),
        states=STATES,
    )
    midnight = dt.datetime.combine(base, dt.time(), tzinfo=plant.zone)
    start = int(midnight.timestamp()) * SECOND + rng.randrange(30) * HOUR
    start += rng.choice([0, 0, 1, rng.randrange(HOUR)])
    length = rng.choice([1, 2, 8, 8, 24, 24, 30, 72]) * HOUR
    end = start + length + rng.choice([0, 0, -1, -rng.randrange(HOUR // 2)])
    names = rng.sample(["line1/press1", "line1/press2", "line2/oven"], rng.randint(1, 3))
    assets = [Asset(asset=name, ideal_cycle=rng.choice([None, 0.8, 2.5, 30.0])) for name in names]
    pace = max(SECOND, length // rng.randint(8, 60 // (len(assets) + 1)) // SECOND * SECOND)
    points = _points(rng, assets, pace)
    samples = [row for point in points for row in _samples(rng, point, _instants(rng, start, end, pace))]
    samples += rng.sample(samples, len(samples) // 10)
    samples.append(("line9/stranger", start, start, 1.0, None, GOOD))
    rng.shuffle(samples)
    return plant.model_copy(update={"assets": tuple(assets), "points": tuple(points)}), samples, start, end


def to_frame(samples: list[Sample]) -> pl.DataFrame:
    """Return the samples as a frame of the schema SAMPLE, in their order."""
    columns = {name: [row[place] for row in samples] for place, name in enumerate(SAMPLE)}
    return pl.DataFrame(
        [
            pl.Series(name, cells, pl.Int64() if SAMPLE[name] == UTC_NS else SAMPLE[name]).cast(SAMPLE[name])
            for name, cells in columns.items()
        ]
    )

"""The oracle against cases worked out by hand, and its own laws on generated plants."""

import datetime as dt
from fractions import Fraction

import pytest

from config.plant import Asset, Calendar, CalendarException, Plant, Point, Shift, Source
from config.schema import COUNTS, DURATIONS, SAMPLE
from config.status import BAD, GOOD, GOOD_CLAMPED, UNCERTAIN
from tests.generated_plants import generate, to_frame
from tests.oracle import account, kpis, planned, state_at, steps

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
WEEK = 168 * HOUR
SEEDS = range(60)


def instant(text):
    return int(dt.datetime.fromisoformat(text).timestamp()) * SECOND


MORNING = instant("2026-11-20T08:00+08:00")


def plant(*points, asset="press", **more):
    rows = tuple(Point(**{"asset": asset, "source": "plc", "address": "0"} | point) for point in points)
    numbers = {"1": "production", "2": "setup", "3": "delay", "4": "idle", "5": "planned"}
    sources = (Source(id="plc", kind="opcua", url="opc.tcp://plc:4840"),)
    more = {"states": {"default": numbers}} | more
    return Plant(id="p", sources=sources, assets=(Asset(asset=asset),), points=rows, **more)


def shift(name, start, end, *breaks):
    pauses = tuple({"start": a, "end": b} for a, b in breaks)
    return Shift.model_validate({"name": name, "start": start, "end": end, "breaks": pauses})


def rows(point, *samples):
    """Each sample is (offset from MORNING [s], value or text or None[, status])."""
    found = []
    for offset, said, *status in samples:
        value, text = (None, said) if isinstance(said, str) else (said, None)
        ts = MORNING + round(offset * SECOND)
        found.append((point, ts, ts, value, text, status[0] if status else GOOD))
    return found


def counted(*samples, seconds=100, **point):
    """The account of a counter alone, over `seconds` from MORNING."""
    subject = plant({"point": "n", "role": "total", "max_hold": WEEK} | point)
    return account(subject, "press", rows("n", *samples), MORNING, MORNING + seconds * SECOND)


def stated(*samples, seconds=100, **more):
    """The account of a state alone, over `seconds` from MORNING; a sample holds for 60 s."""
    subject = plant({"point": "s", "role": "state", "max_hold": "60s"}, **more)
    return account(subject, "press", rows("s", *samples), MORNING, MORNING + seconds * SECOND)


def durations(found):
    return {element: found[element] / SECOND for element in (*DURATIONS, "unmapped") if found[element]}


def percent(result):
    return {name: 100 * float(bounded.value) for name, bounded in result.items()}


def worked(minutes, stops, ideal, made, rejected, *, meals=0, calendars=()):
    """A stretch of time with `stops` and `meals` [min] one after the other, then production to the end."""
    points = [
        {"point": "s", "role": "state"},
        {"point": "n", "role": "total"},
        {"point": "r", "role": "reject"},
    ]
    subject = plant(*({"max_hold": WEEK} | point for point in points), calendars=calendars)
    eaten = [(0, 5.0)] if meals else []
    samples = rows("s", *eaten, (60 * meals, 3.0), (60 * (meals + stops), 1.0))
    samples += rows("n", (0, 0.0), (60 * minutes, float(made)))
    samples += rows("r", (0, 0.0), (60 * minutes, float(rejected)))
    found = account(subject, "press", samples, MORNING, MORNING + minutes * MINUTE)
    return found, kpis(found, ideal)


# The worked examples of the KPI rules, by their numbers. Where a published figure was cut, not rounded, or
# was multiplied from rounded factors, the figure that the example's own numbers give stands here.


def test_example_1_gives_availability_performance_quality_and_oee_of_a_shift_with_breaks():
    day = shift("day", "08:00", "16:00", ("10:00", "10:15"), ("12:00", "12:30"), ("14:00", "14:15"))
    found, result = worked(480, 47, 1.0, 19_271, 423, calendars=(Calendar(shifts=(day,)),))
    assert durations(found) == {"production": 373 * 60, "delay": 47 * 60, "break": 3600}
    expected = {"availability": 88.81, "effectiveness": 86.11, "quality_ratio": 97.80, "oee": 74.79}
    # 0.005 is the rounding of the published figures.
    assert percent(result) == pytest.approx(expected, abs=0.0051)
    assert float(found["good"] * 100 / (480 * 60)) == pytest.approx(65.44, abs=0.0051)


def test_example_2_gives_the_four_figures_of_a_shift_of_two_a_minute():
    day = shift("day", "08:00", "16:00", ("12:00", "12:45"))
    _, result = worked(480, 30, 30.0, 700, 25, calendars=(Calendar(shifts=(day,)),))
    expected = {"availability": 93.10, "effectiveness": 86.42, "quality_ratio": 96.43, "oee": 77.59}
    assert percent(result) == pytest.approx(expected, abs=0.0051)


@pytest.mark.parametrize(
    ("minutes", "meals", "stops", "ideal", "made", "rejected", "expected"),
    [
        (3240, 360, 1060, 60 / 1.041, 1626, 8, {"availability": 63.19, "oee": 53.97}),
        (910, 0, 127, 180.0, 203, 51, {"availability": 86.04, "quality_ratio": 74.88, "oee": 50.11}),
        (460, 0, 70, 48.0, 418, 8.36, {"availability": 84.78, "quality_ratio": 98.0, "oee": 71.24}),
        (435, 0, 61.5, 60.0, 312, 14, {"availability": 85.86, "quality_ratio": 95.51, "oee": 68.51}),
        (8880, 0, 1380, 30.0, 13_200, 660, {"effectiveness": 88.0, "quality_ratio": 95.0, "oee": 70.61}),
        (455, 0, 32, 10.0, 2240, 50, {"availability": 92.97, "effectiveness": 88.26, "oee": 80.22}),
    ],
)
def test_examples_3_to_8_come_out(minutes, meals, stops, ideal, made, rejected, expected):
    _, result = worked(minutes, stops, ideal, made, rejected, meals=meals)
    assert {name: percent(result)[name] for name in expected} == pytest.approx(expected, abs=0.0051)


def test_example_9_a_counter_of_modulus_10000_rolls_over():
    found = counted((0, 9900.0), (100, 100.0), modulus=10_000)
    assert (found["total"], found["resets"]) == (200, 0)


def test_example_10_a_drop_without_modulus_is_a_reset():
    found = counted((0, 10.0), (50, 20.0), (100, 10.0))
    assert (found["total"], found["resets"]) == (20, 1)


@pytest.mark.parametrize(("date", "hours"), [("2026-03-28", 7), ("2026-10-24", 9), ("2026-11-20", 8)])
def test_example_11_a_night_shift_has_the_hours_of_its_night(date, hours):
    calendar = Calendar(shifts=(shift("night", "22:00", "06:00"),))
    subject = plant(calendars=(calendar,), timezone="Europe/Berlin")
    noon = instant(f"{date}T12:00+00:00")
    [(label, start, a, b, kind)] = planned(subject, "press", noon, noon + 24 * HOUR - MINUTE)
    assert (label, kind, start, b - a) == (f"{date} night", "work", a, hours * HOUR)


# Planned time.


def test_time_in_two_shifts_belongs_to_the_one_that_starts_first():
    shifts = (shift("late", "10:00", "14:00"), shift("early", "08:00", "12:00", ("11:00", "11:30")))
    pieces = planned(plant(calendars=(Calendar(shifts=shifts),)), "press", MORNING, MORNING + 8 * HOUR)
    assert [(label[11:], (b - a) // MINUTE, kind) for label, _, a, b, kind in pieces] == [
        ("early", 180, "work"),
        ("early", 30, "break"),
        ("early", 30, "work"),
        ("late", 120, "work"),
    ]


def test_a_night_shift_seen_after_midnight_keeps_its_date_its_break_and_its_start():
    night = shift("night", "22:00", "06:00", ("02:00", "02:30"))
    midnight = MORNING + 16 * HOUR
    pieces = planned(plant(calendars=(Calendar(shifts=(night,)),)), "press", midnight, midnight + 3 * HOUR)
    told = [(label, (start - midnight) // HOUR, (b - a) // MINUTE, kind) for label, start, a, b, kind in pieces]
    assert told == [
        ("2026-11-20 night", -2, 120, "work"),
        ("2026-11-20 night", -2, 30, "break"),
        ("2026-11-20 night", -2, 30, "work"),
    ]


def test_a_wall_time_that_does_not_exist_moves_on_and_an_ambiguous_one_is_the_first():
    subject = plant(calendars=(Calendar(shifts=(shift("s", "02:30", "04:00"),)),), timezone="Europe/Berlin")
    for date, minutes, begin in [("2026-03-29", 30, "01:30"), ("2026-10-25", 150, "00:30")]:
        midnight = instant(f"{date}T00:00+00:00")
        [(_, start, a, b, _)] = planned(subject, "press", midnight, midnight + 12 * HOUR)
        assert (start, a, b - a) == (instant(f"{date}T{begin}+00:00"), start, minutes * MINUTE)


def test_exceptions_take_away_add_and_move_shifts():
    # 20 November 2026 is a Friday.
    exceptions = (
        CalendarException(date=dt.date(2026, 11, 20), shift="a", working=False),
        CalendarException(date=dt.date(2026, 11, 20), shift="b", working=True, end=dt.time(15)),
        CalendarException(date=dt.date(2026, 11, 21), working=True),
    )
    calendar = Calendar(
        weekdays=("fri",),
        shifts=(shift("a", "08:00", "12:00"), shift("b", "13:00", "17:00")),
        exception_rows=exceptions,
    )
    pieces = planned(plant(calendars=(calendar,)), "press", MORNING, MORNING + 72 * HOUR)
    assert [(label, (b - a) // HOUR) for label, _, a, b, _ in pieces] == [
        ("2026-11-20 b", 2),
        ("2026-11-21 a", 4),
        ("2026-11-21 b", 4),
    ]


def test_a_plant_without_a_calendar_plans_production_days_and_an_asset_outside_every_calendar_nothing():
    days = planned(plant(day_start=dt.time(10)), "press", MORNING, MORNING + 24 * HOUR)
    assert [(label, (b - a) // HOUR) for label, _, a, b, _ in days] == [
        ("2026-11-19 day", 2),
        ("2026-11-20 day", 22),
    ]
    elsewhere = Calendar(assets=("line1/*",), shifts=(shift("a", "08:00", "12:00"),))
    assert planned(plant(calendars=(elsewhere,)), "press", MORNING, MORNING + 24 * HOUR) == []


# States.


def test_a_state_holds_until_the_next_sample_and_no_longer_than_its_hold():
    assert durations(stated((-10, 1.0), (20, 3.0))) == {"production": 20, "delay": 60, "unknown": 20}


def test_a_seed_older_than_its_hold_says_nothing():
    assert durations(stated((-60, 1.0))) == {"unknown": 100}
    assert durations(stated((-59, 1.0))) == {"production": 1, "unknown": 99}


def test_a_bad_sample_ends_what_held_until_the_next_good_one():
    samples = [(0, 1.0), (10, 1.0, BAD), (30, None), (40, 2.0, GOOD_CLAMPED), (50, 4.0, UNCERTAIN)]
    assert durations(stated(*samples)) == {"production": 10, "setup": 10, "unknown": 80}
    assert durations(stated(*samples, uncertain="good")) == {
        "production": 10,
        "setup": 10,
        "idle": 50,
        "unknown": 30,
    }


def test_a_state_without_a_meaning_is_unknown_and_listed():
    assert durations(stated((0, 7.0), (20, "1"), (50, "1.0"))) == {
        "production": 30,
        "unknown": 70,
        "unmapped": 70,
    }


def test_state_at_is_half_open_on_both_sides():
    subject = plant({"point": "s", "role": "state", "max_hold": "60s"})
    samples = rows("s", (0, 1.0), (10, 8.0))
    told = [state_at(subject, "press", samples, MORNING + t) for t in (-1, 0, 10 * SECOND, 70 * SECOND)]
    assert told == ["unknown", "production", "unmapped", "unknown"]


def test_of_samples_at_one_instant_the_one_received_last_counts_then_the_worse_one():
    ts = MORNING
    rival = ("s", ts, ts + 1, 3.0, None, GOOD)
    first = ("s", ts, ts, 1.0, None, GOOD)
    assert state_at(plant({"point": "s", "role": "state"}), "press", [rival, first], ts) == "delay"
    for worse in [(None, None, GOOD), (1.0, None, BAD)]:
        told = state_at(plant({"point": "s", "role": "state"}), "press", [("s", ts, ts + 1, *worse), rival], ts)
        assert told == "unknown"


# Counters and meters.


def test_a_border_divides_an_increment_in_proportion_to_time():
    assert counted((-50, 0.0), (150, 8.0))["total"] == 4
    assert counted((-100, 0.0), (200, 1.0))["total"] == Fraction(1, 3)


def test_a_step_that_closes_on_the_border_belongs_to_the_window_that_ends_there():
    samples = [(-100, 5.0), (0, 2.0), (100, 1.0)]
    assert counted(*samples)["resets"] == 1
    assert counted(*samples, seconds=99)["resets"] == 0


def test_an_increment_across_a_gap_is_kept_and_spread_and_flagged():
    for middle in [(20, None, BAD), (20, 3.0, BAD)]:
        found = counted((0, 0.0), middle, (200, 10.0))
        assert (found["total"], found["gap_steps"]) == (5, 0)
        found = counted((0, 0.0), middle, (100, 10.0))
        assert (found["total"], found["gap_steps"]) == (10, 1)
    assert [counted((0, 0.0), (60, 1.0), max_hold=hold)["gap_steps"] for hold in ("60s", "59s")] == [0, 1]


def test_a_step_above_the_rate_is_refused_and_the_next_starts_from_it():
    found = counted((0, 0.0), (10, 21.0), (20, 41.0), max_rate=2.0)
    assert (found["total"], found["refused_steps"], found["uncertain"]) == (20, 1, 21)
    found = counted((0, 9.0), (10, None, BAD), (20, 200.0), (30, 41.0), max_rate=2.0)
    events = (found["resets"], found["refused_steps"], found["gap_steps"], found["uncertain"])
    assert (found["total"], events) == (0, (1, 2, 0, 191 + 41))


def test_a_drop_is_a_rollover_only_where_the_step_is_plausible():
    drops = [(0, 900.0), (10, 300.0)]
    assert (counted(*drops, modulus=1000)["total"], counted(*drops, modulus=1000)["resets"]) == (400, 0)
    drops = [(0, 900.0), (10, 500.0)]
    assert (counted(*drops, modulus=1000)["total"], counted(*drops, modulus=1000)["resets"]) == (500, 1)
    fast = counted(*drops, modulus=1000, max_rate=60.0)
    assert (fast["total"], fast["resets"]) == (600, 0)
    slow = counted(*drops, modulus=1000, max_rate=50.0)
    assert (slow["total"], slow["resets"], slow["refused_steps"]) == (500, 1, 0)


def test_a_meter_is_counted_in_millionths_of_its_canonical_unit():
    subject = plant({"point": "e", "role": "energy.heat", "unit": "MJ", "max_hold": WEEK})
    samples = rows("e", (0, 0.1), (50, 0.2), (100, 0.4))
    # 27777.78, 55555.56 and 111111.11 millionths of a kWh, each rounded before the difference.
    assert [step.amount for step in steps(subject, subject.points[0], samples)] == [27778, 55555]
    found = account(subject, "press", samples, MORNING, MORNING + 100 * SECOND)
    assert found["energy.heat"] == Fraction(83_333, 10**6)


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (["total", "good", "reject"], (10, 9, 2)),
        (["total", "good"], (10, 9, 1)),
        (["total", "reject"], (10, 8, 2)),
        (["good", "reject"], (11, 9, 2)),
        (["total"], (10, 10, None)),
        (["good"], (None, 9, None)),
        (["reject"], (None, None, 2)),
        (["total", "total", "good"], (20, 9, 11)),
        ([], (None, None, None)),
    ],
)
def test_roles_that_are_missing_come_from_the_others(roles, expected):
    made = {"total": 10.0, "good": 9.0, "reject": 2.0}
    subject = plant(*({"point": f"{n}", "role": role, "max_hold": WEEK} for n, role in enumerate(roles)))
    samples = [row for n, role in enumerate(roles) for row in rows(f"{n}", (0, 0.0), (100, made[role]))]
    found = account(subject, "press", samples, MORNING, MORNING + 100 * SECOND)
    assert tuple(found[count] for count in ("total", "good", "reject")) == expected
    assert tuple(found[f"{count}_unknown"] for count in ("total", "good", "reject")) == expected


# KPIs under unknown time.


def test_unknown_time_is_left_out_of_the_value_and_bounds_it():
    points = [{"point": "s", "role": "state", "max_hold": "60s"}, {"point": "n", "role": "total"}]
    subject = plant(*points, {"point": "r", "role": "reject"})
    samples = rows("s", (0, 1.0), (40, 3.0), (45, 2.0), (50, 4.0), (60, 5.0), (80, None, BAD))
    samples += rows("n", (0, 0.0), (100, 50.0)) + rows("r", (0, 0.0), (100, 10.0))
    found = account(subject, "press", samples, MORNING, MORNING + 100 * SECOND)
    assert durations(found) == {
        "production": 40,
        "setup": 5,
        "delay": 5,
        "idle": 10,
        "planned": 20,
        "unknown": 20,
    }
    assert (found["total"], found["total_unknown"], found["good_unknown"]) == (50, 10, 8)
    result = kpis(found, 0.5)
    # Known: 40 pieces, 32 of them good, 40 s of production in 60 s of planned busy time; 20 s are unknown.
    assert result["availability"] == (Fraction(40, 60), Fraction(40, 80), Fraction(60, 80), Fraction(4, 5))
    assert result["effectiveness"] == (Fraction(20, 40), Fraction(20, 60), Fraction(40, 60), Fraction(4, 5))
    assert result["quality_ratio"] == (Fraction(32, 40), Fraction(32, 80), Fraction(72, 80), Fraction(4, 5))
    assert result["oee"] == (Fraction(16, 60), Fraction(16, 80), Fraction(36, 80), Fraction(4, 5))


def test_a_zero_denominator_gives_null_and_coverage_stays():
    found = stated((-10, 5.0))
    nothing = kpis(found, 1.0)
    assert {name: bounded.value for name, bounded in nothing.items()} == dict.fromkeys(nothing)
    assert nothing["availability"].coverage == Fraction(1, 2)


# Laws, on generated plants.


@pytest.mark.parametrize("seed", SEEDS)
def test_every_nanosecond_is_in_one_element_and_bounds_hold_their_value(seed):
    subject, samples, start, end = generate(seed)
    for asset in subject.assets:
        found = account(subject, asset.asset, samples, start, end)
        assert sum(found[element] for element in DURATIONS) == end - start
        assert found["unmapped"] <= found["unknown"]
        in_shifts = sum(b - a for *_, a, b, kind in planned(subject, asset.asset, start, end) if kind == "work")
        assert in_shifts == end - start - found["break"] - found["unscheduled"]
        for bounded in kpis(found, asset.ideal_cycle).values():
            assert bounded.value is None or bounded.low <= bounded.value <= bounded.high


@pytest.mark.parametrize("seed", SEEDS)
def test_an_account_is_the_sum_of_the_accounts_of_its_parts(seed):
    subject, samples, start, end = generate(seed)
    cut = start + (end - start) * 3 // 7
    for asset in subject.assets:
        left, right = (account(subject, asset.asset, samples, *w) for w in [(start, cut), (cut, end)])
        whole = account(subject, asset.asset, samples, start, end)
        assert whole == {key: None if left[key] is None else left[key] + right[key] for key in left}


@pytest.mark.parametrize("seed", SEEDS)
def test_order_and_repetition_of_samples_change_nothing(seed):
    subject, samples, start, end = generate(seed)
    for asset in subject.assets:
        again = account(subject, asset.asset, sorted(samples + samples, key=repr), start, end)
        assert again == account(subject, asset.asset, samples, start, end)


def test_the_same_seed_generates_the_same_plant_and_another_seed_another():
    assert generate(7) == generate(7)
    assert len({repr(generate(seed)) for seed in SEEDS}) == len(SEEDS)


def test_generated_plants_meet_every_rule_that_the_oracle_knows():
    seen = set()
    for seed in range(150):
        subject, samples, start, end = generate(seed)
        for asset in subject.assets:
            found = account(subject, asset.asset, samples, start, end)
            seen |= {key for key, amount in found.items() if amount}
            seen |= {f"no {count}" for count in COUNTS if found[count] is None}
            seen |= {name for name, bounded in kpis(found, asset.ideal_cycle).items() if bounded.value}
    events = {"resets", "gap_steps", "refused_steps", "uncertain", "unmapped"}
    counts = {each for count in COUNTS for each in (count, f"{count}_unknown", f"no {count}")}
    meters = {"energy.electricity", "energy.heat", "energy.gas"}
    figures = {"availability", "effectiveness", "quality_ratio", "oee"}
    assert seen == {*DURATIONS, *events, *counts, *meters, *figures}


def test_a_frame_of_samples_has_the_schema_and_every_row():
    _, samples, _, _ = generate(3)
    frame = to_frame(samples)
    assert dict(frame.schema) == dict(SAMPLE)
    whole = frame.with_columns(frame["ts"].to_physical(), frame["ts_recv"].to_physical())
    assert whole.rows() == samples
    assert to_frame([]).schema == frame.schema

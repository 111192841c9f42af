"""The oracle against cases worked out by hand, and its own laws on generated plants."""

import datetime as dt
from fractions import Fraction

import pytest

from config.plant import Asset, Calendar, CalendarException, Plant, Point, Product, Refinement, Shift, Source, Swap
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


def plant(*points, asset="press", ideal=None, **more):
    rows = tuple(Point(**{"asset": asset, "source": "plc", "address": "0"} | point) for point in points)
    numbers = {"1": "production", "2": "setup", "3": "delay", "4": "idle", "5": "planned"}
    sources = (Source(id="plc", kind="opcua", url="opc.tcp://plc:4840"),)
    more = {"states": {"default": numbers}} | more
    return Plant(id="p", sources=sources, assets=(Asset(asset=asset, ideal_cycle=ideal),), points=rows, **more)


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
    subject = plant(*({"max_hold": WEEK} | point for point in points), ideal=ideal, calendars=calendars)
    eaten = [(0, 5.0)] if meals else []
    samples = rows("s", *eaten, (60 * meals, 3.0), (60 * (meals + stops), 1.0))
    samples += rows("n", (0, 0.0), (60 * minutes, float(made)))
    samples += rows("r", (0, 0.0), (60 * minutes, float(rejected)))
    found = account(subject, "press", samples, MORNING, MORNING + minutes * MINUTE)
    return found, kpis(found)


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


# Mode and order.


REFINED = {
    "default": (
        Refinement(element="production", mode_not=("AUTO", "3"), becomes="setup"),
        Refinement(element="production", order=False, becomes="planned"),
        Refinement(element="setup", mode=("AUTO",), order=True, becomes="idle"),
    )
}


@pytest.mark.parametrize(
    ("state", "mode", "order", "element"),
    [
        (1.0, "AUTO", "WO-1", "production"),
        (1.0, 3.0, "WO-1", "production"),
        (1.0, "MANUAL", "WO-1", "setup"),
        # The first refinement that fits counts, and what it gives is not refined again.
        (1.0, "MANUAL", "", "setup"),
        (1.0, "AUTO", "", "planned"),
        (1.0, "AUTO", 0.0, "planned"),
        (1.0, None, None, "production"),
        (2.0, "AUTO", 17.0, "idle"),
        (2.0, "AUTO", 0.0, "setup"),
        (2.0, "AUTO", None, "setup"),
        (7.0, "MANUAL", "", "unmapped"),
        (None, "MANUAL", "", "unknown"),
    ],
)
def test_mode_and_order_change_what_the_state_gave(state, mode, order, element):
    roles = {"state": state, "mode": mode, "order": order}
    subject = plant(*({"point": role, "role": role} for role in roles), refinements=REFINED)
    samples = [row for role, said in roles.items() for row in rows(role, (0, said))]
    assert state_at(subject, "press", samples, MORNING) == element


def test_a_mode_that_ran_out_changes_nothing():
    points = [{"point": "s", "role": "state"}, {"point": "m", "role": "mode", "max_hold": "10s"}]
    samples = rows("s", (0, 1.0)) + rows("m", (0, "MANUAL"), (50, "MANUAL", BAD))
    found = account(plant(*points, refinements=REFINED), "press", samples, MORNING, MORNING + 100 * SECOND)
    assert durations(found) == {"setup": 10, "production": 90}


# Stops.


def stopped(*spans, window=(0, 3600), bad=(), **more):
    """(stops, micro-stops, planned seconds of micro-stops) of a machine that runs but in some spans [s]."""
    samples = [sample for a, b in spans for sample in ((a, 3.0), (b, 1.0))]
    samples = rows("s", (-1000, 1.0), *samples, *((t, None, BAD) for t in bad))
    subject = plant({"point": "s", "role": "state", "max_hold": WEEK}, **more)
    found = account(subject, "press", samples, *(MORNING + t * SECOND for t in window))
    return found["stops"], found["micro_stops"], found["micro_stop"] // SECOND


def test_a_stop_over_the_hour_is_one_micro_stop_in_the_hour_where_it_begins():
    assert stopped((3570, 3660)) == (0, 1, 30)
    assert stopped((3570, 3660), window=(3600, 7200)) == (0, 0, 60)
    assert stopped((3570, 3660), window=(0, 7200)) == (0, 1, 90)


def test_a_stop_is_judged_by_its_whole_length_whatever_the_window_shows_of_it():
    assert stopped((3599, 3719)) == (1, 0, 0)
    assert stopped((3599, 3718)) == (0, 1, 1)
    assert stopped((-119, 1)) == stopped((-118, 1), window=(1, 3600)) == (0, 0, 0)
    assert stopped((-118, 1)) == (0, 0, 1)


@pytest.mark.parametrize(("limit", "expected"), [("119s", (2, 0, 0)), ("120s", (1, 1, 119)), ("121s", (0, 2, 239))])
def test_a_stop_shorter_than_the_limit_is_a_micro_stop(limit, expected):
    assert stopped((100, 219), (300, 420), micro_stop=limit) == expected


def test_unknown_time_and_every_other_element_end_a_stop():
    assert stopped((100, 250)) == (1, 0, 0)
    assert stopped((100, 170), (171, 250)) == (0, 2, 149)
    # Nothing is known from the bad row at 170 s to the machine's next word at 250 s.
    assert stopped((100, 250), bad=[170]) == (0, 1, 70)


def test_a_stop_counts_at_its_first_instant_in_a_shift_outside_breaks():
    day = Calendar(shifts=(shift("day", "08:10", "16:00", ("08:30", "08:40")),))
    # From 100 s before the shift to 10 s into it, and from 100 s before its end of break to 10 s after.
    assert stopped((500, 610), calendars=(day,)) == (0, 1, 10)
    assert stopped((500, 610), window=(0, 600), calendars=(day,)) == (0, 0, 0)
    assert stopped((500, 620), calendars=(day,)) == (1, 0, 0)
    assert stopped((2300, 2410), window=(2400, 2500), calendars=(day,)) == (0, 1, 10)
    # Wholly before the shift, or wholly in the break.
    assert stopped((100, 200), (1900, 2100), calendars=(day,)) == (0, 0, 0)


def test_example_16_five_failures_in_1000_hours_with_50_hours_of_repair():
    hour = 3600
    spans = [((n * 210 + 200) * hour, (n * 210 + 210) * hour) for n in range(5)]
    # Three micro-stops of 40 s are no failures.
    spans += [(n * 210 * hour + 60, n * 210 * hour + 100) for n in range(3)]
    samples = rows("s", (0, 1.0), *(sample for a, b in sorted(spans) for sample in ((a, 3.0), (b, 1.0))))
    subject = plant({"point": "s", "role": "state", "max_hold": 4 * WEEK})
    found = account(subject, "press", samples, MORNING, MORNING + 1050 * HOUR)
    assert (found["stops"], found["micro_stops"], found["micro_stop"]) == (5, 3, 120 * SECOND)
    assert (found["production"] + found["micro_stop"]) // found["stops"] == 200 * HOUR
    assert (found["delay"] - found["micro_stop"]) // found["stops"] == 10 * HOUR


# Elements inferred from a counter's pace.


def paced(*samples, role="total", seconds=100, ideal=10.0, hold="1h", max_rate=None, **more):
    """Seconds per element of an asset that has a counter and no state."""
    subject = plant({"point": "n", "role": role, "max_hold": hold, "max_rate": max_rate}, ideal=ideal, **more)
    found = account(subject, "press", rows("n", *samples), MORNING, MORNING + seconds * SECOND)
    assert found["inferred"] == found["production"] + found["delay"]
    return durations(found)


def test_a_counter_that_keeps_its_pace_is_production_and_one_that_stands_is_delay():
    assert paced((0, 0.0), (10, 1.0), (20, 2.0)) == {"production": 20, "delay": 80}
    assert paced((0, 5.0), (50, 5.0)) == {"delay": 100}
    assert paced((0, 0.0), (10, 1.0), (20, 2.0), role="good") == {"production": 20, "delay": 80}


def test_a_rise_reaches_back_by_its_pieces_and_bridges_twice_that_to_the_rise_before():
    begin = [(0, 0.0), (10, 1.0), (20, 2.0)]
    # Three pieces of 10 s: the 30 s before them are production, and so are 60 s since the last rise, not 61 s.
    assert paced(*begin, (80, 5.0)) == {"production": 80, "delay": 20}
    assert paced(*begin, (81, 5.0)) == {"production": 20 + 30, "delay": 31 + 19}
    assert paced((0, 0.0), (90, 3.0)) == {"production": 30, "delay": 70}


def test_a_rise_that_comes_after_the_window_reaches_into_it():
    assert paced((0, 0.0), (110, 3.0)) == {"production": 20, "delay": 80}


def test_unknown_time_is_bridged_by_no_rise_and_a_step_across_it_is_none():
    gap = [(0, 0.0), (10, 1.0), (20, 2.0), (30, None, BAD), (40, 2.0)]
    assert paced(*gap, (75, 5.0)) == {"production": 20 + 30, "delay": 10 + 5 + 25, "unknown": 10}
    # Six pieces of 10 s reach back beyond the gap.
    assert paced(*gap, (75, 8.0)) == {"production": 30 + 35, "delay": 25, "unknown": 10}
    assert paced((0, 0.0), (10, 1.0), (20, None, BAD), (50, 5.0)) == {"production": 10, "delay": 60, "unknown": 30}


def test_a_reach_is_an_hour_at_most():
    found = paced((0, 0.0), (3 * 3600, 2.0), seconds=3 * 3600, ideal=7200.0, hold="4h")
    assert found == {"production": 3600, "delay": 2 * 3600}


def test_a_refused_step_is_no_rise_and_a_reset_that_counts_is_one():
    assert paced((0, 0.0), (50, 60.0)) == {"production": 50, "delay": 50}
    assert paced((0, 0.0), (50, 60.0), max_rate=1.0) == {"delay": 100}
    assert paced((0, 50.0), (50, 2.0)) == {"production": 20, "delay": 80}


def test_without_any_ideal_cycle_that_could_hold_all_stays_unknown():
    steady = [(0, 0.0), (10, 1.0), (20, 2.0)]
    assert paced(*steady, ideal=None) == {"unknown": 100}
    assert paced(*steady, ideal=None, products=(Product(product="A", asset="oven", ideal_cycle=9),)) == {"unknown": 100}
    # Nothing says when a product is made: a table of products alone declares no ideal cycle.
    assert paced(*steady, ideal=None, products=(Product(product="A", ideal_cycle=9),)) == {"unknown": 100}


def test_a_rise_is_of_the_product_that_held_just_before_it():
    products = (Product(product="A", ideal_cycle=30.0), Product(product="B", ideal_cycle=1.0))
    subject = plant({"point": "n", "role": "total"}, {"point": "p", "role": "product"}, products=products)
    samples = rows("p", (0, "A"), (40, "B")) + rows("n", (0, 0.0), (40, 1.0), (80, 2.0))
    found = account(subject, "press", samples, MORNING, MORNING + 80 * SECOND)
    assert durations(found) == {"production": 30 + 1, "delay": 10 + 39}


def test_inferred_delay_has_stops_too():
    subject = plant({"point": "n", "role": "total", "max_hold": "1h"}, ideal=10.0)
    samples = rows("n", (0, 0.0), (10, 1.0), (100, 2.0), (300, 3.0), (310, 4.0))
    found = account(subject, "press", samples, MORNING, MORNING + 310 * SECOND)
    # Delay from 10 to 90 s and from 100 to 290 s.
    assert (found["micro_stops"], found["stops"], found["micro_stop"]) == (1, 1, 80 * SECOND)


# Start-up.


def started(*states, rejects=((0, 0.0), (1000, 1000.0)), roles=("reject",), seconds=1000, **more):
    """What of one reject a second fell into start-ups of 60 s."""
    points = [{"point": role, "role": role, "max_hold": WEEK} for role in roles]
    subject = plant({"point": "s", "role": "state", "max_hold": WEEK}, *points, startup="60s", **more)
    samples = rows("s", *states) + [row for role in roles for row in rows(role, *rejects)]
    return account(subject, "press", samples, MORNING, MORNING + seconds * SECOND)["reject_startup"]


def test_rejects_soon_after_a_setup_are_losses_of_the_start_up():
    assert started((0, 2.0), (100, 1.0)) == 60
    assert started((0, 2.0), (100, 4.0), (130, 2.0), (140, 1.0)) == 30 + 60
    assert started((-100, 2.0), (-20, 1.0)) == 40
    assert started((0, 1.0), (100, 3.0)) == 0


def test_rejects_of_unknown_time_are_no_losses_of_the_start_up_and_those_of_a_break_are():
    assert started((0, 2.0), (100, None, BAD)) == 0
    assert started((0, 2.0), (100, 1.0), (130, None, BAD)) == 30
    day = Calendar(shifts=(shift("day", "08:00", "16:00", ("08:02", "08:03")),))
    assert started((0, 2.0), (100, 1.0), (130, None, BAD), calendars=(day,)) == 20 + 40


def test_rejects_that_other_roles_give_are_no_losses_of_the_start_up():
    assert started((0, 2.0), (100, 1.0), roles=("total", "good")) == 0
    assert started((0, 2.0), (100, 1.0), roles=("total",)) is None


# Process control.


def test_process_control_is_on_unless_its_point_says_off():
    said = [(0, 1.0), (10, 0.0), (20, "auto"), (30, ""), (40, "OFF"), (50, "False"), (60, "manual"), (70, None, BAD)]
    subject = plant({"point": "a", "role": "apc"})
    found = account(subject, "press", rows("a", *said), MORNING, MORNING + 100 * SECOND)
    assert (found["apc_on"], found["apc_known"]) == (20 * SECOND, 70 * SECOND)
    day = Calendar(shifts=(shift("day", "08:00", "16:00", ("08:00", "08:01")),))
    found = account(
        plant({"point": "a", "role": "apc"}, calendars=(day,)), "press", rows("a", *said), MORNING, MORNING + HOUR
    )
    assert (found["apc_on"], found["apc_known"]) == (0, 10 * SECOND)
    found = stated((0, 1.0))
    assert (found["apc_on"], found["apc_known"]) == (None, None)


# Resets by the machine's word, and swaps.


def reset(*counts, since, role="total", **point):
    """(pieces, resets, refused steps) of a counter beside a `since_reset` point."""
    points = [{"point": "n", "role": role, "max_hold": WEEK} | point, {"point": "r", "role": "since_reset"}]
    samples = rows("n", *counts) + rows("r", *since)
    found = account(plant(*points), "press", samples, MORNING, MORNING + 100 * SECOND)
    return found[role], found["resets"], found["refused_steps"]


def test_a_reset_that_the_machine_tells_is_one_whether_the_count_dropped_or_not():
    told = [(0, 500.0), (60, 10.0)]
    assert reset((0, 50.0), (100, 70.0), since=told) == (70, 1, 0)
    assert reset((0, 50.0), (100, 20.0), since=told) == (20, 1, 0)
    assert reset((0, 50.0), (100, 20.0), since=told, modulus=100, max_rate=2.0) == (20, 1, 0)


def test_a_drop_without_a_reset_of_the_machine_is_a_rollover_or_refused():
    told = [(0, 500.0), (100, 600.0)]
    assert reset((0, 50.0), (100, 70.0), since=told) == (20, 0, 0)
    assert reset((0, 90.0), (100, 10.0), since=told, modulus=100) == (20, 0, 0)
    assert reset((0, 90.0), (100, 80.0), since=told, modulus=100) == (0, 0, 1)
    assert reset((0, 50.0), (100, 20.0), since=told) == (0, 0, 1)


def test_clocks_that_differ_by_two_seconds_tell_no_reset():
    assert reset((0, 50.0), (100, 70.0), since=[(0, 500.0), (100, 598.0)]) == (20, 0, 0)
    assert reset((0, 50.0), (100, 70.0), since=[(0, 500.0), (100, 597.999)]) == (70, 1, 0)


def test_a_sample_without_any_word_of_the_machine_before_it_keeps_the_rule_of_drops():
    assert reset((0, 50.0), (100, 20.0), since=[(50, 10.0)]) == (20, 1, 0)
    assert reset((0, 50.0), (100, 20.0), since=[(0, 10.0, BAD), (100, 10.0)]) == (20, 1, 0)


def test_a_meter_is_not_reset_by_the_machine():
    points = [{"point": "n", "role": "energy.electricity", "unit": "kWh"}, {"point": "r", "role": "since_reset"}]
    samples = rows("n", (0, 50.0), (100, 70.0)) + rows("r", (0, 500.0), (60, 10.0))
    found = account(plant(*points), "press", samples, MORNING, MORNING + 100 * SECOND)
    assert (found["energy.electricity"], found["resets"]) == (20, 0)


def swapped(*swaps, samples=((0, 90.0), (100, 15.0)), **point):
    """(pieces, resets, refused steps) of a counter with swaps (at [s], last, first)."""
    rows_of = [
        Swap(point="n", at=dt.datetime.fromtimestamp(MORNING // SECOND + at, dt.UTC), last=last, first=first)
        for at, last, first in swaps
    ]
    subject = plant({"point": "n", "role": "total", "max_hold": WEEK} | point, swaps=tuple(rows_of))
    found = account(subject, "press", rows("n", *samples), MORNING, MORNING + 100 * SECOND)
    return found["total"], found["resets"], found["refused_steps"]


def test_a_swap_counts_what_the_old_one_and_the_new_one_counted():
    assert swapped((50, 94.0, 5.0)) == (4 + 10, 0, 0)
    assert swapped((50, None, 5.0)) == (10, 0, 0)
    assert swapped((50, 94.0, 0.0), modulus=100) == (4 + 15, 0, 0)
    assert swapped((30, 94.0, 5.0), (60, 8.0, 1.0)) == (4 + 3 + 14, 0, 0)
    assert swapped((60, 8.0, 1.0), (30, 94.0, 5.0)) == (4 + 3 + 14, 0, 0)


def test_a_swap_that_counts_backwards_is_refused_with_nothing():
    assert swapped((50, 70.0, 5.0)) == (0, 0, 1)
    assert swapped((50, 94.0, 5.0), max_rate=0.1) == (0, 0, 1)


def test_a_swap_stands_between_the_last_sample_before_it_and_the_first_at_or_after_it():
    three = [(0, 90.0), (50, 92.0), (100, 15.0)]
    assert swapped((50, 92.0, 92.0), samples=three) == (2 + 0 + 15, 1, 0)
    assert swapped((51, 92.0, 5.0), samples=three) == (2 + 10, 0, 0)
    assert swapped((-1, 92.0, 5.0), samples=three) == swapped((101, 92.0, 5.0), samples=three) == (2 + 15, 1, 0)


def test_a_swap_without_an_offset_is_in_the_plants_time():
    local = Swap(point="n", at=dt.datetime.fromisoformat("2026-11-20T08:00:50"), last=94.0, first=5.0)
    subject = plant({"point": "n", "role": "total", "max_hold": WEEK}, swaps=(local,))
    found = account(subject, "press", rows("n", (0, 90.0), (100, 15.0)), MORNING, MORNING + 100 * SECOND)
    assert (found["total"], found["resets"]) == (14, 0)


def test_a_modulus_is_in_the_points_unit():
    points = {"point": "e", "role": "energy.heat", "unit": "MJ", "modulus": 655.36, "max_hold": WEEK}
    subject = plant(points)
    [step] = steps(subject, subject.points[0], rows("e", (0, 655.0), (100, 35.64)))
    # 655.36 - 655.00 + 35.64 = 36 MJ, which are 10 kWh; each value is rounded to a millionth of a kWh.
    assert (step.reset, abs(step.amount - 10_000_000) <= 1) == (False, True)


# Products and ideal cycles.


def made(*samples, seconds=100, ideal=None, **points):
    """The account of 10 pieces to 50 s and 5 more to 100 s, in steady production."""
    roles = [{"point": role, "role": role} for role in ("state", "total", "product", *points)]
    products = (Product(product="A", ideal_cycle=2.0), Product(product="7", asset="press", ideal_cycle=4.0))
    subject = plant(*({"max_hold": WEEK} | row for row in roles), products=products, ideal=ideal)
    told = rows("state", (0, 1.0)) + rows("total", (0, 0.0), (50, 10.0), (100, 15.0)) + rows("product", *samples)
    told += [row for role, said in points.items() for row in rows(role, *said)]
    return account(subject, "press", told, MORNING, MORNING + seconds * SECOND)


def test_each_piece_counts_with_the_ideal_cycle_of_its_product():
    found = made((-10, "A"), (50, 7.0))
    assert (found["ideal_total"], kpis(found)["effectiveness"].value) == (10 * 2 + 5 * 4, Fraction(40, 100))
    assert kpis(found)["oee"].value == Fraction(40, 100)


def test_a_product_holds_over_every_gap_and_before_the_first_the_registers_cycle_counts():
    assert made((25, "A"), (60, None, BAD), ideal=3.0)["ideal_total"] == 5 * 3 + 10 * 2
    assert made((0, "A"), (50, "unlisted"), ideal=3.0)["ideal_total"] == 10 * 2 + 5 * 3


def test_the_machines_own_ideal_cycle_goes_before_products_where_it_is_above_zero():
    assert made((0, "A"), ideal_cycle=[(50, 6.0)])["ideal_total"] == 10 * 2 + 5 * 6
    assert made((0, "A"), ideal_cycle=[(0, 6.0), (50, 0.0)])["ideal_total"] == 10 * 6 + 5 * 2


def test_pieces_without_an_ideal_cycle_leave_no_effectiveness():
    found = made((50, "A"))
    assert (found["uncycled_total"], found["ideal_total"]) == (10, 5 * 2)
    assert (kpis(found)["effectiveness"].value, kpis(found)["oee"].value) == (None, None)
    assert kpis(found)["quality_ratio"].value == 1


# KPIs under unknown time.


def test_unknown_time_is_left_out_of_the_value_and_bounds_it():
    points = [{"point": "s", "role": "state", "max_hold": "60s"}, {"point": "n", "role": "total"}]
    subject = plant(*points, {"point": "r", "role": "reject"}, ideal=0.5)
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
    result = kpis(found)
    # Known: 40 pieces, 32 of them good, 40 s of production in 60 s of planned busy time; 20 s are unknown.
    assert result["availability"][:4] == (Fraction(40, 60), Fraction(40, 80), Fraction(60, 80), Fraction(4, 5))
    assert result["effectiveness"][:4] == (Fraction(20, 40), Fraction(20, 60), Fraction(40, 60), Fraction(4, 5))
    assert result["quality_ratio"][:4] == (Fraction(32, 40), Fraction(32, 80), Fraction(72, 80), Fraction(4, 5))
    assert [result[name].denominator for name in ("availability", "effectiveness", "quality_ratio")] == [60, 40, 40]
    assert result["oee"][:4] == (Fraction(16, 60), Fraction(16, 80), Fraction(36, 80), Fraction(4, 5))


def test_a_zero_denominator_gives_null_and_coverage_stays():
    nothing = kpis(stated((-10, 5.0), ideal=1.0))
    assert {name: bounded.value for name, bounded in nothing.items()} == dict.fromkeys(nothing)
    assert nothing["availability"].coverage == Fraction(1, 2)


# Laws, on generated plants.


@pytest.mark.parametrize("seed", SEEDS)
def test_every_nanosecond_is_in_one_element_and_bounds_hold_their_value(seed):
    subject, samples, start, end = generate(seed)
    for asset in subject.assets:
        found = account(subject, asset.asset, samples, start, end)
        assert sum(found[element] for element in DURATIONS) == end - start
        parts = {"unmapped": "unknown", "micro_stop": "delay", "apc_on": "apc_known"}
        assert all((found[part] or 0) <= (found[whole] or 0) for part, whole in parts.items())
        in_shifts = sum(b - a for *_, a, b, kind in planned(subject, asset.asset, start, end) if kind == "work")
        assert in_shifts == end - start - found["break"] - found["unscheduled"]
        assert max(found["inferred"] + found["unknown"], found["apc_known"] or 0) <= in_shifts
        for bounded in kpis(found).values():
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
            seen |= {f"no {key}" for key, amount in found.items() if amount is None}
            seen |= {name for name, bounded in kpis(found).items() if bounded.value}
    events = {"resets", "gap_steps", "refused_steps", "uncertain", "unmapped", "stops", "micro_stops"}
    maybe = {each for count in COUNTS for each in (count, f"{count}_unknown")}
    maybe |= {"reject_startup", "apc_on", "apc_known"}
    maybe |= {f"{kind}_{count}" for kind in ("ideal", "uncycled") for count in ("total", "good")}
    others = {"micro_stop", "inferred", "ideal_unknown", "uncycled_unknown"}
    meters = {"energy.electricity", "energy.heat", "energy.gas"}
    figures = {"availability", "effectiveness", "quality_ratio", "oee"}
    assert seen == {*DURATIONS, *events, *maybe, *(f"no {key}" for key in maybe), *others, *meters, *figures}


def test_a_frame_of_samples_has_the_schema_and_every_row():
    _, samples, _, _ = generate(3)
    frame = to_frame(samples)
    assert dict(frame.schema) == dict(SAMPLE)
    whole = frame.with_columns(frame["ts"].to_physical(), frame["ts_recv"].to_physical())
    assert whole.rows() == samples
    assert to_frame([]).schema == frame.schema

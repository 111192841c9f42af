"""Equipment networking rate: three states per device, what counts, the share at its threshold, and stores in parts."""

import datetime as dt
import itertools
import random
from fractions import Fraction

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from config.business import Declarations
from config.plant import Asset, Break, Calendar, Networking, Plant, Point, Shift
from config.schema import DEMAND, FACT, SAMPLE
from config.status import BAD_NO_COMMUNICATION, BAD_TIMEOUT, GOOD, UNCERTAIN
from kpis.evidence.contents import grounds_of
from kpis.indicators import device_list, networking
from kpis.indicators.base import Grounds, figure, percent
from kpis.indicators.catalogue import indicator
from kpis.indicators.counting import last_day
from kpis.indicators.objects import figure_object
from kpis.stores import InfluxDB, Lake
from tests.generated_plants import generate, to_frame
from tests.influx_peers import influxd
from tests.test_partitions import lake_of
from tests.test_stores import lines, sink

START = 1_763_596_800_000_000_000  # 2025-11-20T08:00:00+08:00, a Thursday
MINUTE = 60_000_000_000
END = START + 60 * MINUTE
SHIFT = Shift(name="早班", start="08:00", end="16:00")


def asset(name="press", **more):
    return Asset(asset=name, **more)


def point(name="press.state", of="press", **more):
    return Point(point=name, asset=of, **({"source": "line", "address": "ns=2;s=S", "max_hold": "1min"} | more))


def plant(*, assets=(), points=(), **more):
    settings = {"calendars": (Calendar(shifts=(SHIFT,)),)} | more
    return Plant(id="works", assets=assets or (asset(),), points=points or (point(),), **settings)


def samples(*rows):
    """(minute, status, value[, point]) of the hour."""
    table = [
        {"point": (*more, "press.state")[0], "ts": START + minute * MINUTE, "ts_recv": START + minute * MINUTE,
         "value": value, "text": None, "status": status}
        for minute, status, value, *more in rows
    ]  # fmt: skip
    return pl.DataFrame(table, schema=dict(SAMPLE))


def good(minutes, name="press.state"):
    """A good sample at the start of each minute; each holds for a minute."""
    return [(minute, GOOD, 1.0, name) for minute in range(minutes)]


def device(subject, *rows):
    return networking.devices(subject, samples(*rows), START, END).row(0, named=True)


def states(row):
    return tuple(row[state] for state in networking.STATES)


def rate(subject, *rows, of="works", kpi="equipment_networking_rate"):
    listed = networking.devices(subject, samples(*rows), START, END)
    none = pl.DataFrame(schema=dict(FACT)), pl.DataFrame(schema=dict(DEMAND))
    grounds = grounds_of(subject, (START, END), listed, *none, Declarations({}))
    found = figure(indicator(kpi), grounds, of)
    return None if found is None else figure_object(subject, found)


def test_a_device_without_an_address_is_not_connectable():
    assert states(device(plant(points=(point(source="", address=""),)))) == (False, False, False)


def test_a_device_without_points_is_listed_with_all_three_states_false():
    assert (
        states(device(plant(points=(point("other.state", of="other"),), assets=(asset(), asset("other")))))
        == (False,) * 3
    )


def test_a_device_that_has_an_address_and_never_spoke_is_connectable_alone():
    assert states(device(plant())) == (True, False, False)


def test_rows_that_say_no_communication_are_no_connection():
    rows = [(minute, BAD_NO_COMMUNICATION, None) for minute in range(60)]
    assert states(device(plant(), *rows)) == (True, False, False)


@pytest.mark.parametrize("status", [BAD_TIMEOUT, UNCERTAIN])
def test_a_device_that_answers_with_an_error_is_connected_and_not_evidenced(status):
    assert states(device(plant(), (5, status, None))) == (True, True, False)


def test_a_row_outside_the_window_is_no_connection():
    assert states(device(plant(), (-1, GOOD, 1.0), (60, GOOD, 1.0))) == (True, False, False)


@pytest.mark.parametrize(("minutes", "share", "evidenced"), [(60, 1.0, True), (30, 0.5, True), (29, 29 / 60, False)])
def test_a_device_is_evidenced_from_the_threshold_on(minutes, share, evidenced):
    row = device(plant(), *good(minutes))
    assert row["share"] == pytest.approx(share)
    assert row["evidenced"] is evidenced


def test_one_nanosecond_below_the_threshold_is_not_evidenced():
    half = 30 * MINUTE
    for hold, evidenced in ((half, True), (half - 1, False)):
        row = device(plant(points=(point(max_hold=hold),)), (0, GOOD, 1.0))
        assert row["evidenced"] is evidenced


def test_the_threshold_is_the_plants_own_and_stands_in_the_rule():
    subject = plant(networking=Networking(evidenced_share=0.9))
    found = rate(subject, *good(53))
    assert found["value"] == 0.0
    assert found["rule"] == "equipment_networking_rate@1 evidenced>=0.9"
    assert rate(subject, *good(54))["value"] == 1.0


def test_any_point_of_a_device_is_evidence_and_overlaps_count_once():
    subject = plant(points=(point(), point("press.total")))
    rows = [*good(20), *((minute, GOOD, 1.0, "press.total") for minute in range(10, 40))]
    assert device(subject, *rows)["share"] == pytest.approx(40 / 60)


def test_a_seed_from_before_the_window_is_evidence_but_no_connection_within_it():
    row = device(plant(points=(point(max_hold="40min"),)), (-10, GOOD, 1.0))
    assert row["share"] == pytest.approx(0.5)
    assert row["connected"] is False
    assert row["first_good"] is None


def test_first_and_last_good_are_those_of_the_window():
    row = device(plant(), (-1, GOOD, 1.0), (2, GOOD, 1.0), (7, GOOD, 1.0), (9, BAD_TIMEOUT, None))
    assert [(row[name].timestamp() * 1e9 - START) / MINUTE for name in ("first_good", "last_good")] == [2, 7]


def test_an_uncertain_sample_is_evidence_only_where_the_plant_says_so():
    rows = [(minute, UNCERTAIN, 1.0) for minute in range(60)]
    assert device(plant(), *rows)["evidenced"] is False
    assert device(plant(uncertain="good"), *rows)["evidenced"] is True


def test_breaks_are_no_planned_time():
    shift = Shift(name="早班", start="08:00", end="16:00", breaks=(Break(start="08:30", end="09:00"),))
    assert device(plant(calendars=(Calendar(shifts=(shift,)),)), *good(30))["share"] == 1.0


def test_without_planned_time_there_is_no_share_and_no_evidence():
    never = Calendar(shifts=(SHIFT,), weekdays=("sun",))
    row = device(plant(calendars=(never,)), *good(60))
    assert row["share"] is None
    assert states(row) == (True, True, False)


def test_excluded_and_other_than_production_equipment_is_listed_with_its_reason_and_does_not_count():
    subject = plant(assets=(asset(), asset("old", excluded="已封存"), asset("meter", production=False)))
    listed = networking.devices(subject, samples(*good(60)), START, END)
    assert listed.select("asset", "counted", "excluded").rows() == [
        ("press", True, ""), ("old", False, "已封存"), ("meter", False, "not production equipment"),
    ]  # fmt: skip
    found = rate(subject, *good(60))
    assert (found["numerator"], found["denominator"], found["value"]) == (1.0, 1.0, 1.0)


def test_an_excluded_device_keeps_its_own_states():
    assert states(device(plant(assets=(asset(excluded="待报废"),)), *good(60))) == (True, True, True)


def test_the_three_rates_of_a_group_count_its_own_devices():
    names = ("line1/a", "line1/b", "line1/c", "line2/d")
    subject = plant(assets=tuple(asset(n) for n in names), points=tuple(point(f"{n}/s", of=n) for n in names[:3]))
    rows = [*good(60, "line1/a/s"), (0, BAD_TIMEOUT, None, "line1/b/s")]
    kpis = ("equipment_connectable_rate", "equipment_connected_rate", "equipment_networking_rate")
    for of, expected in (
        ("line1", (3, 2, 1, 3)),
        ("line2", (0, 0, 0, 1)),
        ("works", (3, 2, 1, 4)),
        ("line1/a", (1, 1, 1, 1)),
    ):
        found = [rate(subject, *rows, of=of, kpi=kpi) for kpi in kpis]
        assert tuple(int(f["numerator"]) for f in found) == expected[:3]
        assert {f["denominator"] for f in found} == {expected[3]}
        assert [f["value"] for f in found] == [n / expected[3] for n in expected[:3]]


def test_where_no_device_counts_the_rate_is_null_of_zero():
    found = rate(plant(assets=(asset(excluded="已封存"),)), *good(60))
    assert (found["value"], found["numerator"], found["denominator"], found["coverage"]) == (None, 0.0, 0.0, None)


DAY = 24 * 60


def grounds(subject, listed, end=END):
    empty = pl.DataFrame()
    return Grounds(plant=subject, start=START, end=end, devices=listed, facts=empty, demand=empty,
                   declared=Declarations({}))  # fmt: skip


def of_rows(subject, *rows, end=END):
    return grounds(subject, networking.devices(subject, samples(*rows), START, end), end)


def made(name, found, of="works"):
    indicator = next(one for one in networking.INDICATORS if one.id == name)
    return figure(indicator, found, of)


def three(found, of="works"):
    """The three rates of a subject, the strictest first."""
    return [made(indicator.id, found, of).value for indicator in networking.INDICATORS]


def line(count, **kinds):
    """A plant of machines m000, m001 ... with one point each."""
    assets = tuple(asset(f"m{n:03}", **{name: of[n] for name, of in kinds.items()}) for n in range(count))
    return plant(assets=assets, points=tuple(point(f"{a.asset}.state", of=a.asset) for a in assets))


# --- in use ---


def of_days(days, **more):
    """A device that works 8 h a day from Thursday 2025-11-20 on, with a good sample at each minute of all shifts."""
    subject = plant(assets=(asset(**more),))
    minutes = [day * DAY + minute for day in range(days) for minute in range(480)]
    end = START + (days * DAY - 480) * MINUTE  # midnight
    return networking.devices(subject, samples(*((m, GOOD, 1.0) for m in minutes)), START, end).row(0, named=True)


def test_planned_time_is_that_of_all_shifts_of_the_period():
    row = of_days(3)
    assert (row["planned_ns"], row["evidenced_ns"]) == (3 * 480 * MINUTE, 3 * 480 * MINUTE)


def test_a_device_that_came_into_use_is_planned_from_that_day_on():
    row = of_days(3, in_use_from=dt.date(2025, 11, 22))  # the third day
    assert (row["planned_ns"], row["evidenced_ns"], row["counted"]) == (480 * MINUTE, 480 * MINUTE, True)


def test_a_device_that_left_in_the_period_does_not_count_and_is_planned_until_then():
    row = of_days(3, in_use_until=dt.date(2025, 11, 20))
    assert (row["counted"], row["excluded"]) == (False, "not in use since 2025-11-21")
    assert (row["planned_ns"], row["share"]) == (480 * MINUTE, 1.0)


def test_a_device_counts_on_the_last_day_of_its_use_and_from_the_first_on():
    assert of_days(3, in_use_until=dt.date(2025, 11, 22))["counted"]
    assert of_days(3, in_use_from=dt.date(2025, 11, 22))["counted"]


def test_a_device_that_comes_into_use_after_the_period_does_not_count():
    row = of_days(3, in_use_from=dt.date(2026, 4, 1))
    assert (row["counted"], row["excluded"], row["share"]) == (False, "in use from 2026-04-01", None)


def test_a_night_shift_belongs_to_the_day_on_which_it_starts():
    night = Calendar(shifts=(Shift(name="夜班", start="22:00", end="06:00"),))
    subject = plant(assets=(asset(in_use_until=dt.date(2025, 11, 20)),), calendars=(night,))
    end = START + 2 * DAY * MINUTE
    row = networking.devices(subject, samples(), START, end).row(0, named=True)
    assert row["planned_ns"] == 480 * MINUTE  # that of Thursday, to 6:00 on Friday


def test_the_registers_reason_goes_before_others():
    row = of_days(1, excluded="已封存", production=False, in_use_until=dt.date(2025, 1, 1))
    assert row["excluded"] == "已封存"


# --- roles ---


def test_roles_are_those_that_were_known_in_as_much_time_as_a_device_must_be():
    subject = plant(points=(point(), point("press.total", role="total"), point("press.kwh", role="energy.electricity"),
                            point("press.kwh2", role="energy.electricity")))  # fmt: skip
    rows = [*good(29), *good(30, "press.total"), *good(20, "press.kwh")]
    rows += [(minute, GOOD, 1.0, "press.kwh2") for minute in range(10, 31)]
    found = device(subject, *rows)
    assert found["roles"] == ["total", "energy.electricity"]  # state (the measure) was known in 29 of 60 minutes


def test_a_device_without_planned_time_has_no_roles():
    never = Calendar(shifts=(SHIFT,), weekdays=("sun",))
    assert device(plant(calendars=(never,)), *good(60))["roles"] == []


# --- figures ---


def test_one_unconnected_and_one_unreliable_machine_give_three_figures():
    subject = plant(
        assets=tuple(asset(name) for name in ("line1/a", "line1/b", "line1/c", "line1/d", "line1/e")),
        points=(
            *(point(f"line1/{n}/s", of=f"line1/{n}") for n in "abc"),
            point("line1/d/s", of="line1/d", source="", address=""),
            point("line1/e/s", of="line1/e"),
        ),
    )
    rows = [*good(60, "line1/a/s"), *good(60, "line1/b/s"), *good(12, "line1/c/s")]
    found = of_rows(subject, *rows)
    assert three(found) == [Fraction(2, 5), Fraction(3, 5), Fraction(4, 5)]
    reasons = {m.id: (m.met, m.reason.en) for m in made("equipment_networking_rate", found).amount.members}
    assert reasons == {
        "line1/a": (True, ""),
        "line1/b": (True, ""),
        "line1/c": (False, "share 20 % of planned time below 50 %"),
        "line1/d": (False, "no address"),
        "line1/e": (False, "never spoke"),
    }


def test_a_share_just_below_the_rule_never_reads_as_the_rules_share():
    found = of_rows(plant(points=(point(max_hold=30 * MINUTE - 1),)), (0, GOOD, 1.0))
    (member,) = made("equipment_networking_rate", found).amount.members
    assert member.reason.en == "share 49.99 % of planned time below 50 %"
    assert member.reason.zh == "有效数据占计划运行时间 49.99 %，低于 50 %"


def test_a_device_without_planned_time_says_so():
    never = Calendar(shifts=(SHIFT,), weekdays=("sun",))
    (member,) = made("equipment_networking_rate", of_rows(plant(calendars=(never,)), *good(60))).amount.members
    assert (member.counted, member.met, member.reason.en) == (True, False, "no planned time")


def test_all_production_equipment_is_in_the_denominator_whether_digital_or_not():
    subject = line(3, digital=[True, True, False])
    found = of_rows(subject, *good(60, "m000.state"), *good(60, "m001.state"))
    assert made("equipment_networking_rate", found).value == Fraction(2, 3)


def test_117_of_150_are_78_percent():
    subject = line(150)
    found = of_rows(subject, *((0, GOOD, 1.0, f"m{n:03}.state") for n in range(117)))
    rate = made("equipment_connected_rate", found)
    assert (rate.amount.numerator, rate.amount.denominator) == (117, 150)
    assert str(percent(rate.value)) == "78.00"


def test_no_device_that_counts_is_refused_for_the_plant_and_no_figure_of_a_line():
    subject = plant(assets=(asset("line1/a", excluded="已封存"), asset("line2/b", production=False)))
    found = of_rows(subject)
    refused = made("equipment_networking_rate", found)
    assert refused.value is None
    assert "equipment_networking_rate of works: its denominator is 0" in refused.refused.en
    assert made("equipment_networking_rate", found, "line1") is None
    assert [m.reason.zh for m in refused.amount.members] == ["已封存", "非生产设备"]


def test_a_figures_rule_and_coverage_are_those_of_the_results():
    subject = line(2)
    rows = [*good(60, "m000.state"), *good(30, "m001.state")]
    found = made("equipment_networking_rate", of_rows(subject, *rows))
    row = rate(subject, *rows)
    assert (found.rule, found.amount.coverage, float(found.value)) == (row["rule"], row["coverage"], row["value"])
    assert found.amount.coverage == 0.75


def test_a_rate_by_kind_counts_the_devices_of_each_kind():
    subject = line(5, kind=["press", "robot", "press", "press", ""])
    found = of_rows(subject, *good(60, "m000.state"), *good(60, "m001.state"), *good(60, "m002.state"))
    by_kind = networking.by_kind(networking.INDICATORS[0], found, "works")
    assert [(kind, one.value) for kind, one in by_kind] == [("press", Fraction(2, 3)), ("robot", 1), ("", 0)]


def test_a_rate_by_kind_of_a_line_leaves_other_lines_out():
    subject = plant(
        assets=(asset("line1/a", kind="press"), asset("line2/b", kind="press")), points=(point("a", of="line1/a"),)
    )
    found = of_rows(subject, *good(60, "a"))
    assert [(k, f.value) for k, f in networking.by_kind(networking.INDICATORS[0], found, "line1")] == [("press", 1)]
    assert [(k, f.value) for k, f in networking.by_kind(networking.INDICATORS[0], found, "works")] == [
        ("press", Fraction(1, 2))
    ]


# --- stores, part by part ---


def parts_at(monkeypatch, borders):
    monkeypatch.setattr(device_list, "parts", lambda *_: borders)


def of_store(subject, store, start=START, end=END):
    return networking.devices_of_store(subject, store, start, end)


@pytest.mark.parametrize("seed", range(100, 112))
def test_a_store_read_in_parts_gives_the_list_of_all_of_its_samples(seed, tmp_path, monkeypatch):
    subject, rows, start, end = generate(seed)
    frame, rng = to_frame(rows), random.Random(seed)
    store = lake_of(tmp_path, frame)
    expected = networking.devices(subject, frame, start, end)
    assert_frame_equal(of_store(subject, store, start, end), expected, check_exact=True)
    first, last = sorted(rng.sample(range(start + 1, end), 2))  # with samples before and after the period
    inside = networking.devices(subject, frame, first, last)
    assert_frame_equal(of_store(subject, store, first, last), inside, check_exact=True)
    parts_at(monkeypatch, [start, *sorted(rng.sample(range(start + 1, end), 5)), end])
    assert_frame_equal(of_store(subject, store, start, end), expected, check_exact=True)


@pytest.mark.parametrize("seed", range(120, 128))
def test_a_list_of_a_period_is_the_one_of_its_parts_whatever_the_devices_use(seed, tmp_path, monkeypatch):
    subject, rows, start, end = generate(seed)
    rng = random.Random(seed)
    days = [last_day(subject, end) + dt.timedelta(days=n) for n in range(-3, 2)]
    assets = tuple(
        a.model_copy(update={rng.choice(["in_use_from", "in_use_until"]): rng.choice(days)}) for a in subject.assets
    )
    subject = subject.model_copy(update={"assets": assets})
    frame = to_frame(rows)
    whole = networking.devices(subject, frame, start, end)
    parts_at(monkeypatch, [start, *sorted(rng.sample(range(start + 1, end), 3)), end])
    assert_frame_equal(of_store(subject, lake_of(tmp_path, frame), start, end), whole, check_exact=True)
    halves = [networking.devices(subject, frame, a, b) for a, b in itertools.pairwise([start, (start + end) // 2, end])]
    assert (halves[0]["planned_ns"] + halves[1]["planned_ns"]).equals(whole["planned_ns"])
    assert (halves[0]["evidenced_ns"] + halves[1]["evidenced_ns"]).equals(whole["evidenced_ns"])


def test_the_last_sample_of_a_part_holds_into_those_that_follow(tmp_path, monkeypatch):
    subject = plant(points=(point(max_hold="25min"),))
    store = lake_of(tmp_path, samples((8, GOOD, 1.0)))
    parts_at(monkeypatch, [START + minute * MINUTE for minute in (0, 10, 20, 30, 60)])
    row = of_store(subject, store).row(0, named=True)
    assert row["evidenced_ns"] == 25 * MINUTE  # from minute 8 to 33


def test_a_bad_row_at_a_border_ends_what_held_before_it(tmp_path, monkeypatch):
    subject = plant(points=(point(max_hold="25min"),))
    store = lake_of(tmp_path, samples((8, GOOD, 1.0), (10, BAD_TIMEOUT, None)))
    parts_at(monkeypatch, [START, START + 10 * MINUTE, END])
    assert of_store(subject, store).row(0, named=True)["evidenced_ns"] == 2 * MINUTE


def test_a_device_that_answers_with_errors_alone_is_connected_and_one_without_communication_is_not(tmp_path):
    subject = line(3)
    rows = [(m, BAD_NO_COMMUNICATION, None, f"m{n:03}.state") for n in (0, 1) for m in range(30)]
    store = lake_of(tmp_path, samples(*rows, (40, BAD_TIMEOUT, None, "m001.state"), *good(60, "m002.state")))
    assert of_store(subject, store)["connected"].to_list() == [False, True, True]


def test_rows_of_devices_with_good_samples_are_not_read_twice(tmp_path, monkeypatch):
    subject = line(2)
    store = lake_of(tmp_path, samples(*good(60, "m000.state"), (0, BAD_NO_COMMUNICATION, None, "m001.state")))
    asked = []
    rows = Lake.rows

    def told(self, points, *window):
        asked.append(list(points))
        return rows(self, points, *window)

    monkeypatch.setattr(Lake, "rows", told)
    of_store(subject, store)
    assert asked == [["m001.state"]]


def test_a_plant_without_points_lists_its_devices(tmp_path):
    subject = Plant(id="works", assets=(asset(),))
    assert states(of_store(subject, lake_of(tmp_path, samples(*good(2)))).row(0, named=True)) == (False,) * 3


def test_many_devices_over_years_are_told_apart(monkeypatch):
    # Keys lie side by side on an axis of 64 bits: 300 devices with 2 keys each over 50 years do not fit at once.
    subject = line(300)
    end = START + 50 * 366 * DAY * MINUTE
    rows = [*good(1, "m000.state"), *good(3, "m299.state")]
    listed = networking.devices(subject, samples(*rows), START, end)
    assert listed["evidenced_ns"].to_list() == [MINUTE, *[0] * 298, 3 * MINUTE]
    assert listed["planned_ns"].n_unique() == 1


@pytest.mark.service
def test_an_influxdb_gives_the_list_that_the_lake_gives(tmp_path):
    subject, rows, start, end = generate(104)
    frame = to_frame(rows)
    with influxd(tmp_path) as server:
        server.query("CREATE DATABASE d")
        server.write(lines(frame, subject.id), "d")
        store = InfluxDB(sink(server.url, "d"), subject)
        (tmp_path / "lake").mkdir()
        expected = of_store(subject, lake_of(tmp_path / "lake", frame), start, end)
        assert_frame_equal(of_store(subject, store, start, end), expected, check_exact=True)

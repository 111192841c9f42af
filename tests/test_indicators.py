"""Equipment networking rate: three states per device, what counts, and the share at its threshold."""

import polars as pl
import pytest

from config.plant import Asset, Break, Calendar, Networking, Plant, Point, Shift
from config.schema import RESULT, SAMPLE
from config.status import BAD_NO_COMMUNICATION, BAD_TIMEOUT, GOOD, UNCERTAIN
from kpis.indicators import networking

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
    found = networking.rates(subject, listed, START, END, [of])
    assert found.schema == pl.Schema(RESULT)
    return found.filter(pl.col("kpi") == kpi).row(0, named=True)


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

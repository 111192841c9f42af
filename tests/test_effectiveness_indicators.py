"""OEE, utilization, efficiency and the share of good products: exact n and N, months, and what is refused."""

import datetime as dt
from fractions import Fraction

import polars as pl
import pytest

from config.business import Declarations
from config.plant import Asset, Calendar, Plant, Point, Shift
from config.schema import SAMPLE
from config.status import BAD, GOOD
from kpis.compute import Basis, Window, results, subjects_of
from kpis.demand import demand
from kpis.facts import facts
from kpis.indicators import effectiveness, networking
from kpis.indicators.base import Grounds, figure, percent
from tests.generated_plants import generate, to_frame

MINUTE = 60_000_000_000
DAY = 24 * 60
START = 1_767_225_600_000_000_000 - 8 * 60 * MINUTE  # 2026-01-01T00:00:00+08:00
BY_ID = {one.id: one for one in effectiveness.INDICATORS}
STATES = {"default": {"1": "production", "2": "setup", "3": "delay", "4": "idle", "5": "planned"}}
SHIFT = Calendar(shifts=(Shift(name="早班", start="08:00", end="18:00"),))  # 600 minutes


def plant_of(*assets, roles=("state", "total", "good"), **more):
    points = tuple(
        Point(point=f"{a.asset}.{role}", asset=a.asset, role=role, max_hold="31d") for a in assets for role in roles
    )
    return Plant(id="works", assets=assets, points=points, states=STATES, **({"calendars": (SHIFT,)} | more))


def press(name="press", **more):
    return Asset(asset=name, **({"ideal_cycle": 60.0} | more))


def samples(rows):
    """(minute since 2026, point, value, status)."""
    kinds = {name: pl.Int64() if name.startswith("ts") else kind for name, kind in SAMPLE.items()}
    at = [(point, START + m * MINUTE, START + m * MINUTE, value, None, status) for m, point, value, status in rows]
    return pl.DataFrame(at, schema=kinds, orient="row").cast(dict(SAMPLE))


def grounds(plant, rows, days=1, since=0):
    """The grounds of some production days."""
    return of_frame(plant, samples(rows), START + since * DAY * MINUTE, START + (since + days) * DAY * MINUTE)


def of_frame(plant, samples, start, end):
    listed = networking.devices(plant, samples, start, end)
    found, of_demand = facts(plant, samples, start, end), demand(plant, samples, start, end)
    return Grounds(plant=plant, start=start, end=end, devices=listed, facts=found, demand=of_demand,
                   declared=Declarations({}))  # fmt: skip


def shift(name="press", total=0, good=0, day=0, run=600, then=3.0, before=(0, 0)):
    """A shift of 600 minutes: production for `run` of them, then another state; pieces come up at an even pace."""
    begin = day * DAY + 480
    rows = [(begin, f"{name}.state", 1.0, GOOD), (begin + 600, f"{name}.state", 4.0, GOOD)]
    rows += [(begin + run, f"{name}.state", then, GOOD)] if run < 600 else []
    for role, first, count in (("total", before[0], total), ("good", before[1], good)):
        rows += [(begin, f"{name}.{role}", first, GOOD), (begin + 600, f"{name}.{role}", first + count, GOOD)]
    return rows


def made(name, found, of="works"):
    return figure(BY_ID[name], found, of)


def told(one, lang="en"):
    return {m.id: (m.counted, m.reason.into(lang)) for m in one.amount.members}


# --- OEE ---


def test_oee_is_ideal_time_of_good_pieces_of_planned_busy_time():
    found = grounds(plant_of(press()), shift(total=500, good=450, run=550))
    one = made("oee", found)
    assert (one.amount.numerator, one.amount.denominator) == (450 * 60, 600 * 60)
    assert one.value == Fraction(3, 4)
    assert one.rule == "oee@1"


@pytest.mark.parametrize("seed", range(200, 216))
def test_oee_is_the_kpi_of_that_name_with_its_flags_and_coverage(seed):
    plant, rows, start, end = generate(seed)
    found = of_frame(plant, to_frame(rows), start, end)
    listed = results(plant, Basis(found.facts, found.demand), Window(start, end)).filter(pl.col("kpi") == "oee")
    kpis = {row["subject"]: row for row in listed.iter_rows(named=True)}
    for subject in subjects_of(plant):
        one, kpi = made("oee", found, subject), kpis.get(subject)
        if kpi is None:
            assert one is None or one.amount.missing
            continue
        n, whole = one.amount.numerator, one.amount.denominator
        assert (n is None or not whole) == (kpi["value"] is None)
        if kpi["value"] is not None:
            assert float(n / whole) == pytest.approx(kpi["value"], rel=1e-9)
            assert one.value == (n / whole if 0 <= n / whole <= 1 else None)
        assert set(one.amount.flags) == set(kpi["flags"])
        assert one.amount.coverage == pytest.approx(kpi["coverage"])


def test_oee_above_one_is_refused_for_a_declaration_and_the_kpis_flag_is_told():
    one = made("oee", grounds(plant_of(press()), shift(total=700, good=660)))
    assert one.value is None
    assert one.refused.en == (
        "oee of works: 39600/36000 is no part of a whole; n must lie between 0 and N: mend the amounts"
    )
    assert "above_one" in one.amount.flags


def test_pieces_without_an_ideal_cycle_are_named():
    plant = plant_of(press("a"), press("b", ideal_cycle=None))
    cycle = Point(point="b.cycle", asset="b", role="ideal_cycle", max_hold="31d")  # which never says anything
    plant = plant.model_copy(update={"points": (*plant.points, cycle)})
    one = made("oee", grounds(plant, [*shift("a", 500, 500), *shift("b", 500, 500)]))
    assert one.value is None
    assert one.amount.missing[0].en.startswith("b: pieces were made without an ideal cycle")


def test_oee_takes_what_the_kpi_takes_and_says_so():
    found = grounds(plant_of(press("a"), press("b", excluded="试运行")),
                    [*shift("a", 300, 300), *shift("b", 600, 600)])  # fmt: skip
    one = made("oee", found)
    assert one.value == Fraction(900, 1200)
    assert told(one) == {"a": (True, ""), "b": (True, "part of the KPI, though 试运行")}


# --- utilization ---


def test_utilization_is_production_time_of_known_planned_operation_time():
    one = made("equipment_utilization_rate", grounds(plant_of(press()), shift(run=450)))
    assert (one.amount.numerator, one.amount.denominator) == (450 * 60, 600 * 60)
    assert one.rule == "equipment_utilization_rate@1 utilization=planned"


def test_utilization_of_calendar_time_where_the_plant_says_so():
    one = made("equipment_utilization_rate", grounds(plant_of(press(), utilization="calendar"), shift(run=450)))
    assert one.value == Fraction(450, 1440)
    assert one.rule == "equipment_utilization_rate@1 utilization=calendar"


@pytest.mark.parametrize(("rule", "value"), [("planned", Fraction(200, 300)), ("calendar", Fraction(200, 1440 - 300))])
def test_unknown_time_is_in_neither_count_and_lowers_the_coverage(rule, value):
    rows = [(480, "press.state", 1.0, GOOD), (680, "press.state", 3.0, GOOD), (780, "press.state", None, BAD)]
    one = made("equipment_utilization_rate", grounds(plant_of(press(), roles=("state",), utilization=rule), rows))
    assert one.value == value
    assert (one.amount.coverage, one.amount.flags) == (0.5, ("unknown_time",))


def test_utilization_counts_production_equipment_that_is_in_use():
    assets = [
        press("a"), press("b", excluded="已封存"), press("c", production=False),
        press("d", in_use_until=dt.date(2025, 12, 31)),
    ]  # fmt: skip
    rows = [row for name, run in (("a", 300), ("b", 600), ("c", 600), ("d", 600)) for row in shift(name, run=run)]
    one = made("equipment_utilization_rate", grounds(plant_of(*assets), rows))
    assert one.value == Fraction(1, 2)
    assert told(one, "zh") == {
        "a": (True, ""), "b": (False, "已封存"), "c": (False, "非生产设备"), "d": (False, "自 2026-01-01 起停用"),
    }  # fmt: skip


def test_a_machine_that_came_into_use_counts_from_that_day_on():
    rows = [*shift(run=100), *shift(run=300, day=1)]
    one = made("equipment_utilization_rate", grounds(plant_of(press(in_use_from=dt.date(2026, 1, 2))), rows, 2))
    assert (one.amount.numerator, one.amount.denominator) == (300 * 60, 600 * 60)


def test_a_machine_that_tells_no_state_is_left_out_and_named():
    plant = plant_of(press("a"), press("b", ideal_cycle=None))
    plant = plant.model_copy(update={"points": tuple(p for p in plant.points if p.point != "b.state")})
    one = made("equipment_utilization_rate", grounds(plant, shift("a", run=300)))
    assert (one.value, one.amount.flags) == (Fraction(1, 2), ("assets_left_out",))
    assert told(one) == {"a": (True, ""), "b": (False, "nothing tells its state")}


def test_a_period_without_planned_time_is_refused():
    found = grounds(plant_of(press(), calendars=(SHIFT.model_copy(update={"weekdays": ("sun",)}),)), shift())
    assert "its denominator is 0" in made("equipment_utilization_rate", found).refused.en


# --- good and rejected products ---


def test_the_nonconforming_rate_is_rejects_of_all_pieces():
    one = made("product_nonconforming_rate", grounds(plant_of(press()), shift(total=400, good=390)))
    assert (one.amount.numerator, one.amount.denominator) == (10, 400)
    assert str(percent(one.value)) == "2.50"
    assert one.indicator.better == "down"


def test_a_machine_that_tells_no_rejects_is_no_machine_without_rejects():
    one = made("product_nonconforming_rate", grounds(plant_of(press(), roles=("state", "total")), shift(total=400)))
    assert one.value is None
    assert one.amount.missing[0].zh == "没有生产设备同时具备产量计数、不合格品计数；请补全采集点表与设备台账"


def test_more_good_pieces_than_pieces_are_refused():
    found = grounds(plant_of(press()), shift(total=400, good=410))
    one = made("product_nonconforming_rate", found)
    assert (one.value, one.amount.flags) == (None, ("below_zero",))
    assert "-10/400 is no part of a whole" in one.refused.en


def months(*shares):
    """A plant that makes 100 pieces on the first day of each month, of which so many are good."""
    rows, made_so_far = [], (0, 0)
    for n, good in enumerate(shares):
        day = (dt.date(2026, n + 1, 1) - dt.date(2026, 1, 1)).days
        rows += shift(total=100 if good is not None else 0, good=good or 0, day=day, before=made_so_far)
        made_so_far = made_so_far[0] + (100 if good is not None else 0), made_so_far[1] + (good or 0)
    return rows


def test_the_monthly_mean_counts_each_month_the_same_and_lists_them():
    rows = [*shift(total=100, good=90), *shift(total=900, good=900, day=31, before=(100, 90))]
    one = made("product_qualified_rate", grounds(plant_of(press()), rows, 59))
    assert one.value == Fraction(95, 100)  # of the whole period it would be 99 %
    assert (one.amount.numerator, one.amount.denominator) == (Fraction(19, 10), 2)
    assert [(i.period, i.name, i.value) for i in one.amount.inputs] == [
        ("2026-01", "good 90 of 100 pieces", Fraction(9, 10)),
        ("2026-02", "good 900 of 900 pieces", 1),
    ]
    assert one.rule == "product_qualified_rate@1 good/total, mean of months"


def test_thirds_are_kept_to_the_end():
    one = made("product_qualified_rate", grounds(plant_of(press()), months(100, 99, 98), 90))
    assert one.value == Fraction(99, 100)
    one = made("product_qualified_rate", grounds(plant_of(press()), months(100, 100, 99), 90))
    assert one.value == Fraction(299, 300)


def test_a_month_without_pieces_is_left_out_and_said():
    one = made("product_qualified_rate", grounds(plant_of(press()), months(90, None, 80), 90))
    assert one.value == Fraction(85, 100)
    assert "months_without_pieces=1" in one.amount.flags
    assert [i.value for i in one.amount.inputs] == [Fraction(9, 10), None, Fraction(8, 10)]


def test_a_month_with_more_good_pieces_than_pieces_is_refused_though_the_mean_is_not_above_1():
    one = made("product_qualified_rate", grounds(plant_of(press()), months(90, 101), 59))
    assert one.value is None
    assert "101/100 is no part of a whole" in one.refused.en


@pytest.mark.parametrize(
    ("since", "days", "labels"),
    [
        (0, 31, ["2026-01"]),
        (0, 1, ["2026-01-01"]),
        (10, 30, ["2026-01-11/2026-02-09"]),  # shorter than a month
        (10, 31, ["2026-01", "2026-02"]),
        (30, 28, ["2026-01", "2026-02"]),  # 31 January to 27 February: as long as a month from a 31st
        (0, 365, [f"2026-{n:02}" for n in range(1, 13)]),
    ],
)
def test_a_period_that_is_shorter_than_a_month_is_one(since, days, labels):
    one = made("product_qualified_rate", grounds(plant_of(press()), shift(total=100, good=90), days, since))
    assert [i.period for i in one.amount.inputs] == labels


def test_months_are_those_of_production_days():
    night = Calendar(shifts=(Shift(name="夜班", start="20:00", end="06:00"),))
    plant = plant_of(press(), calendars=(night,), day_start=dt.time(8))
    begin = 30 * DAY + 20 * 60  # 31 January, 20:00
    rows = [(begin, "press.state", 1.0, GOOD)]
    rows += [(begin + m, f"press.{role}", m / 6, GOOD) for role in ("total", "good") for m in (0, 600)]
    found = of_frame(plant, samples(rows), START + 480 * MINUTE, START + (59 * DAY + 480) * MINUTE)
    january, february = made("product_qualified_rate", found).amount.inputs
    assert (january.name, february.name) == ("good 100 of 100 pieces", "good 0 of 0 pieces")


# --- efficiency ---


def test_efficiency_is_good_pieces_an_hour_of_known_planned_operation_time():
    one = made("production_efficiency", grounds(plant_of(press()), shift(total=500, good=450, run=300)))
    assert (one.amount.numerator, one.amount.denominator, one.value) == (450, 10, 45)
    assert one.indicator.unit == "件/h"
    assert "above_one" not in one.amount.flags


def test_a_line_has_its_own_figure_and_a_line_of_nothing_has_none():
    plant = plant_of(press("line1/a"), press("line2/b"))
    plant = plant.model_copy(update={"assets": (*plant.assets, Asset(asset="line3/c"))})
    found = grounds(plant, [*shift("line1/a", 300, 300), *shift("line2/b", 600, 600)])
    assert [made("production_efficiency", found, line).value for line in ("line1", "line2", "works")] == [30, 60, 45]
    assert all(made(name, found, "line3") is None for name in BY_ID)


def test_pieces_of_which_nothing_tells_the_rejects_are_assumed_good():
    one = made("production_efficiency", grounds(plant_of(press(), roles=("state", "total")), shift(total=500)[:4]))
    assert one.value == 50
    assert one.amount.flags == ("assumed",)

"""NC rate of key processes and APC rate: which processes and loops count, and by which rule."""

import datetime as dt
from fractions import Fraction

import polars as pl
import pytest

from config.business import Declarations
from config.plant import Asset, Calendar, Plant, Point, Shift
from config.registers import Loop, Process
from config.schema import SAMPLE
from config.status import BAD, GOOD
from kpis.facts import facts
from kpis.indicators import control, processes
from kpis.indicators.base import Grounds, figure

MINUTE = 60_000_000_000
START = 1_763_596_800_000_000_000  # 2025-11-20T08:00:00+08:00, a Thursday
(NC,) = processes.INDICATORS
(APC,) = control.INDICATORS


def grounds(plant, rows=(), minutes=60):
    """The grounds of a period from (minute, point, value, status)."""
    kinds = {name: pl.Int64() if name.startswith("ts") else kind for name, kind in SAMPLE.items()}
    at = [(point, START + m * MINUTE, START + m * MINUTE, value, None, status) for m, point, value, status in rows]
    samples = pl.DataFrame(at, schema=kinds, orient="row").cast(dict(SAMPLE))
    end = START + minutes * MINUTE
    found = facts(plant, samples, START, end)
    empty = pl.DataFrame()
    return Grounds(plant=plant, start=START, end=end, devices=empty, facts=found, demand=empty,
                   declared=Declarations({}))  # fmt: skip


def machine(name, process, control="none", **more):
    return Asset(asset=name, process=process, control=control, key_process=True, **more)


def nc(*assets, of="works", **more):
    return figure(NC, grounds(Plant(id="works", assets=assets, **more)), of)


def told(one, lang="en"):
    return {m.id: (m.counted, m.met, m.reason.into(lang)) for m in one.amount.members}


# --- key processes ---


def test_processes_are_counted_and_not_machines():
    turning = [machine(f"t{n}", "turning", "cnc") for n in range(9)]
    rate = nc(*turning, machine("p", "painting"))
    assert rate.value == Fraction(1, 2)  # of machines it would be 9 of 10
    assert told(rate) == {"turning": (True, True, ""), "painting": (True, False, "p has control none")}


@pytest.mark.parametrize(("rule", "value"), [("all", Fraction(1, 3)), ("any", Fraction(2, 3))])
def test_all_or_any_of_a_processs_equipment_decides_and_the_rule_is_printed(rule, value):
    assets = [
        machine("a1", "a", "cnc"), machine("a2", "a", "nc"),
        machine("b1", "b", "cnc"), machine("b2", "b"),
        machine("c1", "c"),
    ]  # fmt: skip
    rate = nc(*assets, nc_rule=rule)
    assert rate.value == value
    assert rate.rule == (
        f"key_process_nc_rate@1 nc_rule={rule} kind=discrete discrete=cnc,nc,dnc,fmc process=plc,dcs,pcs"
    )


def test_key_equipment_decides_where_a_process_has_any():
    assets = [machine("mill", "cutting", "cnc", key_equipment=True), machine("saw", "cutting")]
    assert nc(*assets).value == 1
    assert nc(assets[0].model_copy(update={"key_equipment": False}), assets[1]).value == 0


@pytest.mark.parametrize("kind", ["discrete", "process"])
@pytest.mark.parametrize("value", ["cnc", "nc", "dnc", "fmc", "plc", "dcs", "pcs", "none"])
def test_the_kind_of_industry_decides_which_control_counts(kind, value):
    counts = {"discrete": ("cnc", "nc", "dnc", "fmc"), "process": ("plc", "dcs", "pcs")}[kind]
    assert nc(machine("m", "p", value), kind=kind).value == (1 if value in counts else 0)


def test_a_processs_own_kind_goes_before_the_plants():
    register = (Process(process="melting", key=True, kind="process"), Process(process="milling", key=True))
    rate = nc(machine("oven", "melting", "dcs"), machine("mill", "milling", "dcs"), processes=register)
    assert told(rate) == {"melting": (True, True, ""), "milling": (True, False, "mill has control dcs")}


def test_the_register_of_processes_decides_which_are_key():
    register = (Process(process="a", name="车削", key=True), Process(process="b"))
    rate = nc(machine("m1", "a", "cnc"), machine("m2", "b"), processes=register)
    assert told(rate) == {"a": (True, True, "")}
    assert rate.amount.members[0].name == "车削"


def test_without_a_register_of_processes_the_devices_say_which_are_key():
    other = Asset(asset="m3", process="c", control="cnc")
    assert told(nc(machine("m1", "a", "cnc"), machine("m2", "a", "cnc"), other)) == {"a": (True, True, "")}


def test_a_key_process_without_equipment_is_not_controlled():
    register = (Process(process="a", key=True), Process(process="b", key=True))
    rate = nc(machine("m", "a", "cnc"), processes=register)
    assert rate.value == Fraction(1, 2)
    assert told(rate)["b"] == (True, False, "no equipment of it counts")


def test_of_processes_that_are_not_controlled_the_nearest_lacks_the_fewest_machines():
    register = tuple(Process(process=name, key=True) for name in ("none", "two", "one"))
    rate = nc(machine("a", "two"), machine("b", "two"), machine("c", "one"), processes=register)
    assert sorted((m.id for m in rate.amount.members), key={m.id: -m.near for m in rate.amount.members}.get) == [
        "one", "two", "none",
    ]  # fmt: skip


def test_an_excluded_process_does_not_count_and_keeps_its_reason():
    register = (Process(process="a", key=True), Process(process="b", key=True, excluded="外协"))
    rate = nc(machine("m", "a", "cnc"), machine("n", "b"), processes=register)
    assert (rate.value, told(rate)["b"]) == (1, (False, False, "外协"))


def test_excluded_equipment_decides_nothing_and_is_named():
    rate = nc(machine("m", "a", "cnc"), machine("old", "a", excluded="已封存"))
    assert told(rate) == {"a": (True, True, "old does not count (已封存)")}
    alone = nc(machine("old", "a", "cnc", excluded="已封存"))
    assert told(alone, "zh") == {"a": (True, False, "没有计入的设备；old 不计入（已封存）")}


def test_equipment_that_left_before_the_periods_end_decides_nothing():
    rate = nc(machine("m", "a", "cnc"), machine("n", "a", in_use_until=dt.date(2025, 11, 19)))
    assert told(rate)["a"] == (True, True, "n does not count (not in use since 2025-11-20)")


def test_a_line_has_the_processes_whose_equipment_lies_there_judged_by_all_of_it():
    assets = [machine("line1/a", "p", "cnc"), machine("line2/b", "p"), machine("line2/c", "q", "cnc")]
    assert told(nc(*assets, of="line1")) == {"p": (True, False, "line2/b has control none")}
    assert nc(*assets, of="line2").value == Fraction(1, 2)
    assert nc(*assets, Asset(asset="line3/d"), of="line3") is None


def test_a_plant_without_key_processes_is_told_what_to_write():
    rate = nc(Asset(asset="m", process="a"))
    assert (rate.value, rate.refused) == (None, None)
    assert "processes.csv" in rate.amount.missing[0].en


def test_key_processes_that_are_all_excluded_are_refused():
    rate = nc(machine("m", "a", "cnc"), processes=(Process(process="a", key=True, excluded="外协"),))
    assert "its denominator is 0" in rate.refused.en


# --- advanced process control ---

SHIFT = Calendar(shifts=(Shift(name="早班", start="08:00", end="16:00"),))


def apc_plant(*assets, **more):
    made = [a if isinstance(a, Asset) else Asset(asset=a) for a in assets]
    points = tuple(Point(point=f"{a.asset}.apc", asset=a.asset, role="apc", max_hold="1h") for a in made)
    return Plant(id="works", assets=tuple(made), points=points, calendars=(SHIFT,), **more)


def apc(plant, *rows, of="works", minutes=60):
    return figure(APC, grounds(plant, rows, minutes), of)


def test_the_rate_is_time_under_control_of_the_time_in_which_it_is_known():
    rate = apc(apc_plant("oven"), (0, "oven.apc", 1.0, GOOD), (30, "oven.apc", 0.0, GOOD), (40, "oven.apc", None, BAD))
    assert (rate.amount.numerator, rate.amount.denominator) == (30 * 60, 40 * 60)
    assert rate.value == Fraction(3, 4)
    assert rate.amount.coverage == 40 / 60
    assert rate.rule == "apc_rate@1 apc_on/apc_known"


def test_loops_count_with_their_time():
    rows = [(0, "a.apc", 1.0, GOOD), (0, "b.apc", 0.0, GOOD), (20, "b.apc", None, BAD)]
    assert apc(apc_plant("a", "b"), *rows).value == Fraction(60, 80)  # and not the mean of 100 % and 0 %


def test_a_loop_without_data_is_listed_and_lowers_the_coverage():
    rate = apc(apc_plant("a", "b"), (0, "a.apc", 1.0, GOOD))
    assert (rate.value, rate.amount.coverage, rate.amount.flags) == (1, 0.5, ("loops_without_data=1",))
    assert told(rate)["b"] == (False, False, "no data: apc of b was never known")


def test_excluded_loops_and_loops_out_of_use_do_not_count():
    plant = apc_plant(
        "a", "b", Asset(asset="c", in_use_until=dt.date(2025, 11, 19)),
        loops=(Loop(loop="FIC-1", asset="a"), Loop(loop="TIC-2", asset="b", excluded="备用"),
               Loop(loop="PIC-3", asset="c")),
    )  # fmt: skip
    rate = apc(plant, (0, "a.apc", 1.0, GOOD), (0, "b.apc", 0.0, GOOD), (0, "c.apc", 0.0, GOOD))
    assert rate.value == 1
    assert told(rate) == {
        "FIC-1": (True, True, ""),
        "TIC-2": (False, False, "备用"),
        "PIC-3": (False, False, "not in use since 2025-11-20"),
    }


def test_the_register_of_loops_names_what_counts_and_without_one_every_apc_point_does():
    rows = [(0, "a.apc", 1.0, GOOD), (0, "b.apc", 0.0, GOOD)]
    assert apc(apc_plant("a", "b", loops=(Loop(loop="FIC-1", asset="a"),)), *rows).value == 1
    assert apc(apc_plant("a", "b"), *rows).value == Fraction(1, 2)


def test_two_loops_on_one_asset_share_its_point_and_say_so():
    plant = apc_plant("a", loops=(Loop(loop="FIC-1", asset="a"), Loop(loop="FIC-2", asset="a")))
    rate = apc(plant, (0, "a.apc", 1.0, GOOD))
    assert (rate.amount.denominator, rate.amount.flags) == (2 * 3600, ("loops_share_point",))


def test_a_loop_that_came_into_use_counts_from_that_day_on():
    plant = apc_plant(Asset(asset="a", in_use_from=dt.date(2025, 11, 21)))
    rows = [(m, "a.apc", 0.0 if m < 720 else 1.0, GOOD) for m in range(0, 32 * 60, 60)]
    rate = apc(plant, *rows, minutes=32 * 60)
    assert (rate.value, rate.amount.denominator) == (1, 8 * 3600)  # Friday's shift alone


def test_loops_of_a_line_and_of_a_line_without_any():
    plant = apc_plant("line1/a", "line2/b")
    plant = plant.model_copy(update={"assets": (*plant.assets, Asset(asset="line3/c"))})
    rows = [(0, "line1/a.apc", 1.0, GOOD), (0, "line2/b.apc", 0.0, GOOD)]
    assert [apc(plant, *rows, of=line).value for line in ("line1", "line2")] == [1, 0]
    assert apc(plant, *rows, of="line3") is None


def test_a_plant_without_loops_is_told_what_to_add():
    rate = apc(Plant(id="works", assets=(Asset(asset="a"),)))
    assert rate.amount.missing[0].en.startswith("no control loop is registered; add loops.csv")


def test_loops_that_were_never_known_are_refused():
    assert "its denominator is 0" in apc(apc_plant("a")).refused.en

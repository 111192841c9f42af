"""Every KPI on facts made by hand, with values to check by eye, and what all keep on facts made up from a seed."""

import datetime as dt
import functools
import random
from decimal import Decimal

import polars as pl
import pytest
from pydantic import ValidationError

from config.factors import coal_factors, load_factors
from config.plant import Asset, Plant, Point, Product
from config.registers import Meter
from config.schema import COUNTS, DEMAND, DURATIONS, FACT, MICRO, NS, RESULT, UTC_NS
from kpis.catalogue import losses
from kpis.catalogue.offers import kpis_of
from kpis.compute import WARNINGS, Basis, Window, results
from kpis.indicators.energy import standard_coal

HOUR = 3_600_000_000_000
MINUTE = HOUR // 60
DAY = 24 * HOUR
START = int(dt.datetime(2026, 11, 2, tzinfo=dt.UTC).timestamp()) * 10**9
ROLES = ("state", "total", "good", "reject", "rework", "apc")
METER = {"role": "energy.electricity", "unit": "kWh"}


def points(asset, roles=ROLES, meters=(METER,)):
    wanted = [{"role": role} for role in roles] + list(meters)
    return tuple(Point(point=f"{asset}/{row['role']}", asset=asset, **row) for row in wanted)


def plant_of(*assets, meters=(METER,), roles=ROLES, **keys):
    register = tuple(Asset(asset=asset, ideal_cycle=60.0) for asset in assets)
    keys = {"assets": register, "points": sum((points(a.asset, roles, meters) for a in register), ())} | keys
    return Plant(id="works", timezone="UTC", **keys)


def fact(asset="press", hour=0, **cells):
    """A row of facts: times in minutes, counts in pieces, energy in its unit, all else as it is; 0 what is not said.

    A meter is known throughout the row's time, unless `metered.<medium>` says how long.
    """
    begin = START + hour * HOUR
    row = {"asset": asset, "hour": begin, "start": begin, "end": begin + HOUR, "date": dt.date(2026, 11, 2)}
    row |= {"shift": "2026-11-02 day", "product": None, "ideal_cycle": 60.0}
    for name, value in cells.items():
        kind = FACT.get(name, NS if name.startswith("metered.") else pl.Int64())
        micro = name in (*COUNTS, "reject_startup") or name.endswith("_unknown") or name.startswith("energy.")
        scale = MINUTE if kind == NS else MICRO if micro else None
        row[name] = value if scale is None or value is None else round(value * scale)
    span = sum(row.get(name, 0) for name in DURATIONS)
    row |= {f"metered.{n[7:]}": span for n in cells if n.startswith("energy.") and f"metered.{n[7:]}" not in cells}
    return row


def frame_of(*rows):
    media = {name for row in rows for name in row if name.startswith(("energy.", "metered."))}
    schema = dict(FACT) | {name: NS if name.startswith("metered.") else pl.Int64() for name in sorted(media)}
    numbers = {name: pl.Int64() if kind in (NS, UTC_NS) else kind for name, kind in schema.items()}
    known = ("asset", "shift", "product", "date", "ideal_cycle", *media)
    full = [{name: row.get(name, None if name in known else 0) for name in schema} for row in rows]
    return pl.DataFrame(full, schema=numbers).cast(pl.Schema(schema))


def computed(plant, rows, *subjects, by="total", hours=24, demand=None):
    """RESULT rows as {(subject, kpi): row}."""
    none = pl.DataFrame(schema=dict(DEMAND))
    basis = Basis(frame_of(*rows), none if demand is None else demand)
    found = results(plant, basis, Window(START, START + hours * HOUR, by), list(subjects) or None)
    assert found.schema == pl.Schema(RESULT)
    return {(row["subject"], row["kpi"]): row for row in found.iter_rows(named=True)}


def metered(*levels, unnamed=()):
    """A plant of an asset for each level of the register of meters, and of assets whose meters it does not name."""
    plant = plant_of(*levels, *unnamed, roles=())
    meters = tuple(Meter(meter=level, point=f"{level}/energy.electricity", level=level) for level in levels)
    return plant.model_copy(update={"meters": meters})


def test_a_sub_meter_does_not_count_again_what_the_meter_above_it_counts():
    rows = [fact(asset, idle=60, **{"energy.electricity": amount}) for asset, amount in
            (("site", 100), ("unit", 60), ("device", 25), ("old", 7))]  # fmt: skip
    found = computed(metered("site", "unit", "device", unnamed=("old",)), rows, "works", "device", "old")
    told = {subject: row["value"] for (subject, kpi), row in found.items() if kpi == "energy_consumption"}
    assert told == {"works": 100.0, "device": 25.0, "old": 7.0}
    parts = computed(metered("unit", "device", unnamed=("old",)), rows[1:], "works")
    assert parts["works", "energy_consumption"]["value"] == 60.0
    bare = metered("site", "unit").model_copy(update={"meters": ()})
    assert computed(bare, rows[:2], "works")["works", "energy_consumption"]["value"] == 160.0


def test_a_sum_over_media_is_not_told_where_one_meter_of_an_asset_counts_and_another_does_not():
    both = ({"role": "energy.electricity", "unit": "kWh"}, {"role": "energy.heat", "unit": "GJ"})
    plant = plant_of("main", "boiler", roles=(), meters=both)
    levels = {"main/energy.electricity": "site", "boiler/energy.heat": "site", "boiler/energy.electricity": "device"}
    meters = tuple(Meter(meter=point, point=point, level=level) for point, level in levels.items())
    rows = [fact(asset, idle=60, **{"energy.electricity": 100, "energy.heat": 9}) for asset in ("main", "boiler")]
    found = computed(plant.model_copy(update={"meters": meters}), rows, "works", "main")
    assert found["works", "energy_consumption"]["value"] == 100.0
    assert found["works", "energy_consumption.heat"]["value"] == 9.0
    assert ("works", "energy_coal_equivalent") not in found
    assert ("main", "energy_coal_equivalent") in found
    assert ("works", "energy_coal_equivalent") in computed(plant, rows, "works")


# A day of which the shift is 7 h of operation and half an hour of break; every piece wants a minute.
DAY_AT_THE_PRESS = {
    "production": 300, "setup": 30, "delay": 40, "idle": 20, "planned": 30, "break": 30, "unscheduled": 990,
    "micro_stop": 10, "stops": 3, "micro_stops": 5, "apc_on": 210, "apc_known": 350,
    "total": 240, "good": 216, "reject": 24, "rework": 8, "reject_startup": 6, "energy.electricity": 120,
}  # fmt: skip
EXPECTED = {
    "availability": (300, 390),
    "effectiveness": (240, 300),
    "quality_ratio": (216, 240),
    "oee": (216, 390),
    "nee": (330 * 216, 300 * 390),
    "teep": (216, 1440),
    "ooe_operation": (216, 420),
    "ooe_shift": (216, 450),
    "utilization_efficiency": (300, 370),
    "allocation_efficiency": (370, 390),
    "technical_efficiency": (300, 340),
    "setup_ratio": (30, 330),
    "scrap_ratio": (16, 240),
    "rework_ratio": (8, 240),
    "first_pass_yield": (216, 240),
    "produced_quantity": (240, 1),
    "good_quantity": (216, 1),
    "reject_quantity": (24, 1),
    "scrap_quantity": (16, 1),
    "rework_quantity": (8, 1),
    "throughput": (240 * 60, 370),
    "mtbf": (300, 3 * 60),
    "mttf": (300 + 30 + 10, 3 * 60),
    "mttr": (40 - 10, 3 * 60),
    "micro_stop_share": (10, 40),
    "stop_count": (3, 1),
    "micro_stop_count": (5, 1),
    "loss_unscheduled": (990, 60),
    "loss_break": (30, 60),
    "loss_planned": (30, 60),
    "loss_unknown": (0, 60),
    "loss_idle": (20, 60),
    "loss_breakdown": (40 - 10, 60),
    "loss_setup": (30, 60),
    "loss_micro_stop": (10, 60),
    "loss_speed": (300 - 240, 60),
    "loss_startup": (6, 60),
    "loss_quality": (24 - 6, 60),
    "fully_productive_time": (216, 60),
    "apc_share": (210, 350),
    "energy_consumption": (120, 1),
    "energy_per_piece": (120, 240),
    "energy_coal": (120 * 1229, 10_000 * 1000),
    "energy_co2": (120 * 5306, 10_000),
    "energy_coal_equivalent": (120 * 1229, 10_000 * 1000),
}
ELSEWHERE = {"line_oee_bottleneck", "base_load", "energy_slope", "maximum_demand", "load_factor"}
"""KPIs of several assets, of hours and of demand intervals have tests of their own below."""


def test_every_kpi_has_a_value_to_check():
    assert EXPECTED.keys() | ELSEWHERE == {kpi.id for kpi in kpis_of(plant_of("press"))}


@functools.cache
def at_the_press():
    days = {"day": DAY_AT_THE_PRESS, "half known": HALF_KNOWN}
    return {day: computed(plant_of("press"), [fact(**cells)], "press") for day, cells in days.items()}


@pytest.mark.parametrize("kpi", EXPECTED)
def test_a_day_at_the_press(kpi):
    row = at_the_press()["day"]["press", kpi]
    above, below = EXPECTED[kpi]
    assert row["value"] == pytest.approx(above / below, rel=1e-12)
    assert row["low"] == row["value"] == row["high"] or kpi == "apc_share"
    assert row["flags"] == []


def test_results_come_in_the_order_of_subjects_kpis_and_periods():
    plant, rows = plant_of("line/a", "line/b"), [fact("line/a", **DAY_AT_THE_PRESS), fact("line/b", production=60)]
    ids = [kpi.id for kpi in kpis_of(plant)]
    found = list(computed(plant, rows, "line/b", "line", by="day"))
    assert found == sorted(found, key=lambda pair: (pair[0] == "line", ids.index(pair[1])))


# ---- unknown time


HALF_KNOWN = {"production": 120, "delay": 60, "unknown": 60, "stops": 3, "micro_stop": 6, "micro_stops": 2} | {
    "total": 100, "good": 90, "reject": 10, "rework": 4, "unscheduled": 1200,
}  # fmt: skip
BOUNDS = {
    # unknown time all lost, and all productive at a piece a minute
    "availability": (120 / 240, 120 / 180, 180 / 240),
    "ooe_operation": (90 / 240, 90 / 180, 150 / 240),
    "ooe_shift": (90 / 240, 90 / 180, 150 / 240),
    "utilization_efficiency": (120 / 240, 120 / 180, 180 / 240),
    "allocation_efficiency": (180 / 240, 1.0, 1.0),
    "technical_efficiency": (120 / 240, 120 / 180, 180 / 240),
    "setup_ratio": (0.0, 0.0, 60 / 180),
    "scrap_ratio": (6 / 160, 6 / 100, 66 / 160),
    "rework_ratio": (4 / 160, 4 / 100, 64 / 160),
    "first_pass_yield": (90 / 160, 90 / 100, 150 / 160),
    "throughput": (100 / 4, 100 / 3, 160 / 4),
    # Thirty stops more, of two minutes each, are the most that an hour can hide.
    "mtbf": (2 / 33, 2 / 3, 3 / 3),
    "mttf": (2.1 / 33, 2.1 / 3, 3.1 / 3),
    "mttr": (0.9 / 33, 0.9 / 3, 1.9 / 3),
    "stop_count": (3.0, 3.0, 33.0),
    "micro_stop_count": (2.0, 2.0, None),
    "micro_stop_share": (6 / 120, 6 / 60, 66 / 120),
    "loss_unknown": (1.0, 1.0, 1.0),
    "loss_breakdown": (0.9, 0.9, 1.9),
    "fully_productive_time": (1.5, 1.5, 2.5),
}


@pytest.mark.parametrize("kpi", BOUNDS)
def test_an_hour_of_unknown_time_widens_the_bounds(kpi):
    row = at_the_press()["half known"]["press", kpi]
    told = tuple(row[part] for part in ("low", "value", "high"))
    assert told == tuple(None if part is None else pytest.approx(part) for part in BOUNDS[kpi])
    assert row["coverage"] == 180 / 240


def test_without_an_ideal_cycle_nothing_bounds_what_unknown_time_made():
    plant = plant_of("press", assets=(Asset(asset="press"),))
    found = computed(plant, [fact(**HALF_KNOWN, ideal_cycle=None)], "press")
    assert (found["press", "scrap_ratio"]["low"], found["press", "scrap_ratio"]["high"]) == (0.0, 1.0)
    assert (found["press", "throughput"]["low"], found["press", "throughput"]["high"]) == (25.0, None)
    assert ("press", "oee") not in found


def test_no_stop_and_no_piece_give_null_and_not_a_number():
    found = computed(plant_of("press"), [fact(idle=60)], "press")
    for kpi in ("mtbf", "mttf", "mttr", "micro_stop_share", "throughput", "setup_ratio", "scrap_ratio"):
        assert found["press", kpi]["value"] is None, kpi
    assert found["press", "stop_count"]["value"] == 0


def test_time_that_was_inferred_is_flagged_where_time_counts():
    plant = plant_of("press", roles=("total", "good", "reject"))
    found = computed(plant, [fact(production=60, inferred=60, total=30, good=30)], "press")
    assert found["press", "availability"]["flags"] == ["inferred"]
    assert found["press", "produced_quantity"]["flags"] == []


def test_without_a_state_point_and_an_ideal_cycle_no_time_is_told():
    plant = plant_of("press", roles=("total",), assets=(Asset(asset="press"),))
    assert ("press", "availability") not in computed(plant, [fact(unknown=60, total=3)], "press")
    known = plant.model_copy(update={"products": (Product(product="x", asset="pr*", ideal_cycle=60),)})
    assert ("press", "availability") in computed(known, [fact(unknown=60, total=3)], "press")


def test_process_control_counts_over_the_time_in_which_it_is_known():
    row = computed(plant_of("press"), [fact(production=60, apc_on=20, apc_known=40)], "press")["press", "apc_share"]
    assert (row["low"], row["value"], row["high"], row["coverage"]) == (20 / 60, 20 / 40, 40 / 60, 40 / 60)


# ---- what generated facts keep


def drawn(seed, assets=("line/a", "line/b", "c")):
    """Rows of a few hours of each asset, every nanosecond of them in one element."""
    rng, rows = random.Random(seed), []
    for asset in assets:
        for hour in range(rng.randint(1, 30)):
            cuts = sorted(rng.choices(range(HOUR + 1), k=len(DURATIONS) - 1))
            parts = [b - a for a, b in zip([0, *cuts], [*cuts, HOUR], strict=True)]
            row = fact(asset, hour) | dict(zip(DURATIONS, rng.sample(parts, len(parts)), strict=True))
            total, ideal = rng.randrange(200 * MICRO), rng.choice([0.7, 12.345, 60.0])
            reject = rng.randint(0, total)
            row |= {"ideal_cycle": ideal, "total": total, "reject": reject, "good": total - reject}
            row |= {"rework": rng.randint(0, reject), "reject_startup": rng.randint(0, reject)}
            if rng.random() < 0.3:
                row |= {f"{c}_unknown": row[c] // 3 for c in COUNTS}
                row |= {"reject_startup": row["reject_startup"] // 3}
            row |= {"micro_stop": rng.randint(0, row["delay"]), "stops": rng.randrange(3), "micro_stops": 2}
            row |= {"apc_known": row["production"], "apc_on": rng.randint(0, row["production"])}
            row |= {"energy.electricity": rng.randrange(90 * MICRO), "metered.electricity": rng.randint(0, HOUR)}
            rows.append(row)
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_the_waterfall_sums_to_calendar_time_to_the_nanosecond(seed):
    rows = drawn(seed)
    found = computed(plant_of("line/a", "line/b", "c"), rows)
    for subject, mine in (("line/a", ["line/a"]), ("line", ["line/a", "line/b"]), ("works", ["line/a", "line/b", "c"])):
        # A part's nanoseconds can be read back from its hours, as there are fewer than 2**51 of them.
        parts = [round(found[subject, kpi.id]["value"] * HOUR) for kpi in losses.KPIS]
        assert sum(parts) == HOUR * sum(row["asset"] in mine for row in rows)


@pytest.mark.parametrize("seed", range(20))
def test_a_value_lies_within_its_bounds_and_a_groups_is_of_sums(seed):
    plant = plant_of("line/a", "line/b", "c")
    found = computed(plant, drawn(seed))
    for key, row in found.items():
        if row["value"] is not None:
            assert row["low"] is None or row["low"] <= row["value"], key
            assert row["high"] is None or row["value"] <= row["high"], key
    for kpi in kpis_of(plant):
        if kpi.basis == "facts" and not kpi.bottleneck and kpi.id != "nee":
            for part in ("numerator", "denominator"):
                parts = [found[asset, kpi.id][part] for asset in ("line/a", "line/b")]
                alone = part == "denominator" and kpi.denominator.meta.is_literal()
                # Standard coal and CO2 are rounded to a millionth, once for each subject.
                expected = pytest.approx(1.0 if alone else sum(parts), abs=2e-6)
                assert found["line", kpi.id][part] == expected, kpi.id


def test_a_thousand_machines_of_a_year_do_not_overflow():
    assets = [f"m{n}" for n in range(1000)]
    rows = [fact(asset, unscheduled=365 * 24 * 60, production=60, good=30, total=30) for asset in assets]
    found = computed(plant_of(*assets), rows, "works")
    assert found["works", "loss_unscheduled"]["value"] == 1000 * 365 * 24
    assert found["works", "teep"]["denominator"] == 1000 * (365 * 24 + 1) * 3600


def test_a_machine_that_beats_its_ideal_cycle_gains_time_and_is_flagged():
    found = computed(plant_of("press"), [fact(production=60, total=70, good=70)], "press")
    speed, effectiveness = found["press", "loss_speed"], found["press", "effectiveness"]
    assert (speed["value"], speed["flags"]) == (pytest.approx(-10 / 60), ["below_zero"])
    assert (effectiveness["value"], effectiveness["flags"]) == (pytest.approx(70 / 60), ["above_one"])
    assert {"below_zero", "above_one"} <= WARNINGS


def test_rejects_that_nothing_tells_lose_no_time():
    plant = plant_of("press", roles=("state", "total"))
    row = fact(production=60, total=50, good=50, reject=None, reject_startup=None, rework=None)
    found = computed(plant, [row], "press")
    assert [found["press", f"loss_{kind}"]["value"] for kind in ("startup", "quality")] == [0, 0]
    assert found["press", "loss_quality"]["flags"] == ["assumed"]


def test_a_day_outside_every_shift_has_its_calendar_time_and_nothing_else():
    rows = [fact(**DAY_AT_THE_PRESS), fact(hour=24, unscheduled=1440) | {"date": dt.date(2026, 11, 3), "shift": None}]
    none = pl.DataFrame(schema=dict(DEMAND))
    found = results(plant_of("press"), Basis(frame_of(*rows), none), Window(START, START + 2 * DAY, "day"), ["press"])
    assert found.filter(pl.col("period") == "2026-11-03")["kpi"].to_list() == ["loss_unscheduled"]


# ---- a line


def line(*cycles):
    register = tuple(Asset(asset=f"line/m{n}", ideal_cycle=cycle) for n, cycle in enumerate(cycles))
    return Plant(id="works", assets=register, points=sum((points(a.asset) for a in register), ()))


def test_a_lines_own_oee_is_that_of_the_machine_with_the_greatest_ideal_cycle():
    rows = [
        fact("line/m0", production=60, total=60, good=60, ideal_cycle=30.0),
        fact("line/m1", production=60, total=45, good=45, ideal_cycle=60.0),
        fact("line/m2", production=60, total=60, good=60, ideal_cycle=45.0),
    ]
    found = computed(line(30, 60, 45), rows)
    own = found["line", "line_oee_bottleneck"]
    assert (own["value"], own["flags"]) == (0.75, ["bottleneck=line/m1"])
    assert found["line", "oee"]["value"] == pytest.approx((30 + 45 + 45) / 180)
    assert [subject for subject, kpi in found if kpi == "line_oee_bottleneck"] == ["line"]


def test_of_two_bottlenecks_the_last_counts():
    rows = [fact("line/m0", production=60), fact("line/m1", production=60, total=6, good=6)]
    own = computed(line(60, 60), rows)["line", "line_oee_bottleneck"]
    assert (own["value"], own["flags"]) == (0.1, ["bottleneck=line/m1"])


def test_a_group_of_one_machine_that_counts_has_no_bottleneck():
    plant = line(60, 60)
    alone = plant.model_copy(update={"points": points("line/m0")})
    rows = [fact("line/m0", production=60, total=6, good=6), fact("line/m1", unknown=60)]
    assert ("line", "line_oee_bottleneck") not in computed(alone, rows)


# ---- energy


def test_a_meter_that_said_nothing_gives_null_and_not_zero():
    silent = fact(**DAY_AT_THE_PRESS | {"energy.electricity": 0}, **{"metered.electricity": 0})
    intervals = pl.DataFrame(
        [{"asset": "press", "medium": "electricity", "start": START, "interval": HOUR, "quantity": 0, "metered": 0}]
    ).cast(pl.Schema(DEMAND))
    found = computed(plant_of("press", demand_interval=HOUR), [silent], "press", demand=intervals)
    kpis = ("energy_consumption", "energy_per_piece", "energy_coal", "energy_co2", "energy_coal_equivalent")
    for kpi in (*kpis, "maximum_demand", "load_factor"):
        row = found["press", kpi]
        assert (row["value"], row["high"], row["coverage"]) == (None, None, 0.0), kpi


def test_a_meter_that_was_silent_for_half_the_time_bounds_nothing_above():
    found = computed(plant_of("press"), [fact(**DAY_AT_THE_PRESS, **{"metered.electricity": 720})], "press")
    for kpi in ("energy_consumption", "energy_per_piece", "energy_coal", "energy_co2", "energy_coal_equivalent"):
        row = found["press", kpi]
        assert (row["low"], row["high"], row["coverage"]) == (row["value"], None, 0.5), kpi


def test_a_meter_that_stood_still_consumed_nothing():
    found = computed(plant_of("press"), [fact(**DAY_AT_THE_PRESS | {"energy.electricity": 0})], "press")
    assert found["press", "energy_consumption"]["value"] == 0
    assert found["press", "energy_coal"]["value"] == 0


def test_demand_of_two_meters_is_summed_interval_by_interval():
    rows = [("line/a", 0, 30), ("line/a", 1, 10), ("line/b", 0, 5), ("line/b", 1, 45)]
    intervals = pl.DataFrame(
        {
            "asset": [asset for asset, _, _ in rows],
            "medium": "electricity",
            "start": [START + n * HOUR // 2 for _, n, _ in rows],
            "interval": HOUR // 2,
            "quantity": [kwh * MICRO for _, _, kwh in rows],
            "metered": HOUR // 2,
        }
    ).cast(pl.Schema(DEMAND))
    plant = plant_of("line/a", "line/b", demand_interval=HOUR // 2)
    found = computed(plant, [fact("line/a", idle=60), fact("line/b", idle=60)], demand=intervals)
    assert found["line/a", "maximum_demand"]["value"] == 60
    assert found["line", "maximum_demand"]["value"] == 110  # 10 + 45 kWh in half an hour
    assert found["line", "load_factor"]["value"] == pytest.approx(90 / 110)


def media(**amounts):
    """A plant with a meter of each medium, and its facts of a day."""
    units = {"electricity": "kWh", "heat": "MJ"}
    meters = [{"role": f"energy.{medium}", "unit": units.get(medium, "m3")} for medium in amounts]
    return plant_of("press", meters=meters), fact(idle=60, **{f"energy.{m}": amount for m, amount in amounts.items()})


def test_electricity_and_blast_furnace_gas_are_382_919_tce():
    plant, row = media(electricity=3_100_000, blast_furnace_gas=15_000)
    found = computed(plant, [row], "press")
    assert found["press", "energy_coal"]["value"] == 380.99
    assert found["press", "energy_coal.blast_furnace_gas"]["value"] == 1.929
    both = found["press", "energy_coal_equivalent"]
    assert (both["value"], both["unit"], both["flags"]) == (382.919, "tce", [])
    assert both["rule"] == "energy_coal_equivalent@1 sme-2024 (2024)"


def test_a_medium_without_a_coefficient_is_left_out_of_the_sum_and_said_so():
    plant, row = media(electricity=10_000, water=77)
    found = computed(plant, [row], "press")
    assert (found["press", "energy_coal_equivalent"]["value"]) == 1.229
    assert found["press", "energy_coal_equivalent"]["flags"] == ["media_left_out"]
    assert found["press", "energy_consumption.water"]["value"] == 77
    assert ("press", "energy_coal.water") not in found
    assert ("press", "energy_co2.water") not in found


def test_heat_in_kwh_takes_the_coefficient_of_gj():
    plant, row = media(heat=10_000)  # 36 GJ
    assert computed(plant, [row], "press")["press", "energy_coal.heat"]["value"] == 36 * 0.0341


@pytest.mark.parametrize("seed", range(20))
def test_standard_coal_is_exact_and_rounded_once_half_up(seed):
    rng = random.Random(seed)
    amounts = {"electricity": rng.randrange(10**15), "converter_gas": rng.randrange(10**12)}
    plant, row = media(**dict.fromkeys(amounts, 1))
    row |= {f"energy.{medium}": micro for medium, micro in amounts.items()}
    exact = standard_coal({m: Decimal(micro) / MICRO for m, micro in amounts.items()}, load_factors("sme-2024"))
    value = computed(plant, [row], "press")["press", "energy_coal_equivalent"]["value"]
    assert value == float(exact.rounded(6))


def test_half_a_millionth_is_rounded_up():
    plant, row = media(electricity=1)
    east = plant.model_copy(update={"co2_factors": "co2-grid-2023:east"})  # 0.55 kg a kWh
    for micro, expected in ((125, 69), (130, 72), (150, 83)):  # 68.75, 71.5, 82.5
        row["energy.electricity"] = micro
        assert computed(east, [row], "press")["press", "energy_co2"]["value"] == expected / MICRO


@pytest.mark.parametrize(
    ("name", "kilograms", "year"),
    [
        ("co2-grid-2023:national", 530.6, 2023),
        ("co2-grid-2023:southwest", 247.2, 2023),
        ("co2-grid-2022:national", 536.6, 2022),
    ],
)
def test_co2_is_by_the_set_and_scope_that_the_plant_names(name, kilograms, year):
    plant, row = media(electricity=1000)
    told = computed(plant.model_copy(update={"co2_factors": name}), [row], "press")["press", "energy_co2"]
    assert (told["value"], told["unit"]) == (kilograms, "kgCO2")
    assert told["rule"] == f"energy_co2@1 {name} ({year})"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"coal_factors": "gbt-1"}, "the sets are co2-grid-2022, co2-grid-2023, sme-2024"),
        ({"coal_factors": "co2-grid-2023"}, "gives kgCO2, not tce"),
        ({"co2_factors": "sme-2024"}, "gives tce, not kgCO2"),
        ({"co2_factors": "co2-grid-2023:west"}, "has no scope 'west'; write co2-grid-2023: and one of national, north"),
    ],
)
def test_a_factor_set_that_is_none_is_refused_with_what_there_is(keys, said):
    with pytest.raises(ValidationError, match=said):
        Plant(id="works", **keys)
    assert coal_factors(Plant(id="works").coal_factors).year == 2024


# ---- base load


def hours_of(pieces, kwh, **cells):
    return [
        fact(hour=n, production=60, total=x, good=x, **{"energy.electricity": y}, **cells)
        for n, (x, y) in enumerate(zip(pieces, kwh, strict=True))
    ]


def test_base_load_and_slope_are_those_of_the_line_through_the_hours():
    pieces = range(24)
    found = computed(plant_of("press"), hours_of(pieces, [10 + 0.5 * x for x in pieces]), "press")
    load, slope = found["press", "base_load"], found["press", "energy_slope"]
    assert (load["value"], load["unit"]) == (pytest.approx(10), "kW")
    assert (slope["value"], slope["unit"]) == (pytest.approx(0.5), "kWh/piece")
    assert load["flags"] == slope["flags"] == ["r2=1.0"]
    assert load["coverage"] == pytest.approx(1)


def test_hours_that_lie_beside_the_line_lower_r2():
    # The line from 10 to 12 kWh has the variance 1, the hours beside it 0.5 around it: it explains 1 of 1.5.
    kwh = [10 + 2 * x + d for x in (0, 1) for d in (0.5**0.5, -(0.5**0.5))] * 6
    found = computed(plant_of("press"), hours_of([0, 0, 1, 1] * 6, kwh), "press")
    assert found["press", "energy_slope"]["value"] == pytest.approx(2)
    assert found["press", "energy_slope"]["flags"] == ["r2=0.667"]


def test_an_hour_in_which_the_meter_was_not_known_throughout_is_left_out():
    rows = hours_of(range(25), [10 + 0.5 * x for x in range(25)])
    rows[24] |= {"energy.electricity": 999 * MICRO, "metered.electricity": HOUR - 1}
    load = computed(plant_of("press"), rows, "press", hours=25)["press", "base_load"]
    assert load["value"] == pytest.approx(10)
    assert (load["low"], load["high"], load["coverage"]) == (None, None, pytest.approx(24 / 25))


@pytest.mark.parametrize("pieces", [range(23), [7] * 30])
def test_fewer_than_24_hours_or_pieces_that_do_not_vary_give_no_line(pieces):
    found = computed(plant_of("press"), hours_of(pieces, [10 + 0.5 * x for x in pieces]), "press")
    for kpi in ("base_load", "energy_slope"):
        row = found["press", kpi]
        assert (row["value"], row["low"], row["high"]) == (None, None, None), kpi


def test_a_groups_line_is_through_the_hours_of_its_machines_together():
    one = hours_of(range(24), [10 + 0.5 * x for x in range(24)])
    two = [row | {"asset": "line/b"} for row in one]
    found = computed(plant_of("line/a", "line/b"), [row | {"asset": "line/a"} for row in one] + two, "line")
    assert found["line", "base_load"]["value"] == pytest.approx(20)
    assert found["line", "energy_slope"]["value"] == pytest.approx(0.5)

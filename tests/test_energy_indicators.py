"""Energy in standard coal, CO2, water and waste: measured or declared, never both added, by one factor set."""

import datetime as dt
import random
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest

import config.factors
from config.factors import FactorsMixedError, coal_factors, load_factors, one_set
from config.plant import Asset, Plant, Point
from config.registers import Meter
from config.schema import SAMPLE
from config.status import GOOD
from kpis import facts as kpi_facts
from kpis.indicators import carbon, economy, energy, resources
from kpis.indicators.base import rounded
from kpis.indicators.comprehensive import comprehensive, standard_coal
from kpis.indicators.errors import InputError
from tests.declaring import YEAR, bounds, declared, facts, found, grounds, misses
from tests.recordings import shared_data

UNITS = {"electricity": "kWh", "blast_furnace_gas": "m3", "water": "m3", "anthracite": "t", "heat": "GJ", "gas": "m3"}


def meter(medium, asset, unit="", head="energy"):
    return Point(point=f"{asset}.{medium}.{head}", asset=asset, role=f"{head}.{medium}", unit=unit or UNITS[medium])


def plant(*points, meters=(), assets=(), **more):
    named = [*assets, *(p.asset for p in points)]
    return Plant(id="works", assets=tuple(Asset(asset=a) for a in dict.fromkeys(named)), points=points,
                 meters=meters, **more)  # fmt: skip


def site(point, **more):
    return Meter(meter=f"M-{point.point}", point=point.point, **more)


MAIN, GAS = meter("electricity", "main"), meter("blast_furnace_gas", "pipe")
METERED = plant(MAIN, GAS, meters=(site(MAIN), site(GAS)))
READ = {"main": {"energy.electricity": 3_100_000}, "pipe": {"energy.blast_furnace_gas": 15_000}}
SAID = (
    declared("电力消费量", 310, "万千瓦时"),
    declared("高炉煤气消费量", "1.5", "万立方米"),
)


def coal(*args, **more):
    return found(energy.INDICATORS, "comprehensive_energy", grounds(*args, **more))


def test_example_12_metered_is_382_919_tce():
    made = coal(METERED, of_facts=facts(METERED, YEAR, **READ))
    assert made.value == Fraction("382.919")
    assert rounded(made.value, 2) == Decimal("382.92")
    assert [(i.name, i.value, i.unit, i.origin, i.coverage) for i in made.amount.inputs] == [
        ("consumption.blast_furnace_gas", 15_000, "m3", "measured", 1.0),
        ("consumption.electricity", 3_100_000, "kWh", "measured", 1.0),
    ]
    assert (made.rule, made.amount.coverage, made.declared) == ("comprehensive_energy@1 sme-2024 (2024)", 1.0, False)
    assert made.amount.flags == ()


def test_example_12_declared_is_382_919_tce_and_says_who_and_when():
    made = coal(None, *SAID)
    assert made.value == Fraction("382.919")
    assert made.declared
    (gas, power) = made.amount.inputs
    assert (power.value, power.unit, power.declared_by) == (3_100_000, "kWh", "王芳")
    assert gas.declared_at == dt.date(2026, 1, 15)


def test_one_medium_may_be_metered_and_another_declared():
    alone = plant(MAIN, meters=(site(MAIN),))
    made = coal(alone, SAID[1], of_facts=facts(alone, YEAR, main=READ["main"]))
    assert made.value == Fraction("382.919")
    assert [i.origin for i in made.amount.inputs] == ["declared", "measured"]


def test_example_12_from_samples_of_two_meters():
    day = ("2025-03-01", "2025-03-02")
    start, end = bounds(METERED, day)
    held = METERED.model_copy(update={"points": tuple(p.model_copy(update={"max_hold": end}) for p in METERED.points)})
    rows = [(MAIN.point, start, 0.0), (MAIN.point, end, 3_100_000.0), (GAS.point, start, 0.0), (GAS.point, end, 15e3)]
    table = [{"point": p, "ts": t, "ts_recv": t, "value": v, "text": None, "status": GOOD} for p, t, v in rows]
    read = kpi_facts.facts(held, pl.DataFrame(table, schema=dict(SAMPLE)), start, end)
    assert coal(held, days=day, of_facts=read).value == Fraction("382.919")


def test_what_is_metered_throughout_goes_before_what_is_declared_and_the_difference_is_told():
    made = coal(METERED, declared("consumption.electricity", 300, "万kWh"), of_facts=facts(METERED, YEAR, **READ))
    assert made.value == Fraction("382.919")
    assert made.amount.flags == ("metered_less_declared=consumption.electricity:100000 kWh",)
    assert [(i.name, i.origin, i.value) for i in made.amount.inputs][1:] == [
        ("consumption.electricity", "measured", 3_100_000),
        ("consumption.electricity", "declared", 3_000_000),
    ]


def test_a_meter_that_was_silent_for_a_day_gives_way_to_what_is_declared():
    gap = {"main": READ["main"] | {"metered.electricity": Fraction(364, 365)}, "pipe": READ["pipe"]}
    made = coal(METERED, declared("consumption.electricity", 320, "万kWh"), of_facts=facts(METERED, YEAR, **gap))
    assert made.value == Fraction("393.28") + Fraction("1.929")  # 320 x 1.229
    assert made.amount.flags == (
        "declared_used=consumption.electricity",
        "metered_less_declared=consumption.electricity:-100000 kWh",
    )
    alone = coal(METERED, of_facts=facts(METERED, YEAR, **gap))
    assert alone.value == Fraction("382.919")
    assert alone.amount.flags == ("unmetered_time=consumption.electricity",)
    assert alone.amount.coverage == pytest.approx(364 / 365)


def test_without_a_register_every_meter_counts_and_it_is_told():
    unregistered = METERED.model_copy(update={"meters": ()})
    made = coal(unregistered, of_facts=facts(unregistered, YEAR, **READ))
    assert made.value == Fraction("382.919")
    assert made.amount.flags == ("meters_not_registered",)


def test_with_a_register_a_machines_meter_does_not_count_beside_that_of_the_site():
    press, old = meter("electricity", "press"), meter("electricity", "old")
    meters = (site(MAIN), site(press, level="device"), site(old, excluded="broken"))
    works = plant(MAIN, press, old, meters=meters)
    amounts = {name: {"energy.electricity": 10_000} for name in ("main", "press", "old")}
    assert coal(works, of_facts=facts(works, YEAR, **amounts)).value == Fraction("1.229")


def test_a_meter_of_a_part_does_not_stand_for_the_whole_plant():
    works = plant(MAIN, meters=(site(MAIN, level="unit"),))
    said = misses(coal(works, of_facts=facts(works, YEAR, main=READ["main"])))
    assert said[0].startswith("electricity: no meter of level site counts it")


def test_the_coverage_of_two_meters_of_a_medium_is_that_of_both():
    second = meter("electricity", "second")
    works = plant(MAIN, second, meters=(site(MAIN), site(second)))
    half = {"energy.electricity": 5_000, "metered.electricity": Fraction(1, 2)}
    made = coal(works, of_facts=facts(works, YEAR, main={"energy.electricity": 5_000}, second=half))
    assert (made.value, made.amount.coverage) == (Fraction("1.229"), 0.75)


def test_meters_of_one_asset_whose_facts_are_one_sum_are_not_told_apart():
    second = Point(point="main.hall", asset="main", role="energy.electricity", unit="kWh")
    works = plant(MAIN, second, meters=(site(MAIN), site(second, level="unit")))
    read = facts(works, YEAR, main={"energy.electricity": 20_000})
    (first, *_) = misses(coal(works, of_facts=read))
    assert first.startswith("electricity: what is counted on asset main is the sum of its meters, with main.hall")
    assert coal(works, SAID[0], of_facts=read).value == Fraction("380.99")


def test_water_has_no_coefficient_and_is_left_out_and_told_even_where_its_meter_is_silent():
    works = plant(MAIN, meter("water", "well"))
    for water in (77, 0):
        read = {"main": {"energy.electricity": 10_000}, "well": {"energy.water": water}}
        if not water:
            read["well"]["metered.water"] = 0
        made = coal(works, of_facts=facts(works, YEAR, **read))
        assert made.value == Fraction("1.229")
        assert made.amount.flags == ("meters_not_registered", "media_left_out=water")


def test_heat_that_is_metered_by_mass_converts_to_nothing_until_it_is_declared_in_gj():
    works = plant(MAIN, meter("heat", "steam", "t"))
    read = facts(works, YEAR, main={"energy.electricity": 10_000}, steam={"energy.heat": 500})
    (said,) = misses(coal(works, of_facts=read))
    assert said.startswith("consumption.heat is in kg, and its coefficient in sme-2024 is per GJ; meter it or declare")
    made = coal(works, declared("consumption.heat", 100, "GJ"), of_facts=read)
    assert made.value == Fraction("1.229") + Fraction("3.41")


TRANSFORMED = (
    declared("consumption.anthracite", 100, "t"),  # 94.28 tce
    declared("transformation_input.anthracite", 60, "t"),  # a part of it
    declared("transformation_output.heat", 1000, "GJ"),  # 34.1 tce
    declared("recovered.waste_heat", 10, "GJ"),  # 0.341 tce
)


def test_transformation_output_and_recovered_energy_are_taken_off():
    of = grounds(None, *TRANSFORMED)
    made = found(energy.INDICATORS, "comprehensive_energy", of)
    assert made.value == Fraction("94.28") - Fraction("34.1") - Fraction("0.341")
    first, second = energy.table_205_1(of), energy.table_205_2(of)
    assert first.total("5") - second.total("11") - second.total("12") == made.value
    assert "transformation_input.anthracite" not in [i.name for i in made.amount.inputs]


def test_more_transformed_than_consumed_is_refused():
    of = grounds(None, TRANSFORMED[0], declared("transformation_input.anthracite", 101, "t"))
    with pytest.raises(InputError, match=r"more than consumption\.anthracite \(95\.2228 > 94\.28 tce\)"):
        comprehensive(of, "works")


def test_what_was_transformed_without_any_consumption_asks_for_it():
    made = coal(None, SAID[0], TRANSFORMED[1])
    (said,) = misses(made)
    assert said.startswith("consumption.anthracite is not there")


def test_more_out_of_transformation_than_consumed_is_refused():
    of = grounds(None, TRANSFORMED[0], declared("transformation_output.heat", 3000, "GJ"))
    with pytest.raises(InputError, match=r"102\.3 tce came out .* only 94\.28 tce were consumed"):
        comprehensive(of, "works")
    made = found(energy.INDICATORS, "comprehensive_energy", of)
    assert made.value is None
    assert made.refused.en.endswith("consumption includes what is transformed: mend the amounts")


def test_a_tce_amount_of_another_factor_set_is_refused_by_the_names_of_both():
    of = grounds(None, declared("consumption.electricity", 381, "tce", factors="gbt-2589-2020"))
    with pytest.raises(
        InputError, match=r"converted with factor set gbt-2589-2020, and the plant's is sme-2024"
    ) as info:
        comprehensive(of, "works")
    assert "gbt-2589-2020" in info.value.said.zh
    made = found(energy.INDICATORS, "energy_per_output_value", of)
    assert made.value is None
    assert "gbt-2589-2020" in made.refused.en


def test_a_tce_amount_of_the_plants_own_set_is_taken_as_it_is():
    rows = (declared("consumption.electricity", "380.99", "吨标准煤", factors="sme-2024"),
            declared("consumption.biomass", 12, "tce", factors="sme-2024"))  # fmt: skip
    assert coal(None, *rows).value == Fraction("392.99")


def test_a_medium_of_the_year_before_is_asked_for_with_the_row_to_add():
    made = coal(None, SAID[0], declared("consumption.heat", 5, "GJ", "2024"))
    (said,) = misses(made)
    assert made.amount.value is None  # 380.99 tce are not all of it
    assert said.startswith("consumption.heat of 2025 is not declared; add a row to business.csv with period 2025, or")
    assert "热力消费量" in made.amount.missing[0].zh
    assert coal(None, SAID[0], declared("consumption.heat", 0, "GJ")).value == Fraction("380.99")


def test_twelve_months_make_a_year_and_each_row_stands_among_the_inputs():
    months = [declared("consumption.electricity", 10_000, "kWh", f"2025-{n:02}") for n in range(1, 13)]
    made = coal(None, *months)
    assert made.value == Fraction("14.748")  # 12 x 1.229
    assert len(made.amount.inputs) == 13
    (said,) = misses(coal(None, *months[:-1]))
    assert "consumption.electricity of 2025 is not declared" in said


def test_declared_values_do_not_enter_a_period_of_half_a_day():
    of = grounds(None, *SAID)
    half = replace(of, end=of.start + 12 * 3600 * 10**9)
    said = misses(found(energy.INDICATORS, "comprehensive_energy", half))
    assert said[0].endswith("does not start and end where one does (00:00); ask for whole days")


def test_a_plant_without_energy_says_what_to_add():
    (said,) = misses(coal())
    assert said.startswith("no energy is metered or declared")


@pytest.mark.parametrize("seed", range(10))
def test_the_figure_is_the_exact_sum_of_any_amounts(seed):
    rng = random.Random(seed)
    amounts = {"electricity": rng.randrange(10**15), "blast_furnace_gas": rng.randrange(10**12)}
    of_facts = facts(METERED, YEAR, main={"energy.electricity": 0}, pipe={"energy.blast_furnace_gas": 0})
    columns = [
        pl.when(pl.col(f"energy.{m}").is_not_null()).then(micro).alias(f"energy.{m}") for m, micro in amounts.items()
    ]
    made = coal(METERED, of_facts=of_facts.with_columns(columns))
    exact = standard_coal({m: Decimal(n) / 10**6 for m, n in amounts.items()}, load_factors("sme-2024"))
    assert made.value == exact.total


def test_per_output_value_and_per_100_yuan_of_revenue():
    of = grounds(None, *SAID, declared("产值", 2, "亿元"), declared("revenue", 18_000, "万元"))
    per_value = found(energy.INDICATORS, "energy_per_output_value", of)
    assert per_value.value == Fraction("382.919") / 20_000
    assert (per_value.amount.numerator, per_value.amount.denominator) == (Fraction("382.919"), 20_000)
    assert found(energy.INDICATORS, "energy_per_100_yuan_revenue", of).value == Fraction(382_919, 1_800_000)
    assert per_value.rule == "energy_per_output_value@1 sme-2024 (2024)"


def test_a_revenue_of_0_is_refused_and_a_missing_one_names_the_row_to_add():
    made = found(energy.INDICATORS, "energy_per_100_yuan_revenue", grounds(None, *SAID, declared("revenue", 0, "元")))
    assert made.value is None
    assert "its denominator is 0" in made.refused.en
    made = found(energy.INDICATORS, "energy_per_100_yuan_revenue", grounds(None, *SAID))
    assert misses(made)[0].startswith("revenue of 2025 is not declared; add a row to business.csv with period 2025")


def test_per_piece_takes_declared_pieces_of_the_plant_and_counted_ones_of_a_line():
    press = meter("electricity", "line1/press")
    works = plant(press, assets=("line2/saw",))
    made = {"line1/press": {"energy.electricity": 1_000, "total": 200}, "line2/saw": {"total": 50}}
    read = facts(works, YEAR, **made)
    of = grounds(works, declared("products_made", 100, "件"), of_facts=read)
    assert found(energy.INDICATORS, "electricity_per_piece", of).value == 10
    assert found(energy.INDICATORS, "electricity_per_piece", of, "line1").value == 5
    assert found(energy.INDICATORS, "energy_per_piece", of, "line1").value == Fraction("0.6145")  # 122.9 kgce / 200
    assert found(energy.INDICATORS, "electricity_per_piece", of, "line2") is None
    counted = found(energy.INDICATORS, "electricity_per_piece", grounds(works, of_facts=read))
    assert counted.value == 4
    assert counted.amount.flags == ("meters_not_registered", "pieces_of_several_machines")


def test_the_lines_own_meters_of_the_highest_level_count_for_a_line():
    main, press = meter("electricity", "line1/main"), meter("electricity", "line1/press")
    works = plant(main, press, meters=(site(main, level="unit"), site(press, level="device")))
    read = facts(works, YEAR, **{"line1/main": {"energy.electricity": 1_000, "total": 100},
                                 "line1/press": {"energy.electricity": 700, "total": 100}})  # fmt: skip
    made = found(energy.INDICATORS, "electricity_per_piece", grounds(works, of_facts=read), "line1")
    assert made.value == 5  # 1000 / 200
    assert found(energy.INDICATORS, "electricity_per_piece", grounds(works, of_facts=read), "line1/press").value == 7


def test_co2_is_of_electricity_alone_and_tells_what_it_leaves_out():
    rows = declared("产值", 1_000, "万元"), declared("co2_other", 5, "t")
    of = grounds(METERED, *rows, of_facts=facts(METERED, YEAR, **READ))
    made = found(carbon.INDICATORS, "co2_emissions", of)
    assert made.value == 3_100_000 * Fraction("0.5306")
    assert made.amount.flags == ("media_left_out=blast_furnace_gas,co2_other",)
    assert made.rule == "co2_emissions@1 co2-grid-2023:national (2023) electricity"
    assert found(carbon.INDICATORS, "co2_per_output_value", of).value == Fraction("1644.86")


def test_co2_of_electricity_that_is_declared_in_tce_is_refused():
    of = grounds(None, declared("consumption.electricity", 1, "tce", factors="sme-2024"))
    with pytest.raises(InputError, match="is in tce, not kWh"):
        carbon.emissions(of, "works")


def test_water_reuse_is_metered_or_declared():
    assert found(resources.INDICATORS, "water_reuse_rate", grounds(None, declared("water_fresh", 200, "m3"),
                 declared("water_reused", "0.06", "万立方米"))).value == Fraction(600, 800)  # fmt: skip
    fresh, again = meter("water", "well"), Point(point="loop", asset="pump", role="energy.water_reused", unit="m3")
    works = plant(fresh, again, meters=(site(fresh), site(again, use="recovered")))
    read = facts(works, YEAR, well={"energy.water": 100}, pump={"energy.water_reused": 300})
    made = found(resources.INDICATORS, "water_reuse_rate", grounds(works, of_facts=read))
    assert (made.value, made.amount.flags) == (Fraction(3, 4), ())
    assert made.rule == "water_reuse_rate@1 V_r/(V+V_r)"


def test_water_that_is_metered_by_mass_is_refused():
    works = plant(meter("water", "well", "t"))
    read = facts(works, YEAR, well={"energy.water": 100})
    made = found(
        resources.INDICATORS, "water_reuse_rate", grounds(works, declared("water_reused", 5, "m3"), of_facts=read)
    )
    assert made.refused.en == "water_fresh is in kg, not m3; meter it in L or m3, or declare it in m3"


def test_no_water_at_all_is_a_denominator_of_0():
    rows = declared("water_fresh", 0, "m3"), declared("water_reused", 0, "m3")
    assert "denominator is 0" in found(resources.INDICATORS, "water_reuse_rate", grounds(None, *rows)).refused.en


WASTE = (declared("solid_waste_used", 90, "t"), declared("solid_waste_generated", 100, "t"))


def test_solid_waste_use_is_of_what_was_generated_and_what_was_used_of_stock():
    made = found(resources.INDICATORS, "solid_waste_use_rate",
                 grounds(None, *WASTE, declared("solid_waste_used_of_stock", 20, "t")))  # fmt: skip
    assert made.value == Fraction(90, 120)
    part = found(resources.INDICATORS, "solid_waste_use_rate", grounds(None, *WASTE))
    (said,) = misses(part)
    assert part.amount.denominator is None
    assert said.startswith("solid_waste_used_of_stock of 2025 is not declared")


def test_more_waste_used_than_there_was_is_refused():
    rows = (declared("solid_waste_used", 150, "t"), WASTE[1], declared("solid_waste_used_of_stock", 20, "t"))
    made = found(resources.INDICATORS, "solid_waste_use_rate", grounds(None, *rows))
    assert made.value is None
    assert "150000/120000 is no part of a whole" in made.refused.en


def test_table_205_1_has_the_columns_of_the_form_in_their_order_and_says_which_are_cited():
    of = grounds(METERED, declared("purchased.electricity", 305, "万kWh"), of_facts=facts(METERED, YEAR, **READ))
    table = energy.table_205_1(of)
    assert [column.number for column in table.columns] == ["甲", "乙", "丙", *map(str, range(1, 11)), "丁"]
    assert [(c.number, c.title, c.line) for c in table.columns if c.line] == [("5", "工业生产消费", 1393)]
    frame = table.frame()
    assert frame.select(
        "甲 能源名称", "乙 计量单位", "2 购进量：实物量", "5 工业生产消费", "10 采用折标系数"
    ).rows() == [
        ("高炉煤气", "万立方米", None, "1.5", "1.286"),
        ("电力", "万千瓦时", "305", "310", "1.229"),
        ("能源合计", "吨标准煤", None, "382.919", None),
    ]
    empty = ["丙 代码", "1 期初库存量", "4 消费量合计", "7 非工业生产消费", "9 期末库存量"]
    assert frame.select(empty).null_count().row(0) == (3,) * 5
    assert table.rule == "sme-2024 (2024)"


def test_table_205_2_has_twelve_columns_and_no_rows_where_nothing_was_transformed():
    table = energy.table_205_2(grounds(None, *TRANSFORMED))
    assert [column.number for column in table.columns] == ["甲", "乙", "丙", *map(str, range(1, 13))]
    assert [(c.number, c.line) for c in table.columns if c.line] == [("11", 1397), ("12", 1397)]
    cells = ["甲 能源名称", "1 工业生产消费", "2 加工转换投入合计", "11 能源加工转换产出", "12 回收利用"]
    assert table.frame().select(cells).rows() == [
        ("原煤(无烟煤)", "100", "60", None, None),
        ("热力", None, None, "1000", None),
        ("余热余压", None, None, None, "10"),
        ("能源合计", None, "56.568", "34.1", "0.341"),
    ]
    assert energy.table_205_2(grounds(None, *SAID)).rows == ()


def test_a_total_that_misses_a_part_stays_empty():
    table = energy.table_205_1(grounds(None, SAID[0], declared("consumption.heat", 5, "GJ", "2024")))
    assert table.total("5") is None
    assert table.frame()["5 工业生产消费"].to_list() == [None, "310", None]


def test_every_coefficient_of_table_1_is_in_the_set():
    assert len(coal_factors("sme-2024").factors) == 15  # L1404 to L1419
    assert coal_factors("sme-2024").coefficient("biomass", "tce") == 1
    assert coal_factors("sme-2024").coefficient("biomass", "kg") is None
    assert coal_factors("sme-2024").coefficient("electricity", "kWh") == Fraction("0.0001229")
    assert coal_factors("sme-2024").coefficient("heat", "kWh") == Fraction("0.0341") * Fraction(9, 2500)


def test_a_file_of_factors_is_one_set_of_one_year():
    table = {"id": "a", "year": 2024, "source": "s", "unit": "tce",
             "factors": {"heat": {"name": "热力", "per": "1", "unit": "GJ", "factor": "0.0341"}}}  # fmt: skip
    assert config.factors._checked("a", table).cited == "a (2024)"
    mixed = table | {"factors": {"heat": table["factors"]["heat"] | {"year": 2020}}}
    with pytest.raises(ValueError, match="factor heat has name, per, unit, factor, year; it is of its file's document"):
        config.factors._checked("a", mixed)
    for other in (table | {"id": "b"}, table | {"unit": "GJ"}, table | {"years": [2020, 2024]}):
        with pytest.raises(ValueError, match=r"a\.toml: has .* a file is one set"):
            config.factors._checked("a", other)


def test_amounts_of_two_sets_are_never_one_result():
    one_set(coal_factors("sme-2024"), ["sme-2024"], "x")
    with pytest.raises(FactorsMixedError, match="x was converted with factor set other, and the plant's is sme-2024"):
        one_set(coal_factors("sme-2024"), ["sme-2024", "other"], "x")


CITED = [(one.id, line, words) for module in (energy, carbon, resources, economy) for one in module.INDICATORS
         for line, words in one.cites]  # fmt: skip


@pytest.mark.skipif(shared_data() is None, reason="the policy text does not lie beside the repository")
def test_every_citation_stands_on_its_line_letter_by_letter():
    text = (Path(shared_data()).parent / "policy" / "jiangsu-policy-compendium-2025.txt").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(CITED) >= 15
    assert [cite for cite in CITED if cite[2] not in lines[cite[1] - 1]] == []

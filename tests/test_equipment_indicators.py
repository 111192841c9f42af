"""Digital equipment and key equipment under numerical control: n, N, what is proven, and what the texts say."""

import re
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest

from config.business import Declarations
from config.plant import Asset, Plant, Point
from config.schema import SAMPLE
from config.status import GOOD
from kpis.indicators import control, effectiveness, equipment, networking, processes
from kpis.indicators.base import Grounds, figure, percent

HOUR = 3_600_000_000_000
POLICY = Path(__file__).parents[2] / "shared" / "policy" / "jiangsu-policy-compendium-2025.txt"
INDICATORS = [one for module in (networking, equipment, processes, control, effectiveness) for one in module.INDICATORS]
BY_ID = {one.id: one for one in INDICATORS}


def grounds(*assets, evidenced=(), **more):
    """The grounds of an hour in which some devices were known throughout."""
    points = tuple(Point(point=f"{a}.state", asset=a, source="l", address="1", max_hold="2h") for a in evidenced)
    plant = Plant(id="works", assets=assets, points=points, **more)
    rows = [(p.point, 0, 0, 1.0, None, GOOD) for p in points]
    kinds = {name: pl.Int64() if name.startswith("ts") else kind for name, kind in SAMPLE.items()}
    samples = pl.DataFrame(rows, schema=kinds, orient="row").cast(dict(SAMPLE))
    listed = networking.devices(plant, samples, 0, HOUR)
    empty = pl.DataFrame()
    return Grounds(plant=plant, start=0, end=HOUR, devices=listed, facts=empty, demand=empty, declared=Declarations({}))


def made(name, found, of="works"):
    return figure(BY_ID[name], found, of)


def counts(one):
    return one.amount.numerator, one.amount.denominator


def reasons(one, lang="en"):
    return {m.id: (m.counted, m.met, m.reason.into(lang)) for m in one.amount.members}


# --- digital equipment ---


def test_117_digital_machines_of_150_are_78_percent():
    found = grounds(*(Asset(asset=f"m{n}", digital=n < 117) for n in range(150)))
    rate = made("equipment_digitalization_rate", found)
    assert counts(rate) == (117, 150)
    assert rate.value == Fraction(78, 100)
    assert str(percent(rate.value)) == "78.00"


def test_the_value_is_the_registers_and_the_flag_says_how_many_the_data_prove():
    digital = [Asset(asset=name, digital=True) for name in ("a", "b", "c")]
    rate = made("equipment_digitalization_rate", grounds(*digital, Asset(asset="d"), evidenced=("a", "d")))
    assert rate.value == Fraction(3, 4)
    assert rate.amount.flags == ("proven=1/3",)
    assert [(i.name, i.value, i.origin) for i in rate.amount.inputs] == [
        ("digital production equipment", 3, "register"),
        ("digital and evidenced", 1, "measured"),
        ("production equipment", 4, "register"),
    ]
    assert reasons(rate) == {
        "a": (True, True, ""),
        "b": (True, True, "declared: not evidenced by data"),
        "c": (True, True, "declared: not evidenced by data"),
        "d": (True, False, "not digital in the register, though evidenced"),
    }
    assert rate.rule == "equipment_digitalization_rate@1 digital=register"


def test_what_does_not_count_is_in_neither_count_though_it_is_digital_and_evidenced():
    assets = [
        Asset(asset="a", digital=True),
        Asset(asset="b", digital=True, excluded="已封存"),
        Asset(asset="c", digital=True, production=False),
        Asset(asset="d", digital=True, in_use_until="1969-12-31"),
    ]
    rate = made("equipment_digitalization_rate", grounds(*assets, evidenced=("a", "b")))
    assert counts(rate) == (1, 1)
    assert rate.amount.flags == ("proven=1/1",)
    assert reasons(rate, "zh") == {
        "a": (True, True, ""),
        "b": (False, False, "已封存"),
        "c": (False, False, "非生产设备"),
        "d": (False, False, "自 1970-01-01 起停用"),
    }


def test_the_share_of_digital_production_equipment_has_the_same_counts_under_its_own_name():
    found = grounds(Asset(asset="a", digital=True), Asset(asset="b"))
    rates = [made(name, found) for name in ("equipment_digitalization_rate", "digital_production_equipment_rate")]
    assert [counts(rate) for rate in rates] == [(1, 2), (1, 2)]
    assert [rate.indicator.title_zh for rate in rates] == ["设备数字化率", "数字化生产设备普及率"]


def test_digital_equipment_by_kind():
    kinds = [("press", True), ("press", False), ("robot", True)]
    found = grounds(*(Asset(asset=f"m{n}", kind=kind, digital=digital) for n, (kind, digital) in enumerate(kinds)))
    by_kind = networking.by_kind(BY_ID["equipment_digitalization_rate"], found, "works")
    assert [(kind, one.value) for kind, one in by_kind] == [("press", Fraction(1, 2)), ("robot", 1)]


# --- key equipment ---


def key(name, control="none", **more):
    return Asset(asset=name, key_equipment=True, control=control, **more)


def test_key_equipment_is_controlled_by_the_controls_of_the_plants_kind():
    found = grounds(key("a", "cnc"), key("b", "plc"), key("c"), Asset(asset="d", control="cnc"))
    rate = made("key_equipment_nc_rate", found)
    assert rate.value == Fraction(1, 3)
    assert reasons(rate) == {
        "a": (True, True, ""),
        "b": (True, False, "control plc"),
        "c": (True, False, "control none"),
    }
    assert rate.rule == "key_equipment_nc_rate@1 kind=discrete discrete=cnc,nc,dnc,fmc process=plc,dcs,pcs"


def test_a_line_has_its_own_key_equipment_and_one_without_any_has_no_rate():
    found = grounds(key("line1/a", "cnc"), key("line1/b"), Asset(asset="line2/c"))
    assert made("key_equipment_nc_rate", found, "line1").value == Fraction(1, 2)
    assert made("key_equipment_nc_rate", found, "line2") is None


def test_a_plant_without_key_equipment_is_told_what_to_write():
    rate = made("key_equipment_nc_rate", grounds(Asset(asset="a")))
    assert (rate.value, rate.refused) == (None, None)
    assert "write yes in the column key_equipment of assets.csv" in rate.amount.missing[0].en


def test_key_equipment_that_is_all_excluded_is_refused():
    rate = made("key_equipment_nc_rate", grounds(key("a", "cnc", excluded="大修")))
    assert rate.value is None
    assert rate.refused.zh == "works 的关键设备数控化率：分母为 0，无法相除；请核对台账或填报数据"


# --- texts ---


@pytest.mark.parametrize("indicator", INDICATORS, ids=lambda one: one.id)
def test_cited_words_stand_on_their_line_and_an_official_name_is_among_them(indicator):
    if not POLICY.exists():
        pytest.skip("the texts do not lie beside the repository")
    lines = POLICY.read_text("utf-8").splitlines()
    for number, words in indicator.cites:
        assert words in lines[number - 1], f"L{number}"
    ours = indicator.source.startswith("PlantProof")
    assert ours == (not indicator.cites)
    assert ours or any(indicator.title_zh in words for _, words in indicator.cites)


@pytest.mark.parametrize("indicator", INDICATORS, ids=lambda one: one.id)
def test_chinese_texts_are_chinese_and_ids_are_words(indicator):
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", indicator.id)
    for text in (indicator.title_zh, indicator.formula_zh, indicator.proof_zh):
        assert re.search(r"[\u4e00-\u9fff]", text)

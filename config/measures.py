"""What can be declared: measures, by id or in Chinese, with their units.

Conversion factors are exact (`fractions.Fraction`); a measure's canonical unit is the one that all its amounts are
summed in.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from importlib import resources

from config.cells import narrow
from config.factors import FactorSet, load_factors
from config.units import METER_UNITS, Unit

ENERGY_KINDS = ("consumption", "purchased", "transformation_input", "transformation_output", "recovered")
"""Heads of measures of a medium: `consumption.electricity`."""
TCE = "tce"


def _units(dimension: str, canonical: str, **factors: str) -> dict[str, Unit]:
    return {name: Unit(dimension, canonical, Fraction(factor)) for name, factor in factors.items()}


MONEY = _units("money", "元", 元="1", 千元="1000", 万元="10000", 百万元="1000000", 亿元="100000000")
PERSONS = _units("persons", "人", 人="1")
PIECES = _units("pieces", "件", 件="1", 个="1", 台="1", 套="1", 只="1", pieces="1", 千件="1000", 万件="10000")
SCENES = _units("scenes", "个", 个="1", 项="1")
COAL = _units("coal", TCE, tce="1", 吨标准煤="1", 吨标煤="1")
VOLUME = {name: unit for name, unit in METER_UNITS.items() if unit.dimension == "volume"}
VOLUME |= _units("volume", "m3", 立方米="1", 万m3="10000", 万立方米="10000")
VOLUME["万m³"] = VOLUME["万m3"]
MASS = {name: unit for name, unit in METER_UNITS.items() if unit.dimension == "mass"}
MASS |= _units("mass", "kg", 千克="1", 公斤="1", 吨="1000", 万吨="10000000")
ENERGY = {name: unit for name, unit in METER_UNITS.items() if unit.dimension == "energy"}
ENERGY |= _units("energy", "kWh", 千瓦时="1", 度="1", 万kWh="10000", 万千瓦时="10000", 万度="10000")
ENERGY |= _units("energy", "kWh", 吉焦="2500/9", 百万千焦="2500/9")
OF_MEDIUM = {**ENERGY, **VOLUME, **MASS}
CO2 = {**MASS, **_units("mass", "kg", kgCO2="1", tCO2="1000", 吨二氧化碳="1000")}


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that can be declared: its Chinese names, and its units with the factor to the canonical one."""

    id: str
    names: Sequence[str]
    units: Mapping[str, Unit]
    stock: bool = False
    """Whether it is an amount at a time, whose periods are averaged, not one that adds up."""

    @property
    def unit(self) -> str:
        """The canonical unit, that of the first unit."""
        return next(iter(self.units.values())).canonical


MEASURES: Mapping[str, Measure] = {
    one.id: one
    for one in (
        Measure("output_value", ("产值", "总产值", "工业总产值"), MONEY),
        Measure("revenue", ("营业收入",), MONEY),
        Measure("cost", ("营业成本",), MONEY),
        Measure("operating_cost", ("运营成本",), MONEY),
        Measure("digital_investment", ("数字化投入", "数字化改造投入"), MONEY),
        Measure("staff", ("员工人数", "职工人数", "从业人员平均人数"), PERSONS, stock=True),
        Measure("products_made", ("产品产量", "产品总数"), PIECES),
        Measure("products_good", ("合格品数量", "合格产品数"), PIECES),
        Measure("water_fresh", ("取水量", "新水量", "新鲜水用量"), VOLUME),
        Measure("water_reused", ("重复利用水量", "重复用水量"), VOLUME),
        Measure("solid_waste_generated", ("一般固废产生量", "一般工业固体废物产生量"), MASS),
        Measure("solid_waste_used", ("一般固废综合利用量", "一般工业固体废物综合利用量"), MASS),
        Measure("solid_waste_used_of_stock", ("综合利用往年贮存量", "一般固废综合利用往年贮存量"), MASS),
        Measure("co2_other", ("其他二氧化碳排放量",), CO2),
        Measure("ai_scenes", ("人工智能场景数", "应用人工智能的场景数"), SCENES, stock=True),
        Measure("scenes_total", ("场景总数",), SCENES, stock=True),
    )
}
"""Measures that are of no medium, by id."""
KIND_NAMES: Mapping[str, Sequence[str]] = {
    "consumption": ("消费量", "消耗量"),
    "purchased": ("购进量", "外购量"),
    "transformation_input": ("加工转换投入量", "加工转换投入"),
    "transformation_output": ("加工转换产出量", "加工转换产出"),
    "recovered": ("回收利用量", "回收利用"),
}
"""What follows a medium's Chinese name: 电力消费量."""


def measure_of(text: str) -> Measure:
    """Return the measure that a cell names, by its id or in Chinese; ValueError says what comes near."""
    written = narrow(text)
    found = MEASURES.get(written) or _chinese().get(written) or _of_medium(written)
    if found is None:
        raise ValueError(f"is no measure; {_near(written)}")
    return found


@cache
def _chinese() -> Mapping[str, Measure]:
    return {name: measure for measure in MEASURES.values() for name in measure.names}


@lru_cache
def _of_medium(text: str) -> Measure | None:
    """Return a measure of a medium that a set has a coefficient for, or of water: 电力消费量, consumption.water."""
    kind, _, medium = text.partition(".")
    if kind not in ENERGY_KINDS:
        tails = ((kind, tail) for kind, tails in KIND_NAMES.items() for tail in tails if text.endswith(tail))
        kind, tail = next(tails, ("", ""))
        medium = text.removesuffix(tail)
    medium = media().get(medium, medium)
    return Measure(f"{kind}.{medium}", (), _units_of(medium)) if kind and medium in media().values() else None


def _units_of(medium: str) -> Mapping[str, Unit]:
    """Return a medium's units: those of the dimension that its coefficients are per, and of standard coal."""
    if medium == "water":
        return VOLUME
    per = {METER_UNITS[f.unit].canonical for one in _sets() if (f := one.factors.get(medium)) and f.unit != TCE}
    return {**{name: unit for name, unit in OF_MEDIUM.items() if unit.canonical in per}, **COAL}


@cache
def media() -> Mapping[str, str]:
    """Return the media of all sets of standard coal coefficients, and water, by id and Chinese name."""
    found = {"water": "water", "水": "water", "电": "electricity"}
    for one in _sets():
        for medium, factor in one.factors.items():
            found |= {medium: medium, narrow(factor.name): medium}
    return found


@cache
def _sets() -> list[FactorSet]:
    names = sorted(f.name for f in resources.files("config.factors").iterdir() if f.name.endswith(".toml"))
    return [one for name in names if (one := load_factors(name.removesuffix(".toml"))).unit == TCE]


ELSEWHERE = ("天然气", "汽油", "柴油", "液化石油气", "natural_gas", "gasoline", "diesel", "lpg")
"""Fuels that no set here has a coefficient for."""


def _near(text: str) -> str:
    if any(fuel in text for fuel in ELSEWHERE):
        return (
            "no set has its coefficient: convert it to tce, and declare it as 其他燃料消费量 (consumption.other_fuel)"
        )
    if text in media():
        return f"did you mean 'consumption.{media()[text]}'?"
    known = [*MEASURES, *_chinese(), *(f"{kind}.{medium}" for kind in ENERGY_KINDS for medium in media().values())]
    near = difflib.get_close_matches(text, known, 1, 0.6)
    kinds = ", ".join(f"{kind}.<medium>" for kind in ENERGY_KINDS)
    return f"did you mean {near[0]!r}?" if near else f"write one of {', '.join(MEASURES)}, {kinds}"

"""Reuse of water and use of solid waste (水资源重复利用率, 一般固废综合利用率): metered or declared.

The policy text names both and defines neither; the formulas are those of water-saving and environmental statistics, and
stand in every result's rule. 资源综合利用率 is not computed: the text neither defines it nor says of what.
"""

from kpis.indicators import ratios
from kpis.indicators.base import Amount, Grounds, Indicator
from kpis.indicators.energy import FACTORY
from kpis.indicators.errors import InputError
from kpis.indicators.metered import Metered, metered, unregistered
from kpis.indicators.quantities import quantity
from kpis.indicators.said import Said


def _water_reuse(grounds: Grounds, subject: str) -> Amount | None:
    meters = metered(grounds, subject, "consumption")
    again = metered(grounds, subject, "recovered").get("water_reused", meters.get("water_reused"))
    if subject != grounds.plant.id and (again is None or "water" not in meters):
        return None
    fresh = _water(grounds, subject, "water_fresh", meters.get("water"))
    reused = _water(grounds, subject, "water_reused", again)
    return ratios.quotient(reused, ratios.total([fresh, reused]), "V_r/(V+V_r)")


def _water(grounds: Grounds, subject: str, measure: str, meter: Metered | None) -> Amount:
    """Return an amount of water [m3]; raises InputError where it is in another unit."""
    found = quantity(grounds, measure, meter, may_be_declared=subject == grounds.plant.id)
    if found.value is not None and found.unit != "m3":
        raise InputError(Said(
            f"{measure} is in {found.unit}, not m3; meter it in L or m3, or declare it in m3",
            f"{measure} 的单位为 {found.unit}，而不是立方米；请以升或立方米计量，或以立方米填报",
        ))  # fmt: skip
    amount = ratios.of_quantity(found)
    return ratios.flagged(amount, unregistered(grounds.plant, found.coverage))


def _solid_waste(grounds: Grounds, _subject: str) -> Amount | None:
    used, generated, of_stock = (
        ratios.declared(grounds, f"solid_waste_{name}") for name in ("used", "generated", "used_of_stock")
    )
    return ratios.quotient(used, ratios.total([generated, of_stock]), "used/(generated+used_of_stock)")


INDICATORS = (
    Indicator(
        id="water_reuse_rate",
        title="Water reuse rate",
        title_zh="水资源重复利用率",
        unit="1",
        evidence="c",
        formula="V_r / (V + V_r): reused water / (fresh water + reused water)",
        formula_zh="水资源重复利用率 = 重复利用水量 / (取水量 + 重复利用水量)",
        source=f"{FACTORY} names it; formula of water-saving statistics (secondary)",
        cites=((870, "水资源重复利用率 (%)"),),
        proof="meters of fresh and reused water with their coverage, or declared amounts with who, when and attachment",
        proof_zh="取水量与重复利用水量的计量读数及数据覆盖率，或填报数据的填报人、日期与附件",
        not_this="not the share of recycled waste water: each passage through a process counts as reuse",
        compute=_water_reuse,
    ),
    Indicator(
        id="solid_waste_use_rate",
        title="Use of general solid waste",
        title_zh="一般固废综合利用率",
        unit="1",
        evidence="c",
        formula="used / (generated + used of earlier stock)",
        formula_zh="一般固废综合利用率 = 综合利用量 / (产生量 + 综合利用往年贮存量)",
        source=f"{FACTORY} names it; formula of environmental statistics (secondary)",
        cites=((869, "一般固废综合利用率 (%)"),),
        proof="declared amounts with who, when and attachment (waste ledger)",
        proof_zh="填报数据的填报人、日期与附件（固体废物管理台账）",
        not_this="not of hazardous waste; what is used includes what was used of earlier stock",
        compute=_solid_waste,
        plant_only=True,
    ),
)

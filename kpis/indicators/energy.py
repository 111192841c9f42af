"""Comprehensive energy consumption (综合能源消费量), and what it is per output value, revenue and piece."""

from functools import partial

from kpis.indicators import ratios
from kpis.indicators.base import Amount, Grounds, Indicator
from kpis.indicators.comprehensive import StandardCoal, comprehensive, standard_coal
from kpis.indicators.consumption import electricity
from kpis.indicators.energy_tables import table_205_1, table_205_2
from kpis.indicators.metered import unregistered
from kpis.indicators.pieces import pieces
from kpis.indicators.ratios import TEN_THOUSAND
from kpis.indicators.said import Said

__all__ = ["INDICATORS", "StandardCoal", "comprehensive", "standard_coal", "table_205_1", "table_205_2"]

SME = "《中小企业数字化水平评测指标（2024年版）》（工信厅企业〔2024〕56号）"
FACTORY = "《智能工厂梯度培育要素条件（2025年版）》附表 智能工厂建设关键绩效指标参考"
COMMON = "common use; the compendium has no such name"
KILOGRAMS = 1000
"""kgce in a tce."""


def _per_output_value(grounds: Grounds, subject: str) -> Amount | None:
    energy = comprehensive(grounds, subject)
    return None if energy is None else ratios.quotient(energy, ratios.declared(grounds, "output_value", TEN_THOUSAND))


def _per_100_yuan(grounds: Grounds, subject: str) -> Amount | None:
    energy = comprehensive(grounds, subject)
    if energy is None:
        return None
    return ratios.quotient(ratios.times(energy, KILOGRAMS), ratios.declared(grounds, "revenue", 100))


def _per_piece(grounds: Grounds, subject: str) -> Amount | None:
    energy, made = comprehensive(grounds, subject), pieces(grounds, subject)
    if energy is None or made is None:
        return None
    if without := unmetered(grounds, subject):
        return Amount(missing=(without,))
    return ratios.quotient(ratios.times(energy, KILOGRAMS), made)


def _electricity_per_piece(grounds: Grounds, subject: str) -> Amount | None:
    used, made = electricity(grounds, subject), pieces(grounds, subject)
    if used is None or made is None:
        return None
    if without := unmetered(grounds, subject):
        return Amount(missing=(without,))
    electric = ratios.flagged(ratios.of_quantity(used), unregistered(grounds.plant, used.coverage))
    return ratios.quotient(electric, made)


def unmetered(grounds: Grounds, subject: str) -> Said | None:
    """Return which machines of a part of the plant count pieces and have no meter; None where all have, or where a
    meter of the part stands beside them."""
    plant = grounds.plant
    if subject == plant.id:
        return None
    metered = {point.asset for point in plant.points if point.medium is not None}
    counting = {point.asset for point in plant.points if point.role in ("total", "good")}
    mine = [asset for asset in grounds.assets(subject) if not asset.excluded]
    if any(asset.asset in metered and not asset.production for asset in mine):
        return None
    without = [a.asset for a in mine if a.production and a.asset in counting and a.asset not in metered]
    if not without:
        return None
    named = ", ".join(without[:5])
    return Said(
        f"{subject}: {len(without)} machines count pieces without a meter ({named}); meter them, or the whole line",
        f"{subject}：{len(without)} 台设备有产量而无能源计量（{named}）；请为其加装计量，或按整线计量",
    )


_indicator = partial(
    Indicator,
    evidence="c",
    proof="register of meters with their readings and coverage; table 205-1 (and 205-2); declared amounts with who, "
    "when and attachment; the factor set with its year",
    proof_zh="计量器具台账及其读数与数据覆盖率；205-1 表（及 205-2 表）；填报数据的填报人、日期与附件；"
    "折标系数表及年份",
    share=False,
    better="down",
)

INDICATORS = (
    _indicator(
        id="comprehensive_energy",
        title="Comprehensive energy consumption",
        title_zh="综合能源消费量",
        unit="tce",
        formula="Σ medium · coefficient − output of transformation − recovered",
        formula_zh="综合能源消费量 = 工业生产消费 − 能源加工转换产出 − 回收利用（均折标准煤）",
        source=SME,
        cites=(
            (1387, "综合能源消费量：指企业（单位）在报告期内工业生产实际消费的各种能源"),
            (1387, "（扣除能源加工转换产出和能源回收利用等重复因素）的总和"),
            (1393, "综合能源消费量=工业生产消费(205-1 表第 5 列能源合计)"),
            (1397, "工业生产消费(205-1 表第 5 列能源合计)-能源加工转换产出(205-2 表第 11 列能源合计)"),
            (1397, "-回收利用(205-2 表第 12 列能源合计)"),
            (1421, "能源消费量(吨标准煤)=能源消费量(原单位)×折标准煤系数"),
        ),
        not_this="not the sum of all meters: sub-meters repeat what the site's meters count; water is no energy",
        compute=comprehensive,
        plant_only=True,
    ),
    _indicator(
        id="energy_per_output_value",
        title="Energy per output value",
        title_zh="单位产值综合能耗",
        unit="tce/万元",
        formula="comprehensive energy consumption / output value",
        formula_zh="单位产值综合能耗 = 综合能源消费量 / 产值",
        source=FACTORY,
        cites=((867, "单位产值综合能耗"),),
        not_this="not per value added; output value at current prices unless it is declared otherwise",
        compute=_per_output_value,
        plant_only=True,
    ),
    _indicator(
        id="energy_per_100_yuan_revenue",
        title="Energy per 100 yuan of revenue",
        title_zh="每百元营业收入中综合能源消费量",
        unit="kgce/百元",
        formula="comprehensive energy consumption / (revenue / 100)",
        formula_zh="每百元营业收入中综合能源消费量 = 综合能源消费量 / 营业收入 × 100",
        source=SME,
        cites=((1336, "每百元营业收入中综合能源消费量"),),
        not_this="not per output value; the assessment asks for its change, last year against the year before",
        compute=_per_100_yuan,
        plant_only=True,
    ),
    _indicator(
        id="energy_per_piece",
        title="Comprehensive energy per piece",
        title_zh="单位产品综合能耗",
        unit="kgce/件",
        formula="comprehensive energy consumption / pieces",
        formula_zh="单位产品综合能耗 = 综合能源消费量 / 产品产量",
        source=COMMON,
        not_this="not per good piece; a piece that passes several machines counts once only where it is declared",
        compute=_per_piece,
    ),
    _indicator(
        id="electricity_per_piece",
        title="Electricity per piece",
        title_zh="单位产品电耗",
        unit="kWh/件",
        formula="electricity consumed / pieces",
        formula_zh="单位产品电耗 = 电力消费量 / 产品产量",
        source=COMMON,
        not_this="not comprehensive energy: electricity alone",
        compute=_electricity_per_piece,
    ),
)

"""CO2 of a plant's electricity (二氧化碳排放量), by one grid factor of one year and scope, and per output value.

Electricity alone: fuels, process emissions and green power have no factor here, and are told as left out.
"""

from functools import partial

from config.factors import grid_factor
from kpis.indicators import ratios
from kpis.indicators.base import Amount, Grounds, Indicator
from kpis.indicators.consumption import electricity, media
from kpis.indicators.energy import FACTORY
from kpis.indicators.metered import unregistered
from kpis.indicators.ratios import TEN_THOUSAND

SCOPE = "electricity"
_SOURCE = "生态环境部、国家统计局, 电力二氧化碳排放因子 of the year and scope of the plant's co2_factors"


def emissions(grounds: Grounds, subject: str) -> Amount | None:
    """Return the CO2 of the electricity that a subject consumed [kgCO2]; None where a part of the plant meters none."""
    used = electricity(grounds, subject)
    if used is None:
        return None
    of_set, factor = grid_factor(grounds.plant.co2_factors)
    each = factor.per_canonical("kWh")
    if each is None:
        raise LookupError(f"factor set {of_set.id} is not per kWh; write such as co2-grid-2023:national")
    amount = ratios.of_quantity(used)
    others = [medium for medium in media(grounds, subject) if medium != SCOPE]
    others += ["co2_other"] if subject == grounds.plant.id and "co2_other" in grounds.declared.rows else []
    left_out = [f"media_left_out={','.join(others)}"] if others else []
    return Amount(
        value=None if amount.value is None else amount.value * each,
        inputs=amount.inputs,
        coverage=amount.coverage,
        flags=(*unregistered(grounds.plant, used.coverage), *left_out, *amount.flags),
        rule=f"{grounds.plant.co2_factors} ({of_set.year}) {SCOPE}",
        missing=amount.missing,
    )


def _per_output_value(grounds: Grounds, subject: str) -> Amount | None:
    emitted = emissions(grounds, subject)
    return None if emitted is None else ratios.quotient(emitted, ratios.declared(grounds, "output_value", TEN_THOUSAND))


_indicator = partial(
    Indicator,
    evidence="c",
    proof="meter readings of electricity with their coverage, or declared amounts with who, when and attachment; the "
    "grid factor with its year and scope",
    proof_zh="电力计量读数及数据覆盖率，或填报数据的填报人、日期与附件；电网排放因子及其年份与范围",
    share=False,
    better="down",
)

INDICATORS = (
    _indicator(
        id="co2_emissions",
        title="CO2 of electricity",
        title_zh="二氧化碳排放量（用电）",
        unit="kgCO2",
        formula="electricity consumed · grid factor",
        formula_zh="二氧化碳排放量（用电）= 电力消费量 × 电网排放因子",
        source=_SOURCE,
        not_this="not the plant's emissions: fuels, process emissions and green power are left out",
        compute=emissions,
    ),
    _indicator(
        id="co2_per_output_value",
        title="CO2 of electricity per output value",
        title_zh="单位产值二氧化碳排放量",
        unit="kgCO2/万元",
        formula="CO2 of electricity / output value",
        formula_zh="单位产值二氧化碳排放量 = 二氧化碳排放量（用电）/ 产值",
        source=FACTORY,
        cites=((868, "单位产值二氧化碳 (CO ₂) 排放量"),),
        not_this="not of all emissions: electricity alone; not comparable between grid factors",
        compute=_per_output_value,
        plant_only=True,
    ),
)

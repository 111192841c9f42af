"""Energy in standard coal [tce] and CO2 [kg]: exact amounts, converted by one dated set, rounded once.

An amount is an integer of millionths of its unit and a factor an exact fraction; the product is rounded half up to a
millionth of a tce or kg, once, at the end, and the value is the float of that. A set is never mixed with another one;
its id and year stand in the result's rule.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import polars as pl

from config.factors import Factor, FactorSet, coal_factors, grid_factor
from config.schema import MICRO
from kpis.catalogue.base import ONE, Kpi, divide

COAL, GRID = coal_factors("sme-2024"), grid_factor("co2-grid-2023:national")
"""The factors of a plant that names none."""


def measured(medium: str) -> pl.Expr:
    """Return a medium's sum [unit]; null where its meters said nothing."""
    return _said(medium, pl.col(f"energy.{medium}"))


def coverage(media: Sequence[str]) -> pl.Expr:
    """Return the share of the meters' time in which they were known."""
    metered, span = (pl.sum_horizontal(pl.col(f"{kind}.{m}") for m in media) for kind in ("metered", "span"))
    return divide(metered, span)


def unless_missed(media: Sequence[str], value: pl.Expr) -> pl.Expr:
    """Return the value where its meters were known throughout; else null, as nothing bounds it."""
    return pl.when(coverage(media) >= 1.0).then(value)


def coal_of(medium: str, unit: str, of_set: FactorSet, end: str) -> Kpi | None:
    """Return a medium's energy in standard coal; None where the set has no coefficient for it in such a unit."""
    factor = _coefficient(medium, unit, of_set)
    if factor is None:
        return None
    return _amount(
        f"energy_coal{end}",
        f"Energy in standard coal, {medium}",
        f"能源折标准煤量（{medium}）",
        "tce",
        "energy consumption · coefficient",
        "表 1 of 中小企业数字化水平评测指标（2024年版）, or the plant's coal_factors",
        "not comparable between sets of coefficients: each result's rule names its own",
        {medium: factor},
        of_set,
    )


def co2_of(medium: str, grid: tuple[FactorSet, Factor], end: str) -> Kpi | None:
    """Return the CO2 of electricity from the grid, by the factor of a set and scope."""
    of_set, factor = grid
    per_kwh = factor.per_canonical("kWh")
    if per_kwh is None:
        return None
    scope = next(name for name, known in of_set.factors.items() if known is factor)
    return _amount(
        f"energy_co2{end}",
        f"CO2 of energy, {medium}",
        f"用电二氧化碳排放量（{medium}）",
        "kgCO2",
        "energy consumption · grid factor",
        "生态环境部、国家统计局, 电力二氧化碳排放因子 of the year and scope of the plant's co2_factors",
        "not the plant's emissions: fuels, process emissions and green power are left out",
        {medium: per_kwh},
        of_set,
        scope=f":{scope}",
    )


def equivalent(media: Mapping[str, str], of_set: FactorSet) -> Kpi | None:
    """Return the sum over a plant's media (name -> canonical unit) in standard coal; None where none converts."""
    factors = {m: f for m, unit in media.items() if (f := _coefficient(m, unit, of_set)) is not None}
    if not factors:
        return None
    return _amount(
        "energy_coal_equivalent",
        "Energy in standard coal, all media",
        "能源消费折标准煤合计",
        "tce",
        "Σ energy consumption · coefficient",
        "表 1 of 中小企业数字化水平评测指标（2024年版）, or the plant's coal_factors",
        "not 综合能源消费量: output of energy transformation and recovered energy are not subtracted",
        factors,
        of_set,
        needs=("energy",),
        partial=len(factors) < len(media),
    )


def _coefficient(medium: str, unit: str, of_set: FactorSet) -> Fraction | None:
    factor = of_set.factors.get(medium)
    return None if factor is None else factor.per_canonical(unit)


def _amount(
    kpi: str,
    title: str,
    title_zh: str,
    unit: str,
    formula: str,
    source: str,
    not_this: str,
    factors: Mapping[str, Fraction],
    of_set: FactorSet,
    *,
    scope: str = "",
    needs: Sequence[str] = (),
    partial: bool = False,
) -> Kpi:
    media = list(factors)
    return Kpi(
        id=kpi,
        title=title,
        title_zh=title_zh,
        unit=unit,
        formula=formula,
        source=source,
        not_this=not_this,
        needs=needs or (f"energy.{media[0]}",),
        numerator=_converted(factors),
        denominator=ONE,
        high=unless_missed(media, _converted(factors)),
        coverage=coverage(media),
        ratio=False,
        factors=f"{of_set.id}{scope} ({of_set.year})",
        partial=partial,
    )


def _converted(factors: Mapping[str, Fraction]) -> pl.Expr:
    """Return Σ amount · factor, rounded half up to a millionth; null where no meter said anything."""
    below = math.lcm(*(factor.denominator for factor in factors.values()))
    parts = [_said(m, pl.col(f"exact.energy.{m}") * int(factor * below)) for m, factor in factors.items()]
    total = pl.sum_horizontal(parts)
    rounded = (2 * total + below) // (2 * below)
    return pl.when(pl.any_horizontal(part.is_not_null() for part in parts)).then(rounded / MICRO)


def _said(medium: str, value: pl.Expr) -> pl.Expr:
    return pl.when((pl.col(f"metered.{medium}") > 0) | (pl.col(f"energy.{medium}") != 0)).then(value)


KPIS = tuple(kpi for kpi in [equivalent({"electricity": "kWh"}, COAL)] if kpi is not None)
"""As of a plant that meters electricity alone."""

"""Energy by medium: consumption, per piece, in standard coal and CO2, against pieces, and demand.

Electricity has the plain ids; another medium's KPIs carry its name (`energy_consumption.gas`). A meter that said
nothing in the period gives null, not 0.
"""

import polars as pl

from config.factors import Factor, FactorSet
from kpis.catalogue import conversion, regression
from kpis.catalogue.base import ONE, Kpi, divide
from kpis.catalogue.conversion import COAL, GRID, coverage, measured, unless_missed

ELECTRICITY = "electricity"
AMENDMENT = "ISO 22400-2:2014 Amd 1:2017"


def suffix(medium: str) -> str:
    """Return what a medium's KPI ids end in."""
    return "" if medium == ELECTRICITY else f".{medium}"


def of_medium(medium: str, unit: str, coal: FactorSet = COAL, grid: tuple[FactorSet, Factor] = GRID) -> tuple[Kpi, ...]:
    """Return the KPIs of one medium over sums and hours; `unit` is its canonical unit.

    In standard coal where the set has a coefficient for the medium, in CO2 for electricity alone.
    """
    end = suffix(medium)
    converted = [conversion.coal_of(medium, unit, coal, end)]
    converted += [conversion.co2_of(medium, grid, end)] if medium == ELECTRICITY else []
    return (
        Kpi(
            id=f"energy_consumption{end}",
            version=2,
            title=f"Energy consumption, {medium}",
            title_zh=f"能源消耗量（{medium}）",
            unit=unit,
            formula="Σ increments of the meters",
            source=f"{AMENDMENT} (energy KPIs); rule 8 of docs/kpi-rules.md",
            not_this="not 综合能源消费量: no conversion to standard coal",
            needs=(f"energy.{medium}",),
            numerator=measured(medium),
            denominator=ONE,
            high=unless_missed([medium], measured(medium)),
            coverage=coverage([medium]),
            ratio=False,
        ),
        Kpi(
            id=f"energy_per_piece{end}",
            version=2,
            title=f"Energy per piece, {medium}",
            title_zh=f"单件能耗（{medium}）",
            unit=f"{unit}/piece",
            formula="energy consumption / PQ",
            source=f"{AMENDMENT}, direct energy consumption effectiveness",
            not_this="not per good piece",
            needs=(f"energy.{medium}", "counts"),
            numerator=measured(medium),
            denominator=pl.col("total"),
            high=unless_missed([medium], divide(measured(medium), pl.col("total"))),
            coverage=coverage([medium]),
            ratio=False,
        ),
        *(kpi for kpi in converted if kpi is not None),
        *(regression.base_load(medium, unit, end), regression.slope(medium, unit, end)),
    )


def demand_of(medium: str, unit: str) -> tuple[Kpi, ...]:
    """Return the KPIs over demand intervals; their sums have `peak` and `mean` [unit/h] of the subject's meters."""
    rate = "kW" if unit == "kWh" else f"{unit}/h"
    peak, mean, metered = pl.col("peak"), pl.col("mean"), pl.col("metered_share")
    said = pl.when((metered > 0) | (peak != 0))
    return (
        Kpi(
            id=f"maximum_demand{suffix(medium)}",
            version=2,
            title=f"Maximum demand, {medium}",
            title_zh=f"最大需量（{medium}）",
            unit=rate,
            formula="max over intervals of energy / interval",
            source="rule of the demand interval, docs/kpi-rules.md",
            not_this="not the highest momentary power",
            needs=(f"energy.{medium}",),
            numerator=said.then(peak),
            denominator=ONE,
            coverage=metered,
            ratio=False,
            basis="demand",
        ),
        Kpi(
            id=f"load_factor{suffix(medium)}",
            title=f"Load factor, {medium}",
            title_zh=f"负荷率（{medium}）",
            unit="1",
            formula="mean demand / maximum demand",
            source="common use of power supply; docs/kpi-rules.md",
            not_this="not the power factor",
            needs=(f"energy.{medium}",),
            numerator=said.then(mean),
            denominator=peak,
            coverage=metered,
            basis="demand",
        ),
    )

"""Energy by medium, energy per piece, maximum demand and load factor.

Electricity has the plain ids; another medium's KPIs carry its name (`energy_consumption.gas`).
"""

import polars as pl

from kpis.catalogue.base import Kpi

ELECTRICITY = "electricity"


def suffix(medium: str) -> str:
    """Return what a medium's KPI ids end in."""
    return "" if medium == ELECTRICITY else f".{medium}"


def of_medium(medium: str, unit: str) -> tuple[Kpi, ...]:
    """Return the additive KPIs of one medium; `unit` is its canonical unit."""
    energy, metered, span = pl.col(f"energy.{medium}"), pl.col(f"metered.{medium}"), pl.col(f"span.{medium}")
    coverage = pl.when(span > 0).then(metered / span)
    unbounded = pl.when(coverage >= 1.0).then(energy)
    return (
        Kpi(
            id=f"energy_consumption{suffix(medium)}",
            title=f"Energy consumption, {medium}",
            title_zh=f"能源消耗量（{medium}）",
            unit=unit,
            formula="Σ increments of the meters",
            source="ISO 22400-2:2014 Amd 1:2017 (energy KPIs); rule 8 of docs/kpi-rules.md",
            not_this="not 综合能源消费量: no conversion to standard coal",
            needs=(f"energy.{medium}",),
            numerator=energy,
            denominator=pl.lit(1.0),
            high=unbounded,
            coverage=coverage,
            ratio=False,
        ),
        Kpi(
            id=f"energy_per_piece{suffix(medium)}",
            title=f"Energy per piece, {medium}",
            title_zh=f"单件能耗（{medium}）",
            unit=f"{unit}/piece",
            formula="energy consumption / PQ",
            source="ISO 22400-2:2014 Amd 1:2017, direct energy consumption effectiveness",
            not_this="not per good piece",
            needs=(f"energy.{medium}", "counts"),
            numerator=energy,
            denominator=pl.col("total"),
            coverage=coverage,
            ratio=False,
        ),
    )


def demand_of(medium: str, unit: str) -> tuple[Kpi, ...]:
    """Return the KPIs over demand intervals; their sums have `peak` and `mean` [unit/h] of the subject's meters."""
    rate = "kW" if unit == "kWh" else f"{unit}/h"
    peak, mean = pl.col("peak"), pl.col("mean")
    return (
        Kpi(
            id=f"maximum_demand{suffix(medium)}",
            title=f"Maximum demand, {medium}",
            title_zh=f"最大需量（{medium}）",
            unit=rate,
            formula="max over intervals of energy / interval",
            source="rule of the demand interval, docs/kpi-rules.md",
            not_this="not the highest momentary power",
            needs=(f"energy.{medium}",),
            numerator=peak,
            denominator=pl.lit(1.0),
            coverage=pl.col("metered_share"),
            ratio=False,
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
            numerator=mean,
            denominator=peak,
            coverage=pl.col("metered_share"),
        ),
    )

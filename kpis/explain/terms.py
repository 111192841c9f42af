"""The symbols of a KPI's formula with their values, so that a reader can do the sum by hand."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from config.factors import coal_factors, grid_factor
from config.plant import Plant
from config.schema import COUNTS
from config.units import NS_PER_SECOND
from kpis.catalogue import energy, regression
from kpis.catalogue import terms as of_formulas
from kpis.catalogue.base import SECONDS_PER_HOUR, Kpi
from kpis.catalogue.conversion import measured
from kpis.catalogue.offers import media

WORKED = {
    "nee": "AUPT · Σ PRI·GQ / APT / PBT",
    "teep": "Σ PRI·GQ / (calendar time − unknown time)",
    "ooe_operation": "Σ PRI·GQ / (POT − unknown time)",
    "ooe_shift": "Σ PRI·GQ / (POT − unknown time + breaks)",
    "line_oee_bottleneck": "Σ PRI·GQ / PBT",
    "reject_quantity": "rejects",
    "scrap_quantity": "rejects − RQ",
    "scrap_ratio": "(rejects − RQ) / PQ",
    "first_pass_yield": "(PQ − rejects) / PQ",
    "micro_stop_count": "number of micro-stops",
    "loss_quality": "Σ PRI·PQ − Σ PRI·GQ − Σ PRI·rejects after a setup",
    "maximum_demand": "highest energy of an interval / interval",
}
"""Formulas as they are computed, where the declared one cannot be filled in as it stands."""


@dataclass(frozen=True, slots=True)
class Term:
    """A symbol of a formula: its value as an expression over a KPI's sums, and what it is called."""

    symbol: str
    value: pl.Expr
    name: str
    name_zh: str
    unit: str = ""


_TIMES = (
    Term("AUPT", of_formulas.AUPT, "actual unit processing time: APT + AUST", "实际加工时间"),
    Term("AUBT", of_formulas.AUBT, "actual unit busy time: APT + AUST + ADET", "实际占用时间"),
    Term("APT", of_formulas.APT, "actual production time", "实际生产时间"),
    Term("AUST", of_formulas.AUST, "actual unit setup time", "实际换型时间"),
    Term("ADET", of_formulas.ADET, "actual unit delay time: unplanned stops", "实际延误时间"),
    Term("ADOT", of_formulas.ADOT, "actual unit down time: available, no order", "实际空闲停机时间"),
    Term("PDOT", pl.col("planned"), "planned down time", "计划停机时间"),
    Term("PBT", of_formulas.PBT, "planned busy time, known: POT − unknown time − PDOT", "计划工作时间"),
    Term("POT", of_formulas.POT, "planned operation time: shifts without breaks", "计划运行时间"),
    Term("unknown time", of_formulas.UNKNOWN, "planned operation time without data", "未知时间"),
    Term("calendar time", of_formulas.CALENDAR, "all time of the period", "日历时间"),
    Term("shifts", of_formulas.POT + of_formulas.BREAK, "shifts with their breaks", "班次时间"),
    Term("breaks", of_formulas.BREAK, "breaks inside shifts", "班内休息时间"),
    Term("micro-stops", of_formulas.MICRO_STOP, "time of micro-stops, part of ADET", "小停机时间"),
    Term("Σ PRI·PQ", of_formulas.IDEAL_TOTAL, "ideal time of all pieces of known time", "全部产品理论用时"),
    Term("Σ PRI·GQ", of_formulas.IDEAL_GOOD, "ideal time of the good pieces of known time", "合格品理论用时"),
    Term(
        "Σ PRI·rejects after a setup", pl.col("ideal_startup"), "ideal time of start-up rejects", "启动不合格品理论用时"
    ),
    Term("time under advanced process control", pl.col("apc_on"), "planned time with it in use", "先控投用时间"),
    Term("time in which it is known", pl.col("apc_known"), "planned time in which its point was known", "先控已知时间"),
)
_COUNTED = {
    "PQ": ("total", "produced quantity", "产量"),
    "GQ": ("good", "good quantity", "合格品数量"),
    "RQ": ("rework", "rework quantity", "返工品数量"),
    "rejects": ("reject", "rejected quantity", "不合格品数量"),
}
_EVENTS = (
    Term("stops", pl.col("stops"), "stops that are no micro-stops", "停机次数"),
    Term("number of micro-stops", pl.col("micro_stops"), "stops shorter than micro_stop", "小停机次数"),
)
_HOURS = Term("hours", regression.N, f"with data throughout; at least {regression.FEWEST_HOURS}", "有效小时数")


def formula_of(plant: Plant, kpi: Kpi) -> str:
    """Return the formula as it is computed."""
    if kpi.id == "energy_coal_equivalent":
        named = [m for m, unit in media(plant).items() if _converted(plant, m, unit)]
        return " + ".join(f"energy of {m} · coefficient of {m}" for m in named)
    return WORKED.get(kpi.id.partition(".")[0], kpi.formula)


def terms_of(plant: Plant, kpi: Kpi) -> list[Term]:
    """Return the terms of a KPI's formula in its order, each once."""
    known = {term.symbol: term for term in (*_times(kpi), *_counts(kpi), *_EVENTS, *_of_energy(plant, kpi))}
    found = [known[symbol] for symbol in dict.fromkeys(_pattern(known).findall(formula_of(plant, kpi)))]
    return [*found, _HOURS] if kpi.basis == "hours" else found


def values_of(terms: Sequence[Term], sums: pl.DataFrame) -> list[dict[str, Any]]:
    """Return each term with its value; sums: the one row that the KPI is computed from."""
    found = sums.select(term.value.cast(pl.Float64).alias(term.symbol) for term in terms).row(0, named=True)
    return [
        {"symbol": t.symbol, "name": t.name, "name_zh": t.name_zh, "value": found[t.symbol], "unit": t.unit}
        for t in terms
    ]


def arithmetic(formula: str, values: Sequence[Mapping[str, Any]]) -> str:
    """Return the formula with the numbers in place of its symbols."""
    by_symbol = {row["symbol"]: amount(row["value"], row["unit"]) for row in values}
    return _pattern(by_symbol).sub(lambda found: by_symbol[found[0]], formula)


def amount(value: float | None, unit: str) -> str:
    """Return a number with as many digits as a reader needs to compute with it, and its unit."""
    if value is None:
        return "–"
    digits = 6 if abs(value) >= 1 else 12
    text = f"{value:,.{digits}f}".rstrip("0").rstrip(".")
    return f"{text} {unit}" if unit not in ("", "1", "pieces") else text


def _pattern(symbols: Mapping[str, Any]) -> re.Pattern[str]:
    longest = sorted(symbols, key=len, reverse=True)
    return re.compile("|".join(rf"(?<!\w){re.escape(symbol)}(?!\w)" for symbol in longest))


def _times(kpi: Kpi) -> list[Term]:
    """Return the terms of time in the unit in which the KPI counts it: [h], or [s] for plain ratios."""
    if kpi.unit not in ("h", "pieces/h"):
        return [Term(t.symbol, t.value, t.name, t.name_zh, "s") for t in _TIMES]
    return [Term(t.symbol, t.value / SECONDS_PER_HOUR, t.name, t.name_zh, "h") for t in _TIMES]


def _counts(kpi: Kpi) -> list[Term]:
    """Return the terms of pieces: all of them for quantities, else those of known time (rules 15 and 16)."""
    used = {*kpi.numerator.meta.root_names(), *kpi.denominator.meta.root_names()}
    whole = bool(used & set(COUNTS))
    end, told, told_zh = ("", "", "") if whole else ("_known", ", in known time", "（已知时间内）")
    return [
        Term(symbol, pl.col(f"{column}{end}"), f"{name}{told}", f"{zh}{told_zh}", "pieces")
        for symbol, (column, name, zh) in _COUNTED.items()
    ]


def _of_energy(plant: Plant, kpi: Kpi) -> list[Term]:
    if kpi.id == "energy_coal_equivalent":
        return [term for m, unit in media(plant).items() for term in _converted(plant, m, unit)]
    medium = next((need.removeprefix("energy.") for need in kpi.needs if need.startswith("energy.")), None)
    if medium is None:
        return []
    unit = media(plant)[medium]
    found = [
        Term(
            "Σ increments of the meters", measured(medium), f"what the meters of {medium} counted", "表计增量之和", unit
        ),
        Term("energy consumption", measured(medium), f"energy consumption, {medium}", "能源消耗量", unit),
        *(
            Term(t.symbol.partition(" of ")[0], t.value, t.name, t.name_zh, t.unit)
            for t in _converted(plant, medium, unit)
        ),
    ]
    if medium == energy.ELECTRICITY:
        of_set, factor = grid_factor(plant.co2_factors)
        per_kwh = pl.lit(float(factor.per_canonical("kWh") or 0))
        found.append(Term("grid factor", per_kwh, f"kgCO2 per kWh, {of_set.id}", "电网排放因子", f"kgCO2/{unit}"))
    return [*found, *(_of_demand(plant, unit) if kpi.basis == "demand" else []), *_of_hours(unit)]


def _converted(plant: Plant, medium: str, unit: str) -> list[Term]:
    of_set = coal_factors(plant.coal_factors)
    factor = of_set.factors.get(medium)
    per_unit = None if factor is None else factor.per_canonical(unit)
    if per_unit is None:
        return []
    name = f"tce per {unit}, {of_set.id}"
    return [
        Term(f"energy of {medium}", measured(medium).fill_null(0), f"energy consumption, {medium}", "能源消耗量", unit),
        Term(f"coefficient of {medium}", pl.lit(float(per_unit)), name, "折标准煤系数", f"tce/{unit}"),
    ]


def _of_demand(plant: Plant, unit: str) -> list[Term]:
    rate, hours = "kW" if unit == "kWh" else f"{unit}/h", plant.demand_interval / NS_PER_SECOND / SECONDS_PER_HOUR
    peak, mean = pl.col("peak"), pl.col("mean")
    return [
        Term("highest energy of an interval", peak * hours, "of all meters together", "最大区间用量", unit),
        Term("interval", pl.lit(hours), "demand interval", "需量周期", "h"),
        Term("mean demand", mean, "mean over the intervals", "平均需量", rate),
        Term("maximum demand", peak, "highest of the intervals", "最大需量", rate),
    ]


def _of_hours(unit: str) -> list[Term]:
    pair, y = "covariance of energy and pieces of an hour", unit
    return [
        Term("mean energy of an hour", regression.MEAN_Y, "over hours with data throughout", "小时平均能耗", unit),
        Term("mean pieces of an hour", regression.MEAN_X, "over the same hours", "小时平均产量", "pieces"),
        Term(
            "slope", regression.SLOPE, "energy of one piece more: covariance / variance", "单件边际能耗", f"{y}/piece"
        ),
        Term(pair, regression.COVARIANCE, "over the same hours", "协方差", f"{y}·piece"),
        Term("variance of pieces of an hour", regression.VARIANCE_X, "over the same hours", "产量方差", "piece²"),
    ]

"""Samples -> why one figure of one subject and period is what it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from config.plant import Asset, Plant, Point
from config.schema import COUNTS, DURATIONS, ELEMENTS, MICRO
from config.units import NS_PER_SECOND
from kpis.catalogue.base import NS_PER_HOUR, Kpi
from kpis.catalogue.bases import Bases
from kpis.catalogue.offers import Taken, media
from kpis.catalogue.sums import added, amounts, readable
from kpis.compute import Basis, Window, results
from kpis.counters import Counters
from kpis.demand import of_meters
from kpis.explain.events import EVENTS, PRODUCTS, counted_points, events, products
from kpis.explain.history import STOPS, History
from kpis.explain.terms import arithmetic, formula_of, terms_of, values_of
from kpis.explain.unknown import UNKNOWN_SPANS
from kpis.facts import Accounts, meters_of
from kpis.intervals import resolve, series


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One figure over [start, end) [ns since 1970, UTC], and what stands behind it."""

    plant: Plant
    kpi: Kpi
    taken: Taken
    start: int
    end: int
    result: dict[str, Any] | None
    """The RESULT row; None where the period has none, as where no demand interval lies in it as a whole."""
    formula: str
    """The formula as it is computed."""
    terms: list[dict[str, Any]]
    """Its symbols: symbol, name, name_zh, value, unit."""
    arithmetic: str
    """The formula with the numbers in place of the symbols."""
    elements: pl.DataFrame
    """A row an asset: its time elements and planned times [s]."""
    shifts: pl.DataFrame
    """Planned operation time, breaks and unknown time of each shift, of all assets together [s]."""
    histories: list[History]
    stops: pl.DataFrame
    unknown: pl.DataFrame
    events: pl.DataFrame
    products: pl.DataFrame
    demand: pl.DataFrame
    """Quantity and demand of each demand interval, the highest first."""
    rules: list[int]


def explain(plant: Plant, kpi: Kpi, taken: Taken, samples: pl.DataFrame, start: int, end: int) -> Explanation:
    """Return the explanation of a KPI over [start, end) [ns since 1970, UTC].

    samples: a SAMPLE frame, as `kpis.facts.facts` takes it; the further it reaches, the longer a stop is followed.
    """
    own = [a for a in plant.assets if a.asset in taken.assets]
    past = histories(plant, own, samples, start, end)
    counters = past[0].counters
    facts = Accounts(plant, own).window(counters, start, end)
    basis = Basis(facts, of_meters(plant, own, counters, start, end))
    rows = results(plant, basis, Window(start, end), [taken.subject]).filter(kpi=kpi.id)
    result = rows.row(0, named=True) if rows.height else None
    sums = Bases(plant, basis.facts, basis.demand, start, end, "total").of(kpi, (taken,))
    terms = values_of(terms_of(plant, kpi), sums) if sums.height else []
    formula = formula_of(plant, kpi)
    return Explanation(
        plant=plant,
        kpi=kpi,
        taken=taken,
        start=start,
        end=end,
        result=result,
        formula=formula,
        terms=terms,
        arithmetic=arithmetic(formula, terms) if terms else "",
        elements=_elements(facts, plant) if is_of_time(kpi) else pl.DataFrame(),
        shifts=_shifts(facts) if is_of_time(kpi) else pl.DataFrame(),
        histories=past,
        stops=_joined(STOPS, [h.stops() for h in past if "state" in kpi.needs]),
        unknown=_joined(UNKNOWN_SPANS, [spans for h in past for spans in _unknown(kpi, h)]),
        events=_joined(EVENTS, [events(plant, _counted(kpi, h), counters, start, end) for h in past]),
        products=_joined(PRODUCTS, [products(plant, h.asset, counters, facts) for h in past if _of_pieces(kpi)]),
        demand=_demand(basis.demand, kpi),
        rules=_rules(kpi, past, result),
    )


def histories(plant: Plant, assets: Sequence[Asset], samples: pl.DataFrame, start: int, end: int) -> list[History]:
    """Return what happened to assets, of one set of samples."""
    resolved = resolve(samples)
    counters = Counters(plant, series(resolved, uncertain_is_good=plant.uncertain == "good"))
    by_point = resolved.group_by("point", maintain_order=True)
    statuses = {str(point): rows["status"].to_numpy() for (point,), rows in by_point}
    return [History(plant, asset, counters, statuses, start, end) for asset in assets]


def is_of_time(kpi: Kpi) -> bool:
    """Return whether a KPI is over known planned time, so that time elements say something of it."""
    return "planned_operation" in kpi.coverage.meta.root_names()


def media_of(kpi: Kpi, points: Sequence[Point]) -> list[str]:
    """Return the media of an asset's meters that a KPI is about."""
    metered = meters_of(points)
    return [medium for medium in metered if "energy" in kpi.needs or f"energy.{medium}" in kpi.needs]


def _of_pieces(kpi: Kpi) -> bool:
    return "counts" in kpi.needs and kpi.basis == "facts"


def _joined(columns: Mapping[str, pl.DataType], frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(schema=columns), *frames])


def _counted(kpi: Kpi, history: History) -> list[Point]:
    """Return the counters and meters whose events a figure's flags tell of."""
    if kpi.basis != "demand":
        return counted_points(history.points)
    metered = meters_of(history.points)
    return [point for medium in media_of(kpi, history.points) for point in metered[medium]]


def _unknown(kpi: Kpi, history: History) -> list[pl.DataFrame]:
    """Return the spans that the figure misses: of states, of process control, or of each meter."""
    metered = meters_of(history.points)
    points = [point for medium in media_of(kpi, history.points) for point in metered[medium]]
    points += [p for p in history.points if p.role == "apc" and "apc" in kpi.needs][:1]
    return [history.unknown_of(point) for point in points] or [history.unknown()]


def _elements(facts: pl.DataFrame, plant: Plant) -> pl.DataFrame:
    """Return a row an asset: its time elements and planned times [s], micro-stops, and unmapped time."""
    of_media = list(media(plant))
    summed = readable(added(["asset"], amounts(facts, of_media), of_media), of_media)
    derived = ("planned_operation", "known", "planned_busy", "calendar", "micro_stop", "unmapped", "inferred")
    return summed.select("asset", *DURATIONS, *derived)


def _shifts(facts: pl.DataFrame) -> pl.DataFrame:
    """Return each shift's planned operation time, breaks and unknown time of all assets together [s]."""
    rows = facts.filter(pl.col("shift").is_not_null()).group_by("shift").agg(pl.sum(*DURATIONS), pl.min("start"))
    seconds = {name: pl.col(name).dt.total_nanoseconds() / NS_PER_SECOND for name in DURATIONS}
    planned = pl.sum_horizontal(seconds[name] for name in ELEMENTS)
    ordered = rows.sort("start", "shift")
    return ordered.select("shift", planned_operation=planned, break_=seconds["break"], unknown=seconds["unknown"])


def _demand(demand: pl.DataFrame, kpi: Kpi) -> pl.DataFrame:
    """Return the demand of each interval of all meters together, the highest first."""
    media_ = [need.removeprefix("energy.") for need in kpi.needs if need.startswith("energy.")]
    rows = demand.filter(pl.col("medium").is_in(media_ if kpi.basis == "demand" else []))
    summed = rows.group_by("start").agg(pl.max("interval"), pl.sum("quantity"))
    hours = pl.col("interval").dt.total_nanoseconds() / NS_PER_HOUR
    amount = pl.col("quantity") / MICRO
    end = pl.col("start") + pl.col("interval")
    return summed.select("start", end=end, quantity=amount, demand=amount / hours).sort(
        ["demand", "start"], descending=[True, False]
    )


def _rules(kpi: Kpi, past: Sequence[History], result: Mapping[str, Any] | None) -> list[int]:
    """Return the rules that the figure follows, by number."""
    points = [point for history in past for point in history.points]
    roles = {point.role for point in points}
    plant = past[0].plant
    flags = result["flags"] if result is not None else []
    counted = "counts" in kpi.needs or any(need.startswith("energy") for need in kpi.needs)
    used = {*kpi.numerator.meta.root_names(), *kpi.denominator.meta.root_names()}
    holds = {
        (1, 3): True,
        (5, 6): is_of_time(kpi),
        (7,): "state" in kpi.needs and "state" in roles,
        (8, 10, 11, 12): counted,
        (13,): "counts" in kpi.needs and not {"total", "good", "reject"} <= roles,
        (14, 15): is_of_time(kpi) and not used & set(COUNTS),
        (16,): bool(used & {*COUNTS, *(name for name in used if name.startswith("energy."))}),
        (17,): len(past) > 1,
        (18,): result is None or result["value"] is None or "above_one" in flags,
        (19,): kpi.basis == "demand",
        (20,): is_of_time(kpi) and any(plant.refinements.get(p.states) for p in points if p.role == "state"),
        (21,): "state" in kpi.needs,
        (22,): any(history.inferred for history in past) and is_of_time(kpi),
        (23,): bool(used & {"ideal_startup", "exact.ideal_startup"}),
        (24,): "apc" in kpi.needs,
        (25,): counted and "since_reset" in roles,
        (26,): counted and any(swap.point in {p.point for p in points} for swap in plant.swaps),
    }
    return sorted(number for numbers, there in holds.items() if there for number in numbers)

"""What a plant's points and registers can give: which needs of KPIs an asset meets, and which KPIs there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from config.factors import coal_factors, grid_factor
from config.plant import Asset, Plant
from config.units import METER_UNITS
from kpis.catalogue import control, conversion, efficiency, energy, line, losses, maintenance, quality, quantity, time
from kpis.catalogue.base import Kpi
from kpis.catalogue.metering import counted_once

ADDITIVE = (time, efficiency, quality, quantity, maintenance, losses, line, control)
"""The families over sums of facts, in the order of results."""


def media(plant: Plant) -> dict[str, str]:
    """Return the plant's metered media and their canonical units."""
    found = {}
    for point in plant.points:
        if point.medium is not None:
            unit = METER_UNITS[point.unit].canonical
            found[point.medium] = "kWh" if unit == "kW" else unit
    return dict(sorted(found.items()))


def kpis_of(plant: Plant) -> list[Kpi]:
    """Return the KPIs that a plant may have, in the order of results."""
    coal, grid = coal_factors(plant.coal_factors), grid_factor(plant.co2_factors)
    of_media = media(plant)
    found = [kpi for family in ADDITIVE for kpi in family.KPIS]
    found += [kpi for m, unit in of_media.items() for kpi in energy.of_medium(m, unit, coal, grid)]
    found += [kpi for kpi in [conversion.equivalent(of_media, coal)] if kpi is not None]
    return found + [kpi for m, unit in of_media.items() for kpi in energy.demand_of(m, unit)]


def needs_met(plant: Plant) -> dict[str, frozenset[str]]:
    """Return which needs of KPIs each asset meets: state, counts, reject, rework, ideal_cycle, apc, and its meters."""
    roles: dict[str, set[str]] = {a.asset: set() for a in plant.assets}
    for point in plant.points:
        if point.asset in roles:
            roles[point.asset].add(point.role)
    return {a.asset: _needs_met(plant, a, roles[a.asset]) for a in plant.assets}


def _needs_met(plant: Plant, asset: Asset, roles: set[str]) -> frozenset[str]:
    ideal = asset.ideal_cycle is not None or "ideal_cycle" in roles or plant.lists_cycle(asset.asset)
    counts = "total" in roles or {"good", "reject"} <= roles
    meters = {f"energy.{role.partition('.')[2]}" for role in roles if role.startswith(("energy.", "power."))}
    met = {
        # Rule 22: without a state point the elements are inferred from a counter's pace.
        "state": "state" in roles or (ideal and bool(roles & {"total", "good"})),
        "counts": counts,
        "reject": counts and bool(roles & {"good", "reject"}),
        "rework": "rework" in roles,
        "ideal_cycle": ideal,
        "apc": "apc" in roles,
        "energy": bool(meters),
    }
    return frozenset({need for need, there in met.items() if there} | meters)


@dataclass(frozen=True, slots=True)
class Taken:
    """The assets of a subject that have what a KPI needs, and what a reader must know of the others."""

    subject_no: int
    subject: str
    assets: tuple[str, ...]
    left_out: bool
    assumed: bool
    bottleneck: str | None


def take(
    plant: Plant, kpi: Kpi, no: int, subject: str, assets: Sequence[Asset], met: Mapping[str, frozenset[str]]
) -> Taken | None:
    """Return what a KPI takes of a subject; None where it takes nothing."""
    offering = [a for a in assets if met[a.asset].issuperset(kpi.needs)]
    left_out = any(a.production and not a.excluded and not met[a.asset].issuperset(kpi.needs) for a in assets)
    slowest = None
    if kpi.bottleneck:
        slowest = _bottleneck(offering) if subject != plant.id else None
        offering = [a for a in offering if a.asset == slowest]
    offering = counted_once(plant, offering, _media_of(plant, kpi))
    if not offering:
        return None
    # Rule 13: counts of which nothing tells the rejects are a total alone.
    assumed = "counts" in kpi.needs and any("reject" not in met[a.asset] for a in offering)
    return Taken(no, subject, tuple(a.asset for a in offering), left_out and len(assets) > 1, assumed, slowest)


def _media_of(plant: Plant, kpi: Kpi) -> list[str]:
    """Return the media that a KPI adds up."""
    named = [need.removeprefix("energy.") for need in kpi.needs if need.startswith("energy.")]
    return named or (list(media(plant)) if "energy" in kpi.needs else [])


def _bottleneck(assets: Sequence[Asset]) -> str | None:
    """Return the asset with the greatest ideal cycle of the register, the last of several; None where none has one."""
    ranked = [(a.ideal_cycle, n) for n, a in enumerate(assets) if a.ideal_cycle is not None]
    return assets[max(ranked)[1]].asset if ranked and len(assets) > 1 else None

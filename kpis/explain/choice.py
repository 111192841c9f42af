"""Which KPI of which assets is to be explained, and why one cannot be."""

import difflib
from collections.abc import Sequence

from config.plant import Plant
from kpis.catalogue import conversion, energy
from kpis.catalogue.base import Kpi
from kpis.catalogue.offers import Taken, kpis_of, needs_met, take
from kpis.compute import assets_of
from kpis.explain.words import need_sentence


def choose(plant: Plant, kpi_id: str, subject: str) -> tuple[Kpi, Taken]:
    """Return a KPI by its id, and what it takes of a subject.

    Raises LookupError: there is no such KPI, with near matches; or the subject lacks what it needs, and what that is.
    """
    offered = {kpi.id: kpi for kpi in kpis_of(plant)}
    kpi = offered.get(kpi_id) or _not_offered(kpi_id)
    if kpi is None:
        known = [*offered, *(k.id for k in _of_medium(energy.ELECTRICITY) if k.id not in offered)]
        near = [*difflib.get_close_matches(kpi_id, known, 3), *(name for name in known if kpi_id and kpi_id in name)]
        hint = f"did you mean {', '.join(dict.fromkeys(near))}?" if near else f"the KPIs are {', '.join(known)}"
        raise LookupError(f"no KPI {kpi_id!r}; {hint}")
    met, below = needs_met(plant), assets_of(plant, subject)
    assets = [a for a in plant.assets if a.asset in below]
    taken = take(plant, kpi, 0, subject, assets, met) if kpi.id in offered else None
    if taken is None:
        raise LookupError(_missing(kpi, subject, [met[a.asset] for a in assets]))
    return kpi, taken


def _not_offered(kpi_id: str) -> Kpi | None:
    """Return a KPI of a medium that the plant does not meter; None where there is none of that name."""
    medium = kpi_id.partition(".")[2] or energy.ELECTRICITY
    return next((kpi for kpi in _of_medium(medium) if kpi.id == kpi_id), None)


def _of_medium(medium: str) -> list[Kpi]:
    return [*energy.of_medium(medium, "kWh"), *energy.demand_of(medium, "kWh"), *conversion.KPIS]


def _missing(kpi: Kpi, subject: str, met: Sequence[frozenset[str]]) -> str:
    if kpi.bottleneck and any(found.issuperset(kpi.needs) for found in met):
        return (f"{kpi.id} is for a line: a group of two assets or more that have an ideal_cycle in assets.csv, and "
                f"not for {subject!r}; name a group, or ask for oee")  # fmt: skip
    nearest = max(met, key=lambda found: len(found & set(kpi.needs)))
    lacking = [need for need in kpi.needs if need not in nearest]
    told = "; ".join(f"{need} ({need_sentence(need)})" for need in lacking)
    whose = f"{subject!r} lacks" if len(met) == 1 else f"no asset of {subject!r} has all of them; the nearest lacks"
    return f"{kpi.id} needs {', '.join(kpi.needs)}: {whose} {told}"

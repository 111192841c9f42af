"""Every indicator, in the order of results."""

from collections.abc import Sequence

from kpis.indicators import carbon, control, economy, effectiveness, energy, equipment, networking, processes, resources
from kpis.indicators.base import Figure, Grounds, Indicator, figure

INDICATORS: tuple[Indicator, ...] = (
    *networking.INDICATORS,
    *equipment.INDICATORS,
    *processes.INDICATORS,
    *control.INDICATORS,
    *effectiveness.INDICATORS,
    *energy.INDICATORS,
    *carbon.INDICATORS,
    *resources.INDICATORS,
    *economy.INDICATORS,
)


def indicator(name: str) -> Indicator:
    """Return an indicator by its id; LookupError where there is none."""
    found = next((one for one in INDICATORS if one.id == name), None)
    if found is None:
        raise LookupError(f"no indicator {name!r}; docs/indicators.md lists them")
    return found


def figures(grounds: Grounds, subjects: Sequence[str]) -> list[Figure]:
    """Return every figure of the subjects, in their order; one of the whole plant stands with the plant alone."""
    found = []
    for subject in subjects:
        for one in INDICATORS:
            if not one.plant_only or subject == grounds.plant.id:
                made = figure(one, grounds, subject)
                found += [made] if made is not None else []
    return found


def kinds(grounds: Grounds, subjects: Sequence[str]) -> list[tuple[str, Figure]]:
    """Return the rates over devices of each kind of device of the subjects; kinds of which none counts have none."""
    counting = (*networking.INDICATORS, *equipment.INDICATORS)
    found = [pair for subject in subjects for one in counting for pair in networking.by_kind(one, grounds, subject)]
    return [(kind, one) for kind, one in found if one.value is not None]

"""What truly happened in the simulated plant: exact time elements, counts and energy, from the schedules.

It knows nothing of samples, gaps and KPIs: what the collector makes of the plant is held against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from connectors.sim.machine import ELEMENT_OF, METER_STEPS, Machine, energy_at, pieces
from connectors.sim.plant import SECOND, SimPlant


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What truly happened on a machine in a window (start, end]."""

    asset: str
    start: int
    end: int
    elements: Mapping[str, int]
    """Time element -> [ns]; they add up to the window."""
    total: Mapping[str, int]
    """Product -> pieces made."""
    reject: Mapping[str, int]
    """Product -> pieces rejected."""
    energy: int
    """[0.01 kWh]"""
    ideal_good: int
    """Sum of planned run time per item x good pieces [ns]."""
    ideal_total: int
    """Sum of planned run time per item x pieces [ns]."""

    @property
    def planned_busy(self) -> int:
        """The window without planned down time [ns]."""
        return self.end - self.start - self.elements["planned"]


def truth(machine: Machine, start: int, end: int) -> Truth:
    """Return what happened from `start` to `end` [ns since 1970, UTC], exactly; adjoining windows add up."""
    a, b = start - machine.anchor, end - machine.anchor
    made = pieces(machine)
    inside = (made.done > a) & (made.done <= b)
    names = [product.name for product in machine.products]
    total = {name: int((inside & (made.product == name)).sum()) for name in names}
    reject = {name: int((inside & (made.product == name) & made.rejected).sum()) for name in names}
    return Truth(
        asset=machine.asset,
        start=start,
        end=end,
        elements=_elements(machine, a, b),
        total=total,
        reject=reject,
        energy=int(energy_at(machine, end) - energy_at(machine, start)),
        ideal_good=sum(p.ideal_cycle * (total[p.name] - reject[p.name]) for p in machine.products),
        ideal_total=sum(p.ideal_cycle * total[p.name] for p in machine.products),
    )


def _elements(machine: Machine, a: int, b: int) -> dict[str, int]:
    """Return the time per element [ns] between two offsets [ns]; the first phase has no beginning."""
    starts = np.array([phase.start for phase in machine.phases], np.int64)
    states = np.array([phase.state for phase in machine.phases], np.int64)
    begins = np.append(min(a, 0), starts[1:])
    ends = np.append(starts[1:], max(b, int(starts[-1])))
    inside = np.maximum(np.minimum(ends, b) - np.maximum(begins, a), 0)
    return {name: int(inside[states == state].sum()) for state, name in ELEMENT_OF.items()}


def truth_table(plant: SimPlant, start: int, end: int) -> list[dict[str, object]]:
    """Return one row per machine for the window from `start` to `end` [ns since 1970, UTC].

    Columns: asset; a time element each, with `_s`, and planned_busy_s [s]; total, good, reject [pieces];
    energy_kwh [kWh]; ideal_good_s and ideal_total_s, planned run time of the good and of all pieces [s];
    outages, the drop-outs of the link as pairs of instants [ns since 1970, UTC].
    """
    rows: list[dict[str, object]] = []
    for machine in plant.machines:
        found = truth(machine, start, end)
        total, reject = sum(found.total.values()), sum(found.reject.values())
        rows.append(
            {
                "asset": machine.asset,
                **{f"{element}_s": ns / SECOND for element, ns in found.elements.items()},
                "planned_busy_s": found.planned_busy / SECOND,
                "total": total,
                "good": total - reject,
                "reject": reject,
                "energy_kwh": found.energy / METER_STEPS,
                "ideal_good_s": found.ideal_good / SECOND,
                "ideal_total_s": found.ideal_total / SECOND,
                "outages": [(machine.anchor + a, machine.anchor + b) for a, b in machine.outages],
            }
        )
    return rows

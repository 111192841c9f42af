"""An asset's time elements: by its state, mode and order, or by its counter's pace."""

from collections.abc import Sequence

from config.plant import Asset, Plant, Point
from kpis import states
from kpis.cells import labels
from kpis.counters import Counters
from kpis.intervals import Timeline

ROLES = ("state", "mode", "order", "total", "good", "since_reset", "product", "ideal_cycle")
"""The roles whose points say what an asset's elements are."""


def elements(
    plant: Plant, asset: Asset, points: Sequence[Point], counters: Counters, start: int, end: int
) -> tuple[Timeline, bool]:
    """Return an asset's elements up to `end` [ns since 1970, UTC], and whether they are inferred (rules 6, 7, 20, 22).

    points: the asset's. The timeline begins at `start`, or earlier, with the first sample that says something of them.
    """
    pace = states.infers(points)
    source = next((p for p in points if p.role == "state"), pace)
    rows = counters.found.get(source.point) if source is not None else None
    begin = min(start, int(rows.ts[0])) if rows is not None and len(rows.ts) else start
    if pace is None or rows is None or not _has_cycle(plant, asset, points):
        return states.stated(plant, points, counters.found, begin, end), False
    (of_pace,) = counters.steps([pace])
    closing, _ = states.rises(of_pace)
    cycle = labels(points, counters.found).ideal_cycle(plant, asset, of_pace.ts[closing] - 1).to_numpy()
    return states.paced(counters.known(pace), of_pace, cycle, begin, end), True


def _has_cycle(plant: Plant, asset: Asset, points: Sequence[Point]) -> bool:
    """Return whether an ideal cycle is declared for any of the asset's products, or told by the machine."""
    roles = {point.role for point in points}
    if asset.ideal_cycle is not None or "ideal_cycle" in roles:
        return True
    return "product" in roles and plant.lists_cycle(asset.asset)

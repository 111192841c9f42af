"""In which time element each machine was, from when to when: what the facts of the same time sum up."""

import numpy as np
import polars as pl

from config.plant import Asset, Plant, Point
from config.schema import DURATIONS, UTC_NS
from kpis import calendar, states
from kpis.cells import planned
from kpis.counters import Counters
from kpis.elements import elements
from kpis.evidence.traces import TIMELINE
from kpis.intervals import UNKNOWN, UNMAPPED, Timeline, merged, resolve, series

_BREAK, _UNSCHEDULED = (DURATIONS.index(name) for name in ("break", "unscheduled"))


def timeline_of(plant: Plant, samples: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    """Return the TIMELINE of [start, end) [ns since 1970, UTC] of each asset with a point that tells its elements.

    samples: as for `kpis.facts.facts`. Raises SchemaError where it is no SAMPLE frame.
    """
    found = series(resolve(samples), uncertain_is_good=plant.uncertain == "good")
    counters = Counters(plant, found)
    lines = [pl.DataFrame(schema=dict(TIMELINE))]
    for asset in plant.assets:
        points = list(plant.points_of(asset.asset))
        if any(point.role == "state" for point in points) or states.infers(points) is not None:
            line = _line(plant, asset, points, counters, start, end)
            lines.append(_rows(asset, line))
    return pl.concat(lines)


def _line(plant: Plant, asset: Asset, points: list[Point], counters: Counters, start: int, end: int) -> Timeline:
    """Return an asset's elements in planned operation time, and what the calendar says of the rest."""
    told, _ = elements(plant, asset, points, counters, start, end)
    plan = planned(plant, asset.asset, start, end)
    cuts = np.unique(np.clip(np.concatenate([plan.edges, told.edges]), start, end))
    code = told.at(cuts[:-1]).copy()
    code[code == UNMAPPED] = UNKNOWN
    kind = plan.kind[np.searchsorted(plan.edges, cuts[:-1], "right") - 1]
    code[kind == calendar.BREAK] = _BREAK
    code[kind == calendar.UNSCHEDULED] = _UNSCHEDULED
    return merged(cuts, code)


def _rows(asset: Asset, line: Timeline) -> pl.DataFrame:
    columns = {
        "start": line.edges[:-1],
        "end": line.edges[1:],
        "element": pl.Series(DURATIONS).gather(line.code.astype(np.int64)),
    }
    return pl.DataFrame(columns).select(
        pl.lit(asset.asset).alias("asset"), pl.col("start", "end").cast(UTC_NS), "element"
    )

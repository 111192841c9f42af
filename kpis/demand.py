"""Samples -> what meters counted per demand interval. Rule 19 of docs/kpi-rules.md."""

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import polars as pl

from config.plant import Asset, Plant
from config.schema import DEMAND
from kpis.counters import Counters
from kpis.facts import metered, meters_of
from kpis.intervals import Ints, resolve, series

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def demand(plant: Plant, samples: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    """Return the DEMAND rows of [start, end) [ns since 1970, UTC]: the intervals that lie in it as a whole."""
    found = series(resolve(samples), uncertain_is_good=plant.uncertain == "good")
    return of_meters(plant, plant.assets, Counters(plant, found), start, end)


def of_meters(plant: Plant, assets: Sequence[Asset], counters: Counters, start: int, end: int) -> pl.DataFrame:
    """Return the DEMAND rows of the assets' meters; counters: as for `kpis.facts.Accounts.window`."""
    cuts = intervals(plant, start, end)
    n = len(cuts) - 1
    if n < 1:
        return pl.DataFrame(schema=dict(DEMAND))
    by_asset = defaultdict(list)
    for point in plant.points:
        by_asset[point.asset].append(point)
    of = [(a.asset, medium, meters) for a in assets for medium, meters in meters_of(by_asset[a.asset]).items()]
    if not of:
        return pl.DataFrame(schema=dict(DEMAND))
    nothing = np.zeros(n, np.int64)
    columns = {
        "start": np.tile(cuts[:-1], len(of)),
        "interval": np.full(n * len(of), plant.demand_interval),
        "quantity": np.concatenate([sum((np.diff(s.at(cuts)) for s in counters.steps(m)), nothing) for *_, m in of]),
        "metered": np.concatenate([metered(meters, counters, cuts) for *_, meters in of]),
    }
    named = pl.DataFrame([key for *key, _ in of], ["asset", "medium"], orient="row")[np.repeat(range(len(of)), n)]
    return named.hstack(pl.DataFrame(columns)).cast(dict(DEMAND))  # type: ignore[arg-type]


def intervals(plant: Plant, start: int, end: int) -> Ints:
    """Return the borders of the demand intervals that lie in [start, end) as a whole [ns since 1970, UTC]."""
    length = plant.demand_interval
    first = start + -(start + phase(plant, start)) % length
    # A count of whole numbers: NumPy divides the ends of a range as floats, and loses the last of many borders.
    return first + length * np.arange(max(0, (end - first) // length + 1), dtype=np.int64)


def phase(plant: Plant, at: int) -> int:
    """Return what the plant's clock, in its standard time, is ahead of UTC at an instant [ns]."""
    local = (_EPOCH + dt.timedelta(microseconds=at // 1000)).astimezone(plant.zone)
    ahead = (local.utcoffset() or dt.timedelta()) - (local.dst() or dt.timedelta())
    return ahead // dt.timedelta(microseconds=1) * 1000

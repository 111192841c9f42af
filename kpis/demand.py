"""Samples -> what meters counted per demand interval. Rule 19 of docs/kpi-rules.md."""

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import polars as pl

from config.plant import Asset, Plant
from config.schema import DEMAND, NS, UTC_NS
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
    frames = [pl.DataFrame(schema=dict(DEMAND))]
    if len(cuts) < 2:
        return frames[0]
    by_asset = defaultdict(list)
    for point in plant.points:
        by_asset[point.asset].append(point)
    for asset in assets:
        for medium, points in meters_of(by_asset[asset.asset]).items():
            nothing = np.zeros(len(cuts) - 1, np.int64)
            columns = {
                "start": pl.Series(cuts[:-1]).cast(UTC_NS),
                "quantity": sum((np.diff(s.at(cuts)) for s in counters.steps(points)), nothing),
                "metered": pl.Series(metered(points, counters, cuts)).cast(NS),
            }
            interval = pl.lit(plant.demand_interval).cast(NS)
            named = {"asset": pl.lit(asset.asset), "medium": pl.lit(medium), "interval": interval}
            frames.append(pl.DataFrame(columns).with_columns(**named).select(list(DEMAND)))
    return pl.concat(frames)


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

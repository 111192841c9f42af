"""Whether facts follow from the samples of an extract: what can be compared of the two."""

import polars as pl

from config.plant import Plant
from config.schema import FACT
from kpis.demand import demand
from kpis.evidence.traces import Period, Traces
from kpis.facts import facts, summed_up
from kpis.indicators.base import Grounds


def inside(rows: pl.DataFrame, period: Period) -> pl.DataFrame:
    """Return the FACT rows that lie in [start, end) [ns since 1970, UTC] whole; rows and meters in an order of their
    own.

    An hour in which a UTC day ends, as it does in India, is one row: a store's facts come in two, one a day.
    """
    start, end = (pl.col(name).to_physical() for name in ("start", "end"))
    kept = rows.filter((start >= period[0]) & (end <= period[1]))
    meters = sorted(set(rows.columns) - set(FACT))
    return summed_up(kept.select(*FACT, *meters)).sort("asset", "start", "product", nulls_last=False)


def intervals(rows: pl.DataFrame, period: Period) -> pl.DataFrame:
    """Return the DEMAND rows whose interval lies in [start, end) [ns since 1970, UTC] whole, ordered likewise."""
    start = pl.col("start").to_physical()
    kept = rows.filter((start >= period[0]) & (start + pl.col("interval").to_physical() <= period[1]))
    return kept.sort("asset", "medium", "start")


def of_extract(plant: Plant, traces: Traces) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the FACT and DEMAND rows that an extract gives of its period, as `inside` and `intervals` do."""
    period = traces.extract_period
    found = facts(plant, traces.extract, *period), demand(plant, traces.extract, *period)
    return inside(found[0], period), intervals(found[1], period)


def agrees(grounds: Grounds, traces: Traces) -> bool:
    """Return whether the facts of a period and the samples of its extract are of the same state of a store."""
    of_facts, of_demand = of_extract(grounds.plant, traces)
    period = traces.extract_period
    return inside(grounds.facts, period).equals(of_facts) and intervals(grounds.demand, period).equals(of_demand)

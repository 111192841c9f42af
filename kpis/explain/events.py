"""What happened to counters and meters: resets, rollovers, refused steps, swaps, increments across gaps.

Taken from the steps that facts are computed from: what is listed adds up to the facts' events.
"""

import fnmatch
from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from config.plant import Asset, Plant, Point
from config.schema import COUNTS, MICRO, UTC_NS
from config.units import METER_UNITS
from kpis.cells import labels
from kpis.counters import Counters, Steps, changes_of
from kpis.facts import meters_of
from kpis.intervals import Ints

EVENTS = {
    "asset": pl.String(),
    "point": pl.String(),
    "begin": UTC_NS,
    "end": UTC_NS,  # the sample that closes the step: where the event stands (rule 12)
    "kinds": pl.List(pl.String()),
    "before": pl.Float64(),
    "after": pl.Float64(),
    "counted": pl.Float64(),  # [pieces, or the meter's canonical unit]
    "refused": pl.Float64(),
    "unit": pl.String(),
    "rules": pl.List(pl.Int64()),
}
KINDS = ("reset", "refused_step", "swap", "rollover", "gap_increment")
PRODUCTS = {
    "asset": pl.String(),
    "product": pl.String(),
    "ideal_cycle": pl.Float64(),
    "source": pl.String(),
    "pieces": pl.Float64(),
    "production": pl.Float64(),  # [s]
}


def counted_points(points: Sequence[Point]) -> list[Point]:
    """Return an asset's counters, and the meters that count."""
    meters = [point for of_medium in meters_of(points).values() for point in of_medium]
    return [*(p for role in COUNTS for p in points if p.role == role), *meters]


def events(plant: Plant, points: Iterable[Point], counters: Counters, start: int, end: int) -> pl.DataFrame:
    """Return what happened in (start, end] [ns since 1970, UTC]; EVENTS columns, in order of time."""
    frames = [pl.DataFrame(schema=EVENTS)]
    for point in points:
        frames += [_of(plant, point, counters, found, start, end) for found in counters.steps([point])]
    return pl.concat(frames).sort("end", "point")


def _of(plant: Plant, point: Point, counters: Counters, steps: Steps, start: int, end: int) -> pl.DataFrame:
    swapped = _swapped(plant, point, steps)
    odd = np.setdiff1d(steps.bent, np.concatenate([steps.resets, steps.refused, swapped]))
    rolled = odd[steps.counted(odd + 1) > steps.counted(odd)]  # the others span more than 31 days, and count nothing
    each = dict(zip(KINDS, (steps.resets, steps.refused, swapped, rolled, steps.gaps), strict=True))
    k = np.unique(np.concatenate(list(each.values())))
    k = k[(steps.ts[k + 1] > start) & (steps.ts[k + 1] <= end)] if len(k) else k
    if not len(k):
        return pl.DataFrame(schema=EVENTS)
    refused = np.full(len(k), np.nan)
    refused[np.isin(k, steps.refused)] = steps.uncertain[np.isin(steps.refused, k)] / MICRO
    frame = pl.DataFrame(
        {
            "asset": np.full(len(k), point.asset),
            "point": np.full(len(k), point.point),
            "begin": pl.Series(steps.ts[k]).cast(UTC_NS),
            "end": pl.Series(steps.ts[k + 1]).cast(UTC_NS),
            "before": steps.value[k],
            "after": steps.value[k + 1],
            "counted": (steps.counted(k + 1) - steps.counted(k)) / MICRO,
            "refused": pl.Series(refused).fill_nan(None),
            "unit": np.full(len(k), "pieces" if point.medium is None else METER_UNITS[point.unit].canonical),
            "told": _told(plant, point, counters, steps.ts[k]),
            **{kind: np.isin(k, of_kind) for kind, of_kind in each.items()},
        }
    )
    kinds = pl.concat_list(pl.when(kind).then(pl.lit(kind)) for kind in KINDS).list.drop_nulls()
    fell = pl.col("after") < pl.col("before")
    by_word = pl.col("told") & (pl.col("reset") | (pl.col("refused_step") & fell & ~pl.col("swap")))
    by_drop = pl.any_horizontal("reset", "refused_step", "rollover") & ~by_word
    of_rule = {10: by_drop, 25: by_word, 26: pl.col("swap"), 11: pl.col("gap_increment")}
    rules = pl.concat_list(pl.when(holds).then(number) for number, holds in of_rule.items())
    found = frame.with_columns(kinds=kinds, rules=rules.list.drop_nulls())
    return found.select(list(EVENTS)).cast(pl.Schema(EVENTS))


def _swapped(plant: Plant, point: Point, steps: Steps) -> Ints:
    """Return the steps in which a counter was replaced."""
    at = np.array([change.at for change in changes_of(plant, point)], np.int64)
    places = np.unique(np.searchsorted(steps.ts, at, "left") - 1)
    kept: Ints = places[(places >= 0) & (places < len(steps.ts) - 1)]
    return kept


def _told(plant: Plant, point: Point, counters: Counters, begin: Ints) -> pl.Series:
    """Return of which steps the machine's own word says whether its counters were reset (rule 25)."""
    source = next((p for p in plant.points if p.asset == point.asset and p.role == "since_reset"), None)
    rows = counters.found.get(source.point) if source is not None and point.role in COUNTS else None
    if rows is None:
        return pl.Series(np.zeros(len(begin), np.bool_))
    good = rows.ts[rows.good & np.isfinite(rows.value)]
    return pl.Series(begin >= good[0] if len(good) else np.zeros(len(begin), np.bool_))


def products(plant: Plant, asset: Asset, counters: Counters, facts: pl.DataFrame) -> pl.DataFrame:
    """Return what an asset made in which ideal cycle, and where the cycle comes from; PRODUCTS columns.

    facts: FACT rows of the asset, and perhaps of others.
    """
    points, facts = plant.points_of(asset.asset), facts.filter(asset=asset.asset)
    cycles = labels(points, counters.found).cycles
    at = facts["start"].to_physical().to_numpy()
    place = np.searchsorted(cycles.ts, at, "right") - 1 if cycles is not None else np.full(len(at), -1)
    by_machine = (place >= 0) & (cycles.value[np.maximum(place, 0)] > 0) if cycles is not None else place >= 0
    point = next((p.point for p in points if p.role == "ideal_cycle"), "")
    rows = facts.with_columns(by_machine=pl.Series(by_machine), made=pl.col("total"), took=pl.col("production"))
    keys = ["product", "ideal_cycle", "by_machine"]
    summed = rows.group_by(keys, maintain_order=True).agg(
        pieces=pl.when(pl.col("made").is_not_null().any()).then(pl.col("made").sum() / MICRO),
        production=pl.col("took").sum().dt.total_nanoseconds() / 1e9,
    )
    sources = [
        f"point {point}" if told else declared_in(plant, asset, product)
        for product, told in summed.select("product", "by_machine").iter_rows()
    ]
    named = summed.with_columns(asset=pl.lit(asset.asset), source=pl.Series(sources, dtype=pl.String))
    return (
        named.filter((pl.col("production") > 0) | (pl.col("pieces") != 0))
        .select(list(PRODUCTS))
        .cast(pl.Schema(PRODUCTS))
    )


def declared_in(plant: Plant, asset: Asset, product: str | None) -> str | None:
    """Return which file declares the ideal cycle of a product on an asset; None where none does."""
    if plant.ideal_cycle(asset, product) is None:
        return None
    rows = [row for row in plant.products if row.product == product and fnmatch.fnmatchcase(asset.asset, row.asset)]
    return "products.csv" if rows else "assets.csv"

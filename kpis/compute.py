"""Facts -> RESULT rows: any KPI of any subject and period, from sums of facts."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from config.plant import Asset, Plant, groups, members
from config.schema import MICRO, RESULT, UTC_NS
from config.units import METER_UNITS
from kpis.catalogue import energy, quantity, time
from kpis.catalogue.base import Kpi, sums, with_amounts

PERIODS = ("shift", "hour", "day", "total")

WARNINGS = frozenset({"reset", "refused_step", "unmapped_state", "above_one"})
"""Flags that make a command exit with 3: a person should look."""


@dataclass(frozen=True, slots=True)
class Window:
    """What is asked: [start, end) [ns since 1970, UTC], cut by `by`."""

    start: int
    end: int
    by: str = "total"


@dataclass(frozen=True, slots=True)
class Basis:
    """What KPIs are computed from: FACT rows and DEMAND rows of a window."""

    facts: pl.DataFrame
    demand: pl.DataFrame


def subjects_of(plant: Plant) -> list[str]:
    """Return every subject of a plant: its assets, their groups, and the plant itself."""
    assets = [a.asset for a in plant.assets]
    return list(dict.fromkeys([*assets, *groups(assets), plant.id]))


def assets_of(plant: Plant, subject: str) -> list[str]:
    """Return the assets of a subject; LookupError where it is neither an asset, nor a group, nor the plant."""
    assets = [a.asset for a in plant.assets]
    found = assets if subject == plant.id else members(assets, subject)
    if not found:
        raise LookupError(f"no asset or group {subject!r} in the register; groups are {', '.join(groups(assets))}")
    return found


def results(plant: Plant, basis: Basis, window: Window, subjects: Sequence[str] | None = None) -> pl.DataFrame:
    """Return the RESULT rows of every KPI that the subjects' points allow, in the order of subjects, periods, KPIs."""
    amounts = with_amounts(basis.facts)
    frames = [pl.DataFrame(schema=dict(RESULT))]
    for subject in subjects or subjects_of(plant):
        wanted = set(assets_of(plant, subject))
        assets = [a for a in plant.assets if a.asset in wanted]
        summed = _Sums(plant, amounts, window)
        frames += [_of_kpi(plant, kpi, subject, assets, summed) for kpi in additive_kpis(plant)]
        if window.by == "total":
            frames += [
                _of_demand(plant, kpi, medium, subject, assets, basis.demand, window)
                for medium, unit in media(plant).items()
                for kpi in energy.demand_of(medium, unit)
            ]
    return pl.concat(frames)


def media(plant: Plant) -> dict[str, str]:
    """Return the plant's metered media and their canonical units."""
    found = {}
    for point in plant.points:
        if point.medium is not None:
            unit = METER_UNITS[point.unit].canonical
            found[point.medium] = "kWh" if unit == "kW" else unit
    return dict(sorted(found.items()))


def additive_kpis(plant: Plant) -> list[Kpi]:
    """Return the KPIs over sums of facts that the plant's points can give."""
    of_media = [kpi for medium, unit in media(plant).items() for kpi in energy.of_medium(medium, unit)]
    return [*time.KPIS, *quantity.KPIS, *of_media]


def offers(plant: Plant, asset: Asset, need: str) -> bool:
    """Return whether an asset has what a KPI needs."""
    roles = {p.role for p in plant.points_of(asset.asset)}
    if need == "state":
        return "state" in roles
    if need == "counts":
        return "total" in roles or {"good", "reject"} <= roles
    if need == "ideal_cycle":
        products = any(plant.ideal_cycle(asset, p.product) is not None for p in plant.products)
        return asset.ideal_cycle is not None or "ideal_cycle" in roles or products
    medium = need.removeprefix("energy.")
    return bool({f"energy.{medium}", f"power.{medium}"} & roles)


class _Sums:
    """Sums of facts per period, computed once for each set of assets."""

    def __init__(self, plant: Plant, facts: pl.DataFrame, window: Window) -> None:
        self.facts, self.window = facts, window
        self.keys, self.period = _period(plant, window)
        self._found: dict[tuple[str, ...], pl.DataFrame] = {}

    def of(self, assets: Sequence[Asset]) -> pl.DataFrame:
        ids = tuple(a.asset for a in assets)
        if ids not in self._found:
            self._found[ids] = self._sum(ids)
        return self._found[ids]

    def _sum(self, ids: Sequence[str]) -> pl.DataFrame:
        rows = self.facts.filter(pl.col("asset").is_in(ids)).sort("asset", "start")
        if self.window.by == "shift":
            rows = rows.filter(pl.col("shift").is_not_null())
        summed = sums(self.keys, rows)
        if self.window.by == "total":
            return summed.with_columns(start=_instant(self.window.start), end=_instant(self.window.end))
        return summed.sort("start")


def _of_kpi(plant: Plant, kpi: Kpi, subject: str, assets: Sequence[Asset], summed: _Sums) -> pl.DataFrame:
    taken = [a for a in assets if all(offers(plant, a, need) for need in kpi.needs)]
    if not taken:
        return pl.DataFrame(schema=dict(RESULT))
    rows = summed.of(taken)
    if summed.window.by != "total":
        rows = rows.filter((pl.col("planned_operation") > 0) | (pl.col("break") > 0) | _counted(kpi))
    left_out = [a for a in assets if a.production and not a.excluded and a not in taken]
    assumed = "counts" in kpi.needs and any(_assumes(plant, a) for a in taken)
    flags = [
        pl.when(pl.col("resets") > 0).then(pl.lit("reset")),
        pl.when(pl.col("gap_steps") > 0).then(pl.lit("gap_increment")),
        pl.when(pl.col("refused_steps") > 0).then(pl.lit("refused_step")),
        pl.when(pl.col("unmapped") > 0).then(pl.lit("unmapped_state")),
        pl.lit("assumed" if assumed else None, dtype=pl.String),
        pl.lit("assets_left_out" if left_out and len(assets) > 1 else None, dtype=pl.String),
    ]
    if "state" in kpi.needs:
        flags.append(pl.when(pl.col("unknown") > 0).then(pl.lit("unknown_time")))
    return _rows(kpi, subject, rows, summed.period, flags)


def _counted(kpi: Kpi) -> pl.Expr:
    return kpi.numerator.fill_null(0) > 0


def _period(plant: Plant, window: Window) -> tuple[list[str], pl.Expr]:
    if window.by == "shift":
        return ["shift"], pl.col("shift")
    if window.by == "hour":
        return ["hour"], pl.col("hour").dt.convert_time_zone(plant.timezone).dt.strftime("%Y-%m-%dT%H:%M%:z")
    if window.by == "day":
        return ["date"], pl.col("date").dt.strftime("%Y-%m-%d")
    return [], pl.lit("total")


def _assumes(plant: Plant, asset: Asset) -> bool:
    roles = {p.role for p in plant.points_of(asset.asset)}
    return "total" in roles and not roles & {"good", "reject"}


def _instant(ns: int) -> pl.Expr:
    return pl.lit(ns).cast(UTC_NS)


def _rows(kpi: Kpi, subject: str, summed: pl.DataFrame, period: pl.Expr, flags: list[pl.Expr]) -> pl.DataFrame:
    value = kpi.value()
    if kpi.ratio and kpi.unit == "1":
        flags = [*flags, pl.when(value > 1).then(pl.lit("above_one"))]
    low = value if kpi.low is None else kpi.low
    high = value if kpi.high is None else kpi.high
    planned = pl.col("planned_operation") > 0 if "planned_operation" in summed.columns else pl.lit(value=True)
    covered = kpi.coverage if "state" not in kpi.needs else pl.when(planned).then(kpi.coverage)
    bounded = summed.with_columns(__value=value, __low=low, __high=high, __coverage=covered.fill_nan(None))
    return bounded.select(
        kpi=pl.lit(kpi.id),
        subject=pl.lit(subject),
        period=period,
        start="start",
        end="end",
        value="__value",
        low=pl.min_horizontal("__low", "__value"),
        high=pl.when(pl.col("__high").is_not_null()).then(pl.max_horizontal("__high", "__value")),
        unit=pl.lit(kpi.unit),
        numerator=kpi.numerator.cast(pl.Float64),
        denominator=kpi.denominator.cast(pl.Float64),
        coverage="__coverage",
        flags=pl.concat_list(flags).list.drop_nulls(),
        rule=pl.lit(kpi.rule),
    ).cast(pl.Schema(RESULT))


def _of_demand(
    plant: Plant, kpi: Kpi, medium: str, subject: str, assets: Sequence[Asset], demand: pl.DataFrame, window: Window
) -> pl.DataFrame:
    ids = [a.asset for a in assets]
    rows = demand.filter(pl.col("asset").is_in(ids) & (pl.col("medium") == medium))
    if rows.is_empty():
        return pl.DataFrame(schema=dict(RESULT))
    hours = plant.demand_interval / 3.6e12
    meters = rows["asset"].n_unique()
    intervals = rows.group_by("start").agg(pl.sum("quantity"), pl.sum("metered"))
    summed = intervals.select(
        start=_instant(window.start),
        end=_instant(window.end),
        peak=pl.max("quantity") / MICRO / hours,
        mean=pl.sum("quantity") / pl.len() / MICRO / hours,
        metered_share=pl.col("metered").dt.total_nanoseconds().sum() / (pl.len() * plant.demand_interval * meters),
    )
    return _rows(kpi, subject, summed, pl.lit("total"), [pl.lit(None, dtype=pl.String)])

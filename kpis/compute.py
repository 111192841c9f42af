"""Facts -> RESULT rows: any KPI of any subject and period, from sums of facts.

KPIs that take the same assets of the same subjects share one frame of sums, a row a subject and period; a KPI is one
select over it. What a plant offers stands in kpis/catalogue/offers.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from config.plant import Plant, groups, members
from config.schema import RESULT
from kpis.catalogue import regression
from kpis.catalogue.base import Kpi
from kpis.catalogue.bases import Bases
from kpis.catalogue.offers import kpis_of, needs_met, take

_ORDERED = pl.Schema({"subject_no": pl.Int64(), "kpi_no": pl.Int64(), **RESULT})

PERIODS = ("shift", "hour", "day", "total")

WARNINGS = frozenset({"reset", "refused_step", "unmapped_state", "above_one", "below_zero"})
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
    """Return the RESULT rows of every KPI that the subjects' points allow, in the order of subjects, KPIs, periods."""
    asked = list(subjects or subjects_of(plant))
    by_id = {a.asset: a for a in plant.assets}
    assets = [[by_id[asset] for asset in assets_of(plant, subject)] for subject in asked]
    met = needs_met(plant)
    bases = Bases(plant, basis.facts, basis.demand, window.start, window.end, window.by)
    rows = [pl.LazyFrame(schema=_ORDERED)]
    for n, kpi in enumerate(kpis_of(plant)):
        if kpi.basis == "facts" or window.by == "total":
            found = (take(plant, kpi, no, asked[no], assets[no], met) for no in range(len(asked)))
            if taken := tuple(t for t in found if t is not None):
                rows.append(_rows(kpi, bases.of(kpi, taken).lazy(), n))
    # All of them in one go: they are small, and starting a query takes longer than it.
    return pl.concat(pl.collect_all(rows)).sort("subject_no", "kpi_no", "start", "period").select(list(RESULT))


def _rows(kpi: Kpi, sums: pl.LazyFrame, kpi_no: int) -> pl.LazyFrame:
    """Return a KPI's RESULT rows of every subject and period, with the numbers that order them."""
    if kpi.basis == "facts":
        asked = (pl.col("planned_operation") > 0) | (pl.col("break") > 0) | (kpi.numerator.fill_null(0) != 0)
        sums = sums.filter(asked | (pl.col("period") == "total"))
    low = kpi.value() if kpi.low is None else kpi.low
    high = kpi.value() if kpi.high is None else kpi.high
    bounded = sums.with_columns(__value=kpi.value(), __low=low, __high=high)
    is_ratio = kpi.ratio and kpi.unit == "1"
    flags = [
        *([] if kpi.basis == "demand" else _flags_of_sums(kpi)),
        pl.when((pl.col("__value") > 1) & is_ratio).then(pl.lit("above_one")),
        pl.when(pl.col("__value") < 0).then(pl.lit("below_zero")),
    ]
    return bounded.select(
        "subject_no",
        kpi_no=pl.lit(kpi_no),
        kpi=pl.lit(kpi.id),
        subject="subject",
        period="period",
        start="start",
        end="end",
        value="__value",
        low=pl.when(pl.col("__low").is_not_null()).then(pl.min_horizontal("__low", "__value")),
        high=pl.when(pl.col("__high").is_not_null()).then(pl.max_horizontal("__high", "__value")),
        unit=pl.lit(kpi.unit),
        numerator=kpi.numerator.cast(pl.Float64),
        denominator=kpi.denominator.cast(pl.Float64),
        coverage=kpi.coverage.cast(pl.Float64),
        flags=pl.concat_list(flags).list.drop_nulls(),
        rule=pl.lit(kpi.rule),
    ).cast(_ORDERED)


def _flags_of_sums(kpi: Kpi) -> list[pl.Expr]:
    """Return what a reader must know of the sums behind a value, each flag or null."""
    flags = [
        pl.when(pl.col("resets") > 0).then(pl.lit("reset")),
        pl.when(pl.col("gap_steps") > 0).then(pl.lit("gap_increment")),
        pl.when(pl.col("refused_steps") > 0).then(pl.lit("refused_step")),
        pl.when(pl.col("unmapped") > 0).then(pl.lit("unmapped_state")),
        pl.when(pl.col("assumed")).then(pl.lit("assumed")),
        pl.when(pl.col("left_out")).then(pl.lit("assets_left_out")),
        pl.when(pl.lit(kpi.partial)).then(pl.lit("media_left_out")),
        pl.concat_str(pl.lit("bottleneck="), "bottleneck"),
    ]
    if "state" in kpi.needs:
        flags.append(pl.when(pl.col("unknown") > 0).then(pl.lit("unknown_time")))
        flags.append(pl.when(pl.col("inferred") > 0).then(pl.lit("inferred")))
    if kpi.basis == "hours":
        flags.append(pl.concat_str(pl.lit("r2="), regression.R2.round(3).cast(pl.String)))
    return flags

"""What a KPI declares, and the sums of facts that its formula may use.

A formula is written once, as Polars expressions over sums; the group and the period come later, so no KPI is ever an
average of KPIs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from config.schema import COUNTS, DURATIONS, ELEMENTS, MICRO
from config.units import NS_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Kpi:
    """One KPI: its formula as expressions over the columns of `sums`, and what a reader must know of it."""

    id: str
    version: int = 1
    title: str
    title_zh: str
    unit: str
    """Unit of the value; "1" for a ratio."""
    formula: str
    source: str
    """The document that defines it."""
    not_this: str
    """What it is often taken for and is not."""
    needs: Sequence[str]
    """What an asset must have to be part of it: state, counts, ideal_cycle, a meter's column."""
    numerator: pl.Expr
    denominator: pl.Expr
    low: pl.Expr | None = None
    """The value if all unknown time was lost; None: as the value."""
    high: pl.Expr | None = None
    """The value if all unknown time was productive at the ideal rate; None: as the value."""
    coverage: pl.Expr = pl.col("known") / pl.col("planned_operation")
    ratio: bool = True
    """Whether a value above 1 is to be flagged."""

    @property
    def rule(self) -> str:
        """Return id and version, as results cite it."""
        return f"{self.id}@{self.version}"

    def value(self) -> pl.Expr:
        """Return the value's expression; a zero denominator gives null."""
        return divide(self.numerator, self.denominator)


def divide(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    """Return the quotient, null where the denominator is zero."""
    return pl.when(denominator != 0).then(numerator / denominator)


def with_amounts(facts: pl.DataFrame) -> pl.DataFrame:
    """Return facts with what is additive only row by row: ideal seconds of known time, and pieces that unknown time
    could have made."""
    known = [(pl.col(c) - pl.col(f"{c}_unknown")).alias(f"{c}_known") for c in COUNTS]
    return facts.with_columns(known).with_columns(
        ideal_total=_times_ideal(pl.col("total_known") / MICRO),
        ideal_good=_times_ideal(pl.col("good_known") / MICRO),
        unknown_pieces=_ideal_pieces(pl.col("unknown").dt.total_nanoseconds() / NS_PER_SECOND),
    )


def _times_ideal(pieces: pl.Expr) -> pl.Expr:
    # No pieces need no ideal cycle.
    return pl.when(pieces == 0).then(0.0).otherwise(pl.col("ideal_cycle") * pieces)


def _ideal_pieces(seconds: pl.Expr) -> pl.Expr:
    return pl.when(seconds == 0).then(0.0).otherwise(seconds / pl.col("ideal_cycle"))


def sums(keys: Sequence[str], facts: pl.DataFrame) -> pl.DataFrame:
    """Return the sums of facts per group of `keys`: seconds, pieces, canonical units, and counts of events.

    facts: FACT rows through `with_amounts`. A sum over an amount that a row does not have is null.
    """
    amounts = [*COUNTS, *(f"{c}_known" for c in COUNTS)]
    columns = [
        pl.min("start"),
        pl.max("end"),
        *(_seconds(pl.col(c).sum()) for c in (*DURATIONS, "unmapped")),
        *(_all_or_none(c) / MICRO for c in amounts),
        *(_all_or_none(c) for c in ("ideal_total", "ideal_good", "unknown_pieces")),
        *(pl.col(c).sum() for c in ("resets", "gap_steps", "refused_steps")),
        *(column for name in facts.columns if name.startswith("energy.") for column in _medium(name)),
    ]
    grouped = facts.group_by(keys, maintain_order=True).agg(columns) if keys else facts.select(columns)
    return grouped.with_columns(planned_operation=pl.sum_horizontal(ELEMENTS)).with_columns(
        known=pl.col("planned_operation") - pl.col("unknown"),
        planned_busy=pl.col("planned_operation") - pl.col("unknown") - pl.col("planned"),
        calendar=pl.sum_horizontal(DURATIONS),
    )


def _seconds(duration: pl.Expr) -> pl.Expr:
    # Sums are taken over integer nanoseconds first: exact in any order.
    return duration.dt.total_nanoseconds() / NS_PER_SECOND


def _medium(energy: str) -> list[pl.Expr]:
    """Return a medium's sum [canonical unit], the time in which it was metered, and the time of its assets [s]."""
    metered = energy.replace("energy.", "metered.")
    of_meter = pl.col(energy).is_not_null()
    total = pl.when(of_meter.any()).then(pl.col(energy).sum() / MICRO)
    # A fact's cells need not lie side by side, so its time is that of its elements, not end - start.
    span = pl.sum_horizontal(_seconds(pl.col(c).filter(of_meter).sum()) for c in DURATIONS)
    return [total.alias(energy), _seconds(pl.col(metered).sum()), span.alias(energy.replace("energy.", "span."))]


def _all_or_none(column: str) -> pl.Expr:
    # A row without planned time or pieces takes nothing from a sum; any other null makes the sum unknown.
    return pl.when(pl.col(column).is_not_null().all()).then(pl.col(column).sum())

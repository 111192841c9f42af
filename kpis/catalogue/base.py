"""What a KPI declares, and the words that formulas are written in.

A formula is written once, as Polars expressions over the columns of a basis: sums of facts (kpis/catalogue/sums.py),
demand intervals, or hours. The group and the period come later, so no KPI is ever an average of KPIs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from config.units import NS_PER_SECOND

SECONDS_PER_HOUR = 3600.0
NS_PER_HOUR = 3600 * NS_PER_SECOND
ONE = pl.lit(1.0)

Basis = Literal["facts", "demand", "hours"]


def divide(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    """Return the quotient, null where the denominator is zero."""
    return pl.when(denominator != 0).then(numerator / denominator)


KNOWN_SHARE = divide(pl.col("known"), pl.col("planned_operation"))
"""The part of planned operation time that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kpi:
    """One KPI: its formula as expressions over the columns of its basis, and what a reader must know of it."""

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
    """What an asset must have to be part of it, as kpis/catalogue/offers.py tells them."""
    numerator: pl.Expr
    denominator: pl.Expr
    low: pl.Expr | None = None
    """The value if all unknown time was lost; None: as the value."""
    high: pl.Expr | None = None
    """The value if all unknown time was productive at the ideal rate; None: as the value; null: nothing bounds it."""
    coverage: pl.Expr = KNOWN_SHARE
    ratio: bool = True
    """Whether a value above 1 is to be flagged."""
    basis: Basis = "facts"
    """What the columns are of; demand and hours give it for whole periods alone."""
    bottleneck: bool = False
    """Whether it is of a group's bottleneck in place of the sum over its assets."""
    factors: str = ""
    """The factor set that converts its amounts, as results cite it."""
    partial: bool = False
    """Whether it leaves out media of the plant, for which the factor set has nothing."""

    @property
    def rule(self) -> str:
        """Return id, version and factor set, as results cite them."""
        return f"{self.id}@{self.version} {self.factors}".rstrip()

    def value(self) -> pl.Expr:
        """Return the value's expression; a zero denominator gives null."""
        return divide(self.numerator, self.denominator)

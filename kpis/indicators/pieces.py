"""Pieces made in a period: declared for the whole plant, else what the counters of its machines say."""

from fractions import Fraction

import polars as pl

from config.schema import MICRO
from kpis.indicators.base import Amount, Grounds, Input
from kpis.indicators.counting import in_use
from kpis.indicators.declared import period_text, stated
from kpis.indicators.ratios import of_stated


def pieces(grounds: Grounds, subject: str) -> Amount | None:
    """Return the pieces that a subject made; None where a part of the plant counts none.

    What is declared as `products_made` goes first: a piece that passes several machines is counted by each.
    """
    whole = subject == grounds.plant.id
    declared = stated(grounds, "products_made") if whole else None
    if declared is not None and declared.value is not None:
        return of_stated(declared)
    counted = _counted(grounds, subject)
    if not counted:
        return None if declared is None else of_stated(declared)
    value = Fraction(sum(counted.values()), MICRO)
    read = Input("pieces counted", value, "件", "measured", period_text(*grounds.days))
    return Amount(value=value, inputs=(read,), flags=("pieces_of_several_machines",) if len(counted) > 1 else ())


def _counted(grounds: Grounds, subject: str) -> dict[str, int]:
    """Return what the counters of each production asset that counts say [1e-6 pieces]."""
    assets = [a.asset for a in grounds.assets(subject) if a.production and not a.excluded]
    rows = in_use(grounds.plant, grounds.facts).filter(pl.col("asset").is_in(assets))
    known = rows.group_by("asset", maintain_order=True).agg(
        pl.when(pl.col("total").is_not_null().all()).then(pl.col("total").cast(pl.Int128).sum())
    )
    return {asset: int(total) for asset, total in known.drop_nulls().iter_rows()}

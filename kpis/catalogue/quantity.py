"""Quantities of pieces. Every increment counts, those across a gap included (docs/kpi-rules.md, 16)."""

import polars as pl

from kpis.catalogue.base import Kpi

_POSSIBLE = pl.col("unknown_pieces")
_ONE = pl.lit(1.0)


def _quantity(kpi: str, column: str, title: str, title_zh: str, symbol: str, not_this: str) -> Kpi:
    count, possible = pl.col(column), pl.col(f"{column}_known") + _POSSIBLE
    return Kpi(
        id=kpi,
        title=title,
        title_zh=title_zh,
        unit="pieces",
        formula=symbol,
        source="ISO 22400-2:2014, 6.2 Quantities",
        not_this=not_this,
        needs=("counts",),
        numerator=count,
        denominator=_ONE,
        high=pl.when(possible.is_not_null()).then(pl.max_horizontal(count, possible)),
        ratio=False,
    )


KPIS = (
    _quantity("produced_quantity", "total", "Produced quantity", "产量", "PQ", "not the good pieces alone"),
    _quantity("good_quantity", "good", "Good quantity", "合格品数量", "GQ", "not the pieces that rework made good"),
    _quantity("reject_quantity", "reject", "Rejected quantity", "不合格品数量", "PQ − GQ", "not scrap net of rework"),
)

"""Quantities of pieces, and pieces an hour.

Of quantities every increment counts, those across a gap included (docs/kpi-rules.md, 16); of throughput what known time
made.
"""

from collections.abc import Sequence

import polars as pl

from kpis.catalogue.base import ONE, SECONDS_PER_HOUR, Kpi, divide
from kpis.catalogue.terms import AUBT, MISSED, PQ, UNKNOWN

ISO = "ISO 22400-2:2014, 6.2 Quantities"
_COUNTS = ("counts",)


def _quantity(
    kpi: str, title: str, title_zh: str, formula: str, count: Sequence[pl.Expr], source: str, not_this: str,
    needs: Sequence[str] = _COUNTS,
) -> Kpi:  # fmt: skip
    """Return a KPI of pieces; count: all of them, and those of known time."""
    every, known = count
    return Kpi(
        id=kpi,
        title=title,
        title_zh=title_zh,
        unit="pieces",
        formula=formula,
        source=source,
        not_this=not_this,
        needs=needs,
        numerator=every,
        denominator=ONE,
        high=pl.when((known + MISSED).is_not_null()).then(pl.max_horizontal(every, known + MISSED)),
        ratio=False,
    )


def _of(column: str) -> tuple[pl.Expr, pl.Expr]:
    return pl.col(column), pl.col(f"{column}_known")


_SCRAP = tuple(reject - rework for reject, rework in zip(_of("reject"), _of("rework"), strict=True))

KPIS = (
    _quantity("produced_quantity", "Produced quantity", "产量", "PQ", _of("total"), ISO, "not the good pieces alone"),
    _quantity(
        "good_quantity", "Good quantity", "合格品数量", "GQ", _of("good"), ISO, "not the pieces that rework made good"
    ),
    _quantity(
        "reject_quantity", "Rejected quantity", "不合格品数量", "PQ − GQ", _of("reject"), ISO,
        "not scrap net of rework",
    ),
    _quantity(
        "scrap_quantity", "Scrap quantity", "废品数量", "SQ", _SCRAP, f"{ISO}; SQ = rejects − RQ",
        "not all rejects: those that are reworked are left out", ("counts", "reject", "rework"),
    ),
    _quantity(
        "rework_quantity", "Rework quantity", "返工品数量", "RQ", _of("rework"), ISO,
        "not the pieces that rework made good", ("counts", "rework"),
    ),
    Kpi(
        id="throughput",
        title="Throughput rate",
        title_zh="产出率",
        unit="pieces/h",
        formula="PQ / AUBT",
        source="ISO 22400-2:2014, 9.2 Throughput rate (there over the order's execution time)",
        not_this="not pieces per hour of shift: idle and planned down time are left out",
        needs=("state", "counts"),
        numerator=PQ,
        denominator=AUBT / SECONDS_PER_HOUR,
        low=divide(PQ, (AUBT + UNKNOWN) / SECONDS_PER_HOUR),
        high=divide(PQ + MISSED, (AUBT + UNKNOWN) / SECONDS_PER_HOUR),
        ratio=False,
    ),
)  # fmt: skip

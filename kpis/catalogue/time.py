"""KPIs of time and pieces: availability, effectiveness, quality ratio, OEE, NEE, TEEP.

Names and formulas: ISO 22400-2:2014 (GB/T 34044.2-2017). `known` time only on both sides of a ratio; low and high take
unknown time as lost and as productive at the ideal rate (docs/kpi-rules.md, 15).
"""

import polars as pl

from kpis.catalogue.base import Kpi, divide

APT, UNKNOWN, PBT = pl.col("production"), pl.col("unknown"), pl.col("planned_busy")
AUPT = pl.col("production") + pl.col("setup")
IDEAL_TOTAL, IDEAL_GOOD = pl.col("ideal_total"), pl.col("ideal_good")
PQ, GQ, MISSED = pl.col("total_known"), pl.col("good_known"), pl.col("unknown_pieces")
CALENDAR = pl.col("calendar")
# Quality of nothing known: any share is possible, unless no time is unknown.
_FREE = pl.when(UNKNOWN > 0)

KPIS = (
    Kpi(
        id="availability",
        title="Availability",
        title_zh="可用率",
        unit="1",
        formula="APT / PBT",
        source="ISO 22400-2:2014, 9.2.5 Availability",
        not_this="not the share of calendar time in which a machine could have run",
        needs=("state",),
        numerator=APT,
        denominator=PBT,
        low=divide(APT, PBT + UNKNOWN),
        high=divide(APT + UNKNOWN, PBT + UNKNOWN),
    ),
    Kpi(
        id="effectiveness",
        title="Effectiveness (performance)",
        title_zh="有效率（性能率）",
        unit="1",
        formula="Σ PRI·PQ / APT",
        source="ISO 22400-2:2014, 9.2.6 Effectiveness",
        not_this="not a mean of the rates of several products: each piece counts with its own ideal cycle",
        needs=("state", "counts", "ideal_cycle"),
        numerator=IDEAL_TOTAL,
        denominator=APT,
        low=divide(IDEAL_TOTAL, APT + UNKNOWN),
        high=divide(IDEAL_TOTAL + UNKNOWN, APT + UNKNOWN),
    ),
    Kpi(
        id="quality_ratio",
        title="Quality ratio",
        title_zh="质量指数",
        unit="1",
        formula="GQ / PQ",
        source="ISO 22400-2:2014, 9.2.7 Quality ratio",
        not_this="not the share after rework: a piece that was reworked was not good the first time",
        needs=("counts",),
        numerator=GQ,
        denominator=PQ,
        low=_FREE.then(pl.coalesce(divide(GQ, PQ + MISSED), pl.lit(0.0))).otherwise(divide(GQ, PQ)),
        high=_FREE.then(pl.coalesce(divide(GQ + MISSED, PQ + MISSED), pl.lit(1.0))).otherwise(divide(GQ, PQ)),
    ),
    Kpi(
        id="oee",
        title="Overall equipment effectiveness",
        title_zh="设备综合效率（OEE）",
        unit="1",
        formula="Σ PRI·GQ / PBT",
        source="ISO 22400-2:2014, 9.2.4 OEE index",
        not_this="not 设备综合利用率, and for a line not the OEE of its bottleneck: it is the sum over its machines",
        needs=("state", "counts", "ideal_cycle"),
        numerator=IDEAL_GOOD,
        denominator=PBT,
        low=divide(IDEAL_GOOD, PBT + UNKNOWN),
        high=divide(IDEAL_GOOD + UNKNOWN, PBT + UNKNOWN),
    ),
    Kpi(
        id="nee",
        title="Net equipment effectiveness",
        title_zh="净设备效率（NEE）",
        unit="1",
        formula="AUPT / PBT · effectiveness · quality ratio",
        source="ISO 22400-2:2014, 9.2.3 NEE index",
        not_this="not OEE: setup counts as used time",
        needs=("state", "counts", "ideal_cycle"),
        numerator=divide(AUPT * IDEAL_GOOD, APT),
        denominator=PBT,
        low=divide(divide(AUPT * IDEAL_GOOD, APT), PBT + UNKNOWN),
        high=divide(divide(AUPT * IDEAL_GOOD, APT) + UNKNOWN, PBT + UNKNOWN),
    ),
    Kpi(
        id="teep",
        title="Total effective equipment performance",
        title_zh="设备完全有效生产率（TEEP）",
        unit="1",
        formula="Σ PRI·GQ / calendar time",
        source="common use; Hansen, Overall Equipment Effectiveness, 2001",
        not_this="not a measure of a shift's work: nights and weekends are in the denominator",
        needs=("state", "counts", "ideal_cycle"),
        numerator=IDEAL_GOOD,
        denominator=CALENDAR - UNKNOWN,
        low=divide(IDEAL_GOOD, CALENDAR),
        high=divide(IDEAL_GOOD + UNKNOWN, CALENDAR),
    ),
)

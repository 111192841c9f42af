"""Calendar time as a waterfall: what was lost to what, down to fully productive time.

The twelve parts are differences of integer nanoseconds and sum to calendar time exactly; a result's value is its part
in hours, as near as a float is. The six big losses are among them: breakdown, setup, idling and minor stops
(loss_idle and loss_micro_stop), speed, startup, quality. Bounds: unknown time all in this part, or none of it.
"""

import polars as pl

from kpis.catalogue.base import NS_PER_HOUR, ONE, SECONDS_PER_HOUR, Kpi
from kpis.catalogue.terms import UNKNOWN

SIX_BIG = "Nakajima, Introduction to TPM, 1988: six big losses"
OWN = "PlantProof; elements as in docs/kpi-rules.md, 6"


def _ns(name: str) -> pl.Expr:
    return pl.col(f"exact.{name}")


def _part(
    kpi: str, title: str, title_zh: str, formula: str, part: pl.Expr, source: str, not_this: str, *, sure: bool = False
) -> Kpi:
    """Return a part of the waterfall; sure: the calendar alone says it, or it is the unknown time itself."""
    hours = part / NS_PER_HOUR
    return Kpi(
        id=kpi,
        title=title,
        title_zh=title_zh,
        unit="h",
        formula=formula,
        source=source,
        not_this=not_this,
        needs=("state", "counts", "ideal_cycle"),
        numerator=hours,
        denominator=ONE,
        high=hours if sure else hours + UNKNOWN / SECONDS_PER_HOUR,
        ratio=False,
    )


KPIS = (
    _part(
        "loss_unscheduled", "Time outside every shift", "班外时间", "calendar time − shifts", _ns("unscheduled"), OWN,
        "not a loss of the shop floor: nobody planned to work", sure=True,
    ),
    _part(
        "loss_break", "Breaks", "班内休息时间", "breaks", _ns("break"), OWN, "not planned down time", sure=True
    ),
    _part(
        "loss_planned", "Planned down time", "计划停机时间", "PDOT", _ns("planned"), OWN,
        "not one of the six big losses: it is left out of OEE",
    ),
    _part(
        "loss_unknown", "Unknown time", "数据未知时间", "unknown time", _ns("unknown"), OWN,
        "neither run nor stop: nobody knows what it was", sure=True,
    ),
    _part(
        "loss_idle", "Idling loss", "空转待机损失", "ADOT", _ns("idle"), f"{SIX_BIG} (idling and minor stops)",
        "not breakdown: the machine was available, without an order",
    ),
    _part(
        "loss_breakdown", "Breakdown loss", "故障停机损失", "ADET − micro-stops", _ns("delay") - _ns("micro_stop"),
        f"{SIX_BIG} (breakdown)", "not failures alone: every unplanned stop that is no micro-stop",
    ),
    _part(
        "loss_setup", "Setup and adjustment loss", "换型调整损失", "AUST", _ns("setup"),
        f"{SIX_BIG} (setup and adjustment)", "not rejects after a setup: they are loss_startup",
    ),
    _part(
        "loss_micro_stop", "Minor stop loss", "小停机损失", "micro-stops", _ns("micro_stop"),
        f"{SIX_BIG} (idling and minor stops)", "not pauses that the state signal does not show: they are loss_speed",
    ),
    _part(
        "loss_speed", "Speed loss", "速度损失", "APT − Σ PRI·PQ", _ns("production") - _ns("ideal_total"),
        f"{SIX_BIG} (reduced speed)", "not always above 0: a machine that beats its ideal cycle gains, and is flagged",
    ),
    _part(
        "loss_startup", "Startup loss", "启动损失", "Σ PRI·rejects after a setup", _ns("ideal_startup"),
        f"{SIX_BIG} (startup, reduced yield)", "not the time of warming up: it is what rejects after a setup took",
    ),
    _part(
        "loss_quality", "Quality loss", "质量缺陷损失", "Σ PRI·other rejects",
        _ns("ideal_total") - _ns("ideal_good") - _ns("ideal_startup"), f"{SIX_BIG} (quality defects)",
        "not the time that rework takes",
    ),
    _part(
        "fully_productive_time", "Fully productive time", "有效产出时间", "Σ PRI·GQ", _ns("ideal_good"),
        "common use; the numerator of OEE and TEEP", "not APT: slow running and rejects are taken out",
    ),
)  # fmt: skip

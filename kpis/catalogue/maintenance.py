"""Stops: how often, how long, and the time between them.

Stops are those of docs/kpi-rules.md, 21: delays that are no micro-stops, each counted once. Bounds: unknown time all
lost holds as many more stops as fit, each as long as the shortest (`stop_length`, the plant's `micro_stop`); unknown
time all productive holds none. A stop that a gap tears in two is counted as two in all three.
"""

import polars as pl

from kpis.catalogue.base import ONE, SECONDS_PER_HOUR, Kpi, divide
from kpis.catalogue.terms import ADET, APT, AUST, MICRO_STOP, UNKNOWN

STOPS, MICRO_STOPS = pl.col("stops"), pl.col("micro_stops")
MOST = STOPS + (UNKNOWN / pl.col("stop_length")).floor()
REPAIR, RUN = (ADET - MICRO_STOP) / SECONDS_PER_HOUR, APT / SECONDS_PER_HOUR
BUSY, UNKNOWN_HOURS = (APT + AUST + MICRO_STOP) / SECONDS_PER_HOUR, UNKNOWN / SECONDS_PER_HOUR

KPIS = (
    Kpi(
        id="mtbf",
        title="Mean operating time between failures",
        title_zh="平均故障间隔时间（MTBF）",
        unit="h",
        formula="APT / stops",
        source="IEC 60050-192:2015, mean operating time between failures",
        not_this="not ISO 22400-2's mean of times between failures, which divides by FE + 1 and counts repair time in; "
        "a stop for want of material is a stop here as well",
        needs=("state",),
        numerator=RUN,
        denominator=STOPS,
        low=divide(RUN, MOST),
        high=divide(RUN + UNKNOWN_HOURS, STOPS),
        ratio=False,
    ),
    Kpi(
        id="mttf",
        title="Mean time to failure",
        title_zh="平均失效前时间（MTTF）",
        unit="h",
        formula="(APT + AUST + micro-stops) / stops",
        source="ISO 22400-2:2014, 9.2 Mean time to failure: TTF, busy time without repair",
        not_this="not ISO 22400-2's own quotient, which divides by FE + 1; not the life of a part that is not repaired",
        needs=("state",),
        numerator=BUSY,
        denominator=STOPS,
        low=divide(BUSY, MOST),
        high=divide(BUSY + UNKNOWN_HOURS, STOPS),
        ratio=False,
    ),
    Kpi(
        id="mttr",
        title="Mean time to restoration",
        title_zh="平均修复时间（MTTR）",
        unit="h",
        formula="(ADET − micro-stops) / stops",
        source="IEC 60050-192:2015, mean time to restoration; ISO 22400-2:2014, 9.2",
        not_this="not ISO 22400-2's own quotient, which divides by FE + 1; "
        "not the time of repair work alone: waiting for it is in",
        needs=("state",),
        numerator=REPAIR,
        denominator=STOPS,
        low=divide(REPAIR, MOST),
        high=divide(REPAIR + UNKNOWN_HOURS, STOPS),
        ratio=False,
    ),
    Kpi(
        id="micro_stop_share",
        title="Share of micro-stops in delay",
        title_zh="小停机时间占比",
        unit="1",
        formula="micro-stops / ADET",
        source="PlantProof; stops as in docs/kpi-rules.md, 21",
        not_this="not a share of the number of stops",
        needs=("state",),
        numerator=MICRO_STOP,
        denominator=ADET,
        low=divide(MICRO_STOP, ADET + UNKNOWN),
        high=divide(MICRO_STOP + UNKNOWN, ADET + UNKNOWN),
    ),
    Kpi(
        id="stop_count",
        title="Stops",
        title_zh="停机次数",
        unit="stops",
        formula="stops",
        source="PlantProof; stops as in docs/kpi-rules.md, 21",
        not_this="not the number of failures: any unplanned stop counts, micro-stops do not",
        needs=("state",),
        numerator=STOPS,
        denominator=ONE,
        high=MOST,
        ratio=False,
    ),
    Kpi(
        id="micro_stop_count",
        title="Micro-stops",
        title_zh="小停机次数",
        unit="stops",
        formula="micro-stops",
        source="PlantProof; stops as in docs/kpi-rules.md, 21",
        not_this="not part of stop_count",
        needs=("state",),
        numerator=MICRO_STOPS,
        denominator=ONE,
        high=pl.when(UNKNOWN == 0).then(MICRO_STOPS),
        ratio=False,
    ),
)

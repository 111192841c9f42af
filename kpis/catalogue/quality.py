"""What becomes of rejects: scrap, rework, and pieces that were right the first time.

Low and high: none and all of the pieces that unknown time could have made are of the kind that is counted.
"""

from kpis.catalogue.base import Kpi
from kpis.catalogue.terms import PQ, RQ, SQ, least_share, most_share

KPIS = (
    Kpi(
        id="scrap_ratio",
        title="Scrap ratio",
        title_zh="废品率",
        unit="1",
        formula="SQ / PQ",
        source="ISO 22400-2:2014, 9.2 Scrap ratio; SQ = rejects − RQ",
        not_this="not the share of rejects: what is reworked is no scrap",
        needs=("counts", "reject", "rework"),
        numerator=SQ,
        denominator=PQ,
        low=least_share(SQ, PQ),
        high=most_share(SQ, PQ),
    ),
    Kpi(
        id="rework_ratio",
        title="Rework ratio",
        title_zh="返工率",
        unit="1",
        formula="RQ / PQ",
        source="ISO 22400-2:2014, 9.2 Rework ratio",
        not_this="not the share of rejects that rework saved",
        needs=("counts", "rework"),
        numerator=RQ,
        denominator=PQ,
        low=least_share(RQ, PQ),
        high=most_share(RQ, PQ),
    ),
    Kpi(
        id="first_pass_yield",
        title="First pass yield",
        title_zh="一次合格率（FPY）",
        unit="1",
        formula="(PQ − SQ − RQ) / PQ",
        source="ISO 22400-2:2014, 9.2 First pass yield; SQ = rejects − RQ",
        not_this="not the quality ratio where a machine's good counter takes in reworked pieces; "
        "not the product of several stations' yields",
        needs=("counts", "reject", "rework"),
        numerator=PQ - SQ - RQ,
        denominator=PQ,
        low=least_share(PQ - SQ - RQ, PQ),
        high=most_share(PQ - SQ - RQ, PQ),
    ),
)

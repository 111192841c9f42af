"""How much of the time a machine ran under advanced process control (docs/kpi-rules.md, 24)."""

import polars as pl

from kpis.catalogue.base import Kpi, divide
from kpis.catalogue.terms import POT

ON, KNOWN = pl.col("apc_on"), pl.col("apc_known")

KPIS = (
    Kpi(
        id="apc_share",
        title="Share of time under advanced process control",
        title_zh="先控投用率",
        unit="1",
        formula="time under advanced process control / time in which it is known",
        source="PlantProof; docs/kpi-rules.md, 24",
        not_this="not 自控率: whether single loops are in automatic mode is not asked",
        needs=("apc",),
        numerator=ON,
        denominator=KNOWN,
        low=divide(ON, POT),
        high=divide(ON + POT - KNOWN, POT),
        coverage=divide(KNOWN, POT),
    ),
)

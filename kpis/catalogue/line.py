"""A line's own OEE: that of its bottleneck, the machine whose ideal cycle in the register is the greatest."""

from dataclasses import replace

from kpis.catalogue import time

_OEE = next(kpi for kpi in time.KPIS if kpi.id == "oee")

KPIS = (
    replace(
        _OEE,
        id="line_oee_bottleneck",
        title="OEE of a line's bottleneck",
        title_zh="产线瓶颈设备综合效率（瓶颈OEE）",
        formula="Σ PRI·GQ / PBT of the bottleneck",
        source="PlantProof: OEE of ISO 22400-2:2014, 9.2.4, of the asset with the greatest ideal cycle of the register",
        not_this="not oee of the group, which is the sum over its machines; not of a bottleneck that moves",
        bottleneck=True,
    ),
)

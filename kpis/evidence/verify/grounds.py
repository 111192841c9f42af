"""Whether facts and device lists of a package go with its registers and calendars, and with each other."""

import polars as pl

from config.plant import Plant
from config.schema import DURATIONS, ELEMENTS, NS, SAMPLE
from kpis.demand import demand as compute_demand
from kpis.evidence.traces import Traces
from kpis.evidence.verify.report import Report
from kpis.facts import facts as compute_facts
from kpis.indicators.base import Grounds
from kpis.indicators.device_list import devices as compute_devices
from kpis.indicators.device_list import passes

_CELL = ("asset", "shift", "date", "hour")
"""Of what the calendar says how much of it is planned time."""
_OF_REGISTER = ("name", "kind", "counted", "excluded", "connectable", "planned_ns")


def check_grounds(grounds: Grounds, folder: str, report: Report) -> None:
    """Hold the facts and the device list of a period against registers and calendars; folder: where they lie."""
    none = pl.DataFrame(schema=dict(SAMPLE))
    _check_devices(grounds, compute_devices(grounds.plant, none, grounds.start, grounds.end), folder, report)
    _check_facts(grounds, compute_facts(grounds.plant, none, grounds.start, grounds.end), folder, report)
    _check_demand(grounds, compute_demand(grounds.plant, none, grounds.start, grounds.end), folder, report)


def _check_devices(grounds: Grounds, expected: pl.DataFrame, folder: str, report: Report) -> None:
    """Hold a device list against the register: who counts, who has an address, who passes the share."""
    listed, place = grounds.devices, f"{folder}devices.parquet"
    if listed["asset"].to_list() != expected["asset"].to_list():
        report.fault(f"{place}: the register inside has other assets, or in another order",
                     f"{place}：与包内设备台账的设备或顺序不一致")  # fmt: skip
        return
    before = len(report.faults)
    for column in _OF_REGISTER:
        differing = listed.select("asset", stated=column, register=expected[column])
        for asset, stated, register in differing.filter(pl.col("stated").ne_missing(pl.col("register"))).iter_rows():
            report.fault(f"{place}: {column} of {asset} is stated as {stated}, the register inside gives {register}",
                         f"{place}：{asset} 的 {column} 为 {stated}，而按包内台账应为 {register}")  # fmt: skip
    for row in listed.iter_rows(named=True):
        _check_times(grounds.plant, row, place, report)
    if len(report.faults) == before:
        report.ok(f"{listed.height} devices of {place} are those of the register inside",
                  f"{place} 中 {listed.height} 台设备与包内设备台账一致")  # fmt: skip


def _check_times(plant: Plant, row: dict[str, object], place: str, report: Report) -> None:
    known, planned, asset = row["evidenced_ns"], row["planned_ns"], row["asset"]
    if not isinstance(known, int) or not isinstance(planned, int) or not 0 <= known <= planned:
        report.fault(f"{place}: {asset} was known for {known} ns of {planned} ns, which cannot be",
                     f"{place}：{asset} 的有数据时长 {known} ns 超出计划时间 {planned} ns")  # fmt: skip
        return
    if row["evidenced"] != passes(plant, known, planned):
        report.fault(f"{place}: `evidenced` of {asset} does not follow from its share of planned time",
                     f"{place}：{asset} 的“已证实联网”与其有数据时长不符")  # fmt: skip
    if row["share"] != (known / planned if planned else None):
        report.fault(f"{place}: `share` of {asset} does not follow from its times",
                     f"{place}：{asset} 的数据占比与其时长不符")  # fmt: skip


def _check_facts(grounds: Grounds, expected: pl.DataFrame, folder: str, report: Report) -> None:
    """Hold facts' planned time and ideal cycles against the calendar and register inside."""
    place = f"{folder}facts.parquet"
    before = len(report.faults)
    _check_rows(grounds.facts, expected, place, report)
    theirs, mine = (_planned(frame) for frame in (grounds.facts, expected))
    if not theirs.equals(mine):
        differing = pl.concat([theirs.join(mine, theirs.columns, "anti", nulls_equal=True),
                               mine.join(theirs, mine.columns, "anti", nulls_equal=True)])  # fmt: skip
        where = _where(differing)
        report.fault(f"{place}: its planned time does not follow from the calendar inside: {where}",
                     f"{place}：计划时间与包内班次日历不符：{where}")  # fmt: skip
    cycles = grounds.facts.select("asset", "product", "ideal_cycle").unique().sort(pl.all())
    for row in cycles.iter_rows(named=True):
        asset = next((a for a in grounds.plant.assets if a.asset == row["asset"]), None)
        told = asset is not None and any(p.role == "ideal_cycle" for p in grounds.plant.points_of(asset.asset))
        register = None if asset is None else grounds.plant.ideal_cycle(asset, row["product"])
        if not told and row["ideal_cycle"] != register:
            report.fault(
                f"{place}: ideal cycle of {row['asset']} is not that of the register inside: it is "
                f"{row['ideal_cycle']} s, the register says {register} s",
                f"{place}：{row['asset']} 的理论节拍为 {row['ideal_cycle']} s，而包内台账为 {register} s",
            )
    if len(report.faults) == before:
        report.ok(f"{grounds.facts.height} rows of {place} keep to the calendar and register inside",
                  f"{place} 的 {grounds.facts.height} 行与包内班次日历、台账一致")  # fmt: skip


def _check_rows(facts: pl.DataFrame, expected: pl.DataFrame, place: str, report: Report) -> None:
    """Hold each row against the hour of the calendar that it is of: rows elsewhere count, and nothing checks them."""
    if strange := sorted(set(facts.columns) ^ set(expected.columns)):
        report.fault(f"{place}: its columns are not those of the point table inside: {', '.join(strange)}",
                     f"{place}：列与包内点表不符：{'、'.join(strange)}")  # fmt: skip
    hours = expected.group_by(_CELL).agg(first=pl.min("start"), last=pl.max("end"))
    start, end = pl.col("start"), pl.col("end")
    inside = (pl.col("first") <= start) & (start < end) & (end <= pl.col("last"))
    lengths = pl.all_horizontal(pl.col(DURATIONS) >= pl.lit(0).cast(NS))
    rows = facts.join(hours, on=_CELL, how="left", nulls_equal=True)
    if (outside := rows.filter(~(inside & lengths).fill_null(value=False))).height:
        report.fault(f"{place}: rows lie outside their hour of the period, or have negative times: {_where(outside)}",
                     f"{place}：存在超出统计期内所属小时或时长为负的行：{_where(outside)}")  # fmt: skip


def _where(rows: pl.DataFrame) -> str:
    places = rows.select("asset", "shift").unique(maintain_order=True).head(3)
    return "; ".join(f"{asset}, {shift}" for asset, shift in places.iter_rows())


def _planned(facts: pl.DataFrame) -> pl.DataFrame:
    planned = pl.sum_horizontal(pl.col(ELEMENTS)).sum().alias("planned_operation")
    return facts.group_by(_CELL).agg(planned, pl.sum("break"), pl.sum("unscheduled")).sort(_CELL)


def _check_demand(grounds: Grounds, expected: pl.DataFrame, folder: str, report: Report) -> None:
    """Hold metered amounts against the meters of the point table and the demand intervals of the period."""
    place, of = f"{folder}demand.parquet", ("asset", "medium", "start", "interval")
    theirs, mine = (frame.select(of).sort(of) for frame in (grounds.demand, expected))
    if not theirs.equals(mine):
        report.fault(f"{place}: has {theirs.height} rows, which are not the {mine.height} demand intervals of the "
                     "meters inside",
                     f"{place}：共 {theirs.height} 行，与包内点表应有的 {mine.height} 个需量周期不符")  # fmt: skip


def check_gaps(grounds: Grounds, traces: Traces, report: Report) -> None:
    """Hold the gap list against the device list: of each device, known time and gaps come to its planned time."""
    gaps, before = traces.gaps, len(report.faults)
    inside = pl.col("start").to_physical().ge(grounds.start) & pl.col("end").to_physical().le(grounds.end)
    apart = pl.col("start") >= pl.col("end").shift(1).over("asset").fill_null(pl.col("start"))
    sound = gaps.select((inside & (pl.col("start") < pl.col("end")) & apart).all()).item()
    if not sound:
        report.fault("data/gaps.parquet: its gaps lie outside the period, or overlap",
                     "data/gaps.parquet：数据缺口超出统计期或相互重叠")  # fmt: skip
    missing = dict(gaps.group_by("asset").agg(pl.sum("planned_ns")).iter_rows())
    for asset, known, planned in grounds.devices.select("asset", "evidenced_ns", "planned_ns").iter_rows():
        if known + missing.get(asset, 0) != planned:
            report.fault(
                f"data/gaps.parquet: known time and gaps of {asset} do not come to its planned time",
                f"data/gaps.parquet：{asset} 的有数据时长与缺口之和不等于计划时间",
            )
    if len(report.faults) == before:
        report.ok(f"{gaps.height} gaps and the known time come to the planned time of each device",
                  f"{gaps.height} 处数据缺口与有数据时长之和等于各设备计划时间")  # fmt: skip

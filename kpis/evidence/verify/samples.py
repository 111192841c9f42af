"""Whether the samples in a package give its facts again, and are those that its hashes name."""

import polars as pl

from config.plant import Plant
from kpis.evidence import choice
from kpis.evidence.agreement import inside, intervals, of_extract
from kpis.evidence.hashes import differences, partitions_of
from kpis.evidence.sampled import traces_of
from kpis.evidence.timeline import timeline_of
from kpis.evidence.traces import Period
from kpis.evidence.verify.content import Content
from kpis.evidence.verify.report import Report
from kpis.partitions import HOUR_NS
from kpis.stores import Memory
from kpis.stores.base import DAY_NS

_MOST = 10
"""So many differences are named."""


def check_samples(content: Content, report: Report) -> None:
    """Compute facts and states of the time that samples are inside for, and hold them against the package."""
    plant, traces = content.plant, content.contents.traces
    start, end = content.contents.asked.period
    first, last = traces.extract_period
    if not start <= first < last <= end:
        report.fault("datapackage.json: the samples' time lies outside the period",
                     "datapackage.json：采样时段超出统计期")  # fmt: skip
        return
    before = len(report.faults)
    _check_facts(content, report)
    _check_timeline(content, report)
    _check_partitions(content, report)
    _check_hashes(content, report)
    if (first, last) == (start, end):
        _check_whole(content, report)
    if len(report.faults) == before:
        told = _told(plant, (first, last))
        report.ok(f"facts and states of {told} follow from the {traces.extract.height} samples inside",
                  f"{told} 的事实数据与设备状态可由包内 {traces.extract.height} 条采样数据重新得出")  # fmt: skip


def _check_facts(content: Content, report: Report) -> None:
    grounds, traces = content.contents.now, content.contents.traces
    again = of_extract(content.plant, traces)
    _compare("data/facts.parquet", inside(grounds.facts, traces.extract_period), again[0], ("asset", "start"), report)
    _compare(
        "data/demand.parquet", intervals(grounds.demand, traces.extract_period), again[1], ("asset", "start"), report
    )


def _compare(name: str, stated: pl.DataFrame, again: pl.DataFrame, of: tuple[str, str], report: Report) -> None:
    """Name the rows that samples do not give as they are stated, by the two columns `of`."""
    if stated.equals(again):
        return
    if stated.columns != again.columns or stated.height != again.height:
        report.fault(f"{name}: has {stated.height} rows for the time of the samples, which give {again.height}",
                     f"{name}：采样时段内有 {stated.height} 行，而由采样数据应得 {again.height} 行")  # fmt: skip
        return
    for column in stated.columns:
        differing = pl.DataFrame({"a": stated[of[0]], "b": stated[of[1]].cast(pl.String), "old": stated[column],
                                  "new": again[column]}).filter(pl.col("old").ne_missing(pl.col("new")))  # fmt: skip
        for a, b, old, new in differing.head(_MOST).iter_rows():
            report.fault(f"{name}: {column} of {a} at {b} is stated as {old}, the samples inside give {new}",
                         f"{name}：{a} 在 {b} 的 {column} 为 {old}，而由采样数据应为 {new}")  # fmt: skip


def _check_timeline(content: Content, report: Report) -> None:
    traces = content.contents.traces
    again = timeline_of(content.plant, traces.extract, *traces.extract_period)
    if not traces.timeline.equals(again):
        report.fault("data/timeline.parquet: the samples inside give other states",
                     "data/timeline.parquet：与包内采样数据得出的设备状态不符")  # fmt: skip


def _check_partitions(content: Content, report: Report) -> None:
    """Hold the table of hashes against the period and the point table: what it lists besides, nothing checks."""
    stated, (start, end) = content.contents.traces.partitions, choice.utc_days(content.contents.asked.period)
    keys, day = stated.select("date", "point"), pl.col("date").cast(pl.Int32).cast(pl.Int64) * DAY_NS
    of = (day >= start) & (day < end) & pl.col("point").is_in([point.point for point in content.plant.points])
    if stated.select((of & (pl.col("rows") > 0)).all()).item() and keys.equals(keys.unique().sort("date", "point")):
        return
    report.fault("data/partitions.parquet: lists other than each point and day of the period once, in their order",
                 "data/partitions.parquet：应按日期、测点顺序逐一列出统计期内的采样，与此不符")  # fmt: skip


def _check_hashes(content: Content, report: Report) -> None:
    """Hold the hashes of the days that the extract has whole against those of the samples inside."""
    traces, (start, end) = content.contents.traces, content.contents.asked.period
    first, last = (ns // DAY_NS for ns in choice.utc_days(traces.extract_period))
    day = pl.col("date").cast(pl.Int32)
    # Of an hour that was chosen of a day with very many samples there is no whole day inside.
    is_hour = traces.extract_period != (start, end) and traces.extract_period[1] - traces.extract_period[0] <= HOUR_NS
    whole = pl.lit(value=False) if is_hour else (day >= first) & (day < last)
    stated = traces.partitions.filter(whole)
    found = partitions_of(traces.extract, start, end).filter(whole)
    for line in differences(stated, found)[:_MOST]:
        report.fault(f"data/samples.parquet: {line}", f"data/samples.parquet：{line}")
    chosen = choice.period(content.plant, traces.partitions, start, end)
    if chosen != traces.extract_period:
        report.fault("data/samples.parquet: is of another time than the hashes choose",
                     "data/samples.parquet：采样时段不是由校验值选定的时段")  # fmt: skip


def _check_whole(content: Content, report: Report) -> None:
    """Compute the device list and the gaps, where all samples are inside."""
    contents = content.contents
    devices, again = traces_of(content.plant, Memory(contents.traces.extract), *contents.asked.period)
    _compare("data/devices.parquet", contents.now.devices, devices, ("asset", "first_good"), report)
    _compare("data/gaps.parquet", contents.traces.gaps, again.gaps, ("asset", "start"), report)


def _told(plant: Plant, period: Period) -> str:
    start, end = (str(pl.Series([ns]).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(plant.timezone)[0])[:19]
                  for ns in period)  # fmt: skip
    return f"{start} … {end}"

"""Whether a lake gives what a package states: its samples, facts, device lists and gaps."""

from pathlib import Path

import polars as pl

from kpis.evidence.hashes import differences
from kpis.evidence.sampled import traces_of
from kpis.evidence.verify.content import Content
from kpis.evidence.verify.report import Report
from kpis.indicators.base import Grounds
from kpis.indicators.device_list import devices_of_store
from kpis.partitions import of_store
from kpis.stores import Lake, StoreError

_MOST = 20
"""So many points and days that differ are named."""


def check_lake(content: Content, path: Path, report: Report) -> None:
    """Compute from a lake's samples everything that figures follow from, and name what differs."""
    lake, contents = Lake(path), content.contents
    try:
        devices, traces = traces_of(content.plant, lake, *contents.asked.period)
        _check_samples(contents.traces.partitions, traces.partitions, report)
        _same("data/gaps.parquet", contents.traces.gaps, traces.gaps, report)
        _check_period(contents.now, devices, lake, "data/", report)
        if contents.earlier is not None:
            earlier = contents.earlier
            listed = devices_of_store(content.plant, lake, earlier.start, earlier.end)
            _check_period(earlier, listed, lake, "data/before/", report)
    except StoreError as error:
        report.fault(f"the lake cannot be read: {error}", f"无法读取采集数据：{error}")


def _check_samples(stated: pl.DataFrame, found: pl.DataFrame, report: Report) -> None:
    rows = found["rows"].sum()
    if stated.equals(found):
        report.ok(f"{rows} samples of the lake are those of the package", f"采集数据 {rows} 条与证据包一致")
        return
    lines = differences(stated, found)
    for line in lines[:_MOST]:
        report.fault(f"the lake's samples differ: {line}", f"采集数据不同：{line}")
    if len(lines) > _MOST:
        report.fault(f"the lake's samples differ on {len(lines) - _MOST} further points and days",
                     f"另有 {len(lines) - _MOST} 处（点、日）采集数据不同")  # fmt: skip


def _check_period(stated: Grounds, devices: pl.DataFrame, lake: Lake, folder: str, report: Report) -> None:
    amounts = of_store(stated.plant, lake, stated.start, stated.end)
    _same(f"{folder}devices.parquet", stated.devices, devices, report)
    _same(f"{folder}facts.parquet", _ordered(stated.facts), _ordered(amounts.facts), report)
    _same(f"{folder}demand.parquet", _ordered(stated.demand), _ordered(amounts.demand), report)


def _ordered(frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows in an order of their own; columns of meters in that of their names."""
    return frame.select(sorted(frame.columns)).sort(pl.all(), nulls_last=False)


def _same(name: str, stated: pl.DataFrame, found: pl.DataFrame, report: Report) -> None:
    if stated.equals(found):
        report.ok(
            f"{found.height} rows of {name} follow from the lake", f"{name} 的 {found.height} 行可由采集数据重新得出"
        )
    else:
        report.fault(f"{name}: the lake gives other rows", f"{name}：由采集数据得出的内容不同")

"""The gaps in the data: how many each device has, and the longest."""

import datetime as dt
from collections.abc import Mapping

import polars as pl

from kpis.evidence.report import board, cells
from kpis.evidence.report.model import (
    Section,
    Table,
    Text,
    View,
)
from kpis.evidence.report.numbers import hours as in_hours
from kpis.evidence.report.numbers import instant, length, share
from kpis.indicators.said import Said

MOST_GAPS = 50


def section(view: View) -> Section:
    """Return how many gaps each device has, and the longest ones; of devices that have points."""
    say = view.say
    found = view.contents.traces.gaps.filter(pl.col("asset").is_in(board.pointed(view)["asset"].implode()))
    title = say("Gaps in the data", "数据缺口")
    if found.is_empty():
        none = say("No device that has points has a gap in its planned time.",
                   "有采集点的设备在计划运行时间内没有数据缺口。")  # fmt: skip
        return Section(anchor="gaps", title=title, blocks=[Text(none)])
    return Section(anchor="gaps", title=title, blocks=[_by_device(view), _longest(view, found)], own_page=True)


def _longest(view: View, found: pl.DataFrame) -> Table:
    """Return the gaps that took the most planned time."""
    say, names = view.say, {asset.asset: asset.name for asset in view.plant.assets}
    longest = found.sort("planned_ns", "start", "asset", descending=[True, False, False]).head(MOST_GAPS)
    rows = [[str(no), asset, names.get(asset, ""), *(instant(view.plant, at, seconds=True) for at in (start, end)),
             _length(end - start), length(planned), _cause(view, cause)]
            for no, (asset, start, end, planned, cause) in enumerate(longest.iter_rows(), 1)]  # fmt: skip
    heads = [say("no.", "序号"), say("device", "设备编号"), say("name", "名称"), say("from", "起"), say("to", "止"),
             say("length", "时长"), say("of it planned", "其中计划时间"), say("cause", "原因")]  # fmt: skip
    note = say(
        f"{found.height:,} gaps of devices that have points; the {longest.height} that took the most planned time. "
        "Lengths in [h:min:s].",
        f"有采集点的设备共 {found.height:,} 条缺口，按所占计划时间由长到短列出 {longest.height} 条。"
        "时长单位 [时:分:秒]。",
    )
    if (rest := found.height - longest.height) > 0:
        note += say(f" {rest:,} more stand in gaps.csv.", f"其余 {rest:,} 条见 gaps.csv。")
    title = say("Longest gaps", "最长的缺口")
    return Table(title=title, heads=heads, rows=rows, numeric=frozenset({0, 3, 4, 5, 6}), small=True, note=note)


def _by_device(view: View) -> Table:
    """Return how many gaps each device has and how much planned time they took."""
    say = view.say
    summed = view.contents.traces.gaps.group_by("asset").agg(
        count=pl.len(), lost=pl.sum("planned_ns"), most=pl.max("planned_ns")
    )
    found = {row["asset"]: row for row in summed.iter_rows(named=True)}
    rows = []
    for row in board.pointed(view).iter_rows(named=True):
        of = found.get(row["asset"])
        if of is not None:
            rows.append(
                [
                    row["asset"],
                    row["name"],
                    f"{of['count']:,}",
                    length(of["most"]),
                    f"{in_hours(of['lost'])} / {in_hours(row['planned_ns'])}",
                    share(row["share"]),
                ]
            )
    heads = [
        say("device", "设备编号"),
        say("name", "名称"),
        say("gaps", "缺口数"),
        say("longest [h:min:s]", "最长 [时:分:秒]"),
        say("lost / planned [h]", "缺口 / 计划 [h]"),
        say("known share", "数据占比"),
    ]
    return Table(
        title=say("By device", "按设备"),
        heads=heads,
        rows=rows,
        numeric=frozenset({2, 3, 4, 5}),
        small=True,
        note=cells.networked(view),
    )


def _length(span: dt.timedelta) -> str:
    return length(span // dt.timedelta(microseconds=1) * 1000)


_CAUSES: Mapping[str, Said] = {
    "silent": Said("silent: no rows came", "无数据：没有收到任何记录"),
    "BadNoCommunication": Said("BadNoCommunication: the link was lost", "BadNoCommunication：通信中断"),
}


def _cause(view: View, cause: str) -> str:
    return view.of(_CAUSES[cause]) if cause in _CAUSES else cause

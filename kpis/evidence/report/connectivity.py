"""The device register with what counts, what is digital and what is networked."""

from collections.abc import Mapping
from typing import Any

from config.plant import Asset
from kpis.evidence.report import board, cells, gaps
from kpis.evidence.report.model import Cell, Mark, Section, Table, View
from kpis.evidence.report.numbers import DASH, instant, share
from kpis.evidence.report.numbers import hours as in_hours
from kpis.indicators.counting import last_day, uncounted
from kpis.indicators.said import NOTHING


def pages(view: View) -> Section:
    """Return the device list, the board of devices over days, and the gap list."""
    title = view.say("Devices and connectivity", "设备联网与数据缺口")
    return Section(
        anchor="connectivity",
        title=title,
        parts=[_devices(view), *board.sections(view), gaps.section(view)],
        own_page=True,
    )


def _devices(view: View) -> Section:
    say = view.say
    assets = {asset.asset: asset for asset in view.plant.assets}
    rows = [_device(view, assets[row["asset"]], row) for row in view.contents.now.devices.iter_rows(named=True)]
    heads = [
        say("device", "设备编号"),
        say("name", "名称"),
        say("kind; process", "类型；工序"),
        say("counts", "计入"),
        say("digital", "数字化"),
        say("control", "控制方式"),
        say("addr.", "可联网"),
        say("answered", "已连通"),
        say("networked", "已证实联网"),
        say("known / planned [h]", "已知 / 计划 [h]"),
        say("share", "占比"),
        say("first good", "首个有效数据"),
        say("last good", "最后有效数据"),
    ]
    title = say("Device register and networked devices", "设备台账与联网设备清单")
    table = Table(
        heads=heads,
        rows=rows,
        numeric=frozenset({9, 10, 11, 12}),
        wide=frozenset({0}),
        small=True,
        note=cells.networked(view),
    )
    return Section(anchor="devices", title=title, blocks=[table])


def _device(view: View, asset: Asset, row: Mapping[str, Any]) -> list[Cell]:
    why = uncounted(asset, last_day(view.plant, view.contents.now.end))
    counts = Mark(view.say("yes", "是"), "yes") if why == NOTHING else Mark(view.of(why), "off")
    of = "; ".join(each for each in (asset.kind, asset.process) if each)
    states = [_yes(view, row[name]) for name in ("connectable", "connected", "evidenced")]
    control = DASH if asset.control == "none" else asset.control.upper()
    return [asset.asset, asset.name, of, counts, _yes(view, asset.digital), control, *states,
            f"{in_hours(row['evidenced_ns'])} / {in_hours(row['planned_ns'])}", share(row["share"]),
            *(instant(view.plant, row[name]).replace(" ", "\n") for name in ("first_good", "last_good"))]  # fmt: skip


def _yes(view: View, is_so: bool) -> Mark:
    return Mark(view.say("yes", "是"), "yes") if is_so else Mark(view.say("no", "否"), "no")

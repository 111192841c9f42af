"""The connectivity board: in how much of its planned time each device was known, day by day."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from config.plant import Asset
from kpis.calendar import WORK, day_starts, spans
from kpis.evidence.report import cells
from kpis.evidence.report.charts import grids
from kpis.evidence.report.model import Drawing, Section, View
from kpis.indicators.counting import out_of_use
from kpis.indicators.said import NOTHING

_MOST_DAYS = 62

_MOST_DEVICES = 40

Ints = NDArray[np.int64]


def sections(view: View) -> list[Section]:
    """Return the share of planned time in which each device was known, by day, or by week of a long period."""
    now, say = view.contents.now, view.say
    start = now.start if now.devices_start is None else now.devices_start
    days = day_starts(view.plant, start, now.end)
    weeks = len(days) > _MOST_DAYS
    borders = [(ns, date) for n, (ns, date) in enumerate(days) if not weeks or n == 0 or date.weekday() == 0]
    edges = np.array([max(ns, start) for ns, _ in borders] + [now.end], np.int64)
    columns, listed = [f"{date:%Y-%m-%d}" for _, date in borders], _worst(view)
    rows = [(column, asset.asset, value) for asset in listed
            for column, value in zip(columns, shares(view, asset, edges), strict=True)]  # fmt: skip
    if all(value is None for _, _, value in rows):
        return []
    what = say("weeks", "周") if weeks else say("production days", "生产日")
    title = say(f"Connectivity board: devices × {what}", f"联网看板：设备 × {what}")
    alt = say(
        "Share of planned time with known data, device by device; shares of the whole period stand in the device list",
        "各设备各时段的数据占比，全期占比见设备清单",
    )
    legend, every = say("share of planned time that is known", "计划时间内数据占比"), max(1, len(columns) // 16)
    lines = [asset.asset for asset in listed]
    drawing = Drawing(alt=alt, note=_note(view, len(listed), weeks=weeks),
                      spec=lambda: grids.field(rows, columns, lines, every, legend))  # fmt: skip
    return [Section(anchor="board", title=title, blocks=[drawing])]


def _note(view: View, listed: int, *, weeks: bool) -> str:
    say = view.say
    note = cells.networked(view) + say(" Empty cell: nothing planned.", "空白格：无计划运行时间。")
    note += say(" Each column is a week, named by its first day.", "每列为一周，以首日标示。") if weeks else ""
    if listed == pointed(view).height:
        return note
    return note + say(
        f" The {listed} devices with the least known time that have points.",
        f"只列出有采集点的设备中数据占比最低的 {listed} 台。",
    )


def _worst(view: View) -> list[Asset]:
    """Return the devices that have points, in the register's order; of many those that are known the least."""
    worst = set(pointed(view).sort("share", "asset", nulls_last=True)["asset"].head(_MOST_DEVICES))
    return [asset for asset in view.plant.assets if asset.asset in worst]


def pointed(view: View) -> pl.DataFrame:
    """Return the rows of the device list that have points."""
    return view.contents.now.devices.filter(pl.col("asset").is_in({point.asset for point in view.plant.points}))


def shares(view: View, asset: Asset, edges: Ints) -> list[float | None]:
    """Return the share of planned time that is known between neighbouring edges; None where nothing is planned."""
    before = _planned_before(view, asset, int(edges[0]), int(edges[-1]))
    planned = np.diff(before(edges))
    mine = view.contents.traces.gaps.filter(pl.col("asset") == asset.asset)
    begin, end = (mine[name].to_physical().to_numpy() for name in ("start", "end"))
    left, right = edges[:-1, None], edges[1:, None]
    lost = before(np.clip(end[None, :], left, right)) - before(np.clip(begin[None, :], left, right))
    known = planned - lost.sum(axis=1)
    return [int(a) / int(b) if b else None for a, b in zip(known, planned, strict=True)]


def _planned_before(view: View, asset: Asset, start: int, end: int) -> Any:
    """Return the function from instants to planned time before them [ns], of the days of an asset's use."""
    found = spans(view.plant, asset.asset, start, end)
    used = np.array([out_of_use(asset, shift.date) == NOTHING for shift in found.shifts] or [False], np.bool_)
    work = (found.kind == WORK) & (found.shift >= 0) & used[found.shift]
    begin, finish = found.edges[:-1][work], found.edges[1:][work]
    summed = np.concatenate([[0], np.cumsum(finish - begin)])

    def before(at: Ints) -> Ints:
        place = np.searchsorted(begin, at, "right")
        last = np.maximum(place - 1, 0)
        inside = np.where(
            place > 0, np.minimum(at, finish[last] if len(finish) else 0) - (begin[last] if len(begin) else 0), 0
        )
        result: Ints = np.where(place > 0, summed[last] + inside, 0)
        return result

    return before

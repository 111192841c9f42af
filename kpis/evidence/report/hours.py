"""Time of day: the states of the extract's time, and availability by hour of the day over days or weeks."""

from collections.abc import Sequence
from fractions import Fraction

import polars as pl

from config.schema import DURATIONS
from kpis.calendar import hour_starts
from kpis.evidence.report import terms
from kpis.evidence.report.charts import grids
from kpis.evidence.report.model import Drawing, Section, Table, Text, View
from kpis.evidence.report.numbers import DASH, instant, length, share
from kpis.evidence.report.numbers import hours as in_hours
from kpis.evidence.report.trend import MOST_ROWS
from kpis.indicators.view import told_period

MOST_DAYS = 62
"""Of a longer period weeks are shown in place of days."""

_MOST_SPANS = 3000

_BIN = 15 * 60 * 10**9

_BUSY = ("production", "setup", "delay", "idle")


def sections(view: View) -> list[Section]:
    """Return the state timeline and the field of hours over days, as far as there is something to show."""
    found = [_timeline(view)] if view.contents.traces.timeline.height else []
    return [*found, *_heat(view)]


def _timeline(view: View) -> Section:
    say, traces = view.say, view.contents.traces
    sums = _sums_of(traces.timeline)
    there = _elements_in(sums)
    ns = {(asset, element): value for asset, element, value in sums.iter_rows()}
    assets = [asset.asset for asset in view.plant.assets if asset.asset in set(sums["asset"])]
    rows = [[asset, *(in_hours(ns.get((asset, element), 0)) for element in there)] for asset in assets]
    heads = [say("asset", "设备"), *(view.of(terms.ELEMENTS[element]) for element in there)]
    shown, coarse = _shown(traces.timeline, traces.extract_period[0])
    note = (
        say("Time of the extract: ", "采样时段：")
        + told_period(view.plant, traces.extract_period, view.lang)
        + "。" * (view.lang == "zh")
    )
    note += say(f"; {traces.timeline.height:,} spans.", f"共 {traces.timeline.height:,} 段。")
    if coarse:
        told = length(_bin_of(traces.timeline))
        note += say(
            f" The chart shows for each {told} the state that took most of it.", f"图中每 {told} 显示占时最长的状态。"
        )
    start = traces.extract_period[0]
    data = [(asset, (a - start) / 1e9, (b - start) / 1e9, element) for asset, a, b, element in shown]
    names = {element: view.of(said) for element, said in terms.ELEMENTS.items()}
    title = say("State timeline of the extract's time", "采样时段设备状态时间线")
    alt = say(
        "States of each asset over time; the hours of each state stand in the table below",
        "各设备状态随时间变化，各状态小时数见下表",
    )
    ticks = _ticks(view)
    axis = say(f"time of day ({view.plant.timezone})", f"时刻（{view.plant.timezone}）")
    drawing = Drawing(alt=alt, note=note, spec=lambda: grids.timeline(data, names, ticks, assets, axis))
    table = Table(
        heads=heads,
        rows=rows,
        numeric=frozenset(range(1, len(heads))),
        small=True,
        note=say("Hours [h] of each state; 0.00 is known to be none.", "各状态小时数 [h]；0.00 表示确知没有。"),
    )
    return Section(anchor="timeline", title=title, blocks=[drawing, table])


def _bin_of(timeline: pl.DataFrame) -> int:
    """Return the length that a long timeline is shown in [ns]."""
    span = int((timeline["end"].max() - timeline["start"].min()).total_seconds()) * 10**9  # type: ignore[operator,union-attr]
    return max(_BIN, span * timeline["asset"].n_unique() // _MOST_SPANS // _BIN * _BIN)


def _shown(timeline: pl.DataFrame, start: int) -> tuple[list[tuple[str, int, int, str]], bool]:
    """Return asset, begin, end [ns since 1970, UTC] and element of what is drawn, and whether that is less than all."""
    ends = timeline.select("asset", pl.col("start", "end").to_physical(), "element")
    if timeline.height <= _MOST_SPANS:
        return list(ends.iter_rows()), False
    width = _bin_of(timeline)
    first, last = (pl.col("start") - start) // width, (pl.col("end") - 1 - start) // width
    bins = ends.with_columns(bin=pl.int_ranges(first, last + 1)).explode("bin")
    begin = start + pl.col("bin") * width
    inside = pl.min_horizontal("end", begin + width) - pl.max_horizontal("start", begin)
    most = (
        bins.with_columns(ns=inside)
        .group_by("asset", "bin", "element", maintain_order=True)
        .agg(pl.sum("ns"), end=pl.max("end"))
    )
    kept = most.sort("asset", "bin", "ns", "element", descending=[False, False, True, False]).unique(
        ["asset", "bin"], keep="first", maintain_order=True
    )
    joined = kept.with_columns(run=pl.struct("asset", "element").rle_id()).group_by("run", maintain_order=True).agg(
        pl.first("asset"), start=start + pl.min("bin") * width,
        end=pl.min_horizontal(start + (pl.max("bin") + 1) * width, int(ends["end"].max())), element=pl.first("element"),  # type: ignore[arg-type]
    )  # fmt: skip
    return list(joined.select("asset", "start", "end", "element").iter_rows()), True


def _ticks(view: View) -> list[tuple[float, str]]:
    """Return whole hours [s since the extract's start] by the plant's clock; days, of a longer time.

    The start is among them, unless the first hour's words would lie upon its own.
    """
    start, end = view.contents.traces.extract_period
    marks = [int(ns) for ns in hour_starts(view.plant, start, end)]
    if len(marks) > 1 and marks[1] - start < (end - start) // 20:
        del marks[0]
    long = end - start > 30 * 3600 * 10**9
    every = -(-len(marks) // (7 * 24)) * 24 if long else max(1, -(-len(marks) // 13))
    return [((ns - start) / 1e9, instant(view.plant, ns)[5 if long else 11 :]) for ns in marks[::every]]


def _heat(view: View) -> list[Section]:
    """Return availability of the plant by hour of the day over days, or weeks of a long period."""
    facts = _known(view)
    if facts.is_empty():
        return []
    cells, by_hour = _sums(view, facts)
    if cells["busy"].sum() == 0:
        return []
    say = view.say
    weeks = _weeks(view)
    columns = cells["column"].unique().sort().to_list()
    first = view.plant.day_start.hour
    lines = [f"{(first + hour) % 24:02}:00" for hour in range(24)]
    rows = [
        (column, f"{hour:02}:00", made / busy if busy else None) for column, hour, made, busy, _ in cells.iter_rows()
    ]
    title = say("Availability by hour of the day and ", "可用率热力图：时刻 × ") + (
        say("week", "周") if weeks else say("production day", "生产日")
    )
    span = told_period(view.plant, view.contents.asked.period, view.lang)
    note = say(
        f"APT / known PBT of the plant's assets together; {span}. Empty cell: nothing planned, or nothing known."
        + (" Each column is a week, named by its Monday." if weeks else ""),
        f"全部设备合计的生产时间 / 计划工作时间（状态已知部分）；{span}。空白格：无计划时间或无已知数据。"
        + ("每列为一周，以周一日期标示。" if weeks else ""),
    )
    legend = say("availability", "可用率")
    alt = say(
        "Availability by hour of the day; the hours of the whole period stand in the table below",
        "各时刻可用率，全期各时刻数值见下表",
    )
    every = max(1, len(columns) // 16)
    drawing = Drawing(alt=alt, note=note, spec=lambda: grids.field(rows, columns, lines, every, legend))
    return [Section(anchor="heat", title=title, blocks=[drawing, _of_hours(view, by_hour)])]


def _known(view: View) -> pl.DataFrame:
    """Return the facts of the assets that the plant's availability is of: a device without a state has none."""
    kpis = view.contents.kpis.filter((pl.col("kpi") == "availability") & pl.col("value").is_not_null())
    return view.contents.now.facts.filter(pl.col("asset").is_in(kpis["subject"].to_list()))


def _weeks(view: View) -> bool:
    first, last = view.contents.now.days
    return (last - first).days >= MOST_DAYS


def _sums(view: View, facts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return production, known busy and planned operation time [ns] by column and hour, and by hour of the day."""
    local = pl.col("hour").dt.convert_time_zone(view.plant.timezone)
    date = pl.col("date").clip(*view.contents.now.days)
    day = date.dt.truncate("1w") if _weeks(view) else date
    ns = {name: pl.col(name).dt.total_nanoseconds() for name in (*_BUSY, "unknown", "planned")}
    summed = facts.with_columns(**ns, column=day.dt.strftime("%Y-%m-%d"), clock=local.dt.hour())
    busy = pl.sum_horizontal(*_BUSY)
    sums = {
        "made": pl.col("production").sum(),
        "busy": busy.sum(),
        "whole": (busy + pl.col("unknown") + pl.col("planned")).sum(),
    }
    cells = summed.group_by("column", "clock", maintain_order=True).agg(**sums).sort("column", "clock")
    return cells, summed.group_by("clock").agg(**sums, unknown=pl.col("unknown").sum()).sort("clock")


def _of_hours(view: View, by_hour: pl.DataFrame) -> Table | Text:
    say = view.say
    rows: list[Sequence[str]] = []
    first = view.plant.day_start.hour
    for clock, made, busy, whole, unknown in sorted(by_hour.iter_rows(), key=lambda of: (of[0] - first) % 24):
        known = share(Fraction(whole - unknown, whole)) if whole else DASH
        value = share(Fraction(made, busy)) if busy else DASH
        rows.append([f"{clock:02}:00–{clock + 1:02}:00", value, f"{in_hours(made)} / {in_hours(busy)}", known])
    heads = [
        say("hour of the day", "时刻"),
        say("availability", "可用率"),
        say("APT / PBT [h]", "生产时间 / 计划工作时间 [h]"),
        say("coverage", "数据覆盖"),
    ]
    return Table(heads=heads, rows=rows, numeric=frozenset({1, 2, 3}), small=True, folded=len(rows) > MOST_ROWS,
                 note=say("rule: ", "规则：") + "availability@1")  # fmt: skip


def _sums_of(timeline: pl.DataFrame) -> pl.DataFrame:
    """Return a timeline's time by asset and element [ns]."""
    length = (pl.col("end") - pl.col("start")).dt.total_nanoseconds().alias("ns")
    return timeline.with_columns(length).group_by("asset", "element", maintain_order=True).agg(pl.sum("ns"))


def _elements_in(found: pl.DataFrame) -> list[str]:
    """Return the elements that there are, in their order."""
    there = set(found["element"])
    return [element for element in DURATIONS if element in there]

"""Where the planned time went: the waterfall, the Pareto of losses, and each asset's time."""

from collections.abc import Mapping, Sequence

from kpis.catalogue.losses import KPIS as LOSSES
from kpis.evidence.report import cells
from kpis.evidence.report.charts import bars
from kpis.evidence.report.charts.bars import Part
from kpis.evidence.report.model import Block, Drawing, Section, Table, View
from kpis.evidence.report.numbers import DASH, amount, share

_OUTSIDE = ("loss_unscheduled", "loss_break")
_WHOLE = "fully_productive_time"
_NO_LOSS = ("loss_planned", "loss_unknown", _WHOLE, *_OUTSIDE)
_MOST_BARS = 30

Hours = Mapping[str, float]
"""Hours of each part of calendar time by the id of its KPI."""


def sections(view: View) -> list[Section]:
    """Return the waterfall and the Pareto of the plant, and the time of each asset; nothing where a part is missing."""
    mine = _hours(view, view.plant.id)
    return [] if mine is None else [_waterfall(view, mine), _pareto(view, mine), _each_asset(view)]


def _hours(view: View, subject: str) -> Hours | None:
    rows = cells.rows_of(view, subject)
    if any(kpi.id not in rows or rows[kpi.id]["value"] is None for kpi in LOSSES):
        return None
    return {kpi.id: float(rows[kpi.id]["value"]) for kpi in LOSSES}


def _name(view: View, name: str) -> str:
    kpi = next(kpi for kpi in LOSSES if kpi.id == name)
    return view.say(kpi.title, kpi.title_zh)


def _part_of(hours: float, whole: float) -> str:
    return share(hours / whole) if whole else DASH


def _planned(mine: Hours) -> float:
    """Return planned operation time [h]."""
    return sum(hours for name, hours in mine.items() if name not in _OUTSIDE)


def _waterfall(view: View, mine: Hours) -> Section:
    say = view.say
    inside = [name for name in mine if name not in (*_OUTSIDE, _WHOLE)]
    parts = [Part("", say("Planned operation time", "计划运行时间"), _planned(mine), loss=False),
             *(Part(name, _name(view, name), mine[name]) for name in inside),
             Part(_WHOLE, _name(view, _WHOLE), mine[_WHOLE], loss=False)]  # fmt: skip
    title = say("OEE waterfall: where the planned time went", "OEE 损失瀑布图：计划时间的去向")
    alt = say(
        "Waterfall from planned operation time over the losses to fully productive time; numbers in the table below",
        "由计划运行时间逐项扣除损失至有效产出时间的瀑布图，数值见下表",
    )
    axis = say("machine hours [h]", "台时 [h]")
    drawing = Drawing(alt=alt, spec=lambda: bars.waterfall(parts, axis))
    return Section(anchor="waterfall", title=title, blocks=[drawing, _parts(view, mine)])


def _parts(view: View, mine: Hours) -> Table:
    """Return the twelve parts of calendar time with their bounds."""
    say, rows = view.say, cells.rows_of(view, view.plant.id)
    calendar, planned = sum(mine.values()), _planned(mine)
    listed = [[say("Calendar time", "日历时间"), amount(calendar, 2), DASH, _part_of(calendar, calendar), DASH]]
    for name, hours in mine.items():
        of_planned = DASH if name in _OUTSIDE else _part_of(hours, planned)
        low, high = rows[name]["low"], rows[name]["high"]
        bounds = DASH if low == high else f"{amount(low, 2)} … {amount(high, 2)}"
        listed.append([_name(view, name), amount(hours, 2), bounds, _part_of(hours, calendar), of_planned])
    level = [f"= {say('Planned operation time', '计划运行时间')}", amount(planned, 2), DASH,
             _part_of(planned, calendar), _part_of(planned, planned)]  # fmt: skip
    listed.insert(1 + len(_OUTSIDE), level)
    heads = [say("part", "组成"), say("hours [h]", "时间 [h]"), say("low … high [h]", "下限 … 上限 [h]"),
             say("of calendar time", "占日历时间"), say("of planned operation time", "占计划运行时间")]  # fmt: skip
    return Table(heads=heads, rows=listed, numeric=frozenset({1, 2, 3, 4}), note=_note(view), small=True)


def _note(view: View) -> str:
    say, oee = view.say, cells.rows_of(view, view.plant.id).get("oee")
    told = cells.period(view) + say(
        " Machine hours of all assets that count pieces and have an ideal cycle.",
        "统计范围：具有产量计数与理论节拍的全部设备，单位为台时。",
    )
    if oee is None:
        return told
    covered = f"{say('coverage', '数据覆盖')} {share(oee['coverage'])}"
    return f"{told} OEE = {cells.counts_of(oee)} = {share(oee['value'])} ({oee['rule']}, {covered})"


def _pareto(view: View, mine: Hours) -> Section:
    say = view.say
    lost = sorted(
        ((hours, name) for name, hours in mine.items() if name not in _NO_LOSS), key=lambda of: (-of[0], of[1])
    )
    whole, summed, rows = sum(hours for hours, _ in lost if hours > 0), 0.0, []
    for hours, name in lost:
        summed += max(hours, 0.0)
        rows.append([_name(view, name), amount(hours, 2), _part_of(hours, whole) if hours >= 0 else DASH,
                     _part_of(summed, whole)])  # fmt: skip
    heads = [
        say("loss", "损失"),
        say("hours [h]", "时间 [h]"),
        say("of all losses", "占全部损失"),
        say("summed", "累计"),
    ]
    note = cells.period(view) + say(
        " Losses below 0 (a machine beats its ideal cycle) are listed and not summed; planned down time and unknown "
        "time are no losses here.",
        "小于 0 的损失（实际快于理论节拍）只列示、不累计；计划停机与未知时间不计入损失。",
    )
    parts = [Part(name, _name(view, name), hours) for hours, name in lost if hours > 0]
    axes = (say("machine hours [h]", "台时 [h]"), say("summed share", "累计占比"))
    alt = say("Losses in machine hours, the greatest first, with their summed share; numbers in the table below",
              "各项损失台时由大到小排列及累计占比，数值见下表")  # fmt: skip
    drawing = [Drawing(alt=alt, spec=lambda: bars.pareto(parts, *axes))] if whole else []
    table = Table(heads=heads, rows=rows, numeric=frozenset({1, 2, 3}), note=note, small=True)
    title = say("Pareto of losses", "损失帕累托图")
    return Section(anchor="pareto", title=title, blocks=[*drawing, table])


def _each_asset(view: View) -> Section:
    """Return each asset's planned operation time, shared out."""
    say = view.say
    of_all = {asset.asset: _hours(view, asset.asset) for asset in view.plant.assets}
    found = {asset: hours for asset, hours in of_all.items() if hours is not None}
    inside = [kpi.id for kpi in LOSSES if kpi.id not in _OUTSIDE]
    rows = [[asset, amount(_planned(hours), 1), *(amount(hours[name], 1) for name in inside)]
            for asset, hours in found.items()]  # fmt: skip
    heads = [say("asset", "设备"), say("planned [h]", "计划 [h]"), *(_name(view, name) for name in inside)]
    least = sorted(found, key=lambda asset: found[asset][_WHOLE] / (_planned(found[asset]) or 1))[:_MOST_BARS]
    shares = _shares(view, {asset: found[asset] for asset in found if asset in least})
    note = cells.period(view)
    if len(found) > _MOST_BARS:
        note += say(f" The chart shows the {_MOST_BARS} of {len(found)} assets with the least productive time.",
                    f"图中只列出 {len(found)} 台设备中有效产出占比最低的 {_MOST_BARS} 台。")  # fmt: skip
    alt = say("Share of each part in each asset's planned operation time; hours in the table below",
              "各设备计划运行时间的构成占比，小时数见下表")  # fmt: skip
    axis = say("share of planned operation time (parts below 0 left out)", "占计划运行时间（小于 0 的部分不画）")
    blocks: list[Block] = [Drawing(alt=alt, spec=lambda: bars.stacked(shares, axis))] if shares else []
    blocks.append(Table(heads=heads, rows=rows, numeric=frozenset(range(1, len(heads))), wide=frozenset({0}), note=note,
                        small=True))  # fmt: skip
    title = say("Planned time of each asset [h]", "各设备计划时间的构成 [h]")
    return Section(anchor="assets", title=title, blocks=blocks)


def _shares(view: View, found: Mapping[str, Hours]) -> Sequence[tuple[str, str, str, float]]:
    """Return asset, part, its name and its share of all parts above 0, which alone can be drawn."""
    listed = []
    for asset, hours in found.items():
        drawn = {name: of for name, of in hours.items() if name not in _OUTSIDE and of > 0}
        listed += [(asset, name, _name(view, name), of / sum(drawn.values())) for name, of in drawn.items()]
    return listed

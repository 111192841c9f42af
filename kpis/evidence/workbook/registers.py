"""Sheets of what the figures stand on: registers, point table, gaps, and what people declared."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import polars as pl

from config.plant import Point
from config.tables import heads_of
from config.units import NS_PER_SECOND
from kpis.evidence import tables
from kpis.evidence.contents import Contents
from kpis.indicators.base import Figure, Member
from kpis.indicators.control import loops_of
from kpis.indicators.counting import in_use, last_day, uncounted
from kpis.indicators.declared import name_zh
from kpis.indicators.processes import CONTROLS, key_processes, kind_of
from kpis.spreadsheets.sheet import Cell, Sheet, share_of

_HOUR_NS = 3600 * NS_PER_SECOND
_KINDS = {"discrete": "离散型", "process": "流程型"}
_DEVICES = (
    "设备编号", "设备名称", "设备类型", "工序", "计入", "不计入原因", "可联网", "已连通", "已证实联网",
    "计划时间内数据占比", "计划时间（小时）", "有数据时间（小时）", "首个有效数据", "最后有效数据", "有效点位角色",
    "控制方式", "数字化", "关键设备", "审批人", "审批日期",
)  # fmt: skip
_PROCESSES = (
    "工序", "工序名称", "工序类型", "工序计入", "已数控化", "原因", "设备编号", "设备名称", "关键设备", "控制方式",
    "属数控（过程控制）", "设备计入", "设备不计入原因",
)  # fmt: skip
_LOOPS = (
    "回路编号", "回路名称", "所属设备", "所属工序", "计入", "曾投用", "投用时间（小时）", "状态已知时间（小时）",
    "投用率", "原因", "审批人", "审批日期",
)  # fmt: skip
_GAPS = ("设备编号", "设备名称", "起", "止", "时长（小时）", "其中计划时间（小时）", "原因")
_SHA256 = "附件校验值（SHA-256）"
_DECLARED = (
    "期间", "指标编号", "指标名称", "数值", "单位", "填报人", "填报日期", "附件", _SHA256, "折标系数", "来源", "备注",
)  # fmt: skip
_ANSWERS = ("评分细则", "题号", "填报答案", "自评得分", "填报人", "填报日期", "附件", _SHA256, "备注")
_POINT_HEADS = {
    "store": "存储方式", "deadband": "死区", "heartbeat": "心跳（秒）", "hold_ns": "保持上限（秒）",
    "modulus": "计数模数", "max_rate": "最大速率", "period": "周期（秒）",
}  # fmt: skip
_POINT = (
    "point", "asset", "role", "source", "address", "type", "unit", "scale", "scale_register", "offset", "no_value",
    "minimum", "maximum", "mode", "store", "deadband", "period", "heartbeat", "hold_ns", "modulus", "max_rate",
    "states", "note",
)  # fmt: skip
_DURATIONS = ("period", "heartbeat", "hold_ns")
_SILENT = {"silent": "无数据（silent）"}


def sheets(contents: Contents) -> Iterator[Sheet]:
    """Yield device list, key processes, control loops, point table, gaps and declared values."""
    yield _devices(contents)
    yield _processes(contents)
    if loops_of(contents.plant):
        yield _loops(contents)
    yield _points(contents)
    yield _gaps(contents)
    yield _declared(contents)
    if contents.plant.answers:
        yield _answers(contents)


def _devices(contents: Contents) -> Sheet:
    plant = contents.plant
    found = {row["asset"]: row for row in tables.device_rows(contents)}
    rows: list[Sequence[Cell]] = []
    for asset in plant.assets:
        row = found[asset.asset]
        rows.append(
            (asset.asset, asset.name, asset.kind, asset.process, row["counted"], row["excluded"], row["connectable"],
             row["connected"], row["evidenced"], share_of(row["share"]), _hours(row["planned_ns"]),
             _hours(row["evidenced_ns"]), row["first_good"], row["last_good"], " ".join(row["roles"]), asset.control,
             asset.digital, asset.key_equipment, asset.approved_by, asset.approved_at)
        )  # fmt: skip
    rule = f"计划时间内有效数据占比达到 {plant.networking.evidenced_share:.0%} 及以上为“已证实联网”"
    return Sheet(
        name="设备清单", heads=_DEVICES, rows=rows, note=f"{rule}（工厂规则）；同 devices.csv。", whole="devices.csv"
    )


def _processes(contents: Contents) -> Sheet:
    plant, members = contents.plant, _members(contents, "key_process_nc_rate")
    day = last_day(plant, contents.now.end)
    rows: list[Sequence[Cell]] = []
    for process in key_processes(plant):
        kind, member = kind_of(plant, process.process), members.get(process.process)
        told = (process.process, process.name, _KINDS[kind], *_judged(member))
        equipment = [asset for asset in plant.assets if asset.process == process.process]
        rows += [
            (*told, asset.asset, asset.name, asset.key_equipment, asset.control, asset.control in CONTROLS[kind],
             not (why := uncounted(asset, day).zh), why)
            for asset in equipment
        ] or [(*told, *[None] * 7)]  # fmt: skip
    every = {"all": "其全部关键设备（未标关键设备的，为全部设备）数控化", "any": "其任一设备数控化"}[plant.nc_rule]
    note = f"每道关键工序的每台设备一行。工序数控化规则：{every}（nc_rule={plant.nc_rule}）。"
    return Sheet(name="关键工序", heads=_PROCESSES, rows=rows, note=note, whole="config/")


def _judged(member: Member | None) -> tuple[Cell, Cell, Cell]:
    return (None, None, None) if member is None else (member.counted, member.met, member.reason.zh)


def _members(contents: Contents, indicator: str) -> dict[str, Member]:
    """Return the members of an indicator of the whole plant by their ids."""
    of: Figure | None = contents.case.figures.get(indicator)
    return {} if of is None else {member.id: member for member in of.amount.members}


def _loops(contents: Contents) -> Sheet:
    members = _members(contents, "apc_rate")
    ns = [pl.col(name).dt.total_nanoseconds().sum() for name in ("apc_on", "apc_known")]
    sums = in_use(contents.plant, contents.now.facts).group_by("asset").agg(ns)
    times = {asset: (on, known) for asset, on, known in sums.iter_rows()}
    rows: list[Sequence[Cell]] = []
    for loop in loops_of(contents.plant):
        on, known = times.get(loop.asset, (0, 0))
        member = members.get(loop.loop)
        counted, met, why = _judged(member)
        rate = share_of(Fraction(on, known)) if known else None
        rows.append((loop.loop, loop.name, loop.asset, loop.process, counted, met, _hours(on), _hours(known), rate, why,
                     loop.approved_by, loop.approved_at))  # fmt: skip
    return Sheet(name="控制回路", heads=_LOOPS, rows=rows, whole="config/",
                 note="时间为计划运行时间内的投用时间与投用状态已知时间。")  # fmt: skip


def _points(contents: Contents) -> Sheet:
    chinese = {column: head for head, column in reversed([*heads_of("points").items()])} | _POINT_HEADS
    cells = [[_point_cell(point, name) for name in _POINT] for point in contents.plant.points]
    told = [n for n, _ in enumerate(_POINT) if any(row[n] not in (None, "") for row in cells)]
    note = f"配置的采集点，寄存器表已展开，共 {len(cells)} 点；全部未填的列略去，原表见 config/。"
    heads, rows = [chinese[_POINT[n]] for n in told], [[row[n] for n in told] for row in cells]
    return Sheet(name="采集点表", heads=heads, rows=rows, note=note, whole="config/")


def _point_cell(point: Point, name: str) -> Cell:
    value: Cell = getattr(point, name)
    return Fraction(value, NS_PER_SECOND) if name in _DURATIONS and isinstance(value, int) else value


def _gaps(contents: Contents) -> Sheet:
    names = {asset.asset: asset.name for asset in contents.plant.assets}
    rows = [
        (row["asset"], names[row["asset"]], row["start"], row["end"], _hours(row["duration_ns"]),
         _hours(row["planned_ns"]), _SILENT.get(row["cause"], row["cause"]))
        for row in tables.gap_table(contents).iter_rows(named=True)
    ]  # fmt: skip
    note = "设备的全部点位均无有效数据的时段；原因为该时段采样的状态码，没有任何采样的为 silent。同 gaps.csv。"
    return Sheet(name="数据缺口", heads=_GAPS, rows=rows, note=note, whole="gaps.csv")


def _declared(contents: Contents) -> Sheet:
    rows = [
        (row.period, row.measure, name_zh(row.measure), row.value, row.unit, row.declared_by, row.declared_at,
         row.attachment, row.attachment_sha256, row.factors, row.source or "business.csv", row.note)
        for some in contents.now.declared.rows.values()
        for row in some
    ]  # fmt: skip
    note = "由人员或业务系统填报、未经采集证实的数据；附件校验值为附件文件的 SHA-256。同 declared.json。"
    return Sheet(name="填报数据", heads=_DECLARED, rows=rows, note=note, whole="declared.json")


def _answers(contents: Contents) -> Sheet:
    rows = [
        (row.rubric, row.item, row.answer, row.score, row.declared_by, row.declared_at, row.attachment,
         row.attachment_sha256, row.note)
        for row in contents.plant.answers
    ]  # fmt: skip
    note = "由人员填报的评测答案（answers.csv）；数据能够评定的，以数据为准。"
    return Sheet(name="填报答案", heads=_ANSWERS, rows=rows, note=note, whole="config/")


def _hours(ns: int) -> Fraction:
    return Fraction(ns, _HOUR_NS)

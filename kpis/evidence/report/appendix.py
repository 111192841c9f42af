"""What stands behind it all: rules, point table, how to check the package, and the signatures."""

from collections.abc import Sequence

import polars as pl

from config.factors import coal_factors, grid_factor
from config.plant import Calendar
from config.units import NS_PER_SECOND
from kpis.evidence.layout import BEFORE, FILES, MANIFEST
from kpis.evidence.report import about, terms
from kpis.evidence.report.model import Block, Cell, Facts, Section, Signatures, Steps, Table, Text, View
from kpis.evidence.report.numbers import DASH, amount, share
from kpis.explain.words import RULES
from kpis.indicators.view import told_period

MOST_POINTS = 300
SAMPLES = "data/samples.parquet"
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def appendix(view: View) -> Section:
    """Return rules, points, and how to check."""
    parts = [_rules(view), _points(view), _check(view), _signatures(view)]
    return Section(anchor="appendix", title=view.say("Appendix", "附录"), parts=parts, own_page=True)


def _rules(view: View) -> Section:
    say = view.say
    told = about.RULES_ZH if view.lang == "zh" else RULES
    title = say("Rules of facts and KPIs (docs/kpi-rules.md)", "事实数据与 KPI 的计算规则（docs/kpi-rules.md）")
    rules = Steps([f"{number}. {text}" for number, text in told.items()], title, "plain")
    blocks = [Facts(_settings(view)), *_state_maps(view), *_calendars(view), rules]
    return Section(anchor="rules", title=say("Rules of the plant", "企业适用规则"), blocks=blocks)


def _settings(view: View) -> list[tuple[str, Cell]]:
    """Return what plant.toml decides, by its key."""
    plant, say = view.plant, view.say
    coal, (grid, factor) = coal_factors(plant.coal_factors), grid_factor(plant.co2_factors)
    each = f"{amount(factor.per_canonical('kWh'), 6)} kgCO2/kWh"
    uncertain = say(f"a sample of uncertain status is {plant.uncertain}", f"状态不确定的数据按 {plant.uncertain} 处理")
    told = (
        ("networking.evidenced_share", "联网判定占比", share(plant.networking.evidenced_share)),
        ("nc_rule", "数控化判定", plant.nc_rule),
        ("utilization", "综合利用率分母", plant.utilization),
        ("uncertain", "不确定数据", uncertain),
        ("micro_stop", "小停机", f"< {amount(plant.micro_stop / NS_PER_SECOND)} s"),
        ("startup", "启动期", f"{amount(plant.startup / NS_PER_SECOND)} s"),
        ("demand_interval", "需量周期", f"{amount(plant.demand_interval / NS_PER_SECOND)} s"),
        ("coal_factors", "折标系数", f"{coal.cited}: {coal.source}"),
        ("co2_factors", "电网排放因子", f"{plant.co2_factors} ({grid.year}), {each}: {grid.source}"),
    )
    return [(say(key, f"{zh} {key}"), value) for key, zh, value in told]


def _state_maps(view: View) -> list[Block]:
    """Return the state maps that points use."""
    say, used = view.say, {point.states for point in view.plant.points if point.role == "state"}
    rows = [[name, raw, view.of(terms.ELEMENTS[element])] for name, of in view.plant.states.items() if name in used
            for raw, element in of.items()]  # fmt: skip
    heads = [say("state map", "状态映射表"), say("raw value", "原始值"), say("time element", "时间要素")]
    return [Table(title=say("State maps", "状态映射"), heads=heads, rows=rows, small=True)] if rows else []


def _calendars(view: View) -> list[Block]:
    say = view.say
    rows = [[" ".join(of.assets), _weekdays(view, of.weekdays), shift.name, f"{shift.start:%H:%M}–{shift.end:%H:%M}",
             view.joined([f"{each.start:%H:%M}–{each.end:%H:%M}" for each in shift.breaks]) or DASH,
             _exceptions(view, of)]
            for of in view.plant.calendars for shift in of.shifts]  # fmt: skip
    heads = [
        say("assets", "设备"),
        say("weekdays", "工作日"),
        say("shift", "班次"),
        say("time", "时间"),
        say("breaks", "休息"),
        say("holidays, exceptions", "节假日、例外"),
    ]
    return [Table(title=say("Shifts", "班次日历"), heads=heads, rows=rows, small=True)] if rows else []


def _weekdays(view: View, days: Sequence[str]) -> str:
    zh = dict(zip(_WEEKDAYS, "一二三四五六日", strict=True))
    return view.say(" ".join(days), "、".join(f"周{zh[day]}" for day in days)) or view.say("every day", "每天")


def _exceptions(view: View, of: Calendar) -> str:
    found = [view.say(f"public holidays {of.holidays}", f"法定节假日（{of.holidays}）")] if of.holidays else []
    return "\n".join([*found, *([str(of.exceptions)] if of.exceptions else [])]) or DASH


def _points(view: View) -> Section:
    say, points = view.say, view.plant.points
    rows = [[p.point, p.asset, p.role, p.source or DASH, p.address or DASH, p.type or DASH, p.unit or DASH,
             amount(p.scale, 9), amount(p.hold_ns / NS_PER_SECOND)] for p in points[:MOST_POINTS]]  # fmt: skip
    heads = [
        say("point", "点位"),
        say("asset", "设备"),
        say("role", "角色"),
        say("source", "数据源"),
        say("address", "地址"),
        say("type", "类型"),
        say("unit", "单位"),
        say("scale", "倍率"),
        say("max_hold [s]", "保持时间 [s]"),
    ]
    note = say(f"{len(points):,} points.", f"共 {len(points):,} 个采集点。")
    if len(points) > MOST_POINTS:
        more = len(points) - MOST_POINTS
        note += say(
            f" {more:,} more stand in the point table below config/ of the package.",
            f"其余 {more:,} 个见证据包 config/ 下的采集点表。",
        )
    table = Table(heads=heads, rows=rows, numeric=frozenset({7, 8}), small=True, note=note)
    return Section(anchor="points", title=say("Point table", "采集点表"), blocks=[table])


def _check(view: View) -> Section:
    say, traces = view.say, view.contents.traces
    commands = [
        f"sha256sum -c {MANIFEST}",
        say("plantproof evidence verify PACKAGE.zip", "plantproof evidence verify 证据包.zip"),
        say(
            "plantproof evidence verify PACKAGE.zip --lake var/lake",
            "plantproof evidence verify 证据包.zip --lake var/lake",
        ),
        f"plantproof kpi explain config oee --asset {_example(view)} --from … --to … --samples {SAMPLES}",
    ]
    told = [
        say("In the unpacked package: every file is as the manifest has it.",
            "在解压后的目录中执行：逐个文件与清单核对。"),
        say("Anywhere, offline: structure, hashes and signature, and every figure computed again from what is inside.",
            "任何电脑离线执行：核对结构、校验值与签名，并由包内数据重新计算全部数值。"),
        say("Beside the plant's store: the hash of each point and day is compared with partitions.csv.",
            "在本厂存储旁执行：逐日逐点校验值与 partitions.csv 比对。"),
        say(f"In the unpacked package: one KPI of one device from its raw rows, step by step; of {_extract(view)}.",
            f"在解压后的目录中执行：由原始采样数据逐步算出一台设备的一项 KPI；限采样时段 {_extract(view)}。"),
    ]  # fmt: skip
    known = {**FILES, **(BEFORE if view.contents.earlier is not None else {})}
    rows = [[name, view.of(said)] for name, said in known.items()]
    files = Table(
        title=say("Files of the package", "证据包文件"),
        heads=[say("file", "文件"), say("what it is", "内容")],
        rows=rows,
        small=True,
    )
    lines = [f"{command}\n    {text}" for command, text in zip(commands, told, strict=True)]
    blocks: list[Block] = [
        Steps(lines, say("Commands", "核验命令"), "commands"),
        Text(_hashes(view, traces.partitions)),
        Steps(_ways(view), say("From a percentage to the raw rows", "由百分数追到原始数据"), "plain"),
        files,
    ]
    return Section(
        anchor="check",
        title=say("How to check this package", "如何核验本证据包"),
        blocks=[*blocks, *_approved(view)],
    )


def _extract(view: View) -> str:
    return told_period(view.plant, view.contents.traces.extract_period, view.lang)


def _example(view: View) -> str:
    """Return a device that has states in the extract's time, or a word in its place."""
    there = set(view.contents.traces.timeline["asset"])
    return next((asset.asset for asset in view.plant.assets if asset.asset in there), view.say("DEVICE", "设备编号"))


def _ways(view: View) -> list[str]:
    """Return where each step from a figure down to samples stands."""
    say = view.say
    return [
        say("Figure → devices: the table of devices behind n and N on the indicator's page; also devices.csv, and the "
            "sheet 计入明细 of workbook.xlsx.",
            "指标 → 设备：该指标“分子分母对应的设备”表；另见 devices.csv 与 workbook.xlsx 的“计入明细”。"),
        say("Device → time: its KPIs with n and N, its gaps with begin and end (gaps.csv), and its states.",
            "设备 → 时段：按设备的 KPI 及其 n / N、数据缺口起止时间（gaps.csv）、状态时间线。"),
        say("Time → hours: data/facts.parquet has a row for each device, shift, hour and product; quantities are in "
            "1e-6 pieces or units. n of OEE is Σ ideal_cycle · (good − good_unknown), N is Σ (production + setup + "
            "delay + idle).",
            "时段 → 小时：data/facts.parquet 每台设备、每班、每小时、每种产品一行，数量以百万分之一件（单位）计；"
            "OEE 的 n = Σ ideal_cycle ×（good − good_unknown），N = Σ（production + setup + delay + idle）。"),
        say(f"Hours → raw rows: {SAMPLES} holds the samples of the point table's points as they came in.",
            f"小时 → 原始数据：{SAMPLES} 为采集点表各点位的采样原值，每条一行。"),
    ]  # fmt: skip


def _hashes(view: View, partitions: pl.DataFrame) -> str:
    if partitions.is_empty():
        return view.say("There are no samples in the period.", "本期没有采样数据。")
    days, rows = partitions["date"].n_unique(), int(partitions["rows"].sum())
    return view.say(
        f"partitions.csv holds {partitions.height:,} SHA-256 hashes of {rows:,} samples: one of each point and UTC day "
        f"({days:,} days).",
        f"partitions.csv 载有 {rows:,} 行采样数据的 {partitions.height:,} 个 SHA-256 校验值："
        f"每点每日（UTC）一个，共 {days:,} 天。",
    )


def _approved(view: View) -> list[Block]:
    found, say = view.contents.case.approval, view.say
    if found is None:
        return []
    rows = [[found.files[kind], digest] for kind, digest in sorted(found.sha256.items())]
    title = say(f"Registers as {found.approved_by} approved them", f"经 {found.approved_by} 审批的台账")
    return [Table(title=title, heads=[say("file", "文件"), "SHA-256"], rows=rows, small=True)]


def _signatures(view: View) -> Section:
    say = view.say
    names = [say("Prepared by", "编制"), say("Checked by", "审核"), say("Approved by", "批准")]
    told = say(
        "Signed on paper, this confirms that whoever signs has seen the figures above; it changes none of them.",
        "在纸面签署表示签署人已阅知上述数值；签署不改变任何数值。",
    )
    return Section(
        anchor="signatures",
        title=say("Signatures", "签署"),
        blocks=[Text(told), Signatures(names, say("Date", "日期"), say("Seal", "盖章"))],
    )

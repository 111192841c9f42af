"""How the equipment worked: KPIs of the plant with their bounds, and of each asset."""

import polars as pl

from kpis.catalogue.losses import KPIS as LOSSES
from kpis.catalogue.offers import kpis_of, media
from kpis.evidence.report import cells, hours, losses, terms
from kpis.evidence.report.model import Block, Section, Steps, Table, Text, View
from kpis.evidence.report.numbers import DASH, in_unit, share
from kpis.indicators.input_names import unit_name

_OF_WORK = ("oee", "availability", "effectiveness", "quality_ratio")


def pages(view: View) -> Section:
    """Return the pages of the equipment's work; without machines that count pieces, what there is of them."""
    parts = [_kpis(view), *losses.sections(view), *hours.sections(view)]
    title = view.say("Equipment effectiveness", "设备运行与效率（KPI）")
    return Section(anchor="work", title=title, parts=parts, own_page=True)


def _kpis(view: View) -> Section:
    """Return the KPIs of the plant, then the main ones of each asset and group."""
    say, titles = view.say, {kpi.id: kpi for kpi in kpis_of(view.plant)}
    parts = {kpi.id for kpi in LOSSES}
    rows = []
    for name, row in cells.rows_of(view, view.plant.id).items():
        if name not in parts and name in titles:
            of = titles[name]
            told = [
                say(of.title, _title_zh(view, of.title_zh)),
                in_unit(row["value"], _unit(view, row["unit"])),
                cells.bounds(row),
            ]
            told += [cells.counts_of(row), share(row["coverage"]), *([of.formula] if view.lang == "en" else [])]
            rows.append([*told, row["rule"]])
    heads = [
        "KPI",
        say("value", "数值"),
        say("low … high", "下限 … 上限"),
        "n / N",
        say("coverage", "数据覆盖"),
        *(["formula"] if view.lang == "en" else []),
        say("rule", "规则"),
    ]
    note = cells.period(view) + say(
        " Low: all unknown time lost; high: all of it productive at the ideal cycle.",
        "下限：未知时间全部损失；上限：未知时间全部按理论节拍有效产出。",
    )
    plant = Table(heads=heads, rows=rows, numeric=frozenset({1, 2, 3, 4}), wide=frozenset({0, 5}), note=note,
                  small=True, title=say("The whole plant", "全厂"))  # fmt: skip
    blocks: list[Block] = [plant, *_assets(view), *_flags(view)]
    if not rows:
        none = say("No KPI could be computed: no asset has what one needs.", "没有可计算的 KPI：设备缺少所需的采集点。")
        blocks = [Text(none, "missing")]
    return Section(anchor="kpis", title="KPI", blocks=blocks)


def _title_zh(view: View, title: str) -> str:
    """Return a KPI's Chinese title with the medium that it names in Chinese: 能源消耗量（电力）."""
    for name in media(view.plant):
        title = title.replace(f"（{name}）", f"（{terms.medium(name, view.plant, 'zh')}）")
    return title


def _unit(view: View, unit: str) -> str:
    return unit if unit == "1" else unit_name(unit, view.lang)


def _assets(view: View) -> list[Block]:
    say, rows = view.say, []
    for subject in view.contents.kpis["subject"].unique(maintain_order=True):
        mine = cells.rows_of(view, subject)
        there = [mine[name] for name in _OF_WORK if name in mine]
        if subject != view.plant.id and there:
            rates = [share(mine[name]["value"]) if name in mine else DASH for name in _OF_WORK]
            of_oee = (cells.bounds(mine["oee"]), cells.counts_of(mine["oee"])) if "oee" in mine else (DASH, DASH)
            rows.append([subject, rates[0], *of_oee, *rates[1:], share(there[0]["coverage"])])
    if not rows:
        return []
    heads = [
        say("asset or group", "设备或产线"),
        "OEE",
        say("low … high", "下限 … 上限"),
        say("n / N of OEE [s]", "OEE 的 n / N [s]"),
        say("availability", "可用率"),
        say("effectiveness", "有效率"),
        say("quality", "质量指数"),
        say("coverage", "数据覆盖"),
    ]
    return [Table(title=say("By asset and group", "按设备与产线"), heads=heads, rows=rows,
                  numeric=frozenset(range(1, 8)), small=True, note=cells.period(view))]  # fmt: skip


def _flags(view: View) -> list[Block]:
    flags: dict[str, list[str]] = {}
    for row in view.contents.kpis.filter(pl.col("flags").list.len() > 0).iter_rows(named=True):
        for flag in row["flags"]:
            if not flag.startswith(("r2=", "bottleneck=")):
                flags.setdefault(flag, []).append(row["subject"])
    lines = [f"{terms.flag(flag, view.lang)}: {view.joined(list(dict.fromkeys(of))[:12])}"
             + (" …" if len(dict.fromkeys(of)) > 12 else "") for flag, of in flags.items()]  # fmt: skip
    title = view.say("What a reader must know of these figures, and of whom", "上述数值的说明及涉及对象")
    return [Steps(lines, title, "plain")] if lines else []

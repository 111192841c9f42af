"""All figures at a glance: of the plant, then of its groups, then by kind of device."""

from collections.abc import Sequence

from kpis.evidence.report import cells
from kpis.evidence.report.model import Block, Cell, Section, Table, Text, View
from kpis.evidence.report.numbers import DASH
from kpis.indicators.base import Figure
from kpis.indicators.view import told_period


def summary(view: View) -> Section:
    """Return the tables of all figures: of the plant, then of its groups, then by kind of device."""
    say, contents = view.say, view.contents
    mine = [one for one in contents.figures if one.subject == view.plant.id]
    groups = [one for one in contents.figures if one.subject != view.plant.id]
    blocks: list[Block] = [Text(_period(view), "note"), _table(view, mine, say("The plant", "全厂"), link=True)]
    if groups:
        blocks.append(_table(view, groups, say("Groups", "各产线（分组）"), subject=True))
    if contents.kinds:
        blocks.append(_kinds(view))
    return Section(anchor="summary", title=say("Summary of indicators", "指标汇总"), blocks=blocks, own_page=True)


def _period(view: View) -> str:
    span = told_period(view.plant, view.contents.asked.period, view.lang)
    return view.say(
        f"Period: {span}. Percentages are rounded once, half up, to two decimals. – : not known, never 0.",
        f"统计期间：{span}。百分数四舍五入至两位小数，仅舍入一次。“–”表示未知，不是 0。",
    )


def _table(view: View, found: Sequence[Figure], title: str, *, subject: bool = False, link: bool = False) -> Table:
    say = view.say
    heads = [
        say("indicator", "指标"),
        say("value", "数值"),
        "n / N",
        say("coverage", "数据覆盖"),
        say("stands on", "数据来源"),
        say("status", "评定状态"),
        say("rule", "规则"),
    ]
    if not subject:
        heads.insert(2, say("before → change", "上期 → 变化"))
    rows = []
    for one in found:
        told: list[Cell] = [cells.name(view, one), cells.value(view, one), cells.counts(one, narrow=True),
                            cells.coverage(one), cells.origin(view, one), cells.status(view, one),
                            one.rule]  # fmt: skip
        if not subject:
            told.insert(2, _before(view, one))
        rows.append([*([one.subject] if subject else []), *told])
    first = 1 if subject else 0
    numeric = frozenset(range(first + 1, first + (4 if subject else 5)))
    return Table(title=title, heads=[*([say("subject", "对象")] if subject else []), *heads], rows=rows,
                 numeric=numeric, wide=frozenset({first, len(heads) + first - 1}), small=True)  # fmt: skip


def _kinds(view: View) -> Table:
    say = view.say
    rows = [[kind or DASH, cells.name(view, one), cells.value(view, one), cells.counts(one), cells.coverage(one),
             one.rule]
            for kind, one in view.contents.kinds]  # fmt: skip
    heads = [
        say("kind of device", "设备类型"),
        say("indicator", "指标"),
        say("value", "数值"),
        "n / N",
        say("coverage", "数据覆盖"),
        say("rule", "规则"),
    ]
    return Table(title=say("By kind of device", "按设备类型"), heads=heads, rows=rows, numeric=frozenset({2, 3, 4}),
                 wide=frozenset({1, 5}), small=True)  # fmt: skip


def _before(view: View, one: Figure) -> str:
    found = cells.compared(view, one)
    if found is None or found.before.value is None:
        return DASH
    return f"{cells.value(view, found.before)} →\n{cells.change(view, found)}"

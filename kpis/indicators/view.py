"""Figures and assessments for people: tables on a terminal, in English or Chinese."""

from collections.abc import Iterable, Sequence

import click
import polars as pl
from rich.table import Table

from config.plant import Plant
from kpis import output
from kpis.indicators.base import Figure, Grounds, percent, plain
from kpis.indicators.comparison import Comparison
from kpis.indicators.counting import last_day, uncounted
from kpis.indicators.energy_tables import EnergyTable
from kpis.indicators.rubrics import view as rubric_view
from kpis.indicators.rubrics.result import Assessment, Case
from kpis.indicators.rubrics.view import value_of
from kpis.indicators.said import Lang, Said

_HEADS = {
    "subject": Said("subject", "对象"),
    "indicator": Said("indicator", "指标"),
    "value": Said("value", "数值"),
    "counts": Said("n / N", "分子 / 分母"),
    "coverage": Said("coverage", "数据覆盖"),
    "origin": Said("stands on", "数据来源"),
    "rule": Said("rule", "规则"),
    "before": Said("before", "上期"),
    "now": Said("now", "本期"),
    "change": Said("change", "变化"),
}
_ORIGINS = {"register": Said("register", "台账"), "measured": Said("measured", "采集"),
            "declared": Said("declared", "填报")}  # fmt: skip
_DEVICE_HEADS = {
    "asset": Said("device", "设备编号"),
    "name": Said("name", "设备名称"),
    "counted": Said("counted", "计入"),
    "connectable": Said("connectable", "可联网"),
    "connected": Said("connected", "已连通"),
    "evidenced": Said("evidenced", "已证实联网"),
    "share": Said("share of planned time", "计划时间内数据占比"),
    "excluded": Said("not counted because", "不计入原因"),
}
_CHANGES = {"up": Said("up", "增加"), "same": Said("same", "持平"), "down": Said("down", "降低")}


def table(plant: Plant, found: Sequence[Figure], period: tuple[int, int], lang: Lang) -> Table:
    """Return figures as a terminal table: value, n/N, coverage, and on whose word they stand."""
    shown = Table(
        title=f"{plant.name or plant.id}{Said(': ', '：').into(lang)}{told_period(plant, period, lang)}",
        title_justify="left",
    )
    for name in ("subject", "indicator", "value", "counts", "coverage", "origin", "rule"):
        right = name in ("value", "counts", "coverage")
        shown.add_column(_HEADS[name].into(lang), justify="right" if right else "left", no_wrap=name != "rule")
    last = None
    for one in found:
        if last not in (None, one.subject):
            shown.add_section()
        last = one.subject
        cells = (name_of(one, lang), _value(one, lang), _counts(one), _coverage(one), _origin(one, lang))
        shown.add_row(one.subject, *cells, "\n".join([one.rule, *one.amount.flags]))
    return shown


def told_period(plant: Plant, period: tuple[int, int], lang: Lang) -> str:
    """Return a period in the plant's time, with its zone."""
    ends = pl.Series(period).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(plant.timezone)
    first, last = ends.dt.strftime("%Y-%m-%d %H:%M").to_list()
    return Said(f"{first} to {last} ({plant.timezone})", f"{first} 至 {last}（{plant.timezone}）").into(lang)


def name_of(one: Figure, lang: Lang) -> str:
    """Return an indicator's official name, with its id in English output."""
    return one.indicator.title_zh if lang == "zh" else f"{one.indicator.title_zh} {one.indicator.id}"


def told_devices(grounds: Grounds, lang: Lang) -> list[str]:
    """Return from when on devices are judged, where that is not the whole period."""
    since = grounds.devices_start
    if since is None or since == grounds.start:
        return []
    span = told_period(grounds.plant, (since, grounds.end), lang)
    return [Said(f"devices are judged by {span}", f"设备联网、数字化按 {span} 判定").into(lang)]


def remarks(found: Sequence[Figure], lang: Lang) -> list[str]:
    """Return what a reader must know of figures without a value: why each is refused, and what is missing for which."""
    lines = [Said("refused: ", "不予采信：").into(lang) + one.refused.into(lang) for one in found if one.refused]
    missing: dict[Said, list[str]] = {}
    for one in found:
        name = one.indicator.title_zh if lang == "zh" else one.indicator.id
        for said in one.amount.missing:
            missing.setdefault(said, []).append(f"{one.subject} {name}")
    joint, colon = Said(", ", "、").into(lang), Said(": ", "：").into(lang)
    return lines + [f"{joint.join(dict.fromkeys(names))}{colon}{said.into(lang)}" for said, names in missing.items()]


def comparison_table(plant: Plant, changes: Iterable[Comparison], lang: Lang) -> Table:
    """Return comparisons as a terminal table: both figures, and the change."""
    listed = list(changes)
    shown = Table(title_justify="left")
    if listed:
        ends = [[(f.start, f.end) for f in side] for side in zip(*((c.before, c.after) for c in listed), strict=True)]
        spans = [told_period(plant, min(side), lang) for side in ends]  # devices may be judged by less of the period
        shown.title = Said(f"{spans[1]} compared with {spans[0]}", f"{spans[1]}，对比 {spans[0]}").into(lang)
    for name in ("subject", "indicator", "before", "now", "change"):
        shown.add_column(_HEADS[name].into(lang), justify="left" if name in ("subject", "indicator") else "right")
    for one in listed:
        if one.before.value is not None or one.after.value is not None:
            shown.add_row(
                one.after.subject,
                name_of(one.after, lang),
                value_of(one.before),
                value_of(one.after),
                change_of(one, lang),
            )
    return shown


def kind_table(found: Sequence[tuple[str, Figure]], lang: Lang) -> Table:
    """Return rates by kind of device as a terminal table."""
    shown = Table(title=Said("by kind of device", "按设备类型").into(lang), title_justify="left")
    for head in (Said("subject", "对象"), Said("kind", "设备类型"), Said("indicator", "指标"), Said("value", "数值")):
        shown.add_column(head.into(lang), no_wrap=True)
    for kind, one in found:
        shown.add_row(one.subject, kind, name_of(one, lang), value_of(one))
    return shown


def energy_table(one: EnergyTable) -> Table:
    """Return an energy table as a terminal table, without the columns that nothing is said of."""
    told = one.frame()
    shown = Table(title=f"{one.id} ({one.rule})", title_justify="left")
    named = [name for name in told.columns if told[name].null_count() < told.height]
    for name in named:
        shown.add_column(name)
    for row in told.select(named).iter_rows():
        shown.add_row(*("" if cell is None else str(cell) for cell in row))
    return shown


def change_of(one: Comparison, lang: Lang) -> str:
    """Return a change as people read it: percentage points of a share, percent of an amount."""
    if one.difference is None or one.change is None:
        return "–"
    word = _CHANGES[one.change].into(lang)
    if one.after.indicator.unit == "1":
        points = Said("points", "个百分点").into(lang)
        return f"{word} {percent(one.difference):+} {points}"
    return word if one.relative is None else f"{word} {percent(one.relative):+} %"


def device_table(grounds: Grounds, lang: Lang) -> Table:
    """Return the devices behind the networking rate as a terminal table."""
    day = last_day(grounds.plant, grounds.end)
    left_out = {asset.asset: uncounted(asset, day).into(lang) for asset in grounds.plant.assets}
    shown = Table(title=Said("devices", "设备清单").into(lang), title_justify="left")
    for name, head in _DEVICE_HEADS.items():
        shown.add_column(head.into(lang), justify="right" if name == "share" else "left")
    words = {True: Said("yes", "是"), False: Said("no", "否")}
    for row in grounds.devices.iter_rows(named=True):
        cells = []
        for name in _DEVICE_HEADS:
            cell = left_out[row["asset"]] if name == "excluded" else row[name]
            if isinstance(cell, bool):
                cells.append(words[cell].into(lang))
            else:
                cells.append("" if cell is None else f"{cell:.1%}" if isinstance(cell, float) else str(cell))
        shown.add_row(*cells)
    return shown


def print_assessment(case: Case, found: Assessment, lang: Lang) -> None:
    """Print an assessment: its title, what it comes to, its tables, and what is missing to the next bands."""
    grounds = case.grounds
    click.echo(f"\n{rubric_view.title(found, lang)}")
    plant = grounds.plant
    colon = Said(": ", "：").into(lang)
    click.echo(f"{plant.name or plant.id}{colon}{told_period(plant, (grounds.start, grounds.end), lang)}")
    earlier = next((one.comparison.before for one in found.items if one.comparison is not None), None)
    if earlier is not None:
        span = told_period(plant, (earlier.start, earlier.end), lang)
        click.echo(Said(f"changes against {span}", f"对比期间：{span}").into(lang))
    for line in [*told_devices(grounds, lang), *rubric_view.summary(found, lang)]:
        click.echo(line)
    for line in rubric_view.gap_lines(found, lang):
        click.echo(line)
    for shown in rubric_view.tables(found, lang):
        output.print_table(shown)


def _value(one: Figure, lang: Lang) -> str:
    if one.refused is not None:
        return Said("refused", "不予采信").into(lang)
    if one.value is None:
        return "–"
    return f"{percent(one.value)} %" if one.indicator.unit == "1" else value_of(one)


def _counts(one: Figure) -> str:
    n, total = one.amount.numerator, one.amount.denominator
    return "" if n is None or total is None else f"{plain(n)} / {plain(total)}"


def _coverage(one: Figure) -> str:
    return "" if one.amount.coverage is None else f"{one.amount.coverage:.1%}"


def _origin(one: Figure, lang: Lang) -> str:
    origins = dict.fromkeys(of.origin for of in one.amount.inputs if not of.beside)
    if one.amount.members and not origins:
        origins = dict.fromkeys(("register", "measured") if one.amount.coverage is not None else ("register",))
    return " + ".join(_ORIGINS[origin].into(lang) for origin in origins)

"""What cells of tables say of a figure or a KPI, the same on every page."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from kpis.evidence.report.model import Cell, Mark, View
from kpis.evidence.report.numbers import DASH, Exact, amount, in_unit, share
from kpis.indicators.base import Figure
from kpis.indicators.comparison import Comparison
from kpis.indicators.input_names import ORIGINS, unit_name
from kpis.indicators.rubrics.result import STATUSES, Status
from kpis.indicators.view import change_of, told_period

_COUNTED, _SMALL, _LINE = 2, 4, 14
"""Decimals of n and N beside a value, those of one below 10, and the most digits that stand on one line."""

Row = Mapping[str, Any]


def name(view: View, one: Figure) -> str:
    """Return an indicator's official name, with its English one on an English page."""
    return view.say(f"{one.indicator.title_zh} {one.indicator.title}", one.indicator.title_zh)


def value(view: View, one: Figure) -> str:
    """Return a figure's value with its unit, or why there is none in a word."""
    if one.refused is not None:
        return view.say("refused", "不予采信") if one.amount.denominator else DASH
    return in_unit(one.value, unit_name(one.indicator.unit, view.lang) if one.indicator.unit != "1" else "1")


def counts(one: Figure, *, narrow: bool = False) -> str:
    """Return n / N; narrow: on two lines where they are long."""
    n, whole = one.amount.numerator, one.amount.denominator
    if n is None or whole is None:
        return DASH
    told = _side(n), _side(whole)
    return (" /\n" if narrow and sum(map(len, told)) > _LINE else " / ").join(told)


def _side(of: Exact) -> str:
    return amount(of, _SMALL if of is not None and abs(float(of)) < 10 else _COUNTED)


def counted_in(view: View, one: Figure) -> str:
    """Return the units of n and N in brackets, [s] or [件 / h]; empty where they are not told."""
    found = [unit_name(unit, view.lang) for unit in sides_in(one)]
    return f" [{' / '.join(dict.fromkeys(found))}]" if all(found) else ""


def sides_in(one: Figure) -> tuple[str, str]:
    """Return the units of n and N: of the inputs that they are, else the two of the value's unit; or nothing."""
    n, whole, (over, slash, under) = one.amount.numerator, one.amount.denominator, one.indicator.unit.partition("/")
    if slash and "/" not in under and n is not None and whole and one.value == n / whole:
        return over, under
    found = [next((of.unit for of in one.amount.inputs if not of.beside and side is not None and of.value == side), "")
             for side in (n, whole)]  # fmt: skip
    return found[0], found[1]


def coverage(one: Figure) -> str:
    """Return the part of the time in which data were known; a dash where none enter."""
    return share(one.amount.coverage)


def origin(view: View, one: Figure) -> str:
    """Return on whose word a figure stands."""
    found = dict.fromkeys(of.origin for of in one.amount.inputs if not of.beside)
    return "\n+ ".join(view.of(ORIGINS[each]) for each in found) or DASH


def status(view: View, one: Figure) -> Cell:
    """Return where a figure stands in the rubrics asked for; of others whether it is computed."""
    found = statuses(view, one)
    if found:
        worst = max(found, key=list(STATUSES).index)
        return Mark(view.of(STATUSES[worst]), worst.replace(" ", "-"))
    if one.value is None:
        return Mark(view.of(STATUSES["not assessable"]), "not-assessable")
    inputs = [of for of in one.amount.inputs if not of.beside]
    if inputs and all(of.origin == "declared" for of in inputs):
        return Mark(view.of(STATUSES["declared"]), "declared")
    return view.say("computed", "已计算")


def statuses(view: View, one: Figure) -> list[Status]:
    """Return the statuses of the rubrics' items that take a figure of the plant."""
    if one.subject != view.plant.id:
        return []
    items = [item for held in view.contents.assessments for item in held.items]
    return [item.status for item in items
            if getattr(item.of, "indicator", "") == one.indicator.id and item.figure is not None]  # fmt: skip


def compared(view: View, one: Figure) -> Comparison | None:
    """Return a figure against that of the period before."""
    return view.contents.comparisons.get(f"{one.subject} {one.indicator.id}")


def change(view: View, found: Comparison) -> str:
    """Return a change; in Chinese without a sign beside the word that says it: 降低 1.78 个百分点; 持平."""
    told = change_of(found, view.lang)
    if view.lang == "en":
        return told
    return told.partition(" ")[0] if found.change == "same" else told.replace(" +", " ").replace(" -", " ")


def rows_of(view: View, subject: str) -> dict[str, Row]:
    """Return a subject's RESULT rows of the whole period by KPI."""
    return {row["kpi"]: row for row in view.contents.kpis.filter(pl.col("subject") == subject).iter_rows(named=True)}


def bounds(row: Row) -> str:
    """Return a KPI's low and high where they differ; a dash where nothing is unknown."""
    if row["low"] is None or row["high"] is None or row["low"] == row["high"]:
        return DASH
    low, high = (share(row[name]) if row["unit"] == "1" else amount(row[name], 2) for name in ("low", "high"))
    return f"{low} … {high}"


def counts_of(row: Row) -> str:
    """Return a KPI's n / N where it is a quotient."""
    if row["numerator"] is None or (row["unit"] != "1" and row["denominator"] == 1):
        return DASH
    return f"{_side(row['numerator'])} / {_side(row['denominator'])}"


def period(view: View) -> str:
    """Return the period as a note says it."""
    span = told_period(view.plant, view.contents.asked.period, view.lang)
    return view.say(f"Period: {span}.", f"统计期间：{span}。")


def networked(view: View) -> str:
    """Return the period and the rule by which devices are networked."""
    now = view.contents.now
    since = now.start if now.devices_start is None else now.devices_start
    span = told_period(view.plant, (since, now.end), view.lang)
    asked = share(view.plant.networking.evidenced_share)
    return view.say(
        f"Period: {span}. Rule: a device is networked where its data are known in at least {asked} of its planned time "
        "(evidenced_share).",
        f"统计期间：{span}。规则：数据已知时间不低于计划运行时间 {asked} 的设备计为联网（evidenced_share）。",
    )

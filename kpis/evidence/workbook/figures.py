"""Sheets of figures: values, how they are computed, what is counted, KPIs, changes, and the energy tables."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import polars as pl

from kpis.evidence import tables
from kpis.evidence.contents import Contents
from kpis.evidence.report.about import source
from kpis.indicators import export
from kpis.indicators.base import Figure, Input, percent, plain
from kpis.indicators.comparison import OPTIONS, RULE
from kpis.indicators.input_names import ORIGINS, input_name, unit_name
from kpis.spreadsheets.sheet import Cell, Share, Sheet, in_words, share_of

_LEFT_OUT = ("title", "start", "end", "exact_numerator", "exact_denominator", "inputs")
"""Columns of indicators.csv that the steps tell, or the cover."""
_STEPS = ("对象", "指标编号", "指标名称", "步骤", "内容", "数值", "数值（精确）", "单位", "说明")
_ROUNDED = "数值按精确分数计算，只在显示时四舍五入一次；Excel 保留不下的精确值另列。"


def sheets(contents: Contents) -> Iterator[Sheet]:
    """Yield the sheets of figures: values, steps, and what is counted."""
    told = tables.tables(contents)
    listed = told["indicators"].drop(_LEFT_OUT)
    note = f"工厂及各分组的指标，同 indicators.csv。{_ROUNDED}"
    yield export.sheet("指标", listed, tables.LANG, note=note, whole="indicators.csv")
    yield _steps(contents)
    for name, frame, note in (
        ("计入明细", told["members"], "指标的分子、分母由哪些设备、工序或控制回路构成，哪些未计入及其原因。"),
        ("按设备类型", told.get("kinds", pl.DataFrame()), "各类设备的设备类指标。"),
    ):
        if frame.height:
            kept = [one for one in frame.columns if one not in _LEFT_OUT]
            yield export.sheet(name, frame.select(kept), tables.LANG, note=note, whole="indicators.json")


def energy(contents: Contents) -> Iterator[Sheet]:
    """Yield the tables 205-1 and 205-2, each column as the form numbers it."""
    for one in contents.energy_tables:
        heads = [f"{column.number} {column.title}" for column in one.columns]
        note = f"《能源报表统计制度》{one.id} 表，折标系数：{one.rule}。空格表示没有数据。"
        yield Sheet(name=f"能源 {one.id}", heads=heads, rows=one.rows, note=note)


def _steps(contents: Contents) -> Sheet:
    rows = [row for one in contents.figures for row in _of(one)]
    return Sheet(name="计算过程", heads=_STEPS, rows=rows, note=f"每个指标的公式、输入、分子、分母与结果。{_ROUNDED}",
                 whole="indicators.json", widest=28)  # fmt: skip


def _of(one: Figure) -> Iterator[Sequence[Cell]]:
    """Yield a figure's steps: formula, inputs, n, N, result, or why there is none."""
    named = (one.subject, one.indicator.id, one.indicator.title_zh)
    unit = unit_name(one.indicator.unit, tables.LANG)
    n, whole, value = one.amount.numerator, one.amount.denominator, one.value
    yield (*named, "公式", one.indicator.formula_zh, None, None, unit, source(one.indicator, tables.LANG))
    for of in one.amount.inputs:
        side = unit_name(of.unit, tables.LANG)
        yield (*named, "输入", input_name(of.name, tables.LANG), _shown(of.value, of.unit), in_words(of.value), side,
               by_whom(of))  # fmt: skip
    if n is not None and whole is not None:
        yield (*named, "分子", "n", n, in_words(n), None, None)
        yield (*named, "分母", "N", whole, in_words(whole), None, None)
    for said in one.amount.missing:
        yield (*named, "缺少", said.zh, None, None, None, None)
    if one.refused is not None:
        yield (*named, "不予采信", one.refused.zh, None, None, None, None)
    if value is not None:
        told = _result(one, n, whole, value)
        yield (*named, "结果", told, _shown(value, one.indicator.unit), in_words(value), unit, one.rule)


def _shown(value: Fraction | None, unit: str) -> Cell:
    return share_of(value) if unit == "1" else value


def _result(one: Figure, n: Fraction | None, whole: Fraction | None, value: Fraction) -> str:
    """Return the last step: n / N = value, and the percentage that it is rounded to."""
    quotient = "" if n is None or whole is None else f"{plain(n)} ÷ {plain(whole)} "
    equals = "=" if Fraction(plain(value)) == value else "≈"
    share = f"，即 {percent(value)}%" if one.indicator.unit == "1" else ""
    return f"{quotient}{equals} {plain(value)}{share}"


def by_whom(of: Input) -> str:
    """Return on whose word an input stands: register, measured with its coverage, or declared by whom and when."""
    told = [ORIGINS[of.origin].into(tables.LANG), of.period, of.declared_by, str(of.declared_at or ""), of.attachment]
    told += [] if of.coverage is None else [f"数据覆盖 {percent(Fraction(of.coverage))}%"]
    told += ["仅供对照，未计入"] if of.beside else []
    return "，".join(word for word in told if word)


def changes(contents: Contents) -> Sheet:
    """Return both periods' figures beside each other, and why others must not be compared."""
    words = pl.DataFrame({"change": list(OPTIONS), "word": list(OPTIONS.values())})
    heads = ["对象", "指标编号", "指标名称", "单位", "对比期", "本期", "差值", "变化幅度", "变化", "说明"]
    rows: list[Sequence[Cell]] = []
    frame = tables.tables(contents).get("comparisons")
    if frame is not None:
        kept = frame.select("subject", "kpi", "title_zh", "unit", "before", "after", "difference", "relative", "change")
        worded = kept.join(words, on="change", how="left", maintain_order="left").drop("change")
        rows = [(*row, None) for row in export.sheet("", worded, tables.LANG).rows]
    for name, said in contents.incomparable.items():
        subject, kpi = name.split(" ", 1)
        rows.append((subject, kpi, *[None] * 7, said.zh))
    note = f"{RULE.zh}；比率的差值为百分点。" if contents.earlier is not None else "本包没有对比期。"
    return Sheet(name="对比", heads=heads, rows=rows, note=note, whole="indicators.json")


def kpis(contents: Contents) -> Iterator[Sheet]:
    """Yield the KPIs of the period, and those of each shift."""
    flat = tables.kpi_table(contents).drop("start", "end", "period").select("subject", pl.exclude("subject"))
    note = "各设备、分组与工厂的 KPI，同 kpis.csv；上下限表示未知时间全部损失或全部有效时的数值。"
    yield export.sheet("KPI", flat, tables.LANG, note=note, whole="kpis.csv")
    if contents.shifts.height:
        yield _shifts(contents)


def _shifts(contents: Contents) -> Sheet:
    """Return KPIs by shift, a row a shift and subject, a column a KPI."""
    found = contents.shifts
    named = found.select("kpi", "unit", tables.title_of(contents).alias("title")).unique("kpi", maintain_order=True)
    by = ["subject", "period"]
    least = found.group_by(by, maintain_order=True).agg(pl.col("coverage").min())
    wide = least.join(found.pivot("kpi", index=by, values="value"), on=by, how="left", maintain_order="left")
    shares = {name for name, unit in named.select("kpi", "unit").iter_rows() if unit == "1"} | {"coverage"}
    rows = [[Share(cell) if name in shares and isinstance(cell, float) else cell
             for name, cell in zip(wide.columns, row, strict=True)] for row in wide.iter_rows()]  # fmt: skip
    heads = ["对象", "班次", "数据覆盖（最低）"]
    heads += [
        title if unit == "1" else f"{title}（{unit_name(unit, tables.LANG)}）" for _, unit, title in named.iter_rows()
    ]
    note = "每个对象每班一行；上下限、分子、分母与标记见 data/shifts.parquet。"
    return Sheet(name="班次 KPI", heads=heads, rows=rows, note=note, whole="data/shifts.parquet")

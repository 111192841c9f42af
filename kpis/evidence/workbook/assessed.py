"""Sheets of the rubrics: items with points and status, what they rest on, what is missing, and targets."""

from collections.abc import Iterator, Sequence

import polars as pl

from config.rubrics import Cite, Condition, Item, Scene
from kpis.evidence import objects, tables
from kpis.evidence.contents import Contents
from kpis.indicators import export
from kpis.indicators.rubrics.result import STATUSES, Assessed, Assessment, Gap
from kpis.spreadsheets.sheet import Cell, Sheet

_GAPS = (
    "评分细则",
    "题号",
    "名称",
    "分子",
    "分母",
    "目标（%）",
    "须达到",
    "还差",
    "可加分",
    "序号",
    "待改进对象及所缺",
)
_GROUNDS = ("评分细则", "题号", "名称", "内容", "序号", "采信", "原文行号", "原文")
_STATUS_HEADS = {status: said.zh for status, said in STATUSES.items()}


def sheets(contents: Contents) -> Iterator[Sheet]:
    """Yield the sheets of the rubrics asked for, and of the targets."""
    told = export.frames(objects.assessments(contents), tables.LANG)
    if "summary" in told:
        yield _sheet("评分汇总", told["summary"], "各评分细则的总分、等级，以及得分按依据的分布。")
    for one in contents.assessments:
        name, title = one.rubric.id, f"《{one.rubric.title}》{one.rubric.number}"
        if name in told:
            yield _sheet(f"评分细则 {name}", told[name], f"{title}；原文行号见 {one.rubric.text_file}。")
        if f"{name} grades" in told:
            yield _sheet(f"等级条件 {name}", told[f"{name} grades"], f"{title}各等级的条件。")
    if "targets" in told:
        yield _sheet("目标对照", told["targets"], "规划目标，仅供对照，不是评定条件。")
    yield Sheet(name="差距", heads=_GAPS, rows=list(_gaps(contents)), whole="assessments.json",
                note="距下一档或目标还差多少，以及最接近达标的设备、工序或回路；距下一等级还差什么。")  # fmt: skip
    yield Sheet(name="评分依据", heads=_GROUNDS, rows=list(_grounds(contents)), whole="assessments.json",
                note="各题、选项、场景等级与条件的原文及其行号；“采信”为本次评定所采信的选项或等级。")  # fmt: skip


def _sheet(name: str, frame: pl.DataFrame, note: str) -> Sheet:
    return export.sheet(name, frame, tables.LANG, note=note, whole="assessments.json")


def _gaps(contents: Contents) -> Iterator[Sequence[Cell]]:
    for held in contents.assessments:
        for one in held.items:
            if one.gap is not None:
                yield from _of_gap((held.rubric.id, one.of.id, _name(one)), one.gap)
        yield from _next_grade(held)
    for aim in contents.targets.aims:
        if aim.gap is not None:
            yield from _of_gap(("目标", None, f"{aim.target.title}（{aim.target.year}）"), aim.gap)


def _of_gap(named: Sequence[Cell], gap: Gap) -> Iterator[Sequence[Cell]]:
    """Yield a row a candidate; one row where there are none, or the share is reached."""
    counts: Sequence[Cell] = (gap.numerator, gap.denominator, float(gap.percent), gap.needed, gap.more, gap.points)
    candidates = gap.candidates if gap.more else ()
    if not candidates:
        yield (*named, *counts, None, "已达到" if not gap.more else None)
    for number, said in enumerate(candidates, 1):
        yield (*named, *counts, number, said.zh)


def _next_grade(held: Assessment) -> Iterator[Sequence[Cell]]:
    """Yield what the next grade lacks."""
    number = 0 if held.grade is None else held.grade.number
    following = next((one for one in held.grades if one.grade.number == number + 1), None)
    if following is not None:
        for n, said in enumerate(following.lacking, 1):
            yield (held.rubric.id, following.grade.id, f"达到{following.grade.title}", *[None] * 6, n, said.zh)


def _grounds(contents: Contents) -> Iterator[Sequence[Cell]]:
    for held in contents.assessments:
        of_grades = [condition for grade in held.grades for condition in grade.conditions]
        for one in (*held.items, *held.scenes, *of_grades):
            named = (held.rubric.id, one.of.id, _name(one))
            yield from _cited(named, ("条件" if isinstance(one.of, Condition) else "题目", None, None), one.of.cites)
            yield from _options(named, one)


def _options(named: Sequence[Cell], one: Assessed) -> Iterator[Sequence[Cell]]:
    """Yield the words of each option, or of each level of a scene."""
    if isinstance(one.of, Item):
        for number, option in enumerate(one.of.options, 1):
            yield from _cited(named, ("选项", number, number in one.chosen), option.cites)
    elif isinstance(one.of, Scene):
        for level in one.of.levels:
            yield from _cited(named, ("等级", level.level, level.level in one.chosen), level.cites)


def _cited(named: Sequence[Cell], what: Sequence[Cell], cites: Sequence[Cite]) -> Iterator[Sequence[Cell]]:
    for cite in cites:
        yield (*named, *what, cite.line, cite.words)


def _name(one: Assessed) -> str:
    return one.of.text if isinstance(one.of, Condition) else one.of.title

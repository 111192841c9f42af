"""The sheet to copy from into the SME questionnaire: its questions, blanks and scenes in the order of the form."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from config.registers import Answer
from config.rubrics import Item, Scene, load_rubric
from kpis.evidence.contents import Contents
from kpis.evidence.workbook.blanks import BLANKS, Blank, Filled
from kpis.evidence.workbook.figures import by_whom
from kpis.indicators.base import Figure, days_of, percent
from kpis.indicators.declared import period_text, whole_days
from kpis.indicators.rubrics.assessment import assess
from kpis.indicators.rubrics.items import standing
from kpis.indicators.rubrics.result import STATUSES, Assessed, Assessment, Case, Status
from kpis.indicators.rubrics.view import value_of
from kpis.indicators.view import told_period
from kpis.spreadsheets.sheet import Cell, Sheet, in_words, share_of

SME = "sme-2024"
HEADS = (
    "题号", "采集项", "填报项（表内原文）", "填报值", "单位", "数据状态", "来源", "还缺什么", "原文行号",
)  # fmt: skip
LEVELS = ("未达到一级", "一级", "二级", "三级", "四级")
_YEAR = 4
"""Digits of a calendar year as a period is written."""


def sme_form(contents: Contents) -> Sheet:
    """Return the questionnaire as it is to be filled in."""
    held = next((one for one in contents.assessments if one.rubric.id == SME), None)
    held = held or assess(contents.case, load_rubric(SME))
    rows = [*_questions(contents.case, held), *(_scene(one) for one in held.scenes)]
    return Sheet(name="填报对照", heads=HEADS, rows=rows, note=_note(contents), grouped=False, widest=28)


def _note(contents: Contents) -> str:
    """Return the title of the form, the periods that stand for its years, and a warning where they are none."""
    period, before = contents.asked.period, contents.asked.before
    told = (
        f"《中小企业数字化水平评测指标（2024年版）》填报对照。“上年”取本期：{told_period(contents.plant, period, 'zh')}"
    )
    told += "；没有对比期，“前年”各项空缺。" if before is None else (
        f"；“前年”取对比期：{told_period(contents.plant, before, 'zh')}。")  # fmt: skip
    if of_years(contents):
        return told
    return (
        f"{told}\n注意：表内“上年”“前年”为自然年度，本包期间不是前后相接的两个完整年度，"
        "第 12、14、15 题的数值不可直接填报。"
    )


def of_years(contents: Contents) -> bool:
    """Return whether the period is a calendar year, and the one before the year before it."""
    if contents.earlier is None or not (whole_days(contents.now) and whole_days(contents.earlier)):
        return False
    year, last = (period_text(*grounds.days) for grounds in (contents.now, contents.earlier))
    return len(year) == len(last) == _YEAR and int(year) == int(last) + 1


def _questions(case: Case, held: Assessment) -> Iterator[Sequence[Cell]]:
    """Yield each question with what is to be ticked, and each blank below it."""
    for one in held.items:
        if isinstance(one.of, Item):
            yield _question(one.of, one)
            for blank in BLANKS.get(one.of.id, ()):
                yield _blank(case, one.of, one, blank)


def _question(item: Item, one: Assessed) -> Sequence[Cell]:
    ticked = "\n".join(f"☑ {number}. {item.options[number - 1].text}" for number in one.chosen)
    kind = "（多选）" if item.answer == "multiple" else "（单选）"
    return (item.number, item.title, f"{item.text}{kind}", ticked or None, None, STATUSES[one.status].zh,
            _source(one), _missing(one), item.line)  # fmt: skip


def _source(one: Assessed) -> str:
    told = [_of_figure(one.figure)] if one.figure is not None and one.figure.value is not None else []
    if one.comparison is not None and one.comparison.change is not None:
        told.append(f"对比期 {value_of(one.comparison.before)} → 本期 {value_of(one.comparison.after)}")
    told += [said.zh for said in one.notes]
    return "\n".join([*told, *_answered(one.answer)])


def _answered(answer: Answer | None) -> list[str]:
    if answer is None:
        return []
    shown = f"，附件 {answer.attachment}" if answer.attachment else ""
    return [f"填报答案：{answer.answer}（{answer.declared_by}，{answer.declared_at}{shown}）"]


def _missing(one: Assessed) -> str:
    return "\n".join(dict.fromkeys(said.zh for said in one.missing))


def _blank(case: Case, item: Item, one: Assessed, blank: Blank) -> Sequence[Cell]:
    filled = blank.fill(case, one)
    value: Cell = filled.value if blank.unit else share_of(filled.value)
    status = STATUSES[_status(case, item, filled)].zh
    source = "\n".join(_sources(case, filled)) if filled.value is not None else None
    return (item.number, item.title, blank.words, value, blank.unit, status, source, _lacking(filled), blank.line)


def _status(case: Case, item: Item, filled: Filled) -> Status:
    """Return on whose word a blank's value stands."""
    if filled.value is None or filled.figure is None:
        return "not assessable"
    if filled.inputs and all(one.origin == "declared" for one in filled.inputs):
        return "declared"
    return standing(case, item, [filled.figure])[0]


def _sources(case: Case, filled: Filled) -> list[str]:
    """Return what a value is taken from, and its exact form where a cell cannot hold it."""
    exact = [f"精确值 {told}"] if (told := in_words(filled.value)) else []
    if filled.note or filled.inputs:
        return [word for word in (filled.note, *map(by_whom, filled.inputs)) if word] + exact
    if filled.figure is None:
        return exact
    period = period_text(*days_of(case.grounds.plant, filled.figure.start, filled.figure.end))
    return [f"{filled.figure.indicator.title_zh} {value_of(filled.figure)}，期间 {period}", *exact]


def _of_figure(figure: Figure) -> str:
    """Return a figure with its value, coverage and rule in words."""
    known = "" if figure.amount.coverage is None else f"，数据覆盖 {percent(Fraction(figure.amount.coverage))}%"
    return f"{figure.indicator.title_zh} {value_of(figure)}{known}，规则 {figure.rule}"


def _lacking(filled: Filled) -> str:
    """Return why a blank is empty."""
    if filled.value is not None:
        return ""
    if filled.figure is None:
        return "没有该期间的数值"
    if filled.figure.refused is not None:
        return filled.figure.refused.zh
    return "\n".join(said.zh for said in filled.figure.amount.missing)


def _scene(one: Assessed) -> Sequence[Cell]:
    scene = one.of
    number, stage = (f"场景 {scene.number}", scene.stage) if isinstance(scene, Scene) else ("", "")
    level = LEVELS[one.chosen[0]] if one.chosen else None
    status = STATUSES[one.status].zh
    return (number, stage, scene.text, level, None, status, _source(one), _missing(one), scene.line)

"""An index of levels that a plant gives itself (Jiangsu 2025), what the data say against it, and its whole score.

The plant names a level and its points inside it; the data can refuse a level whose own figure is not reached, and never
grant one. An item that the text gives no rule for is left open: 0 and 100 bound the whole.
"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from config.registers import Answer
from config.rubrics import Check, Item, Option, Rubric
from kpis.indicators.base import percent
from kpis.indicators.rubrics.answers import Unanswered, given, level, not_involved
from kpis.indicators.rubrics.gaps import to_share
from kpis.indicators.rubrics.items import NOT_APPROVED
from kpis.indicators.rubrics.questionnaire import taken
from kpis.indicators.rubrics.result import Assessed, Assessment, Case, Gap, Status
from kpis.indicators.rubrics.scoring import ScoreError, composite, fit
from kpis.indicators.said import Said

HUNDRED = Fraction(100)
NO_RULE = Said(
    "the text gives no rule to score it; add the platform's score to answers.csv",
    "文件未给出该项计分规则；请将平台给出的分数填入 answers.csv",
)
LEFT_OUT = Said("not involved: its weight goes to the others in equal parts", "不涉及：权重平均分配到其他问题")


def assess(case: Case, rubric: Rubric) -> Assessment:
    """Return an index's assessment: `total` if what is open gave 0, `most` if it gave all that it still can."""
    answers = given(case.grounds.plant, rubric)
    faults = list(answers.unknown)

    def one(case: Case, item: Item, answer: Answer | None) -> Assessed:
        return _item(case, rubric, item, answer)

    listed = [taken(one, case, item, answers.of.get(item.id), faults) for item in rubric.items]
    involved = [found for found in listed if found.met is not False]
    low = composite([found.score or Fraction(0) for found in involved])
    high = composite([(found.most or HUNDRED) if found.score is None else found.score for found in involved])
    return Assessment(rubric=rubric, items=listed, total=low, most=high, faults=faults)


def _item(case: Case, rubric: Rubric, item: Item, answer: Answer | None) -> Assessed:
    if item.answer == "none":
        return _unscored(item, answer)
    if answer is not None and not_involved(answer):
        if not item.not_involved:
            en = f"{item.id}: 不涉及 is no answer to {item.title}; write a level, 1 to {len(item.options)}"
            raise ScoreError(en, f"本项不能填“不涉及”；请填写等级 1～{len(item.options)}")
        return Assessed(of=item, status="declared", met=False, answer=answer, notes=[LEFT_OUT])
    found = _ladder(case, rubric, item, answer)
    if answer is None or not found.chosen:
        return found
    if answer.score is None:
        en = f"{item.id}: level {found.chosen[0]} has no score; write the points inside the level"
        raise ScoreError(en, "只填了等级，未填得分；请填写该等级分值区间内的得分")
    try:
        stretch = fit(rubric.bands, found.chosen[0], answer.score)
    except ScoreError as error:
        raise ScoreError(f"{item.id}: {error}", error.told.zh) from None
    told = [Said(stretch.text, stretch.text)] if stretch.fit else []
    return replace(found, score=Fraction(answer.score), notes=[*found.notes, *told])


def _unscored(item: Item, answer: Answer | None) -> Assessed:
    if answer is None or answer.score is None:
        return Assessed(of=item, status="not assessable", answer=answer, missing=[NO_RULE])
    if not 0 <= answer.score <= 100:
        en = f"{item.id}: a score of {answer.score} is not within 0 and 100; mend the score"
        raise ScoreError(en, f"得分 {answer.score} 不在 0～100 之间；请修改得分")
    return Assessed(of=item, status="declared", score=Fraction(answer.score), answer=answer)


def _ladder(case: Case, rubric: Rubric, item: Item, answer: Answer | None) -> Assessed:
    """Return the level that a plant names, unless the data refuse it or one below it."""
    asked = level(item, answer, len(item.options)) if answer is not None else len(item.options)
    if asked == 0:
        raise ScoreError(
            f"{item.id}: there is no level 0; write 1 to {len(item.options)}", f"等级应填 1～{len(item.options)}"
        )
    proven: list[Said] = []
    open_ones: list[Said] = []
    gap: Gap | None = None
    for number, option in enumerate(item.options[:asked], 1):
        if option.check is None:
            continue
        holds, told = checked(case, option.check)
        if holds is False:
            gap = _to(case, option.check)
            most = Fraction(max(band.high for band in rubric.bands if band.level == number - 1))
            return _refused(item, answer, number, told, proven, gap, most)
        (proven if holds else open_ones).append(told)
    if answer is None:
        return Assessed(of=item, status="not assessable", notes=proven, missing=[*open_ones, _no_answer(item)])
    halves = [case.findings[o.partial] for o in item.options[:asked] if o.partial]
    proven += [finding.told for finding in halves if finding.holds]
    open_ones += [finding.told for finding in halves if not finding.holds]
    status: Status = "partly proven" if proven else "declared"
    if case.approval is None and any(o.check for o in item.options[:asked]):
        open_ones.append(NOT_APPROVED)
    return Assessed(of=item, status=status, chosen=(asked,), answer=answer, notes=proven, missing=open_ones)


def _refused(
    item: Item,
    answer: Answer | None,
    number: int,
    told: Said,
    proven: Sequence[Said],
    gap: Gap | None,
    most: Fraction,
) -> Assessed:
    en = f"level {number} and those above it are not open: {told.en}; declare level {number - 1} at most"
    zh = f"第 {number} 级及以上不成立：{told.zh}；最高可申报第 {number - 1} 级"
    return Assessed(of=item, status="not assessable", answer=answer, notes=proven, missing=[Said(en, zh)], gap=gap,
                    most=most)  # fmt: skip


def checked(case: Case, check: Check) -> tuple[bool | None, Said]:
    """Return whether a figure passes what a level asks for, None where there is no figure, and both in words."""
    figure = case.figures.get(check.indicator)
    asked = f"{check.op} {check.percent:f} %"
    if figure is None or figure.value is None:
        refused = figure.refused if figure is not None else None
        more = Said("", "") if refused is None else Said(f" ({refused.en})", f"（{refused.zh}）")
        name = check.indicator if figure is None else figure.indicator.title_zh
        return None, Said(
            f"{check.indicator} {asked} could not be checked{more.en}", f"{name}{_asked_zh(check)}，无法核对{more.zh}"
        )
    exact = figure.value * 100
    holds = exact > Fraction(check.percent) if check.op == ">" else exact >= Fraction(check.percent)
    en = f"{check.indicator} is {percent(figure.value)} %, the level asks for {asked}"
    return holds, Said(en, f"{figure.indicator.title_zh}为 {percent(figure.value)} %，该级要求{_asked_zh(check)}")


def _asked_zh(check: Check) -> str:
    return f"{'高于' if check.op == '>' else '不低于'} {check.percent:f} %"


def _to(case: Case, check: Check) -> Gap | None:
    figure = case.figures.get(check.indicator)
    return None if figure is None else to_share(figure, Fraction(check.percent), inclusive=check.op == ">=")


def _no_answer(item: Item) -> Said:
    return Unanswered(
        f"no level is declared; add a row with item {item.id}, the level and its score to answers.csv",
        f"未申报等级；请在 answers.csv 中增加题号为 {item.id} 的一行，填写等级与得分",
    )


def described(options: Sequence[Option], number: int) -> str:
    """Return the words of a level."""
    return options[number - 1].text

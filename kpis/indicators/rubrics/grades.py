"""Grades of a factory (national and Jiangsu 2025): each condition met, not met, or nobody's word yet.

Scores and scenes come from the rubrics that the grades refer to. What is relative to an industry has no number in the
text, so a person declares it.
"""

from collections.abc import Mapping
from fractions import Fraction

from config.cells import number_cell
from config.registers import Answer
from config.rubrics import Condition, Grade, Rubric, load_rubric, rubric_ids
from kpis.indicators.rubrics import index, scenes
from kpis.indicators.rubrics.answers import Given, agreed, given, level
from kpis.indicators.rubrics.questionnaire import taken
from kpis.indicators.rubrics.result import Assessed, Assessment, Case, Reached, Status
from kpis.indicators.rubrics.scoring import ScoreError
from kpis.indicators.said import Said

INDEX_OF: Mapping[str, str] = {"jiangsu-grades-2025": "jiangsu-index-2025"}
SCENES_OF: Mapping[str, str] = {"jiangsu-grades-2025": "jiangsu-scenes-2025", "factory-grades-2025": "scenes-2025"}
MATURITY = 4
"""The highest level of GB/T 39116 that a grade asks for; the standard has five."""


def assess(case: Case, rubric: Rubric) -> Assessment:
    """Return the grades' assessment; `grade` is the highest one all of whose conditions hold."""
    answers = given(case.grounds.plant, rubric)
    faults = list(answers.unknown)
    total, most = _index(case, rubric, faults)
    levels = _scenes(case, rubric, faults)
    reached = []
    for grade in rubric.grades:
        held = [_condition(case, grade, one, answers, (total, most), levels, faults) for one in grade.conditions]
        lacking = [told for one in held if not one.met and _binds(one) for told in one.missing]
        reached.append(Reached(grade=grade, conditions=held, lacking=lacking))
    best = None
    for one in sorted(reached, key=lambda one: one.grade.number):
        if not all(condition.met for condition in one.conditions if _binds(condition)):
            break
        best = one.grade
    return Assessment(rubric=rubric, grades=reached, total=total, most=most, grade=best, faults=faults)


def _binds(one: Assessed) -> bool:
    """Return whether a condition is one, and no advice."""
    return not (isinstance(one.of, Condition) and one.of.advised)


def _index(case: Case, rubric: Rubric, faults: list[str]) -> tuple[Fraction | None, Fraction | None]:
    name = INDEX_OF.get(rubric.id)
    if name is None:
        return None, None
    found = index.assess(case, load_rubric(name))
    faults += found.faults
    return found.total, found.most


def _scenes(case: Case, rubric: Rubric, faults: list[str]) -> list[int]:
    name = SCENES_OF.get(rubric.id, "")
    if name not in rubric_ids():
        return []
    of = load_rubric(name)
    answers = given(case.grounds.plant, of)
    faults += answers.unknown
    found = [taken(scenes.assess, case, scene, answers.of.get(scene.id), faults) for scene in of.scenes]
    return [scenes.reached(one) for one in found]


def _condition(
    case: Case,
    grade: Grade,
    condition: Condition,
    answers: Given,
    score: tuple[Fraction | None, Fraction | None],
    levels: list[int],
    faults: list[str],
) -> Assessed:
    answer = answers.of.get("maturity" if condition.kind == "maturity" else condition.id)
    try:
        match condition.kind:
            case "score":
                return _score(condition, *score)
            case "scenes":
                return _count(condition, grade, levels)
            case "maturity":
                return _maturity(condition, answer)
            case _:
                return _said(case, condition, answer)
    except ScoreError as error:
        told = f"{answer.rubric} {error} (declared by {answer.declared_by})" if answer is not None else str(error)
        faults += [told] if told not in faults else []  # one answer is for all grades
        return Assessed(of=condition, status="not assessable", missing=[error.told])


def _score(condition: Condition, total: Fraction | None, most: Fraction | None) -> Assessed:
    needed = Fraction(condition.value or 0)
    if total is None or most is None:
        return Assessed(of=condition, status="not assessable", missing=[Said("there is no score", "没有得分")])

    def enough(of: Fraction) -> bool:
        return of > needed if condition.op == ">" else of >= needed

    if enough(total):
        return Assessed(of=condition, status="declared", met=True, score=total)
    en = f"the index gives {float(total):.2f} to {float(most):.2f}, asked for is {condition.op} {condition.value}"
    got = f"{float(total):.2f}" if total == most else f"{float(total):.2f}～{float(most):.2f}"
    zh = f"自评价得分 {got} 分，要求{'高于' if condition.op == '>' else '不低于'} {condition.value} 分"
    met = None if enough(most) else False
    status: Status = "not assessable" if met is None else "declared"
    return Assessed(of=condition, status=status, met=met, score=total, missing=[Said(en, zh)])


def _count(condition: Condition, grade: Grade, levels: list[int]) -> Assessed:
    there = sum(one >= grade.number for one in levels)
    needed = int(condition.value or 0)
    en = f"{there} scenes of {needed} at the grade's own description or a higher one"
    zh = f"达到本级及以上描述的场景 {there} 个，要求不低于 {needed} 个"
    met = there >= needed
    missing = [] if met else [Said(en, zh)]
    return Assessed(of=condition, status="declared", met=met, score=Fraction(there), missing=missing)


def _maturity(condition: Condition, answer: Answer | None) -> Assessed:
    needed = int(condition.value or 0)
    if answer is None:
        en = "no maturity level (GB/T 39116) is declared; add a row with item maturity to answers.csv"
        zh = "未填报智能制造能力成熟度等级；请在 answers.csv 中增加题号为 maturity 的一行"
        return Assessed(of=condition, status="not assessable", missing=[Said(en, zh)])
    own = level(condition, answer, MATURITY + 1)
    met = own >= needed
    missing = (
        [] if met else [Said(f"maturity {own}, asked for is {needed}", f"成熟度 {own} 级，要求 {needed} 级及以上")]
    )
    return Assessed(of=condition, status="declared", met=met, answer=answer, chosen=(own,), missing=missing)


def _said(case: Case, condition: Condition, answer: Answer | None) -> Assessed:
    finding = case.findings.get(condition.partial)
    notes = [finding.told] if finding is not None and finding.holds else []
    if answer is None:
        asked = condition.text if len(condition.text) <= 20 else f"{condition.text[:20]}…"
        en = f"nobody says so: {asked}; add a row with item {condition.id} to answers.csv"
        zh = f"未填报“{asked}”（answers.csv 中题号为 {condition.id}）"
        return Assessed(of=condition, status="not assessable", notes=notes, missing=[Said(en, zh)])
    met = agreed(answer) if condition.kind != "ai_share" else _share(condition, answer)
    missing = [] if met else [Said("declared as not met", "申报为不满足")]
    return Assessed(of=condition, status="partly proven" if met and notes else "declared", met=met, answer=answer,
                    notes=notes, missing=missing)  # fmt: skip


def _share(condition: Condition, answer: Answer) -> bool:
    try:
        own = Fraction(number_cell(answer.answer.strip().rstrip("%％")))
    except ValueError:
        en = f"{condition.id}: {answer.answer!r} is no percentage; write such as 25"
        raise ScoreError(en, "应填百分比，如 25") from None
    if not 0 <= own <= 100:
        en = f"{condition.id}: {answer.answer!r} is not within 0 and 100 %; mend the answer"
        raise ScoreError(en, "百分比应在 0～100 之间；请修改答案")
    return own >= Fraction(condition.value or 0)

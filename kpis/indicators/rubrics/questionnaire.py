"""A questionnaire of weighted items and scenes (SME 2024): points, levels by both parts, what the next one lacks."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import TypeVar

from config.registers import Answer
from config.rubrics import Grade, Item, Rubric, Scene
from kpis.indicators.base import plain
from kpis.indicators.rubrics import items, scenes
from kpis.indicators.rubrics.answers import Unanswered, given
from kpis.indicators.rubrics.result import STATUSES, Assessed, Assessment, Case, Reached, Status
from kpis.indicators.rubrics.scoring import ScoreError, grade_of, lacking, reaches
from kpis.indicators.said import Said

Thing = TypeVar("Thing", Item, Scene)


def assess(case: Case, rubric: Rubric) -> Assessment:
    """Return a questionnaire's assessment."""
    answers = given(case.grounds.plant, rubric)
    faults = list(answers.unknown)
    listed = [taken(items.assess, case, item, answers.of.get(item.id), faults) for item in rubric.items]
    shown = [taken(scenes.assess, case, scene, answers.of.get(scene.id), faults) for scene in rubric.scenes]
    total = sum((one.points for one in listed if one.points is not None), Fraction(0))
    open_ones = sum((one.most or Fraction(0) for one in listed if one.points is None), Fraction(0))
    levels = [(scenes.reached(one), one.of.binding) for one in shown if isinstance(one.of, Scene)]
    number = min(grade_of(rubric.grades, total, levels))
    return Assessment(
        rubric=rubric,
        items=listed,
        scenes=shown,
        grades=[_reached(grade, total, levels) for grade in rubric.grades],
        total=total,
        most=total + open_ones,
        by_status=_by_status(listed),
        grade=next((grade for grade in rubric.grades if grade.number == number), None),
        faults=faults,
    )


def taken(
    assess_one: Callable[[Case, Thing, Answer | None], Assessed],
    case: Case,
    thing: Thing,
    answer: Answer | None,
    faults: list[str],
) -> Assessed:
    """Return one item's standing; an answer that cannot be taken is told in `faults`, and counts as none."""
    try:
        return assess_one(case, thing, answer)
    except ScoreError as error:
        if answer is None:
            raise  # there is no answer to leave out
        en, zh = (said.removeprefix(f"{thing.id}: ") for said in (error.told.en, error.told.zh))
        faults.append(f"{answer.rubric} {thing.id}: {en} (declared by {answer.declared_by})")
        open_one: Assessed = assess_one(case, thing, None)
        told = Said(f"the answer {answer.answer!r} is left out: {en}", f"所填答案“{answer.answer}”未采信：{zh}")
        missing = [told, *(said for said in open_one.missing if not isinstance(said, Unanswered))]
        return replace(open_one, missing=missing)


def _by_status(listed: Sequence[Assessed]) -> dict[Status, Fraction]:
    """Return how many points each status stands for; of what cannot be assessed, how many it could give."""
    found = dict.fromkeys(STATUSES, Fraction(0))
    for one in listed:
        found[one.status] += (one.points if one.points is not None else one.most) or Fraction(0)
    return found


def _reached(grade: Grade, total: Fraction, levels: Sequence[tuple[int, bool]]) -> Reached:
    scenes_short, binding_short = lacking(grade, levels)
    missing = []
    asked = f"{'零一二三四'[grade.scene_level]}级"
    if not reaches(grade, total):
        short = plain(Fraction(ceil((Fraction(grade.points or 0) - total) * 100), 100))
        missing.append(Said(f"{short} points", f"{short} 分"))
    if scenes_short:
        en = f"{scenes_short} scenes at level {grade.scene_level}"
        missing.append(Said(en, f"{scenes_short} 个场景达到{asked}"))
    if binding_short:
        en = f"{binding_short} binding scenes at level {grade.scene_level}"
        missing.append(Said(en, f"{binding_short} 个约束性场景达到{asked}"))
    enough = not (scenes_short or binding_short)
    return Reached(grade=grade, points=reaches(grade, total), scenes=enough, lacking=missing)

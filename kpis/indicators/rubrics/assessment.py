"""A rubric of any kind against a case."""

from config.registers import Answer
from config.rubrics import Item, Rubric, load_rubric
from kpis.indicators.rubrics import grades, index, items, questionnaire, scenes
from kpis.indicators.rubrics.answers import given
from kpis.indicators.rubrics.gaps import aim
from kpis.indicators.rubrics.result import Assessed, Assessment, Case
from kpis.indicators.said import Said

TARGETS = "targets"


def assess(case: Case, rubric: Rubric) -> Assessment:
    """Return a rubric's assessment; answers that cannot be taken stand in `faults`."""
    match rubric.kind:
        case "questionnaire":
            return questionnaire.assess(case, rubric)
        case "index":
            return index.assess(case, rubric)
        case "grades":
            return grades.assess(case, rubric)
        case "scenes":
            return _scenes(case, rubric)
        case "kpis":
            return Assessment(rubric=rubric, items=[_kpi(case, rubric, item) for item in rubric.items])
        case "targets":
            return Assessment(rubric=rubric, aims=[aim(t, case.figures.get(t.indicator)) for t in rubric.targets])


def aims(case: Case) -> Assessment:
    """Return the targets that a plant is shown against."""
    return assess(case, load_rubric(TARGETS))


def _scenes(case: Case, rubric: Rubric) -> Assessment:
    answers = given(case.grounds.plant, rubric)
    faults = list(answers.unknown)
    found = [questionnaire.taken(scenes.assess, case, s, answers.of.get(s.id), faults) for s in rubric.scenes]
    return Assessment(rubric=rubric, scenes=found, faults=faults)


def _beside(answer: Answer) -> Said:
    return Said(f"declared as {answer.answer}: the data count", f"申报值为 {answer.answer}，以计算值为准")


def _kpi(case: Case, rubric: Rubric, item: Item) -> Assessed:
    """Return one key figure: computed where it can be, declared where somebody says it."""
    answer = given(case.grounds.plant, rubric).of.get(item.id)
    figure = case.figures.get(item.indicator)
    compared = case.comparisons.get(item.indicator) if item.change else None
    if figure is not None and figure.value is not None:
        used = [figure] if compared is None else [compared.before, compared.after]
        status, missing = items.standing(case, item, used)
        if item.change and (compared is None or compared.change is None):
            missing.append(Said("there is no figure of the period before to compare with", "没有上一期的数值可供比较"))
            status = "partly proven" if status == "proven" else status
        notes = [] if answer is None else [_beside(answer)]
        return Assessed(of=item, status=status, figure=figure, comparison=compared, answer=answer, notes=notes,
                        missing=missing)  # fmt: skip
    told = items.lacking(item, figure) if item.indicator else []
    if answer is None:
        return Assessed(of=item, status="not assessable", figure=figure, missing=[*told, items.no_answer(item)])
    return Assessed(of=item, status="declared", figure=figure, answer=answer, missing=told)

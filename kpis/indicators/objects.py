"""Figures, comparisons and assessments as plain data for programs: JSON, and the tables of exports."""

import datetime as dt
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from config.plant import Plant
from config.registers import Answer
from config.rubrics import Condition, Option
from kpis.indicators.base import Figure, Input
from kpis.indicators.comparison import Comparison
from kpis.indicators.rubrics.result import Assessed, Assessment, Case, Gap
from kpis.indicators.said import Said


def figure_object(plant: Plant, one: Figure) -> dict[str, Any]:
    """Return a figure as plain data: the columns of RESULT, and what is behind it.

    `exact` holds value, n and N as fractions of whole numbers, as text.
    """
    amount = one.amount
    value = None if one.value is None else float(one.value)
    return {
        "kpi": one.indicator.id,
        "subject": one.subject,
        "period": "total",
        "start": iso(plant, one.start),
        "end": iso(plant, one.end),
        "value": value,
        "low": value,
        "high": value,
        "unit": one.indicator.unit,
        "numerator": _float(amount.numerator),
        "denominator": _float(amount.denominator),
        "coverage": amount.coverage,
        "flags": [*amount.flags, *(["declared"] if one.declared else []), *(["refused"] if one.refused else [])],
        "rule": one.rule,
        "title": one.indicator.title,
        "title_zh": one.indicator.title_zh,
        "evidence": one.indicator.evidence,
        "exact": {name: None if of is None else str(of) for name, of in
                  (("value", one.value), ("numerator", amount.numerator), ("denominator", amount.denominator))},
        "inputs": [_input(of) for of in amount.inputs],
        "members": [
            {"id": m.id, "name": m.name, "counted": m.counted, "met": m.met, "reason": _both(m.reason)}
            for m in amount.members
        ],
        "missing": [_both(said) for said in amount.missing],
        "refused": None if one.refused is None else _both(one.refused),
    }  # fmt: skip


def comparison_object(plant: Plant, one: Comparison) -> dict[str, Any]:
    """Return a comparison as plain data."""
    return {
        "kpi": one.after.indicator.id,
        "subject": one.after.subject,
        "before": figure_object(plant, one.before),
        "after": figure_object(plant, one.after),
        "difference": _float(one.difference),
        "relative": _float(one.relative),
        "change": one.change,
    }


def assessment_object(case: Case, found: Assessment) -> dict[str, Any]:
    """Return an assessment as plain data, every item with its citation."""
    plant = case.grounds.plant
    rubric = found.rubric
    return {
        "rubric": rubric.id,
        "title": rubric.title,
        "document": rubric.number,
        "start": iso(plant, case.grounds.start),
        "end": iso(plant, case.grounds.end),
        "total": _float(found.total),
        "most": _float(found.most),
        "by_status": None if found.by_status is None else {s: float(points) for s, points in found.by_status.items()},
        "grade": None if found.grade is None else found.grade.title,
        "items": [_assessed(plant, one) for one in found.items],
        "scenes": [_assessed(plant, one) for one in found.scenes],
        "grades": [
            {"grade": one.grade.title, "points": one.points, "scenes": one.scenes,
             "lacking": [_both(said) for said in one.lacking],
             "conditions": [_assessed(plant, condition) for condition in one.conditions]}
            for one in found.grades
        ],
        "targets": [
            {"title": one.target.title, "percent": float(one.target.percent), "year": one.target.year,
             "secondary": one.target.secondary, "cites": _cites(one.target),
             "figure": None if one.figure is None else figure_object(plant, one.figure), "gap": _gap(one.gap)}
            for one in found.aims
        ],
        "faults": list(found.faults),
    }  # fmt: skip


def _assessed(plant: Plant, one: Assessed) -> dict[str, Any]:
    of = one.of
    options: Sequence[Option] = getattr(of, "options", ())
    return {
        "id": of.id,
        "title": of.text if isinstance(of, Condition) else of.title,
        "cites": _cites(of),
        "status": one.status,
        "chosen": list(one.chosen),
        "options": [options[n - 1].text for n in one.chosen if options],
        "score": _float(one.score),
        "points": _float(one.points),
        "most": _float(one.most),
        "met": one.met,
        "figure": None if one.figure is None else figure_object(plant, one.figure),
        "comparison": None if one.comparison is None else comparison_object(plant, one.comparison),
        "answer": None if one.answer is None else _answer(one.answer),
        "notes": [_both(said) for said in one.notes],
        "missing": [_both(said) for said in one.missing],
        "gap": _gap(one.gap),
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return answer.model_dump(mode="json")


def _cites(of: Any) -> list[dict[str, Any]]:
    return [{"line": cite.line, "words": cite.words} for cite in of.cites]


def _gap(gap: Gap | None) -> dict[str, Any] | None:
    if gap is None:
        return None
    return {"percent": float(gap.percent), "inclusive": gap.inclusive, "numerator": gap.numerator,
            "needed": gap.needed, "denominator": gap.denominator, "more": gap.more, "points": _float(gap.points),
            "candidates": [_both(said) for said in gap.candidates]}  # fmt: skip


def _input(of: Input) -> dict[str, Any]:
    return {
        "name": of.name,
        "value": _float(of.value),
        "unit": of.unit,
        "origin": of.origin,
        "period": of.period,
        "declared_by": of.declared_by,
        "declared_at": None if of.declared_at is None else of.declared_at.isoformat(),
        "attachment": of.attachment,
        "attachment_sha256": of.attachment_sha256,
        "coverage": of.coverage,
    }


def _both(said: Said) -> dict[str, str]:
    return {"en": said.en, "zh": said.zh}


def _float(value: Fraction | None) -> float | None:
    return None if value is None else float(value)


def iso(plant: Plant, ns: int) -> str:
    """Return an instant [ns since 1970, UTC] as ISO 8601 with the plant's offset."""
    seconds, rest = divmod(ns, 10**9)
    return (dt.datetime.fromtimestamp(seconds, plant.zone) + dt.timedelta(microseconds=rest // 1000)).isoformat()

"""Declared answers to a rubric's items, read against its options."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from config.plant import Plant
from config.registers import Answer
from config.rubrics import Condition, Item, Rubric, Scene
from kpis.indicators.rubrics.scoring import ScoreError
from kpis.indicators.said import Said

NOT_INVOLVED = ("不涉及", "不涉及此环节", "not involved")
YES = ("yes", "是", "1", "满足")
NO = ("no", "否", "0", "不满足")


class Unanswered(Said):
    """What to do where nobody answered; an answer that is left out says more than that."""


@dataclass(frozen=True, slots=True)
class Given:
    """A plant's answers to one rubric by item, and those that no item of it takes."""

    of: Mapping[str, Answer]
    unknown: Sequence[str]


def given(plant: Plant, rubric: Rubric) -> Given:
    """Return the plant's answers to a rubric; of two to one item the later one counts."""
    mine = sorted((a for a in plant.answers if a.rubric == rubric.id), key=lambda answer: answer.declared_at)
    known = {*(item.id for item in rubric.items), *(scene.id for scene in rubric.scenes), "maturity"}
    known |= {condition.id for grade in rubric.grades for condition in grade.conditions}
    unknown = [f"{a.item}: {rubric.id} has no such item; its ids stand in docs/rubrics.md" for a in mine
               if a.item not in known]  # fmt: skip
    return Given({a.item: a for a in mine if a.item in known}, unknown)


def options(item: Item, answer: Answer) -> tuple[int, ...]:
    """Return the numbers of the options that an answer chooses: "3", "2+4"; raises ScoreError."""
    words = re.split(r"[+,，、;；\s]+", answer.answer.strip())
    if not all(re.fullmatch(r"\d{1,3}", word) for word in words):
        rule = f"is no number of an option, 1 to {len(item.options)}"
        en = f"{item.id}: {answer.answer!r} {rule}; write such as 3, or 2+4 where several may be chosen"
        raise ScoreError(en, f"应填选项序号（1～{len(item.options)}），如 3；多选题用 + 连接，如 2+4")
    return tuple(sorted({int(word) for word in words}))


def level(thing: Scene | Item | Condition, answer: Answer, most: int) -> int:
    """Return the level that an answer names, 0 to `most`; raises ScoreError."""
    words = {name: number for number, name in enumerate(("无", "一级", "二级", "三级", "四级", "五级", "六级"))}
    words |= {name: number for number, name in enumerate(("", "基础级", "先进级", "卓越级", "领航级"))}
    text = answer.answer.strip()
    number = words.get(text, int(text) if re.fullmatch(r"\d", text) else -1)
    if not 0 <= number <= most:
        raise ScoreError(f"{thing.id}: {text!r} is no level; write 0 to {most}", f"等级应填 0～{most}")
    return number


def agreed(answer: Answer) -> bool:
    """Return whether an answer says yes; raises ScoreError where it says neither yes nor no."""
    text = answer.answer.strip().lower()
    if text not in (*YES, *NO):
        raise ScoreError(f"{answer.item}: {answer.answer!r} is neither yes nor no; write 是 or 否", "应填“是”或“否”")
    return text in YES


def not_involved(answer: Answer) -> bool:
    """Return whether an answer says 不涉及此环节."""
    return answer.answer.strip().lower() in NOT_INVOLVED

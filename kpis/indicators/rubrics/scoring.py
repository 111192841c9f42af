"""The assessments' arithmetic: options, bands, weights and points, exactly.

SME questionnaire 2024 (中小企业数字化水平评测指标): scoring rules 1 and 2. Jiangsu index 2025: table 3 and rule 3.
"""

from collections.abc import Collection, Sequence
from decimal import Decimal
from fractions import Fraction

from config.rubrics import Band, Grade, Item, Option
from kpis.indicators.said import Said

FULL = Fraction(100)
_SINGLE = (3, 5, 6)
"""Numbers of options for which the text says what each is worth."""


class ScoreError(ValueError):
    """An answer cannot be scored; the message says the item, the answer, the rule and the next step."""

    def __init__(self, en: str, zh: str = "") -> None:
        super().__init__(en)
        self.told = Said(en, zh or en)


def single(item: Item, chosen: int) -> Fraction:
    """Return the score of one option, 0 to 100: options are evenly spaced from the first to the last."""
    count = len(item.options)
    if count not in _SINGLE:
        raise ScoreError(f"{item.id}: the text scores items of 3, 5 or 6 options, not of {count}")
    _known(item, (chosen,))
    return FULL * (chosen - 1) / (count - 1)


def multiple(item: Item, chosen: Collection[int]) -> Fraction:
    """Return the score of several options, 0 to 100: their number x 100 / (all options - 1); the first one is 无."""
    _known(item, chosen)
    if not chosen:
        raise ScoreError(
            f"{item.id}: no option is chosen; choose 1 (无) where none applies", "未选择选项；都不符合请填 1（无）"
        )
    if 1 in chosen and len(set(chosen)) > 1:
        en = f"{item.id}: {_listed(chosen)} holds 1 (无) and others; leave one or the others out"
        raise ScoreError(en, "选项 1（无）不能与其他选项同时选择")
    return Fraction(0) if 1 in chosen else FULL * len(set(chosen)) / (len(item.options) - 1)


def score(item: Item, chosen: Collection[int]) -> Fraction:
    """Return the score of the chosen options, 0 to 100; raises ScoreError."""
    if item.answer == "multiple":
        return multiple(item, chosen)
    if len(chosen) != 1:
        en = f"{item.id}: {_listed(chosen)} are {len(chosen)} options of a single choice; choose one"
        raise ScoreError(en, "本题为单选题，只能选一项")
    return single(item, next(iter(chosen)))


def band(options: Sequence[Option], share: Fraction) -> int:
    """Return the number of the option, from 1, whose band holds a share of 0 to 1: above `over`, up to `upto` [%]."""
    percent = share * 100
    for number, option in enumerate(options, 1):
        above = option.over is None or percent > _exact(option.over)
        if above and option.upto is not None and 0 <= percent <= _exact(option.upto):
            return number
    raise ScoreError(f"{float(percent):g} % is in no band; a share lies between 0 and 100 %")


def weight(item: Item) -> Fraction:
    """Return the most points that an item can give: the product of its weights."""
    found = FULL
    for one in item.weights:
        found *= _exact(one) / 100
    return found


def points(item: Item, of: Fraction) -> Fraction:
    """Return the points that a score of an item gives."""
    return of * weight(item) / 100


def grade_of(grades: Sequence[Grade], total: Fraction, scenes: Sequence[tuple[int, bool]]) -> tuple[int, int]:
    """Return the numbers of the highest grades that the points reach, and that the scenes reach; 0 for none.

    scenes: of each scene its level, 0 for none, and whether it is a binding one. The plant's level is the lesser of
    the two, as both parts must hold.
    """
    by_points = by_scenes = 0
    for grade in sorted(grades, key=lambda grade: grade.number):
        if by_points == grade.number - 1 and reaches(grade, total):
            by_points = grade.number
        if by_scenes == grade.number - 1 and not any(lacking(grade, scenes)):
            by_scenes = grade.number
    return by_points, by_scenes


def reaches(grade: Grade, total: Fraction) -> bool:
    """Return whether points are enough for a grade."""
    if grade.points is None:
        return True
    needed = _exact(grade.points)
    return total > needed if grade.points_op == ">" else total >= needed


def lacking(grade: Grade, scenes: Sequence[tuple[int, bool]]) -> tuple[int, int]:
    """Return how many scenes, and how many binding ones, a grade lacks at its level."""
    there = [binding for level, binding in scenes if level >= grade.scene_level]
    return max(0, grade.scenes - len(there)), max(0, grade.binding - sum(there))


def fit(bands: Sequence[Band], level: int, own: Decimal) -> Band:
    """Return the stretch of a level that holds the points that a plant gives itself; raises ScoreError."""
    mine = [one for one in bands if one.level == level]
    for one in mine:
        if one.low < own < one.high or (own == one.low and (not one.low_open or one.low == one.high)):
            return one
    low, high = min(one.low for one in mine), max(one.high for one in mine)
    stretch = f"{low:f}" if low == high else f"above {low:f}" if mine[0].low_open else f"from {low:f}"
    upto = "" if low == high else f", below {high:f}"
    zh_low = f"为 {low:f} 分" if low == high else f"大于 {low:f} 分" if mine[0].low_open else f"不低于 {low:f} 分"
    zh_upto = "" if low == high else f"、小于 {high:f} 分"
    raise ScoreError(
        f"{own:f} points do not fit level {level}: it takes {stretch}{upto}; mend the score or the level",
        f"{own:f} 分与第 {level} 级不符，该级得分应{zh_low}{zh_upto}；请修改得分或等级",
    )


def composite(scores: Sequence[Fraction]) -> Fraction | None:
    """Return the score of the whole from those of the items that are involved, 0 to 100; None without any.

    An item that is not involved gives its weight to the others in equal parts, so the mean of the others is left.
    """
    return sum(scores, Fraction(0)) / len(scores) if scores else None


def needed(total: int, percent: Fraction, *, inclusive: bool) -> int:
    """Return how many of `total` are the fewest whose share reaches (or else exceeds) a percentage."""
    exact = percent * total / 100
    whole = -(-exact.numerator // exact.denominator)
    return whole if inclusive or exact.denominator > 1 else whole + 1


def _known(item: Item, chosen: Collection[int]) -> None:
    for one in chosen:
        if not 1 <= one <= len(item.options):
            en = f"{item.id}: there is no option {one}; it has 1 to {len(item.options)}"
            raise ScoreError(en, f"没有第 {one} 个选项，本题选项为 1～{len(item.options)}")


def _listed(chosen: Collection[int]) -> str:
    return "+".join(str(one) for one in sorted(chosen)) or "nothing"


def _exact(number: Decimal) -> Fraction:
    return Fraction(number)

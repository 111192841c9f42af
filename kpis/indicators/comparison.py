"""Two figures of one indicator against each other, and the periods that are compared.

Periods are [start, end) [ns since 1970, UTC] and move with the calendar of the plant's zone: a production day stays a
production day over clock changes and leap years.
"""

import datetime as dt
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from config.plant import Plant
from kpis.calendar import to_ns
from kpis.indicators.base import Figure, rounded
from kpis.indicators.said import Said

Period = tuple[int, int]
Change = Literal["up", "same", "down"]
DIGITS = 4
"""Decimals that two values are rounded to, once and half up, before they are called the same; of a share those of two
decimals of its percentage."""
RULE = Said(
    f"same: equal once rounded half up to {DIGITS} decimals (of a share: {DIGITS - 2} decimals of its percentage)",
    f"持平：四舍五入至小数点后 {DIGITS} 位（比率为百分数小数点后 {DIGITS - 2} 位）后相等",
)
OPTIONS: dict[Change, str] = {"up": "增加", "same": "持平", "down": "降低"}
_MICROSECOND = 1000


class ComparisonError(ValueError):
    """Figures that must not be compared: the thing, the value, the rule, the next step."""

    def __init__(self, said: Said) -> None:
        super().__init__(said.en)
        self.said = said


@dataclass(frozen=True, slots=True)
class Comparison:
    """One indicator's figures of two periods; raises ComparisonError where they are of different rules or things."""

    before: Figure
    after: Figure

    def __post_init__(self) -> None:
        a, b = self.before, self.after
        if (a.indicator.id, a.subject) != (b.indicator.id, b.subject):
            raise ComparisonError(_two_things(a, b))
        if a.value is not None and b.value is not None and a.rule != b.rule:
            raise ComparisonError(_two_rules(a, b))

    @property
    def difference(self) -> Fraction | None:
        """After less before, in the indicator's unit; a share's is shown in percentage points."""
        a, b = self.before.value, self.after.value
        return None if a is None or b is None else b - a

    @property
    def points(self) -> Fraction | None:
        """The difference of two shares in percentage points; None where it is no share."""
        share = self.after.indicator.unit == "1"
        return self.difference * 100 if share and self.difference is not None else None

    @property
    def relative(self) -> Fraction | None:
        """The difference as a part of what was before; None where that is 0."""
        return self.difference / self.before.value if self.difference is not None and self.before.value else None

    @property
    def change(self) -> Change | None:
        """How the figure went, by RULE; None where one of the two has no value."""
        if self.before.value is None or self.after.value is None:
            return None
        a, b = (rounded(value, DIGITS) for value in (self.before.value, self.after.value))
        return "same" if a == b else "up" if b > a else "down"

    @property
    def direction(self) -> Literal["better", "worse", "same", ""]:
        """Whether that is better by the indicator; empty where nothing says."""
        if self.change in (None, "same"):
            return "same" if self.change else ""
        wanted = self.after.indicator.better
        return "" if not wanted else "better" if self.change == wanted else "worse"


def compare(before: Figure, after: Figure) -> Comparison:
    """Return two figures of one indicator and subject against each other; raises ComparisonError."""
    return Comparison(before, after)


def before(plant: Plant, period: Period) -> Period:
    """Return the period of the same length that ends where this one starts.

    Whole months go before whole months (a quarter before a quarter), production days before as many production days.
    """
    start, end = (_local(plant, at) for at in period)
    if start.time() != end.time():
        return period[0] - (period[1] - period[0]), period[0]
    months = (end.year - start.year) * 12 + end.month - start.month
    if months and start.day == end.day == 1 and start.time() == plant.day_start:
        return _moved(plant, period[0], months=-months), period[0]
    return _moved(plant, period[0], days=(start.date() - end.date()).days), period[0]


def year_before(plant: Plant, period: Period) -> Period:
    """Return the same period of the year before, by the plant's clock.

    Its ends are the same dates; 29 February becomes 1 March, so that a month stays a whole month. The 29th alone is
    held against 28 February.
    """
    start, end = (_moved(plant, at, months=-12) for at in period)
    return (start, end) if start < end else (_moved(plant, start, days=-1), end)


def around(plant: Plant, at: int, period: Period) -> tuple[Period, Period]:
    """Return as many days before a retrofit as after it [ns since 1970, UTC], within the period.

    A period that starts at the retrofit or later is what came after; as long before the retrofit is held against it.
    Raises ValueError where the period ends before the retrofit.
    """
    start, end = period
    moment = _local(plant, at)
    if end <= at:
        raise ValueError(
            f"the period ends before the retrofit of {moment:%Y-%m-%d}; name a period that goes on after it"
        )
    if start >= at:
        days = _days(plant, start, end)
        whole = days > 0 and _days_off(plant, start, days) == end
        return (_days_off(plant, at, -days) if whole else at - (end - start), at), (start, end)
    days = min(_days(plant, start, at), _days(plant, at, end))
    if days == 0:
        raise ValueError(f"the period has no whole day on both sides of {moment:%Y-%m-%d}; widen it")
    return (_days_off(plant, at, -days), at), (at, _days_off(plant, at, days))


def _two_things(a: Figure, b: Figure) -> Said:
    names = [f"{one.indicator.id} of {one.subject}" for one in (a, b)]
    return Said(
        f"{names[0]} cannot be compared with {names[1]}; compare one indicator of one subject in two periods",
        f"{names[0]} 与 {names[1]} 不是同一对象的同一指标，不能相互比较",
    )


def _two_rules(a: Figure, b: Figure) -> Said:
    return Said(
        f"{a.indicator.id} of {a.subject}: the figure before is of rule {a.rule!r} and the one after of {b.rule!r}; a "
        "comparison takes one rule, factor set and scope: compute both with the same",
        f"{a.subject} 的{a.indicator.title_zh}：前后两期的规则不同（{a.rule}；{b.rule}），"
        "比较须用同一规则、同一套系数与范围；请按同一口径重新计算",
    )


def _local(plant: Plant, at: int) -> dt.datetime:
    """Return an instant as a wall time of the plant, without its nanoseconds."""
    return dt.datetime.fromtimestamp(at // 10**9, plant.zone) + dt.timedelta(microseconds=at % 10**9 // _MICROSECOND)


def _moved(plant: Plant, at: int, *, months: int = 0, days: int = 0) -> int:
    """Return an instant moved by the plant's calendar; 29 February becomes 1 March where there is none."""
    wall = _local(plant, at).replace(tzinfo=None)
    count = wall.year * 12 + wall.month - 1 + months
    day = dt.date(count // 12, count % 12 + 1, 1) + dt.timedelta(days=wall.day - 1)
    moved = dt.datetime.combine(day + dt.timedelta(days=days), wall.time(), tzinfo=plant.zone)
    return to_ns(moved.astimezone(dt.UTC)) + at % _MICROSECOND


def _days_off(plant: Plant, at: int, days: int) -> int:
    return _moved(plant, at, days=days)


def _days(plant: Plant, start: int, end: int) -> int:
    """Return how many whole days of the plant's clock lie between two instants."""
    days = (_local(plant, end).date() - _local(plant, start).date()).days
    return days if _days_off(plant, start, days) <= end else days - 1

"""Qualified rate of products (月均产品合格率) from declared numbers, month by month where each month is declared."""

import datetime as dt
from fractions import Fraction

from kpis.indicators import ratios
from kpis.indicators.base import Amount, Grounds
from kpis.indicators.declared import Stated, period_text, stated_of, whole_days
from kpis.indicators.errors import InputError
from kpis.indicators.said import Said

_DAY = dt.timedelta(days=1)
_MEASURES = ("products_good", "products_made")


def qualified_rate(grounds: Grounds, _subject: str) -> Amount | None:
    """Return the mean of the months' shares of good products; the share of the period where months are not declared.

    None where the plant declares neither number. Raises InputError where a month has more good products than products,
    or none at all.
    """
    if not any(measure in grounds.declared.rows for measure in _MEASURES):
        return None
    months = _months(*grounds.days) if whole_days(grounds) else []
    by_month = [[stated_of(grounds, measure, *month) for measure in _MEASURES] for month in months]
    if months and all(found.value is not None for month in by_month for found in month):
        return _mean(by_month, [period_text(*month) for month in months])
    good, made = (ratios.declared(grounds, measure) for measure in _MEASURES)
    return ratios.quotient(good, made, "whole period")


def _mean(by_month: list[list[Stated]], names: list[str]) -> Amount:
    """Return the mean of the months' shares."""
    shares = [_share(good.value, made.value, name) for (good, made), name in zip(by_month, names, strict=True)]
    inputs = tuple(one for month in by_month for found in month for one in found.inputs)
    flags = tuple(dict.fromkeys(flag for month in by_month for found in month for flag in found.flags))
    value = sum(shares, Fraction(0)) / len(shares)
    return Amount(value=value, inputs=inputs, flags=flags, rule="mean of months")


def _share(good: Fraction | None, made: Fraction | None, month: str) -> Fraction:
    if good is None or not made or good > made:
        told_of = f"{good}/{made}"
        raise InputError(Said(
            f"products of {month}: {told_of} are no share; good products lie between 0 and those made, and a month "
            "without products has no rate: mend the rows, or ask for a period without it",
            f"{month} 的合格品数量/产品产量（{told_of}）不成立：合格品应在 0 与产量之间，产量为 0 的月份没有合格率；"
            "请核对填报数据，或选取不含该月的时段",
        ))  # fmt: skip
    return good / made


def _months(first: dt.date, last: dt.date) -> list[tuple[dt.date, dt.date]]:
    """Return the calendar months that make up the days from `first` to `last`; none where they are no whole months."""
    if first.day != 1 or (last + _DAY).day != 1:
        return []
    months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    starts = [dt.date(*_first_of(month)) for month in months]
    ends = [dt.date(*_first_of(month + 1)) - _DAY for month in months]
    return list(zip(starts, ends, strict=True))


def _first_of(month: int) -> tuple[int, int, int]:
    """Return year, month and first day of a month counted from year 0."""
    return month // 12, month % 12 + 1, 1

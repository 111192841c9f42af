"""月均: the mean of the rates of a period's calendar months, by the plant's production days.

A period that is shorter than a month is one. No text says how the mean is taken; each month counts the same.
"""

import calendar
import datetime as dt
from collections.abc import Sequence
from fractions import Fraction

from config.schema import MICRO
from kpis.indicators import sums
from kpis.indicators.base import Amount, Grounds, Input, plain

RULE = "good/total, mean of months"


def qualified(grounds: Grounds, taken: sums.Taken) -> Amount:
    """Return the mean of the months' shares of good pieces, with each month as an input.

    A month in which good pieces are more than all is what the figure shows, so that it is refused.
    """
    rows = [(label, sums.total(sums.sums_of(grounds).used, taken.assets, month)) for label, month in _months(grounds)]
    inputs = [_input(label, row) for label, row in rows]
    rates = [one.value for one in inputs if one.value is not None]
    whole = sums.total(sums.sums_of(grounds).used, taken.assets)
    flags = [*sums.flags(whole, of_state=False), *taken.flags]
    if len(rates) < len(inputs):
        flags.append(f"months_without_pieces={len(inputs) - len(rates)}")
    wrong = [_pieces(row) for _, row in rows if not 0 <= _pieces(row)[0] <= _pieces(row)[1]]
    n, count = wrong[0] if wrong else (sum(rates, Fraction(0)), Fraction(len(rates)))
    return Amount(
        numerator=n,
        denominator=count,
        inputs=inputs,
        members=taken.members,
        coverage=sums.coverage(whole),
        flags=(*flags, *(["above_one"] if wrong else [])),
        rule=RULE,
    )


def _pieces(row: sums.Row) -> tuple[Fraction, Fraction]:
    return Fraction(sums.of(row, "good_known"), MICRO), Fraction(sums.of(row, "total_known"), MICRO)


def _input(label: str, row: sums.Row) -> Input:
    good, total = _pieces(row)
    rate = good / total if total else None
    name = f"good {plain(good)} of {plain(total)} pieces"
    return Input(name, rate, "1", "measured", label, coverage=sums.coverage(row))


def _months(grounds: Grounds) -> Sequence[tuple[str, str | None]]:
    """Return a label and the month of each month of the period; one without a month for a shorter period."""
    first, last = grounds.days
    if last < _in_a_month(first) - dt.timedelta(days=1):
        return [(f"{first}/{last}" if last > first else f"{first}", None)]
    numbers = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    return [(month, month) for month in (f"{n // 12:04}-{n % 12 + 1:02}" for n in numbers)]


def _in_a_month(day: dt.date) -> dt.date:
    """Return the same day of the next month, or that month's last."""
    year, month = divmod(day.year * 12 + day.month, 12)
    return dt.date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))

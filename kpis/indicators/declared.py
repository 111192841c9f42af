"""Declared amounts as inputs of figures: who says them, of which period, and what is missing where nobody does."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from config.business import Found
from config.measures import KIND_NAMES, MEASURES, media
from config.registers import Declared
from kpis.calendar import local_ns
from kpis.indicators.base import Grounds, Input
from kpis.indicators.said import Said

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Stated:
    """A declared amount [canonical unit] and its inputs; without a value, what is missing and the next step."""

    measure: str
    value: Fraction | None
    unit: str = ""
    inputs: Sequence[Input] = ()
    flags: Sequence[str] = ()
    missing: Sequence[Said] = ()
    factors: Sequence[str] = ()
    """Sets that amounts in tce were converted with."""


def stated(grounds: Grounds, measure: str) -> Stated:
    """Return what is declared of a measure for the period of the grounds."""
    if not whole_days(grounds):
        return Stated(measure, None, missing=(_no_whole_days(grounds, measure),))
    return stated_of(grounds, measure, *grounds.days)


def stated_of(grounds: Grounds, measure: str, first: dt.date, last: dt.date) -> Stated:
    """Return what is declared of a measure for the days from `first` to `last`, both included."""
    found = grounds.declared.of(measure, first, last)
    period = period_text(first, last)
    if found is None:
        return Stated(measure, None, missing=(_not_declared(measure, period),))
    factors = [row.factors for row in found.rows if row.factors] if found.unit == "tce" else []
    flags = tuple(f"{flag}={measure}" for flag in found.flags)
    inputs = _inputs(measure, found, period)
    return Stated(measure, found.value, found.unit, inputs, flags, factors=tuple(dict.fromkeys(factors)))


def whole_days(grounds: Grounds) -> bool:
    """Return whether the period starts and ends where a production day does."""
    first, last = grounds.days
    turns = [local_ns(grounds.plant, day, grounds.plant.day_start) for day in (first, last + _DAY)]
    return turns == [grounds.start, grounds.end]


def period_text(first: dt.date, last: dt.date) -> str:
    """Return the days from `first` to `last` as a declared period is written.

    2025, 2025-H1, 2025-Q1, 2025-03, 2025-03-01, or two dates 2025-01-01/2025-02-28.
    """
    after = last + _DAY
    months = (after.year - first.year) * 12 + after.month - first.month
    if first.day == after.day == 1:
        if months == 12 and first.month == 1:
            return f"{first.year}"
        if months == 3 and first.month % 3 == 1:
            return f"{first.year}-Q{first.month // 3 + 1}"
        if months == 6 and first.month in (1, 7):
            return f"{first.year}-H{first.month // 6 + 1}"
        if months == 1:
            return f"{first:%Y-%m}"
    return f"{first}" if first == last else f"{first}/{last}"


def name_zh(measure: str) -> str:
    """Return what a measure is called in Chinese; its id where it has no other name."""
    if measure in MEASURES:
        return MEASURES[measure].names[0]
    kind, _, medium = measure.partition(".")
    names = [name for name, known in media().items() if known == medium and not name.isascii()]
    return f"{names[-1]}{KIND_NAMES[kind][0]}" if names and kind in KIND_NAMES else measure


def _not_declared(measure: str, period: str) -> Said:
    todo = f"add a row to business.csv with period {period}, or rows that make it up without gap or overlap"
    return Said(
        f"{measure} of {period} is not declared; {todo}",
        f"{period} 期间的{name_zh(measure)}（{measure}）未填报；"
        f"请在 business.csv 中增加期间为 {period} 的一行，或填报首尾相接、互不重叠的各段期间",
    )


def _no_whole_days(grounds: Grounds, measure: str) -> Said:
    turn = f"{grounds.plant.day_start:%H:%M}"
    return Said(
        f"{measure}: declared values are of whole production days, and the period does not start and end where one "
        f"does ({turn}); ask for whole days",
        f"{name_zh(measure)}（{measure}）：填报数据按生产日统计，而所选时段的起止不在生产日分界（{turn}）；请按整日选取时段",
    )


def _inputs(measure: str, found: Found, period: str) -> tuple[Input, ...]:
    """Return the amount as one input, and behind it each row that it is made up of where they are several."""
    rows = found.rows
    if len(rows) == 1:
        return (_input(measure, found.value, found.unit, rows[0]),)
    names = ", ".join(dict.fromkeys(row.declared_by for row in rows))
    latest = max((row.declared_at for row in rows), default=None)
    whole = Input(measure, found.value, found.unit, "declared", period, names, latest)
    return (whole, *(_input(f"{measure} ({row.period})", Fraction(row.value), row.unit, row) for row in rows))


def _input(name: str, value: Fraction, unit: str, row: Declared) -> Input:
    return Input(
        name, value, unit, "declared", row.period, row.declared_by, row.declared_at, row.attachment,
        row.attachment_sha256,
    )  # fmt: skip

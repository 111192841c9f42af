"""Amounts of indicators that are made of others: quotients, and what both sides rest on."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from kpis.indicators.base import Amount, Grounds
from kpis.indicators.declared import Stated, stated
from kpis.indicators.quantities import Quantity

TEN_THOUSAND = 10_000
"""万: 元 in a 万元, kWh in a 万kWh."""


def declared(grounds: Grounds, measure: str, per: int = 1) -> Amount:
    """Return what is declared of a measure for the period, in so many of its canonical unit."""
    return of_stated(stated(grounds, measure), per)


def of_stated(found: Stated, per: int = 1) -> Amount:
    """Return a declared amount in so many of its canonical unit."""
    value = None if found.value is None else found.value / per
    return Amount(value=value, inputs=found.inputs, flags=found.flags, missing=found.missing)


def of_quantity(found: Quantity, per: int = 1) -> Amount:
    """Return an amount, metered or declared, in so many of its unit."""
    value = None if found.value is None else found.value / per
    coverage = None if found.coverage is None else float(found.coverage)
    return Amount(value=value, inputs=found.inputs, coverage=coverage, flags=found.flags, missing=found.missing)


def flagged(amount: Amount, flags: Sequence[str]) -> Amount:
    """Return an amount with further flags before its own."""
    return replace(amount, flags=(*flags, *amount.flags))


def times(amount: Amount, factor: Fraction | int) -> Amount:
    """Return an amount in a smaller unit: 1000 for kilograms in place of tonnes."""
    return _like([amount], value=None if amount.value is None else amount.value * factor, rule=amount.rule)


def total(amounts: Sequence[Amount], rule: str = "") -> Amount:
    """Return the sum of amounts; what one of them misses, the sum misses."""
    values = [amount.value for amount in amounts if amount.value is not None]
    whole = sum(values, Fraction(0)) if len(values) == len(amounts) else None
    return _like(amounts, value=whole, rule=rule)


def quotient(top: Amount, bottom: Amount, rule: str = "") -> Amount:
    """Return n/N of two amounts, with all that both rest on; the rule of the sides goes first."""
    said = " ".join(dict.fromkeys(text for text in (top.rule, bottom.rule, rule) if text))
    return _like([top, bottom], numerator=top.value, denominator=bottom.value, rule=said)


def _like(
    amounts: Sequence[Amount],
    *,
    value: Fraction | None = None,
    numerator: Fraction | None = None,
    denominator: Fraction | None = None,
    rule: str = "",
) -> Amount:
    """Return an amount that rests on all that these rest on; coverage is that of the least known."""
    coverages = [amount.coverage for amount in amounts if amount.coverage is not None]
    return Amount(
        numerator=numerator,
        denominator=denominator,
        value=value,
        inputs=tuple(dict.fromkeys(one for amount in amounts for one in amount.inputs)),
        coverage=min(coverages, default=None),
        flags=tuple(dict.fromkeys(flag for amount in amounts for flag in amount.flags)),
        rule=rule,
        missing=tuple(dict.fromkeys(said for amount in amounts for said in amount.missing)),
    )

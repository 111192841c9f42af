"""Numbers, instants and durations as the pages print them: rounded once, half up, a dash for what is not known."""

import datetime as dt
from decimal import Decimal
from fractions import Fraction

from config.plant import Plant
from config.units import NS_PER_SECOND
from kpis.indicators.base import percent, plain, rounded

DASH = "–"
_DIGITS = 4
"""Decimals of amounts, as the terminal prints them."""
_MOST_DIGITS = 9
_NS_PER_HOUR = 3600 * NS_PER_SECOND

Exact = Fraction | Decimal | int | float | None


def _exact(value: Exact) -> Fraction | None:
    return None if value is None else Fraction(value)


def share(value: Exact) -> str:
    """Return a share in percent with two decimals."""
    exact = _exact(value)
    return DASH if exact is None else f"{percent(exact):,f} %"


def amount(value: Exact, digits: int = _DIGITS) -> str:
    """Return an amount with up to so many decimals, more where they would show nothing of it; thousands separated."""
    exact = _exact(value)
    if exact is None:
        return DASH
    while exact != 0 and not rounded(exact, digits) and digits < _MOST_DIGITS:
        digits += 1
    return _grouped(f"{rounded(exact, digits):f}")


def steps(value: Fraction) -> str:
    """Return a value as calculation steps show it: up to six decimals, thousands separated."""
    return _grouped(plain(value))


def _grouped(digits: str) -> str:
    whole, dot, rest = digits.partition(".")
    rest = rest.rstrip("0")
    sign, whole = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{int(whole):,}{dot if rest else ''}{rest}"


def equals(value: Fraction, shown: str) -> str:
    """Return = where the digits shown are all of a value, else ≈."""
    return "=" if Fraction(shown.replace(",", "")) == value else "≈"


def in_unit(value: Exact, unit: str) -> str:
    """Return a value with its unit: a share in percent, an amount in brackets' unit."""
    if value is None:
        return DASH
    return share(value) if unit == "1" else f"{amount(value)} {unit}".rstrip()


def hours(ns: int | None) -> str:
    """Return a duration [ns] in hours with two decimals, four where it is less than a tenth of an hour."""
    if ns is None:
        return DASH
    return f"{rounded(Fraction(ns, _NS_PER_HOUR), 4 if 0 < ns < _NS_PER_HOUR // 10 else 2):,f}"


def instant(plant: Plant, moment: dt.datetime | int | None, *, seconds: bool = False) -> str:
    """Return an instant [ns since 1970, UTC, where it is a number] by the plant's clock."""
    if moment is None:
        return DASH
    if isinstance(moment, int):
        moment = dt.datetime.fromtimestamp(moment // NS_PER_SECOND, dt.UTC)
    return f"{moment.astimezone(plant.zone):{'%Y-%m-%d %H:%M:%S' if seconds else '%Y-%m-%d %H:%M'}}"


def length(ns: int) -> str:
    """Return a duration [ns] as hours, minutes and seconds: 26:05:00."""
    whole = ns // NS_PER_SECOND
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"

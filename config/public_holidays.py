"""Public holidays of a country, and the weekend days that are worked in place of others (make-up days).

Both come from the library `holidays` (of the extra `kpi`), which is imported only once a calendar names a country.
"""

import datetime as dt
import difflib
import functools
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from config.faults import ConfigError, Fault

if TYPE_CHECKING:
    from holidays import HolidayBase

log = logging.getLogger("plantproof.calendar")

_REGION = re.compile(r"[A-Z]{2}(-\w+)?")
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Year:
    """What a country's holidays change of the weekdays of a year."""

    off: frozenset[dt.date]
    """Days that are not worked."""
    worked: frozenset[dt.date]
    """Weekend days that are worked: make-up days."""


class UnknownRegionError(ValueError):
    """No country, or no part of one, whose holidays are known; `hint` is the next step."""

    def __init__(self, region: str, hint: str) -> None:
        super().__init__(f"{region}: {hint}")
        self.hint = hint


class NotInstalledError(ConfigError):
    """A calendar names a country, and the library that knows its holidays is not installed."""

    def __init__(self, region: str) -> None:
        hint = "install plantproof with its extra kpi: pip install 'plantproof[kpi]'"
        rule = "needs the library `holidays`, which is not installed"
        super().__init__((Fault("plant.toml: calendar.holidays", "holidays", region, rule, hint),))


@functools.cache
def of_year(region: str, year: int) -> Year:
    """Return the days off and the make-up days of a year.

    region: ISO 3166 code of a country, or of a part of one: CN, DE, DE-BY.
    Logs a warning where the country moves working days to weekends, and those of the year are not known yet.
    Raises UnknownRegionError, NotInstalledError.
    """
    # A make-up day, and a weekend that a holiday goes on over, may belong to a holiday of the next or the last year.
    found = _found(region, (year - 1, year, year + 1))
    worked = found.weekend_workdays
    if found.has_substituted_holidays and not any(day.year >= year for day in worked):
        hint = "write its days off and make-up days into the calendar's exceptions, or update the library `holidays`"
        log.warning("calendar: holidays %s: the make-up days of %d are not known yet; %s", region, year, hint)
    off = _with_weekends(found, worked) if found.country == "CN" else set(found)
    return Year(
        frozenset(day for day in off - worked if day.year == year), frozenset(day for day in worked if day.year == year)
    )


def _with_weekends(holidays: Iterable[dt.date], worked: set[dt.date]) -> set[dt.date]:
    """Return holidays with the weekend days before, between and after them that are not worked.

    A notice of China's State Council gives a holiday as one stretch of days, weekends included (28 January to
    4 February 2025); the library lists the others of its days alone.
    """
    off = set(holidays)
    for holiday in list(off):
        for step in (-_DAY, _DAY):
            day = holiday + step
            while day not in worked and (day in off or day.weekday() >= 5):
                off.add(day)
                day += step
    return off


def _found(region: str, years: tuple[int, ...]) -> "HolidayBase":
    try:
        import holidays  # noqa: PLC0415  an extra, and of no use to most plants
    except ModuleNotFoundError as error:
        raise NotInstalledError(region) from error
    country, _, part = region.partition("-")
    known = holidays.list_supported_countries(include_aliases=False)
    if not _REGION.fullmatch(region) or country not in known:
        raise UnknownRegionError(region, _near(country, known) or "write a code of ISO 3166, such as CN, DE or DE-BY")
    if part and part not in known[country]:
        parts = [f"{country}-{name}" for name in known[country]]
        hint = f"write {country}, or one of {', '.join(parts)}" if parts else f"write {country}: it has no parts here"
        raise UnknownRegionError(region, _near(region, parts) or hint)
    return holidays.country_holidays(country, subdiv=part or None, years=years)


def _near(word: str, known: Iterable[str]) -> str:
    same = [name for name in known if name.casefold() == word.casefold()]
    near = same or difflib.get_close_matches(word, list(known), 3, 0.5)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else ""

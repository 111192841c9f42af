"""What people write into cells as numbers and dates, and what spreadsheets make of it: read exactly, or not at all."""

import contextlib
import datetime as dt
import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_NARROW: dict[int, int | str] = {**_FULL_WIDTH, **dict.fromkeys((0x3000, 0xA0, 0x2009, 0x202F), " "), 0x2212: "-"}
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_GROUPED = re.compile(r"[+-]?[1-9][0-9]{0,2}([, ])[0-9]{3}(?:\1[0-9]{3})*(\.[0-9]+)?")
_SHORTENED = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?[eE][+-]?[0-9]+")
_TIME = r"(?:[T ][0-9]{1,2}:[0-9]{2}.*)?"
_DATES = (
    re.compile(rf"([0-9]{{4}})[-/.]([0-9]{{1,2}})[-/.]([0-9]{{1,2}}){_TIME}"),
    re.compile(rf"([0-9]{{4}})年([0-9]{{1,2}})月([0-9]{{1,2}})日{_TIME}"),
)
_MOST_DIGITS = 40
_EXAMPLE = "write digits with a decimal point, such as 12345.6"


def narrow(text: str) -> str:
    """Return a text with full-width letters, digits, signs and spaces as plain ones."""
    return text.translate(_NARROW).strip()


def number_cell(value: object) -> Decimal:
    """Return the exact number that a cell holds.

    The decimal sign is a point. Commas or spaces group thousands where each group has three digits (1,234,567.8).
    Full-width digits and signs are plain ones. All else could be read in two ways, or is none: ValueError.
    """
    if isinstance(value, str):
        return _bounded(_number(narrow(value)))
    number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    found = Decimal(str(value)) if number else Decimal("nan")  # str: the shortest decimals that are this float
    if not found.is_finite():
        raise ValueError(f"is no finite number; {_EXAMPLE}")
    return _bounded(found)


def _bounded(number: Decimal) -> Decimal:
    if len(number.as_tuple().digits) > _MOST_DIGITS or number.adjusted() >= _MOST_DIGITS:
        raise ValueError(f"has more than {_MOST_DIGITS} digits, which no amount of a plant has; check it")
    return number


def _number(text: str) -> Decimal:
    if _NUMBER.fullmatch(text):
        return Decimal(text)
    if grouped := _GROUPED.fullmatch(text):
        return Decimal(text.replace(grouped[1], ""))
    if _SHORTENED.fullmatch(text):
        raise ValueError("is a number as a spreadsheet shortens it; show all its digits there, and save it again")
    if re.fullmatch(r"[+-]?[0-9., ]+", text):
        raise ValueError("can be read in two ways; write 12345.6, or 12,345.6 with three digits after each comma")
    raise ValueError("is no number; write the number alone, such as 12345.6: its unit has a column of its own")


def amount_cell(value: object) -> Decimal:
    """Return the number of 0 or more that a cell holds; ValueError says what to write."""
    found = number_cell(value)
    if found < 0:
        raise ValueError("is negative; declare an amount of 0 or more")
    return found


def date_cell(value: object) -> dt.date:
    """Return the date that a cell holds, also as Excel saves it (2026/3/1); a time of day is left away."""
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, dt.date):
        return value
    parts = next((match for form in _DATES if (match := form.fullmatch(narrow(str(value))))), None)
    try:
        return dt.date(*map(int, parts.groups())) if parts is not None else dt.date(0, 0, 0)
    except ValueError:
        raise ValueError("is no date; write such as 2026-03-01") from None


def is_date(text: str) -> bool:
    """Return whether a cell holds a date, and nothing but one."""
    try:
        date_cell(text)
    except ValueError:
        return False
    return True


def instant_cell(value: object) -> dt.datetime:
    """Return the instant that a cell spells; Excel saves 2026-03-01T08:00 as 2026/3/1 8:00."""
    if isinstance(value, dt.datetime):
        return value
    parts = re.fullmatch(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[T ](\d{1,2})(:.+))?", str(value))
    if parts is not None:
        year, month, day, hour, rest = parts.groups()
        with contextlib.suppress(ValueError):
            return dt.datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2}T{hour or '0':0>2}{rest or ':00'}")
    hint = "write such as 2026-03-01T08:00:00+08:00, or 2026-03-01 08:00 in the plant's time"
    raise ValueError(f"is no date with a time of day; {hint}")


Number = Annotated[Decimal, BeforeValidator(number_cell)]
Amount = Annotated[Decimal, BeforeValidator(amount_cell)]
Date = Annotated[dt.date, BeforeValidator(date_cell)]

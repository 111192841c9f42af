"""Periods of declared values as people write them, and the days that they are of."""

import calendar
import datetime as dt
import re

from config.cells import narrow

_RANGE = re.compile(r"(.+?)\s*[至到~]\s*(.+)|([0-9]{4}.*)/([0-9]{4}.*)")
_PART = re.compile(
    r"(?P<year>(?:19|20|21)[0-9]{2})(?:(?:年度?)?"
    r"|-?Q(?P<quarter>[1-4])|年第?(?P<quarter_zh>[1-4一二三四])季度"
    r"|-?H(?P<half>[12])|年(?P<half_zh>[上下])半年"
    r"|(?P<month_6>[0-9]{2})"
    r"|[-/](?P<month>[0-9]{1,2})(?:[-/](?P<day>[0-9]{1,2}))?"
    r"|年(?P<month_zh>[0-9]{1,2})月(?:(?P<day_zh>[0-9]{1,2})日)?)"
)
_WORDS = {"一": 1, "二": 2, "三": 3, "四": 4, "上": 1, "下": 2}


def period_days(text: str) -> tuple[dt.date, dt.date]:
    """Return the first and the last day of a period, both included.

    2025, 2025-Q1, 2025-H1, 2025-03, 2025-03-01, two of them as 2025-01-01/2025-06-30, and the same in Chinese
    (2025年第一季度, 2025年上半年, 2025年3月, 2025-01至2025-06). ValueError says what to write.
    """
    written = narrow(text)
    both = _RANGE.fullmatch(written)
    ends = [part for part in both.groups() if part] if both is not None else [written, written]
    try:
        (first, _), (_, last) = (_part(end) for end in ends)
    except ValueError:
        raise ValueError(
            "is no period; write such as 2025, 2025-Q1, 2025-03, or 2025-01-01/2025-06-30 with both days included"
        ) from None
    if last < first:
        raise ValueError("is a period that ends before it begins; swap its two days")
    return first, last


def _part(text: str) -> tuple[dt.date, dt.date]:
    match = _PART.fullmatch(text)
    if match is None:
        raise ValueError(text)
    found = {name.partition("_")[0]: _WORDS.get(of) or int(of) for name, of in match.groupdict().items() if of}
    year = found["year"]
    if "day" in found:
        day = dt.date(year, found["month"], found["day"])
        return day, day
    if "quarter" in found:
        return _months(year, 3 * found["quarter"] - 2, 3 * found["quarter"])
    if "half" in found:
        return _months(year, 6 * found["half"] - 5, 6 * found["half"])
    return _months(year, found.get("month", 1), found.get("month", 12))


def _months(year: int, first: int, last: int) -> tuple[dt.date, dt.date]:
    if not 1 <= first <= last <= 12:
        raise ValueError(first, last)
    return dt.date(year, first, 1), dt.date(year, last, calendar.monthrange(year, last)[1])

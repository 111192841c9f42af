"""Times in payloads: ISO 8601, and epochs in s, ms, us and ns."""

import datetime as dt
import re
import zoneinfo
from decimal import Decimal

_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(?:(:\d\d)(?:[.,](\d+))?)?(Z|z|[+-]\d\d(?::?\d\d)?)?", re.ASCII)
_DIGITS = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND = 10**9
_TENS = tuple(10 ** (9 - n) for n in range(10))
_NS_LIMIT = 2**63
_LEAST = -_NS_LIMIT
_LONGEST = 40
"""More digits than any time has."""
UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
"""Units of an epoch [ns]."""


def epoch_ns(value: object, unit: int = 0, zone: zoneinfo.ZoneInfo | None = None) -> int | None:
    """Return a time in [ns since 1970, UTC]: ISO 8601 with an offset, or an epoch, as a number or in digits.

    unit: of an epoch [ns], one of UNITS; 0 tells it by its magnitude. zone: of times without an offset, which are
    none otherwise; an hour that there is twice (DST ends) is taken as the first, one that there is not (DST begins)
    as if the clock had not been put forward yet. None where the value is no such time.
    """
    if isinstance(value, str):
        text = value.strip()
        if (match := _ISO.fullmatch(text)) is not None:
            return _iso_ns(match, zone)
        if len(text) > _LONGEST or _DIGITS.fullmatch(text) is None:
            return None
        number: int | Decimal = Decimal(text) if "." in text else int(text)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    else:
        number = value if isinstance(value, int) else Decimal(repr(value))
    if isinstance(number, Decimal) and not number.is_finite():
        return None
    if not _LEAST < number < _NS_LIMIT:
        return None
    size = number if number >= 0 else -number
    factor = unit or (10**9 if size < 10**11 else 10**6 if size < 10**14 else 10**3 if size < 10**17 else 1)
    ns = int(number * factor)
    return ns if _LEAST < ns < _NS_LIMIT else None


def _iso_ns(match: re.Match[str], zone: zoneinfo.ZoneInfo | None) -> int | None:
    date, minute, second, fraction, offset = match.groups("")
    if not offset and zone is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(f"{date}T{minute}{second}{offset.upper()}")
        since = (moment if offset else moment.replace(tzinfo=zone)) - _EPOCH
    except (ValueError, OverflowError):
        return None
    ns = (since.days * 86_400 + since.seconds) * _SECOND
    if fraction:
        ns += int(fraction[:9]) * _TENS[len(fraction)] if len(fraction) < 9 else int(fraction[:9])
    return ns if _LEAST < ns < _NS_LIMIT else None

"""Which part of a period its facts can be checked by: what the hashes of all samples choose, and nobody else.

Anyone with the table of partitions finds the same one.
"""

import datetime as dt
import hashlib

import polars as pl

from config.plant import Plant
from kpis import calendar
from kpis.evidence.traces import Period
from kpis.stores.base import DAY_NS

WHOLE_ROWS = 1_000_000
"""A period of so many samples is its own extract."""
DAY_ROWS = 2_000_000
"""Of a day with more an hour is taken."""


def period(plant: Plant, partitions: pl.DataFrame, start: int, end: int) -> Period:
    """Return the extract's period: [start, end), or a calendar day of the plant in it, or an hour of one.

    partitions: PARTITIONS of [start, end) [ns since 1970, UTC].
    """
    if partitions["rows"].sum() <= WHOLE_ROWS:
        return start, end
    digest = _digest(partitions)
    days = partitions["date"].unique().sort().to_list()
    day = _day(plant, days[_number(digest[:16]) % len(days)], start, end)
    if rows_of(partitions, day) <= DAY_ROWS:
        return day
    hours = [*calendar.hour_starts(plant, *day).tolist(), day[1]]
    hour = _number(digest[16:]) % (len(hours) - 1)
    return hours[hour], hours[hour + 1]


def _day(plant: Plant, date: dt.date, start: int, end: int) -> Period:
    """Return the plant's day that holds the middle of what [start, end) has of a UTC day, as far as it lies in it."""
    first = (date - dt.date(1970, 1, 1)).days * DAY_NS
    middle = (max(first, start) + min(first + DAY_NS, end)) // 2
    local = calendar.local_date(plant, middle)
    midnight = dt.time()
    borders = (calendar.local_ns(plant, each, midnight) for each in (local, local + dt.timedelta(days=1)))
    return max(next(borders), start), min(next(borders), end)


def utc_days(of: Period) -> Period:
    """Return a period with the whole of each UTC day that it touches."""
    return of[0] // DAY_NS * DAY_NS, -(-of[1] // DAY_NS) * DAY_NS


def rows_of(partitions: pl.DataFrame, of: Period) -> int:
    """Return how many rows the UTC days have that a period touches."""
    first, last = utc_days(of)
    day = pl.col("date").cast(pl.Int32).cast(pl.Int64) * DAY_NS
    return int(partitions.filter((day >= first) & (day < last))["rows"].sum())


def _digest(partitions: pl.DataFrame) -> bytes:
    lines = (f"{date} {rows} {sha256} {point}\n" for date, point, rows, sha256 in partitions.iter_rows())
    return hashlib.sha256("".join(lines).encode()).digest()


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, "big")

"""Which equipment of the register counts on which day, and members of a register as n and N."""

import datetime as dt
from collections.abc import Sequence
from fractions import Fraction

import polars as pl

from config.plant import Asset, Plant
from kpis.calendar import day_starts
from kpis.indicators.base import Grounds, Input, Member, Origin
from kpis.indicators.said import NOTHING, Said

DEVICES = "devices"
"""Unit of a number of machines (台)."""


def last_day(plant: Plant, end: int) -> dt.date:
    """Return the last production day of a period that ends before `end` [ns since 1970, UTC]."""
    return day_starts(plant, end - 1, end)[-1][1]


def out_of_use(asset: Asset, day: dt.date) -> Said:
    """Return why a device is not in use on a production day; NOTHING: it is."""
    if asset.in_use_until is not None and day > asset.in_use_until:
        since = asset.in_use_until + dt.timedelta(days=1)
        return Said(f"not in use since {since}", f"自 {since} 起停用")
    if asset.in_use_from is not None and day < asset.in_use_from:
        return Said(f"in use from {asset.in_use_from}", f"{asset.in_use_from} 起投用")
    return NOTHING


def uncounted(asset: Asset, day: dt.date) -> Said:
    """Return why a device does not count in a period whose last production day is `day`; NOTHING: it counts."""
    if asset.excluded:
        return Said(asset.excluded, asset.excluded)
    if not asset.production:
        return Said("not production equipment", "非生产设备")
    return out_of_use(asset, day)


def in_use(plant: Plant, facts: pl.DataFrame) -> pl.DataFrame:
    """Return the FACT rows of production days on which their asset was in use."""
    dated = [(a.asset, a.in_use_from, a.in_use_until) for a in plant.assets if a.in_use_from or a.in_use_until]
    if not dated:
        return facts
    schema = {"asset": pl.String, "in_use_from": pl.Date, "in_use_until": pl.Date}
    days = pl.DataFrame(dated, schema=schema, orient="row")
    begun, ended = pl.col("date") >= pl.col("in_use_from"), pl.col("date") <= pl.col("in_use_until")
    used = begun.fill_null(value=True) & ended.fill_null(value=True)
    return facts.join(days, on="asset", how="left", maintain_order="left").filter(used).select(facts.columns)


def counted(members: Sequence[Member]) -> tuple[Fraction, Fraction]:
    """Return n and N of members of a register."""
    inside = [member for member in members if member.counted]
    return Fraction(sum(member.met for member in inside)), Fraction(len(inside))


def nothing_of(grounds: Grounds, subject: str, members: Sequence[Member]) -> bool:
    """Return whether an asset or group has none of what counts; of the whole plant that is N = 0, which is refused."""
    return subject != grounds.plant.id and not any(member.counted for member in members)


def count(name: str, value: Fraction | int, origin: Origin = "register", unit: str = DEVICES) -> Input:
    """Return a number of things as an input."""
    return Input(name=name, value=Fraction(value), unit=unit, origin=origin)

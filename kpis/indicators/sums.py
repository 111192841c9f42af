"""Exact sums of facts per asset and month, from which figures of machines' work are computed.

Times are in [ns], pieces in [1e-6], both as integers: the same sums as KPIs are computed from.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import polars as pl

from config.plant import Asset, Plant
from config.schema import DURATIONS, ELEMENTS
from kpis.catalogue.offers import needs_met
from kpis.catalogue.sums import added, amounts
from kpis.indicators.base import Grounds, Member
from kpis.indicators.counting import in_use, last_day, uncounted
from kpis.indicators.said import NOTHING, Said

Row = Mapping[str, int | None]
"""Sums by column's name; null where something that they need is not known."""

_FLAGS = {
    "resets": "reset",
    "gap_steps": "gap_increment",
    "refused_steps": "refused_step",
    "unmapped": "unmapped_state",
    "unknown": "unknown_time",
    "inferred": "inferred",
}
"""Column that is above 0 -> flag of results (kpis/compute.py)."""
_OF_STATE = ("unknown", "inferred")


_NEEDS = {
    "state": Said("state", "运行状态"),
    "counts": Said("pieces", "产量计数"),
    "reject": Said("rejects", "不合格品计数"),
    "ideal_cycle": Said("ideal cycle", "理论节拍"),
}


@dataclass(frozen=True, slots=True)
class Sums:
    """A period's sums per asset and month of its production days, and what points and registers of each give."""

    rows: pl.DataFrame
    used: pl.DataFrame
    """The same of production days on which the asset was in use."""
    met: Mapping[str, frozenset[str]]
    """What an asset can give, as kpis/catalogue/offers.py tells it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The assets of a subject that enter a figure, all of them as members, and flags about the others."""

    assets: Sequence[str]
    members: Sequence[Member]
    flags: Sequence[str]


@dataclass(frozen=True, slots=True, eq=False)
class _Same:
    """Something that is told from others by being the same object."""

    of: object

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.of is other.of

    def __hash__(self) -> int:
        return id(self.of)


def sums_of(grounds: Grounds) -> Sums:
    """Return the sums of a period's facts; those asked for last are kept."""
    return _sums(_Same(grounds.plant), _Same(grounds.facts), *grounds.days)


@lru_cache(maxsize=4)
def _sums(plant: _Same, facts: _Same, first: dt.date, last: dt.date) -> Sums:
    if not isinstance(plant.of, Plant) or not isinstance(facts.of, pl.DataFrame):
        raise TypeError("neither a plant nor facts")
    used = in_use(plant.of, facts.of)
    return Sums(_by_month(facts.of, first, last), _by_month(used, first, last), needs_met(plant.of))


def _by_month(facts: pl.DataFrame, first: dt.date, last: dt.date) -> pl.DataFrame:
    # A shift may belong to the day before the period's first.
    month = pl.col("date").clip(first, last).dt.strftime("%Y-%m").alias("month")
    return added(["asset", "month"], amounts(facts, ()).with_columns(month), ())


def total(rows: pl.DataFrame, assets: Sequence[str], month: str | None = None) -> Row:
    """Return the sums of assets, of one month where it is named; none of any fact are 0."""
    mine = rows.filter(pl.col("asset").is_in(assets))
    mine = mine if month is None else mine.filter(pl.col("month") == month)
    if mine.is_empty():
        return dict.fromkeys(rows.columns, 0)
    return added(["all"], mine.with_columns(all=pl.lit(0)), ()).row(0, named=True)


def of(row: Row, name: str) -> int:
    """Return a sum that is always known [ns]."""
    return row[name] or 0


def planned(row: Row) -> int:
    """Return planned operation time [ns]."""
    return sum(of(row, element) for element in ELEMENTS)


def known(row: Row) -> int:
    """Return known planned operation time [ns]."""
    return planned(row) - of(row, "unknown")


def calendar(row: Row) -> int:
    """Return calendar time without what is unknown [ns]."""
    return sum(of(row, each) for each in DURATIONS) - of(row, "unknown")


def coverage(row: Row) -> float | None:
    """Return the part of planned operation time that is known; None where nothing is planned."""
    return known(row) / planned(row) if planned(row) else None


def flags(row: Row, *, of_state: bool) -> list[str]:
    """Return what a reader must know of sums, as results of KPIs have it; of_state: whether states enter the figure."""
    names = [name for name in _FLAGS if of_state or name not in _OF_STATE]
    return [_FLAGS[name] for name in names if of(row, name) > 0]


def named(needs: Sequence[str]) -> Said:
    """Return what figures need as a sentence holds it."""
    return Said(", ".join(_NEEDS[need].en for need in needs), "、".join(_NEEDS[need].zh for need in needs))


def take(grounds: Grounds, subject: str, needs: Sequence[str], *, counting: bool) -> Taken:
    """Return the assets of a subject that have what a figure needs.

    counting: of them, those alone that count as production equipment; without it as KPIs take them.
    """
    sums, day, members = sums_of(grounds), last_day(grounds.plant, grounds.end), []
    mine = grounds.assets(subject)
    for asset in mine:
        left_out, lacking = uncounted(asset, day), [need for need in needs if need not in sums.met[asset.asset]]
        members.append(_member(asset, left_out, lacking, counting=counting))
    taken = [member.id for member in members if member.counted]
    lacks = any(uncounted(a, day) == NOTHING and not m.counted for a, m in zip(mine, members, strict=True))
    # Rule 13: counts of which nothing tells the rejects are a total alone.
    assumed = "counts" in needs and any("reject" not in sums.met[asset] for asset in taken)
    told = {"assumed": assumed, "assets_left_out": lacks and len(mine) > 1}
    return Taken(taken, members, [flag for flag, is_so in told.items() if is_so])


def _member(asset: Asset, left_out: Said, lacking: Sequence[str], *, counting: bool) -> Member:
    if left_out != NOTHING and counting:
        return Member(asset.asset, asset.name, counted=False, met=False, reason=left_out)
    if lacking:
        why = Said(f"nothing tells its {named(lacking).en}", f"缺少{named(lacking).zh}")
        return Member(asset.asset, asset.name, counted=False, met=False, reason=why)
    why = NOTHING if left_out == NOTHING else _part_of_kpi(left_out)
    return Member(asset.asset, asset.name, counted=True, met=True, reason=why)


def _part_of_kpi(left_out: Said) -> Said:
    return Said(f"part of the KPI, though {left_out.en}", f"计入该 KPI（{left_out.zh}）")

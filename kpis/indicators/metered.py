"""What meters counted of each medium in a period, exactly, from the meter register and the columns of facts.

Of a medium's meters those of the highest level count, so that nothing is counted twice; the consumption of the whole
plant is what its meters of level `site` say. Without a register every meter of the point table counts.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import polars as pl

from config.plant import Plant, Point
from config.registers import Meter
from config.schema import MICRO
from config.units import METER_UNITS
from kpis.catalogue.metering import LEVELS
from kpis.facts import meters_of
from kpis.indicators.base import Grounds
from kpis.indicators.said import Said

Use = Literal["consumption", "transformation_input", "transformation_output", "recovered"]


@dataclass(frozen=True, slots=True)
class Metered:
    """What the meters of a medium counted [unit]; no value where they said nothing or facts cannot tell them apart."""

    value: Fraction | None
    unit: str
    coverage: Fraction
    """The part of the period in which all of them were known."""
    trouble: Said | None = None
    """Why facts cannot tell, and the next step."""


def metered(grounds: Grounds, subject: str, use: Use) -> dict[str, Metered]:
    """Return what the meters of one use counted of each medium, for the assets of a subject."""
    assets = {asset.asset for asset in grounds.assets(subject)}
    chosen = _chosen(grounds.plant, assets, use, whole=subject == grounds.plant.id)
    found = {medium: _counted(grounds, medium, points) for medium, points in chosen.items()}
    if subject == grounds.plant.id and use == "consumption":
        parts = _registered(grounds.plant).items()
        found |= {medium: Metered(None, _unit(point), Fraction(0), _no_site(medium, point))
                  for medium, point in parts if medium not in found}  # fmt: skip
    return found


def unregistered(plant: Plant, coverage: float | Fraction | None) -> list[str]:
    """Return the flag of what is metered without a register of meters; coverage: None where nothing is metered."""
    return ["meters_not_registered"] if coverage is not None and not plant.meters else []


def _chosen(plant: Plant, assets: Collection[str], use: Use, *, whole: bool) -> dict[str, list[Point]]:
    """Return the points that count of each medium; whole: of the whole plant."""
    mine = [point for point in plant.points if point.asset in assets and point.medium is not None]
    found: dict[str, list[Point]] = {}
    if not plant.meters:
        for point in mine if use == "consumption" else ():
            found.setdefault(point.medium or "", []).append(point)
        return found
    meters = {meter.point: meter for meter in plant.meters if meter.use == use and not meter.excluded}
    for point in mine:
        if point.point in meters:
            found.setdefault(point.medium or "", []).append(point)
    levels = ("site",) if whole and use == "consumption" else LEVELS
    highest = {medium: _highest(points, meters, levels) for medium, points in found.items()}
    return {medium: points for medium, points in highest.items() if points}


def _registered(plant: Plant) -> dict[str, Point]:
    """Return a point of each medium whose consumption is registered as metered, of whatever level."""
    named = {meter.point for meter in plant.meters if meter.use == "consumption" and not meter.excluded}
    return {point.medium: point for point in plant.points if point.point in named and point.medium is not None}


def _no_site(medium: str, point: Point) -> Said:
    return Said(
        f"{medium}: no meter of level site counts it, only such as {point.point} of a part; write site in meters.csv "
        "for the meters that come to the whole",
        f"{medium}：没有进出用能单位级的计量器具，只有 {point.point} 等下级计量；"
        "请在计量器具台账中将合计为全厂用量的表计登记为“进出用能单位”",
    )


def _highest(points: Sequence[Point], meters: Mapping[str, Meter], levels: Sequence[str]) -> list[Point]:
    of_level = ([point for point in points if meters[point.point].level == level] for level in levels)
    return next((found for found in of_level if found), [])


def _counted(grounds: Grounds, medium: str, points: Sequence[Point]) -> Metered:
    assets = list(dict.fromkeys(point.asset for point in points))
    unit = _unit(points[0])
    trouble = _trouble(grounds.plant, medium, points)
    if trouble is not None:
        return Metered(None, unit, Fraction(0), trouble)
    rows = grounds.facts.filter(pl.col("asset").is_in(assets))
    counted, known = (_sum(rows, f"{kind}.{medium}") for kind in ("energy", "metered"))
    coverage = Fraction(known, len(assets) * (grounds.end - grounds.start))
    return Metered(Fraction(counted, MICRO) if known or counted else None, unit, coverage)


def _unit(point: Point) -> str:
    """Return the canonical unit of what a meter counts, or of what a power is integrated to."""
    unit = METER_UNITS[point.unit].canonical
    return "kWh" if unit == "kW" else unit


def _sum(rows: pl.DataFrame, name: str) -> int:
    """Return a column's sum [1e-6 units or ns]; 0 where facts have no such column."""
    if name not in rows.columns:
        return 0
    column = rows[name]
    whole = column.dt.total_nanoseconds() if column.dtype == pl.Duration else column
    return int(whole.cast(pl.Int128).sum())


def _trouble(plant: Plant, medium: str, points: Sequence[Point]) -> Said | None:
    """Return why facts do not hold the amount of these points alone; None where they do."""
    if len(units := sorted({_unit(point) for point in points})) > 1:
        return Said(
            f"{medium}: its meters count in {' and '.join(units)}, which do not add up; name two media in points.csv",
            f"{medium}：各表计的计量单位（{'、'.join(units)}）不能相加；请在采集点表中分为两种介质",
        )
    mine = {point.point for point in points}
    for asset in dict.fromkeys(point.asset for point in points):
        summed = {point.point for point in meters_of(plant.points_of(asset)).get(medium, [])}
        if not summed <= mine:
            others = sorted(summed - mine)
            return Said(
                f"{medium}: what is counted on asset {asset} is the sum of its meters, with {', '.join(others)}, which "
                f"the register of meters does not name for this use; give each meter an asset of its own in points.csv",
                f"{medium}：设备 {asset} 的计量值是其各表计之和，其中 {'、'.join(others)} 在计量器具台账中"
                "不属于这一用途；请在采集点表中为每块表计单设一个设备",
            )
    return None

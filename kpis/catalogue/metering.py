"""Which assets' meters count together: of a medium those of the highest level of the register, so that none counts what
another one counts as well.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from config.plant import Asset, Plant

LEVELS = ("site", "unit", "device")
"""From the whole to its parts."""


def counted_once(plant: Plant, assets: Sequence[Asset], media: Sequence[str]) -> list[Asset]:
    """Return those of several assets whose meters of consumption together count nothing twice.

    media: the media that a KPI adds. One asset alone, and a plant without a register of meters, stay as they are. None
    are returned where an asset has a meter of one medium that counts and of another that does not: facts hold them by
    asset, and no sum of assets is right.
    """
    if len(assets) < 2 or not plant.meters:
        return list(assets)
    of_medium = {medium: _highest(_levels(plant, assets, medium)) for medium in media}
    kept = []
    for asset in assets:
        mine = {p.medium for p in plant.points_of(asset.asset)} & of_medium.keys()
        counts = {asset.asset in names for medium, names in of_medium.items() if medium in mine and names}
        if counts == {True, False}:
            return []
        kept += [asset] if counts != {False} else []
    return kept


def _levels(plant: Plant, assets: Sequence[Asset], medium: str) -> Mapping[str, set[str]]:
    """Return the assets with a registered meter of a medium's consumption, by its level."""
    meters = {meter.point: meter for meter in plant.meters if meter.use == "consumption" and not meter.excluded}
    found = defaultdict[str, set[str]](set)
    for asset in assets:
        for point in plant.points_of(asset.asset):
            if point.medium == medium and point.point in meters:
                found[meters[point.point].level].add(asset.asset)
    return found


def _highest(levels: Mapping[str, set[str]]) -> set[str]:
    """Return the assets of the highest level that there is; none where no meter is registered."""
    return next((levels[level] for level in LEVELS if level in levels), set())

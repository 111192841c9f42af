"""The device list: what of the register counts, the three states of each device, and in how much of its planned time
its data were known.

Of samples in memory, or of a store, read part by part.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import polars as pl

from config.plant import Plant
from config.schema import UTC_NS
from config.status import BAD_NO_COMMUNICATION
from kpis.indicators.counting import last_day, uncounted
from kpis.indicators.evidenced import NEVER, Evidence
from kpis.intervals import Bools, Ints, Series, part, resolve, series
from kpis.partitions import parts
from kpis.stores.arrays import Stretch
from kpis.stores.base import Store

STATES = ("connectable", "connected", "evidenced")

DEVICES: Mapping[str, pl.DataType] = {
    "asset": pl.String(),
    "name": pl.String(),
    "kind": pl.String(),
    "counted": pl.Boolean(),
    "excluded": pl.String(),
    "connectable": pl.Boolean(),
    "connected": pl.Boolean(),
    "evidenced": pl.Boolean(),
    "share": pl.Float64(),
    "first_good": UTC_NS,
    "last_good": UTC_NS,
    "planned_ns": pl.Int64(),
    "evidenced_ns": pl.Int64(),
    "roles": pl.List(pl.String()),
}
"""One device: what counts and why not, its states, the part of planned time [ns] in which it was known, and the roles
of its points that were known in as much of it as the rule asks of a device."""


def devices(plant: Plant, samples: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    """Return one row per asset of the register, as DEVICES says.

    samples: as for `kpis.facts.facts`; [start, end) in [ns since 1970, UTC].
    """
    evidence = Evidence(plant)
    resolved = resolve(samples)
    found = series(resolved, uncertain_is_good=plant.uncertain == "good")
    cuts = {point: np.searchsorted(rows.ts, [start, end], "left").tolist() for point, rows in found.items()}
    evidence.seed({point: part(rows, 0, cuts[point][0]) for point, rows in found.items()})
    inside = {point: part(rows, *cuts[point]) for point, rows in found.items() if cuts[point][0] < cuts[point][1]}
    evidence.add(Stretch(apart=inside), start, end)
    within = resolved.filter(pl.col("ts").to_physical().is_between(start, end, closed="left"))
    return table(plant, evidence, _connected(evidence, lambda points, *_: _answered(within, points)), end)


def devices_of_store(plant: Plant, store: Store, start: int, end: int) -> pl.DataFrame:
    """Return what `devices` does of a store's samples, in memory that does not grow with the period.

    [start, end) in [ns since 1970, UTC]. Raises StoreError where the samples cannot be read.
    """
    evidence = Evidence(plant)
    evidence.seed(_series(plant, store.before(evidence.points, start)))
    for stretch, first, last in _stretches(plant, store, evidence.points, parts(plant, store, start, end)):
        evidence.add(stretch, first, last)

    def answered(points: Sequence[str], first: int, last: int) -> set[str]:
        return _answered(resolve(store.rows(points, first, last)), points)

    return table(plant, evidence, _connected(evidence, answered), end)


def _series(plant: Plant, rows: pl.DataFrame) -> dict[str, Series]:
    return series(resolve(rows), uncertain_is_good=plant.uncertain == "good")


def _stretches(
    plant: Plant, store: Store, points: Sequence[str], borders: Sequence[int]
) -> Iterator[tuple[Stretch, int, int]]:
    """Yield what lies between neighbouring borders, each while the next is being read."""
    good = plant.uncertain == "good"
    with ThreadPoolExecutor(1) as reader:
        reading = None
        for first, last in itertools.pairwise(borders):
            following = reader.submit(store.stretch, points, first, last, uncertain_is_good=good), first, last
            if reading is not None:
                yield reading[0].result(), *reading[1:]
            reading = following
        if reading is not None:
            yield reading[0].result(), *reading[1:]


def _answered(rows: pl.DataFrame, points: Sequence[str]) -> set[str]:
    """Return the points that have a row that is not BadNoCommunication."""
    said = rows.filter(pl.col("point").is_in(list(points)) & (pl.col("status") != BAD_NO_COMMUNICATION))
    return set(said["point"].unique())


def _connected(evidence: Evidence, answered: Callable[[Sequence[str], int, int], set[str]]) -> set[int]:
    """Return the numbers of the assets with a row that is not BadNoCommunication.

    answered: looks at the rows of points in [start, end); asked of assets alone that never had a good sample.
    """
    found = set(np.flatnonzero(evidence.last > NEVER).tolist())
    for first, last, points in evidence.doubtful:
        owner = {evidence.points[n]: evidence.asset_of(n) for n in points if evidence.asset_of(n) not in found}
        if owner:
            found |= {owner[point] for point in answered(list(owner), first, last)}
    return found


def table(plant: Plant, evidence: Evidence, connected: set[int], end: int) -> pl.DataFrame:
    """Return the device list of a period that ends before `end`.

    connected: the numbers of the assets with a row that is not BadNoCommunication.
    """
    day = last_day(plant, end)
    reasons = [uncounted(asset, day).en for asset in plant.assets]
    addressed = {point.asset for point in plant.points if point.source and point.address}
    times = list(zip(evidence.known.tolist(), evidence.planned.tolist(), strict=True))
    columns: dict[str, object] = {
        **{name: [getattr(asset, name) for asset in plant.assets] for name in ("asset", "name", "kind")},
        "counted": [not reason for reason in reasons],
        "excluded": reasons,
        "connectable": [asset.asset in addressed for asset in plant.assets],
        "connected": [n in connected for n in range(len(plant.assets))],
        "evidenced": [passes(plant, *pair) for pair in times],
        "share": [known / planned if planned else None for known, planned in times],
        "first_good": _where(evidence.first, evidence.last > NEVER),
        "last_good": _where(evidence.last, evidence.last > NEVER),
        "planned_ns": evidence.planned,
        "evidenced_ns": evidence.known,
        "roles": _roles(plant, evidence),
    }
    kinds = {name: pl.Int64() if kind == UTC_NS else kind for name, kind in DEVICES.items()}
    return pl.DataFrame(columns, schema=kinds).cast(dict(DEVICES))  # type: ignore[arg-type]


def _where(instants: Ints, there: Bools) -> list[int | None]:
    return [ns if is_there else None for ns, is_there in zip(instants.tolist(), there.tolist(), strict=True)]


def _roles(plant: Plant, evidence: Evidence) -> list[list[str]]:
    """Return the roles of each asset that pass as a device does."""
    found: list[list[str]] = [[] for _ in plant.assets]
    for (asset, role), known in zip(evidence.roles, evidence.known_of_roles.tolist(), strict=True):
        if passes(plant, known, int(evidence.planned[asset])):
            found[asset].append(role)
    return found


def passes(plant: Plant, known: int, planned: int) -> bool:
    """Return whether a device that was known in so much of its planned time [ns] counts as networked."""
    return planned > 0 and known >= Fraction(str(plant.networking.evidenced_share)) * planned

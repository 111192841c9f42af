"""Samples by point and time, whatever they lie in."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from config.load import SecretMissing, with_secrets
from config.plant import Plant
from kpis.stores import lake
from kpis.stores.arrays import Stretch
from kpis.stores.base import Store, StoreError
from kpis.stores.influxdb import InfluxDB
from kpis.stores.memory import Memory

__all__ = ["KINDS", "InfluxDB", "Lake", "Memory", "Store", "StoreError", "opened", "store_of"]

KINDS = ("lake", "influxdb")


class Lake:
    """The Parquet lake of a folder."""

    kind = "lake"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def read(self, points: Sequence[str], start: int, end: int) -> pl.DataFrame:
        """Return the SAMPLE rows of [start, end) [ns] and their neighbours; raises StoreError."""
        return lake.read(self.folder, points, start, end)

    def rows(self, points: Sequence[str], start: int, end: int) -> pl.DataFrame:
        """Return the SAMPLE rows of [start, end) [ns]; raises StoreError."""
        return lake.rows(self.folder, points, start, end)

    def before(self, points: Sequence[str], border: int) -> pl.DataFrame:
        """Return the rows before an instant [ns] back to each point's nearest good one; raises StoreError."""
        return lake.before(self.folder, points, border)

    def after(self, points: Sequence[str], border: int) -> pl.DataFrame:
        """Return the rows from an instant [ns] on up to each point's nearest good one; raises StoreError."""
        return lake.after(self.folder, points, border)

    def stretch(self, points: Sequence[str], start: int, end: int, *, uncertain_is_good: bool) -> Stretch:
        """Return the points' samples in [start, end) [ns], one an instant; raises StoreError."""
        return lake.stretch(self.folder, points, start, end, uncertain_is_good=uncertain_is_good)

    def height(self, start: int, end: int) -> int:
        """Return about how many rows lie in [start, end) [ns]; raises StoreError."""
        return lake.height(self.folder, start, end)

    def extent(self, points: Sequence[str]) -> tuple[int, int] | None:
        """Return the first and last time of the points' samples [ns]; raises StoreError."""
        return lake.extent(self.folder, points)


def opened(place: Path | Store) -> Store:
    """Return the store, that of a lake's folder where a path is given."""
    return Lake(place) if isinstance(place, Path) else place


def store_of(plant: Plant, kind: str | None, folder: Path | None = None) -> Store:
    """Return the store that a plant's sinks write: of the kind, or the lake rather than InfluxDB.

    folder: the lake's, where it is not that of the plant's parquet sink.
    Raises LookupError where the plant has no such sink, or a secret of it is missing.
    """
    sinks = {sink.kind: sink for sink in reversed(plant.sinks)}  # the first of a kind
    if folder is not None and kind != "influxdb":
        return Lake(folder)
    if "parquet" in sinks and kind != "influxdb":
        return Lake(plant.resolve(sinks["parquet"].path))
    if kind == "lake":
        raise LookupError("the plant has no parquet sink; name a lake with --lake, or a file with --samples")
    if "influxdb" in sinks:
        try:
            return InfluxDB(with_secrets(sinks["influxdb"], plant.root), plant)
        except SecretMissing as error:
            raise LookupError(f"sink {sinks['influxdb'].name}: {error}") from error
    if kind == "influxdb":
        raise LookupError("the plant has no influxdb sink; add a [[sink]] of this kind, or leave --store out")
    raise LookupError(
        "the plant has no sink of kind parquet or influxdb; name a lake with --lake, or a file with --samples"
    )

"""What a package of the assessed plant states: its year 2025, held against 2024 and against every rubric."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from config.load import load_plant
from config.plant import Plant
from config.samples import read_samples
from config.schema import SAMPLE
from kpis.evidence.archive import manifest, pack
from kpis.evidence.configuration import config_files
from kpis.evidence.contents import RUBRICS, Asked, Contents
from kpis.evidence.descriptor import describe
from kpis.evidence.keys import Signer
from kpis.evidence.layout import DESCRIPTOR, MANIFEST, SIGNATURE
from kpis.evidence.objects import json_files
from kpis.evidence.package import about_of
from kpis.evidence.signature import envelope
from kpis.evidence.traces import GAPS, PARTITIONS, TIMELINE, Traces
from kpis.indicators.case import Readings
from kpis.indicators.comparison import year_before
from kpis.output import to_json
from tests.assessed_plant import DAY, DAYS, write

Change = Callable[[dict[str, bytes]], object]
PERIOD = (DAYS[2025] * 10**9, (DAYS[2025] + 365 * DAY) * 10**9)


def contents_of(folder: Path, **files: str) -> Contents:
    """Write the plant into a folder, and return its contents, without traces of its samples."""
    plant = load_plant(write(folder, **files))
    samples = read_samples(folder / "samples.csv").samples
    readings = Readings(plant, samples=samples)
    before = year_before(plant, PERIOD)
    asked = Asked(period=PERIOD, before=before, rubrics=RUBRICS)
    return Contents(plant=plant, asked=asked, now=readings.grounds(PERIOD), earlier=readings.grounds(before),
                    traces=no_traces(plant))  # fmt: skip


def no_traces(plant: Plant) -> Traces:
    """Traces of a store without samples."""
    empty = {name: pl.DataFrame(schema=dict(schema)) for name, schema in
             (("partitions", PARTITIONS), ("gaps", GAPS), ("extract", SAMPLE), ("timeline", TIMELINE))}  # fmt: skip
    return Traces(store="lake", samples=0, extract_period=PERIOD, **empty)


def package_of(
    contents: Contents, signer: Signer | None = None, change: Change | None = None, **about: object
) -> bytes:
    """Return a package of a plant's JSON files alone.

    change: is given the files by name before they are hashed. about: other words in the descriptor's block.
    """
    files = {f"config/{name}": data for name, data in config_files(contents.plant.root).items()}
    files |= json_files(contents)
    if change is not None:
        change(files)
    return sealed(contents.plant, files, about_of(contents, 1, None, None) | about, signer)


def sealed(plant: Plant, files: dict[str, bytes], about: dict[str, object], signer: Signer | None = None) -> bytes:
    """Return a package of these files with what describes them."""
    files[DESCRIPTOR] = to_json(describe(plant, files, about)).encode()
    files[MANIFEST] = manifest(files)
    if signer is not None:
        files[SIGNATURE] = envelope(files[MANIFEST], about, signer)
    return pack(files)

"""What packages of the assessed plant state; what comes from samples alone is written by hand."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import polars as pl

from config.load import load_plant
from kpis.commands import load_samples
from kpis.evidence.contents import Asked, Contents
from kpis.evidence.traces import GAPS, PARTITIONS, TIMELINE, Traces
from kpis.indicators.case import Readings
from tests.assessed_plant import DAY, DAYS, write

YEAR = (DAYS[2025] * 10**9, (DAYS[2025] + 365 * DAY) * 10**9)
YEAR_BEFORE = (DAYS[2024] * 10**9, DAYS[2025] * 10**9)
YEARS = Asked(period=YEAR, before=YEAR_BEFORE)
TWO_DAYS = Asked(period=(YEAR[0], YEAR[0] + 2 * DAY * 10**9), before=None)


def contents_of(folder: Path, asked: Asked = YEARS, **files: str) -> Contents:
    """Return the contents of the assessed plant; files: as `assessed_plant.write` takes them."""
    plant = load_plant(write(folder, **files))
    samples, *_ = load_samples(plant, "2024-01-01", "2026-01-01", folder / "samples.csv", None, None)
    readings = Readings(plant, samples=samples)
    earlier = None if asked.before is None else readings.grounds(asked.before)
    traces = _traces(samples, asked.period)
    return Contents(plant=plant, asked=asked, now=readings.grounds(asked.period), earlier=earlier, traces=traces)


def _traces(samples: pl.DataFrame, period: tuple[int, int]) -> Traces:
    start, end = period
    gaps = [
        ("line1/press4", start, end, end - start, "silent"),
        ("line2/mill2", start + DAY * 10**9, end, end - start - DAY * 10**9, "BadNoCommunication"),
    ]
    hashes = [(dt.date(2024, 12, 31), "line1/press1.state", 1, "ab" * 32)]
    return Traces(
        store="lake",
        samples=samples.height,
        partitions=pl.DataFrame(hashes, schema=dict(PARTITIONS), orient="row"),
        gaps=pl.DataFrame(gaps, schema=list(GAPS), orient="row").cast(dict(GAPS)),
        extract=samples,
        extract_period=period,
        timeline=pl.DataFrame(schema=dict(TIMELINE)),
    )


def renamed(contents: Contents, name: str) -> Contents:
    """Return contents in which the first device has another name."""
    first, *others = contents.plant.assets
    plant = contents.plant.model_copy(update={"assets": (first.model_copy(update={"name": name}), *others)})
    devices = contents.now.devices
    names = devices["name"].to_list()
    now = replace(contents.now, plant=plant, devices=devices.with_columns(name=pl.Series([name, *names[1:]])))
    return Contents(plant=plant, asked=contents.asked, now=now, earlier=contents.earlier, traces=contents.traces)

"""A package's tables for spreadsheets: figures, KPIs, devices, gaps, hashes, as CSV and in the workbook."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from config.schema import UTC_NS
from config.units import NS_PER_SECOND
from kpis.catalogue.offers import kpis_of
from kpis.evidence import objects
from kpis.evidence.contents import Contents
from kpis.indicators import export
from kpis.indicators.counting import last_day, uncounted
from kpis.indicators.said import Lang
from kpis.spreadsheets.guarded_csv import csv_bytes

LANG: Lang = "zh"
"""Of the words in tables; heads of CSV are names of columns, for programs."""
_ISO = "%Y-%m-%dT%H:%M:%S%.f%:z"


def csv_files(contents: Contents) -> dict[str, bytes]:
    """Return the bytes of indicators.csv, kpis.csv, devices.csv, gaps.csv and partitions.csv."""
    told = tables(contents)
    files = {
        "indicators.csv": told["indicators"],
        "kpis.csv": kpi_table(contents),
        "devices.csv": told["devices"],
        "gaps.csv": gap_table(contents),
        "partitions.csv": contents.traces.partitions,
    }
    return {name: csv_bytes(table) for name, table in files.items()}


def tables(contents: Contents) -> dict[str, pl.DataFrame]:
    """Return what `indicators --out` writes of the period, by name: figures with their inputs and members, devices."""
    return export.frames({**objects.indicators(contents), "devices": device_rows(contents)}, LANG)


def device_rows(contents: Contents) -> list[dict[str, Any]]:
    """Return the device list: instants by the plant's clock, times in [s] beside [ns], reasons in words."""
    plant = contents.plant
    day = last_day(plant, contents.now.end)
    reasons = {asset.asset: uncounted(asset, day).into(LANG) for asset in plant.assets}
    words = pl.col("asset").replace_strict(reasons, return_dtype=pl.String).alias("excluded")
    listed = _with_seconds(contents.now.devices.with_columns(words), "planned", "evidenced")
    return _by_clock(contents, listed).to_dicts()


def kpi_table(contents: Contents) -> pl.DataFrame:
    """Return the KPIs of the whole period with their Chinese names; instants by the plant's clock."""
    flat = contents.kpis.with_columns(title_of(contents).alias("title_zh"), pl.col("flags").list.join(" "))
    names = flat.columns
    names.insert(1, names.pop())
    return _by_clock(contents, flat.select(names))


def title_of(contents: Contents) -> pl.Expr:
    """Return the Chinese name of the KPI that column `kpi` names."""
    titles = {one.id: one.title_zh for one in kpis_of(contents.plant)}
    return pl.col("kpi").replace_strict(titles, default=None, return_dtype=pl.String)


def gap_table(contents: Contents) -> pl.DataFrame:
    """Return when devices were not known, with how long that was and how much of it was planned time, [s] and [ns]."""
    length = (pl.col("end") - pl.col("start")).dt.total_nanoseconds().alias("duration_ns")
    told = _with_seconds(contents.traces.gaps.with_columns(length), "duration", "planned")
    columns = ("asset", "start", "end", "duration_s", "duration_ns", "planned_s", "planned_ns", "cause")
    return _by_clock(contents, told.select(columns))


def _with_seconds(table: pl.DataFrame, *names: str) -> pl.DataFrame:
    """Return a table with times in [s] beside those in [ns]."""
    # NumPy divides; Polars multiplies by the divisor's reciprocal, which is a little off.
    return table.with_columns(pl.Series(f"{n}_s", table[f"{n}_ns"].to_numpy() / NS_PER_SECOND) for n in names)


def _by_clock(contents: Contents, table: pl.DataFrame) -> pl.DataFrame:
    """Return a table with its instants as ISO 8601 with the plant's offset."""
    instants: Sequence[str] = [name for name, kind in table.schema.items() if kind == UTC_NS]
    return table.with_columns(pl.col(instants).dt.convert_time_zone(contents.plant.timezone).dt.strftime(_ISO))

"""RESULT rows for people and programs: JSON objects, tables on a terminal, files."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from config.plant import Plant
from kpis.spreadsheets import xlsx
from kpis.spreadsheets.guarded_csv import csv_bytes
from kpis.spreadsheets.sheet import Sheet


def objects(plant: Plant, results: pl.DataFrame) -> list[dict[str, Any]]:
    """Return RESULT rows as plain data; instants as ISO 8601 with the plant's offset."""
    return [row | {"start": _iso(plant, row["start"]), "end": _iso(plant, row["end"])} for row in results.to_dicts()]


def to_json(data: Any) -> str:
    """Return data as JSON that people can read; NaN is refused."""
    return json.dumps(data, ensure_ascii=False, indent=1, allow_nan=False, default=str)


def write(plant: Plant, results: pl.DataFrame, path: Path) -> None:
    """Write RESULT rows as .json, .csv (with BOM, for Excel), .xlsx or .parquet, by the file's ending.

    Raises ValueError naming the endings for any other.
    """
    flat = results.with_columns(
        pl.col("start", "end").dt.convert_time_zone(plant.timezone).dt.strftime("%Y-%m-%dT%H:%M:%S%.f%:z"),
        pl.col("flags").list.join(" "),
    )
    match path.suffix:
        case ".json":
            path.write_text(to_json(objects(plant, results)), encoding="utf-8")
        case ".csv":
            path.write_bytes(csv_bytes(flat))
        case ".xlsx":
            path.write_bytes(xlsx.book([Sheet(name="KPI", heads=flat.columns, rows=flat.rows())]))
        case ".parquet":
            results.write_parquet(path)
        case other:
            raise ValueError(f"{path}: {other!r} is no known ending; write .json, .csv, .xlsx or .parquet")


def table(plant: Plant, results: pl.DataFrame, title: str) -> Table:
    """Return RESULT rows as a terminal table: value with bounds, n/N, coverage and flags."""
    shown = Table(title=title, title_justify="left")
    for name in ("subject", "period", "KPI"):
        shown.add_column(name, no_wrap=True)
    for name in ("value", "low … high", "n / N", "coverage"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("flags")
    last = None
    for row in results.iter_rows(named=True):
        if last not in (None, row["subject"]):
            shown.add_section()
        last = row["subject"]
        shown.add_row(
            row["subject"],
            row["period"],
            row["kpi"],
            _amount(row["value"], row["unit"]),
            ""
            if row["low"] == row["high"]
            else f"{_number(row['low'], row['unit'])} … {_number(row['high'], row['unit'])}",
            f"{_plain(row['numerator'])} / {_plain(row['denominator'])}"
            if row["unit"] == "1" or row["denominator"] != 1.0
            else "",
            "" if row["coverage"] is None else f"{row['coverage']:.1%}",
            " ".join(row["flags"]),
        )
    return shown


def print_table(shown: Table) -> None:
    """Print a table as wide as it needs when stdout is not a terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(shown)


def _iso(plant: Plant, moment: dt.datetime) -> str:
    return moment.astimezone(plant.zone).isoformat()


def _amount(value: float | None, unit: str) -> str:
    return _number(value, unit) if unit == "1" or value is None else f"{_number(value, unit)} {unit}"


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    return f"{value:.2%}" if unit == "1" else _plain(value)


def _plain(value: float | None) -> str:
    if value is None:
        return "–"
    # Two decimals would make nothing of a little.
    return f"{value:.3g}" if 0 < abs(value) < 0.1 else f"{value:,.2f}".rstrip("0").rstrip(".")

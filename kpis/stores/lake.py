"""Samples from the Parquet lake, with what a window needs from outside it.

A counter's increment over the window's border needs the last good row before the window and the first one after it;
they are looked for day by day, at most SEARCH_DAYS away.

An agent may write, merge and remove files meanwhile: each look takes the files as they stand at one instant, and is
taken again where one of them went before it was read.
"""

import datetime as dt
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from config.lakefiles import RUNS, TEXTS, parse, runs_read, superseded
from config.schema import SAMPLE, UTC_NS
from kpis.intervals import resolve, series
from kpis.stores.arrays import COLUMNS, Runs, Stretch, stretch_of
from kpis.stores.base import StoreError, nearest

TRIES = 20
"""So often a look is taken again because files went meanwhile."""
_DAY_FOLDER = re.compile(r"date=\d{4}-\d\d-\d\d")
_DAY_NS = 86_400_000_000_000

T = TypeVar("T")


class LakeError(StoreError):
    """The lake cannot be read; the message names the folder or file."""


def days(lake: Path) -> list[dt.date]:
    """Return the UTC days for which the lake has samples, in order."""
    found = (lake / "samples").glob("date=[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]")
    return sorted(dt.date.fromisoformat(folder.name.removeprefix("date=")) for folder in found if _listed(folder))


def _days(lake: Path, start: int, end: int) -> list[dt.date]:
    """Return the UTC days that [start, end) [ns] touches and that have a folder; no other is looked into."""
    first, last = f"date={_day(start)}", f"date={_day(end - 1)}"
    try:
        names = sorted(entry.name for entry in os.scandir(lake / "samples") if first <= entry.name <= last)
    except FileNotFoundError:
        return []
    return [dt.date.fromisoformat(name.removeprefix("date=")) for name in names if _DAY_FOLDER.fullmatch(name)]


def files(lake: Path, day: dt.date) -> list[Path]:
    """Return the files of one UTC day that count, in order of name, as they stand at one instant."""
    folder = lake / "samples" / f"date={day}"
    # While files are merged, a listing may hold neither the merged one nor those that it replaced; two of them in a
    # row are equal only where nothing went between.
    before, listed = None, _listed(folder)
    while before != listed:
        before, listed = listed, _listed(folder)
    gone = superseded([file for path in listed if (file := parse(path)) is not None])
    return [path for path in listed if path not in gone]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.suffix == ".parquet" and not p.name.startswith("."))
    except FileNotFoundError:
        return []


def read(lake: Path, points: Sequence[str], start: int, end: int) -> pl.DataFrame:
    """Return the SAMPLE rows of the points in [start, end) [ns since 1970, UTC], and their neighbours outside it.

    Raises LakeError where a file cannot be read.
    """
    return _steadily(lake, lambda: _read(lake, points, start, end))


def _read(lake: Path, points: Sequence[str], start: int, end: int) -> pl.DataFrame:
    window = _rows(lake, points, start, end)
    return _ordered(pl.concat([_before(lake, points, start), window, _after(lake, points, end)]))


def rows(lake: Path, points: Sequence[str], start: int, end: int) -> pl.DataFrame:
    """Return the SAMPLE rows of the points in [start, end) [ns since 1970, UTC]; raises LakeError."""
    return _steadily(lake, lambda: _rows(lake, points, start, end))


def _rows(lake: Path, points: Sequence[str], start: int, end: int) -> pl.DataFrame:
    inside = [_scan(lake, [d], points) for d in _days(lake, start, end)]
    empty = pl.DataFrame(schema=dict(SAMPLE))
    if not inside:
        return empty
    return pl.concat([empty.lazy(), *inside]).filter(_between(start, end)).collect()


def before(lake: Path, points: Sequence[str], border: int) -> pl.DataFrame:
    """Return, per point, the rows before an instant [ns since 1970, UTC] back to the nearest good one.

    They are looked for at most SEARCH_DAYS away. Raises LakeError.
    """
    return _steadily(lake, lambda: _before(lake, points, border))


def _before(lake: Path, points: Sequence[str], border: int) -> pl.DataFrame:
    return nearest(lambda *window: _rows(lake, *window), points, border, last=True)


def after(lake: Path, points: Sequence[str], border: int) -> pl.DataFrame:
    """Return, per point, the rows from an instant [ns since 1970, UTC] on up to the nearest good one.

    They are looked for at most SEARCH_DAYS away. Raises LakeError.
    """
    return _steadily(lake, lambda: _after(lake, points, border))


def _after(lake: Path, points: Sequence[str], border: int) -> pl.DataFrame:
    return nearest(lambda *window: _rows(lake, *window), points, border, last=False)


def stretch(lake: Path, points: Sequence[str], start: int, end: int, *, uncertain_is_good: bool) -> Stretch:
    """Return the points' samples in [start, end) [ns since 1970, UTC], one an instant; raises LakeError."""
    return _steadily(lake, lambda: _stretch(lake, points, start, end, uncertain_is_good))


def _stretch(lake: Path, points: Sequence[str], start: int, end: int, uncertain_is_good: bool) -> Stretch:
    wanted = _days(lake, start, end)
    paths = [path for day in wanted for path in files(lake, day)]
    if not paths:
        return Stretch()
    scan = pl.scan_parquet(paths, hive_partitioning=False, glob=False)
    said = [pl.read_parquet_metadata(path) for path in paths]
    # A file that somebody else put there may hold rows of any day.
    whole = not (start % _DAY_NS or end % _DAY_NS) and all(parse(path) is not None for path in paths)
    runs = _runs(said) if whole else None
    scan = scan if whole else scan.filter(_between(start, end))
    # What the footers say need not be read: a column of nulls, and one of names, take as long as any other.
    columns = [c for c in COLUMNS if runs is None or c != "point"]
    columns += ["text"] if any(about.get(TEXTS, "") != "0" for about in said) else []
    frame = scan.select(columns).collect()
    if runs is not None and runs[1][-1] != frame.height:
        raise LakeError(f"{lake}: the footers of {_day(start)} speak of other rows; restore the files from a copy")
    found, disordered = stretch_of(frame, set(points), runs, uncertain_is_good=uncertain_is_good)
    if not disordered:
        return found
    ordered = resolve(_rows(lake, disordered, start, end))
    return Stretch(found.chunks, series(ordered, uncertain_is_good=uncertain_is_good))


def _runs(said: Sequence[Mapping[str, str]]) -> Runs | None:
    """Return which points' rows lie side by side in files, if all of their footers say so."""
    names: list[str] = []
    lengths: list[int] = []
    try:
        for points, groups in (runs_read(about[RUNS]) for about in said):
            for rows in groups:
                names += [point for point, length in zip(points, rows, strict=True) if length]
                lengths += [length for length in rows if length]
    except (KeyError, ValueError):
        return None
    return (names, np.cumsum(lengths)) if names else None


def height(lake: Path, start: int, end: int) -> int:
    """Return how many rows the days have that [start, end) [ns since 1970, UTC] touches; raises LakeError."""
    wanted = _days(lake, start, end)
    return _steadily(lake, lambda: _height([path for day in wanted for path in files(lake, day)]))


def _height(paths: Sequence[Path]) -> int:
    if not paths:
        return 0
    count: int = pl.scan_parquet(list(paths), hive_partitioning=False, glob=False).select(pl.len()).collect().item()
    return count


def _ordered(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows sorted by point, ts and ts_recv: files hold them so a while at a time.

    Each point for itself takes a fifth of what sorting texts takes.
    """
    before, ts = pl.col("point").shift(1), pl.col("ts").to_physical()
    follows = (pl.col("point") > before) | ((pl.col("point") == before) & (ts >= ts.shift(1)))
    if rows.select(follows.fill_null(value=True).all()).item():
        return rows
    points = rows.partition_by("point", as_dict=True, maintain_order=True)
    return pl.concat([_in_time(points[key]) for key in sorted(points)])


def _in_time(rows: pl.DataFrame) -> pl.DataFrame:
    """Return a point's rows in the order of time."""
    ts, before = pl.col("ts").to_physical(), pl.col("ts").to_physical().shift(1)
    rising = rows.select((ts > before).fill_null(value=True).all()).item()
    return rows if rising else rows.sort("ts", "ts_recv")


def _steadily(lake: Path, look: Callable[[], T]) -> T:
    """Return what a look finds; it is taken again where files went before they were read.

    Raises LakeError where a file cannot be read.
    """
    for left in reversed(range(TRIES)):
        try:
            return look()
        except FileNotFoundError as error:
            if not left:
                raise LakeError(f"{lake}: {error}; its files change faster than they can be read, try again") from error
        except (OSError, pl.exceptions.PolarsError) as error:
            raise LakeError(f"{lake}: {error}; check the folder, or restore the file from a copy") from error
    raise AssertionError("the last try returns or raises")


def extent(lake: Path, points: Sequence[str]) -> tuple[int, int] | None:
    """Return the first and last time of the points' samples [ns since 1970, UTC]; None where there are none.

    Raises LakeError where a file cannot be read.
    """
    return _steadily(lake, lambda: _extent(lake, points))


def _extent(lake: Path, points: Sequence[str]) -> tuple[int, int] | None:
    known = days(lake)
    if not known:
        return None
    ends = _scan(lake, known, points).select(
        first=pl.col("ts").min().to_physical(), last=pl.col("ts").max().to_physical()
    )
    first, last = ends.collect().row(0)
    return None if first is None else (first, last)


def _scan(lake: Path, wanted: Sequence[dt.date], points: Sequence[str]) -> pl.LazyFrame:
    paths = [path for day in dict.fromkeys(wanted) for path in files(lake, day)]
    if not paths:
        return pl.DataFrame(schema=dict(SAMPLE)).lazy()
    return (
        pl.scan_parquet(paths, hive_partitioning=False, glob=False)
        .filter(pl.col("point").is_in(list(points)))
        .select(list(SAMPLE))
    )


def _between(start: int, end: int) -> pl.Expr:
    return (pl.col("ts") >= _at(start)) & (pl.col("ts") < _at(end))


def _at(ns: int) -> pl.Expr:
    return pl.lit(ns).cast(UTC_NS)


def _day(ns: int) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(days=ns // _DAY_NS)

"""Sample tables in files: CSV with `ts,point,value[,status]`, or Parquet with the SAMPLE columns.

CSV: `ts` is ISO 8601 with an offset, or epoch nanoseconds; `value` is a number, true/false or a word, empty for null;
`status` is a StatusCode's name or number, empty for Good. What cannot be read is left out and reported by line.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from config.schema import SAMPLE, UTC_NS
from config.status import GOOD, NAMES

_ISO = ("%+", "%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z")
_YEARS = (1678, 2261)
"""Whole years that 64 bits of nanoseconds can say; beyond them a time would wrap round unseen."""
_NEEDED = ("ts", "point", "value")
_COLUMNS = "the columns are ts,point,value[,status]"


class SampleFileError(Exception):
    """The file as a whole cannot be read as samples."""


@dataclass(frozen=True, slots=True)
class SampleFile:
    """The samples of a file, and the lines that were left out with the reason."""

    samples: pl.DataFrame
    faults: tuple[str, ...]


def read_samples(path: Path) -> SampleFile:
    """Return a file's SAMPLE rows (`ts_recv` = `ts` for CSV).

    Raises SampleFileError naming the file and what is missing where no row can be read at all.
    """
    return _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)


def _parquet(path: Path) -> SampleFile:
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SampleFileError(f"{path}: {error}; hand over a Parquet file of samples") from error
    missing = [column for column in SAMPLE if column not in frame.columns]
    if missing:
        rule = f"column {', '.join(missing)} is missing"
        raise SampleFileError(f"{path}: {rule}; the columns of a Parquet file are {', '.join(SAMPLE)}")
    aware = [name for name in ("ts", "ts_recv") if getattr(frame.schema[name], "time_zone", None) is not None]
    if len(aware) < 2:
        raise SampleFileError(f"{path}: ts and ts_recv must be timestamps in UTC; write them with a time zone")
    try:
        # The times are cast only when their years are known to fit.
        plain = [pl.col(column).cast(SAMPLE[column]) for column in ("point", "value", "text", "status")]
        return _split(path, frame.select(list(SAMPLE)).with_columns(plain).with_columns(**_row_faults()), "row ")
    except pl.exceptions.PolarsError as error:
        raise SampleFileError(f"{path}: {error}; hand over columns of the types of a sample") from error


def _row_faults() -> dict[str, pl.Expr]:
    in_range = pl.all_horizontal(pl.col("ts", "ts_recv").dt.year().is_between(*_YEARS))
    years = f"not in the years {_YEARS[0]} to {_YEARS[1]}"
    fault = (
        pl.when(~in_range.fill_null(value=False))
        .then(pl.lit(f"ts or ts_recv is missing, or {years}"))
        .when(pl.col("point").fill_null("") == "")
        .then(pl.lit("point is empty"))
        .when(pl.col("status").is_null())
        .then(pl.lit("status is empty"))
        .when(pl.col("value").is_finite().not_())
        .then(pl.format("value {} is no number that can be reckoned with", "value"))
    )
    return {"line": pl.int_range(1, pl.len() + 1), "fault": fault}


def _csv(path: Path) -> SampleFile:
    try:
        frame = pl.read_csv(path, infer_schema=False, encoding="utf8").with_columns(pl.all().fill_null(""))
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = _first_fault(path) or f"{error}"
        raise SampleFileError(f"{path}{reason}; hand over a CSV file in UTF-8; {_COLUMNS}") from error
    frame = frame.rename(str.strip)
    for column in _NEEDED:
        if f"{column}_duplicated_0" in frame.columns:
            raise SampleFileError(f"{path}: column {column} stands twice; keep one of them")
    missing = [column for column in _NEEDED if column not in frame.columns]
    if missing:
        raise SampleFileError(f"{path}: column {', '.join(missing)} is missing; {_COLUMNS}")
    return _typed(path, frame)


def _first_fault(path: Path) -> str:
    """Return the line of a CSV file that cannot be read, and why; empty where every line can."""
    try:
        data = path.read_bytes()
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        line, width = 1, 0
        for cells in reader:
            width = width or len(cells)
            if len(cells) > width:
                return f":{line}: the row has {len(cells)} cells, the head {width}"
            line = reader.line_num + 1
    except UnicodeDecodeError as error:
        broken = data.count(b"\n", 0, error.start) + 1
        return f":{broken}: the line is not UTF-8"
    except csv.Error as error:
        return f":{line}: {error}; look for a lone double quote"
    except OSError as error:
        return f": cannot be read ({error.strerror})"
    return ": the file is empty" if not width else ""


def _typed(path: Path, frame: pl.DataFrame) -> SampleFile:
    if "status" not in frame.columns:
        frame = frame.with_columns(status=pl.lit(""))
    # A cell may hold line breaks, so that the row after it stands further down.
    breaks = pl.sum_horizontal(pl.all().str.count_matches("\n", literal=True))
    frame = frame.with_columns(line=(breaks.cum_sum().shift(1, fill_value=0) + pl.int_range(2, pl.len() + 2)))
    frame = frame.filter(pl.any_horizontal(pl.col(*_NEEDED) != ""))
    text = pl.col("value").str.strip_chars()
    number = text.cast(pl.Float64, strict=False)
    word = text.str.to_lowercase().replace_strict({"true": 1.0, "false": 0.0}, default=None, return_dtype=pl.Float64)
    typed = frame.with_columns(
        raw_ts=pl.col("ts"),
        raw_status=pl.col("status"),
        raw_value=text,
        ts=_instant(pl.col("ts").str.strip_chars()),
        status=_status(pl.col("status").str.strip_chars()),
        value=pl.coalesce(number, word),
        text=pl.when(number.is_null() & word.is_null() & (text != "")).then(text),
        point=pl.col("point").str.strip_chars(),
    ).with_columns(ts_recv=pl.col("ts"), fault=_fault())
    return _split(path, typed, "")


_LEAST_NS = 10**17
"""A smaller number, before 1973, is one of seconds or milliseconds."""


def _fault() -> pl.Expr:
    years = f"in the years {_YEARS[0]} to {_YEARS[1]}"
    seconds = pl.col("ts").is_null() & pl.col("raw_ts").str.strip_chars().str.contains(r"^-?\d{1,17}$")
    return (
        pl.when(seconds)
        .then(pl.format("ts {} is no count of nanoseconds; write nanoseconds, or ISO 8601 with an offset", "raw_ts"))
        .when(pl.col("ts").is_null())
        .then(pl.format(f"ts {{}} is neither ISO 8601 with an offset nor epoch nanoseconds, {years}", "raw_ts"))
        .when(pl.col("point") == "")
        .then(pl.lit("point is empty"))
        .when(pl.col("status").is_null())
        .then(pl.format("status {} is neither a StatusCode's name nor a number", "raw_status"))
        .when(pl.col("value").is_finite().not_())
        .then(pl.format("value {} is no number that can be reckoned with", "raw_value"))
    )


def _split(path: Path, frame: pl.DataFrame, word: str) -> SampleFile:
    bad = frame.filter(pl.col("fault").is_not_null())
    faults = tuple(f"{path.name}:{word}{line}: {fault}" for line, fault in bad.select("line", "fault").iter_rows())
    good = frame.filter(pl.col("fault").is_null())
    return SampleFile(good.select(list(SAMPLE)).cast(pl.Schema(SAMPLE)), faults)


def _instant(text: pl.Expr) -> pl.Expr:
    whole = text.cast(pl.Int64, strict=False)
    epoch = pl.when(whole.abs() >= _LEAST_NS).then(whole)
    year = text.str.extract(r"^(\d{4})-").cast(pl.Int32)
    iso = pl.when(year.is_between(*_YEARS)).then(text)
    parsed = [iso.str.to_datetime(form, time_unit="ns", time_zone="UTC", strict=False) for form in _ISO]
    return pl.coalesce(epoch.cast(UTC_NS), *parsed)


def _status(text: pl.Expr) -> pl.Expr:
    named = text.replace_strict(NAMES | {"": GOOD}, default=None, return_dtype=pl.UInt32)
    hexadecimal = pl.when(text.str.starts_with("0x")).then(
        text.str.strip_prefix("0x").str.to_integer(base=16, strict=False)
    )
    return pl.coalesce(named, text.cast(pl.UInt32, strict=False), hexadecimal.cast(pl.UInt32, strict=False))

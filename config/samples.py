"""Sample tables in files: CSV with `ts,point,value[,status]`, or Parquet with the SAMPLE columns.

CSV: `ts` is ISO 8601 with an offset, or epoch nanoseconds; `value` is a number, true/false or a word, empty for null;
`status` is a StatusCode's name or number, empty for Good. What cannot be read is left out and reported by line.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from config.schema import SAMPLE, UTC_NS
from config.status import GOOD, NAMES

_ISO = ("%+", "%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z")


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
    try:
        if path.suffix == ".parquet":
            frame = pl.read_parquet(path)
        else:
            frame = pl.read_csv(path, infer_schema=False, encoding="utf8").with_columns(pl.all().fill_null(""))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SampleFileError(
            f"{path}: {error}; hand over a CSV file with the columns ts,point,value[,status]"
        ) from error
    missing = {"ts", "point", "value"} - set(frame.columns)
    if missing:
        raise SampleFileError(
            f"{path}: column {', '.join(sorted(missing))} is missing; the columns are ts,point,value[,status]"
        )
    if path.suffix == ".parquet":
        return SampleFile(frame.select(list(SAMPLE)).cast(pl.Schema(SAMPLE)), ())
    return _typed(path, frame)


def _typed(path: Path, frame: pl.DataFrame) -> SampleFile:
    if "status" not in frame.columns:
        frame = frame.with_columns(status=pl.lit(""))
    text = pl.col("value").str.strip_chars()
    number = text.cast(pl.Float64, strict=False)
    word = text.str.to_lowercase().replace_strict({"true": 1.0, "false": 0.0}, default=None, return_dtype=pl.Float64)
    typed = frame.with_columns(
        line=pl.int_range(2, pl.len() + 2),
        raw_ts=pl.col("ts"),
        raw_status=pl.col("status"),
        ts=_instant(pl.col("ts").str.strip_chars()),
        status=_status(pl.col("status").str.strip_chars()),
        value=pl.coalesce(number, word),
        text=pl.when(number.is_null() & word.is_null() & (text != "")).then(text),
        point=pl.col("point").str.strip_chars(),
    ).with_columns(
        fault=pl.when(pl.col("ts").is_null())
        .then(pl.format("ts {} is neither ISO 8601 with an offset nor epoch nanoseconds", pl.col("raw_ts")))
        .when(pl.col("point") == "")
        .then(pl.lit("point is empty"))
        .when(pl.col("status").is_null())
        .then(pl.format("status {} is neither a StatusCode's name nor a number", pl.col("raw_status")))
    )
    bad = typed.filter(pl.col("fault").is_not_null())
    faults = tuple(f"{path.name}:{line}: {fault}" for line, fault in bad.select("line", "fault").iter_rows())
    good = typed.filter(pl.col("fault").is_null()).with_columns(ts_recv=pl.col("ts"))
    return SampleFile(good.select(list(SAMPLE)).cast(pl.Schema(SAMPLE)), faults)


def _instant(text: pl.Expr) -> pl.Expr:
    epoch = text.cast(pl.Int64, strict=False).cast(UTC_NS)
    parsed = [text.str.to_datetime(form, time_unit="ns", time_zone="UTC", strict=False) for form in _ISO]
    return pl.coalesce(epoch, *parsed)


def _status(text: pl.Expr) -> pl.Expr:
    named = text.replace_strict(NAMES | {"": GOOD}, default=None, return_dtype=pl.UInt32)
    hexadecimal = pl.when(text.str.starts_with("0x")).then(
        text.str.strip_prefix("0x").str.to_integer(base=16, strict=False)
    )
    return pl.coalesce(named, text.cast(pl.UInt32, strict=False), hexadecimal.cast(pl.UInt32, strict=False))

"""Readers of the recorded data beside the repository; tests that need it skip where the folder is missing."""

import datetime as dt
from pathlib import Path

import polars as pl

OKUMA_SESSIONS = (1, 1390, 6328, 10605)
"""The lines at which the sessions of okuma.txt start, counted from 1."""

_UTC_NS = pl.Datetime("ns", "UTC")


def shared_data() -> Path | None:
    """Return the folder of the recorded data, or None where it is missing."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


def okuma(path: Path) -> pl.DataFrame:
    """Return the MTConnect lines of okuma.txt as (ts, item, value, session), in the file's order.

    A session is named by its first line. Asset blocks and the adapter's commands are left out; UNAVAILABLE
    and empty values stay as they are.
    """
    found: list[tuple[str, str, str, int]] = []
    closing = ""
    session = 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        session = number if number in OKUMA_SESSIONS else session
        if closing:
            closing = "" if line == closing else closing
            continue
        stamp, *fields = line.split("|")
        if fields and fields[-1].startswith("--multiline--"):
            closing = fields[-1]
        if not fields or fields[0].startswith("@") or stamp.startswith("*"):
            continue
        # A condition's empty trailing fields pair up to nothing.
        pairs = zip(fields[::2], fields[1::2], strict=False)
        found += [(stamp, item, value, session) for item, value in pairs if item]
    table = pl.DataFrame(found, ["ts", "item", "value", "session"], orient="row")
    naive = pl.col("ts").str.strptime(pl.Datetime("ns"), "%Y-%m-%dT%H:%M:%S%.fZ")
    return table.with_columns(naive.dt.replace_time_zone("UTC"))


def steel(path: Path) -> pl.DataFrame:
    """Return the meter of steel.csv as (ts, meter): the interval's end, and the reading then [0.01 kWh].

    The meter starts at 0 one interval before the first row. The row of 00:00 closes the day of its date.
    """
    table = pl.read_csv(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), columns=["date", "Usage_kWh"])
    end = pl.col("date").str.strptime(pl.Datetime("ns"), "%d/%m/%Y %H:%M")
    closing = pl.when(end.dt.time() == dt.time(0)).then(pl.duration(days=1)).otherwise(pl.duration())
    hundredths = (pl.col("Usage_kWh") * 100).round().cast(pl.Int64)
    return table.select(
        ts=(end + closing).dt.replace_time_zone("Asia/Seoul").dt.convert_time_zone("UTC").cast(_UTC_NS),
        meter=hundredths.cum_sum(),
    )

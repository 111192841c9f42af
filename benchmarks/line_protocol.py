"""Rows a second from SAMPLE frames to line protocol, beside influxdb-client's points on rows of the same frame."""

import time
import zlib
from collections.abc import Callable

import numpy as np
import polars as pl
from influxdb_client import Point

from collector.sinks.influxdb import LEVEL, LINES
from collector.sinks.line_protocol import Series, choose, encode
from config.schema import UTC_NS

ROWS = 1_000_000
POINTS = 1_000
TEXT = 'stop, "E 17"=\\door'
CLIENT_ROWS = 50_000


def measure() -> dict[str, tuple[float, str, str]]:
    """Return rows/s of both, and the ratio; ours with choosing, escaping and joining, and with gzip besides."""
    ids = [f"line{n % 7}/machine{n // 7}.value" for n in range(POINTS)]
    series = Series("jn1", {point: point.partition(".")[0] for point in ids})
    numbers = _frame(ids)
    mixed = numbers.with_columns(
        value=pl.when(pl.int_range(pl.len()) % 10 > 0).then("value"),
        text=pl.when(pl.int_range(pl.len()) % 10 == 0).then(pl.lit(TEXT)),
    )
    ours = _rate(lambda: _ours(numbers, series), ROWS)
    packed = _rate(lambda: _ours(numbers, series, packs=True), ROWS)
    texts = _rate(lambda: _ours(mixed, series), ROWS)
    theirs = _rate(lambda: _theirs(numbers[:CLIENT_ROWS]), CLIENT_ROWS)
    return {
        "numbers": (ours, "rows/s", "1,500,000 to reach"),
        "one in ten a text to escape": (texts, "rows/s", "1,500,000 to reach"),
        "numbers, with gzip level 1": (packed, "rows/s", ""),
        "influxdb-client's Point": (theirs, "rows/s", ""),
        "numbers, against Point": (ours / theirs, "times", ""),
    }


def _ours(frame: pl.DataFrame, series: Series, *, packs: bool = False) -> None:
    # As after a restart: each point's first row tells its status, the others need not.
    series.last[:] = np.iinfo(np.int64).min
    order, tells = choose(frame, series)
    for begin in range(0, len(order), LINES):
        part = slice(begin, begin + LINES)
        text = encode(frame[order[part]], tells[part], series)["line"].str.join("\n")[0].encode()
        if packs:
            zlib.compress(text, LEVEL, 31)


def _theirs(frame: pl.DataFrame) -> None:
    stamps = frame["ts"].to_physical()
    lines = [
        Point("samples")
        .tag("plant", "jn1")
        .tag("asset", point.partition(".")[0])
        .tag("point", point)
        .field("value", value)
        .time(ts)
        .to_line_protocol()
        for point, value, ts in zip(frame["point"], frame["value"], stamps, strict=True)
    ]
    "\n".join(lines).encode()


def _rate(work: Callable[[], None], rows: int) -> float:
    spent = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
    return rows / min(spent)


def _frame(ids: list[str]) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    polls = ROWS // POINTS
    ts = 1_790_000_000_000_000_000 + np.repeat(np.arange(polls), POINTS) * 10**9 + rng.integers(0, 9 * 10**8, ROWS)
    stamps = pl.Series(ts).cast(UTC_NS)
    return pl.DataFrame(
        {
            "point": pl.Series(ids).gather(np.tile(np.arange(POINTS), polls)),
            "ts": stamps,
            "ts_recv": stamps,
            "value": rng.normal(100, 5, ROWS),
            "text": pl.Series([None] * ROWS, dtype=pl.String),
            "status": np.zeros(ROWS, np.uint32),
        }
    )

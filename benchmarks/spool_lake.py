"""Samples a second from arrays to the Parquet lake, every batch synced on the way; and the spool's part alone."""

import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from collector.batch import Rows, to_frame
from collector.delivery import READ_BYTES
from collector.payload import decoded, encoded
from collector.quarantine import Quarantine
from collector.sinks.parquet import Sink
from collector.spool import Record, Spool
from config.plant import Plant
from config.plant import Sink as SinkConfig

ROWS = 10_000
BATCHES = 200
POINTS = 1_000


def measure() -> dict[str, tuple[float, str, str]]:
    """Return samples/s through spool and lake, and through the spool alone."""
    ids = pl.Series([f"line{n % 7}/machine{n // 7}.value" for n in range(POINTS)])
    rng = np.random.default_rng(1)
    batches = [_batch(rng, n) for n in range(BATCHES)]
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder) / "spool")
        began = time.perf_counter()
        for rows in batches:
            spool.put(encoded(to_frame([rows], ids)), len(rows))
        spooled = time.perf_counter() - began
        sink = Sink(
            SinkConfig(kind="parquet", path=Path(folder) / "lake"),
            Plant(id="p"),
            agent="a",
            spool=spool.id,
            ledger=spool.ledger,
            quarantine=Quarantine(Path(folder) / "quarantine", spool.ledger),
        )
        sink.start(spool.done("lake"))
        cursor = 0
        while records := [r for r in spool.read(cursor, READ_BYTES) if isinstance(r, Record)]:
            sink.write(pl.concat([decoded(r.payload) for r in records]), cursor + 1, records[-1].seq)
            cursor = records[-1].seq
            spool.advance("lake", (0, cursor))
        stored = time.perf_counter() - began
        while sink.upkeep(cursor):
            pass
        whole = time.perf_counter() - began
        spool.close()
    total = ROWS * BATCHES
    return {
        "spool, synced": (total / spooled, "samples/s", ""),
        "spool + lake, synced": (total / stored, "samples/s", "300,000 to reach"),
        "spool + lake, merged as well": (total / whole, "samples/s", ""),
    }


def _batch(rng: np.random.Generator, n: int) -> Rows:
    start = 1_790_000_000_000_000_000 + n * 1_000_000_000
    return Rows(
        points=rng.integers(0, POINTS, ROWS).astype(np.intp),
        ts=start + rng.integers(0, 1_000_000_000, ROWS),
        ts_recv=start + 1_000_000_000,
        value=rng.normal(100, 5, ROWS),
        valid=np.ones(ROWS, np.bool_),
        status=np.zeros(ROWS, np.uint32),
        text=None,
    )

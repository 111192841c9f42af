"""Bytes a sample on disk: the lake's live and merged files against InfluxDB 1.6 with the same rows.

InfluxDB is the real influxd after its full compaction; only its data files count (*.tsm), neither its log nor its
index. It holds no receive time. Rows are those of the simulated plant, of a machine whose four points are polled each
second and stored each time, and of the recordings beside the repository.
"""

import tempfile
import time
from pathlib import Path

import polars as pl

from benchmarks.kpi_lake import day_of
from benchmarks.plant_rows import recorded, simulated
from collector.ledger import Ledger
from collector.quarantine import Quarantine
from collector.sinks.parquet import Sink
from config.plant import Plant
from config.plant import Sink as SinkConfig
from tests.influx_peers import Influxd, influxd

HOURS = 6
"""So much of the simulated plant."""
EVERY = {"okuma": 60, "steel": 6 * 3600}
"""How long rows of the recordings wait for a file [s]; of 15-minute values a minute would hold one poll."""
LINES = 20_000
DAY_NS = 86_400_000_000_000
COLD = {"DATA_CACHE_SNAPSHOT_WRITE_COLD_DURATION": "1s", "DATA_COMPACT_FULL_WRITE_COLD_DURATION": "1s"}


def measure() -> dict[str, tuple[float, str, str]]:
    """Return bytes a sample of the lake's live files, of its merged ones, of InfluxDB, and merged over InfluxDB."""
    figures: dict[str, tuple[float, str, str]] = {}
    tables = {"simulated": (simulated(HOURS), 60), "1 Hz": (day_of(1), 60)}
    tables |= {name: (rows, EVERY[name]) for name, rows in recorded().items()}
    with tempfile.TemporaryDirectory() as folder:
        stored = _influx(Path(folder), {name: rows for name, (rows, _) in tables.items()})
        for name, (rows, every) in tables.items():
            live, merged = _lake(Path(folder) / name, rows, every)
            count = f"{rows.height:,} samples"
            figures |= {
                f"{name}: live": (live / rows.height, "B/sample", count),
                f"{name}: merged": (merged / rows.height, "B/sample", count),
                f"{name}: InfluxDB": (stored[name] / rows.height, "B/sample", count),
                f"{name}: merged / InfluxDB": (merged / stored[name], "", "0.33 to reach"),
            }
    return figures


def _lake(folder: Path, rows: pl.DataFrame, every: int) -> tuple[int, int]:
    """Write what came in each `every` [s] as one batch; returns the size before and after merging [B]."""
    folder.mkdir()
    ledger = Ledger(folder / "ledger.jsonl")
    config = SinkConfig(kind="parquet", path=folder / "lake")
    quarantine = Quarantine(folder / "quarantine", ledger)
    sink = Sink(config, Plant(id="p"), agent="a", spool="0" * 8, ledger=ledger, quarantine=quarantine)
    sink.clock = lambda: time.time_ns() + 2 * DAY_NS
    sink.start(())
    slots = rows.with_columns(slot=pl.col("ts_recv").to_physical() // (every * 1_000_000_000))
    batches = slots.partition_by("slot", include_key=False)
    for number, batch in enumerate(batches, 1):
        sink.write(batch, number, number)
    live = _size(folder, "*.parquet")
    while sink.upkeep(len(batches)):
        pass
    return live, _size(folder, "*.parquet")


def _influx(folder: Path, tables: dict[str, pl.DataFrame]) -> dict[str, int]:
    """Write the tables into databases of their own; returns their sizes once nothing is compacted any more [B]."""
    with influxd(folder, **COLD) as server:
        for name, rows in tables.items():
            server.query(f'CREATE DATABASE "{name}"')
            lines = _lines(rows)
            for begin in range(0, len(lines), LINES):
                server.write("\n".join(lines[begin : begin + LINES]).encode(), name)
        _settle(folder, server)
        return {name: _size(folder / "data" / name, "*.tsm") for name in tables}


def _settle(folder: Path, server: Influxd) -> None:
    """Wait until the cache is written and the files stay as they are for ten seconds."""
    before, since = None, time.monotonic()
    while time.monotonic() - since < 10:
        now = (_size(folder / "data", "*.tsm"), _size(folder / "wal", "*.wal"))
        if now != before or now[1]:
            before, since = now, time.monotonic()
        time.sleep(0.5)
    server.query("SHOW DATABASES")


def _size(folder: Path, pattern: str) -> int:
    return sum(file.stat().st_size for file in folder.rglob(pattern))


def _lines(rows: pl.DataFrame) -> pl.Series:
    """Return the rows in line protocol, as the sink for InfluxDB writes them."""
    latest = rows.unique(["point", "ts"], keep="last", maintain_order=True)
    point = pl.col("point").str.replace_all(r"([ ,=])", r"\\$1")
    text = pl.col("text").str.replace_all(r'(["\\])', r"\$1")
    fields = [
        pl.format("value={}", pl.col("value")),
        pl.format('text="{}"', text),
        pl.when(pl.col("text") == "").then(pl.lit('special="empty"')),
        pl.when(pl.col("status") != 0).then(pl.format("status={}i", pl.col("status"))),
    ]
    said = pl.concat_str(fields, separator=",", ignore_nulls=True).replace("", "status=0i")
    asset = point.str.split(".").list.first()
    line = pl.format("samples,asset={},plant=p,point={} {} {}", asset, point, said, pl.col("ts").to_physical())
    return latest.select(line).to_series()

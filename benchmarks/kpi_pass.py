"""One pass from the lake to facts, against a plain scan of the same columns; generated: 1 Hz, 4 points a machine."""

import datetime as dt
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from collector.ledger import Ledger
from collector.quarantine import Quarantine
from collector.sinks.parquet import Sink
from config.plant import Asset, Plant, Point
from config.plant import Sink as SinkConfig
from config.schema import SAMPLE
from kpis.calendar import to_ns
from kpis.facts import facts
from kpis.stores import lake

MACHINES = 10
SECONDS = 86_400
START = to_ns(dt.datetime(2026, 11, 1, tzinfo=dt.UTC))


def measure() -> dict[str, tuple[float, str, str]]:
    """Return the pass's seconds, the scan's, and their ratio."""
    machines = [f"line{n % 2}/m{n}" for n in range(MACHINES)]
    points = [Point(point=f"{m}.{r}", asset=m, role=r, **_unit(r)) for m in machines for r in _ROLES]
    states = {"default": {"1": "production", "3": "delay"}}
    assets = tuple(Asset(asset=m, ideal_cycle=1.0) for m in machines)
    plant = Plant(id="p", timezone="UTC", assets=assets, points=tuple(points), states=states)
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl")
        sink = Sink(
            SinkConfig(kind="parquet", path=Path(folder)),
            plant,
            agent="a",
            spool="0" * 8,
            ledger=ledger,
            quarantine=Quarantine(Path(folder), ledger),
        )
        sink.start(())
        sink.write(pl.concat([_samples(p, n) for n, p in enumerate(points)]), 1, 1)
        scan = _best(lambda: _scan(Path(folder)))
        ids = [p.point for p in points]
        end = START + SECONDS * 1_000_000_000
        whole = _best(lambda: facts(plant, lake.read(Path(folder), ids, START, end), START, end))
    rows = f"{len(points) * SECONDS:,} samples"
    return {
        "plain scan": (scan, "s", rows),
        "lake to facts": (whole, "s", rows),
        "ratio": (whole / scan, "", "2.5 to reach"),
    }


_ROLES = ("state", "total", "good", "energy.electricity")


def _unit(role: str) -> dict[str, str]:
    return {"unit": "kWh"} if role.startswith("energy") else {}


def _samples(point: Point, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    ts = START + np.arange(SECONDS) * 1_000_000_000 + rng.integers(0, 50_000_000, SECONDS)
    if point.role == "state":
        value = np.where((np.arange(SECONDS) // 600) % 10 < 9, 1.0, 3.0)
    else:
        value = np.cumsum(rng.random(SECONDS) < 0.8).astype(float)
    columns = {"point": [point.point] * SECONDS, "ts": ts, "ts_recv": ts, "value": value}
    frame = pl.DataFrame(columns).with_columns(text=pl.lit(None, pl.String), status=pl.lit(0))
    return frame.select(pl.col(name).cast(dtype) for name, dtype in SAMPLE.items())


def _scan(folder: Path) -> None:
    paths = sorted((folder / "samples").glob("*/*.parquet"))
    pl.scan_parquet(paths, hive_partitioning=False).select("point", "ts", "value", "status").collect()


def _best(work: object, times: int = 3) -> float:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()  # type: ignore[operator]
        found.append(time.perf_counter() - began)
    return min(found)

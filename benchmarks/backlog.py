"""An agent that starts with a backlog: how soon, how fast it drains beside its live data, in how much memory.

The spool is filled as an agent fills it, a batch a second of 5,000 points; then the command `plantproof run` collects
the same points over Modbus and drains into the lake. Alone: `python -m benchmarks.backlog --gib 1`.
"""

import argparse
import asyncio
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from collector.batch import Rows, to_frame
from collector.payload import encoded
from collector.spool import Spool
from connectors.sim.modbus import ModbusServer

POINTS = 5_000
HOURS = 2.0
PATIENCE_S = 1_800.0

_PLANT = """version = 1
[plant]
id = "bench"
[[source]]
id = "plc"
kind = "modbus"
url = "{url}"
period = "1s"
[spool]
max_size = "8GiB"
[[sink]]
kind = "parquet"
every = "10s"
"""


def measure() -> dict[str, tuple[float, str, str]]:
    """Return start, drain and memory with two hours of backlog, and start and drain with 1 GiB."""
    hours, large = drain(seconds=int(HOURS * 3600)), drain(size=2**30, longest=60)
    return {
        "2 h, 5,000 points: start": (hours["start_s"], "s", "5 or less"),
        "2 h, 5,000 points: drain": (hours["drain"], "times the live rate", "5 or more"),
        "2 h, 5,000 points: resident at most": (hours["peak_mb"], "MB", "150 or less"),
        "2 h, 5,000 points: rows missing or twice": (hours["wrong"], "rows", "0"),
        "1 GiB: backlog": (large["backlog_h"], "h", ""),
        "1 GiB: start": (large["start_s"], "s", "5 or less"),
        "1 GiB: drain": (large["drain"], "times the live rate", "5 or more"),
        "1 GiB: resident at most": (large["peak_mb"], "MB", ""),
    }


def drain(*, seconds: int = 0, size: int = 0, longest: float = PATIENCE_S) -> dict[str, float]:
    """Fill a spool with so many seconds, or so many bytes, and let an agent drain it, for so long at most [s]."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.Process(target=_serve, args=(theirs,), daemon=True)
        server.start()
        (folder / "plant.toml").write_text(_PLANT.format(url=ours.recv()))
        (folder / "assets.csv").write_text("asset\nm\n")
        rows = [f"m.p{n},m,measure,plc,{n // 1000 + 1}/holding:{n % 1000},uint16,all\n" for n in range(POINTS)]
        (folder / "points.csv").write_text("point,asset,role,source,address,type,store\n" + "".join(rows))
        filled = fill(folder / "var" / "spool", seconds, size)
        try:
            return _drained(folder, filled, longest)
        finally:
            server.kill()


def fill(folder: Path, seconds: int, size: int) -> int:
    """Fill a spool with the past of the points, a batch a second, and return how many."""
    spool = Spool(folder, max_size=2**40)
    spool.done("parquet")
    spool.advance("parquet")
    ids, rng = pl.Series([f"m.p{n}" for n in range(POINTS)]), np.random.default_rng(1)
    value, count, now = rng.normal(100, 5, POINTS).round(1), 0, time.time_ns()
    length = seconds or 10**9
    while count < length and spool.size < (size or 2**60):
        at = now - (length if seconds else 10**6) * 10**9 + count * 10**9
        value += rng.integers(-2, 3, POINTS) / 10
        rows = Rows(
            points=np.arange(POINTS),
            ts=at + np.repeat(rng.integers(0, 5_000_000, POINTS // 100), 100),
            ts_recv=at + 6_000_000,
            value=value.copy(),
            valid=np.ones(POINTS, np.bool_),
            status=np.zeros(POINTS, np.uint32),
            text=None,
        )
        spool.put(encoded(to_frame([rows], ids)), POINTS)
        count += 1
    spool.close()
    return count


def _drained(folder: Path, filled: int, longest: float) -> dict[str, float]:
    began = time.monotonic()
    agent = subprocess.Popen(
        [sys.executable, "-m", "plantproof", "run", str(folder), "--json"], stderr=subprocess.DEVNULL
    )
    try:
        report = _until(folder, lambda about: about["sources"].get("plc", {}).get("rows", 0) > 0)
        started = time.monotonic() - began
        before = report["sinks"]["parquet"]["cursor"]
        most = time.monotonic() + longest
        report = _until(folder, lambda about: about["sinks"]["parquet"]["cursor"] >= filled or time.monotonic() > most)
        took = time.monotonic() - began - started
        drained = min(report["sinks"]["parquet"]["cursor"], filled) - before
        peak = _peak(agent.pid)
        live = report["sources"]["plc"]["rows"] / (time.monotonic() - began)
    finally:
        agent.terminate()
        agent.wait(60)
    kept = pl.scan_parquet(folder / "var/lake/samples/*/*.parquet", hive_partitioning=False)
    past = kept.filter(pl.col("ts_recv") < pl.lit(time.time_ns() - int((time.monotonic() - began) * 1e9)).cast(
        pl.Datetime("ns", "UTC")
    ))  # fmt: skip
    rows = past.select(pl.len(), good=(pl.col("status") == 0).sum()).collect().row(0)
    return {
        "start_s": started,
        "backlog_h": filled / 3600,
        "drain": drained * POINTS / took / live,
        "peak_mb": peak,
        "wrong": abs(rows[1] - filled * POINTS) if before + drained == filled else 0,
    }


def _until(folder: Path, reached: Any) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            report: dict[str, Any] = json.loads((folder / "var/spool/status.json").read_bytes())
        except (FileNotFoundError, json.JSONDecodeError):
            report = {}
        if report and report["sinks"] and reached(report):
            return report
        time.sleep(0.1)
    raise TimeoutError(f"not within {PATIENCE_S} s; see {folder}")


def _peak(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _serve(pipe: Connection) -> None:
    values = np.arange(1000)

    def registers() -> list[int]:
        values[:] = (values + 1) % 65_536
        return values.tolist()

    async def run() -> None:
        async with ModbusServer(dict.fromkeys(range(1, POINTS // 1000 + 1), registers)) as server:
            pipe.send(server.endpoint)
            await asyncio.Event().wait()

    asyncio.run(run())


def main() -> None:
    """Drain once, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=0.0)
    parser.add_argument("--hours", type=float, default=HOURS)
    words = parser.parse_args()
    for name, figure in drain(seconds=0 if words.gib else int(words.hours * 3600), size=int(words.gib * 2**30)).items():
        print(f"{name}: {figure:,.1f}")


if __name__ == "__main__":
    main()

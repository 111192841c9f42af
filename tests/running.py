"""Runs the agent inside a test: over real sockets, into a real spool and lake."""

import asyncio
import stat
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import polars as pl

from collector.agent import Agent
from config.plant import Asset, Calendar, Plant, Point, Sink, Source, Spool
from config.schema import SAMPLE
from connectors.sim.modbus import words
from kpis.stores.lake import days
from kpis.stores.lake import files as lake_files

PATIENCE_S = 30.0


class Ramp:
    """A register that counts its reads: every poll has a value of its own."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self) -> list[int]:
        self.reads += 1
        return words(self.reads, 2)


async def until(condition: Callable[[], object], patience: float = PATIENCE_S) -> None:
    """Wait for a condition of the running agent; TimeoutError where it does not come."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {patience} s: {condition}")
        await asyncio.sleep(0.01)


def descriptors() -> int:
    """How many sockets, pipes, devices and the like are open; files of the spool and the lake come and go."""
    found = 0
    for one in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found += not stat.S_ISREG(one.stat().st_mode)
    return found


def plant_for(root: Path, sources: list[Source], assets: list[Asset], points: list[Point], **settings: object) -> Plant:
    """A plant that spools and stores below `root`, all time planned."""
    words = {
        "id": "test",
        "sources": tuple(sources),
        "assets": tuple(assets),
        "points": tuple(points),
        "sinks": (Sink(kind="parquet", path=Path("lake"), every="100ms"),),
        "spool": Spool(path=Path("spool"), commit="20ms"),
        "root": root,
    }
    return Plant(**words | settings)


@asynccontextmanager
async def running(plant: Plant, *, connected: bool = True) -> AsyncIterator[Agent]:
    """Run an agent until the block ends, then stop it and wait until it has drained."""
    agent = Agent(plant, name="gw1")
    task = asyncio.create_task(agent.run())
    try:
        if connected:
            await until(lambda: task.done() or _connected(agent))
        yield agent
    finally:
        agent.stop()
        await asyncio.wait_for(task, PATIENCE_S)


def _connected(agent: Agent) -> bool:
    sources = agent.status.sources.values()
    return len(sources) == len(agent.sources) and all(s.readings > 0 for s in sources)


def lake_of(plant: Plant) -> pl.DataFrame:
    """All samples in the plant's lake, by point and time."""
    return lake_in(plant.resolve(Path("lake")))


def lake_in(folder: Path, columns: list[str] | None = None) -> pl.DataFrame:
    """All samples in a lake's folder, by point and time; an agent may merge its files meanwhile.

    `columns`: those of SAMPLE that are read, or all.
    """
    while True:
        files = [file for day in days(folder) for file in lake_files(folder, day)]
        if not files:
            return pl.DataFrame(schema={name: SAMPLE[name] for name in columns or SAMPLE})
        try:
            rows = pl.concat([pl.read_parquet(file, columns=columns, hive_partitioning=False) for file in files])
            return rows.sort("point", "ts", "ts_recv")
        except FileNotFoundError:  # merged
            continue


__all__ = [
    "Asset",
    "Calendar",
    "Plant",
    "Point",
    "Ramp",
    "Source",
    "descriptors",
    "lake_in",
    "lake_of",
    "plant_for",
    "running",
    "until",
]


def settle(plant: Plant, frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Assert that what was acknowledged lies in the lake, once (I1, I2); returns the lake."""
    lake = lake_of(plant)
    columns = ["point", "ts", "ts_recv", "value", "text", "status"]
    kept = Counter(map(repr, lake.select(columns).iter_rows()))
    assert Counter(map(repr, pl.concat(frames).select(columns).iter_rows())) == kept
    assert lake.select("point", "ts").is_duplicated().sum() == 0
    return lake

"""Kills the agent at any moment, again and again, and holds what it had acknowledged against what lies in the lake.

A Modbus register counts the reads, so that every poll has a value of its own; an MQTT publisher numbers its messages
with QoS 1, those with a time of their own and plain ones without. Acknowledged is what the spool or the lake holds at
the moment of death, and what the broker has a PUBACK for: it delivers the rest again.
"""

import asyncio
import contextlib
import io
import itertools
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import paho.mqtt.client as paho
import polars as pl
from paho.mqtt.enums import CallbackAPIVersion

from config.status import GOOD
from connectors.sim.modbus import ModbusServer, words
from tests.running import until
from tests.servers import Broker
from tests.spool_files import batches_in

TOPIC = "works/cell"
PLAIN = "works/plain"
PLANT = """version = 1
[plant]
id = "works"
[[source]]
id = "counter"
kind = "modbus"
url = "{modbus}"
period = "10ms"
[[source]]
id = "cell"
kind = "mqtt"
url = "{mqtt}"
client_id = "gw1"
[spool]
commit = "50ms"
segment_size = "64KiB"
[[sink]]
kind = "parquet"
every = "200ms"
"""
POINTS = f"""point,asset,role,source,address,type,store
reads,m,measure,counter,1/holding:0,uint32,
number,m,measure,cell,{TOPIC}#/n,,
plain,m,measure,cell,{PLAIN},,all
"""

Row = tuple[str, int]
"""A point and its value."""


@dataclass
class Result:
    """What a run of kills found."""

    kills: int
    acknowledged: set[Row] = field(default_factory=set)
    """What the agent had in spool or lake at any of its deaths."""
    kept: list[Row] = field(default_factory=list)
    """What lies in the lake at the end."""
    published: int = 0
    requests: set[int] = field(default_factory=set)
    """Modbus function codes that were asked for."""

    @property
    def lost(self) -> set[Row]:
        """What was acknowledged and is not in the lake."""
        sent = {(name, n) for name in ("number", "plain") for n in range(1, self.published)}
        return (self.acknowledged | sent) - set(self.kept)  # the broker may not have taken the very last

    @property
    def twice(self) -> list[Row]:
        """What lies in the lake more than once."""
        return sorted(row for row, count in Counter(self.kept).items() if count > 1)


class Publisher:
    """Publishes {"ts": ..., "n": 1}, 2, 3 ... and 1, 2, 3 ... with QoS 1 until told to stop."""

    def __init__(self, port: int) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "publisher")
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.sent = 0
        self.task = asyncio.create_task(self.run())

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            self.sent += 1
            message = {"ts": time.time_ns() // 1000, "n": self.sent}  # epoch µs
            self.client.publish(PLAIN, self.sent, qos=1)
            self.client.publish(TOPIC, json.dumps(message), qos=1).wait_for_publish(10)
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """End, and let what was sent arrive."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.client.disconnect()
        self.client.loop_stop()


def rows_of(frames: Iterable[pl.DataFrame]) -> list[Row]:
    """Return the good (point, value) pairs of SAMPLE frames."""
    good = [f.filter(pl.col("status") == GOOD).select("point", pl.col("value").cast(pl.Int64)) for f in frames]
    return list(pl.concat(good).iter_rows()) if good else []


def in_lake(folder: Path) -> list[Row]:
    """Return what lies in a dead agent's lake; of files that were merged the new one or the old ones count."""
    return rows_of(pl.read_parquet(file, hive_partitioning=False) for file in lake_files(folder))


def _landed(rows: set[Row], folder: Path) -> bool:
    """Return whether a running agent's lake holds the rows; not where it merges files that are being read."""
    with contextlib.suppress(FileNotFoundError):
        return rows <= set(in_lake(folder))
    return False


def lake_files(folder: Path) -> list[Path]:
    """Return the lake's files but those whose batches lie in another one too."""
    files = sorted(folder.glob("var/lake/samples/*/[!.]*.parquet"))
    held = {file: _range(file) for file in files}
    return [
        file
        for file, (day, first, last) in held.items()
        if not any(
            day == other_day and a <= first and last <= b and (a, b) != (first, last)
            for other_day, a, b in held.values()
        )
    ]


def _range(file: Path) -> tuple[str, int, int]:
    first, last = file.stem.split("-")[-3:-1]
    return file.parent.name, int(first), int(last)


def in_spool(folder: Path) -> list[Row]:
    """Return what is committed in a dead agent's spool, read by other means than the spool's own."""
    return rows_of(pl.read_ipc_stream(io.BytesIO(batch.payload)) for batch in batches_in(folder / "var/spool"))


async def start(folder: Path) -> asyncio.subprocess.Process:
    """Start the agent of a plant."""
    with (folder / "agent.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "plantproof", "run", str(folder), "--json", stdout=log, stderr=log
        )


def report(folder: Path) -> dict:
    """Return the running agent's status; {} before its first."""
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        return dict(json.loads((folder / "var/spool/status.json").read_bytes()))
    return {}


def rows_seen(folder: Path) -> int:
    """Return how many rows the source that gave the fewest gave, by the agent's status."""
    return min((s["rows"] for s in report(folder).get("sources", {}).values()), default=0)


def connected(folder: Path) -> bool:
    """Return whether all sources are."""
    sources = report(folder).get("sources", {}).values()
    return bool(sources) and all(source["state"] == "connected" for source in sources)


async def kill_again_and_again(
    folder: Path, broker: Broker, kills: int, seed: int, tell: Callable[[int, int], None] = lambda _done, _rows: None
) -> Result:
    """Start and kill the agent of a new plant so often, then let it drain and stop; the folder is there."""
    reads, rng, result = itertools.count(1), random.Random(seed), Result(kills)
    async with ModbusServer({1: lambda: words(next(reads), 2)}) as server:
        (folder / "plant.toml").write_text(PLANT.format(modbus=server.endpoint, mqtt=broker.url))
        (folder / "assets.csv").write_text("asset\nm\n")
        (folder / "points.csv").write_text(POINTS)
        agent = await start(folder)  # makes the session that the broker keeps for the agent
        await until(lambda: connected(folder))
        publisher = Publisher(broker.port)
        for done in range(kills):
            # The moment of death is the point: it must not be a chosen one. Some come while the agent starts.
            if rng.random() < 0.75:
                await until(lambda: rows_seen(folder) > 3)
            await asyncio.sleep(rng.uniform(0.0, 0.6))
            agent.send_signal(signal.SIGKILL)
            await agent.wait()
            result.acknowledged |= set(in_lake(folder)) | set(in_spool(folder))
            tell(done + 1, len(result.acknowledged))
            (folder / "var/spool/status.json").unlink(missing_ok=True)
            agent = await start(folder)
        await publisher.stop()
        result.published = publisher.sent
        last = {("number", publisher.sent - 1), ("plain", publisher.sent - 1)}
        await until(lambda: _landed(last, folder))
        agent.send_signal(signal.SIGTERM)
        if await agent.wait() != 0:
            raise RuntimeError(f"the agent did not stop as it should; see {folder / 'agent.log'}")
        result.kept, result.requests = in_lake(folder), set(server.requests)
    return result

"""The agent is killed at any moment, and what it acknowledged lies in the lake, once.

A Modbus register counts the reads, so that every poll has a value of its own; an MQTT publisher numbers its messages
with QoS 1, those with a time of their own and plain ones without. Acknowledged is what the spool or the lake holds at
the moment of death, and what the broker has a PUBACK for: a broker with persistence delivers the rest again.
"""

import asyncio
import io
import itertools
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter

import paho.mqtt.client as paho
import polars as pl
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from config.status import GOOD
from connectors.sim.modbus import ModbusServer, words
from tests.running import until
from tests.servers import mosquitto

KILLS = 20
TOPIC = "works/cell"

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
PLAIN = "works/plain"
POINTS = f"""point,asset,role,source,address,type,store
reads,m,measure,counter,1/holding:0,uint32,
number,m,measure,cell,{TOPIC}#/n,,
plain,m,measure,cell,{PLAIN},,all
"""
SEED = int(os.environ.get("KILL_SEED", "7"))
"""Moments of death."""


class Publisher:
    """Publishes {"ts": ..., "n": 1}, 2, 3 ... and 1, 2, 3 ... with QoS 1 until told to stop."""

    def __init__(self, port: int) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "publisher")
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.sent = 0
        self.task = asyncio.create_task(self.run())

    async def run(self) -> None:
        while True:
            self.sent += 1
            message = {"ts": time.time_ns() // 1000, "n": self.sent}  # epoch µs
            self.client.publish(PLAIN, self.sent, qos=1)
            self.client.publish(TOPIC, json.dumps(message), qos=1).wait_for_publish(10)
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.client.disconnect()
        self.client.loop_stop()


def rows_of(frames):
    """The good (point, value) pairs of SAMPLE frames."""
    frames = [f.filter(pl.col("status") == GOOD).select("point", pl.col("value").cast(pl.Int64)) for f in frames]
    return list(pl.concat(frames).iter_rows()) if frames else []


def in_lake(folder):
    return rows_of(pl.read_parquet(f) for f in folder.glob("var/lake/samples/*/[!.]*.parquet"))


def in_spool(folder):
    """What is committed in a dead agent's spool, read by other means than the spool's own."""
    frames = []
    for file in folder.glob("var/spool/segment-*.db"):
        with sqlite3.connect(file) as db:
            # A file that was made at the moment of death has no table yet.
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'batch'").fetchone():
                frames += [pl.read_ipc(io.BytesIO(payload)) for (payload,) in db.execute("SELECT payload FROM batch")]
        db.close()
    return rows_of(frames)


async def start(folder):
    with (folder / "agent.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "plantproof", "run", str(folder), "--json", stdout=log, stderr=log
        )


def spool_rows(folder):
    """Committed rows according to the running agent's status."""
    try:
        report = json.loads((folder / "var/spool/status.json").read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return 0
    return min((s["rows"] for s in report["sources"].values()), default=0)


async def kill_again_and_again(folder, rng):
    """Start and kill the agent; returns everything that it had acknowledged at any death."""
    acknowledged = set()
    for _ in range(KILLS):
        (folder / "var/spool/status.json").unlink(missing_ok=True)
        agent = await start(folder)
        await until(lambda: spool_rows(folder) > 3)
        await asyncio.sleep(rng.uniform(0.0, 0.6))  # the moment of death is the point: it must not be a chosen one
        agent.send_signal(signal.SIGKILL)
        await agent.wait()
        acknowledged |= set(in_lake(folder)) | set(in_spool(folder))
    return acknowledged


@pytest.mark.service
@pytest.mark.timeout(300)
def test_twenty_kills_lose_no_acknowledged_sample_and_double_none(tmp_path):
    reads = itertools.count(1)
    folder = tmp_path / "plant"
    folder.mkdir()

    async def collect(broker):
        async with ModbusServer({1: lambda: words(next(reads), 2)}) as server:
            (folder / "plant.toml").write_text(PLANT.format(modbus=server.endpoint, mqtt=broker.url))
            (folder / "assets.csv").write_text("asset\nm\n")
            (folder / "points.csv").write_text(POINTS)
            # The first start makes the session that the broker keeps for the agent.
            agent = await start(folder)
            await until(lambda: spool_rows(folder) >= 0 and (folder / "var/spool/status.json").exists())
            await until(lambda: connected(folder))
            publisher = Publisher(broker.port)
            agent.send_signal(signal.SIGKILL)
            await agent.wait()
            acknowledged = await kill_again_and_again(folder, random.Random(SEED))
            await publisher.stop()
            agent = await start(folder)
            last = {("number", publisher.sent - 1), ("plain", publisher.sent - 1)}
            await until(lambda: last <= set(in_lake(folder)))
            agent.send_signal(signal.SIGTERM)
            assert await agent.wait() == 0
            assert set(server.requests) == {3}
        return acknowledged, publisher.sent

    (tmp_path / "broker").mkdir()
    with mosquitto(tmp_path / "broker", "allow_anonymous true\nmax_queued_messages 0\n") as broker:
        acknowledged, sent = asyncio.run(collect(broker))
    kept = in_lake(folder)
    assert acknowledged - set(kept) == set()
    assert twice(kept) == []
    for name in ("number", "plain"):
        numbers = {value for point, value in kept if point == name}
        assert set(range(1, sent)) - numbers == set(), name  # the last may not have been taken by the broker
    assert len([1 for point, _ in acknowledged if point == "reads"]) > KILLS * 5


def twice(rows):
    return sorted(row for row, count in Counter(rows).items() if count > 1)


def connected(folder):
    try:
        report = json.loads((folder / "var/spool/status.json").read_bytes())
    except json.JSONDecodeError:
        return False
    return report["sources"] and all(s["state"] == "connected" for s in report["sources"].values())

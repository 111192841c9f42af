"""FAULTS row 34: the computer's clock jumps a day, or begins in 1970; polls go on, and no sample is lost."""

import asyncio
import datetime as dt
import time

import polars as pl
import pytest

from collector.ledger import read_ledger
from config.status import GOOD
from connectors.sim.modbus import ModbusServer, words
from tests.running import Asset, Point, Source, lake_of, plant_for, running, until

DAY_S = 86_400
A_BUSY_MACHINE = 100
"""Polls of every 20 ms that a machine may miss which runs other tests besides; an hour's jump would be 180,000."""


class Clock:
    """The computer's clock, `ahead` of the true one [s]."""

    def __init__(self, monkeypatch):
        self.ahead = 0.0
        now, now_ns = time.time, time.time_ns
        monkeypatch.setattr(time, "time", lambda: now() + self.ahead)
        monkeypatch.setattr(time, "time_ns", lambda: now_ns() + int(self.ahead * 1e9))


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def collect(tmp_path, clock, jumps):
    """Poll a register that counts its reads while the clock jumps; returns plant, agent and reads."""
    reads = iter(range(1, 10**9))
    seen = [0]

    def count():
        seen[0] = next(reads)
        return words(seen[0], 2)

    async def run():
        async with ModbusServer({1: count}) as server:
            source = Source(id="s", kind="modbus", url=server.endpoint, period="20ms", timeout="500ms")
            point = Point(point="reads", asset="m", source="s", address="1/holding:0", type="uint32")
            plant = plant_for(tmp_path, [source], [Asset(asset="m")], [point])
            async with running(plant) as agent:
                for ahead in jumps:
                    before = seen[0]
                    await until(lambda before=before: seen[0] > before + 20)
                    clock.ahead = ahead
                    known = agent.spool.ledger.counts["clock jumped"]
                    await until(lambda known=known: agent.spool.ledger.counts["clock jumped"] > known)
                before = seen[0]
                await until(lambda: seen[0] > before + 20)
                await until(lambda: "polls_missed" in agent.status.sources["s"].link)  # told once a second
                missed = agent.status.sources["s"].link["polls_missed"]
            return plant, missed, seen[0]

    return asyncio.run(run())


@pytest.mark.parametrize(
    "jumps", [(DAY_S, 0), (-DAY_S, 0), (3600, 0, -3600)], ids=["a day ahead", "a day back", "summer time set by hand"]
)
def test_every_poll_is_stored_whatever_the_clock_says(tmp_path, clock, jumps):
    plant, missed, reads = collect(tmp_path, clock, jumps)
    rows = lake_of(plant).filter(pl.col("status") == GOOD)
    values = sorted(rows["value"].cast(pl.Int64))
    assert values == list(range(2, len(values) + 2))  # the server itself took the first
    assert reads - values[-1] <= 1
    assert missed < A_BUSY_MACHINE
    told = [e["reason"] for e in read_ledger(plant.root / "spool" / "ledger.jsonl") if e["event"] == "clock jumped"]
    assert len(told) == len(jumps)


def test_rows_lie_in_the_day_that_the_clock_said(tmp_path, clock):
    today = dt.datetime.now(dt.UTC).date()
    plant, _, _ = collect(tmp_path, clock, (DAY_S, 0))
    days = {folder.name for folder in (plant.root / "lake" / "samples").iterdir()}
    assert f"date={today + dt.timedelta(days=1)}" in days


def test_a_gateway_that_boots_in_1970_collects_and_goes_on_when_its_clock_is_set(tmp_path, clock):
    clock.ahead = 100 * DAY_S - time.time()
    plant, missed, _ = collect(tmp_path, clock, (0,))
    rows = lake_of(plant).filter(pl.col("status") == GOOD)
    values = sorted(rows["value"].cast(pl.Int64))
    assert values == list(range(2, len(values) + 2))
    assert missed < A_BUSY_MACHINE
    assert {1970, dt.datetime.now(dt.UTC).year} <= set(rows["ts"].dt.year())

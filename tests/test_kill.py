"""The agent is killed at any moment, and what it acknowledged lies in the lake, once (FAULTS row 30).

The thousand kills are `python -m benchmarks.kills`.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from config import exits
from connectors.sim.modbus import ModbusServer
from tests import kills
from tests.running import until
from tests.servers import mosquitto
from tests.soak import cases
from tests.spool_files import batches_in

KILLS = cases(10)
SEED = int(os.environ.get("KILL_SEED", "7"))
"""Moments of death."""


@pytest.mark.service
@pytest.mark.timeout(30 * KILLS)
def test_kills_at_any_moment_lose_no_acknowledged_sample_and_double_none(tmp_path):
    (tmp_path / "broker").mkdir(), (tmp_path / "plant").mkdir()
    with mosquitto(tmp_path / "broker", "allow_anonymous true\nmax_queued_messages 0\n") as broker:
        result = asyncio.run(kills.kill_again_and_again(tmp_path / "plant", broker, KILLS, SEED))
    assert result.lost == set()
    assert result.twice == []
    assert len([1 for point, _ in result.acknowledged if point == "reads"]) > KILLS * 5
    assert result.requests == {3}


def test_a_second_agent_on_one_spool_refuses_at_once_and_the_first_goes_on(tmp_path):
    """FAULTS row 33: exit code 78 in a second or so, and the first is unharmed."""

    async def collect():
        async with ModbusServer({1: lambda: [1, 2]}) as server:
            (tmp_path / "plant.toml").write_text(ALONE.format(modbus=server.endpoint))
            (tmp_path / "assets.csv").write_text("asset\nm\n")
            (tmp_path / "points.csv").write_text(
                "point,asset,role,source,address,type,store\nreads,m,measure,counter,1/holding:0,uint32,all\n"
            )
            first = await kills.start(tmp_path)
            await until(lambda: kills.rows_seen(tmp_path) > 3)
            began = time.monotonic()
            second = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-m", "plantproof", "run", tmp_path],
                capture_output=True,
                text=True,
                timeout=60,
            )
            took = time.monotonic() - began
            assert second.returncode == exits.CONFIG == 78
            assert "is used by another agent" in second.stderr
            assert took < 20  # nearly all of it is the start of a process
            seen = batches_in(tmp_path / "var/spool")[-1].seq
            await until(lambda: batches_in(tmp_path / "var/spool")[-1].seq > seen + 3)
            first.send_signal(signal.SIGTERM)
            assert await first.wait() == 0
        assert kills.report(tmp_path)["stopped"]

    asyncio.run(collect())


ALONE = """version = 1
[plant]
id = "works"
[[source]]
id = "counter"
kind = "modbus"
url = "{modbus}"
period = "20ms"
[spool]
commit = "50ms"
[[sink]]
kind = "parquet"
"""

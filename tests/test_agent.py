"""The agent over real sockets: gaps are rows, one dead source or sink delays nobody, stopping loses nothing."""

import asyncio
import errno
import json
import signal
import sys
import time
from collections import Counter, deque
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from collector.agent import Agent
from collector.host import Locked
from collector.ledger import read_ledger
from collector.sinks import parquet
from collector.spool import Spool as SpoolOnDisk
from collector.status import read_status
from config.plant import Spool
from config.status import BAD_NO_COMMUNICATION, BAD_SHUTDOWN, GOOD
from connectors.sim.modbus import ModbusServer
from tests.running import Asset, Point, Ramp, Source, lake_of, plant_for, running, until


def modbus(name, url, **settings):
    return Source(id=name, kind="modbus", url=url, period="20ms", timeout="500ms", **settings)


def counter(name, source):
    return Point(point=name, asset="m", source=source, address="1/holding:0", type="uint32")


def good_values(plant, point):
    rows = lake_of(plant).filter((pl.col("point") == point) & (pl.col("status") == GOOD))
    return rows["value"].cast(pl.Int64).to_list()


def test_what_the_plc_said_is_in_the_lake_once_and_in_order(tmp_path):
    async def collect():
        ramp = Ramp()
        async with ModbusServer({1: ramp}) as server:
            plant = plant_for(tmp_path, [modbus("s", server.endpoint)], [Asset(asset="m")], [counter("reads", "s")])
            async with running(plant):
                await until(lambda: ramp.reads > 50)
            return plant, ramp.reads, server.requests

    plant, reads, requests = asyncio.run(collect())
    values = good_values(plant, "reads")
    assert values == list(range(2, len(values) + 2))  # the server itself took the first
    assert reads - values[-1] <= 1  # the last answer may have come as the agent stopped
    assert requests == Counter({3: reads - 1})  # I4: only reads reached the server


def test_a_stop_is_a_bad_row_so_that_nothing_holds_after_it(tmp_path):
    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            plant = plant_for(tmp_path, [modbus("s", server.endpoint)], [Asset(asset="m")], [counter("reads", "s")])
            async with running(plant):
                pass
        return plant

    last = lake_of(asyncio.run(collect())).sort("ts")[-1]
    assert last["status"].to_list() == [BAD_SHUTDOWN]
    assert last["value"].to_list() == [None]


def test_a_lost_server_is_one_gap_row_and_the_data_returns_with_it(tmp_path):
    async def collect():
        ramp = Ramp()
        server = ModbusServer({1: ramp})
        await server.start()
        port = int(server.endpoint.rsplit(":", 1)[1])
        plant = plant_for(tmp_path, [modbus("s", server.endpoint)], [Asset(asset="m")], [counter("reads", "s")])
        async with running(plant) as agent:
            await server.stop()
            await until(lambda: agent.status.sources["s"].state == "lost")
            assert not agent.status.report()["healthy"] or agent.status.sources["s"].fresh(time.monotonic())
            seen = ramp.reads
            again = ModbusServer({1: ramp}, port=port)
            await again.start()
            await until(lambda: ramp.reads > seen + 10)
            await again.stop()
            assert agent.status.sources["s"].connects == 2
        return plant

    plant = asyncio.run(collect())
    status = lake_of(plant).sort("ts")["status"].to_list()
    runs = [code for n, code in enumerate(status) if n == 0 or status[n - 1] != code]
    assert runs in ([GOOD, BAD_NO_COMMUNICATION, GOOD, BAD_SHUTDOWN], [GOOD, BAD_NO_COMMUNICATION] * 2)
    assert status.count(BAD_NO_COMMUNICATION) <= 2


def test_a_dead_source_does_not_delay_another(tmp_path):
    async def collect():
        ramp = Ramp()
        async with ModbusServer({1: ramp}) as server:
            sources = [modbus("alive", server.endpoint), modbus("dead", "modbus+tcp://127.0.0.1:1")]
            points = [counter("alive.reads", "alive"), counter("dead.reads", "dead")]
            plant = plant_for(tmp_path, sources, [Asset(asset="m")], points)
            async with running(plant, connected=False) as agent:
                await until(lambda: ramp.reads > 30)
                report = agent.status.report()
            assert report["sources"]["alive"]["fresh"]
            assert not report["sources"]["dead"]["fresh"]
            assert not report["healthy"]
        return plant

    plant = asyncio.run(collect())
    assert len(good_values(plant, "alive.reads")) >= 30
    dead = lake_of(plant).filter(pl.col("point") == "dead.reads")
    assert dead["status"].unique().to_list() == [BAD_NO_COMMUNICATION]


def test_a_source_that_cannot_be_set_up_leaves_the_others_running_and_is_told(tmp_path):
    async def collect():
        ramp = Ramp()
        async with ModbusServer({1: ramp}) as server:
            sources = [modbus("alive", server.endpoint), modbus("odd", server.endpoint)]
            # `check` would refuse the type; whatever passes it one day must not end the agent
            odd = counter("odd.reads", "odd").model_copy(update={"type": "int128"})
            plant = plant_for(tmp_path, sources, [Asset(asset="m")], [counter("alive.reads", "alive"), odd])
            async with running(plant, connected=False) as agent:
                await until(lambda: ramp.reads > 30)
                report = agent.status.report()
            assert report["sources"]["alive"]["fresh"]
            assert report["sources"]["odd"]["state"] == "refused"
            assert "cannot be set up" in report["sources"]["odd"]["error"]
            assert "int128" in report["sources"]["odd"]["error"]
            assert not report["healthy"]
        return plant

    plant = asyncio.run(collect())
    assert len(good_values(plant, "alive.reads")) >= 30
    gap = lake_of(plant).filter(pl.col("point") == "odd.reads")
    assert gap["status"].unique().to_list() == [BAD_NO_COMMUNICATION]


def test_a_sink_that_fails_keeps_its_data_in_the_spool_and_recovers_alone(tmp_path, monkeypatch):
    broken = []
    write = parquet.Sink.write

    def fails_at_first(self, frame, first, last):
        if len(broken) < 2:
            broken.append(first)
            raise OSError("disk on fire")
        write(self, frame, first, last)

    monkeypatch.setattr(parquet.Sink, "write", fails_at_first)

    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            plant = plant_for(tmp_path, [modbus("s", server.endpoint)], [Asset(asset="m")], [counter("reads", "s")])
            async with running(plant) as agent:
                await until(lambda: agent.status.sinks["parquet"].error)
                assert "on fire" in agent.status.report()["sinks"]["parquet"]["error"]
                await until(lambda: agent.status.sinks["parquet"].rows)
                assert agent.status.sinks["parquet"].error == ""
        return plant

    values = good_values(asyncio.run(collect()), "reads")
    assert len(broken) == 2
    assert values == list(range(2, len(values) + 2))


@pytest.mark.parametrize(
    ("method", "fault"), [("advance", OSError("no room")), ("read", OSError(errno.EIO, "bad sector"))]
)
def test_a_fault_of_the_spool_beside_a_sink_doubles_nothing_and_stops_nothing(tmp_path, monkeypatch, method, fault):
    calls = []
    real = getattr(SpoolOnDisk, method)

    def fails_once(self, *words, **settings):
        calls.append(words)
        if len(calls) == 3:
            raise fault
        return real(self, *words, **settings)

    monkeypatch.setattr(SpoolOnDisk, method, fails_once)

    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            plant = plant_for(tmp_path, [modbus("s", server.endpoint)], [Asset(asset="m")], [counter("reads", "s")])
            async with running(plant) as agent:
                await until(lambda: len(calls) > 4 and agent.status.sinks["parquet"].error == "")
        return plant

    values = good_values(asyncio.run(collect()), "reads")
    assert values == list(range(2, len(values) + 2))


def test_an_agent_without_a_source_is_not_healthy(tmp_path):
    plant = plant_for(tmp_path, [modbus("s", "modbus+tcp://127.0.0.1:1", agent="gw9")], [Asset(asset="m")], [])
    assert Agent(plant, name="gw1").sources == []
    assert not Agent(plant, name="gw1").status.report()["healthy"]


def test_a_full_spool_that_must_stop_makes_sources_wait_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet.Sink, "write", lambda *_: (_ for _ in ()).throw(OSError("no room")))

    async def collect():
        ramp = Ramp()
        async with ModbusServer({1: ramp}) as server:
            tight = Spool(path=Path("spool"), commit="20ms", max_size="20KiB", when_full="stop")
            points = [counter("reads", "s")]
            plant = plant_for(tmp_path, [modbus("s", server.endpoint)], [Asset(asset="m")], points, spool=tight)
            async with running(plant) as agent:
                await until(lambda: agent.status.spool.get("error"))
                report = agent.status.report()
                assert not report["healthy"]
                assert "policy is to stop" in report["spool"]["error"]
        return plant

    plant = asyncio.run(collect())
    events = [e["event"] for e in read_ledger(plant.root / "spool" / "ledger.jsonl")]
    assert "commit failed" in events


def test_a_second_agent_on_the_spool_is_refused(tmp_path):
    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            plant = plant_for(tmp_path, [modbus("s", server.endpoint)], [Asset(asset="m")], [counter("reads", "s")])
            async with running(plant):
                with pytest.raises(Locked):
                    await Agent(plant).run()

    asyncio.run(collect())


def test_each_agent_takes_its_own_sources(tmp_path):
    sources = [modbus("a", "modbus+tcp://h:1", agent="gw1"), modbus("b", "modbus+tcp://h:1", agent="gw2"),
               modbus("c", "modbus+tcp://h:1")]  # fmt: skip
    plant = plant_for(tmp_path, sources, [Asset(asset="m")], [counter(s.id, s.id) for s in sources])
    assert [s.id for s in Agent(plant, name="gw1").sources] == ["a", "c"]
    assert [p.point for p in Agent(plant, name="gw2").points] == ["b", "c"]


def test_the_command_stops_on_sigterm_with_everything_in_the_lake(tmp_path):
    (tmp_path / "assets.csv").write_text("asset\nm\n")
    (tmp_path / "points.csv").write_text("point,asset,role,source,address,type\nreads,m,measure,s,1/holding:0,uint32\n")

    async def collect():
        ramp = Ramp()
        async with ModbusServer({1: ramp}) as server:
            (tmp_path / "plant.toml").write_text(
                f'version = 1\n[plant]\nid = "p"\n[[source]]\nid = "s"\nkind = "modbus"\nurl = "{server.endpoint}"\n'
                'period = "20ms"\n[[sink]]\nkind = "parquet"\npath = "lake"\n'
            )
            agent = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "plantproof", "run", str(tmp_path), "--json", stderr=asyncio.subprocess.PIPE
            )
            await until(lambda: ramp.reads > 20)
            agent.send_signal(signal.SIGTERM)
            _, log = await asyncio.wait_for(agent.communicate(), 30)
            return agent.returncode, log, ramp.reads

    code, log, reads = asyncio.run(collect())
    assert code == 0, log
    assert all("message" in json.loads(line) for line in log.splitlines())
    kept = pl.read_parquet(tmp_path / "lake" / "samples" / "*" / "*.parquet", hive_partitioning=False)
    assert kept.filter(pl.col("status") == GOOD).height in (reads - 1, reads - 2)
    report = read_status(tmp_path / "var" / "spool" / "status.json")
    assert {s["state"] for s in report["sources"].values()} == {"stopped"}


def test_a_tail_that_cannot_be_read_stops_no_start_and_is_told(tmp_path, monkeypatch):
    real = SpoolOnDisk.read

    def fails_at_first(self, *words):
        monkeypatch.setattr(SpoolOnDisk, "read", real)
        raise OSError(errno.EIO, "bad sector")

    monkeypatch.setattr(SpoolOnDisk, "read", fails_at_first)

    async def collect():
        ramp = Ramp()
        async with ModbusServer({1: ramp}) as server:
            plant = plant_for(tmp_path, [modbus("s", server.endpoint)], [Asset(asset="m")], [counter("reads", "s")])
            async with running(plant, connected=False):
                await until(lambda: ramp.reads > 10)
        return plant

    plant = asyncio.run(collect())
    assert good_values(plant, "reads")
    (told,) = [e for e in read_ledger(plant.root / "spool" / "ledger.jsonl") if e["event"] == "tail not read"]
    assert "bad sector" in told["reason"]


def test_names_are_written_again_only_where_not_all_of_them_were_lately(tmp_path):
    plant = plant_for(tmp_path, [modbus("s", "modbus+tcp://127.0.0.1:1")], [Asset(asset="m")], [counter("reads", "s")])
    agent = Agent(plant)
    agent.spool = SimpleNamespace(last=100)
    agent._taken = {"busy": deque([1, 2], maxlen=2), "idle": deque([3, 4], maxlen=2)}
    agent._written["busy"] = 2
    agent._tokens = {"busy": [2]}
    assert agent._names() == {"busy": [2], "idle": [3, 4]}
    agent.spool.last = 150
    assert agent._names() == {}
    agent.spool.last = 200
    assert agent._names() == {"busy": [1, 2], "idle": [3, 4]}

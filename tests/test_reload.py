"""A changed configuration is taken while the agent runs: what changed begins anew, what did not misses nothing."""

import asyncio
import errno
import itertools
import json
import os
import pty
import signal
import sys
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from collector import reload_commands
from collector.agent import Agent
from collector.commands import load_checked
from collector.ledger import read_ledger
from collector.reload import changes_of, setup_of
from config.faults import ConfigError
from config.plant import Plant, Sink, Source, Spool
from config.status import BAD_DATA_LOST, BAD_SHUTDOWN, GOOD
from connectors.sim.modbus import ModbusServer, words
from connectors.sim.opcua import OpcuaServer
from plantproof import cli
from tests import kills
from tests.running import Asset, Point, Ramp, lake_in, lake_of, plant_for, until
from tests.servers import mosquitto

# ---- what differs


def source(name="a", **settings):
    return Source(**{"id": name, "kind": "modbus", "url": "modbus+tcp://127.0.0.1:1", "period": "20ms"} | settings)


def point(name="a.n", of="a", **columns):
    return Point(**{"point": name, "asset": "m", "source": of, "address": "holding:0", "type": "uint32"} | columns)


def plant(root, sources=(), points=(), **settings) -> Plant:
    return plant_for(Path(root), list(sources), [Asset(asset="m"), Asset(asset="n")], list(points), **settings)


def differs(before: Plant, after: Plant):
    old, new = setup_of(before, "gw1"), setup_of(after, "gw1")
    return changes_of(old.source_marks, new.source_marks), changes_of(old.sink_marks, new.sink_marks)


@pytest.mark.parametrize(
    "columns",
    [
        {"role": "total"},
        {"note": "seen on site"},
        {"unit": "kWh"},
        {"states": "packml"},
        {"max_hold": "5min"},
        {"modulus": 65536},
        {"max_rate": 5},
        {"asset": "n"},
    ],
)
def test_columns_that_say_nothing_of_reading_let_the_source_go_on(tmp_path, columns):
    before, after = (plant(tmp_path, [source()], [point(**more)]) for more in ({}, columns))
    of_sources, of_sinks = differs(before, after)
    assert (of_sources.kept, of_sources.restarted) == (["a"], [])
    assert of_sinks.restarted == (["parquet"] if "asset" in columns else [])  # a tag of InfluxDB's rows


@pytest.mark.parametrize(
    "columns", [{"address": "holding:2"}, {"scale": 0.1}, {"period": "1s"}, {"store": "all"}, {"heartbeat": "5s"}]
)
def test_columns_that_say_how_a_point_is_read_let_its_source_begin_anew_and_no_other(tmp_path, columns):
    other = point("b.n", "b")
    before, after = (plant(tmp_path, [source(), source("b")], [point(**more), other]) for more in ({}, columns))
    of_sources, of_sinks = differs(before, after)
    assert (of_sources.kept, of_sources.restarted, of_sinks.restarted) == (["b"], ["a"], [])


def test_the_order_of_rows_and_sources_is_no_change(tmp_path):
    points, sources = [point("a.n"), point("a.m", address="holding:2"), point("b.n", "b")], [source(), source("b")]
    of_sources, of_sinks = differs(plant(tmp_path, sources, points), plant(tmp_path, sources[::-1], points[::-1]))
    assert (sorted(of_sources.kept), of_sources.ended, of_sinks.kept) == (["a", "b"], [], ["parquet"])


def test_a_password_and_a_renewed_certificate_of_the_same_name_are_changes(tmp_path):
    file = tmp_path / "own.pem"
    file.write_text("old")
    old = setup_of(plant(tmp_path, [source(certificate=file)], [point()]), "gw1").source_marks
    assert setup_of(plant(tmp_path, [source(certificate=file)], [point()]), "gw1").source_marks == old
    file.write_text("new")
    renewed = setup_of(plant(tmp_path, [source(certificate=file)], [point()]), "gw1").source_marks
    assert changes_of(old, renewed).restarted == ["a"]
    other = setup_of(plant(tmp_path, [source(certificate=file, password="x")], [point()]), "gw1").source_marks
    assert changes_of(renewed, other).restarted == ["a"]


def test_a_source_that_moves_to_another_gateway_is_removed_here_and_added_there(tmp_path):
    before = plant(tmp_path, [source(agent="gw1")], [point()])
    after = plant(tmp_path, [source(agent="gw2")], [point()])
    assert differs(before, after)[0].removed == ["a"]
    there = changes_of(setup_of(before, "gw2").source_marks, setup_of(after, "gw2").source_marks)
    assert there.added == ["a"]


def test_a_sink_begins_anew_where_its_gateway_reads_other_points_as_it_says_which_of_them_lost_samples(tmp_path):
    before = plant(tmp_path, [source(agent="gw2")], [point()])
    after = plant(tmp_path, [source(agent="gw1")], [point()])
    assert differs(before, after)[1].restarted == ["parquet"]


# ---- the agent


class Desk:
    """Where the configuration lies that a running agent is asked to take."""

    def __init__(self, plant):
        self.plant, self.fault = plant, None

    def load(self):
        if self.fault is not None:
            raise self.fault
        return self.plant


@asynccontextmanager
async def agent_of(desk: Desk):
    """Run an agent that reloads from a desk, once its sources are connected."""
    agent = Agent(desk.plant, name="gw1", load=desk.load)
    task = asyncio.create_task(agent.run())
    try:
        await until(lambda: task.done() or all_connected(agent))
        yield agent
    finally:
        agent.stop()
        await asyncio.wait_for(task, 30)


def all_connected(agent):
    states = agent.status.sources
    return set(states) == set(agent.setup.sources) and all(one.state == "connected" for one in states.values())


async def reloaded(agent, desk, **changed):
    """Ask for the plant with these changes; returns what became of it."""
    desk.plant = desk.plant.model_copy(update=changed)
    before = agent.status.reload.number if agent.status.reload else 0
    agent.reload()
    await until(lambda: agent.status.reload is not None and agent.status.reload.number > before)
    return agent.status.reload


def good(frame, name):
    rows = frame.filter((pl.col("point") == name) & (pl.col("status") == GOOD)).sort("ts_recv", maintain_order=True)
    return rows["value"].cast(pl.Int64).to_list()


def bad(frame, name):
    return frame.filter((pl.col("point") == name) & (pl.col("status") != GOOD))["status"].to_list()


def events(plant, event):
    return [entry for entry in read_ledger(plant.resolve(plant.spool.path) / "ledger.jsonl") if entry["event"] == event]


def test_while_one_source_changes_ten_times_the_others_lose_no_sample(tmp_path):
    async def collect():
        kept, changed = Ramp(), Ramp()
        async with ModbusServer({1: kept}) as one, ModbusServer({1: changed}) as two:
            with mosquitto(tmp_path) as broker:
                sources = (
                    source("kept", url=one.endpoint, timeout="2s"),
                    source("cells", kind="mqtt", url=broker.url, client_id="gw1", period="1s"),
                    source("b", url=two.endpoint),
                )
                points = (
                    point("kept.n", "kept"),
                    Point(point="number", asset="m", source="cells", address=f"{kills.TOPIC}#/n"),
                    point("b.n", "b"),
                )
                desk = Desk(plant(tmp_path, sources, points))
                async with agent_of(desk) as agent:
                    publisher = kills.Publisher(broker.port)
                    for turn in range(10):
                        reads = changed.reads
                        told = await reloaded(
                            agent, desk, sources=(*sources[:2], source("b", url=two.endpoint, period=f"{15 + turn}ms"))
                        )
                        assert told.sources == {
                            "restarted": ["b"], "added": [], "removed": [], "kept": ["kept", "cells"]
                        }  # fmt: skip
                        await until(lambda reads=reads: changed.reads > reads + 3)
                    await publisher.stop()
                    await until(lambda: good(lake_of(desk.plant), "number")[-1:] == [publisher.sent])
                    assert agent.status.sources["kept"].connects == agent.status.sources["cells"].connects == 1
                return lake_of(desk.plant), kept.reads, publisher.sent

    lake, reads, sent = asyncio.run(collect())
    numbers = good(lake, "kept.n")
    assert numbers == list(range(2, numbers[-1] + 1))
    assert numbers[-1] >= reads - 1
    assert good(lake, "number") == list(range(1, sent + 1))
    assert bad(lake, "kept.n") == [BAD_SHUTDOWN]  # the agent's own stop
    assert bad(lake, "b.n").count(BAD_SHUTDOWN) == 11  # each change, and the stop


def test_a_broker_that_changes_its_settings_loses_no_message_and_gives_none_twice(tmp_path):
    async def collect():
        with mosquitto(tmp_path) as broker:

            def cells(**settings):
                return (source("cells", kind="mqtt", url=broker.url, client_id="gw1", period="1s", **settings),)

            points = (Point(point="number", asset="m", source="cells", address=f"{kills.TOPIC}#/n"),)
            desk = Desk(plant(tmp_path, cells(), points))
            async with agent_of(desk) as agent:
                publisher = kills.Publisher(broker.port)
                for seconds in (11, 12, 13, 14):
                    told = await reloaded(agent, desk, sources=cells(keepalive=f"{seconds}s"))
                    assert told.sources["restarted"] == ["cells"]
                    await until(lambda: all_connected(agent))
                await publisher.stop()
                await until(lambda: good(lake_of(desk.plant), "number")[-1:] == [publisher.sent])
            return lake_of(desk.plant), publisher.sent

    lake, sent = asyncio.run(collect())
    assert good(lake, "number") == list(range(1, sent + 1))


def test_sources_and_points_come_and_go(tmp_path):
    async def collect():
        a, b = Ramp(), Ramp()
        async with ModbusServer({1: a}) as one, ModbusServer({1: b}) as two:
            first = source("a", url=one.endpoint), source("b", url=two.endpoint)
            desk = Desk(plant(tmp_path, first[:1], [point("a.n", "a")]))
            async with agent_of(desk) as agent:
                told = await reloaded(agent, desk, sources=first, points=(point("a.n"), point("b.n", "b")))
                assert (told.sources["added"], told.sources["kept"]) == (["b"], ["a"])
                await until(lambda: b.reads > 3)
                more = point("b.n", "b"), point("b.m", "b", address="holding:1", type="uint16")
                told = await reloaded(agent, desk, points=(point("a.n"), *more))
                assert told.sources["restarted"] == ["b"]
                await until(lambda: agent.status.sources["b"].coverage.get("fresh") == 2)
                told = await reloaded(agent, desk, sources=first[1:], points=more)
                assert (told.sources["removed"], told.sources["kept"]) == (["a"], ["b"])
                reads = a.reads
                await until(lambda seen=b.reads: b.reads > seen + 5)
                assert a.reads == reads  # nobody reads it any more
                assert set(agent.status.report()["sources"]) == {"b"}
                assert agent._line() == "1 of 1 sources fresh"
            return desk.plant

    found = asyncio.run(collect())
    lake = lake_of(found)
    assert good(lake, "a.n") == list(range(2, len(good(lake, "a.n")) + 2))
    assert bad(lake, "a.n") == [BAD_SHUTDOWN]
    assert lake.filter(pl.col("point") == "b.m").height > 0
    low = lake.filter(pl.col("point") == "b.m", pl.col("status") == GOOD)["value"]
    assert set(low.cast(pl.Int64)) <= set(good(lake, "b.n")) | {good(lake, "b.n")[-1] + 1}  # the low word of the count


def test_a_configuration_with_faults_changes_nothing_and_says_where(tmp_path):
    async def collect():
        count = Ramp()
        async with ModbusServer({1: count}) as server:
            desk = Desk(plant(tmp_path, [source(url=server.endpoint)], [point()]))
            async with agent_of(desk) as agent:
                tasks = dict(agent._reading), dict(agent._delivering)
                bad_folder = tmp_path / "new"
                bad_folder.mkdir()
                (bad_folder / "plant.toml").write_text('version = 1\n[plant]\nid = "x"\ntimezone = "Mars/Base"\n')
                with pytest.raises(ConfigError) as caught:
                    load_checked(bad_folder)
                desk.fault = caught.value
                told = await reloaded(agent, desk)
                assert told.refused
                assert any("plant.toml:4: plant.timezone" in fault and "'Mars/Base'" in fault for fault in told.faults)
                assert (agent._reading, agent._delivering) == tasks
                desk.fault = RuntimeError("the disk is gone")
                told = await reloaded(agent, desk)
                assert (told.number, told.faults) == (2, ["the disk is gone"])
                assert (agent._reading, agent._delivering) == tasks
                reads = count.reads
                await until(lambda: count.reads > reads + 5)
                desk.fault = None
                told = await reloaded(agent, desk)
                assert (told.refused, told.sources["kept"]) == ("", ["a"])
                assert (agent._reading, agent._delivering) == tasks
            return desk.plant

    found = asyncio.run(collect())
    numbers = good(lake_of(found), "a.n")
    assert numbers == list(range(2, len(numbers) + 2))
    assert [entry["reason"][:7] for entry in events(found, "reload refused")][1] == "1 fault"
    assert len(events(found, "reloaded")) == 1


def test_sinks_change_between_two_writes_and_miss_nothing(tmp_path):
    def lake(name, **settings):
        return Sink(kind="parquet", id=name, path=Path(name), every="50ms", **settings)

    async def collect():
        count = Ramp()
        async with ModbusServer({1: count}) as server:
            desk = Desk(plant(tmp_path, [source(url=server.endpoint)], [point()], sinks=(lake("one"),)))
            async with agent_of(desk) as agent:
                await until(lambda: count.reads > 5)
                told = await reloaded(agent, desk, sinks=(lake("one", rows=7), lake("two")))
                assert told.sinks == {"restarted": ["one"], "added": ["two"], "removed": [], "kept": []}
                assert told.sources["kept"] == ["a"]
                await until(lambda: agent.status.sinks["two"].rows > 5)
                told = await reloaded(agent, desk, sinks=(lake("two"),))
                assert (told.sinks["removed"], told.sinks["kept"]) == (["one"], ["two"])
                assert set(agent.status.report()["sinks"]) == {"two"}
                await until(lambda seen=count.reads: count.reads > seen + 5)
            return desk.plant

    found = asyncio.run(collect())
    one, two = (good(lake_in(tmp_path / name), "a.n") for name in ("one", "two"))
    assert one == list(range(2, len(one) + 2))
    assert two == list(range(two[0], two[0] + len(two)))
    assert two[-1] > one[-1] >= two[0] - 1
    assert set(read_cursors(found)) >= {"two"}


def read_cursors(found):
    return {file.stem.removeprefix("cursor-") for file in found.resolve(found.spool.path).glob("cursor-*.json")}


def test_a_sink_that_cannot_be_set_up_is_told_and_tried_again_by_the_next_reload(tmp_path, monkeypatch):
    from collector.sinks import parquet  # noqa: PLC0415

    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            desk = Desk(plant(tmp_path, [source(url=server.endpoint)], [point()]))
            async with agent_of(desk) as agent:
                with monkeypatch.context() as patch:
                    patch.setattr(parquet, "Sink", lambda *_, **__: 1 / 0)
                    told = await reloaded(agent, desk, sinks=(Sink(kind="parquet", path=Path("lake"), every="10ms"),))
                assert "sink parquet cannot be set up: ZeroDivisionError" in told.faults[0]
                assert agent.status.report()["sinks"]["parquet"]["error"] == told.faults[0]
                told = await reloaded(agent, desk)
                assert (told.faults, told.sinks["added"]) == ([], ["parquet"])
                await until(lambda: agent.status.sinks["parquet"].caught_up)
            return desk.plant

    numbers = good(lake_of(asyncio.run(collect())), "a.n")
    assert numbers == list(range(2, len(numbers) + 2))


def test_a_sink_that_could_not_be_set_up_and_is_taken_out_again_leaves_nothing_in_status(tmp_path, monkeypatch):
    from collector.sinks import parquet  # noqa: PLC0415

    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            desk = Desk(plant(tmp_path, [source(url=server.endpoint)], [point()]))
            before = desk.plant.sinks
            async with agent_of(desk) as agent:
                with monkeypatch.context() as patch:
                    patch.setattr(parquet, "Sink", lambda *_, **__: 1 / 0)
                    await reloaded(agent, desk, sinks=(*before, Sink(kind="parquet", id="two", path=Path("two"))))
                assert agent.status.report()["sinks"]["two"]["error"]
                told = await reloaded(agent, desk, sinks=before)
                assert (told.faults, told.sinks["kept"]) == ([], ["parquet"])
                assert set(agent.status.report()["sinks"]) == {"parquet"}

    asyncio.run(collect())


def test_a_disk_that_takes_no_cursor_ends_no_collecting_and_the_next_reload_tries_the_sink_again(tmp_path, monkeypatch):
    async def collect():
        count = Ramp()
        async with ModbusServer({1: count}) as server:
            desk = Desk(plant(tmp_path, [source(url=server.endpoint)], [point()]))
            two = Sink(kind="parquet", id="two", path=Path("two"), every="50ms")
            async with agent_of(desk) as agent:
                advance = agent.spool.advance

                def full(sink, *stored):
                    if sink == "two":
                        raise OSError(errno.ENOSPC, "No space left on device")
                    advance(sink, *stored)

                with monkeypatch.context() as patch:
                    patch.setattr(agent.spool, "advance", full)
                    told = await reloaded(agent, desk, sinks=(*desk.plant.sinks, two))
                assert "sink two cannot be set up: OSError(28, 'No space left on device')" in told.faults[0]
                reads = count.reads
                await until(lambda: count.reads > reads + 5)
                told = await reloaded(agent, desk)
                assert (told.faults, told.sinks["added"]) == ([], ["two"])
                await until(lambda: agent.status.sinks["two"].caught_up)
            return desk.plant

    numbers = good(lake_of(asyncio.run(collect())), "a.n")
    assert numbers == list(range(2, numbers[-1] + 1))


def test_a_sink_whose_store_hangs_is_told_and_neither_the_others_nor_the_next_reload_wait_for_it(tmp_path, monkeypatch):
    from collector.sinks import parquet  # noqa: PLC0415

    goes_on, write = threading.Event(), parquet.Sink.write

    def hanging(self, *words):
        if self.folder.parent.name == "one":
            goes_on.wait(60)
        write(self, *words)

    def lake(name, **settings):
        return Sink(kind="parquet", id=name, path=Path(name), every="50ms", **settings)

    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            desk = Desk(plant(tmp_path, [source(url=server.endpoint)], [point()], sinks=(lake("one"),)))
            monkeypatch.setattr(parquet.Sink, "write", hanging)
            monkeypatch.setattr("collector.agent.LEAVE_S", 0.1)
            try:
                async with agent_of(desk) as agent:
                    await until(lambda: agent.status.sinks["one"].writing_since)
                    told = await reloaded(agent, desk, sinks=(lake("one", rows=7), lake("two")))
                    assert told.faults[0].startswith("sink one: its store hangs in a write")
                    assert agent.status.report()["sinks"]["one"]["error"] == told.faults[0]
                    await until(lambda: agent.status.sinks["two"].rows > 5)
                    told = await reloaded(agent, desk)
                    assert told.sinks["kept"] == ["one", "two"]
                    goes_on.set()
                    await until(lambda: agent.status.sinks["one"].rows > 5 and not agent.status.sinks["one"].error)
            finally:
                goes_on.set()

    asyncio.run(collect())
    one, two = (good(lake_in(tmp_path / name), "a.n") for name in ("one", "two"))
    assert one == two == list(range(2, len(one) + 2))


def test_a_source_that_changes_while_the_spool_takes_nothing_has_no_gap_but_its_own(tmp_path, monkeypatch):
    async def collect():
        count = Ramp()
        async with ModbusServer({1: count}) as server:
            desk = Desk(plant(tmp_path, [source(url=server.endpoint)], [point()]))
            async with agent_of(desk) as agent:
                await until(lambda: count.reads > 5)
                with monkeypatch.context() as patch:
                    patch.setattr(agent.spool, "put", failing)
                    await until(lambda: agent.status.spool.get("error"))
                    await reloaded(agent, desk, sources=(source(url=server.endpoint, period="30ms"),))
                await until(lambda: not agent.status.spool.get("error"))
                await until(lambda seen=count.reads: count.reads > seen + 5)
            return desk.plant

    def failing(*_):
        raise OSError("the disk is away")

    lake = lake_of(asyncio.run(collect()))
    assert bad(lake, "a.n") == [BAD_SHUTDOWN, BAD_SHUTDOWN]  # the reload, and the agent's stop
    values = good(lake, "a.n")
    assert values == sorted(set(values))
    assert values[-1] - 1 - len(values) <= 1  # an answer may have been on its way when the source ended


def test_batches_that_a_full_spool_dropped_are_told_once_and_not_as_missing_too(tmp_path):
    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            small = Spool(path=Path("spool"), commit="5ms", max_size="8KiB", segment_size="1KiB")
            down = (Sink(kind="influxdb", url="http://127.0.0.1:1", api="v1", database="works"),)
            desk = Desk(plant(tmp_path, [source(url=server.endpoint)], [point()], spool=small, sinks=down))
            async with agent_of(desk) as agent:
                await until(lambda: agent.spool.ledger.counts["dropped"] > 2)
                await reloaded(agent, desk, sources=(source(url=server.endpoint, period="21ms"),))
            return desk.plant

    found = asyncio.run(collect())
    assert events(found, "dropped")
    assert events(found, "missing") == []


def test_what_a_sink_that_is_down_had_taken_before_the_spool_dropped_it_is_stored_after_a_reload(tmp_path, monkeypatch):
    from collector.sinks import parquet  # noqa: PLC0415

    write = parquet.Sink.write

    def down(self, *words):
        if self._config.rows != 7:
            raise OSError(errno.EIO, "Input/output error")
        write(self, *words)

    def lake(**settings):
        return (Sink(kind="parquet", path=Path("lake"), every="10ms", **settings),)

    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            small = Spool(path=Path("spool"), commit="5ms", max_size="8KiB", segment_size="1KiB")
            desk = Desk(plant(tmp_path, [source(url=server.endpoint)], [point()], spool=small, sinks=lake()))
            monkeypatch.setattr(parquet.Sink, "write", down)
            async with agent_of(desk) as agent:
                await until(lambda: agent.spool.ledger.counts["dropped"] > 2)
                first, last = agent.spool.held["parquet"]
                assert (first, agent.spool.before >= last) == (1, True)
                assert (await reloaded(agent, desk, sinks=lake(rows=7))).sinks["restarted"] == ["parquet"]
                there = agent.spool.last
                await until(lambda: agent.spool.cursor("parquet") >= there)  # what comes on may be faster than a write
            return desk.plant

    found = lake_of(asyncio.run(collect()))
    assert good(found, "a.n")[0] == 2  # the first poll
    assert bad(found, "a.n")[-1] == BAD_SHUTDOWN
    assert set(bad(found, "a.n")[:-1]) == {BAD_DATA_LOST}


def test_a_broker_whose_source_gets_another_name_gives_no_message_twice(tmp_path):
    async def collect():
        with mosquitto(tmp_path) as broker:

            def cells(name):
                row = {"asset": "m", "source": name}
                return {
                    "sources": (source(name, kind="mqtt", url=broker.url, client_id="gw1", period="1s"),),
                    "points": (
                        Point(point="number", address=f"{kills.TOPIC}#/n", **row),
                        Point(point="plain", address=kills.PLAIN, store="all", **row),
                    ),
                }

            slow = Spool(path=Path("spool"), commit="1s")  # many messages wait for their acknowledgement
            desk = Desk(plant(tmp_path, spool=slow, **cells("cells")))
            async with agent_of(desk) as agent:
                publisher = kills.Publisher(broker.port)
                for name in ("one", "two", "three"):
                    await until(lambda seen=publisher.sent: publisher.sent > seen + 20)
                    told = await reloaded(agent, desk, **cells(name))
                    assert told.sources["added"] == [name]
                    await until(lambda: all_connected(agent))
                await publisher.stop()
                await until(lambda: good(lake_of(desk.plant), "number")[-1:] == [publisher.sent])
                await until(lambda: good(lake_of(desk.plant), "plain")[-1:] == [publisher.sent])
            return lake_of(desk.plant), publisher.sent

    lake, sent = asyncio.run(collect())
    assert good(lake, "number") == list(range(1, sent + 1))
    assert good(lake, "plain") == list(range(1, sent + 1))


def test_a_sink_that_is_taken_out_while_its_store_hangs_holds_nothing_in_the_spool_once_that_is_over(
    tmp_path, monkeypatch
):
    from collector.sinks import parquet  # noqa: PLC0415

    goes_on, write = threading.Event(), parquet.Sink.write

    def hanging(self, *words):
        if self.folder.parent.name == "one":
            goes_on.wait(60)
        write(self, *words)

    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            one, two = (Sink(kind="parquet", id=name, path=Path(name), every="50ms") for name in ("one", "two"))
            desk = Desk(plant(tmp_path, [source(url=server.endpoint)], [point()], sinks=(one, two)))
            monkeypatch.setattr(parquet.Sink, "write", hanging)
            monkeypatch.setattr("collector.agent.LEAVE_S", 0.1)
            try:
                async with agent_of(desk) as agent:
                    await until(lambda: agent.status.sinks["one"].writing_since)
                    told = await reloaded(agent, desk, sinks=(two,))
                    assert told.sinks["removed"] == ["one"]
                    assert set(agent.status.report()["sinks"]) == {"two"}
                    goes_on.set()
                    await until(lambda: "one" not in agent._delivering)
                    await until(lambda: set(agent.spool.stored) == {"two"})
            finally:
                goes_on.set()

    asyncio.run(collect())


def test_while_a_source_of_many_points_is_set_up_the_others_are_read(tmp_path, monkeypatch):
    from connectors.modbus import connector  # noqa: PLC0415

    began, goes_on, made = threading.Event(), threading.Event(), connector.Connector
    in_time = []

    def slowly(of, points):
        if of.id == "b":
            began.set()
            in_time.append(goes_on.wait(10))
        return made(of, points)

    async def collect():
        kept = Ramp()
        async with ModbusServer({1: kept}) as server:
            both = source(url=server.endpoint), source("b", url=server.endpoint)
            desk = Desk(plant(tmp_path, both, [point(), point("b.n", "b")]))
            async with agent_of(desk) as agent:
                monkeypatch.setattr("connectors.modbus.Connector", slowly)
                await reloaded(agent, desk, sources=(both[0], source("b", url=server.endpoint, period="30ms")))
                await until(began.is_set)
                reads = kept.reads
                await until(lambda: kept.reads > reads + 5)
                goes_on.set()
                await until(lambda: all_connected(agent))
                assert in_time == [True]

    asyncio.run(collect())


def test_a_value_that_stands_all_the_while_is_known_again_at_once_and_stored_once_with_its_time(tmp_path):
    row = {"asset": "m", "source": "o", "address": "ns=2;s=n", "heartbeat": "1h"}
    points = Point(point="told", mode="subscribe", **row), Point(point="polled", mode="poll", **row)

    async def collect():
        async with OpcuaServer({"n": "uint32"}) as server:
            await server.put("n", 7, time.time_ns() - 30_000_000_000)

            def opc(period):
                return (source("o", kind="opcua", url=server.endpoint, security="None", period=period),)

            desk = Desk(plant(tmp_path, opc("50ms"), points))
            async with agent_of(desk) as agent:
                await until(lambda: agent.status.sources["o"].coverage.get("fresh") == 2)
                await reloaded(agent, desk, sources=opc("60ms"))
                await until(lambda: all_connected(agent) and agent.status.sources["o"].coverage.get("fresh") == 2)
        return lake_of(desk.plant)

    lake = asyncio.run(collect())
    for name in ("told", "polled"):  # by their own times
        rows = lake.filter(pl.col("point") == name).sort("ts")
        assert rows["status"].to_list() == [GOOD, BAD_SHUTDOWN, GOOD, BAD_SHUTDOWN]
    assert lake.select("point", "ts").is_duplicated().sum() == 0


def test_what_is_taken_at_a_start_alone_is_named_and_stays(tmp_path):
    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            desk = Desk(plant(tmp_path, [source(url=server.endpoint)], [point()]))
            async with agent_of(desk) as agent:
                for _ in range(2):  # it waits until the restart
                    told = await reloaded(agent, desk, id="other", spool=Spool(path=Path("elsewhere")))
                    assert told.waits_for_restart == ["id", "spool"]
                    assert (told.sources["kept"], told.sinks["kept"]) == (["a"], ["parquet"])
                assert agent.status.report()["plant"] == "test"

    asyncio.run(collect())
    assert not (tmp_path / "elsewhere").exists()


def test_an_agent_that_is_told_to_stop_in_the_midst_of_a_reload_stops_and_keeps_what_it_has(tmp_path):
    async def collect():
        count = Ramp()
        async with ModbusServer({1: count}) as server:
            desk = Desk(plant(tmp_path, [source(url=server.endpoint)], [point()]))
            async with agent_of(desk) as agent:
                await until(lambda: count.reads > 5)
                desk.plant = desk.plant.model_copy(update={"sources": (source(url=server.endpoint, period="30ms"),)})
                ended = asyncio.Event()
                end = agent._end_sources

                async def ending(changes):
                    ended.set()
                    await end(changes)

                agent._end_sources = ending
                agent.reload()
                await ended.wait()
            return desk.plant

    lake = lake_of(asyncio.run(collect()))
    numbers = good(lake, "a.n")
    assert numbers == list(range(2, len(numbers) + 2))
    assert bad(lake, "a.n") == [BAD_SHUTDOWN]


def test_wishes_that_come_together_are_one_and_one_that_comes_later_is_another(tmp_path):
    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            desk = Desk(plant(tmp_path, [source(url=server.endpoint)], [point()]))
            async with agent_of(desk) as agent:
                for _ in range(5):
                    agent.reload()
                await until(lambda: agent.status.reload is not None)
                assert agent.status.reload.number == 1
                await reloaded(agent, desk)
                assert agent.status.reload.number == 2

    asyncio.run(collect())


def test_positions_of_points_do_not_grow_where_the_points_stay(tmp_path):
    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            desk = Desk(plant(tmp_path, [source(url=server.endpoint)], [point()]))
            async with agent_of(desk) as agent:
                for period in (21, 22, 23):
                    await reloaded(agent, desk, sources=(source(url=server.endpoint, period=f"{period}ms"),))
                    await until(lambda: all_connected(agent))
                assert agent.ids.to_list() == ["a.n"]
                assert len(agent.watchdog.hearts) == 2  # of the source and of the committer

    asyncio.run(collect())


# ---- the command and the signal


PLANT = """version = 1
[plant]
id = "works"
timezone = "Asia/Shanghai"
[[source]]
id = "a"
kind = "modbus"
url = "{url}"
period = "{period}"
[[source]]
id = "b"
kind = "modbus"
url = "{url}"
period = "20ms"
[[sink]]
kind = "parquet"
every = "100ms"
[spool]
path = "var/spool"
commit = "20ms"
"""
POINTS = "point,asset,role,source,address,type\na.n,m,total,a,1/holding:0,uint32\nb.n,m,measure,b,2/holding:0,uint32\n"


def written(folder: Path, url: str, period: str = "20ms") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "plant.toml").write_text(PLANT.format(url=url, period=period))
    (folder / "assets.csv").write_text("asset\nm\n")
    (folder / "points.csv").write_text(POINTS)
    return folder


@asynccontextmanager
async def process_of(folder: Path):
    """The real agent in a process of its own, connected."""
    process = await kills.start(folder)
    try:
        await until(lambda: kills.connected(folder))
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 30)


async def invoke(*words):
    return await asyncio.to_thread(CliRunner().invoke, cli, list(map(str, words)))


def test_the_command_asks_the_running_agent_and_says_what_became_of_it(tmp_path):
    folder = tmp_path / "plant"

    async def collect():
        numbers = itertools.count(1)
        async with ModbusServer({1: Ramp(), 2: lambda: words(next(numbers), 2)}) as server:
            written(folder, server.endpoint)
            assert (await invoke("reload", folder)).exit_code == 69  # none runs yet
            async with process_of(folder) as process:
                same = await invoke("reload", folder)
                assert (same.exit_code, same.stdout) == (0, "sources: 2 kept\nsinks: 1 kept\n")

                written(folder, server.endpoint, "25ms")
                changed = await invoke("reload", folder, "--json")
                told = json.loads(changed.stdout)
                assert (changed.exit_code, told["number"], told["refused"]) == (0, 2, "")
                assert told["sources"] == {"restarted": ["a"], "added": [], "removed": [], "kept": ["b"]}

                written(folder, "http://gw:hunter2-geheim@nowhere")
                refused = await invoke("reload", folder)
                assert refused.exit_code == 1  # told as main() tells it, by the fault itself
                assert isinstance(refused.exception, ConfigError)
                assert "hunter2" not in str(refused.exception)
                assert kills.report(folder)["reload"]["number"] == 2  # the agent was not asked

                process.send_signal(signal.SIGHUP)  # it reads for itself, and refuses as well
                await until(lambda: kills.report(folder)["reload"]["number"] == 3)
                told = kills.report(folder)["reload"]
                assert told["refused"] == "2 faults in the configuration"
                assert told["faults"][0].startswith("plant.toml:8: source[1].url: url: has a password in plain text")
                shown = await invoke("status", folder)
                assert "config NOT RELOADED" in shown.stdout
                assert "2 faults in the configuration by now; see plantproof check" in shown.stderr
                assert process.returncode is None

                written(folder, server.endpoint, "25ms")
                text = (folder / "plant.toml").read_text()
                (folder / "plant.toml").write_text(text.replace('commit = "20ms"', 'commit = "30ms"'))
                partly = await invoke("reload", folder)
                assert partly.exit_code == 3
                assert "spool of plant.toml changed too: restart the agent" in partly.stderr
            return process.returncode

    assert asyncio.run(collect()) == 0
    told = [path for path in folder.rglob("*") if path.is_file() and path.name != "plant.toml"]
    assert {"agent.log", "status.json", "ledger.jsonl"} <= {path.name for path in told}
    assert [path.name for path in told if b"hunter2" in path.read_bytes()] == []
    values = [value for name, value in kills.in_lake(folder) if name == "b.n"]
    assert sorted(values) == list(range(2, len(values) + 2))


def test_the_command_waits_for_the_reload_that_read_its_files_not_for_one_that_was_under_way(tmp_path, monkeypatch):
    folder = tmp_path / "plant"
    reads, goes_on, looked = threading.Event(), threading.Event(), threading.Event()
    look = reload_commands._report

    def looking(spool):
        report = look(spool)
        if report is not None and report["reload"] is not None:
            looked.set()
        return report

    def slowly():
        if reads.is_set():
            assert looked.wait(30)  # at what became of the first
        loaded = load_checked(folder)
        reads.set()
        assert goes_on.wait(30)
        return loaded

    async def collect():
        async with ModbusServer({1: Ramp(), 2: Ramp()}) as server:
            agent = Agent(load_checked(written(folder, server.endpoint)), load=slowly)
            task, loop = asyncio.create_task(agent.run()), asyncio.get_running_loop()
            await until(lambda: all_connected(agent))

            def ask(_):
                loop.call_soon_threadsafe(agent.reload)
                loop.call_soon_threadsafe(goes_on.set)

            monkeypatch.setattr("collector.host.ask_to_reload", ask)
            monkeypatch.setattr(reload_commands, "_report", looking)
            agent.reload()  # somebody else's wish
            await until(reads.is_set)
            written(folder, server.endpoint, "25ms")
            answer = await invoke("reload", folder, "--json")
            agent.stop()
            await task
        return json.loads(answer.stdout)

    told = asyncio.run(collect())
    assert (told["number"], told["sources"]["restarted"]) == (2, ["a"])


def test_a_process_that_is_no_agent_is_not_sent_a_signal(tmp_path):
    folder = written(tmp_path / "plant", "modbus+tcp://127.0.0.1:1")
    spool = folder / "var/spool"
    spool.mkdir(parents=True)
    before = Agent(load_checked(folder)).status
    (spool / "status.json").write_text(json.dumps(before.report() | {"pid": os.getppid()}))
    words = Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
    if b"plantproof" in words:
        pytest.skip("what runs the tests has the word in its own command line")
    answer = CliRunner().invoke(cli, ["reload", str(folder)])
    assert answer.exit_code == 69
    assert "if it runs in a container, ask there" in answer.stderr


def test_a_terminal_that_is_closed_stops_the_agent_that_was_started_in_it(tmp_path):
    folder = tmp_path / "plant"

    async def collect():
        async with ModbusServer({1: Ramp(), 2: Ramp()}) as server:
            written(folder, server.endpoint)
            ours, theirs = pty.openpty()
            code = "import os, sys; os.setsid(); import fcntl, termios; fcntl.ioctl(2, termios.TIOCSCTTY, 0); "
            code += f"sys.argv = ['plantproof', 'run', {str(folder)!r}]; import plantproof; plantproof.main()"
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, stdin=theirs, stdout=theirs, stderr=theirs
            )
            os.close(theirs)
            await until(lambda: kills.connected(folder))
            reload = await invoke("reload", folder)
            assert reload.exit_code == 0  # from another terminal
            os.close(ours)
            return await asyncio.wait_for(process.wait(), 30)

    asyncio.run(collect())
    assert kills.report(folder)["stopped"]

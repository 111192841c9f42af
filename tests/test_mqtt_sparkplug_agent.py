"""Sparkplug from an independent publisher over a real broker to the lake: births, deaths, aliases, sequence gaps."""

import asyncio
import contextlib
import time

import polars as pl
import pysparkplug as sp
import pytest

from config.plant import Asset, Point, Source
from config.status import BAD_DATA_LOST, BAD_NO_COMMUNICATION, BAD_NODE_ID_UNKNOWN, GOOD
from tests.running import lake_of, plant_for, running, until
from tests.servers import mosquitto, within
from tests.sparkplug_peer import Peer, metric, now_ms

DOUBLE, INT64, BOOLEAN = sp.DataType.DOUBLE, sp.DataType.INT64, sp.DataType.BOOLEAN

POINTS = {
    "temp": "spBv1.0/G/N#Line/Temperature",
    "count": "spBv1.0/G/N/press#Counter",
    "running": "spBv1.0/G/N/press#Running",
    "nobody": "spBv1.0/G/N/press#Gone",
}


def plant(folder, broker, *, heartbeat="60s", **settings):
    source = Source(
        id="cells", kind="mqtt", url=broker.url, timeout="2s", keepalive=settings.pop("keepalive", "2s"), **settings
    )
    table = [
        Point(point=name, asset="m", source="cells", address=address, heartbeat=heartbeat)
        for name, address in POINTS.items()
    ]
    return plant_for(folder, [source], [Asset(asset="m")], table)


@contextlib.contextmanager
def peer_of(broker, **settings):
    peer = Peer(broker.port, **settings)
    peer.connect()
    try:
        yield peer
    finally:
        peer.close(farewell=False)


def births(peer, temp=20.0, count=100):
    ts = now_ms()
    peer.birth([metric("Line/Temperature", DOUBLE, temp, ts, alias=1)])
    peer.device_birth(
        "press", [metric("Counter", INT64, count, ts, alias=2), metric("Running", BOOLEAN, True, ts, alias=3)]
    )
    # What went out at QoS 0 before it is at the broker once this is acknowledged.
    peer._client.publish("sync", b"", qos=1).wait_for_publish(10)


def count(peer, number, ts=None):
    """Data by alias alone, as most nodes send it."""
    peer.data([metric(None, INT64, number, ts or now_ms(), alias=2)], "press")


async def connected(agent):
    await until(lambda: "cells" in agent.status.sources and agent.status.sources["cells"].state == "connected")


def rows(plant_, point):
    """(value, status) of the lake's rows of a point, in the order of their times."""
    lake = lake_of(plant_)
    own = lake.filter(pl.col("point") == point) if lake.height else lake
    return list(own.select("value", "status").iter_rows()) if lake.height else []


def in_lake(plant_, point, value):
    lake = lake_of(plant_)
    return not lake.is_empty() and value in lake.filter(pl.col("point") == point)["value"].to_list()


@pytest.fixture
def broker(tmp_path):
    (tmp_path / "broker").mkdir()
    with mosquitto(tmp_path / "broker") as found:
        yield found


@pytest.mark.service
def test_births_give_aliases_and_data_by_alias_alone_becomes_rows(tmp_path, broker):
    made = plant(tmp_path, broker)

    async def run():
        async with running(made, connected=False) as agent:
            await connected(agent)
            with peer_of(broker) as peer:
                births(peer)
                for number in (101, 102, 103):
                    count(peer, number)
                    await asyncio.sleep(0.002)  # times are in milliseconds
                await until(lambda: in_lake(made, "count", 103))
                assert agent.status.sources["cells"].flags == {}

    within(30, run)
    assert rows(made, "count")[:4] == [(100, GOOD), (101, GOOD), (102, GOOD), (103, GOOD)]
    assert rows(made, "temp")[0] == (20, GOOD)
    assert rows(made, "running")[0] == (1, GOOD)
    assert rows(made, "nobody")[0] == (None, BAD_NODE_ID_UNKNOWN)  # in no birth


@pytest.mark.service
def test_a_hole_in_the_sequence_is_a_gap_of_every_value_that_stood(tmp_path, broker):
    made = plant(tmp_path, broker)

    async def run():
        async with running(made, connected=False) as agent:
            await connected(agent)
            with peer_of(broker) as peer:
                births(peer)
                count(peer, 101)
                await until(lambda: agent.status.sources["cells"].rows >= 5)
                peer.skip(2)
                await asyncio.sleep(0.01)
                count(peer, 103)  # by alias alone, whose birth may be among what was lost
                await until(lambda: agent.status.sources["cells"].faults == 1)
                peer.data([metric("Counter", INT64, 104, now_ms(), alias=2)], "press")
                await until(lambda: in_lake(made, "count", 104))
                await until(lambda: agent.status.sources["cells"].flags.get("sequence gap") == 1)
                assert agent.status.ledger["in doubt"] >= 1
                assert peer.asked == []  # nothing is ever sent unless the plant allows it

    within(30, run)
    assert rows(made, "count")[:4] == [(100, GOOD), (101, GOOD), (None, BAD_DATA_LOST), (104, GOOD)]
    assert rows(made, "temp")[:2] == [(20, GOOD), (None, BAD_DATA_LOST)]


@pytest.mark.service
def test_a_node_that_dies_turns_its_points_bad_at_once_and_a_device_its_own(tmp_path, broker):
    made = plant(tmp_path, broker)

    async def run():
        async with running(made, connected=False) as agent:
            await connected(agent)
            with peer_of(broker) as peer:
                births(peer)
                await asyncio.sleep(0.01)
                peer.device_death("press")
                await until(lambda: (None, BAD_NO_COMMUNICATION) in rows(made, "count"))
                assert rows(made, "temp") == [(20, GOOD)]
                peer.device_birth("press", [metric("Counter", INT64, 200, now_ms(), alias=2)])
                await until(lambda: in_lake(made, "count", 200))
                began = time.monotonic()
                peer.kill()  # the broker publishes the will
                await until(lambda: (None, BAD_NO_COMMUNICATION) in rows(made, "temp"))
                assert time.monotonic() - began < 5
                peer.connect()
                births(peer, temp=21.0, count=300)
                await until(lambda: in_lake(made, "temp", 21) and in_lake(made, "count", 300))

    within(40, run)
    dead = (None, BAD_NO_COMMUNICATION)
    assert rows(made, "temp")[:3] == [(20, GOOD), dead, (21, GOOD)]
    assert rows(made, "count")[:5] == [(100, GOOD), dead, (200, GOOD), dead, (300, GOOD)]


@pytest.mark.service
def test_a_death_of_a_session_before_does_not_kill_the_one_that_lives(tmp_path, broker):
    made = plant(tmp_path, broker)

    async def run():
        async with running(made, connected=False) as agent:
            await connected(agent)
            with peer_of(broker, number=5) as peer:
                births(peer)
                peer.send("NDEATH", peer.death(4))
                count(peer, 101)
                await until(lambda: in_lake(made, "count", 101))
                await until(lambda: agent.status.sources["cells"].flags == {"stale death": 1})

    within(30, run)
    assert rows(made, "temp")[0] == (20, GOOD)
    assert BAD_NO_COMMUNICATION not in [status for _, status in rows(made, "count")][:2]


@pytest.mark.service
def test_a_node_that_reports_changes_alone_stands_while_it_lives(tmp_path, broker):
    made = plant(tmp_path, broker, heartbeat="1s", keepalive="1s")

    async def run():
        async with running(made, connected=False) as agent:
            await connected(agent)
            with peer_of(broker) as peer:
                births(peer)
                await until(lambda: agent.status.sources["cells"].rows >= 4)
                await until(lambda: len([1 for row in rows(made, "temp") if row == (20, GOOD)]) >= 3)
                assert agent.status.sources["cells"].fresh(time.monotonic())

    within(30, run)


@pytest.mark.service
def test_an_agent_that_comes_later_guesses_no_alias_and_asks_for_a_birth_where_it_may(tmp_path, broker):
    quiet, asking = plant(tmp_path / "quiet", broker), plant(tmp_path / "asking", broker, rebirth=True)

    async def run():
        with peer_of(broker) as peer:
            births(peer)
            async with running(quiet, connected=False) as agent:
                await connected(agent)
                count(peer, 101)
                await until(lambda: agent.status.sources["cells"].faults >= 1)
                await until(lambda: agent.status.ledger.get("not stored", 0) >= 1)
                await until(lambda: any("birth" in line for line in agent.status.sources["cells"].warnings))
                assert peer.asked == []
            async with running(asking, connected=False) as agent:
                await until(lambda: len(peer.asked) == 1)
                births(peer, count=102)  # as a node does that is asked
                count(peer, 103)
                await until(lambda: in_lake(asking, "count", 103))
                assert len(peer.asked) == 1

    within(40, run)
    assert lake_of(quiet).is_empty()
    assert rows(asking, "count")[:2] == [(102, GOOD), (103, GOOD)]


@pytest.mark.service
def test_values_of_the_past_stand_beside_what_is_live(tmp_path, broker):
    made = plant(tmp_path, broker)

    async def run():
        async with running(made, connected=False) as agent:
            await connected(agent)
            with peer_of(broker) as peer:
                births(peer)
                past = now_ms() - 3_600_000
                peer.data(
                    [metric(None, INT64, n, past + n, alias=2, is_historical=True) for n in (50, 51, 52)], "press"
                )
                count(peer, 101)
                await until(lambda: in_lake(made, "count", 101) and in_lake(made, "count", 52))
                assert agent.status.sources["cells"].filled == 3

    within(30, run)
    assert rows(made, "count")[:5] == [(50, GOOD), (51, GOOD), (52, GOOD), (100, GOOD), (101, GOOD)]


@pytest.mark.service
def test_a_payload_that_is_no_sparkplug_is_put_aside_and_the_sequence_tells_what_is_missing(tmp_path, broker):
    made = plant(tmp_path, broker)

    async def run():
        async with running(made, connected=False) as agent:
            await connected(agent)
            with peer_of(broker) as peer:
                births(peer)
                peer._client.publish("spBv1.0/G/DDATA/N/press", b"\x08\xff\xff").wait_for_publish(5)
                await until(lambda: agent.status.sources["cells"].faults == 1)
                quarantine = tmp_path / "spool" / "quarantine" / "messages.jsonl"
                await until(quarantine.exists)
                assert '"spBv1.0/G/DDATA/N/press"' in quarantine.read_text()

    within(30, run)

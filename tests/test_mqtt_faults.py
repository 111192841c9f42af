"""What networks, brokers and publishers do to MQTT: the agent, its spool and lake, and peers that err on purpose.

Publishers number their messages, so that the end of a test compares what was said with what lies in the lake: by the
message's own time where it has one, and as the same set of numbers, each once, where it has none.
"""

import asyncio
import contextlib
import errno
import gc
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import collector.agent
import collector.quarantine
from collector.agent import PENDING_ROWS, Agent
from collector.batch import Intake
from collector.ledger import Ledger, read_ledger
from collector.quarantine import NAME, Quarantine, read_quarantine
from collector.spool import Spool
from config.plant import Topic
from config.status import BAD_NO_COMMUNICATION, GOOD, UNCERTAIN_LAST_USABLE_VALUE
from connectors.base import Refused, lost
from connectors.mqtt.inbox import Inbox
from tests import listening
from tests.mqtt_peers import Numbers, Press, packet, scripted
from tests.proxy import Proxy, pieces
from tests.running import Asset, Point, Source, descriptors, lake_in, lake_of, plant_for, running, settle, until
from tests.servers import mosquitto, within

QUEUE = "allow_anonymous true\nmax_queued_messages 0\n"
"""A broker that keeps whatever number of messages for a session."""


# --- the agent ---


def source(url, **settings):
    return Source(**{"id": "q", "kind": "mqtt", "url": url, "client_id": "gw", "timeout": "1s", "keepalive": "1s"}
                  | settings)  # fmt: skip


def point(name, address, **settings):
    return Point(**{"point": name, "asset": "a", "source": "q", "address": address, "store": "all"} | settings)


NUMBERED = (point("timed", "cell#/n"), point("plain", "plain"))


def plant_of(root, url, table=NUMBERED, *, plant=(), **settings):
    return plant_for(root, [source(url, **settings)], [Asset(asset="a")], list(table), **dict(plant))


def link(agent):
    return agent.status.sources["q"]


async def up(agent, patience=30.0):
    await until(lambda: "q" in agent.status.sources and link(agent).state == "connected", patience)


async def flows(agent, patience=30.0):
    """Wait for good data that came after now; returns how long it took [s]."""
    began = time.monotonic()
    await until(lambda: (link(agent).last_data or 0) > began and link(agent).state == "connected", patience)
    return time.monotonic() - began


@pytest.fixture
def quick(monkeypatch):
    """Pauses of the agent after a loss that are short."""
    monkeypatch.setattr(collector.agent, "BACK_OFF_S", (0.02, 0.05))


@pytest.fixture
def broker(tmp_path, request):
    (tmp_path / "broker").mkdir()
    with mosquitto(tmp_path / "broker", QUEUE, saves=getattr(request, "param", "") == "saves") as one:
        yield one


saving = pytest.mark.parametrize("broker", ["saves"], indirect=True)
"""Of tests in which the broker dies and is to know its sessions again."""


# --- the lake ---


def good(frame, name):
    """Times [ns] and values of a point's good rows."""
    if frame.is_empty():
        return []
    rows = frame.filter(pl.col("point") == name, pl.col("status") == GOOD, pl.col("value").is_not_null())
    return [(ts, int(value)) for ts, value in rows.select(pl.col("ts").dt.epoch("ns"), "value").iter_rows()]


def values(frame, name):
    return [value for _, value in good(frame, name)]


def count_of(lake, name, code):
    return lake.filter(pl.col("point") == name, pl.col("status") == code).height


async def stored(acknowledged, count, name="plain", patience=30.0):
    """Wait until so many good rows of a point are committed."""
    deadline, seen, found = time.monotonic() + patience, 0, 0
    while True:
        new = acknowledged[seen:]
        seen, found = seen + len(new), found + sum(len(good(frame, name)) for frame in new)
        if found >= count:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"not {count} rows of {name} within {patience} s")
        await asyncio.sleep(0.05)


def is_exact(lake, numbers):
    """Every number is stored once: by its own time, and where it has none."""
    assert good(lake, "timed") == sorted((at, number) for number, at in numbers.times.items())
    assert sorted(values(lake, "plain")) == list(range(1, numbers.sent + 1))


def ledger(plant, event):
    return [e for e in read_ledger(plant.root / "spool" / "ledger.jsonl") if e["event"] == event]


def quarantined(plant):
    return list(read_quarantine(plant.root / "spool" / "quarantine"))


# --- the network ---


@pytest.mark.service
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_after_each_reset_data_is_back_within_five_seconds_and_no_message_is_missing_or_twice(
    tmp_path, acknowledged, broker, version
):
    async def run():
        async with Proxy(broker.port, whole=pieces) as proxy:
            plant = plant_of(tmp_path, f"mqtt://127.0.0.1:{proxy.port}?version={version}")
            async with running(plant, connected=False) as agent:
                await up(agent)
                async with Numbers(broker.port) as numbers:
                    for number in (1, 2, 3):
                        await flows(agent)
                        await proxy.refuse()
                        proxy.reset()
                        await until(lambda: link(agent).state == "lost")
                        await proxy.accept()
                        took = await flows(agent)
                        print(f"row 1, MQTT {version}: back after {took:.2f} s")
                        assert took < 5.0
                        assert link(agent).connects == number + 1
                await stored(acknowledged, numbers.sent)
                await stored(acknowledged, numbers.sent, "timed")
        lake = settle(plant, acknowledged)
        is_exact(lake, numbers)
        assert numbers.sent > 200
        assert min(count_of(lake, name, BAD_NO_COMMUNICATION) for name in ("timed", "plain")) == 3

    within(40, run)


@pytest.mark.service
@pytest.mark.parametrize("silent", ["the network", "the broker"])
def test_a_link_that_is_silent_is_noticed_within_two_keepalives_and_the_data_returns(
    tmp_path, acknowledged, broker, silent
):
    async def run():
        async with Proxy(broker.port, whole=pieces) as proxy:
            plant = plant_of(tmp_path, f"mqtt://127.0.0.1:{proxy.port}")
            async with running(plant, connected=False) as agent:
                await up(agent)
                async with Numbers(broker.port) as numbers:
                    await flows(agent)
                    if silent == "the network":
                        proxy.silent = True
                    else:
                        broker.pause()
                    began = time.monotonic()
                    await until(lambda: link(agent).state == "lost")
                    noticed = time.monotonic() - began
                    print(f"row 2, {silent}: noticed after {noticed:.2f} s, keepalive 1 s")
                    assert noticed <= 2.0
                    assert not agent.status.report()["healthy"]
                    await asyncio.sleep(0.2)  # what is said meanwhile is kept by the broker, or by the publisher
                    broker.go_on()
                    proxy.silent = False
                    took = await flows(agent)
                    print(f"row 2, {silent}: back after {took:.2f} s")
                    assert took < 5.0
                await stored(acknowledged, numbers.sent)
                await stored(acknowledged, numbers.sent, "timed")
        lake = settle(plant, acknowledged)
        is_exact(lake, numbers)
        assert min(count_of(lake, name, BAD_NO_COMMUNICATION) for name in ("timed", "plain")) >= 1

    within(40, run)


@pytest.mark.service
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_twenty_five_cuts_one_after_another_lose_no_message_and_leave_no_descriptor_and_no_task(
    tmp_path, acknowledged, quick, broker, version
):
    async def run():
        async with Proxy(broker.port, whole=pieces) as proxy:
            plant = plant_of(tmp_path, f"mqtt://127.0.0.1:{proxy.port}?version={version}")
            async with running(plant, connected=False) as agent:
                await up(agent)
                rng = random.Random(5)
                async with Numbers(broker.port, every=0.004) as numbers:
                    await flows(agent)
                    before, tasks = descriptors(), len(asyncio.all_tasks())
                    for number in range(1, 26):
                        proxy.reset()
                        await until(lambda n=number: link(agent).connects > n)
                        if number % 2:  # every other time before anything is committed
                            await flows(agent)
                        await asyncio.sleep(rng.uniform(0.0, 0.05))  # the moment of the cut must not be a chosen one
                    await until(lambda: proxy.open == 1 and abs(len(asyncio.all_tasks()) - tasks) <= 1)
                    await until(lambda: descriptors() <= before)
                await stored(acknowledged, numbers.sent)
                await stored(acknowledged, numbers.sent, "timed")
                again = link(agent).flags.get("delivered again (DUP)", 0)
            names = [task.get_name() for task in asyncio.all_tasks()]
            assert not [name for name in names if name.startswith(("source", "sink", "committer"))]
        is_exact(settle(plant, acknowledged), numbers)
        print(f"row 5, MQTT {version}: {numbers.sent} numbers, {again} messages came again")

    within(60, run)


# --- the broker ---


@pytest.mark.service
@saving
def test_a_broker_that_is_killed_delivers_what_it_had_saved_once(tmp_path, acknowledged, quick, broker):
    """mosquitto acknowledges a publisher's message first and saves it in the same turn of its loop.

    What it had no time to save when it dies nobody can deliver; so it dies here after it has saved all, and what the
    publisher says while it is dead comes from the publisher again.
    """
    saved = tmp_path / "broker" / "mosquitto.db"

    async def run():
        async with Proxy(broker.port, whole=pieces) as proxy:
            plant = plant_of(tmp_path, f"mqtt://127.0.0.1:{proxy.port}")
            async with running(plant, connected=False) as agent:
                await up(agent)
                async with Numbers(broker.port) as numbers:
                    for _ in range(3):
                        await flows(agent)
                        await proxy.refuse()  # so that the broker must keep what it takes
                        proxy.reset()
                        await asyncio.sleep(0.3)
                        numbers.paused = True
                        await numbers.all_taken()
                        await until(lambda: time.time() - saved.stat().st_mtime > 1.5)  # a turn takes a second at most
                        await asyncio.to_thread(broker.kill)
                        numbers.paused = False
                        await asyncio.sleep(0.2)
                        await asyncio.to_thread(broker.start)
                        await proxy.accept()
                await stored(acknowledged, numbers.sent)
                await stored(acknowledged, numbers.sent, "timed")
                assert not [flag for flag in link(agent).flags if "lost the session" in flag]
        is_exact(settle(plant, acknowledged), numbers)

    within(60, run)


@pytest.mark.service
@saving
def test_of_a_broker_that_is_killed_at_any_moment_all_that_arrived_is_stored_once(
    tmp_path, acknowledged, quick, broker, monkeypatch
):
    """The agent commits slowly, so that at each death messages are committed, and others are not.

    What mosquitto took and had not saved at its death never arrives; nobody but the publisher has it. A broker that
    forgot that it had sent a message sends it as a new one. By its own time it is known again; two plain values that
    are alike are two.
    """
    put, take, arrived = Spool.put, Inbox.take, {b"cell": set(), b"plain": set()}

    def slow(spool, *args):
        time.sleep(0.05)  # the moment of death shall lie within a commit
        return put(spool, *args)

    def watched(inbox, message, burst):
        value = json.loads(message.payload)
        arrived[message.topic].add(value["n"] if message.topic == b"cell" else value)
        take(inbox, message, burst)

    monkeypatch.setattr(Spool, "put", slow)
    monkeypatch.setattr(Inbox, "take", watched)

    async def run():
        plant, rng = plant_of(tmp_path, broker.url), random.Random(3)
        async with running(plant, connected=False) as agent:
            await up(agent)
            async with Numbers(broker.port) as numbers:
                for _ in range(5):
                    await flows(agent)
                    await asyncio.sleep(rng.uniform(0.0, 0.3))  # the moment must not be a chosen one
                    await asyncio.to_thread(broker.kill)
                    await asyncio.to_thread(broker.start)
                await flows(agent)
            await numbers.all_taken()
            await until(lambda: numbers.sent in values(lake_of(plant), "timed"))
        lake = settle(plant, acknowledged)
        lost = sorted(set(range(1, numbers.sent + 1)) - arrived[b"cell"])
        print(f"row 17: {numbers.sent} numbers, 5 deaths, the broker itself lost {lost}")
        assert sorted(values(lake, "timed")) == sorted(arrived[b"cell"])
        assert set(values(lake, "plain")) == arrived[b"plain"]

    within(60, run)


@pytest.mark.service
@pytest.mark.parametrize("agent_too", [False, True], ids=["the agent stays", "the agent starts anew"])
@saving
def test_a_session_that_the_broker_lost_is_told_and_is_a_gap_of_every_point_and_data_flows_again(
    tmp_path, acknowledged, broker, agent_too
):
    told = "the broker lost the session: what was sent meanwhile is missing"

    async def run():
        table = [*NUMBERED, point("silent", "silent")]
        plant = plant_of(tmp_path, broker.url, table)
        async with contextlib.AsyncExitStack() as stack, Numbers(broker.port):
            agent = await stack.enter_async_context(running(plant, connected=False))
            await up(agent)
            await flows(agent)
            if agent_too:
                await stack.aclose()
            await asyncio.to_thread(broker.stop)
            (tmp_path / "broker" / "mosquitto.db").unlink()
            await asyncio.to_thread(broker.start)
            began, began_ns = time.monotonic(), time.time_ns()
            if agent_too:
                agent = await stack.enter_async_context(running(plant, connected=False))
                await up(agent)
            await until(lambda: link(agent).flags.get(told) == 1)
            await flows(agent)
            took = time.monotonic() - began
            print(f"row 18: told, and data is back, after {took:.2f} s")
            assert took < 5.0
        lake = settle(plant, acknowledged)
        for name in ("timed", "plain", "silent"):
            gap = lake.filter(pl.col("point") == name, pl.col("status") == BAD_NO_COMMUNICATION)
            assert gap.height >= 1, name
            assert gap["ts"].dt.epoch("ns").max() < began_ns + 5e9
        assert [entry["count"] for entry in ledger(plant, "in doubt") if entry["reason"] == told] == [1]

    within(40, run)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_subscription_that_is_refused_is_told_by_name_and_recovers_when_it_is_allowed(tmp_path, quick, version):
    refusal = 0x87 if version == "5" else 0x80

    async def run():
        async with scripted(granted=[1, refusal]) as peer:
            plant = plant_of(tmp_path, f"{peer.url}?version={version}", [point("a", "open"), point("b", "secret/b")])
            async with running(plant, connected=False) as agent:
                began = time.monotonic()
                await until(lambda: agent.status.sources and link(agent).state == "refused")
                print(f"row 19, MQTT {version}: told after {time.monotonic() - began:.2f} s")
                assert "'secret/b'" in link(agent).error
                assert not agent.status.report()["healthy"]
                peer.granted = [1, 1]
                await up(agent)
                peer.send_messages([("open", b"1"), ("secret/b", b"2")])
                await peer.until_acknowledged(2)
                assert agent.status.report()["healthy"]
        lake = lake_of(plant)
        assert (values(lake, "a"), values(lake, "b")) == ([1], [2])

    within(20, run)


def test_a_subscription_that_is_refused_on_reconnect_is_told_within_five_seconds(tmp_path, quick):
    async def run():
        async with scripted() as peer:
            plant = plant_of(tmp_path, peer.url, [point("a", "open")])
            async with running(plant, connected=False) as agent:
                await up(agent)
                peer.send_messages([("open", b"1")])
                await peer.until_acknowledged(1)
                peer.granted = [0x87]
                peer.close()
                await until(lambda: link(agent).state == "refused")
                assert "'open'" in link(agent).error
                assert not agent.status.report()["healthy"]
                peer.granted, peer.session_present = None, True
                await up(agent)

    within(20, run)


# --- messages ---


def test_retained_again_out_of_order_and_twice_are_counted_exactly_and_stored_exactly(tmp_path, acknowledged):
    now = time.time_ns()

    def said(number):
        return "cell", json.dumps({"n": number, "ts": now + number}).encode()

    async def run():
        async with scripted() as peer:
            plant = plant_of(tmp_path, peer.url)
            async with running(plant, connected=False) as agent:
                await up(agent)
                peer.send_messages([said(1), ("plain", b"1")], flags=3)  # retained
                peer.send_messages([said(2), said(4), said(3), said(5)])
                peer.send_messages([said(5), said(5)])  # the publisher says it thrice
                peer.send_messages([("plain", b"7"), ("plain", b"7"), ("plain", b"7")])  # three values that are alike
                peer.send_messages([said(4), said(6)], flags=10, first=4)  # DUP: the first is known, the other is not
                peer.send_messages([("plain", b"7")], flags=10, first=9)  # DUP: known
                peer.send_messages([("plain", b"8")], flags=10, first=100)  # DUP: never heard of
                await peer.until_acknowledged(15)
                await until(lambda: len(link(agent).flags) == 3)
                flags = agent._links["q"][0].flags
                assert flags == {"retained": 2, "delivered again (DUP)": 4, "out of order": 1}
        lake = settle(plant, acknowledged)
        assert good(lake, "timed") == [(now + n, n) for n in range(1, 7)]
        assert values(lake, "plain") == [7, 7, 7, 8]
        assert count_of(lake, "plain", UNCERTAIN_LAST_USABLE_VALUE) == 1
        told = {e["reason"]: 0 for e in ledger(plant, "in doubt")}
        for entry in ledger(plant, "in doubt"):
            told[entry["reason"]] += entry["count"]
        assert told == {"retained": 2, "delivered again (DUP)": 4, "out of order": 1}

    within(20, run)


def test_a_value_that_a_broker_gives_the_number_of_one_before_is_not_taken_for_it(tmp_path, acknowledged, quick):
    """Brokers may use the same few packet identifiers again and again: what came last under one is what is known."""

    async def run():
        async with scripted() as peer:
            plant = plant_of(tmp_path, peer.url)
            async with running(plant, connected=False) as agent:
                await up(agent)
                for count, value in enumerate((b"0", b"1", b"0", b"1"), 1):
                    peer.send_messages([("plain", value)], first=1)
                    await peer.until_acknowledged(count)
                peer.session_present = True
                peer.close()
                await until(lambda: link(agent).connects == 2 and link(agent).state == "connected")
                peer.send_messages([("plain", b"0")], flags=10, first=1)  # it was lost on its way the first time
                await peer.until_acknowledged(5)
                peer.send_messages([("plain", b"0")], flags=10, first=1)
                await peer.until_acknowledged(6)
        assert values(settle(plant, acknowledged), "plain") == [0, 1, 0, 1, 0]

    within(20, run)


@pytest.mark.service
def test_messages_that_a_dead_link_left_unacknowledged_are_known_however_much_is_committed_meanwhile(
    tmp_path, acknowledged, quick, monkeypatch
):
    """Another source fills the spool while the link is down, and then the agent is started anew."""

    monkeypatch.setattr(collector.agent, "TAIL_BATCHES", 30)

    async def run():
        async with scripted() as one, scripted() as two:
            sources = [source(one.url), source(two.url, id="r", client_id="other")]
            table = [*NUMBERED, point("busy", "busy", source="r")]
            plant = plant_for(tmp_path, sources, [Asset(asset="a")], table)
            said = [("plain", b"1"), ("cell", json.dumps({"n": 1, "ts": time.time_ns()}).encode())]
            async with running(plant, connected=False) as agent:
                await until(lambda: len(agent.status.sources) == 2)
                await until(lambda: all(s.state == "connected" for s in agent.status.sources.values()))
                one.send_messages(said)
                await one.until_acknowledged(2)
                one.session_present = two.session_present = True
                for number in range(1, collector.agent.TAIL_BATCHES + 20):
                    two.send_messages([("busy", str(number).encode())])
                    await two.until_acknowledged(number)
            async with running(plant, connected=False) as agent:
                await until(lambda: len(agent.status.sources) == 2)
                await until(lambda: all(s.state == "connected" for s in agent.status.sources.values()))
                one.send_messages(said, flags=10, first=1)
                await one.until_acknowledged(4)
        lake = settle(plant, acknowledged)
        assert (values(lake, "plain"), values(lake, "timed")) == ([1], [1])

    within(60, run)


@pytest.mark.service
def test_messages_under_way_when_the_agent_stops_are_stored_once(tmp_path, acknowledged, broker):
    async def run():
        plant, rng = plant_of(tmp_path, broker.url), random.Random(11)
        async with running(plant, connected=False) as agent:
            await up(agent)
        async with Numbers(broker.port, every=0.002) as numbers:
            for _ in range(8):
                async with running(plant, connected=False) as agent:
                    await up(agent)
                    await asyncio.sleep(rng.uniform(0.0, 0.3))  # the moment must not be a chosen one
        async with running(plant, connected=False):
            await stored(acknowledged, numbers.sent)
            await stored(acknowledged, numbers.sent, "timed")
        is_exact(settle(plant, acknowledged), numbers)

    within(60, run)


@pytest.mark.service
@pytest.mark.parametrize("error", ["bad sector", "spool full"])
def test_commits_that_fail_acknowledge_nothing_and_two_connections_later_all_is_stored_once(
    tmp_path, acknowledged, quick, broker, monkeypatch, error
):
    put, failing = Spool.put, []

    def sometimes(spool, *args):
        if failing:
            failing.append(1)
            raise collector.agent.SpoolFull("full") if error == "spool full" else OSError(errno.EIO, error)
        return put(spool, *args)

    monkeypatch.setattr(Spool, "put", sometimes)

    async def run():
        async with Proxy(broker.port, whole=pieces) as proxy:
            plant = plant_of(tmp_path, f"mqtt://127.0.0.1:{proxy.port}", receive_maximum=50)
            async with running(plant, connected=False) as agent:
                await up(agent)
                async with Numbers(broker.port) as numbers:
                    await flows(agent)
                    failing.append(0)
                    for connects in (1, 2):
                        await until(lambda: len(failing) > 3)
                        assert agent.status.spool["error"]
                        assert not agent.status.report()["healthy"]
                        proxy.reset()
                        if error != "spool full":  # whose sources wait
                            await until(lambda n=connects: link(agent).connects > n)
                    await asyncio.sleep(0.3)
                    failing.clear()
                    await until(lambda: not agent.status.spool.get("error"))
                    await flows(agent)
                await stored(acknowledged, numbers.sent)
                await stored(acknowledged, numbers.sent, "timed")
        is_exact(settle(plant, acknowledged), numbers)
        assert ledger(plant, "commit failed")

    within(60, run)


def test_an_acknowledgement_that_fails_ends_neither_the_agent_nor_another_source(tmp_path, acknowledged):
    async def run():
        async with scripted() as sick, scripted() as sound:
            sources = [source(sick.url), source(sound.url, id="r", client_id="gr")]
            table = [point("a", "a"), point("b", "b", source="r")]
            plant = plant_for(tmp_path, sources, [Asset(asset="a")], table)
            async with running(plant, connected=False) as agent:
                await up(agent)
                await until(lambda: agent.status.sources["r"].state == "connected")

                def fails():
                    raise RuntimeError("the link is closing")

                agent._acknowledge.append(("q", fails))
                for peer, topic in ((sick, "a"), (sound, "b")):
                    peer.send_messages([(topic, b"1")])
                    await peer.until_acknowledged(1)
                sound.send_messages([("b", b"2")])
                await sound.until_acknowledged(2)
            assert values(settle(plant, acknowledged), "b") == [1, 2]
            (entry,) = ledger(plant, "connector fault")
            assert (entry["source"], entry["unacknowledged"]) == ("q", 1)

    within(20, run)


@pytest.mark.parametrize("retained", [True, False])
def test_a_link_that_breaks_soon_after_it_is_made_is_tried_more_and_more_seldom(tmp_path, monkeypatch, retained):
    monkeypatch.setattr(collector.agent, "BACK_OFF_S", (0.1, 30.0))
    monkeypatch.setattr(collector.agent, "HASTE_S", 0.8)

    async def run():
        async with scripted() as peer:
            plant = plant_of(tmp_path, peer.url)
            async with running(plant, connected=False) as agent:

                async def breaks():
                    while True:
                        count = len(peer.filters)
                        await until(lambda: len(peer.filters) > count)  # noqa: B023  called at once
                        if retained:
                            peer.send_messages([("plain", b"1")], flags=3)
                        await asyncio.sleep(0.1)
                        peer.close()

                task = asyncio.create_task(breaks())
                await asyncio.sleep(4)
                task.cancel()
                print(f"{link(agent).connects} connections in 4 s")
                assert 2 <= link(agent).connects <= 11

    within(20, run)


def test_word_that_a_publisher_is_there_makes_nothing_fresh_where_no_value_stands(tmp_path):
    async def run():
        async with scripted() as peer:
            topic = Topic(topic="m/{n}/data", will="m/{n}/status")
            table = [point("p", "m/1/data#/v", heartbeat="1s", store="change")]
            plant = plant_of(tmp_path, peer.url, table, period="100ms", topic=(topic,))
            async with running(plant, connected=False) as agent:
                await up(agent)
                peer.send_messages([("m/1/status", b"online")])
                await peer.until_acknowledged(1)
                await asyncio.sleep(2)  # pings are answered meanwhile: the publisher is there
                assert not agent.status.report()["sources"]["q"]["fresh"]
                peer.send_messages([("m/1/data", b'{"v": 1}')])
                await until(lambda: agent.status.report()["healthy"])
                await asyncio.sleep(4)
                assert agent.status.report()["healthy"]

    within(20, run)


def test_status_is_not_healthy_while_one_topic_is_silent_for_three_heartbeats(tmp_path):
    async def run():
        async with scripted() as peer:
            table = [point("a", "a", heartbeat="200ms"), point("b", "b", heartbeat="200ms")]
            plant = plant_of(tmp_path, peer.url, table, period="100ms")
            async with running(plant, connected=False) as agent:
                await up(agent)
                peer.send_messages([("a", b"1"), ("b", b"1")])
                await until(lambda: agent.status.report()["healthy"])
                heard = time.monotonic()
                talking, topics = True, ("a",)

                async def talk():
                    while talking:
                        peer.send_messages([(topic, b"1") for topic in topics])
                        await asyncio.sleep(0.05)

                task = asyncio.create_task(talk())
                await until(lambda: not agent.status.report()["healthy"])
                print(f"I5: not healthy {time.monotonic() - heard:.2f} s after the topic's last word")
                topics = ("a", "b")
                await until(lambda: agent.status.report()["healthy"])
                talking = False
                await task

    within(20, run)


# --- publishers that err ---


@pytest.mark.service
def test_one_bad_publisher_never_stalls_the_rest(tmp_path, acknowledged, broker):
    bad = [b"{", b"\xff\xfe", b"", b"[" * 50_000, b"x" * 2_000_000, b'{"n": "x"}', b'{"n": {"deep": 1}}', b"null"]

    async def run():
        plant = plant_of(tmp_path, broker.url, [*NUMBERED, point("bad", "bad#/n", type="float64")])
        async with running(plant, connected=False) as agent:
            await up(agent)
            async with Numbers(broker.port) as numbers, Press(broker.port) as press:
                for _ in range(20):
                    await press.say("bad", *bad)
            began = time.monotonic()
            await stored(acknowledged, numbers.sent)
            await stored(acknowledged, numbers.sent, "timed")
            assert time.monotonic() - began < 2.0
            assert link(agent).connects == 1
        lake = settle(plant, acknowledged)
        is_exact(lake, numbers)
        late = lake.filter(pl.col("point") == "timed").select((pl.col("ts_recv") - pl.col("ts")).max()).item()
        print(f"a bad publisher: a good message waits {late.total_seconds():.2f} s at most")
        assert late.total_seconds() < 2.0
        assert len(quarantined(plant)) == 20 * len(bad)

    within(40, run)


def test_what_is_put_aside_is_synced_before_it_is_acknowledged(tmp_path, quick, monkeypatch):
    events, sync = [], os.fsync
    monkeypatch.setattr(collector.quarantine.os, "fsync", lambda handle: events.append("synced") or sync(handle))

    async def run():
        async with scripted() as peer:
            plant = plant_of(tmp_path, peer.url)
            lines = lambda: [entry["payload"] for entry in quarantined(plant)]  # noqa: E731
            peer.on_ack = lambda mid: events.append((mid, b"{%d" % mid in lines()))
            async with running(plant, connected=False) as agent:
                await up(agent)
                for n in range(1, 21):
                    peer.send_messages([("cell", b"{%d" % n)])
                    if n % 5 == 0:
                        await peer.until_acknowledged(n)
        (one, *_) = quarantined(plant)
        assert (one["source"], one["topic"], one["payload"], one["size"]) == ("q", "cell", b"{1", 2)
        assert one["reason"].startswith("no JSON: ")
        assert "T" in one["ts"]
        acks = [event for event in events if event != "synced"]
        assert acks == [(n, True) for n in range(1, 21)]
        assert events[0] == "synced"

    within(20, run)


def test_the_name_of_a_new_file_of_what_is_put_aside_is_synced_and_its_folders(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def noted(handle):
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    folder = tmp_path / "quarantine"
    aside = Quarantine(folder, Ledger(tmp_path / "ledger.jsonl"), most=100)
    one = Refused(place="t", reason="r", payload=b"x", size=1, received=1)
    aside.add([("q", one)])
    assert synced == [str(folder / f"{NAME}.jsonl"), str(folder), str(tmp_path)]
    aside.add([("q", one)])  # the file before grew too large: there is a new one
    assert synced[3:] == [str(folder), str(folder / f"{NAME}.jsonl"), str(folder), str(tmp_path)]


def test_names_of_messages_that_brought_no_rows_are_written_with_the_next_rows(tmp_path):
    async def run():
        async with scripted() as peer:
            plant = plant_of(tmp_path, peer.url)
            async with running(plant, connected=False) as agent:
                await up(agent)
                peer.send_messages([("plain", b"1")])
                await peer.until_acknowledged(1)
                named, known = agent._named, len(agent.spool.tokens(0)["q"])
                peer.send_messages([("cell", b"{")])
                await peer.until_acknowledged(2)
                assert agent._named == named
                peer.send_messages([("plain", b"2")])
                await peer.until_acknowledged(3)
                assert agent.spool.tokens(0)["q"][-2:] == list(agent._taken["q"])[-2:]
                assert len(agent.spool.tokens(0)["q"]) == known + 2

    within(20, run)


def test_what_waits_for_a_commit_is_bounded_by_what_it_takes_in_memory(tmp_path):
    async def run():
        async with scripted() as peer:
            agent = Agent(plant_of(tmp_path, peer.url))
            one = lost(np.array([0]), 1)
            intake = Intake(agent.points, 0, quiet=True)
            for count in range(1, PENDING_ROWS):
                agent._add(intake.take(replace(one, ts=np.array([count]), status=np.array([count], np.uint32))))
                if not agent._room.is_set():
                    break
            assert count < PENDING_ROWS // 10
            agent = Agent(plant_of(tmp_path, peer.url))
            agent._taken["q"] = deque(maxlen=9)
            empty = Refused(place="t", reason="r", payload=b"", size=0, received=1)
            agent._keep_messages("q", replace(one, refused=[empty] * 10_000))
            assert not agent._room.is_set()

    within(60, run)


def test_a_full_disk_for_what_is_put_aside_keeps_it_unacknowledged_and_recovers(tmp_path, acknowledged, quick):
    async def run():
        folder = tmp_path / "spool" / "quarantine"
        folder.mkdir(parents=True)
        (folder / f"{NAME}.jsonl").symlink_to("/dev/full")
        async with scripted() as peer:
            plant = plant_of(tmp_path, peer.url)
            async with running(plant, connected=False) as agent:
                await up(agent)
                peer.send_messages([("cell", b"{"), ("plain", b"1")])
                await until(lambda: "No space" in str(agent.status.spool.get("error")))
                assert not agent.status.report()["healthy"]
                await asyncio.sleep(0.2)
                assert peer.acknowledged == []
                peer.close()
                peer.session_present = True
                await until(lambda: link(agent).connects == 2)
                peer.send_messages([("cell", b"{"), ("plain", b"1")], flags=10, first=1)
                (folder / f"{NAME}.jsonl").unlink()
                began = time.monotonic()
                await peer.until_acknowledged(2)
                took = time.monotonic() - began
                print(f"quarantine's full disk: recovered after {took:.2f} s")
                assert took < 10
                await until(agent.status.report, 1)
                assert not agent.status.spool.get("error")
        assert [entry["payload"] for entry in quarantined(plant)] == [b"{"]
        assert values(settle(plant, acknowledged), "plain") == [1]

    within(20, run)


def test_the_oldest_of_what_is_put_aside_goes_at_the_limit_and_the_ledger_tells_how_many(tmp_path, monkeypatch):
    begin = Quarantine.__init__
    monkeypatch.setattr(Quarantine, "__init__", lambda self, *args, **words: begin(self, *args, **words, most=8_000))

    async def run():
        async with scripted() as peer:
            plant = plant_of(tmp_path, peer.url)
            async with running(plant, connected=False) as agent:
                await up(agent)
                for n in range(1, 41):
                    peer.send_messages([("cell", b"{%03d" % n + b"x" * 1000)])
                    await peer.until_acknowledged(n)
        kept = [int(entry["payload"][1:4]) for entry in quarantined(plant)]
        assert kept == list(range(kept[0], 41))
        assert sum(entry["messages"] for entry in ledger(plant, "dropped")) == 40 - len(kept)
        assert 5 <= len(kept) <= 16

    within(40, run)


# --- what is no MQTT ---


def mutated(rng, seeds):
    """A packet stream with faults: bytes changed, left out, put in, doubled, cut; lengths that lie."""
    data = bytearray(b"".join(rng.choice(seeds) for _ in range(rng.randint(1, 3))))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) or 1)
        kind = rng.randrange(6)
        if kind == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0x30, 0x32, 0x3D, 0x90, 0xE0))
        elif kind == 2:
            del data[at : at + rng.randint(1, 5)]
        elif kind == 3:
            data[at:at] = rng.randbytes(rng.randint(1, 5))
        elif kind == 4:
            data += data[at:]
        else:
            del data[at:]
    return bytes(data) or b"\xff"


def test_a_hundred_thousand_malformed_streams_over_the_live_link_stop_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(collector.agent, "BACK_OFF_S", (0.0, 0.0))
    streams, connections, rng = 100_000, 1_250, random.Random(37)
    text = b"\x00\x04cell"
    seeds = [
        packet(0x30, text + b'\x00{"n": 1}'),
        packet(0x32, text + b'\x00\x07\x00{"n": 2}'),
        packet(0x3B, text + b"\x00\x08\x02\x0b\x01{}"),
        packet(0x32, b"\x00\x05plain\x00\x09\x00" + b"5"),
        packet(0x90, b"\x00\x01\x00\x01\x01"),
        b"\xd0\x00",
        packet(0x20, b"\x00\x00\x00"),
        packet(0xE0, b"\x8e\x00"),
    ]
    sent = Counter()

    async def run():
        per = streams // connections
        writers = set()

        async def serve(reader, writer):
            writers.add(writer)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await reader.readexactly(2)
                await reader.read(1000)
                sent["connections"] += 1
                head = b"\x20\x03\x00\x00\x00" if sent["connections"] % 3 else b""  # also before the CONNACK
                if sent["connections"] > connections:  # and then it behaves
                    writer.write(b"\x20\x03\x00\x00\x00")
                    await reader.read(1000)
                    writer.write(packet(0x90, b"\x00\x01\x00\x01\x01"))
                    writer.write(packet(0x30, b"\x00\x05plain\x00" + b"77"))
                    await reader.read()
                    return
                if head and sent["connections"] % 3 == 1:  # a link that lives and has its subscriptions
                    writer.write(head)
                    await reader.read(1000)
                    head = packet(0x90, b"\x00\x01\x00\x01\x01")
                writer.write(head)
                for _ in range(per):
                    writer.write(mutated(rng, seeds))
                    sent["streams"] += 1
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        plant = plant_of(tmp_path, f"mqtt://127.0.0.1:{port}?version=5", [*NUMBERED], timeout="300ms")
        async with running(plant, connected=False) as agent:
            before = None
            while sent["connections"] < connections:
                await asyncio.sleep(0.1)
                if before is None and sent["connections"] > 200:
                    gc.collect()
                    before = resident(), descriptors()
            await up(agent)
            await until(lambda: 77 in values(lake_of(plant), "plain"))
            gc.collect()
            after = resident(), descriptors()
        await listening.close(server)
        for writer in writers:
            writer.close()
        await asyncio.gather(*(w.wait_closed() for w in writers), return_exceptions=True)
        print(f"row 37: {sent}, memory {before[0]} -> {after[0]} MiB, descriptors {before[1]} -> {after[1]}")
        assert sent["streams"] >= streams - per
        assert ledger(plant, "connector fault") == []
        assert after[0] - before[0] < 30
        assert abs(after[1] - before[1]) <= 5

    within(110, run)


def resident():
    """Memory of this process [MiB]."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024


FORMATS = {
    "j": ("j#/n", b'{"n": 1.5, "ts": 1795242600123, "q": "good"}'),
    "deep": ("deep#/a/*/n", b'{"a": [{"n": 1, "ts": "2026-11-21T10:00:00Z"}, {"n": 2}]}'),
    "c": ("c#csv:2", b"a,1.5,b\nc,2.5,d\n"),
    "i": ("i#influx:press,line=l1 temperature", b"press,line=l1 temperature=21.5,n=3i 1795242600123456789\n"),
    "s": ("s", b"12.5"),
    "n": ("n", b"-7"),
}


def spoilt(rng, payload):
    """A payload with faults; a few stay as they are."""
    data = bytearray(payload)
    for _ in range(rng.randint(0, 4)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 1:
            del data[at : at + rng.randint(1, 8)]
        elif kind == 2:
            data[at:at] = rng.choice(
                (b"{", b"[", b'"', b",", b"\x00", b"\xff", b"1e999", b"NaN", b"\\ud800", b"-", b"=")
            )
        elif kind == 3:
            data = data[:at]
        elif kind == 4:
            data = (data + data)[:1000]
        else:
            data[at:at] = str(rng.choice((2**63, 2**64, -(2**70), 10**400, 1e-320, 2**53 + 1))).encode()
    return bytes(data)


def test_of_a_hundred_thousand_malformed_payloads_every_one_is_accounted_for(tmp_path, acknowledged, monkeypatch):
    count, rng = 100_000, random.Random(370)
    fates, rows = Counter(), Counter()
    told = Inbox.take

    def watched(inbox, message, burst):
        before = len(burst.rows) + len(burst.historic), len(burst.refused)
        unread = inbox.faults["no point reads its topic"]
        told(inbox, message, burst)
        new = len(burst.rows) + len(burst.historic) - before[0], len(burst.refused) - before[1]
        rows["rows"] += new[0]
        was_unread = inbox.faults["no point reads its topic"] > unread
        # A message of Sparkplug may bear only a sequence number, or metrics that no point is.
        fate = "session" if message.topic.startswith(b"spBv1.0/") else "without points"
        fates["put aside" if new[1] else "rows" if new[0] else "unread" if was_unread else fate] += 1

    monkeypatch.setattr(Inbox, "take", watched)
    spark = bytes.fromhex("0880b8a8b0f3331216") + b"\n\x05Speed\x18\x80\xb8\xa8\xb0\xf33 \n" + bytes(8) + b"\x18\x00"

    def spoken():
        name = rng.choice([*FORMATS, "spark", "nobody"])
        if name == "spark":
            kind = rng.choice(("NBIRTH", "NDATA", "NDEATH", "DBIRTH/D", "DDATA/D"))
            verb, _, device = kind.partition("/")
            return f"spBv1.0/G/{verb}/N" + ("/" + device if device else ""), spoilt(rng, spark)
        return (name, b"x") if name == "nobody" else (name, spoilt(rng, FORMATS[name][1]))

    async def run():
        async with scripted() as peer:
            await beside(peer)

    async def beside(peer):
        table = [point(name, address, type="float64" if name == "n" else "") for name, (address, _) in FORMATS.items()]
        table.append(point("spark", "spBv1.0/G/N#Speed", store="change"))
        topics = (Topic(topic="j", quality="/q", missing="bad"), Topic(topic="+"))
        plant = plant_of(tmp_path, peer.url, table, topic=topics)
        async with running(plant, connected=False) as agent:
            await up(agent)
            memory = []
            for n in range(0, count, 250):
                peer.send_messages([spoken() for _ in range(250)])
                await peer.until_acknowledged(n - 500)  # a broker keeps to the receive maximum, 1000
                if n % 20_000 == 10_000:
                    gc.collect()
                    memory.append(resident())
            await until(lambda: fates.total() >= count, 60)
            connector = agent._links["q"][0]
            await until(lambda: connector._link.unacknowledged == 0)
            figures = connector.figures()
            assert link(agent).connects == 1
            gc.collect()
            memory.append(resident())
        print(f"row 37: {fates}, {rows}, memory [MiB] {memory}")
        assert fates.total() == figures["messages"] == count
        assert figures["unread_messages"] == fates["unread"]
        assert figures["without_points"] == fates["without points"]
        assert fates["session"] < 1000
        assert len(quarantined(plant)) + sum(e["messages"] for e in ledger(plant, "dropped")) == fates["put aside"]
        assert ledger(plant, "connector fault") == []
        assert max(memory) - memory[0] < 64
        lake = lake_of(plant)
        assert sum(frame.height for frame in acknowledged) == lake.height
        for name in ("s", "n"):  # no times of their own: a row for each message that is one
            assert lake.filter(pl.col("point") == name).height > 10_000

    within(115, run)


# --- memory ---


SETTINGS = """version = 1
[plant]
id = "works"
[[source]]
id = "q"
kind = "mqtt"
url = "{url}"
client_id = "gw"
[[sink]]
kind = "parquet"
every = "200ms"
"""
ROOM_MIB = 64


class Process:
    """The agent as a process of its own, whose memory can be looked at."""

    def __init__(self, folder, url, points):
        self.folder = folder
        folder.mkdir()
        (folder / "plant.toml").write_text(SETTINGS.format(url=url))
        (folder / "assets.csv").write_text("asset\nm\n")
        rows = [f"{name},m,measure,q,{address},{kind},all" for name, address, kind in points]
        (folder / "points.csv").write_text("point,asset,role,source,address,type,store\n" + "\n".join(rows) + "\n")

    async def __aenter__(self):
        log = (self.folder / "agent.log").open("ab")
        command = [sys.executable, "-m", "plantproof", "run", str(self.folder), "--json"]
        self.process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        log.close()
        await until(lambda: self.source().get("state") == "connected")
        return self

    async def __aexit__(self, kind, error, trace):
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await self.process.wait() == 0

    def source(self):
        try:
            return json.loads((self.folder / "var/spool/status.json").read_bytes())["sources"]["q"]
        except (FileNotFoundError, json.JSONDecodeError, KeyError):
            return {}

    def _memory(self, key):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{key}:\s+(\d+)", text)[1]) / 1024

    def begin(self):
        """Forget the peak; from here it is measured."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        self.before = self._memory("VmRSS")

    def grown(self):
        """How far the peak lay above where it began [MiB]."""
        return self._memory("VmHWM") - self.before

    def lake(self):
        """The lake without its texts, which may be many megabytes."""
        return lake_in(self.folder / "var/lake", ["point", "ts", "ts_recv", "value", "status"])


@pytest.mark.service
def test_a_message_of_256_megabytes_is_put_aside_within_64_and_the_others_flow_on(tmp_path, broker):
    async def run():
        points = [("timed", "cell#/n", ""), ("plain", "plain", ""), ("big", "big", "string")]
        async with Process(tmp_path / "plant", f"{broker.url}?version=3.1.1", points) as agent:
            async with Press(broker.port) as press:
                await press.say("plain", 0)
                await until(lambda: values(agent.lake(), "plain") == [0])
                agent.begin()
                async with Numbers(broker.port, every=0.02) as numbers:
                    size = 268_435_455 - len("big") - 4
                    told = press.client.publish("big", b"x" * size, qos=1)
                    await asyncio.to_thread(told.wait_for_publish, 60)
                    folder = tmp_path / "plant/var/spool/quarantine"
                    await until(lambda: list(read_quarantine(folder)), 60)
                    grown = agent.grown()
                await until(lambda: numbers.sent in values(agent.lake(), "plain"))
            print(f"row 21: {size} B put aside, the peak grew by {grown:.1f} MiB")
            (one,) = read_quarantine(folder)
            assert (one["topic"], one["size"]) == ("big", size + 7)
            assert grown < ROOM_MIB
            assert agent.source()["connects"] == 1
            assert sorted(set(values(agent.lake(), "timed"))) == list(range(1, numbers.sent + 1))
        (tmp_path / "broker" / "mosquitto.db").unlink(missing_ok=True)

    within(110, run)


FLOODS = {
    "numbers, QoS 0": ("plain", lambda n: b"%d" % n, 0, 200_000),
    "numbers, QoS 1": ("plain", lambda n: b"%d" % n, 1, 20_000),
    "long texts, QoS 0": ("text", lambda n: random.Random(n).randbytes(50_000).hex().encode(), 0, 1_000),
    "what does not fit, QoS 0": ("cell", lambda n: b"{%d" % n + b"x" * 100_000, 0, 2_000),
    "four megabytes, QoS 1": ("text", lambda n: b"%d" % n + b"x" * 4_000_000, 1, 60),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_takes_no_more_memory_than_64_megabytes_and_waits_in_the_broker(tmp_path, flood):
    topic, payload, qos, count = FLOODS[flood]

    async def run():
        async with scripted() as peer:
            points = [("timed", "cell#/n", ""), ("plain", "plain", ""), ("text", "text", "string")]
            async with Process(tmp_path / "plant", peer.url, points) as agent:
                some = [payload(n) for n in range(min(count, 2_000))]
                peer.send_messages([("plain", b"1"), ("text", b"1"), ("cell", b"{")])
                await peer.until_acknowledged(3)
                await until(lambda: agent.lake().height >= 3)
                agent.begin()
                began = time.monotonic()
                if qos == 0:
                    for n in range(0, count, 50):
                        peer.send(b"".join(peer._message(topic, some[i % len(some)], 0) for i in range(n, n + 50)))
                        await peer._writer.drain()
                else:
                    for n in range(count):  # as a broker does that keeps to the receive maximum, 1000
                        peer.send_messages([(topic, some[n % len(some)])])
                        await peer._writer.drain()
                        if n % 50 == 0:
                            await peer.until_acknowledged(n - 900)
                    await peer.until_acknowledged(3 + count)
                peer.send_messages([("plain", b"-5")])
                await peer.until_acknowledged(len(peer.acknowledged) + 1)
                took = time.monotonic() - began
                await until(lambda: -5 in values(agent.lake(), "plain"))
                grown = agent.grown()
                print(f"row 21, {flood}: {count / took:,.0f} messages/s, the peak grew by {grown:.1f} MiB")
                assert grown < (3 * ROOM_MIB if "four" in flood else ROOM_MIB)  # Parquet holds such a text many times
                assert agent.source()["connects"] == 1

    within(100, run)

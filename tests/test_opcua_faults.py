"""What networks, servers and clocks do to OPC UA: a real server behind a TCP proxy, the agent, its spool and lake.

Values are sequence numbers, so that the end compares sets: what the server said, what was acknowledged, what lies in
the lake, and what the gap rows cover.
"""

import asyncio
import contextlib
import datetime as dt
import gc
import itertools
import logging
import math
import random
import signal
import struct
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from asyncua import Server, ua
from asyncua.common.utils import Buffer
from asyncua.server.address_space import AttributeValue
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary, uatcp_to_binary
from hypothesis import given, settings
from hypothesis import strategies as st

import collector.agent
import connectors.opcua.audit
import connectors.opcua.connector
import connectors.opcua.session
import connectors.opcua.subscription
from collector.ledger import read_ledger
from config import status
from config.status import BAD_NO_COMMUNICATION, BAD_NODE_ID_UNKNOWN, BAD_SHUTDOWN, GOOD
from connectors import opcua
from connectors.base import SourceLost, SourceRefused
from connectors.opcua.messages import ServiceFault, history_response, publish_response, read_response
from connectors.opcua.values import OVERFLOW
from connectors.opcua.wire import NULL_NS, UNUSABLE_NS, Decoder, Malformed
from connectors.sim.opcua import Subscriptions
from tests.conftest import copied
from tests.proxy import Proxy, one_byte, torn
from tests.running import Asset, Point, Source, descriptors, lake_in, lake_of, plant_for, running, settle, until
from tests.servers import within

URI = "urn:plantproof:test"
T = ua.VariantType
LIMITS = ("MaxNodesPerRead", "MaxMonitoredItemsPerCall")


# --- the server ---


class Plc:
    """A server whose variables are `nsu=urn:plantproof:test;s=<name>`."""

    def __init__(self, variables, *, port=0, before=(), limit=None):
        logging.getLogger("asyncua.server").setLevel(logging.CRITICAL)
        self.variables, self.before, self.limit = dict(variables), before, limit
        self.port = port

    async def start(self):
        self.server = Server()
        self.server.iserver.min_session_timeout_ms = 500
        self.server.iserver.aspace.force_server_timestamp = False
        self.subscriptions = Subscriptions(self.server)
        self.server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        self.server.set_endpoint(f"opc.tcp://127.0.0.1:{self.port}")
        await self.server.init()
        for uri in (*self.before, URI):
            self.index = await self.server.register_namespace(uri)
        for name in LIMITS if self.limit else ():
            node = getattr(ua.ObjectIds, f"Server_ServerCapabilities_OperationLimits_{name}")
            await self.server.get_node(ua.NodeId(node)).write_value(ua.Variant(self.limit, T.UInt32))
        self.aspace = self.server.iserver.aspace
        for name, value in self.variables.items():
            self.add(name, value)
        await self.server.start()
        self.port = self.server.bserver.port

    async def stop(self):
        await self.server.stop()

    @property
    def url(self):
        return f"opc.tcp://127.0.0.1:{self.port}"

    def node(self, name):
        return ua.NodeId(name, self.index)

    def add(self, name, value):
        """Add a variable, or put one of another type in its place."""
        standing = self.aspace.get(self.node(name))
        if standing is not None:
            standing.attributes[ua.AttributeIds.Value].value = None
            return
        new = copied(self.node(name), self.aspace[ua.NodeId(ua.ObjectIds.Server_ServerStatus_State)])
        new.references = []
        new.attributes[ua.AttributeIds.Value] = AttributeValue(stamped(value))
        self.aspace[self.node(name)] = new

    def delete(self, name):
        node = self.aspace[self.node(name)]
        for handle in list(node.attributes[ua.AttributeIds.Value].datachange_callbacks):
            self.aspace.delete_datachange_callback(handle)
        del self.aspace[self.node(name)]

    async def write(self, name, value, **about):
        """Set a variable, with all that a DataValue has; returns the source time [ns]."""
        data = value if isinstance(value, ua.DataValue) else stamped(value, **about)
        attribute = self.aspace[self.node(name)].attributes[ua.AttributeIds.Value]
        attribute.value = data
        for handle, told in list(attribute.datachange_callbacks.items()):
            await told(handle, data)
        return None if data.SourceTimestamp is None else ns_of(data.SourceTimestamp)

    def sessions(self):
        return len(self.server.iserver._external_sessions)


def stamped(value, *, code=0, source=True, server=True):
    """A DataValue; True for a time means now."""
    now = dt.datetime.now(dt.UTC)
    variant = value if isinstance(value, ua.Variant) else ua.Variant(value)
    times = [now if one is True else one for one in (source, server)]
    return ua.DataValue(variant, ua.StatusCode(ua.UInt32(code)), SourceTimestamp=times[0], ServerTimestamp=times[1])


def ns_of(at):
    return (at - dt.datetime(1970, 1, 1, tzinfo=at.tzinfo)) // dt.timedelta(microseconds=1) * 1000


@contextlib.asynccontextmanager
async def plc(*, limit=None, **variables):
    """Run a server."""
    running_one = Plc(variables, limit=limit)
    await running_one.start()
    try:
        yield running_one
    finally:
        await running_one.stop()


# --- the agent ---


def source(url, **settings_):
    return Source(**{"id": "o", "kind": "opcua", "url": url, "security": "None", "period": "50ms", "timeout": "500ms"}
                  | settings_)  # fmt: skip


def point(name, mode="poll", **settings_):
    return Point(**{"point": name, "asset": "m", "source": "o", "mode": mode, "address": f"nsu={URI};s={name}"}
                 | settings_)  # fmt: skip


def plant_of(root, url, points, **settings_):
    return plant_for(root, [source(url, **settings_)], [Asset(asset="m")], points)


def link(agent):
    return agent.status.sources["o"]


async def flows(agent, patience=30.0):
    """Wait for good data that came after now; returns how long it took [s]."""
    began = time.monotonic()
    await until(lambda: (link(agent).last_data or 0) > began and link(agent).state == "connected", patience)
    return time.monotonic() - began


def good(lake, name):
    return (
        []
        if lake.is_empty()
        else lake.filter((pl.col("point") == name) & (pl.col("status") < status.BAD))["value"].to_list()
    )


def gaps(lake, name):
    """The times from each bad row to the next one that is not bad [ns]."""
    found, begin = [], None
    for ts, code in lake.filter(pl.col("point") == name).select(pl.col("ts").dt.epoch("ns"), "status").iter_rows():
        is_bad = code >= status.BAD
        if is_bad and begin is None:
            begin = ts
        elif not is_bad and begin is not None:
            found.append((begin, ts))
            begin = None
    return found + ([(begin, 2**63)] if begin is not None else [])


def unexplained(lake, name, sent):
    """What the server said after the first value that came, and neither lies in the lake nor in a gap (I3)."""
    seen, known = good(lake, name), gaps(lake, name)
    missing = {n for n in sent if n > seen[0]} - set(seen)
    return sorted(n for n in missing if not any(begin <= sent[n] <= end for begin, end in known))


def count_of(lake, name, code):
    return 0 if lake.is_empty() else lake.filter((pl.col("point") == name) & (pl.col("status") == code)).height


def ledger(plant, event):
    return [e for e in read_ledger(plant.root / "spool" / "ledger.jsonl") if e["event"] == event]


@contextlib.asynccontextmanager
async def counting(server, *names, every=0.01):
    """Write 1, 2, 3 ... into variables until the block ends; yields each number's source time [ns]."""
    sent = {}

    async def run():
        for number in itertools.count(1):
            for name in names:
                sent[float(number)] = await server.write(name, float(number))
            await asyncio.sleep(every)

    task = asyncio.create_task(run())
    try:
        yield sent
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# --- the network ---


def test_after_each_reset_data_is_back_within_five_seconds_and_what_is_missing_lies_in_a_gap(tmp_path, acknowledged):
    async def run():
        async with plc(a=0.0, b=0.0) as server, Proxy(server.port) as proxy:
            plant = plant_of(tmp_path, proxy.url, [point("a"), point("b", "subscribe")])
            async with running(plant) as agent, counting(server, "a", "b") as sent:
                for number in range(1, 4):
                    await flows(agent)
                    proxy.reset()
                    await until(lambda: link(agent).state == "lost")
                    assert await flows(agent) < 5.0
                    assert link(agent).connects == number + 1
                await until(lambda: len(good(lake_of(plant), "b")) > 10)
        lake = settle(plant, acknowledged)
        assert [count_of(lake, name, BAD_NO_COMMUNICATION) for name in "ab"] == [3, 3]
        assert unexplained(lake, "b", sent) == []

    within(30, run)


@pytest.mark.parametrize("mode", ["poll", "subscribe"])
def test_a_link_that_is_silent_is_noticed_within_two_timeouts_and_the_data_returns(tmp_path, acknowledged, mode):
    async def run():
        async with plc(a=0.0) as server, Proxy(server.port) as proxy:
            plant = plant_of(tmp_path, proxy.url, [point("a", mode)])
            async with running(plant) as agent, counting(server, "a") as sent:
                await flows(agent)
                await asyncio.sleep(0.5)  # as long as a keep-alive takes
                proxy.silent, began = True, time.monotonic()
                await until(lambda: link(agent).state == "lost")
                assert (
                    time.monotonic() - began <= 2 * 0.5 + 0.5
                )  # the half second is the machine's, which others use too
                assert not agent.status.report()["healthy"]
                proxy.silent = False
                assert await flows(agent) < 5.0
                await asyncio.sleep(0.2)
        lake = settle(plant, acknowledged)
        assert count_of(lake, "a", BAD_NO_COMMUNICATION) == 1
        if mode == "subscribe":
            assert unexplained(lake, "a", sent) == []

    within(30, run)


def test_answers_that_take_up_to_two_seconds_reconnect_nothing_and_the_values_flow(tmp_path, acknowledged):
    names = [f"v{n}" for n in range(1000)]

    async def run():
        async with plc(limit=100, s=0.0, **dict.fromkeys(names, 0.0)) as server, Proxy(server.port) as proxy:
            points = [point("s", "subscribe"), *(point(n, period="1s") for n in names)]
            plant = plant_of(tmp_path, proxy.url, points, timeout="4s")
            proxy.delay = (0.05, 0.3)
            async with running(plant) as agent:
                async with counting(server, "s", every=0.1) as sent:
                    proxy.delay, began = (0.15, 1.0), time.monotonic()
                    number = 0.0
                    while time.monotonic() - began < 9:
                        number += 1
                        for name in names:
                            await server.write(name, number)
                        await asyncio.sleep(1)
                await until(lambda: max(sent) in good(lake_of(plant), "s"))
                await until(lambda: number in good(lake_of(plant), "v999"), 15)
                assert link(agent).connects == 1
                assert not link(agent).faults
        lake = settle(plant, acknowledged)
        for name in names[::37]:
            assert len(set(good(lake, name))) >= 2
        assert unexplained(lake, "s", sent) == []
        assert len(good(lake, "s")) > 60

    within(60, run)


@pytest.mark.parametrize("way", ["one byte", "torn", "merged"])
def test_however_tcp_divides_the_messages_every_value_arrives(tmp_path, acknowledged, way):
    async def run():
        values = {f"v{n}": float(n) for n in range(50)}
        long = "".join(chr(0x4E00 + n % 999) for n in range(1500))
        async with plc(text=ua.Variant(long), **values) as server, Proxy(server.port) as proxy:
            proxy.cut = {"one byte": one_byte, "torn": torn(random.Random(5))}.get(way)
            proxy.merge = 0.05 if way == "merged" else 0.0
            names = [*values, "text"]
            points = [point(n) for n in names]
            points += [point(f"s{n}", "subscribe", address=f"nsu={URI};s={n}") for n in names]
            plant = plant_of(tmp_path, proxy.url, points, timeout="4s", period="200ms")
            async with running(plant) as agent:
                await until(lambda: link(agent).readings >= 8 and lake_of(plant).height >= len(points))
                assert link(agent).connects == 1
                assert link(agent).faults == 0
            if way == "one byte":
                assert proxy.segments > 20_000
        lake = settle(plant, acknowledged)
        for name, value in values.items():
            assert good(lake, name) == good(lake, f"s{name}") == [value]
        texts = lake.filter(pl.col("point").is_in(["text", "stext"]), pl.col("status") == GOOD)["text"].to_list()
        assert texts == [long, long]

    within(40, run)


def test_forty_resets_one_after_another_leave_no_descriptor_here_and_no_session_there(tmp_path, monkeypatch):
    monkeypatch.setattr(collector.agent, "BACK_OFF_S", (0.01, 0.05))
    monkeypatch.setattr(connectors.opcua.session, "SESSION_S", 1.0)

    async def run():
        async with plc(a=0.0, b=0.0) as server, Proxy(server.port) as proxy:
            plant = plant_of(tmp_path, proxy.url, [point("a"), point("b", "subscribe")])
            async with running(plant) as agent:
                await until(lambda: server.subscriptions.items() == 1)
                before = descriptors()
                most = 0
                for number in range(1, 41):
                    proxy.reset()
                    await until(lambda n=number: link(agent).connects > n and link(agent).readings)
                    most = max(most, server.sessions())
                await until(lambda: server.sessions() == 1 and server.subscriptions.items() == 1)
                await flows(agent)
                assert len(server.subscriptions.subscriptions) == 1
                await until(lambda: descriptors() <= before)
                assert most <= 41
                assert proxy.open == 1
                assert server.sessions() == 1

    within(60, run)


def test_an_attempt_that_fails_only_after_it_was_called_off_leaves_no_complaint_in_the_log():
    told, called = [], asyncio.Event()

    async def dropping(_url):  # as the library does: it takes the cancellation for a lost connection
        called.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise SourceLost("connection lost") from None

    async def stop():
        asyncio.get_running_loop().set_exception_handler(lambda _loop, about: told.append(about["message"]))
        source = Source(id="s", kind="opcua", url="opc.tcp://127.0.0.1:1", security="None")
        connector = opcua.Connector(source, [Point(point="a", asset="a", source="s", address="i=2258")])
        connector._open = dropping
        connecting = asyncio.create_task(connector.connect())
        await called.wait()
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        await connector.close()
        del connecting, connector
        gc.collect()

    within(20, stop)
    assert told == []


def test_two_hundred_connections_that_are_closed_leave_nothing_on_the_server():
    async def run():
        async with plc(a=0.0, b=0.0) as server:
            before = descriptors()
            for _ in range(200):
                connector = opcua.Connector(source(server.url), [point("a"), point("b", "subscribe")])
                await connector.connect()
                stream = connector.readings()
                seen = set()
                while seen != {0, 1}:
                    seen |= set((await anext(stream)).points.tolist())
                await connector.close()
            await until(lambda: not server.sessions())
            assert server.subscriptions.items() == 0
            assert not server.subscriptions.subscriptions
            await until(lambda: descriptors() <= before)

    within(60, run)


def test_the_second_url_serves_where_the_first_is_dead_and_the_other_takes_over_when_it_dies(tmp_path, acknowledged):
    async def run():
        async with plc(a=1.0) as one, plc(a=2.0) as two, Proxy(one.port) as first, Proxy(two.port) as second:
            await first.refuse()
            plant = plant_of(tmp_path, first.url, [point("a")], failover=(second.url,))
            async with running(plant) as agent:
                await until(lambda: 2.0 in good(lake_of(plant), "a"))
                await first.accept()
                await second.refuse()
                second.reset()
                await until(lambda: 1.0 in good(lake_of(plant), "a"))
                first.silent = True  # now the first is there, and never answers
                await second.accept()
                began = time.monotonic()
                await until(lambda: two.sessions() == 1, 15)
                await flows(agent)
                assert time.monotonic() - began < 10
        assert good(settle(plant, acknowledged), "a") == [2.0, 1.0, 2.0]

    within(40, run)


# --- the server ---


@pytest.mark.parametrize("before", [(), ("urn:other", "urn:more")], ids=["as it was", "namespaces moved"])
def test_a_server_that_restarts_is_collected_again_within_fifteen_seconds_with_one_gap(tmp_path, acknowledged, before):
    async def run():
        server = Plc({"a": 1.0, "b": 1.0})
        await server.start()
        again = Plc({"a": 2.0, "b": 2.0}, port=server.port, before=before)
        plant = plant_of(tmp_path, server.url, [point("a"), point("b", "subscribe")])
        async with running(plant) as agent:
            await until(lambda: server.subscriptions.items() == 1 and 1.0 in good(lake_of(plant), "b"))
            await server.stop()
            await until(lambda: link(agent).state == "lost")
            await asyncio.sleep(1)  # the outage
            await again.start()
            began = time.monotonic()
            await until(lambda: again.subscriptions.items() == 1 and 2.0 in good(lake_of(plant), "b"), 15)
            assert time.monotonic() - began < 15
            assert link(agent).connects == 2
            await again.write("b", 3.0)
            await until(lambda: 3.0 in good(lake_of(plant), "b"))
        await again.stop()
        lake = settle(plant, acknowledged)
        assert [good(lake, "a"), good(lake, "b")] == [[1.0, 2.0], [1.0, 2.0, 3.0]]
        assert [count_of(lake, name, BAD_NO_COMMUNICATION) for name in "ab"] == [1, 1]

    within(40, run)


@pytest.mark.parametrize("refused", ["subscription", "items"])
def test_what_the_server_refuses_to_publish_is_polled_told_and_recovers_alone(
    tmp_path, acknowledged, monkeypatch, refused
):
    monkeypatch.setattr(connectors.opcua.connector, "RETRY_S", 1.0)

    async def run():
        async with plc(a=0.0, b=0.0, c=0.0) as server, Proxy(server.port) as proxy:
            plant = plant_of(tmp_path, proxy.url, [point(n, "subscribe") for n in "abc"])
            async with running(plant) as agent:
                await until(lambda: server.subscriptions.items() == 3)
                server.subscriptions.refuse = int(refused == "subscription")
                server.subscriptions.refuse_items = 2 * int(refused == "items")
                proxy.reset()
                await until(lambda: link(agent).connects == 2)
                await until(lambda: "BadTooMany" in "".join(link(agent).warnings))
                await server.write("a", 1.0)
                await until(lambda: 1.0 in good(lake_of(plant), "a"), 5)  # by a poll
                await until(lambda: not link(agent).warnings)
                items = server.subscriptions.subscriptions
                await until(lambda: sum(len(s.monitored_item_srv._monitored_items) for s in items.values()) >= 3)
                burst = [float(n) for n in range(2, 102)]
                for number in burst:  # faster than any poll
                    await server.write("a", number)
                await until(lambda: 101.0 in good(lake_of(plant), "a"))
                assert link(agent).connects == 2
        assert set(burst) <= set(good(settle(plant, acknowledged), "a"))

    within(40, run)


@pytest.mark.parametrize("server_does", ["has it", "refuses", "sends an empty one"])
def test_a_notification_that_got_lost_is_fetched_again_or_leaves_a_gap(tmp_path, acknowledged, server_does):
    async def run():
        async with plc(a=0.0, b=0.0) as server:
            subscriptions = server.subscriptions
            subscriptions.keeps, subscriptions.says_so = server_does == "has it", server_does == "refuses"
            plant = plant_of(tmp_path, server.url, [point("a", "subscribe"), point("b", "subscribe")], timeout="4s")
            sent = {0.0: 0}
            async with running(plant) as agent:
                await until(lambda: good(lake_of(plant), "a") and good(lake_of(plant), "b"))
                for number in (1.0, 2.0, 3.0):
                    subscriptions.lose = int(number == 2.0)
                    sent[number] = await server.write("a", number)
                    await until(lambda n=number: len(subscriptions.lost) == 1 or n in good(lake_of(plant), "a"))
                await until(lambda: 3.0 in good(lake_of(plant), "a"))
                await asyncio.sleep(0.2)
                assert link(agent).connects == 1
                found = agent.sources and dict(agent._links["o"][0].faults)
        lake = settle(plant, acknowledged)
        assert unexplained(lake, "a", sent) == []
        if server_does == "has it":
            assert good(lake, "a") == [0.0, 1.0, 2.0, 3.0]
            assert count_of(lake, "a", BAD_NO_COMMUNICATION) == 0
            assert not found
        else:
            assert set(good(lake, "a")) == {0.0, 1.0, 3.0}
            assert [count_of(lake, n, BAD_NO_COMMUNICATION) for n in "ab"] == [1, 1]
            assert good(lake, "b") == [0.0, 0.0]  # read anew
            assert found == {"a notification was lost": 1}
            assert [e["count"] for e in ledger(plant, "not stored")] == [1]

    within(30, run)


def test_a_queue_that_overflowed_is_told_in_rows_status_and_ledger(tmp_path, acknowledged):
    async def run():
        async with plc(a=0.0) as server:
            plant = plant_of(tmp_path, server.url, [point("a", "subscribe", queue=5)], period="200ms")
            async with running(plant) as agent:
                await until(lambda: good(lake_of(plant), "a"))
                sent = {}
                for number in range(1, 51):
                    sent[float(number)] = await server.write("a", float(number))
                await until(lambda: 50.0 in good(lake_of(plant), "a"))
                await until(lambda: link(agent).faults == 1)
        lake = settle(plant, acknowledged)
        rows = lake.filter(pl.col("status") != BAD_SHUTDOWN).select("value", "status").rows()
        lost = 0x809D_0000  # BadDataLost
        assert rows == [(0.0, 0), (None, lost), (46.0, OVERFLOW), (47.0, 0), (48.0, 0), (49.0, 0), (50.0, 0)]
        assert unexplained(lake, "a", sent) == []
        assert [e["reason"] for e in ledger(plant, "not stored")] == ["a queue on the server overflowed"]

    within(20, run)


@pytest.fixture
def watchful(monkeypatch):
    monkeypatch.setattr(connectors.opcua.audit, "AUDIT_S", 0.3)
    monkeypatch.setattr(connectors.opcua.audit, "PATIENCE_S", 0.1)
    monkeypatch.setattr(connectors.opcua.connector, "RETRY_S", 0.3)


@pytest.mark.usefixtures("watchful")
def test_a_node_that_vanishes_and_returns_changes_nothing_for_the_others(tmp_path, acknowledged):
    async def run():
        async with plc(a=1.0, b=1.0, stays=0.0, stays2=0.0) as server:
            points = [point("a"), point("b", "subscribe"), point("stays"), point("stays2", "subscribe")]
            plant = plant_of(tmp_path, server.url, points, timeout="4s")
            async with running(plant) as agent, counting(server, "stays", "stays2") as sent:
                await until(lambda: good(lake_of(plant), "a") and good(lake_of(plant), "b"))
                server.delete("a")
                server.delete("b")
                await until(lambda: [count_of(lake_of(plant), n, BAD_NODE_ID_UNKNOWN) for n in "ab"] == [1, 1])
                await until(lambda: link(agent).coverage.get("fresh") == 2)
                server.add("a", 2.0)
                server.add("b", 2.0)
                await until(lambda: [good(lake_of(plant), n)[-1] for n in "ab"] == [2.0, 2.0])
                assert link(agent).connects == 1
        lake = settle(plant, acknowledged)
        assert [good(lake, n) for n in "ab"] == [[1.0, 2.0]] * 2
        last = max(good(lake, "stays2"))
        assert set(good(lake, "stays2")) - {0.0} == {n for n in sent if n <= last}
        assert all(not (status.BAD <= code != BAD_SHUTDOWN) for code in
                   lake.filter(pl.col("point").str.starts_with("stays"))["status"])  # fmt: skip

    within(30, run)


@pytest.mark.usefixtures("watchful")
@pytest.mark.parametrize("mode", ["poll", "subscribe"])
def test_a_node_whose_type_changes_is_a_text_then_bad_then_a_number_again(tmp_path, acknowledged, mode):
    async def run():
        async with plc(a=1.0, stays=0.0) as server:
            plant = plant_of(tmp_path, server.url, [point("a", mode), point("stays", mode)], timeout="4s")
            async with running(plant) as agent, counting(server, "stays") as sent:
                await until(lambda: good(lake_of(plant), "a"))
                for value in ("running", [1.0, 2.0], 3.0):
                    rows = lake_of(plant).filter(pl.col("point") == "a").height
                    await server.write("a", value)
                    await until(lambda n=rows: lake_of(plant).filter(pl.col("point") == "a").height > n)
                assert link(agent).connects == 1
        lake = settle(plant, acknowledged)
        rows = lake.filter(pl.col("point") == "a").select("value", "text", "status").rows()
        assert rows == [
            (1.0, None, GOOD), (None, "running", GOOD), (None, None, status.BAD_NOT_SUPPORTED), (3.0, None, GOOD),
            (None, None, BAD_SHUTDOWN),
        ]  # fmt: skip
        if mode == "subscribe":
            assert unexplained(lake, "stays", sent) in ([], [max(sent)])

    within(30, run)


def many(count):
    return {f"v{n}": float(n) for n in range(count)}


def test_a_server_of_ten_thousand_nodes_and_limits_of_a_hundred_is_read_completely():
    async def run():
        async with plc(limit=100, **many(10_000)) as server:
            for mode in ("poll", "subscribe"):
                table = [point(name, mode) for name in many(10_000)]
                connector = opcua.Connector(source(server.url, timeout="20s", period="1s"), table)
                await connector.connect()
                found = np.full(len(table), np.nan)
                async for readings in connector.readings():
                    found[readings.points] = readings.value
                    assert len(readings.points) <= (100 if mode == "poll" else 10_000)
                    if not np.isnan(found).any():
                        break
                await connector.close()
                assert found.tolist() == list(range(10_000))

    within(60, run)


@pytest.mark.parametrize("mode", ["poll", "subscribe"])
def test_one_unknown_node_among_a_thousand_disturbs_no_other(mode):
    async def run():
        async with plc(**many(999)) as server:
            names = [*many(500), "unknown", *list(many(999))[500:]]
            connector = opcua.Connector(source(server.url, timeout="4s"), [point(n, mode) for n in names])
            await connector.connect()
            codes = np.full(1000, 1, np.uint32)
            async for readings in connector.readings():
                codes[readings.points] = readings.status
                if 1 not in codes:
                    break
            await connector.close()
            assert np.flatnonzero(codes).tolist() == [500]
            assert codes[500] == BAD_NODE_ID_UNKNOWN

    within(30, run)


# --- values and clocks ---


NAN_BITS = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0000))[0]
AT = dt.datetime(2026, 11, 21, 6, 30, 0, 123456, tzinfo=dt.UTC)
BROKEN, REPLACED = b"no UTF-8: ?????", b"no UTF-8: \xff\xc3\x28\xe2\x82"
EXOTIC = {
    "bad": ((ua.Variant(None, T.Null), 0x808B_0000), (None, None)),
    "bad with a value": ((ua.Variant(1.0), 0x808B_0000), (1.0, None)),
    "uncertain": ((ua.Variant(1.5), 0x4090_0000), (1.5, None)),
    "clamped": ((ua.Variant(99.0), 0x0030_0000), (99.0, None)),
    "low": ((ua.Variant(2.5), 0x4094_0100), (2.5, None)),  # UncertainEngineeringUnitsExceeded, limited low
    "nan": ((ua.Variant(NAN_BITS), 0), (math.nan, None)),
    "inf": ((ua.Variant(math.inf), 0), (math.inf, None)),
    "minus inf": ((ua.Variant(-math.inf), 0), (-math.inf, None)),
    "null": ((ua.Variant(None, T.Null), 0), (None, None)),
    "minus zero": ((ua.Variant(-0.0), 0), (-0.0, None)),
    "tiny": ((ua.Variant(5e-324), 0), (5e-324, None)),
    "2^53": ((ua.Variant(2**53, T.Int64), 0), (2.0**53, None)),
    "2^53+1": ((ua.Variant(2**53 + 1, T.Int64), 0), (None, "9007199254740993")),
    "least": ((ua.Variant(-(2**63), T.Int64), 0), (None, "-9223372036854775808")),
    "most": ((ua.Variant(2**64 - 1, T.UInt64), 0), (None, "18446744073709551615")),
    "true": ((ua.Variant(True), 0), (1.0, None)),
    "empty": ((ua.Variant("", T.String), 0), (None, "")),
    "no text": ((ua.Variant(None, T.String), 0), (None, None)),
    "long": ((ua.Variant("x" * 100_000, T.String), 0), (None, "x" * 100_000)),
    "emoji": ((ua.Variant("压力 🏭\n=cmd", T.String), 0), (None, "压力 🏭\n=cmd")),
    "broken": ((ua.Variant(BROKEN.decode(), T.String), 0), (None, "no UTF-8: \\xff\\xc3(\\xe2\\x82")),
    "time": ((ua.Variant(AT, T.DateTime), 0), (None, "2026-11-21T06:30:00.123456Z")),
    "localized": ((ua.Variant(ua.LocalizedText("läuft", "de"), T.LocalizedText), 0), (None, "läuft")),
}


def bits(value):
    return None if value is None else struct.pack("<d", value)


def test_every_exotic_value_lies_in_the_lake_as_the_server_said_it(tmp_path, acknowledged):
    async def run():
        async with plc(**dict.fromkeys(EXOTIC, 0.0)) as server, Proxy(server.port) as proxy:
            proxy.change = lambda chunk: [chunk.replace(BROKEN, REPLACED)]
            for name, ((variant, code), _) in EXOTIC.items():
                await server.write(name, ua.DataValue(variant, ua.StatusCode(ua.UInt32(code)), SourceTimestamp=AT))
            points = [point(f"{mode}{n}", mode, address=f"nsu={URI};s={name}")
                      for mode in ("poll", "subscribe") for n, name in enumerate(EXOTIC)]  # fmt: skip
            plant = plant_of(tmp_path, proxy.url, points, timeout="4s")
            async with running(plant) as agent:
                await until(lambda: lake_of(plant).height and lake_of(plant)["point"].n_unique() == len(points))
                seen = link(agent).readings
                await until(lambda: link(agent).readings > seen + 5)
                assert link(agent).connects == 1
        lake = settle(plant, acknowledged).filter(pl.col("status") != BAD_SHUTDOWN)
        for n, (name, ((_, code), (value, text))) in enumerate(EXOTIC.items()):
            for mode in ("poll", "subscribe"):
                rows = lake.filter(pl.col("point") == f"{mode}{n}").select("value", "text", "status").rows()
                found = [(bits(v), t, c) for v, t, c in rows]
                assert found == [(bits(value), text, code)], f"{name} by {mode}"

    within(30, run)


HOUR = dt.timedelta(hours=1)
CLOCKS = {
    "ahead": lambda now: now + HOUR,
    "behind": lambda now: now - HOUR,
    "1601": lambda now: dt.datetime(1601, 1, 1, tzinfo=dt.UTC),
    "9999": lambda now: dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC),
    "1970": lambda now: dt.datetime(1970, 1, 1, tzinfo=dt.UTC),
    "2000": lambda now: dt.datetime(2000, 1, 1, tzinfo=dt.UTC),
    "none": lambda now: None,
}
UNUSABLE = "{} time is 1601, 9999 or another that is none; the next best time is taken"
UNSET = "{} time is before 2001: the clock was never set"
FUTURE = "{} time lies in the future"


@pytest.mark.parametrize("timestamp", ["source", "server", "receive"])
@pytest.mark.parametrize("mode", ["poll", "subscribe"])
def test_a_clock_that_errs_is_kept_beside_ours_and_flagged(tmp_path, acknowledged, timestamp, mode):
    skew = "the server's clock is ahead by more than a minute"

    async def run():
        async with plc(news=0.0, **dict.fromkeys(CLOCKS, 0.0)) as server:
            now = dt.datetime.now(dt.UTC)
            said = {name: clock(now) for name, clock in CLOCKS.items()}
            ahead = now + 2 * HOUR  # the server's own clock
            for name, at in said.items():
                await server.write(name, 1.0, source=at, server=ahead)
            await server.write("news", 1.0, server=ahead)
            points = [point(n, mode) for n in (*CLOCKS, "news")]
            plant = plant_of(tmp_path, server.url, points, timestamp=timestamp)
            async with running(plant) as agent:
                await until(lambda: lake_of(plant).height >= len(points))
                # A server's clock shows in what has just changed.
                await server.write("news", 2.0, server=ahead + dt.timedelta(seconds=1))
                await until(lambda: good(lake_of(plant), "news") == [1.0, 2.0])
                await until(lambda: link(agent).warnings and skew in link(agent).flags)
                found, warnings = dict(link(agent).flags), list(link(agent).warnings)
        lake = settle(plant, acknowledged).filter(pl.col("status") == GOOD, pl.col("point") != "news")
        assert lake["value"].to_list() == [1.0] * len(CLOCKS)
        stamps = dict(lake.select("point", pl.col("ts").dt.epoch("ns")).iter_rows())
        received = dict(lake.select("point", pl.col("ts_recv").dt.epoch("ns")).iter_rows())
        assert all(0 <= ts - ns_of(now) < 30e9 for ts in received.values())
        if timestamp == "source":
            usable = {n: at if n in ("ahead", "behind", "1970", "2000") else ahead for n, at in said.items()}
            assert stamps == {n: ns_of(at) for n, at in usable.items()}
            flags = {UNUSABLE: 2, UNSET: 2, FUTURE: 1}
            assert found == {skew: 1} | {words.format("source"): n for words, n in flags.items()}
        elif timestamp == "server":
            assert stamps == dict.fromkeys(CLOCKS, ns_of(ahead))
            assert found == {skew: 1, FUTURE.format("server"): len(points)}
        else:
            assert stamps == received
            assert found == {skew: 1}
        assert len([w for w in warnings if w.startswith("the server's clock is 7") and w.endswith("s ahead")]) == 1
        assert {e["reason"]: e["count"] for e in ledger(plant, "in doubt")} == found

    within(20, run)


# --- the machine ---


PLANT = """version = 1
[plant]
id = "works"
[[source]]
id = "o"
kind = "opcua"
url = "{url}"
security = "None"
period = "50ms"
[spool]
commit = "20ms"
[[sink]]
kind = "parquet"
every = "100ms"
"""


def write_plant(folder, url):
    folder.mkdir()
    (folder / "plant.toml").write_text(PLANT.format(url=url))
    (folder / "assets.csv").write_text("asset\nm\n")
    (folder / "points.csv").write_text(
        f"point,asset,role,source,address,mode\na,m,measure,o,nsu={URI};s=a,poll\nb,m,measure,o,nsu={URI};s=b,subscribe\n"
    )


def lake_below(folder):
    return lake_in(folder / "var/lake")  # which the agent may merge meanwhile


def test_an_agent_that_was_stopped_for_seven_seconds_goes_on_with_a_gap_from_where_it_stopped(tmp_path):
    folder = tmp_path / "plant"

    async def run():
        async with plc(a=0.0, b=0.0) as server:
            write_plant(folder, server.url)
            async with counting(server, "a", "b", every=0.05) as sent:
                with (tmp_path / "agent.log").open("ab") as log:
                    agent = await asyncio.create_subprocess_exec(
                        sys.executable, "-m", "plantproof", "run", str(folder), "--json", stdout=log, stderr=log
                    )
                try:
                    await until(lambda: len(good(lake_below(folder), "b")) > 10)
                    agent.send_signal(signal.SIGSTOP)
                    stopped = time.time_ns()
                    await asyncio.sleep(6.5)  # STALL_S is 5 s
                    agent.send_signal(signal.SIGCONT)
                    went_on = time.time_ns()
                    late = max(sent)
                    await until(lambda: max(good(lake_below(folder), "b")) > late + 10, 15)
                    print(f"data again {(time.time_ns() - went_on) / 1e9:.1f} s after SIGCONT")
                finally:
                    agent.send_signal(signal.SIGCONT)
                    agent.send_signal(signal.SIGTERM)
                    assert await agent.wait() == 0
        lake = lake_below(folder)
        for name in "ab":
            begin, end = next((b, e) for b, e in gaps(lake, name) if e > went_on)
            assert abs(begin - stopped) < 1.5e9  # the pulse is 0.5 s
            assert end - went_on < 5e9
        assert unexplained(lake, "b", sent) == []
        entries = list(read_ledger(folder / "var/spool/ledger.jsonl"))
        assert [e["event"] for e in entries if e["event"] == "agent stood still"] == ["agent stood still"]

    within(60, run)


STARVED = """
import asyncio, json, os, resource, sys
from pathlib import Path
from tests.test_opcua_faults import flows, good, lake_of, link, plant_of, point, running, until

async def run(url, root):
    plant = plant_of(root, url, [point("a"), point("b", "subscribe")])
    async with running(plant) as agent:
        await until(lambda: good(lake_of(plant), "b"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        hoard = []

        def starved():
            try:
                while True:
                    hoard.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                return "Too many open files" in link(agent).error

        starved()
        print("none left", flush=True)
        await until(starved)  # takes the descriptor of the connection that is cut as well
        for one in hoard:
            os.close(one)
        await flows(agent)
        await until(lambda: agent.status.report()["healthy"])
        print(link(agent).connects)

asyncio.run(run(sys.argv[1], Path(sys.argv[2])))
"""


def test_an_agent_without_a_descriptor_left_connects_again_when_there_is_one(tmp_path):
    async def run():
        async with plc(a=1.0, b=1.0) as server, Proxy(server.port) as proxy:
            with (tmp_path / "agent.log").open("wb") as log:
                agent = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", STARVED, proxy.url, str(tmp_path), stdout=asyncio.subprocess.PIPE, stderr=log
                )
            assert await agent.stdout.readline() == b"none left\n", (tmp_path / "agent.log").read_text()
            proxy.reset()
            out, _ = await agent.communicate()
        assert agent.returncode == 0, (tmp_path / "agent.log").read_text()
        assert int(out) == 2

    within(40, run)


# --- malformed messages ---


CASES = 100_002
SECONDS = 60.0
MEMORY = 16 * 2**20
"""What the decoders may take beyond the messages themselves [B]."""
LIBRARY = (ua.UaError, ValueError, OverflowError, struct.error, TypeError, AttributeError, LookupError)
"""What the library raises for a message that it cannot read."""


def data_values():
    return [
        ua.DataValue(ua.Variant(1.5), ua.StatusCode(0), SourceTimestamp=AT, ServerTimestamp=AT),
        ua.DataValue(ua.Variant(7, T.Int32), ua.StatusCode(ua.UInt32(0x4090_0000)), SourceTimestamp=AT),
        ua.DataValue(ua.Variant("压力", T.String), ua.StatusCode(0), SourceTimestamp=AT),
        ua.DataValue(ua.Variant([1.0, 2.0], T.Double), ua.StatusCode(0)),
        ua.DataValue(ua.Variant(2**64 - 1, T.UInt64), ua.StatusCode(0), ServerTimestamp=AT),
        ua.DataValue(ua.Variant(ua.LocalizedText("läuft", "de")), ua.StatusCode(0)),
    ]


def read_answer():
    answer = ua.ReadResponse(Results=data_values())
    answer.ResponseHeader.Timestamp = AT
    return struct_to_binary(answer)


def publish_answer():
    answer = ua.PublishResponse()
    answer.ResponseHeader.Timestamp = AT
    items = [ua.MonitoredItemNotification(ClientHandle=n, Value=v) for n, v in enumerate(data_values())]
    answer.Parameters.SubscriptionId = 78
    answer.Parameters.AvailableSequenceNumbers = [1, 2]
    answer.Parameters.NotificationMessage.SequenceNumber = 2
    answer.Parameters.NotificationMessage.PublishTime = AT
    answer.Parameters.NotificationMessage.NotificationData = [ua.DataChangeNotification(MonitoredItems=items)]
    answer.Parameters.Results = [ua.StatusCode(0)]
    return struct_to_binary(answer)


def history_answer():
    answer = ua.HistoryReadResponse()
    answer.ResponseHeader.Timestamp = AT
    data = ua.HistoryData(DataValues=data_values()[:3])
    answer.Results = [ua.HistoryReadResult(HistoryData=data, ContinuationPoint=b"more"), ua.HistoryReadResult()]
    return struct_to_binary(answer)


def runs_of_read(body, decoder):
    return [read_response(body, decoder, 6)[0]]


def runs_of_publish(body, decoder):
    return [columns for _, columns in publish_response(body, {78: decoder}).changes]


def runs_of_history(body, _):
    return [one.columns for one in history_response(body, 2) if one.columns is not None]


def read_by_library(body):
    return [struct_from_binary(ua.ReadResponse, Buffer(body)).Results]


def published_by_library(body):
    message = struct_from_binary(ua.PublishResponse, Buffer(body)).Parameters.NotificationMessage
    parts = [part for part in message.NotificationData if isinstance(part, ua.DataChangeNotification)]
    return [[item.Value for item in part.MonitoredItems] for part in parts]


def kept_by_library(body):
    results = struct_from_binary(ua.HistoryReadResponse, Buffer(body)).Results
    return [one.HistoryData.DataValues for one in results if isinstance(one.HistoryData, ua.HistoryData)]


ANSWERS = {
    "read": (read_answer, runs_of_read, read_by_library),
    "publish": (publish_answer, runs_of_publish, published_by_library),
    "history": (history_answer, runs_of_history, kept_by_library),
}
NASTY = (
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x80",
    b"\x00\x00\x00\x00",
    b"\x18\x18\x18\x18",
    b"\x80\x40",
)


def mutated(body, rng):
    """A body with bytes altered, cut out, doubled or put in."""
    out = bytearray(body)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(out) or 1)
        kind = rng.randrange(6)
        if kind <= 1:
            out[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 2:
            out[at : at + 4] = rng.choice(NASTY)
        elif kind == 3:
            del out[at : at + rng.randint(1, 8)]
        elif kind == 4:
            out[at:at] = out[at : at + rng.randint(1, 16)]
        else:
            del out[at:]
    return bytes(out)


def refused_or_agreed(name, body, decoder, *, compare):
    """Whether a body was taken; what is taken must be what the library reads, where that can read it."""
    _, mine, library = ANSWERS[name]
    try:
        runs = mine(body, decoder)
    except (Malformed, ServiceFault):
        return False
    if compare:
        with contextlib.suppress(*LIBRARY):
            theirs = library(body)
            assert len(theirs) == len(runs)
            for columns, values in zip(runs, theirs, strict=True):
                agree(columns, values)
    return True


def agree(columns, values):
    assert len(columns.value) == len(values or ())
    for row, one in enumerate(values or ()):
        code = one.StatusCode.value if one.StatusCode is not None else 0
        assert int(columns.status[row]) == code
        value = one.Value.Value if one.Value is not None else None
        if row in columns.large:
            assert columns.large[row] == value
        elif columns.valid[row]:
            plain = value.value if isinstance(value, ua.StatusCode) else value
            assert float(columns.value[row]) == float(plain) or math.isnan(float(plain))
        elif row in columns.text and isinstance(value, str):
            # The library reads bytes that are no UTF-8 in a way of its own.
            assert columns.text[row] == value or "\\x" in columns.text[row]
        if one.SourcePicoseconds is not None or one.ServerPicoseconds is not None:
            continue  # the library has the four in another order than the standard (OPC 10000-6, 5.2.2.17)
        if one.SourcePicoseconds is not None:  # the library reads them behind the server's time, not before it
            continue
        for mine, theirs in ((columns.source, one.SourceTimestamp), (columns.server, one.ServerTimestamp)):
            if int(mine[row]) > UNUSABLE_NS and theirs is not None:
                assert abs(int(mine[row]) - ns_of(theirs)) < 1000
            elif theirs is None:
                assert int(mine[row]) == NULL_NS


@pytest.mark.parametrize("name", ANSWERS)
def test_every_mutated_answer_is_refused_or_read_as_the_library_reads_it(name):
    body, rng, decoder = ANSWERS[name][0](), random.Random(37), Decoder(lead=4 * (name == "publish"))
    assert refused_or_agreed(name, body, decoder, compare=True)
    taken, longest, began = 0, 0.0, time.monotonic()
    for number in range(CASES // len(ANSWERS)):
        one = mutated(body, rng)
        at = time.perf_counter()
        # A decoder that knows the layout of the last answer, and one that knows none.
        fresh = Decoder(lead=4 * (name == "publish")) if number % 2 else decoder
        taken += refused_or_agreed(name, one, fresh, compare=number % 4 == 0)
        longest = max(longest, time.perf_counter() - at)
    assert 0 < taken < CASES // len(ANSWERS)
    assert longest < 0.5
    assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize("name", ANSWERS)
def test_a_mutated_answer_takes_no_more_memory_than_its_bytes_ask_for(name):
    body, rng = ANSWERS[name][0](), random.Random(38)
    tracemalloc.start()
    try:
        for _ in range(300):
            with contextlib.suppress(Malformed, ServiceFault):
                ANSWERS[name][1](mutated(body, rng), Decoder(lead=4 * (name == "publish")))
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(ANSWERS)), st.data())
def test_nasty_bytes_anywhere_are_refused_or_read_as_the_library_reads_them(name, data):
    body = bytearray(ANSWERS[name][0]())
    at = data.draw(st.integers(0, len(body)))
    put = data.draw(st.one_of(st.sampled_from(NASTY), st.binary(max_size=12)))
    body[at : at + data.draw(st.integers(0, 12))] = put
    refused_or_agreed(name, bytes(body), Decoder(lead=4 * (name == "publish")), compare=True)


@pytest.mark.parametrize("length", [10_000, 20_000])
def test_arrays_that_say_they_hold_as_many_nothings_as_there_are_bytes_are_gone_through_quickly(length):
    # Each value is an array of Null, which takes no byte however many elements it has.
    count = length // 6
    body = struct_to_binary(ua.ReadResponse())[:-8] + struct.pack("<i", count)
    body += (b"\x01\x80" + struct.pack("<i", length // 2)) * count + b"\xff\xff\xff\xff"
    began = time.perf_counter()
    with contextlib.suppress(Malformed):
        read_response(body, Decoder(), count)
    assert time.perf_counter() - began < 0.2


# --- hostile servers ---


def chunk(kind, body, *, channel=1, request=1, sequence=1, token=13, length=None, final=b"F"):
    inside = struct.pack("<IIII", channel, token, sequence, request) + body
    return kind + final + struct.pack("<I", len(inside) + 8 if length is None else length) + inside


def acknowledge():
    limits = ua.Acknowledge(ReceiveBufferSize=65536, SendBufferSize=65536, MaxMessageSize=0, MaxChunkCount=0)
    return uatcp_to_binary(ua.MessageType.Acknowledge, limits)


def error():
    return uatcp_to_binary(ua.MessageType.Error, ua.ErrorMessage(ua.StatusCode(ua.UInt32(0x8080_0000)), "no"))


ATTACKS = {
    "garbage": lambda last: [random.Random(1).randbytes(4096)],
    "4 GB": lambda last: [b"MSGF\xff\xff\xff\xff", *[b"\0" * 65_536] * 400],
    "endless chunks": lambda last: endless(last, b"x" * 60_000),
    "endless empty chunks": lambda last: endless(last, b""),
    "an error": lambda last: [error()],
    "wrong type": lambda last: [b"HELF" + last[4:]],
    "a type that is none": lambda last: [b"XYZF" + last[4:]],
    "shorter than its head": lambda last: [b"MSGF\x04\x00\x00\x00" + last],
    "another request's": lambda last: [last[:20] + b"\x99\x99\0\0" + last[24:]],
    "twice": lambda last: [last, last],
    "cut short": lambda last: [last[:4] + struct.pack("<I", len(last) - 4) + last[8:-4]],
    "zeros for a body": lambda last: [last[:24] + bytes(len(last) - 24)],
}
PHASES = {"acknowledge": 1, "channel": 2, "session": 3, "first read": 5, "values": 8}
HARMLESS = {("another request's", "acknowledge"), ("zeros for a body", "acknowledge")}
"""An acknowledge has no request id, and zeros in its place say that there is no limit."""
MEMORY_OF_A_LINK = 160 * 1024
"""A message of 64 MiB, its copy, and the chunks of both [KiB]."""


def endless(last, body):
    """Intermediate chunks without an end, in the order that the channel asks for."""
    channel, token, sequence, request = struct.unpack_from("<IIII", last.ljust(24, b"\0"), 8)
    return (chunk(b"MSG", body, channel=channel, token=token, sequence=sequence + n, request=request, final=b"C")
            for n in range(200_000 if not body else 4_000))  # fmt: skip


def resident():
    """The most memory that this process had since the last look [KiB]."""
    lines = Path("/proc/self/status").read_text().splitlines()
    most = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return most


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_answer_at_any_moment_ends_the_connection_in_bounded_time_and_memory(attack):
    async def run():
        async with plc(a=1.0) as server, Proxy(server.port) as proxy:
            for moment in (n for phase, n in PHASES.items() if (attack, phase) not in HARMLESS):
                seen = itertools.count(1)
                proxy.change = lambda last, n=seen, at=moment: ATTACKS[attack](last) if next(n) == at else [last]
                connector = opcua.Connector(source(proxy.url, timeout="1s"), [point("a")])
                resident()
                before, began = resident(), time.monotonic()
                with pytest.raises((SourceLost, SourceRefused)):
                    await collect(connector)
                await connector.close()
                assert time.monotonic() - began < 6
                assert resident() - before < MEMORY_OF_A_LINK

    within(60, run)


async def collect(connector):
    await connector.connect()
    async for _ in connector.readings():
        pass


def test_the_agent_goes_on_after_every_hostile_answer(tmp_path, acknowledged, monkeypatch):
    monkeypatch.setattr(collector.agent, "BACK_OFF_S", (0.01, 0.05))

    async def run():
        async with plc(a=0.0, b=0.0) as server, Proxy(server.port) as proxy:
            plant = plant_of(tmp_path, proxy.url, [point("a"), point("b", "subscribe")], timeout="1s")
            async with running(plant) as agent, counting(server, "a", "b") as sent:
                for number, attack in enumerate(name for name in ATTACKS if "endless" not in name):
                    await flows(agent)
                    armed = [attack]
                    proxy.change = lambda last, armed=armed: ATTACKS[armed.pop()](last) if armed else [last]
                    await until(lambda n=number: link(agent).connects == n + 2)
                await flows(agent)
                await until(lambda: len(good(lake_of(plant), "b")) > 50)
        lake = settle(plant, acknowledged)
        assert set(good(lake, "b")) <= {0.0, *sent}
        assert unexplained(lake, "b", sent) == []

    within(60, run)

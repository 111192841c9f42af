"""OPC UA: values to arrays, then a real server over real sockets."""

import asyncio
import contextlib
import datetime as dt
import logging
from collections import Counter

import numpy as np
import pytest
from asyncua import Server, ua
from asyncua.client.client import Client
from asyncua.server.monitored_item_service import MonitoredItemService

from config import status
from config.plant import Point, Source
from connectors import opcua
from connectors.base import Readings, SourceLost, SourceRefused
from connectors.opcua import audit
from connectors.opcua.messages import Notification
from connectors.opcua.polls import Fan
from connectors.opcua.subscription import Subscribed
from connectors.opcua.values import Values
from connectors.opcua.wire import Columns
from tests.servers import silent_server, within

URI = "urn:plantproof:test"
NOW = 1_800_000_000_000_000_000
AT = dt.datetime(2026, 11, 21, 6, 30, 0, 123456, tzinfo=dt.UTC)
AT_NS = 1_795_242_600_123_456_000


def source(url: str, **settings) -> Source:
    return Source(
        id="o", kind="opcua", url=url, period=settings.pop("period", "50ms"),
        timeout=settings.pop("timeout", "1s"), **({"security": "None"} | settings),
    )  # fmt: skip


def points(*names: str, **settings) -> list[Point]:
    return [
        Point(point=f"p{i}", asset="a", source="o", address=n if "=" in n else f"nsu={URI};s={n}", **settings)
        for i, n in enumerate(names)
    ]


@contextlib.asynccontextmanager
async def server(**variables: ua.Variant):
    """A server whose variables are `ns=2;s=<name>`; yields its URL and the nodes by name."""
    logging.getLogger("asyncua.server").setLevel(logging.ERROR)
    running = Server()
    running.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    running.set_endpoint("opc.tcp://127.0.0.1:0")
    await running.init()
    index = await running.register_namespace(URI)
    nodes = {}
    for name, variant in variables.items():
        nodes[name] = await running.nodes.objects.add_variable(ua.NodeId(name, index), name, variant)
    await running.start()
    try:
        yield f"opc.tcp://127.0.0.1:{running.bserver.port}", nodes, running
    finally:
        await running.stop()


def by_point(readings: Readings) -> dict[int, tuple[float, bool, int, str | None]]:
    text = readings.text or [None] * len(readings.points)
    columns = (readings.points, readings.value, readings.valid, readings.status, text)
    return {int(p): (float(v), bool(ok), int(s), t) for p, v, ok, s, t in zip(*columns, strict=True)}


async def some(stream) -> Readings:
    """The next readings that have rows."""
    while not len((readings := await anext(stream)).points):
        pass
    return readings


async def drain(stream) -> None:
    async for _ in stream:
        pass


# --- what check says ---


@pytest.mark.parametrize(
    ("address", "is_good"),
    [
        ("ns=2;s=a;b=c", True),
        ("ns=2;i=5", True),
        ("nsu=urn:x;s=y", True),
        ("i=2258", True),
        ("ns=2", False),
        ("s=", False),
        ("press1", False),
        ("ns=x;s=y", False),
        ("nsu=;s=y", False),
        ("nsu=urn:x", False),
    ],
)
def test_check_knows_a_node_id(address, is_good):
    point = Point(point="p", asset="a", source="o", address=address)
    assert (opcua.check(source("opc.tcp://h:4840"), point) is None) == is_good


@pytest.mark.parametrize(
    "settings",
    [{"security": ""}, {"security": "Basic256/Sign"}, {"user": "u"}, {"url": "http://h"}, {"failover": ("http://h",)}],
)
def test_what_this_version_does_not_serve_is_a_fault_and_refused(settings):
    settings = {"url": "opc.tcp://127.0.0.1:1"} | settings
    refused = source(settings.pop("url"), **settings)
    assert opcua.check_source(refused)
    with pytest.raises(SourceRefused):
        within(5, opcua.Connector(refused, points("x")).connect)


# --- polling ---


def test_a_poll_brings_every_value_and_a_bad_node_fails_alone():
    async def run() -> None:
        one = ua.Variant(1.5, ua.VariantType.Double)
        async with server(a=one, s=ua.Variant("on", ua.VariantType.String)) as (url, nodes, _):
            table = points("a", "missing", "ns=2;s=s", "nsu=urn:nowhere;s=a")
            connector = opcua.Connector(source(url), table)
            await connector.connect()
            stream = connector.readings()
            assert by_point(await anext(stream))[3][1:3] == (False, status.BAD_NODE_ID_UNKNOWN)
            found = by_point(await anext(stream))
            assert found[0] == (1.5, True, 0, None)
            assert found[1][1:3] == (False, status.BAD_NODE_ID_UNKNOWN)
            assert found[2][1:] == (False, 0, "on")
            stamped = ua.DataValue(ua.Variant(2.5, ua.VariantType.Double), SourceTimestamp=AT)
            await nodes["a"].write_value(stamped)
            while (readings := await anext(stream)).value[0] != 2.5:
                pass
            assert readings.ts[0] == AT_NS
            await connector.close()
            await connector.close()

    within(20, run)


def test_a_read_keeps_to_the_servers_limit():
    async def run() -> None:
        names = [f"v{i}" for i in range(25)]
        async with server(**{n: ua.Variant(float(i)) for i, n in enumerate(names)}) as (url, _, running):
            limit = running.get_node(ua.NodeId(ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead))
            await limit.write_value(ua.Variant(10, ua.VariantType.UInt32))
            connector = opcua.Connector(source(url), points(*names))
            await connector.connect()
            stream = connector.readings()
            sizes = [len((await anext(stream)).points) for _ in range(3)]
            await connector.close()
            assert sizes == [10, 10, 5]

    within(20, run)


def test_a_server_that_stops_is_a_lost_source():
    async def run() -> None:
        async with server(a=ua.Variant(1.0)) as (url, _, running):
            connector = opcua.Connector(source(url), points("a"))
            await connector.connect()
            stream = connector.readings()
            await anext(stream)
            await running.stop()
            with pytest.raises(SourceLost):
                await drain(stream)
            await connector.close()

    within(20, run)


def test_a_server_that_never_answers_is_lost_within_its_timeout_and_closes():
    async def run() -> None:
        async with silent_server() as port:
            connector = opcua.Connector(source(f"opc.tcp://127.0.0.1:{port}", timeout="200ms"), points("a"))
            with pytest.raises(SourceLost):
                await connector.connect()
            await connector.close()

    within(5, run)


# --- subscriptions ---


def test_every_change_of_a_subscribed_point_arrives_and_keep_alives_say_that_it_stands():
    async def run() -> None:
        async with server(a=ua.Variant(0.0)) as (url, nodes, _):
            connector = opcua.Connector(source(url, timeout="2s"), points("a", mode="subscribe"))
            await connector.connect()
            stream = connector.readings()
            assert by_point(await some(stream))[0][0] == 0.0
            for number in range(1, 3001):
                await nodes["a"].write_value(ua.Variant(float(number)))
            seen: list[float] = []
            while len(seen) < 3000:
                seen += (await some(stream)).value.tolist()
            assert seen == list(range(1, 3001))
            assert len((await anext(stream)).points) == 0
            await connector.close()

    within(30, run)


def test_a_point_that_cannot_be_monitored_is_polled_and_recovers_alone():
    async def run() -> None:
        async with server(a=ua.Variant(1.0)) as (url, nodes, running):
            connector = opcua.Connector(source(url), points("a", "late", mode="subscribe"))
            await connector.connect()
            stream = connector.readings()
            found: dict[int, tuple] = {}
            while set(found) != {0, 1}:
                found |= by_point(await some(stream))
            assert found[0][:3] == (1.0, True, 0)
            assert found[1][1:3] == (False, status.BAD_NODE_ID_UNKNOWN)
            index = nodes["a"].nodeid.NamespaceIndex
            await running.nodes.objects.add_variable(ua.NodeId("late", index), "late", ua.Variant(7.0))
            while found[1][:3] != (7.0, True, 0):
                found |= by_point(await some(stream))
            await connector.close()

    within(20, run)


def test_a_subscription_that_the_server_dropped_in_silence_is_a_lost_source():
    async def run() -> None:
        async with server(a=ua.Variant(1.0)) as (url, _, running):
            connector = opcua.Connector(source(url, timeout="300ms"), points("a", mode="subscribe"))
            await connector.connect()
            stream = connector.readings()
            await some(stream)
            service = running.iserver.subscription_service.subscriptions
            await next(iter(service.values())).stop()  # the socket stays, and the session answers
            with pytest.raises(SourceLost, match="nothing was published"):
                await drain(stream)
            await connector.close()

    within(20, run)


def test_a_monitored_item_that_died_in_silence_is_found_out_and_its_point_polled(monkeypatch):
    monkeypatch.setattr(audit, "AUDIT_S", 0.2)
    monkeypatch.setattr(audit, "PATIENCE_S", 0.2)

    async def run() -> None:
        async with server(a=ua.Variant(1.0), b=ua.Variant(1.0)) as (url, nodes, running):
            connector = opcua.Connector(source(url), points("a", "b", mode="subscribe"))
            await connector.connect()
            stream = connector.readings()
            found: dict[int, tuple] = {}
            while set(found) != {0, 1}:
                found |= by_point(await some(stream))
            (subscription,) = running.iserver.subscription_service.subscriptions.values()
            items = subscription.monitored_item_srv
            (dead,) = (i.monitored_item_id for i in items._monitored_items.values() if i.client_handle == 0)
            items.delete_monitored_items([dead])  # the subscription lives, and says nothing of it
            for number in (2.0, 3.0):
                await nodes["a"].write_value(ua.Variant(number))
                await nodes["b"].write_value(ua.Variant(number))
                while found[0][0] != number or found[1][0] != number:
                    found |= by_point(await some(stream))
            await connector.close()
            assert connector.faults["a change was never published"] == 1
            assert connector.faults["a point is polled now: its monitored item is dead"] == 1

    within(30, run)


def test_deadband_sampling_and_queue_are_asked_of_the_server_and_done_without_where_it_refuses(monkeypatch):
    asked: list[ua.MonitoredItemCreateRequest] = []
    original = MonitoredItemService.create_monitored_items

    async def refuse_filters(self, params):
        asked.extend(params.ItemsToCreate)
        results = await original(self, params)
        for item, result in zip(params.ItemsToCreate, results, strict=True):
            filtered = item.RequestedParameters.Filter
            if hasattr(filtered, "DeadbandType") and filtered.DeadbandType != ua.DeadbandType.None_:
                result.StatusCode = ua.StatusCode(ua.UInt32(ua.StatusCodes.BadDeadbandFilterInvalid))
        return results

    monkeypatch.setattr(MonitoredItemService, "create_monitored_items", refuse_filters)
    table = [
        Point(point="a", asset="a", source="o", address=f"nsu={URI};s=a", mode="subscribe", sampling="20ms", queue=7),
        Point(point="b", asset="a", source="o", address=f"nsu={URI};s=b", mode="subscribe", deadband=0.5, scale=0.1),
        Point(point="c", asset="a", source="o", address=f"nsu={URI};s=c", mode="subscribe", deadband_percent=2),
        Point(point="d", asset="a", source="o", address=f"nsu={URI};s=d", mode="subscribe", trigger="timestamp"),
    ]

    async def run() -> None:
        async with server(**{n: ua.Variant(1.0) for n in "abcd"}) as (url, _, _running):
            connector = opcua.Connector(source(url), table)
            await connector.connect()
            stream = connector.readings()
            found: set[int] = set()
            while found != {0, 1, 2, 3}:
                found |= set((await some(stream)).points.tolist())
            await connector.close()

    within(20, run)
    settings = [item.RequestedParameters for item in asked]
    filters = [
        (s.Filter.Trigger, s.Filter.DeadbandType, s.Filter.DeadbandValue) if hasattr(s.Filter, "DeadbandType") else None
        for s in settings
    ]
    value, stamp = ua.DataChangeTrigger.StatusValue, ua.DataChangeTrigger.StatusValueTimestamp
    assert filters == [(value, 0, 0.0), (value, 1, 5.0), (value, 2, 2.0), (stamp, 0, 0.0), None, None]
    assert [s.SamplingInterval for s in settings] == [20.0, 50.0, 50.0, 50.0, 50.0, 50.0]
    assert [s.QueueSize for s in settings] == [7, *[10_000] * 5]


def note(number: int, *rows: tuple[float, int]) -> Notification:
    n = len(rows)
    columns = Columns(
        value=np.array([v for v, _ in rows], float), valid=np.ones(n, bool),
        status=np.array([code for _, code in rows], np.uint32), source=np.full(n, NOW + 1000 * number),
        server=np.full(n, NOW + 1000 * number), text={}, large={}, opaque={},
    )  # fmt: skip
    return Notification(
        subscription=1, sequence=number, changes=[(np.zeros(n, np.intp), columns)] if n else [],
        ended=None, is_data=bool(n),
    )  # fmt: skip


def delivered(*notes: Notification) -> tuple[list[Readings | SourceLost], list[list[int]], Counter[str]]:
    """What a subscription of one point delivers, and which points it wants read anew; the server has no old ones."""
    out: list[Readings | SourceLost] = []
    read_anew: list[list[int]] = []
    counted: Counter[str] = Counter()

    async def run() -> None:
        async def deliver(item: Readings | SourceLost) -> None:
            out.append(item)

        async def refresh(positions: list[int]) -> None:
            read_anew.append(positions)

        subscribed = Subscribed(Values(points("a"), "source", counted, Counter()), deliver, refresh, counted)
        subscribed.fan, subscribed.monitored = Fan([[0]]), np.zeros(1, np.intp)
        for one in notes:
            await subscribed.take(one)

    asyncio.run(run())
    return out, read_anew, counted


def rows(out: list[Readings | SourceLost]) -> list[tuple[float, int]]:
    return [(float(v), int(c)) for r in out for v, c in zip(r.value, r.status, strict=True)]


def test_a_hole_that_the_server_cannot_fill_is_a_gap_and_the_values_are_read_anew():
    out, read_anew, counted = delivered(note(1, (1.0, 0)), note(2, (2.0, 0)), note(4, (4.0, 0)))
    assert [code for _, code in rows(out)] == [0, 0, status.BAD_NO_COMMUNICATION, 0]
    assert read_anew == [[0]]
    assert counted == {"a notification was lost": 1}


@pytest.mark.parametrize(
    ("numbers", "keep_alive"),
    [
        ([1, 2, 2, 3], 2),  # a keep-alive bears the next number
        ([1, 1, 2, 3], 1),  # some repeat the last one
        ([1, 2, 3, 4], 1),  # some spend one
        ([0xFFFF_FFFF, 1, 2, 3], None),  # after the largest comes 1
    ],
)
def test_sequence_numbers_without_a_hole_are_taken(numbers, keep_alive):
    notes = [note(n, *([] if i == keep_alive else [(1.0, 0)])) for i, n in enumerate(numbers)]
    out, _, counted = delivered(*notes)
    assert all(code == 0 for _, code in rows(out))
    assert not counted


def test_a_notification_that_comes_twice_gives_its_rows_once():
    out, _, counted = delivered(note(1, (1.0, 0)), note(2, (2.0, 0)), note(1, (1.0, 0)))
    assert rows(out) == [(1.0, 0), (2.0, 0)]
    assert counted == {"a notification came twice": 1}


def test_a_queue_that_overflowed_is_counted_and_leaves_a_gap_before_the_value():
    out, _, counted = delivered(note(1, (1.0, 0)), note(2, (5.0, 0x480)))
    found = [r for r in out if len(r.points)]
    assert [int(r.status[0]) for r in found] == [0, 0x809D_0000, 0x480]
    assert [int(r.ts[0]) for r in found] == [NOW + 1000, NOW + 1001, NOW + 2000]
    assert counted == {"a queue on the server overflowed": 1}


def test_the_library_never_reconnects_by_itself():
    async def run() -> None:
        async with server(a=ua.Variant(1.0)) as (url, _, _running):
            connector = opcua.Connector(source(url), points("a"))
            await connector.connect()
            client = connector._session._client
            assert isinstance(client, Client)
            assert client._auto_reconnect is False
            await connector.close()

    within(20, run)

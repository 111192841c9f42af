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

from config import status
from config.plant import Point, Source
from connectors import opcua
from connectors.base import Readings, SourceLost, SourceRefused
from connectors.opcua_subscription import Subscribed
from connectors.opcua_values import Stamps, decode, nanoseconds
from connectors.scaling import Scaling
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


# --- values ---


def values(*data: ua.DataValue, scale: float = 1.0) -> Readings:
    table = points(*("x" for _ in data), scale=scale)
    return decode(np.arange(len(data)), data, NOW, Scaling(table))


def good(value, kind: ua.VariantType, **stamps) -> ua.DataValue:
    return ua.DataValue(ua.Variant(value, kind), ua.StatusCode(0), **stamps)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (True, ua.VariantType.Boolean, (1.0, True, 0, None)),
        (-5, ua.VariantType.Int16, (-5.0, True, 0, None)),
        (2**53, ua.VariantType.Int64, (2.0**53, True, 0, None)),
        (2**53 + 1, ua.VariantType.Int64, (2.0**53, False, 0, "9007199254740993")),
        (2**64 - 1, ua.VariantType.UInt64, (2.0**64, False, 0, "18446744073709551615")),
        (0.1, ua.VariantType.Double, (0.1, True, 0, None)),
        (float("inf"), ua.VariantType.Double, (float("inf"), True, 0, None)),
        ("压机", ua.VariantType.String, (None, False, 0, "压机")),
        (ua.LocalizedText("run"), ua.VariantType.LocalizedText, (None, False, 0, "run")),
        (None, ua.VariantType.Null, (None, False, 0, None)),
        ([1, 2], ua.VariantType.Int32, (None, False, status.BAD_NOT_SUPPORTED, None)),
        (b"x", ua.VariantType.ByteString, (None, False, status.BAD_NOT_SUPPORTED, None)),
    ],
)
def test_a_value_becomes_a_number_or_a_text(value, kind, expected):
    found = by_point(values(good(value, kind)))[0]
    assert found[1:] == expected[1:]
    assert found[0] == expected[0] if expected[0] is not None else np.isnan(found[0])


def test_every_status_is_kept_with_its_value():
    codes = [0, status.GOOD_CLAMPED, status.UNCERTAIN, status.BAD_DEVICE_FAILURE]
    data = [ua.DataValue(ua.Variant(1.5, ua.VariantType.Double), ua.StatusCode(code)) for code in codes]
    readings = values(*data)
    assert readings.status.tolist() == codes
    assert readings.value.tolist() == [1.5] * 4


def test_the_source_time_counts_then_the_servers_then_ours():
    year_1601 = dt.datetime(1601, 1, 1, tzinfo=dt.UTC)
    year_9999 = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)
    double = ua.VariantType.Double
    readings = values(
        good(1.0, double, SourceTimestamp=AT, ServerTimestamp=AT + dt.timedelta(hours=1)),
        good(1.0, double, ServerTimestamp=AT),
        good(1.0, double, SourceTimestamp=year_1601, ServerTimestamp=AT),
        good(1.0, double, SourceTimestamp=year_9999),
        good(1.0, double),
    )
    assert readings.ts.tolist() == [AT_NS, AT_NS, AT_NS, NOW, NOW]
    assert nanoseconds(AT) == AT_NS


def test_scale_and_offset_are_applied():
    assert values(good(1234, ua.VariantType.Int32), scale=0.01).value.tolist() == [12.34]


def test_a_status_that_changes_under_an_old_time_does_not_take_the_good_samples_place():
    stamps = Stamps(1)
    data = ua.Variant(1.0, ua.VariantType.Double)
    first = stamps.apply(values(ua.DataValue(data, ua.StatusCode(0), SourceTimestamp=AT)))
    bad = stamps.apply(values(ua.DataValue(data, ua.StatusCode(status.BAD), SourceTimestamp=AT)))
    again = stamps.apply(values(ua.DataValue(data, ua.StatusCode(0), SourceTimestamp=AT)))
    assert [int(r.ts[0]) for r in (first, bad, again)] == [AT_NS, NOW, NOW + 1]


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
    [{"security": ""}, {"security": "Basic256Sha256/SignAndEncrypt"}, {"user": "u"}, {"url": "http://h"}],
)
def test_what_this_version_does_not_serve_is_a_fault_and_refused(settings):
    settings = {"url": "opc.tcp://127.0.0.1:1"} | settings
    refused = source(settings.pop("url"), **settings)
    assert opcua.check(refused, points("x")[0])
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
            connector = opcua.Connector(source(url, timeout="500ms"), points("a", mode="subscribe"))
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


def publish(number: int, *rows: tuple[float, int]) -> ua.PublishResult:
    items = [ua.MonitoredItemNotification(0, ua.DataValue(ua.Variant(v), ua.StatusCode(code))) for v, code in rows]
    data = [ua.DataChangeNotification(MonitoredItems=items)] if items else []
    message = ua.NotificationMessage(SequenceNumber=number, NotificationData=data)
    return ua.PublishResult(SubscriptionId=1, NotificationMessage=message)


def delivered(*results: ua.PublishResult) -> tuple[list[Readings | SourceLost], Subscribed]:
    out: list[Readings | SourceLost] = []

    async def run() -> Subscribed:
        async def deliver(item: Readings | SourceLost) -> None:
            out.append(item)

        table = points("a")
        subscribed = Subscribed(table, Scaling(table), Stamps(1), deliver, Counter())
        for result in results:
            await subscribed.take(result)
        return subscribed

    return out, asyncio.run(run())


def test_a_hole_in_the_sequence_numbers_ends_the_link():
    out, _ = delivered(publish(1, (1.0, 0)), publish(2, (2.0, 0)), publish(4, (4.0, 0)))
    kinds = [type(item) if isinstance(item, SourceLost) or len(item.points) else None for item in out]
    # None: after the first values an empty Readings says that all that was not mentioned stands.
    assert kinds == [Readings, None, Readings, SourceLost]


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
    results = [publish(n, *([] if i == keep_alive else [(1.0, 0)])) for i, n in enumerate(numbers)]
    out, _ = delivered(*results)
    assert all(isinstance(item, Readings) for item in out)


def test_a_queue_that_overflowed_is_counted_and_its_bits_are_kept():
    out, subscribed = delivered(publish(1, (1.0, 0x480), (2.0, 0)))
    assert subscribed.overflows == 1
    assert out[0].status.tolist() == [0x480, 0]


def test_the_library_never_reconnects_by_itself():
    async def run() -> None:
        async with server(a=ua.Variant(1.0)) as (url, _, _running):
            connector = opcua.Connector(source(url), points("a"))
            await connector.connect()
            client = connector._client
            assert isinstance(client, Client)
            assert client._auto_reconnect is False
            await connector.close()

    within(20, run)

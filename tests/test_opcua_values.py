"""OPC UA addresses and what becomes of values: parts of arrays and structures, times, clocks, and history."""

import asyncio
import contextlib
import datetime as dt
import logging
import time
from collections import Counter

import numpy as np
import pytest
from asyncua import Server, ua
from asyncua.common.structures104 import new_enum, new_struct, new_struct_field
from asyncua.server.internal_session import InternalSession
from asyncua.ua.ua_binary import struct_to_binary

from config import status
from config.plant import Point, Source
from connectors import opcua
from connectors.base import Readings
from connectors.opcua.address import Name, Target, fault, parse
from connectors.opcua.messages import read_response
from connectors.opcua.values import BAD_INDEX_RANGE_NO_DATA, Stamps, Values
from connectors.opcua.wire import Columns, Decoder
from tests.running import until
from tests.servers import within
from tests.test_opcua import drain

URI = "urn:plantproof:test"
NOW = 1_800_000_000_000_000_000
AT = dt.datetime(2026, 11, 21, 6, 30, 0, 123456, tzinfo=dt.UTC)
AT_NS = 1_795_242_600_123_456_000
SECOND = 1_000_000_000


def points(*addresses: str, **settings) -> list[Point]:
    return [Point(point=f"p{i}", asset="a", source="o", address=a, **settings) for i, a in enumerate(addresses)]


def source(url: str, **settings) -> Source:
    settings = {"period": "50ms", "timeout": "2s", "security": "None"} | settings
    return Source(id="o", kind="opcua", url=url, **settings)


# --- addresses ---


@pytest.mark.parametrize(
    ("address", "targets"),
    [
        ("ns=2;i=5", [Target((), "ns=2;i=5")]),
        ("i=2258", [Target((), "i=2258")]),
        ("ns=2;i=5[3]", [Target((3,), "ns=2;i=5")]),
        ("ns=2;i=5.Axis.Speed", [Target(("Axis", "Speed"), "ns=2;i=5")]),
        ("ns=2;i=5[1,2]", [Target((1, 2), "ns=2;i=5")]),
        ("ns=2;i=5[2:7]", [Target(((2, 7),), "ns=2;i=5")]),
        ("ns=2;s=Temps[3]", [Target((), "ns=2;s=Temps[3]"), Target((3,), "ns=2;s=Temps")]),
        (
            "nsu=urn:x;s=a.b[0].c",
            [
                Target((), "s=a.b[0].c", "urn:x"),
                Target(("c",), "s=a.b[0]", "urn:x"),
                Target((0, "c"), "s=a.b", "urn:x"),
                Target(("b", 0, "c"), "s=a", "urn:x"),
            ],
        ),
        ('ns=3;s="DB1"."arr"[3]', [Target((), 'ns=3;s="DB1"."arr"[3]'), Target((3,), 'ns=3;s="DB1"."arr"')]),
        ("ns=2;s=a;b=c", [Target((), "ns=2;s=a;b=c")]),
        ("/Objects/2:Line/2:Speed", [Target(path=(Name("Objects"), Name("Line", 2), Name("Speed", 2)))]),
        (
            "/Objects/nsu=http://maker.com/UA/;Line/Speed",
            [Target(path=(Name("Objects"), Name("Line", 0, "http://maker.com/UA/"), Name("Speed")))],
        ),
        ("/Objects/2:A&/B", [Target(path=(Name("Objects"), Name("A/B", 2)))]),
        (
            "/Objects/2:Temps[3]",
            [
                Target(path=(Name("Objects"), Name("Temps[3]", 2))),
                Target((3,), path=(Name("Objects"), Name("Temps", 2))),
            ],
        ),
    ],
)
def test_an_address_names_a_node_and_a_way_into_its_value(address, targets):
    assert list(parse(address)) == targets
    assert fault(address) is None


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ns=2",
        "s=",
        "press1",
        "ns=x;s=y",
        "nsu=;s=y",
        "nsu=urn:x",
        "nsu=urn:x;ns=2;s=y",
        "/",
        "/Objects",
        "/Line/2:A",
    ],
)
def test_what_is_no_address_is_told_with_what_to_write(address):
    told = fault(address)
    assert told is not None
    assert repr(address) in told
    assert "write ns=2;s=name" in told


# --- a server with arrays and structures ---


@contextlib.asynccontextmanager
async def server():
    """A server with arrays, structures and nested structures of its own types; yields URL, index and server."""
    logging.getLogger("asyncua.server").setLevel(logging.ERROR)
    running = Server()
    running.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    running.set_endpoint("opc.tcp://127.0.0.1:0")
    await running.init()
    index = await running.register_namespace(URI)
    axis, _ = await new_struct(
        running,
        index,
        "Axis",
        [new_struct_field("Speed", ua.VariantType.Double), new_struct_field("Name", ua.VariantType.String)],
    )
    mode = await new_enum(running, index, "Mode", ["Off", "Auto"])
    await new_struct(
        running,
        index,
        "Machine",
        [
            new_struct_field("Count", ua.VariantType.UInt32),
            new_struct_field("Axes", axis, array=True),
            new_struct_field("Mode", mode),
            new_struct_field("Total", ua.VariantType.UInt64),
            new_struct_field("Note", ua.VariantType.String, optional=True),
        ],
    )
    await running.load_data_type_definitions()
    await running.start()
    # What the library learnt here must not help the client: it runs in the same process.
    learnt = {name: ua.extension_objects_by_typeid.pop(key) for key in list(ua.extension_objects_by_typeid)
              if (name := ua.extension_objects_by_typeid[key].__name__) in ("Axis", "Machine")}  # fmt: skip
    for name in learnt:
        delattr(ua, name)
    running.learnt = learnt
    try:
        yield f"opc.tcp://127.0.0.1:{running.bserver.port}", index, running
    finally:
        await running.stop()


async def add(running, index: int, name: str, value, kind=None, **settings):
    return await running.nodes.objects.add_variable(ua.NodeId(name, index), name, value, kind, **settings)


async def first(url: str, table: list[Point], **settings) -> tuple[dict, opcua.Connector]:
    """What the first reading of each point says: (value, status, text) by position."""
    connector = opcua.Connector(source(url, **settings), table)
    await connector.connect()
    got: dict[int, tuple] = {}
    async for readings in connector.readings():
        text = readings.text or [None] * len(readings.points)
        for row, position in enumerate(readings.points.tolist()):
            value = float(readings.value[row]) if readings.valid[row] else None
            got[position] = (value, int(readings.status[row]), text[row])
        if len(got) == len(table):
            break
    await connector.close()
    return got, connector


@pytest.mark.parametrize("mode", ["poll", "subscribe"])
def test_elements_ranges_and_fields_are_read_by_the_servers_own_types(mode):
    async def run() -> None:
        async with server() as (url, index, running):
            axes = [running.learnt["Axis"](Speed=1.5, Name="X"), running.learnt["Axis"](Speed=2.5, Name="Y")]
            whole = running.learnt["Machine"](Count=7, Axes=axes, Mode=1, Total=2**60 + 1, Note="ok")
            await add(running, index, "m", whole)
            await add(running, index, "ms", [whole, whole])
            await add(running, index, "temps", [10.0, 11.0, 12.0], ua.VariantType.Double)
            await add(running, index, "matrix", ua.Variant([[1, 2], [3, 4]], ua.VariantType.Int32))
            await add(running, index, "dotted.name[1]", 42.0)
            addresses = {
                "m.Count": (7.0, 0, None),
                "m.Axes[1].Speed": (2.5, 0, None),
                "m.Axes[0].Name": (None, 0, "X"),
                "m.Mode": (1.0, 0, None),
                "m.Total": (None, 0, str(2**60 + 1)),
                "m.Note": (None, 0, "ok"),
                "m.Nothing": (None, BAD_INDEX_RANGE_NO_DATA, None),
                "ms[1].Count": (7.0, 0, None),
                "m": (None, status.BAD_NOT_SUPPORTED, None),
                "temps[1]": (11.0, 0, None),
                "temps[1:2]": (None, 0, "[11.0,12.0]"),
                "temps[9]": (None, BAD_INDEX_RANGE_NO_DATA, None),
                "temps": (None, status.BAD_NOT_SUPPORTED, None),
                "matrix[1,0]": (3.0, 0, None),
                "dotted.name[1]": (42.0, 0, None),
                "nothing.here[1]": (None, status.BAD_NODE_ID_UNKNOWN, None),
            }
            table = points(*(f"nsu={URI};s={a}" for a in addresses), mode=mode)
            got, _ = await first(url, table)
            assert {a: got[n] for n, a in enumerate(addresses)} == addresses

    within(30, run)


def test_a_structure_that_cannot_be_read_is_bad_alone():
    async def run() -> None:
        async with server() as (url, index, running):
            await add(running, index, "m", running.learnt["Axis"](Speed=1.5, Name="X"))
            await add(running, index, "other", 2.5)
            kind = await running.nodes.base_structure_type.get_child(f"{index}:Axis")
            told = (await kind.read_attribute(ua.AttributeIds.DataTypeDefinition)).Value.Value
            told.Fields[0].ValueRank = 2  # a matrix, which is not read
            await kind.write_attribute(ua.AttributeIds.DataTypeDefinition, ua.DataValue(told))
            got, connector = await first(url, points(f"ns={index};s=m.Speed", f"ns={index};s=other"))
            assert got == {0: (None, status.BAD_DECODING_ERROR, None), 1: (2.5, 0, None)}
            assert connector.faults["a value could not be decoded"]

    within(20, run)


def test_points_of_one_value_share_one_read():
    async def run() -> None:
        async with server() as (url, index, running):
            await add(running, index, "temps", [10.0, 11.0, 12.0], ua.VariantType.Double)
            table = points(*(f"ns={index};s=temps[{n}]" for n in range(3)))
            got, connector = await first(url, table)
            assert [got[n][0] for n in range(3)] == [10.0, 11.0, 12.0]
            assert len(set(connector._nodes.values())) == 1

    within(20, run)


def test_a_browse_path_is_followed_from_the_objects_folder_and_a_wrong_one_is_bad_alone():
    async def run() -> None:
        async with server() as (url, index, running):
            line = await running.nodes.objects.add_object(ua.NodeId("line", index), f"{index}:Line/1")
            await line.add_variable(ua.NodeId(900, index), f"{index}:Speed", 3.5)
            await line.add_variable(ua.NodeId(901, index), f"{index}:Temps", [1.0, 2.0], ua.VariantType.Double)
            table = points(
                f"/Objects/{index}:Line&/1/{index}:Speed",
                f"/Objects/nsu={URI};Line&/1/nsu={URI};Speed",
                f"/Objects/{index}:Line&/1/{index}:Temps[1]",
                f"/Objects/{index}:Line&/1/{index}:Missing",
                "/Objects/nsu=urn:nowhere;Line",
            )
            got, connector = await first(url, table)
            assert [got[n][:2] for n in range(3)] == [(3.5, 0), (3.5, 0), (2.0, 0)]
            assert [got[n][1] for n in (3, 4)] == [status.BAD_NODE_ID_UNKNOWN] * 2
            assert connector.faults == {}

    within(20, run)


# --- times and clocks ---


def columns(source_ns: list[int], server_ns: list[int] | None = None, codes: list[int] | None = None) -> Columns:
    n = len(source_ns)
    return Columns(
        value=np.arange(n, dtype=float), valid=np.ones(n, bool), status=np.array(codes or [0] * n, np.uint32),
        source=np.array(source_ns), server=np.array(server_ns or source_ns), text={}, large={}, opaque={},
    )  # fmt: skip


def values(n: int, timestamp="source") -> tuple[Values, Counter[str]]:
    flags: Counter[str] = Counter()
    return Values(points(*["i=1"] * n), timestamp, Counter(), flags), flags


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [("source", NOW - SECOND), ("server", NOW - 2 * SECOND), ("receive", NOW)],
)
def test_the_time_that_counts_is_configured_and_the_receive_time_is_kept(timestamp, expected):
    made, _ = values(1, timestamp)
    readings = made.readings(np.zeros(1, np.intp), columns([NOW - SECOND], [NOW - 2 * SECOND]), NOW)
    assert (readings.ts.tolist(), readings.ts_recv) == ([expected], NOW)


@pytest.mark.parametrize(
    ("stamp", "kept", "flag"),
    [
        (dt.datetime(1601, 1, 1, tzinfo=dt.UTC), None, "source time is 1601, 9999 or another that is none"),
        (dt.datetime(9999, 12, 31, tzinfo=dt.UTC), None, "source time is 1601, 9999 or another that is none"),
        (dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC), SECOND, "source time is before 2001"),
        (dt.datetime(2000, 1, 1, tzinfo=dt.UTC), 946_684_800 * SECOND, "source time is before 2001"),
        (dt.datetime(2200, 1, 1, tzinfo=dt.UTC), 7_258_118_400 * SECOND, "source time lies in the future"),
    ],
)
def test_a_clock_that_cannot_be_right_is_kept_and_flagged_once(stamp, kept, flag):
    data = [ua.DataValue(ua.Variant(1.0), SourceTimestamp=stamp, ServerTimestamp=AT)]
    run, _ = read_response(struct_to_binary(ua.ReadResponse(Results=data)), Decoder(), 1)
    made, flags = values(1)
    for _ in range(3):
        readings = made.readings(np.zeros(1, np.intp), run, AT_NS + SECOND)
        assert readings.ts.tolist() == [AT_NS if kept is None else kept]
        assert readings.value.tolist() == [1.0]
    assert {text.startswith(flag): count for text, count in flags.items()} == {True: 1}


@pytest.mark.parametrize(("hours", "word"), [(1, "ahead"), (-1, "behind")])
def test_a_servers_clock_that_is_an_hour_off_is_flagged_and_its_times_are_kept(hours, word):
    made, flags = values(1)
    off = NOW + hours * 3600 * SECOND
    made.readings(np.zeros(1, np.intp), columns([off - SECOND]), NOW - SECOND)
    # How old a value is that just stands, says nothing of a clock; but no right one is ahead of ours.
    assert (made.clocks.skew_ns is None) == (hours < 0)
    readings = made.readings(np.zeros(1, np.intp), columns([off]), NOW)
    assert readings.ts.tolist() == [off]
    assert made.clocks.skew_ns == hours * 3600 * SECOND
    assert any(f"{word} by more than a minute" in text for text in flags)


@pytest.mark.parametrize(
    ("timestamp", "ahead", "counts"),
    [("source", 0, True), ("source", 30, False), ("source", -30, False), ("server", 30, True), ("receive", 0, False)],
)
def test_the_servers_clock_counts_where_the_values_bear_its_time(timestamp, ahead, counts):
    made, _ = values(1, timestamp)
    for second in (0, 1, 2):
        now = NOW + second * SECOND
        theirs = now + ahead * SECOND  # the server's clock; the device's is right
        readings = made.readings(np.zeros(1, np.intp), columns([now], [theirs]), now, theirs)
    assert readings.clock == (theirs if counts else None)


def test_one_message_of_an_impossible_time_is_not_taken_for_the_clock():
    made, _ = values(1)
    for second in (0, 1):
        made.readings(
            np.zeros(1, np.intp), columns([NOW + second * SECOND]), NOW + second * SECOND, NOW + second * SECOND
        )
    assert made.clock(NOW + 2 * SECOND, NOW + 2 * SECOND) == NOW + 2 * SECOND
    assert made.clock(7_258_118_400 * SECOND, NOW + 3 * SECOND) is None  # a keep-alive that says 2200


@pytest.mark.parametrize(("ahead", "counts"), [(SECOND // 10, True), (SECOND, False)])
def test_before_any_value_changed_the_servers_clock_counts_where_it_is_as_good_as_ours(ahead, counts):
    made, _ = values(1)
    readings = made.readings(np.zeros(1, np.intp), columns([NOW - 9 * SECOND]), NOW, NOW + ahead)
    assert readings.clock == (NOW + ahead if counts else None)


def of(ts: int, code: int, received: int) -> Readings:
    return values(1)[0].plain(np.zeros(1, np.intp), columns([ts], codes=[code]), received)


def test_a_status_that_changes_under_an_old_time_does_not_take_the_good_samples_place():
    stamps = Stamps(1)
    rows = [of(AT_NS, 0, NOW), of(AT_NS, status.BAD, NOW + 1), of(AT_NS, 0, NOW + 2)]
    assert [int(stamps.apply(r).ts[0]) for r in rows] == [AT_NS, NOW + 1, NOW + 2]


def test_a_bad_value_that_opens_a_connection_is_bad_now_and_not_at_the_time_of_the_last_good_one():
    assert Stamps(1).apply(of(AT_NS, status.BAD, NOW)).ts.tolist() == [NOW]


def test_a_bad_value_with_news_of_its_own_keeps_its_time():
    stamps = Stamps(1)
    stamps.apply(of(AT_NS, 0, NOW))
    assert stamps.apply(of(AT_NS + SECOND, status.BAD, NOW)).ts.tolist() == [AT_NS + SECOND]


# --- history ---


def test_what_the_server_kept_since_the_last_good_value_is_read_and_marked():
    async def run() -> None:
        async with server() as (url, index, running):
            node = await add(running, index, "n", 0.0)
            await node.write_value(ua.DataValue(ua.Variant(0.5), SourceTimestamp=AT))
            await running.historize_node_data_change(node, period=None, count=100_000)
            began = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(hours=1)
            for number in range(1, 101):
                stamp = began + dt.timedelta(seconds=number)
                value = ua.Variant(float(number))
                await node.write_value(ua.DataValue(value, SourceTimestamp=stamp, ServerTimestamp=stamp))
            await node.write_value(101.0)  # the live one, of now
            plain = await add(running, index, "plain", 1.0)
            assert plain is not None
            connector = opcua.Connector(
                source(url, history=True), points(f"ns={index};s=n", f"ns={index};s=plain", f"ns={index};s=n")
            )
            await connector.connect()
            since = int(began.timestamp() * 1e9) + 40 * SECOND
            connector.since = np.array([since, since, np.iinfo(np.int64).min])
            filled: list[tuple[int, float]] = []
            async for readings in connector.readings():
                if not readings.historic:
                    continue
                assert set(readings.points.tolist()) <= {0}
                assert set(readings.status.tolist()) == {0x400}
                assert (readings.ts > since).all()
                filled += zip(readings.ts.tolist(), readings.value.tolist(), strict=True)
                if len(filled) >= 60:
                    break
            await connector.close()
            assert [value for _, value in sorted(filled)] == [float(n) for n in range(41, 101)]

    within(30, run)


def test_a_history_that_came_too_late_is_asked_for_again_by_the_next_connection(monkeypatch):
    read = InternalSession.history_read
    slow = True

    async def late(self, params):
        if slow:
            await asyncio.sleep(1.2)
        return await read(self, params)

    monkeypatch.setattr(InternalSession, "history_read", late)

    async def run() -> None:
        nonlocal slow
        async with server() as (url, index, running):
            await add(running, index, "n", 0.0)
            counted = []
            for is_slow in (True, False):
                slow = is_slow
                connector = opcua.Connector(
                    source(url, history=True, timeout="1s", period="10s"), points(f"ns={index};s=n")
                )
                await connector.connect()
                connector.since = np.array([time.time_ns() - SECOND])
                reading = asyncio.create_task(drain(connector.readings()))
                await until(lambda: connector.faults or connector.filled, 8)  # noqa: B023  waited for here
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                counted.append((connector.filled, dict(connector.faults)))
                await connector.close()
            assert counted == [(False, {"history could not be read in time": 1}), (True, {})]

    within(20, run)


def test_without_a_last_good_value_or_the_word_for_it_no_history_is_asked_for():
    async def run() -> None:
        async with server() as (url, index, running):
            await add(running, index, "n", 0.0)
            for history in (True, False):
                connector = opcua.Connector(source(url, history=history), points(f"ns={index};s=n"))
                await connector.connect()
                connector.since = np.array([np.iinfo(np.int64).min if history else 1])
                stream = connector.readings()
                assert not (await anext(stream)).historic
                await stream.aclose()
                await connector.close()
                assert connector.faults == {}

    within(20, run)


def test_a_node_id_that_is_a_value_is_written_with_its_uri_as_an_index_can_move():
    async def run() -> None:
        async with server() as (url, index, running):
            await add(running, index, "here", ua.NodeId(5006, index), ua.VariantType.NodeId)
            await add(running, index, "standard", ua.NodeId(85, 0), ua.VariantType.NodeId)
            got, _ = await first(url, points(f"ns={index};s=here", f"ns={index};s=standard"))
            assert [got[n][2] for n in (0, 1)] == [f"nsu={URI};i=5006", "i=85"]

    within(20, run)

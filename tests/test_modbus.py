"""Modbus: addresses, plan and decoding without a socket; then real and rogue servers."""

import asyncio
import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from config import status
from config.plant import Point, Source
from connectors import modbus
from connectors.base import Readings, SourceLost, SourceRefused
from connectors.modbus_decode import ExceptionReply, Layout, WrongReply, payload_of
from connectors.modbus_plan import MAX_BITS, MAX_REGISTERS, Request, Slot, merge, parse_address, plan, slot
from connectors.polling import Schedule
from connectors.scaling import Scaling
from tests.servers import fake_modbus, silent_server, within


def source(url: str = "modbus+tcp://127.0.0.1:502", **settings) -> Source:
    return Source(
        id="m", kind="modbus", url=url, period=settings.pop("period", "50ms"),
        timeout=settings.pop("timeout", "300ms"), **settings,
    )  # fmt: skip


def points(*rows: tuple[str, str] | tuple[str, str, dict]) -> list[Point]:
    return [
        Point(point=f"p{i}", asset="a", source="m", address=row[0], type=row[1], **(row[2] if row[2:] else {}))
        for i, row in enumerate(rows)
    ]


async def first(connector: modbus.Connector, count: int = 1) -> list[Readings]:
    found = []
    async for readings in connector.readings():
        found.append(readings)
        if len(found) == count:
            break
    return found


# --- schedule ---


class VirtualTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += round(seconds * 1e9)


def test_groups_are_due_at_once_and_then_at_whole_periods():
    time = VirtualTime()
    schedule = Schedule([1_000, 3_000], clock=lambda: time.now, sleep=time.sleep)

    async def ticks() -> list[tuple[int, list[int]]]:
        seen = []
        for _ in range(5):
            groups = sorted(await schedule.due())
            seen.append((time.now, groups))
        return seen

    assert asyncio.run(ticks()) == [(0, [0, 1]), (1000, [0]), (2000, [0]), (3000, [0, 1]), (4000, [0])]
    assert schedule.missed == 0


def test_work_between_ticks_adds_no_drift():
    time = VirtualTime()
    schedule = Schedule([1_000], clock=lambda: time.now, sleep=time.sleep)

    async def ticks() -> list[int]:
        seen = []
        for _ in range(4):
            await schedule.due()
            seen.append(time.now)
            time.now += 300  # the work
        return seen

    assert asyncio.run(ticks()) == [0, 1000, 2000, 3000]


def test_ticks_missed_in_a_stall_are_counted_and_not_made_up_for():
    time = VirtualTime()
    schedule = Schedule([1_000], clock=lambda: time.now, sleep=time.sleep)

    async def ticks() -> list[int]:
        await schedule.due()
        time.now = 5_400  # due were 1000 .. 5000; one of the five is served late, four are missed
        await schedule.due()
        late = time.now
        await schedule.due()
        return [late, time.now]

    assert asyncio.run(ticks()) == [5400, 6000]
    assert schedule.missed == 4


# --- addresses and plan ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("holding:9", (1, "holding", 9)),
        ("3/input:0x10", (3, "input", 16)),
        ("coil:0", (1, "coil", 0)),
        ("discrete:65535", (1, "discrete", 65535)),
        ("40010", (1, "holding", 9)),  # classic addresses are one-based
        ("2/30001", (2, "input", 0)),
        ("10001", (1, "discrete", 0)),
        ("00001", (1, "coil", 0)),
        ("465536", (1, "holding", 65535)),
    ],
)
def test_an_address_names_unit_table_and_zero_based_register(text, expected):
    assert parse_address(text, 1) == expected


@pytest.mark.parametrize("text", ["40000", "holding:65536", "holding:-1", "256/holding:1", "50001", "h:1", "", "9"])
def test_an_address_that_is_none_is_refused_by_name(text):
    with pytest.raises(ValueError, match="address"):
        parse_address(text, 1)


@pytest.mark.parametrize(
    ("address", "kind", "part"),
    [
        ("holding:0", "int128", "int128"),
        ("holding:0", "uint32 ABDC", "ABDC"),
        ("holding:0", "uint16 CDAB", "CDAB"),
        ("coil:0", "uint16", "coil"),
        ("holding:65535", "uint32", "beyond the last"),
    ],
)
def test_check_says_what_is_wrong_with_a_type(address, kind, part):
    (point,) = points((address, kind))
    assert part in (modbus.check(source(), point) or "")


@pytest.mark.parametrize("url", ["modbus+rtu:///dev/ttyUSB0", "modbus+tls://h:802", "modbus+tcp://", "tcp://h:502"])
def test_check_refuses_urls_that_this_version_does_not_serve_and_names_the_next_step(url):
    fault = modbus.check_source(source(url))
    assert fault is not None
    assert "modbus+tcp://host:port" in fault
    with pytest.raises(SourceRefused):
        within(5, modbus.Connector(source(url), points(("holding:0", ""))).connect)


def test_neighbours_and_small_gaps_become_one_request():
    rows = points(("holding:0", "uint16"), ("holding:2", "uint32"), ("holding:20", ""), ("holding:40", ""))
    requests = plan([slot(source(), i, p) for i, p in enumerate(rows)])
    # 4 .. 20 is a gap of 16 and is read along; 21 .. 40 is one of 19 and is not
    assert [(r.address, r.count, len(r.slots)) for r in requests] == [(0, 21, 3), (40, 1, 1)]


SLOTS = st.builds(
    lambda unit, table, address, count: Slot(
        position=0, unit=unit, table=table, address=address,
        count=1 if table in ("coil", "discrete") else count, kind="uint16", order="AB",
    ),
    st.integers(1, 2), st.sampled_from(["coil", "discrete", "holding", "input"]),
    st.integers(0, 4000), st.sampled_from([1, 2, 4]),
)  # fmt: skip


@given(st.lists(SLOTS, max_size=80))
def test_a_plan_reads_every_slot_once_within_the_limits_of_the_protocol(slots):
    requests = plan(slots)
    assert sorted(map(repr, slots)) == sorted(repr(s) for r in requests for s in r.slots)
    for request in requests:
        bits = request.table in ("coil", "discrete")
        assert request.count <= (MAX_BITS if bits else MAX_REGISTERS)
        for one in request.slots:
            assert (one.unit, one.table) == (request.unit, request.table)
            assert request.address <= one.address
            assert one.address + one.count <= request.address + request.count


# --- decoding ---


def decode(payload: bytes, *rows) -> tuple[list[float], list[bool], list[str | None] | None]:
    table = points(*rows)
    request = merge([slot(source(), i, p) for i, p in enumerate(table)])
    value, valid, text = Layout(request, Scaling(table)).decode(payload)
    return value.tolist(), valid.tolist(), text


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        ("uint16", "fffe", 65534),
        ("int16", "fffe", -2),
        ("uint16 BA", "0201", 0x0102),
        ("bool", "0000", 0),
        ("bool", "0002", 1),
        ("uint32", "01020304", 0x01020304),
        ("uint32 ABCD", "01020304", 0x01020304),
        ("uint32 CDAB", "03040102", 0x01020304),
        ("uint32 BADC", "02010403", 0x01020304),
        ("uint32 DCBA", "04030201", 0x01020304),
        ("int32", "ffffffff", -1),
        ("float32", "3fc00000", 1.5),
        ("float32 CDAB", "00003fc0", 1.5),
        ("int64", "fffffffffffffffe", -2),
        ("uint64 CDAB", "0004000300020001", 0x0001000200030004),
        ("uint64 DCBA", "0807060504030000", 0x0000030405060708),
        ("float64", "3ff8000000000000", 1.5),
        ("float64 BADC", "f83f000000000000", 1.5),
    ],
)
def test_every_type_and_order_is_decoded(kind, payload, expected):
    value, valid, text = decode(bytes.fromhex(payload), ("holding:7", kind))
    assert (value, valid, text) == ([expected], [True], None)


def test_the_orders_agree_with_struct_for_random_numbers():
    table = [("holding:0", "int32"), ("holding:2", "float64"), ("holding:6", "uint16"), ("holding:7", "int64")]
    payload = struct.pack(">idHq", -123456, 2.75, 40000, -(2**40))
    assert decode(payload, *table)[0] == [-123456, 2.75, 40000, -(2**40)]


def test_bits_come_lowest_first():
    payload = bytes([0b1000_0101, 0b0000_0010])
    value, valid, _ = decode(payload, *[(f"coil:{n}", "") for n in range(10)])
    assert value == [1, 0, 1, 0, 0, 0, 0, 1, 0, 1]
    assert all(valid)


def test_a_decimal_scale_leaves_no_crumbs():
    rows = [("holding:0", "uint16", {"scale": 0.01}), ("holding:1", "uint16", {"scale": 0.001, "offset": 2.0})]
    # 1234 * 0.01 would be 12.34 and a bit; 57 * 0.001 too
    assert decode(struct.pack(">HH", 1234, 57), *rows)[0] == [12.34, 2.057]


def test_an_integer_that_a_float_cannot_hold_keeps_its_digits_in_the_text():
    exact, beyond = 2**53, 2**53 + 1
    value, valid, text = decode(
        struct.pack(">QQQ", exact, beyond, beyond),
        ("holding:0", "uint64"), ("holding:4", "uint64"), ("holding:8", "uint64", {"scale": 0.1}),
    )  # fmt: skip
    assert valid == [True, False, False]
    assert value[0] == exact
    assert text == [None, "9007199254740993", "900719925474099.3"]


def test_not_a_number_is_a_number_and_stays():
    value, valid, _ = decode(bytes.fromhex("7fc00000"), ("holding:0", "float32"))
    assert np.isnan(value[0])
    assert valid == [True]


ASKED = Request(unit=1, table="holding", address=0, count=2, slots=())


def frame(transaction=7, protocol=0, unit=1, function=3, data=b"\x04\x00\x01\x00\x02", length=None) -> bytes:
    size = len(data) + 2 if length is None else length
    return struct.pack(">HHHBB", transaction, protocol, size, unit, function) + data


def test_the_right_reply_is_taken():
    assert payload_of(frame(), 7, ASKED) == b"\x00\x01\x00\x02"


@pytest.mark.parametrize(
    "reply",
    [
        frame(transaction=0),
        frame(transaction=8),
        frame(protocol=1),
        frame(unit=2),
        frame(function=4),
        frame(data=b"\x02\x00\x01"),  # too short
        frame(data=b"\x06\x00\x01\x00\x02\x00\x03"),  # too long
        frame(data=b"\x04\x00\x01\x00\x02\x00\x03"),  # byte count and bytes disagree
        frame(data=b"\x06\x00\x01\x00\x02"),
        frame(length=5),
        frame(function=0x84, data=b"\x02"),
        frame() + b"\x00",
        frame() + frame(),
        b"",
    ],
)
def test_no_reply_to_another_question_is_taken(reply):
    with pytest.raises(WrongReply):
        payload_of(reply, 7, ASKED)


@given(st.binary(max_size=40))
def test_random_bytes_never_pass_for_a_reply(reply):
    with contextlib.suppress(WrongReply, ExceptionReply):
        assert len(payload_of(reply, 7, ASKED)) == 4


# --- over sockets ---


@contextlib.asynccontextmanager
async def server(*units: SimDevice):
    """A server of the library; each holding register holds its own address unless a test says otherwise."""
    running = ModbusTcpServer(list(units), address=("127.0.0.1", 0), ignore_missing_devices=True)
    await running.serve_forever(background=True)
    try:
        yield f"modbus+tcp://127.0.0.1:{running.transport.sockets[0].getsockname()[1]}"
    finally:
        await running.shutdown()


def unit(number: int, first_register: int = 0, count: int = 200) -> SimDevice:
    values = list(range(first_register, first_register + count))
    data = SimData(first_register, values=values, datatype=DataType.REGISTERS, readonly=True)
    return SimDevice(id=number, simdata=data)


def test_a_poll_brings_every_point_of_several_units():
    async def run() -> None:
        async with server(unit(1), unit(2)) as url:
            rows = points(("holding:5", ""), ("2/holding:150", ""), ("holding:40", "", {"scale": 0.1}))
            connector = modbus.Connector(source(url), rows)
            await connector.connect()
            (readings,) = await first(connector)
            await connector.close()
            await connector.close()
            by_point = dict(zip(readings.points.tolist(), readings.value.tolist(), strict=True))
            assert by_point == {0: 5.0, 1: 150.0, 2: 4.0}
            assert readings.valid.all()
            assert not readings.status.any()
            assert (abs(readings.ts - readings.ts_recv) < 5e9).all()

    within(10, run)


def test_each_period_is_polled_on_its_own():
    async def run() -> None:
        async with server(unit(1)) as url:
            rows = points(("holding:5", "", {"period": "20ms"}), ("holding:6", "", {"period": "10s"}))
            connector = modbus.Connector(source(url), rows)
            await connector.connect()
            polls = [tuple(r.points.tolist()) for r in await first(connector, 4)]
            await connector.close()
            assert sorted(polls[:2]) == [(0,), (1,)]
            assert polls[2:] == [(0,), (0,)]

    within(10, run)


def test_a_register_that_does_not_exist_fails_alone():
    async def run() -> None:
        async with server(unit(1, count=50)) as url:
            rows = points(("holding:48", ""), ("holding:49", ""), ("holding:50", ""), ("holding:3", ""))
            connector = modbus.Connector(source(url), rows)
            await connector.connect()
            for readings in await first(connector, 2):
                by_point = dict(zip(readings.points.tolist(), readings.status.tolist(), strict=True))
                assert by_point == {0: 0, 1: 0, 2: status.BAD_CONFIGURATION_ERROR, 3: 0}
                assert dict(zip(readings.points.tolist(), readings.valid.tolist(), strict=True))[2] is False
            await connector.close()

    within(10, run)


def answer(request: bytes, values: list[int]) -> bytes:
    """A right reply to a request for registers."""
    data = struct.pack(f">{len(values)}H", *values)
    return request[:4] + struct.pack(">HBBB", 3 + len(data), request[6], request[7], len(data)) + data


ROGUES = {
    "the wrong function": lambda r: r[:7] + b"\x04" + answer(r, [111])[8:],
    "too few registers": lambda r: r[:4] + b"\x00\x03" + r[6:8] + b"\x00",
    "too many registers": lambda r: answer(r, [111, 112]),
    "another transaction": lambda r: b"\x77\x77" + answer(r, [111])[2:],
    "transaction 0": lambda r: b"\x00\x00" + answer(r, [111])[2:],
    "another unit": lambda r: answer(r, [111])[:6] + b"\x09" + answer(r, [111])[7:],
    "another protocol": lambda r: r[:2] + b"\x00\x01" + answer(r, [111])[4:],
    "more bytes than it counts": lambda r: r[:4] + b"\x00\x07" + r[6:8] + b"\x02\x00\x6f\x00\x6f",
}


@pytest.mark.parametrize("rogue", ROGUES)
def test_no_value_is_taken_from_a_reply_with(rogue):
    async def run() -> None:
        async with fake_modbus(lambda request, _: [ROGUES[rogue](request)]) as url:
            connector = modbus.Connector(source(url), points(("holding:5", "")))
            await connector.connect()
            with pytest.raises(SourceLost):
                await first(connector)
            await connector.close()

    within(10, run)


def test_a_reply_in_single_bytes_is_taken():
    async def run() -> None:
        async with fake_modbus(lambda r, _: [bytes([b]) for b in answer(r, [222])]) as url:
            connector = modbus.Connector(source(url), points(("holding:5", "")))
            await connector.connect()
            (readings,) = await first(connector)
            await connector.close()
            assert readings.value.tolist() == [222]

    within(10, run)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1, status.BAD_NOT_SUPPORTED),
        (2, status.BAD_CONFIGURATION_ERROR),
        (4, status.BAD_DEVICE_FAILURE),
        (6, status.BAD_RESOURCE_UNAVAILABLE),
        (11, status.BAD_NO_COMMUNICATION),
        (99, status.BAD),
    ],
)
def test_an_exception_is_the_status_of_the_points_asked_for(code, expected):
    def reply(request: bytes, _: int) -> list[bytes]:
        return [request[:4] + b"\x00\x03" + request[6:7] + bytes([request[7] | 0x80, code])]

    async def run() -> None:
        async with fake_modbus(reply) as url:
            connector = modbus.Connector(source(url), points(("holding:5", ""), ("holding:6", "")))
            await connector.connect()
            (readings,) = await first(connector)
            await connector.close()
            assert readings.status.tolist() == [expected] * 2
            assert not readings.valid.any()

    within(10, run)


def test_a_silent_unit_fails_alone_and_its_late_reply_is_never_taken_for_anothers():
    held: dict[int, bytes] = {}

    def reply(request: bytes, connection: int) -> list[bytes]:
        if request[6] == 2:  # this unit answers only when the next question has come, as transaction 0
            held[connection] = b"\x00\x00" + answer(request, [111])[2:]
            return []
        return [held[connection], answer(request, [222])] if connection in held else [answer(request, [222])]

    async def run() -> None:
        async with fake_modbus(reply) as url:
            connector = modbus.Connector(source(url), points(("1/holding:5", ""), ("2/holding:5", "")))
            await connector.connect()
            for readings in await first(connector, 4):
                rows = zip(readings.points.tolist(), readings.status.tolist(), readings.value.tolist(), strict=True)
                found = {p: (s, v) for p, s, v in rows}
                assert found[0] == (0, 222)
                assert found[1][0] == status.BAD_NO_COMMUNICATION
                assert np.isnan(found[1][1])
            await connector.close()
            assert len(held) == 1  # backed off: asked once, not at each poll

    within(10, run)


def test_the_connection_is_lost_when_every_unit_is_silent():
    async def run() -> None:
        async with silent_server() as port:
            url = f"modbus+tcp://127.0.0.1:{port}"
            connector = modbus.Connector(source(url), points(("1/holding:5", ""), ("2/holding:5", "")))
            await connector.connect()
            with pytest.raises(SourceLost, match="no other unit answers"):
                await first(connector)
            await connector.close()

    within(10, run)


def test_a_closed_connection_is_noticed_before_the_timeout():
    async def run() -> None:
        async with fake_modbus(lambda request, _: None) as url:
            connector = modbus.Connector(source(url, timeout="60s"), points(("holding:5", "")))
            await connector.connect()
            with pytest.raises(SourceLost, match="closed the connection"):
                await first(connector)
            await connector.close()

    within(5, run)


def test_a_port_where_nobody_listens_is_a_lost_source():
    async def run() -> None:
        async with silent_server() as port:
            pass
        connector = modbus.Connector(source(f"modbus+tcp://127.0.0.1:{port}"), points(("holding:5", "")))
        with pytest.raises(SourceLost):
            await connector.connect()
        await connector.close()

    within(5, run)

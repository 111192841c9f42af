"""Modbus: addresses, plan and decoding without a socket; then real and rogue servers."""

import asyncio
import contextlib
import struct

import numpy as np
import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from config import status
from config.plant import Point, Source
from connectors import modbus
from connectors.base import Readings, SourceLost
from connectors.polling import Schedule
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


def test_groups_of_other_periods_begin_a_phase_later_so_that_they_do_not_meet():
    time = VirtualTime()
    schedule = Schedule([1_000, 2_000], phases=[0, 500], clock=lambda: time.now, sleep=time.sleep)

    async def ticks() -> list[tuple[int, list[int]]]:
        seen = []
        for _ in range(6):
            groups = sorted(await schedule.due())
            seen.append((time.now, groups))
        return seen

    # all at once in the beginning, so that every point is known soon; then apart
    assert asyncio.run(ticks()) == [(0, [0, 1]), (1000, [0]), (2000, [0]), (2500, [1]), (3000, [0]), (4000, [0])]


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
            found: dict[int, list[tuple[int, float]]] = {0: [], 1: []}
            for readings in await first(connector, 5):
                rows = zip(readings.points.tolist(), readings.status.tolist(), readings.value.tolist(), strict=True)
                for point, code, value in rows:
                    found[point].append((code, value))
            await connector.close()
            assert len(found[0]) >= 4
            assert set(found[0]) == {(0, 222)}
            assert {code for code, _ in found[1]} == {status.BAD_NO_COMMUNICATION}
            assert all(np.isnan(value) for _, value in found[1])
            assert len(held) == 2  # asked, asked again, and then left to rest: not asked at each poll

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


def test_a_connection_that_was_closed_while_nothing_was_asked_is_made_anew_without_a_gap():
    # as gateways do to clients that are quiet for a minute: an energy meter may be read every quarter of an hour
    async def run() -> None:
        connections = set()

        def reply(request: bytes, connection: int) -> list[bytes]:
            connections.add(connection)
            return [answer(request, [222])]

        async with fake_modbus(reply, closes_after_each=True) as url:
            connector = modbus.Connector(source(url, period="100ms"), points(("holding:5", "")))
            await connector.connect()
            found = await first(connector, 4)
            await connector.close()
            assert [readings.value.tolist() for readings in found] == [[222]] * 4
            assert len(connections) >= 4
            assert not connector.faults

    within(10, run)

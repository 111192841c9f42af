"""What one unit, register or group of a link does to the others: nothing. Each case was seen to go wrong once."""

import asyncio
import contextlib
import random

import pytest

from collector.batch import Intake
from config import status
from config.load import load_plant
from config.plant import Device, Point, Source
from connectors import modbus
from connectors.base import SourceLost
from connectors.modbus import owed, parts, units
from tests.modbus_peers import Bank, _served, crc, rtu_over_tcp, tcp
from tests.servers import fake_modbus, within
from tests.test_modbus_serial import Seen, points, polls


def source(url, **settings):
    return Source(id="line", kind="modbus", url=url, **({"period": "50ms", "timeout": "150ms"} | settings))


@contextlib.asynccontextmanager
async def reading(reply, table, *, serve=tcp, transport="tcp", **settings):
    async with serve(reply) as port:
        scheme = f"modbus+{transport}"
        connector = modbus.Connector(source(f"{scheme}://127.0.0.1:{port}", **settings), table)
        await connector.connect()
        try:
            yield Seen(connector, table)
        finally:
            await connector.close()


def good(seen, point):
    return [value for value, code in seen.rows[point] if code == 0]


def test_a_unit_on_which_the_gateway_closes_the_connection_fails_alone(monkeypatch):
    monkeypatch.setattr(units, "REST_NS", (100_000_000, 100_000_000))
    monkeypatch.setattr(units.Rest.__init__, "__defaults__", (100_000_000, *units.Rest.__init__.__defaults__[1:]))
    asked = []

    def reply(request, _):
        if request[6] == 9:
            asked.append(request)
            return None
        data = request[8:10]  # each register holds its own address
        return [request[:4] + b"\0\5" + request[6:8] + b"\2" + data]

    async def run():
        async with fake_modbus(reply) as url:
            table = points("1/holding:5", "9/holding:6", "10/holding:7")
            connector = modbus.Connector(source(url), table)
            await connector.connect()
            seen = Seen(connector, table)
            await seen.until(lambda rows: len(rows["1/holding:5"]) >= 30)
            await connector.close()
            assert good(seen, "1/holding:5") == [5.0] * 30
            assert set(good(seen, "10/holding:7")) == {7.0}
            assert good(seen, "9/holding:6") == []
            assert len(asked) >= 5  # at each probe again, and never in a row: the link is not lost for it
            assert any("unit 9" in told and "closed the connection" in told for told in connector.warnings())

    within(20, run)


def test_what_was_read_before_the_link_was_lost_is_handed_over():
    asked = []

    def reply(request, _):
        asked.append(request[6])
        return None if request[6] != 1 else [request[:4] + b"\0\5" + request[6:8] + b"\2" + request[8:10]]

    async def run():
        async with fake_modbus(reply) as url:
            table = points("1/holding:5", *(f"{unit}/holding:5" for unit in range(2, 9)))
            connector = modbus.Connector(source(url), table)
            await connector.connect()
            seen = Seen(connector, table)
            with pytest.raises(SourceLost, match="closed the connection"):
                await seen.until(lambda _: False)
            await connector.close()
            assert 5.0 in good(seen, "1/holding:5")
            assert len(asked) <= 6  # three closes in a row are no unit's failure any more

    within(20, run)


def test_a_register_that_goes_silent_later_on_is_found_too(monkeypatch):
    monkeypatch.setattr(units, "REST_NS", (100_000_000, 200_000_000))

    async def run():
        bank = Bank()
        table = points("1/holding:1", "1/holding:5", "1/holding:300", "2/holding:7")
        async with reading(bank.answer, table) as seen:
            await seen.until(polls(3))
            bank.cells[1, "holding", 5] = "silent"
            await seen.until(lambda rows: rows["1/holding:5"][-1][1] == status.BAD_TIMEOUT)
            before = len(seen.rows["1/holding:1"])
            await seen.until(lambda rows: len(rows["1/holding:1"]) >= before + 10)
            assert seen.rows["1/holding:1"][before:] == [(1.0, 0)] * 10
            assert seen.rows["1/holding:300"][-1] == (300.0, 0)
            assert set(good(seen, "2/holding:7")) == {7.0}

    within(20, run)


def test_a_unit_slower_than_the_period_that_loses_a_frame_is_read_on():
    async def run():
        bank, lost = Bank(), []

        def reply(unit, pdu):
            answer = bank.answer(unit, pdu)
            if unit == 2 and len(bank.requests) == 12:
                lost.append(pdu)
                return None
            return answer

        def serve(reply):
            return tcp(reply, delays={2: 0.12})

        table = points("1/holding:5", "2/holding:6")
        async with reading(reply, table, serve=serve, timeout="300ms") as seen:
            await seen.until(lambda rows: len(rows["2/holding:6"]) >= 15)
            assert len(lost) == 1
            assert good(seen, "2/holding:6") == [6.0] * 15  # the second try had the time that it always takes
            assert good(seen, "1/holding:5") == [5.0] * len(seen.rows["1/holding:5"])

    within(20, run)


def test_a_frame_lost_behind_a_gateway_that_says_so_is_asked_for_again():
    async def run():
        bank, count = Bank(), iter(range(10_000))

        def reply(unit, pdu):  # each fifth request is answered with "target did not respond"
            return bytes([pdu[0] | 0x80, 11]) if next(count) % 5 == 4 else bank.answer(unit, pdu)

        table = points("1/holding:1", "2/holding:2")
        async with reading(reply, table) as seen:
            await seen.until(polls(15))
            assert good(seen, "1/holding:1") == [1.0] * 15
            assert set(good(seen, "2/holding:2")) == {2.0}
            assert seen.statuses("2/holding:2") == {0}

    within(20, run)


def test_a_late_answer_of_one_unit_costs_its_neighbour_no_poll():
    async def run():
        bank, pending = Bank(), []

        def spoil(frame):  # unit 1 answers each question only when unit 2 is asked next
            if frame[0] == 1:
                pending.append(frame)
                return []
            late, pending[:] = pending[:], []
            return [*late, frame]

        table = points("1/holding:1", "2/holding:2")

        def serve(reply):
            return rtu_over_tcp(reply, spoil=spoil)

        async with reading(bank.answer, table, serve=serve, transport="rtutcp") as seen:
            await seen.until(lambda rows: len(rows["2/holding:2"]) >= 15)
            assert good(seen, "2/holding:2") == [2.0] * len(seen.rows["2/holding:2"])
            assert good(seen, "1/holding:1") == []

    within(20, run)


def test_a_link_is_lost_although_a_unit_that_is_read_once_an_hour_has_not_failed_yet():
    async def run():
        bank = Bank()
        table = [*points("1/holding:5"), Point(point="hourly", asset="m", address="2/holding:5", period="1h")]
        async with reading(bank.answer, table, serve=rtu_over_tcp, transport="rtutcp") as seen:
            await seen.until(polls(1))
            bank.silent |= {1, 2}
            with pytest.raises(SourceLost, match="no other unit answers"):
                await seen.until(lambda _: False)
            assert any(unit == 2 for unit, *_ in bank.requests)

    within(20, run)


def test_a_group_that_takes_long_lets_the_fast_one_go_first():
    async def run():
        def serve(reply):
            return tcp(reply, delays={0: 0.02})

        slow = [Point(point=f"s{n}", asset="m", address=f"holding:{100 * n}", period="30s") for n in range(1, 60)]
        fast = Point(point="fast", asset="m", address="holding:5", period="100ms")
        table = [fast, *slow]  # 59 requests of 20 ms take more than a second
        async with reading(Bank().answer, table, serve=serve) as seen:
            await seen.until(lambda rows: rows["s59"])
            assert len(seen.rows["fast"]) >= 10
            assert seen.connector.figures()["polls_missed"] == 0

    within(20, run)


def test_of_many_dead_units_the_one_that_waits_longest_is_asked_first(monkeypatch):
    monkeypatch.setattr(units, "REST_NS", (50_000_000, 200_000_000))

    async def run():
        bank = Bank()
        dead = set(range(2, 22))
        bank.silent |= dead
        table = points("1/holding:5", *(f"{unit}/holding:5" for unit in sorted(dead)))
        async with reading(bank.answer, table, timeout="20ms") as seen:
            await seen.until(lambda rows: len(rows["1/holding:5"]) >= 10)
            bank.silent.discard(21)  # the last in order, while those before it stay dead
            await seen.until(lambda rows: rows["21/holding:5"] and rows["21/holding:5"][-1] == (5.0, 0))

    within(30, run)


def test_a_range_tried_whole_again_costs_nothing_but_the_try(monkeypatch):
    monkeypatch.setattr(parts, "REJOIN_NS", 0)

    async def run():
        bank = Bank({(1, "holding", 5): "exception 2"})
        table = points("1/holding:1", "1/holding:3", "1/holding:5", "1/holding:7")
        async with reading(bank.answer, table, period="10ms") as seen:
            await seen.until(polls(30))
            for point in ("1/holding:1", "1/holding:3", "1/holding:7"):
                assert len(good(seen, point)) == len(seen.rows[point])  # not one poll is bad meanwhile
            assert good(seen, "1/holding:5") == []

    within(20, run)


def test_the_bits_of_a_refused_word_are_asked_for_together():
    async def run():
        bank = Bank({(1, "holding", 1): "exception 2"})
        table = points(*(f"1/holding:0.{bit}" for bit in range(16)), *(f"1/holding:1.{bit}" for bit in range(16)))
        async with reading(bank.answer, table) as seen:
            await seen.until(polls(5))
            assert seen.connector.figures()["requests_a_cycle"] == 2
            assert {count for *_, count in bank.requests} == {1, 2}

    within(20, run)


def test_limits_hold_for_integers_that_no_float_holds():
    point = Point(point="p", asset="m", source="line", address="holding:0", type="uint64", maximum=1e6)

    async def run():
        bank = Bank({(1, "holding", n): 0x7FFF if n == 0 else 0xFFFF for n in range(4)})
        async with reading(bank.answer, [point]) as seen:
            readings = await anext(aiter(seen.connector.readings()))
            (rows,) = Intake([point], 0).take(readings)
            assert list(rows.text) == ["9223372036854775807"]
            assert rows.status.tolist() == [status.BAD_OUT_OF_RANGE]

    within(10, run)


@pytest.mark.parametrize("raw", [(0x7FA0, 0), (0x7F80, 0), (0xFF80, 0)])
def test_numbers_that_are_none_and_infinite_ones_pass_without_a_warning(raw):
    table = [
        Point(point="plain", asset="m", source="line", address="holding:0", type="float32"),
        Point(point="scaled", asset="m", source="line", address="holding:0", type="float32", scale=0.1, offset=1),
        Point(point="ratio", asset="m", source="line", address="holding:5", scale_register="holding:0 float32"),
    ]

    async def run():
        bank = Bank({(1, "holding", 0): raw[0], (1, "holding", 1): raw[1]})
        async with reading(bank.answer, table) as seen:
            await seen.until(polls(2))
            assert seen.statuses("plain") == {0}
            assert seen.statuses("scaled") == {0}
            assert seen.statuses("ratio") == {status.BAD_NO_VALUE}  # neither is a ratio

    within(10, run)


def test_two_tables_of_one_device_are_a_fault_even_beside_a_map_and_so_is_another_units_range(tmp_path):
    (tmp_path / "assets.csv").write_text("asset\nm\n")
    (tmp_path / "points.csv").write_text("point,asset,source,address\np,m,s,3/holding:10\n")
    head = 'version = 1\n[plant]\nid = "p"\n[[source]]\nid = "s"\nkind = "modbus"\nurl = "modbus+tcp://h"\n'
    device = '[[source.device]]\nunit = 3\nforbidden = ["holding:0-99"]\n[[source.device]]\nunit = 3\ntimeout = "2s"\n'
    (tmp_path / "plant.toml").write_text(head + device)
    made = load_plant(tmp_path).sources[0]
    assert "unit 3 stands twice" in (modbus.check_source(made) or "")
    other = source("modbus+tcp://h", device=(Device(unit=3, forbidden=("4/holding:1",)),))
    assert "which is another unit's" in (modbus.check_source(other) or "")


def test_a_fault_of_a_device_has_the_line_of_its_own_table(tmp_path):
    (tmp_path / "assets.csv").write_text("asset\nm\n")
    (tmp_path / "points.csv").write_text("point,asset\n")
    (tmp_path / "plant.toml").write_text(
        'version = 1\n[plant]\nid = "p"\n[[source]]\nid = "a"\nkind = "modbus"\nurl = "modbus+tcp://h"\n'
        "[[source.device]]\nunit = 3\n[[source.device]]\nunit = 300\n"
        '[[source]]\nid = "b"\nkind = "modbus"\nurl = "modbus+tcp://h2"\n[[source.device]]\npause = 5\nunit = 1\n'
    )
    with pytest.raises(Exception, match="300") as told:
        load_plant(tmp_path)
    assert [fault.place for fault in told.value.faults] == [
        "plant.toml:11: source[1].device[2].unit",
        "plant.toml:17: source[2].device[1].pause",
    ]


def test_a_fast_group_that_fills_the_line_leaves_the_slower_ones_their_turn():
    async def run():
        def serve(reply):
            return tcp(reply, delays={0: 0.02})

        fast = [Point(point=f"f{n}", asset="m", address=f"holding:{100 * n}", period="100ms") for n in range(10)]
        slow = Point(point="slow", asset="m", address="input:5", period="500ms")
        async with reading(Bank().answer, [*fast, slow], serve=serve) as seen:
            await seen.until(lambda rows: len(rows["f0"]) >= 15)  # of 200 ms each
            assert len(seen.rows["slow"]) >= 4
            assert seen.connector.figures()["polls_missed"] > 0
            seen.connector.warnings()
            await seen.until(lambda rows: len(rows["f0"]) >= 18)
            assert any("polls were missed within a minute" in told for told in seen.connector.warnings())

    within(20, run)


def test_a_gateway_that_waits_longer_for_a_dead_unit_than_we_do_costs_the_others_no_value():
    async def run():
        bank, line = Bank(), asyncio.Lock()

        async def serve(reader, writer):
            async def forward(head, pdu):
                async with line:  # one serial line; what is given up by us stays in the gateway's queue
                    await asyncio.sleep(0.45 if head[6] == 1 else 0.002)
                answer = bytes([pdu[0] | 0x80, 11]) if head[6] == 1 else bank.answer(head[6], pdu)
                if not writer.is_closing():
                    writer.write(head[:4] + (1 + len(answer)).to_bytes(2, "big") + head[6:7] + answer)

            pending = set()
            while True:
                head = await reader.readexactly(7)
                pending.add(asyncio.create_task(forward(head, await reader.readexactly(head[5] - 1))))

        async with _served(serve, 0, None) as port:
            table = points("1/holding:1", "2/holding:2", "3/holding:3")
            url = f"modbus+tcp://127.0.0.1:{port}"
            connector = modbus.Connector(source(url, period="300ms"), table)  # timeout 150 ms, a third of the gateway's
            await connector.connect()
            seen = Seen(connector, table)
            await seen.until(lambda rows: len(rows["3/holding:3"]) >= 8)
            await connector.close()
            await asyncio.sleep(1.0)  # the gateway's own queue ends
        assert good(seen, "2/holding:2") == [2.0] * len(seen.rows["2/holding:2"])
        assert good(seen, "3/holding:3") == [3.0] * 8
        assert good(seen, "1/holding:1") == []

    within(20, run)


def test_a_controller_that_refuses_everything_for_a_while_keeps_its_ranges_whole(monkeypatch):
    monkeypatch.setattr(units, "REST_NS", (100_000_000, 200_000_000))

    async def run():
        bank, loading = Bank(), []

        def reply(unit, pdu):
            return bytes([pdu[0] | 0x80, 4]) if loading else bank.answer(unit, pdu)

        async with reading(reply, points(*(f"1/holding:{n}" for n in range(20)))) as seen:
            seen.connector._groups[0].roots[0].rest.first = 100_000_000
            await seen.until(polls(2))
            loading.append("program")
            await seen.until(lambda rows: rows["1/holding:7"][-1][1] == status.BAD_DEVICE_FAILURE)
            loading.clear()
            await seen.until(lambda rows: rows["1/holding:7"][-1] == (7.0, 0))
            assert seen.connector.figures()["requests_a_cycle"] == 1
            # a single register that is refused is found all the same
            bank.cells[1, "holding", 7] = "exception 4"
            await seen.until(lambda rows: rows["1/holding:7"][-1][1] == status.BAD_DEVICE_FAILURE)
            await seen.until(lambda rows: rows["1/holding:8"][-1] == (8.0, 0))

    within(20, run)


# --- what a line without transaction numbers may still bring ---


def test_an_answer_counts_only_where_no_older_one_of_its_shape_can_come(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(owed.time, "monotonic", lambda: clock[0])
    line = owed.Owed()
    assert 1 not in line
    line.add(1, (3, 2))  # at 100: one register, given up
    line.add(1, (3, 4))
    assert line.shapes(1, 0.1) == {(3, 2), (3, 4)}
    assert 2 not in line
    clock[0] = 106.0  # longer ago than 5 s and than ten timeouts: gone, but for the last one
    assert line.shapes(1, 0.1) == {(3, 4)}
    assert line.shapes(1, 1.0) == {(3, 4)}
    line.refused(1, (3, 6))  # an exception: that of the oldest, or of this one
    assert line.shapes(1, 0.1) == {(3, 6)}
    line.answered(1)
    assert 1 not in line
    assert line.shapes(1, 0.1) == set()


def test_a_line_keeps_what_it_owes_across_connections():
    owed.owed_on("/dev/ttyTEST").add(3, (4, 20))
    assert owed.owed_on("/dev/ttyTEST").shapes(3, 1.0) == {(4, 20)}
    owed.owed_on("/dev/ttyTEST").answered(3)


SINGLE = ["1/holding:1", "1/holding:50", "1/holding:90"]


@pytest.mark.parametrize("addresses", [SINGLE, [*SINGLE, "1/holding:91", "2/holding:4"]], ids=["single", "mixed"])
def test_of_a_device_that_is_often_late_no_answer_is_taken_for_anothers(monkeypatch, addresses):
    monkeypatch.setattr(units, "REST_NS", (50_000_000, 200_000_000))
    rng = random.Random(5)

    async def run():
        bank, queue, writers = Bank(), asyncio.Queue(), []

        async def device():
            while True:
                frame = await queue.get()
                await asyncio.sleep(rng.uniform(0.03, 0.15) if rng.random() < 0.2 else 0.002)  # timeout: 60 ms
                answer = bank.answer(frame[0], frame[1:-2])
                if not writers[-1].is_closing():
                    writers[-1].write(frame[:1] + answer + crc(frame[:1] + answer))

        async def serve(reader, writer):
            writers.append(writer)  # what is late goes to whoever is connected, as serial servers do it
            while True:
                head = await reader.readexactly(2)
                queue.put_nowait(head + await reader.readexactly(5 if head[1] == 0x2B else 6))

        table, deadline = points(*addresses), asyncio.get_running_loop().time() + 4
        found = {point: [] for point in addresses}
        async with _served(serve, 0, None) as port:
            slow = asyncio.create_task(device())
            while asyncio.get_running_loop().time() < deadline:
                url = f"modbus+rtutcp://127.0.0.1:{port}"
                connector = modbus.Connector(source(url, timeout="60ms", max_gap=0), table)
                seen = Seen(connector, table)
                with contextlib.suppress(SourceLost):
                    await connector.connect()
                    await seen.until(lambda _: asyncio.get_running_loop().time() > deadline)
                await connector.close()
                for point in addresses:
                    found[point] += good(seen, point)
            slow.cancel()
        assert sum(map(len, found.values())) > 30
        for point, values in found.items():
            assert set(values) <= {float(point.rpartition(":")[2])}

    within(30, run)

"""What networks, gateways and devices do to Modbus: peers that err on purpose, the agent, its spool and lake.

Registers hold their own address and the number of the request that asked for them, so that every good row of the lake
can be held against what was truly asked and said.
"""

import asyncio
import bisect
import contextlib
import gc
import itertools
import random
import struct
import time
import tracemalloc
from collections import Counter

import polars as pl
import pytest

import collector.agent
import connectors.modbus.bus
import connectors.modbus.units
from collector.ledger import read_ledger
from config import status
from config.status import BAD_NO_COMMUNICATION, BAD_TIMEOUT, GOOD
from connectors import modbus
from connectors.base import SourceLost
from connectors.modbus.frames import ExceptionReply, Framing, Mbap, Read, Rtu, WrongReply
from connectors.modbus.units import Rest
from kpis.compute import Basis, Window, results
from kpis.demand import demand
from kpis.facts import facts
from tests.modbus_peers import READS, SILENT, Bank, Line, crc, rtu_over_tcp, tcp, udp, unspoilt
from tests.proxy import Proxy, one_byte, pieces, torn
from tests.running import Asset, Point, Source, descriptors, lake_of, plant_for, running, settle, until
from tests.servers import within

STEP = 32
"""Addresses of these tests are below; the rest of a register counts requests, up to 2,048."""
TIMEOUT_S = 0.3
WAYS = ("tcp", "udp", "rtutcp", "line")


# --- the device ---


class Numbered(Bank):
    """Registers hold their own address and, in steps of 32, the number of the request that asked for them."""

    def __init__(self, *, cells=None, **settings):
        super().__init__(**settings)
        self.special = dict(cells or {})
        self.asked = []
        """Of each request: time [ns], unit, first address and count."""

    def answer(self, unit, pdu):
        if pdu[0] in READS:
            first, count = struct.unpack(">HH", pdu[1:5])
            own = {(unit, READS[pdu[0]], n): n + STEP * len(self.asked) for n in range(first, first + count)}
            self.cells = own | self.special
            self.asked.append((time.time_ns(), unit, first, count))
        return super().answer(unit, pdu)

    def times(self, unit, address, since=0):
        """When a register was asked for [ns]."""
        return [at for at, of, first, count in self.asked if of == unit and first <= address < first + count
                and at >= since]  # fmt: skip


@contextlib.asynccontextmanager
async def served(way, reply, spoil=unspoilt):
    """Serve a bank's answers; yields the URL."""
    if way == "line":
        with Line(reply, spoil=spoil) as line:
            yield f"modbus+rtu://{line.device}?baud=115200"
    else:
        async with {"tcp": tcp, "udp": udp, "rtutcp": rtu_over_tcp}[way](reply, spoil=spoil) as port:
            yield f"modbus+{way}://127.0.0.1:{port}"


# --- the agent ---


def source(url, **settings):
    words = {"id": "m", "kind": "modbus", "url": url, "period": "50ms", "timeout": f"{TIMEOUT_S}s", "max_gap": 4}
    return Source(**words | settings)


def point(name, **settings):
    """A point `unit/address`."""
    unit, _, address = name.partition("/")
    words = {"point": name, "asset": "a", "source": "m", "store": "all", "address": f"{unit}/holding:{address}"}
    return Point(**words | settings)


def plant_of(root, url, names, **settings):
    return plant_for(root, [source(url, **settings)], [Asset(asset="a")], [point(name) for name in names])


def link(agent):
    return agent.status.sources["m"]


def refused(agent):
    """How many replies the connection that stands now has refused."""
    connector, _ = agent._links["m"]
    return sum(count for reason, count in connector.faults.items() if "refused" in reason)


@pytest.fixture
def quick(monkeypatch):
    """Pauses that are short: of the agent after a loss, of units that did not answer, of lines that are drained."""
    monkeypatch.setattr(connectors.modbus.bus, "QUIET_S", 0.02)
    monkeypatch.setattr(collector.agent, "BACK_OFF_S", (0.02, 0.05))
    rest(monkeypatch, 0.02, 0.05)


def rest(monkeypatch, first, longest):
    """Units that do not answer rest for so long [s]."""
    ns = (int(first * 1e9), int(longest * 1e9))
    monkeypatch.setattr(connectors.modbus.units, "REST_NS", ns)
    monkeypatch.setattr(Rest.__init__, "__defaults__", (ns[0], *Rest.__init__.__defaults__[1:]))


# --- the lake ---


def good(lake, name):
    """Times [ns] and values of a point's good rows."""
    if lake.is_empty():
        return []
    rows = lake.filter(pl.col("point") == name, pl.col("status") == GOOD)
    return [(ts, int(value)) for ts, value in rows.select(pl.col("ts").dt.epoch("ns"), "value").iter_rows()]


def statuses(lake, name):
    """A point's status from change to change."""
    codes = lake.filter(pl.col("point") == name)["status"].to_list() if not lake.is_empty() else []
    return [code for code, _ in itertools.groupby(codes)]


def wrong(bank, lake):
    """Good rows that the device did not say of that point, or said in answer to a question that was given up.

    Such a one comes when the device has been asked for that point anew already, however slow this machine is.
    """
    found = []
    for name in lake["point"].unique():
        unit, address = map(int, name.split("/"))
        asked = [(at, n) for n, (at, of, first, count) in enumerate(bank.asked)
                 if of == unit and first <= address < first + count]  # fmt: skip
        for ts, value in good(lake, name):
            number, own = divmod(value, STEP)
            before = bisect.bisect(asked, (ts, len(bank.asked)))
            if own != address or before == 0 or asked[before - 1][1] != number:
                found.append((name, value, number, asked[max(0, before - 2) : before + 1], ts))
    return found


def gaps(lake, name):
    """From each last good row before a bad one to the next good one [ns]."""
    rows = lake.filter(pl.col("point") == name).select(pl.col("ts").dt.epoch("ns"), "status").rows()
    found, last, is_bad = [], None, False
    for ts, code in rows:
        if code != GOOD:
            is_bad = True
            continue
        if is_bad and last is not None:
            found.append((last, ts))
        last, is_bad = ts, False
    return found + ([(last, 2**63)] if is_bad and last is not None else [])


def unexplained(bank, lake, name):
    """What the device said after the first row, and neither lies in the lake nor in a gap (I3)."""
    unit, address = map(int, name.split("/"))
    rows = good(lake, name)
    seen = {value // STEP for _, value in rows}
    said = [(n, at) for n, (at, of, first, count) in enumerate(bank.asked)
            if of == unit and first <= address < first + count and n > min(seen)]  # fmt: skip
    return [n for n, at in said if n not in seen and not any(a <= at <= b for a, b in gaps(lake, name))]


def ledger(plant, event):
    return [e for e in read_ledger(plant.root / "spool" / "ledger.jsonl") if e["event"] == event]


async def flows(agent, patience=30.0):
    """Wait for good data that came after now; returns how long it took [s]."""
    began = time.monotonic()
    await until(lambda: (link(agent).last_data or 0) > began and link(agent).state == "connected", patience)
    return time.monotonic() - began


async def answers(agent, bank, name, patience=30.0):
    """Wait until a point's value is of a question that was asked after now."""
    begun = len(bank.asked)
    position = [p.point for p in agent.points].index(name)

    def is_new():
        if "m" not in agent._links:
            return False
        _, intake = agent._links["m"]
        return intake.status[position] == GOOD and intake.value[position] >= STEP * begun

    await until(is_new, patience)


# --- the network ---


def behind(proxy, way="tcp"):
    return f"modbus+{way}://127.0.0.1:{proxy.port}"


@contextlib.asynccontextmanager
async def proxied(way, reply):
    """A device behind a proxy."""
    async with served(way, reply) as url, Proxy(int(url.rsplit(":", 1)[1]), whole=pieces) as proxy:
        yield proxy


@pytest.mark.parametrize("way", ["tcp", "rtutcp"])
def test_after_each_reset_data_is_back_within_five_seconds_and_only_the_gap_is_missing(tmp_path, acknowledged, way):
    async def run():
        bank = Numbered()
        async with proxied(way, bank.answer) as proxy:
            plant = plant_of(tmp_path, behind(proxy, way), ["1/0", "1/20"])
            async with running(plant) as agent:
                for number in (1, 2):
                    await flows(agent)
                    await proxy.refuse()
                    proxy.reset()
                    await until(lambda: link(agent).state == "lost")
                    await proxy.accept()
                    assert await flows(agent) < 5.0
                    assert link(agent).connects == number + 1
        lake = settle(plant, acknowledged)
        for name in ("1/0", "1/20"):
            assert lake.filter(pl.col("point") == name, pl.col("status") == BAD_NO_COMMUNICATION).height == 2
            assert unexplained(bank, lake, name) == []
        assert wrong(bank, lake) == []
        assert set(bank.functions) <= {3, 0x2B}  # I4: registers, and who the device is

    within(30, run)


@pytest.mark.parametrize("way", ["tcp", "rtutcp", "line"])
def test_a_link_that_is_silent_is_noticed_within_two_timeouts_and_the_data_returns(tmp_path, acknowledged, way):
    async def run():
        bank = Numbered()
        async with contextlib.AsyncExitStack() as stack:
            if way == "line":  # a cable that was pulled
                url = await stack.enter_async_context(served(way, bank.answer))
                silence = lambda on: bank.silent.update({1}) if on else bank.silent.clear()  # noqa: E731
            else:
                proxy = await stack.enter_async_context(proxied(way, bank.answer))
                url = behind(proxy, way)
                silence = lambda on: setattr(proxy, "silent", on)  # noqa: E731
            plant = plant_of(tmp_path, url, ["1/0", "1/20"])
            async with running(plant) as agent:
                await flows(agent)
                silence(True)
                began = time.monotonic()
                await until(lambda: link(agent).state == "lost")
                noticed = time.monotonic() - began
                assert noticed <= 2 * TIMEOUT_S + 0.35, noticed  # a period, and a serial line's silence and 256 bytes
                assert not agent.status.report()["healthy"]
                silence(False)
                assert await flows(agent) < 5.0
                await answers(agent, bank, "1/20")
        lake = settle(plant, acknowledged)
        for name in ("1/0", "1/20"):
            assert statuses(lake, name)[:3] == [GOOD, BAD_NO_COMMUNICATION, GOOD]
            assert lake.filter(pl.col("point") == name, pl.col("status") == BAD_NO_COMMUNICATION).height == 1
            assert unexplained(bank, lake, name) == []
        assert wrong(bank, lake) == []

    within(30, run)


@pytest.mark.parametrize("way", ["tcp", "rtutcp"])
def test_answers_that_take_long_reconnect_nothing_and_every_value_is_right(tmp_path, acknowledged, way):
    async def run():
        bank = Numbered()
        async with proxied(way, bank.answer) as proxy:
            plant = plant_of(tmp_path, behind(proxy, way), ["1/0", "1/1", "2/7"], timeout="2s")
            proxy.delay = (0.05, 0.3)  # each way, which is 0.1 to 0.6 s for an answer
            async with running(plant) as agent:
                await until(lambda: link(agent).readings >= 2)
                assert link(agent).connects == proxy.connections == 1
                assert refused(agent) == link(agent).faults == 0
        lake = settle(plant, acknowledged)
        for name in ("1/0", "1/1", "2/7"):
            assert len(good(lake, name)) >= 2
            assert statuses(lake, name)[0] == GOOD
            assert unexplained(bank, lake, name) == []
        assert wrong(bank, lake) == []

    within(30, run)


@pytest.mark.parametrize("way", ["tcp", "rtutcp"])
@pytest.mark.parametrize("division", ["one byte", "torn", "merged"])
def test_however_tcp_divides_the_answers_every_value_is_right(tmp_path, acknowledged, way, division):
    async def run():
        bank = Numbered()
        async with proxied(way, bank.answer) as proxy:
            proxy.cut = {"one byte": one_byte, "torn": torn(random.Random(5), 7)}.get(division)
            proxy.merge = 0.02 if division == "merged" else 0.0
            names = [f"{unit}/{n}" for unit in (1, 2) for n in range(0, 32, 6)]
            plant = plant_of(tmp_path, behind(proxy, way), names, timeout="2s", period="20ms", max_gap=16)
            async with running(plant) as agent:
                await until(lambda: link(agent).readings >= 20)
                assert link(agent).connects == proxy.connections == 1
                assert refused(agent) == link(agent).faults == 0
            if division == "one byte":
                assert proxy.segments > 20 * 2 * 60
        lake = settle(plant, acknowledged)
        for name in names:
            assert len(good(lake, name)) >= 20
            assert unexplained(bank, lake, name) == []
        assert wrong(bank, lake) == []

    within(30, run)


def test_thirty_cuts_one_after_another_leave_no_descriptor_and_no_task(tmp_path, quick):
    async def run():
        bank = Numbered()
        async with proxied("tcp", bank.answer) as proxy:
            plant = plant_of(tmp_path, behind(proxy), ["1/0", "2/0"], period="20ms")
            async with running(plant) as agent:
                await flows(agent)
                before, tasks = descriptors(), len(asyncio.all_tasks())
                for number in range(1, 31):
                    proxy.reset()
                    await until(lambda n=number: proxy.connections > n)
                    await flows(agent)
                await until(lambda: proxy.open == 1 and abs(len(asyncio.all_tasks()) - tasks) <= 1)
                await until(lambda: descriptors() <= before)
            names = [task.get_name() for task in asyncio.all_tasks()]
            assert not [name for name in names if name.startswith(("source", "sink", "committer"))]

    within(40, run)


# --- devices and gateways that answer what nobody asked ---

LIE = 0xEE


def lying(values):
    return bytes([LIE]) * len(values)


def mbap(head, unit, pdu, *, length=None):
    return head[:4] + struct.pack(">HB", 1 + len(pdu) if length is None else length, unit) + pdu


def rtu(unit, pdu):
    frame = bytes([unit]) + pdu
    return frame + crc(frame)


MBAP_LIES = {
    "the wrong function": lambda f: mbap(f, f[6], b"\x04" + f[8:9] + lying(f[9:])),
    "one register less": lambda f: mbap(f, f[6], bytes([3, f[8] - 2]) + lying(f[11:])),
    "one register more": lambda f: mbap(f, f[6], bytes([3, f[8] + 2]) + lying(f[9:] + b"12")),
    "a byte count that lies": lambda f: mbap(f, f[6], bytes([3, f[8] + 2]) + lying(f[9:])),
    "more than it counts": lambda f: mbap(f, f[6], f[7:9] + lying(f[9:] + b"12")),
    "a length that lies": lambda f: mbap(f, f[6], f[7:9] + lying(f[9:]), length=99),
    "transaction 0": lambda f: b"\0\0" + mbap(f, f[6], f[7:9] + lying(f[9:]))[2:],
    "another transaction": lambda f: bytes([f[0] ^ 0x40, f[1]]) + mbap(f, f[6], f[7:9] + lying(f[9:]))[2:],
    "another protocol": lambda f: f[:2] + b"\0\1" + mbap(f, f[6], f[7:9] + lying(f[9:]))[4:],
    "another unit": lambda f: mbap(f, 9, f[7:9] + lying(f[9:])),
    "twice": lambda f: f[:9] + lying(f[9:]) + f[:9] + lying(f[9:]),
    "an exception of another function": lambda f: mbap(f, f[6], b"\x84\x02"),
    "nothing but noise": lambda f: bytes([LIE]) * 40,
    "a request": lambda f: f[:4] + struct.pack(">HBBHH", 6, f[6], 3, 0, 1),
}
RTU_LIES = {
    "a wrong CRC": lambda f: f[:3] + lying(f[3:-2]) + f[-2:],
    "the wrong function": lambda f: rtu(f[0], b"\x04" + f[2:3] + lying(f[3:-2])),
    "one register less": lambda f: rtu(f[0], bytes([3, f[2] - 2]) + lying(f[5:-2])),
    "one register more": lambda f: rtu(f[0], bytes([3, f[2] + 2]) + lying(f[3:-2] + b"12")),
    "a byte count that lies": lambda f: rtu(f[0], bytes([3, f[2] + 2]) + lying(f[3:-2])),
    "more than it counts": lambda f: rtu(f[0], f[1:3] + lying(f[3:-2] + b"12")),
    "another unit's frame": lambda f: rtu(9, f[1:3] + lying(f[3:-2])),
    "another unit's frame before it": lambda f: rtu(9, f[1:3] + lying(f[3:-2])) + f,
    "twice": lambda f: rtu(f[0], f[1:3] + lying(f[3:-2])) * 2,
    "an exception of another function": lambda f: rtu(f[0], b"\x84\x02"),
    "nothing but noise": lambda f: bytes([LIE]) * 40,
    "zeros": lambda f: bytes(40),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_value_comes_of_an_answer_that_is_none_and_each_refusal_is_told(tmp_path, acknowledged, quick, way):
    lies = MBAP_LIES if way in ("tcp", "udp") else RTU_LIES
    lie, told = [], Counter()

    def spoil(frame):
        at = 6 if way in ("tcp", "udp") else 0
        if not lie or frame[at] != 1 or frame[at + 1] != 3:
            return [frame]
        told[lie[0]] += 1
        return [lies[lie[0]](frame)]

    async def run():
        bank = Numbered()
        async with served(way, bank.answer, spoil) as url:
            plant = plant_of(tmp_path, url, ["1/0", "1/1", "1/20", "1/21", "2/3"], timeout="200ms", period="20ms")
            async with running(plant) as agent:
                for name in lies:
                    before = refused(agent)
                    lie[:] = [name]
                    await until(lambda b=before: refused(agent) >= b + 2)
                    lie.clear()
                    await answers(agent, bank, "1/20")
                assert link(agent).connects == 1  # unit 2 answered all the while
                total = refused(agent)
        lake = settle(plant, acknowledged)
        assert wrong(bank, lake) == []
        assert statuses(lake, "2/3") == [GOOD, status.BAD_SHUTDOWN]
        noted = sum(e["count"] for e in ledger(plant, "not stored") if "refused" in e["reason"])
        assert noted == total == link(agent).faults - others(agent)
        assert set(told) == set(lies)

    within(40, run)


def others(agent):
    """Faults that are no refused replies: bytes that came when nothing was asked."""
    connector, _ = agent._links["m"]
    return sum(count for reason, count in connector.faults.items() if "refused" not in reason)


LAYOUTS = {
    "one range": ["1/0", "1/3"],
    "two ranges of like length": ["1/0", "1/3", "1/20", "1/23"],
    "single registers": ["1/0", "1/10", "1/20"],
    "ranges and single registers": ["1/0", "1/1", "1/10", "1/20", "1/21", "1/30"],
}


class LateByOne:
    """Gives out each RTU answer of unit 1 only when its next question came; over every connection there is."""

    def __init__(self):
        self.late = True
        self.held = b""
        self.given = 0

    def __call__(self, frame):
        if frame[0] != 1:
            return [frame]
        held, self.held = self.held, frame if self.late else b""
        self.given += bool(held)
        return [held] if self.late else [held, frame]


@pytest.mark.parametrize(
    ("way", "layout", "neighbour"),
    [
        ("rtutcp", "one range", True),
        ("line", "two ranges of like length", True),
        ("rtutcp", "single registers", False),
        ("line", "single registers", True),
        ("rtutcp", "ranges and single registers", True),
        ("line", "ranges and single registers", False),
    ],
)
def test_a_device_that_answers_each_question_late_by_one_is_never_believed(
    tmp_path, acknowledged, quick, way, layout, neighbour
):
    names = LAYOUTS[layout] + ["2/0"] * neighbour

    async def run():
        bank, late = Numbered(), LateByOne()
        async with served(way, bank.answer, late) as url:
            plant = plant_of(tmp_path, url, names, timeout="60ms", period="20ms")
            async with running(plant, connected=neighbour) as agent:
                for _ in range(2):
                    late.late, late.given = True, 0
                    await until(lambda: late.given > 3)
                    late.late = False
                    await answers(agent, bank, names[-1 - neighbour])
        lake = settle(plant, acknowledged)
        assert wrong(bank, lake) == []

    within(30, run)


# Of one that is silent to who it is, time must tell, and tells up to twice the timeout.
@pytest.mark.parametrize(("identifies", "delays"), [(True, (0.1, 0.22)), (False, (0.12,))])
def test_a_serial_device_that_is_slower_than_the_timeout_is_never_believed_and_serves_once_it_is_quick(
    tmp_path, acknowledged, quick, identifies, delays
):
    delay, due = [0.0], [0.0]
    names = ["1/0", "1/10", "1/20", "1/21", "2/0"]

    async def run():
        bank, loop = Numbered(), asyncio.get_running_loop()

        def reply(unit, pdu):
            return bank.answer(unit, pdu) if identifies or pdu[0] in READS else None

        def spoil(frame):
            if frame[0] != 1:
                return [frame]
            due.append(max(due[-1], loop.time() + delay[0]))  # in order
            loop.call_at(due[-1], line.put, frame)
            return []

        with Line(reply, spoil=spoil) as line:
            url = f"modbus+rtu://{line.device}?baud=115200"
            plant = plant_of(tmp_path, url, names, timeout="60ms", period="20ms")
            async with running(plant) as agent:
                for slow in delays:  # the answer comes in the midst of the next question, or of one later
                    await answers(agent, bank, "1/20")
                    delay[0], asked = slow, len(bank.asked)
                    await until(lambda n=asked: sum(unit == 1 for _, unit, *_ in bank.asked[n:]) >= 4)
                    delay[0] = 0.0
                    await asyncio.sleep(slow)
                for name in names:
                    await answers(agent, bank, name)
        lake = settle(plant, acknowledged)
        assert wrong(bank, lake) == []

    within(30, run)


# --- devices that say no ---

SAYS = {
    1: status.BAD_NOT_SUPPORTED,
    2: status.BAD_CONFIGURATION_ERROR,
    3: status.BAD_CONFIGURATION_ERROR,
    4: status.BAD_DEVICE_FAILURE,
    5: status.BAD_RESOURCE_UNAVAILABLE,
    6: status.BAD_RESOURCE_UNAVAILABLE,
    7: status.BAD_NOT_SUPPORTED,
    8: status.BAD_DEVICE_FAILURE,
    9: status.BAD,
    42: status.BAD,
}
GATEWAY = {10: BAD_NO_COMMUNICATION, 11: BAD_NO_COMMUNICATION}


SAYS_NO = [f"1/{50 * n}" for n, code in enumerate(SAYS) if code not in (5, 6)] + ["1/1004", "1/1016"]


def pauses(agent):
    """How long each register that says no is left alone [s], but for those that are asked once a second."""
    connector, _ = agent._links["m"]
    leaves = [leaf for group in connector._groups for root in group.roots for leaf in root.leaves() if leaf.status]
    return {f"{leaf.question.unit}/{leaf.question.address}": leaf.rest.pause / 1e9 for leaf in leaves}


def test_an_exception_is_the_status_of_its_own_points_and_asked_again_without_haste(tmp_path, acknowledged):
    async def run():
        # Each code of a register alone, two that share a request with registers that answer, and a gateway's of units.
        cells = {(1, "holding", 50 * n): f"exception {code}" for n, code in enumerate(SAYS)}
        cells |= {(1, "holding", 1004): "exception 2", (1, "holding", 1016): "exception 4"}
        cells |= {(code, "holding", 0): f"exception {code}" for code in GATEWAY}
        bank = Bank(cells)
        good_ones = [f"1/{n}" for n in range(1000, 1024) if n not in (1004, 1016)]
        names = [f"1/{50 * n}" for n in range(len(SAYS))] + good_ones + ["1/1004", "1/1016", "10/0", "11/0"]
        async with served("tcp", bank.answer) as url:
            plant = plant_of(tmp_path, url, names)
            async with running(plant) as agent:
                await until(lambda: link(agent).readings > 5)
                began, readings, asked = time.monotonic(), link(agent).readings, len(bank.requests)
                await asyncio.sleep(1.2)
                lasted, polls = time.monotonic() - began, link(agent).readings - readings
                requests = Counter((unit, first) for unit, _, first, _ in bank.requests[asked:])
                assert link(agent).connects == 1
                assert agent.status.report()["healthy"]
                assert pauses(agent) == dict.fromkeys(SAYS_NO, 10) | dict.fromkeys(["1/200", "1/250"], 0)
        lake = settle(plant, acknowledged)
        for n, (code, expected) in enumerate(SAYS.items()):
            assert statuses(lake, f"1/{50 * n}")[0] == expected, code
            most = lasted + 1 if code in (5, 6) else 0  # once a second; once in ten seconds, and that was before
            assert requests[1, 50 * n] <= most, (code, requests)
        for code, expected in GATEWAY.items():
            assert statuses(lake, f"{code}/0")[0] == expected
            assert requests[code, 0] == 0
        assert statuses(lake, "1/1004")[0] == status.BAD_CONFIGURATION_ERROR
        assert statuses(lake, "1/1016")[0] == status.BAD_DEVICE_FAILURE
        assert requests[1, 1004] == requests[1, 1016] == 0
        for name in good_ones:
            assert statuses(lake, name)[-2:] == [GOOD, status.BAD_SHUTDOWN]
            assert len(good(lake, name)) >= polls
        assert polls >= 0.9 * lasted / 0.05

    within(30, run)


# --- units behind one link that fail alone ---


class Gateway(Numbered):
    """Says by exception 11 that a unit is silent."""

    says_so = False

    def answer(self, unit, pdu):
        found = super().answer(unit, pdu)
        return bytes([pdu[0] | 0x80, 11]) if found is None and self.says_so else found


@pytest.mark.parametrize(
    ("way", "how"),
    [*itertools.product(["tcp", "line"], ["from the start", "in the middle"]), ("tcp", "by exception 11")],
)
def test_a_dead_unit_costs_its_neighbours_no_poll_and_is_found_again(tmp_path, acknowledged, monkeypatch, way, how):
    rest(monkeypatch, 0.3, 0.6)
    live, dead = ["1/0", "1/20", "3/5", "4/31"], ["2/0", "2/20", "2/21"]

    async def run():
        bank = Gateway()
        bank.says_so = how == "by exception 11"
        if how != "in the middle":
            bank.silent.add(2)
        async with served(way, bank.answer) as url:
            plant = plant_of(tmp_path, url, live + dead, period="400ms", timeout="280ms")
            async with running(plant) as agent:
                await until(lambda: link(agent).rows > 8)
                bank.silent.add(2)
                await asyncio.sleep(2.0)
                bank.silent.clear()
                back = time.monotonic()
                await answers(agent, bank, "2/20")
                # The longest pause and a period, twice where the first probe fails.
                assert time.monotonic() - back < 2 * (0.6 + 0.4) + 0.5
                await answers(agent, bank, "2/0")
                agent._look_at_links()
                # A line's first poll waits for what the dead unit may owe, for its answer, once more, and for silence.
                assert link(agent).link["polls_missed"] <= (2 if way == "line" and how == "from the start" else 0)
                assert link(agent).connects == 1
        lake = settle(plant, acknowledged)
        for name in live:
            assert statuses(lake, name) == [GOOD, status.BAD_SHUTDOWN]
            times = [ts for ts, _ in good(lake, name)][2:]  # the first timeout may delay the first polls
            assert len(times) >= int((times[-1] - times[0]) / 400e6) + 1 >= 5
            assert max(b - a for a, b in itertools.pairwise(times)) < 800e6
        for name in dead:
            assert BAD_NO_COMMUNICATION in statuses(lake, name)
            assert set(statuses(lake, name)) == {GOOD, BAD_NO_COMMUNICATION, status.BAD_SHUTDOWN}
        assert wrong(bank, lake) == []

    within(30, run)


@pytest.mark.parametrize(("way", "neighbour"), [("tcp", False), ("tcp", True), ("line", False)])
def test_a_register_that_is_met_with_silence_is_found_and_left_alone_and_the_rest_flows(
    tmp_path, acknowledged, monkeypatch, way, neighbour
):
    monkeypatch.setattr(collector.agent, "BACK_OFF_S", (0.02, 0.05))
    rest(monkeypatch, 0.2, 60)
    names = [f"1/{n}" for n in range(8)] + ["1/20", "1/21"] + ["2/0"] * neighbour

    async def run():
        bank = Numbered(cells={(1, "holding", 5): SILENT})
        async with served(way, bank.answer) as url:
            plant = plant_of(tmp_path, url, names, timeout="100ms", period="40ms")
            async with running(plant, connected=False) as agent:
                for name in names:
                    if name != "1/5":
                        await answers(agent, bank, name)
                await until(lambda: statuses(lake_of(plant), "1/5")[-1:] == [BAD_TIMEOUT])
                began, asked = time.time_ns(), len(bank.asked)
                await until(lambda: len(bank.asked) >= asked + 30)
                assert bank.times(1, 5, began) == []  # it is left alone for ten seconds
        lake = settle(plant, acknowledged)
        assert wrong(bank, lake) == []
        for name in names:
            assert statuses(lake, name)[-2:] == [BAD_TIMEOUT if name == "1/5" else GOOD, status.BAD_SHUTDOWN]

    within(30, run)


# --- counters ---


def test_a_counter_that_wraps_and_is_reset_is_kept_as_it_is_and_its_production_is_exact(tmp_path, acknowledged):
    said = [65_500, 65_520, 65_535, 0, 5, 300, 0, 7, 50]
    # counted:    0     20     15   1  5  295  0  7  43  -> 386: 65,535 wraps to 0, and 300 is reset
    bank = Bank()

    def answer(unit, pdu):
        bank.cells[1, "holding", 0] = said[min(len(bank.requests), len(said) - 1)]
        return bank.answer(unit, pdu)

    async def run():
        async with served("tcp", answer) as url:
            pieces_made = point("1/0", role="total", modulus=65_536, store="change")
            plant = plant_for(tmp_path, [source(url, period="20ms")], [Asset(asset="a")], [pieces_made])
            async with running(plant):
                await until(lambda: len(bank.requests) > len(said))
        lake = settle(plant, acknowledged)
        rows = good(lake, "1/0")
        assert [value for _, value in rows] == said
        start, end = rows[0][0], rows[-1][0] + 1
        basis = Basis(facts(plant, lake, start, end), demand(plant, lake, start, end))
        found = {r["kpi"]: r["value"] for r in results(plant, basis, Window(start, end), ["a"]).iter_rows(named=True)}
        assert found["produced_quantity"] == 386.0
        assert basis.facts["resets"].sum() == 1

    within(20, run)


# --- malformed frames ---

QUESTIONS = [
    Read(1, "holding", 5, 1),
    Read(1, "holding", 0, 10),
    Read(17, "input", 65_400, 125),
    Read(255, "coil", 3, 13),
    Read(2, "discrete", 0, 2000),
]


def answer_to(question, rng):
    """The PDU of a right answer, of registers at random."""
    function = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}[question.table]
    size = (question.count + 7) // 8 if function < 3 else 2 * question.count
    return bytes([function, size]) + rng.randbytes(size)


def mutated(frame, rng):
    """A frame with a bit or more flipped, cut, extended, doubled, or bytes at random."""
    data = bytearray(frame)
    kind = rng.randrange(7)
    if kind <= 2:
        for _ in range((1, 1, 4)[kind]):
            at = rng.randrange(min(len(data), 12)) if kind else rng.randrange(len(data))
            data[at] ^= 1 << rng.randrange(8)
    elif kind == 3:
        del data[rng.randrange(len(data)) :]
    elif kind == 4:
        data += rng.randbytes(rng.randint(1, 12))
    elif kind == 5:
        return rng.randbytes(rng.randint(0, 300))
    else:
        at = rng.randrange(min(len(data), 12))
        data[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
    return bytes(data)


def is_answer(framing, question, frame, sent, size):
    """Whether bytes are the answer to a question, by the standards' words alone."""
    function = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}[question.table]
    if framing == "mbap":
        head = sent[:2] + struct.pack(">HHBBB", 0, 3 + size, question.unit, function, size)
        return len(frame) == 9 + size and frame.startswith(head)
    while len(frame) > 5 + size and frame[0] in (0, 255):  # what an idle line reads as
        frame = frame[1:]
    is_whole = len(frame) == 5 + size and frame.startswith(bytes([question.unit, function, size]))
    return is_whole and crc(frame[:-2]) == frame[-2:]


@pytest.mark.parametrize("framing", ["mbap", "rtu"])
def test_of_fifty_thousand_mutated_frames_only_true_answers_are_taken(framing):
    rng = random.Random(37)
    met = Counter()
    for n in range(50_000):
        question = QUESTIONS[n % len(QUESTIONS)]
        codec: Framing = Mbap(n) if framing == "mbap" else Rtu()
        sent, pdu = codec.encode(question), answer_to(question, rng)
        right = mbap(sent, question.unit, pdu) if framing == "mbap" else rtu(question.unit, pdu)
        frame = mutated(right, rng)
        try:
            data = codec.take(bytearray(frame), question)
        except WrongReply:
            met["refused"] += 1
        except ExceptionReply:
            met["exception"] += 1
        else:
            met["waits" if data is None else "taken"] += 1
            true = is_answer(framing, question, frame, sent, len(pdu) - 2)
            assert (data is not None) == true, (question, frame.hex())
            assert data is None or data == frame[-len(data) - 2 * (framing == "rtu") :][: len(data)]
    assert met["refused"] > 20_000
    assert met["waits"] > 2_000
    assert met.total() == 50_000


def test_two_thousand_malformed_answers_over_a_socket_crash_nothing_and_leave_nothing(monkeypatch):
    rng, sent = random.Random(41), Counter()

    def spoil(frame):
        sent["frames"] += 1
        bad = mutated(frame, rng)
        while is_mbap(bad, frame) or len(bad) < 12:
            bad = mutated(frame, rng)  # what is short is waited for, which takes time and proves nothing
        return [bad]

    async def run():
        bank = Bank()
        async with tcp(bank.answer, spoil=spoil) as port:
            monkeypatch.setattr("connectors.modbus.bus.log.disabled", True)
            tracemalloc.start()
            before = None
            while sent["frames"] < 2_000:
                settings = source(f"modbus+tcp://127.0.0.1:{port}", timeout="5ms", period="1ms", retries=10)
                connector = modbus.Connector(settings, [point("1/0"), point("1/3")])
                with contextlib.suppress(SourceLost):
                    await connector.connect()
                    async for readings in connector.readings():
                        assert not (readings.status == GOOD).any()
                await connector.close()
                if before is None and sent["frames"] > 200:
                    gc.collect()
                    before = tracemalloc.get_traced_memory()[0], descriptors()
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before[0]
            tracemalloc.stop()
            assert grown < 1_000_000, grown
            assert descriptors() - before[1] <= 5

    within(40, run)


def test_replies_that_are_refused_are_counted_by_kinds_that_stay_few(tmp_path):
    faulty = itertools.cycle([True, False])

    def spoil(frame):
        return [struct.pack(">H", 7 * next(numbers) % 65_536) + frame[2:]] if next(faulty) else [frame]

    numbers = itertools.count(1)

    async def run():
        async with tcp(Bank().answer, spoil=spoil) as port:
            plant = plant_of(tmp_path, f"modbus+tcp://127.0.0.1:{port}", ["1/0"], period="10ms")
            async with running(plant) as agent:
                await until(lambda: refused(agent) > 50)
                assert link(agent).connects == 1
                connector, _ = agent._links["m"]
                assert len(connector.faults) == 1
        assert len(ledger(plant, "not stored")) <= 3

    within(20, run)


def is_mbap(bad, frame):
    """Whether a mutated frame is still an answer, though maybe of other values, or an exception."""
    return (bad[:7] == frame[:7] and bad[7:9] == frame[7:9] and len(bad) == len(frame)) or bad[7:8] == b"\x83"

"""`plantproof browse` of Modbus links: devices over real sockets, hostile answers, SunSpec chains, register scans."""

import asyncio
import contextlib
import csv
import io
import json
import os
import re
import ssl
import struct
import subprocess
import sys
from collections import deque

import pytest
from click.testing import CliRunner

from config import exits
from config.load import load_plant
from connectors import base
from connectors.modbus import browse as walk
from connectors.modbus.browse import Pace, duration
from connectors.modbus.frames import ExceptionReply, Identify, Read
from connectors.modbus.identify import Identity, decode, identify, perhaps, text_of
from connectors.modbus.link import Silent
from connectors.modbus.listing import readings
from connectors.modbus.scan import Scanned, Span, blocks, halves, scan, within
from connectors.modbus.sunspec import MAPS, Model
from connectors.modbus.sunspec import walk as walk_sunspec
from connectors.modbus.verb import runs
from plantproof import cli
from tests import certificates, listening
from tests.modbus_peers import SILENT, Bank, Line, crc, tcp, udp
from tests.servers import free_port
from tests.servers import within as bounded

IDENTIFY = 0x2B
HOSTILE = b"=cmd|'/c calc'!A1\r\n\x1b[31mred\x1b[0m"
METER = {0: b"Eastron", 1: b"SDM630-Modbus", 2: b"1.8"}


class VirtualTime:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 100.0
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(round(seconds, 9))
        self.now += seconds


@pytest.fixture(autouse=True)
def time(monkeypatch):
    """Pauses between requests take no time, and are counted."""
    virtual = VirtualTime()
    monkeypatch.setattr(walk, "Pace", lambda rate: Pace(rate, clock=lambda: virtual.now, sleep=virtual.sleep))
    return virtual


def page(category, level, objects, *, more=0, following=0, count=None):
    """The PDU of one identification answer."""
    body = b"".join(bytes([number, len(raw)]) + raw for number, raw in objects.items())
    count = len(objects) if count is None else count
    return bytes([IDENTIFY, 0x0E, category, level, more, following, count]) + body


def identifying(objects, level=1, *, a_page=100):
    """Answers identification with the objects of each category, so many on a page."""
    last = {1: 2, 2: 0x7F, 3: 0xFF}

    def answer(pdu):
        category, first = pdu[2], pdu[3]
        mine = {n: raw for n, raw in objects.items() if first <= n <= last[min(category, level & 0x7F)]}
        shown = dict(list(mine.items())[:a_page])
        rest = [n for n in mine if n not in shown]
        return page(category, level, shown, more=0xFF if rest else 0, following=rest[0] if rest else 0)

    return answer


class Device:
    """Units that identify themselves, above a bank of registers."""

    def __init__(self, *, identities=None, cells=None, units=frozenset({1}), most=125):
        self.bank = Bank(cells, units=units, most=most)
        self.identities = {1: identifying(METER)} if identities is None else identities
        self.asked = []
        """Every identification request: unit, category, first object."""

    def __call__(self, unit, pdu):
        if pdu[0] != IDENTIFY or unit not in self.identities:
            return self.bank.answer(unit, pdu)
        assert pdu[1] == 0x0E
        self.bank.functions[IDENTIFY] += 1
        self.asked.append((unit, pdu[2], pdu[3]))
        return self.identities[unit](pdu)


async def ran(url, *words, patience="150ms"):
    """Run the command beside the devices' event loop; `patience` is its --timeout."""
    url = f"modbus+tcp://127.0.0.1:{url}" if isinstance(url, int) else url
    return await asyncio.to_thread(CliRunner().invoke, cli, ["browse", url, "--timeout", patience, *words])


def browsed(device, *words, patience="150ms"):
    """The result of the command against one device over TCP."""
    results = []

    async def run():
        async with tcp(device) as port:
            results.append(await ran(port, *words, patience=patience))
            await asyncio.sleep(0.01)  # a connection made after a silence may still be on its way in

    bounded(30, run)
    return results[0]


def answers(*replies):
    """An `ask` that gives these answers in turn, the last one for ever, and notes the questions."""
    waiting, asked = deque(replies), []

    async def ask(question):
        asked.append(question)
        reply = waiting.popleft() if len(waiting) > 1 else waiting[0]
        if isinstance(reply, Exception):
            raise reply
        return reply(question) if callable(reply) else reply

    return ask, asked


# --- identification ---


def test_an_answer_is_objects_behind_a_head_of_five_bytes():
    said = decode(bytes([1, 0x81, 0xFF, 2, 2, 0, 3]) + b"ABB" + bytes([1, 0]))
    assert (said.level, said.more, said.next, said.objects) == (1, True, 2, {0: b"ABB", 1: b""})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "an answer of 0 bytes"),
        (bytes([1, 1, 0, 0]), "an answer of 4 bytes"),
        (bytes([1, 1, 0, 0, 1]), "ends within object 1 of 1"),
        (bytes([1, 1, 0, 0, 2, 0, 1]) + b"A", "ends within object 2 of 2"),
        (bytes([1, 1, 0, 0, 1, 0, 200]) + b"A", "ends within object 1 of 1"),
    ],
)
def test_an_answer_that_is_cut_short_makes_no_sense(data, says):
    with pytest.raises(ValueError, match=says):
        decode(data)


def test_basic_regular_and_extended_objects_are_read_page_by_page():
    objects = {n: f"object {n}".encode() for n in (0, 1, 2, 3, 4, 5, 6, 0x80, 0x81)}
    device = Device(identities={1: identifying(objects, level=0x83, a_page=2)})
    result = browsed(device, "--json")
    assert result.exit_code == exits.DONE, result.output
    assert json.loads(result.stdout)[0]["identification"] == {
        "VendorName": "object 0", "ProductCode": "object 1", "MajorMinorRevision": "object 2",
        "VendorUrl": "object 3", "ProductName": "object 4", "ModelName": "object 5",
        "UserApplicationName": "object 6", "0x80": "object 128", "0x81": "object 129",
    }  # fmt: skip
    # 3 basic objects in 2 pages, 7 regular ones in 4, all 9 in 5
    assert [category for _, category, _ in device.asked] == [1] * 2 + [2] * 4 + [3] * 5


def test_no_more_is_asked_than_the_conformity_level_offers():
    device = Device(identities={1: identifying(METER, level=1)})
    browsed(device)
    assert device.asked == [(1, 1, 0)]


def test_what_basic_said_stays_where_regular_objects_are_refused():
    async def run():
        refusing = answers(page(1, 2, METER)[2:], ExceptionReply(3))[0]
        found = await identify(refusing, 1)
        assert found.objects == METER
        assert found.note == "regular identification: Modbus exception 3 (illegal data value)"

    bounded(5, run)


@pytest.mark.parametrize(
    ("answer", "says", "most"),
    [
        # more and more objects, each a step on
        (lambda pdu: page(1, 1, {pdu[3]: b"x"}, more=0xFF, following=pdu[3] + 1), "still more is said to follow", 64),
        (lambda pdu: page(1, 1, {0: b"x"}, more=0xFF, following=0), "from object 0 after 0: it goes back", 1),
        (lambda pdu: page(1, 1, {7: b"x"}, more=0xFF, following=9 - pdu[3] // 2), "it goes back", 3),
        # five objects are promised, one comes
        (lambda _: page(1, 1, {0: b"x"}, count=5), "in which the answer does not end", 1),
        (lambda _: page(1, 1, {}, count=1) + bytes([0, 200]) + b"short", "in the header where 210 follow", 1),
        (lambda _: page(1, 1, {n: bytes(100) for n in range(3)}), "253 is the most", 1),
        (lambda _: page(1, 1, METER) + b"tail", "its identification makes no sense: length", 1),
        (lambda _: bytes([IDENTIFY, 0x0D, 1]), "its identification makes no sense: function 43", 1),
        (lambda _: bytes([3, 2, 0, 0]), "its identification makes no sense: function 3 where 43 was", 1),
    ],
)  # fmt: skip
def test_identification_that_makes_no_sense_ends_with_a_note_and_exit_code_3(answer, says, most):
    device = Device(identities={1: answer})
    result = browsed(device)
    assert says in result.stdout
    assert result.exit_code == exits.QUALITY
    assert len(device.asked) <= most


def test_a_unit_that_refuses_to_identify_itself_is_there():
    result = browsed(Device(identities={}))
    assert "does not identify itself: Modbus exception 1 (illegal function)" in result.stdout
    assert result.exit_code == exits.DONE


def test_a_unit_that_never_answers_identification_is_found_by_a_read():
    result = browsed(Device(identities={1: lambda _: None}), "--json")
    (unit,) = json.loads(result.stdout)
    assert unit["answers"]
    assert unit["note"] == "does not identify itself: unit 1 did not answer within 0.15 s"
    assert result.exit_code == exits.DONE


def test_silent_units_are_listed_shortly():
    device = Device(identities={3: identifying(METER)}, units=frozenset({3, 7}))
    result = browsed(device, "--units", "1-4,7,9", patience="50ms")
    assert result.exit_code == exits.DONE
    assert "silent: units 1-2, 4, 9: did not answer within 0.05 s" in result.stderr
    assert "asks 6 units; where nobody answers, all take up to 3 s" in result.stderr  # twice 50 ms and 0.2 s each
    assert [line.split()[1] for line in result.stdout.splitlines() if line.startswith("│")] == ["3", "7"]


def test_a_gateway_that_answers_for_an_absent_unit_is_no_unit():
    def gateway(unit, pdu):
        return bytes([pdu[0] | 0x80, 11])

    result = browsed(gateway, "--units", "5")
    assert "silent: unit 5: Modbus exception 11 (gateway target did not respond)" in result.stderr
    assert "no unit answers" in result.stderr
    assert result.exit_code == exits.UNREACHABLE


def test_nobody_at_all_is_exit_code_69():
    result = browsed(Device(units=frozenset()), "--units", "9", patience="50ms")
    assert result.exit_code == exits.UNREACHABLE
    assert "silent: unit 9" in result.stderr
    result = CliRunner().invoke(cli, ["browse", f"modbus+tcp://127.0.0.1:{free_port()}"])
    assert result.exit_code == exits.UNREACHABLE
    assert "no Modbus connection to 127.0.0.1" in result.stderr
    assert not result.stdout


@contextlib.asynccontextmanager
async def hanging_up(reply):
    """Serve MBAP frames; where `reply` has no answer, hang up. Yields the server."""

    async def serve(reader, writer):
        try:
            while head := await reader.read(7):
                transaction, _, length, unit = struct.unpack(">HHHB", head)
                answer = reply(unit, await reader.readexactly(length - 1))
                if answer is None:
                    return
                writer.write(struct.pack(">HHHB", transaction, 0, 1 + len(answer), unit) + answer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server
    finally:
        await listening.close(server)
        await asyncio.sleep(0.01)  # for connections on their way in or out


def test_a_device_that_hangs_up_at_what_it_does_not_know_is_asked_anew():
    async def run():
        async with hanging_up(Device(identities={1: lambda _: None})) as server:
            result = await ran(server.sockets[0].getsockname()[1], "--json")
        assert json.loads(result.stdout)[0]["answers"]
        assert "closed the connection" in json.loads(result.stdout)[0]["note"]

    bounded(10, run)


def test_the_maker_s_own_objects_may_be_no_text():
    assert text_of(0x80, b"\xff\x00") == "0xff00"
    assert text_of(0, "Gerät".encode("latin-1")) == "Gerät"
    assert text_of(0, "电表".encode()) == "电表"


@pytest.mark.parametrize(
    ("objects", "maps"),
    [
        ({0: "Eastron", 1: "SDM630-Modbus"}, ["eastron-sdm630"]),
        ({0: "EASTRON EUROPE", 4: "SDM630 V2"}, ["eastron-sdm630"]),
        ({0: "Schneider Electric", 1: "METSEPM5320", 5: "PM5320"}, ["schneider-pm5000"]),
        ({0: "Schneider Electric", 5: "PM5560"}, ["schneider-pm5000"]),  # the title says PM55xx
        ({0: "Schneider Electric", 5: "iEM3155"}, ["schneider-iem3000"]),  # and iEM3150, 3155
        ({0: "Janitza electronics GmbH", 1: "UMG 96 RM"}, ["janitza-umg96rm"]),
        ({0: "CHINT", 1: "DTSU666"}, ["chint-dtsu666", "chint-dtsu666-401e"]),
        # another type, another maker, no maker, no type
        ({0: "CHINT", 1: "DTSU666-H"}, []),
        ({0: "Eastron", 1: "SDM630MCT"}, []),
        ({0: "Abbott", 1: "B23"}, []),
        ({1: "B23"}, []),
        ({0: "Schneider Electric", 1: "Acti9"}, []),
        ({0: "SunSpec Alliance", 1: "common"}, []),
        ({}, []),
    ],
)
def test_a_map_is_proposed_where_maker_and_type_are_named_word_by_word(objects, maps):
    assert perhaps(Identity(1, {n: text.encode() for n, text in objects.items()})) == maps


def test_a_proposed_map_is_a_perhaps():
    assert "perhaps eastron-sdm630" in browsed(Device()).stdout


# --- SunSpec ---


def text(words, registers):
    return list(struct.unpack(f">{registers}H", words.ljust(2 * registers, b"\0")))


COMMON = text(b"Fronius", 16) + text(b"Symo 10", 16) + [0] * 16 + text(b"4711", 16) + [1, 0x8000]


def chain(*models, first=40000, end=(0xFFFF, 0), unit=1):
    """Cells of a chain of models (number, values), which begins with the marker."""
    registers = [0x5375, 0x6E53]
    for number, values in models:
        registers += [number, len(values), *values]
    return {(unit, "holding", first + n): value for n, value in enumerate([*registers, *end])}


WHOLE = chain((1, COMMON), (103, [7] * 50), (203, [0] * 105))
"""Common at 40002, inverter at 40070, meter at 40122, end at 40229."""


def test_a_sunspec_chain_is_walked_to_its_end():
    result = browsed(Device(cells=WHOLE), "--sunspec", "--json")
    assert result.exit_code == exits.DONE, result.output
    assert json.loads(result.stdout)[0]["sunspec"] == {
        "address": "1/holding:40000", "manufacturer": "Fronius", "model": "Symo 10", "serial_number": "4711",
        "models": [
            {"model": 1, "name": "common", "address": "1/holding:40002", "length": 66, "map": "sunspec-common"},
            {"model": 103, "name": "inverter, three phase", "address": "1/holding:40070", "length": 50,
             "map": "sunspec-inverter-three-phase"},
            {"model": 203, "name": "meter, three phase wye", "address": "1/holding:40122", "length": 105,
             "map": "sunspec-meter-three-phase"},
        ],
        "note": "",
    }  # fmt: skip


@pytest.mark.parametrize("first", [0, 50000])
def test_a_chain_may_begin_elsewhere(first):
    result = browsed(Device(cells=chain((1, COMMON), first=first)), "--sunspec")
    assert f"unit 1: SunSpec at holding:{first}, Fronius Symo 10 4711" in result.stdout
    assert f"1/holding:{first + 2}" in result.stdout


def test_a_unit_without_the_marker_is_said_to_have_none():
    result = browsed(Device(), "--sunspec")
    assert "no SunSpec marker at holding 40000, 0, 50000: unit 1" in result.stderr
    assert result.exit_code == exits.DONE


class Registers:
    """An `ask` for holding registers of a function of the address; counts."""

    def __init__(self, value):
        self.value, self.count = value, 0

    async def __call__(self, question):
        self.count += 1
        found = [self.value(n) for n in range(question.address, question.address + question.count)]
        if None in found:
            raise ExceptionReply(2)
        return struct.pack(f">{question.count}H", *found)


@pytest.mark.parametrize(
    ("cells", "models", "says"),
    [
        # no end: models of one register for ever
        (lambda _: 1, None, "after 100 models and no end"),
        (chain((1, COMMON), (0, [])), 1, "holding:40070, where model 0 of 0 registers is none"),
        (chain((1, COMMON), (103, [])), 1, "holding:40070, where model 103 of 0 registers is none"),
        (chain((1, COMMON), end=(103, 50000)), 1, "where model 103 of 50000 registers goes beyond 65535"),
        (chain((1, COMMON), end=()), 1, "breaks off behind model 1: Modbus exception 2"),
        (chain(end=()), 0, "breaks off behind its marker: Modbus exception 2"),
        (chain((1, [0] * 30)), 1, "no common model says who made it"),
    ],
)  # fmt: skip
def test_a_chain_that_goes_wrong_is_told_up_to_there(cells, models, says):
    async def run():
        marker = {40000: 0x5375, 40001: 0x6E53}
        own = cells if callable(cells) else lambda n: cells.get((1, "holding", n))
        ask = Registers(lambda n: marker[n] if n in marker else own(n))
        found = await walk_sunspec(ask, 1)
        assert says in found.note
        assert len(found.models) == (100 if models is None else models)
        assert ask.count <= 105

    bounded(5, run)


def test_an_end_without_a_length_is_an_end():
    async def run():
        cells = chain((1, COMMON), end=(0xFFFF,))
        found = await walk_sunspec(Registers(lambda n: cells.get((1, "holding", n))), 1)
        assert (len(found.models), found.note, found.model) == (1, "", "Symo 10")

    bounded(5, run)


def test_a_chain_of_doubt_is_exit_code_3():
    result = browsed(Device(cells=chain((1, COMMON), (0, []))), "--sunspec")
    assert "unit 1: the chain ends at holding:40070, where model 0" in result.stderr
    assert result.exit_code == exits.QUALITY


def test_a_map_serves_the_models_of_its_registers_and_none_that_is_too_short():
    assert {number: Model(number, 40002, 200).map.removeprefix("sunspec-") for number in (*MAPS, 160, 213)} == {
        1: "common", 101: "inverter-single-phase", 102: "inverter-three-phase", 103: "inverter-three-phase",
        111: "inverter-float", 112: "inverter-float", 113: "inverter-float", 201: "meter-three-phase",
        202: "meter-three-phase", 203: "meter-three-phase", 204: "meter-three-phase", 160: "", 213: "",
    }  # fmt: skip
    assert [Model(103, 40002, length).map for length in (49, 50)] == ["", "sunspec-inverter-three-phase"]


# --- scan ---


def test_spans_are_cut_into_blocks_and_to_the_limit():
    span = Span(1, "holding", 95, 22)
    assert [str(block) for block in blocks(span, 10)] == ["1/holding:95-104", "1/holding:105-114", "1/holding:115-116"]
    assert [str(part) for part in within([span, Span(2, "coil", 0, 5)], 24)] == ["1/holding:95-116", "2/coil:0-1"]
    assert within([span], 0) == []


@pytest.mark.parametrize(
    ("count", "parts"), [(2, (1, 1)), (3, (2, 1)), (4, (2, 2)), (5, (2, 3)), (6, (4, 2)), (10, (6, 4))]
)
def test_a_block_is_halved_between_values_of_two_registers(count, parts):
    left, right = halves(Span(1, "holding", 100, count))
    assert (left.count, right.count) == parts
    assert (left.first, right.first) == (100, 100 + left.count)


def test_a_refused_range_is_halved_down_to_single_registers():
    cells = {(1, "holding", n): "exception 2" for n in (13, 14, 29)}
    device = Device(cells=cells)
    result = browsed(device, "--scan", "holding:10-29", "--json")
    (scanned,) = json.loads(result.stdout)[0]["scans"]
    assert [row["uint16"] for row in scanned["registers"]] == [10, 11, 12, *range(15, 29)]  # their own addresses
    assert scanned["refused"] == [
        {"range": "1/holding:13-14", "why": "Modbus exception 2 (illegal data address)"},
        {"range": "1/holding:29", "why": "Modbus exception 2 (illegal data address)"},
    ]
    assert [(address, count) for _, _, address, count in device.bank.requests] == [
        (10, 10), (10, 6), (10, 4), (10, 2), (12, 2), (12, 1), (13, 1), (14, 2), (14, 1), (15, 1), (16, 4),
        (20, 10), (20, 6), (26, 4), (26, 2), (28, 2), (28, 1), (29, 1),
    ]  # fmt: skip
    assert result.exit_code == exits.DONE


def test_the_table_says_what_is_not_readable():
    cells = {0: 0x43DC, 1: 0, 3: 0xFFFE, 4: "exception 2"}
    cells = {(1, "holding", n): cell for n, cell in cells.items()}
    result = browsed(Device(cells=cells), "--scan", "holding:0-4", "--scan", "coil:0-1")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["1/holding:0", "0x43DC", "17372", "17372", "1138491392", "17372", "440"] in lines
    assert ["1/holding:3", "0xFFFE", "65534", "-2"] in lines  # 4 is not readable: no pair
    assert "not readable: 1/holding:4: Modbus exception 2 (illegal data address)" in result.stdout
    assert ["1/coil:1", "1"] in lines
    assert "reads 1/holding:0-4, 1/coil:0-1: 7 registers in 2 requests, 1 s at 5 a second" in result.stderr


def test_a_silent_register_is_left_alone_and_the_others_are_read():
    device = Device(cells={(1, "input", 1): SILENT})
    result = browsed(device, "--scan", "input:0-3", "--json", patience="40ms")
    (scanned,) = json.loads(result.stdout)[0]["scans"]
    assert [row["uint16"] for row in scanned["registers"]] == [0, 2, 3]
    assert scanned["refused"] == [{"range": "1/input:1", "why": "no answer"}]


def test_a_table_that_a_device_has_not_is_refused_at_once():
    async def run():
        ask, asked = answers(ExceptionReply(1))
        found = Scanned(Span(1, "input", 0, 1000))
        await scan(ask, found, Identify(1, 1))
        assert [str(refused.span) for refused in found.refused] == ["1/input:0-999"]
        assert len(asked) == 1

    bounded(5, run)


def test_a_busy_device_is_not_asked_in_halves():
    async def run():
        ask, asked = answers(ExceptionReply(6))
        found = Scanned(Span(1, "holding", 0, 20))
        await scan(ask, found, Identify(1, 1))
        assert [(str(refused.span), refused.why) for refused in found.refused] == [
            ("1/holding:0-19", "Modbus exception 6 (device busy)")
        ]
        assert len(asked) == 2

    bounded(5, run)


def test_a_unit_that_is_gone_is_asked_no_further():
    async def run():
        ask, asked = answers(bytes(20), Silent("unit 1 did not answer"))
        found = Scanned(Span(1, "holding", 0, 10_000))
        await scan(ask, found, Identify(1, 1))
        assert len(found.values) == 10
        assert len(asked) == 10  # one that was answered, eight silences, and what it answered before
        assert isinstance(asked[-1], Identify)
        assert [str(refused.span) for refused in found.refused][-1].endswith("-9999")
        assert "asked no further" in found.refused[-1].why

    bounded(5, run)


def test_a_long_silent_range_is_scanned_to_its_end_where_the_unit_answers_otherwise():
    async def run():
        async def ask(question):
            if isinstance(question, Read) and question.address < 60:
                raise Silent("unit 1 did not answer")
            return bytes(20)

        found = Scanned(Span(1, "holding", 0, 70))
        await scan(ask, found, Identify(1, 1))
        assert [str(refused.span) for refused in found.refused] == ["1/holding:0-59"]
        assert list(found.values) == list(range(60, 70))

    bounded(5, run)


def test_a_scan_keeps_to_its_rate(time):
    device = Device()
    result = browsed(device, "--scan", "holding:0-199", "--rate", "4")
    assert "200 registers in 20 requests, 5 s at 4 a second" in result.stderr
    assert len(device.bank.requests) == 20
    assert max(count for *_, count in device.bank.requests) == 10
    assert time.slept == [0.25] * 20  # one pause before each request but the first, which identified the unit


def test_a_pace_counts_the_time_that_requests_take():
    async def run():
        virtual = VirtualTime()
        pace = Pace(5, clock=lambda: virtual.now, sleep=virtual.sleep)
        await pace.wait()
        virtual.now += 0.05  # a quick answer
        await pace.wait()
        virtual.now += 3.0  # a slow one: there is nothing to make up for
        await pace.wait()
        await pace.wait()
        assert virtual.slept == [0.15, 0.2]

    bounded(5, run)


def test_no_more_registers_are_scanned_than_the_limit_allows():
    device = Device()
    result = browsed(device, "--scan", "holding:0-99", "--limit", "15")
    assert sum(count for *_, count in device.bank.requests) == 15
    assert "cut after 15 registers" in result.stderr
    assert result.exit_code == exits.QUALITY


def test_a_range_may_name_its_unit():
    device = Device(units=frozenset({1, 3}), identities={})
    result = browsed(device, "--scan", "3/input:7", "--json")
    assert [unit["unit"] for unit in json.loads(result.stdout)] == [3]
    result = browsed(device, "--units", "1,3", "--scan", "holding#10-11", "--scan", "3/40001", "--json")
    ranges = [[scanned["range"] for scanned in unit["scans"]] for unit in json.loads(result.stdout)]
    assert ranges == [["1/holding:9-10"], ["3/holding:9-10", "3/holding:0"]]


@pytest.mark.parametrize(
    ("pair", "shown"),
    [
        ((0x43DC, 0x0000), {"uint32 ABCD": 0x43DC0000, "uint32 CDAB": 0x43DC, "float32 ABCD": 440.0}),
        ((0x0000, 0x43DC), {"uint32 ABCD": 0x43DC, "uint32 CDAB": 0x43DC0000, "float32 CDAB": 440.0}),
        ((0, 0), {"uint32 ABCD": 0, "uint32 CDAB": 0, "float32 ABCD": 0.0, "float32 CDAB": 0.0}),
        ((0x7FC0, 0x7FC0), {"uint32 ABCD": 0x7FC07FC0, "uint32 CDAB": 0x7FC07FC0}),  # not a number
        ((0x7F80, 0x0000), {"uint32 ABCD": 0x7F800000, "uint32 CDAB": 0x7F80}),  # infinite
        ((0x4E6E, 0x6B28), {"uint32 ABCD": 0x4E6E6B28, "uint32 CDAB": 0x6B284E6E}),  # 1e9, and 2e26
    ],
)
def test_a_pair_reads_as_a_float_only_where_that_is_plausible(pair, shown):
    said = readings(Scanned(Span(1, "holding", 5, 2), dict(enumerate(pair, 5))), 5)
    assert {name: value for name, value in said.items() if "32" in name} == shown


# --- rows for points.csv ---


def rows_of(words):
    return list(csv.DictReader(io.StringIO(words)))


def loaded(folder, points):
    """The plant of these points; a ConfigError lists every fault."""
    rows = rows_of(points)
    source = f'[[source]]\nid = "{rows[0]["source"]}"\nkind = "modbus"\nurl = "modbus+tcp://127.0.0.1:502"\n'
    folder.joinpath("plant.toml").write_text(f'version = 1\n[plant]\nid = "works"\n{source}', "utf-8")
    assets = dict.fromkeys(row["asset"] for row in rows)
    folder.joinpath("assets.csv").write_text("asset\n" + "".join(f"{asset}\n" for asset in assets), "utf-8")
    folder.joinpath("points.csv").write_text(points, "utf-8")
    plant = load_plant(folder)
    module = base.load("modbus")
    assert [fault for point in plant.points if (fault := module.check(plant.sources[0], point)) is not None] == []
    return plant


def test_rows_of_models_load_and_stand_for_whole_meters(tmp_path):
    result = browsed(Device(cells=WHOLE), "--sunspec", "--points")
    assert result.exit_code == exits.DONE
    assert [list(row.values()) for row in rows_of(result.stdout)] == [
        ["u1/sunspec_1", "u1", "", "modbus", "1/holding:40002", "sunspec-common", "",
         "SunSpec model 1, common; Fronius Symo 10"],
        ["u1/sunspec_103", "u1", "", "modbus", "1/holding:40070", "sunspec-inverter-three-phase", "",
         "SunSpec model 103, inverter, three phase; Fronius Symo 10"],
        ["u1/sunspec_203", "u1", "", "modbus", "1/holding:40122", "sunspec-meter-three-phase", "",
         "SunSpec model 203, meter, three phase wye; Fronius Symo 10"],
    ]  # fmt: skip
    assert "assets.csv needs: u1" in result.stderr
    points = {point.point: point for point in loaded(tmp_path, result.stdout).points}
    assert points["u1/sunspec_103/ac_power"].address == "1/holding:40070+14"
    assert points["u1/sunspec_203/active_power"].role == "power.electricity"
    assert len(points) > 60


def test_rows_of_registers_load(tmp_path):
    device = Device(identities={}, units=frozenset({1, 2}), cells={(1, "holding", 10): "exception 2"})
    result = browsed(
        device, "--units", "1-2", "--scan", "1/holding:9-11", "--scan", "2/coil:0", "--points", "--source", "line",
        "--asset", "line1/press",
    )  # fmt: skip
    assert result.stdout.splitlines()[1:] == [
        "line1/press/u1/holding_9,line1/press/u1,measure,line,1/holding:9,,uint16,",
        "line1/press/u1/holding_11,line1/press/u1,measure,line,1/holding:11,,uint16,",
        "line1/press/u2/coil_0,line1/press/u2,measure,line,2/coil:0,,bool,",
    ]
    assert "not readable: 1/holding:10" in result.stderr
    assert len(loaded(tmp_path, result.stdout).points) == 3


def test_registers_of_one_unit_take_the_asset_that_is_given(tmp_path):
    result = browsed(Device(), "--scan", "holding:9", "--scan", "holding:9-10", "--points", "--asset", "press")
    assert [row["point"] for row in rows_of(result.stdout)] == ["press/holding_9", "press/holding_10"]


def test_a_proposed_map_is_no_row_but_a_message(tmp_path):
    result = browsed(Device(), "--points")
    assert rows_of(result.stdout) == []
    (row,) = re.findall(r"perhaps, if the device is one: (.*)", result.stderr)
    assert row == "u1/eastron-sdm630,u1,,modbus,1,eastron-sdm630,,"
    plant = loaded(tmp_path, result.stdout + row + "\n")  # once a person took it
    assert plant.points[0].address == "1/input:0x0000"


def test_no_rows_is_told_with_what_would_give_some():
    result = browsed(Device(identities={}), "--points")
    assert "no rows: look for SunSpec models with --sunspec, or for registers with --scan" in result.stderr


# --- texts of devices ---


def test_hostile_texts_are_harmless_in_table_json_and_points(tmp_path):
    hostile = (HOSTILE + b"\0").ljust(32, b"A")[:32]
    common = text(HOSTILE[:32], 16) + text(b"\x1b]0;t\x07\x9b2J=1+1", 16) + [0] * 16 + text(hostile, 16) + [1]
    identity = {0: HOSTILE, 1: b"@SUM(1)\t\x07", 2: b"A" * 200, 0x80: "x\u202ey".encode(), 0x90: b"\xff\x1b"}
    device = Device(identities={1: identifying(identity, level=3, a_page=1)}, cells=chain((1, common)))
    results = [browsed(device, "--sunspec", *words) for words in ((), ("--json",), ("--points",))]
    for result in results:
        assert result.exit_code == exits.DONE, result.output
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", result.output)
    table, as_json, points = results
    assert "A" * 81 not in table.stdout
    assert json.loads(as_json.stdout)[0]["identification"]["VendorName"] == "=cmd|'/c calc'!A1 red"
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows_of(points.stdout) for cell in row.values())
    assert len(loaded(tmp_path, points.stdout).points) > 0


# --- links ---


class Meters(Line):
    """Meters on a serial line, which frame identification's shorter requests as well."""

    def _readable(self):
        self._buffer += os.read(self._devices, 4096)
        while len(self._buffer) >= 2:
            size = 7 if self._buffer[1] == IDENTIFY else 8
            if len(self._buffer) < size:
                return
            frame = bytes(self._buffer[:size])
            del self._buffer[:size]
            assert crc(frame[:-2]) == frame[-2:]
            if (answer := self.reply(frame[0], frame[1:-2])) is not None:
                self.put(frame[:1] + answer + crc(frame[:1] + answer))


def test_a_serial_line_is_browsed():
    async def run():
        identities = {1: identifying(METER, level=2, a_page=1), 4: lambda _: None}
        device = Device(identities=identities, units=frozenset({1, 4}), cells={(1, "holding", 2): "exception 2"})
        with Meters(device) as line:
            url = f"modbus+rtu://{line.device}?baud=115200"
            result = await ran(url, "--units", "1-2,4", "--scan", "holding:0-3", "--json", patience="100ms")
        one, two, four = json.loads(result.stdout)
        assert one["identification"]["ProductCode"] == "SDM630-Modbus"
        assert [row["uint16"] for row in one["scans"][0]["registers"]] == [0, 1, 3]
        assert (two["answers"], four["answers"]) == (False, True)
        assert [row["uint16"] for row in four["scans"][0]["registers"]] == [0, 1, 2, 3]
        assert result.exit_code == exits.DONE

    bounded(20, run)


def test_datagrams_are_browsed():
    async def run():
        async with udp(Device()) as port:
            result = await ran(f"modbus+udp://127.0.0.1:{port}")
        assert "SDM630-Modbus" in result.stdout

    bounded(10, run)


def test_a_link_over_tls_needs_a_certificate_that_is_trusted(tmp_path):
    certificate, key = certificates.leaf("device").stored(tmp_path, "device")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def run():
        async with tcp(Device(), tls=context) as port:
            url = f"modbus+tls://127.0.0.1:{port}"
            trusted = await ran(url, "--ca", str(certificate), patience="5s")
            strange = await ran(url, patience="5s")
        assert "SDM630-Modbus" in trusted.stdout, trusted.output
        assert strange.exit_code == exits.CONFIG
        assert "its certificate is not trusted" in strange.stderr

    bounded(20, run)


def test_a_link_that_breaks_for_good_shows_what_was_found():
    async def run():
        device, servers = Device(), []

        def once(unit, pdu):
            if not device.bank.requests:
                return device(unit, pdu)
            servers[0].close()  # after the first registers
            return None

        async with hanging_up(once) as server:
            servers.append(server)
            port = server.sockets[0].getsockname()[1]
            result = await ran(port, "--scan", "holding:0-29", "--json")
        assert [row["uint16"] for row in json.loads(result.stdout)[0]["scans"][0]["registers"]] == list(range(10))
        assert "the link is gone: no Modbus connection" in result.stderr
        assert result.exit_code == exits.QUALITY

    bounded(20, run)


def test_nothing_but_reads_reaches_a_device():
    device = Device(cells=WHOLE)
    browsed(device, "--sunspec", "--scan", "holding:0-30", "--scan", "coil:0-20", "--scan", "input:3", "--scan",
            "discrete:0")  # fmt: skip
    assert set(device.bank.functions) == {1, 2, 3, 4, IDENTIFY}


# --- the command line ---


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["opc.tcp://127.0.0.1:4840", "--units", "1"], "--units belongs to modbus+ URLs"),
        (["opc.tcp://127.0.0.1:4840", "--scan", "holding:1"], "--scan belongs to modbus+ URLs"),
        (["opc.tcp://127.0.0.1:4840", "--sunspec"], "--sunspec belongs to modbus+ URLs"),
        (["opc.tcp://127.0.0.1:4840", "--rate", "5"], "--rate belongs to modbus+ URLs"),
        (["modbus+tcp://h:502", "--user", "u"], "--user belongs to opc.tcp:// URLs"),
        (["modbus+tcp://h:502", "--under", "i=85"], "--under belongs to opc.tcp:// URLs"),
        (["modbus+tcp://h:502", "--pki", "pki"], "--pki belongs to opc.tcp:// URLs"),
        (["modbus+tcp://h:502", "--password-file", __file__], "--password-file belongs to opc.tcp:// URLs"),
        (["modbus+tcp://h:502", "--ca", __file__], "--ca belongs to modbus+tls:// URLs"),
        (["modbus+tls://h:802", "--certificate", __file__], "certificate and private_key belong together"),
        (["modbus+tcp://h:502", "--rate", "51"], "--rate"),
        (["modbus+tcp://h:502", "--rate", "0"], "--rate"),
        (["modbus+tcp://h:502", "--units", "1-"], "'1-' is neither a unit nor a range"),
        (["modbus+tcp://h:502", "--units", "9-3"], "'9-3' is neither"),
        (["modbus+tcp://h:502", "--units", "1,256"], "'256' is neither"),
        (["modbus+rtu:///dev/ttyS0", "--units", "0-3"], "unit 0: on a serial line that is everybody"),
        (["modbus+tcp://h:502", "--scan", "100-200"], "holding:100 (zero-based)"),
        (["modbus+tcp://h:502", "--scan", "holding:9-3"], "write its first and last register"),
        (["modbus+tcp://h:502", "--scan", "holding:0-70000"], "is not within 0 to 65535"),
        (["modbus+tcp://h:502", "--source", "a b"], "--source 'a b'"),
        (["modbus+tcp://h:502", "--timeout", "5"], "--timeout '5'"),
        (["modbus+tcp://h:502", "--asset", "a b"], "--asset 'a b'"),
        (["modbus+tcp://:502"], "has no host"),
        (["modbus+xyz://h:502"], "is none of modbus+tcp"),
    ],
)  # fmt: skip
def test_a_command_line_at_fault_is_told(words, says):
    result = CliRunner().invoke(cli, ["browse", *words])
    assert result.exit_code == exits.USAGE
    assert says in re.sub(r"\s+", " ", result.stderr)


def test_units_and_durations_are_said_shortly():
    assert runs([2, 3, 4, 7, 9, 10]) == "2-4, 7, 9-10"
    assert [duration(seconds) for seconds in (0.1, 90, 130)] == ["1 s", "90 s", "3 min"]


def test_the_verbs_need_no_protocol_library_before_a_url_asks_for_one():
    code = "import sys, connectors.commands; print(sorted({'asyncua', 'serial'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

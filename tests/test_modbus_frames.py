"""Modbus frames, as pure functions: what can be asked, and which bytes are the answer; pymodbus as second opinion."""

import ast
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer.rtu import FramerRTU
from pymodbus.pdu import register_message

from connectors.modbus import frames
from connectors.modbus.frames import ExceptionReply, Identify, Mbap, Read, Rtu, WrongReply, crc16

ASKED = Read(1, "holding", 0, 2)
BITS = Read(1, "coil", 0, 10)


def mbap():
    """A framing whose next transaction is 7."""
    framing = Mbap(6)
    framing.encode(ASKED)
    return framing


def frame(transaction=7, protocol=0, unit=1, function=3, data=b"\x04\x00\x01\x00\x02", length=None):
    size = len(data) + 2 if length is None else length
    return bytearray(struct.pack(">HHHBB", transaction, protocol, size, unit, function) + data)


def rtu(unit=1, function=3, data=b"\x04\x00\x01\x00\x02"):
    body = bytes([unit, function]) + data
    return bytearray(body + FramerRTU.compute_CRC(body).to_bytes(2, "big"))


# --- what can be asked ---


@pytest.mark.parametrize(
    ("question", "pdu"),
    [
        (Read(1, "coil", 0x13, 0x25), "0100130025"),
        (Read(1, "discrete", 0xC4, 0x16), "0200c40016"),
        (Read(1, "holding", 0x6B, 3), "03006b0003"),
        (Read(1, "input", 8, 1), "0400080001"),
        (Identify(1, 1), "2b0e0100"),
    ],
)
def test_a_question_has_the_bytes_of_the_standard(question, pdu):
    # the examples of Modbus Application Protocol V1.1b3, sections 6.1 to 6.4 and 6.21
    assert question.pdu.hex() == pdu


def test_pymodbus_reads_our_request_as_its_own():
    theirs = register_message.ReadHoldingRegistersRequest(address=107, count=3, dev_id=1)
    assert Read(1, "holding", 107, 3).pdu == bytes([theirs.function_code]) + theirs.encode()


def test_a_frame_over_tcp_has_transaction_protocol_length_and_unit_before_it():
    assert Mbap(6).encode(Read(17, "holding", 107, 3)).hex() == "0007" + "0000" + "0006" + "11" + "03006b0003"


def test_a_frame_over_a_serial_line_has_the_crc_behind_it_low_byte_first():
    # 11 03 00 6B 00 03 -> 76 87, as calculators of the CRC give it
    assert Rtu().encode(Read(17, "holding", 107, 3)).hex() == "1103006b00037687"


@given(st.binary(max_size=260))
def test_the_crc_is_that_of_pymodbus(data):
    assert crc16(data).to_bytes(2, "little") == FramerRTU.compute_CRC(data).to_bytes(2, "big")


def test_transaction_numbers_go_round_without_0():
    framing = Mbap(0xFFFD)
    numbers = [int.from_bytes(framing.encode(ASKED)[:2], "big") for _ in range(4)]
    assert numbers == [0xFFFE, 0xFFFF, 1, 2]


READING = {1: "read coils", 2: "read discrete inputs", 3: "read holding", 4: "read input", 43: "read identification"}


def test_every_function_code_that_can_be_asked_reads():
    assert {*frames.READS.values(), frames.IDENTIFY} == READING.keys()


@given(
    st.integers(0, 255), st.sampled_from(list(frames.READS)), st.integers(0, 0xFFFF), st.integers(1, 2000),
    st.integers(1, 3), st.integers(0, 255),
)  # fmt: skip
def test_no_question_has_another_function_code(unit, table, address, count, category, first):
    questions = [Read(unit, table, address, count), Identify(unit, category, first)]
    assert {question.pdu[0] for question in questions} <= READING.keys()


PACKAGE = Path(frames.__file__).parent


def building(path):
    """Calls of a module that put bytes together."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)]
    packs = [name for name in calls if name in ("struct.pack", "struct.pack_into", "bytes")]
    return packs + [name for name in calls if name.endswith((".to_bytes", ".pack"))]


def test_requests_are_put_together_in_one_module_alone():
    found = {path.name: building(path) for path in PACKAGE.rglob("*.py") if path.name != "frames.py"}
    # layout.py turns a sentinel's hex digits into a number, scan.py shows pairs of registers; nothing of it is sent
    assert {name: set(calls) for name, calls in found.items() if calls} == {
        "layout.py": {"int(word, 16).to_bytes"},
        "scan.py": {"struct.pack"},
    }


def test_each_pdu_of_that_module_begins_with_a_function_that_reads():
    tree = ast.parse((PACKAGE / "frames.py").read_text(encoding="utf-8"))
    packed = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "struct.pack"]
    heads = {ast.unparse(call.args[1]) for call in packed}
    assert heads == {"READS[self.table]", "IDENTIFY"}
    # the rest are headers before one: protocol 0
    headers = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "_MBAP.pack"]
    assert {ast.unparse(call.args[0]) for call in headers} == {"0"}


def test_only_a_link_writes_and_only_what_a_framing_encoded():
    sends = {}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
        for call in calls:
            if call.func.attr in ("write", "sendto", "send", "sendall", "writelines", "writev", "_write"):
                sends.setdefault(path.name, set()).add(ast.unparse(call))
    assert sends == {
        "link.py": {
            "self._write(self.framing.encode(self._question))", "self._transport.write(frame)",
            "self._transport.sendto(frame)",
        },
        "serial_link.py": {"os.write(self._port.fileno(), frame)"},
    }  # fmt: skip


# --- which bytes are the answer ---


def test_the_right_reply_is_taken():
    assert mbap().take(frame(), ASKED) == b"\x00\x01\x00\x02"
    assert Rtu().take(rtu(), ASKED) == b"\x00\x01\x00\x02"


@pytest.mark.parametrize("size", range(1, 13))
def test_a_reply_is_waited_for_to_its_last_byte(size):
    assert mbap().take(frame()[:size], ASKED) is None


@pytest.mark.parametrize("size", range(1, 9))
def test_a_serial_reply_is_waited_for_to_its_last_byte(size):
    assert Rtu().take(rtu()[:size], ASKED) is None


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
        frame(length=300),
        frame(function=0x84, data=b"\x02"),
        frame() + b"\x00",
        frame() + frame(),
    ],
)
def test_no_reply_to_another_question_is_taken(reply):
    with pytest.raises(WrongReply):
        mbap().take(reply, ASKED)


@pytest.mark.parametrize(
    "reply",
    [
        rtu(unit=2),
        rtu(function=4),
        rtu(function=0x84, data=b"\x02"),
        rtu(data=b"\x02\x00\x01"),
        rtu(data=b"\x06\x00\x01\x00\x02\x00\x03"),
        rtu()[:-1] + b"\x00",  # a CRC that is none
        rtu() + b"\x00",
        rtu() + rtu(),
        bytearray(b"\x55") + rtu(),
    ],
)
def test_no_serial_reply_to_another_question_is_taken(reply):
    with pytest.raises(WrongReply):
        Rtu().take(reply, ASKED)


def test_what_an_idle_line_reads_as_is_passed_over_before_a_reply():
    assert Rtu().take(bytearray(b"\x00\xff\xff") + rtu(), ASKED) == b"\x00\x01\x00\x02"


def test_an_echo_is_taken_off_where_the_adapter_is_said_to_have_one():
    framing = Rtu(echo=True)
    sent = framing.encode(ASKED)
    assert framing.take(bytearray(sent[:5]), ASKED) is None
    assert framing.take(bytearray(sent), ASKED) is None
    assert framing.take(bytearray(sent) + rtu(), ASKED) == b"\x00\x01\x00\x02"
    with pytest.raises(WrongReply, match="echo"):
        framing.take(rtu(), ASKED)


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 42])
def test_an_exception_is_told_by_its_code(code):
    with pytest.raises(ExceptionReply) as tcp:
        mbap().take(frame(function=0x83, data=bytes([code])), ASKED)
    with pytest.raises(ExceptionReply) as serial:
        Rtu().take(rtu(function=0x83, data=bytes([code])), ASKED)
    assert tcp.value.code == serial.value.code == code
    assert tcp.value.status >> 30 == 2  # bad, all of them


@given(st.binary(max_size=40))
def test_random_bytes_never_pass_for_a_reply(data):
    for framing in (mbap(), Rtu()):
        try:
            answer = framing.take(bytearray(data), ASKED)
        except (WrongReply, ExceptionReply):
            continue
        assert answer is None  # not yet whole


@given(st.binary(min_size=4, max_size=4), st.integers(1, 247), st.integers(0, 0xFFFF))
def test_whatever_a_device_says_is_taken_as_it_is(data, unit, address):
    question = Read(unit, "input", address, 2)
    framing = Mbap(99)
    framing.encode(question)
    assert framing.take(frame(100, unit=unit, function=4, data=b"\x04" + data), question) == data
    assert Rtu().take(rtu(unit, 4, b"\x04" + data), question) == data

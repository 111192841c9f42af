"""MQTT packets: bytes in any pieces become the same packets, and what is none is refused."""

import ast
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.mqtt import packets
from connectors.mqtt.packets import (
    CONNACK,
    DISCONNECT,
    DUP,
    HEAD,
    PINGRESP,
    RETAIN,
    SUBACK,
    Control,
    Malformed,
    Message,
    Reader,
)

MOST = 100_000


def length(n: int) -> bytes:
    """A variable byte integer, as MQTT 5.0 writes it in 1.5.5."""
    out = bytearray()
    while True:
        out.append(n % 128 + (128 if n >= 128 else 0))
        n //= 128
        if not n:
            return bytes(out)


def publish(topic: bytes, payload: bytes, *, mid: int = 0, flags: int = 0, v5: bool = True, properties=b"") -> bytes:
    head = len(topic).to_bytes(2, "big") + topic + (mid.to_bytes(2, "big") if mid else b"")
    body = head + (length(len(properties)) + properties if v5 else b"") + payload
    return bytes([0x30 | flags | (2 if mid else 0)]) + length(len(body)) + body


def read(*pieces: bytes, v5: bool = True, most: int = MOST) -> list[Message | Control]:
    reader, out = Reader(v5=v5, max_packet=most), []
    for piece in pieces:
        reader.feed(piece, out)
    return out


@pytest.mark.parametrize("v5", [True, False])
def test_a_message_has_topic_payload_identifier_and_flags(v5):
    data = publish(b"plant/l1", b"12.5", mid=7, flags=DUP | RETAIN, v5=v5)
    assert read(data, v5=v5) == [Message(b"plant/l1", b"12.5", 7, DUP | RETAIN | 2)]
    assert read(publish(b"t", b"", v5=v5), v5=v5) == [Message(b"t", b"", 0, 0)]


def test_properties_of_a_message_are_passed_over():
    expiry = b"\x02\x00\x00\x00\x3c"
    user = b"\x26\x00\x01a\x00" + b"\xc8" + b"b" * 200
    assert read(publish(b"t", b"v", properties=expiry + user)) == [Message(b"t", b"v", 0, 0)]


def test_subscription_identifiers_say_which_filters_brought_a_message():
    properties = b"\x0b\x07" + b"\x01\x01" + b"\x0b\x80\x02"
    assert read(publish(b"t", b"v", properties=properties)) == [Message(b"t", b"v", 0, 0, 0, (7, 256))]
    assert packets.subscribe(1, ["a"], 1, v5=True, identifier=256) == bytes.fromhex("82 0a 0001 03 0b8002 0001 61 01")


MESSAGES = st.lists(
    st.builds(
        lambda topic, payload, mid, flags: (topic, payload, mid, flags),
        st.binary(min_size=1, max_size=20), st.binary(max_size=400),
        st.integers(0, 0xFFFF), st.sampled_from([0, 1, 8, 9]),
    ),
    max_size=8,
)  # fmt: skip


@given(MESSAGES, st.booleans(), st.randoms(use_true_random=False), st.sampled_from([50, 300, MOST]))
def test_any_division_into_pieces_gives_the_same_packets(messages, v5, rng, most):
    data = b"\xd0\x00".join(publish(t, p, mid=m, flags=f, v5=v5) for t, p, m, f in messages)
    whole = read(data, v5=v5, most=most)
    assert [one for one in whole if isinstance(one, Message)] == [
        Message(t, p, m, f | (2 if m else 0), size if (size := body(t, p, m, v5=v5)) > most else 0)
        for t, p, m, f in messages
    ]
    pieces, at = [], 0
    while at < len(data):
        step = rng.choice([1, 1, 2, 3, 100, 1000])
        pieces.append(data[at : at + step])
        at += step
    assert read(*pieces, v5=v5, most=most) == whole


def body(topic: bytes, payload: bytes, mid: int, *, v5: bool) -> int:
    return 2 + len(topic) + (2 if mid else 0) + (1 if v5 else 0) + len(payload)


def test_a_message_that_is_too_large_is_passed_over_with_its_beginning_kept_and_what_follows_is_read():
    reader, out = Reader(v5=True, max_packet=1000), []
    huge = publish(b"cam/1", b"x" * 50_000_000, mid=9)
    for at in range(0, len(huge), 65_536):
        reader.feed(huge[at : at + 65_536], out)
        assert len(reader._rest) <= HEAD
    reader.feed(publish(b"t", b"1"), out)
    (cut, after) = out
    assert (cut.topic, cut.mid, cut.size) == (b"cam/1", 9, 50_000_010)
    assert HEAD - 100 < len(cut.payload) < HEAD
    assert after == Message(b"t", b"1", 0, 0)


@pytest.mark.parametrize(
    ("data", "v5", "why"),
    [
        (b"\x30\xff\xff\xff\xff\x01", True, "more than four bytes"),
        (b"\x36\x05\x00\x01t\x00\x07", True, "QoS 3"),
        (b"\x32\x03\x00\x01t", True, "identifier"),
        (b"\x32\x06\x00\x01t\x00\x00\x00", True, "identifier 0"),
        (b"\x30\x01\x00", True, "less than two"),
        (b"\x30\x04\x00\x09ab", True, "within its"),
        (b"\x30\x04\x00\x09ab", False, "within its"),
        (b"\x30\x03\x00\x00\x00", True, "has no topic"),  # an alias, of which we allowed none
        (b"\x30\x04\x00\x01t\x05", True, "within its"),  # properties of five bytes, and none there
        (b"\x10\x00", True, "no subscriber may get"),  # CONNECT
        (b"\x82\x00", True, "no subscriber may get"),  # SUBSCRIBE
        (b"\xf0\x00", True, "no subscriber may get"),  # AUTH, which we never began
        (b"\xd1\x00", True, "no subscriber may get"),  # PINGRESP with a flag
        (b"\xd0\x01x", True, "no body"),
        (b"\x20\x01\x00", True, "too short"),
        (b"\x90\x01\x00", False, "too short"),
        (b"\xe0\x00", False, "no broker of MQTT 3.1.1"),
        (b"\x20\x04\x00\x00\x02\x11", True, "within its properties"),
        (b"\x20\x05\x00\x00\x02\x11\x00", True, "cut off"),  # session expiry has four bytes
        (b"\x20\x05\x00\x00\x02\xee\x00", True, "unknown"),
        (b"\x90\x80\x80\x40", True, "has 1048576 bytes"),
    ],
)
def test_what_is_no_packet_of_a_broker_is_refused(data, v5, why):
    with pytest.raises(Malformed, match=why):
        read(data, v5=v5)


def test_packets_before_one_that_is_refused_are_kept():
    reader, out = Reader(v5=True, max_packet=MOST), []
    with pytest.raises(Malformed):
        reader.feed(publish(b"t", b"1", mid=1) + b"\xf0\x00", out)
    assert out == [Message(b"t", b"1", 1, 2)]


def test_a_connack_says_session_code_and_properties():
    properties = b"\x11\x00\x00\x00\x3c" + b"\x13\x00\x1e" + b"\x1f\x00\x02no" + b"\x26\x00\x01a\x00\x01b" + b"\x24\x01"
    data = b"\x20" + length(3 + len(properties)) + b"\x01\x87" + length(len(properties)) + properties
    said = {0x11: 60, 0x13: 30, 0x1F: "no", 0x24: 1}
    assert read(data) == [Control(CONNACK, 0x87, session_present=True, properties=said)]


@pytest.mark.parametrize(("old", "new"), [(0, 0), (1, 0x84), (2, 0x85), (3, 0x88), (4, 0x86), (5, 0x87), (99, 0x80)])
@pytest.mark.parametrize("v5", [True, False])
def test_return_codes_of_old_brokers_are_told_in_the_new_numbers(old, new, v5):
    assert read(bytes([0x20, 2, 0, old]), v5=v5) == [Control(CONNACK, new)]


def test_a_suback_has_a_code_for_each_filter():
    assert read(b"\x90\x06\x00\x07\x00\x01\x00\x87") == [Control(SUBACK, mid=7, codes=(1, 0, 0x87))]
    assert read(b"\x90\x04\x00\x07\x01\x80", v5=False) == [Control(SUBACK, mid=7, codes=(1, 0x80))]


def test_a_disconnect_says_why():
    assert read(b"\xe0\x00", b"\xe0\x01\x8e", b"\xd0\x00") == [
        Control(DISCONNECT), Control(DISCONNECT, 0x8E), Control(PINGRESP)
    ]  # fmt: skip


def test_what_we_send_is_as_the_standard_writes_it():
    words = {"client_id": "gw", "user": "u", "password": "p", "keep_alive": 10, "clean": False}
    words |= {"expiry": 60, "receive_maximum": 1000, "max_packet": 4096}
    assert packets.connect(**words, v5=True) == bytes.fromhex(
        "10 22 0004 4d515454 05 c0 000a 0d 21 03e8 27 00001000 11 0000003c 0002 6777 0001 75 0001 70"
    )  # fmt: skip
    assert packets.connect(**words, v5=False) == bytes.fromhex(
        "10 14 0004 4d515454 04 c0 000a 0002 6777 0001 75 0001 70"
    )  # fmt: skip
    assert packets.subscribe(7, ["a/+", "b"], 1, v5=True) == bytes.fromhex("82 0d 0007 00 0003 612f2b 01 0001 62 01")
    assert packets.pubacks([1, 0xFFFE]) == bytes.fromhex("4002 0001 4002 fffe")
    assert packets.request("t", b"x" * 130, v5=True) == bytes.fromhex("30 8601 0001 74 00") + b"x" * 130


def calls(name: str) -> set[tuple[str, str]]:
    """File and text of every call of a function or method of this name in the MQTT connector."""
    return {
        (path.name, ast.unparse(node))
        for path in Path(packets.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name
    }


def test_the_one_message_ever_sent_asks_a_sparkplug_node_for_its_birth():
    assert {file for file, _ in calls("request")} == {"link.py"}
    assert calls("ask") - {("rebirths.py", "link.ask(*sparkplug.rebirth(*node, time.time_ns() // 1000000))")} == {
        ("connector.py", "self._rebirths.ask(burst.wants, link)"),
        ("connector.py", "self._rebirths.ask(self._inbox.host.waiting(), link)"),
    }
    text = Path(packets.__file__).read_text(encoding="utf-8")
    firsts = {hex(node.args[0].value) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)
              and ast.unparse(node.func) == "_packet" and isinstance(node.args[0], ast.Constant)}  # fmt: skip
    assert firsts == {"0x10", "0x82", "0x30"}  # CONNECT, SUBSCRIBE, and that message at QoS 0, not retained


def test_a_hundred_thousand_mutated_packets_are_read_or_refused_in_bounded_memory():
    rng = random.Random(5)
    good = [
        publish(b"plant/line1/press/data", b'{"a": 1.5}', mid=77), publish(b"t", b"1", v5=True, properties=b"\x01\x01"),
        b"\x20\x09\x00\x00\x06\x11\x00\x00\x00\x3c\x24", b"\x90\x06\x00\x07\x00\x01\x00\x87", b"\xd0\x00",
        b"\xe0\x01\x8e",
    ]  # fmt: skip
    refused = 0
    for _ in range(100_000):
        data = bytearray(b"".join(rng.choices(good, k=3)))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            choice = rng.random()
            if choice < 0.6:
                data[at] = rng.randrange(256)
            elif choice < 0.8:
                del data[at : at + rng.randint(1, 5)]
            else:
                data[at:at] = rng.randbytes(rng.randint(1, 5))
            if not data:
                break
        reader, out = Reader(v5=rng.random() < 0.5, max_packet=200), []
        try:
            reader.feed(bytes(data), out)
        except Malformed:
            refused += 1
        assert len(reader._rest) <= max(200 + 5, HEAD)
    assert 10_000 < refused < 100_000

"""MQTT: payloads to rows without a socket, then a real broker."""

import asyncio
import json
import logging
import threading
import time

import numpy as np
import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from config import status
from config.plant import Point, Source
from connectors import mqtt
from connectors.base import Readings, SourceLost, SourceRefused
from connectors.mqtt_decode import Topic, epoch_ns, split
from connectors.scaling import Scaling
from tests.servers import Broker, mosquitto, silent_server, within

NOW = 1_800_000_000_000_000_000
AT_NS = 1_795_242_600_123_456_789


def source(url: str = "mqtt://127.0.0.1:1883", **settings) -> Source:
    return Source(id="q", kind="mqtt", url=url, timeout=settings.pop("timeout", "5s"), **settings)


def points(*rows: tuple[str, str]) -> list[Point]:
    return [
        Point(point=f"p{i}", asset="a", source="q", address=address, type=kind)
        for i, (address, kind) in enumerate(rows)
    ]


def rows(payload: bytes | str, *members: tuple[str, str], scale: float = 1.0):
    """Rows of one topic as (value, text, status, ts), and the reason."""
    table = [
        Point(point=f"p{i}", asset="a", source="q", address=f"t#{pointer}", type=kind, scale=scale)
        for i, (pointer, kind) in enumerate(members)
    ]
    topic = Topic([(i, split(p.address)[1], p) for i, p in enumerate(table)], "/ts", Scaling(table))
    found, reason = topic.rows(payload.encode() if isinstance(payload, str) else payload, NOW)
    assert [row.position for row in found] == list(range(len(members)))
    return [(row.value, row.text, row.status, row.ts) for row in found], reason


# --- addresses ---


@pytest.mark.parametrize(
    ("address", "expected"),
    [("a/b#/x/0", ("a/b", "/x/0")), ("a/b", ("a/b", "")), ("a/b#", ("a/b", "")), ("a#/", ("a", "/"))],
)
def test_an_address_is_a_topic_and_a_json_pointer(address, expected):
    assert split(address) == expected


@pytest.mark.parametrize(
    ("address", "kind"), [("a/+/b#/x", ""), ("a/#", "int7"), ("#/x", ""), ("a#x", ""), ("a#/x", "datetime")]
)
def test_check_says_what_is_wrong(address, kind):
    assert mqtt.check(source(), points((address, kind))[0])


@pytest.mark.parametrize("url", ["mqtts://h:8883", "ws://h", "h:1883", "mqtt://"])
def test_check_refuses_urls_that_this_version_does_not_serve(url):
    assert "mqtt://host:port" in (mqtt.check_source(source(url)) or "")
    with pytest.raises(SourceRefused):
        within(5, mqtt.Connector(source(url), points(("a", ""))).connect)


# --- payloads ---


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-11-21T14:30:00.123456789+08:00", AT_NS),
        ("2026-11-21T06:30:00.123456789Z", AT_NS),
        ("2026-11-21 06:30:00+0000", 1_795_242_600_000_000_000),
        (1_795_242_600, 1_795_242_600_000_000_000),
        (1_795_242_600.123456, 1_795_242_600_123_456_000),
        (1_795_242_600_123, 1_795_242_600_123_000_000),
        (1_795_242_600_123_456, 1_795_242_600_123_456_000),
        (AT_NS, AT_NS),
        ("2026-11-21T06:30:00", None),  # no offset
        ("yesterday", None),
        (True, None),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        (10**30, None),
        ("2026-13-21T06:30:00Z", None),
    ],
)
def test_times_of_many_kinds_are_understood(stamp, expected):
    assert epoch_ns(stamp) == expected


def test_one_payload_feeds_all_its_points_at_its_own_time():
    payload = json.dumps({"ts": AT_NS, "a": {"b": [1, 2.5]}, "run": True, "name": "压机", "x/y~z": 7, "no": None})
    members = [("/a/b/1", ""), ("/run", ""), ("/name", ""), ("/x~1y~0z", ""), ("/no", ""), ("/name", "string")]
    found, reason = rows(payload, *members)
    assert found == [
        (2.5, None, 0, AT_NS), (1, None, 0, AT_NS), (None, "压机", 0, AT_NS),
        (7, None, 0, AT_NS), (None, None, 0, AT_NS), (None, "压机", 0, AT_NS),
    ]  # fmt: skip
    assert reason is None


@pytest.mark.parametrize(
    ("payload", "kind", "expected"),
    [
        ("12.5", "", (12.5, None)),
        (" 12 ", "uint16", (12, None)),
        ("true", "bool", (1, None)),
        ("on", "", (None, "on")),
        ("12", "string", (None, "12")),
        ("9007199254740993", "", (None, "9007199254740993")),
    ],
)
def test_a_payload_without_a_pointer_is_one_plain_value(payload, kind, expected):
    found, reason = rows(payload, ("", kind))
    assert found == [(*expected, 0, NOW)]
    assert reason is None


@pytest.mark.parametrize(
    "payload", [b"{", b"", b"\xff\xfe\xfd", b"[" * 100_000, b"1" * 5000, b'{"b": 1}', b'{"a": "x"}', b"[]", b"null"]
)
def test_a_payload_that_does_not_fit_makes_its_points_bad_and_says_why(payload):
    found, reason = rows(payload, ("/a", "float64"))
    assert found == [(None, None, status.BAD_DECODING_ERROR, NOW)]
    assert reason


def test_a_value_that_is_missing_fails_alone():
    found, reason = rows('{"a": 1, "ts": 1795242600}', ("/a", ""), ("/b", ""))
    assert [row[2] for row in found] == [0, status.BAD_DECODING_ERROR]
    assert "/b" in (reason or "")


def test_a_structure_where_a_value_is_asked_for_is_not_supported():
    assert rows('{"a": {"b": 1}}', ("/a", ""))[0][0][2] == status.BAD_NOT_SUPPORTED


def test_an_integer_that_a_float_cannot_hold_keeps_its_digits():
    assert rows('{"a": 9007199254740993}', ("/a", ""))[0] == [(None, "9007199254740993", 0, NOW)]


def test_a_time_that_is_none_is_told_and_the_receive_time_stands_in():
    found, reason = rows('{"a": 1, "ts": "noon"}', ("/a", ""))
    assert found == [(1, None, 0, NOW)]
    assert "noon" in (reason or "")


@given(st.binary(max_size=200) | st.text().map(str.encode) | st.floats().map(lambda f: str(f).encode()))
def test_any_payload_makes_one_row_for_each_point(payload):
    rows(payload, ("/a", "float64"), ("/0", ""), ("", "int32"), ("", "string"))


# --- a real broker ---


class Press:
    """A publisher of the library itself; every message is at the broker when `say` returns."""

    def __init__(self, broker: Broker) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()

    def say(self, topic: str, *payloads: object) -> None:
        told = [self.client.publish(topic, json.dumps(payload), qos=1) for payload in payloads]
        for one in told:
            one.wait_for_publish(10)

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


async def collect(connector: mqtt.Connector, count: int) -> list[Readings]:
    """Readings until `count` rows came."""
    found: list[Readings] = []
    async for readings in connector.readings():
        found.append(readings)
        if sum(len(r.points) for r in found) >= count:
            break
    return found


def numbers(readings: list[Readings]) -> list[float]:
    return [v for r in readings for v in r.value.tolist()]


@pytest.mark.service
def test_messages_that_wait_together_become_one_burst(tmp_path):
    with mosquitto(tmp_path) as broker:

        async def run() -> None:
            connector = mqtt.Connector(source(broker.url), points(("t#/v", "")))
            await connector.connect()
            press = Press(broker)
            await asyncio.to_thread(press.say, "t", *({"v": i, "ts": AT_NS + i} for i in range(300)))
            press.stop()
            found = await collect(connector, 300)
            assert numbers(found) == list(range(300))
            assert np.concatenate([r.ts for r in found]).tolist() == [AT_NS + i for i in range(300)]
            assert len(found) < 300
            for readings in found:
                assert readings.acknowledge is not None
                readings.acknowledge()
            await connector.close()
            await connector.close()

        within(30, run)


@pytest.mark.service
def test_what_was_not_acknowledged_comes_again_and_what_was_does_not(tmp_path):
    with mosquitto(tmp_path) as broker:

        async def run() -> None:
            settings = source(broker.url, client_id="gateway")
            table = points(("t#/v", ""))
            first = mqtt.Connector(settings, table)
            await first.connect()
            press = Press(broker)
            await asyncio.to_thread(press.say, "t", {"v": 1})
            (one,) = await collect(first, 1)
            await asyncio.to_thread(press.say, "t", {"v": 2})
            (two,) = await collect(first, 1)
            one.acknowledge()
            await first.close()
            two.acknowledge()  # too late, and harmless
            await asyncio.to_thread(press.say, "t", {"v": 3})  # while nobody listens
            press.stop()
            again = mqtt.Connector(settings, table)
            await again.connect()
            assert numbers(await collect(again, 2)) == [2, 3]
            await again.close()

        within(30, run)


@pytest.mark.service
def test_a_broker_that_restarts_loses_nothing_of_the_session(tmp_path):
    with mosquitto(tmp_path) as broker:

        async def run() -> None:
            settings = source(broker.url, client_id="gateway")
            table = points(("t#/v", ""))
            first = mqtt.Connector(settings, table)
            await first.connect()
            press = Press(broker)
            await asyncio.to_thread(press.say, "t", {"v": 1}, {"v": 2})
            assert numbers(await collect(first, 2)) == [1, 2]  # and none is acknowledged
            press.stop()
            await asyncio.to_thread(broker.restart)
            with pytest.raises(SourceLost):
                await collect(first, 1)
            await first.close()
            again = mqtt.Connector(settings, table)
            await again.connect()
            assert numbers(await collect(again, 2)) == [1, 2]
            await again.close()

        within(30, run)


@pytest.mark.service
def test_a_bad_payload_is_counted_told_once_acknowledged_and_kills_nothing(tmp_path, caplog):
    with mosquitto(tmp_path) as broker:

        async def run() -> None:
            connector = mqtt.Connector(source(broker.url), points(("t#/v", "float64"), ("t#/w", "")))
            await connector.connect()
            press = Press(broker)
            await asyncio.to_thread(press.say, "t", [], {"v": "x", "w": 1}, {"v": 5, "w": 6})
            press.stop()
            found = await collect(connector, 6)
            states = [s for r in found for s in r.status.tolist()]
            bad = status.BAD_DECODING_ERROR
            assert states == [bad, bad, bad, 0, 0, 0]
            assert connector.faults == {"t": 2}
            await connector.close()

        with caplog.at_level(logging.WARNING, "plantproof.mqtt"):
            within(30, run)
    assert len([r for r in caplog.records if "topic 't'" in r.getMessage()]) == 1


@pytest.mark.service
def test_no_more_messages_than_the_receive_maximum_wait_unacknowledged(tmp_path):
    with mosquitto(tmp_path, "allow_anonymous true\nmax_queued_messages 0\n") as broker:

        async def run() -> None:
            connector = mqtt.Connector(source(broker.url, client_id="g"), points(("t#/v", "")))
            await connector.connect()
            press = Press(broker)
            await asyncio.to_thread(press.say, "t", *({"v": i} for i in range(1500)))
            press.stop()
            first = await collect(connector, 1000)
            assert sum(len(r.points) for r in first) == 1000
            assert not connector._link.messages
            for readings in first:
                readings.acknowledge()
            rest = await collect(connector, 500)
            assert numbers(first + rest) == list(range(1500))
            await connector.close()

        within(60, run)


@pytest.mark.service
def test_a_killed_broker_is_a_lost_source(tmp_path):
    with mosquitto(tmp_path) as broker:

        async def run() -> None:
            connector = mqtt.Connector(source(broker.url), points(("t", "")))
            await connector.connect()
            await asyncio.to_thread(broker.kill)
            with pytest.raises(SourceLost):
                await collect(connector, 1)
            await connector.close()

        within(15, run)


@pytest.mark.service
def test_a_broker_that_wants_a_password_is_a_refusal(tmp_path):
    with mosquitto(tmp_path, "allow_anonymous false\n") as broker:

        async def run() -> None:
            connector = mqtt.Connector(source(broker.url), points(("t", "")))
            with pytest.raises(SourceRefused, match="Not authorized"):
                await connector.connect()
            await connector.close()

        within(15, run)


def test_a_topic_that_the_broker_refuses_is_a_refusal_by_name():
    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(2)
        await reader.readexactly(head[1])
        writer.write(bytes.fromhex("20 03 00 00 00"))  # CONNACK: success
        head = await reader.readexactly(2)
        number = (await reader.readexactly(head[1]))[:2]
        writer.write(bytes.fromhex("90 05") + number + bytes.fromhex("00 01 87"))  # granted; not authorized
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async def run() -> None:
        serving = await asyncio.start_server(broker, "127.0.0.1", 0)
        url = f"mqtt://127.0.0.1:{serving.sockets[0].getsockname()[1]}"
        connector = mqtt.Connector(source(url), points(("open/a", ""), ("secret/b", "")))
        with pytest.raises(SourceRefused, match="'secret/b'"):
            await connector.connect()
        await connector.close()
        serving.close()

    within(10, run)


@pytest.mark.service
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_network_thread_that_died_is_noticed(tmp_path):
    with mosquitto(tmp_path) as broker:

        async def run() -> None:
            connector = mqtt.Connector(source(broker.url), points(("t", "")))
            await connector.connect()
            link = connector._link

            def fail(*_: object) -> None:
                raise RuntimeError("of a callback")  # the library lets it end its thread

            link._client.on_message = fail
            press = Press(broker)
            await asyncio.to_thread(press.say, "t", 1)
            press.stop()
            with pytest.raises(SourceLost, match="thread died"):
                await collect(connector, 1)
            await connector.close()

        within(15, run)


def test_a_broker_that_says_nothing_is_lost_within_the_timeout():
    async def run() -> None:
        async with silent_server() as port:
            connector = mqtt.Connector(source(f"mqtt://127.0.0.1:{port}", timeout="300ms"), points(("t", "")))
            with pytest.raises(SourceLost):
                await connector.connect()
            begin = time.monotonic()
            await connector.close()
            assert time.monotonic() - begin < 3
        assert not [t for t in threading.enumerate() if t.name.startswith("paho")]

    within(10, run)


def test_a_port_where_nobody_listens_is_a_lost_source():
    async def run() -> None:
        async with silent_server() as port:
            pass
        connector = mqtt.Connector(source(f"mqtt://127.0.0.1:{port}"), points(("t", "")))
        with pytest.raises(SourceLost):
            await connector.connect()
        await connector.close()

    within(10, run)

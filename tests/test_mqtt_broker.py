"""The MQTT connector and a real broker: sessions, acknowledgements, refusals, transports."""

import asyncio
import contextlib
import datetime as dt
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.server import serve

from config import status
from config.plant import Point, Source, Topic
from connectors import mqtt
from connectors.base import Readings, SourceLost, SourceRefused
from connectors.mqtt import routes
from connectors.mqtt.rebirths import Rebirths
from tests.certificates import authority, leaf
from tests.mqtt_peers import Press, password_file, scripted
from tests.running import until
from tests.servers import Broker, free_port, mosquitto, silent_server, within

AT_NS = 1_795_242_600_123_456_789


def source(url: str = "mqtt://127.0.0.1:1883", **settings) -> Source:
    return Source(id="q", kind="mqtt", url=url, timeout=settings.pop("timeout", "5s"), **settings)


def points(*rows: tuple[str, str]) -> list[Point]:
    return [
        Point(point=f"p{i}", asset="a", source="q", address=address, type=kind)
        for i, (address, kind) in enumerate(rows)
    ]


async def collect(connector: mqtt.Connector, count: int, *, acknowledge: bool = False) -> list[Readings]:
    """Readings with rows until `count` rows came."""
    found: list[Readings] = []
    async for readings in connector.readings():
        found.append(readings)
        if acknowledge and readings.acknowledge is not None:
            readings.acknowledge()
        if sum(len(r.points) for r in found) >= count:
            break
    return [readings for readings in found if len(readings.points)]


def numbers(readings: list[Readings]) -> list[float]:
    return [v for r in readings for v in r.value.tolist()]


@contextlib.asynccontextmanager
async def connected(settings: Source, table: list[Point], **attributes) -> AsyncIterator[mqtt.Connector]:
    connector = mqtt.Connector(settings, table)
    for name, value in attributes.items():
        setattr(connector, name, value)
    try:
        await connector.connect()
        yield connector
    finally:
        await connector.close()


@pytest.fixture
def broker(tmp_path) -> Iterator[Broker]:
    with mosquitto(tmp_path) as running:
        yield running


# --- messages and acknowledgements ---


@pytest.mark.service
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_messages_that_wait_together_become_one_burst(broker, version):
    async def run() -> None:
        settings = source(f"{broker.url}?version={version}")
        async with connected(settings, points(("t#/v", ""))) as connector, Press(broker.port) as press:
            await press.say("t", *({"v": i, "ts": AT_NS + i} for i in range(300)))
            found = await collect(connector, 300, acknowledge=True)
            assert numbers(found) == list(range(300))
            assert np.concatenate([r.ts for r in found]).tolist() == [AT_NS + i for i in range(300)]
            assert len(found) < 300
        await connector.close()

    within(30, run)


@pytest.mark.service
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_what_was_not_acknowledged_comes_again_and_what_was_does_not(broker, version):
    async def run() -> None:
        settings = source(f"{broker.url}?version={version}", client_id="gateway")
        async with Press(broker.port) as press:
            async with connected(settings, points(("t#/v", ""))) as first:
                await press.say("t", {"v": 1})
                (one,) = await collect(first, 1)
                await press.say("t", {"v": 2})
                (two,) = await collect(first, 1)
                one.acknowledge()
            two.acknowledge()  # too late, and harmless
            await press.say("t", {"v": 3})  # while nobody listens
        async with connected(settings, points(("t#/v", ""))) as again:
            assert numbers(await collect(again, 2)) == [2, 3]
            assert set(again.flags) == {"delivered again (DUP)"}  # the third, too, if the broker had not seen us go

    within(30, run)


@pytest.mark.service
def test_a_message_that_an_instance_before_handed_over_is_acknowledged_and_gives_no_row(broker):
    async def run() -> None:
        settings, table = source(broker.url, client_id="gateway"), points(("t", ""))  # no time of its own
        async with Press(broker.port) as press:
            async with connected(settings, table) as first:
                await press.say("t", 5, 5, 6)
                found = await collect(first, 3)
                tokens = [token for readings in found for token in readings.tokens]
                assert len(set(tokens)) == 3
            async with connected(settings, table, taken=frozenset(tokens[:2])) as again:
                (last,) = await collect(again, 1)
                assert (numbers([last]), list(last.tokens)) == ([6], tokens[2:])
                assert again.flags == {"delivered again (DUP)": 3}
                last.acknowledge()
                await asyncio.sleep(0)
            await press.say("t", 7)
        async with connected(settings, table) as third:
            assert numbers(await collect(third, 1)) == [7]

    within(30, run)


@pytest.mark.service
def test_a_broker_that_restarts_loses_nothing_of_the_session(tmp_path):
    async def run(broker: Broker) -> None:
        settings, table = source(broker.url, client_id="gateway"), points(("t#/v", ""))
        async with connected(settings, table) as first:
            async with Press(broker.port) as press:
                await press.say("t", {"v": 1}, {"v": 2})
            assert numbers(await collect(first, 2)) == [1, 2]  # and none is acknowledged
            await asyncio.to_thread(broker.restart)
            with pytest.raises(SourceLost):
                await collect(first, 1)
        async with connected(settings, table) as again:
            assert numbers(await collect(again, 2)) == [1, 2]

    with mosquitto(tmp_path, saves=True) as broker:
        within(30, lambda: run(broker))


@pytest.mark.service
def test_acknowledgements_are_sent_in_the_order_of_the_messages():
    """A broker that wants them so gets them so, whatever became of the messages (MQTT 5.0, 4.6)."""

    async def run() -> None:
        async with scripted() as peer:
            table = points(("t#/v", ""))
            async with connected(source(peer.url, topic=(Topic(topic="+"),)), table) as connector:
                peer.send_messages([("t", b'{"v": 1}'), ("nobody", b"x"), ("t", b"{"), ("t", b'{"v": 2}')])
                reading = connector.readings()
                held = [await anext(reading)]
                while sum(len(r.points) for r in held) < 3:
                    held.append(await anext(reading))
                assert peer.acknowledged == []
                for readings in held:
                    readings.acknowledge()
                await peer.until_acknowledged(4)
                assert peer.acknowledged == [1, 2, 3, 4]
                await reading.aclose()

    within(10, run)


# --- what does not fit ---


@pytest.mark.service
def test_a_payload_that_does_not_fit_is_put_aside_told_once_and_stops_nothing(broker, caplog):
    async def run() -> None:
        table = points(("t#/v", "float64"), ("t#/w", ""))
        async with connected(source(broker.url), table) as connector, Press(broker.port) as press:
            await press.say("t", 17, {"v": "x", "w": 1}, {"u": 1}, {"v": 5, "w": 6})
            found = await collect(connector, 6)
            bad = status.BAD_DECODING_ERROR
            assert [s for r in found for s in r.status.tolist()] == [bad, bad, bad, 0, 0, 0]
            refused = [one for r in found for one in r.refused]
            assert [(one.place, one.reason, one.payload, one.size) for one in refused] == [
                ("t", "none of its points is in it", b"17", 2),
                ("t", "/v: 'x' is no float64", b'{"v": "x", "w": 1}', 18),
            ]
            assert connector.faults == {"does not fit, topic 't'": 2}
            assert connector.figures()["without_points"] == 1  # which spoke of others

    with caplog.at_level(logging.WARNING, "plantproof.mqtt"):
        within(30, run)
    assert len([r for r in caplog.records if "topic 't'" in r.getMessage()]) == 1


def test_closing_waits_until_the_broker_has_read_the_last_acknowledgement():
    """Who came again before that would be sent the message again: the broker drops what it has not read."""

    async def run() -> None:
        async with scripted() as peer:
            connector = mqtt.Connector(source(peer.url, client_id="g"), points(("t#/v", "")))
            await connector.connect()
            peer.send_messages([("t", b'{"v": 1}')])
            (found,) = await collect(connector, 1)
            found.acknowledge()
            closing = asyncio.create_task(connector.close())
            closed_before: list[bool] = []

            async def slow() -> None:
                await asyncio.wait([closing], timeout=0.2)
                closed_before.append(closing.done())

            peer.on_goodbye = slow
            await closing
            assert (peer.acknowledged, closed_before) == ([1], [False])

    within(10, run)


def test_closing_waits_for_a_broker_that_stands_still_no_longer_than_it_says():
    async def run() -> None:
        async with scripted() as peer:
            connector = mqtt.Connector(source(peer.url), points(("t#/v", "")))
            await connector.connect()
            closed = asyncio.Event()
            peer.on_goodbye = closed.wait
            await connector.close()
            closed.set()

    within(10, run)


@pytest.mark.service
def test_a_topic_that_no_point_reads_is_counted_listed_and_acknowledged(broker):
    async def run() -> None:
        settings = source(broker.url, client_id="g", topic=(Topic(topic="plant/{machine}/data"),))
        async with connected(settings, points(("plant/m1/data#/v", ""))) as connector, Press(broker.port) as press:
            await press.say("plant/m2/data", {"v": 1}, {"v": 2})
            await press.say("plant/m1/data", {"v": 3})
            found = await collect(connector, 1)
            assert numbers(found) == [3]
            assert connector.faults == {"no point reads its topic": 2}
            assert any("no point reads plant/m2/data (2)" in warning for warning in connector.warnings())
            assert connector.figures()["unread_messages"] == 2
            found[-1].acknowledge()
        async with connected(settings, points(("plant/m1/data#/v", ""))) as again, Press(broker.port) as press:
            await press.say("plant/m1/data", {"v": 4})
            assert numbers(await collect(again, 1)) == [4]

    within(30, run)


@pytest.mark.service
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_message_larger_than_allowed_never_fills_memory_and_the_next_one_comes(broker, version):
    async def run() -> None:
        settings = source(f"{broker.url}?version={version}", max_packet="64KiB")
        async with connected(settings, points(("t#/v", ""))) as connector, Press(broker.port) as press:
            await press.say("t", {"v": 1, "film": "x" * 5_000_000}, {"v": 2})
            found = [readings async for readings in first(connector, 1 if version == "5" else 2)]
            assert numbers(found)[-1] == 2
            refused = [(one.place, one.size, len(one.payload)) for r in found for one in r.refused]
            if version == "5":  # the broker keeps it to itself, as it was told to
                assert refused == []
            else:
                ((place, size, kept),) = refused
                assert (place, size) == ("t", 5_000_025)
                assert [s for r in found for s in r.status.tolist()] == [status.BAD_DECODING_ERROR, status.GOOD]
                assert kept <= 70_000
                assert connector.faults == {"does not fit, topic 't'": 1}

    within(30, run)


async def first(connector: mqtt.Connector, count: int) -> AsyncIterator[Readings]:
    rows = 0
    async for readings in connector.readings():
        yield readings
        rows += len(readings.points)
        if rows >= count:
            return


@pytest.mark.service
def test_a_retained_message_is_flagged_and_without_a_time_of_its_own_uncertain(broker):
    async def run() -> None:
        async with Press(broker.port) as press:
            await press.say("plain", 7, retain=True)
            await press.say("timed", {"v": 8, "ts": AT_NS}, retain=True)
            table = points(("plain", ""), ("timed#/v", ""))
            async with connected(source(broker.url), table) as connector:
                found = await collect(connector, 2)
                rows = {n: (v, s) for r in found for n, v, s in zip(r.points, r.value, r.status, strict=True)}
                assert rows == {0: (7, status.UNCERTAIN_LAST_USABLE_VALUE), 1: (8, status.GOOD)}
                assert connector.flags == {"retained": 2}
                await press.say("plain", 9)
                (live,) = await collect(connector, 1)
                assert live.status.tolist() == [status.GOOD]
            ignoring = source(broker.url, topic=(Topic(topic="plain", retained="ignore"),))
            async with connected(ignoring, table[:1]) as connector:
                await press.say("plain", 10)
                assert numbers(await collect(connector, 1)) == [10]
            trusting = source(broker.url, topic=(Topic(topic="plain", retained="good"),))
            async with connected(trusting, table[:1]) as connector:
                (kept,) = await collect(connector, 1)
                assert (numbers([kept]), kept.status.tolist()) == ([7], [status.GOOD])

    within(30, run)


def test_a_message_that_is_older_than_the_one_before_is_kept_and_flagged():
    async def run() -> None:
        async with scripted() as peer, connected(source(peer.url), points(("t#/v", ""))) as connector:
            peer.send_messages([("t", f'{{"v": {n}, "ts": {AT_NS + n}}}'.encode()) for n in (1, 3, 2, 4)])
            found = await collect(connector, 4)
            assert numbers(found) == [1, 3, 2, 4]
            assert connector.flags == {"out of order": 1}

    within(10, run)


# --- flow control ---


@pytest.mark.service
def test_no_more_messages_than_the_receive_maximum_wait_unacknowledged(tmp_path):
    with mosquitto(tmp_path, "allow_anonymous true\nmax_queued_messages 0\n") as broker:

        async def run() -> None:
            settings = source(broker.url, client_id="g", receive_maximum=200)
            async with connected(settings, points(("t#/v", ""))) as connector, Press(broker.port) as press:
                await press.say("t", *({"v": i} for i in range(500)))
                early = await collect(connector, 200)
                assert sum(len(r.points) for r in early) == 200
                assert not connector._link.messages
                for readings in early:
                    readings.acknowledge()
                rest = await collect(connector, 300, acknowledge=True)
                assert numbers(early + rest) == list(range(500))

        within(60, run)


def test_what_nobody_takes_is_left_in_the_socket():
    """QoS 0 knows no acknowledgement that would hold a flood back: reading pauses instead."""

    async def run() -> None:
        async with scripted() as peer, connected(source(peer.url), points(("t", "string"))) as connector:
            flood = asyncio.create_task(peer.flood("t", b"x" * 100_000, 1000))
            link = connector._link
            await until(lambda: link._paused)
            assert sum(len(m.payload) for m in link.messages) < 17 * 2**20
            assert sum(len(r.points) for r in await collect(connector, 1000)) == 1000
            await flood
            assert link.pauses >= 1
            assert connector.faults == {}

    within(60, run)


# --- sessions that end ---


@pytest.mark.service
def test_a_killed_broker_is_a_lost_source(broker):
    async def run() -> None:
        async with connected(source(broker.url), points(("t", ""))) as connector:
            await asyncio.to_thread(broker.kill)
            with pytest.raises(SourceLost):
                await collect(connector, 1)

    within(15, run)


@pytest.mark.service
def test_a_broker_that_stands_still_is_lost_within_twice_the_keepalive(broker):
    async def run() -> None:
        settings = source(broker.url, keepalive="1s", timeout="1s")
        async with connected(settings, points(("t", ""))) as connector:
            with contextlib.suppress(TimeoutError):  # pings keep a silent link alive
                async with asyncio.timeout(2.5):
                    await collect(connector, 1)
            broker.pause()
            begin = time.monotonic()
            with pytest.raises(SourceLost, match="is silent"):
                await collect(connector, 1)
            assert time.monotonic() - begin < 2.2
            broker.go_on()

    within(15, run)


def test_a_broker_that_says_nothing_is_lost_within_the_timeout():
    async def run() -> None:
        async with silent_server() as port:
            connector = mqtt.Connector(source(f"mqtt://127.0.0.1:{port}", timeout="300ms"), points(("t", "")))
            with pytest.raises(SourceLost, match=r"within 0\.3 s"):
                await connector.connect()
            begin = time.monotonic()
            await connector.close()
            assert time.monotonic() - begin < 3

    within(10, run)


@pytest.mark.service
def test_a_session_that_the_broker_lost_is_a_gap_and_is_told(broker):
    async def run() -> None:
        settings, table = source(broker.url, client_id="g"), points(("t", ""), ("u", ""))
        async with connected(settings, table, taken=frozenset([1])) as connector:
            gap = await anext(connector.readings())
            assert gap.points.tolist() == [0, 1]
            assert set(gap.status.tolist()) == {status.BAD_NO_COMMUNICATION}
            assert connector.flags == {"the broker lost the session: what was sent meanwhile is missing": 1}
        async with connected(settings, table, taken=frozenset([1])) as connector:  # this time it kept it
            assert connector._session_gap() is None

    within(15, run)


def test_two_clients_of_one_name_do_not_throw_each_other_out_in_turns():
    async def run() -> None:
        async with scripted() as peer:
            settings = source(peer.url, client_id="g")
            async with connected(settings, points(("t", ""))) as connector:
                peer.send(bytes.fromhex("e0 01 8e"))  # DISCONNECT: session taken over
                with pytest.raises(SourceRefused, match="another client uses this client_id"):
                    await collect(connector, 1)
            async with connected(settings, points(("t", ""))) as connector:
                peer.close()  # as brokers do that say nothing
                with pytest.raises(SourceLost, match="look whether another client uses 'g'"):
                    await collect(connector, 1)

    within(15, run)


# --- refusals ---


@pytest.mark.service
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_broker_that_wants_a_password_is_a_refusal(tmp_path, version):
    with mosquitto(tmp_path, "allow_anonymous false\n") as broker:

        async def run() -> None:
            connector = mqtt.Connector(source(f"{broker.url}?version={version}"), points(("t", "")))
            with pytest.raises(SourceRefused, match=r"not authorized|bad user name"):
                await connector.connect()
            await connector.close()

        within(15, run)


@pytest.mark.service
def test_user_and_password_are_shown_to_the_broker(tmp_path):
    settings = f"allow_anonymous false\npassword_file {password_file(tmp_path, 'gw', 'geheim')}\n"
    with mosquitto(tmp_path, settings) as broker:

        async def run() -> None:
            async with (
                connected(source(broker.url, user="gw", password="geheim"), points(("t", ""))) as connector,
                Press(broker.port, user="gw", password="geheim") as press,
            ):
                await press.say("t", 5)
                assert numbers(await collect(connector, 1)) == [5]
            wrong = mqtt.Connector(source(broker.url, user="gw", password="nix"), points(("t", "")))
            with pytest.raises(SourceRefused, match="user and password") as found:
                await wrong.connect()
            assert "nix" not in str(found.value)
            await wrong.close()

        within(15, run)


@pytest.mark.service
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_topic_that_the_brokers_access_list_forbids_is_a_refusal_by_name(version):
    async def run() -> None:
        async with scripted(granted=[1, 0x87 if version == "5" else 0x80]) as peer:
            settings = source(f"{peer.url}?version={version}")
            connector = mqtt.Connector(settings, points(("open/a", ""), ("secret/b", "")))
            with pytest.raises(SourceRefused, match=r"topics 'secret/b' \((not authorized|unspecified)"):
                await connector.connect()
            await connector.close()

    within(10, run)


def test_a_lower_quality_of_service_than_asked_for_is_warned_of():
    async def run() -> None:
        async with scripted(granted=[0]) as peer, connected(source(peer.url), points(("t", ""))) as connector:
            assert connector.warnings()[0] == "the broker grants QoS 0 for t: messages can get lost"

    within(10, run)


def test_a_broker_that_knows_3_1_1_alone_is_spoken_to_in_it():
    async def run() -> None:
        async with scripted(version=4) as peer, connected(source(peer.url), points(("t", ""))) as connector:
            peer.send_messages([("t", b"5")])
            assert numbers(await collect(connector, 1)) == [5]
            assert peer.versions == [5, 4]

    within(10, run)


@pytest.mark.service
def test_a_port_with_tls_and_one_without_are_told_apart(tmp_path):
    with secured_broker(tmp_path) as (broker, url):

        async def run() -> None:
            for wrong, hint in (
                (url.replace("mqtts", "mqtt"), "with TLS or without"),
                (broker.url.replace("mqtt", "mqtts"), "TLS"),
            ):
                connector = mqtt.Connector(source(wrong), points(("t", "")))
                with pytest.raises(SourceLost, match=hint):
                    await connector.connect()
                await connector.close()

        within(15, run)


def test_an_answer_that_is_no_mqtt_is_a_lost_source():
    async def run() -> None:
        async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        serving = await asyncio.start_server(web, "127.0.0.1", 0)
        port = serving.sockets[0].getsockname()[1]
        connector = mqtt.Connector(source(f"mqtt://127.0.0.1:{port}?version=5"), points(("t", "")))
        with pytest.raises(SourceLost, match="does not speak MQTT"):
            await connector.connect()
        await connector.close()
        serving.close()

    within(10, run)


# --- topics ---


@pytest.mark.service
def test_filters_that_overlap_bring_each_message_to_each_point_once(broker):
    async def run() -> None:
        table = points(("plant/+/temp", ""), ("plant/l1/temp", ""), ("plant/l1/#", "string"))
        async with connected(source(broker.url), table) as connector, Press(broker.port) as press:
            await press.say("plant/l2/temp", 20)
            await press.say("plant/l1/temp", 10)
            await press.say("plant/l1/a/b", 5)
            found = await collect(connector, 5)
            rows = sorted(
                (int(n), v if ok else t)
                for r in found
                for n, v, ok, t in zip(r.points, r.value, r.valid, r.text or [None] * len(r.points), strict=True)
                if ok or t
            )
            assert rows == [(0, 10), (0, 20), (1, 10), (2, "10"), (2, "5")]
        old = source(f"{broker.url}?version=3.1.1")
        async with connected(old, table) as connector:
            (warning,) = connector.warnings()
            assert warning.startswith("filters plant/+/temp, plant/l1/# share topics")

    within(15, run)


@pytest.mark.service
def test_agents_that_share_a_subscription_divide_the_messages(broker):
    async def run() -> None:
        table = points(("t", ""))
        both = [source(broker.url, client_id=name, share="line1") for name in ("gw1", "gw2")]
        async with connected(both[0], table) as one, connected(both[1], table) as two, Press(broker.port) as press:
            await press.say("t", *range(100))
            got: list[list[float]] = [[], []]

            async def take(n: int, connector: mqtt.Connector) -> None:
                async for readings in connector.readings():
                    got[n] += readings.value.tolist()

            tasks = [asyncio.create_task(take(n, c)) for n, c in enumerate((one, two))]
            await until(lambda: sum(map(len, got)) >= 100)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert sorted(got[0] + got[1]) == list(range(100))
            assert all(got)

    within(30, run)


@pytest.mark.service
def test_a_last_will_turns_its_publishers_points_bad_at_once_and_life_lets_values_stand(broker):
    async def run() -> None:
        table = points(("plant/l1/m1/data#/v", ""), ("plant/l1/m2/data#/v", ""))
        topic = Topic(topic="plant/{line}/{machine}/data", will="plant/{line}/{machine}/status")
        settings, will = source(broker.url, topic=(topic,), keepalive="1s"), ("plant/l1/m1/status", "offline")
        async with connected(settings, table) as connector, Press(broker.port, will=will) as press:
            await press.say("plant/l1/m1/status", "online")
            await press.say("plant/l1/m1/data", {"v": 1})
            await press.say("plant/l1/m2/data", {"v": 2})
            assert sorted(numbers(await collect(connector, 2))) == [1, 2]
            async for readings in connector.readings():
                if readings.stands is not None and len(readings.stands):
                    assert readings.stands.tolist() == [0]
                    break
            press.cut()  # the broker sends the will
            (gone,) = await collect(connector, 1)
            assert (gone.points.tolist(), gone.status.tolist()) == ([0], [status.BAD_NO_COMMUNICATION])

    within(20, run)


@pytest.mark.service
def test_a_topic_that_falls_silent_is_told_of_by_name(broker):
    async def run() -> None:
        topics = (Topic(topic="quick", stale_after="200ms"),)
        table = points(("quick", ""), ("slow", ""))
        async with connected(source(broker.url, topic=topics), table) as connector, Press(broker.port) as press:
            await press.say("quick", 1)
            await collect(connector, 1)
            assert connector.warnings() == []
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.3):
                    await collect(connector, 1)
            (warning,) = connector.warnings()
            assert warning.startswith("nothing comes from quick (")
            ages = connector.figures()["topic_age_s"]
            assert set(ages) == {"quick", "slow"}

    within(15, run)


# --- what a review found ---


@pytest.mark.service
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_session_that_kept_more_than_is_read_ahead_lets_its_agent_in_again(tmp_path, version):
    """The broker sends what it kept before the SUBACK: 1,500 messages of 6 kB are more than the link reads ahead."""
    settings = "allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 1000\n"
    with mosquitto(tmp_path, settings) as broker:

        async def run() -> None:
            settings = source(f"{broker.url}?version={version}", client_id="g")
            async with connected(settings, points(("t#/v", ""))):
                pass
            async with Press(broker.port) as press:
                await press.say("t", *({"v": n, "fill": "x" * 6000} for n in range(1500)))
            async with connected(settings, points(("t#/v", ""))) as again:
                assert sorted(numbers(await collect(again, 1500, acknowledge=True))) == list(range(1500))

        within(60, run)


@pytest.mark.service
def test_what_the_session_kept_for_an_older_point_table_is_taken_by_the_new_one(broker):
    """Filters that overlap are told apart by numbers, under which the broker keeps messages: they must not change."""

    async def run() -> None:
        settings = source(broker.url, client_id="g")
        old = [("plant/+/data", ""), ("plant/line1/+", "")]
        async with connected(settings, points(*old)):
            pass
        async with Press(broker.port) as press:
            await press.say("plant/line1/data", *range(20))
        async with connected(settings, points(("oven/a", ""), ("oven/b", ""), *old)) as again:
            found = await collect(again, 40, acknowledge=True)
            rows = sorted((int(n), v) for r in found for n, v in zip(r.points, r.value, strict=True))
            assert rows == [(point, float(n)) for point in (2, 3) for n in range(20)]

    within(20, run)


@pytest.mark.service
def test_a_filter_that_the_table_no_longer_has_brings_nothing_twice_and_loses_nothing(broker):
    async def run() -> None:
        settings = source(broker.url, client_id="g")
        async with connected(settings, points(("plant/+/data", ""), ("plant/line1/+", ""))):
            pass
        async with Press(broker.port) as press:
            await press.say("plant/line1/data", 1, 2)  # kept under the old filters, a copy for each
            async with connected(settings, points(("plant/line1/data", ""))) as again:
                await press.say("plant/line1/data", 3, 4, 5)
                await press.say("plant/line1/data", "end")
                found = [r async for r in first(again, 6)]
                assert [v for v in numbers(found) if not np.isnan(v)] == [1, 2, 3, 4, 5]
                assert again.figures()["copies"] >= 5

    within(20, run)


@contextlib.asynccontextmanager
async def web_broker(then) -> AsyncIterator[str]:
    """A broker over WebSocket that accepts one client and its subscription, and then does what a test says."""

    async def handle(socket) -> None:
        await socket.recv()
        await socket.send(bytes.fromhex("20 03 00 00 00"))
        subscribe = await socket.recv()
        await socket.send(b"\x90\x04" + subscribe[2:4] + b"\x00\x01")
        await then(socket)

    async with serve(handle, "127.0.0.1", 0, subprotocols=["mqtt"]) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/mqtt?version=5"


def test_a_websocket_that_is_closed_is_a_lost_source_and_a_late_acknowledgement_harmless():
    async def close(socket) -> None:
        await socket.send(bytes.fromhex("32 07 00 01 74 00 01 00 35"))  # topic t, identifier 1, payload 5
        await socket.close(1001, "going down")

    async def run() -> None:
        async with web_broker(close) as url, connected(source(url), points(("t", ""))) as connector:
            (last,) = await collect(connector, 1)
            with pytest.raises(SourceLost, match="going down"):
                await collect(connector, 1)
            last.acknowledge()

    within(10, run)


def test_a_frame_that_is_at_fault_ends_a_websocket():
    async def masked(socket) -> None:
        socket.transport.write(b"\x82\x81\x00\x00\x00\x00x")  # a server must not mask
        await socket.wait_closed()

    async def run() -> None:
        async with web_broker(masked) as url, connected(source(url), points(("t", ""))) as connector:
            with pytest.raises(SourceLost, match="WebSocket"):
                await collect(connector, 1)

    within(10, run)


def test_of_five_thousand_topics_each_is_looked_up_and_not_compared_with_every_other(monkeypatch):
    asked = Counter()
    real = routes.covers

    def counted(wide: str, narrow: str) -> bool:
        asked["covers"] += 1
        return real(wide, narrow)

    monkeypatch.setattr(routes, "covers", counted)
    made = mqtt.Connector(source(), points(*((f"plant/m{n}/data#/v", "") for n in range(5000))))
    assert len(made._inbox.filters) == 5000
    assert asked["covers"] < 20_000


def test_a_message_of_more_samples_than_may_be_decoded_at_once_is_put_aside():
    async def run() -> None:
        async with scripted() as peer, connected(source(peer.url), points(("t#/*", ""))) as connector:
            peer.send_messages([("t", b"[" + b"1," * 60_000 + b"1]"), ("t", b"[1, 2]")])
            found = await collect(connector, 3)
            assert numbers(found)[1:] == [1, 2]
            (refused,) = [one for r in found for one in r.refused]
            assert refused.reason.startswith("more than 50,000 samples in one message")

    within(20, run)


def test_where_a_broker_stops_for_acknowledgements_the_commit_is_urgent():
    """Some brokers of 5.0 let 32 messages wait whatever they are asked for: nothing more comes then."""

    async def run() -> None:
        async with scripted() as peer, connected(source(peer.url), points(("t", ""))) as connector:
            peer.send_messages([("t", b"1")] * 5)
            assert not any(r.urgent for r in await collect(connector, 5))
            peer.send_messages([("t", b"2")] * 27)
            assert (await collect(connector, 27))[-1].urgent

    within(10, run)


def test_topics_of_any_length_take_no_more_memory_than_they_may():
    async def run() -> None:
        async with scripted() as peer, connected(source(peer.url), points(("long/+", ""))) as connector:
            for n in range(300):
                peer.send_messages([(f"long/{n:03}" + "x" * 60_000, b"1")])
            await collect(connector, 300, acknowledge=True)
            figures = connector.figures()
            assert len(connector._inbox.routes._heard) < 200
            assert max(len(name) for name in figures["topic_age_s"]) <= 201

    within(30, run)


def test_a_broker_that_hangs_up_when_asked_for_5_0_is_told_of():
    async def run() -> None:
        async with scripted(version=4) as peer, connected(source(peer.url), points(("t", ""))) as connector:
            assert any("3.1.1 is spoken" in warning for warning in connector.warnings())

    within(10, run)


def test_a_link_that_flaps_asks_no_node_more_often_for_its_birth():
    class Asked(list):
        def ask(self, topic: str, payload: bytes) -> None:
            self.append(topic)

    link = Asked()
    for _ in range(5):
        Rebirths("mqtt://flapping:1883", allowed=True).ask([("G", "N")], link)
    assert link == ["spBv1.0/G/NCMD/N"]
    Rebirths("mqtt://quiet:1883", allowed=False).ask([("G", "N")], link)
    assert len(link) == 1


# --- transports ---


CA = authority("Plant CA")
SERVER = leaf("broker", CA)
GATEWAY = leaf("gateway", CA, extended=None)


@contextlib.contextmanager
def secured_broker(folder: Path, certificate=SERVER, *, scheme: str = "mqtts") -> Iterator[tuple[Broker, str]]:
    """A broker with a listener that wants certificates of our authority; yields its URL as well."""
    port = free_port()
    files = [*certificate.stored(folder, "server")]
    (folder / "ca.pem").write_bytes(CA.pem)
    for file in (*files, folder / "ca.pem"):
        file.chmod(0o644)
    settings = (
        f"allow_anonymous true\nlistener {port} 127.0.0.1\ncafile {folder}/ca.pem\ncertfile {files[0]}\n"
        f"keyfile {files[1]}\nrequire_certificate true\n" + ("protocol websockets\n" if scheme == "wss" else "")
    )
    with mosquitto(folder, settings) as broker:
        yield broker, f"{scheme}://127.0.0.1:{port}"


def trusting(folder: Path, url: str, *, own=GATEWAY, ca=CA, **settings) -> Source:
    (folder / "trusted.pem").write_bytes(ca.pem)
    certificate, key = own.stored(folder, "gateway") if own is not None else (None, None)
    return source(url, ca=folder / "trusted.pem", certificate=certificate, private_key=key, **settings)


def heard_over(settings: Source, broker: Broker) -> list[float]:
    """What comes of one message; raises what connecting does."""
    found: list[float] = []

    async def run() -> None:
        async with connected(settings, points(("t", ""))) as connector, Press(broker.port) as press:
            await press.say("t", 5)
            found.extend(numbers(await collect(connector, 1)))
            found.extend(bool(connector.warnings()) * [-1.0])

    within(20, run)
    return found


@pytest.mark.service
@pytest.mark.parametrize("scheme", ["mqtts", "wss"])
def test_tls_shows_our_certificate_and_checks_the_brokers(tmp_path, scheme):
    with secured_broker(tmp_path, scheme=scheme) as (broker, url):
        assert heard_over(trusting(tmp_path, url), broker) == [5]


@pytest.mark.service
def test_a_broker_whose_issuer_or_name_is_a_stranger_is_refused(tmp_path):
    with secured_broker(tmp_path) as (broker, url), pytest.raises(SourceRefused, match=r"not trusted .*ca file"):
        heard_over(trusting(tmp_path, url, ca=authority("Another CA")), broker)
    other = leaf("other", CA, hosts=("broker.plant.example",))
    (tmp_path / "2").mkdir()
    with secured_broker(tmp_path / "2", other) as (broker, url):
        with pytest.raises(SourceRefused, match="not trusted"):
            heard_over(trusting(tmp_path, url), broker)
        assert heard_over(trusting(tmp_path, url, server_name="broker.plant.example"), broker) == [5]


@pytest.mark.service
def test_a_broker_that_wants_a_certificate_of_ours_gets_no_password_without_it(tmp_path):
    with secured_broker(tmp_path) as (broker, url), pytest.raises(SourceRefused, match="refuses our side of TLS"):
        heard_over(trusting(tmp_path, url, own=None, user="gw", password="geheim"), broker)


@pytest.mark.service
def test_a_certificate_that_ends_soon_is_warned_of(tmp_path):
    soon = leaf("soon", CA, end=dt.timedelta(days=20))
    with secured_broker(tmp_path, soon) as (broker, url):
        assert heard_over(trusting(tmp_path, url), broker) == [5, -1]


@pytest.mark.service
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_websocket_carries_the_same_messages(tmp_path, version):
    port = free_port()
    settings = f"allow_anonymous true\nlistener {port} 127.0.0.1\nprotocol websockets\n"
    with mosquitto(tmp_path, settings) as broker:

        async def run() -> None:
            url = f"ws://127.0.0.1:{port}/mqtt?version={version}"
            settings = source(url, client_id="g")
            async with connected(settings, points(("t#/v", ""))) as connector, Press(broker.port) as press:
                # Not many: this broker writes 4 KB to a WebSocket each 100 ms.
                payloads = [{"v": i, "fill": "x" * 1000} for i in range(20)]
                await press.say("t", *payloads)
                assert numbers(await collect(connector, 20, acknowledge=True)) == list(range(20))
                await press.say("t", {"v": 301})
                assert numbers(await collect(connector, 1)) == [301]
            async with connected(settings, points(("t#/v", ""))) as again:
                assert numbers(await collect(again, 1)) == [301]

        within(30, run)


def test_a_web_server_that_knows_no_websocket_is_a_lost_source():
    async def run() -> None:
        async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        serving = await asyncio.start_server(web, "127.0.0.1", 0)
        port = serving.sockets[0].getsockname()[1]
        connector = mqtt.Connector(source(f"ws://127.0.0.1:{port}?version=5"), points(("t", "")))
        with pytest.raises(SourceLost, match=r"no WebSocket.*404"):
            await connector.connect()
        await connector.close()
        serving.close()

    within(10, run)

"""What servers do to subscriptions: how they count messages, what they refuse, forget and leave unsaid."""

import asyncio
from collections import Counter

import numpy as np
import pytest
from asyncua import ua
from asyncua.server.internal_session import InternalSession
from asyncua.server.monitored_item_service import MonitoredItemService
from asyncua.server.subscription_service import SubscriptionService
from asyncua.ua.uaerrors import UaStatusCodeError

from collector.batch import Intake
from config import status
from config.plant import Point
from connectors import opcua
from connectors.base import Readings, SourceLost
from connectors.opcua import audit, connector
from connectors.opcua.sequence import Numbers
from connectors.opcua.values import Stamps, Values
from connectors.opcua.wire import Columns
from tests.servers import within
from tests.test_opcua import URI, by_point, points, server, some, source

SECOND = 1_000_000_000
NOW = 1_800_000_000 * SECOND
T = ua.VariantType


# --- sequence numbers ---


def told(*messages: tuple[int, bool] | int, known: tuple[int, ...] = ()) -> list[list[int] | None]:
    """What is missing before each message; a tuple is (number, is_data). The server still has the `known` ones."""
    numbers, found = Numbers(), []
    for message in messages:
        number, is_data = message if isinstance(message, tuple) else (message, True)
        missing = numbers.missing(number, is_data=is_data)
        unavailable = [n for n in missing or () if n not in known]
        found.append([] if missing and numbers.explains(len(unavailable)) else missing)
    return found


def test_a_number_that_is_left_out_is_missing():
    assert told(1, 2, 4, 5) == [[], [], [3], []]


def test_the_first_message_is_number_1_and_what_lies_before_another_is_asked_for_without_a_gap():
    assert told(3, known=(1, 2)) == [[1, 2]]
    assert told(3, 4, 6) == [[], [], [5]]
    assert told(5_000, 5_001) == [[], []]  # a server that began elsewhere


def test_a_message_lost_behind_a_keep_alive_is_missing():
    assert told(1, (2, False), 2, (3, False), 4) == [[], [], [], [], [3]]


def test_a_keep_alive_tells_of_messages_before_it():
    assert told(1, 2, (5, False), 5) == [[], [], [3, 4], []]


def test_a_server_that_spends_keep_alives_numbers_is_learnt_and_then_held_to_it():
    assert told(1, (2, False), 3, (4, False), (5, False), 6, 8) == [[], [], [], [], [], [], [7]]
    assert told(1, (2, False), (3, False), 4, 6) == [[], [], [], [], [5]]


def test_a_number_behind_a_keep_alive_that_the_server_still_has_was_a_message():
    assert told(1, (2, False), 3, (4, False), 5, known=(2,)) == [[], [], [2], [], [4]]


def test_a_true_loss_that_looks_like_a_spent_number_costs_no_later_message():
    # 2 was lost behind the first keep-alive and taken for spent; 4 shows that this server does not spend them.
    assert told(1, (2, False), 3, (4, False), 4, (5, False), 6) == [[], [], [], [], [], [], [5]]


def test_a_server_that_repeats_the_last_number_in_keep_alives_is_understood():
    assert told(1, (1, False), 2, (2, False), (2, False), 3, 5) == [[], [], [], [], [], [], [4]]


def test_a_message_that_comes_twice_is_known():
    assert told(1, 2, 1, 3) == [[], [], None, []]


def test_after_the_largest_number_comes_1():
    assert told(0xFFFF_FFFE, 0xFFFF_FFFF, 1, 3) == [[], [], [], [2]]


def test_a_number_out_of_all_order_is_another_subscriptions():
    with pytest.raises(SourceLost, match="came where 2 was next"):
        told(1, 50_000)


# --- times and statuses in one publish ---


def of(rows: list[tuple[int, int]], received: int) -> Readings:
    n = len(rows)
    return Readings(
        points=np.zeros(n, np.intp), ts=np.array([ts for ts, _ in rows]), ts_recv=received, value=np.arange(float(n)),
        valid=np.ones(n, bool), status=np.array([code for _, code in rows], np.uint32),
    )  # fmt: skip


def test_a_turn_to_bad_in_one_publish_under_the_old_time_does_not_take_the_good_samples_place():
    stamps = Stamps(1)
    stamps.apply(of([(NOW - SECOND, 0)], NOW))
    assert stamps.apply(of([(NOW, 0), (NOW, status.BAD)], NOW + SECOND)).ts.tolist() == [NOW, NOW + SECOND]


def test_a_clock_that_was_ahead_and_is_set_right_does_not_send_every_turn_into_its_future():
    stamps = Stamps(1)
    stamps.apply(of([(NOW + 8 * 3600 * SECOND, 0)], NOW))
    turns = [(NOW + 10 * SECOND, 0), (NOW + 20 * SECOND, status.BAD), (NOW + 20 * SECOND, 0)]
    found = [int(stamps.apply(of([row], NOW + (30 + n) * SECOND)).ts[0]) for n, row in enumerate(turns)]
    assert found == [NOW + 10 * SECOND, NOW + 20 * SECOND, NOW + 32 * SECOND]


def test_what_one_subscription_says_to_stand_is_no_word_of_another():
    table = [Point(point=n, asset="a", period="1s", mode="subscribe") for n in "ab"]
    intake = Intake(table, 0)
    both = of([(NOW, 0), (NOW, 0)], NOW)
    intake.take(Readings(**{f: getattr(both, f) for f in both.__slots__} | {"points": np.arange(2)}))
    empty = of([], NOW + 9 * SECOND)
    intake.take(Readings(**{f: getattr(empty, f) for f in empty.__slots__} | {"stands": np.array([0])}))
    (gap,) = intake.lost(NOW + 10 * SECOND)
    assert gap.ts.tolist() == [NOW + 8 * SECOND + 1, NOW + 1]


def by_clock(n: int, ts: int, received: int, clock: int | None, value: float = 0.0) -> Readings:
    return Readings(
        points=np.arange(n), ts=np.full(n, ts), ts_recv=received, value=np.full(n, value), valid=np.ones(n, bool),
        status=np.zeros(n, np.uint32), clock=clock,
    )  # fmt: skip


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_gaps_and_heartbeats_bear_the_time_of_the_sources_clock(hours):
    off = hours * 3600 * SECOND
    table = [
        Point(point="s", asset="a", period="1s", mode="subscribe", heartbeat="5s"),
        Point(point="p", asset="a", period="1s", heartbeat="5s"),
    ]
    intake = Intake(table, 0)
    intake.take(by_clock(2, NOW + off, NOW + SECOND // 10, NOW + off))
    rows = intake.take(by_clock(2, NOW + off, NOW + 6 * SECOND + SECOND // 10, NOW + off + 6 * SECOND))
    assert rows[0].ts.tolist() == [NOW + off + 5 * SECOND] * 2  # they stood one period ago
    (gap,) = intake.lost(NOW + 30 * SECOND)
    assert gap.ts.tolist() == [NOW + off + 5 * SECOND + 1, NOW + off + 7 * SECOND]
    assert gap.ts_recv == NOW + 30 * SECOND


def test_a_gap_after_a_clock_was_set_right_begins_with_the_last_word_and_not_in_the_future():
    intake = Intake([Point(point="a", asset="a", period="1s")], 0)
    intake.take(by_clock(1, NOW + 8 * 3600 * SECOND, NOW, None))
    intake.take(by_clock(1, NOW + 10 * SECOND, NOW + 10 * SECOND, None, 1.0))
    (gap,) = intake.lost(NOW + 20 * SECOND)
    assert gap.ts.tolist() == [NOW + 11 * SECOND]


def test_a_clock_of_the_year_2262_stops_nothing():
    made = Values([Point(point="a", asset="a", period="1s")], "source", Counter(), Counter())
    intake = Intake([Point(point="a", asset="a", period="1s")], 0)
    end = 2**63 - 1_000_000
    for second in (0, 1, 2):
        columns = Columns(
            value=np.ones(1), valid=np.ones(1, bool), status=np.zeros(1, np.uint32), source=np.array([end + second]),
            server=np.array([end + second]), text={}, large={}, opaque={},
        )  # fmt: skip
        intake.take(made.readings(np.zeros(1, np.intp), columns, NOW + second * SECOND, end + second))
    assert intake.coverage(NOW + 2 * SECOND)["fresh"] == 1


# --- a real server ---


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(audit, "AUDIT_S", 0.2)
    monkeypatch.setattr(audit, "PATIENCE_S", 0.1)
    monkeypatch.setattr(connector, "RETRY_S", 0.3)


async def follow(url: str, table: list[Point], until, **settings) -> opcua.Connector:
    """Read until `until` says so of what was found; returns the closed connector."""
    reader = opcua.Connector(source(url, **settings), table)
    await reader.connect()
    found: dict[int, tuple] = {}
    stream = reader.readings()
    while not await until(found, reader):
        found |= by_point(await some(stream))
    await reader.close()
    return reader


def test_a_first_value_that_never_came_is_read(impatient, monkeypatch):
    async def in_silence(self, handle, nodeid, attr):
        """Create the item, and never publish its first value."""

    async def run() -> None:
        async with server(a=ua.Variant(7.0), s=ua.Variant("run")) as (url, _, _running):
            monkeypatch.setattr(MonitoredItemService, "trigger_datachange", in_silence)

            async def until(found, _reader):
                return found.get(0, (0,))[0] == 7.0 and found.get(1, (0, 0, 0, ""))[3] == "run"

            await follow(url, points("a", "s", mode="subscribe"), until)

    within(20, run)


def test_a_text_and_a_large_integer_that_were_never_published_are_read(impatient):
    async def run() -> None:
        async with server(s=ua.Variant("run"), n=ua.Variant(2**60, T.Int64)) as (url, nodes, running):
            killed = False

            async def until(found, _reader):
                nonlocal killed
                if set(found) == {0, 1} and not killed:
                    killed = True
                    (subscription,) = running.iserver.subscription_service.subscriptions.values()
                    subscription.monitored_item_srv.delete_all_monitored_items()
                    await nodes["s"].write_value("stop")
                    await nodes["n"].write_value(ua.Variant(2**60 + 1, T.Int64))
                return killed and found[0][3] == "stop" and found[1][3] == str(2**60 + 1)

            reader = await follow(url, points("s", "n", mode="subscribe"), until)
            assert reader.faults["a change was never published"] == 2

    within(20, run)


def test_an_array_without_a_way_into_it_is_no_dead_item(impatient):
    async def run() -> None:
        async with server(a=ua.Variant([1, 2], T.Int32), b=ua.Variant(1.0)) as (url, nodes, _):
            rounds = 0

            async def until(found, _reader):
                nonlocal rounds
                rounds += 1
                await nodes["b"].write_value(float(rounds))
                await asyncio.sleep(0.02)
                return rounds > 40

            reader = await follow(url, points("a", "b", mode="subscribe"), until)
            assert reader.faults == {}

    within(20, run)


def at_most(limit: int, items: list) -> None:
    if len(items) > limit:
        raise UaStatusCodeError(ua.StatusCodes.BadTooManyOperations)


def test_a_server_with_limits_that_it_does_not_state_is_asked_for_less(impatient, monkeypatch):
    create, read = SubscriptionService.create_monitored_items, InternalSession.read

    async def few_items(self, params):
        at_most(7, params.ItemsToCreate)
        return await create(self, params)

    async def few_reads(self, params):
        at_most(10, params.NodesToRead)
        return await read(self, params)

    monkeypatch.setattr(SubscriptionService, "create_monitored_items", few_items)
    monkeypatch.setattr(InternalSession, "read", few_reads)

    async def run() -> None:
        names = [f"v.{n}" for n in range(40)]  # the dot is looked at when the address is resolved
        async with server(**{n: ua.Variant(float(i)) for i, n in enumerate(names)}) as (url, nodes, _):
            rounds = 0

            async def until(found, _reader):
                nonlocal rounds
                rounds += 1
                await nodes["v.0"].write_value(float(rounds))
                await asyncio.sleep(0.02)
                return rounds > 30 and len(found) == 80

            table = [*points(*names, mode="subscribe"), *points(*names)]
            reader = await follow(url, table, until)
            assert reader.faults == {}
            assert reader.warnings() == []

    within(30, run)


def test_a_server_that_stumbles_for_a_moment_is_read_together_again(impatient, monkeypatch):
    read = InternalSession.read
    asked: list[int] = []
    stumbles = 0

    async def stumbling(self, params):
        nonlocal stumbles
        asked.append(len(params.NodesToRead))
        if len(params.NodesToRead) == 40 and len(asked) > 3 and stumbles < 2:
            stumbles += 1
            raise UaStatusCodeError(ua.StatusCodes.BadInternalError)
        return await read(self, params)

    monkeypatch.setattr(InternalSession, "read", stumbling)

    async def run() -> None:
        names = [f"v{n}" for n in range(40)]
        async with server(**{n: ua.Variant(float(i)) for i, n in enumerate(names)}) as (url, _, _running):

            async def until(found, _reader):
                return len(asked) > 12

            await follow(url, points(*names), until)
            assert asked[-4:] == [40] * 4

    within(20, run)


def test_a_subscription_that_this_user_may_not_have_is_polled(impatient, monkeypatch):
    async def refuse(self, *params, **settings):
        raise UaStatusCodeError(ua.StatusCodes.BadUserAccessDenied)

    monkeypatch.setattr(SubscriptionService, "create_subscription", refuse)

    async def run() -> None:
        async with server(a=ua.Variant(1.0)) as (url, _, _running):

            async def until(found, reader):
                return found.get(0, (0,))[0] == 1.0 and any("BadUserAccessDenied" in w for w in reader.warnings())

            await follow(url, points("a", mode="subscribe"), until)

    within(20, run)


def test_points_that_a_server_learns_one_by_one_are_each_monitored_in_the_end(impatient):
    async def run() -> None:
        async with server(a=ua.Variant(1.0)) as (url, nodes, running):
            index, added = nodes["a"].nodeid.NamespaceIndex, 0

            def monitored() -> int:
                services = running.iserver.subscription_service.subscriptions.values()
                return sum(len(s.monitored_item_srv._monitored_items) for s in services)

            async def until(found, reader):
                nonlocal added
                if monitored() == added + 1 and added < 2 and len(found) == 3:
                    added += 1
                    await running.nodes.objects.add_variable(ua.NodeId(f"late{added}", index), "late", 5.0)
                return monitored() == 3 and not reader.warnings()

            await follow(url, points("a", "late1", "late2", mode="subscribe"), until)

    within(30, run)


def test_points_that_stay_refused_leave_no_task_and_no_subscription_behind(impatient, monkeypatch):
    monkeypatch.setattr(connector, "RETRY_S", 0.05)

    async def refuse(self, params):
        refused = ua.MonitoredItemCreateResult(
            StatusCode=ua.StatusCode(ua.UInt32(ua.StatusCodes.BadTooManyMonitoredItems))
        )
        return [refused for _ in params.ItemsToCreate]

    monkeypatch.setattr(MonitoredItemService, "create_monitored_items", refuse)

    async def run() -> None:
        async with server(a=ua.Variant(1.0)) as (url, _, running):
            counts: list[tuple[int, int]] = []

            async def until(found, reader):
                await asyncio.sleep(0.05)
                counts.append((len(reader._tasks), len(running.iserver.subscription_service.subscriptions)))
                return len(counts) > 40

            await follow(url, points("a", mode="subscribe"), until)
            # The keep-alive, two publishes, a poll, the retry and the try it has just begun; a leak adds one a retry.
            assert max(tasks for tasks, _ in counts) <= 6
            assert max(subscriptions for _, subscriptions in counts) <= 1

    within(30, run)


def test_addresses_of_a_namespace_that_appears_later_are_found(impatient):
    async def run() -> None:
        async with server(a=ua.Variant(1.0)) as (url, _, running):
            table = [*points("a"), Point(point="b", asset="a", source="o", address="nsu=urn:late;s=b")]
            appeared = False

            async def until(found, reader):
                nonlocal appeared
                if 0 in found and not appeared:
                    appeared = True
                    index = await running.register_namespace("urn:late")
                    await running.nodes.objects.add_variable(ua.NodeId("b", index), "b", 9.0)
                return found.get(1, (0,))[0] == 9.0

            reader = await follow(url, table, until)
            assert reader.warnings() == []

    within(20, run)


def test_the_subscription_of_a_long_period_lives_between_its_messages():
    async def run() -> None:
        async with server(a=ua.Variant(1.0)) as (url, _, _running):
            table = [Point(point="a", asset="a", source="o", address=f"nsu={URI};s=a", mode="subscribe")]
            reader = opcua.Connector(source(url, period="3s", timeout="500ms"), table)
            await reader.connect()
            stream = reader.readings()
            assert len((await some(stream)).points) == 1
            assert len((await anext(stream)).points) == 0  # a keep-alive, 3 s later, and no BadTimeout between
            await reader.close()

    within(20, run)

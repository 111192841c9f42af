"""OPC UA through the agent: gaps filled from history, points that are not fresh, an agent that stood still."""

import asyncio
import datetime as dt
import time

import numpy as np
import polars as pl
from asyncua import ua
from click.testing import CliRunner

import collector.agent
from collector.batch import Intake
from collector.ledger import read_ledger
from collector.status_commands import status as status_command
from config import status
from config.plant import Asset, Point, Source
from connectors.base import Readings
from tests.running import lake_of, plant_for, running, until
from tests.servers import within
from tests.test_opcua import server

SECOND = 1_000_000_000


def source(url: str, **settings) -> Source:
    settings = {"period": "100ms", "timeout": "1s", "security": "None"} | settings
    return Source(id="o", kind="opcua", url=url, **settings)


def points(*names: str, **settings) -> list[Point]:
    return [Point(point=n, asset="a", source="o", address=f"ns=2;s={n}", **settings) for n in names]


def of(plant, point: str) -> pl.DataFrame:
    return lake_of(plant).filter(pl.col("point") == point)


def test_what_happened_while_the_link_was_down_is_filled_in_from_the_servers_history(tmp_path):
    async def run() -> None:
        async with server(n=ua.Variant(0.0)) as (url, nodes, running_server):
            await running_server.historize_node_data_change(nodes["n"], period=None, count=10_000)
            plant = plant_for(tmp_path, [source(url, history=True)], [Asset(asset="a")], points("n", mode="subscribe"))

            async def write(number: int) -> None:
                stamp = dt.datetime.now(dt.UTC)
                await nodes["n"].write_value(ua.DataValue(ua.Variant(float(number)), SourceTimestamp=stamp))
                await asyncio.sleep(0.002)

            async with running(plant) as agent:
                for number in range(1, 11):
                    await write(number)
                await until(lambda: agent.status.sources["o"].rows >= 11)
            for number in range(11, 31):  # nobody listens
                await write(number)
            async with running(plant) as agent:
                await write(31)
                await until(lambda: agent.status.sources["o"].filled >= 19)
                await until(lambda: agent._links["o"][1].value[0] == 31)
            rows = of(plant, "n").filter(pl.col("status") < status.BAD)
            assert set(rows["value"]) >= set(map(float, range(1, 32)))
            kept = rows.filter(pl.col("status") == 0x400)
            assert set(kept["value"]) >= set(map(float, range(11, 30)))  # 30 is live again
            assert rows.filter(pl.struct("ts", "value").is_duplicated()).height == 0
            entries = [e for e in read_ledger(tmp_path / "spool" / "ledger.jsonl") if e["event"] == "backfilled"]
            assert sum(e["rows"] for e in entries) == kept.height

    within(60, run)


def test_status_tells_which_points_are_not_fresh_and_what_a_person_should_know(tmp_path):
    async def run() -> None:
        async with server(a=ua.Variant(1.0), b=ua.Variant(2.0)) as (url, _nodes, _):
            table = [*points("a", "b", "missing"), Point(point="far", asset="a", source="o", address="nsu=urn:no;s=x")]
            plant = plant_for(tmp_path, [source(url)], [Asset(asset="a")], table)
            async with running(plant) as agent:
                await until(lambda: agent.status.sources["o"].coverage.get("fresh") == 2)
                about = agent.status.report()["sources"]["o"]
            assert about["coverage"] == {
                "configured": 4, "monitored": 2, "fresh": 2, "not_fresh": ["missing", "far"],
            }  # fmt: skip
            assert not any("clock" in text for text in about["warnings"])
            assert any("does not know 1 points: far" in text for text in about["warnings"])

    within(40, run)


def test_the_status_verb_prints_coverage_warnings_and_doubts(tmp_path, monkeypatch):
    report = {
        "healthy": True, "agent": "gw1", "plant": "p", "agent_state": "running", "age_s": 1.0,
        "sources": {"o": {
            "kind": "opcua", "state": "connected", "age_s": 0.5, "rows": 7, "error": "", "filled": 20,
            "coverage": {"configured": 9, "monitored": 8, "fresh": 2, "not_fresh": ["x", "y"]},
            "warnings": ["the server's clock is 3600.0 s behind"], "flags": {"source time lies in the future": 1},
        }},
        "sinks": {}, "spool": {"bytes": 0, "last": 0},
    }  # fmt: skip
    (tmp_path / "plant.toml").write_text('version = 1\n[plant]\nid = "p"\n', encoding="utf-8")
    (tmp_path / "assets.csv").write_text("asset\na\n", encoding="utf-8")
    (tmp_path / "points.csv").write_text("point,asset\nq,a\n", encoding="utf-8")
    monkeypatch.setattr("collector.status_commands.read_status", lambda path: report)
    printed = CliRunner().invoke(status_command, [str(tmp_path)]).output
    assert "2 of 9 points fresh, 8 known to the source; not fresh: x, y and 5 more" in printed
    assert "warning: the server's clock is 3600.0 s behind" in printed
    assert "in doubt: source time lies in the future (1)" in printed
    assert "filled in from the source's history: 20 rows" in printed


def test_an_agent_that_stood_still_marks_the_gap_from_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(collector.agent, "STALL_S", 0.6)
    monkeypatch.setattr(collector.agent, "PULSE_S", 0.05)

    async def run() -> None:
        async with server(a=ua.Variant(1.0)) as (url, _, _running):
            plant = plant_for(tmp_path, [source(url)], [Asset(asset="a")], points("a"))
            async with running(plant) as agent:
                await until(lambda: agent.status.sources["o"].readings > 3)
                began = time.time_ns()
                time.sleep(1.0)  # noqa: ASYNC251  the whole process stands still
                ended = time.time_ns()
                await until(lambda: agent.status.sources["o"].connects == 2)
                await until(lambda: agent.status.sources["o"].coverage.get("fresh") == 1)
            gap = of(plant, "a").filter(pl.col("status") == status.BAD_NO_COMMUNICATION)["ts"].dt.epoch("ns")
            assert began - SECOND // 2 <= gap[0] <= ended
            assert gap[0] < began + SECOND // 2
            events = [e["event"] for e in read_ledger(tmp_path / "spool" / "ledger.jsonl")]
            assert "agent stood still" in events

    within(40, run)


def test_a_subscription_in_which_nothing_changes_is_fresh_all_the_time(tmp_path):
    async def run() -> None:
        async with server(a=ua.Variant(1.0)) as (url, _, _running):
            table = points("a", mode="subscribe", period="50ms")
            plant = plant_for(tmp_path, [source(url, period="50ms", timeout="1s")], [Asset(asset="a")], table)
            async with running(plant) as agent:
                began = time.monotonic()
                while time.monotonic() - began < 2.5:
                    assert agent.status.report()["sources"]["o"]["fresh"]
                    await asyncio.sleep(0.02)

    within(40, run)


# --- the intake's side, without sockets ---


def heard(n: int, ts: int, *, code: int = 0) -> Readings:
    return Readings(
        points=np.arange(n), ts=np.full(n, ts), ts_recv=ts, value=np.arange(n, dtype=float),
        valid=np.ones(n, bool), status=np.full(n, code, np.uint32),
    )  # fmt: skip


def nothing(ts: int) -> Readings:
    return heard(0, ts)


def test_a_polled_points_gap_begins_when_the_first_poll_was_missed():
    intake = Intake([Point(point=n, asset="a", period="1s") for n in "ab"], 0)
    intake.take(heard(2, 10 * SECOND))
    (rows,) = intake.lost(15 * SECOND)
    assert rows.ts.tolist() == [11 * SECOND] * 2
    assert rows.ts_recv == 15 * SECOND


def test_a_stop_between_two_polls_leaves_no_gap_before_it():
    intake = Intake([Point(point="a", asset="a", period="60s")], 0)
    intake.take(heard(1, 10 * SECOND))
    (rows,) = intake.shutdown(40 * SECOND)
    assert rows.ts.tolist() == [40 * SECOND]


def test_a_subscribed_points_gap_begins_with_the_last_word_of_its_subscription():
    table = [Point(point="a", asset="a", period="1s", mode="subscribe"), Point(point="b", asset="a", period="1s")]
    intake = Intake(table, 0)
    intake.take(heard(2, 10 * SECOND))
    intake.take(nothing(12 * SECOND))  # a keep-alive: what is subscribed stands
    (rows,) = intake.lost(15 * SECOND)
    # What changed less than a sampling interval before that may not have been in it.
    assert rows.ts.tolist() == [11 * SECOND + 1, 11 * SECOND]


def test_silence_of_a_source_that_speaks_when_it_will_is_no_gap():
    intake = Intake([Point(point="a", asset="a", period="1s")], 0, quiet=True)
    intake.take(heard(1, 10 * SECOND))
    (rows,) = intake.lost(15 * SECOND)
    assert rows.ts.tolist() == [15 * SECOND]


def test_a_point_is_fresh_for_three_periods_and_known_until_the_source_says_otherwise():
    intake = Intake([Point(point=n, asset="a", period="1s") for n in "ab"], 0)
    intake.linked()
    intake.take(heard(2, 10 * SECOND))
    assert intake.coverage(13 * SECOND)["fresh"] == 2
    assert intake.coverage(13 * SECOND + 1)["fresh"] == 0
    intake.take(heard(2, 14 * SECOND, code=status.BAD_NODE_ID_UNKNOWN))
    assert intake.coverage(14 * SECOND) == {"configured": 2, "monitored": 0, "fresh": 0, "not_fresh": ["a", "b"]}
    intake.take(heard(2, 15 * SECOND, code=status.BAD_DEVICE_FAILURE))
    assert intake.coverage(15 * SECOND)["monitored"] == 2


def test_history_stands_beside_what_is_live_and_does_not_move_it():
    intake = Intake([Point(point="a", asset="a", period="1s")], 0)
    intake.take(heard(1, 10 * SECOND))
    intake.lost(15 * SECOND)
    filled = Readings(
        points=np.zeros(3, np.intp), ts=np.array([11, 12, 13]) * SECOND, ts_recv=20 * SECOND, value=np.arange(3.0),
        valid=np.ones(3, bool), status=np.full(3, 0x400, np.uint32), historic=True,
    )  # fmt: skip
    (rows,) = intake.fill(filled)
    assert rows.ts.tolist() == [11 * SECOND, 12 * SECOND, 13 * SECOND]
    (live,) = intake.take(heard(1, 20 * SECOND))  # known again, and only from now
    assert live.status.tolist() == [0]
    assert live.ts.tolist() == [20 * SECOND]
    assert intake.good_ts.tolist() == [20 * SECOND]


def test_where_the_history_is_to_go_on_is_recovered_from_the_spool():
    intake = Intake([Point(point=n, asset="a", period="1s") for n in "ab"], 0)
    stamps = [dt.datetime.fromtimestamp(s, dt.UTC) for s in (10, 12, 14)]
    intake.recover(pl.DataFrame({
        "point": ["a", "a", "a"], "ts": stamps, "status": pl.Series([0, 0x400, status.BAD], dtype=pl.UInt32),
    }))  # fmt: skip
    assert intake.good_ts.tolist() == [12 * SECOND, np.iinfo(np.int64).min]


def test_a_gap_that_was_not_filled_stays_open_for_the_next_link():
    intake = Intake([Point(point=n, asset="a", period="1s") for n in "ab"], 0)
    first = heard(1, 10 * SECOND)
    intake.take(first)
    still_open = intake.since(None)
    assert still_open.tolist() == [10 * SECOND, np.iinfo(np.int64).min]
    intake.lost(12 * SECOND)
    intake.take(heard(2, 60 * SECOND))  # live again, and the history was cut short
    assert intake.since(still_open).tolist() == [10 * SECOND, 60 * SECOND]
    assert intake.since(None).tolist() == [60 * SECOND] * 2

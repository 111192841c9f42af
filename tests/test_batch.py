"""What is stored of what is read: changes, heartbeats and gaps."""

from dataclasses import replace

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from collector.batch import Intake, to_frame
from config.plant import Point
from config.schema import SAMPLE, require
from config.status import BAD_NO_COMMUNICATION, BAD_SHUTDOWN, GOOD
from connectors.base import Readings

S = 1_000_000_000
POINTS = [
    Point(point="a", asset="m", source="s", address="1", period="1s", heartbeat="10s", mode="subscribe"),
    Point(point="b", asset="m", source="s", address="2", period="1s", heartbeat="10s", deadband=0.5),
    Point(point="c", asset="m", source="s", address="3", period="1s", store="all"),
]


def readings(at, points, values, *, ts=None, text=None, status=None):
    n = len(points)
    return Readings(
        points=np.array(points, np.intp),
        ts=np.array(ts if ts is not None else [at] * n, np.int64),
        ts_recv=at,
        value=np.array([np.nan if v is None else v for v in values], float),
        valid=np.array([v is not None for v in values]),
        status=np.array(status or [0] * n, np.uint32),
        text=text,
    )


def stored(intake, reading):
    """(point, ts in seconds, value) of the rows that are kept."""
    rows = intake.take(reading)
    if not rows:
        return []
    frame = to_frame(rows, pl.Series([p.point for p in POINTS]))
    require(frame, SAMPLE)
    return list(frame.select("point", pl.col("ts").to_physical() // S, "value").iter_rows())


def test_a_value_is_stored_when_it_changes_and_not_while_it_stays():
    intake = Intake(POINTS, 0)
    assert stored(intake, readings(1 * S, [0], [7.0])) == [("a", 1, 7.0)]
    assert stored(intake, readings(2 * S, [0], [7.0])) == []
    assert stored(intake, readings(3 * S, [0], [8.0])) == [("a", 3, 8.0)]


def test_a_value_that_stays_is_stored_again_at_each_heartbeat():
    intake = Intake(POINTS, 0)
    kept = [stored(intake, readings(t * S, [0], [7.0])) for t in range(25)]
    assert [row for rows in kept for row in rows] == [("a", 0, 7.0), ("a", 10, 7.0), ("a", 20, 7.0)]


def test_a_heartbeat_of_a_source_that_stamps_changes_only_stands_one_period_before_its_receipt():
    intake = Intake(POINTS, 0)
    stored(intake, readings(5 * S, [0], [7.0], ts=[4 * S]))
    assert stored(intake, readings(15 * S, [0], [7.0], ts=[4 * S])) == [("a", 14, 7.0)]


def test_an_empty_reading_says_that_every_subscribed_value_stands():
    intake = Intake(POINTS, 0)
    stored(intake, readings(0, [0, 1], [7.0, 1.0]))
    assert stored(intake, readings(9 * S, [], [])) == []
    assert stored(intake, readings(12 * S, [], [])) == [("a", 11, 7.0)]


def test_a_change_within_the_deadband_is_no_change_and_small_steps_add_up_to_one():
    intake = Intake(POINTS, 0)
    values = [1.0, 1.4, 1.5, 1.6, 1.2]  # 1.5 is 0.5 from 1.0: still inside; 1.6 is out
    kept = [stored(intake, readings(t * S, [1], [v])) for t, v in enumerate(values)]
    assert [len(rows) for rows in kept] == [1, 0, 0, 1, 0]


def test_store_all_keeps_every_poll():
    intake = Intake(POINTS, 0)
    assert sum(len(stored(intake, readings(t * S, [2], [1.0]))) for t in range(5)) == 5


def test_a_burst_of_changes_of_one_point_is_kept_in_its_order():
    intake = Intake(POINTS, 0)
    burst = readings(9 * S, [0, 0, 1, 0, 0], [1.0, 2.0, 5.0, 2.0, 3.0], ts=[1 * S, 2 * S, 2 * S, 3 * S, 4 * S])
    assert stored(intake, burst) == [("a", 1, 1.0), ("a", 2, 2.0), ("a", 4, 3.0), ("b", 2, 5.0)]


def test_a_row_that_came_late_does_not_hide_the_next_ones():
    intake = Intake(POINTS, 0)
    sent = [(10, 1.0), (12, 2.0), (11, 1.0), (13, 1.0), (14, 1.0)]
    kept = [stored(intake, readings((20 + n) * S, [0], [v], ts=[t * S])) for n, (t, v) in enumerate(sent)]
    by_time = sorted(row for rows in kept for row in rows)
    assert by_time == [("a", 10, 1.0), ("a", 11, 1.0), ("a", 12, 2.0), ("a", 13, 1.0)]


def test_heartbeats_go_on_when_the_gateways_clock_is_set_back():
    intake = Intake(POINTS, 0)
    stored(intake, readings(100_000 * S, [0], [7.0]))
    kept = [stored(intake, readings((1000 + t) * S, [0], [7.0])) for t in range(25)]
    assert [ts for rows in kept for _, ts, _ in rows] == [1000, 1010, 1020]


def test_under_a_clock_that_is_ahead_the_gap_begins_after_the_last_row():
    intake = Intake(POINTS, 0)
    stored(intake, readings(1 * S, [0], [7.0], ts=[3600 * S]))
    (gap,) = intake.lost(2 * S)
    assert gap.ts[gap.points.tolist().index(0)] == 3600 * S + 1


def test_a_text_that_is_no_utf_8_is_kept_escaped():
    intake = Intake(POINTS, 0)
    rows = intake.take(readings(0, [0], [None], text=["\ud800停机"]))
    assert to_frame(rows, pl.Series(["a", "b", "c"]))["text"].to_list() == ["\\ud800停机"]


def test_a_lost_link_gives_one_bad_row_a_point_and_the_next_value_is_stored_though_it_is_the_same():
    intake = Intake(POINTS, 0)
    stored(intake, readings(0, [0, 1, 2], [1.0, 2.0, 3.0]))
    (gap,) = intake.lost(1 * S)
    assert gap.status.tolist() == [BAD_NO_COMMUNICATION] * 3
    assert not gap.valid.any()
    assert intake.lost(2 * S) == []
    assert stored(intake, readings(3 * S, [0], [1.0])) == [("a", 3, 1.0)]


def test_a_value_that_stood_through_a_gap_is_known_again_after_it_and_not_before():
    intake = Intake(POINTS, 0)
    stored(intake, readings(5 * S, [0], [7.0], ts=[4 * S]))
    intake.lost(20 * S)
    assert stored(intake, readings(30 * S, [0], [7.0], ts=[4 * S])) == [("a", 29, 7.0)]


def test_a_point_that_never_spoke_is_a_gap_too_but_a_shutdown_says_nothing_of_it():
    assert Intake(POINTS, 0).shutdown(0) == []
    (gap,) = Intake(POINTS, 0).lost(0)
    assert len(gap) == 3


def test_a_shutdown_ends_the_data_of_live_points():
    intake = Intake(POINTS, 0)
    stored(intake, readings(0, [0], [1.0]))
    (end,) = intake.shutdown(1 * S)
    assert end.status.tolist() == [BAD_SHUTDOWN]


def test_nan_infinity_null_and_text_round_trip_exactly():
    intake = Intake(POINTS, 0)
    rows = intake.take(readings(0, [0, 1, 2], [np.nan, -np.inf, None], text=[None, None, "OK\n=1"]))
    frame = to_frame(rows, pl.Series(["a", "b", "c"]))
    assert frame["value"].is_nan().to_list() == [True, False, None]
    assert frame["value"][1] == -np.inf
    assert frame["text"].to_list() == [None, None, "OK\n=1"]


def test_nan_that_stays_is_no_change_and_a_changed_text_is_one():
    intake = Intake(POINTS, 0)
    assert len(stored(intake, readings(0, [0], [np.nan]))) == 1
    assert stored(intake, readings(S, [0], [np.nan])) == []
    assert len(stored(intake, readings(2 * S, [0], [None], text=["x"]))) == 1
    assert len(stored(intake, readings(3 * S, [0], [None], text=["y"]))) == 1
    assert stored(intake, readings(4 * S, [0], [None], text=["y"])) == []


ROW = st.tuples(
    st.integers(0, 2),  # point
    st.integers(-2, 6),  # seconds from the burst's receipt
    st.sampled_from([0.0, 1.0, 1.2, 2.0, None]),
    st.sampled_from([0, 0, 0, 0x80310000, 0x40000000]),
    st.sampled_from([None, None, "on", "off"]),
)


BURST = st.tuples(st.lists(ROW, max_size=12), st.integers(0, 15), st.booleans())
"""Rows, none of them: word that values stand; seconds since the burst before; whether the link was lost before."""


@given(st.lists(BURST, max_size=6), st.booleans())
def test_a_burst_taken_at_once_is_the_same_as_its_rows_one_after_another(bursts, quiet):
    """Where a point's times rise in a burst it is compared at once: each row alone must come to the same."""
    together, alone = Intake(POINTS, 0, quiet=quiet), Intake(POINTS, 0, quiet=quiet)
    now = 1000 * S
    for rows, wait, cut in bursts:
        now += wait * S
        if cut:
            assert taken(together.lost(now)) == taken(alone.lost(now))
        whole = burst(now, rows)
        parts = [whole.take(np.array([n])) for n in range(len(rows))] or [whole]
        one_by_one = [row for part in parts for row in taken(alone.take(part))]
        assert taken(together.take(whole)) == sorted(one_by_one, key=lambda row: row[0])
    names = ("value", "valid", "status", "text", "ts", "source_ts", "newest", "stored", "owed", "cut", "good_ts")
    for name in names:
        assert getattr(together, name).tolist().__repr__() == getattr(alone, name).tolist().__repr__(), name


@given(st.lists(BURST, min_size=1, max_size=6))
def test_of_a_publisher_stands_what_is_newest_by_its_own_time_and_the_lake_ends_with_it(bursts):
    intake, now = Intake(POINTS, 0, quiet=True), 1000 * S
    newest, rows_of = {}, []  # newest: what stands of each point, and from when on by its own time
    for rows, wait, cut in bursts:
        now += wait * S
        if cut:
            rows_of += taken(intake.lost(now))
            newest = {point: (at, None) for point, (at, _) in newest.items()}
        rows_of += taken(intake.take(burst(now, rows)))
        for point, seconds, value, status, text in rows:
            said, at = (None if value is None else repr(value), status, text), now + seconds * S
            before = newest.get(point, (0, None))[0]
            if status == BAD_NO_COMMUNICATION:
                newest[point] = before, said
            elif at >= before:
                newest[point] = at, said
    now += 20 * S  # a heartbeat later; what was said to be then is past
    rows_of += taken(intake.take(replace(burst(now, []), stands=np.array([0, 1, 2]))))
    for point, (_, said) in newest.items():
        if point == 1 or said is None or (said[0] is None and said[2] is None):
            continue  # a deadband, and what has no value to stand
        last = max(reversed([row for row in rows_of if row[0] == point]), key=lambda row: row[1])
        assert (last[2] if last[3] else None, last[4], last[5]) == said


def late(*messages):
    """Rows of point a of (received, time, value) in seconds, given to a quiet source's intake one by one."""
    intake = Intake(POINTS, 0, quiet=True)
    return intake, [
        row for recv, ts, v in messages for row in stored(intake, readings(recv * S, [0], [v], ts=[ts * S]))
    ]


def test_a_buffer_that_is_emptied_after_the_live_value_is_stored_whole_and_does_not_stand():
    intake, kept = late((1000, 1000, 0.0), (1001, 400, 1.0), (1001, 401, 1.0), (1001, 402, 0.0))
    assert sorted(kept) == [("a", 400, 1.0), ("a", 401, 1.0), ("a", 402, 0.0), ("a", 1000, 0.0)]
    assert stored(intake, replace(readings(1020 * S, [], []), stands=np.array([0]))) == [("a", 1019, 0.0)]
    assert intake.value[0] == 0.0


def test_a_late_row_between_the_newest_stored_and_the_newest_said_lets_what_stands_be_stored_again_at_once():
    intake, kept = late((1000, 1000, 0.0), (1005, 1005, 0.0), (1006, 1003, 1.0))
    assert kept == [("a", 1000, 0.0), ("a", 1003, 1.0)]
    assert stored(intake, replace(readings(1007 * S, [], []), stands=np.array([0]))) == [("a", 1006, 0.0)]


def test_late_rows_after_a_gap_leave_it_the_newest_row_only_until_one_is_newer():
    intake, kept = late((1000, 997, 1.0))
    intake.lost(1003 * S)
    for recv, ts in [(1005, 1000), (1005, 1001), (1005, 1002), (1006, 1003), (1007, 1004), (1008, 1005)]:
        kept += stored(intake, readings(recv * S, [0], [1.0], ts=[ts * S]))
    assert [ts for _, ts, _ in kept] == [997, 1000, 1001, 1002, 1003, 1004]


def test_a_publisher_whose_clock_is_an_hour_behind_ends_a_gap_within_a_heartbeat():
    intake, _ = late((10_000, 6_400, 1.0))
    intake.lost(10_001 * S)
    sent = [readings((10_000 + n) * S, [0], [1.0], ts=[(6_400 + n) * S]) for n in range(2, 20)]
    kept = [row for one in sent for row in stored(intake, one)]
    assert [ts for _, ts, _ in kept if ts > 10_001] == [10_010]


def test_a_will_and_then_a_publisher_whose_clock_is_behind_stands_again():
    intake, _ = late((1000, 995, 1.0))
    stored(intake, readings(1010 * S, [0], [None], status=[BAD_NO_COMMUNICATION]))
    stored(intake, readings(1012 * S, [0], [2.0], ts=[1007 * S]))
    assert (intake.value[0], intake.status[0]) == (2.0, 0)
    assert stored(intake, replace(readings(1013 * S, [], []), stands=np.array([0]))) == [("a", 1012, 2.0)]


def test_a_point_that_was_heard_before_the_link_was_made_again_and_not_since_is_silent():
    intake = Intake(POINTS, 0, quiet=True)
    intake.linked()
    stored(intake, readings(1000 * S, [0, 1], [1.0, 1.0]))
    intake.lost(1001 * S)
    intake.linked()
    stored(intake, readings(1100 * S, [0], [1.0]))
    assert intake.silent(1100 * S) == 1
    assert intake.coverage(1100 * S)["monitored"] == 1
    stored(intake, readings(1101 * S, [1], [None], status=[BAD_NO_COMMUNICATION]))  # it says itself that it is gone
    assert intake.silent(1200 * S - 70 * S) == 0


def test_word_that_values_stand_is_data_only_where_a_good_value_stands():
    intake = Intake(POINTS, 0, quiet=True)
    word = replace(readings(1000 * S, [], []), stands=np.array([0]))
    assert not intake.says_something(word)
    stored(intake, readings(1000 * S, [0, 1], [1.0, 1.0]))
    assert intake.says_something(word)
    assert not intake.says_something(replace(word, stands=np.array([2])))
    stored(intake, readings(1001 * S, [0], [1.0], status=[0x80310000]))
    assert not intake.says_something(word)
    assert intake.says_something(replace(word, stands=None))


def burst(now, rows):
    points, seconds, values, status, text = [list(c) for c in zip(*rows, strict=True)] or [[]] * 5
    return readings(now, points, values, ts=[now + s * S for s in seconds], status=status, text=text)


def taken(rows):
    """(point, ts, value, valid, status, text) of what is kept, by point and in each point's order."""
    found = [
        (int(p), int(t), repr(float(v)), bool(ok), int(s), word)
        for r in rows
        for p, t, v, ok, s, word in zip(
            r.points, r.ts, r.value, r.valid, r.status, r.text if r.text is not None else [None] * len(r), strict=True
        )
    ]
    return sorted(found, key=lambda row: row[0])


def test_five_hundred_messages_of_one_machine_take_one_comparison():
    intake = Intake(POINTS, 0)
    values = [float(n // 2) for n in range(500)]
    kept = stored(intake, readings(1000 * S, [0] * 500, values, ts=[(500 + n) * S for n in range(500)]))
    assert kept == [("a", 500 + n, n // 2) for n in range(0, 500, 2)]


def tail(*rows):
    """SAMPLE rows (point, ts, ts_recv, value, status) with times in seconds."""
    columns = {
        "point": [row[0] for row in rows],
        "ts": [row[1] * S for row in rows],
        "ts_recv": [row[2] * S for row in rows],
        "value": [row[3] for row in rows],
        "text": [None for _ in rows],
        "status": [row[4] for row in rows],
    }
    frame = pl.DataFrame(columns, schema_overrides={"value": pl.Float64, "point": pl.String})
    return frame.select(pl.col(name).cast(kind) for name, kind in SAMPLE.items())


def test_after_a_run_that_was_killed_each_point_is_unknown_from_its_last_commit_on():
    intake = Intake([Point(point=name, asset="m", period=S) for name in "abc"], 0)
    before = tail(("a", 10, 30, 1.0, GOOD), ("b", 20, 40, 2.0, GOOD), ("c", 25, 40, None, BAD_NO_COMMUNICATION))
    (gap,) = intake.died(before)
    assert gap.points.tolist() == [0, 1]  # c is unknown already
    assert set(gap.status.tolist()) == {BAD_NO_COMMUNICATION}
    assert gap.ts.tolist() == [40 * S + 1] * 2
    # A value that stood all the while bears its old time, and is known again from now on.
    (again,) = intake.take(readings(100 * S, [0], [1.0], ts=[10 * S]))
    assert again.ts.tolist() == [99 * S]


def test_after_a_stop_there_is_no_gap_and_none_of_a_broker_that_keeps_messages():
    stopped = tail(("a", 10, 30, 1.0, GOOD), ("a", 11, 31, None, BAD_SHUTDOWN))
    assert Intake([Point(point="a", asset="m")], 0).died(stopped) == []
    assert Intake([Point(point="a", asset="m")], 0, quiet=True).died(tail(("a", 10, 30, 1.0, GOOD))) == []


def test_a_first_start_has_no_gap():
    assert Intake([Point(point="a", asset="m")], 0).died(tail()) == []

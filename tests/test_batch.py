"""What is stored of what is read: changes, heartbeats and gaps."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from collector.batch import Intake, to_frame
from config.plant import Point
from config.schema import SAMPLE, require
from config.status import BAD_NO_COMMUNICATION, BAD_SHUTDOWN
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


@given(st.lists(st.tuples(st.lists(ROW, min_size=1, max_size=12), st.integers(0, 15), st.booleans()), max_size=6))
def test_a_burst_taken_at_once_is_the_same_as_its_rows_one_after_another(bursts):
    """Where a point's times rise in a burst it is compared at once: each row alone must come to the same."""
    together, alone = Intake(POINTS, 0), Intake(POINTS, 0)
    now = 1000 * S
    for rows, wait, cut in bursts:
        now += wait * S
        if cut:
            assert taken(together.lost(now)) == taken(alone.lost(now))
        whole = burst(now, rows)
        one_by_one = [row for n in range(len(rows)) for row in taken(alone.take(whole.take(np.array([n]))))]
        assert taken(together.take(whole)) == sorted(one_by_one, key=lambda row: row[0])
    for name in ("value", "valid", "status", "text", "ts", "source_ts", "stored", "owed", "cut", "good_ts"):
        assert getattr(together, name).tolist().__repr__() == getattr(alone, name).tolist().__repr__(), name


def burst(now, rows):
    points, seconds, values, status, text = (list(column) for column in zip(*rows, strict=True))
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

"""Rows that come again are known again, in whatever order, and across a restart; others never are."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from collector.repeats import Repeats
from config.schema import SAMPLE
from connectors.base import Readings

POINTS = ["a", "b"]


def readings(*rows):
    """Rows of (point, ts, value, status, text)."""
    points, ts, values, status, text = (list(column) for column in zip(*rows, strict=True))
    return Readings(
        points=np.array(points, np.intp),
        ts=np.array(ts, np.int64),
        ts_recv=0,
        value=np.array([np.nan if v is None else v for v in values], float),
        valid=np.array([v is not None for v in values]),
        status=np.array(status, np.uint32),
        text=text,
    )


def rows_of(found: Readings):
    values = [None if not ok else repr(float(v)) for v, ok in zip(found.value, found.valid, strict=True)]
    text = list(found.text) if found.text is not None else [None] * len(found.points)
    return list(zip(found.points.tolist(), found.ts.tolist(), values, found.status.tolist(), text, strict=True))


ROW = st.tuples(
    st.integers(0, 1), st.integers(0, 5), st.sampled_from([None, 0.0, -0.0, 1.0, float("nan")]),
    st.sampled_from([0, 0x80000000]), st.sampled_from([None, "x"]),
)  # fmt: skip


@given(st.lists(st.lists(ROW, min_size=1, max_size=6), max_size=12))
def test_each_row_passes_once_whatever_comes_in_between(bursts):
    repeats, seen = Repeats(POINTS), set()
    for rows in bursts:
        expected = []
        for row in rows_of(readings(*rows)):
            if row not in seen:
                expected.append(row)
            seen.add(row)
        assert rows_of(repeats.drop(readings(*rows))) == expected


def test_what_was_committed_before_a_restart_is_known():
    frame = pl.DataFrame(
        {"point": ["a", "b", "z"], "ts": [1, 2, 3], "ts_recv": [1, 2, 3], "value": [1.5, None, 1.0],
         "text": [None, "on", None], "status": [0, 0, 0]},
    ).cast(SAMPLE)  # fmt: skip
    repeats = Repeats(POINTS)
    repeats.recover(frame)
    again = readings((0, 1, 1.5, 0, None), (1, 2, None, 0, "on"), (0, 4, 1.5, 0, None))
    assert rows_of(repeats.drop(again)) == [(0, 4, "1.5", 0, None)]


def test_so_many_rows_are_remembered_and_not_without_end():
    repeats = Repeats(POINTS, size=100)
    for n in range(1000):
        repeats.drop(readings((0, n, 1.0, 0, None)))
    assert len(repeats.drop(readings((0, 901, 1.0, 0, None))).points) == 0
    assert sum(len(one[0]) for one in repeats._unseen) + len(repeats._seen) <= 300
    for n in range(10_000):
        repeats.drop(readings((0, -n, 1.0, 0, None)))  # always older: each is looked up
    assert len(repeats._seen) + len(repeats._seen_before) <= 202
    assert len(repeats.drop(readings((0, -9_950, 1.0, 0, None))).points) == 0

"""What stands in the lake where samples were lost: a row for each point, so that none is taken as known."""

import polars as pl
import pytest

from collector import gaps
from collector.payload import decoded, encoded
from config.schema import SAMPLE, require
from config.status import BAD_DATA_LOST, GOOD
from tests.batches import rows

S = 1_000_000_000


def batch(*samples):
    """(point, second) pairs as a payload."""
    return encoded(rows([(point, second * S) for point, second in samples]))


def seen(frame):
    return sorted(zip(frame["point"], frame["ts"].to_physical() // S, strict=True))


def test_lost_batches_become_one_row_a_point_at_its_first_lost_time():
    payload, count, facts = gaps.in_place_of([batch(("a", 3), ("b", 4), ("a", 1)), batch(("b", 2), ("c", 9))])
    frame = decoded(payload)
    assert seen(frame) == [("a", 1), ("b", 2), ("c", 9)]
    assert count == 3
    assert facts == {"points": 3, "from": "1970-01-01T00:00:01+00:00", "to": "1970-01-01T00:00:09+00:00"}


def test_the_rows_are_samples_without_a_value_and_say_that_data_was_lost():
    payload, _, _ = gaps.in_place_of([batch(("a", 3))])
    frame = require(decoded(payload), SAMPLE, "gap")
    assert frame.select("value", "text", "status").rows() == [(None, None, BAD_DATA_LOST)]
    assert BAD_DATA_LOST != GOOD


def test_a_gap_that_grows_keeps_the_first_time_of_each_point():
    earlier, _, _ = gaps.in_place_of([batch(("a", 3), ("b", 4))])
    payload, count, _ = gaps.in_place_of([earlier, batch(("a", 5), ("b", 6), ("c", 7))])
    assert seen(decoded(payload)) == [("a", 3), ("b", 4), ("c", 7)]
    assert count == 3


@pytest.mark.parametrize("payloads", [[], [encoded(pl.DataFrame(schema=dict(SAMPLE)))]])
def test_where_nothing_was_lost_no_row_stands(payloads):
    payload, count, facts = gaps.in_place_of(payloads)
    assert decoded(payload).height == count == 0
    assert facts == {"points": 0, "from": None, "to": None}


def test_a_batch_that_holds_no_samples_does_not_keep_the_spool_from_dropping():
    payload, count, facts = gaps.in_place_of([b"no frame", batch(("a", 3)), b""])
    assert seen(decoded(payload)) == [("a", 3)]
    assert (count, facts["no_samples"]) == (1, 2)


def test_a_disk_that_fails_while_the_batches_are_read_is_no_empty_gap():
    def failing():
        yield batch(("a", 3))
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        gaps.in_place_of(failing())


def test_where_nobody_knows_what_was_lost_every_point_has_a_row():
    frame = require(gaps.of_all(pl.Series(["a", "b"]), 7 * S), SAMPLE, "gap")
    assert seen(frame) == [("a", 7), ("b", 7)]
    assert frame["status"].unique().to_list() == [BAD_DATA_LOST]
    assert frame["ts"].to_list() == frame["ts_recv"].to_list()

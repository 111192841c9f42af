"""Ranges of sequence numbers behave as the sets that they stand for."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.ranges import cursor, missing, union

anything = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8)


def numbers(ranges):
    return {n for first, last in ranges for n in range(first, last + 1)}


@pytest.mark.parametrize(
    ("ranges", "merged"),
    [
        ([], ()),
        ([(0, 4)], ((0, 4),)),
        ([(5, 9), (0, 4)], ((0, 9),)),  # next to each other
        ([(0, 4), (6, 9)], ((0, 4), (6, 9))),
        ([(0, 9), (2, 3)], ((0, 9),)),
        ([(0, 5), (3, 9), (9, 12)], ((0, 12),)),
        ([(7, 6)], ()),  # empty
    ],
)
def test_ranges_that_touch_or_overlap_are_one(ranges, merged):
    assert union(ranges) == merged


@given(anything)
def test_a_union_holds_every_number_once_in_rising_disjoint_ranges(ranges):
    merged = union(ranges)
    assert numbers(merged) == numbers(ranges)
    assert all(first <= last for first, last in merged)
    assert all(a[1] + 1 < b[0] for a, b in itertools.pairwise(merged))
    assert union(merged) == merged


@pytest.mark.parametrize(("ranges", "reached"), [((), -1), (((0, 0),), 0), (((0, 7), (9, 12)), 7), (((1, 7),), -1)])
def test_the_cursor_is_the_last_number_before_the_first_that_is_missing(ranges, reached):
    assert cursor(ranges) == reached


@given(anything, st.integers(0, 35))
def test_what_is_missing_is_all_the_rest(ranges, last):
    known = union(ranges)
    lacking = missing(known, last)
    assert numbers(lacking) == set(range(last + 1)) - numbers(known)
    assert union(lacking) == lacking

"""What samples say, in words and in codes."""

import math

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from kpis.intervals import Series, coded, words

NUMBERS = st.one_of(st.sampled_from([0.0, -0.0, 1.0, 1.5, 2.0**62, 2.0**63, 1e300, math.inf, -math.inf, math.nan]),
                    st.floats())  # fmt: skip
CODES = {"0": 1, "1": 2, "1.5": 3, "NaN": 4, "inf": 5, "RUN": 6, "4611686018427387904": 7}
OTHER = -1


def series(value: list[float], text: list[str | None] | None) -> Series:
    n = len(value)
    told = None if text is None else pl.Series(text, dtype=pl.String)
    return Series(np.arange(n, dtype=np.int64), np.array(value, np.float64), np.ones(n, np.bool_), told)


def test_whole_numbers_are_said_without_a_point_and_both_zeros_alike():
    said = series([3.0, -0.0, 0.0, 1.5, math.nan], None)
    assert words(said, np.arange(5)).to_list() == ["3", "0", "0", "1.5", "NaN"]
    assert coded(said, np.array([4, 0, 1, 2, 3]), {"0": 7, "1.5": 8, "NaN": 9}, 5).tolist() == [9, 5, 7, 7, 8]


@given(st.lists(st.tuples(NUMBERS, st.sampled_from([None, "RUN", "0", "off"])), max_size=20), st.booleans())
def test_the_code_of_a_sample_is_that_of_its_word(said, with_texts):
    value, text = [number for number, _ in said], [word for _, word in said]
    of = series(value, text if with_texts else None)
    rows = np.arange(len(said))[::-1]
    expected = [CODES.get(word, OTHER) for word in words(of, rows).to_list()]
    assert coded(of, rows, CODES, OTHER).tolist() == expected

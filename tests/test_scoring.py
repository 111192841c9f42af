"""The assessments' arithmetic at its edges: options, bands, weights, levels, and points inside a level."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.rubrics import load_rubric
from kpis.indicators.rubrics.scoring import (
    ScoreError,
    band,
    composite,
    fit,
    grade_of,
    multiple,
    needed,
    points,
    reaches,
    score,
    single,
    weight,
)

SME = load_rubric("sme-2024")
INDEX = load_rubric("jiangsu-index-2025")
NETWORKING = SME.item("q3")


@pytest.mark.parametrize(
    ("percent", "expected"),
    # Worked example 13: 20 % exactly, 20.01 %, 60.0 %, 60.01 %; and the edges of the other bands.
    [("20", 25), ("20.01", 50), ("60.0", 75), ("60.01", 100), ("0", 0), ("10", 0), ("10.01", 25), ("40", 50),
     ("40.0000000001", 75), ("100", 100)],
)  # fmt: skip
def test_a_rate_on_the_edge_of_a_band_belongs_to_the_band_that_ends_there(percent, expected):
    assert single(NETWORKING, band(NETWORKING.options, Fraction(percent) / 100)) == expected


def test_a_rate_of_117_of_150_is_78_percent_and_in_the_last_band():
    assert band(NETWORKING.options, Fraction(117, 150)) == 5
    assert band(NETWORKING.options, Fraction(90, 150)) == 4  # 60 % to the last digit, which no float would say


@pytest.mark.parametrize("share", [Fraction(-1, 100), Fraction(101, 100)])
def test_a_share_below_0_or_above_1_is_in_no_band(share):
    with pytest.raises(ScoreError, match="a share lies between 0 and 100 %"):
        band(NETWORKING.options, share)


@pytest.mark.parametrize(
    ("item", "scores"),
    [("q13", [0, 50, 100]), ("q5", [0, 25, 50, 75, 100]), ("q3", [0, 25, 50, 75, 100]),
     ("q8", [0, 20, 40, 60, 80, 100])],
)  # fmt: skip
def test_a_single_choice_of_three_five_or_six_options_is_spaced_evenly(item, scores):
    one = SME.item(item)
    assert [single(one, n) for n in range(1, len(one.options) + 1)] == scores


def test_a_single_choice_of_four_options_has_no_rule_in_the_text():
    four = NETWORKING.model_copy(update={"options": NETWORKING.options[:4]})
    with pytest.raises(ScoreError, match="items of 3, 5 or 6 options, not of 4"):
        single(four, 1)


@pytest.mark.parametrize(
    ("item", "chosen", "expected"),
    [
        ("q1", {1}, Fraction(0)),
        ("q1", {2}, Fraction(25)),
        ("q1", {2, 3, 4, 5}, Fraction(100)),
        ("q4", {7}, Fraction(100, 14)),
        ("q4", set(range(2, 16)), Fraction(100)),
    ],
)
def test_several_options_count_by_their_number_out_of_all_but_none(item, chosen, expected):
    assert score(SME.item(item), chosen) == expected


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        (set(), "no option is chosen"),
        ({1, 2}, "holds 1 .无. and others"),
        ({6}, "no option 6; it has 1 to 5"),
        ({0}, "no option 0"),
    ],
)
def test_a_choice_that_the_item_does_not_have_is_refused(chosen, told):
    with pytest.raises(ScoreError, match=told):
        multiple(SME.item("q1"), chosen)


def test_two_options_of_a_single_choice_are_refused():
    with pytest.raises(ScoreError, match=r"q3: 2\+4 are 2 options of a single choice; choose one"):
        score(NETWORKING, {2, 4})


def test_the_weights_of_the_questionnaire_sum_to_100_and_are_those_of_the_catalogue():
    expected = [8, 6, 6, 10, 10, 5, 5, 7.5, 7.5, 7.5, 7.5, 7, 7, 3, 3]
    assert [float(weight(item)) for item in SME.items] == expected
    assert sum(weight(item) for item in SME.items) == 100


def test_all_best_answers_give_100_points_exactly():
    best = [set(range(2, len(i.options) + 1)) if i.answer == "multiple" else {len(i.options)} for i in SME.items]
    assert sum(points(item, score(item, chosen)) for item, chosen in zip(SME.items, best, strict=True)) == 100


def scenes(level, count, binding):
    """`count` scenes at a level, of which so many are binding ones."""
    return [(level, n < binding) for n in range(count)]


@pytest.mark.parametrize(
    ("total", "shown", "expected"),
    [
        (Fraction(20), scenes(1, 6, 3), (1, 1)),
        (Fraction(1999, 100), scenes(1, 6, 3), (0, 1)),
        (Fraction(20), scenes(1, 5, 3), (1, 0)),
        (Fraction(20), scenes(1, 6, 2), (1, 0)),
        (Fraction(40), scenes(2, 6, 3), (2, 2)),
        (Fraction(60), scenes(3, 8, 5), (3, 3)),
        (Fraction(60), scenes(3, 7, 5), (3, 2)),
        (Fraction(60), scenes(3, 8, 4), (3, 2)),
        (Fraction(80), scenes(4, 10, 6), (4, 4)),
        (Fraction(100), scenes(4, 9, 6), (4, 3)),
        (Fraction(0), [], (0, 0)),
    ],
)
def test_both_parts_of_a_level_are_judged_each_at_its_edge(total, shown, expected):
    assert grade_of(SME.grades, total, shown) == expected


def test_scenes_of_a_higher_level_count_for_the_lower_ones():
    assert grade_of(SME.grades, Fraction(100), [*scenes(4, 3, 3), *scenes(1, 3, 0)]) == (4, 1)


def test_a_score_of_60_is_not_above_60():
    grade = load_rubric("jiangsu-grades-2025").grades[0]
    above = grade.model_copy(update={"points": Decimal(60), "points_op": ">"})
    assert not reaches(above, Fraction(60))
    assert reaches(above, Fraction(6001, 100))


@pytest.mark.parametrize(
    ("level", "own", "expected"),
    [(1, "0", 0), (2, "0.1", 0), (2, "6.99", 0), (2, "7", 7), (2, "14", 14), (2, "19.99", 14), (3, "20", 20),
     (4, "47", 47), (5, "79.9", 74), (6, "80", 80), (6, "99.99", 94)],
)  # fmt: skip
def test_points_inside_a_level_lie_in_one_of_its_stretches(level, own, expected):
    assert fit(INDEX.bands, level, Decimal(own)).low == expected


@pytest.mark.parametrize(("level", "own"), [(1, "1"), (2, "0"), (2, "20"), (3, "19.99"), (3, "40"), (6, "100")])
def test_points_outside_their_level_are_refused(level, own):
    with pytest.raises(ScoreError, match=f"{own} points do not fit level {level}"):
        fit(INDEX.bands, level, Decimal(own))


def test_what_is_not_involved_gives_its_weight_to_the_others():
    assert composite([Fraction(60)] * 7) == 60
    assert composite([Fraction(90), Fraction(30)]) == 60
    assert composite([]) is None


@pytest.mark.parametrize(
    ("total", "percent", "inclusive", "expected"),
    [(20, 60, False, 13), (20, 60, True, 12), (20, 20, False, 5), (7, 60, False, 5), (7, 60, True, 5), (4, 75, True, 3),
     (3, 100, False, 4)],
)  # fmt: skip
def test_the_fewest_devices_that_reach_or_exceed_a_share(total, percent, inclusive, expected):
    assert needed(total, Fraction(percent), inclusive=inclusive) == expected


@given(st.integers(1, 500), st.integers(0, 100), st.booleans())
def test_one_device_less_never_reaches_a_share(total, percent, inclusive):
    fewest = needed(total, Fraction(percent), inclusive=inclusive)
    share, less = Fraction(fewest * 100, total), Fraction((fewest - 1) * 100, total)
    assert share >= percent if inclusive else share > percent
    assert less < percent if inclusive else less <= percent

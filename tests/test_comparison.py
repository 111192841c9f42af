"""Comparisons: which periods, how a figure went, and what must not be compared."""

import datetime as dt
import random
from fractions import Fraction

import pytest

from config.plant import Plant
from kpis.calendar import local_ns, to_ns
from kpis.indicators import carbon, energy
from kpis.indicators.base import Amount, Figure, Indicator
from kpis.indicators.comparison import Comparison, ComparisonError, around, before, compare, year_before
from tests.declaring import declared, found, grounds

WORKS = Plant(id="works", day_start=dt.time(8))
BERLIN = Plant(id="werk", timezone="Europe/Berlin", day_start=dt.time(6))
HOUR = 3600 * 10**9


def days(plant, first, end):
    return tuple(local_ns(plant, dt.date.fromisoformat(day), plant.day_start) for day in (first, end))


def rate(value, *, unit="1", better="up", rule="", of="works", name="rate"):
    """A figure of this value."""
    about = Indicator(
        id=name, title="Rate", title_zh="比率", unit=unit, evidence="c", formula="", formula_zh="", source="", proof="",
        proof_zh="", not_this="", compute=lambda *_: None, better=better,
    )  # fmt: skip
    exact = None if value is None else Fraction(value)
    return Figure(indicator=about, subject=of, start=0, end=1, amount=Amount(value=exact, rule=rule), value=exact)


@pytest.mark.parametrize(
    ("now", "earlier"),
    [
        (("2025-03-10", "2025-03-17"), ("2025-03-03", "2025-03-10")),  # a week
        (("2025-03-01", "2025-04-01"), ("2025-02-01", "2025-03-01")),  # March and February
        (("2025-04-01", "2025-07-01"), ("2025-01-01", "2025-04-01")),  # quarters
        (("2024-01-01", "2025-01-01"), ("2023-01-01", "2024-01-01")),  # years, one of 366 days
        (("2025-03-02", "2025-04-02"), ("2025-01-30", "2025-03-02")),  # 31 days, no month
    ],
)
def test_the_period_before_is_as_many_months_or_days(now, earlier):
    assert before(WORKS, days(WORKS, *now)) == days(WORKS, *earlier)


def test_the_days_before_a_clock_change_are_production_days_of_another_length():
    monday = days(BERLIN, "2026-03-30", "2026-03-31")
    sunday = before(BERLIN, days(BERLIN, "2026-03-29", "2026-03-30"))
    assert sunday == days(BERLIN, "2026-03-28", "2026-03-29")
    assert [(end - start) // HOUR for start, end in (sunday, before(BERLIN, monday), monday)] == [23, 24, 24]


def test_a_period_of_hours_goes_before_by_its_length_to_the_nanosecond():
    assert before(WORKS, (10 * HOUR + 1, 13 * HOUR + 8)) == (7 * HOUR - 6, 10 * HOUR + 1)


@pytest.mark.parametrize(
    ("now", "earlier"),
    [
        (("2025-01-01", "2026-01-01"), ("2024-01-01", "2025-01-01")),
        (("2025-02-01", "2025-03-01"), ("2024-02-01", "2024-03-01")),  # all of February, 28 and 29 days
        (("2024-02-01", "2024-03-01"), ("2023-02-01", "2023-03-01")),
        (("2024-02-29", "2024-04-01"), ("2023-03-01", "2023-04-01")),  # a day that is not there becomes the next
        (("2024-02-01", "2024-02-29"), ("2023-02-01", "2023-03-01")),
        (("2024-02-29", "2024-03-01"), ("2023-02-28", "2023-03-01")),  # the 29th alone
    ],
)
def test_the_year_before_has_the_same_dates(now, earlier):
    assert year_before(WORKS, days(WORKS, *now)) == days(WORKS, *earlier)


def test_the_year_before_keeps_the_clock_of_the_plant_over_daylight_saving():
    noon = to_ns(dt.datetime(2026, 3, 29, 12, tzinfo=BERLIN.zone))  # summer time; in 2025 it began on 30 March
    start, _ = year_before(BERLIN, (noon + 7, noon + HOUR))
    assert start == to_ns(dt.datetime(2025, 3, 29, 12, tzinfo=BERLIN.zone)) + 7
    assert noon + 7 - start == (365 * 24 - 1) * HOUR


@pytest.mark.parametrize("seed", range(20))
def test_a_year_back_of_any_days_but_29_february_are_the_same_dates(seed):
    rng = random.Random(seed)
    first = dt.date(2000, 1, 1) + dt.timedelta(days=rng.randrange(10_000))
    end = first + dt.timedelta(days=rng.randrange(1, 400))
    first, end = (day.replace(day=min(day.day, 28)) if day.month == 2 else day for day in (first, end))
    plant = rng.choice((WORKS, BERLIN))
    back = [str(day.replace(year=day.year - 1)) for day in (first, end)]
    assert year_before(plant, days(plant, str(first), str(end))) == days(plant, *back)


def test_a_retrofit_has_as_many_days_before_as_after_within_the_period():
    (at, _) = days(WORKS, "2025-03-01", "2025-03-02")
    assert around(WORKS, at, days(WORKS, "2025-02-01", "2025-06-01")) == (
        days(WORKS, "2025-02-01", "2025-03-01"),
        days(WORKS, "2025-03-01", "2025-03-29"),  # 28 days, as before it
    )
    assert around(WORKS, at, days(WORKS, "2024-01-01", "2025-03-11")) == (
        days(WORKS, "2025-02-19", "2025-03-01"),
        days(WORKS, "2025-03-01", "2025-03-11"),
    )


def test_a_period_after_the_retrofit_is_held_against_as_long_before_it():
    (at, _) = days(WORKS, "2025-03-01", "2025-03-02")
    assert around(WORKS, at, days(WORKS, "2025-03-01", "2025-03-31"))[0] == days(WORKS, "2025-01-30", "2025-03-01")
    assert around(WORKS, at, days(WORKS, "2025-04-01", "2025-04-11")) == (
        days(WORKS, "2025-02-19", "2025-03-01"),
        days(WORKS, "2025-04-01", "2025-04-11"),
    )
    assert around(WORKS, at, (at, at + 5 * HOUR)) == ((at - 5 * HOUR, at), (at, at + 5 * HOUR))


def test_a_period_that_ends_before_the_retrofit_is_refused():
    (at, _) = days(WORKS, "2025-03-01", "2025-03-02")
    with pytest.raises(
        ValueError, match="the period ends before the retrofit of 2025-03-01; name a period that goes on"
    ):
        around(WORKS, at, days(WORKS, "2025-02-01", "2025-03-01"))
    with pytest.raises(ValueError, match="no whole day on both sides of 2025-03-01; widen it"):
        around(WORKS, at, (at - HOUR, at + 48 * HOUR))


def test_a_share_differs_in_points_and_an_amount_in_parts_of_what_was():
    share = compare(rate("0.78"), rate("0.8"))
    assert (share.difference, share.points, share.relative) == (Fraction("0.02"), 2, Fraction(1, 39))
    amount = compare(rate(40, unit="kgce/百元"), rate(30, unit="kgce/百元"))
    assert (amount.difference, amount.points, amount.relative) == (-10, None, Fraction(-1, 4))


def test_a_relative_change_from_0_is_none():
    grown = compare(rate(0), rate("0.1"))
    assert (grown.relative, grown.change) == (None, "up")


@pytest.mark.parametrize(
    ("was", "now", "better", "change", "direction"),
    [
        ("0.5", "0.6", "up", "up", "better"),
        ("0.6", "0.5", "up", "down", "worse"),
        ("0.6", "0.5", "down", "down", "better"),
        ("0.5", "0.6", "down", "up", "worse"),
        ("0.5", "0.5", "down", "same", "same"),
        ("0.5", "0.6", "", "up", ""),
        ("0.50004", "0.50000", "up", "same", "same"),  # 50.00 % both
        ("0.50005", "0.50004", "up", "down", "worse"),  # 50.01 % and 50.00 %
        ("0.00005", "0.00004", "up", "down", "worse"),
    ],
)
def test_a_change_is_judged_on_values_rounded_once_to_four_decimals(was, now, better, change, direction):
    went = compare(rate(was, better=better), rate(now, better=better))
    assert (went.change, went.direction) == (change, direction)


def test_a_period_without_a_value_gives_no_change():
    went = compare(rate(None), rate("0.5"))
    assert (went.difference, went.relative, went.change, went.direction) == (None, None, None, "")


def test_figures_of_two_things_are_not_compared():
    with pytest.raises(ComparisonError, match="rate of line1 cannot be compared with rate of works"):
        Comparison(rate("0.5", of="line1"), rate("0.5"))
    with pytest.raises(ComparisonError, match="other of works cannot be compared with rate of works"):
        compare(rate("0.5", name="other"), rate("0.5"))


def test_figures_of_two_rules_are_not_compared_and_both_are_named():
    with pytest.raises(
        ComparisonError, match=r"'rate@1 evidenced>=0\.5' and the one after of 'rate@1 evidenced>=0\.6'"
    ):
        compare(rate("0.5", rule="evidenced>=0.5"), rate("0.5", rule="evidenced>=0.6"))


def year(name, number, indicators, **settings):
    plant = grounds().plant.model_copy(update=settings)
    amount = declared("consumption.electricity", 10_000, "kWh", str(number))
    return found(indicators, name, grounds(plant, amount, days=(f"{number}-01-01", f"{number + 1}-01-01")))


def test_two_years_of_one_grid_factor_compare_and_those_of_two_factors_are_refused():
    last, now = (year("co2_emissions", n, carbon.INDICATORS) for n in (2024, 2025))
    assert compare(last, now).change == "same"
    other = year("co2_emissions", 2024, carbon.INDICATORS, co2_factors="co2-grid-2022:national")
    with pytest.raises(
        ComparisonError, match=r"co2-grid-2022:national \(2022\).*co2-grid-2023:national \(2023\)"
    ) as info:
        compare(other, now)
    assert "同一套系数" in info.value.said.zh
    east = year("co2_emissions", 2024, carbon.INDICATORS, co2_factors="co2-grid-2023:east")
    with pytest.raises(ComparisonError, match="co2-grid-2023:east"):
        compare(east, now)


def test_energy_of_two_coal_factor_sets_is_refused():
    now = year("comprehensive_energy", 2025, energy.INDICATORS)
    assert now.rule == "comprehensive_energy@1 sme-2024 (2024)"
    amount = Amount(value=now.value, rule="gbt-2589-2020 (2020)")
    other = Figure(indicator=now.indicator, subject="works", start=0, end=1, amount=amount, value=now.value)
    with pytest.raises(ComparisonError, match=r"gbt-2589-2020 \(2020\).*sme-2024 \(2024\)"):
        compare(other, now)

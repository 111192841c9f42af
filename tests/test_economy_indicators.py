"""Business figures from declared values: exact, with who and when, and refused where they are no figure."""

from fractions import Fraction

import pytest

from kpis.indicators import economy
from kpis.indicators.base import percent, rounded
from kpis.indicators.errors import InputError
from kpis.indicators.quality_declared import qualified_rate
from tests.declaring import declared, found, grounds, misses

REVENUE = declared("营业收入", "1.2", "亿元", attachment="revenue.pdf", attachment_sha256="ab" * 32)
STAFF = declared("员工人数", 150, "人")


def of(name, *rows, **more):
    return found(economy.INDICATORS, name, grounds(None, *rows, **more))


def test_revenue_per_head_is_in_10000_yuan_with_n_and_big_n():
    made = of("revenue_per_head", REVENUE, STAFF)
    assert (made.value, made.amount.numerator, made.amount.denominator) == (80, 12_000, 150)
    assert made.indicator.unit == "万元/人"
    assert made.declared


def test_an_input_says_who_when_and_what_shows_it():
    revenue, staff = of("revenue_per_head", REVENUE, STAFF).amount.inputs
    assert (revenue.name, revenue.value, revenue.unit, revenue.period) == ("revenue", 120_000_000, "元", "2025")
    assert (revenue.declared_by, revenue.attachment, revenue.attachment_sha256) == ("王芳", "revenue.pdf", "ab" * 32)
    assert (staff.value, staff.unit, staff.origin) == (150, "人", "declared")


def test_staff_of_two_half_years_is_their_mean_by_days_and_it_is_told():
    made = of(
        "revenue_per_head", REVENUE, declared("staff", 100, "人", "2025-H1"), declared("staff", 200, "人", "2025-H2")
    )
    assert made.amount.denominator == Fraction(100 * 181 + 200 * 184, 365)
    assert made.amount.flags == ("mean_of_periods=staff",)


def test_a_year_that_its_months_do_not_come_to_is_told():
    months = [declared("revenue", 9_000_000, "元", f"2025-{n:02}") for n in range(1, 13)]
    made = of("revenue_per_head", REVENUE, STAFF, *months)
    assert made.value == 80
    assert made.amount.flags == ("parts_differ=revenue",)


def test_no_staff_is_refused():
    made = of("revenue_per_head", REVENUE, declared("staff", 0, "人"))
    assert made.value is None
    assert made.refused.en.startswith("revenue_per_head of works: its denominator is 0")


def test_cost_per_100_yuan_of_revenue():
    made = of("cost_per_100_yuan_revenue", REVENUE, declared("cost", 9_000, "万元"))
    assert (made.value, made.indicator.better) == (75, "down")


def test_cost_above_revenue_is_a_figure_as_any_other():
    assert of("cost_per_100_yuan_revenue", REVENUE, declared("cost", 15_000, "万元")).value == 125


def test_labour_productivity_prints_that_it_takes_the_output_value():
    made = of("labour_productivity", declared("产值", 15_000, "万元"), STAFF)
    assert (made.value, made.rule) == (100, "labour_productivity@1 output_value/staff")
    assert "value added" in made.indicator.not_this


def test_operating_cost_per_output_value_is_in_yuan_per_10000_yuan():
    made = of("operating_cost_per_output_value", declared("运营成本", 300, "万元"), declared("产值", 15_000, "万元"))
    assert made.value == 200


def years(measure, *amounts):
    return [declared(measure, amount, "万元", str(2025 - n)) for n, amount in enumerate(reversed(amounts))]


def test_digital_investment_is_that_of_three_years_over_their_revenue():
    made = of("digital_investment_share", *years("数字化投入", 100, 200, 300), *years("revenue", 2_000, 3_000, 5_000))
    assert made.value == Fraction(600, 10_000)
    assert percent(made.value) == 6


def test_digital_investment_of_a_quarter_is_of_the_years_that_end_with_its_own():
    rows = [*years("digital_investment", 100, 200, 300), *years("revenue", 2_000, 3_000, 5_000)]
    assert of("digital_investment_share", *rows, days=("2025-04-01", "2025-07-01")).value == Fraction(6, 100)


def test_a_year_without_digital_investment_is_asked_for():
    rows = [*years("digital_investment", 200, 300), *years("revenue", 2_000, 3_000, 5_000)]
    (said,) = misses(of("digital_investment_share", *rows))
    assert said.startswith("digital_investment of 2023 is not declared; add a row to business.csv with period 2023")


def test_a_young_company_declares_0_before_it_was_founded():
    made = of("digital_investment_share", *years("digital_investment", 0, 0, 300), *years("revenue", 0, 0, 5_000))
    assert made.value == Fraction(300, 5_000)


def test_more_digital_investment_than_revenue_is_refused():
    made = of("digital_investment_share", *years("digital_investment", 0, 0, 6_000), *years("revenue", 0, 0, 5_000))
    assert made.value is None
    assert "60000000/50000000 is no part of a whole" in made.refused.en


def products(period, good, made):
    return declared("products_good", good, "件", period), declared("products_made", made, "件", period)


def test_the_qualified_rate_is_the_mean_of_the_months_not_that_of_the_sums():
    rows = [*products("2025-01", 90, 100), *products("2025-02", 1_000, 1_000)]
    made = of("product_qualified_rate_declared", *rows, days=("2025-01-01", "2025-03-01"))
    assert made.value == Fraction(19, 20)  # of 90 % and 100 %; the sums would say 99.09 %
    assert made.rule == "product_qualified_rate_declared@1 mean of months"


def test_where_months_are_not_declared_the_qualified_rate_is_of_the_whole_period_and_says_so():
    made = of("product_qualified_rate_declared", *products("2025", 1_090, 1_100))
    assert rounded(made.value * 100, 2) == rounded(Fraction("99.09"), 2)
    assert made.rule.endswith("whole period")


@pytest.mark.parametrize("numbers", [(101, 100), (0, 0)])
def test_a_month_of_more_good_products_than_products_or_of_none_is_refused(numbers):
    of_month = grounds(None, *products("2025-01", *numbers), days=("2025-01-01", "2025-02-01"))
    with pytest.raises(InputError, match=r"products of 2025-01: \d+/\d+ are no share"):
        qualified_rate(of_month, "works")
    made = of("product_qualified_rate_declared", *products("2025-01", *numbers), days=("2025-01-01", "2025-02-01"))
    assert made.value is None
    assert "mend the rows" in made.refused.en


def test_a_plant_that_declares_no_products_has_no_declared_rate():
    assert of("product_qualified_rate_declared", REVENUE) is None


@pytest.mark.parametrize("name", [one.id for one in economy.INDICATORS if one.id != "product_qualified_rate_declared"])
def test_a_figure_without_its_amounts_names_each_of_them_in_both_languages(name):
    made = of(name)
    assert made.value is None
    assert made.refused is None
    assert all("add a row to business.csv with period 20" in said.en for said in made.amount.missing)
    assert all("请在 business.csv 中增加期间为 20" in said.zh for said in made.amount.missing)
    assert len(made.amount.missing) == (6 if name == "digital_investment_share" else 2)


def test_all_of_them_are_of_the_whole_plant():
    assert all(one.plant_only for one in economy.INDICATORS)

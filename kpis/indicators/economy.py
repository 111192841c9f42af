"""Business figures per head, per revenue and per output value (市场效益, 生产运营效率), from declared values.

Amounts of money are in 元 inside; figures are in the units in which the assessments ask for them.
"""

import datetime as dt
from functools import partial

from kpis.indicators import ratios
from kpis.indicators.base import Amount, Grounds, Indicator
from kpis.indicators.declared import Stated, stated_of
from kpis.indicators.energy import FACTORY, SME
from kpis.indicators.quality_declared import qualified_rate
from kpis.indicators.ratios import TEN_THOUSAND

_YEARS = 3
"""企业近三年: the year of the period and the two before."""


def _revenue_per_head(grounds: Grounds, _subject: str) -> Amount | None:
    return ratios.quotient(ratios.declared(grounds, "revenue", TEN_THOUSAND), ratios.declared(grounds, "staff"))


def _cost_per_100_yuan(grounds: Grounds, _subject: str) -> Amount | None:
    return ratios.quotient(ratios.declared(grounds, "cost"), ratios.declared(grounds, "revenue", 100))


def _labour_productivity(grounds: Grounds, _subject: str) -> Amount | None:
    value = ratios.declared(grounds, "output_value", TEN_THOUSAND)
    return ratios.quotient(value, ratios.declared(grounds, "staff"), "output_value/staff")


def _operating_cost(grounds: Grounds, _subject: str) -> Amount | None:
    cost = ratios.declared(grounds, "operating_cost")
    return ratios.quotient(cost, ratios.declared(grounds, "output_value", TEN_THOUSAND))


def _digital_investment(grounds: Grounds, _subject: str) -> Amount | None:
    """Return what was invested in three calendar years over their revenue, the last being that of the period's end."""
    last = grounds.days[1].year
    invested, earned = (
        ratios.total(
            [ratios.of_stated(_of_year(grounds, measure, year)) for year in range(last - _YEARS + 1, last + 1)]
        )
        for measure in ("digital_investment", "revenue")
    )
    return ratios.quotient(invested, earned, "sums of 3 calendar years")


def _of_year(grounds: Grounds, measure: str, year: int) -> Stated:
    return stated_of(grounds, measure, dt.date(year, 1, 1), dt.date(year, 12, 31))


_indicator = partial(
    Indicator,
    evidence="c",
    proof="declared values with period, unit, who, when and attachment (financial statements)",
    proof_zh="填报数据及其期间、单位、填报人、日期与附件（财务报表等）",
    plant_only=True,
)

INDICATORS = (
    _indicator(
        id="revenue_per_head",
        title="Revenue per head",
        title_zh="人均营业收入",
        unit="万元/人",
        formula="revenue / staff",
        formula_zh="人均营业收入 = 营业收入 / 员工人数",
        source=SME,
        cites=((1338, "企业上年度人均营业收入相比于前年变化情况"),),
        not_this="not output value per head",
        compute=_revenue_per_head,
        share=False,
    ),
    _indicator(
        id="cost_per_100_yuan_revenue",
        title="Cost per 100 yuan of revenue",
        title_zh="每百元营业收入中的成本",
        unit="元",
        formula="cost / (revenue / 100)",
        formula_zh="每百元营业收入中的成本 = 营业成本 / 营业收入 × 100",
        source=SME,
        cites=((1339, "企业上年度每百元营业收入中的成本相比于前年变化情况"),),
        not_this="not 百元营业收入费用: selling, administrative and financial expenses are no cost of sales",
        compute=_cost_per_100_yuan,
        share=False,
        better="down",
    ),
    _indicator(
        id="labour_productivity",
        title="Labour productivity",
        title_zh="全员劳动生产率",
        unit="万元/人",
        formula="output value / staff (our rule)",
        formula_zh="全员劳动生产率 = 产值 / 员工人数（本产品规则）",
        source=f"{FACTORY} names it and gives no formula",
        cites=((865, "全员劳动生产率"),),
        not_this="not the statistic of that name, which takes value added (增加值) in place of output value",
        compute=_labour_productivity,
        share=False,
    ),
    _indicator(
        id="operating_cost_per_output_value",
        title="Operating cost per output value",
        title_zh="单位产值运营成本",
        unit="元/万元",
        formula="operating cost / output value",
        formula_zh="单位产值运营成本 = 运营成本 / 产值",
        source=f"{FACTORY} names it and gives no formula",
        cites=((864, "单位产值运营成本"),),
        not_this="not cost per revenue",
        compute=_operating_cost,
        share=False,
        better="down",
    ),
    _indicator(
        id="digital_investment_share",
        title="Share of digital investment in revenue",
        title_zh="企业近三年平均数字化投入总额占营业额的平均比例",
        unit="1",
        formula="Σ digital investment / Σ revenue of three calendar years, the last being that of the period's end",
        formula_zh="近三年数字化投入之和 / 近三年营业收入之和",
        source=SME,
        cites=(
            (1335, "企业近三年平均数字化投入总额占营业额的平均比例（企业成立不满三年按照实际成立时长计算年均投入）"),
        ),
        not_this="not the mean of three yearly shares; a company younger than three years declares 0 for both before",
        compute=_digital_investment,
    ),
    _indicator(
        id="product_qualified_rate_declared",
        title="Qualified rate of products, declared",
        title_zh="月均产品合格率",
        unit="1",
        formula="mean of the months' good products / products made; of the period where months are not declared",
        formula_zh="月均产品合格率 = 各月（合格品数量 / 产品产量）的平均值；未按月填报时按整个期间计算",
        source=SME,
        cites=((1337, "月均产品合格率"),),
        not_this="not product_qualified_rate, which counts what machines count",
        compute=qualified_rate,
    ),
)

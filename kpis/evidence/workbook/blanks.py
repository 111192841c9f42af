"""The blanks of the SME questionnaire, as the form words them, and the amount that each asks for.

Source: 中小企业数字化水平评测指标（2024年版）, 工信厅企业〔2024〕56号, table (一), column 题目.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from kpis.indicators.base import Figure, Input
from kpis.indicators.rubrics.result import Assessed, Case

_TEN_THOUSAND = 10_000


@dataclass(frozen=True, slots=True)
class Filled:
    """What stands in a blank, and what it is taken from."""

    value: Fraction | None = None
    figure: Figure | None = None
    inputs: Sequence[Input] = ()
    """Where an input of the figure is asked for, not the figure itself."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Blank:
    """One blank, []: the line of the compendium and the words around it, letter by letter."""

    line: int
    words: str
    unit: str
    fill: Callable[[Case, Assessed], Filled]


def _value(_: Case, one: Assessed) -> Filled:
    return Filled() if one.figure is None else Filled(one.figure.value, one.figure)


def _numerator(_: Case, one: Assessed) -> Filled:
    return Filled() if one.figure is None else Filled(one.figure.amount.numerator, one.figure)


def _denominator(_: Case, one: Assessed) -> Filled:
    return Filled() if one.figure is None else Filled(one.figure.amount.denominator, one.figure)


def _qualified(case: Case, one: Assessed) -> Filled:
    """Return the rate that the item is answered by, else the one that has a value."""
    other = case.figures.get(getattr(one.of, "otherwise", ""))
    figure = other if one.figure is None or (one.figure.value is None and other is not None) else one.figure
    return Filled() if figure is None else Filled(figure.value, figure)


def _figure(case: Case, name: str, *, before: bool) -> Figure | None:
    if not before:
        return case.figures.get(name)
    compared = case.comparisons.get(name)
    return None if compared is None else compared.before


def _of(name: str, *, before: bool = False) -> Callable[[Case, Assessed], Filled]:
    """Return what takes a figure of the period, or of the one before."""

    def fill(case: Case, _: Assessed) -> Filled:
        figure = _figure(case, name, before=before)
        return Filled() if figure is None else Filled(figure.value, figure)

    return fill


def _input(name: str, measure: str, per: int = 1, *, before: bool = False) -> Callable[[Case, Assessed], Filled]:
    """Return what takes a measure that enters a figure, in so many of its unit."""

    def fill(case: Case, _: Assessed) -> Filled:
        figure = _figure(case, name, before=before)
        found = [] if figure is None else _amounts(figure, measure)
        if not found or found[0].value is None:
            return Filled(figure=figure)
        return Filled(found[0].value / per, figure, found[:1])

    return fill


def _amounts(figure: Figure, measure: str) -> list[Input]:
    """Return a figure's inputs that are a measure as a whole, not the rows that it is made up of."""
    return [one for one in figure.amount.inputs if one.name == measure and not one.beside]


def _yearly(case: Case, _: Assessed) -> Filled:
    """Return what was invested a year in the three years; one without investment and revenue is before the start."""
    figure = case.figures.get("digital_investment_share")
    invested, earned = ([] if figure is None else _amounts(figure, name) for name in ("digital_investment", "revenue"))
    if figure is None or figure.amount.missing or len(invested) != len(earned):
        return Filled(figure=figure)
    pairs = [(a.value or Fraction(0), b.value or Fraction(0), a.period)
             for a, b in zip(invested, earned, strict=True)]  # fmt: skip
    none = [period for a, b, period in pairs if not a and not b]
    years = len(pairs) - len(none)
    if not years:
        return Filled(figure=figure)
    without = f"（{'、'.join(none)} 投入与营业收入均为 0，视为未成立）" if none else ""
    return Filled(sum((a for a, _, _ in pairs), Fraction(0)) / years / _TEN_THOUSAND, figure, invested,
                  f"各年数字化投入之和 ÷ {years} 年{without}")  # fmt: skip


BLANKS: Mapping[str, Sequence[Blank]] = {
    "q2": (
        Blank(1322, "具体数据[]", "", _value),
        Blank(1322, "其中生产设备数量为[]台", "台", _denominator),
        Blank(1322, "实现数字化的生产设备数量为[]台", "台", _numerator),
    ),
    "q3": (
        Blank(1323, "具体数据[]", "", _value),
        Blank(1323, "其中实现联网的生产设备数量为[]台", "台", _numerator),
    ),
    "q11": (Blank(1335, "具体数据为[]万元/年", "万元/年", _yearly),),
    "q12": (
        Blank(1336, "企业上年综合能源消费量为[]吨标准煤", "吨标准煤", _of("comprehensive_energy")),
        Blank(1336, "前年数据为[]吨标准煤", "吨标准煤", _of("comprehensive_energy", before=True)),
    ),
    "q13": (Blank(1337, "具体数值为[]", "", _qualified),),
    "q14": (
        Blank(1338, "企业上年员工人数为[]人", "人", _input("revenue_per_head", "staff")),
        Blank(1338, "营业收入为[]万元", "万元", _input("revenue_per_head", "revenue", _TEN_THOUSAND)),
        Blank(1338, "前年员工人数为[]人", "人", _input("revenue_per_head", "staff", before=True)),
        Blank(1338, "营业收入为[]万元", "万元", _input("revenue_per_head", "revenue", _TEN_THOUSAND, before=True)),
    ),
    "q15": (
        Blank(1339, "企业上年成本为[]万元", "万元", _input("cost_per_100_yuan_revenue", "cost", _TEN_THOUSAND)),
        Blank(1339, "前年成本为[]万元", "万元",
              _input("cost_per_100_yuan_revenue", "cost", _TEN_THOUSAND, before=True)),
    ),
}  # fmt: skip
"""By item, in the order of the form; one without a unit is a share."""

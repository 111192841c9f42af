"""The energy tables 205-1 and 205-2 (能源购进、消费与库存; 能源加工转换与回收利用), as far as the data say them.

A medium's row is in the unit of its coefficient; the last row is the total in tonnes of standard coal. The compendium
names column 5 of 205-1 and columns 11 and 12 of 205-2; the other heads are those of the form as it is commonly
reproduced, and a cell that nothing says stays empty.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import polars as pl

from config.factors import Factor, FactorSet, coal_factors
from kpis.indicators.base import Grounds, plain
from kpis.indicators.consumption import USES, Amounts, amounts
from kpis.indicators.declared import stated

TCE = "吨标准煤"
TCE_UNIT = "tce"
_UNITS_ZH = {"t": "吨", "kWh": "千瓦时", "m3": "立方米", "GJ": "百万千焦", "tce": TCE}
_HEADS_205_1 = (
    ("甲", "能源名称"), ("乙", "计量单位"), ("丙", "代码"), ("1", "期初库存量"), ("2", "购进量：实物量"),
    ("3", "购进量：金额（千元）"), ("4", "消费量合计"), ("5", "工业生产消费"), ("6", "其中：用于原材料"),
    ("7", "非工业生产消费"), ("8", "合计中：运输工具消费"), ("9", "期末库存量"), ("10", "采用折标系数"),
    ("丁", "参考折标系数"),
)  # fmt: skip
_HEADS_205_2 = (
    ("甲", "能源名称"), ("乙", "计量单位"), ("丙", "代码"), ("1", "工业生产消费"), ("2", "加工转换投入合计"),
    ("3", "火力发电"), ("4", "供热"), ("5", "原煤入洗"), ("6", "炼焦"), ("7", "炼油及煤制油"), ("8", "制气"),
    ("9", "天然气液化"), ("10", "煤制品加工"), ("11", "能源加工转换产出"), ("12", "回收利用"),
)  # fmt: skip
_CITED = {"205-1": {"5": 1393}, "205-2": {"11": 1397, "12": 1397}}

Cell = str | Fraction | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a form."""

    number: str
    title: str
    line: int | None
    """Line of the compendium that names it; None: from the form as it is commonly reproduced."""


@dataclass(frozen=True, slots=True)
class EnergyTable:
    """A form's columns in their order, a row a medium, and the total in standard coal as the last row."""

    id: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    rule: str
    """The factor set, with its year."""

    def total(self, number: str) -> Fraction | None:
        """Return a column's total [tce]; None where a part of it is missing."""
        cell = self.rows[-1][[column.number for column in self.columns].index(number)]
        return cell if isinstance(cell, Fraction) else None

    def frame(self) -> pl.DataFrame:
        """Return the table as text, a column `number title` each; an empty cell is null."""
        heads = [f"{column.number} {column.title}" for column in self.columns]
        cells = [[plain(cell) if isinstance(cell, Fraction) else cell for cell in row] for row in self.rows]
        return pl.DataFrame(cells, schema=dict.fromkeys(heads, pl.String), orient="row")


def table_205_1(grounds: Grounds) -> EnergyTable:
    """Return 205-1 of the whole plant: what was bought and consumed of each medium.

    Raises InputError where an amount was converted with another factor set.
    """
    consumed = amounts(grounds, grounds.plant.id, "consumption")
    factors = coal_factors(grounds.plant.coal_factors)
    rows = [
        _row("205-1", factor, {
            "2": _in_unit(_bought(grounds, medium), factor), "5": _of(consumed, medium, factor),
            "10": Fraction(factor.factor), "丁": Fraction(factor.factor),
        })
        for medium, factor in _factors(factors, (consumed,), _purchased(grounds))
    ]  # fmt: skip
    return _table("205-1", rows, {"5": consumed}, factors)


def table_205_2(grounds: Grounds) -> EnergyTable:
    """Return 205-2 of the whole plant: what was transformed and recovered of each medium; no rows where nothing was.

    Raises InputError where an amount was converted with another factor set.
    """
    used = {use: amounts(grounds, grounds.plant.id, use) for use in USES}
    factors = coal_factors(grounds.plant.coal_factors)
    columns = dict(zip(("1", "2", "11", "12"), used.values(), strict=True))
    rows = [
        _row("205-2", factor, {number: _of(side, medium, factor) for number, side in columns.items()})
        for medium, factor in _factors(factors, [side for number, side in columns.items() if number != "1"])
    ]
    if not rows:
        return EnergyTable("205-2", _columns("205-2"), (), factors.cited)
    return _table("205-2", rows, {"2": columns["2"], "11": columns["11"], "12": columns["12"]}, factors)


def _factors(factors: FactorSet, sides: Sequence[Amounts], more: Collection[str] = ()) -> list[tuple[str, Factor]]:
    """Return the media that any of the sides speaks of, and more of them, in the order of the set."""
    named = {*more, *(medium for side in sides for medium in side.quantities)}
    return [(medium, factor) for medium, factor in factors.factors.items() if medium in named]


def _of(side: Amounts, medium: str, factor: Factor) -> Fraction | None:
    """Return a medium's amount in the row's unit, from its part in standard coal."""
    part = side.parts.get(medium)
    return None if part is None else part / Fraction(factor.factor)


def _purchased(grounds: Grounds) -> list[str]:
    """Return the media of which a purchase is declared for the period."""
    named = [measure.partition(".")[2] for measure in grounds.declared.rows if measure.startswith("purchased.")]
    return [medium for medium in named if _bought(grounds, medium) is not None]


def _bought(grounds: Grounds, medium: str) -> tuple[Fraction, str] | None:
    found = stated(grounds, f"purchased.{medium}")
    return None if found.value is None else (found.value, found.unit)


def _in_unit(found: tuple[Fraction, str] | None, factor: Factor) -> Fraction | None:
    """Return an amount [canonical unit] in the row's unit; None where it is of another dimension."""
    if found is None:
        return None
    value, unit = found
    each = Fraction(1) if unit == TCE_UNIT else factor.per_canonical(unit)
    return None if each is None else value * each / Fraction(factor.factor)


def _columns(table: str) -> tuple[Column, ...]:
    heads = _HEADS_205_1 if table == "205-1" else _HEADS_205_2
    return tuple(Column(number, title, _CITED[table].get(number)) for number, title in heads)


def _row(table: str, factor: Factor, cells: Mapping[str, Fraction | None]) -> tuple[Cell, ...]:
    unit = f"{'万' if factor.per == 10_000 else ''}{_UNITS_ZH.get(factor.unit, factor.unit)}"
    known: dict[str, Cell] = {"甲": factor.name, "乙": unit, **cells}
    return tuple(known.get(column.number) for column in _columns(table))


def _table(table: str, rows: Sequence[Sequence[Cell]], sums: Mapping[str, Amounts], factors: FactorSet) -> EnergyTable:
    """Return a table with its last row, 能源合计; a sum that misses a part stays empty."""
    totals = {number: None if side.missing else side.total for number, side in sums.items()}
    known: dict[str, Cell] = {"甲": "能源合计", "乙": TCE, **totals}
    last = tuple(known.get(column.number) for column in _columns(table))
    return EnergyTable(table, _columns(table), (*rows, last), factors.cited)

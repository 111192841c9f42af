"""A figure's calculation, step by step in numbers."""

from fractions import Fraction

from config.factors import coal_factors, grid_factor
from kpis.evidence.report import cells
from kpis.evidence.report.model import Block, Steps, View
from kpis.evidence.report.numbers import equals, in_unit, steps
from kpis.indicators.base import Figure, percent
from kpis.indicators.input_names import input_name, unit_name


def blocks(view: View, one: Figure) -> list[Block]:
    """Return the calculation's steps in numbers."""
    if one.value is None:
        return []
    n, whole, unit = one.amount.numerator, one.amount.denominator, unit_name(one.indicator.unit, view.lang)
    lines = list(_sides(view, one))
    if n is not None and whole is not None:
        quotient = steps(one.value)
        lines.append(f"{_shown(n)} / {_shown(whole)} {equals(one.value, quotient)} {quotient}")
    elif one.indicator.id == "comprehensive_energy":
        lines += _coal(view, one.value)
    elif one.indicator.id == "co2_emissions":
        lines += _carbon(view, one)
    lines.append(_rounded(view, one.value, one.indicator.unit, unit))
    return [Steps(lines, view.say("Calculation", "计算过程"), "sums")]


def _shown(value: Fraction) -> str:
    told = steps(value)
    return told if equals(value, told) == "=" else f"{told}…"


def _sides(view: View, one: Figure) -> list[str]:
    """Return what n and N are: amounts that came in, or what came of them, in the two units of the value."""
    n, whole = one.amount.numerator, one.amount.denominator
    found = []
    for symbol, value, unit in zip("nN", (n, whole), cells.sides_in(one), strict=True):
        named = next((of for of in one.amount.inputs if not of.beside and of.value == value), None)
        if value is not None and (named is not None or unit):
            told = "" if named is None else f"  ({input_name(named.name, view.lang)})"
            found.append(f"{symbol} = {_shown(value)} {unit_name(unit, view.lang)}{told}")
    return found if len({line[4:] for line in found}) == len(found) else found[:1]


def _rounded(view: View, value: Fraction, of_unit: str, unit: str) -> str:
    told = view.say("rounded once, half up", "四舍五入，仅舍入一次")
    if of_unit == "1":
        exact = steps(value * 100)
        return f"× 100 %: {equals(value * 100, exact)} {exact} % → {percent(value)} %  ({told})"
    return f"{steps(value)} {unit} → {in_unit(value, unit)}  ({told})"


def _coal(view: View, value: Fraction) -> list[str]:
    """Return each medium's amount times its coefficient, less what came out of transformation and recovery."""
    factors = {of.name: Fraction(of.factor) for of in coal_factors(view.plant.coal_factors).factors.values()}
    signs = {("205-1", "5"): "+", ("205-2", "11"): "−", ("205-2", "12"): "−"}
    found, tce = [], unit_name("tce", view.lang)
    for table in view.contents.energy_tables:
        for n, column in enumerate(table.columns):
            sign = signs.get((table.id, column.number), "")
            for row in table.rows[:-1] if sign else ():
                quantity, factor = row[n], factors[str(row[0])]
                if isinstance(quantity, Fraction):
                    part = _shown(quantity * factor)
                    found.append(f"{sign} {row[0]}: {_shown(quantity)} {row[1]} × {steps(factor)} = {part} {tce}")
    return [*found, f"= {_shown(value)} {tce}"]


def _carbon(view: View, one: Figure) -> list[str]:
    of_set, factor = grid_factor(view.plant.co2_factors)
    each = factor.per_canonical("kWh")
    used = next((of for of in one.amount.inputs if not of.beside), None)
    if used is None or used.value is None or each is None or one.value is None:
        return []
    cited = f"{view.plant.co2_factors} ({of_set.year})"
    return [f"{steps(used.value)} {used.unit} × {steps(each)} kgCO2/kWh [{cited}] = {_shown(one.value)} kgCO2"]

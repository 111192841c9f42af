"""What a plant consumed of each energy medium, and what of it is in standard coal: by one set of coefficients, exactly.

Measures are those of the energy tables 205-1 and 205-2: `consumption` is all industrial consumption of a medium, with
what was transformed (`transformation_input` is a part of it); `transformation_output` and `recovered` are what the
medium came out of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import get_args

from config.factors import Factor, FactorSet, FactorsMixedError, coal_factors, one_set
from kpis.indicators.base import Grounds
from kpis.indicators.declared import name_zh
from kpis.indicators.errors import InputError
from kpis.indicators.metered import Metered, Use, metered
from kpis.indicators.quantities import Quantity, quantity
from kpis.indicators.said import Said

USES: tuple[Use, ...] = get_args(Use)


@dataclass(frozen=True, slots=True)
class Amounts:
    """The amounts of one use by medium, and their parts in standard coal by one set."""

    quantities: Mapping[str, Quantity]
    parts: Mapping[str, Fraction]
    """[tce] by medium, of those that have an amount and a coefficient."""
    left_out: Sequence[str]
    """Media that the set does not have, such as water."""
    missing: Sequence[Said]
    """What is not there of the others, or cannot be converted, with the next step."""

    @property
    def total(self) -> Fraction:
        """The sum of the parts [tce]."""
        return sum(self.parts.values(), Fraction(0))


def amounts(grounds: Grounds, subject: str, use: Use) -> Amounts:
    """Return the amounts of one use by medium.

    Raises InputError where an amount was converted with another set than the plant's, both named.
    """
    factors = coal_factors(grounds.plant.coal_factors)
    whole = subject == grounds.plant.id
    meters = metered(grounds, subject, use)
    named = _declared_media(grounds, use) if whole else []
    found = {m: _quantity(grounds, use, m, meters.get(m), factors, whole=whole) for m in sorted({*meters, *named})}
    _refuse_mixed(found, factors)
    ours = {m: q for m, q in found.items() if m in factors.factors}
    each = {m: (q.value, _coefficient(factors, m, q.unit)) for m, q in ours.items()}
    parts = {m: value * by for m, (value, by) in each.items() if value is not None and by is not None}
    lost = [
        _unconverted(q, factors.factors[m], factors) for m, q in ours.items() if q.value is not None and m not in parts
    ]
    missing = [said for q in ours.values() for said in q.missing]
    return Amounts(found, parts, [m for m in found if m not in ours], [*missing, *lost])


def _quantity(
    grounds: Grounds, use: Use, medium: str, meter: Metered | None, factors: FactorSet, *, whole: bool
) -> Quantity:
    """Return a medium's amount; one that is metered where nothing converts it gives way to one that is declared."""
    measure = f"{use}.{medium}"
    declared = quantity(grounds, measure, None, may_be_declared=whole)
    if meter is not None and declared.value is not None and _coefficient(factors, medium, meter.unit) is None:
        return declared
    return quantity(grounds, measure, meter, may_be_declared=whole)


def _coefficient(factors: FactorSet, medium: str, unit: str) -> Fraction | None:
    """Return a medium's coefficient [tce per unit]; what is declared in tce is converted already."""
    if unit == "tce":
        return Fraction(1) if medium in factors.factors else None
    return factors.coefficient(medium, unit)


def _unconverted(found: Quantity, factor: Factor, factors: FactorSet) -> Said:
    return Said(
        f"{found.measure} is in {found.unit}, and its coefficient in {factors.id} is per {factor.unit}; meter it or "
        "declare it in a unit of that kind",
        f"{name_zh(found.measure)}（{found.measure}）的单位为 {found.unit}，"
        f"而 {factors.id} 的折标系数按 {factor.unit} 计；请按同类单位计量或填报",
    )


def _declared_media(grounds: Grounds, use: Use) -> list[str]:
    """Return the media that anything is declared of in this use, in whatever period: what is told once is asked for."""
    head = f"{use}."
    return [measure.removeprefix(head) for measure in grounds.declared.rows if measure.startswith(head)]


def _refuse_mixed(found: Mapping[str, Quantity], factors: FactorSet) -> None:
    for of_medium in found.values():
        try:
            one_set(factors, of_medium.factors, f"{of_medium.measure} [tce]")
        except FactorsMixedError as error:
            others = "、".join(of_medium.factors)
            zh = (f"{name_zh(of_medium.measure)}（{of_medium.measure}）按折标系数 {others} 折算，"
                  f"而本厂采用 {factors.id}；同一结果只能用一套系数："
                  f"请按实物量填报，或改用 {factors.id} 折算")  # fmt: skip
            raise InputError(Said(str(error), zh)) from error


def electricity(grounds: Grounds, subject: str) -> Quantity | None:
    """Return the electricity that a subject consumed [kWh]; None where a part of the plant has no meter of it.

    Raises InputError where it is declared in standard coal alone.
    """
    whole = subject == grounds.plant.id
    meter = metered(grounds, subject, "consumption").get("electricity")
    if meter is None and not whole:
        return None
    found = quantity(grounds, "consumption.electricity", meter, may_be_declared=whole)
    if found.value is not None and found.unit != "kWh":
        raise InputError(Said(
            f"consumption.electricity is in {found.unit}, not kWh; declare it in kWh, as the meter says it",
            f"电力消费量的单位为 {found.unit}，而不是千瓦时；请按电表读数以千瓦时填报",
        ))  # fmt: skip
    return found


def media(grounds: Grounds, subject: str) -> list[str]:
    """Return the media that a subject's consumption is metered of, or declared of for the whole plant."""
    named = _declared_media(grounds, "consumption") if subject == grounds.plant.id else []
    return sorted({*metered(grounds, subject, "consumption"), *named})

"""Comprehensive energy consumption (综合能源消费量) in tonnes of standard coal, exactly.

Source: 中小企业数字化水平评测指标（2024年版）, 综合能源消费量: Σ medium × coefficient − output of energy
transformation − recovered energy, all in standard coal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from config.factors import FactorSet, coal_factors
from kpis.indicators import ratios
from kpis.indicators.base import Amount, Grounds, plain, rounded
from kpis.indicators.consumption import Amounts, amounts
from kpis.indicators.errors import InputError
from kpis.indicators.metered import unregistered
from kpis.indicators.said import Said


@dataclass(frozen=True, slots=True)
class StandardCoal:
    """Energy in standard coal: each medium's part and their sum [tce], and the factor set used."""

    parts: Mapping[str, Fraction]
    total: Fraction
    factors: str

    def rounded(self, digits: int = 2) -> Decimal:
        """Return the sum rounded once, half up, as a declaration states it [tce]."""
        return rounded(self.total, digits)


def standard_coal(
    consumed: Mapping[str, Decimal],
    factors: FactorSet,
    *,
    transformation_output: Decimal | Fraction = Decimal(0),
    recovered: Decimal | Fraction = Decimal(0),
) -> StandardCoal:
    """Return 综合能源消费量 of amounts per medium, each in the unit of its coefficient (kWh, m3, t, GJ).

    transformation_output, recovered: what 表 205-2 columns 11 and 12 state [tce].
    Raises LookupError naming a medium that the set has no coefficient for.
    """
    unknown = sorted(set(consumed) - set(factors.factors))
    if unknown:
        raise LookupError(
            f"{', '.join(unknown)}: factor set {factors.id} has no coefficient; it has {', '.join(factors.factors)}"
        )
    each = {m: Fraction(factors.factors[m].factor) / Fraction(factors.factors[m].per) for m in consumed}
    parts = {m: Fraction(amount) * each[m] for m, amount in consumed.items()}
    return _less(parts, factors, Fraction(transformation_output), Fraction(recovered))


def _less(parts: Mapping[str, Fraction], factors: FactorSet, output: Fraction, recovered: Fraction) -> StandardCoal:
    total = sum(parts.values(), Fraction(0)) - output - recovered
    return StandardCoal(parts, total, f"{factors.cited}: {factors.source}")


def comprehensive(grounds: Grounds, subject: str) -> Amount | None:
    """Return 综合能源消费量 of a subject [tce]; None where a part of the plant has no meter.

    Raises InputError where another factor set was used, or more came out than was consumed.
    """
    factors = coal_factors(grounds.plant.coal_factors)
    consumed = amounts(grounds, subject, "consumption")
    output, recovered = (amounts(grounds, subject, use) for use in ("transformation_output", "recovered"))
    sides = (consumed, output, recovered)
    missing = [said for side in sides for said in side.missing]
    if not consumed.parts and not missing:
        return None if subject != grounds.plant.id else Amount(missing=(_nothing(consumed),), rule=factors.cited)
    transformed = amounts(grounds, subject, "transformation_input")
    missing += [said for m in transformed.parts if (said := _refuse_more(m, transformed, consumed)) is not None]
    coal = _less(consumed.parts, factors, output.total, recovered.total)
    if not missing and coal.total < 0:
        raise InputError(_below_zero(coal.total, consumed.total))
    summed = ratios.total([ratios.of_quantity(side.quantities[m]) for side in sides for m in side.parts])
    flags = (*unregistered(grounds.plant, summed.coverage), *_left_out(sides), *summed.flags)
    return Amount(value=None if missing else coal.total, inputs=summed.inputs, coverage=summed.coverage, flags=flags,
                  rule=factors.cited, missing=tuple(missing))  # fmt: skip


def _left_out(sides: Sequence[Amounts]) -> list[str]:
    """Return the flag that names media which the set has no coefficient for, where there are any."""
    media = sorted({medium for side in sides for medium in side.left_out})
    return [f"media_left_out={','.join(media)}"] if media else []


def _refuse_more(medium: str, transformed: Amounts, consumed: Amounts) -> Said | None:
    """Return what is missing where a medium was transformed of which no consumption is known.

    Raises InputError where more of it was transformed than consumed.
    """
    part, whole = transformed.parts[medium], consumed.parts.get(medium)
    if whole is None and medium in consumed.quantities:
        return None  # told already
    if whole is None:
        return Said(
            f"consumption.{medium} is not there, and "
            f"transformation_input.{medium} is a part of it; meter it or declare it",
            f"缺少 consumption.{medium}（工业生产消费量包含加工转换投入 transformation_input.{medium}）；请计量或填报",
        )
    if part > whole:
        told = f"{plain(part)} > {plain(whole)} tce"
        raise InputError(Said(
            f"transformation_input.{medium} is more than consumption.{medium} ({told}), of which it is a part: mend "
            "the amounts",
            f"{medium} 的加工转换投入量大于其工业生产消费量（{told}）；前者应包含在后者之中，请核对",
        ))  # fmt: skip
    return None


def _below_zero(value: Fraction, consumed: Fraction) -> Said:
    less = consumed - value
    return Said(
        f"energy: {plain(less)} tce came out of transformation and recovery, and only {plain(consumed)} tce were "
        "consumed; consumption includes what is transformed: mend the amounts",
        f"综合能源消费量：加工转换产出与回收利用合计 {plain(less)} 吨标准煤，"
        f"大于工业生产消费 {plain(consumed)} 吨标准煤；工业生产消费应包含加工转换投入，请核对",
    )


def _nothing(consumed: Amounts) -> Said:
    left = f" ({', '.join(consumed.left_out)} have no coefficient)" if consumed.left_out else ""
    return Said(
        f"no energy is metered or declared{left}; add energy points to points.csv, or rows such as "
        "consumption.electricity to business.csv",
        "没有能源计量或填报数据；请在采集点表中配置能源计量点，或在 business.csv 中填报电力消费量等",
    )

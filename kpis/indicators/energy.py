"""Comprehensive energy consumption (综合能源消费量) in tonnes of standard coal, exactly.

Source: 中小企业数字化水平评测指标（2024年版）, 综合能源消费量: Σ medium × coefficient − output of energy
transformation − recovered energy, all in standard coal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from config.factors import FactorSet


@dataclass(frozen=True, slots=True)
class StandardCoal:
    """Energy in standard coal: each medium's part and their sum [tce], and the factor set used."""

    parts: Mapping[str, Decimal]
    total: Decimal
    factors: str

    def rounded(self, digits: int = 2) -> Decimal:
        """Return the sum rounded once, half up, as a declaration states it [tce]."""
        return self.total.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def standard_coal(
    consumed: Mapping[str, Decimal],
    factors: FactorSet,
    *,
    transformation_output: Decimal = Decimal(0),
    recovered: Decimal = Decimal(0),
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
    parts = {m: amount / factors.factors[m].per * factors.factors[m].factor for m, amount in consumed.items()}
    total = sum(parts.values(), Decimal(0)) - transformation_output - recovered
    return StandardCoal(parts, total, f"{factors.id} ({factors.year}): {factors.source}")

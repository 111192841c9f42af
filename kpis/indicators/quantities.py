"""The amount of a measure that counts: what meters say or what people declare, one of them and never their sum.

What is metered goes first where the whole period was metered, or where nothing is declared; where both are there, both
stand among the inputs and their difference is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from kpis.indicators.base import Grounds, Input, plain
from kpis.indicators.declared import Stated, name_zh, period_text, stated
from kpis.indicators.metered import Metered
from kpis.indicators.said import Said


@dataclass(frozen=True, slots=True)
class Quantity:
    """One amount [unit] and what it rests on; without a value, what is missing and the next step."""

    measure: str
    value: Fraction | None
    unit: str = ""
    inputs: Sequence[Input] = ()
    coverage: Fraction | None = None
    """The part of the period that it was metered in; None where it is declared."""
    flags: Sequence[str] = ()
    missing: Sequence[Said] = ()
    factors: Sequence[str] = ()
    """Sets that a declared amount in tce was converted with."""


def quantity(grounds: Grounds, measure: str, meter: Metered | None, *, may_be_declared: bool = True) -> Quantity:
    """Return the amount of a measure in the period: metered or declared.

    may_be_declared: False for a part of the plant, as what is declared is of the whole.
    """
    people = stated(grounds, measure) if may_be_declared else Stated(measure, None)
    if meter is None or meter.value is None:
        return _declared(measure, meter, people)
    period = period_text(*grounds.days)
    read = Input(measure, meter.value, meter.unit, "measured", period, coverage=float(meter.coverage))
    if people.value is None:
        flags = (f"unmetered_time={measure}",) if meter.coverage < 1 else ()
        return Quantity(measure, meter.value, meter.unit, (read,), meter.coverage, flags)
    differs = _difference(measure, meter.value, meter.unit, people)
    if meter.coverage >= 1:
        inputs = (read, *(replace(one, beside=True) for one in people.inputs))
        return Quantity(measure, meter.value, meter.unit, inputs, meter.coverage, differs)
    used = (f"declared_used={measure}", *differs, *people.flags)
    inputs = (replace(read, beside=True), *people.inputs)
    return Quantity(measure, people.value, people.unit, inputs, None, used, factors=people.factors)


def _declared(measure: str, meter: Metered | None, people: Stated) -> Quantity:
    """Return what is declared, where no meter said anything."""
    if people.value is not None:
        return Quantity(measure, people.value, people.unit, people.inputs, flags=people.flags, factors=people.factors)
    found = () if meter is None else (meter.trouble or _silent(measure),)
    return Quantity(measure, None, missing=(*found, *people.missing))


def _silent(measure: str) -> Said:
    return Said(
        f"{measure}: its meters said nothing in the period; mend them or their points",
        f"{name_zh(measure)}（{measure}）：所选时段内计量仪表没有数据；请检查仪表或采集点",
    )


def _difference(measure: str, metered: Fraction, unit: str, people: Stated) -> tuple[str, ...]:
    """Return the flag that says what is metered less what is declared, where they differ and one unit says both."""
    if people.value is None or people.unit != unit or people.value == metered:
        return ()
    return (f"metered_less_declared={measure}:{plain(metered - people.value)} {unit}",)

"""Declared values by measure and period: what business.csv and business systems say, in canonical units, exactly."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from config.registers import Declared


@dataclass(frozen=True, slots=True)
class Found:
    """A measure's declared amount of a period [canonical unit], and the rows that it is the sum of."""

    value: Fraction
    unit: str
    rows: Sequence[Declared]


@dataclass(frozen=True, slots=True)
class Declarations:
    """All declared values of a plant."""

    rows: Mapping[str, Sequence[Declared]]
    """By measure."""

    def of(self, measure: str, first: dt.date, last: dt.date) -> Found | None:
        """Return what is declared of the days from `first` to `last`, both included; None where nothing covers them."""
        raise NotImplementedError

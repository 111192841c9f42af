"""A sheet of a workbook: one table with its heads, and what a reader must know of it."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

MOST_ROWS = 1_048_576
"""Rows of a sheet of Excel."""
_DIGITS = 15
"""Significant digits of a number that Excel keeps."""


@dataclass(frozen=True, slots=True)
class Share:
    """A number that is shown in percent."""

    value: Fraction | float


Number = int | float | Fraction | Decimal
Cell = str | bool | Number | Share | dt.date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One table; a row has a cell a head."""

    name: str
    """Not longer than 31 characters, and without [ ] : * ? / and \\."""
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    """Said in the first row; the heads stand in the second one then."""
    whole: str = ""
    """Where all rows are, should a sheet not hold them."""
    grouped: bool = True
    """Whether thousands are separated; not where numbers are copied into forms."""
    widest: int = 34
    """The most digits that a column is wide; longer text is wrapped."""
    most: int = MOST_ROWS
    """So many rows are written at most, with those of the note and the heads."""


def share_of(value: Fraction | float | None) -> Share | None:
    """Return a number as a share; None of none."""
    return None if value is None else Share(value)


def in_words(value: Fraction | None) -> str:
    """Return the exact value of a number that a cell cannot hold in the digits that Excel keeps; else nothing."""
    if value is None or Fraction(f"{float(value):.{_DIGITS}g}") == value:
        return ""
    return str(value)

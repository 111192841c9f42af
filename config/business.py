"""Declared values by measure and period: what business.csv and business systems say, in canonical units, exactly."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from config.factors import coal_factors
from config.measures import MEASURES, TCE, measure_of
from config.periods import period_days
from config.plant import Plant
from config.registers import Declared

__all__ = ["MEASURES", "Declarations", "Found", "Unfit", "clashes", "declarations", "exact", "measure_of",
           "period_days", "unfit"]  # fmt: skip

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Found:
    """A measure's declared amount of a period [canonical unit], and the rows that it is the sum of."""

    value: Fraction
    unit: str
    rows: Sequence[Declared]
    flags: Sequence[str] = field(default=())
    """`mean_of_periods`: of an amount at a time, the mean of its rows by days; `parts_differ`: the rows inside the
    period do not come to its own row, which counts."""


@dataclass(frozen=True, slots=True)
class Declarations:
    """All declared values of a plant."""

    rows: Mapping[str, Sequence[Declared]]
    """By measure."""

    def of(self, measure: str, first: dt.date, last: dt.date) -> Found | None:
        """Return what is declared of the days from `first` to `last`, both included; None where nothing covers them.

        The period's own row goes first; else its days must be tiled by rows of one unit, without gap or overlap.
        """
        own, parts = [], defaultdict[tuple[str, str], list[_Stretch]](list)
        for row in self.rows.get(measure, ()):
            start, end = period_days(row.period)
            if (start, end) == (first, last):
                own.append(row)
            elif first <= start and end <= last:
                parts[_unit(row), row.factors].append(_Stretch(start, end, row))
        tiled = [found for some in parts.values() if (found := _tiled(some, first, last)) is not None]
        # An amount in its own unit before one that somebody converted, in whatever order the rows stand.
        sums = sorted((_together(measure, rows) for rows in tiled), key=lambda one: one.unit == TCE)
        if not own:
            return sums[0] if sums else None
        alone = Found(exact(own[0]), _unit(own[0]), own[:1])
        differ = any(one.unit == alone.unit and one.value != alone.value for one in sums)
        return Found(alone.value, alone.unit, alone.rows, ("parts_differ",) if differ else ())


def declarations(plant: Plant, further: Iterable[Declared] = ()) -> Declarations:
    """Return a plant's declared values by measure, and further ones that business systems gave."""
    rows = defaultdict[str, list[Declared]](list)
    for row in (*plant.business, *further):
        rows[row.measure].append(row)
    return Declarations(dict(rows))


def exact(row: Declared) -> Fraction:
    """Return a row's amount in the canonical unit of its measure, or in tce where that is its unit."""
    return Fraction(row.value) * measure_of(row.measure).units[row.unit].factor


def _unit(row: Declared) -> str:
    return measure_of(row.measure).units[row.unit].canonical


class _Stretch(NamedTuple):
    """A row and the days that it is of."""

    start: dt.date
    end: dt.date
    row: Declared


def _tiled(parts: Iterable[_Stretch], first: dt.date, last: dt.date) -> list[Declared] | None:
    """Return rows that follow each other from the first day to the last, the fewest; None where there are none."""
    best: dict[dt.date, list[Declared]] = {last + _DAY: []}
    for start, end, row in sorted(parts, key=lambda part: part.start, reverse=True):
        after = best.get(end + _DAY)
        if after is not None and (start not in best or len(after) + 1 < len(best[start])):
            best[start] = [row, *after]
    return best.get(first)


def _together(measure: str, rows: Sequence[Declared]) -> Found:
    if not measure_of(measure).stock:
        return Found(sum(map(exact, rows), Fraction(0)), _unit(rows[0]), rows)
    days = [(end - start).days + 1 for start, end in (period_days(row.period) for row in rows)]
    weighted = sum((exact(row) * count for row, count in zip(rows, days, strict=True)), Fraction(0))
    return Found(weighted / sum(days), _unit(rows[0]), rows, ("mean_of_periods",))


class Unfit(NamedTuple):
    """Why a sound row cannot be taken: the column, its value, the rule, the next step."""

    column: str
    value: str
    rule: str
    hint: str


def unfit(row: Declared, coal: str) -> Iterator[Unfit]:
    """Yield what is wrong between the cells of a row; `coal`: the plant's set of standard coal coefficients."""
    measure = measure_of(row.measure)
    medium = row.measure.partition(".")[2]
    found = measure.units.get(row.unit)
    if found is None:
        yield Unfit("unit", row.unit, f"is no unit of {row.measure}", f"write one of {', '.join(measure.units)}")
    elif medium and medium != "water" and medium not in (known := coal_factors(coal).factors):
        rule = f"is of a medium without a coefficient in {coal}, the plant's coal_factors"
        yield Unfit("measure", row.measure, rule, f"declare one of {', '.join(known)}")
    elif found.canonical == TCE and row.factors != coal and (row.factors or not _counted_in_tce(medium, coal)):
        yield _unconverted(row, coal)
    elif found.canonical != TCE and row.factors:
        rule = f"is for amounts in tce, and the unit is {row.unit}"
        yield Unfit("factors", row.factors, rule, "empty the cell")


def _counted_in_tce(medium: str, coal: str) -> bool:
    """Return whether the set counts a medium in tce itself, so that nothing converts it: 其他燃料, 生物质能."""
    factor = coal_factors(coal).factors.get(medium)
    return factor is not None and factor.unit == TCE


def _unconverted(row: Declared, coal: str) -> Unfit:
    if not row.factors:
        rule = f"is missing: {row.unit} depends on the coefficients that the amount was converted with"
        return Unfit("factors", "", rule, f"write {coal}, or declare the amount in its own unit")
    rule = f"is not {coal}, the plant's coal_factors, and sets are never mixed"
    return Unfit("factors", row.factors, rule, f"declare the amount in its own unit, or converted with {coal}")


def clashes(rows: Sequence[Declared]) -> Iterator[tuple[int, int, str]]:
    """Yield pairs of rows of one measure that cannot both stand: the later one's position, the earlier one's, the rule.

    A period inside another one is no clash: months may stand beside their year.
    """
    by_measure = defaultdict[str, list[tuple[dt.date, dt.date, int]]](list)
    for n, row in enumerate(rows):
        first, last = period_days(row.period)
        by_measure[row.measure].append((first, last, n))
    for some in by_measure.values():
        around: list[tuple[dt.date, dt.date, int]] = []
        for first, last, n in sorted(some, key=lambda one: (one[0], -one[1].toordinal(), one[2])):
            while around and around[-1][1] < first:
                around.pop()
            outer = around[-1] if around else None
            if outer is None or (last <= outer[1] and (first, last) != outer[:2]):
                around.append((first, last, n))
                continue
            same = (first, last) == outer[:2]
            yield max(n, outer[2]), min(n, outer[2]), "is declared twice" if same else "overlaps"

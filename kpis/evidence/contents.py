"""Everything that a package states, computed from what it holds: its facts, device list, registers and declared values.

A builder computes it from a store, a verifier from the files of the package: the same function gives both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import polars as pl

from config.business import Declarations
from config.plant import Plant
from config.rubrics import load_rubric, rubric_ids
from kpis.compute import Basis, Window, results, subjects_of
from kpis.evidence.traces import Period, Traces
from kpis.indicators.base import Figure, Grounds
from kpis.indicators.case import case_of, compared, subjects_with_groups
from kpis.indicators.catalogue import figures, kinds
from kpis.indicators.comparison import Comparison
from kpis.indicators.energy_tables import EnergyTable, table_205_1, table_205_2
from kpis.indicators.errors import InputError
from kpis.indicators.rubrics.assessment import TARGETS, aims, assess
from kpis.indicators.rubrics.result import Assessment, Case
from kpis.indicators.said import Said

RUBRICS = tuple(name for name in rubric_ids() if name != TARGETS)
"""What a plant can be held against."""
DEFAULT_RUBRICS = ("sme-2024", "factory-kpis-2025")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a package is of."""

    period: Period
    before: Period | None
    """What changes are told against."""
    rubrics: Sequence[str] = DEFAULT_RUBRICS


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Figures, KPIs and assessments of a period, and what they follow from."""

    plant: Plant
    asked: Asked
    now: Grounds
    earlier: Grounds | None
    """Grounds of the period before."""
    traces: Traces

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs: what follows from it is computed there."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @cached_property
    def figures(self) -> list[Figure]:
        """Figures of the plant and its groups."""
        return figures(self.now, subjects_with_groups(self.plant))

    @cached_property
    def kinds(self) -> list[tuple[str, Figure]]:
        """Rates over devices of each kind."""
        return kinds(self.now, [self.plant.id])

    @cached_property
    def _compared(self) -> tuple[dict[str, Comparison], dict[str, Said]]:
        if self.earlier is None:
            return {}, {}
        before = figures(self.earlier, subjects_with_groups(self.plant))
        return compared(_named(before), _named(self.figures))

    @property
    def comparisons(self) -> Mapping[str, Comparison]:
        """Figures of both periods, by subject and indicator."""
        return self._compared[0]

    @property
    def incomparable(self) -> Mapping[str, Said]:
        """Why figures of both periods must not be compared, by subject and indicator."""
        return self._compared[1]

    @cached_property
    def kpis(self) -> pl.DataFrame:
        """RESULT rows of the whole period, of every subject."""
        return self._results("total")

    @cached_property
    def shifts(self) -> pl.DataFrame:
        """RESULT rows by shift, of every subject."""
        return self._results("shift")

    def _results(self, by: str) -> pl.DataFrame:
        basis = Basis(self.now.facts, self.now.demand)
        return results(self.plant, basis, Window(*self.asked.period, by), subjects_of(self.plant))

    @cached_property
    def case(self) -> Case:
        """What rubrics are held against."""
        return case_of(self.now, self.earlier)

    @cached_property
    def assessments(self) -> list[Assessment]:
        """The rubrics asked for, held against the plant."""
        return [assess(self.case, load_rubric(name)) for name in self.asked.rubrics]

    @cached_property
    def targets(self) -> Assessment:
        """The targets that the plant is shown against."""
        return aims(self.case)

    @cached_property
    def energy_tables(self) -> list[EnergyTable]:
        """Tables 205-1 and 205-2; none where the declared amounts do not go together."""
        try:
            return [table_205_1(self.now), table_205_2(self.now)]
        except InputError:
            return []


def grounds_of(
    plant: Plant,
    period: Period,
    devices: pl.DataFrame,
    facts: pl.DataFrame,
    demand: pl.DataFrame,
    declared: Declarations,
) -> Grounds:
    """Return what a period's figures are computed from; devices are judged by all of it."""
    start, end = period
    return Grounds(plant=plant, start=start, end=end, devices=devices, facts=facts, demand=demand, declared=declared,
                   devices_start=start)  # fmt: skip


def _named(found: Sequence[Figure]) -> dict[str, Figure]:
    return {f"{one.subject} {one.indicator.id}": one for one in found}

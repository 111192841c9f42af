"""What indicators are computed from, read from a store or from a file of samples, period by period."""

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

import polars as pl

from config.approvals import approval_of
from config.business import Declarations
from config.faults import Fault
from config.plant import Plant, groups
from kpis.demand import demand
from kpis.facts import facts
from kpis.factstore import amounts_of
from kpis.indicators import networking
from kpis.indicators.base import Figure, Grounds
from kpis.indicators.catalogue import figures
from kpis.indicators.comparison import Comparison, ComparisonError, compare
from kpis.indicators.rubrics.findings import findings
from kpis.indicators.rubrics.result import Case
from kpis.indicators.said import Said
from kpis.stores import Store
from kpis.stores.business_sql import declarations_of

Period = tuple[int, int]
"""[start, end) [ns since 1970, UTC]."""


@dataclass(slots=True)
class Readings:
    """A plant's samples, and what was computed of them so far."""

    plant: Plant
    store: Store | None = None
    samples: pl.DataFrame | None = None
    """In place of a store."""
    executor: Executor | None = None
    devices_span: int | None = None
    """Devices are judged by so much time at the end of a period [ns]; None: by all of it."""
    known: dict[Period, Grounds] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    """Rows of business systems that are left out."""
    _declared: Declarations | None = None

    @property
    def declared(self) -> Declarations:
        """What is declared, by people and by business systems; raises StoreError where one cannot be read."""
        if self._declared is None:
            self._declared = declarations_of(self.plant, self.faults)
        return self._declared

    def grounds(self, period: Period) -> Grounds:
        """Return the grounds of a period; raises StoreError where the samples cannot be read."""
        if period not in self.known:
            self.known[period] = self._grounds(*period)
        return self.known[period]

    def _grounds(self, start: int, end: int) -> Grounds:
        since = start if self.devices_span is None else max(start, end - self.devices_span)
        if self.samples is not None:
            listed = networking.devices(self.plant, self.samples, since, end)
            of_facts = facts(self.plant, self.samples, start, end, executor=self.executor)
            of_demand = demand(self.plant, self.samples, start, end)
        elif self.store is not None:
            listed = networking.devices_of_store(self.plant, self.store, since, end)
            amounts = amounts_of(self.plant, self.store, start, end, self.executor)
            of_facts, of_demand = amounts.facts, amounts.demand
        else:
            raise ValueError("neither a store nor samples")
        return Grounds(plant=self.plant, start=start, end=end, devices=listed, facts=of_facts, demand=of_demand,
                       declared=self.declared, devices_start=since)  # fmt: skip


def of_plant(grounds: Grounds) -> dict[str, Figure]:
    """Return the figures of the whole plant by indicator."""
    return {one.indicator.id: one for one in figures(grounds, [grounds.plant.id])}


def compared(
    before: Mapping[str, Figure], after: Mapping[str, Figure]
) -> tuple[dict[str, Comparison], dict[str, Said]]:
    """Return the comparison of each indicator with a figure in both periods, and why others must not be compared."""
    found: dict[str, Comparison] = {}
    refused: dict[str, Said] = {}
    for name in after:
        if name in before:
            try:
                found[name] = compare(before[name], after[name])
            except ComparisonError as error:
                refused[name] = error.said
    return found, refused


def case_of(grounds: Grounds, before: Grounds | None) -> Case:
    """Return what rubrics are held against; before: of the period that changes are told against."""
    now = of_plant(grounds)
    changes, refused = compared(of_plant(before), now) if before is not None else ({}, {})
    return Case(grounds, now, changes, refused, findings(grounds, now), approval_of(grounds.plant))


def subjects_with_groups(plant: Plant) -> list[str]:
    """Return the plant and its groups."""
    return [plant.id, *groups(asset.asset for asset in plant.assets)]

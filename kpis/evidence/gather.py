"""What a package states, computed from a store."""

from concurrent.futures import Executor
from functools import partial

from config.business import Declarations, period_days
from config.faults import Fault
from config.plant import Plant
from kpis.evidence.agreement import agrees
from kpis.evidence.contents import Asked, Contents, grounds_of
from kpis.evidence.progress import Progress, part_of, unwatched
from kpis.evidence.sampled import traces_of
from kpis.evidence.traces import Period, Traces
from kpis.factstore import amounts_of
from kpis.indicators.base import Grounds, days_of
from kpis.indicators.device_list import devices_of_store
from kpis.scale import begun
from kpis.stores import Lake, Store, StoreError
from kpis.stores.base import SEARCH_DAYS
from kpis.stores.business_sql import declarations_of

TRIES = 3
"""So often a store is read again that samples of the period come into."""


def gather(
    plant: Plant,
    store: Store,
    asked: Asked,
    progress: Progress = unwatched,
    faults: list[Fault] | None = None,
    executor: Executor | None = None,
) -> Contents:
    """Return a package's contents from the samples of a store.

    faults: takes rows of business systems that are left out. executor: reads the traces of a lake beside.
    Raises StoreError where samples or declared values cannot be read, or samples of the period keep coming in, OSError
    where facts cannot be written beside the lake.
    """
    declared = declarations_of(plant, faults)
    now, traces = _now(plant, store, asked.period, declared, progress, executor)
    earlier = None
    if asked.before is not None:
        progress("facts of the period before", 0.8)
        amounts = amounts_of(plant, store, *asked.before)
        listed = devices_of_store(plant, store, *asked.before)
        earlier = grounds_of(plant, asked.before, listed, amounts.facts, amounts.demand, declared)
    return Contents(plant=plant, asked=asked, now=now, earlier=earlier, traces=traces)


def _now(
    plant: Plant,
    store: Store,
    period: Period,
    declared: Declarations,
    progress: Progress,
    executor: Executor | None,
) -> tuple[Grounds, Traces]:
    """Return the grounds and traces of one and the same state of a store, into which an agent may be writing."""
    for _ in range(TRIES):
        progress("facts", 0.0)
        if executor is not None and isinstance(store, Lake):
            traced = begun(executor, traces_of, plant, store, *period)
        else:
            traced = partial(traces_of, plant, store, *period, progress=part_of(progress, 0.5, 0.8))
        amounts = amounts_of(plant, store, *period, told=lambda share: progress("facts", 0.5 * share))
        progress("samples", 0.5)
        devices, traces = traced()
        now = grounds_of(plant, period, devices, amounts.facts, amounts.demand, declared)
        if agrees(now, traces):
            return now, traces
    raise StoreError(
        f"{store}: facts and samples of the period do not agree: samples come in while the package is built (build it "
        f"when they are in), or a product was named more than {SEARCH_DAYS} days before (name it again)"
    )


def knows(plant: Plant, store: Store, period: Period) -> bool:
    """Return whether a store has samples of a period, or somebody declared a value that lies in it.

    Raises StoreError where the samples or declared values cannot be read.
    """
    if store.height(*period):
        return True
    first, last = days_of(plant, *period)
    rows = (row for some in declarations_of(plant).rows.values() for row in some)
    return any(first <= end and start <= last for start, end in (period_days(row.period) for row in rows))

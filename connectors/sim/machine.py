"""One simulated machine: pure functions from an instant to its state, counters and meter.

Everything follows from the schedule by integer arithmetic, so that the truth is exact. Inside a machine times
are offsets from its anchor [ns]; functions take instants [ns since 1970, UTC].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Instants = NDArray[np.int64]

PRODUCTION, SETUP, DELAY, IDLE, PLANNED = 1, 2, 3, 4, 5
ELEMENT_OF: Mapping[int, str] = {
    PRODUCTION: "production",
    SETUP: "setup",
    DELAY: "delay",
    IDLE: "idle",
    PLANNED: "planned",
}
"""Raw state value -> time element: the state map `default` of the plant."""

METER_STEPS = 100
"""The meter's steps in a kWh: it counts 0.01 kWh."""

_STEP_WUS = 3_600_000 // METER_STEPS * 1_000_000  # one step of the meter [W us]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What a machine does from `start` (offset) [ns] until the next phase."""

    start: int
    state: int
    product: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product on a machine: its true and its planned run time per item [ns]."""

    name: str
    cycle: int
    ideal_cycle: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine's schedule and habits; the first phase starts at offset 0, the last one never ends."""

    asset: str
    anchor: int
    """The instant of offset 0 [ns since 1970, UTC]."""
    phases: tuple[Phase, ...]
    products: tuple[Product, ...]
    seed: int = 0
    reject_share: float = 0.08
    total_start: int = 0
    reject_start: int = 0
    meter_start: int = 0
    """The meter's first reading [0.01 kWh]."""
    run_power: int = 180_000
    """Power in production [W]."""
    ready_power: int = 36_000
    """Power in setup and delay [W]; an idle machine or one in planned down time is off."""
    outages: tuple[tuple[int, int], ...] = ()
    """Drop-outs of its link, from and to (offsets) [ns]; the machine works on inside."""

    def __post_init__(self) -> None:
        starts = [phase.start for phase in self.phases]
        if not starts or starts[0] != 0 or any(a >= b for a, b in pairwise(starts)):
            raise ValueError(f"{self.asset}: phases start at 0 and ascend; they start at {starts}")
        if self.phases[-1].state == PRODUCTION:
            raise ValueError(f"{self.asset}: the last phase never ends, so it cannot be production")

    @property
    def name(self) -> str:
        """The last word of the asset's id, which names its points."""
        return self.asset.rsplit("/", 1)[-1]

    def product(self, name: str) -> Product:
        """Return the product called `name`; KeyError where this machine does not make it."""
        return {product.name: product for product in self.products}[name]


@dataclass(frozen=True, slots=True)
class _Tables:
    """A machine's schedule as arrays, worked out once."""

    starts: Instants  # of the phases, offsets [ns]
    states: Instants
    pieces: Instants  # offsets at which a piece is done [ns]
    rejected: NDArray[np.bool_]
    piece_phase: NDArray[np.intp]
    reject_sums: Instants  # rejects among the first k pieces
    power: Instants  # of the phases [W]
    work: Instants  # at the phases' starts [W us]


@lru_cache(maxsize=1024)
def _tables(machine: Machine) -> _Tables:
    starts = np.array([phase.start for phase in machine.phases], np.int64)
    states = np.array([phase.state for phase in machine.phases], np.int64)
    done = [
        np.arange(phase.start + cycle, after.start + 1, cycle, dtype=np.int64)
        for phase, after in pairwise(machine.phases)
        if phase.state == PRODUCTION
        for cycle in [machine.product(phase.product).cycle]
    ]
    pieces = np.concatenate([*done, np.empty(0, np.int64)])
    rejected = np.random.default_rng(machine.seed).random(len(pieces)) < machine.reject_share
    ready = (states == SETUP) | (states == DELAY)
    power = np.where(states == PRODUCTION, machine.run_power, np.where(ready, machine.ready_power, 0))
    work = np.concatenate([[0], np.cumsum(power[:-1] * (np.diff(starts) // 1000))]).astype(np.int64)
    return _Tables(
        starts=starts,
        states=states,
        pieces=pieces,
        rejected=rejected,
        # A piece that is done as its phase ends was made in that phase.
        piece_phase=np.searchsorted(starts, pieces, side="left") - 1,
        reject_sums=np.concatenate([[0], np.cumsum(rejected)]).astype(np.int64),
        power=power.astype(np.int64),
        work=work,
    )


def _offsets(machine: Machine, t: Instants | int) -> Instants:
    return np.asarray(t, np.int64) - machine.anchor


def _phases_at(machine: Machine, offsets: Instants) -> NDArray[np.intp]:
    found = np.searchsorted(_tables(machine).starts, offsets, side="right") - 1
    return np.maximum(np.asarray(found), 0)


def state_at(machine: Machine, t: Instants | int) -> Instants:
    """Return the raw state value at each instant; before its anchor a machine is in its first phase."""
    return np.asarray(_tables(machine).states[_phases_at(machine, _offsets(machine, t))])


def product_at(machine: Machine, t: Instants | int) -> list[str]:
    """Return the name of the product set up at each instant."""
    return [machine.phases[i].product for i in np.atleast_1d(_phases_at(machine, _offsets(machine, t)))]


def counts_at(machine: Machine, t: Instants | int) -> dict[str, Instants]:
    """Return the counters total, good and reject [pieces] at each instant; a piece counts from its end on."""
    tables = _tables(machine)
    made = np.asarray(np.searchsorted(tables.pieces, _offsets(machine, t), side="right"))
    total = machine.total_start + made.astype(np.int64)
    reject = machine.reject_start + np.asarray(tables.reject_sums[made])
    return {"total": total, "good": total - reject, "reject": reject}


def energy_at(machine: Machine, t: Instants | int) -> Instants:
    """Return the cumulative meter's reading [0.01 kWh] at each instant."""
    tables = _tables(machine)
    offsets = np.maximum(_offsets(machine, t), 0)
    phase = _phases_at(machine, offsets)
    work = tables.work[phase] + tables.power[phase] * ((offsets - tables.starts[phase]) // 1000)
    return np.asarray(machine.meter_start + work // _STEP_WUS)


def meter_steps(machine: Machine) -> Instants:
    """Return the offsets [ns] at which the meter steps, each at the first microsecond that shows it."""
    tables = _tables(machine)
    goals = np.arange(1, tables.work[-1] // _STEP_WUS + 1, dtype=np.int64) * _STEP_WUS
    phase = np.searchsorted(tables.work, goals, side="left") - 1
    lacking = goals - tables.work[phase]
    return np.asarray(tables.starts[phase] + -(-lacking // tables.power[phase]) * 1000)


@dataclass(frozen=True, slots=True)
class Pieces:
    """What a machine makes in its whole run, in parallel arrays in the order of time."""

    done: Instants
    """When the piece is done (offset) [ns]."""
    rejected: NDArray[np.bool_]
    product: NDArray[np.str_]


def pieces(machine: Machine) -> Pieces:
    """Return every piece that the machine makes."""
    tables = _tables(machine)
    names = np.array([phase.product for phase in machine.phases])
    return Pieces(tables.pieces, tables.rejected, names[tables.piece_phase])

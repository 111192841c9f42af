"""An invented discrete plant with known truth: eight machines on two lines, over three protocols.

Every machine rests in state idle for the first and the last `REST` of the run, so that a window from one rest
to the other cuts no piece and no kWh in two.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from connectors.sim.machine import (
    DELAY,
    IDLE,
    PLANNED,
    PRODUCTION,
    SETUP,
    Machine,
    Phase,
    Product,
)

REST = 3_000_000_000
"""The rest at each end of the run [ns]."""

GRID = 10_000_000
"""Every phase starts on a multiple of this [ns] after the anchor."""

SHORTEST = 16_000_000_000
"""The shortest run [ns] in which each machine goes through all its phases."""

SECOND = 1_000_000_000

BRACKET, FLANGE = "BR-100", "FL-200"
IDEAL_CYCLES = {BRACKET: 350_000_000, FLANGE: 250_000_000}
"""Planned run time per item of each product [ns], the same on every machine."""

PRESSES = tuple(f"line1/press{n}" for n in (1, 2, 3, 4))
MILLS = tuple(f"line2/mill{n}" for n in (1, 2, 3))
ROBOT = "line2/robot1"
SHORT_TOTAL = "line2/mill1"
"""The machine whose counter has 16 bits."""

_CHANGEOVER = ((PRODUCTION, 0), (DELAY, 0), (PRODUCTION, 0), (SETUP, 1), (PRODUCTION, 1))
_ONE_PRODUCT = ((PRODUCTION, 0), (DELAY, 0), (PRODUCTION, 0), (PLANNED, 0), (PRODUCTION, 0))
_SHARES = (0.34, 0.10, 0.16, 0.16, 0.24)  # of the time between the rests


@dataclass(frozen=True, slots=True, kw_only=True)
class SimPlant:
    """The plant's machines, by the protocol that they speak, and the run [ns since 1970, UTC]."""

    start: int
    end: int
    presses: tuple[Machine, ...]
    """Over OPC UA."""
    mills: tuple[Machine, ...]
    """Over Modbus TCP, units 1, 2 and 3."""
    robot: Machine
    """Over MQTT."""

    @property
    def machines(self) -> tuple[Machine, ...]:
        """Every machine that is networked."""
        return (*self.presses, *self.mills, self.robot)

    @property
    def window(self) -> tuple[int, int]:
        """A window from the middle of one rest to the middle of the other [ns since 1970, UTC]."""
        return self.start + REST // 2, self.end - REST // 2


def build(start: int, duration: int, seed: int = 1) -> SimPlant:
    """Return the plant for a run of `duration` [ns] from `start` [ns since 1970, UTC]; one seed, one plant.

    The link of line1/press3 and the unit of line2/mill3 drop out and come back; both machines work on inside. The mill
    is out for more than half of the time: it is connected, and its data are no evidence.
    Raises ValueError for a run shorter than SHORTEST.
    """
    if duration < SHORTEST:
        raise ValueError(f"a run of {duration / SECOND} s is too short; take {SHORTEST // SECOND} s or more")
    busy = duration - 2 * REST
    outages = {
        "line1/press3": _span(busy, 0.40, 0.60),
        "line2/mill3": _span(busy, 0.12, 0.76),
    }
    seeds = np.random.default_rng(seed).integers(2**31, size=len(PRESSES) + len(MILLS) + 1)
    own_seed = dict(zip((*PRESSES, *MILLS, ROBOT), map(int, seeds), strict=True))

    def machine(asset: str) -> Machine:
        rng = np.random.default_rng(own_seed[asset])
        names = (BRACKET,) if asset in MILLS else (BRACKET, FLANGE)
        pattern = _ONE_PRODUCT if asset in MILLS else _CHANGEOVER
        total = 65_525 if asset == SHORT_TOTAL else int(rng.integers(1_000, 50_000))
        return Machine(
            asset=asset,
            anchor=start,
            phases=tuple(_phases(rng, busy, pattern, names)),
            products=tuple(_product(rng, name) for name in names),
            seed=own_seed[asset],
            total_start=total,
            reject_start=total // 25,
            meter_start=int(rng.integers(100_000, 900_000)),
            run_power=int(rng.integers(150, 250)) * 1000,
            ready_power=int(rng.integers(40, 60)) * 1000,
            outages=outages.get(asset, ()),
        )

    return SimPlant(
        start=start,
        end=start + duration,
        presses=tuple(map(machine, PRESSES)),
        mills=tuple(map(machine, MILLS)),
        robot=machine(ROBOT),
    )


def _span(busy: int, begin: float, end: float) -> tuple[tuple[int, int], ...]:
    return ((REST + _on_grid(busy * begin), REST + _on_grid(busy * end)),)


def _on_grid(ns: float) -> int:
    return round(ns / GRID) * GRID


def _product(rng: np.random.Generator, name: str) -> Product:
    ideal = IDEAL_CYCLES[name]
    return Product(name=name, ideal_cycle=ideal, cycle=_on_grid(ideal * rng.uniform(1.05, 1.3)))


def _phases(
    rng: np.random.Generator, busy: int, pattern: tuple[tuple[int, int], ...], names: tuple[str, ...]
) -> Iterator[Phase]:
    """Yield the rest, the pattern's phases with lengths around their shares, and the rest again."""
    weights = np.array(_SHARES) * rng.uniform(0.92, 1.08, len(_SHARES))
    edges = REST + busy * np.concatenate([[0], np.cumsum(weights / weights.sum())])
    yield Phase(start=0, state=IDLE, product=names[0])
    for (state, product), edge in zip(pattern, edges[:-1], strict=True):
        yield Phase(start=_on_grid(edge), state=state, product=names[product])
    yield Phase(start=REST + _on_grid(busy), state=IDLE, product=names[pattern[-1][1]])

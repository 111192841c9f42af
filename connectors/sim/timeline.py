"""The changes of a machine's points in the order of time, as a server with source timestamps says them."""

import asyncio
import datetime as dt
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from connectors.sim.machine import (
    METER_STEPS,
    Instants,
    Machine,
    counts_at,
    energy_at,
    meter_steps,
    pieces,
    product_at,
    state_at,
)

Value = int | float | str

ROLES = ("state", "total", "good", "reject", "energy", "product")


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def datetime_of(ns: int) -> dt.datetime:
    """Return `ns` [ns since 1970, UTC] as a datetime, cut to whole microseconds: it holds no finer ones."""
    return _EPOCH + dt.timedelta(microseconds=ns // 1000)


async def until(ts: int) -> None:
    """Sleep until the wall clock shows `ts` [ns since 1970, UTC]; return at once where it is past."""
    # A sleep follows another clock and may end early, so the wall clock decides.
    while (wait := ts - time.time_ns()) > 0:  # noqa: ASYNC110  there is no event that the clock sets
        await asyncio.sleep(wait / 1e9)


class Change(NamedTuple):
    """A point's new value at an instant [ns since 1970, UTC]; None while its link is out."""

    ts: int
    point: str
    value: Value | None


def values_at(machine: Machine, t: int) -> dict[str, Value]:
    """Return what each role truly reads at `t` [ns since 1970, UTC]; energy in [kWh]."""
    counts = counts_at(machine, t)
    return {
        "state": int(state_at(machine, t)),
        **{role: int(count) for role, count in counts.items()},
        "energy": int(energy_at(machine, t)) / METER_STEPS,
        "product": product_at(machine, t)[0],
    }


def is_out(machine: Machine, t: int) -> bool:
    """Return whether the machine's link is out at `t` [ns since 1970, UTC]."""
    return any(a <= t - machine.anchor < b for a, b in machine.outages)


def instants(machine: Machine) -> Instants:
    """Return every offset [ns] at which a value of the machine or its link changes, ascending."""
    starts = np.array([phase.start for phase in machine.phases[1:]], np.int64)
    edges = np.array([edge for outage in machine.outages for edge in outage], np.int64)
    return np.unique(np.concatenate([starts, pieces(machine).done, meter_steps(machine), edges]))


def changes(machine: Machine) -> Iterator[Change]:
    """Yield the first values at the anchor and then each change, in the order of time.

    When the link goes out every point turns None; when it is back every point says its value again, changed
    or not, with the instant of the return.
    """
    before: dict[str, Value | None] = dict.fromkeys(ROLES)
    was_out = False
    for offset in np.append(0, instants(machine)):
        ts = machine.anchor + int(offset)
        out = is_out(machine, ts)
        if out and was_out:
            continue
        now: dict[str, Value | None] = dict.fromkeys(ROLES) if out else {**values_at(machine, ts)}
        for role in ROLES:
            if now[role] != before[role] or out != was_out:
                yield Change(ts, f"{machine.name}.{role}", now[role])
        before, was_out = now, out

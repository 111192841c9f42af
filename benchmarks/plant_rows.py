"""Rows for benchmarks: of the simulated plant, and of the recordings beside the repository, as an agent takes them.

Nothing is read over sockets, so that hours of rows are there in a second. Times err as they do on a real gateway: a
poll is some milliseconds late, and each source is answered after a while of its own.
"""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from config.schema import SAMPLE, UTC_NS
from connectors.sim.machine import Instants, Machine, counts_at, energy_at, meter_steps, pieces, product_at, state_at
from connectors.sim.plant import SECOND, SimPlant, build
from kpis.calendar import to_ns
from tests.recordings import okuma, shared_data

START = to_ns(dt.datetime(2026, 11, 20, 6, tzinfo=dt.UTC))
POLL = 250_000_000
HEARTBEAT = 2_000_000_000
PUBLISH = 100_000_000
QUARTER = 90 * 96


def simulated(hours: float) -> pl.DataFrame:
    """Return the simulated plant's rows, sorted by when they came: 37 points, 250 ms polls, a heartbeat of 2 s."""
    plant = build(START, int(hours * 3600 * SECOND))
    frames = [*_opcua(plant), *_modbus(plant), *_mqtt(plant)]
    return pl.concat(frames).sort("ts_recv", maintain_order=True)


def recorded() -> dict[str, pl.DataFrame]:
    """Return the rows of the recordings by name; empty where they are not beside the repository."""
    folder = shared_data()
    if folder is None:
        return {}
    rng = np.random.default_rng(3)
    lathe = okuma(folder / "okuma.txt").filter(pl.col("value") != "UNAVAILABLE")
    machine = lathe.select("ts", point="item", value=pl.col("value"))
    meters = _steel(folder / "steel.csv")
    return {
        "okuma": _samples(machine, _published(machine["ts"].to_physical().to_numpy(), rng)),
        "steel": _samples(meters, _answered(meters["ts"].to_physical().to_numpy(), rng)),
    }


def _steel(path: Path) -> pl.DataFrame:
    """Return a quarter of all columns of steel.csv as (ts, point, value as text), each 15 minutes."""
    table = pl.read_csv(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), infer_schema=False).head(QUARTER)
    start = to_ns(dt.datetime(2018, 1, 1, tzinfo=dt.UTC))
    ends = start + pl.int_range(1, table.height + 1, dtype=pl.Int64) * 900_000_000_000
    columns = table.drop("date", "NSM").with_columns(ts=ends.cast(UTC_NS))
    return columns.unpivot(index="ts", variable_name="point").sort("ts")


def _samples(table: pl.DataFrame, received: Instants) -> pl.DataFrame:
    """Return a table (ts, point, value as text) as SAMPLE rows: points of whose values all are numbers have numbers."""
    number = pl.col("value").cast(pl.Float64, strict=False)
    numeric = number.is_not_null().all().over("point")
    columns = {
        "ts_recv": pl.Series(received).cast(UTC_NS),
        "value": pl.when(numeric).then(number),
        "text": pl.when(~numeric).then(pl.col("value")),
        "status": pl.lit(0, pl.UInt32),
    }
    return table.with_columns(**columns).select(list(SAMPLE)).sort("ts_recv", maintain_order=True)


def _published(ts: Instants, rng: np.random.Generator) -> Instants:
    """Return when rows come that a subscription publishes each 100 ms."""
    slot = ts // PUBLISH
    slots, of = np.unique(slot, return_inverse=True)
    return ((slots + 1) * PUBLISH + rng.integers(500_000, 3_000_000, len(slots)))[of]


def _answered(ts: Instants, rng: np.random.Generator) -> Instants:
    """Return when rows come that are read together, some milliseconds after their time."""
    times, of = np.unique(ts, return_inverse=True)
    return (times + rng.integers(1_000_000, 9_000_000, len(times)))[of]


def _polls(plant: SimPlant, seed: int) -> Instants:
    rng = np.random.default_rng(seed)
    due = np.arange(plant.start + seed * 7_000_000, plant.end, POLL, dtype=np.int64)
    return due + 200_000 + rng.exponential(700_000, len(due)).astype(np.int64)


def _opcua(plant: SimPlant) -> Iterator[pl.DataFrame]:
    """Yield rows whose source times are those of the last change, in microseconds."""
    sent = _polls(plant, 1)
    received = sent + np.random.default_rng(11).integers(900_000, 4_000_000, len(sent))
    server = sent // 1000 * 1000
    for machine in plant.presses:
        for name, values in _values(machine, server).items():
            since = _changed(machine, name, server)
            yield _stored(f"{machine.name}.{name}", values, since, received, server - POLL)


def _modbus(plant: SimPlant) -> Iterator[pl.DataFrame]:
    """Yield rows whose source time is that of their unit's answer."""
    sent = _polls(plant, 2)
    rng = np.random.default_rng(12)
    answered = sent.copy()
    received = sent + 1_800_000 + rng.integers(0, 900_000, len(sent))
    for machine in plant.mills:
        answered = answered + rng.integers(250_000, 600_000, len(sent))
        for name, values in _values(machine, answered).items():
            if name != "product":
                yield _stored(f"{machine.name}.{name}", values, answered, received, answered)


def _mqtt(plant: SimPlant) -> Iterator[pl.DataFrame]:
    """Yield rows that come as messages, with the time of their change in microseconds."""
    said = _polls(plant, 3) // 1000 * 1000
    received = said + np.random.default_rng(13).integers(2_000_000, 90_000_000, len(said))
    for name, values in _values(plant.robot, said).items():
        since = _changed(plant.robot, name, said)
        yield _stored(f"{plant.robot.name}.{name}", values, since, received, said)


def _values(machine: Machine, t: Instants) -> dict[str, NDArray[np.float64] | list[str]]:
    counts = counts_at(machine, t)
    return {
        "state": state_at(machine, t).astype(float),
        "total": counts["total"].astype(float),
        "reject": counts["reject"].astype(float),
        "energy": energy_at(machine, t) / 100,
        "product": product_at(machine, t),
    }


def _changed(machine: Machine, name: str, t: Instants) -> Instants:
    """Return when the value that stands at each instant began, as a server stamps it [ns]."""
    made = pieces(machine)
    began = {
        "total": made.done,
        "reject": made.done[made.rejected],
        "energy": meter_steps(machine),
    }.get(name, np.array([phase.start for phase in machine.phases], np.int64))
    last = np.searchsorted(began, t - machine.anchor, side="right") - 1
    return machine.anchor + np.append(began, 0)[last] // 1000 * 1000


def _stored(
    point: str, values: NDArray[np.float64] | list[str], ts: Instants, received: Instants, beat: Instants
) -> pl.DataFrame:
    """Return the rows that are kept of polled values: changes, and a heartbeat with the time `beat`."""
    column = np.array(values)
    index = np.arange(len(column))
    moved = np.append(True, column[1:] != column[:-1])
    run = index - np.maximum.accumulate(np.where(moved, index, 0))
    keep = run % (HEARTBEAT // POLL) == 0
    rows = int(keep.sum())
    text = not isinstance(values, np.ndarray)
    frame = {
        "point": pl.repeat(point, rows, eager=True),
        "ts": pl.Series(np.where(moved, ts, beat)[keep]).cast(UTC_NS),
        "ts_recv": pl.Series(received[keep]).cast(UTC_NS),
        "value": pl.Series(column[keep]) if not text else pl.repeat(None, rows, dtype=pl.Float64, eager=True),
        "text": pl.Series(column[keep]) if text else pl.repeat(None, rows, dtype=pl.String, eager=True),
        "status": pl.repeat(0, rows, dtype=pl.UInt32, eager=True),
    }
    return pl.DataFrame(frame).select(list(SAMPLE))

"""A generated lake as it lies after nightly merging: one file a UTC day, every machine with four points.

A machine's points are polled together and share their times. Nothing is missing, resets or rolls over, so that sums of
those who handle none of it can be held against ours.
"""

import datetime as dt
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from collector.sinks.merge import GROUP_ROWS
from collector.sinks.parquet import SCHEMA_VERSION
from collector.sinks.parquet_file import Effort, Writer
from config.lakefiles import file_name
from config.plant import Asset, Calendar, Plant, Point, Shift
from config.schema import SAMPLE
from kpis.calendar import to_ns

START = to_ns(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
"""The first day [ns since 1970, UTC]."""
DAY_S = 86_400
SECOND = 1_000_000_000
POINTS = ("energy", "good", "state", "total")
"""Ends of the ids of a machine's points, sorted."""
STATES = {"1": "production", "2": "setup", "3": "delay", "4": "idle", "5": "planned"}
JITTER = 50_000_000
"""A poll is late by up to this much [ns]."""
BATCH_S = 60
"""The agent wrote a file so often, and whole files make a row group [s]."""
WRITER = "gw1-00000000"

Numbers = NDArray[np.float64]
Ints = NDArray[np.int64]


def plant_of(machines: int = 20) -> Plant:
    """Return the plant: three shifts around the clock, counters with a modulus and a highest rate."""
    ids = [f"line{n // 10 + 1}/m{n:03}" for n in range(machines)]
    shifts = (("早班", 6, 14), ("中班", 14, 22), ("夜班", 22, 6))
    return Plant(
        id="bench",
        timezone="Asia/Shanghai",
        day_start=dt.time(6),
        assets=tuple(Asset(asset=one, ideal_cycle=0.95 * _cycle(n)) for n, one in enumerate(ids)),
        points=tuple(_point(one, end) for one in ids for end in POINTS),
        calendars=(Calendar(shifts=tuple(Shift(name=n, start=dt.time(a), end=dt.time(b)) for n, a, b in shifts)),),
        states={"default": STATES},
    )


def _point(machine: str, end: str) -> Point:
    if end == "energy":
        return Point(point=f"{machine}.{end}", asset=machine, role="energy.electricity", unit="kWh", max_rate=1)
    if end == "state":
        return Point(point=f"{machine}.{end}", asset=machine, role=end)
    return Point(point=f"{machine}.{end}", asset=machine, role=end, modulus=2**32, max_rate=10)


def _cycle(machine: int) -> float:
    """Return how long a piece takes [s]."""
    return 2.0 + machine % 10 * 1.7


def write_lake(
    folder: Path, days: int, machines: int = 20, hz: int = 1, *, by_point: bool = False, thorough: bool = False
) -> Plant:
    """Write a lake of so many days into `folder`; returns its plant."""
    lake = Lake(folder, machines, hz, by_point=by_point, thorough=thorough)
    for _ in range(days):
        lake.add_day()
    return lake.plant


def day_of(machines: int) -> pl.DataFrame:
    """Return the rows of a day, in the order in which they came."""
    lake = Lake(Path(), machines)
    return pl.concat(list(lake.groups(START))).sort("ts_recv", maintain_order=True)


class Lake:
    """A lake that grows by a day at a time, in memory bounded by a day's numbers."""

    def __init__(
        self, folder: Path, machines: int = 20, hz: int = 1, *, by_point: bool = False, thorough: bool = False
    ) -> None:
        """Take where to write, and how many machines are polled so many times a second.

        by_point: a row group is a day of one point, rather than a while of all of them.
        thorough: compress as merging does, which takes several times as long; the values' encodings may differ.
        """
        self.plant = plant_of(machines)
        self.folder, self._hz, self._by_point, self._thorough = folder, hz, by_point, thorough
        self._counted = np.zeros((machines, len(POINTS)))
        self.days = 0

    def add_day(self) -> None:
        """Write the next day's file."""
        start = START + self.days * DAY_S * SECOND
        folder = self.folder / "samples" / f"date={dt.date(2026, 1, 1) + dt.timedelta(days=self.days)}"
        folder.mkdir(parents=True)
        batches = DAY_S // BATCH_S
        first, last = self.days * batches + 1, (self.days + 1) * batches
        with (folder / file_name(WRITER, first, last, 1, 1)).open("wb") as file:
            writer = Writer(
                file, self._about(first, last), effort=Effort.SETTLED if self._thorough else Effort.LIVE, ordered=True
            )
            for group in self.groups(start):
                writer.append(group)
            writer.finish()
        self.days += 1

    def _about(self, first: int, last: int) -> dict[str, str]:
        about = {"plant": self.plant.id, "agent": "gw1", "writer": WRITER, "sequences": f"{first}-{last}"}
        about |= {"version": importlib.metadata.version("plantproof"), "schema": SCHEMA_VERSION}
        return {f"plantproof.{key}": text for key, text in about.items()}

    def groups(self, start: int) -> Iterator[pl.DataFrame]:
        """Yield a day's row groups, each sorted by point, ts and ts_recv."""
        rng = np.random.default_rng(start // SECOND)
        machines, polls = len(self._counted), DAY_S * self._hz
        due = start + np.arange(polls) * (SECOND // self._hz)
        ts = due + rng.integers(0, JITTER, (machines, polls))
        received = ts + rng.integers(1_000_000, 9_000_000, (machines, polls))
        values = np.stack([self._values(n, polls, rng) for n in range(machines)])
        ids = [point.point for point in self.plant.points]
        if self._by_point:
            for n, point in enumerate(ids):
                machine, end = divmod(n, len(POINTS))
                yield _frame([point], ts[[machine]], received[[machine]], values[[machine], end])
            return
        batch = BATCH_S * self._hz
        length = GROUP_ROWS // (len(ids) * batch) * batch or batch
        for begin in range(0, polls, length):
            part = slice(begin, begin + length)
            four = [np.repeat(column[:, part], len(POINTS), axis=0) for column in (ts, received)]
            yield _frame(ids, *four, values[:, :, part])

    def _values(self, machine: int, polls: int, rng: np.random.Generator) -> Numbers:
        """Return a machine's numbers in the order of POINTS: kWh, good pieces, state, pieces."""
        step = 1 / self._hz
        state = _states(polls, step, rng)
        runs = state == 1
        made = np.floor(np.cumsum(runs) * step / _cycle(machine))
        good = np.cumsum(np.diff(made, prepend=0) * (rng.random(polls) < 0.97))
        power = np.where(runs, 12.0, 2.0) * rng.uniform(0.9, 1.1, polls)
        energy = np.cumsum(power) * step / 3600
        at = self._counted[machine]
        columns = np.stack([np.round(at[0] + energy, 2), at[1] + good, state, at[3] + made])
        self._counted[machine] += [energy[-1], good[-1], 0, made[-1]]
        return columns


def _states(polls: int, step: float, rng: np.random.Generator) -> Numbers:
    """Return the state of each poll: production for a quarter of an hour in the mean, and something else for three."""
    n = int(DAY_S / 300)
    lengths = np.stack([rng.exponential(900, n), rng.exponential(180, n)], axis=1).ravel()
    states = np.stack([np.ones(n), rng.choice([2.0, 3.0, 4.0, 5.0], n, p=[0.2, 0.6, 0.15, 0.05])], axis=1).ravel()
    ends = np.cumsum(lengths)
    return states[np.searchsorted(ends, np.arange(polls) * step, "right") % len(states)]


def _frame(ids: list[str], ts: Ints, received: Ints, values: Numbers) -> pl.DataFrame:
    """Return a SAMPLE frame of points' rows one after the other."""
    rows = values.size
    points = pl.Series(ids).gather(np.repeat(np.arange(len(ids)), rows // len(ids)))
    frame = pl.DataFrame({"point": points, "ts": ts.ravel(), "ts_recv": received.ravel(), "value": values.ravel()})
    frame = frame.with_columns(text=pl.lit(None, pl.String), status=pl.lit(0))
    return frame.select(pl.col(name).cast(dtype) for name, dtype in SAMPLE.items())

"""What a day in the lake takes, from the rows of a short run: bytes a sample, and the CPU of merging.

A merged file's row groups are a while of all points, 65,536 rows; a short run of few points has fewer. So seconds of
the run are drawn at random until there are rows for two row groups, each put a little off its time, as polls are; the
values go on walking. The lake's own sink writes and merges them.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from collector.delivery import WRITE_ROWS
from collector.ledger import Ledger
from collector.quarantine import Quarantine
from collector.sinks.merge import GROUP_ROWS
from collector.sinks.parquet import FAN, Sink
from config.plant import Plant
from config.plant import Sink as SinkConfig
from config.schema import SAMPLE, UTC_NS

DAY_S, SECOND = 86_400, 1_000_000_000
WRITE_S = 60
"""How often the sink writes by default [s]."""
JITTER_NS = 20_000_000
MARGIN_S = 60
"""So long after the day's beginning rows begin [s]: a source's time may lie before that of its receipt."""
FIRST, STEPS = 30_000, (1, 20)
"""Where values begin, and their least and longest step between two rows [tenths]."""


def rewrites(rate: float) -> int:
    """Return how often merging writes a row anew in a day of so many rows a second: each factor of 8, and the day."""
    writes = max(DAY_S / WRITE_S, rate * DAY_S / WRITE_ROWS)
    return int(math.log(writes, FAN)) + 1


@dataclass(frozen=True, slots=True)
class Merging:
    """What merging a row takes."""

    within_s: float
    """CPU of a merge within the day [s]."""
    settled_s: float
    """CPU of the last merge, when the day is over [s]."""
    row_b: float
    """What the row takes on disk after the last merge [B]."""

    def cpu_s(self, rate: float) -> float:
        """Return the CPU of all merges of a row in a day of so many rows a second [s]."""
        return (rewrites(rate) - 1) * self.within_s + self.settled_s


def merged(samples: pl.DataFrame, folder: Path) -> Merging:
    """Measure what merging rows takes; `folder` is empty."""
    rows = _prolonged(samples)
    within_s, _ = _merge(rows, folder / "within", later=0)
    settled_s, row_b = _merge(rows, folder / "settled", later=2 * DAY_S * SECOND)
    return Merging(within_s, settled_s, row_b)


def _merge(rows: pl.DataFrame, folder: Path, *, later: int) -> tuple[float, float]:
    """Return what merging a row takes [s of CPU] and what it takes on disk [B] for a sink whose clock is later [ns]."""
    folder.mkdir(parents=True)
    ledger = Ledger(folder / "ledger.jsonl")
    quarantine = Quarantine(folder / "quarantine", ledger)
    config = SinkConfig(kind="parquet", path=folder / "lake")
    sink = Sink(config, Plant(id="sizing"), agent="a", spool="0" * 8, ledger=ledger, quarantine=quarantine)
    sink.clock = lambda: time.time_ns() + later
    sink.start(())
    for number in range(FAN):
        sink.write(rows.slice(number * len(rows) // FAN, len(rows) // FAN), number + 1, number + 1)
    began = time.process_time()
    while sink.upkeep(FAN):
        pass
    spent = time.process_time() - began
    (file,) = folder.rglob("*.parquet")
    return spent / len(rows), file.stat().st_size / len(rows)


def _prolonged(samples: pl.DataFrame) -> pl.DataFrame:
    """Return two row groups' rows of one UTC day, in the order in which they came."""
    random = np.random.default_rng(1)
    seconds = samples.with_columns(second=pl.col("ts_recv").to_physical() // SECOND).partition_by("second")
    most = 2 * GROUP_ROWS
    drawn, rows = [], 0
    while rows < most:
        one = seconds[random.integers(len(seconds))]
        start = one["second"][0] * SECOND
        to = (MARGIN_S + len(drawn)) * SECOND + int(random.integers(JITTER_NS))
        moved = (pl.col("ts", "ts_recv").to_physical() - start % (DAY_S * SECOND) + to).cast(UTC_NS)
        drawn.append(one.with_columns(moved))
        rows += len(one)
    joined = pl.concat(drawn).head(most)
    steps = random.integers(*STEPS, most) * random.choice((-1, 1), most)
    walk = joined.with_columns(step=pl.Series(steps))
    return walk.with_columns(value=(pl.col("step").cum_sum().over("point") + FIRST) / 10).select(list(SAMPLE))

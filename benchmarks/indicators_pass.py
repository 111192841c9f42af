"""The device list behind the networking rate, from the lake, against a plain scan of the same columns.

One machine never answers: its rows say BadNoCommunication, and are looked at again to tell it from one that answers
with errors. Each contender runs alone in a process of its own, in turns; the best time and the highest peak of memory
count. `python -m benchmarks.indicators_pass --days 60` measures a longer lake.
"""

import argparse
import datetime as dt
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl

from benchmarks.kpi_lake import DAY_S, POINTS, SECOND, START, plant_of, write_lake
from benchmarks.kpi_pass import COLUMNS, DAY_NS, Figures, Run, by_itself, rounds, seconds, tell
from collector.sinks.parquet_file import Writer
from config.lakefiles import file_name
from config.plant import Plant
from config.schema import SAMPLE
from config.status import BAD_NO_COMMUNICATION
from kpis import stores
from kpis.indicators.networking import devices_of_store

DAYS, MACHINES = 10, 20
FLAT_DAYS, FLAT_MACHINES = 60, 5
"""The longer period over which memory must stay as it is, and how many machines then."""
HEARTBEAT_S = 60
SILENT_ROWS = len(POINTS) * DAY_S // HEARTBEAT_S
"""Rows a day of the machine that never answers."""


def with_silent(machines: int) -> Plant:
    """Return the plant with one machine more, whose data the lake's own plant does not have."""
    return plant_of(machines + 1)


def write(folder: Path, days: int, machines: int) -> None:
    """Write a lake of so many days, and each day the rows of a machine that never answers."""
    write_lake(folder, days, machines)
    ids = sorted(point.point for point in with_silent(machines).points)[-len(POINTS) :]
    for day in range(days):
        date = dt.date(2026, 1, 1) + dt.timedelta(days=day)
        due = pl.Series(range(0, DAY_S, HEARTBEAT_S)) * SECOND + START + day * DAY_NS
        rows = pl.DataFrame({"point": ids}).join(pl.DataFrame({"ts": due}), how="cross")
        full = rows.with_columns(
            ts_recv=pl.col("ts"), value=pl.lit(None), text=pl.lit(None), status=pl.lit(BAD_NO_COMMUNICATION)
        )
        path = folder / "samples" / f"date={date}" / file_name("gw2-00000000", day + 1, day + 1, 1, 1)
        with path.open("wb") as file:
            writer = Writer(file, {}, ordered=True)
            writer.append(full.select(pl.col(name).cast(kind) for name, kind in SAMPLE.items()))
            writer.finish()


def _scan(plant: Plant, lake: Path, days: int) -> None:
    paths = sorted((lake / "samples").glob("*/*.parquet"))[: 2 * days]
    scan = pl.scan_parquet(paths, hive_partitioning=False, glob=False).select(COLUMNS)
    full = (len(plant.points) - len(POINTS)) * days * DAY_S
    if sum(batch.height for batch in scan.collect_batches()) != full + SILENT_ROWS * days:
        raise AssertionError(f"{lake}: not every row was read")


def _devices(plant: Plant, lake: Path, days: int) -> None:
    listed = devices_of_store(plant, stores.Lake(lake), START, START + days * DAY_NS)
    if listed["evidenced"].to_list() != [True] * (len(plant.assets) - 1) + [False] or listed["connected"][-1]:
        raise AssertionError(f"{listed}: not the devices that were written")


CONTENDERS: dict[str, Callable[[Plant, Path, int], None]] = {"plain scan": _scan, "device list": _devices}


def alone(name: str, lake: Path, machines: int, days: int) -> Run:
    """Run a contender in a process of its own."""
    return by_itself("benchmarks.indicators_pass", name, lake, machines, days)


def measure(days: int = DAYS, machines: int = MACHINES, flat: tuple[int, int] = (FLAT_DAYS, FLAT_MACHINES)) -> Figures:
    """Return seconds and peaks of each contender, their ratio, and our peak over a longer period.

    flat: days and machines of the longer period.
    """
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), days, machines)
        figures = of_lake(Path(folder), days, machines)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), *flat)
        short, long = (max(alone("device list", Path(folder), flat[1], n).peak for _ in range(2))
                       for n in (min(DAYS, flat[0]), flat[0]))  # fmt: skip
    figures[f"peak, {flat[1]} machines, {flat[0]} days / {min(DAYS, flat[0])} days"] = (
        long / short,
        "",
        "1.1 to reach",
    )
    return figures


def of_lake(lake: Path, days: int, machines: int) -> Figures:
    """Return every contender's figures on a lake."""
    runs = rounds(CONTENDERS, lambda name: alone(name, lake, machines, days))
    figures, best = seconds(runs, (machines * len(POINTS) * DAY_S + SILENT_ROWS) * days)
    figures["device list / plain scan"] = (best["device list"] / best["plain scan"], "", "2.5 to reach")
    for name, done in runs.items():
        figures[f"{name}: peak of memory"] = (max(run.peak for run in done), "GB", "")
    return figures


def main() -> None:
    """Measure with other numbers of days and machines, or run one contender alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--machines", type=int, default=MACHINES)
    parser.add_argument("--flat-days", type=int, default=FLAT_DAYS)
    parser.add_argument("--flat-machines", type=int, default=FLAT_MACHINES)
    parser.add_argument("--lake", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--alone", choices=CONTENDERS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        plant = with_silent(asked.machines)
        tell(lambda: CONTENDERS[asked.alone](plant, asked.lake, asked.days))
        return
    for name, (measured, unit, against) in measure(
        asked.days, asked.machines, (asked.flat_days, asked.flat_machines)
    ).items():
        print(f"{name:44} {measured:10.4g} {unit:3} {against}")


if __name__ == "__main__":
    main()

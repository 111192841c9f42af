"""What a package takes from samples alone, of ten machines over a year, against a plain scan of the same columns.

Each machine has six points that report changes, and each minute without one the value again, as an agent's deadbands
and heartbeats leave it. A machine stands still without a word now and then, so that there are gaps. Each contender runs
alone in a process of its own, in turns; the best time and the highest peak of memory count.
`python -m benchmarks.evidence_build --days 365` measures a year.
"""

import argparse
import datetime as dt
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.kpi_lake import DAY_S, SECOND, START, STATES, WRITER, Ints, Numbers
from benchmarks.kpi_pass import COLUMNS, DAY_NS, Figures, Run, by_itself, rounds, seconds, tell
from collector.sinks.merge import GROUP_ROWS
from collector.sinks.parquet_file import Writer
from config.lakefiles import file_name
from config.plant import Asset, Calendar, Plant, Point, Shift, Source
from config.schema import SAMPLE
from kpis import stores
from kpis.evidence.sampled import traces_of
from kpis.intervals import Bools

DAYS, MACHINES = 60, 10
FLAT_DAYS = 180
"""The longer period over which memory must stay as it is."""
ROLES = ("energy.electricity", "good", "reject", "state", "temperature", "total")
HEARTBEAT_S = 60
LINK_DOWN_S = 900
"""Each day a machine's link is down for so long."""


def plant_of(machines: int) -> Plant:
    """Return the plant: three shifts with breaks, six points a machine."""
    ids = [f"line{n // 5 + 1}/m{n:02}" for n in range(machines)]
    pauses = {6: 10, 14: 18, 22: 2}
    shifts = tuple(
        Shift.model_validate(
            {"name": name, "start": dt.time(a), "end": dt.time(b),
             "breaks": [{"start": dt.time(pauses[a]), "end": dt.time(pauses[a], 30)}]}
        )
        for name, a, b in (("早班", 6, 14), ("中班", 14, 22), ("夜班", 22, 6))
    )  # fmt: skip
    return Plant(
        id="bench",
        timezone="Asia/Shanghai",
        day_start=dt.time(6),
        sources=(Source(id="line", kind="opcua", url="opc.tcp://127.0.0.1:4840", security="None"),),
        assets=tuple(Asset(asset=one, ideal_cycle=20.0) for one in ids),
        points=tuple(_point(one, role) for one in ids for role in ROLES),
        calendars=(Calendar(shifts=shifts),),
        states={"default": STATES},
    )


def _point(machine: str, role: str) -> Point:
    of = {"energy.electricity": {"unit": "kWh", "max_rate": 1}, "temperature": {"role": "measure", "unit": "Cel"}}
    return Point(
        **{"point": f"{machine}.{role}", "asset": machine, "role": role, "source": "line", "address": role,
           "heartbeat": HEARTBEAT_S * SECOND} | of.get(role, {})
    )  # fmt: skip


def write(folder: Path, days: int, machines: int) -> int:
    """Write a lake of so many days, one merged file each; returns how many rows it has."""
    plant, rows = plant_of(machines), 0
    for day in range(days):
        start = START + day * DAY_NS
        path = folder / "samples" / f"date={dt.date(2026, 1, 1) + dt.timedelta(days=day)}"
        path.mkdir(parents=True)
        with (path / file_name(WRITER, day + 1, day + 1, 1, 1)).open("wb") as file:
            writer = Writer(file, {}, ordered=True)
            for group in _groups(plant, start, day):
                writer.append(group)
                rows += group.height
            writer.finish()
    return rows


def _groups(plant: Plant, start: int, day: int) -> Iterator[pl.DataFrame]:
    """Yield a day's row groups: each a while of all points, sorted by point and time."""
    frames = [frame for n, asset in enumerate(plant.assets) for frame in _machine(plant, asset, start, day, n)]
    whole = pl.concat(frames)
    many = -(-whole.height // (GROUP_ROWS - 4096))
    of = (pl.col("ts").to_physical() - start) * many // DAY_NS
    for group in range(many):
        yield whole.filter(of == group).sort("point", "ts", "ts_recv")


def _machine(plant: Plant, asset: Asset, start: int, day: int, n: int) -> Iterator[pl.DataFrame]:
    """Yield a machine's rows of a day, point by point."""
    rng = np.random.default_rng([day, n])
    at = np.arange(DAY_S)
    runs = (at // 900 + rng.integers(0, 5, DAY_S // 900 + 1)[at // 900]) % 5 > 0
    made = np.cumsum(runs & (at % 20 == 0)).astype(float)
    columns: dict[str, Numbers] = {
        "energy.electricity": np.round(np.cumsum(np.where(runs, 12.0, 2.0)) / 3600, 1),
        "good": made - made // 40,
        "reject": made // 40,
        "state": np.where(runs, 1.0, 3.0),
        "temperature": np.round(40 + np.cumsum(rng.normal(0, 0.02, DAY_S))),
        "total": made,
    }
    down = np.abs(at - 3600 * (n + 1.7)) < LINK_DOWN_S / 2
    for point in plant.points_of(asset.asset):
        value = columns[point.point.rpartition("/")[2].partition(".")[2]]
        yield _rows(point.point, start, value, down, int(rng.integers(HEARTBEAT_S)))


def _rows(point: str, start: int, value: Numbers, down: Bools, beat: int) -> pl.DataFrame:
    changed = np.append(True, value[1:] != value[:-1])
    told: Ints = np.flatnonzero((changed | (np.arange(DAY_S) % HEARTBEAT_S == beat)) & ~down)
    ts = start + told * SECOND + (told * 7919 % 1000) * 1_000_000
    frame = pl.DataFrame({"ts": ts, "ts_recv": ts + 3_000_000 + told % 977 * 1000, "value": value[told]})
    full = frame.with_columns(point=pl.lit(point), text=pl.lit(None), status=pl.lit(0))
    return full.select(pl.col(name).cast(kind) for name, kind in SAMPLE.items())


def _scan(plant: Plant, lake: Path, days: int) -> int:
    paths = sorted((lake / "samples").glob("*/*.parquet"))[:days]
    scan = pl.scan_parquet(paths, hive_partitioning=False, glob=False).select(COLUMNS)
    return sum(batch.height for batch in scan.collect_batches())


def _traces(plant: Plant, lake: Path, days: int) -> int:
    listed, traces = traces_of(plant, stores.Lake(lake), START, START + days * DAY_NS)
    if not listed["evidenced"].all() or traces.gaps.height < days * len(plant.assets):
        raise AssertionError(f"{listed}: not the devices that were written")
    return traces.samples


CONTENDERS: dict[str, Callable[[Plant, Path, int], int]] = {"plain scan": _scan, "traces": _traces}


def alone(name: str, lake: Path, machines: int, days: int) -> Run:
    """Run a contender in a process of its own."""
    return by_itself("benchmarks.evidence_build", name, lake, machines, days)


def measure(days: int = DAYS, machines: int = MACHINES, flat: int = FLAT_DAYS) -> Figures:
    """Return seconds, samples a second and peaks of each contender, and our peak over a longer period [days]."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), max(days, flat), machines)
        figures = of_lake(Path(folder), days, machines)
        short, long = (max(alone("traces", Path(folder), machines, n).peak for _ in range(2)) for n in (days, flat))
    figures[f"traces: peak, {flat} days / {days} days"] = (long / short, "", "1.1 to reach")
    return figures


def of_lake(lake: Path, days: int, machines: int) -> Figures:
    """Return every contender's figures on a lake."""
    rows = _scan(plant_of(machines), lake, days)
    runs = rounds(CONTENDERS, lambda name: alone(name, lake, machines, days))
    figures, best = seconds(runs, rows)
    figures["samples a second"] = (rows / best["traces"], "1/s", f"{rows / days * 365 / 1e6:.0f} M a year")
    figures["a year of it"] = (best["traces"] / days * 365, "s", "20 to reach")
    for name, done in runs.items():
        figures[f"{name}: peak of memory"] = (max(run.peak for run in done), "GB", "")
    return figures


def main() -> None:
    """Measure with other numbers of days and machines, or run one contender alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--machines", type=int, default=MACHINES)
    parser.add_argument("--flat-days", type=int, default=FLAT_DAYS)
    parser.add_argument("--lake", type=Path, help="a lake that is there already, of so many days and machines")
    parser.add_argument("--alone", choices=CONTENDERS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        plant = plant_of(asked.machines)
        tell(lambda: CONTENDERS[asked.alone](plant, asked.lake, asked.days))
        return
    if asked.lake:
        figures = of_lake(asked.lake, asked.days, asked.machines)
    else:
        figures = measure(asked.days, asked.machines, asked.flat_days)
    for name, (measured, unit, against) in figures.items():
        print(f"{name:44} {measured:10.4g} {unit:3} {against}")


if __name__ == "__main__":
    main()

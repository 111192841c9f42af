"""The full pass from the lake to facts against a plain scan of the same columns, DuckDB and pandas, on the same lake.

The others compute simple inputs of OEE (per machine and hour: seconds in production, pieces, good pieces, energy) with
no handling of gaps, shifts, rollovers, resets and repeated rows; their sums are held against our facts. Each runs alone
in a process of its own, in turns; the best time and the highest peak of memory count.
`python -m benchmarks.kpi_pass --days 60` measures a longer lake.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.kpi_lake import DAY_S, POINTS, SECOND, START, Lake, plant_of, write_lake
from config.plant import Plant
from config.schema import MICRO
from kpis import stores
from kpis.factstore import FactStore
from kpis.partitions import of_store

DAYS, MACHINES = 10, 20
FLAT_DAYS, FLAT_MACHINES = 60, 5
"""The longer period over which memory must stay as it is, and how many machines then."""
YEAR, YEAR_MACHINES = 365, 2
ROUNDS = 3
COLUMNS = ["point", "ts", "value", "status"]
DAY_NS = DAY_S * SECOND
HOUR_NS = 3600 * SECOND
MOST = {"production": 2.2, "total": 1.0, "good": 1.0, "energy": 0.011}
"""So far an hour's sums may differ: a sample at either border lies half in the hour before [s, pieces, pieces, kWh]."""

Figures = dict[str, tuple[float, str, str]]


def ours(plant: Plant, lake: Path, start: int, end: int) -> pl.DataFrame:
    """Return the facts of [start, end) [ns]."""
    return of_store(plant, stores.Lake(lake), start, end).facts


def _ours(plant: Plant, lake: Path, days: int) -> pl.DataFrame:
    found = ours(plant, lake, START, START + days * DAY_NS)
    sums = found.group_by("asset", pl.col("hour").to_physical() // HOUR_NS).agg(
        production=pl.col("production").dt.total_nanoseconds().sum() / SECOND,
        total=pl.col("total").sum() / MICRO,
        good=pl.col("good").sum() / MICRO,
        energy=pl.col("energy.electricity").sum() / MICRO,
    )
    return sums.rename({"asset": "machine"})


def _scan(plant: Plant, lake: Path, days: int) -> None:
    """Read the columns batch by batch and let them go: faster than a frame of them all."""
    scan = pl.scan_parquet(_paths(lake, days), hive_partitioning=False, glob=False).select(COLUMNS)
    if sum(batch.height for batch in scan.collect_batches()) != len(plant.points) * days * DAY_S:
        raise AssertionError(f"{lake}: not every row was read")


_WINDOW = """
with steps as (
  select point, value, epoch_ns(ts) // 3600000000000 as hour,
    epoch_ns(lead(ts) over following) - epoch_ns(ts) as held, value - lag(value) over following as step
  from read_parquet($paths, hive_partitioning = false) where status = 0
  window following as (partition by point order by ts)
)
select point, hour, coalesce(sum(held) filter (value = 1), 0) / 1e9 as seconds, sum(step) as counted
from steps group by all
"""

_COUNTED = """
with hours as (
  select point, epoch_ns(ts) // 3600000000000 as hour, count(*) filter (value = 1) as seconds,
    arg_min(value, ts) as first, arg_max(value, ts) as last
  from read_parquet($paths, hive_partitioning = false) where status = 0 group by all
)
select point, hour, seconds::double as seconds, last - lag(last, 1, first) over (partition by point order by hour)
from hours
"""


def _duckdb(plant: Plant, lake: Path, days: int, query: str = _WINDOW) -> pl.DataFrame:
    """Take each sample until the next of its point."""
    import duckdb  # noqa: PLC0415  # each process loads its own contender alone

    rows = duckdb.connect().execute(query, {"paths": [str(path) for path in _paths(lake, days)]}).fetchall()
    return _wide(pl.DataFrame(rows, schema=["point", "hour", "seconds", "counted"], orient="row"))


def _duckdb_counting(plant: Plant, lake: Path, days: int) -> pl.DataFrame:
    """Take each sample for a second, and each hour's last number: right only where a point is polled each second."""
    return _duckdb(plant, lake, days, _COUNTED)


def _pandas(plant: Plant, lake: Path, days: int) -> pl.DataFrame:
    """Take a day at a time, with the last sample of each point from the day before."""
    import pandas as pd  # noqa: PLC0415

    def read(path: Path) -> pd.DataFrame:
        return pd.read_parquet(path, columns=COLUMNS, engine="pyarrow")

    return _grouped(lake, days, read, lambda rows: rows.sort_values(["point", "ts"]))


def _pandas_tuned(plant: Plant, lake: Path, days: int) -> pl.DataFrame:
    """Take ids as categories, and trust that a file holds each point's rows in the order of time."""
    import pandas as pd  # noqa: PLC0415

    kind = pd.CategoricalDtype([point.point for point in plant.points])

    def read(path: Path) -> pd.DataFrame:
        rows = pd.read_parquet(path, columns=COLUMNS, engine="pyarrow", read_dictionary=["point"])
        return rows.assign(point=rows["point"].astype(kind))

    return _grouped(lake, days, read, lambda rows: rows)


def _grouped(lake: Path, days: int, read: Callable[[Path], Any], in_order: Callable[[Any], Any]) -> pl.DataFrame:
    import pandas as pd  # noqa: PLC0415

    keys, seconds, counted, last = ["point", "hour"], [], [], None
    for path in _paths(lake, days):
        rows = read(path)
        rows = rows.loc[rows["status"] == 0, ["point", "ts", "value"]]
        rows = in_order(rows if last is None else pd.concat([last, rows], ignore_index=True))
        of_point = rows.groupby("point", observed=True, sort=False)
        last = of_point[["point", "ts", "value"]].tail(1)
        rows["step"] = of_point["value"].diff()
        rows["held"] = -of_point["ts"].diff(-1).dt.total_seconds()
        rows["hour"] = rows["ts"].dt.floor("h")
        seconds.append(rows[rows["value"] == 1].groupby(keys, observed=True)["held"].sum())
        counted.append(rows.groupby(keys, observed=True)["step"].sum())
    sums = [pd.concat(parts).groupby(level=[0, 1], observed=True).sum() for parts in (seconds, counted)]
    table = pd.DataFrame({"seconds": sums[0], "counted": sums[1]}).fillna(0).reset_index()
    hour = pl.Series(table["hour"].to_numpy("datetime64[ns]")).to_physical() // HOUR_NS
    columns = {name: table[name].to_numpy() for name in ("seconds", "counted")}
    return _wide(pl.DataFrame({"point": table["point"].astype(str).to_list(), "hour": hour, **columns}))


def _wide(rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row a machine and hour of rows (point, hour, seconds, counted)."""
    end, counted = pl.col("end"), pl.col("counted").fill_null(0)
    parts = pl.col("point").str.split_exact(".", 1).struct.rename_fields(["machine", "end"])
    sums = {name: counted.filter(end == name).sum() for name in ("total", "good", "energy")}
    seconds = pl.col("seconds").filter(end == "state").sum()
    return rows.with_columns(parts.struct.unnest()).group_by("machine", "hour").agg(production=seconds, **sums)


def _paths(lake: Path, days: int) -> list[Path]:
    return sorted((lake / "samples").glob("*/*.parquet"))[:days]


CONTENDERS: dict[str, Callable[[Plant, Path, int], pl.DataFrame | None]] = {
    "plain scan": _scan,
    "lake to facts": _ours,
    "DuckDB": _duckdb,
    "DuckDB, counting rows": _duckdb_counting,
    "pandas": _pandas,
    "pandas, tuned": _pandas_tuned,
}

GOALS = {
    "DuckDB": "3 to reach",
    "DuckDB, counting rows": "right at 1 Hz alone",
    "pandas": "10 to reach",
    "pandas, tuned": "right in merged files alone",
}


@dataclass(frozen=True)
class Run:
    """One run of a contender: wall time and CPU [s], peak of memory [GB], sums."""

    took: float
    cpu: float
    peak: float
    sums: pl.DataFrame | None = None


def alone(name: str, lake: Path, machines: int, days: int) -> Run:
    """Run a contender in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        sums = Path(folder) / "sums.parquet"
        command = [sys.executable, "-m", "benchmarks.kpi_pass", "--alone", name, "--lake", lake, "--sums", sums]
        command += ["--machines", str(machines), "--days", str(days)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return Run(*json.loads(done.stdout), pl.read_parquet(sums) if sums.exists() else None)


def _run(name: str, lake: Path, machines: int, days: int, sums: Path) -> None:
    plant = plant_of(machines)
    began, cpu = time.perf_counter(), time.process_time()
    found = CONTENDERS[name](plant, lake, days)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    most = peak()
    if found is not None:
        found.write_parquet(sums)
    print(json.dumps([took, cpu, most]))


def measure(days: int = DAYS, machines: int = MACHINES, flat: tuple[int, int] = (FLAT_DAYS, FLAT_MACHINES)) -> Figures:
    """Return seconds, peaks and sums of each contender, the ratios, and our peak over a longer period.

    flat: days and machines of the longer period.
    """
    with tempfile.TemporaryDirectory() as folder:
        lake = Path(folder) / "lake"
        write_lake(lake, days, machines)
        figures = of_lake(lake, days, machines)
    with tempfile.TemporaryDirectory() as folder:
        figures |= memory(Path(folder), *flat)
    with tempfile.TemporaryDirectory() as folder:
        return figures | new_day(Path(folder))


def rounds(contenders: Iterable[str], run: Callable[[str], Run]) -> dict[str, list[Run]]:
    """Return ROUNDS runs of each contender, taken in turn."""
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, done in runs.items():
            done.append(run(name))
    return runs


def seconds(runs: Mapping[str, Sequence[Run]], rows: int) -> tuple[Figures, dict[str, float]]:
    """Return each contender's best time as a figure, and alone [s]; rows: samples that each looked at."""
    best = {name: min(run.took for run in done) for name, done in runs.items()}
    cpu = {name: min(run.cpu for run in done) for name, done in runs.items()}
    return {name: (took, "s", f"{rows:,} samples, {cpu[name]:.1f} s of CPU") for name, took in best.items()}, best


def by_itself(module: str, name: str, lake: Path, machines: int, days: int) -> Run:
    """Run a benchmark's contender in a process of its own, which answers by `tell`."""
    command = [sys.executable, "-m", module, "--alone", name, "--lake", str(lake)]
    command += ["--machines", str(machines), "--days", str(days)]
    return Run(*json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


def tell(work: Callable[[], object]) -> None:
    """Work, and print what it took: time and CPU [s], peak of memory [GB]."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps([took, cpu, peak()]))


def peak() -> float:
    """Return the peak of this process alone [GB]; getrusage knows that of the process that started it as well."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e9


def of_lake(lake: Path, days: int, machines: int) -> Figures:
    """Return every contender's figures on a lake."""
    runs = rounds(CONTENDERS, lambda name: alone(name, lake, machines, days))
    figures, best = seconds(runs, machines * len(POINTS) * days * DAY_S)
    figures["lake to facts / plain scan"] = (best["lake to facts"] / best["plain scan"], "", "2.5 to reach")
    for name, goal in GOALS.items():
        figures[f"{name} / lake to facts"] = (best[name] / best["lake to facts"], "", goal)
    for name, done in runs.items():
        goal = "1.5 to reach" if name == "lake to facts" else ""
        figures[f"{name}: peak of memory"] = (max(run.peak for run in done), "GB", goal)
    facts = runs["lake to facts"][0].sums
    for name in GOALS:
        figures |= _agreement(name, runs[name][0].sums, facts)
    return figures


def _agreement(name: str, sums: pl.DataFrame, facts: pl.DataFrame) -> Figures:
    """Return how far an hour's sums are from our facts, in parts of what MOST allows."""
    joined = sums.join(facts, on=["machine", "hour"], how="full", suffix="_facts")
    apart = [(pl.col(column) - pl.col(f"{column}_facts")).abs().max() / most for column, most in MOST.items()]
    # An hour that one of the two does not have is null in its columns.
    whole = joined.select(pl.all_horizontal(pl.all().is_not_null()).all()).item()
    most = joined.select(pl.max_horizontal(apart)).item() if whole else float("inf")
    return {
        f"{name}: sums of an hour": (most, "", "1 at most" if most <= 1 else "WARNING: not as our facts; 1 at most")
    }


def memory(folder: Path, days: int, machines: int) -> Figures:
    """Return our peak over DAYS and over so many days of one lake."""
    write_lake(folder, days, machines)
    short, long = (max(alone("lake to facts", folder, machines, n).peak for _ in range(2)) for n in (DAYS, days))
    return {
        f"peak, {machines} machines, {DAYS} days": (short, "GB", ""),
        f"peak, {machines} machines, {days} days": (long, "GB", ""),
        f"peak, {days} days / {DAYS} days": (long / short, "", "1.1 to reach"),
    }


def new_day(folder: Path) -> Figures:
    """Return what a new day takes on a year of facts, against on one day of them, and what a year takes from facts."""
    lakes = {days: Lake(folder / f"{days} days", YEAR_MACHINES) for days in (1, YEAR)}
    took = {}
    for days, lake in lakes.items():
        for _ in range(days):
            lake.add_day()
        _amounts(lake, days)
        lake.add_day()
        took[days] = _seconds(lambda lake=lake, days=days: _amounts(lake, days + 1))  # type: ignore[misc]
    year = _seconds(lambda: _amounts(lakes[YEAR], YEAR))
    machines = f"{YEAR_MACHINES} machines"
    return {
        "a new day on a day of facts": (took[1], "s", machines),
        f"a new day on {YEAR} days of facts": (took[YEAR], "s", f"{machines}; reads all of the facts"),
        f"{YEAR} days from facts alone": (year, "s", machines),
    }


def _amounts(lake: Lake, days: int) -> None:
    FactStore(lake.plant, stores.Lake(lake.folder)).amounts(START, START + days * DAY_NS)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measure with other numbers of days and machines, or run one contender alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--machines", type=int, default=MACHINES)
    parser.add_argument("--flat-days", type=int, default=FLAT_DAYS)
    parser.add_argument("--flat-machines", type=int, default=FLAT_MACHINES)
    parser.add_argument("--lake", type=Path, help="a lake that is there already, of so many days and machines")
    parser.add_argument("--alone", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--sums", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        _run(asked.alone, asked.lake, asked.machines, asked.days, asked.sums)
        return
    if asked.lake:
        figures = of_lake(asked.lake, asked.days, asked.machines)
    else:
        figures = measure(asked.days, asked.machines, (asked.flat_days, asked.flat_machines))
    for name, (measured, unit, against) in figures.items():
        print(f"{name:44} {measured:10.4g} {unit:3} {against}")


if __name__ == "__main__":
    main()

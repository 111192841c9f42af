"""What an agent takes of a machine by the number of its points: in `make bench`, alone `python -m benchmarks.sizing`.

The agent is the real command in a process of its own; its sources are simulated devices in another one. Each row is one
run: the agent connects, takes all points once and settles; then CPU, memory, disk and network are taken over a steady
while. docs/sizing.md says how to read it; the tables there are written from the figures alone.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import polars as pl
from rich.console import Console

from benchmarks import mqtt_read, record
from benchmarks.reference import reference
from benchmarks.sizing_lake import DAY_S, merged, rewrites
from benchmarks.sizing_peers import FIELDS, serve
from benchmarks.sizing_table import REFERENCE, publish

ROOT = Path(__file__).parents[1]
STEADY_S, SETTLE_S, PATIENCE_S = 20.0, 2.0, 60.0
EVERY_S = 10
"""The sink writes this often [s], so that a steady while holds whole writes; the default of a minute takes less."""
ALL, USUAL = 1.0, 0.1
"""Shares of the points that change in each second."""
KINDS = {
    "modbus": "Modbus TCP",
    "opcua": "OPC UA, polled",
    "opcua-subscription": "OPC UA, subscription",
    "mqtt": "MQTT",
}
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    kind: str
    points: int
    share: float

    @property
    def name(self) -> str:
        return f"{KINDS[self.kind]}, {self.points:,} points, {self.share:.0%} change"


CASES = (
    Case("modbus", 100, USUAL),
    Case("modbus", 1_000, USUAL),
    Case("modbus", 5_000, USUAL),
    Case("modbus", 5_000, ALL),
    Case("modbus", 20_000, USUAL),
    Case("modbus", 20_000, ALL),
    Case("opcua", 5_000, USUAL),
    Case("opcua", 5_000, ALL),
    Case("opcua-subscription", 5_000, USUAL),
    Case("opcua-subscription", 5_000, ALL),
    Case("mqtt", 5_000, USUAL),
    Case("mqtt", 5_000, ALL),
)


def measure(cases: tuple[Case, ...] = CASES, steady: float = STEADY_S) -> dict[str, tuple[float, str, str]]:
    """Return the reference loop's time [ms], and the figures of each case; MQTT only where mosquitto is installed."""
    figures: dict[str, tuple[float, str, str]] = {}
    loops, console = [], Console(stderr=True)
    for case in cases:
        loops.append(reference())
        console.print(case.name)
        broker = mqtt_read.broker() if case.kind == "mqtt" else contextlib.nullcontext(0)
        with contextlib.ExitStack() as stack:
            try:
                port = stack.enter_context(broker)
            except RuntimeError as error:
                console.print(f"left out: {error}")
                continue
            for name, (value, unit) in _sized(case, port, steady).items():
                figures[f"{case.name}: {name}"] = (value, unit, "")
    return {REFERENCE: (statistics.median(loops), "ms CPU", ""), **figures}


def _sized(case: Case, broker: int, steady: float) -> dict[str, tuple[float, str]]:
    with tempfile.TemporaryDirectory(prefix="sizing-") as folder, _peers(case, broker) as pipe:
        plant = Path(folder)
        _write_plant(plant, case, pipe.recv())
        with _agent(plant) as agent:
            _settled(plant, agent, case.points)
            seen = _watched(plant, agent, pipe, steady)
        return _figures(plant, seen)


@contextlib.contextmanager
def _peers(case: Case, broker: int) -> Iterator[Connection]:
    here, there = multiprocessing.Pipe()
    words = (there, case.kind, case.points, case.share, broker)
    process = multiprocessing.get_context("spawn").Process(target=serve, args=words, daemon=True)
    process.start()
    there.close()  # so that peers that fail to start are noticed
    try:
        yield here
    finally:
        process.kill()
        process.join(10)


def _write_plant(folder: Path, case: Case, port: int) -> None:
    protocol, _, mode = case.kind.partition("-")
    scheme = {"modbus": "modbus+tcp", "opcua": "opc.tcp", "mqtt": "mqtt"}[protocol]
    more = {"opcua": 'security = "None"', "mqtt": f'client_id = "sizing-{port}"'}.get(protocol, "")
    (folder / "plant.toml").write_text(
        f'version = 1\n[plant]\nid = "sizing"\nassets = "assets.csv"\npoints = "points.csv"\n'
        f'[spool]\npath = "spool"\n[[sink]]\nkind = "parquet"\npath = "lake"\nevery = "{EVERY_S}s"\n'
        f'[[source]]\nid = "s"\nkind = "{protocol}"\nurl = "{scheme}://127.0.0.1:{port}"\nperiod = "1s"\n{more}\n'
    )
    (folder / "assets.csv").write_text("asset\nm\n")
    address = {
        "modbus": lambda n: f"holding:{n},uint16,0.1",
        "opcua": lambda n: f"ns=2;s=n{n},,",
        "mqtt": lambda n: f"plant/m{n // FIELDS}#/v{n % FIELDS},,",
    }[protocol]
    rows = (f"p{n},m,s,{address(n)},{'subscribe' if mode else 'poll'}" for n in range(case.points))
    (folder / "points.csv").write_text("\n".join(("point,asset,source,address,type,scale,mode", *rows)) + "\n")


@contextlib.contextmanager
def _agent(folder: Path) -> Iterator[int]:
    """Run the command on a plant, yield its process id, and stop it; RuntimeError with its log where it failed."""
    words = [sys.executable, "-m", "plantproof", "run", str(folder), "--json"]
    log = folder / "log.jsonl"
    with log.open("wb") as file:
        agent = subprocess.Popen(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=file)
        try:
            yield agent.pid
            agent.send_signal(signal.SIGTERM)
            agent.wait(PATIENCE_S)
        except BaseException:
            print(log.read_text(), file=sys.stderr)
            raise
        finally:
            agent.kill()
            agent.wait()


def _settled(folder: Path, agent: int, points: int) -> None:
    """Wait until all points were stored once, and a little longer."""
    deadline = time.monotonic() + PATIENCE_S
    while _rows(folder) < points:
        if time.monotonic() > deadline or not Path(f"/proc/{agent}/stat").exists():
            raise TimeoutError(f"not all of {points} points within {PATIENCE_S:g} s")
        time.sleep(0.1)
    time.sleep(SETTLE_S)


def _rows(folder: Path) -> int:
    with contextlib.suppress(FileNotFoundError):  # the agent writes it anew each second
        sources = json.loads((folder / "spool" / "status.json").read_bytes())["sources"].values()
        return sum(source["rows"] for source in sources)
    return 0


@dataclass
class Seen:
    """What a process took over a while."""

    began: int
    ended: int = 0
    """Wall times [ns]."""
    cpu: float = 0
    """[s]"""
    written: int = 0
    """Pages that it made the disk write [B]."""
    spooled: int = 0
    """How the spool grew [B]."""
    carried: int = 0
    """What the network carried [B]."""
    rss: list[int] = field(default_factory=list)
    pss: list[int] = field(default_factory=list)
    """Memory, each second [B]."""


def _watched(folder: Path, agent: int, pipe: Connection, seconds: float) -> Seen:
    seen, before = Seen(time.time_ns()), _taken(folder, agent, pipe)
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(1, left))
        rollup = Path(f"/proc/{agent}/smaps_rollup").read_text()
        kib = {line.split()[0]: int(line.split()[1]) for line in rollup.splitlines()[1:]}
        seen.rss.append(kib["Rss:"] * 1024)
        seen.pss.append(kib["Pss:"] * 1024)
    after = _taken(folder, agent, pipe)
    seen.ended = time.time_ns()
    seen.cpu, seen.written, seen.spooled, seen.carried = (b - a for a, b in zip(before, after, strict=True))
    return seen


def _taken(folder: Path, agent: int, pipe: Connection) -> tuple[float, int, int, int]:
    """Return CPU [s], bytes that the disk was made to write, the spool's size and what the network carried, so far."""
    stat = Path(f"/proc/{agent}/stat").read_text().rpartition(")")[2].split()
    io = dict(line.split(": ") for line in Path(f"/proc/{agent}/io").read_text().splitlines())
    spool = sum(file.stat().st_size for file in (folder / "spool").glob("segment-*"))
    pipe.send("carried")
    return (int(stat[11]) + int(stat[12])) * TICK_S, int(io["write_bytes"]), spool, pipe.recv()


def _figures(folder: Path, seen: Seen) -> dict[str, tuple[float, str]]:
    seconds = (seen.ended - seen.began) / 1e9
    during = pl.col("ts_recv").to_physical().is_between(seen.began, seen.ended)
    rows = pl.scan_parquet(folder / "lake/samples/**/*.parquet", hive_partitioning=False).filter(during).collect()
    rate = len(rows) / seconds
    merging = merged(rows, folder / "again")
    again, day, row_b = rewrites(rate), rate * DAY_S, merging.row_b
    return {
        "rows stored": (rate, "rows/s"),
        "CPU": (100 * seen.cpu / seconds, "% of a core"),
        "CPU of merging": (100 * merging.cpu_s(rate) * rate, "% of a core"),
        "RSS": (max(seen.rss) / 2**20, "MiB"),
        "PSS": (max(seen.pss) / 2**20, "MiB"),
        "spool": (seen.spooled / seconds, "B/s"),
        "lake a sample": (row_b, "B"),
        "lake a day": (row_b * day / 2**20, "MiB"),
        "disk writes a day": ((seen.written / seconds * DAY_S + again * row_b * day) / 2**20, "MiB"),
        "network": (seen.carried / seconds * 8 / 1e3, "kbit/s"),
    }


def main() -> None:
    """Measure, write the figures and the tables of the documents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", action="store_true", help="print this machine's reference figure and end")
    parser.add_argument("--steady", type=float, default=STEADY_S, help="how long each row is watched [s]")
    parser.add_argument("--only", default="", help="rows whose name holds this; prints them and writes nothing")
    asked = parser.parse_args()
    if asked.reference:
        ours, theirs = reference(), record.read("sizing")["figures"][REFERENCE][0]
        print(f"{ours:.1f} ms of CPU here, {theirs:.1f} ms where the table was measured: CPU x {ours / theirs:.2g}")
        return
    cases = tuple(case for case in CASES if asked.only in case.name)
    figures = measure(cases, asked.steady)
    for name, (value, unit, _) in figures.items():
        print(f"{name:<70} {value:>12,.2f} {unit}")
    if not asked.only:
        record.write("sizing", figures)
        publish()


if __name__ == "__main__":
    main()

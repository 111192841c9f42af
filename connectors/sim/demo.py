"""`plantproof demo`: a simulated plant, collected over real sockets, to KPIs and evidence, beside its truth.

The simulators run here; everything else is the `plantproof` command itself, as a plant would call it, so this file
needs nothing of the other rooms.
"""

import asyncio
import json
import shutil
import signal
import sys
import time
import zipfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from connectors.sim.modbus import ModbusMachines
from connectors.sim.mqtt import MqttMachine, embedded_broker
from connectors.sim.opcua import OpcuaMachines
from connectors.sim.plant import MILLS, SECOND, SHORT_TOTAL, SimPlant, build
from connectors.sim.register import ROBOT_TOPIC, Endpoints, write_plant
from connectors.sim.truth import truth_table

RUN_S = 28
"""Length of the simulated run [s]."""
READY_S = 60.0
"""How long the agent may take to read every source [s]."""
POLL_S = 0.25
"""The plant's poll period [s]: how far a polled state change may stand from the truth."""
EVIDENCED = 0.5
"""A device whose link is out for a greater part of the time is not networked: the default of the plant's rule."""
MARKER = ".plantproof-demo"
READ = ("report.html", "report.en.html", "workbook.xlsx")
"""What people read of a package; the demo unpacks it."""


class DemoError(Exception):
    """The demo could not do its work; the message says what and what next."""


@dataclass(frozen=True, slots=True)
class Row:
    """One machine's figure: what was computed, what is true, and whether that is good."""

    asset: str
    figure: str
    computed: float | None
    low: float | None
    high: float | None
    true: float
    good: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """The devices that are in a state of networking, those that are not, and whether that was simulated."""

    state: str
    devices: list[str]
    others: list[str]
    good: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the demo."""

    folder: Path
    period: tuple[str, str]
    rows: list[Row]
    rates: list[Rate]
    package: Path
    verified: dict[str, Any]

    @property
    def good(self) -> bool:
        """Whether every figure is as simulated."""
        return all(row.good for row in self.rows) and all(rate.good for rate in self.rates)

    def data(self) -> dict[str, Any]:
        """Return it as plain data."""
        figures, networking = [asdict(row) for row in self.rows], [asdict(rate) for rate in self.rates]
        about = {"folder": str(self.folder), "from": self.period[0], "to": self.period[1], "good": self.good}
        evidence = {"package": str(self.package), **self.verified}
        return {**about, "figures": figures, "networking": networking, "evidence": evidence}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default="demo-plant")
@click.option("--json", "as_json", is_flag=True, help="Print the figures beside their truth as JSON.")
def demo(folder: Path, *, as_json: bool) -> None:
    """Run a simulated plant, collect it, compute its KPIs, build and verify evidence; all in about a minute.

    \b
    Example:  plantproof demo demo-plant

    Servers and broker are embedded, on free ports of the loopback. Exits 4 where a figure differs from the simulator's
    truth.
    """
    console = Console(stderr=True)
    try:
        found = asyncio.run(_demo(folder, console, show=not as_json))
    except DemoError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(found.data(), ensure_ascii=False, indent=1))
    if not found.good:
        console.print("[red]Some figures differ from the simulator's truth: see the table.[/red]")
        sys.exit(4)


async def _demo(folder: Path, console: Console, *, show: bool) -> Outcome:
    """Run it all; with `show` print what comes of it as it comes."""
    _fresh(folder)
    plant = await _collect(folder, console)
    start, end = (_iso(t) for t in plant.window)
    period = ("--from", start, "--to", end)
    results = json.loads(await _plantproof("kpi", folder, *period, "--json"))
    networking = json.loads(await _plantproof("indicators", folder, *period, "--json"))
    rows = compare(results, truth_table(plant, *plant.window))
    rates = networked(networking["devices"], plant)
    if show:
        Console(width=None if sys.stdout.isatty() else 140).print(_table(rows))
        _print_rates(rates)
    package, key = folder / "evidence.zip", folder / "secrets" / "evidence.key"
    key.parent.mkdir()
    await _plantproof("keys", "new", key)
    await _plantproof("evidence", "build", folder, *period, "--key", key, "--out", package)
    public = key.with_name(f"{key.name}.pub")
    words = () if show else ("--json",)
    said = await _plantproof("evidence", "verify", package, "--key", public, "--lake", folder / "var" / "lake", *words)
    _unpack(package, folder)
    if show:
        click.echo(f"\nevidence {package}:\n{said}")
        _say_where(folder, period)
    return Outcome(folder, (start, end), rows, rates, package, {} if show else json.loads(said))


def _fresh(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise DemoError(f"{folder} is not empty and was not made by the demo; name another folder")
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()


async def _collect(folder: Path, console: Console) -> SimPlant:
    """Run the simulators and the agent for one run; returns the plant as it was simulated."""
    later = build(time.time_ns() + 3600 * SECOND, RUN_S * SECOND)
    console.print("Starting the simulated plant: OPC UA server, Modbus server, MQTT broker …")
    async with AsyncExitStack() as stack:
        presses = await stack.enter_async_context(OpcuaMachines(later.presses))
        units = dict(enumerate(later.mills, 1))
        short = frozenset(n for n, asset in enumerate(MILLS, 1) if asset == SHORT_TOTAL)
        mills = await stack.enter_async_context(ModbusMachines(units, short))
        broker = await stack.enter_async_context(embedded_broker())
        # The embedded broker speaks MQTT 3.1.1 alone.
        mqtt = f"{broker}?version=3.1.1"
        endpoints = Endpoints(opcua=presses.endpoint, modbus=mills.endpoint, mqtt=mqtt)
        write_plant(folder, endpoints, time.time_ns(), RUN_S * SECOND)
        await _plantproof("check", folder)
        agent = await _start("run", folder, "--json")
        try:
            await _ready(folder, agent)
            plant = build(time.time_ns() + SECOND // 2, RUN_S * SECOND)
            await presses.follow(plant.presses)
            mills.follow(dict(enumerate(plant.mills, 1)))
            await stack.enter_async_context(MqttMachine(plant.robot, broker, ROBOT_TOPIC, plant.end))
            await _watch(plant, agent, console)
        finally:
            await _stop(agent)
    return plant


async def _watch(plant: SimPlant, agent: asyncio.subprocess.Process, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("Collecting 8 machines over real sockets", total=RUN_S)
        while (left := plant.end - time.time_ns()) > 0:
            progress.update(task, completed=RUN_S - left / SECOND)
            if agent.returncode is not None:
                raise DemoError(f"the agent ended with exit code {agent.returncode}")
            await asyncio.sleep(0.2)
        progress.update(task, completed=RUN_S)


async def _ready(folder: Path, agent: asyncio.subprocess.Process) -> None:
    """Wait until every source is connected, as the agent's status says."""
    report = folder / "var" / "spool" / "status.json"
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if agent.returncode is not None:
            raise DemoError(f"the agent ended with exit code {agent.returncode}; see {folder / 'agent.log'}")
        if report.exists():
            sources = json.loads(report.read_bytes())["sources"].values()
            if sources and all(s["state"] == "connected" for s in sources):
                return
        await asyncio.sleep(0.1)
    raise DemoError(f"the agent did not connect to every source within {READY_S:.0f} s; see {folder / 'agent.log'}")


async def _start(verb: str, folder: Path, *words: str) -> asyncio.subprocess.Process:
    with (folder / "agent.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "plantproof", verb, str(folder), *words, stdout=log, stderr=log
        )


async def _stop(agent: asyncio.subprocess.Process) -> None:
    if agent.returncode is None:
        agent.send_signal(signal.SIGTERM)
    code = await asyncio.wait_for(agent.wait(), 60)
    if code != 0:
        raise DemoError(f"the agent ended with exit code {code}")


async def _plantproof(*words: str | Path) -> str:
    """Run a verb as a plant would, and return what it prints; exit code 3 (a warning on the data) is in order."""
    command = [sys.executable, "-m", "plantproof", *map(str, words)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, problems = await process.communicate()
    if process.returncode not in (0, 3):
        raise DemoError(
            f"plantproof {' '.join(map(str, words))}: exit {process.returncode}\n{out.decode()}{problems.decode()}"
        )
    return out.decode()


def compare(results: Sequence[dict[str, Any]], truth: Sequence[dict[str, Any]]) -> list[Row]:
    """Hold RESULT objects against the simulator's truth: counts exactly, times within a poll period per change.

    Where the link was out, the truth must lie between low and high instead.
    """
    found = {(r["subject"], r["kpi"]): r for r in results}
    return [row for machine in truth for row in _compare_machine(found, machine)]


def _compare_machine(found: dict[tuple[str, str], dict[str, Any]], true: dict[str, Any]) -> list[Row]:
    asset, busy = true["asset"], true["planned_busy_s"]
    expected = {
        "availability": true["production_s"] / busy,
        "oee": true["ideal_good_s"] / busy,
        "produced_quantity": float(true["total"]),
        "good_quantity": float(true["good"]),
        "energy_consumption": true["energy_kwh"],
    }
    rows = []
    for kpi, value in expected.items():
        result = found.get((asset, kpi), {})
        computed, low, high = result.get("value"), result.get("low"), result.get("high")
        if kpi in ("availability", "oee"):
            # Six state changes, each of which may be seen a poll late, in the numerator and in the denominator.
            slack = 6 * POLL_S / busy
            if true["outages"]:
                good = low is not None and high is not None and low - slack <= value <= high + slack
            else:
                good = computed is not None and abs(computed - value) <= slack
        else:
            good = computed is not None and abs(computed - value) < 1e-6
        note = "link out for a while" if true["outages"] else ""
        rows.append(Row(asset, kpi, computed, low, high, value, good, note))
    return rows


def _table(rows: Sequence[Row]) -> Table:
    table = Table(title="KPIs beside the simulator's truth", title_justify="left")
    for name in ("machine", "KPI", "computed", "low … high", "truth", "", "note"):
        table.add_column(name, justify="right" if name in ("computed", "low … high", "truth") else "left")
    last = ""
    for row in rows:
        if last and row.asset != last:
            table.add_section()
        show = _percent if row.figure in ("availability", "oee") else _plain
        bounds = (
            f"{show(row.low)} … {show(row.high)}"
            if row.low != row.high and row.figure in ("availability", "oee")
            else ""
        )
        mark = "[green]ok[/green]" if row.good else "[red]differs[/red]"
        asset, note = (row.asset, row.note) if row.asset != last else ("", "")
        table.add_row(asset, row.figure, show(row.computed), bounds, show(row.true), mark, note)
        last = row.asset
    return table


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}".rstrip("0").rstrip(".")


def networked(devices: Sequence[dict[str, Any]], plant: SimPlant) -> list[Rate]:
    """Return the three networking rates, each beside what was simulated."""
    counted = [device for device in devices if device["counted"]]
    spoke = {machine.asset for machine in plant.machines}
    begin, end = plant.window
    out = {m.asset: sum(b - a for a, b in m.outages) / (end - begin) for m in plant.machines}
    expected = {
        "connectable": spoke,
        "connected": spoke,
        "evidenced": {name for name in spoke if out[name] < EVIDENCED},
    }
    rates = []
    for state, assets in expected.items():
        found = sorted(device["asset"] for device in counted if device[state])
        others = sorted(device["asset"] for device in counted if not device[state])
        rates.append(Rate(state, found, others, set(found) == assets))
    return rates


def _print_rates(rates: Sequence[Rate]) -> None:
    click.echo("\nequipment networking rate (设备联网率), by what is asked of a device:")
    for one in rates:
        found, whole = len(one.devices), len(one.devices) + len(one.others)
        mark = "ok" if one.good else "differs"
        click.echo(f"  {one.state:<11} {found}/{whole} = {found / whole:.2%}  {mark}; not: {', '.join(one.others)}")


def _unpack(package: Path, folder: Path) -> None:
    """Lay what people read of a package beside it."""
    with zipfile.ZipFile(package) as archive:
        for name in READ:
            (folder / name).write_bytes(archive.read(name))


def _say_where(folder: Path, period: tuple[str, ...]) -> None:
    for name, path in (("report", "report.html"), ("workbook", "workbook.xlsx"), ("samples", "var/lake"),
                       ("config", "plant.toml"), ("agent log", "agent.log")):  # fmt: skip
        click.echo(f"{name:<9} {folder / path}")
    click.echo(f"\nTry:  plantproof kpi {folder} {' '.join(period)} --by hour\n      plantproof status {folder}")
    click.echo(f"      plantproof indicators {folder} {' '.join(period)} --rubric sme-2024 --lang zh")


def _iso(ns: int) -> str:
    seconds, rest = divmod(ns, SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1000:06d}Z"

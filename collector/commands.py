"""The commands of the agent: check, run, status, spool."""

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from collector.ledger import read_ledger
from collector.sinks import base as sinks
from collector.status import read_status
from config import exits
from config.faults import ConfigError, Fault
from config.load import load_plant
from config.plant import Plant, Source
from config.samples import SampleFileError
from config.units import parse_duration
from connectors import base as connectors

PLANT = click.argument("plant", type=click.Path(path_type=Path, exists=True))


def faults_of(plant: Plant) -> list[Fault]:
    """Return what connectors and sinks have against the plant: kinds, addresses and types; never connects."""
    faults = []
    kinds = {}
    for n, source in enumerate(plant.sources, 1):
        try:
            kinds[source.id] = module, _ = connectors.load(source.kind), source
            if (fault := module.check_source(source)) is not None:
                place = f"plant.toml: source[{n}]"
                hint = f"see docs/connectors.md, {source.kind}"
                faults.append(Fault(place, f"source {source.id}", source.url, fault, hint))
        except LookupError as error:
            hint = f"write one of {', '.join(connectors.KINDS)}"
            faults.append(Fault(f"plant.toml: source[{n}].kind", f"source {source.id}", source.kind, str(error), hint))
    for n, sink in enumerate(plant.sinks, 1):
        if sink.kind not in sinks.KINDS:
            rule = f"the stores of this version are {', '.join(sinks.KINDS)}"
            faults.append(
                Fault(f"plant.toml: sink[{n}].kind", f"sink {sink.name}", sink.kind, rule, "write one of them")
            )
    for point in plant.points:
        if point.source not in kinds:
            continue
        module, of_point = kinds[point.source]
        fault = module.check(of_point, point)
        if fault is not None:
            hint = f"see docs/connectors.md, {of_point.kind}"
            place = f"{plant.places.get(point.point, 'points.csv')} column address"
            faults.append(Fault(place, f"point {point.point}", point.address, fault, hint))
    return faults


def load_checked(path: Path, *, secrets: bool = False) -> Plant:
    """Load a plant and hold it against connectors and sinks; ConfigError lists every fault."""
    plant = load_plant(path, secrets=secrets)
    faults = faults_of(plant)
    if faults:
        raise ConfigError(tuple(faults))
    return plant


@click.command()
@PLANT
@click.option("--json", "as_json", is_flag=True, help="Print the faults as a JSON list.")
@click.option("--reads", is_flag=True, help="Print every address that will be read, for sign-off.")
def check(plant: Path, *, as_json: bool, reads: bool) -> None:
    """Validate a plant's configuration without connecting to anything.

    \b
    Examples:  plantproof check /etc/plantproof
               plantproof check /etc/plantproof --reads

    Lists every fault at once with its place and the next step, and exits 78 when there is one. Without faults it
    prints what will be read of each source.
    """
    faults: list[Fault] = []
    loaded = None
    try:
        loaded = load_plant(plant)
        faults = faults_of(loaded)
    except ConfigError as error:
        faults = [*error.faults, *(faults_of(error.plant) if error.plant is not None else ())]
    if as_json:
        keys = ("place", "thing", "value", "rule", "hint")
        click.echo(json.dumps([{k: str(getattr(f, k)) for k in keys} for f in faults], ensure_ascii=False, indent=1))
    elif faults:
        for fault in faults:
            click.echo(str(fault))
        click.echo(f"{len(faults)} fault{'s' if len(faults) > 1 else ''}", err=True)
    elif loaded is not None:
        click.echo(
            f"ok: {len(loaded.sources)} sources, {len(loaded.points)} points, {len(loaded.assets)} assets, "
            f"{len(loaded.sinks)} sinks"
        )
        for source in loaded.sources:
            _print_reads(loaded, source, whole=reads)
    if faults:
        sys.exit(exits.CONFIG)


def _print_reads(plant: Plant, source: Source, *, whole: bool) -> None:
    """Print what will be read of a source: its polls, and with `whole` every address."""
    points = [point for point in plant.points if point.source == source.id]
    if not points:
        click.echo(f"note: source {source.id} has no points; name it in the source column of points.csv", err=True)
        return
    click.echo(f"source {source.id} ({source.url}):")
    for line in connectors.load(source.kind).reads(source, points):
        if whole or not line.startswith("    "):
            click.echo(f"  {line}")


def _seconds(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    try:
        return parse_duration(text) / 1e9 if text else None
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}") from error


class JsonLines(logging.Formatter):
    """One JSON line an event."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        event: dict[str, Any] = {"ts": record.created, "level": record.levelname, "logger": record.name}
        event["message"] = record.getMessage()
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False)


def _log_to_stderr(*, as_json: bool) -> None:
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if as_json else text)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("plantproof").setLevel(logging.INFO)
    for noisy in ("asyncua", "pymodbus"):  # their warnings reach status by our own words
        logging.getLogger(noisy).setLevel(logging.CRITICAL)


@click.command()
@PLANT
@click.option("--for", "duration", callback=_seconds, help="Stop by itself after this long, such as 60s.")
@click.option("--agent", "name", default="agent", show_default=True, help="This gateway's name.")
@click.option("--json", "as_json", is_flag=True, help="Log one JSON line an event.")
def run(plant: Path, *, duration: float | None, name: str, as_json: bool) -> None:
    """Collect the plant's samples until told to stop (SIGTERM, SIGINT) or for a while.

    \b
    Examples:  plantproof run /etc/plantproof
               plantproof run demo-plant --for 60s

    On stop it commits what it holds and lets the sinks drain. Exits 78 where the configuration or the spool is at
    fault.
    """
    from collector.agent import Agent  # noqa: PLC0415  the other commands need no frames
    from collector.host import Locked  # noqa: PLC0415
    from collector.spool import SpoolFormat  # noqa: PLC0415

    _log_to_stderr(as_json=as_json)
    agent = Agent(load_checked(plant, secrets=True), name=name)
    try:
        asyncio.run(_until_stopped(agent, duration))
    except (Locked, SpoolFormat) as error:
        click.echo(str(error), err=True)
        sys.exit(exits.CONFIG)


async def _until_stopped(agent: Any, seconds: float | None) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    if seconds is not None:
        loop.call_later(seconds, agent.stop)
    await agent.run()


@click.command()
@PLANT
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def status(plant: Path, *, as_json: bool) -> None:
    """Show sources, freshness, spool, sinks and the loss ledger of a plant's agent.

    \b
    Example:  plantproof status /etc/plantproof

    Exits 3 when the agent is not healthy, 69 when none ever ran.
    """
    loaded = load_plant(plant)
    folder = loaded.resolve(loaded.spool.path)
    try:
        report = read_status(folder / "status.json")
    except FileNotFoundError:
        click.echo(f"no agent has run with the spool {folder}; start one with: plantproof run {plant}", err=True)
        sys.exit(exits.UNREACHABLE)
    report["last_losses"] = list(read_ledger(folder / "ledger.jsonl"))[-10:]
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=1))
    else:
        _print_status(report)
    if not report["healthy"]:
        sys.exit(exits.QUALITY)


def _print_status(report: dict[str, Any]) -> None:
    health = "healthy" if report["healthy"] else "NOT HEALTHY"
    state = report["agent_state"] if report["agent_state"] != "running" else health
    click.echo(f"agent {report['agent']} of {report['plant']}: {state}, report {report['age_s']} s old")
    for name, source in report["sources"].items():
        age = "never" if source["age_s"] is None else f"{source['age_s']:.1f} s ago"
        line = f"  source {name:<12} {source['kind']:<7} {source['state']:<10} data {age:<12} {source['rows']} rows"
        click.echo(line + (f"  {source['error']}" if source["error"] else ""))
        _print_points(source)
    for name, sink in report["sinks"].items():
        _print_sink(name, sink, report["spool"]["last"])
    spool = report["spool"]
    aside = f", {spool['quarantined_bytes']} B in quarantine" if spool.get("quarantined_bytes") else ""
    click.echo(f"  spool  {spool['bytes']} B, last batch {spool['last']}{aside}  {spool.get('error', '')}".rstrip())
    for entry in report["last_losses"]:
        click.echo(f"  ledger {entry['ts'][:19]} {entry['event']}: {entry['reason']}")


def _print_sink(name: str, sink: dict[str, Any], last: int) -> None:
    """Print how far a sink is, and what keeps it."""
    behind = f"{last - sink['cursor']} batches behind"
    if sink.get("behind_s"):
        behind += f", by {sink['behind_s']:.0f} s"
    click.echo(f"  sink   {name:<12} {sink['rows']} rows, {behind}  {sink['error']}".rstrip())
    if figures := sink.get("figures"):
        click.echo("           " + ", ".join(f"{key} {value:g}" for key, value in figures.items()))
    if upkeep := sink.get("upkeep"):
        click.echo(f"           warning: housekeeping: {upkeep}")


def _link(link: Mapping[str, Any]) -> str:
    """Return how a link does, in a line."""
    if "bus_time" in link:
        return (
            f"link busy {link['bus_time']:.0%}, {link['requests_a_cycle']} requests a cycle, "
            f"{link['requests_per_s']:g} a second, {link['request_ms']:g} ms each (longest {link['longest_ms']:g} ms), "
            f"{link['polls_missed']} polls missed"
        )
    if "messages" in link:
        unread = f", {link['unread_messages']} of topics that no point reads" if link["unread_messages"] else ""
        return f"{link['messages']} messages of {link['topics']} topics{unread}, {link['waiting']} waiting"
    return ", ".join(f"{name} {value}" for name, value in link.items() if not isinstance(value, dict))


def _print_points(source: dict[str, Any]) -> None:
    """Print a source's coverage, and what a person should know of it."""
    covered = source.get("coverage") or {}
    if covered and source["state"] == "connected":  # of another, none is fresh
        line = f"{covered['fresh']} of {covered['configured']} points fresh, {covered['monitored']} known to the source"
        others = ", ".join(covered["not_fresh"])
        more = covered["configured"] - covered["fresh"] - len(covered["not_fresh"])
        rest = f"; not fresh: {others}{f' and {more} more' if more > 0 else ''}" if others else ""
        click.echo(f"           {line}{rest}")
    if link := source.get("link"):
        click.echo(f"           {_link(link)}")
    for warning in source.get("warnings", ()):
        click.echo(f"           warning: {warning}")
    for reason, count in source.get("flags", {}).items():
        click.echo(f"           in doubt: {reason} ({count})")
    if source.get("filled"):
        click.echo(f"           filled in from the source's history: {source['filled']} rows")


@click.command("import")
@PLANT
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def import_samples(plant: Path, file: Path) -> None:
    """Import samples from a CSV or Parquet file into the plant's parquet lake (backfill).

    \b
    Example:  plantproof import PLANT year-2025.csv

    CSV columns: ts,point,value[,status]. The same file imported twice stands in the lake once. Exits 3 when lines were
    left out; each is named.
    """
    from collector.backfill import import_file  # noqa: PLC0415

    loaded = load_plant(plant)
    try:
        rows, faults = import_file(loaded, file)
    except (SampleFileError, LookupError) as error:
        raise click.ClickException(str(error)) from error
    for fault in faults:
        click.echo(f"left out: {fault}", err=True)
    click.echo(f"{rows} rows imported", err=True)
    if faults:
        sys.exit(exits.QUALITY)

"""The command `plantproof status`; it needs no frames, so it answers at once."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from collector.findings import printable
from collector.ledger import read_ledger
from collector.status import counted, read_status, spool_age
from config import exits
from config.failures import Unreachable
from config.faults import ConfigError
from config.load import load_plant
from config.plant import Plant


@click.command()
@click.argument("plant", type=click.Path(path_type=Path, exists=True))
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON; with --watch one line a second.")
@click.option("--watch", "watching", is_flag=True, help="Show it anew each second, until Ctrl-C.")
def status(plant: Path, *, as_json: bool, watching: bool) -> None:
    """Show sources, freshness, spool, sinks and the loss ledger of a plant's agent.

    \b
    Examples:  plantproof status /etc/plantproof
               plantproof status /etc/plantproof --watch

    With --watch it waits for an agent, and Ctrl-C ends it with 0. An agent goes on with the configuration that it has,
    so faults that came into the files since are only counted.

    Exits 3 where the agent is not healthy, 69 where none ever ran, 78 where none ever ran and the configuration is at
    fault, or does not even say where the spool is.
    """
    loaded, fault = _loaded(plant)
    folder = loaded.resolve(loaded.spool.path)
    if watching:
        _watch(folder, as_json=as_json)
        return
    report = _report(folder)
    if report is None:
        told = f"no agent has run with the spool {folder}; start one with: plantproof run {plant}"
        raise fault or Unreachable(told)
    if fault is not None:
        click.echo(f"{counted(len(fault.faults))} by now; see plantproof check {plant}", err=True)
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=1))
    else:
        _print_status(report)
    if not report["healthy"]:
        sys.exit(exits.QUALITY)


def _loaded(path: Path) -> tuple[Plant, ConfigError | None]:
    """Return the plant, or what loads of it in spite of its faults, and these."""
    try:
        return load_plant(path), None
    except ConfigError as error:
        if error.plant is None:
            raise
        return error.plant, error


def _report(folder: Path) -> dict[str, Any] | None:
    """Return the report of the agent of a spool, with the ledger's last entries; None where none ever ran."""
    try:
        report = read_status(folder / "status.json")
    except FileNotFoundError:
        return None
    report["spool"]["age_s"] = spool_age(folder)
    report["last_losses"] = list(read_ledger(folder / "ledger.jsonl"))[-10:]
    return report


def _watch(folder: Path, *, as_json: bool) -> None:
    from rich.console import Console  # noqa: PLC0415  no other verb here draws

    from collector import watch  # noqa: PLC0415

    console = Console()
    if as_json or not console.is_terminal:
        watch.lines(lambda: _report(folder), watch.each_second())
    else:
        watch.live(lambda: _report(folder), watch.each_second(), console)


def _tell(line: str) -> None:
    """Print a line; names and errors of other machines send nothing else to a terminal."""
    click.echo(printable(line))


def _print_status(report: dict[str, Any]) -> None:
    health = "healthy" if report["healthy"] else "NOT HEALTHY"
    state = report["agent_state"] if report["agent_state"] != "running" else health
    _tell(f"agent {report['agent']} of {report['plant']}: {state}, report {report['age_s']} s old")
    for name, source in report["sources"].items():
        age = "never" if source["age_s"] is None else f"{source['age_s']:.1f} s ago"
        line = f"  source {name:<12} {source['kind']:<7} {source['state']:<10} data {age:<12} {source['rows']} rows"
        _tell(line + (f"  {source['error']}" if source["error"] else ""))
        _print_points(source)
    for name, sink in report["sinks"].items():
        _print_sink(name, sink, report["spool"]["last"])
    spool = report["spool"]
    aside = f", {spool['quarantined_bytes']} B in quarantine" if spool.get("quarantined_bytes") else ""
    _tell(f"  spool  {spool['bytes']} B, last batch {spool['last']}{aside}  {spool.get('error', '')}".rstrip())
    if (listening := report.get("health") or {}).get("error"):
        _tell(f"  health cannot listen at {listening['listen']}: {listening['error']}")
    if told := report.get("reload"):
        _print_reload(told)
    for entry in report["last_losses"]:
        lost = f" ({entry['rows']} rows, {', '.join(entry['sinks'])})" if "sinks" in entry and "rows" in entry else ""
        _tell(f"  ledger {entry['ts'][:19]} {entry['event']}: {entry['reason']}{lost}")


def _print_reload(told: dict[str, Any]) -> None:
    """Print what became of the last wish to reload."""
    if told["refused"]:
        _tell(f"  config NOT RELOADED {told['at'][:19]}, the one before is in use: {told['faults'][0]}")
        return
    _tell(f"  config reloaded {told['at'][:19]}")
    for fault in told["faults"]:
        _tell(f"           warning: {fault}")
    if told["waits_for_restart"]:
        _tell(f"           warning: {', '.join(told['waits_for_restart'])} of plant.toml waits for a restart")


def _print_sink(name: str, sink: dict[str, Any], last: int) -> None:
    """Print how far a sink is, and what keeps it."""
    behind = f"{last - sink['cursor']} batches behind"
    if sink.get("behind_s"):
        behind += f", by {sink['behind_s']:.0f} s"
    _tell(f"  sink   {name:<12} {sink['rows']} rows, {behind}  {sink['error']}".rstrip())
    if figures := sink.get("figures"):
        _tell("           " + ", ".join(f"{key} {value:g}" for key, value in figures.items()))
    if upkeep := sink.get("upkeep"):
        _tell(f"           warning: housekeeping: {upkeep}")


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
        _tell(f"           {line}{rest}")
    if link := source.get("link"):
        _tell(f"           {_link(link)}")
    for warning in source.get("warnings", ()):
        _tell(f"           warning: {warning}")
    for reason, count in source.get("flags", {}).items():
        _tell(f"           in doubt: {reason} ({count})")
    if source.get("filled"):
        _tell(f"           filled in from the source's history: {source['filled']} rows")

"""The command `plantproof status`; it needs no frames, so it answers at once."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from collector.findings import printable
from collector.ledger import read_ledger
from collector.speaking import Speaker, padded
from collector.status import read_status, spool_age
from collector.status_words import EVENTS, FIGURES, STATES, WORDS
from config import exits
from config.failures import Unreachable
from config.faults import ConfigError
from config.language import Lang, lang_option
from config.load import load_plant
from config.plant import Plant


@click.command()
@click.argument("plant", type=click.Path(path_type=Path, exists=True))
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON; with --watch one line a second.")
@click.option("--watch", "watching", is_flag=True, help="Show it anew each second, until Ctrl-C.")
@lang_option()
def status(plant: Path, *, as_json: bool, watching: bool, lang: Lang) -> None:
    """Show sources, freshness, spool, sinks and the loss ledger of a plant's agent.

    \b
    Examples:  plantproof status /etc/plantproof
               plantproof status /etc/plantproof --watch --lang zh

    With --watch it waits for an agent, and Ctrl-C ends it with 0. An agent goes on with the configuration that it has,
    so faults that came into the files since are only counted.

    Exits 3 where the agent is not healthy, 69 where none ever ran, 78 where none ever ran and the configuration is at
    fault, or does not even say where the spool is.
    """
    say = Speaker(WORDS, "en" if as_json else lang)
    loaded, fault = _loaded(plant)
    folder = loaded.resolve(loaded.spool.path)
    if watching:
        _watch(folder, say, as_json=as_json)
        return
    report = _report(folder)
    if report is None:
        raise fault or Unreachable(say("none ran", spool=folder, plant=plant))
    if fault is not None:
        count = len(fault.faults)
        click.echo(say("fault" if count == 1 else "faults", count=count, plant=plant), err=True)
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=1))
    else:
        _print_status(report, say)
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


def _watch(folder: Path, say: Speaker, *, as_json: bool) -> None:
    from rich.console import Console  # noqa: PLC0415  no other verb here draws

    from collector import watch  # noqa: PLC0415

    console = Console()
    if as_json or not console.is_terminal:
        watch.lines(lambda: _report(folder), watch.each_second())
    else:
        watch.live(lambda: _report(folder), watch.each_second(), console, say)


def _tell(line: str) -> None:
    """Print a line; names and errors of other machines send nothing else to a terminal."""
    click.echo(printable(line).rstrip())


def _begun(say: Speaker, kind: str) -> str:
    """Return how a line on a source, a sink and so on begins: all alike are as wide."""
    return f"  {padded(say(f'of {kind}'), 6 if say.lang == 'en' else 8)} "


def _print_status(report: dict[str, Any], say: Speaker) -> None:
    health = say("healthy" if report["healthy"] else "unhealthy")
    state = health if report["agent_state"] == "running" else say.name(STATES, report["agent_state"])
    _tell(say("agent", agent=report["agent"], plant=report["plant"], state=state, age=report["age_s"]))
    for name, source in report["sources"].items():
        _print_source(name, source, say)
    for name, sink in report["sinks"].items():
        _print_sink(name, sink, report["spool"]["last"], say)
    spool = report["spool"]
    held = [say("spool", bytes=spool["bytes"], last=spool["last"])]
    if aside := spool.get("quarantined_bytes"):
        held.append(say("quarantine", bytes=aside))
    _tell(f"{_begun(say, 'spool')}{say.joined(held)}  {say.heard(spool.get('error', ''))}")
    if (listening := report.get("health") or {}).get("error"):
        told = say("cannot listen", listen=listening["listen"], text=say.heard(listening["error"]))
        _tell(f"{_begun(say, 'health')}{told}")
    if reloaded := report.get("reload"):
        _print_reload(reloaded, say)
    for entry in report["last_losses"]:
        event = say.name(EVENTS, entry["event"])
        told = say("entry", ts=entry["ts"][:19], event=event, reason=entry["reason"])
        if "sinks" in entry and "rows" in entry:
            told += say("lost", rows=entry["rows"], sinks=", ".join(entry["sinks"]))
        _tell(f"{_begun(say, 'ledger')}{told}")


def _print_source(name: str, source: dict[str, Any], say: Speaker) -> None:
    """Print how a source does, and below it what a person should know of it."""
    age = say("never") if source["age_s"] is None else say("ago", age=source["age_s"])
    columns = ((name, 12), (source["kind"], 7), (say.name(STATES, source["state"]), 10), (say("data", age=age), 17))
    line = " ".join(padded(text, cells) for text, cells in columns)
    _tell(f"{_begun(say, 'source')}{line} {say('rows', rows=source['rows'])}  {say.heard(source['error'])}")
    _print_points(source, say)


def _print_reload(told: dict[str, Any], say: Speaker) -> None:
    """Print what became of the last wish to reload."""
    at = told["at"][:19]
    if told["refused"]:
        _tell(f"{_begun(say, 'config')}{say('not reloaded', at=at, fault=say.heard(told['faults'][0]))}")
        return
    _tell(f"{_begun(say, 'config')}{say('reloaded', at=at)}")
    for fault in told["faults"]:
        _tell_below(say("warning", text=say.heard(fault)))
    if told["waits_for_restart"]:
        _tell_below(say("warning", text=say("waits", sections=", ".join(told["waits_for_restart"]))))


def _tell_below(line: str) -> None:
    """Print a line that belongs to the one above it."""
    _tell(f"           {line}")


def _print_sink(name: str, sink: dict[str, Any], last: int, say: Speaker) -> None:
    """Print how far a sink is, and what keeps it."""
    parts = [say("sink", rows=sink["rows"], batches=last - sink["cursor"])]
    if sink.get("behind_s"):
        parts.append(say("behind", seconds=sink["behind_s"]))
    _tell(f"{_begun(say, 'sink')}{padded(name, 12)} {say.joined(parts)}  {say.heard(sink['error'])}")
    if figures := sink.get("figures"):
        _tell_below(say.joined(f"{say.name(FIGURES, key)} {value:g}" for key, value in figures.items()))
    if upkeep := sink.get("upkeep"):
        _tell_below(say("upkeep", text=upkeep))


def _link(link: Mapping[str, Any], say: Speaker) -> str:
    """Return how a link does, in a line."""
    if "bus_time" in link:
        return say("bus", **link)
    if "messages" in link:
        words = ["messages", *(["unread"] if link["unread_messages"] else []), "waiting messages"]
        return say.joined(say(word, **link) for word in words)
    return say.joined(f"{name} {value}" for name, value in link.items() if not isinstance(value, dict))


def _print_points(source: dict[str, Any], say: Speaker) -> None:
    """Print a source's coverage, and what a person should know of it."""
    covered = source.get("coverage") or {}
    if covered and source["state"] == "connected":  # of another, none is fresh
        _tell_below(say("covered", **covered) + _not_fresh(covered, say))
    if link := source.get("link"):
        _tell_below(_link(link, say))
    for warning in source.get("warnings", ()):
        _tell_below(say("warning", text=say.heard(warning)))
    for reason, count in source.get("flags", {}).items():
        _tell_below(say("in doubt", text=reason, count=count))
    if source.get("filled"):
        _tell_below(say("filled", rows=source["filled"]))


def _not_fresh(covered: Mapping[str, Any], say: Speaker) -> str:
    """Return which points are not fresh: the first few by name."""
    if not covered["not_fresh"]:
        return ""
    names, silent = ", ".join(covered["not_fresh"]), covered["configured"] - covered["fresh"]
    more = silent - len(covered["not_fresh"])
    return say("not fresh", points=names + (say("more", more=more, all=silent) if more > 0 else ""))

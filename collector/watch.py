"""Status looked at each second, as a live table on a terminal or as one JSON line a second."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from collector.findings import printable, size
from collector.speaking import Speaker
from collector.status_words import EVENTS, STATES

Report = dict[str, Any]
Look = Callable[[], Report | None]
"""Returns the agent's report, None where none ever ran."""

NEVER: Report = {"healthy": False, "agent_state": "none ran"}
"""What is told while no agent has run."""
LOSSES = 5
"""So many of the ledger's last entries are shown."""


def each_second() -> Iterator[None]:
    """Yield once a second, for ever."""
    while True:
        yield
        time.sleep(1.0)


def lines(look: Look, ticks: Iterator[None]) -> None:
    """Print a report a line, as JSON; ends with Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        for _ in ticks:
            click.echo(json.dumps(look() or NEVER, ensure_ascii=False))


def live(look: Look, ticks: Iterator[None], console: Console, say: Speaker) -> None:
    """Show the report on a terminal; ends with Ctrl-C and leaves the last one there."""
    with contextlib.suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as screen:
        for _ in ticks:
            screen.update(view(look(), say), refresh=True)


def view(report: Report | None, say: Speaker) -> RenderableType:
    """Return a report as tables."""
    if report is None:
        return Text(say("waiting"))
    parts = (_head, _sources, _sinks, _spool, _ledger)
    return Group(*(part(report, say) for part in parts))


def _head(report: Report, say: Speaker) -> Text:
    health = say("healthy" if report["healthy"] else "unhealthy")
    state = health if report["agent_state"] == "running" else say.name(STATES, report["agent_state"])
    agent, plant = printable(report["agent"]), printable(report["plant"])  # so that only the state is a line feed
    told = say("agent", agent=agent, plant=plant, state="\n", age=f"{report['age_s']:.1f}")
    before, _, after = told.partition("\n")
    return Text.assemble(before, (state, "bold green" if report["healthy"] else "bold red"), after)


def _sources(report: Report, say: Speaker) -> Table:
    heads = ("source", "kind", "link", "fresh", "data", "points fresh", "reconnects", "bus time", "error")
    table, running = _table(say, *heads), report["agent_state"] == "running"
    for name, one in report["sources"].items():
        covered, bus = one.get("coverage") or {}, (one.get("link") or {}).get("bus_time")
        table.add_row(
            _text(name),
            _text(one["kind"]),
            Text(say.name(STATES, one["state"]), "green" if one["state"] == "connected" else "red"),
            Text(say("yes"), "green") if one["fresh"] and running else Text(say("no"), "red"),
            say("never") if one["age_s"] is None else say("ago", age=one["age_s"]),
            say("of", **covered) if covered else "",
            str(reconnects(one)),
            "" if bus is None else f"{bus:.0%}",
            _text(say.heard(one["error"])),
        )
    return table


def reconnects(source: Mapping[str, Any]) -> int:
    """Return how often a source was connected again."""
    return max(0, int(source.get("connects", 0)) - 1)


def _sinks(report: Report, say: Speaker) -> Table:
    table = _table(say, "sink", "kind", "rows", "batches behind", "behind", "error")
    for name, one in report["sinks"].items():
        behind = report["spool"]["last"] - one["cursor"]
        seconds = say("seconds", seconds=one.get("behind_s", 0.0))
        table.add_row(
            _text(name), _text(one["kind"]), str(one["rows"]), str(behind), seconds, _text(say.heard(one["error"]))
        )
    return table


def _spool(report: Report, say: Speaker) -> Text:
    spool = report["spool"]
    oldest = max((one.get("behind_s", 0.0) for one in report["sinks"].values()), default=0.0)
    written = spool.get("age_s")
    parts = [say("spool now", size=size(spool["bytes"]), last=spool["last"])]
    parts += [] if written is None else [say("written", seconds=written)]
    parts += [say("oldest", seconds=oldest), say("pending", rows=spool.get("pending_rows", 0))]
    text = Text(say.joined(parts))
    return text.append(f"  {printable(say.heard(spool['error']))}", "red") if spool.get("error") else text


def _ledger(report: Report, say: Speaker) -> Text:
    counts = say.joined(f"{say.name(EVENTS, event)} {count}" for event, count in report["ledger"].items())
    lines = [say("ledger now", counts=counts or say("empty"))]
    for entry in report.get("last_losses", [])[-LOSSES:]:
        event = say.name(EVENTS, entry["event"])
        lines.append("  " + say("entry", ts=entry["ts"][:19], event=event, reason=entry["reason"]))
    return Text("\n".join(map(printable, lines)))


def _table(say: Speaker, *heads: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(say(f"head {head}"), overflow="fold")
    return table


def _text(text: str) -> Text:
    """Return a text as it is: nothing in it is a mark of style or sent to a terminal."""
    return Text(printable(text))

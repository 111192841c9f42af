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


def live(look: Look, ticks: Iterator[None], console: Console) -> None:
    """Show the report on a terminal; ends with Ctrl-C and leaves the last one there."""
    with contextlib.suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as screen:
        for _ in ticks:
            screen.update(view(look()), refresh=True)


def view(report: Report | None) -> RenderableType:
    """Return a report as tables."""
    if report is None:
        return Text("no agent has run yet; waiting")
    return Group(_head(report), _sources(report), _sinks(report), _spool(report), _ledger(report))


def _head(report: Report) -> Text:
    health = "healthy" if report["healthy"] else "NOT HEALTHY"
    state = health if report["agent_state"] == "running" else report["agent_state"]
    name = printable(f"agent {report['agent']} of {report['plant']}")
    text = Text.assemble(name, ": ", (state, "bold green" if report["healthy"] else "bold red"))
    return text.append(f", report {report['age_s']:.1f} s old")


def _sources(report: Report) -> Table:
    heads = ("source", "kind", "link", "fresh", "data", "points fresh", "reconnects", "bus time", "error")
    table, running = _table(*heads), report["agent_state"] == "running"
    for name, one in report["sources"].items():
        covered, bus = one.get("coverage") or {}, (one.get("link") or {}).get("bus_time")
        table.add_row(
            _text(name),
            _text(one["kind"]),
            Text(one["state"], "green" if one["state"] == "connected" else "red"),
            Text("yes", "green") if one["fresh"] and running else Text("no", "red"),
            "never" if one["age_s"] is None else f"{one['age_s']:.1f} s ago",
            f"{covered['fresh']} of {covered['configured']}" if covered else "",
            str(reconnects(one)),
            "" if bus is None else f"{bus:.0%}",
            _text(one["error"]),
        )
    return table


def reconnects(source: Mapping[str, Any]) -> int:
    """Return how often a source was connected again."""
    return max(0, int(source.get("connects", 0)) - 1)


def _sinks(report: Report) -> Table:
    table = _table("sink", "kind", "rows", "batches behind", "behind", "error")
    for name, one in report["sinks"].items():
        behind = report["spool"]["last"] - one["cursor"]
        seconds = f"{one.get('behind_s', 0.0):.0f} s"
        table.add_row(_text(name), _text(one["kind"]), str(one["rows"]), str(behind), seconds, _text(one["error"]))
    return table


def _spool(report: Report) -> Text:
    spool = report["spool"]
    oldest = max((one.get("behind_s", 0.0) for one in report["sinks"].values()), default=0.0)
    written = spool.get("age_s")
    parts = [f"spool {size(spool['bytes'])}", f"last batch {spool['last']}"]
    parts += [] if written is None else [f"written {written:.0f} s ago"]
    parts += [f"oldest not stored {oldest:.0f} s old", f"{spool.get('pending_rows', 0)} rows wait for the disk"]
    text = Text(", ".join(parts))
    return text.append(f"  {printable(spool['error'])}", "red") if spool.get("error") else text


def _ledger(report: Report) -> Text:
    counts = ", ".join(f"{printable(event)} {count}" for event, count in report["ledger"].items()) or "empty"
    last = report.get("last_losses", [])[-LOSSES:]
    shown = (f"\n  {entry['ts'][:19]} {entry['event']}: {entry['reason']}" for entry in last)
    return Text(f"ledger {counts}" + "".join("\n" + printable(line.removeprefix("\n")) for line in shown))


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


def _text(text: str) -> Text:
    """Return a text as it is: nothing in it is a mark of style or sent to a terminal."""
    return Text(printable(text))

"""The command `plantproof reload`."""

import datetime as dt
import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from collector import host
from collector.commands import PLANT, load_checked, seconds
from collector.findings import printable
from collector.status import exchanged, read_status
from config import exits
from config.failures import Unreachable

LOOK_S = 0.1
"""How often the agent's report is looked at [s]."""


@click.command()
@PLANT
@click.option(
    "--timeout", default="60s", show_default=True, callback=seconds, help="How long to wait for the agent's word."
)
@click.option("--json", "as_json", is_flag=True, help="Print what became of it as JSON.")
def reload(plant: Path, *, timeout: float, as_json: bool) -> None:
    """Let the running agent take its changed configuration, without a gap in what did not change.

    \b
    Examples:  plantproof reload /etc/plantproof
               plantproof reload /etc/plantproof --json

    The configuration is checked first: with any fault the agent is not asked, and goes on with the one before. Sources
    and sinks that changed begin anew, the others go on. Run it as the agent's user.

    Exits 3 where something waits for a restart or a sink cannot be set up, 69 where no agent runs or it does not
    answer, 78 where the configuration is at fault.
    """
    loaded = load_checked(plant)
    folder = loaded.resolve(loaded.spool.path)
    before = _report(folder)
    if before is None or before["agent_state"] != "running":
        raise Unreachable(f"no agent runs with the spool {folder}; start one with: plantproof run {plant}")
    pid, asked = before["pid"], dt.datetime.now(dt.UTC)
    try:
        host.ask_to_reload(pid)
    except ProcessLookupError:
        hint = "if it runs in a container, ask there"
        raise Unreachable(f"no process {pid} of this machine is an agent; {hint}") from None
    except PermissionError:
        raise click.ClickException(f"the agent (process {pid}) is another user's; run this as that user") from None
    told = _answer(folder, before, asked, timeout)
    if told is None:
        raise Unreachable(f"the agent (process {pid}) has not said within {timeout:g} s what became of it; see its log")
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False, indent=1))
    else:
        _print(told)
    sys.exit(_code(told))


def _report(folder: Path) -> dict[str, Any] | None:
    try:
        return read_status(folder / "status.json")
    except FileNotFoundError:
        return None


def _answer(folder: Path, before: dict[str, Any], asked: dt.datetime, patience: float) -> dict[str, Any] | None:
    """Return what the agent says became of a wish after the report of before; None where it says nothing in time.

    The next word may be of a wish of somebody else, who asked before; the one after that is of ours in any case.
    """
    known = (before.get("reload") or {}).get("number", 0)
    end = time.monotonic() + patience
    while time.monotonic() < end:
        report = _report(folder)
        if report is not None and report["pid"] == before["pid"]:
            told: dict[str, Any] | None = report.get("reload")
            if told is not None and told["number"] > known + (dt.datetime.fromisoformat(told["began"]) < asked):
                return told
        time.sleep(LOOK_S)
    return None


def _print(told: dict[str, Any]) -> None:
    if told["refused"]:
        for fault in told["faults"]:
            click.echo(printable(fault))
        click.echo("not reloaded: the agent goes on with the configuration before", err=True)
        return
    for kind in ("sources", "sinks"):
        click.echo(printable(exchanged(kind, told[kind])))
    for fault in told["faults"]:
        click.echo(printable(fault), err=True)
    if told["waits_for_restart"]:
        click.echo(f"{', '.join(told['waits_for_restart'])} of plant.toml changed too: restart the agent", err=True)


def _code(told: dict[str, Any]) -> int:
    if told["refused"]:
        return exits.CONFIG
    return exits.QUALITY if told["faults"] or told["waits_for_restart"] else exits.DONE

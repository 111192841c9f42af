"""The commands `plantproof register show`, `approve`, `history` and `diff`."""

import datetime as dt
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from config import approvals, exits
from config.failures import Unverified
from config.load import load_plant
from config.plant import Plant
from kpis.calendar import local_ns
from kpis.commands import JSON, PLANT
from kpis.output import print_table, to_json
from kpis.registers import difference, show
from kpis.registers.difference import State, state_of_approval, state_of_plant

NOW = "now"


@click.group()
def register() -> None:
    """Show the registers, approve them as they are, and compare them over time.

    \b
    Examples:  plantproof register show PLANT --kind assets
               plantproof register approve PLANT --by 张三 --note "2026 annual check"
    """


@register.command("show")
@PLANT
@click.option("--kind", "kinds", type=click.Choice(show.KINDS), multiple=True, help="May be repeated. Default: all.")
@JSON
def show_registers(plant: Path, *, kinds: tuple[str, ...], as_json: bool) -> None:
    """List devices, processes, loops and meters with their counts.

    \b
    Example:  plantproof register show PLANT --kind assets

    Exits 78 where the configuration is at fault.
    """
    loaded = load_plant(plant)
    day = _today(loaded)
    approval = _approval(loaded)
    if as_json:
        said = {kind: show.listed(loaded, kind, day) for kind in kinds or show.KINDS}
        click.echo(to_json({"plant": loaded.id, "day": day, "approval": _told(approval), **said}))
        return
    for kind in kinds or [kind for kind in show.KINDS if show.rows_of(loaded, kind)]:
        print_table(show.table(loaded, kind, day))
    click.echo(f"The registers are {_standing(loaded, approval)}", err=True)


@register.command()
@PLANT
@click.option("--by", required=True, help="Who approves.")
@click.option("--note", default="", help="What for.")
@JSON
def approve(plant: Path, *, by: str, note: str, as_json: bool) -> None:
    """Keep the registers as they are as an approved snapshot below PLANT/registers.

    \b
    Example:  plantproof register approve PLANT --by 张三 --note "2026 annual check"

    A snapshot is never written over. Exits 78 where the configuration is at fault.
    """
    loaded = load_plant(plant)
    try:
        made = approvals.approve(loaded, by, note, dt.datetime.now(dt.UTC))
    except (approvals.ApprovalError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(to_json(_told(made)) if as_json else str(made.folder))


@register.command()
@PLANT
@JSON
def history(plant: Path, *, as_json: bool) -> None:
    """List the approved snapshots, the oldest first, and check each against its hashes.

    \b
    Example:  plantproof register history PLANT

    Exits 4 where a snapshot is no more as it was approved, 78 where the configuration is at fault.
    """
    loaded = load_plant(plant)
    found = _snapshots(loaded)
    current = _approval(loaded)
    if as_json:
        said = [{**(_told(one) or {}), "faults": one.faults(), "current": one == current} for one in found]
        click.echo(to_json(said))
    else:
        shown = Table(title=f"approved registers of {loaded.id}", title_justify="left")
        for name in ("approved at", "by", "note", "tables", "folder", "state"):
            shown.add_column(name, overflow="fold")
        for one in found:
            state = "; ".join(one.faults()) or ("as the files are now" if one == current else "whole")
            cells = (_local(loaded, one), one.approved_by, one.note, " ".join(one.files), one.folder.name, state)
            shown.add_row(*map(show.plain, cells))
        print_table(shown)
    if any(one.faults() for one in found):
        sys.exit(exits.VERIFY)


@register.command()
@PLANT
@click.argument("other", required=False, type=click.Path(path_type=Path, exists=True))
@click.option("--from", "start", help="Date; the snapshot in force at that production day's end.")
@click.option("--to", "end", default=NOW, show_default=True, help="Date, or now: the files as they are.")
@JSON
def diff(plant: Path, *, other: Path | None, start: str | None, end: str, as_json: bool) -> None:
    """Compare the registers between two dates, or with those of OTHER, a plant's folder or a snapshot.

    \b
    Examples:  plantproof register diff PLANT --from 2026-01-01 --to 2026-12-31
               plantproof register diff PLANT --from 2026-01-01
               plantproof register diff PLANT OTHER

    Exits 4 where a snapshot is no more as it was approved, 78 where the configuration is at fault.
    """
    loaded = load_plant(plant)
    if (other is None) == (start is None) or (other is not None and end != NOW):
        raise click.UsageError("name either --from, and --to where it is not now, or another folder")
    try:
        old = _at(loaded, start) if start is not None else _at(loaded, NOW)
        new = _at(loaded, end) if other is None else _of_folder(other, loaded)
    except approvals.ApprovalError as error:
        raise click.ClickException(str(error)) from error
    found = list(difference.changes(old, new))
    if as_json:
        said = {"from": _of_state(old), "to": _of_state(new), "changes": [asdict(one) for one in found]}
        click.echo(to_json(said))
        return
    if found:
        print_table(difference.table(found, f"{old.name} -> {new.name}"))
    else:
        click.echo(f"{old.name} -> {new.name}: no changes")
    click.echo(f"production equipment: {old.production} -> {new.production}")


def _at(plant: Plant, date: str) -> State:
    """Return the registers in force at the end of a production day, or as the files are now."""
    if date == NOW:
        return state_of_plant(plant, NOW, _today(plant))
    try:
        day = dt.date.fromisoformat(date)
    except ValueError as error:
        raise click.UsageError(f"{date!r} is no date; write such as 2026-01-01, or now") from error
    turn = dt.datetime.fromtimestamp(local_ns(plant, day + dt.timedelta(days=1), plant.day_start) / 1e9, plant.zone)
    approval = _whole(approvals.in_force(approvals.approvals(plant.root), turn))
    return state_of_approval(approval, f"{date} ({approval.folder.name})", day)


def _of_folder(folder: Path, plant: Plant) -> State:
    day = _today(plant)
    if (folder / approvals.ABOUT).is_file():
        return state_of_approval(_whole(approvals.read(folder)), folder.name, day)
    return state_of_plant(load_plant(folder), str(folder), day)


def _whole(approval: approvals.Approval) -> approvals.Approval:
    """Return a snapshot that is as it was approved; any other ends the command."""
    faults = approval.faults()
    if faults:
        told = f"{approval.folder}: {'; '.join(faults)}: no more as it was approved; bring it back"
        raise Unverified(told)
    return approval


def _snapshots(plant: Plant) -> list[approvals.Approval]:
    try:
        return approvals.approvals(plant.root)
    except approvals.ApprovalError as error:
        raise click.ClickException(str(error)) from error


def _approval(plant: Plant) -> approvals.Approval | None:
    try:
        return approvals.approval_of(plant)
    except approvals.ApprovalError as error:
        raise click.ClickException(str(error)) from error


def _today(plant: Plant) -> dt.date:
    """Return the production day of now."""
    turn = dt.timedelta(hours=plant.day_start.hour, minutes=plant.day_start.minute)
    return (dt.datetime.now(plant.zone) - turn).date()


def _local(plant: Plant, approval: approvals.Approval) -> str:
    return f"{approval.approved_at.astimezone(plant.zone):%Y-%m-%d %H:%M}"


def _standing(plant: Plant, approval: approvals.Approval | None) -> str:
    """Return who approved the registers as they are, or what to do."""
    if approval is not None:
        return f"approved by {approval.approved_by}, {_local(plant, approval)}"
    latest = _snapshots(plant)[-1:]
    why = f"; a file has changed since {latest[0].approved_by}, {_local(plant, latest[0])}" if latest else ""
    return f"not approved as they are{why}; approve them: plantproof register approve {plant.root} --by NAME"


def _told(approval: approvals.Approval | None) -> dict[str, Any] | None:
    if approval is None:
        return None
    said = {"approved_by": approval.approved_by, "approved_at": approval.approved_at.isoformat(), "note": approval.note}
    return {**said, "sha256": dict(approval.sha256), "folder": str(approval.folder)}


def _of_state(state: State) -> dict[str, Any]:
    return {"name": state.name, "day": state.day, "production": state.production, "approval": _told(state.approval)}

"""The command `plantproof browse`."""

import asyncio
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from config import exits
from config.plant import Asset, Source
from config.units import parse_duration
from connectors.base import SourceLost, SourceRefused

if TYPE_CHECKING:
    from connectors.opcua.browse import Found
    from connectors.opcua.listing import Entry

SCHEME = "opc.tcp://"
WIDTH = 240
"""Columns of the table where stdout is no terminal."""


@click.command()
@click.argument("url")
@click.option("--points", "as_points", is_flag=True, help="Print rows for points.csv.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.option("--under", default="", help="Node id or browse path to start at; default the Objects folder.")
@click.option("--security", default="", help='"Basic256Sha256/SignAndEncrypt" and kin, or "None" by name.')
@click.option("--user", default="", help="User name.")
@click.option("--password-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Its password.")
@click.option(
    "--pki", type=click.Path(path_type=Path), default="pki", show_default=True, help="Folder of certificates."
)
@click.option("--timeout", default="4s", show_default=True, help="How long one request may take.")
@click.option("--limit", type=click.IntRange(1), default=100_000, show_default=True, help="Most nodes to visit.")
@click.option("--source", "source_id", default="opcua", show_default=True, help="Source of the rows of --points.")
@click.option("--asset", default="", help="Asset of the rows of --points; default by the machines' names.")
def browse(
    url: str,
    *,
    as_points: bool,
    as_json: bool,
    under: str,
    security: str,
    user: str,
    password_file: Path | None,
    pki: Path,
    timeout: str,
    limit: int,
    source_id: str,
    asset: str,
) -> None:
    """List what a server offers: its variables with type, unit, value and a guessed role.

    \b
    Examples:  plantproof browse opc.tcp://192.168.10.21:4840 --security None
               plantproof browse opc.tcp://192.168.10.21:4840 --security None --points --source line1

    Machines that follow OPC UA for Machinery, Machine Tools or PackML get their roles and state maps. Exits 3 when
    nodes were refused or left out, 69 when nobody answers, 78 when the server refuses.
    """
    if not url.startswith(SCHEME):
        raise click.UsageError(f"URL {url!r}: this version browses OPC UA servers alone; write {SCHEME}host:4840")
    _check_asset(asset)
    settings = {
        "user": user, "password": SecretStr(_password(password_file)), "security": security, "pki": pki,
        "timeout": _nanoseconds(timeout), "url": url, "id": source_id, "kind": "opcua",
    }  # fmt: skip
    source = _source({key: value for key, value in settings.items() if key != "user" or value})
    # The library's warnings reach the user by our own words.
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    found, rows = _browsed(source, under, limit, asset)
    left_out: Mapping[str, int] = {}
    if as_points:
        left_out = _print_points(rows, source_id)
    elif as_json:
        from connectors.opcua.listing import to_json  # noqa: PLC0415  see _browsed

        click.echo(to_json(rows).encode())
    else:
        _print_table(rows)
    _tell(found, left_out, limit)
    if found.refused or found.cut:
        sys.exit(exits.QUALITY)


def _password(file: Path | None) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n") if file is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--password-file {file}: cannot be read ({error})") from error


def _check_asset(asset: str) -> None:
    try:
        Asset(asset=asset or "x")
    except ValueError as error:
        raise click.UsageError(f"--asset {asset!r} is no id; write words joined by '/', without spaces") from error


def _nanoseconds(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.UsageError(f"--timeout {text!r}: {error}") from error


def _source(settings: Mapping[str, object]) -> Source:
    from connectors.opcua import security  # noqa: PLC0415  the other verbs need no protocol library

    try:
        source = Source.model_validate(settings)
    except ValueError as error:
        raise click.UsageError(f"--source {settings['id']!r} is no id, or --timeout is not above 0") from error
    if (fault := security.fault(source)) is not None:
        raise click.UsageError(f"--security: {fault}")
    return source


def _browsed(source: Source, under: str, limit: int, asset: str) -> "tuple[Found, list[Entry]]":
    from connectors.opcua import browse as walk  # noqa: PLC0415  the other verbs need no protocol library
    from connectors.opcua.listing import entries  # noqa: PLC0415
    from connectors.opcua.session import Session, faults  # noqa: PLC0415

    async def visit() -> "Found":
        session = Session(source, source.url, lambda _: None)
        try:
            await session.open()
            for warning in session.warnings:
                click.echo(f"warning: {warning}", err=True)
            with faults(f"browse {source.url}"):
                return await walk.browse(session, under, limit)
        finally:
            await session.close()

    try:
        found = asyncio.run(visit())
    except LookupError as error:
        raise click.UsageError(f"--under {error}") from error
    except SourceRefused as error:
        click.echo(str(error), err=True)
        sys.exit(exits.CONFIG)
    except SourceLost as error:
        click.echo(str(error), err=True)
        sys.exit(exits.UNREACHABLE)
    return found, entries(found, asset)


def _print_points(rows: "list[Entry]", source: str) -> Mapping[str, int]:
    from connectors.opcua.listing import needed_assets, to_points  # noqa: PLC0415  see _browsed

    text, left_out = to_points(rows, source)
    click.echo(text.encode(), nl=False)
    if assets := needed_assets(rows):
        click.echo(f"assets.csv needs: {', '.join(assets)}", err=True)
    return left_out


def _print_table(rows: "list[Entry]") -> None:
    from connectors.opcua.listing import harmless  # noqa: PLC0415  see _browsed

    table = Table()
    for name in ("path", "address", "type", "unit", "value", "description", "role"):
        table.add_column(name, overflow="fold")
    for row in rows:
        cells = (row.path, harmless(row.address), row.type, row.unit, row.value, row.description, row.role)
        table.add_row(*(Text(cell) for cell in cells))
    console = Console()
    (console if console.is_terminal else Console(width=WIDTH)).print(table)


def _tell(found: "Found", left_out: Mapping[str, int], limit: int) -> None:
    """Say on stderr what is missing, and why."""
    for reason, count in left_out.items():
        click.echo(f"left out: {count} variables: {reason}", err=True)
    for status, count in found.refused.most_common():
        click.echo(f"refused: {count} nodes with {status}", err=True)
    if found.cut:
        click.echo(f"cut after {limit} nodes; raise --limit, or begin deeper with --under", err=True)

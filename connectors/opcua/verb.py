"""The verb `browse` for OPC UA URLs: from options to what is printed."""

import asyncio
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from config import exits
from config.failures import Misconfigured, Unreachable
from config.plant import Source
from connectors.base import SourceLost, SourceRefused
from connectors.opcua import browse as walk
from connectors.opcua import security as settings_of_security
from connectors.opcua.browse import Found
from connectors.opcua.listing import Entry, entries, needed_assets, to_json, to_points
from connectors.opcua.session import Session, faults
from connectors.texts import harmless

WIDTH = 240
"""Columns of the table where stdout is no terminal."""


def run(
    settings: Mapping[str, object],
    output: str,
    *,
    under: str,
    security: str,
    user: str,
    password_file: Path | None,
    pki: Path,
    limit: int,
    asset: str,
) -> None:
    """Walk a server's address space and print what is there.

    settings: the fields of the source that are known. output: table, json or points.
    Raises UsageError, and exits with the code that says how it went.
    """
    own = {"user": user, "password": SecretStr(_password(password_file)), "security": security, "pki": pki}
    source = _source({**settings, **{key: value for key, value in own.items() if key != "user" or value}})
    # The library's warnings reach the user by our own words.
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    found, rows = _browsed(source, under, limit, asset)
    left_out: Mapping[str, int] = {}
    if output == "points":
        left_out = _print_points(rows, source.id)
    elif output == "json":
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


def _source(settings: Mapping[str, object]) -> Source:
    try:
        source = Source.model_validate({**settings, "kind": "opcua"})
    except ValueError as error:
        raise click.UsageError(f"--source {settings['id']!r} is no id, or --timeout is not above 0") from error
    if (fault := settings_of_security.fault(source)) is not None:
        raise click.UsageError(f"--security: {fault}")
    return source


def _browsed(source: Source, under: str, limit: int, asset: str) -> tuple[Found, list[Entry]]:
    async def visit() -> Found:
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
        raise Misconfigured(str(error)) from error
    except SourceLost as error:
        raise Unreachable(str(error)) from error
    return found, entries(found, asset)


def _print_points(rows: Sequence[Entry], source: str) -> Mapping[str, int]:
    text, left_out = to_points(rows, source)
    click.echo(text.encode(), nl=False)
    if assets := list(needed_assets(rows)):
        click.echo(f"assets.csv needs: {', '.join(assets)}", err=True)
    return left_out


def _print_table(rows: Sequence[Entry]) -> None:
    table = Table()
    for name in ("path", "address", "type", "unit", "value", "description", "role"):
        table.add_column(name, overflow="fold")
    for row in rows:
        cells = (row.path, harmless(row.address), row.type, row.unit, row.value, row.description, row.role)
        table.add_row(*(Text(cell) for cell in cells))
    console = Console()
    (console if console.is_terminal else Console(width=WIDTH)).print(table)


def _tell(found: Found, left_out: Mapping[str, int], limit: int) -> None:
    """Say on stderr what is missing, and why."""
    for reason, count in left_out.items():
        click.echo(f"left out: {count} variables: {reason}", err=True)
    for status, count in found.refused.most_common():
        click.echo(f"refused: {count} nodes with {status}", err=True)
    if found.cut:
        click.echo(f"cut after {limit} nodes; raise --limit, or begin deeper with --under", err=True)

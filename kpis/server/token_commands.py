"""The commands `plantproof token new`, `list` and `revoke`."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from config.load import load_plant
from kpis.commands import JSON, PLANT
from kpis.output import to_json
from kpis.server.tokens import SCOPES, Token, TokenFault, Tokens

T = TypeVar("T")

NAME = click.option("--name", required=True, help="Who uses it, such as erp.")


@click.group()
def token() -> None:
    """Make, list and revoke the tokens that open the API of `plantproof serve`.

    \b
    Examples:  plantproof token new PLANT --name assessment --scope read --days 365
               plantproof token list PLANT
    """


@token.command()
@PLANT
@NAME
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="Default read; may be repeated.")
@click.option("--days", type=click.IntRange(1, 3650), help="It expires after so many days. Default: never.")
@JSON
def new(plant: Path, *, name: str, scopes: tuple[str, ...], days: int | None, as_json: bool) -> None:
    """Print a new token, which is shown this once: only its hash is kept.

    \b
    Example:  plantproof token new PLANT --name assessment --scope read --days 365

    Exits 78 where the configuration is at fault.
    """
    tokens = _tokens(plant)
    made = _said(lambda: tokens.make(name, scopes or ("read",), days))
    (about,) = (_told(one) for one in _said(tokens.all) if one.name == name)
    click.echo(to_json({"token": made} | about) if as_json else made)
    click.echo(f"{name}: keep it where only its user reads it; it is not shown again", err=True)


@token.command(name="list")
@PLANT
@JSON
def list_(plant: Path, *, as_json: bool) -> None:
    """List the tokens: names, scopes, dates; never the tokens themselves.

    \b
    Example:  plantproof token list PLANT

    Exits 78 where the configuration is at fault.
    """
    tokens = _tokens(plant)
    known = _said(tokens.all)
    if as_json:
        click.echo(to_json([_told(one) | {"expired": tokens.expired(one)} for one in known]))
        return
    for one in known:
        until = "never expires" if one.expires_at is None else f"expires {_iso(one.expires_at)}"
        gone = " (expired)" if tokens.expired(one) else ""
        click.echo(f"{one.name}: {' '.join(one.scopes)}; made {_iso(one.made_at)}, {until}{gone}")
    if not known:
        click.echo("no token was made; make one with: plantproof token new PLANT --name NAME", err=True)


@token.command()
@PLANT
@NAME
@JSON
def revoke(plant: Path, *, name: str, as_json: bool) -> None:
    """Take a token out of use at once, in a running server as well.

    \b
    Example:  plantproof token revoke PLANT --name assessment

    Exits 78 where the configuration is at fault.
    """
    _said(lambda: _tokens(plant).revoke(name))
    click.echo(f"{name} is revoked", err=True)
    if as_json:
        click.echo(to_json({"revoked": name}))


def _tokens(plant: Path) -> Tokens:
    return Tokens(load_plant(plant).root)


def _said(do: Callable[[], T]) -> T:
    try:
        return do()
    except TokenFault as error:
        raise click.ClickException(str(error)) from error


def _told(one: Token) -> dict[str, object]:
    expires = None if one.expires_at is None else _iso(one.expires_at)
    return {"name": one.name, "scopes": list(one.scopes), "made_at": _iso(one.made_at), "expires_at": expires}


def _iso(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()

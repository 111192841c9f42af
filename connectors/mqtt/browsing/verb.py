"""The verb `browse` for MQTT URLs: from options to what is printed."""

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
from pydantic import SecretStr
from rich.console import Console

from config import exits
from config.failures import Misconfigured, Unreachable
from config.plant import Source
from config.units import NS_PER_SECOND
from connectors.base import SourceLost, SourceRefused
from connectors.mqtt.address import covers, filter_fault
from connectors.mqtt.browsing import listing, rows
from connectors.mqtt.browsing.births import Owner
from connectors.mqtt.browsing.browse import Found, Wanted, browse
from connectors.mqtt.browsing.folds import Fold, fold
from connectors.mqtt.browsing.meanings import Guess
from connectors.mqtt.browsing.tables import assets, incomplete, tables
from connectors.mqtt.check import check_source
from connectors.texts import clean

WIDTH = 200
"""Columns of the tables where stdout is no terminal."""
UNREADABLE = ("binary", "broken", "large")
"""Kinds of payloads that no format reads."""


def run(
    settings: Mapping[str, object],
    output: str,
    *,
    user: str,
    password_file: Path | None,
    topics: Sequence[str],
    duration: int,
    limit: int,
    asset: str,
    template: bool,
    guess: Guess,
) -> None:
    """Listen to a broker and print what its topics bear.

    settings: the fields of the source that are known. output: table, json or points. duration: how long [ns].
    guess: the role that a name, a kind of value and a unit suggest.
    Raises UsageError, and exits with the code that says how it went.
    """
    source = source_of({**settings, "user": user, "password": SecretStr(_password(password_file))})
    wanted = Wanted(filters=filters_of(topics), seconds=duration / NS_PER_SECOND, limit=limit)
    found = _found(source, wanted)
    folds, nodes = fold(found.topics.values()), [found.nodes[key] for key in sorted(found.nodes)]
    if output == "points":
        _print_points(folds, nodes, source.id, asset, guess, template=template)
    elif output == "json":
        click.echo(listing.to_json(folds, nodes, found.seconds, guess).encode())
    else:
        console = Console()
        console = console if console.is_terminal else Console(width=WIDTH)
        for part in listing.tables(folds, nodes, found.seconds, guess):
            console.print(part, markup=False, highlight=False, soft_wrap=isinstance(part, str))
    sys.exit(_tell(found, folds, wanted))


def _password(file: Path | None) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n") if file is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--password-file {file}: cannot be read ({error})") from error


def source_of(settings: Mapping[str, object]) -> Source:
    """Return the source that is listened to; raises UsageError."""
    try:
        source = Source.model_validate({**settings, "kind": "mqtt"})
    except ValueError as error:
        raise click.UsageError(f"--source {settings['id']!r} is no id, or --timeout is not above 0") from error
    if (fault := check_source(source)) is not None:
        raise click.UsageError(fault)
    return source


def filters_of(topics: Sequence[str]) -> list[str]:
    """Return the filters to subscribe to, those that others cover left out; raises UsageError."""
    wanted = list(dict.fromkeys(topics)) or ["#"]
    for one in wanted:
        if fault := filter_fault(one):
            raise click.UsageError(f"--topic {one!r}: {fault}")
    return [one for one in wanted if not any(other != one and covers(other, one) for other in wanted)]


def _found(source: Source, wanted: Wanted) -> Found:
    try:
        return asyncio.run(browse(source, wanted, lambda text: click.echo(clean(text), err=True)))
    except SourceRefused as error:
        told = clean(str(error))
        if "user name" in str(error) or "not authorized" in str(error):
            told += "\nhere user and password are given with --user and --password-file"
        raise Misconfigured(told) from error
    except SourceLost as error:
        raise Unreachable(clean(str(error))) from error


def _print_points(
    folds: Sequence[Fold], nodes: Sequence[Owner], source: str, asset: str, guess: Guess, *, template: bool
) -> None:
    found = rows.rows(folds, nodes, source, asset, guess, template=template)
    text, kept, left_out = rows.to_csv(found)
    click.echo(text.encode(), nl=False)
    for reason, count in left_out.items():
        click.echo(f"left out: {count} values: {reason}", err=True)
    if lines := tables(folds, template=template):
        click.echo(f"plant.toml needs, below [[source]] id = {source!r}:\n", err=True)
        click.echo("\n".join(lines), err=True)
    needed = assets(kept, folds)
    if needed and any(row.holes for row in kept):
        click.echo("assets.csv needs:\n\nasset\n" + "\n".join(needed) + "\n", err=True)
        for said in incomplete(folds):
            click.echo(clean(said), err=True)
    elif needed:
        click.echo(f"assets.csv needs: {', '.join(needed)}", err=True)


def _tell(found: Found, folds: Sequence[Fold], wanted: Wanted) -> int:
    """Say on stderr what is missing, and why; returns the exit code."""
    if found.warning:
        click.echo(found.warning, err=True)
    for what, count in found.unread.items():
        click.echo(f"no samples: {count} messages: {what}", err=True)
    for owner in found.nodes.values():
        if not owner.births:
            click.echo(f"{clean(owner.name)}: {listing.NO_BIRTH}", err=True)
    faults = list(_faults(found, folds, wanted))
    for fault in faults:
        click.echo(clean(fault), err=True)
    if found.lost and not found.heard:
        return exits.UNREACHABLE
    return exits.QUALITY if faults else exits.DONE


def _faults(found: Found, folds: Sequence[Fold], wanted: Wanted) -> Iterator[str]:
    """Yield what was left out or not heard."""
    for refused in found.refused:
        yield f"the broker refuses {refused}"
    if found.lost:
        yield f"the link is gone after {found.seconds:.0f} s: {found.lost}"
    if found.cut:
        yield f"cut after {wanted.limit} topics; raise --limit, or narrow with --topic"
    unread = [one for one in folds if one.kind in UNREADABLE or any(kind in UNREADABLE for topic in one.topics
                                                                    for kind in topic.shape.kinds)]  # fmt: skip
    if unread:
        names = ", ".join(one.template[:60] for one in unread[:3]) + (" ..." if len(unread) > 3 else "")
        yield f"payloads that no format reads: {sum(len(one.topics) for one in unread)} topics, such as {names}"
    elif not all(topic.shape.whole for topic in found.topics.values()):
        yield "not all payloads were looked into as a whole: too many values, or names that no address can write"
    if faulty := [owner for owner in found.nodes.values() if owner.fault or owner.cut]:
        what = faulty[0].fault or "too many metrics"
        yield f"Sparkplug messages of {len(faulty)} nodes and devices could not be read: {faulty[0].name} ({what})"
    if not found.heard and not found.lost:
        yield (
            f"nothing was heard in {found.seconds:.0f} s; listen longer with --for 60s, and look whether the broker's "
            "access list lets this user read: a broker need not say that it does not"
        )

"""The verb `browse` for Modbus URLs: from options to what is printed."""

import asyncio
import contextlib
import logging
import re
import sys
from collections.abc import Iterator, Sequence

import click
from rich.console import Console

from config import exits
from config.failures import Misconfigured, Unreachable
from config.plant import Source
from connectors.base import SourceLost, SourceRefused
from connectors.modbus import listing, sunspec
from connectors.modbus.browse import Found, Wanted, browse
from connectors.modbus.check import check_source
from connectors.modbus.plan import parse_range
from connectors.modbus.scan import Span
from connectors.modbus.target import parse_url

LAST_UNIT = 255
WIDTH = 200
"""Columns of the tables where stdout is no terminal."""
_UNITS = re.compile(r"([0-9]{1,3})(?:-([0-9]{1,3}))?")


def run(
    settings: dict[str, object],
    output: str,
    *,
    units: str,
    scan: Sequence[str],
    models: bool,
    rate: float,
    limit: int,
    asset: str,
) -> None:
    """Look behind a link and print what is there.

    settings: the fields of the source that are known. output: table, json or points. models: look for SunSpec's.
    Raises UsageError, and exits with the code that says how it went.
    """
    source = source_of(settings)
    numbers, spans = targets(source, units, scan)
    wanted = Wanted(units=numbers, spans=spans, sunspec=models, rate=rate, limit=limit)
    found = _found(source, wanted)
    if output == "points":
        _print_points(found, source.id, asset)
    elif output == "json":
        click.echo(listing.to_json(found).encode())
    else:
        console = Console()
        console = console if console.is_terminal else Console(width=WIDTH)
        for part in listing.tables(found):
            console.print(part, markup=False, highlight=False, soft_wrap=isinstance(part, str))
    sys.exit(_tell(found, wanted))


def source_of(settings: dict[str, object]) -> Source:
    """Return the source that is looked at; raises UsageError."""
    try:
        source = Source.model_validate(settings | {"kind": "modbus"})
    except ValueError as error:
        raise click.UsageError(f"--source {settings['id']!r} is no id, or --timeout is not above 0") from error
    files = [name for name in ("ca", "server_name", "certificate", "private_key") if getattr(source, name)]
    if files and not source.url.startswith("modbus+tls:"):
        option = files[0].replace("_", "-")
        raise click.UsageError(f"--{option} belongs to modbus+tls:// URLs; {source.url} has no TLS")
    if (fault := check_source(source)) is not None:
        raise click.UsageError(fault)
    return source


def targets(source: Source, units: str, scan: Sequence[str]) -> tuple[list[int], list[Span]]:
    """Return the units to ask and the registers to scan; raises UsageError.

    units: such as 1-10,247; empty: those that ranges name, else unit 1.
    scan: ranges such as 3/holding:0-199; without a unit: of every unit.
    """
    try:
        ranges = [parse_range(text, source.unit) for text in scan]
    except ValueError as error:
        raise click.UsageError(f"--scan: {error}") from error
    named = [unit for unit, *_ in ranges if unit is not None]
    numbers = _numbers(units) if units else [] if named and len(named) == len(ranges) else [source.unit]
    numbers = list(dict.fromkeys([*numbers, *named]))
    if 0 in numbers and parse_url(source.url).serial:
        raise click.UsageError("unit 0: on a serial line that is everybody, and nobody answers; name units from 1 on")
    spans = [
        Span(unit, table, first, last - first + 1)
        for of, table, first, last in ranges
        for unit in (numbers if of is None else [of])
    ]
    return numbers, spans


def _numbers(text: str) -> list[int]:
    found: list[int] = []
    for word in text.split(","):
        match = _UNITS.fullmatch(word.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match is not None else (1, 0)
        if not first <= last <= LAST_UNIT:
            raise click.UsageError(f"--units {text!r}: {word!r} is neither a unit nor a range; write such as 1-10,247")
        found += range(first, last + 1)
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the link's warnings off the terminal: what they say stands in the notes."""
    log = logging.getLogger("plantproof.modbus")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def _found(source: Source, wanted: Wanted) -> Found:
    try:
        with _quiet():
            found = asyncio.run(browse(source, wanted, lambda text: click.echo(text, err=True)))
    except SourceRefused as error:
        raise Misconfigured(str(error)) from error
    except SourceLost as error:
        raise Unreachable(str(error)) from error
    return found


def _print_points(found: Found, source: str, asset: str) -> None:
    text = listing.to_points(found, source, asset)
    click.echo(text.encode(), nl=False)
    rows = list(listing.proposals(found, source, asset))
    for line in [*(f"perhaps, if the device is one: {row}" for row in rows), *_remarks(found)]:
        click.echo(line, err=True)
    if text.count("\n") > 1 or rows:
        assets = dict.fromkeys(listing.asset_of(found, unit, asset) for unit in found.present)
        click.echo(f"assets.csv needs: {', '.join(assets)}", err=True)
    elif found.present:
        click.echo("no rows: look for SunSpec models with --sunspec, or for registers with --scan", err=True)


def _remarks(found: Found) -> Iterator[str]:
    """Yield what tables and JSON say and rows cannot."""
    for unit in found.present:
        if unit.note:
            yield f"unit {unit.number}: {unit.note}"
        for scanned in unit.scans:
            yield from listing.refusals(scanned)


def _tell(found: Found, wanted: Wanted) -> int:
    """Say on stderr what is missing, and why; returns the exit code."""
    for why, numbers in _silent(found).items():
        click.echo(f"silent: {_units(numbers)}: {why}", err=True)
    chains = {unit.number: unit.chain for unit in found.present}
    none = [number for number, chain in chains.items() if chain is None]
    if wanted.sunspec and none:
        where = ", ".join(str(base) for base in sunspec.BASES)
        click.echo(f"no SunSpec marker at holding {where}: {_units(none)}", err=True)
    faults = [f"unit {number}: {chain.note}" for number, chain in chains.items() if chain is not None and chain.note]
    if found.lost:
        faults.append(f"the link is gone: {found.lost}")
    if found.cut:
        faults.append(f"cut after {wanted.limit} registers; raise --limit, or scan less")
    for fault in faults:
        click.echo(fault, err=True)
    if not found.present:
        click.echo("no unit answers; is the unit's number right, and does another master hold the line?", err=True)
        return exits.UNREACHABLE
    return exits.QUALITY if faults or any(unit.doubtful for unit in found.present) else exits.DONE


def _units(numbers: Sequence[int]) -> str:
    return f"{'unit' if len(numbers) == 1 else 'units'} {runs(numbers)}"


def _silent(found: Found) -> dict[str, list[int]]:
    """Return the units that do not answer, by what they do instead."""
    silent: dict[str, list[int]] = {}
    for unit in found.units:
        if not unit.present:
            why = unit.note.removeprefix(f"unit {unit.number} ") or "was not asked to the end"
            silent.setdefault(why, []).append(unit.number)
    return silent


def runs(numbers: Sequence[int]) -> str:
    """Return numbers in rising order as ranges, `2-10, 247`."""
    ends: list[list[int]] = []
    for number in numbers:
        if ends and number == ends[-1][1] + 1:
            ends[-1][1] = number
        else:
            ends.append([number, number])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ends)

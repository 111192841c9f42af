"""The commands `plantproof evidence build` and `plantproof evidence verify`."""

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from config import exits
from config.approvals import ApprovalError
from config.faults import ConfigError, Fault
from config.language import Lang, lang_option
from config.load import load_plant
from config.plant import Plant
from kpis import scale
from kpis.commands import FROM, JSON, LAKE, PLANT, STORE, TO, store_to_read, window_of
from kpis.evidence.archive import MAX_BYTES
from kpis.evidence.contents import DEFAULT_RUBRICS, RUBRICS, Asked
from kpis.evidence.gather import knows
from kpis.evidence.history import HistoryFault
from kpis.evidence.keys import KeyFault, Signer, read_key, read_passphrase
from kpis.evidence.package import PackageError
from kpis.evidence.package import build as build_package
from kpis.evidence.progress import Progress as Told
from kpis.evidence.traces import Period
from kpis.evidence.verify import PROVES, Report
from kpis.evidence.verify import verify as verify_package
from kpis.extras import MissingExtraError
from kpis.indicators.comparison import before, year_before
from kpis.indicators.said import Said
from kpis.output import print_table, to_json
from kpis.stores import Store, StoreError

COMPARED = ("year", "previous", "none")
_CANNOT = (ApprovalError, ConfigError, HistoryFault, MissingExtraError, PackageError, StoreError, OSError)


@click.group()
def evidence() -> None:
    """Build and verify packages that anyone can recompute.

    \b
    Examples:  plantproof evidence build PLANT --from 2026-11-01 --to 2026-12-01 --out 2026-11.zip
               plantproof evidence verify 2026-11.zip
    """


@evidence.command()
@PLANT
@FROM
@TO
@LAKE
@STORE
@click.option("--compare", type=click.Choice(COMPARED), default="year", show_default=True,
              help="Period that changes are told against, where something is known of it.")  # fmt: skip
@click.option("--rubric", "rubrics", multiple=True, type=click.Choice(RUBRICS), default=DEFAULT_RUBRICS,
              show_default=True, help="Rubrics to hold the figures against; may be repeated.")  # fmt: skip
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False), help="Sign with this private key.")
@click.option("--passphrase-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Of the key.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The package to write.")
@JSON
def build(
    plant: Path,
    *,
    start: str | None,
    end: str | None,
    lake_path: Path | None,
    store: str | None,
    compare: str,
    rubrics: tuple[str, ...],
    key: Path | None,
    passphrase_file: Path | None,
    out: Path,
    as_json: bool,
) -> None:
    """Build the evidence package of a period from the lake, or from InfluxDB.

    \b
    Examples:  plantproof evidence build PLANT --from 2026-11-01 --to 2026-12-01 --out 2026-11.zip
               plantproof evidence build PLANT --from 2026-01-01 --to 2027-01-01 --key plant.key --out 2026.zip

    Exits 3 where rows of a business system are left out, 78 where the configuration is at fault.
    """
    loaded = load_plant(plant)
    signer = _signer(key, passphrase_file)
    place = store_to_read(loaded, store, lake_path)
    period = window_of(loaded, place, start, end)
    faults: list[Fault] = []
    try:
        asked = Asked(
            period=period, before=_before(loaded, place, period, compare), rubrics=tuple(dict.fromkeys(rubrics))
        )
        with _bar() as told, scale.beside(place.height(*period)) as executor:
            package = build_package(
                loaded, place, asked, signer=signer, progress=told, faults=faults, executor=executor
            )
    except _CANNOT as error:
        raise click.ClickException(str(error)) from error
    _write(package, out)
    signed = "not signed: name a --key to sign it" if signer is None else f"signed with key {signer.key_id}"
    click.echo(f"{out}: {len(package):,} bytes, {signed}", err=True)
    left_out = list(dict.fromkeys(map(str, faults)))
    for fault in left_out:
        click.echo(f"left out: {fault}", err=True)
    if as_json:
        about = {"file": str(out), "bytes": len(package), "sha256": hashlib.sha256(package).hexdigest()}
        click.echo(to_json({**about, "key_id": None if signer is None else signer.key_id, "left_out": left_out}))
    if faults:
        sys.exit(exits.QUALITY)


def _write(package: bytes, out: Path) -> None:
    """Write a package whole or not at all."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part")  # of two builders each writes its own
    try:
        try:
            part.write_bytes(package)
            part.replace(out)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise click.ClickException(f"{out} cannot be written ({error.strerror}); name another --out") from error


def _signer(key: Path | None, passphrase_file: Path | None) -> Signer | None:
    if key is None:
        return None
    try:
        return read_key(key, None if passphrase_file is None else read_passphrase(passphrase_file))
    except KeyFault as error:
        raise click.UsageError(str(error)) from error


def _before(plant: Plant, store: Store, period: Period, compare: str) -> Period | None:
    """Return the period that changes are told against; None where nothing is known of it."""
    if compare == "none":
        return None
    earlier = year_before(plant, period) if compare == "year" else before(plant, period)
    if knows(plant, store, earlier):
        return earlier
    click.echo(f"nothing is known of the {compare} period before: the package compares with none", err=True)
    return None


@contextmanager
def _bar() -> Iterator[Told]:
    """Show how far the building is, on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("evidence", total=1.0)
        yield lambda doing, share: shown.update(task, description=doing, completed=share)


@evidence.command()
@click.argument("package", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--lake", "lake_path", type=click.Path(path_type=Path, exists=True), help="Recompute from these samples.")
@click.option("--key", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Public key that must have signed it.")  # fmt: skip
@click.option("--after", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="An older package that this one must be later than.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@lang_option()
def verify(
    package: Path, *, lake_path: Path | None, key: Path | None, after: Path | None, as_json: bool, lang: Lang
) -> None:
    """Check every byte of a package and its signature, and compute what it states again.

    \b
    Examples:  plantproof evidence verify 2026-11.zip
               plantproof evidence verify 2026-11.zip --key plant.pub --lang zh
               plantproof evidence verify 2026-11.zip --lake var/lake --after 2026-10.zip

    Without --lake everything is computed from the data inside. Nothing is asked over a network. Exits 4 where
    anything differs.
    """
    trusted, older = None if key is None else key.read_bytes(), None if after is None else _read(after)
    report = verify_package(_read(package), lake_path, trusted=trusted, after=older)
    if as_json:
        lists = {"checked": report.checked, "notes": report.notes, "faults": report.faults}
        told = {name: [said.into(lang) for said in some] for name, some in lists.items()}
        click.echo(to_json({"verified": not report.faults} | told))
    else:
        _show(report, lang)
    if report.faults:
        sys.exit(exits.VERIFY)


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        raise click.ClickException(f"{path} has more than {MAX_BYTES} bytes, which no package has; check the file")
    return path.read_bytes()


_MARKS = {"ok": Said("ok", "通过"), "note": Said("note", "提示"), "fault": Said("FAULT", "不符")}
_RESULT = (Said("verified", "核验通过"), Said("not verified", "核验不通过"))


def _show(report: Report, lang: Lang) -> None:
    """Print what was found as a table, and what it means."""
    shown = Table(show_header=False)
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for kind, some in (("ok", report.checked), ("note", report.notes), ("fault", report.faults)):
        for said in some:
            shown.add_row(_MARKS[kind].into(lang), said.into(lang))
    print_table(shown)
    click.echo(_RESULT[bool(report.faults)].into(lang))
    if not report.faults:
        click.echo(PROVES.into(lang))

"""The commands `plantproof evidence build` and `plantproof evidence verify`."""

import sys
from pathlib import Path

import click

from config import exits
from config.load import load_plant
from kpis.commands import FROM, LAKE, PLANT, STORE, TO, from_store, store_to_read
from kpis.evidence.package import PackageError
from kpis.evidence.package import build as build_package
from kpis.evidence.verify import verify as verify_package
from kpis.output import to_json
from kpis.stores import StoreError


@click.group()
def evidence() -> None:
    """Build and verify packages that anyone can recompute."""


@evidence.command()
@PLANT
@FROM
@TO
@LAKE
@STORE
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The package to write.")
def build(
    plant: Path, *, start: str | None, end: str | None, lake_path: Path | None, store: str | None, out: Path
) -> None:
    """Build the evidence package of a period from the lake, or from InfluxDB.

    \b
    Example:  plantproof evidence build PLANT --from 2026-11-01 --to 2026-12-01 --out 2026-11.zip
    """
    loaded = load_plant(plant)
    place = store_to_read(loaded, store, lake_path)
    _, first, last = from_store(loaded, place, start, end)
    try:
        package = build_package(loaded, place, first, last)
    except (PackageError, StoreError, OSError) as error:
        raise click.ClickException(str(error)) from error
    try:
        out.write_bytes(package)
    except OSError as error:
        raise click.ClickException(f"{out} cannot be written ({error.strerror}); name another --out") from error
    click.echo(f"{out}: {out.stat().st_size} bytes", err=True)


@evidence.command()
@click.argument("package", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--lake", "lake_path", type=click.Path(path_type=Path, exists=True), help="Recompute from these samples.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def verify(package: Path, *, lake_path: Path | None, as_json: bool) -> None:
    """Check every byte of a package, and compute its figures again.

    \b
    Examples:  plantproof evidence verify 2026-11.zip
               plantproof evidence verify 2026-11.zip --lake var/lake

    Without --lake the figures are computed from the facts inside. Exits 4 on any difference.
    """
    report = verify_package(package.read_bytes(), lake_path)
    if as_json:
        told = {"checked": report.checked, "notes": report.notes, "faults": report.faults}
        click.echo(to_json({"verified": not report.faults} | told))
    else:
        for line in report.checked:
            click.echo(f"ok: {line}")
        for line in report.notes:
            click.echo(f"note: {line}")
        for line in report.faults:
            click.echo(f"FAULT: {line}")
        click.echo("not verified" if report.faults else "verified")
    if report.faults:
        sys.exit(exits.VERIFY)

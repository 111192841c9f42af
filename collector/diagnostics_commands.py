"""The command `plantproof diagnostics`."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import click

from collector.diagnostics import ENTRIES, LINES, bundle, zipped
from collector.doctor import Machine


@click.command()
@click.argument("plant", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The ZIP file to write.")
@click.option("--lines", type=click.IntRange(min=1), default=LINES, show_default=True, help="Of ledger and log.")
@click.option("--log", type=click.File(encoding="utf-8", errors="replace"), help="A log to take along; - is stdin.")
@click.option("--anonymous", is_flag=True, help="Replace names, each by the same word everywhere.")
@click.option("--json", "as_json", is_flag=True, help="Print what is in it as JSON.")
def diagnostics(plant: Path, *, out: Path, lines: int, log: TextIO | None, anonymous: bool, as_json: bool) -> None:
    """Pack a support bundle: configuration, status, ledger, versions, doctor's report; no samples, no secrets.

    \b
    Examples:  plantproof diagnostics /etc/plantproof --out support.zip
               plantproof diagnostics /etc/plantproof --out support.zip --log agent.log
               plantproof diagnostics /etc/plantproof --out support.zip --anonymous

    It lists what it packed. Names of assets and points stay unless --anonymous is given. It sends nothing and
    overwrites nothing. A log comes from `journalctl -u plantproof -o cat > agent.log`, or through a pipe with --log -.
    Exits 78 where nothing of the configuration can be read.
    """
    files = bundle(plant, log or (), Machine.this(), lines=lines, anonymous=anonymous)
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(zipped(files))
    except OSError as error:
        raise click.ClickException(f"{out} cannot be written ({error.strerror}); name a new file") from error
    _print(files, as_json=as_json)
    click.echo(f"{out}: look through it before you send it", err=True)


def _print(files: Mapping[str, str], *, as_json: bool) -> None:
    listed = [{"file": name, "bytes": len(text.encode()), "holds": ENTRIES[name]} for name, text in files.items()]
    if as_json:
        click.echo(json.dumps(listed, ensure_ascii=False, indent=1))
        return
    for one in listed:
        click.echo(f"{one['file']:<16}{one['bytes']:>9} B  {one['holds']}")

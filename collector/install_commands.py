"""The commands `plantproof install` and `plantproof uninstall`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click

from collector import install as steps
from collector.commands import PLANT, load_checked
from collector.install import NotInstallable, Step

_ROOT = click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    default=Path("/"),
    help="Install into the system below this folder, such as an image.",
)
_DRY = click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the steps as a JSON list.")


@click.command()
@PLANT
@_ROOT
@click.option("--prefix", help="The environment that has PlantProof; default the one that this command runs in.")
@click.option("--serial", "ports", multiple=True, metavar="DEV", help="A serial port that it may use; may be repeated.")
@click.option("--agent", default="", help="This gateway's name, where a plant has several.")
@_DRY
@_JSON
def install(
    plant: Path, *, root: Path, prefix: str | None, ports: tuple[str, ...], agent: str, dry_run: bool, as_json: bool
) -> None:
    """Install the agent as a systemd service that starts now and at each boot.

    \b
    Examples:  plantproof install /etc/plantproof --dry-run
               plantproof install /etc/plantproof
               plantproof install /etc/plantproof --serial /dev/ttyUSB0
               plantproof install image/etc/plantproof --root image --prefix /opt/plantproof

    Lists every file, folder, user and command before it touches any. Once more it does only what is left to do. Wants
    root, but for --root and --dry-run. Exits 78 where the configuration is at fault.
    """
    loaded = load_checked(plant)
    folder = steps.seen((plant if plant.is_dir() else plant.parent).resolve(), root)
    there = prefix or steps.seen(Path(sys.prefix), root)
    try:
        _check(root, plant, there)
        found = steps.installation(loaded, folder, prefix=there.rstrip("/"), root=root, ports=ports, agent=agent)
    except NotInstallable as error:
        raise click.ClickException(str(error)) from error
    _do(steps.with_commands(found, root, install=True), root, dry_run=dry_run, as_json=as_json)


@click.command()
@_ROOT
@_DRY
@_JSON
def uninstall(*, root: Path, dry_run: bool, as_json: bool) -> None:
    """Stop the service and remove what `plantproof install` wrote.

    \b
    Examples:  plantproof uninstall --dry-run
               plantproof uninstall

    Spool, lake, configuration, the environment, the user and files that others wrote stay; they are listed. Wants root,
    but for --root and --dry-run.
    """
    _do(steps.with_commands(steps.removal(root), root, install=False), root, dry_run=dry_run, as_json=as_json)


def _check(root: Path, plant: Path, prefix: str) -> None:
    """Raise NotInstallable where the unit would start nothing."""
    if root != Path("/") and not plant.resolve().is_relative_to(root):
        raise NotInstallable(f"{plant} is not below {root}; name the plant's folder within it")
    command = steps.below(root, f"{prefix}/bin/plantproof")
    if not command.exists():
        raise NotInstallable(f"{command} is not there; name the environment that has it with --prefix")
    start = b"\n".join(command.read_bytes().splitlines()[:2])
    if root != Path("/") and f"{root}/".encode() in start:
        raise NotInstallable(f"{command} starts Python from {root}, which is another path once it boots: use chroot")


def _do(found: list[Step], root: Path, *, dry_run: bool, as_json: bool) -> None:
    """Print the steps, and then do them."""
    if as_json:
        told = [{"do": step.do, "target": step.target, "why": step.why} for step in found]
        click.echo(json.dumps(told, ensure_ascii=False, indent=1))
    else:
        for step in found:
            click.echo(f"{step.do:<8} {step.target:<66} {step.why}")
    if dry_run:
        return
    if root == Path("/") and os.geteuid() != 0:
        raise click.ClickException("this changes the system and wants root: sudo, or --dry-run to read it alone")
    for step in found:
        try:
            steps.perform(step, root)
        except (OSError, LookupError, subprocess.CalledProcessError) as error:
            raise click.ClickException(f"{step.do} {step.target}: {error}; what stands above it is done") from error

"""The command that makes an offline bundle; it runs on a machine with an index, never on the gateway."""

import json
from pathlib import Path

import click

from collector.bundle.lock import LockError

PLATFORMS = ("linux_x86_64", "linux_aarch64")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--platform", type=click.Choice(PLATFORMS), required=True, help="Where it is to be installed.")
@click.option("--python", "version", default="3.11", show_default=True, help="The Python there, such as 3.11.")
@click.option("--glibc", default="2.28", show_default=True, help="The oldest glibc that may be there.")
@click.option("--extra", "extras", multiple=True, help="An extra besides the agent, such as kpi; may be repeated.")
@click.option(
    "--tree",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=".",
    help="PlantProof's source tree.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def bundle(
    folder: Path, *, platform: str, version: str, glibc: str, extras: tuple[str, ...], tree: Path, as_json: bool
) -> None:
    """Make a folder that installs PlantProof on a machine without an index.

    \b
    Examples:  plantproof bundle gateway --platform linux_x86_64
               plantproof bundle office --platform linux_aarch64 --python 3.12 --extra kpi --extra server

    It holds wheels by the hashes of requirements.lock, SHA256SUMS, a CycloneDX SBOM, install.sh and the deployment's
    files. Takes wheels from where pip's own settings say, and runs in PlantProof's source tree.
    """
    try:
        from collector.bundle.make import make_bundle  # noqa: PLC0415  packaging is not the agent's
        from collector.bundle.wheels import Target  # noqa: PLC0415
    except ModuleNotFoundError as error:
        hint = "bundles are made in a development environment: make check sets one up"
        raise click.ClickException(f"{error.name} is not installed; {hint}") from error
    target = Target(platform.removeprefix("linux_"), _version(version, 3, "--python"), _minor(glibc))
    try:
        made = make_bundle(tree, folder, target, sorted(set(extras)))
    except LockError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        about = {"folder": str(folder), "wheels": made.wheels, "bytes": made.size, "sha256sums": made.sums}
        click.echo(json.dumps(about, ensure_ascii=False, indent=1))
        return
    click.echo(f"{folder}: {made.wheels} wheels, {made.size / 2**20:.1f} MiB")
    click.echo(f"SHA-256 of its SHA256SUMS, to be told by another way than the bundle goes:\n{made.sums}")


def _version(text: str, major: int, option: str) -> str:
    first, _, second = text.partition(".")
    if first != str(major) or not second.isascii() or not second.isdigit():
        raise click.BadParameter(f"{text!r} is not a version such as {major}.11", param_hint=option)
    return text


def _minor(glibc: str) -> int:
    return int(_version(glibc, 2, "--glibc").partition(".")[2])

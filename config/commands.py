"""The command `plantproof init`."""

from importlib import resources
from pathlib import Path

import click

FILES = ("plant.toml", "assets.csv", "points.csv", "products.csv", "calendar.csv")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def init(folder: Path) -> None:
    """Write a commented starter plant into FOLDER; what is commented out is the default.

    \b
    Example:  plantproof init my-plant

    Nothing is overwritten: a folder that has one of the files already is refused.
    """
    starter = resources.files("config").joinpath("starter")
    there = [name for name in FILES if (folder / name).exists()]
    if there:
        raise click.UsageError(f"{folder} has {', '.join(there)} already; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (folder / name).write_bytes(starter.joinpath(name).read_bytes())
        click.echo(str(folder / name))
    steps = f"  plantproof check {folder}\n  plantproof run {folder}"
    click.echo(f"Edit plant.toml and the tables, then: 请修改 plant.toml 与各表，然后：\n{steps}", err=True)

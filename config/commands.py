"""The commands `plantproof init`, `echo` and `schema`."""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import click

from config import echo as echoed
from config import includes
from config.load import load_plant, plant_file

FILES = ("plant.toml", "assets.csv", "points.csv", "products.csv", "calendar.csv")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the files that were written as JSON.")
def init(folder: Path, *, as_json: bool) -> None:
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
    files = [str(folder / name) for name in FILES]
    click.echo(json.dumps({"files": files}, ensure_ascii=False, indent=1) if as_json else "\n".join(files))
    steps = f"  plantproof check {folder}\n  plantproof run {folder}"
    click.echo(f"Edit plant.toml and the tables, then: 请修改 plant.toml 与各表，然后：\n{steps}", err=True)


@click.command()
@click.argument("plant", type=click.Path(path_type=Path, exists=True))
@click.option("--points", "as_points", is_flag=True, help="Print the whole point table in place of plant.toml, as CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print an object of JSON.")
def echo(plant: Path, *, as_points: bool, as_json: bool) -> None:
    """Print the configuration as it is resolved: conf.d and defaults worked in, secrets masked.

    \b
    Examples:  plantproof echo /etc/plantproof
               plantproof echo /etc/plantproof --points > points-whole.csv

    Connects to nothing and looks up no secret: ${env:}, ${file:} and ${cred:} stay as they are written, and what else
    may hold one is ***. What is printed is a plant.toml again, without *** as it stands; with --points it is a
    points.csv in which every register map and every name in braces is expanded. Exits 78 where the configuration is
    at fault.
    """
    loaded = load_plant(plant)
    files = includes.read(plant_file(plant)).files
    found = echoed.resolved(loaded)
    if as_json:
        whole = {"files": files, "config": found, **echoed.counts(loaded)}
        whole |= {"rows": echoed.points(loaded)} if as_points else {}
        click.echo(json.dumps(whole, ensure_ascii=False, indent=1, default=str))
        return
    click.echo(
        echoed.points_csv(loaded) if as_points else echoed.to_toml(found, list(echoed.heads(loaded, files))), nl=False
    )
    if not as_points and (count := _masks(found)):
        which = "1 value is masked: write it" if count == 1 else f"{count} values are masked: write them"
        click.echo(f"{which} back before this is loaded", err=True)


def _masks(value: Any) -> int:
    """Return how many values are masked."""
    if isinstance(value, Mapping):
        return sum(map(_masks, value.values()))
    if isinstance(value, list):
        return sum(map(_masks, value))
    return isinstance(value, str) and echoed.MASK in value


@click.command()
@click.option("--conf-d", "part", is_flag=True, help="Of a file of conf.d, which need not have every key.")
@click.option("--json", "_as_json", is_flag=True, help="Changes nothing: a schema is JSON.")
def schema(*, part: bool, _as_json: bool) -> None:
    """Print the JSON Schema of plant.toml, for editors that complete and check TOML.

    \b
    Examples:  plantproof schema > plant.schema.json
               plantproof schema --conf-d > conf-d.schema.json

    Name it in the first line of the file: #:schema ./plant.schema.json
    """
    from config.editor_schema import schema as made  # noqa: PLC0415  the other verbs need no schema

    click.echo(json.dumps(made(part=part), ensure_ascii=False, indent=1))

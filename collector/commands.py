"""The commands of the agent: check, run, import."""

import asyncio
import functools
import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from collector import health, host
from collector.logs import to_stderr
from collector.sinks import base as sinks
from config import chinese, exits
from config.echo import masked_url
from config.failures import Misconfigured, fault_data
from config.faults import ConfigError, Fault
from config.language import Lang, lang_option
from config.load import load_plant
from config.plant import Plant, Source
from config.samples import SampleFileError
from config.units import parse_duration
from connectors import base as connectors

PLANT = click.argument("plant", type=click.Path(path_type=Path, exists=True))


def _place(plant: Plant, key: str) -> str:
    """Return where a key stands: in a file of conf.d, perhaps."""
    return plant.places.get(key, key)


def faults_of(plant: Plant) -> list[Fault]:
    """Return what connectors and sinks have against the plant: kinds, addresses and types; never connects."""
    faults = []
    kinds = {}
    for n, source in enumerate(plant.sources, 1):
        try:
            kinds[source.id] = module, _ = connectors.load(source.kind), source
            if (fault := module.check_source(source)) is not None:
                place = _place(plant, f"plant.toml: source[{n}]")
                hint = f"see docs/connectors.md, {source.kind}"
                faults.append(Fault(place, f"source {source.id}", source.url, fault, hint))
        except LookupError as error:
            hint = f"write one of {', '.join(connectors.KINDS)}"
            place = _place(plant, f"plant.toml: source[{n}].kind")
            faults.append(Fault(place, f"source {source.id}", source.kind, str(error), hint))
    for n, sink in enumerate(plant.sinks, 1):
        if sink.kind not in sinks.KINDS:
            rule = f"the stores of this version are {', '.join(sinks.KINDS)}"
            place = _place(plant, f"plant.toml: sink[{n}].kind")
            faults.append(Fault(place, f"sink {sink.name}", sink.kind, rule, "write one of them"))
    faults += health.faults(plant)
    for point in plant.points:
        if point.source not in kinds:
            continue
        module, of_point = kinds[point.source]
        fault = module.check(of_point, point)
        if fault is not None:
            hint = f"see docs/connectors.md, {of_point.kind}"
            place = f"{plant.places.get(point.point, 'points.csv')} column address"
            faults.append(Fault(place, f"point {point.point}", point.address, fault, hint))
    return faults


def load_checked(path: Path, *, secrets: bool = False) -> Plant:
    """Load a plant and hold it against connectors and sinks; ConfigError lists every fault."""
    plant = load_plant(path, secrets=secrets)
    faults = faults_of(plant)
    if faults:
        raise ConfigError(tuple(faults))
    return plant


@click.command()
@PLANT
@click.option("--json", "as_json", is_flag=True, help="Print the faults as a JSON list; with --reads an object.")
@click.option("--reads", is_flag=True, help="Print every address that will be read, for sign-off.")
@lang_option()
def check(plant: Path, *, as_json: bool, reads: bool, lang: Lang) -> None:
    """Validate a plant's configuration without connecting to anything.

    \b
    Examples:  plantproof check /etc/plantproof
               plantproof check /etc/plantproof --reads
               plantproof check /etc/plantproof --lang zh

    Lists every fault at once with its place and the next step. Without faults it prints what will be read of each
    source. Exits 78 where the configuration is at fault.
    """
    with _warnings_in(lang):
        loaded, faults = _looked_at(plant)
    if as_json:
        listed = [fault_data(fault) for fault in faults]
        told = {"faults": listed, **_to_be_read(None if faults else loaded)} if reads else listed
        click.echo(json.dumps(told, ensure_ascii=False, indent=1))
    else:
        _print(faults, loaded, lang, whole=reads)
    if faults:
        sys.exit(exits.CONFIG)


def _looked_at(path: Path) -> tuple[Plant | None, list[Fault]]:
    """Return the plant, None where it is at fault, and all faults."""
    try:
        loaded = load_plant(path)
    except ConfigError as error:
        return None, [*error.faults, *(faults_of(error.plant) if error.plant is not None else ())]
    return loaded, faults_of(loaded)


@contextmanager
def _warnings_in(lang: Lang) -> Iterator[None]:
    """Tell warnings of loading, which Python tells in English where nobody takes them, in Chinese where asked for."""
    log, handler = logging.getLogger("plantproof"), logging.Handler(logging.WARNING)
    handler.emit = lambda record: click.echo(chinese.of_line(record.getMessage()), err=True)  # type: ignore[method-assign]
    if lang == "zh":
        log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def _print(faults: Sequence[Fault], plant: Plant | None, lang: Lang, *, whole: bool) -> None:
    """Print the faults, or where there is none what will be read of each source."""
    told: Callable[[Fault], str] = chinese.of_fault if lang == "zh" else str
    said: Callable[[str], str] = chinese.of_line if lang == "zh" else str
    for fault in faults:
        click.echo(told(fault))
    if faults:
        click.echo(said(f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"), err=True)
    elif plant is not None:
        counts = (f"{len(getattr(plant, name))} {name}" for name in ("sources", "points", "assets", "sinks"))
        click.echo(said(f"ok: {', '.join(counts)}"))
        for source in plant.sources:
            _print_reads(plant, source, said, whole=whole)


def _print_reads(plant: Plant, source: Source, said: Callable[[str], str], *, whole: bool) -> None:
    """Print what will be read of a source: its polls, and with `whole` every address."""
    points = [point for point in plant.points if point.source == source.id]
    if not points:
        note = f"note: source {source.id} has no points; name it in the source column of points.csv"
        click.echo(said(note), err=True)
        return
    click.echo(said(f"source {source.id} ({source.url}):"))
    for line in connectors.load(source.kind).reads(source, points):
        if whole or not line.startswith("    "):
            click.echo(f"  {said(line)}")


def _to_be_read(plant: Plant | None) -> dict[str, Any]:
    """Return what will be read of each source, and how much of what the plant has; nothing of one with faults."""
    if plant is None:
        return {"counts": {}, "sources": []}
    counts = {name: len(getattr(plant, name)) for name in ("sources", "points", "assets", "sinks")}
    return {"counts": counts, "sources": [_source_reads(plant, source) for source in plant.sources]}


def _source_reads(plant: Plant, source: Source) -> dict[str, Any]:
    points = [point for point in plant.points if point.source == source.id]
    lines = list(connectors.load(source.kind).reads(source, points)) if points else []
    about = {"source": source.id, "kind": source.kind, "url": masked_url(source.url)}
    return {**about, "points": len(points), "reads": lines}


def seconds(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    """Read an option's duration [s]."""
    try:
        return parse_duration(text) / 1e9 if text else None
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}") from error


@click.command()
@PLANT
@click.option("--for", "duration", callback=seconds, help="Stop by itself after this long, such as 60s.")
@click.option("--agent", "name", default="agent", show_default=True, help="This gateway's name.")
@click.option("--json", "as_json", is_flag=True, help="Log one JSON line an event.")
def run(plant: Path, *, duration: float | None, name: str, as_json: bool) -> None:
    """Collect the plant's samples until told to stop (SIGTERM, SIGINT) or for a while.

    \b
    Examples:  plantproof run /etc/plantproof
               plantproof run demo-plant --for 60s

    On stop it commits what it holds and lets the sinks drain. SIGHUP lets it take its configuration anew, as
    plantproof reload does. Exits 78 where the configuration or the spool is at fault.
    """
    from collector.agent import Agent  # noqa: PLC0415  the other commands need no frames
    from collector.host import Locked  # noqa: PLC0415
    from collector.spool import SpoolFormat  # noqa: PLC0415

    to_stderr(as_json=as_json)
    load = functools.partial(load_checked, plant, secrets=True)
    agent = Agent(load(), name=name, load=load)
    try:
        asyncio.run(_until_stopped(agent, duration))
    except (Locked, SpoolFormat) as error:
        raise Misconfigured(str(error)) from error


async def _until_stopped(agent: Any, seconds: float | None) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    terminal = sys.stderr.isatty()
    loop.add_signal_handler(signal.SIGHUP, lambda: agent.stop() if terminal and host.hung_up() else agent.reload())
    if seconds is not None:
        loop.call_later(seconds, agent.stop)
    await agent.run()


@click.command("import")
@PLANT
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print what was imported as JSON.")
def import_samples(plant: Path, file: Path, *, as_json: bool) -> None:
    """Import samples from a CSV or Parquet file into the plant's parquet lake (backfill).

    \b
    Example:  plantproof import PLANT year-2025.csv

    CSV columns: ts,point,value[,status]. The same file imported twice stands in the lake once. Exits 3 where lines
    were left out, each of which is named, 78 where the configuration is at fault.
    """
    from collector.backfill import import_file  # noqa: PLC0415

    loaded = load_plant(plant)
    try:
        rows, faults = import_file(loaded, file)
    except (SampleFileError, LookupError) as error:
        raise click.ClickException(str(error)) from error
    for fault in faults:
        click.echo(f"left out: {fault}", err=True)
    click.echo(f"{rows} rows imported", err=True)
    if as_json:
        click.echo(json.dumps({"file": str(file), "rows": rows, "left_out": faults}, ensure_ascii=False, indent=1))
    if faults:
        sys.exit(exits.QUALITY)

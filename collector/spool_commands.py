"""The command `plantproof spool`: what lies in a spool, whether it is whole, and how much disk an outage takes."""

import json
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import polars as pl

from collector import host, ranges, spool_v1
from collector.commands import PLANT
from collector.frames import Hole, Record
from collector.payload import decoded
from collector.segment import Segment
from collector.spool import SpoolFormat
from collector.spool_tools import Look, NoSpoolError, expected_rate, look, rate
from config import exits
from config.failures import Misconfigured, Unreachable
from config.load import load_plant
from config.plant import Plant
from config.units import parse_duration

LEAST_S = 60.0
"""A spool that grew for less than this [s] says little of its rate."""


@click.group()
def spool() -> None:
    """Look into the spool, take samples out of it, reckon its size.

    \b
    Examples:  plantproof spool verify /etc/plantproof
               plantproof spool size /etc/plantproof --outage 2d

    They change nothing, and an agent may run meanwhile.
    """


def _found(plant: Plant) -> Look:
    try:
        return look(plant.resolve(plant.spool.path))
    except NoSpoolError as error:
        raise Unreachable(str(error)) from error
    except SpoolFormat as error:
        raise Misconfigured(str(error)) from error
    except (ValueError, KeyError, TypeError, OSError, sqlite3.Error) as error:
        raise click.ClickException(f"{plant.resolve(plant.spool.path)} cannot be read: {error}") from error


@spool.command()
@PLANT
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def verify(plant: Path, *, as_json: bool) -> None:
    """Read every batch of a spool and check its CRC.

    \b
    Example:  plantproof spool verify /etc/plantproof

    Prints each segment, and what each sink has still to store. Exits 4 where a batch is damaged or missing, 69 where
    there is no spool, 78 where the configuration is at fault.
    """
    found = _found(load_plant(plant))
    about = _verified(found)
    if as_json:
        click.echo(json.dumps(about, ensure_ascii=False, indent=1))
    else:
        for one in about["segments"]:
            click.echo(
                f"{one['segment']}  batches {one['first']} to {one['last']}  {one['rows']} rows  {_size(one['bytes'])}"
            )
            for hole in one["holes"]:
                click.echo(f"  damaged: batches {hole['first']} to {hole['last']}: {hole['reason']}")
        for sink, lacks in about["sinks"].items():
            click.echo(f"sink {sink}: {lacks} batches to store")
        click.echo(f"{about['batches']} batches whole, {about['damaged']} damaged, {len(about['segments'])} segments")
    if about["damaged"]:
        sys.exit(exits.VERIFY)


def _verified(found: Look) -> dict[str, Any]:
    whole: dict[Path, int] = defaultdict(int)
    rows: dict[Path, int] = defaultdict(int)
    holes: dict[Path, list[Hole]] = defaultdict(list)
    for one, each in found.read():
        if isinstance(each, Record):
            whole[one.path] += 1
            rows[one.path] += each.rows
        else:
            holes[one.path].append(each)
    last = max((one.last for one in found.segments), default=0)
    return {
        "format": found.format,
        "batches": sum(whole.values()),
        "damaged": sum(hole.last - hole.first + 1 for some in holes.values() for hole in some),
        "segments": [
            {
                "segment": one.path.name,
                "first": one.first,
                "last": one.last,
                "rows": rows[one.path],
                "bytes": one.size,
                "holes": [{"first": h.first, "last": h.last, "reason": h.reason} for h in holes[one.path]],
            }
            for one in found.segments
        ],
        "sinks": {
            sink: sum(end - first + 1 for first, end in ranges.missing(known, last))
            for sink, known in found.stored.items()
        },
    }


@spool.command()
@PLANT
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--sink", default="", help="Only what this sink has not stored.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def export(plant: Path, folder: Path, *, sink: str, as_json: bool) -> None:
    """Write the samples that lie in a spool into Parquet files, one a segment, such as for a gateway that died.

    \b
    Examples:  plantproof spool export /mnt/dead-gateway rescued
               plantproof spool export /etc/plantproof waiting --sink parquet

    `plantproof import` takes such a file. Exits 4 where batches were damaged, the others being written, 69 where there
    is no spool, 78 where the configuration is at fault.
    """
    found = _found(load_plant(plant))
    if sink and sink not in found.stored:
        known = ", ".join(found.stored) or "none"
        raise click.UsageError(f"sink {sink!r} has no cursor in this spool; the sinks that have one: {known}")
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, int] = {}
    damaged: list[Hole] = []
    for one in found.segments:
        wanted = ranges.missing(found.stored[sink], one.last) if sink else ((one.first, one.last),)
        frames, holes = _samples(one, wanted)
        damaged += holes
        if frames:
            samples = pl.concat(frames)
            path = folder / f"{one.path.stem}.parquet"
            samples.write_parquet(path)
            files[str(path)] = samples.height
    click.echo(f"{sum(files.values())} rows written into {folder}", err=True)
    if as_json:
        told = [{"first": hole.first, "last": hole.last, "reason": hole.reason} for hole in damaged]
        about = {"rows": sum(files.values()), "files": files, "damaged": told}
        click.echo(json.dumps(about, ensure_ascii=False, indent=1))
    if damaged:
        sys.exit(exits.VERIFY)


def _samples(
    segment: Segment | spool_v1.OldSegment, wanted: Iterable[tuple[int, int]]
) -> tuple[list[pl.DataFrame], list[Hole]]:
    """Return the samples of some batches of a segment, and what of them is damaged, which is named on stderr."""
    frames, holes = [], []
    for first, last in wanted:
        for each in segment.read(max(first, segment.first) - 1, last + 1):
            if isinstance(each, Record):
                frames.append(decoded(each.payload))
            else:
                holes.append(each)
                click.echo(f"damaged: batches {each.first} to {each.last}: {each.reason}", err=True)
    return frames, holes


def _duration(_context: click.Context, _option: click.Parameter, text: str) -> float:
    try:
        return parse_duration(text) / 1e9
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}") from error


@spool.command()
@PLANT
@click.option("--outage", default="6h", show_default=True, callback=_duration, help="How long a store is away.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def size(plant: Path, *, outage: float, as_json: bool) -> None:
    """Say how much disk the spool needs while a store is away, and for how long it holds.

    \b
    Examples:  plantproof spool size /etc/plantproof
               plantproof spool size /etc/plantproof --outage 2d

    Measured where a spool has grown for a minute or more, else reckoned from the points. Exits 3 where max_size or the
    disk is too small, 78 where the configuration is at fault.
    """
    loaded = load_plant(plant)
    folder = loaded.resolve(loaded.spool.path)
    least, most = expected_rate(loaded)
    measured = None
    if (folder / "spool.json").exists():
        seen = rate(_found(loaded))
        measured = seen if seen is not None and seen[1] >= LEAST_S else None
    present = next(each for each in (folder, *folder.parents) if each.exists())
    fastest, room = measured[0] if measured else most, min(loaded.spool.max_size, host.free_space(present))
    about = {
        "outage_s": outage,
        "measured_bytes_per_s": measured[0] if measured else None,
        "measured_over_s": measured[1] if measured else None,
        "least_bytes_per_s": least,
        "most_bytes_per_s": most,
        "needed": fastest * outage,
        "max_size": loaded.spool.max_size,
        "free_disk": host.free_space(present),
        "holds_s": room / fastest if fastest else None,
    }
    if as_json:
        click.echo(json.dumps(about, indent=1))
    else:
        _print_size(about)
    if fastest * outage > room:
        sys.exit(exits.QUALITY)


def _print_size(about: dict[str, Any]) -> None:
    outage = about["outage_s"]
    if about["measured_bytes_per_s"] is not None:
        source = f"measured over the last {_time(about['measured_over_s'])}"
    else:
        source = f"if every point always changes; {_size(about['least_bytes_per_s'] * outage)} if none does"
    click.echo(f"an outage of {_time(outage)} takes {_size(about['needed'])} ({source})")
    click.echo(f"spool.max_size is {_size(about['max_size'])}, the disk has {_size(about['free_disk'])} free")
    if about["holds_s"] is not None:
        end = "the disk is full" if about["free_disk"] < about["max_size"] else "max_size is reached"
        click.echo(f"the spool holds {_time(about['holds_s'])}; then {end}")


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} GiB"


def _time(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length or (unit != "days" and seconds >= length):
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"

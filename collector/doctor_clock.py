"""Checks of the clock: against what was written already, and against what sources said; and of the time zones."""

import datetime as dt
import importlib.metadata
import json
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl

from collector.doctor_machine import Machine
from collector.findings import Finding, found
from collector.ledger import read_ledger
from config.plant import Plant

TOLERANCE_S = 5.0
"""What was written may be so much ahead of our clock [s] without a word: clocks are set by small steps."""


class Stamp(NamedTuple):
    """The newest time that something of ours bears."""

    of: str
    at: float
    """[s since 1970, UTC]"""


def check(machine: Machine, plant: Plant | None) -> Iterator[Finding]:
    """Yield what there is to say of clock and time zones."""
    now = _shown(machine.now)
    newest = max(_stamps(plant), key=lambda one: one.at, default=None) if plant is not None else None
    if newest is not None and newest.at - machine.now > TOLERANCE_S:
        facts = {"of": newest.of, "at": _shown(newest.at), "ahead": f"{newest.at - machine.now:.0f}"}
        yield found("clock.back", now=now, **facts)
    elif machine.now < machine.installed - TOLERANCE_S:
        yield found("clock.unset", now=now, installed=_shown(machine.installed))
    else:
        yield found("clock.ok", now=now)
    if machine.synchronised is False:
        yield found("clock.alone", now=now)
    if plant is not None:
        yield from _sources(plant)
        yield _zone(plant.timezone)


def _shown(seconds: float) -> str:
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def _stamps(plant: Plant) -> Iterator[Stamp]:
    """Yield the newest times that status, ledger, spool and lake bear; all are times of an agent's clock."""
    spool = plant.resolve(plant.spool.path)
    yield from (Stamp(path.name, path.stat().st_mtime) for path in spool.glob("segment-*"))
    for path, key, line in ((spool / "status.json", "updated", _status(plant)), *_last(spool / "ledger.jsonl")):
        try:
            yield Stamp(path.name, dt.datetime.fromisoformat(str(line[key])).timestamp())
        except (KeyError, ValueError):
            continue
    for sink in plant.sinks:
        if sink.kind == "parquet":
            yield from _lake(plant.resolve(sink.path))


def _last(ledger: Path) -> Iterator[tuple[Path, str, dict[str, object]]]:
    entry: dict[str, object] | None = None
    for entry in read_ledger(ledger):  # noqa: B007  the last one is wanted
        pass
    if entry is not None:
        yield ledger, "ts", entry


def _lake(lake: Path) -> Iterator[Stamp]:
    """Yield when the newest sample of the lake's last day was received."""
    days = sorted((lake / "samples").glob("date=*"))
    files = sorted(days[-1].glob("*.parquet")) if days else []
    try:
        newest = pl.scan_parquet(files).select(pl.col("ts_recv").max()).collect().item() if files else None
    except (OSError, pl.exceptions.PolarsError):  # merged meanwhile, or damaged, which is not the clock's
        return
    if isinstance(newest, dt.datetime):
        yield Stamp(days[-1].name, newest.timestamp())


def _status(plant: Plant) -> dict[str, object]:
    try:
        report = json.loads((plant.resolve(plant.spool.path) / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}


def _sources(plant: Plant) -> Iterator[Finding]:
    """Say which sources' clocks were in doubt when the agent last looked."""
    sources = _status(plant).get("sources")
    for name, about in sources.items() if isinstance(sources, dict) else ():
        for said, count in about.get("flags", {}).items():
            if "clock" in said or "ahead of ours" in said:
                yield found("clock.source", source=name, said=said, count=count)


def _zone(name: str) -> Finding:
    """Say where the plant's time zone comes from."""
    try:
        zoneinfo.ZoneInfo.no_cache(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return found("zones.missing", zone=name)
    system = next((one for one in zoneinfo.TZPATH if (Path(one) / name).is_file()), None)
    return found("zones.ok", zone=name, place=system or f"tzdata {importlib.metadata.version('tzdata')}")

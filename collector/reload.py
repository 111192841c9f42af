"""A configuration that changed while the agent runs: what it is made of, what differs, and what became of it."""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from collector.sinks import base as sinks
from collector.status import ReloadStatus, counted
from config.faults import ConfigError
from config.plant import Plant, Point, Sink, Source
from connectors import base as connectors

FIXED = ("id", "spool", "health")
"""What of a plant an agent takes once, at its start."""
IDLE = {"asset": "", "role": "measure", "unit": "", "max_hold": None, "modulus": None, "max_rate": None}
IDLE |= {"states": "default", "note": ""}
"""Columns of the point table that say nothing of how a point is read; with their defaults."""
SOURCE_FILES = ("user_certificate", "user_key", "certificate", "private_key", "ca")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A plant as one gateway works with it.

    A mark holds all that a source's link, or a sink, is made of: where it is equal nothing has to begin anew.
    """

    plant: Plant
    sources: dict[str, Source]
    points: dict[str, list[Point]]
    """Of each source, with their periods."""
    sinks: dict[str, Sink]
    source_marks: dict[str, Any]
    sink_marks: dict[str, Any]

    def all_points(self) -> list[Point]:
        """Return the points of all sources, one source after the other."""
        return [point for points in self.points.values() for point in points]


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Names of what begins anew, is new, is gone and goes on."""

    restarted: list[str]
    added: list[str]
    removed: list[str]
    kept: list[str]

    @property
    def ended(self) -> list[str]:
        """What ends, whether it begins anew or not."""
        return [*self.removed, *self.restarted]

    @property
    def begun(self) -> list[str]:
        """What begins, for the first time or anew."""
        return [*self.restarted, *self.added]

    def report(self) -> dict[str, list[str]]:
        """Return them as plain data."""
        return asdict(self)


def setup_of(plant: Plant, agent: str) -> Setup:
    """Return what a plant comes to for a gateway; reads the files of certificates and keys that it names."""
    own = {source.id: source for source in plant.sources if source.agent in ("", agent)}
    points: dict[str, list[Point]] = {name: [] for name in own}
    for point in plant.points:
        if point.source in own:
            points[point.source].append(_with_period(point, own[point.source]))
    assets = {point.point: point.asset for point in plant.points}
    read = {point.point for mine in points.values() for point in mine}  # of these a sink tells what is lost
    return Setup(
        plant=plant,
        sources=own,
        points=points,
        sinks={sink.name: sink for sink in plant.sinks},
        source_marks={name: _source_mark(source, points[name]) for name, source in own.items()},
        sink_marks={sink.name: (sink, _digests(plant.root, [sink.ca]), plant.id, assets, read) for sink in plant.sinks},
    )


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A configuration that is to be used from now on, with its modules imported."""

    setup: Setup
    connectors: dict[str, connectors.ConnectorModule]
    of_sources: Changes
    of_sinks: Changes
    waits_for_restart: list[str]


def wanted(load: Callable[[], Plant] | None, started_with: Plant, before: Setup, agent: str) -> Wanted:
    """Return what the configuration says now and how that differs from before.

    What is taken at a start alone stays as it was at the start.

    Raises ConfigError, or whatever reading files and importing modules can raise.
    """
    if load is None:
        raise LookupError("this agent was not told where its configuration lies; restart it")
    plant = load()
    changed = [name for name in FIXED if getattr(started_with, name) != getattr(plant, name)]
    setup = setup_of(plant.model_copy(update={name: getattr(started_with, name) for name in changed}), agent)
    return Wanted(
        setup=setup,
        connectors=load_modules(setup)[0],
        of_sources=changes_of(before.source_marks, setup.source_marks),
        of_sinks=changes_of(before.sink_marks, setup.sink_marks),
        waits_for_restart=changed,
    )


def load_modules(setup: Setup) -> tuple[dict[str, connectors.ConnectorModule], dict[str, sinks.SinkModule]]:
    """Return each source's and sink's module by name; an import may read files and fail."""
    of_sources = {name: connectors.load(source.kind) for name, source in setup.sources.items()}
    return of_sources, {name: sinks.load(sink.kind) for name, sink in setup.sinks.items()}


def changes_of(old: dict[str, Any], new: dict[str, Any]) -> Changes:
    """Return what differs between marks."""
    return Changes(
        restarted=[name for name, mark in new.items() if name in old and old[name] != mark],
        added=[name for name in new if name not in old],
        removed=[name for name in old if name not in new],
        kept=[name for name, mark in new.items() if name in old and old[name] == mark],
    )


def refused(number: int, began: str, error: Exception) -> ReloadStatus:
    """Return what becomes of a reload whose configuration cannot be taken."""
    faults = [str(fault) for fault in error.faults] if isinstance(error, ConfigError) else [str(error) or repr(error)]
    return ReloadStatus(number=number, began=began, at=now(), refused=counted(len(faults)), faults=faults)


def now() -> str:
    """Return the time as status writes it."""
    return dt.datetime.now(dt.UTC).isoformat()


def _with_period(point: Point, source: Source) -> Point:
    return point if point.period is not None else point.model_copy(update={"period": source.period})


def _source_mark(source: Source, points: Iterable[Point]) -> Any:
    read = {point.point: point.model_copy(update=IDLE) for point in points}
    return source, read, _digests(Path(), [getattr(source, name) for name in SOURCE_FILES])


def _digests(root: Path, files: Iterable[Path | None]) -> list[bytes]:
    """Return what tells the files' contents; a certificate is renewed under its old name."""
    return [_digest(root / file) for file in files if file is not None]


def _digest(file: Path) -> bytes:
    try:
        return hashlib.sha256(file.read_bytes()).digest()
    except OSError:  # what needs the file says so
        return b""

"""A spool looked at from outside, whether an agent uses it or not: nothing is changed."""

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from collector import frames, spool_v1
from collector.frames import Hole, Record
from collector.payload import decoded
from collector.ranges import Ranges
from collector.segment import Segment
from collector.spool import check_format, checked, ranges_of
from config.plant import Plant, Point, Source

COMMIT_BYTES = 1_400
"""What a batch of few rows takes beside them [B]; measured."""
ROW_BYTES = 12
"""What a row of a number takes, compressed [B]; measured from 10 of polled to 14 of jittered times."""


class NoSpoolError(Exception):
    """There is no spool in the folder."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a folder holds."""

    folder: Path
    format: int
    segments: tuple[Segment | spool_v1.OldSegment, ...]
    stored: dict[str, Ranges]
    """What each sink has."""

    @property
    def size(self) -> int:
        """Bytes of all segments [B]."""
        return sum(one.size for one in self.segments)

    def read(self) -> Iterator[tuple[Segment | spool_v1.OldSegment, Record | Hole]]:
        """Yield what each segment holds, oldest first."""
        for one in self.segments:
            for found in one.read(one.first - 1, one.last + 1):
                yield one, found


def look(folder: Path) -> Look:
    """Return what a spool's folder holds.

    Raises NoSpoolError, SpoolFormat where a newer version wrote it, OSError, and where a file is damaged ValueError,
    KeyError, TypeError or sqlite3.Error.
    """
    file = folder / "spool.json"
    if not file.exists():
        raise NoSpoolError(f"{folder} holds no spool; an agent makes it when it first runs")
    about = checked(file.read_bytes())
    check_format(folder, int(about["format"]))
    key = uuid.UUID(hex=about["id"]).bytes
    segments: list[Segment | spool_v1.OldSegment] = []
    for path in sorted(folder.glob("segment-*")):
        if path.suffix == frames.SUFFIX:
            segments.append(_segment(path, key))
        elif path.suffix == spool_v1.SUFFIX:
            segments.append(spool_v1.OldSegment(path))
    stored = {}
    for path in sorted(folder.glob("cursor-*.json")):
        stored[path.stem.removeprefix("cursor-")] = ranges_of(path.read_bytes())
    return Look(folder, int(about["format"]), tuple(_without_doubles(segments)), stored)


def _segment(path: Path, key: bytes) -> Segment:
    first = int(path.stem.removeprefix("segment-"))
    made = Segment(path, key, first, first - 1, path.stat().st_size)
    made.find_end()
    return made


def _without_doubles(segments: list[Segment | spool_v1.OldSegment]) -> list[Segment | spool_v1.OldSegment]:
    """Return the segments up to where the next one begins: what follows there was never acknowledged."""
    segments = sorted(segments, key=lambda one: one.first)
    for one, following in itertools.pairwise(segments):
        one.last = following.first - 1
    return segments


def rate(found: Look) -> tuple[float, float] | None:
    """Return how fast the spool grew [B/s], and over how long that was seen [s]; None where there is too little."""
    first = next((record for _, record in found.read() if isinstance(record, Record)), None)
    last = None
    for one in reversed(found.segments):
        for record in one.read(one.first - 1, one.last + 1):
            last = record if isinstance(record, Record) else last
        if last is not None:
            break
    if first is None or last is None:
        return None
    began, ended = (decoded(r.payload)["ts_recv"].to_physical() for r in (first, last))
    seconds = (int(ended.max()) - int(began.min())) / 1e9  # type: ignore[arg-type]
    return (found.size / seconds, seconds) if seconds > 0 else None


def expected_rate(plant: Plant) -> tuple[float, float]:
    """Return how fast the spool grows by the plant's points [B/s]: where nothing changes, and where all always does."""
    sources = {source.id: source for source in plant.sources}
    points = [(point, sources[point.source]) for point in plant.points if point.source in sources]
    least = sum(_rows(point, source, changing=False) for point, source in points)
    most = sum(_rows(point, source, changing=True) for point, source in points)
    commits = 1e9 / plant.spool.commit

    def grown(rows: float) -> float:
        return min(commits, rows) * COMMIT_BYTES + rows * ROW_BYTES

    return grown(least), grown(most)


def _rows(point: Point, source: Source, *, changing: bool) -> float:
    """Return how many rows a second a point gives."""
    polled = 1e9 / (point.period or source.period)
    return polled if changing or (point.store == "all" and point.mode == "poll") else 1e9 / point.heartbeat

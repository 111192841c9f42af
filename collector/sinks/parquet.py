"""The Parquet lake: whole files per UTC day, exactly once by sequence range.

What a file's name says, and which files count, stands in config/lakefiles.py. A range is in the lake when all its n
files are; after a crash `start` removes the files of a range that is not whole, and the spool delivers it again. Lakes
of several agents merge by copying files together. Small files are merged between writes, and days past `keep` and
`keep_size` are removed.
"""

import contextlib
import datetime as dt
import functools
import importlib.metadata
import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from collector import host
from collector.ledger import Ledger
from collector.quarantine import Quarantine
from collector.ranges import Ranges, union
from collector.sinks.merge import Merge, height, row_groups
from collector.sinks.parquet_file import Writer
from collector.sinks.retention import DAY_NS, Day, expired
from config.lakefiles import LakeFile, file_name, parse, superseded
from config.plant import Plant
from config.plant import Sink as SinkConfig
from config.schema import SAMPLE, require

log = logging.getLogger("plantproof.sinks.parquet")

SCHEMA_VERSION = "1"
FAN = 8
"""So many files of about as many batches are merged; so a row is written anew once for each factor of 8."""
MOST = 32
"""So many files are merged at once at most."""
SETTLED_NS = 3_600_000_000_000
"""A day that ended so long ago, and to which nothing came for so long, becomes one file of this writer [ns]."""
FRESH_NS = 2_000_000_000
"""A folder that changed less than this before it was listed is listed again [ns]."""


@dataclass(slots=True)
class _Folder:
    """What lies in the folder of one day."""

    path: Path
    date: dt.date
    changed: int
    """The folder's own time when it was listed; 0 where it must be listed again."""
    files: list[LakeFile] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    size: int = 0
    written: int = 0


class Sink:
    """Writes SAMPLE frames into the lake's `samples/` folder."""

    def __init__(
        self, config: SinkConfig, plant: Plant, *, agent: str, spool: str, ledger: Ledger, quarantine: Quarantine
    ) -> None:
        self.folder = plant.resolve(config.path) / "samples"
        self.writer = f"{agent}-{spool[:8]}"
        self.clock = time.time_ns
        self._config, self._plant, self._agent, self._ledger = config, plant, agent, ledger
        self._folders: dict[Path, _Folder] = {}
        self._merge: Merge | None = None
        self._unreadable: set[Path] = set()
        self._told: set[Path] = set()
        self._newest = 0
        """The newest receive time that is known of the lake [ns since 1970, UTC]."""
        self._figures: Mapping[str, float] = {}

    def start(self, done: Ranges) -> Ranges:
        """Mend what a crash left, and return all ranges that the lake has whole."""
        self._give_up()
        host.make_folder(self.folder)
        self._folders.clear()
        self._look()
        ranges: dict[tuple[int, int], list[LakeFile]] = defaultdict(list)
        for file in self._own():
            ranges[file.range].append(file)
        whole = union([*done, *(r for r, files in ranges.items() if any(f.n <= len(files) for f in files))])
        torn = [f for (first, last), files in ranges.items() if union([*whole, (first, last)]) != whole for f in files]
        replaced = [f for folder in self._folders.values() for f in self._replaced(folder)]
        self._remove([*(f.path for f in (*torn, *replaced)), *self._temporary()])
        self._look()
        self._newest = max(self._newest, self._last_received())
        return whole

    def write(self, frame: pl.DataFrame, first: int, last: int) -> None:
        """Write one file per UTC day of `frame`, sorted by point and time; durable when it returns."""
        ordered = require(frame, SAMPLE, "samples").sort("point", "ts", "ts_recv")
        days = ordered.with_columns(date=pl.col("ts").dt.date()).partition_by("date", as_dict=True, include_key=False)
        renames = []
        about = {**self._about(), "plantproof.sequences": f"{first}-{last}"}
        for k, ((date,), part) in enumerate(sorted(days.items()), 1):
            folder = self.folder / f"date={date}"
            host.make_folder(folder)
            name = file_name(self.writer, first, last, k, len(days))
            temporary = folder / f".{name}.tmp"
            with temporary.open("wb") as file:
                writer = Writer(file, about, ordered=True)
                for group in row_groups(part):
                    writer.append(group)
                writer.finish()
            host.sync_file(temporary)
            renames.append((temporary, folder / name))
        for temporary, final in renames:
            temporary.replace(final)
        for folder in {final.parent for _, final in renames}:
            host.sync_folder(folder)
        self._newest = max(self._newest, _latest(frame))

    def upkeep(self, cursor: int) -> bool:
        """Merge small files for about a second, or remove a day that is past what is kept."""
        if self._merge is None:
            self._look()
            for folder in list(self._folders.values()):
                self._remove([file.path for file in self._replaced(folder)])
            if self._remove_old():
                return True
            found = next(self._mergeable(cursor), None)
            if found is None:
                return False
            files, settled = found
            self._merge = Merge(files, self._about(), settled=settled)
        return self._go_on(self._merge)

    def figures(self) -> Mapping[str, float]:
        """Return the lake's days, files and bytes, and how many files are being merged."""
        merge = self._merge
        return {**self._figures, "merging": len(merge.files) if merge is not None else 0}

    def points(self) -> pl.Series:
        """Return the ids of the points of which this writer has put rows into the lake."""
        paths = [file.path for file in self._own()]
        if not paths:
            return pl.Series([], dtype=pl.String)
        scan = pl.scan_parquet(paths, hive_partitioning=False, glob=False)
        return scan.select(pl.col("point").unique()).collect()["point"]

    def close(self) -> None:
        """Give up a merge that is under way; nothing else stays open between calls."""
        self._give_up()

    def _about(self) -> dict[str, str]:
        about = {"plant": self._plant.id, "agent": self._agent, "writer": self.writer}
        return {f"plantproof.{key}": text for key, text in about.items()} | {
            "plantproof.version": _version(),
            "plantproof.schema": SCHEMA_VERSION,
        }

    def _look(self) -> None:
        """List the folders that changed since they were listed last."""
        found: dict[Path, _Folder] = {}
        for path in self.folder.iterdir():
            date = _date(path)
            if date is None:
                continue
            changed = path.stat().st_mtime_ns
            known = self._folders.get(path)
            found[path] = known if known is not None and known.changed == changed else self._listed(path, date, changed)
        self._folders = found
        folders = found.values()
        self._figures = {
            "days": len(found),
            "files": sum(len(folder.files) for folder in folders),
            "bytes": sum(folder.size for folder in folders),
        }

    def _listed(self, path: Path, date: dt.date, changed: int) -> _Folder:
        folder = _Folder(path, date, changed if time.time_ns() - changed > FRESH_NS else 0)
        for entry in path.iterdir():
            file = parse(entry)
            if file is None:
                folder.strangers += [] if _is_temporary(entry) else [entry.name]
                continue
            with contextlib.suppress(FileNotFoundError):
                about = entry.stat()
                folder.files.append(file)
                folder.size += about.st_size
                folder.written = max(folder.written, about.st_mtime_ns)
        return folder

    def _own(self, folders: Iterable[_Folder] | None = None) -> Iterator[LakeFile]:
        """Yield this writer's files."""
        for folder in self._folders.values() if folders is None else folders:
            yield from (file for file in folder.files if file.writer == self.writer)

    def _replaced(self, folder: _Folder) -> list[LakeFile]:
        """Return this writer's files that were merged into another one."""
        gone = superseded(self._own([folder]))
        return [file for file in folder.files if file.path in gone]

    def _temporary(self) -> Iterator[Path]:
        begin = f".{self.writer}-"
        for folder in self._folders:
            yield from (p for p in folder.iterdir() if _is_temporary(p) and p.name.startswith(begin))

    def _remove(self, paths: Sequence[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in paths}:
            host.sync_folder(folder)
            if folder in self._folders:
                self._folders[folder].changed = 0

    def _last_received(self) -> int:
        """Return the newest receive time in the files that this writer wrote last."""
        last = max((file.last for file in self._own()), default=0)
        for file in self._own():
            if file.last == last:
                with contextlib.suppress(pl.exceptions.PolarsError, OSError):
                    return _latest(pl.read_parquet(file.path, columns=["ts_recv"], hive_partitioning=False, glob=False))
        return 0

    def _mergeable(self, cursor: int) -> Iterator[tuple[list[LakeFile], bool]]:
        """Yield files of a day that may be merged, all that there are between two of them; and if it is for good."""
        for folder in sorted(self._folders.values(), key=lambda f: f.path):
            gone = superseded(folder.files)
            own = sorted((f for f in self._own([folder]) if f.path not in gone), key=lambda f: f.first)
            files = [file for file in own if file.last <= cursor]
            if len(files) < 2 or not self._unreadable.isdisjoint(file.path for file in files):
                continue
            settled = self._is_settled(folder)
            if settled and len(files) <= MOST:
                yield files, True
            for run in _runs([_tier(file) for file in files]):
                yield files[run], False
            if settled:
                yield files[:MOST], False

    def _is_settled(self, folder: _Folder) -> bool:
        now = self.clock()
        end = ((folder.date - dt.date(1970, 1, 1)).days + 1) * DAY_NS
        return now - end > SETTLED_NS and not 0 <= now - folder.written <= SETTLED_NS

    def _go_on(self, merge: Merge) -> bool:
        try:
            more = merge.step()
        except FileNotFoundError:  # the day was removed meanwhile
            more = False
        except pl.exceptions.PolarsError as error:
            names = [file.path.name for file in merge.files]
            self._unreadable.update(file.path for file in merge.files)
            self._ledger.add("not merged", f"a file cannot be read: {error}", files=names)
            log.error("lake: %s cannot be merged: %s", names, error)  # noqa: TRY400
            more = False
        except OSError:
            self._merge = None
            raise
        if not more:
            self._merge = None
            self._folders.pop(merge.files[0].path.parent, None)
        return True

    def _give_up(self) -> None:
        if self._merge is not None:
            self._merge.close()
            self._merge = None

    def _remove_old(self) -> bool:
        """Remove one day that is past what is kept; returns whether there was one."""
        keep, keep_size = self._config.keep, self._config.keep_size
        if keep is None and keep_size is None:
            return False
        folders = {folder.date: folder for folder in self._folders.values() if folder.files}
        days = [Day(date=f.date, size=f.size, written=f.written) for f in folders.values()]
        for day, rule in expired(days, keep, keep_size, self.clock(), self._newest):
            self._remove_day(folders[day.date], rule)
            return True
        return False

    def _remove_day(self, folder: _Folder, rule: str) -> None:
        paths = [file.path for file in folder.files]
        try:
            gone = superseded(folder.files)
            rows: int | None = height([path for path in paths if path not in gone])
        except (pl.exceptions.PolarsError, OSError):
            rows = None
        facts = {"day": str(folder.date), "files": len(paths), "rows": rows, "bytes": folder.size}
        # Said before it is done: a day that went must not go unsaid.
        self._ledger.add("retention", f"past {rule}", rule=rule, **facts)
        self._remove(paths)
        if folder.strangers and folder.path not in self._told:
            self._told.add(folder.path)
            self._ledger.add("retention", "files of others stay", day=str(folder.date), names=folder.strangers)
        with contextlib.suppress(OSError):  # others' files stay, and so does the folder
            folder.path.rmdir()
            host.sync_folder(self.folder)
        self._folders.pop(folder.path)


@functools.cache
def _version() -> str:
    return importlib.metadata.version("plantproof")  # looked up in files, which takes as long as a small batch


def _latest(frame: pl.DataFrame) -> int:
    """Return the newest receive time [ns since 1970, UTC]; 0 of no rows."""
    return int(frame["ts_recv"].to_physical().max() or 0)  # type: ignore[arg-type]


def _date(folder: Path) -> dt.date | None:
    try:
        return dt.date.fromisoformat(folder.name.removeprefix("date=")) if folder.name.startswith("date=") else None
    except ValueError:
        return None


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".parquet.tmp")


def _tier(file: LakeFile) -> int:
    """Return how many times the file's batches can be divided by FAN."""
    batches, tier = file.last - file.first + 1, 0
    while batches >= FAN:
        batches, tier = batches // FAN, tier + 1
    return tier


def _runs(tiers: Sequence[int]) -> Iterator[slice]:
    """Yield from where to where FAN files of a tier stand with none of a higher one between, the lowest tier first."""
    for tier in sorted(set(tiers)):
        found: list[int] = []
        for place, other in enumerate(tiers):
            if other == tier:
                found.append(place)
            elif other > tier:
                found.clear()
            if len(found) == FAN:
                yield slice(found[0], place + 1)
                break

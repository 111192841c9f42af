"""Facts beside the lake's samples, day by day, so that a year's KPI reads no samples.

`facts/date=2026-11-21/<plant>-<key>.facts.parquet` and `.demand.parquet`: the FACT and DEMAND rows of one UTC day, as
the configuration and the rules of `key` give them. `facts/<plant>-<key>.json` says for each day what it was computed
from: which batches of which spools, and what the samples around the day were. A day is computed anew when that
changed: late samples make their day stale, and a neighbour only if they change what it sees over the border.
Everything here can be deleted; it is computed again.
"""

import datetime as dt
import hashlib
import itertools
import json
import logging
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from config.lakefiles import parse
from config.plant import Plant
from config.schema import UTC_NS
from kpis.calendar import hour_of
from kpis.demand import phase
from kpis.partitions import HOUR_NS, Amounts, Part, Pass, of_store, together
from kpis.stores import Lake, Store
from kpis.stores.base import DAY_NS
from kpis.stores.lake import files

RULES = 1
"""Rises with every change of the rules by which facts are computed."""
_NO_MATTER = {
    "sources", "sinks", "spool", "networking", "places", "root", "name", "kind", "coal_factors", "co2_factors",
}  # fmt: skip
"""What a plant's configuration says that facts do not depend on."""
logger = logging.getLogger("plantproof.kpis")

_EPOCH = dt.date(1970, 1, 1)
_DAY = dt.timedelta(1)


@dataclass(frozen=True, slots=True)
class Entry:
    """What the facts of a day were computed from, and what its neighbours see of it."""

    inputs: str
    before: str
    after: str
    carried: str
    leading: str


class FactStore:
    """The facts of one plant beside the samples of one lake."""

    def __init__(self, plant: Plant, lake: Lake) -> None:
        """Take the plant and the lake; reads nothing yet."""
        self.plant, self.lake = plant, lake
        self.folder = lake.folder / "facts"
        self.name = f"{plant.id}-{key_of(plant)}"
        self.computed: list[dt.date] = []
        """The days that were computed, as often as they were."""

    def amounts(self, start: int, end: int, executor: Executor | None = None) -> Amounts:
        """Return the facts and demand of [start, end) [ns since 1970, UTC]; only what is stale is computed.

        executor: computes stale days side by side.
        Raises StoreError where samples cannot be read, OSError where facts cannot be written.
        """
        first, last = _whole_hours(self.plant, start, end)
        if first >= last:
            return of_store(self.plant, self.lake, start, end, executor)
        days = self._days(first, last)
        self.update(days, executor)
        try:
            stored = self._stored(days)
        except pl.exceptions.PolarsError:  # torn by a power cut, or not of this store
            self._remove_unreadable(days)
            self.update(days, executor)
            stored = self._stored(days)
        inside = _inside(stored, first, last)
        head = [of_store(self.plant, self.lake, start, first)] if start < first else []
        tail = [of_store(self.plant, self.lake, last, end)] if last < end else []
        return together([*head, inside, *tail])

    def update(self, days: Sequence[dt.date], executor: Executor | None = None) -> None:
        """Compute the facts of those of the days, which follow each other, that are stale."""
        entries = self._entries()
        inputs = {day: self._inputs(day) for day in days}
        through = Pass(self.plant, self.lake)
        before, _ = through.around(self.border(days[0]))
        _, after = through.around(self.border(days[-1] + _DAY))
        for _ in range(len(days) + 2):  # one that is computed may change what its neighbour sees
            stale = [day for day in days if not self._is_fresh(day, entries, inputs, (before, after))]
            if not stale:
                break
            for part in self._compute(stale, executor):
                day = _date(part.start + DAY_NS // 2)
                self._write(day, part.amounts)
                entries[day] = Entry(inputs[day], part.before, part.after, part.carried, part.leading)
                self.computed.append(day)
        self._save(entries)

    def border(self, day: dt.date) -> int:
        """Return when a day begins [ns since 1970, UTC]: at midnight UTC, or where a demand interval began before."""
        at = (day - _EPOCH).days * DAY_NS
        return at - (at + phase(self.plant, at)) % self.plant.demand_interval

    def _days(self, start: int, end: int) -> list[dt.date]:
        first, last = _date(start), _date(end - 1) + _DAY
        found = [first + n * _DAY for n in range(-1, (last - first).days + 1)]
        return [day for day in found if self.border(day) < end and self.border(day + _DAY) > start]

    def _is_fresh(
        self,
        day: dt.date,
        entries: Mapping[dt.date, Entry],
        inputs: Mapping[dt.date, str],
        around: tuple[str, str],
    ) -> bool:
        """Return whether a day's facts are those of its samples and of what its neighbours hand it."""
        entry = entries.get(day)
        if entry is None or not all(path.is_file() for path in self._paths(day)):
            return False
        if entry.inputs and not inputs[day]:
            return True  # its samples are past their time
        previous, following = day - _DAY, day + _DAY
        before = entries[previous].carried if previous in inputs and previous in entries else around[0]
        after = entries[following].leading if following in inputs and following in entries else around[1]
        return (
            entry.inputs == inputs[day]
            and (entry.before == before or self._is_past(previous, entries))
            and (entry.after == after or self._is_past(following, entries))
        )

    def _is_past(self, day: dt.date, entries: Mapping[dt.date, Entry]) -> bool:
        """Return whether a day had samples once, and has none any more: what it handed on cannot be seen again."""
        entry = entries.get(day)
        return entry is not None and bool(entry.inputs) and not self._inputs(day)

    def _compute(self, days: Sequence[dt.date], executor: Executor | None) -> list[Part]:
        runs = _runs(days)
        borders = [[*map(self.border, run), self.border(run[-1] + _DAY)] for run in runs]
        if executor is None:
            return [part for some in borders for part in _over(self.plant, self.lake, some)]
        pairs = [list(pair) for some in borders for pair in itertools.pairwise(some)]
        n = len(pairs)
        found = executor.map(_over, [self.plant] * n, [self.lake] * n, pairs)
        return [part for parts in found for part in parts]

    def _inputs(self, day: dt.date) -> str:
        """Return what tells the samples of a day from any others; merging files changes nothing of it."""
        spans: dict[str, list[list[int]]] = defaultdict(list)
        others: list[tuple[str, int, int]] = []
        for path in files(self.lake.folder, day):
            file = parse(path)
            if file is None:
                about = path.stat()
                others.append((path.name, about.st_size, about.st_mtime_ns))
            elif spans[file.writer] and spans[file.writer][-1][1] + 1 == file.first:
                spans[file.writer][-1][1] = file.last
            else:
                spans[file.writer].append([file.first, file.last])
        return _digest([sorted(spans.items()), others]) if spans or others else ""

    def _paths(self, day: dt.date) -> tuple[Path, Path]:
        folder = self.folder / f"date={day}"
        return folder / f"{self.name}.facts.parquet", folder / f"{self.name}.demand.parquet"

    def _stored(self, days: Sequence[dt.date]) -> Amounts:
        both = zip(*(self._paths(day) for day in days), strict=True)
        return Amounts(*(pl.read_parquet(list(paths), hive_partitioning=False) for paths in both))

    def _remove_unreadable(self, days: Sequence[dt.date]) -> None:
        for path in (path for day in days for path in self._paths(day)):
            try:
                pl.read_parquet(path, hive_partitioning=False)
            except pl.exceptions.PolarsError:
                path.unlink(missing_ok=True)

    def _write(self, day: dt.date, amounts: Amounts) -> None:
        for path, frame in zip(self._paths(day), (amounts.facts, amounts.demand), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            frame.write_parquet(temporary)
            temporary.replace(path)

    def _entries(self) -> dict[dt.date, Entry]:
        try:
            said = json.loads((self.folder / f"{self.name}.json").read_text(encoding="utf-8"))
            return {dt.date.fromisoformat(day): Entry(**entry) for day, entry in said["days"].items()}
        except (OSError, ValueError, KeyError, TypeError):
            return {}  # nobody computed yet, or what they wrote is torn: it is computed again

    def _save(self, entries: Mapping[dt.date, Entry]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        said = {"rules": RULES, "days": {str(day): asdict(entries[day]) for day in sorted(entries)}}
        temporary = self.folder / f".{self.name}.{os.getpid()}.tmp"
        temporary.write_text(json.dumps(said, indent=1), encoding="utf-8")
        temporary.replace(self.folder / f"{self.name}.json")


def amounts_of(
    plant: Plant, store: Store, start: int, end: int, executor: Executor | None = None, *, afresh: bool = False
) -> Amounts:
    """Return the facts and demand of [start, end) [ns since 1970, UTC]: from stored facts where the store keeps any.

    afresh: from the samples alone. Raises StoreError where the samples cannot be read.
    """
    if isinstance(store, Lake) and not afresh:
        try:
            return FactStore(plant, store).amounts(start, end, executor)
        except OSError as error:
            logger.warning("%s: facts cannot be stored (%s); they are computed from the samples", store, error)
    return of_store(plant, store, start, end, executor)


def key_of(plant: Plant) -> str:
    """Return what tells the rules and the configuration that facts depend on from any others."""
    said = plant.model_dump(mode="json", exclude=_NO_MATTER)
    return _digest([RULES, said])[:16]


def _digest(said: object) -> str:
    return hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=16).hexdigest()


def _over(plant: Plant, lake: Lake, borders: Sequence[int]) -> list[Part]:
    return list(Pass(plant, lake).over(borders))


def _runs(days: Sequence[dt.date]) -> list[list[dt.date]]:
    """Return days as runs of days that follow each other."""
    runs: list[list[dt.date]] = []
    for day in days:
        if runs and runs[-1][-1] + _DAY == day:
            runs[-1].append(day)
        else:
            runs.append([day])
    return runs


def _whole_hours(plant: Plant, start: int, end: int) -> tuple[int, int]:
    """Return the hours of the plant's clock that lie in a period as a whole."""
    first, last = hour_of(plant, np.array([start, end], np.int64)).tolist()
    return (start if first == start else _next_hour(plant, first)), last


def _next_hour(plant: Plant, hour: int) -> int:
    """Return when the next hour of the plant's clock begins; a clock change may shorten one."""
    quarters = hour + np.arange(1, 9, dtype=np.int64) * (HOUR_NS // 4)
    later = quarters[hour_of(plant, quarters) == quarters]
    return int(later[0])


def _inside(amounts: Amounts, start: int, end: int) -> Amounts:
    """Return the rows of a day that lie in [start, end), whose ends are those of hours."""
    first, last = (pl.lit(at).cast(UTC_NS) for at in (start, end))
    of_demand = (pl.col("start") >= first) & (pl.col("start") + pl.col("interval") <= last)
    return Amounts(
        amounts.facts.filter((pl.col("start") >= first) & (pl.col("end") <= last)), amounts.demand.filter(of_demand)
    )


def _date(ns: int) -> dt.date:
    return _EPOCH + dt.timedelta(days=ns // DAY_NS)

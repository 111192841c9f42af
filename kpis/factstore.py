"""Facts beside the lake's samples, day by day, so that a year's KPI reads no samples.

`facts/date=2026-11-21/<plant>-<key>.facts.parquet` and `.demand.parquet`: the FACT and DEMAND rows of one UTC day, as
the configuration and the rules of `key` give them. `facts/<plant>-<key>.json` says for each day what it was computed
from: which batches of which spools, and what the samples around the day were. A day is computed anew when that
changed: late samples make their day stale, and a neighbour only if they change what it sees over the border.
Everything here can be deleted; it is computed again.
"""

import datetime as dt
import hashlib
import importlib.metadata
import itertools
import json
import logging
import re
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
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
from kpis.partitions import HOUR_NS, Amounts, Part, Pass, of_store, parts, together
from kpis.stores import Lake, Store
from kpis.stores.base import DAY_NS, SEARCH_DAYS
from kpis.stores.lake import files

RULES = 1
"""Rises with every change of the rules by which facts are computed."""
OF = "plantproof.of"
"""Key in a file's footer: what tells the entry that it belongs to."""
MOST_TIMES = 3
"""A day is computed at most so often in one go."""
_OF_PLANT = {
    "id", "timezone", "day_start", "uncertain", "demand_interval", "micro_stop", "startup", "products", "calendars",
    "states", "refinements", "swaps",
}  # fmt: skip
_OF_ASSET = {"asset", "ideal_cycle"}
_OF_POINT = {"point", "asset", "role", "unit", "modulus", "max_rate", "states"}
"""What of a plant's configuration its facts depend on; names, addresses and notes are not of it."""

Told = Callable[[float], None]

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
        safe = re.sub(r"[^\w.-]", "_", plant.id)
        self.name = f"{safe}-{key_of(plant)}"
        self.computed: list[dt.date] = []
        """The days that were computed, as often as they were."""

    def amounts(self, start: int, end: int, executor: Executor | None = None, told: Told = lambda _: None) -> Amounts:
        """Return the facts and demand of [start, end) [ns since 1970, UTC]; only what is stale is computed.

        executor: computes stale days side by side. told: called with how much of it is done, from 0 to 1.
        Raises StoreError where samples cannot be read, OSError where facts cannot be written.
        """
        first, last = _whole(self.plant, start, end)
        if first >= last:
            return of_store(self.plant, self.lake, start, end, executor)
        days = self._days(first, last)
        self.update(days, executor, told)
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

    def update(self, days: Sequence[dt.date], executor: Executor | None = None, told: Told = lambda _: None) -> None:
        """Compute the facts of those of the days, which follow each other, that are stale."""
        entries = self._entries()
        inputs = {day: self._inputs(day) for day in days}
        through = Pass(self.plant, self.lake)
        before, _ = through.around(self.border(days[0]))
        _, after = through.around(self.border(days[-1] + _DAY))
        times: dict[dt.date, int] = defaultdict(int)
        while True:  # one that is computed may change what its neighbour sees
            stale = [day for day in days if not self._is_fresh(day, entries, inputs, (before, after))]
            if not stale:
                break
            again = [day for day in stale if times[day] >= MOST_TIMES]
            if again:
                logger.warning("%s: facts of %s change each time they are computed", self.lake, again[0])
            for some in _runs([day for day in stale if day not in again]):
                for day, part in self._compute(some, executor):
                    entry = Entry(inputs[day], part.before, part.after, part.carried, part.leading)
                    self._write(day, part.amounts, entry)
                    entries[day] = entry
                    times[day] += 1
                    self.computed.append(day)
                self._save(entries)
                told(min(1.0, len(self.computed) / len(days)))
            if len(again) == len(stale):
                break

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
        if entry is None or not self._is_written(day, entry):
            return False
        if entry.inputs and not inputs[day]:
            return True  # its samples are past their time
        previous, following = day - _DAY, day + _DAY
        before = entries[previous].carried if previous in inputs and previous in entries else around[0]
        after = entries[following].leading if following in inputs and following in entries else around[1]
        return (
            entry.inputs == inputs[day]
            and (entry.before == before or self._is_past(previous, entries, -1))
            and (entry.after == after or self._is_past(following, entries, 1))
        )

    def _is_past(self, day: dt.date, entries: Mapping[dt.date, Entry], step: int) -> bool:
        """Return whether the nearest day that had samples has none any more: what it handed on cannot be seen again."""
        for _ in range(SEARCH_DAYS):
            entry = entries.get(day)
            if entry is None or self._inputs(day):
                return False
            if entry.inputs:
                return True
            day += step * _DAY
        return False

    def _is_written(self, day: dt.date, entry: Entry) -> bool:
        """Return whether the facts that lie there are those of the entry: another process may have written others."""
        try:
            return all(pl.read_parquet_metadata(path).get(OF) == _digest(asdict(entry)) for path in self._paths(day))
        except (OSError, pl.exceptions.PolarsError):
            return False

    def _compute(self, run: Sequence[dt.date], executor: Executor | None) -> list[tuple[dt.date, Part]]:
        """Return the parts of days that follow each other, a month at most."""
        found: list[Part] = []
        borders = [*map(self.border, run), self.border(run[-1] + _DAY)]
        if executor is None:
            found = _over(self.plant, self.lake, borders)
        else:
            pairs = list(itertools.pairwise(borders))
            n = len(pairs)
            found = [part for [part] in executor.map(_over, [self.plant] * n, [self.lake] * n, pairs)]
        return list(zip(run, found, strict=True))

    def _inputs(self, day: dt.date) -> str:
        """Return what tells the samples of a day from any others; merging files changes nothing of it."""
        spans: dict[tuple[str, str], list[list[int]]] = defaultdict(list)
        others: list[tuple[str, int, int]] = []
        first, last = self.border(day), self.border(day + _DAY) - 1
        folders = [_date(first) + n * _DAY for n in range(last // DAY_NS - first // DAY_NS + 1)]
        for path in (path for folder in folders for path in files(self.lake.folder, folder)):
            file = parse(path)
            if file is None:
                about = path.stat()
                others.append((path.name, about.st_size, about.st_mtime_ns))
                continue
            of_writer = spans[path.parent.name, file.writer]
            if of_writer and of_writer[-1][1] + 1 == file.first:
                of_writer[-1][1] = file.last
            else:
                of_writer.append([file.first, file.last])
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

    def _write(self, day: dt.date, amounts: Amounts, entry: Entry) -> None:
        for path, frame in zip(self._paths(day), (amounts.facts, amounts.demand), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
            try:
                frame.write_parquet(temporary, metadata={OF: _digest(asdict(entry))})
                temporary.replace(path)
            except (OSError, pl.exceptions.PolarsError) as error:
                temporary.unlink(missing_ok=True)
                raise OSError(f"{path}: {error}") from error

    def _entries(self) -> dict[dt.date, Entry]:
        try:
            said = json.loads((self.folder / f"{self.name}.json").read_text(encoding="utf-8"))
            return {dt.date.fromisoformat(day): Entry(**entry) for day, entry in said["days"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}  # nobody computed yet, or what they wrote is torn: it is computed again

    def _save(self, entries: Mapping[dt.date, Entry]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        said = {"rules": RULES, "days": {str(day): asdict(entries[day]) for day in sorted(entries)}}
        temporary = self.folder / f".{self.name}.{secrets.token_hex(4)}.tmp"
        temporary.write_text(json.dumps(said, indent=1), encoding="utf-8")
        temporary.replace(self.folder / f"{self.name}.json")


def amounts_of(
    plant: Plant,
    store: Store,
    start: int,
    end: int,
    executor: Executor | None = None,
    *,
    afresh: bool = False,
    told: Told = lambda _: None,
) -> Amounts:
    """Return the facts and demand of [start, end) [ns since 1970, UTC]: from stored facts where the store keeps any.

    afresh: from the samples alone. told: called with how much is done of what is to be stored, from 0 to 1.
    Raises StoreError where the samples cannot be read.
    """
    if isinstance(store, Lake) and not afresh:
        try:
            return FactStore(plant, store).amounts(start, end, executor, told)
        except OSError as error:
            logger.warning("%s: facts cannot be stored (%s); they are computed from the samples", store, error)
    return of_store(plant, store, start, end, executor)


def key_of(plant: Plant) -> str:
    """Return what tells the rules and the configuration that facts depend on from any others."""
    said = plant.model_dump(mode="json", include=_OF_PLANT)
    said["assets"] = [asset.model_dump(mode="json", include=_OF_ASSET) for asset in plant.assets]
    points = [(point.model_dump(mode="json", include=_OF_POINT), point.hold_ns) for point in plant.points]
    said["points"] = [about | {"hold": hold} for about, hold in points]
    if any(calendar.holidays for calendar in plant.calendars):
        said["holidays"] = importlib.metadata.version("holidays")
    return _digest([RULES, said])[:16]


def _digest(said: object) -> str:
    return hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=16).hexdigest()


def _over(plant: Plant, lake: Lake, borders: Sequence[int]) -> list[Part]:
    """Return what lies between each pair of borders; what is too large is computed in parts."""
    cuts = [parts(plant, lake, start, end) for start, end in itertools.pairwise(borders)]
    found = iter(list(Pass(plant, lake).over([*(cut for some in cuts for cut in some[:-1]), borders[-1]])))
    return [_joined(list(itertools.islice(found, len(some) - 1))) for some in cuts]


def _joined(found: Sequence[Part]) -> Part:
    """Return parts that follow each other as one."""
    first, last = found[0], found[-1]
    amounts = together([part.amounts for part in found])
    return Part(first.start, last.end, amounts, first.before, last.after, last.carried, first.leading)


def _runs(days: Sequence[dt.date]) -> list[list[dt.date]]:
    """Return days as runs of days that follow each other, of a month at most: what is computed is saved so often."""
    runs: list[list[dt.date]] = []
    for day in days:
        if runs and runs[-1][-1] + _DAY == day and len(runs[-1]) < SEARCH_DAYS:
            runs[-1].append(day)
        else:
            runs.append([day])
    return runs


def _whole(plant: Plant, start: int, end: int) -> tuple[int, int]:
    """Return what of a period stored facts can answer: it begins and ends with an hour and a demand interval."""
    first, last = start, end
    while first < last and not _is_border(plant, first):
        first += HOUR_NS // 4 - first % (HOUR_NS // 4)
    while first < last and not _is_border(plant, last):
        last -= last % (HOUR_NS // 4) or HOUR_NS // 4
    return first, last


def _is_border(plant: Plant, at: int) -> bool:
    """Return whether an hour of the plant's clock and a demand interval begin at an instant."""
    of_demand = (at + phase(plant, at)) % plant.demand_interval == 0
    return of_demand and int(hour_of(plant, np.array([at], np.int64))[0]) == at


def _inside(amounts: Amounts, start: int, end: int) -> Amounts:
    """Return the rows of a day that lie in [start, end), whose ends are those of hours."""
    first, last = (pl.lit(at).cast(UTC_NS) for at in (start, end))
    of_demand = (pl.col("start") >= first) & (pl.col("start") + pl.col("interval") <= last)
    return Amounts(
        amounts.facts.filter((pl.col("start") >= first) & (pl.col("end") <= last)), amounts.demand.filter(of_demand)
    )


def _date(ns: int) -> dt.date:
    return _EPOCH + dt.timedelta(days=ns // DAY_NS)

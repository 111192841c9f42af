"""In how much of its planned time each device was known, one part of a period after the other.

Of each point only the last sample is carried over a part's end, so that memory does not grow with the period. Times are
[ns since 1970, UTC]; a device is known while any of its points is (docs/kpi-rules.md, 3).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from config.plant import Asset, Plant
from kpis.calendar import WORK, spans
from kpis.indicators.counting import out_of_use
from kpis.indicators.said import NOTHING
from kpis.intervals import Bools, Ints, Series
from kpis.stores.arrays import Chunk, Stretch

NEVER = np.iinfo(np.int64).min
_LATEST = np.iinfo(np.int64).max
_ROOM = 2**62
"""So long may an axis be on which keys lie side by side [ns]."""


class _Runs(NamedTuple):
    """Samples of a point side by side: whose, the first, the last, and whether that is good; arrays of length n."""

    point: Ints
    first: Ints
    last: Ints
    good: Bools


class _Known(NamedTuple):
    """Good samples on end: whose, the first, the last, and until when that holds; arrays of length n.

    The last sample of a run holds no time here: how long it does is told by what follows.
    """

    point: Ints
    begin: Ints
    last: Ints
    end: Ints


class Lost(NamedTuple):
    """Time in which none of an asset's points was known: whose, from and until when, and how much of it was planned.

    Arrays of length n, by asset and time; [ns since 1970, UTC] and [ns].
    """

    asset: Ints
    begin: Ints
    end: Ints
    planned: Ints


_NONE = np.empty(0, np.int64)
_NO_RUNS, _NOT_KNOWN = _Runs(_NONE, _NONE, _NONE, np.empty(0, np.bool_)), _Known(_NONE, _NONE, _NONE, _NONE)


class Evidence:
    """What is known of a plant's devices so far, by asset in the register's order, and by asset and role."""

    def __init__(self, plant: Plant) -> None:
        """Number the points of the register's assets, and their roles."""
        self.plant = plant
        numbers = {asset.asset: n for n, asset in enumerate(plant.assets)}
        mine = [point for point in plant.points if point.asset in numbers]
        self.points = [point.point for point in mine]
        self.roles = list(dict.fromkeys((numbers[p.asset], p.role) for p in mine))
        """Number of the asset and role, in the point table's order."""
        self._number = {name: n for n, name in enumerate(self.points)}
        self._hold = np.array([p.hold_ns for p in mine], np.int64)
        self._asset = np.array([numbers[p.asset] for p in mine], np.int64)
        keys = {pair: len(numbers) + n for n, pair in enumerate(self.roles)}
        self._role = np.array([keys[numbers[p.asset], p.role] for p in mine], np.int64)
        self._owner = np.array([*range(len(numbers)), *(asset for asset, _ in self.roles)], np.int64)
        self._before, self._good = np.zeros(len(mine), np.int64), np.zeros(len(mine), np.bool_)
        self._known = np.zeros(len(self._owner), np.int64)
        self.planned: Ints = np.zeros(len(numbers), np.int64)
        """Planned time of each asset [ns]."""
        self.first, self.last = np.full(len(numbers), _LATEST), np.full(len(numbers), NEVER)
        """First and last good sample of each asset in the period; `last` is NEVER where there is none."""
        self.doubtful: list[tuple[int, int, list[int]]] = []
        """Parts [start, end), and the points that had samples there, but whose assets had no good one so far."""

    @property
    def known(self) -> Ints:
        """Planned time in which each asset was known [ns]."""
        return self._known[: len(self.planned)]

    @property
    def known_of_roles(self) -> Ints:
        """Planned time in which each asset's points of a role were known [ns], in the order of `roles`."""
        return self._known[len(self.planned) :]

    def asset_of(self, point: int) -> int:
        """Return the number of a point's asset."""
        return int(self._asset[point])

    def seed(self, found: Mapping[str, Series]) -> None:
        """Take what came before the period."""
        for point, rows in found.items():
            n = self._number.get(point)
            if n is not None and len(rows.ts):
                self._before[n], self._good[n] = rows.ts[-1], rows.good[-1]

    def number_of(self, points: Sequence[str]) -> Ints:
        """Return the numbers of points' assets; -1 of points that are of none."""
        numbers = [self._number.get(point, -1) for point in points]
        return np.array([-1 if n < 0 else self._asset[n] for n in numbers], np.int64)

    def add(self, stretch: Stretch, start: int, end: int) -> Lost:
        """Take the samples of [start, end), which begins where the part before it ended; return what was not known."""
        alone = [Chunk(rows, [(point, 0, len(rows.ts))]) for point, rows in stretch.apart.items()]
        found = [self._of(chunk, table) for chunk in (*stretch.chunks, *alone) if len(table := self._runs(chunk))]
        runs, known = _runs([each for each, _ in found]), _known([each for _, each in found])
        np.minimum.at(self.first, self._asset[known.point], known.begin)
        np.maximum.at(self.last, self._asset[known.point], known.last)
        quiet = np.unique(runs.point[self.last[self._asset[runs.point]] == NEVER])
        if len(quiet):
            self.doubtful.append((start, end, quiet.tolist()))
        return self._account(_known([known, self._between(runs), self._carried(runs, end)]), start, end)

    def _runs(self, chunk: Chunk) -> Ints:
        """Return the chunk's runs of points of the register: point, begin and end, shape (n, 3)."""
        numbered = [(self._number.get(point, -1), begin, end) for point, begin, end in chunk.runs]
        table = np.array(numbered, np.int64).reshape(-1, 3)
        return table[(table[:, 0] >= 0) & (table[:, 2] > table[:, 1])]

    def _of(self, chunk: Chunk, table: Ints) -> tuple[_Runs, _Known]:
        point, begin, end = np.ascontiguousarray(table.T)
        ts, good, hold = chunk.rows.ts, chunk.rows.good, self._hold[point]
        head = _heads(ts, good, begin, hold)
        of = _place(begin, head)
        inside = (head >= begin[of]) & (head < end[of])  # rows of other points may lie between
        head, of = head[inside], of[inside]
        tail = np.minimum(np.append(head[1:], len(ts)), end[of]) - 1
        follows = ts[np.minimum(tail + 1, len(ts) - 1)]
        until = np.where(tail + 1 == end[of], ts[tail], np.minimum(_later(ts[tail], hold[of]), follows))
        kept = good[head]
        known = _Known(point[of][kept], ts[head][kept], ts[tail][kept], until[kept])
        return _Runs(point, ts[begin], ts[end - 1], good[end - 1]), known

    def _between(self, runs: _Runs) -> _Known:
        """Return how long the last sample before each run held."""
        order = np.lexsort((runs.first, runs.point))
        point, first, last, good = runs.point[order], runs.first[order], runs.last[order], runs.good[order]
        again = np.append(np.zeros(min(1, len(point)), np.bool_), point[1:] == point[:-1])
        before = np.where(again, np.roll(last, 1), self._before[point])
        was_good = np.where(again, np.roll(good, 1), self._good[point])
        until = np.minimum(_later(before, self._hold[point]), first)
        return _Known(point[was_good], before[was_good], before[was_good], until[was_good])

    def _carried(self, runs: _Runs, end: int) -> _Known:
        """Return how long each point's last sample holds, and keep it for the part that follows."""
        order = np.argsort(runs.first, kind="stable")  # of several runs of a point the latest stays
        self._before[runs.point[order]], self._good[runs.point[order]] = runs.last[order], runs.good[order]
        point = np.flatnonzero(self._good)
        last = self._before[point]
        return _Known(point, last, last, np.minimum(_later(last, self._hold[point]), end))

    def _account(self, found: _Known, start: int, end: int) -> Lost:
        """Add planned time, and what of it lies in known time; return what was not known."""
        begin, until = np.clip(found.begin, start, end) - start, np.clip(found.end, start, end) - start
        real = until > begin
        key = np.concatenate([self._asset[found.point[real]], self._role[found.point[real]]])
        begin, until, length = np.tile(begin[real], 2), np.tile(until[real], 2), end - start
        lost = _lost(key, begin, until, len(self.planned), length)
        for work, assets in self._work(start, end):
            self.planned[assets] += int((work[1] - work[0]).sum())
            mine = np.flatnonzero(np.isin(self._owner, assets))
            many = max(1, _ROOM // length)
            for keys in (mine[n : n + many] for n in range(0, len(mine), many)):
                own = np.flatnonzero(np.isin(key, keys))
                shift = np.searchsorted(keys, key[own]) * length
                cuts = work + (np.arange(len(keys)) * length)[:, None, None]
                covered = _covered(begin[own] + shift, until[own] + shift, cuts.ravel()).reshape(cuts.shape)
                self._known[keys] += (covered[:, 1] - covered[:, 0]).sum(axis=1)
            mine = np.flatnonzero(np.isin(lost.asset, assets))
            before = [_covered(work[0], work[1], at[mine]) for at in (lost.begin, lost.end)]
            lost.planned[mine] = before[1] - before[0]
        return Lost(lost.asset, lost.begin + start, lost.end + start, lost.planned)

    def _work(self, start: int, end: int) -> Iterator[tuple[Ints, Ints]]:
        """Yield planned time that assets share, from and until when after `start` (2, n), and the assets' numbers."""
        groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for n, asset in enumerate(self.plant.assets):
            covering = tuple(c for c, calendar in enumerate(self.plant.calendars) if calendar.covers(asset.asset))
            groups[covering, asset.in_use_from, asset.in_use_until].append(n)
        for assets in groups.values():
            yield _planned(self.plant, self.plant.assets[assets[0]], start, end) - start, np.array(assets, np.int64)


def _planned(plant: Plant, asset: Asset, start: int, end: int) -> Ints:
    """Return from and until when an asset is to work, shape (2, n): in shifts of production days of its use."""
    found = spans(plant, asset.asset, start, end)
    used = np.array([out_of_use(asset, shift.date) == NOTHING for shift in found.shifts] or [False], np.bool_)
    worked = (found.kind == WORK) & (np.diff(found.edges) > 0) & used[np.maximum(found.shift, 0)]
    return np.stack([found.edges[:-1][worked], found.edges[1:][worked]])


def _heads(ts: Ints, good: Bools, begin: Ints, hold: Ints) -> Ints:
    """Return where a run begins, or samples that do not follow on the one before: late, or not both of them good."""
    steps = np.diff(ts).view(np.uint64)  # without sign a step of more than 292 years is still a late one
    late = np.flatnonzero(steps > np.uint64(hold.min()))
    late = late[steps[late] > hold[_place(begin, late)].astype(np.uint64)]
    bad = _NONE if good.all() else np.flatnonzero(~good[1:] | ~good[:-1])
    return np.unique(np.concatenate([begin, late + 1, bad + 1]))


def _place(begin: Ints, at: Ints) -> Ints:
    """Return in which run positions lie; those before the first count as its own."""
    found: Ints = np.maximum(np.searchsorted(begin, at, "right") - 1, 0)
    return found


def _later(ts: Ints, hold: Ints) -> Ints:
    latest: Ints = np.minimum(ts, _LATEST - hold) + hold
    return latest


def _covered(begin: Ints, end: Ints, at: Ints) -> Ints:
    """Return how much of the axis before each place lies in any of the intervals."""
    if not len(begin):
        return np.zeros(len(at), np.int64)
    begin, end = _united(begin, end)
    before = np.cumsum(end - begin) - (end - begin)
    i = np.searchsorted(begin, at, "right") - 1
    inside: Ints = np.where(i < 0, 0, before[i] + np.minimum(at, end[i]) - begin[i])
    return inside


def _united(begin: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Return intervals, of which there is at least one, in order; what overlaps or touches is one."""
    order = np.argsort(begin, kind="stable")
    begin, reach = begin[order], np.maximum.accumulate(end[order])
    head = np.flatnonzero(np.append(True, begin[1:] > reach[:-1]))
    return begin[head], reach[np.append(head[1:], len(reach)) - 1]


def _lost(key: Ints, begin: Ints, end: Ints, assets: int, length: int) -> Lost:
    """Return what of [0, length) lies in none of the intervals of an asset, by its number; planned time is still 0."""
    many, found = max(1, _ROOM // length), [np.empty((3, 0), np.int64)]
    for first in range(0, assets, many):
        last = min(first + many, assets)
        marks = np.arange(last - first + 1) * length  # no time, where the axis of one asset meets that of the next
        own = np.flatnonzero((key >= first) & (key < last))
        shift = (key[own] - first) * length
        of, until = _united(np.append(marks, begin[own] + shift), np.append(marks, end[own] + shift))
        whose = until[:-1] // length
        found.append(np.stack([first + whose, until[:-1] - whose * length, of[1:] - whose * length]))
    asset, lost, again = np.concatenate(found, axis=1)
    return Lost(asset, lost, again, np.zeros(len(asset), np.int64))


def _runs(parts: Sequence[_Runs]) -> _Runs:
    whole = [_NO_RUNS, *parts]
    point, first, last = (np.concatenate([part[n] for part in whole]) for n in range(3))
    return _Runs(point, first, last, np.concatenate([part.good for part in whole]))


def _known(parts: Sequence[_Known]) -> _Known:
    whole = [_NOT_KNOWN, *parts]
    return _Known(*(np.concatenate([part[n] for part in whole]) for n in range(4)))

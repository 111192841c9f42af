"""A store's samples -> facts, one stretch of time after the other, in memory that does not grow with the period.

Facts of a period are the sum of the facts of its parts. Each part needs a little of what lies around it; what lies
before is carried along, what lies after is the head of the next part, which is read meanwhile.
"""

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from config.plant import Asset, Plant, Point
from config.schema import DEMAND, FACT
from kpis import states
from kpis.counters import Counters, limit_of
from kpis.demand import of_meters, phase
from kpis.elements import ROLES, elements
from kpis.facts import Accounts
from kpis.intervals import Ints, Series, joined, part, resolve, series
from kpis.stores.arrays import Found, Stretch, Workspace, usable
from kpis.stores.base import DAY_NS, SEARCH_DAYS, Store, search_bounds

PART_ROWS = 8_000_000
"""About so many samples are looked at together."""
HOUR_NS = 3_600_000_000_000
_LOOKS = (HOUR_NS, 6 * HOUR_NS, DAY_NS, 4 * DAY_NS, SEARCH_DAYS * DAY_NS)
"""How far back the beginning of a stop is looked for, on and on [ns]."""

_TRIES = 100
"""So often a neighbour that can be counted from is looked for behind one that cannot."""
_NEAR = 1000
"""A good sample is looked for among so many first."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a period holds: FACT and DEMAND rows."""

    facts: pl.DataFrame
    demand: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Part:
    """The amounts of a stretch of time, and what tells the samples around it from any others."""

    start: int
    end: int
    amounts: Amounts
    before: str
    after: str
    carried: str
    """What the part that follows would have as `before`."""
    leading: str
    """What the part that comes before would have as `after`."""


def of_store(plant: Plant, store: Store, start: int, end: int, executor: Executor | None = None) -> Amounts:
    """Return the facts and demand of [start, end) [ns since 1970, UTC] of all of the plant's assets.

    executor: computes parts of the period side by side, each of which reads what it needs.
    Raises StoreError where the samples cannot be read.
    """
    borders = parts(plant, store, start, end)
    if executor is None:
        return _alone(plant, store, borders)
    pairs = list(itertools.pairwise(borders))
    n = len(pairs)
    found = executor.map(_alone, [plant] * n, [store] * n, pairs)
    return together(list(found))


def _alone(plant: Plant, store: Store, borders: Sequence[int]) -> Amounts:
    return together([each.amounts for each in Pass(plant, store, telling=False).over(borders)])


def together(amounts: Sequence[Amounts]) -> Amounts:
    """Return amounts of periods that follow each other as one; their rows stay apart."""
    facts = [pl.DataFrame(schema=dict(FACT)), *(each.facts for each in amounts)]
    demand = [pl.DataFrame(schema=dict(DEMAND)), *(each.demand for each in amounts)]
    return Amounts(pl.concat(facts, how="diagonal"), pl.concat(demand))


def samples_of(plant: Plant, store: Store, start: int, end: int) -> pl.DataFrame:
    """Return the SAMPLE rows from which `kpis.facts.facts` computes [start, end) [ns since 1970, UTC] exactly.

    Raises StoreError where the samples cannot be read.
    """
    through = Pass(plant, store)
    begin, close = start - through.margin, end + through.margin
    around = [through.earlier(through.points, begin), through.later(through.points, close)]
    found = pl.concat([around[0], store.rows(through.points, begin, close), around[1]])
    more = []
    if through.told and found.height:
        ends = found.select(first=pl.col("ts").min().to_physical(), last=pl.col("ts").max().to_physical())
        first, last = ends.row(0)
        more += [through.earlier(through.told, first), store.rows(through.told, first, last + 1)]
    for asset, began in through.open_stops(through.seeds(start), through.head(start), start).items():
        if began < begin:
            points = [p.point for p in through.of_asset[asset] if p.role in ROLES]
            more += [store.before(points, began), store.rows(points, began, begin)]
    return pl.concat([found, *more]).unique(maintain_order=True) if more else found


def parts(plant: Plant, store: Store, start: int, end: int) -> list[int]:
    """Return the borders of the parts of [start, end) [ns since 1970, UTC]: days, or hours where days are too large.

    They lie where a demand interval begins, so that none is cut.
    """
    shift = -phase(plant, start) % plant.demand_interval
    borders = [start]
    for day in range(start // DAY_NS, -(-end // DAY_NS)):
        rows = store.height(max(day * DAY_NS, start), min((day + 1) * DAY_NS, end))
        hours = next((h for h in (24, 12, 8, 6, 4, 3, 2) if rows * h / 24 <= PART_ROWS), 1)
        for hour in range(0, 24, hours):
            at = day * DAY_NS + hour * HOUR_NS
            at -= (at - shift) % plant.demand_interval
            if borders[-1] < at < end:
                borders.append(at)
    return [*borders, end]


@dataclass(slots=True)
class Pass:
    """One way through a store, forwards in time."""

    plant: Plant
    store: Store
    telling: bool = True
    """Whether the parts bear digests of what lies around them."""
    margin: int = 0
    points: list[str] = field(default_factory=list)
    ahead: dict[str, "_Ahead"] = field(default_factory=dict)
    """What was found of points whose next good sample is far away."""
    limits: dict[str, float] = field(default_factory=dict)
    """Below which the numbers of points that count can be counted from."""
    of_asset: dict[str, list[Point]] = field(default_factory=lambda: defaultdict(list))
    told: list[str] = field(default_factory=list)
    """The points that tell of resets."""

    def __post_init__(self) -> None:
        """Work out what a part needs of its neighbours."""
        self.margin = states.margin(self.plant)
        self.points = [point.point for point in self.plant.points]
        self.told = [point.point for point in self.plant.points if point.role == "since_reset"]
        for point in self.plant.points:
            self.of_asset[point.asset].append(point)
            limit = limit_of(point)
            if limit is not None:
                self.limits[point.point] = limit

    def over(self, borders: Sequence[int]) -> Iterator[Part]:
        """Yield each part between neighbouring borders."""
        pairs = list(itertools.pairwise(borders))
        workspace = Workspace()
        with ThreadPoolExecutor(1) as reader:
            first = self._read(reader, pairs[0])
            before, read = self.seeds(borders[0]), self._read_ahead(reader, first, pairs[1:])
            current = next(read)
            ahead = self._head(current, *pairs[0])
            accounts = Accounts(self.plant, self.plant.assets, self.open_stops(before, ahead, borders[0]))
            for (start, end), later in itertools.zip_longest(pairs, pairs[1:]):
                carried, leading = self._digest(before, accounts.stops, start), self._digest(ahead)
                coming = next(read, Stretch())
                ahead = self._head(coming, end, later[1]) if later else self.head(end)
                found = workspace.filled(self.points, before, current, ahead)
                counters = Counters(self.plant, found)
                facts = accounts.window(counters, start, end)
                demand = of_meters(self.plant, self.plant.assets, counters, start, end)
                before = {p: _copied(rows) for p, rows in self._tail(_until(found, end), end).items()}
                current = coming
                known = carried, self._digest(ahead), self._digest(before, accounts.stops, end), leading
                yield Part(start, end, Amounts(facts, demand), *known)

    def _read(self, reader: ThreadPoolExecutor, pair: tuple[int, int]) -> Future[Stretch]:
        good = self.plant.uncertain == "good"
        return reader.submit(self.store.stretch, self.points, *pair, uncertain_is_good=good)

    def _read_ahead(
        self, reader: ThreadPoolExecutor, coming: Future[Stretch], pairs: Sequence[tuple[int, int]]
    ) -> Iterator[Stretch]:
        """Yield what is being read and what lies between each pair of borders, each while the next is being read."""
        for pair in pairs:
            following = self._read(reader, pair)
            yield coming.result()
            coming = following
        yield coming.result()

    def _digest(self, found: Found, stops: Mapping[str, int] | None = None, border: int = 0) -> str:
        # The beginning of a stop is looked for no further away.
        latest = {asset: max(began, border - SEARCH_DAYS * DAY_NS) for asset, began in (stops or {}).items()}
        return digest(found, latest) if self.telling else ""

    def around(self, border: int) -> tuple[str, str]:
        """Return what a part that begins at the border would have as `before`, and one that ends there as `after`."""
        before, following = self.seeds(border), self.head(border)
        return self._digest(before, self.open_stops(before, following, border), border), self._digest(following)

    def head(self, border: int) -> Found:
        """Return what a part that ends at the border needs of the time after it."""
        return self._with_resets(self._trimmed(self._after(self.points, border, {}), border), border)

    def _with_resets(self, found: Found, border: int) -> Found:
        """Return what comes after a border with the machine's word on resets up to the last sample of any point."""
        if not self.told:
            return found
        last = max((int(rows.ts[-1]) for rows in found.values()), default=border)
        rows = self._of(self.store.rows(self.told, border, max(last + 1, border + self.margin)))
        return {point: each for point, each in found.items() if point not in self.told} | rows

    def _of(self, rows: pl.DataFrame) -> Found:
        return series(resolve(rows), uncertain_is_good=self.plant.uncertain == "good")

    def seeds(self, border: int) -> Found:
        """Return what a part that begins at the border needs of the time before it."""
        return self._tail(self._since(self.plant.points, border - self.margin, border), border)

    def _since(self, points: Sequence[Point], begin: int, end: int) -> Found:
        """Return the points' samples of [begin, end) [ns since 1970, UTC], and what they need of the time before it."""
        names = [point.point for point in points]
        found = self._of(pl.concat([self.earlier(names, begin), self.store.rows(names, begin, end)]))
        told = [point for point in self.told if point in names]
        first = min((int(rows.ts[0]) for rows in found.values()), default=begin)
        if told and first < begin:
            # The machine's word on the reset before a counter's last good sample.
            found |= self._of(pl.concat([self.earlier(told, first), self.store.rows(told, first, end)]))
        return found

    def earlier(self, points: Sequence[str], border: int) -> pl.DataFrame:
        """Return each point's rows before the border, back to the nearest good one that can be counted from."""
        frames, looked = [self.store.before(points, border)], dict.fromkeys(points, border)
        for _ in range(_TRIES):
            found = self._of(frames[-1])
            further = {p: int(rows.ts[0]) for p, rows in found.items() if not usable(rows, self.limits.get(p)).any()}
            looked = {p: at for p, at in further.items() if at < looked.get(p, border)}
            if not looked:
                break
            frames.append(pl.concat([self.store.before([point], at) for point, at in looked.items()]))
        return pl.concat(frames)

    def later(self, points: Sequence[str], border: int) -> pl.DataFrame:
        """Return each point's rows from the border on, up to the nearest good one that can be counted from."""
        frames, looked = [self.store.after(points, border)], dict.fromkeys(points, border - 1)
        for _ in range(_TRIES):
            found = self._of(frames[-1])
            further = {p: int(rows.ts[-1]) for p, rows in found.items() if not usable(rows, self.limits.get(p)).any()}
            looked = {p: at for p, at in further.items() if at > looked.get(p, border)}
            if not looked:
                break
            frames.append(pl.concat([self.store.after([point], at + 1) for point, at in looked.items()]))
        return pl.concat(frames)

    def open_stops(self, before: Found, following: Found, border: int) -> dict[str, int]:
        """Return when the stops began that go on at the border [ns], by asset."""
        found = {}
        for asset in self.plant.assets:
            points = [p for p in self.of_asset[asset.asset] if p.role in ROLES]
            own = {p.point: joined(s) for p in points if (s := _present(p.point, before, following))}
            began = self._stop_began(asset, points, own, border)
            if began is not None:
                found[asset.asset] = began
        return found

    def _stop_began(self, asset: Asset, points: Sequence[Point], own: Found, border: int) -> int | None:
        for look in (0, *_LOOKS):
            if look:
                own = self._since(points, border - look, border + self.margin + 1)
            line, _ = elements(self.plant, asset, points, Counters(self.plant, own), border, border + 1)
            begin, end = line.runs(states.DELAY)
            if not len(begin) or end[-1] <= border or begin[-1] >= border:
                return None
            if begin[-1] > line.edges[0] or look == _LOOKS[-1]:
                return int(begin[-1])
        return None

    def _head(self, coming: Stretch, border: int, end: int) -> Found:
        """Return what a part needs of the time after it, from the part that follows."""
        beginning = coming.beginning(border + self.margin, self.limits)
        found = self._trimmed(beginning, border)
        near = [p for p, rows in found.items() if int(rows.ts[-1]) >= border + self.margin]
        missing = [point for point in self.points if point not in near]
        rest = {point: beginning[point] for point in missing if point in beginning}
        far = self._trimmed(self._after(missing, border, rest, end), border)
        return self._with_resets({point: found[point] for point in near} | far, border)

    def _trimmed(self, found: Found, border: int) -> Found:
        """Return the samples of the margin after the border, and those up to the next good one after it."""
        kept = {}
        for point, rows in found.items():
            k = int(np.searchsorted(rows.ts, border + self.margin, "left"))
            good = _first_good(rows, k, self.limits.get(point))
            if good is not None and int(rows.ts[good]) < border + SEARCH_DAYS * DAY_NS:
                kept[point] = part(rows, 0, good + 1)
            elif k:
                kept[point] = part(rows, 0, k)
        return kept

    def _after(self, points: Sequence[str], border: int, coming: Found, end: int | None = None) -> Found:
        """Return what lies after the border, of points without a good sample between their margin and `end`."""
        start = border if end is None else end
        until = max(border + self.margin, start)
        wanted = [p for p in points if p not in self.ahead or not self.ahead[p].tells(start, until)]
        # Where nothing came for SEARCH_DAYS, only what these days now reach further is looked into.
        silent = [p for p in wanted if p in self.ahead and self.ahead[p].is_silent(start, until)]
        fresh = [p for p in wanted if p not in silent]
        _, reach = search_bounds(until, until)
        if fresh:
            found = self._of(pl.concat([self.store.rows(fresh, start, until), self.later(fresh, until)]))
            self.ahead |= {p: _Ahead(start, reach, found.get(p, _NO_ROWS), self.limits.get(p)) for p in fresh}
        if silent:
            found = self._of(self.store.rows(silent, min(self.ahead[p].reach for p in silent), reach))
            for p in silent:
                self.ahead[p] = self.ahead[p].extended(found.get(p, _NO_ROWS), reach)
        far = {p: self.ahead[p].beginning(start) for p in points}
        return {p: joined(s) for p in points if (s := _present(p, coming, far))}

    def _tail(self, found: Found, border: int) -> Found:
        """Return the samples of the margin before the border, and those back to the last good one before it."""
        kept, first = {}, border
        for point, rows in found.items():
            k = int(np.searchsorted(rows.ts, border - self.margin, "left"))
            good = _last_good(rows, k, self.limits.get(point))
            if good is not None and int(rows.ts[good]) >= border - SEARCH_DAYS * DAY_NS:
                k = good
            if k < len(rows.ts):
                kept[point] = part(rows, k, len(rows.ts))
                first = min(first, int(rows.ts[k]))
        for told in (point for point in self.told if point in found):
            rows = found[told]
            good = _last_good(rows, int(np.searchsorted(rows.ts, first, "right")), self.limits[told])
            kept[told] = part(rows, good or 0, len(rows.ts))
        return kept


def digest(found: Found, stops: Mapping[str, int] | None = None) -> str:
    """Return what tells samples, and the stops that go on, from any others."""
    hashed = hashlib.blake2b(digest_size=16)
    for point in sorted(found):
        rows = found[point]
        hashed.update(f"{point}\0{len(rows.ts)}\0".encode())
        for array in (rows.ts, rows.value, rows.good):
            hashed.update(np.ascontiguousarray(array).tobytes())
        if rows.text is not None and rows.text.null_count() < len(rows.ts):
            hashed.update(repr(rows.text.to_list()).encode())
    hashed.update(repr(sorted((stops or {}).items())).encode())
    return hashed.hexdigest()


@dataclass(frozen=True, slots=True)
class _Ahead:
    """All rows of a point from `start` on up to its next good one, or up to `reach` where there is none [ns]."""

    start: int
    reach: int
    rows: Series
    limit: float | None

    def tells(self, start: int, until: int) -> bool:
        """Return whether it holds what comes from `start` on, with a good sample from `until` on if there is any."""
        good = self._good()
        if start < self.start:
            return False
        return int(good[-1]) >= until if len(good) else search_bounds(until, until)[1] <= self.reach

    def is_silent(self, start: int, until: int) -> bool:
        """Return whether nothing good came as far as it was looked for, from before `start` to after `until`."""
        return self.start <= start and until <= self.reach and not len(self._good())

    def extended(self, rows: Series, reach: int) -> "_Ahead":
        """Return what is known once it was looked further; rows: some of them may be known already."""
        new = part(rows, int(np.searchsorted(rows.ts, self.reach, "left")), len(rows.ts))
        good = _first_good(new, 0, self.limit)
        kept = new if good is None else part(new, 0, good + 1)
        return _Ahead(self.start, reach, joined([self.rows, kept]), self.limit)

    def _good(self) -> Ints:
        found: Ints = self.rows.ts[usable(self.rows, self.limit)]
        return found

    def beginning(self, start: int) -> Series:
        """Return its rows from an instant on."""
        return part(self.rows, int(np.searchsorted(self.rows.ts, start, "left")), len(self.rows.ts))


_NO_ROWS = Series(np.empty(0, np.int64), np.empty(0), np.empty(0, np.bool_))


def _until(found: Found, end: int) -> Found:
    """Return the samples before an instant."""
    ends = {point: int(np.searchsorted(rows.ts, end, "left")) for point, rows in found.items()}
    return {point: part(rows, 0, ends[point]) for point, rows in found.items() if ends[point]}


def _copied(rows: Series) -> Series:
    return Series(rows.ts.copy(), rows.value.copy(), rows.good.copy(), rows.text)


def _present(point: str, *where: Mapping[str, Series]) -> list[Series]:
    return [found[point] for found in where if point in found and len(found[point].ts)]


def _first_good(rows: Series, at: int, limit: float | None) -> int | None:
    """Return the position of the first good sample from a position on."""
    for far in (at + _NEAR, len(rows.ts)):
        later = np.flatnonzero(usable(part(rows, at, min(far, len(rows.ts))), limit))
        if len(later):
            return at + int(later[0])
    return None


def _last_good(rows: Series, at: int, limit: float | None) -> int | None:
    """Return the position of the last good sample before a position."""
    for first in (max(at - _NEAR, 0), 0):
        earlier = np.flatnonzero(usable(part(rows, first, at), limit))
        if len(earlier):
            return first + int(earlier[-1])
    return None

"""Counters and meters -> cumulative amounts, and what happened on the way: resets, gaps, refused steps.

Amounts are integers in millionths of the canonical unit, so that sums over any split of a window are exact. Nearly
every step is the plain difference of two samples, so that only the others are written down. Rules 8 to 12, 25 and 26
of docs/kpi-rules.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from config.plant import Plant, Point
from config.schema import COUNTS, MICRO
from config.units import METER_UNITS, NS_PER_SECOND
from kpis.calendar import to_ns
from kpis.intervals import Bools, Ints, Series, Stretches, known

_LIMIT = 2.0**62
_HOUR = 3600 * NS_PER_SECOND
LONGEST_NS = 31 * 86_400 * NS_PER_SECOND
"""No increment spans more time than this [ns]."""
_WORD_OF_RESET = 2 * NS_PER_SECOND
"""A machine that counts whole seconds since its reset says the same reset within this [ns]."""


def _none() -> Ints:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Change:
    """A counter or meter was replaced at `at` [ns]; readings in its unit, `last` None where nobody took it."""

    at: int
    last: float | None
    first: float


@dataclass(frozen=True, slots=True)
class Steps:
    """A counter's steps between neighbouring good samples: step k leads from sample k to sample k + 1."""

    ts: Ints
    value: NDArray[np.float64]
    """What the samples say."""
    scale: float = 1.0
    """How many millionths of the canonical unit the value counts in."""
    bent: Ints = field(default_factory=_none)
    """The steps that count another amount than the difference of their samples."""
    bend: Ints = field(default_factory=_none)
    """What these count less the difference, summed up [1e-6 units]."""
    resets: Ints = field(default_factory=_none)
    gaps: Ints = field(default_factory=_none)
    refused: Ints = field(default_factory=_none)
    uncertain: Ints = field(default_factory=_none)
    """What each refused step would have added [1e-6 units]."""

    def counted(self, samples: Ints) -> Ints:
        """Return what was counted up to samples, by position, from some fixed start [1e-6 units]."""
        plain = _rounded(self.value[samples], self.scale)
        if not len(self.bent):
            return plain
        bent: Ints = plain + np.append(0, self.bend)[np.searchsorted(self.bent, samples, "left")]
        return bent

    def at(self, cuts: Ints) -> Ints:
        """Return the amount counted up to each cut, a step being spread evenly over its time."""
        if len(self.ts) < 2:
            return np.zeros(len(cuts), np.int64)
        i = np.clip(np.searchsorted(self.ts, cuts, "right") - 1, 0, len(self.ts) - 2)
        before = self.counted(i)
        step, length = self.counted(i + 1) - before, self.ts[i + 1] - self.ts[i]
        share = np.clip((cuts - self.ts[i]) / np.maximum(length, 1), 0.0, 1.0)
        return before + np.where(share < 1.0, np.floor(step * share).astype(np.int64), step)

    def events(self, which: Ints, cuts: Ints, weights: Ints | int = 1) -> Ints:
        """Return how many of these steps, or how much of their weights, close between neighbouring cuts."""
        result = np.zeros(len(cuts) - 1, np.int64)
        if not len(which):
            return result
        cell = np.searchsorted(cuts, self.ts[which + 1], "left") - 1
        inside = (cell >= 0) & (cell < len(cuts) - 1)
        np.add.at(result, cell[inside], np.broadcast_to(weights, cell.shape)[inside])
        return result


def factor(point: Point) -> Fraction:
    """Return the exact factor from the point's unit to its canonical unit; 1 for pieces."""
    return METER_UNITS[point.unit].factor if point.medium is not None else Fraction(1)


def steps(series: Series, point: Point, since_reset: Series | None = None, changes: Sequence[Change] = ()) -> Steps:
    """Return the steps of a counter or cumulative meter.

    since_reset: the samples of the asset's point of that role [s]. changes: when it was replaced, in order of time.
    """
    scale = float(factor(point) * MICRO)
    kept = _unusable(series, _LIMIT / scale)
    ts, value = (series.ts, series.value) if kept is None else (series.ts[kept], series.value[kept])
    if len(ts) < 2:
        return Steps(ts, value, scale)
    length = np.diff(ts)
    gaps = np.flatnonzero(length.view(np.uint64) > np.uint64(point.hold_ns))
    if kept is not None:
        gaps = np.union1d(gaps, np.flatnonzero(np.diff(kept) > 1))
    told = None if since_reset is None else _reset_between(since_reset, ts)
    return _Odd(point, scale, ts, value, told, changes).steps(gaps, int(length.min()))


def _unusable(series: Series, limit: float) -> Ints | None:
    """Return the positions of the samples that are good numbers; None where all are."""
    value = series.value
    if len(value) and series.good.all() and value.min() > -limit and value.max() < limit:
        return None
    return np.flatnonzero(series.good & (np.abs(value) < limit))  # false for what is no number


def _rounded(value: NDArray[np.float64], scale: float) -> Ints:
    rounded: Ints = np.rint(value * scale).astype(np.int64)
    return rounded


def _reset_between(since_reset: Series, ts: Ints) -> NDArray[np.int8]:
    """Return for each step of a counter's samples whether the machine says that it was reset: 1, 0, or -1 unsaid."""
    rows = np.flatnonzero(since_reset.good & np.isfinite(since_reset.value))
    place = np.searchsorted(since_reset.ts[rows], ts, "right") - 1
    if not len(rows):
        return np.full(len(ts) - 1, -1, np.int8)
    last = since_reset.ts[rows] - np.rint(since_reset.value[rows] * NS_PER_SECOND).astype(np.int64)
    reset = np.diff(last[np.maximum(place, 0)]) > _WORD_OF_RESET
    return np.where(place[:-1] < 0, -1, reset).astype(np.int8)


class _Odd:
    """Finds the steps of a counter that are not the plain difference, and what they count."""

    def __init__(
        self,
        point: Point,
        scale: float,
        ts: Ints,
        value: NDArray[np.float64],
        told: NDArray[np.int8] | None,
        changes: Sequence[Change],
    ) -> None:
        self.point, self.scale, self.ts, self.value, self.told = point, scale, ts, value, told
        self.modulus = None if point.modulus is None else round(point.modulus * scale)
        places = [int(np.searchsorted(ts, change.at, "left")) - 1 for change in changes]
        self.changes = [(k, change) for k, change in zip(places, changes, strict=True) if 0 <= k < len(ts) - 1]

    def steps(self, gaps: Ints, shortest: int) -> Steps:
        """Return the steps; gaps: those that cross one. shortest: the least time between two samples [ns]."""
        k = self._candidates(gaps, shortest)
        if not len(k):
            return Steps(self.ts, self.value, self.scale, gaps=gaps)
        before, value = (_rounded(self.value[at], self.scale) for at in (k, k + 1))
        plain = value - before
        step, reset, refused = self._drops(k, plain, value)
        self._replaced(k, before, value, step, reset, refused)
        uncertain = np.where(refused, 0, step)
        if self.point.max_rate is not None:
            refused |= step > self._fastest(k)
        far = self._far(k)
        step, reset, refused = np.where(refused | far, 0, step), reset & ~far, refused & ~far
        bent = step != plain
        return Steps(
            self.ts,
            self.value,
            self.scale,
            bent=k[bent],
            bend=np.cumsum((step - plain)[bent]),
            resets=k[reset],
            gaps=np.setdiff1d(gaps, k[refused | far], assume_unique=True),
            refused=k[refused],
            uncertain=uncertain[refused],
        )

    def _candidates(self, gaps: Ints, shortest: int) -> Ints:
        difference = np.diff(self.value)
        odd = difference < 0
        if self.point.max_rate is not None:
            # A margin for rounding: the steps that are looked at are compared as integers.
            rate, margin = self.point.max_rate / NS_PER_SECOND * (1 - 1e-9), 1 / self.scale
            if difference.max() + margin > rate * shortest:
                odd |= difference + margin > rate * np.diff(self.ts)
        if self.told is not None:
            odd |= self.told == 1
        odd[[k for k, _ in self.changes]] = True
        odd[gaps[self._far(gaps)]] = True
        return np.flatnonzero(odd)

    def _far(self, k: Ints) -> Bools:
        """Return which steps lead over so much time that they count nothing (rule 8)."""
        far: Bools = (self.ts[k + 1] - self.ts[k]).view(np.uint64) > np.uint64(LONGEST_NS)
        return far

    def _fastest(self, k: Ints) -> NDArray[np.float64]:
        return (self.point.max_rate or 0.0) * self.scale * ((self.ts[k + 1] - self.ts[k]) / NS_PER_SECOND)

    def _drops(self, k: Ints, plain: Ints, value: Ints) -> tuple[Ints, Bools, Bools]:
        """Return what the steps count, which are resets, and which are refused because nothing explains their drop."""
        drop = plain < 0
        rolled = plain + (self.modulus or 0)
        limit = self._fastest(k) if self.point.max_rate is not None else np.full(len(k), (self.modulus or 0) / 2)
        over = drop & (rolled >= 0) & (rolled <= limit) if self.modulus is not None else np.zeros(len(k), np.bool_)
        told = np.full(len(k), -1, np.int8) if self.told is None else self.told[k]
        reset = (told == 1) | (drop & ~over & (told == -1))
        refused = drop & ~over & (told == 0)
        step = np.where(reset, value, np.where(over, rolled, np.where(refused, 0, plain)))
        return step, reset, refused

    def _replaced(self, k: Ints, before: Ints, value: Ints, step: Ints, reset: Bools, refused: Bools) -> None:
        """Put in what the steps count in which the counter was replaced (rule 26)."""
        for place in sorted({place for place, _ in self.changes}):
            at = int(np.searchsorted(k, place))
            counted, began = 0, int(before[at])
            for change in (change for where, change in self.changes if where == place):
                counted += 0 if change.last is None else round(change.last * self.scale) - began
                began = round(change.first * self.scale)
            counted += int(value[at]) - began
            step[at], reset[at], refused[at] = max(counted, 0), False, counted < 0


def limit_of(point: Point) -> float | None:
    """Return below which a point's numbers can be counted from [unit]; None where it counts nothing."""
    if point.medium is None and point.role not in (*COUNTS, "since_reset", "ideal_cycle"):
        return None
    return _LIMIT / float(factor(point) * MICRO)


def _readings(series: Series, point: Point) -> Series:
    limit = limit_of(point)
    return series.numeric(np.inf if limit is None else limit)


class Counters:
    """Samples around a window, and what their counters and meters counted, each worked out once."""

    def __init__(self, plant: Plant, found: Mapping[str, Series]) -> None:
        """Take each point's samples."""
        self.plant, self.found = plant, found
        self._since_reset = {
            p.asset: found[p.point] for p in reversed(plant.points) if p.role == "since_reset" and p.point in found
        }
        self._steps: dict[str, Steps] = {}
        self._known: dict[str, Stretches] = {}

    def steps(self, points: Iterable[Point]) -> list[Steps]:
        """Return the steps of those counters, meters and power points that have samples."""
        return [self._of(point) for point in points if point.point in self.found]

    def known(self, point: Point) -> Stretches:
        """Return when a point's number was known; a word is no reading, nor is a number too large to count from."""
        if point.point not in self._known:
            rows = self.found.get(point.point)
            self._known[point.point] = known(None if rows is None else _readings(rows, point), point.hold_ns)
        return self._known[point.point]

    def _of(self, point: Point) -> Steps:
        if point.point not in self._steps:
            rows = self.found[point.point]
            since_reset = self._since_reset.get(point.asset) if point.role in COUNTS else None
            self._steps[point.point] = (
                integral(rows, point)
                if point.role.startswith("power.")
                else steps(rows, point, since_reset, changes_of(self.plant, point))
            )
        return self._steps[point.point]


def changes_of(plant: Plant, point: Point) -> list[Change]:
    """Return when a counter or meter was replaced, in order of time."""
    mine = [swap for swap in plant.swaps if swap.point == point.point]
    zoned = [(s.at if s.at.tzinfo is not None else s.at.replace(tzinfo=plant.zone), s) for s in mine]
    return sorted((Change(to_ns(at), s.last, s.first) for at, s in zoned), key=lambda change: change.at)


def integral(series: Series, point: Point) -> Steps:
    """Return the energy of a power point, each value held while it is known [1e-6 kWh].

    Each step is a whole number, so that sums are exact wherever they begin. It is the difference of what its power
    makes since the hour of UTC that it begins in: while power stays, what was rounded does not add up.
    """
    readings = _readings(series, point)
    held = known(readings, point.hold_ns)
    # Each good sample ends where its stretch does, or at the next sample.
    ts = np.union1d(readings.ts[readings.good], held.end)
    inside = np.searchsorted(held.begin, ts, "right") - 1
    on = (inside >= 0) & (ts < held.end[np.maximum(inside, 0)]) if len(held.begin) else np.zeros(len(ts), np.bool_)
    rows = np.flatnonzero(readings.good)
    holder = np.searchsorted(readings.ts[rows], ts, "right") - 1
    power = np.where(on, readings.value[rows][np.maximum(holder, 0)], 0.0) if len(rows) else np.zeros(len(ts))
    rate, since = power[:-1] * float(factor(point) * MICRO / _HOUR), ts[:-1] % _HOUR
    added = np.rint(rate * (since + np.diff(ts))) - np.rint(rate * since)
    return Steps(ts, np.concatenate([[0.0], np.cumsum(added)]) if len(ts) else np.zeros(0))

"""Counters and meters -> cumulative amounts, and what happened on the way: resets, gaps, refused steps.

Amounts are integers in millionths of the canonical unit, so that sums over any split of a window are exact. Rules 8 to
12 of docs/kpi-rules.md.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from config.plant import Point
from config.schema import MICRO
from config.units import METER_UNITS
from kpis.intervals import Series, known_until

_LIMIT = 2.0**62


@dataclass(frozen=True, slots=True)
class Steps:
    """A counter's steps between neighbouring good samples; arrays of length n, `ts` and `amount` of n + 1."""

    ts: NDArray[np.int64]
    amount: NDArray[np.int64]
    """Counted since the first sample [1e-6 units]."""
    reset: NDArray[np.bool_]
    gap: NDArray[np.bool_]
    refused: NDArray[np.bool_]
    uncertain: NDArray[np.int64]
    """What a refused step would have added [1e-6 units]."""

    def at(self, cuts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the amount counted up to each cut, a step being spread evenly over its time."""
        if len(self.ts) < 2:
            return np.zeros(len(cuts), np.int64)
        i = np.clip(np.searchsorted(self.ts, cuts, "right") - 1, 0, len(self.ts) - 2)
        step, length = self.amount[i + 1] - self.amount[i], self.ts[i + 1] - self.ts[i]
        share = np.clip((cuts - self.ts[i]) / np.maximum(length, 1), 0.0, 1.0)
        return self.amount[i] + np.where(share < 1.0, np.floor(step * share).astype(np.int64), step)

    def events(self, which: NDArray[np.generic], cuts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sum of a per-step array between neighbouring cuts; a step stands at its closing sample."""
        some = np.flatnonzero(which)  # events are rare: the steps without one are not looked up
        cell = np.searchsorted(cuts, self.ts[some + 1], "left") - 1
        inside = (cell >= 0) & (cell < len(cuts) - 1)
        result = np.zeros(len(cuts) - 1, np.int64)
        np.add.at(result, cell[inside], which[some[inside]].astype(np.int64))
        return result


def factor(point: Point) -> Fraction:
    """Return the exact factor from the point's unit to its canonical unit; 1 for pieces."""
    return METER_UNITS[point.unit].factor if point.medium is not None else Fraction(1)


def steps(series: Series, point: Point) -> Steps:
    """Return the steps of a counter or cumulative meter."""
    scale = float(factor(point) * MICRO)
    scaled = series.value * scale
    usable = np.flatnonzero(series.good & np.isfinite(scaled) & (np.abs(scaled) < _LIMIT))
    ts, amount = series.ts[usable], np.rint(scaled[usable]).astype(np.int64)
    if len(ts) < 2:
        none = np.zeros(0, np.bool_)
        return Steps(ts, np.zeros(len(ts), np.int64), none, none, none, np.zeros(0, np.int64))
    length = np.diff(ts)
    fastest = None if point.max_rate is None else point.max_rate * scale * (length / 1e9)
    step, reset = _drops(np.diff(amount), amount[1:], fastest, point, scale)
    refused = np.zeros(len(step), np.bool_) if fastest is None else step > fastest
    gap = (np.diff(usable) > 1) | (length > point.hold_ns)
    counted = np.concatenate([[0], np.cumsum(np.where(refused, 0, step))])
    return Steps(ts, counted, reset, gap & ~refused, refused, np.where(refused, step, 0))


def _drops(
    step: NDArray[np.int64],
    value: NDArray[np.int64],
    fastest: NDArray[np.float64] | None,
    point: Point,
    scale: float,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the steps with drops read as rollovers or resets, and where a reset is."""
    drop = step < 0
    if point.modulus is None:
        return np.where(drop, value, step), drop
    modulus = round(point.modulus * scale)
    rolled = step + modulus
    plausible = (rolled >= 0) & ((rolled <= fastest) if fastest is not None else (rolled * 2 <= modulus))
    reset = drop & ~plausible
    return np.where(reset, value, np.where(drop, rolled, step)), reset


def integral(series: Series, point: Point) -> Steps:
    """Return the energy of a power point, each value held while it is known [1e-6 kWh]."""
    until = np.minimum(known_until(series, point.hold_ns), series.ts + point.hold_ns)
    power = np.where(series.good & np.isfinite(series.value), series.value, 0.0) * float(factor(point))
    ts = np.stack([series.ts, until], axis=1).ravel()
    held = power * ((until - series.ts) / 3.6e12) * MICRO
    added = np.stack([held, np.zeros_like(held)], axis=1).ravel()[:-1]
    counted = np.rint(np.concatenate([[0.0], np.cumsum(added)])).astype(np.int64)
    none = np.zeros(len(added), np.bool_)
    return Steps(ts, counted, none, none, none, np.zeros(len(added), np.int64))

"""State, mode, order and pace -> an asset's time elements, its stops and its start-ups.

All of it is judged in the asset's own history, before a window cuts it. Rules 7 and 20 to 23 of docs/kpi-rules.md.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from config.plant import Plant, Point, Refinement
from config.schema import ELEMENTS, MICRO
from config.units import NS_PER_SECOND
from kpis.counters import Steps
from kpis.intervals import (
    UNKNOWN,
    UNMAPPED,
    Ints,
    Series,
    Stretches,
    Timeline,
    coded,
    constant,
    merged,
    timeline,
)

PRODUCTION, SETUP, DELAY = (ELEMENTS.index(name) for name in ("production", "setup", "delay"))
NO_ORDER = ("", "0")
SAID_ANOTHER, SAID_NOTHING = -1, -2
REACH_NS = 3600 * NS_PER_SECOND
"""A rise of a counter says at most so much of the time before it [ns]."""


def margin(plant: Plant) -> int:
    """Return how far around a window samples must be known to judge what touches its borders [ns]."""
    points: dict[str, list[Point]] = {asset.asset: [] for asset in plant.assets}
    for point in plant.points:
        points.setdefault(point.asset, []).append(point)
    inferred = any(infers(points[asset.asset]) for asset in plant.assets)
    return max(plant.micro_stop, plant.startup, 2 * REACH_NS if inferred else 0)


def infers(points: Sequence[Point]) -> Point | None:
    """Return the counter from whose pace an asset's elements are inferred; None where a state point says them."""
    roles = {point.role: point for point in reversed(points)}
    return None if "state" in roles else roles.get("total", roles.get("good"))


def stated(plant: Plant, points: Sequence[Point], found: Mapping[str, Series], start: int, end: int) -> Timeline:
    """Return the elements that an asset's state, mode and order say over [start, end)."""
    state = next((p for p in points if p.role == "state"), None)
    if state is None or state.point not in found:
        return Timeline(np.array([start, end], np.int64), np.array([UNKNOWN], np.int8))
    series = found[state.point]
    stretches = constant(series, state.hold_ns)
    codes = {raw: ELEMENTS.index(element) for raw, element in plant.states.get(state.states, {}).items()}
    line = timeline(stretches, coded(series, stretches.head, codes, UNMAPPED), start, end)
    rules = plant.refinements.get(state.states, ())
    return _refined(line, rules, points, found) if rules else line


def _refined(
    line: Timeline, rules: Sequence[Refinement], points: Sequence[Point], found: Mapping[str, Series]
) -> Timeline:
    """Return a timeline with what mode and order say of its elements (rule 20)."""
    of_role = {p.role: (found[p.point], p.hold_ns) for p in reversed(points) if p.point in found}
    modes = sorted({word for rule in rules for word in (*rule.mode, *rule.mode_not)})
    mode, order = _said(of_role.get("mode"), modes, line), _said(of_role.get("order"), NO_ORDER, line)
    cuts = np.unique(np.concatenate([line.edges, mode.edges, order.edges]))
    element, said, loaded = (each.at(cuts[:-1]) for each in (line, mode, order))
    changed, open_ = element.copy(), np.ones(len(element), np.bool_)
    for rule in rules:
        fits = open_ & (element == ELEMENTS.index(rule.element))
        if rule.mode:
            fits &= np.isin(said, [modes.index(word) for word in rule.mode])
        if rule.mode_not:
            fits &= (said != SAID_NOTHING) & ~np.isin(said, [modes.index(word) for word in rule.mode_not])
        if rule.order is not None:
            fits &= (loaded == SAID_ANOTHER) if rule.order else (loaded >= 0)
        changed[fits] = ELEMENTS.index(rule.becomes)
        open_ &= ~fits
    return merged(cuts, changed)


def _said(source: tuple[Series, int] | None, listed: Sequence[str], line: Timeline) -> Timeline:
    """Return when a point said which of the listed words, by position, or another one, or was unknown."""
    series, hold = source if source is not None else (None, 0)
    stretches = constant(series, hold)
    code: NDArray[np.int8] = np.empty(0, np.int8)
    if series is not None:
        places = {word: place for place, word in enumerate(listed)}
        code = coded(series, stretches.head, places, SAID_ANOTHER)
    return timeline(stretches, code, int(line.edges[0]), int(line.edges[-1]), unknown=SAID_NOTHING)


def paced(stretches: Stretches, steps: Steps, cycle: NDArray[np.float64], start: int, end: int) -> Timeline:
    """Return the elements that a counter's pace lets infer over [start, end) (rule 22).

    stretches: when the counter was known. cycle: the ideal cycle just before each rise of `rises(steps)` [s].
    """
    closing, pieces = rises(steps)
    at = steps.ts[closing]
    line = timeline(stretches, DELAY, start, end)
    if not len(at):
        return line
    needed = np.rint(pieces / MICRO * np.nan_to_num(cycle) * NS_PER_SECOND)
    reach = np.minimum(needed, REACH_NS).astype(np.int64)
    before = np.append(np.iinfo(np.int64).min // 2, at[:-1])
    begin = np.maximum(before, at - reach)
    if len(stretches.begin):
        stretch = np.searchsorted(stretches.begin, at, "right") - 1
        # The row of a rise is good, so that its instant lies in a stretch; the rise before may lie in the same one.
        together = np.append(False, stretch[1:] == stretch[:-1])
        begin = np.where(together & (at - before <= 2 * reach), before, begin)
    made = timeline(Stretches(begin, at, closing), PRODUCTION, start, end)
    cuts = np.unique(np.concatenate([line.edges, made.edges]))
    of_known, of_made = line.at(cuts[:-1]), made.at(cuts[:-1])
    return merged(cuts, np.where((of_known == DELAY) & (of_made == PRODUCTION), of_made, of_known))


def rises(steps: Steps) -> tuple[Ints, Ints]:
    """Return the samples that close a rise, and what it counted [1e-6 pieces] (rule 22)."""
    if len(steps.ts) < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    counted = np.diff(steps.counted(np.arange(len(steps.ts))))
    risen = counted > 0
    risen[steps.gaps] = False
    risen[steps.refused] = False
    which = np.flatnonzero(risen)
    return which + 1, counted[which]


def startups(line: Timeline, startup: int) -> tuple[Ints, Ints]:
    """Return when start-ups begin and end: after each setup, until the next one at the latest (rule 23)."""
    begin, end = line.runs(SETUP)
    following = np.append(begin[1:], np.iinfo(np.int64).max)
    over = end < line.edges[-1]
    return end[over], np.minimum(end + startup, following)[over]

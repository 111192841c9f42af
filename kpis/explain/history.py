"""What happened to an asset: its stops, and when nobody knew what it did, with the reasons.

Taken from the timelines that its facts are computed from, so that the listed times add up to the facts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from config.plant import Asset, Plant, Point
from config.schema import NS, UTC_NS
from kpis import calendar, states
from kpis.counters import Counters
from kpis.elements import ROLES, elements
from kpis.explain.unknown import NO_CYCLE, NO_STATE_POINT, UNKNOWN_SPANS, unknown_spans
from kpis.intervals import UNKNOWN, Ints, Timeline, constant, merged, timeline, words

STOPS = {
    "asset": pl.String(),
    "begin": UTC_NS,
    "end": UTC_NS,
    "length": NS,  # the whole stop, as its samples tell it
    "counted": NS,  # its planned operation time in the period
    "counts": pl.Boolean(),  # whether `stops` or `micro_stops` of this period count it (rule 21)
    "micro": pl.Boolean(),
    "from_before": pl.Boolean(),
    "beyond": pl.Boolean(),
    "state": pl.String(),
    "reason": pl.String(),
}
_FEW_WORDS = 3


@dataclass(slots=True)
class History:
    """One asset's samples around a period [start, end) [ns since 1970, UTC]."""

    plant: Plant
    asset: Asset
    counters: Counters
    statuses: Mapping[str, NDArray[np.uint32]]
    """Each point's statuses, a row a sample of `counters.found`."""
    start: int
    end: int
    points: tuple[Point, ...] = ()
    line: Timeline = field(init=False)
    inferred: bool = field(init=False)
    worked: Timeline = field(init=False)
    """The kinds of kpis.calendar, from the first stop of the line to the end of the period."""

    def __post_init__(self) -> None:
        """Work out the elements as far as samples tell them."""
        self.points = self.plant.points_of(self.asset.asset)
        found = self.counters.found
        told = [int(found[p.point].ts[-1]) + p.hold_ns for p in self.points if p.role in ROLES and p.point in found]
        reach = max([self.end + states.margin(self.plant), *told])
        self.line, self.inferred = elements(self.plant, self.asset, self.points, self.counters, self.start, reach)
        begin, end = self.line.runs(states.DELAY)
        first = int(min([self.start, *begin[end > self.start][:1]]))
        spans = calendar.spans(self.plant, self.asset.asset, first, self.end)
        self.worked = merged(spans.edges, spans.kind)

    def planned(self, begin: Ints, end: Ints) -> Ints:
        """Return the planned operation time of spans that follow each other [ns], inside the period."""
        cuts = np.clip(np.column_stack([begin, end]).ravel(), self.start, self.end)
        return self.worked.durations(cuts, calendar.UNSCHEDULED + 1)[::2, calendar.WORK] if len(cuts) else begin

    def stops(self) -> pl.DataFrame:
        """Return the stops that take planned operation time of the period, without their words; STOPS columns."""
        begin, end = self.line.runs(states.DELAY)
        here = (end > self.start) & (begin < self.end)
        begin, end = begin[here], end[here]
        first = self._first_planned(begin)
        frame = pl.DataFrame(
            {
                "asset": pl.Series([self.asset.asset], dtype=pl.String).new_from_index(0, len(begin)),
                "begin": pl.Series(begin).cast(UTC_NS),
                "end": pl.Series(end).cast(UTC_NS),
                "length": pl.Series(end - begin).cast(NS),
                "counted": pl.Series(self.planned(begin, end)).cast(NS),
                "counts": pl.Series((first >= self.start) & (first < np.minimum(end, self.end))),
                "micro": pl.Series(end - begin < self.plant.micro_stop),
                "from_before": pl.Series(begin < self.start),
                "beyond": pl.Series(end > self.end),
            }
        )
        told = frame.with_columns(state=pl.lit(None, pl.String), reason=pl.lit(None, pl.String))
        return told.filter(pl.col("counted").dt.total_nanoseconds() > 0).select(list(STOPS))

    def _first_planned(self, begin: Ints) -> Ints:
        """Return the first planned instant from each of these on; the last one there is where none follows."""
        work_begin, work_end = self.worked.runs(calendar.WORK)
        nothing = np.iinfo(np.int64).max
        place = np.searchsorted(work_end, begin, "right")
        first: Ints = np.maximum(begin, np.append(work_begin, nothing)[place])
        return first

    def told(self, stops: pl.DataFrame) -> pl.DataFrame:
        """Return a few stops with the raw states that were reported, and the reason where a point says one."""
        spans = [(int(b), int(e)) for b, e in stops.select(pl.col("begin", "end").to_physical()).iter_rows()]
        said = [self._said("state", begin, end) for begin, end in spans]
        reasons = [self._said("reason", begin, end, leave=states.NO_ORDER)[:1] for begin, end in spans]
        return stops.with_columns(
            state=pl.Series([", ".join(found) or None for found in said], dtype=pl.String),
            reason=pl.Series([next(iter(found), None) for found in reasons], dtype=pl.String),
        )

    def open_at(self, until: int) -> bool:
        """Return whether a stop that crosses the period's end goes on at `until` [ns], as far as samples tell."""
        begin, end = self.line.runs(states.DELAY)
        return bool(((begin < self.end) & (end > self.end) & (end >= until)).any())

    def _said(self, role: str, begin: int, end: int, leave: Sequence[str] = ()) -> list[str]:
        """Return the words that a point said in a span, the first ones, each once."""
        point = next((p for p in self.points if p.role == role), None)
        rows = self.counters.found.get(point.point) if point is not None else None
        if point is None or rows is None:
            return []
        stretches = constant(rows, point.hold_ns)
        first, last = np.searchsorted(stretches.end, begin, "right"), np.searchsorted(stretches.begin, end, "left")
        found = words(rows, stretches.head[first:last]).unique(maintain_order=True)
        return [word for word in found.to_list() if word not in leave][:_FEW_WORDS]

    def unknown(self) -> pl.DataFrame:
        """Return when it was unknown what the asset did, in planned operation time; UNKNOWN_SPANS columns."""
        pace = states.infers(self.points)
        source = next((p for p in self.points if p.role == "state"), pace)
        if source is None or (source is pace and not self.inferred and source.point in self.counters.found):
            nothing = np.array([self.start, self.end], np.int64), np.array([UNKNOWN], np.int8)
            spans = unknown_spans(Timeline(*nothing), None, None, numbers=False)
            cause = NO_STATE_POINT if source is None else NO_CYCLE
            point = None if source is None else source.point
            return self._counted(spans.with_columns(cause=pl.lit(cause)), point, planned_alone=True)
        return self._spans(source, self.line, planned_alone=True)

    def unknown_of(self, point: Point) -> pl.DataFrame:
        """Return when a meter, or a point of process control, was unknown; of the latter in planned time alone."""
        metered = point.medium is not None
        known = self.counters.known(point) if metered else constant(self.counters.found.get(point.point), point.hold_ns)
        return self._spans(point, timeline(known, 0, self.start, self.end), planned_alone=not metered)

    def _spans(self, point: Point, line: Timeline, *, planned_alone: bool) -> pl.DataFrame:
        rows, status = self.counters.found.get(point.point), self.statuses.get(point.point)
        cut = np.unique(np.clip(np.append(line.edges, [self.start, self.end]), self.start, self.end))
        inside = Timeline(cut, line.at(cut[:-1]))
        found = unknown_spans(inside, rows, status, numbers=point.role not in ("state", "apc"))
        return self._counted(found, point.point, planned_alone=planned_alone)

    def _counted(self, spans: pl.DataFrame, point: str | None, *, planned_alone: bool) -> pl.DataFrame:
        begin, end = (spans[name].to_numpy() for name in ("begin", "end"))
        counted = self.planned(begin, end) if planned_alone else end - begin
        full = spans.with_columns(
            asset=pl.lit(self.asset.asset), point=pl.lit(point, pl.String), counted=pl.Series(counted, dtype=pl.Int64)
        )
        return full.filter(pl.col("counted") > 0).select(list(UNKNOWN_SPANS)).cast(pl.Schema(UNKNOWN_SPANS))

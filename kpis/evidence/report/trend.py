"""How a figure went within its period: by month of production days, or by day where the period is short."""

import datetime as dt
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import polars as pl

from kpis.calendar import local_ns
from kpis.evidence.contents import Contents
from kpis.evidence.report import cells
from kpis.evidence.report.charts import lines
from kpis.evidence.report.model import Block, Drawing, Table, View
from kpis.indicators.base import Figure, Grounds, figure
from kpis.indicators.catalogue import indicator
from kpis.indicators.comparison import Period
from kpis.indicators.control import INDICATORS as OF_LOOPS
from kpis.indicators.effectiveness import INDICATORS as OF_WORK

MOST_DAYS = 35
"""A longer period is told by months."""
MOST_ROWS = 12
"""A longer table of parts of the period is folded."""
_IDS = tuple(one.id for one in (*OF_WORK, *OF_LOOPS))
"""Indicators that are quotients of sums of facts: any part of the period has its own."""
OF_TIME = frozenset(one.id for one in OF_WORK)
"""Those of devices' time and pieces."""
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Same:
    """Contents that are told from others by being the same object."""

    of: Contents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.of is other.of

    def __hash__(self) -> int:
        return id(self.of)


def blocks(view: View, one: Figure) -> list[Block]:
    """Return the trend of a figure as a chart and its table; nothing where it has none."""
    if one.indicator.id not in _IDS or one.value is None:
        return []
    parts = _parts(_Same(view.contents)).get(one.indicator.id, ())
    if sum(of.value is not None for _, of in parts) < 2:
        return []
    say = view.say
    by = say("by month", "按月") if _by_month(view.contents.now) else say("by production day", "按生产日")
    title = f"{say('Trend', '趋势')} ({by})"
    rows = [[label, cells.value(view, of), cells.counts(of), cells.coverage(of)] for label, of in parts]
    heads = [
        say("part of the period", "时段"),
        say("value", "数值"),
        f"n / N{cells.counted_in(view, one)}",
        say("coverage", "数据覆盖"),
    ]
    alt = say(
        f"{one.indicator.title} {by}; the numbers stand in the table below",
        f"{one.indicator.title_zh}{by}变化，数值见下表",
    )
    values = [(label, None if of.value is None else float(of.value)) for label, of in parts]
    unit = one.indicator.unit
    return [
        Drawing(
            title=title,
            alt=alt,
            note=say("The axis does not begin at 0.", "纵轴不从 0 开始。"),
            spec=lambda: lines.trend(values, one.indicator.title_zh, unit, view.lang),
        ),
        Table(
            heads=heads,
            rows=rows,
            numeric=frozenset({1, 2, 3}),
            note=_rule(view, one),
            small=True,
            folded=len(rows) > MOST_ROWS,
        ),
    ]


def _rule(view: View, one: Figure) -> str:
    return f"{view.say('rule: ', '规则：')}{one.rule}"


def _by_month(grounds: Grounds) -> bool:
    first, last = grounds.days
    return (last - first).days >= MOST_DAYS


@lru_cache(maxsize=2)
def _parts(contents: _Same) -> dict[str, list[tuple[str, Figure]]]:
    """Return each indicator's figures of the plant by part of the period."""
    now, found = contents.of.now, dict[str, list[tuple[str, Figure]]]()
    for label, period, days in spans(now):
        part = _cut(now, period, *days)
        for name in _IDS:
            made = figure(indicator(name), part, now.plant.id)
            if made is not None:
                found.setdefault(name, []).append((label, made))
    return found


def spans(grounds: Grounds) -> Iterator[tuple[str, Period, tuple[dt.date, dt.date]]]:
    """Yield the months, or the days, of a period: a label, [start, end) [ns since 1970, UTC], first and last day."""
    first, last = grounds.days
    plant = grounds.plant
    for begin, end in _months(first, last) if _by_month(grounds) else _days(first, last):
        start, stop = (local_ns(plant, day, plant.day_start) for day in (begin, end + _DAY))
        label = f"{begin:%Y-%m}" if _by_month(grounds) else f"{begin}"
        yield label, (max(start, grounds.start), min(stop, grounds.end)), (begin, end)


def _days(first: dt.date, last: dt.date) -> list[tuple[dt.date, dt.date]]:
    return [(first + n * _DAY,) * 2 for n in range((last - first).days + 1)]


def _months(first: dt.date, last: dt.date) -> Sequence[tuple[dt.date, dt.date]]:
    starts = [
        dt.date(n // 12, n % 12 + 1, 1)
        for n in range(first.year * 12 + first.month - 1, last.year * 12 + last.month + 1)
    ]
    return [(max(a, first), min(b - _DAY, last)) for a, b in itertools.pairwise(starts)]


def _cut(grounds: Grounds, period: Period, first: dt.date, last: dt.date) -> Grounds:
    """Return the grounds of some production days; a shift may belong to the day before the period's first."""
    of_period = pl.col("date").clip(*grounds.days)
    rows = grounds.facts.filter(of_period.is_between(first, last))
    return replace(grounds, start=period[0], end=period[1], facts=rows)

"""Fields of colour: hours over days, devices over days; and the timeline of states."""

import itertools
from collections.abc import Mapping, Sequence

from kpis.evidence.report.charts.colours import EDGE, ELEMENTS, STEPS
from kpis.evidence.report.charts.drawing import altair
from kpis.evidence.report.model import Spec

WIDTH = 620
_UNPLANNED = ("break", "unscheduled")
"""Elements that are drawn thin, so that they are told from unknown time in grey print."""
_MANY = 500
"""Spans of a timeline from which on their edges would cover them; unknown time, which is white, keeps its edge."""
EDGES = (0.25, 0.5, 0.75, 0.9)
"""Borders between the five steps of a share; each step begins at its border."""


def steps(share: float) -> int:
    """Return the number of the step that a share falls into, from 0."""
    return sum(share >= edge for edge in EDGES)


def step_names() -> list[str]:
    """Return the steps as a legend names them."""
    bounds = ["0", *(f"{edge:.0%}".rstrip("%") for edge in EDGES), "100"]
    return [f"{low}–{high} %" for low, high in itertools.pairwise(bounds)]


def field(
    rows: Sequence[tuple[str, str, float | None]], columns: Sequence[str], lines: Sequence[str], every: int, title: str
) -> Spec:
    """Return the definition of a field: rows of column, line and share; one without a share is an empty cell.

    every: every so manieth column is named.
    """
    alt, names = altair(), step_names()
    known = [{"x": x, "y": y, "step": names[steps(share)]} for x, y, share in rows if share is not None]
    empty = [{"x": x, "y": y} for x, y, share in rows if share is None]
    where = {
        "x": alt.X("x:O", sort=list(columns), title=None, scale=alt.Scale(domain=list(columns), paddingInner=0.06),
                   axis=alt.Axis(values=list(columns)[::every], labelAngle=-45 if len(columns) > 8 else 0,
                                 domain=False, ticks=False)),
        "y": alt.Y("y:O", sort=list(lines), title=None, scale=alt.Scale(domain=list(lines), paddingInner=0.1),
                   axis=alt.Axis(domain=False, ticks=False, labelOverlap=False)),
    }  # fmt: skip
    scale = alt.Scale(domain=names, range=list(STEPS))
    cells = (
        alt.Chart(alt.Data(values=known))
        .mark_rect()
        .encode(**where, color=alt.Color("step:N", title=title, scale=scale, sort=names))
    )
    blank = (
        alt.Chart(alt.Data(values=empty)).mark_rect(fill="#ffffff", stroke="#c8c8c8", strokeWidth=0.4).encode(**where)
    )
    spec: Spec = (
        alt.layer(blank, cells).properties(width=WIDTH, height=max(40, 13 * len(lines))).to_dict(validate=False)
    )
    return spec


def timeline(
    rows: Sequence[tuple[str, float, float, str]],
    names: Mapping[str, str],
    ticks: Sequence[tuple[float, str]],
    lines: Sequence[str],
    title: str,
) -> Spec:
    """Return the definition of a timeline: rows of asset, begin and end [s since its start], element.

    ticks: instants [s since its start] and the plant's clock at them.
    """
    alt = altair()
    data = [{"asset": asset, "from": begin, "to": end, "what": names[element]} for asset, begin, end, element in rows]
    idle = [names[element] for element in _UNPLANNED]
    there = [element for element in ELEMENTS if any(row[3] == element for row in rows)]
    scale = alt.Scale(domain=[names[one] for one in there], range=[ELEMENTS[one] for one in there])
    clocks = {f"{at:.0f}": clock for at, clock in ticks}  # Vega refuses a key that stands twice
    told = "{" + ",".join(f"'{at}':'{clock}'" for at, clock in clocks.items()) + "}[round(datum.value)]"
    end = max(row[2] for row in rows)
    axis = alt.Axis(values=[at for at, _ in ticks], labelExpr=told, labelAngle=0, grid=False)
    order = [names[one] for one in there]
    where = {
        "x": alt.X("from:Q", title=title, axis=axis, scale=alt.Scale(domain=[0, end], nice=False)),
        "x2": "to:Q",
        "y": alt.Y("asset:O", sort=list(lines), title=None, scale=alt.Scale(domain=list(lines))),
        "color": alt.Color("what:N", title=None, scale=scale, sort=order, legend=alt.Legend(columns=8)),
    }
    unknown = alt.datum.what == names["unknown"]
    edge = alt.condition(unknown, alt.value(0.5), alt.value(0.15 if len(data) < _MANY else 0))
    layers = [
        alt.Chart(alt.Data(values=[row for row in data if (row["what"] in idle) is thin]))
        .mark_bar(stroke=EDGE, height={"band": 0.2 if thin else 0.8})
        .encode(**where, strokeWidth=edge)
        for thin in (True, False)
    ]
    spec: Spec = alt.layer(*layers).properties(width=WIDTH, height=max(40, 20 * len(lines))).to_dict(validate=False)
    return spec

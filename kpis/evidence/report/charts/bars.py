"""Bars: the waterfall of planned time, the Pareto of losses, and the time of each asset."""

from collections.abc import Sequence
from dataclasses import dataclass

from kpis.evidence.report.charts.colours import EDGE, INK, LINE, LOSSES
from kpis.evidence.report.charts.drawing import altair
from kpis.evidence.report.model import Spec

WIDTH = 560


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a waterfall [h]; loss: what is taken away, else a level that is reached."""

    id: str
    name: str
    hours: float
    loss: bool = True


def shown(hours: float, parts: Sequence[Part]) -> str:
    """Return hours as they stand beside their bar: finer where all parts are short."""
    return f"{hours:,.1f}" if max(part.hours for part in parts) >= 1 else f"{hours:,.4f}"


def waterfall(parts: Sequence[Part], title: str) -> Spec:
    """Return the definition of a waterfall: levels stand on the floor, losses hang from what was left before."""
    alt, rows, left = altair(), [], 0.0
    for part in parts:
        begin, end = (left, left - part.hours) if part.loss else (0.0, part.hours)
        left = end
        colour = LOSSES.get(part.id, LINE)
        rows.append(
            {
                "part": part.name,
                "from": begin,
                "to": end,
                "hours": shown(part.hours, parts),
                "top": max(begin, end),
                "colour": colour,
            }
        )
    order = [part.name for part in parts]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("part:O", sort=order, title=None, scale=alt.Scale(paddingInner=0.25))
    )
    bar = base.mark_bar(stroke=EDGE, strokeWidth=0.6).encode(
        x=alt.X("from:Q", title=title, axis=alt.Axis(format=",.4~f", tickCount=8)), x2="to:Q",
        color=alt.Color("colour:N", scale=None),
    )  # fmt: skip
    text = base.mark_text(align="left", dx=4, fontSize=10, color="#222").encode(x="top:Q", text="hours:N")
    spec: Spec = alt.layer(bar, text).properties(width=WIDTH, height=19 * len(rows)).to_dict(validate=False)
    return spec


def pareto(parts: Sequence[Part], title: str, share: str) -> Spec:
    """Return the definition of losses, the greatest first, and the line of their sum as a share of all."""
    alt = altair()
    whole, summed, rows = sum(part.hours for part in parts), 0.0, []
    for part in parts:
        summed += part.hours
        rows.append(
            {
                "part": part.name,
                "hours": part.hours,
                "shown": shown(part.hours, parts),
                "share": summed / whole if whole else 0.0,
                "colour": LOSSES.get(part.id, LINE),
            }
        )
    order, top = [part.name for part in parts], max(part.hours for part in parts)
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("part:O", sort=order, title=None, axis=alt.Axis(labelAngle=0, labelExpr="split(datum.label, ' ')"))
    )
    bar = base.mark_bar(stroke=EDGE, strokeWidth=0.6).encode(
        y=alt.Y(
            "hours:Q", title=title, axis=alt.Axis(format=",.4~f", tickCount=5), scale=alt.Scale(domainMax=1.15 * top)
        ),
        color=alt.Color("colour:N", scale=None),
    )
    text = base.mark_text(dy=-6, fontSize=10, color="#222").encode(y="hours:Q", text="shown:N")
    y = alt.Y("share:Q", title=share, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%", grid=False))
    line = base.mark_line(color=INK, strokeDash=[4, 2], point={"color": INK, "filled": True, "size": 22}).encode(y=y)
    spec: Spec = (
        alt.layer(alt.layer(bar, text), line)
        .resolve_scale(y="independent")
        .properties(width=WIDTH, height=170)
        .to_dict(validate=False)
    )
    return spec


def stacked(rows: Sequence[tuple[str, str, str, float]], title: str) -> Spec:
    """Return the definition of a bar for each asset, shared out; rows: asset, id of the part, its name, share of 1."""
    alt = altair()
    data = [
        {"asset": asset, "part": name, "share": share, "order": list(LOSSES).index(of)}
        for asset, of, name, share in rows
    ]
    names = {of: name for _, of, name, _ in rows}
    ids = sorted(names, key=list(LOSSES).index, reverse=True)
    assets = list(dict.fromkeys(asset for asset, *_ in rows))
    scale = alt.Scale(domain=[names[of] for of in ids], range=[LOSSES[of] for of in ids])
    chart = alt.Chart(alt.Data(values=data)).mark_bar(stroke=EDGE, strokeWidth=0.6)
    chart = chart.encode(
        y=alt.Y("asset:O", sort=assets, title=None),
        x=alt.X("share:Q", title=title, stack="zero", axis=alt.Axis(format=".0%", tickCount=5),
                scale=alt.Scale(domainMax=1)),
        color=alt.Color("part:N", title=None, scale=scale, legend=alt.Legend(columns=5)),
        order=alt.Order("order:Q", sort="descending"),
    )  # fmt: skip
    spec: Spec = chart.properties(width=WIDTH, height=max(40, 16 * len(assets))).to_dict(validate=False)
    return spec

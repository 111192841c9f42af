"""Lines over time: trends, and load curves with their maximum."""

from collections.abc import Mapping, Sequence
from typing import Any

from kpis.evidence.report.charts.colours import BESIDE, LINE, MARKED
from kpis.evidence.report.charts.drawing import altair
from kpis.evidence.report.model import Spec
from kpis.indicators.said import Lang

WIDTH = 620


def trend(values: Sequence[tuple[str, float | None]], title: str, unit: str, lang: Lang) -> Spec:
    """Return the definition of a line over parts of a period; of a part without a value the line breaks."""
    alt = altair()
    rows = [{"at": label, "value": value} for label, value in values]
    shown = ".3~%" if unit == "1" else ",.4~f"
    y = alt.Y("value:Q", title=title if unit == "1" else f"{title} [{unit}]", axis=alt.Axis(format=shown, tickCount=5),
              scale=alt.Scale(zero=False, nice=True, padding=8))  # fmt: skip
    angle = -90 if len(rows) > 14 else 0
    x = alt.X("at:O", title=None, sort=None, axis=alt.Axis(labelAngle=angle))
    chart = alt.Chart(alt.Data(values=rows)).mark_line(color=LINE, point={"color": LINE, "size": 24}, strokeWidth=1.5)
    spec: Spec = chart.encode(x=x, y=y).properties(width=WIDTH, height=130).to_dict(validate=False)
    return spec


def load(
    rows: Sequence[tuple[str, float, float]], names: tuple[str, str], unit: str, peak: tuple[str, str], step: int
) -> Spec:
    """Return the definition of a load curve.

    rows: label, highest and mean demand of each part [unit]; names: of both, one where they are the same; peak: label
    of the highest and the words beside it; step: every so manieth label is shown.
    """
    alt = altair()
    order, there = [label for label, _, _ in rows], list(dict.fromkeys(names))
    data = [{"at": label, "what": name, "value": value} for label, *two in rows
            for name, value in zip(there, two, strict=False)]  # fmt: skip
    axis = alt.Axis(values=order[::step], labelAngle=-45)
    where = {
        "x": alt.X("at:O", sort=order, title=None, axis=axis),
        "y": alt.Y("value:Q", title=f"[{unit}]", axis=alt.Axis(tickCount=5, format=",.2~f")),
    }
    legend = alt.Legend(symbolType="stroke") if len(there) > 1 else None
    scales = alt.Scale(domain=there, range=[LINE, BESIDE]), alt.Scale(domain=there, range=[[1, 0], [4, 2]])
    colour = alt.Color("what:N", sort=there, title=None, legend=legend, scale=scales[0])
    dash = alt.StrokeDash("what:N", sort=there, title=None, legend=legend, scale=scales[1])
    curve = alt.Chart(alt.Data(values=data)).mark_line(strokeWidth=1.3, interpolate="step-after")
    layers = [curve.encode(**where, color=colour, strokeDash=dash), *_marked(rows, where, peak)]
    spec: Spec = alt.layer(*layers).properties(width=WIDTH, height=170).to_dict(validate=False)
    return spec


def _marked(
    rows: Sequence[tuple[str, float, float]], where: Mapping[str, Any], peak: tuple[str, str]
) -> tuple[Any, Any]:
    """Return the mark on the highest part of a load curve, and the words beside it."""
    alt, (label, words) = altair(), peak
    top = [{"at": label, "value": max(value for _, value, _ in rows), "words": words}]
    late = [at for at, _, _ in rows].index(label) > len(rows) / 2
    found = alt.Chart(alt.Data(values=top)).encode(**where)
    dot = found.mark_point(color=MARKED, filled=True, size=60, shape="diamond")
    text = found.mark_text(align="right" if late else "left", dx=-8 if late else 8, dy=-8, fontSize=10, color="#222")
    return dot, text.encode(text="words:N")

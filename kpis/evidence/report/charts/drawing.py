"""A chart's definition -> SVG that may stand in a page: no request leaves it, and its ids are its own."""

import html
import json
import re
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree

from kpis.evidence.report.model import Spec
from kpis.extras import extra

FONT = (
    "'Noto Sans CJK SC', 'Noto Sans SC', 'Source Han Sans SC', 'Microsoft YaHei', 'PingFang SC', 'SimHei', sans-serif"
)
VEGA_LITE = "6.1"
"""Version of Vega-Lite that definitions are drawn with; vl-convert bundles it, so nothing is fetched."""
CONFIG: dict[str, Any] = {
    "aria": False,
    "background": None,
    "font": FONT,
    "view": {"stroke": None},
    "axis": {"labelFontSize": 10, "titleFontSize": 10, "titleFontWeight": "normal", "labelColor": "#222",
             "titleColor": "#222", "gridColor": "#e4e4e4", "domainColor": "#666", "tickColor": "#666",
             "labelLimit": 220},
    "legend": {"labelFontSize": 10, "titleFontSize": 10, "titleFontWeight": "normal", "labelLimit": 240,
               "orient": "top", "symbolType": "square", "symbolStrokeWidth": 0.5},
}  # fmt: skip
_ATTRIBUTES = re.compile(r' (?:class|role|aria-[a-z]+|xmlns(?::xlink)?|version|pointer-events)="[^"]*"')
_ID = re.compile(r'\bid="([^"]+)"')
_LONG = re.compile(r"-?\d+\.\d{3,}")
_GEOMETRY = re.compile(r' (?:d|transform|x|y|x1|x2|y1|y2|width|height|points)="[^"]*"')
_NEEDS = "charts need it"
_SIZE = re.compile(r'<svg width="(\d+)" height="(\d+)"')
_ELEMENTS = {"svg", "title", "g", "path", "rect", "line", "text", "tspan", "circle", "defs", "clipPath",
             "linearGradient", "stop"}  # fmt: skip
_DRAWING = re.compile(r'<svg id="c(\d+)"(?:(?!<svg).)*?</svg>', re.DOTALL)
"""What may be one drawing of a page."""
_OF_ROOT = {"id", "role", "aria-label", "width", "height", "viewBox"}
"""With others, such as transform or overflow, a drawing could paint over the words around it."""
_ACTIVE = re.compile(r"on\w+|style|class|overflow|.*href|src", re.IGNORECASE)


def altair() -> Any:
    """Return the module altair; raises MissingExtraError where it is not installed."""
    return extra("altair", _NEEDS)


@lru_cache(maxsize=256)
def _drawn(spec: str) -> str:
    """Return a definition's drawing as vl-convert gives it; one that was drawn already is not drawn again."""
    drawn: str = extra("vl_convert", _NEEDS).vegalite_to_svg(json.loads(spec), vl_version=VEGA_LITE, config=CONFIG)
    return drawn


def draw(spec: Spec, number: int, told: str) -> str:
    """Return a definition's drawing as SVG; number: of the chart in its page; told: what it shows, in words."""
    found = _ATTRIBUTES.sub("", _drawn(json.dumps(spec, sort_keys=True)))
    for n, name in enumerate(dict.fromkeys(_ID.findall(found))):
        found = found.replace(f'id="{name}"', f'id="c{number}-{n}"').replace(f"url(#{name})", f"url(#c{number}-{n})")
    found = _GEOMETRY.sub(lambda match: _LONG.sub(lambda long: f"{round(float(long[0]), 2):g}", match[0]), found)
    head = f'<svg id="c{number}" role="img" aria-label="{html.escape(told)}" width="\\1" height="\\2"'
    found = _SIZE.sub(head, found, count=1)
    return found.replace(">", f"><title>{html.escape(told)}</title>", 1)


def place(number: int) -> str:
    """Return what stands in a page without charts where one would be."""
    return f"<!--drawing {number}-->"


def taken_out(page: str) -> str:
    """Return a page with its drawings taken out; what could hold, hide or fetch anything else is no drawing, and
    stays."""
    return _DRAWING.sub(lambda found: place(int(found[1])) if _is_drawing(found[0]) else found[0], page)


def _is_drawing(text: str) -> bool:
    """Return whether a text is whole elements of a drawing, so that a browser ends them where this does."""
    if "<!" in text or "<?" in text:
        return False
    try:
        root = ElementTree.fromstring(text)  # noqa: S314  without a document type there are no entities
    except ElementTree.ParseError:
        return False
    inner = list(root.iter())
    return (
        {one.tag for one in inner} <= _ELEMENTS
        and set(root.attrib) <= _OF_ROOT
        and not any(_ACTIVE.fullmatch(name) for one in inner for name in one.attrib)
        and not any(len(one) for one in inner if one.tag == "title")
    )

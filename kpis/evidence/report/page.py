"""The whole report as HTML in one file: what it says comes from the sections, how it looks from templates."""

import importlib
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from kpis.evidence.contents import Contents
from kpis.evidence.report import appendix, connectivity, cover, declared, energy, indicators, rubrics, summary, work
from kpis.evidence.report.charts.drawing import draw, place
from kpis.evidence.report.model import Cell, Drawing, Section, View
from kpis.extras import extra
from kpis.indicators.said import Lang
from kpis.indicators.view import told_period

SECURITY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a browser may load of the page: nothing but what it holds."""
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}( \d{2}:\d{2})?|\d{4}年\d{1,2}月")
_LONG_WORD, _SHORT_CELL = 24, 5


def sections(view: View) -> list[Section]:
    """Return the report's sections in their order."""
    first = [cover.cover(view), summary.summary(view), indicators.pages(view), rubrics.pages(view), work.pages(view)]
    return [*first, *energy.pages(view), connectivity.pages(view), declared.declared(view), appendix.appendix(view)]


def html(contents: Contents, lang: Lang, *, charts: bool) -> bytes:
    """Return the report's bytes; raises MissingExtraError where charts or templates cannot be used here."""
    view = View(contents, lang)
    found = sections(view)
    page = _templates().get_template("report.html")
    title = view.say("Evidence report", "智能工厂指标证据报告")
    told: str = page.render(
        sections=found,
        numbered=list(_numbered(found)),
        view=view,
        lang="zh-CN" if lang == "zh" else "en",
        title=title,
        name=contents.plant.name or contents.plant.id,
        period=told_period(contents.plant, contents.asked.period, lang),
        security=SECURITY,
        style=_style(),
        drawn=_drawings(charts=charts),
    )
    return told.encode()


def _numbered(found: Sequence[Section]) -> list[tuple[str, Section]]:
    """Return sections and their parts with the numbers of their headings."""
    listed = []
    for n, section in enumerate(found, 1):
        listed.append((f"{n}", section))
        listed += [(f"{n}.{k}", part) for k, part in enumerate(section.parts, 1)]
    return listed


def _drawings(*, charts: bool) -> Any:
    """Return what draws the page's charts, numbered as they come."""
    count = 0

    def drawn(of: Drawing) -> Any:
        nonlocal count
        count += 1
        return _markup(draw(of.spec(), count, of.alt) if charts else place(count))

    return drawn


def _jinja() -> Any:
    return extra("jinja2", "reports need it")


def _markup(text: str) -> Any:
    return importlib.import_module("markupsafe").Markup(text)  # what the charts' own drawing made


@cache
def _templates() -> Any:
    jinja = _jinja()
    loader = jinja.PackageLoader("kpis.evidence.report")
    found = jinja.Environment(loader=loader, autoescape=True, undefined=jinja.StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    found.tests |= {"long": _is_long, "short": _is_short}
    return found


def _is_long(cell: Cell) -> bool:
    """Return whether a cell holds a word that must be broken for its column to stay on the sheet."""
    text = cell if isinstance(cell, str) else cell.text
    return max(map(len, text.split()), default=0) > _LONG_WORD


def _style() -> Any:
    return _markup(resources.files("kpis.evidence.report").joinpath("style.css").read_text(encoding="utf-8"))


def _is_short(cell: Cell) -> bool:
    """Return whether a cell looks broken where it is broken: 上期, 数据覆盖."""
    text = cell if isinstance(cell, str) else cell.text
    return len(text) <= _SHORT_CELL or _DATE.fullmatch(text) is not None

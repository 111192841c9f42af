"""The report: everything that a package states, for people, in one HTML file that asks nobody for anything."""

from kpis.evidence.contents import Contents
from kpis.evidence.report.charts.drawing import taken_out
from kpis.evidence.report.page import html
from kpis.indicators.said import Lang

__all__ = ["render", "without_charts"]


def render(contents: Contents, lang: Lang, *, charts: bool = True) -> bytes:
    """Return the report as self-contained HTML; raises MissingExtraError where the extra `kpi` is not installed.

    Pure: the same contents give the same bytes, as long as the same fonts are installed; without charts, anywhere.
    """
    return html(contents, lang, charts=charts)


def without_charts(page: bytes) -> bytes:
    """Return a report without its drawings, as `render` gives it with charts=False.

    A drawing that holds anything but plain drawing elements is left where it is, so that a comparison shows it; so does
    one too many, or one that is missing. Bytes that are no text stay as they are.
    """
    return taken_out(page.decode(errors="surrogateescape")).encode(errors="surrogateescape")

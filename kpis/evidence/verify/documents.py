"""Whether a package's workbook and reports say what its data give."""

import io
import zipfile

from kpis.evidence.archive import MAX_BYTES
from kpis.evidence.configuration import versions
from kpis.evidence.report import render, without_charts
from kpis.evidence.verify.content import Content
from kpis.evidence.verify.differences import compare
from kpis.evidence.verify.report import Report
from kpis.evidence.workbook import cells, workbook
from kpis.extras import MissingExtraError
from kpis.indicators.said import Lang

_PLACE = b"<!--drawing "
"""Stands in a page without charts where one would be."""


def check_workbook(content: Content, report: Report) -> None:
    """Hold the cells of a workbook against the data."""
    stated = content.files["workbook.xlsx"]
    try:
        again = workbook(content.contents)
    except MissingExtraError as error:
        report.note(f"workbook.xlsx is not compared: {error}", f"未比对 workbook.xlsx：{error}")
        return
    if again == stated:
        return
    before = len(report.faults)
    compare("workbook.xlsx", cells(stated), cells(again), report)
    if len(report.faults) == before:
        _check_parts(content, _parts(stated), _parts(again), report)


def _parts(workbook: bytes) -> dict[str, bytes]:
    """Return what a workbook is made of, by name; the bytes of its compression depend on a library."""
    with zipfile.ZipFile(io.BytesIO(workbook)) as parts:
        entries = parts.infolist()
        if len({one.filename for one in entries}) != len(entries) or sum(one.file_size for one in entries) > MAX_BYTES:
            raise ValueError("workbook.xlsx: a part stands twice, or they are too large")
        return {one.filename: parts.read(one) for one in entries}


def _check_parts(content: Content, stated: dict[str, bytes], due: dict[str, bytes], report: Report) -> None:
    """Hold what is beside cells' values: macros, pictures, links, hidden sheets, a format that shows another number.

    Another version of the library may write the same workbook otherwise: then it is a note.
    """
    library = versions(content.plant).get("xlsxwriter")
    if stated.keys() == due.keys() and content.about["versions"].get("xlsxwriter") != library:
        report.note("workbook.xlsx: formats are not compared, as another version of xlsxwriter wrote them",
                    "workbook.xlsx：由其他版本的 xlsxwriter 生成，未比对格式")  # fmt: skip
        return
    for part in sorted(stated.keys() | due.keys()):
        if stated.get(part) != due.get(part):
            report.fault(f"workbook.xlsx: {part} is not what this version writes: a format, hidden or added content",
                         f"workbook.xlsx：{part} 与本版本生成的不一致（格式、隐藏内容或附加内容）")  # fmt: skip


def check_report(content: Content, name: str, lang: Lang, report: Report, *, drawings: bool) -> None:
    """Hold a report against the data: all but its drawings must be the same, whose geometry depends on fonts."""
    stated = content.files[name]
    if _PLACE in stated:
        report.fault(f"{name}: drawings are missing", f"{name}：缺少图形")
        return
    try:
        again = render(content.contents, lang, charts=drawings)
    except MissingExtraError as error:
        report.note(f"{name} is not compared: {error}", f"未比对 {name}：{error}")
        return
    if again == stated:
        return
    told, due = (without_charts(page).decode(errors="backslashreplace").split("\n") for page in (stated, again))
    if told != due:
        at = next((n for n, (a, b) in enumerate(zip(told, due, strict=False)) if a != b), min(len(told), len(due)))
        compare(f"{name}, line {at + 1}", told[at : at + 1], due[at : at + 1], report)
    elif drawings:
        report.note(
            f"{name}: its drawings are not those that this machine draws: fonts or versions differ, or somebody "
            "changed them. What it says in words and tables follows from the data",
            f"{name}：图形与本机绘制的不同（字体或软件版本不同，或被改动）；文字与表格均与数据一致",
        )

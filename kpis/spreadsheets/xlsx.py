"""Sheets as an xlsx workbook: numbers as numbers, text as text and nothing else, ready for A4 landscape."""

import datetime as dt
import io
import math
import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from kpis.extras import extra
from kpis.spreadsheets.guarded_csv import FORMULA
from kpis.spreadsheets.sheet import Cell, Number, Share, Sheet

YES_NO = {True: "是", False: "否"}
MOST_CHARACTERS = 32_767
"""Of a cell of Excel, in UTF-16."""
_CREATED = dt.datetime(2000, 1, 1)  # noqa: DTZ001 - the format has no zone; one fixed instant, so that bytes repeat
_FONT = {"font_name": "微软雅黑", "font_size": 10, "font_scheme": False}
_CELL = {"valign": "top", "border": 4, "border_color": "#BFBFBF"}
_HEAD = {"bold": True, "text_wrap": True, "valign": "vcenter", "bg_color": "#E7EDF5", "border": 1,
         "border_color": "#8C8C8C"}  # fmt: skip
_NOTE = {"text_wrap": True, "valign": "vcenter", "align": "left", "italic": True}
_LEAST_WIDTH = 6
_PADDING, _ARROW = 2, 3
"""Room beside a text, and of the button of the filter [digits]."""
_LINE_HEIGHT, _MOST_HEIGHT = 15, 405
"""[points]; Excel takes no row that is higher than 409."""
_LITTLE = 1e-4
_LOOKED_AT = 2000
"""Rows that widths are taken from."""
_A4 = 9
_A4_WIDTH = 200
"""Digits that a sheet of paper takes and are still read."""
_WORD = re.compile(r"[!-~]+ ?|.")
_TAKEN_AS_FORMULA = re.compile(FORMULA.replace(r"\x{FEFF}", "\ufeff"))


class _Exactly(float):
    """A number that is written with all digits that tell it from its neighbours; xlsxwriter writes 16."""

    def __format__(self, _: str) -> str:
        return repr(float(self))


def book(sheets: Sequence[Sheet]) -> bytes:
    """Return the workbook of some sheets, byte by byte the same for the same sheets.

    Raises MissingExtraError where xlsxwriter is not installed.
    """
    xlsxwriter = extra("xlsxwriter", "workbooks need it")
    buffer = io.BytesIO()
    options = {"in_memory": True, "default_format_properties": dict(_FONT)}  # xlsxwriter writes into what it is given
    with xlsxwriter.Workbook(buffer, options) as opened:
        opened.set_properties({"created": _CREATED})
        formats = _Formats(opened)
        for sheet in sheets:
            _write(opened.add_worksheet(sheet.name), sheet, formats)
    return buffer.getvalue()


class _Formats:
    """Formats of a workbook by what they are of."""

    def __init__(self, opened: Any) -> None:
        self._opened, self._made = opened, dict[str, Any]()
        self.head = opened.add_format(_HEAD)
        self.note = opened.add_format(_NOTE)
        self.text = opened.add_format({**_CELL, "text_wrap": True})
        # Else Excel takes such a text as a formula once somebody edits its cell.
        self.quoted = opened.add_format({**_CELL, "text_wrap": True, "quote_prefix": True})

    def number(self, shown: str) -> Any:
        if shown not in self._made:
            self._made[shown] = self._opened.add_format({**_CELL, "num_format": f"{shown}_ "})
        return self._made[shown]


def _write(page: Any, sheet: Sheet, formats: _Formats) -> None:
    top, listed = _fitting(sheet)
    widths = [_width(sheet, n, listed) for n in range(len(sheet.heads))]
    for column, width in enumerate(widths):
        page.set_column(column, column, width)
    if note := _note(sheet, len(listed)):
        _write_note(page, note, widths, formats)
    page.set_row(top, _height(sheet.heads, widths, _ARROW))
    for column, head in enumerate(sheet.heads):
        page.write_string(top, column, head, formats.head)
    for number, row in enumerate(listed, top + 1):
        if (height := _height(row, widths, 0)) > _LINE_HEIGHT:  # not every program finds it when it opens the file
            page.set_row(number, height)
        for column, cell in enumerate(row):
            _write_cell(page, number, column, cell, formats, grouped=sheet.grouped)
    page.freeze_panes(top + 1, 0)
    page.autofilter(top, 0, top + max(len(listed), 1), len(sheet.heads) - 1)
    page.ignore_errors({"number_stored_as_text": "A1:XFD1048576"})
    _for_print(page, top, math.ceil(sum(widths) / _A4_WIDTH))


def _fitting(sheet: Sheet) -> tuple[int, Sequence[Sequence[Cell]]]:
    """Return the number of the row of heads, and the rows that the sheet can hold."""
    if len(sheet.rows) + 1 + bool(sheet.note) <= sheet.most:
        return int(bool(sheet.note)), sheet.rows
    return 1, sheet.rows[: sheet.most - 2]


def _note(sheet: Sheet, listed: int) -> str:
    """Return the note, and what the sheet does not hold."""
    if listed == len(sheet.rows):
        return sheet.note
    cut = f"本表共 {len(sheet.rows)} 行，超出一张工作表的容量，仅列前 {listed} 行；全部数据见 {sheet.whole}。"
    return f"{cut}{sheet.note}"


def _write_note(page: Any, note: str, widths: Sequence[float], formats: _Formats) -> None:
    page.set_row(0, min(_MOST_HEIGHT, _LINE_HEIGHT * _lines(note, min(sum(widths), _A4_WIDTH)) + 4))
    if len(widths) > 1:
        page.merge_range(0, 0, 0, len(widths) - 1, "", formats.note)
    page.write_string(0, 0, note, formats.note)


def _write_cell(page: Any, row: int, column: int, cell: Cell, formats: _Formats, *, grouped: bool) -> None:
    match cell:
        case None | "":
            page.write_blank(row, column, None, formats.text)
        case bool():
            page.write_string(row, column, YES_NO[cell], formats.text)
        case str():
            quoted = _TAKEN_AS_FORMULA.match(cell) is not None
            page.write_string(row, column, fitted(cell), formats.quoted if quoted else formats.text)
        case Share():
            page.write_number(row, column, _Exactly(cell.value), formats.number("0.00%"))
        case dt.date():
            page.write_datetime(row, column, cell, formats.number("yyyy-mm-dd"))
        case _:
            page.write_number(
                row,
                column,
                _Exactly(cell),
                formats.number(_shown(cell) if grouped else _shown(cell).replace("#,##", "")),
            )


def fitted(text: str) -> str:
    """Return a text that a cell holds; one that is too long ends with how long it is."""
    if _units(text) <= MOST_CHARACTERS:
        return text
    end = f"……（单元格容量所限，原文共 {len(text)} 字，见数据包内同名数据文件）"
    kept = text.encode("utf-16-le")[: 2 * (MOST_CHARACTERS - _units(end))].decode("utf-16-le", "ignore")
    return kept + end


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _shown(number: Number) -> str:
    """Return the number format of a number: as it is where it is whole, else with as many decimals as tell it."""
    if isinstance(number, int):
        return "0"
    if number == int(number):
        return "#,##0"
    size = abs(float(number))
    return "#,##0.00##" if size >= 1 else "0.00####" if size >= _LITTLE else "0.00E+00"


def _width(sheet: Sheet, column: int, rows: Sequence[Sequence[Cell]]) -> float:
    """Return a column's width in digits; a head may take two lines."""
    cells = (row[column] for row in rows[:_LOOKED_AT])
    widest = max((_text_width(line) for cell in cells for line in _told(cell).split("\n")), default=0)
    head = math.ceil(_text_width(sheet.heads[column]) / 2) + _ARROW
    return max(_LEAST_WIDTH, min(sheet.widest, max(widest, head) + _PADDING))


def _height(row: Sequence[Cell], widths: Sequence[float], less: int) -> float:
    """Return how high a row is whose texts are wrapped [points]; less: room that they do not have [digits]."""
    texts = ((cell, width) for cell, width in zip(row, widths, strict=True) if isinstance(cell, str))
    return min(_MOST_HEIGHT, _LINE_HEIGHT * max((_lines(text, width - less) for text, width in texts), default=1))


@lru_cache(maxsize=4096)
def _lines(text: str, width: float) -> int:
    """Return how many lines a text takes: broken between words of Latin letters, and between any Chinese characters."""
    return sum(_wrapped(line, max(1.0, width)) for line in text.split("\n"))


def _wrapped(line: str, room: float) -> int:
    if _text_width(line) <= room:
        return 1
    lines, used = 1, 0.0
    for word in _WORD.findall(line):
        size = _text_width(word)
        if used and used + size > room:
            lines, used = lines + 1, 0.0
        used += size
        lines, used = lines + int((used - 1) // room), (used - 1) % room + 1  # a word longer than a line is broken
    return lines


def _told(cell: Cell) -> str:
    """Return about what a cell shows."""
    match cell:
        case None:
            return ""
        case bool():
            return YES_NO[cell]
        case Share():
            return "100.00%"
        case float() | Fraction() | Decimal():
            return f"{float(cell):,.4f}"
        case _:
            return str(cell)


@lru_cache(maxsize=4096)
def _text_width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(sign) in "WFA" else 1 for sign in text)


def _for_print(page: Any, top: int, pages: int) -> None:
    """Set a page up for A4 landscape, so many sheets of paper wide."""
    page.set_landscape()
    page.set_paper(_A4)
    page.fit_to_pages(pages, 0)
    page.repeat_rows(0, top)
    if pages > 1:
        page.repeat_columns(0, 1)
    page.set_margins(left=0.4, right=0.4, top=0.6, bottom=0.6)
    page.set_header("&L&A")
    page.set_footer("&C第 &P 页，共 &N 页")

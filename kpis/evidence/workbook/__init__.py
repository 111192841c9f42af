"""workbook.xlsx: what a package states, a table a sheet, for people who copy from it and check it by hand."""

import io
from collections.abc import Sequence

import python_calamine

from kpis.evidence.contents import Contents
from kpis.evidence.workbook import assessed, figures, form, registers
from kpis.evidence.workbook.cover import cover
from kpis.spreadsheets import xlsx
from kpis.spreadsheets.sheet import Sheet


def workbook(contents: Contents) -> bytes:
    """Return the bytes of the workbook, the same for the same contents.

    Raises MissingExtraError where xlsxwriter is not installed.
    """
    return xlsx.book(sheets(contents))


def sheets(contents: Contents) -> Sequence[Sheet]:
    """Return the sheets of the workbook in their order."""
    told = [
        form.sme_form(contents),
        *figures.sheets(contents),
        *registers.sheets(contents),
        *figures.kpis(contents),
        *figures.energy(contents),
        figures.changes(contents),
        *assessed.sheets(contents),
    ]
    return [cover(contents, told), *told]


def cells(data: bytes) -> dict[str, list[list[object]]]:
    """Return what the sheets of a workbook say, by their names: each row's cells from the first to the last used one.

    Two workbooks that say the same may differ in how they are compressed. Raises CalamineError where it is none.
    """
    book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
    return {name: [list(row) for row in book.get_sheet_by_name(name).to_python(skip_empty_area=False)]
            for name in book.sheet_names}  # fmt: skip

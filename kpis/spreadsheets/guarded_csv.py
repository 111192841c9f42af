"""CSV that Excel opens as it is meant: UTF-8 with BOM, and text that it would take as something else guarded.

A cell of text is guarded by one apostrophe in front where it begins, after blanks, with = + - @ (full width too), or
begins with a tab, a line break or an apostrophe, or is a fraction such as 2/3, which Excel would take as a date. So a
program that reads such a file as data takes one apostrophe from the front of every cell of text that begins with one.
Numbers stay numbers.
"""

import io

import polars as pl

GUARD = "'"
FORMULA = r"^[\s\x{FEFF}]*[=+\-@＝＋－＠]|^[\t\r\n]"
"""What spreadsheet programs take as the beginning of a formula."""
_GUARDED = rf"{FORMULA}|^{GUARD}|^\s*-?\d+/\d+\s*$"


def csv_bytes(table: pl.DataFrame) -> bytes:
    """Return a table's CSV with guarded text."""
    texts = [name for name, kind in table.schema.items() if kind == pl.String]
    guarded = [pl.when(_risky(name)).then(pl.lit(GUARD) + pl.col(name)).otherwise(name).alias(name) for name in texts]
    buffer = io.BytesIO()
    table.with_columns(guarded).write_csv(buffer, include_bom=True)
    return buffer.getvalue()


def unguarded(text: str) -> str:
    """Return a cell's text as it was before it was guarded."""
    return text.removeprefix(GUARD)


def _risky(name: str) -> pl.Expr:
    return pl.col(name).str.contains(_GUARDED)

"""Tables that plants keep in a spreadsheet: CSV (UTF-8, with or without BOM, or GB18030) and XLSX, row by row."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import python_calamine

from config.faults import Fault

SYNONYMS: Mapping[str, str] = {
    # 设备台账
    "设备编号": "asset", "设备名称": "name", "设备类型": "kind", "工序": "process", "生产设备": "production",
    "关键设备": "key_equipment", "关键工序": "key_process", "控制方式": "control", "数字化": "digital",
    "理论节拍": "ideal_cycle", "不计入原因": "excluded",
    # 采集点表
    "点位": "point", "设备": "asset", "角色": "role", "数据源": "source", "地址": "address", "数据类型": "type",
    "单位": "unit", "倍率": "scale", "偏移": "offset", "周期": "period", "方式": "mode", "状态表": "states", "备注": "note",
    # 产品, 日历
    "产品": "product", "日期": "date", "班次": "shift", "出勤": "working", "开始": "start", "结束": "end",
}  # fmt: skip
"""Chinese column heads and the columns that they name."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its line as an editor or Excel shows it, and its cells that are not empty."""

    line: int
    cells: Mapping[str, str]


def read_table(path: Path, name: str, required: Sequence[str], faults: list[Fault]) -> list[Row]:
    """Return a table's rows; what is wrong with the file as a whole, its head or a row's length goes to `faults`."""
    try:
        lines = list(_xlsx(path) if path.suffix.lower() == ".xlsx" else _csv(path))
    except (OSError, UnicodeDecodeError, csv.Error, python_calamine.CalamineError) as error:
        hint = "check the name in plant.toml, and that the file is CSV (UTF-8) or XLSX"
        faults.append(Fault(name, "file", path.name, f"cannot be read: {error}", hint))
        return []
    if not lines:
        faults.append(Fault(f"{name}:1", "head", "", "the table is empty", f"begin with {', '.join(required)}"))
        return []
    head = [SYNONYMS.get(cell.strip(), cell.strip()) for cell in lines[0][1]]
    if not _check_head(head, name, required, faults):
        return []
    return list(_rows(lines[1:], head, name, faults))


def _csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("gb18030")  # what a Chinese Excel saves as CSV
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield line, cells
        line = reader.line_num + 1


def _xlsx(path: Path) -> Iterator[tuple[int, list[str]]]:
    with python_calamine.CalamineWorkbook.from_path(str(path)) as book:
        rows = book.get_sheet_by_index(0).to_python(skip_empty_area=False)
    for line, cells in enumerate(rows, 1):
        texts = [_text(cell) for cell in cells]
        if any(texts):
            yield line, texts


def _text(cell: object) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def _check_head(head: Sequence[str], name: str, required: Sequence[str], faults: list[Fault]) -> bool:
    before = len(faults)
    for column in dict.fromkeys(head):
        if column and head.count(column) > 1:
            faults.append(Fault(f"{name}:1", "column", column, "stands twice", "keep one of them"))
    for column in required:
        if column not in head:
            faults.append(Fault(f"{name}:1", "column", column, "is missing", "add it to the head of the table"))
    return len(faults) == before


def _rows(
    lines: Sequence[tuple[int, list[str]]], head: Sequence[str], name: str, faults: list[Fault]
) -> Iterator[Row]:
    for line, cells in lines:
        if len(cells) > len(head) and any(cell.strip() for cell in cells[len(head) :]):
            rule = f"the row has {len(cells)} cells, the head {len(head)}"
            faults.append(Fault(f"{name}:{line}", "row", "", rule, "put a value that has commas in double quotes"))
            continue
        filled = {column: cell.strip() for column, cell in zip(head, cells, strict=False) if column and cell.strip()}
        yield Row(line, filled)

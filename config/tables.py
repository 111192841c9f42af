"""Tables that plants keep in a spreadsheet: CSV (UTF-8, with or without BOM, or GB18030) and XLSX, row by row."""

import codecs
import csv
import datetime as dt
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import python_calamine

from config.faults import Fault, did_you_mean

SYNONYMS: Mapping[str, str] = {
    # 设备台账
    "设备编号": "asset", "设备名称": "name", "设备类型": "kind", "工序": "process", "生产设备": "production",
    "关键设备": "key_equipment", "关键工序": "key_process", "控制方式": "control", "数字化": "digital",
    "理论节拍": "ideal_cycle", "不计入原因": "excluded",
    # 采集点表
    "点位": "point", "设备": "asset", "角色": "role", "数据源": "source", "地址": "address", "数据类型": "type",
    "单位": "unit", "倍率": "scale", "偏移": "offset", "周期": "period", "方式": "mode", "状态表": "states",
    "备注": "note", "寄存器表": "map", "倍率寄存器": "scale_register", "无效值": "no_value", "下限": "minimum",
    "上限": "maximum",
    # 产品, 日历, 换表
    "产品": "product", "日期": "date", "班次": "shift", "出勤": "working", "开始": "start", "结束": "end",
    "时间": "at", "旧表示数": "last", "新表示数": "first",
}  # fmt: skip
"""Chinese column heads and the columns that they name."""

_APPROVED = {"审批人": "approved_by", "审批日期": "approved_at"}
_DECLARED = {
    "填报人": "declared_by", "填报日期": "declared_at", "附件": "attachment", "证明材料": "attachment",
}  # fmt: skip
HEADS: Mapping[str, Mapping[str, str]] = {
    "assets": {"业务环节": "segment", "投用日期": "in_use_from", "停用日期": "in_use_until", **_APPROVED},
    "processes": {
        "工序编号": "process", "工序名称": "name", "关键工序": "key", "工序类型": "kind", **_APPROVED,
    },
    "loops": {
        "回路编号": "loop", "回路": "loop", "控制回路": "loop", "回路名称": "name",
        "所属设备": "asset", "所属工序": "process", **_APPROVED,
    },
    "meters": {
        "计量器具编号": "meter", "计量器具": "meter", "仪表编号": "meter", "仪表": "meter", "计量器具名称": "name",
        "仪表名称": "name", "采集点": "point", "层级": "level", "计量层级": "level", "用途": "use", **_APPROVED,
    },
    "business": {
        "期间": "period", "年度": "period", "统计期": "period", "指标": "measure", "指标名称": "measure",
        "数值": "value", "计量单位": "unit", "折标系数": "factors", **_DECLARED,
    },
    "answers": {
        "评测标准": "rubric", "题号": "item", "答案": "answer", "得分": "score", "自评得分": "score", **_DECLARED,
    },
}  # fmt: skip
"""Chinese heads of one table alone, where they go before SYNONYMS."""


def heads_of(kind: str) -> Mapping[str, str]:
    """Return the Chinese heads of a table: assets, processes, loops, meters, business, answers, or any other."""
    return {**SYNONYMS, **HEADS.get(kind, {})}


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its line as an editor or Excel shows it, and its cells that are not empty."""

    line: int
    cells: Mapping[str, str]


EXACT = 10**16
"""From here on a number of a sheet is not written as a whole number: Excel keeps 15 digits."""


class TableError(ValueError):
    """A file cannot be read as a table; `line` is where, or 0."""

    def __init__(self, line: int, rule: str) -> None:
        self.line = line
        super().__init__(rule)


def read_table(
    path: Path,
    name: str,
    required: Sequence[str],
    faults: list[Fault],
    known: Sequence[str] = (),
    heads: Mapping[str, str] = SYNONYMS,
) -> list[Row] | None:
    """Return a table's rows, or None where the file or its head cannot be read.

    name: what the file is called in faults.
    known: every column that may stand in the head; left out: any column may.
    heads: Chinese heads and the columns that they name.
    What is wrong with the file as a whole, its head or a row's length goes to `faults`.
    """
    try:
        lines = list(_lines(path))
    except (OSError, TableError, python_calamine.CalamineError) as error:
        line = f":{error.line}" if isinstance(error, TableError) and error.line else ""
        rule = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        hint = "check its name in plant.toml, and save it as CSV UTF-8 or as .xlsx"
        faults.append(Fault(f"{name}{line}", "file", path.name, f"cannot be read: {rule}", hint))
        return None
    if not lines:
        faults.append(Fault(f"{name}:1", "head", "", "the table is empty", f"begin with {', '.join(required)}"))
        return None
    place = f"{name}:{lines[0][0]}"
    head = [heads.get(cell.strip(), cell.strip()) for cell in lines[0][1]]
    wrong = list(_head_faults(head, place, required))
    faults += wrong
    faults += _nameless(head, place, lines[1:])
    faults += (
        Fault(place, "column", column, "is unknown", did_you_mean(column, known))
        for column in head
        if known and column and column not in known
    )
    return None if wrong else list(_rows(lines[1:], head, name, faults))


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that are not blank, each with its number as an editor or Excel shows it."""
    lines = _xlsx(path) if path.suffix.lower() == ".xlsx" else _csv(path)
    return ((line, cells) for line, cells in lines if any(cell.strip() for cell in cells))


def _csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(_decoded(path.read_bytes()), newline=""), strict=True)
    line = 1  # where a row begins: reader.line_num is where it ends, which a forgotten quote puts far below
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise TableError(line, f"{error}; look for a lone double quote") from error
        yield line, cells
        line = reader.line_num + 1


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise TableError(0, "it is UTF-16") from error
        if data.startswith(codecs.BOM_UTF8):
            raise TableError(line, "its first bytes say UTF-8, but the line is not") from error
    try:
        return data.decode("gb18030")  # what a Chinese Excel saves as CSV
    except UnicodeDecodeError:
        raise TableError(line, "the line is neither UTF-8 nor GB18030") from None


def _xlsx(path: Path) -> Iterator[tuple[int, list[str]]]:
    path.stat()  # a missing file is an OSError here as for CSV
    with python_calamine.CalamineWorkbook.from_path(str(path)) as book:
        rows = book.get_sheet_by_index(0).to_python(skip_empty_area=False)
    for line, cells in enumerate(rows, 1):
        yield line, [_text(cell) for cell in cells]


def _text(cell: object) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float) and cell.is_integer():
        if abs(cell) >= EXACT:
            return repr(cell)  # Excel keeps 15 digits: as a whole number it would look like more
        return str(int(cell))
    if isinstance(cell, float):
        return format(Decimal(f"{cell:.15g}"), "f")  # as Excel shows it: 0.1 + 0.2 is 0.3 there
    if isinstance(cell, dt.datetime) and cell.time() == dt.time():
        return cell.date().isoformat()
    return str(cell).strip()


def _head_faults(head: Sequence[str], place: str, required: Sequence[str]) -> Iterator[Fault]:
    if len(head) == 1 and any(sign in head[0] for sign in ";\t"):
        yield Fault(place, "head", head[0], "has no commas", "save the table with commas between the columns")
        return
    for column in dict.fromkeys(head):
        if column and head.count(column) > 1:
            yield Fault(place, "column", column, "stands twice", "keep one of them")
    for column in required:
        if column not in head:
            yield Fault(place, "column", column, "is missing", "add it to the head of the table")


def _nameless(head: Sequence[str], place: str, lines: Sequence[tuple[int, list[str]]]) -> Iterator[Fault]:
    """Yield a fault for each column that has cells and no name; an empty column is what Excel leaves behind."""
    for n, column in enumerate(head):
        filled = [(line, cells[n]) for line, cells in lines if n < len(cells) and cells[n].strip()]
        if not column and filled:
            rule = f"has no name in the head, and {filled[0][1]!r} in line {filled[0][0]}"
            yield Fault(place, "column", n + 1, rule, "name it in the head, or empty its cells")


def _rows(lines: Sequence[tuple[int, list[str]]], head: Sequence[str], name: str, faults: list[Fault]) -> Iterator[Row]:
    for line, cells in lines:
        if len(cells) != len(head):
            rule = f"the row has {len(cells)} cells, the head {len(head)}"
            hint = "put a value that has commas in double quotes, and a comma for each empty cell"
            faults.append(Fault(f"{name}:{line}", "row", cells[0], rule, hint))
            continue
        yield Row(
            line, {column: cell.strip() for column, cell in zip(head, cells, strict=True) if column and cell.strip()}
        )

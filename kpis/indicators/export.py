"""Figures and assessments as files: JSON whole, or tables for a spreadsheet."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl

from kpis import output
from kpis.indicators.input_names import ORIGINS, input_name, unit_name
from kpis.indicators.rubrics.result import STATUSES
from kpis.indicators.said import Lang
from kpis.spreadsheets import xlsx
from kpis.spreadsheets.guarded_csv import csv_bytes
from kpis.spreadsheets.sheet import Cell, Share, Sheet, in_words

_FIGURE = ("subject", "kpi", "title_zh", "title", "value", "unit", "numerator", "denominator")
_STANDING = ("coverage", "start", "end", "evidence", "rule")
_EXACT = ("value", "numerator", "denominator")
_EXACTLY = "exact_"
"""Begins the columns of exact values, fractions as text."""
_INPUT = ("name", "value", "unit", "origin", "period", "declared_by", "declared_at", "attachment", "attachment_sha256",
          "coverage")  # fmt: skip
_PERIOD = ("start", "end")
_SHARES = ("coverage", "share", "relative")
_VALUES = ("value", "low", "high", "before", "after", "difference")
"""Columns that are shares where the row's unit is 1."""
ENDINGS = (".json", ".csv", ".xlsx")
HEADS: Mapping[str, str] = {
    "subject": "对象", "kpi": "指标编号", "title_zh": "指标名称", "title": "名称", "rubric": "评分细则",
    "document": "文号", "total": "总分", "percent": "目标（%）", "year": "年份", "more": "还差",
    "proven": "已证实", "partly proven": "部分证实", "declared": "自行申报", "not assessable": "暂不能评定",
    "value": "数值", "unit": "单位", "numerator": "分子", "denominator": "分母", "coverage": "数据覆盖",
    "start": "期间起", "end": "期间止", "evidence": "证据类别", "rule": "规则", "flags": "标记",
    "missing": "还缺什么", "refused": "不予采信原因", "name": "名称", "origin": "数据来源", "period": "期间",
    "declared_by": "填报人", "declared_at": "填报日期", "attachment": "附件",
    "attachment_sha256": "附件校验值", "id": "编号", "counted": "计入", "met": "满足", "reason": "原因",
    "item": "题号", "line": "原文行号", "status": "评定状态", "chosen": "采信选项", "options": "选项内容",
    "points": "得分", "most": "满分", "answer": "填报答案", "grounds": "依据", "grade": "等级",
    "kind": "设备类型", "asset": "设备编号", "excluded": "不计入原因", "connectable": "可联网",
    "connected": "已连通", "evidenced": "已证实联网", "share": "计划时间内数据占比",
    "first_good": "首个有效数据", "last_good": "最后有效数据", "roles": "有效点位角色",
    "planned_ns": "计划时间（ns）", "evidenced_ns": "有数据时间（ns）", "planned_s": "计划时间（秒）",
    "evidenced_s": "有数据时间（秒）", "exact_value": "数值（精确）", "exact_numerator": "分子（精确）",
    "exact_denominator": "分母（精确）", "inputs": "计算依据", "before": "对比期", "after": "本期",
    "difference": "差值", "relative": "变化幅度", "change": "变化", "before_start": "对比期起",
    "before_end": "对比期止", "after_start": "本期起", "after_end": "本期止", "low": "下限", "high": "上限",
    "score": "自评得分", "rows": "行数", "sha256": "校验值（SHA-256）", "cause": "原因", "duration_s": "时长（秒）",
    "duration_ns": "时长（ns）", "point": "点位", "date": "日期（UTC）",
}  # fmt: skip
"""Heads of a workbook in Chinese."""


def write(told: Mapping[str, Any], path: Path, lang: Lang) -> None:
    """Write what the command tells as JSON, by the file's ending: .json whole, .csv the figures or the
    items of all rubrics, .xlsx all tables.

    Raises ValueError naming the endings for any other, OSError where it cannot be written.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"{path}: {path.suffix!r} is no known ending; write one of {', '.join(ENDINGS)}")
    if ending == ".json":
        path.write_text(output.to_json(told), encoding="utf-8")
        return
    tables = frames(told, lang)
    if ending == ".csv":
        path.write_bytes(csv_bytes(_one(tables, "rubrics" in told)))
        return
    path.write_bytes(xlsx.book([sheet(name, table, lang) for name, table in tables.items()]))


def _one(tables: Mapping[str, pl.DataFrame], rubrics: bool) -> pl.DataFrame:
    """Return the table of figures, or the items of all rubrics under each other."""
    if not rubrics:
        return tables["indicators"]
    items = {name: table for name, table in tables.items() if name not in ("summary", "targets")}
    named = [table.select(pl.lit(name).alias("rubric"), pl.all()) for name, table in items.items()]
    return pl.concat(named, how="diagonal_relaxed")


def sheet(name: str, table: pl.DataFrame, lang: Lang, *, note: str = "", whole: str = "") -> Sheet:
    """Return a table as a sheet: shares in percent, and exact values where a number cannot hold them.

    note, whole: as `Sheet` says. In Chinese its heads are so too; programs read .json and .csv, whose heads stay.
    """
    rows = [{column: _cell(row, column, lang) for column in table.columns} for row in table.iter_rows(named=True)]
    empty = {c for c in table.columns if c.startswith(_EXACTLY) and not any(row[c] for row in rows)}
    told = [column for column in table.columns if column not in empty]
    heads = [HEADS.get(column, column) if lang == "zh" else column for column in told]
    cells = [[row[column] for column in told] for row in rows]
    return Sheet(name=name, heads=heads, rows=cells, note=note, whole=whole)


def _cell(row: Mapping[str, Any], column: str, lang: Lang) -> Cell:
    cell: Cell = row[column]
    if isinstance(cell, str) and column == "unit":
        return unit_name(cell, lang)
    if column.startswith(_EXACTLY):
        return in_words(Fraction(cell)) if isinstance(cell, str) else None
    share = column in _SHARES or (column in _VALUES and row.get("unit") == "1")
    return Share(cell) if share and isinstance(cell, float) else cell


def frames(told: Mapping[str, Any], lang: Lang) -> dict[str, pl.DataFrame]:
    """Return flat tables by name: figures with their inputs, members and devices, or the items of each rubric."""
    if "rubrics" in told:
        found = {"summary": _frame([_whole(rubric) for rubric in told["rubrics"]])}
        for rubric in told["rubrics"]:
            found[rubric["rubric"]] = _frame([_item(one, lang) for one in [*rubric["items"], *rubric["scenes"]]])
            conditions = [(g["grade"], one) for g in rubric["grades"] for one in g["conditions"]]
            if conditions:
                rows = [{"grade": grade, **_item(one, lang)} for grade, one in conditions]
                found[f"{rubric['rubric']} grades"] = _frame(rows)
        targets = told["targets"]["targets"]
        found["targets"] = _frame([_target(one) for one in targets])
        return {name: table for name, table in found.items() if table.height}
    results = told["results"]
    return {
        "indicators": _frame([_figure(one, lang) for one in results]),
        "inputs": _frame([_of(one) | {name: i[name] for name in _INPUT} for one in results for i in one["inputs"]]),
        "members": _frame([_of(one) | m | {"reason": m["reason"][lang]} for one in results for m in one["members"]]),
        "devices": _frame([row | {"roles": " ".join(row["roles"])} for row in told["devices"]]),
        **(
            {"kinds": _frame([{"kind": one["kind"], **_figure(one, lang)} for one in told["kinds"]])}
            if told["kinds"]
            else {}
        ),
        **({"comparisons": _frame([_compared(one) for one in told["comparisons"]])} if told["comparisons"] else {}),
        **{name: pl.DataFrame(rows) for name, rows in told["tables"].items() if rows},
    }


def _whole(rubric: Mapping[str, Any]) -> dict[str, Any]:
    by_status = rubric["by_status"] or {}
    named = ("rubric", "title", "document", "start", "end", "total", "most", "grade")
    return {name: rubric[name] for name in named} | {status: by_status.get(status) for status in STATUSES}


def _target(one: Mapping[str, Any]) -> dict[str, Any]:
    figure, gap = one["figure"] or {}, one["gap"] or {}
    counts = {name: figure.get(name) for name in ("value", "unit", "numerator", "denominator")}
    return {"title": one["title"], "percent": one["percent"], "year": one["year"], **counts, "more": gap.get("more")}


def _of(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"subject": one["subject"], "kpi": one["kpi"], "title_zh": one["title_zh"]}


def _figure(one: Mapping[str, Any], lang: Lang) -> dict[str, Any]:
    return {
        **{name: one[name] for name in _FIGURE},
        **{f"{_EXACTLY}{name}": one["exact"][name] for name in _EXACT},
        **{name: one[name] for name in _STANDING},
        "inputs": "\n".join(_in_words(of, lang) for of in one["inputs"]),
        "flags": " ".join(one["flags"]),
        "missing": _said(one["missing"], lang),
        "refused": "" if one["refused"] is None else one["refused"][lang],
    }


def _in_words(of: Mapping[str, Any], lang: Lang) -> str:
    """Return an input as a line: its name, amount, period, and by whose word."""
    colon, comma = (": ", ", ") if lang == "en" else ("：", "，")
    value = "–" if of["value"] is None else f"{of['value']:.15g} {unit_name(of['unit'], lang)}".rstrip()
    told = [ORIGINS[of["origin"]].into(lang), of["period"], of["declared_by"], of["declared_at"], of["attachment"]]
    return f"{input_name(of['name'], lang)}{colon}{value}{comma}{comma.join(word for word in told if word)}"


def _compared(one: Mapping[str, Any]) -> dict[str, Any]:
    before, after = one["before"], one["after"]
    periods = {f"{name}_{end}": of[end] for name, of in (("before", before), ("after", after)) for end in _PERIOD}
    values = {"unit": after["unit"], "before": before["value"], "after": after["value"]}
    told = {name: one[name] for name in ("difference", "relative", "change")}
    return {**_of(after), **values, **told, **periods}


def _item(one: Mapping[str, Any], lang: Lang) -> dict[str, Any]:
    figure, answer, compared = one["figure"] or {}, one["answer"] or {}, one["comparison"] or {}
    return {
        "item": one["id"],
        "title": one["title"],
        "line": one["cites"][0]["line"],
        "status": STATUSES[one["status"]].into(lang),
        "chosen": "+".join(map(str, one["chosen"])),
        "options": "; ".join(one["options"]),
        "points": one["points"] if one["points"] is not None else one["score"],
        "most": one["most"],
        "value": figure.get("value"),
        "unit": figure.get("unit"),
        "numerator": figure.get("numerator"),
        "denominator": figure.get("denominator"),
        "before": compared["before"]["value"] if compared else None,
        "change": compared.get("change"),
        "answer": answer.get("answer"),
        "declared_by": answer.get("declared_by"),
        "declared_at": answer.get("declared_at"),
        "grounds": _said(one["notes"], lang),
        "missing": _said(one["missing"], lang),
    }


def _said(texts: Sequence[Mapping[str, str]], lang: Lang) -> str:
    return "\n".join(text[lang] for text in texts)


def _frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    found = pl.DataFrame(list(rows), infer_schema_length=None)
    instants = [name for name, kind in found.schema.items() if isinstance(kind, pl.Datetime)]
    return found.with_columns(pl.col(instants).dt.to_string("iso:strict"))

"""Figures and assessments as files: JSON whole, or tables for a spreadsheet."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from kpis import output
from kpis.indicators.rubrics.result import STATUSES
from kpis.indicators.said import Lang

_FIGURE = ("subject", "kpi", "title_zh", "title", "value", "unit", "numerator", "denominator", "coverage", "start",
           "end", "evidence", "rule")  # fmt: skip
_INPUT = ("name", "value", "unit", "origin", "period", "declared_by", "declared_at", "attachment", "attachment_sha256",
          "coverage")  # fmt: skip
_PERIOD = ("start", "end")
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
        _one(tables, "rubrics" in told).write_csv(path, include_bom=True)
        return
    _workbook({name: _headed(table, lang) for name, table in tables.items()}, path)


def _one(tables: Mapping[str, pl.DataFrame], rubrics: bool) -> pl.DataFrame:
    """Return the table of figures, or the items of all rubrics under each other."""
    if not rubrics:
        return tables["indicators"]
    items = {name: table for name, table in tables.items() if name not in ("summary", "targets")}
    named = [table.select(pl.lit(name).alias("rubric"), pl.all()) for name, table in items.items()]
    return pl.concat(named, how="diagonal_relaxed")


def _headed(table: pl.DataFrame, lang: Lang) -> pl.DataFrame:
    """Return a table with its heads in a language; programs read .json and .csv, whose heads stay."""
    return table.rename({name: HEADS[name] for name in table.columns if name in HEADS}) if lang == "zh" else table


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
    counts = {name: figure.get(name) for name in ("value", "numerator", "denominator")}
    return {"title": one["title"], "percent": one["percent"], "year": one["year"], **counts, "more": gap.get("more")}


def _of(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"subject": one["subject"], "kpi": one["kpi"]}


def _figure(one: Mapping[str, Any], lang: Lang) -> dict[str, Any]:
    more = {"flags": " ".join(one["flags"]), "missing": _said(one["missing"], lang)}
    refused = "" if one["refused"] is None else one["refused"][lang]
    return {name: one[name] for name in _FIGURE} | more | {"refused": refused}


def _compared(one: Mapping[str, Any]) -> dict[str, Any]:
    before, after = one["before"], one["after"]
    periods = {f"{name}_{end}": of[end] for name, of in (("before", before), ("after", after)) for end in _PERIOD}
    values = {"unit": after["unit"], "before": before["value"], "after": after["value"]}
    told = {name: one[name] for name in ("difference", "relative", "change")}
    return {**_of(one), "title_zh": after["title_zh"], **values, **told, **periods}


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


def _workbook(tables: Mapping[str, pl.DataFrame], path: Path) -> None:
    options = {"strings_to_formulas": False, "strings_to_urls": False}  # a device may be named "=1+2"
    with importlib.import_module("xlsxwriter").Workbook(path, options) as book:  # an extra
        for name, table in tables.items():
            table.write_excel(book, worksheet=name[:31], autofit=True)

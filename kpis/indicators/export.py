"""Figures and assessments as files: JSON whole, or tables for a spreadsheet."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from kpis import output
from kpis.indicators.said import Lang

_FIGURE = ("subject", "kpi", "title_zh", "title", "value", "unit", "numerator", "denominator", "coverage", "start",
           "end", "evidence", "rule")  # fmt: skip
_INPUT = ("name", "value", "unit", "origin", "period", "declared_by", "declared_at", "attachment", "attachment_sha256",
          "coverage")  # fmt: skip
_PERIOD = ("start", "end")
ENDINGS = (".json", ".csv", ".xlsx")


def write(told: Mapping[str, Any], path: Path, lang: Lang) -> None:
    """Write what the command tells as JSON, by the file's ending: .json whole, .csv the first table, .xlsx all tables.

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
        next(iter(tables.values())).write_csv(path, include_bom=True)
        return
    _workbook(tables, path)


def frames(told: Mapping[str, Any], lang: Lang) -> dict[str, pl.DataFrame]:
    """Return flat tables by name: figures with their inputs, members and devices, or the items of each rubric."""
    if "rubrics" in told:
        found = {}
        for rubric in told["rubrics"]:
            found[rubric["rubric"]] = _frame([_item(one, lang) for one in [*rubric["items"], *rubric["scenes"]]])
            conditions = [(g["grade"], one) for g in rubric["grades"] for one in g["conditions"]]
            if conditions:
                rows = [{"grade": grade, **_item(one, lang)} for grade, one in conditions]
                found[f"{rubric['rubric']} grades"] = _frame(rows)
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
        "status": one["status"],
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

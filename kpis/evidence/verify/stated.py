"""Whether everything that a package states follows from its data: each file is made again and compared."""

import csv
import io
import json
import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from kpis import output
from kpis.evidence import ledger
from kpis.evidence.archive import manifest, sha256
from kpis.evidence.configuration import config_files, rule_files, schema_files
from kpis.evidence.descriptor import describe
from kpis.evidence.layout import BEFORE, CONFIG, DESCRIPTOR, FILES, LEDGER, MANIFEST, RULES, SIGNATURE
from kpis.evidence.objects import json_files
from kpis.evidence.provenance import provenance
from kpis.evidence.readme import readme
from kpis.evidence.tables import csv_files
from kpis.evidence.verify.content import Content
from kpis.evidence.verify.differences import compare, compare_writing
from kpis.evidence.verify.documents import check_report, check_workbook
from kpis.evidence.verify.report import Report

_FRACTION = re.compile(r"-?[0-9]+(\.[0-9]+([eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)")


def check_stated(content: Content, report: Report, *, drawings: bool) -> None:
    """Make every file again from the package's data, and name what differs; drawings: those of the reports as well."""
    before = len(report.faults)
    _check_names(content, report)
    contents = content.contents
    for name, data in json_files(contents).items():
        _compare_json(name, content.files[name], data, report)
    _check_shifts(content, report)
    for name, data in csv_files(contents).items():
        _compare_csv(name, content.files[name], data, report)
    if content.files["README.txt"] != readme(contents):
        report.fault("README.txt: is not what this version writes", "README.txt：与本版本生成的内容不一致")
    check_workbook(content, report)
    check_report(content, "report.html", "zh", report, drawings=drawings)
    check_report(content, "report.en.html", "en", report, drawings=drawings)
    _check_descriptions(content, report)
    if len(report.faults) == before:
        figures = len(contents.figures) + len(contents.kinds)
        items = sum(len(one.items) + len(one.scenes) for one in contents.assessments)
        kpis, shifts = contents.kpis.height, contents.shifts.height
        report.ok(
            f"{figures} figures, {kpis} KPIs, {shifts} KPIs by shift and {items} items of assessments follow from the "
            "data inside",
            f"{figures} 个指标、{kpis} 个 KPI、{shifts} 个分班次 KPI 及 {items} 个评定项均可由包内数据重新算出",
        )


def _check_shifts(content: Content, report: Report) -> None:
    """Hold KPIs by shift against the data; of many rows those alone that are not the same become plain data."""
    stated, again = content.shifts, content.contents.shifts
    if stated.height == again.height:
        differing = pl.any_horizontal(
            stated[name].ne_missing(again[name]).alias(name) for name in again.columns if name != "flags"
        )
        other = pl.select(differing | (stated["flags"] != again["flags"])).to_series()
        stated, again = stated.filter(other), again.filter(other)
    theirs, mine = (output.objects(content.plant, rows) for rows in (stated, again))
    compare("data/shifts.parquet", theirs, mine, report)


def _check_names(content: Content, report: Report) -> None:
    configured = {f"{CONFIG}{name}" for name in config_files(content.plant.root)}
    rules = {f"{RULES}{name}" for name in rule_files(content.plant, content.contents.asked)}
    known = {*FILES, *configured, *rules, *schema_files(), DESCRIPTOR, MANIFEST, SIGNATURE, LEDGER}
    known |= set(BEFORE) if content.contents.earlier is not None else set()
    for name in sorted(set(content.files) - known):
        report.fault(f"{name}: is no file of an evidence package", f"{name}：不属于证据包")


def _compare_json(name: str, stated: bytes, computed: bytes, report: Report) -> None:
    if compare(name, json.loads(stated), json.loads(computed), report):
        compare_writing(name, stated, computed, report)


def _compare_csv(name: str, stated: bytes, computed: bytes, report: Report) -> None:
    """Compare tables as rows by head, so that a difference is named by what it is of, and then as they are written."""
    if stated != computed and compare(name, _rows(stated), _rows(computed), report):
        compare_writing(name, stated, computed, report)


def _rows(data: bytes) -> list[dict[str, Any]]:
    """Return a CSV file as rows by head; cells that are numbers as numbers."""
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    return [dict(zip(rows[0], map(_cell, row), strict=True)) for row in rows[1:]] if rows else []


def _cell(text: str) -> str | float:
    """Return a number with a fraction as that, and all else, such as an asset 007, as it stands."""
    return float(text) if _FRACTION.fullmatch(text) else text


def _check_descriptions(content: Content, report: Report) -> None:
    files, about = content.files, content.about
    cited = ledger.events(files[LEDGER]) if LEDGER in files else None
    if about.get("ledger") != cited:
        report.fault(
            f"{DESCRIPTOR}: counts other events than {LEDGER} has", f"{DESCRIPTOR}：台账事件数与 {LEDGER} 不符"
        )
    elif cited is not None:
        count = sum(cited.values())
        report.ok(
            f"{count} entries of the agent's ledger are those that the package counts", f"采集台账 {count} 条与描述一致"
        )
    traces = content.contents.traces
    told = {
        "samples": traces.partitions["rows"].sum(),
        "samples_sha256": sha256(traces.partitions.write_csv().encode()),
        "config_sha256": sha256(manifest(config_files(content.plant.root))),
        "plant": content.plant.id,
        "timezone": content.plant.timezone,
    }
    compare(DESCRIPTOR, {name: about.get(name) for name in told}, told, report)
    resources = {name: data for name, data in files.items() if name not in (DESCRIPTOR, MANIFEST, SIGNATURE)}
    described: Mapping[str, Any] = describe(content.plant, resources, about)
    _compare_json(DESCRIPTOR, files[DESCRIPTOR], output.to_json(described).encode(), report)
    sources = {name: data for name, data in resources.items() if name != "provenance.json"}
    came = provenance(content.plant, sources, about, content.contents.case.approval)
    _compare_json("provenance.json", files["provenance.json"], output.to_json(came).encode(), report)

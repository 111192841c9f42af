"""The sizing tables of the documents are what was measured, and the measuring works."""

import ast
import re
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import record, sizing, sizing_table
from tests.test_docs import DOCS, ROOT, tables

FIGURES = {
    "rows": "rows stored",
    "行/秒": "rows stored",
    "CPU: collect": "CPU",
    "CPU：采集": "CPU",
    "CPU: merge": "CPU of merging",
    "CPU：合并": "CPU of merging",
    "RSS": "RSS",
    "PSS": "PSS",
    "spool": "spool",
    "本地缓存": "spool",
    "lake [B": "lake a sample",
    "原始数据库 [B": "lake a sample",
    "lake [MiB": "lake a day",
    "原始数据库 [MiB": "lake a day",
    "disk writes": "disk writes a day",
    "磁盘写入": "disk writes a day",
    "network": "network",
    "网络": "network",
}
"""How a column's head begins, and the figure that it shows."""
CHINESE = {"OPC UA 轮询": "OPC UA, polled", "OPC UA 订阅": "OPC UA, subscription"}


def table(page):
    """Each cell of a page's table as {(case, figure): text}."""
    (head, *body), *_ = tables((DOCS / page).read_text("utf-8"))
    found = {}
    for source, points, share, *cells in body:
        case = f"{CHINESE.get(source, source)}, {points} points, {share} change"
        for title, cell in zip(head[3:], cells, strict=True):
            (figure,) = {figure for begin, figure in FIGURES.items() if title.startswith(begin)}
            found[case, figure] = cell
    return found


@pytest.mark.parametrize("page", ["sizing.md", "sizing.zh-CN.md"])
def test_each_cell_of_the_table_is_what_was_measured(page):
    recorded = record.read("sizing")["figures"]
    measured = {tuple(name.rsplit(": ", 1)): value for name, (value, *_) in recorded.items() if ": " in name}
    said = table(page)
    assert said.keys() == measured.keys()
    for place, cell in said.items():
        digits = len(cell.partition(".")[2])
        assert float(cell.replace(",", "")) == round(measured[place], digits), place


@pytest.mark.parametrize("page", ["sizing.md", "sizing.zh-CN.md"])
def test_the_page_names_the_machine_the_date_and_its_reference_loop(page):
    found = record.read("sizing")
    about = found["about"]
    line = (DOCS / page).read_text("utf-8").partition(sizing_table.BEGIN)[2].strip().splitlines()[0]
    for name in ("date", "cpu", "machine", "cores", "kernel", "python"):
        assert str(about[name]) in line
    assert f"{found['figures']['reference loop'][0]:.1f} ms" in line


def test_every_case_of_the_benchmark_is_in_the_figures():
    measured = sizing_table.cases(record.read("sizing")["figures"])
    assert list(measured) == [case.name for case in sizing.CASES]


def test_the_table_is_written_from_the_figures_alone_and_the_text_around_it_stays(tmp_path, monkeypatch):
    pages = [Path(shutil.copy(DOCS / page, tmp_path)) for page in ("sizing.md", "sizing.zh-CN.md")]
    monkeypatch.setattr(sizing_table, "DOCS", tmp_path)
    before = [(DOCS / page.name).read_text("utf-8") for page in pages]
    for page, text in zip(pages, before, strict=True):
        page.write_text(re.sub(r"\| [\d,]+\.?\d* \|", "| 1 |", text), "utf-8")
    sizing_table.publish()
    assert [page.read_text("utf-8") for page in pages] == before


def test_the_smallest_size_is_measured_for_real():
    case = sizing.Case("modbus", 100, sizing.ALL)
    figures = sizing.measure((case,), steady=2)
    of = sizing_table.cases(figures)[case.name]
    assert of.keys() == set(sizing_table.COLUMNS)
    assert 50 <= of["rows stored"] <= 150  # 100 points that change in each second, in two or three polls
    assert 0 < of["CPU"] < 100
    assert 30 < of["PSS"] <= of["RSS"] < 500
    assert 0.5 < of["lake a sample"] < 50
    assert of["lake a day"] == pytest.approx(of["lake a sample"] * of["rows stored"] * 86_400 / 2**20)
    assert of["disk writes a day"] > of["lake a day"]
    # A second's request and answer: 12 and 9 bytes and the 200 of the registers, each in a frame.
    assert 0.5 < of["network"] / ((12 + 9 + 200 + 2 * 66) * 8 / 1e3) < 2


def test_the_reference_loop_needs_the_standard_library_and_numpy_alone():
    tree = ast.parse((ROOT / "benchmarks" / "reference.py").read_text("utf-8"))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imported - sys.stdlib_module_names == {"numpy"}


def test_a_gateway_is_told_its_own_loop_and_the_factor(monkeypatch, capsys):
    there = record.read("sizing")["figures"]["reference loop"][0]
    monkeypatch.setattr(sizing, "reference", lambda: 3 * there)
    monkeypatch.setattr(sys, "argv", ["sizing", "--reference"])
    sizing.main()
    assert capsys.readouterr().out.endswith("CPU x 3\n")

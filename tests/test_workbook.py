"""The workbook of a package: its figures, the form to copy from, and that text in it is text."""

import datetime as dt
import importlib.util
import io
import re
import shutil
import subprocess
import zipfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest

from config.plant import Point
from config.rubrics import load_rubric
from kpis.evidence.contents import Contents
from kpis.evidence.workbook import cells, sheets, workbook
from kpis.evidence.workbook.blanks import BLANKS
from kpis.evidence.workbook.form import sme_form
from kpis.extras import MissingExtraError
from kpis.spreadsheets import xlsx
from kpis.spreadsheets.sheet import Share, Sheet, in_words
from tests.assessed_plant import BUSINESS
from tests.stated import TWO_DAYS, contents_of, renamed

POLICY = Path(__file__).resolve().parents[2] / "shared" / "policy" / "jiangsu-policy-compendium-2025.txt"
INVESTED = """2023,revenue,9000,万元,张会计,2026-01-10,
2023,digital_investment,{first},万元,张会计,2026-01-10,
2024,digital_investment,300,万元,张会计,2026-01-10,
2025,digital_investment,600,万元,张会计,2026-01-10,
"""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("xlsxwriter") is None, reason="xlsxwriter, an extra, is not installed"
)


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    return contents_of(tmp_path_factory.mktemp("assessed") / "plant")


@pytest.fixture(scope="module")
def two_days(tmp_path_factory):
    return contents_of(tmp_path_factory.mktemp("assessed") / "plant", TWO_DAYS)


@pytest.fixture(scope="module")
def book(contents):
    return workbook(contents)


@pytest.fixture(scope="module")
def told(book):
    return {name: rows_of(rows) for name, rows in cells(book).items()}


def rows_of(rows):
    """Rows below a note and heads, each by its head; an empty cell is None."""
    _note, heads, *rest = rows
    return [{head: None if cell == "" else cell for head, cell in zip(heads, row, strict=True)} for row in rest]


def parts(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name).decode("utf-8") for name in archive.namelist()}


def made(*rows, heads=("a",), **more):
    return cells(xlsx.book([Sheet(name="表", heads=heads, rows=rows, **more)]))["表"]


def blanks(told, number):
    """What stands in the blanks of a question."""
    return [(row["填报项（表内原文）"], row["填报值"], row["单位"]) for row in told["填报对照"]
            if row["题号"] == number and "[]" in row["填报项（表内原文）"]]  # fmt: skip


def test_the_same_contents_are_the_same_bytes_and_bear_no_date_of_today(contents, book):
    assert workbook(contents) == book
    assert set(re.findall(r"\d{4}-\d\d-\d\dT[\d:]+Z", parts(book)["docProps/core.xml"])) == {"2000-01-01T00:00:00Z"}


def test_what_two_workbooks_say_is_compared_whatever_their_compression(book):
    again = io.BytesIO()
    with zipfile.ZipFile(again, "w", zipfile.ZIP_STORED) as archive:
        for name, text in parts(book).items():
            archive.writestr(name, text)
    assert again.getvalue() != book
    assert cells(again.getvalue()) == cells(book)


def test_sheets_stand_in_one_order_under_chinese_names_that_excel_takes(told):
    names = list(told)
    assert names[:3] == ["封面", "填报对照", "指标"]
    wanted = [
        "计算过程", "设备清单", "关键工序", "采集点表", "数据缺口", "填报数据", "KPI", "班次 KPI", "能源 205-1",
        "能源 205-2", "对比", "评分细则 sme-2024", "评分细则 factory-kpis-2025", "目标对照", "差距", "评分依据",
    ]  # fmt: skip
    assert [name for name in names if name in wanted] == wanted
    assert all(len(name) <= 31 and not set(name) & set("[]:*?/\\") for name in names)
    assert all(re.search("[一-鿿]", name) or name == "KPI" for name in names)


def test_every_figure_of_the_workbook_is_the_figure(contents, told):
    rows = told["指标"]
    assert len(rows) == len(contents.figures)
    for row, one in zip(rows, contents.figures, strict=True):
        assert (row["对象"], row["指标编号"]) == (one.subject, one.indicator.id)
        assert row["数值"] == (None if one.value is None else float(one.value))
        assert (row["数值（精确）"] or "") == in_words(one.value)
    nc = next(row for row in rows if row["指标编号"] == "key_process_nc_rate")
    assert (nc["分子"], nc["分母"], nc["数值（精确）"]) == (1, 3, "1/3")


def test_kpis_of_the_period_and_of_each_shift_are_those_of_the_contents(contents, told):
    assert [row["数值"] for row in told["KPI"]] == contents.kpis["value"].to_list()
    day = contents.shifts.filter(pl.col("subject") == "line1", pl.col("period") == "2025-01-02 全天")
    (row,) = [row for row in told["班次 KPI"] if (row["对象"], row["班次"]) == ("line1", "2025-01-02 全天")]
    oee, pieces = (day.filter(kpi=name)["value"].item() for name in ("oee", "produced_quantity"))
    assert (row["设备综合效率（OEE）"], row["产量（件）"]) == (oee, pieces)
    assert len(told["班次 KPI"]) == contents.shifts.select("subject", "period").n_unique()


def test_a_figure_is_computed_step_by_step(told):
    steps = [
        row for row in told["计算过程"] if row["对象"] == "works" and row["指标编号"] == "equipment_networking_rate"
    ]
    assert [(row["步骤"], row["内容"], row["数值"]) for row in steps] == [
        ("公式", "实现联网的生产设备数量 / 总生产设备数量", None),
        ("输入", "已证实联网的生产设备", 4),
        ("输入", "生产设备总数", 10),
        ("分子", "n", 4),
        ("分母", "N", 10),
        ("结果", "4 ÷ 10 = 0.4，即 40.00%", 0.4),
    ]
    third = next(row for row in told["计算过程"] if row["步骤"] == "结果" and row["指标编号"] == "key_process_nc_rate")
    assert third["内容"] == "1 ÷ 3 ≈ 0.333333，即 33.33%"


def test_every_input_has_a_chinese_name(told):
    names = {row["内容"] for row in told["计算过程"] if row["步骤"] == "输入"}
    assert len(names) > 20
    assert [name for name in names if not re.search("[一-鿿]", name)] == []


def test_registers_gaps_and_declared_values_are_on_sheets_of_their_own(contents, told):
    assert [row["设备编号"] for row in told["设备清单"]] == [asset.asset for asset in contents.plant.assets]
    assert {row["设备编号"] for row in told["设备清单"] if row["已证实联网"] == "是"} == {
        "line1/press1", "line1/press2", "line1/press3", "line2/mill1",
    }  # fmt: skip
    assert [row["点位"] for row in told["采集点表"]] == [point.point for point in contents.plant.points]
    assert [(row["设备编号"], row["其中计划时间（小时）"], row["原因"]) for row in told["数据缺口"]] == [
        ("line1/press4", 8760, "无数据（silent）"),
        ("line2/mill2", 8736, "BadNoCommunication"),
    ]
    (power,) = [row for row in told["填报数据"] if (row["期间"], row["指标名称"]) == ("2025", "电力消费量")]
    assert (power["数值"], power["单位"], power["填报人"]) == (310, "万kWh", "王能源")
    assert power["填报日期"] == dt.date(2026, 1, 10)
    pressing = [row for row in told["关键工序"] if row["工序"] == "冲压"]
    assert ([row["控制方式"] for row in pressing], {row["已数控化"] for row in pressing}) == (
        ["nc", "nc", "plc", "none", "none"], {"是"},
    )  # fmt: skip


def test_control_loops_have_a_sheet_where_there_are_any(two_days, told):
    assert "控制回路" not in told
    press = Point(point="press1.apc", asset="line1/press1", role="apc")
    plant = two_days.plant.model_copy(update={"points": (*two_days.plant.points, press)})
    production = pl.col("production")  # known all the time, and on for half of it
    facts = two_days.now.facts.with_columns(apc_known=production, apc_on=production / 2)
    found = Contents(plant=plant, asked=two_days.asked, now=replace(two_days.now, plant=plant, facts=facts),
                     earlier=None, traces=two_days.traces)  # fmt: skip
    (row,) = rows_of(cells(workbook(found))["控制回路"])
    assert (row["回路编号"], row["计入"], row["曾投用"]) == ("line1/press1", "是", "是")
    assert (row["投用时间（小时）"], row["状态已知时间（小时）"], row["投用率"]) == (24, 48, 0.5)


def test_energy_stands_in_the_columns_of_the_forms_as_numbers(told):
    last = told["能源 205-1"][-1]
    assert (last["甲 能源名称"], last["5 工业生产消费"]) == ("能源合计", 382.919)


def test_gaps_name_the_devices_that_are_nearest_to_the_next_band(told):
    rows = [row for row in told["差距"] if row["题号"] == "q3"]
    assert {(row["分子"], row["目标（%）"], row["还差"], row["可加分"]) for row in rows} == {(4, 40, 1, 1.5)}
    assert rows[0]["待改进对象及所缺"].startswith("line2/mill2")


def test_the_form_has_each_question_and_scene_in_the_order_of_the_rubric(told):
    rubric = load_rubric("sme-2024")
    rows = told["填报对照"]
    questions = [row for row in rows if "[]" not in row["填报项（表内原文）"] and isinstance(row["题号"], float)]
    assert [(row["题号"], row["采集项"], row["原文行号"]) for row in questions] == [
        (item.number, item.title, item.line) for item in rubric.items
    ]
    scenes = [row for row in rows if isinstance(row["题号"], str)]
    assert rows[-16:] == scenes
    assert [row["填报项（表内原文）"] for row in scenes] == [scene.text for scene in rubric.scenes]
    numbers = [row["题号"] for row in rows if isinstance(row["题号"], float)]
    assert numbers == sorted(numbers)


@pytest.mark.skipif(not POLICY.is_file(), reason="the policy texts are not beside the repository")
def test_every_blank_of_the_form_is_there_in_its_order_and_its_words_stand_on_its_line():
    lines = POLICY.read_text("utf-8").split("\n")
    places = []
    for some in BLANKS.values():
        after = 0
        for blank in some:
            at = lines[blank.line - 1].find(blank.words, after)
            assert at >= 0, f"line {blank.line} does not say {blank.words!r} after {after}"
            after = at + 1
            places.append(blank.line)
    on_form = [number for number in range(1321, 1340) for _ in re.findall(re.escape("[]"), lines[number - 1])]
    assert places == on_form
    assert len(places) == 15


def test_counts_and_amounts_stand_in_the_blanks_as_the_form_asks_for_them(told):
    assert blanks(told, 2) == [("具体数据[]", 0.6, None), ("其中生产设备数量为[]台", 10, "台"),
                               ("实现数字化的生产设备数量为[]台", 6, "台")]  # fmt: skip
    assert blanks(told, 3) == [("具体数据[]", 0.4, None), ("其中实现联网的生产设备数量为[]台", 4, "台")]
    assert blanks(told, 12) == [("企业上年综合能源消费量为[]吨标准煤", 382.919, "吨标准煤"),
                                ("前年数据为[]吨标准煤", 395.209, "吨标准煤")]  # fmt: skip
    assert blanks(told, 14) == [
        ("企业上年员工人数为[]人", 210, "人"), ("营业收入为[]万元", 12000, "万元"),
        ("前年员工人数为[]人", 200, "人"), ("营业收入为[]万元", 10000, "万元"),
    ]  # fmt: skip
    assert blanks(told, 15) == [("企业上年成本为[]万元", 9000, "万元"), ("前年成本为[]万元", 8000, "万元")]


def test_an_option_is_ticked_with_its_words_and_says_on_whose_word_it_stands(told):
    rows = {row["题号"]: row for row in told["填报对照"] if "[]" not in row["填报项（表内原文）"]}
    assert (rows[3]["填报值"], rows[3]["数据状态"]) == ("☑ 3. (20%, 40%]", "部分证实")
    assert (rows[15]["填报值"], rows[15]["数据状态"]) == ("☑ 3. 降低", "自行申报")
    assert (rows[1]["填报值"], rows[1]["数据状态"]) == (None, "暂不能评定")


def per_year(folder, business):
    """What stands in the blank of question 11, and what it is taken from."""
    form = sme_form(contents_of(folder, business=business))
    (row,) = [row for row in form.rows if row[2] == "具体数据为[]万元/年"]
    return row[3], row[6]


@pytest.mark.parametrize(("first", "yearly"), [("300", 400), ("0", 300)])
def test_digital_investment_is_told_per_year_of_three_years(tmp_path, first, yearly):
    value, source = per_year(tmp_path / "plant", BUSINESS + INVESTED.format(first=first))
    assert value == yearly
    assert source.startswith("各年数字化投入之和 ÷ 3 年\n填报，2023，张会计，2026-01-10")


def test_a_year_without_revenue_and_investment_is_before_the_company_was_there(tmp_path):
    value, source = per_year(tmp_path / "plant", BUSINESS + INVESTED.format(first="0").replace(",9000,", ",0,"))
    assert value == 450  # 300 and 600 over two years
    assert source.startswith("各年数字化投入之和 ÷ 2 年（2023 投入与营业收入均为 0，视为未成立）")


def test_the_form_warns_where_the_periods_are_no_years(book, two_days):
    assert "注意" not in cells(book)["填报对照"][0][0]
    form = next(sheet for sheet in sheets(two_days) if sheet.name == "填报对照")
    assert "不可直接填报" in form.note
    assert "没有对比期" in form.note


@pytest.mark.parametrize("name", ["=cmd|'/c calc'!A1", "+1", "@x", "-2+3", "\tx", "=1+2", "http://127.0.0.1/x", "1"])
def test_a_name_is_text_and_never_a_formula_a_link_or_a_number(two_days, name):
    data = workbook(renamed(two_days, name))
    xml = parts(data)
    assert not any(re.search(r"<f[ >]|<hyperlink", text) for text in xml.values())
    assert not any("hyperlink" in text for part, text in xml.items() if part.endswith(".rels"))
    first = rows_of(cells(data)["设备清单"])[0]
    assert first["设备名称"] == name


def test_a_head_or_a_note_is_no_formula_either():
    data = xlsx.book([Sheet(name="表", heads=("=1+2", "b"), rows=[], note="=3+4")])
    assert not any(re.search(r"<f[ >]", text) for text in parts(data).values())
    assert cells(data)["表"] == [["=3+4", ""], ["=1+2", "b"]]


def test_a_text_like_a_formula_stays_text_when_somebody_edits_its_cell():
    data = xlsx.book([Sheet(name="表", heads=("a",), rows=[("=1+2",)])])
    assert 'quotePrefix="1"' in parts(data)["xl/styles.xml"]


@pytest.mark.parametrize("value", [Fraction(1, 3), 0.1 + 0.2, 1e-7, -2.5, 2**53 - 1, Fraction(382919, 1000), 1e300])
def test_a_number_is_kept_to_the_last_digit_of_a_float(value):
    assert made((value,))[1][0] == float(value)


def test_an_exact_value_stands_beside_where_fifteen_digits_do_not_hold_it():
    assert in_words(Fraction(1, 3)) == "1/3"
    assert in_words(Fraction(382_919, 1000)) == ""
    assert in_words(Fraction(10**14 + 1)) == ""
    assert in_words(Fraction(10**16 + 1)) == "10000000000000001"


def test_a_share_is_a_fraction_that_is_shown_in_percent():
    data = xlsx.book([Sheet(name="表", heads=("a",), rows=[(Share(Fraction(117, 150)),)])])
    assert "0.00%" in parts(data)["xl/styles.xml"]
    assert cells(data)["表"][1] == [0.78]


def test_more_rows_than_a_sheet_holds_are_told_with_where_they_all_are():
    rows = made(*((n,) for n in range(100)), whole="gaps.csv", note="缺口", most=10)
    assert rows[0] == ["本表共 100 行，超出一张工作表的容量，仅列前 8 行；全部数据见 gaps.csv。缺口"]
    assert [row[0] for row in rows[2:]] == list(range(8))
    assert made(*((n,) for n in range(8)), note="缺口", most=10)[0] == ["缺口"]


@pytest.mark.parametrize("text", ["长" * 40_000, "𠮷" * 20_000])
def test_a_text_that_a_cell_cannot_hold_ends_with_how_long_it_is(text):
    cell = made((text,))[1][0]
    assert cell.startswith(text[:10_000])
    assert cell.endswith(f"原文共 {len(text)} 字，见数据包内同名数据文件）")
    assert len(cell.encode("utf-16-le")) // 2 <= xlsx.MOST_CHARACTERS
    assert made(("长" * 32_767,))[1][0] == "长" * 32_767


def test_the_cover_says_what_is_proven_and_what_is_not(told):
    said = {(row["栏目"], row["项目"]): row["内容"] for row in told["封面"]}
    assert said["概况", "工厂"] == "江宁一厂（works）"
    assert said["概况", "统计期间"] == "2025-01-01 00:00 至 2026-01-01 00:00（Asia/Shanghai）"
    assert said["概况", "台账审批"].startswith("台账的当前内容未经审批")
    assert "PLC" in said["不能证明什么", "1"]
    listed = [row["项目"] for row in told["封面"] if row["栏目"] == "工作表"]
    assert listed == list(told)[1:]


def test_a_page_is_set_up_for_a4_landscape_with_heads_that_stay(book):
    page = parts(book)["xl/worksheets/sheet2.xml"]
    assert 'paperSize="9"' in page
    assert 'orientation="landscape"' in page
    assert 'ySplit="2"' in page
    assert "<autoFilter" in page
    assert "'填报对照'!$1:$2" in parts(book)["xl/workbook.xml"].replace("填报对照!", "'填报对照'!")


def test_without_xlsxwriter_one_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "xlsxwriter", None)
    with pytest.raises(MissingExtraError, match=r'pip install "plantproof\[kpi\]"'):
        xlsx.book([])


@pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice is not installed")
def test_libreoffice_reads_the_same_figures(tmp_path, two_days):
    data = workbook(renamed(two_days, "=1+2"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "book.xlsx").write_bytes(data)
    profile, kind = f"-env:UserInstallation=file://{tmp_path}/profile", "xlsx:Calc MS Excel 2007 XML"
    words = (
        "soffice",
        profile,
        "--headless",
        "--convert-to",
        kind,
        "--outdir",
        tmp_path,
        tmp_path / "in" / "book.xlsx",
    )
    subprocess.run([str(word) for word in words], check=True, capture_output=True, timeout=110)
    ours, theirs = cells(data), cells((tmp_path / "book.xlsx").read_bytes())
    assert list(theirs) == list(ours)
    for name in ("填报对照", "指标", "计算过程", "设备清单", "KPI", "班次 KPI"):
        for mine, other in zip(trimmed(ours[name]), trimmed(theirs[name]), strict=True):
            assert other == [pytest.approx(cell, rel=1e-14) if isinstance(cell, float) else cell for cell in mine]


def trimmed(rows):
    """Rows without empty cells and rows at their ends."""
    cut = [row[: max((n for n, cell in enumerate(row, 1) if cell != ""), default=0)] for row in rows]
    return cut[: max((n for n, row in enumerate(cut, 1) if row), default=0)]

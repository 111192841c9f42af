"""Declared values: numbers, dates, periods and measures as people write them; sums of periods; business systems."""

import datetime as dt
import hashlib
import logging
import sqlite3
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from config.business import clashes, declarations, exact
from config.cells import date_cell, number_cell
from config.faults import Fault
from config.load import load_plant
from config.measures import ENERGY_KINDS, KIND_NAMES, MEASURES, measure_of, media
from config.periods import period_days
from config.plant import Plant
from config.registers import Declared, SqlSource
from kpis.stores import StoreError
from kpis.stores.business_sql import declarations_of, declared_of
from plantproof import cli
from tests.test_config import CASES, faults
from tests.test_docs import DOCS, section, tables
from tests.test_load_tables import write_xlsx

HEAD = "period,measure,value,unit,declared_by,declared_at"
Y2025 = (dt.date(2025, 1, 1), dt.date(2025, 12, 31))


def plant(folder: Path, *rows: str, toml: str = "", head: str = HEAD) -> Path:
    """Return a plant without equipment that declares these rows."""
    (folder / "plant.toml").write_text(f'version = 1\n[plant]\nid = "works"\n{toml}\n', encoding="utf-8")
    (folder / "assets.csv").write_text("asset\n")
    (folder / "points.csv").write_text("point,asset\n")
    if rows:
        (folder / "business.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return folder


def declared(period: str, measure: str, value: object, unit: str, **further: str) -> Declared:
    return Declared.model_validate(
        {"period": period, "measure": measure, "value": value, "unit": unit, "declared_by": "张三",
         "declared_at": "2026-01-15", **further}
    )  # fmt: skip


def of(*rows: Declared, measure: str = "revenue", days: tuple[dt.date, dt.date] = Y2025):
    return declarations(Plant(id="works", business=rows)).of(measure, *days)


def month(n: int, value: object, measure: str = "revenue", unit: str = "万元") -> Declared:
    return declared(f"2025-{n:02}", measure, value, unit)


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("12345.6", "12345.6"),
        ("12,345.6", "12345.6"),  # thousands
        ("1,234,567", "1234567"),
        ("1 234 567.8", "1234567.8"),
        ("１２，３４５．６", "12345.6"),  # full width
        ("0.50", "0.50"),
        (" 7 ", "7"),
        (0.1, "0.1"),  # of a database: the shortest decimals that are this float
        (Decimal("3.10"), "3.10"),
        (2**70, str(2**70)),
    ],
)
def test_a_number_is_read_to_its_last_digit(cell, number):
    assert str(number_cell(cell)) == number


@pytest.mark.parametrize(
    ("cell", "rule"),
    [
        ("12,5", "can be read in two ways"),  # 12.5 in Europe, or a digit is missing
        ("0,345", "can be read in two ways"),
        ("1.234.567", "can be read in two ways"),
        ("1,23,456", "can be read in two ways"),
        ("1234,567", "can be read in two ways"),
        ("1,234 567", "can be read in two ways"),
        ("1.23E+11", "as a spreadsheet shortens it"),
        ("100万", "is no number"),
        ("¥5", "is no number"),
        ("", "is no number"),
        ("nan", "is no number"),
        (float("inf"), "is no finite number"),
        (True, "is no finite number"),
        (b"5", "is no finite number"),
    ],
)
def test_a_number_that_is_none_or_two_is_refused(cell, rule):
    with pytest.raises(ValueError, match=rule):
        number_cell(cell)


@given(st.decimals(0, 10**12, places=3))
def test_a_number_means_the_same_with_and_without_its_commas(number):
    assert number_cell(f"{number:,}") == number_cell(f"{number:f}") == number


@pytest.mark.parametrize(
    "cell", ["2026-03-01", "2026/3/1", "2026.3.1", "2026年3月1日", "2026/3/1 8:05", "２０２６-３-１"]
)
def test_a_date_is_read_as_excel_and_people_write_it(cell):
    assert date_cell(cell) == dt.date(2026, 3, 1)


@pytest.mark.parametrize("cell", ["45000", "1/3/2026", "2026-02-30", "20260301", "", "3月1日"])
def test_a_date_that_could_be_another_is_refused(cell):
    with pytest.raises(ValueError, match="is no date; write such as 2026-03-01"):
        date_cell(cell)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2025", "2025-01-01", "2025-12-31"),
        ("2025年度", "2025-01-01", "2025-12-31"),
        ("2025-Q1", "2025-01-01", "2025-03-31"),
        ("2025年第四季度", "2025-10-01", "2025-12-31"),
        ("2025年上半年", "2025-01-01", "2025-06-30"),
        ("2025-H2", "2025-07-01", "2025-12-31"),
        ("2024-02", "2024-02-01", "2024-02-29"),  # a leap year
        ("2025年3月", "2025-03-01", "2025-03-31"),
        ("2025/3", "2025-03-01", "2025-03-31"),
        ("202503", "2025-03-01", "2025-03-31"),
        ("2025-03-07", "2025-03-07", "2025-03-07"),
        ("2025年3月7日", "2025-03-07", "2025-03-07"),
        ("2025-01-01/2025-06-30", "2025-01-01", "2025-06-30"),
        ("2025年1月至2025年6月", "2025-01-01", "2025-06-30"),
        ("2025/1/1~2025/6/30", "2025-01-01", "2025-06-30"),
        ("2024/2025", "2024-01-01", "2025-12-31"),
    ],
)
def test_a_period_is_the_days_that_people_mean(text, first, last):
    assert [day.isoformat() for day in period_days(text)] == [first, last]


@pytest.mark.parametrize("text", ["2025.1", "2025-13", "2025-02-30", "Mar-25", "3月", "45000", "2025-Q5", "20250", ""])
def test_what_is_no_period_is_refused(text):  # 2025.1 is October too, where Excel leaves the 0 out
    with pytest.raises(ValueError, match="is no period; write such as 2025, 2025-Q1, 2025-03"):
        period_days(text)


def test_a_period_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValueError, match="ends before it begins; swap its two days"):
        period_days("2025-06/2025-01")


@pytest.mark.parametrize(
    ("written", "measure"),
    [
        ("revenue", "revenue"),
        ("营业收入", "revenue"),
        ("工业总产值", "output_value"),
        ("电力消费量", "consumption.electricity"),
        ("高炉煤气回收利用量", "recovered.blast_furnace_gas"),
        ("原煤（无烟煤）购进量", "purchased.anthracite"),  # brackets of either width
        ("consumption.电力", "consumption.electricity"),
        ("consumption.water", "consumption.water"),
        ("热力加工转换产出", "transformation_output.heat"),
    ],
)
def test_a_measure_is_named_by_its_id_or_in_chinese(written, measure):
    assert declared("2025", written, 1, next(iter(measure_of(written).units))).measure == measure


def test_a_chinese_name_is_that_of_one_measure():
    names = [name for measure in MEASURES.values() for name in measure.names]
    names += [f"{medium}{tail}" for medium in media() for tails in KIND_NAMES.values() for tail in tails]
    names += [f"{kind}.{medium}" for kind in ENERGY_KINDS for medium in media().values()]
    assert {measure_of(name).id for name in names} >= {*MEASURES, "recovered.heat"}
    own = {name: measure.id for measure in MEASURES.values() for name in measure.names}
    assert len(own) == sum(len(measure.names) for measure in MEASURES.values())


@pytest.mark.parametrize(
    ("measure", "value", "unit", "amount", "canonical"),
    [
        ("revenue", "1.5", "亿元", 150_000_000, "元"),
        ("revenue", "12,345.67", "万元", Fraction(123_456_700), "元"),
        ("staff", "120", "人", 120, "人"),
        ("电力消费量", "310", "万kWh", 3_100_000, "kWh"),
        ("电力消费量", "310", "万千瓦时", 3_100_000, "kWh"),
        ("热力消费量", "3", "百万千焦", Fraction(2500, 3), "kWh"),
        ("高炉煤气消费量", "1.5", "万立方米", 15_000, "m3"),
        ("consumption.anthracite", "2", "吨", 2000, "kg"),
        ("高炉煤气消费量", "1.929", "吨标准煤", Fraction(1929, 1000), "tce"),
        ("water_fresh", "3", "万m³", 30_000, "m3"),
        ("co2_other", "2", "tCO2", 2000, "kg"),
        ("products_made", "3", "千件", 3000, "件"),
    ],
)
def test_an_amount_is_exact_in_its_canonical_unit(measure, value, unit, amount, canonical):
    row = declared("2025", measure, value, unit)
    found = of(row, measure=row.measure)
    assert (exact(row), found.value, found.unit) == (amount, amount, canonical)


def test_a_year_is_the_sum_of_its_twelve_months():
    found = of(*(month(n, "0.1") for n in range(1, 13)))
    assert (found.value, found.unit, len(found.rows), found.flags) == (12_000, "元", 12, ())


def test_a_year_of_which_a_month_is_missing_is_not_declared():
    assert of(*(month(n, 1) for n in range(1, 13) if n != 7)) is None


def test_a_year_is_tiled_by_quarters_months_and_single_days():
    days = [declared(f"2025-12-{n:02}", "revenue", 1, "元") for n in range(1, 32)]
    rows = [declared("2025-Q1", "revenue", 100, "元"), declared("2025-04/2025-11", "revenue", 200, "元"), *days]
    found = of(*rows)
    assert (found.value, len(found.rows)) == (331, 33)


def test_the_row_of_the_period_goes_before_its_parts_and_says_where_they_differ():
    months = [month(n, 1) for n in range(1, 13)]
    found = of(*months, declared("2025", "revenue", 12, "万元"))
    assert (found.value, len(found.rows), found.flags) == (120_000, 1, ())
    found = of(*months, declared("2025年", "revenue", 13, "万元"))
    assert (found.value, found.flags) == (130_000, ("parts_differ",))


def test_a_row_that_reaches_out_of_the_period_says_nothing_of_it():
    row = declared("2025", "revenue", 12, "万元")
    assert of(row, days=(dt.date(2025, 1, 1), dt.date(2025, 6, 30))) is None
    assert of(row, measure="cost") is None


def test_staff_is_the_mean_of_its_periods_by_days_and_says_so():
    found = of(month(1, 100, "staff", "人"), month(2, 128, "staff", "人"), measure="staff",
               days=(dt.date(2025, 1, 1), dt.date(2025, 2, 28)))  # fmt: skip
    # (31 * 100 + 28 * 128) / 59
    assert (found.value, found.flags) == (Fraction(6684, 59), ("mean_of_periods",))
    found = of(declared("2025", "staff", 110, "人"), measure="staff")
    assert (found.value, found.flags) == (110, ())


def test_amounts_in_tce_and_in_kwh_are_never_added():
    half = declared("2025-H1", "电力消费量", 1, "tce", factors="sme-2024")
    other = declared("2025-H2", "电力消费量", 1, "kWh")
    assert of(half, other, measure="consumption.electricity") is None


@given(st.permutations(range(12)), st.lists(st.integers(0, 10**6), min_size=12, max_size=12))
def test_the_order_of_rows_changes_no_sum(order, values):
    found = of(*(month(n + 1, values[n], unit="元") for n in order))
    assert found.value == sum(values)
    assert [row.period for row in found.rows] == [f"2025-{n:02}" for n in range(1, 13)]


def test_rows_clash_where_periods_are_the_same_or_overlap_and_not_where_one_holds_the_other():
    rows = [
        declared(period, "revenue", 1, "元")
        for period in ("2025", "2025-01", "2025年1月", "2025-Q1", "2025-03/2025-04")
    ]
    assert list(clashes(rows)) == [(2, 1, "is declared twice"), (4, 3, "overlaps")]
    assert not list(clashes([rows[0], declared("2025", "cost", 1, "元")]))


def test_planted_faults_of_declared_values_and_answers_are_told_line_by_line():
    result = CliRunner().invoke(cli, ["check", str(CASES / "business-faults")])
    assert result.stdout == (CASES / "business-faults" / "expected.txt").read_text(encoding="utf-8")
    assert result.stderr == "22 faults\n"
    assert "hunter2" not in result.output


def test_a_declared_value_is_read_from_csv_and_from_excel_alike(tmp_path):
    rows = [
        ["年度", "指标", "数值", "单位", "填报人", "填报日期"],
        ["2025", "营业收入", "9800.5", "万元", "张三", "2026/1/15"],
    ]
    csv = load_plant(plant(tmp_path, ",".join(rows[1]), head=",".join(rows[0]))).business
    (tmp_path / "business.csv").unlink()
    write_xlsx(tmp_path / "business.xlsx", rows)
    assert load_plant(plant(tmp_path, toml='business = "business.xlsx"')).business == csv
    assert csv == (declared("2025", "revenue", "9800.5", "万元"),)


def test_a_number_that_excel_computed_is_the_one_that_it_shows(tmp_path):
    rows = [HEAD.split(","), ["2025", "revenue", "0.30000000000000004", "万元", "张三", "2026-01-15"]]
    write_xlsx(tmp_path / "business.xlsx", rows)
    (row,) = load_plant(plant(tmp_path, toml='business = "business.xlsx"')).business
    assert row.value == Decimal("0.3")


def test_an_attachment_is_known_by_its_hash(tmp_path):
    (tmp_path / "证明").mkdir()
    (tmp_path / "证明" / "年报.pdf").write_bytes(b"annual report")
    row = "2025,revenue,9800,万元,张三,2026-01-15,证明/年报.pdf"
    (made,) = load_plant(plant(tmp_path, row, head=f"{HEAD},attachment")).business
    assert (made.attachment, made.attachment_sha256) == ("证明/年报.pdf", hashlib.sha256(b"annual report").hexdigest())


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("none.pdf", "is missing"),
        ("../outside.pdf", "lies outside the plant's folder"),
        ("/outside.pdf", "lies outside the plant's folder"),
        ("link.pdf", "lies outside the plant's folder"),
        ("C:\\年报.pdf", "lies outside the plant's folder"),
        (".", "cannot be read"),
    ],
)
def test_an_attachment_that_is_not_a_file_of_the_plant_is_a_fault(tmp_path, name, rule):
    (tmp_path / "outside.pdf").touch()
    (tmp_path / "plant").mkdir()
    (tmp_path / "plant" / "link.pdf").symlink_to(tmp_path / "outside.pdf")
    row = f"2025,revenue,9800,万元,张三,2026-01-15,{name}"
    (fault,) = faults(plant(tmp_path / "plant", row, head=f"{HEAD},attachment"))
    assert fault.place == "business.csv:2 column attachment"
    assert fault.rule.startswith(rule)


@pytest.mark.parametrize("column", ["attachment_sha256", "source"])
def test_what_is_computed_of_a_row_cannot_be_written_into_the_table(tmp_path, column):
    (fault,) = faults(plant(tmp_path, "2025,revenue,1,元,张三,2026-01-15,x", head=f"{HEAD},{column}"))
    assert (fault.place, fault.value) == ("business.csv:1", column)


def test_the_first_of_a_month_is_a_day_where_days_stand_beside_it_or_where_it_is_written_as_a_range(tmp_path):
    rows = [f"2025/3/{n},revenue,1,元,张三,2026-01-15" for n in (1, 2)]
    assert len(load_plant(plant(tmp_path, *rows)).business) == 2
    assert load_plant(plant(tmp_path, "2025-03-01/2025-03-01,revenue,1,元,张三,2026-01-15")).business
    (fault,) = faults(plant(tmp_path, rows[0]))
    assert fault.hint == "write 2025年3月 for the month, or 2025-03-01/2025-03-01 for the day"


def test_every_measure_has_a_row_in_the_docs_with_its_names_and_units():
    (_, *rows), *_ = tables(section(DOCS / "registers.md", "Measures"))
    told = {row[0].strip("`"): tuple(row[1:]) for row in rows}
    units = {name: ", ".join(measure.units) for name, measure in MEASURES.items()}
    assert told == {name: ("、".join(m.names), m.unit, units[name]) for name, m in MEASURES.items()}


def database(folder: Path, *rows: tuple[object, ...], columns: str = "period, measure, value, unit, who") -> SqlSource:
    """Return a source on a real SQLite file with a table of declared values."""
    folder.mkdir(exist_ok=True)
    with sqlite3.connect(folder / "erp.db") as connection:
        connection.execute(f"CREATE TABLE declared ({columns})")
        connection.executemany(f"INSERT INTO declared VALUES ({', '.join('?' * len(rows[0]))})", rows)
    connection.close()
    return source(query=f"SELECT {columns.replace('who', 'who AS declared_by')} FROM declared")


def source(url: str = "sqlite:///erp.db", query: str = "SELECT 1", by: str = "") -> SqlSource:
    return SqlSource(id="erp", url=SecretStr(url), query=query, declared_by=by)


def test_a_business_system_gives_declared_values_that_name_it(tmp_path):
    rows = [(2025, "营业收入", 9800.1, "万元", "财务部"), ("2025-03", "staff", 120, "人", "人事部")]
    first, second = declared_of(database(tmp_path, *rows), tmp_path, today=dt.date(2026, 1, 20))
    assert (first.period, first.measure, first.value, first.unit) == ("2025", "revenue", Decimal("9800.1"), "万元")
    assert (first.declared_by, first.declared_at, first.source) == ("财务部", dt.date(2026, 1, 20), "erp")
    assert (second.period, second.value, second.source) == ("2025-03", 120, "erp")


def test_who_and_when_are_those_of_the_query_before_those_of_the_source(tmp_path):
    database(tmp_path, ("2025", "cost", "1", "元", None), ("2025", "revenue", "1", "元", "李四"))
    query = "SELECT period 期间, measure, value, unit, who 填报人, '2026/1/5' AS DECLARED_AT FROM declared"
    found = declared_of(source(query=query, by="财务部"), tmp_path)
    assert [(row.declared_by, row.declared_at) for row in found] == [
        ("财务部", dt.date(2026, 1, 5)), ("李四", dt.date(2026, 1, 5)),
    ]  # fmt: skip


def test_bad_rows_are_told_by_their_number_and_good_ones_kept(tmp_path):
    given = database(
        tmp_path,
        ("2025", "revenue", 9800, "万元", "财务部"),
        ("2025", "revenu", 9800, "万元", "财务部"),
        ("2025", "staff", 120, "万元", "人事部"),
        ("2025", "cost", None, "万元", "财务部"),
        ("2025", "operating_cost", -1, "万元", "财务部"),
        ("2025", "output_value", "12,5", "万元", "财务部"),
        ("2025年", "revenue", 9900, "万元", "财务部"),
        ("2025", "digital_investment", 5, "万元", ""),
        ("2025", "电力消费量", 5, "tce", "财务部"),
        ("2024", "revenue", 9000, "万元", "财务部"),
    )
    told: list[Fault] = []
    kept = declared_of(given, tmp_path, faults=told)
    assert [row.period for row in kept] == ["2025", "2024"]
    assert [(fault.place, fault.rule) for fault in told] == [
        ("business source erp: row 2 column measure", "is no measure"),
        ("business source erp: row 3 column unit", "is no unit of staff"),
        ("business source erp: row 4 column value", "is missing"),
        ("business source erp: row 5 column value", "is negative"),
        ("business source erp: row 6 column value", "can be read in two ways"),
        ("business source erp: row 8 column declared_by", "is missing: what is declared says who declares it"),
        ("business source erp: row 9 column factors",
         "is missing: tce depends on the coefficients that the amount was converted with"),
        ("business source erp: row 7 column period",
         "is declared twice: business source erp: row 1 has it for 2025"),
    ]  # fmt: skip
    assert all(fault.hint for fault in told)


def test_rows_that_are_left_out_are_logged_where_nobody_takes_them(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "plantproof.kpis"):
        assert declared_of(database(tmp_path, ("2025", "revenue", "?", "元", "财务部")), tmp_path) == []
    assert "business source erp: row 1 column value: revenue '?': is no number" in caplog.text


def test_what_business_csv_says_goes_before_a_business_system_and_the_clash_is_told(tmp_path):
    database(tmp_path, ("2025", "revenue", 9900, "万元", "财务部"), ("2025", "cost", 8000, "万元", "财务部"))
    toml = """[[business_source]]
    id = "erp"
    url = "sqlite:///erp.db"
    query = "SELECT period, measure, value, unit, who AS declared_by FROM declared"
    """
    loaded = load_plant(plant(tmp_path, "2025,revenue,9800,万元,张三,2026-01-15", toml=toml))
    told: list[Fault] = []
    found = declarations_of(loaded, told)
    assert (found.of("revenue", *Y2025).value, found.of("cost", *Y2025).rows[0].source) == (98_000_000, "erp")
    (fault,) = told
    assert fault.place == "business source erp: row 1 column period"
    assert fault.rule == "is declared twice: business.csv has it for 2025"


def test_a_database_is_never_written_and_never_made(tmp_path):
    database(tmp_path, ("2025", "revenue", 1, "元", "财务部"))
    before = (tmp_path / "erp.db").read_bytes()
    smuggled = source(query="SELECT 1").model_copy(update={"query": "UPDATE declared SET value = 2"})
    with pytest.raises(StoreError, match="attempt to write a readonly database"):
        declared_of(smuggled, tmp_path)
    assert (tmp_path / "erp.db").read_bytes() == before
    with pytest.raises(StoreError, match=r"none\.db is no file; write sqlite:///NAME\.db, from the plant's folder"):
        declared_of(source("sqlite:///none.db"), tmp_path)
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1",
        "select 'delete from x; drop y' as note;",
        "WITH t AS (SELECT 1) SELECT * FROM t",
        '/* DELETE */ SELECT updated_at, "update" FROM t -- ; drop',
        "SELECT REPLACE(unit, 'a', 'b') FROM t WHERE note LIKE '100%'",
    ],
)
def test_a_query_that_only_reads_is_taken(query):
    assert source(query=query).query == query


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        ("DELETE FROM declared", "is no SELECT"),
        ("PRAGMA user_version = 2", "is no SELECT"),
        ("", "at least 1 character"),
        ("-- SELECT\nDROP TABLE t", "is no SELECT"),
        ("SELECT 1; DROP TABLE t", "is more than one statement"),
        ("WITH t AS (DELETE FROM x RETURNING *) SELECT * FROM t", "has the word DELETE"),
        ("SELECT * INTO copy FROM declared", "has the word INTO"),
        ("SELECT * FROM declared FOR UPDATE", "has the word UPDATE"),
    ],
)
def test_a_query_that_could_write_is_refused(query, rule):
    with pytest.raises(ValidationError, match=rule):
        source(query=query)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT period, measure, value FROM declared", "column 'unit' is missing; name it in the query"),
        ("SELECT *, 1 AS valeu FROM declared", "column 'who' is unknown; remove it, or write one of period"),
        ("SELECT period, measure, value, unit, unit FROM declared", "column 'unit' stands twice"),
        ("SELECT * FROM undeclared", "cannot be read: no such table: undeclared; check url, query and the rights"),
    ],
)
def test_a_query_that_gives_no_declared_values_is_refused_with_what_is_wrong(tmp_path, query, told):
    database(tmp_path, ("2025", "revenue", 1, "元", "财务部"))
    with pytest.raises(StoreError) as caught:
        declared_of(source(query=query), tmp_path)
    assert str(caught.value).startswith(f"business source erp: {told}")


def test_without_sqlalchemy_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(StoreError, match=r"SQLAlchemy is not installed, .* pip install 'plantproof\[sql\]'"):
        declared_of(database(tmp_path, ("2025", "revenue", 1, "元", "财务部")), tmp_path)


def test_a_driver_or_a_kind_of_database_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"the driver oracledb of oracle\+oracledb is not installed; install it"):
        declared_of(source("oracle+oracledb://reader@127.0.0.1/erp"), tmp_path)
    for none in ("erp.db?password", "mysql://reader@127.0.0.1:port/erp"):
        with pytest.raises(StoreError, match="its url is none that SQLAlchemy knows; write such as mysql"):
            declared_of(source(none), tmp_path)
    with pytest.raises(StoreError, match="foxpro is no database that SQLAlchemy knows; write such as sqlite"):
        declared_of(source("foxpro://127.0.0.1/erp"), tmp_path)


def test_neither_the_agent_nor_a_plant_with_a_business_system_imports_sqlalchemy(tmp_path):
    toml = '[[business_source]]\nid = "erp"\nurl = "sqlite:///erp.db"\nquery = "SELECT 1"'
    code = (
        "import sys, collector.commands, kpis.commands, config.load; config.load.load_plant(sys.argv[1]); "
        "print('sqlalchemy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, plant(tmp_path, toml=toml)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


def business_source(folder: Path, url: str) -> Path:
    return plant(folder, toml=f'[[business_source]]\nid = "erp"\nurl = "{url}"\nquery = "SELECT 1"')


@pytest.mark.parametrize(
    "url",
    [
        "mysql+pymysql://reader:hunter2@10.0.0.5/erp",
        "mysql+pymysql://reader:hunter2/x@10.0.0.5/erp",
        "mssql+pymssql://10.0.0.5/erp?user=reader&password=hunter2",
        "mssql+pyodbc:///?odbc_connect=DRIVER=x;PWD=hunter2",
        "postgresql://:hunter2@10.0.0.5/erp",
    ],
)
def test_a_password_in_plain_text_in_a_database_s_url_is_a_fault_that_does_not_show_it(tmp_path, url):
    (fault,) = faults(business_source(tmp_path, url))
    assert (fault.place, fault.rule) == ("plant.toml:6: business_source[1].url", "has a password in plain text")
    assert "hunter2" not in f"{fault} {fault.value}"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///erp.db",
        "postgresql://reader@10.0.0.5:5432/erp",
        "mysql+pymysql://reader:${env:ERP_PASSWORD}@10.0.0.5/erp",
        "${file:secrets/erp-url}",
    ],
)
def test_a_url_without_a_password_or_with_one_that_is_looked_up_is_taken_and_never_shown(tmp_path, url, monkeypatch):
    monkeypatch.delenv("ERP_PASSWORD", raising=False)
    loaded = load_plant(business_source(tmp_path, url), secrets=True)  # an agent starts without the database's secrets
    assert loaded.business_sources[0].url.get_secret_value() == url
    assert url not in repr(loaded) + loaded.model_dump_json()


def test_a_secret_of_a_database_is_looked_up_when_it_is_read_and_told_where_it_is_missing(tmp_path, monkeypatch):
    given = database(tmp_path, ("2025", "revenue", 1, "元", "财务部"))
    by_file = given.model_copy(update={"url": SecretStr("${file:secrets/erp-url}")})
    with pytest.raises(StoreError, match=r"url \$\{file:secrets/erp-url\} cannot be read"):
        declared_of(by_file, tmp_path)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "erp-url").write_text("sqlite:///erp.db\n")
    assert len(declared_of(by_file, tmp_path)) == 1
    monkeypatch.setenv("ERP_NAME", "erp")
    by_part = given.model_copy(update={"url": SecretStr("sqlite:///${env:ERP_NAME}.db")})
    assert len(declared_of(by_part, tmp_path)) == 1


def test_a_url_that_is_none_and_two_sources_of_one_id_are_faults(tmp_path):
    table = '[[business_source]]\nid = "erp"\nurl = "erp.db"\nquery = "SELECT 1"\n'
    found = [f"{fault.place} {fault.rule}" for fault in faults(plant(tmp_path, toml=table * 2))]
    assert found == [
        "plant.toml: business_source stands 2 times",
        "plant.toml:6: business_source[1].url has no scheme",
        "plant.toml:10: business_source[2].url has no scheme",
    ]

"""The command `indicators`: files, comparisons, refusals and exit codes."""

import json
import sqlite3

import polars as pl
import pytest
import python_calamine
from click.testing import CliRunner

from config import exits
from plantproof import cli
from tests.assessed_plant import BUSINESS, write

YEAR = ("--from", "2025-01-01", "--to", "2026-01-01")
QUARTER = ("--from", "2025-04-01", "--to", "2025-07-01")


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    return write(tmp_path_factory.mktemp("assessed") / "plant")


def run(folder, *words, period=YEAR):
    words = ("indicators", folder, "--samples", folder / "samples.csv", *period, *words)
    result = CliRunner().invoke(cli, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def told(folder, *words, period=YEAR, code=exits.DONE):
    result = run(folder, *words, "--json", period=period)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def of(found, kpi, subject="works"):
    (one,) = [one for one in found["results"] if (one["kpi"], one["subject"]) == (kpi, subject)]
    return one


def test_the_plant_and_its_groups_are_told_and_single_devices_where_they_are_asked_for(plant):
    subjects = dict.fromkeys(one["subject"] for one in told(plant)["results"])
    assert list(subjects) == ["works", "line1", "line2"]  # what stands in group site does not count
    assert {one["subject"] for one in told(plant, "--asset", "line1/press1")["results"]} == {"line1/press1"}


def test_an_amount_says_on_whose_word_it_stands(plant):
    one = of(told(plant), "comprehensive_energy")
    assert (one["exact"]["value"], one["unit"]) == ("382919/1000", "tce")
    assert {(i["name"], i["origin"], i["declared_by"], i["declared_at"]) for i in one["inputs"]} == {
        ("consumption.electricity", "declared", "王能源", "2026-01-10"),
        ("consumption.blast_furnace_gas", "declared", "王能源", "2026-01-10"),
    }
    assert "declared" in one["flags"]


def test_a_missing_value_says_what_to_write_where(plant):
    one = of(told(plant), "energy_per_output_value")
    assert one["value"] is None
    assert one["missing"][0]["en"].startswith("output_value of 2025 is not declared; add a row to business.csv")
    assert one["missing"][0]["zh"].startswith("2025 期间的产值（output_value）未填报")


@pytest.mark.parametrize(
    ("words", "before"),
    [(("--compare", "year"), "2024-04-01T00:00:00+08:00"), (("--compare", "previous"), "2025-01-01T00:00:00+08:00")],
)
def test_a_period_is_compared_with_the_one_before_or_a_year_ago(plant, words, before):
    (one,) = [c for c in told(plant, "--asset", "works", *words, period=QUARTER)["comparisons"] if c["kpi"] == "oee"]
    assert one["before"]["start"] == before
    assert one["after"]["start"] == "2025-04-01T00:00:00+08:00"


def test_a_retrofit_is_compared_with_as_long_a_time_before_it(plant):
    found = told(plant, "--retrofit", "2025-04-01", period=("--from", "2025-01-01", "--to", "2025-05-01"))
    one = found["comparisons"][0]
    assert one["before"]["start"] == "2025-03-02T00:00:00+08:00"  # April has 30 days, and so have the days before it
    assert (one["after"]["start"], one["after"]["end"]) == ("2025-04-01T00:00:00+08:00", "2025-05-01T00:00:00+08:00")


def test_a_retrofit_after_the_period_is_refused(plant):
    result = run(plant, "--retrofit", "2026-03-01")
    assert result.exit_code == exits.USAGE
    assert "the period ends before the retrofit of 2026-03-01" in result.stderr


def test_a_workbook_has_figures_inputs_members_and_devices(plant, tmp_path):
    assert run(plant, "--out", tmp_path / "year.xlsx").exit_code == exits.DONE
    book = python_calamine.CalamineWorkbook.from_path(tmp_path / "year.xlsx")
    assert book.sheet_names == ["indicators", "inputs", "members", "devices"]
    devices = book.get_sheet_by_name("devices").to_python()
    assert [row[0] for row in devices[1:]][:2] == ["line1/press1", "line1/press2"]


def test_an_assessment_as_a_workbook_has_its_items_with_line_and_status(plant, tmp_path):
    out = tmp_path / "sme.xlsx"
    assert run(plant, "--rubric", "sme-2024", "--lang", "zh", "--out", out).exit_code == exits.DONE
    rows = python_calamine.CalamineWorkbook.from_path(out).get_sheet_by_name("sme-2024").to_python()
    (networking,) = [dict(zip(rows[0], row, strict=True)) for row in rows if row[0] == "q3"]
    assert (networking["原文行号"], networking["评定状态"], networking["得分"]) == (1323, "部分证实", 3)
    assert (networking["分子"], networking["分母"]) == (4, 10)


def test_the_items_of_several_rubrics_stand_in_one_csv(plant, tmp_path):
    out = tmp_path / "both.csv"
    asked = ("--rubric", "sme-2024", "--rubric", "jiangsu-index-2025")
    assert run(plant, *asked, "--out", out).exit_code == exits.DONE
    rows = pl.read_csv(out)
    assert rows.group_by("rubric").len().sort("rubric").rows() == [("jiangsu-index-2025", 10), ("sme-2024", 31)]


def test_a_rubric_of_a_part_of_the_plant_is_refused(plant):
    result = run(plant, "--rubric", "sme-2024", "--asset", "line1")
    assert result.exit_code == exits.USAGE
    assert "a rubric is of the whole plant; leave --asset out" in result.stderr


def test_devices_may_be_judged_by_the_time_since_they_were_connected(plant):
    # mill2 had one good day in 2025, the first of January: by that day alone it is networked.
    first = told(plant, "--devices-from", "2025-01-01", period=("--from", "2025-01-01", "--to", "2025-01-02"))
    assert of(first, "equipment_networking_rate")["numerator"] == 5
    late = told(plant, "--devices-from", "2025-12-01")
    networked, energy = of(late, "equipment_networking_rate"), of(late, "comprehensive_energy")
    assert networked["start"] == "2025-12-01T00:00:00+08:00"
    assert energy["start"] == "2025-01-01T00:00:00+08:00"
    assert networked["numerator"] == 4  # what mill2 said on that day is no evidence of December
    assert run(plant, "--devices-from", "2027-01-01").exit_code == exits.USAGE


def test_a_csv_opens_in_excel_and_another_ending_is_refused(plant, tmp_path):
    assert run(plant, "--out", tmp_path / "year.csv").exit_code == exits.DONE
    assert (tmp_path / "year.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    result = run(plant, "--out", tmp_path / "year.pdf")
    assert result.exit_code == exits.USAGE
    assert "'.pdf' is no known ending; write one of .json, .csv, .xlsx" in result.stderr


def test_a_share_above_1_is_refused_and_the_others_stand(tmp_path):
    rows = "2025,solid_waste_generated,10,t,王环保,2026-01-10,\n2025,solid_waste_used,12,t,王环保,2026-01-10,\n"
    rows += "2025,solid_waste_used_of_stock,0,t,王环保,2026-01-10,\n"
    folder = write(tmp_path / "plant", business=BUSINESS + rows)
    found = told(folder, code=exits.QUALITY)
    refused = of(found, "solid_waste_use_rate")
    assert refused["value"] is None
    assert "refused" in refused["flags"]
    assert "12000/10000 is no part of a whole" in refused["refused"]["en"]
    assert of(found, "revenue_per_head")["value"] == pytest.approx(12000 / 210)
    assert "不予采信：works 的一般固废综合利用率" in run(folder, "--lang", "zh").stdout


def test_a_denominator_of_0_is_refused(tmp_path):
    folder = write(tmp_path / "plant", business=BUSINESS.replace("2025,revenue,12000", "2025,revenue,0"))
    refused = of(told(folder, code=exits.QUALITY), "cost_per_100_yuan_revenue")
    assert refused["value"] is None
    assert "its denominator is 0" in refused["refused"]["en"]


@pytest.mark.parametrize(
    ("row", "told_of"),
    [
        ("2025,output_value,15000,万元,,2026-01-10,", "declared_by"),
        ("2025,output_value,15000,万元,张会计,,", "declared_at"),
        ("2025,consumption.electricity,381,tce,张会计,2026-01-10,", "factors"),
    ],
)
def test_a_declared_value_without_who_or_when_or_its_factor_set_is_refused_with_its_line(tmp_path, row, told_of):
    business = "\n".join(line for line in BUSINESS.splitlines() if not line.startswith("2025,consumption")) + "\n"
    folder = write(tmp_path / "plant", business=f"{business}{row}\n")
    result = CliRunner().invoke(cli, ["check", str(folder)])
    assert result.exit_code == exits.CONFIG
    assert "business.csv:10" in result.output
    assert told_of in result.output


def test_rows_of_a_database_enter_and_those_that_cannot_be_taken_are_told(tmp_path):
    folder = write(tmp_path / "plant")
    with sqlite3.connect(folder / "erp.db") as database:
        database.execute("CREATE TABLE sums (period, measure, value, unit)")
        rows = [("2025", "output_value", 15000, "万元"), ("2025", "operating_cost", -1, "万元")]
        database.executemany("INSERT INTO sums VALUES (?, ?, ?, ?)", rows)
    database.close()
    source = '\n[[business_source]]\nid = "erp"\nurl = "sqlite:///erp.db"\nquery = "SELECT * FROM sums"\n'
    with (folder / "plant.toml").open("a", encoding="utf-8") as file:
        file.write(source + 'declared_by = "ERP"\n')
    result = run(folder, "--json")
    assert result.exit_code == exits.QUALITY
    assert "business source erp: row 2 column value" in result.stderr
    one = of(json.loads(result.stdout), "labour_productivity")
    assert one["value"] == pytest.approx(15000 / 210)


def test_a_level_of_a_share_is_judged_on_exact_numbers_not_on_what_is_printed(plant):
    one = of(told(plant), "key_process_nc_rate")
    assert one["exact"]["value"] == "1/3"
    assert [member["id"] for member in one["members"] if member["met"]] == ["冲压"]


def test_rates_are_told_by_kind_of_device_where_it_is_asked_for(plant):
    found = told(plant, "--asset", "works", "--kinds")["kinds"]
    rates = {one["kind"]: (one["numerator"], one["denominator"]) for one in found if "networking" in one["kpi"]}
    assert rates == {"press": (3, 5), "mill": (1, 2), "saw": (0, 2), "oven": (0, 1)}


def test_the_energy_tables_have_the_columns_of_the_forms_in_their_order(plant, tmp_path):
    tables = told(plant, "--tables")["tables"]
    first = tables["205-1"]
    assert list(first[0])[:4] == ["甲 能源名称", "乙 计量单位", "丙 代码", "1 期初库存量"]
    assert [(row["甲 能源名称"], row["乙 计量单位"], row["5 工业生产消费"]) for row in first] == [
        ("高炉煤气", "万立方米", "1.5"),
        ("电力", "万千瓦时", "310"),
        ("能源合计", "吨标准煤", "382.919"),
    ]
    assert tables["205-2"] == []
    assert run(plant, "--tables", "--out", tmp_path / "year.xlsx").exit_code == exits.DONE
    assert "205-1" in python_calamine.CalamineWorkbook.from_path(tmp_path / "year.xlsx").sheet_names

"""CSV files of a package: what they say, and that a spreadsheet program takes text for text."""

import csv
import datetime as dt
import io
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpis.evidence.tables import csv_files
from kpis.spreadsheets.guarded_csv import csv_bytes, unguarded
from tests.assessed_plant import DAY, NETWORKED
from tests.stated import TWO_DAYS, contents_of, renamed

BOM = b"\xef\xbb\xbf"


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    return contents_of(tmp_path_factory.mktemp("assessed") / "plant")


@pytest.fixture(scope="module")
def two_days(tmp_path_factory):
    return contents_of(tmp_path_factory.mktemp("assessed") / "plant", TWO_DAYS)


@pytest.fixture(scope="module")
def files(contents):
    return csv_files(contents)


def rows(data):
    """Rows of a CSV as text, each by its column."""
    return list(csv.DictReader(io.StringIO(data.removeprefix(BOM).decode("utf-8"), newline="")))


def of(found, kpi, subject="works"):
    (one,) = [one for one in found if (one["kpi"], one["subject"]) == (kpi, subject)]
    return one


def test_a_package_has_five_csv_files_that_excel_takes_for_utf_8(files):
    assert list(files) == ["indicators.csv", "kpis.csv", "devices.csv", "gaps.csv", "partitions.csv"]
    assert all(data.startswith(BOM) for data in files.values())


def test_the_same_contents_give_the_same_bytes(files, contents):
    assert csv_files(contents) == files


def test_each_figure_stands_with_its_exact_numerator_and_denominator(files, contents):
    found = rows(files["indicators.csv"])
    assert len(found) == len(contents.figures) > 40
    for row, figure in zip(found, contents.figures, strict=True):
        told = {name: Fraction(unguarded(row[f"exact_{name}"])) if row[f"exact_{name}"] else None
                for name in ("value", "numerator", "denominator")}  # fmt: skip
        amount = figure.amount
        assert told == {"value": figure.value, "numerator": amount.numerator, "denominator": amount.denominator}
        assert (float(row["value"]) if row["value"] else None) == (figure.value and float(figure.value))


def test_a_third_is_no_date_and_a_number_stays_a_number(files):
    one = of(rows(files["indicators.csv"]), "key_process_nc_rate")
    assert (one["exact_value"], one["exact_numerator"], one["exact_denominator"]) == ("'1/3", "1", "3")
    assert float(one["value"]) == 1 / 3


def test_a_figure_says_in_words_what_it_is_computed_from(files):
    one = of(rows(files["indicators.csv"]), "comprehensive_energy")
    assert one["inputs"].split("\n") == [
        "高炉煤气消费量：15000 m3，填报，2025，王能源，2026-01-10",
        "电力消费量：3100000 kWh，填报，2025，王能源，2026-01-10",
    ]
    assert one["flags"] == "declared"


def test_kpis_of_every_subject_stand_with_their_chinese_names_and_the_plants_clock(files, contents):
    found = rows(files["kpis.csv"])
    assert len(found) == contents.kpis.height
    one = of(found, "oee", "line1")
    assert (one["title_zh"], one["start"]) == ("设备综合效率（OEE）", "2025-01-01T00:00:00+08:00")
    assert one["end"] == "2026-01-01T00:00:00+08:00"


def test_times_of_devices_stand_in_seconds_beside_exact_nanoseconds(files):
    found = {row["asset"]: row for row in rows(files["devices.csv"])}
    press, meter = found["line1/press1"], found["site/charger1"]
    assert (press["planned_ns"], press["planned_s"]) == (str(365 * DAY * 10**9), f"{365 * DAY}.0")
    assert (press["roles"], meter["counted"], meter["excluded"]) == ("state total good", "false", "非生产设备")
    assert [name for name, row in found.items() if row["evidenced"] == "true"] == list(NETWORKED)


def test_gaps_are_told_from_when_to_when_with_their_cause(files, contents):
    found = rows(files["gaps.csv"])
    assert len(found) == contents.traces.gaps.height
    one = next(row for row in found if row["asset"] == "line1/press4")
    assert (one["start"], one["end"]) == ("2025-01-01T00:00:00+08:00", "2026-01-01T00:00:00+08:00")
    assert (one["duration_s"], one["planned_ns"], one["cause"]) == (f"{365 * DAY}.0", str(365 * DAY * 10**9), "silent")


def test_hashes_stand_by_day_and_point(files, contents):
    first = rows(files["partitions.csv"])[0]
    assert list(first) == ["date", "point", "rows", "sha256"]
    assert dt.date.fromisoformat(first["date"]) == contents.traces.partitions["date"][0]


@pytest.mark.parametrize("name", ["=cmd|'/c calc'!A1", "+1", "@x", "-2+3", "\tx", "\rx", "\nx", " =1+1", "＝1", "'x"])
def test_a_name_that_begins_like_a_formula_is_guarded_and_comes_back(two_days, name):
    files = csv_files(renamed(two_days, name))
    told = next(row["name"] for row in rows(files["devices.csv"]) if row["asset"] == "line1/press1")
    assert told == f"'{name}"
    assert unguarded(told) == name


def test_a_negative_number_is_no_text():
    assert csv_bytes(pl.DataFrame({"n": [-0.5], "text": ["-0.5"]})) == BOM + b"n,text\n-0.5,'-0.5\n"


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")), min_size=1, max_size=5))
def test_whatever_a_text_is_it_comes_back_and_never_begins_a_formula(texts):
    data = csv_bytes(pl.DataFrame({"n": range(len(texts)), "text": texts}))
    told = [row["text"] for row in rows(data)]
    assert [unguarded(text) for text in told] == texts
    assert not any(text.lstrip().startswith(tuple("=+-@＝＋－＠")) for text in told)

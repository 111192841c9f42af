"""The tables of a plant: CSV and XLSX, encodings, and cells that no plant should have."""

import csv
import io
import shutil
import tempfile
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.faults import ConfigError, Fault
from config.load import load_plant
from config.tables import SYNONYMS, read_table
from kpis.evidence.configuration import config_files
from tests.test_config import STARTER, edited, faults, starter

POINTS = list(csv.reader((STARTER / "points.csv").read_text(encoding="utf-8-sig").splitlines()))
CORRUPT = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", " ", "nan", "-1", "0", "1e999", "12,5", '"', "line1/press1", "state", "energy.gas", "power.x"]
    ),
    st.sampled_from([cell for row in POINTS for cell in row]),
)


def error_of(folder: Path) -> tuple[Fault, ...] | None:
    """Return the faults of a plant, or None where it loads with every row; any other exception is a failure."""
    try:
        assert len(load_plant(folder).points) == len(POINTS) - 1
    except ConfigError as error:
        return error.faults
    return None


def csv_text(rows: list[list[str]]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue()


def write_xlsx(path: Path, rows: list[list[str]]) -> None:
    """Write the least that is a workbook: numbers as numbers, as Excel keeps them, all else as text."""
    lines = []
    for row in rows:
        cells = [
            f"<c><v>{cell}</v></c>"
            if cell.replace(".", "", 1).isdigit()
            else f'<c t="inlineStr"><is><t>{escape(cell)}</t></is></c>'
            for cell in row
        ]
        lines.append(f"<row>{''.join(cells)}</row>")
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    relation = f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{office}/%s" Target="%s"/>'
    types = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    with zipfile.ZipFile(path, "w") as book:
        book.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{types}.sheet.main+xml"/>'
            f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{types}.worksheet+xml"/></Types>',
        )
        book.writestr("_rels/.rels", relation % ("officeDocument", "xl/workbook.xml") + "</Relationships>")
        book.writestr(
            "xl/_rels/workbook.xml.rels", relation % ("worksheet", "worksheets/sheet1.xml") + "</Relationships>"
        )
        book.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="a" sheetId="1" r:id="r1"/></sheets>'
            "</workbook>",
        )
        book.writestr(
            "xl/worksheets/sheet1.xml",
            f'<worksheet xmlns="{main}"><sheetData>{"".join(lines)}</sheetData></worksheet>',
        )


def test_an_xlsx_gives_the_same_points_as_the_csv_and_counts_rows_as_excel_does(tmp_path):
    expected = load_plant(starter(tmp_path)).points
    edited(tmp_path, "plant.toml", '"points.csv"', '"points.xlsx"')
    (tmp_path / "points.csv").unlink()
    write_xlsx(tmp_path / "points.xlsx", POINTS)
    assert load_plant(tmp_path).points == expected
    broken = [row[:] for row in POINTS]
    broken[3][2] = "rejct"
    write_xlsx(tmp_path / "points.xlsx", broken)
    (fault,) = faults(tmp_path)
    assert fault.place == "points.xlsx:4 column role"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_register_reads_the_same_in_every_encoding_that_excel_saves(tmp_path, encoding):
    path = starter(tmp_path) / "assets.csv"
    path.write_text(path.read_text(encoding="utf-8-sig"), encoding=encoding)
    assert load_plant(tmp_path).assets[0].name == "1号冲压机"


def test_a_utf_16_table_is_a_fault_that_says_how_to_save_it(tmp_path):
    path = starter(tmp_path) / "points.csv"
    path.write_text(path.read_text(encoding="utf-8-sig"), encoding="utf-16")
    (fault,) = faults(tmp_path)
    assert (fault.place, "UTF-16" in fault.rule, "CSV UTF-8" in fault.hint) == ("points.csv", True, True)


def test_chinese_heads_name_the_same_columns(tmp_path):
    expected = load_plant(starter(tmp_path)).points
    chinese = {column: head for head, column in SYNONYMS.items()}
    head = [chinese.get(column, column) for column in POINTS[0]]
    (tmp_path / "points.csv").write_text(csv_text([head, *POINTS[1:]]), encoding="utf-8")
    assert head[:3] == ["点位", "设备", "角色"]
    assert load_plant(tmp_path).points == expected


def test_a_further_column_of_the_register_is_kept(tmp_path):
    path = starter(tmp_path) / "assets.csv"
    path.write_text("asset,厂商,ideal_cycle\nline1/press1,沈阳机床,12.5\n", encoding="utf-8")
    (tmp_path / "points.csv").write_text("point,asset\n")
    assert load_plant(tmp_path).assets[0].columns == {"厂商": "沈阳机床"}


def test_dates_and_times_as_excel_saves_them_are_read(tmp_path):
    path = starter(tmp_path) / "calendar.csv"
    path.write_text("date,shift,working,start,end\n2026/10/1,早班,yes,8:00,12:30\n", encoding="utf-8")
    (row,) = load_plant(tmp_path).calendars[0].exception_rows
    assert (row.date.isoformat(), str(row.start), str(row.end)) == ("2026-10-01", "08:00:00", "12:30:00")


def swapped(folder: Path, *rows: str, head: str = "point,at,last,first,note") -> Path:
    """Return the starter with a table of replaced counters and meters."""
    (starter(folder) / "swaps.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return folder


def test_a_table_of_swaps_is_read_where_it_is_there(tmp_path):
    plant = load_plant(
        swapped(tmp_path, "main.energy,2026-03-01T08:00:00+08:00,4711.5,0.2,新表", "press1.total,2026-03-02,,,")
    )
    meter, counter = plant.swaps
    assert (meter.point, meter.at.isoformat(), meter.last, meter.first, meter.note) == (
        "main.energy", "2026-03-01T08:00:00+08:00", 4711.5, 0.2, "新表",
    )  # fmt: skip
    assert (counter.at.isoformat(), counter.last, counter.first) == ("2026-03-02T00:00:00", None, 0.0)


@pytest.mark.parametrize(
    ("cell", "read"),
    [
        ("2026-03-01 08:00", "2026-03-01T08:00:00"),  # the plant's time
        ("2026/3/1 8:05", "2026-03-01T08:05:00"),  # as Excel saves it
        ("2026-03-01T00:00:00Z", "2026-03-01T00:00:00+00:00"),
        ("2026-03-01 08:00:30.5+08:00", "2026-03-01T08:00:30.500000+08:00"),
    ],
)
def test_the_time_of_a_swap_is_read_with_and_without_an_offset(tmp_path, cell, read):
    (swap,) = load_plant(swapped(tmp_path, f"main.energy,{cell},,,")).swaps
    assert swap.at.isoformat() == read


def test_chinese_heads_name_the_columns_of_swaps(tmp_path):
    plant = load_plant(
        swapped(tmp_path, "main.energy,2026-03-01 08:00,9,1,换表", head="点位,时间,旧表示数,新表示数,备注")
    )
    assert [(swap.point, swap.last, swap.first, swap.note) for swap in plant.swaps] == [("main.energy", 9, 1, "换表")]


def test_swaps_that_plant_toml_names_must_be_there(tmp_path):
    (fault,) = faults(edited(tmp_path, "plant.toml", '#   swaps = "swaps.csv"', 'swaps = "meters/swaps.csv"'))
    assert str(fault).startswith("meters/swaps.csv: file 'swaps.csv': cannot be read: No such file")


@pytest.mark.parametrize(
    ("row", "place", "told"),
    [
        ("main.enregy,2026-03-01,,,", "point", "is not in the point table; did you mean 'main.energy'?"),
        ("press1.state,2026-03-01,,,", "point", "is neither a counter nor a meter: its role is state; remove the row"),
        ("main.energy,yesterday,,,", "at", "is no date with a time of day; write such as 2026-03-01T08:00:00+08:00"),
        ("main.energy,20260301,,,", "at", "is no date with a time of day"),  # would be seconds since 1970
        ("main.energy,2026-02-30 08:00,,,", "at", "is no date with a time of day"),
        ("main.energy,,,,", "at", "is missing"),
        ("main.energy,2026-03-01,-1,,", "last", "must be 0.0 or more"),
        ("main.energy,2026-03-01,,-0.5,", "first", "must be 0.0 or more"),
        ("main.energy,2026-03-01,many,,", "last", "must be a number"),
        ("main.energy,2026-03-01,nan,,", "last", "must be a finite number"),
    ],
)
def test_a_faulty_swap_is_told_at_its_cell(tmp_path, row, place, told):
    (fault,) = faults(swapped(tmp_path, row))
    assert fault.place == f"swaps.csv:2 column {place}"
    assert told in str(fault)
    written = dict(zip(("point", "at", "last", "first"), row.split(","), strict=False))[place]
    assert str(fault.value) == written


def test_two_swaps_of_a_point_at_one_instant_are_a_fault_however_it_is_written(tmp_path):
    rows = ("main.energy,2026-03-01T08:00:00+08:00,,,", "main.energy,2026-03-01 08:00,,,")
    (fault,) = faults(swapped(tmp_path, *rows))
    assert (fault.place, fault.rule) == ("swaps.csv:3 column at", "stands twice")


def test_a_point_table_that_cannot_be_read_is_no_fault_of_the_swaps(tmp_path):
    (swapped(tmp_path, "main.energy,2026-03-01,,,") / "points.csv").unlink()
    (fault,) = faults(tmp_path)
    assert fault.place == "points.csv"


def test_an_evidence_package_holds_the_swaps_as_it_does_the_other_tables(tmp_path):
    assert "swaps.csv" not in config_files(starter(tmp_path))
    swapped(tmp_path, "main.energy,2026-03-01,,,")
    assert config_files(tmp_path)["swaps.csv"] == (tmp_path / "swaps.csv").read_bytes()


@pytest.mark.parametrize(
    ("file", "old", "new", "place"),
    [
        ("points.csv", "role", "rolle", "points.csv:1"),  # unknown column
        ("points.csv", "heartbeat", "role", "points.csv:1"),  # twice in the head
        ("points.csv", "point,asset", "note,asset", "points.csv:1"),  # no column point
        ("points.csv", "press2.state,", "press2.state,,", "points.csv:5"),  # a cell too many
        ("products.csv", "FL-200,line1/*,9.8", "FL-200,line1/*", "products.csv:3"),  # a cell too few
        ("products.csv", "FL-200", "BR-100", "products.csv:3 column product"),  # twice
        ("points.csv", "press2.state,", '"press2.state,', "points.csv:5"),  # the quote never ends
        ("points.csv", "0.01", "nan", "points.csv:7 column scale"),
        ("points.csv", "0.01", "0", "points.csv:7 column scale"),
        ("points.csv", "kWh", "kW", "points.csv:7 column unit"),
        ("points.csv", ",1 运行", "0,1 运行", "points.csv:2 column heartbeat"),  # no unit
        ("points.csv", "press2,state", "press1,state", "points.csv:5 column role"),  # two states of one asset
        ("points.csv", "line1/press2,total", "line1/press3,total", "points.csv:6 column asset"),
        ("assets.csv", "12.5", "inf", "assets.csv:2 column ideal_cycle"),
        ("calendar.csv", "2026-10-10,早班", "2026-10-01,", "calendar.csv:3 column date"),  # twice
        ("calendar.csv", "no,,", "no,8,", "calendar.csv:2 column start"),
    ],
)
def test_a_faulty_cell_row_or_head_is_told_at_its_line(tmp_path, file, old, new, place):
    assert faults(edited(tmp_path, file, old, new))[0].place == place


def test_a_doubled_id_names_both_lines(tmp_path):
    (fault,) = faults(edited(tmp_path, "points.csv", "press2.state", "press1.state"))[:1]
    assert fault.place.startswith("points.csv:5")
    assert "line 2" in fault.rule


def test_a_cell_in_a_column_without_a_head_is_a_fault_and_an_empty_column_is_none(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("a,,\n1,,\n\n2,,x\n")
    found = []
    rows = read_table(table, "t.csv", ("a",), found)
    assert [(row.line, row.cells) for row in rows] == [(2, {"a": "1"}), (4, {"a": "2"})]
    assert [(fault.place, fault.value) for fault in found] == [("t.csv:1", 3)]


@given(st.data(), CORRUPT)
@settings(max_examples=300, deadline=None)
def test_any_one_corrupt_cell_gives_a_plant_or_a_fault_that_names_its_line(data, cell):
    row = data.draw(st.integers(0, len(POINTS) - 1))
    column = data.draw(st.integers(0, len(POINTS[0]) - 1))
    rows = [cells[:] for cells in POINTS]
    rows[row][column] = cell
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(STARTER, folder, dirs_exist_ok=True)
        (Path(folder) / "points.csv").write_bytes(csv_text(rows).encode("utf-8", "surrogatepass"))
        error = error_of(Path(folder))
    if error is None:
        return
    # Of two rows that clash the later one is at fault, and its rule names the earlier by line or id.
    clash = any(f"line {row + 1} " in fault.rule or (row and f"from {rows[row][0]} " in fault.rule) for fault in error)
    assert f"points.csv:{row + 1}" in [fault.place.split(" ")[0] for fault in error] or clash, error

"""What forgers who know the builder tried: every file is consistent with every other, and one thing is not true."""

import datetime as dt
import errno
import io
import json
import re
import zipfile
from pathlib import Path

import click
import polars as pl
import pytest

from collector.backfill import import_file
from config.load import load_plant
from kpis.demand import intervals
from kpis.evidence import commands
from kpis.evidence.report import without_charts
from tests.reference_importer import reference_importer
from tests.test_evidence import MINUTE, PLANT, POINTS, START, built, checked, make_plant, sealed, unpacked

METER = "press.kwh,press,energy.electricity,,,10min\n"


def metered(folder: Path, plant: str = PLANT, start: int = START, minutes: int = 60) -> Path:
    """A press at 10 pieces a minute and 2 kWh a minute."""
    make_plant(folder, plant=plant, points=(POINTS + METER).replace("max_hold\n", "max_hold,unit\n").replace(
        "10min\n", "10min,\n").replace("electricity,,,10min,", "electricity,,,10min,kWh"))  # fmt: skip
    rows = ["ts,point,value"]
    for minute in range(minutes + 1):
        at = start + minute * MINUTE
        rows += [f"{at},press.state,1", f"{at},press.total,{10 * minute}", f"{at},press.kwh,{2 * minute}"]
    (folder / "rows.csv").write_text("\n".join(rows), encoding="utf-8")
    assert import_file(load_plant(folder), folder / "rows.csv")[1] == ()
    return folder


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> dict[str, bytes]:
    return unpacked(built(metered(tmp_path_factory.mktemp("works") / "plant")))


def faults(files: dict[str, bytes], **more: bytes) -> list[str]:
    return [fault.en for fault in checked(sealed(files | more)).faults]


def forged(files: dict[str, bytes], name: str, frame: pl.DataFrame) -> list[str]:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return faults(files | {name: buffer.getvalue()})


def parquet(files: dict[str, bytes], name: str) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(files[name]))


def test_the_package_that_is_forged_below_is_sound(package):
    assert faults(package) == []


@pytest.mark.parametrize(("starts", "ends"), [(-5, -5), (0, 5), (-5, 0)])
def test_pieces_of_another_hour_than_the_periods_are_no_fact_of_it(package, starts, ends):
    """Such a row has no time, so that the calendar does not miss it, and lies in no hour that samples are inside of."""
    facts = parquet(package, "data/facts.parquet")
    times = [name for name, kind in facts.schema.items() if kind == pl.Duration("ns")]
    row = facts.head(1).with_columns(pl.lit(0).cast(pl.Duration("ns")).alias(name) for name in times)
    row = row.with_columns(pl.col("start").dt.offset_by(f"{starts}h"), pl.col("end").dt.offset_by(f"{ends}h"))
    told = forged(package, "data/facts.parquet", pl.concat([facts, row]))
    assert any("rows lie outside their hour of the period" in fault for fault in told)


def test_time_that_is_taken_from_one_element_below_zero_is_caught(package):
    facts = parquet(package, "data/facts.parquet")
    more = pl.duration(hours=1, time_unit="ns")
    told = forged(
        package, "data/facts.parquet", facts.with_columns(pl.col("production") + more, pl.col("delay") - more)
    )
    assert any("negative times" in fault for fault in told)


def test_a_demand_interval_that_reaches_out_of_the_period_is_caught(package):
    """Minus 50 kWh in it would lower the consumption of the period."""
    demand = parquet(package, "data/demand.parquet")
    row = demand.head(1).with_columns(pl.col("interval") * 1000, quantity=pl.lit(-50_000_000, pl.Int64))
    told = forged(package, "data/demand.parquet", pl.concat([demand, row]))
    assert "data/demand.parquet: has 5 rows, which are not the 4 demand intervals of the meters inside" in told


@pytest.mark.parametrize("name", ["partitions", "shifts"])
def test_a_column_that_nobody_reads_is_named(package, name):
    frame = parquet(package, f"data/{name}.parquet").with_columns(certified=pl.lit("yes"))
    assert any("further columns: certified" in fault for fault in forged(package, f"data/{name}.parquet", frame))


def test_hashes_of_a_day_outside_the_period_are_caught(package):
    """They would move the choice of the day that samples are inside of."""
    stated = parquet(package, "data/partitions.parquet")
    earlier = stated.with_columns(pl.col("date").dt.offset_by("-40d"))
    told = forged(package, "data/partitions.parquet", pl.concat([earlier, stated]))
    assert any("each point and day of the period once" in fault for fault in told)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (rb'"value": (1\.0)', b'"value": 9.9, "value": 1.0'),  # one reader takes the first, another the last
        (rb'"value": (1\.0)', b'"value": 1e400'),  # infinite: within any share of itself
        (rb'"value": (1\.0)', b'"value": Infinity'),
        (rb"^", b"\xef\xbb\xbf"),
        (rb"\n", b"\r\n"),
    ],
)
def test_json_that_can_be_read_in_two_ways_is_caught(package, old, new):
    changed = re.sub(old, new, package["indicators.json"], count=1)
    assert changed != package["indicators.json"]
    assert any(fault.startswith("indicators.json: ") for fault in faults(package, **{"indicators.json": changed}))


def with_another_value(text: str) -> str:
    """A column `value` in front of that which is compared."""
    head, *rows = text.splitlines()
    return "\n".join([f"value,{head}", *(f"0.99,{row}" for row in rows)]) + "\n"


@pytest.mark.parametrize(
    "change",
    [
        with_another_value,
        lambda text: text.removeprefix("\ufeff"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: re.sub(r"(?<=,)\d+\.\d+(?=,)", "inf", text, count=1),
        lambda text: re.sub(r"(?<=,)(\d+\.\d+)(?=,)", r"+\1", text, count=1),
    ],
)
def test_a_table_that_can_be_read_in_two_ways_is_caught(package, change):
    text = package["kpis.csv"].decode()
    assert change(text) != text
    assert any(fault.startswith("kpis.csv: ") for fault in faults(package, **{"kpis.csv": change(text).encode()}))


def described(files: dict[str, bytes], **about: object) -> list[str]:
    descriptor = json.loads(files["datapackage.json"])
    descriptor["plantproof"] |= about
    return faults(files | {"datapackage.json": json.dumps(descriptor, ensure_ascii=False, indent=1).encode()})


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"certified": "by an expert"}, "certified is nothing that a package says of itself"),
        ({"revision": 999}, "revision 999 replaces None"),
        ({"revision": -1}, "revision -1 replaces None"),
        ({"replaces": "0" * 64}, "revision 1 replaces"),
        ({"revision": 2, "replaces": "none"}, "no SHA-256"),
        ({"store": "audited SCADA"}, "samples come from lake or influxdb"),
        ({"versions": {"plantproof": {"a": 1}}}, "versions are"),
    ],
)
def test_a_descriptor_that_says_what_no_builder_says_is_caught(package, about, told):
    assert any(told in fault for fault in described(package, **about))


def rewritten(workbook: bytes, part: str, old: bytes, new: bytes, compresslevel: int = 9) -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(workbook)) as whole,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=compresslevel) as again,
    ):
        for entry in whole.infolist():
            data = whole.read(entry)
            told = data.replace(old, new, 1) if entry.filename == part else data
            again.writestr(entry.filename, told)
        if part not in whole.namelist():
            again.writestr(part, new)
    return buffer.getvalue()


def test_a_workbook_that_shows_other_than_its_cells_hold_is_caught(package):
    changes = {
        "xl/styles.xml": (b"0.00%", b"&quot;99.99%&quot;"),  # each share shows 99.99%
        "xl/workbook.xml": (b"<sheet ", b'<sheet state="hidden" '),
        "xl/worksheets/sheet2.xml": (b"<row ", b'<row hidden="1" '),
        "xl/vbaProject.bin": (b"", b"a macro"),
    }
    changed = package["workbook.xlsx"]
    for part, (old, new) in changes.items():
        changed = rewritten(changed, part, old, new)
    told = faults(package, **{"workbook.xlsx": changed})
    assert [part for part in changes if not any(f"workbook.xlsx: {part} is not" in one for one in told)] == []


def test_a_workbook_that_another_library_compressed_is_the_same(package):
    changed = rewritten(package["workbook.xlsx"], "xl/workbook.xml", b"<", b"<", compresslevel=1)
    assert changed != package["workbook.xlsx"]
    assert not any(
        "workbook" in fault for fault in faults(package, **{"workbook.xlsx": changed}) if "prov" not in fault
    )


DRAWING = '<svg id="c1" width="9" height="9"><title>load</title><g><text>1</text></g></svg>'


def test_a_drawing_is_taken_out():
    assert without_charts(f"<p>{DRAWING}</p>".encode()) == b"<p><!--drawing 1--></p>"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<g>", "<g><!-- "),  # hides the page up to the next drawing
        ("</title>", ""),  # hides the page up to its end
        ("</title>", "<title/></title>"),
        ("<svg ", '<svg overflow="visible" '),  # paints over the words around it
        ("<svg ", '<svg transform="translate(0,-300)" '),
        ("<svg ", '<svg class="cover" '),
        ("<text>", '<text onclick="x()">'),
        ("<g>", "<g><a/>"),
    ],
)
def test_a_drawing_that_could_hide_words_of_the_page_is_left_to_be_seen(old, new):
    page = f"<p>{DRAWING.replace(old, new, 1)}</p>".encode()
    assert without_charts(page) == page


def test_a_report_whose_drawings_were_taken_out_is_caught(package):
    assert "report.html: drawings are missing" in faults(
        package, **{"report.html": without_charts(package["report.html"])}
    )


def test_a_plant_in_india_whose_hours_are_no_hours_of_utc_has_a_package_that_verifies(tmp_path):
    """UTC midnight, 05:30 by the plant's clock, lies in an hour."""
    plant = PLANT.replace("Asia/Shanghai", "Asia/Kolkata")
    start = 1_763_593_200_000_000_000  # 2025-11-20T04:30:00+05:30
    folder = metered(tmp_path / "plant", plant, start, 120)
    data = built(folder, start + 120 * MINUTE, period=(start, start + 120 * MINUTE))
    assert checked(data, folder / "lake").faults == []


def test_a_year_has_each_of_its_demand_intervals(tmp_path):
    plant = load_plant(make_plant(tmp_path / "plant"))
    start = int(dt.datetime(2025, 1, 1, tzinfo=plant.zone).timestamp()) * 10**9
    year = 365 * 24 * 60 * MINUTE
    assert len(intervals(plant, start, start + year)) == 365 * 96 + 1
    assert intervals(plant, start, start + year)[-1] == start + year
    assert len(intervals(plant, start + 1, start + 2)) == 0


def test_a_package_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(_: Path, __: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(click.ClickException, match="No space left on device"):
        commands._write(b"a package", tmp_path / "2025.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def importer():
    with reference_importer() as module:
        yield module


FIGURE = {
    "value": 0.5, "numerator": 1.0, "denominator": 2.0, "missing": [], "refused": None,
    "exact": {"value": "1/2", "numerator": "1", "denominator": "2"}, "inputs": [{"origin": "register"}],
    "members": [{"id": "a", "counted": True, "met": True}, {"id": "b", "counted": True, "met": False}],
}  # fmt: skip
A, B = FIGURE["members"]
NONE = {"numerator": 0.0, "denominator": 0.0, "exact": {"value": "1/2", "numerator": "0", "denominator": "0"}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, ""),
        ({**NONE, "members": []}, "1/2 is not 0/0"),
        ({"members": [A, A]}, "lists a member twice"),
        ({"members": [A, {**B, "met": 0}]}, "lists a member that is neither"),
        ({"members": [A, {**B, "counted": "false"}]}, "lists a member that is neither"),
    ],
)
def test_the_importer_refuses_a_figure_that_its_members_do_not_give(importer, change, told):
    figure = FIGURE | change
    found = importer.member_fault(figure["members"]) or importer.fault_of(figure)
    assert found.startswith(told) if told else not found


def test_the_importer_refuses_a_number_that_is_infinite(importer):
    with pytest.raises(importer.RefusedError, match="1e400 is no number"):
        importer.read_json(b'{"coverage": 1e400}', "indicators.json")

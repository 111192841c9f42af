"""The commands: figures from a file, exports, exit codes, and what each says where it cannot."""

import datetime as dt
import json
import subprocess
import sys

import click
import polars as pl
import pytest
import python_calamine
from click.testing import CliRunner

from collector.ledger import Ledger
from collector.spool import Spool
from config import exits
from config.load import load_plant
from config.schema import RESULT
from plantproof import COMMANDS, cli

START = 1_763_596_800_000_000_000  # 2025-11-20T08:00:00+08:00
MINUTE = 60_000_000_000
PERIOD = ("--from", "2025-11-20T08:00:00+08:00", "--to", "2025-11-20T10:00:00+08:00")
DAY = ("--from", "2025-11-20", "--to", "2025-11-21")

PLANT = """version = 1
[plant]
id = "works"
timezone = "Asia/Shanghai"
day_start = 08:00:00
[[calendar]]
shifts = [{ name = "早班", start = 08:00:00, end = 16:00:00 }, { name = "中班", start = 16:00:00, end = 00:00:00 }]
[spool]
path = "spool"
[[sink]]
kind = "parquet"
path = "lake"
"""
ASSETS = "asset,name,ideal_cycle\nline1/a,一号机,2\nline1/b,二号机,2\nline2/c,三号机,2\n"


def make_plant(folder):
    """Three machines with two shifts, without samples."""
    folder.mkdir()
    (folder / "plant.toml").write_text(PLANT, encoding="utf-8")
    (folder / "assets.csv").write_text(ASSETS, encoding="utf-8")
    roles = ("state", "total", "good")
    points = [f"{a[-1]}.{role},{a},{role},10min" for a in ("line1/a", "line1/b", "line2/c") for role in roles]
    (folder / "points.csv").write_text("\n".join(("point,asset,role,max_hold", *points)), encoding="utf-8")
    return folder


@pytest.fixture
def plant(tmp_path):
    return make_plant(tmp_path / "plant")


def hours(minutes=120, *, scale=None, skip=()):
    """Two hours of all machines, 5 pieces a minute (times `scale`), of which 4 are good; a runs, b stops at half."""
    scale = scale or {"a": 1, "b": 2, "c": 3}
    for minute in range(minutes + 1):
        at = START + minute * MINUTE
        for machine, times in scale.items():
            state = 1 if machine != "b" or minute < minutes // 2 else 3
            for role, value in (("state", state), ("total", 5 * times * minute), ("good", 4 * times * minute)):
                if role not in skip:
                    yield f"{at},{machine}.{role},{value}"


@pytest.fixture
def samples(tmp_path):
    return written(tmp_path, *hours())


def written(folder, *lines, name="day.csv"):
    (folder / name).write_text("\n".join(("ts,point,value", *lines, "")), encoding="utf-8")
    return folder / name


def run(*words):
    result = CliRunner().invoke(cli, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def kpi(plant, samples, *words, code=exits.DONE):
    result = run("kpi", plant, "--samples", samples, "--json", *words)
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


def value(rows, name, subject, period="total"):
    (found,) = [r["value"] for r in rows if (r["kpi"], r["subject"], r["period"]) == (name, subject, period)]
    return found


def test_a_groups_and_the_plants_figures_are_those_of_sums(plant, samples):
    rows = kpi(plant, samples, *PERIOD)
    made = [value(rows, "produced_quantity", s) for s in ("line1/a", "line1/b", "line2/c", "line1", "line2", "works")]
    assert made == [600, 1200, 1800, 1800, 1800, 3600]
    available = [value(rows, "availability", s) for s in ("line1/a", "line1/b", "line1", "works")]
    assert available == pytest.approx([1, 0.5, 0.75, 2.5 / 3])
    assert value(rows, "quality_ratio", "works") == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("by", "parts"),
    [
        ("total", {"total": 3600}),
        ("day", {"2025-11-20": 3600}),
        ("shift", {"2025-11-20 早班": 3600}),
        ("hour", {"2025-11-20T08:00+08:00": 1800, "2025-11-20T09:00+08:00": 1800}),
    ],
)
def test_the_parts_of_a_period_add_up_to_it(plant, samples, by, parts):
    rows = kpi(plant, samples, *PERIOD, "--by", by, "--asset", "works")
    assert {r["period"]: r["value"] for r in rows if r["kpi"] == "produced_quantity"} == parts


def test_a_result_has_every_column_of_the_schema_and_the_plants_offset(plant, samples):
    rows = kpi(plant, samples, *PERIOD, "--asset", "line1/a")
    assert all(list(row) == list(RESULT) for row in rows)
    assert {row["start"] for row in rows} == {"2025-11-20T08:00:00+08:00"}
    assert all(dt.datetime.fromisoformat(row["end"]).utcoffset() == dt.timedelta(hours=8) for row in rows)


def test_only_the_subjects_that_are_asked_for_are_computed_in_their_order(plant, samples):
    rows = kpi(plant, samples, *PERIOD, "--asset", "line2", "--asset", "line1/b")
    assert list(dict.fromkeys(row["subject"] for row in rows)) == ["line2", "line1/b"]


def test_without_a_period_it_is_that_of_the_samples(plant, samples):
    assert kpi(plant, samples) == kpi(plant, samples, *PERIOD)


def test_exports_hold_the_same_rows_in_every_format(plant, samples, tmp_path):
    rows = kpi(plant, samples, *PERIOD)
    for ending in ("json", "csv", "parquet"):
        out = tmp_path / f"kpi.{ending}"
        result = run("kpi", plant, "--samples", samples, *PERIOD, "--out", out)
        assert result.exit_code == exits.DONE
        assert result.stdout == ""
        assert f"{len(rows)} rows in {out}" in result.stderr
    assert json.loads((tmp_path / "kpi.json").read_text(encoding="utf-8")) == rows
    assert (tmp_path / "kpi.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    for table in (pl.read_csv(tmp_path / "kpi.csv"), pl.read_parquet(tmp_path / "kpi.parquet")):
        assert table.columns == list(RESULT)
        assert table["kpi"].to_list() == [row["kpi"] for row in rows]
        assert table["value"].to_list() == pytest.approx([row["value"] for row in rows])
    assert pl.read_parquet(tmp_path / "kpi.parquet").schema == pl.Schema(RESULT)


def test_an_excel_export_holds_the_same_rows(plant, samples, tmp_path):
    pytest.importorskip("xlsxwriter", reason="the extra kpi")
    rows = kpi(plant, samples, *PERIOD)
    assert run("kpi", plant, "--samples", samples, *PERIOD, "--out", tmp_path / "kpi.xlsx").exit_code == exits.DONE
    with python_calamine.CalamineWorkbook.from_path(str(tmp_path / "kpi.xlsx")) as book:
        head, *cells = book.get_sheet_by_name("KPI").to_python()
    assert head == list(RESULT)
    assert [row[0] for row in cells] == [row["kpi"] for row in rows]
    empty = "" if any(row["value"] is None for row in rows) else None  # a cell of nothing
    assert [row[head.index("value")] for row in cells] == [
        empty if row["value"] is None else pytest.approx(row["value"]) for row in rows
    ]


def test_an_excel_export_without_its_extra_says_what_to_install(plant, samples, tmp_path):
    hidden = "import sys; sys.modules['xlsxwriter'] = None; from plantproof import main; main()"
    command = [sys.executable, "-c", hidden, "kpi", plant, "--samples", samples, "--out", tmp_path / "kpi.xlsx"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == exits.UNEXPECTED
    assert 'pip install "plantproof[kpi]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_an_export_with_another_ending_is_refused_with_the_endings_there_are(plant, samples, tmp_path):
    result = run("kpi", plant, "--samples", samples, "--out", tmp_path / "kpi.docx")
    assert result.exit_code == exits.USAGE
    assert ".json, .csv, .xlsx or .parquet" in result.stderr


@pytest.mark.parametrize("ending", ["json", "csv", "parquet"])
def test_an_export_into_a_folder_that_is_not_there_is_told(plant, samples, tmp_path, ending):
    result = run("kpi", plant, "--samples", samples, "--out", tmp_path / "none" / f"kpi.{ending}")
    assert result.exit_code == exits.UNEXPECTED
    assert "cannot be written" in result.stderr


@pytest.mark.parametrize("verb", ["kpi", "indicators"])
def test_an_unknown_asset_is_refused_with_those_there_are(plant, samples, verb):
    result = run(verb, plant, "--samples", samples, "--asset", "line3")
    assert result.exit_code == exits.USAGE
    assert "'line3' is neither an asset, nor a group, nor the plant" in result.stderr
    assert "line1/a" in result.stderr


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        ("2025-11-21", "2025-11-20", "not after it starts"),
        ("2025-11-20", "2025-11-20", "not after it starts"),
        ("2025-11-20T08:00:00", "2025-11-21", "has no offset"),
        ("yesterday", "2025-11-21", "no date and no instant"),
        ("2025-11-31", "2025-12-01", "no date and no instant"),
        ("0001-01-01", "2025-11-21", "not in the years"),
        ("2025-11-20", "9999-12-31", "not in the years"),
        ("1600-01-01", "1600-01-02", "not in the years"),
        ("2025-11-20", "2300-01-01T00:00:00Z", "not in the years"),
        ("2025-11-20", "2100-01-01", "some 74 years long, 20 are the most"),
    ],
)
def test_a_period_that_makes_no_sense_is_refused_with_the_reason(plant, samples, start, end, told):
    result = run("kpi", plant, "--samples", samples, "--from", start, "--to", end)
    assert result.exit_code == exits.USAGE
    assert told in result.stderr


def test_an_empty_samples_file_needs_a_period_and_then_gives_unknown_time(plant, tmp_path):
    empty = written(tmp_path)
    result = run("kpi", plant, "--samples", empty)
    assert result.exit_code == exits.USAGE
    assert "name the period with --from and --to" in result.stderr
    rows = kpi(plant, empty, *PERIOD, code=exits.QUALITY)
    assert value(rows, "availability", "line1/a") is None
    assert {r["coverage"] for r in rows if r["kpi"] == "availability"} == {0.0}


def test_a_window_without_samples_gives_unknown_time_and_no_pieces_and_says_so_and_exits_3(plant, samples):
    empty = ("--from", "2025-11-24", "--to", "2025-11-25", "--asset", "works")
    rows = kpi(plant, samples, *empty, code=exits.QUALITY)
    assert "nothing is known of this period" in run("kpi", plant, "--samples", samples, *empty).stderr
    assert value(rows, "availability", "works") is None
    assert {r["coverage"] for r in rows if r["kpi"] == "availability"} == {0.0}
    assert value(rows, "produced_quantity", "works") in (None, 0)


def test_samples_of_unknown_points_and_lines_that_cannot_be_read_are_named_on_stderr(plant, tmp_path):
    file = written(tmp_path, *hours(), f"{START},ghost,1", f"{START + 1},ghost,1", "soon,a.state,1")
    result = run("kpi", plant, "--samples", file, "--json", *PERIOD)
    assert "left out: 2 rows of point 'ghost', which points.csv does not name" in result.stderr
    assert "left out: day.csv:1093: ts soon" in result.stderr
    assert json.loads(result.stdout) == kpi(plant, written(tmp_path, *hours(), name="clean.csv"), *PERIOD)


def test_a_samples_file_that_is_no_table_is_told_without_a_traceback(plant, tmp_path):
    (tmp_path / "bad.csv").write_text("time;value\n")
    result = run("kpi", plant, "--samples", tmp_path / "bad.csv")
    assert result.exit_code == exits.UNEXPECTED
    assert "column ts, point, value is missing" in result.stderr


def test_a_reset_counter_is_flagged_and_exits_3(plant, tmp_path):
    lines = [line for line in hours() if ",a.total," not in line]
    lines += [f"{START + minute * MINUTE},a.total,{5 * (minute % 60)}" for minute in range(121)]
    rows = kpi(plant, written(tmp_path, *lines), *PERIOD, code=exits.QUALITY)
    flagged = {r["subject"] for r in rows if r["kpi"] == "produced_quantity" and "reset" in r["flags"]}
    assert flagged == {"line1/a", "line1", "works"}


def test_a_table_for_the_terminal_shows_value_n_of_n_and_coverage(plant, samples):
    result = run("kpi", plant, "--samples", samples, *PERIOD, "--asset", "line1/b")
    assert result.exit_code == exits.DONE
    (line,) = [line for line in result.stdout.splitlines() if " availability " in line]
    assert "50.00%" in line
    assert "100.0%" in line


def test_the_indicators_list_the_devices_behind_the_rate(plant, samples):
    result = run("indicators", plant, "--samples", samples, "--json", *PERIOD)
    assert result.exit_code == exits.DONE
    told = json.loads(result.stdout)
    rate = {r["subject"]: r["value"] for r in told["results"] if r["kpi"] == "equipment_networking_rate"}
    assert rate["works"] == 1.0
    assert [d["asset"] for d in told["devices"]] == ["line1/a", "line1/b", "line2/c"]
    assert "line2/c" in run("indicators", plant, "--samples", samples, *PERIOD).stdout


def test_the_same_file_imported_twice_is_in_the_lake_once(plant, samples):
    first = run("import", plant, samples)
    assert first.exit_code == exits.DONE
    assert "1089 rows imported" in first.stderr
    lake = {file: file.read_bytes() for file in (plant / "lake/samples").rglob("*.parquet")}
    before = run("kpi", plant, "--json", *PERIOD).stdout
    assert run("import", plant, samples).exit_code == exits.DONE
    assert {file: file.read_bytes() for file in (plant / "lake/samples").rglob("*.parquet")} == lake
    assert run("kpi", plant, "--json", *PERIOD).stdout == before
    assert json.loads(before) == kpi(plant, samples, *PERIOD)


def test_an_import_that_leaves_lines_out_names_them_and_exits_3(plant, tmp_path):
    result = run("import", plant, written(tmp_path, f"{START},a.state,1", "soon,a.state,1", f"{START},ghost,1"))
    assert result.exit_code == exits.QUALITY
    assert "left out: day.csv:3: ts soon" in result.stderr
    assert "left out: 1 rows of point 'ghost'" in result.stderr
    assert "1 rows imported" in result.stderr


@pytest.mark.parametrize("verb", ["kpi", "indicators"])
def test_a_lake_without_samples_or_that_cannot_be_read_is_told_without_a_traceback(plant, samples, verb):
    result = run(verb, plant, *DAY)
    assert result.exit_code == exits.UNEXPECTED
    assert "holds no samples of this plant" in result.stderr
    run("import", plant, samples)
    for file in (plant / "lake/samples").rglob("*.parquet"):
        file.write_bytes(b"PAR1")
    result = run(verb, plant, *DAY)
    assert result.exit_code == exits.UNEXPECTED
    assert "restore the file from a copy" in result.stderr


def test_the_status_of_a_plant_whose_agent_never_ran_is_69(plant):
    result = run("status", plant)
    assert result.exit_code == exits.UNREACHABLE == 69
    assert "plantproof run" in result.stderr


def report(plant, updated):
    """A report as a healthy agent writes it, made at `updated`."""
    (plant / "spool").mkdir()
    told = {"healthy": True, "agent": "gw1", "plant": "works", "updated": updated.isoformat()}
    told |= {"sources": {}, "sinks": {}, "spool": {"bytes": 0, "last": 0}, "ledger": {}}
    (plant / "spool" / "status.json").write_text(json.dumps(told))


def fresh():
    """When a report was written that is fresh for as long as a slow machine takes to read it."""
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=4)


@pytest.mark.parametrize("minutes", [-5, 5])
def test_a_stale_report_is_not_healthy_whatever_it_says_and_exits_3(plant, minutes):
    """One of a time to come is as old: the clock was set back, and no agent has written since."""
    report(plant, dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes))
    result = run("status", plant)
    assert result.exit_code == exits.QUALITY == 3
    assert "no sign of life" in result.stdout
    assert json.loads(run("status", plant, "--json").stdout)["healthy"] is False


def test_a_fresh_report_of_a_healthy_agent_exits_0(plant):
    report(plant, fresh())
    result = run("status", plant)
    assert result.exit_code == exits.DONE
    assert "agent gw1 of works: healthy" in result.stdout


def test_status_says_how_many_rows_of_which_sinks_a_full_spool_cost(plant):
    report(plant, fresh())
    facts = {"first": 1, "last": 108, "rows": 139, "sinks": ["influxdb"]}
    Ledger(plant / "spool" / "ledger.jsonl").add("dropped", "spool full, oldest dropped", **facts)
    assert "dropped: spool full, oldest dropped (139 rows, influxdb)" in run("status", plant).stdout


def test_one_fault_that_came_into_the_files_is_told_as_one(plant):
    report(plant, fresh())
    file = plant / "points.csv"
    file.write_text(file.read_text("utf-8").replace("a.state,line1/a", "a.state,line9/a"), "utf-8")
    result = run("status", plant)
    assert "1 fault in the configuration by now" in result.stderr
    assert result.exit_code == exits.DONE  # the agent goes on with what it has


def test_spool_verify_counts_whole_batches_and_exits_4_where_one_is_damaged(plant):
    config = load_plant(plant).spool
    spool = Spool(plant / config.path)
    for n in range(3):
        spool.put(f"batch {n}".encode() * 50, rows=1)
    spool.close()
    good = run("spool", "verify", plant)
    assert "3 batches whole, 0 damaged" in good.stdout
    assert good.exit_code == exits.DONE
    (segment,) = (plant / "spool").glob("segment-*")
    data = segment.read_bytes()
    at = data.index(b"batch 1batch 1")
    segment.write_bytes(data[:at] + b"BATCH" + data[at + 5 :])
    bad = run("spool", "verify", plant)
    assert "2 batches whole, 1 damaged" in bad.stdout
    assert bad.exit_code == exits.VERIFY == 4


def verbs():
    """Every verb, and those below a group."""
    context = click.Context(cli)
    for name in COMMANDS:
        yield (name,)
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            yield from ((name, below) for below in command.commands)


@pytest.mark.parametrize("words", list(verbs()), ids=" ".join)
def test_every_verb_explains_itself_with_an_example(words):
    result = run(*words, "--help")
    assert result.exit_code == exits.DONE
    assert "Usage: " in result.stdout
    below = cli.get_command(click.Context(cli), words[0])
    if not (len(words) == 1 and isinstance(below, click.Group)):
        assert "Example" in result.stdout


def test_the_command_alone_lists_every_verb():
    listed = run("--help").stdout
    assert all(f"  {verb} " in listed for verb in COMMANDS)


def test_an_unknown_verb_is_a_usage_error():
    assert run("chek").exit_code == exits.USAGE


HEAVY = ("altair", "fastapi", "uvicorn", "asyncua", "pymodbus", "paho", "xlsxwriter", "distributed")


@pytest.mark.parametrize(
    "module", ["collector", "collector.agent", "collector.commands", "plantproof", "kpis.commands"]
)
def test_a_room_imports_no_library_of_another(module):
    code = f"import json, sys, {module}; print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) & set(HEAVY) == set()


def test_a_clock_that_went_wrong_is_told_before_decades_are_computed(plant, samples, tmp_path):
    assert run("import", plant, samples).exit_code == exits.DONE
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("ts,point,value\n2100-01-01T00:00:00Z,a.state,1\n", encoding="utf-8")
    done = run("import", plant, wrong)
    assert done.exit_code == exits.DONE, done.output
    result = run("kpi", plant)
    assert result.exit_code == exits.USAGE
    assert "2100-01-01, which is to come; name the period's end with --to" in " ".join(result.stderr.split())


def test_one_kpi_is_told_where_it_is_asked_for_and_a_wrong_id_with_those_near_it(plant, samples):
    rows = kpi(plant, samples, *PERIOD, "--kpi", "oee", "--kpi", "mtbf")
    assert {row["kpi"] for row in rows} == {"oee", "mtbf"}
    result = run("kpi", plant, "--samples", samples, "--kpi", "availabilty")
    assert result.exit_code == exits.USAGE
    assert "did you mean availability" in " ".join(result.stderr.split())


def test_processes_compute_from_a_file_as_well_and_what_is_no_number_of_them_is_told(plant, samples):
    assert kpi(plant, samples, *PERIOD, "--workers", "2") == kpi(plant, samples, *PERIOD)
    result = run("kpi", plant, "--samples", samples, "--workers", "many")
    assert result.exit_code == exits.USAGE
    assert "--workers: 'many' is neither a number of processes" in " ".join(result.stderr.split())

"""Evidence packages: the same bytes from the same data, and nothing in them changes unseen."""

import hashlib
import importlib.metadata
import io
import json
import subprocess
import zipfile
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from collector.backfill import import_file
from config import exits
from config.load import load_plant
from kpis.evidence import verify as verifier
from kpis.evidence.package import MANIFEST, PackageError, build, manifest, pack
from kpis.evidence.verify import verify
from kpis.factstore import RULES
from plantproof import cli

START = 1_763_596_800_000_000_000  # 2025-11-20T08:00:00+08:00
MINUTE = 60_000_000_000
END = START + 60 * MINUTE

PLANT = """version = 1
[plant]
id = "works"
timezone = "Asia/Shanghai"
day_start = 08:00:00
[[calendar]]
shifts = [{ name = "早班", start = 08:00:00, end = 16:00:00 }]
exceptions = "days/calendar.csv"
[[sink]]
kind = "parquet"
path = "lake"
"""
ASSETS = "asset,name,ideal_cycle\npress,1号冲压机,10\n"
POINTS = """point,asset,role,source,address,max_hold
press.state,press,state,,,10min
press.total,press,total,,,10min
"""


def lake_rows(total: int = 6):
    """An hour at 10 pieces a minute: 40 minutes of production, then a stop; one sample a minute."""
    yield "ts,point,value"
    for minute in range(61):
        running = minute < 40
        yield f"{START + minute * MINUTE},press.state,{1 if running else 3}"
        yield f"{START + minute * MINUTE},press.total,{total * min(minute, 40)}"


def make_plant(folder: Path, **text: str) -> Path:
    (folder / "days").mkdir(parents=True)
    (folder / "plant.toml").write_text(text.get("plant", PLANT), encoding="utf-8")
    (folder / "assets.csv").write_text(text.get("assets", ASSETS), encoding="utf-8")
    (folder / "points.csv").write_text(text.get("points", POINTS), encoding="utf-8")
    (folder / "days" / "calendar.csv").write_text("date,working\n2025-10-01,no\n", encoding="utf-8")
    return folder


def filled(folder: Path, **rows: int) -> Path:
    """A plant whose lake holds an hour."""
    make_plant(folder)
    (folder / "hour.csv").write_text("\n".join(lake_rows(**rows)), encoding="utf-8")
    written, faults = import_file(load_plant(folder), folder / "hour.csv")
    assert (written, faults) == (122, ())
    return folder


@pytest.fixture(scope="module")
def plant(tmp_path_factory) -> Path:
    return filled(tmp_path_factory.mktemp("works") / "plant")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> bytes:
    """A package of one state point, a minute long."""
    folder = make_plant(tmp_path_factory.mktemp("small") / "plant", points=POINTS.rpartition("press.total")[0])
    (folder / "minute.csv").write_text(f"ts,point,value\n{START},press.state,1\n")
    import_file(load_plant(folder), folder / "minute.csv")
    return build(load_plant(folder), folder / "lake", START, START + MINUTE)


@pytest.fixture(scope="module")
def package(plant) -> bytes:
    return build(load_plant(plant), plant / "lake", START, END)


def unpacked(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sealed(files: dict[str, bytes]) -> bytes:
    """The package that a forger who knows the builder would hand over: descriptor, manifest and zip are consistent."""
    files = {name: data for name, data in files.items() if name != MANIFEST}
    described = json.loads(files["datapackage.json"])
    for resource in described["resources"]:
        data = files.get(resource["path"], b"")
        resource["bytes"], resource["hash"] = len(data), f"sha256:{hashlib.sha256(data).hexdigest()}"
    files["datapackage.json"] = json.dumps(described, ensure_ascii=False, indent=1).encode()
    return pack(files | {MANIFEST: manifest(files)})


def zipped(entries, method=zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, method)
    return buffer.getvalue()


def fault(data: bytes, lake: Path | None = None) -> str:
    faults = verify(data, lake).faults
    assert faults
    return "\n".join(faults)


def test_a_package_built_twice_is_the_same_to_the_byte(plant, package):
    assert build(load_plant(plant), plant / "lake", START, END) == package


def test_a_package_of_the_same_samples_in_another_lake_is_the_same_to_the_byte(tmp_path, package):
    make_plant(tmp_path / "plant")
    head, *rows = lake_rows()
    for name, part in (("later", rows[50:]), ("earlier", rows[:50][::-1])):
        (tmp_path / f"{name}.csv").write_text("\n".join((head, *part)), encoding="utf-8")
        import_file(load_plant(tmp_path / "plant"), tmp_path / f"{name}.csv")
    assert build(load_plant(tmp_path / "plant"), tmp_path / "plant" / "lake", START, END) == package


def test_an_untouched_package_is_verified_alone_and_against_its_lake(plant, package):
    alone, against = verify(package), verify(package, plant / "lake")
    assert alone.faults == against.faults == []
    assert any("figures follow from the facts inside" in line for line in alone.checked)
    assert "122 samples of the lake are those of the package" in against.checked
    assert any("figures follow from the lake" in line for line in against.checked)


def test_the_figures_of_a_package_are_those_of_the_hour(package):
    stated = {(f["kpi"], f["subject"], f["period"]): f for f in json.loads(unpacked(package)["indicators.json"])}
    availability = stated["availability", "press", "total"]
    assert availability["value"] == pytest.approx(40 / 60)
    assert stated["produced_quantity", "works", "total"]["value"] == 240
    assert stated["produced_quantity", "press", "2025-11-20 早班"]["value"] == 240


def test_each_byte_of_a_package_that_is_flipped_is_caught(small):
    data = bytearray(small)
    missed = []
    for at in range(len(data)):
        data[at] ^= 0xFF
        if not verify(bytes(data)).faults:
            missed.append(at)
        data[at] ^= 0xFF
    assert missed == []
    assert verify(bytes(data)).faults == []


def test_each_bit_of_the_bytes_around_the_files_is_caught(small):
    """Names, flags, times and attributes of a zip are in its headers: here every single bit counts."""
    data, names = bytearray(small), [name.encode() for name in unpacked(small)]
    heads = {at for name in names for at in range(small.index(name) - 30, small.index(name) + len(name))}
    tail = range(small.index(b"PK\x01\x02"), len(small))
    for at in [*heads, *tail]:
        for bit in range(8):
            data[at] ^= 1 << bit
            assert verify(bytes(data)).faults, f"byte {at}, bit {bit}"
            data[at] ^= 1 << bit


@pytest.mark.parametrize("cut", [1, 22, 100, 5000])
def test_a_package_that_was_cut_off_is_caught(package, cut):
    assert verify(package[:-cut]).faults
    assert verify(package[cut:]).faults


@pytest.mark.parametrize("more", [b"\0", b"PK\x05\x06", b"# note"])
def test_bytes_before_or_behind_a_package_are_caught(package, more):
    assert verify(package + more).faults
    assert verify(more + package).faults


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x03\x04", b"not a zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_package_is_told_as_that(data):
    assert "not a package that can be opened" in fault(data)


def test_an_entry_that_is_added_removed_or_renamed_is_caught(package):
    files = unpacked(package)
    assert "note.txt: not listed in the manifest" in fault(pack(files | {"note.txt": b"hello"}))
    for name in files:
        rest = {n: data for n, data in files.items() if n != name}
        assert f"{name}" in fault(pack(rest))
        assert verify(pack(rest | {f"{name}x": files[name]})).faults


def test_an_entry_that_the_manifest_lists_too_is_still_no_file_of_a_package(package):
    files = unpacked(package)
    assert "note.txt: is no file of an evidence package" in fault(sealed(files | {"note.txt": b"hello"}))


def test_entries_in_another_order_are_caught(package):
    files = unpacked(package)
    assert "not written as the builder writes it" in fault(zipped(reversed(files.items())))


def test_a_manifest_in_another_order_is_caught(package):
    files = unpacked(package)
    files[MANIFEST] = b"".join(sorted(files[MANIFEST].splitlines(keepends=True), reverse=True))
    assert "manifest" in fault(pack(files))


def test_compressed_entries_are_refused_before_they_are_read(package):
    bomb = zipped([("zeros", bytes(50_000_000))], zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    assert "not a package that can be opened" in fault(bomb)
    config = [(name, data) for name, data in unpacked(package).items() if name.startswith("config/")]
    padding = bytes(sum(len(data) for _, data in config))  # the entries claim no more than the archive has
    assert "compressed" in fault(zipped(config, zipfile.ZIP_DEFLATED) + padding)


def test_too_many_entries_are_refused():
    assert "more than" in fault(zipped((f"{n}", b"") for n in range(verifier.MAX_ENTRIES + 1)))


def test_an_entry_that_claims_more_bytes_than_the_archive_has_is_refused(package):
    name = MANIFEST.encode()
    at = package.rindex(name) - 46  # its record in the central directory
    huge = (2**31).to_bytes(4, "little")
    forged = package[: at + 20] + huge + huge + package[at + 28 :]
    assert "more bytes than the archive has" in fault(forged)


@pytest.mark.parametrize(
    "name",
    ["../out", "config/../../out", "/etc/passwd", "C:/out", "config\\out", "config//out", "config/./out", "config/",
     "a\nb", "config/\x1b[2J"],
)  # fmt: skip
def test_an_entry_that_leads_out_of_the_package_is_refused(package, name):
    assert "leads out of the package" in fault(pack(unpacked(package) | {name: b"x"}))


def test_an_entry_that_stands_twice_is_refused(package):
    with pytest.warns(UserWarning, match="Duplicate name"):
        doubled = zipped([*unpacked(package).items(), ("indicators.json", b"[]")])
    assert "stands twice" in fault(doubled)


def test_a_wrong_figure_under_a_right_manifest_is_caught_by_recomputation(package):
    files = unpacked(package)
    stated = json.loads(files["indicators.json"])
    row = next(r for r in stated if (r["kpi"], r["subject"], r["period"]) == ("availability", "press", "total"))
    row["value"] = 0.99
    files["indicators.json"] = json.dumps(stated, ensure_ascii=False, indent=1).encode()
    told = fault(sealed(files))
    assert "availability of press, total: value is stated as 0.99, the facts inside gives 0.66666" in told


@pytest.mark.parametrize(("key", "value"), [("subject", "press2"), ("period", "week"), ("flags", ["reset"]),
                                            ("coverage", None), ("rule", "x@1"), ("low", 0), ("end", "")])  # fmt: skip
def test_any_changed_field_of_a_figure_is_caught(package, key, value):
    files = unpacked(package)
    stated = json.loads(files["indicators.json"])
    row = next(r for r in stated if r["kpi"] == "availability" and r["period"] == "total")
    row[key] = value
    files["indicators.json"] = json.dumps(stated, ensure_ascii=False, indent=1).encode()
    assert f"{key} is stated as {value}" in fault(sealed(files))


def test_a_figure_that_is_left_out_added_or_given_a_further_field_is_caught(package):
    files = unpacked(package)
    stated = json.loads(files["indicators.json"])
    for forged in (stated[:-1], [*stated, stated[-1]], [], [stated[0] | {"grade": "A"}, *stated[1:]]):
        changed = files | {"indicators.json": json.dumps(forged, ensure_ascii=False, indent=1).encode()}
        assert "state" in fault(sealed(changed))


@pytest.mark.parametrize(("name", "old", "new"), [("indicators.csv", b"0.6666", b"0.9999"),
                                                  ("devices.csv", b"press", b"Press")])  # fmt: skip
def test_a_table_for_people_that_says_other_than_the_data_is_caught(package, name, old, new):
    files = unpacked(package)
    assert old in files[name]
    assert f"{name}: says other than" in fault(sealed(files | {name: files[name].replace(old, new, 1)}))


def test_other_facts_under_a_right_manifest_are_caught(package, plant):
    files = unpacked(package)
    facts = pl.read_parquet(files["data/facts.parquet"]).with_columns(
        production=pl.col("production") + pl.col("delay"), delay=pl.col("delay") * 0
    )
    buffer = io.BytesIO()
    facts.write_parquet(buffer)
    forged = sealed(files | {"data/facts.parquet": buffer.getvalue()})
    assert "availability of press, total: value is stated as 0.66" in fault(forged)
    assert "data/facts.parquet: the lake gives other facts" in fault(forged, plant / "lake")


@pytest.mark.parametrize("column", ["counted", "connectable", "evidenced"])
def test_a_device_list_that_does_not_follow_from_the_register_is_caught(package, column):
    files = unpacked(package)
    devices = pl.read_parquet(files["data/devices.parquet"]).with_columns(~pl.col(column))
    buffer = io.BytesIO()
    devices.write_parquet(buffer)
    assert "data/devices.parquet: " in fault(sealed(files | {"data/devices.parquet": buffer.getvalue()}))


def test_a_changed_register_is_caught(package):
    files = unpacked(package)
    files["config/assets.csv"] = files["config/assets.csv"].replace(b",10", b",20")
    assert "ideal cycle of press is not that of the register inside" in fault(sealed(files))


def test_a_changed_calendar_is_caught(package):
    files = unpacked(package)
    files["config/plant.toml"] = files["config/plant.toml"].replace(b"start = 08:00:00,", b"start = 08:30:00,")
    assert "planned time does not follow from the calendar inside" in fault(sealed(files))


def test_a_changed_sample_of_the_lake_is_told(tmp_path, package):
    other = filled(tmp_path / "plant", total=5)
    told = fault(package, other / "lake")
    assert "the lake's samples differ" in told
    assert "produced_quantity of press, total: value is stated as 240.0, the lake gives 200.0" in told


def test_a_sample_that_was_added_to_the_lake_is_told(tmp_path, package):
    folder = filled(tmp_path / "plant")
    (folder / "more.csv").write_text(f"ts,point,value\n{START + 1},press.total,0\n")
    import_file(load_plant(folder), folder / "more.csv")
    assert "the lake's samples differ" in fault(package, folder / "lake")


def test_a_lake_that_cannot_be_read_is_a_fault_and_no_crash(tmp_path, package):
    day = filled(tmp_path / "plant") / "lake" / "samples" / "date=2025-11-20"
    next(day.glob("*.parquet")).write_bytes(b"PAR1")
    assert "the lake cannot be read" in fault(package, tmp_path / "plant" / "lake")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("config/plant.toml", b"version = 2\n"),
        ("config/plant.toml", b"\xff"),
        ("config/points.csv", b"point\n"),
        ("data/facts.parquet", b"PAR1"),
        ("indicators.json", b"{"),
        ("indicators.json", b"[1]"),
        ("indicators.json", b"[" * 100_000),
        ("indicators.json", b"7"),
    ],
)
def test_content_that_cannot_be_computed_with_is_a_fault_and_no_crash(package, name, data):
    assert verify(sealed(unpacked(package) | {name: data})).faults


@pytest.mark.parametrize(
    "about", [{}, {"start_ns": "now", "end_ns": 1}, {"start_ns": 2, "end_ns": 1}, {"start_ns": 1, "end_ns": 2**70}]
)
def test_a_descriptor_without_a_sound_period_is_a_fault_and_no_crash(package, about):
    files = unpacked(package)
    described = json.loads(files["datapackage.json"]) | {"plantproof": about}
    assert verify(sealed(files | {"datapackage.json": json.dumps(described).encode()})).faults


def test_frames_of_other_columns_are_a_fault_and_no_crash(package):
    buffer = io.BytesIO()
    pl.DataFrame({"asset": [1]}).write_parquet(buffer)
    for name in ("facts", "demand", "devices"):
        told = fault(sealed(unpacked(package) | {f"data/{name}.parquet": buffer.getvalue()}))
        assert f"data/{name}.parquet: column" in told


def test_sha256sum_checks_the_unpacked_package(tmp_path, package):
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        archive.extractall(tmp_path)
    command = ["sha256sum", "--check", "--strict", MANIFEST]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(unpacked(package)) - 1
    (tmp_path / "indicators.csv").write_bytes(b"changed")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=30).returncode == 1


def test_the_descriptor_is_a_data_package_of_version_2(package):
    files = unpacked(package)
    described = json.loads(files["datapackage.json"])
    assert described["$schema"] == "https://datapackage.org/profiles/2.0/datapackage.json"
    assert described["name"] == "plantproof-evidence-works"
    paths = [resource["path"] for resource in described["resources"]]
    assert paths == sorted(set(files) - {"datapackage.json", MANIFEST})
    names = [resource["name"] for resource in described["resources"]]
    assert len(set(names)) == len(names)
    for resource in described["resources"]:
        data = files[resource["path"]]
        assert resource["bytes"] == len(data)
        assert resource["hash"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert resource["format"] in {"toml", "csv", "parquet", "json", "jsonl"}


def test_a_package_names_no_path_and_no_time_of_its_making(plant, package):
    assert str(plant).encode() not in package
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_tables_of_a_plant_are_in_its_package_below_config(plant, package):
    files = unpacked(package)
    for name in ("plant.toml", "assets.csv", "points.csv", "days/calendar.csv"):
        assert files[f"config/{name}"] == (plant / name).read_bytes()


def about(package: bytes) -> dict[str, object]:
    return json.loads(unpacked(package)["datapackage.json"])["plantproof"]


def of_holidays(folder: Path) -> bytes:
    """The package of a plant that never collected, whose calendar names a country."""
    make_plant(folder, plant=PLANT.replace("shifts =", 'holidays = "CN"\nshifts ='))
    return build(load_plant(folder), folder / "lake", START, END)


def other_version(package: bytes, **versions: object) -> bytes:
    files = unpacked(package)
    described = json.loads(files["datapackage.json"])
    described["plantproof"] |= versions
    return sealed(files | {"datapackage.json": json.dumps(described, ensure_ascii=False, indent=1).encode()})


def test_a_package_names_the_rules_that_its_facts_follow(package):
    assert about(package)["rules"] == RULES
    assert "holidays" not in about(package)


def test_a_package_whose_calendar_names_a_country_names_the_version_of_the_holidays_library(tmp_path):
    package = of_holidays(tmp_path / "plant")
    assert about(package)["holidays"] == importlib.metadata.version("holidays")
    report = verify(package)
    assert (report.faults, report.notes) == ([], [])


def test_another_version_of_rules_or_holidays_is_a_note_and_no_fault(tmp_path):
    package = other_version(of_holidays(tmp_path / "plant"), rules=RULES + 1, holidays="0.1")
    report = verify(package)
    assert report.faults == []
    assert [note.partition(", verified with ")[0] for note in report.notes] == [
        f"built with rules for facts {RULES + 1}",
        "built with library holidays '0.1'",
    ]
    (tmp_path / "hour.zip").write_bytes(package)
    told = run("verify", tmp_path / "hour.zip")
    assert told.exit_code == exits.DONE
    assert sum(line.startswith("note: built with ") for line in told.stdout.splitlines()) == 2


def test_a_package_of_before_versions_were_named_is_verified(package):
    files = unpacked(package)
    described = json.loads(files["datapackage.json"])
    del described["plantproof"]["rules"]
    report = verify(sealed(files | {"datapackage.json": json.dumps(described).encode()}))
    assert (report.faults, report.notes) == ([], [])


def test_a_plant_whose_tables_lie_elsewhere_is_refused_with_the_next_step(tmp_path):
    folder = make_plant(
        tmp_path / "plant", plant=PLANT.replace("[[calendar]]", 'assets = "../assets.csv"\n[[calendar]]')
    )
    (folder / "assets.csv").rename(tmp_path / "assets.csv")
    with pytest.raises(PackageError, match="move the file into it"):
        build(load_plant(folder), folder / "lake", START, END)


def run(*words: object):
    return CliRunner().invoke(cli, ["evidence", *map(str, words)])


def test_the_command_builds_and_verifies_a_package_and_exits_4_on_a_changed_one(tmp_path, plant, package):
    out = tmp_path / "hour.zip"
    period = ("--from", "2025-11-20T08:00:00+08:00", "--to", "2025-11-20T09:00:00+08:00")
    assert run("build", plant, *period, "--out", out).exit_code == exits.DONE
    assert out.read_bytes() == package
    good = run("verify", out, "--lake", plant / "lake")
    assert good.stdout.splitlines()[-1] == "verified"
    assert good.exit_code == exits.DONE
    out.write_bytes(package.replace(b"0.6666", b"0.7777", 1))
    bad = run("verify", out)
    assert bad.stdout.splitlines()[-1] == "not verified"
    assert bad.exit_code == exits.VERIFY == 4
    told = json.loads(run("verify", out, "--json").stdout)
    assert told["verified"] is False
    assert told["faults"]


def test_a_package_that_cannot_be_written_is_told_without_a_traceback(tmp_path, plant):
    result = run("build", plant, "--out", tmp_path / "none" / "hour.zip")
    assert result.exit_code == exits.UNEXPECTED
    assert "cannot be written" in result.stderr


def test_a_register_map_of_the_plant_s_own_is_in_the_package_and_it_verifies(tmp_path):
    source = '[[source]]\nid = "m"\nkind = "modbus"\nurl = "modbus+tcp://127.0.0.1"\n'
    folder = make_plant(tmp_path / "plant", plant=PLANT.replace("[[calendar]]", f"{source}[[calendar]]", 1))
    (folder / "points.csv").write_text(
        "point,asset,role,source,address,max_hold,map\npress.state,press,state,,,10min,\n"
        "press.total,press,total,,,10min,\npress.drive,press,,m,3,,drives/acme.csv: speed\n"
    )
    (folder / "drives").mkdir()
    (folder / "drives" / "acme.csv").write_text("point,address\nspeed,holding:1\ncurrent,holding:2\n")
    (folder / "hour.csv").write_text("\n".join(lake_rows()), encoding="utf-8")
    plant = load_plant(folder)
    import_file(plant, folder / "hour.csv")
    package = build(plant, folder / "lake", START, END)
    assert "config/drives/acme.csv" in unpacked(package)
    assert verify(package).faults == []


def entries(*ledger):
    return "".join(json.dumps({"ts": ts, "event": event, "reason": "r"}) + "\n" for ts, event in ledger)


def cited(tmp_path):
    """The package of an hour in which a source was lost twice and the agent restarted; a line of its ledger is torn."""
    plant = filled(tmp_path / "plant")
    (plant / "var" / "spool").mkdir(parents=True, exist_ok=True)
    before, inside = "2025-11-19T23:59:59.999999+00:00", "2025-11-20T00:30:00+00:00"
    lines = entries((before, "gap"), (inside, "gap"), (inside, "started"), (inside, "gap"))
    after = entries(("2025-11-20T01:00:00+00:00", "dropped"))
    (plant / "var" / "spool" / "ledger.jsonl").write_text(lines + '{"ts": "2025-11-20T00:31\n' + after)
    return build(load_plant(plant), plant / "lake", START, END)


def test_a_package_cites_the_ledgers_entries_of_its_period(tmp_path):
    package = cited(tmp_path)
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        about = json.loads(archive.read("datapackage.json"))["plantproof"]
        lines = archive.read("ledger.jsonl").decode().splitlines()
    assert about["ledger"] == {"gap": 2, "started": 1}
    assert [json.loads(line)["event"] for line in lines] == ["gap", "started", "gap"]
    report = verify(package)
    assert report.faults == []
    assert "3 entries of the agent's ledger are those that the package counts" in report.checked


def test_an_entry_that_was_taken_out_of_the_ledger_is_found(tmp_path):
    with zipfile.ZipFile(io.BytesIO(cited(tmp_path))) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["ledger.jsonl"] = files["ledger.jsonl"].split(b"\n", 1)[1]
    del files[MANIFEST]
    files[MANIFEST] = manifest(files)
    assert "datapackage.json: counts other events than ledger.jsonl has" in verify(pack(files)).faults


def test_without_the_agents_spool_at_hand_there_is_no_ledger_in_a_package(tmp_path):
    plant = filled(tmp_path / "plant")
    (plant / "var" / "spool" / "ledger.jsonl").unlink()
    package = build(load_plant(plant), plant / "lake", START, END)
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        assert "ledger.jsonl" not in archive.namelist()
    assert verify(package).faults == []

"""Evidence packages: the same bytes from the same data, and nothing in them changes unseen."""

import datetime as dt
import hashlib
import importlib.metadata
import io
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.backfill import import_file
from config import exits
from config.approvals import approve
from config.load import load_plant
from kpis.evidence import archive, signature
from kpis.evidence import verify as verifier
from kpis.evidence.archive import manifest, pack
from kpis.evidence.contents import Asked
from kpis.evidence.keys import KeyFault, make_key
from kpis.evidence.layout import MANIFEST, SIGNATURE
from kpis.evidence.package import PackageError, build
from kpis.evidence.signature import SignatureFault
from kpis.evidence.verify import Report, verify
from kpis.factstore import RULES
from kpis.scale import workers
from kpis.stores import Lake, StoreError
from plantproof import cli
from tests.independent import frictionless
from tests.soak import cases

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


def built(folder: Path, end: int = END, *, signer=None, executor=None, progress=None, **asked: object) -> bytes:
    """The package of a plant from START on, of one rubric, compared with nothing."""
    of = Asked(**{"period": (START, end), "before": None, "rubrics": ("sme-2024",), **asked})
    lake = Lake(folder / "lake")
    return build(load_plant(folder), lake, of, signer=signer, executor=executor, progress=progress)


def checked(data: bytes, lake: Path | None = None, **more: object) -> Report:
    """What a verifier finds, but for drawings, which take their time."""
    return verify(data, lake, drawings=False, **more)


@pytest.fixture(scope="module")
def plant(tmp_path_factory) -> Path:
    return filled(tmp_path_factory.mktemp("works") / "plant")


def small_package(folder: Path) -> bytes:
    """A signed package of one state point, a minute long."""
    make_plant(folder, points=POINTS.rpartition("press.total")[0])
    (folder / "minute.csv").write_text(f"ts,point,value\n{START},press.state,1\n")
    import_file(load_plant(folder), folder / "minute.csv")
    return built(folder, START + MINUTE, rubrics=(), signer=make_key(folder / "key.pem"))


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> bytes:
    return small_package(tmp_path_factory.mktemp("small") / "plant")


@pytest.fixture(scope="module")
def package(plant) -> bytes:
    return built(plant)


def unpacked(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as whole:
        return {name: whole.read(name) for name in whole.namelist()}


def sealed(files: dict[str, bytes]) -> bytes:
    """The package that a forger who knows the builder would hand over: descriptor, manifest and zip are consistent."""
    files = {name: data for name, data in files.items() if name not in (MANIFEST, SIGNATURE)}
    described = json.loads(files["datapackage.json"])
    for resource in described["resources"]:
        data = files.get(resource["path"], b"")
        resource["bytes"], resource["hash"] = len(data), f"sha256:{hashlib.sha256(data).hexdigest()}"
    files["datapackage.json"] = json.dumps(described, ensure_ascii=False, indent=1).encode()
    return pack(files | {MANIFEST: manifest(files)})


def zipped(entries, method=zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as whole:
        for name, data in entries:
            whole.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, method)
    return buffer.getvalue()


def told(report: Report) -> str:
    return "\n".join(map(str, report.checked))


def fault(data: bytes, lake: Path | None = None) -> str:
    faults = checked(data, lake).faults
    assert faults
    return "\n".join(map(str, faults))


def test_a_package_built_twice_is_the_same_to_the_byte(plant, package):
    assert built(plant) == package


def test_a_package_built_by_two_processes_is_the_same_to_the_byte(plant, package):
    with workers("2") as executor:
        assert built(plant, executor=executor) == package


def test_progress_is_told_from_nothing_to_all_and_never_falls(tmp_path):
    said = []
    built(filled(tmp_path / "plant"), progress=lambda doing, share: said.append((doing, share)))
    assert [said[0], said[-1]] == [("facts", 0.0), ("done", 1.0)]
    assert [share for _, share in said] == sorted(share for _, share in said)
    assert {"facts", "samples", "report", "workbook"} <= {doing for doing, _ in said}


def test_a_package_of_the_same_samples_in_another_lake_is_the_same_to_the_byte(tmp_path, package):
    make_plant(tmp_path / "plant")
    head, *rows = lake_rows()
    for name, part in (("later", rows[50:]), ("earlier", rows[:50][::-1])):
        (tmp_path / f"{name}.csv").write_text("\n".join((head, *part)), encoding="utf-8")
        import_file(load_plant(tmp_path / "plant"), tmp_path / f"{name}.csv")
    assert built(tmp_path / "plant") == package


def test_an_untouched_package_is_verified_alone_and_against_its_lake(plant, package):
    alone, against = checked(package), verify(package, plant / "lake")
    assert alone.faults == against.faults == []
    assert "figures" in told(alone) and "follow from the data inside" in told(alone)  # noqa: PT018
    assert "120 samples of the lake are those of the package" in told(against)
    assert "rows of data/facts.parquet follow from the lake" in told(against)
    assert [note.en for note in against.notes] == [
        "the package is not signed: nothing says who built it",
        "nobody approved the registers inside",
    ]


def test_the_figures_of_a_package_are_those_of_the_hour(package):
    files = unpacked(package)
    stated = {(f["kpi"], f["subject"]): f for f in json.loads(files["indicators.json"])["kpis"]}
    assert stated["availability", "press"]["value"] == pytest.approx(40 / 60)
    assert stated["produced_quantity", "works"]["value"] == 240
    shifts = pl.read_parquet(files["data/shifts.parquet"]).filter(kpi="produced_quantity", subject="press")
    assert shifts.select("period", "value").rows() == [("2025-11-20 早班", 240.0)]
    rates = {f["kpi"]: f["exact"] for f in json.loads(files["indicators.json"])["results"]}
    assert rates["equipment_networking_rate"] == {"value": "1", "numerator": "1", "denominator": "1"}


def test_each_byte_of_a_package_that_is_flipped_is_caught():
    """Of one that holds little: what a file says is looked at only once every byte is accounted for."""
    files = {"datapackage.json": b'{"plantproof": {"format": 2}}', "config/plant.toml": b"version = 1\n", "empty": b""}
    data = bytearray(pack(files | {MANIFEST: manifest(files)}))
    missed = []
    for at in range(len(data)):
        for bit in range(8):
            data[at] ^= 1 << bit
            if verifier.opened(bytes(data), Report()) is not None:
                missed.append((at, bit))
            data[at] ^= 1 << bit
    assert missed == []
    assert verifier.opened(bytes(data), Report()) is not None


@settings(max_examples=cases(50), deadline=None)
@given(data=st.data())
def test_any_byte_of_a_signed_package_that_is_flipped_is_caught(small, data):
    at, by = data.draw(st.integers(0, len(small) - 1)), data.draw(st.integers(1, 255))
    assert checked(small[:at] + bytes([small[at] ^ by]) + small[at + 1 :]).faults


def test_each_byte_of_a_signature_that_is_flipped_is_caught(small):
    files, said = unpacked(small), about(small)
    signature.check(files[SIGNATURE], files[MANIFEST], said, None)
    for at in range(len(files[SIGNATURE])):
        flipped = bytearray(files[SIGNATURE])
        flipped[at] ^= 1
        with pytest.raises((SignatureFault, KeyFault)):
            signature.check(bytes(flipped), files[MANIFEST], said, None)
    assert SIGNATURE in fault(pack(files | {SIGNATURE: bytes(flipped)}))


def test_each_bit_of_the_bytes_around_the_files_is_caught(small):
    """Names, flags, times and attributes of a zip are in its headers: here every single bit counts."""
    data, names = bytearray(small), [name.encode() for name in unpacked(small)][::6]
    heads = {at for name in names for at in range(small.index(name) - 30, small.index(name) + len(name))}
    central = small.rindex(b"PK\x01\x02")
    for at in [*heads, *range(central, len(small))]:
        for bit in range(8):
            data[at] ^= 1 << bit
            assert checked(bytes(data)).faults, f"byte {at}, bit {bit}"
            data[at] ^= 1 << bit


@pytest.mark.parametrize("cut", [1, 22, 100, 5000])
def test_a_package_that_was_cut_off_is_caught(package, cut):
    assert checked(package[:-cut]).faults
    assert checked(package[cut:]).faults


@pytest.mark.parametrize("more", [b"\0", b"PK\x05\x06", b"# note"])
def test_bytes_before_or_behind_a_package_are_caught(package, more):
    assert checked(package + more).faults
    assert checked(more + package).faults


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x03\x04", b"not a zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_package_is_told_as_that(data):
    assert "not a package that can be opened" in fault(data)


def test_an_entry_that_is_added_removed_or_renamed_is_caught(package):
    files = unpacked(package)
    assert "note.txt: not listed in the manifest" in fault(pack(files | {"note.txt": b"hello"}))
    for name in files:
        rest = {n: data for n, data in files.items() if n != name}
        assert f"{name}" in fault(pack(rest))
        assert checked(pack(rest | {f"{name}x": files[name]})).faults


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
    assert "more than" in fault(zipped((f"{n}", b"") for n in range(archive.MAX_ENTRIES + 1)))


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


def changed(package: bytes, name: str, change) -> bytes:
    """The package with one of its JSON files changed by a forger who makes everything else consistent."""
    files = unpacked(package)
    said = json.loads(files[name])
    change(said)
    return sealed(files | {name: json.dumps(said, ensure_ascii=False, indent=1).encode()})


def kpi(said, name="availability"):
    return next(row for row in said["kpis"] if (row["kpi"], row["subject"]) == (name, "press"))


def test_a_wrong_figure_under_a_right_manifest_is_caught_by_recomputation(package):
    forged = changed(package, "indicators.json", lambda said: kpi(said).update(value=0.99))
    assert "availability of press, total: value is stated as 0.99, the data inside give 0.66666" in fault(forged)


def test_a_device_that_is_said_to_be_met_is_named(package):
    def forge(said):
        rate = next(row for row in said["results"] if row["kpi"] == "equipment_networking_rate")
        rate["members"][0]["met"] = False

    told = fault(changed(package, "indicators.json", forge))
    assert "equipment_networking_rate of works, total: members: press: met is stated as False" in told


def test_any_changed_field_of_a_figure_is_caught(package):
    changes = {
        "availability": ("subject", "press2"),
        "effectiveness": ("period", "week"),
        "quality_ratio": ("flags", ["reset"]),
        "oee": ("coverage", None),
        "nee": ("rule", "x@1"),
        "teep": ("low", 0),
        "ooe_operation": ("end", ""),
    }

    def forge(said):
        for name, (key, value) in changes.items():
            kpi(said, name).update({key: value})

    told = fault(changed(package, "indicators.json", forge))
    for name, (key, _) in changes.items():
        assert re.search(rf"{name} of press, total: {key}(: 1)? is stated as", told), key


def test_a_figure_that_is_left_out_added_or_given_a_further_field_is_caught(small):
    for forge in (
        lambda said: said["kpis"].pop(),
        lambda said: said["kpis"].append(said["kpis"][-1]),
        lambda said: said["kpis"].clear(),
        lambda said: said["kpis"][0].update(grade="A"),
        lambda said: said.pop("results"),
        lambda said: said.update(results={}),
    ):
        assert "indicators.json: " in fault(changed(small, "indicators.json", forge))


def test_a_level_of_an_assessment_that_was_raised_is_caught(package):
    def forge(said):
        said["rubrics"][0]["total"] += 10

    assert "assessments.json: rubrics: sme-2024: total is stated as" in fault(
        changed(package, "assessments.json", forge)
    )


def test_kpis_by_shift_that_do_not_follow_are_caught(package):
    files = unpacked(package)
    shifts = pl.read_parquet(files["data/shifts.parquet"]).with_columns(value=pl.col("value") + 1)
    told = fault(sealed(files | {"data/shifts.parquet": parquet(shifts)}))
    assert "data/shifts.parquet: availability of press, 2025-11-20 早班: value is stated as 1.66" in told


def test_tables_for_people_that_say_other_than_the_data_are_each_caught(package):
    files = unpacked(package)
    changes = (
        ("indicators.csv", "设备联网率", "设备数控率"),
        ("devices.csv", "press", "Press"),
        ("kpis.csv", "0.6666", "0.9999"),
        ("README.txt", "不能说明", "能够说明"),
        ("report.html", "66.67", "99.99"),
        ("report.en.html", "66.67", "99.99"),
        ("partitions.csv", "press.state", "press.other"),
        ("gaps.csv", "asset", "device"),
    )
    for name, old, new in changes:
        assert old.encode() in files[name]
        files[name] = files[name].replace(old.encode(), new.encode(), 1)
    told = [str(one) for one in checked(sealed(files)).faults]
    assert [name for name, _, _ in changes if not any(one.startswith(name) for one in told)] == []


def test_a_workbook_that_says_other_than_the_data_is_caught(package, plant):
    files = unpacked(package)
    shorter = built(plant, START + 30 * MINUTE)
    told = fault(sealed(files | {"workbook.xlsx": unpacked(shorter)["workbook.xlsx"]}))
    assert "workbook.xlsx: " in told


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def test_other_facts_under_a_right_manifest_are_caught_by_the_samples_inside_and_by_the_lake(package, plant):
    files = unpacked(package)
    facts = pl.read_parquet(files["data/facts.parquet"]).with_columns(
        production=pl.col("production") + pl.col("delay"), delay=pl.col("delay") * 0
    )
    told = fault(sealed(files | {"data/facts.parquet": parquet(facts)}), plant / "lake")
    assert "availability of press, total: value is stated as 0.66" in told
    assert "data/facts.parquet: production of press at 2025-11-20 00:00:00" in told
    assert "data/facts.parquet: the lake gives other rows" in told


def test_other_samples_under_right_facts_are_caught(package):
    files = unpacked(package)
    samples = pl.read_parquet(files["data/samples.parquet"]).with_columns(value=pl.col("value") + 1)
    told = fault(sealed(files | {"data/samples.parquet": parquet(samples)}))
    assert "data/samples.parquet: 2025-11-20 press.state: other samples than the package was made of" in told


def test_a_device_list_that_does_not_follow_from_the_register_is_caught(package):
    files, columns = unpacked(package), ("counted", "connectable", "evidenced")
    devices = pl.read_parquet(files["data/devices.parquet"]).with_columns(~pl.col(*columns))
    told = [str(one) for one in checked(sealed(files | {"data/devices.parquet": parquet(devices)})).faults]
    for column in columns:
        assert [one for one in told if one.startswith("data/devices.parquet: ") and "press" in one and column in one]


@pytest.fixture(scope="module")
def silent(tmp_path_factory) -> bytes:
    """The package of an hour of which a single sample is known."""
    folder = make_plant(tmp_path_factory.mktemp("silent") / "plant")
    (folder / "hour.csv").write_text(f"ts,point,value\n{START},press.state,1\n", encoding="utf-8")
    import_file(load_plant(folder), folder / "hour.csv")
    return built(folder)


def test_a_time_without_data_that_is_passed_off_as_evidenced_is_caught(silent):
    files = unpacked(silent)
    devices = pl.read_parquet(files["data/devices.parquet"])
    better = devices.with_columns(evidenced_ns=pl.col("planned_ns"), share=1.0, evidenced=True)
    told = fault(sealed(files | {"data/devices.parquet": parquet(better)}))
    assert "known time and gaps of press do not come to its planned time" in told


def test_the_cause_of_a_gap_that_the_samples_do_not_give_is_caught(silent):
    files = unpacked(silent)
    gaps = pl.read_parquet(files["data/gaps.parquet"])
    assert gaps.select("planned_ns", "cause").rows() == [(50 * MINUTE, "silent")]
    other = gaps.with_columns(cause=pl.lit("BadNoCommunication"))
    assert "data/gaps.parquet: cause of press at 2025-11-20 00:10:00.000000000+00:00 is stated" in fault(
        sealed(files | {"data/gaps.parquet": parquet(other)})
    )


def test_a_changed_register_row_is_named(package):
    files = unpacked(package)
    files["config/assets.csv"] = files["config/assets.csv"].replace(b",10", b",20")
    assert "ideal cycle of press is not that of the register inside: it is 10.0 s, the register says 20.0 s" in fault(
        sealed(files)
    )


def test_a_wrong_factor_is_named(package):
    files = unpacked(package)
    name = "rules/factors/sme-2024.toml"
    assert files[name].count(b"0.7143") == 1
    files[name] = files[name].replace(b"0.7143", b"0.6143")
    told = fault(sealed(files))
    assert (
        f"{name}: factors: bituminous_coal: factor is 0.6143 in the package, and 0.7143 in PlantProof's own rules"
        in told
    )


def test_a_changed_calendar_is_caught(package):
    files = unpacked(package)
    files["config/plant.toml"] = files["config/plant.toml"].replace(b"start = 08:00:00,", b"start = 08:30:00,")
    assert "planned time does not follow from the calendar inside: press, 2025-11-20 早班" in fault(sealed(files))


def test_a_changed_sample_of_the_lake_is_told(tmp_path, package):
    other = filled(tmp_path / "plant", total=5)
    told = fault(package, other / "lake")
    assert (
        "the lake's samples differ: 2025-11-20 press.total: other samples than the package was made of (60 rows)"
        in told
    )
    assert "data/facts.parquet: the lake gives other rows" in told


class Arriving(Lake):
    """A lake into which a sample comes each time when its samples are read, a few times."""

    def __init__(self, folder: Path, times: int) -> None:
        super().__init__(folder)
        self.times = times

    def rows(self, points, start, end):
        if self.times:
            self.times -= 1
            plant, more = self.folder.parent, self.folder.parent / f"more{self.times}.csv"
            more.write_text(f"ts,point,value\n{START + self.times * MINUTE + 1},press.state,3\n")
            import_file(load_plant(plant), more)
        return super().rows(points, start, end)


def test_samples_that_come_in_while_a_package_is_built_are_in_it_whole_or_it_is_not_built(tmp_path):
    folder = filled(tmp_path / "plant")
    of = Asked(period=(START, END), before=None, rubrics=())
    package = build(load_plant(folder), Arriving(folder / "lake", 1), of)
    assert about(package)["samples"] == 121
    assert checked(package, folder / "lake").faults == []
    with pytest.raises(StoreError, match="facts and samples of the period do not agree"):
        build(load_plant(folder), Arriving(folder / "lake", 39), of)


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
    assert checked(sealed(unpacked(package) | {name: data})).faults


@pytest.mark.parametrize(
    "about", [{}, {"start_ns": "now", "end_ns": 1}, {"start_ns": 2, "end_ns": 1}, {"start_ns": 1, "end_ns": 2**70}]
)
def test_a_descriptor_without_a_sound_period_is_a_fault_and_no_crash(package, about):
    files = unpacked(package)
    described = json.loads(files["datapackage.json"]) | {"plantproof": about}
    assert checked(sealed(files | {"datapackage.json": json.dumps(described).encode()})).faults


@pytest.mark.parametrize("name", ["facts", "demand", "devices", "gaps", "partitions", "samples", "timeline", "shifts"])
def test_frames_of_other_columns_are_a_fault_and_no_crash(package, name):
    forged = sealed(unpacked(package) | {f"data/{name}.parquet": parquet(pl.DataFrame({"asset": [1]}))})
    assert f"data/{name}.parquet: column" in fault(forged)


def test_a_few_bytes_that_would_be_very_many_rows_are_refused_before_they_are_read(package):
    bomb = parquet(pl.DataFrame({"asset": pl.repeat("press", 31_000_000, eager=True)}))
    assert len(bomb) < 1_000_000
    forged = sealed(unpacked(package) | {"data/facts.parquet": bomb})
    assert "data/facts.parquet: has 31000000 rows, more than" in fault(forged)


def test_sha256sum_checks_the_unpacked_package(tmp_path, package):
    with zipfile.ZipFile(io.BytesIO(package)) as whole:
        whole.extractall(tmp_path)
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
        assert resource["format"] in {"toml", "csv", "parquet", "json", "jsonl", "html", "txt", "xlsx"}


def test_an_independent_validator_of_data_packages_accepts_a_package(tmp_path, package):
    with zipfile.ZipFile(io.BytesIO(package)) as whole:
        whole.extractall(tmp_path)
    with frictionless() as library:
        report = library.validate(str(tmp_path / "datapackage.json"), type="package")
        assert report.valid, report.flatten(["fieldName", "type", "note"])
        assert len(report.tasks) == len(unpacked(package)) - 2
        (tmp_path / "devices.csv").write_bytes(b"asset\nother\n")
        assert not library.validate(str(tmp_path / "datapackage.json"), type="package").valid


def test_a_package_names_no_path_and_no_time_of_its_making(plant, package):
    assert str(plant).encode() not in package
    with zipfile.ZipFile(io.BytesIO(package)) as whole:
        assert {entry.date_time for entry in whole.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_tables_of_a_plant_are_in_its_package_below_config(plant, package):
    files = unpacked(package)
    for name in ("plant.toml", "assets.csv", "points.csv", "days/calendar.csv"):
        assert files[f"config/{name}"] == (plant / name).read_bytes()


def about(package: bytes) -> dict[str, object]:
    return json.loads(unpacked(package)["datapackage.json"])["plantproof"]


@pytest.fixture(scope="module")
def of_holidays(tmp_path_factory) -> bytes:
    """The package of a plant that never collected, whose calendar names a country."""
    folder = tmp_path_factory.mktemp("holidays") / "plant"
    return built(make_plant(folder, plant=PLANT.replace("shifts =", 'holidays = "CN"\nshifts =')))


def other_version(package: bytes, **versions: object) -> bytes:
    files = unpacked(package)
    described = json.loads(files["datapackage.json"])
    described["plantproof"] |= versions
    return sealed(files | {"datapackage.json": json.dumps(described, ensure_ascii=False, indent=1).encode()})


def test_a_package_names_the_versions_that_it_was_built_with(package):
    named = {name: importlib.metadata.version(name) for name in ("plantproof", "xlsxwriter")}
    assert about(package)["versions"] == named | {"rules": RULES}


def test_a_package_whose_calendar_names_a_country_names_the_library_and_the_days(of_holidays):
    package = of_holidays
    assert about(package)["versions"]["holidays"] == importlib.metadata.version("holidays")
    days = json.loads(unpacked(package)["rules/holidays.json"])["CN"]["2025"]
    assert "2025-10-01" in days["off"]
    assert "2025-09-28" in days["worked"]  # made up for the holiday
    assert checked(package).faults == []


def test_another_version_of_rules_or_holidays_is_a_note_and_no_fault(of_holidays):
    versions = about(of_holidays)["versions"] | {"rules": RULES + 1, "holidays": "0.1"}
    report = checked(other_version(of_holidays, versions=versions))
    notes = [note.en.partition(", verified with ")[0] for note in report.notes]
    assert f"built with rules {RULES + 1}" in notes
    assert "built with holidays 0.1" in notes


def test_a_package_of_another_format_is_told_as_that(package):
    assert "the package is of format 1, this version verifies format 2" in fault(other_version(package, format=1))


def test_a_package_is_of_the_same_revision_while_nothing_changed_and_of_the_next_when_something_did(tmp_path):
    folder = filled(tmp_path / "plant")
    first, again = built(folder), built(folder)
    assert first == again
    assert about(first)["revision"] == 1
    (folder / "assets.csv").write_text(ASSETS.replace("1号", "一号"), encoding="utf-8")
    second = built(folder)
    replaced = hashlib.sha256(unpacked(first)[MANIFEST]).hexdigest()
    assert about(second)["revision"] == 2
    assert about(second)["replaces"] == replaced
    assert checked(second, after=first).faults == []
    assert [str(one) for one in checked(first, after=second).faults] == [
        "is revision 1 of its period, and revision 2 is known; ask the plant for its last"
    ]


def test_a_signed_package_is_of_the_key_that_is_trusted_and_of_no_other(tmp_path, small):
    other = make_key(tmp_path / "other.pem")
    assert "signature.dsse.json is of the key " in "\n".join(map(str, checked(small, trusted=other.public_pem).faults))
    files = unpacked(small)
    unsigned = pack({name: data for name, data in files.items() if name != SIGNATURE})
    assert checked(unsigned).faults == []
    assert "the package is not signed" in str(checked(unsigned, trusted=other.public_pem).faults[0])


def test_a_signature_of_another_package_is_refused(tmp_path, small, plant):
    signer = make_key(tmp_path / "key.pem")
    mine = unpacked(built(plant, signer=signer))
    told = fault(pack(unpacked(small) | {SIGNATURE: mine[SIGNATURE]}))
    assert SIGNATURE in told


@pytest.fixture(scope="module")
def approved(tmp_path_factory) -> tuple[Path, bytes]:
    """A plant whose registers were approved, and its package."""
    folder = filled(tmp_path_factory.mktemp("approved") / "plant")
    approve(load_plant(folder), "王工", "", dt.datetime(2025, 11, 20, 9, tzinfo=dt.UTC))
    return folder, built(folder)


def test_the_registers_are_compared_with_those_that_were_approved(tmp_path, approved):
    assert "the registers are as 王工 approved them" in told(checked(approved[1]))
    folder = shutil.copytree(approved[0], tmp_path / "plant")
    (folder / "assets.csv").write_text(ASSETS.replace(",10", ",12"), encoding="utf-8")
    later = checked(built(folder))
    assert later.faults == []
    assert "not as approved by 王工: assets press: changed ideal_cycle '10' -> '12'" in [str(n) for n in later.notes]


def test_a_snapshot_of_approved_registers_that_was_changed_is_caught(approved):
    files = unpacked(approved[1])
    name = next(name for name in files if name.startswith("config/registers/") and name.endswith("assets.csv"))
    assert "assets.csv was changed" in fault(sealed(files | {name: files[name].replace(b",10", b",12")}))


def test_a_plant_whose_tables_lie_elsewhere_is_refused_with_the_next_step(tmp_path):
    folder = make_plant(
        tmp_path / "plant", plant=PLANT.replace("[[calendar]]", 'assets = "../assets.csv"\n[[calendar]]')
    )
    (folder / "assets.csv").rename(tmp_path / "assets.csv")
    with pytest.raises(PackageError, match="move the file into it"):
        built(folder)


def run(*words: object):
    return CliRunner().invoke(cli, ["evidence", *map(str, words)])


def test_the_command_builds_and_verifies_a_package_and_exits_4_on_a_changed_one(tmp_path, plant, package):
    out = tmp_path / "hour.zip"
    period = ("--from", "2025-11-20T08:00:00+08:00", "--to", "2025-11-20T09:00:00+08:00", "--rubric", "sme-2024")
    done = run("build", plant, *period, "--out", out)
    assert done.exit_code == exits.DONE
    assert "nothing is known of the year period before" in done.stderr
    assert "not signed: name a --key to sign it" in done.stderr
    assert out.read_bytes() == package
    good = run("verify", out, "--lake", plant / "lake", "--lang", "zh")
    assert "核验通过" in good.stdout.splitlines()
    assert good.exit_code == exits.DONE
    out.write_bytes(package.replace(b"0.6666", b"0.7777", 1))
    bad = run("verify", out)
    assert bad.stdout.splitlines()[-1] == "not verified"
    assert bad.exit_code == exits.VERIFY == 4
    said = json.loads(run("verify", out, "--json").stdout)
    assert said["verified"] is False
    assert said["faults"]


def test_the_command_signs_with_a_key_and_verifies_by_its_public_half(tmp_path, plant):
    make_key(tmp_path / "plant.key")
    out = tmp_path / "hour.zip"
    done = run("build", plant, "--rubric", "sme-2024", "--key", tmp_path / "plant.key", "--out", out)
    assert "signed with key " in done.stderr
    good = run("verify", out, "--key", tmp_path / "plant.key.pub")
    assert "signed with the trusted key" in good.stdout.replace("\n", " ")
    assert good.exit_code == exits.DONE


def test_a_package_that_cannot_be_written_is_told_without_a_traceback(tmp_path):
    result = run("build", filled(tmp_path / "plant"), "--rubric", "sme-2024", "--out", tmp_path / "none" / "hour.zip")
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
    package = built(folder)
    assert "config/drives/acme.csv" in unpacked(package)
    assert checked(package).faults == []


def entries(*ledger):
    return "".join(json.dumps({"ts": ts, "event": event, "reason": "r"}) + "\n" for ts, event in ledger)


@pytest.fixture(scope="module")
def cited(tmp_path_factory):
    """The package of an hour in which a source was lost twice and the agent restarted; a line of its ledger is torn."""
    plant = filled(tmp_path_factory.mktemp("cited") / "plant")
    (plant / "var" / "spool").mkdir(parents=True, exist_ok=True)
    before, inside = "2025-11-19T23:59:59.999999+00:00", "2025-11-20T00:30:00+00:00"
    lines = entries((before, "gap"), (inside, "gap"), (inside, "started"), (inside, "gap"))
    after = entries(("2025-11-20T01:00:00+00:00", "dropped"))
    (plant / "var" / "spool" / "ledger.jsonl").write_text(lines + '{"ts": "2025-11-20T00:31\n' + after)
    return built(plant)


def test_a_package_cites_the_ledgers_entries_of_its_period(cited):
    with zipfile.ZipFile(io.BytesIO(cited)) as whole:
        about = json.loads(whole.read("datapackage.json"))["plantproof"]
        lines = whole.read("ledger.jsonl").decode().splitlines()
    assert about["ledger"] == {"gap": 2, "started": 1}
    assert [json.loads(line)["event"] for line in lines] == ["gap", "started", "gap"]
    report = checked(cited)
    assert report.faults == []
    assert "3 entries of the agent's ledger are those that the package counts" in told(report)


def test_an_entry_that_was_taken_out_of_the_ledger_is_found(cited):
    with zipfile.ZipFile(io.BytesIO(cited)) as whole:
        files = {name: whole.read(name) for name in whole.namelist()}
    files["ledger.jsonl"] = files["ledger.jsonl"].split(b"\n", 1)[1]
    assert "datapackage.json: counts other events than ledger.jsonl has" in fault(sealed(files))


def test_without_the_agents_spool_at_hand_there_is_no_ledger_in_a_package(tmp_path):
    plant = filled(tmp_path / "plant")
    (plant / "var" / "spool" / "ledger.jsonl").unlink()
    package = built(plant)
    with zipfile.ZipFile(io.BytesIO(package)) as whole:
        assert "ledger.jsonl" not in whole.namelist()
    assert checked(package).faults == []

"""`plantproof doctor`: each case is found where it is planted, and only there; exit codes, languages, versions."""

import datetime as dt
import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from collector.doctor import examine, told
from collector.doctor_machine import NAMES, TRIED, Machine
from collector.doctor_places import read_mounts
from collector.doctor_words import CASES, TITLES
from collector.findings import found, worst
from plantproof import cli
from tests import certificates, serving

ROOT = Path(__file__).parents[1]
NOW = dt.datetime.now(dt.UTC).timestamp()
DISK = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw"


def machine(**other):
    """A machine on which nothing is wrong, but for what is given."""
    sound = Machine(
        python=(3, 11, 7),
        system="Linux",
        architecture="x86_64",
        path=(str(ROOT),),
        cwd=ROOT,
        owners={name: ["plantproof"] for name in NAMES},
        versions={name: tried[0] for name, tried in TRIED.items()},
        mounts=DISK,
        now=dt.datetime.now(dt.UTC).timestamp(),  # what a test writes just now is not of the future
        installed=NOW - 1000,
        synchronised=True,
        descriptors=1024,
        encodings={"output": "utf-8"},
        user=os.geteuid(),
    )
    return replace(sound, **other)


def seen(folder=None, **other):
    """The cases that are not ok."""
    return [one.case for one in examine(folder, machine(**other)) if CASES[one.case].level != "ok"]


def text(folder=None, **other):
    return "\n".join(map(str, told(examine(folder, machine(**other)), "en")))


@pytest.fixture
def plant(tmp_path):
    return serving.make_plant(tmp_path / "plant")


def test_a_sound_machine_and_plant_have_neither_warnings_nor_faults(plant):
    assert seen() == []
    assert seen(plant) == []


@pytest.mark.parametrize(
    ("other", "case"),
    [
        ({"python": (3, 10, 12)}, "python.old"),
        ({"architecture": "riscv64"}, "platform.other"),
        ({"owners": {"config": ["plantproof", "config"]}}, "names.owned"),
        ({"versions": {name: t[0] for name, t in TRIED.items()} | {"asyncua": None}}, "libraries.missing"),
        ({"versions": {name: t[0] for name, t in TRIED.items()} | {"asyncua": "3.0.1"}}, "libraries.other"),
        ({"descriptors": 256}, "descriptors.low"),
        ({"descriptors": 60}, "descriptors.few"),
        ({"encodings": {"output": "gbk"}}, "encoding.other"),
        ({"synchronised": False}, "clock.alone"),
        ({"now": 0.0}, "clock.unset"),
    ],
)
def test_what_is_wrong_with_a_machine_is_told_and_nothing_else(other, case):
    assert seen(**other) == [case]


def test_a_patch_of_a_library_and_newer_time_zones_are_no_matter():
    versions = {name: tried[0] for name, tried in TRIED.items()}
    assert seen(versions=versions | {"asyncua": "2.1.9", "tzdata": "2031.1"}) == []


def test_the_versions_that_were_tried_are_those_of_the_lock():
    locked = re.findall(r"^([a-z0-9-]+)==([\w.]+)", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE)
    assert {name: tuple(v for n, v in locked if n == name) for name in TRIED} == TRIED


def test_every_library_of_the_agent_is_looked_at():
    (listed,) = re.findall(
        r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert set(re.findall(r'"([a-z0-9-]+)', listed)) == set(TRIED)


def test_a_folder_of_our_name_where_we_stand_is_told_while_python_looks_there(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "__init__.py").touch()
    where = {"cwd": tmp_path, "path": ("", str(ROOT))}
    assert seen(cwd=tmp_path, path=(str(ROOT),)) == []
    assert seen(**where) == ["names.folder", "safe_path.off"]
    assert seen(**where, safe_path=True) == []


def test_a_module_that_is_taken_from_elsewhere_is_told_with_both_places(tmp_path):
    (tmp_path / "kpis.py").touch()
    assert seen(path=(str(tmp_path), str(ROOT))) == ["names.shadowed"]
    assert f"kpis is taken from {tmp_path / 'kpis.py'}, the others from {ROOT}" in text(path=(str(tmp_path), str(ROOT)))


def test_a_folder_without_a_module_shadows_nothing(tmp_path):
    (tmp_path / "config").mkdir()
    assert seen(path=(str(tmp_path), str(ROOT))) == []


def test_a_clock_behind_what_was_written_is_told_with_both_times(plant):
    spool = plant / "var" / "spool"
    spool.mkdir(parents=True)
    for ahead, cases in ((4, []), (60, ["clock.back"])):
        updated = dt.datetime.fromtimestamp(NOW + ahead, dt.UTC).isoformat()
        (spool / "status.json").write_text(json.dumps({"updated": updated}))
        assert seen(plant, now=NOW) == cases
    assert "60 s ahead" in text(plant, now=NOW)


def test_the_clock_is_held_against_the_lakes_newest_sample(tmp_path):
    folder = serving.filled(tmp_path / "plant")  # an hour of November 2025, imported
    assert seen(folder) == []
    assert seen(folder, now=NOW - 400 * 86_400, installed=0.0) == ["clock.back"]


def test_the_clock_of_a_source_that_was_in_doubt_is_told(plant):
    spool = plant / "var" / "spool"
    spool.mkdir(parents=True)
    flags = {"the server's clock is ahead by more than a minute": 3, "retained": 2}
    (spool / "status.json").write_text(json.dumps({"sources": {"line1": {"flags": flags}}}))
    assert seen(plant) == ["clock.source"]


@pytest.mark.parametrize(
    ("mount", "case"),
    [
        ("nfs4 server:/x rw", "mount.network"),
        ("cifs //server/x rw", "mount.network"),
        ("tmpfs tmpfs rw", "mount.memory"),
        ("overlay overlay rw", "mount.layer"),
    ],
)
def test_a_spool_on_something_else_than_a_disk_is_told(plant, mount, case):
    mounts = f"{DISK}\n28 27 0:1 / {plant / 'var'} rw - {mount}"
    (plant / "var").mkdir()
    assert seen(plant, mounts=mounts) == [case, case]  # spool and evidence lie there, the lake does not


def test_a_folder_that_is_mounted_read_only_is_a_fault(plant):
    assert set(seen(plant, mounts=DISK.replace("rw,relatime", "ro,relatime"))) == {"mount.read_only"}


def test_the_last_of_two_mounts_at_one_point_counts(plant):
    mounts = f"30 27 0:1 / / rw - tmpfs tmpfs rw\n{DISK}"
    assert seen(plant, mounts=mounts) == []


def test_a_mount_point_with_a_space_is_read_as_proc_writes_it():
    (mount,) = read_mounts("28 27 0:1 / /mnt/two\\040words ro,nosuid - nfs server:/x rw")
    assert (mount.point, mount.kind, mount.read_only) == (Path("/mnt/two words"), "nfs", True)


def room(monkeypatch, **figures):
    """Let each disk have 100 GiB free and inodes enough, but for what is given."""
    whole = {"f_bavail": 100 * 2**30, "f_frsize": 1, "f_files": 1000, "f_favail": 900}
    made = type("Disk", (), whole | figures)
    monkeypatch.setattr("os.statvfs", lambda _: made)


@pytest.mark.parametrize(
    ("figures", "case"),
    [
        ({"f_bavail": 60 * 2**20}, ["room.none"] * 3),  # less than a segment of 64 MiB
        ({"f_bavail": 2**30}, ["room.low"]),  # the spool may grow to 2 GiB
        ({"f_favail": 49}, ["inodes.low"] * 3),
        ({"f_favail": 0}, ["inodes.none"] * 3),
        ({"f_files": 0, "f_favail": 0}, []),  # the file system makes them as it goes
    ],
)
def test_room_and_inodes_that_are_short_are_told(plant, monkeypatch, figures, case):
    room(monkeypatch, **figures)
    assert seen(plant) == case


def test_a_lake_that_is_full_within_30_days_at_its_last_days_pace_is_told(tmp_path, monkeypatch):
    folder = serving.make_plant(tmp_path / "plant")
    day = folder / "lake" / "samples" / "date=2025-11-20"
    day.mkdir(parents=True)
    (day / "x.dat").write_bytes(b"x" * 2**20)
    for days, cases in ((29, ["room.short"]), (31, [])):
        room(monkeypatch, f_bavail=days * 2**20)
        (folder / "plant.toml").write_text(serving.PLANT + '[spool]\nsegment_size = "1MiB"\nmax_size = "2MiB"\n')
        assert seen(folder) == cases


def secret(plant, mode, name="token"):
    (plant / "secrets").mkdir(exist_ok=True)
    file = plant / "secrets" / name
    file.write_text("secret")
    file.chmod(mode)
    sink = '[[sink]]\nkind = "influxdb"\nurl = "http://127.0.0.1:1"\norg = "o"\nbucket = "b"\n'
    reference = f"${{file:secrets/{name}}}"
    (plant / "plant.toml").write_text(f'{serving.PLANT}{sink}token = "{reference}"\n', encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("mode", "cases"),
    [(0o600, []), (0o640, []), (0o644, ["secrets.open"]), (0o604, ["secrets.open"]), (0o660, ["secrets.changeable"])],
)
def test_a_secret_file_is_nobody_elses_to_read_or_change(plant, mode, cases):
    secret(plant, mode)
    assert seen(plant) == cases
    assert "secret\n" not in text(plant)


def test_a_secret_file_that_is_not_there_is_a_fault(plant):
    secret(plant, 0o600).unlink()
    assert seen(plant) == ["secrets.unreadable"]


def tls(plant, made, key=None):
    """Let a Modbus source show a certificate."""
    paths = made.stored(plant / "pki", "agent")
    paths[1].write_bytes(key if key is not None else made.key_bytes())
    paths[1].chmod(0o600)
    source = '[[source]]\nid = "m"\nkind = "modbus"\nurl = "modbus+tls://127.0.0.1:1"\n'
    pair = 'certificate = "pki/agent.pem"\nprivate_key = "pki/agent.key"\n'
    (plant / "plant.toml").write_text(serving.PLANT + source + pair, encoding="utf-8")


@pytest.mark.parametrize(
    ("begin", "end", "cases"),
    [
        (-1, 31, []),
        (-1, 29, ["certificates.soon"]),
        (-9, -1, ["certificates.expired"]),
        (1, 99, ["certificates.early"]),
    ],
)
def test_a_certificate_is_told_30_days_before_its_end(plant, begin, end, cases):
    tls(plant, certificates.leaf(begin=begin * certificates.DAY, end=end * certificates.DAY))
    assert seen(plant) == cases


@pytest.mark.parametrize(
    ("key", "cases"),
    [
        (None, []),
        (certificates.leaf("another").key_bytes(), ["certificates.mismatch"]),
        (b"no key", ["certificates.no_key"]),
    ],
)
def test_a_key_belongs_to_its_certificate(plant, key, cases):
    tls(plant, certificates.leaf(), key)
    assert seen(plant) == cases


def test_a_trusted_certificate_that_cannot_be_read_or_has_ended_is_told(plant):
    trusted = plant / "pki" / "trusted"
    trusted.mkdir(parents=True)
    (trusted / "a.der").write_bytes(certificates.leaf(begin=-9 * certificates.DAY, end=-certificates.DAY).der)
    (trusted / "b.pem").write_text("nothing")
    source = '[[source]]\nid = "o"\nkind = "opcua"\nurl = "opc.tcp://127.0.0.1:1"\nsecurity = "None"\n'
    (plant / "plant.toml").write_text(serving.PLANT + source, encoding="utf-8")
    assert seen(plant) == ["certificates.expired", "certificates.unreadable"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_the_spool_that_somebody_else_owns_is_told(plant):
    spool = plant / "var" / "spool"
    spool.mkdir(parents=True)
    (spool / "lock").touch()
    os.chown(spool / "lock", 12345, -1)
    assert seen(plant) == ["writable.owner"]


def test_a_spool_that_is_a_file_cannot_be_written(plant):
    (plant / "var").mkdir()
    (plant / "var" / "spool").write_text("")
    assert seen(plant) == ["writable.no"]


def test_an_old_sqlite_matters_where_a_database_is_read_with_it(plant):
    assert seen(plant, sqlite=(3, 40, 1)) == []
    source = '[[business_source]]\nid = "erp"\nurl = "sqlite:///erp.db"\nquery = "select 1"\n'
    (plant / "plant.toml").write_text(serving.PLANT + source, encoding="utf-8")
    assert seen(plant, sqlite=(3, 51, 3)) == []
    assert seen(plant, sqlite=(3, 40, 1)) == ["sqlite.old"]


def test_a_configuration_at_fault_is_one_fault_and_the_rest_is_checked_all_the_same(plant):
    (plant / "plant.toml").write_text(serving.PLANT + '[[source]]\nid = "a b"\nkind = "x"\nurl = "y"\n', "utf-8")
    assert seen(plant, descriptors=60) == ["config.faults", "descriptors.few"]


@pytest.mark.parametrize("case", CASES)
def test_every_case_is_told_whole_in_both_languages(case):
    what = CASES[case]
    assert case.partition(".")[0] in TITLES
    holes = [set(re.findall(r"{(\w+)}", "".join(getattr(said, lang) for said in what[1:]))) for lang in ("en", "zh")]
    assert holes[0] == holes[1]
    assert what.level == "ok" or all(said.en and said.zh for said in what[1:])


def test_a_name_with_an_escape_sequence_sends_none_to_the_terminal():
    (one,) = told([found("names.folder", path="/x/\x1b[31m\n")], "en")
    assert "\\x1b[31m\\n" in str(one)


def test_the_gravest_level_is_that_of_the_whole():
    assert [worst(()), worst(("ok", "warning")), worst(("fault", "ok"))] == ["ok", "warning", "fault"]


@pytest.mark.parametrize(
    ("other", "code"),
    [({}, 0), ({"synchronised": False}, 3), ({"descriptors": 60, "synchronised": False}, 4)],
)
def test_the_exit_code_says_the_gravest(plant, monkeypatch, other, code):
    monkeypatch.setattr(Machine, "this", lambda: machine(**other))
    result = CliRunner().invoke(cli, ["doctor", str(plant), "--json"])
    assert result.exit_code == code
    levels = {one["level"] for one in json.loads(result.stdout)}
    assert max(levels, key=["ok", "warning", "fault"].index) == {0: "ok", 3: "warning", 4: "fault"}[code]


def test_a_configuration_at_fault_ends_with_78(plant):
    (plant / "plant.toml").write_text("version = 1\n")
    assert CliRunner().invoke(cli, ["doctor", str(plant)]).exit_code == 78


def test_it_speaks_chinese(plant, monkeypatch):
    monkeypatch.setattr(Machine, "this", lambda: machine(synchronised=False))
    result = CliRunner().invoke(cli, ["doctor", str(plant), "--lang", "zh"])
    assert "警告" in result.stdout
    assert "时钟：" in result.stdout  # with Chinese marks throughout
    assert "; " not in result.stdout
    assert "故障 0 处，警告 1 处" in result.stderr


def test_this_machine_is_looked_at_without_a_fault_of_doctors_own():
    found_here = examine(None, Machine.this())
    assert {one.case.partition(".")[0] for one in found_here} >= {"python", "names", "libraries", "clock", "encoding"}
    assert ".".join(map(str, sys.version_info[:3])) in told(found_here, "en")[0].seen


TROUBLES = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")


def test_every_case_that_is_not_ok_has_its_row_in_the_docs():
    told_there = re.findall(r"^\| [^|]+ \| `([a-z_]+\.[a-z_]+)` \| (\w+) \|", TROUBLES, re.MULTILINE)
    assert told_there == [(name, case.level) for name, case in CASES.items() if case.level != "ok"]


def sources():
    """The program's texts, each literal that goes on in the next line put together, and what is filled in left out."""
    files = [path for room in ("collector", "config", "connectors") for path in (ROOT / room).rglob("*.py")]
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text("utf-8") for path in files))


def test_every_message_of_the_docs_is_one_of_the_programs():
    program = sources()
    messages = re.findall(r"^\| `([^`]*[a-z]{3,} [^`]*)` \|", TROUBLES, re.MULTILINE)
    assert len(messages) > 25
    for message in messages:
        # "Permission denied" and 0x86 are words of the system's and of a table.
        for part in re.split(r"\.\.\.|\(Permission denied\)|\(0x86\)|bad user name or password", message):
            assert part.strip(" ;:().") in program, message

"""Installing as a service: what is touched is listed first, once more changes nothing, and data always stays."""

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from collector import install, unit_files
from collector.install import LINK, SERIAL, SYSUSERS, TMPFILES, UNIT
from config.load import load_plant
from connectors.sim.modbus import ModbusServer, words
from plantproof import cli
from tests.running import until

SYSTEMD = Path(__file__).parents[1] / "deploy" / "systemd"
TOML = """version = 1
[plant]
id = "p"
[[source]]
id = "meters"
kind = "modbus"
url = "{url}"
[[source]]
id = "line1"
kind = "opcua"
url = "opc.tcp://192.168.10.21:4840"
security = "Basic256Sha256/SignAndEncrypt"
agent = "gw2"
[spool]
path = "/var/lib/plantproof/spool"
[[sink]]
kind = "parquet"
path = "{lake}"
"""


@pytest.fixture
def root(tmp_path):
    """A system that has PlantProof in /opt/plantproof and a plant in /etc/plantproof."""
    (tmp_path / "opt/plantproof/bin").mkdir(parents=True)
    (tmp_path / "opt/plantproof/bin/plantproof").touch()
    written(tmp_path)
    return tmp_path


def written(root, url="modbus+tcp://192.168.10.40:502", lake="/var/lib/plantproof/lake"):
    folder = root / "etc/plantproof"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plant.toml").write_text(TOML.format(url=url, lake=lake))
    (folder / "assets.csv").write_text("asset\nm\n")
    (folder / "points.csv").write_text("point,asset,source,address,type\np,m,meters,1/holding:0,uint16\n")


def verb(name, root, *words, code=0):
    place = [str(root / "etc/plantproof"), "--prefix", "/opt/plantproof"] if name == "install" else []
    result = CliRunner().invoke(cli, [name, *place, "--root", str(root), *words])
    assert result.exit_code == code, result.output
    return result.output


def steps(output):
    """What is done to what: the first two words of each line."""
    return [tuple(line.split()[:2]) for line in output.splitlines()]


def tree(root):
    """Every file and link of a system, with its text."""
    return {
        str(path.relative_to(root)): str(path.readlink()) if path.is_symlink() else path.read_text()
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def changed(root, before):
    return {f"/{name}" for name, text in tree(root).items() if before.get(name) != text}


def test_it_lists_what_it_writes_and_writes_no_more(root):
    before = tree(root)
    listed = steps(verb("install", root))
    assert listed == [("write", SYSUSERS), ("write", UNIT), ("link", LINK)]
    assert changed(root, before) == {SYSUSERS, UNIT, LINK}


def test_a_dry_run_lists_the_same_and_touches_nothing(root):
    before = tree(root)
    planned = verb("install", root, "--serial", "/dev/ttyUSB0", "--dry-run")
    assert tree(root) == before
    assert verb("install", root, "--serial", "/dev/ttyUSB0") == planned


def test_once_more_changes_nothing(root):
    verb("install", root)
    before = tree(root)
    assert {do for do, _ in steps(verb("install", root))} == {"keep"}
    assert tree(root) == before


def test_the_unit_runs_this_environment_and_this_plant(root):
    verb("install", root, "--agent", "gw1")
    unit = (root / UNIT[1:]).read_text()
    assert "ExecStart=/opt/plantproof/bin/plantproof run /etc/plantproof --agent gw1 --json\n" in unit
    assert "ReadWritePaths" not in unit  # all lies below /var/lib/plantproof


def test_what_lies_elsewhere_is_made_for_the_agent_and_stays_writable(root):
    written(root, lake="/srv/lake")
    listed = steps(verb("install", root, "--agent", "gw2"))
    assert ("write", TMPFILES) in listed
    # gw2 reads an OPC UA source with security, whose certificates lie in the plant's folder
    assert "ReadWritePaths=/srv/lake /etc/plantproof/pki\n" in (root / UNIT[1:]).read_text()
    assert (root / TMPFILES[1:]).read_text().splitlines()[1:] == [
        "d /srv/lake 0750 plantproof plantproof -",
        "d /etc/plantproof/pki 0750 plantproof plantproof -",
    ]


def test_a_serial_port_that_the_plant_reads_is_asked_for(root):
    written(root, url="modbus+rtu:///dev/ttyUSB0?baud=9600")
    assert ("note", "/dev/ttyUSB0") in steps(verb("install", root, "--dry-run"))
    assert ("write", SERIAL) in (listed := steps(verb("install", root, "--serial", "/dev/ttyUSB0")))
    assert not [step for step in listed if step[0] == "note"]
    lines = (root / SERIAL[1:]).read_text().splitlines()
    assert lines[1:] == ["[Service]", "PrivateDevices=no", "DeviceAllow=char-ttyUSB rw", "SupplementaryGroups=dialout"]


@pytest.mark.parametrize(
    ("port", "allowed"),
    [
        ("/dev/ttyUSB0", ["char-ttyUSB"]),  # comes back as ttyUSB1
        ("/dev/ttyACM3", ["char-ttyACM"]),
        ("/dev/serial/by-id/usb-FTDI-if00", ["char-ttyUSB", "char-ttyACM"]),
        ("/dev/ttyS1", ["/dev/ttyS1"]),  # soldered in
    ],
)
def test_an_adapter_that_is_plugged_in_anew_may_come_back_by_another_number(port, allowed):
    lines = unit_files.serial((port,)).splitlines()
    assert [line for line in lines if line.startswith("DeviceAllow")] == [f"DeviceAllow={one} rw" for one in allowed]


def test_a_file_that_someone_else_wrote_is_never_overwritten(root):
    (root / "etc/systemd/system").mkdir(parents=True)
    (root / UNIT[1:]).write_text("[Service]\nExecStart=/usr/local/bin/mine\n")
    before = tree(root)
    assert f"{UNIT} was not written by plantproof install; move it away" in verb("install", root, code=1)
    assert tree(root) == before
    (root / LINK[1:]).parent.mkdir()
    (root / LINK[1:]).symlink_to(UNIT)
    before = tree(root)
    assert {("keep", UNIT), ("keep", LINK)} <= set(steps(verb("uninstall", root)))
    assert tree(root) == before


def test_another_prefix_replaces_the_unit(root):
    verb("install", root)
    shutil.copytree(root / "opt/plantproof", root / "opt/next")
    assert ("replace", UNIT) in steps(verb("install", root, "--prefix", "/opt/next"))
    assert "ExecStart=/opt/next/bin/plantproof run" in (root / UNIT[1:]).read_text()


def test_uninstalling_leaves_the_system_as_it_was_before(root):
    before = tree(root)
    written(root, lake="/srv/lake")
    verb("install", root, "--serial", "/dev/ttyUSB0")
    written(root)
    removed = [target for do, target in steps(verb("uninstall", root)) if do == "remove"]
    assert removed == [LINK, SERIAL, UNIT, TMPFILES, SYSUSERS]
    assert tree(root) == before
    assert {do for do, _ in steps(verb("uninstall", root))} == {"keep"}


def test_uninstalling_removes_no_spool_lake_configuration_user_or_drop_in_of_others(root):
    written(root, lake="/srv/lake")
    verb("install", root, "--serial", "/dev/ttyUSB0")
    data = ["var/lib/plantproof/spool/segment.log", "srv/lake/samples.parquet", f"{UNIT[1:]}.d/override.conf"]
    for name in data:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("precious")
    output = verb("uninstall", root)
    kept = [target for do, target in steps(output) if do == "keep"]
    assert kept == ["/etc/plantproof", "/srv/lake", "/var/lib/plantproof", "user"]
    assert all((root / name).read_text() == "precious" for name in data)
    assert (root / "etc/plantproof/plant.toml").exists()


def test_a_dry_run_of_uninstalling_removes_nothing(root):
    verb("install", root)
    before = tree(root)
    assert ("remove", UNIT) in steps(verb("uninstall", root, "--dry-run"))
    assert tree(root) == before


def test_the_steps_are_a_json_list_when_asked_for(root):
    listed = json.loads(verb("install", root, "--dry-run", "--json"))
    assert [(step["do"], step["target"]) for step in listed] == steps(verb("install", root, "--dry-run"))


def test_a_configuration_at_fault_installs_nothing(root):
    (root / "etc/plantproof/plant.toml").write_text('version = 1\n[plant]\nid = "p"\nnmae = "x"\n')
    before = tree(root)
    result = CliRunner().invoke(cli, ["install", str(root / "etc/plantproof"), "--root", str(root)])
    assert "nmae" in str(result.exception)  # the front door tells it and exits 78
    assert tree(root) == before


@pytest.mark.parametrize(
    ("path", "fault"),
    [("/etc/my plant", "without spaces"), ("/home/op/plant", "does not see"), ("plant", "absolute"), ("/a%b", "%")],
)
def test_a_path_that_a_unit_cannot_hold_or_the_service_cannot_see_is_refused(path, fault):
    with pytest.raises(install.NotInstallable, match=fault):
        install.check_path(path, "the plant's folder")


def test_a_prefix_without_the_command_is_refused(root):
    assert "/opt/gone/bin/plantproof is not there" in verb("install", root, "--prefix", "/opt/gone", code=1)


def test_without_a_prefix_the_command_s_own_environment_is_named_as_the_image_has_it(root, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(root / "opt/plantproof"))
    result = CliRunner().invoke(cli, ["install", str(root / "etc/plantproof"), "--root", str(root)])
    assert result.exit_code == 0, result.output
    assert "ExecStart=/opt/plantproof/bin/plantproof run /etc/plantproof" in (root / UNIT[1:]).read_text()


@pytest.mark.parametrize("start", ["#!{root}/opt/p/bin/python", "#!/bin/sh\n'''exec' {root}/opt/p/bin/python"])
def test_an_environment_of_an_image_that_would_not_start_there_is_refused(root, start):
    # Made from outside: its scripts name Python below the image's folder, a path that is gone once the image boots.
    (root / "opt/plantproof/bin/plantproof").write_text(start.format(root=root))
    assert "another path once it boots" in verb("install", root, code=1)
    assert not (root / UNIT[1:]).exists()


def test_a_plant_outside_of_the_root_is_refused(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    written(other)
    words = ["install", str(other / "etc/plantproof"), "--root", str(root), "--prefix", "/opt/plantproof"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 1
    assert "is not below" in result.output


def test_the_running_system_is_changed_by_root_alone(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(install, "perform", lambda *_: pytest.fail("touched"))
    result = CliRunner().invoke(cli, ["uninstall"])
    assert result.exit_code == 1
    assert "wants root" in result.output


def test_on_a_running_system_the_user_and_the_folders_come_before_the_start(root, monkeypatch):
    written(root, lake="/srv/lake")
    plant = load_plant(root / "etc/plantproof")
    found = install.installation(plant, "/etc/plantproof", prefix="/opt/plantproof", root=root)
    monkeypatch.setattr(install, "BOOTED", root)
    commands = [s.target for s in install.with_commands(found, Path("/"), install=True) if s.do == "run"]
    assert commands == [
        f"systemd-sysusers {SYSUSERS}",
        f"systemd-tmpfiles --create {TMPFILES}",
        "systemctl daemon-reload",
        "systemctl restart plantproof.service",
    ]


def test_a_running_service_is_stopped_before_its_unit_goes_and_another_is_left_alone(root, monkeypatch):
    monkeypatch.setattr(install, "BOOTED", root)

    def commands():
        return [
            s.target for s in install.with_commands(install.removal(root), Path("/"), install=False) if s.do == "run"
        ]

    assert commands() == []
    verb("install", root)
    assert commands() == ["systemctl stop plantproof.service", "systemctl daemon-reload"]


def test_configuration_that_the_agent_cannot_read_is_told(root):
    (root / "etc/plantproof/plant.toml").chmod(0o600)
    assert ("note", "/etc/plantproof/plant.toml") in steps(verb("install", root, "--dry-run"))


def test_a_secret_of_systemd_is_read_by_its_absolute_path(root, tmp_path_factory):
    credentials = tmp_path_factory.mktemp("credentials")
    (credentials / "line1").write_text("geheim 密码\n")
    toml = root / "etc/plantproof/plant.toml"
    toml.write_text(
        toml.read_text().replace("agent =", f'user = "u"\npassword = "${{file:{credentials}/line1}}"\nagent =')
    )
    plant = load_plant(root / "etc/plantproof", secrets=True)
    assert plant.sources[1].password.get_secret_value() == "geheim 密码"


def test_the_files_in_deploy_are_what_install_writes():
    assert (SYSTEMD / "plantproof.service").read_text() == unit_files.unit(
        prefix="/opt/plantproof", plant="/etc/plantproof"
    )
    assert (SYSTEMD / "plantproof.service.d/serial.conf").read_text() == unit_files.serial(["/dev/ttyUSB0"])


def test_the_unit_tells_systemd_when_it_is_ready_and_is_watched():
    unit = (SYSTEMD / "plantproof.service").read_text()
    for line in ("Type=notify", "NotifyAccess=main", "WatchdogSec=60", "Restart=always"):
        assert f"\n{line}\n" in unit
    assert re.search(r"^Environment=.*\bPYTHONSAFEPATH=1\b", unit, re.MULTILINE)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("ports", [(), ("/dev/ttyUSB0",)])
def test_the_units_exposure_is_at_most_1_5_and_systemd_finds_no_fault_in_it(tmp_path, ports):
    command = tmp_path / "bin" / "plantproof"
    command.parent.mkdir()
    command.touch(mode=0o755)
    unit = tmp_path / unit_files.NAME
    unit.write_text(unit_files.unit(prefix=str(tmp_path), plant="/etc/plantproof"))
    if ports:
        (tmp_path / f"{unit_files.NAME}.d").mkdir()
        (tmp_path / f"{unit_files.NAME}.d" / "serial.conf").write_text(unit_files.serial(ports))
    subprocess.run(["systemd-analyze", "security", "--offline=yes", "--threshold=15", unit], check=True)
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")


def confined(unit, *command):
    """The words that run a command under a unit's system call filters."""
    return [sys.executable, "-m", "tests.confined", str(unit), *map(str, command)]


def can_confine():
    return shutil.which("systemd-analyze") is not None and find_library("seccomp") is not None


@pytest.mark.skipif(not can_confine(), reason="systemd-analyze or libseccomp is not installed")
def test_the_agent_collects_under_the_units_system_call_filters(tmp_path):
    async def collect():
        async with ModbusServer({1: lambda: words(7, 1)}) as server:
            folder = tmp_path / "etc/plantproof"
            written(tmp_path, url=server.endpoint, lake=tmp_path / "lake")
            toml = (folder / "plant.toml").read_text().replace("/var/lib/plantproof/spool", f"{tmp_path}/spool")
            (folder / "plant.toml").write_text(toml.replace('agent = "gw2"', 'agent = "gw1"'))
            agent = await asyncio.create_subprocess_exec(
                *confined(SYSTEMD / "plantproof.service", sys.executable, "-m", "plantproof", "run", folder, "--json"),
                stderr=asyncio.subprocess.PIPE,
            )
            report = tmp_path / "spool/status.json"
            await until(lambda: agent.returncode is not None or (report.exists() and rows_of(report)))
            if agent.returncode is None:
                agent.send_signal(signal.SIGTERM)
            _, log = await asyncio.wait_for(agent.communicate(), 30)
            return agent.returncode, log.decode()

    code, log = asyncio.run(collect())
    assert code == 0, log
    kept = pl.read_parquet(tmp_path / "lake/samples/*/*.parquet", hive_partitioning=False)
    assert 7.0 in kept["value"].to_list()


def rows_of(report):
    return json.loads(report.read_text())["sources"].get("meters", {}).get("rows", 0)


@pytest.mark.skipif(not can_confine(), reason="systemd-analyze or libseccomp is not installed")
def test_the_units_system_call_filters_refuse_what_no_agent_does():
    tries = (
        "import os, socket\n"
        "for call in (lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW), lambda: os.chroot('/'),\n"
        "             lambda: os.setpriority(os.PRIO_PROCESS, 0, 5), lambda: socket.socket(socket.AF_INET).close()):\n"
        "    try: print(call())\n"
        "    except OSError as error: print(error.strerror)\n"
    )
    command = confined(SYSTEMD / "plantproof.service", sys.executable, "-c", tries)
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["Address family not supported by protocol", *["Operation not permitted"] * 2, "None"]

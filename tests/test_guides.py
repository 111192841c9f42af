"""The quick start runs as it is written; what the guides name is there; both languages say the same."""

import ast
import datetime as dt
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from asyncua.ua.status_codes import StatusCodes
from click.testing import CliRunner

from connectors.mqtt.reasons import NAMES
from plantproof import cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
QUICK, QUICK_ZH = DOCS / "quick-start.md", DOCS / "quick-start.zh-CN.md"
GUIDE, GUIDE_ZH, UPGRADE = DOCS / "plant-it.md", DOCS / "plant-it.zh-CN.md", DOCS / "upgrade.md"
PAGES = (QUICK, QUICK_ZH, GUIDE, GUIDE_ZH, UPGRADE, DOCS / "README.md", ROOT / "SECURITY.md")
EN = ["mapped", "partly", "by the host", "not covered", "not applicable"]
STATES = [*EN, "已对应", "部分对应", "由主机或网络负责", "未覆盖", "不适用"]
OPENS = {
    "open_connection", "create_connection", "create_datagram_endpoint", "PoolManager", "HTTPConnection",
    "HTTPSConnection", "InfluxDBClient", "create_engine", "urlopen", "Client", "connect_socket",
}  # fmt: skip
"""Calls that open a connection to another machine."""
PORT = "48400"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d[\d.,:]*")


def blocks(path, after="## 2."):
    """The (language, text) of a page's blocks from a heading on."""
    text = path.read_text("utf-8")
    return [(m[1], m[2]) for m in BLOCK.finditer(text[text.index(after) :])]


def plain(line):
    """A line without its numbers and its padding, which are others in each run."""
    return " ".join(NUMBER.sub("#", re.sub(r"[│┃|]", " ", line)).split())


def missing(shown, printed):
    """The first line that is shown and was not printed after the one before it; None where all were."""
    lines = iter([plain(line) for line in printed.splitlines()])
    for line in shown.splitlines():
        if line != "..." and not any(plain(line) == other for other in lines):
            return line
    return None


def script(path, port):
    """All commands of a guide, each block's output between marks with its exit code."""
    told = [text for language, text in blocks(path) if language == "sh"]
    return "".join(f"{text}echo '@@@' $?\n" for text in told).replace(PORT, port)


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """A folder with the commands `plantproof` and `python`, as an activated environment has them."""
    folder = tmp_path_factory.mktemp("bin")
    for name, words in (("plantproof", "-m plantproof"), ("python", "")):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def ran(commands, tmp_path_factory):
    """The folder in which the quick start was run, and what each of its blocks printed, with its exit code."""
    folder = tmp_path_factory.mktemp("quick")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "160", "PYTHONUTF8": "1"}
    shell = subprocess.Popen(
        ["sh"], cwd=folder, env=environment, text=True, encoding="utf-8", stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        printed, _ = shell.communicate(script(QUICK, port), timeout=90)
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, 9)
    parts = re.split(r"^@@@ (\d+)\n", printed, flags=re.MULTILINE)
    return folder, port, list(zip(parts[::2], map(int, parts[1::2]), strict=False))


def test_every_command_of_the_quick_start_ends_well(ran):
    _, _, done = ran
    commands_told = [text for language, text in blocks(QUICK) if language == "sh"]
    assert len(done) == len(commands_told), done
    for command, (text, code) in zip(commands_told, done, strict=True):
        assert code == 0 or (code == 3 and command.startswith("plantproof kpi")), text  # 3: a figure has a warning


def test_the_quick_start_shows_what_its_commands_print(ran):
    _, port, done = ran
    printed = iter([text for text, _ in done])
    last = ""
    for language, text in blocks(QUICK):
        if language == "sh":
            last = next(printed)
        else:
            assert missing(text.replace(PORT, port), last) is None, last


def test_the_oee_of_the_quick_start_is_near_the_presss_own(ran):
    folder, _, done = ran
    (table,) = [text for text, _ in done if "effectiveness" in text and "quality_ratio" in text]
    value = {kpi: float(share) for kpi, share in re.findall(r"│ (\w+) +│ +([\d.]+)%", table)}
    assert value["availability"] == pytest.approx(80, abs=8)  # 4 s of each 5 s; two rounds and a bit
    assert value["oee"] == pytest.approx(57.6, abs=16)  # of some 18 pieces one or two are scrap
    assert value["oee"] < value["availability"]
    assert not (folder / "press.log").read_text().count("Traceback")


def test_the_quick_start_has_the_same_blocks_in_both_languages_but_for_what_check_says_in_each(ran):
    folder, port, _ = ran
    printed = [said("check", folder / "my-plant", *words).replace(port, PORT) for words in ((), ("--lang", "zh"))]
    english, chinese = (text.splitlines() for text in printed)
    told = dict(zip(english, chinese, strict=True)) | {
        "plantproof check my-plant": "plantproof check my-plant --lang zh"
    }
    expected = [
        (name, "".join(f"{told.get(line, line)}\n" for line in text.splitlines())) for name, text in blocks(QUICK, "# ")
    ]
    assert blocks(QUICK_ZH, "# ") == expected != blocks(QUICK, "# ")


def test_a_restored_backup_is_whole_and_gives_the_same_figures(ran, tmp_path, monkeypatch):
    root = tmp_path / "root"
    plant, state = root / "etc/plantproof", root / "var/lib/plantproof"
    shutil.copytree(ran[0] / "my-plant", plant, ignore=shutil.ignore_patterns("var"))
    shutil.copytree(ran[0] / "my-plant/var", state)
    text = (plant / "plant.toml").read_text("utf-8").replace("var/lake", f"{state}/lake")
    (plant / "plant.toml").write_text(f'{text}\n[spool]\npath = "{state}/spool"\n', "utf-8")
    days = re.findall(r"date=(\S+)", " ".join(p.name for p in (state / "lake/samples").iterdir()))
    after = str(dt.date.fromisoformat(max(days)) + dt.timedelta(2))  # days of files are UTC's
    period = ("--from", min(days), "--to", after, "--asset", "line1/press1", "--json")
    before = said("kpi", plant, *period)
    monkeypatch.chdir(tmp_path)
    (save, restore) = [text for _, text in blocks(GUIDE, "## Backup and restore")][:2]
    shell(save, root)
    shutil.rmtree(root)
    root.mkdir()
    first, *rest = restore.splitlines()
    shell(first, root)
    assert [words.split()[1] for words in rest] == ["check", "spool", "kpi"]
    assert said("check", plant).startswith("ok: ")
    assert "0 damaged" in said("spool", "verify", plant)
    assert json.loads(said("kpi", plant, *period)) == json.loads(before) != []


def shell(command, root):
    subprocess.run(command.replace("-C /", f"-C {root}"), shell=True, check=True, timeout=20)


def said(*words):
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code in ((0, 3) if words[0] == "kpi" else (0,)), result.output  # 3: a figure has a warning
    return result.stdout


def named(path):
    """What stands in backticks on a page, outside of its blocks, and files that are named in brackets."""
    text = BLOCK.sub("", path.read_text("utf-8"))
    return [*re.findall(r"`([^`\n]+)`", text), *re.findall(r"tests/\w+\.py", text)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_file_that_a_guide_names_is_there(path):
    ours = re.compile(r"(tests|docs|deploy|config|collector)/[\w./-]+|LICENSE|Makefile|SECURITY\.md|requirements\.lock")
    files = [name for name in named(path) if ours.fullmatch(name)]
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_the_plant_it_guide_names_tests_and_commands_by_the_dozen():
    tests = {name for name in named(GUIDE) if name.startswith("tests/")}
    assert len(tests) > 25
    assert len({name for name in named(GUIDE) if name.startswith("plantproof ")}) > 15


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_verb_and_option_that_a_guide_names_is_there(path):
    wrong = []
    for name in named(path):
        words = name.split()
        if words[0] != "plantproof" or len(words) == 1 or not re.fullmatch(r"[a-z]+", words[1]):
            continue
        command, rest = cli, words[1:]
        while isinstance(command, click.Group) and rest:
            command, rest = command.get_command(click.Context(command), rest[0]), rest[1:]
        options = set() if command is None else {option for one in command.params for option in one.opts}
        if command is None or not {word for word in rest if word.startswith("--")} <= options:
            wrong.append(name)
    assert wrong == []


def numbers(path):
    """The rows of both mappings by their numbers: state, and what stands in backticks to see them by."""
    rows = re.findall(r"^\| ((?:CCSC |CR )?\d[\d.]*) \| (.*) \|$", path.read_text("utf-8"), re.MULTILINE)
    return {number: (STATES.index(rest.split(" | ")[1]) % len(EN), re.findall(r"`[^`]+`", rest.split(" | ")[3]))
            for number, rest in rows}  # fmt: skip


def test_both_languages_map_the_same_requirements_to_the_same_things():
    english, chinese = numbers(GUIDE), numbers(GUIDE_ZH)
    assert list(english) == list(chinese)
    assert english == chinese


def test_every_component_requirement_has_a_row():
    foundational = {1: 14, 2: 13, 3: 14, 4: 3, 5: 4, 6: 2, 7: 8}  # IEC 62443-4-2:2019, clauses 5 to 11
    wanted = [f"CCSC {n}" for n in range(1, 5)]
    wanted += [f"CR {group}.{n}" for group, count in foundational.items() for n in range(1, count + 1)]
    assert [number for number in numbers(GUIDE) if number.startswith("C")] == wanted


def test_every_clause_of_the_extension_for_control_systems_has_a_row():
    extension = ["8.5.1.1", "8.5.2.1", "8.5.2.2", "8.5.3.1", "8.5.3.2", "8.5.3.3", "8.5.4.1", "8.5.5.1", "8.5.5.2"]
    found = list(numbers(GUIDE))
    assert [number for number in found if number.startswith("8.5.")] == extension
    assert [number for number in found if number.startswith("8.1.4.")] == [f"8.1.4.{n}" for n in range(1, 12)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_nobody_is_told_that_it_is_certified(path):
    text = path.read_text("utf-8").replace("mapped here, never certified", "").replace("不是认证", "")
    claims = r"certified|certification|complian|conform|通过认证|已认证|符合认证|认证|合规|符合(?:IEC|GB|等保)"
    assert re.findall(claims, text, re.IGNORECASE) == []


@pytest.mark.parametrize("pair", [(GUIDE, GUIDE_ZH), (QUICK, QUICK_ZH)], ids=lambda pair: pair[0].name)
def test_both_languages_have_the_same_headings_tables_and_blocks(pair):
    shapes = []
    for path in pair:
        text = path.read_text("utf-8")
        heads = [len(level) for level in re.findall(r"^(#+) ", BLOCK.sub("", text), re.MULTILINE)]
        rows = [len(table.splitlines()) for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
        # What check says in each language is held against check itself, see above.
        same = len(blocks(path, "# ")) if path in (QUICK, QUICK_ZH) else blocks(path, "# ")
        shapes.append((heads, rows, same))
    assert shapes[0] == shapes[1]


def test_every_row_of_a_table_has_as_many_cells_as_its_head():
    for path in PAGES:
        for table in re.findall(r"(?:^\|.*\n)+", path.read_text("utf-8"), re.MULTILINE):
            assert len({line.count("|") for line in table.splitlines()}) == 1, f"{path.name}: {table[:80]}"


def test_connections_are_opened_in_the_files_that_the_guide_speaks_of_alone():
    found = set()
    for room in ("collector", "config", "connectors", "kpis"):
        for path in (ROOT / room).rglob("*.py"):
            calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
            if "sim" not in path.parts and any(ast.unparse(call.func).split(".")[-1] in OPENS for call in calls):
                found.add(path.relative_to(ROOT).as_posix())
    assert found == {
        "connectors/modbus/link.py",
        "connectors/mqtt/link.py",
        "connectors/opcua/security.py",  # which policies a server offers
        "connectors/opcua/session.py",
        "collector/peers.py",  # plantproof test asks a peer for its certificate
        "collector/sinks/influx_http.py",
        "collector/sinks/influx_v2.py",
        "kpis/stores/influxdb.py",
        "kpis/stores/business_sql.py",
        "kpis/server/push/webhook.py",
        "kpis/scale.py",  # a Dask cluster
    }


def test_the_codes_of_the_troubleshooting_page_are_those_of_the_protocols():
    text = (DOCS / "troubleshooting.md").read_text("utf-8")
    statuses = re.findall(r"^\| `(\w+)` \| (0x[0-9A-F]{8}) \|", text, re.MULTILINE)
    assert len(statuses) > 15
    assert {name: int(code, 16) for name, code in statuses} == {
        name: getattr(StatusCodes, name) for name, _ in statuses
    }
    reasons = re.findall(r"^\| 0x([0-9A-F]{2}) \| ([^|]+) \|", text, re.MULTILINE)
    assert {int(code, 16): name for code, name in reasons} == {
        int(code, 16): NAMES[int(code, 16)] for code, _ in reasons
    }
    exits = re.findall(r"^\| `(\d+)` \|", text, re.MULTILINE)
    assert exits == ["0", "1", "2", "3", "4", "69", "78"]


@pytest.mark.parametrize(("version", "words"), [("0", "write version = 1"), ("2", "is newer than 1, the newest")])
def test_the_upgrade_guide_quotes_what_another_version_of_plant_toml_is_told(ran, tmp_path, version, words):
    plant = shutil.copytree(ran[0] / "my-plant", tmp_path / "plant", ignore=shutil.ignore_patterns("var"))
    text = (plant / "plant.toml").read_text("utf-8")
    (plant / "plant.toml").write_text(text.replace("version = 1", f"version = {version}"), "utf-8")
    result = CliRunner().invoke(cli, ["check", str(plant)])
    message = result.stdout.strip().partition("version: ")[2]
    assert result.exit_code == 78
    assert words in message
    assert message in UPGRADE.read_text("utf-8")

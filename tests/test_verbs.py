"""Every verb alike: examples first in its help, `--json` also where it fails, exit codes as docs/cli.md has them."""

import hashlib
import importlib.metadata
import json
import re
import shlex
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import click
import polars as pl
import pytest
from click.testing import CliRunner

from config import exits
from config.faults import ConfigError
from connectors.sim import demo
from kpis.evidence.keys import make_key
from kpis.server.tokens import Tokens
from plantproof import COMMANDS, SECTIONS, cli
from tests.test_commands import PERIOD, hours, make_plant, written
from tests.test_docs import DOCS, rows, verbs
from tests.test_spool_commands import fill, plant_in

VERBS = verbs(cli)
ACTING = [name for name, one in VERBS.items() if not isinstance(one, click.Group) or one.params]
"""Verbs that do something themselves: `kpi` does, though it is a group."""
CODES = {str(code) for name, code in vars(exits).items() if name.isupper()}
ANY = {str(exits.DONE), str(exits.UNEXPECTED), str(exits.USAGE)}
"""Exit codes that every verb has, so that only docs/cli.md says them."""


@pytest.fixture
def plant(tmp_path):
    return make_plant(tmp_path / "plant")


def run(*words):
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="plantproof")


def help_of(verb):
    result = run(*verb.split()[1:], "--help")
    assert result.exit_code == exits.DONE, result.output
    return result.stdout


def examples_of(verb):
    """The command lines that stand after Example: or Examples: up to the next empty line."""
    block = re.search(r"^ *Examples?:((?:.+\n)+)", VERBS[verb].help, re.MULTILINE)
    assert block is not None, f"{verb} has no example"
    return [line.strip() for line in block[1].splitlines()]


def words_of(example):
    """An example's words as a shell hands them over; where it writes to, it says to the shell alone."""
    return shlex.split(example.partition(" > ")[0])


def named_codes(verb):
    """The exit codes of a help's sentence `Exits 3 where ..., 69 where ...`."""
    told = " ".join(VERBS[verb].help.split())
    return [code for text in re.findall(r"Exits .*?\.(?= |$)", told) for code in re.findall(r"(\d+) where\b", text)]


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_begins_with_usage_summary_and_examples(verb):
    usage, first, second, *_ = re.split(r"\n\n+", help_of(verb))
    assert usage.startswith(f"Usage: {verb} ")
    assert first.startswith("  ")
    assert re.match(rf"  Examples?:  {verb}( .*)?$", second, re.MULTILINE), second


@pytest.mark.parametrize("verb", VERBS)
def test_each_example_of_a_verb_is_a_command_line_of_it(verb, monkeypatch):
    # A file of an example is not here, so only that one is named is looked at.
    monkeypatch.setattr(click.Path, "convert", lambda _self, value, _param, _ctx: Path(value))
    monkeypatch.setattr(click.File, "convert", lambda _self, value, _param, _ctx: value)
    for example in examples_of(verb):
        words = words_of(example)
        assert words[: len(verb.split())] == verb.split()
        called = max((name for name in VERBS if name.split() == words[: len(name.split())]), key=len)
        VERBS[called].make_context(called, words[len(called.split()) :])  # raises where they do not fit


def test_an_example_that_is_no_command_line_is_seen():
    with pytest.raises(click.UsageError, match="--reed"):
        VERBS["plantproof check"].make_context("check", [".", "--reed"])


@pytest.mark.parametrize("verb", ACTING)
def test_a_verb_takes_json(verb):
    assert "--json" in [name for one in VERBS[verb].params for name in one.opts]


@pytest.mark.parametrize("verb", VERBS)
def test_the_exit_codes_of_a_verbs_help_are_those_of_its_row(verb):
    helped = named_codes(verb)
    told = re.findall(r"\b\d+\b", rows(DOCS / "cli.md")[verb]["exit codes"])
    assert set(helped) == set(told) - ANY
    assert len(helped) == len(set(helped))
    assert set(told) <= CODES


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_of_a_plant_says_what_a_fault_of_its_configuration_ends_with(verb):
    takes_plant = any(one.human_readable_name.upper() == "PLANT" for one in VERBS[verb].params)
    assert not takes_plant or str(exits.CONFIG) in named_codes(verb)


def told(result):
    """The one JSON document of a verb's stdout."""
    return json.loads(result.stdout)


def test_init_names_the_files_that_it_wrote(tmp_path):
    result = run("init", tmp_path / "new", "--json")
    files = [Path(one) for one in told(result)["files"]]
    assert sorted(files) == sorted((tmp_path / "new").iterdir())
    assert result.exit_code == exits.DONE


def test_a_schema_is_json_with_and_without_the_option():
    assert told(run("schema", "--json")) == told(run("schema"))


def test_check_with_reads_tells_what_will_be_read_as_an_object(tmp_path):
    reads = told(run("check", plant_in(tmp_path), "--reads", "--json"))
    assert reads["faults"] == []
    assert reads["counts"] == {"sources": 1, "points": 1, "assets": 1, "sinks": 1}
    (source,) = reads["sources"]
    assert (source["source"], source["points"]) == ("s", 1)
    assert any("a: holding 0" in line for line in source["reads"])


def test_check_with_reads_and_a_fault_tells_the_fault_and_no_reads(tmp_path):
    plant_in(tmp_path, points=("a,m,measure,s,nowhere,,",))
    result = run("check", tmp_path, "--reads", "--json")
    (fault,) = told(result)["faults"]
    assert (fault["thing"], fault["value"], told(result)["sources"]) == ("point a", "nowhere", [])
    assert told(run("check", tmp_path, "--json")) == [fault]
    assert result.exit_code == exits.CONFIG


def test_spool_export_tells_the_rows_of_each_file(tmp_path):
    folder = tmp_path / "plant"
    folder.mkdir()
    fill(plant_in(folder), 4)  # batches of 3 rows
    about = told(run("spool", "export", folder, tmp_path / "out", "--json"))
    assert about["rows"] == 12
    assert about["damaged"] == []
    assert {file: pl.read_parquet(file).height for file in about["files"]} == about["files"]


def test_import_tells_the_rows_and_what_was_left_out(plant, tmp_path):
    lines = ("2025-11-20T00:00:00Z,a.state,1", "2025-11-20T00:01:00Z,a.state,2", "yesterday,a.state,3")
    (tmp_path / "some.csv").write_text("\n".join(("ts,point,value", *lines, "")), encoding="utf-8")
    result = run("import", plant, tmp_path / "some.csv", "--json")
    about = told(result)
    assert about["rows"] == 2
    assert len(about["left_out"]) == 1
    assert "yesterday" in about["left_out"][0]
    assert result.exit_code == exits.QUALITY


def test_a_token_is_made_and_revoked_as_json(plant):
    made = told(run("token", "new", plant, "--name", "erp", "--days", "7", "--json"))
    (listed,) = told(run("token", "list", plant, "--json"))
    assert listed == {name: made[name] for name in ("name", "scopes", "made_at", "expires_at")} | {"expired": False}
    assert Tokens(plant).find(made["token"]).name == "erp"
    assert told(run("token", "revoke", plant, "--name", "erp", "--json")) == {"revoked": "erp"}
    assert [one["name"] for one in told(run("token", "list", plant, "--json"))] == []


def test_evidence_build_tells_the_packages_hash_and_key(plant, tmp_path):
    key, out = tmp_path / "plant.key", tmp_path / "package.zip"
    signer = make_key(key)
    assert run("import", plant, written(tmp_path, *hours())).exit_code == exits.DONE
    about = told(run("evidence", "build", plant, *PERIOD, "--key", key, "--out", out, "--json"))
    package = out.read_bytes()
    assert zipfile.is_zipfile(out)
    assert about["sha256"] == hashlib.sha256(package).hexdigest()
    assert (about["file"], about["bytes"], about["key_id"]) == (str(out), len(package), signer.key_id)


def start(*words, **options):
    """The command in a process of its own."""
    command = [sys.executable, "-m", "plantproof", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_serve_tells_its_address_in_one_line(plant):
    process = start("serve", plant, "--lake", plant / "lake", "--port", "0", "--json")
    try:
        address = json.loads(process.stdout.readline())["url"]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}/health", timeout=30) as answer:
            assert answer.status == 200
    finally:
        process.terminate()
        rest, _ = process.communicate(timeout=20)
    assert rest == ""


def test_the_demo_tells_each_figure_beside_its_truth_and_whether_all_are_as_simulated(monkeypatch):
    row = demo.Row("press1", "produced_quantity", 41.0, 41.0, 41.0, true=42.0, good=False)
    rate = demo.Rate("connected", ["press1"], ["saw1"], good=True)
    verified = {"verified": True, "faults": []}

    async def played(folder, _console, *, show):
        return demo.Outcome(folder, ("2026-11-22", "2026-11-23"), [row], [rate], folder / "evidence.zip", verified)

    monkeypatch.setattr(demo, "_demo", played)
    result = run("demo", "d", "--json")
    (figure,) = told(result)["figures"]
    assert (figure["computed"], figure["true"], figure["good"], told(result)["good"]) == (41, 42, False, False)
    assert told(result)["networking"] == [
        {"state": "connected", "devices": ["press1"], "others": ["saw1"], "good": True}
    ]
    assert told(result)["evidence"] == {"package": "d/evidence.zip"} | verified
    assert result.exit_code == exits.VERIFY


FAILING = ["kpi", "indicators", "register show", "register history", "spool verify", "spool size", "status", "echo",
           "token list", "serve", "test", "install"]  # fmt: skip


@pytest.mark.parametrize("verb", FAILING)
def test_a_fault_of_the_configuration_is_json_where_json_was_asked_for(verb, plant):
    with (plant / "points.csv").open("a", encoding="utf-8") as table:
        table.write("\nz.state,nowhere,state,\n")
    result = run(*verb.split(), plant, "--json")
    error = told(result)["error"]
    (fault,) = error["faults"]
    assert error["code"] == exits.CONFIG
    assert (fault["thing"], fault["value"]) == ("point z.state", "nowhere")
    assert fault["rule"] in error["message"]
    assert isinstance(result.exception, ConfigError)  # which ends the program with 78


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("kpi", "PLANT", "--by", "year"), exits.USAGE, "'year' is not one of"),
        (("kpi", "PLANT", "--frm", "2025-11-20"), exits.USAGE, "--frm"),
        (("spool", "verify", "nowhere"), exits.USAGE, "nowhere"),
        (("chek", "PLANT"), exits.USAGE, "chek"),
        (("--quiet", "check", "PLANT"), exits.USAGE, "--quiet"),
        (("check", "bad\udcff"), exits.USAGE, "bad"),
        (("kpi", "PLANT"), exits.UNEXPECTED, "holds no samples of this plant"),
        (("status", "PLANT"), exits.UNREACHABLE, "no agent has run with the spool"),
        (("spool", "verify", "PLANT"), exits.UNREACHABLE, "spool"),
        (("browse", "opc.tcp://127.0.0.1:1", "--security", "None"), exits.UNREACHABLE, "127.0.0.1:1"),
        (("browse", "modbus+tcp://127.0.0.1:1"), exits.UNREACHABLE, "127.0.0.1:1"),
        (("browse", "mqtt://127.0.0.1:1"), exits.UNREACHABLE, "127.0.0.1:1"),
    ],
)
def test_what_keeps_a_verb_from_its_work_is_json_with_the_same_exit_code(words, code, says, plant):
    given = [str(plant) if word == "PLANT" else word for word in words]
    plain, as_json = run(*given), run(*given, "--json")
    error = told(as_json)["error"]
    assert plain.exit_code == as_json.exit_code == error["code"] == code
    assert says in error["message"]
    assert error["faults"] == []
    assert plain.stdout == ""
    assert plain.stderr == as_json.stderr


def test_json_behind_two_dashes_is_an_argument_and_asks_for_nothing():
    assert run("check", "--", "--json").stdout == ""


def test_a_fault_of_the_configuration_is_an_event_of_the_agents_log(plant):
    (plant / "plant.toml").write_text("version = 1\n", encoding="utf-8")
    process = start("run", plant, "--json")
    out, log = (text.splitlines() for text in process.communicate(timeout=60))
    assert process.returncode == exits.CONFIG
    assert [json.loads(line)["error"]["code"] for line in out] == [exits.CONFIG]
    assert [json.loads(line)["message"] for line in log] == [json.loads(line)["error"]["message"] for line in out]


def test_the_help_lists_each_verb_once_in_its_section_with_the_first_line_of_its_help():
    text = CliRunner().invoke(cli, ["--help"], terminal_width=400, max_content_width=400).stdout
    sections = re.findall(r"^(\w+):\n((?:  .+\n)+)", text, re.MULTILINE)
    assert [name for name, _ in sections] == ["Options", *SECTIONS.values()]
    listed = [line.split(maxsplit=1) for _, lines in sections[1:] for line in lines.splitlines()]
    assert [verb for verb, _ in listed] == list(COMMANDS)
    for verb, line in listed:
        assert f"{line}." == VERBS[f"plantproof {verb}"].help.partition("\n")[0]


def test_the_help_names_the_exit_codes():
    (told_codes,) = re.findall(r"Exit codes: (.*)", " ".join(run("--help").stdout.split()))
    assert set(re.findall(r"\d+", told_codes)) == CODES


HEAVY = {"polars", "numpy", "pyarrow", "asyncua", "pymodbus", "cryptography", "fastapi", "uvicorn", "altair", "rich"}


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("status", "PLANT"), ("init", "NEW"), ("schema",)])
def test_what_answers_at_once_imports_nothing_heavy(words, plant, tmp_path):
    if "status" in words:  # which shows then what an agent said that has stopped
        start("run", plant, "--for", "100ms").communicate(timeout=60)
    given = [{"PLANT": str(plant), "NEW": str(tmp_path / "new")}.get(word, word) for word in words]
    code = "import atexit, sys; atexit.register(lambda: sys.stderr.write('\\nmodules ' + ' '.join(sys.modules)));"
    code += f"sys.argv[1:] = {given!r}; from plantproof import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == (exits.QUALITY if "status" in words else exits.DONE), done.stderr
    modules = {name.partition(".")[0] for name in done.stderr.rpartition("\nmodules ")[2].split()}
    assert "click" in modules
    assert modules & HEAVY == set()


def test_the_version_is_that_of_the_distribution():
    assert run("--version").stdout == f"plantproof, version {importlib.metadata.version('plantproof')}\n"

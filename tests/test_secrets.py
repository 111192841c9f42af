"""20 secrets of a plant that runs: none in logs, status, reports, packages, answers, faults or the process list."""

import io
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from config import exits
from config.faults import ConfigError
from config.load import load_plant
from config.redaction import Redaction, forms, in_urls
from kpis.evidence.contents import Asked
from kpis.evidence.keys import read_key, read_passphrase
from kpis.evidence.package import build
from kpis.stores import Lake
from plantproof import cli
from tests import serving
from tests.secret_plant import ENVIRONMENT, FILES, planted

ROOT = Path(__file__).parents[1]
HEALTH = ("/metrics", "/healthz", "/livez")
PERIOD = ("--from", "2025-11-20", "--to", "2025-11-21")


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, planted(tmp_path_factory.mktemp("secrets") / "plant") as made:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield made


@pytest.fixture(scope="module")
def ran(plant):
    """The agent ran for a while: its logs, and what the process list and its health port said of it meanwhile."""
    words = [sys.executable, "-m", "plantproof", "run", str(plant.folder)]
    settings = {"cwd": "/", "env": os.environ | {"PYTHONPATH": str(ROOT)}, "stderr": subprocess.PIPE}
    with subprocess.Popen([*words, "--for", "2s", "--json"], **settings) as agent:
        first = agent.stderr.readline()  # it runs by now, and has looked its secrets up
        listed = [Path(f"/proc/{agent.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
        for line in agent.stderr:
            first += line
            if all(word in first for word in (b"health: listens", b"sink v1", b"source echoed is")):
                break
        answers = {path: asked(f"http://127.0.0.1:{plant.health}{path}") for path in HEALTH}
        as_json = first + agent.stderr.read()
    pretty = subprocess.run([*words, "--for", "500ms"], **settings, check=True).stderr
    return {"cmdline": listed[0], "environ": listed[1], "json": as_json, "pretty": pretty, **answers}


def asked(url):
    """What the agent answers, head and body, well or not."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bytes(answer.headers) + answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return bytes(error.headers) + error.read()


def told(*words):
    """What a command prints, whatever its exit code; nothing was raised through it."""
    result = CliRunner().invoke(cli, words)
    assert isinstance(result.exception, SystemExit | None), result.output
    return result.output


def test_there_are_20_secrets_and_more_and_they_are_used(plant, ran):
    assert len({*FILES.values(), *ENVIRONMENT.values()}) >= 15
    assert len(plant.secrets) >= 20
    met = "\n".join(plant.met)
    for name in ("influx-v2", "mqtt-echoed"):
        assert any(form in met for form in forms(FILES[name])), name
    assert ENVIRONMENT["LINE2_PASSWORD"] in met


@pytest.mark.parametrize("log", ["json", "pretty"])
def test_no_log_shows_one_even_where_a_server_says_it_again(plant, ran, log):
    assert b"sink v1" in ran[log]
    assert b"***" in ran[log]
    assert plant.shown_in(ran[log]) == []


@pytest.mark.parametrize(
    ("path", "word"), [("/metrics", b'sink="v2"'), ("/healthz", b'"echoed"'), ("/livez", b"alive")]
)
def test_no_metric_and_no_health_check_shows_one(plant, ran, path, word):
    assert word in ran[path]
    assert plant.shown_in(ran[path]) == []


def test_the_process_list_shows_none_that_the_person_did_not_give(plant, ran):
    assert plant.shown_in(ran["cmdline"]) == []
    assert set(plant.shown_in(ran["environ"])) == set(ENVIRONMENT.values())


def test_no_file_that_the_agent_wrote_holds_one(plant, ran):
    written = [path for path in plant.folder.rglob("*") if path.is_file() and path.parent.name != "secrets"]
    assert {"status.json", "ledger.jsonl"} <= {path.name for path in written}
    assert [path.name for path in written if plant.shown_in(path.read_bytes())] == []


@pytest.mark.parametrize(
    "words",
    [
        ("check",),
        ("check", "--reads"),
        ("status",),
        ("status", "--json"),
        ("doctor",),
        ("doctor", "--json", "--lang", "zh"),
        ("echo",),
        ("echo", "--json"),
        ("test", "--json"),
        ("spool", "verify"),
        ("register", "show"),
        ("indicators", *PERIOD),
        ("evidence", "build", *PERIOD, "--out", "/dev/null/package.zip"),
    ],
    ids=" ".join,
)
def test_no_verb_shows_one(plant, ran, words):
    groups = 2 if words[0] in ("spool", "register", "evidence") else 1
    output = told(*words[:groups], str(plant.folder), *words[groups:])
    assert len(output) > 20
    assert plant.shown_in(output) == []


@pytest.mark.parametrize("more", [(), ("--anonymous",)])
def test_the_support_bundle_holds_none_even_where_the_log_does(plant, ran, tmp_path, more):
    log = tmp_path / "agent.log"
    log.write_text("\n".join(f"lost: {form}" for secret in plant.secrets for form in forms(secret)))
    bundle = tmp_path / "bundle.zip"
    told("diagnostics", str(plant.folder), "--out", str(bundle), "--log", str(log), "--lines", "5000", *more)
    files = contents(bundle.read_bytes())
    assert b"lost: ***" in files["log.txt"]
    assert b"${file:secrets/opcua}" in files["config.toml"]
    assert {name: plant.shown_in(data) for name, data in files.items()} == {name: [] for name in files}


def contents(package):
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_an_evidence_package_holds_none(plant, tmp_path):
    folder = tmp_path / "plant"
    shutil.copytree(plant.folder, folder)
    text = (folder / "plant.toml").read_text("utf-8")
    (folder / "plant.toml").write_text(text.partition("[[business_source]]")[0], "utf-8")
    key, passphrase = (folder / "secrets" / name for name in ("evidence.pem", "passphrase"))
    of = Asked(period=(serving.START, serving.END), before=None, rubrics=("sme-2024",))
    signer = read_key(key, read_passphrase(passphrase))
    files = contents(build(load_plant(folder, secrets=True), Lake(folder / "lake"), of, signer=signer))
    assert "config/plant.toml" in files
    assert [name for name, data in files.items() if plant.shown_in(data)] == []


def test_no_answer_of_the_server_and_no_push_shows_one(plant):
    with serving.served(plant.folder) as client:
        serving.built(client)
        deadline = time.monotonic() + 30
        while not all(one["packages"] and one["packages"][0]["error"] for one in pushes(client)):
            assert time.monotonic() < deadline
        answers = [client.get(path).body for path in ("/api/v1/push", "/api/v1/evidence", "/openapi.json", "/health")]
        answers.append(client.get("/api/v1/kpis", {"from": serving.FROM, "to": serving.TO}).body)
        answers.append(client.with_token("nobody's token").get("/api/v1/push").body)
        kept = b"".join(path.read_bytes() for path in (plant.folder / "var").rglob("*") if path.is_file())
        assert client.token.encode() not in kept
    assert plant.shown_in(b"".join(answers)) == []
    assert plant.shown_in(kept) == []


def pushes(client):
    return client.get("/api/v1/push").json()["targets"]


WRONG = {
    "password in plain text": 'password = "{}"',
    "password that is a list": 'password = ["{}"]',
    "misspelled key": 'pasword = "{}"',
    "key of another table": 'token = "{}"',
    "URL with login": 'url = "mqtt://gw:{}@127.0.0.1:1"',
    "URL with user": 'url = "mqtt://{}@127.0.0.1:1"',
    "URL with option": 'url = "mqtt://127.0.0.1:1?password={}"',
    "URL of no protocol": 'url = "htp://gw:{}@127.0.0.1:1"',
    "not TOML": 'password = "{}',
    "without quotes": "password = {}",
    "twice": 'password = "{}"\npassword = "{}"',
    "reference in the wrong place": 'password = "{}${{env:X}}"',
}
"""A line of a source that holds a secret where none may stand."""


@pytest.mark.parametrize("wrong", WRONG)
def test_a_fault_of_the_configuration_does_not_show_what_was_written(tmp_path, wrong):
    folder = serving.make_plant(tmp_path / "plant")
    for secret in ("hunter2-geheim", "口令-江宁", "p%40ss-w0rd"):
        line = WRONG[wrong].replace("{}", secret).replace("{{", "{").replace("}}", "}")
        url = "" if line.startswith("url") else 'url = "mqtt://127.0.0.1:1"\n'
        source = f'[[source]]\nid = "s"\nkind = "mqtt"\n{url}{line}\n'
        (folder / "plant.toml").write_text(serving.PLANT + source, encoding="utf-8")
        for words in (("check",), ("check", "--json"), ("run",)):
            told_without(secret, folder, *words)
    told_without(secret, folder, "doctor")  # it looks at the whole machine each time: once will do


def told_without(secret, folder, verb, *words):
    result = CliRunner().invoke(cli, [verb, str(folder), *words])
    shown = result.output + str(result.exception)
    assert secret not in shown, (verb, *words, shown)
    assert result.exit_code == exits.CONFIG or isinstance(result.exception, ConfigError)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("mqtt://gw:pw@host:1883", "mqtt://***@host:1883"),
        ("https://token@host/x", "https://***@host/x"),
        ("mysql://u:a/b@host/db", "mysql://***@host/db"),
        ("mysql://u:${env:X}@host/db", "mysql://***:${env:X}@host/db"),
        ("http://host:8086/a@b", "http://host:8086/a@b"),
        ("wss://host/x?access_token=abc&qos=1", "wss://host/x?access_token=***&qos=1"),
        ("no URL: a@b?c", "no URL: a@b?c"),
    ],
)
def test_a_url_loses_who_connects_and_what_proves_it(text, clean):
    assert in_urls(text) == clean


@pytest.mark.parametrize("secret", [*FILES.values(), *ENVIRONMENT.values()])
def test_a_known_secret_is_struck_out_in_every_form(secret):
    redact = Redaction([secret])
    for form in (*forms(secret), json.dumps({"a": secret})):
        assert secret not in redact(f"before {form} after")
        assert redact(f"before {form} after").startswith("before ") or form.startswith("{")


def test_a_long_text_of_a_stranger_takes_no_longer_than_it_is_long():
    began = time.process_time()
    for piece in ("a", "a://", "&token", "://:", "?key="):
        in_urls(piece * (200_000 // len(piece)))
    assert time.process_time() - began < 20

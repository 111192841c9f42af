"""From an order to an import: a real package, built, signed and served, and taken by the reference importer."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from collector.backfill import import_file
from config.load import load_plant
from kpis.evidence.keys import make_key, public_file
from kpis.evidence.verify import verify
from kpis.server.building import builder
from kpis.stores import Lake
from plantproof import cli
from tests import assessed_plant
from tests.reference_importer import reference_importer
from tests.serving import (
    FROM,
    START,
    TO,
    Client,
    app_of,
    built,
    filled,
    finished,
    make_plant,
    running,
    served,
    token_of,
)

ROOT = Path(__file__).parents[1]
HOUR = {"from": FROM, "to": TO, "compare": "none", "rubrics": ["sme-2024"]}
ORDER = {"from": "2025-01-01", "to": "2025-01-08", "rubrics": ["factory-kpis-2025"]}


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """Ten machines with a week of facts and a key to sign with."""
    folder = assessed_plant.write(tmp_path_factory.mktemp("whole") / "plant")
    with (folder / "plant.toml").open("a", encoding="utf-8") as file:
        file.write('\n[evidence]\nkey = "plant.key"\n')
    make_key(folder / "plant.key")
    import_file(load_plant(folder), folder / "samples.csv")
    return folder


def real(plant):
    return builder(load_plant(plant), Lake(plant / "lake"))


@pytest.fixture(scope="module")
def ordered(plant):
    """What the API tells of the package, its bytes, and its pages."""
    with served(plant, real(plant)) as client:
        one = built(client, **ORDER)
        data = client.get(f"{one['url']}/package").body
        pages = {lang: client.get(f"{one['url']}/report", {"lang": lang}) for lang in ("zh", "en")}
        return one, data, pages


def test_the_package_of_an_order_is_that_of_the_command_to_the_byte(plant, ordered, tmp_path):
    words = [
        "--from",
        ORDER["from"],
        "--to",
        ORDER["to"],
        "--rubric",
        "factory-kpis-2025",
        "--key",
        plant / "plant.key",
    ]
    said = CliRunner().invoke(
        cli, ["evidence", "build", str(plant), *map(str, words), "--out", str(tmp_path / "x.zip")]
    )
    assert said.exit_code == 0, said.stderr
    assert (tmp_path / "x.zip").read_bytes() == ordered[1]


def test_the_package_of_an_order_is_verified_and_of_the_plants_key(plant, ordered):
    one, data, _ = ordered
    public = public_file(plant / "plant.key").read_bytes()
    assert verify(data, plant / "lake", trusted=public, drawings=False).faults == []
    assert (one["plant"], one["revision"], one["replaces"]) == ("works", 1, None)
    assert len(one["key_id"]) == 64
    assert (one["start"], one["end"]) == ("2025-01-01T00:00:00+08:00", "2025-01-08T00:00:00+08:00")


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_report_of_an_order_is_served_in_both_languages(ordered, lang):
    page = ordered[2][lang]
    text = page.body.decode()
    assert page.status_code == 200
    assert f'lang="{lang}' in text
    assert "<script" not in text
    assert ("设备联网率" if lang == "zh" else "networking rate") in text


def test_a_package_of_other_data_is_the_next_revision_and_says_what_it_replaces(tmp_path):
    folder = filled(tmp_path / "plant")
    with served(folder, real(folder)) as client:
        first = built(client, **HOUR)
        (folder / "more.csv").write_text(f"ts,point,value\n{START + 1},press.state,3\n")
        import_file(load_plant(folder), folder / "more.csv")
        second = built(client, **HOUR)
        listed = client.get("/api/v1/evidence").json()["packages"]
    assert (first["revision"], first["replaces"]) == (1, None)
    assert (second["revision"], second["replaces"] is None) == (2, False)
    assert [each["id"] for each in listed] == [first["id"], second["id"]]


def test_what_cannot_be_built_is_told_by_the_job(tmp_path):
    folder = make_plant(tmp_path / "plant", '[evidence]\nkey = "nothing.key"\n')
    with served(folder, real(folder)) as client:
        job = finished(
            client, client.post("/api/v1/evidence", {"from": "2025-01-01", "to": "2025-01-02"}).json()["url"]
        )
    assert (job["state"], job["error"]["code"], job["error"]["next"]) == (
        "failed",
        "build_failed",
        "name the key's file",
    )


def test_the_reference_importer_takes_a_package_from_a_server_once(  # as docs/import.md has it
    plant, ordered, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "token").write_text(token_of(plant, "read", name="importer"))
    key, state = public_file(plant / "plant.key"), tmp_path / "imported.sqlite"
    with reference_importer() as importer, running(app_of(plant, real(plant))) as client:
        words = ["--url", client.base, "--token-file", tmp_path / "token", "--key", key, "--plant", "works"]
        codes = [importer.main([str(word) for word in (*words, "--state", state)]) for _ in range(2)]
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert codes[0] in (importer.DONE, importer.LOOK)
    assert codes[1] == importer.DONE
    assert "imported already" in said.err
    (rate,) = [row for row in rows if (row["id"], row["subject"]) == ("equipment_networking_rate", "works")]
    assert (rate["n"], rate["N"]) == ("4", "10")


def test_the_command_serves_until_it_is_told_to_stop(plant):
    command = [sys.executable, "-m", "plantproof", "serve", str(plant), "--port", "0"]
    token = token_of(plant, "read", name="command")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            base = next(line for line in process.stderr if line.startswith("http://")).strip().removesuffix("/docs")
            client = Client(base, token)
            assert client.get("/health").json() == {"status": "ok"}
            assert client.get("/docs").status_code == 200
            assert client.without_token().get("/docs").status_code == 401
            process.send_signal(signal.SIGTERM)
            rest = process.stderr.read()
        finally:
            process.kill()
    assert "Traceback" not in rest
    lines = [json.loads(line) for line in rest.splitlines() if line.startswith("{")]
    told = [(line["token"], line["path"], line["status"]) for line in lines]
    assert told == [("command", "/docs", 200), (None, "/docs", 401)]

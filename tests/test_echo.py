"""`plantproof echo`: what a configuration comes to, which loads again, and in which no secret stands."""

import csv
import io
import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr

from config import exits
from config.echo import MASK, masked_url, points_csv, resolved, to_toml
from config.evidence import Push
from config.faults import ConfigError
from config.load import load_plant
from config.plant import Asset, Plant, Point, Sink, Source
from config.registers import SqlSource
from plantproof import cli
from tests.starter import STARTER, with_examples

ROOT = Path(__file__).parents[1]
LOADED_FROM = {"places", "tables", "root"}
"""Fields of a plant that say where it was read."""


def run(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["echo", str(folder), *options])


def same(one: Plant, other: Plant) -> None:
    """Assert that two plants differ in nothing but where they were read."""
    for name in sorted(set(Plant.model_fields) - LOADED_FROM):
        assert getattr(one, name) == getattr(other, name), name


def again(folder: Path) -> Plant:
    """Put what echo prints in place of plant.toml and conf.d, and load it."""
    (folder / "plant.toml").write_text(run(folder).stdout, "utf-8")
    shutil.rmtree(folder / "conf.d", ignore_errors=True)
    return load_plant(folder)


def starter(folder: Path) -> Path:
    """The starter with conf.d, and secrets of every form."""
    shutil.copytree(STARTER, folder)
    (folder / "conf.d").mkdir()
    (folder / "conf.d" / "10-more.toml").write_text(
        """[spool]
when_full = "stop"
[[source]]
id = "tls"
kind = "mqtt"
url = "mqtts://broker:8883"
user = "${env:MQTT_USER}"
password = "${cred:mqtt}"
pki = "pki"
[[sink]]
kind = "influxdb"
url = "https://store:8086"
org = "plant"
bucket = "plant"
token = "${file:secrets/influx}"
[[business_source]]
id = "erp"
url = "mysql+pymysql://reader:${env:ERP_PASSWORD}@192.168.10.60/erp"
query = "SELECT period, measure, value, unit, declared_by, declared_at FROM declared"
[states.own]
"1" = "production"
"停 机\\n" = "idle"
refine = [ { element = "production", mode = ["SETUP"], becomes = "setup" } ]
""",
        "utf-8",
    )
    return folder


def test_what_is_printed_loads_again_to_the_same_plant(tmp_path):
    folder = starter(tmp_path / "plant")
    before = load_plant(folder)
    same(again(folder), before)
    assert before.spool.when_full == "stop"


@pytest.mark.parametrize(
    "file", sorted((ROOT / "tests" / "cases" / "modbus").glob("[!e]*/plant.toml")), ids=lambda file: file.parent.name
)
def test_every_plant_of_the_modbus_cases_loads_again(tmp_path, file):
    folder = tmp_path / "plant"
    shutil.copytree(file.parent, folder)
    shutil.copy(file.parents[1] / "assets.csv", tmp_path)
    before = load_plant(folder)
    same(again(folder), before)


def test_the_starter_with_every_example_in_it_loads_again(tmp_path):
    folder = tmp_path / "plant"
    shutil.copytree(STARTER, folder)
    elsewhere = (
        r"(?m)^(swaps|processes|loops|meters|business|answers|exclude) = .*$"  # files and points that it has not
    )
    (folder / "plant.toml").write_text(re.sub(elsewhere, "", with_examples()), "utf-8")
    before = load_plant(folder)
    assert before.push
    same(again(folder), before)


def test_defaults_are_there_of_the_source_s_own_protocol_alone(tmp_path):
    table = tomllib.loads(run(starter(tmp_path / "plant")).stdout)
    meters, cells = table["source"][1:3]
    assert (meters["timeout"], meters["retries"], meters["max_registers"]) == ("1s", 1, 125)
    assert not {"keepalive", "pki", "timestamp"} & meters.keys()
    assert (cells["keepalive"], cells["max_packet"], cells["session_expiry"]) == ("10s", "4MiB", "1d")
    assert table["spool"]["commit"] == "250ms"
    assert table["plant"]["day_start"].isoformat() == "08:00:00"


def test_the_head_says_which_files_and_how_many_points(tmp_path):
    lines = run(starter(tmp_path / "plant")).stdout.splitlines()
    assert lines[0] == "# plant1: plant.toml, conf.d/10-more.toml, with what is the default"
    assert lines[1:4] == ["# source line1: 5 points", "# source meters: 1 points", "# source cells: 2 points"]


def expanded(folder: Path) -> Path:
    """A plant of four points in two rows: two of a register map, two of braces."""
    folder.mkdir()
    (folder / "plant.toml").write_text(
        'version = 1\n[plant]\nid = "works"\n[[source]]\nid = "m"\nkind = "modbus"\nurl = "modbus+tcp://h"\n'
        'period = "5s"\n[[source]]\nid = "q"\nkind = "mqtt"\nurl = "mqtt://h"\n',
        "utf-8",
    )
    (folder / "assets.csv").write_text("asset\nl1/press\nl1/oven\n", "utf-8")
    (folder / "map.csv").write_text("point,address,type,scale\nu,holding:1,uint16,0.1\ni,holding:2,uint16,\n", "utf-8")
    (folder / "points.csv").write_text(
        "point,asset,source,address,map,heartbeat,note\nmeter,l1/press,m,3,map.csv,2min,\n"
        "{m}/t,l1/{m},q,{m}/temp,,,=1+1\n",
        "utf-8",
    )
    return folder


def test_maps_and_braces_are_counted_by_source(tmp_path):
    folder = expanded(tmp_path / "plant")
    lines = run(folder).stdout.splitlines()
    assert lines[1:3] == [
        "# source m: 2 points (2 of register maps)",
        "# source q: 2 points (2 of names in braces)",
    ]
    found = json.loads(run(folder, "--json").stdout)
    assert found["points"]["m"] == {"points": 2, "of_maps": 2, "of_braces": 0}
    assert found["tables"]["assets"] == {"file": "assets.csv", "rows": 2}
    assert "rows" not in found


def test_with_points_every_point_is_a_row_of_its_own_and_the_table_loads_again(tmp_path):
    folder = expanded(tmp_path / "plant")
    before = load_plant(folder).points
    text = run(folder, "--points").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["point"], row["address"], row["scale"], row["period"]) for row in rows] == [
        ("meter/u", "3/holding:1", "0.1", "5s"),
        ("meter/i", "3/holding:2", "1", "5s"),
        ("press/t", "press/temp", "1", "1s"),
        ("oven/t", "oven/temp", "1", "1s"),
    ]
    assert [row["heartbeat"] for row in rows] == ["2min", "2min", "1min", "1min"]
    (folder / "points.csv").write_text(text.replace("'=", "="), "utf-8")
    after = load_plant(folder).points
    filled = [{"period": row.period, "max_hold": row.max_hold} for row in after]
    assert [one.model_copy(update=more) for one, more in zip(before, filled, strict=True)] == list(after)
    assert [row.max_hold for row in after] == [one.hold_ns for one in before]


def test_a_note_never_becomes_a_formula(tmp_path):
    rows = list(csv.DictReader(io.StringIO(run(expanded(tmp_path / "plant"), "--points").stdout)))
    assert {row["note"] for row in rows} == {"", "'=1+1"}


def test_a_number_below_zero_is_no_formula():
    plant = Plant(id="w", assets=(Asset(asset="a"),), points=(Point(point="p", asset="a", offset=-5, no_value="-1"),))
    (row,) = csv.DictReader(io.StringIO(points_csv(plant)))
    assert (row["offset"], row["no_value"]) == ("-5", "-1")


def test_references_to_secrets_stay_and_nothing_is_looked_up(tmp_path):
    result = run(starter(tmp_path / "plant"))
    assert result.exit_code == exits.DONE
    for written in ("${env:MQTT_USER}", "${cred:mqtt}", "${file:secrets/influx}", "reader:${env:ERP_PASSWORD}@"):
        assert written in result.stdout
    assert MASK not in result.stdout
    assert result.stderr == ""


def test_a_secret_that_was_looked_up_is_masked_in_every_form():
    word = "p@ss:w/rd?&=密码%40"
    plant = Plant(
        id="works",
        sources=(Source(id="q", kind="mqtt", url="mqtt://h", user="u", password=SecretStr(word)),),
        sinks=(Sink(kind="influxdb", url="http://h", token=SecretStr(word), password=SecretStr(word)),),
        business_sources=(SqlSource(id="e", url=SecretStr(f"mysql://reader:{word}@h/erp"), query="SELECT 1"),),
        push=(Push(kind="webhook", url=f"https://h/hook?whatever={word}", secret=SecretStr(word)),),
    )
    text = to_toml(resolved(plant)) + json.dumps(resolved(plant), default=str, ensure_ascii=False)
    for part in (word, "w/rd", "密码", "p@ss", "%40"):
        assert part not in text
    table = tomllib.loads(to_toml(resolved(plant)))
    assert table["source"][0]["password"] == MASK
    assert table["business_source"][0]["url"] == f"mysql://reader:{MASK}@h/erp"
    assert table["push"][0]["url"].startswith(f"https://h/hook?whatever={MASK}")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("opc.tcp://192.168.10.21:4840", "opc.tcp://192.168.10.21:4840"),
        ("modbus+rtu:///dev/ttyUSB0?baud=9600&parity=N", "modbus+rtu:///dev/ttyUSB0?baud=9600&parity=N"),
        ("sqlite:///erp.db", "sqlite:///erp.db"),
        ("mysql://reader@h/erp", "mysql://reader@h/erp"),
        ("mysql://reader:pw@h/erp", "mysql://reader:***@h/erp"),
        ("mysql://reader:p/w@d@h/erp", "mysql://reader:***@h/erp"),
        ("mysql://reader:a?b@h/erp?charset=utf8", "mysql://reader:***@h/erp?charset=utf8"),
        ("mysql://${env:U}:${env:P}@h/erp", "mysql://${env:U}:${env:P}@h/erp"),
        ("mysql://u:pre${env:P}@h/erp", "mysql://u:***@h/erp"),
        ("mysql://h/erp?user=u&password=pw&ssl=1", "mysql://h/erp?user=***&password=***&ssl=1"),
        ("mysql://h/erp?password=${file:secrets/p}", "mysql://h/erp?password=${file:secrets/p}"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER%3DX%3BPWD%3Dpw", "mssql+pyodbc:///?odbc_connect=***"),
        ("${env:ERP_URL}", "${env:ERP_URL}"),
    ],
)
def test_a_url_keeps_all_but_what_may_be_a_secret(url, shown):
    assert masked_url(url, user=False) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mqtt://tok-123@h:1883", "mqtt://***@h:1883"),
        ("https://tok-123:@h/hook", "https://***@h/hook"),
        ("https://${env:TOKEN}@h/hook", "https://${env:TOKEN}@h/hook"),
        ("https://u:pw@h/hook", "https://u:***@h/hook"),
    ],
)
def test_who_stands_alone_in_a_url_may_be_a_token(url, shown):
    assert masked_url(url) == shown


def test_of_a_webhook_s_url_every_option_is_masked():
    assert masked_url("https://h/send?key=abc&x;y", whole=True) == "https://h/send?key=***&***;***"


def test_masked_values_are_told_on_stderr(tmp_path):
    folder = starter(tmp_path / "plant")
    source = '[[business_source]]\nid = "b"\nurl = "mysql://h/b?ssl_key=4711"\nquery = "SELECT 1"\ndeclared_by = "x"\n'
    (folder / "conf.d" / "20.toml").write_text(source)
    result = run(folder)
    assert result.exit_code == exits.DONE, result.output
    assert "4711" not in result.output
    assert result.stderr == "1 value is masked: write it back before this is loaded\n"


def test_a_faulty_configuration_is_told_without_the_secret_in_it(tmp_path):
    folder = starter(tmp_path / "plant")
    with (folder / "conf.d" / "20.toml").open("w") as file:
        file.write('[[sink]]\nkind = "influxdb"\nid = "x"\nurl = "http://u:geheim@h"\ntoken = "geheim"\n')
    result = run(folder)
    assert isinstance(result.exception, ConfigError)  # which ends the program with 78
    assert "geheim" not in str(result.exception) + result.output


def test_hostile_names_break_neither_the_toml_nor_the_terminal(tmp_path):
    plant = Plant(id="w", name='x"\n[sink]\n\x1b[2J\x7f\x9b', assets=(Asset(asset="a"),))
    text = to_toml(resolved(plant), ["a\nversion = 2"])
    assert tomllib.loads(text)["plant"]["name"] == plant.name
    assert all(line.isprintable() for line in text.splitlines())
    assert tomllib.loads(text)["version"] == 1

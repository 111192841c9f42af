"""What `plantproof check` says of sinks."""

import shutil
from pathlib import Path

import pytest

from config.faults import ConfigError
from config.load import load_plant

STARTER = Path(__file__).parent.parent / "config" / "starter"

V1 = 'kind = "influxdb"\napi = "v1"\nurl = "http://127.0.0.1:8086"\ndatabase = "plant"\n'
V2 = (
    'kind = "influxdb"\napi = "v2"\nurl = "https://influx.example:8086/base"\norg = "works"\nbucket = "plant"\n'
    'token = "${env:NO_SUCH_TOKEN}"\n'
)
V3 = 'kind = "influxdb"\napi = "v3"\nurl = "http://[::1]:8181"\ndatabase = "plant"\n'
LAKE = 'kind = "parquet"\npath = "lake"\nkeep = "400d"\n'


def told(folder, *sinks):
    """Return the faults of a plant with these sinks: key, rule and next step."""
    shutil.copytree(STARTER, folder, dirs_exist_ok=True)
    path = folder / "plant.toml"
    kept = path.read_text(encoding="utf-8").split("[[sink]]")[0]
    path.write_text(kept + "".join(f"\n[[sink]]\n{sink}" for sink in sinks), encoding="utf-8")
    try:
        load_plant(folder, secrets=False)
    except ConfigError as error:
        return {fault.place.rpartition(": ")[2]: str(fault) for fault in error.faults}
    return {}


@pytest.mark.parametrize("sink", [V1, V2, V3, LAKE, V1 + 'user = "a"\npassword = "${env:NO_SUCH}"\ntimeout = "5s"\n'])
def test_a_sound_sink_has_no_fault(tmp_path, sink):
    assert told(tmp_path, sink) == {}


def test_two_sinks_of_a_kind_are_told_apart_by_their_place(tmp_path):
    found = told(tmp_path, LAKE, 'id = "b"\n' + V1.replace('database = "plant"\n', ""))
    assert list(found) == ["sink[2].database"]
    assert "sink b: is missing, and v1 needs it; write database" in found["sink[2].database"]


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("", "is missing; write such as http://host:8086"),
        ("influx:8086", "is no address of an HTTP server"),
        ("ftp://host", "is no address of an HTTP server"),
        ("http://", "is no address of an HTTP server"),
        ("http://:8086", "is no address of an HTTP server"),
        ("http://host:99999", "is no address of an HTTP server"),
        ("http://host:port", "is no address of an HTTP server"),
        ("http://[::1", "is no address of an HTTP server"),
        ("http://user@host:8086", "holds more than scheme, host, port and path"),
        ("http://host:8086/write?db=x", "holds more than scheme, host, port and path"),
    ],
)
def test_a_url_needs_a_scheme_and_a_host_and_no_more(tmp_path, url, rule):
    (fault,) = told(tmp_path, V1.replace("http://127.0.0.1:8086", url)).values()
    assert rule in fault


@pytest.mark.parametrize(
    ("sink", "key"), [(V1, "database"), (V3, "database"), (V2, "org"), (V2, "bucket"), (V2, "token")]
)
def test_each_api_says_what_it_needs(tmp_path, sink, key):
    lines = [line for line in sink.splitlines() if not line.startswith(key)]
    found = told(tmp_path, "\n".join(lines) + "\n")
    assert list(found) == [f"sink[1].{key}"]
    assert "is missing" in found[f"sink[1].{key}"]


@pytest.mark.parametrize(
    ("sink", "line", "users"),
    [
        (V1, 'token = "${env:NO_SUCH}"', "influxdb v2, influxdb v3"),
        (V1, 'bucket = "b"', "influxdb v2"),
        (V2, 'database = "d"', "influxdb v1, influxdb v3"),
        (V2, 'user = "u"', "influxdb v1"),
        (V3, 'org = "o"', "influxdb v2"),
        (V3, 'retention_policy = "r"', "influxdb v1"),
        (V3, 'password = "${env:NO_SUCH}"', "influxdb v1"),
        (V1, 'path = "lake"', "parquet"),
        (V1, 'keep = "30d"', "parquet"),
        (V1, 'keep_size = "1GiB"', "parquet"),
        (LAKE, 'url = "http://host:8086"', "influxdb"),
        (LAKE, 'api = "v2"', "influxdb"),
        (LAKE, 'database = "d"', "influxdb v1, influxdb v3"),
        (LAKE, 'timeout = "5s"', "influxdb"),
    ],
)
def test_keys_of_another_api_or_kind_are_named(tmp_path, sink, line, users):
    key = line.partition(" ")[0]
    found = told(tmp_path, f"{sink}{line}\n")
    assert list(found) == [f"sink[1].{key}"]
    assert f"has a key of {users}; remove it, or mend kind and api" in found[f"sink[1].{key}"]


def test_a_password_needs_a_user(tmp_path):
    found = told(tmp_path, V1 + 'password = "${env:NO_SUCH}"\n')
    assert "is missing beside the password" in found["sink[1].user"]


def test_a_ca_without_encryption_is_a_fault(tmp_path):
    assert "the url is not encrypted" in told(tmp_path, V1 + 'ca = "ca.pem"\n')["sink[1].ca"]
    assert told(tmp_path, V2 + 'ca = "ca.pem"\n') == {}


@pytest.mark.parametrize("key", ["points", "exclude"])
def test_a_pattern_that_matches_no_point_is_a_fault(tmp_path, key):
    assert told(tmp_path, LAKE + f'{key} = ["*"]\n') == {}
    found = told(tmp_path, LAKE + f'{key} = ["*", "nothing/*"]\n')
    assert list(found) == [f"sink[1].{key}[2]"]
    assert "'nothing/*': matches no point of the point table; mend the pattern, or leave" in found[f"sink[1].{key}[2]"]


def test_no_secret_stands_in_a_fault(tmp_path):
    found = told(tmp_path, V1.replace("http://", "http://s3cr3t@") + 'token = "s3cr3t"\n')
    assert len(found) >= 2
    assert "s3cr3t" not in "".join(found.values())


def test_a_token_in_plain_text_is_a_fault_that_does_not_show_it(tmp_path):
    found = told(tmp_path, V2.replace("${env:NO_SUCH_TOKEN}", "hunter2"))
    assert "stands in plain text" in found["sink[1].token"]
    assert "hunter2" not in "".join(found.values())


@pytest.mark.parametrize("name", ["../lake", "a/b", ".hidden", "with space"])
def test_a_sinks_id_is_part_of_file_names_and_leads_nowhere_else(tmp_path, name):
    found = told(tmp_path, f'id = "{name}"\n{LAKE}')
    assert "files bear this name" in found["sink[1].id"]

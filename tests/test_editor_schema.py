"""The JSON Schema that editors are given: what the loader takes it takes, what is misspelt it underlines."""

import copy
import datetime as dt
import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from collector.commands import load_checked
from collector.sinks import base as sinks
from config import load, units
from config.editor_schema import KINDS, LISTS, NOT_WRITTEN, descriptions, schema
from config.faults import ConfigError
from config.plant import Plant, Sink, Source
from connectors import base as connectors
from plantproof import cli
from tests.starter import with_examples

ROOT = Path(__file__).parents[1]
STARTER = ROOT / "config" / "starter" / "plant.toml"
PLANTS = sorted([STARTER, *(ROOT / "tests").rglob("plant.toml")])


def plain(value: Any) -> Any:
    """Return TOML as an editor's schema sees it: times and dates are texts."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value.isoformat() if isinstance(value, dt.date | dt.time) else value


def wrong(table: dict[str, Any], *, part: bool = False) -> list[str]:
    """Return where the schema has something against a table."""
    found = jsonschema.Draft7Validator(schema(part=part)).iter_errors(plain(table))
    return sorted("/".join(map(str, error.absolute_path)) for error in found)


def starter() -> dict[str, Any]:
    """The starter with all that is commented out in it."""
    return tomllib.loads(with_examples())


def faulty_keys(file: Path) -> bool:
    """Whether a fault is found in plant.toml itself."""
    try:
        load_checked(file)
    except ConfigError as error:
        return any(fault.place.startswith("plant.toml") for fault in error.faults)
    return False


def test_it_is_a_schema_of_draft_7():
    for part in (False, True):
        jsonschema.Draft7Validator.check_schema(schema(part=part))


@pytest.mark.parametrize("file", PLANTS, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_a_plant_that_loads_is_valid(file):
    table = tomllib.loads(file.read_text("utf-8-sig"))
    assert wrong(table) == [] or faulty_keys(file)


def test_there_are_plants_enough_to_say_so():
    assert sum(not faulty_keys(file) for file in PLANTS) > 50


def test_the_starter_with_every_example_in_it_is_valid():
    table = starter()
    assert {"source", "calendar", "sink", "business_source", "push", "evidence", "states"} <= table.keys()
    assert wrong(table) == []


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        ("version", 2, "version"),
        ("sorce", [], ""),
        ("plant/timezon", "Asia/Shanghai", "plant"),
        ("plant/id", "two words", "plant/id"),
        ("plant/kind", "batch", "plant/kind"),
        ("plant/micro_stop", 120, "plant/micro_stop"),
        ("plant/day_start", "8 am", "plant/day_start"),
        ("source/0/kind", "opcda", "source/0/kind"),
        ("source/0/url", "192.168.10.21", "source/0/url"),
        ("source/0/period", "5 sec", "source/0/period"),
        ("source/0/password", "hunter2", "source/0/password"),
        ("source/1/unit", 256, "source/1/unit"),
        ("source/2/max_packet", "4", "source/2/max_packet"),
        ("source/2/topic/0/payload", "xml", "source/2/topic/0/payload"),
        ("source/2/topic/0/colums", [], "source/2/topic/0"),
        ("source/1/device", [{"timeout": "1s"}], "source/1/device/0"),
        ("calendar/0/weekdays", ["monday"], "calendar/0/weekdays/0"),
        ("calendar/0/shifts", [], "calendar/0/shifts"),
        ("calendar/0/shifts/0/breaks/0/end", 1230, "calendar/0/shifts/0/breaks/0/end"),
        ("calendar/0/exception_rows", [], "calendar/0"),
        ("states/default/1", "running", "states/default/1"),
        ("states/default/refine", [{"element": "production"}], "states/default/refine/0"),
        ("spool/max_size", "2 gigabytes", "spool/max_size"),
        ("spool/when_full", "wait", "spool/when_full"),
        ("sink/0/kind", "mysql", "sink/0/kind"),
        ("sink/1/token", "abc", "sink/1/token"),
        ("sink/0/rows", 0, "sink/0/rows"),
        ("networking/evidenced_share", 1.5, "networking/evidenced_share"),
        ("push/0/secret", "plain", "push/0/secret"),
    ],
)
def test_a_planted_fault_is_underlined_where_it_stands(path, value, place):
    table: Any = copy.deepcopy(starter())
    *above, last = path.split("/")
    inner = table
    for key in above:
        inner = inner[int(key)] if isinstance(inner, list) else inner.setdefault(key, {})
    inner[last] = value
    assert wrong(table) == [place]


@pytest.mark.parametrize("key", ["version", "plant"])
def test_plant_toml_must_have_version_and_plant_and_a_file_of_conf_d_need_not(key):
    table = {name: value for name, value in starter().items() if name != key}
    assert wrong(table) == [""]
    assert wrong(table, part=True) == []


def test_a_file_of_conf_d_may_have_a_part_of_plant():
    assert wrong({"plant": {"name": "示例工厂"}}, part=True) == []
    assert wrong({"plant": {"name": "示例工厂"}, "version": 1}) == ["plant"]


def test_it_has_every_key_that_the_loader_knows():
    found = schema()
    assert set(found["properties"]) == set(load._TOP)
    assert set(found["properties"]["plant"]["properties"]) == {*load.OWN, *load.TABLES}
    for model in LISTS.values():
        keys = set(found["definitions"][model.__name__]["properties"])
        assert keys == set(model.model_fields) - set(NOT_WRITTEN)


def test_the_kinds_are_those_that_there_are_modules_for():
    assert KINDS == {"Source": connectors.KINDS, "Sink": sinks.KINDS}


def test_what_stands_under_a_field_explains_it_and_its_default_is_as_it_is_written():
    keepalive = schema()["definitions"]["Source"]["properties"]["keepalive"]
    assert keepalive["description"] == "MQTT: silence after which the broker is asked for a sign of life."
    assert keepalive["default"] == "10s"
    assert schema()["definitions"]["Spool"]["properties"]["max_size"]["default"] == "2GiB"
    assert schema()["properties"]["plant"]["properties"]["day_start"]["default"] == "00:00:00"
    assert "default" not in schema()["definitions"]["Sink"]["properties"]["token"]


def test_most_fields_of_sources_sinks_and_plants_are_explained():
    for model in (Source, Sink, Plant):
        assert len(descriptions(model)) > len(model.model_fields) / 2


@pytest.mark.parametrize("unit", units._DURATION)
def test_every_unit_of_a_duration_is_known(unit):
    table = {"spool": {"commit": f"1.5{unit}"}}
    assert wrong(table, part=True) == []


@pytest.mark.parametrize("unit", units._SIZE)
def test_every_unit_of_a_size_is_known(unit):
    assert wrong({"spool": {"max_size": f"7 {unit}"}}, part=True) == []
    assert wrong({"spool": {"max_size": f"7 {unit}i"}}, part=True) == ["spool/max_size"]


def test_the_verb_prints_it():
    for options, part in (([], False), (["--conf-d"], True)):
        result = CliRunner().invoke(cli, ["schema", *options])
        assert json.loads(result.stdout) == schema(part=part)

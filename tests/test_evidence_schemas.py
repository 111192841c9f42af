"""The JSON Schemas inside a package: what a package says is valid by them, and what differs is not."""

import copy
import io
import json
import re
import zipfile
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from kpis.evidence import objects
from kpis.evidence.layout import FORMAT
from kpis.indicators.catalogue import INDICATORS
from kpis.indicators.rubrics.result import STATUSES
from tests.assessed_plant import BUSINESS
from tests.independent import frictionless
from tests.packaged_plant import contents_of, package_of

FOLDER = resources.files("kpis.evidence").joinpath("schemas")
NAMES = ("assessments.schema.json", "datapackage-profile.json", "indicators.schema.json")
# Declared with an attachment, an answer that fits and one that cannot be taken.
FILES = {
    "answers": "".join(f"{line},赵工,2026-01-12,\n" for line in
                       ("sme-2024,q1,1,", "jiangsu-index-2025,q2,2,10", "sme-2024,none,1,")),
    "business": BUSINESS.replace("12000,万元,张会计,2026-01-10,", "12000,万元,张会计,2026-01-10,revenue.csv"),
    "revenue": "month,amount\n2025-01,1000\n",
}  # fmt: skip


def schema(name):
    return json.loads(FOLDER.joinpath(name).read_text(encoding="utf-8"))


def faults(name, data):
    validator = jsonschema.Draft202012Validator(schema(name), format_checker=jsonschema.FormatChecker())
    return [f"{'/'.join(map(str, one.absolute_path))}: {one.message}" for one in validator.iter_errors(data)]


def plain(data):
    return json.loads(json.dumps(data))


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    return contents_of(tmp_path_factory.mktemp("works") / "plant", **FILES)


@pytest.fixture(scope="module")
def said(contents):
    return {
        "indicators.schema.json": plain(objects.indicators(contents)),
        "assessments.schema.json": plain(objects.assessments(contents)),
        "datapackage-profile.json": descriptor(package_of(contents)),
    }


def descriptor(package):
    with zipfile.ZipFile(io.BytesIO(package)) as whole:
        return json.loads(whole.read("datapackage.json"))


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_one(name):
    found = schema(name)
    jsonschema.Draft202012Validator.check_schema(found)
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert found["$id"].endswith(f":{FORMAT}")


def test_a_package_has_all_schemas_that_there_are():
    assert sorted(one.name for one in FOLDER.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_package_says_is_valid(said, name):
    assert faults(name, said[name]) == []


def test_what_is_looked_at_has_every_kind_of_thing(said):
    """Else a schema could be wrong of what no test looks at."""
    figures = said["indicators.schema.json"]["results"]
    assert {one["evidence"] for one in figures} == {one.evidence for one in INDICATORS}
    assert {origin["origin"] for one in figures for origin in one["inputs"]} == {"register", "measured", "declared"}
    assert any(one["missing"] for one in figures)
    assert any(amount["attachment_sha256"] for one in figures for amount in one["inputs"])
    held = said["assessments.schema.json"]["rubrics"]
    items = [item for one in held for key in ("items", "scenes") for item in one[key]]
    assert {one["status"] for one in items} == set(STATUSES)
    assert any(one["answer"] for one in items)
    assert any(one["comparison"] for one in items)
    assert any(one["gap"] for one in items)
    assert any(one["faults"] for one in held)


def test_a_package_that_compares_with_nothing_is_valid(contents):
    alone = copy.copy(contents)
    for name in ("_compared", "case", "assessments", "targets"):
        vars(alone).pop(name, None)
    vars(alone).update(earlier=None, asked=type(contents.asked)(period=contents.asked.period, before=None, rubrics=()))
    found = plain(objects.indicators(alone))
    assert (found["before"], found["comparisons"]) == (None, [])
    assert faults("indicators.schema.json", found) == []
    assert faults("datapackage-profile.json", descriptor(package_of(alone))) == []


def objects_of(node, place=()):
    """Every object schema that lists its properties, with where it stands."""
    if isinstance(node, dict):
        if "properties" in node and node.get("type") == "object":
            yield place, node
        for key, value in node.items():
            yield from objects_of(value, (*place, key))
    elif isinstance(node, list):
        for n, value in enumerate(node):
            yield from objects_of(value, (*place, n))


@pytest.mark.parametrize("name", NAMES)
def test_every_field_says_what_it_is(name):
    found = schema(name)
    for place, node in objects_of(found):
        for field, of in node["properties"].items():
            target = found["$defs"][of["$ref"].rpartition("/")[2]] if "$ref" in of else of
            if place[-1:] != ("said",) and "const" not in of:
                assert of.get("description") or target.get("description"), (*place, field)


@pytest.mark.parametrize("name", ["assessments.schema.json", "indicators.schema.json"])
def test_nothing_stands_in_a_file_that_its_schema_does_not_know(name):
    for place, node in objects_of(schema(name)):
        assert node["additionalProperties"] is False, place
        assert set(node.get("required", ())) == set(node["properties"]) or "by_status" in place, place


def test_what_both_schemas_define_is_the_same():
    one, other = (schema(name)["$defs"] for name in ("assessments.schema.json", "indicators.schema.json"))
    both = one.keys() & other.keys()
    assert {"figure", "input", "member", "comparison"} <= both
    assert {name: one[name] for name in both} == {name: other[name] for name in both}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda one: one.update(format=3), "2 was expected"),
        (lambda one: one["results"][0].update(evidence="e"), "'e' is not one of"),
        (lambda one: one["results"][0].update(note=""), "Additional properties are not allowed"),
        (lambda one: one["results"][0].pop("rule"), "'rule' is a required property"),
        (lambda one: one["results"][0]["exact"].update(value=0.4), "0.4 is not of type 'string'"),
        (lambda one: one["results"][0]["exact"].update(value="2/0"), "does not match"),
        (lambda one: one["results"][0].update(value=None), "is not of type 'null'"),
        (lambda one: one["results"][0].update(start="2025-01-01"), "does not match"),
        (lambda one: one["results"][0].update(coverage=1.5), "greater than the maximum"),
        (lambda one: one["results"][0].update(missing=[{"en": "x", "zh": "x"}]), "is expected to be empty"),
        (lambda one: one["kpis"][0].update(period="day"), "'total' was expected"),
        (lambda one: one["comparisons"][0].update(change="better"), "is not one of"),
    ],
)
def test_indicators_that_differ_are_not_valid(said, change, told):
    other = copy.deepcopy(said["indicators.schema.json"])
    change(other)
    assert any(told in fault for fault in faults("indicators.schema.json", other))


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({"revision": 2, "replaces": "a" * 64}, True),
        ({"revision": 2}, False),
        ({"replaces": "a" * 64}, False),
        ({"revision": 0}, False),
        ({"revision": 2, "replaces": "a"}, False),
        ({"format": 1}, False),
        ({"store": "csv"}, False),
        ({"more": 1}, False),
    ],
    ids=str,
)
def test_the_descriptor_names_its_revision_and_what_it_replaces(said, change, valid):
    other = copy.deepcopy(said["datapackage-profile.json"])
    other["plantproof"] |= change
    other["version"] = f"2.{max(1, other['plantproof']['revision'])}.0"
    assert (faults("datapackage-profile.json", other) == []) is valid


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../b", "a\\b", "c:x", "~/x", "a/.."])
def test_a_descriptor_that_leads_out_of_the_package_is_not_valid(said, path):
    other = copy.deepcopy(said["datapackage-profile.json"])
    other["resources"][0]["path"] = path
    assert any("resources/0/path" in fault for fault in faults("datapackage-profile.json", other))


def test_what_is_valid_by_our_profile_is_a_data_package(said):
    with frictionless() as library:
        report = library.Package.validate_descriptor(said["datapackage-profile.json"])
    assert report.flatten(["type", "note"]) == []


def test_every_field_of_a_figure_and_of_the_file_has_its_row_in_the_contract():
    rows = (Path(__file__).parents[1] / "docs" / "import.md").read_text(encoding="utf-8").splitlines()
    named = {name for row in rows if row.startswith("|") for name in re.findall("`([^`]+)`", row.split("|")[1])}
    found = schema("indicators.schema.json")
    assert {*found["properties"], *found["$defs"]["figure"]["properties"]} <= named
    of_input = next(row for row in rows if row.startswith("| `inputs`"))
    assert set(found["$defs"]["input"]["properties"]) <= set(re.findall("`([^`]+)`", of_input))

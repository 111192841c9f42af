"""Every connector, sink, KPI, verb, field, column, role and flag has its row in docs/; links and commands hold."""

import ast
import importlib
import io
import pkgutil
import re
import shlex
import tomllib
import xml.etree.ElementTree as ET
import zipfile
from importlib import resources
from pathlib import Path
from urllib.parse import unquote

import click
import polars as pl
import pytest
from click.testing import CliRunner

import config.plant as plant_models
from collector.sinks import base as sinks
from config import exits, load
from config.plant import ROLES, Asset, Model, Plant
from config.schema import COUNTS, DEMAND, DURATIONS, FACT, RESULT, SAMPLE
from config.status import NAMES
from config.tables import SYNONYMS
from config.units import METER_UNITS
from connectors import base as connectors
from kpis import catalogue
from kpis.catalogue import energy
from kpis.catalogue.base import Kpi
from kpis.compute import WARNINGS, Basis, Window, results
from kpis.evidence.contents import Asked
from kpis.evidence.keys import make_key
from kpis.evidence.package import build
from kpis.facts import facts
from kpis.indicators.catalogue import INDICATORS
from kpis.stores import Lake
from plantproof import cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOMENCLATURE, CONFIGURATION = DOCS / "nomenclature.md", DOCS / "configuration.md"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
EMPTY = "–"
HOUR_NS = 3_600_000_000_000

MODELS = {
    name: model
    for name, model in vars(plant_models).items()
    if isinstance(model, type) and issubclass(model, Model) and model is not Model
}

REQUIRED = {  # what a model wants besides the field that is looked at
    "Source": {"id": "s", "kind": "opcua", "url": "opc.tcp://h:1"},
    "Topic": {"topic": "a"},
    "Asset": {"asset": "a"},
    "Point": {"point": "p", "asset": "a"},
    "Break": {"start": "08:00", "end": "09:00"},
    "Shift": {"name": "早班", "start": "08:00", "end": "16:00"},
    "Calendar": {"shifts": [{"name": "早班", "start": "08:00", "end": "16:00"}]},
    "CalendarException": {"date": "2026-10-01", "working": "no"},
    "Product": {"product": "x", "ideal_cycle": 1},
    "Swap": {"point": "p", "at": "2026-03-01T08:00:00+08:00"},
    "Process": {"process": "p"},
    "Meter": {"meter": "m", "point": "p"},
    "Sink": {"kind": "parquet"},
    "Plant": {"id": "works"},
}
WRITTEN_OTHERWISE = {  # defaults that are no single value, told in words
    "Plant": {"assets", "points", "states", "networking", "spool", "evidence", "root", "places"},
    "Calendar": {"assets", "weekdays"},
    "Topic": {"good", "offline"},
}


def cells(line):
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]


def tables(text):
    """Each table of a Markdown text as a list of rows, head first."""
    found, rows = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append(cells(line))
        elif rows:
            found.append([rows[0], *rows[2:]])
            rows = []
    return found


def section(path, heading):
    """The text below a heading up to the next one of its kind."""
    match = re.search(
        rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", path.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert match is not None, f"{path.name} has no heading {heading!r}"
    return match[2]


def rows(path, heading=None):
    """The first table below a heading (or of the page) as {column: cell} by what its first cell names."""
    text = path.read_text("utf-8") if heading is None else section(path, heading)
    (head, *body), *_ = tables(text)
    names = [re.match(r"`([^`]+)`", row[0]) for row in body]
    assert all(names), f"{path.name}, {heading}: a row does not begin with a `name`"
    keys = [name[1] for name in names]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    assert not twice, f"{path.name}, {heading}: more than one row for {twice}"
    return {key: dict(zip(head, row, strict=True)) for key, row in zip(keys, body, strict=True)}


def catalogued():
    """Every KPI that kpis/catalogue declares, a medium's for electricity."""
    modules = [importlib.import_module(f"kpis.catalogue.{m.name}") for m in pkgutil.iter_modules(catalogue.__path__)]
    fixed = [kpi for module in modules for kpi in getattr(module, "KPIS", ())]
    return {k.id: k for k in (*fixed, *energy.of_medium("electricity", "kWh"), *energy.demand_of("electricity", "kWh"))}


def verbs(command, name="plantproof"):
    """Every verb and sub-verb of a group, by what a person types."""
    found = {}
    for verb in command.list_commands(click.Context(command)):
        inner = command.get_command(click.Context(command), verb)
        found[f"{name} {verb}"] = inner
        if isinstance(inner, click.Group):
            found |= verbs(inner, f"{name} {verb}")
    return found


def words_of(node):
    return {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def flags_in(source):
    """The words that go into the flags of results: every pl.lit("...") of a statement on `flags`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        sets = isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "flags" for t in node.targets)
        appends = isinstance(node, ast.Expr) and ast.unparse(node).startswith("flags.append(")
        if sets or appends:
            calls = [n for n in ast.walk(node) if isinstance(n, ast.Call) and ast.unparse(n.func) == "pl.lit"]
            found |= {word for call in calls for arg in call.args for word in words_of(arg)}
    return found


def ledger_events():
    """The first word of every `....ledger.add(...)` in the code that runs on a gateway."""
    found = set()
    for path in [*(ROOT / "collector").rglob("*.py"), *(ROOT / "connectors").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("ledger.add"):
                assert isinstance(node.args[0], ast.Constant), f"{path.name}:{node.lineno}: name the event in place"
                found.add(node.args[0].value)
    return found


def test_every_kpi_has_one_row_and_the_row_says_what_the_declaration_says():
    told, declared = rows(DOCS / "kpis.md"), catalogued()
    assert told.keys() == declared.keys()
    for kpi in declared.values():
        assert told[kpi.id] == {
            "id": f"`{kpi.id}`",
            "title": kpi.title,
            "中文": kpi.title_zh,
            "unit": kpi.unit,
            "formula": kpi.formula,
            "needs": ", ".join(kpi.needs),
            "source": kpi.source,
            "what it is not": kpi.not_this,
        }


def test_every_catalogue_module_is_looked_at_for_its_kpis():
    # A family that is a function of a medium is called in `catalogued`; one that is added must be as well.
    families = {"energy": {"of_medium", "demand_of"}}
    for module in pkgutil.iter_modules(catalogue.__path__):
        code = importlib.import_module(f"kpis.catalogue.{module.name}")
        own = [f for f in vars(code).values() if callable(f) and getattr(f, "__module__", "") == code.__name__]
        giving = {f.__name__ for f in own if getattr(f, "__annotations__", {}).get("return") == tuple[Kpi, ...]}
        assert giving == families.get(module.name, set()), module.name


def test_the_nomenclature_names_every_kpi_with_its_unit():
    told = rows(NOMENCLATURE, "KPI ids")
    assert {name: row["unit"] for name, row in told.items()} == {k.id: k.unit for k in catalogued().values()}


def test_every_connector_has_a_row():
    assert rows(DOCS / "connectors.md").keys() == set(connectors.KINDS)


def test_every_sink_has_a_row():
    assert rows(DOCS / "sinks.md").keys() == set(sinks.KINDS)


def test_every_indicator_has_a_row_and_the_row_says_what_the_declaration_says():
    told = rows(DOCS / "indicators.md")
    assert list(told) == [one.id for one in INDICATORS]
    for one in INDICATORS:
        row = told[one.id]
        lines = [f"L{line}" for line in dict.fromkeys(line for line, _ in one.cites)]
        assert row["source"] == ", ".join([one.source, *lines])
        said = (one.title_zh, one.evidence, one.formula, one.unit, one.proof, one.not_this)
        heads = ("official name", "class", "formula", "unit", "what proves it", "what it is not")
        assert tuple(row[head] for head in heads) == said
    assert list(rows(NOMENCLATURE, "Indicator ids")) == list(told)


def test_every_verb_has_a_row():
    assert rows(DOCS / "cli.md").keys() == verbs(cli).keys()


@pytest.mark.parametrize("verb", verbs(cli))
def test_a_verbs_row_names_its_arguments_and_options_and_no_others(verb):
    row = rows(DOCS / "cli.md")[verb]
    told = set(re.findall(r"`(--[a-z-]+|[A-Z]+)`", row["arguments and options"]))
    params = verbs(cli)[verb].params
    options = {name for p in params if isinstance(p, click.Option) for name in p.opts}
    arguments = {p.human_readable_name.upper() for p in params if isinstance(p, click.Argument)}
    assert told == options | arguments


def test_a_verbs_row_names_the_exit_codes_that_its_help_names():
    known = {str(code) for name, code in vars(exits).items() if name.isupper()}
    for verb, row in rows(DOCS / "cli.md").items():
        told = set(re.findall(r"\b\d+\b", row["exit codes"]))
        helped = set(re.findall(r"[Ee]xits (\d+)|, (\d+) when", verbs(cli)[verb].help or ""))
        assert told <= known, verb
        assert {code for pair in helped for code in pair if code} <= told, verb


def test_every_exit_code_has_a_row():
    told = {int(code): row["name"] for code, row in rows(NOMENCLATURE, "Exit codes").items()}
    assert told == {code: name for name, code in vars(exits).items() if name.isupper()}


@pytest.mark.parametrize("name", MODELS)
def test_every_field_of_a_model_has_a_row(name):
    assert rows(CONFIGURATION, name).keys() == MODELS[name].model_fields.keys()


@pytest.mark.parametrize("name", MODELS)
def test_a_fields_row_says_its_default(name):
    model = MODELS[name]
    for field, row in rows(CONFIGURATION, name).items():
        info, told = model.model_fields[field], row["default"]
        if info.is_required():
            assert told == "required", field
        elif told == EMPTY:
            value = info.get_default(call_default_factory=True)
            value = value.get_secret_value() if hasattr(value, "get_secret_value") else value
            assert not value or field in WRITTEN_OTHERWISE.get(name, ()), field
        elif field not in WRITTEN_OTHERWISE.get(name, ()):
            # The cell is read as the plant's own file would be.
            given = model.model_validate(REQUIRED.get(name, {}) | {field: told})
            assert getattr(given, field) == info.default, field


@pytest.mark.parametrize(
    ("heading", "schema"), [("SAMPLE", SAMPLE), ("FACT", FACT), ("DEMAND", DEMAND), ("RESULT", RESULT)]
)
def test_every_column_of_a_schema_has_a_row_with_its_type(heading, schema):
    told = rows(NOMENCLATURE, f"{heading} columns")
    assert list(told) == list(schema)
    kinds = {"Datetime(ns, UTC)": pl.Datetime("ns", "UTC"), "Duration(ns)": pl.Duration("ns")}
    kinds |= {"List(String)": pl.List(pl.String())}
    kinds |= {str(kind): kind for kind in (pl.String(), pl.Float64(), pl.Int64(), pl.UInt32(), pl.Date())}
    assert {name: kinds[row["type"].removesuffix(", null")] for name, row in told.items()} == dict(schema)


def test_every_key_at_the_top_of_plant_toml_has_a_row():
    told = {re.sub(r"[\[\]]|\.<name>", "", key) for key in rows(CONFIGURATION, "plant.toml")}
    assert told == set(load._TOP)


def test_every_time_element_and_count_has_a_row():
    assert list(rows(NOMENCLATURE, "Elements")) == list(DURATIONS)
    assert list(rows(NOMENCLATURE, "Counts")) == list(COUNTS)


def test_every_symbol_of_a_formula_is_in_the_nomenclature():
    def symbols(text):
        return set(re.findall(r"\b[A-Z]{2,4}\b", text))

    times = rows(NOMENCLATURE, "Time elements")
    counts = " ".join(row["English"] for row in rows(NOMENCLATURE, "Counts").values())
    known = times.keys() | symbols(counts)
    for kpi in catalogued().values():
        assert symbols(kpi.formula) <= known, kpi.id
    elements = " ".join(row["English"] for row in rows(NOMENCLATURE, "Elements").values())
    derived = " ".join(row["here"] for row in times.values())
    assert symbols(elements + derived) <= known


def test_every_flag_has_a_row_that_says_whether_it_warns():
    told = rows(NOMENCLATURE, "Flags of results")
    source = (ROOT / "kpis" / "compute.py").read_text("utf-8")
    assert told.keys() == flags_in(source)
    assert {flag for flag, row in told.items() if row["warning"] == "yes"} == WARNINGS


def test_every_role_has_a_row():
    assert rows(NOMENCLATURE, "Roles of points").keys() == set(ROLES.split(", "))


def test_every_status_name_has_a_row_with_its_number():
    told = {name: int(row["number"], 16) for name, row in rows(NOMENCLATURE, "Status names").items()}
    assert told == NAMES


def test_every_ledger_event_has_a_row():
    assert rows(NOMENCLATURE, "Ledger events").keys() == ledger_events()


def test_every_chinese_column_head_has_a_row_with_its_column():
    told = rows(CONFIGURATION, "Chinese column heads")
    assert {head: row["column"].strip("`") for head, row in told.items()} == SYNONYMS


def test_every_unit_of_a_meter_has_a_row():
    told = {unit: (row["dimension"], row["canonical"]) for unit, row in rows(CONFIGURATION, "Units of meters").items()}
    assert told == {name: (unit.dimension, unit.canonical) for name, unit in METER_UNITS.items()}


def test_every_built_in_state_map_has_a_row():
    built_in = tomllib.loads(resources.files("config").joinpath("states", "builtin.toml").read_text("utf-8"))
    assert rows(CONFIGURATION, "State maps").keys() == built_in.keys()


def test_every_entry_of_an_evidence_package_has_a_row(tmp_path):
    CliRunner().invoke(cli, ["init", str(tmp_path)], catch_exceptions=False)
    (tmp_path / "var" / "spool").mkdir(parents=True)
    (tmp_path / "var" / "spool" / "ledger.jsonl").touch()
    hour, asked = 3_600_000_000_000, {"rubrics": ("sme-2024",)}
    signer = make_key(tmp_path / "plant.key")
    of = Asked(period=(hour, 2 * hour), before=(0, hour), **asked)
    package = build(load.load_plant(tmp_path), Lake(tmp_path / "no-samples-yet"), of, signer=signer)
    entries = zipfile.ZipFile(io.BytesIO(package)).namelist()
    told = {re.sub(r"^(config|rules|schemas)/.*", r"\1/", entry) for entry in entries}
    listed = (DOCS / "evidence.md").read_text("utf-8").partition("## What is in a package")[2].partition("\n## ")[0]
    cells = [line.split(" | ")[0] for line in listed.splitlines() if line.startswith("| `")]
    assert {name for cell in cells for name in re.findall("`([^`]+)`", cell)} == told


def code_of(path):
    """What a page shows as code: the lines of its blocks, and what stands in backticks."""
    text = path.read_text("utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", text)


def commands_of(path, program):
    """The commands of a program that a page shows, as lists of words."""
    return [shlex.split(line, comments=True) for line in code_of(path) if line.startswith(f"{program} ")]


def anchors(path):
    """The anchors of a page's headings, as code hosts make them."""
    heads = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_pages_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        file, _, anchor = unquote(target).partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.is_file(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(there), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_page_is_reached_from_the_readme(page):
    reached, new = set(), {ROOT / "README.md"}
    while new:
        reached |= new
        found = {
            (p.parent / t.partition("#")[0]).resolve()
            for p in new
            for t in re.findall(r"\]\((\S+?\.md\S*?)\)", p.read_text("utf-8"))
        }
        new = found - reached
    decisions = set((DOCS / "decisions").glob("*.md")) if DOCS / "decisions" / "0001-frame.md" in reached else set()
    assert page in reached | decisions


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_make_command_of_a_page_is_in_the_makefile(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    told = {words[1] for words in commands_of(page, "make")}
    assert told <= targets


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readmes_give_the_two_commands(name):
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / name).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks[0].split("\n")[:2] == ["make demo", "make test"]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_plantproof_command_of_a_page_is_a_verb_with_these_options(page):
    known = verbs(cli)
    for words in commands_of(page, "plantproof"):
        if words[1] in ("VERB", "--version"):
            continue
        verb = max((v for v in known if words[: len(v.split())] == v.split()), key=len, default=None)
        assert verb is not None, words
        options = {name for p in known[verb].params for name in p.opts}
        assert {w for w in words if w.startswith("--")} <= options, words


def test_the_two_readmes_have_the_same_sections_commands_and_links():
    pages = [ROOT / name for name in ("README.md", "README.zh-CN.md")]
    english, chinese = (page.read_text("utf-8") for page in pages)

    def links(text):
        return set(re.findall(r"\]\(((?:docs/|[A-Z])\S+?)\)", text)) - {"README.md", "README.zh-CN.md"}

    for program in ("make", "plantproof"):
        first, second = (commands_of(page, program) for page in pages)
        speaks = ["--lang", "zh"]  # of the commands that both show, these are asked in the page's language
        asked = (["check", "my-plant"], ["status", "my-plant"])
        assert second == [words + speaks if words[1:3] in asked else words for words in first]
    assert links(chinese) == links(english)
    assert [len(t) for t in tables(chinese)] == [len(t) for t in tables(english)]


def test_the_picture_of_the_flow_is_an_image_with_a_title_and_a_text_for_those_who_cannot_see_it():
    space = "{http://www.w3.org/2000/svg}"
    for picture in ("flow.svg", "unknown.svg"):
        image = ET.parse(DOCS / picture).getroot()
        assert image.tag == f"{space}svg"
        assert image.findtext(f"{space}title")
        assert image.findtext(f"{space}desc")
    for name in ("README.md", "README.zh-CN.md"):
        alt = re.search(r"!\[([^\]]+)\]\(docs/flow\.svg\)", (ROOT / name).read_text("utf-8"))
        assert alt is not None, name
        assert len(alt[1]) > 40, name


def picture_of_unknown_time():
    """The shapes of the picture that have a class, and its texts that have an id."""
    image = ET.parse(DOCS / "unknown.svg").getroot()
    shapes = [(e.get("class"), dict(e.items())) for e in image.iter() if e.get("class")]
    return shapes, {e.get("id"): e.text for e in image.iter("{http://www.w3.org/2000/svg}text") if e.get("id")}


def of_the_picture(shapes):
    """Facts and availability of the samples that the picture shows: 08:00 lies at x = 130, an hour is 80 wide."""
    words = {"production": (1.0, "Good"), "delay": (3.0, "Good"), "bad": (None, "Bad")}
    seen = [(round((float(s["cx"]) - 130) / 80 * HOUR_NS), *words[of]) for of, s in shapes if "cx" in s]
    samples = pl.DataFrame(seen, schema=["ts", "value", "status"], orient="row").select(
        pl.lit("s").alias("point"),
        *(pl.col("ts").cast(SAMPLE["ts"]).alias(name) for name in ("ts", "ts_recv")),
        pl.col("value").cast(pl.Float64),
        pl.lit(None, pl.String).alias("text"),
        pl.col("status").replace_strict(NAMES, return_dtype=pl.UInt32),
    )
    plant = Plant(
        id="works",
        assets=(Asset(asset="press"),),
        points=(plant_models.Point(point="s", asset="press", role="state", max_hold="1h"),),
        states={"default": {"1": "production", "3": "delay"}},
    )
    found = facts(plant, samples, 0, 8 * HOUR_NS)
    stated = results(plant, Basis(found, pl.DataFrame()), Window(0, 8 * HOUR_NS), ["press"])
    return found, stated.row(by_predicate=pl.col("kpi") == "availability", named=True)


def test_the_picture_of_unknown_time_shows_what_its_samples_give():
    shapes, texts = picture_of_unknown_time()
    found, availability = of_the_picture(shapes)
    for element, hours in (("production", 5), ("delay", 1), ("unknown", 2)):
        drawn = sum(float(s["width"]) for of, s in shapes if of == element and "width" in s) / 80
        assert drawn == found[element].sum().total_seconds() / 3600 == hours
    computed = {name: f"{availability[name] * 100:.2f} %" for name in ("low", "value", "high", "coverage")}
    assert texts == computed
    told = rows(DOCS / "kpi-rules.md", "Unknown time, bounds and coverage")
    assert {name: row["="] for name, row in told.items()} == computed


def test_the_readmes_count_of_kpis_is_right():
    (said,) = re.findall(
        r"\[(\d+) of time, pieces, losses, maintenance and energy\]", (ROOT / "README.md").read_text("utf-8")
    )
    assert int(said) == len(catalogued())


def test_every_decision_says_what_it_is_not():
    decisions = sorted((DOCS / "decisions").glob("*.md"))
    assert [int(d.name[:4]) for d in decisions] == list(range(1, len(decisions) + 1))
    for decision in decisions:
        assert re.search(r"^It is not\b", decision.read_text("utf-8"), re.MULTILINE), decision.name

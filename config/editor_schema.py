"""JSON Schema of plant.toml for editors, made from the models: what they complete, explain and underline.

It says less than `plantproof check`: nothing of references, files and addresses. Draft 7, as TOML editors know it;
times of day of TOML are strings to them.
"""

import ast
import datetime as dt
import functools
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from config.evidence import Push
from config.fields import Id
from config.load import FORMAT, OWN, SECTIONS, TABLES
from config.plant import Calendar, Duration, Plant, Refinement, Sink, Size, Source
from config.registers import SqlSource
from config.units import format_duration

Schema = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"
KINDS = {"Source": ("opcua", "modbus", "mqtt"), "Sink": ("parquet", "influxdb")}
"""The words of `kind` that the agent has modules for."""
LISTS: Mapping[str, type[BaseModel]] = {
    "source": Source, "calendar": Calendar, "sink": Sink, "business_source": SqlSource, "push": Push,
}  # fmt: skip
"""Keys of plant.toml that are lists of tables."""
NOT_WRITTEN = ("exception_rows",)
"""Fields that come from elsewhere than plant.toml."""

DURATION, SIZE = "duration", "size"
_MARKS = ((get_args(Duration)[1], DURATION), (get_args(Size)[1], SIZE))
_ID = get_args(Id)[1]
_NUMBER = r"^\s*\d+(\.\d+)?\s*"
_PATTERNS = {
    DURATION: (_NUMBER + r"(ns|us|ms|s|min|h|d)\s*$", ["500ms", "5s", "2h"]),
    SIZE: (_NUMBER + r"(B|KiB|MiB|GiB|TiB|kB|MB|GB)\s*$", ["64MiB", "2GiB"]),
}
_UNITS = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))
_ID_PATTERN = r"^[^\s/\\#+*?\[\]]+(/[^\s/\\#+*?\[\]]+)*$"
_TIME_PATTERN = r"^\d{2}:\d{2}(:\d{2}(\.\d+)?)?$"
_REFERENCE_PATTERN = r"^(\$\{(env|file|cred):[^}]+\})?$"
_HOW = re.compile(r" \[(ns|B)\]")
"""The unit that a value has inside, which nobody writes."""


def measure_of(field: FieldInfo) -> str:
    """Return DURATION or SIZE where a field is written as such, else an empty text."""
    return next((name for mark, name in _MARKS if mark in _marks(field)), "")


def _marks(field: FieldInfo) -> list[object]:
    """Return what a field's type bears, or the parts of `Duration | None`."""
    return [*field.metadata, *(mark for part in get_args(field.annotation) for mark in get_args(part)[1:])]


def written(field: FieldInfo, value: int) -> str | int:
    """Return a number as it is written in plant.toml: with its unit, where it has one."""
    match measure_of(field):
        case "duration":
            return format_duration(value) if value else "0s"
        case "size":
            return next(f"{value // unit}{name}" for unit, name in _UNITS if value % unit == 0)
    return value


@functools.cache
def descriptions(model: type[BaseModel]) -> Mapping[str, str]:
    """Return what stands under each field of a model, its base's fields apart."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    return dict(_told(body.body)) if isinstance(body, ast.ClassDef) else {}


def _told(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for one, below in itertools.pairwise(body):
        if not (isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and isinstance(below, ast.Expr)):
            continue
        if isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            yield one.target.id, " ".join(below.value.value.split())


def schema(*, part: bool = False) -> Schema:
    """Return the schema of plant.toml, or with `part` of a file of conf.d, which need not have every key."""
    definitions: dict[str, Schema] = {}
    keys: dict[str, Schema] = {
        "version": {"const": FORMAT, "description": "The format of this file."},
        "plant": _plant(definitions, part=part),
        "states": _states(definitions),
        **{name: _reference(model, definitions) for name, model in SECTIONS.items()},
        **{name: {"type": "array", "items": _reference(model, definitions)} for name, model in LISTS.items()},
    }
    whole = {"$schema": DRAFT, "title": "conf.d of PlantProof" if part else "plant.toml of PlantProof"}
    shape = {"type": "object", "properties": keys, "additionalProperties": False}
    return {**whole, **shape, **({} if part else {"required": ["version", "plant"]}), "definitions": definitions}


def _plant(definitions: dict[str, Schema], *, part: bool) -> Schema:
    """Return the schema of [plant]: fields of the plant's own, and the names of its tables."""
    made = _of_model(Plant, definitions, OWN)
    for name in TABLES:
        file = {"type": "string", "minLength": 1, "description": f"File of the table of {name}, .csv or .xlsx."}
        made["properties"][name] = {**file, "default": f"{name}.csv"}
    return {key: value for key, value in made.items() if not (part and key == "required")}


def _states(definitions: dict[str, Schema]) -> Schema:
    elements = {"enum": _of_field(Refinement, "element", definitions)["enum"]}
    refine = {"type": "array", "items": _reference(Refinement, definitions)}
    refine["description"] = "What mode and order change of the map's elements; the first that fits counts."
    one = {"type": "object", "properties": {"refine": refine}, "additionalProperties": elements}
    return {"type": "object", "description": "State maps: raw value = time element.", "additionalProperties": one}


def _reference(model: type[BaseModel], definitions: dict[str, Schema]) -> Schema:
    if model.__name__ not in definitions:
        definitions[model.__name__] = {}  # a model may hold others of its kind
        definitions[model.__name__] = _of_model(model, definitions, model.model_fields)
    return {"$ref": f"#/definitions/{model.__name__}"}


def _of_model(model: type[BaseModel], definitions: dict[str, Schema], names: Iterable[str]) -> Schema:
    fields = {name: model.model_fields[name] for name in names if name not in NOT_WRITTEN}
    made: Schema = {"type": "object", "description": inspect.cleandoc(model.__doc__ or "")}
    made["properties"] = {name: _of_field(model, name, definitions) for name in fields}
    made["additionalProperties"] = False
    required = [name for name, field in fields.items() if field.is_required()]
    return {**made, "required": required} if required else made


def _of_field(model: type[BaseModel], name: str, definitions: dict[str, Schema]) -> Schema:
    field = model.model_fields[name]
    found = _shape(model, name, definitions)
    if told := descriptions(model).get(name):
        found["description"] = _HOW.sub("", told)
    if (default := default_of(field)) is not None:
        found["default"] = default
    return found


def _shape(model: type[BaseModel], name: str, definitions: dict[str, Schema]) -> Schema:
    field = model.model_fields[name]
    if measure := measure_of(field):
        pattern, examples = _PATTERNS[measure]
        return {"type": "string", "pattern": pattern, "examples": examples}
    if name == "kind" and model.__name__ in KINDS:
        return {"enum": list(KINDS[model.__name__])}
    if field.annotation is SecretStr and name != "url":
        return {"type": "string", "pattern": _REFERENCE_PATTERN, "examples": ["${file:secrets/NAME}", "${env:NAME}"]}
    if name == "url" and model is Source:
        return {"type": "string", "pattern": "://"}
    return _plain(model, name, definitions)


def _plain(model: type[BaseModel], name: str, definitions: dict[str, Schema]) -> Schema:
    """Return what pydantic says of a field, without null, which TOML has not."""
    field = model.model_fields[name]
    for inner in _models_in(field.annotation):
        _reference(inner, definitions)
    told = dict(_pydantic(model)[name])
    known = [one for one in told.pop("anyOf", ()) if one.get("type") != "null"]
    found: Schema = {**told, **(known[0] if known else {})}
    if found.get("format") == "time":
        found["pattern"] = _TIME_PATTERN
    if _ID in _marks(field):
        found["pattern"] = _ID_PATTERN
    return {key: value for key, value in found.items() if key not in ("format", "default", "title", "writeOnly")}


@functools.cache
def _pydantic(model: type[BaseModel]) -> Mapping[str, Schema]:
    properties: Mapping[str, Schema] = model.model_json_schema(ref_template="#/definitions/{model}")["properties"]
    return properties


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def default_of(field: FieldInfo) -> Any:
    """Return a field's default as plant.toml would have it; None where it is empty, or hidden."""
    value = field.get_default(call_default_factory=False)
    match value:
        case bool() | float():
            return value
        case int():
            return written(field, value)
        case dt.time():
            return value.isoformat()
        case str() | Path():
            return str(value) or None
    return list(value) or None if isinstance(value, tuple) else None

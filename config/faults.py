"""What is wrong with a configuration: the place, the thing, the value, the rule, the next step."""

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from config.plant import Device, Duration, Plant, Sink, Size, Source, Spool, Topic
from config.redaction import in_urls
from config.registers import SqlSource

# Kinds of pydantic's errors, by their beginning, in words of the plant: rule, next step.
_WORDS: Mapping[str, tuple[str, str]] = {
    "missing": ("is missing", "write it"),
    "string_type": ("must be text", 'put it in quotes: "..."'),
    "path_type": ("must be the name of a file or folder", 'put it in quotes: "..."'),
    "string_too_short": ("is empty", "write it"),
    "int_": ("must be a whole number", "write digits only, such as 65536"),
    "float_": ("must be a number", "write digits with a decimal point, such as 0.5, and no unit"),
    "finite": ("must be a number", "write digits with a decimal point, such as 0.5, and no unit"),
    "time_": ("must be a time of day", "write such as 08:00:00"),
    "date_": ("must be a date", "write such as 2026-10-01"),
    "datetime_": ("must be a date", "write such as 2026-10-01"),
    "bool_": ("must be yes or no", "write yes or no"),
    "tuple_type": ("must be a list", "put it in square brackets: [ ... ]"),
    "mapping_type": ("must be a table", "write it as key = value lines below a [head]"),
    "model_": ("must be a table", "write it as { key = value, ... }"),
    "too_short": ("must have an entry", "add one"),
    "greater_than_equal": ("must be {ge} or more", "write a greater one"),
    "greater_than": ("must be more than {gt}", "write a greater one"),
    "less_than_equal": ("must be {le} or less", "write a smaller one"),
}
_MISSING: Mapping[str, tuple[str, str]] = {
    "declared_by": ("is missing: what is declared says who declares it", "write the name of who stands for it"),
    "declared_at": ("is missing: what is declared says when it was declared", "write the date, such as 2026-03-01"),
}
"""Cells without which a row of a table means nothing: rule, next step."""
_HIDDEN = ("password", "token", "user", "url")
"""Keys whose values may hold a secret and never stand in a fault of `faults_of`."""

_MEASURES = tuple(get_args(annotated)[1] for annotated in (Duration, Size))


def _of_parts(annotation: object) -> tuple[object, ...]:
    """Return what the parts of `Duration | None` bear."""
    return tuple(mark for part in get_args(annotation) for mark in get_args(part)[1:])


_WITH_UNIT = frozenset(
    name
    for model in (Source, Device, Topic, Plant, Sink, Spool)
    for name, field in model.model_fields.items()
    if any(measure in _MEASURES for measure in (*field.metadata, *_of_parts(field.annotation)))
)
"""Keys that hold a duration or a size: a bare number would be taken as nanoseconds or bytes."""
_TIMES = ("start", "end", "day_start")
_LOCAL_TIME = re.compile(r"\d{2}:\d{2}(:\d{2}(\.\d+)?)?")
_URL_PASSWORD = re.compile(r"[^/@:]*:[^/@]+@")
_LOOKED_UP = re.compile(r"\$\{(env|file|cred):[^}]+\}")
_DATABASE_PASSWORD = re.compile(r"://[^@]*?:[^@]+@|(password|passwd|pwd|token|secret)=[^&;]", re.IGNORECASE)
"""A password in the URL of a database, also one that has / or @ in it, or that stands behind the question mark."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, told so that the person who wrote the file can mend it."""

    place: str
    """File with line and column, or key: `points.csv:14 column address`, `plant.toml:9: source[2].url`."""
    thing: str
    value: object
    rule: str
    hint: str

    def __post_init__(self) -> None:
        # A URL is shown without who connects and what proves it, wherever the fault is told.
        for name in ("value", "rule"):
            text = getattr(self, name)
            if isinstance(text, str) and "://" in text:
                object.__setattr__(self, name, in_urls(text))

    def __str__(self) -> str:
        value = "" if self.value is None or self.value == "" else f" {shown(self.value)}"
        return one_line(f"{self.place}: {self.thing}{value}: {self.rule}; {self.hint}")


class ConfigError(Exception):
    """A configuration has faults; `faults` holds all of them, `plant` what loaded in spite of them.

    The plant is there for further checks of its sources, points and sinks, never to be run.
    """

    def __init__(self, faults: tuple[Fault, ...], plant: Plant | None = None) -> None:
        self.faults = faults
        self.plant = plant
        super().__init__("\n".join(map(str, faults)))


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return the next step for a word that is none of `known`: the nearest of them, or all."""
    near = difflib.get_close_matches(word, known, 1, 0.6)
    return f"did you mean {near[0]!r}?" if near else f"remove it, or write one of {', '.join(known)}"


def near(word: str, known: Iterable[str]) -> str:
    """Return the next step for a word that is none of `known` where one of them comes near, else an empty text."""
    known = list(known)
    same = [name for name in known if name.casefold() == word.casefold()]
    found = same or difflib.get_close_matches(word, known, 1, 0.6)
    return f"did you mean {found[0]!r}?" if found else ""


def key_path(loc: Sequence[int | str]) -> str:
    """Return a place inside a table as a person counts: ("shifts", 0, "end") is `shifts[1].end`."""
    path = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in loc)
    return path.removeprefix(".")


def faults_of(error: ValidationError, model: type[BaseModel], place: str, thing: str) -> Iterator[Fault]:
    """Yield what pydantic has against data for `model`, in words of the plant.

    place: `points.csv:14 column` of a table's row, `plant.toml: source[2]` of a part of plant.toml.
    """
    for one in error.errors(include_url=False):
        loc = one["loc"]
        key = str(loc[0]) if loc else ""
        where = f"{place} {key}" if place.endswith("column") else f"{place}.{key_path(loc)}".rstrip(".")
        yield _fault(dict(one), model, where, thing or str(loc[-1] if loc else ""))


def misread(model: type[BaseModel], data: Mapping[str, Any], place: str, thing: str) -> Iterator[Fault]:
    """Yield the faults of values that the models would take for something other than what was meant.

    data: a row's cells or a part of plant.toml as it is written; `place` and `thing` as in `faults_of`.
    """
    for loc, value in _leaves(data, ()):
        key = str(loc[-1])
        where = f"{place} {key}" if place.endswith("column") else f"{place}.{key_path(loc)}"
        number = isinstance(value, int | float)
        if key in _WITH_UNIT and number:
            yield Fault(where, thing or key, value, "has no unit", 'write such as "5s", or "64MiB" for a size')
        elif key in _TIMES and (number or (isinstance(value, str) and not _LOCAL_TIME.fullmatch(value))):
            yield Fault(where, thing or key, value, "must be a time of day", "write such as 08:00:00, without a zone")
        elif key == "url" and model is SqlSource:
            if isinstance(value, str) and _DATABASE_PASSWORD.search(_LOOKED_UP.sub("", value)):
                hint = 'write url = "${file:secrets/NAME}", or "${env:NAME}" in place of the password alone'
                yield Fault(where, thing or key, "", "has a password in plain text", hint)
        elif key == "url" and isinstance(value, str) and _URL_PASSWORD.search(value):
            hint = 'write user = "..." and password = "${file:secrets/NAME}"'
            yield Fault(where, thing or key, "", "has a password in plain text", hint)
        elif float in _types(model, key) and not math.isfinite(_number(value)):
            yield Fault(where, thing or key, value, "must be a finite number", "write such as 0.5")
        elif key == "scale" and _number(value) == 0:
            yield Fault(where, thing or key, value, "makes every value the same", "write the factor, such as 0.1")


def _leaves(value: object, loc: tuple[int | str, ...]) -> Iterator[tuple[tuple[int | str, ...], object]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            # State maps and columns of the register have keys of the plant's own.
            if loc or key not in ("states", "columns"):
                yield from _leaves(inner, (*loc, key))
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from _leaves(inner, (*loc, n))
    elif loc:
        yield loc, value


def _types(model: type[BaseModel], key: str) -> tuple[Any, ...]:
    annotation = model.model_fields[key].annotation if key in model.model_fields else None
    return (annotation, *get_args(annotation))


def _number(value: object) -> float:
    """Return a number or the number that a cell spells; 1 for all else, which the model refuses."""
    try:
        return float(value) if isinstance(value, int | float | str) else 1.0
    except (ValueError, OverflowError):
        return 1.0


def _fault(one: Mapping[str, Any], model: type[BaseModel], where: str, thing: str) -> Fault:
    key = str(one["loc"][-1]) if one["loc"] else ""
    if one["type"] == "extra_forbidden":  # its value is not shown: a misspelled `password` holds one
        return Fault(where, "key", key, "is unknown", did_you_mean(key, _keys_at(model, one["loc"][:-1])))
    value = one["input"]
    shown = "" if key in _HIDDEN or isinstance(value, dict | list | tuple | BaseModel) else value
    if one["type"] == "missing" and key in _MISSING:
        return Fault(where, thing, "", *_MISSING[key])
    if one["type"] == "literal_error":
        return Fault(where, thing, shown, "is not a word allowed here", f"write {one['ctx']['expected']}")
    if one["type"] == "value_error":
        rule, _, hint = str(one["msg"]).removeprefix("Value error, ").partition("; ")
        return Fault(where, thing, shown, *((rule, hint) if hint else ("does not fit", rule)))
    for kind, (rule, hint) in _WORDS.items():
        if one["type"].startswith(kind):
            return Fault(where, thing, shown, rule.format(**one.get("ctx", {})), hint)
    return Fault(where, thing, shown, str(one["msg"]), "see docs/configuration.md")


def _keys_at(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """Return the keys of the model that stands at `loc` inside `model`."""
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            inner = getattr(model.model_fields[part].annotation, "__args__", (model.model_fields[part].annotation,))[0]
            model = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else model
    return [name for name in model.model_fields if name not in ("exception_rows", "columns")]


def shown(value: object) -> str:
    """Return a value as it stands in a fault: a text in quotes, a long one cut."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def one_line(text: str) -> str:
    """Return a text that sends nothing to a terminal but what it shows."""
    # A cell may hold line breaks and escape sequences: shown as they are written in Python, never sent to a terminal.
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)

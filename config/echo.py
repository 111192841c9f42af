"""The resolved configuration: conf.d, defaults, register maps and names in braces worked in, every secret masked.

`${env:}`, `${file:}` and `${cred:}` say where a secret lies and stay as they are written; what is none of these and
stands where a secret may stand is shown as MASK.
"""

import csv
import datetime as dt
import io
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from config.editor_schema import LISTS, NOT_WRITTEN, default_of, descriptions, written
from config.evidence import Push
from config.load import FORMAT, OWN, SECTIONS
from config.plant import Plant, Point, Sink, Source
from config.registers import SqlSource

MASK = "***"

Resolved = dict[str, Any]

_REFERENCE = re.compile(r"\$\{(?:env|file|cred):[^}]+\}")
_KEPT = re.compile("(?:\0\\d+\0)+")
"""What stands for references while the rest of a URL is looked at."""
_LOGIN = re.compile(r"(://)(.*)@", re.DOTALL)
_SECRET_WORD = re.compile(
    r"pass|pwd|token|secret|key|auth|credential|sign|odbc_connect|user|uid", re.IGNORECASE
)  # fmt: skip
"""Names of options of a URL that may hold a secret, or a login."""
_PROTOCOL = re.compile(r"\b(OPC UA|Modbus|MQTT|Sparkplug|Parquet|InfluxDB|Webhook|Folder)\b")
_KIND = {"OPC UA": "opcua", "Sparkplug": "mqtt"}
_MODELS = {"sources": "source", "calendars": "calendar", "sinks": "sink", "business_sources": "business_source"}
_NAMED = {**{key: name for name, key in _MODELS.items()}, "push": "push"}
"""Keys of plant.toml -> fields of the plant."""
_OF = {"of_maps": "register maps", "of_braces": "names in braces"}
_COLUMNS = tuple(name for name in Point.model_fields if name != "map")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


# --- what it is ---


def resolved(plant: Plant) -> Resolved:
    """Return what plant.toml and conf.d come to, by the keys of plant.toml; see `counts` for the tables."""
    own = _fields(plant, [name for name in OWN if name in type(plant).model_fields], plant.root)
    return {
        "version": FORMAT,
        "plant": {**own, **plant.tables},
        **{key: [_fields(one, type(one).model_fields, plant.root) for one in _parts(plant, key)] for key in LISTS},
        "states": _states(plant),
        **{
            name: _fields(section, model.model_fields, plant.root)
            for name, model in SECTIONS.items()
            if (section := getattr(plant, name)) is not None
        },
    }


def _states(plant: Plant) -> Resolved:
    """Return the state maps that points name, and those that are the plant's own."""
    text = resources.files("config").joinpath("states", "builtin.toml").read_text(encoding="utf-8")
    built_in = {name: entry["map"] for name, entry in tomllib.loads(text).items()}
    named = {point.states for point in plant.points if point.role == "state"}
    states: Resolved = {
        name: dict(one) for name, one in plant.states.items() if name in named or dict(one) != built_in.get(name)
    }
    for name in states:
        if rows := plant.refinements.get(name):
            states[name]["refine"] = [_fields(row, type(row).model_fields, plant.root) for row in rows]
    return states


def _parts(plant: Plant, key: str) -> Sequence[BaseModel]:
    parts: Sequence[BaseModel] = getattr(plant, _NAMED[key])
    return parts


def counts(plant: Plant) -> Mapping[str, Any]:
    """Return the rows of the tables, and the points by source: all, and those of register maps and of braces."""
    places = {point.point: plant.places.get(point.point, "") for point in plant.points}
    of = Counter(point.source for point in plant.points)
    mapped = Counter(point.source for point in plant.points if " (map " in places[point.point])
    braced = Counter(point.source for point in plant.points if " (asset " in places[point.point])
    return {
        "tables": {name: {"file": file, "rows": len(getattr(plant, name))} for name, file in plant.tables.items()},
        "points": {
            name: {"points": count, "of_maps": mapped[name], "of_braces": braced[name]} for name, count in of.items()
        },
    }


def _fields(model: BaseModel, names: Any, root: Path) -> Resolved:
    """Return a model's fields as plant.toml has them, without what is empty, and defaults of other protocols."""
    found: Resolved = {}
    for name in names:
        value = getattr(model, name)
        if name in NOT_WRITTEN or value is None:
            continue
        made = _value(model, name, value, root)
        ours = _concerns(model, name) or made != default_of(type(model).model_fields[name])
        found |= {name: made} if ours and made not in ("", []) else {}
    return found


def _concerns(model: BaseModel, name: str) -> bool:
    """Return whether a field is of every source, sink or push, or of this one's kind."""
    if not isinstance(model, Source | Sink | Push):
        return True
    protocol = _PROTOCOL.search(descriptions(type(model)).get(name, ""))
    return protocol is None or _KIND.get(protocol[1], protocol[1].lower()) == model.kind


def _value(model: BaseModel, name: str, value: Any, root: Path) -> Any:
    match value:
        case bool() | float() | dt.time():
            return value
        case int():
            return written(type(model).model_fields[name], value)
        case BaseModel():
            return _fields(value, type(value).model_fields, root)
        case tuple():
            return [_value(model, name, one, root) for one in value]
        case Path():
            return str(value.relative_to(root) if value.is_relative_to(root) else value)
    return _masked(model, name, value)


# --- secrets ---


def _masked(model: BaseModel, name: str, value: SecretStr | str) -> str:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if name == "url" or "://" in text:
        return masked_url(text, whole=isinstance(model, Push), user=not isinstance(model, SqlSource))
    shown = isinstance(value, str) or not text or _REFERENCE.fullmatch(text)
    return text if shown else MASK


def masked_url(url: str, *, whole: bool = False, user: bool = True) -> str:
    """Return a URL with its password, and options that may hold a secret, masked; references stay.

    whole: mask every option. user: mask one who stands without a password too, as a token may.
    """
    references = _REFERENCE.findall(url)
    kept = iter(range(len(references)))
    bare = _REFERENCE.sub(lambda _: f"\0{next(kept)}\0", url)
    bare = _LOGIN.sub(lambda match: f"{match[1]}{_login(match[2], user=user)}@", bare, count=1)
    head, mark, options = bare.partition("?")
    options = "".join(_option(part, whole=whole) for part in re.split(r"([&;])", options))
    return re.sub("\0(\\d+)\0", lambda match: references[int(match[1])], head + mark + options)


def _login(text: str, *, user: bool) -> str:
    """Return the user of `user:password`, and the password where it is a reference."""
    name, colon, password = text.partition(":")
    if user and not password and not _KEPT.fullmatch(name) and not re.search("[/?#]", name):
        return MASK
    return name + colon + (password if not password or _KEPT.fullmatch(password) else MASK)


def _option(text: str, *, whole: bool) -> str:
    name, equals, value = text.partition("=")
    if not equals:
        return MASK if whole and text not in ("", "&", ";") else text
    hidden = whole or _SECRET_WORD.search(name) is not None
    return name + equals + (MASK if hidden and value and not _KEPT.fullmatch(value) else value)


# --- how it is written ---


def to_toml(found: Resolved, told: Sequence[str] = ()) -> str:
    """Return a resolved configuration as a plant.toml, below lines of comment."""
    heads = ("# " + "".join(sign if sign.isprintable() else "?" for sign in line) for line in told)
    return "\n".join([*heads, *_toml_lines(found)]) + "\n"


def heads(plant: Plant, files: Sequence[str]) -> Iterator[str]:
    """Yield what a configuration comes from, and its points by source, in lines for a person."""
    yield f"{plant.id}: {', '.join(files)}, with what is the default"
    for name, of in counts(plant)["points"].items():
        parts = [f"{of[key]} of {words}" for key, words in _OF.items() if of[key]]
        which = f"source {name}" if name else "no source"
        yield f"{which}: {of['points']} points" + (f" ({', '.join(parts)})" if parts else "")


def _toml_lines(found: Resolved) -> Iterator[str]:
    for key, value in found.items():
        if key == "states":
            for name, one in value.items():
                yield from ("", f"[states.{_key(name)}]", *_pairs(one))
        elif isinstance(value, dict):
            yield from ("", f"[{key}]", *_pairs(value))
        elif isinstance(value, list):
            for one in value:
                yield from ("", f"[[{key}]]", *_pairs(one))
        else:
            yield f"{key} = {_toml(value)}"


def _pairs(table: Mapping[str, Any]) -> Iterator[str]:
    return (f"{_key(key)} = {_toml(value)}" for key, value in table.items())


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case dt.time():
            return value.isoformat()
        case dict():
            return "{ " + ", ".join(_pairs(value)) + " }"
        case list():
            return "[" + ", ".join(_toml(one) for one in value) + "]"
    return str(value)


def _text(text: str) -> str:
    # JSON's escapes are TOML's as well, but that it leaves DEL and C1 as they are, and writes a pair for what lies
    # beyond U+FFFF where all is to be ASCII.
    return re.sub(r"[\x7f-\x9f]", lambda sign: f"\\u{ord(sign[0]):04x}", json.dumps(text, ensure_ascii=False))


def points_csv(plant: Plant) -> str:
    """Return every point as a table that may stand in place of the point table: nothing is left to be expanded.

    A text that a spreadsheet would compute has a ' before it.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    table.writerows([_cell(value) for value in point.values()] for point in points(plant))
    return text.getvalue()


def points(plant: Plant) -> list[Resolved]:
    """Return every point by the columns of the point table, with what is the default; None is empty."""
    periods = {source.id: source.period for source in plant.sources}
    return [_point(point, periods.get(point.source)) for point in plant.points]


def _point(point: Point, period: int | None) -> Resolved:
    """Return a point; period: its source's [ns]."""
    whole = point.model_copy(update={"period": point.period or period, "max_hold": point.hold_ns})
    values = {name: getattr(whole, name) for name in _COLUMNS}
    fields = Point.model_fields
    return {name: written(fields[name], one) if isinstance(one, int) else one for name, one in values.items()}


def _cell(value: float | str | None) -> str:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(("=", "+", "-", "@")) and not _is_number(value) else value
    return "" if value is None else repr(value).removesuffix(".0")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

"""TOML and tables -> Plant; every fault in one report, with file and line or key.

Nothing here connects to anything. Secrets (`${env:NAME}`, `${file:path}`) are looked up only when asked for.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from config.checks import cross_check
from config.faults import ConfigError, Fault
from config.plant import (
    Asset,
    Calendar,
    CalendarException,
    Networking,
    Plant,
    Point,
    Product,
    Sink,
    Source,
    Spool,
)
from config.tables import Row, read_table

FORMAT = 1

M = TypeVar("M", bound=BaseModel)

_SECRET = re.compile(r"\$\{(env|file):([^}]+)\}")
_TOP = ("version", "plant", "source", "calendar", "states", "networking", "spool", "sink")
_FILES = ("assets", "points", "products")
_OWN = ("id", "name", "kind", "timezone", "day_start", "uncertain", "demand_interval")
_SECRET_KEYS = ("user", "password")


def load_plant(path: Path | str, *, secrets: bool = False) -> Plant:
    """Return the plant of a folder with plant.toml, or of the file itself.

    secrets: look up `${env:}` and `${file:}`; without it they stay as they are written.
    Raises ConfigError with every fault of the file, its tables and their references.
    """
    path = Path(path)
    return _Loader(path / "plant.toml" if path.is_dir() else path, secrets=secrets).load()


class _Loader:
    """One load of one plant; collects faults on the way."""

    def __init__(self, file: Path, *, secrets: bool) -> None:
        self.file, self.root, self.secrets = file, file.parent, secrets
        self.faults: list[Fault] = []
        self.places: dict[tuple[str, str], str] = {}

    def load(self) -> Plant:
        table = self._toml()
        plant = _table(table.get("plant"))
        self._unknown_keys(plant, (*_OWN, *_FILES), "[plant]")
        parts: dict[str, Any] = {
            "sources": tuple(self._models(Source, table.get("source"), "source")),
            "sinks": tuple(self._models(Sink, table.get("sink"), "sink")),
            "calendars": tuple(self._calendars(table.get("calendar"))),
            "states": self._states(_table(table.get("states"))),
            "root": self.root,
            **self._registers(plant),
        }
        for name, model in (("networking", Networking), ("spool", Spool)):
            made = self._model(model, _table(table.get(name)), f"plant.toml: {name}")
            parts |= {} if made is None else {name: made}
        own = {key: value for key, value in plant.items() if key in _OWN}
        whole = self._model(Plant, own | parts, "plant.toml: plant")
        # References between the parts that did load are checked even where the plant itself is at fault.
        self.faults += cross_check(whole or Plant.model_construct(**{"id": "", **parts}), self.places)
        if self.faults or whole is None:
            raise ConfigError(tuple(self.faults))
        return whole

    def _toml(self) -> dict[str, Any]:
        try:
            table = tomllib.loads(self.file.read_text(encoding="utf-8"))
        except OSError as error:
            hint = "name a folder with a plant.toml, or make one with: plantproof init"
            fault = Fault(str(self.file), "file", "", f"cannot be read ({error.strerror})", hint)
            raise ConfigError((fault,)) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            hint = "mend this first; the other checks follow"
            raise ConfigError((Fault("plant.toml", "file", "", f"is not TOML: {error}", hint),)) from error
        self._unknown_keys(table, _TOP, "the top")
        if table.get("version") != FORMAT:
            rule = f"this version of PlantProof reads version {FORMAT}"
            self._fault("plant.toml: version", "version", table.get("version"), rule, f"write version = {FORMAT}")
        return table

    def _registers(self, plant: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
        products = plant.get("products", "products.csv")
        wanted = "products" in plant or (self.root / products).exists()
        return {
            "assets": tuple(self._rows(Asset, plant.get("assets", "assets.csv"), ("asset",), key="asset")),
            "points": tuple(self._rows(Point, plant.get("points", "points.csv"), ("point", "asset"), key="point")),
            "products": tuple(self._rows(Product, products, ("product", "ideal_cycle"))) if wanted else (),
        }

    def _rows(self, model: type[M], file: str, required: Sequence[str], key: str = "") -> Iterator[M]:
        known = [name for name in model.model_fields if name != "columns"]
        seen: dict[str, int] = {}
        unknown: set[str] = set()
        for row in read_table(self.root / file, file, required, self.faults):
            cells = self._known_cells(model, row, known, file, unknown)
            name = row.cells.get(key, "")
            if name and name in seen:
                self._fault(f"{file}:{row.line} column {key}", key, name, f"stands in line {seen[name]} already",
                            "give each row an id of its own")  # fmt: skip
                continue
            seen[name] = row.line
            self.places[model.__name__, name] = f"{file}:{row.line}"
            made = self._model(model, cells, f"{file}:{row.line} column", thing=f"{key} {name}".strip())
            if made is not None:
                yield made

    def _known_cells(
        self, model: type[BaseModel], row: Row, known: Sequence[str], file: str, unknown: set[str]
    ) -> dict[str, Any]:
        extra = {column: cell for column, cell in row.cells.items() if column not in known}
        if "columns" in model.model_fields:
            return {k: v for k, v in row.cells.items() if k in known} | {"columns": extra}
        for column in extra.keys() - unknown:
            unknown.add(column)
            self._fault(f"{file}:1", "column", column, "is unknown", _did_you_mean(column, known))
        return {k: v for k, v in row.cells.items() if k in known}

    def _models(self, model: type[M], entries: object, name: str) -> Iterator[M]:
        for n, entry in enumerate(self._list(entries, name), 1):
            self.places[model.__name__, str(entry.get("id", entry.get("kind", "")))] = f"plant.toml: {name}[{n}]"
            secret = {key: self._secret(entry[key], f"plant.toml: {name}[{n}].{key}", key)
                      for key in _SECRET_KEYS if key in entry}  # fmt: skip
            made = self._model(model, {**entry, **secret}, f"plant.toml: {name}[{n}]")
            if made is not None:
                yield made

    def _list(self, entries: object, name: str) -> list[dict[str, Any]]:
        if entries is None:
            return []
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            self._fault(f"plant.toml: {name}", name, "", "is a list of tables", f"write [[{name}]] before each")
            return []
        return entries

    def _calendars(self, entries: object) -> Iterator[Calendar]:
        for n, entry in enumerate(self._list(entries, "calendar"), 1):
            file = entry.get("exceptions", "")
            rows: tuple[CalendarException, ...] = ()
            if isinstance(file, str) and file:
                rows = tuple(self._rows(CalendarException, file, ("date", "working")))
            made = self._model(Calendar, {**entry, "exception_rows": rows}, f"plant.toml: calendar[{n}]")
            if made is not None:
                yield made

    def _states(self, own: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        text = resources.files("config").joinpath("states", "builtin.toml").read_text(encoding="utf-8")
        builtin = {name: dict(entry["map"]) for name, entry in tomllib.loads(text).items()}
        maps = {name: {str(raw): element for raw, element in _table(entry).items()} for name, entry in own.items()}
        return builtin | maps

    def _secret(self, value: object, place: str, key: str) -> object:
        match = _SECRET.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            if key == "password" and value:
                self._fault(place, "password", "", "stands in plain text",
                            'write "${file:secrets/NAME}" or "${env:NAME}"')  # fmt: skip
                return ""
            return value
        if not self.secrets:
            return value
        kind, name = match.groups()
        if kind == "env":
            if name not in os.environ:
                self._fault(place, key, match[0], "names no environment variable", f"set {name} where the agent starts")
            return os.environ.get(name, "")
        try:
            return (self.root / name).read_text(encoding="utf-8").strip()
        except OSError as error:
            self._fault(place, key, match[0], f"cannot be read ({error.strerror})", "check the file and its permissions")
            return ""

    def _model(self, model: type[M], data: Mapping[str, Any], place: str, thing: str = "") -> M | None:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for one in error.errors(include_url=False):
                self.faults.append(_fault_of(model, dict(one), place, thing))
            return None

    def _unknown_keys(self, table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
        for key in table:
            if key not in known:
                self._fault(f"plant.toml: {where}", "key", key, "is unknown", _did_you_mean(key, known))

    def _fault(self, place: str, thing: str, value: object, rule: str, hint: str) -> None:
        self.faults.append(Fault(place, thing, value, rule, hint))


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, 1, 0.6)
    return f"did you mean {near[0]!r}?" if near else f"remove it, or write one of {', '.join(known)}"


def _fault_of(model: type[BaseModel], error: Mapping[str, Any], place: str, thing: str) -> Fault:
    """Return a pydantic error as a fault in the plant's words."""
    path = [str(part + 1) if isinstance(part, int) else part for part in error["loc"]]
    key = path[0] if path else ""
    where = f"{place} {key}" if place.endswith("column") else ".".join([place, *path])
    value = error.get("input")
    shown = value if isinstance(value, str | int | float) and key != "password" else ""
    kind, rule = error["type"], str(error["msg"])
    if kind == "missing":
        return Fault(where, thing or key, "", "is missing", "write it")
    if kind == "extra_forbidden":
        return Fault(where, "key", key, "is unknown", _did_you_mean(key, list(model.model_fields)))
    if kind == "literal_error":
        return Fault(where, thing or key, shown, "is not a word allowed here", f"write {error['ctx']['expected']}")
    if kind == "value_error":
        return Fault(where, thing or key, shown, "does not fit", rule.removeprefix("Value error, "))
    return Fault(where, thing or key, shown, _in_words(rule), "see docs/configuration.md")


def _in_words(rule: str) -> str:
    for pydantic, plain in (
        ("Input should be a valid integer, unable to parse string as an integer", "is no whole number"),
        ("Input should be a valid number, unable to parse string as a number", "is no number"),
        ("Input should be", "should be"),
        ("String should", "should"),
    ):
        if rule.startswith(pydantic):
            return rule.replace(pydantic, plain, 1)
    return rule[:1].lower() + rule[1:]

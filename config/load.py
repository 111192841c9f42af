"""TOML and tables -> Plant; every fault in one report, with file and line or key.

Nothing here connects to anything. Secrets (`${env:NAME}`, `${file:path}`, `${cred:NAME}`) are looked up only when
asked for.
"""

import fnmatch
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, SecretStr, ValidationError

from config import attachments, health_checks, includes, maps, push_checks, templates
from config.checks import cross_check
from config.evidence import Evidence, Push
from config.faults import ConfigError, Fault, did_you_mean, faults_of, misread
from config.plant import (
    Asset,
    Calendar,
    CalendarException,
    Health,
    Networking,
    Plant,
    Point,
    Product,
    Refinement,
    Sink,
    Source,
    Spool,
    Swap,
)
from config.registers import Answer, Declared, Loop, Meter, Process, SqlSource
from config.tables import Row, heads_of, read_table

FORMAT = 1

M = TypeVar("M", bound=BaseModel)

_SECRET = re.compile(r"\$\{(env|file|cred):([^}]+)\}")
_CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Environment variable that names the folder of the credentials that systemd hands to a unit."""
_TOP = (
    "version", "plant", "source", "calendar", "states", "networking", "spool", "health", "sink", "business_source",
    "evidence", "push",
)  # fmt: skip
TABLES: Mapping[str, tuple[type[BaseModel], Sequence[str], Sequence[str]]] = {
    "assets": (Asset, ("asset",), ("asset",)),
    "points": (Point, ("point", "asset"), ("point",)),
    "products": (Product, ("product", "ideal_cycle"), ("product", "asset")),
    "swaps": (Swap, ("point", "at"), ("point", "at")),
    "processes": (Process, ("process",), ("process",)),
    "loops": (Loop, ("loop", "asset"), ("loop",)),
    "meters": (Meter, ("meter", "point"), ("meter",)),
    "business": (Declared, ("period", "measure", "value", "unit", "declared_by", "declared_at"), ("measure", "period")),
    "answers": (Answer, ("rubric", "item", "answer", "declared_by", "declared_at"), ("rubric", "item")),
}
"""Tables that [plant] names: the model of a row, the columns that must be there, and those that name a row."""
_DECLARING: tuple[type[BaseModel], ...] = (Declared, Answer)
"""Models whose rows may have an attachment, and the same name as others."""
_COMPUTED = ("attachment_sha256", "source")
"""Their fields that are no columns."""
OWN = (
    "id", "name", "kind", "timezone", "day_start", "uncertain", "demand_interval", "micro_stop", "startup",
    "coal_factors", "co2_factors", "nc_rule", "utilization",
)  # fmt: skip
_SECRET_KEYS = ("user", "password", "token", "secret")
_NEVER_PLAIN = ("password", "token", "secret")
SECTIONS: Mapping[str, type[BaseModel]] = {
    "networking": Networking, "spool": Spool, "health": Health, "evidence": Evidence,
}  # fmt: skip
ABSENT = ("health",)
"""Sections without which there is no such thing, rather than one with defaults."""
_SEVERAL = re.compile(r" \((?:map|asset) ")
"""What stands in the place of a point that shares its row with others."""
_ENTRIES: Mapping[str, type[BaseModel]] = {
    "source": Source, "sink": Sink, "business_source": SqlSource, "push": Push,
}  # fmt: skip
"""Lists of tables whose entries are known by an id."""


def load_plant(path: Path | str, *, secrets: bool = False) -> Plant:
    """Return the plant of a folder with plant.toml, or of the file itself; conf.d/*.toml beside it completes it.

    secrets: look up `${env:}`, `${file:}` and `${cred:}`; without it they stay as they are written.
    Raises ConfigError with every fault of the file, its tables and their references.
    """
    return _Loader(plant_file(Path(path)), secrets=secrets).load()


def plant_file(path: Path) -> Path:
    """Return plant.toml of a folder, or the file itself."""
    return path / "plant.toml" if path.is_dir() else path


class SecretMissing(Exception):  # noqa: N818
    """What a secret's `${env:}`, `${file:}` or `${cred:}` names is not there."""

    def __init__(self, written: str, rule: str, hint: str) -> None:
        """Take what is written in place of the secret, what is wrong, and the next step."""
        super().__init__(f"{written} {rule}; {hint}")
        self.rule, self.hint = rule, hint


def look_up(written: str, root: Path) -> str:
    """Return what `${env:NAME}`, `${file:PATH}` or `${cred:NAME}` stands for, any other text as it is.

    root: the folder that the paths of files begin at. Raises SecretMissing.
    """
    match = _SECRET.fullmatch(written)
    if match is None:
        return written
    kind, name = match.groups()
    if kind == "env":
        if name not in os.environ:
            raise SecretMissing(written, "names no environment variable", f"set {name} where this command starts")
        return os.environ[name]
    path = root / name if kind == "file" else _credential(written, name)
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a name no file can have
        reason = error.strerror if isinstance(error, OSError) else "not text in UTF-8"
        raise SecretMissing(written, f"cannot be read ({reason})", "check the file and its permissions") from error


def _credential(written: str, name: str) -> Path:
    folder = os.environ.get(_CREDENTIALS)
    if not folder:
        hint = f"write LoadCredential={name}:PATH in its unit, or ${{file:PATH}} where it starts otherwise"
        raise SecretMissing(written, "names a credential, and systemd gave this process none", hint)
    if "/" in name or name in (".", ".."):
        raise SecretMissing(
            written, "is no name of a credential", "write the name that stands before the : of LoadCredential="
        )
    return Path(folder) / name


def url_of(source: SqlSource, root: Path) -> str:
    """Return a database's URL with its secrets looked up; one that is a part of it is quoted as URLs want it.

    Raises SecretMissing.
    """
    written = source.url.get_secret_value()
    if _SECRET.fullmatch(written):
        return look_up(written, root)
    return _SECRET.sub(lambda match: quote(look_up(match[0], root), safe=""), written)


def with_secrets(sink: Sink, root: Path) -> Sink:
    """Return a sink of a plant that was loaded without secrets, with its own looked up; raises SecretMissing."""
    known = {"user": look_up(sink.user, root)}
    hidden = {name: SecretStr(look_up(getattr(sink, name).get_secret_value(), root)) for name in ("password", "token")}
    return sink.model_copy(update=known | hidden)


class _Loader:
    """One load of one plant; collects faults on the way."""

    def __init__(self, file: Path, *, secrets: bool) -> None:
        self.file, self.root, self.secrets = file, file.parent, secrets
        self.faults: list[Fault] = []
        self.places: dict[tuple[str, str], str] = {}
        self.unread: set[str] = set()
        self.mapped: list[Point] = []
        self.kinds: dict[str, str] = {}
        self.register: dict[str, templates.Words] = {}
        self.merged = includes.Merged({}, (), {}, ())
        self.tables: dict[str, str] = {}
        self.declared: Counter[str] = Counter()

    def load(self) -> Plant:
        try:
            return self._plant(self._toml())
        except ConfigError as error:
            told = _in_order([self._with_line(f) for f in _once_a_row(error.faults)])
            raise ConfigError(told, error.plant) from error.__cause__

    def _plant(self, table: Mapping[str, Any]) -> Plant:
        plant = self._table(table, "plant")
        self._unknown_keys(plant, (*OWN, *TABLES), "plant.")
        sources = tuple(source.below(self.root) for source in self._models(Source, table.get("source"), "source"))
        self.kinds = {source.id: source.kind for source in sources}
        parts: dict[str, Any] = {
            "sources": sources,
            "sinks": tuple(self._models(Sink, table.get("sink"), "sink")),
            "business_sources": tuple(self._models(SqlSource, table.get("business_source"), "business_source")),
            "push": tuple(self._models(Push, table.get("push"), "push")),
            "calendars": tuple(self._calendars(table.get("calendar"))),
            **self._states(self._table(table, "states")),
            "root": self.root,
            **self._registers(plant),
        }
        for name, model in SECTIONS.items():
            if name in ABSENT and name not in table:
                continue
            made = self._model(model, self._table(table, name), f"plant.toml: {name}")
            parts |= {} if made is None else {name: made}
        parts["sources"] = tuple(
            maps.limited(source, [row for row in self.mapped if row.source == source.id]) for source in parts["sources"]
        )
        parts["tables"] = self.tables
        parts["places"] = {
            **{name: place for (of, name), place in self.places.items() if of == "Point"},
            **{
                f"plant.toml: {path}": self._where(path)
                for path in self.merged.lines
                if path.startswith(("source[", "sink[", "health"))
            },
        }
        own = {key: value for key, value in plant.items() if key in OWN}
        whole = self._model(Plant, own | parts, "plant.toml: plant")
        # References between the parts that did load are checked even where the plant itself is at fault.
        loaded = whole or Plant.model_construct(**{"id": "", **parts})
        rest = (*cross_check(loaded, self.places), *push_checks.check(loaded), *health_checks.check(loaded))
        self.faults += (fault for fault in rest if not self._follows(fault))
        if self.faults or whole is None:
            raise ConfigError(tuple(self.faults), loaded)
        return whole

    def _follows(self, fault: Fault) -> bool:
        """Return whether a reference fails only because the row it names has a fault of its own."""
        column = fault.place.rpartition(" column ")[2]
        value = str(fault.value)
        if column in ("asset", "source", "process"):
            model = column.capitalize()
            return model in self.unread or (model, value) in self.places
        if column == "loop":  # a point with a fault of its own may be the one that a loop wants
            table = f"{self.tables.get('points')}:"
            return "Point" in self.unread or any(one.place.startswith(table) for one in self.faults)
        if column == "point":
            return "Point" in self.unread
        if fault.thing == "pattern":
            assets = (name for model, name in self.places if model == "Asset")
            return "Asset" in self.unread or any(fnmatch.fnmatchcase(asset, value) for asset in assets)
        return False

    def _with_line(self, fault: Fault) -> Fault:
        """Return a fault of plant.toml or conf.d with file and line of its key, or of the nearest table above it."""
        file, _, path = fault.place.partition(": ")
        if file != "plant.toml":
            return fault
        return replace(fault, place=self._where(self._entry(path, fault.value)))

    def _entry(self, path: str, value: object) -> str:
        """Return the path of the last entry of an id that is given twice, where several files may have it."""
        model = _ENTRIES.get(path)
        if model is None or len(self.merged.files) == 1:
            return path
        return self.places.get((model.__name__, str(value)), path).removeprefix("plant.toml: ")

    def _where(self, path: str) -> str:
        """Return the place of a key: its file, its line and its path."""
        file, line = self.merged.place(path) or (self.file.name, 0)
        return f"{file}{f':{line}' if line else ''}{f': {path}' if path else ''}"

    def _toml(self) -> dict[str, Any]:
        self.merged = includes.read(self.file)
        self.faults += self.merged.faults
        table = self.merged.table
        version = table.get("version")
        if (
            isinstance(version, int) and not isinstance(version, bool) and version > FORMAT
        ):  # its keys mean other things
            rule = f"is newer than {FORMAT}, the newest that this PlantProof reads"
            hint = f"update PlantProof on this machine, or use the plant.toml of version {FORMAT} from before"
            raise ConfigError((Fault("plant.toml: version", "version", version, rule, hint),))
        self._unknown_keys(table, _TOP, "")
        if version != FORMAT or isinstance(version, bool):
            rule = f"this version of PlantProof reads version {FORMAT}"
            self._fault("plant.toml: version", "version", version, rule, f"write version = {FORMAT}")
        return table

    def _registers(self, plant: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
        assets = tuple(self._rows(Asset, plant.get("assets", "assets.csv"), *TABLES["assets"][1:]))
        self.register = templates.words(assets)
        points = tuple(self._points(plant.get("points", "points.csv")))
        optional = {name: self._optional(plant, name) for name in TABLES if name not in ("assets", "points")}
        return {"assets": assets, "points": points, **optional}

    def _optional(self, plant: Mapping[str, Any], name: str) -> tuple[Any, ...]:
        """Return the rows of a table that is read where the plant names it, or has one by its usual name."""
        file = plant.get(name, f"{name}.csv")
        wanted = name in plant or (self.root / file).exists()
        if not wanted and (self.root / f"{name}.xlsx").exists():
            rule, hint = "is not read: plant.toml does not name it", f'write {name} = "{name}.xlsx" under [plant]'
            self._fault(f"{name}.xlsx", "file", f"{name}.xlsx", rule, hint)
        return tuple(self._rows(TABLES[name][0], file, *TABLES[name][1:])) if wanted else ()

    def _points(self, file: object) -> Iterator[Point]:
        """Yield the point table's points; a row with a map or with names in braces stands for several."""
        seen: set[str] = set()
        for point in self._rows(Point, file, *TABLES["points"][1:]):
            for made in self._made(point):
                if made.point in seen:
                    place = f"{self.places['Point', made.point].partition(' (')[0]} column point"
                    rule = "stands in the point table twice, once as part of a map or a template"
                    self._fault(place, "point", made.point, rule, "name one of the two otherwise")
                    continue
                seen.add(made.point)
                yield made

    def _made(self, point: Point) -> Iterable[Point]:
        if templates.is_template(point, self.kinds.get(point.source)):
            return self._templated(point)
        return self._expanded(point) if point.map else (point,)

    def _templated(self, point: Point) -> Iterator[Point]:
        """Yield the points that a row with names in braces stands for."""
        place, thing = f"{self.places['Point', point.point]} column", f"point {point.point}"
        kind = self.kinds.get(point.source)
        if kind not in ("mqtt", None):
            rule = f"has names in braces, which are for MQTT sources, and {point.source} is {kind}"
            column = "point" if templates.HOLE.search(point.point) else "asset"
            self._fault(f"{place} {column}", thing, getattr(point, column), rule, "write a row for each asset")
            return
        if point.map:
            self._fault(f"{place} map", thing, point.map, "is for Modbus sources", "empty the cell")
            return
        broken = (name for of, name in self.places if of == "Asset" and name not in self.register)
        if "Asset" in self.unread or any(templates.fits(name, point.asset) for name in broken):
            return  # an asset that it may stand for has a fault of its own
        for cells, where, name in templates.expand(point, place, self.register, self.faults):
            if self._model(Point, cells, where, thing=f"point {name}") is not None:
                self.places["Point", name] = where.removesuffix(" column")
                yield point.model_copy(update=cells)

    def _expanded(self, point: Point) -> Iterator[Point]:
        """Yield the points of a row's map."""
        self.mapped.append(point)
        place = f"{self.places['Point', point.point]} column"
        kind = self.kinds.get(point.source)
        if kind not in ("modbus", None):
            rule = f"is for Modbus sources, and {point.source} is {kind}"
            self._fault(
                f"{place} map", f"point {point.point}", point.map, rule, "empty the cell, or name a Modbus source"
            )
            return
        written = sorted(point.model_fields_set)
        shared = {"asset": point.asset, "source": point.source}
        for cells, where, name in maps.expand(point, place, written, self.root, self.faults):
            made = self._model(Point, cells | shared, where, thing=f"point {name}")
            if made is not None:
                self.places["Point", name] = where.removesuffix(" column")
                yield made.model_copy(update=dict(maps.taken(point, written)))

    def _rows(self, model: type[M], file: object, required: Sequence[str], key: Sequence[str]) -> Iterator[M]:
        kind = next((name for name, (of, *_) in TABLES.items() if of is model), "")
        if not isinstance(file, str) or not file or "\0" in file:
            self._fault(f"plant.toml: plant.{kind}", kind, file, "is no file name", f'write such as "{kind}.csv"')
            self.unread.add(model.__name__)
            return
        declaring, keeps_all = model in _DECLARING, "columns" in model.model_fields
        known = [name for name in model.model_fields if name != "columns" and not (declaring and name in _COMPUTED)]
        rows = read_table(self.root / file, file, required, self.faults, () if keeps_all else known, heads_of(kind))
        if rows is None:
            self.unread.add(model.__name__)
        if kind:
            self.tables[kind] = file
        seen: dict[str, int] = {}
        for row in rows or ():
            name = " ".join(row.cells.get(column, "") for column in key).strip()
            if name and name in seen and not declaring:
                self._fault(f"{file}:{row.line} column {key[0]}", key[0], name, f"stands in line {seen[name]} already",
                            "keep one of the two, or mend its name")  # fmt: skip
                continue
            seen[name] = row.line
            self.places[model.__name__, name] = f"{file}:{row.line}"
            place, thing = f"{file}:{row.line} column", f"{key[0]} {name}".strip()
            made = self._model(model, self._cells(model, row, known, place), place, thing=thing)
            if made is not None:
                self._place(made, file, row.line)
                yield made

    def _cells(self, model: type[BaseModel], row: Row, known: Sequence[str], place: str) -> dict[str, Any]:
        """Return what a row's cells give a model."""
        cells: dict[str, Any] = {k: v for k, v in row.cells.items() if k in known}
        if model is CalendarException:
            cells = {k: _iso(v) for k, v in cells.items()}
        if "columns" in model.model_fields:
            cells["columns"] = {k: v for k, v in row.cells.items() if k not in known}
        if model in _DECLARING and "attachment" in cells:
            cells["attachment"] = attachments.name_of(cells["attachment"])
            try:
                cells["attachment_sha256"] = attachments.sha256_of(self.root, cells["attachment"])
            except attachments.AttachmentError as error:
                self._fault(f"{place} attachment", "attachment", cells["attachment"], error.rule, error.hint)
        return cells

    def _place(self, made: BaseModel, file: str, line: int) -> None:
        """Note where a row stands whose name of its own is not what other parts know it by."""
        if isinstance(made, CalendarException):
            self.places["CalendarException", f"{file} {made.date} {made.shift}"] = f"{file}:{line}"
        if isinstance(made, Swap):
            self.places["Swap", f"{made.point} {made.at}"] = f"{file}:{line}"
        if isinstance(made, _DECLARING):
            model = type(made).__name__
            self.places[model, f"row {self.declared[model]}"] = f"{file}:{line}"
            self.declared[model] += 1

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
            self.unread.add(name.capitalize())
            self._fault(f"plant.toml: {name}", name, "", "is a list of tables", f"write [[{name}]] before each")
            return []
        return entries

    def _calendars(self, entries: object) -> Iterator[Calendar]:
        for n, entry in enumerate(self._list(entries, "calendar"), 1):
            file = entry.get("exceptions", "")
            rows: tuple[CalendarException, ...] = ()
            if isinstance(file, str) and file:
                rows = tuple(self._rows(CalendarException, file, ("date", "working"), ("date", "shift")))
            if "exception_rows" in entry:
                self._unknown_keys({"exception_rows": ()}, list(Calendar.model_fields)[:-1], f"calendar[{n}].")
            made = self._model(Calendar, {**entry, "exception_rows": rows}, f"plant.toml: calendar[{n}]")
            if made is not None:
                yield made

    def _states(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return the state maps and their refinements, built in and the plant's own."""
        text = resources.files("config").joinpath("states", "builtin.toml").read_text(encoding="utf-8")
        maps_of: dict[str, dict[str, str]] = {}
        refinements: dict[str, tuple[Refinement, ...]] = {}
        for name, entry in tomllib.loads(text).items():
            maps_of[name] = entry["map"]
            refinements[name] = tuple(self._refinements(entry.get("refine"), name))
        for name in own:
            table = dict(self._table(own, name, "states."))
            refinements[name] = tuple(self._refinements(table.pop("refine", None), name))
            maps_of[name] = table
        return {"states": maps_of, "refinements": {name: rows for name, rows in refinements.items() if rows}}

    def _refinements(self, entries: object, name: str) -> Iterator[Refinement]:
        where = f"states.{name}.refine"
        if entries is not None and (not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries)):
            hint = 'write refine = [ { element = "production", mode = ["Setup"], becomes = "setup" } ]'
            self._fault(f"plant.toml: {where}", "refine", "", "is a list of tables", hint)
            return
        for n, entry in enumerate(entries or (), 1):
            made = self._model(Refinement, entry, f"plant.toml: {where}[{n}]")
            if made is not None and not made.mode and not made.mode_not and made.order is None:
                rule, hint = "names neither mode, mode_not nor order", 'write such as mode = ["Setup"], or order = true'
                self._fault(f"plant.toml: {where}[{n}]", "refine", "", rule, hint)
            elif made is not None:
                yield made

    def _secret(self, value: object, place: str, key: str) -> object:
        match = _SECRET.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            if key in _NEVER_PLAIN and value:
                self._fault(place, key, "", "stands in plain text",
                            'write "${file:secrets/NAME}" or "${env:NAME}"')  # fmt: skip
                return ""
            return value
        if not self.secrets:
            return value
        try:
            return look_up(match[0], self.root)
        except SecretMissing as error:
            self._fault(place, key, match[0], error.rule, error.hint)
            return ""

    def _model(self, model: type[M], data: Mapping[str, Any], place: str, thing: str = "") -> M | None:
        found = list(misread(model, data, place, thing))
        places = {fault.place for fault in found}
        try:
            made = model.model_validate(data)
        except ValidationError as error:
            made = None
            found += (fault for fault in faults_of(error, model, place, thing) if fault.place not in places)
        if model is Plant:  # state maps are part of the plant, but have tables of their own
            found = [replace(f, place=f.place.replace(": plant.states.", ": states.")) for f in found]
        self.faults += found
        return None if found else made

    def _unknown_keys(self, table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
        for key in table:
            if key not in known:
                self._fault(f"plant.toml: {where}{key}", "key", key, "is unknown", did_you_mean(key, known))

    def _table(self, parent: Mapping[str, Any], name: str, where: str = "") -> dict[str, Any]:
        value = parent.get(name, {})
        if isinstance(value, dict):
            return value
        self._fault(f"plant.toml: {where}{name}", name, "", "must be a table", f"write [{where}{name}] above its keys")
        return {}

    def _fault(self, place: str, thing: str, value: object, rule: str, hint: str) -> None:
        self.faults.append(Fault(place, thing, value, rule, hint))


def _once_a_row(faults: Sequence[Fault]) -> list[Fault]:
    """Return faults without those that a row with a map or a template has again for each of its points."""
    seen: dict[tuple[object, ...], Fault] = {}
    for n, fault in enumerate(faults):
        row, several, rest = _SEVERAL.sub("\0", fault.place, count=1).partition("\0")
        key = (row, rest.rpartition(" column ")[2], fault.value, fault.rule) if several else (n,)
        seen.setdefault(key, fault)
    return list(seen.values())


def _in_order(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """Return faults file by file, and by line inside a file."""
    spots = [re.match(r"([^:]*)(?::(\d+))?", fault.place) for fault in faults]
    files = list(dict.fromkeys(spot[1] for spot in spots if spot))
    keys = [(files.index(spot[1]), int(spot[2] or 0)) if spot else (0, 0) for spot in spots]
    return tuple(fault for _, fault in sorted(zip(keys, faults, strict=True), key=lambda pair: pair[0]))


def _iso(cell: str) -> str:
    """Return a date or time of day in its ISO form where Excel saved it as 2026/10/1 or 8:00."""
    if date := re.fullmatch(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})", cell):
        return f"{date[1]}-{date[2]:0>2}-{date[3]:0>2}"
    return f"0{cell}" if re.fullmatch(r"\d:\d{2}(:\d{2})?", cell) else cell

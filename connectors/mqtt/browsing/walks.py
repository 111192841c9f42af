"""What one payload is, looked at without knowing: its kind, and the values in it by their paths; never raises."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from connectors.mqtt.formats import Outcome
from connectors.mqtt.influx_format import parse_lines
from connectors.mqtt.times import epoch_ns
from connectors.mqtt.values import text_of, word

LARGEST = 2 * 2**20
"""Larger payloads are not looked into [B]."""
MOST = 1000
"""So many values of one payload are looked at."""
DEEPEST = 16
FEW = 16
"""An array of so many plain values is taken for values that have their places; a longer one is not looked into."""
IDS = (
    "id", "name", "tag", "tagname", "tagid", "key", "point", "pointid", "pointname", "variable", "var", "nodeid",
    "node", "displayname", "metric", "sensor", "code", "n", "名称", "点位", "标签",
)  # fmt: skip
"""Members that say what a list's element is, in small letters, as gateways name them (Kepware: id)."""
_NAMES = 200
"""Of more than so many elements with different names, the names number samples."""
_MARKED = re.compile(r"\[[^=\]]+=.*\]", re.DOTALL)
_DELIMITERS = ";\t|,"
_BROKEN = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")

Path = tuple[str, ...]
Value = tuple[Path, object]


class Structure(NamedTuple):
    """What stands where a payload has more than a plain value."""

    what: str
    items: Sequence[object] = ()


class Looked(NamedTuple):
    """What one payload is."""

    kind: str
    """scalar, json, csv, influx, binary, broken (JSON), empty or large."""
    values: Sequence[Value] = ()
    options: Mapping[str, object] = {}
    """What a [[source.topic]] table must say of it."""
    whole: bool = True
    """Whether everything in it was looked at, and can be named."""


def look(payload: bytes, size: int = 0) -> Looked:
    """Return what a payload is; `size` [B] where it is the beginning of a longer one."""
    if size or len(payload) > LARGEST:
        return Looked("large", whole=False)
    try:
        text = text_of(payload)
    except UnicodeDecodeError:
        return Looked("binary", whole=False)
    bare = text.strip()
    if not bare:
        return Looked("empty")
    if _BROKEN.search(bare):
        return Looked("binary", whole=False)
    if bare[0] in "{[":
        return _json(bare)
    return _influx(text) or _csv(text) or Looked("scalar", [((), word(bare))])


# --- JSON ---


def _json(text: str) -> Looked:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return Looked("broken", whole=False)
    walk = _Walk()
    return Looked("json", list(islice(walk.into(document, ()), MOST)), whole=walk.whole and walk.count <= MOST)


class _Walk:
    """One walk through a document."""

    def __init__(self) -> None:
        self.whole, self.count = True, 0

    def into(self, document: object, path: Path) -> Iterator[Value]:
        """Yield the path of every value, the tokens of a pointer, and the value."""
        if len(path) >= DEEPEST:
            self.whole = False
        elif isinstance(document, dict):
            yield from self._object(document, path)
        elif isinstance(document, list):
            yield from self._array(document, path)
        else:
            self.count += 1
            yield path, document

    def _object(self, document: Mapping[str, object], path: Path) -> Iterator[Value]:
        length = next((len(one) for one in document.values() if isinstance(one, list) and _is_times(one)), 0)
        for key, one in document.items():
            if _MARKED.fullmatch(key):  # no pointer names it
                self.whole = False
            elif length and isinstance(one, list) and len(one) == length and not isinstance(one[0], dict | list):
                self.count += 1
                yield (*path, _escaped(key)), Structure("times" if _is_times(one) else "samples", one)
            else:
                yield from self.into(one, (*path, _escaped(key)))

    def _array(self, array: Sequence[object], path: Path) -> Iterator[Value]:
        if array and all(isinstance(one, dict) for one in array):
            objects = [one for one in array if isinstance(one, dict)]
            name = _name(objects)
            for element in objects[:MOST]:
                if name:
                    rest = {key: value for key, value in element.items() if key != name}
                    yield from self.into(rest, (*path, f"[{_escaped(name)}={_escaped(str(element[name]))}]"))
                else:
                    yield from self.into(element, (*path, "*"))
        elif 0 < len(array) <= FEW:
            for n, one in enumerate(array):
                yield from self.into(one, (*path, str(n)))
        else:
            self.whole = self.whole and not array
            yield path, Structure("array", array[:1])


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _is_times(array: Sequence[object]) -> bool:
    return len(array) > 1 and all(_is_time(one) for one in array[:MOST])


def _is_time(value: object) -> bool:
    """Return whether a value is a time beyond doubt: ISO 8601, or an epoch of after 2001 that is a whole number."""
    if isinstance(value, str):
        return "-" in value and epoch_ns(value) is not None
    return isinstance(value, int) and not isinstance(value, bool) and 10**12 <= value < 5 * 10**18


def _name(objects: Sequence[Mapping[str, object]]) -> str:
    """Return the member that says what each of a list's elements is; empty where none does."""
    for key in objects[0]:
        if key.lower().replace("_", "") in IDS and not any(sign in key for sign in "=]"):
            names = {name for one in objects if isinstance(name := one.get(key), str) and name and "]" not in name}
            if len(names) <= _NAMES and all(one.get(key) in names for one in objects if _hashable(one.get(key))):
                return key if all(_hashable(one.get(key)) for one in objects) else ""
    return ""


def _hashable(value: object) -> bool:
    return not isinstance(value, dict | list)


# --- lines ---


def _influx(text: str) -> Looked | None:
    if "=" not in text:
        return None
    outcome, values = Outcome(0), list[Value]()
    for n, line in enumerate(parse_lines(text, outcome)):
        if outcome.reason is not None or n >= MOST:
            break
        tags = "".join(f",{_influxed(key)}={_influxed(value)}" for key, value in line.tags.items())
        head = re.sub(r"([, ])", r"\\\1", line.measurement)
        values += [((head, tags, _influxed(field)), value) for field, value in line.fields.items()]
        if line.time is not None:
            values.append(((), line.time))
    if outcome.reason is not None or not values:
        return None
    return Looked("influx", values[:MOST], whole=len(values) <= MOST)


def _influxed(word: str) -> str:
    return re.sub(r"([,= ])", r"\\\1", word)


def _csv(text: str) -> Looked | None:
    for delimiter in _DELIMITERS:
        if delimiter not in text:
            continue
        try:
            lines = list(islice((cells for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter,
                                                               strict=True) if cells), MOST))  # fmt: skip
        except csv.Error:
            continue
        if lines and 2 <= len(lines[0]) <= MOST and len({len(cells) for cells in lines}) == 1:
            header = len(lines) > 1 and _is_header(lines[0])
            if (names := _columns(lines[0], header=header)) and _is_data(lines[1:] if header else lines):
                return _rows(names, lines[1:] if header else lines, delimiter, header=header)
    return None


def _rows(names: Sequence[str], lines: Sequence[Sequence[str]], delimiter: str, *, header: bool) -> Looked:
    options: dict[str, object] = {"header": True} if header else {}
    if delimiter != ",":
        options["delimiter"] = delimiter
    most = max(1, MOST // len(names))
    values = [((name,), word(cell.strip())) for cells in lines[:most] for name, cell in zip(names, cells, strict=True)
              if cell.strip()]  # fmt: skip
    return Looked("csv", values, options)


def _columns(cells: Sequence[str], *, header: bool) -> list[str]:
    names = [cell.strip() for cell in cells] if header else [str(n) for n in range(1, len(cells) + 1)]
    return names if all(names) and len(set(names)) == len(names) else []


def _is_header(cells: Sequence[str]) -> bool:
    return all(isinstance(word(cell), str) and epoch_ns(cell) is None for cell in cells)


def _is_data(lines: Sequence[Sequence[str]]) -> bool:
    """Return whether half of the cells are numbers or times, of a lone line more: sentences have commas as well."""
    cells = [cell.strip() for line in lines for cell in line if cell.strip()]
    told = sum(not isinstance(word(cell), str) or epoch_ns(cell) is not None for cell in cells)
    return bool(told) and 2 * told >= len(cells) + (len(lines) == 1)

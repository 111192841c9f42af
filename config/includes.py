"""plant.toml and the files of conf.d beside it as one table: where each key stands, and what is given twice."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from config.faults import ConfigError, Fault

FOLDER = "conf.d"
"""Beside plant.toml; its *.toml are read in order of their names."""

Place = tuple[str, int]
"""File as seen from the plant's folder, and line."""

_HEAD = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"""\s*(["']?)([^"'=\s]+)\1\s*=""")


@dataclass(frozen=True, slots=True)
class Merged:
    """What plant.toml and conf.d say together."""

    table: dict[str, Any]
    files: tuple[str, ...]
    """As seen from the plant's folder, plant.toml first."""
    lines: Mapping[str, Place]
    """Where each table and key stands, by its path in the whole: `source[2].url` is the second source's."""
    faults: tuple[Fault, ...]
    """Keys that are given twice."""

    def place(self, path: str) -> Place | None:
        """Return where a key stands, or the nearest table above it."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path)


def read(file: Path) -> Merged:
    """Return plant.toml completed by conf.d: lists of tables are added, of all else each key is given once.

    Raises ConfigError naming every file that cannot be read or is no TOML.
    """
    texts, faults = _texts(file)
    table: dict[str, Any] = {}
    lines: dict[str, Place] = {}
    for name, text in texts.items():
        try:
            found = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            faults.append(_no_toml(name, text, error))
            continue
        own = key_lines(text)
        merging = _Merging(name, lines, own)
        merging.merge(table, found, "")
        faults += merging.faults
        lines = {**merging.moved(), **lines}
    if broken := [fault for fault in faults if fault.thing == "file"]:
        raise ConfigError(tuple(broken))
    return Merged(table, tuple(texts), lines, tuple(faults))


class _Merging:
    """One file that comes to those before it."""

    def __init__(self, name: str, lines: Mapping[str, Place], own: Mapping[str, int]) -> None:
        self.faults: list[Fault] = []
        self._name, self._lines, self._own = name, lines, own
        self._before: dict[str, int] = {}
        """Lists of tables that go on in this file, and how many entries they had."""

    def merge(self, into: dict[str, Any], table: Mapping[str, Any], path: str) -> None:
        for key, value in table.items():
            where = f"{path}.{key}".removeprefix(".")
            if key not in into:
                into[key] = value
                continue
            there = into[key]
            if isinstance(there, dict) and isinstance(value, dict):
                self.merge(there, value, where)
            elif _is_tables(there) and _is_tables(value):
                self._before[where] = len(there)
                into[key] = there + value
            else:
                self.faults.append(self._twice(where))

    def _twice(self, path: str) -> Fault:
        line, first = self._own.get(path), self._lines.get(path)
        place = f"{self._name}:{line}" if line else self._name
        other = f"{first[0]}:{first[1]}" if first else "a file before it"
        hint = "keep it in one of the two files"
        return Fault(f"{place}: {path}", "key", path, f"is given in {other} already", hint)

    def moved(self) -> dict[str, Place]:
        """Return where this file's keys stand, by their paths in the whole."""
        return {self._renumbered(path): (self._name, line) for path, line in self._own.items()}

    def _renumbered(self, path: str) -> str:
        for name, count in self._before.items():
            if match := re.match(re.escape(name) + r"\[(\d+)\]", path):
                return f"{name}[{int(match[1]) + count}]{path[match.end() :]}"
        return path


def _is_tables(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _texts(file: Path) -> tuple[dict[str, str], list[Fault]]:
    """Return the text of plant.toml and of each file of conf.d, and what cannot be read."""
    texts: dict[str, str] = {}
    faults: list[Fault] = []
    hint = "name a folder with a plant.toml, or make one with: plantproof init"
    for name, path in _files(file, faults):
        try:
            texts[name] = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            place, step = (str(path), hint) if path == file else (name, "check the file and its permissions")
            faults.append(Fault(place, "file", "", f"cannot be read ({error.strerror})", step))
        except UnicodeDecodeError:
            faults.append(Fault(name, "file", "", "is not UTF-8", "save it as UTF-8 in the editor"))
    return texts, faults


def _files(file: Path, faults: list[Fault]) -> Iterator[tuple[str, Path]]:
    yield file.name, file
    folder = file.parent / FOLDER
    try:
        found = sorted(path.name for path in folder.iterdir() if path.suffix == ".toml" and path.name[0] != ".")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        rule, hint = f"cannot be read ({error.strerror})", "check the folder's permissions"
        faults.append(Fault(FOLDER, "file", "", rule, hint))
        return
    for name in found:
        yield f"{FOLDER}/{name}", folder / name


def _no_toml(name: str, text: str, error: tomllib.TOMLDecodeError) -> Fault:
    # The parser tells "(at end of document)" for what is missing there.
    at = re.search(r"line (\d+)", str(error))
    line = at[1] if at else text.count("\n") + 1
    return Fault(f"{name}:{line}", "file", "", f"is not TOML: {error}", "mend this first; the other checks follow")


def key_lines(text: str) -> dict[str, int]:
    """Return the lines of a TOML text on which tables and keys stand; `source[2].url` is the second source's."""
    lines: dict[str, int] = {}
    last: dict[str, str] = {}
    table = ""
    for n, line in enumerate(text.splitlines(), 1):
        if head := _HEAD.match(line):
            table = head[2].replace('"', "")
            parent, _, name = table.rpartition(".")
            if parent in last:  # [[source.device]] belongs to the last [[source]] above it
                table = f"{last[parent]}.{name}"
            if head[1] == "[[":
                plain = table
                numbered = re.compile(re.escape(table) + r"\[\d+\]")
                table += f"[{1 + sum(numbered.fullmatch(key) is not None for key in lines)}]"
                last[plain if parent not in last else f"{parent}.{name}"] = table
            lines.setdefault(table, n)
        elif key := _KEY.match(line):
            lines.setdefault(f"{table}.{key[2]}".removeprefix("."), n)
    return lines

"""What people are told of a configuration and of connections, in Chinese: two files have the Chinese of each text.

The texts themselves stand in English where they arise. A file is read once somebody asks for Chinese.
"""

import functools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from config.faults import ConfigError, Fault, one_line, shown

HOLE = re.compile(r"\{(\*|\d?)\}")
"""What is filled in: {} as it is, {*} as a text of its own; in Chinese also {0}, {1} ... by their order in English."""
_PLACES: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"^([^:]+):(\d+)(?:: )?"), r"\1 第 \2 行 "),
    (re.compile(r" \(map (.+), line (\d+)\)"), r"（寄存器表 \1 第 \2 行）"),
    (re.compile(r" \(asset (.+)\)"), r"（设备 \1）"),
)
_NUMBERED = re.compile(r"\{\d\}")
_VALUE = r"""('[^']*'|"[^"]*"|.*?)"""
"""What fills a hole: a quoted value as a whole, where that fits."""
_ROW = re.compile(r"[^\s:]+\.(?:csv|xlsx|toml):\d+")
_DEEPEST = 4
"""Texts in texts are looked up so far."""
_LISTED = 20
"""So many texts may stand one after the other."""
_BETWEEN: Mapping[str, str] = {"; ": "；", ": ": "："}
"""What stands between texts that follow each other."""
_QUOTED_OR = re.compile(r"""(['"]) or (['"])""")
_REGISTER = re.compile(r"    [^:]+: (?:coil|discrete|input|holding) \d")
"""A point of Modbus among what will be read: its parts are told apart by commas."""


@dataclass(frozen=True, slots=True)
class Template:
    """An entry of the table that has holes."""

    beginning: str
    pattern: str
    texts: Sequence[bool]
    """Of each hole: whether it holds a text."""
    chinese: str
    literal: int
    """How many characters are the entry's own."""

    @classmethod
    def of(cls, english: str, chinese: str) -> "Template":
        """Return the template of an entry."""
        parts = HOLE.split(english)
        own, marks = parts[::2], parts[1::2]
        # Atomic, as texts may be long: what fills a hole ends where the entry's next words begin.
        holes = "".join(f"(?>{_VALUE}{re.escape(words)})" for words in own[1:-1])
        pattern = f"{re.escape(own[0])}{holes}{_VALUE}{re.escape(own[-1])}"
        return cls(own[0], pattern, [mark == "*" for mark in marks], chinese, sum(map(len, own)))

    def match(self, text: str) -> Sequence[str] | None:
        """Return what fills the holes in a text, None where it is none of this entry."""
        found = re.fullmatch(self.pattern, text, re.DOTALL) if text.startswith(self.beginning) else None
        return None if found is None else found.groups()

    def filled(self, values: Sequence[str]) -> str:
        """Return its Chinese with what was filled in."""
        in_order = iter(values)
        said = HOLE.sub(lambda hole: values[int(hole[1])] if hole[1].isdigit() else next(in_order), self.chinese)
        return said.replace("？；", "？")


class Table:
    """Entries of the file."""

    def __init__(self, entries: Mapping[str, str]) -> None:
        """Take English and Chinese."""
        known = _with_halves(entries)
        self._whole = {english: chinese for english, chinese in known.items() if not HOLE.search(english)}
        holed = (Template.of(english, known[english]) for english in known if english not in self._whole)
        self._templates = sorted(holed, key=lambda one: -one.literal)

    def said(self, text: str) -> str:
        """Return a text in Chinese; one that no entry fits is returned as it is."""
        found = self._told(text, 0)
        return text if found is None else found

    def _told(self, text: str, depth: int) -> str | None:
        """Return the Chinese of a text that may stand in others."""
        return self._found(text, depth)

    def _fits(self, one: Template, values: Sequence[str]) -> bool:
        """Return whether what fills the holes of an entry may be meant."""
        return True

    def _found(self, text: str, depth: int) -> str | None:
        """Return the Chinese by the entry with the most characters of its own; one whose texts are known goes first."""
        if text in self._whole:
            return self._whole[text]
        second = None
        for one in self._templates if depth <= _DEEPEST else ():
            values = one.match(text)
            if values is None or not self._fits(one, values) or (second is not None and True not in one.texts):
                continue
            told = [
                self._told(value, depth + 1) if is_text else _QUOTED_OR.sub(r"\1 或 \2", value)
                for is_text, value in zip(one.texts, values, strict=True)
            ]
            filled = one.filled([value if zh is None else zh for zh, value in zip(told, values, strict=True)])
            if None not in told:
                return filled
            second = second or filled
        return place(text) if second is None and _ROW.fullmatch(text) else second


class Lists(Table):
    """Entries whose texts may also follow each other: `unit 1 did not answer; unit 2 did not answer`."""

    def _fits(self, one: Template, values: Sequence[str]) -> bool:
        filled = (value for value, is_text in zip(values, one.texts, strict=True) if not is_text)
        return not any("; " in value and value[0] not in "'\"" for value in filled)  # else the next text is in it

    def _told(self, text: str, depth: int) -> str | None:
        found = self._found(text, depth)
        for mark, chinese in _BETWEEN.items():
            if found is None and depth <= _DEEPEST and 0 < text.count(mark) < _LISTED:
                parts = text.split(mark)
                told = [self._told(part, depth + 1) for part in parts]
                if any(told):
                    found = chinese.join(part if zh is None else zh for zh, part in zip(told, parts, strict=True))
        return found


def _with_halves(entries: Mapping[str, str]) -> Mapping[str, str]:
    """Return entries, and rule and next step of each that has both, as a fault tells them apart."""
    known = {HOLE.sub("{}", english) for english in entries}
    halves = {
        own: own_zh
        for english, chinese in entries.items()
        for own, own_zh in zip(english.partition("; ")[::2], chinese.partition("；")[::2], strict=True)
        if HOLE.sub("{}", own) not in known and own_zh and not _NUMBERED.search(own_zh)
        if any(map(str.isalpha, HOLE.sub("", own)))  # one that is all holes fits everything
    }
    return {**halves, **entries}


def _read(name: str) -> Mapping[str, Mapping[str, str]]:
    """Return the sections of a file."""
    return tomllib.loads(resources.files("config").joinpath(name).read_text(encoding="utf-8"))


@functools.cache
def _tables() -> Mapping[str, Table]:
    found = _read("chinese.toml")
    texts = {**found["texts"], **found["libraries"]}
    return {"texts": Table(texts), "things": Table(found["things"]), "printed": Table(found["printed"])}


@functools.cache
def _connections() -> Lists:
    known = (section for name in ("chinese.toml", "chinese_connections.toml") for section in _read(name).items())
    return Lists({en: zh for name, entries in known if name in ("texts", "libraries") for en, zh in entries.items()})


@functools.lru_cache(maxsize=4096)
def of_text(text: str) -> str:
    """Return the rule or the next step of a fault in Chinese."""
    return _tables()["texts"].said(text)


@functools.lru_cache(maxsize=4096)
def of_connection(text: str) -> str:
    """Return in Chinese what keeps a source or a sink from its work; what has no Chinese stays as it is."""
    return _connections().said(text)


def place(written: str) -> str:
    """Return the place of a fault in Chinese: `points.csv:14 column address` is `points.csv 第 14 行 address 列`."""
    where, _, column = written.partition(" column ")
    for pattern, chinese in _PLACES:
        where = pattern.sub(chinese, where)
    return f"{where.strip()} {column} 列" if column else where.strip()


def of_fault(fault: Fault) -> str:
    """Return a fault in Chinese, on one line."""
    value = "" if fault.value is None or fault.value == "" else f" {shown(fault.value)}"
    thing = _tables()["things"].said(fault.thing)
    return one_line(f"{place(fault.place)}：{thing}{value}：{of_text(fault.rule)}；{of_text(fault.hint)}")


def of_error(error: Exception) -> str:
    """Return what an error says, the faults of a configuration in Chinese."""
    return "\n".join(map(of_fault, error.faults)) if isinstance(error, ConfigError) else str(error)


def of_line(line: str) -> str:
    """Return a line of what `check` prints beside faults, in Chinese; addresses stay as they are."""
    text = line.lstrip()
    parts = text.split(", ") if _REGISTER.match(line) else [text]
    if line.startswith("    ") and len(parts) == 1:
        return line
    return line.removesuffix(text) + "，".join(map(_tables()["printed"].said, parts))

"""InfluxDB line protocol: `measurement,tag=value field=value,field=value time`, a sample a line.

Source: InfluxData's line protocol reference (syntax, data types, quotes and special characters).
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from config.plant import Source, Topic
from config.status import GOOD
from connectors.mqtt.formats import Outcome
from connectors.mqtt.stamps import Stamps, no_time
from connectors.mqtt.values import BadPayload, Maker, Row, text_of, word

_WORD = r"(?:\\[,= ]|[^,= \n])++"
"""A backslash escapes what would end the word, and is itself before all else."""
_MEASUREMENT = re.compile(r"((?:\\[, ]|[^, \n])++)")
_TAG = re.compile(rf",({_WORD})=({_WORD})")
_FIELD = re.compile(rf"({_WORD})=(\"(?:\\[\s\S]|[^\"\\])*+\"|[^\s,\"]+)")
_BLANKS = re.compile(r"[ \t]+")
_TIME = re.compile(r"[ \t]+([+-]?[0-9]+)[ \t\r]*(?=\n|\Z)")
_END = re.compile(r"[ \t\r]*(?=\n|\Z)")
_NAME = re.compile(_WORD)
_ESCAPED = re.compile(r"\\([,= ])")
_ESCAPED_MEASUREMENT = re.compile(r"\\([, ])")
_QUOTED = re.compile(r'\\(["\\])')
_INTEGER = re.compile(r"[+-]?\d+[iu]", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_BOOLEANS = {"t": True, "true": True, "f": False, "false": False}


class Line(NamedTuple):
    """One line."""

    measurement: str
    tags: Mapping[str, str]
    fields: Mapping[str, object]
    time: str | None


class Influx:
    """A payload in InfluxDB's line protocol."""

    def __init__(self, members: Sequence[tuple[int, str]], source: Source, options: Topic, maker: Maker) -> None:
        """See formats.Format; a selector is `measurement,tag=value field`: lines that have these tags and others."""
        self._members = members
        self._wanted: dict[tuple[str, str], list[tuple[int, str, dict[str, str]]]] = defaultdict(list)
        for position, selector in members:
            measurement, tags, field = parse_selector(selector)
            self._wanted[measurement, field].append((position, selector, tags))
        self._maker, self._stamps = maker, Stamps(source, options)
        self._quality = options.quality.removeprefix("/")
        self._positions = [position for position, _ in members]
        self._must = options.missing == "bad"
        self.unmet = set(self._positions)

    def rows(self, payload: bytes, received: int) -> tuple[list[Row], str | None]:
        """See formats.Format."""
        outcome = Outcome(received)
        try:
            text = text_of(payload)
        except UnicodeDecodeError:
            return outcome.all_bad(self._positions, "no text in UTF-8")
        met: set[int] = set()
        lines = 0
        for line in parse_lines(text, outcome):
            lines += 1
            outcome.room()
            ts, status = self._ns(line, received, outcome), self._status(line)
            for field, value in line.fields.items():
                for position, selector, tags in self._wanted.get((line.measurement, field), ()):
                    if tags.items() <= line.tags.items():
                        met.add(position)
                        self._add(position, selector, ts, value, status, outcome)
        self.unmet -= met
        if not met and (self._must or outcome.reason is not None or not lines):
            return outcome.all_bad(self._positions, outcome.reason or "none of its points is in it")
        for position, selector in self._members if self._must else ():
            if position not in met:
                outcome.bad(position, f"{selector}: nothing there")
        return outcome.rows, outcome.reason

    def _ns(self, line: Line, received: int, outcome: Outcome) -> int:
        if line.time is None:
            return received
        ns = self._stamps.ns(line.time)
        if ns is None:
            outcome.tell(no_time(line.time))
        return received if ns is None else ns

    def _status(self, line: Line) -> int:
        """Return the status by the field or tag of the line that is its quality."""
        quality = line.fields.get(self._quality, line.tags.get(self._quality)) if self._quality else None
        return GOOD if quality is None else self._stamps.status(quality)

    def _add(self, position: int, selector: str, ts: int, value: object, status: int, outcome: Outcome) -> None:
        try:
            outcome.rows.append(self._maker.row(position, ts, value, status))
        except BadPayload as error:
            outcome.bad(position, f"{selector}: {error}")


def parse_selector(selector: str) -> tuple[str, dict[str, str], str]:
    """Return measurement, tags and field of `measurement,tag=value field`; raises ValueError where it is none."""
    at, measurement, tags = _head(selector, 0)
    field = selector[at + 1 :].lstrip(" ")
    if at < 0 or selector[at : at + 1] != " " or _NAME.fullmatch(field) is None:
        raise ValueError(f"{selector!r} is no measurement, tags and field; write such as: press,line=l1 temperature")
    return measurement, tags, _ESCAPED.sub(r"\1", field)


def parse_lines(text: str, outcome: Outcome) -> Iterator[Line]:
    """Yield the lines of a text; what is none is told to `outcome`, and those beside it are kept."""
    at, end = 0, len(text)
    while at < end:
        if text[at] in " \t\r\n":
            at += 1
            continue
        if text[at] == "#":
            at = _next_line(text, at)
            continue
        line, stop = _line(text, at)
        if line is None:
            stop = _next_line(text, at)
            outcome.tell(f"no line protocol: {text[at:stop].strip()[:80]!r}")
        else:
            yield line
        at = stop


def _next_line(text: str, at: int) -> int:
    return found + 1 if (found := text.find("\n", at)) >= 0 else len(text)


def _line(text: str, at: int) -> tuple[Line | None, int]:
    at, measurement, tags = _head(text, at)
    blanks = _BLANKS.match(text, at) if at >= 0 else None
    if blanks is None:
        return None, at
    fields: dict[str, object] = {}
    at = blanks.end()
    while (field := _FIELD.match(text, at)) is not None:
        value = _value(field[2])
        if value is None:
            return None, at
        fields[_ESCAPED.sub(r"\1", field[1])] = value
        at = field.end()
        if text[at : at + 1] != ",":
            break
        at += 1
    else:
        return None, at
    if (time := _TIME.match(text, at)) is not None:
        return Line(measurement, tags, fields, time[1]), time.end()
    ending = _END.match(text, at)
    return (Line(measurement, tags, fields, None), ending.end()) if ending is not None else (None, at)


def _head(text: str, at: int) -> tuple[int, str, dict[str, str]]:
    """Return where measurement and tags end, -1 where there are none, and both."""
    measurement = _MEASUREMENT.match(text, at)
    if measurement is None:
        return -1, "", {}
    at, tags = measurement.end(), {}
    while (tag := _TAG.match(text, at)) is not None:
        tags[_ESCAPED.sub(r"\1", tag[1])] = _ESCAPED.sub(r"\1", tag[2])
        at = tag.end()
    return at, _ESCAPED_MEASUREMENT.sub(r"\1", measurement[1]), tags


def _value(text: str) -> object:
    """Return a field's value; None where it is none."""
    if text.startswith('"'):
        return _QUOTED.sub(r"\1", text[1:-1])
    if text in ("t", "T", "true", "True", "TRUE", "f", "F", "false", "False", "FALSE"):
        return _BOOLEANS[text.lower()]
    if _INTEGER.fullmatch(text) is not None:
        return int(text[:-1]) if len(text) < 30 else None
    return word(text) if _FLOAT.fullmatch(text) is not None else None

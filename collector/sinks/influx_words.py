"""Which lines of a request a server has refused, as far as its words tell."""

import re
from typing import NamedTuple

import polars as pl

from collector.sinks.influx_http import Reply, said

_DROPPED = re.compile(r"dropped[= ](\d+)")
_UNPARSED = "unable to parse '"
_FIELD = re.compile(r'field type conflict: input field "([a-z]+)"')
_OF_LINES = re.compile(
    r"unable to parse|partial write|field type conflict|parsing failed|line protocol|dropped[= ]\d|limit exceeded"
)


class Words(NamedTuple):
    """What a refusal says."""

    text: str
    named: dict[int, str]
    """Positions of lines that it names, and its reason for each."""
    dropped: int | None
    """How many lines it says were dropped."""
    partial: bool
    """Whether it says that the other lines were written."""
    of_lines: bool
    """Whether it speaks of lines at all, and not perhaps of the request."""
    retention: bool
    """Whether the lines are older than what the server keeps."""
    field: str
    """The field whose type does not agree with what is stored, empty where it names none."""


def read(reply: Reply, lines: pl.Series) -> Words:
    """Return what a refusal (400, 422) of these lines says; all that is not understood is left out."""
    text = said(reply)
    named = _numbered(reply, lines) or _quoted(text, lines)
    dropped = _DROPPED.search(text)
    field = _FIELD.search(text)
    return Words(
        text=text,
        named=named,
        dropped=int(dropped[1]) if dropped and int(dropped[1]) else None,
        partial="partial write" in text,
        of_lines=bool(named) or _OF_LINES.search(text) is not None,
        retention="retention policy" in text and dropped is not None,
        field=field[1] if field else "",
    )


def _numbered(reply: Reply, lines: pl.Series) -> dict[int, str]:
    """Return the lines that InfluxDB 3 lists by number and beginning."""
    body = reply.json
    data = body.get("data") if isinstance(body, dict) else None
    entries = data if isinstance(data, list) else [data]
    named = {}
    for entry in entries:
        if not isinstance(entry, dict):
            return {}
        number, begins = entry.get("line_number"), entry.get("original_line")
        if not isinstance(number, int) or not 1 <= number <= len(lines) or not isinstance(begins, str) or not begins:
            return {}
        if not lines[number - 1].startswith(begins):
            return {}
        named[number - 1] = str(entry.get("error_message") or "refused")
    return named


def _quoted(text: str, lines: pl.Series) -> dict[int, str]:
    """Return the lines that InfluxDB 1 and 2 repeat whole, each with its reason."""
    reasons: dict[str, str] = {}
    for part in text.split(_UNPARSED)[1:]:
        # A text in the line may hold what ends it here: whatever is one of our lines is the line.
        line, end, reason = part.rpartition("': ")
        while end:
            reasons[line] = _DROPPED.sub("", reason).strip()
            line, end, more = line.rpartition("': ")
            reason = more + "': " + reason
    if not reasons:
        return {}
    places = lines.is_in(list(reasons)).arg_true().to_list()
    return {place: reasons[lines[place]] for place in places}

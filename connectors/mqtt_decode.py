"""MQTT payloads to rows: JSON parsed once for all points of a topic, times of many kinds, plain scalars."""

import datetime as dt
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from config.plant import Point
from config.status import BAD_DECODING_ERROR, BAD_NOT_SUPPORTED, GOOD
from connectors.scaling import EXACT_LIMIT, Scaling

NUMBERS = ("number", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
TYPES = ("", "bool", "string", *NUMBERS)
"""Types of the point table; empty takes the payload's own."""

_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(\.\d+)?(Z|z|[+-]\d\d:?\d\d)")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NS_LIMIT = 2**63
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Row:
    """One value of one point."""

    position: int
    ts: int
    value: float | None
    text: str | None
    status: int


class BadPayload(ValueError):  # noqa: N818  a state of the payload
    """A payload does not fit what the point table says of its topic."""


def split(address: str) -> tuple[str, str]:
    """Return topic and JSON Pointer of `topic#/json/pointer`; without a pointer the payload is one value.

    Raises ValueError saying what is wrong.
    """
    topic, _, pointer = address.partition("#")
    if not topic or "+" in topic or "\0" in topic or len(topic.encode()) > 0xFFFF:
        raise ValueError(f"address {address!r}: a topic is one topic, without the wildcards + and #")
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"address {address!r}: after the # stands a JSON Pointer such as /press/temperature")
    return topic, pointer


def tokens(pointer: str) -> tuple[str, ...]:
    """Return the steps of a JSON Pointer (RFC 6901)."""
    return tuple(t.replace("~1", "/").replace("~0", "~") for t in pointer.split("/")[1:])


def epoch_ns(value: object) -> int | None:
    """Return a time in [ns since 1970, UTC]: ISO 8601 with an offset, or an epoch in s, ms, us or ns.

    The unit of an epoch is told by its magnitude. None where the value is no such time.
    """
    if isinstance(value, str):
        return _iso_ns(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        size = abs(value)
        factor = 10**9 if size < 10**11 else 10**6 if size < 10**14 else 10**3 if size < 10**17 else 1
        ns = value * factor if isinstance(value, int) else int(Decimal(repr(value)) * factor)
    except (InvalidOperation, OverflowError, ValueError):
        return None
    return ns if -_NS_LIMIT < ns < _NS_LIMIT else None


def _iso_ns(text: str) -> int | None:
    match = _ISO.fullmatch(text.strip())
    if match is None:
        return None
    try:
        whole = dt.datetime.fromisoformat(f"{match[1]}T{match[2]}{match[4].upper()}") - _EPOCH
    except (ValueError, OverflowError):
        return None
    ns = (whole.days * 86_400 + whole.seconds) * 10**9 + int((match[3] or ".0")[1:10].ljust(9, "0"))
    return ns if -_NS_LIMIT < ns < _NS_LIMIT else None


class Topic:
    """The points of one topic."""

    def __init__(self, members: Sequence[tuple[int, str, Point]], time_field: str, scaling: Scaling) -> None:
        """Take each point's position and JSON Pointer, and where a payload's own time stands."""
        self._members = [(position, pointer, tokens(pointer), point.type) for position, pointer, point in members]
        self._json = any(pointer for _, pointer, _ in members)
        self._time, self._scaling = tokens(time_field), scaling

    def rows(self, payload: bytes, received: int) -> tuple[list[Row], str | None]:
        """Return a row per point, and what did not fit, None where all did.

        `received` [ns since 1970, UTC] is the time of a payload that bears none. What does not fit makes the
        points concerned BadDecodingError, at `received`.
        """
        try:
            text = payload.decode()
            document = json.loads(text) if self._json else None
        except (ValueError, RecursionError) as error:
            return [self._bad(m[0], received) for m in self._members], f"no JSON: {str(error)[:200]}"
        ts, reason = received, None
        if isinstance(document, dict) and (stamp := _at(document, self._time)) is not _MISSING:
            stated = epoch_ns(stamp)
            ts = received if stated is None else stated
            reason = f"time {str(stamp)[:40]!r} is not one" if stated is None else None
        rows = []
        for position, pointer, path, kind in self._members:
            found = _at(document, path) if pointer else _plain(text, kind)
            try:
                rows.append(self._row(position, ts, found, kind))
            except BadPayload as error:
                rows.append(self._bad(position, received))
                reason = f"{pointer or 'payload'}: {error}"
        return rows, reason

    @staticmethod
    def _bad(position: int, received: int) -> Row:
        return Row(position, received, None, None, BAD_DECODING_ERROR)

    def _row(self, position: int, ts: int, found: object, kind: str) -> Row:
        if found is _MISSING:
            raise BadPayload("nothing there")
        if isinstance(found, dict | list):
            return Row(position, ts, None, None, BAD_NOT_SUPPORTED)
        value = typed(found, kind)
        if isinstance(value, int) and abs(value) > EXACT_LIMIT:
            return Row(position, ts, None, self._scaling.exact(position, value), GOOD)
        if value is None or isinstance(value, str):
            return Row(position, ts, None, value, GOOD)
        return Row(position, ts, float(value), None, GOOD)


def typed(value: object, kind: str) -> float | int | str | None:
    """Return a JSON scalar as the type of the point table; raises BadPayload where it is none such."""
    if value is None:
        return None
    if kind == "string":
        return value if isinstance(value, str) else json.dumps(value)
    if isinstance(value, str) and kind:
        value = _word(value)
    if kind == "bool":
        if value not in (0, 1):  # True and False are 1 and 0
            raise BadPayload(f"{str(value)[:40]!r} is no bool")
        return int(bool(value))
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    if isinstance(value, str) and not kind:
        return value
    raise BadPayload(f"{str(value)[:40]!r} is no {kind}")


def _word(text: str) -> object:
    """Return the number or boolean that a text spells, else the text."""
    word = text.strip()
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    for parse in (int, float):
        try:
            return parse(word) if "_" not in word else text
        except ValueError:
            continue
    return text


def _plain(text: str, kind: str) -> object:
    if kind == "string":
        return text
    if not text.strip():
        return _MISSING
    return _word(text)


def _at(document: object, path: tuple[str, ...]) -> object:
    """Return what stands at a JSON Pointer's steps, or _MISSING."""
    for token in path:
        if isinstance(document, dict):
            document = document.get(token, _MISSING)
        elif isinstance(document, list) and token.isdecimal() and int(token) < len(document):
            document = document[int(token)]
        else:
            return _MISSING
    return document

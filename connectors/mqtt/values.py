"""Scalars of payloads, whatever the format, to rows of the point table's types."""

import codecs
import json
import math
from collections.abc import Sequence

from config.status import GOOD
from connectors.scaling import EXACT_LIMIT, Scaling

NUMBERS = ("number", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
TYPES = ("", "bool", "string", *NUMBERS)
"""Types of the point table; empty takes the payload's own."""

Row = tuple[int, int, float | None, str | None, int]
"""Position of the point, time [ns since 1970, UTC], number, text, StatusCode."""

Scalar = float | int | str | None

SHOWN = 40
"""So much of a value stands in a reason."""


class BadPayload(ValueError):  # noqa: N818  a state of the payload
    """A payload does not fit what the point table says of its topic."""


def text_of(payload: bytes) -> str:
    """Return a payload as text, without a byte order mark; raises UnicodeDecodeError where it is not UTF-8."""
    return str(payload[3:] if payload.startswith(codecs.BOM_UTF8) else payload, "utf-8")


def shown(value: object) -> str:
    """Return how a reason calls a value: its beginning, and of a structure only what it is."""
    if isinstance(value, list | dict):  # whose text may be as long, and as deep, as the payload
        return "an array" if isinstance(value, list) else "an object"
    return repr(str(value)[:SHOWN])


def typed(value: object, kind: str) -> Scalar:
    """Return a scalar as the type of the point table; raises BadPayload where it is none such."""
    if value is None:
        return None
    if not isinstance(value, (float, int, str)):
        raise BadPayload(f"{shown(value)} is no {kind or 'number, text or bool'}")
    if kind == "":
        return value + 0 if value is True or value is False else value
    if kind == "string":
        return value if isinstance(value, str) else json.dumps(value)
    if isinstance(value, str):
        value = word(value)
    if kind == "bool":
        if value not in (0, 1):  # True and False are 1 and 0
            raise BadPayload(f"{shown(value)} is no bool")
        return int(bool(value))
    if isinstance(value, str):
        raise BadPayload(f"{shown(value)} is no {kind}")
    return int(value) if isinstance(value, bool) else value


def word(text: str) -> float | int | bool | str:
    """Return the number or boolean that a text spells, else the text, as of numbers that no float64 can hold."""
    bare = text.strip()
    if bare.lower() in ("true", "false"):
        return bare.lower() == "true"
    if "_" in bare:  # Python reads 1_000, and nobody else does
        return text
    try:
        return int(bare)
    except ValueError:
        pass
    try:
        number = float(bare)
    except ValueError:
        return text
    return text if math.isinf(number) and "inf" not in bare.lower() else number


class Maker:
    """Makes rows of a source's points: integers that no float64 holds keep their digits, as scaled text."""

    def __init__(self, kinds: Sequence[str], scaling: Scaling) -> None:
        """Take each point's type of the point table, by position, and their scaling."""
        self._kinds, self._scaling = kinds, scaling

    def kind(self, position: int) -> str:
        """Return the type that the point table gives a point."""
        return self._kinds[position]

    def row(self, position: int, ts: int, value: object, status: int = GOOD) -> Row:
        """Return the row of a raw scalar at `ts` [ns since 1970, UTC]; raises BadPayload where its type does not fit.

        The number is raw: the burst is scaled as a whole.
        """
        kind = self._kinds[position]
        if not kind and type(value) is float:
            return position, ts, value, None, status
        value = typed(value, kind)
        if value is None or isinstance(value, str):
            return position, ts, None, value, status
        if isinstance(value, int) and not -EXACT_LIMIT <= value <= EXACT_LIMIT:
            return position, ts, None, self._scaling.exact(position, value), status
        return position, ts, value, None, status

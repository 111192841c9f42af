"""What the payloads of a topic are, learnt message by message; what is kept is bounded whatever comes."""

import enum
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from connectors.mqtt.browsing.clocks import TIME_NAMES, time_of
from connectors.mqtt.browsing.walks import MOST, Looked, Path, Structure, look
from connectors.mqtt.values import word
from connectors.texts import clean

SHORT = 40
"""Longest example that is kept."""
WORDS = 8
"""So many different texts of one value are kept."""
LONGEST = 200
"""A value whose name is longer is left out."""
MEMBERS = 100_000
"""So many values of all topics are kept."""
_DAY_NS = 86_400 * 10**9
_NS = 10**9

Kind = Literal["number", "whole", "boolean", "text", "other"]


class Is(enum.Flag):
    """What a value was seen to be."""

    NOTHING = 0
    WHOLE = enum.auto()
    NUMBER = enum.auto()
    BOOL = enum.auto()
    TEXT = enum.auto()
    NULL = enum.auto()
    ARRAY = enum.auto()
    SAMPLES = enum.auto()
    TIMES = enum.auto()


@dataclass(slots=True)
class Member:
    """One value that payloads have."""

    kinds: Is = Is.NOTHING
    count: int = 0
    """How often it was there and not null."""
    example: str = ""
    words: tuple[str, ...] = ()
    """Different texts, up to WORDS."""
    last: float | None = None
    fell: bool = False
    """Whether a number became smaller, and not 0."""
    quoted: bool = True
    """Whether all of its texts spell numbers or booleans."""
    times: int = 0
    """How often it was a time."""
    clock: str = ""
    """How it writes times: ISO 8601, local (without an offset), s, ms, us or ns."""
    lag: float | None = None
    """How far the last time of a message that was not retained lay behind its arrival [s]."""

    def take(self, value: object, received: int | None, *, named: bool) -> None:
        """Take a value. received: [ns since 1970, UTC]; None: long ago, perhaps. named: whether its name says time."""
        if isinstance(value, Structure):
            self._structure(value, received)
            return
        kind = _kind(value)
        self.kinds |= kind
        if kind is Is.NULL:
            return
        self.count += 1
        if not self.example:
            self.example = shown(value)
        self._time(value, received, named=named)
        if isinstance(value, str):
            self._text(value)
        elif isinstance(value, int | float) and value == value:  # noqa: PLR0124  not nan
            number = float(value) if abs(value) < 10**300 else math.inf if value > 0 else -math.inf
            self.fell = self.fell or (self.last is not None and 0 != number < self.last)
            self.last = number

    def _structure(self, value: Structure, received: int | None) -> None:
        self.kinds |= {"times": Is.TIMES, "samples": Is.SAMPLES}.get(value.what, Is.ARRAY)
        self.count += 1
        self.example = self.example or f"[{', '.join(shown(one)[:16] for one in value.items[:2])}, …]"
        if value.what == "times":
            self._time(value.items[-1], received, named=True)
        elif value.what == "samples":
            self.kinds |= next((_kind(one) for one in value.items if one is not None), Is.NULL)

    def _text(self, value: str) -> None:
        text = clean(value[: 2 * SHORT])[:SHORT]
        if len(self.words) < WORDS and text not in self.words:
            self.words = (*self.words, sys.intern(text))
        # 007 is a name, whatever it spells.
        spelt = self.quoted and (len(value) == 1 or not value.startswith("0") or value.startswith("0."))
        self.quoted = spelt and not isinstance(word(value[:400]), str)

    def _time(self, value: object, received: int | None, *, named: bool) -> None:
        found = time_of(value)
        if found is None:
            return
        ns, clock = found
        if clock not in ("ISO 8601", "local") and not named and (received is None or abs(received - ns) > _DAY_NS):
            return
        self.times += 1
        self.clock = clock
        if received is not None:
            self.lag = (received - ns) / _NS

    @property
    def is_time(self) -> bool:
        """Whether every one of its values was a time."""
        return self.times > 0 and self.times == self.count

    @property
    def kind(self) -> Kind:
        """What it is as a value of the point table."""
        if self.kinds & (Is.ARRAY | Is.TIMES) or not self.count:
            return "other"
        if self.kinds & Is.TEXT:
            return "text"
        if self.kinds & Is.NUMBER:
            return "number"
        return "whole" if self.kinds & Is.WHOLE else "boolean"

    @property
    def spells(self) -> str:
        """The type of the point table that its texts are meant as; empty: they are texts, or it has none."""
        if not self.kinds & Is.TEXT or not self.quoted or not self.words:
            return ""
        return "bool" if all(isinstance(word(one), bool) for one in self.words) else "number"

    def merge(self, other: "Member") -> None:
        """Take over what another topic's payloads have in the same place."""
        self.kinds |= other.kinds
        self.count += other.count
        self.example = self.example or other.example
        self.words = tuple(dict.fromkeys((*self.words, *other.words)))[:WORDS]
        self.fell, self.quoted = self.fell or other.fell, self.quoted and other.quoted
        self.times += other.times
        self.clock = self.clock or other.clock
        lags = [lag for lag in (self.lag, other.lag) if lag is not None]
        self.lag = max(lags, key=abs, default=None)


@dataclass(slots=True)
class Shape:
    """What the payloads of one topic are."""

    kinds: Counter[str] = field(default_factory=Counter)
    members: dict[Path, Member] = field(default_factory=dict)
    """Those of the kind that came first of the kinds that have any."""
    of: str = ""
    """That kind."""
    options: Mapping[str, object] = field(default_factory=dict)
    whole: bool = True

    def take(self, payload: bytes, size: int, received: int | None, room: int) -> int:
        """Take a payload; `room`: so many new members may be kept. Returns how many were."""
        looked = look(payload, size)
        self.kinds[looked.kind] += 1
        self.whole = self.whole and looked.whole
        if not looked.values or (self.of and looked.kind != self.of):
            return 0
        self.of, self.options = looked.kind, {**self.options, **looked.options}
        return self._members(looked, received, room)

    def _members(self, looked: Looked, received: int | None, room: int) -> int:
        new = 0
        for path, value in looked.values:
            member = self.members.get(path)
            if member is None:
                if new >= room or len(self.members) >= MOST or any(len(one) > LONGEST for one in path):
                    self.whole = False
                    continue
                new += 1
                member = self.members[tuple(sys.intern(one) for one in path)] = Member()
            member.take(value, received, named=_says_time(looked.kind, path))
        return new

    @property
    def kind(self) -> str:
        """What most of its payloads are, those that are empty apart."""
        return self.of or next((kind for kind, _ in self.kinds.most_common() if kind != "empty"), "empty")

    @property
    def others(self) -> Mapping[str, int]:
        """Payloads of other kinds."""
        return {kind: count for kind, count in self.kinds.items() if kind not in (self.kind, "empty")}


def shown(value: object) -> str:
    """Return a value in one short line."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, float):
        text = f"{value:.9g}"
    elif isinstance(value, int):
        text = str(value) if abs(value) < 10**SHORT else "a long number"
    else:
        text = clean(str(value)[: 2 * SHORT])
    return text if len(text) <= SHORT else f"{text[: SHORT - 1]}…"


def bare(name: str) -> str:
    """Return a name in small letters, without signs between them."""
    return re.sub(r"[\W_]+", "", name).lower()


def merged(shapes: Iterable[Shape]) -> dict[Path, Member]:
    """Return what is in the payloads of several topics."""
    found: dict[Path, Member] = {}
    for shape in shapes:
        for path, member in shape.members.items():
            found.setdefault(path, Member()).merge(member)
    return found


def _says_time(kind: str, path: Path) -> bool:
    return (kind == "influx" and not path) or bool(path and bare(path[-1]) in TIME_NAMES)


def _kind(value: object) -> Is:
    if value is None:
        return Is.NULL
    if isinstance(value, bool):
        return Is.BOOL
    if isinstance(value, float):
        return Is.NUMBER
    return Is.WHOLE if isinstance(value, int) else Is.TEXT

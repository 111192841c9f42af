"""What stands beside values in payloads: their time, quality and unit, found by names and by what was seen there."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from config.units import METER_UNITS
from connectors.mqtt.browsing.clocks import TIME_NAMES
from connectors.mqtt.browsing.shapes import Is, Member, bare
from connectors.mqtt.browsing.walks import Path

QUALITIES = ("q", "quality", "qual", "qc", "valuequality", "质量")
_GOOD, _WORDS = ("true", "192", "good", "ok"), ("false", "bad", "uncertain", "0", "64")
UNIT_NAMES = ("unit", "units", "uom", "engunit", "engineeringunit", "单位")
GENERIC = ("v", "val", "value", "values", "data", "payload", "metrics", "值", "数值")
"""Names that say nothing of what a value is."""
_LOOKED = 40
"""So many values and times are held against each other."""
_SPELT = {name.lower(): name for name in METER_UNITS if len(name) > 1 and name not in ("MW", "Wh", "MJ", "kg")}
_EXACT = {"MW": "MW", "Wh": "Wh", "wh": "Wh", "W": "W", "MJ": "MJ", "m³": "m3", "kg": "kg", "KG": "kg", "千瓦时": "kWh"}
SPELLINGS = {
    "kW·h": "kWh", "kW h": "kWh", "KWH": "kWh", "kwh": "kWh", "度": "kWh", "千瓦时": "kWh", "KW": "kW", "kw": "kW",
    "千瓦": "kW", "m^3": "m3", "立方米": "m3", "吨": "t", "千克": "kg", "公斤": "kg", "l": "L", "升": "L",
}  # fmt: skip
"""Other spellings of the units of meters."""
STEADY_S = 5.0
"""A time that lags by more is told of [s]."""


@dataclass(slots=True)
class Beside:
    """What stands beside the values of one kind of payload."""

    time: Path | None = None
    """Where the time is, as seen from a container of the values; None: nowhere."""
    clock: str = ""
    lag: float | None = None
    quality: Path | None = None
    good: tuple[str, ...] = ()
    """Words of quality that are good, where the usual ones are none of them."""
    units: dict[Path, str] = field(default_factory=dict)
    """Units of values by their path."""
    aside: set[Path] = field(default_factory=set)
    """Members that are no values of their own."""


def beside(kind: str, members: Mapping[Path, Member]) -> Beside:
    """Return what stands beside the values of a kind of payload."""
    found = Beside()
    times = [path for path, member in members.items() if member.is_time]
    grades = [path for path, member in members.items() if path and _is_quality(bare(path[-1]), member)]
    found.aside = {*times, *grades}
    values = [path for path, member in members.items() if path not in found.aside and member.kind != "other"]
    if kind == "influx":
        found.time = () if () in times else None
        source = members.get(())
    else:
        named = [path for path in times if path and bare(path[-1]) in TIME_NAMES] or times
        found.time, source = _nearest(named, values, members)
    if source is not None and found.time is not None:
        found.clock, found.lag = source.clock, source.lag
    if kind == "json":
        found.quality, grade = _nearest(grades, values, members)
        found.good = _good(grade) if grade is not None else ()
        _units(members, values, found)
    return found


def _is_quality(name: str, member: Member) -> bool:
    if name not in QUALITIES or not member.count:
        return False
    words = {word.casefold() for word in member.words}
    whole = member.kinds & Is.WHOLE and member.example in (*_GOOD, *_WORDS)
    return bool(member.kinds & Is.BOOL or whole or (words and words <= {*_GOOD, *_WORDS, "gut", "良好"}))


def _good(grade: Member) -> tuple[str, ...]:
    words = [word for word in grade.words if word.casefold() in ("gut", "良好")]
    return (*_GOOD, *words) if words else ()


def _nearest(
    places: Sequence[Path], values: Sequence[Path], members: Mapping[Path, Member]
) -> tuple[Path | None, Member | None]:
    """Return where most values have such a member beside them, or around them, as seen from there."""
    votes, depth, example = Counter[Path](), Counter[Path](), dict[Path, Member]()
    for place in places[:_LOOKED]:
        for value in values[:_LOOKED]:
            common = next((n for n, pair in enumerate(zip(place, value, strict=False)) if pair[0] != pair[1]), 0)
            common = min(common, len(place) - 1, len(value) - 1)
            rest = place[max(common, 0) :]
            if rest and not any(token == "*" or token.startswith("[") for token in rest):  # noqa: S105  a step
                votes[rest] += 1
                depth[rest] += common
                example.setdefault(rest, members[place])
    if not votes:
        return None, None
    best = max(votes, key=lambda rest: (depth[rest], votes[rest], -len(rest)))
    return best, example[best]


def _units(members: Mapping[Path, Member], values: Sequence[Path], found: Beside) -> None:
    """Give units to values that stand alone beside a text that is a unit."""
    told = {path[:-1]: (path, member) for path, member in members.items()
            if path and bare(path[-1]) in UNIT_NAMES and len(member.words) == 1}  # fmt: skip
    alone = Counter(path[:-1] for path in values if members[path].kind in ("whole", "number"))
    for path in values:
        if path[:-1] in told and alone[path[:-1]] == 1 and members[path].kind in ("whole", "number"):
            where, member = told[path[:-1]]
            found.units[path] = SPELLINGS.get(member.words[0], member.words[0])
            found.aside.add(where)


def unit_in(name: str) -> str:
    """Return the meter's unit that the last word of a name is, `energy_kWh` or `电量(kWh)`; empty where none is."""
    last = next(iter(reversed(re.findall(r"[A-Za-z]+[23]?³?|[\u4e00-\u9fff]+", _split(name)))), "")
    return _EXACT.get(last) or _SPELT.get(last.lower(), "")


def _split(name: str) -> str:
    """Return a name with a space before the unit that it ends with: energyKWh, powerKW."""
    return re.sub(r"(?<=[a-z])(?=(?:[kK]W[hH]?|MWh|GWh|Nm3|m3)\Z)", " ", name.rstrip(")）]】 "))

"""What a value is taken for: role, unit and type, where name, unit and behaviour say it outright."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from connectors.mqtt.browsing.beside import GENERIC, SPELLINGS, unit_in
from connectors.mqtt.browsing.births import Tag
from connectors.mqtt.browsing.folds import STRUCTURED, Fold
from connectors.mqtt.browsing.shapes import WORDS, Kind, Member, bare
from connectors.mqtt.browsing.walks import Path

Guess = Callable[[str, Kind, str], str]
"""Role by name, kind of value and unit."""
PRESENCE = ("online", "offline", "connected", "disconnected", "alive", "dead", "up", "down", "在线", "离线")
"""Payloads of topics that say whether a publisher is there."""
GUESSED = "role guessed"
COUNTING = ("total", "good", "reject", "rework")
_HIGHEST_STATE = 999


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a value is taken for."""

    role: str
    unit: str
    note: str
    type: str = ""


def values(fold: Fold) -> Iterator[tuple[Path, Member]]:
    """Yield the members that are values of their own, and may be points."""
    for path, member in fold.members.items():
        aside = path in fold.beside.aside or (fold.kind == "influx" and not path)
        if fold.kind in ("scalar", *STRUCTURED) and not aside and member.kind != "other":
            yield path, member


def is_presence(fold: Fold) -> bool:
    """Return whether a topic says that its publisher is there or gone."""
    member = fold.members.get(()) if fold.kind == "scalar" else None
    return member is not None and bool(member.words) and {one.casefold() for one in member.words} <= {*PRESENCE}


def named(fold: Fold, path: Path) -> str:
    """Return the name that says what a value is."""
    parts = [part for part in parts_of(fold.kind, path) if bare(part) not in GENERIC]
    words = [level for level in fold.levels if level[1:-1] not in fold.words and bare(level) not in (*GENERIC, "")]
    return parts[-1] if parts else words[-1] if words else ""


def parts_of(kind: str, path: Path) -> list[str]:
    """Return the names on the way to a value."""
    if kind == "influx":
        return [one.replace("\\", "") for one in path if one]
    found = []
    for token in path:
        name = token[1:-1].partition("=")[2] if kind == "json" and token.startswith("[") else token
        if name != "*":
            found.append(name.replace("~1", "/").replace("~0", "~"))
    return found


def meaning(guess: Guess, name: str, member: Member, unit: str = "") -> Meaning:
    """Return role, unit, type and note of a value; the role where name, unit and behaviour say it outright."""
    unit = unit or unit_in(name)
    kind, type_ = member.kind, member.spells
    told: Kind = {"number": "number", "bool": "boolean"}.get(type_, kind)  # type: ignore[assignment]
    role = guess(name, told, unit)
    if role in ("order", "product", "state") and kind == "text":
        type_ = ""
    doubt = _doubt(role, member)
    if doubt or role == "measure":
        return Meaning("measure", unit, doubt, type_)
    return Meaning(role, unit, GUESSED, type_)


def _doubt(role: str, member: Member) -> str:
    """Return why a value is not what its name says; empty: nothing speaks against it."""
    counts = role in COUNTING or role.startswith("energy.")
    if counts and member.fell:
        return f"named as {role}, but it fell at times"
    if role in COUNTING and member.last is not None and not member.last.is_integer():
        return f"named as {role}, but has fractions"
    if role == "state" and member.words and {one.casefold() for one in member.words} <= {*PRESENCE}:
        return "says whether the publisher is there"
    many = len(member.words) >= WORDS or (member.last is not None and not 0 <= member.last <= _HIGHEST_STATE)
    return f"named as {role}, but has too many values" if role == "state" and many else ""


def of_tag(guess: Guess, tag: Tag) -> Meaning:
    """Return what a metric is taken for."""
    unit = SPELLINGS.get(tag.unit, tag.unit) or unit_in(tag.name)
    role = guess(tag.name, tag.kind, unit)
    return Meaning(role, unit, "" if role == "measure" else GUESSED)

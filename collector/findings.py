"""What doctor finds: a case of a known list, and the facts of this machine; told in either language of the product."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Lang = Literal["en", "zh"]
Level = Literal["ok", "warning", "fault"]
LEVELS: tuple[Level, ...] = ("ok", "warning", "fault")


class Said(NamedTuple):
    """A text in English and in Chinese; `{names}` stand for facts."""

    en: str
    zh: str


NOTHING = Said("", "")


class Case(NamedTuple):
    """Something that a check may see, and what is to be done about it."""

    level: Level
    seen: Said
    rule: Said
    step: Said = NOTHING


class Told(NamedTuple):
    """A finding in one language."""

    check: str
    """Id of the check."""
    case: str
    level: Level
    title: str
    seen: str
    rule: str
    step: str

    def __str__(self) -> str:
        return f"{self.title}: " + "; ".join(filter(None, (self.seen, self.rule, self.step)))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check saw."""

    case: str
    """`check.case`, a key of CASES."""
    facts: Mapping[str, object]

    def told(self, cases: Mapping[str, Case], titles: Mapping[str, Said], lang: Lang) -> Told:
        """Return it in a language; control characters that a name may hold are shown as they are written in Python."""
        check, _, name = self.case.partition(".")
        case = cases[self.case]
        texts = (
            getattr(said, lang).format_map(self.facts) for said in (titles[check], case.seen, case.rule, case.step)
        )
        return Told(check, name, case.level, *map(printable, texts))


def found(case: str, **facts: object) -> Finding:
    """Return a finding."""
    return Finding(case, facts)


def worst(levels: Iterable[Level]) -> Level:
    """Return the gravest of some levels; ok where there is none."""
    return max(levels, key=LEVELS.index, default="ok")


def printable(text: str) -> str:
    """Return a text that sends nothing to a terminal but what it shows."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def size(count: float) -> str:
    """Return a size [B] in words."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1024
    return f"{count:.3g} TiB"

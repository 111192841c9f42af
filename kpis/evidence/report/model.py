"""What a page is made of: sections of blocks, told in one language, without any markup."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from config.plant import Plant
from kpis.evidence.contents import Contents
from kpis.indicators.said import Lang, Said

Spec = Mapping[str, Any]
"""A chart's definition in Vega-Lite."""


@dataclass(frozen=True, slots=True)
class View:
    """What is told, and in which language."""

    contents: Contents
    lang: Lang

    @property
    def plant(self) -> Plant:
        """The plant."""
        return self.contents.plant

    def say(self, en: str, zh: str) -> str:
        """Return the text of the page's language."""
        return zh if self.lang == "zh" else en

    def of(self, said: Said) -> str:
        """Return a message in the page's language."""
        return said.into(self.lang)

    def joined(self, words: Sequence[str]) -> str:
        """Return words as a list in a sentence."""
        return self.say(", ", "、").join(words)


@dataclass(frozen=True, slots=True)
class Mark:
    """A cell whose text has a sign that is told in grey print too; kind: yes, no, off, or a status."""

    text: str
    kind: str


Cell = str | Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows below heads; numeric: numbers of the columns that are set to the right, wide: of those that need room.

    folded: a long and narrow table, which stands in two columns on the sheet.
    """

    kind: ClassVar[str] = "table"
    title: str = ""
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numeric: frozenset[int] = frozenset()
    wide: frozenset[int] = frozenset()
    note: str = ""
    small: bool = False
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what they are."""

    kind: ClassVar[str] = "facts"
    rows: Sequence[tuple[str, Cell]]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; weight: "", note, missing or strong."""

    kind: ClassVar[str] = "text"
    text: str
    weight: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """Words of a document, letter by letter, each with where they stand."""

    kind: ClassVar[str] = "quote"
    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Steps:
    """Lines of a calculation, a list of what is missing, or commands."""

    kind: ClassVar[str] = "steps"
    lines: Sequence[str]
    title: str = ""
    style: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A chart; what it shows stands in a table or in text beside it, and `alt` says it in words."""

    kind: ClassVar[str] = "drawing"
    title: str = ""
    alt: str
    note: str = ""
    spec: Callable[[], Spec]


@dataclass(frozen=True, slots=True)
class Value:
    """A figure in large type, with what it must never stand without."""

    kind: ClassVar[str] = "value"
    value: str
    beside: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Signatures:
    """Fields that people sign on paper."""

    kind: ClassVar[str] = "signatures"
    fields: Sequence[str]
    date: str
    seal: str


Block = Table | Facts | Text | Quote | Steps | Drawing | Value | Signatures


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading with blocks and sections below it."""

    anchor: str
    title: str
    blocks: Sequence[Block] = ()
    parts: Sequence["Section"] = field(default=())
    own_page: bool = False
    """Whether it begins on a new sheet of paper."""

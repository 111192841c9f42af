"""How a verb says its words in the language that it was asked in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from collector.findings import Said
from config import chinese
from config.language import Lang


@dataclass(frozen=True, slots=True)
class Speaker:
    """Says some words in a language."""

    words: Mapping[str, Said]
    lang: Lang

    def __call__(self, word: str, /, **facts: object) -> str:
        """Return one of the words with its facts filled in."""
        return str(getattr(self.words[word], self.lang)).format_map(facts)

    def name(self, names: Mapping[str, str], name: str) -> str:
        """Return what a name of --json is called; `names` has the Chinese, and what is not there stays as it is."""
        return names.get(name, name) if self.lang == "zh" else name

    def heard(self, text: str) -> str:
        """Return what keeps a source or a sink from its work, or what `test` found."""
        return chinese.of_connection(text) if self.lang == "zh" else text

    def joined(self, parts: Iterable[str]) -> str:
        """Return parts of a sentence one after the other."""
        return ("，" if self.lang == "zh" else ", ").join(parts)


def padded(text: str, cells: int) -> str:
    """Return a text with spaces up to so many cells of a terminal, of which a Chinese character takes two."""
    if text.isascii():
        return text.ljust(cells)
    from rich.cells import cell_len  # noqa: PLC0415  what is ASCII is told at once

    return text + " " * (cells - cell_len(text))

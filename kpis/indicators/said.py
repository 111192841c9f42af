"""What a person reads, in both languages of the product."""

from dataclasses import dataclass

from config.language import Lang

__all__ = ["NOTHING", "Lang", "Said"]


@dataclass(frozen=True, slots=True)
class Said:
    """One message in English and in Chinese."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.en

    def into(self, lang: Lang) -> str:
        """Return it in a language."""
        return self.zh if lang == "zh" else self.en


NOTHING = Said("", "")

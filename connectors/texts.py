"""Texts from servers and devices, made harmless for terminals, spreadsheets and ids."""

import json
import re
import unicodedata

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])|\x9b[0-?]*[ -/]*[@-~]")
_UNSAFE = re.compile(r"[^\w.\-]+")
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def clean(text: str) -> str:
    """Return a text without ANSI sequences and control characters, on one line."""
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    shown = (" " if unicodedata.category(sign) in _INVISIBLE else sign for sign in _ANSI.sub("", text))
    return " ".join("".join(shown).split())


def safe(text: str) -> str:
    """Return a text as one word of an id; letters of every script stay."""
    word = _UNSAFE.sub("_", clean(text)).strip("._-")
    return word or "x"


def harmless(text: str) -> str:
    """Return a text with every character that a terminal obeys escaped as JSON does, line feeds apart."""
    return "".join(sign if sign == "\n" or sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)


def cell(text: str) -> str:
    """Return a cell that a spreadsheet takes for a text, never for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text

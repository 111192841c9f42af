"""The languages that people are told things in: `--lang`, else the environment, else English."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import click

Lang = Literal["en", "zh"]
LANGS: tuple[Lang, ...] = ("en", "zh")
VARIABLE = "PLANTPROOF_LANG"
"""Environment variable that says the language where `--lang` does not."""


def lang_option(text: str | None = None) -> Callable[[Any], Any]:
    """Return the option `--lang` of a verb; `text` is its help."""
    return click.option(
        "--lang",
        type=click.Choice(LANGS),
        default="en",
        show_default=True,
        envvar=VARIABLE,
        show_envvar=True,
        help=text,
    )


def asked(words: Sequence[str]) -> Lang:
    """Return the language that a command line asks for, as its words were typed."""
    told = os.environ.get(VARIABLE, "")
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--lang":
            told = following
        elif word.startswith("--lang="):
            told = word.removeprefix("--lang=")
    return "zh" if told == "zh" else "en"

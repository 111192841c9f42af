"""The assessments' rubrics as versioned data: one TOML file each, every entry with the line and the words it rests on.

A citation is a pair [line, words]: the words stand on that line of the compendium of texts, letter by letter. What an
entry says is its cited words joined; nothing is written twice.
"""

import tomllib
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from config.fields import Model


class Cite(Model):
    """Words of the text, and the line on which they stand."""

    line: int = Field(gt=0)
    words: str = Field(min_length=1)


def _pair(value: object) -> object:
    return {"line": value[0], "words": value[1]} if isinstance(value, list) and len(value) == 2 else value


Cites = Annotated[tuple[Annotated[Cite, BeforeValidator(_pair)], ...], Field(min_length=1)]


class Entry(Model):
    """Base of everything in a rubric: it cites."""

    cites: Cites

    @property
    def text(self) -> str:
        """The cited words, joined."""
        return "".join(cite.words for cite in self.cites)

    @property
    def line(self) -> int:
        """The first cited line."""
        return self.cites[0].line


class Check(Model):
    """A comparison with an indicator's value that an option asks for."""

    indicator: str
    op: Literal[">", ">="]
    percent: Decimal


class Option(Entry):
    """One option of an item, or one level of an index item; options are numbered from 1 in the text's order."""

    over: Decimal | None = None
    """Band: the percentage is above this; None in the first band, which begins at 0 and includes it."""
    upto: Decimal | None = None
    """Band: the percentage is at most this."""
    check: Check | None = None
    """What the data must show before this level."""
    segment: str = ""
    """业务环节 that the option names."""
    proof: str = ""
    """Id of the finding in the data that proves the option (kpis/indicators/findings.py); empty: a person declares it.
    """
    partial: str = ""
    """Id of the finding that proves a part of the option."""


class Item(Entry):
    """One item (采集项, 二级指标) or key performance indicator."""

    id: str
    number: int
    title: str
    """Its name in the text."""
    title_en: str
    evidence: Literal["a", "b", "c", "d"]
    """a: register and telemetry; b: telemetry; c: telemetry and business data; d: declared."""
    answer: Literal["single", "multiple", "number", "none"] = "single"
    """How it is answered; number: by a figure alone; none: the text gives no rule to score it."""
    options: tuple[Option, ...] = ()
    weights: tuple[Decimal, ...] = ()
    """Percentages whose product is its weight."""
    weight_cites: tuple[Annotated[Cite, BeforeValidator(_pair)], ...] = ()
    """Where each weight stands, in their order."""
    indicator: str = ""
    """Id of the indicator that answers it."""
    otherwise: str = ""
    """Id of the indicator that answers it where the data of the other one cover too little of the time."""
    asks: tuple[str, ...] = ()
    """Ids of indicators and measures whose amounts the item asks for beside the option."""
    change: Literal["", "up", "down"] = ""
    """Which direction of the indicator's change between two periods is the better one; the first option is the worse.
    """
    not_involved: bool = False
    """Whether 不涉及此环节 may be chosen."""
    group: str = ""
    """The class or dimension that it stands in."""
    unit: str = ""


class SceneLevel(Entry):
    """What a scene asks for at one level or grade."""

    level: int = Field(ge=1, le=4)
    proof: str = ""
    partial: str = ""


class Scene(Entry):
    """One scene (业务场景, 典型场景)."""

    id: str
    number: int
    title: str
    title_en: str
    stage: str = ""
    """环节 that it belongs to."""
    binding: bool = False
    """约束性场景"""
    levels: tuple[SceneLevel, ...] = ()
    """Levels that the text describes; one that it marks / is not there."""
    of_2024: tuple[int, ...] = ()
    """Numbers of the 2024 scenes that it continues, by our reading."""
    mapping: Literal["", "same", "renamed", "merged", "part", "new"] = ""
    """How it continues them."""
    partial: str = ""
    """Id of the finding that proves a part of it."""


class Condition(Entry):
    """One thing that a grade asks for."""

    id: str
    kind: Literal["declared", "maturity", "score", "scenes", "segments", "kpi", "ai_share"]
    op: Literal["", ">", ">="] = ""
    value: Decimal | None = None
    segments: tuple[str, ...] = ()
    partial: str = ""
    advised: bool = False
    """Whether the text only advises it (建议): it is shown, and a grade does not fail for it."""


class Grade(Entry):
    """One level or grade of the whole (一级 … 四级; 基础级 … 领航级)."""

    id: str
    number: int
    title: str
    title_en: str
    points: Decimal | None = None
    """So many points are needed; see `points_op`."""
    points_op: Literal[">", ">="] = ">="
    scenes: int = 0
    """So many scenes must reach `scene_level`."""
    binding: int = 0
    """So many of them must be binding ones."""
    scene_level: int = 0
    conditions: tuple[Condition, ...] = ()


class Rule(Entry):
    """A rule of scoring, or a definition."""

    id: str
    term: str = ""


class Band(Entry):
    """A stretch of points inside a level: from `low` up to, not including, `high`."""

    level: int
    fit: str = ""
    """基本符合, 比较符合 or 非常符合."""
    low: Decimal
    high: Decimal
    low_open: bool = False
    """Whether `low` itself is outside."""


class Target(Entry):
    """A figure to show a plant against."""

    indicator: str
    percent: Decimal
    title: str
    title_en: str
    year: int
    secondary: bool = False
    """Whether the text is a digest of ours, not the document itself."""
    text_file: str = ""
    """The text whose lines are cited; empty: the rubric's."""


class Rubric(Entry):
    """One assessment's rubric."""

    id: str
    kind: Literal["questionnaire", "index", "scenes", "grades", "kpis", "targets"]
    title: str
    title_en: str
    number: str = ""
    """The document's number (文号)."""
    year: int
    text_file: str = "jiangsu-policy-compendium-2025.txt"
    """The text whose lines are cited."""
    rules: tuple[Rule, ...] = ()
    items: tuple[Item, ...] = ()
    scenes: tuple[Scene, ...] = ()
    grades: tuple[Grade, ...] = ()
    bands: tuple[Band, ...] = ()
    targets: tuple[Target, ...] = ()

    def item(self, name: str) -> Item:
        """Return an item by its id; LookupError names those there are."""
        found = next((item for item in self.items if item.id == name), None)
        if found is None:
            raise LookupError(f"{self.id} has no item {name!r}; it has {', '.join(i.id for i in self.items)}")
        return found


def rubric_ids() -> list[str]:
    """Return the ids of all rubrics, sorted."""
    folder = resources.files("config.rubrics")
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


@cache
def load_rubric(name: str) -> Rubric:
    """Return a rubric by its id; LookupError names those there are."""
    if name not in rubric_ids():
        raise LookupError(f"no rubric {name!r}; the rubrics are {', '.join(rubric_ids())}")
    text = resources.files("config.rubrics").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    table: dict[str, Any] = tomllib.loads(text, parse_float=Decimal)
    return Rubric.model_validate(table)

"""Frozen models of what stands beside the device register: processes, loops, meters, and what people declare."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from config.cells import Amount, Date, Number
from config.fields import Id, Model, YesNo
from config.measures import measure_of
from config.periods import period_days

Text = Annotated[str, Field(min_length=1)]
"""A cell that must not be empty."""

LEVELS: Mapping[str, str] = {
    "进出用能单位": "site", "用能单位": "site", "次级用能单位": "unit", "主要次级用能单位": "unit",
    "用能设备": "device", "主要用能设备": "device",
}  # fmt: skip
USES: Mapping[str, str] = {
    "消费": "consumption", "能源消费": "consumption", "工业生产消费": "consumption",
    "加工转换投入": "transformation_input", "加工转换产出": "transformation_output", "回收利用": "recovered",
}  # fmt: skip
KINDS: Mapping[str, str] = {"离散": "discrete", "离散型": "discrete", "流程": "process", "流程型": "process"}


def _word(words: Mapping[str, str]) -> BeforeValidator:
    """Return what reads a cell in Chinese as the word that it stands for."""
    return BeforeValidator(lambda value: words.get(value.strip(), value) if isinstance(value, str) else value)


def _period(value: str) -> str:
    period_days(value)
    return value.strip()


_QUOTED = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/", re.DOTALL)
_CHANGES = re.compile(
    r"\b(insert|update|delete|merge|drop|alter|create|truncate|grant|revoke|into|call|exec|execute|set|attach|pragma)\b",
    re.IGNORECASE,
)


def _select(query: str) -> str:
    bare = _QUOTED.sub(" ", query).strip().rstrip(";").rstrip()
    if not re.match(r"(select|with)\b", bare, re.IGNORECASE):
        raise ValueError("is no SELECT; write one SELECT, or WITH ... SELECT: a business system is only read")
    if ";" in bare:
        raise ValueError("is more than one statement; write one SELECT")
    if found := _CHANGES.search(bare):
        raise ValueError(f"has the word {found[0]}, which changes data; write one SELECT, a column of that name quoted")
    return query


class Process(Model):
    """One row of the register of processes (工序)."""

    process: Id
    name: str = ""
    key: YesNo = False
    """关键工序"""
    kind: Annotated[Literal["", "discrete", "process"], _word(KINDS)] = ""
    """Which rule of numerical control it is under; empty: the plant's kind."""
    excluded: str = ""
    """Why it does not count; empty: it counts."""
    approved_by: str = ""
    approved_at: Date | None = None
    columns: Mapping[str, str] = Field(default_factory=dict)
    """Further columns of the register, kept as they are."""


class Loop(Model):
    """One row of the register of control loops; its asset has the point of role `apc`."""

    loop: Id
    asset: Id
    name: str = ""
    process: str = ""
    excluded: str = ""
    approved_by: str = ""
    approved_at: Date | None = None
    columns: Mapping[str, str] = Field(default_factory=dict)


class Meter(Model):
    """One row of the register of meters; its point has a role `energy.<medium>` or `power.<medium>`."""

    meter: Id
    point: Id
    name: str = ""
    level: Annotated[Literal["site", "unit", "device"], _word(LEVELS)] = "site"
    """Of what it measures the whole: the site (进出用能单位), a part (次级用能单位), a device (用能设备)."""
    use: Annotated[
        Literal["consumption", "transformation_input", "transformation_output", "recovered"], _word(USES)
    ] = "consumption"
    """Where its amount stands in the energy tables 205-1 and 205-2."""
    excluded: str = ""
    approved_by: str = ""
    approved_at: Date | None = None
    columns: Mapping[str, str] = Field(default_factory=dict)


class Declared(Model):
    """One value that a person or a business system declares for a period."""

    period: Annotated[Text, AfterValidator(_period)]
    """2025, 2025-Q1, 2025-03, 2025-03-01, or two dates 2025-01-01/2025-06-30, both included."""
    measure: Annotated[Text, AfterValidator(lambda text: measure_of(text).id)]
    """Id of the measure (config/measures.py); a Chinese name becomes its id."""
    value: Amount
    unit: Text
    declared_by: Text
    declared_at: Date
    attachment: str = ""
    """File that shows it, below the plant's folder."""
    attachment_sha256: str = ""
    """Hash of the attachment; computed where the file is there."""
    factors: str = ""
    """Where the unit is tce: the set of coefficients it was converted with."""
    note: str = ""
    source: str = ""
    """The business system that it comes from; empty: business.csv."""


class SqlSource(Model):
    """A database that declared values are read from."""

    id: Id
    url: SecretStr
    """SQLAlchemy URL; may be `${env:NAME}` or `${file:PATH}`."""
    query: Annotated[Text, AfterValidator(_select)]
    """SELECT with the columns period, measure, value, unit, and declared_by and declared_at where it has them."""
    declared_by: str = ""
    """Who stands for its values where the query does not say."""


class Answer(Model):
    """One declared answer to an item of an assessment."""

    rubric: Text
    item: Text
    answer: Text
    """Number of the option, several joined by +; a level of a scene; 不涉及."""
    score: Number | None = None
    """Points that the plant gives itself inside the level, where the assessment asks for them."""
    declared_by: Text
    declared_at: Date
    attachment: str = ""
    attachment_sha256: str = ""
    note: str = ""

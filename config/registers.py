"""Frozen models of what stands beside the device register: processes, loops, meters, and what people declare."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from config.fields import Id, Model, YesNo

Text = Annotated[str, Field(min_length=1)]
"""A cell that must not be empty."""


class Process(Model):
    """One row of the register of processes (工序)."""

    process: Id
    name: str = ""
    key: YesNo = False
    """关键工序"""
    kind: Literal["", "discrete", "process"] = ""
    """Which rule of numerical control it is under; empty: the plant's kind."""
    excluded: str = ""
    """Why it does not count; empty: it counts."""
    approved_by: str = ""
    approved_at: dt.date | None = None
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
    approved_at: dt.date | None = None
    columns: Mapping[str, str] = Field(default_factory=dict)


class Meter(Model):
    """One row of the register of meters; its point has a role `energy.<medium>` or `power.<medium>`."""

    meter: Id
    point: Id
    name: str = ""
    level: Literal["site", "unit", "device"] = "site"
    """Of what it measures the whole: the site (进出用能单位), a part (次级用能单位), a device (用能设备)."""
    use: Literal["consumption", "transformation_input", "transformation_output", "recovered"] = "consumption"
    """Where its amount stands in the energy tables 205-1 and 205-2."""
    excluded: str = ""
    approved_by: str = ""
    approved_at: dt.date | None = None
    columns: Mapping[str, str] = Field(default_factory=dict)


class Declared(Model):
    """One value that a person or a business system declares for a period."""

    period: Text
    """2025, 2025-Q1, 2025-03, 2025-03-01, or two dates 2025-01-01/2025-06-30, both included."""
    measure: Text
    value: Decimal
    unit: Text
    declared_by: Text
    declared_at: dt.date
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
    query: Text
    """SELECT with the columns period, measure, value, unit, and declared_by and declared_at where it has them."""
    declared_by: str = ""
    """Who stands for its values where the query does not say."""


class Answer(Model):
    """One declared answer to an item of an assessment."""

    rubric: Text
    item: Text
    answer: Text
    """Number of the option, several joined by +; a level of a scene; 不涉及."""
    score: Decimal | None = None
    """Points that the plant gives itself inside the level, where the assessment asks for them."""
    declared_by: Text
    declared_at: dt.date
    attachment: str = ""
    attachment_sha256: str = ""
    note: str = ""

"""What the API answers, as models: JSON Schema for its clients, and a check of every answer.

Fields may be added within a version of the API; a client ignores those that it does not know.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class Answer(BaseModel):
    """Base of what is answered."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Both(Answer):
    """A message in both languages."""

    en: str
    zh: str


class Result(Answer):
    """One KPI of one subject and period."""

    kpi: str = Field(description="Id, see docs/kpis.md and docs/indicators.md")
    subject: str = Field(description="Asset, group or plant")
    period: str = Field(description='"total", or the shift, hour or day')
    start: str = Field(description="Instant (ISO 8601) with the plant's offset")
    end: str = Field(description="Instant; the period ends before it")
    value: float | None = Field(description="null: unknown, or refused; never 0 in its place")
    low: float | None = Field(description="The value if all unknown time were lost")
    high: float | None = Field(description="The value if all unknown time were productive")
    unit: str = Field(description='"1" for a share')
    numerator: float | None
    denominator: float | None
    coverage: float | None = Field(description="Part of the time that is known, 0 to 1; null where it does not apply")
    flags: Sequence[str] = Field(description="See docs/nomenclature.md")
    rule: str = Field(description="id@version of the rule, with the plant's own rules")


class Exact(Answer):
    """Value, n and N as fractions of whole numbers, as text: "2/3"."""

    value: str | None
    numerator: str | None
    denominator: str | None


class Input(Answer):
    """One amount that enters a figure, and where it comes from."""

    name: str
    value: float | None
    unit: str
    origin: Literal["register", "measured", "declared"]
    period: str
    declared_by: str
    declared_at: str | None
    attachment: str
    attachment_sha256: str
    coverage: float | None


class Member(Answer):
    """One row of a register behind n and N."""

    id: str
    name: str
    counted: bool = Field(description="Whether it stands in N")
    met: bool = Field(description="Whether it stands in n")
    reason: Both


class Figure(Result):
    """An indicator of one subject, with what is behind it."""

    title: str
    title_zh: str = Field(description="The official name, verbatim")
    evidence: Literal["a", "b", "c", "d"] = Field(
        description="a: register and telemetry; b: telemetry; c: telemetry and business data; d: declared"
    )
    exact: Exact
    inputs: Sequence[Input]
    members: Sequence[Member]
    missing: Sequence[Both] = Field(description="What is not there that the figure needs, with the next step")
    refused: Both | None = Field(description="Why its own rule refuses the figure")


class KindFigure(Figure):
    """An indicator of the devices of one kind."""

    kind: str


class Comparison(Answer):
    """One indicator in two periods."""

    kpi: str
    subject: str
    before: Figure
    after: Figure
    difference: float | None
    relative: float | None
    change: Literal["up", "same", "down"] | None


class Device(Answer):
    """One device: what counts, its three states, and how much of its planned time was known."""

    asset: str
    name: str
    kind: str
    counted: bool
    excluded: str = Field(description="Why it does not count; empty: it counts")
    connectable: bool = Field(description="It has an address in the point table")
    connected: bool = Field(description="It answered in the period")
    evidenced: bool = Field(description="Its data were known in as much of its planned time as the rule asks")
    share: float | None = Field(description="Known part of its planned time; null where none was planned")
    first_good: str | None
    last_good: str | None
    planned_ns: int = Field(description="[ns]")
    evidenced_ns: int = Field(description="[ns]")
    roles: Sequence[str] = Field(description="Roles of its points that were known in as much")


class Devices(Answer):
    """The device list of a period."""

    start: str
    end: str
    evidenced_share: float = Field(description="The plant's rule: share of planned time from which a device counts")
    devices: Sequence[Device]


class Indicators(Answer):
    """Indicators of a period, as `plantproof indicators --json` gives them."""

    results: Sequence[Figure]
    devices: Sequence[Device]
    comparisons: Sequence[Comparison]
    kinds: Sequence[KindFigure]
    tables: dict[str, Sequence[dict[str, Any]]] = Field(description="Energy tables 205-1 and 205-2, row by row")
    incomparable: dict[str, Both] = Field(description='Why "subject kpi" must not be compared')
    faults: Sequence[str] = Field(description="What of the declared values is left out")


class Cite(Answer):
    """Words of the text that an entry rests on."""

    line: int
    words: str


class Gap(Answer):
    """What is missing to the next level."""

    percent: float
    inclusive: bool
    numerator: int
    needed: int
    denominator: int
    more: int
    points: float | None
    candidates: Sequence[Both]


class Item(Answer):
    """One item, scene or condition, held against the plant."""

    id: str
    title: str
    cites: Sequence[Cite]
    status: str = Field(description="proven, partly proven, declared, not assessable ...")
    chosen: Sequence[int]
    options: Sequence[str]
    score: float | None
    points: float | None
    most: float | None
    met: bool | None
    figure: Figure | None
    comparison: Comparison | None
    answer: dict[str, Any] | None
    notes: Sequence[Both]
    missing: Sequence[Both]
    gap: Gap | None


class Grade(Answer):
    """A grade, and what it still lacks."""

    grade: str
    points: bool | None = Field(description="Whether the points are enough; null: it asks for none")
    scenes: bool | None = Field(description="Whether the scenes are enough; null: it asks for none")
    lacking: Sequence[Both]
    conditions: Sequence[Item]


class Target(Answer):
    """A target that the plant is shown against."""

    title: str
    percent: float
    year: int
    secondary: bool
    cites: Sequence[Cite]
    figure: Figure | None
    gap: Gap | None


class Assessment(Answer):
    """A rubric held against a period."""

    rubric: str
    title: str
    document: str
    start: str
    end: str
    total: float | None
    most: float | None
    by_status: dict[str, float] | None
    grade: str | None
    items: Sequence[Item]
    scenes: Sequence[Item]
    grades: Sequence[Grade]
    targets: Sequence[Target]
    faults: Sequence[str]


class Rubric(Answer):
    """An assessment that the plant can be held against."""

    id: str
    title: str = Field(description="Its name in the text, verbatim")
    document: str = Field(description="Number of the document")
    kind: str
    url: str


class Rubrics(Answer):
    """What the plant can be held against."""

    rubrics: Sequence[Rubric]


class Health(BaseModel):
    """That the server answers, and nothing else."""

    status: Literal["ok"]


RESULTS = TypeAdapter(Sequence[Result])
INDICATORS = TypeAdapter(Indicators)
DEVICES = TypeAdapter(Devices)
ASSESSMENT = TypeAdapter(Assessment)

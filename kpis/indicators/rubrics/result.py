"""What an assessment says of each item and of the whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from config.approvals import Approval
from config.registers import Answer
from config.rubrics import Condition, Grade, Item, Rubric, Scene, Target
from kpis.indicators.base import Figure, Grounds
from kpis.indicators.comparison import Comparison
from kpis.indicators.rubrics.findings import Finding
from kpis.indicators.said import Said

Status = Literal["proven", "partly proven", "declared", "not assessable"]
STATUSES: Mapping[Status, Said] = {
    "proven": Said("proven", "已证实"),
    "partly proven": Said("partly proven", "部分证实"),
    "declared": Said("declared", "自行申报"),
    "not assessable": Said("not assessable", "暂不能评定"),
}


@dataclass(frozen=True, slots=True)
class Case:
    """What a rubric is held against: the figures of a period and those of before, findings, and who stands for them."""

    grounds: Grounds
    figures: Mapping[str, Figure]
    """Of the whole plant, by indicator."""
    comparisons: Mapping[str, Comparison]
    incomparable: Mapping[str, Said]
    """Why figures of both periods must not be compared, by indicator."""
    findings: Mapping[str, Finding]
    approval: Approval | None
    """Who approved the registers as they are; None where nobody did."""


@dataclass(frozen=True, slots=True)
class Gap:
    """What is missing to the next band or to a target."""

    percent: Fraction
    """The share that is to be reached, or exceeded [%]."""
    inclusive: bool
    numerator: int
    needed: int
    """The fewest of the denominator that do."""
    denominator: int
    candidates: Sequence[Said]
    """Members that count and are not met, with what they lack."""
    points: Fraction | None = None
    """What the next band adds."""

    @property
    def more(self) -> int:
        """How many more are needed."""
        return max(0, self.needed - self.numerator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessed:
    """One item: where it stands, by whose word, and what is missing to prove it."""

    of: Item | Scene | Condition
    status: Status
    chosen: tuple[int, ...] = ()
    """Numbers of the options or the level that count."""
    score: Fraction | None = None
    """0 to 100, or the points inside the level of an index."""
    points: Fraction | None = None
    most: Fraction | None = None
    """The most points that it can give."""
    met: bool | None = None
    """Of a condition: whether it holds; None where nobody knows."""
    figure: Figure | None = None
    comparison: Comparison | None = None
    answer: Answer | None = None
    missing: Sequence[Said] = ()
    notes: Sequence[Said] = ()
    gap: Gap | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """One grade: whether it is reached, and what it lacks."""

    grade: Grade
    points: bool | None = None
    """Whether the points are enough; None where the grade asks for none."""
    scenes: bool | None = None
    lacking: Sequence[Said] = ()
    conditions: Sequence[Assessed] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """One target beside the figure that is held against it."""

    target: Target
    figure: Figure | None
    gap: Gap | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A rubric held against a plant's data and answers."""

    rubric: Rubric
    items: Sequence[Assessed] = ()
    scenes: Sequence[Assessed] = ()
    grades: Sequence[Reached] = ()
    total: Fraction | None = None
    """Points of the items that can be scored; the others count as 0."""
    most: Fraction | None = None
    """Points if all others gave what they can."""
    by_status: Mapping[Status, Fraction] | None = None
    """How many of the points each status stands for."""
    grade: Grade | None = None
    """The highest grade of which everything holds; None for none."""
    aims: Sequence[Aim] = ()
    faults: Sequence[str] = ()
    """Answers that could not be taken, each with the rule and the next step."""

"""What a request asks of a period, held against the plant."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from config.plant import Plant
from kpis.commands import bounded
from kpis.compute import subjects_of
from kpis.evidence.traces import Period
from kpis.indicators.comparison import before, year_before
from kpis.server.errors import ApiError, shown

LONGEST_DAYS = 5 * 366
"""A period that is longer is refused."""
_DAY_NS = 86_400_000_000_000
Compare = Literal["year", "previous", "none"]

Moment = Annotated[str, Field(max_length=64)]
_BOUND = "Date (start of that production day) or instant with an offset"


class OfPeriod(BaseModel):
    """The query of everything that is of a period; what it does not know is refused."""

    model_config = ConfigDict(extra="forbid")
    start: Moment = Field(alias="from", description=_BOUND, examples=["2026-11-01"])
    end: Moment = Field(alias="to", description=f"{_BOUND}; the period ends before it", examples=["2026-12-01"])


Assets = Annotated[
    list[Annotated[str, Field(max_length=200)]],
    Field(max_length=500, description="Assets, groups or the plant; may be repeated. Default: see the route"),
]


def period_of(plant: Plant, start: str, end: str) -> Period:
    """Return the period that a request names [ns since 1970, UTC]; raises ApiError."""
    try:
        first, last = bounded(plant, start), bounded(plant, end)
    except ValueError as error:
        raise ApiError.of(422, "invalid_period", str(error)) from error
    if last <= first:
        said = f"the period ends at {shown(end)}, not after it starts at {shown(start)}"
        raise ApiError(422, "invalid_period", said, "swap the two, or widen the period")
    if last - first > LONGEST_DAYS * _DAY_NS:
        said = f"the period has {(last - first) // _DAY_NS} days, and {LONGEST_DAYS} are the most"
        raise ApiError(422, "period_too_long", said, "ask for a shorter period")
    return first, last


def earlier(plant: Plant, period: Period, compare: Compare) -> Period | None:
    """Return the period that changes are told against; raises ApiError where there is none."""
    try:
        if compare == "year":
            return year_before(plant, period)
        return before(plant, period) if compare == "previous" else None
    except (ValueError, OverflowError) as error:
        said = "there is no such period before it to compare with"
        raise ApiError(422, "invalid_period", said, 'name another one, or compare with "none"') from error


def checked(plant: Plant, asked: Sequence[str]) -> list[str]:
    """Return the subjects asked for, each once; raises ApiError where one is unknown."""
    unknown = sorted(set(asked) - set(subjects_of(plant)))
    if unknown:
        named = ", ".join(shown(one) for one in unknown[:5])
        raise ApiError(
            404, "unknown_asset", f"{named}: neither an asset, nor a group, nor the plant", "see /api/v1/devices"
        )
    return list(dict.fromkeys(asked))

"""Routes of figures: KPIs, indicators, devices, rubrics."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import polars as pl
from fastapi import FastAPI, Query
from pydantic import Field
from starlette.responses import Response

from config.approvals import ApprovalError
from config.faults import ConfigError
from config.plant import Plant
from config.rubrics import load_rubric
from kpis import output
from kpis.catalogue.offers import kpis_of
from kpis.compute import Basis, Window, results, subjects_of
from kpis.evidence.contents import RUBRICS
from kpis.evidence.traces import Period
from kpis.factstore import amounts_of
from kpis.indicators import networking, objects
from kpis.indicators.base import Figure, Grounds
from kpis.indicators.case import Readings, case_of, compared, subjects_with_groups
from kpis.indicators.catalogue import figures, kinds
from kpis.indicators.energy_tables import table_205_1, table_205_2
from kpis.indicators.errors import InputError
from kpis.indicators.rubrics.assessment import TARGETS, aims, assess
from kpis.server import models
from kpis.server.asked import Assets, Compare, OfPeriod, checked, earlier, period_of
from kpis.server.at import At
from kpis.server.errors import ApiError, shown
from kpis.server.words import answers
from kpis.stores import StoreError

MOST_ROWS = 50_000
"""Of KPIs in one answer; about 15 MB."""
_HOURS: Mapping[str, float] = {"hour": 1, "shift": 4, "day": 24}
"""Length of the shortest periods that a cut makes [h]."""
T = TypeVar("T")


class OfKpis(OfPeriod):
    """The query of KPIs."""

    by: Literal["shift", "hour", "day", "total"] = Field("total", description="How the period is cut")
    asset: Assets = Field([], description="Assets, groups or the plant; may be repeated. Default: all of them")
    kpi: list[Annotated[str, Field(max_length=100)]] = Field(
        [], max_length=200, description="Ids of KPIs; may be repeated. Default: all"
    )


class OfIndicators(OfPeriod):
    """The query of indicators."""

    asset: Assets = Field([], description="Assets, groups or the plant; may be repeated. Default: plant and groups")
    compare: Compare = Field("none", description="With the same period a year ago, or the one before")
    kinds: bool = Field(False, description="Rates by kind of device as well")
    tables: bool = Field(False, description="The energy tables 205-1 and 205-2 as well")


class OfRubric(OfPeriod):
    """The query of an assessment."""

    compare: Compare = Field("year", description="With the same period a year ago, or the one before")


async def kpis(at: At, asked: Annotated[OfKpis, Query()]) -> Response:
    """KPIs of assets, groups and the plant, with bounds, n and N, and the part of the time that is known."""
    plant, period = at.plant, period_of(at.plant, asked.start, asked.end)
    subjects = checked(plant, asked.asset) or subjects_of(plant)
    _check_kpis(plant, asked.kpi)
    _check_rows(plant, period, asked, len(subjects))

    def work() -> list[dict[str, Any]]:
        amounts = said(lambda: amounts_of(plant, at.store, *period))
        rows = results(plant, Basis(amounts.facts, amounts.demand), Window(*period, asked.by), subjects)
        return output.objects(plant, rows.filter(pl.col("kpi").is_in(asked.kpi)) if asked.kpi else rows)

    return await at.works.answer(models.RESULTS, work)


def _check_kpis(plant: Plant, wanted: list[str]) -> None:
    unknown = sorted(set(wanted) - {kpi.id for kpi in kpis_of(plant)})
    if unknown:
        raise ApiError(404, "unknown_kpi", f"{shown(unknown[0])} is no KPI of this plant", "see docs/kpis.md")


def _check_rows(plant: Plant, period: Period, asked: OfKpis, subjects: int) -> None:
    cuts = 1 if asked.by == "total" else (period[1] - period[0]) / 3.6e12 / _HOURS[asked.by] + 2
    rows = int(cuts * subjects * (len(set(asked.kpi)) or len(kpis_of(plant))))
    if rows > MOST_ROWS:
        step = "ask for a shorter period, fewer assets or KPIs, or a coarser cut"
        raise ApiError(422, "too_many_rows", f"that may be {rows} rows, and {MOST_ROWS} are the most", step)


async def indicators(at: At, asked: Annotated[OfIndicators, Query()]) -> Response:
    """Indicators of the plant and its groups, each with n and N and the devices and declared values behind it."""
    plant, period = at.plant, period_of(at.plant, asked.start, asked.end)
    subjects = checked(plant, asked.asset) or subjects_with_groups(plant)
    before = earlier(plant, period, asked.compare)

    def work() -> dict[str, Any]:
        readings = Readings(plant, at.store)
        grounds = said(lambda: readings.grounds(period))
        found = figures(grounds, subjects)
        told = _told(grounds, found, asked, subjects) | {"faults": [str(fault) for fault in readings.faults]}
        if before is not None:
            was = figures(said(lambda: readings.grounds(before)), subjects)
            changes, refused = compared(_named(was), _named(found))
            told["comparisons"] = [objects.comparison_object(plant, one) for one in changes.values()]
            told["incomparable"] = {name: {"en": why.en, "zh": why.zh} for name, why in refused.items()}
        return told

    return await at.works.answer(models.INDICATORS, work)


def _told(grounds: Grounds, found: list[Figure], asked: OfIndicators, subjects: list[str]) -> dict[str, Any]:
    plant = grounds.plant
    of_kinds = kinds(grounds, subjects) if asked.kinds else []
    return {
        "results": [objects.figure_object(plant, one) for one in found],
        "devices": device_objects(plant, grounds.devices),
        "comparisons": [],
        "kinds": [{"kind": kind, **objects.figure_object(plant, one)} for kind, one in of_kinds],
        "tables": _tables(grounds) if asked.tables else {},
        "incomparable": {},
    }


def _tables(grounds: Grounds) -> dict[str, Any]:
    try:
        return {one.id: one.frame().to_dicts() for one in (table_205_1(grounds), table_205_2(grounds))}
    except InputError as error:
        raise ApiError.of(422, "tables_refused", f"tables 205-1 and 205-2: {error}") from error


def _named(found: list[Figure]) -> dict[str, Figure]:
    return {f"{one.subject} {one.indicator.id}": one for one in found}


async def devices(at: At, asked: Annotated[OfPeriod, Query()]) -> Response:
    """The device register: what counts, and whether each device is connectable, connected, evidenced."""
    plant, period = at.plant, period_of(at.plant, asked.start, asked.end)

    def work() -> dict[str, Any]:
        listed = said(lambda: networking.devices_of_store(plant, at.store, *period))
        start, end = (objects.iso(plant, moment) for moment in period)
        share = plant.networking.evidenced_share
        return {"start": start, "end": end, "evidenced_share": share, "devices": device_objects(plant, listed)}

    return await at.works.answer(models.DEVICES, work)


def device_objects(plant: Plant, listed: pl.DataFrame) -> list[dict[str, Any]]:
    """Return a device list as plain data; instants as ISO 8601 with the plant's offset."""

    def iso(moment: dt.datetime | None) -> str | None:
        return None if moment is None else moment.astimezone(plant.zone).isoformat()

    return [row | {name: iso(row[name]) for name in ("first_good", "last_good")} for row in listed.to_dicts()]


async def rubrics(at: At) -> models.Rubrics:
    """Assessments that the plant can be held against."""
    found = [load_rubric(name) for name in (*RUBRICS, TARGETS)]
    listed = [
        models.Rubric(id=one.id, title=one.title, document=one.number, kind=one.kind, url=f"/api/v1/rubrics/{one.id}")
        for one in found
    ]
    return models.Rubrics(rubrics=listed)


async def rubric(at: At, rubric: str, asked: Annotated[OfRubric, Query()]) -> Response:
    """How a period stands against one assessment, item by item, each with its citation and what is missing."""
    plant, period = at.plant, period_of(at.plant, asked.start, asked.end)
    if rubric not in (*RUBRICS, TARGETS):
        raise ApiError(404, "unknown_rubric", f"there is no rubric {shown(rubric)}", "see /api/v1/rubrics")
    before = earlier(plant, period, asked.compare)

    def work() -> dict[str, Any]:
        readings = Readings(plant, at.store)
        grounds = said(lambda: (readings.grounds(period), None if before is None else readings.grounds(before)))
        case = said(lambda: case_of(*grounds))
        held = aims(case) if rubric == TARGETS else assess(case, load_rubric(rubric))
        return objects.assessment_object(case, held)

    return await at.works.answer(models.ASSESSMENT, work)


def said(read: Callable[[], T]) -> T:
    """Return what `read` does; raises ApiError where what it reads cannot be read."""
    try:
        return read()
    except (StoreError, ConfigError, ApprovalError) as error:  # a calendar may want a library that is not installed
        raise ApiError.of(503, "store_unreadable", str(error), "look into the server's log") from error


def add(app: FastAPI) -> None:
    """Add the routes."""
    app.get("/api/v1/kpis", response_model=list[models.Result], **answers("kpis"))(kpis)
    app.get("/api/v1/indicators", response_model=models.Indicators, **answers("indicators"))(indicators)
    app.get("/api/v1/devices", response_model=models.Devices, **answers("devices"))(devices)
    app.get("/api/v1/rubrics", **answers("rubrics"))(rubrics)
    app.get("/api/v1/rubrics/{rubric}", response_model=models.Assessment, **answers("rubric"))(rubric)

"""The REST API over one plant: /health, /api/v1/kpis, /api/v1/indicators."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, HTTPException, Query

from config.faults import ConfigError
from config.plant import Plant
from kpis import output
from kpis.commands import bounded
from kpis.compute import Basis, Window, results, subjects_of
from kpis.factstore import amounts_of
from kpis.indicators.case import Readings, subjects_with_groups
from kpis.indicators.catalogue import figures
from kpis.indicators.objects import figure_object
from kpis.stores import Store, StoreError, opened

T = TypeVar("T")

Start = Annotated[str, Query(alias="from", description="Date or instant", examples=["2026-11-20"])]
End = Annotated[str, Query(alias="to", description="Date or instant; exclusive", examples=["2026-11-21"])]
Subjects = Annotated[list[str] | None, Query(alias="asset", description="Assets, groups or the plant")]


def make_app(plant: Plant, place: Path | Store) -> FastAPI:
    """Return the API of a plant whose samples lie in `place`: the lake's folder, or another store."""
    store = opened(place)
    app = FastAPI(title="PlantProof", version="1", docs_url=None, redoc_url=None)

    def checked(subjects: list[str] | None) -> list[str]:
        known = subjects_of(plant)
        unknown = sorted(set(subjects or []) - set(known))
        if unknown:
            raise HTTPException(404, f"{', '.join(unknown)}: neither an asset, nor a group, nor the plant")
        return subjects or known

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok", "plant": plant.id}

    @app.get("/api/v1/kpis")
    def kpis(
        start: Start, end: End, by: Literal["shift", "hour", "day", "total"] = "total", asset: Subjects = None
    ) -> list[dict[str, Any]]:
        first, last = _window(plant, start, end)
        subjects = checked(asset)
        amounts = _said(lambda: amounts_of(plant, store, first, last))
        basis = Basis(amounts.facts, amounts.demand)
        return output.objects(plant, results(plant, basis, Window(first, last, by), subjects))

    @app.get("/api/v1/indicators")
    def indicators(start: Start, end: End, asset: Subjects = None) -> dict[str, Any]:
        first, last = _window(plant, start, end)
        subjects = checked(asset) if asset else subjects_with_groups(plant)
        grounds = _said(lambda: Readings(plant, store).grounds((first, last)))
        found = figures(grounds, subjects)
        return {"results": [figure_object(plant, one) for one in found], "devices": grounds.devices.to_dicts()}

    return app


def _window(plant: Plant, start: str, end: str) -> tuple[int, int]:
    try:
        first, last = bounded(plant, start), bounded(plant, end)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    if last <= first:
        raise HTTPException(422, f"the period ends at {end}, not after it starts at {start}")
    return first, last


def _said(read: Callable[[], T]) -> T:
    try:
        return read()
    except (StoreError, ConfigError) as error:  # a calendar may want a library that is not installed
        raise HTTPException(503, str(error)) from error

"""A package's JSON files: what programs read of figures, KPIs, comparisons, assessments and declared values."""

import json
from typing import Any

from config.plant import Plant
from config.registers import Declared
from kpis import output
from kpis.evidence.contents import Contents
from kpis.evidence.layout import FORMAT
from kpis.evidence.traces import Period
from kpis.indicators import objects


def json_files(contents: Contents) -> dict[str, bytes]:
    """Return the bytes of indicators.json, assessments.json and declared.json."""
    files = {
        "indicators.json": indicators(contents),
        "assessments.json": assessments(contents),
        "declared.json": declared(contents),
    }
    return {name: output.to_json(said).encode() for name, said in files.items()}


def indicators(contents: Contents) -> dict[str, Any]:
    """Return figures of the plant and its groups, KPIs of every subject, and what changed against the period before."""
    plant, asked = contents.plant, contents.asked
    return {
        "format": FORMAT,
        "plant": {
            "id": plant.id,
            "name": plant.name,
            "timezone": plant.timezone,
            "day_start": plant.day_start.isoformat(),
        },
        "period": _period(plant, asked.period),
        "before": None if asked.before is None else _period(plant, asked.before),
        "results": [objects.figure_object(plant, one) for one in contents.figures],
        "kpis": output.objects(plant, contents.kpis),
        "kinds": [{"kind": kind, **objects.figure_object(plant, one)} for kind, one in contents.kinds],
        "comparisons": [objects.comparison_object(plant, one) for one in contents.comparisons.values()],
        "incomparable": {name: {"en": said.en, "zh": said.zh} for name, said in contents.incomparable.items()},
        "tables": {one.id: one.frame().to_dicts() for one in contents.energy_tables},
    }


def assessments(contents: Contents) -> dict[str, Any]:
    """Return the rubrics held against the figures, and the targets."""
    held = [objects.assessment_object(contents.case, one) for one in contents.assessments]
    return {
        "format": FORMAT,
        "rubrics": held,
        "targets": objects.assessment_object(contents.case, contents.targets),
    }


def declared(contents: Contents) -> dict[str, Any]:
    """Return every declared value that could enter a figure, with its origin and its attachment's hash."""
    rows = [row for some in contents.now.declared.rows.values() for row in some]
    return {"format": FORMAT, "rows": [row.model_dump(mode="json") for row in rows]}


def from_systems(data: bytes) -> list[Declared]:
    """Return the rows of declared.json that business systems gave; raises ValueError where one cannot be read."""
    rows = json.loads(data)["rows"]
    return [Declared(**row) for row in rows if row.get("source")]


def _period(plant: Plant, period: Period) -> dict[str, Any]:
    start, end = period
    return {
        "start": objects.iso(plant, start),
        "end": objects.iso(plant, end),
        "start_ns": start,
        "end_ns": end,
    }

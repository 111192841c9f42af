"""The plant's own files in a package, and the rules of PlantProof that its figures come from."""

import contextlib
import datetime as dt
import json
from collections.abc import Mapping
from importlib import metadata, resources
from pathlib import Path

from config import approvals, attachments, includes, load, maps, public_holidays
from config.factors import coal_factors, grid_factor
from config.plant import Plant
from kpis.evidence.archive import safe_name
from kpis.evidence.contents import Asked
from kpis.evidence.layout import SCHEMAS
from kpis.factstore import RULES as FACT_RULES
from kpis.indicators.rubrics.assessment import TARGETS


class PackageError(Exception):
    """A package cannot be built of this plant; the message says what to change."""


def config_files(root: Path) -> dict[str, bytes]:
    """Return plant.toml and the files of conf.d, every table that they or the point table name, attachments of what is
    declared, and approvals.

    By file name; they hold no secrets by rule.

    Raises PackageError where one of them lies outside the plant's folder, or plant.toml has another name.
    """
    try:
        text = (root / "plant.toml").read_bytes()
    except OSError as error:
        raise PackageError(f"{root}: plant.toml cannot be read ({error.strerror}); give the file that name") from error
    merged = includes.read(root / "plant.toml")
    table = merged.table
    plant = table.get("plant", {})
    tables = {name: plant.get(name, f"{name}.csv") for name in load.TABLES}
    named = [
        *merged.files[1:],
        *tables.values(),
        *attachments.files(root, {name: tables[name] for name in ("business", "answers")}),
    ]
    named += maps.files(root / plant.get("points", "points.csv"))
    named += [c["exceptions"] for c in table.get("calendar", []) if c.get("exceptions")]
    named += [path.relative_to(root).as_posix() for one in approvals.approvals(root) for path in _snapshot(one.folder)]
    for name in named:
        if not safe_name(name):
            raise PackageError(f"{name} lies outside the plant's folder; a package holds copies: move the file into it")
    found = {name: (root / name).read_bytes() for name in dict.fromkeys(named) if (root / name).is_file()}
    return {"plant.toml": text, **found}


def _snapshot(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def rule_files(plant: Plant, asked: Asked) -> dict[str, bytes]:
    """Return the versioned data of PlantProof that the figures come from, by file name: factors, state maps, rubrics.

    And the days off and make-up days of each calendar's country in the years of the period.
    """
    names = [f"factors/{coal_factors(plant.coal_factors).id}.toml", "states/builtin.toml"]
    names.append(f"factors/{grid_factor(plant.co2_factors)[0].id}.toml")
    names += [f"rubrics/{name}.toml" for name in dict.fromkeys((*asked.rubrics, TARGETS))]
    found = {name: resources.files("config").joinpath(name).read_bytes() for name in names}
    holidays = _holidays(plant, asked)
    return found if holidays is None else found | {"holidays.json": holidays}


def _holidays(plant: Plant, asked: Asked) -> bytes | None:
    regions = sorted({calendar.holidays for calendar in plant.calendars if calendar.holidays})
    if not regions:
        return None
    ends = [*asked.period, *(asked.before or ())]
    years = [dt.datetime.fromtimestamp(ns // 10**9, plant.zone).year for ns in ends]
    known = {
        region: {str(year): _days(region, year) for year in range(min(years), max(years) + 1)} for region in regions
    }
    return json.dumps(known, indent=1).encode()


def _days(region: str, year: int) -> Mapping[str, list[str]]:
    found = public_holidays.of_year(region, year)
    return {"off": sorted(map(str, found.off)), "worked": sorted(map(str, found.worked))}


def schema_files() -> dict[str, bytes]:
    """Return the JSON Schemas of a package's files."""
    folder = resources.files("kpis.evidence").joinpath("schemas")
    return {f"{SCHEMAS}{one.name}": one.read_bytes() for one in folder.iterdir() if one.name.endswith(".json")}


def versions(plant: Plant) -> dict[str, int | str]:
    """Return the versions that a package depends on: of PlantProof, of its rules for facts, of what writes workbooks,
    and of the library `holidays` where a calendar names a country."""
    found: dict[str, int | str] = {"plantproof": metadata.version("plantproof"), "rules": FACT_RULES}
    names = ["xlsxwriter", *(["holidays"] if any(calendar.holidays for calendar in plant.calendars) else [])]
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found

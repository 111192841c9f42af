"""A package's files -> the contents that they state."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from config.business import Declarations, declarations
from config.load import load_plant
from config.plant import Plant
from config.schema import DEMAND, FACT, RESULT, SAMPLE, require
from kpis.evidence.archive import safe_name
from kpis.evidence.contents import RUBRICS, Asked, Contents, grounds_of
from kpis.evidence.layout import BEFORE, CONFIG, DESCRIPTOR, FILES, FORMAT
from kpis.evidence.objects import from_systems
from kpis.evidence.traces import GAPS, PARTITIONS, TIMELINE, Period, Traces
from kpis.indicators.base import Grounds
from kpis.indicators.device_list import DEVICES

LONGEST_NS = 25 * 366 * 86_400_000_000_000
"""A period longer than this is not computed for whoever asks."""
MOST_ROWS = 30_000_000
"""More rows in a file of facts than thirty machines give in ten years: a bomb, which a few bytes can hold."""
STORES = ("lake", "influxdb")
_ABOUT = {
    "format", "plant", "timezone", "start_ns", "end_ns", "before_start_ns", "before_end_ns", "rubrics", "store",
    "samples", "samples_sha256", "extract_start_ns", "extract_end_ns", "config_sha256", "versions", "revision",
    "replaces", "ledger",
}  # fmt: skip
_SHA256 = re.compile("[0-9a-f]{64}")
_SCHEMAS: Mapping[str, Mapping[str, pl.DataType]] = {
    "facts": FACT, "demand": DEMAND, "devices": DEVICES, "gaps": GAPS, "partitions": PARTITIONS, "samples": SAMPLE,
    "timeline": TIMELINE, "shifts": RESULT,
}  # fmt: skip


class ContentError(ValueError):
    """A package's files are not those that a package has; the message names the file."""


@dataclass(frozen=True, slots=True)
class Content:
    """A package whose bytes are sound: its files, what its descriptor says, and what its data state."""

    files: Mapping[str, bytes]
    about: Mapping[str, Any]
    contents: Contents
    shifts: pl.DataFrame
    """KPIs by shift as the package states them."""

    @property
    def plant(self) -> Plant:
        """The plant of the configuration inside, whose folder holds that configuration."""
        return self.contents.plant


def about_of(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return what the descriptor says of a package; raises ContentError."""
    if DESCRIPTOR not in files:
        raise ContentError(f"the package is not complete: {DESCRIPTOR} is missing")
    about = json.loads(files[DESCRIPTOR]).get("plantproof")
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else None
        raise ContentError(f"{DESCRIPTOR}: the package is of format {found}, this version verifies format {FORMAT}")
    _check_about(about)
    return about


def _check_about(about: Mapping[str, Any]) -> None:
    """Raise ContentError where a descriptor says of a package what no builder says."""
    if strange := sorted(set(about) - _ABOUT):
        raise ContentError(f"{DESCRIPTOR}: {', '.join(strange)} is nothing that a package says of itself")
    revision, replaces = _whole(about, "revision"), about.get("replaces")
    if revision < 1 or (replaces is not None) != (revision > 1):
        raise ContentError(f"{DESCRIPTOR}: revision {revision} replaces {replaces!r}; each but the first replaces one")
    if replaces is not None and not _SHA256.fullmatch(_word(about, "replaces")):
        raise ContentError(f"{DESCRIPTOR}: replaces is {replaces!r}, no SHA-256")
    if (store := _word(about, "store")) not in STORES:
        raise ContentError(f"{DESCRIPTOR}: store is {store!r}; samples come from {' or '.join(STORES)}")
    found = about.get("versions")
    if not isinstance(found, dict) or any(type(one) not in (str, int) for one in found.values()):
        raise ContentError(f"{DESCRIPTOR}: versions are {found!r}, no table of words and numbers")


def read(files: Mapping[str, bytes], about: Mapping[str, Any], folder: Path) -> Content:
    """Return the content of a package, its configuration written into a folder.

    Raises ContentError, and whatever hostile content makes the loader, the readers or the schemas raise.
    """
    expected = {*FILES, *(BEFORE if "before_start_ns" in about else ()), f"{CONFIG}plant.toml"}
    if missing := sorted(expected - set(files)):
        raise ContentError(f"the package is not complete: {', '.join(missing)} is missing")
    plant = _plant(files, folder)
    asked = _asked(about)
    declared = _declared(plant, files["declared.json"])
    frames = {name: _frame(files, f"data/{name}.parquet", name) for name in _SCHEMAS}
    now = grounds_of(plant, asked.period, frames["devices"], frames["facts"], frames["demand"], declared)
    earlier = None if asked.before is None else _earlier(plant, files, asked.before, declared)
    traces = Traces(
        store=_word(about, "store"),
        samples=_whole(about, "samples"),
        partitions=frames["partitions"],
        gaps=frames["gaps"],
        extract=frames["samples"],
        extract_period=_period(about, "extract_"),
        timeline=frames["timeline"],
    )
    contents = Contents(plant=plant, asked=asked, now=now, earlier=earlier, traces=traces)
    return Content(files, about, contents, frames["shifts"])


def _plant(files: Mapping[str, bytes], folder: Path) -> Plant:
    for name, data in files.items():
        if name.startswith(CONFIG) and safe_name(name):
            target = folder / name.removeprefix(CONFIG)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    return load_plant(folder)


def _asked(about: Mapping[str, Any]) -> Asked:
    rubrics = about.get("rubrics")
    if not isinstance(rubrics, list) or not set(rubrics) <= set(RUBRICS):
        raise ContentError(f"{DESCRIPTOR}: rubrics are {rubrics!r}; this version knows {', '.join(RUBRICS)}")
    before = _period(about, "before_") if "before_start_ns" in about else None
    return Asked(period=_period(about, ""), before=before, rubrics=tuple(rubrics))


def _period(about: Mapping[str, Any], prefix: str) -> Period:
    start, end = (_whole(about, f"{prefix}{end}_ns") for end in ("start", "end"))
    if not -(2**63) <= start < end < 2**63 or end - start > LONGEST_NS:
        raise ContentError(f"{DESCRIPTOR}: the period is not [{prefix}start_ns, {prefix}end_ns), at most 25 years")
    return start, end


def _whole(about: Mapping[str, Any], key: str) -> int:
    value = about.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ContentError(f"{DESCRIPTOR}: {key} is {value!r}, no whole number")
    return value


def _word(about: Mapping[str, Any], key: str) -> str:
    value = about.get(key)
    if not isinstance(value, str):
        raise ContentError(f"{DESCRIPTOR}: {key} is {value!r}, no text")
    return value


def _declared(plant: Plant, data: bytes) -> Declarations:
    further = from_systems(data)
    known = {source.id for source in plant.business_sources}
    if strange := sorted({row.source for row in further} - known):
        raise ContentError(f"declared.json: {', '.join(strange)} is no business source of plant.toml")
    return declarations(plant, further)


def _earlier(plant: Plant, files: Mapping[str, bytes], period: Period, declared: Declarations) -> Grounds:
    devices, facts, demand = (
        _frame(files, f"data/before/{name}.parquet", name) for name in ("devices", "facts", "demand")
    )
    return grounds_of(plant, period, devices, facts, demand, declared)


def _frame(files: Mapping[str, bytes], path: str, schema: str) -> pl.DataFrame:
    data = io.BytesIO(files[path])
    rows = pl.scan_parquet(data).select(pl.len()).collect().item()  # told by the file's footer
    if rows > MOST_ROWS:
        raise ContentError(f"{path}: has {rows} rows, more than the {MOST_ROWS} that are looked at")
    frame = pl.read_parquet(data)
    known = require(frame, _SCHEMAS[schema], path)
    if schema == "facts":  # with columns for meters
        return frame
    if strange := sorted(set(frame.columns) - set(known.columns)):
        raise ContentError(f"{path}: has further columns: {', '.join(strange)}")
    return known

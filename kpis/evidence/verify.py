"""Verify an evidence package: structure, hashes, and every figure computed again.

From the facts inside the package always; from the lake's samples as well where a lake is given. An archive is opened
with caps, and nothing of it is written outside a temporary folder.
"""

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from config.faults import ConfigError
from config.load import load_plant
from config.plant import Plant
from config.schema import DEMAND, ELEMENTS, FACT, SAMPLE, require
from kpis import output
from kpis.evidence import ledger
from kpis.evidence.package import (
    DESCRIPTOR,
    FRAMES,
    MANIFEST,
    TABLES,
    config_files,
    csv_of,
    describe,
    devices_csv,
    figures,
    figures_from,
    manifest,
    pack,
    read_objects,
    safe_name,
    samples_hash,
    versions,
)
from kpis.facts import facts as compute_facts
from kpis.indicators import networking
from kpis.partitions import samples_of
from kpis.stores import Lake, StoreError
from kpis.stores.base import without_receive_time

MAX_ENTRIES = 1_000
MAX_BYTES = 2**30
TOLERANCE = 1e-12
"""Relative difference of a recomputed figure that another processor's rounding may make."""

_CANNOT_OPEN = (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError)
# What content that hashes well may still do to who reads it: the package may come from anyone.
_HOSTILE = (
    ArithmeticError, AttributeError, ConfigError, LookupError, OSError, RecursionError, TypeError, ValueError,
    pl.exceptions.PolarsError,
)  # fmt: skip


@dataclass(slots=True)
class Report:
    """What was checked, what a reader should know, and what was found wrong; no fault means verified."""

    checked: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Content:
    """A package whose bytes are sound, read into memory."""

    plant: Plant
    start: int
    end: int
    about: Mapping[str, Any]
    frames: Mapping[str, pl.DataFrame]
    stated: list[dict[str, Any]]


def verify(data: bytes, lake_path: Path | None = None) -> Report:
    """Check a package's bytes, and recompute its figures from its facts and, where given, from the lake.

    Bytes come first: nothing of a package is computed before every byte of it is accounted for.
    """
    report = Report()
    try:
        files = _open(data)
    except _CANNOT_OPEN as error:
        report.faults.append(f"not a package that can be opened: {error}")
        return report
    _check_bytes(files, report)
    if not report.faults and pack(files) != data:
        report.faults.append(
            "the archive is not written as the builder writes it: bytes between its files were changed"
        )
    if report.faults:
        return report
    with tempfile.TemporaryDirectory() as folder:
        try:
            _recompute(files, Path(folder), lake_path, report)
        except _HOSTILE as error:
            report.faults.append(f"the package's content cannot be computed with: {type(error).__name__}: {error}")
    return report


def _open(data: bytes) -> dict[str, bytes]:
    if not data.startswith(b"PK\x03\x04"):
        raise ValueError("it does not start as a zip")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        # Stored entries cannot hold more than the archive has, unless several share the same bytes.
        if len(entries) > MAX_ENTRIES or sum(e.file_size for e in entries) > min(len(data), MAX_BYTES):
            raise ValueError(f"more than {MAX_ENTRIES} entries, or more bytes than the archive has or {MAX_BYTES}")
        names = [e.filename for e in entries]
        if len(set(names)) != len(names):
            raise ValueError("an entry stands twice")
        for entry in entries:
            if not safe_name(entry.filename):
                raise ValueError(f"entry {entry.filename!r} leads out of the package")
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise ValueError(f"entry {entry.filename!r} is compressed; packages are stored as they are")
        return {e.filename: archive.read(e) for e in entries}


def _check_bytes(files: Mapping[str, bytes], report: Report) -> None:
    if MANIFEST not in files:
        report.faults.append(f"{MANIFEST} is missing")
        return
    lines = [line.partition("  ") for line in files[MANIFEST].decode("utf-8", "replace").splitlines()]
    listed = {name: digest for digest, _, name in lines}
    report.faults += [f"{name}: listed in the manifest, but missing" for name in sorted(set(listed) - set(files))]
    extra = set(files) - set(listed) - {MANIFEST}
    report.faults += [f"{name}: not listed in the manifest" for name in sorted(extra)]
    for name in sorted(set(listed) & set(files)):
        if hashlib.sha256(files[name]).hexdigest() != listed[name]:
            report.faults.append(f"{name}: its bytes do not match the manifest")
    if not report.faults and files[MANIFEST] != manifest({n: d for n, d in files.items() if n != MANIFEST}):
        report.faults.append(f"{MANIFEST} is not written as the builder writes it")
    if not report.faults:
        report.checked.append(f"{len(listed)} files match their SHA-256")


def _recompute(files: Mapping[str, bytes], folder: Path, lake_path: Path | None, report: Report) -> None:
    missing = sorted({*TABLES, DESCRIPTOR, "config/plant.toml"} - set(files))
    if missing:
        report.faults.append(f"the package is not complete: {', '.join(missing)} is missing")
        return
    content = _read(files, folder)
    _note_versions(content, report)
    _check_devices(content, report)
    _check_calendar(content, report)
    _check_descriptions(files, folder, content, report)
    facts, demand, devices = (content.frames[name] for name in FRAMES)
    again = figures_from(content.plant, facts, demand, devices, content.start, content.end)
    _compare(content.plant, content.stated, again, "the facts inside", report)
    if lake_path is not None:
        _from_lake(content, lake_path, report)


def _read(files: Mapping[str, bytes], folder: Path) -> _Content:
    for name, data in files.items():
        if name.startswith("config/"):
            target = folder / name.removeprefix("config/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    about = json.loads(files[DESCRIPTOR])["plantproof"]
    start, end = about["start_ns"], about["end_ns"]
    if not isinstance(start, int) or not isinstance(end, int) or not -(2**63) <= start < end < 2**63:
        raise ValueError(f"{DESCRIPTOR}: the period is not [start_ns, end_ns)")
    frames = {name: pl.read_parquet(files[f"data/{name}.parquet"]) for name in FRAMES}
    require(frames["facts"], FACT, "data/facts.parquet")
    require(frames["demand"], DEMAND, "data/demand.parquet")
    return _Content(load_plant(folder), start, end, about, frames, read_objects(files["indicators.json"]))


def _note_versions(content: _Content, report: Report) -> None:
    """Say which versions differ from those that the package was built with: figures may differ for that alone."""
    own = versions(content.plant)
    for key, name in (("rules", "rules for facts"), ("holidays", "library holidays")):
        built = content.about.get(key)
        if built is not None and built != own.get(key):
            here = repr(own[key]) if key in own else "none"
            report.notes.append(f"built with {name} {built!r}, verified with {here}: figures may differ for that alone")


def _check_descriptions(files: Mapping[str, bytes], folder: Path, content: _Content, report: Report) -> None:
    """Hold what people read (CSV, descriptor) against what was computed, and names against what a builder writes."""
    configured = {f"config/{name}" for name in config_files(folder)}
    report.faults += [
        f"{name}: is no file of an evidence package"
        for name in sorted(set(files) - configured - {*TABLES, DESCRIPTOR, MANIFEST, ledger.FILE})
    ]
    tables = {"indicators.csv": csv_of(content.stated), "devices.csv": devices_csv(content.frames["devices"])}
    for name, written in tables.items():
        if files[name] != written:
            report.faults.append(f"{name}: says other than {name.removesuffix('.csv')} in the package's data")
    cited = ledger.events(files[ledger.FILE]) if ledger.FILE in files else None
    if content.about.get("ledger") != cited:
        report.faults.append(f"{DESCRIPTOR}: counts other events than {ledger.FILE} has")
    elif cited is not None:
        report.checked.append(f"{sum(cited.values())} entries of the agent's ledger are those that the package counts")
    resources = {name: data for name, data in files.items() if name not in (DESCRIPTOR, MANIFEST)}
    if json.loads(files[DESCRIPTOR]) != describe(content.plant, resources, content.about):
        report.faults.append(f"{DESCRIPTOR}: does not describe the files of this package")


def _check_devices(content: _Content, report: Report) -> None:
    """Hold the device list against the register: who counts, who has an address, who passes the share."""
    listed, plant = content.frames["devices"], content.plant
    none = pl.DataFrame(schema=dict(SAMPLE))
    expected = networking.devices(plant, none, content.start, content.end)
    require(listed, expected.schema, "data/devices.parquet")
    same = ["asset", "name", "kind", "counted", "excluded", "connectable"]
    if not listed.select(same).equals(expected.select(same)):
        report.faults.append("data/devices.parquet: the register inside gives another list of devices")
        return
    times = listed.select("evidenced_ns", "planned_ns").rows()
    if listed["evidenced"].to_list() != [networking.passes(plant, *pair) for pair in times]:
        report.faults.append("data/devices.parquet: `evidenced` does not follow from the share of planned time")
    elif listed["share"].to_list() != [known / planned if planned else None for known, planned in times]:
        report.faults.append("data/devices.parquet: `share` does not follow from the times")
    else:
        report.checked.append(f"{listed.height} devices are those of the register inside")


def _check_calendar(content: _Content, report: Report) -> None:
    """Hold the facts' planned time and ideal cycles against the calendar and register inside."""
    none = pl.DataFrame(schema=dict(SAMPLE))
    planned = pl.sum_horizontal(pl.col(ELEMENTS)).sum().alias("planned_operation")
    times = [
        frame.group_by("asset", "shift").agg(planned, pl.sum("break"), pl.sum("unscheduled")).sort("asset", "shift")
        for frame in (content.frames["facts"], compute_facts(content.plant, none, content.start, content.end))
    ]
    if not times[0].equals(times[1]):
        report.faults.append("data/facts.parquet: its planned time does not follow from the calendar inside")
    for row in content.frames["facts"].select("asset", "product", "ideal_cycle").unique().sort(pl.all()).to_dicts():
        asset = next((a for a in content.plant.assets if a.asset == row["asset"]), None)
        told = asset is not None and any(p.role == "ideal_cycle" for p in content.plant.points_of(asset.asset))
        if asset is not None and not told and row["ideal_cycle"] != content.plant.ideal_cycle(asset, row["product"]):
            report.faults.append(
                f"data/facts.parquet: ideal cycle of {row['asset']} is not that of the register inside"
            )


def _from_lake(content: _Content, lake_path: Path, report: Report) -> None:
    plant, about, start, end = content.plant, content.about, content.start, content.end
    try:
        samples = samples_of(plant, Lake(lake_path), start, end)
    except StoreError as error:
        report.faults.append(f"the lake cannot be read: {error}")
        return
    if about.get("store") == "influxdb":
        samples = without_receive_time(samples)
    if samples_hash(samples) != about["samples_sha256"]:
        report.faults.append(
            f"the lake's samples differ: it has {samples.height} rows, the package was built from {about['samples']}"
        )
    else:
        report.checked.append(f"{samples.height} samples of the lake are those of the package")
    computed = figures(plant, samples, start, end)
    for name, frame in (("facts", computed.facts), ("demand", computed.demand), ("devices", computed.devices)):
        if not frame.equals(content.frames[name], null_equal=True):
            report.faults.append(f"data/{name}.parquet: the lake gives other {name}")
        else:
            report.checked.append(f"{frame.height} rows of {name} follow from the lake")
    _compare(plant, content.stated, computed.results, "the lake", report)


def _compare(plant: Plant, stated: list[dict[str, Any]], again: pl.DataFrame, source: str, report: Report) -> None:
    computed = json.loads(output.to_json(output.objects(plant, again)))
    before = len(report.faults)
    if len(stated) != len(computed):
        report.faults.append(f"the package states {len(stated)} figures, {source} gives {len(computed)}")
    for mine, theirs in zip(computed, stated, strict=False):
        differing = [key for key in mine | theirs if not _same(mine.get(key), theirs.get(key))]
        report.faults += [
            f"{mine['kpi']} of {mine['subject']}, {mine['period']}: {key} is stated as {theirs.get(key)}, "
            f"{source} gives {mine.get(key)}"
            for key in differing
        ]
    if len(report.faults) == before:
        report.checked.append(f"{len(computed)} figures follow from {source}")


def _same(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, int | float):
        return abs(a - b) <= TOLERANCE * max(abs(a), abs(b))
    return a == b

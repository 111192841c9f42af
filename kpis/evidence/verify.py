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
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
from config.load import load_plant

from config.plant import Plant
from kpis import output
from kpis.evidence.package import MANIFEST, figures, figures_from, pack, read_objects, samples_hash
from kpis.stores import lake

MAX_ENTRIES = 1_000
MAX_BYTES = 2**30
TOLERANCE = 1e-12
"""Relative difference of a recomputed figure that another processor's rounding may make."""


@dataclass(slots=True)
class Report:
    """What was checked, and what was found wrong; no fault means verified."""

    checked: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def verify(data: bytes, lake_path: Path | None = None) -> Report:
    """Check a package's bytes, and recompute its figures from its facts and, where given, from the lake."""
    report = Report()
    try:
        files = _open(data)
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        report.faults.append(f"not a package that can be opened: {error}")
        return report
    if pack(files) != data:
        report.faults.append(
            "the archive is not written as the builder writes it: bytes between its files were changed"
        )
    _check_bytes(files, report)
    if report.faults:
        return report
    with tempfile.TemporaryDirectory() as folder:
        _recompute(files, Path(folder), lake_path, report)
    return report


def _open(data: bytes) -> dict[str, bytes]:
    if not data.startswith(b"PK\x03\x04"):
        raise ValueError("it does not start as a zip")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if len(entries) > MAX_ENTRIES or sum(e.file_size for e in entries) > MAX_BYTES:
            raise ValueError(f"more than {MAX_ENTRIES} entries or {MAX_BYTES} bytes")
        names = [e.filename for e in entries]
        if len(set(names)) != len(names):
            raise ValueError("an entry stands twice")
        for entry in entries:
            path = PurePosixPath(entry.filename)
            if path.is_absolute() or ".." in path.parts or "\\" in entry.filename:
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
    report.checked.append(f"{len(listed)} files match their SHA-256")


def _recompute(files: Mapping[str, bytes], folder: Path, lake_path: Path | None, report: Report) -> None:
    try:
        about = json.loads(files["datapackage.json"])["plantproof"]
        for name, content in files.items():
            if name.startswith("config/"):
                (folder / name.removeprefix("config/")).write_bytes(content)
        plant = load_plant(folder)
        frames = {n: pl.read_parquet(files[f"data/{n}.parquet"]) for n in ("facts", "demand", "devices")}
        stated = read_objects(files["indicators.json"])
    except (KeyError, ValueError, OSError, pl.exceptions.PolarsError) as error:
        report.faults.append(f"the package is not complete: {error!r}")
        return
    start, end = int(about["start_ns"]), int(about["end_ns"])
    again = figures_from(plant, frames["facts"], frames["demand"], frames["devices"], start, end)
    _compare(plant, stated, again, "the facts inside", report)
    if lake_path is not None:
        _from_lake(plant, lake_path, about, frames, stated, report)


def _from_lake(
    plant: Plant,
    lake_path: Path,
    about: Mapping[str, Any],
    frames: Mapping[str, pl.DataFrame],
    stated: list[dict[str, Any]],
    report: Report,
) -> None:
    start, end = int(about["start_ns"]), int(about["end_ns"])
    samples = lake.read(lake_path, [p.point for p in plant.points], start, end)
    if samples_hash(samples) != about["samples_sha256"]:
        report.faults.append(
            f"the lake's samples differ: it has {samples.height} rows, the package was built from {about['samples']}"
        )
    else:
        report.checked.append(f"{samples.height} samples of the lake are those of the package")
    computed = figures(plant, samples, start, end)
    for name, frame in (("facts", computed.facts), ("demand", computed.demand), ("devices", computed.devices)):
        if not frame.equals(frames[name], null_equal=True):
            report.faults.append(f"data/{name}.parquet: the lake gives other {name}")
        else:
            report.checked.append(f"{frame.height} rows of {name} follow from the lake")
    _compare(plant, stated, computed.results, "the lake", report)


def _compare(plant: Plant, stated: list[dict[str, Any]], again: pl.DataFrame, source: str, report: Report) -> None:
    computed = json.loads(output.to_json(output.objects(plant, again)))
    before = len(report.faults)
    if len(stated) != len(computed):
        report.faults.append(f"the package states {len(stated)} figures, {source} gives {len(computed)}")
    for mine, theirs in zip(computed, stated, strict=False):
        differing = [key for key in mine if not _same(mine[key], theirs.get(key))]
        report.faults += [
            f"{mine['kpi']} of {mine['subject']}, {mine['period']}: {key} is stated as {theirs.get(key)}, "
            f"{source} gives {mine[key]}"
            for key in differing
        ]
    if len(report.faults) == before:
        report.checked.append(f"{len(computed)} figures follow from {source}")


def _same(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, int | float):
        return abs(a - b) <= TOLERANCE * max(abs(a), abs(b))
    return a == b

"""Build an evidence package: figures, the facts and registers behind them, and a hash of every file.

A zip that is byte-identical for the same input: entries in order of name, with a fixed time, from files that name no
clock and no path. datapackage.json follows Data Package v2 (datapackage.org); `sha256sum -c manifest-sha256.txt`
checks the unpacked folder.
"""

import contextlib
import hashlib
import io
import json
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import polars as pl

from config import attachments, load, maps
from config.plant import Plant
from config.schema import RESULT, SAMPLE
from kpis import output
from kpis.compute import Basis, Window, results, subjects_of
from kpis.demand import demand
from kpis.evidence import ledger
from kpis.facts import facts
from kpis.factstore import RULES
from kpis.indicators import networking
from kpis.partitions import samples_of
from kpis.stores import Store, opened

FORMAT = 1
MANIFEST = "manifest-sha256.txt"
DESCRIPTOR = "datapackage.json"
FRAMES = ("facts", "demand", "devices")
TABLES = ("indicators.json", "indicators.csv", "devices.csv", *(f"data/{name}.parquet" for name in FRAMES))
"""Every file of a package besides the plant's configuration, its descriptor and its manifest."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


class PackageError(Exception):
    """A package cannot be built of this plant; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that a package states and a verifier computes again."""

    facts: pl.DataFrame
    demand: pl.DataFrame
    devices: pl.DataFrame
    results: pl.DataFrame


def figures(plant: Plant, samples: pl.DataFrame, start: int, end: int) -> Figures:
    """Compute a package's figures from samples; [start, end) in [ns since 1970, UTC]."""
    of_facts, of_demand = facts(plant, samples, start, end), demand(plant, samples, start, end)
    devices = networking.devices(plant, samples, start, end)
    return Figures(of_facts, of_demand, devices, figures_from(plant, of_facts, of_demand, devices, start, end))


def figures_from(
    plant: Plant, of_facts: pl.DataFrame, of_demand: pl.DataFrame, devices: pl.DataFrame, start: int, end: int
) -> pl.DataFrame:
    """Return the RESULT rows of a package from its facts, demand and device list: total and per shift."""
    basis = Basis(of_facts, of_demand)
    subjects = subjects_of(plant)
    rated = networking.rates(plant, devices, start, end, subjects)
    by_period = [results(plant, basis, Window(start, end, by), subjects) for by in ("total", "shift")]
    return pl.concat([rated, *by_period])


def build(plant: Plant, place: Path | Store, start: int, end: int) -> bytes:
    """Return the package of [start, end) [ns since 1970, UTC] as the bytes of a zip.

    place: the lake's folder, or another store.
    Raises StoreError where the samples cannot be read, PackageError where the plant's files lie elsewhere, OSError
    where the ledger cannot be read.
    """
    store = opened(place)
    samples = samples_of(plant, store, start, end)
    computed = figures(plant, samples, start, end)
    files: dict[str, bytes] = {f"config/{name}": data for name, data in config_files(plant.root).items()}
    stated = output.objects(plant, computed.results)
    files["indicators.json"] = output.to_json(stated).encode()
    files["indicators.csv"] = csv_of(stated)
    files["devices.csv"] = devices_csv(computed.devices)
    for name, frame in (("facts", computed.facts), ("demand", computed.demand), ("devices", computed.devices)):
        files[f"data/{name}.parquet"] = _parquet(frame)
    about: dict[str, Any] = {
        "start_ns": start,
        "end_ns": end,
        "store": store.kind,
        "samples": samples.height,
        "samples_sha256": samples_hash(samples),
        **versions(plant),
    }
    cited = ledger.extract(plant, start, end)
    if cited is not None:
        files[ledger.FILE] = cited
        about["ledger"] = ledger.events(cited)
    files[DESCRIPTOR] = output.to_json(describe(plant, files, about)).encode()
    files[MANIFEST] = manifest(files)
    return pack(files)


def versions(plant: Plant) -> dict[str, int | str]:
    """Return what figures depend on beside samples and configuration: the version of the rules, and that of the
    library `holidays` where a calendar names a country."""
    found: dict[str, int | str] = {"rules": RULES}
    if any(calendar.holidays for calendar in plant.calendars):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found["holidays"] = metadata.version("holidays")
    return found


def config_files(root: Path) -> dict[str, bytes]:
    """Return plant.toml, every table that it or its point table names, and the attachments of what is declared.

    By file name; they hold no secrets by rule.

    Raises PackageError where one of them lies outside the plant's folder, or plant.toml has another name.
    """
    try:
        text = (root / "plant.toml").read_bytes()
    except OSError as error:
        raise PackageError(f"{root}: plant.toml cannot be read ({error.strerror}); give the file that name") from error
    table = tomllib.loads(text.decode("utf-8-sig"))
    plant = table.get("plant", {})
    tables = {name: plant.get(name, f"{name}.csv") for name in load.TABLES}
    named = [*tables.values(), *attachments.files(root, {name: tables[name] for name in ("business", "answers")})]
    named += maps.files(root / plant.get("points", "points.csv"))
    named += [c["exceptions"] for c in table.get("calendar", []) if c.get("exceptions")]
    for name in named:
        if not safe_name(name):
            raise PackageError(f"{name} lies outside the plant's folder; a package holds copies: move the file into it")
    found = {name: (root / name).read_bytes() for name in dict.fromkeys(named) if (root / name).is_file()}
    return {"plant.toml": text, **found}


def safe_name(name: str) -> bool:
    """Return whether a file's name stays inside the folder that it is written into, on any system."""
    parts = name.split("/")
    return bool(name) and name.isprintable() and not {"", ".", ".."} & set(parts) and not set(name) & {"\\", ":"}


def describe(plant: Plant, files: Mapping[str, bytes], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Data Package descriptor: one resource a file, and what is needed to compute the figures again.

    about: `start_ns` and `end_ns` of the period, the `store` that was read, number and hash of its `samples`, how often
    each event stands in the `ledger`, and the `versions`.
    """
    resources = [
        {
            "name": name.replace("/", "-").replace(".", "-").lower(),
            "path": name,
            "format": name.rsplit(".", 1)[-1],
            "bytes": len(data),
            "hash": f"sha256:{hashlib.sha256(data).hexdigest()}",
        }
        for name, data in sorted(files.items())
    ]
    return {
        "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
        "name": f"plantproof-evidence-{plant.id.replace('/', '-')}".lower(),
        "title": f"{plant.name or plant.id}",
        "resources": resources,
        "plantproof": {
            "format": FORMAT,
            "plant": plant.id,
            "timezone": plant.timezone,
            **{key: about[key] for key in ("start_ns", "end_ns", "samples", "samples_sha256")},
            # Packages of before stores could differ do not name theirs: it was the lake. Without the agent's spool at
            # hand there is no ledger; older packages do not name versions.
            **{key: about[key] for key in ("store", "ledger", "rules", "holidays") if key in about},
        },
    }


def samples_hash(samples: pl.DataFrame) -> str:
    """Return the SHA-256 of samples in their canonical order and writing, whatever files they lay in."""
    ordered = samples.sort(list(SAMPLE), nulls_last=False)
    exact = ordered.with_columns(
        pl.col("ts", "ts_recv").to_physical(), pl.col("value").map_batches(_bits, return_dtype=pl.Int64)
    )
    return hashlib.sha256(exact.write_csv(quote_style="non_numeric").encode()).hexdigest()


def _bits(value: pl.Series) -> pl.Series:
    bits = pl.Series(value.fill_null(0.0).to_numpy().view("int64"))
    return bits.zip_with(value.is_not_null(), pl.Series([None] * len(value), dtype=pl.Int64))


def manifest(files: Mapping[str, bytes]) -> bytes:
    """Return the manifest's bytes, as `sha256sum -c` reads them."""
    lines = (f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    return "".join(lines).encode()


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return a zip of the files that depends on nothing but their names and bytes.

    Stored, not deflated: the bytes do not depend on a version of zlib, so a verifier can pack again and compare.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def csv_of(stated: Sequence[Mapping[str, Any]]) -> bytes:
    """Return RESULT objects as CSV with a byte order mark, for Excel."""
    columns = {name: pl.String if name in ("start", "end") else dtype for name, dtype in RESULT.items()}
    flat = pl.DataFrame([dict(one) for one in stated], schema=columns)
    return flat.with_columns(pl.col("flags").list.join(" ")).write_csv().encode("utf-8-sig")


def devices_csv(devices: pl.DataFrame) -> bytes:
    """Return the device list as CSV with a byte order mark, for Excel."""
    lists = [name for name, dtype in devices.schema.items() if isinstance(dtype, pl.List)]
    return devices.with_columns(pl.col(lists).list.join(" ")).write_csv().encode("utf-8-sig")


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def read_objects(data: bytes) -> list[dict[str, Any]]:
    """Return the RESULT objects of an indicators.json."""
    objects: list[dict[str, Any]] = json.loads(data)
    return objects

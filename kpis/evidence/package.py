"""Build an evidence package: figures, what they follow from, and a hash of every file.

Byte-identical for the same input: a package names no clock and no path. Its format is told in docs/evidence.md.
"""

import io
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any

import polars as pl

from config.faults import Fault
from config.plant import Plant
from kpis import output
from kpis.evidence import history, ledger, report, signature
from kpis.evidence.archive import manifest, pack, sha256
from kpis.evidence.configuration import PackageError, config_files, rule_files, schema_files, versions
from kpis.evidence.contents import Asked, Contents
from kpis.evidence.descriptor import describe
from kpis.evidence.gather import gather
from kpis.evidence.keys import Signer
from kpis.evidence.layout import CONFIG, DESCRIPTOR, FORMAT, LEDGER, MANIFEST, RULES, SIGNATURE
from kpis.evidence.objects import json_files
from kpis.evidence.progress import Progress, part_of, unwatched
from kpis.evidence.provenance import provenance
from kpis.evidence.readme import readme
from kpis.evidence.tables import csv_files
from kpis.evidence.workbook import workbook
from kpis.indicators.base import Grounds
from kpis.scale import begun
from kpis.stores import Store

__all__ = ["PackageError", "build"]


def build(
    plant: Plant,
    store: Store,
    asked: Asked,
    *,
    signer: Signer | None = None,
    progress: Progress | None = None,
    faults: list[Fault] | None = None,
    executor: Executor | None = None,
) -> bytes:
    """Return the package of a period as the bytes of a zip, and note its revision below the plant's folder.

    faults: takes rows of business systems that are left out. executor: does beside what can be done beside.
    Raises StoreError where samples or declared values cannot be read, PackageError where the plant's files lie
    elsewhere, HistoryFault where its revision cannot be noted, OSError where the ledger cannot be read.
    """
    told = progress or unwatched
    history.ready(plant)
    configured = {f"{CONFIG}{name}": data for name, data in config_files(plant.root).items()}
    contents = gather(plant, store, asked, part_of(told, 0.0, 0.7), faults, executor)
    files = configured | stated_files(contents, part_of(told, 0.7, 1.0), executor) | data_files(contents)
    files |= {f"{RULES}{name}": data for name, data in rule_files(plant, asked).items()} | schema_files()
    cited = ledger.extract(plant, *asked.period)
    if cited is not None:
        files[LEDGER] = cited
    package = _sealed(contents, files, cited, signer)
    told("done", 1.0)
    return package


def _sealed(contents: Contents, files: dict[str, bytes], cited: bytes | None, signer: Signer | None) -> bytes:
    plant, period = contents.plant, contents.asked.period
    first = _described(contents, files, about_of(contents, 1, None, cited))
    revision = history.next_revision(plant, period, sha256(first[MANIFEST]))
    about = about_of(contents, revision.number, revision.replaces, cited)
    files = _described(contents, files, about)
    if signer is not None:
        files[SIGNATURE] = signature.envelope(files[MANIFEST], about, signer)
    history.record(plant, period, revision, sha256(files[MANIFEST]))
    return pack(files)


def _described(contents: Contents, files: Mapping[str, bytes], about: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files with those that describe them."""
    plant, whole = contents.plant, dict(files)
    whole["provenance.json"] = output.to_json(provenance(plant, whole, about, contents.case.approval)).encode()
    whole[DESCRIPTOR] = output.to_json(describe(plant, whole, about)).encode()
    return whole | {MANIFEST: manifest(whole)}


def about_of(contents: Contents, revision: int, replaces: str | None, cited: bytes | None) -> dict[str, Any]:
    """Return what the descriptor says of a package beside its files.

    replaces: SHA-256 of the manifest of the revision before. cited: the ledger's extract.
    """
    plant, asked, traces = contents.plant, contents.asked, contents.traces
    start, end = asked.period
    before = {} if asked.before is None else dict(zip(("before_start_ns", "before_end_ns"), asked.before, strict=True))
    extract = dict(zip(("extract_start_ns", "extract_end_ns"), traces.extract_period, strict=True))
    return {
        "format": FORMAT,
        "plant": plant.id,
        "timezone": plant.timezone,
        "start_ns": start,
        "end_ns": end,
        **before,
        "rubrics": list(asked.rubrics),
        "store": traces.store,
        "samples": traces.samples,
        "samples_sha256": sha256(traces.partitions.write_csv().encode()),
        **extract,
        "config_sha256": sha256(manifest(config_files(plant.root))),
        "versions": versions(plant),
        "revision": revision,
        **({} if replaces is None else {"replaces": replaces}),
        # Without the agent's spool at hand there is no ledger.
        **({} if cited is None else {"ledger": ledger.events(cited)}),
    }


def stated_files(
    contents: Contents, progress: Progress = unwatched, executor: Executor | None = None
) -> dict[str, bytes]:
    """Return the files that state what follows from a package's data: a verifier makes them again."""
    progress("figures", 0.0)
    written = begun(executor, workbook, contents)
    files = json_files(contents) | csv_files(contents) | {"README.txt": readme(contents)}
    for share, lang, name in ((0.1, "zh", "report.html"), (0.4, "en", "report.en.html")):
        progress("report", share)
        files[name] = report.render(contents, "zh" if lang == "zh" else "en")
    progress("workbook", 0.6)
    return files | {"workbook.xlsx": written()}


def data_files(contents: Contents) -> dict[str, bytes]:
    """Return the Parquet files of a package."""
    traces = contents.traces
    frames = _of(contents.now) | {
        "gaps": traces.gaps,
        "partitions": traces.partitions,
        "samples": traces.extract,
        "timeline": traces.timeline,
        "shifts": contents.shifts,
    }
    if contents.earlier is not None:
        frames |= {f"before/{name}": frame for name, frame in _of(contents.earlier).items()}
    return {f"data/{name}.parquet": _parquet(frame) for name, frame in frames.items()}


def _of(grounds: Grounds) -> dict[str, pl.DataFrame]:
    return {"facts": grounds.facts, "demand": grounds.demand, "devices": grounds.devices}


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()

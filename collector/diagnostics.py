"""A support bundle: what somebody else needs to help, without samples, secrets or figures of the business."""

import csv
import datetime as dt
import importlib.metadata
import io
import json
import platform
import ssl
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from collector.anonymous import Names, replaced
from collector.doctor import Machine, examine, told
from collector.doctor_places import files_in, places
from collector.ledger import read_ledger
from collector.plant_secrets import values
from config.echo import Resolved, resolved, to_toml
from config.echo import counts as counted
from config.faults import ConfigError
from config.load import load_plant
from config.plant import Plant
from config.redaction import Redaction

LINES = 500
"""So many of the last lines of ledger and log are taken if nothing else is said."""
FILES = 20_000
"""So many files are listed at most."""
_LEFT_OUT = ("columns", "note", "approved_by", "approved_at", "segment")
"""Columns of the tables that are not taken: free texts and persons."""

ENTRIES: Mapping[str, str] = {
    "README.txt": "what is in the bundle, and what is not",
    "config.toml": "the configuration as it was read, as plantproof echo shows it",
    "tables.json": "the rows of assets and points, and how many rows the other tables have",
    "faults.json": "what is wrong with the configuration",
    "status.json": "the agent's last report",
    "ledger.jsonl": "the last entries of the ledger: losses, refusals, restarts, with reasons",
    "files.csv": "names, sizes and times of the files of spool, lake and evidence; none of their content",
    "versions.json": "PlantProof, Python, libraries, system",
    "doctor.json": "what plantproof doctor says",
    "log.txt": "the last lines of the log that was given",
}
"""What may be in a bundle."""
_NAMES = """\
Names stay as they are: of plant, assets, points, sources, sinks, hosts, files, users; addresses and topics.
With --anonymous each is replaced by the same word wherever it stands.
"""
_ANONYMOUS = """\
Names of plant, assets, points, sources, sinks, hosts, users, addresses and topics are replaced (asset1, point2, ...),
each by the same word wherever it stands. Modbus addresses, units, periods and file names of this program stay.
"""
_NOT_IN = """\
Not in it: samples and messages, passwords, tokens, keys, certificates, declared figures, products, orders, notes.
Secrets are masked as ***; ${env:NAME} and ${file:PATH} stay as they are written. Look through it before you send it.
"""


def bundle(folder: Path, log: Iterable[str], machine: Machine, *, lines: int, anonymous: bool) -> dict[str, str]:
    """Return the bundle's files by name.

    log: lines of a log, empty where there is none; lines: so many of the last of ledger and log.
    Raises ConfigError where nothing of the configuration can be read.
    """
    plant, faults = _plant(folder)
    report = _status(plant)
    redact = Redaction(values(plant))
    names = Names(plant, (str(report.get("agent", "")),)) if anonymous else None

    def clean(text: str) -> str:
        return names(redact(text)) if names is not None else redact(text)

    found = dict(_entries(plant, faults, report, clean, lines))
    found["doctor.json"] = _json(replaced(_doctor(folder, machine), clean))
    if kept := deque(log, maxlen=lines):
        found["log.txt"] = "".join(f"{clean(line.rstrip())}\n" for line in kept)
    found["README.txt"] = _readme([*found, "README.txt"], anonymous=anonymous)
    # What is masked in each text is looked for once more in the whole, as it is written into the file.
    return {name: redact(found[name]) for name in ENTRIES if name in found}


def _plant(folder: Path) -> tuple[Plant, list[dict[str, str]]]:
    try:
        return load_plant(folder), []
    except ConfigError as error:
        if error.plant is None:
            raise
        keys = ("place", "thing", "value", "rule", "hint")
        return error.plant, [{key: str(getattr(fault, key)) for key in keys} for fault in error.faults]


def _entries(
    plant: Plant, faults: list[dict[str, str]], report: dict[str, Any], clean: Callable[[str], str], lines: int
) -> Iterator[tuple[str, str]]:
    yield "config.toml", to_toml(replaced(_config(plant), clean))
    yield "tables.json", _json(replaced(_tables(plant), clean))
    if faults:
        yield "faults.json", _json(replaced(faults, clean))
    if report:
        yield "status.json", _json(replaced(report, clean))
    if entries := deque(read_ledger(plant.resolve(plant.spool.path) / "ledger.jsonl"), maxlen=lines):
        yield "ledger.jsonl", "".join(f"{json.dumps(replaced(e, clean), ensure_ascii=False)}\n" for e in entries)
    yield "files.csv", _files(plant, clean)
    yield "versions.json", _json(_versions())


def _config(plant: Plant) -> Resolved:
    """Return plant.toml as it was read, without what the queries of business systems say."""
    found = resolved(plant)
    for one in found["business_source"]:
        one.pop("query", None)
    return found


def _tables(plant: Plant) -> dict[str, Any]:
    """Return assets and points without defaults, free texts and persons; of other tables the number of rows."""
    counts = {name: about["rows"] for name, about in counted(plant)["tables"].items()}
    return {"rows": counts, "assets": [*map(_row, plant.assets)], "points": [*map(_row, plant.points)]}


def _row(row: BaseModel) -> dict[str, Any]:
    return row.model_dump(mode="json", exclude=set(_LEFT_OUT), exclude_defaults=True)


def _status(plant: Plant) -> dict[str, Any]:
    try:
        report = json.loads((plant.resolve(plant.spool.path) / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}


def _files(plant: Plant, clean: Callable[[str], str]) -> str:
    """Return names, sizes [B] and times of what lies in the folders that agent and server write."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("folder", "file", "bytes", "changed"))
    for place in places(plant):
        for n, (path, status) in enumerate(files_in(place.path)):
            if n == FILES:
                table.writerow((place.kind, f"more than {FILES} files: the others are left out", "", ""))
                break
            changed = dt.datetime.fromtimestamp(status.st_mtime, dt.UTC).isoformat(timespec="seconds")
            name = clean(path.relative_to(place.path).as_posix())
            table.writerow(
                (place.kind, name.replace("=", "_", 1) if name[0] in "=+-@" else name, status.st_size, changed)
            )
    return text.getvalue()


def _versions() -> dict[str, Any]:
    machine = Machine.this()
    return {
        "plantproof": importlib.metadata.version("plantproof"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
        "openssl": ssl.OPENSSL_VERSION,
        "sqlite": ".".join(map(str, machine.sqlite)),
        "libraries": machine.versions,
    }


def _doctor(folder: Path, machine: Machine) -> list[dict[str, str]]:
    return [one._asdict() for one in told(examine(folder, machine), "en")]


def _readme(names: Iterable[str], *, anonymous: bool) -> str:
    listed = "".join(f"  {name:<16}{ENTRIES[name]}\n" for name in ENTRIES if name in names)
    return f"PlantProof support bundle\n\n{listed}\n{_NOT_IN}\n{_ANONYMOUS if anonymous else _NAMES}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def zipped(files: Mapping[str, str]) -> bytes:
    """Return the files as a ZIP archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        for name, text in files.items():
            made.writestr(name, text)
    return archive.getvalue()

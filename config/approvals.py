"""Approved snapshots of the registers: who stood for which files when, kept below the plant's folder.

`registers/20261122T080000Z-<12 hex digits>/` holds a copy of each register table and approval.json, which says who,
when, and each file's SHA-256. The digits begin the SHA-256 of approval.json, so that a change of either shows.
"""

import datetime as dt
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config.plant import Plant

FOLDER = "registers"
ABOUT = "approval.json"
KINDS = ("assets", "points", "processes", "loops", "meters")
"""Tables that are approved together."""
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-([0-9a-f]{12})")


class ApprovalError(Exception):
    """A snapshot cannot be kept or read; the message names it, the rule and the next step."""


@dataclass(frozen=True, slots=True)
class Approval:
    """One approved snapshot: who, when [UTC], and the SHA-256 of each table by its kind."""

    approved_by: str
    approved_at: dt.datetime
    note: str
    sha256: Mapping[str, str]
    files: Mapping[str, str]
    """Name of each table's copy in the folder, by its kind."""
    folder: Path

    def faults(self) -> list[str]:
        """Return what of the snapshot is no more as it was approved."""
        digest = hashlib.sha256((self.folder / ABOUT).read_bytes()).hexdigest()
        found = [] if self.folder.name.endswith(f"-{digest[:12]}") else [f"{ABOUT} was changed"]
        for kind, name in self.files.items():
            path = self.folder / name
            if not path.is_file():
                found.append(f"{name} is missing")
            elif _sha256(path.read_bytes()) != self.sha256[kind]:
                found.append(f"{name} was changed")
        return found


def approvals(root: Path) -> list[Approval]:
    """Return the snapshots of a plant's folder, the oldest first; raises ApprovalError where one cannot be read."""
    folder = root / FOLDER
    found = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name)) if folder.is_dir() else []
    return sorted(map(read, found), key=lambda one: one.approved_at)


def read(folder: Path) -> Approval:
    """Return the snapshot of a folder; raises ApprovalError."""
    try:
        said = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        tables = said["tables"]
        return Approval(
            said["approved_by"],
            dt.datetime.fromisoformat(said["approved_at"]).astimezone(dt.UTC),
            said["note"],
            {kind: table["sha256"] for kind, table in tables.items()},
            {kind: Path(table["file"]).name for kind, table in tables.items()},
            folder,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        rule = f"cannot be read ({type(error).__name__}: {error})"
        raise ApprovalError(f"{folder / ABOUT} {rule}; bring it back, or move the folder away") from error


def approval_of(plant: Plant) -> Approval | None:
    """Return the latest approval where the registers are as it has them; None where they changed, or nobody approved.

    Raises ApprovalError where a snapshot cannot be read.
    """
    latest = next(reversed(approvals(plant.root)), None)
    if latest is None or latest.faults():
        return None
    return latest if latest.sha256 == {kind: _sha256(data) for kind, data in _current(plant).items()} else None


def approve(plant: Plant, by: str, note: str, now: dt.datetime) -> Approval:
    """Keep the plant's registers as they are as an approved snapshot, and return it.

    now: the instant, with a zone. The folder appears whole or not at all; none is ever written over.
    Raises ApprovalError where there is no name, or such a snapshot already, OSError where it cannot be written.
    """
    if not by.strip():
        raise ApprovalError("an approval says who approves; name a person")
    at, tables = now.astimezone(dt.UTC).replace(microsecond=0), _current(plant)
    files = {kind: f"{kind}{Path(plant.tables[kind]).suffix}" for kind in tables}
    about = {
        "approved_by": by.strip(),
        "approved_at": at.isoformat(),
        "note": note.strip(),
        "plant": plant.id,
        "tables": {kind: {"file": files[kind], "sha256": _sha256(data)} for kind, data in tables.items()},
    }
    written = json.dumps(about, ensure_ascii=False, indent=1).encode()
    final = plant.root / FOLDER / f"{at:%Y%m%dT%H%M%SZ}-{_sha256(written)[:12]}"
    if final.exists():
        raise ApprovalError(f"{final} is there already; the same approval was given in this second")
    _write(final, {ABOUT: written, **{files[kind]: data for kind, data in tables.items()}})
    return read(final)


def in_force(found: list[Approval], at: dt.datetime) -> Approval:
    """Return the latest of a plant's snapshots, the oldest first, that was approved at or before an instant.

    Raises ApprovalError where there is none so early.
    """
    before = [one for one in found if one.approved_at <= at]
    if before:
        return before[-1]
    first = f"the first was approved at {found[0].approved_at:%Y-%m-%d %H:%M} UTC" if found else "nobody approved any"
    hint = "name a later date, or now" if found else "approve them: plantproof register approve"
    raise ApprovalError(f"no registers were approved by {at:%Y-%m-%d %H:%M %Z}: {first}; {hint}")


def _current(plant: Plant) -> dict[str, bytes]:
    return {kind: (plant.root / plant.tables[kind]).read_bytes() for kind in KINDS if kind in plant.tables}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write(final: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder beside where it shall be, and move it there once every file is on the disk."""
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir(parents=True)
        for name, data in files.items():
            with (temporary / name).open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        temporary.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

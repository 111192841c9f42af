"""Packages on disk: `<id>.zip`, and `<id>.json` beside it, which says what it is.

A package that was built twice is the same package. Each is hashed before it is handed out; one that is not what was
written is told, never handed out.
"""

import datetime as dt
import hashlib
import io
import json
import re
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from config.plant import Plant
from kpis.evidence.layout import DESCRIPTOR, SIGNATURE
from kpis.indicators.objects import iso
from kpis.server import files


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What is known of a package."""

    id: str
    plant: str
    start: str
    end: str
    revision: int
    replaces: str | None
    sha256: str
    bytes: int
    built_at: str
    key_id: str | None


@dataclass(frozen=True, slots=True)
class Damaged:
    """A file on the shelf that is not what was written."""

    file: str
    error: str


class UnknownPackage(LookupError):  # noqa: N818  as it is told
    """There is no package of this id."""


class DamagedPackage(Exception):  # noqa: N818  a state, told as it is
    """A package is not what was written; the message says what differs."""


class Shelf:
    """The packages of a plant in a folder."""

    def __init__(self, plant: Plant, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._plant, self.folder, self._clock = plant, folder, clock
        self._hashed: dict[str, tuple[tuple[int, ...], str]] = {}

    def start(self) -> None:
        """Make the folder; raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        files.clear_unfinished(self.folder)

    def put(self, data: bytes) -> Package:
        """Keep a package and return what is known of it; one that is there already stays as it is."""
        made = self._described(data)
        try:
            return self.find(made.id)
        except (UnknownPackage, DamagedPackage):
            files.write(self.folder / f"{made.id}.zip", data)
            files.write_json(self.folder / f"{made.id}.json", asdict(made))
            return made

    def find(self, wanted: str) -> Package:
        """Return a package that is sound; raises UnknownPackage or DamagedPackage."""
        names = {path.stem for path in self.folder.glob("*.json")}
        if wanted not in names:
            raise UnknownPackage(wanted)
        return self._sound(wanted)

    def path(self, package: Package) -> Path:
        """Return where a package's bytes lie."""
        return self.folder / f"{package.id}.zip"

    def entry(self, package: Package, name: str) -> bytes | None:
        """Return one file of a package; None where it has none of this name."""
        with zipfile.ZipFile(self.path(package)) as archive:
            return archive.read(name) if name in archive.namelist() else None

    def all(self) -> tuple[list[Package], list[Damaged]]:
        """Return every package that is sound, oldest first, and what is damaged."""
        found: list[Package] = []
        damaged: list[Damaged] = []
        names = {path.stem for ending in ("json", "zip") for path in self.folder.glob(f"*.{ending}")}
        for name in sorted(name for name in names if not name.startswith(".")):
            try:
                found.append(self._sound(name))
            except DamagedPackage as error:
                damaged.append(Damaged(name, str(error)))
        return sorted(found, key=lambda one: (one.built_at, one.revision, one.id)), damaged

    def _sound(self, name: str) -> Package:
        about = self._about(name)
        try:
            digest = self._digest(name)
        except OSError as error:
            raise DamagedPackage(f"{name}.zip cannot be read ({error.strerror})") from error
        if about.id != name or digest != about.sha256:
            raise DamagedPackage(f"{name}.zip is not the package that was written; build its period again")
        return about

    def _about(self, name: str) -> Package:
        try:
            told = json.loads((self.folder / f"{name}.json").read_bytes())
            return Package(**{field.name: told[field.name] for field in fields(Package)})
        except OSError as error:
            raise DamagedPackage(f"{name}.json cannot be read ({error.strerror})") from error
        except (ValueError, TypeError, LookupError) as error:
            raise DamagedPackage(f"{name}.json is not what was written") from error

    def _digest(self, name: str) -> str:
        """Return the SHA-256 of a package, computed again whenever its file is another one."""
        path = self.folder / f"{name}.zip"
        at = path.stat()
        mark = (at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns)
        known = self._hashed.get(name)
        if known is None or known[0] != mark:
            with path.open("rb") as file:
                known = mark, hashlib.file_digest(file, "sha256").hexdigest()
            self._hashed[name] = known
        return known[1]

    def _described(self, data: bytes) -> Package:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            about = json.loads(archive.read(DESCRIPTOR))["plantproof"]
            signed = json.loads(archive.read(SIGNATURE)) if SIGNATURE in archive.namelist() else None
        digest = hashlib.sha256(data).hexdigest()
        start, end = (iso(self._plant, about[name]) for name in ("start_ns", "end_ns"))
        return Package(
            id=_id(about, start, end, digest),
            plant=about["plant"],
            start=start,
            end=end,
            revision=about["revision"],
            replaces=about.get("replaces"),
            sha256=digest,
            bytes=len(data),
            built_at=dt.datetime.fromtimestamp(self._clock(), dt.UTC).isoformat(timespec="milliseconds"),
            key_id=None if signed is None else signed["signatures"][0]["keyid"],
        )


def _id(about: dict[str, Any], start: str, end: str, digest: str) -> str:
    """Return an id that is a file's name on any system, and the same for the same package."""
    plant = re.sub(r"[^a-z0-9]+", "-", about["plant"].lower()).strip("-")[:40] or "plant"
    days: Sequence[str] = [moment[:10].replace("-", "") for moment in (start, end)]
    return f"{plant}-{days[0]}-{days[1]}-r{about['revision']}-{digest[:16]}"

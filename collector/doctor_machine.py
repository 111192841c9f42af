"""Checks of the installation: Python, import names, libraries, open files, encodings."""

import contextlib
import ctypes
import importlib.metadata
import locale
import os
import platform
import resource
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from collector.findings import Finding, found
from config.plant import Plant

NAMES = ("plantproof", "collector", "config", "connectors", "kpis")
"""The import names of the distribution; each must be its own alone."""
TRIED: Mapping[str, tuple[str, ...]] = {
    "asyncua": ("2.1.0",),
    "click": ("8.5.1",),
    "cryptography": ("50.0.2",),
    "influxdb-client": ("1.50.0",),
    "numpy": ("2.4.6", "2.5.5"),
    "polars": ("2.1.0",),
    "prometheus-client": ("0.26.0",),
    "pydantic": ("2.14.3",),
    "pyserial": ("3.5",),
    "python-calamine": ("0.9.1",),
    "rich": ("15.0.0",),
    "tzdata": ("2026.6",),
    "urllib3": ("2.8.0",),
    "websockets": ("15.0.1",),
    "zstandard": ("0.25.0",),
}
"""The agent's libraries, and the versions that it was tried with: those of requirements.lock."""
DATA = ("tzdata",)
"""Libraries that are data: a newer one is better."""
OLDEST = (3, 11)
ARCHITECTURES = ("x86_64", "aarch64")
DESCRIPTORS = 1024
"""The usual limit of open files."""
SPARE = 64
"""Open files of the agent beside those of sources and sinks: libraries, spool, lake, log."""
EACH = 4
"""Open files of a source or sink at most: a link, the one that replaces it, and files."""
_TIME_ERROR = 5
"""What the kernel says of a clock that nothing keeps right."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What doctor knows of the machine and of the process that it runs in."""

    python: tuple[int, ...] = sys.version_info[:3]
    system: str = platform.system()
    architecture: str = platform.machine()
    safe_path: bool = sys.flags.safe_path
    path: Sequence[str] = ()
    cwd: Path = Path()
    owners: Mapping[str, Sequence[str]]
    """Import name -> the distributions that have it."""
    versions: Mapping[str, str | None]
    """Library -> its version, None where it is not installed."""
    sqlite: tuple[int, ...] = sqlite3.sqlite_version_info
    mounts: str = ""
    """As /proc/self/mountinfo."""
    now: float = 0.0
    """[s since 1970, UTC]"""
    installed: float = 0.0
    """When PlantProof's files were written [s since 1970, UTC]."""
    synchronised: bool | None = None
    """Whether something keeps the clock right; None: the system does not say."""
    descriptors: int = DESCRIPTORS
    """How many files a process may have open."""
    encodings: Mapping[str, str]
    user: int = 0
    """Effective user id."""

    @classmethod
    def this(cls) -> "Machine":
        """Return the machine that this runs on."""
        mounts, (limit, _) = Path("/proc/self/mountinfo"), resource.getrlimit(resource.RLIMIT_NOFILE)
        return cls(
            path=tuple(sys.path),
            cwd=Path.cwd(),
            owners=importlib.metadata.packages_distributions(),
            versions={name: _version(name) for name in TRIED},
            mounts=mounts.read_text(encoding="utf-8", errors="replace") if mounts.exists() else "",
            now=time.time(),
            installed=Path(__file__).stat().st_mtime,
            synchronised=_synchronised(),
            descriptors=sys.maxsize if limit == resource.RLIM_INFINITY else limit,
            encodings={
                "file system": sys.getfilesystemencoding(),
                "output": getattr(sys.stdout, "encoding", None) or "utf-8",
                "locale": locale.getpreferredencoding(do_setlocale=False),
            },
            user=os.geteuid(),
        )


def _version(name: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return None


def _synchronised() -> bool | None:
    """Return whether the kernel holds the clock for right; None where it does not say."""
    try:
        state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))  # zeroed: nothing is changed
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def check(machine: Machine, plant: Plant | None) -> Iterator[Finding]:
    """Yield what there is to say of the installation."""
    yield from _python(machine)
    yield from _names(machine)
    yield from _libraries(machine)
    yield from _sqlite(machine, plant)
    yield _descriptors(machine, plant)
    yield _encoding(machine)


def _python(machine: Machine) -> Iterator[Finding]:
    version = ".".join(map(str, machine.python))
    good = machine.python[:2] >= OLDEST
    yield found("python.ok" if good else "python.old", version=version, oldest=".".join(map(str, OLDEST)))
    known = machine.system == "Linux" and machine.architecture in ARCHITECTURES
    yield found("platform.ok" if known else "platform.other", system=machine.system, machine=machine.architecture)


def _names(machine: Machine) -> Iterator[Finding]:
    """Look for other owners of our import names: distributions, and what lies on the path or where we stand."""
    places = {name: _places(name, machine.path) for name in NAMES}
    home = next((found_at[0].parent for found_at in places.values() if found_at), None)
    troubles = [*_owned(machine), *_shadowed(places, home)]
    lying = [path for name in NAMES for path in _in_folder(machine.cwd, name) if path.parent != home]
    if lying and not machine.safe_path and _searched(machine):
        troubles += [found("names.folder", path=path) for path in lying]
    yield from troubles or [found("names.ok", names=", ".join(NAMES))]
    if machine.safe_path or not _searched(machine) or machine.cwd == home:
        yield found("safe_path.ok", cwd=machine.cwd)
    else:
        yield found("safe_path.off", cwd=machine.cwd)


def _owned(machine: Machine) -> Iterator[Finding]:
    for name in NAMES:
        others = sorted({one for one in machine.owners.get(name, ()) if one.lower() != "plantproof"})
        if others:
            yield found("names.owned", name=name, others=", ".join(others))


def _shadowed(places: Mapping[str, Sequence[Path]], home: Path | None) -> Iterator[Finding]:
    for name, found_at in places.items():
        if found_at and found_at[0].parent != home:
            yield found("names.shadowed", name=name, path=found_at[0], home=home)


def _places(name: str, path: Sequence[str]) -> list[Path]:
    """Return where the parts of a path have a module or package of this name, the one that is imported first."""
    specs = (PathFinder.find_spec(name, [entry or "."]) for entry in path)
    files = [Path(spec.origin) for spec in specs if spec is not None and spec.origin is not None]
    return [file.parent if file.name == "__init__.py" else file for file in files]


def _in_folder(folder: Path, name: str) -> list[Path]:
    candidates = (folder / name / "__init__.py", folder / f"{name}.py")
    return [one.parent if one.name == "__init__.py" else one for one in candidates if one.is_file()]


def _searched(machine: Machine) -> bool:
    return any(not entry or Path(entry) == machine.cwd for entry in machine.path)


def _libraries(machine: Machine) -> Iterator[Finding]:
    """Hold the libraries' versions against those that were tried."""
    other = 0
    for name, tried in TRIED.items():
        version, known = machine.versions.get(name), " or ".join(tried)
        if version is None:
            yield found("libraries.missing", name=name, tried=known)
        elif name not in DATA and not any(version.split(".")[:2] == one.split(".")[:2] for one in tried):
            yield found("libraries.other", name=name, version=version, tried=known)
        else:
            continue
        other += 1
    if not other:
        yield found("libraries.ok", count=len(TRIED))


SQLITE_SOUND = (3, 51, 3)
"""Before it, a database in WAL mode with several connections may be damaged (sqlite.org/wal.html, WAL-reset)."""


def _sqlite(machine: Machine, plant: Plant | None) -> Iterator[Finding]:
    """Look at SQLite where something here is read with it: a spool of format 1, declared values of a database."""
    if plant is None:
        return
    version = ".".join(map(str, machine.sqlite))
    users = [f"business_source {one.id}" for one in plant.business_sources if _is_sqlite(one.url.get_secret_value())]
    users += ["spool"] if any(plant.resolve(plant.spool.path).glob("segment-*.db")) else []
    if users and machine.sqlite < SQLITE_SOUND:
        sound = ".".join(map(str, SQLITE_SOUND))
        yield found("sqlite.old", version=version, sound=sound, users=", ".join(users))
    else:
        yield found("sqlite.ok" if users else "sqlite.unused", version=version, users=", ".join(users))


def _is_sqlite(url: str) -> bool:
    return url.startswith("sqlite")


def _descriptors(machine: Machine, plant: Plant | None) -> Finding:
    links = len(plant.sources) + len(plant.sinks) if plant is not None else 0
    needed = SPARE + EACH * links
    case = "few" if machine.descriptors < needed else "low" if machine.descriptors < DESCRIPTORS else "ok"
    return found(f"descriptors.{case}", limit=machine.descriptors, needed=needed, usual=DESCRIPTORS)


def _encoding(machine: Machine) -> Finding:
    others = {of: name for of, name in machine.encodings.items() if name.lower().replace("-", "") != "utf8"}
    told = ", ".join(f"{of} {name}" for of, name in (others or machine.encodings).items())
    return found("encoding.other" if others else "encoding.ok", told=told)

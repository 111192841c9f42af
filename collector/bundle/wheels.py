"""Wheels for a platform that need not be this one: fetched through pip by hash, our own built, all looked into."""

import email.message
import email.parser
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement

from collector.bundle.lock import Entry, LockError, canonical, rendered

_EPOCH = "315619200"
"""1980-01-02, the time of every file in our wheel: the same tree gives the same bytes. Zip knows none before 1980."""
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_OWN_FILES = ("pyproject.toml", "README.md", "LICENSE")
_LEFT = shutil.ignore_patterns("__pycache__", "*.pyc")


@dataclass(frozen=True, slots=True)
class Target:
    """A platform: its processor, its Python, and the oldest glibc that it may have."""

    machine: str
    python: str
    glibc: int
    """The y of glibc 2.y."""

    @property
    def tags(self) -> list[str]:
        """The platform tags of wheels that run there, the newest first."""
        plain = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc, 4, -1)]
        legacy = [f"{name}_{self.machine}" for minor, name in _LEGACY.items() if minor <= self.glibc]
        return [*plain, *legacy, f"linux_{self.machine}"]

    @property
    def environment(self) -> dict[str, str]:
        """What markers ask of a platform (PEP 508)."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel, and what it says of itself."""

    path: Path
    name: str
    version: str
    licence: tuple[str, str]
    """("expression", SPDX) or ("name", words); ("", "") where it says none."""
    requires: tuple[str, ...]
    sha256: str


def wanted(entries: Iterable[Entry], target: Target) -> list[Entry]:
    """Return the entries whose markers hold on the target, without their markers: pip would ask this machine."""
    return [
        Entry(entry.name, entry.version, "", entry.hashes, entry.via)
        for entry in entries
        if not entry.marker or Marker(entry.marker).evaluate(dict(target.environment))
    ]


def fetch(entries: Sequence[Entry], target: Target, folder: Path) -> None:
    """Put a wheel of each entry into the folder, from where pip's settings say; raises LockError with pip's words."""
    with tempfile.TemporaryDirectory() as scratch:
        (asked := Path(scratch) / "wanted.txt").write_text(rendered(entries), encoding="utf-8")
        platform = [word for tag in target.tags for word in ("--platform", tag)]
        of_python = ("--implementation", "cp", "--python-version", target.python)
        only = ("--no-deps", "--require-hashes", "--only-binary", ":all:")
        _pip("download", *only, *of_python, *platform, "--dest", str(folder), "--requirement", str(asked))


def build_own(tree: Path, folder: Path) -> None:
    """Build PlantProof's wheel from a source tree, in which nothing is written; raises LockError with pip's words."""
    setup = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    patterns = setup.get("packages", {}).get("find", {}).get("include", ())
    with tempfile.TemporaryDirectory() as scratch:
        for name in (*_OWN_FILES, *(f"{module}.py" for module in setup.get("py-modules", ()))):
            if (tree / name).is_file():
                shutil.copy(tree / name, scratch)
        for room in sorted(tree.iterdir()):
            if (room / "__init__.py").is_file() and any(fnmatch(room.name, pattern) for pattern in patterns):
                shutil.copytree(room, Path(scratch) / room.name, ignore=_LEFT)
        _pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder), scratch)


def _pip(verb: str, *words: str) -> None:
    command = [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check", "--no-input", *words]
    environment = os.environ | {"SOURCE_DATE_EPOCH": _EPOCH}
    said = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if said.returncode:
        lines = [line for line in (said.stderr or said.stdout).splitlines() if line.strip()]
        raise LockError(f"pip {verb} ended with {said.returncode}:\n" + "\n".join(lines[-12:]))


def look_into(path: Path) -> Wheel:
    """Return what a wheel says of itself in its METADATA."""
    with zipfile.ZipFile(path) as wheel:
        (name,) = (n for n in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
        said = email.parser.Parser().parsestr(wheel.read(name).decode("utf-8"))
    return Wheel(
        path,
        canonical(said["Name"]),
        str(said["Version"]),
        _licence(said),
        tuple(said.get_all("Requires-Dist") or ()),
        hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def _licence(said: email.message.Message) -> tuple[str, str]:
    """Return the SPDX expression, else the classifiers' words, else the licence's line where it is no whole text."""
    if expression := said.get("License-Expression"):
        return "expression", expression.strip()
    classified = [c.rpartition(" :: ")[2] for c in said.get_all("Classifier") or () if c.startswith("License :: ")]
    line = (said.get("License") or "").strip()
    words = "; ".join(classified) or (line if "\n" not in line else "")
    return ("name", words) if words and words.upper() != "UNKNOWN" else ("", "")


def needs(wheels: Sequence[Wheel], target: Target, extras: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return {distribution: the distributions that it needs} on the target, for all that can be reached from `extras`.

    extras: {distribution: its extras} to begin with. Raises LockError where a wheel that is needed is not among them.
    """
    by_name = {wheel.name: wheel for wheel in wheels}
    found: dict[str, set[str]] = {}
    waiting = [(name, frozenset(some)) for name, some in extras.items()]
    seen = set(waiting)
    while waiting:
        name, of = waiting.pop()
        if name not in by_name:
            raise LockError(f"{name} is needed and not in requirements.lock's closure; make it anew: make lock")
        for text in by_name[name].requires:
            asked = Requirement(text)
            if not _holds(asked.marker, target, of):
                continue
            found.setdefault(name, set()).add(canonical(asked.name))
            if (step := (canonical(asked.name), frozenset(asked.extras))) not in seen:
                seen.add(step)
                waiting.append(step)
    return {name: sorted(found.get(name, ())) for name in sorted(by_name)}


def _holds(marker: Marker | None, target: Target, extras: Iterable[str]) -> bool:
    if marker is None:
        return True
    return any(marker.evaluate(target.environment | {"extra": extra}) for extra in ("", *extras))

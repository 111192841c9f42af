"""A bundle's folder: wheels, requirements.txt, SHA256SUMS, sbom.cdx.json, install.sh and what deploy/ has."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from collector.bundle.lock import Entry, LockError, chosen, rendered
from collector.bundle.sbom import bill
from collector.bundle.wheels import Target, Wheel, build_own, fetch, look_into, needs, wanted

TEXTS = ("install.sh", "README.md", "README.zh-CN.md")
"""Of deploy/offline/, with words between `@` that this file replaces."""
SUMS = "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was made."""

    folder: Path
    wheels: int
    size: int
    """Of all its files [B]."""
    sums: str
    """SHA-256 of SHA256SUMS: who knows it can tell whether any file was changed on the way."""


def make_bundle(tree: Path, folder: Path, target: Target, extras: Sequence[str]) -> Bundle:
    """Make a bundle of a source tree in a new or empty folder; raises LockError."""
    if folder.exists() and any(folder.iterdir()):
        raise LockError(f"{folder} is not empty; name a new folder")
    for text in TEXTS:
        if not (tree / "deploy" / "offline" / text).is_file():
            raise LockError(f"{tree} has no deploy/offline/{text}; name PlantProof's source tree with --tree")
    entries = wanted(chosen(tree, extras), target)
    (place := folder / "wheels").mkdir(parents=True)
    build_own(tree, place)
    (own,) = (look_into(path) for path in place.glob("*.whl"))
    fetch(entries, target, place)
    wheels = _matched(entries, place, own)
    edges = needs([own, *wheels], target, {own.name: extras})
    _write(folder / "sbom.cdx.json", json.dumps(bill(own, wheels, edges), ensure_ascii=False, indent=1) + "\n")
    pinned = [Entry(w.name, w.version, "", (f"sha256:{w.sha256}",), frozenset()) for w in (own, *wheels)]
    _write(folder / "requirements.txt", rendered(pinned))
    _texts(tree, folder, target, extras, own.version)
    return _summed(folder, len(wheels) + 1)


def _matched(entries: Sequence[Entry], place: Path, own: Wheel) -> list[Wheel]:
    """Return the wheels beside our own, which are those of the entries, one each."""
    wheels = sorted((look_into(path) for path in place.glob("*.whl") if path != own.path), key=lambda w: w.name)
    there, asked = [(w.name, w.version) for w in wheels], sorted((e.name, e.version) for e in entries)
    if there != asked:
        odd = sorted({f"{name} {version}" for name, version in set(there) ^ set(asked)})
        raise LockError(f"wheels and lock do not agree on {', '.join(odd)}; make the lock anew: make lock")
    return wheels


def _texts(tree: Path, folder: Path, target: Target, extras: Sequence[str], version: str) -> None:
    words = {
        "@VERSION@": version,
        "@PYTHON@": target.python,
        "@MACHINE@": target.machine,
        "@GLIBC@": f"2.{target.glibc}",
        "@EXTRAS@": ", ".join(extras) or "-",
    }
    for name in TEXTS:
        text = (tree / "deploy" / "offline" / name).read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(word, value)
        _write(folder / name, text)
    (folder / "install.sh").chmod(0o755)
    for part in ("systemd", "grafana"):
        if (tree / "deploy" / part).is_dir():
            shutil.copytree(tree / "deploy" / part, folder / "deploy" / part, copy_function=shutil.copy)
    shutil.copy(tree / "LICENSE", folder / "LICENSE")


def _summed(folder: Path, wheels: int) -> Bundle:
    """Write SHA256SUMS over every file of the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}" for path in files
    ]
    _write(folder / SUMS, "".join(f"{line}\n" for line in lines))
    size = sum(path.stat().st_size for path in (*files, folder / SUMS))
    return Bundle(folder, wheels, size, hashlib.sha256((folder / SUMS).read_bytes()).hexdigest())


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")

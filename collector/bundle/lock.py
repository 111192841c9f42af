"""requirements.lock -> what a choice of extras needs of it, with its hashes.

The standard library is enough for this file: an image's build uses it before anything is installed,
`python -m collector.bundle.lock kpi server > chosen.lock`.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HEAD = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\]+?))?\s*\\?$"
)
_HASH = re.compile(r"\s+--hash=(sha256:[0-9a-f]{64})\s*\\?$")
_VIA = re.compile(r"\s+#\s+(?:via\s+)?(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?$")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


class LockError(Exception):
    """The lock, or what was asked of it, is at fault; the message says what and what next."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of one distribution that the lock holds."""

    name: str
    version: str
    marker: str
    """Where it is wanted, such as `sys_platform == 'win32'`; empty: everywhere."""
    hashes: tuple[str, ...]
    """Of each file that may be installed: `sha256:...`."""
    via: frozenset[str]
    """The distributions that need it."""


def canonical(name: str) -> str:
    """Return a distribution's name as indexes compare it: lower case, with `-` for `_` and `.`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(text: str) -> list[Entry]:
    """Return the entries of a lock with hashes, in its order; raises LockError where a line makes no sense."""
    found: list[tuple[dict[str, str], list[str], set[str]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if head := _HEAD.match(line):
            found.append((head.groupdict(default=""), [], set()))
        elif found and (file := _HASH.match(line)):
            found[-1][1].append(file[1])
        elif found and (via := _VIA.match(line)):
            found[-1][2].add(canonical(via["name"]))
        elif line.strip() and not line.lstrip().startswith("#"):
            raise LockError(
                f"requirements.lock:{number}: {line.strip()!r} is no line of a lock; make it anew: make lock"
            )
    entries = [
        Entry(canonical(head["name"]), head["version"], head["marker"], tuple(hashes), frozenset(via))
        for head, hashes, via in found
    ]
    if bare := [entry.name for entry in entries if not entry.hashes]:
        raise LockError(f"requirements.lock has no hashes for {', '.join(bare)}; make it anew: make lock")
    return entries


def roots(project: Mapping[str, Any], extras: Iterable[str]) -> set[str]:
    """Return the distributions that pyproject.toml's [project] names for itself and for these extras."""
    groups: Mapping[str, Sequence[str]] = project.get("optional-dependencies", {})
    if unknown := sorted(set(extras) - groups.keys()):
        raise LockError(f"no extra {', '.join(unknown)}; the extras are {', '.join(groups)}")
    asked = [*project.get("dependencies", ()), *(one for extra in extras for one in groups[extra])]
    return {canonical(match[0]) for match in map(_NAME.match, asked) if match is not None}


def closure(entries: Sequence[Entry], names: Iterable[str]) -> list[Entry]:
    """Return the entries of these distributions and of all that they need, by the lock's own `via`."""
    wanted = set(names)
    if missing := sorted(wanted - {entry.name for entry in entries}):
        raise LockError(f"requirements.lock does not hold {', '.join(missing)}; make it anew: make lock")
    while new := {entry.name for entry in entries if entry.via & wanted} - wanted:
        wanted |= new
    return [entry for entry in entries if entry.name in wanted]


def rendered(entries: Iterable[Entry]) -> str:
    """Return entries as the lines that `pip install --require-hashes -r` reads."""
    lines = []
    for entry in entries:
        marker = f" ; {entry.marker}" if entry.marker else ""
        lines.append(
            " \\\n    ".join([f"{entry.name}=={entry.version}{marker}", *(f"--hash={h}" for h in entry.hashes)])
        )
    return "".join(f"{line}\n" for line in lines)


def chosen(tree: Path, extras: Sequence[str]) -> list[Entry]:
    """Return what the lock of a source tree holds for PlantProof with these extras; raises LockError."""
    try:
        project = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        entries = read_lock((tree / "requirements.lock").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LockError(f"{error.filename} is missing; name PlantProof's source tree, which has it") from error
    return closure(entries, roots(project, extras))


def main(words: Sequence[str]) -> None:
    """Print what the lock of this folder holds for these extras, or after `--only` for these distributions."""
    tree = Path.cwd()
    only = words[:1] == ["--only"]
    found = closure(read_lock((tree / "requirements.lock").read_text(encoding="utf-8")), words[1:]) if only else ()
    sys.stdout.write(rendered(found or chosen(tree, words)))


if __name__ == "__main__":
    main(sys.argv[1:])

"""Checks of the folders that the agent writes: room, inodes, what kind of disk, and whether it may."""

import datetime as dt
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from collector.doctor_machine import Machine
from collector.findings import Finding, found, size
from config.plant import Plant

NETWORK = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs", "fuse.glusterfs")
)
"""File systems of other machines: their locks and syncs are not what a local disk's are."""
MEMORY = frozenset(("tmpfs", "ramfs", "devtmpfs"))
LAYER = frozenset(("overlay", "aufs"))
"""The layer of a container, gone with it."""
FEW_INODES = 0.05
"""Share of inodes below which there is a warning; what is beyond that no file system tells beforehand."""
ENOUGH_DAYS = 30
"""A lake that is full sooner [d] is warned of."""
OWNERS = 1000
"""So many files are looked at for their owner."""


class Place(NamedTuple):
    """A folder that something writes into."""

    kind: str
    """spool, lake or evidence"""
    path: Path
    keep_size: int | None = None
    """How large it may grow [B]; None: without limit."""


class Mount(NamedTuple):
    """Where a file system hangs."""

    point: Path
    kind: str
    read_only: bool


def places(plant: Plant) -> list[Place]:
    """Return the folders that agent and server write into, as the plant names them."""
    lakes = [Place("lake", plant.resolve(one.path), one.keep_size) for one in plant.sinks if one.kind == "parquet"]
    spool = Place("spool", plant.resolve(plant.spool.path), plant.spool.max_size)
    return [spool, *lakes, Place("evidence", plant.resolve(plant.evidence.path))]


def check(machine: Machine, plant: Plant) -> Iterator[Finding]:
    """Yield what there is to say of each folder, or of the one in which it will be made."""
    mounts = read_mounts(machine.mounts)
    for place in places(plant):
        there = _existing(place.path)
        try:
            yield from _room(place, there, plant, machine.now)
            yield _inodes(place, there)
            yield _writable(place, there, machine)
        except OSError as error:
            yield found("writable.no", kind=place.kind, path=place.path, why=error.strerror)
            continue
        yield from _mount(place, there, mounts)


def _existing(path: Path) -> Path:
    """Return the folder, or the nearest above it that is there."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def folder_size(folder: Path) -> int:
    """Return what lies in a folder [B]; files that go meanwhile do not count."""
    return sum(status.st_size for _, status in files_in(folder))


def files_in(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the files below a folder in order of name; those that go meanwhile are left out."""
    for path in sorted(folder.rglob("*")):
        try:
            status = path.lstat()
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            yield path, status


def _room(place: Place, there: Path, plant: Plant, now: float) -> Iterator[Finding]:
    disk = os.statvfs(there)
    free, smallest = disk.f_bavail * disk.f_frsize, plant.spool.segment_size
    facts: dict[str, object] = {"kind": place.kind, "path": place.path, "free": size(free)}
    if free < smallest:
        yield found("room.none", **facts, needed=size(smallest))
        return
    if place.keep_size is not None:
        needed = max(0, place.keep_size - folder_size(place.path))
        yield found("room.low" if free < needed else "room.ok", **facts, needed=size(needed))
        return
    grows = _a_day(place.path, now) if place.kind == "lake" else None
    if grows and free / grows < ENOUGH_DAYS:
        yield found("room.short", **facts, days=int(free / grows), grows=size(grows), enough=ENOUGH_DAYS)
    else:
        yield found("room.ok", **facts, needed=size(smallest))


def _a_day(lake: Path, now: float) -> int | None:
    """Return how much the lake grew on its last whole UTC day [B]; None where it has none yet."""
    today = dt.datetime.fromtimestamp(now, dt.UTC).date()
    folders = sorted((lake / "samples").glob("date=*"), reverse=True)
    whole = next((one for one in folders if one.name.removeprefix("date=") < str(today)), None)
    return folder_size(whole) if whole is not None else None


def _inodes(place: Place, there: Path) -> Finding:
    disk = os.statvfs(there)
    facts = {"kind": place.kind, "path": place.path, "free": disk.f_favail, "share": f"{FEW_INODES:.0%}"}
    if not disk.f_files:  # a file system that makes them as it goes
        return found("inodes.unlimited", **facts)
    if not disk.f_favail:
        return found("inodes.none", **facts)
    return found("inodes.low" if disk.f_favail < disk.f_files * FEW_INODES else "inodes.ok", **facts)


def _writable(place: Place, there: Path, machine: Machine) -> Finding:
    """Say whether the agent can write there: the folder's owner where we are root, else we."""
    owner = there.stat()
    facts: dict[str, object] = {"kind": place.kind, "path": there, "owner": owner.st_uid}
    if not there.is_dir() or (not os.access(there, os.W_OK | os.X_OK)):
        return found("writable.no", **facts, why=f"mode {stat.filemode(owner.st_mode)}, owner {owner.st_uid}")
    if machine.user == 0 and not owner.st_mode & stat.S_IWUSR:
        return found("writable.no", **facts, why=f"mode {stat.filemode(owner.st_mode)}")
    strangers = _strangers(place.path, owner.st_uid)
    return found("writable.owner", **facts, **strangers) if strangers else found("writable.ok", **facts)


def _strangers(folder: Path, owner: int) -> dict[str, object]:
    """Return the first file that somebody else owns than the folder, such as root who once ran the agent by hand."""
    for n, (path, status) in enumerate(files_in(folder)):
        if n == OWNERS:
            break
        if status.st_uid != owner:
            return {"file": path, "other": status.st_uid}
    return {}


def read_mounts(text: str) -> list[Mount]:
    """Return what /proc/self/mountinfo lists (proc(5))."""
    mounts = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) >= 6 and kinds:
            mounts.append(Mount(Path(_unescaped(fields[4])), kinds[0], "ro" in fields[5].split(",")))
    return mounts


def _unescaped(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def _mount(place: Place, there: Path, mounts: list[Mount]) -> Iterator[Finding]:
    """Say what kind of file system a folder lies on; nothing where the system does not tell."""
    real = there.resolve()
    holding = [one for one in mounts if one.point == real or one.point in real.parents]
    if not holding:
        return
    # Of two at the same point the later one hides the first.
    mount = max(enumerate(holding), key=lambda one: (len(one[1].point.parts), one[0]))[1]
    facts: dict[str, object] = {"kind": place.kind, "path": place.path, "type": mount.kind, "mount": mount.point}
    if mount.read_only:
        yield found("mount.read_only", **facts)
    elif mount.kind in MEMORY:
        yield found("mount.memory", **facts)
    elif mount.kind in NETWORK:
        yield found("mount.network", **facts)
    elif mount.kind in LAYER:
        yield found("mount.layer", **facts)
    else:
        yield found("mount.ok", **facts)

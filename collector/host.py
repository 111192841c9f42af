"""What only POSIX has: durable renames and the lock that keeps a second agent out."""

import fcntl
import os
from pathlib import Path


class Locked(Exception):  # noqa: N818  a state, told to the person as it is
    """Another process holds the folder."""


def sync_folder(folder: Path) -> None:
    """Make the folder's entries (creations, renames, removals) survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they survive a power cut."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_file(path: Path) -> None:
    """Make the file's bytes survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_data(handle: int) -> None:
    """Make an open file's bytes and length survive a power cut."""
    os.fdatasync(handle)


def free_space(folder: Path) -> int:
    """Return what an ordinary user may still write there [B]."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def reserve(path: Path, size: int) -> None:
    """Make a file that takes so much of the disk [B], or none where the disk does not give it."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        os.posix_fallocate(handle, 0, max(size, 1))
        os.fsync(handle)
    except OSError:
        path.unlink(missing_ok=True)
    finally:
        os.close(handle)


def replace_durably(path: Path, content: bytes) -> None:
    """Write a whole file so that after a power cut either the old or the new content stands, never a part."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def lock_folder(folder: Path) -> int:
    """Take the folder for this process until it ends; returns the lock's descriptor.

    Raises Locked where another process has it.
    """
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Locked(f"{folder} is used by another agent; stop it first, or give this one a spool of its own") from None
    return handle


def unlock(handle: int) -> None:
    """Let go of a lock that `lock_folder` returned."""
    os.close(handle)

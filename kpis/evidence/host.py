"""What only POSIX has: who may read a file, appends that survive a power cut, and the lock between two builders."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def open_to_others(file: BinaryIO) -> bool:
    """Return whether anyone but its owner may read or write an open file."""
    return bool(os.fstat(file.fileno()).st_mode & 0o077)


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that is not there yet, durably and whole; raises FileExistsError where it is there."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        sync_folder(path.parent)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make the folder's entries survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read and append, made where it is missing, while no other process has it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    with os.fdopen(handle, "rb+") as file:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield file
        file.flush()
        os.fsync(handle)

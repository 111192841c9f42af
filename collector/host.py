"""What only POSIX has: durable renames, the lock that keeps a second agent out, and word to systemd."""

import fcntl
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger("plantproof.agent")


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


def hung_up() -> bool:
    """Return whether the terminal of the error output is gone, as when its window was closed."""
    try:
        os.tcgetpgrp(sys.stderr.fileno())
    except OSError:
        return True
    return False


def ask_to_reload(pid: int) -> None:
    """Ask the agent of a process to read its configuration anew.

    Raises ProcessLookupError where no such process is an agent's, PermissionError where it is another user's.
    """
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        words = b""
    if b"plantproof" not in words:  # the number of an agent that is gone, or of one in a container
        raise ProcessLookupError(pid)
    os.kill(pid, signal.SIGHUP)


class ServiceManager:
    """Where systemd listens to a service of Type=notify; tells nobody where NOTIFY_SOCKET is not set."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Take the socket's address (one that begins with @ is abstract), and how often the watchdog is to be fed."""
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._silent = False
        self.feed_every: float | None = None
        """Half of what the watchdog waits [s]; None: there is none."""
        every = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        if self._address and ours and every.isdecimal() and int(every):
            self.feed_every = int(every) / 2e6

    def tell(self, *words: str) -> None:
        """Send assignments such as READY=1 in one datagram; what cannot be sent is logged; never waits."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto("\n".join(words).encode(), address)
            self._silent = False
        except OSError as error:
            if not self._silent:
                log.warning("systemd cannot be told by %s: %s", self._address, error)
            self._silent = True

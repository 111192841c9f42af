"""Messages that could not be used are kept, with topic, reason and bytes, synced before they are acknowledged."""

import base64
import contextlib
import datetime as dt
import errno
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from collector import host
from collector.ledger import Ledger
from connectors.base import Refused

NAME = "messages"
"""Where messages of sources are kept; what sinks refuse has names of its own."""
MOST = 32 * 2**20
"""So large one of the two files grows [B]; then the older one goes."""


class Quarantine:
    """Two files in the folder `quarantine` of a spool, which take turns; use one from one thread at a time."""

    def __init__(self, folder: Path, ledger: Ledger, *, name: str = NAME, most: int = MOST) -> None:
        """Take where it lies, and the ledger that is told when the oldest messages make room [B]."""
        self._file, self._older = _files(folder, name)
        self._ledger, self._most = ledger, most
        self._entered = False
        """Whether the folder's entries, and its own, survive a power cut."""

    def add(self, refused: Iterable[tuple[str, Refused]]) -> None:
        """Append messages, each with its source, and sync them; raises OSError, and nothing of them counts then."""
        self._file.parent.mkdir(exist_ok=True)
        self._make_room()
        handle = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            before = os.fstat(handle).st_size
            # What a kill or a power cut tore is ended first.
            torn = before > 0 and os.pread(handle, 1, before - 1) != b"\n"
            try:
                _write(handle, itertools.chain([b"\n"] if torn else [], (_line(*one) for one in refused)))
            except OSError:
                with contextlib.suppress(OSError):  # what stays is a torn line, and the next try writes all of it
                    os.ftruncate(handle, before)
                raise
        finally:
            os.close(handle)
        if not self._entered:
            host.sync_folder(self._file.parent)
            host.sync_folder(self._file.parent.parent)
            self._entered = True

    def _make_room(self) -> None:
        if not self._file.exists():
            return
        if self._file.stat().st_size < self._most:
            return
        if self._older.exists():
            with self._older.open("rb") as file:
                count = sum(1 for _ in file)
            self._ledger.add("dropped", "quarantine full, oldest messages dropped", messages=count)
        self._entered = False
        self._file.replace(self._older)
        host.sync_folder(self._file.parent)


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.jsonl", folder / f"{name}.1.jsonl"


def _write(handle: int, lines: Iterable[bytes]) -> None:
    for line in lines:
        if os.write(handle, line) < len(line):
            raise OSError(errno.ENOSPC, "no room for the whole of a quarantined message")
    os.fsync(handle)


def _line(source: str, one: Refused) -> bytes:
    entry = {
        "ts": dt.datetime.fromtimestamp(one.received / 1e9, dt.UTC).isoformat(),
        "source": source,
        "topic": one.place,
        "reason": one.reason,
        "size": one.size,
        "payload": base64.b64encode(one.payload).decode(),
    }
    return (json.dumps(entry, ensure_ascii=True) + "\n").encode()


def read_quarantine(folder: Path, name: str = NAME) -> Iterator[dict[str, Any]]:
    """Yield the messages, oldest first, with `payload` as bytes; a line that is torn is passed over."""
    for file in reversed(_files(folder, name)):
        if file.exists():
            with file.open("rb") as lines:
                for line in lines:
                    try:
                        entry = json.loads(line)
                    except ValueError:
                        continue
                    yield entry | {"payload": base64.b64decode(entry["payload"])}

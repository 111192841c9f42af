"""The ledger: an append-only record of everything that was lost, refused, quarantined or restarted, and why."""

import datetime as dt
import errno
import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collector import host

log = logging.getLogger("plantproof.ledger")


class Losses:
    """What one connection dropped, by reason, and how much of it the ledger has already."""

    def __init__(self, counts: Counter[str]) -> None:
        """Take the counter that the connector counts in."""
        self._counts = counts
        self._noted: Counter[str] = Counter()

    def take(self, *, only_new: bool = False) -> Counter[str]:
        """Return what was dropped since the last call, of reasons never told before where `only_new`."""
        fresh = self._counts - self._noted
        if only_new:
            fresh = Counter({reason: count for reason, count in fresh.items() if reason not in self._noted})
        self._noted += fresh
        return fresh


class Ledger:
    """One JSON line an entry, synced before the call returns; what a full disk refuses is written with the next.

    Any thread may add to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: list[bytes] = []
        self._lock = threading.Lock()
        self._entered = False
        """Whether the file's name survives a power cut."""
        self.counts: Counter[str] = Counter(entry["event"] for entry in read_ledger(path))

    def add(self, event: str, reason: str, **facts: Any) -> None:
        """Append what happened, why, and its facts (counts, ranges, names)."""
        entry = {"ts": dt.datetime.now(dt.UTC).isoformat(), "event": event, "reason": reason, **facts}
        line = (json.dumps(entry, ensure_ascii=False, default=str) + "\n").encode()
        with self._lock:
            self._waiting.append(line)
            self.counts[event] += 1
            try:
                self._write()
            except OSError as error:
                log.error("ledger: %s; %d entries wait", error, len(self._waiting))  # noqa: TRY400

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the entries that are written, oldest first."""
        return read_ledger(self.path)

    def _write(self) -> None:
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            end = os.fstat(handle).st_size
            if end and os.pread(handle, 1, end - 1) != b"\n":
                os.write(handle, b"\n")  # a part of a line, which readers pass over, must not swallow the next
            while self._waiting:
                if os.write(handle, self._waiting[0]) < len(self._waiting[0]):
                    raise OSError(errno.ENOSPC, "no room for the whole entry")
                self._waiting.pop(0)
            os.fsync(handle)
        finally:
            os.close(handle)
        if not self._entered:
            host.sync_folder(self.path.parent)
            self._entered = True


def read_ledger(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries, oldest first; a line torn by a power cut is passed over."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(entry, dict) and "event" in entry:
                yield entry

"""The ledger: an append-only record of everything that was lost, refused, quarantined or restarted, and why."""

import datetime as dt
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any


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
    """One JSON line an entry, synced before the call returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[str] = Counter(entry["event"] for entry in read_ledger(path))

    def add(self, event: str, reason: str, **facts: Any) -> None:
        """Append what happened, why, and its facts (counts, ranges, names)."""
        entry = {"ts": dt.datetime.now(dt.UTC).isoformat(), "event": event, "reason": reason, **facts}
        line = json.dumps(entry, ensure_ascii=False, default=str) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            os.write(handle, line.encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        self.counts[event] += 1


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

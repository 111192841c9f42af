"""What of an agent's ledger a package cites: the entries of its period, as they were written."""

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator

from config.plant import Plant
from kpis.evidence.layout import LEDGER

_SECOND_NS = 1_000_000_000


def extract(plant: Plant, start: int, end: int) -> bytes | None:
    """Return the ledger's lines of [start, end) [ns since 1970, UTC]; None where no ledger is on this machine.

    Raises OSError where it cannot be read.
    """
    file = plant.resolve(plant.spool.path) / LEDGER
    if not file.exists():
        return None
    lines = file.read_bytes().splitlines(keepends=True)
    return b"".join(line for line in lines if (at := _time(line)) is not None and start <= at < end)


def events(lines: bytes) -> dict[str, int]:
    """Return how often each event stands in these lines, by name; raises ValueError where a line is no entry."""
    return dict(sorted(Counter(str(entry["event"]) for entry in _entries(lines)).items()))


def _entries(lines: bytes) -> Iterator[dict[str, object]]:
    for number, line in enumerate(lines.splitlines(), 1):
        entry = json.loads(line)
        if not isinstance(entry, dict) or "event" not in entry:
            raise ValueError(f"{LEDGER}:{number}: is no entry of a ledger")
        yield entry


def _time(line: bytes) -> int | None:
    """Return when an entry was written [ns]; None for a line that a power cut tore."""
    try:
        entry = json.loads(line)
        written = dt.datetime.fromisoformat(entry["ts"])
        entry["event"]
    except (ValueError, TypeError, KeyError):
        return None
    since = written - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (since.days * 86_400 + since.seconds) * _SECOND_NS + since.microseconds * 1_000

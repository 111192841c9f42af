"""What the agent knows of itself: one JSON file, replaced each second; freshness decides, not the socket."""

import contextlib
import datetime as dt
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

STALE_AFTER_S = 5.0
"""A status file older than this [s] belongs to an agent that is gone or stuck."""

FRESH_PERIODS = 3
"""Data older than this many periods is not fresh."""

HANGS_AFTER_S = 60.0
"""A store that takes longer than this for one write [s] hangs."""


@dataclass(slots=True, kw_only=True)
class SourceStatus:
    """One source: its link, and how old its data is."""

    kind: str
    points: int
    expect_ns: int
    """The longest time between two readings that is in order [ns]."""
    state: str = "starting"
    """starting, connected, lost, refused or stopped"""
    error: str = ""
    connects: int = 0
    readings: int = 0
    rows: int = 0
    faults: int = 0
    """What was dropped, overflowed or did not fit."""
    flags: dict[str, int] = field(default_factory=dict)
    """What was kept although it is in doubt."""
    filled: int = 0
    """Rows from the source's own history."""
    filled_noted: int = 0
    """So many of them stand in the ledger."""
    warnings: list[str] = field(default_factory=list)
    """What a person should know of a connection that works."""
    link: dict[str, float | int | Mapping[str, float]] = field(default_factory=dict)
    """How the link itself does, by the connector's own names."""
    coverage: dict[str, Any] = field(default_factory=dict)
    """Points: configured, monitored, fresh, and the first few that are not fresh."""
    silent: int = 0
    """Points that were heard of, and not for three heartbeats, although others of the source may be."""
    last_data: float | None = None
    """Monotonic time of the last readings [s]."""

    def fresh(self, now: float) -> bool:
        """Return whether data came within three periods, of all that ever spoke, and the link stands."""
        if self.silent or self.state in ("lost", "refused"):
            return False
        return self.last_data is not None and (now - self.last_data) * 1e9 <= FRESH_PERIODS * self.expect_ns


@dataclass(slots=True, kw_only=True)
class SinkStatus:
    """One sink: how far it is, and what stops it."""

    kind: str
    cursor: int = 0
    rows: int = 0
    error: str = ""
    caught_up: bool = False
    upkeep: str = ""
    """What keeps the store's housekeeping from its work."""
    figures: dict[str, float] = field(default_factory=dict)
    """How the store itself does, by the sink's own names."""
    writing_since: float | None = None
    """Monotonic time at which the write under way began [s]."""
    stored_until: int | None = None
    """Receive time of the newest sample up to which all are stored [ns]."""

    def report(self, now: float) -> dict[str, Any]:
        """Return the status as plain data; a write that takes too long is an error."""
        about = asdict(self)
        since, until = about.pop("writing_since"), about.pop("stored_until")
        behind = not self.caught_up and until is not None
        about["behind_s"] = round(max(0.0, time.time() - until / 1e9), 1) if behind else 0.0
        if not self.error and since is not None and now - since > HANGS_AFTER_S:
            about["error"] = f"a write takes {now - since:.0f} s by now; the store hangs"
        return about


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadStatus:
    """What became of one wish to reload the configuration."""

    number: int
    """1 for the first since the agent started."""
    began: str = ""
    """When it began to read the files: what was changed later is not in it."""
    at: str
    """When it was over."""
    refused: str = ""
    """Why the configuration before is kept; empty: the new one is in use."""
    faults: list[str] = field(default_factory=list)
    """Every fault of the new configuration, with its place."""
    sources: dict[str, list[str]] = field(default_factory=dict)
    """Names of those that were restarted, added, removed and kept."""
    sinks: dict[str, list[str]] = field(default_factory=dict)
    """The same of sinks."""
    waits_for_restart: list[str] = field(default_factory=list)
    """Sections that changed and are taken at a start alone."""


@dataclass(slots=True, kw_only=True)
class Status:
    """The whole agent."""

    agent: str
    plant: str
    sources: dict[str, SourceStatus] = field(default_factory=dict)
    sinks: dict[str, SinkStatus] = field(default_factory=dict)
    spool: dict[str, Any] = field(default_factory=dict)
    ledger: dict[str, int] = field(default_factory=dict)
    reload: ReloadStatus | None = None
    """What became of the last wish to reload the configuration."""
    health: dict[str, str] = field(default_factory=dict)
    """Where the agent answers how it does, and what keeps it from it; empty where nobody asked."""
    stopped: bool = False
    started: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat())

    def report(self) -> dict[str, Any]:
        """Return the status as plain data, freshness judged now."""
        now = time.monotonic()
        sources = {}
        for name, source in self.sources.items():
            about = asdict(source)
            last = about.pop("last_data")
            del about["filled_noted"]
            sources[name] = about | {
                "age_s": None if last is None else round(now - last, 3),
                "fresh": source.fresh(now),
            }
        flowing = bool(sources) and all(s["fresh"] for s in sources.values())
        sinks = {name: sink.report(now) for name, sink in self.sinks.items()}
        stored = not self.spool.get("error") and not any(sink["error"] for sink in sinks.values())
        return {
            "healthy": flowing and stored,
            "agent": self.agent,
            "plant": self.plant,
            "pid": os.getpid(),
            "stopped": self.stopped,
            "started": self.started,
            "updated": dt.datetime.now(dt.UTC).isoformat(),
            "sources": sources,
            "sinks": sinks,
            "spool": self.spool,
            "ledger": self.ledger,
            "reload": None if self.reload is None else asdict(self.reload),
            "health": self.health,
        }

    def write(self, path: Path) -> None:
        """Replace the status file; a torn one cannot be seen (it need not survive a power cut)."""
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(json.dumps(self.report(), ensure_ascii=False, indent=1), encoding="utf-8")
        temporary.replace(path)


def counted(faults: int) -> str:
    """Return how many faults a configuration has, in words."""
    return f"{faults} fault{'' if faults == 1 else 's'} in the configuration"


def exchanged(kind: str, names: Mapping[str, Sequence[str]]) -> str:
    """Return in words what a reload did to sources or sinks: `sources: restarted line1; 4 kept`."""
    parts = [f"{what} {', '.join(some)}" for what, some in names.items() if some and what != "kept"]
    kept = len(names.get("kept", ()))
    return f"{kind}: {'; '.join([*parts, f'{kept} kept'])}"


def read_status(path: Path, *, now: dt.datetime | None = None) -> dict[str, Any]:
    """Return the agent's last report; `healthy` is False as soon as the report itself is old, or of a time to come.

    Raises FileNotFoundError where no agent ever ran.
    """
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    age = ((now or dt.datetime.now(dt.UTC)) - dt.datetime.fromisoformat(report["updated"])).total_seconds()
    report["age_s"] = round(age, 3)
    gone = abs(age) > STALE_AFTER_S  # a clock that was set back since: an agent that lives would have written anew
    report["agent_state"] = "stopped" if report.get("stopped") else "no sign of life" if gone else "running"
    report["healthy"] = report["healthy"] and report["agent_state"] == "running"
    return report


def spool_age(folder: Path, *, now: float | None = None) -> float | None:
    """Return how long ago something was last written into a spool [s]; None where nothing ever was."""
    written = []
    for path in folder.glob("segment-*"):
        with contextlib.suppress(FileNotFoundError):  # stored and removed meanwhile
            written.append(path.stat().st_mtime)
    return round(max(0.0, (time.time() if now is None else now) - max(written)), 1) if written else None

"""Packages built on request: one at a time in a thread of its own, and what became of each on disk."""

import json
import logging
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from kpis.evidence.contents import Asked
from kpis.evidence.progress import Progress
from kpis.server import files

log = logging.getLogger("plantproof.server")

MOST_QUEUED = 8
KEPT = 200
"""Of the jobs that are over, so many are kept."""
State = Literal["queued", "running", "done", "failed"]
_ID = re.compile(r"[0-9]{10,}-[0-9a-f]{16}")


class BuildFault(Exception):  # noqa: N818  as it is told
    """A package cannot be built: the thing, the rule; the next step."""


class QueueFull(Exception):  # noqa: N818  a state, told as it is
    """As many jobs wait as may."""


class Stopped(Exception):  # noqa: N818  not a fault: the server ends
    """The server ends while a package is being built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a job failed, as the API tells it."""

    code: str
    message: str
    next: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One package to be built, and how far it is."""

    job: str
    state: State = "queued"
    doing: str = ""
    progress: float = 0.0
    error: Fault | None = None
    package: str | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state in ("done", "failed")


_INTERRUPTED = Fault(code="interrupted", message="the server ended before the package was built", next="order it again")

Build = Callable[[Asked, Progress], str]
"""Builds and keeps a package; returns its id. Raises BuildFault."""


class Jobs:
    """The jobs of a plant in a folder, a file each."""

    def __init__(self, folder: Path, build: Build) -> None:
        self._folder, self._build = folder, build
        self._news = threading.Condition()
        self._known: dict[str, Job] = {}
        self._queue: deque[tuple[str, Asked]] = deque()
        self._running: tuple[str, Asked] | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="packages", daemon=True)

    def start(self) -> None:
        """Read the jobs of before, of which none goes on, and begin to work; raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        files.clear_unfinished(self._folder)
        paths = sorted(path for path in self._folder.glob("*.json") if _ID.fullmatch(path.stem))
        for path in paths[:-KEPT]:
            path.unlink()
        for path in paths[-KEPT:]:
            job = _read(path)
            if not job.over:
                job = replace(job, state="failed", error=_INTERRUPTED)
                self._write(job)
            self._known[job.job] = job
        self._thread.start()

    def stop(self, wait_s: float = 5.0) -> None:
        """Begin nothing more, and give what is being built a moment to notice."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        self._thread.join(wait_s)

    def order(self, asked: Asked) -> Job:
        """Return the job of a package: the one that waits or runs for it already, or a new one; raises QueueFull."""
        with self._news:
            for name, other in (*self._queue, *filter(None, [self._running])):
                if other == asked:
                    return self._known[name]
            if len(self._queue) >= MOST_QUEUED:
                raise QueueFull
            job = Job(job=f"{time.time_ns() // 10**6}-{secrets.token_hex(8)}")
            self._write(job)
            self._forget()
            self._known[job.job] = job
            self._queue.append((job.job, asked))
            self._news.notify_all()
            return job

    def _forget(self) -> None:
        """Let go of the oldest jobs that are over, beyond those that are kept."""
        over = [name for name, job in self._known.items() if job.over]
        for name in over[: len(over) - KEPT] if len(over) > KEPT else ():
            (self._folder / f"{name}.json").unlink(missing_ok=True)
            del self._known[name]

    def find(self, name: str) -> Job:
        """Return a job as it is now; raises LookupError."""
        return self._known[name]

    def _work(self) -> None:
        while (taken := self._next()) is not None:
            self._do(*taken)

    def _do(self, name: str, asked: Asked) -> None:
        self._set(name, state="running")
        try:
            package = self._build(asked, lambda doing, share: self._told(name, doing, share))
        except BuildFault as error:
            message, _, step = str(error).rpartition("; ")
            self._fail(name, Fault(code="build_failed", message=message or step, next=step))
        except Stopped:
            self._fail(name, _INTERRUPTED)
        except Exception as error:  # one job's fault must not end the others
            log.exception("job %s", name)
            what = f"the builder has a fault of its own: {type(error).__name__}"
            self._fail(name, Fault(code="unexpected", message=what, next="look into the server's log"))
        else:
            self._set(name, state="done", doing="", progress=1.0, package=package)

    def _next(self) -> tuple[str, Asked] | None:
        """Return what is to be built next; None where the server ends."""
        with self._news:
            self._running = None
            self._news.wait_for(lambda: self._queue or self._stopping)
            if self._stopping:
                return None
            self._running = self._queue.popleft()
            return self._running

    def _told(self, name: str, doing: str, share: float) -> None:
        if self._stopping:
            raise Stopped
        self._known[name] = replace(self._known[name], doing=doing, progress=min(max(share, 0.0), 1.0))

    def _fail(self, name: str, fault: Fault) -> None:
        self._set(name, state="failed", error=fault)

    def _set(self, name: str, **change: object) -> None:
        job = replace(self._known[name], **change)  # type: ignore[arg-type]
        try:
            self._write(job)
        except OSError as error:  # the job's end is told all the same, until a restart
            log.error("job %s cannot be written: %s", name, error)  # noqa: TRY400
        self._known[name] = job

    def _write(self, job: Job) -> None:
        files.write_json(self._folder / f"{job.job}.json", asdict(job))


def _read(path: Path) -> Job:
    """Return a job from its file; one that cannot be read has failed."""
    try:
        told = json.loads(path.read_bytes())
        error = None if told["error"] is None else Fault(**told["error"])
        return Job(**{**told, "job": path.stem, "error": error})
    except (OSError, ValueError, TypeError, LookupError):
        fault = Fault(code="unreadable", message="the job's file cannot be read", next="order it again")
        return Job(job=path.stem, state="failed", error=fault)

"""One target's deliveries: the oldest package first, each until it arrived or is refused, and noted on disk."""

import datetime as dt
import hashlib
import json
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from config.evidence import Push
from kpis.server import files
from kpis.server.push.base import Later, Refused, Target
from kpis.server.shelf import Package, Shelf

log = logging.getLogger("plantproof.push")

FIRST_S, LONGEST_S = 5.0, 3600.0
"""Pauses after a failure double from the first to the longest [s]."""
State = Literal["waiting", "delivered", "refused"]
_SINCE = "target.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What became of a package at a target."""

    package: str
    state: State = "waiting"
    attempts: int = 0
    at: float | None = None
    """Of the last attempt [s since 1970, UTC]."""
    next_at: float | None = None
    """Of the next attempt [s since 1970, UTC]."""
    error: str = ""


def pause(attempts: int) -> float:
    """Return how long to wait after so many failures [s]."""
    longest: float = min(LONGEST_S, FIRST_S * 2.0 ** min(attempts - 1, 20))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  spreads attempts, no secret


class Delivery:
    """Sends what comes onto the shelf to one target, in a thread of its own."""

    def __init__(
        self,
        push: Push,
        target: Target,
        shelf: Shelf,
        *,
        clock: Callable[[], float] = time.time,
        pause: Callable[[int], float] = pause,
    ) -> None:
        self.push, self.target = push, target
        self._shelf, self._clock, self._pause = shelf, clock, pause
        # Another place under the same name is another target: what the old one has, the new one has not.
        place = hashlib.sha256(f"{push.kind} {push.url} {push.path}".encode()).hexdigest()[:8]
        self._folder = shelf.folder / "push" / f"{push.name.replace('/', '-')}-{place}"
        self._known: dict[str, Delivered] = {}
        self._before: frozenset[str] = frozenset()
        self._news = threading.Condition()
        self._stopping, self._woken = False, True
        self._thread = threading.Thread(target=self._work, name=f"push-{push.name}", daemon=True)

    def start(self) -> None:
        """Read what became of packages before; those that were there before the target are not sent. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        files.clear_unfinished(self._folder)
        since = self._folder / _SINCE
        if not since.exists():
            files.write_json(since, {"to": self.target.to, "before": [one.id for one in self._shelf.all()[0]]})
        self._before = frozenset(json.loads(since.read_bytes())["before"])
        for path in self._folder.glob("*.json"):
            if path.name != _SINCE:
                self._known[path.stem] = _read(path)
        self._thread.start()

    def stop(self, wait_s: float = 2.0) -> None:
        """Send nothing more."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        self._thread.join(wait_s)

    def wake(self) -> None:
        """Look at the shelf again: there is something new."""
        with self._news:
            self._woken = True
            self._news.notify_all()

    def told(self) -> list[Delivered]:
        """Return what became of each package, the oldest first."""
        waiting = [Delivered(package=one.id) for one in self._shelf.all()[0] if one.id not in self._before]
        return [self._known.get(one.package, one) for one in waiting]

    def _work(self) -> None:
        while not self._stopping:
            with self._news:
                self._woken = False
            try:
                wait = self._turn()
            except OSError as error:  # the shelf or the notes, not the target
                log.error("push %s: %s", self.push.name, error)  # noqa: TRY400
                wait = self._pause(1)
            with self._news:
                self._news.wait_for(lambda: self._stopping or self._woken, wait)

    def _turn(self) -> float | None:
        """Send what waits, in order; returns how long to wait for the next attempt [s], None where nothing waits."""
        for one in self._shelf.all()[0]:
            if one.id in self._before or self._stopping:
                continue
            known = self._known.get(one.id, Delivered(package=one.id))
            if known.state != "waiting":
                continue
            wait = (known.next_at or 0.0) - self._clock()
            if wait <= 0:
                wait = self._attempt(one, known)
            if wait > 0:
                return wait  # what comes after it waits too: packages arrive in order
        return None

    def _attempt(self, package: Package, known: Delivered) -> float:
        """Send once and note what became of it; returns how long to wait before the next attempt [s], 0 for none."""
        tried = replace(known, attempts=known.attempts + 1, at=self._clock(), next_at=None, error="")
        wait = 0.0
        try:
            self.target.send(package, self._shelf.path(package))
            tried = replace(tried, state="delivered")
        except Refused as error:
            tried = replace(tried, state="refused", error=str(error))
        except Later as error:
            wait = max(self._pause(tried.attempts), error.after or 0.0, 0.001)
            tried = replace(tried, next_at=self._clock() + wait, error=str(error))
        if tried.error:
            log.warning("push %s: %s: %s", self.push.name, package.id, tried.error)
        self._known[package.id] = tried
        files.write_json(self._folder / f"{package.id}.json", asdict(tried))
        return wait


def _read(path: Path) -> Delivered:
    """Return what was noted; where that is damaged the package may have arrived, and is not sent twice."""
    try:
        return Delivered(**{**json.loads(path.read_bytes()), "package": path.stem})
    except (OSError, ValueError, TypeError):
        error = f"{path.name} is damaged; ask whether the package arrived, and remove the file to send it again"
        return Delivered(package=path.stem, state="refused", error=error)


def iso(seconds: float | None) -> str | None:
    """Return an instant in UTC as ISO 8601."""
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds")

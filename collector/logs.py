"""How the agent's log looks: one JSON line an event, or text, which a terminal gets in colour."""

import datetime as dt
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import click

from collector.findings import printable

_COLOURS: Mapping[int, str] = {
    logging.DEBUG: "bright_black",
    logging.INFO: "green",
    logging.WARNING: "yellow",
    logging.ERROR: "red",
    logging.CRITICAL: "bright_red",
}
_PRIORITIES: Mapping[int, int] = {
    logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2,
}  # fmt: skip
"""Levels as syslog numbers them; the journal takes them off the lines (sd-daemon(3))."""
AGAIN_S = 3600.0
"""A fault that goes on is told again so often [s]."""
MOST_WORDS = 100
"""So many different faults of one thing are remembered; where each try words it anew, each is told [-]."""


class Told:
    """What is tried again and again and fails: told when it begins, when it fails otherwise, and once an hour.

    Status shows each failure, and metrics count them: the log of a gateway must not fill with one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, tuple[float, int]] = {}
        """When a fault was told last, and how often it came since, by its words."""

    def worth(self, fault: str) -> str:
        """Return the fault as the log tells it now; an empty text where it was told within the hour."""
        now = self._clock()
        told, times = self._since.get(fault, (-AGAIN_S, 0))
        if now - told < AGAIN_S:
            self._since[fault] = told, times + 1
            return ""
        if fault not in self._since and len(self._since) >= MOST_WORDS:
            self._since.clear()
        self._since[fault] = now, 0
        return f"{fault} ({times} times more since this was told last)" if times else fault

    def over(self) -> None:
        """Note that it went well: what fails next is told at once."""
        self._since.clear()


class JsonLines(logging.Formatter):
    """One JSON line an event."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON; `ts` in [s since 1970], `time` the same in ISO 8601, UTC."""
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
        event: dict[str, Any] = {"ts": record.created, "time": moment.isoformat(timespec="milliseconds")}
        event |= {"level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        line = json.dumps(event, ensure_ascii=False)
        # What ends a line for some readers, or is a command to a terminal, stands as JSON writes it in ASCII.
        return line if line.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


class Coloured(logging.Formatter):
    """Events as a person at a terminal reads them: time of day, level in colour, source, message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record; what other machines said sends nothing else to the terminal."""
        message, *more = super().format(record).splitlines() or [""]
        level = click.style(f"{record.levelname:<8}", fg=_COLOURS.get(record.levelno))
        source = click.style(record.name.removeprefix("plantproof."), dim=True)
        first = f"{self.formatTime(record, '%H:%M:%S')} {level} {source}  {printable(message)}"
        return "\n".join([first, *(f"         {printable(line)}" for line in more)])


class Plain(logging.Formatter):
    """Events as text on a terminal that wants no colour; what other machines said sends nothing else to it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record."""
        return "\n".join(map(printable, super().format(record).split("\n")))


class Prioritised(logging.Formatter):
    """Lines that begin with their priority, so that `journalctl --priority` finds them."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return the record with the priority before each of its lines."""
        mark = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(mark + line for line in self._inner.format(record).split("\n"))


def formatter_of(stream: TextIO, *, as_json: bool) -> logging.Formatter:
    """Return how events are written into a stream."""
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    if _is_journal(stream):
        return Prioritised(JsonLines() if as_json else logging.Formatter(form))
    if as_json:
        return JsonLines()
    if not stream.isatty():
        return logging.Formatter(form)
    return Plain(form) if "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" else Coloured()


def to_stderr(*, as_json: bool) -> None:
    """Write the log to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter_of(sys.stderr, as_json=as_json))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("plantproof").setLevel(logging.INFO)
    for noisy in ("asyncua", "pymodbus"):  # their warnings reach status by our own words
        logging.getLogger(noisy).setLevel(logging.CRITICAL)


def _is_journal(stream: TextIO) -> bool:
    """Return whether systemd's journal reads the stream: it names the stream's device and inode."""
    told = os.environ.get("JOURNAL_STREAM")
    if not told:
        return False
    try:
        found = os.fstat(stream.fileno())
    except OSError:  # a stream without a file
        return False
    return told == f"{found.st_dev}:{found.st_ino}"

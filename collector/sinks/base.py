"""The contract between the agent and a sink.

A sink is one module in collector/sinks/; the module's name is the sink's `kind`. The agent makes one instance, calls
`start` once, then `write` with ranges of sequence numbers that never overlap, each after the one before has returned.
They rise, but for a backlog: then ranges of it and of what is new take turns. After a fault `start` comes again, and
after a crash the ranges that no `write` returned for come again, perhaps cut otherwise. Between writes `upkeep` is
called. All calls come from one worker thread of the sink's own, so that a slow store delays nobody else.
"""

import importlib
from collections.abc import Mapping
from typing import Protocol, cast, runtime_checkable

import polars as pl

from collector.ledger import Ledger
from collector.quarantine import Quarantine
from collector.ranges import Ranges
from config.plant import Plant
from config.plant import Sink as SinkConfig

KINDS = ("parquet", "influxdb")
"""The stores that are built in."""


class SinkRefused(Exception):  # noqa: N818
    """The store says no, and trying again alone will not help; the data stays in the spool."""


class SinkBusy(OSError):  # noqa: N818
    """The store asks to be left alone for a while; what was not written is to be written then."""

    def __init__(self, reason: str, retry_after: float) -> None:
        """Take what the store said, and how long it wants to be left alone [s]."""
        super().__init__(reason)
        self.retry_after = retry_after


class Sink(Protocol):
    """One store; see the module's text for who calls what when."""

    def __init__(
        self, config: SinkConfig, plant: Plant, *, agent: str, spool: str, ledger: Ledger, quarantine: Quarantine
    ) -> None:
        """Take the config; touches nothing.

        agent, spool: name where sequence numbers count. ledger: is told of what the store lost or removed.
        quarantine: takes what the store will never accept.
        """

    def start(self, done: Ranges) -> Ranges:
        """Mend what a crash left, and return all ranges that the store has whole (at least `done`).

        Raises what `write` raises.
        """

    def write(self, frame: pl.DataFrame, first: int, last: int) -> None:
        """Store a SAMPLE frame, the batches `first` to `last`; durable and exactly once when it returns.

        Raises OSError for what may pass (the agent tries again; SinkBusy says when) and SinkRefused for what a person
        must mend. What the store refuses of a frame for good goes to the quarantine, and the rest is stored.
        """

    def upkeep(self, cursor: int) -> bool:
        """Do a piece of the store's housekeeping that takes a second or so; return whether more waits.

        cursor: all batches up to this one are durably known to be stored. Raises OSError.
        """

    def figures(self) -> Mapping[str, float]:
        """Return what status shows of the store beside rows and lag, by name; called from another thread."""

    def close(self) -> None:
        """Let go of all resources; may be called twice."""


@runtime_checkable
class SinkModule(Protocol):
    """What a sink's module must offer."""

    Sink: type[Sink]


def load(kind: str) -> SinkModule:
    """Import the sink of a kind; LookupError names the kinds there are."""
    if kind not in KINDS:
        raise LookupError(f"sink kind {kind!r} is unknown; it is one of {', '.join(KINDS)}")
    return cast(SinkModule, importlib.import_module(f"collector.sinks.{kind}"))

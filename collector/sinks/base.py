"""The contract between the agent and a sink.

A sink is one module in collector/sinks/; the module's name is the sink's `kind`. The agent makes one instance, calls
`start` once, then `write` with ranges of sequence numbers that rise without overlap, each after the one before has
returned; after a crash the range after the sink's cursor comes again, perhaps cut otherwise. All calls come from one
worker thread of the sink's own, so that a slow store delays nobody else.
"""

import importlib
from typing import Protocol, cast, runtime_checkable

import polars as pl

from config.plant import Plant
from config.plant import Sink as SinkConfig

KINDS = ("parquet",)
"""The stores that are built in."""


class SinkRefused(Exception):  # noqa: N818
    """The store says no, and trying again alone will not help; the data stays in the spool."""


class Sink(Protocol):
    """One store; see the module's text for who calls what when."""

    def __init__(self, config: SinkConfig, plant: Plant, *, agent: str, spool: str) -> None:
        """Take the config; `agent` and `spool` name where sequence numbers count. Touches nothing."""

    def start(self, cursor: int) -> int:
        """Mend what a crash left, and return the sequence up to which the store is complete (at least `cursor`)."""

    def write(self, frame: pl.DataFrame, first: int, last: int) -> None:
        """Store a SAMPLE frame, the batches `first` to `last`; durable and exactly once when it returns.

        Raises OSError for what may pass (the agent tries again) and SinkRefused for what a person must mend.
        """

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

"""The contract between a connector and the agent.

A connector is one module in connectors/; the module's name is the source's `kind`. It has

* `check_source(source) -> str | None`: what is wrong with the source's URL or security, or None; never connects;
* `check(source, point) -> str | None`: what is wrong with a point's address or type, or None; likewise;
* `reads(source, points) -> list[str]`: what will be read, in lines for a person who signs it off; likewise;
* `class Connector`: one instance per connection. The agent calls `connect` once, iterates `readings` until it ends
  or raises, then calls `close`, which may be called at any time and more than once. For the next try it makes a new
  instance: nothing is carried over from a broken connection.

`connect` and `readings` raise SourceLost for what may pass (the agent backs off and tries again) and SourceRefused
for what a person must mend (the agent says so in status and retries only at its slowest pace). A point that fails
alone is not an error: it gets a Bad status, and its neighbours flow on.

A `Readings` without rows says that the link lives and subscribed values stand (all, or those that it names in
`stands`): heartbeats come of it. Where `stands` is empty as well it says nothing but what it carries besides.

Columns, not objects: a poll or message burst is one `Readings`, whose arrays run in parallel.
"""

import importlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from config.plant import Point, Source
from config.status import BAD_NO_COMMUNICATION

Figures = Mapping[str, "float | int | Mapping[str, float]"]
"""Figures by name, or several of one kind by what they are of."""

KINDS = ("opcua", "modbus", "mqtt")
"""The protocols that are built in."""


class SourceLost(Exception):  # noqa: N818  the contract's name: it is a state of the link
    """The link is down or in doubt: retry with back-off."""


class SourceRefused(Exception):  # noqa: N818
    """The source says no (wrong credentials, certificate, config): a person must act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A message that could not be used, or not as a whole; the agent keeps it in quarantine."""

    place: str
    """Where it came from: its topic."""
    reason: str
    payload: bytes
    """The message, or its beginning where it is long."""
    size: int
    """All of its bytes [B]."""
    received: int
    """[ns since 1970, UTC]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Values of one poll or burst, in parallel arrays of length n."""

    points: NDArray[np.intp]
    """Positions in the connector's point list."""
    ts: NDArray[np.int64]
    """Source time [ns since 1970, UTC]; the receive time where the source gives none."""
    ts_recv: int
    """When the agent got them [ns since 1970, UTC]."""
    value: NDArray[np.float64]
    """Numbers and booleans (0/1); NaN with `valid` False is null, NaN with `valid` True is the number NaN."""
    valid: NDArray[np.bool_]
    """Where False, there is no number: null, or a text."""
    status: NDArray[np.uint32]
    """OPC UA StatusCodes."""
    text: Sequence[str | None] | None = None
    """Strings, and integers that a float64 cannot hold exactly; None where no row has one."""
    acknowledge: Callable[[], None] | None = None
    """Called by the agent after these rows are committed and synced; from the event loop's thread."""
    urgent: bool = False
    """Whether the sender waits for acknowledgements before it sends more: the agent commits at once."""
    may_repeat: bool = False
    """Whether the peer sends again what it holds for lost; the agent drops rows that it has."""
    clock: int | None = None
    """What the clock of these rows' `ts` said when they were sent [ns since 1970, UTC]; None: it is ours."""
    stands: NDArray[np.intp] | None = None
    """Of a Readings without rows: whose values stand; None: those of every subscribed point."""
    historic: bool = False
    """Whether these rows fill a gap from the source's own history; they stand beside what is live."""
    refused: Sequence[Refused] = ()
    """What did not fit; it is in quarantine before anything is acknowledged."""
    tokens: Sequence[int] = ()
    """Names of the messages that this came from (below 2**63), committed with the rows; see Connector.taken."""

    def take(self, rows: NDArray[np.intp]) -> "Readings":
        """Return some of the rows."""
        text = [self.text[n] for n in rows.tolist()] if self.text is not None else None
        columns = {name: getattr(self, name)[rows] for name in ("points", "ts", "value", "valid", "status")}
        return replace(self, **columns, text=text)


def lost(points: NDArray[np.intp], now_ns: int, status: int = BAD_NO_COMMUNICATION) -> Readings:
    """Return the gap: one row per point with no value and a Bad status, at `now_ns` [ns since 1970, UTC]."""
    n = len(points)
    return Readings(
        points=points,
        ts=np.full(n, now_ns, np.int64),
        ts_recv=now_ns,
        value=np.full(n, np.nan),
        valid=np.zeros(n, np.bool_),
        status=np.full(n, status, np.uint32),
    )


class Connector(Protocol):
    """One connection to one source; see the module's text for who calls what when."""

    faults: Counter[str]
    """What was dropped, overflowed or did not fit, counted by reason; the agent notes it in status and ledger."""
    flags: Counter[str]
    """What was kept although it is in doubt (clocks that err), counted by reason; likewise in status and ledger."""
    since: NDArray[np.int64] | None
    """Time of each point's last good value [ns since 1970, UTC]; the agent sets it before `connect`."""

    taken: Sequence[int]
    """Tokens of the last messages that instances before this one handed over, oldest first; the agent sets it before
    `connect`."""

    filled: bool
    """Whether the gaps since `since` are filled, as far as the source can; else the next instance gets them again."""

    def __init__(self, source: Source, points: Sequence[Point]) -> None:
        """Take the source and its points; never connects."""

    async def connect(self) -> None:
        """Open the connection and check what can be checked; raises SourceLost or SourceRefused."""

    def warnings(self) -> list[str]:
        """Return what a person should know of a connection that works; shown in status."""

    def figures(self) -> Figures:
        """Return how the link itself does (bus time, requests), by name; shown in status."""

    def readings(self) -> AsyncIterator[Readings]:
        """Yield what is read, for ever; raises SourceLost when the link is in doubt."""

    async def close(self) -> None:
        """Let go of every socket and task; never raises, may be called twice."""


@runtime_checkable
class ConnectorModule(Protocol):
    """What a connector's module must offer."""

    Connector: type[Connector]

    @staticmethod
    def check_source(source: Source) -> str | None:
        """Return what is wrong with the source, or None."""

    @staticmethod
    def check(source: Source, point: Point) -> str | None:
        """Return what is wrong with the point's address or type, or None."""

    @staticmethod
    def reads(source: Source, points: Sequence[Point]) -> list[str]:
        """Return what will be read, a line for each point or request; the points passed `check`."""


def load(kind: str) -> ConnectorModule:
    """Import the connector of a source's kind, and with it its protocol library.

    Raises LookupError naming the kinds there are.
    """
    if kind not in KINDS:
        raise LookupError(f"source kind {kind!r} is unknown; it is one of {', '.join(KINDS)}")
    return cast(ConnectorModule, importlib.import_module(f"connectors.{kind}"))

"""Poll groups: the points of one period, read together, in requests that were encoded once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from asyncua import ua
from numpy.typing import NDArray

from connectors.opcua.messages import FRESH, STUMBLES, TOO_MUCH, Encoded, ServiceFault, read_parameters, read_response
from connectors.opcua.session import Session
from connectors.opcua.wire import Columns, Decoder, refused

log = logging.getLogger("plantproof.opcua")

PATIENCE = 3
"""So many times a request may fail as a whole for no stated reason before it is halved to find the node."""
AT_ONCE = 4
"""Requests of one group that are under way together."""
K = TypeVar("K", bound=Hashable)
Take = Callable[[NDArray[np.intp], Columns, int | None], Awaitable[None]]
"""Takes the positions of points, a row for each, and when the server sent them by its own clock [ns]."""


class Fan:
    """Which points each row of an answer is of: several may look at parts of one value."""

    def __init__(self, points: Sequence[Sequence[int]]) -> None:
        """Take the positions of the points of each row."""
        self.points = np.array([p for of_row in points for p in of_row], np.intp)
        self._counts = np.array([len(of_row) for of_row in points], np.intp)
        self._first = np.cumsum(self._counts) - self._counts
        self._plain = bool((self._counts == 1).all())

    def __len__(self) -> int:
        return len(self._counts)

    def spread(self, rows: NDArray[np.intp] | None, columns: Columns) -> tuple[NDArray[np.intp], Columns]:
        """Return the positions of points, and a row for each; `rows` are the fan's rows, None for all in order."""
        if self._plain:
            return (self.points if rows is None else self.points[rows]), columns
        rows = np.arange(len(self._counts)) if rows is None else rows
        counts = self._counts[rows]
        each = np.repeat(np.arange(len(rows)), counts)
        within = np.arange(len(each)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.points[self._first[rows][each] + within], columns.take(each)


def fanned(keys: Mapping[int, K], positions: Iterable[int]) -> tuple[list[K], list[list[int]]]:
    """Return the distinct keys of points in their order, and the positions of each one's points."""
    found: dict[K, list[int]] = {}
    for position in positions:
        found.setdefault(keys[position], []).append(position)
    return list(found), list(found.values())


class _Chunk:
    """Nodes that are read by one request."""

    def __init__(
        self, session: Session, nodes: Sequence[ua.NodeId], points: Sequence[Sequence[int]], max_age: float
    ) -> None:
        self.nodes, self._of, self._max_age = nodes, points, max_age
        self._fan = Fan(points)
        self._session, self._decoder = session, Decoder()
        self._stumbles, self.is_too_much = 0, False
        self._request: Encoded = session.encode(ua.ReadRequest(Parameters=read_parameters(nodes, max_age=max_age)))

    async def read(self, take: Take) -> bool:
        """Read once and hand over; returns False where the request is to be halved."""
        count, sent = len(self.nodes), None
        try:
            columns, sent = read_response(await self._session.exchange(self._request), self._decoder, count)
        except ServiceFault as error:
            if error.code not in TOO_MUCH | STUMBLES:
                raise
            self._stumbles += 1
            self.is_too_much = error.code in TOO_MUCH
            if count > 1 and (error.code in TOO_MUCH or self._stumbles >= PATIENCE):
                return False
            columns = refused(count, error.code)
        else:
            self._stumbles = 0
        await take(*self._fan.spread(None, columns), sent)
        return True

    def halves(self) -> "list[_Chunk]":
        """Return the same nodes in two requests."""
        middle = len(self.nodes) // 2
        parts = (slice(None, middle), slice(middle, None))
        return [_Chunk(self._session, self.nodes[part], self._of[part], self._max_age) for part in parts]


class Group:
    """Points that are read together, each node once, in as few requests as the server takes."""

    def __init__(
        self, session: Session, nodes: Mapping[int, ua.NodeId], positions: Iterable[int], *, max_age: float = FRESH
    ) -> None:
        """Take the points' nodes by position; `max_age` is messages.FRESH or CACHED."""
        distinct, points = fanned(nodes, positions)
        step = session.limits.read
        self._session = session
        self._parts = [
            _Chunk(session, distinct[i : i + step], points[i : i + step], max_age)
            for i in range(0, len(distinct), step)
        ]

    async def read(self, take: Take) -> None:
        """Read all once; `take` gets each answer as it comes.

        Raises ServiceFault, Malformed, TimeoutError and OSError. A request that is too much for the server is halved,
        now and from now on; one node that still is, is bad.
        """
        now = self._parts.copy()
        for start in range(0, len(now), AT_ONCE):
            await self._some(now[start : start + AT_ONCE], take)

    async def _some(self, some: Sequence[_Chunk], take: Take) -> None:
        done = [await some[0].read(take)] if len(some) == 1 else await asyncio.gather(*(c.read(take) for c in some))
        for chunk in (chunk for chunk, is_done in zip(some, done, strict=True) if not is_done):
            log.warning("%d nodes in one request are too many for %s", len(chunk.nodes), self._session.url)
            if chunk.is_too_much:
                self._session.take_less(len(chunk.nodes) // 2)
            halves = chunk.halves()
            at = self._parts.index(chunk)
            self._parts[at : at + 1] = halves
            for half in halves:
                await self._some([half], take)

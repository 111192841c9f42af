"""Poll groups: the points of one period, read together, in requests that were encoded once."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from asyncua import ua
from numpy.typing import NDArray

from connectors.opcua.messages import Encoded, read_parameters, read_response
from connectors.opcua.session import Session
from connectors.opcua.wire import Columns, Decoder

K = TypeVar("K", bound=Hashable)

TOO_MUCH = frozenset({
    0x8010_0000,  # BadTooManyOperations
    0x80B8_0000,  # BadRequestTooLarge
    0x80B9_0000,  # BadResponseTooLarge
    0x8008_0000,  # BadEncodingLimitsExceeded
    0x8006_0000,  # BadEncodingError
    0x8001_0000,  # BadUnexpectedError
    0x8002_0000,  # BadInternalError
    0x8003_0000,  # BadOutOfMemory
})  # fmt: skip
"""StatusCodes of a whole request that a smaller one may not meet."""


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


class Chunk:
    """Nodes that are read by one request."""

    def __init__(self, session: Session, nodes: Sequence[ua.NodeId], points: Sequence[Sequence[int]]) -> None:
        """Take the nodes and the positions of the points of each."""
        self.nodes, self._of = nodes, points
        self.fan = Fan(points)
        self._session, self._decoder = session, Decoder()
        self._request: Encoded = session.encode(ua.ReadRequest(Parameters=read_parameters(nodes)))

    async def read(self) -> tuple[NDArray[np.intp], Columns]:
        """Return the points' positions and values. Raises ServiceFault, Malformed, TimeoutError and OSError."""
        body = await self._session.exchange(self._request)
        return self.fan.spread(None, read_response(body, self._decoder, len(self.nodes)))

    def halves(self) -> "list[Chunk]":
        """Return the same nodes in two requests; one node alone has no halves."""
        middle = len(self.nodes) // 2
        if not middle:
            return []
        parts = (slice(None, middle), slice(middle, None))
        return [Chunk(self._session, self.nodes[part], self._of[part]) for part in parts]


def chunks(session: Session, nodes: Mapping[int, ua.NodeId], positions: Iterable[int]) -> list[Chunk]:
    """Return requests for the points' nodes, each node once, that keep to the server's limit."""
    distinct, points = fanned(nodes, positions)
    step = session.limits.read
    return [Chunk(session, distinct[i : i + step], points[i : i + step]) for i in range(0, len(distinct), step)]

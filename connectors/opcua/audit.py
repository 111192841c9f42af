"""A second look at subscribed points: a monitored item can die, or its node vanish, while its subscription lives."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from asyncua import ua
from numpy.typing import NDArray

from config.plant import Point
from config.units import NS_PER_SECOND
from connectors.base import Readings
from connectors.opcua.polls import chunks
from connectors.opcua.session import Session
from connectors.opcua.subscription import Deliver
from connectors.opcua.values import BAD, Values
from connectors.opcua.wire import Columns

AUDIT_S = 30.0
"""How often subscribed points are read as well [s]."""
PATIENCE_S = 1.0
"""What a publish may take beyond sampling and publishing [s]."""


class Audit:
    """Compares what a read says with what was published."""

    def __init__(self, session: Session, values: Values, deliver: Deliver, faults: Counter[str]) -> None:
        """Take the session, where values are decoded and go, and where what was missed is counted."""
        self._session, self._values, self._deliver, self._faults = session, values, deliver, faults

    async def run(self, nodes: Mapping[int, ua.NodeId], points: Sequence[Point], period: int) -> list[int]:
        """Look again and again at points by position; returns those that a read contradicts for good.

        Their rows are delivered; from then on they are to be polled. Raises ServiceFault, Malformed and OSError.
        """
        longest = max([period, *(points[p].sampling or 0 for p in nodes)])
        # A change that the server withholds by agreement is none that it forgot.
        exact = np.array([p in nodes and not _withholds(point) for p, point in enumerate(points)], np.bool_)
        while True:
            await asyncio.sleep(AUDIT_S)
            doubted = await self._doubted(nodes, exact, list(nodes))
            if doubted:
                before = self._values.stamps.ts[doubted]
                await asyncio.sleep(2 * (period + longest) / NS_PER_SECOND + PATIENCE_S)
                silent = before == self._values.stamps.ts[doubted]
                doubted = [p for p, still in zip(doubted, silent.tolist(), strict=True) if still]
            if doubted and (wrong := await self._doubted(nodes, exact, doubted, self._take)):
                self._faults["a change was never published"] += len(wrong)
                return wrong

    async def _doubted(
        self,
        nodes: Mapping[int, ua.NodeId],
        exact: NDArray[np.bool_],
        positions: Sequence[int],
        take: "Callable[[NDArray[np.intp], Columns], Readings] | None" = None,
    ) -> list[int]:
        """Return the points whose value a read contradicts; `take` makes readings of them, to be delivered."""
        found: list[int] = []
        for chunk in chunks(self._session, nodes, positions):
            at, columns = await chunk.read()
            rows = np.flatnonzero(self._contradicts(at, columns, exact))
            found += at[rows].tolist()
            if take is not None and len(rows):
                await self._deliver(take(at[rows], columns.take(rows)))
        return found

    def _take(self, positions: NDArray[np.intp], columns: Columns) -> Readings:
        return self._values.readings(positions, columns)

    def _contradicts(self, at: NDArray[np.intp], columns: Columns, exact: NDArray[np.bool_]) -> NDArray[np.bool_]:
        stamps = self._values.stamps
        bad = columns.status >> 30 == BAD
        turned = bad != (stamps.status[at] >> 30 == BAD)
        number = self._values.scaled(at, columns.value)
        with np.errstate(invalid="ignore"):
            moved = columns.valid & stamps.valid[at] & (number != stamps.value[at]) & ~np.isnan(number)
        result: NDArray[np.bool_] = turned | (moved & ~bad & exact[at])
        return result


def _withholds(point: Point) -> bool:
    return bool(point.deadband or point.deadband_percent or point.trigger == "status")

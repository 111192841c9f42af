"""A second look at subscribed points: a monitored item can die, or its node vanish, while its subscription lives."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from asyncua import ua
from numpy.typing import NDArray

from config.plant import Point
from config.units import NS_PER_SECOND
from connectors.opcua.messages import CACHED
from connectors.opcua.polls import Group
from connectors.opcua.session import Session
from connectors.opcua.subscription import Deliver, Subscribed
from connectors.opcua.values import BAD, Values
from connectors.opcua.wire import Columns

log = logging.getLogger("plantproof.opcua")

AUDIT_S = 30.0
"""How often subscribed points are read as well [s]."""
PATIENCE_S = 1.0
"""What a publish may take beyond sampling and publishing [s]."""


class Audit:
    """Compares what a read of the server's own memory says with what was published."""

    def __init__(
        self,
        session: Session,
        values: Values,
        deliver: Deliver,
        faults: Counter[str],
        subscribed: Subscribed,
    ) -> None:
        """Take the session, where values are decoded and go, where what was missed is counted, and what is audited."""
        self._session, self._values, self._deliver, self._faults = session, values, deliver, faults
        self._subscribed = subscribed

    async def run(self, nodes: Mapping[int, ua.NodeId], points: Sequence[Point], period: int) -> list[int]:
        """Look again and again at points by position; returns those that a read contradicts for good.

        Their rows are delivered; from then on they are to be polled. Raises ServiceFault, Malformed and OSError. A
        server that is slow to answer is no doubt in the link, and is asked again next time.
        """
        longest = max([period, *(points[p].sampling or 0 for p in nodes)])
        # A change that the server withholds by agreement is none that it forgot.
        exact = np.array([p in nodes and not _withholds(point) for p, point in enumerate(points)], np.bool_)
        whole = Group(self._session, nodes, nodes, max_age=CACHED)
        while True:
            await asyncio.sleep(AUDIT_S)
            try:
                if wrong := await self._look(whole, nodes, exact, 2 * (period + longest) / NS_PER_SECOND + PATIENCE_S):
                    self._faults["a change was never published"] += len(wrong)
                    return wrong
            except TimeoutError:
                log.warning("%s was slow to read its subscribed points", self._session.url)

    async def _look(
        self, whole: Group, nodes: Mapping[int, ua.NodeId], exact: NDArray[np.bool_], patience: float
    ) -> list[int]:
        doubted = await self._doubted(whole, exact)
        if not doubted:
            return []
        before, since = self._values.stamps.turns[doubted], time.monotonic()
        await asyncio.sleep(max(patience, self._subscribed.deadline / 2))  # a keep-alive comes in between
        if self._subscribed.taken <= since:  # a slow agent has not read yet what the server published long ago
            return []
        silent = before == self._values.stamps.turns[doubted]
        doubted = [p for p, still in zip(doubted, silent.tolist(), strict=True) if still]
        return await self._doubted(Group(self._session, nodes, doubted, max_age=CACHED), exact, deliver=True)

    async def _doubted(self, group: Group, exact: NDArray[np.bool_], *, deliver: bool = False) -> list[int]:
        """Return the points whose value a read contradicts; their rows are delivered where `deliver`."""
        found: list[int] = []

        turns = self._values.stamps.turns.copy()

        async def take(at: NDArray[np.intp], columns: Columns, sent: int | None) -> None:
            # What was published while the read was under way may be newer than what was read.
            still = self._values.stamps.turns[at] == turns[at]
            rows = np.flatnonzero(self._contradicts(at, columns, exact) & still)
            found.extend(at[rows].tolist())
            if deliver and len(rows):
                await self._deliver(self._values.readings(at[rows], columns.take(rows), sent=sent))

        await group.read(take)
        return found

    def _contradicts(self, at: NDArray[np.intp], columns: Columns, exact: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return where a read says otherwise than the last row of the point, or of which nothing ever came."""
        stamps, read = self._values.stamps, self._values.plain(at, columns)
        bad = read.status >> 30 == BAD
        turned = bad != (stamps.status[at] >> 30 == BAD)
        words = np.array(read.text, np.object_) if read.text is not None else np.full(len(at), None, np.object_)
        differs = (read.valid != stamps.valid[at]) | (words != stamps.text[at])
        differs |= read.valid & (read.value.view(np.int64) != stamps.value[at].view(np.int64))
        result: NDArray[np.bool_] = (stamps.turns[at] == 0) | turned | (differs & ~bad & exact[at])
        return result


def _withholds(point: Point) -> bool:
    return bool(point.deadband or point.deadband_percent or point.trigger == "status")

"""HistoryRead: what the server kept while nobody listened (OPC 10000-11, 6.4.3: ReadRawModifiedDetails)."""

import datetime as dt
import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import cast

import numpy as np
from asyncua import ua
from numpy.typing import NDArray

from connectors.base import Readings
from connectors.opcua.messages import History as Answer
from connectors.opcua.messages import ServiceFault, history_response
from connectors.opcua.polls import fanned
from connectors.opcua.session import Session, faults
from connectors.opcua.values import Values
from connectors.opcua.wire import NULL_NS

log = logging.getLogger("plantproof.opcua")

PAGE = 10_000
"""Values of one node in one answer."""
AT_ONCE = 20
"""Nodes in one request; the server's limit may be lower."""
HISTORIC = 0x400
"""Info bits of a StatusCode: a DataValue, raw from a history (OPC 10000-4, 7.39.1); marks what was filled in."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class History:
    """Fills the time since each point's last good value."""

    def __init__(self, session: Session, values: Values, counted: Counter[str]) -> None:
        """Take the session, where values are decoded, and where to count what cannot be filled."""
        self._session, self._values, self._counted = session, values, counted
        self.complete = True
        """False once an answer came too late."""

    async def fill(
        self, nodes: Mapping[int, ua.NodeId], since: NDArray[np.int64], until: int
    ) -> AsyncIterator[Readings]:
        """Yield what the server kept after `since` [ns since 1970, UTC] of each point, up to `until`.

        Points without a last good value are left out. Raises SourceLost; a server that keeps no history is counted.
        """
        wanted = [p for p in nodes if since[p] != NULL_NS and since[p] < until]
        distinct, points = fanned(nodes, wanted)
        step = min(AT_ONCE, self._session.limits.history)
        for start in range(0, len(distinct), step):
            part = dict(zip(distinct[start : start + step], points[start : start + step], strict=True))
            begin = min(int(since[p]) for of_node in part.values() for p in of_node)
            waiting = dict.fromkeys(part, b"")
            while waiting:
                answers = await self._ask(waiting, begin, until)
                for node, answer in answers.items():
                    for position in part[node]:
                        if (readings := self._of(answer, position, int(since[position]))) is not None:
                            yield readings
                waiting = {node: answer.continuation for node, answer in answers.items() if answer.continuation}

    async def _ask(self, nodes: Mapping[ua.NodeId, bytes], begin: int, until: int) -> dict[ua.NodeId, Answer]:
        """Return the next page of each node; nothing where the server knows no history."""
        request = ua.HistoryReadRequest()
        request.Parameters.HistoryReadDetails = ua.ReadRawModifiedDetails(
            IsReadModified=False,
            StartTime=_datetime(begin),
            EndTime=_datetime(until),
            NumValuesPerNode=ua.Counter(PAGE),
            ReturnBounds=False,
        )
        request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
        request.Parameters.NodesToRead = [
            ua.HistoryReadValueId(NodeId=node, ContinuationPoint=ua.ByteString(point) if point else None)
            for node, point in nodes.items()
        ]
        with faults("read the history"):
            try:
                body = await self._session.exchange(self._session.encode(request))
                return dict(zip(nodes, history_response(body, len(nodes)), strict=True))
            except ServiceFault as error:
                log.warning("the server refuses to read its history with %s", error)
                self._counted[f"history could not be read: {error}"] += len(nodes)
            except TimeoutError:  # no doubt in the link: histories are slow
                self._counted["history could not be read in time"] += len(nodes)
                self.complete = False
            return {}

    def _of(self, answer: Answer, position: int, since: int) -> Readings | None:
        """Return a point's part of an answer, marked as history; None where there is none."""
        if answer.status >> 30 == 2:
            name = ua.StatusCode(ua.UInt32(answer.status)).name
            self._counted[f"history could not be read: {name}"] += 1
            return None
        if answer.columns is None or not len(answer.columns.value):
            return None
        readings = self._values.plain(
            np.full(len(answer.columns.value), position, np.intp), answer.columns, timestamp="source"
        )  # history bears its own times, whatever is configured for what is live
        # From the first live row on, what is live stands.
        first = int(self._values.stamps.first[position])
        kept = np.flatnonzero((readings.ts > since) & ((readings.ts < first) | (first == NULL_NS)))
        marked = np.where(readings.status & 0xC00 == 0, readings.status | HISTORIC, readings.status)
        return (
            replace(readings, status=marked.astype(np.uint32), historic=True, may_repeat=True).take(kept)
            if len(kept)
            else None
        )


def _datetime(ns: int) -> ua.DateTime:
    # The library encodes any datetime; its own class adds nothing.
    return cast(ua.DateTime, _EPOCH + dt.timedelta(microseconds=ns // 1000))

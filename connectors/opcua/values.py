"""Decoded DataValues to Readings: numbers, texts, parts of structures; whose time counts, and whose clock errs."""

import datetime as dt
import json
import struct
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import variant_from_binary
from asyncua.ua.uaerrors import UaError
from numpy.typing import NDArray

from config.plant import Point
from config.status import BAD_DECODING_ERROR, BAD_NOT_SUPPORTED, SEVERITY_MASK
from connectors.base import Readings
from connectors.columns import rounds
from connectors.opcua.address import Step, written
from connectors.opcua.structures import Structures
from connectors.opcua.wire import NULL_NS, UNUSABLE_NS, Columns, Malformed
from connectors.scaling import EXACT_LIMIT, Scaling

OVERFLOW = 0x480
"""Info bits of a StatusCode: a DataValue, whose queue on the server overflowed (OPC 10000-4, 7.39.1)."""
BAD_INDEX_RANGE_NO_DATA = 0x8037_0000
FUTURE_NS = 60_000_000_000
"""So far ahead of ours a clock may be [ns]."""
PLAUSIBLE_NS = 366 * 86_400 * 1_000_000_000
"""A server's clock that is further off is none [ns]."""
NEAR_NS = 200_000_000
"""So near to ours a server's clock may stand for it [ns]."""
CLOSE_NS = 5_000_000_000
"""So near to the server's clock the time of a value that just changed must be, to be of that clock [ns]."""
_YEAR_2001 = 978_307_200_000_000_000
BAD = 2

Timestamp = Literal["source", "server", "receive"]


class Values:
    """What a connection's DataValues become: one for all its poll groups and subscriptions."""

    def __init__(
        self, points: Sequence[Point], timestamp: Timestamp, faults: Counter[str], flags: Counter[str]
    ) -> None:
        """Take the connector's points, whose time counts, and where to count what fails and what is in doubt."""
        self.steps: dict[int, tuple[Step, ...]] = {}
        """Point -> its part of the node's value."""
        self.namespaces: Sequence[str] = ()
        """The server's; a node id that is a value is written with its URI, as an index can move."""
        self._is_theirs = False
        self.offset = 0
        """The server's clock less ours, as its last answer says, less the time that travelled [ns]."""
        self.structures = Structures()
        self._points, self._scaling = points, Scaling(points)
        self._timestamp, self._faults = timestamp, faults
        slack = max((point.period or 0 for point in points), default=0)
        self.stamps, self.clocks = Stamps(len(points)), Clocks(len(points), flags, slack)

    def readings(
        self, positions: NDArray[np.intp], columns: Columns, received: int | None = None, sent: int | None = None
    ) -> Readings:
        """Return DataValues as Readings; row i is of the point at `positions[i]`.

        `sent` [ns since 1970] is when the server sent them by its own clock, None where it does not say.
        `received` [ns since 1970, UTC; default now] stands in where neither source nor server gives a usable time.
        An array or structure without a way into it makes its point BadNotSupported; an integer beyond 2^53 is a text.
        """
        received = time.time_ns() if received is None else received
        self.clocks.look(positions, columns, received, self._timestamp)
        readings = self.plain(positions, columns, received)
        news = self.stamps.news(readings)
        judged = news if self._timestamp != "receive" else np.zeros(len(news), np.bool_)
        self.clocks.compare(columns.server, judged, received)
        if sent is not None and news.any():
            self._is_theirs = abs(int(readings.ts[news].max()) - sent) <= CLOSE_NS
        clock = self.clock(sent, received)
        self.offset = 0 if clock is None else clock - received
        return self.stamps.apply(replace(readings, clock=clock))

    def plain(
        self,
        positions: NDArray[np.intp],
        columns: Columns,
        received: int | None = None,
        timestamp: Timestamp | None = None,
    ) -> Readings:
        """Return the same without a look at what came before; `timestamp` in place of the configured one."""
        received = time.time_ns() if received is None else received
        value, valid, status = columns.value, columns.valid, columns.status
        text: list[str | None] | None = None
        if columns.text or columns.large or columns.opaque:
            value, valid, status = value.copy(), valid.copy(), status.copy()
            text = [None] * len(positions)
            self._words(positions, columns, (value, valid, status), text)
        return Readings(
            points=positions,
            ts=_times(columns, received, timestamp or self._timestamp),
            ts_recv=received,
            value=self._scaling.apply(positions, value),
            valid=valid,
            status=status,
            text=text if text is not None and any(word is not None for word in text) else None,
        )

    def clock(self, sent: int | None, received: int) -> int | None:
        """Return what the clock of the rows' times said when they were sent; None: take ours.

        `sent` is the server's; it counts where values that just changed bear its time, not a device's of its own, and
        where it is as good as ours.
        """
        if sent is None or self._timestamp == "receive" or abs(sent - received) > PLAUSIBLE_NS:
            return None
        return sent if self._is_theirs or abs(sent - received) <= NEAR_NS else None

    def _words(
        self,
        positions: NDArray[np.intp],
        columns: Columns,
        numbers: tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.uint32]],
        text: list[str | None],
    ) -> None:
        """Fill in what is no plain number."""
        for row, word in columns.text.items():
            text[row] = word
        for row, whole in columns.large.items():
            text[row] = self._scaling.exact(int(positions[row]), whole)
        value, valid, status = numbers
        for row, variant in columns.opaque.items():
            found, code = self._part(variant, int(positions[row]))
            if isinstance(found, str):
                text[row] = found
            elif found is not None:
                exact = not isinstance(found, int) or abs(found) <= EXACT_LIMIT
                value[row], valid[row] = float(found), exact
                text[row] = None if exact else self._scaling.exact(int(positions[row]), int(found))
            if code and status[row] & SEVERITY_MASK == 0:
                status[row] = code

    def _part(self, variant: bytes, position: int) -> tuple[float | int | str | None, int]:
        """Return a point's part of a Variant, and the StatusCode of what went wrong, 0 for nothing."""
        steps = self.steps.get(position, ())
        if not steps and variant[0] & 0x80:  # an array: no need to take it apart
            return None, BAD_NOT_SUPPORTED
        try:
            found = variant_from_binary(Buffer(variant)).Value
            for step in steps:
                found = self._step(found, step)
            return self._scalar(found, bool(steps) and isinstance(steps[-1], tuple))
        except (LookupError, AttributeError):
            self._faults["a value has no such element or field"] += 1
            return None, BAD_INDEX_RANGE_NO_DATA
        except (Malformed, UaError, ValueError, TypeError, struct.error, OverflowError):
            self._faults["a value could not be decoded"] += 1
            return None, BAD_DECODING_ERROR

    def _step(self, value: Any, step: Step) -> Any:
        """Return an element or field; LookupError where there is none."""
        if isinstance(value, ua.ExtensionObject):
            value = self.structures.decode(value.TypeId, value.Body or b"")
        if isinstance(step, str):
            return value[step] if isinstance(value, Mapping) else getattr(value, step)
        elements: Sequence[Any] = value if isinstance(value, list | str | bytes) else ()
        if isinstance(step, tuple) and step[0] < len(elements):
            return elements[step[0] : step[1] + 1]
        return elements[step[0] if isinstance(step, tuple) else step]

    def _scalar(self, value: Any, is_range: bool) -> tuple[float | int | str | None, int]:
        if is_range and isinstance(value, list):
            return json.dumps([self._plain(one) for one in value], ensure_ascii=False, separators=(",", ":")), 0
        found = self._plain(value)
        if value is not None and found is None and not isinstance(value, ua.LocalizedText | ua.QualifiedName):
            return None, BAD_NOT_SUPPORTED
        return found, 0

    def _plain(self, value: Any) -> float | int | str | None:
        """Return a scalar as a number or a text; None where it is null or no scalar."""
        if isinstance(value, ua.NodeId):
            return written(value, self.namespaces)
        for kind, scalar in _SCALARS:
            if isinstance(value, kind):
                return scalar(value)
        return value if isinstance(value, int | float | str) else None


_SCALARS: tuple[tuple[type, Callable[[Any], int | str | None]], ...] = (
    (ua.LocalizedText, lambda text: text.Text),
    (ua.QualifiedName, lambda name: name.Name),
    (ua.StatusCode, lambda code: int(code.value)),
    (dt.datetime, lambda at: at.replace(tzinfo=dt.UTC).isoformat().replace("+00:00", "Z")),
    (uuid.UUID, str),
)


def _times(columns: Columns, received: int, timestamp: Timestamp) -> NDArray[np.int64]:
    if timestamp == "receive":
        return np.full(len(columns.value), received, np.int64)
    ts = np.where(columns.server > UNUSABLE_NS, columns.server, received)
    return ts if timestamp == "server" else np.where(columns.source > UNUSABLE_NS, columns.source, ts)


class Stamps:
    """Gives a status that changes under an old source time a time of its own, by the source's clock.

    Servers turn a value bad, and good again, under the timestamp of its last change; such a row would take
    the place of the good sample of that time. So a Bad value is of now, unless its time is news; and a value that
    turns good again under an old time is of now as well.
    """

    def __init__(self, points: int) -> None:
        """Take the number of points."""
        self.ts = np.full(points, NULL_NS, np.int64)
        """Newest time of each point's rows [ns since 1970, UTC]; NULL_NS before its first good one."""
        self.first = np.full(points, NULL_NS, np.int64)
        """Time of its first row of this connection."""
        self.turns = np.zeros(points, np.int64)
        """How many rows there were of it."""
        self.status = np.zeros(points, np.uint32)
        self.value = np.full(points, np.nan)
        self.valid = np.zeros(points, np.bool_)
        self.text = np.full(points, None, np.object_)
        self._texts = False
        self._spoke = np.zeros(points, np.bool_)

    def news(self, readings: Readings) -> NDArray[np.bool_]:
        """Return which rows are newer than their point's last one; a point's first row is none."""
        before = self.ts[readings.points]
        result: NDArray[np.bool_] = (before != NULL_NS) & (readings.ts > before)
        return result

    def apply(self, readings: Readings) -> Readings:
        """Return the readings, with the receive time where a status changed and the source time did not.

        A point that stands several times in one publish is compared with its own row before.
        """
        at = readings.points
        if not len(at):
            return readings
        once = np.bincount(at).max() == 1
        ts = readings.ts.copy()
        for rows in [np.arange(len(at))] if once else rounds(at):
            now = readings.ts_recv if readings.clock is None else readings.clock
            ts[rows] = self._times(at[rows], ts[rows], readings.status[rows], now)
        self.value[at], self.valid[at] = readings.value, readings.valid
        if readings.text is not None or self._texts:
            self.text[at], self._texts = readings.text, True
        return replace(readings, ts=ts)

    def _times(
        self, at: NDArray[np.intp], ts: NDArray[np.int64], status: NDArray[np.uint32], received: int
    ) -> NDArray[np.int64]:
        before, bad = self.ts[at], status >> 30 == BAD
        # A clock that was ahead and was set right begins anew; else every turn would go into its future.
        before = np.where((before > received + FUTURE_NS) & (ts <= received + FUTURE_NS), NULL_NS, before)
        changed = status != self.status[at]
        # Of a point that never spoke the last good sample may have this very time, from before a reconnect.
        stale = np.where(self._spoke[at], changed & (ts <= before), bad & (ts < received))
        ts = np.where(stale, np.maximum(received, before + 1), ts)
        spoke = self._spoke[at] | ~bad
        self.ts[at] = np.where(spoke, np.maximum(ts, before), before)
        self.first[at] = np.where(self.turns[at] == 0, ts, self.first[at])
        self.status[at], self._spoke[at] = status, spoke
        self.turns[at] += 1
        return ts


class Clocks:
    """Watches the clocks of source and server: what they say is kept, and flagged where it cannot be."""

    def __init__(self, points: int, flags: Counter[str], slack: int = 0) -> None:
        """Take the number of points, where to count those whose clock errs, and how old a change may be [ns]."""
        self._slack = slack
        self._state = np.zeros(points, np.uint8)
        self._flags = flags
        self.skew_ns: int | None = None
        """Server's clock less ours, of the last values that changed [ns]."""
        self._skewed = False

    def look(self, positions: NDArray[np.intp], columns: Columns, received: int, timestamp: Timestamp) -> None:
        """Judge the times of a run; each point is counted once for each way in which its clock begins to err."""
        if timestamp == "receive":
            return
        ts = columns.source if timestamp == "source" else columns.server
        state = (ts == UNUSABLE_NS) * np.uint8(1) + ((ts > UNUSABLE_NS) & (ts < _YEAR_2001)) * np.uint8(2)
        state += (ts > received + FUTURE_NS) * np.uint8(3)
        if not state.any() and not self._state.any():
            return
        news = (state != self._state[positions]) & (state != 0)
        for code, what in _CLOCKS.items():
            if count := len(np.unique(positions[news & (state == code)])):
                self._flags[f"{timestamp} time {what}"] += count
        self._state[positions] = state

    def compare(self, server: NDArray[np.int64], news: NDArray[np.bool_], received: int) -> None:
        """Compare the server's times of values that have just changed with ours; others may be old, but not ahead."""
        stated = server[(news & (server > UNUSABLE_NS)) | (server > received + FUTURE_NS)]
        if not len(stated):
            return
        skew = int(stated.max()) - received
        self.skew_ns = skew = skew if skew > 0 else min(0, skew + self._slack)
        skewed = abs(skew) > FUTURE_NS
        if skewed and not self._skewed:
            self._flags[f"the server's clock is {'ahead' if skew > 0 else 'behind'} by more than a minute"] += 1
        self._skewed = skewed


_CLOCKS = {
    1: "is 1601, 9999 or another that is none; the next best time is taken",
    2: "is before 2001: the clock was never set",
    3: "lies in the future",
}

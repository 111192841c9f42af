"""Modbus TCP: polls registers and bits in few requests; a unit that is silent or says no fails alone."""

import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from config.plant import Point, Source
from config.status import BAD_NO_COMMUNICATION, GOOD
from config.units import NS_PER_SECOND
from connectors.base import Readings, SourceLost, SourceRefused
from connectors.modbus_decode import ExceptionReply, Layout
from connectors.modbus_link import Link, Silent
from connectors.modbus_plan import Request, Slot, merge, plan, slot
from connectors.polling import Schedule, by_period
from connectors.scaling import Scaling
from connectors.urls import is_whole

log = logging.getLogger("plantproof.modbus")

PROBE_S = 1.0
"""How long a unit that was silent may take to answer [s]; its neighbours wait meanwhile."""
BACK_OFF_NS = (5 * NS_PER_SECOND, 60 * NS_PER_SECOND)
"""First and longest pause before a silent unit is asked again [ns]."""
SPLIT_FOR_GOOD = (2, 3)
"""Exception codes that say the range itself is wrong."""
SPLIT = (*SPLIT_FOR_GOOD, 4)
"""Exception codes after which a merged range is read again point by point."""


def check(source: Source, point: Point) -> str | None:
    """Return what is wrong with the point's address or type, or None."""
    if point.mode != "poll":
        return "mode 'subscribe': Modbus has no subscriptions; write poll"
    try:
        slot(source, 0, point)
    except ValueError as error:
        return str(error)
    return None


def check_source(source: Source) -> str | None:
    """Return what is wrong with the source's URL, or None."""
    if is_whole(source.url, "modbus+tcp"):
        return None
    return (
        f"url {source.url!r}: this version reads modbus+tcp://host:port alone; "
        "put a gateway in front of serial lines and TLS devices"
    )


@dataclass(slots=True)
class _Part:
    """One request, with its layout; once it was split, the requests that replace it."""

    request: Request
    layout: Layout
    split: list["_Part"] = field(default_factory=list)


@dataclass(slots=True)
class _Rest:
    """A silent unit's pause."""

    pause: int
    until: int


@dataclass(slots=True, kw_only=True)
class _Poll:
    """What one poll brought, in lists of arrays."""

    points: list[NDArray[np.intp]] = field(default_factory=list)
    value: list[NDArray[np.float64]] = field(default_factory=list)
    valid: list[NDArray[np.bool_]] = field(default_factory=list)
    status: list[NDArray[np.uint32]] = field(default_factory=list)
    received: list[NDArray[np.int64]] = field(default_factory=list)
    text: list[str | None] = field(default_factory=list)
    has_text: bool = False

    def good(self, layout: Layout, payload: bytes) -> None:
        """Add the values of a reply."""
        value, valid, text = layout.decode(payload)
        self._add(layout.positions, value, valid, GOOD)
        self.has_text = self.has_text or text is not None
        self.text += text if text is not None else [None] * len(value)

    def bad(self, positions: NDArray[np.intp], status: int) -> None:
        """Add points without a value."""
        n = len(positions)
        self._add(positions, np.full(n, np.nan), np.zeros(n, np.bool_), status)
        self.text += [None] * n

    def _add(
        self, positions: NDArray[np.intp], value: NDArray[np.float64], valid: NDArray[np.bool_], status: int
    ) -> None:
        self.points.append(positions)
        self.value.append(value)
        self.valid.append(valid)
        self.status.append(np.full(len(positions), status, np.uint32))
        self.received.append(np.full(len(positions), time.time_ns(), np.int64))

    def readings(self) -> Readings:
        """Return all of it; each row's time is when its reply came."""
        return Readings(
            points=np.concatenate(self.points),
            ts=np.concatenate(self.received),
            ts_recv=time.time_ns(),
            value=np.concatenate(self.value),
            valid=np.concatenate(self.valid),
            status=np.concatenate(self.status),
            text=self.text if self.has_text else None,
        )


class Connector:
    """One connection to a Modbus TCP device or gateway, with one or more units behind it."""

    def __init__(self, source: Source, points: Sequence[Point]) -> None:
        """Take the source and its points; raises ValueError where `check` would have found a fault."""
        self._source = source
        self._timeout = source.timeout / NS_PER_SECOND
        self._scaling = Scaling(points)
        slots = [slot(source, position, point) for position, point in enumerate(points)]
        self._groups = {
            period: [self._part(request) for request in plan([slots[p] for p in positions])]
            for period, positions in by_period(source, points, range(len(points))).items()
        }
        self._units = {one.unit for one in slots}
        self._resting: dict[int, _Rest] = {}
        self._link: Link | None = None
        self.faults: Counter[str] = Counter()
        self.flags: Counter[str] = Counter()
        self.since: NDArray[np.int64] | None = None
        self.filled = True  # there is no history to ask for

    def warnings(self) -> list[str]:
        """Return what a person should know of a connection that works: nothing so far."""
        return []

    async def connect(self) -> None:
        """Open the TCP connection; raises SourceLost, and SourceRefused where the URL cannot be served."""
        if (fault := check_source(self._source)) is not None:
            raise SourceRefused(fault)
        await self._open()

    async def readings(self) -> AsyncIterator[Readings]:
        """Yield each poll's values; raises SourceLost when the link is in doubt or every unit is silent."""
        if not self._groups:
            raise SourceRefused(f"source {self._source.id}: no point reads it; add one or remove the source")
        periods = list(self._groups)
        schedule = Schedule(periods)
        while True:
            for group in await schedule.due():
                poll = _Poll()
                for part in self._groups[periods[group]]:
                    await self._read(part, poll)
                yield poll.readings()

    async def close(self) -> None:
        """Let go of the socket."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _part(self, request: Request) -> _Part:
        return _Part(request, Layout(request, self._scaling))

    async def _open(self) -> None:
        await self.close()
        url = urlsplit(self._source.url)
        self._link = Link(url.hostname or "", url.port or 502, self._timeout)
        await self._link.open()

    async def _read(self, part: _Part, poll: _Poll) -> None:
        if part.split:
            for one in part.split:
                await self._read(one, poll)
            return
        rest = self._resting.get(part.request.unit)
        if rest is not None and time.monotonic_ns() < rest.until:
            poll.bad(part.layout.positions, BAD_NO_COMMUNICATION)
            return
        if self._link is None:
            raise SourceLost(f"source {self._source.id} is closed")
        try:
            patience = self._timeout if rest is None else min(self._timeout, PROBE_S)
            payload = await self._link.ask(part.request, patience)
        except ExceptionReply as reply:
            self._resting.pop(part.request.unit, None)
            await self._refused(part, reply, poll)
        except Silent as error:
            await self._silent(part.request.unit, error)
            poll.bad(part.layout.positions, BAD_NO_COMMUNICATION)
        else:
            self._resting.pop(part.request.unit, None)
            poll.good(part.layout, payload)

    async def _refused(self, part: _Part, reply: ExceptionReply, poll: _Poll) -> None:
        slots: tuple[Slot, ...] = part.request.slots
        if reply.code not in SPLIT or len(slots) == 1:
            poll.bad(part.layout.positions, reply.status)
            return
        log.warning(
            "source %s: unit %d answers %s:%d+%d with %s; its points are read one by one",
            self._source.id,
            part.request.unit,
            part.request.table,
            part.request.address,
            part.request.count,
            reply,
        )
        singles = [self._part(merge([one])) for one in slots]
        if reply.code in SPLIT_FOR_GOOD:
            part.split = singles
        for one in singles:
            await self._read(one, poll)

    async def _silent(self, unit: int, error: Silent) -> None:
        """Let the unit rest, on a new connection, so that its late reply is never taken for another's."""
        before = self._resting.get(unit)
        pause = min(2 * before.pause, BACK_OFF_NS[1]) if before is not None else BACK_OFF_NS[0]
        self._resting[unit] = _Rest(pause, time.monotonic_ns() + pause)
        if self._units <= self._resting.keys():
            raise SourceLost(f"source {self._source.id}: {error}, and no other unit answers") from error
        if before is None:
            log.warning("source %s: %s; its points are bad, the other units go on", self._source.id, error)
        await self._open()

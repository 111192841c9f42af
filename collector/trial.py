"""One try of each source: connect as the agent would, read each point once, go away; nothing is written anywhere.

An MQTT source is tried in a session of its own, which the broker forgets: the agent's session, and what waits in it,
stay as they are. Subscribed OPC UA points are polled once, and Sparkplug nodes are asked for nothing.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from collector.peers import Certificate, certificate_of, shown_by
from config.plant import Plant, Point, Source
from config.status import NAMES, SEVERITY_MASK, UNCERTAIN
from connectors import base as connectors
from connectors.base import Connector, Readings, SourceLost, SourceRefused

AT_ONCE = 16
"""So many sources are tried at once."""
NAMED = 20
"""So many refused messages are kept."""

State = Literal["good", "uncertain", "bad", "silent"]
_WORDS = {status: name for name, status in NAMES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long things may take [s]."""

    whole: float = 30.0
    """Connecting, and then reading what is polled."""
    listen: float = 10.0
    """Waiting for messages that come by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read of a point."""

    point: str
    state: State
    value: float | str | None = None
    status: str = ""
    """Name of the OPC UA StatusCode, or its number."""


@dataclass(slots=True, kw_only=True)
class SourceTrial:
    """What trying a source came to."""

    source: Source
    connected: bool = False
    error: str = ""
    """Why it was not, or did not stay, connected; empty: it was and did."""
    connect_s: float | None = None
    certificate: Certificate | None = None
    clock_offset_s: float | None = None
    """How far its clock is ahead of ours, where the protocol tells; half a round trip is in doubt."""
    readings: Sequence[Reading] = ()
    refused: list[str] = field(default_factory=list)
    """Messages that could not be used: where they came from and why."""
    warnings: list[str] = field(default_factory=list)

    def count(self, state: State) -> int:
        """Return how many points were read so."""
        return sum(one.state == state for one in self.readings)

    @property
    def whole(self) -> bool:
        """Whether every point said something that is not bad."""
        return not (self.count("bad") or self.count("silent") or self.refused)


async def try_sources(plant: Plant, sources: Sequence[Source], limits: Limits) -> list[SourceTrial]:
    """Try sources of a plant that was checked, some at a time; each fails alone."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(source: Source) -> SourceTrial:
        async with turn:
            return await _try(source, [point for point in plant.points if point.source == source.id], limits)

    return list(await asyncio.gather(*(one(source) for source in sources)))


def harmless(source: Source) -> Source:
    """Return a source that takes no session, message or history from the agent's, and asks nobody for anything."""
    return source.model_copy(update={"client_id": "", "share": "", "history": False, "rebirth": False})


async def _try(source: Source, points: Sequence[Point], limits: Limits) -> SourceTrial:
    trial = SourceTrial(source=source)
    if not points:
        trial.warnings.append("no point reads it: it was not tried; name it in the source column of the point table")
        return trial
    polled = [point.model_copy(update={"mode": "poll"}) for point in points]
    heard = _Heard(polled)
    try:
        connector = connectors.load(source.kind).Connector(harmless(source), polled)
        try:
            await _connect(connector, trial, limits.whole)
            await _read(connector, heard, limits.listen if source.kind == "mqtt" else limits.whole)
        finally:
            trial.warnings += connector.warnings() if trial.connected else []
            trial.warnings += [f"{reason} ({count})" for reason, count in connector.faults.items()]
            trial.certificate = certificate_of(connector)
            await connector.close()
        trial.certificate = trial.certificate or await shown_by(source, limits.whole)
    except (SourceLost, SourceRefused) as error:
        trial.error = str(error)
    except Exception as error:  # noqa: BLE001  what is wrong with one source must not hide what the others say
        trial.error = f"unexpected: {error!r}"
    trial.readings = list(heard.told()) if trial.connected else ()
    trial.refused, trial.clock_offset_s = heard.refused, heard.clock_offset_s
    return trial


async def _connect(connector: Connector, trial: SourceTrial, limit: float) -> None:
    began = time.monotonic()
    try:
        async with asyncio.timeout(limit):
            await connector.connect()
    except TimeoutError:
        raise SourceLost(f"no connection within {limit:g} s") from None
    trial.connected, trial.connect_s = True, time.monotonic() - began


async def _read(connector: Connector, heard: "_Heard", limit: float) -> None:
    """Take readings until every point has spoken, or time is up."""
    stream = connector.readings()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                async for readings in stream:
                    heard.take(readings)
                    if heard.all:
                        break
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()


class _Heard:
    """The last that was heard of each point."""

    def __init__(self, points: Sequence[Point]) -> None:
        n = len(points)
        self.refused: list[str] = []
        self.clock_offset_s: float | None = None
        self._ids = [point.point for point in points]
        self._seen = np.zeros(n, np.bool_)
        self._status = np.zeros(n, np.uint32)
        self._value: NDArray[np.object_] = np.full(n, None, np.object_)

    @property
    def all(self) -> bool:
        """Whether every point has spoken."""
        return bool(self._seen.all())

    def take(self, readings: Readings) -> None:
        """Take what came, and let the peer send on: the session is our own."""
        rows = readings.points
        self._seen[rows], self._status[rows] = True, readings.status
        values = readings.value.astype(np.object_)
        values[~readings.valid] = None
        if readings.text is not None:
            texts = np.array(readings.text, np.object_)
            there = texts != None  # noqa: E711  each element is compared
            values[there] = texts[there]
        self._value[rows] = values
        if readings.clock is not None:
            self.clock_offset_s = (readings.clock - readings.ts_recv) / 1e9
        self.refused += [f"{one.place}: {one.reason}" for one in readings.refused][: NAMED - len(self.refused)]
        if readings.acknowledge is not None:
            readings.acknowledge()

    def told(self) -> Iterator[Reading]:
        """Yield what is known of each point."""
        columns = (self._seen.tolist(), self._status.tolist(), self._value.tolist())
        for name, seen, status, value in zip(self._ids, *columns, strict=True):
            if seen:
                yield Reading(point=name, state=_state(status), value=value, status=_word(status))
            else:
                yield Reading(point=name, state="silent")


def _state(status: int) -> State:
    severity = status & SEVERITY_MASK
    return "good" if severity == 0 else "uncertain" if severity == UNCERTAIN else "bad"


def _word(status: int) -> str:
    return _WORDS.get(status) or _WORDS.get(status & 0xFFFF_0000) or f"0x{status:08X}"

"""Plays a recorded table (columns ts, point, value) over OPC UA or Modbus, in its order and at any speed.

Start the server, let the client connect, then `await play()`. A null or UNAVAILABLE value is one that
the device did not have: a Bad status over OPC UA; over Modbus the register stays as it was.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping

import polars as pl

from config.status import BAD_NO_COMMUNICATION, GOOD
from connectors.sim.modbus import ModbusServer, words
from connectors.sim.opcua import NodeType, OpcuaServer
from connectors.sim.timeline import Value

UNAVAILABLE = "UNAVAILABLE"

BURST = 1_000
"""Rows said between two looks at the clients' queues; a queue of 10,000 has room for several such."""

LOOK = 0.005
"""How often a full queue is looked at [s]."""

Row = tuple[int, str, Value | None]


def columns(table: pl.DataFrame) -> dict[str, NodeType]:
    """Return each point's node type: int64 where every value is a whole number, double, or string."""
    texts = table.select("point", text=_text())
    kinds = texts.group_by("point", maintain_order=True).agg(
        whole=pl.col("text").cast(pl.Int64, strict=False).is_null().sum() == pl.col("text").is_null().sum(),
        number=pl.col("text").cast(pl.Float64, strict=False).is_null().sum() == pl.col("text").is_null().sum(),
        known=pl.col("text").is_not_null().any(),
    )
    return {
        point: "string" if not (number and known) else "int64" if whole else "double"
        for point, whole, number, known in kinds.iter_rows()
    }


def _text() -> pl.Expr:
    text = pl.col("value").cast(pl.String)
    return pl.when(text != UNAVAILABLE).then(text)


def rows(table: pl.DataFrame) -> Iterator[Row]:
    """Yield (ts [ns since 1970, UTC], point, typed value or None) in the table's order."""
    kinds = columns(table)
    parse = {"int64": int, "double": float, "string": str}
    whole = table["ts"].dtype.is_integer()
    stamps = table["ts"] if whole else table["ts"].dt.epoch("ns")
    texts = table.select(_text()).to_series()
    for ts, point, text in zip(stamps, table["point"], texts, strict=True):
        yield ts, point, None if text is None else parse[kinds[point]](text)


class Pace:
    """When the next row is due: recorded time over `speed`; rows that go back in time are due at once."""

    def __init__(self, speed: float) -> None:
        if not speed > 0:
            raise ValueError(f"speed {speed} is not above 0; 1 is the recorded one, inf as fast as it goes")
        self.speed = speed
        self._origin: int | None = None
        self._latest = 0
        self._begun = time.monotonic()

    async def until(self, ts: int) -> None:
        """Sleep until the row recorded at `ts` [ns since 1970, UTC] is due."""
        if self._origin is None:
            self._origin, self._latest, self._begun = ts, ts, time.monotonic()
        if ts <= self._latest or math.isinf(self.speed):
            return
        self._latest = ts
        due = self._begun + (ts - self._origin) / 1e9 / self.speed
        await asyncio.sleep(max(0.0, due - time.monotonic()))


class OpcuaPlayer(OpcuaServer):
    """Serves a recording over OPC UA, `ns=2;s=<point>`, with the recorded source timestamps."""

    def __init__(self, table: pl.DataFrame, speed: float = 1.0) -> None:
        super().__init__(columns(table))
        self._rows = list(rows(table))
        self._pace = Pace(speed)

    async def play(self, hold: float = 0.0) -> int:
        """Say every row and return how many there were.

        Subscribers lose nothing: the player waits while a queue is more than half a burst long. For a poller,
        give `hold` [s], above its period: each value then stays that long before the same point's next one.
        The last values may still wait in the subscribers' queues when this returns.
        """
        said: Counter[str] = Counter()
        for n, (ts, point, value) in enumerate(self._rows):
            await self._pace.until(ts)
            if hold and said[point]:
                await asyncio.sleep(hold)
                said.clear()
            await self.put(point, value, ts, BAD_NO_COMMUNICATION if value is None else GOOD)
            said[point] += 1
            if n % BURST == BURST - 1:
                await self.drained(BURST // 2)
        return len(self._rows)

    async def drained(self, below: int = 1) -> None:
        """Wait until every subscriber's queue is shorter than `below`."""
        while self.queued() >= below:  # noqa: ASYNC110  the library sets no event
            await asyncio.sleep(LOOK)


class ModbusPlayer(ModbusServer):
    """Serves a recording of whole numbers from 0 up as unit 1; a poller sees the values in receive time.

    `addresses` says where each point stands: register address and type, uint16 where the recording fits, else
    uint32. Raises ValueError naming a point that does not fit into 32 bits.
    """

    UNIT = 1

    def __init__(self, table: pl.DataFrame, speed: float = 1.0) -> None:
        self._rows = list(rows(table))
        self._pace = Pace(speed)
        self.addresses = _addresses(self._rows, columns(table))
        self._registers = [0] * sum(1 if kind == "uint16" else 2 for _, kind in self.addresses.values())
        super().__init__({self.UNIT: lambda: self._registers})

    async def play(self, hold: float = 0.0) -> int:
        """Put every row into its register and return how many there were.

        With `hold` [s] each value stays at least that long before the same point's next one.
        """
        said: Counter[str] = Counter()
        for ts, point, value in self._rows:
            await self._pace.until(ts)
            if hold and said[point]:
                await asyncio.sleep(hold)
                said.clear()
            said[point] += 1
            self._put(point, value)
        return len(self._rows)

    def put_first(self) -> None:
        """Put each point's first value into its register, so that a client that connects now reads no 0."""
        firsts = {point: value for _, point, value in reversed(self._rows) if value is not None}
        for point, value in firsts.items():
            self._put(point, value)

    def _put(self, point: str, value: Value | None) -> None:
        if value is not None:
            address, kind = self.addresses[point]
            fresh = words(int(value), 1 if kind == "uint16" else 2)
            self._registers[address : address + len(fresh)] = fresh


def _addresses(recorded: list[Row], kinds: Mapping[str, NodeType]) -> dict[str, tuple[int, str]]:
    found: dict[str, tuple[int, str]] = {}
    address = 0
    for point, kind in kinds.items():
        numbers = [value for _, name, value in recorded if name == point and isinstance(value, int)]
        if kind != "int64" or min(numbers) < 0 or max(numbers) >= 1 << 32:
            raise ValueError(f"point {point!r} is no whole number from 0 to 2^32-1; leave it out of the table")
        found[point] = (address, "uint16" if max(numbers) < 1 << 16 else "uint32")
        address += 1 if max(numbers) < 1 << 16 else 2
    return found

"""A Modbus TCP server on a free port: registers are filled as they are read, and units can go silent."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import NoSuchIdException
from pymodbus.pdu import ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from connectors.sim.machine import Machine, counts_at, energy_at, state_at
from connectors.sim.timeline import is_out

Registers = Callable[[], list[int]]
"""Returns a unit's registers from address 0, each 0 .. 65535."""

STATE, TOTAL, REJECT, ENERGY = 0, 2, 4, 6
"""Register addresses of a machine: uint16 state, uint32 counts and meter; a 16-bit total stands at TOTAL."""

MACHINE_REGISTERS = 8


def words(value: int, count: int) -> list[int]:
    """Return the low `count` x 16 bits of `value` as registers, the highest first (ABCD)."""
    raw = (value % (1 << 16 * count)).to_bytes(2 * count, "big")
    return [int(word) for word in np.frombuffer(raw, ">u2")]


def machine_registers(machine: Machine, t: int, total_bits: int = 32) -> list[int]:
    """Return the registers of a machine at `t` [ns since 1970, UTC]; energy in [0.01 kWh].

    With `total_bits` 16 the total is one register that rolls over at 65,536.
    """
    counts = counts_at(machine, t)
    total = int(counts["total"])
    return [
        int(state_at(machine, t)),
        0,
        *(words(total, 2) if total_bits == 32 else [*words(total, 1), 0]),
        *words(int(counts["reject"]), 2),
        *words(int(energy_at(machine, t)), 2),
    ]


class ModbusServer:
    """A server of one or more units; an async context manager.

    A write is answered with an exception: every register is read-only. `requests` counts by function code
    what clients asked for, writes included; `silent` holds units that do not answer.
    """

    def __init__(self, units: Mapping[int, Registers], port: int = 0) -> None:
        """Take a function per unit that returns its holding registers; port 0 is a free one."""
        self.units = dict(units)
        self._port = port
        self.silent: set[int] = set()
        self.requests: Counter[int] = Counter()
        self._server: ModbusTcpServer | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def endpoint(self) -> str:
        """The server's URL, once it runs."""
        if self._server is None or not isinstance(self._server.transport, asyncio.Server):
            raise RuntimeError("the Modbus server has no endpoint yet; start it first")
        port = self._server.transport.sockets[0].getsockname()[1]
        return f"modbus+tcp://127.0.0.1:{port}"

    async def start(self) -> None:
        """Open the socket on a free port."""
        # The library prints its last twenty messages where a client did not wait for an answer.
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        devices = [
            SimDevice(
                id=unit,
                simdata=SimData(0, count=len(read()), values=0, datatype=DataType.REGISTERS, readonly=True),
                action=partial(self._fill, unit),
            )
            for unit, read in self.units.items()
        ]
        self._server = ModbusTcpServer(
            devices, address=("127.0.0.1", self._port), ignore_missing_devices=True, trace_pdu=self._spy
        )
        await self._server.serve_forever(background=True)

    async def stop(self) -> None:
        """Close every connection and the socket."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]

    def is_silent(self, unit: int) -> bool:
        """Return whether the unit leaves requests unanswered now."""
        return unit in self.silent

    def _spy(self, sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        if not sending:
            self.requests[pdu.function_code] += 1
        return pdu

    async def _fill(
        self,
        unit: int,
        function_code: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        if self.is_silent(unit):
            # The server is told to ignore units that it does not have, and this is how it takes one for such.
            raise NoSuchIdException(f"unit {unit} is silent")
        fresh = self.units[unit]()
        registers[: len(fresh)] = fresh
        return None


class ModbusMachines(ModbusServer):
    """Machines by unit, as they are at the instant of the request; in an outage a machine does not answer."""

    def __init__(self, machines: Mapping[int, Machine], short_totals: frozenset[int] = frozenset()) -> None:
        self.machines = dict(machines)
        self._short_totals = short_totals
        super().__init__({unit: partial(self._read, unit) for unit in machines})

    def follow(self, machines: Mapping[int, Machine]) -> None:
        """Read these machines from now on, by the same units: the same ones, say, with another anchor."""
        self.machines = dict(machines)

    def is_silent(self, unit: int) -> bool:
        """Return whether the unit was silenced or its machine's link is out now."""
        return super().is_silent(unit) or is_out(self.machines[unit], time.time_ns())

    def _read(self, unit: int) -> list[int]:
        bits = 16 if unit in self._short_totals else 32
        return machine_registers(self.machines[unit], time.time_ns(), bits)

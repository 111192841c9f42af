"""Points of one period: their requests, the buffer that the replies fill, and the columns that come of it."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from config.plant import Point, Source
from config.status import BAD_NO_COMMUNICATION, GOOD
from connectors.base import Readings
from connectors.modbus.address import BIT_TABLES
from connectors.modbus.frames import Read
from connectors.modbus.layout import Layout
from connectors.modbus.parts import Part, part_of
from connectors.modbus.plan import Limits, Slot, factors_of, plan, slot_of


class Group:
    """Everything of one period; rows are the group's points in order, and behind them the registers that scale."""

    def __init__(
        self,
        source: Source,
        points: Sequence[Point],
        positions: Sequence[int],
        limits: Callable[[int], Limits],
        faults: Counter[str],
    ) -> None:
        """Take the positions of the group's points in `points`; raises ValueError where one cannot be read."""
        mine = [points[position] for position in positions]
        self.slots: list[Slot] = [slot_of(source, point) for point in mine]
        scales: dict[Slot, int] = {}
        factors = [
            [(scales.setdefault(f.slot, len(mine) + len(scales)), f.power) for f in factors_of(source, point)]
            for point in mine
        ]
        self.slots += scales
        self.roots: list[Part] = []
        places = np.zeros(len(self.slots), np.intp)
        size = 0
        for request in plan(self.slots, limits):
            width = 1 if request.table in BIT_TABLES else 2
            self.roots.append(part_of(self.slots, request, size))
            for row in request.rows:
                places[row] = size + width * (self.slots[row].address - request.address)
            size += width * request.count
        self.units = frozenset(slot.unit for slot in self.slots)
        self._positions = np.array(positions, np.intp)
        self._unit_of_point = np.array([slot.unit for slot in self.slots[: len(mine)]], np.intp)
        self._layout = Layout(mine, self.slots, factors, places, faults)
        self._bytes = bytearray(size)
        self._buffer = np.frombuffer(self._bytes, np.uint8)
        # What holds for a whole request stands once, at its first row.
        self._first_row = np.arange(len(self.slots))
        self._status = np.full(len(self.slots), BAD_NO_COMMUNICATION, np.uint32)
        self._received = np.zeros(len(self.slots), np.int64)
        self.halvings = 0
        """So many ranges may still be halved in this poll."""

    def begin(self) -> list[Part]:
        """Return what to ask in one poll."""
        now = time.monotonic_ns()
        for root in self.roots:
            root.rejoin(now)
        return [leaf for root in self.roots for leaf in root.leaves()]

    def good(self, part: Part, data: bytes) -> None:
        """Take the data of a part's answer."""
        if part.request.table in BIT_TABLES:
            bits = np.frombuffer(data, np.uint8)
            data = np.unpackbits(bits, count=part.request.count, bitorder="little").tobytes()
        self._bytes[part.at : part.at + len(data)] = data
        self._note(part, GOOD)

    def bad(self, part: Part, status: int) -> None:
        """Note that a part brought no values."""
        self._note(part, status)

    def _note(self, part: Part, status: int) -> None:
        first = part.request.rows[0]
        if not part.placed:
            self._first_row[part.rows], part.placed = first, True
        self._status[first], self._received[first] = status, time.time_ns()

    def readings(self, units: Sequence[int] | None = None) -> Readings:
        """Return the values of all units, or of some."""
        n = len(self._positions)
        columns = self._layout.decode(self._buffer, self._status[self._first_row])
        readings = Readings(
            points=self._positions,
            ts=self._received[self._first_row[:n]],
            ts_recv=time.time_ns(),
            value=columns.value,
            valid=columns.valid,
            status=columns.status,
            text=columns.text,
        )
        if units is None:
            return readings
        return readings.take(np.flatnonzero(np.isin(self._unit_of_point, units)))

    def probes(self, unit: int) -> list[Read]:
        """Return a question for each of a unit's points."""
        mine = [slot for slot in self.slots if slot.unit == unit]
        return [Read(unit, slot.table, slot.address, slot.datatype.registers) for slot in mine]


def probes_of(groups: Sequence[Group]) -> dict[int, list[Read]]:
    """Return each unit's questions of one point."""
    units = sorted({slot.unit for group in groups for slot in group.slots})
    return {unit: list(dict.fromkeys(q for group in groups for q in group.probes(unit))) for unit in units}

"""Modbus replies: is it the answer to what was asked, and bytes to values by the plan's layout."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from config import status
from connectors.modbus_plan import FUNCTIONS, WORDS, Request, Slot
from connectors.scaling import EXACT_LIMIT, Scaling

STATUS_OF_EXCEPTION = {
    1: status.BAD_NOT_SUPPORTED,  # illegal function
    2: status.BAD_CONFIGURATION_ERROR,  # illegal data address
    3: status.BAD_CONFIGURATION_ERROR,  # illegal data value
    4: status.BAD_DEVICE_FAILURE,
    5: status.BAD_RESOURCE_UNAVAILABLE,  # acknowledge: the device is still at it
    6: status.BAD_RESOURCE_UNAVAILABLE,  # device busy
    10: status.BAD_NO_COMMUNICATION,  # gateway path unavailable
    11: status.BAD_NO_COMMUNICATION,  # gateway target did not respond
}
"""StatusCodes of Modbus exception codes (Modbus Application Protocol V1.1b3, section 7)."""

_DTYPES = {
    "int16": ">i2", "uint16": ">u2", "int32": ">i4", "uint32": ">u4", "int64": ">i8", "uint64": ">u8",
    "float32": ">f4", "float64": ">f8", "bool": ">u2",
}  # fmt: skip


class WrongReply(Exception):  # noqa: N818  a state of the link
    """The bytes are not the answer to the request."""


class ExceptionReply(Exception):  # noqa: N818  the protocol's name
    """The device answered with a Modbus exception."""

    def __init__(self, code: int) -> None:
        """Take the exception code."""
        super().__init__(f"Modbus exception {code}")
        self.code = code

    @property
    def status(self) -> int:
        """The StatusCode for the points that were asked for."""
        return STATUS_OF_EXCEPTION.get(self.code, status.BAD)


def payload_of(frame: bytes, transaction: int, request: Request) -> bytes:
    """Return the data bytes of a reply frame (MBAP header and PDU) that answers `request` and nothing else.

    Raises WrongReply naming what differs, and ExceptionReply where the device says no.
    """
    function = FUNCTIONS[request.table]
    bits = request.table in ("coil", "discrete")
    size = (request.count + 7) // 8 if bits else 2 * request.count
    if len(frame) < 9:
        raise WrongReply(f"a reply of {len(frame)} bytes")
    facts = [
        ("transaction", int.from_bytes(frame[:2], "big"), transaction),
        ("protocol", int.from_bytes(frame[2:4], "big"), 0),
        ("length", int.from_bytes(frame[4:6], "big"), len(frame) - 6),
        ("unit", frame[6], request.unit),
    ]
    if frame[7] == function | 0x80:
        facts.append(("length of the exception", len(frame), 9))
    else:
        facts += [
            ("function", frame[7], function),
            ("byte count", frame[8], size),
            ("data length", len(frame) - 9, size),
        ]
    for name, got, want in facts:
        if got != want:
            raise WrongReply(f"{name} {got} where {want} was asked for")
    if frame[7] & 0x80:
        raise ExceptionReply(frame[8])
    return frame[9:]


class Layout:
    """Decodes one request's replies; what does not change from reply to reply is worked out once."""

    def __init__(self, request: Request, scaling: Scaling) -> None:
        """Take the request, and the scales of all points."""
        self.positions = np.array([one.position for one in request.slots], np.intp)
        self._scaling = scaling
        self._bits = request.table in ("coil", "discrete")
        self._count = request.count
        groups: dict[tuple[str, str], list[int]] = {}
        for row, one in enumerate(request.slots):
            groups.setdefault((one.kind, one.order), []).append(row)
        self._groups = [
            (kind, np.array(rows, np.intp), _byte_index([request.slots[r] for r in rows], request.address))
            for (kind, _), rows in groups.items()
        ]
        self._bit_index = np.array([one.address - request.address for one in request.slots], np.intp)

    def decode(self, payload: bytes) -> tuple[NDArray[np.float64], NDArray[np.bool_], list[str | None] | None]:
        """Return value, valid and text of the request's slots, in their order, from a reply's data bytes."""
        data = np.frombuffer(payload, np.uint8)
        if self._bits:
            bits = np.unpackbits(data, count=self._count, bitorder="little")[self._bit_index]
            raw = bits.astype(np.float64)
            return self._scaling.apply(self.positions, raw), np.ones(len(raw), np.bool_), None
        raw = np.empty(len(self.positions))
        valid = np.ones(len(self.positions), np.bool_)
        text: list[str | None] | None = None
        for kind, rows, index in self._groups:
            numbers = data[index].view(_DTYPES[kind])[:, 0]
            raw[rows] = numbers != 0 if kind == "bool" else numbers
            if kind in ("int64", "uint64"):
                text = self._exact(numbers, rows, valid, text)
        return self._scaling.apply(self.positions, raw), valid, text

    def _exact(
        self,
        numbers: NDArray[np.generic],
        rows: NDArray[np.intp],
        valid: NDArray[np.bool_],
        text: list[str | None] | None,
    ) -> list[str | None] | None:
        for number, row in zip(numbers.tolist(), rows.tolist(), strict=True):
            if abs(number) > EXACT_LIMIT:
                text = text if text is not None else [None] * len(valid)
                text[row] = self._scaling.exact(int(self.positions[row]), number)
                valid[row] = False
        return text


def _byte_index(slots: Sequence[Slot], first: int) -> NDArray[np.intp]:
    """Return where the bytes of each slot lie in the data, most significant first; shape (slots, bytes)."""
    size = 2 * WORDS[slots[0].kind]
    order = np.arange(size)
    if slots[0].order in ("BA", "BADC", "DCBA"):
        order = order ^ 1  # the two bytes of each register change places
    if slots[0].order in ("CDAB", "DCBA"):
        order = order.reshape(-1, 2)[::-1].reshape(-1)  # the last register comes first
    starts = np.array([2 * (one.address - first) for one in slots], np.intp)
    return starts[:, None] + order[None, :]

"""OPC UA DataValues to arrays: the one place where values, StatusCodes and timestamps are decoded."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from asyncua import ua
from numpy.typing import NDArray

from config.status import BAD_NOT_SUPPORTED, SEVERITY_MASK
from connectors.base import Readings
from connectors.scaling import EXACT_LIMIT, Scaling

OVERFLOW = 0x480
"""Info bits of a StatusCode: a DataValue, whose queue on the server overflowed (OPC 10000-4, 7.39.1)."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NS_RANGE = (dt.datetime(1678, 1, 1, tzinfo=dt.UTC), dt.datetime(2262, 1, 1, tzinfo=dt.UTC))
_NS_NULL = np.iinfo(np.int64).min


def nanoseconds(stamp: dt.datetime | None) -> int | None:
    """Return a timestamp in [ns since 1970, UTC]; None where there is none, or none that 64 bits can hold.

    OPC UA writes "no time" as 1601, and "for ever" as 9999.
    """
    if stamp is None or not _NS_RANGE[0] < stamp < _NS_RANGE[1]:
        return None
    delta = stamp - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1_000


def _scalar(variant: ua.Variant | None) -> tuple[float | None, int | str | None, bool]:
    """Return a number, or a big integer or text, and whether the type is one that a sample can hold."""
    value = None if variant is None else variant.Value
    if isinstance(value, ua.LocalizedText):
        value = value.Text
    if value is None:
        return None, None, True
    if variant is None or variant.is_array:
        return None, None, False
    if isinstance(value, int):
        return (float(value), None, True) if abs(value) <= EXACT_LIMIT else (float(value), value, True)
    if isinstance(value, float):
        return value, None, True
    return (None, value, True) if isinstance(value, str) else (None, None, False)


def decode(positions: NDArray[np.intp], values: Sequence[ua.DataValue], received: int, scaling: Scaling) -> Readings:
    """Return DataValues as arrays; row i is of the point at `positions[i]`.

    `received` [ns since 1970, UTC] stands in where neither source nor server gives a usable time. An array or
    a structure makes its point BadNotSupported; an integer beyond 2^53 is a text with all its digits.
    """
    n = len(values)
    value, valid = np.full(n, np.nan), np.zeros(n, np.bool_)
    status = np.fromiter((v.StatusCode.value if v.StatusCode else 0 for v in values), np.uint32, n)
    stamps = (nanoseconds(v.SourceTimestamp) or nanoseconds(v.ServerTimestamp) or received for v in values)
    ts = np.fromiter(stamps, np.int64, n)
    text: list[str | None] | None = None
    for row, data in enumerate(values):
        number, word, supported = _scalar(data.Value)
        if number is not None:
            value[row], valid[row] = number, word is None
        if word is not None:
            text = text if text is not None else [None] * n
            text[row] = word if isinstance(word, str) else scaling.exact(int(positions[row]), word)
        if not supported and status[row] & SEVERITY_MASK == 0:
            status[row] = BAD_NOT_SUPPORTED
    return Readings(
        points=positions,
        ts=ts,
        ts_recv=received,
        value=scaling.apply(positions, value),
        valid=valid,
        status=status,
        text=text,
    )


class Stamps:
    """Gives a status that changes under an old source time a time of its own.

    Servers turn a value bad, and good again, under the timestamp of its last change; such a row would take
    the place of the good sample of that time. Before a point's first good value any time is taken as it comes.
    """

    def __init__(self, points: int) -> None:
        """Take the number of points."""
        self._ts = np.full(points, _NS_NULL, np.int64)
        self._status = np.zeros(points, np.uint32)
        self._spoke = np.zeros(points, np.bool_)

    def apply(self, readings: Readings) -> Readings:
        """Return the readings, with the receive time where a status changed and the source time did not."""
        at = readings.points
        before = self._ts[at]
        stale = (readings.status != self._status[at]) & (readings.ts <= before) & self._spoke[at]
        ts = readings.ts
        if stale.any():
            ts = np.where(stale, np.maximum(readings.ts_recv, before + 1), ts)
            readings = replace(readings, ts=ts)
        self._ts[at] = np.maximum(ts, before)
        self._status[at] = readings.status
        self._spoke[at] |= readings.status & SEVERITY_MASK == 0
        return readings

"""Values, times and StatusCodes of metrics and of the parts of their values."""

from collections.abc import Sequence

from config.status import (
    BAD,
    BAD_DECODING_ERROR,
    BAD_NO_VALUE,
    BAD_NODE_ID_UNKNOWN,
    BAD_NOT_SUPPORTED,
    GOOD,
    UNCERTAIN,
    UNCERTAIN_LAST_USABLE_VALUE,
)  # fmt: skip
from connectors.mqtt.sparkplug.address import Part
from connectors.mqtt.sparkplug.burst import Burst, ns
from connectors.mqtt.sparkplug.datatype import (
    ARRAYS,
    BYTES,
    TABLE,
    UNKNOWN,
    Misfit,
    Scalar,
    Unsupported,
    element,
    scalar,
)
from connectors.mqtt.sparkplug.payload import Metric
from connectors.mqtt.sparkplug.structure import QUALITY, Table, properties, table

STATUS_OF_QUALITY = {192: GOOD, 0: BAD, 500: UNCERTAIN_LAST_USABLE_VALUE}
"""StatusCodes of the property Quality (chapter 6, Quality Codes)."""

Sample = tuple[int, Scalar | None, int]
"""Time [ns since 1970, UTC], value, StatusCode."""


def quality(metric: Metric, burst: Burst) -> int:
    """Return the StatusCode of a metric by its property Quality; Good where it has none."""
    if metric.properties is None:
        return GOOD
    try:
        found = properties(metric.properties)
    except ValueError as error:
        burst.refuse(f"its properties: {error}", metric.name)
        return UNCERTAIN
    code = found.get(QUALITY, 192)
    if isinstance(code, int) and code in STATUS_OF_QUALITY:
        return STATUS_OF_QUALITY[code]
    burst.flag("unknown quality")
    return UNCERTAIN


def whole(metric: Metric, name: str, datatype: int, status: int, burst: Burst) -> tuple[Scalar | None, int]:
    """Return the value of a metric that is a scalar, and its StatusCode; no value of a bad one is worth keeping."""
    try:
        value = scalar(datatype, metric.field, metric.raw) if metric.field and not metric.null else None
    except Unsupported:
        burst.flag("data type is not supported")
        return None, BAD_NOT_SUPPORTED
    except Misfit as error:
        if datatype == UNKNOWN:
            burst.flag("unknown data type")
            burst.wanted = True
        burst.refuse(str(error), name)
        return None, BAD_DECODING_ERROR
    if status & BAD:
        return None, status
    return value, BAD_NO_VALUE if value is None and not metric.null else status


class Cells:
    """The parts of one metric's value: elements of an array, or cells and columns of a DataSet."""

    def __init__(self, metric: Metric, name: str, datatype: int, ts: int, status: int, burst: Burst) -> None:
        """Take the metric and what holds for all its parts."""
        self._metric, self._name, self._datatype = metric, name, datatype
        self._ts, self._status, self._burst = ts, status, burst
        self.null = metric.null or not metric.field or bool(status & BAD)
        self.has_parts = self.null or metric.field == TABLE or (metric.field == BYTES and datatype in ARRAYS)
        self._table: Table | None = None

    def samples(self, part: Part) -> Sequence[Sample]:
        """Return the samples of a part, in their times' order; BadNodeIdUnknown where there is no such part."""
        ts = self._ts
        if self.null:
            nothing = not self._metric.null and not self._status & BAD
            return [(ts, None, BAD_NO_VALUE if nothing else self._status)]
        try:
            if self._metric.field == TABLE:
                return self._cells(part)
            if self.has_parts and part.element is not None:
                found = element(self._datatype, self._metric.inner(), part.element)
                return [(ts, found, BAD_NO_VALUE if found is None else self._status)]
        except ValueError as error:
            self._burst.refuse(str(error), self._name)
            return [(ts, None, BAD_DECODING_ERROR)]
        return [(ts, None, BAD_NODE_ID_UNKNOWN)]

    def _cells(self, part: Part) -> Sequence[Sample]:
        if self._table is None:
            self._table = table(self._metric.inner())
        columns = self._table.columns
        if (place := part.column(columns)) is not None:
            column, row = place
            if row >= len(self._table.rows):
                return [(self._ts, None, BAD_NO_VALUE)]
            return [(self._ts, self._table.cell(row, column), self._status)]
        if (places := part.timed(columns)) is not None:
            return self._timed(self._table, *places)
        return [(self._ts, None, BAD_NODE_ID_UNKNOWN)]

    def _timed(self, found: Table, column: int, times: int) -> Sequence[Sample]:
        samples: list[Sample] = []
        for row in range(len(found.rows)):
            ts = ns(found.cell(row, times))
            if ts is None:
                self._burst.refuse(f"row {row} has no time", self._name)
                continue
            samples.append((ts, found.cell(row, column), self._status))
        return sorted(samples, key=lambda sample: sample[0])

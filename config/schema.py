"""Column schemas SAMPLE, FACT, DEMAND and RESULT, and `require`, which holds a frame against one."""

from collections.abc import Mapping

import polars as pl

UTC_NS = pl.Datetime("ns", "UTC")
NS = pl.Duration("ns")

# Quantities of counters and meters are integers in millionths of their unit, so that sums are exact in any order.
MICRO = 1_000_000

SAMPLE: Mapping[str, pl.DataType] = {
    "point": pl.String(),
    "ts": UTC_NS,
    "ts_recv": UTC_NS,
    "value": pl.Float64(),
    "text": pl.String(),
    "status": pl.UInt32(),
}
"""One row of a point: source time, receive time, number or text, OPC UA StatusCode."""

ELEMENTS = ("production", "setup", "delay", "idle", "planned", "unknown")
"""Time elements that share out planned operation time: APT, AUST, ADET, ADOT, planned down time, and unknown."""

DURATIONS = (*ELEMENTS, "break", "unscheduled")
"""Elements and the rest of calendar time; together they are every nanosecond of a window."""

COUNTS = ("total", "good", "reject", "rework")

FACT: Mapping[str, pl.DataType] = {
    "asset": pl.String(),
    "shift": pl.String(),  # instance: production date and name, "2026-11-21 早班"; null outside every shift
    "date": pl.Date(),  # production date
    "hour": UTC_NS,  # start of the hour of the plant's clock
    "start": UTC_NS,  # first and last instant of what the row sums up
    "end": UTC_NS,
    "product": pl.String(),
    "ideal_cycle": pl.Float64(),  # planned run time per item, PRI [s]
    **dict.fromkeys(DURATIONS, NS),
    **dict.fromkeys(COUNTS, pl.Int64()),  # [1e-6 pieces]; null where no role gives it
    **{f"{count}_unknown": pl.Int64() for count in COUNTS},  # the part that fell into unknown time
    "reject_startup": pl.Int64(),  # the part of reject that known time after a setup gave [1e-6 pieces]
    "micro_stop": NS,  # the part of delay that micro-stops took
    "stops": pl.Int64(),  # stops that are no micro-stops, at their first planned instant
    "micro_stops": pl.Int64(),
    "inferred": NS,  # planned time whose element comes from the counter's pace
    "apc_on": NS,  # planned time under advanced process control; null without such a point
    "apc_known": NS,  # planned time in which its point was known
    "resets": pl.Int64(),
    "gap_steps": pl.Int64(),  # increments kept across a gap
    "refused_steps": pl.Int64(),  # increments above max_rate
    "uncertain": pl.Int64(),  # what the refused steps would have added [1e-6 units]
    "unmapped": NS,  # time in states that the state map does not name; part of unknown
}
"""Additive facts per asset, shift, hour and product; meters add `energy.<medium>` [1e-6 units] and
`metered.<medium>` [ns] columns."""

DEMAND: Mapping[str, pl.DataType] = {
    "asset": pl.String(),
    "medium": pl.String(),
    "start": UTC_NS,
    "interval": NS,
    "quantity": pl.Int64(),  # [1e-6 units]
    "metered": NS,
}
"""What each meter counted per demand interval."""

RESULT: Mapping[str, pl.DataType] = {
    "kpi": pl.String(),
    "subject": pl.String(),
    "period": pl.String(),
    "start": UTC_NS,
    "end": UTC_NS,
    "value": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "unit": pl.String(),
    "numerator": pl.Float64(),
    "denominator": pl.Float64(),
    "coverage": pl.Float64(),
    "flags": pl.List(pl.String()),
    "rule": pl.String(),
}
"""One KPI of one subject and period, with its bounds, n/N, data coverage and rule."""


class SchemaError(ValueError):
    """A frame does not have the columns it must have."""


def require(frame: pl.DataFrame, schema: Mapping[str, pl.DataType], name: str = "frame") -> pl.DataFrame:
    """Return `frame` with exactly the schema's columns in its order.

    Raises SchemaError naming each missing column and each column of another type.
    """
    found = frame.schema
    faults = [f"column {column!r} is missing" for column in schema if column not in found]
    faults += [
        f"column {column!r} is {found[column]}, not {dtype}"
        for column, dtype in schema.items()
        if column in found and found[column] != dtype
    ]
    if faults:
        raise SchemaError(f"{name}: {'; '.join(faults)}; hand over a frame of the schema in config/schema.py")
    return frame if list(found) == list(schema) else frame.select(list(schema))

"""What of a package comes from samples alone: hashes of each point and day, gaps, and an extract to check facts by."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from config.schema import UTC_NS

Period = tuple[int, int]
"""[start, end) [ns since 1970, UTC]."""

PARTITIONS: Mapping[str, pl.DataType] = {
    "date": pl.Date(),
    "point": pl.String(),
    "rows": pl.Int64(),
    "sha256": pl.String(),
}
"""The samples of one point on one UTC day, as far as they lie in the period: how many, one an instant, and the hash of
their canonical writing, which does not depend on the files or the store that they lie in (docs/evidence-samples.md)."""

GAPS: Mapping[str, pl.DataType] = {
    "asset": pl.String(),
    "start": UTC_NS,
    "end": UTC_NS,
    "planned_ns": pl.Int64(),
    "cause": pl.String(),
}
"""A stretch in which none of a device's points was known, of which so much [ns] was planned time.

cause: `silent` where no row came, else the name of the status that most of its rows had: BadNoCommunication; its number
where it has no name; `no_value` for rows that are good and say nothing. Only gaps with planned time are listed: of a
device, planned_ns of its gaps and evidenced_ns of the device list come to its planned_ns, exactly.
"""

TIMELINE: Mapping[str, pl.DataType] = {
    "asset": pl.String(),
    "start": UTC_NS,
    "end": UTC_NS,
    "element": pl.String(),
}
"""One asset in one time element (config.schema.DURATIONS) from start to end; without gap or overlap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What of a period comes from its samples alone."""

    store: str
    """What was read: lake or influxdb."""
    samples: int
    """Rows in the period."""
    partitions: pl.DataFrame
    """PARTITIONS, by date and point."""
    gaps: pl.DataFrame
    """GAPS, by asset in the register's order and start."""
    extract: pl.DataFrame
    """SAMPLE rows from which the facts of `extract_period` follow exactly, with what is needed around it.

    One row an instant, by point and time. With all rows that the period has on the UTC days that `extract_period`
    touches, so that they prove the hashes of these days; not where an hour was chosen.
    """
    extract_period: Period
    """All of the period where it has few samples; else one day of the plant's calendar, or an hour of one that has very
    many, which the hashes choose and nobody else (kpis/evidence/choice.py)."""
    timeline: pl.DataFrame
    """TIMELINE of `extract_period`."""

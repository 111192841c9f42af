"""Samples for tests of spool and sinks."""

from collections.abc import Sequence

import polars as pl

from config.schema import SAMPLE
from config.status import GOOD


def rows(samples: Sequence[tuple[str, int]], value: float = 1.0, text: str | None = None) -> pl.DataFrame:
    """A SAMPLE frame of (point, time [ns]) pairs, all good, received as they were sampled."""
    points, times = zip(*samples, strict=True)
    columns = {"point": points, "ts": times, "ts_recv": times}
    made = pl.DataFrame(columns).with_columns(value=value, text=pl.lit(text), status=GOOD)
    return made.select(pl.col(name).cast(kind) for name, kind in SAMPLE.items())

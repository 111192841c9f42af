"""Facts -> the sums that formulas use: integers that add up exactly in any order, then columns to compute with."""

from collections.abc import Iterable, Sequence

import polars as pl

from config.schema import COUNTS, DURATIONS, ELEMENTS, FACT, MICRO
from config.units import NS_PER_SECOND

_TIMES = (*DURATIONS, "unmapped", "micro_stop", "inferred", "apc_on", "apc_known")
_PIECES = (*COUNTS, *(f"{c}_known" for c in COUNTS), "unknown_pieces")
_IDEAL = ("ideal_total", "ideal_good", "ideal_startup")
_EVENTS = ("stops", "micro_stops", "resets", "gap_steps", "refused_steps")
_WIDE = pl.Int128
"""64 bits of nanoseconds are 292 machine-years: enough for a machine, not for a large plant."""


def amounts(facts: pl.DataFrame, media: Iterable[str]) -> pl.DataFrame:
    """Return facts as integers that may be summed: times [ns], pieces [1e-6], and what is additive only row by row:
    ideal times of known pieces [ns], and the pieces that unknown time could have made.

    media: the media to have columns for. What a frame lacks of the schema or of these is null, as where no point gives
    it.
    """
    meters = {f"energy.{m}": pl.Int64() for m in media} | {f"metered.{m}": pl.Duration("ns") for m in media}
    missing = [pl.lit(None, dtype).alias(n) for n, dtype in (dict(FACT) | meters).items() if n not in facts.columns]
    full = facts.with_columns(missing)
    times = [_ns(pl.col(name)).alias(name) for name in _TIMES]
    known = [(pl.col(c) - pl.col(f"{c}_unknown")).alias(f"{c}_known") for c in COUNTS]
    metered = [e for m in media for e in (_ns(pl.col(f"metered.{m}")).alias(f"metered.{m}"), _span(m))]
    ready = full.with_columns(*times, *known, *metered).with_columns(
        ideal_total=_ideal_ns("total_known"),
        ideal_good=_ideal_ns("good_known"),
        # Rejects that nothing tells are none, as where good is taken from the total.
        ideal_startup=_ideal_ns("reject_startup").fill_null(
            pl.when(pl.col("reject_startup").fill_null(0) == 0).then(0)
        ),
        unknown_pieces=_possible_pieces(),
    )
    return ready.select("asset", "shift", "date", "hour", "start", "end", *_columns(media))


def added(keys: Sequence[str], rows: pl.DataFrame, media: Iterable[str]) -> pl.DataFrame:
    """Return the sums of amounts, or of sums of them, per group of `keys`, in the order of their first rows.

    Pieces and ideal times are null where one row's are: nothing known is not zero.
    """
    whole = [*_PIECES, *_IDEAL]
    plain = [*(name for name in _TIMES if not name.startswith("apc")), *_EVENTS]
    present = ["apc_on", "apc_known", *(f"{kind}.{m}" for m in media for kind in ("energy", "metered", "span"))]
    return rows.group_by(keys, maintain_order=True).agg(
        pl.min("start"),
        pl.max("end"),
        *(_sum(name) for name in plain),
        *(pl.when(pl.col(name).is_not_null().all()).then(_sum(name)) for name in whole),
        *(pl.when(pl.col(name).is_not_null().any()).then(_sum(name)) for name in present),
    )


def readable(sums: pl.DataFrame, media: Iterable[str]) -> pl.DataFrame:
    """Return sums with times in [s], pieces, and energy in canonical units; `exact.<name>` keeps each integer.

    Adds planned operation time, its known part, planned busy time, and calendar time.
    """
    operation = pl.sum_horizontal(ELEMENTS)
    whole = sums.with_columns(
        planned_operation=operation,
        known=operation - pl.col("unknown"),
        planned_busy=operation - pl.col("unknown") - pl.col("planned"),
        calendar=pl.sum_horizontal(DURATIONS),
    )
    times = [*_TIMES, *_IDEAL, "planned_operation", "known", "planned_busy", "calendar"]
    times += [f"{kind}.{m}" for m in media for kind in ("metered", "span")]
    micro = [*_PIECES, *(f"energy.{m}" for m in media)]
    return whole.with_columns(
        *(pl.col(name).alias(f"exact.{name}") for name in (*times, *micro)),
        *(pl.col(name) / NS_PER_SECOND for name in times),
        *(pl.col(name) / MICRO for name in micro),
        *(pl.col(name).cast(pl.Int64) for name in _EVENTS),
    )


def _columns(media: Iterable[str]) -> list[str]:
    of_media = [f"{kind}.{m}" for m in media for kind in ("energy", "metered", "span")]
    return [*_TIMES, *_PIECES, *_IDEAL, *_EVENTS, *of_media]


def _sum(name: str) -> pl.Expr:
    return pl.col(name).sum().cast(_WIDE)


def _ns(duration: pl.Expr) -> pl.Expr:
    return duration.dt.total_nanoseconds()


def _span(medium: str) -> pl.Expr:
    # A fact's cells need not lie side by side, so its time is that of its elements, not end - start.
    span = pl.sum_horizontal(_ns(pl.col(name)) for name in DURATIONS)
    return pl.when(pl.col(f"energy.{medium}").is_not_null()).then(span).alias(f"span.{medium}")


def _ideal_ns(pieces: str) -> pl.Expr:
    # No pieces need no ideal cycle.
    micro = pl.col(pieces)
    ideal = (pl.col("ideal_cycle") * micro * (NS_PER_SECOND // MICRO)).round()
    return pl.when(micro == 0).then(0).otherwise(ideal.cast(_WIDE, strict=False))


def _possible_pieces() -> pl.Expr:
    unknown = pl.col("unknown")
    pieces = (unknown / pl.col("ideal_cycle") / (NS_PER_SECOND // MICRO)).round()
    return pl.when(unknown == 0).then(0).otherwise(pieces.cast(_WIDE, strict=False))

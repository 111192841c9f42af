"""The terms of formulas as columns of `sums.readable`: times [s] and pieces of known time, under their symbols."""

import polars as pl

from kpis.catalogue.base import ONE, divide

APT, AUST, ADET, ADOT = (pl.col(element) for element in ("production", "setup", "delay", "idle"))
AUPT = APT + AUST
AUBT = APT + AUST + ADET
UNKNOWN, PBT, CALENDAR = pl.col("unknown"), pl.col("planned_busy"), pl.col("calendar")
POT, KNOWN, BREAK = pl.col("planned_operation"), pl.col("known"), pl.col("break")
MICRO_STOP = pl.col("micro_stop")
IDEAL_TOTAL, IDEAL_GOOD = pl.col("ideal_total"), pl.col("ideal_good")
PQ, GQ, RQ = (pl.col(f"{count}_known") for count in ("total", "good", "rework"))
SQ = pl.col("reject_known") - RQ
MISSED = pl.col("unknown_pieces")
"""Pieces that unknown time could have made at the ideal rate; null where no ideal cycle says."""

_FREE = pl.when(UNKNOWN > 0)


def least_share(part: pl.Expr, pieces: pl.Expr) -> pl.Expr:
    """Return part / pieces if none of the missed pieces are of the part; 0 where nothing says how many they are."""
    return _FREE.then(pl.coalesce(divide(part, pieces + MISSED), 0 * ONE)).otherwise(divide(part, pieces))


def most_share(part: pl.Expr, pieces: pl.Expr) -> pl.Expr:
    """Return part / pieces if all of the missed pieces are of the part; 1 where nothing says how many they are."""
    return _FREE.then(pl.coalesce(divide(part + MISSED, pieces + MISSED), ONE)).otherwise(divide(part, pieces))

"""Rows that stand where samples were lost: from then on until the next good row a point is unknown."""

import datetime as dt
from collections.abc import Iterable
from typing import Any

import polars as pl

from collector.payload import decoded, encoded
from config.schema import SAMPLE, UTC_NS
from config.status import BAD_DATA_LOST


def in_place_of(payloads: Iterable[bytes]) -> tuple[bytes, int, dict[str, Any]]:
    """Return what is stored in place of batches: one row a point, status BadDataLost, at its first lost time.

    Returns the payload, its rows, and points and times for the ledger.
    """
    firsts, until = pl.DataFrame(schema={name: SAMPLE[name] for name in ("point", "ts", "ts_recv")}), None
    unread = 0
    for payload in payloads:
        try:
            frame = decoded(payload)
        except (pl.exceptions.PolarsError, OSError):
            unread += 1
            continue
        until = pl.Series([until, frame["ts_recv"].to_physical().max()], dtype=pl.Int64).max()
        both = pl.concat([firsts, frame.select(firsts.columns)])
        firsts = both.group_by("point").agg(pl.min("ts"), pl.min("ts_recv"))
    since = firsts["ts_recv"].to_physical().min()
    facts = {"points": firsts.height, "from": _iso(since), "to": _iso(until)} | (
        {"no_samples": unread} if unread else {}
    )
    return encoded(_lost(firsts)), firsts.height, facts


def of_all(points: pl.Series, ts: int) -> pl.DataFrame:
    """Return a row of status BadDataLost for each point at `ts` [ns]: nobody knows which of them were lost."""
    at = pl.lit(ts).cast(UTC_NS)
    return _lost(pl.DataFrame({"point": points}).with_columns(ts=at, ts_recv=at))


def _lost(rows: pl.DataFrame) -> pl.DataFrame:
    nothing = [pl.lit(None).cast(SAMPLE[name]).alias(name) for name in ("value", "text")]
    return rows.with_columns(*nothing, status=pl.lit(BAD_DATA_LOST, pl.UInt32)).select(list(SAMPLE))


def _iso(ns: Any) -> str | None:
    return None if ns is None else dt.datetime.fromtimestamp(ns // 1_000_000_000, dt.UTC).isoformat()

"""Why time is unknown: what the last sample before it was."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from config import status as of_samples
from config.plant import Plant
from config.schema import NS, UTC_NS
from config.units import NS_PER_SECOND
from kpis.intervals import UNKNOWN, UNMAPPED, Series, Timeline, words

UNKNOWN_SPANS = {
    "asset": pl.String(),
    "point": pl.String(),
    "begin": UTC_NS,
    "end": UTC_NS,
    "counted": NS,  # what of it the figure misses: of states the planned operation time, of meters all
    "cause": pl.String(),
    "status": pl.UInt32(),
    "said": pl.String(),
    "since": UTC_NS,  # the last sample before it
}
NO_SAMPLE, HELD_OUT, BAD_STATUS, NO_VALUE, NO_NUMBER, UNMAPPED_STATE, NO_STATE_POINT, NO_CYCLE = (
    "no_sample", "hold_ran_out", "status", "no_value", "no_number", "unmapped", "no_state_point", "no_ideal_cycle",
)  # fmt: skip
_NAMES = {number: name for name, number in of_samples.NAMES.items()}
_LINK = ("BadCommunicationError", "BadNoCommunication", "BadTimeout", "BadShutdown", "BadDataLost")
_LOG_BITS = 0xFFFF_0000
"""The lower half of a StatusCode tells no other status apart."""


def unknown_spans(
    line: Timeline, rows: Series | None, status: NDArray[np.uint32] | None, *, numbers: bool
) -> pl.DataFrame:
    """Return the unknown spans of a timeline, [ns], each with the one cause that it has.

    rows: the samples that the timeline comes from, and their statuses. numbers: whether words are no readings of it.
    """
    none = np.empty(0, np.int64)
    rows = Series(none, np.empty(0), np.empty(0, np.bool_)) if rows is None else rows
    cuts = np.unique(np.clip(np.append(line.edges, rows.ts), line.edges[0], line.edges[-1]))
    code = line.at(cuts[:-1])
    open_ = np.flatnonzero((code == UNKNOWN) | (code == UNMAPPED))
    begin, end = cuts[open_], cuts[open_ + 1]
    last = np.searchsorted(rows.ts, begin, "right") - 1
    before = last >= 0
    place = last[before]
    sampled = pl.DataFrame(
        {
            "begin": begin[before],
            "good": rows.good[place],
            "status": np.empty(0, np.uint32) if status is None else status[place],
            "said": words(rows, place) if len(place) else pl.Series([], dtype=pl.String),
            "word": np.full(len(place), False) if rows.text is None else rows.text.gather(place).is_not_null(),
            "since": rows.ts[place],
        }
    )
    pieces = pl.DataFrame({"begin": begin, "end": end, "unmapped": code[open_] == UNMAPPED})
    return _merged(pieces.join(sampled, on="begin", how="left", maintain_order="left"), numbers=numbers)


def _merged(pieces: pl.DataFrame, *, numbers: bool) -> pl.DataFrame:
    """Return pieces with their causes; neighbours of one cause are one span."""
    said_nothing = (pl.col("status") & of_samples.SEVERITY_MASK) == of_samples.GOOD
    cause = (
        pl.when("unmapped").then(pl.lit(UNMAPPED_STATE))
        .when(pl.col("good").is_null()).then(pl.lit(NO_SAMPLE))
        .when(~pl.col("good") & said_nothing).then(pl.lit(NO_VALUE))
        .when(~pl.col("good")).then(pl.lit(BAD_STATUS))
        .when(pl.col("word") & pl.lit(numbers)).then(pl.lit(NO_NUMBER))
        .otherwise(pl.lit(HELD_OUT))
    )  # fmt: skip
    caused = pieces.with_columns(cause=cause).with_columns(
        status=pl.when(pl.col("cause") == BAD_STATUS).then("status"),
        said=pl.when(pl.col("cause").is_in([UNMAPPED_STATE, NO_NUMBER])).then("said"),
    )
    apart = pl.col("begin").ne_missing(pl.col("end").shift(1))
    other = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in ("cause", "status", "said"))
    runs = caused.with_columns(run=(apart | other).cum_sum())
    merged = runs.group_by("run", maintain_order=True).agg(
        pl.first("begin"), pl.last("end"), pl.first("cause", "status", "said", "since")
    )
    return merged.drop("run")


def status_name(status: int) -> str:
    """Return a status by its name and number."""
    severity = {of_samples.GOOD: "Good", of_samples.UNCERTAIN: "Uncertain"}.get(
        status & of_samples.SEVERITY_MASK, "Bad"
    )
    name = _NAMES.get(status & _LOG_BITS, f"{severity}, a status without a name here")
    return f"{name} (0x{status:08X})"


def why(plant: Plant, cause: str, point: str | None, status: int | None, said: str | None) -> tuple[str, str]:
    """Return in words why a span is unknown, and the next step."""
    of = next((p for p in plant.points if p.point == point), None)
    states, held = (of.states, of.hold_ns / NS_PER_SECOND) if of is not None else ("", 0.0)
    told = {
        UNMAPPED_STATE: f"state value {said!r} is not in the state map {states!r}",
        NO_SAMPLE: f"no sample of {point} before",
        HELD_OUT: f"nothing came of {point} for longer than its max_hold of {held:g} s",
        BAD_STATUS: f"{point} had the status {status_name(status or 0)}",
        NO_VALUE: f"samples of {point} had no value",
        NO_NUMBER: f"{point} said {said!r}, which is no number",
        NO_STATE_POINT: "the asset has no state point",
        NO_CYCLE: "no state point, and no ideal cycle to infer the elements from",
    }
    steps = {
        UNMAPPED_STATE: f'add "{said}" = "production", "setup", "delay", "idle" or "planned" to [states.{states}]',
        NO_SAMPLE: "did the agent run by then? see plantproof status and the ledger",
        HELD_OUT: "was the agent or its source down? see the ledger; a point that speaks more rarely needs a max_hold",
        BAD_STATUS: _step_of(plant, status or 0),
        NO_VALUE: "look at the address and type of the point in points.csv",
        NO_NUMBER: "look at the address and type of the point in points.csv",
        NO_STATE_POINT: "add a point of role state, or of role total, to points.csv",
        NO_CYCLE: "set ideal_cycle in assets.csv or products.csv, or add a point of role state",
    }
    return told[cause], steps[cause]


def _step_of(plant: Plant, status: int) -> str:
    if status & of_samples.SEVERITY_MASK == of_samples.UNCERTAIN and plant.uncertain == "bad":
        return 'the source doubts the value; uncertain = "good" in plant.toml would take it'
    if _NAMES.get(status & _LOG_BITS) in _LINK:
        return "the link or the source was down; see plantproof status and the ledger for the time"
    return "the source gave no good value; look at the device, and at the address in points.csv"

"""An explanation as plain data, and the longest and first of its lists."""

import datetime as dt
from typing import Any

import polars as pl

from config.schema import RESULT
from config.units import NS_PER_SECOND
from kpis import output
from kpis.compute import WARNINGS
from kpis.explain.explanation import Explanation
from kpis.explain.unknown import why
from kpis.explain.words import RULES, flag_sentence

PAGE = "docs/kpi-rules.md"


def to_data(found: Explanation, top: int) -> dict[str, Any]:
    """Return an explanation as plain data: instants as ISO 8601 with the plant's offset, durations in seconds.

    top: how many of the longest stops and unknown spans, and of the events, are listed.
    """
    kpi = found.kpi
    about = ("id", "rule", "title", "title_zh", "unit", "formula", "source", "not_this", "needs")
    return {
        "kpi": {name: getattr(kpi, name) for name in about},
        "subject": found.taken.subject,
        "assets": list(found.taken.assets),
        "start": iso(found, found.start),
        "end": iso(found, found.end),
        "result": found.result and output.objects(found.plant, pl.DataFrame([found.result], schema=RESULT))[0],
        "no_value": no_value(found) or None,
        "flags": [{"flag": flag, "says": flag_sentence(flag), "warning": flag in WARNINGS} for flag in flags_of(found)],
        "computed_as": found.formula,
        "arithmetic": found.arithmetic,
        "terms": found.terms,
        "elements": found.elements.to_dicts(),
        "shifts": [{"break" if k == "break_" else k: v for k, v in row.items()} for row in found.shifts.to_dicts()],
        "stops": _listed(found, longest_stops(found, top), found.stops),
        "unknown": _listed(found, unknown_spans(found, top), found.unknown),
        "events": {"count": kinds_of(found), "listed": _plain(rows_of(found, events_listed(found, top)))},
        "products": found.products.to_dicts(),
        "demand": _plain(rows_of(found, found.demand.head(top))),
        "rules": [{"rule": number, "says": RULES[number], "page": PAGE} for number in found.rules],
    }


def flags_of(found: Explanation) -> list[str]:
    """Return the flags of the figure."""
    return list(found.result["flags"]) if found.result is not None else []


def no_value(found: Explanation) -> str:
    """Return why there is no value; empty where there is one."""
    row, missing = found.result, [term["symbol"] for term in found.terms if term["value"] is None]
    if row is None:
        return "no whole demand interval of the period has data"
    if row["value"] is not None:
        return ""
    if missing:
        return f"nothing says {' nor '.join(missing)} (rules 13 and 18)"
    if found.kpi.basis == "hours":
        return "too few hours have data throughout, or they all have the same number of pieces"
    if row["numerator"] is None:
        return "the meters said nothing"
    return "the denominator is 0 (rule 18)"


def longest_stops(found: Explanation, top: int) -> pl.DataFrame:
    """Return the stops that took the most planned time of the period, with their states and reasons."""
    chosen = _longest(found.stops).head(top)
    told = [history.told(chosen.filter(asset=history.asset.asset)) for history in found.histories]
    return _longest(pl.concat([chosen.clear(), *told]))


def _longest(stops: pl.DataFrame) -> pl.DataFrame:
    return stops.sort("counted", "length", "begin", "asset", descending=[True, True, False, False])


def unknown_spans(found: Explanation, top: int) -> pl.DataFrame:
    """Return the longest unknown spans, with the reason and the next step in words."""
    chosen = found.unknown.sort(["counted", "begin", "asset"], descending=[True, False, False]).head(top)
    told = [why(found.plant, *row) for row in chosen.select("cause", "point", "status", "said").iter_rows()]
    words = {"why": [w for w, _ in told], "next_step": [step for _, step in told]}
    return chosen.with_columns(pl.Series(name, texts, dtype=pl.String) for name, texts in words.items())


def events_listed(found: Explanation, top: int) -> pl.DataFrame:
    """Return the first events: resets, refused steps and the like before increments across a gap, then by time."""
    only_gap = pl.col("kinds").list.eval(pl.element() == "gap_increment").list.all()
    return found.events.sort(only_gap, "end", "point").head(top)


def kinds_of(found: Explanation) -> dict[str, int]:
    """Return how many events there are of each kind."""
    counts = found.events["kinds"].explode().drop_nulls().value_counts(sort=True)
    return {str(kind): int(n) for kind, n in counts.iter_rows()}


def total(spans: pl.DataFrame) -> float:
    """Return what spans or stops took of the period together [s]."""
    return int(spans["counted"].dt.total_nanoseconds().sum()) / NS_PER_SECOND


def rows_of(found: Explanation, frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return rows as plain data: instants in the plant's time, durations in seconds."""
    spans = [name for name, kind in frame.schema.items() if kind == pl.Duration]
    told = frame.with_columns(
        pl.col(spans).dt.total_nanoseconds(), pl.selectors.datetime().dt.convert_time_zone(found.plant.timezone)
    )
    return [row | {name: row[name] / NS_PER_SECOND for name in spans} for row in told.to_dicts()]


def _listed(found: Explanation, rows: pl.DataFrame, every: pl.DataFrame) -> dict[str, Any]:
    return {"count": every.height, "counted": total(every), "listed": _plain(rows_of(found, rows))}


def _plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{n: v.isoformat() if isinstance(v, dt.datetime) else v for n, v in row.items()} for row in rows]


def iso(found: Explanation, ns: int) -> str:
    """Return an instant as ISO 8601 with the plant's offset."""
    moment = dt.datetime.fromtimestamp(ns // NS_PER_SECOND, found.plant.zone)
    return moment.replace(microsecond=ns % NS_PER_SECOND // 1000).isoformat()

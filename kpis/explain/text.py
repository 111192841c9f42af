"""An explanation as text for a terminal."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from config.schema import DURATIONS, ELEMENTS
from kpis.catalogue.base import SECONDS_PER_HOUR
from kpis.compute import WARNINGS
from kpis.explain.explanation import Explanation
from kpis.explain.terms import amount
from kpis.explain.view import (
    PAGE,
    events_listed,
    flags_of,
    iso,
    kinds_of,
    longest_stops,
    no_value,
    rows_of,
    total,
    unknown_spans,
)
from kpis.explain.words import RULES, flag_sentence

WIDTH = 100
"""Columns where stdout is no terminal."""
_SIDE_BY_SIDE = 3
"""So many assets of a group have columns of their own."""
ELEMENT_NAMES = {
    "production": ("production (APT)", "生产"),
    "setup": ("setup (AUST)", "换型"),
    "delay": ("unplanned stop (ADET)", "非计划停机"),
    "idle": ("no order (ADOT)", "空闲"),
    "planned": ("planned down time (PDOT)", "计划停机"),
    "unknown": ("unknown", "未知"),
    "break": ("break", "班内休息"),
    "unscheduled": ("outside shifts", "班外"),
}


def print_text(found: Explanation, top: int) -> None:
    """Print an explanation for people, as wide as the terminal is."""
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, emoji=False, width=WIDTH)
    for part in parts(found, top):
        console.print(part)


def parts(found: Explanation, top: int) -> list[RenderableType]:
    """Return what is printed, section by section."""
    sections: list[tuple[str, list[RenderableType]]] = [
        ("Figure", [_figure(found)]),
        ("How it is computed", _computed(found)),
        ("Where the time went", _time(found)),
        ("Longest stops", _stops(found, top)),
        ("Longest unknown spans", _unknown(found, top)),
        ("Highest demand", _demand(found, top)),
        ("Resets, gaps and the like", _events(found, top)),
        ("Products and ideal cycles", _products(found)),
        ("Rules", [_rules(found)]),
    ]
    shown: list[RenderableType] = [_headline(found)]
    for title, body in sections:
        if body:
            shown += [Text(), Text(title, style="bold"), *(Padding(part, (0, 0, 0, 2)) for part in body)]
    return shown


def _headline(found: Explanation) -> RenderableType:
    start, end = (iso(found, ns).replace("T", " ") for ns in (found.start, found.end))
    return Group(
        Text(f"{found.kpi.title}  {found.kpi.title_zh}", style="bold"),
        Text(f"{found.taken.subject}, {start} to {end} ({found.plant.timezone})"),
    )


def _figure(found: Explanation) -> RenderableType:
    kpi, row, grid = found.kpi, found.result, _grid()
    if reason := no_value(found):
        grid.add_row("value", f"none: {reason}")
    elif row is not None:
        grid.add_row("value", _value(row["value"], kpi.unit))
        grid.add_row("low … high", _bounds(row, kpi.unit))
    if row is not None:
        grid.add_row("n / N", f"{amount(row['numerator'], '')} / {amount(row['denominator'], '')}")
        grid.add_row("coverage", "–" if row["coverage"] is None else f"{row['coverage']:.2%} of the time is known")
    for flag in flags_of(found):
        grid.add_row("warning" if flag in WARNINGS else "note", f"{flag}: {flag_sentence(flag)}")
    grid.add_row("formula", kpi.formula)
    grid.add_row("source", kpi.source)
    grid.add_row("is not", kpi.not_this.removeprefix("not "))
    grid.add_row("rule id", kpi.rule)
    if found.taken.assets != (found.taken.subject,):
        grid.add_row("assets", ", ".join(found.taken.assets))
    return grid


def _bounds(row: Mapping[str, Any], unit: str) -> str:
    if row["low"] == row["high"] == row["value"]:
        return "as the value"
    low, high = (_value(row[name], unit) if row[name] is not None else "unbounded" for name in ("low", "high"))
    return f"{low} … {high}"


def _computed(found: Explanation) -> list[RenderableType]:
    if not found.terms:
        return []
    shown = _table("symbol", "is", "中文", right=["value"])
    for term in found.terms:
        shown.add_row(term["symbol"], term["name"], term["name_zh"], amount(term["value"], term["unit"]))
    value = None if found.result is None else found.result["value"]
    lines = Text(f"{found.formula}\n= {found.arithmetic}\n= {_value(value, found.kpi.unit)}")
    return [shown, Text(), lines]


def _time(found: Explanation) -> list[RenderableType]:
    if found.elements.is_empty():
        return []
    assets = found.elements["asset"].to_list() if found.elements.height <= _SIDE_BY_SIDE else []
    summed = ["sum"] if found.elements.height > 1 else []
    shown = _table("element", "中文", right=[*assets, *summed, "of POT"])
    planned = float(found.elements["planned_operation"].sum())
    for element in DURATIONS:
        each, total = found.elements[element].to_list(), float(found.elements[element].sum())
        share = f"{total / planned:.2%}" if planned and element in ELEMENTS else ""
        cells = [*(_hours(one) for one in each if assets), *(_hours(total) for _ in summed), share]
        shown.add_row(*ELEMENT_NAMES[element], *cells)
    return [shown, Text(), Text(_shift_line(found))]


def _shift_line(found: Explanation) -> str:
    names = found.shifts["shift"].to_list()
    which = "" if not names else f" ({names[0]})" if len(names) == 1 else f" ({names[0]} to {names[-1]})"
    planned, breaks = (float(found.elements[name].sum()) for name in ("planned_operation", "break"))
    shifts = f"{len(names)} shift{'' if len(names) == 1 else 's'}{which}"
    return f"{shifts}: planned operation time (POT) {_hours(planned)}, and {_hours(breaks)} of breaks"


def _stops(found: Explanation, top: int) -> list[RenderableType]:
    if found.stops.is_empty():
        return []
    rows = longest_stops(found, top)
    several = len(found.taken.assets) > 1
    names = ["asset"] if several else []
    shown = _table(*names, "begin", "end", "state", "reason", right=["counted"], last=["note"])
    for row in rows_of(found, rows):
        span = [_moment(row["begin"]), _moment(row["end"])]
        cells = [*([row["asset"]] if several else []), *span, row["state"] or "–", row["reason"] or "–"]
        shown.add_row(*cells, _clock(row["counted"]), _note(row))
    return [shown, Text(), Text(_rest(found.stops, rows, "stops"))]


def _note(row: dict[str, Any]) -> str:
    said = ["micro-stop"] if row["micro"] else []
    said += ["began before the period"] if row["from_before"] else []
    said += ["goes on after it"] if row["beyond"] else []
    said += [f"whole length {_clock(row['length'])}"] if row["length"] != row["counted"] else []
    return "; ".join(said)


def _unknown(found: Explanation, top: int) -> list[RenderableType]:
    if found.unknown.is_empty():
        return []
    rows = unknown_spans(found, top)
    several = len(found.taken.assets) > 1
    shown = _table(*(["asset"] if several else []), "begin", "end", right=["counted"], last=["why → what to do"])
    for row in rows_of(found, rows):
        span = [_moment(row["begin"]), _moment(row["end"])]
        cells = [*([row["asset"]] if several else []), *span, _clock(row["counted"])]
        shown.add_row(*cells, f"{row['why']}\n→ {row['next_step']}")
    return [shown, Text(), Text(_rest(found.unknown, rows, "unknown spans"))]


def _rest(every: pl.DataFrame, rows: pl.DataFrame, what: str) -> str:
    together = f"{every.height} {what} of {_clock(total(every))} in the period"
    if rows.height == every.height:
        return together
    left = _clock(total(every) - total(rows))
    return f"{together}; {every.height - rows.height} of them, {left}, are not shown (--top)"


def _demand(found: Explanation, top: int) -> list[RenderableType]:
    if found.demand.is_empty():
        return []
    shown = _table("begin", "end", right=["energy", "demand"])
    for row in rows_of(found, found.demand.head(top)):
        cells = [_moment(row["start"]), _moment(row["end"])]
        shown.add_row(*cells, amount(row["quantity"], ""), amount(row["demand"], ""))
    return [shown]


def _events(found: Explanation, top: int) -> list[RenderableType]:
    if found.events.is_empty():
        return []
    rows = events_listed(found, top)
    shown = _table("at", "point", "what", right=["from → to", "counted", "rule"])
    for row in rows_of(found, rows):
        refused = f" (refused {amount(row['refused'], row['unit'])})" if row["refused"] is not None else ""
        what = ", ".join(kind.replace("_", " ") for kind in row["kinds"])
        step = f"{amount(row['before'], '')} → {amount(row['after'], '')}"
        numbers = ", ".join(str(number) for number in row["rules"])
        counted = amount(row["counted"], row["unit"]) + refused
        shown.add_row(_moment(row["end"]), row["point"], what, step, counted, numbers)
    kinds = ", ".join(f"{n} × {kind.replace('_', ' ')}" for kind, n in kinds_of(found).items())
    return [shown, Text(), Text(f"in the period: {kinds}")]


def _products(found: Explanation) -> list[RenderableType]:
    if found.products.is_empty():
        return []
    shown = _table("asset", "product", "cycle from", right=["ideal cycle", "pieces", "production"])
    for row in found.products.iter_rows(named=True):
        cells = [row["asset"], row["product"] or "–", row["source"] or "nothing declares one"]
        shown.add_row(*cells, amount(row["ideal_cycle"], "s"), amount(row["pieces"], ""), _hours(row["production"]))
    return [shown]


def _rules(found: Explanation) -> RenderableType:
    grid = _grid()
    for number in found.rules:
        grid.add_row(str(number), RULES[number])
    return Group(grid, Text(f"in full: {PAGE}"))


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _table(*left: str, right: Sequence[str] = (), last: Sequence[str] = ()) -> Table:
    """Return a table with columns of words, then columns of numbers, then further ones of words."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in left:
        shown.add_column(name, no_wrap=name in ("symbol", "begin", "end", "at"))
    for name in right:
        shown.add_column(name, justify="right", no_wrap=True)
    for name in last:
        shown.add_column(name)
    return shown


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    if unit == "1":
        return f"{amount(round(value, 6), '')} ({value:.2%})"
    return f"{amount(value, '')} {unit}"


def _hours(seconds_: float) -> str:
    return f"{seconds_ / SECONDS_PER_HOUR:,.4f}".rstrip("0").rstrip(".") + " h"


def _clock(duration: float) -> str:
    """Return seconds as h:mm:ss, with milliseconds where there are any."""
    whole, rest = divmod(round(duration * 1000), 1000)
    text = f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
    return f"{text}.{rest:03}" if rest else text


def _moment(moment: dt.datetime) -> str:
    return moment.strftime("%m-%d %H:%M:%S") + (f".{moment.microsecond // 1000:03}" if moment.microsecond else "")

"""Where two pieces of plain data differ, in words: what is stated, and what the data give."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kpis.evidence.verify.report import Report

TOLERANCE = 1e-12
"""Relative difference of a recomputed figure that another processor's rounding may make."""
_MOST = 20
"""So many differences of a file are named."""
_NUMBER = re.compile(rb"(?<![\w.+-])-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.+-])")
"""A number as JSON and CSV have it, whose last digits another processor may round otherwise."""
_NAMES = (("kpi", "subject", "period"), ("kpi", "subject"), ("id",), ("rubric",), ("point", "date"), ("name",),
          ("title",))  # fmt: skip


def differences(stated: Any, computed: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield where two pieces of plain data differ: the place in words, what is stated, what is computed."""
    if isinstance(stated, dict) and isinstance(computed, dict):
        for key in {**computed, **stated}:
            if key not in stated or key not in computed:
                yield _below(place, key), _at(stated, key), _at(computed, key)
            else:
                yield from differences(stated[key], computed[key], _below(place, key))
    elif isinstance(stated, list) and isinstance(computed, list):
        yield from _of_lists(stated, computed, place)
    elif not same(stated, computed):
        yield place, stated, computed


def _of_lists(stated: list[Any], computed: list[Any], place: str) -> Iterator[tuple[str, Any, Any]]:
    if len(stated) != len(computed):
        yield _below(place, "rows"), len(stated), len(computed)
    for n, (theirs, mine) in enumerate(zip(stated, computed, strict=False), 1):
        yield from differences(theirs, mine, _below(place, _name(mine, n)))


def _name(item: Any, number: int) -> str:
    """Return how a row is called: by what it is of, else by its number."""
    if isinstance(item, Mapping):
        for keys in _NAMES:
            if all(isinstance(item.get(key), str) for key in keys):
                first, *rest = (item[key] for key in keys)
                return f"{first} of {', '.join(rest)}" if rest else first
    return f"row {number}" if isinstance(item, Mapping | Sequence) and not isinstance(item, str) else str(number)


def _below(place: str, key: str) -> str:
    return f"{place}: {key}" if place else key


def _at(table: Mapping[str, Any], key: str) -> Any:
    return table.get(key, "nothing")


def same(a: Any, b: Any) -> bool:
    """Return whether two values say the same; numbers but for the rounding of another processor."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        # What is infinite lies within any share of itself; whole numbers may be larger than a float can be.
        if not all(isinstance(x, int) or math.isfinite(x) for x in (a, b)) or (
            isinstance(a, int) and isinstance(b, int)
        ):
            return a == b
        return bool(abs(a - b) <= TOLERANCE * max(abs(a), abs(b)))
    return type(a) is type(b) and a == b


def compare(name: str, stated: Any, computed: Any, report: Report) -> bool:
    """Name in a report where a file states other than the data inside give; returns whether it nowhere does."""
    found = list(differences(stated, computed))
    for place, theirs, mine in found[:_MOST]:
        report.fault(f"{name}: {place} is stated as {_short(theirs)}, the data inside give {_short(mine)}",
                     f"{name}：{place} 为 {_short(theirs)}，而按包内数据应为 {_short(mine)}")  # fmt: skip
    if len(found) > _MOST:
        report.fault(f"{name}: {len(found) - _MOST} further differences", f"{name}：另有 {len(found) - _MOST} 处不同")
    return not found


def compare_writing(name: str, stated: bytes, computed: bytes, report: Report) -> None:
    """Name in a report where a file is written otherwise than the builder writes it, numbers' digits apart.

    Two programs may read one file otherwise: of a name that stands twice one takes the first value, one the last.
    """
    if stated != computed and _NUMBER.sub(b"0", stated) != _NUMBER.sub(b"0", computed):
        report.fault(f"{name}: is not written as the builder writes it, and may be read in two ways",
                     f"{name}：写法与生成程序不一致，可能产生歧义")  # fmt: skip


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"

"""Sets of sequence numbers as ranges: what of the spool a sink has stored."""

from collections.abc import Iterable

Range = tuple[int, int]
"""First and last sequence number of a range, both in it."""

Ranges = tuple[Range, ...]
"""Disjoint ranges in rising order, none of them next to another."""


def union(ranges: Iterable[Range]) -> Ranges:
    """Return all numbers of any ranges, however they overlap or touch."""
    merged: list[Range] = []
    for first, last in sorted(ranges):
        if last < first:
            continue
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], last)
        else:
            merged.append((first, last))
    return tuple(merged)


def cursor(ranges: Ranges) -> int:
    """Return up to which number all from 0 on are in the set; -1 where 0 is not."""
    return ranges[0][1] if ranges and ranges[0][0] <= 0 else -1


def missing(ranges: Ranges, last: int) -> Ranges:
    """Return what of 0 to `last` is not in the set."""
    holes, expected = [], 0
    for first, end in ranges:
        if expected < first:
            holes.append((expected, min(first - 1, last)))
        expected = end + 1
    return union([*holes, (expected, last)])

"""Quantities with units: durations, sizes, and the units of meters.

Conversion factors are exact (`fractions.Fraction`), so that a meter's total can be recomputed to the last digit.
Source of the factors: SI brochure, 9th edition (2019); 1 kWh = 3.6 MJ by definition.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

NS_PER_SECOND = 1_000_000_000

_DURATION = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_SIZE = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_NUMBER_UNIT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


@dataclass(frozen=True, slots=True)
class Unit:
    """A meter's unit: its dimension, the dimension's canonical unit, and the exact factor to it."""

    dimension: str
    canonical: str
    factor: Fraction


def _units(dimension: str, canonical: str, **factors: str) -> dict[str, Unit]:
    return {name: Unit(dimension, canonical, Fraction(factor)) for name, factor in factors.items()}


METER_UNITS: dict[str, Unit] = {
    **_units("energy", "kWh", Wh="1/1000", kWh="1", MWh="1000", GWh="1000000"),
    **_units("energy", "kWh", J="1/3600000", kJ="1/3600", MJ="5/18", GJ="2500/9"),
    **_units("volume", "m3", L="1/1000", m3="1", Nm3="1"),
    **_units("mass", "kg", kg="1", t="1000"),
    **_units("power", "kW", W="1/1000", kW="1", MW="1000"),
}
METER_UNITS["m³"] = METER_UNITS["m3"]
METER_UNITS["Nm³"] = METER_UNITS["Nm3"]


def _parse(text: str, table: dict[str, int], example: str) -> int:
    match = _NUMBER_UNIT.fullmatch(text)
    if match is None or match[2] not in table:
        raise ValueError(f"is no number with a unit; write a number and one of {', '.join(table)}, such as {example}")
    return int(Fraction(match[1]) * table[match[2]])


def parse_duration(text: str) -> int:
    """Return the duration `text` ("500ms", "5s", "2h") in [ns]; ValueError names the units allowed."""
    return _parse(text, _DURATION, "500ms, 5s or 2h")


def parse_size(text: str) -> int:
    """Return the size `text` ("64MiB", "2GiB") in [B]; ValueError names the units allowed."""
    return _parse(text, _SIZE, "64MiB or 2GiB")


def format_duration(ns: int) -> str:
    """Return `ns` [ns] in the largest unit that holds it exactly, as `parse_duration` reads it."""
    for unit in ("d", "h", "min", "s", "ms", "us"):
        if ns and ns % _DURATION[unit] == 0:
            return f"{ns // _DURATION[unit]}{unit}"
    return f"{ns}ns"

"""Conversion factors as versioned data: one TOML file a set, each with its year and source.

A set is one document of one year. Its factors never enter one result with those of another set: what two amounts were
converted with is held against each other by `one_set`.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib import resources
from typing import Any

from config.units import METER_UNITS

UNITS = ("tce", "kgCO2")
"""What a set converts to; some entries of a set in tce are stated in tce themselves."""
_KEYS = {"id", "year", "source", "unit", "factors"}
_OF_FACTOR = {"name", "per", "unit", "factor"}


class FactorsMixedError(ValueError):
    """Amounts of one result were converted with two sets of factors."""


@dataclass(frozen=True, slots=True)
class Factor:
    """One coefficient as the source prints it: so much of the set's unit per `per` of `unit`."""

    name: str
    per: Decimal
    unit: str
    factor: Decimal

    def per_canonical(self, unit: str) -> Fraction | None:
        """Return the exact coefficient per kWh, m3, kg or tce; None where `unit` measures something else."""
        each = Fraction(self.factor) / Fraction(self.per)
        if self.unit == "tce":
            return each if unit == "tce" else None
        known = METER_UNITS[self.unit]
        return each / known.factor if known.canonical == unit else None


@dataclass(frozen=True, slots=True)
class FactorSet:
    """The coefficients of one document and year, by medium, or by scope where they are of one medium's grids."""

    id: str
    year: int
    source: str
    unit: str
    factors: Mapping[str, Factor]

    @property
    def cited(self) -> str:
        """Id and year, as rules of results cite them."""
        return f"{self.id} ({self.year})"

    def coefficient(self, medium: str, unit: str) -> Fraction | None:
        """Return a medium's exact coefficient per kWh, m3, kg or tce; None where the set has none per such a unit."""
        factor = self.factors.get(medium)
        return None if factor is None else factor.per_canonical(unit)


@cache
def load_factors(name: str) -> FactorSet:
    """Return a factor set by its id; LookupError names the sets there are."""
    folder = resources.files("config.factors")
    known = sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))
    if name not in known:
        raise LookupError(f"no factor set {name!r}; the sets are {', '.join(known)}")
    return _checked(name, tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8")))


def _checked(name: str, table: Mapping[str, Any]) -> FactorSet:
    """Return the set of a file; ValueError where the file is of more than one document, year or unit."""
    if set(table) != _KEYS or table["id"] != name or table["unit"] not in UNITS:
        raise ValueError(f"{name}.toml: has {', '.join(table)} and id {table.get('id')!r}; a file is one set: write "
                         f"{', '.join(sorted(_KEYS))} once, the file's name as id, and unit tce or kgCO2")  # fmt: skip
    for key, row in table["factors"].items():
        if set(row) != _OF_FACTOR:
            raise ValueError(f"{name}.toml: factor {key} has {', '.join(row)}; it is of its file's document and year: "
                             f"write {', '.join(sorted(_OF_FACTOR))} alone; other years are other files")  # fmt: skip
    factors = {
        key: Factor(row["name"], Decimal(row["per"]), row["unit"], Decimal(row["factor"]))
        for key, row in table["factors"].items()
    }
    return FactorSet(table["id"], table["year"], table["source"], table["unit"], factors)


def one_set(wanted: FactorSet, used: Iterable[str], thing: str) -> None:
    """Raise FactorsMixedError where `thing` was converted with a set whose id is not that of `wanted`."""
    for other in used:
        if other != wanted.id:
            raise FactorsMixedError(
                f"{thing} was converted with factor set {other or '(none named)'}, and the plant's is {wanted.id}; one "
                f"result takes one set: declare the amount in its own unit, or converted with {wanted.id}"
            )


def coal_factors(name: str) -> FactorSet:
    """Return a set of standard coal coefficients by its id; LookupError where there is none."""
    found = load_factors(name)
    if found.unit != "tce":
        raise LookupError(f"factor set {name!r} gives {found.unit}, not tce; write such as sme-2024")
    return found


def grid_factor(name: str) -> tuple[FactorSet, Factor]:
    """Return a grid's CO2 set and factor by `set:scope` ("co2-grid-2023:east"); LookupError where there is none."""
    of_set, _, scope = name.partition(":")
    found = load_factors(of_set)
    if found.unit != "kgCO2":
        raise LookupError(f"factor set {of_set!r} gives {found.unit}, not kgCO2; write such as co2-grid-2023:national")
    if scope not in found.factors:
        raise LookupError(f"factor set {of_set} has no scope {scope!r}; write {of_set}: and one of "
                          f"{', '.join(found.factors)}")  # fmt: skip
    return found, found.factors[scope]

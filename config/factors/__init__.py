"""Conversion factors as versioned data: one TOML file a set, each with its year and source."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib import resources

from config.units import METER_UNITS


@dataclass(frozen=True, slots=True)
class Factor:
    """One coefficient as the source prints it: so much of the set's unit per `per` of `unit`."""

    name: str
    per: Decimal
    unit: str
    factor: Decimal

    def per_canonical(self, unit: str) -> Fraction | None:
        """Return the exact coefficient per kWh, m3 or kg; None where `unit` measures something else."""
        known = METER_UNITS[self.unit]
        return Fraction(self.factor) / Fraction(self.per) / known.factor if known.canonical == unit else None


@dataclass(frozen=True, slots=True)
class FactorSet:
    """The coefficients of one document and year, by medium, or by scope where they are of one medium's grids."""

    id: str
    year: int
    source: str
    unit: str
    factors: Mapping[str, Factor]


@cache
def load_factors(name: str) -> FactorSet:
    """Return a factor set by its id; LookupError names the sets there are."""
    folder = resources.files("config.factors")
    known = sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))
    if name not in known:
        raise LookupError(f"no factor set {name!r}; the sets are {', '.join(known)}")
    table = tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
    factors = {
        key: Factor(row["name"], Decimal(row["per"]), row["unit"], Decimal(row["factor"]))
        for key, row in table["factors"].items()
    }
    return FactorSet(table["id"], table["year"], table["source"], table["unit"], factors)


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

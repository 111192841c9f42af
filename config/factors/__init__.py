"""Conversion factors as versioned data: one TOML file a set, each with its year and source."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources


@dataclass(frozen=True, slots=True)
class Factor:
    """One medium's coefficient: `tce` per `per` of `unit`, as the source prints it."""

    name: str
    per: Decimal
    unit: str
    tce: Decimal


@dataclass(frozen=True, slots=True)
class FactorSet:
    """The coefficients of one document and year."""

    id: str
    year: int
    source: str
    factors: Mapping[str, Factor]


def load_factors(name: str) -> FactorSet:
    """Return a factor set by its id; LookupError names the sets there are."""
    folder = resources.files("config.factors")
    known = sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))
    if name not in known:
        raise LookupError(f"no factor set {name!r}; the sets are {', '.join(known)}")
    table = tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
    factors = {
        medium: Factor(row["name"], Decimal(row["per"]), row["unit"], Decimal(row["tce"]))
        for medium, row in table["factors"].items()
    }
    return FactorSet(table["id"], table["year"], table["source"], factors)

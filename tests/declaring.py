"""Plants, facts and declared values for the tests of indicators."""

import datetime as dt
from decimal import Decimal
from fractions import Fraction

import polars as pl

from config.business import declarations
from config.plant import Asset, Plant
from config.registers import Declared
from config.schema import FACT, MICRO
from kpis.calendar import local_ns
from kpis.indicators.base import Grounds, figure

YEAR = ("2025-01-01", "2026-01-01")


def declared(measure, value, unit, period="2025", **more):
    """One row of business.csv."""
    said = {"declared_by": "王芳", "declared_at": dt.date(2026, 1, 15)} | more
    return Declared(period=period, measure=measure, value=Decimal(str(value)), unit=unit, **said)


def facts(plant, days, **assets):
    """FACT rows of a period: asset -> {"energy.electricity": 310, ...} in units; metered all the time unless said."""
    start, end = bounds(plant, days)
    rows = []
    for asset, amounts in assets.items():
        row = dict.fromkeys(FACT) | {"asset": asset, "date": dt.date.fromisoformat(days[0])}
        for name, value in amounts.items():
            medium = name.removeprefix("energy.")
            if name.startswith("metered."):
                row[name] = dt.timedelta(seconds=float(value) * (end - start) / 10**9)
            else:
                row[name] = int(Fraction(str(value)) * MICRO)
            if name.startswith("energy."):
                row.setdefault(f"metered.{medium}", dt.timedelta(seconds=(end - start) // 10**9))
        rows.append(row)
    names = {name for row in rows for name in row} - set(FACT)
    meters = {n: pl.Int64() if n.startswith("energy.") else pl.Duration("ns") for n in sorted(names)}
    filled = [dict.fromkeys(meters) | row for row in rows]
    return pl.DataFrame(filled, schema={**FACT, **meters})


def bounds(plant, days):
    """The instants at which the production days `days` start [ns since 1970, UTC]."""
    first, last = (local_ns(plant, dt.date.fromisoformat(day), plant.day_start) for day in days)
    return first, last


def grounds(plant=None, *rows, days=YEAR, of_facts=None):
    """The grounds of a period with declared rows, and facts where there are any."""
    plant = (plant or Plant(id="works", assets=(Asset(asset="press"),))).model_copy(update={"business": rows})
    start, end = bounds(plant, days)
    nothing = pl.DataFrame(schema=dict(FACT))
    return Grounds(plant=plant, start=start, end=end, devices=pl.DataFrame(), demand=pl.DataFrame(),
                   facts=nothing if of_facts is None else of_facts, declared=declarations(plant))  # fmt: skip


def found(indicators, name, of, subject="works"):
    """The figure of an indicator, by its id."""
    return figure(next(one for one in indicators if one.id == name), of, subject)


def misses(figure_):
    """What a figure says that is missing, in English."""
    assert figure_.value is None
    return [said.en for said in figure_.amount.missing]

"""Energy against pieces: what a machine draws without producing, and what each piece adds.

Least squares over the hours of the period in which the subject's meters were known throughout:
energy = base load · 1 h + slope · pieces. At least 24 such hours, with pieces that vary; the flag `r2=` says how much
of the energy's variance the line explains.
"""

import polars as pl

from kpis.catalogue.base import Kpi, divide

FEWEST_HOURS = 24
N, ENOUGH = pl.col("hours"), pl.when(pl.col("hours") >= FEWEST_HOURS)
MEAN_X, MEAN_Y = pl.col("mean_pieces"), pl.col("mean_energy")
VARIANCE_X, VARIANCE_Y, COVARIANCE = pl.col("variance_pieces"), pl.col("variance_energy"), pl.col("covariance")
SLOPE = divide(COVARIANCE, VARIANCE_X)
R2 = ENOUGH.then(divide(COVARIANCE * COVARIANCE, VARIANCE_X * VARIANCE_Y))
SOURCE = "ISO 50006:2023, energy baseline by regression on a relevant variable"
_WHOLE = pl.when(pl.col("hours_share") >= 1.0)


def over_hours(hours: pl.DataFrame) -> pl.DataFrame:
    """Return means, variances and covariance per subject, of rows (subject_no, pieces, energy, full, share)."""
    x, y = pl.col("pieces").filter("full"), pl.col("energy").filter("full")
    return hours.group_by("subject_no", maintain_order=True).agg(
        hours=pl.col("full").sum().cast(pl.Float64),
        mean_pieces=x.mean(),
        mean_energy=y.mean(),
        variance_pieces=x.var(ddof=0),
        variance_energy=y.var(ddof=0),
        covariance=pl.cov(x, y, ddof=0),
        hours_share=pl.col("share").filter("full").sum(),
    )


def base_load(medium: str, unit: str, end: str) -> Kpi:
    """Return the energy of an hour without pieces."""
    value = ENOUGH.then(N * (MEAN_Y - SLOPE * MEAN_X))
    return Kpi(
        id=f"base_load{end}",
        title=f"Base load, {medium}",
        title_zh=f"基础负荷（{medium}）",
        unit="kW" if unit == "kWh" else f"{unit}/h",
        formula="mean energy of an hour − slope · mean pieces of an hour",
        source=SOURCE,
        not_this="not the lowest power measured: it is where the line meets 0 pieces",
        needs=(f"energy.{medium}", "counts"),
        numerator=value,
        denominator=N,
        low=_WHOLE.then(value / N),
        high=_WHOLE.then(value / N),
        coverage=pl.col("hours_share"),
        ratio=False,
        basis="hours",
    )


def slope(medium: str, unit: str, end: str) -> Kpi:
    """Return the energy that one piece more takes."""
    return Kpi(
        id=f"energy_slope{end}",
        title=f"Energy slope, {medium}",
        title_zh=f"单件边际能耗（{medium}）",
        unit=f"{unit}/piece",
        formula="covariance of energy and pieces of an hour / variance of pieces of an hour",
        source=SOURCE,
        not_this="not energy per piece: the base load is left out",
        needs=(f"energy.{medium}", "counts"),
        numerator=ENOUGH.then(COVARIANCE),
        denominator=VARIANCE_X,
        low=_WHOLE.then(ENOUGH.then(SLOPE)),
        high=_WHOLE.then(ENOUGH.then(SLOPE)),
        coverage=pl.col("hours_share"),
        ratio=False,
        basis="hours",
    )

"""The frames that KPIs are computed over, a row a subject and period: sums of facts, of demand intervals, of hours."""

from collections.abc import Sequence

import polars as pl

from config.plant import Plant
from config.schema import MICRO, UTC_NS
from config.units import NS_PER_SECOND
from kpis.catalogue import regression
from kpis.catalogue.base import NS_PER_HOUR, Basis, Kpi
from kpis.catalogue.offers import Taken, media
from kpis.catalogue.sums import added, amounts, readable

_KEY = {"shift": ["shift"], "hour": ["hour"], "day": ["date"], "total": []}
_ABOUT: dict[str, pl.DataType] = {
    "subject_no": pl.Int64(),
    "subject": pl.String(),
    "assets": pl.List(pl.String()),
    "left_out": pl.Boolean(),
    "assumed": pl.Boolean(),
    "bottleneck": pl.String(),
}
_DEMAND: dict[str, pl.DataType] = {
    "subject_no": pl.Int64(),
    "peak": pl.Float64(),
    "mean": pl.Float64(),
    "metered_share": pl.Float64(),
}


class Bases:
    """Sums per subject and period of [start, end), cut by `by`; each once for a choice of assets."""

    def __init__(self, plant: Plant, facts: pl.DataFrame, demand: pl.DataFrame, start: int, end: int, by: str) -> None:
        self.plant, self.demand, self.start, self.end, self.by = plant, demand, start, end, by
        self.media = list(media(plant))
        self.key = _KEY[by]
        self.amounts = amounts(facts, self.media)
        rows = self.amounts.filter(pl.col("shift").is_not_null()) if by == "shift" else self.amounts
        self.per_asset = added(["asset", *self.key], rows, self.media)
        self._found: dict[tuple[str, str, tuple[Taken, ...]], pl.DataFrame] = {}

    def of(self, kpi: Kpi, taken: tuple[Taken, ...]) -> pl.DataFrame:
        """Return a row a subject and period, with the columns of the KPI's basis."""
        if kpi.basis == "facts":
            return self._once("facts", "", taken)
        medium = next(need for need in kpi.needs if need.startswith("energy.")).removeprefix("energy.")
        return self._once(kpi.basis, medium, taken)

    def _once(self, basis: Basis, medium: str, taken: tuple[Taken, ...]) -> pl.DataFrame:
        """Return a basis's frame, the same one for all KPIs that take the same assets."""
        key = basis, medium, taken
        if key not in self._found:
            match basis:
                case "facts":
                    self._found[key] = self._of_facts(taken)
                case "hours":
                    self._found[key] = self._of_hours(taken, medium)
                case "demand":
                    self._found[key] = self._of_demand(taken, medium)
        return self._found[key]

    def _of_facts(self, taken: tuple[Taken, ...]) -> pl.DataFrame:
        rows = _members(taken).join(self.per_asset, on="asset", maintain_order="left_right")
        summed = readable(added(["subject_no", *self.key], rows, self.media), self.media)
        limit = pl.lit(self.plant.micro_stop / NS_PER_SECOND).alias("stop_length")
        return self._told(summed.with_columns(limit), taken)

    def _of_hours(self, taken: tuple[Taken, ...], medium: str) -> pl.DataFrame:
        """Return sums of facts with the line through each subject's hours beside them."""
        line = regression.over_hours(self._hours(taken, medium))
        return self._once("facts", "", taken).join(line, on="subject_no", how="left", maintain_order="left")

    def _of_demand(self, taken: tuple[Taken, ...], medium: str) -> pl.DataFrame:
        """Return the highest and the mean demand [unit/h] of the subjects' meters together."""
        if self.demand.is_empty():
            return self._told(pl.DataFrame(schema=_DEMAND), taken)
        hours = self.plant.demand_interval / NS_PER_HOUR
        own = self.demand.filter(pl.col("medium") == medium).with_columns(_ns("metered"))
        rows = _members(taken).join(own, on="asset")
        meters = rows.group_by("subject_no").agg(meters=pl.col("asset").n_unique())
        intervals = rows.group_by("subject_no", "start").agg(pl.sum("quantity"), pl.sum("metered"))
        summed = intervals.group_by("subject_no").agg(
            peak=pl.max("quantity") / MICRO / hours,
            mean=pl.sum("quantity") / pl.len() / MICRO / hours,
            metered=pl.sum("metered") / (pl.len() * self.plant.demand_interval),
        )
        share = (pl.col("metered") / pl.col("meters")).alias("metered_share")
        return self._told(summed.join(meters, on="subject_no").with_columns(share), taken)

    def _hours(self, taken: tuple[Taken, ...], medium: str) -> pl.DataFrame:
        """Return pieces and energy of each subject's hours, and whether its meters were known throughout."""
        count = pl.DataFrame({"subject_no": [t.subject_no for t in taken], "assets": [len(t.assets) for t in taken]})
        energy, metered, span = (f"{kind}.{medium}" for kind in ("energy", "metered", "span"))
        total = [pl.sum("total", energy, metered, span)]
        hours = self.amounts.group_by("asset", "hour").agg(total)
        rows = _members(taken).join(hours, on="asset").group_by("subject_no", "hour").agg(total)
        ordered = rows.join(count, on="subject_no").sort("subject_no", "hour")
        return ordered.select(
            "subject_no",
            pieces=pl.col("total") / MICRO,
            energy=pl.col(energy) / MICRO,
            full=pl.col(metered) == pl.col("assets") * NS_PER_HOUR,
            share=pl.col(metered) / pl.col(span).sum().over("subject_no"),
        )

    def _told(self, summed: pl.DataFrame, taken: tuple[Taken, ...]) -> pl.DataFrame:
        """Return sums with their subject, period and instants, and what `Taken` knows."""
        about = pl.DataFrame(taken, schema=_ABOUT, orient="row").drop("assets")
        rows = summed.join(about, on="subject_no", maintain_order="left").with_columns(period=self._period())
        if self.by == "total":
            return rows.with_columns(start=_instant(self.start), end=_instant(self.end))
        return rows

    def _period(self) -> pl.Expr:
        match self.by:
            case "shift":
                return pl.col("shift")
            case "hour":
                return pl.col("hour").dt.convert_time_zone(self.plant.timezone).dt.strftime("%Y-%m-%dT%H:%M%:z")
            case "day":
                return pl.col("date").dt.strftime("%Y-%m-%d")
        return pl.lit("total")


def _members(taken: Sequence[Taken]) -> pl.DataFrame:
    pairs = [(t.subject_no, asset) for t in taken for asset in t.assets]
    return pl.DataFrame(pairs, schema={"subject_no": pl.Int64, "asset": pl.String}, orient="row")


def _ns(duration: str) -> pl.Expr:
    return pl.col(duration).dt.total_nanoseconds()


def _instant(ns: int) -> pl.Expr:
    return pl.lit(ns).cast(UTC_NS)

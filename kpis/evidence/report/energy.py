"""Energy: consumption and maximum demand by medium, the load curve, and the day of the maximum."""

import datetime as dt
from dataclasses import dataclass
from fractions import Fraction

import polars as pl

from config.schema import MICRO, UTC_NS
from kpis.calendar import day_starts
from kpis.catalogue.energy import suffix
from kpis.catalogue.metering import counted_once
from kpis.catalogue.offers import media
from kpis.evidence.report import cells, terms, trend
from kpis.evidence.report.charts import lines
from kpis.evidence.report.model import Block, Drawing, Section, Table, View
from kpis.evidence.report.numbers import amount, instant, share
from kpis.indicators.view import told_period

_HOUR = 3600 * 10**9
_MOST_INTERVALS = 800


@dataclass(frozen=True, slots=True)
class _Medium:
    """A medium's demand intervals, of all its meters: start, quantity [1e-6 units], metered [ns]; their length [ns]."""

    name: str
    unit: str
    rate: str
    intervals: pl.DataFrame
    interval: int
    meters: int

    def demand(self, quantity: int) -> Fraction:
        """Return the demand of an interval [unit/h]."""
        return Fraction(quantity, MICRO) * _HOUR / self.interval


def pages(view: View) -> list[Section]:
    """Return the pages of energy; none where nothing is metered."""
    found = [one for one in (_medium(view, name, unit) for name, unit in media(view.plant).items()) if one is not None]
    if not found:
        return []
    title = view.say("Energy and load", "能源与负荷")
    return [Section(anchor="energy", title=title, blocks=[], parts=[_page(view, one) for one in found], own_page=True)]


def _medium(view: View, name: str, unit: str) -> _Medium | None:
    metering = [a for a in view.plant.assets if any(p.medium == name for p in view.plant.points_of(a.asset))]
    counted = [asset.asset for asset in counted_once(view.plant, metering, [name])]
    mine = view.contents.now.demand.filter((pl.col("medium") == name) & pl.col("asset").is_in(counted))
    if mine.is_empty():
        return None
    metered = pl.col("metered").dt.total_nanoseconds().sum()
    summed = mine.group_by("start").agg(pl.sum("quantity"), metered=metered).sort("start")
    if not summed["metered"].sum() and not summed["quantity"].sum():
        return None
    rate = "kW" if unit == "kWh" else f"{unit}/h"
    return _Medium(name, unit, rate, summed, view.plant.demand_interval, mine["asset"].n_unique())


def _page(view: View, of: _Medium) -> Section:
    say = view.say
    title = say("Load curve: ", "负荷曲线：") + terms.medium(of.name, view.plant, view.lang)
    peak = of.intervals.sort("quantity", "start", descending=[True, False]).row(0, named=True)
    blocks: list[Block] = [_about(view, of, peak["quantity"], peak["start"])]
    day = _on_day(view, of, peak["start"])
    whole = of.intervals.height <= _MOST_INTERVALS
    blocks.append(_curve(view, of, peak["quantity"], peak["start"], of.intervals if whole else None))
    if of.intervals.height > day.height:
        blocks.append(_curve(view, of, peak["quantity"], peak["start"], day, day=True))
    return Section(anchor=f"load-{of.name}", title=title, blocks=[*blocks, _by_time(view, of)])


def _about(view: View, of: _Medium, peak: int, at: dt.datetime) -> Table:
    say, kpis = view.say, view.contents.kpis
    mine = kpis.filter(
        (pl.col("subject") == view.plant.id)
        & pl.col("kpi").is_in(
            [f"{k}{suffix(of.name)}" for k in ("maximum_demand", "load_factor", "energy_consumption")]
        )
    )
    rows = {row["kpi"].partition(".")[0]: row for row in mine.iter_rows(named=True)}
    told = {
        "energy_consumption": say("consumption", "消耗量"),
        "maximum_demand": say("maximum demand", "最大需量"),
        "load_factor": say("load factor", "负荷率"),
    }
    when = {
        "maximum_demand": say(f"the interval from {instant(view.plant, at)}", f"{instant(view.plant, at)} 起的需量周期")
    }
    listed = []
    for name, title in told.items():
        if name in rows:
            row = rows[name]
            value = share(row["value"]) if row["unit"] == "1" else f"{amount(row['value'], 2)} {row['unit']}"
            counts = cells.counts_of(row)
            listed.append([title, value, counts, share(row["coverage"]), when.get(name, ""), row["rule"]])
    heads = [
        "KPI",
        say("value", "数值"),
        "n / N",
        say("coverage", "数据覆盖"),
        say("when", "出现时间"),
        say("rule", "规则"),
    ]
    span = told_period(view.plant, view.contents.asked.period, view.lang)
    note = say(f"{of.meters} metered assets; demand interval {of.interval // 60_000_000_000} min; {span}.",
               f"计量设备 {of.meters} 台；需量周期 {of.interval // 60_000_000_000} 分钟；{span}。")  # fmt: skip
    return Table(heads=heads, rows=listed, numeric=frozenset({1, 2, 3}), note=note, small=True)


def _on_day(view: View, of: _Medium, at: dt.datetime) -> pl.DataFrame:
    """Return the demand intervals of the production day of an instant."""
    days = _by_day(view, of)
    return days.filter(pl.col("day") == days.filter(pl.col("start") == at)["day"].first()).drop("day")


def _by_day(view: View, of: _Medium) -> pl.DataFrame:
    """Return the demand intervals, each with its production day."""
    begun = day_starts(view.plant, view.contents.now.start, view.contents.now.end)
    first = pl.Series([ns for ns, _ in begun]).cast(UTC_NS)
    days = pl.DataFrame({"start": first, "day": [f"{date}" for _, date in begun]})
    return of.intervals.sort("start").join_asof(days.sort("start"), on="start")


def _curve(
    view: View, of: _Medium, peak: int, at: dt.datetime, intervals: pl.DataFrame | None, *, day: bool = False
) -> Drawing:
    """Return the load curve of intervals, or by day where they are too many."""
    say = view.say
    words = f"{amount(of.demand(peak), 2)} {of.rate}, {instant(view.plant, at)}"
    if intervals is None:
        rows = _daily(view, of)
        label = _by_day(view, of).filter(pl.col("start") == at)["day"].item()
        names = (say("highest of the day", "当日最大"), say("mean of the day", "当日平均"))
        title = say("Demand by production day", "逐日需量（按生产日）")
    else:
        named = intervals.with_columns(
            at=pl.col("start").dt.convert_time_zone(view.plant.timezone).dt.strftime("%H:%M" if day else "%m-%d %H:%M")
        )
        named = named.unique("at", keep="first", maintain_order=True)
        rows = [
            (clock, float(of.demand(quantity)), float(of.demand(quantity)))
            for clock, quantity in named.select("at", "quantity").iter_rows()
        ]
        label = instant(view.plant, at)[11:] if day else instant(view.plant, at)[5:]
        names = (say("demand", "需量"),) * 2
        title = say("Demand on the day of the maximum", "最大需量当日负荷曲线") if day else say("Demand", "负荷曲线")
    alt = f"{title}: {say('maximum', '最大需量')} {words}"
    step = max(1, len(rows) // 24)
    return Drawing(title=title, alt=alt, spec=lambda: lines.load(rows, names, of.rate, (label, words), step))


def _daily(view: View, of: _Medium) -> list[tuple[str, float, float]]:
    days = _by_day(view, of).group_by("day", maintain_order=True).agg(most=pl.max("quantity"), mean=pl.mean("quantity"))
    per_hour = _HOUR / of.interval / MICRO
    return [(day, most * per_hour, mean * per_hour) for day, most, mean in days.iter_rows()]


def _by_time(view: View, of: _Medium) -> Table:
    """Return consumption and maximum demand by month, or by day of a short period."""
    say, rows = view.say, []
    for label, (start, end), _ in trend.spans(view.contents.now):
        inside = of.intervals.filter(pl.col("start").to_physical().is_between(start, end, closed="left"))
        if inside.is_empty():
            continue
        top = inside.sort("quantity", "start", descending=[True, False]).row(0, named=True)
        metered = Fraction(int(inside["metered"].sum()), inside.height * of.interval * of.meters)
        used = Fraction(int(inside["quantity"].cast(pl.Int128).sum()), MICRO)
        rows.append(
            [
                label,
                amount(used, 2),
                amount(of.demand(top["quantity"]), 2),
                instant(view.plant, top["start"]),
                share(metered),
            ]
        )
    heads = [
        say("part of the period", "时段"),
        say(f"consumption [{of.unit}]", f"消耗量 [{of.unit}]"),
        say(f"maximum demand [{of.rate}]", f"最大需量 [{of.rate}]"),
        say("from", "出现时间"),
        say("coverage", "数据覆盖"),
    ]
    note = say("Sums of whole demand intervals.", "按完整需量周期汇总。")
    return Table(heads=heads, rows=rows, numeric=frozenset({1, 2, 4}), note=note, small=True,
                 folded=len(rows) > trend.MOST_ROWS)  # fmt: skip

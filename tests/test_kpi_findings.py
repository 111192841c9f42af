"""Faults that were found in use, one by one: each as a case whose figures can be checked by eye."""

import bisect
import datetime as dt
import fnmatch
import itertools
import json

import numpy as np
import polars as pl
import pytest

from config.plant import Asset, Calendar, Plant, Point, Product, Shift
from config.schema import MICRO
from kpis import output, states
from kpis.compute import Basis, Window, results
from kpis.demand import demand
from kpis.facts import facts
from kpis.intervals import Series
from tests import oracle
from tests.generated_plants import generate, to_frame
from tests.soak import cases

SECOND = 10**9
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
START = int(dt.datetime(2026, 11, 16, tzinfo=dt.UTC).timestamp()) * SECOND
NAN, INF = float("nan"), float("inf")
STATES = {"default": {"1": "production", "3": "delay"}}
TOTAL, STATE, CYCLE = ({"role": role} for role in ("total", "state", "ideal_cycle"))
METER = {"role": "energy.electricity", "unit": "kWh"}
POWER = {"role": "power.electricity", "unit": "kW"}


def at(hours):
    return START + round(hours * HOUR)


def plant_of(hold="2h", cycle=60.0, **points):
    """A plant in UTC with one asset; each point by its id, with its columns."""
    told = tuple(Point(point=name, asset="press", max_hold=hold, **columns) for name, columns in points.items())
    return Plant(
        id="works", timezone="UTC", assets=(Asset(asset="press", ideal_cycle=cycle),), points=told, states=STATES
    )


def samples_of(**told):
    """Rows of each point's {hour: value or text}."""
    return [
        (point, at(hour), at(hour), None if isinstance(said, str) else float(said), _text(said), 0)
        for point, rows in told.items()
        for hour, said in rows.items()
    ]


def _text(said):
    return said if isinstance(said, str) else None


def sums(plant, samples, *borders):
    """Facts of the stretches between some hours, as sums by column; times in minutes."""
    frames = [facts(plant, to_frame(samples), at(a), at(b)) for a, b in itertools.pairwise(borders)]
    whole = pl.concat(frames).select(pl.exclude("asset", "shift", "date", "hour", "start", "end", "product")).sum()
    times = pl.selectors.duration().dt.total_nanoseconds() / MINUTE
    return whole.with_columns(times).row(0, named=True)


def computed(plant, samples, first, last, by="total"):
    frame = to_frame(samples)
    basis = Basis(facts(plant, frame, first, last), demand(plant, frame, first, last))
    return results(plant, basis, Window(first, last, by))


def one(plant, samples, kpi, first=0, last=1):
    rows = computed(plant, samples, at(first), at(last)).filter(pl.col("kpi") == kpi, pl.col("subject") == "press")
    return rows.row(0, named=True)


# The machine's own ideal cycle.


@pytest.mark.parametrize("said", [NAN, INF, "--", "30", 0.0, -5.0])
def test_an_ideal_cycle_that_is_no_number_above_zero_leaves_the_registers(said):
    plant, samples = plant_of(c=CYCLE, t=TOTAL, s=STATE), samples_of(c={0: said}, t={0: 0, 1: 30}, s={0: 1})
    found = facts(plant, to_frame(samples), at(0), at(1))
    assert found["ideal_cycle"].to_list() == [60.0]
    assert oracle.runs(plant, "press", samples)[-1].cycle == 60
    assert one(plant, samples, "oee")["value"] == 0.5  # 30 pieces of a minute in an hour


def test_an_ideal_cycle_that_is_no_number_leaves_the_products():
    plant = plant_of(c=CYCLE, t=TOTAL, p={"role": "product"}, s=STATE)
    plant = plant.model_copy(update={"products": (Product(product="A", ideal_cycle=40.0),)})
    samples = samples_of(c={0: 20.0, 1: NAN}, p={0: "A"}, t={0: 0, 2: 90}, s={0: 1})
    assert facts(plant, to_frame(samples), at(0), at(2)).sort("hour")["ideal_cycle"].to_list() == [20.0, 40.0]


# Meters.


def test_two_meters_are_metered_while_both_are_known():
    plant = plant_of("30min", a=METER, b=METER)
    samples = samples_of(a={0: 0}, b={0.25: 0})  # known 00:00 to 00:30, and 00:15 to 00:45
    assert sums(plant, samples, 0, 1)["metered.electricity"] == 15
    assert sums(plant, samples, 0, 0.25, 0.4, 0.6, 1)["metered.electricity"] == 15


def test_two_meters_that_are_known_one_after_the_other_are_never_metered():
    plant = plant_of("30min", a=METER, b=METER)
    samples = samples_of(a={0: 0, 1: 1}, b={0.5: 0, 1: 1})
    assert sums(plant, samples, 0, 1)["metered.electricity"] == 0
    assert sums(plant, samples, 0, 0.5, 1)["metered.electricity"] == 0


@pytest.mark.parametrize("said", [NAN, INF, -INF, "n/a", 1e13])
def test_a_meter_is_not_metered_while_it_says_what_cannot_be_counted(said):
    plant = plant_of("1h", k=METER)
    samples = samples_of(k={0: 1, 1: said, 2: 5})
    found = sums(plant, samples, 0, 3)
    assert (found["metered.electricity"], found["energy.electricity"]) == (120, 4 * MICRO)
    assert (found["gap_steps"], found["refused_steps"]) == (1, 0)


def test_a_meter_that_says_nothing_but_numbers_too_large_to_count_has_no_energy():
    row = one(plant_of(k=METER), samples_of(k={0: 1e13, 0.5: 2e13, 1: 3e13}), "energy_consumption")
    assert (row["value"], row["coverage"]) == (None, 0.0)


def test_a_series_of_finite_numbers_is_not_copied_to_find_them_all_finite():
    ts, good = np.arange(3), np.ones(3, np.bool_)
    finite = Series(ts, np.array([1.0, 2.0, 3.0]), good)
    assert finite.numeric() is finite
    assert Series(ts, np.array([1.0, NAN, 3.0]), good).numeric().good.tolist() == [True, False, True]


def near(samples, first, last):
    """What a part is computed from: its samples, the last one before it and the first one after it."""
    times = [row[1] for row in samples]
    return samples[max(bisect.bisect_right(times, first) - 1, 0) : bisect.bisect_left(times, last) + 1]


@pytest.mark.parametrize("inside", [0.0, 0.5], ids=["at samples", "between samples"])
def test_parts_of_a_power_sum_up_to_the_millionth_wherever_they_are_split(inside):
    plant, rng = plant_of("2min", w=POWER), np.random.default_rng(2)
    hours = np.cumsum(rng.uniform(0.001, 0.05, 120)).tolist()  # some of them further apart than a reading holds
    samples = samples_of(w=dict(zip(hours, rng.uniform(0, 100, 120).tolist(), strict=True)))
    borders = [at(a + inside * (b - a)) for a, b in itertools.pairwise(hours)]
    parts = [facts(plant, to_frame(near(samples, a, b)), a, b) for a, b in itertools.pairwise(borders)]
    whole = facts(plant, to_frame(samples), borders[0], borders[-1])
    assert sum(part["energy.electricity"].sum() for part in parts) == whole["energy.electricity"].sum()


def test_a_small_power_that_is_read_often_is_not_rounded_away():
    plant = plant_of(w=POWER)
    samples = samples_of(w={0.5 + n / 3600: 0.0015 for n in range(3601)})  # 0.42 millionths of a kWh a second
    assert sums(plant, samples, 0.5, 1.5)["energy.electricity"] == pytest.approx(1500, abs=2)


# Nothing made, nothing planned.


def test_energy_per_piece_is_null_where_no_piece_was_made():
    plant = plant_of(t=TOTAL, k=METER)
    samples = samples_of(t=dict.fromkeys(range(3), 5), k={0: 0, 1: 1, 2: 2})
    row = one(plant, samples, "energy_per_piece")
    assert (row["value"], row["low"], row["high"]) == (None, None, None)
    assert (row["numerator"], row["denominator"], row["coverage"]) == (1.0, 0.0, 1.0)


ROLES = ("state", "total", "good", "reject", "rework", "apc", "product", "ideal_cycle")
EVERYTHING = {role: {"role": role} for role in ROLES} | {
    "k": METER, "w": {"role": "power.steam", "unit": "kW"}, "g": {"role": "energy.gas", "unit": "m3"}
}  # fmt: skip
NEVER = (Calendar(weekdays=("sun",), shifts=(Shift(name="day", start=dt.time(8), end=dt.time(16)),)),)
SAID = {
    "nothing at all": {},
    "zeros": {point: {0: 0, 1: 0, 2: 0} for point in EVERYTHING},
    "ones": {point: {0: 1, 1: 1, 2: 1} for point in EVERYTHING},
    "a stop": {"state": {0: 3, 1: 3}, "k": {0: 0, 2: 8}},
    "no numbers": {point: {0: NAN, 1: INF, 2: -INF} for point in EVERYTHING},
    "states alone": {"state": {0: 1, 1: 1}},
    "meters alone": {"k": {0: 0, 2: 2}, "g": {0: 0, 2: 2}, "w": {0: 1, 1: 1}},
}


def finite(plant, samples, first, last, by):
    found = computed(plant, samples, first, last, by)
    assert found.height
    faulty = found.filter(pl.any_horizontal(~pl.col(pl.Float64).is_finite()))
    assert faulty.is_empty(), faulty.rows()
    assert json.loads(output.to_json(output.objects(plant, found)))


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("calendars", [(), NEVER], ids=["always planned", "never planned"])
@pytest.mark.parametrize("cycle", [None, 60.0])
def test_no_figure_of_any_kpi_is_infinite_or_no_number(said, calendars, cycle):
    plant = plant_of(cycle=cycle, **EVERYTHING).model_copy(update={"calendars": calendars})
    for first, last, by in ((0, 1, "total"), (0, 24, "total"), (0, 2, "hour"), (30, 31, "total")):
        finite(plant, samples_of(**SAID[said]), at(first), at(last), by)


@pytest.mark.parametrize("seed", range(cases(3)))
def test_no_figure_of_any_generated_hour_is_infinite_or_no_number(seed):
    plant, samples, start, end = generate(seed)
    for first in (start, (start + end) // 2, end, end + 24 * HOUR):
        finite(plant, samples, first, first + HOUR, "total")


# Large registers.


def products(count, cycle=1.0):
    return tuple(Product(product=f"P{n}", asset="press", ideal_cycle=cycle + n) for n in range(count))


def test_ten_thousand_products_are_each_found_without_looking_at_the_others(monkeypatch):
    plant, looked = plant_of().model_copy(update={"products": products(10_000)}), []
    match = fnmatch.fnmatchcase
    monkeypatch.setattr(fnmatch, "fnmatchcase", lambda name, pattern: looked.append(pattern) or match(name, pattern))
    cycles = [plant.ideal_cycle(plant.assets[0], f"P{n}") for n in range(10_000)]
    assert cycles == [1.0 + n for n in range(10_000)]
    assert plant.lists_cycle("press")
    assert not plant.lists_cycle("lathe")
    assert len(looked) <= 10_002


def test_a_plant_with_other_products_has_their_cycles():
    plant = plant_of().model_copy(update={"products": products(2)})
    press = plant.assets[0]
    assert [plant.ideal_cycle(press, name) for name in ("P0", "P1", "P2", None)] == [1.0, 2.0, 60.0, 60.0]
    other = plant.model_copy(update={"products": products(3, cycle=5.0)})
    assert [other.ideal_cycle(press, name) for name in ("P0", "P1", "P2")] == [5.0, 6.0, 7.0]
    assert not plant.model_copy(update={"products": ()}).lists_cycle("press")
    assert plant.ideal_cycle(press, "P0") == 1.0


def test_a_row_for_the_asset_itself_goes_before_a_pattern():
    rows = (
        Product(product="A", asset="line1/*", ideal_cycle=9.0),
        Product(product="A", asset="line1/press", ideal_cycle=8.0),
    )
    plant, other = Plant(id="works", products=rows), Asset(asset="line2/press")
    cycles = [plant.ideal_cycle(Asset(asset=f"line1/{name}"), "A") for name in ("press", "lathe")]
    assert cycles == [8.0, 9.0]
    assert plant.ideal_cycle(other, "A") is None
    assert [plant.lists_cycle(asset) for asset in ("line1/lathe", "line2/press")] == [True, False]


def test_the_margin_is_two_hours_where_a_pace_tells_the_elements_of_any_asset():
    with_state, by_pace = plant_of(t=TOTAL, s=STATE), plant_of(t=TOTAL)
    assert states.margin(with_state) == 10 * MINUTE  # the start-up
    assert states.margin(by_pace) == 2 * HOUR
    # A point of no asset of the register tells nothing.
    assert states.margin(by_pace.model_copy(update={"assets": ()})) == 10 * MINUTE

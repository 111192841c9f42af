"""The frames against the slow second opinion, and the properties that every plant keeps."""

import math
import random
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import polars as pl
import pytest

from config.plant import Plant
from config.schema import COUNTS, DURATIONS, ELEMENTS, FACT, MICRO
from kpis.compute import Basis, Window, results
from kpis.facts import facts
from tests import oracle
from tests.generated_plants import HOUR, generate, to_frame
from tests.soak import cases

SEEDS = range(cases(1000))
BATCH = 100
# What tells the rows of facts apart, and what is cut in proportion to time; all other columns are exact.
KEYS = ("asset", "shift", "date", "hour", "start", "end", "product", "ideal_cycle")
PARTS = (*(f"{count}_unknown" for count in COUNTS), "reject_startup")
EXACT = tuple(name for name in FACT if name not in (*KEYS, *COUNTS, *PARTS))
# A quantity is cut to a millionth of a piece at the window's two borders, and once for each of up to two counters; the
# part that fell into some of its time also at each border of that time.
ROUNDING = Fraction(2, MICRO)
ROUNDING_OF_PARTS = Fraction(8, MICRO)
NO_DEMAND = pl.DataFrame(schema={"asset": pl.String, "medium": pl.String})

Sums = dict[str, int | None]


def sums(frame: pl.DataFrame) -> Sums:
    """The sum of each additive column, in [ns] and [1e-6 units]; None where every cell is null."""
    columns = [name for name in frame.columns if name not in KEYS]
    physical = frame.select(pl.col(columns).to_physical())
    known = physical.select(pl.when(pl.col(columns).count() > 0).then(pl.col(columns).sum()))
    return known.row(0, named=True)


def by_asset(frame: pl.DataFrame) -> dict[str, Sums]:
    return {str(asset): sums(mine) for (asset,), mine in frame.group_by("asset")}


def same(mine: Sums, theirs: Mapping[str, Any], where: object, stretches: int = 1) -> None:
    """All additive columns of FACT, and the meters, are those of the oracle's account of some stretches of time."""
    for name in EXACT:
        expected = theirs[name] * MICRO if name == "uncertain" else theirs[name]
        assert mine[name] == expected, (where, name)
    meters = {name for name in theirs if name.startswith("energy.")}
    assert meters == {name for name in mine if name.startswith("energy.") and mine[name] is not None}, where
    for name in (*COUNTS, *PARTS, *meters):
        assert (mine[name] is None) == (theirs[name] is None), (where, name)
        if theirs[name] is not None:
            rounding = stretches * (ROUNDING_OF_PARTS if name in PARTS else ROUNDING)
            assert abs(Fraction(mine[name] or 0, MICRO) - theirs[name]) <= rounding, (where, name)


def same_kpis(rows: Sequence[Mapping[str, Any]], theirs: Mapping[str, oracle.Bounded], slowest: float) -> None:
    offered = {row["kpi"] for row in rows}
    assert not [kpi for kpi, bounded in theirs.items() if bounded.value is not None and kpi not in offered]
    for row in rows:
        expected = theirs[row["kpi"]]
        # Fewer pieces than are told apart are none.
        few = row["kpi"] == "quality_ratio" and abs(expected.denominator or 1) <= ROUNDING_OF_PARTS
        assert few or (row["value"] is None) == (expected.value is None), row
        assert near(row["coverage"], expected.coverage, 1e-12), row
        if row["value"] is not None and expected.value is not None:
            assert near(row["denominator"], expected.denominator, float(ROUNDING_OF_PARTS)), row
            # Over a nanosecond of known time a millionth of a piece is a great rate.
            rounding = float(ROUNDING_OF_PARTS) * max(slowest, 1.0) * (1 + abs(row["value"])) / row["denominator"]
            for part in ("value", "low", "high"):
                assert near(row[part], getattr(expected, part), rounding), (row, part)


def near(mine: float | None, theirs: Fraction | None, rounding: float) -> bool:
    if mine is None or theirs is None:
        return mine is theirs
    return math.isclose(mine, theirs, rel_tol=1e-9, abs_tol=rounding)


def renamed(plant: Plant, site: str) -> dict[str, tuple[Any, ...]]:
    """The plant's registers as a part of a greater plant's; of its points only those that the KPIs here need."""
    needed = ("state", *COUNTS, "product", "ideal_cycle")
    return {
        "assets": tuple(each.model_copy(update={"asset": f"{site}/{each.asset}"}) for each in plant.assets),
        "points": tuple(
            each.model_copy(update={"point": f"{site}/{each.point}", "asset": f"{site}/{each.asset}"})
            for each in plant.points
            if each.role in needed
        ),
        "products": tuple(each.model_copy(update={"asset": f"{site}/{each.asset}"}) for each in plant.products),
    }


@pytest.mark.parametrize("first", SEEDS[::BATCH])
def test_facts_and_kpis_are_those_of_the_oracle(first):
    frames, expected, parts = [], {}, []
    for seed in range(first, first + BATCH):
        plant, samples, start, end = generate(seed)
        frame = facts(plant, to_frame(samples), start, end)
        found = by_asset(frame)
        for asset in plant.assets:
            theirs = oracle.account(plant, asset.asset, samples, start, end)
            same(found[asset.asset], theirs, (seed, asset.asset))
            expected[f"{seed}/{asset.asset}"] = oracle.kpis(theirs)
        parts.append(renamed(plant, str(seed)))
        frames.append(frame.with_columns(pl.format("{}/{}", pl.lit(str(seed)), "asset").alias("asset")))
    # KPIs of many plants cost hardly more than those of one.
    registers = {name: tuple(row for part in parts for row in part[name]) for name in parts[0]}
    whole = pl.concat(frames, how="diagonal")
    same_results(plant.model_copy(update=registers), whole, expected)


def same_results(plant: Plant, frame: pl.DataFrame, expected: Mapping[str, Mapping[str, oracle.Bounded]]) -> None:
    window = Window(*(frame[side].to_physical().sort()[place] for side, place in (("start", 0), ("end", -1))))
    rows = results(plant, Basis(frame, NO_DEMAND), window, list(expected))
    told = rows.filter(pl.col("kpi").is_in(["availability", "effectiveness", "quality_ratio", "oee"]))
    slowest = dict(frame.group_by("asset").agg(pl.col("ideal_cycle").max().fill_null(1.0)).iter_rows())
    by_subject = {str(subject): mine.to_dicts() for (subject,), mine in told.group_by("subject")}
    for subject, theirs in expected.items():
        same_kpis(by_subject.get(subject, []), theirs, slowest[subject])


@pytest.mark.parametrize("seed", range(cases(30)))
def test_facts_of_an_hour_are_those_of_the_oracle_for_that_hour(seed):
    plant, samples, start, end = generate(seed)
    frame = facts(plant, to_frame(samples), start, end)
    hour = random.Random(seed).choice(frame["hour"].unique().sort().to_physical().to_list())
    found = by_asset(frame.filter(pl.col("hour").to_physical() == hour))
    for asset in plant.assets:
        theirs = oracle.account(plant, asset.asset, samples, max(start, hour), min(end, hour + HOUR))
        same(found[asset.asset], theirs, (asset.asset, hour))


@pytest.mark.parametrize("seed", range(cases(30)))
def test_facts_of_a_product_are_those_of_the_oracle_for_the_time_in_which_it_was_made(seed):
    plant, samples, start, end = generate(seed)
    frame = facts(plant, to_frame(samples), start, end)
    for asset in plant.assets:
        mine = frame.filter(pl.col("asset") == asset.asset)
        theirs: dict[tuple[str | None, float | None], list[dict[str, Any]]] = {}
        for run in oracle.runs(plant, asset.asset, samples):
            a, b = max(start, run.start), min(end, run.end)
            if a < b:
                key = (run.product, None if run.cycle is None else float(run.cycle))
                theirs.setdefault(key, []).append(oracle.account(plant, asset.asset, samples, a, b))
        found = {key: sums(part) for key, part in mine.group_by("product", "ideal_cycle")}
        assert set(found) == set(theirs)
        for key, parts in theirs.items():
            whole = {name: added([part[name] for part in parts]) for name in parts[0]}
            same(found[key], whole, (asset.asset, key), len(parts))


def added(amounts: Sequence[Any]) -> Any:
    return None if None in amounts else sum(amounts)


@pytest.mark.parametrize("seed", range(cases(30)))
def test_facts_of_a_shift_hold_its_planned_time_and_its_breaks_and_bear_its_date(seed):
    plant, samples, start, end = generate(seed)
    frame = facts(plant, to_frame(samples), start, end)
    for asset in plant.assets:
        mine = frame.filter(pl.col("asset") == asset.asset)
        theirs = dict.fromkeys((label for label, *_ in oracle.planned(plant, asset.asset, start, end)), (0, 0))
        for label, _, a, b, kind in oracle.planned(plant, asset.asset, start, end):
            work, pause = theirs[label]
            theirs[label] = (work + (b - a) * (kind == "work"), pause + (b - a) * (kind == "break"))
        found = {key: sums(part) for key, part in mine.filter(pl.col("shift").is_not_null()).group_by("shift", "date")}
        assert {
            shift: (sum(part[name] for name in ELEMENTS), part["break"]) for (shift, _), part in found.items()
        } == theirs
        assert all(shift.startswith(f"{date} ") for shift, date in found)


@pytest.mark.parametrize("seed", range(cases(20)))
def test_facts_of_a_window_are_the_sum_of_the_facts_of_any_split_of_it(seed):
    plant, samples, start, end = generate(seed)
    frame, rng = to_frame(samples), random.Random(seed)
    cut = rng.randrange(start + 1, end)
    whole = by_asset(facts(plant, frame, start, end))
    left, right = facts(plant, frame, start, cut), facts(plant, frame, cut, end)
    assert by_asset(pl.concat([left, right], how="diagonal")) == whole


@pytest.mark.parametrize("seed", range(cases(20)))
def test_shuffled_and_repeated_rows_change_nothing(seed):
    plant, samples, start, end = generate(seed)
    rng = random.Random(seed)
    again = samples + rng.choices(samples, k=len(samples) // 3)
    rng.shuffle(again)
    assert facts(plant, to_frame(again), start, end).equals(facts(plant, to_frame(samples), start, end))


@pytest.mark.parametrize("seed", range(cases(20)))
def test_a_devices_facts_do_not_depend_on_other_devices(seed):
    plant, samples, start, end = generate(seed)
    asset = plant.assets[0].asset
    own = {p.point for p in plant.points_of(asset)}
    alone = facts(plant, to_frame([s for s in samples if s[0] in own]), start, end, [asset])
    together = facts(plant, to_frame(samples), start, end).filter(pl.col("asset") == asset)
    assert alone.equals(together.select(alone.columns))


@pytest.mark.parametrize("first", range(0, cases(20), 10))
def test_every_nanosecond_is_in_exactly_one_element_and_every_value_within_its_bounds(first):
    bounded_rows = 0
    for seed in range(first, first + 10):
        plant, samples, start, end = generate(seed)
        frame = facts(plant, to_frame(samples), start, end)
        whole_and_its_parts(frame, end - start)
        rows = results(plant, Basis(frame, NO_DEMAND), Window(start, end))
        bounded = rows.drop_nulls(["value", "low", "high"])
        assert bounded.filter((pl.col("low") > pl.col("value")) | (pl.col("value") > pl.col("high"))).is_empty(), seed
        bounded_rows += bounded.height
    assert bounded_rows > 0


def whole_and_its_parts(frame: pl.DataFrame, length: int) -> None:
    for asset, mine in by_asset(frame).items():
        assert sum(mine[name] for name in DURATIONS) == length, asset
    cells = frame.with_columns(pl.col(pl.Duration).to_physical())
    assert all((cells[name] >= 0).all() for name in (*DURATIONS, "stops", "micro_stops"))
    parts = {"micro_stop": "delay", "unmapped": "unknown", "apc_on": "apc_known"}
    assert all((cells[part] <= cells[whole]).all() for part, whole in parts.items())
    planned = cells.select(pl.sum_horizontal(ELEMENTS)).to_series()
    assert (cells["apc_known"] <= planned).all()
    assert (cells["inferred"] <= planned - cells["unknown"]).all()

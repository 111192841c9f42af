"""The frames against the slow second opinion, and the properties that every plant keeps."""

import random
from fractions import Fraction

import polars as pl
import pytest

from config.schema import COUNTS, DURATIONS, ELEMENTS, MICRO
from kpis.compute import Basis, Window, results
from kpis.facts import facts
from tests import oracle
from tests.generated_plants import generate, to_frame

SEEDS = range(200)
# A quantity is cut at each cell's border to a millionth of a piece, and once per counter.
ROUNDING = Fraction(8, MICRO)


def summed(frame: pl.DataFrame, column: str) -> int | None:
    values = frame[column].drop_nulls()
    if not len(values):
        return None
    return int(values.to_physical().sum())


@pytest.mark.parametrize("seed", SEEDS)
def test_facts_and_kpis_are_those_of_the_oracle(seed):
    plant, samples, start, end = generate(seed)
    frame = facts(plant, to_frame(samples), start, end)
    rows = results(
        plant, Basis(frame, pl.DataFrame(schema={"asset": pl.String, "medium": pl.String})), Window(start, end)
    )
    for asset in plant.assets:
        mine = frame.filter(pl.col("asset") == asset.asset)
        theirs = oracle.account(plant, asset.asset, samples, start, end)
        for name in (*DURATIONS, "unmapped", "resets", "gap_steps", "refused_steps"):
            assert summed(mine, name) == theirs[name], (asset.asset, name)
        for name in (*COUNTS, *(f"{c}_unknown" for c in COUNTS), *(n for n in theirs if n.startswith("energy."))):
            same_quantity(summed(mine, name), theirs[name], (asset.asset, name))
        same_quantity(summed(mine, "uncertain"), theirs["uncertain"], (asset.asset, "uncertain"))
        same_kpis(
            rows.filter(pl.col("subject") == asset.asset), oracle.kpis(theirs, asset.ideal_cycle), asset.ideal_cycle
        )


def same_quantity(mine: int | None, theirs: Fraction | None, where: object) -> None:
    assert (mine is None) == (theirs is None), where
    if mine is not None:
        assert abs(Fraction(mine, MICRO) - theirs) <= ROUNDING, where


def same_kpis(rows: pl.DataFrame, theirs: dict[str, oracle.Bounded], ideal: float | None) -> None:
    for row in rows.filter(pl.col("kpi").is_in(list(theirs))).iter_rows(named=True):
        expected = theirs[row["kpi"]]
        assert (row["value"] is None) == (expected.value is None), row
        assert row["coverage"] == pytest.approx(none_or_float(expected.coverage), abs=1e-12)
        if expected.value is not None:
            # Over a nanosecond of known time a millionth of a piece is a great rate.
            rounding = float(ROUNDING) * max(ideal or 1.0, 1.0) * (1 + abs(row["value"])) / row["denominator"]
            for part in ("value", "low", "high"):
                assert row[part] == pytest.approx(float(getattr(expected, part)), rel=1e-9, abs=rounding), (row, part)


def none_or_float(number: Fraction | None) -> float | None:
    return None if number is None else float(number)


@pytest.mark.parametrize("seed", range(40))
def test_facts_of_a_window_are_the_sum_of_the_facts_of_any_split_of_it(seed):
    plant, samples, start, end = generate(seed)
    frame, rng = to_frame(samples), random.Random(seed)
    cut = rng.randrange(start + 1, end)
    whole = facts(plant, frame, start, end)
    parts = pl.concat([facts(plant, frame, start, cut), facts(plant, frame, cut, end)], how="diagonal")
    for asset in whole["asset"].unique():
        mine = pl.col("asset") == asset
        for name in (*DURATIONS, *COUNTS, "total_unknown", "resets", "gap_steps", "refused_steps", "uncertain"):
            assert summed(parts.filter(mine), name) == summed(whole.filter(mine), name), (asset, name)


@pytest.mark.parametrize("seed", range(40))
def test_shuffled_and_repeated_rows_change_nothing(seed):
    plant, samples, start, end = generate(seed)
    rng = random.Random(seed)
    again = samples + rng.choices(samples, k=len(samples) // 3)
    rng.shuffle(again)
    assert facts(plant, to_frame(again), start, end).equals(facts(plant, to_frame(samples), start, end))


@pytest.mark.parametrize("seed", range(40))
def test_a_devices_facts_do_not_depend_on_other_devices(seed):
    plant, samples, start, end = generate(seed)
    asset = plant.assets[0].asset
    own = {p.point for p in plant.points_of(asset)}
    alone = facts(plant, to_frame([s for s in samples if s[0] in own]), start, end, [asset])
    together = facts(plant, to_frame(samples), start, end).filter(pl.col("asset") == asset)
    assert alone.equals(together.select(alone.columns))


@pytest.mark.parametrize("seed", range(40))
def test_every_nanosecond_is_in_exactly_one_element_and_every_value_within_its_bounds(seed):
    plant, samples, start, end = generate(seed)
    frame = facts(plant, to_frame(samples), start, end)
    for asset in plant.assets:
        mine = frame.filter(pl.col("asset") == asset.asset)
        assert sum(summed(mine, name) or 0 for name in DURATIONS) == end - start
        assert all((mine[name].to_physical() >= 0).all() for name in ELEMENTS)
    rows = results(
        plant, Basis(frame, pl.DataFrame(schema={"asset": pl.String, "medium": pl.String})), Window(start, end)
    )
    bounded = rows.filter(pl.col("value").is_not_null() & pl.col("low").is_not_null() & pl.col("high").is_not_null())
    assert bounded.filter((pl.col("low") > pl.col("value")) | (pl.col("value") > pl.col("high"))).is_empty()
    assert bounded.height > 0

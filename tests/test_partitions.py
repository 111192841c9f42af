"""A store read part by part gives the facts that all of its samples at once give."""

import itertools
import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import polars as pl
import pytest

from collector.ledger import Ledger
from collector.quarantine import Quarantine
from collector.sinks.parquet import Sink
from config.plant import Asset, Plant, Point
from config.plant import Sink as SinkConfig
from config.schema import FACT
from kpis import partitions
from kpis.demand import demand
from kpis.facts import FACT_KEYS, facts
from kpis.partitions import Pass, of_store, parts, samples_of
from kpis.stores import Lake
from tests.generated_plants import generate, to_frame
from tests.soak import cases

HOUR = 3_600_000_000_000


def lake_of(folder, samples):
    """A lake with the samples as an agent writes them: some files, in no order of time."""
    ledger = Ledger(folder / "ledger.jsonl")
    config = SinkConfig(kind="parquet", path=folder)
    quarantine = Quarantine(folder, ledger)
    sink = Sink(config, Plant(id="p"), agent="a", spool="0" * 8, ledger=ledger, quarantine=quarantine)
    sink.start(())
    third = -(-samples.height // 3)
    for number in range(3):
        sink.write(samples.slice(number * third, third), number + 1, number + 1)
    return Lake(folder)


def summed(frame):
    """The facts by what they belong to, whatever parts they were computed in."""
    amounts = [n for n in frame.columns if n not in (*FACT_KEYS, "start", "end")]
    sums = [pl.when(pl.col(n).is_not_null().any()).then(pl.col(n).sum()) for n in amounts]
    return frame.group_by(FACT_KEYS).agg(pl.min("start"), pl.max("end"), *sums).sort(FACT_KEYS).select(frame.columns)


def same(mine, theirs):
    mine, theirs = summed(mine), summed(theirs.select(mine.columns))
    for name in mine.columns:
        assert mine[name].equals(theirs[name]), name


@pytest.mark.parametrize("seed", range(cases(12)))
def test_parts_that_are_cut_anywhere_give_the_facts_of_the_whole(seed, tmp_path):
    plant, samples, start, end = generate(seed)
    frame, rng = to_frame(samples), random.Random(seed)
    store = lake_of(tmp_path, frame)
    cuts = sorted(rng.sample(range(start + 1, end), 5))
    amounts = partitions.together([p.amounts for p in Pass(plant, store).over([start, *cuts, end])])
    same(amounts.facts, facts(plant, frame, start, end))


@pytest.mark.parametrize("seed", range(60, 60 + cases(5)))
def test_a_period_inside_the_samples_is_computed_as_though_all_were_read(seed, tmp_path):
    plant, samples, start, end = generate(seed)
    frame, rng = to_frame(samples), random.Random(seed)
    store = lake_of(tmp_path, frame)
    first, last = sorted(rng.sample(range(start + 1, end), 2))
    amounts = of_store(plant, store, first, last)
    same(amounts.facts, facts(plant, frame, first, last))
    order = ["asset", "medium", "start"]
    assert amounts.demand.sort(order).equals(demand(plant, frame, first, last).sort(order))


@pytest.mark.parametrize("seed", range(80, 80 + cases(5)))
def test_what_is_carried_over_a_border_is_what_one_who_begins_there_finds(seed, tmp_path):
    plant, samples, start, end = generate(seed)
    store = lake_of(tmp_path, to_frame(samples))
    cuts = [start, *sorted(random.Random(seed).sample(range(start + 1, end), 3)), end]
    first, *_, last = through = list(Pass(plant, store).over(cuts))
    assert first.carried == through[1].before
    for whole, (a, b) in zip(through, itertools.pairwise(cuts), strict=True):
        (alone,) = Pass(plant, store).over([a, b])
        assert (alone.before, alone.after, alone.carried) == (whole.before, whole.after, whole.carried)
    assert last.end == end


def test_days_that_are_too_large_are_read_by_the_hour(tmp_path, monkeypatch):
    plant, samples, start, _ = generate(0)
    store = lake_of(tmp_path, to_frame(samples))
    monkeypatch.setattr(partitions, "PART_ROWS", -1)
    borders = parts(plant, store, start, start + 10 * HOUR)
    assert all(0 < b - a <= HOUR for a, b in itertools.pairwise(borders))
    assert (borders[0], borders[-1]) == (start, start + 10 * HOUR)


def test_processes_give_the_same_facts_as_one(tmp_path, monkeypatch):
    plant, samples, start, end = generate(3)
    store = lake_of(tmp_path, to_frame(samples))
    alone = of_store(plant, store, start, end)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        spread = of_store(plant, store, start, end, pool)
    same(spread.facts, alone.facts)
    assert set(FACT) <= set(spread.facts.columns)


def at(hours):
    return 1_794_787_200_000_000_000 + round(hours * HOUR)  # 2026-11-16


def rows(point, hours_and_values):
    return [
        (point, at(h), at(h), None if isinstance(v, str) else float(v), v if isinstance(v, str) else None, 0)
        for h, v in hours_and_values
    ]


def pieces(amounts):
    return amounts.facts["total"].sum() / 1e6


def one_machine(*roles):
    points = tuple(Point(point=f"m.{role}", asset="m", role=role, max_hold="3d") for role in roles)
    return Plant(id="p", timezone="UTC", assets=(Asset(asset="m"),), points=points)


def test_a_reset_that_is_told_long_after_the_border_counts_in_both_parts(tmp_path):
    plant = one_machine("total", "since_reset")
    # 100 pieces at noon, a reset at 6:00 of the next day, 20 pieces at its noon; told of at 1:00 and at 7:00.
    told = rows("m.since_reset", [(12, 3600 * 100), (25, 3600 * 113), (31, 3600)])
    frame = to_frame(rows("m.total", [(12, 100), (36, 120)]) + told)
    store = lake_of(tmp_path, frame)
    for first, last, expected in ((0, 24, 60), (24, 48, 60), (0, 48, 120)):
        assert pieces(of_store(plant, store, at(first), at(last))) == expected
        read = samples_of(plant, store, at(first), at(last))
        assert facts(plant, read, at(first), at(last))["total"].sum() / 1e6 == expected


@pytest.mark.parametrize("said", ["out of order", 1e13, float("nan")])
def test_a_sample_that_cannot_be_counted_from_hides_no_neighbour_behind_it(tmp_path, said):
    plant = one_machine("total")
    store = lake_of(tmp_path, to_frame(rows("m.total", [(20, 0), (23.5, said), (24.5, said), (25, 100)])))
    assert [pieces(of_store(plant, store, at(a), at(b))) for a, b in ((0, 48), (0, 24), (24, 48))] == [100, 80, 20]


def test_rows_of_another_day_in_a_file_that_somebody_put_there_count_once(tmp_path):
    plant = one_machine("total")
    store = lake_of(tmp_path, to_frame(rows("m.total", [(h, 10 * h) for h in range(25, 72)])))
    by_hand = to_frame(rows("m.total", [(22, 220), (23, 230), (24, 240)]))
    by_hand.write_parquet(tmp_path / "samples" / "date=2026-11-17" / "by hand.parquet")
    assert pieces(of_store(plant, store, at(24), at(48))) == 240
    assert pieces(of_store(plant, store, at(24), at(72))) == pieces(of_store(plant, store, at(24), at(71))) == 470

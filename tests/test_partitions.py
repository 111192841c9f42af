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
from config.plant import Plant
from config.plant import Sink as SinkConfig
from config.schema import FACT
from kpis import partitions
from kpis.demand import demand
from kpis.facts import FACT_KEYS, facts
from kpis.partitions import Pass, of_store, parts
from kpis.stores import Lake
from tests.generated_plants import generate, to_frame

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
    theirs = summed(theirs.select(mine.columns))
    for name in mine.columns:
        assert summed(mine)[name].equals(theirs[name]), name


@pytest.mark.parametrize("seed", range(24))
def test_parts_that_are_cut_anywhere_give_the_facts_of_the_whole(seed, tmp_path):
    plant, samples, start, end = generate(seed)
    frame, rng = to_frame(samples), random.Random(seed)
    store = lake_of(tmp_path, frame)
    cuts = sorted(rng.sample(range(start + 1, end), 5))
    amounts = partitions.together([p.amounts for p in Pass(plant, store).over([start, *cuts, end])])
    same(amounts.facts, facts(plant, frame, start, end))


@pytest.mark.parametrize("seed", range(60, 70))
def test_a_period_inside_the_samples_is_computed_as_though_all_were_read(seed, tmp_path):
    plant, samples, start, end = generate(seed)
    frame, rng = to_frame(samples), random.Random(seed)
    store = lake_of(tmp_path, frame)
    first, last = sorted(rng.sample(range(start + 1, end), 2))
    amounts = of_store(plant, store, first, last)
    same(amounts.facts, facts(plant, frame, first, last))
    order = ["asset", "medium", "start"]
    assert amounts.demand.sort(order).equals(demand(plant, frame, first, last).sort(order))


@pytest.mark.parametrize("seed", range(80, 90))
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

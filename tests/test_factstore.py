"""Facts beside the samples: computed once, and again only where what they came from changed."""

import datetime as dt

import polars as pl
import pytest

from collector.ledger import Ledger
from collector.quarantine import Quarantine
from collector.sinks.parquet import Sink
from config.plant import Asset, Plant, Point
from config.plant import Sink as SinkConfig
from config.schema import SAMPLE
from kpis.calendar import to_ns
from kpis.factstore import FactStore, amounts_of
from kpis.partitions import of_store
from kpis.stores import Lake
from tests.test_partitions import same

DAY = dt.datetime(2026, 11, 16, tzinfo=dt.UTC)  # a Monday
HOUR_NS = 3_600_000_000_000
PLANT = Plant(
    id="p",
    timezone="Asia/Shanghai",
    day_start=dt.time(6),  # 22:00 UTC
    assets=(Asset(asset="m", ideal_cycle=60.0), Asset(asset="still")),
    points=(
        Point(point="m.state", asset="m", role="state", max_hold="2h"),
        Point(point="m.total", asset="m", role="total", max_hold="2h"),
        Point(point="m.kwh", asset="m", role="energy.electricity", unit="kWh", max_hold="2h"),
        Point(point="still.state", asset="still", role="state", max_hold="2h"),
    ),
    states={"default": {"1": "production", "3": "delay"}},
)


def at(hours: float) -> int:
    return to_ns(DAY + dt.timedelta(hours=hours))


def day(n: int) -> dt.date:
    return (DAY + dt.timedelta(n)).date()


def rows(point, hours_and_values):
    return [(point, at(h), at(h), float(v), None, 0) for h, v in hours_and_values]


def samples_of_day(n):
    """Every half hour of a day: running but for an hour's stop at noon, a piece a minute, 10 kWh an hour."""
    hours = [24 * n + h / 2 for h in range(48)]
    found = rows("m.state", [(h, 3 if 12 <= h % 24 < 13 else 1) for h in hours])
    found += rows("m.total", [(h, h * 60) for h in hours])
    return found + rows("m.kwh", [(h, h * 10) for h in hours])


class Agent:
    """Writes samples into a lake as an agent does; a batch each time."""

    def __init__(self, folder):
        ledger = Ledger(folder / "ledger.jsonl")
        config, quarantine = SinkConfig(kind="parquet", path=folder), Quarantine(folder, ledger)
        self.sink = Sink(config, PLANT, agent="a", spool="0" * 8, ledger=ledger, quarantine=quarantine)
        self.sink.start(())
        self.batch = 0

    def write(self, data):
        self.batch += 1
        columns = {name: [row[n] for row in data] for n, name in enumerate(SAMPLE)}
        frame = pl.DataFrame({**columns, "text": pl.Series(columns["text"], dtype=pl.String)})
        self.sink.write(frame.select(pl.col(n).cast(kind) for n, kind in SAMPLE.items()), self.batch, self.batch)

    def merge(self):
        self.sink.clock = lambda: at(24 * 30)
        while self.sink.upkeep(self.batch):
            pass


@pytest.fixture
def agent(tmp_path):
    agent = Agent(tmp_path)
    for n in range(5):
        agent.write(samples_of_day(n))
    return agent


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path)


def asked(lake, first=0, last=5 * 24):
    """The store after the period was asked for; its facts are those that the samples give."""
    store = FactStore(PLANT, lake)
    found = store.amounts(at(first), at(last))
    afresh = of_store(PLANT, lake, at(first), at(last))
    same(found.facts, afresh.facts)
    order = ["asset", "medium", "start"]
    assert found.demand.sort(order).equals(afresh.demand.sort(order))
    return store


def test_each_day_is_computed_once(agent, lake):
    assert asked(lake).computed == [day(n) for n in range(5)]
    assert asked(lake).computed == []


def test_a_new_day_costs_itself_and_the_day_before_whose_end_it_closes(agent, lake):
    asked(lake)
    agent.write(samples_of_day(5))
    assert asked(lake, 0, 6 * 24).computed == [day(5), day(4)]


def test_late_samples_inside_a_day_make_that_day_stale_alone(agent, lake):
    asked(lake)
    agent.write(rows("m.state", [(2 * 24 + 15.1, 3), (2 * 24 + 15.2, 1)]))
    assert asked(lake).computed == [day(2)]


def test_late_samples_at_a_days_end_make_the_next_one_stale_as_well(agent, lake):
    asked(lake)
    agent.write(rows("m.state", [(2 * 24 + 23.9, 3)]))
    assert asked(lake).computed == [day(2), day(3)]


def test_late_samples_at_a_days_begin_make_the_one_before_stale_as_well(agent, lake):
    asked(lake)
    agent.write(rows("m.total", [(2 * 24 - 0.01, 2879.0), (2 * 24 + 0.01, 2881.0)]))
    assert set(asked(lake).computed) == {day(1), day(2)}


def test_a_meter_that_was_silent_for_days_closes_its_step_over_all_of_them(agent, lake):
    agent.write(rows("still.state", [(3, 1)]))
    asked(lake)
    agent.write(rows("still.state", [(4 * 24 + 3, 1)]))
    assert asked(lake).computed


def test_a_day_inside_a_gap_gets_its_share_once_the_gap_is_over(lake, tmp_path):
    agent = Agent(tmp_path)
    agent.write(samples_of_day(0))
    asked(lake, 0, 3 * 24)
    agent.write(samples_of_day(2))
    assert set(asked(lake, 0, 3 * 24).computed) == {day(0), day(1), day(2)}
    kwh = FactStore(PLANT, lake).amounts(at(24), at(48)).facts["energy.electricity"].sum()
    assert kwh == pytest.approx(240e6, abs=24)  # 10 kWh an hour, spread over the gap


def test_merging_files_makes_nothing_stale(lake, tmp_path):
    agent = Agent(tmp_path)
    for n in range(3):
        whole = samples_of_day(n)
        agent.write(whole[::2])
        agent.write(whole[1::2])
    asked(lake, 0, 72)
    before = len(list(tmp_path.glob("samples/*/*.parquet")))
    agent.merge()
    assert len(list(tmp_path.glob("samples/*/*.parquet"))) < before
    assert asked(lake, 0, 72).computed == []


def test_another_rule_makes_every_day_stale_and_a_name_none(agent, lake):
    asked(lake)
    renamed = PLANT.model_copy(update={"name": "二厂"})
    assert FactStore(renamed, lake).name == FactStore(PLANT, lake).name
    stricter = PLANT.model_copy(update={"micro_stop": 2 * HOUR_NS})
    store = FactStore(stricter, lake)
    found = store.amounts(at(0), at(5 * 24))
    assert store.computed == [day(n) for n in range(5)]
    assert found.facts["stops"].sum() == 0


def test_a_year_of_facts_is_read_without_its_samples(agent, lake, tmp_path):
    whole = FactStore(PLANT, lake).amounts(at(0), at(5 * 24))
    for file in tmp_path.glob("samples/*/*.parquet"):
        file.unlink()  # their time is past
    kept = FactStore(PLANT, lake).amounts(at(0), at(5 * 24))
    assert kept.facts.equals(whole.facts)
    assert kept.demand.equals(whole.demand)


def test_a_day_keeps_what_it_got_from_one_whose_samples_are_past_their_time(agent, lake, tmp_path):
    whole = FactStore(PLANT, lake).amounts(at(0), at(5 * 24))
    for n in (0, 1):
        for file in tmp_path.glob(f"samples/date={day(n)}/*.parquet"):
            file.unlink()
    for first in (0, 2 * 24):
        store = FactStore(PLANT, lake)
        kept = store.amounts(at(first), at(5 * 24))
        assert store.computed == []
        assert kept.facts.equals(whole.facts.filter(pl.col("start").dt.epoch("ns") >= at(first)))


def test_a_period_that_cuts_an_hour_takes_the_rest_of_it_from_the_samples(agent, lake):
    store = asked(lake, 7.25, 80.6)
    assert store.computed == [day(0), day(1), day(2), day(3)]


def test_facts_that_were_torn_are_computed_again(agent, lake, tmp_path):
    asked(lake)
    (manifest,) = tmp_path.glob("facts/*.json")
    manifest.write_text('{"rules": 1, "days": {"2026')
    assert len(asked(lake).computed) == 5
    next(tmp_path.glob(f"facts/date={day(1)}/*.facts.parquet")).unlink()
    assert asked(lake).computed == [day(1)]
    next(tmp_path.glob(f"facts/date={day(2)}/*.facts.parquet")).write_bytes(b"PAR1 and no more")
    assert asked(lake).computed == [day(2)]


def test_a_lake_that_cannot_be_written_to_gives_the_same_figures(agent, lake, tmp_path, caplog):
    (tmp_path / "facts").write_text("in the way")
    found = amounts_of(PLANT, lake, at(0), at(48))
    same(found.facts, of_store(PLANT, lake, at(0), at(48)).facts)
    assert "facts cannot be stored" in caplog.text

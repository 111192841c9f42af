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
from kpis import partitions
from kpis.calendar import to_ns
from kpis.factstore import FactStore, amounts_of, key_of
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
        folder.mkdir(parents=True, exist_ok=True)
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


def asked(lake, first=0, last=5 * 24, plant=PLANT):
    """The store after the period was asked for; its facts are those that the samples give."""
    store = FactStore(plant, lake)
    found = store.amounts(at(first), at(last))
    afresh = of_store(plant, lake, at(first), at(last))
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


def test_a_day_that_is_too_large_is_computed_in_parts_of_an_hour(agent, lake, monkeypatch):
    read = Lake.stretch
    asked_for = []

    def noted(self, points, start, end, **words):
        asked_for.append(end - start)
        return read(self, points, start, end, **words)

    monkeypatch.setattr(partitions, "PART_ROWS", -1)
    monkeypatch.setattr(Lake, "stretch", noted)
    assert asked(lake, 0, 48).computed == [day(0), day(1)]
    assert max(asked_for) == HOUR_NS


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


def test_a_day_that_begins_before_midnight_utc_looks_into_both_days_folders(agent, lake):
    india = PLANT.model_copy(update={"timezone": "Asia/Kolkata", "demand_interval": HOUR_NS})
    assert FactStore(india, lake).border(day(1)) == at(23.5)
    asked(lake, 0, 72, india)
    agent.write(rows("m.state", [(23.6, 3), (23.7, 1)]))  # late, in the folder of day 0, but within day 1
    assert day(1) in asked(lake, 0, 72, india).computed


def test_demand_intervals_longer_than_an_hour_are_all_there_in_a_period_that_cuts_them(agent, lake):
    slow = PLANT.model_copy(update={"demand_interval": 3 * HOUR_NS // 4})
    asked(lake, 7.2, 60.3, slow)


def test_an_hour_of_half_an_hours_clock_change_is_counted_once(lake, tmp_path):
    island = PLANT.model_copy(update={"timezone": "Australia/Lord_Howe"})
    change = dt.datetime(2027, 4, 3, 15, 0, tzinfo=dt.UTC)  # 2:00 becomes 1:30
    hours = (change - DAY) / dt.timedelta(hours=1)
    agent = Agent(tmp_path)
    agent.write(rows("m.total", [(hours - 6 + n / 2, n) for n in range(30)]))
    for first, last in ((-5.0, 1 / 6), (-5.0, 0.5), (-0.5, 6.0), (-0.75, 1 / 3)):
        asked(lake, hours + first, hours + last, island)


def test_a_gap_before_the_oldest_samples_that_are_kept_changes_nothing_of_what_is_stored(lake, tmp_path):
    agent = Agent(tmp_path)
    agent.write(samples_of_day(0))
    agent.write(samples_of_day(3))
    asked(lake, 0, 96)
    later = FactStore(PLANT, lake).amounts(at(48), at(96))
    next(tmp_path.glob(f"samples/date={day(0)}/*.parquet")).unlink()
    store = FactStore(PLANT, lake)
    assert store.amounts(at(48), at(96)).facts.equals(later.facts)
    assert store.computed == []


def test_facts_that_another_process_wrote_meanwhile_do_not_pass_for_those_of_the_last_entry(agent, lake):
    slow, fast = FactStore(PLANT, lake), FactStore(PLANT, lake)
    write, saved = slow._write, []

    def overtaken(*what):
        if not saved:
            saved.append(None)
            agent.write(rows("m.state", [(12.5, 1), (12.75, 3)]))  # a quarter of an hour less of the stop
            fast.amounts(at(0), at(24))
            saved.append((lake.folder / "facts" / f"{fast.name}.json").read_bytes())
        write(*what)

    slow._write = overtaken
    slow.amounts(at(0), at(24))
    (lake.folder / "facts" / f"{fast.name}.json").write_bytes(saved[1])
    assert asked(lake, 0, 24).computed == [day(0)]


def test_a_note_or_an_address_changes_nothing_of_facts_and_a_rate_does():
    def edited(**words):
        return PLANT.model_copy(update={"points": (PLANT.points[0].model_copy(update=words), *PLANT.points[1:])})

    assert key_of(edited(note="moved", address="ns=2;s=x", source="line2")) == key_of(PLANT)
    assert len({key_of(PLANT), key_of(edited(max_rate=1.0)), key_of(edited(max_hold=HOUR_NS))}) == 3


def test_a_device_that_was_silent_for_forty_days_costs_no_more_than_its_days(lake, tmp_path):
    agent = Agent(tmp_path)
    for n in (0, *range(38, 43)):
        agent.write(samples_of_day(n)[:48] if n else samples_of_day(0))  # the counter and the meter say nothing more
    asked(lake, 0, 43 * 24)
    agent.write(rows("m.total", [(41 * 24 + 1, 5000.0)]))
    store = asked(lake, 20 * 24, 43 * 24)
    assert max(store.computed.count(each) for each in store.computed) <= 2


def test_a_disk_that_is_full_leaves_no_half_file_and_the_figures(agent, lake, tmp_path, monkeypatch, caplog):
    def full(frame, path, **_words):
        path.write_bytes(b"PAR1")
        raise pl.exceptions.ComputeError("no space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    found = amounts_of(PLANT, lake, at(0), at(24))
    monkeypatch.undo()
    same(found.facts, of_store(PLANT, lake, at(0), at(24)).facts)
    assert "no space left" in caplog.text
    assert list(tmp_path.glob("facts/*/*")) == []

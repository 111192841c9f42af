"""What a window takes from the lake, and what lies beside it."""

import datetime as dt

import polars as pl
import pytest

from collector.ledger import Ledger
from collector.quarantine import Quarantine
from collector.sinks.parquet import Sink
from config.lakefiles import RUNS, runs_read, runs_said
from config.plant import Asset, Plant, Point
from config.plant import Sink as SinkConfig
from config.schema import SAMPLE
from kpis.calendar import to_ns
from kpis.compute import Basis, Window, results
from kpis.facts import facts
from kpis.stores import lake
from kpis.stores.arrays import Workspace

DAY = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)


def at(hours):
    return to_ns(DAY + dt.timedelta(hours=hours))


def frame(*rows):
    """SAMPLE rows from (point, hours since DAY, value or text)."""
    data = {
        "point": [p for p, _, _ in rows],
        "ts": [at(h) for _, h, _ in rows],
        "ts_recv": [at(h) for _, h, _ in rows],
        "value": [float(v) if not isinstance(v, str) else None for _, _, v in rows],
        "text": pl.Series([v if isinstance(v, str) else None for _, _, v in rows], dtype=pl.String),
        "status": [0] * len(rows),
    }
    return pl.DataFrame(data).select(pl.col(name).cast(dtype) for name, dtype in SAMPLE.items())


@pytest.fixture
def store(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    quarantine = Quarantine(tmp_path / "quarantine", ledger)
    config = SinkConfig(kind="parquet", path=tmp_path)
    sink = Sink(config, Plant(id="p"), agent="a", spool="0" * 8, ledger=ledger, quarantine=quarantine)
    sink.start(())
    return lambda samples: sink.write(samples, 1, 1)


def test_a_window_comes_with_the_last_good_row_before_it_and_the_first_after_it(store, tmp_path):
    store(frame(("a", -30, 1), ("a", 3, 2), ("a", 50, 3), ("a", 60, 4)))
    assert lake.read(tmp_path, ["a"], at(0), at(24))["value"].sort().to_list() == [1.0, 2.0, 3.0]


def test_the_extent_is_that_of_the_points_asked_for_whatever_else_the_lake_holds(store, tmp_path):
    store(frame(("old", -48, 1), ("a", 0, 1), ("a", 30, 2), ("other", 100, 1)))
    assert lake.extent(tmp_path, ["a"]) == (at(0), at(30))
    assert lake.extent(tmp_path, ["nobody"]) is None


def test_a_nan_row_is_no_neighbour_to_count_from(store, tmp_path):
    samples = frame(("a", -3, 10), ("a", -1, float("nan")), ("a", 1, 30))
    store(samples)
    plant = Plant(
        id="p", timezone="UTC", assets=(Asset(asset="m"),), points=(Point(point="a", asset="m", role="total"),)
    )
    read = lake.read(tmp_path, ["a"], at(0), at(2))
    assert facts(plant, read, at(0), at(2))["total"].sum() == facts(plant, samples, at(0), at(2))["total"].sum()


def test_a_word_in_a_meter_is_no_reading():
    meter = Point(point="e", asset="m", role="energy.electricity", unit="kWh", max_hold="9h")
    plant = Plant(id="p", timezone="UTC", assets=(Asset(asset="m"),), points=(meter,))
    samples = frame(("e", 0, 0), ("e", 1, "1,5"), ("e", 2, 60))
    basis = Basis(facts(plant, samples, at(0), at(2)), pl.DataFrame(schema={"asset": pl.String, "medium": pl.String}))
    row = results(plant, basis, Window(at(0), at(2)), ["m"]).row(0, named=True)
    assert (row["value"], row["high"], row["coverage"], row["flags"]) == (60.0, None, 0.5, ["gap_increment"])


def test_products_that_alternate_within_an_hour_do_not_lower_the_meters_coverage():
    meter = Point(point="e", asset="m", role="energy.electricity", unit="kWh", max_hold="9h")
    points = (meter, Point(point="p", asset="m", role="product", max_hold="9h"))
    plant = Plant(id="p", timezone="UTC", assets=(Asset(asset="m"),), points=points)
    samples = frame(("e", 0, 0), ("e", 1, 60), ("p", 0, "A"), ("p", 0.25, "B"), ("p", 0.75, "A"))
    basis = Basis(facts(plant, samples, at(0), at(1)), pl.DataFrame(schema={"asset": pl.String, "medium": pl.String}))
    row = results(plant, basis, Window(at(0), at(1)), ["m"]).row(0, named=True)
    assert (row["kpi"], row["value"], row["high"], row["coverage"]) == ("energy_consumption", 60.0, 60.0, 1.0)


def test_files_that_were_merged_into_another_do_not_count(store, tmp_path):
    store(frame(("a", 1, 1), ("a", 2, 2)))
    (merged,) = tmp_path.rglob("*.parquet")
    merged.rename(merged.with_name("a-00000000-000000000001-000000000009-1of1.parquet"))
    store(frame(("a", 1, 1)))
    assert lake.files(tmp_path, DAY.date()) == [merged.with_name("a-00000000-000000000001-000000000009-1of1.parquet")]
    assert lake.read(tmp_path, ["a"], at(0), at(24)).height == 2


def test_a_look_is_taken_again_where_a_file_went_before_it_was_read(store, tmp_path, monkeypatch):
    store(frame(("a", 1, 1)))
    (file,) = tmp_path.rglob("*.parquet")
    listed = []
    scan = pl.scan_parquet

    def merged_meanwhile(paths, **words):
        if not listed:
            file.rename(file.with_name("a-00000000-000000000001-000000000002-1of1.parquet"))
        listed.append(paths)
        return scan(paths, **words)

    monkeypatch.setattr(pl, "scan_parquet", merged_meanwhile)
    assert lake.read(tmp_path, ["a"], at(0), at(24))["value"].to_list() == [1.0]


def test_a_damaged_file_is_named(store, tmp_path):
    store(frame(("a", 1, 1)))
    (file,) = tmp_path.rglob("*.parquet")
    file.write_bytes(b"PAR1")
    with pytest.raises(lake.LakeError, match="restore the file"):
        lake.read(tmp_path, ["a"], at(0), at(24))


def test_files_of_the_version_before_and_strangers_parquet_files_are_read(store, tmp_path):
    store(frame(("a", 1, 1)))
    folder = tmp_path / "samples" / f"date={DAY.date()}"
    frame(("a", 2, 2)).write_parquet(folder / "gw9-00000000-000000000001-000000000001-1of1.parquet")
    frame(("a", 3, 3)).write_parquet(folder / "by hand.parquet")
    assert lake.read(tmp_path, ["a"], at(0), at(24))["value"].sort().to_list() == [1.0, 2.0, 3.0]


def test_rows_of_a_merged_file_are_found_by_what_its_footer_says(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    quarantine, config = Quarantine(tmp_path / "quarantine", ledger), SinkConfig(kind="parquet", path=tmp_path)
    sink = Sink(config, Plant(id="p"), agent="a", spool="0" * 8, ledger=ledger, quarantine=quarantine)
    sink.clock = lambda: at(24 * 9)
    sink.start(())
    points = ["b", "a", "never", "c"]
    written = [frame(*((p, h + n / 3600, n) for n in range(600) for p in points if p != "never")) for h in (0, 6)]
    for number, rows in enumerate(written, 1):
        sink.write(rows, number, number)
    while sink.upkeep(2):
        pass
    (file,) = tmp_path.glob("samples/*/*.parquet")
    assert runs_read(pl.read_parquet_metadata(file)[RUNS]) == (["a", "b", "c"], [[1200, 1200, 1200]])
    found = lake.stretch(tmp_path, ["a", "c"], at(0), at(24), uncertain_is_good=False)
    rows = Workspace().filled(["a", "c"], {}, found, {})
    assert {point: (len(r.ts), r.value[599:602].tolist()) for point, r in rows.items()} == {
        point: (1200, [599.0, 0.0, 1.0]) for point in "ac"
    }


def test_a_footer_that_speaks_of_other_rows_is_told(tmp_path):
    folder = tmp_path / "samples" / f"date={DAY.date()}"
    folder.mkdir(parents=True)
    about = {RUNS: runs_said([{"a": 3}])}
    frame(("a", 1, 1), ("a", 2, 2)).write_parquet(
        folder / "a-00000000-000000000001-000000000001-1of1.parquet", metadata=about
    )
    with pytest.raises(lake.LakeError, match="speak of other rows"):
        lake.stretch(tmp_path, ["a"], at(0), at(24), uncertain_is_good=False)

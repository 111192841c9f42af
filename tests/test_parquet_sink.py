"""The lake holds each batch once, whatever moment the agent died at."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from collector.backfill import import_file
from collector.sinks.parquet import Sink
from config.plant import Plant, Point
from config.plant import Sink as SinkConfig
from config.schema import SAMPLE, SchemaError

SPOOL = "0123456789abcdef"
LAKE = (SinkConfig(kind="parquet", path=Path("lake")),)


def frame(*rows):
    """SAMPLE rows from (point, ISO time, value)."""
    times = [dt.datetime.fromisoformat(ts) for _, ts, _ in rows]
    data = {"point": [p for p, _, _ in rows], "ts": times, "ts_recv": times, "value": [v for _, _, v in rows]}
    return (
        pl.DataFrame(data)
        .with_columns(text=pl.lit(None, pl.String), status=pl.lit(0))
        .select(pl.col(name).cast(dtype) for name, dtype in SAMPLE.items())
    )


TWO_DAYS = frame(("b", "2026-11-20T23:59:59+00:00", 1.0), ("a", "2026-11-21T00:00:00+00:00", 2.0),
                 ("a", "2026-11-20T10:00:00+00:00", 3.0))  # fmt: skip


@pytest.fixture
def sink(tmp_path):
    sink = Sink(SinkConfig(kind="parquet", path=tmp_path), Plant(id="p"), agent="gw1", spool=SPOOL)
    sink.start(0)
    return sink


def lake(tmp_path):
    return pl.read_parquet(tmp_path / "samples" / "*" / "*.parquet", hive_partitioning=False)


def test_a_write_makes_one_file_a_utc_day_sorted_by_point_and_time(sink, tmp_path):
    sink.write(TWO_DAYS, 1, 4)
    names = sorted(str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*.parquet"))
    assert names == [
        "samples/date=2026-11-20/gw1-01234567-000000000001-000000000004-1of2.parquet",
        "samples/date=2026-11-21/gw1-01234567-000000000001-000000000004-2of2.parquet",
    ]
    assert pl.read_parquet(tmp_path / names[0])["point"].to_list() == ["a", "b"]


def test_a_range_that_is_whole_moves_the_cursor_when_the_agent_died_before_noting_it(sink, tmp_path):
    sink.write(TWO_DAYS, 1, 4)
    assert sink.start(0) == 4
    assert lake(tmp_path).height == 3


def test_a_range_of_which_a_day_is_missing_is_taken_back_and_comes_again(sink, tmp_path):
    sink.write(TWO_DAYS, 1, 4)
    sink.write(TWO_DAYS, 5, 6)
    next(tmp_path.glob("samples/*/*000005-*-2of2.parquet")).unlink()
    assert sink.start(4) == 4
    assert lake(tmp_path).height == 3
    sink.write(TWO_DAYS, 5, 9)
    assert lake(tmp_path).height == 6


def test_half_written_files_are_removed_and_never_read(sink, tmp_path):
    sink.write(TWO_DAYS, 1, 1)
    torn = tmp_path / "samples" / "date=2026-11-21" / f".gw1-{SPOOL[:8]}-000000000002-000000000002-1of1.parquet.tmp"
    torn.write_bytes(b"PAR1 half")
    assert sink.start(1) == 1
    assert not torn.exists()


def test_files_of_other_agents_and_spools_are_left_alone(sink, tmp_path):
    other = Sink(SinkConfig(kind="parquet", path=tmp_path), Plant(id="p"), agent="gw2", spool="f" * 16)
    other.start(0)
    other.write(TWO_DAYS, 1, 4)
    assert sink.start(0) == 0
    assert lake(tmp_path).height == 3


def test_a_file_imported_again_brings_only_the_points_that_were_added_since(tmp_path):
    (tmp_path / "day.csv").write_text("ts,point,value\n1700000000000000000,a,1\n1700000001000000000,b,2\n")

    def imported(*points):
        plant = Plant(id="p", points=tuple(Point(point=p, asset="m") for p in points), sinks=LAKE, root=tmp_path)
        return import_file(plant, tmp_path / "day.csv")[0]

    assert [imported("a"), imported("a"), imported("a", "b"), imported("a", "b")] == [1, 0, 1, 0]
    assert sorted(lake(tmp_path / "lake")["point"]) == ["a", "b"]


def test_a_frame_of_another_shape_is_refused_by_name(sink):
    with pytest.raises(SchemaError, match="column 'status' is missing"):
        sink.write(TWO_DAYS.drop("status"), 1, 1)

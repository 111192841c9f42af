"""The lake holds each batch once, whatever moment the agent died at."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from collector.backfill import import_file
from collector.ledger import Ledger, read_ledger
from collector.quarantine import Quarantine
from collector.sinks.parquet import Sink
from collector.sinks.retention import Day, expired
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


def open_sink(tmp_path, agent="gw1", spool=SPOOL, **config):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    settings = SinkConfig(kind="parquet", path=tmp_path, **config)
    quarantine = Quarantine(tmp_path / "quarantine", ledger)
    return Sink(settings, Plant(id="p"), agent=agent, spool=spool, ledger=ledger, quarantine=quarantine)


@pytest.fixture
def sink(tmp_path):
    sink = open_sink(tmp_path)
    sink.start(())
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


def test_a_range_that_is_whole_counts_when_the_agent_died_before_noting_it(sink, tmp_path):
    sink.write(TWO_DAYS, 1, 4)
    assert sink.start(()) == ((1, 4),)
    assert sink.start(((0, 2),)) == ((0, 4),)
    assert lake(tmp_path).height == 3


def test_ranges_may_come_out_of_order_and_leave_holes(sink):
    sink.write(TWO_DAYS, 50, 60)
    sink.write(TWO_DAYS, 5, 9)
    sink.write(TWO_DAYS, 61, 62)
    assert sink.start(((0, 4),)) == ((0, 9), (50, 62))


def test_a_range_of_which_a_day_is_missing_is_taken_back_and_comes_again(sink, tmp_path):
    sink.write(TWO_DAYS, 1, 4)
    sink.write(TWO_DAYS, 5, 6)
    next(tmp_path.glob("samples/*/*000005-*-2of2.parquet")).unlink()
    assert sink.start(((0, 4),)) == ((0, 4),)
    assert lake(tmp_path).height == 3
    sink.write(TWO_DAYS, 5, 9)
    assert lake(tmp_path).height == 6


def test_what_is_known_to_be_stored_is_never_taken_back(sink, tmp_path):
    sink.write(TWO_DAYS, 5, 6)
    next(tmp_path.glob("samples/*/*000005-*-2of2.parquet")).unlink()
    assert sink.start(((0, 6),)) == ((0, 6),)
    assert lake(tmp_path).height == 2


def test_half_written_files_are_removed_and_never_read(sink, tmp_path):
    sink.write(TWO_DAYS, 1, 1)
    torn = tmp_path / "samples" / "date=2026-11-21" / f".gw1-{SPOOL[:8]}-000000000002-000000000002-1of1.parquet.tmp"
    torn.write_bytes(b"PAR1 half")
    assert sink.start(((0, 1),)) == ((0, 1),)
    assert not torn.exists()


def test_files_of_other_agents_and_spools_are_left_alone(sink, tmp_path):
    other = open_sink(tmp_path, "gw2", "f" * 16)
    other.start(())
    other.write(TWO_DAYS, 1, 4)
    next(tmp_path.glob("samples/*/gw2-*-1of2.parquet")).rename(tmp_path / "aside.parquet")
    assert sink.start(()) == ()
    (tmp_path / "aside.parquet").rename(
        tmp_path / "samples" / "date=2026-11-20" / "gw2-ffffffff-000000000001-000000000004-1of2.parquet"
    )
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


def test_an_import_stands_in_the_spools_ledger_with_what_was_left_out(tmp_path):
    (tmp_path / "day.csv").write_text("ts,point,value\n1700000000000000000,a,1\n1700000001000000000,zz,2\n")
    plant = Plant(id="p", points=(Point(point="a", asset="m"),), sinks=LAKE, root=tmp_path)
    import_file(plant, tmp_path / "day.csv")
    (entry,) = read_ledger(plant.resolve(plant.spool.path) / "ledger.jsonl")
    assert (entry["event"], entry["rows"], entry["file"], len(entry["sha256"])) == ("imported", 1, "day.csv", 64)
    assert entry["left_out"] == ["1 rows of point 'zz', which points.csv does not name"]


# Retention: 2026-11-21 is today.
TODAY = dt.date(2026, 11, 21)
DAY = 86_400_000_000_000
NOW = (TODAY - dt.date(1970, 1, 1)).days * DAY + DAY // 2


def ns(day):
    return (day - dt.date(1970, 1, 1)).days * DAY


def day(back, size=10, written=None):
    """The day so many days back, or of a date, written when it was present."""
    date = TODAY - dt.timedelta(days=back) if isinstance(back, int) else dt.date.fromisoformat(back)
    return Day(date=date, size=size, written=ns(date) + DAY // 2 if written is None else written)


def gone(days, keep_days=None, keep_size=None, now=NOW, newest=NOW):
    keep = None if keep_days is None else keep_days * DAY
    return [one.date for one, _ in expired(days, keep, keep_size, now, newest)]


WEEKS = [day(back) for back in range(30)]


def test_days_that_ended_longer_ago_than_keep_go_oldest_first():
    assert gone(WEEKS, keep_days=27) == [TODAY - dt.timedelta(days=29), TODAY - dt.timedelta(days=28)]
    assert gone(WEEKS) == []


def test_a_clock_that_is_set_ahead_removes_nothing_while_no_newer_samples_came():
    assert gone(WEEKS, keep_days=27, now=NOW + 4000 * DAY) == gone(WEEKS, keep_days=27)


def test_a_clock_far_ahead_that_stamps_samples_empties_no_lake():
    """So many days as `keep` says stay whatever the clock: each day of the wrong year makes one old day go."""
    ahead = NOW + 4000 * DAY
    wrong = Day(date=TODAY + dt.timedelta(days=4000), size=10, written=ahead)
    assert len(gone([*WEEKS, wrong], keep_days=27, now=ahead, newest=ahead)) == 4
    assert gone([*WEEKS[:20], wrong], keep_days=27, now=ahead, newest=ahead) == []


def test_an_agent_that_begins_in_1970_removes_nothing_by_age():
    assert gone(WEEKS, keep_days=27, now=DAY) == []


def test_a_day_of_long_ago_that_was_filled_today_is_kept_as_long_as_one_of_today():
    imported = day(400, written=NOW - DAY)
    assert gone([*WEEKS, imported], keep_days=40) == []
    assert gone([*WEEKS, day(400, written=NOW - 41 * DAY)], keep_days=27)[0] == imported.date


def test_the_size_takes_wild_days_of_the_future_first_then_the_oldest_and_never_the_present():
    wild = day("2262-04-11", written=NOW)
    assert gone([*WEEKS[:3], wild], keep_size=25) == [wild.date, TODAY - dt.timedelta(days=2)]
    assert gone([*WEEKS[:3], wild], keep_size=1) == [wild.date, *(TODAY - dt.timedelta(days=n) for n in (2, 1))]
    assert gone([*WEEKS[:3], day("1677-09-21", written=NOW)], keep_size=35) == [dt.date(1677, 9, 21)]


def test_a_clock_that_fell_behind_makes_no_good_day_one_of_the_future():
    assert gone(WEEKS[:3], keep_size=25, now=DAY) == [TODAY - dt.timedelta(days=2)]


def test_a_day_of_the_future_goes_by_age_when_it_was_written_that_long_ago():
    old, fresh = day("2262-04-11", written=NOW - 50 * DAY), day("2262-04-10", written=NOW - DAY)
    assert gone([*WEEKS[:3], old, fresh], keep_days=40) == [old.date]


def three_days(tmp_path, **config):
    sink = open_sink(tmp_path, **config)
    sink.start(())
    now = dt.datetime.now(dt.UTC)
    for back in (2, 1, 0):
        ts = (now - dt.timedelta(days=back)).isoformat()
        sink.write(frame(("a", ts, 1.0), ("b", ts, 2.0)), 3 - back, 3 - back)
    return sink, [str((now - dt.timedelta(days=back)).date()) for back in (2, 1, 0)]


def test_each_day_that_is_removed_stands_in_the_ledger_and_others_files_stay(tmp_path):
    sink, dates = three_days(tmp_path, keep_size="1KiB")
    sizes = [sum(f.stat().st_size for f in (tmp_path / "samples" / f"date={date}").iterdir()) for date in dates]
    note = tmp_path / "samples" / f"date={dates[0]}" / "note.txt"
    note.write_text("by hand")
    while sink.upkeep(3):
        pass
    assert sorted(f.parent.name for f in tmp_path.rglob("*.parquet")) == [f"date={dates[2]}"]
    assert note.exists()
    assert not (tmp_path / "samples" / f"date={dates[1]}").exists()
    first, others, second = read_ledger(tmp_path / "ledger.jsonl")
    assert (first["event"], first["reason"]) == ("retention", "past keep_size")
    assert {key: first[key] for key in ("day", "files", "rows", "bytes", "rule")} == {
        "day": dates[0], "files": 1, "rows": 2, "bytes": sizes[0], "rule": "keep_size",
    }  # fmt: skip
    assert others["names"] == ["note.txt"]
    assert second["day"] == dates[1]
    assert sink.start(((0, 3),)) == ((0, 3),)


def test_the_newest_receive_time_is_known_again_after_a_start(tmp_path):
    three_days(tmp_path)
    again = open_sink(tmp_path, keep="1d")
    again.clock = lambda: NOW + 4000 * DAY  # far ahead: the newest sample says what time it is
    again.start(((0, 3),))
    while again.upkeep(0):
        pass
    assert len(list(tmp_path.rglob("*.parquet"))) == 3


def test_without_keep_nothing_is_ever_removed(tmp_path):
    sink, _ = three_days(tmp_path)
    sink.clock = lambda: NOW + 4000 * DAY
    while sink.upkeep(0):
        pass
    assert len(list(tmp_path.rglob("*.parquet"))) == 3

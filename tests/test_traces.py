"""What of a package comes from samples alone: hashes anyone can compute, gaps that add up, samples that prove facts."""

import datetime as dt
import hashlib
import itertools
import math
import random
import re
import struct
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from config.plant import WEEKDAYS, Asset, Calendar, Plant, Point, Shift, Source
from config.schema import DURATIONS, SAMPLE
from config.status import BAD, BAD_NO_COMMUNICATION, BAD_TIMEOUT, GOOD, UNCERTAIN
from kpis.evidence import choice, reading
from kpis.evidence.hashes import differences, partitions_of
from kpis.evidence.sampled import traces_of
from kpis.evidence.traces import GAPS, PARTITIONS, TIMELINE
from kpis.facts import facts
from kpis.indicators import device_list
from kpis.stores import InfluxDB, Lake
from kpis.stores.base import without_receive_time
from tests import oracle
from tests.generated_plants import generate, to_frame
from tests.influx_peers import influxd
from tests.soak import cases
from tests.test_compaction import POINTS, fill, open_sink, tidy
from tests.test_compaction import START as BATCHED
from tests.test_partitions import lake_of
from tests.test_stores import lines, sink

SECOND = 10**9
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
MONDAY = 1_794_787_200 * SECOND  # 2026-11-16, 00:00 UTC, which is 08:00 in Shanghai
SEEDS = range(200, 200 + cases(6))


def rows(*told, point="press.state"):
    """A frame of (ts, value, status) or (ts, value, status, text), each received a second later."""
    samples = [(point, ts, ts + SECOND, value, (*text, None)[0], status) for ts, value, status, *text in told]
    return to_frame(samples)


def press(**settings):
    """A press in Shanghai that works from 08:00 to 16:00 on weekdays, with a break at noon; a sample holds 150 s."""
    shift = Shift.model_validate(
        {
            "name": "day",
            "start": dt.time(8),
            "end": dt.time(16),
            "breaks": [{"start": dt.time(12), "end": dt.time(12, 30)}],
        }
    )
    point = Point(point="press.state", asset="press", role="state", source="plc", address="1")
    base = {
        "id": "works",
        "timezone": "Asia/Shanghai",
        "sources": (Source(id="plc", kind="opcua", url="opc.tcp://127.0.0.1:4840", security="None"),),
        "assets": (Asset(asset="press"),),
        "points": (point,),
        "calendars": (Calendar(shifts=(shift,)),),
        "states": {"default": {"1": "production", "3": "delay"}},
    }
    return Plant(**base | settings)


def each_minute(first, last, status=GOOD, value=1.0):
    """Rows of the minutes [first, last) after 08:00 of the Monday."""
    return [(MONDAY + minute * MINUTE, value, status) for minute in range(first, last)]


def traces(plant, folder, frame, start=MONDAY, end=MONDAY + DAY):
    return traces_of(plant, lake_of(folder, frame), start, end)[1]


# --- hashes ---


def page():
    """The function that docs/evidence-samples.md shows."""
    text = (Path(__file__).parents[1] / "docs" / "evidence-samples.md").read_text(encoding="utf-8")
    found = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], found)
    return found["hash_of"]


HASH_OF = page()


def by_the_page(frame):
    """The hash of a frame of one point in order of time, as the page says."""
    return HASH_OF(frame.select(pl.col("ts").to_physical(), "value", "text", "status").iter_rows())


ODD = [
    (MONDAY, 1.0, GOOD),
    (MONDAY + 1, -0.0, GOOD),
    (MONDAY + 2, math.nan, GOOD),
    (MONDAY + 3, None, BAD_NO_COMMUNICATION),
    (MONDAY + 4, None, GOOD, ""),
    (MONDAY + 5, None, GOOD, "换型"),
    (MONDAY + 6, -math.inf, UNCERTAIN, "both"),
    (MONDAY + 7, 5e-324, GOOD),
]


def test_the_hash_of_a_day_is_that_of_the_ten_lines_on_the_page():
    frame = rows(*ODD)
    (row,) = partitions_of(frame, MONDAY, MONDAY + DAY).iter_rows(named=True)
    assert row == {"date": dt.date(2026, 11, 16), "point": "press.state", "rows": 8, "sha256": by_the_page(frame)}


def test_the_writing_of_one_row_is_these_bytes():
    (sha256,) = partitions_of(rows((MONDAY, 1.0, BAD, "ab")), MONDAY, MONDAY + DAY)["sha256"]
    written = MONDAY.to_bytes(8, "little") + bytes.fromhex("0000008003000000000000f03f02000000") + b"ab"
    assert sha256 == hashlib.sha256(written).hexdigest()


@pytest.mark.parametrize("place", range(len(ODD)))
@pytest.mark.parametrize("other", [(3.0, GOOD), (None, GOOD), (None, GOOD, "x"), (3.0, BAD), (math.nan, BAD)])
def test_a_row_that_says_another_thing_makes_another_hash(place, other):
    changed = [*ODD[:place], (ODD[place][0], *other), *ODD[place + 1 :]]
    mine, theirs = (partitions_of(rows(*each), MONDAY, MONDAY + DAY)["sha256"][0] for each in (ODD, changed))
    assert mine != theirs


def test_zeros_are_one_and_what_is_no_number_is_one_as_the_rules_take_them():
    plain, other = rows((MONDAY, 0.0, GOOD), (MONDAY + 1, math.nan, GOOD)), rows((MONDAY, -0.0, GOOD))
    payload = pl.Series([struct.unpack("<d", bytes.fromhex("010000000000f8ff"))[0]])
    other = pl.concat([other, rows((MONDAY + 1, 1.0, GOOD)).with_columns(value=payload)])
    assert_frame_equal(*(partitions_of(each, MONDAY, MONDAY + DAY) for each in (plain, other)))


def test_a_day_is_cut_at_midnight_of_utc_and_at_the_ends_of_the_period():
    frame = rows(*((MONDAY + n * HOUR, 1.0, GOOD) for n in range(-5, 30)))
    found = partitions_of(frame, MONDAY - 2 * HOUR, MONDAY + 25 * HOUR)
    assert found.select("date", "rows").rows() == [
        (dt.date(2026, 11, 15), 2), (dt.date(2026, 11, 16), 24), (dt.date(2026, 11, 17), 1),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_order_repeats_files_and_the_store_change_no_hash(seed, tmp_path):
    plant, samples, start, end = generate(seed)
    names = [point.point for point in plant.points]
    frame = to_frame(samples).filter(pl.col("point").is_in(names))
    expected = [
        (dt.date(1970, 1, 1) + dt.timedelta(days=day), point, len(mine), by_the_page(to_frame(mine)))
        for point in names
        for day in range(start // DAY, (end - 1) // DAY + 1)
        if (mine := [r for r in oracle.history(samples, point) if r[1] // DAY == day and start <= r[1] < end])
    ]
    expected = pl.DataFrame(sorted(expected), schema=dict(PARTITIONS), orient="row")
    random.Random(seed).shuffle(samples)
    twice = pl.concat([frame, frame.sample(fraction=0.5, seed=seed)])
    for variant in (frame, twice, without_receive_time(frame)):
        assert_frame_equal(partitions_of(variant, start, end), expected)
    assert_frame_equal(traces(plant, tmp_path, twice, start, end).partitions, expected)


def test_a_day_that_is_read_by_the_hour_has_the_same_hash(tmp_path, monkeypatch):
    plant, samples, start, end = generate(3)
    store = lake_of(tmp_path, to_frame(samples))
    whole = traces_of(plant, store, start, end)
    monkeypatch.setattr(reading, "PART_ROWS", -1)
    devices, by_hour = traces_of(plant, store, start, end)
    assert_frame_equal(devices, whole[0], check_exact=True)
    assert_frame_equal(by_hour.partitions, whole[1].partitions)
    assert_frame_equal(by_hour.gaps, whole[1].gaps)


def test_merging_of_a_lakes_files_changes_no_hash_and_no_sample(tmp_path):
    sink = open_sink(tmp_path)
    sink.start(())
    fill(sink, range(1, 11))
    points = tuple(Point(point=name, asset="press", role="measure", source="plc", address="1") for name in POINTS)
    of = press(points=points), Lake(tmp_path / "lake"), BATCHED - DAY, BATCHED + DAY
    before = traces_of(*of)[1]
    assert tidy(sink, 10) > 0
    after = traces_of(*of)[1]
    assert before.samples == 200
    assert_frame_equal(after.partitions, before.partitions)
    assert_frame_equal(after.extract, before.extract)


@pytest.mark.service
def test_an_influxdb_gives_the_hashes_and_gaps_that_the_lake_gives(tmp_path):
    plant, samples, start, end = generate(104)
    frame = to_frame(samples)
    with influxd(tmp_path) as server:
        server.query("CREATE DATABASE d")
        server.write(lines(frame, plant.id), "d")
        devices, found = traces_of(plant, InfluxDB(sink(server.url, "d"), plant), start, end)
    (tmp_path / "lake").mkdir()
    listed, expected = traces_of(plant, lake_of(tmp_path / "lake", frame), start, end)
    assert_frame_equal(devices, listed, check_exact=True)
    assert_frame_equal(found.partitions, expected.partitions)
    assert_frame_equal(found.gaps, expected.gaps)
    assert_frame_equal(found.timeline, expected.timeline)


def test_what_a_lake_has_otherwise_is_named_by_point_and_day(tmp_path):
    plant = press()
    stated = traces(plant, tmp_path / "a", rows(*each_minute(0, 9))).partitions
    same = lake_of(tmp_path / "b", rows(*each_minute(0, 9)))
    fewer = lake_of(tmp_path / "c", rows(*each_minute(0, 8)))
    others = lake_of(tmp_path / "d", rows(*each_minute(0, 8), *each_minute(8, 9, value=3.0)))
    more = lake_of(tmp_path / "e", rows(*each_minute(0, 9), *each_minute(1440, 1441)))
    period = MONDAY, MONDAY + 2 * DAY

    def told(store):
        return differences(stated, traces_of(plant, store, *period)[1].partitions)

    assert told(same) == []
    assert told(fewer) == ["2026-11-16 press.state: 8 rows, where the package was made of 9"]
    assert told(others) == ["2026-11-16 press.state: other samples than the package was made of (9 rows)"]
    assert told(more) == ["2026-11-17 press.state: 1 rows, where the package was made of 0"]


# --- gaps ---


def gaps(plant, folder, *told):
    """The gaps of the Monday from 08:00 on as (minute it begins, minute it ends, planned minutes, cause)."""
    found = traces(plant, folder, rows(*told)).gaps
    columns = found.select(pl.col("start", "end").to_physical(), "planned_ns", "cause").iter_rows()
    return [((a - MONDAY) / MINUTE, (b - MONDAY) / MINUTE, planned / MINUTE, cause) for a, b, planned, cause in columns]


def test_a_device_that_says_nothing_has_one_gap_of_all_its_planned_time(tmp_path):
    assert gaps(press(), tmp_path) == [(0, 1440, 450, "silent")]


def test_a_gap_begins_when_the_hold_ran_out_and_ends_with_the_next_good_sample(tmp_path):
    # The sample of minute 9 holds for two and a half minutes; from minute 480 on nothing is planned.
    told = [*each_minute(0, 10), *each_minute(20, 480)]
    assert gaps(press(), tmp_path, *told) == [(11.5, 20, 8.5, "silent")]


def test_a_gap_is_named_by_what_its_rows_said(tmp_path):
    told = [
        *each_minute(0, 10),
        *each_minute(10, 13, BAD_TIMEOUT, None),
        *each_minute(13, 20, BAD_NO_COMMUNICATION, None),
    ]
    assert gaps(press(), tmp_path, *told, *each_minute(20, 480)) == [(10, 20, 10, "BadNoCommunication")]


def test_of_as_many_rows_the_lowest_status_names_the_gap(tmp_path):
    told = [
        *each_minute(0, 10),
        *each_minute(10, 12, BAD_NO_COMMUNICATION, None),
        *each_minute(12, 14, BAD_TIMEOUT, None),
    ]
    assert gaps(press(), tmp_path, *told, *each_minute(14, 480)) == [(10, 14, 4, "BadTimeout")]


def test_rows_that_are_good_and_say_nothing_and_statuses_without_a_name_have_causes_too(tmp_path):
    told = [
        *each_minute(0, 10),
        *each_minute(10, 20, GOOD, None),
        *each_minute(20, 30),
        *each_minute(30, 40, 0x80AB_0000),
    ]
    assert gaps(press(), tmp_path, *told, *each_minute(40, 480)) == [
        (10, 20, 10, "no_value"), (30, 40, 10, "0x80AB0000"),
    ]  # fmt: skip


def test_an_uncertain_sample_makes_a_gap_only_where_the_plant_does_not_trust_it(tmp_path):
    told = [*each_minute(0, 10), *each_minute(10, 20, UNCERTAIN), *each_minute(20, 480)]
    assert gaps(press(), tmp_path / "a", *told) == [(10, 20, 10, "Uncertain")]
    assert gaps(press(uncertain="good"), tmp_path / "b", *told) == []


def test_breaks_and_nights_without_data_are_no_gaps_of_their_own(tmp_path):
    told = [*each_minute(0, 238), *each_minute(270, 479)]  # the sample of 11:57 holds until 11:59:30
    assert gaps(press(), tmp_path / "a", *told) == [(239.5, 270, 0.5, "silent")]
    assert gaps(press(), tmp_path / "b", *each_minute(0, 239), *each_minute(270, 479)) == []


def test_a_gap_over_midnight_is_one_gap(tmp_path):
    frame = rows(*each_minute(0, 1400), *each_minute(1500, 2880))  # midnight of UTC is after 1440 minutes
    found = traces(press(calendars=()), tmp_path, frame, MONDAY, MONDAY + 2 * DAY).gaps
    (gap,) = found.select(pl.col("start", "end").to_physical(), "planned_ns", "cause").rows()
    begin = MONDAY + 1401 * MINUTE + 30 * SECOND
    assert gap == (begin, MONDAY + 1500 * MINUTE, MONDAY + 1500 * MINUTE - begin, "silent")


def test_a_gap_is_cut_at_the_ends_of_the_period(tmp_path):
    found = traces(press(calendars=()), tmp_path, rows(*each_minute(60, 120)), MONDAY + HOUR // 2, MONDAY + 3 * HOUR)
    ends = found.gaps.select(pl.col("start", "end").to_physical()).rows()
    assert ends == [(MONDAY + HOUR // 2, MONDAY + HOUR), (MONDAY + 121 * MINUTE + 30 * SECOND, MONDAY + 3 * HOUR)]


def test_a_device_is_known_while_any_of_its_points_is(tmp_path):
    points = tuple(
        Point(point=f"press.{role}", asset="press", role=role, source="plc", address=role)
        for role in ("state", "total")
    )
    frame = pl.concat([rows(*each_minute(0, 100)), rows(*each_minute(90, 479), point="press.total")])
    assert traces(press(points=points), tmp_path, frame).gaps.is_empty()


def spoken(plant, samples, asset, start, end):
    """The gaps of an asset, instant by instant from the rules: (start, end, planned [ns], cause)."""
    own = plant.points_of(asset.asset)
    held = [
        (h.start, h.end)
        for point in own
        for h in oracle.held(plant, point.model_copy(update={"role": "measure"}), samples)
    ]
    work = [(a, b) for *_, a, b, kind in oracle.planned(plant, asset.asset, start, end) if kind == "work"]
    cuts = sorted({start, end, *(t for pair in held for t in pair if start < t < end)})
    found = []
    for a, b in itertools.pairwise(cuts):
        if not any(begin <= a < until for begin, until in held):
            found.append((found.pop()[0], b) if found and found[-1][1] == a else (a, b))
    told = []
    for a, b in found:
        planned = sum(max(0, min(b, end_) - max(a, begin)) for begin, end_ in work)
        inside = [r[5] for point in own for r in oracle.history(samples, point.point) if a <= r[1] < b]
        most = min(inside, key=lambda status: (-inside.count(status), status), default=None)
        names = {
            None: "silent",
            BAD: "Bad",
            BAD_NO_COMMUNICATION: "BadNoCommunication",
            UNCERTAIN: "Uncertain",
            GOOD: "no_value",
        }
        if planned:
            told.append((a, b, planned, names[most]))
    return told


@pytest.mark.parametrize("seed", SEEDS)
def test_gaps_are_those_of_the_rules_and_with_known_time_come_to_planned_time(seed, tmp_path):
    plant, samples, start, end = generate(seed)
    devices, found = traces_of(plant, lake_of(tmp_path, to_frame(samples)), start, end)
    assert found.gaps.schema == GAPS
    expected = [(asset.asset, *gap) for asset in plant.assets for gap in spoken(plant, samples, asset, start, end)]
    assert found.gaps.with_columns(pl.col("start", "end").to_physical()).rows() == expected
    lost = dict(found.gaps.group_by("asset").agg(pl.sum("planned_ns")).iter_rows())
    for row in devices.iter_rows(named=True):
        assert lost.get(row["asset"], 0) + row["evidenced_ns"] == row["planned_ns"]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_device_list_is_the_one_that_is_computed_alone(seed, tmp_path):
    plant, samples, start, end = generate(seed)
    store = lake_of(tmp_path, to_frame(samples))
    expected = device_list.devices_of_store(plant, store, start, end)
    assert_frame_equal(traces_of(plant, store, start, end)[0], expected, check_exact=True)


# --- extract and timeline ---


def inside(frame, first, last):
    at = pl.col("start").to_physical() >= first, pl.col("end").to_physical() <= last
    return frame.filter(at).sort("asset", "start", "hour", "product", "ideal_cycle")


def day_by_day(monkeypatch):
    """Every period is too large to be its own extract, no day is."""
    monkeypatch.setattr(choice, "WHOLE_ROWS", 0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("largest", [10**9, 0])
def test_facts_of_the_extract_are_the_rows_of_the_whole_periods_facts(seed, largest, tmp_path, monkeypatch):
    day_by_day(monkeypatch)
    monkeypatch.setattr(choice, "DAY_ROWS", largest)
    plant, samples, start, end = generate(seed)
    frame = to_frame(samples)
    found = traces(plant, tmp_path, frame, start, end)
    first, last = found.extract_period
    assert start <= first < last <= end
    assert last - first <= (25 * HOUR if largest else HOUR)
    of_extract = inside(facts(plant, found.extract, first, last), first, last)
    assert_frame_equal(of_extract, inside(facts(plant, frame, start, end), first, last), check_exact=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_time_of_each_element_is_that_of_the_facts(seed, tmp_path):
    plant, samples, start, end = generate(seed)
    found = traces(plant, tmp_path, to_frame(samples), start, end)
    assert found.extract_period == (start, end)
    line = found.timeline.with_columns(pl.col("start", "end").to_physical())
    assert found.timeline.schema == TIMELINE
    of_facts = facts(plant, found.extract, start, end)
    told = set(line["asset"].unique())
    assert told == {p.asset for p in plant.points if p.role == "state"} | {
        p.asset for p in plant.points if p.role in ("total", "good")
    }
    for asset in told:
        mine, sums = line.filter(asset=asset), of_facts.filter(asset=asset)
        assert mine["start"].to_list() == [start, *mine["end"].to_list()[:-1]]
        assert mine["end"][-1] == end
        assert (mine["element"] != mine["element"].shift(1)).drop_nulls().all()
        spent = dict(mine.group_by("element").agg((pl.col("end") - pl.col("start")).sum()).iter_rows())
        for element in DURATIONS:
            assert spent.get(element, 0) == sums[element].dt.total_nanoseconds().sum()


def test_a_small_period_is_its_own_extract(tmp_path):
    found = traces(press(), tmp_path, rows(*each_minute(0, 480)))
    assert found.extract_period == (MONDAY, MONDAY + DAY)
    assert (found.samples, found.extract.height) == (480, 480)
    assert found.extract.schema == SAMPLE


def test_rows_of_an_extract_prove_the_hashes_of_its_days(tmp_path, monkeypatch):
    day_by_day(monkeypatch)
    period = MONDAY - 3 * DAY + HOUR, MONDAY + 4 * DAY
    found = traces(press(), tmp_path, rows(*each_minute(-4 * 1440, 5 * 1440)), *period)
    first, last = choice.utc_days(found.extract_period)
    assert last - first == 2 * DAY  # a day in Shanghai lies in two of UTC
    again = partitions_of(found.extract, max(first, period[0]), last)
    days = found.partitions.filter(pl.col("date").is_in(again["date"].to_list()))
    assert differences(days, again) == []


def week_of(*more):
    """PARTITIONS of a week with a row an hour."""
    frame = rows(*((MONDAY + n * HOUR, 1.0, GOOD) for n in range(7 * 24)), *more)
    return partitions_of(frame, MONDAY, MONDAY + 7 * DAY)


def chosen(table, plant=None):
    return choice.period(plant or press(), table, MONDAY, MONDAY + 7 * DAY)


def test_which_day_is_taken_follows_from_the_hashes_as_the_page_says(monkeypatch):
    day_by_day(monkeypatch)
    table = week_of()
    lines = "".join(
        f"{row['date']} {row['rows']} {row['sha256']} {row['point']}\n" for row in table.iter_rows(named=True)
    )
    digest = hashlib.sha256(lines.encode()).digest()
    place = int.from_bytes(digest[:16], "big") % 7
    # The middle of a UTC day is 20:00 in Shanghai: the day there begins at 16:00 of UTC the day before.
    begin = MONDAY + place * DAY - 8 * HOUR
    assert chosen(table) == (max(begin, MONDAY), begin + DAY)
    monkeypatch.setattr(choice, "DAY_ROWS", 0)
    hours = (begin + DAY - max(begin, MONDAY)) // HOUR
    hour = max(begin, MONDAY) + int.from_bytes(digest[16:], "big") % hours * HOUR
    assert chosen(table) == (hour, hour + HOUR)


def test_another_sample_anywhere_may_choose_another_day(monkeypatch):
    day_by_day(monkeypatch)
    days = {chosen(week_of((MONDAY + n, 1.0, GOOD))) for n in range(1, 30)}
    assert len(days) == 7


def test_a_day_of_very_many_samples_is_counted_by_the_days_that_it_touches(monkeypatch):
    day_by_day(monkeypatch)
    monkeypatch.setattr(choice, "DAY_ROWS", 48)
    whole = chosen(week_of())
    assert whole[1] - whole[0] > HOUR
    monkeypatch.setattr(choice, "DAY_ROWS", 23)
    hour = chosen(week_of())
    assert whole[0] <= hour[0] < hour[1] <= whole[1]
    assert hour[1] - hour[0] == HOUR


@pytest.mark.parametrize(
    "zone", ["Asia/Kathmandu", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Kiritimati", "Etc/GMT+12"]
)
def test_in_every_zone_a_day_of_the_plant_proves_its_facts_with_shifts_over_midnight(zone, tmp_path, monkeypatch):
    day_by_day(monkeypatch)
    night = Shift.model_validate(
        {
            "name": "night",
            "start": dt.time(21, 40),
            "end": dt.time(6, 10),
            "breaks": [{"start": dt.time(23, 50), "end": dt.time(0, 20)}],
        }
    )
    points = tuple(
        Point(point=f"press.{role}", asset="press", role=role, source="plc", address=role)
        for role in ("state", "total")
    )
    plant = press(
        timezone=zone,
        day_start=dt.time(6, 30),
        calendars=(Calendar(shifts=(night,), weekdays=WEEKDAYS),),
        points=points,
    )
    states = [(MONDAY + n * MINUTE, 1.0 if n // 45 % 3 else 3.0, GOOD) for n in range(-1440, 6 * 1440)]
    totals = [(MONDAY + n * 10 * MINUTE + 7, float(n + 144), GOOD) for n in range(-144, 6 * 144)]
    frame = pl.concat([rows(*states), rows(*totals, point="press.total")])
    start, end = MONDAY + HOUR // 3, MONDAY + 5 * DAY
    found = traces(plant, tmp_path, frame, start, end)
    first, last = found.extract_period
    midnights = [ns for ns in found.extract_period if ns not in (start, end)]
    local = pl.Series(midnights).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(zone)
    assert midnights
    assert (local.dt.time() == dt.time()).all()
    of_extract = inside(facts(plant, found.extract, first, last), first, last)
    assert of_extract["production"].sum() > dt.timedelta(0)
    assert_frame_equal(of_extract, inside(facts(plant, frame, start, end), first, last), check_exact=True)


def test_progress_goes_from_nothing_to_all_and_never_back(tmp_path):
    plant, samples, start, end = generate(7)
    told = []
    traces_of(plant, lake_of(tmp_path, to_frame(samples)), start, end, progress=lambda *each: told.append(each))
    shares = [share for _, share in told]
    assert (shares[0], shares[-1]) == (0, 1)
    assert shares == sorted(shares)

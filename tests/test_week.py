"""A week of ten machines, through the spool into the lake and into an InfluxDB that is killed twice on the way."""

import asyncio
import datetime as dt

import numpy as np
import polars as pl
import pytest

from collector.payload import encoded
from collector.spool import Spool
from config.plant import Asset, Calendar, Point, Shift, Sink
from config.schema import SAMPLE
from config.status import BAD_NO_COMMUNICATION, GOOD, UNCERTAIN
from kpis.compute import Basis, Window, results, subjects_of
from kpis.demand import demand
from kpis.facts import facts
from kpis.indicators import networking
from kpis.stores import KINDS, store_of
from kpis.stores.base import without_receive_time
from tests.influx_peers import influxd
from tests.running import plant_for, running, until

S = 1_000_000_000
HOUR, DAY = 3600 * S, 86_400 * S
MONDAY = 1_763_913_600 * S  # 2025-11-24T00:00:00+08:00
WEEK = (MONDAY, MONDAY + 7 * DAY)
WORDS = {"运行": "production", "换模": "setup", '停机 "E-12", door': "delay", "wait,order=0\\": "idle"}
NUMBERS = {"1": "production", "2": "setup", "3": "delay", "4": "idle"}
BATCH = 20_000


def week_plant(root, url):
    assets, points = [], []
    for n in range(10):
        name = f"line{n % 3}/m{n}"
        assets.append(Asset(asset=name, ideal_cycle=4.0))
        states = "words" if n % 2 else "numbers"
        points.append(Point(point=f"m{n}.state", asset=name, role="state", states=states, max_hold="150s"))
        for role in ("total", "good", "reject"):
            modulus = 65_536 if n == 4 else None
            points.append(Point(point=f"m{n}.{role}", asset=name, role=role, modulus=modulus, max_rate=2.0))
        points.append(Point(point=f"m{n}.power", asset=name, role="power.electricity", unit="kW"))
    day, night = (dt.time(8), dt.time(20)), (dt.time(20), dt.time(8))
    shifts = tuple(Shift(name=name, start=a, end=b) for name, (a, b) in (("早班", day), ("夜班", night)))
    sinks = (
        Sink(kind="parquet", path="lake"),
        Sink(kind="influxdb", url=url, api="v1", database="week"),
    )
    return plant_for(
        root, [], assets, points, id="江宁", calendars=(Calendar(shifts=shifts),),
        states={"words": WORDS, "numbers": NUMBERS}, sinks=sinks,
    )  # fmt: skip


def week(plant):
    """SAMPLE rows of a week and the day around it, in the order in which they came; the same ones each time."""
    rng = np.random.default_rng(11)
    rows = pl.concat([point_rows(point, rng) for point in plant.points])
    return rows.sort("ts_recv", "point", "ts")


def point_rows(point, rng):
    """A row each 10 to 60 s with all that happens: gaps, bad and uncertain ones, late ones, ones that came again."""
    ts = WEEK[0] - 12 * HOUR + np.cumsum(rng.integers(10 * S, 50 * S, 25_000))
    ts = ts[ts < WEEK[1] + 6 * HOUR]
    n = len(ts)
    late = np.where(rng.random(n) < 0.01, rng.integers(0, 6 * HOUR, n), 0)
    frame = pl.DataFrame({"ts": ts, "ts_recv": ts + rng.integers(S // 1000, S, n) + late}).with_columns(
        *said(point, ts, rng),
        point=pl.lit(point.point),
        status=pl.Series(rng.choice([GOOD, UNCERTAIN, 0x8005_0000, GOOD], n, p=[0.9, 0.03, 0.02, 0.05])),
    )
    for begin in rng.choice(ts, 6, replace=False):  # the link is lost: a row that says so, then none
        inside = (pl.col("ts") > begin) & (pl.col("ts") < begin + rng.integers(60 * S, 5 * HOUR))
        lost = pl.col("ts") == begin
        frame = frame.filter(~inside).with_columns(
            pl.when(~lost).then(pl.col("value", "text")),
            status=pl.when(lost).then(BAD_NO_COMMUNICATION).otherwise("status"),
        )
    # Corrected afterwards, and delivered twice: the one received last counts.
    again = frame.filter((pl.col("status") == GOOD) & pl.col("value").is_not_null()).gather_every(97)
    mended = again.with_columns(pl.col("value") + 1, pl.col("ts_recv") + 90 * S)
    return pl.concat([frame, mended, again]).select(pl.col(name).cast(dtype) for name, dtype in SAMPLE.items())


def said(point, ts, rng):
    """What a point says at its times: columns value and text."""
    if point.role == "state":
        spell = (ts // (7 * 60 * S) * 2_654_435_761) % 10  # changes every seven minutes
        code = np.array([1, 1, 1, 1, 1, 1, 2, 3, 3, 4])[spell]
        if point.states == "words":
            return pl.lit(None, pl.Float64).alias("value"), pl.Series("text", np.array(list(WORDS))[code - 1])
        return pl.Series("value", code.astype(float)), pl.lit(None, pl.String).alias("text")
    if point.role.startswith("power"):
        value = 20 + 10 * np.sin(ts / (3 * HOUR)) + rng.normal(0, 0.1, len(ts))
        value[::500] = np.nan  # a meter that has nothing to say
        value[7::500] = np.inf
    else:
        share = {"total": 0.25, "good": 0.24, "reject": 0.01}[point.role]
        value = np.floor((ts - ts[0]) / S * share)
        value = value % point.modulus if point.modulus else value - np.where(ts > ts[9000], value[9000], 0)
    return pl.Series("value", value), pl.lit(None, pl.String).alias("text")


def fill_spool(plant, samples):
    spool = Spool(plant.resolve(plant.spool.path))
    try:
        for first in range(0, samples.height, BATCH):
            batch = samples[first : first + BATCH]
            spool.put(encoded(batch), batch.height)
    finally:
        spool.close()


def everything(plant, samples):
    """All that is ever computed of a window: RESULT rows by every period, and the devices."""
    basis = Basis(facts(plant, samples, *WEEK), demand(plant, samples, *WEEK))
    subjects = subjects_of(plant)
    kpis = [results(plant, basis, Window(*WEEK, by), subjects) for by in ("total", "day", "shift")]
    return pl.concat(kpis), networking.devices(plant, samples, *WEEK)


@pytest.mark.service
def test_a_week_of_ten_machines_is_in_both_stores_row_for_row_though_one_was_killed_twice(tmp_path):
    with influxd(tmp_path) as server:
        server.query("CREATE DATABASE week")
        plant = week_plant(tmp_path, server.url)
        samples = week(plant)
        assert samples.height > 1_000_000
        fill_spool(plant, samples)

        def stored():
            series = server.query("SELECT count(status), count(value) FROM samples", "week")
            return series[0]["values"][0][2] if series else 0

        async def drain():
            async with running(plant, connected=False) as agent:
                for part in (0.3, 0.6):
                    await until(lambda part=part: stored() > part * samples.height, 60)
                    server.kill()
                    assert agent.status.sinks["influxdb"].rows < samples.height  # in the midst of it
                    await until(lambda: agent.status.sinks["influxdb"].error)
                    server.start()
                await until(lambda: all(sink.cursor == agent.spool.last for sink in agent.status.sinks.values()), 60)
                await until(lambda: agent.status.sinks["influxdb"].figures.get("retries", 0) >= 2)

        asyncio.run(drain())
        points = [point.point for point in plant.points]
        lake, other = (store_of(plant, kind) for kind in KINDS)
        assert lake.extent(points) == other.extent(points)
        from_lake, from_influx = lake.read(points, *WEEK), other.read(points, *WEEK)

    order = ["point", "ts"]
    whole = without_receive_time(samples).sort(order)
    assert same(without_receive_time(from_lake).sort(order), from_influx.sort(order))
    inside = pl.col("ts").to_physical().is_between(*WEEK, closed="left")
    assert same(from_influx.filter(inside).sort(order), whole.filter(inside))  # and it is what was sent
    figures, devices = everything(plant, from_lake)
    others = everything(plant, from_influx)
    assert figures.height > 1000
    assert figures["value"].null_count() < figures.height / 10
    assert figures.equals(others[0], null_equal=True)
    assert devices.equals(others[1], null_equal=True)


def same(mine, theirs):
    """Whether two sorted frames are equal to the bit."""
    bits = pl.col("value").fill_null(0).reinterpret(signed=True).alias("bits")
    return mine.with_columns(bits).equals(theirs.with_columns(bits), null_equal=True)

"""Recordings of real machines through the whole path: server, connector, spool, lake, KPI."""

import asyncio
import math
import time

import polars as pl
import pytest

from config.plant import Asset, Point, Source
from config.status import GOOD
from connectors.sim.player import ModbusPlayer, OpcuaPlayer, columns
from kpis.compute import Basis, Window, results
from kpis.demand import demand
from kpis.facts import facts
from kpis.stores import lake
from tests.recordings import okuma, shared_data, steel
from tests.running import lake_of, plant_for, running, until

DATA = shared_data()
pytestmark = pytest.mark.skipif(DATA is None, reason="the recordings are not beside the repository")

MTCONNECT = {"ACTIVE": "production", "READY": "idle", "PROGRAM_COMPLETED": "idle", "STOPPED": "delay"}
SUBSCRIBED = {"source": "line", "asset": "machine", "mode": "subscribe", "heartbeat": "1h", "max_hold": "2h"}
# first line of the session: seconds in ACTIVE, parts made (from the recordings' description)
SESSIONS = {1: 186.7296259, 1390: 604.9626786, 6328: 548.9318815, 10605: 16.7518982}


async def play_opcua(tmp_path, table, points, states=None, **settings):
    """Play a table over OPC UA as fast as it goes; returns the plant and how many rows were played."""
    first = table["ts"][0]
    end = pl.DataFrame({"ts": [first], "point": ["end"], "value": ["0"]}, schema=table.schema)
    points = [*points, Point(point="end", address="ns=2;s=end", **SUBSCRIBED)]
    async with OpcuaPlayer(pl.concat([table, end]), speed=math.inf) as player:
        source = Source(id="line", kind="opcua", url=player.endpoint, security="None", period="50ms")
        plant = plant_for(tmp_path, [source], [Asset(asset="machine")], points, states=states or {}, **settings)
        async with running(plant) as agent:
            played = await player.play()
            await player.drained()
            # What was published before the end is in the lake once the end is.
            await player.put("end", 1, time.time_ns())
            await until(lambda: agent.status.sinks["parquet"].rows and lake_says_end(plant))
    return plant, played - 1


def lake_says_end(plant):
    return lake_of(plant).filter((pl.col("point") == "end") & (pl.col("value") == 1.0)).height > 0


def kpis_of(plant, start, end):
    samples = lake.read(plant.root / "lake", [p.point for p in plant.points], start, end)
    basis = Basis(facts(plant, samples, start, end), demand(plant, samples, start, end))
    return {r["kpi"]: r for r in results(plant, basis, Window(start, end), ["machine"]).iter_rows(named=True)}


@pytest.mark.parametrize("session", SESSIONS)
def test_an_okuma_session_has_its_active_seconds_and_its_part(session, tmp_path):
    recorded = okuma(DATA / "okuma.txt").filter(pl.col("session") == session)
    table = recorded.select("ts", point="item", value="value")
    roles = {"pexecution": "state", "ppartcount": "total"}
    points = [
        Point(point=item, role=roles.get(item, "measure"), states="mtconnect", store="all", address=f"ns=2;s={item}",
              **SUBSCRIBED)
        for item in columns(table)
    ]  # fmt: skip
    plant, _ = asyncio.run(play_opcua(tmp_path, table, points, {"mtconnect": MTCONNECT}))
    own = recorded.filter(pl.col("item").is_in(list(roles)))["ts"].to_physical()
    found = kpis_of(plant, own.min(), own.max() + 1)
    assert found["availability"]["numerator"] == pytest.approx(SESSIONS[session], abs=0.2)
    assert found["produced_quantity"]["value"] == 1.0

    # And every row lies in the lake. Not of points that became unavailable: that is said as of now, not of 2022.
    lost = table.filter(pl.col("value") == "UNAVAILABLE")["point"].unique()
    kept = lake_of(plant).select("point", pl.col("ts").dt.epoch("us"))  # OPC UA times have microseconds here
    said = table.filter(~pl.col("point").is_in(lost.implode())).select("point", pl.col("ts").dt.epoch("us"))
    assert said.height > 200
    assert said.join(kept, on=["point", "ts"], how="anti").is_empty()


def test_a_year_of_a_steel_plants_meter_over_opc_ua_has_its_energy_maximum_demand_and_load_factor(tmp_path):
    year = steel(DATA / "steel.csv")
    start = year["ts"][0] - pl.Series([900_000_000_000]).cast(pl.Duration("ns"))[0]
    zero = pl.DataFrame({"ts": [start], "meter": [0]}, schema=year.schema)
    table = pl.concat([zero, year]).select("ts", point=pl.lit("meter"), value=pl.col("meter").cast(pl.String))
    meter = Point(point="meter", role="energy.electricity", unit="kWh", scale=0.01, address="ns=2;s=meter",
                  store="all", **SUBSCRIBED)  # fmt: skip
    plant, played = asyncio.run(play_opcua(tmp_path, table, [meter], timezone="Asia/Seoul"))
    stamps = table["ts"].to_physical()
    found = kpis_of(plant, stamps[0], stamps[-1])
    assert found["energy_consumption"]["value"] == pytest.approx(959_640.31, abs=1e-6)
    assert found["maximum_demand"]["value"] == pytest.approx(628.72, abs=1e-6)
    assert round(found["load_factor"]["value"], 5) == 0.17424
    assert found["load_factor"]["coverage"] == 1.0
    assert played == 35_041


def test_the_steel_plants_maximum_demand_stands_at_the_interval_that_ends_at_9_45(tmp_path):
    year = steel(DATA / "steel.csv").filter(
        pl.col("ts").dt.convert_time_zone("Asia/Seoul").dt.date() == pl.date(2018, 11, 22)
    )
    table = year.select("ts", point=pl.lit("meter"), value=pl.col("meter").cast(pl.String))
    meter = Point(point="meter", role="energy.electricity", unit="kWh", scale=0.01, address="ns=2;s=meter",
                  store="all", **SUBSCRIBED)  # fmt: skip
    plant, _ = asyncio.run(play_opcua(tmp_path, table, [meter], timezone="Asia/Seoul"))
    stamps = table["ts"].to_physical()
    samples = lake.read(tmp_path / "lake", ["meter"], stamps[0], stamps[-1])
    highest = demand(plant, samples, stamps[0], stamps[-1]).sort("quantity")[-1]
    assert str(highest["start"].dt.convert_time_zone("Asia/Seoul")[0])[:16] == "2018-11-22 09:30"
    assert highest["quantity"].to_list() == [157_180_000]  # 157.18 kWh in 15 min are 628.72 kW


def test_a_week_of_the_meter_over_modbus_counts_exactly_what_it_counted(tmp_path):
    week = steel(DATA / "steel.csv").head(7 * 96)
    table = week.select("ts", point=pl.lit("meter"), value=pl.col("meter").cast(pl.String))
    counted = (week["meter"][-1] - week["meter"][0]) / 100

    async def collect():
        async with ModbusPlayer(table, speed=math.inf) as player:
            address, kind = player.addresses["meter"]
            source = Source(id="line", kind="modbus", url=player.endpoint, period="5ms")
            point = Point(point="meter", asset="machine", role="energy.electricity", unit="kWh", scale=0.01,
                          source="line", address=f"1/holding:{address}", type=kind)  # fmt: skip
            plant = plant_for(tmp_path, [source], [Asset(asset="machine")], [point])
            player.put_first()
            async with running(plant) as agent:
                await player.play(hold=0.01)
                seen = agent.status.sources["line"].readings
                await until(lambda: agent.status.sources["line"].readings > seen + 5)
            assert set(player.requests) == {3}
        return plant

    plant = asyncio.run(collect())
    rows = lake_of(plant)
    good = rows.filter(pl.col("status") == GOOD)
    start, end = good["ts"].to_physical()[0], good["ts"].to_physical()[-1]
    found = kpis_of(plant, start, end + 1)
    assert found["energy_consumption"]["value"] == pytest.approx(counted, abs=1e-6)
    assert good["value"].n_unique() > 300

"""The simulated plant: its truth is exact, and its servers say that truth to real clients."""

import asyncio
import csv
import datetime as dt
import json
import time
import tomllib

import numpy as np
import paho.mqtt.client as paho
import polars as pl
import pytest
from asyncua import Client, ua
from paho.mqtt.enums import CallbackAPIVersion
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException

from config.plant import Asset, Calendar, Point, Product, Source
from config.status import BAD_NO_COMMUNICATION
from connectors.sim import machine as sim
from connectors.sim.machine import Machine, Phase, counts_at, energy_at, meter_steps, state_at
from connectors.sim.modbus import ModbusMachines, ModbusServer, machine_registers, words
from connectors.sim.mqtt import MqttMachine, embedded_broker, payload, schedule
from connectors.sim.opcua import OpcuaMachines, datetime_of
from connectors.sim.plant import MILLS, REST, SECOND, build
from connectors.sim.player import ModbusPlayer, OpcuaPlayer, columns
from connectors.sim.register import Endpoints, write_plant
from connectors.sim.timeline import ROLES, changes, instants, is_out, values_at
from connectors.sim.truth import truth, truth_table

MS = 1_000_000
START = 1_790_000_000 * SECOND
PLANT = build(START, 24 * SECOND)
EVERY_MACHINE = pytest.mark.parametrize("machine", PLANT.machines, ids=lambda machine: machine.name)


def quick_machine(anchor: int, outages: tuple[tuple[int, int], ...] = ()) -> Machine:
    """A machine that makes 12 pieces of two products in 900 ms."""
    return Machine(
        asset="line9/quick1",
        anchor=anchor,
        phases=(
            Phase(start=0, state=sim.IDLE, product="A"),
            Phase(start=200 * MS, state=sim.PRODUCTION, product="A"),
            Phase(start=500 * MS, state=sim.SETUP, product="B"),
            Phase(start=600 * MS, state=sim.PRODUCTION, product="B"),
            Phase(start=900 * MS, state=sim.IDLE, product="B"),
        ),
        products=(
            sim.Product(name="A", cycle=50 * MS, ideal_cycle=40 * MS),
            sim.Product(name="B", cycle=50 * MS, ideal_cycle=45 * MS),
        ),
        seed=4,
        reject_share=0.3,
        total_start=100,
        reject_start=7,
        run_power=600_000,
        outages=outages,
    )


# The truth


def test_states_counts_and_energy_of_a_machine_to_check_by_eye():
    machine = quick_machine(0)
    t = np.array([0, 199, 200, 250, 499, 500, 600, 900, 2000]) * MS
    assert state_at(machine, t).tolist() == [4, 4, 1, 1, 1, 2, 1, 4, 4]
    assert (counts_at(machine, t)["total"] - 100).tolist() == [0, 0, 0, 1, 5, 6, 6, 12, 12]
    # 600 kW for 300 ms are 180 kJ, 5 steps of 36 kJ; setup adds 3.6 kJ; then 180 kJ again
    assert energy_at(machine, t).tolist() == [0, 0, 0, 0, 4, 5, 5, 10, 10]
    counts = counts_at(machine, t)
    assert (counts["good"] + counts["reject"] == counts["total"]).all()
    assert counts["reject"][-1] > 7


def test_the_truth_of_a_window_to_check_by_eye():
    found = truth(quick_machine(0), 100 * MS, 700 * MS)
    assert found.elements == {
        "production": 400 * MS,
        "setup": 100 * MS,
        "delay": 0,
        "idle": 100 * MS,
        "planned": 0,
    }
    assert found.total == {"A": 6, "B": 2}
    assert found.ideal_total == 6 * 40 * MS + 2 * 45 * MS


def test_a_piece_done_at_the_border_belongs_to_the_window_that_ends_there():
    machine, border = quick_machine(0), 250 * MS  # the first piece is done then
    assert truth(machine, 0, border).total["A"] == 1
    assert truth(machine, border, border + 1).total["A"] == 0


@EVERY_MACHINE
def test_the_time_elements_sum_to_the_window_and_windows_add_up(machine):
    begin, end = START - SECOND, PLANT.end + SECOND
    whole = truth(machine, begin, end)
    assert sum(whole.elements.values()) == end - begin
    cuts = [begin, *np.random.default_rng(7).integers(begin, end, 9).tolist(), end]
    parts = [truth(machine, a, b) for a, b in zip(sorted(cuts), sorted(cuts)[1:], strict=False)]
    for element, ns in whole.elements.items():
        assert sum(part.elements[element] for part in parts) == ns
    assert sum(sum(part.total.values()) for part in parts) == sum(whole.total.values())
    assert sum(sum(part.reject.values()) for part in parts) == sum(whole.reject.values())
    assert sum(part.energy for part in parts) == whole.energy
    assert sum(part.ideal_good for part in parts) == whole.ideal_good


@EVERY_MACHINE
def test_the_truth_is_what_a_slow_walk_through_the_run_finds(machine):
    step = 10 * MS  # every phase starts on this grid
    grid = np.arange(START, PLANT.end, step, dtype=np.int64)
    found = truth(machine, START, PLANT.end)
    for state, element in sim.ELEMENT_OF.items():
        assert found.elements[element] == int((state_at(machine, grid) == state).sum()) * step
    first, last = values_at(machine, START), values_at(machine, PLANT.end)
    assert sum(found.total.values()) == last["total"] - first["total"]
    assert sum(found.reject.values()) == last["reject"] - first["reject"]
    watt_ns = sum({1: machine.run_power, 2: machine.ready_power, 3: machine.ready_power}.get(int(s), 0) * step
                  for s in state_at(machine, grid))  # fmt: skip
    assert found.energy == watt_ns // (36_000 * SECOND)


@EVERY_MACHINE
def test_a_machine_goes_through_several_phases_and_makes_a_fair_number_of_pieces(machine):
    found = truth(machine, *PLANT.window)
    assert 10 <= sum(found.total.values()) <= 60
    assert len([ns for ns in found.elements.values() if ns]) >= 4
    assert found.energy >= 50  # 150 kW or more for 12 s or more


@EVERY_MACHINE
def test_a_machine_rests_at_both_ends_of_the_run(machine):
    for edge in (START, PLANT.end - REST):
        assert values_at(machine, edge) == values_at(machine, edge + REST - 1)
        assert values_at(machine, edge)["state"] == sim.IDLE


@EVERY_MACHINE
def test_the_meter_steps_in_the_microsecond_that_is_told(machine):
    steps = machine.anchor + meter_steps(machine)
    assert (energy_at(machine, steps) - energy_at(machine, steps - 1000) == 1).all()
    assert len(steps) == energy_at(machine, PLANT.end) - machine.meter_start


def test_the_same_seed_gives_the_same_plant_and_another_seed_another():
    window = PLANT.window
    assert truth_table(build(START, 24 * SECOND), *window) == truth_table(PLANT, *window)
    assert truth_table(build(START, 24 * SECOND, seed=2), *window) != truth_table(PLANT, *window)


@pytest.mark.parametrize("seconds", [16, 20, 30, 120])
def test_the_short_counter_rolls_over_and_outages_end_before_the_last_rest(seconds):
    plant = build(START, seconds * SECOND)
    totals = counts_at(plant.mills[0], np.array([START, plant.end]))["total"]
    assert totals[0] < 65_536 <= totals[1]
    outages = {m.asset: m.outages for m in plant.machines if m.outages}
    assert set(outages) == {"line1/press3", "line2/mill3"}
    assert all(b < plant.end - START - REST - 2 * SECOND for spans in outages.values() for _, b in spans)


def test_a_machine_counts_on_inside_its_outage():
    for machine in PLANT.machines:
        for a, b in machine.outages:
            inside = counts_at(machine, machine.anchor + np.array([a, b]))["total"]
            assert inside[1] > inside[0]


def test_a_run_too_short_for_all_phases_is_refused():
    with pytest.raises(ValueError, match="too short"):
        build(START, 10 * SECOND)


@EVERY_MACHINE
def test_the_changes_replayed_give_the_values_at_every_instant(machine):
    now = {}
    told = iter([*changes(machine), None])
    change = next(told)
    for t in (machine.anchor + instants(machine)).tolist():
        while change is not None and change.ts <= t:
            now[change.point.split(".")[1]] = change.value
            change = next(told)
        assert now == (dict.fromkeys(ROLES) if is_out(machine, t) else values_at(machine, t))


def test_a_machine_that_begins_in_an_outage_says_so_of_every_point():
    first = list(changes(quick_machine(0, outages=((0, 100 * MS),))))
    assert [change[1:] for change in first[:6]] == [(f"quick1.{role}", None) for role in ROLES]
    assert [change.ts for change in first[6:12]] == [100 * MS] * 6


# The plant's files


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]


def test_the_plant_s_files_fit_the_models_of_config(tmp_path):
    endpoints = Endpoints(opcua="opc.tcp://127.0.0.1:1", modbus="modbus+tcp://127.0.0.1:2", mqtt="mqtt://h:3")
    toml = tomllib.loads(write_plant(tmp_path, endpoints, START, 24 * SECOND).read_text(encoding="utf-8"))
    sources = {row["id"]: Source(**row) for row in toml["source"]}
    assert [source.url for source in sources.values()] == [endpoints.opcua, endpoints.modbus, endpoints.mqtt]
    assets = {row["asset"]: Asset(**{k: v for k, v in row.items() if k in Asset.model_fields})
              for row in read_csv(tmp_path / "assets.csv")}  # fmt: skip
    points = [Point(**row) for row in read_csv(tmp_path / "points.csv")]
    products = [Product(**row) for row in read_csv(tmp_path / "products.csv")]

    assert {point.asset for point in points} == {machine.asset for machine in PLANT.machines}
    assert set(assets) - {point.asset for point in points} == {
        "line2/saw1", "site/charger1", "line2/lathe9",
    }  # fmt: skip
    assert not assets["site/charger1"].production
    assert assets["line2/lathe9"].excluded
    assert all(point.source in sources and point.heartbeat == 2 * SECOND for point in points)
    assert len({point.point for point in points}) == len(points)
    assert {point.modulus for point in points if point.type == "uint16"} == {None, 65_536}
    planned = {product.product: round(product.ideal_cycle * SECOND) for product in products}
    for machine in PLANT.machines:
        assert all(planned[product.name] == product.ideal_cycle for product in machine.products)


@pytest.mark.parametrize("hour", range(0, 24, 5))
def test_the_calendar_s_shift_covers_the_run_at_any_time_of_day(tmp_path, hour):
    start = START + hour * 3600 * SECOND
    endpoints = Endpoints(opcua="opc.tcp://h:1", modbus="modbus+tcp://h:2", mqtt="mqtt://h:3")
    toml = tomllib.loads(write_plant(tmp_path, endpoints, start, 24 * SECOND).read_text(encoding="utf-8"))
    (shift,) = Calendar(**toml["calendar"][0]).shifts
    local = datetime_of(start).astimezone(dt.timezone(dt.timedelta(hours=8)))
    since = (local - dt.datetime.combine(local.date(), shift.start, local.tzinfo)) % dt.timedelta(days=1)
    assert shift.start == shift.end
    assert dt.timedelta(hours=6) <= since < dt.timedelta(hours=7)


# The servers


class Heard:
    """Collects what a subscription brings, as (point, value, ts [us], status)."""

    def __init__(self):
        self.rows = []
        self.more = asyncio.Event()

    def datachange_notification(self, node, value, data):
        got = data.monitored_item.Value
        ts = round(got.SourceTimestamp.timestamp() * 1e6) if got.SourceTimestamp else None
        self.rows.append((node.nodeid.Identifier, value, ts, got.StatusCode.value))
        self.more.set()

    async def wait_for(self, count):
        while len(self.rows) < count:
            self.more.clear()
            await asyncio.wait_for(self.more.wait(), 20)


async def subscribe(client, names, queue=10_000):
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    nodes = [client.get_node(f"ns=2;s={name}") for name in names]
    await subscription.subscribe_data_change(nodes, queuesize=queue)
    return heard


def as_heard(change):
    status = BAD_NO_COMMUNICATION if change.value is None else 0
    return change.point, change.value, change.ts // 1000, status


def test_an_opc_ua_client_hears_each_change_with_its_exact_instant_and_bad_in_the_outage():
    async def run():
        later = quick_machine(time.time_ns() + 3600 * SECOND)
        async with OpcuaMachines([later]) as server, Client(server.endpoint) as client:
            heard = await subscribe(client, server.nodes)
            await heard.wait_for(len(ROLES))
            now = time.time_ns() // MS * MS
            machine = quick_machine(now, outages=((400 * MS, 700 * MS),))
            expected = list(changes(machine))
            await server.follow([machine])
            await asyncio.wait_for(server.finished.wait(), 20)
            firsts = len(ROLES)
            await heard.wait_for(len(expected))
            for name in server.nodes:
                mine = [row for row in heard.rows if row[0] == name][1:]
                assert mine == [as_heard(c) for c in expected[firsts:] if c.point == name]
        assert sum(row[3] == BAD_NO_COMMUNICATION for row in heard.rows) == len(ROLES)

    asyncio.run(run())


def test_an_opc_ua_client_reads_the_values_of_the_run_s_end_with_their_types():
    async def run():
        plant = build(time.time_ns() - 30 * SECOND, 24 * SECOND)
        async with OpcuaMachines(plant.presses) as server, Client(server.endpoint) as client:
            await asyncio.wait_for(server.finished.wait(), 20)
            for machine in plant.presses:
                truly = values_at(machine, plant.end)
                for role in ROLES:
                    data = await client.get_node(f"ns=2;s={machine.name}.{role}").read_data_value()
                    assert data.Value.Value == truly[role]
                    assert data.StatusCode.is_good()
            kinds = {r: (await client.get_node(f"ns=2;s=press1.{r}").read_data_value()).Value.VariantType
                     for r in ROLES}  # fmt: skip
            assert kinds["state"] == ua.VariantType.Int32
            assert kinds["total"] == kinds["good"] == kinds["reject"] == ua.VariantType.UInt32
            assert kinds["energy"] == ua.VariantType.Double
            assert kinds["product"] == ua.VariantType.String

    asyncio.run(run())


async def modbus_client(server, patience=5.0):
    client = AsyncModbusTcpClient(
        "127.0.0.1",
        port=int(server.endpoint.rsplit(":", 1)[1]),
        timeout=patience,
        retries=0,
        reconnect_delay=0,
    )
    assert await client.connect()
    return client


def mills(start):
    plant = build(start, 24 * SECOND)
    return plant, ModbusMachines(dict(enumerate(plant.mills, 1)), short_totals=frozenset({1}))


def test_a_modbus_client_reads_each_unit_s_truth_and_the_short_counter_has_rolled_over():
    async def run():
        plant, machines = mills(time.time_ns() - 40 * SECOND)
        async with machines as server:
            client = await modbus_client(server)
            for unit, machine in enumerate(plant.mills, 1):
                reply = await client.read_holding_registers(0, count=8, device_id=unit)
                assert reply.registers == machine_registers(machine, plant.end, 16 if unit == 1 else 32)
                state, _, high, low, *_ = reply.registers
                total = values_at(machine, plant.end)["total"]
                assert state == sim.IDLE
                assert (high if unit == 1 else high << 16 | low) == (total % 65_536 if unit == 1 else total)
                assert reply.registers[6] << 16 | reply.registers[7] == energy_at(machine, plant.end)
            client.close()
            assert server.requests == {3: len(MILLS)}

    asyncio.run(run())


def test_a_modbus_client_reads_registers_of_the_moment_of_its_request():
    async def run():
        plant, machines = mills(time.time_ns() - REST - 5 * SECOND)
        async with machines as server:
            client = await modbus_client(server)
            for _ in range(20):
                before = time.time_ns()
                reply = await client.read_holding_registers(2, count=2, device_id=2)
                total = reply.registers[0] << 16 | reply.registers[1]
                bounds = counts_at(plant.mills[1], np.array([before, time.time_ns()]))["total"]
                assert bounds[0] <= total <= bounds[1]
            client.close()

    asyncio.run(run())


def test_a_silent_modbus_unit_leaves_the_request_unanswered_and_its_neighbours_answer():
    async def run():
        async with ModbusServer({1: lambda: [11], 2: lambda: [22]}) as server:
            client = await modbus_client(server, patience=0.2)
            server.silent.add(2)
            with pytest.raises(ModbusIOException):
                await client.read_holding_registers(0, count=1, device_id=2)
            client.close()
            client = await modbus_client(server)
            assert (await client.read_holding_registers(0, count=1, device_id=1)).registers == [11]
            server.silent.clear()
            assert (await client.read_holding_registers(0, count=1, device_id=2)).registers == [22]
            client.close()

    asyncio.run(run())


def test_a_mill_in_its_outage_is_silent():
    mill = PLANT.mills[2]
    (a, b), now = mill.outages[0], time.time_ns()
    _, before = mills(now - a + 5 * SECOND)
    _, inside = mills(now - (a + b) // 2)
    _, after = mills(now - b - 5 * SECOND)
    assert [machines.is_silent(3) for machines in (before, inside, after)] == [False, True, False]
    assert not inside.is_silent(1)


def test_a_write_is_refused_and_counted_by_its_function_code():
    async def run():
        async with ModbusServer({1: lambda: [11]}) as server:
            client = await modbus_client(server)
            assert (await client.write_register(0, 5, device_id=1)).isError()
            assert (await client.read_holding_registers(0, count=1, device_id=1)).registers == [11]
            client.close()
            assert server.requests == {6: 1, 3: 1}

    asyncio.run(run())


def test_words_are_big_endian_and_wrap():
    assert words(0x0001_0002, 2) == [1, 2]
    assert words(65_536 + 3, 1) == [3]


def test_an_mqtt_client_gets_every_message_of_the_machine_in_order():
    async def run():
        loop, got, subscribed = asyncio.get_running_loop(), asyncio.Queue(), asyncio.Event()
        client = paho.Client(CallbackAPIVersion.VERSION2, "listener")
        client.on_connect = lambda c, *_: c.subscribe("jn/quick1", qos=1)
        client.on_subscribe = lambda *_: loop.call_soon_threadsafe(subscribed.set)
        client.on_message = lambda c, d, message: loop.call_soon_threadsafe(got.put_nowait, message.payload)
        async with embedded_broker() as broker:
            await asyncio.to_thread(client.connect, "127.0.0.1", int(broker.rsplit(":", 1)[1]))
            client.loop_start()
            await asyncio.wait_for(subscribed.wait(), 10)
            machine = quick_machine(time.time_ns() // MS * MS)
            end = machine.anchor + 1100 * MS
            expected = [payload(machine, t) for t in schedule(machine, machine.anchor, end)]
            async with MqttMachine(machine, broker, "jn/quick1", end) as publisher:
                await asyncio.wait_for(publisher.finished.wait(), 20)
                assert [await asyncio.wait_for(got.get(), 10) for _ in expected] == expected
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)
        last = json.loads(expected[-1])
        assert dt.datetime.fromisoformat(last.pop("ts")) == datetime_of(machine.anchor + 1000 * MS)
        assert last == values_at(machine, end)

    asyncio.run(run())


# The player


def recording(values, point="counter", step=100 * MS):
    return pl.DataFrame(
        {
            "ts": [START + n * step for n in range(len(values))],
            "point": point,
            "value": list(map(str, values)),
        }
    ).with_columns(pl.col("ts").cast(pl.Datetime("ns", "UTC")))


def test_the_player_infers_a_node_type_for_each_point_and_takes_unavailable_for_no_value():
    table = pl.concat(
        [
            recording(["UNAVAILABLE", 1, 2], "count"),
            recording([1, 2.5], "load"),
            recording(["READY", "UNAVAILABLE", "1"], "execution"),
            recording(["UNAVAILABLE"], "never"),
        ]
    )
    assert columns(table) == {"count": "int64", "load": "double", "execution": "string", "never": "string"}


def test_at_infinite_speed_a_subscription_loses_none_of_25_000_rows():
    async def run():
        table = recording(range(25_000))
        async with OpcuaPlayer(table, float("inf")) as player, Client(player.endpoint) as client:
            heard = await subscribe(client, player.nodes)
            await heard.wait_for(1)
            assert await player.play() == 25_000
            await heard.wait_for(25_001)
        assert [(value, ts) for _, value, ts, _ in heard.rows[1:]] == [
            (n, (START + n * 100 * MS) // 1000) for n in range(25_000)
        ]

    asyncio.run(run())


def test_an_unavailable_value_goes_out_as_a_bad_status_and_rows_keep_the_recorded_order():
    async def run():
        table = recording([1, "UNAVAILABLE", 3, 4])[[0, 1, 3, 2]]  # the last row steps back in time
        async with OpcuaPlayer(table, 10) as player, Client(player.endpoint) as client:
            heard = await subscribe(client, player.nodes)
            begun = time.monotonic()
            await player.play()
            assert time.monotonic() - begun >= 0.03  # 300 ms at ten times the speed
            await heard.wait_for(5)
        assert [row[1:] for row in heard.rows[1:]] == [
            (1, START // 1000, 0),
            (None, START // 1000 + 100_000, BAD_NO_COMMUNICATION),
            (4, START // 1000 + 300_000, 0),
            (3, START // 1000 + 200_000, 0),
        ]

    asyncio.run(run())


def test_a_modbus_poller_sees_every_held_value_in_its_order():
    async def run():
        values = [5, 6, 7, 70_000, 8]
        async with ModbusPlayer(pl.concat([recording(values), recording([1, 2], "state")]), float("inf")) as player:
            assert player.addresses == {"counter": (0, "uint32"), "state": (2, "uint16")}
            client = await modbus_client(player)
            playing = asyncio.create_task(player.play(hold=0.1))
            seen = []
            while not playing.done():
                high, low, _ = (await client.read_holding_registers(0, count=3, device_id=1)).registers
                seen += [] if seen[-1:] == [high << 16 | low] else [high << 16 | low]
            await playing
            assert [value for value in seen if value] == values
            assert (await client.read_holding_registers(2, count=1, device_id=1)).registers == [2]
            client.close()

    asyncio.run(run())


@pytest.mark.parametrize("values", [[1, -1], [1 << 32], ["READY"], [0.5]])
def test_the_modbus_player_refuses_a_point_that_no_register_holds(values):
    with pytest.raises(ValueError, match="'counter'"):
        ModbusPlayer(recording(values))


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
def test_a_speed_that_is_not_above_zero_is_refused(speed):
    with pytest.raises(ValueError, match="speed"):
        OpcuaPlayer(recording([1]), speed)

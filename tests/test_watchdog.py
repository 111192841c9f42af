"""The watchdog is fed while every loop goes round, and no longer once one of them stands."""

import asyncio
import json
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from collector import watchdog
from collector.agent import BACK_OFF_S, Agent
from collector.host import ServiceManager
from collector.sinks import parquet
from collector.spool import Spool as SpoolOnDisk
from collector.watchdog import REST_S, Heart, Watchdog, to_open, to_read
from config.plant import Spool
from connectors.modbus import Connector
from connectors.sim.modbus import ModbusServer
from tests.running import Asset, Point, Ramp, Source, plant_for, running, until

HALF_S = 30.0
"""Half of the WatchdogSec=60 of these tests."""


class Time:
    """A clock that a test sets; who sleeps looks again as soon as it moved."""

    def __init__(self):
        self.now, self._moved = 0.0, asyncio.Event()

    def __call__(self):
        return self.now

    async def sleep(self, _seconds):
        await self._moved.wait()

    async def pass_by(self, seconds):
        """Let time pass, and the sleeper look once."""
        self.now += seconds
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        for _ in range(3):
            await asyncio.sleep(0)


class Systemd:
    """The socket that systemd listens at: a real one for datagrams."""

    def __init__(self, address):
        self.address = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind("\0" + self.address[1:] if self.address.startswith("@") else self.address)

    def environment(self, watchdog_s=2 * HALF_S):
        return {"NOTIFY_SOCKET": self.address, "WATCHDOG_USEC": str(int(watchdog_s * 1e6))}

    def heard(self):
        """All words that came since the last call, in order."""
        words = []
        try:
            while True:
                words += self._socket.recv(4096).decode().split("\n")
        except BlockingIOError:
            return words

    def close(self):
        self._socket.close()


@pytest.fixture
def systemd(tmp_path):
    made = Systemd(tmp_path / "notify")
    yield made
    made.close()


def modbus(name, url, **settings):
    return Source(id=name, kind="modbus", url=url, period="20ms", timeout="500ms", **settings)


def counter(source):
    return Point(point=f"{source}.reads", asset="m", source=source, address="1/holding:0", type="uint32")


def plant_with(root, urls, **settings):
    """A plant with a source for each URL, named by the key."""
    sources = [modbus(name, url) for name, url in urls.items()]
    return plant_for(root, sources, [Asset(asset="m")], [counter(name) for name in urls], **settings)


@asynccontextmanager
async def watched(plant, systemd, monkeypatch, **how):
    """Run an agent whose watchdog lives in a time that the test sets."""
    clock = Time()

    def made(**_):
        return Watchdog(manager=ServiceManager(systemd.environment()), clock=clock, sleep=clock.sleep)

    monkeypatch.setattr("collector.agent.Watchdog", made)
    async with running(plant, **how) as agent:
        await until(lambda: len(agent.status.sources) == len(agent.sources))
        await clock.pass_by(0)
        yield agent, clock


async def turn_of(agent, name):
    """Wait until a loop took a step more."""
    (heart,) = (heart for heart in agent.watchdog.hearts if heart.name == name)
    before = heart.turns
    await until(lambda: heart.turns > before)


async def feedings(agent, clock, systemd, *loops, rounds=4):
    """How often the watchdog is fed while half of its time passes so many times, and these loops go round."""
    systemd.heard()
    for _ in range(rounds):
        for loop in loops:
            await turn_of(agent, loop)
        await clock.pass_by(HALF_S)
    return systemd.heard().count("WATCHDOG=1")


@contextmanager
def blocked(monkeypatch, source):
    """One source's connector that waits for what never comes, once it read for the first time."""
    read, stands = Connector.readings, asyncio.Event()

    async def readings(self):
        async for some in read(self):
            yield some
            if self._source.id == source:
                stands.set()
                await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(Connector, "readings", readings)
        yield stands


def test_while_every_loop_goes_round_the_watchdog_is_fed_at_half_of_its_time(tmp_path, systemd, monkeypatch):
    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            plant = plant_with(tmp_path, {"a": server.endpoint, "b": server.endpoint})
            async with watched(plant, systemd, monkeypatch) as (agent, clock):
                return await feedings(agent, clock, systemd, "source a", "source b", "committer")

    assert asyncio.run(collect()) == 4


def test_one_source_loop_that_is_blocked_ends_the_feeding_though_all_else_runs(tmp_path, systemd, monkeypatch, caplog):
    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            plant = plant_with(tmp_path, {"a": server.endpoint, "b": server.endpoint})
            with blocked(monkeypatch, "b") as stands:
                async with watched(plant, systemd, monkeypatch) as (agent, clock):
                    await stands.wait()
                    await clock.pass_by(0)  # the last step is seen
                    patience = agent.watchdog.hearts[1].patience
                    fed = await feedings(agent, clock, systemd, "source a", "committer")
                    await until(lambda: agent.status.sources["a"].fresh(time.monotonic()))
                    return fed, patience

    fed, patience = asyncio.run(collect())
    assert patience == 10 + 2 * 0.02 + 10 * 0.5  # grace, two periods and ten timeouts [s]
    assert fed == 0
    assert [r.message for r in caplog.records if "not fed" in r.message] == [
        "source b took no step for more than 15 s: the watchdog is not fed"
    ]


def test_systemctl_status_names_the_loop_that_is_blocked(tmp_path, systemd, monkeypatch):
    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            plant = plant_with(tmp_path, {"a": server.endpoint, "b": server.endpoint})
            with blocked(monkeypatch, "b") as stands:
                async with watched(plant, systemd, monkeypatch) as (agent, clock):
                    await stands.wait()
                    await clock.pass_by(0)
                    systemd.heard()
                    await turn_of(agent, "source a")
                    await turn_of(agent, "committer")
                    await clock.pass_by(HALF_S)
                    return systemd.heard()

    assert asyncio.run(collect()) == ["STATUS=watchdog not fed, stuck: source b"]


def test_a_commit_that_hangs_ends_the_feeding(tmp_path, systemd, monkeypatch):
    hangs, goes_on, put = threading.Event(), threading.Event(), SpoolOnDisk.put

    def hanging(self, *words):
        hangs.set()
        assert goes_on.wait(60)
        put(self, *words)

    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            plant = plant_with(tmp_path, {"a": server.endpoint})
            async with watched(plant, systemd, monkeypatch) as (agent, clock):
                monkeypatch.setattr(SpoolOnDisk, "put", hanging)
                await until(hangs.is_set)
                await clock.pass_by(0)
                fed = await feedings(agent, clock, systemd, "source a", rounds=5)
                goes_on.set()
                return fed

    # 30 s are within the patience with a disk (45 s and the commit's interval), 60 s are not
    assert asyncio.run(collect()) == 1


def test_a_source_whose_plc_does_not_answer_goes_round_in_its_back_off(tmp_path, systemd, monkeypatch):
    monkeypatch.setattr("collector.agent.BACK_OFF_S", (0.01, 0.02))

    async def collect():
        plant = plant_with(tmp_path, {"dead": "modbus+tcp://127.0.0.1:1"})
        async with watched(plant, systemd, monkeypatch, connected=False) as (agent, clock):
            await until(lambda: agent.status.sources["dead"].state == "lost")
            return await feedings(agent, clock, systemd, "source dead", "committer")

    assert asyncio.run(collect()) == 4


def test_the_longest_back_off_is_within_the_patience_of_a_loop():
    assert BACK_OFF_S[1] < REST_S


def test_a_sink_that_hangs_does_not_end_the_feeding_as_a_restart_cures_no_store(tmp_path, systemd, monkeypatch):
    hangs, goes_on, write = threading.Event(), threading.Event(), parquet.Sink.write

    def hanging(self, *words):
        hangs.set()
        assert goes_on.wait(60)
        write(self, *words)

    monkeypatch.setattr(parquet.Sink, "write", hanging)

    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            plant = plant_with(tmp_path, {"a": server.endpoint})
            async with watched(plant, systemd, monkeypatch) as (agent, clock):
                await until(hangs.is_set)
                fed = await feedings(agent, clock, systemd, "source a", "committer")
                goes_on.set()
                return fed

    assert asyncio.run(collect()) == 4


def test_a_full_spool_that_makes_sources_wait_does_not_end_the_feeding(tmp_path, systemd, monkeypatch):
    monkeypatch.setattr(parquet.Sink, "write", lambda *_: (_ for _ in ()).throw(OSError("no room")))
    tight = Spool(path=Path("spool"), commit="20ms", max_size="20KiB", when_full="stop")

    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            plant = plant_with(tmp_path, {"a": server.endpoint}, spool=tight)
            async with watched(plant, systemd, monkeypatch) as (agent, clock):
                (heart, _) = agent.watchdog.hearts
                await until(lambda: heart.patience == float("inf"))  # it waits for room
                fed = await feedings(agent, clock, systemd, "committer")
                said = agent._line()
                return fed, said

    fed, said = asyncio.run(collect())
    assert fed == 4
    assert said.endswith("; at fault: sink parquet; the spool takes nothing")


def test_ready_is_said_once_every_source_loop_runs_and_stopping_before_the_end(tmp_path, systemd, monkeypatch):
    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            plant = plant_with(tmp_path, {"a": server.endpoint, "b": "modbus+tcp://127.0.0.1:1"})
            async with watched(plant, systemd, monkeypatch, connected=False) as (agent, clock):
                begun = systemd.heard()
                assert (plant.root / "spool" / "lock").exists()
                during = []
                while "STATUS=1 of 2 sources fresh" not in during:  # the test's own time limit ends it
                    await turn_of(agent, "source a")
                    await clock.pass_by(1)
                    during += systemd.heard()
        return begun, during, systemd.heard()

    begun, during, end = asyncio.run(collect())
    assert begun[:2] == ["READY=1", "WATCHDOG=1"]
    assert "READY=1" not in during + end
    assert end[:2] == ["STOPPING=1", "STATUS=stopping: commits what it holds, sinks drain"]


def test_a_spool_that_another_agent_holds_is_never_called_ready(tmp_path, systemd, monkeypatch):
    for name, value in systemd.environment().items():
        monkeypatch.setenv(name, value)

    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            plant = plant_with(tmp_path, {"a": server.endpoint})
            async with running(plant):
                systemd.heard()
                with pytest.raises(Exception, match="another agent"):
                    await Agent(plant).run()
                return systemd.heard()

    assert "READY=1" not in asyncio.run(collect())


def test_the_command_tells_its_service_manager_and_ends_when_it_is_told_to(tmp_path, systemd):
    (tmp_path / "assets.csv").write_text("asset\nm\n")
    (tmp_path / "points.csv").write_text("point,asset,role,source,address,type\nreads,m,measure,s,1/holding:0,uint32\n")
    heard = Counter()

    async def collect():
        async with ModbusServer({1: Ramp()}) as server:
            (tmp_path / "plant.toml").write_text(
                f'version = 1\n[plant]\nid = "p"\n[[source]]\nid = "s"\nkind = "modbus"\nurl = "{server.endpoint}"\n'
                'period = "20ms"\n[[sink]]\nkind = "parquet"\npath = "lake"\n'
            )
            agent = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "plantproof", "run", str(tmp_path), "--json",
                stderr=asyncio.subprocess.PIPE, env={**os.environ, **systemd.environment(watchdog_s=0.5)},
            )  # fmt: skip
            spool = tmp_path / "var" / "spool" / "status.json"
            await until(lambda: spool.exists() and json.loads(spool.read_text())["sources"]["s"]["rows"] > 0)
            await until(lambda: heard.update(systemd.heard()) or heard["WATCHDOG=1"] >= 3)
            agent.send_signal(signal.SIGTERM)
            await asyncio.wait_for(agent.communicate(), 30)
            heard.update(systemd.heard())
            return agent.returncode

    assert asyncio.run(collect()) == 0
    assert heard["READY=1"] == heard["STOPPING=1"] == 1


def test_an_abstract_socket_is_told_as_well(tmp_path):
    systemd = Systemd(f"@plantproof-test-{os.getpid()}")
    ServiceManager(systemd.environment()).tell("READY=1", "STATUS=so far")
    assert systemd.heard() == ["READY=1", "STATUS=so far"]
    systemd.close()


@pytest.mark.parametrize(
    ("environment", "every"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, None),  # nobody listens
        ({"NOTIFY_SOCKET": "/x"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "60000000"}, 30.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "0"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),  # another process is meant
    ],
)
def test_the_watchdog_is_fed_at_half_of_what_systemd_waits_where_it_waits_for_us(environment, every):
    assert ServiceManager(environment).feed_every == every


def test_a_socket_that_nobody_listens_at_is_logged_once_and_stops_nothing(tmp_path, caplog):
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    manager.tell("READY=1")
    manager.tell("WATCHDOG=1")
    assert ["gone: [Errno 2]" in record.message for record in caplog.records] == [True]


def test_a_loop_that_ended_is_not_stuck():
    async def ends():
        dog = Watchdog(manager=ServiceManager({}))
        task = dog.watch("short", _nothing)
        await task
        (heart,) = dog.hearts
        return task.get_name(), heart.turns, heart.stuck(0.0), heart.stuck(1e9)

    async def _nothing(_heart):
        await asyncio.sleep(0)

    assert asyncio.run(ends()) == ("short", 2, False, False)


def test_a_cancelled_loop_has_its_last_words():
    said = []

    async def loop(_heart):
        try:
            await asyncio.Event().wait()
        finally:
            said.append("closed")

    async def cancelled():
        dog = Watchdog(manager=ServiceManager({}))
        task = dog.watch("loop", loop)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return dog.hearts[0].over

    assert asyncio.run(cancelled())
    assert said == ["closed"]


def test_a_loop_stands_too_long_once_its_patience_is_over():
    heart = Heart("loop", patience=10, turns=1)
    assert [heart.stuck(now) for now in (0, 10, 11)] == [False, False, True]
    heart.turns += 1
    assert [heart.stuck(now) for now in (12, 22, 23)] == [False, False, True]


def test_patience_is_as_long_as_what_the_configuration_lets_a_loop_wait_for():
    polled = Point(point="p", asset="m", source="s", address="1/holding:0", type="uint16")
    told = Point(point="q", asset="m", source="s", address="ns=2;s=q", mode="subscribe", heartbeat="60s")
    source = Source(id="s", kind="opcua", url="opc.tcp://h:1", timeout="4s", failover=("opc.tcp://h:2",))
    assert to_open(source) == 10 + 2 * 60 * 4
    assert to_read(source, [polled], 900 * 10**9) == 10 + 2 * 900 + 10 * 4  # a poll every 15 min
    assert to_read(source, [polled, told], 10**9) == 10 + 5 * 60 + 10 * 4
    slow = {"unit": 7, "timeout": "3s", "pause": "1s"}
    bus = Source(id="b", kind="modbus", url="modbus+tcp://h:1", timeout="1s", device=[slow])
    assert to_read(bus, [polled], 10**9) == 10 + 2 * 1 + 10 * (3 + 1)


def test_the_loops_are_looked_at_often_enough_for_any_watchdog():
    waits = []

    class EnoughError(Exception):
        pass

    async def sleep(seconds):
        waits.append(seconds)
        raise EnoughError

    for half in (None, 0.5, 30.0):
        manager = ServiceManager({})
        manager.feed_every = half
        with pytest.raises(EnoughError):
            asyncio.run(Watchdog(manager=manager, sleep=sleep).run(str))
    assert waits == [0.5, 0.25, watchdog.LOOK_S]

"""Client CPU per MQTT message of five JSON values at QoS 1, through the spool, beside paho receiving the same messages.

Broker and publisher are other processes. paho does nothing with a message but count it; the agent decodes, compares,
commits with a sync, and acknowledges then.
"""

import asyncio
import contextlib
import json
import multiprocessing
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from collector.agent import Agent
from config.plant import Asset, Plant, Point, Source, Spool

MACHINES = 50
FLOOD, LIVE = 30_000, 5_000
"""Messages as fast as the publisher can, and of a plant that sends RATE a second."""
RATE = 1_000
NAMES = ("temperature", "pressure", "count", "running", "speed")
MOST_IN_FLIGHT = 500


def measure() -> dict[str, tuple[float, str, str]]:
    """Return CPU [µs] per message of the agent and of paho; nothing where mosquitto is not installed."""
    if _program() is None:
        return {}
    with broker() as port:
        ours, theirs = asyncio.run(_agent(port, FLOOD, 0)), _paho(port, FLOOD, 0)
        live, their_live = asyncio.run(_agent(port, LIVE, RATE)), _paho(port, LIVE, RATE)
    return {
        "flood: agent, through the spool": (ours, "µs CPU/message", "40 µs or less"),
        "flood: paho alone": (theirs, "µs CPU/message", ""),
        "flood: ratio": (ours / theirs, "", "1 or less"),
        f"{RATE:,}/s: agent, through the spool": (live, "µs CPU/message", ""),
        f"{RATE:,}/s: paho alone": (their_live, "µs CPU/message", ""),
        f"{RATE:,}/s: ratio": (live / their_live, "", ""),
    }


def _program() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


@contextlib.contextmanager
def broker() -> Iterator[int]:
    """Run mosquitto on a free port, and yield it; RuntimeError where it is not installed."""
    program = _program()
    if program is None:
        raise RuntimeError("mosquitto is not installed")
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        probe.close()
        config = Path(folder) / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
        process = subprocess.Popen([program, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port)
            yield port
        finally:
            process.kill()
            process.wait()


def _wait_for(port: int) -> None:
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError("mosquitto did not start")


def publish(port: int, count: int, rate: int, qos: int = 1) -> None:
    """Publish messages of many machines, so many a second; 0: as fast as the broker takes them."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(MOST_IN_FLIGHT)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", port)
    client.loop_start()
    began, waiting = time.time(), []
    for n in range(count):
        if rate and (ahead := began + n / rate - time.time()) > 0:
            time.sleep(ahead)
        values = (20 + n % 100 / 8, n * 0.5, n, n % 2 == 0, 1500.0)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(began)) + f".{n:06d}Z"
        payload = json.dumps({"ts": stamp, **dict(zip(NAMES, values, strict=True))})
        waiting.append(client.publish(f"plant/line1/m{n % MACHINES}/data", payload, qos=qos))
        if len(waiting) > MOST_IN_FLIGHT:
            waiting.pop(0).wait_for_publish(60)
    for one in waiting:
        one.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


@contextlib.contextmanager
def _publisher(port: int, count: int, rate: int) -> Iterator[None]:
    process = multiprocessing.get_context("spawn").Process(target=publish, args=(port, count, rate), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.join(10)
        process.kill()


def plant(port: int, folder: str) -> Plant:
    """Return a plant of machines with five points each, whose messages the broker at `port` has."""
    points = [
        Point(point=f"m{n}/{name}", asset=f"m{n}", source="cells", address=f"plant/line1/m{n}/data#/{name}")
        for n in range(MACHINES)
        for name in NAMES
    ]
    source = Source(id="cells", kind="mqtt", url=f"mqtt://127.0.0.1:{port}")
    return Plant(
        id="p", sources=(source,), assets=tuple(Asset(asset=f"m{n}") for n in range(MACHINES)), points=tuple(points),
        spool=Spool(path=Path("spool")), root=Path(folder),
    )  # fmt: skip


async def _agent(port: int, count: int, rate: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        agent = Agent(plant(port, folder))
        running = asyncio.create_task(agent.run())
        while "cells" not in agent.status.sources or agent.status.sources["cells"].state != "connected":  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.02)
        # The constant speed is stored once and then as a heartbeat, the others each time they change.
        with _publisher(port, count, rate):
            link = agent._links["cells"][0]
            while not link.figures()["messages"]:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.01)
            began, first = time.process_time(), link.figures()["messages"]
            while link.figures()["messages"] < count or agent._acknowledge or agent._pending:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.1)
            spent = time.process_time() - began
        agent.stop()
        await running
        assert agent.status.sources["cells"].rows >= 3 * count
        assert not agent.status.sources["cells"].faults
    return spent / (count - first) * 1e6


def _paho(port: int, count: int, rate: int) -> float:
    client, done, seen = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5), threading.Event(), [0, 0.0]
    subscribed = threading.Event()

    def on_message(*_: object) -> None:
        if not seen[0]:
            seen[1] = time.process_time()
        seen[0] += 1
        if seen[0] >= count:
            done.set()

    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_connect = lambda *_: client.subscribe("plant/line1/+/data", 1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    subscribed.wait(10)
    with _publisher(port, count, rate):
        done.wait(120)
        spent = time.process_time() - seen[1]
    client.disconnect()
    client.loop_stop()
    assert seen[0] == count
    return spent / count * 1e6

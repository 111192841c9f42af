"""Client CPU per OPC UA value: the connector beside asyncua's own client, on one server, in one run."""

import asyncio
import itertools
import multiprocessing
import time
from multiprocessing.connection import Connection

from asyncua import ua
from asyncua.client.client import Client

from config.plant import Point, Source
from connectors.opcua import Connector
from connectors.sim.opcua import NodeType, OpcuaServer

NODES = 5_000
READS = 20
ROUNDS = 8
"""Times that every value changes while the subscription is measured."""
TYPES: tuple[NodeType, ...] = ("double", "int32", "uint32", "int64")


def measure() -> dict[str, tuple[float, str, str]]:
    """Return CPU [µs] per value of both clients, for reads and for subscriptions; the server is another process."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
    server.start()
    try:
        ours, theirs, followed, their_followed = asyncio.run(_compare(here))
    finally:
        here.send("stop")
        server.join(10)
    return {
        "read, connector": (ours, "µs CPU/value", "1 µs or less"),
        "read, asyncua read_attributes": (theirs, "µs CPU/value", ""),
        "read, ratio": (ours / theirs, "", "below 0.1"),
        "subscription, connector": (followed, "µs CPU/value", ""),
        "subscription, asyncua": (their_followed, "µs CPU/value", ""),
        "subscription, ratio": (followed / their_followed, "", ""),
    }


def _names() -> list[str]:
    return [f"n{n}" for n in range(NODES)]


def _serve(pipe: Connection) -> None:
    async def change(server: OpcuaServer, number: int) -> None:
        for n, name in enumerate(_names()):
            value = number + n if TYPES[n % len(TYPES)] != "double" else number + n / 7
            await server.put(name, value, time.time_ns())

    async def run() -> None:
        async with OpcuaServer({name: TYPES[n % len(TYPES)] for n, name in enumerate(_names())}) as server:
            await change(server, 0)
            pipe.send(server.endpoint)
            for number in itertools.count(1):
                if await asyncio.to_thread(pipe.recv) == "stop":
                    return
                await change(server, number)

    asyncio.run(run())


async def _compare(pipe: Connection) -> tuple[float, float, float, float]:
    url = pipe.recv()
    return (
        await _polled(url) * 1e6,
        await _read_attributes(url) * 1e6,
        await _subscribed(url, pipe) * 1e6,
        await _their_subscription(url, pipe) * 1e6,
    )


def _connector(url: str, mode: str, period: str) -> Connector:
    source = Source(id="s", kind="opcua", url=url, security="None", period=period, timeout="30s")
    points = [Point(point=n, asset="m", source="s", address=f"ns=2;s={n}", mode=mode) for n in _names()]
    return Connector(source, points)


async def _polled(url: str) -> float:
    connector = _connector(url, "poll", "1ms")
    await connector.connect()
    readings, seen = connector.readings(), 0
    while seen < NODES:
        seen += len((await anext(readings)).points)
    began, seen = time.process_time(), 0
    while seen < READS * NODES:
        seen += len((await anext(readings)).points)
    spent = time.process_time() - began
    await connector.close()
    return spent / seen


async def _read_attributes(url: str) -> float:
    async with Client(url, timeout=30) as client:
        nodes = [client.get_node(f"ns=2;s={name}") for name in _names()]
        await client.read_attributes(nodes, ua.AttributeIds.Value)
        began = time.process_time()
        for _ in range(READS):
            await client.read_attributes(nodes, ua.AttributeIds.Value)
        return (time.process_time() - began) / READS / NODES


async def _subscribed(url: str, pipe: Connection) -> float:
    connector = _connector(url, "subscribe", "100ms")
    await connector.connect()
    readings, seen = connector.readings(), 0
    while seen < NODES:
        seen += len((await anext(readings)).points)
    began, seen = time.process_time(), 0
    for number in range(1, ROUNDS + 1):
        pipe.send("change")
        while seen < number * NODES:
            seen += len((await anext(readings)).points)
    spent = time.process_time() - began
    await connector.close()
    return spent / seen


async def _their_subscription(url: str, pipe: Connection) -> float:
    got = asyncio.Condition()
    count = 0

    class Handler:
        async def datachange_notification(self, node: object, value: object, data: object) -> None:
            nonlocal count
            count += 1
            if count % NODES == 0:
                async with got:
                    got.notify_all()

    async with Client(url, timeout=30) as client:
        subscription = await client.create_subscription(100, Handler())
        nodes = [client.get_node(f"ns=2;s={name}") for name in _names()]
        await subscription.subscribe_data_change(nodes)
        async with got:
            await got.wait_for(lambda: count >= NODES)
        began, start = time.process_time(), count
        for number in range(1, ROUNDS + 1):
            pipe.send("change")
            async with got:
                await got.wait_for(lambda wanted=start + number * NODES: count >= wanted)
        return (time.process_time() - began) / (count - start)

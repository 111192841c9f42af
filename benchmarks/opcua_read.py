"""Client CPU per value of an OPC UA read: the connector beside asyncua's own read_attributes, on one server."""

import asyncio
import multiprocessing
import time
from multiprocessing.connection import Connection

from asyncua import ua
from asyncua.client.client import Client

from config.plant import Point, Source
from connectors.opcua import Connector
from connectors.sim.opcua import OpcuaServer

NODES = 5_000
READS = 20


def measure() -> dict[str, tuple[float, str, str]]:
    """Return CPU [µs] per value of both, and their ratio; the server runs in a process of its own."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
    server.start()
    try:
        ours, theirs = asyncio.run(_compare(here.recv()))
    finally:
        here.send("stop")
        server.join(10)
    return {
        "connector": (ours, "µs CPU/value", ""),
        "asyncua read_attributes": (theirs, "µs CPU/value", ""),
        "ratio": (ours / theirs, "", "below 1; 1 µs/value to reach"),
    }


def _serve(pipe: Connection) -> None:
    async def run() -> None:
        async with OpcuaServer({f"n{n}": "double" for n in range(NODES)}) as server:
            for n in range(NODES):
                await server.put(f"n{n}", n / 7, time.time_ns())
            pipe.send(server.endpoint)
            await asyncio.to_thread(pipe.recv)

    asyncio.run(run())


async def _compare(url: str) -> tuple[float, float]:
    source = Source(id="s", kind="opcua", url=url, security="None", period="1ms")
    points = [Point(point=f"n{n}", asset="m", source="s", address=f"ns=2;s=n{n}") for n in range(NODES)]
    connector = Connector(source, points)
    await connector.connect()
    readings = connector.readings()
    await anext(readings)
    began = time.process_time()
    for _ in range(READS):
        await anext(readings)
    ours = (time.process_time() - began) / READS / NODES
    await connector.close()
    async with Client(url) as client:
        nodes = [client.get_node(f"ns=2;s=n{n}") for n in range(NODES)]
        await client.read_attributes(nodes, ua.AttributeIds.Value)
        began = time.process_time()
        for _ in range(READS):
            await client.read_attributes(nodes, ua.AttributeIds.Value)
        theirs = (time.process_time() - began) / READS / NODES
    return ours * 1e6, theirs * 1e6

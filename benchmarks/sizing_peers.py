"""The plant that the agent is sized with: a Modbus device, an OPC UA server or MQTT machines, in its own process.

Values are tenths that walk at random. In each second all of them change, or each with the probability `share`. What the
agent polls changes as it begins to poll, so that it never sees the same second twice. Everything passes a relay that
counts what a network would carry.
"""

import asyncio
import contextlib
import json
import struct
import threading
import time
from multiprocessing.connection import Connection

import numpy as np
import paho.mqtt.client as paho
from asyncua import ua
from numpy.typing import NDArray
from paho.mqtt.enums import CallbackAPIVersion

from connectors.sim.opcua import OpcuaServer
from connectors.sim.timeline import datetime_of

FIRST, STEP = 30_000, 20
"""Where the walk begins, and its longest step [tenths]."""
SEGMENT, FRAME_B = 1448, 66
"""What a TCP segment holds on Ethernet [B], and what Ethernet, IP and TCP put around it [B]."""
FIELDS = 5
"""So many values are in one MQTT message."""
SLICES = 20
"""In so many parts of a second MQTT machines publish."""
IN_FLIGHT = 2_000
FOLDER = 100
"""So many points are in one folder of the OPC UA server."""


class Walk:
    """Values of all points, and when each changed last."""

    def __init__(self, points: int, share: float) -> None:
        self.value = np.full(points, FIRST, np.int64)
        self.since = np.full(points, time.time_ns(), np.int64)
        self._share, self._random = share, np.random.default_rng(points)

    def step(self) -> NDArray[np.intp]:
        """Go a second further; returns which points changed."""
        moved = np.flatnonzero(self._random.random(len(self.value)) < self._share)
        steps = self._random.integers(1, STEP, len(moved)) * self._random.choice((-1, 1), len(moved))
        self.value[moved] += steps
        self.since[moved] = time.time_ns()
        return moved


class Relay:
    """Passes everything on to a port, and counts it."""

    def __init__(self) -> None:
        self.carried = 0
        """What Ethernet carried, both ways [B]; TCP's empty acknowledgements are left out."""

    async def listen(self, target: int) -> int:
        """Listen on a free port of the loopback, and return it."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", target)
            await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer))

        self._server = await asyncio.start_server(serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                self.carried += len(data) + -(-len(data) // SEGMENT) * FRAME_B
                writer.write(data)
                await writer.drain()
        writer.close()


def serve(pipe: Connection, kind: str, points: int, share: float, broker: int) -> None:
    """Play the plant, tell the port of its relay, and answer each word with what was carried so far [B]."""
    asyncio.run(_serve(pipe, kind, Walk(points, share), broker))


async def _serve(pipe: Connection, kind: str, walk: Walk, broker: int) -> None:
    relay = Relay()
    async with PLANTS[kind](walk, broker) as port:
        pipe.send(await relay.listen(port))
        while await asyncio.to_thread(pipe.recv) != "stop":
            pipe.send(relay.carried)


@contextlib.asynccontextmanager
async def _modbus(walk: Walk, _broker: int):
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(12)
                address, count = struct.unpack(">HH", head[8:])
                if address == 0:
                    walk.step()
                data = walk.value[address : address + count].astype(">u2").tobytes()
                writer.write(head[:4] + struct.pack(">HBBB", 3 + len(data), head[6], head[7], len(data)) + data)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@contextlib.asynccontextmanager
async def _polled(walk: Walk, _broker: int):
    async with _opcua(walk) as server:

        def value(node: ua.NodeId, _attribute: ua.AttributeIds) -> ua.DataValue:
            n = int(node.Identifier[1:])
            if n == 0:
                walk.step()
            when = datetime_of(int(walk.since[n]))
            return ua.DataValue(ua.Variant(float(walk.value[n]) / 10, ua.VariantType.Double), SourceTimestamp=when)

        for node in server._ids.values():
            server._server.set_attribute_value_callback(node, value)
        yield _port(server)


@contextlib.asynccontextmanager
async def _followed(walk: Walk, _broker: int):
    async def change() -> None:
        due = time.monotonic()
        while True:
            due += 1
            for n in walk.step():
                await server.put(f"n{n}", float(walk.value[n]) / 10, int(walk.since[n]))
                await asyncio.sleep(0)
            await asyncio.sleep(max(0, due - time.monotonic()))

    async with _opcua(walk) as server:
        changing = asyncio.create_task(change())
        yield _port(server)
        changing.cancel()


@contextlib.asynccontextmanager
async def _opcua(walk: Walk):
    """Serve the points in folders: the library takes the square of what a folder holds to add it."""
    async with OpcuaServer({}) as server:
        for n in range(len(walk.value)):
            if n % FOLDER == 0:
                folder = await server._server.nodes.objects.add_folder(2, f"folder{n}")
            node = await folder.add_variable(ua.NodeId(ua.String(f"n{n}"), ua.Int16(2)), f"n{n}", 0.0)
            server.nodes[f"n{n}"], server._ids[f"n{n}"] = "double", node.nodeid
            await server.put(f"n{n}", float(walk.value[n]) / 10, int(walk.since[n]))
        yield server


def _port(server: OpcuaServer) -> int:
    return int(server.endpoint.rpartition(":")[2])


@contextlib.asynccontextmanager
async def _mqtt(walk: Walk, broker: int):
    over = threading.Event()
    publishing = threading.Thread(target=_publish, args=(walk, broker, over), daemon=True)
    publishing.start()
    yield broker
    over.set()


def _publish(walk: Walk, broker: int, over: threading.Event) -> None:
    """Publish every machine's values once a second at QoS 1, at times of its own."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(IN_FLIGHT)
    client.connect("127.0.0.1", broker)
    client.loop_start()
    machines, due = len(walk.value) // FIELDS, time.monotonic()
    while not over.is_set():
        walk.step()
        for part in range(SLICES):
            for machine in range(part, machines, SLICES):
                values = walk.value[machine * FIELDS : (machine + 1) * FIELDS].tolist()
                body = {"ts": time.time_ns() // 1_000_000} | {f"v{n}": value / 10 for n, value in enumerate(values)}
                client.publish(f"plant/m{machine}", json.dumps(body), qos=1)
            due += 1 / SLICES
            over.wait(max(0, due - time.monotonic()))
    client.disconnect()
    client.loop_stop()


PLANTS = {"modbus": _modbus, "opcua": _polled, "opcua-subscription": _followed, "mqtt": _mqtt}

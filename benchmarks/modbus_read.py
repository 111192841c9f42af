"""Client CPU per Modbus register value: the connector beside pymodbus's own client, and how few requests it needs."""

import asyncio
import multiprocessing
import random
import socket
import struct
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

import numpy as np
from pymodbus.client import AsyncModbusTcpClient

from config.plant import Point, Source
from connectors.modbus import Connector
from connectors.modbus.plan import MAX_REGISTERS, plan, slot_of

POINTS = 2_000
POLLS = 200
TYPES = ("uint16", "int32 CDAB", "float32", "uint32")
"""Of 8 points four are uint16 and two, one and one of the others."""
MIX = (0, 0, 0, 0, 1, 1, 2, 3)
SCATTERED = 20_000
"""Registers among which 2,000 points lie at random, as in a PLC whose data blocks have grown over the years."""


def measure() -> dict[str, tuple[float, str, str]]:
    """Return CPU [µs] per value of both clients, and requests a cycle of three plans; the device is another process."""
    here, there = multiprocessing.Pipe()
    device = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
    device.start()
    there.close()  # so that a device that fails to start is noticed
    try:
        port = here.recv()
        ours, mixed = asyncio.run(_connector(port, _words())), asyncio.run(_connector(port, _mixed()))
        theirs, their_mixed = asyncio.run(_pymodbus(port, _words())), asyncio.run(_pymodbus(port, _mixed()))
        read_only = asyncio.run(_pymodbus(port, _words(), convert=False))
        floor = _bare(port, _words())
    finally:
        device.kill()
        device.join(10)
    few, single, touching = _requests()
    return {
        "16-bit, scaled: connector": (ours, "µs CPU/value", "0.5 µs or less"),
        "16-bit, scaled: pymodbus, its own conversion": (theirs, "µs CPU/value", ""),
        "16-bit, registers alone: pymodbus": (read_only, "µs CPU/value", "0.8 µs on another machine"),
        "16-bit, the same frames by a bare socket": (floor, "µs CPU/value", "what the system's calls cost"),
        "16-bit, ratio to pymodbus, converted": (ours / theirs, "", "below 0.2"),
        "16-bit, ratio to pymodbus, registers alone": (ours / read_only, "", "below 0.63"),
        "mixed types, scaled: connector": (mixed, "µs CPU/value", ""),
        "mixed types, scaled: pymodbus": (their_mixed, "µs CPU/value", ""),
        "requests, 2,000 scattered points": (few, "requests/cycle", ""),
        "requests, one a point": (single, "requests/cycle", ""),
        "requests, grouped by neighbours alone (shrink)": (touching, "requests/cycle", ""),
    }


def _serve(pipe: Connection) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(12)
                address, count = struct.unpack(">HH", head[8:])
                data = np.arange(address, address + count, dtype=">u2").tobytes()
                size = len(data)
                writer.write(head[:4] + struct.pack(">HBBB", 3 + size, head[6], head[7], size) + data)
        except asyncio.IncompleteReadError:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def _points(kinds: Sequence[str]) -> list[Point]:
    """Return points side by side, scaled."""
    points, address = [], 0
    for n in range(POINTS):
        kind = kinds[n % len(kinds)]
        points.append(Point(point=f"p{n}", asset="m", source="s", address=f"holding:{address}", type=kind, scale=0.1))
        address += 1 if kind == "uint16" else 2
    return points


def _words() -> list[Point]:
    return _points(["uint16"])


def _mixed() -> list[Point]:
    return _points([TYPES[n] for n in MIX])


def _source(port: int) -> Source:
    return Source(id="s", kind="modbus", url=f"modbus+tcp://127.0.0.1:{port}", period="1ms", timeout="10s")


async def _connector(port: int, points: list[Point]) -> float:
    connector = Connector(_source(port), points)
    await connector.connect()
    readings = connector.readings()
    await anext(readings)
    began = time.process_time()
    for _ in range(POLLS):
        taken = await anext(readings)
    spent = time.process_time() - began
    await connector.close()
    assert len(taken.points) == POINTS
    assert taken.value[0] == 0.0
    return spent / POLLS / POINTS * 1e6


async def _pymodbus(port: int, points: list[Point], *, convert: bool = True) -> float:
    """Reads the same ranges with pymodbus, and turns registers into scaled numbers with its own conversion."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=10)
    await client.connect()
    slots = [slot_of(_source(port), point) for point in points]
    requests = plan(slots)
    types = {
        "uint16": (client.DATATYPE.UINT16, "big"),
        "int32": (client.DATATYPE.INT32, "little"),
        "float32": (client.DATATYPE.FLOAT32, "big"),
        "uint32": (client.DATATYPE.UINT32, "big"),
    }
    kinds = [types[slot.datatype.name] for slot in slots]
    began = time.process_time()
    polls = POLLS // 5
    for _ in range(polls):
        for request in requests:
            reply = await client.read_holding_registers(request.address, count=request.count, device_id=1)
            for row in request.rows if convert else ():
                slot, (kind, order) = slots[row], kinds[row]
                at = slot.address - request.address
                words = reply.registers[at : at + slot.datatype.registers]
                _ = client.convert_from_registers(words, kind, word_order=order) * 0.1  # type: ignore[operator,arg-type]
    spent = time.process_time() - began
    client.close()
    return spent / polls / POINTS * 1e6


def _bare(port: int, points: list[Point]) -> float:
    """Sends the same requests and receives the same bytes with a blocking socket, and does nothing with them."""
    requests = plan([slot_of(_source(port), point) for point in points])
    frames = [struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, one.address, one.count) for one in requests]
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.process_time()
        for _ in range(POLLS):
            for frame in frames:
                link.sendall(frame)
                link.recv(300)
        return (time.process_time() - began) / POLLS / POINTS * 1e6


def _scattered() -> list[Point]:
    chosen = random.Random(1).sample(range(SCATTERED), POINTS)
    return [Point(point=f"p{n}", asset="m", source="s", address=f"holding:{at}") for n, at in enumerate(sorted(chosen))]


def _requests() -> tuple[int, int, int]:
    """Return the requests of our plan, of one a point, and of merging only registers that touch."""
    slots = [slot_of(_source(502), point) for point in _scattered()]
    return len(plan(slots)), len(slots), _touching([slot.address for slot in slots])


def _touching(addresses: Sequence[int]) -> int:
    requests, first = 0, None
    for before, address in zip([None, *addresses], addresses, strict=False):
        if before is None or address != before + 1 or address - first >= MAX_REGISTERS:
            requests, first = requests + 1, address
    return requests

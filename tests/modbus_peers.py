"""Modbus devices that tests talk to: registers that hold their own address, over TCP, TLS, UDP and serial lines.

They are written against the standard, by hand and byte by byte, and share no code with the connector; the CRC is
pymodbus's.
"""

import asyncio
import contextlib
import os
import ssl
import struct
import tty
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping

from pymodbus.framer.rtu import FramerRTU

from tests import listening

READS = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
SILENT = "silent"
ASKED: Counter[int] = Counter()
"""Function codes of every request that any device of the tests was sent; conftest.py looks at them in the end."""


class Bank:
    """Units whose registers hold their own address, unless a test says otherwise.

    A cell is a number, "silent", or "exception N"; a bit is the lowest bit of its address.
    """

    def __init__(
        self,
        cells: Mapping[tuple[int, str, int], int | str] | None = None,
        *,
        most: int = 125,
        units: frozenset[int] | None = None,
    ) -> None:
        """`most` registers are allowed in a request; units that are not there are silent."""
        self.cells = dict(cells or {})
        self.most, self.units = most, units
        self.silent: set[int] = set()
        """Units that do not answer now."""
        self.requests: list[tuple[int, int, int, int]] = []
        """Every request: unit, function, address, count."""
        self.functions: Counter[int] = Counter()

    def answer(self, unit: int, pdu: bytes) -> bytes | None:
        """Return the PDU that answers, None for silence."""
        function = pdu[0]
        self.functions[function] += 1
        ASKED[function] += 1
        if unit in self.silent or (self.units is not None and unit not in self.units):
            return None
        if function not in READS:
            return bytes([function | 0x80, 1])
        address, count = struct.unpack(">HH", pdu[1:5])
        self.requests.append((unit, function, address, count))
        bits = function < 3
        if not 1 <= count <= (2000 if bits else self.most):
            return bytes([function | 0x80, 3])
        if address + count > 0x10000:
            return bytes([function | 0x80, 2])
        values = [self.cells.get((unit, READS[function], n), n) for n in range(address, address + count)]
        for value in values:
            if value == SILENT:
                return None
            if isinstance(value, str):
                return bytes([function | 0x80, int(value.split()[1])])
        if bits:
            packed = sum((value & 1) << n for n, value in enumerate(values))
            data = packed.to_bytes((count + 7) // 8, "little")
        else:
            data = struct.pack(f">{count}H", *(value & 0xFFFF for value in values))
        return bytes([function, len(data)]) + data


Reply = Callable[[int, bytes], bytes | None]
"""Takes unit and request PDU; returns the reply's PDU, None for silence."""
Spoil = Callable[[bytes], Iterable[bytes]]
"""Takes a whole right frame; returns what goes out in its place."""


def unspoilt(frame: bytes) -> Iterable[bytes]:
    return [frame]


def crc(frame: bytes) -> bytes:
    return FramerRTU.compute_CRC(frame).to_bytes(2, "big")


def length_of(frame: bytes | bytearray) -> int:
    """How long a request on a serial line is: that for the device identification is one byte shorter."""
    return 7 if frame[1] == 0x2B else 8


@contextlib.asynccontextmanager
async def tcp(
    reply: Reply,
    *,
    port: int = 0,
    tls: ssl.SSLContext | None = None,
    spoil: Spoil = unspoilt,
    delays: Mapping[int, float] | None = None,
) -> AsyncIterator[int]:
    """Serve MBAP frames on a free port of the loopback; yields the port.

    delays: how long units take to answer [s]; 0 in place of a unit's number is every other one.
    """
    late = delays or {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readexactly(7)
            transaction, _, length, unit = struct.unpack(">HHHB", head)
            answer = reply(unit, await reader.readexactly(length - 1))
            if answer is not None:
                frame = struct.pack(">HHHB", transaction, 0, 1 + len(answer), unit) + answer
                if (delay := late.get(unit, late.get(0, 0.0))) > 0:
                    await asyncio.sleep(delay)
                writer.writelines(spoil(frame))
                await writer.drain()

    async with _served(serve, port, tls) as bound:
        yield bound


@contextlib.asynccontextmanager
async def rtu_over_tcp(reply: Reply, *, spoil: Spoil = unspoilt) -> AsyncIterator[int]:
    """Serve RTU frames on a free port of the loopback; yields the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readexactly(2)
            frame = head + await reader.readexactly(length_of(head) - 2)
            assert crc(frame[:-2]) == frame[-2:], "a request with a wrong CRC"
            answer = reply(frame[0], frame[1:-2])
            if answer is not None:
                body = frame[:1] + answer
                writer.writelines(spoil(body + crc(body)))
                await writer.drain()

    async with _served(serve, 0, None) as bound:
        yield bound


@contextlib.asynccontextmanager
async def _served(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object], port: int, tls: ssl.SSLContext | None
) -> AsyncIterator[int]:
    links: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        links[task] = writer  # type: ignore[index]
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await serve(reader, writer)  # type: ignore[misc]
        writer.close()
        del links[task]  # type: ignore[arg-type]

    server = await asyncio.start_server(handle, "127.0.0.1", port, ssl=tls)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        await listening.close(server)
        tasks = list(links)
        for writer in links.values():
            writer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def udp(reply: Reply, *, spoil: Spoil = unspoilt) -> AsyncIterator[int]:
    """Serve MBAP datagrams on a free port of the loopback; yields the port."""

    class Protocol(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: object) -> None:
            transaction, _, _, unit = struct.unpack(">HHHB", data[:7])
            answer = reply(unit, data[7:])
            if answer is not None:
                frame = struct.pack(">HHHB", transaction, 0, 1 + len(answer), unit) + answer
                for part in spoil(frame):
                    self.transport.sendto(part, addr)  # type: ignore[attr-defined]

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Protocol, ("127.0.0.1", 0))
    try:
        yield int(transport.get_extra_info("sockname")[1])
    finally:
        transport.close()


class Line:
    """The devices' end of a serial line: a real pseudo-terminal, whose other end is `device`."""

    def __init__(self, reply: Reply, *, spoil: Spoil = unspoilt) -> None:
        self.reply, self.spoil = reply, spoil
        self.device = ""
        self.heard = bytearray()
        """Every byte that came over the line."""
        self.echo = False
        """Whether the line gives back what it hears, as two-wire adapters do."""
        self._buffer = bytearray()

    def __enter__(self) -> "Line":
        self._devices, far = os.openpty()
        tty.setraw(self._devices)
        tty.setraw(far)
        self.device = os.ttyname(far)
        self._far = far  # kept open, so that the line stays when the agent closes its end
        os.set_blocking(self._devices, False)
        asyncio.get_running_loop().add_reader(self._devices, self._readable)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._devices)
        os.close(self._devices)
        os.close(self._far)

    def unplug(self) -> None:
        """Take the devices' end away, as a pulled USB adapter does."""
        asyncio.get_running_loop().remove_reader(self._devices)
        os.close(self._devices)
        self._devices = os.open("/dev/null", os.O_RDWR)

    def put(self, data: bytes) -> None:
        """Put bytes on the line, as a device or noise would."""
        os.write(self._devices, data)

    def _readable(self) -> None:
        try:
            data = os.read(self._devices, 4096)
        except OSError:
            return
        self.heard += data
        self._buffer += data
        if self.echo:
            self.put(data)
        while len(self._buffer) >= 2 and len(self._buffer) >= (length := length_of(self._buffer)):
            frame = bytes(self._buffer[:length])
            del self._buffer[:length]
            assert crc(frame[:-2]) == frame[-2:], "a request with a wrong CRC"
            answer = self.reply(frame[0], frame[1:-2])
            if answer is not None:
                body = frame[:1] + answer
                self.put(b"".join(self.spoil(body + crc(body))))

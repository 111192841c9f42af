"""A TCP proxy that does to a connection what networks and servers do: while it runs, a test says what."""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType

from tests import listening

Cut = Callable[[bytes], list[bytes]]
Change = Callable[[bytes], Iterable[bytes]]
Whole = Callable[[asyncio.StreamReader], AsyncIterator[bytes]]

SEGMENT = 65_536
WAITING = 1000
"""So many pieces of one direction may be under way; then their source waits."""
HEADER = 8
"""Of an OPC UA chunk: type, whether it is the last one, length (OPC 10000-6, 7.1.2.2)."""


def one_byte(data: bytes) -> list[bytes]:
    """Every byte a segment of its own."""
    return [data[n : n + 1] for n in range(len(data))]


def torn(rng: random.Random, longest: int = 200) -> Cut:
    """Segments of random lengths."""

    def cut(data: bytes) -> list[bytes]:
        parts, at = [], 0
        while at < len(data):
            length = rng.randint(1, longest)
            parts.append(data[at : at + length])
            at += length
        return parts

    return cut


class Proxy:
    """Listens on a free port of the loopback and passes everything on to `port`; an async context manager.

    Attributes that are set while it runs hold from then on, for connections that exist as well.
    """

    def __init__(self, port: int, *, seed: int = 0, whole: "Whole | None" = None) -> None:
        """`whole` divides what goes to the client into messages; left out, into OPC UA chunks."""
        self.port = 0
        self._whole = whole or chunks
        self.target = port
        self.delay = (0.0, 0.0)
        """Each direction's delay lies between these [s]; the order stays."""
        self.cut: Cut | None = None
        """Divides what goes to the client into segments."""
        self.merge = 0.0
        """So long what goes to the client is gathered into one segment [s]."""
        self.change: Change | None = None
        """Takes each whole message on its way to the client; returns what goes out in its place."""
        self.connections = 0
        """Accepted since the start."""
        self.segments = 0
        """Sent to clients since the start."""
        self._audible = asyncio.Event()
        self._audible.set()
        self._random = random.Random(seed)
        self._links: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._listening: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    @property
    def silent(self) -> bool:
        """Half-open: everything is swallowed in both directions, and no end is passed on."""
        return not self._audible.is_set()

    @silent.setter
    def silent(self, silent: bool) -> None:
        (self._audible.clear if silent else self._audible.set)()

    @property
    def open(self) -> int:
        """Connections that exist now."""
        return len(self._links)

    async def __aenter__(self) -> "Proxy":
        await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()
        links = list(self._links)
        self.reset()
        await asyncio.gather(*links, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close their sockets in the loop's next turn

    async def accept(self) -> None:
        """Listen (again), always on the same port."""
        self._listening = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        self.port = int(self._listening.sockets[0].getsockname()[1])

    async def refuse(self) -> None:
        """Refuse new connections; those that exist stay."""
        server, self._listening = self._listening, None
        if server is not None:
            await listening.close(server)
        await asyncio.sleep(0)

    def reset(self) -> None:
        """End every connection with an RST, on both sides, and lose what was on its way."""
        for link, writers in list(self._links.items()):
            for writer in writers:
                sock = writer.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            link.cancel()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = asyncio.create_task(self._link(reader, writer))
        self._links[link] = [writer]
        link.add_done_callback(lambda done: self._links.pop(done, None))

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        with contextlib.suppress(OSError, asyncio.CancelledError):
            try:
                up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
                writers.append(up_writer)
                self._links[asyncio.current_task()] = writers  # type: ignore[index]
                await self._pump_both(reader, writer, up_reader, up_writer)
            finally:
                for one in writers:
                    one.transport.abort()

    async def _pump_both(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        ways = [
            asyncio.create_task(self._pump(pieces(reader), up_writer, to_client=False)),
            asyncio.create_task(self._pump(self._whole(up_reader), writer, to_client=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            await self._audible.wait()  # while all is silent, the other side learns nothing of an end
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pump(self, source: AsyncIterator[bytes], writer: asyncio.StreamWriter, *, to_client: bool) -> None:
        waiting: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue(WAITING)
        sending = asyncio.create_task(self._send(waiting, writer, to_client=to_client))
        loop, last = asyncio.get_running_loop(), 0.0
        try:
            async for data in source:
                if self.silent:
                    continue
                last = max(last, loop.time() + self._random.uniform(*self.delay))
                for part in self.change(data) if to_client and self.change is not None else [data]:
                    await waiting.put((last, part))
            await waiting.put(None)
            await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(
        self, waiting: asyncio.Queue[tuple[float, bytes] | None], writer: asyncio.StreamWriter, *, to_client: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        while (item := await waiting.get()) is not None:
            due, data = item
            if (pause := due - loop.time()) > 0:
                await asyncio.sleep(pause)
            if to_client and self.merge:
                await asyncio.sleep(self.merge)
                while not waiting.empty() and (more := waiting.get_nowait()) is not None:
                    data += more[1]
            if self.silent:
                continue
            for part in self.cut(data) if to_client and self.cut is not None else [data]:
                writer.write(part)
                self.segments += to_client
                await asyncio.sleep(0)  # one segment's turn ends before the next one's begins
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()


async def pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """What comes, as it comes."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(SEGMENT):
            yield data


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Whole OPC UA chunks."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readexactly(HEADER)
            yield head + await reader.readexactly(int.from_bytes(head[4:8], "little") - HEADER)

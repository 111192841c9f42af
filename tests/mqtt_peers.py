"""MQTT peers of tests: a publisher of the paho library, and a broker that answers byte for byte what a test says."""

import asyncio
import contextlib
import json
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests import listening


class Press:
    """A publisher; every message is at the broker when `say` returns. An async context manager."""

    def __init__(self, port: int, *, user: str = "", password: str = "", will: tuple[str, str] | None = None) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        self.client.max_inflight_messages_set(1000)
        self._port = port
        if user:
            self.client.username_pw_set(user, password)
        if will is not None:
            self.client.will_set(*will, qos=1)

    async def __aenter__(self) -> "Press":
        await asyncio.to_thread(self.client.connect, "127.0.0.1", self._port)
        self.client.loop_start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.disconnect()
        await asyncio.to_thread(self.client.loop_stop)

    async def say(self, topic: str, *payloads: object, retain: bool = False, qos: int = 1) -> None:
        """Publish texts and bytes as they are, all else as JSON."""
        raw = [one if isinstance(one, str | bytes) else json.dumps(one) for one in payloads]
        told = [self.client.publish(topic, one, qos=qos, retain=retain) for one in raw]
        for one in told:
            await asyncio.to_thread(one.wait_for_publish, 10)
            assert one.is_published()

    def cut(self) -> None:
        """End the connection without a goodbye: the broker publishes the last will."""
        sock = self.client.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RDWR)


class Numbers:
    """Publishes 1, 2, 3 ... with QoS 1, and again what the broker did not acknowledge. An async context manager.

    Of each number two messages: {"n": 1, "ts": ...} in `timed`, and 1 in `plain`, which has no time of its own.
    """

    def __init__(self, port: int, *, every: float = 0.005, timed: str = "cell", plain: str = "plain") -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "numbers", clean_session=False)
        self.client.reconnect_delay_set(0.1, 0.1)
        self.client.max_inflight_messages_set(200)
        self.client.on_publish = self._published
        self.times: dict[int, int] = {}
        """When each number was said [ns]."""
        self.paused = False
        self._port, self._every, self._topics = port, every, (timed, plain)
        self._given: set[int] = set()
        self._taken: set[int] = set()

    @property
    def sent(self) -> int:
        return len(self.times)

    async def all_taken(self) -> None:
        """Wait until the broker has acknowledged all."""
        while len(self._taken) < len(self._given):  # noqa: ASYNC110  paho tells in a thread of its own
            await asyncio.sleep(0.01)

    async def __aenter__(self) -> "Numbers":
        await asyncio.to_thread(self.client.connect, "127.0.0.1", self._port)
        self.client.loop_start()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if kind is None:
            await self.all_taken()
        self.client.disconnect()
        await asyncio.to_thread(self.client.loop_stop)

    async def _run(self) -> None:
        while True:
            if not self.paused:
                number = self.sent + 1
                self.times[number] = at = time.time_ns()
                for topic, payload in zip(self._topics, (json.dumps({"n": number, "ts": at}), number), strict=True):
                    self._given.add(self.client.publish(topic, payload, qos=1).mid)
            await asyncio.sleep(self._every)

    def _published(self, client: paho.Client, data: object, mid: int, *rest: object) -> None:
        self._taken.add(mid)


def password_file(folder: Path, user: str, password: str) -> Path:
    """A password file of mosquitto."""
    file = folder / "passwords"
    program = shutil.which("mosquitto_passwd") or shutil.which("mosquitto_passwd", path="/usr/bin")
    subprocess.run([program, "-b", "-c", str(file), user, password], check=True, capture_output=True)
    file.chmod(0o644)
    return file


class Scripted:
    """A broker that knows one client at a time: it grants, sends and counts what a test says."""

    def __init__(self, port: int, granted: Sequence[int] | None, version: int) -> None:
        self.port, self.granted, self._version = port, granted, version
        self.on_ack: Callable[[int], None] = lambda _: None
        """Called with each PUBACK's packet identifier."""
        self.on_goodbye: Callable[[], Awaitable[None]] | None = None
        """Awaited before the connection is closed on a DISCONNECT."""
        self.session_present = False
        self.versions: list[int] = []
        """Protocol levels that clients asked for."""
        self.acknowledged: list[int] = []
        """Packet identifiers in the order of their PUBACKs."""
        self.asked: list[tuple[str, bytes]] = []
        """Messages that clients published."""
        self.filters: list[str] = []
        self._writer: asyncio.StreamWriter | None = None
        self._news = asyncio.Condition()
        self._v5 = True
        self._mid = 0

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    def close(self) -> None:
        """End the connection."""
        self._writer.close()

    def send_messages(self, messages: Sequence[tuple[str, bytes]], *, flags: int = 2, first: int | None = None) -> None:
        """Send messages at QoS 1, in one piece; `first`: the first one's packet identifier."""
        self._mid = self._mid if first is None else first - 1
        self.send(b"".join(self._message(topic, payload, flags) for topic, payload in messages))

    async def flood(self, topic: str, payload: bytes, count: int) -> None:
        """Send messages at QoS 0 as fast as they are taken."""
        for _ in range(count):
            self.send(self._message(topic, payload, 0))
            await self._writer.drain()

    async def until_acknowledged(self, count: int) -> None:
        """Wait for so many PUBACKs."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.acknowledged) >= count)

    async def until_asked(self, count: int) -> None:
        """Wait for so many messages of clients."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.asked) >= count)

    def _message(self, topic: str, payload: bytes, flags: int) -> bytes:
        body = len(topic.encode()).to_bytes(2, "big") + topic.encode()
        if flags & 6:
            self._mid = self._mid % 0xFFFF + 1
            body += self._mid.to_bytes(2, "big")
        return packet(0x30 | flags, body + (b"\0" if self._v5 else b"") + payload)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                first, body = await read_packet(reader)
                if not await self._answer(first, body, writer):
                    break
        writer.close()

    async def _answer(self, first: int, body: bytes, writer: asyncio.StreamWriter) -> bool:
        kind = first >> 4
        if kind == 1:
            self.versions.append(body[6])
            self._v5 = body[6] == 5
            if body[6] > self._version:
                writer.write(b"\x20\x02\x00\x01")  # 3.1.1: unacceptable protocol version
                return False
            known = b"\x01" if self.session_present else b"\x00"
            writer.write(b"\x20\x03" + known + b"\x00\x00" if self._v5 else b"\x20\x02" + known + b"\x00")
        elif kind == 8:
            topics = filters_of(body[3 if self._v5 else 2 :])
            self.filters += topics
            codes = bytes(self.granted if self.granted is not None else [1] * len(topics))
            writer.write(packet(0x90, body[:2] + (b"\0" if self._v5 else b"") + codes))
        elif kind == 12:
            writer.write(b"\xd0\x00")
        elif kind in (3, 4):
            if kind == 4:
                self.acknowledged.append(int.from_bytes(body[:2], "big"))
                self.on_ack(self.acknowledged[-1])
            else:
                end = 2 + int.from_bytes(body[:2], "big")
                self.asked.append((body[2:end].decode(), body[end + (1 if self._v5 else 0) :]))
            async with self._news:
                self._news.notify_all()
        elif kind == 14 and self.on_goodbye is not None:
            await self.on_goodbye()
        return kind != 14


async def read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one packet."""
    first, length, shift = (await reader.readexactly(1))[0], 0, 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return first, await reader.readexactly(length)


def packet(first: int, body: bytes) -> bytes:
    """A packet of less than 2 MiB."""
    length, out = len(body), bytearray([first])
    while True:
        out.append(length & 0x7F | (0x80 if length > 0x7F else 0))
        length >>= 7
        if not length:
            return bytes(out) + body


def filters_of(data: bytes) -> list[str]:
    """The filters of a SUBSCRIBE."""
    found = []
    while data:
        end = 2 + int.from_bytes(data[:2], "big")
        found.append(data[2:end].decode())
        data = data[end + 1 :]
    return found


@contextlib.asynccontextmanager
async def scripted(*, granted: Sequence[int] | None = None, version: int = 5) -> AsyncIterator[Scripted]:
    """Serve as such a broker on a free port; `version`: the highest protocol level that it knows."""
    peer = Scripted(0, granted, version)
    tasks: list[asyncio.Task[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        await peer.serve(reader, writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    peer.port = int(server.sockets[0].getsockname()[1])
    try:
        yield peer
    finally:
        await listening.close(server)
        if peer._writer is not None:
            peer._writer.close()
        await asyncio.gather(*tasks, return_exceptions=True)

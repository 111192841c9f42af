"""Peers that tests talk to: a real MQTT broker, and a Modbus server that answers byte for byte what a test says."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests import listening
from tests.modbus_peers import ASKED


def free_port() -> int:
    """Return a TCP port of the loopback that nobody holds now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Program:
    """A server in a process of its own, which a test kills, pauses and ends."""

    _process: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """Kill the process, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let the process stand still: connections live, and nothing answers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)
            os.waitpid(self._process.pid, os.WUNTRACED)  # until all of its threads stand

    def go_on(self) -> None:
        """Let it run again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ask the process to end, which saves what it holds."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None


class Broker(Program):
    """A mosquitto process; one that `saves` writes its whole database at each change, and knows it again."""

    def __init__(self, program: str, folder: Path, settings: str, *, saves: bool) -> None:
        self.port = free_port()
        self._program, self._config = program, folder / "mosquitto.conf"
        at_each_change = "persistence true\nautosave_interval 1\nautosave_on_changes true\n"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\npersistence_location {folder}/\n{at_each_change * saves}{settings}"
        )

    @property
    def url(self) -> str:
        """The broker's URL."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until the port answers."""
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        waiting = [int(port) for port in re.findall(r"^listener (\d+)", self._config.read_text(), re.MULTILINE)]
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", waiting[0]), 1):
                waiting.pop(0)
            if not waiting:
                return
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"mosquitto did not start on port {self.port}")
            time.sleep(0.02)

    def restart(self) -> None:
        """End, saving sessions, and start again on the same port."""
        self.stop()
        self.start()


@contextlib.contextmanager
def mosquitto(folder: Path, settings: str = "allow_anonymous true\n", *, saves: bool = False) -> Iterator[Broker]:
    """Run a broker on a free port; skips where mosquitto is missing, which in CI is a failure.

    saves: it knows its sessions again once it was stopped or killed.
    """
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("mosquitto is not installed")
    # Started by root, mosquitto becomes a user of its own, who must be able to write here.
    folder.chmod(0o777)
    settings += "user root\n" if os.geteuid() == 0 else ""
    broker = Broker(program, folder, settings, saves=saves)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


Answer = Callable[[bytes, int], list[bytes] | None]
"""Takes a request frame and its connection's number; returns the chunks to send.

An empty list is silence; None closes the connection.
"""


@contextlib.asynccontextmanager
async def fake_modbus(answer: Answer, *, closes_after_each: bool = False) -> AsyncIterator[str]:
    """Serve Modbus TCP on a free port, with every reply as the test says; yields the URL."""
    tasks: list[asyncio.Task[None]] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(writers)
        tasks.append(asyncio.current_task())  # type: ignore[arg-type]
        writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(6)
                frame = head + await reader.readexactly(int.from_bytes(head[4:6], "big"))
                ASKED[frame[7]] += 1
                chunks = answer(frame, number)
                if chunks is None:
                    break
                for chunk in chunks:
                    writer.write(chunk)
                    await writer.drain()
                if closes_after_each:
                    break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"modbus+tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        await listening.close(server)
        for writer in writers:
            writer.close()
        # A client's last bytes end the handlers; cancelled ones would make asyncio log an error of its own.
        await asyncio.gather(*tasks, *(w.wait_closed() for w in writers), return_exceptions=True)


@contextlib.asynccontextmanager
async def silent_server(met: asyncio.Event | None = None) -> AsyncIterator[int]:
    """Accept connections on a free port and never say a word; yields the port, and sets `met` when a client came."""
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if met is not None:
            met.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        await listening.close(server)
        for writer in writers:
            writer.close()
        await asyncio.gather(*(w.wait_closed() for w in writers), return_exceptions=True)


def within(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine, which must end within `seconds`."""

    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await work()

    asyncio.run(bounded())

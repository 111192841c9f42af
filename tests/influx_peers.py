"""InfluxDB peers that tests talk to: the real influxd 1.6, and an HTTP server that answers what a test says."""

import contextlib
import itertools
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Program, free_port


class Influxd(Program):
    """A process of influxd 1.x whose files lie in a folder of the test."""

    def __init__(self, program: str, folder: Path, settings: dict[str, str]) -> None:
        """Take the program, and settings beside those of this file: {"HTTP_AUTH_ENABLED": "true"}."""
        self.port = free_port()
        self._program, self._folder = program, folder
        self._settings = {
            "REPORTING_DISABLED": "true",
            "BIND_ADDRESS": "127.0.0.1:0",
            "META_DIR": f"{folder}/meta",
            "DATA_DIR": f"{folder}/data",
            "DATA_WAL_DIR": f"{folder}/wal",
            "DATA_QUERY_LOG_ENABLED": "false",
            "HTTP_BIND_ADDRESS": f"127.0.0.1:{self.port}",
            "HTTP_LOG_ENABLED": "false",
            "MONITOR_STORE_ENABLED": "false",
            "SUBSCRIBER_ENABLED": "false",
            "CONTINUOUS_QUERIES_ENABLED": "false",
            **settings,
        }

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        (self._folder / "influxd.conf").touch()
        environment = os.environ | {f"INFLUXDB_{key}": value for key, value in self._settings.items()}
        with (self._folder / "influxd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "run", "-config", str(self._folder / "influxd.conf")],
                stdout=log,
                stderr=log,
                env=environment,
            )
        deadline = time.monotonic() + 30
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError((self._folder / "influxd.log").read_text()[-2000:])
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=1) as answer:
                return int(answer.status) == 204
        except OSError:
            return False

    def query(self, text: str, database: str = "", **parameters: str) -> list[dict[str, Any]]:
        """Run InfluxQL; return the series of all statements: name, tags, columns, values, with times in ns.

        Raises RuntimeError with the server's words.
        """
        form = {"q": text, "db": database, "epoch": "ns", **parameters}
        body = urllib.parse.urlencode(form).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/query", body, timeout=30) as answer:
                results = json.load(answer)["results"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from None
        if faults := [one["error"] for one in results if "error" in one]:
            raise RuntimeError("; ".join(faults))
        return [series for one in results for series in one.get("series", [])]

    def write(self, lines: bytes, database: str) -> None:
        """Write line protocol with times in ns as it stands; raises RuntimeError with the server's words."""
        where = urllib.parse.urlencode({"db": database, "precision": "ns"})
        try:
            urllib.request.urlopen(f"{self.url}/write?{where}", lines, timeout=30).close()
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from None


@contextlib.contextmanager
def influxd(folder: Path, **settings: str) -> Iterator[Influxd]:
    """Run influxd on a free port; skips where it is missing, which in CI is a failure.

    settings: as in its environment, without the prefix: HTTP_AUTH_ENABLED="true".
    """
    program = shutil.which("influxd")
    if program is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("influxd is not installed")
    server = Influxd(program, folder, settings)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@dataclass(frozen=True)
class Asked:
    """A request that the fake server got; `text` is its body unpacked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        packed = self.headers.get("content-encoding") == "gzip"
        return (zlib.decompress(self.body, 31) if packed else self.body).decode()

    @property
    def lines(self) -> list[str]:
        return split_lines(self.text)


def split_lines(text: str) -> list[str]:
    """Return the lines of line protocol: a newline within the quotes of a field ends none."""
    lines, begin, fields, quoted, escaped = [], 0, False, False, False
    for place, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == " ":
            fields = True
        elif character == '"' and fields:
            quoted = not quoted
        elif character == "\n" and not quoted:
            lines.append(text[begin:place])
            begin, fields = place + 1, False
    return [line for line in [*lines, text[begin:]] if line]


Answer = Callable[[Asked], "bytes | Callable[[socket.socket], None]"]
"""Takes a request; returns the bytes of its answer, or what to do with the connection, which ends then."""


def reply(status: int, body: str = "", **headers: str) -> bytes:
    """Return the bytes of an answer; headers with `_` for `-`."""
    lines = [f"HTTP/1.1 {status} Words", f"Content-Length: {len(body.encode())}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def hang(client: socket.socket) -> None:
    """Say nothing until the client goes."""
    with contextlib.suppress(OSError):
        client.recv(1)


def reset(before: bytes = b"") -> Callable[[socket.socket], None]:
    """Send bytes, and then RST."""

    def act(client: socket.socket) -> None:
        client.sendall(before)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return act


def drip(data: bytes, pause: float) -> Callable[[socket.socket], None]:
    """Send a byte at a time [s between them], and its last one again and again, until the client goes."""

    def act(client: socket.socket) -> None:
        client.settimeout(pause)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for byte in itertools.chain(data, itertools.repeat(data[-1])):
                client.sendall(bytes([byte]))
                with contextlib.suppress(TimeoutError):
                    if client.recv(1) == b"":
                        return

    return act


class Fake:
    """An HTTP server with every answer as the test says; `asked` holds all requests."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.unread: bytes = b""
        """Where set: the answer to every request, before its body is read; the connection ends then."""
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        self.port = int(self._listener.getsockname()[1])
        self._clients: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def writes(self) -> list[Asked]:
        return [one for one in self.asked if "write" in one.path]

    def close(self) -> None:
        for one in [self._listener, *self._clients]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            self._clients.append(client)
            with client, client.makefile("rb") as stream:
                while (asked := _request(stream, reads=not self.unread)) is not None:
                    if self.unread:
                        client.sendall(self.unread)
                        break
                    self.asked.append(asked)
                    answer = self.answer(asked)
                    if not isinstance(answer, bytes):
                        answer(client)
                        break
                    client.sendall(answer)


def _request(stream: Any, *, reads: bool) -> Asked | None:
    first = stream.readline().decode().split()
    if len(first) != 3:
        return None
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0))) if reads else b""
    parts = urllib.parse.urlsplit(first[1])
    return Asked(first[0], parts.path, dict(urllib.parse.parse_qsl(parts.query)), headers, body)


@contextlib.contextmanager
def fake(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Fake]:
    """Serve HTTP on a free port as `answer` says."""
    server = Fake(answer, tls)
    try:
        yield server
    finally:
        server.close()


class Store:
    """A server of one api that stores lines in memory, but refuses some in that api's words.

    bad: returns why a line is refused, empty for a good one. words: "named" names each line, "counted" says how many,
    "first" names the first and stores none, "silent" says nothing of use and stores none.
    """

    def __init__(
        self, api: str, bad: Callable[[str], str] = lambda line: "", *, words: str = "named", most: int = 2**62
    ) -> None:
        self.api, self.bad, self.words, self.most = api, bad, words, most
        self.stored: list[str] = []

    def __call__(self, asked: Asked) -> bytes:
        if "write" not in asked.path:
            return ready(asked)
        assert asked.path == {"v1": "/write", "v2": "/api/v2/write", "v3": "/api/v3/write_lp"}[self.api]
        assert asked.query["precision"] == ("nanosecond" if self.api == "v3" else "ns")
        if len(asked.text.encode()) > self.most:
            return reply(413, '{"error":"Request Entity Too Large"}')
        faults = {n: (line, self.bad(line)) for n, line in enumerate(asked.lines, 1) if self.bad(line)}
        if not faults or self.words in ("named", "counted"):
            self.stored += [line for n, line in enumerate(asked.lines, 1) if n not in faults]
        return self._refusal(faults, len(asked.lines)) if faults else reply(204)

    def _refusal(self, faults: dict[int, tuple[str, str]], count: int) -> bytes:
        if self.words == "silent":
            return reply(400, json.dumps({"error": "no", "message": "no"}))
        told = dict(list(faults.items())[:1]) if self.words == "first" else faults
        if self.words == "counted":
            text = f"partial write: {next(iter(told.values()))[1]} dropped={len(faults)}"
        elif self.api == "v3":
            data = [{"original_line": a, "line_number": n, "error_message": why} for n, (a, why) in told.items()]
            return reply(400, json.dumps({"error": "partial write of line protocol occurred", "data": data}))
        else:
            text = "\n".join(f"unable to parse '{line}': {why}" for line, why in told.values())
            text = text if len(faults) == count or self.words == "first" else f"partial write: {text} dropped=0"
        if self.api == "v2":
            return reply(422 if self.words == "counted" else 400, json.dumps({"code": "invalid", "message": text}))
        return reply(400, json.dumps({"error": text}) + "\n")


def ready(asked: Asked, bucket: str = "plant", org: str = "works") -> bytes:
    """Answer what a sink asks before it writes, as a server of each api that has its database or bucket."""
    if asked.path == "/query":
        values = [[name] for name in ("_internal", bucket)]
        return reply(200, json.dumps({"results": [{"series": [{"name": "databases", "values": values}]}]}))
    if asked.path == "/health":
        return reply(200, json.dumps({"name": "influxdb", "message": "ready", "status": "pass", "checks": []}))
    if asked.path == "/api/v2/buckets":
        if asked.query.get("org") != org:
            return reply(404, json.dumps({"code": "not found", "message": 'organization name "x" not found'}))
        found = [{"id": "1", "name": bucket, "retentionRules": []}] if asked.query.get("name") == bucket else []
        return reply(200, json.dumps({"links": {}, "buckets": found}), Content_Type="application/json")
    return reply(404, '{"error":"not found"}')


def translated(server: Influxd, database: str = "plant") -> Answer:
    """Return the answers of a v2 and v3 server in front of influxd 1.6, which stores what is written."""

    def answer(asked: Asked) -> bytes:
        if "write" not in asked.path:
            return ready(asked, database)
        if asked.path == "/write" or asked.query.get("bucket", asked.query.get("db")) != database:
            return reply(404, json.dumps({"code": "not found", "message": "bucket not found"}))
        target = f"{server.url}/write?db={database}&precision=ns"
        packed = urllib.request.Request(target, asked.body, {"Content-Encoding": "gzip"})
        try:
            urllib.request.urlopen(packed, timeout=30).close()
        except urllib.error.HTTPError as error:
            words = json.loads(error.read())["error"]
            status = 422 if asked.path == "/api/v2/write" and "field type conflict" in words else error.code
            return reply(status, json.dumps({"code": "invalid", "message": words, "error": words}))
        return reply(204)

    return answer

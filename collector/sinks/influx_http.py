"""HTTP to an InfluxDB server: one connection, whole requests within a deadline, and what its answers mean.

Certificates are always checked, and no redirect is followed: it would carry the password or token elsewhere.
"""

import contextlib
import datetime as dt
import email.utils
import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from collector.sinks.base import SinkBusy, SinkRefused
from config.redaction import Redaction

CONNECT_S = 5.0
"""How long a connection may take to stand [s]; a request that takes less time overall shortens it."""
MOST_ANSWER = 4 * 2**20
"""So much of an answer is read [B]."""
WAIT_S = 5.0
"""How long a server is left alone that is busy and does not say how long [s]."""
MOST_WAIT_S = 600.0
"""How long a server is left alone at most, whatever it says [s]."""

_WORDS = 300
"""So much of what a server says is told [characters]."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer, as far as it is read; `headers` take names in any case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    data: bytes

    def getheaders(self) -> Mapping[str, str]:
        """Return the headers."""
        return self.headers

    @property
    def text(self) -> str:
        """The body as text, whatever its bytes are."""
        return self.data.decode(errors="replace")

    @property
    def json(self) -> Any:
        """The body as JSON holds it, None where it is none."""
        try:
            return json.loads(self.data)
        except (ValueError, RecursionError):
            return None


class Http:
    """A connection to one server, made when it is needed; use it from one thread."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        secrets: tuple[str, ...],
        ca: Path | None,
        timeout: float,
    ) -> None:
        """Take the server's URL, headers of every request, and how long one may take [s].

        secrets: stand in no message, even where the server repeats them.
        """
        self._headers, self._ca, self._timeout = headers, ca, timeout
        self._redact = Redaction(secrets, shortest=1)
        self._parts = urlsplit(url)
        self.name = f"InfluxDB at {self._parts.scheme}://{self._parts.netloc.rpartition('@')[2]}"
        self.prefix = self._parts.path.rstrip("/")
        self._connection: HTTPConnection | None = None
        self.requests = 0
        self.sent = 0
        """Bytes of bodies [B]."""

    def request(self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        """Send a request and return its answer, whatever its status is.

        target: path and query, below the path of the URL. Raises OSError where no answer comes in time, and
        SinkRefused where the server's certificate is not trusted.
        """
        cut = threading.Event()
        watch = threading.Timer(self._timeout, self._cut, (cut,))
        watch.daemon = True
        watch.start()
        try:
            asked = (method, self.prefix + target, body, {**self._headers, **(headers or {})})
            stood = self._connection
            try:
                reply = self._exchange(*asked)
            except ConnectionError:
                # The server may have closed a connection that lay idle just as the request came. Asking twice is
                # safe: the same rows stand once in InfluxDB. A new connection gets no second chance.
                if stood is None or stood is not self._connection or cut.is_set():
                    raise
                self.close()
                reply = self._exchange(*asked)
            if cut.is_set():  # the end of a body without a length looks like a cut
                raise TimeoutError
        except ssl.SSLCertVerificationError as error:
            self.close()
            hint = "put the certificate, or its issuer's, into the sink's ca file"
            raise SinkRefused(f"{self.name}: its certificate is not trusted ({error.verify_message}); {hint}") from None
        except (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError, ValueError) as error:
            self.close()
            if cut.is_set() or isinstance(error, TimeoutError | urllib3.exceptions.ReadTimeoutError):
                raise TimeoutError(f"{self.name}: no whole answer within {self._timeout:g} s") from None
            raise OSError(self.clean(f"{self.name}: no answer: {error or type(error).__name__}")) from None
        finally:
            watch.cancel()
        return reply

    def _exchange(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        connection = self._connected()
        self.requests += 1
        self.sent += len(body)
        # A server that does not want a body may answer before it has read all of it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, target, body or None, headers, preload_content=False, decode_content=False)
        with connection.getresponse() as response:
            data = response.read(MOST_ANSWER)
            whole = not response.read(1)
            reply = Reply(response.status, response.reason or "", response.headers, data)
        if not whole or response.headers.get("Connection", "").lower() == "close":
            self.close()
        return reply

    def _connected(self) -> HTTPConnection:
        if self._connection is not None and not self._connection.is_connected:
            self.close()
        if self._connection is None:
            host, port = self._parts.hostname or "", self._parts.port
            limit = min(CONNECT_S, self._timeout)
            if self._parts.scheme == "https":
                self._connection = HTTPSConnection(host, port, timeout=limit, ssl_context=self._trust())
            else:
                self._connection = HTTPConnection(host, port, timeout=limit)
            self._connection.connect()
            self._connection.timeout = self._timeout
            if self._connection.sock is not None:
                self._connection.sock.settimeout(self._timeout)
        return self._connection

    def _trust(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._ca)
        except (OSError, ValueError) as error:
            raise SinkRefused(
                f"{self.name}: ca {self._ca} cannot be read ({error}); mend the file or its name"
            ) from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._ca is not None:  # a server's own certificate may stand there, without its issuer
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    def _cut(self, cut: threading.Event) -> None:
        # A server that sends a byte now and then keeps each read alive: what is too long in all is cut from outside.
        cut.set()
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    def clean(self, text: str) -> str:
        """Return text on one line, within bounds, and without the secrets."""
        text = self._redact(text)
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text if len(text) <= _WORDS else f"{text[: _WORDS - 3]}..."

    def words(self, reply: Reply) -> str:
        """Return what the server says, and its status."""
        return self.clean(f"{said(reply) or reply.reason or 'no words'} ({reply.status})")

    def demand(self, reply: Reply, hint: str) -> None:
        """Raise what an answer means that is no consent; hint: the next step where access is denied.

        Raises SinkBusy for 429 and 503, other OSErrors for what may pass, and SinkRefused for the rest.
        """
        words = f"{self.name}: {self.words(reply)}"
        match reply.status:
            case 200 if not _consents(reply):
                raise SinkRefused(f"{words}; this is no answer of InfluxDB: check url, and what stands in between")
            case 200 | 204:
                return
            case 429 | 503:
                raise SinkBusy(words, retry_after(reply.headers))
            case 408 | 425:
                raise OSError(words)
            case status if status >= 500:
                raise OSError(words)
            case status if 300 <= status < 400:
                place = self.clean(reply.headers.get("Location", "nowhere"))
                raise SinkRefused(f"{words}; it points to {place}, and is not followed: write the server's own address")
            case 401 | 403:
                raise SinkRefused(f"{words}; {hint}")
            case _:
                raise SinkRefused(f"{words}; check url, api and the names in the sink's settings")

    def close(self) -> None:
        """End the connection; the next request makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _consents(reply: Reply) -> bool:
    """Return whether a body is empty, a word or two, or JSON without an error: a page is no answer of InfluxDB."""
    body = reply.json
    if isinstance(body, dict):
        return "error" not in body
    return len(reply.data) < 64 and b"<" not in reply.data


def said(reply: Reply) -> str:
    """Return the words of an error in a body: InfluxDB's `error` or `message`, else the text without its markup."""
    body = reply.json
    if isinstance(body, dict):
        for key in ("error", "message", "err"):
            if isinstance(body.get(key), str) and body[key]:
                return str(body[key])
    return " ".join(re.sub(r"<[^>]*>", " ", reply.text[:65536]).split())


def retry_after(headers: Mapping[str, str]) -> float:
    """Return how long the header Retry-After asks to wait [s]: a number of seconds, or a date by the server's clock."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        return min(float(text), MOST_WAIT_S)
    until = _date(text)
    if until is None:
        return WAIT_S
    now = _date(headers.get("Date", "")) or dt.datetime.fromtimestamp(time.time(), dt.UTC)
    return min(max((until - now).total_seconds(), 0.0), MOST_WAIT_S)


def _date(text: str) -> dt.datetime | None:
    try:
        stamp = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return stamp if stamp.tzinfo is not None else stamp.replace(tzinfo=dt.UTC)

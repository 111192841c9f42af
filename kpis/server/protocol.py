"""HTTP/1.1 with limits that uvicorn's own does not have: a head that never ends, and connections without number."""

import asyncio
import json
from pathlib import Path

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 15.0
"""A request's head must be there within this time [s]."""
KEEP_ALIVE_S = 15
"""A connection may rest so long between two requests [s]."""
MOST_CONNECTIONS = 256
MAX_HEAD = 16 * 1024
"""[B]"""


class Limited(H11Protocol):
    """Closes connections that send no whole head in time, and those above the limit."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection, or close it where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what came; the time for a head runs on until it is whole."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._rest()
        elif self._head is None and not self.transport.is_closing():
            self._wait()

    def on_response_complete(self) -> None:
        """Begin anew with the next request of the connection, part of whose head may have come already."""
        self._rest()
        super().on_response_complete()
        if self.cycle.response_complete and self.conn.trailing_data[0] and not self.transport.is_closing():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a connection."""
        self._rest()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the shape of every error."""
        said = {"code": "bad_request", "message": "this is no HTTP request, or its head is too long"}
        body = json.dumps({"error": {**said, "next": "send HTTP/1.1 with a shorter head"}}).encode()
        head = [(b"content-type", b"application/json"), (b"connection", b"close")]
        for event in (h11.Response(status_code=400, headers=head), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _wait(self) -> None:
        self._head = self.loop.call_later(HEAD_S, self.transport.abort)

    def _rest(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


def config_of(app: ASGIApp, tls_cert: Path | None = None, tls_key: Path | None = None) -> uvicorn.Config:
    """Return how an app is served: with limits, without telling what serves it, trusting no proxy's word."""
    return uvicorn.Config(
        app,
        http=Limited,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=MAX_HEAD,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=10,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
    )

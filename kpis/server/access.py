"""The access log: who asked what when, and what was answered, as one line of JSON a request.

Neither a token nor a query is in it: of a token its name, of an address its path.
"""

import datetime as dt
import json
import logging
import sys
import time
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("plantproof.access")

SEEN = "plantproof.seen"
"""Key of a request's scope: what is told of it, `Seen`."""
QUIET = ("/health",)
"""Paths that probes ask for all day: only what goes wrong there is told."""
_LONGEST = 500
"""So much of a path is told [characters]."""


@dataclass(slots=True)
class Seen:
    """What is known of a request by its end."""

    token: str | None = None
    """Name of the token that opened the route."""
    status: int | None = None
    """None: the connection was closed before an answer began."""
    size: int = 0
    """Of the answer's body [B]."""


class Access:
    """Tells of each request when its answer is over; stands outside of all else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, and tell of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen, began = Seen(), time.perf_counter()
        try:
            await self._app({**scope, SEEN: seen}, receive, _counted(seen, send))
        except Exception:
            seen.status = seen.status or 500  # which is answered outside of here
            raise
        finally:
            if scope["path"] not in QUIET or seen.status != 200:
                log.info("%s", _line(scope, seen, time.perf_counter() - began))


def to_stderr() -> None:
    """Write the access log to stderr, beside what else a server says there."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


def _counted(seen: Seen, send: Send) -> Send:
    async def counted(message: Message) -> None:
        if message["type"] == "http.response.start":
            seen.status = message["status"]
        elif message["type"] == "http.response.body":
            seen.size += len(message.get("body", b""))
        await send(message)

    return counted


def _line(scope: Scope, seen: Seen, seconds: float) -> str:
    """Return a request as a line of JSON; whatever a client sent is ASCII in it."""
    client = scope.get("client")
    told = {
        "time": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
        "event": "request",
        "client": client[0] if client else None,
        "token": seen.token,
        "method": scope["method"],
        "path": scope["path"][:_LONGEST],
        "status": seen.status,
        "bytes": seen.size,
        "ms": round(1000 * seconds, 1),
    }
    return json.dumps(told)

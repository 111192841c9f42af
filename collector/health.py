"""Answers how the agent does, in its own event loop: /healthz, /livez and /metrics; only where [health] asks for it.

It may never hurt collecting: few connections, short heads, short times, and an address that cannot be listened at is
told and tried again. As it lives in the loop that it speaks of, a loop that hangs answers nobody.
"""

import asyncio
import importlib.util
import json
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from collector.health_http import HEAD_BYTES, METHODS, Answer, Asked, Refused, asked, refusal
from collector.status import Status
from collector.watchdog import Watchdog
from config.faults import Fault
from config.plant import Health, Plant, host_and_port

log = logging.getLogger("plantproof.agent")

CONNECTIONS = 16
"""So many clients at a time; further ones are turned away."""
HEAD_S = 5.0
"""How long a client may take for its head [s], and again for taking the answer."""
AGAIN_S = 30.0
"""How long until an address that cannot be listened at is tried again [s]."""


def faults(plant: Plant) -> list[Fault]:
    """Return what this installation lacks for [health]; never listens."""
    if plant.health is None or importlib.util.find_spec("prometheus_client") is not None:
        return []
    place = plant.places.get("plant.toml: health", "plant.toml: health")
    rule = "wants prometheus-client, which is not installed"
    return [Fault(place, "health", "", rule, 'install it with: pip install "prometheus-client>=0.26,<1"')]


def started(plant: Plant, status: Status, watchdog: Watchdog) -> list[asyncio.Task[None]]:
    """Return the running task that answers, none where nobody asked for it; cancel it to end."""
    if plant.health is None:
        return []
    listener = Listener(plant.health, status, watchdog, spool_bytes=plant.spool.max_size)
    return [asyncio.create_task(listener.run(), name="health")]


class Listener:
    """Listens for as long as `run` is not cancelled."""

    def __init__(self, health: Health, status: Status, watchdog: Watchdog, *, spool_bytes: int) -> None:
        """Take what it speaks of; spool_bytes: the most that the spool may take [B]."""
        self._host, self._port = host_and_port(health.listen)
        if self._host.lower() == "localhost":
            self._host = "127.0.0.1"
        self._status, self._watchdog, self._spool_bytes = status, watchdog, spool_bytes
        self._clients: set[asyncio.Task[None]] = set()
        self._pages: Mapping[str, Callable[[Asked], Answer]] = {
            "/healthz": lambda _: health_of(status.report()),
            "/livez": lambda _: _alive(watchdog),
        }
        status.health = {"listen": health.listen, "error": ""}

    async def run(self) -> None:
        """Listen; where that fails, tell why and try again."""
        while True:
            try:
                self._load()
                server = await asyncio.start_server(
                    self._met, self._host, self._port, limit=HEAD_BYTES, backlog=CONNECTIONS
                )
            except (OSError, ValueError, ImportError) as error:  # ValueError: a name that no host can have
                self._tell(str(error))
                await asyncio.sleep(AGAIN_S)
                continue
            self._tell("")
            try:
                await asyncio.Event().wait()
            finally:
                server.close()
                for client in self._clients:
                    client.cancel()
                await asyncio.gather(*self._clients, return_exceptions=True)

    def _load(self) -> None:
        """Load what /metrics wants before it is asked for: later there may be no descriptor left for an import."""
        from collector.metrics import Exposition  # noqa: PLC0415  agents without [health] do not load it

        exposition = Exposition(self._report)
        self._pages = {**self._pages, "/metrics": lambda request: _text(*exposition.text(request.accept))}

    def _tell(self, error: str) -> None:
        about = self._status.health
        if not error:
            log.info("health: listens at %s", about["listen"])
        elif error != about["error"]:
            log.error("health: cannot listen at %s: %s; tried again each %.0f s", about["listen"], error, AGAIN_S)
        about["error"] = error

    def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= CONNECTIONS:
            writer.transport.abort()
            return
        client = asyncio.create_task(self._serve(reader, writer), name="health client")
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, then close; who is too slow is cut off."""
        try:
            if (answer := await self._answer(reader)) is not None:
                async with asyncio.timeout(HEAD_S):
                    writer.write(answer)
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
        except (OSError, TimeoutError):
            pass  # the client is gone, or does not take its answer
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes | None:
        head_only = False
        try:
            async with asyncio.timeout(HEAD_S):
                request = await asked(reader)
            if request is None:
                return None
            head_only = request.method == "HEAD"
            answer = self._page(request)
        except TimeoutError:
            answer = refusal(HTTPStatus.REQUEST_TIMEOUT)
        except Refused as error:
            answer = refusal(error.status)
        except OSError:
            raise
        except Exception:
            log.exception("health: no answer")
            answer = refusal(HTTPStatus.INTERNAL_SERVER_ERROR)
        return answer.written(head_only=head_only)

    def _page(self, request: Asked) -> Answer:
        page = self._pages.get(request.path)
        if page is None:
            return refusal(HTTPStatus.NOT_FOUND)
        if request.method not in METHODS:
            return refusal(HTTPStatus.METHOD_NOT_ALLOWED, Allow=", ".join(METHODS))
        return page(request)

    def _report(self) -> dict[str, Any]:
        """Return the status with what it does not say itself."""
        report = self._status.report()
        spool = {**report["spool"], "max_bytes": self._spool_bytes}
        return {**report, "spool": spool, "watchdog_fed": self._watchdog.looks_well()}


def health_of(report: Mapping[str, Any]) -> Answer:
    """Return 200 of a healthy agent, else 503 with the ids that are at fault; texts of machines are in status."""
    if report["healthy"]:
        return _json(HTTPStatus.OK, {"status": "healthy"})
    sources = {name: one["state"] for name, one in report["sources"].items() if not one["fresh"]}
    sinks = [name for name, one in report["sinks"].items() if one["error"]]
    found: dict[str, Any] = {"status": "unhealthy"}
    found |= {"not_fresh": sources} if sources or not report["sources"] else {}
    found |= {"sinks_with_error": sinks} if sinks else {}
    found |= {"spool_error": True} if report["spool"].get("error") else {}
    return _json(HTTPStatus.SERVICE_UNAVAILABLE, found)


def _alive(watchdog: Watchdog) -> Answer:
    if watchdog.looks_well():
        return _json(HTTPStatus.OK, {"status": "alive"})
    return _json(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "stuck", "loops": list(watchdog.stuck)})


def _text(kind: str, body: bytes) -> Answer:
    return Answer(HTTPStatus.OK, kind, body)


def _json(status: HTTPStatus, told: Mapping[str, Any]) -> Answer:
    return Answer(status, "application/json", json.dumps(told).encode() + b"\n")

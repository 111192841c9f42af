"""A publisher that plays a machine as JSON over MQTT, and a broker inside the process for demo and tests."""

import asyncio
import importlib
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from connectors.sim.machine import Machine
from connectors.sim.timeline import datetime_of, instants, is_out, until, values_at

_SECOND = 1_000_000_000


def payload(machine: Machine, t: int) -> bytes:
    """Return the JSON message of the machine at `t` [ns since 1970, UTC]: `ts` in ISO 8601, and each role."""
    stamp = datetime_of(t).isoformat(timespec="microseconds")
    return json.dumps({"ts": stamp, **values_at(machine, t)}).encode()


def schedule(machine: Machine, start: int, end: int) -> list[int]:
    """Return the instants of its messages in [start, end): each change and each second after its anchor."""
    seconds = range(machine.anchor, end, _SECOND)
    changed = [machine.anchor + int(offset) for offset in instants(machine)]
    return sorted(t for t in {*seconds, *changed} if start <= t < end and not is_out(machine, t))


class MqttMachine:
    """Publishes a machine with QoS 1 from its anchor to `end` [ns since 1970, UTC]; an async context manager.

    `finished` is set once the broker has acknowledged the last message.
    """

    def __init__(self, machine: Machine, broker: str, topic: str, end: int) -> None:
        self.machine, self.topic, self.end = machine, topic, end
        self.endpoint = broker
        self.finished = asyncio.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, f"sim-{machine.name}")
        self._connected = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Connect and begin to publish; TimeoutError where the broker does not accept within 10 s."""
        loop = asyncio.get_running_loop()

        def on_connect(_client: object, _data: object, _flags: object, code: ReasonCode, *_: object) -> None:
            if not code.is_failure:
                loop.call_soon_threadsafe(self._connected.set)

        self._client.on_connect = on_connect
        url = urlsplit(self.endpoint)
        await asyncio.to_thread(self._client.connect, url.hostname or "127.0.0.1", url.port or 1883)
        self._client.loop_start()
        await asyncio.wait_for(self._connected.wait(), 10)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop publishing and disconnect; raises what publishing failed with."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)
        if self._task is not None and not self._task.cancelled():
            self._task.result()

    async def _run(self) -> None:
        info: paho.MQTTMessageInfo | None = None
        for t in schedule(self.machine, self.machine.anchor, self.end):
            await until(t)
            info = self._client.publish(self.topic, payload(self.machine, t), qos=1)
        if info is not None:
            await asyncio.to_thread(info.wait_for_publish, 10)
            if not info.is_published():
                raise TimeoutError(f"{self.topic}: the broker did not acknowledge the last message within 10 s")
        self.finished.set()


def free_port() -> int:
    """Return a TCP port of the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def embedded_broker() -> AsyncIterator[str]:
    """Run an MQTT 3.1.1 broker in this event loop and yield its URL; needs the extra `dev` (amqtt).

    It serves demo and tests: it keeps nothing on disk.
    """
    for noisy in ("amqtt", "transitions"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    # Only here, since the broker is no dependency of a gateway.
    amqtt = importlib.import_module("amqtt.broker")
    port = free_port()
    broker = amqtt.Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    try:
        yield f"mqtt://127.0.0.1:{port}"
    finally:
        await broker.shutdown()

"""One connection to an MQTT broker: the library's network thread on one side, asyncio on the other."""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from connectors.base import SourceLost, SourceRefused

log = logging.getLogger("plantproof.mqtt")

T = TypeVar("T")

SESSION_S = 86_400
"""How long the broker keeps our session, and what comes in for it, while we are away [s]."""
RECEIVE_MAXIMUM = 1000
"""So many messages may be unacknowledged; then the broker waits."""
MAX_PACKET = 4 * 2**20
"""The broker keeps larger messages to itself [B]."""
MAX_WAITING = 20_000
"""QoS 0 messages, which no acknowledgement holds back, are dropped and counted beyond so many."""
_REFUSALS = (
    "Bad user name or password",
    "Not authorized",
    "Banned",
    "Bad authentication method",
    "Client identifier not valid",
)
"""Reason codes of CONNACK that a person must mend (MQTT 5.0, 3.2.2.2)."""


class OldBroker(SourceLost):
    """The broker does not speak MQTT 5.0; 3.1.1 may do."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it came."""

    topic: str
    payload: bytes
    mid: int
    qos: int
    received: int


class Link:
    """Connects once; never reconnects by itself."""

    def __init__(self, client_id: str, user: str, password: str, patience: float, *, v5: bool = True) -> None:
        """Take the name of the persistent session, empty for none; `patience` is for one request [s].

        v5: speak MQTT 5.0, or else 3.1.1.
        """
        self._patience, self._persistent, self._v5 = patience, bool(client_id), v5
        self._loop = asyncio.get_running_loop()
        self._connected: asyncio.Future[bool] = self._loop.create_future()
        self._granted: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._thread: threading.Thread | None = None
        self._closed = False
        self._wake = asyncio.Event()
        self.messages: deque[Message] = deque()
        self.lost: str | None = None
        """Why the link is down."""
        self.dropped = 0
        self.session_present = False
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5 if v5 else paho.MQTTv311,
            clean_session=None if v5 else not self._persistent,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self._client.connect_timeout = patience
        if user:
            self._client.username_pw_set(user, password or None)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    async def open(self, host: str, port: int) -> None:
        """Connect; raises SourceLost, SourceRefused, and OldBroker where the broker does not speak MQTT 5.0."""
        keepalive = max(5, round(self._patience))
        if self._v5:
            properties = self._properties()
            self._client.connect_async(host, port, keepalive, clean_start=not self._persistent, properties=properties)
        else:
            self._client.connect_async(host, port, keepalive)
        self._client.loop_start()
        try:
            async with asyncio.timeout(self._patience):
                self.session_present = await self._connected
        except TimeoutError:
            raise SourceLost(f"no MQTT connection to {host}:{port} within {self._patience:g} s") from None

    def _properties(self) -> Properties:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        properties.MaximumPacketSize = MAX_PACKET
        if self._persistent:
            properties.SessionExpiryInterval = SESSION_S
        return properties

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Subscribe at QoS 1; raises SourceRefused naming the topics refused, and SourceLost."""
        answer: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        result, mid = self._client.subscribe([(topic, 1) for topic in topics])
        if mid is None or result != paho.MQTT_ERR_SUCCESS:
            raise SourceLost(f"subscribe: {paho.error_string(result)}")
        self._granted[mid] = answer
        try:
            async with asyncio.timeout(self._patience):
                codes = await answer
        except TimeoutError:
            raise SourceLost(f"no answer to SUBSCRIBE within {self._patience:g} s") from None
        refused = [f"{t!r} ({code})" for t, code in zip(topics, codes, strict=False) if code.is_failure]
        if refused or len(codes) != len(topics):
            raise SourceRefused(f"the broker refuses topics {', '.join(refused) or codes}; let this user read them")
        for topic, code in zip(topics, codes, strict=True):
            if code.value < 1:
                log.warning("topic %s: the broker grants QoS 0 only; messages can get lost", topic)

    async def wait(self, longest: float) -> None:
        """Wait for messages or the link's end, at most `longest` [s]."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await self._wake.wait()
        self._wake.clear()

    def alive(self) -> bool:
        """Return whether the network thread runs; the library says connected even when it died."""
        return self._thread is not None and self._thread.is_alive()

    def ack(self, messages: Sequence[tuple[int, int]]) -> None:
        """Acknowledge messages by (mid, QoS); one of a broken link is left for the broker to send again."""
        if self._closed or self.lost is not None:
            return
        for mid, qos in messages:
            self._client.ack(mid, qos)

    async def close(self, longest: float) -> None:
        """Disconnect and wait for the network thread, at most `longest` [s]."""
        if self._closed:
            return
        self._closed = True
        self._connected.cancel()
        done = asyncio.Event()

        def stop() -> None:
            self._client.disconnect()
            self._client.loop_stop()
            self._call(done.set)

        # A daemon of its own: the library waits for its thread without a limit.
        threading.Thread(target=stop, name="mqtt goodbye", daemon=True).start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await done.wait()

    def _call(self, callback: Callable[..., None], *values: object) -> None:
        """Run a callback in the event loop, from any thread; a loop that is closed needs it no more."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *values)

    # What follows runs in the library's thread, where an exception would end the thread and nothing else.

    def _on_connect(
        self,
        client: paho.Client,
        data: object,
        flags: paho.ConnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._thread = threading.current_thread()
        if not code.is_failure:
            self._call(_settle, self._connected, flags.session_present)
        elif self._v5 and code.getName() == "Unsupported protocol version":
            self._call(_fail, self._connected, OldBroker(str(code)))
        elif code.getName() in _REFUSALS:
            self._call(_fail, self._connected, SourceRefused(f"the broker refuses with {str(code)!r}"))
        else:
            self._call(_fail, self._connected, SourceLost(f"the broker answers with {str(code)!r}"))

    def _on_connect_fail(self, client: paho.Client, data: object) -> None:
        self._call(_fail, self._connected, SourceLost("the broker cannot be reached"))

    def _on_disconnect(
        self,
        client: paho.Client,
        data: object,
        flags: paho.DisconnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._call(self._down, f"disconnected: {code}")

    def _on_subscribe(
        self,
        client: paho.Client,
        data: object,
        mid: int,
        codes: list[ReasonCode],
        properties: Properties | None,
    ) -> None:
        self._call(self._answered, mid, codes)

    def _on_message(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        received = time.time_ns()
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # no point has it: it is acknowledged and counted like any stray message
        if message.qos == 0 and len(self.messages) >= MAX_WAITING:
            self.dropped += 1
            return
        self.messages.append(Message(topic, bytes(message.payload), message.mid, message.qos, received))
        self._call(self._wake.set)

    # And this runs in the event loop.

    def _down(self, reason: str) -> None:
        self.lost = reason
        _fail(self._connected, SourceLost(reason))
        for answer in self._granted.values():
            _fail(answer, SourceLost(reason))
        self._wake.set()

    def _answered(self, mid: int, codes: list[ReasonCode]) -> None:
        answer = self._granted.pop(mid, None)
        if answer is not None:
            _settle(answer, codes)


def _settle(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # it may come when nobody waits any more

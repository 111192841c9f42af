"""One connection to an MQTT broker: never reconnects by itself, and never reads more than it may hold."""

import asyncio
import contextlib
import datetime as dt
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from config.redaction import Redaction
from connectors.base import SourceLost, SourceRefused
from connectors.mqtt import packets, reasons
from connectors.mqtt.packets import CONNACK, DISCONNECT, SUBACK, Control, Malformed, Reader
from connectors.mqtt.target import Target
from connectors.tls import ends_soon, untrusted

if TYPE_CHECKING:
    from connectors.mqtt.websocket import WebSocket

T = TypeVar("T")

WAITING_BYTES = 4 * 2**20
"""More than this is not read ahead of those who take messages [B]; a single message may be larger."""
TAKEN_BYTES = 2**20
"""So much is taken at a time [B]; a single message may be larger."""
WAITING = 20_000
"""Nor more messages than this."""
OVERHEAD = 200
"""What a message takes in memory besides its payload [B]."""
_ROOM = 64 * 1024
FEW = 8
"""Unacknowledged messages for which no broker stops."""
FILTERS = 200
"""Topic filters in one SUBSCRIBE."""


class OldBroker(SourceLost):
    """The broker does not speak MQTT 5.0; 3.1.1 may do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is agreed with the broker when the link opens."""

    client_id: str = ""
    """Names the persistent session; empty: there is none."""
    user: str = ""
    password: str = ""
    keep_alive: float = 10.0
    """Silence after which the other side is asked for a sign of life [s]."""
    expiry: float = 86_400.0
    """How long the broker keeps the session while we are away [s]."""
    receive_maximum: int = 1000
    """So many messages may be unacknowledged; then the broker waits."""
    max_packet: int = 4 * 2**20
    """Larger messages are not taken [B]."""


class Arrived(NamedTuple):
    """A message and when it came."""

    topic: bytes
    payload: bytes
    mid: int
    flags: int
    size: int
    ids: tuple[int, ...]
    received: int
    """[ns since 1970, UTC]"""


class Link(asyncio.BufferedProtocol):
    """A TCP or TLS connection, or a WebSocket over either."""

    def __init__(
        self, target: Target, session: Session, patience: float, *, v5: bool = True, tls: ssl.SSLContext | None = None,
        server_name: str = "",
    ) -> None:  # fmt: skip
        """Take where it goes; `patience` is for one answer [s]; `v5`: speak MQTT 5.0, or else 3.1.1."""
        self.target, self._session, self._patience, self._v5 = target, session, patience, v5
        self._tls, self._server_name = tls, server_name or target.host
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(v5=v5, max_packet=session.max_packet)
        self._room = memoryview(bytearray(_ROOM))
        self._transport: asyncio.Transport | None = None
        self._send: Callable[[bytes], None] = _nowhere
        self._socket: WebSocket | None = None
        self._unframed: Callable[[bytes], bytes] = bytes
        self._connected: asyncio.Future[Control] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._granted: dict[int, asyncio.Future[tuple[int, ...]]] = {}
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._heard = self._sent = 0.0
        self.heard_ns = 0
        """When the broker last gave a sign of life [ns since 1970, UTC]."""
        self._asked: float | None = None
        self._paused = self._more = False
        self._waiting_bytes = 0
        self._mid = 0
        self.keep_alive = session.keep_alive
        self.messages: deque[Arrived] = deque()
        self.lost: SourceLost | SourceRefused | None = None
        """Why the link is down."""
        self.session_present = False
        self.marks = False
        """Whether messages can bear the number of the filter that brought them."""
        self.unacknowledged = 0
        """Messages at QoS 1 that wait for their PUBACK."""
        # A broker of 3.1.1 does not say how many it lets wait, 10 or 20 with many; one of 5.0 may have a limit of its
        # own below ours. It shows where nothing more comes.
        self._widest = session.receive_maximum // 2 if v5 else FEW
        self.window = self._widest
        """With so many unacknowledged messages the broker may be waiting for us."""
        self.full = asyncio.Event()
        """Set once reading waited for those who take messages."""
        self.received = 0
        """Bytes that came in."""
        self.pauses = 0
        """How often reading waited for those who take messages."""

    async def open(self) -> None:
        """Connect; raises SourceLost, SourceRefused, and OldBroker where the broker does not speak MQTT 5.0."""
        secure = {"ssl": self._tls, "server_hostname": self._server_name} if self._tls is not None else {}
        try:
            async with asyncio.timeout(self._patience):
                await self._loop.create_connection(lambda: self, self.target.host, self.target.port, **secure)  # type: ignore[call-overload]
                answer = await self._connected
        except TimeoutError:
            hint = "; look whether its port speaks WebSocket" if self.target.path else ""
            raise SourceLost(f"no MQTT connection to {self.target.name} within {self._patience:g} s{hint}") from None
        except ssl.SSLCertVerificationError as error:
            raise untrusted(self.target.name, error) from error
        except ssl.SSLError as error:
            refusal = self._alert(error)
            hint = "look whether its port speaks TLS"
            why = error.reason or str(error) or "the other side hung up"
            raise refusal or SourceLost(f"{self.target.name}: TLS fails ({why}); {hint}") from error
        except OSError as error:
            hint = "; look whether its port speaks TLS" if self._tls and isinstance(error, ConnectionResetError) else ""
            why = error.strerror or str(error) or type(error).__name__
            raise SourceLost(f"{self.target.name}: {why}{hint}") from error
        if answer.code >= reasons.FAILURE:
            raise self._refused(answer)
        self.session_present = answer.session_present
        self.marks = self._v5 and answer.properties.get(packets.HAS_IDENTIFIERS, 1) != 0
        self.keep_alive = min(self.keep_alive, self._number(answer, packets.SERVER_KEEP_ALIVE) or self.keep_alive)
        self._heard = self._sent = self._loop.time()
        self._watch()

    @staticmethod
    def _number(answer: Control, identifier: int) -> int:
        value = answer.properties.get(identifier, 0)
        return value if isinstance(value, int) else 0

    def _refused(self, answer: Control) -> SourceLost | SourceRefused:
        # A broker may say again what it was sent.
        said = Redaction((self._session.password,), shortest=1)(str(answer.properties.get(packets.REASON, "")))
        told = f"{self.target.name} refuses: {reasons.told(answer.code)}" + (f", {said!r}" if said else "")
        if answer.code == reasons.OLD_VERSION and self._v5:
            return OldBroker(told)
        advice = reasons.advice(answer.code)
        return SourceRefused(f"{told}; {advice}") if advice is not None else SourceLost(told)

    def _alert(self, error: ssl.SSLError) -> SourceRefused | None:
        """Return what to tell where the broker refuses us in TLS, which it does with an alert."""
        reason = error.reason or ""
        if "ALERT" not in reason or "INTERNAL" in reason:
            return None
        why = f"{self.target.name} refuses our side of TLS ({reason.replace('_', ' ').lower()})"
        return SourceRefused(f"{why}; give the source the certificate and private_key that it wants")

    async def subscribe(self, filters: Sequence[str], qos: int, marks: Mapping[str, int]) -> list[tuple[str, int]]:
        """Subscribe; return each filter with the QoS granted, or with the reason code it is refused with.

        marks: filters whose messages are to bear a number, and which; 3.1.1 knows no such thing. Messages must be
        taken meanwhile once `full` is set. Raises SourceLost.
        """
        numbers = marks if self.marks else {}
        plain = [one for one in filters if one not in numbers]
        granted: list[tuple[str, int]] = []
        for start in range(0, len(plain), FILTERS):
            granted += await self._subscribe(plain[start : start + FILTERS], qos, 0)
        for one, number in numbers.items():
            granted += await self._subscribe([one], qos, number)
        return granted

    async def _subscribe(self, filters: list[str], qos: int, identifier: int) -> Iterable[tuple[str, int]]:
        if self.lost is not None:
            raise self.lost
        self._mid = self._mid % 0xFFFF + 1
        answer = self._granted[self._mid] = self._loop.create_future()
        self._write(packets.subscribe(self._mid, filters, qos, v5=self._v5, identifier=identifier))
        while not answer.done():
            before = self.received
            await asyncio.wait([answer], timeout=self._patience)
            # What the session kept for us comes before the answer, and may be much.
            if not answer.done() and not self._paused and self.received - before < _ROOM:
                raise SourceLost(f"no answer to SUBSCRIBE within {self._patience:g} s")
        codes = answer.result()
        if len(codes) != len(filters):
            raise SourceLost(f"{len(codes)} answers to {len(filters)} topic filters")
        return zip(filters, codes, strict=True)

    def take(self, most: int) -> list[Arrived]:
        """Return messages that wait, oldest first, up to `most`, and up to TAKEN_BYTES."""
        taken: list[Arrived] = []
        size = 0
        while self.messages and len(taken) < most and size < TAKEN_BYTES:
            taken.append(self.messages.popleft())
            size += len(taken[-1].payload) + len(taken[-1].topic) + OVERHEAD
        self._waiting_bytes -= size
        if self._paused and self._has_room() and self._transport is not None and self.lost is None:
            self._paused = False
            self._heard = self._loop.time()
            self._transport.resume_reading()
        return taken

    def _has_room(self) -> bool:
        return self._waiting_bytes < WAITING_BYTES and len(self.messages) < WAITING

    async def wait(self, longest: float) -> bool:
        """Wait for messages or the link's end, at most `longest` [s]; return whether either came."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await self._wake.wait()
        came = self._wake.is_set()
        self._wake.clear()
        return came

    async def gather(self, pause: float) -> None:
        """Let messages that follow closely wait in the socket, and take them together after `pause` [s].

        Each on its own would cost many times as much. A broker that waits for acknowledgements is not kept waiting.
        """
        transport = self._transport
        if transport is None or self._paused or self.lost is not None or self.unacknowledged >= self.window:
            return
        transport.pause_reading()
        await asyncio.sleep(pause)
        if self.lost is not None or self._transport is None:
            return
        transport.resume_reading()
        before = len(self.messages)
        self._more = True
        while self._more and self._has_room() and self.lost is None:
            self._more = False
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # the loop has read by now, all that waited or as much as there is room for at once
        if len(self.messages) == before and self.unacknowledged >= FEW:
            self.window = self.unacknowledged

    def ack(self, mids: Iterable[int]) -> None:
        """Acknowledge messages; those of a broken link are left for the broker to send again."""
        if self.lost is None and (known := list(mids)):
            self.unacknowledged -= len(known)
            self._write(packets.pubacks(known))

    def ask(self, topic: str, payload: bytes) -> None:
        """Send the one message there is: a Sparkplug node is asked for its birth."""
        self._write(packets.request(topic, payload, v5=self._v5))

    def warning(self) -> str | None:
        """Return what a person should know of the broker's certificate."""
        tls = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        return ends_soon(tls, dt.datetime.now(dt.UTC))

    async def close(self, longest: float) -> None:
        """Say goodbye and close, at most `longest` [s]; the broker keeps the session.

        The broker hangs up once it has read all, the last acknowledgements among it. A client that comes again before
        that takes the session over, and the broker may forget what it has not read: it would send all that again.
        """
        if self._timer is not None:
            self._timer.cancel()
        transport, self._transport = self._transport, None
        if transport is None:
            return
        if self.lost is None and not transport.is_closing():
            self._write(packets.GOODBYE)
            self.lost = SourceLost("closed")
            transport.resume_reading()  # or its hanging up would not be seen
        else:
            self.lost = self.lost or SourceLost("closed")
            transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await self._gone
        transport.abort()

    def _write(self, data: bytes) -> None:
        self._sent = self._loop.time()
        self._send(data)

    def _watch(self) -> None:
        """Ask for a sign of life after a time of silence; give up where none comes [3.1.2.10]."""
        now = self._loop.time()
        if self._paused:  # what the broker says waits in the socket, and we know why
            self._heard = now
        if self._heard > (self._asked or 0):
            self._asked = None
        patience = min(self._patience, self.keep_alive)
        if self._asked is not None and now - self._asked >= patience:
            self._fail(SourceLost(f"{self.target.name} is silent for {now - self._heard:.1f} s"))
            return
        # Twice the keepalive is the time in which silence is noticed, the timer's steps included.
        if self._asked is None and now - min(self._heard, self._sent) >= self.keep_alive * 0.75:
            self._asked = now
            self._write(packets.PINGREQ)
        self._timer = self._loop.call_later(min(self.keep_alive, patience) / 10, self._watch)

    # What follows is called by the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the session."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  the loop's promise
        self._transport, session = transport, self._session
        hello = packets.connect(
            client_id=session.client_id,
            user=session.user,
            password=session.password,
            keep_alive=max(1, round(session.keep_alive)),
            v5=self._v5,
            clean=not session.client_id,
            expiry=min(round(session.expiry), 0xFFFFFFFF) if session.client_id else 0,
            receive_maximum=session.receive_maximum,
            max_packet=session.max_packet,
        )
        self._send = self._transport.write
        if self.target.path:
            from connectors.mqtt.websocket import WebSocket  # noqa: PLC0415  not on every gateway

            self._socket = socket = WebSocket(
                self.target, max(4 * session.max_packet, WAITING_BYTES), self._transport.write
            )
            self._send, self._unframed = socket.send, socket.feed
            socket.open()
        self._write(hello)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return room to read into; else the loop would make 256 KiB of it each time."""
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came: nothing that a broker sends may end in an exception here."""
        if self.lost is not None:
            return
        self._heard, self.heard_ns = self._loop.time(), time.time_ns()
        self._more = nbytes == _ROOM
        self.received += nbytes
        found: list[packets.Message | Control] = []
        try:
            self._reader.feed(self._unframed(self._room[:nbytes].tobytes()), found)
        except Malformed as error:
            self._sort(found)
            self._fail(SourceLost(f"{self.target.name} does not speak MQTT as it should: {error}"))
            return
        self._sort(found)
        if self._socket is not None and self._socket.ended is not None:
            self._fail(SourceLost(f"{self.target.name}: {self._socket.ended}"))

    def _sort(self, found: Sequence[packets.Message | Control]) -> None:
        received, before = time.time_ns(), len(self.messages)
        for n, one in enumerate(found):
            if isinstance(one, Control):
                self._control(one)
            else:
                # Each its own time: two that are alike and come together are two samples.
                self.messages.append(Arrived(*one, received + n))
                self._waiting_bytes += len(one.payload) + len(one.topic) + OVERHEAD
                self.unacknowledged += one.mid != 0
        if len(self.messages) > before:
            self._wake.set()
            self.window = min(self._widest, max(self.window, self.unacknowledged))
            if not self._paused and not self._has_room() and self._transport is not None:
                self._paused = True
                self.full.set()
                self.pauses += 1
                self._transport.pause_reading()

    def _control(self, packet: Control) -> None:
        if packet.kind == CONNACK:
            _settle(self._connected, packet)
        elif packet.kind == SUBACK:
            answer = self._granted.pop(packet.mid, None)
            if answer is not None:
                _settle(answer, packet.codes)
        elif packet.kind == DISCONNECT:
            why = self._refused(packet)
            self._fail(
                why
                if isinstance(why, SourceRefused)
                else SourceLost(f"{self.target.name} disconnects: {reasons.told(packet.code)}")
            )

    def connection_lost(self, error: Exception | None) -> None:
        """Tell everybody who waits."""
        if isinstance(error, ssl.SSLError) and (refusal := self._alert(error)) is not None:
            self._fail(refusal)
        early = self._v5 and not self._connected.done()  # brokers of old close at the first byte that they do not know
        why = self._closed(error)
        self._fail(OldBroker(why) if early else SourceLost(why))
        _settle(self._gone, None)

    def _closed(self, error: Exception | None) -> str:
        """Return what to tell of a connection that the other side closed."""
        name, gone = self.target.name, error is not None
        closed = f"{name} closed the connection ({error})" if gone else f"{name} closed the connection"
        if not self._connected.done():
            return f"{closed} before it answered; look whether its port speaks MQTT, with TLS or without"
        if self._session.client_id and not gone:
            # A broker of 3.1.1 says no word to whom it throws out, and some of 5.0 say none either.
            return (
                f"{closed}; if that comes again and again, look whether another client uses {self._session.client_id!r}"
            )
        return closed

    def _fail(self, error: SourceLost | SourceRefused) -> None:
        if self.lost is None:
            self.lost = error
        if self._timer is not None:
            self._timer.cancel()
        _refuse(self._connected, self.lost)
        for answer in self._granted.values():
            _refuse(answer, self.lost)
        self._wake.set()
        if self._transport is not None:
            self._transport.abort()


def _nowhere(data: bytes) -> None:
    """Write to a link that is not open."""


def _settle(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


def _refuse(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # it may come when nobody waits any more

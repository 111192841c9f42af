"""Links that a Modbus question goes over: TCP, TLS, UDP, a serial line, RTU over TCP; one question at a time.

A link never mends itself: what to do after a doubt is said in connectors/modbus/bus.py.
"""

import abc
import asyncio
import random
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from config.plant import Source
from connectors.base import SourceLost
from connectors.modbus.frames import ExceptionReply, Framing, Mbap, Question, Rtu, WrongReply
from connectors.modbus.target import Target
from connectors.tls import tls_context, untrusted

_MOST = 1024
"""More bytes than any answer has: what waits beyond is thrown away."""


class Silent(Exception):  # noqa: N818  a state of the unit
    """No answer came in time; it may still come."""


class Closed(SourceLost):
    """The other side closed the connection, or the port is gone, while an answer was waited for."""


class Link(abc.ABC):
    """One connection; `ask` sends a question and returns the bytes that truly answer it."""

    def __init__(self, target: Target, framing: Framing, faults: Counter[str]) -> None:
        """Take where it goes; `faults` counts what came and belongs to no question."""
        self.target, self.framing = target, framing
        self._faults = faults
        self._received = bytearray()
        self._asks: Sequence[tuple[Question, float]] = ()
        self._next = 0
        self._question: Question | None = None
        self._take: Callable[[bytes], None] = _nobody
        self._done: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = self._sent = self._grace = 0.0
        self._broken = ""
        self.took = 0.0
        """How long the last answer took [s]."""
        self.times: list[float] = []
        """How long each answer took since somebody looked [s]."""
        self.heard = 0.0
        """When the last byte came or went, by the loop's clock [s]."""
        self.dirty = False
        """Whether bytes came that no question asked for: the link may be out of step."""

    @abc.abstractmethod
    async def open(self, patience: float) -> None:
        """Connect within `patience` [s]; raises SourceLost, and SourceRefused where a person must act."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of the socket or port; may be called twice."""

    @abc.abstractmethod
    def _write(self, frame: bytes) -> None:
        """Send a frame; raises OSError."""

    async def ask(self, question: Question, patience: float, *, grace: float = 0.0) -> bytes:
        """Return the data of the answer to one question, waiting up to `patience` [s]; see `ask_all`."""
        answers: list[bytes] = []
        await self.ask_all([(question, patience)], answers.append, grace=grace)
        return answers[0]

    async def ask_all(
        self, asks: Sequence[tuple[Question, float]], take: Callable[[bytes], None], *, grace: float = 0.0
    ) -> None:
        """Ask one question after another, each with its patience [s]; `take` gets the data of each answer.

        grace: how much longer the first may take [s].

        The next question goes out as soon as an answer is whole. The first that fails ends it: `take` was called for
        those before. Raises ExceptionReply where the device says no, Silent where no answer came in time, WrongReply
        where something else came, and SourceLost where the link is gone.
        """
        self._check()
        self._asks, self._next, self._take, self._grace = asks, 0, take, grace
        self._done = asyncio.get_running_loop().create_future()
        try:
            self._send()
            await self._done
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._question = self._done = self._timer = None
            self._take = _nobody

    @property
    def broken(self) -> bool:
        """Whether the other side, or the port, is gone."""
        return bool(self._broken)

    @property
    def position(self) -> int:
        """Which question of a row was asked last."""
        return self._next

    def _send(self) -> None:
        self._question, patience = self._asks[self._next]
        self._received.clear()
        try:
            self._write(self.framing.encode(self._question))
        except OSError as error:
            self._lost(str(error))
            return
        self.heard = time.monotonic()
        self._deadline = self.heard + patience + self._grace
        self._sent, self._grace = self.heard, 0.0
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(self._deadline, self._late)

    def _late(self) -> None:
        """See at the deadline of some question whether it is the one that is asked now."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._deadline:
            self._timer = loop.call_at(self._deadline, self._late)
        elif self._question is not None:
            patience = self._asks[self._next][1]
            self._fail(Silent(f"unit {self._question.unit} did not answer within {patience:.3g} s"))

    def _fail(self, error: Exception) -> None:
        """End what is asked."""
        self._question = None
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)

    async def quiet(self, seconds: float, longest: float) -> None:
        """Throw away what comes until nothing came for `seconds`; give up waiting after `longest` [s]."""
        loop = asyncio.get_running_loop()
        begun = last = loop.time()
        while (rest := min(last + seconds, begun + longest) - loop.time()) > 0:
            await asyncio.sleep(rest)
            last = max(last, self.heard)
        self.dirty = False
        self._check()

    def _check(self) -> None:
        if self._broken:
            raise SourceLost(f"{self.target.name}: {self._broken}")

    def _came(self, data: bytes) -> None:
        """Take bytes as they come."""
        now = time.monotonic()
        if self._question is None:
            self.heard = now
            self._faults["bytes came that no request had asked for"] += len(data)
            self.dirty = True
            return
        if self._received:
            self._received += data
        try:
            answer = self.framing.take(self._received or data, self._question)
        except (WrongReply, ExceptionReply) as error:
            self.heard = now
            self._fail(error)
            return
        if answer is not None:
            self.took = now - self._sent
            self.times.append(self.took)
            self._answered(answer)
        elif not self._received:
            self._received += data[:_MOST]
        self.heard = now

    def _answered(self, answer: bytes) -> None:
        self._take(answer)
        if self._next + 1 < len(self._asks):
            self._next += 1
            self._send()
            return
        self._question = None
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _lost(self, why: str) -> None:
        """Note that the link is gone, and tell who waits for an answer."""
        self._broken = self._broken or why
        self._fail(Closed(f"{self.target.name}: {why}"))


def _nobody(_: bytes) -> None:
    """Take nothing."""


class _Network(Link, asyncio.BaseProtocol):
    """A link over a socket."""

    _transport: Any = None

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the loop."""
        self._lost(str(error) if error is not None else "closed the connection")

    def close(self) -> None:
        """Let go of the socket, and of what is still to be sent."""
        transport, self._transport = self._transport, None
        self._broken = self._broken or "closed"
        if transport is not None:
            transport.abort()

    def _failed(self, error: OSError | None, patience: float) -> SourceLost:
        name = self.target.name
        if error is None:
            return SourceLost(f"no Modbus connection to {name} within {patience:g} s")
        return SourceLost(f"no Modbus connection to {name} ({_why(error)})")


def _why(error: OSError) -> str:
    """Return an error's reason, of those too that have no words."""
    if isinstance(error, ConnectionResetError | ConnectionAbortedError) and not str(error):
        return "closed while connecting; does it speak TLS, and know our certificate?"
    return error.strerror or str(error) or type(error).__name__


class StreamLink(_Network, asyncio.BufferedProtocol):
    """TCP, TLS, and RTU over TCP."""

    def __init__(
        self, target: Target, framing: Framing, faults: Counter[str], tls: ssl.SSLContext | None, name: str
    ) -> None:
        """Take the TLS context, or None for plain TCP; `name` is the host name in the server's certificate."""
        super().__init__(target, framing, faults)
        self._tls, self._server_name = tls, name
        self._room = memoryview(bytearray(_MOST))

    async def open(self, patience: float) -> None:
        """Connect; see Link."""
        loop = asyncio.get_running_loop()
        secure = {"ssl": self._tls, "server_hostname": self._server_name} if self._tls is not None else {}
        try:
            async with asyncio.timeout(patience):
                self._transport, _ = await loop.create_connection(
                    lambda: self, self.target.host, self.target.port, **secure
                )  # type: ignore[call-overload]
        except TimeoutError:
            raise self._failed(None, patience) from None
        except ssl.SSLCertVerificationError as error:
            raise untrusted(self.target.name, error) from error
        except OSError as error:
            raise self._failed(error, patience) from error
        self.heard = loop.time()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by the loop, which reads into this; else it would make room for 256 KiB each time."""
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the loop."""
        self._came(self._room[:nbytes].tobytes())

    def _write(self, frame: bytes) -> None:
        self._transport.write(frame)


class DatagramLink(_Network, asyncio.DatagramProtocol):
    """UDP: each datagram is a whole frame."""

    async def open(self, patience: float) -> None:
        """Bind a socket to the peer; nobody answers to that, so a dead peer shows at the first question."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(patience):
                self._transport, _ = await loop.create_datagram_endpoint(
                    lambda: self, remote_addr=(self.target.host, self.target.port)
                )
        except TimeoutError:
            raise self._failed(None, patience) from None
        except OSError as error:
            raise self._failed(error, patience) from error

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Called by the loop; what was asked before and given up may come in between."""
        if isinstance(self.framing, Mbap) and self.framing.is_stale(data):
            self._faults["a late answer was thrown away"] += 1
            return
        self._received.clear()
        self._came(data)

    def error_received(self, error: Exception) -> None:
        """Called by the loop, where nobody listens on the port."""
        self._lost(str(error))

    def _write(self, frame: bytes) -> None:
        self._transport.sendto(frame)


def make_link(source: Source, target: Target, faults: Counter[str]) -> Link:
    """Return a link to a target, not yet open; raises SourceRefused where its certificates cannot be read."""
    if target.framed_as_rtu:
        framing: Framing = Rtu(echo=target.echo)
    else:
        framing = Mbap(random.randrange(0xFFFF))  # noqa: S311  to tell answers apart, no secret
    if target.serial:
        from connectors.modbus.serial_link import SerialLink  # noqa: PLC0415  of POSIX alone, and not every gateway's

        return SerialLink(target, framing, faults)
    if target.transport == "udp":
        return DatagramLink(target, framing, faults)
    tls = tls_context(source) if target.transport == "tls" else None
    return StreamLink(target, framing, faults, tls, source.server_name or target.host)

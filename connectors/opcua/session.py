"""One secure channel and one session: opened, used, closed, and never mended.

The library does the handshake, the cryptography and what is asked seldom; what is asked every period is sent as
bytes that were encoded once, and comes back as bytes.
"""

import asyncio
import contextlib
import logging
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClient, UASocketProtocol
from asyncua.client.ua_session import UaSession
from asyncua.common.connection import TransportLimits
from asyncua.common.shortcuts import Shortcuts
from asyncua.common.utils import Buffer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import struct_from_binary, uatcp_to_binary
from asyncua.ua.uaerrors import UaError, UaStatusCodeError

from config.plant import Source
from config.units import NS_PER_SECOND
from connectors.base import SourceLost, SourceRefused
from connectors.opcua import security
from connectors.opcua.messages import TOO_MUCH, Encoded, ServiceFault, check_response, read_parameters
from connectors.opcua.wire import Malformed

log = logging.getLogger("plantproof.opcua")

R = TypeVar("R")

OPERATIONS = 1000
"""Nodes in one request where the server does not say how many it takes."""
UNLIMITED = 5000
"""Nodes in one request where the server says that it has no limit."""
CLOSE_S = 2.0
"""How long saying goodbye may take [s]."""
SESSION_S = 10.0
"""How long a server keeps a session whose client is gone, at least [s], and ..."""
SESSION_TIMEOUTS = 4
"""... so many timeouts of the source. We ask far more often, and a small PLC has few sessions to give."""
CHUNK_BYTES = 65_536
"""The longest chunk that we take [B]."""
MESSAGE_BYTES = 64 * 2**20
"""The longest message that we take [B]."""
CHUNKS = MESSAGE_BYTES // 8192
"""Most chunks of a message; the standard's smallest are of 8,192 B (OPC 10000-6, 7.1.2.3)."""
RENEW_AT = 0.75
"""Share of a channel's lifetime after which it gets new keys (OPC 10000-4, 5.5.2.1)."""

SESSION_OVER = frozenset({
    0x8022_0000,  # BadSecureChannelIdInvalid
    0x8025_0000,  # BadSessionIdInvalid
    0x8026_0000,  # BadSessionClosed
    0x8027_0000,  # BadSessionNotActivated
    0x8086_0000,  # BadSecureChannelClosed
    0x800C_0000,  # BadShutdown
    0x800D_0000,  # BadServerNotConnected
    0x800E_0000,  # BadServerHalted
})  # fmt: skip
"""StatusCodes after which nothing more is to be had from a session."""
_REFUSALS = (
    "BadIdentityToken",
    "BadUserAccessDenied",
    "BadUserSignature",
    "BadSecurity",
    "BadCertificate",
)
"""How the names of StatusCodes begin that a person must mend."""


@contextlib.contextmanager
def faults(what: str) -> Iterator[None]:
    """Turn the library's errors, and those of the messages, into the contract's."""
    try:
        yield
    except UaStatusCodeError as error:
        raise _of_code(what, error.code) from error
    except ServiceFault as error:
        raise _of_code(what, error.code) from error
    except TimeoutError as error:
        raise SourceLost(f"{what}: no answer in time") from error
    except Malformed as error:
        raise SourceLost(f"{what}: the answer is refused: {error}") from error
    except (OSError, UaError, struct.error, TypeError, ValueError) as error:
        # TypeError and ValueError: the library meets a null or a length that it did not expect.
        raise SourceLost(f"{what}: {error or repr(error)}") from error


def _of_code(what: str, code: int) -> SourceLost | SourceRefused:
    name = ua.StatusCode(ua.UInt32(code)).name
    if name.startswith(_REFUSALS):
        return SourceRefused(f"{what}: the server refuses with {name}")
    return SourceLost(f"{what}: {name}")


class _Protocol(UASocketProtocol):
    """The library's socket, which also sends bytes, and takes no more than was agreed."""

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket; a chunk that says it is longer than agreed ends the connection."""
        head = (self.receive_buffer or data)[:8]
        if len(head) == 8 and int.from_bytes(head[4:8], "little") > CHUNK_BYTES and self.transport is not None:
            log.error("a chunk of %d bytes came where %d are agreed", int.from_bytes(head[4:8], "little"), CHUNK_BYTES)
            self.transport.abort()
            return
        super().data_received(data)

    async def send_hello(self, url: str, max_messagesize: int = 0, max_chunkcount: int = 0) -> ua.Acknowledge:
        """Agree on sizes: what the server takes limits what we send, and our own limits what we take."""
        hello = ua.Hello(
            ReceiveBufferSize=ua.UInt32(CHUNK_BYTES),
            SendBufferSize=ua.UInt32(CHUNK_BYTES),
            MaxMessageSize=ua.UInt32(max_messagesize or MESSAGE_BYTES),
            MaxChunkCount=ua.UInt32(max_chunkcount or CHUNKS),
            EndpointUrl=ua.String(url),
        )
        answer: asyncio.Future[ua.Acknowledge] = asyncio.get_running_loop().create_future()
        self._callbackmap[0] = answer
        if self.transport is not None:
            self.transport.writelines([uatcp_to_binary(cast(ua.MessageType, ua.MessageType.Hello), hello)])
        async with asyncio.timeout(self.timeout):
            acknowledge = await answer
        # The library takes the server's word on what it receives for what we may receive.
        self._connection._limits = TransportLimits(
            max_recv_buffer=CHUNK_BYTES,
            max_send_buffer=min(acknowledge.ReceiveBufferSize or CHUNK_BYTES, CHUNK_BYTES),
            max_chunk_count=CHUNKS,
            max_message_size=MESSAGE_BYTES,
        )
        return acknowledge

    async def exchange(self, request: Encoded, after: bytes, patience: float | None) -> bytes:
        """Send an encoded request and return the answer's body."""
        if self.transport is None:
            raise ConnectionError("the connection is closed")
        self._request_handle += 1
        self.revolve_security_token()
        body = request.fresh(self._request_handle & 0xFFFF_FFFF, after)
        message = self._connection.message_to_binary(body, request_id=self._request_id + 1)
        self._request_id += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._callbackmap[self._request_id] = answer
        self.transport.writelines([message])
        async with asyncio.timeout(patience):
            return bytes(await answer)


class _Transport(UaClient):
    """The library's transport with a socket of ours."""

    def __init__(self, timeout: float, lost: Callable[[Exception | None], None]) -> None:
        super().__init__(timeout)
        self._told_lost = lost

    def _make_protocol(self) -> UASocketProtocol:
        self.protocol = _Protocol(self._timeout, security_policy=self.security_policy)
        self.protocol.on_connection_lost = self._gone
        self.protocol.is_session_closing = self._is_session_closing
        return self.protocol

    def _gone(self, error: Exception | None) -> None:
        self._on_transport_lost(error)
        self._told_lost(error)


class _Client(Client):
    """The library's client on our transport; its supervisor, which reconnects by itself, is never started."""

    def __init__(self, url: str, timeout: float, lost: Callable[[Exception | None], None]) -> None:
        super().__init__(url, timeout=timeout)
        self.uaclient = _Transport(timeout, lost)
        self.nodes = Shortcuts(self.uaclient.session)
        self.session_timeout = int(max(SESSION_S, SESSION_TIMEOUTS * timeout) * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Most nodes in one request of each kind."""

    read: int = OPERATIONS
    monitor: int = OPERATIONS
    browse: int = OPERATIONS
    translate: int = OPERATIONS
    history: int = OPERATIONS


_LIMITS = {
    "read": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    "monitor": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
    "browse": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
    "translate": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds,
    "history": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerHistoryReadData,
}


class Session:
    """A session that is open; `lost` is called once when the connection breaks, never after `close`."""

    def __init__(self, source: Source, url: str, lost: Callable[[SourceLost | SourceRefused], None]) -> None:
        """Take the source and the URL of this try, which may be one of its failovers."""
        self.url = url
        self.timeout = source.timeout / NS_PER_SECOND
        self.namespaces: Sequence[str] = ()
        self.limits = Limits()
        self.warnings: tuple[str, ...] = ()
        """What a person should know: certificates that expire soon."""
        self.asked = time.monotonic()
        """When the server answered last."""
        self._source = source.model_copy(update={"url": url})
        self._lost: Callable[[SourceLost | SourceRefused], None] | None = None
        self._tell = lost
        self._client = _Client(url, self.timeout, self._gone)
        self._renewal: asyncio.Task[None] | None = None
        self._secured = security.Secured()

    @property
    def services(self) -> UaSession:
        """The library's services, for what is asked seldom."""
        return self._client.uaclient.session

    async def open(self) -> None:
        """Connect, prove and be proven, and read the server's limits. Raises SourceLost and SourceRefused."""
        try:
            await self._open()
        except AssertionError as error:  # so the library meets an answer that it did not ask for
            raise SourceLost(f"connect to {self.url}: an answer came that was not asked for") from error

    async def _open(self) -> None:
        client = self._client
        with faults(f"connect to {self.url}"):
            async with asyncio.timeout(5 * self.timeout):
                secured = await security.secure(client, self._source)
                self.warnings, self._secured = secured.warnings, secured
                with security.refusals(self._source):
                    await client.connect_socket()
                    await client.send_hello()
                    await client.open_secure_channel()
                    created = await client.create_session()
                await security.activate(client, self._source, secured, created)
                self._lost = self._tell
                await self.learn()
        self._renewal = asyncio.create_task(self._renew())

    async def learn(self) -> None:
        """Take the namespaces and OperationLimits; 0 means that there is no limit."""
        wanted = [ObjectIds.Server_NamespaceArray, *_LIMITS.values()]
        request = read_parameters([ua.NodeId(ua.Int32(number)) for number in wanted])
        names, *limits = [v.Value.Value if v.Value is not None else None for v in await self.services.read(request)]
        self.namespaces = tuple(names) if isinstance(names, list) else self.namespaces
        stated = {name: n for name, n in zip(_LIMITS, limits, strict=True) if isinstance(n, int)}
        self.limits = Limits(**{name: min(n or UNLIMITED, UNLIMITED) for name, n in stated.items()})

    def take_less(self, read: int) -> None:
        """Remember that a read of more nodes than this was too much."""
        self.limits = replace(self.limits, read=max(1, min(read, self.limits.read)))

    async def read(
        self, nodes: Sequence[ua.NodeId], attribute: AttributeIds = AttributeIds.Value
    ) -> list[ua.DataValue]:
        """Return an attribute of nodes, in requests that keep to the server's limit."""
        found: list[ua.DataValue] = []
        while len(found) < len(nodes):
            part = nodes[len(found) : len(found) + self.limits.read]
            try:
                answer = await self.services.read(read_parameters(part, attribute))
            except UaStatusCodeError as error:
                if error.code not in TOO_MUCH or len(part) == 1:
                    raise
                self.take_less(len(part) // 2)
                continue
            if len(answer) != len(part):
                raise Malformed(f"{len(answer)} values where {len(part)} were asked for")
            found += answer
        return found

    async def ask(self, request: Any, response: type[R]) -> R:
        """Return the answer to a request of the library. Raises ServiceFault where the server refuses it."""
        body = await self.exchange(self.encode(request))
        check_response(body)
        answer: R = struct_from_binary(response, Buffer(body))
        return answer

    def encode(self, request: Any, timeout: float | None = None) -> Encoded:
        """Return a request of this session, ready to be sent again and again."""
        return Encoded(request, self.services.authentication_token, self.timeout if timeout is None else timeout)

    async def exchange(self, request: Encoded, *, after: bytes = b"", patience: float | None = None) -> bytes:
        """Send an encoded request and return the answer's body.

        `patience` [s] is the source's timeout where it is None; 0 waits for ever.
        Raises TimeoutError, OSError, and what `faults` turns into the contract's errors.
        """
        protocol = self._client.uaclient.protocol
        if not isinstance(protocol, _Protocol):
            raise ConnectionError("the connection is closed")
        limit = self.timeout if patience is None else patience or None
        body = await protocol.exchange(request, after, limit)
        self.asked = time.monotonic()
        return body

    async def close(self) -> None:
        """Close the session and let go of the socket, within CLOSE_S; never raises."""
        self._lost = None
        client, protocol = self._client, self._client.uaclient.protocol
        transport = protocol.transport if protocol is not None else None
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_S):
                await client.disconnect()
        except Exception as error:  # noqa: BLE001  whatever the library meets, the socket is let go of below
            log.debug("source %s: goodbye failed: %r", self._source.id, error)
        finally:
            client.disconnect_socket()
            if transport is not None:
                transport.abort()

    async def _renew(self) -> None:
        """Give the channel new keys before its lifetime ends, and look at the certificates again."""
        while True:
            await asyncio.sleep(self._client.secure_channel_timeout / 1000 * RENEW_AT)
            try:
                await self._client.open_secure_channel(renew=True)
                self._client.uaclient.revolve_security_token()
                self.warnings = await security.again(self._client, self._source, self._secured)
            except Exception as error:  # noqa: BLE001  without new keys the channel will end: better now, and told
                self._gone(error)
                return

    def _gone(self, error: Exception | None) -> None:
        lost, self._lost = self._lost, None
        if lost is None:
            return
        if isinstance(error, SourceRefused):
            lost(error)
            return
        why = f"the connection is gone: {error!r}" if error is not None else "the server closed the connection"
        lost(SourceLost(f"source {self._source.id}: {why}"))

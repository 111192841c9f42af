"""MQTT in a WebSocket (MQTT 5.0, 6): frames around the same bytes, by the library's protocol without a socket."""

from typing import TYPE_CHECKING

from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from connectors.mqtt.packets import Malformed
from connectors.mqtt.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTENT = (Opcode.BINARY, Opcode.CONT)


class WebSocket:
    """One WebSocket over a transport that belongs to somebody else."""

    def __init__(self, target: Target, most: int, send: "Callable[[bytes], None]") -> None:
        """`most`: the largest frame [B]; `send` writes to the transport."""
        host = f"[{target.host}]" if ":" in target.host else target.host
        uri = parse_uri(f"{'wss' if target.tls else 'ws'}://{host}:{target.port}{target.path}")
        self._protocol = ClientProtocol(uri, subprotocols=["mqtt"], max_size=most)  # type: ignore[list-item]
        self._send = send
        self._waiting: list[bytes] = []
        self.ended: str | None = None
        """Why nothing goes over it any more."""

    def open(self) -> None:
        """Ask for the WebSocket; what is sent meanwhile goes out once the server agrees."""
        self._protocol.send_request(self._protocol.connect())
        self._flush()

    def send(self, data: bytes) -> None:
        """Send bytes in a binary frame."""
        if self._protocol.state is State.CONNECTING:
            self._waiting.append(data)
        elif self._protocol.state is State.OPEN:  # else `ended` says why nothing goes out any more
            self._protocol.send_binary(data)
            self._flush()

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the transport and return those of MQTT in them; raises Malformed.

        After it `ended` says whether the WebSocket came to its end with them.
        """
        self._protocol.receive_data(data)
        content = b"".join(self._content())
        if self._protocol.state is State.OPEN and self._waiting:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                self._protocol.send_binary(one)
        self._flush()
        if self._protocol.parser_exc is not None:
            self.ended = f"a WebSocket at fault: {self._told(self._protocol.parser_exc)}"
        elif self._protocol.state not in (State.CONNECTING, State.OPEN):
            close = self._protocol.close_rcvd
            self.ended = f"its WebSocket was closed{f' ({close})' if close is not None else ''}"
        return content

    def _content(self) -> "list[bytes]":
        parts: list[bytes] = []
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                if self._protocol.handshake_exc is not None:
                    raise Malformed(f"no WebSocket: {self._told(self._protocol.handshake_exc)}")
            elif isinstance(event, Frame):
                if event.opcode is Opcode.TEXT:
                    raise Malformed("a text frame, where MQTT uses binary ones")
                if event.opcode in _CONTENT:
                    parts.append(bytes(event.data))
        return parts

    @staticmethod
    def _told(error: Exception) -> str:
        return str(error) if isinstance(error, WebSocketException) else type(error).__name__

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._send(data)

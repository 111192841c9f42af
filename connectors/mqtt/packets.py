"""MQTT packets to and from bytes, for 5.0 and 3.1.1, without a socket.

Only what a subscriber needs: CONNECT, SUBSCRIBE, PUBACK, PINGREQ, DISCONNECT out, and one kind of message, which asks
a Sparkplug node for its birth. Numbers in brackets are sections of the OASIS standard MQTT 5.0.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from connectors.mqtt.reasons import FAILURE, FROM_311

CONNACK, PUBLISH, SUBACK, PINGRESP, DISCONNECT = 2, 3, 9, 13, 14
"""Packet types that a subscriber may get [2.1.2]."""

_FIRST = tuple(kind << 4 for kind in (CONNACK, SUBACK, PINGRESP, DISCONNECT))
"""How packets other than messages begin."""

DUP, RETAIN = 0x08, 0x01
"""Flags of a message's first byte [3.3.1]."""

HEAD = 70_000
"""So much is kept of a message that is too large [B]: its topic in any case."""
_CONTROL_MOST = 256 * 1024
"""No other packet has a reason to be larger [B]."""

_BYTE, _TWO, _FOUR, _VARIABLE, _TEXT, _PAIR = range(6)
_PROPERTIES = {
    0x01: _BYTE, 0x02: _FOUR, 0x03: _TEXT, 0x08: _TEXT, 0x09: _TEXT, 0x0B: _VARIABLE, 0x11: _FOUR, 0x12: _TEXT,
    0x13: _TWO, 0x15: _TEXT, 0x16: _TEXT, 0x17: _BYTE, 0x18: _FOUR, 0x19: _BYTE, 0x1A: _TEXT, 0x1C: _TEXT,
    0x1F: _TEXT, 0x21: _TWO, 0x22: _TWO, 0x23: _TWO, 0x24: _BYTE, 0x25: _BYTE, 0x26: _PAIR, 0x27: _FOUR,
    0x28: _BYTE, 0x29: _BYTE, 0x2A: _BYTE,
}  # fmt: skip
"""Types of properties by identifier [2.2.2.2]."""
_SUBSCRIPTION = 0x0B
SERVER_KEEP_ALIVE, REASON, HAS_IDENTIFIERS = 0x13, 0x1F, 0x29


class Malformed(ValueError):  # noqa: N818  a state of the link
    """Bytes that are no MQTT packet, or none that a broker may send to a subscriber."""


class Message(NamedTuple):
    """A PUBLISH packet as it came."""

    topic: bytes
    payload: bytes
    mid: int
    """Packet identifier; 0 at QoS 0."""
    flags: int
    """Low four bits of its first byte: DUP, QoS, RETAIN."""
    size: int = 0
    """Where it is too large, the packet's length [B]; `payload` is the beginning then."""
    ids: tuple[int, ...] = ()
    """Identifiers of the subscriptions that brought it, where these have one [3.8.2.1.2]."""


@dataclass(frozen=True, slots=True)
class Control:
    """Any other packet."""

    kind: int
    code: int = 0
    """Reason code [2.4], that of 5.0 for both versions."""
    codes: tuple[int, ...] = ()
    """Of a SUBACK."""
    mid: int = 0
    session_present: bool = False
    properties: dict[int, int | str] = field(default_factory=dict)


class Reader:
    """Takes bytes as they come and gives packets; never holds more than one packet's allowed size."""

    def __init__(self, *, v5: bool, max_packet: int) -> None:
        """`max_packet`: a message larger than this [B] is passed over, and told of."""
        self._v5, self._max_packet = v5, max_packet
        self._rest = bytearray()
        self._need = 2
        self._skip = self._size = self._first = 0

    def feed(self, data: bytes, out: list[Message | Control]) -> None:
        """Append the packets that are whole now to `out`; raises Malformed, after which the link is of no use."""
        if self._rest and not self._skip:
            self._rest += data
            if len(self._rest) < self._need:
                return
            data = bytes(self._rest)
            self._rest.clear()
        while data:
            if self._skip:
                data = self._pass_over(data, out)
                continue
            at = self._packets(data, out)
            if at == len(data) or self._skip:
                data = data[at:]
                continue
            self._rest += data[at:]
            return

    def _packets(self, data: bytes, out: list[Message | Control]) -> int:
        """Append whole packets; return where the first bytes stand that are none yet, or are to be passed over."""
        at, end = 0, len(data)
        while end - at >= 2:
            first, length, start = data[at], data[at + 1], at + 2
            if first >> 4 != PUBLISH and first not in _FIRST:
                raise Malformed(f"a packet that begins with 0x{first:02X}, which no subscriber may get")
            if length & 0x80:
                length, start = _variable(data, at + 1, end)
                if start < 0:
                    self._need = end - at + 1
                    return at
            if length > self._max_packet or (length > _CONTROL_MOST and first >> 4 != PUBLISH):
                if first >> 4 != PUBLISH:
                    raise Malformed(f"a packet of type {first >> 4} has {length} bytes")
                self._first, self._size, self._skip = first, length, length
                return start
            stop = start + length
            if stop > end:
                self._need = stop - at
                return at
            if first >> 4 == PUBLISH:
                out.append(self._message(data, first, start, stop))
            else:
                out.append(self._control(first, data[start:stop]))
            at = stop
        self._need = 2
        return at

    def _pass_over(self, data: bytes, out: list[Message | Control]) -> bytes:
        """Take what belongs to a message that is too large, of which the beginning is kept; return the rest."""
        part = data[: self._skip]
        self._rest += part[: HEAD - len(self._rest)]
        self._skip -= len(part)
        if not self._skip:
            head = bytes(self._rest)
            self._rest.clear()
            out.append(self._message(head, self._first, 0, len(head))._replace(size=self._size))
        return data[len(part) :]

    def _message(self, data: bytes, first: int, start: int, stop: int) -> Message:
        if stop - start < 2:
            raise Malformed("a message of less than two bytes")
        body, mid = start + 2 + (data[start] << 8 | data[start + 1]), 0
        topic = data[start + 2 : body]
        if first & 0x06:
            if first & 0x06 == 0x06 or body + 2 > stop:
                raise Malformed("a message of QoS 3, or without its packet identifier")
            mid, body = data[body] << 8 | data[body + 1], body + 2
            if mid == 0:
                raise Malformed("a message with packet identifier 0")
        ids: tuple[int, ...] = ()
        if self._v5:
            length, body = _variable(data, body, stop)
            if body < 0:
                raise Malformed("a message ends within its properties")
            if length:
                ids = _identifiers(data[body : min(body + length, stop)])
                body += length
        if body > stop or not topic:  # an empty topic means an alias, of which we allowed none
            raise Malformed("a message ends within its head, or has no topic")
        return Message(topic, data[body:stop], mid, first & 0x0F, 0, ids)

    def _control(self, first: int, body: bytes) -> Control:
        kind = first >> 4
        try:
            return _CONTROLS[kind](body, self._v5)
        except IndexError:
            raise Malformed(f"a packet of type {kind} is too short") from None


def _connack(body: bytes, v5: bool) -> Control:
    code = body[1]
    if code and code < FAILURE:  # in the numbers of 3.1.1, which an old broker uses whoever asks
        code = FROM_311.get(code, 0x80)
    properties = properties_of(body[2:])[0] if v5 and len(body) > 2 else {}
    return Control(CONNACK, code, session_present=bool(body[0] & 1), properties=properties)


def _suback(body: bytes, v5: bool) -> Control:
    rest = properties_of(body[2:])[1] if v5 else body[2:]
    return Control(SUBACK, mid=body[0] << 8 | body[1], codes=tuple(rest))


def _pingresp(body: bytes, _v5: bool) -> Control:
    if body:
        raise Malformed("a PINGRESP has no body")
    return Control(PINGRESP)


def _disconnect(body: bytes, v5: bool) -> Control:
    if not v5:
        raise Malformed("a DISCONNECT, which no broker of MQTT 3.1.1 sends")
    return Control(DISCONNECT, body[0] if body else 0, properties=properties_of(body[1:])[0] if len(body) > 1 else {})


_CONTROLS = {CONNACK: _connack, SUBACK: _suback, PINGRESP: _pingresp, DISCONNECT: _disconnect}


def properties_of(data: bytes) -> tuple[dict[int, int | str], bytes]:
    """Return numbers and texts of the properties that `data` begins with, and what follows; raises Malformed."""
    length, at = _variable(data, 0, len(data))
    end = at + length
    if at < 0 or end > len(data):
        raise Malformed("a packet ends within its properties")
    found: dict[int, int | str] = {}
    while at < end:
        identifier = data[at]
        value, at = _property(data[:end], at + 1, _PROPERTIES.get(identifier))
        if value is not None:
            found[identifier] = value
    return found, data[end:]


def _identifiers(data: bytes) -> tuple[int, ...]:
    """Return the subscription identifiers among the properties of a message."""
    found, at = list[int](), 0
    while at < len(data):
        value, after = _property(data, at + 1, _PROPERTIES.get(data[at]))
        if data[at] == _SUBSCRIPTION and isinstance(value, int):
            found.append(value)
        at = after
    return tuple(found)


def _property(data: bytes, at: int, kind: int | None) -> tuple[int | str | None, int]:
    if kind in (_TEXT, _PAIR):
        value = None
        for _ in range(2 if kind == _PAIR else 1):
            stop = at + 2 + int.from_bytes(data[at : at + 2], "big")
            if stop > len(data):
                raise Malformed("a property's text is cut off")
            value, at = data[at + 2 : stop].decode(errors="replace"), stop
        return value if kind == _TEXT else None, at
    if kind == _VARIABLE:
        number, at = _variable(data, at, len(data))
        if at < 0:
            raise Malformed("a property's number is cut off")
        return number, at
    size = {_BYTE: 1, _TWO: 2, _FOUR: 4}.get(kind, 0) if kind is not None else 0
    if not size or at + size > len(data):
        raise Malformed("a property is unknown or cut off")
    return int.from_bytes(data[at : at + size], "big"), at + size


def _variable(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a variable byte integer [1.5.5] and where it ends, (0, -1) where it is cut off; raises Malformed."""
    number = 0
    for n in range(4):
        if at + n >= end:
            return 0, -1
        byte = data[at + n]
        number |= (byte & 0x7F) << 7 * n
        if byte < 0x80:
            return number, at + n + 1
    raise Malformed("a length of more than four bytes")


def connect(
    *, client_id: str, user: str, password: str, keep_alive: int, v5: bool, clean: bool,
    expiry: int, receive_maximum: int, max_packet: int,
) -> bytes:  # fmt: skip
    """Return a CONNECT [3.1]: times in [s], `expiry` and what follows for 5.0 alone."""
    flags = (0x02 if clean else 0) | (0x80 if user else 0) | (0x40 if password else 0)
    head = _text("MQTT") + bytes([5 if v5 else 4, flags]) + keep_alive.to_bytes(2, "big")
    if v5:
        properties = b"\x21" + receive_maximum.to_bytes(2, "big") + b"\x27" + max_packet.to_bytes(4, "big")
        properties += b"\x11" + expiry.to_bytes(4, "big") if expiry else b""
        head += bytes([len(properties)]) + properties
    words = _text(client_id) + (_text(user) if user else b"") + (_text(password) if password else b"")
    return _packet(0x10, head + words)


def subscribe(mid: int, filters: list[str], qos: int, *, v5: bool, identifier: int = 0) -> bytes:
    """Return a SUBSCRIBE [3.8] of filters, all at one QoS; `identifier`: what their messages are marked with."""
    properties = bytes([_SUBSCRIPTION]) + _length(identifier) if identifier else b""
    body = mid.to_bytes(2, "big") + (_length(len(properties)) + properties if v5 else b"")
    return _packet(0x82, body + b"".join(_text(one) + bytes([qos]) for one in filters))


def pubacks(mids: list[int]) -> bytes:
    """Return the PUBACKs of messages at QoS 1, in this order [4.6]."""
    return b"".join([b"\x40\x02" + mid.to_bytes(2, "big") for mid in mids])


def request(topic: str, payload: bytes, *, v5: bool) -> bytes:
    """Return the one message that we send, at QoS 0 and not retained: a Sparkplug node is asked for its birth."""
    return _packet(0x30, _text(topic) + (b"\0" if v5 else b"") + payload)


PINGREQ = b"\xc0\x00"
GOODBYE = b"\xe0\x00"


def _packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + _length(len(body)) + body


def _length(number: int) -> bytes:
    """Return a variable byte integer [1.5.5]."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data

"""Requests that are encoded once, and the answers' frames around their values (OPC 10000-4, 5; OPC 10000-6, 5 and 6).

What is asked seldom goes through the library; what is asked every period goes through here.
"""

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import nodeid_to_binary, struct_to_binary
from numpy.typing import NDArray

from connectors.opcua.wire import Columns, Decoder, Malformed, diagnostic_end, extension_end, moment, node_id_end

READ = ObjectIds.ReadResponse_Encoding_DefaultBinary
PUBLISH = ObjectIds.PublishResponse_Encoding_DefaultBinary
REPUBLISH = ObjectIds.RepublishResponse_Encoding_DefaultBinary
HISTORY = ObjectIds.HistoryReadResponse_Encoding_DefaultBinary
_FAULT = ObjectIds.ServiceFault_Encoding_DefaultBinary
_DATA_CHANGE = ObjectIds.DataChangeNotification_Encoding_DefaultBinary
_STATUS_CHANGE = ObjectIds.StatusChangeNotification_Encoding_DefaultBinary
_HISTORY_DATA = ObjectIds.HistoryData_Encoding_DefaultBinary

FRESH = 0.0
"""A read's MaxAge that asks the device itself."""
CACHED = 2.0**31
"""A read's MaxAge that takes what the server has (OPC 10000-4, 5.11.2.2)."""
_TICKS_1970 = 116_444_736_000_000_000


TOO_MUCH = frozenset({
    0x8010_0000,  # BadTooManyOperations
    0x80B8_0000,  # BadRequestTooLarge
    0x80B9_0000,  # BadResponseTooLarge
    0x8008_0000,  # BadEncodingLimitsExceeded
})  # fmt: skip
"""StatusCodes of a whole request that a smaller one does not meet."""
STUMBLES = frozenset({
    0x8001_0000,  # BadUnexpectedError
    0x8002_0000,  # BadInternalError
    0x8003_0000,  # BadOutOfMemory
    0x8006_0000,  # BadEncodingError
})  # fmt: skip
"""StatusCodes of a whole request that may pass, or be of one of its nodes."""


class ServiceFault(Exception):  # noqa: N818  the standard's name
    """The server refused a request as a whole; `code` is its StatusCode."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(ua.StatusCode(ua.UInt32(code)).name)


READS = (
    ua.ReadRequest,
    ua.HistoryReadRequest,
    ua.CreateSubscriptionRequest,
    ua.CreateMonitoredItemsRequest,
    ua.PublishRequest,
    ua.RepublishRequest,
)
"""The only requests that are ever encoded here: none of them changes anything in a PLC."""


class Encoded:
    """A request of the library, encoded once; only its time and its handle change from sending to sending."""

    def __init__(self, request: Any, token: ua.NodeId, timeout: float) -> None:
        """Take a request whose header is still to be filled; `timeout` [s] is told to the server.

        Raises TypeError for a request that is none of READS.
        """
        if not isinstance(request, READS):
            raise TypeError(f"{type(request).__name__} is none of the requests that a connector may send")
        request.RequestHeader.AuthenticationToken = token
        request.RequestHeader.TimeoutHint = ua.UInt32(int(timeout * 1000))
        self._body = bytearray(struct_to_binary(request))
        # Type id and token, then the time (8 bytes) and the handle (4).
        self._at = len(nodeid_to_binary(request.TypeId)) + len(nodeid_to_binary(token))

    def fresh(self, handle: int, after: bytes = b"") -> bytes:
        """Return the request as it goes out now; `after` takes the place of as many last bytes, or more."""
        struct.pack_into("<qI", self._body, self._at, time.time_ns() // 100 + _TICKS_1970, handle)
        return bytes(self._body) if not after else bytes(self._body[:-4]) + after


def read_parameters(
    nodes: Sequence[ua.NodeId], attribute: AttributeIds = AttributeIds.Value, *, max_age: float = FRESH
) -> ua.ReadParameters:
    """Return a request for an attribute of nodes with both timestamps; `max_age` is FRESH or CACHED."""
    return ua.ReadParameters(
        MaxAge=ua.Duration(max_age),
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        NodesToRead=[ua.ReadValueId(NodeId=node, AttributeId=attribute) for node in nodes],
    )


def acknowledgements(pairs: Sequence[tuple[int, int]]) -> bytes:
    """Return the end of a PublishRequest: subscription ids and sequence numbers."""
    flat = [number for pair in pairs for number in pair]
    return struct.pack(f"<i{len(flat)}I", len(pairs), *flat)


class _Cursor:
    """Reads a message from its begin; every read that leaves the message is Malformed."""

    def __init__(self, body: bytes, at: int = 0) -> None:
        self.body, self.at = body, at
        self.sent: int | None = None

    def take(self, layout: str) -> Any:
        try:
            (value,) = struct.unpack_from(layout, self.body, self.at)
        except struct.error:
            raise Malformed("the message ends too early") from None
        self.at += struct.calcsize(layout)
        return value

    def count(self) -> int:
        number: int = self.take("<i")
        if number > len(self.body):
            raise Malformed(f"{number} elements in a message of {len(self.body)} bytes")
        return max(number, 0)

    def bytes(self) -> bytes:
        length, start = self.count(), self.at
        self.at += length
        if self.at > len(self.body):
            raise Malformed("the message ends too early")
        return self.body[start : self.at]

    def skip(self, end: Any) -> None:
        try:
            self.at = end(self.body, self.at)
        except IndexError:
            raise Malformed("the message ends too early") from None
        if self.at > len(self.body):
            raise Malformed("the message ends too early")

    def type_id(self) -> int | None:
        """Return the number of a type in namespace 0; None for any other."""
        start = self.at
        self.skip(node_id_end)
        first = self.body[start] & 0x3F
        if first == 0:
            return self.body[start + 1]
        if first == 1 and self.body[start + 1] == 0:
            return int.from_bytes(self.body[start + 2 : start + 4], "little")
        if first == 2 and self.body[start + 1 : start + 3] == b"\0\0":
            return int.from_bytes(self.body[start + 3 : start + 7], "little")
        return None

    def numbers(self, kind: str) -> list[int]:
        count = self.count()
        if self.at + 4 * count > len(self.body):
            raise Malformed("the message ends too early")
        found = list(struct.unpack_from(f"<{count}{kind}", self.body, self.at))
        self.at += 4 * count
        return found

    def diagnostics(self) -> None:
        for _ in range(self.count()):
            self.skip(diagnostic_end)

    def end(self) -> None:
        if self.at != len(self.body):
            raise Malformed(f"{len(self.body) - self.at} bytes follow the message's end")


def check_response(body: bytes) -> None:
    """Raise ServiceFault where the server refused a request, whatever was asked for; Malformed for no answer."""
    _opened(body, None)


def _opened(body: bytes, expected: int | None) -> _Cursor:
    """Return a cursor behind the response header; raises ServiceFault where the server refused."""
    cursor = _Cursor(body)
    kind = cursor.type_id()
    if expected is not None and kind not in (expected, _FAULT):
        raise Malformed(f"the answer is of type {kind} where {expected} was asked for")
    cursor.sent = moment(cursor.take("<q"))
    cursor.take("<I")  # our handle
    result: int = cursor.take("<I")
    cursor.skip(diagnostic_end)
    for _ in range(cursor.count()):
        cursor.bytes()
    cursor.skip(extension_end)
    if result >> 30 == 2 or kind == _FAULT:
        raise ServiceFault(result)
    return cursor


def read_response(body: bytes, decoder: Decoder, count: int) -> tuple[Columns, int | None]:
    """Return the values of a ReadResponse, which must be `count`, and when the server sent it by its own clock [ns].

    Raises Malformed, and ServiceFault where the server refused the whole request.
    """
    cursor = _opened(body, READ)
    found = cursor.count()
    if found != count:
        raise Malformed(f"{found} values where {count} were asked for")
    columns, cursor.at = decoder.decode(body, cursor.at, count)
    cursor.diagnostics()
    cursor.end()
    return columns, cursor.sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One message of a subscription."""

    subscription: int
    sequence: int
    changes: Sequence[tuple[NDArray[np.intp], Columns]]
    """Client handles and their values."""
    ended: int | None
    """StatusCode with which the server ended the subscription."""
    is_data: bool
    """False for a keep-alive."""
    sent: int | None = None
    """When the server sent it, by its own clock [ns since 1970, UTC]."""


def publish_response(body: bytes, decoders: dict[int, Decoder]) -> Notification:
    """Return a PublishResponse; `decoders` holds the decoder of each of our subscriptions.

    Raises Malformed and ServiceFault.
    """
    cursor = _opened(body, PUBLISH)
    subscription: int = cursor.take("<I")
    cursor.numbers("I")
    cursor.take("<?")
    note = _message(cursor, subscription, decoders.get(subscription) or Decoder(lead=4))
    cursor.numbers("I")  # what became of our acknowledgements
    cursor.diagnostics()
    cursor.end()
    return note


def republish_response(body: bytes, subscription: int, decoder: Decoder) -> Notification:
    """Return a RepublishResponse's message. Raises Malformed and ServiceFault."""
    cursor = _opened(body, REPUBLISH)
    note = _message(cursor, subscription, decoder)
    cursor.end()
    return note


def _message(cursor: _Cursor, subscription: int, decoder: Decoder) -> Notification:
    """Read a NotificationMessage."""
    sequence: int = cursor.take("<I")
    sent = moment(cursor.take("<q"))
    changes: list[tuple[NDArray[np.intp], Columns]] = []
    ended: int | None = None
    parts = cursor.count()
    for _ in range(parts):
        kind = cursor.type_id()
        if cursor.take("<B") != 1:
            raise Malformed("a notification's body is not binary")
        end = cursor.count() + cursor.at
        if kind == _DATA_CHANGE:
            changes.append(_changes(cursor, decoder))
        elif kind == _STATUS_CHANGE:
            ended = cursor.take("<I")
            cursor.skip(diagnostic_end)
        else:
            cursor.at = end  # events are not asked for
        if cursor.at != end:
            raise Malformed("a notification's length is not that of its content")
    return Notification(
        subscription=subscription, sequence=sequence, changes=changes, ended=ended, is_data=parts > 0, sent=sent
    )


def _changes(cursor: _Cursor, decoder: Decoder) -> tuple[NDArray[np.intp], Columns]:
    count, at = cursor.count(), cursor.at
    columns, cursor.at = decoder.decode(cursor.body, at, count)
    handles = decoder.handles(cursor.body, at, count)
    cursor.diagnostics()
    return handles, columns


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a server kept of one node."""

    status: int
    continuation: bytes
    """Asks for the rest; empty where there is none."""
    columns: Columns | None


def history_response(body: bytes, count: int) -> list[History]:
    """Return the results of a HistoryReadResponse, which must be `count`. Raises Malformed and ServiceFault."""
    cursor = _opened(body, HISTORY)
    found = cursor.count()
    if found != count:
        raise Malformed(f"the history of {found} nodes where {count} were asked for")
    results = [_history(cursor) for _ in range(count)]
    cursor.diagnostics()
    cursor.end()
    return results


def _history(cursor: _Cursor) -> History:
    status: int = cursor.take("<I")
    continuation = cursor.bytes()
    kind, columns = cursor.type_id(), None
    if cursor.take("<B") == 0:
        return History(status=status, continuation=continuation, columns=None)
    end = cursor.count() + cursor.at
    if kind == _HISTORY_DATA:
        count = cursor.count()
        columns, cursor.at = Decoder().decode(cursor.body, cursor.at, count)
    if cursor.at != end:
        raise Malformed("a history's length is not that of its content")
    return History(status=status, continuation=continuation, columns=columns)

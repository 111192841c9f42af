"""The fast decoder against the library's own, on generated mixes; altered and cut messages are refused."""

import contextlib
import datetime as dt
import math
import struct
import uuid

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary, variant_from_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.opcua.messages import (
    Encoded,
    Malformed,
    ServiceFault,
    history_response,
    publish_response,
    read_response,
)
from connectors.opcua.wire import NULL_NS, UNUSABLE_NS, Columns, Decoder

T = ua.VariantType
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
NUMBERS = {
    T.Boolean: st.booleans(),
    T.SByte: st.integers(-128, 127),
    T.Byte: st.integers(0, 255),
    T.Int16: st.integers(-(2**15), 2**15 - 1),
    T.UInt16: st.integers(0, 2**16 - 1),
    T.Int32: st.integers(-(2**31), 2**31 - 1),
    T.UInt32: st.integers(0, 2**32 - 1),
    T.Int64: st.integers(-(2**63), 2**63 - 1),
    T.UInt64: st.integers(0, 2**64 - 1),
    T.Float: st.floats(width=32),
    T.Double: st.floats(),
}
FROM, TO = dt.datetime(1602, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 30, tzinfo=dt.UTC)
MOMENTS = st.datetimes(FROM.replace(tzinfo=None), TO.replace(tzinfo=None), timezones=st.just(dt.UTC))
NODES = st.one_of(
    st.builds(lambda i: ua.NodeId(i, 0), st.integers(0, 255)),
    st.builds(ua.NodeId, st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1)),
    st.builds(ua.NodeId, st.text(min_size=1, max_size=9), st.integers(0, 9)),
)
OTHERS = {
    T.String: st.none() | st.text(max_size=20),
    T.DateTime: MOMENTS,
    T.Guid: st.uuids(),
    T.ByteString: st.binary(max_size=20),
    T.XmlElement: st.builds(ua.XmlElement, st.text(max_size=9)),
    T.NodeId: NODES,
    T.StatusCode: st.builds(lambda c: ua.StatusCode(ua.UInt32(c)), st.integers(0, 2**32 - 1)),
    T.QualifiedName: st.builds(ua.QualifiedName, st.text(max_size=9), st.integers(0, 9)),
    T.LocalizedText: st.builds(ua.LocalizedText, st.none() | st.text(max_size=9), st.none() | st.text(max_size=3)),
}
SCALARS = NUMBERS | OTHERS


def variants() -> st.SearchStrategy[ua.Variant | None]:
    scalars = [st.builds(ua.Variant, values, st.just(kind)) for kind, values in SCALARS.items()]
    arrays = [
        st.builds(lambda v, k: ua.Variant(v, k, is_array=True), st.lists(values, max_size=4), st.just(kind))
        for kind, values in SCALARS.items()
        if kind is not T.XmlElement  # the library writes what it cannot read
    ]
    matrix = st.builds(
        lambda a: ua.Variant([a[:2], a[2:]], T.Int32, Dimensions=[2, 2]),
        st.lists(NUMBERS[T.Int32], min_size=4, max_size=4),
    )
    inner = st.builds(lambda v: ua.Variant([ua.Variant(v, T.Double)], T.Variant, is_array=True), NUMBERS[T.Double])
    structure = st.builds(lambda a, b: ua.Variant(ua.Range(a, b)), st.floats(0, 1), st.floats(0, 1))
    none = st.just(ua.Variant(None, T.Null))
    return st.none() | st.one_of(*scalars, *scalars, *scalars, *arrays, matrix, inner, structure, none)


DATA = st.builds(
    ua.DataValue,
    variants(),
    st.none() | st.builds(lambda c: ua.StatusCode(ua.UInt32(c)), st.integers(0, 2**32 - 1)),
    st.none() | MOMENTS,
    st.none() | MOMENTS,
)
MIXES = st.lists(DATA, min_size=1, max_size=12)


def answer(values: list[ua.DataValue], **header) -> bytes:
    return struct_to_binary(ua.ReadResponse(ResponseHeader=ua.ResponseHeader(**header), Results=values))


def moment(stamp: dt.datetime | None) -> int:
    """[ns since 1970], slowly, with Python's own integers."""
    if stamp is None:
        return NULL_NS
    delta = stamp - EPOCH
    ns = (delta.days * 86_400 + delta.seconds) * 10**9 + delta.microseconds * 1000
    return ns if abs(ns) < 2**63 - 200 else UNUSABLE_NS


def expected(data: ua.DataValue) -> tuple:
    """What the library's objects of a DataValue say: number, exactness, text, large integer, status, times."""
    value = data.Value.Value if data.Value is not None else None
    kind = data.Value.VariantType if data.Value is not None else T.Null
    is_number = data.Value is not None and not data.Value.is_array and kind in (*NUMBERS, T.StatusCode)
    number = (value.value if kind is T.StatusCode else value) if is_number else None
    large = isinstance(number, int) and abs(number) > 2**53
    text = None
    if data.Value is not None and not data.Value.is_array and kind in (T.String, T.XmlElement):
        text = value.Value if kind is T.XmlElement else value
    return (
        None if number is None else float(number),
        number is not None and not large,
        text,
        number if large else None,
        data.StatusCode.value if data.StatusCode is not None else 0,
        moment(data.SourceTimestamp),
        moment(data.ServerTimestamp),
    )


def found(columns: Columns, row: int) -> tuple:
    has = columns.valid[row] or row in columns.large
    return (
        float(columns.value[row]) if has else None,
        bool(columns.valid[row]),
        columns.text.get(row),
        columns.large.get(row),
        int(columns.status[row]),
        int(columns.source[row]),
        int(columns.server[row]),
    )


def same(a: tuple, b: tuple) -> bool:
    numbers = (a[0] is None) == (b[0] is None) and (a[0] is None or struct.pack("d", a[0]) == struct.pack("d", b[0]))
    nan = isinstance(a[0], float) and isinstance(b[0], float) and math.isnan(a[0]) and math.isnan(b[0])
    return (numbers or nan) and a[1:] == b[1:]


def check(columns: Columns, values: list[ua.DataValue]) -> None:
    for row, data in enumerate(values):
        assert same(found(columns, row), expected(data)), (found(columns, row), expected(data))
        opaque = columns.opaque.get(row)
        if opaque is not None:
            assert repr(variant_from_binary(Buffer(opaque))) == repr(data.Value)


@settings(max_examples=400, deadline=None)
@given(MIXES)
def test_a_decoded_mix_is_what_the_librarys_objects_say(values):
    read = struct_from_binary(ua.ReadResponse, Buffer(answer(values))).Results
    check(read_response(answer(values), Decoder(), len(values))[0], read)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(sorted(NUMBERS)), min_size=1, max_size=40), st.data())
def test_the_next_answer_of_the_same_shape_is_decoded_by_the_last_ones_layout(kinds, data):
    decoder = Decoder()
    for _ in range(3):
        values = [
            ua.DataValue(
                ua.Variant(data.draw(NUMBERS[kind]), kind),
                ua.StatusCode(ua.UInt32(data.draw(st.integers(0, 2**32 - 1)))),
                data.draw(MOMENTS),
                data.draw(MOMENTS),
            )
            for kind in kinds
        ]
        check(read_response(answer(values), decoder, len(values))[0], values)
    assert decoder.walks == 1


@settings(max_examples=200, deadline=None)
@given(MIXES, MIXES)
def test_an_answer_of_another_shape_is_never_read_by_the_last_ones_layout(first, second):
    decoder = Decoder()
    for values in (first, second, first):
        read = struct_from_binary(ua.ReadResponse, Buffer(answer(values))).Results
        check(read_response(answer(values), decoder, len(values))[0], read)


def test_a_text_of_another_length_moves_what_follows():
    decoder = Decoder()
    for word in ("run", "stopped", "", None, "压机运行"):
        values = [ua.DataValue(ua.Variant(word, T.String)), ua.DataValue(ua.Variant(7, T.Int32))]
        columns, _ = read_response(answer(values), decoder, 2)
        assert columns.text == ({} if word is None else {0: word})
        assert columns.value[1] == 7


def test_bytes_that_are_no_utf_8_are_written_as_their_numbers():
    body = bytearray(answer([ua.DataValue(ua.Variant("abc", T.String))]))
    body[body.index(b"abc") + 1] = 0xFF
    assert read_response(bytes(body), Decoder(), 1)[0].text == {0: "a\\xffc"}


def test_any_byte_but_0_is_true():
    columns, _ = Decoder().decode(b"\x01\x01\x02" + b"\x01\x01\x00", 0, 2)
    assert columns.value.tolist() == [1.0, 0.0]


def test_1601_and_9999_are_no_times_and_told_apart_from_none():
    year_1601 = dt.datetime(1601, 1, 1, tzinfo=dt.UTC)
    year_9999 = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)
    one = ua.Variant(1.0, T.Double)
    values = [ua.DataValue(one, SourceTimestamp=stamp) for stamp in (None, year_1601, year_9999)]
    columns, _ = read_response(answer(values), Decoder(), 3)
    assert columns.source.tolist() == [NULL_NS, UNUSABLE_NS, UNUSABLE_NS]


def test_picoseconds_stand_behind_their_own_time():
    # OPC 10000-6, 5.2.2.17; the library puts both behind both times, so these bytes are laid by hand.
    stamps = [struct.pack("<q", 116_444_736_000_000_000 + 10_000_000 * second) for second in (1, 2)]
    value = b"\x3d\x03\x07" + stamps[0] + b"\x11\x11" + stamps[1] + b"\x22\x22"
    columns, end = Decoder().decode(value + value, 0, 2)
    assert end == 2 * len(value)
    assert columns.source.tolist() == [1_000_000_000] * 2
    assert columns.server.tolist() == [2_000_000_000] * 2


def test_a_time_of_100_ns_keeps_all_its_digits():
    body = bytearray(answer([ua.DataValue(ua.Variant(1.0, T.Double), SourceTimestamp=EPOCH)]))
    at = bytes(body).rindex(struct.pack("<q", 116_444_736_000_000_000))
    struct.pack_into("<q", body, at, 116_444_736_000_000_000 + 12_345_678_9)
    assert read_response(bytes(body), Decoder(), 1)[0].source.tolist() == [12_345_678_900]


# --- what is refused ---


@settings(max_examples=60, deadline=None)
@given(MIXES, st.data())
def test_a_message_that_is_cut_anywhere_is_refused(values, data):
    body = answer(values)
    decoder = Decoder()
    read_response(body, decoder, len(values))
    cut = body[: data.draw(st.integers(0, len(body) - 1))]
    for one in (Decoder(), decoder):
        with pytest.raises(Malformed):
            read_response(cut, one, len(values))


def test_a_message_with_bytes_behind_its_end_is_refused():
    with pytest.raises(Malformed, match="1 bytes follow"):
        read_response(answer([ua.DataValue(ua.Variant(1.0, T.Double))]) + b"\0", Decoder(), 1)


def test_another_number_of_values_than_was_asked_for_is_refused():
    with pytest.raises(Malformed, match="1 values where 2 were asked for"):
        read_response(answer([ua.DataValue(ua.Variant(1.0, T.Double))]), Decoder(), 2)


def test_an_answer_to_another_question_is_refused():
    with pytest.raises(Malformed, match="is of type 530"):
        read_response(struct_to_binary(ua.BrowseResponse()), Decoder(), 1)


def test_a_servers_refusal_bears_its_code():
    with pytest.raises(ServiceFault, match="BadTooManyOperations") as told:
        read_response(answer([], ServiceResult=ua.StatusCode(ua.UInt32(0x8010_0000))), Decoder(), 1)
    assert told.value.code == 0x8010_0000


def agree(body: bytes, decoder: Decoder, count: int) -> None:
    """What is not refused must be what the library reads; what the library cannot read, must be refused."""
    try:
        columns, _ = read_response(body, decoder, count)
    except (Malformed, ServiceFault):
        return
    data = Buffer(body)
    read = struct_from_binary(ua.ReadResponse, data).Results
    for row, one in enumerate(read):
        if row not in columns.opaque and one.Value is not None and one.Value.VariantType is not T.String:
            mine, theirs = found(columns, row), expected(one)
            # The library knows times to 1 µs.
            assert same((*mine[:5], *(t // 1000 for t in mine[5:])), (*theirs[:5], *(t // 1000 for t in theirs[5:])))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(sorted(NUMBERS)), min_size=1, max_size=8), st.data())
def test_an_altered_byte_is_refused_or_read_as_the_library_reads_it(kinds, data):
    values = [
        ua.DataValue(ua.Variant(data.draw(NUMBERS[k]), k), ua.StatusCode(0), SourceTimestamp=EPOCH) for k in kinds
    ]
    body = bytearray(answer(values))
    decoder = Decoder()
    read_response(bytes(body), decoder, len(values))
    at = data.draw(st.integers(28, len(body) - 5))  # behind the header, where the library is lax
    body[at] = data.draw(st.integers(0, 255))
    for one in (Decoder(), decoder):
        # The library gives up on a message in which a value's type or text became one that it cannot read.
        with contextlib.suppress(ua.UaError, ValueError, OverflowError, struct.error, TypeError, AttributeError):
            agree(bytes(body), one, len(values))


@pytest.mark.parametrize("length", [2**31 - 1, 10**6, -2])
def test_a_length_beyond_the_message_is_refused_at_once(length):
    body = bytearray(answer([ua.DataValue(ua.Variant("abcd", T.String))]))
    struct.pack_into("<i", body, bytes(body).index(b"abcd") - 4, length)
    with pytest.raises(Malformed):
        read_response(bytes(body), Decoder(), 1)


def test_values_in_values_in_values_are_refused_beyond_a_depth():
    deep = b"\x98\1\0\0\0" * 5000 + b"\x00"  # an array of a Variant that is an array of a Variant ...
    body = answer([ua.DataValue(ua.Variant(1, T.Byte), None)])
    at = body.index(b"\x01\x03\x01")
    with pytest.raises(Malformed, match="too deep"):
        read_response(body[: at + 1] + deep + body[at + 3 :], Decoder(), 1)


def test_a_variant_right_in_a_variant_is_refused():
    body = answer([ua.DataValue(ua.Variant(1, T.Byte), None)])
    at = body.index(b"\x01\x03\x01")
    with pytest.raises(Malformed, match="right in a Variant"):
        read_response(body[: at + 1] + b"\x18" + body[at + 1 :], Decoder(), 1)


# --- notifications and histories ---


def notification(values: list[ua.DataValue], handles: list[int], sequence: int = 1) -> bytes:
    items = [ua.MonitoredItemNotification(h, v) for h, v in zip(handles, values, strict=True)]
    message = ua.NotificationMessage(
        SequenceNumber=sequence, NotificationData=[ua.DataChangeNotification(MonitoredItems=items)]
    )
    result = ua.PublishResult(SubscriptionId=5, AvailableSequenceNumbers=[sequence], NotificationMessage=message)
    return struct_to_binary(ua.PublishResponse(Parameters=result))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(DATA, st.integers(0, 2**32 - 1)), min_size=1, max_size=9))
def test_a_notification_bears_its_handles_and_values(rows):
    values, handles = [v for v, _ in rows], [h for _, h in rows]
    body = notification(values, handles, 77)
    decoders = {5: Decoder(lead=4)}
    for _ in range(2):
        note = publish_response(body, decoders)
        assert (note.subscription, note.sequence, note.ended, note.is_data) == (5, 77, None, True)
        ((got, columns),) = note.changes
        assert got.tolist() == handles
        read = struct_from_binary(ua.PublishResponse, Buffer(body)).Parameters.NotificationMessage.NotificationData[0]
        check(columns, [item.Value for item in read.MonitoredItems])
    assert decoders[5].walks == 1


def test_a_keep_alive_holds_no_data_and_an_end_says_why():
    empty = ua.PublishResult(SubscriptionId=5, NotificationMessage=ua.NotificationMessage(SequenceNumber=3))
    note = publish_response(struct_to_binary(ua.PublishResponse(Parameters=empty)), {})
    assert (note.is_data, note.changes) == (False, [])
    ended = ua.StatusChangeNotification(Status=ua.StatusCode(ua.UInt32(0x800A_0000)))
    message = ua.NotificationMessage(SequenceNumber=4, NotificationData=[ended])
    result = ua.PublishResult(SubscriptionId=5, NotificationMessage=message)
    assert publish_response(struct_to_binary(ua.PublishResponse(Parameters=result)), {}).ended == 0x800A_0000


@settings(max_examples=100, deadline=None)
@given(MIXES, st.binary(max_size=8))
def test_a_history_bears_its_values_and_where_it_goes_on(values, continuation):
    results = [
        ua.HistoryReadResult(ua.StatusCode(0), continuation, ua.HistoryData(DataValues=values)),
        ua.HistoryReadResult(ua.StatusCode(ua.UInt32(0x8072_0000)), None, None),
    ]
    body = struct_to_binary(ua.HistoryReadResponse(Results=results))
    kept, refused = history_response(body, 2)
    assert kept.continuation == continuation
    check(kept.columns, struct_from_binary(ua.HistoryReadResponse, Buffer(body)).Results[0].HistoryData.DataValues)
    assert (refused.status, refused.columns) == (0x8072_0000, None)


# --- requests ---


def test_a_request_is_encoded_once_and_bears_a_new_time_and_handle_each_time():
    token = ua.NodeId(uuid.UUID(int=7), 1)
    read = ua.ReadRequest()
    read.Parameters.NodesToRead = [ua.ReadValueId(NodeId=ua.NodeId("a", 2), AttributeId=ua.AttributeIds.Value)]
    encoded = Encoded(read, token, 1.5)
    first, second = (struct_from_binary(ua.ReadRequest, Buffer(encoded.fresh(handle))) for handle in (1, 2))
    assert [r.RequestHeader.RequestHandle for r in (first, second)] == [1, 2]
    assert first.RequestHeader.AuthenticationToken == token
    assert first.RequestHeader.TimeoutHint == 1500
    assert abs(first.RequestHeader.Timestamp - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    assert first.Parameters == second.Parameters == read.Parameters


def test_a_request_that_could_change_something_is_never_encoded():
    for request in (ua.WriteRequest(), ua.CallRequest(), ua.HistoryUpdateRequest(), ua.AddNodesRequest()):
        with pytest.raises(TypeError, match="none of the requests"):
            Encoded(request, ua.NodeId(), 1.0)


def test_an_empty_run_has_no_rows():
    columns, end = Decoder().decode(b"abc", 3, 0)
    assert (len(columns.value), end) == (0, 3)

"""Sparkplug B: payloads that pysparkplug encodes, and the host's view of nodes and devices; no socket."""

import datetime as dt
import math
import random
import struct

import pysparkplug as sp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pysparkplug import DataType as T
from pysparkplug._protobuf import Payload as Proto

from config import status
from config.plant import Point
from connectors.mqtt.protobuf import fields, written
from connectors.mqtt.sparkplug import Address, Host, decode, described, filters, parse_address, rebirth
from connectors.mqtt.sparkplug.datatype import NAMES, Misfit, Unsupported, element, scalar
from connectors.mqtt.sparkplug.payload import metric as read_metric
from connectors.mqtt.values import Maker
from connectors.scaling import Scaling
from tests.sparkplug_peer import bdseq, metric

MS = 1_800_000_000_000
"""A time [ms]; the messages of these tests are sent at MS, MS + 1 and so on."""
NS = MS * 1_000_000
NOW = NS + 5_000_000_000
"""When the host receives them."""
NO_LINK, LOST, UNKNOWN_NAME = status.BAD_NO_COMMUNICATION, status.BAD_DATA_LOST, status.BAD_NODE_ID_UNKNOWN


def host(*addresses: str, kinds: tuple[str, ...] | None = None) -> Host:
    points = [
        Point(point=f"p{n}", asset="a", source="q", address=address, type=(kinds or [""] * 99)[n])
        for n, address in enumerate(addresses)
    ]
    maker = Maker([point.type for point in points], Scaling(points))
    return Host([(n, parse_address(address)) for n, address in enumerate(addresses)], maker)


class Edge:
    """Node G/N as a host hears it: each call is a message, one ms after the other, and returns what came of it."""

    def __init__(self, *addresses: str, kinds: tuple[str, ...] | None = None) -> None:
        self.host = host(*addresses, kinds=kinds)
        self.seq, self.ms, self.bdseq = 0, MS - 1, 0

    def nbirth(self, *metrics: sp.Metric, seq: int = 0):
        self.seq = seq
        return self.send("NBIRTH/N", sp.NBirth, (bdseq(self.bdseq, MS), *metrics))

    def dbirth(self, *metrics: sp.Metric, device: str = "D"):
        return self.send(f"DBIRTH/N/{device}", sp.DBirth, metrics)

    def ndata(self, *metrics: sp.Metric, **rest):
        return self.send("NDATA/N", sp.NData, metrics, **rest)

    def ddata(self, *metrics: sp.Metric, device: str = "D", **rest):
        return self.send(f"DDATA/N/{device}", sp.DData, metrics, **rest)

    def ddeath(self, device: str = "D"):
        number, self.seq, self.ms = self.seq, (self.seq + 1) % 256, self.ms + 1
        return self.take(f"DDEATH/N/{device}", sp.DDeath(timestamp=self.ms, seq=number).encode())

    def ndeath(self, number: int | None = None):
        number = self.bdseq if number is None else number
        return self.take("NDEATH/N", sp.NDeath(timestamp=1, bd_seq_metric=bdseq(number, 1)).encode())

    def send(self, topic, payload, metrics, *, types=False, retained=False):
        number, self.seq, self.ms = self.seq, (self.seq + 1) % 256, self.ms + 1
        encoded = payload(timestamp=self.ms, seq=number, metrics=metrics).encode(include_dtypes=types)
        return self.take(topic, encoded, retained=retained)

    def take(self, topic: str, payload: bytes, *, retained=False):
        kind, _, rest = topic.partition("/")
        self.sent = topic, payload
        return self.host.take(f"spBv1.0/G/{kind}/{rest}", payload, NOW, retained=retained)


def real(name: str | None, value: float | None, ts: int = MS, **rest) -> sp.Metric:
    return metric(name, T.DOUBLE, value, ts, **rest)


def values(taken):
    """Rows as (position, number or text, status)."""
    return [(row[0], row[2] if row[3] is None else row[3], row[4]) for row in taken.rows]


def proto_metric(**settings):
    """A metric of the generated class, for what pysparkplug's own does not know."""
    return Proto.Metric(timestamp=MS, **settings)


def proto_payload(*metrics, seq: int = 0) -> bytes:
    return Proto(timestamp=MS, seq=seq, metrics=list(metrics)).SerializeToString()


# --- addresses ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("spBv1.0/G/N#Speed", Address("G", "N", "", "Speed")),
        ("spBv1.0/G/N/D#Speed", Address("G", "N", "D", "Speed")),
        ("spBv1.0/江宁 1/N.2/压机#Inputs/A #1+", Address("江宁 1", "N.2", "压机", "Inputs/A #1+")),
        ("spBv1.0/G/N#/", Address("G", "N", "", "/")),
    ],
)
def test_an_address_is_group_node_device_and_the_metric_behind_the_first_hash(text, expected):
    assert parse_address(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("G/N#x", "does not begin with spBv1.0/"),
        ("spAv1.0/G/N#x", "does not begin with spBv1.0/"),
        ("spBv1.0/G/N", "has no #"),
        ("spBv1.0/G/N#", "names no metric"),
        ("spBv1.0/G#x", "is not group, node"),
        ("spBv1.0/G/N/D/E#x", "is not group, node"),
        ("spBv1.0/G//D#x", "is not group, node"),
        ("spBv1.0/G/+#x", "wildcard"),
        ("spBv1.0/G/NDATA/N#x", "message type NDATA; leave it out"),
        ("spBv1.0/STATE/host#x", "STATE"),
    ],
)
def test_an_address_that_is_none_is_named_with_what_to_write(text, hint):
    with pytest.raises(ValueError, match=r"spBv1\.0|address") as raised:
        parse_address(text)
    assert repr(text) in str(raised.value)
    assert hint in str(raised.value)


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text):
    for candidate in (text, f"spBv1.0/{text}", f"spBv1.0/G/N#{text}"):
        try:
            assert str(parse_address(candidate)) == candidate
        except ValueError as error:
            assert repr(candidate) in str(error)  # noqa: PT017  most texts are none


def test_the_filters_bring_births_data_and_deaths_of_the_node_and_all_its_devices():
    addresses = [parse_address(text) for text in ("spBv1.0/G/N/D#a", "spBv1.0/G/N/D#b", "spBv1.0/G/N#c")]
    assert filters(addresses) == [
        "spBv1.0/G/NBIRTH/N", "spBv1.0/G/NDATA/N", "spBv1.0/G/NDEATH/N",
        "spBv1.0/G/DBIRTH/N/+", "spBv1.0/G/DDATA/N/+", "spBv1.0/G/DDEATH/N/+",
    ]  # fmt: skip
    assert filters([]) == []


# --- payloads, with pysparkplug as the oracle ---


def ints(bits: int, *, signed: bool):
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else st.integers(0, 2**bits - 1)


MOMENTS = st.integers(0, 4_000_000_000).map(lambda s: dt.datetime.fromtimestamp(s, dt.UTC))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = {
    T.INT8: ints(8, signed=True), T.INT16: ints(16, signed=True),
    T.INT32: ints(32, signed=True), T.INT64: ints(64, signed=True),
    T.UINT8: ints(8, signed=False), T.UINT16: ints(16, signed=False),
    T.UINT32: ints(32, signed=False), T.UINT64: ints(64, signed=False),
    T.FLOAT: st.floats(width=32), T.DOUBLE: st.floats(), T.BOOLEAN: st.booleans(),
    T.STRING: TEXTS, T.TEXT: TEXTS, T.UUID: st.uuids().map(str), T.DATETIME: MOMENTS,
}  # fmt: skip
BARE = TEXTS.filter(lambda text: "\0" not in text)
ARRAYS = {
    T.INT8_ARRAY: ints(8, signed=True), T.INT16_ARRAY: ints(16, signed=True),
    T.INT32_ARRAY: ints(32, signed=True), T.INT64_ARRAY: ints(64, signed=True),
    T.UINT8_ARRAY: ints(8, signed=False), T.UINT16_ARRAY: ints(16, signed=False),
    T.UINT32_ARRAY: ints(32, signed=False), T.UINT64_ARRAY: ints(64, signed=False),
    T.FLOAT_ARRAY: st.floats(width=32), T.DOUBLE_ARRAY: st.floats(), T.BOOLEAN_ARRAY: st.booleans(),
    T.STRING_ARRAY: BARE, T.DATETIME_ARRAY: MOMENTS,
}  # fmt: skip


def same(ours: object, theirs: object) -> bool:
    if isinstance(theirs, dt.datetime):
        return ours == round(theirs.timestamp() * 1000)  # ours are [ms]
    if isinstance(theirs, float) and math.isnan(theirs):
        return isinstance(ours, float) and math.isnan(ours)
    return ours == theirs and type(ours) is type(theirs)


def test_every_type_of_pysparkplug_is_tried():
    assert {int(kind) for kind in (*SCALARS, *ARRAYS, *WITHOUT_SCALAR)} | {0} == set(range(len(NAMES)))


@settings(max_examples=400)
@given(st.data(), st.sampled_from(list(SCALARS)), st.one_of(st.none(), st.integers(0, 2**64 - 1)))
def test_a_scalar_of_every_type_is_what_pysparkplug_encoded(data, kind, alias):
    value = data.draw(SCALARS[kind])
    payload = decode(sp.NBirth(timestamp=MS, seq=7, metrics=(metric("x/y", kind, value, MS, alias=alias),)).encode())
    (found,) = payload.metrics()
    assert (payload.timestamp, payload.seq) == (MS, 7)
    assert (found.name, found.alias, found.timestamp, found.datatype) == ("x/y", alias, MS, kind)
    assert same(found.value(), value)
    (bare,) = decode(sp.NData(timestamp=MS, seq=7, metrics=(metric("x", kind, value, MS),)).encode()).metrics()
    assert bare.datatype == 0
    assert same(bare.value(kind), value)


@settings(max_examples=300)
@given(st.data(), st.sampled_from(list(ARRAYS)))
def test_an_element_of_every_array_is_what_pysparkplug_encoded(data, kind):
    array = tuple(data.draw(st.lists(ARRAYS[kind], max_size=20)))
    (found,) = decode(sp.NBirth(timestamp=MS, seq=0, metrics=(metric("x", kind, array, MS),)).encode()).metrics()
    for index, value in enumerate(array):
        assert same(element(kind, found.inner(), index), value)
    if array or kind != T.STRING_ARRAY:  # it writes no text as one that is empty
        assert element(kind, found.inner(), len(array)) is None
    with pytest.raises(Unsupported):
        found.value()


WITHOUT_SCALAR = {
    T.BYTES: {"bytes_value": b"\1\2"},
    T.FILE: {"bytes_value": b"\1\2"},
    T.DATASET: {"dataset_value": Proto.DataSet(num_of_columns=1, columns=["a"], types=[3])},
    T.TEMPLATE: {"template_value": Proto.Template(template_ref="Motor")},
    T.PROPERTYSET: {"int_value": 1},
    T.PROPERTYSETLIST: {"int_value": 1},
}


@pytest.mark.parametrize("kind", WITHOUT_SCALAR)
def test_what_is_no_scalar_is_bad_not_supported(kind):
    edge = Edge("spBv1.0/G/N#x")
    taken = edge.take("NBIRTH/N", proto_payload(proto_metric(name="x", datatype=kind, **WITHOUT_SCALAR[kind])))
    assert values(taken) == [(0, None, status.BAD_NOT_SUPPORTED)]
    assert taken.flags == ["data type is not supported"]
    assert edge.host.standing() == []


@pytest.mark.parametrize(
    ("kind", "field", "raw", "expected"),
    [
        (1, 1, 255, -1),  # Int8 in 8 bits
        (1, 1, 0xFFFF_FFFF, -1),  # extended to 32 bits
        (1, 1, 2**64 - 1, -1),  # ten bytes for a negative number of 32 bits
        (1, 1, 127, 127),
        (2, 1, 0x8000, -32768),
        (3, 1, 0x8000_0000, -(2**31)),
        (4, 2, 2**63, -(2**63)),
        (7, 2, 5, 5),  # UInt32 in the long field, as some publish it
        (0, 1, 127, 127),  # no type: every one says 127
        (0, 2, 2**63 - 1, 2**63 - 1),
        (0, 5, 1, True),
    ],
)
def test_an_integer_is_read_by_its_type(kind, field, raw, expected):
    assert scalar(kind, field, raw) == expected


@pytest.mark.parametrize(
    ("kind", "field", "raw"),
    [
        (1, 1, 256), (5, 1, 256), (5, 1, 0xFFFF_FFFF), (11, 1, 1), (3, 5, 1), (9, 1, 1), (3, 3, b"\0\0\0\0"),
        (12, 1, 65), (3, 6, b"65"), (12, 6, b"\xff"), (0, 1, 128), (0, 2, 2**63),
    ],
)  # fmt: skip
def test_a_value_that_its_type_does_not_allow_is_refused(kind, field, raw):
    with pytest.raises(Misfit):
        scalar(kind, field, raw)


def test_a_float_is_what_32_bits_say():
    (found,) = decode(sp.NBirth(timestamp=MS, seq=0, metrics=(metric("x", T.FLOAT, 12.1, MS),)).encode()).metrics()
    assert found.value() == struct.unpack("<f", struct.pack("<f", 12.1))[0] == 12.100000381469727


def test_fields_that_nobody_knows_are_passed_over():
    known = sp.NData(timestamp=MS, seq=1, metrics=(real("x", 1.5),)).encode()
    unknown = written(1000, 7) + written(1001, b"abc") + b"\xf1\x3e" + bytes(8) + b"\xf5\x3e" + bytes(4)
    found = decode(unknown + known + unknown)
    assert (found.timestamp, found.seq, found.metrics()[0].value(10)) == (MS, 1, 1.5)


@pytest.mark.parametrize(
    "data",
    [b"\x08", b"\x08\x80", b"\x08" + b"\x80" * 10 + b"\1", b"\x12\x05abcd", b"\x0d\0\0\0", b"\x09" + bytes(7), b"\x00",
     b"\x0b\x0c", b"\x0e\0", b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x80\x80\x80\x80\x80\x80\1\0"],
)  # fmt: skip
def test_bytes_that_end_early_or_are_no_fields_are_a_value_error(data):
    with pytest.raises(ValueError, match=r"\w"):
        fields(data)


@given(st.integers(1, 2**29 - 1), st.one_of(st.integers(0, 2**64 - 1), TEXTS, st.binary()))
def test_what_is_written_is_read(number, value):
    ((key, found),) = fields(written(number, value))
    assert key >> 3 == number
    assert found == (value.encode() if isinstance(value, str) else value)


def rich() -> bytes:
    """A birth with everything in it."""
    table = Proto.DataSet(num_of_columns=2, columns=["t", "v"], types=[13, 10])
    for n in range(3):
        row = table.rows.add()
        row.elements.add().long_value = MS + n
        row.elements.add().double_value = n
    inner = Proto.Template(
        template_ref="I", is_definition=False, metrics=[proto_metric(name="m", datatype=3, int_value=4)]
    )
    outer = Proto.Template(template_ref="O", is_definition=False)
    outer.metrics.append(proto_metric(name="i", datatype=19, template_value=inner))
    good = Proto.PropertySet(keys=["Quality", "engUnit"])
    good.values.add(type=3, int_value=192)
    good.values.add(type=12, string_value="°C")
    return proto_payload(
        proto_metric(name="bdSeq", datatype=4, long_value=0),
        proto_metric(name="d", alias=1, datatype=10, double_value=1.5, properties=good),
        proto_metric(name="s", alias=2, datatype=12, string_value="压机"),
        proto_metric(name="t", alias=3, datatype=16, dataset_value=table),
        proto_metric(name="o", alias=4, datatype=19, template_value=outer),
        proto_metric(name="a", alias=5, datatype=23, bytes_value=struct.pack("<3h", 1, -2, 3)),
        proto_metric(name="b", alias=6, datatype=32, bytes_value=b"\x03\0\0\0\xa0"),
    )


EVERYTHING = [
    "spBv1.0/G/N#d", "spBv1.0/G/N#s", "spBv1.0/G/N#t[v]", "spBv1.0/G/N#t[v][1]", "spBv1.0/G/N#t[v@t]",
    "spBv1.0/G/N#o/i/m", "spBv1.0/G/N#a[1]", "spBv1.0/G/N#b[2]", "spBv1.0/G/N#nobody",
]  # fmt: skip


def test_mutated_and_cut_payloads_raise_nothing_but_value_errors_and_never_trouble_the_host():
    dice, whole = random.Random(1), rich()
    refused = 0
    for _ in range(10_000):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 6)):
            data[dice.randrange(len(data))] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        data = bytes(data[: dice.randrange(len(data))] if dice.random() < 0.3 else data)
        try:
            described(decode(data))
        except ValueError:
            refused += 1
        edge = Edge(*EVERYTHING)
        for topic in ("NBIRTH/N", "NDATA/N", "NDEATH/N"):
            taken = edge.take(topic, data)
            assert all(0 <= row[1] < 2**63 for row in taken.rows + taken.historic)
        edge.host.warnings()
    assert 1_000 < refused < 9_000


@given(st.binary(max_size=300), st.text(max_size=30))
def test_any_bytes_on_any_topic_are_taken(data, topic):
    edge = Edge(*EVERYTHING)
    for name in ("NBIRTH/N", "NDATA/N", "DDATA/N/D", "NDEATH/N"):
        edge.take(name, data)
    assert edge.host.take(topic, data, NOW).flags == ["not for us"]


@pytest.mark.parametrize(("deep", "expected"), [(8, 7), (9, None)])
def test_templates_may_be_nested_eight_deep(deep, expected):
    found = proto_metric(name="m", datatype=3, int_value=7)
    for _ in range(deep):
        found = proto_metric(name="t", datatype=19, template_value=Proto.Template(metrics=[found], is_definition=False))
    taken = Edge("spBv1.0/G/N#" + "t/" * deep + "m").take("NBIRTH/N", proto_payload(found))
    assert taken.rows[0][2] == expected
    assert (taken.refused is None) == (expected is not None)


def test_ten_thousand_nested_templates_are_no_bomb():
    data = b""
    for _ in range(10_000):
        data = written(1, "t") + written(18, written(2, data))
    taken = Edge("spBv1.0/G/N#" + "t/" * 20 + "m").take("NBIRTH/N", written(2, data))
    assert "nested deeper than 8" in taken.refused
    assert described(decode(written(2, data)))


# --- births and data ---


def test_a_birth_gives_values_and_names_that_no_birth_has_are_bad():
    edge = Edge("spBv1.0/G/N#Speed", "spBv1.0/G/N#Sped")
    taken = edge.nbirth(real("Speed", 1.5, MS - 7))
    assert taken.rows == [(0, NS - 7_000_000, 1.5, None, 0), (1, NS, None, None, UNKNOWN_NAME)]
    assert (taken.flags, taken.refused, taken.rebirth) == ([], None, None)
    assert edge.host.standing() == [0]
    assert edge.host.warnings() == ["metric 'Sped' is in no birth of G/N; mend the address"]
    assert edge.host.waiting() == []


def test_aliases_name_the_metrics_of_a_node_and_of_each_device():
    edge = Edge("spBv1.0/G/N#Speed", "spBv1.0/G/N/D#Speed", "spBv1.0/G/N/E#Run")
    edge.nbirth(real("Speed", 1.0, alias=1))
    edge.dbirth(real("Speed", 2.0, alias=2))
    edge.dbirth(metric("Run", T.BOOLEAN, True, MS, alias=3), device="E")
    assert values(edge.ndata(real(None, 1.5, alias=1))) == [(0, 1.5, 0)]
    assert values(edge.ddata(real(None, 2.5, alias=2))) == [(1, 2.5, 0)]
    assert values(edge.ddata(metric(None, T.BOOLEAN, False, MS, alias=3), device="E")) == [(2, 0, 0)]
    assert edge.host.standing() == [0, 1, 2]


def test_several_changes_of_one_metric_in_one_message_are_rows_of_their_own():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 0.0))
    assert edge.ndata(real("x", 1.0, MS + 3), real("x", 2.0, MS + 4)).rows == [
        (0, NS + 3_000_000, 1.0, None, 0), (0, NS + 4_000_000, 2.0, None, 0),
    ]  # fmt: skip


def test_an_unknown_alias_is_refused_and_its_neighbours_are_used():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 1.0, alias=1))
    taken = edge.ndata(real(None, 9.0, alias=99), real(None, 2.0, alias=1))
    assert values(taken) == [(0, 2.0, 0)]
    assert taken.flags == ["unknown alias"]
    assert taken.refused == "alias 99 is in no birth of G/N"
    assert taken.rebirth == ("G", "N")


def test_aliases_of_metrics_that_no_point_asks_for_are_known():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 1.0, alias=1), real("y", 1.0, alias=2))
    taken = edge.ndata(real(None, 2.0, alias=2))
    assert (taken.rows, taken.flags, taken.rebirth) == ([], [], None)


def test_data_before_a_birth_are_used_by_name_and_never_guessed_by_alias():
    edge = Edge("spBv1.0/G/N/D#x", "spBv1.0/G/N/D#y")
    assert edge.host.waiting() == [("G", "N")]
    edge.seq = 57
    taken = edge.ddata(real("x", 1.5), real(None, 2.5, alias=1))
    assert values(taken) == [(0, 1.5, 0)]
    assert taken.flags == ["data before birth", "unknown alias"]
    assert (taken.refused, taken.rebirth) == (None, ("G", "N"))
    assert edge.host.standing() == [0]
    assert edge.host.warnings() == ["G/N/D waits for its birth; until then its aliases and data types are not known"]


def test_an_integer_without_a_type_counts_only_where_every_type_says_the_same():
    edge = Edge("spBv1.0/G/N#x", "spBv1.0/G/N#y")
    taken = edge.ndata(metric("x", T.INT32, 5, MS), metric("y", T.INT32, -5, MS))
    assert values(taken) == [(0, 5, 0), (1, None, status.BAD_DECODING_ERROR)]
    assert taken.flags == ["data before birth", "unknown data type"]
    taken = edge.ndata(metric("y", T.INT32, -5, MS), types=True)
    assert values(taken) == [(1, -5, 0)]


def test_data_without_types_take_the_births():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(metric("x", T.INT16, -1, MS))
    assert values(edge.ndata(metric("x", T.INT16, -2, MS))) == [(0, -2, 0)]


def test_a_metric_that_changes_its_type_is_read_by_what_it_says_and_flagged():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(metric("x", T.INT16, 1, MS))
    taken = edge.ndata(real("x", 1.5), types=True)
    assert (values(taken), taken.flags) == ([(0, 1.5, 0)], ["metric changed its type"])
    taken = edge.ndata(real("x", 2.5))
    assert values(taken) == [(0, None, status.BAD_DECODING_ERROR)]
    assert taken.refused == "metric 'x': the field double holds no Int16"


def test_the_point_tables_type_is_kept_to():
    edge = Edge("spBv1.0/G/N#x", "spBv1.0/G/N#y", kinds=("number", "bool"))
    text = metric("x", T.STRING, "12.5", MS)
    assert values(edge.nbirth(text, real("y", 1.0))) == [(0, 12.5, 0), (1, 1, 0)]
    taken = edge.ndata(metric("x", T.STRING, "much", MS), real("y", 7.0))
    assert values(taken) == [(0, None, status.BAD_TYPE_MISMATCH), (1, None, status.BAD_TYPE_MISMATCH)]
    assert taken.refused == "'much' is no number"


def test_an_integer_beyond_2_to_the_53_keeps_its_digits():
    edge = Edge("spBv1.0/G/N#x")
    assert values(edge.nbirth(metric("x", T.UINT64, 2**64 - 1, MS))) == [(0, "18446744073709551615", 0)]


def test_null_is_a_value_and_no_value_is_bad():
    edge = Edge("spBv1.0/G/N#x", "spBv1.0/G/N#y")
    nothing = proto_metric(name="y", datatype=10)
    taken = edge.take("NBIRTH/N", proto_payload(proto_metric(name="x", datatype=10, is_null=True), nothing))
    assert values(taken) == [(0, None, 0), (1, None, status.BAD_NO_VALUE)]
    assert edge.host.standing() == [0]


@pytest.mark.parametrize(
    ("quality", "expected", "standing"),
    [
        ({"type": 3, "int_value": 192}, (0, 1.5, status.GOOD), [0]),
        ({"type": 3, "int_value": 500}, (0, 1.5, status.UNCERTAIN_LAST_USABLE_VALUE), [0]),
        ({"type": 3, "int_value": 0}, (0, None, status.BAD), []),
        ({"type": 3, "int_value": 64}, (0, 1.5, status.UNCERTAIN), [0]),
        ({"type": 12, "string_value": "good"}, (0, 1.5, status.UNCERTAIN), [0]),
    ],
)
def test_the_property_quality_gives_the_status(quality, expected, standing):
    edge = Edge("spBv1.0/G/N#x")
    held = Proto.PropertySet(keys=["Quality"], values=[Proto.PropertyValue(**quality)])
    taken = edge.take("NBIRTH/N", proto_payload(proto_metric(name="x", datatype=10, double_value=1.5, properties=held)))
    assert values(taken) == [expected]
    assert edge.host.standing() == standing


@pytest.mark.parametrize(
    ("own", "payload", "expected"),
    [
        (MS, MS + 1, NS),
        (None, MS + 1, NS + 1_000_000),
        (0, MS + 1, NS + 1_000_000),
        (None, 0, NOW),
        (2**63, 2**64 - 1, NOW),
    ],
)
def test_the_time_is_the_metrics_else_the_payloads_else_ours(own, payload, expected):
    edge = Edge("spBv1.0/G/N#x")
    taken = edge.take("NDATA/N", sp.NData(timestamp=payload, seq=0, metrics=(real("x", 1.5, own),)).encode())
    assert taken.rows == [(0, expected, 1.5, None, 0)]


def test_historical_values_stand_beside_what_is_live():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 1.0))
    taken = edge.ndata(real("x", 0.5, MS - 9000, is_historical=True), real("x", 2.0, MS + 1))
    assert taken.historic == [(0, NS - 9_000_000_000, 0.5, None, 0)]
    assert taken.rows == [(0, NS + 1_000_000, 2.0, None, 0)]
    edge.ndeath()
    edge.ndata(real("x", 0.6, MS - 8000, is_historical=True))
    assert edge.host.standing() == []


def test_a_transient_value_is_kept_like_others():
    assert values(Edge("spBv1.0/G/N#x").nbirth(real("x", 1.5, is_transient=True))) == [(0, 1.5, 0)]


def test_messages_that_are_not_for_us_come_to_nothing():
    edge = Edge("spBv1.0/G/N#x")
    for topic in ("spBv1.0/STATE/scada", "spBv1.0/G/NCMD/N", "spBv1.0/G/DCMD/N/D", "spBv1.0/G/NDATA/Other", "a/b",
                  "spBv1.0/G/NDATA/N/D", "spBv1.0/G/DDATA/N", "spBv1.0/G/NDATA/N/D/E", ""):  # fmt: skip
        taken = edge.host.take(topic, b"\xff", NOW)
        assert (taken.rows, taken.historic, taken.refused, taken.rebirth) == ([], [], None, None)
        assert taken.flags == ["not for us"]


def test_nodes_and_devices_without_points_are_not_remembered():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 1.0))
    for n in range(100):
        edge.dbirth(real("y", 1.0, alias=n + 1), device=f"D{n}")
        edge.host.take(f"spBv1.0/G/NBIRTH/N{n}", edge.sent[1], NOW)
    assert len(edge.host._nodes) == 1
    assert edge.host._nodes["G", "N"].devices == {}


# --- parts of values ---


def table_metric(name: str = "t", **settings):
    return next(each for each in Proto.FromString(rich()).metrics if each.name == name)


def test_cells_columns_elements_and_members_are_points():
    taken = Edge(*EVERYTHING).take("NBIRTH/N", rich())
    assert values(taken) == [
        (0, 1.5, 0), (1, "压机", 0), (2, 0.0, 0), (3, 1.0, 0), (4, 0.0, 0), (4, 1.0, 0), (4, 2.0, 0),
        (5, 4, 0), (6, -2, 0), (7, 1, 0), (8, None, UNKNOWN_NAME),
    ]  # fmt: skip
    assert [row[1] for row in taken.rows if row[0] == 4] == [NS, NS + 1_000_000, NS + 2_000_000]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("t[v][3]", status.BAD_NO_VALUE),
        ("t[w]", UNKNOWN_NAME),
        ("t[v@w]", UNKNOWN_NAME),
        ("a[3]", status.BAD_NO_VALUE),
        ("a[x]", UNKNOWN_NAME),
        ("d[0]", UNKNOWN_NAME),
        ("o/i/x", UNKNOWN_NAME),
        ("o", status.BAD_NOT_SUPPORTED),
    ],
)
def test_a_part_that_is_not_there_is_bad(part, expected):
    assert values(Edge(f"spBv1.0/G/N#{part}").take("NBIRTH/N", rich())) == [(0, None, expected)]


def test_a_metric_whose_own_name_has_brackets_or_slashes_is_found_by_it_first():
    edge = Edge("spBv1.0/G/N#a[1]", "spBv1.0/G/N#o/i")
    table = Proto.Template(is_definition=False, metrics=[proto_metric(name="i", datatype=3, int_value=1)])
    sent = [
        proto_metric(name="a", datatype=23, bytes_value=struct.pack("<2h", 8, 9)),
        proto_metric(name="a[1]", datatype=3, int_value=5),
        proto_metric(name="o", datatype=19, template_value=table),
        proto_metric(name="o/i", datatype=3, int_value=6),
    ]
    assert values(edge.take("NBIRTH/N", proto_payload(*sent))) == [(0, 5, 0), (1, 6, 0)]
    assert edge.take("NDATA/N", proto_payload(sent[0], sent[2], seq=1)).rows == []


def test_a_column_whose_name_has_brackets_and_an_at_is_found():
    table = Proto.DataSet(columns=["T [°C]@in", "when"], types=[3, 13])
    row = table.rows.add()
    row.elements.add().int_value = 21
    row.elements.add().long_value = MS
    edge = Edge("spBv1.0/G/N#t[T [°C]@in]", "spBv1.0/G/N#t[T [°C]@in@when]", "spBv1.0/G/N#t[T [°C]@in][0]")
    taken = edge.take("NBIRTH/N", proto_payload(proto_metric(name="t", datatype=16, dataset_value=table)))
    assert values(taken) == [(0, 21, 0), (1, 21, 0), (2, 21, 0)]


def test_a_part_of_a_templates_members_may_come_alone_and_by_alias():
    def instance(**member):
        held = Proto.Template(template_ref="M", is_definition=False, metrics=[proto_metric(**member)])
        return proto_metric(name="o", datatype=19, template_value=held)

    edge = Edge("spBv1.0/G/N#o/m")
    edge.take("NBIRTH/N", proto_payload(instance(name="m", alias=7, datatype=3, int_value=1)))
    assert values(edge.take("NDATA/N", proto_payload(instance(alias=7, int_value=2), seq=1))) == [(0, 2, 0)]
    assert values(edge.take("NDATA/N", proto_payload(proto_metric(alias=7, int_value=3), seq=2))) == [(0, 3, 0)]
    null = proto_metric(name="o", datatype=19, is_null=True)
    assert values(edge.take("NDATA/N", proto_payload(null, seq=3))) == [(0, None, 0)]


def test_the_definition_of_a_template_has_no_values():
    held = Proto.Template(is_definition=True, metrics=[proto_metric(name="m", datatype=3, int_value=1)])
    edge = Edge("spBv1.0/G/N#_types_/M/m")
    taken = edge.take("NBIRTH/N", proto_payload(proto_metric(name="_types_/M", datatype=19, template_value=held)))
    assert values(taken) == [(0, None, UNKNOWN_NAME)]


# --- deaths ---


def test_a_nodes_death_ends_all_its_points_at_once_by_our_clock():
    edge = Edge("spBv1.0/G/N#x", "spBv1.0/G/N/D#y", "spBv1.0/G/M#z")
    edge.nbirth(real("x", 1.0))
    edge.dbirth(real("y", 2.0))
    taken = edge.ndeath()
    assert taken.rows == [(0, NOW, None, None, NO_LINK), (1, NOW, None, None, NO_LINK)]
    assert taken.rebirth is None
    assert edge.host.standing() == []
    assert edge.host.warnings()[0] == "edge node G/N is dead; look at it, or at its line to the broker"
    assert edge.host.waiting() == [("G", "M")]  # the dead are not asked


def test_the_will_after_a_farewell_is_no_second_death():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 1.0))
    edge.ndeath()
    taken = edge.ndeath()
    assert (taken.rows, taken.flags) == ([], ["repeated"])


def test_a_death_of_an_older_session_is_stale():
    edge = Edge("spBv1.0/G/N#x")
    edge.bdseq = 8
    edge.nbirth(real("x", 1.0))
    taken = edge.ndeath(7)
    assert (taken.rows, taken.flags) == ([], ["stale death"])
    assert edge.host.standing() == [0]
    assert len(edge.ndeath(8).rows) == 1


@pytest.mark.parametrize("lost", ["hole", "malformed", "too large", "death"])
def test_a_death_of_another_session_counts_where_the_birth_of_that_may_have_been_lost(lost):
    edge = Edge("spBv1.0/G/N#x")
    edge.bdseq = 1
    edge.nbirth(real("x", 1.0))
    edge.seq += 3 if lost == "hole" else 0
    if lost == "malformed":
        edge.take("NBIRTH/N", b"\x12\x05")
    elif lost == "too large":
        edge.host.unreadable("spBv1.0/G/NBIRTH/N", NOW)
    elif lost == "death":
        edge.ndeath()  # of session 1; the birth of session 2 is lost without a hole that shows it
    edge.ndata(real("x", 2.0, MS + 9))
    assert edge.host.standing() == [0]
    taken = edge.ndeath(2)
    assert values(taken) == [(0, None, NO_LINK)]
    assert taken.flags == []
    assert edge.host.standing() == []
    edge.bdseq = 3
    edge.nbirth(real("x", 3.0))
    assert edge.ndeath(2).flags == ["stale death"]


@pytest.mark.parametrize("payload", [b"", b"\xff", proto_payload(proto_metric(name="x", datatype=3, int_value=1))])
def test_a_death_that_does_not_say_whose_counts(payload):
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 1.0))
    taken = edge.take("NDEATH/N", payload)
    assert values(taken) == [(0, None, NO_LINK)]
    assert taken.flags == ["death without bdSeq"]
    assert (taken.refused is not None) == (payload == b"\xff")


def test_a_devices_death_ends_its_points_when_it_says():
    edge = Edge("spBv1.0/G/N#x", "spBv1.0/G/N/D#y")
    edge.nbirth(real("x", 1.0))
    edge.dbirth(real("y", 2.0, alias=1))
    assert edge.ddeath().rows == [(1, NS + 2_000_000, None, None, NO_LINK)]
    assert edge.host.standing() == [0]
    assert edge.host.warnings() == ["device G/N/D is dead; its node lives"]
    assert edge.ddata(real(None, 3.0, alias=1)).flags == ["data before birth", "unknown alias"]
    assert values(edge.dbirth(real("y", 4.0, MS + 4, alias=2))) == [(1, 4.0, 0)]
    assert edge.host.standing() == [0, 1]


def test_an_old_value_that_a_birth_gives_again_is_known_from_the_birth_on():
    edge = Edge("spBv1.0/G/N/D#y")
    edge.nbirth()
    edge.dbirth(real("y", 2.0, MS))
    edge.ddeath()  # sent at MS + 2
    assert edge.dbirth(real("y", 2.0, MS)).rows == [(0, NS + 3_000_000, 2.0, None, 0)]  # sent at MS + 3


def test_after_a_nodes_death_by_our_clock_a_birth_of_a_slow_clock_is_known_when_we_get_it():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 1.0))
    edge.ndeath()
    edge.bdseq = 1
    assert edge.nbirth(real("x", 2.0)).rows == [(0, NOW + 1, 2.0, None, 0)]  # a test receives all at NOW


def test_a_clock_that_is_ahead_puts_no_death_before_the_value_it_ends():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 1.0, MS + 3_600_000))
    assert edge.ndeath().rows == [(0, NS + 3_600_000 * 1_000_000 + 1, None, None, NO_LINK)]


def test_a_node_born_again_expects_its_devices_and_ends_those_that_do_not_come():
    edge = Edge("spBv1.0/G/N#x", "spBv1.0/G/N/D#y", "spBv1.0/G/N/E#z")
    edge.nbirth(real("x", 1.0))
    edge.dbirth(real("y", 2.0))
    edge.dbirth(real("z", 3.0), device="E")
    assert values(edge.nbirth(real("x", 1.0))) == [(0, 1.0, 0)]
    assert edge.host.standing() == [0]  # nobody answers for D and E, but nothing is wrong yet
    edge.dbirth(real("y", 2.0))
    assert edge.host.standing() == [0, 1]
    assert values(edge.ndata(real("x", 1.5))) == [(2, None, NO_LINK), (0, 1.5, 0)]
    assert edge.ndata(real("x", 1.6)).rows[0][0] == 0


def test_a_new_session_without_a_death_leaves_the_time_between_unknown():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 1.0))
    edge.bdseq = 1
    taken = edge.nbirth(real("x", 1.0, MS + 1))
    assert taken.rows == [(0, NS + 1, None, None, LOST), (0, NS + 1_000_000, 1.0, None, 0)]
    assert taken.flags == ["new session without a death"]


# --- the sequence ---


def test_a_hole_in_the_sequence_makes_every_value_of_the_node_unknown_until_its_next():
    edge = Edge("spBv1.0/G/N#x", "spBv1.0/G/N/D#y", "spBv1.0/G/N/D#never")
    edge.nbirth(real("x", 1.0))
    edge.dbirth(real("y", 2.0))  # sent at MS + 1
    edge.seq += 1
    taken = edge.ndata(real("x", 1.5, MS + 2))
    after = NS + 1_000_000 + 1
    # x too: what it was between the two is not known either
    assert taken.rows == [
        (0, after, None, None, LOST), (1, after, None, None, LOST), (0, NS + 2_000_000, 1.5, None, 0),
    ]  # fmt: skip
    assert (taken.flags, taken.rebirth) == (["sequence gap"], ("G", "N"))
    assert edge.host.standing() == [0]
    assert values(edge.ddata(real("y", 2.5, MS + 3))) == [(1, 2.5, 0)]
    assert edge.host.standing() == [0, 1]
    assert edge.host.waiting() == []  # who gives no alias needs no birth for that


def test_after_a_hole_no_alias_is_used_until_the_next_birth_of_its_owner():
    edge = Edge("spBv1.0/G/N#x", "spBv1.0/G/N#z", "spBv1.0/G/N/D#y")
    edge.nbirth(real("x", 20.0, alias=1), real("z", 1000.0, alias=2))
    edge.dbirth(real("y", 2.0, alias=3))
    edge.seq += 3  # a birth that gives the aliases the other way round may be lost in it
    taken = edge.ndata(real(None, 1013.0, alias=1), real("z", 1012.0, alias=1), real(None, 21.0, alias=2))
    assert values(taken) == [(0, None, LOST), (1, None, LOST), (2, None, LOST), (1, 1012.0, 0)]
    assert taken.flags == ["sequence gap", "data before birth"]
    assert (taken.refused, taken.rebirth) == (None, ("G", "N"))
    taken = edge.ddata(real(None, 2.5, alias=3))
    assert (taken.rows, taken.flags, taken.rebirth) == ([], ["data before birth"], ("G", "N"))
    assert edge.host.standing() == [1]
    assert edge.host.waiting() == [("G", "N")]
    assert edge.host.warnings() == [
        f"{name} waits for its birth: one may have been lost; until then its aliases are not used"
        for name in ("G/N", "G/N/D")
    ]
    edge.dbirth(real("y", 3.0, alias=3))
    assert values(edge.ddata(real(None, 3.5, alias=3))) == [(2, 3.5, 0)]
    assert edge.ndata(real(None, 22.0, alias=2)).flags == ["data before birth"]  # the node's own are still in doubt
    edge.nbirth(real("x", 22.0, alias=2), real("z", 1011.0, alias=1))
    edge.dbirth(real("y", 3.0, alias=3))
    assert values(edge.ndata(real(None, 23.0, alias=2))) == [(0, 23.0, 0)]


def test_after_a_hole_a_member_by_alias_is_not_used_either():
    def instance(**member):
        held = Proto.Template(template_ref="M", is_definition=False, metrics=[proto_metric(**member)])
        return proto_metric(name="o", datatype=19, template_value=held)

    edge = Edge("spBv1.0/G/N#o/m")
    edge.take("NBIRTH/N", proto_payload(instance(name="m", alias=7, datatype=3, int_value=1)))
    assert values(edge.take("NDATA/N", proto_payload(instance(alias=7, int_value=2), seq=5))) == [(0, None, LOST)]
    taken = edge.take("NDATA/N", proto_payload(instance(name="m", alias=7, int_value=3), seq=6))
    assert (values(taken), taken.flags) == ([(0, 3, 0)], [])


def test_a_hole_asks_nothing_of_a_node_that_has_no_points_of_its_own():
    edge = Edge("spBv1.0/G/N/D#y")
    edge.nbirth(real("x", 1.0, alias=1))
    edge.dbirth(real("y", 2.0, alias=2))
    edge.seq += 1
    edge.dbirth(real("y", 2.0, alias=3))
    taken = edge.ndata(real(None, 1.5, alias=1))
    assert (taken.rows, taken.flags, taken.rebirth) == ([], [], None)
    assert edge.host.waiting() == []


def test_several_holes_make_a_point_bad_once():
    edge = Edge("spBv1.0/G/N#x", "spBv1.0/G/N#y")
    edge.nbirth(real("x", 1.0), real("y", 1.0))
    edge.seq += 1
    assert values(edge.ndata()) == [(0, None, LOST), (1, None, LOST)]
    edge.seq += 1
    taken = edge.ndata()
    assert (taken.rows, taken.flags) == ([], ["sequence gap"])


def test_messages_of_devices_without_points_count_in_the_sequence():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 1.0))
    edge.dbirth(real("y", 1.0), device="Other")
    edge.ddata(real("y", 1.0), device="Other")
    edge.ddeath("Other")
    assert edge.ndata(real("x", 2.0)).flags == []


def test_the_sequence_goes_on_from_255_to_0():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 0.0))
    assert not any(edge.ndata(real("x", float(n))).flags for n in range(600))


def test_a_message_that_comes_twice_makes_no_rows():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 0.0))
    edge.ndata(real("x", 1.0))
    taken = edge.take(*edge.sent)
    assert (taken.rows, taken.flags) == ([], ["repeated"])
    assert edge.ndata(real("x", 2.0)).flags == []


def test_a_message_that_comes_late_fills_the_past_and_changes_nothing_of_now():
    edge = Edge("spBv1.0/G/N#x", "spBv1.0/G/N#y")
    edge.nbirth(real("x", 1.0), real("y", 1.0))
    late = sp.NData(timestamp=MS, seq=1, metrics=(real("x", 1.1, MS + 1), real("y", 1.1, MS + 1))).encode()
    edge.seq = 2
    edge.ndata(real("x", 1.2, MS + 2))
    taken = edge.take("NDATA/N", late)
    assert (taken.rows, taken.flags) == ([], ["out of order"])
    assert [row[:3] for row in taken.historic] == [(0, NS + 1_000_000, 1.1), (1, NS + 1_000_000, 1.1)]
    assert edge.host.standing() == [0]
    assert edge.ndata(real("x", 1.3)).flags == []


def test_a_birth_ends_the_search_for_what_was_missing():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 1.0))
    edge.seq += 5
    edge.ndata()
    assert edge.nbirth(real("x", 1.0, MS)).rows == [(0, NS + 2_000_000, 1.0, None, 0)]
    assert edge.ndata(real("x", 1.5)).flags == []
    assert edge.host.standing() == [0]


@pytest.mark.parametrize(("seq", "flag"), [(None, "no sequence number"), (256, "sequence number above 255")])
def test_data_without_a_usable_number_are_used_and_flagged(seq, flag):
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 1.0))
    sent = Proto(timestamp=MS, seq=seq, metrics=[proto_metric(name="x", double_value=2.5)])
    taken = edge.take("NDATA/N", sent.SerializeToString())
    assert (values(taken), taken.flags) == ([(0, 2.5, 0)], [flag])


def test_a_birth_that_does_not_begin_at_0_is_used_and_flagged():
    edge = Edge("spBv1.0/G/N#x")
    taken = edge.nbirth(real("x", 1.0), seq=9)
    assert (values(taken), taken.flags) == ([(0, 1.0, 0)], ["birth is not number 0"])
    assert edge.ndata(real("x", 2.0)).flags == []


BROKEN = written(2, b"\x0a\x05")
"""A metric that ends early, at the end of a payload that is sound else."""


class Unread:
    """Ways in which a message comes of which nothing can be read, or no metric."""

    @staticmethod
    def too_large(edge: Edge, topic: str):
        kind, _, rest = topic.partition("/")
        edge.seq = (edge.seq + 1) % 256
        return edge.host.unreadable(f"spBv1.0/G/{kind}/{rest}", NOW)

    @staticmethod
    def no_payload(edge: Edge, topic: str):
        edge.seq = (edge.seq + 1) % 256
        return edge.take(topic, b"\x12\x05")

    @staticmethod
    def no_metric(edge: Edge, topic: str):
        number, edge.seq, edge.ms = edge.seq, (edge.seq + 1) % 256, edge.ms + 1
        return edge.take(topic, Proto(timestamp=edge.ms, seq=number).SerializeToString() + BROKEN)


WAYS = pytest.mark.parametrize("come", [Unread.too_large, Unread.no_payload, Unread.no_metric])


@WAYS
def test_data_that_cannot_be_read_make_their_owners_values_unknown_and_no_hole(come):
    edge = Edge("spBv1.0/G/N#x", "spBv1.0/G/N/D#y", "spBv1.0/G/N/E#z")
    edge.nbirth(real("x", 1.0, alias=1))
    edge.dbirth(real("y", 2.0, alias=2))
    edge.dbirth(real("z", 3.0, alias=3), device="E")  # sent at MS + 2
    taken = come(edge, "DDATA/N/D")
    assert taken.rows == [(1, NS + 2_000_001, None, None, LOST)]
    assert (taken.flags, taken.rebirth) == (["sequence gap"], ("G", "N"))
    assert (taken.refused is None) == (come == Unread.too_large)
    assert edge.host.standing() == [0, 2]
    taken = edge.ddata(real(None, 2.5, MS + 9, alias=2))  # it was seen, so that it hides no birth
    assert (values(taken), taken.flags) == ([(1, 2.5, 0)], [])
    edge.seq += 1
    assert edge.ndata().flags == ["sequence gap"]


def test_what_cannot_be_read_need_not_be_of_the_sequence():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 1.0))
    edge.take("NDATA/N", b"no Sparkplug")
    assert edge.ndata(real("x", 2.0)).flags == []
    edge.take("NDATA/N", b"no Sparkplug")
    edge.seq += 2
    assert edge.ndata(real("x", 2.0)).flags == ["sequence gap"]


@WAYS
def test_what_cannot_be_read_of_others_costs_nothing(come):
    edge = Edge("spBv1.0/G/N/D#y")
    edge.nbirth(real("x", 1.0, alias=1))
    edge.dbirth(real("y", 2.0, alias=2))
    for topic in ("DBIRTH/N/Other", "DDATA/N/Other", "DDEATH/N/Other", "NDATA/N"):
        taken = come(edge, topic)
        assert (taken.rows, taken.flags, taken.rebirth) == ([], [], None)
    assert values(edge.ddata(real(None, 2.5, alias=2))) == [(0, 2.5, 0)]


@WAYS
def test_a_nodes_birth_that_cannot_be_read_ends_the_one_before(come):
    edge = Edge("spBv1.0/G/N#x", "spBv1.0/G/N#z", "spBv1.0/G/N/D#y")
    edge.nbirth(metric("x", T.INT16, 20, MS, alias=1), real("z", 1000.0, alias=2))
    edge.dbirth(real("y", 2.0, alias=3))  # sent at MS + 1
    edge.seq = 0
    taken = come(edge, "NBIRTH/N")
    after = NS + 1_000_001
    assert taken.rows == [(0, after, None, None, LOST), (1, after, None, None, LOST), (2, after, None, None, LOST)]
    assert (taken.historic, taken.flags, taken.rebirth) == ([], [], ("G", "N"))
    assert edge.host.standing() == []
    assert edge.host.waiting() == [("G", "N")]
    assert edge.host.warnings()[0].startswith("G/N waits for its birth")
    taken = edge.ndata(real(None, 1013.0, alias=1))  # the new birth has them the other way round
    assert (taken.rows, taken.flags) == ([], ["data before birth", "unknown alias"])
    taken = edge.ndata(metric("x", T.INT16, -1, MS))
    assert values(taken) == [(0, None, status.BAD_DECODING_ERROR)]  # its type may have changed as well
    assert edge.ddata(real(None, 2.5, alias=3)).rows == []
    edge.dbirth(real("y", 3.0, alias=4))
    assert values(edge.ddata(real(None, 3.5, alias=4))) == [(2, 3.5, 0)]


@WAYS
def test_a_devices_birth_that_cannot_be_read_ends_the_one_before(come):
    edge = Edge("spBv1.0/G/N#x", "spBv1.0/G/N/D#y")
    edge.nbirth(real("x", 1.0, alias=1))
    edge.dbirth(real("y", 2.0, alias=2))
    taken = come(edge, "DBIRTH/N/D")
    assert taken.rows == [(1, NS + 1_000_001, None, None, LOST)]
    assert (taken.flags, taken.rebirth) == ([], ("G", "N"))
    assert edge.host.standing() == [0]
    assert edge.host.warnings()[0].startswith("G/N/D waits for its birth")
    taken = edge.ddata(real(None, 9.0, alias=2))
    assert (taken.rows, taken.flags) == ([], ["data before birth", "unknown alias"])
    assert values(edge.ndata(real(None, 1.5, alias=1))) == [(0, 1.5, 0)]


@WAYS
def test_a_devices_death_that_cannot_be_read_counts(come):
    edge = Edge("spBv1.0/G/N#x", "spBv1.0/G/N/D#y")
    edge.nbirth(real("x", 1.0))
    edge.dbirth(real("y", 2.0))
    taken = come(edge, "DDEATH/N/D")
    assert (values(taken), taken.flags) == ([(1, None, NO_LINK)], [])
    assert edge.host.standing() == [0]
    assert edge.host.warnings() == ["device G/N/D is dead; its node lives"]
    assert edge.ndata(real("x", 1.5)).flags == []


def test_a_nodes_death_that_is_too_large_counts():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 1.0))
    assert edge.host.unreadable("spBv1.0/G/NDEATH/N", NOW).rows == [(0, NOW, None, None, NO_LINK)]


def test_what_is_too_large_and_retained_or_not_for_us_says_nothing_of_now():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 1.0, alias=1))
    taken = edge.host.unreadable("spBv1.0/G/NBIRTH/N", NOW, retained=True)
    assert (taken.rows, taken.flags, taken.rebirth) == ([], ["retained"], None)
    taken = edge.take("NBIRTH/N", b"\xff", retained=True)
    assert (taken.rows, taken.flags, taken.rebirth) == ([], ["retained"], None)
    assert edge.host.unreadable("spBv1.0/G/NCMD/N", NOW).flags == ["not for us"]
    assert edge.host.unreadable("spBv1.0/G/NBIRTH/Other", NOW).flags == ["not for us"]
    assert values(edge.ndata(real(None, 2.0, alias=1))) == [(0, 2.0, 0)]


def test_a_message_that_cannot_be_read_and_comes_twice_is_no_hole():
    edge = Edge("spBv1.0/G/N#x")
    edge.nbirth(real("x", 1.0))
    Unread.no_metric(edge, "NDATA/N")
    assert edge.take(*edge.sent).flags == ["repeated"]
    assert edge.ndata(real("x", 2.0)).flags == []


def test_what_is_retained_is_not_of_now():
    edge = Edge("spBv1.0/G/N#x", "spBv1.0/G/N#y")
    taken = edge.send("NBIRTH/N", sp.NBirth, (bdseq(0, MS), real("x", 1.0, alias=1)), retained=True)
    assert values(taken) == [(1, None, UNKNOWN_NAME)]
    assert taken.historic == [(0, NS, 1.0, None, 0)]  # it was so when it was sent
    assert (taken.flags, taken.rebirth) == (["retained"], ("G", "N"))
    assert edge.host.standing() == []
    edge.seq = 200
    assert values(edge.ndata(real(None, 2.0, MS + 9, alias=1))) == [(0, 2.0, 0)]
    for topic, payload in (("NDATA/N", edge.sent[1]), ("NDEATH/N", sp.NDeath(1, bdseq(0, 1)).encode())):
        taken = edge.take(topic, payload, retained=True)
        assert (taken.rows, taken.historic, taken.flags) == ([], [], ["retained"])
    assert edge.host.standing() == [0]


# --- what is asked and what is shown ---


@given(BARE.filter(lambda text: text and not set(text) & set("/+#")), st.integers(0, 2**63))
def test_a_rebirth_is_what_pysparkplug_understands(name, now):
    topic, payload = rebirth("G", name, now)
    assert topic == f"spBv1.0/G/NCMD/{name}"
    found = sp.NCmd.decode(payload)
    assert found.timestamp == now
    assert [(each.name, each.value, each.alias) for each in found.metrics] == [("Node Control/Rebirth", True, None)]
    assert not Proto.FromString(payload).HasField("seq")


def test_a_birth_is_described_as_points_can_name_it():
    shown = [(each.name, each.alias, each.datatype, each.value, each.unit) for each in described(decode(rich()))]
    assert shown == [
        ("bdSeq", None, "Int64", 0, ""),
        ("d", 1, "Double", 1.5, "°C"),
        ("s", 2, "String", "压机", ""),
        ("t", 3, "DataSet", None, ""), ("t[t]", None, "DateTime", MS, ""), ("t[v]", None, "Double", 0.0, ""),
        ("o", 4, "Template", None, ""), ("o/i", None, "Template", None, ""), ("o/i/m", None, "Int32", 4, ""),
        ("a", 5, "Int16Array", None, ""), ("a[0]", None, "Int16", 1, ""), ("a[1]", None, "Int16", -2, ""),
        ("a[2]", None, "Int16", 3, ""),
        ("b", 6, "BooleanArray", None, ""), ("b[0]", None, "Boolean", True, ""), ("b[1]", None, "Boolean", False, ""),
        ("b[2]", None, "Boolean", True, ""),
    ]  # fmt: skip
    assert described(decode(rich()))[1].properties == {"Quality": 192}


def test_a_name_that_is_not_utf_8_costs_its_own_metric_alone():
    assert read_metric(written(1, "压机".encode("gbk"))).name == "ѹ\\xbb\\xfa"
    edge = Edge("spBv1.0/G/N#s", "spBv1.0/G/N#x")
    gbk = written(1, "s") + written(4, 12) + written(15, "压机".encode("gbk"))
    good = proto_metric(name="x", datatype=3, int_value=1).SerializeToString()
    taken = edge.take("NBIRTH/N", written(3, 0) + written(2, gbk) + written(2, good))
    assert values(taken) == [(0, None, status.BAD_DECODING_ERROR), (1, 1, 0)]
    assert "is not UTF-8" in taken.refused


def test_warnings_are_a_handful_of_harmless_lines():
    edge = Edge(*(f"spBv1.0/G/N#\x1b[31m{n}" for n in range(20)))
    edge.nbirth()
    lines = edge.host.warnings()
    assert lines[0] == "metric '0' is in no birth of G/N; mend the address"
    assert (len(lines), lines[-1]) == (6, "and 15 more of Sparkplug nodes and devices")

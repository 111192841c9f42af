"""Payloads to rows without a socket: plain values, JSON, CSV and Influx lines, as publishers really write them."""

import csv
import datetime as dt
import io
import json
import math
import random
import time
import zoneinfo
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import status
from config.plant import Point, Source, Topic
from connectors.mqtt.formats import Outcome, Scalar
from connectors.mqtt.influx_format import parse_lines, parse_selector
from connectors.mqtt.pointer import found, parse_pointer
from connectors.mqtt.routes import FORMATS
from connectors.mqtt.stamps import Stamps
from connectors.mqtt.times import UNITS, epoch_ns
from connectors.mqtt.values import BadPayload, Maker, typed, word
from connectors.scaling import EXACT_LIMIT, Scaling

NOW = 1_800_000_000_000_000_000
AT_NS = 1_795_242_600_123_456_789
"""2026-11-21T06:30:00.123456789Z"""
AT_MS = AT_NS // 10**6
BAD = status.BAD_DECODING_ERROR
SHANGHAI, BERLIN = zoneinfo.ZoneInfo("Asia/Shanghai"), zoneinfo.ZoneInfo("Europe/Berlin")
S = 10**9


def reader(name, *selectors, scale=1.0, time_field="/ts", **options):
    """A format with a point for each selector; `selector: type` gives it a type."""
    pairs = [one.partition(": ")[::2] for one in selectors]
    table = [
        Point(point=f"p{n}", asset="a", source="q", address="t", type=kind, scale=scale)
        for n, (_, kind) in enumerate(pairs)
    ]
    maker = Maker([point.type for point in table], Scaling(table))
    source = Source(id="q", kind="mqtt", url="mqtt://h", time_field=time_field)
    return FORMATS[name]([(n, one) for n, (one, _) in enumerate(pairs)], source, Topic(topic="#", **options), maker)


def rows(name, payload, *selectors, **options):
    """Rows as (position, value or text, status, ts), and the reason."""
    payload = payload if isinstance(payload, bytes) else payload.encode()
    found, reason = reader(name, *selectors, **options).rows(payload, NOW)
    return [(n, number if text is None else text, state, ts) for n, ts, number, text, state in found], reason


def values(name, payload, *selectors, **options):
    """The values or texts of rows that are all good."""
    found, reason = rows(name, payload, *selectors, **options)
    assert reason is None
    assert {state for _, _, state, _ in found} <= {status.GOOD}
    return [value for _, value, _, _ in found]


def json_rows(payload, *selectors, **options):
    return rows("json", payload if isinstance(payload, str | bytes) else json.dumps(payload), *selectors, **options)


# --- times ---


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-11-21T14:30:00.123456789+08:00", AT_NS),
        ("2026-11-21T06:30:00.123456789Z", AT_NS),
        ("2026-11-21T06:30:00.1234567891Z", AT_NS),  # what is below a nanosecond is cut
        ("2026-11-21t06:30:00,123456789z", AT_NS),
        (" 2026-11-21 06:30:00.5Z ", 1_795_242_600 * S + S // 2),
        ("2026-11-21 06:30:00+0000", 1_795_242_600 * S),
        ("2026-11-21T14:30+08", 1_795_242_600 * S),
        ("1969-12-31T23:59:59.25Z", -750_000_000),
        (1_795_242_600, 1_795_242_600 * S),
        (1_795_242_600.123456, 1_795_242_600_123_456_000),
        (1_795_242_600_123, 1_795_242_600_123 * 10**6),
        (1_795_242_600_123_456, 1_795_242_600_123_456 * 10**3),
        (AT_NS, AT_NS),
        ("1795242600", 1_795_242_600 * S),
        ("1795242600123", 1_795_242_600_123 * 10**6),
        ("1795242600.123456789", AT_NS),  # as text, no digit is lost
        (0, 0),
        ("2026-11-21T06:30:00", None),  # no offset
        ("2026-11-21T06:30.5Z", None),  # a part of a minute
        ("2026-11-21T06:30:60Z", None),  # a leap second
        ("2026-11-21T24:00:00Z", None),
        ("2026-02-30T06:30:00Z", None),
        ("2026-11-21T06:30:00+25:00", None),
        ("0001-01-01T00:00:00Z", None),  # int64 begins in 1677
        ("9999-12-31T23:59:59Z", None),
        ("2026-11-21", None),
        ("yesterday", None),
        ("", None),
        ("1" * 41, None),
        ("1" * 5000, None),
        ("١٧٩٥٢٤٢٦٠٠", None),  # digits, but none of ASCII
        (True, None),
        (None, None),
        ([], None),
        (math.nan, None),
        (math.inf, None),
        (1e300, None),
        (10**30, None),
        (2**63, None),
    ],
)
def test_times_of_many_kinds_are_understood(stamp, expected):
    assert epoch_ns(stamp) == expected


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("written", [int, str, float])
def test_a_unit_goes_before_the_magnitude(unit, written):
    assert epoch_ns(written(5), UNITS[unit]) == 5 * {"s": S, "ms": 10**6, "us": 10**3, "ns": 1}[unit]


@pytest.mark.parametrize(
    ("local", "zone", "expected"),
    [
        ("2026-11-21T14:30:00", SHANGHAI, "2026-11-21T06:30:00Z"),
        ("2026-11-21T14:30:00+00:00", SHANGHAI, "2026-11-21T14:30:00Z"),  # an offset goes before the zone
        ("2026-03-29T01:59:59", BERLIN, "2026-03-29T00:59:59Z"),
        ("2026-03-29T02:30:00", BERLIN, "2026-03-29T01:30:00Z"),  # there is no such hour: by the clock before it
        ("2026-03-29T03:00:00", BERLIN, "2026-03-29T01:00:00Z"),
        ("2026-10-25T01:59:59", BERLIN, "2026-10-24T23:59:59Z"),
        ("2026-10-25T02:30:00", BERLIN, "2026-10-25T00:30:00Z"),  # there are two such hours: the first
        ("2026-10-25T03:00:00", BERLIN, "2026-10-25T02:00:00Z"),
    ],
)
def test_a_time_without_an_offset_is_read_in_its_zone(local, zone, expected):
    assert epoch_ns(local, zone=zone) == epoch_ns(expected)


@given(
    st.datetimes(dt.datetime.fromisoformat("1700-01-01"), dt.datetime.fromisoformat("2261-01-01")),
    st.sampled_from(["UTC", "Asia/Shanghai", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"]),
    st.sampled_from(["T", " "]),
)
def test_times_are_those_of_datetime_and_zoneinfo(local, zone, between):
    moment = local.replace(tzinfo=zoneinfo.ZoneInfo(zone))
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    expected = ((since.days * 86_400 + since.seconds) * 10**6 + since.microseconds) * 1000
    assert epoch_ns(local.isoformat(between), zone=zoneinfo.ZoneInfo(zone)) == expected
    if moment.utcoffset().seconds % 60 == 0:  # before the railways, offsets had seconds
        assert epoch_ns(moment.isoformat(between)) == expected


@given(st.integers(-(2**62), 2**62), st.sampled_from(sorted(UNITS)))
def test_an_epoch_in_digits_keeps_each_of_its_digits(ns, unit):
    assert epoch_ns(str(ns), 1) == epoch_ns(ns, 1) == ns
    exact = Decimal(ns) / UNITS[unit]
    assert epoch_ns(format(exact, "f"), UNITS[unit]) == ns


@given(st.text() | st.integers() | st.floats() | st.none() | st.lists(st.integers()), st.sampled_from([0, 1, S]))
def test_no_time_raises(stamp, unit):
    ns = epoch_ns(stamp, unit, SHANGHAI)
    assert ns is None or -(2**63) <= ns < 2**63


# --- values ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", 12), (" 12.5 ", 12.5), ("-1e3", -1000.0), ("true", True), ("FALSE", False), ("on", "on"),
        ("1_000", "1_000"), ("0x10", "0x10"), ("", ""), ("9007199254740993", 2**53 + 1),
        ("1e400", "1e400"), ("1" * 5000, "1" * 5000),  # no float64 holds them
        ("inf", math.inf), ("-Infinity", -math.inf),
    ],
)  # fmt: skip
def test_a_text_that_spells_a_number_is_one(text, expected):
    assert word(text) == expected
    assert type(word(text)) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (True, "", 1), (None, "", None), ("RUN", "", "RUN"), ("12", "", "12"), (None, "uint16", None),
        ("12.5", "float64", 12.5), (True, "number", 1), ("true", "bool", 1), ("0", "bool", 0), (1.0, "bool", 1),
        (12, "string", "12"), (1.5, "string", "1.5"), (True, "string", "true"), ("", "string", ""),
    ],
)  # fmt: skip
def test_a_scalar_becomes_the_point_s_type(value, kind, expected):
    assert typed(value, kind) == expected


@pytest.mark.parametrize(
    ("value", "kind", "told"),
    [
        ("x", "float64", "'x' is no float64"), (2, "bool", "'2' is no bool"), ("on", "bool", "'on' is no bool"),
        ([1], "", "an array is no number, text or bool"), ({}, "string", "an object is no string"),
        ("1e400", "number", "'1e400' is no number"), ("y" * 99, "int16", f"'{'y' * 40}' is no int16"),
    ],
)  # fmt: skip
def test_a_scalar_of_another_type_says_so(value, kind, told):
    with pytest.raises(BadPayload) as error:
        typed(value, kind)
    assert str(error.value) == told


@pytest.mark.parametrize(
    ("written", "scale", "expected"),
    [
        (2**53, 1.0, float(2**53)),
        (2**53 + 1, 1.0, "9007199254740993"),
        (-(2**53) - 1, 1.0, "-9007199254740993"),
        (2**64 - 1, 1.0, "18446744073709551615"),
        (2**53 + 1, 0.01, "90071992547409.93"),  # scaled in its digits
        (2**53 + 1, 1000.0, "9007199254740993000.0"),
    ],
)
@pytest.mark.parametrize("name", ["scalar", "json", "csv", "influx"])
def test_an_integer_that_a_float_cannot_hold_keeps_its_digits(name, written, scale, expected):
    payload, selector = {
        "scalar": (f"{written}", ""), "json": (f'{{"v": {written}}}', "/v"), "csv": (f"{written}", "1"),
        "influx": (f"m v={written}i", "m v"),
    }[name]  # fmt: skip
    assert values(name, payload, selector, scale=scale) == [expected]


# --- one plain value ---


@pytest.mark.parametrize(
    ("payload", "kind", "expected"),
    [
        ("12.5", "", 12.5),
        (" 12\n", "uint16", 12),
        ("true", "bool", 1),
        ("on", "", "on"),
        ("12", "string", "12"),
        (" 12", "string", " 12"),
        ("\ufeff12.5", "", 12.5),  # a byte order mark
        ("\ufeffRUN", "string", "RUN"),
        ("运行", "", "运行"),
        ("a\0b", "", "a\0b"),
        ("1" * 5000, "", "1" * 5000),
        ("nan", "string", "nan"),
    ],
)
def test_a_payload_without_a_selector_is_one_plain_value(payload, kind, expected):
    assert rows("scalar", payload, f": {kind}") == ([(0, expected, 0, NOW)], None)


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"\xff\xfe1", "UTF-8"),
        (b"RUN", "'RUN' is no float64"),
        (b"1e400", "1e400"),
    ],
)
def test_a_plain_payload_that_does_not_fit_makes_all_its_points_bad(payload, told):
    found, reason = rows("scalar", payload, ": float64", ": float64")
    assert found == [(0, None, BAD, NOW), (1, None, BAD, NOW)]
    assert told in reason


def test_a_plain_payload_fits_some_of_its_points():
    assert rows("scalar", "RUN", ": float64", "") == (
        [(0, None, BAD, NOW), (1, "RUN", 0, NOW)],
        "payload: 'RUN' is no float64",
    )


# --- JSON pointers ---

RFC = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8}
"""The document of RFC 6901, chapter 5."""


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("", [RFC]), ("/foo", [["bar", "baz"]]), ("/foo/0", ["bar"]), ("/", [0]), ("/a~1b", [1]), ("/c%d", [2]),
        ("/e^f", [3]), ("/g|h", [4]), ("/i\\j", [5]), ('/k"l', [6]), ("/ ", [7]), ("/m~0n", [8]),
        ("/foo/2", []), ("/foo/-", []), ("/foo/00", []), ("/foo/01", []), ("/foo/+1", []), ("/foo/bar", []),
        ("/foo/0/x", []), ("/nothing", []), ("/foo/*", ["bar", "baz"]), ("/*", []),
    ],
)  # fmt: skip
def test_a_pointer_finds_what_rfc_6901_says(pointer, expected):
    assert [value for value, _ in found(RFC, parse_pointer(pointer), {})] == expected


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("/s/*/v", [1, 2, 3]),
        ("/s/[id=a]/v", [1, 3]),  # each that is it
        ("/s/[id=b]/v", [2]),
        ("/s/[id=c/d]/v", []),  # a slash within brackets divides nothing
        ("/s/[n=7]/v", [1]),
        ("/s/[ok=true]/v", [2]),
        ("/s/[id=a]/w/*", [8, 9]),
        ("/s/1/v", [2]),
        ("/o/[id=a]", []),  # an object has no elements
        ("/o/*", [6]),  # a key that is a star
        ("/o/a[0", [5]),  # a bracket that begins nothing
    ],
)
def test_a_star_and_brackets_find_elements_of_arrays(pointer, expected):
    elements = [{"id": "a", "n": 7, "v": 1, "w": [8, 9]}, {"id": "b", "ok": True, "v": 2}, {"id": "a", "v": 3}, 4, None]
    document = {"s": elements, "o": {"*": 6, "a[0": 5, "id": "a"}}
    assert [value for value, _ in found(document, parse_pointer(pointer), {})] == expected


def test_a_slash_within_brackets_belongs_to_the_value():
    document = [{"id": "a/b", "v": 1}, {"id": "a", "v": 2}]
    assert [value for value, _ in found(document, parse_pointer("/[id=a/b]/v"), {})] == [1]


@pytest.mark.parametrize("pointer", ["x", "x/y", "/a~", "/a~2b"])
def test_what_is_no_pointer_is_told(pointer):
    with pytest.raises(ValueError, match=r"time .* is no JSON Pointer.*; write"):
        parse_pointer(pointer, "time")


# --- JSON as publishers write it ---


def test_one_payload_feeds_all_its_points_at_its_own_time():
    payload = {"ts": AT_NS, "a": {"b": [1, 2.5]}, "run": True, "name": "压机", "x/y~z": 7, "no": None}
    found, reason = json_rows(payload, "/a/b/1", "/run", "/name", "/x~1y~0z", "/no", "/name: string")
    assert sorted(found) == [
        (0, 2.5, 0, AT_NS), (1, 1, 0, AT_NS), (2, "压机", 0, AT_NS),
        (3, 7, 0, AT_NS), (4, None, 0, AT_NS), (5, "压机", 0, AT_NS),
    ]  # fmt: skip
    assert reason is None


KEPWARE = {
    "timestamp": AT_MS + 500,
    "values": [
        {"id": "Channel1.Device1.Tag1", "v": 42, "q": True, "t": AT_MS},
        {"id": "Channel1.Device1.Tag2", "v": 0, "q": False, "t": AT_MS + 1},
        {"id": "Channel1.Device1.Tag1", "v": 43, "q": True, "t": AT_MS + 2},
    ],
}
MS = AT_MS * 10**6


def test_kepware_s_iot_gateway_has_time_and_quality_in_each_element():
    tags = [f"/values/[id=Channel1.Device1.Tag{n}]/v" for n in (1, 2, 3)]
    assert json_rows(KEPWARE, *tags, time="/t", quality="/q") == (
        [(0, 42, 0, MS), (0, 43, 0, MS + 2 * 10**6), (1, 0, status.BAD, MS + 10**6)],  # nobody speaks of the third
        None,
    )


def test_the_time_further_out_counts_where_the_innermost_container_has_none():
    assert json_rows(KEPWARE, "/values/1/v", time="/timestamp") == ([(0, 0, 0, MS + 500 * 10**6)], None)
    nulls = {"t": AT_MS, "values": [{"t": None, "v": 1}, {"v": 2}, {"t": AT_MS + 1, "v": 3}]}
    assert json_rows(nulls, "/values/*/v", time="/t") == (
        [(0, 1, 0, MS), (0, 2, 0, MS), (0, 3, 0, MS + 10**6)],
        None,
    )


def test_neuron_has_one_time_for_an_object_of_values():
    payload = {"node": "modbus", "group": "g", "timestamp": AT_MS, "values": {"温度": 81.5, "b": 2}, "errors": {"c": 3}}
    assert json_rows(payload, "/values/温度", "/values/b", "/values/c", time_field="/timestamp") == (
        [(0, 81.5, 0, MS), (1, 2, 0, MS)],
        None,
    )


def test_telegraf_writes_one_metric_or_a_batch_of_them():
    metric = {"fields": {"temp": 81.5}, "name": "press", "tags": {"line": "l1"}, "timestamp": 1_795_242_600}
    assert json_rows(metric, "/fields/temp", time_field="/timestamp") == ([(0, 81.5, 0, 1_795_242_600 * S)], None)
    batch = {"metrics": [metric, metric | {"name": "oven"}, metric | {"timestamp": 1_795_242_601}]}
    assert json_rows(batch, "/metrics/[name=press]/fields/temp", time_field="/timestamp") == (
        [(0, 81.5, 0, 1_795_242_600 * S), (0, 81.5, 0, 1_795_242_601 * S)],
        None,
    )


def test_senml_has_its_records_in_an_array():
    payload = [{"n": "temp", "u": "Cel", "v": 23.5, "t": 1_795_242_600}, {"n": "door", "vb": True, "t": 1_795_242_601}]
    assert json_rows(payload, "/[n=temp]/v", "/[n=door]/vb", time="/t") == (
        [(0, 23.5, 0, 1_795_242_600 * S), (1, 1, 0, 1_795_242_601 * S)],
        None,
    )


def test_parallel_arrays_are_samples():
    payload = {"ts": [1_795_242_600, 1_795_242_601, "?"], "v": [1, None, 2.5], "q": [192, 0, 64], "name": "press"}
    found, reason = json_rows(payload, "/v", "/name", quality="/q")
    assert found[:3] == [
        (0, 1, 0, 1_795_242_600 * S),
        (0, None, status.BAD, 1_795_242_601 * S),
        (0, 2.5, status.UNCERTAIN, NOW),  # its time is none
    ]
    assert found[3][1] == "press"
    assert "time '?' is not one" in reason


def test_a_quality_holds_for_all_samples_of_an_array():
    payload = {"ts": [1_795_242_600, 1_795_242_601], "v": [1, 2], "q": "Uncertain"}
    assert {state for _, _, state, _ in json_rows(payload, "/v", quality="/q")[0]} == {status.UNCERTAIN}


@pytest.mark.parametrize(
    "payload",
    [
        {"ts": 5, "v": [1]},
        {"v": [1]},
        {"ts": [1], "v": [1, 2]},
        {"ts": [1], "v": {"a": 1}},
        {"ts": [5 * S], "v": [[1]]},
        {"ts": [5 * S], "v": [{"a": 1}]},
    ],
)
@pytest.mark.parametrize("kind", ["", ": string"])
def test_a_structure_where_a_value_is_asked_for_is_not_supported_and_told(payload, kind):
    ((_, value, state, _),), reason = json_rows(payload, f"/v{kind}")
    assert (value, state) == (None, status.BAD_NOT_SUPPORTED)
    assert "is no value; name a member of it, or /* for all elements" in reason


@pytest.mark.parametrize(
    ("quality", "expected"),
    [
        (True, 0), (False, status.BAD), ("true", 0), (192, 0), (192.0, 0), ("192", 0), (" Good ", 0), ("OK", 0),
        (64, status.UNCERTAIN), ("Uncertain", status.UNCERTAIN), (0, status.BAD), ("bad", status.BAD),
        (None, 0), ([], status.BAD), ({}, status.BAD), (1e300, status.BAD),
    ],
)  # fmt: skip
def test_a_quality_becomes_a_status(quality, expected):
    assert json_rows({"v": 1, "q": quality}, "/v", quality="/q")[0] == [(0, 1, expected, NOW)]


def test_words_of_good_are_the_topic_s_own():
    stamps = Stamps(Source(id="q", kind="mqtt", url="mqtt://h"), Topic(topic="#", good=("Gut",)))
    assert [stamps.status(one) for one in ("gut", "GUT", "good", 192)] == [0, 0, status.BAD, status.BAD]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'\xef\xbb\xbf{"v": 1}', 1),  # a byte order mark
        (b' \r\n{"v": 1}\n', 1),
        ('{"温度": 1, "v": 2}', 2),
        ('{"v": "12.5"}', "12.5"),
        ('{"v": 1, "v": 2}', 2),  # the last of two counts
        ('{"v": "\\ud800"}', "\ud800"),  # half a pair; the spool writes its escape
        ('{"v": "a\\u0000b"}', "a\0b"),
        ('{"v": ""}', ""),
        ('{"v": 1e-400}', 0),
        ('{"v": Infinity}', math.inf),
        ('{"v": -Infinity}', -math.inf),
        ('{"v": 1' + "0" * 400 + "}", "1" + "0" * 400),
    ],
)
def test_odd_documents_are_read(payload, expected):
    assert values("json", payload, "/v") == [expected]


def test_a_nan_that_was_sent_is_a_number():
    ((value),) = values("json", '{"v": NaN}', "/v")
    assert math.isnan(value)


def test_a_number_in_a_string_is_one_where_the_type_says_so():
    assert values("json", '{"v": " 12.5 ", "b": "true"}', "/v: float32", "/b: bool") == [12.5, 1]


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"{", "no JSON"),
        (b"", "no JSON"),
        (b"\xff\xfe\xfd", "no JSON"),
        ('{"v": 1}'.encode("utf-16"), "no JSON"),
        (b'{"v": 1} x', "no JSON: more follows"),
        (b'{"v": 1}{"v": 2}', "no JSON: more follows"),
        (b'{"v": "a\0b"}', "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"v": ' * 100_000 + b"1" + b"}" * 100_000, "no JSON"),
        (b'{"v": ' + b"1" * 5000 + b"}", "no JSON"),  # Python reads 4,300 digits
        (b"1" * 5000, "no JSON"),
        (b"null", "none of its points"),
        (b"5", "none of its points"),
        (b'{"v": "x"}', "/v: 'x' is no float64"),
        (b'{"v": 1e400}', "/v: a number that no float64 can hold"),
        (b'{"v": "1e400"}', "/v: '1e400' is no float64"),
    ],
)
def test_a_document_that_does_not_fit_makes_its_points_bad_and_says_why(payload, told):
    found, reason = json_rows(payload, "/v: float64")
    assert found == [(0, None, BAD, NOW)]
    assert told in reason


@pytest.mark.parametrize("payload", [b'{"b": 1}', b"[]", b"{}", b'[{"v": 1}]'])
def test_a_document_that_speaks_of_other_things_says_nothing_unless_it_must(payload):
    assert json_rows(payload, "/v: float64") == ([], None)
    found, reason = json_rows(payload, "/v: float64", missing="bad")
    assert found == [(0, None, BAD, NOW)]
    assert reason == "/v: nothing there"


def test_deep_nesting_that_can_still_be_read_raises_nothing_anywhere():
    for depth in range(100, 1100, 7):
        deep = f"{'[' * depth}1{']' * depth}"
        for payload in (f'{{"v": {deep}}}', f'{{"v": 1, "ts": {deep}}}', f'{{"v": 1, "q": {deep}}}',
                        f'{{"v": [{deep}], "ts": [1]}}', f'{{"v": [1], "ts": [{deep}]}}'):  # fmt: skip
            for kind in ("", ": string", ": bool"):
                (row,), _ = json_rows(payload, f"/v{kind}", quality="/q")
                assert row[0] == 0


@pytest.mark.parametrize(
    ("missing", "expected", "told"),
    [("stands", [(0, 1, 0, NOW)], None), ("bad", [(0, 1, 0, NOW), (1, None, BAD, NOW)], "/b: nothing there")],
)
def test_a_point_that_a_message_does_not_mention_stands_or_is_bad(missing, expected, told):
    assert json_rows('{"a": 1}', "/a", "/b", missing=missing) == (expected, told)


@pytest.mark.parametrize(
    ("selector", "bad"), [("/s/*/a", False), ("/s/*/b", False), ("/s/*/c", True), ("/s/[a=9]/b", True), ("/e/*", True)]
)
def test_elements_are_missing_where_no_container_has_them(selector, bad):
    payload = {"x": 0, "s": [{"a": 1}, {"a": 2, "b": 3}, {"a": 4}], "e": []}
    found, reason = json_rows(payload, "/x", "/s/*/a", selector, missing="bad")
    assert [row for row in found if row[0] == 2 and row[2] == BAD] == ([(2, None, BAD, NOW)] if bad else [])
    assert reason == (f"{selector}: nothing there" if bad else None)


def test_a_time_that_is_none_is_told_and_the_receive_time_stands_in():
    found, reason = json_rows('{"a": 1, "ts": "noon"}', "/a")
    assert found == [(0, 1, 0, NOW)]
    assert reason.startswith("time 'noon' is not one: ISO 8601 with an offset, or an epoch")
    assert json_rows('{"a": 1, "ts": {"x": 1}}', "/a")[1].startswith("time an object is not one")


def test_a_topic_s_own_time_goes_before_the_source_s_and_empty_means_none():
    payload = {"ts": AT_NS, "when": "2026-11-21 14:30:00", "v": 1}
    assert json_rows(payload, "/v", time="/when", time_zone="Asia/Shanghai")[0] == [(0, 1, 0, 1_795_242_600 * S)]
    assert json_rows(payload, "/v", time="")[0] == [(0, 1, 0, NOW)]
    assert json_rows(payload, "/v", time="/[v=1]")[0] == [(0, 1, 0, NOW)]  # an object has no elements


def test_points_that_no_message_spoke_of_are_remembered():
    one = reader("json", "/a", "/b", "/c")
    one.rows(b'{"a": 1}', NOW)
    assert one.unmet == {1, 2}
    one.rows(b'{"b": [1]}', NOW)
    assert one.unmet == {2}


KEYS = st.sampled_from(["a", "b", "ts", "x/y", "m~n", "0", "", "温度"])
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)  # fmt: skip
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
POINTERS = st.lists(KEYS | st.sampled_from(["1", "-", "01"]), min_size=1, max_size=3)


def places(document, tokens=()):
    """Every place of a document, as the keys that lead there."""
    pairs = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, inner in pairs:
        yield [*tokens, str(key)]
        yield from places(inner, [*tokens, str(key)])


def slowly(text, tokens):
    """A plain reading of RFC 6901 with decimals: what stands there and the nearest time, None where nothing does."""
    document, around = json.loads(text, parse_float=Decimal), []
    for token in tokens:
        around.insert(0, document)
        if isinstance(document, dict) and token in document:
            document = document[token]
        elif isinstance(document, list) and token.isdigit() and str(int(token)) == token and int(token) < len(document):
            document = document[int(token)]
        else:
            return None
    stamps = [one["ts"] for one in around if isinstance(one, dict) and one.get("ts") is not None]
    return document, (stamps or [None])[0]


@given(DOCUMENTS, st.lists(POINTERS, min_size=1, max_size=3))
def test_rows_are_those_of_a_plain_slow_reading(document, pointers):
    text, pointers = json.dumps(document), [*pointers, *places(document)]
    selectors = ["".join("/" + key.replace("~", "~0").replace("/", "~1") for key in tokens) for tokens in pointers]
    made, reason = json_rows(text, *selectors)
    readings = [slowly(text, tokens) for tokens in pointers]
    for n, reading in enumerate(readings):
        mine = [row for row in made if row[0] == n]
        if reading is None:
            told = [] if any(readings) or isinstance(document, dict | list) else [(n, None, BAD, NOW)]
            assert mine == told
            continue
        value, stamp = reading
        if isinstance(value, dict | list):
            if not (isinstance(value, list) and isinstance(stamp, list) and len(value) == len(stamp)):
                assert mine == [(n, None, status.BAD_NOT_SUPPORTED, NOW)]
            continue
        if isinstance(value, int) and abs(value) > EXACT_LIMIT:
            value = str(value)
        expected = float(value) if isinstance(value, Decimal | int) else value
        at = None if isinstance(stamp, list) else epoch_ns(float(stamp) if isinstance(stamp, Decimal) else stamp)
        assert mine == [(n, expected, 0, NOW if at is None else at)]
    assert (
        (reason is None)
        or not all(readings)
        or any(isinstance(r[0], dict | list) or r[1] is not None for r in readings)
    )


# --- CSV ---


def test_columns_are_numbered_from_1():
    assert rows("csv", "1795242600,81.5,RUN", "2", "3", "1: string", time="1")[0] == [
        (0, 81.5, 0, 1_795_242_600 * S), (1, "RUN", 0, 1_795_242_600 * S), (2, "1795242600", 0, 1_795_242_600 * S),
    ]  # fmt: skip


def test_columns_have_names_from_the_topic_s_columns_or_from_a_header():
    expected = [(0, 81.5, 0, 1_795_242_600 * S), (0, 82, 0, NOW)]  # the second line has no time
    lines = "1795242600;81.5\n;82\n"
    assert rows("csv", lines, "温度", delimiter=";", columns=("ts", "温度")) == (expected, None)
    assert rows("csv", f"\ufeff\r\nts; 温度\n{lines}", "温度", delimiter=";", header=True) == (expected, None)
    assert rows("csv", lines, "2", delimiter=";", columns=("ts", "温度")) == (expected, None)


def test_a_name_goes_before_a_number():
    assert values("csv", "2,1\n7,8\n", "1", header=True) == [8]


def test_a_quality_may_be_a_column():
    assert [row[1:3] for row in rows("csv", "1,good\n2,bad\n3,", "1", quality="2")[0]] == [
        (1, 0), (2, status.BAD), (3, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"\xff", "no CSV in UTF-8"),
        (b'"a', "no CSV in UTF-8"),  # a quote that nobody closes
        (b'"a"b,2', "no CSV in UTF-8"),
        (b"", "none of its points"),
        (b"\n\n", "none of its points"),
        (b"only one", "none of its points"),
        (b"1,", "none of its points"),
        (b"1,x", "column 2: 'x' is no float64"),
        (b"1,1e400", "column 2: '1e400' is no float64"),
        (b'1,"' + b"9" * 200_000 + b'"', "no CSV in UTF-8: field larger than field limit"),
    ],
)
def test_lines_that_do_not_fit_make_their_points_bad_and_say_why(payload, told):
    found, reason = rows("csv", payload, "2: float64")
    assert found == [(0, None, BAD, NOW)]
    assert told in reason


def test_an_empty_cell_says_nothing_or_is_bad():
    assert rows("csv", "1,\n2,3\n", "1", "2") == ([(0, 1, 0, NOW), (0, 2, 0, NOW), (1, 3, 0, NOW)], None)
    assert rows("csv", "1,\n2,3\n", "1", "2", missing="bad") == (
        [(0, 1, 0, NOW), (1, None, BAD, NOW), (0, 2, 0, NOW), (1, 3, 0, NOW)],
        "column 2: nothing there",
    )


@pytest.mark.parametrize(
    ("column", "options", "told"),
    [
        ("temp", {}, "no header or columns name it; write its number, from 1"),
        ("0", {}, "no header"),
        ("9" * 5000, {}, "no header"),
        ("temp", {"columns": ("ts", "temperature")}, "is none of ts, temperature"),
    ],
)
def test_a_column_that_there_is_not_is_told(column, options, told):
    with pytest.raises(ValueError, match=told):
        reader("csv", column, **options)


@given(
    st.lists(st.lists(st.text(max_size=6), min_size=3, max_size=3), min_size=1, max_size=5),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from([(csv.QUOTE_MINIMAL, "\r\n"), (csv.QUOTE_ALL, "\n")]),  # one that ends in \n quotes no \r itself
)
def test_cells_are_those_that_the_csv_module_wrote(lines, delimiter, manner):
    quoting, end = manner
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(lines)
    try:
        payload = text.getvalue().encode()
    except UnicodeEncodeError:
        return  # half a pair is no UTF-8
    found, _ = rows("csv", payload, "1: string", "2: string", "3: string", delimiter=delimiter)
    expected = [cell for line in lines for cell in line if cell.strip()]
    if not payload.startswith(b"\xef\xbb\xbf"):
        assert [row[1] for row in found] == (expected or [None] * 3)


# --- Influx line protocol ---


def lines_of(text):
    outcome = Outcome(NOW)
    return list(parse_lines(text, outcome)), outcome.reason


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("m f=1", ("m", {}, {"f": 1.0}, None)),
        ("m,a=b,c=d f=1,g=2i,h=3u 5", ("m", {"a": "b", "c": "d"}, {"f": 1, "g": 2, "h": 3}, "5")),
        ("m i=t,j=FALSE", ("m", {}, {"i": True, "j": False}, None)),
        (r"my\ m,t\,a\=g=v\ 1 f\ 1=2", ("my m", {"t,a=g": "v 1"}, {"f 1": 2}, None)),
        (r"m=x f=1", ("m=x", {}, {"f": 1}, None)),
        (r"m\=x f=1", ("m\\=x", {}, {"f": 1}, None)),  # an = of a measurement has no escape
        (r"m,path=C:\dir\\x f=1", ("m", {"path": r"C:\dir\\x"}, {"f": 1}, None)),  # a backslash is itself
        (r'm f="a \"b\" \\ , = \n c" 7', ("m", {}, {"f": 'a "b" \\ , = \\n c'}, "7")),
        ('m f="two\nlines",g=1', ("m", {}, {"f": "two\nlines", "g": 1}, None)),
        ("测量,线=一 温度=81.5 -5", ("测量", {"线": "一"}, {"温度": 81.5}, "-5")),
        ("m  f=1  5 \r", ("m", {}, {"f": 1}, "5")),
        ("m f=-1.5e3,g=.5,h=5.", ("m", {}, {"f": -1500, "g": 0.5, "h": 5}, None)),
        ("m f=1,f=2", ("m", {}, {"f": 2}, None)),
        ("m f=1e400", ("m", {}, {"f": "1e400"}, None)),  # its digits, as no float64 holds it
    ],
)  # fmt: skip
def test_a_line_is_read_as_the_reference_says(line, expected):
    ((found,), reason) = lines_of(f"# comment\n\n{line}\n")
    assert (tuple(found), reason) == (expected, None)


@pytest.mark.parametrize(
    "line",
    ["m", "m ", "m f", "m f=", "m f=1,", "m f=1 x", "m f=1 5 6", "m,t f=1", "m,t= f=1", "m,=t f=1", ",t=a f=1",
     "m f=nan", "m f=1e", 'm f="x', "m f=0x1", "m f=1ii", "m f=tru", f"m f={'1' * 40}i", "m f=1 f=2", "=", '"'],
)  # fmt: skip
def test_a_line_that_is_none_is_told_and_its_neighbours_are_kept(line):
    found, reason = lines_of(f"a x=1\n{line}\nb y=2")
    assert [one.measurement for one in found] == ["a", "b"]
    assert reason.startswith("no line protocol: ")


def test_lines_feed_the_points_whose_tags_they_have():
    payload = f"press,line=l1,no=2 temp=81.5,run=t {AT_NS}\npress,line=l2 temp=9 {AT_NS + 1}\noven temp=1\n"
    found, reason = rows(
        "influx", payload, "press,line=l1 temp", "press temp", "press,line=l1 run", "press,line=l3 temp"
    )
    assert found == [
        (0, 81.5, 0, AT_NS), (1, 81.5, 0, AT_NS), (2, 1, 0, AT_NS), (1, 9, 0, AT_NS + 1),
    ]  # fmt: skip
    assert reason is None


def test_a_line_s_quality_may_be_a_field_or_a_tag():
    payload = "m,q=bad v=1\nm v=2,q=192i\nm v=3"
    assert [row[1:3] for row in rows("influx", payload, "m v", quality="q")[0]] == [(1, status.BAD), (2, 0), (3, 0)]


def test_lines_say_nothing_of_a_point_or_make_it_bad():
    assert rows("influx", "m v=1", "m v", "m w")[0] == [(0, 1, 0, NOW)]
    assert rows("influx", "m v=1", "m v", "m w", missing="bad") == (
        [(0, 1, 0, NOW), (1, None, BAD, NOW)],
        "m w: nothing there",
    )
    assert rows("influx", "m x=1", "m v", "m w") == ([], None)
    assert rows("influx", "m x=1", "m v", "m w", missing="bad") == (
        [(0, None, BAD, NOW), (1, None, BAD, NOW)],
        "none of its points is in it",
    )
    assert rows("influx", "# nothing", "m v") == ([(0, None, BAD, NOW)], "none of its points is in it")


def test_a_field_of_another_type_is_bad_alone():
    assert rows("influx", 'm v="x",w=1', "m v: float64", "m w") == (
        [(0, None, BAD, NOW), (1, 1, 0, NOW)],
        "m v: 'x' is no float64",
    )


@pytest.mark.parametrize("selector", ["", "m", "m ", " f", "m,t f", "m f g", "m f=1", ",t=a f", "m,t=a"])
def test_a_selector_that_is_none_is_told(selector):
    with pytest.raises(ValueError, match="write such as: press,line=l1 temperature"):
        parse_selector(selector)


# What the protocol can say: no line breaks in names, and no backslash at a name's end.
NAMES = st.text(
    st.sampled_from(r"ab温,= \"#") | st.characters(exclude_categories=["Cs"], exclude_characters="\n"),
    min_size=1,
    max_size=6,
).filter(lambda name: not name.endswith("\\") and name[0] not in "#\t\r" and name.strip(" \t\r"))  # not escapable
FIELDS = st.dictionaries(
    NAMES,
    st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    min_size=1, max_size=3,
)  # fmt: skip


def escaped(name, signs=",= "):
    return "".join(f"\\{sign}" if sign in signs else sign for sign in name)


def written(value):
    if isinstance(value, bool):
        return "true" if value else "f"
    if isinstance(value, int):
        return f"{value}i"
    if isinstance(value, float):
        return repr(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(
    NAMES,
    st.dictionaries(NAMES, NAMES, max_size=3),
    FIELDS,
    st.none() | st.integers(-(2**63), 2**63),
)
def test_what_a_writer_escapes_comes_back(measurement, tags, fields, at):
    head = ",".join([escaped(measurement, ", "), *(f"{escaped(k)}={escaped(v)}" for k, v in tags.items())])
    body = ",".join(f"{escaped(key)}={written(value)}" for key, value in fields.items())
    line = f"{head} {body}" + (f" {at}" if at is not None else "")
    assert lines_of(f"{line}\n{line}") == ([(measurement, tags, fields, None if at is None else str(at))] * 2, None)
    selector = f"{head} {escaped(next(iter(fields)))}"
    assert parse_selector(selector) == (measurement, tags, next(iter(fields)))


# --- any payload ---

SELECTORS = {
    "scalar": ["", ": float64", ": bool", ": string"],
    "json": ["/a: float64", "/0", "/values/*/v: int32", "/values/[id=a]/v", "/a/*: string", "/a/b: bool"],
    "csv": ["1", "2: float64", "3: string"],
    "influx": ["m v: float64", "press,line=l1 温度", "m w: bool"],
}
GOOD_ONES = [
    ("scalar", b"12.5"), ("scalar", "运行".encode()), ("scalar", b"true"),
    ("json", json.dumps({"ts": AT_NS, "a": {"b": 1}, "values": KEPWARE["values"]}).encode()),
    ("json", b'{"ts": [1, 2], "a": [1.5, "x"], "q": [true, false]}'),
    ("json", b'{"ts": "2026-11-21T06:30:00Z", "a": 1e3, "values": [{"id": "a", "v": null}]}'),
    ("csv", b'1795242600,81.5,"RUN, fast"\n1795242601,82,\n'),
    ("influx", f'm v=1,w=t {AT_NS}\npress,line=l1 温度=81.5,s="a \\" b"\n'.encode()),
]  # fmt: skip


def sound(one, payload):
    """Every row is of a member, its status and reason fit, and nothing is silent."""
    found, reason = one.rows(payload, NOW)
    for position, ts, number, text, state in found:
        assert position in one.members
        assert -(2**63) <= ts < 2**63
        assert number is None or text is None
        assert text is None or isinstance(text, str)
        assert number is None or isinstance(number, int | float)
        assert state in (status.GOOD, status.BAD, status.UNCERTAIN) or reason is not None
    assert found or reason is None  # empty arrays of samples are no fault
    return reason


def readers():
    made = {}
    for name, selectors in SELECTORS.items():
        for missing in ("stands", "bad"):
            options = {"quality": "/q"} if name == "json" else {"time": "1"} if name == "csv" else {}
            one = reader(name, *selectors, missing=missing, **options)
            one.members = range(len(selectors))
            made[name, missing] = one
    return made


@given(
    st.binary(max_size=200)
    | st.text().map(lambda text: text.encode(errors="replace"))
    | DOCUMENTS.map(json.dumps).map(str.encode)
)
def test_any_bytes_make_rows_of_members_or_a_reason(payload):
    for one in readers().values():
        sound(one, payload)


def test_a_hundred_thousand_malformed_payloads_raise_nothing():
    rng, made, told = random.Random(7), readers(), 0
    begin = time.process_time()
    for n in range(100_000):
        name, payload = GOOD_ONES[n % len(GOOD_ONES)]
        how = rng.randrange(5)
        at = rng.randrange(len(payload))
        if how == 0:  # cut
            payload = payload[:at]
        elif how == 1:  # one byte of another
            payload = payload[:at] + bytes([rng.randrange(256)]) + payload[at + 1 :]
        elif how == 2:  # a sign of the syntax too many
            payload = payload[:at] + rng.choice(b'"\\,=:{}[] \n\0#tf1.e').to_bytes() + payload[at:]
        elif how == 3:  # a part of another
            other = rng.choice(GOOD_ONES)[1]
            payload = payload[:at] + other[rng.randrange(len(other)) :]
        else:
            payload = rng.randbytes(rng.randrange(40))
        told += sound(made[name, "bad" if n & 8 else "stands"], payload) is not None
    assert told > 50_000
    assert time.process_time() - begin < 8


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("influx", b'm v="' + b'\\"' * 500_000),
        ("influx", b'm v="\n' * 100_000),
        ("influx", b"m,a=\\" * 100_000),
        ("influx", b"\\" * 1_000_000),
        ("influx", b"m v=1," * 100_000),
        ("csv", b'"' * 1_000_000),
        ("csv", b"," * 1_000_000),
        ("json", b'{"a":' * 100_000),
        ("json", b"[" * 900 + b"1," * 100_000),
        ("scalar", b"1" * 1_000_000),
    ],
)
def test_a_megabyte_of_nonsense_takes_no_time(name, payload):
    one, begin = readers()[name, "bad"], time.process_time()
    sound(one, payload)
    assert time.process_time() - begin < 2


def test_hundreds_of_tags_in_one_array_are_each_looked_up_once():
    names = [f"Channel1.Device1.Tag{n}" for n in range(2000)]
    payload = json.dumps({"values": [{"id": name, "v": n} for n, name in enumerate(names)]}).encode()
    one = reader("json", *(f"/values/[id={name}]/v" for name in names))
    begin = time.process_time()
    found, _ = one.rows(payload, NOW)
    assert time.process_time() - begin < 0.5  # in 2000 · 2000 looks it would be more than a second
    assert [(row[0], row[2]) for row in found] == [(n, n) for n in range(2000)]


def test_formats_speak_of_themselves_in_one_table():
    assert FORMATS["scalar"] is Scalar
    assert sorted(FORMATS) == sorted(SELECTORS)

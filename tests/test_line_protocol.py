"""Line protocol against an encoder and a parser that know nothing of it, and against the real influxd."""

import datetime as dt
import math
import re
from collections.abc import Iterable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.sinks.line_protocol import Series, choose, encode, tag
from config.schema import SAMPLE, UTC_NS
from tests.influx_peers import influxd, split_lines
from tests.soak import cases

BAD = 0x80310000
ASSETS = {"press2.total": "line1/press2", "plain": "", "a,b=c d": "工厂, 1"}

Row = tuple[str, int, int, float | None, str | None, int]
"""point, ts, ts_recv, value, text, status."""


def frame(rows: Iterable[Row]) -> pl.DataFrame:
    columns = list(zip(*rows, strict=True)) or [()] * 6
    made = pl.DataFrame(
        {
            "point": pl.Series(columns[0], dtype=pl.String),
            "ts": pl.Series(columns[1], dtype=pl.Int64).cast(UTC_NS),
            "ts_recv": pl.Series(columns[2], dtype=pl.Int64).cast(UTC_NS),
            "value": pl.Series(columns[3], dtype=pl.Float64),
            "text": pl.Series(columns[4], dtype=pl.String),
            "status": pl.Series(columns[5], dtype=pl.UInt32),
        }
    )
    assert made.schema == pl.Schema(SAMPLE)
    return made


def lines(rows: Iterable[Row], series: Series | None = None) -> list[str]:
    series = series or Series("jn1", ASSETS)
    made = frame(rows)
    order, tells = choose(made, series)
    return encode(made[order], tells, series)["line"].to_list()


def known(*points: str) -> Series:
    """Return series of points whose first rows were sent at 0."""
    series = Series("jn1", ASSETS)
    lines([(point, 0, 0, 0.0, None, 0) for point in points], series)
    return series


def test_a_number_is_a_field_value_and_good_is_not_said():
    one = ("press2.total", 7, 8, 12.5, None, 0)
    assert lines([one], known("press2.total")) == [
        "samples,asset=line1/press2,plant=jn1,point=press2.total value=12.5 7"
    ]


@pytest.mark.parametrize(
    ("value", "text", "status", "fields"),
    [
        (0.1, None, 0, "value=0.1"),
        (-0.0, None, 0, "value=-0.0"),
        (5e-324, None, 0, "value=5e-324"),
        (1.7976931348623157e308, None, 0, "value=1.7976931348623157e+308"),
        (3.0, None, BAD, "value=3.0,status=2150694912i"),
        (math.nan, None, 0, 'special="NaN"'),
        (math.inf, None, 0, 'special="Infinity"'),
        (-math.inf, None, BAD, 'special="-Infinity",status=2150694912i'),
        (None, "", 0, 'text="",special="empty"'),
        (None, "open", 0, 'text="open"'),
        (None, 'say "\\"', 0, 'text="say \\"\\\\\\""'),
        (1.0, "both", 0, 'value=1.0,text="both"'),
        (None, None, BAD, "status=2150694912i"),
        (None, None, 0, "status=0i"),  # a line must have a field
        (None, None, 2**32 - 1, "status=4294967295i"),
    ],
)
def test_each_kind_of_row_has_the_fields_of_the_contract(value, text, status, fields):
    line = f"samples,plant=jn1,point=plain {fields} 5"
    assert lines([("plain", 5, 5, value, text, status)], known("plain")) == [line]


def test_tags_without_a_value_are_left_out_and_points_that_the_plant_forgot_have_no_asset():
    rows = [("", 1, 1, 1.0, None, BAD), ("gone", 1, 1, 1.0, None, BAD)]
    assert lines(rows) == [
        "samples,plant=jn1 value=1.0,status=2150694912i 1",
        "samples,plant=jn1,point=gone value=1.0,status=2150694912i 1",
    ]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("line1/press2.total", "line1/press2.total"),
        ("a,b=c d", r"a\,b\=c\ d"),
        ("工厂%0A", "工厂%0A"),
        ("ends\\", "ends#5C"),
        ("two\nlines", "two#0Alines"),
        ("#0A", "#230A"),  # what is written stays different for what is different
        ('"quoted"', '"quoted"'),
    ],
)
def test_tags_are_escaped_so_that_no_line_breaks(text, written):
    assert tag(text) == written


@given(st.text(), st.text())
def test_two_ids_never_become_one_tag(one, other):
    assert (tag(one) == tag(other)) == (one == other)


def test_of_rows_with_one_time_the_one_received_last_is_sent():
    rows = [
        ("plain", 5, 30, 3.0, None, 0),
        ("plain", 5, 10, 1.0, None, BAD),
        ("plain", 6, 10, 7.0, None, 0),
        ("plain", 6, 10, 8.0, None, 0),  # of two received at once the greater number
    ]
    assert lines(rows, known("plain")) == [
        "samples,plant=jn1,point=plain value=3.0,status=0i 5",
        "samples,plant=jn1,point=plain value=8.0,status=0i 6",
    ]


def test_good_is_said_where_an_older_status_may_stand():
    series = Series("jn1", {"p": ""})
    good = "samples,plant=jn1,point=p value=1.0"
    assert lines([("p", 5, 5, 1.0, None, 0)], series) == [f"{good},status=0i 5"]  # the first since the start
    assert lines([("p", 6, 6, 1.0, None, 0)], series) == [f"{good} 6"]
    assert lines([("p", 6, 7, 1.0, None, 0)], series) == [f"{good},status=0i 6"]
    assert lines([("p", 4, 7, 1.0, None, 0)], series) == [f"{good},status=0i 4"]
    assert lines([("p", 5, 7, 1.0, None, 0), ("p", 8, 7, 1.0, None, 0)], series) == [
        f"{good} 8",  # rows of numbers alone come first
        f"{good},status=0i 5",
    ]
    assert lines([("p", 9, 7, 1.0, None, BAD)], series) == [f"{good},status=2150694912i 9"]
    assert lines([("p", 9, 8, 1.0, None, 0)], series) == [f"{good},status=0i 9"]


def test_a_frame_without_rows_has_no_lines():
    assert lines([]) == []


def test_a_row_without_a_source_time_has_its_receive_time():
    made = frame([("p", 1, 9, 1.0, None, BAD), ("p", 2, 9, 2.0, None, BAD)]).with_columns(
        ts=pl.when(pl.col("value") == 2).then("ts")
    )
    series = Series("jn1", {})
    order, tells = choose(made, series)
    assert encode(made[order], tells, series)["ts"].to_list() == [2, 9]


# An encoder of its own kind: row by row, as the contract reads.


def rank(row: Row) -> tuple[object, ...]:
    """What makes one of several rows with one point and ts count: rule 1 of docs/kpi-rules.md."""
    _, _, received, value, text, status = row
    number = math.inf if value is None or math.isnan(value) else value
    return (
        received,
        status,
        value is None,
        value is not None and math.isnan(value),
        number,
        text is not None,
        text or "",
    )


def slow_encode(rows: list[Row], assets: dict[str, str], last: dict[str, int]) -> set[str]:
    best: dict[tuple[str, int], Row] = {}
    count: dict[tuple[str, int], int] = {}
    for row in rows:
        key = row[0], row[1]
        count[key] = count.get(key, 0) + 1
        if key not in best or rank(row) >= rank(best[key]):
            best[key] = row
    made = set()
    for (point, ts), (_, _, _, value, text, status) in sorted(best.items()):
        fields = []
        if value is not None and math.isfinite(value):
            fields.append(f"value={value!r}")
        if text is not None:
            fields.append('text="' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
        if value is not None and not math.isfinite(value):
            name = "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
            fields.append(f'special="{name}"')
        elif text == "":
            fields.append('special="empty"')
        again = point not in last or ts <= last[point] or count[point, ts] > 1
        if status or again or (value is None and text is None):
            fields.append(f"status={status}i")
        last[point] = max(ts, last.get(point, ts))
        tags = {"asset": assets.get(point, ""), "plant": "jn1", "point": point}
        words = "".join(f",{key}={slow_tag(tags[key])}" for key in tags if tags[key])
        made.add(f"samples{words} {','.join(fields)} {ts}")
    return made


def slow_tag(text: str) -> str:
    made = ""
    for character in text:
        if character in ",= ":
            made += "\\" + character
        elif character in "\\#\x7f" or character < " ":
            made += f"#{ord(character):02X}"
        else:
            made += character
    return made


def parse(line: str) -> tuple[dict[str, str], dict[str, object], int]:
    """Return tags, fields and time of a line, as the line protocol's reference reads."""
    head, fields, stamp = re.fullmatch(r"((?:\\.|[^\\ ])+) (.*) (-?\d+)", line, re.DOTALL).groups()
    tags = dict(re.findall(r",((?:\\.|[^\\,=])+)=((?:\\.|[^\\,=])*)", head, re.DOTALL))
    read: dict[str, object] = {}
    for name, text, number in re.findall(r'(\w+)=(?:"((?:\\.|[^"\\])*)"|([^",]+))(?:,|$)', fields, re.DOTALL):
        if number:
            read[name] = int(number[:-1]) if number.endswith("i") else float(number)
        else:
            read[name] = re.sub(r'\\(["\\])', r"\1", text)
    return {key: re.sub(r"\\(.)", r"\1", value) for key, value in tags.items()}, read, int(stamp)


# A decimal exponent is written 1e16 here and 1e+16 by Python: compared as numbers.
def exact(line: str) -> tuple:
    tags, fields, stamp = parse(line)
    return tuple(tags.items()), tuple((key, str(value)) for key, value in fields.items()), stamp


POINTS = st.sampled_from([*ASSETS, "other", "new\nline", "slash\\", ""]) | st.text(max_size=5)
VALUES = st.none() | st.floats() | st.integers(-(2**53), 2**53).map(float)
TEXTS = st.none() | st.text(max_size=8) | st.text('ab"\\\n,= #', max_size=6)
ROWS = st.lists(
    st.tuples(POINTS, st.integers(-3, 6), st.integers(0, 3), VALUES, TEXTS, st.sampled_from([0, 0, 0, BAD, 2**32 - 1])),
    max_size=12,
)


@given(st.lists(ROWS, min_size=1, max_size=4))
def test_frames_become_the_lines_that_the_slow_encoder_writes(frames):
    series, last = Series("jn1", ASSETS), {}
    for rows in frames:
        made = lines(rows, series)
        slow = slow_encode(rows, ASSETS, last)
        assert len(made) == len(slow)
        assert {exact(line) for line in made} == {exact(line) for line in slow}
        assert split_lines("\n".join(made)) == made


@given(ROWS)
def test_lines_tell_every_row_exactly(rows):
    best = {(tag(point), ts): row for row in sorted(rows, key=rank) for point, ts in [row[:2]]}
    told = {}
    for line in lines(rows):
        tags, fields, ts = parse(line)
        number = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}.get(fields.get("special"))
        told[re.sub("[,= ]", r"\\\g<0>", tags.get("point", "")), ts] = (
            str(fields.get("value", number)),
            fields.get("text"),
            fields.get("status", 0),
        )
    assert told == {key: (str(row[3]), row[4], row[5]) for key, row in best.items()}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_floats_are_written_so_that_they_read_back_to_the_bit(values):
    made = lines([("plain", n, n, value, None, 0) for n, value in enumerate(values)], known("plain"))
    read = {ts: fields["value"] for _, fields, ts in map(parse, made)}
    assert [read[n].hex() for n in range(len(values))] == [value.hex() for value in values]


HOSTILE = [
    "press2.total",
    "a,b=c d",
    "new\nline",
    "ends\\",
    "in\\side",
    "in\\,side",
    "工厂/压机 é\u2028",
    '"',
    "=cmd",
    "../up",
    "\x1b[31m",
    "\x00",
    "# no comment",
    "#0A",
]


@pytest.mark.service
def test_the_real_server_keeps_every_row_exactly(tmp_path):
    # Microseconds apart, and each row of its own kind: 13 values x 9 texts x 3 statuses for each hostile name.
    values = [None, 0.0, -0.0, 0.1, 1e16, -1e22, 5e-324, 1.7976931348623157e308, 2.0**53 + 2, 1 / 3]
    values += [math.nan, math.inf, -math.inf]
    texts = [None, "", "a", 'q"', "\\", "\\\\", '\\"', "two\nlines\r\n", "工厂, = #\x00\x1b"]
    kinds = [(value, text, status) for value in values for text in texts for status in (0, BAD, 2**32 - 1)]
    kinds = [(v, t, s) for v, t, s in kinds if t != "" or v is None or math.isfinite(v)]
    began = 1_790_000_000_000_000_000
    rows = [(point, began + n, began, *kind) for point in HOSTILE for n, kind in enumerate(kinds)]
    series = Series("jn1", {point: "as,set " + point for point in HOSTILE})
    with influxd(tmp_path) as server:
        server.query("CREATE DATABASE plant")
        server.write("\n".join(lines(rows, series)).encode(), "plant")
        found = {}
        for one in server.query("SELECT * FROM samples GROUP BY *", "plant"):
            assert one["tags"]["plant"] == "jn1"
            for stored in one["values"]:
                cells = dict(zip(one["columns"], stored, strict=True))
                number = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}.get(cells["special"])
                value = number if cells["value"] is None else float(cells["value"])
                status = cells["status"] or 0
                found[one["tags"]["point"], cells["time"]] = str(value), cells["text"], status
    assert len(found) == len(rows)

    def unescaped(point: str) -> str:
        return re.sub(r"\\([,= ])", r"\1", tag(point))

    # Its JSON says -0, which Python reads as the whole number 0.
    signless = {"-0.0": "0.0"}
    assert found == {
        (unescaped(row[0]), row[1]): (signless.get(str(row[3]), str(row[3])), row[4], row[5]) for row in rows
    }


@pytest.mark.service
def test_a_bad_status_does_not_stay_beside_a_later_good_row_of_the_same_time(tmp_path):
    series = Series("jn1", {})
    with influxd(tmp_path) as server:
        server.query("CREATE DATABASE plant")
        for row in (("p", 5, 1, None, None, BAD), ("p", 5, 2, 1.5, None, 0)):
            server.write("\n".join(lines([row], series)).encode(), "plant")
        (stored,) = server.query("SELECT value, status FROM samples", "plant")
        assert stored["values"] == [[5, 1.5, 0]]


def test_times_are_whole_nanoseconds_of_any_age():
    ancient, far = dt.datetime(1700, 1, 1, tzinfo=dt.UTC), dt.datetime(2261, 1, 1, tzinfo=dt.UTC)
    stamps = [int(one.timestamp()) * 10**9 + 1 for one in (ancient, far)]
    made = lines([("p", stamp, 0, 1.0, None, BAD) for stamp in stamps])
    assert [int(line.rpartition(" ")[2]) for line in made] == stamps


@settings(max_examples=cases(10))
@given(st.integers(0, 2**32), st.integers(1, 400))
def test_many_rows_in_any_order_are_the_same_lines(seed, count):
    rng = np.random.default_rng(seed)
    rows = [
        (f"p{p}", int(ts), int(received), float(n), None, int(status))
        for n, (p, ts, received, status) in enumerate(
            zip(
                rng.integers(0, 5, count),
                rng.integers(0, 50, count),
                rng.permutation(count),
                rng.choice([0, BAD], count),
                strict=True,
            )
        )
    ]
    shuffled = [rows[n] for n in rng.permutation(count)]
    assert sorted(lines(rows)) == sorted(lines(shuffled))

"""Samples from files: what is read, what is left out and named by its line, what no file may do."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from config.samples import SampleFileError, read_samples
from config.schema import SAMPLE, UTC_NS
from config.status import BAD, BAD_NO_COMMUNICATION, GOOD, NAMES, UNCERTAIN

EIGHT = 1_763_596_800_000_000_000  # 2025-11-20T00:00:00Z, 08:00 in Shanghai


def written(folder: Path, text: str, name: str = "day.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8"))
    return path


def rows(folder: Path, *lines: str, head: str = "ts,point,value,status"):
    """(samples, faults) of a file with these lines under its head."""
    read = read_samples(written(folder, "\n".join((head, *lines, ""))))
    return read.samples, read.faults


def one(folder: Path, value: str = "1", status: str = "", ts: str = "2025-11-20T00:00:00Z"):
    samples, faults = rows(folder, f"{ts},p,{value},{status}")
    assert faults == ()
    return samples.row(0, named=True)


def instant(folder: Path, ts: str) -> int:
    samples, faults = rows(folder, f"{ts},p,1,")
    assert faults == ()
    return samples["ts"].to_physical().item()


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2025-11-20T00:00:00Z", EIGHT),
        ("2025-11-20T08:00:00+08:00", EIGHT),
        ("2025-11-20T08:00:00+0800", EIGHT),
        ("2025-11-19T18:30:00-05:30", EIGHT),
        ("2025-11-20 08:00:00+08:00", EIGHT),
        ("2025-11-20T08:00+08:00", EIGHT),  # without seconds
        ("2025-11-20 08:00+08:00", EIGHT),
        ("2025-11-20T00:00Z", EIGHT),
        (" 2025-11-20T00:00:00Z ", EIGHT),
        ("2025-11-20T00:00:00.5Z", EIGHT + 500_000_000),
        ("2025-11-20T00:00:00.123456789Z", EIGHT + 123_456_789),
        ("2025-11-20 08:00:00.000000001+08:00", EIGHT + 1),
        (str(EIGHT), EIGHT),  # epoch [ns]
        (str(EIGHT + 1), EIGHT + 1),  # a float64 would lose the last digit
        ("100000000000000000", 10**17),  # 1973: a smaller number is one of seconds or milliseconds
        ("-100000000000000001", -(10**17) - 1),
        ("1678-01-01T00:00:00Z", -9_214_560_000_000_000_000),
    ],
)
def test_an_instant_is_read_to_the_nanosecond(tmp_path, text, ns):
    assert instant(tmp_path, text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "2025-11-20T08:00:00",  # no offset: whose clock?
        "2025-11-20 08:00",
        "2025-11-20",
        "08:00",
        "2025-02-30T00:00:00Z",  # no such day
        "2025-11-20T25:00:00Z",
        "1601-01-01T00:00:00Z",  # what a zero FILETIME becomes
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2300-01-01T00:00:00Z",  # beyond 64 bits of ns
        "+12025-11-20T00:00:00Z",
        "99999999999999999999",
        "1763596800.5",
        "now",
        "",
    ],
)
def test_an_instant_that_cannot_be_said_is_left_out_and_named_by_its_line(tmp_path, text):
    samples, (fault,) = rows(tmp_path, "2025-11-20T00:00:00Z,p,1,", f"{text},p,2,", "2025-11-20T00:00:02Z,p,3,")
    assert samples["value"].to_list() == [1.0, 3.0]
    assert fault.startswith(f"day.csv:3: ts {text} is neither ISO 8601 with an offset nor epoch nanoseconds")


@pytest.mark.parametrize(
    ("text", "value", "word"),
    [
        ("1", 1.0, None),
        ("-2.5", -2.5, None),
        ("1e3", 1000.0, None),
        (" 7 ", 7.0, None),
        ("true", 1.0, None),
        ("True", 1.0, None),
        ("FALSE", 0.0, None),
        ("EXECUTE", None, "EXECUTE"),
        ("运行", None, "运行"),
        ('"hold, please"', None, "hold, please"),
        ('"say ""no"""', None, 'say "no"'),
        ("", None, None),
        ("  ", None, None),
    ],
)
def test_a_value_is_a_number_a_truth_a_word_or_null(tmp_path, text, value, word):
    row = one(tmp_path, value=text)
    assert (row["value"], row["text"]) == (value, word)
    assert row["status"] == GOOD


@pytest.mark.parametrize("text", ["NaN", "nan", "inf", "-inf", "Infinity", "1e400"])
def test_what_is_no_finite_number_is_left_out_and_named(tmp_path, text):
    samples, (fault,) = rows(tmp_path, f"2025-11-20T00:00:00Z,p,{text},")
    assert samples.is_empty()
    assert fault == f"day.csv:2: value {text} is no number that can be reckoned with"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", GOOD),
        ("Good", GOOD),
        ("0", GOOD),
        ("Bad", BAD),
        ("BadNoCommunication", BAD_NO_COMMUNICATION),
        ("0x80310000", BAD_NO_COMMUNICATION),
        ("2150694912", BAD_NO_COMMUNICATION),
        ("0x80AB0000", 0x80AB_0000),  # a code that has no name here
        ("0x80ab0000", 0x80AB_0000),
        (" Uncertain ", UNCERTAIN),
        ("4294967295", 0xFFFF_FFFF),
    ],
)
def test_a_status_is_a_name_a_number_or_empty_for_good(tmp_path, text, status):
    assert one(tmp_path, status=text)["status"] == status


@pytest.mark.parametrize("text", ["Godo", "good?", "4294967296", "-1", "0x1FFFFFFFF", "0x", "0xzz", "1.5"])
def test_an_unknown_status_is_left_out_and_named(tmp_path, text):
    samples, (fault,) = rows(tmp_path, f"2025-11-20T00:00:00Z,p,1,{text}")
    assert samples.is_empty()
    assert fault == f"day.csv:2: status {text} is neither a StatusCode's name nor a number"


def test_every_status_name_is_read_as_its_number(tmp_path):
    samples, faults = rows(tmp_path, *(f"{EIGHT},p,1,{name}" for name in NAMES))
    assert faults == ()
    assert samples["status"].to_list() == list(NAMES.values())


def test_without_a_status_column_every_sample_is_good(tmp_path):
    samples, faults = rows(tmp_path, f"{EIGHT},p,1", head="ts,point,value")
    assert samples["status"].to_list() == [GOOD]
    assert faults == ()


def test_the_receive_time_of_a_file_is_the_source_time(tmp_path):
    row = one(tmp_path)
    assert row["ts_recv"] == row["ts"] == dt.datetime(2025, 11, 20, tzinfo=dt.UTC)


def test_columns_may_stand_in_any_order_beside_others(tmp_path):
    samples, _ = rows(tmp_path, f"x,1,p,{EIGHT}", head="note, value ,point,ts")
    assert samples.select("point", "value").rows() == [("p", 1.0)]
    assert samples.schema == pl.Schema(SAMPLE)


def test_a_row_without_a_point_is_named_and_blank_lines_are_not(tmp_path):
    samples, faults = rows(tmp_path, "", f"{EIGHT},p,1,", "", f"{EIGHT},,2,", ",,,", "")
    assert samples.height == 1
    assert faults == ("day.csv:5: point is empty",)


def test_a_line_is_counted_as_an_editor_does_where_a_cell_holds_a_line_break(tmp_path):
    _, faults = rows(tmp_path, f'{EIGHT},p,"a\nb",', f"{EIGHT},p,1,", "soon,p,2,")
    assert [fault.split(": ")[0] for fault in faults] == ["day.csv:5"]


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    read = read_samples(written(tmp_path, f"\ufeffts,point,value\r\n{EIGHT},p,1\r\n{EIGHT},p,run\r\n"))
    assert read.samples.select("value", "text").rows() == [(1.0, None), (None, "run")]
    assert read.faults == ()


def test_a_short_row_is_a_sample_without_a_value(tmp_path):
    samples, faults = rows(tmp_path, f"{EIGHT},p")
    assert samples.select("value", "text", "status").rows() == [(None, None, GOOD)]
    assert faults == ()


def test_a_file_with_its_head_alone_holds_no_samples(tmp_path):
    samples, faults = rows(tmp_path)
    assert samples.is_empty()
    assert samples.schema == pl.Schema(SAMPLE)
    assert faults == ()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", ": the file is empty"),
        (b"ts,value\n1,2\n", "column point is missing"),
        (b"ts;point;value\n1;p;2\n", "column ts, point, value is missing"),
        (b"ts,point,value,value\n1,p,2,3\n", "column value stands twice"),
        (b"ts,point,value\n1,p,2\n1,p,2,3\n", ":3: the row has 4 cells, the head 3"),
        (b'ts,point,value\n1,p,2\n1,"p,2\n1,p,2\n', ":3: unexpected end of data; look for a lone double quote"),
        ("ts,point,value\n1,p,2\n1,p,运行\n".encode("gb18030"), ":3: the line is not UTF-8"),
    ],
)
def test_a_file_that_is_no_table_of_samples_is_an_error_with_the_place(tmp_path, data, told):
    path = tmp_path / "day.csv"
    path.write_bytes(data)
    with pytest.raises(SampleFileError) as caught:
        read_samples(path)
    assert str(path) in str(caught.value)
    assert told in str(caught.value)
    assert "schema_overrides" not in str(caught.value)  # polars' advice to programmers


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    for name in ("none.csv", "none.parquet"):
        with pytest.raises(SampleFileError, match=name):
            read_samples(tmp_path / name)


def frame(**columns):
    """One sample as a frame, with some columns replaced."""
    row = {"point": ["p"], "ts": [EIGHT], "ts_recv": [EIGHT + 1], "value": [0.1], "text": [None], "status": [GOOD]}
    made = pl.DataFrame(row, schema=dict(SAMPLE))
    return made.with_columns(**columns)


def parquet(folder: Path, table: pl.DataFrame) -> Path:
    table.write_parquet(folder / "day.parquet")
    return folder / "day.parquet"


def test_samples_come_back_from_parquet_as_they_were(tmp_path):
    table = pl.concat(
        [frame(), frame(value=pl.lit(None, pl.Float64), text=pl.lit("运行"), status=pl.lit(BAD, pl.UInt32))]
    )
    read = read_samples(parquet(tmp_path, table))
    assert read.samples.equals(table)
    assert read.faults == ()


def test_a_parquet_file_in_microseconds_is_read(tmp_path):
    coarse = pl.col("ts", "ts_recv").dt.cast_time_unit("us")
    read = read_samples(parquet(tmp_path, frame().with_columns(coarse)))
    assert read.samples["ts"].dtype == UTC_NS
    assert read.samples["ts"].to_physical().to_list() == [EIGHT]


def test_a_column_that_parquet_lacks_is_named(tmp_path):
    with pytest.raises(SampleFileError, match="column ts_recv, text is missing"):
        read_samples(parquet(tmp_path, frame().drop("ts_recv", "text")))


@pytest.mark.parametrize(
    "columns",
    [
        {"ts": pl.lit("2025-11-20T00:00:00Z")},
        {"ts": pl.col("ts").dt.replace_time_zone(None)},
        {"value": pl.lit("fast")},
        {"status": pl.lit(-1)},
        {"value": pl.lit([1.0])},
    ],
)
def test_a_parquet_column_of_another_type_is_an_error(tmp_path, columns):
    with pytest.raises(SampleFileError, match=r"day\.parquet"):
        read_samples(parquet(tmp_path, frame(**columns)))


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"value": pl.lit(float("nan"))}, "value NaN is no number"),
        ({"point": pl.lit("")}, "point is empty"),
        ({"point": pl.lit(None, pl.String)}, "point is empty"),
        ({"status": pl.lit(None, pl.UInt32)}, "status is empty"),
        ({"ts": pl.lit(None, UTC_NS)}, "ts or ts_recv is missing"),
        ({"ts": pl.lit(dt.datetime(1601, 1, 1, tzinfo=dt.UTC))}, "not in the years 1678 to 2261"),
        ({"ts_recv": pl.lit(dt.datetime(9999, 12, 31, tzinfo=dt.UTC))}, "not in the years 1678 to 2261"),
    ],
)
def test_a_parquet_row_that_is_no_sample_is_left_out_and_named(tmp_path, columns, told):
    table = pl.concat([frame(), frame(**columns)], how="vertical_relaxed")
    read = read_samples(parquet(tmp_path, table))
    assert read.samples.height == 1
    (fault,) = read.faults
    assert fault.startswith("day.parquet:row 2: ")
    assert told in fault


def test_bytes_that_are_no_parquet_are_an_error(tmp_path):
    path = tmp_path / "day.parquet"
    path.write_bytes(b"PAR1 is not enough")
    with pytest.raises(SampleFileError):
        read_samples(path)


def test_a_million_lines_are_read_and_the_one_bad_line_is_named(tmp_path):
    count = 1_000_000
    lines = [f"{EIGHT + n},p,{n}," for n in range(count)]
    lines[777_775] = "yesterday,p,0,"
    samples, faults = rows(tmp_path, *lines)
    assert samples.height == count - 1
    assert samples["value"].sum() == count * (count - 1) / 2 - 777_775
    assert [fault.split(": ")[0] for fault in faults] == ["day.csv:777777"]


@pytest.mark.parametrize("ts", ["1763596800", "1763596800000", "1763596800000000", "0"])
def test_epoch_seconds_milli_and_microseconds_are_left_out_not_taken_for_1970(tmp_path, ts):
    file = tmp_path / "day.csv"
    file.write_text(f"ts,point,value\n{ts},a,1\n")
    read = read_samples(file)
    assert read.samples.is_empty()
    assert read.faults == (
        f"day.csv:2: ts {ts} is no count of nanoseconds; write nanoseconds, or ISO 8601 with an offset",
    )

"""What is written is what Polars, pyarrow, DuckDB and pandas read, bit for bit."""

import io
import math
import struct

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.sinks.parquet_file import Effort, Writer
from config.schema import SAMPLE
from tests.soak import cases

INT64 = np.iinfo(np.int64)
EARLIEST, LATEST = INT64.min + 2, INT64.max
"""1677-09-21 and 2262-04-11; pandas takes the very first instant for null."""
SECOND = 1_790_000_000_000_000_000
STRANGE_NAN = struct.unpack("<d", struct.pack("<Q", 0xFFF8_0000_DEAD_BEEF))[0]
ROWS = [
    ("a", SECOND, SECOND + 5, 1.5, None, 0),
    ("a", SECOND + 1, SECOND + 5, -0.0, None, 0x8000_0000),
    ("a", SECOND + 2, SECOND + 5, math.inf, None, 2**32 - 1),
    ("a", SECOND + 3, SECOND + 5, -math.inf, "", 0),
    ("b/ü", EARLIEST, LATEST, STRANGE_NAN, "工位 1\n", 7),
    ("b/ü", LATEST, EARLIEST, None, None, 0),
    ("", 0, -1, 5e-324, "x" * 70_000, 0),
]


def frame(rows):
    return pl.DataFrame(rows, schema=dict(SAMPLE), orient="row")


def written(*frames, **settings):
    file = io.BytesIO()
    writer = Writer(file, {"plantproof.plant": "江宁", "plantproof.sequences": "1-8"}, **settings)
    for one in frames:
        writer.append(one)
    writer.finish()
    return file.getvalue()


def bits(values):
    """Numbers as their bits, so that NaN equals NaN and 0 differs from -0."""
    return [None if v is None else struct.pack("<d", v) for v in values]


def same(found, expected):
    """Whether two SAMPLE frames are equal in types, rows and bits."""
    assert found.schema == expected.schema == dict(SAMPLE)
    columns = [name for name in SAMPLE if name != "value"]
    assert found.select(columns).equals(expected.select(columns))
    assert bits(found["value"].to_list()) == bits(expected["value"].to_list())


def by_duckdb(path):
    """DuckDB calls the zone by its other name."""
    read = pl.from_arrow(duckdb.sql(f"SELECT * FROM '{path}'").to_arrow_table())
    return read.with_columns(pl.col(name).cast(SAMPLE[name]) for name in ("ts", "ts_recv"))


def by_pandas(path):
    return pl.from_arrow(pa.Table.from_pandas(pd.read_parquet(path, dtype_backend="pyarrow"), preserve_index=False))


READERS = {
    "polars": pl.read_parquet,
    "pyarrow": lambda path: pl.from_arrow(pq.read_table(path)),
    "duckdb": by_duckdb,
    "pandas": by_pandas,
}
KINDS = {effort.name.lower(): {"effort": effort} for effort in Effort}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_finds_every_row_type_and_bit(reader, kind, tmp_path):
    expected = frame(ROWS * 40)  # enough of each that dictionaries pay
    (tmp_path / "a.parquet").write_bytes(written(expected, frame(ROWS), **KINDS[kind]))
    same(READERS[reader](tmp_path / "a.parquet"), pl.concat([expected, frame(ROWS)]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_every_encoding_is_read_alike(reader, kind, tmp_path):
    """Values that are best told plainly, byte by byte, or by a dictionary of few, 300 or 70,000 words."""
    rng = np.random.default_rng(5)
    n = 140_000
    columns = {
        "point": np.array(["p", "q"]).repeat(n // 2),
        "ts": SECOND + np.arange(n) * 1000,
        "ts_recv": SECOND + rng.permutation(np.arange(n) // 2),
        "value": np.where(np.arange(n) < n // 2, rng.integers(0, 300, n), rng.random(n)),
        "text": [f"word {i % 300}" if i % 3 else None for i in range(n)],
        "status": rng.integers(0, 2**32, n),
    }
    expected = pl.DataFrame(columns).select(pl.col(name).cast(dtype) for name, dtype in SAMPLE.items())
    (tmp_path / "a.parquet").write_bytes(written(expected, **KINDS[kind]))
    same(READERS[reader](tmp_path / "a.parquet"), expected)


INSTANT = st.integers(EARLIEST, LATEST)
ROW = st.tuples(
    st.sampled_from(["a", "b", "工位"]) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    INSTANT | st.sampled_from([SECOND, SECOND + 1]),
    INSTANT | st.just(SECOND),
    st.none() | st.floats(allow_nan=True) | st.integers(0, 3).map(float),
    st.none() | st.sampled_from(["", "on"]) | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    st.integers(0, 2**32 - 1) | st.just(0),
)


@settings(max_examples=cases(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=st.lists(st.lists(ROW, max_size=20), max_size=3), kind=st.sampled_from(sorted(KINDS)))
def test_whatever_the_rows_all_readers_agree(groups, kind, tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(written(*map(frame, groups), **KINDS[kind]))
    expected = pl.concat([frame([]), *map(frame, groups)])
    for read in READERS.values():
        if expected.height:
            same(read(path), expected)
    same(pl.read_parquet(path), expected)


def test_the_footer_says_bounds_order_and_what_the_file_is():
    file = pq.ParquetFile(io.BytesIO(written(frame(ROWS[:4]), frame(ROWS[4:6]), ordered=True)))
    assert file.metadata.metadata == {
        b"plantproof.plant": "江宁".encode(),
        b"plantproof.sequences": b"1-8",
        b"plantproof.groups": b"4,2",
        b"plantproof.texts": b"2",
    }
    first, second = file.metadata.row_group(0), file.metadata.row_group(1)
    point, ts = first.column(0).statistics, second.column(1).statistics
    assert (point.min, point.max, point.null_count, second.column(0).statistics.min) == ("a", "a", 0, "b/ü")
    assert (ts.min.value, ts.max.value) == (EARLIEST, LATEST)
    assert second.column(3).statistics.null_count == 1
    assert [(order.column_index, order.descending) for order in first.sorting_columns] == [
        (0, False), (1, False), (2, False),
    ]  # fmt: skip
    kinds = [str(file.schema.column(n).logical_type) for n in range(6)]
    assert kinds[0] == kinds[4] == "String"
    assert "timeUnit=nanoseconds" in kinds[1]
    assert "isAdjustedToUTC=true" in kinds[2]
    assert kinds[5] == "Int(bitWidth=32, isSigned=false)"


def test_a_reader_of_one_point_passes_over_the_other_row_groups(tmp_path):
    rows = [(f"p{n}", SECOND + i, SECOND, float(i), None, 0) for n in range(4) for i in range(1000)]
    (tmp_path / "a.parquet").write_bytes(written(*(frame(rows[n : n + 1000]) for n in range(0, 4000, 1000))))
    asked = pl.scan_parquet(tmp_path / "a.parquet").filter(pl.col("point") == "p2").select("value")
    assert asked.collect().height == 1000
    least = f"SELECT stats_min_value FROM parquet_metadata('{tmp_path}/a.parquet') WHERE path_in_schema = 'point'"
    found = duckdb.execute(least)
    assert [row[0] for row in found.fetchall()] == ["p0", "p1", "p2", "p3"]


def test_a_file_without_rows_is_a_file_with_the_schema():
    same(pl.read_parquet(io.BytesIO(written())), frame([]))


def test_merged_files_take_less_than_live_ones_and_those_less_than_polars_own():
    rng = np.random.default_rng(1)
    n = 20_000
    ts = SECOND + np.arange(n) * 250_000_000 + rng.integers(0, 1_000_000, n)
    value = np.arange(n) / 100
    rows = {"point": "meter", "ts": ts, "ts_recv": ts + 1_000_000, "value": value, "text": None, "status": 0}
    meter = pl.DataFrame(rows, schema_overrides={"text": pl.String}).select(
        pl.col(name).cast(dtype) for name, dtype in SAMPLE.items()
    )
    own = io.BytesIO()
    meter.write_parquet(own, compression="zstd")
    sizes = [len(written(meter, effort=effort)) for effort in (Effort.SETTLED, Effort.MERGED, Effort.LIVE)]
    assert sizes == sorted(sizes)
    assert sizes[-1] < 0.9 * len(own.getvalue())

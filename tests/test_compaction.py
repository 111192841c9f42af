"""Small files become large ones, and at no moment does a reader find a row twice or not at all."""

import datetime as dt
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from collector import host
from collector.ledger import Ledger, read_ledger
from collector.quarantine import Quarantine
from collector.sinks import merge
from collector.sinks.parquet import Sink
from collector.sinks.parquet_file import Effort
from config.plant import Plant
from config.plant import Sink as SinkConfig
from config.schema import SAMPLE
from kpis.stores import lake
from tests.soak import cases

SPOOL = "0123456789abcdef"
DAY = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
START = int(DAY.timestamp()) * 10**9
HOUR = 3_600 * 10**9
POINTS = ["a", "b", "c"]
KEYS = ["point", "ts", "ts_recv", "value"]
SEED = int(os.environ.get("KILL_SEED", "7"))


def open_sink(folder, agent="gw1", days_later=3, **config):
    """A sink whose clock stands some days after DAY."""
    ledger = Ledger(folder / "ledger.jsonl")
    settings = SinkConfig(kind="parquet", path=folder / "lake", **config)
    quarantine = Quarantine(folder / "quarantine", ledger)
    sink = Sink(settings, Plant(id="p"), agent=agent, spool=SPOOL, ledger=ledger, quarantine=quarantine)
    sink.clock = lambda: time.time_ns() + days_later * 24 * HOUR
    return sink


def batch(number, rows=20, hours=(0, 23)):
    """Rows of three points, spread over a day, with values that tell which batch and row they are."""
    n = np.arange(rows)
    ts = START + hours[0] * HOUR + (number + n * 1000) * ((hours[1] - hours[0]) * HOUR // (rows * 1000))
    columns = {
        "point": np.array(POINTS)[n % 3],
        "ts": ts,
        "ts_recv": ts + 5,
        "value": number * 1000.0 + n,
        "text": pl.repeat(None, rows, dtype=pl.String, eager=True),
        "status": pl.repeat(0, rows, eager=True),
    }
    return pl.DataFrame(columns).select(pl.col(name).cast(dtype) for name, dtype in SAMPLE.items())


def fill(sink, batches, **settings):
    """Write batches of one range each; returns their rows."""
    frames = [batch(number, **settings) for number in batches]
    for number, frame in zip(batches, frames, strict=True):
        sink.write(frame, number, number)
    return pl.concat(frames).sort(KEYS)


def rows_of(folder):
    """What a reader finds in the lake."""
    return lake.read(folder / "lake", POINTS, START - 48 * HOUR, START + 48 * HOUR).sort(KEYS)


def names(folder):
    return sorted(p.name for p in (folder / "lake").rglob("*.parquet"))


def tidy(sink, cursor):
    """Do all housekeeping that waits."""
    for pieces in itertools.count():
        if not sink.upkeep(cursor):
            return pieces
        assert pieces < 500
    return None


def test_a_day_that_is_over_becomes_one_sorted_file_a_writer(tmp_path):
    sink = open_sink(tmp_path)
    sink.start(())
    expected = fill(sink, range(1, 11))
    tidy(sink, 10)
    assert names(tmp_path) == ["gw1-01234567-000000000001-000000000010-1of1.parquet"]
    (file,) = (tmp_path / "lake").rglob("*.parquet")
    assert pl.read_parquet(file).equals(expected.sort("point", "ts", "ts_recv"))  # one row group
    assert rows_of(tmp_path).equals(expected)
    assert sink.figures() == {"days": 1, "files": 1, "bytes": file.stat().st_size, "merging": 0}


def test_what_is_not_durably_known_to_be_stored_is_not_merged(tmp_path):
    sink = open_sink(tmp_path)
    sink.start(())
    expected = fill(sink, range(1, 11))
    tidy(sink, 6)
    assert [name[13:38] for name in names(tmp_path)] == [
        "000000000001-000000000006", "000000000007-000000000007", "000000000008-000000000008",
        "000000000009-000000000009", "000000000010-000000000010",
    ]  # fmt: skip
    assert rows_of(tmp_path).equals(expected)


def test_on_the_day_itself_eight_neighbours_are_merged_at_a_time(tmp_path):
    sink = open_sink(tmp_path, days_later=-1)
    sink.clock = lambda: START + HOUR
    sink.start(())
    fill(sink, range(1, 8))
    tidy(sink, 7)
    assert len(names(tmp_path)) == 7
    fill(sink, range(8, 9))
    tidy(sink, 8)
    assert len(names(tmp_path)) == 1


def test_a_row_is_written_anew_only_a_few_times(tmp_path, monkeypatch):
    written = []
    append = merge.Writer.append

    def counted(writer, frame):
        written.append(frame.height)
        append(writer, frame)

    monkeypatch.setattr(merge.Writer, "append", counted)
    sink = open_sink(tmp_path)
    sink.clock = lambda: START + HOUR
    sink.start(())
    batches = 80
    for number in range(1, batches + 1):
        fill(sink, [number])
        tidy(sink, number)
    assert sum(written) <= 3 * batches * 20  # once when it comes, then once for each factor of 8
    assert len(names(tmp_path)) < 20


def test_only_the_file_of_a_day_that_is_over_is_compressed_thoroughly(tmp_path, monkeypatch):
    efforts = []
    begin = merge.Writer.__init__

    def noted(writer, file, about, **settings):
        efforts.extend([settings["effort"]] if "effort" in settings else [])  # live files are told nothing
        begin(writer, file, about, **settings)

    monkeypatch.setattr(merge.Writer, "__init__", noted)
    sink = open_sink(tmp_path)
    sink.clock = lambda: START + HOUR
    sink.start(())
    expected = fill(sink, range(1, 65))
    tidy(sink, 64)
    assert efforts == [Effort.MERGED] * 9  # eight times eight files, then those eight
    late = fill(sink, [65])
    sink.clock = lambda: time.time_ns() + 2 * HOUR
    tidy(sink, 65)
    assert efforts[9:] == [Effort.SETTLED]
    assert rows_of(tmp_path).equals(pl.concat([expected, late]).sort(KEYS))


def test_late_rows_lie_in_a_file_of_their_own_until_their_day_is_quiet(tmp_path):
    sink = open_sink(tmp_path)
    sink.start(())
    expected = fill(sink, range(1, 11))
    tidy(sink, 10)
    sink.clock = lambda: time.time_ns() + HOUR // 2
    late = fill(sink, [11])
    tidy(sink, 11)
    assert len(names(tmp_path)) == 2
    sink.clock = lambda: time.time_ns() + 2 * HOUR
    tidy(sink, 11)
    assert len(names(tmp_path)) == 1
    assert rows_of(tmp_path).equals(pl.concat([expected, late]).sort(KEYS))


def test_a_range_over_midnight_stays_whole_when_one_of_its_days_is_merged(tmp_path):
    sink = open_sink(tmp_path)
    sink.start(())
    expected = fill(sink, range(1, 11), hours=(-1, 1))
    second = tmp_path / "lake" / "samples" / "date=2026-11-20"
    aside = shutil.copytree(second, tmp_path / "aside")
    tidy(sink, 10)
    # The second day as it was before it was merged.
    shutil.rmtree(second)
    shutil.copytree(aside, second)
    assert len(names(tmp_path)) == 11
    assert open_sink(tmp_path).start(()) == ((1, 10),)
    assert rows_of(tmp_path).equals(expected)


def test_a_large_day_is_merged_a_second_at_a_time_a_row_group_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(merge, "GROUP_ROWS", 640)
    monkeypatch.setattr(merge, "STEP_S", 0.0)
    sink = open_sink(tmp_path)
    sink.start(())
    expected = fill(sink, range(1, 11), rows=300)
    assert tidy(sink, 10) > 4
    (file,) = (tmp_path / "lake").rglob("*.parquet")
    assert rows_of(tmp_path).equals(expected)
    about = pq.read_metadata(file)
    assert [about.row_group(n).num_rows for n in range(about.num_row_groups)] == [600] * 5  # two batches each
    for n in range(5):
        group = pl.from_arrow(pq.ParquetFile(file).read_row_group(n))
        assert group.equals(group.sort("point", "ts", "ts_recv"))
        assert sorted((group["value"] // 1000).unique()) == [2 * n + 1, 2 * n + 2]


def test_files_of_the_version_before_are_merged_alike(tmp_path):
    sink = open_sink(tmp_path)
    sink.start(())
    expected = fill(sink, range(1, 11))
    for file in (tmp_path / "lake").rglob("*.parquet"):
        pl.read_parquet(file).write_parquet(file, compression="zstd")
    assert rows_of(tmp_path).equals(expected)
    tidy(sink, 10)
    assert len(names(tmp_path)) == 1
    assert rows_of(tmp_path).equals(expected)


def test_a_file_that_cannot_be_read_is_told_once_and_stops_nothing_else(tmp_path):
    sink = open_sink(tmp_path)
    sink.start(())
    fill(sink, range(1, 11))
    (tmp_path / "lake" / "samples" / "date=2026-11-20" / names(tmp_path)[4]).write_bytes(b"PAR1 no Parquet PAR1")
    fill(sink, range(11, 13), hours=(24, 25))
    tidy(sink, 12)
    tidy(sink, 12)
    assert [entry["event"] for entry in read_ledger(tmp_path / "ledger.jsonl")] == ["not merged"]
    assert len(names(tmp_path)) == 11  # ten as they were, and one of the other day


def test_lakes_of_two_gateways_copied_together_are_read_and_kept_apart(tmp_path):
    one, two = tmp_path / "1", tmp_path / "2"
    frames = []
    for folder, agent, batches in ((one, "gw1", range(1, 11)), (two, "gw2", range(5, 15))):
        folder.mkdir()
        sink = open_sink(folder, agent)
        sink.start(())
        frames.append(fill(sink, batches))
    first = open_sink(one)
    first.start(())
    tidy(first, 10)
    shutil.copytree(two / "lake", one / "lake", dirs_exist_ok=True)
    both = pl.concat(frames).sort(KEYS)
    assert rows_of(one).equals(both)
    first.start(((0, 10),))
    tidy(first, 10)
    assert rows_of(one).equals(both)
    assert len(names(one)) == 11  # one file of the first gateway, and the ten of the other, which are its own matter


class Died(BaseException):
    """The process ended here."""


class Steps:
    """Lets so many operations on files happen, and then none."""

    def __init__(self, monkeypatch, most):
        self.left = most
        for owner, name in (
            (host, "sync_file"), (host, "sync_folder"), (Path, "replace"), (Path, "unlink"), (Path, "open"),
            (Path, "rmdir"),
        ):  # fmt: skip
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, operation):
        def call(*args, **words):
            if self.left <= 0:
                raise Died
            self.left -= 1
            return operation(*args, **words)

        return call


def test_after_a_death_at_any_operation_on_files_every_row_is_there_once_and_start_mends(tmp_path):
    for operations in itertools.count():
        folder = tmp_path / str(operations)
        folder.mkdir()
        sink = open_sink(folder)
        sink.start(())
        expected = fill(sink, range(1, 11), rows=6)
        died = False
        with pytest.MonkeyPatch.context() as patch:
            Steps(patch, operations)
            try:
                tidy(sink, 10)
            except Died:
                died = True
        assert rows_of(folder).equals(expected), operations
        again = open_sink(folder)
        assert again.start(()) == ((1, 10),)
        assert rows_of(folder).equals(expected), operations
        tidy(again, 10)
        assert rows_of(folder).equals(expected), operations
        assert len(names(folder)) == 1
        assert not list((folder / "lake").rglob(".*"))
        if not died:
            break
    assert operations > 12  # the temporary file, its sync, the rename, the folder's sync, ten removals


def test_a_reader_beside_a_writer_that_merges_finds_every_row_once_at_any_moment(tmp_path):
    sink = open_sink(tmp_path)
    sink.start(())
    known = fill(sink, range(1, 9))
    stop, faults = threading.Event(), []

    def look():
        while not stop.is_set():
            before, found = counted[0], rows_of(tmp_path)
            if found.height < before or found.select(KEYS).is_duplicated().any():
                faults.append((before, found.height))

    counted = [known.height]
    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(9, 40):
            fill(sink, [number])
            counted[0] += 20
            tidy(sink, number)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert faults == []
    assert rows_of(tmp_path).height == 39 * 20


WORK = """
import sys
from pathlib import Path
from tests.test_compaction import open_sink, fill, tidy
sink = open_sink(Path(sys.argv[1]))
cursor = max((last for _, last in sink.start(())), default=0)
print(cursor, flush=True)
while True:
    cursor += 1
    fill(sink, [cursor], hours=(-2, 20))
    print(cursor, flush=True)
    if cursor % 9 == 0:
        tidy(sink, cursor)
"""


def test_a_process_killed_at_random_moments_of_merging_leaves_every_row_once(tmp_path):
    moments = random.Random(SEED)
    written = 0
    for _ in range(cases(3)):
        command = [sys.executable, "-c", WORK, str(tmp_path)]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
        begun = int(worker.stdout.readline())
        assert begun >= written
        enough = begun + moments.randint(9, 40)
        while written < enough:
            written = int(worker.stdout.readline() or pytest.fail("the worker ended"))
        time.sleep(moments.uniform(0, 0.05))
        worker.send_signal(signal.SIGKILL)
        rest = worker.stdout.read().split()
        worker.wait()
        worker.stdout.close()
        written = max([written, *map(int, rest)])
        found = rows_of(tmp_path)
        numbers = found["value"] // 1000
        assert not found.select(KEYS).is_duplicated().any()
        assert numbers.filter(numbers <= written).len() == written * 20
    sink = open_sink(tmp_path)
    (whole,) = sink.start(())
    tidy(sink, whole[1])
    assert len(names(tmp_path)) == 2
    assert rows_of(tmp_path).height == whole[1] * 20

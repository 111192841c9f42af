"""Disks that are full or fail: nothing is acknowledged that is not kept, and the spool goes on by itself.

FAULTS row 26 (disk full: the policy holds, the alarm stands in the ledger, collecting goes on and recovers alone) on a
file system of 2 MB, and row 27 (a failed write or sync: the file is closed, nothing is acknowledged falsely).
"""

import asyncio
import contextlib
import errno
import itertools
import os
import random
import subprocess
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from collector import host
from collector.frames import FILE_HEAD, HEAD
from collector.ledger import read_ledger
from collector.segment import TRIES
from collector.spool import Hole, Record, Spool
from config.plant import Spool as SpoolConfig
from config.status import GOOD
from connectors.sim.modbus import ModbusServer, words
from tests.running import Asset, Point, Source, lake_of, plant_for, running, until
from tests.spool_files import batches_of
from tests.test_spool import entries, payloads, put_for_ever

DISK = 2 * 2**20
FULL = r"Errno 28"
BATCH = 50_000


@pytest.fixture
def disk(tmp_path):
    """A file system of its own, of 2 MB."""
    if os.geteuid() != 0:
        pytest.skip("a small file system needs root to mount")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", tmp_path]).returncode:
        pytest.skip("this machine does not let tests mount a file system")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def fill(disk, but=0):
    """Let others take all of the disk, but so many bytes."""
    with (disk / "others").open("ab") as file, contextlib.suppress(OSError):
        while (room := host.free_space(disk) - but) > 0:
            os.write(file.fileno(), bytes(min(room, 2**16)))


def batch(number):
    return b"#%d" % number + bytes(BATCH)


def named(lost):
    """A small gap that tells what it stands for."""
    lost = list(lost)
    return b"".join(payload.rstrip(b"\0") for payload in lost), len(lost), {}


def sequences(spool, after=0):
    return [one.seq for one in spool.read(after, 2**40)]


# --- a full disk ---


def test_on_a_full_disk_the_oldest_makes_room_at_once_for_what_is_new(disk, caplog):
    spool = Spool(disk / "spool", gap=named)
    spool.advance("sink")
    written = {n: batch(n) for n in range(1, 61)}
    for n in range(1, 21):
        spool.put(written[n], 1)
    fill(disk)
    for n in range(21, 61):
        assert spool.put(written[n], 1) == n  # none is refused
    dropped = entries(spool, "dropped")
    assert [e["first"] for e in dropped] == [1, *(e["last"] + 1 for e in dropped[:-1])]
    assert all(e["reason"] == "disk full, oldest dropped" for e in dropped)
    lost = dropped[-1]["last"]
    told = f"{dropped[0]['rows']} rows of batches 1 to {dropped[0]['last']} not stored by sink; mend the store"
    assert told in caplog.messages[0]  # the journal says it too
    assert spool.gap("sink").payload == b"".join(b"#%d" % n for n in range(1, lost + 1))
    assert payloads(spool, lost) == [(n, written[n]) for n in range(lost + 1, 61)]
    assert 60 - lost > 5
    assert [e["policy"] for e in entries(spool, "disk full")] == ["drop_oldest"]
    assert not (spool.path / "ballast").exists()
    (disk / "others").unlink()
    spool.put(b"after", 1)
    assert len(entries(spool, "disk has room")) == 1
    assert (spool.path / "ballast").exists()
    spool.close()
    again = Spool(disk / "spool", gap=named)
    assert again.gap("sink").seq == lost
    assert sequences(again, lost) == list(range(lost + 1, 62))
    again.close()


def test_on_a_full_disk_that_must_stop_all_is_kept_and_it_recovers_alone(disk):
    spool = Spool(disk / "spool", when_full="stop")
    fill(disk, but=600_000)
    with pytest.raises(OSError, match=FULL):
        put_for_ever(spool, BATCH)
    taken = spool.last
    assert taken > 5
    for _ in range(50):
        with pytest.raises(OSError, match=FULL):
            spool.put(os.urandom(BATCH), 1)
    assert len(list(read_ledger(spool.path / "ledger.jsonl"))) == 1  # told once
    (disk / "others").unlink()
    assert spool.put(b"after", 1) == taken + 1
    assert sequences(spool) == list(range(1, taken + 2))
    assert [e["event"] for e in read_ledger(spool.path / "ledger.jsonl")] == ["disk full", "disk has room"]
    spool.close()
    again = Spool(disk / "spool")
    assert payloads(again)[-1] == (taken + 1, b"after")
    assert again.ledger.counts["quarantined"] == again.ledger.counts["torn end"] == 0
    again.close()


def test_on_a_full_disk_ledger_and_cursors_can_still_be_written(disk):
    spool = Spool(disk / "spool", when_full="stop")
    fill(disk)
    with pytest.raises(OSError, match=FULL):
        spool.put(os.urandom(BATCH), 1)
    spool.ledger.add("commit failed", "the disk is full")
    assert [e["event"] for e in read_ledger(spool.path / "ledger.jsonl")] == ["disk full", "commit failed"]
    spool.advance("sink")
    assert (spool.path / "cursor-sink.json").exists()
    spool.close()


def test_a_spool_that_filled_its_disk_and_must_stop_goes_on_once_its_sinks_have_all(disk):
    spool = Spool(disk / "spool", when_full="stop")
    spool.advance("sink")
    for size in (BATCH, BATCH, 4000, 100, 1):
        with pytest.raises(OSError, match=FULL):
            put_for_ever(spool, size)
    for number in (1, 2):  # the cursor takes what is held back, and no batch does
        spool.advance("sink", (number, number))
        with pytest.raises(OSError, match=FULL):
            put_for_ever(spool, 1)
    spool.advance("sink", (1, spool.last))
    assert spool.put(b"more", 1) == spool.last
    spool.close()
    again = Spool(disk / "spool")
    assert again.cursor("sink") == again.last - 1
    again.close()


def test_a_cursor_alone_takes_what_is_held_back(disk):
    spool = Spool(disk / "spool")
    spool.put(b"x", 1)
    fill(disk)
    spool.advance("sink", (1, 1))
    spool.close()
    again = Spool(disk / "spool")
    assert again.cursor("sink") == 1
    assert again.ledger.counts["disk full"] == 1
    again.close()


def test_others_who_take_at_once_what_is_given_back_do_not_stop_the_dropping(disk, monkeypatch):
    spool = Spool(disk / "spool", gap=named)
    spool.advance("sink")
    written = {n: batch(n) for n in range(1, 31)}
    for n in range(1, 16):
        spool.put(written[n], 1)
    tell_full = Spool._tell_full

    def greedy(spool, error):
        tell_full(spool, error)
        fill(disk)

    monkeypatch.setattr(Spool, "_tell_full", greedy)
    fill(disk)
    for n in range(16, 31):
        assert spool.put(written[n], 1) == n
    left = spool.segments[0].first
    assert left > 1
    assert spool.gap("sink").payload == b"".join(b"#%d" % n for n in range(1, left))
    assert payloads(spool, left - 1) == [(n, written[n]) for n in range(left, 31)]
    spool.close()


def test_a_spool_that_may_grow_larger_than_its_disk_drops_its_oldest(disk):
    spool = Spool(disk / "spool", max_size=2**40)
    for n in range(1, 101):
        assert spool.put(os.urandom(BATCH), 1) == n
    first = spool.segments[0].first
    assert sequences(spool, first - 1) == list(range(first, 101))
    assert spool.size > DISK / 2
    spool.close()


@pytest.mark.parametrize("policy", ["stop", "drop_oldest"])
def test_a_start_on_a_full_disk_reads_what_is_there(disk, policy):
    spool = Spool(disk / "spool", when_full=policy)
    for _ in range(10):
        spool.put(os.urandom(BATCH), 1)
    spool.close()
    (disk / "spool" / "ballast").unlink()
    fill(disk)
    again = Spool(disk / "spool", when_full=policy)
    assert sequences(again) == list(range(1, 11))
    files = sorted(disk.glob("spool/segment-*"))
    if policy == "stop":
        for _ in range(3):
            with pytest.raises(OSError, match=FULL):
                again.put(os.urandom(BATCH), 1)
        assert sorted(disk.glob("spool/segment-*")) == files  # nothing of a segment that could not be made
    else:
        assert again.put(os.urandom(BATCH), 1) == 11
    (disk / "others").unlink()
    assert again.put(b"after", 1) == again.last
    assert payloads(again, again.last - 1) == [(again.last, b"after")]
    again.close()


def test_a_damaged_batch_is_passed_over_on_a_full_disk_too(disk):
    spool = Spool(disk / "spool", when_full="stop")
    for _ in range(3):
        spool.put(b"a" * 100, 1)
    spool.close()
    (segment,) = disk.glob("spool/segment-*")
    data = bytearray(segment.read_bytes())
    data[FILE_HEAD + HEAD] ^= 1
    segment.write_bytes(data)
    (disk / "spool" / "ballast").unlink()
    fill(disk)
    again = Spool(disk / "spool", when_full="stop")
    for _ in range(3):
        assert [type(one) for one in again.read(0)] == [Hole, Record, Record]
    again.advance("sink", (1, 3)) if host.free_space(disk) else None
    again.close()


# --- writes and syncs that fail ---


class Broken:
    """Makes calls of the operating system fail when told to."""

    def __init__(self, monkeypatch):
        self.next = {}
        """What fails next: the call's name, and its error."""
        self.calls = []
        for module, name in ((os, "writev"), (host, "sync_data"), (host, "sync_folder"), (os, "ftruncate")):
            monkeypatch.setattr(module, name, self.wrapped(name, getattr(module, name)))

    def wrapped(self, name, call):
        def wrapper(*arguments):
            error = self.next.pop(name, None)
            self.calls.append((name, error))
            if error == "short":  # a part lands, and says so
                return call(arguments[0], [arguments[1][0][:5]])
            if isinstance(error, tuple):  # it lands, and fails then
                call(*arguments)
                (error,) = error
            if error is not None:
                raise OSError(error, os.strerror(error))
            return call(*arguments)

        return wrapper


@pytest.fixture
def broken(monkeypatch):
    return Broken(monkeypatch)


FAULTS = {
    "a write fails": {"writev": errno.EIO},
    "a write ends early": {"writev": "short"},
    "a write lands, and fails then": {"writev": (errno.EIO,)},
    "a sync fails": {"sync_data": errno.EIO},
    "a sync fails, for want of room": {"sync_data": errno.ENOSPC},
    "a write lands, and the rest of it cannot be cut off": {"sync_data": errno.EIO, "ftruncate": errno.EIO},
    "a write ends early, and the rest of it cannot be cut off": {"writev": "short", "ftruncate": errno.EIO},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_batch_whose_write_or_sync_failed_is_put_again_under_its_number_into_a_new_file(tmp_path, broken, fault):
    spool = Spool(tmp_path, when_full="stop")
    spool.put(b"one", 1)
    (old,) = tmp_path.glob("segment-*")
    broken.next = dict(fault)
    with pytest.raises(OSError, match=r"Errno (5|28)"):
        spool.put(b"two, which nobody acknowledged", 1)
    assert broken.next == {}
    after = old.read_bytes()
    assert payloads(spool) == [(1, b"one")]
    assert [spool.put(b"two", 1), spool.put(b"three", 1)] == [2, 3]
    assert old.read_bytes() == after  # never written again
    assert [f.name for f in sorted(tmp_path.glob("segment-*"))] == [old.name, "segment-0000000000000002.log"]
    for _ in range(2):
        assert payloads(spool) == [(1, b"one"), (2, b"two"), (3, b"three")]
        spool.close()
        spool = Spool(tmp_path)
    assert spool.put(b"four", 1) == 4
    assert spool.ledger.counts["quarantined"] == 0
    spool.close()


@pytest.mark.parametrize("fault", [{"writev": errno.EIO}, {"sync_data": errno.EIO}, {"sync_folder": errno.EIO}])
def test_a_segment_that_cannot_be_made_leaves_nothing_behind(tmp_path, broken, fault):
    spool = Spool(tmp_path)
    for _ in range(3):
        broken.next = dict(fault)
        with pytest.raises(OSError, match="Errno 5"):
            spool.put(b"refused", 1)
        assert list(tmp_path.glob("segment-*")) == []
    assert spool.put(b"one", 1) == 1
    spool.close()
    again = Spool(tmp_path)
    assert payloads(again) == [(1, b"one")]
    again.close()


def test_batches_refused_in_a_new_segment_do_not_cost_what_is_put_after_them(tmp_path, broken):
    spool = Spool(tmp_path, segment_size=100)
    spool.put(b"1" * 100, 1)
    for call in ("writev", "sync_data"):
        spool._writable()  # the head of the new one is written
        broken.next = {call: errno.EIO}
        with pytest.raises(OSError, match="Errno 5"):
            spool.put(b"refused", 1)
    assert [spool.put(b"%d" % n, 1) for n in (2, 3)] == [2, 3]
    spool.advance("sink", (1, 2))
    assert payloads(spool, 2) == [(3, b"3")]
    spool.close()
    again = Spool(tmp_path)
    assert payloads(again, 2) == [(3, b"3")]
    again.close()


def test_a_thousand_puts_of_which_many_fail_come_back_exactly_as_acknowledged(tmp_path, broken):
    rng = random.Random(27)
    acknowledged, failed = [], 0
    spool = Spool(tmp_path, segment_size=2_000, when_full="stop")
    for n in range(1000):
        if rng.random() < 0.3:
            broken.next = dict(rng.choice(list(FAULTS.values())))
        payload = b"%d" % n * rng.randrange(40)
        try:
            acknowledged.append((spool.put(payload, 1), payload))
        except OSError:
            failed += 1
        cut = "ftruncate" not in {name for name, error in broken.calls[-6:] if error is not None}
        broken.next = {}
        if rng.random() < 0.05 and cut:  # else what could not be cut off comes back, and nobody acknowledged it
            spool.close()
            spool = Spool(tmp_path, segment_size=2_000, when_full="stop")
    assert payloads(spool) == acknowledged
    spool.close()
    again = Spool(tmp_path)
    assert payloads(again) == acknowledged
    assert failed > 100
    again.close()


def test_a_file_whose_close_fails_is_closed_for_good(tmp_path, monkeypatch):
    # Its number may be another file's at once: nothing must be written there.
    spool = Spool(tmp_path)
    spool.put(b"one", 1)
    number, close = spool.segments[0].file, os.close

    def failing(file):
        close(file)
        if file == number:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", failing)
        spool._seal()
    other = os.open(tmp_path / "of somebody else", os.O_WRONLY | os.O_CREAT)
    os.dup2(other, number)
    try:
        assert spool.put(b"two", 1) == 2
    finally:
        for file in {other, number}:
            close(file)
    assert (tmp_path / "of somebody else").read_bytes() == b""
    assert payloads(spool) == [(1, b"one"), (2, b"two")]
    spool.close()


def test_a_batch_is_acknowledged_even_if_nothing_can_be_held_back_any_more(tmp_path, monkeypatch):
    spool = Spool(tmp_path)
    (tmp_path / "ballast").unlink()

    def refused(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(host, "reserve", refused)
        assert spool.put(b"one", 1) == 1
        Spool(tmp_path / "another").close()
    spool.put(b"two", 1)
    assert (tmp_path / "ballast").exists()
    spool.close()


def test_a_cursor_that_could_not_be_written_is_where_it_was(tmp_path, broken):
    spool = Spool(tmp_path, segment_size=100)
    for _ in range(3):
        spool.put(bytes(100), 1)
    spool.advance("sink", (1, 1))
    broken.next = {"sync_folder": errno.EIO}
    with pytest.raises(OSError, match="Errno 5"):
        spool.advance("sink", (2, 3))
    assert spool.cursor("sink") == 1
    assert sequences(spool, 1) == [2, 3]
    spool.advance("sink", (2, 2))
    assert spool.cursor("sink") == 2
    spool.close()


# --- reads that fail ---


class BadPages:
    """Pages of the disk that cannot be read, so many times."""

    def __init__(self, monkeypatch, file, pages, times):
        self.pages, self.times, self.inode = pages, times, file.stat().st_ino
        self.pread = os.pread
        monkeypatch.setattr(os, "pread", self.read)

    def read(self, file, count, at):
        if os.fstat(file).st_ino == self.inode and self.times > 0:
            begin, end = min(self.pages) * 4096, (max(self.pages) + 1) * 4096
            if at >= end or at + count <= begin:
                return self.pread(file, count, at)
            if at < begin:  # what comes before is given first
                return self.pread(file, begin - at, at)
            self.times -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self.pread(file, count, at)


def spool_of_batches(folder, count=40, size=1000):
    spool = Spool(folder)
    for n in range(1, count + 1):
        spool.put(b"%03d" % n * (size // 3), 1)
    return spool


def test_a_disk_that_fails_to_give_a_page_now_and_gives_it_later_costs_nothing(tmp_path, monkeypatch):
    spool = spool_of_batches(tmp_path)
    BadPages(monkeypatch, spool.segments[0].path, [2], TRIES - 1)
    for _ in range(TRIES - 1):
        with pytest.raises(OSError, match="Errno 5"):
            sequences(spool)
    assert sequences(spool) == list(range(1, 41))
    assert spool.ledger.counts == {}
    spool.close()


@pytest.mark.parametrize("pages", [[0], [2], [3, 4], [9]])
def test_a_page_that_the_disk_never_gives_costs_the_batches_on_it_alone(tmp_path, monkeypatch, pages):
    spool = spool_of_batches(tmp_path)
    begin, end = min(pages) * 4096, (max(pages) + 1) * 4096
    there = list(batches_of(spool.segments[0].path))
    lost = [batch.seq for batch in there if batch.at < end and batch.end > begin]
    BadPages(monkeypatch, spool.segments[0].path, pages, 10**9)
    for _ in range(TRIES - 1):
        with pytest.raises(OSError, match="Errno 5"):
            sequences(spool)
    found = list(spool.read(0, 2**40))
    assert [one.seq for one in found if isinstance(one, Record)] == [b.seq for b in there if b.seq not in lost]
    holes = [n for one in found if isinstance(one, Hole) for n in range(one.first, one.last + 1)]
    assert holes == lost
    assert spool.ledger.counts["quarantined"] > 0
    assert (tmp_path / "quarantine" / spool.segments[0].path.name).exists()
    spool.close()


@pytest.mark.parametrize("pages", [[0], [5], [9], range(20)])
def test_a_page_that_the_disk_does_not_give_does_not_stop_the_start(tmp_path, monkeypatch, pages):
    spool_of_batches(tmp_path).close()
    (segment,) = tmp_path.glob("segment-*")
    BadPages(monkeypatch, segment, list(pages), 10**9)
    again = Spool(tmp_path)
    assert again.put(b"new", 1) == again.last
    for _ in range(TRIES - 1):
        with pytest.raises(OSError, match="Errno 5"):
            sequences(again)
    found = list(again.read(0, 2**40))
    assert found[-1] == Record(again.last, 1, b"new")
    assert any(isinstance(one, Hole) for one in found)
    again.close()


def test_a_segment_that_somebody_removed_is_a_hole(tmp_path):
    spool = Spool(tmp_path, segment_size=100)
    for _ in range(3):
        spool.put(bytes(100), 1)
    (Path(tmp_path) / "segment-0000000000000002.log").unlink()
    assert [type(one) for one in spool.read(0)] == [Record, Hole, Record]
    spool.close()
    again = Spool(tmp_path, segment_size=100)
    assert [type(one) for one in again.read(0)] == [Record, Hole, Record]
    again.close()


# --- the whole agent ---


@pytest.mark.parametrize("policy", ["drop_oldest", "stop"])
def test_an_agent_on_a_disk_that_others_filled_goes_on_alone_once_there_is_room(disk, policy):
    """The lake lies on the same disk; 10 s after there is room all is stored again, and what is missing is a gap."""

    async def collect():
        reads = itertools.count(1)
        async with ModbusServer({1: lambda: words(next(reads), 2)}) as server:
            source = Source(id="s", kind="modbus", url=server.endpoint, period="5ms", timeout="500ms")
            point = Point(point="reads", asset="m", source="s", address="1/holding:0", type="uint32")
            tight = SpoolConfig(path=Path("spool"), commit="20ms", when_full=policy)
            plant = plant_for(disk, [source], [Asset(asset="m")], [point], spool=tight)
            async with running(plant) as agent:
                sink = agent.status.sinks["parquet"]
                await until(lambda: sink.rows > 20)
                while not agent.spool.ledger.counts["disk full"]:
                    fill(disk)  # and no more: what the spool drops is its own then
                    with contextlib.suppress(TimeoutError):
                        await until(lambda: agent.spool.ledger.counts["disk full"], patience=1)
                if policy == "drop_oldest":
                    last = agent.spool.last
                    await until(lambda: agent.spool.last > last + 10)  # collecting goes on
                else:
                    await until(lambda: not agent.status.report()["healthy"])
                (disk / "others").unlink()
                await until(lambda: agent.status.report()["healthy"] and sink.caught_up)
                last = agent.spool.last
                await until(lambda: agent.spool.last > last + 20)
        return plant

    plant = asyncio.run(collect())
    rows = lake_of(plant).sort("ts_recv", "ts").select("status", pl.col("value").cast(pl.Int64)).rows()
    good = [value for status, value in rows if status == GOOD]
    assert good == sorted(set(good))
    missing = [
        (one, other) for one, other in itertools.pairwise(rows) if other[0] == one[0] == GOOD and other[1] > one[1] + 1
    ]
    assert missing == []  # where values are missing a row says so
    counts = Counter(entry["event"] for entry in read_ledger(disk / "spool" / "ledger.jsonl"))
    assert counts["disk full"] == counts["disk has room"] > 0
    assert counts["dropped"] == 0 or policy == "drop_oldest"
    assert sum(counts.values()) < 60

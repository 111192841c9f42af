"""Damage of any kind costs the batches that it touches and no other, and is told (FAULTS row 28).

And the formats: what lies on disk is what collector/frames.py says, format 1 is read to its end, and a newer one is
refused and left as it is (FAULTS row 36).
"""

import asyncio
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from collector import frames
from collector.ledger import read_ledger
from collector.spool import Hole, Record, Spool, SpoolFormat
from connectors.sim.modbus import ModbusServer, words
from tests import old_spool
from tests.batches import rows
from tests.running import Asset, Point, Source, lake_of, plant_for, running, until
from tests.soak import cases
from tests.spool_files import FILE_HEAD, FRAME_HEAD, Batch, batches_in, batches_of
from tests.test_spool import MEMORY, joined

SIZES = (0, 1, 40, 300, 700, 2500, 9000)
"""Payloads of the spool that is damaged [B]."""
FLIPS, CUTS, BLOCKS = cases(1250), cases(150), cases(150)
SEED = 28


@dataclass
class Whole:
    """A spool before the damage: its files, its batches, and what its sinks have."""

    files: dict[str, bytes]
    batches: list[Batch]
    id: str
    stored: dict[str, tuple]
    gap: Record

    def write(self, folder: Path, **changed: bytes) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in self.files.items():
            (folder / name).write_bytes(content)

    @property
    def newest(self) -> str:
        return max(name for name in self.files if name.startswith("segment-"))


@pytest.fixture(scope="module")
def whole():
    """A spool of four segments, of which the first was dropped before the sink `slow` had it."""
    folder = Path(tempfile.mkdtemp(dir=MEMORY))
    spool = Spool(folder / "spool", segment_size=9_000, max_size=36_000, gap=joined)
    spool.advance("slow"), spool.advance("quick")
    rng = random.Random(SEED)
    while spool.segments[:1] == [] or spool.segments[0].first == 1 or len(spool.segments) < 4:
        size = rng.choice(SIZES)
        spool.put(rng.randbytes(size), size, {"cells": [spool.last, 7]} if size % 20 == 0 else None)
    spool.advance("quick", (1, spool.last - 6), (spool.last - 3, spool.last - 2))
    made = Whole({}, batches_in(spool.path), spool.id, dict(spool.stored), spool.gap("slow"))
    spool.close()
    made.files = {f.name: f.read_bytes() for f in spool.path.iterdir() if f.is_file() and f.name != "ballast"}
    shutil.rmtree(folder)
    assert len([name for name in made.files if name.startswith("segment-")]) >= 4
    return made


@pytest.fixture
def folder():
    made = Path(tempfile.mkdtemp(dir=MEMORY))
    yield made / "spool"
    shutil.rmtree(made)


def hurt(whole, folder):
    """The batches whose bytes are not on disk any more as they were."""
    lost = []
    for batch in whole.batches:
        file = folder / batch.file
        data = file.read_bytes() if file.exists() else b""
        if data[batch.at : batch.end] != whole.files[batch.file][batch.at : batch.end]:
            lost.append(batch)
    return lost


def judge(whole, folder, *, told=True):
    """Open a damaged spool and hold what it gives against what it had; returns the holes."""
    lost = hurt(whole, folder)
    damaged = {name: (folder / name).read_bytes() for name in {batch.file for batch in lost}}
    spool = Spool(folder, gap=joined)
    try:
        assert spool.id == whole.id
        oldest = whole.batches[0].seq
        found = list(spool.read(oldest - 1, 2**40))
        good = [(one.seq, one.rows, one.payload) for one in found if isinstance(one, Record)]
        gone = {batch.seq for batch in lost}
        assert good == [(b.seq, b.rows, b.payload) for b in whole.batches if b.seq not in gone]
        holes = [one for one in found if isinstance(one, Hole)]
        in_holes = {n for hole in holes for n in range(hole.first, hole.last + 1)}
        assert in_holes <= gone
        # At the newest segment's end nobody knows how many there were: the first of them counts, or was never there.
        assert all(seq > spool.last for seq in gone - in_holes)
        assert sorted(in_holes | {seq for seq, _, _ in good}) == list(range(oldest, spool.last + 1))
        if told:
            entries = list(read_ledger(folder / "ledger.jsonl"))
            for hole in holes:
                assert [e["first"] for e in entries if e["event"] == "quarantined" and e["last"] == hole.last] == [
                    hole.first
                ]
            for name in {batch.file for batch in lost if batch.seq in in_holes}:
                assert (folder / "quarantine" / name).read_bytes() == damaged[name]
            if gone - in_holes:
                assert [e["segment"] for e in entries if e["event"] == "torn end"] == [whole.newest]
        assert spool.put(b"new", 1) == spool.last
        assert list(spool.read(spool.last - 1)) == [Record(spool.last, 1, b"new")]
        names = {n for some in spool.tokens(0).values() for n in some}
        assert names <= {n for batch in whole.batches for n in (batch.seq - 1, 7)}
    finally:
        spool.close()
    return holes


def test_what_lies_on_disk_is_what_the_description_says(tmp_path):
    spool = Spool(tmp_path)
    spool.put(b"first", 3, {"cells": [7, 8]})
    spool.put(b"second", 4)
    data = (tmp_path / "segment-0000000000000001.log").read_bytes()
    assert FILE_HEAD.unpack_from(data)[:4] == (b"PPspool\n", 2, bytes.fromhex(spool.id), 1)
    first, second = batches_of(tmp_path / "segment-0000000000000001.log")
    assert (first.seq, first.rows, first.payload) == (1, 3, b"first")
    assert first.tokens == b'{"cells": 2}\n' + (7).to_bytes(8, "little") + (8).to_bytes(8, "little")
    assert (second.seq, second.rows, second.tokens, second.payload) == (2, 4, b"", b"second")
    assert (second.at, second.end) == (first.end, len(data))
    spool.close()


def test_a_spool_that_nothing_hurt_is_whole(whole, folder):
    whole.write(folder)
    assert judge(whole, folder) == []


def test_a_flipped_bit_costs_one_batch_at_most(whole, folder):
    rng = random.Random(SEED)
    segments = sorted(name for name in whole.files if name.startswith("segment-"))
    weights = [len(whole.files[name]) for name in segments]
    heads = [(b.file, b.at + n) for b in whole.batches for n in range(FRAME_HEAD.size)]
    places = rng.choices(heads, k=FLIPS // 3)  # a head is small beside what it leads
    for name in rng.choices(segments, weights, k=FLIPS - len(places)):
        places.append((name, rng.randrange(len(whole.files[name]))))
    lost = 0
    for name, at in places:
        whole.write(folder)
        flip(folder / name, at, rng.randrange(8))
        holes = judge(whole, folder)
        assert sum(hole.last - hole.first + 1 for hole in holes) <= 1
        assert len(holes) == (at >= FILE_HEAD.size)
        lost += len(holes)
    assert lost > 0.9 * FLIPS


def test_a_file_that_is_cut_off_costs_what_is_cut_off(whole, folder):
    rng = random.Random(SEED)
    for name in sorted(name for name in whole.files if name.startswith("segment-")):
        ends = [batch.end for batch in whole.batches if batch.file == name]
        lengths = [0, 1, FILE_HEAD.size, *ends, *(end - 1 for end in ends), *(end + 1 for end in ends[:-1])]
        lengths += rng.sample(range(len(whole.files[name])), CUTS // 4)
        for length in lengths:
            whole.write(folder)
            os.truncate(folder / name, length)
            # A cut between two batches of the newest segment, or before the first, looks like one never written to.
            judge(whole, folder, told=name != whole.newest or (length > FILE_HEAD.size and length not in ends))


@pytest.mark.parametrize("size", [512, 4096])
def test_zeroed_and_misplaced_blocks_cost_what_they_lie_over(whole, folder, size):
    rng = random.Random(SEED + size)
    segments = sorted(name for name in whole.files if name.startswith("segment-"))
    for _ in range(BLOCKS):
        name, other = rng.choice(segments), rng.choice(segments)
        at = rng.randrange(0, len(whole.files[name]), size)
        from_ = rng.choice([None, rng.randrange(0, len(whole.files[other]), size)])
        room = len(whole.files[name]) - at
        block = bytes(size) if from_ is None else whole.files[other][from_ : from_ + size]
        whole.write(folder)
        data = bytearray(whole.files[name])
        data[at : at + min(size, room, len(block))] = block[:room]
        (folder / name).write_bytes(data)
        judge(whole, folder)


def test_batches_that_the_disk_put_where_others_were_are_not_taken_for_them(tmp_path):
    # All batches have one length: a misplaced block is a whole batch that comes too early, or too late.
    spool = Spool(tmp_path)
    for n in range(9):
        spool.put(b"%d" % n * 100, 1)
    spool.close()
    segment = tmp_path / "segment-0000000000000001.log"
    data, length = segment.read_bytes(), FRAME_HEAD.size + 100
    late = data[FILE_HEAD.size + 7 * length :][:length]
    segment.write_bytes(data[: FILE_HEAD.size + length] + late + data[FILE_HEAD.size + 2 * length :])
    again = Spool(tmp_path)
    assert [one.seq for one in again.read(0) if isinstance(one, Record)] == [1, 3, 4, 5, 6, 7, 8, 9]
    assert [(one.first, one.last) for one in again.read(0) if isinstance(one, Hole)] == [(2, 2)]
    again.close()


@pytest.mark.parametrize("whose", ["this spool", "this spool, to come", "another spool"])
def test_a_batch_that_holds_the_bytes_of_a_frame_never_passes_for_it(tmp_path, whose):
    spool = Spool(tmp_path / "spool")
    spool.put(b"one", 1)
    first = batches_of(tmp_path / "spool" / "segment-0000000000000001.log")
    (batch,) = first
    if whose == "another spool":
        inner = b"".join(frames.frame(uuid.uuid4().bytes, Record(2, 1, b"forged"), b"", first=1, at=batch.end + 32))
    elif whose == "this spool":
        inner = (tmp_path / "spool" / batch.file).read_bytes()[batch.at : batch.end]
    else:
        inner = b"".join(frames.frame(bytes.fromhex(spool.id), Record(3, 1, b"forged"), b"", first=1, at=7_000))
    spool.put(inner * 3, 1)
    spool.put(b"three", 1)
    spool.close()
    data = (tmp_path / "spool" / batch.file).read_bytes()
    for bit in range(FRAME_HEAD.size * 8):
        (tmp_path / "spool" / batch.file).write_bytes(data)
        flip(tmp_path / "spool" / batch.file, batch.end + bit // 8, bit % 8)
        again = Spool(tmp_path / "spool")
        found = list(again.read(0))
        assert [one.payload for one in found if isinstance(one, Record)] == [b"one", b"three"]
        assert [(one.first, one.last) for one in found if isinstance(one, Hole)] == [(2, 2)]
        again.close()


def test_looking_for_the_next_batch_reads_the_file_once_whatever_lies_in_it(tmp_path, monkeypatch):
    spool = Spool(tmp_path)
    spool.put(b"\xf3PB\xf4" * 500_000, 1)  # nothing but what a frame begins with
    spool.put(b"two", 1)
    spool.close()
    flip(tmp_path / "segment-0000000000000001.log", FILE_HEAD.size, 0)
    again = Spool(tmp_path)
    reads, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda file, count, at: reads.append(count) or pread(file, count, at))
    assert [type(one) for one in again.read(0)] == [Hole, Record]
    assert sum(reads) < 3 * 2_000_000
    again.close()


# --- the other files ---


def test_a_flipped_bit_of_the_spools_own_facts_changes_nothing(whole, folder):
    for bit in range(len(whole.files["spool.json"]) * 8):
        whole.write(folder)
        flip(folder / "spool.json", bit // 8, bit % 8)
        assert judge(whole, folder) == []


@pytest.mark.parametrize("content", [b"", b"[]", b"5", b'{"format": 2}', b'{"format": "x", "id": "y"}', b"\xff" * 50])
def test_a_spool_that_lost_its_facts_takes_its_id_from_its_segments(whole, folder, content):
    whole.write(folder)
    (folder / "spool.json").write_bytes(content)
    assert judge(whole, folder) == []
    assert len(list((folder / "quarantine").glob("spool.json.*"))) == 1
    whole.write(folder)
    (folder / "spool.json").unlink()
    assert judge(whole, folder) == []


def test_a_flipped_bit_of_a_cursor_never_moves_it_forward(whole, folder):
    name = "cursor-quick.json"
    right = numbers(whole.stored["quick"])
    from_the_oldest = set(range(whole.batches[0].seq))
    for bit in range(len(whole.files[name]) * 8):
        whole.write(folder)
        flip(folder / name, bit // 8, bit % 8)
        spool = Spool(folder, gap=joined)
        assert numbers(spool.done("quick")) in (right, from_the_oldest)
        assert spool.done("slow") == whole.stored["slow"]
        spool.close()


def test_a_flipped_bit_of_a_gap_costs_the_gap_and_is_a_hole_then(whole, folder):
    rng = random.Random(SEED)
    name = "gap-slow.log"
    for bit in (*range(FRAME_HEAD.size * 8), *rng.sample(range(len(whole.files[name]) * 8), 300)):
        whole.write(folder)
        flip(folder / name, bit // 8, bit % 8)
        spool = Spool(folder, gap=joined)
        assert spool.gap("slow") is None
        hole = next(spool.read(spool.cursor("slow")))
        assert (hole.first, hole.last) == (1, whole.batches[0].seq - 1)
        assert [e["last"] for e in read_ledger(folder / "ledger.jsonl") if e["event"] == "missing"] == [hole.last]
        spool.close()


def test_a_flipped_bit_of_the_ledger_costs_two_entries_at_most_and_no_batch(whole, folder):
    rng = random.Random(SEED)
    whole.write(folder)
    before = list(read_ledger(folder / "ledger.jsonl"))
    assert len(before) > 1
    for bit in rng.sample(range(len(whole.files["ledger.jsonl"]) * 8), 300):
        whole.write(folder)
        flip(folder / "ledger.jsonl", bit // 8, bit % 8)
        assert judge(whole, folder) == []
        after = list(read_ledger(folder / "ledger.jsonl"))
        assert sum(entry in after for entry in before) >= len(before) - 2  # a newline flipped joins two


def flip(file, at, bit):
    data = bytearray(file.read_bytes())
    data[at] ^= 1 << bit
    file.write_bytes(data)


def numbers(ranges):
    return {n for first, last in ranges for n in range(first, last + 1)}


# --- format 1 ---


def old_folder(folder):
    """Two segments of format 1, of three batches each; the sink `a` has four of them and `b` one."""
    old_spool.folder_of(folder, {"a": 4, "b": 1})
    for first in (1, 4):
        db = old_spool.segment(folder, first)
        for seq in range(first, first + 3):
            old_spool.put(db, seq, b"%d" % seq * 50, rows=seq, tokens={"cells": [seq, seq + 100]})
        db.close()


def test_a_folder_of_format_1_is_delivered_once_and_new_batches_follow(tmp_path):
    old_folder(tmp_path)
    spool = Spool(tmp_path)
    assert spool.id == old_spool.ID
    assert json.loads((tmp_path / "spool.json").read_bytes())["format"] == 2
    assert (spool.done("a"), spool.done("b")) == (((0, 4),), ((0, 1),))
    assert [spool.put(b"new", 1, {"cells": [9]}) for _ in range(2)] == [7, 8]
    assert list(spool.read(4)) == [Record(n, n, b"%d" % n * 50) for n in (5, 6)] + [
        Record(7, 1, b"new"),
        Record(8, 1, b"new"),
    ]
    assert [one.seq for one in spool.read(1)] == [2, 3, 4, 5, 6, 7, 8]
    assert spool.tokens(4) == {"cells": [5, 105, 6, 106, 9, 9]}
    spool.advance("a", (5, 8))
    assert len(list(tmp_path.glob("*.db"))) == 2
    spool.advance("b", (2, 3))
    assert [f.name for f in tmp_path.glob("*.db*")] == ["segment-0000000000000004.db"]
    spool.close()
    again = Spool(tmp_path)
    assert [one.seq for one in again.read(again.cursor("b"))] == [4, 5, 6, 7, 8]
    again.advance("b", (4, 8))
    assert list(tmp_path.glob("*.db*")) == []
    assert again.put(b"more", 1) == 9
    again.close()


def test_a_folder_of_format_1_whose_agent_was_killed_gives_all_that_was_committed(tmp_path):
    folder = tmp_path / "spool"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.old_spool", folder, "5"], stdout=subprocess.PIPE, text=True
    ) as writer:
        committed = [int(next(writer.stdout)) for _ in range(13)]
        writer.send_signal(signal.SIGKILL)
        committed += [int(line) for line in writer.stdout]
    assert list(folder.glob("*.db-wal")) != []
    spool = Spool(folder)
    found = list(spool.read(0))
    assert [one.seq for one in found] == list(range(1, spool.last + 1))
    assert spool.last - committed[-1] in (0, 1)  # the last may have landed untold
    assert all(one.payload == b"%d," % one.seq * 100 for one in found)
    assert spool.tokens(10)["cells"] == list(range(11, spool.last + 1))
    assert spool.put(b"new", 1) == len(found) + 1
    spool.advance("sink", (1, len(found)))
    assert list(folder.glob("*.db*")) == []
    spool.close()


@pytest.mark.parametrize("tables", [None, (), old_spool.TABLES[:1], old_spool.TABLES])
def test_a_segment_of_format_1_that_was_made_as_its_agent_died_does_not_stop_the_start(tmp_path, tables):
    old_folder(tmp_path)
    if tables is None:
        (tmp_path / "segment-0000000000000007.db").touch()
    else:
        old_spool.segment(tmp_path, 7, tables=tables).close()
    spool = Spool(tmp_path)
    assert spool.put(b"new", 1) == 7
    assert [one.seq for one in spool.read(4)] == [5, 6, 7]
    assert spool.tokens(5) == {"cells": [6, 106]}
    assert spool.ledger.counts == {}
    spool.advance("a", (5, 7)), spool.advance("b", (2, 7))
    assert list(tmp_path.glob("*.db*")) == []
    spool.close()


def test_an_agent_stores_what_the_version_before_left_and_goes_on(tmp_path):
    """Batch n has a sample of value n; the lake had the first two."""
    old_spool.folder_of(tmp_path / "spool", {"parquet": 2})
    for first in (1, 4):
        db = old_spool.segment(tmp_path / "spool", first)
        for seq in range(first, first + 3):
            buffer = io.BytesIO()
            rows([("reads", seq)], value=seq).write_ipc(buffer, compression="lz4")
            old_spool.put(db, seq, buffer.getvalue())
        db.close()

    async def collect():
        async with ModbusServer({1: lambda: words(7, 2)}) as server:
            source = Source(id="s", kind="modbus", url=server.endpoint, period="20ms")
            point = Point(point="reads", asset="m", source="s", address="1/holding:0", type="uint32")
            plant = plant_for(tmp_path, [source], [Asset(asset="m")], [point])
            async with running(plant) as agent:
                await until(lambda: 7 in stored(plant))
                await until(lambda: agent.status.sinks["parquet"].caught_up)
        return plant

    assert [value for value in stored(asyncio.run(collect())) if value is not None] == [3, 4, 5, 6, 7]


def stored(plant):
    lake = lake_of(plant)
    return lake.sort("ts_recv")["value"].to_list() if lake.height else []


@pytest.mark.parametrize("first", [1, 4])
def test_a_segment_of_format_1_that_is_none_is_a_hole_and_stops_nothing(tmp_path, first):
    old_folder(tmp_path)
    file = tmp_path / f"segment-{first:016d}.db"
    file.write_bytes(b"not a database" * 300)
    spool = Spool(tmp_path)
    assert spool.ledger.counts["quarantined"] == 1
    assert [f.name.rpartition(".")[0] for f in (tmp_path / "quarantine").iterdir()] == [file.name]
    new = spool.put(b"new", 1)
    found = [one.seq if isinstance(one, Record) else (one.first, one.last) for one in spool.read(0)]
    # Of the last one nobody knows how many batches it held.
    assert found == ([(1, 3), 4, 5, 6, 7] if first == 1 else [1, 2, 3, (4, 4), 5])
    assert new == found[-1]
    spool.close()


def test_flipped_bits_of_format_1_are_never_taken_for_right_and_stop_nothing(folder):
    rng = random.Random(SEED)
    for _ in range(300):
        shutil.rmtree(folder, ignore_errors=True)
        old_folder(folder)
        file = folder / f"segment-{rng.choice((1, 4)):016d}.db"
        flip(file, rng.randrange(file.stat().st_size), rng.randrange(8))
        spool = Spool(folder)
        found = list(spool.read(0))
        assert all(one.payload == b"%d" % one.seq * 50 for one in found if isinstance(one, Record))
        covered = [
            n for one in found for n in ([one.seq] if isinstance(one, Record) else range(one.first, one.last + 1))
        ]
        assert covered == list(range(1, spool.last + 1))
        if any(isinstance(one, Hole) for one in found):
            assert spool.ledger.counts["quarantined"] + spool.ledger.counts["missing"] > 0
        assert spool.put(b"new", 1) == len(covered) + 1
        spool.close()


def test_a_segment_of_format_1_that_cannot_be_read_now_is_read_later(tmp_path, monkeypatch):
    old_folder(tmp_path)
    spool = Spool(tmp_path)
    connect = sqlite3.connect

    def refused(*_, **__):
        raise sqlite3.OperationalError("unable to open database file")  # no descriptor is left

    monkeypatch.setattr(sqlite3, "connect", refused)
    for _ in range(20):
        with pytest.raises(OSError, match="unable to open"):
            list(spool.read(0))
    monkeypatch.setattr(sqlite3, "connect", connect)
    assert [one.seq for one in spool.read(0)] == [1, 2, 3, 4, 5, 6]
    assert spool.ledger.counts == {}
    spool.close()


@pytest.mark.parametrize(
    "about", [{"format": 3, "id": "0" * 32}, {"format": 3, "id": "0" * 32, "more": 1}, {"format": 9, "id": "x"}]
)
def test_a_newer_format_is_refused_and_left_as_it_is(tmp_path, about):
    spool = Spool(tmp_path)
    spool.put(b"x", 1)
    spool.advance("sink")
    spool.close()
    (tmp_path / "spool.json").write_text(json.dumps(about))
    (tmp_path / "cursor-sink.json").write_text("of a newer version")
    (tmp_path / "segment-0000000000000002.db").write_text("no database")
    before = {f.name: (f.read_bytes(), f.stat().st_mtime_ns) for f in tmp_path.iterdir()}
    with pytest.raises(SpoolFormat, match=rf"format {about['format']} is newer than 2"):
        Spool(tmp_path)
    assert {f.name: (f.read_bytes(), f.stat().st_mtime_ns) for f in tmp_path.iterdir()} == before

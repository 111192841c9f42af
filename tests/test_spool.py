"""The spool keeps what it acknowledged, in order, once, and says what it could not keep."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from collector import ranges
from collector.frames import FILE_HEAD, HEAD
from collector.host import Locked
from collector.ledger import read_ledger
from collector.spool import Hole, Record, Spool, SpoolFull

SECOND_AGENT = """
import pathlib, sys
from collector.host import Locked
from collector.spool import Spool
try:
    Spool(pathlib.Path(sys.argv[1]))
except Locked as error:
    sys.exit(str(error))
"""
FRAME = HEAD + 100
"""What a batch of 100 B takes of a segment [B]."""
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where thousands of syncs take no time."""
SMALL = {"segment_size": FILE_HEAD + FRAME, "max_size": 2**20}
"""A segment is full with one batch of 100 B."""


def payloads(spool, after=0):
    return [(r.seq, r.payload) for r in spool.read(after, 2**40)]


def joined(lost):
    """A gap that tells what it stands for."""
    lost = list(lost)
    return b"".join(lost), len(lost), {"lost": len(lost)}


def entries(spool, event):
    return [entry for entry in read_ledger(spool.path / "ledger.jsonl") if entry["event"] == event]


def test_batches_come_back_in_order_after_a_restart(tmp_path):
    spool = Spool(tmp_path)
    assert [spool.put(b"batch%d" % n, n) for n in range(3)] == [1, 2, 3]
    spool.close()
    again = Spool(tmp_path)
    assert list(again.read(0)) == [Record(1, 0, b"batch0"), Record(2, 1, b"batch1"), Record(3, 2, b"batch2")]
    assert again.put(b"more", 1) == 4
    assert payloads(again, 2) == [(3, b"batch2"), (4, b"more")]
    again.close()


def test_a_batch_is_synced_before_it_is_acknowledged(tmp_path, monkeypatch):
    synced = []
    spool = Spool(tmp_path)
    monkeypatch.setattr("collector.host.sync_data", lambda _: synced.append(newest(tmp_path).stat().st_size))
    spool.put(b"a" * 100, 1)
    spool.put(b"b" * 100, 1)
    assert synced == [FILE_HEAD, FILE_HEAD + FRAME, FILE_HEAD + 2 * FRAME]  # the head, then each batch
    spool.close()


def test_empty_batches_and_large_ones_come_back(tmp_path):
    spool = Spool(tmp_path)
    large = bytes(range(256)) * 8192  # longer than what is read at once
    for payload in (b"", large, b"", b"x"):
        spool.put(payload, 1)
    assert payloads(spool) == [(1, b""), (2, large), (3, b""), (4, b"x")]
    spool.close()


def test_a_read_ends_after_so_many_bytes_or_at_a_number(tmp_path):
    spool = Spool(tmp_path, **SMALL)
    for n in range(6):
        spool.put(bytes([n]) * 100, 1)
    assert [r.seq for r in spool.read(0, 100)] == [1]
    assert [r.seq for r in spool.read(0, 101)] == [1, 2]
    assert [r.seq for r in spool.read(2, until=4)] == [3, 4]
    assert [r.seq for r in spool.read(2, until=2)] == []
    assert [r.seq for r in spool.read(4, until=99)] == [5, 6]
    spool.close()


def test_sequence_numbers_go_on_after_all_was_delivered_and_unlinked(tmp_path):
    spool = Spool(tmp_path, **SMALL)
    for _ in range(5):
        spool.put(bytes(100), 1)
    spool.advance("sink", (1, 5))
    assert [s.first for s in spool.segments] == [5]
    spool.close()
    for segment in tmp_path.glob("segment-*"):  # even if the last one is lost
        segment.unlink()
    again = Spool(tmp_path, **SMALL)
    assert again.put(b"x", 1) == 6
    again.close()


def test_a_segment_is_kept_until_the_slowest_sink_has_passed_it(tmp_path):
    spool = Spool(tmp_path, **SMALL)
    spool.done("fast"), spool.done("slow")
    for _ in range(4):
        spool.put(bytes(100), 1)
    spool.advance("fast", (1, 4))
    assert len(payloads(spool, spool.cursor("slow"))) == 4
    spool.advance("slow", (1, 2))
    assert [s.first for s in spool.segments] == [3, 4]
    spool.close()


def test_a_sink_may_store_ranges_in_any_order_and_its_cursor_is_where_the_first_is_missing(tmp_path):
    spool = Spool(tmp_path)
    for _ in range(9):
        spool.put(b"x", 1)
    spool.advance("sink", (7, 9))
    assert (spool.cursor("sink"), spool.done("sink")) == (0, ((0, 0), (7, 9)))
    spool.advance("sink", (1, 3))
    spool.close()
    again = Spool(tmp_path)
    assert (again.cursor("sink"), again.done("sink")) == (3, ((0, 3), (7, 9)))
    again.advance("sink", (4, 6))
    assert again.done("sink") == ((0, 9),)
    again.close()


def test_a_new_sink_begins_with_the_oldest_batch_that_is_left(tmp_path):
    spool = Spool(tmp_path, **SMALL)
    for _ in range(4):
        spool.put(bytes(100), 1)
    spool.advance("old", (1, 2))
    assert spool.done("new") == ((0, 2),)
    spool.close()


def test_a_sink_that_is_not_configured_any_more_holds_nothing_back(tmp_path):
    spool = Spool(tmp_path, **SMALL)
    spool.advance("gone")
    for _ in range(4):
        spool.put(bytes(100), 1)
    spool.forget_all_but(["sink"])
    spool.advance("sink", (1, 3))
    assert [s.first for s in spool.segments] == [4]
    spool.close()


def test_the_tail_stays_when_all_is_delivered(tmp_path):
    spool = Spool(tmp_path, tail=3, **SMALL)
    for _ in range(9):
        spool.put(bytes(100), 1)
    spool.advance("sink", (1, 9))
    assert [seq for seq, _ in payloads(spool, 6)] == [7, 8, 9]
    assert [s.first for s in spool.segments] == [7, 8, 9]
    spool.close()


def test_a_store_that_has_more_than_the_spool_is_believed(tmp_path):
    # The spool's last segment was lost, and the store had its batches: their numbers are not given again.
    spool = Spool(tmp_path)
    spool.put(b"1", 1)
    spool.advance("sink", (1, 5))
    assert spool.put(b"6", 1) == 6
    assert payloads(spool, 5) == [(6, b"6")]
    spool.close()
    again = Spool(tmp_path)
    assert payloads(again, 5) == [(6, b"6")]
    assert again.put(b"7", 1) == 7
    again.close()


def test_a_second_agent_on_one_spool_is_refused_at_once(tmp_path):
    """FAULTS row 33; the command itself is tried in test_kill.py."""
    spool = Spool(tmp_path)
    done = subprocess.run([sys.executable, "-c", SECOND_AGENT, tmp_path], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "used by another agent" in done.stderr
    with pytest.raises(Locked):
        Spool(tmp_path)
    assert spool.put(b"x", 1) == 1
    spool.close()
    Spool(tmp_path).close()


def test_a_spool_that_cannot_be_opened_leaves_its_folder_to_the_next(tmp_path):
    (tmp_path / "spool.json").write_text(json.dumps({"format": 99, "id": "0" * 32}))
    for _ in range(2):
        with pytest.raises(Exception, match="newer"):
            Spool(tmp_path)
    (tmp_path / "spool.json").unlink()
    Spool(tmp_path).close()


# --- a full spool ---


def test_a_full_spool_drops_its_oldest_and_the_ledger_says_what(tmp_path):
    spool = Spool(tmp_path, segment_size=150, max_size=600)
    spool.done("sink")
    for n in range(6):
        spool.put(bytes([n]) * 100, 10)
    assert spool.size <= 600
    assert [r.seq for r in spool.read(3)] == [4, 5, 6]
    lost = entries(spool, "dropped")
    assert [(e["first"], e["last"], e["rows"], e["sinks"]) for e in lost] == [(n, n, 10, ["sink"]) for n in (1, 2, 3)]
    spool.close()


def test_a_sink_finds_a_gap_in_place_of_dropped_batches_and_then_what_is_left(tmp_path):
    spool = Spool(tmp_path, segment_size=150, max_size=600, gap=joined)
    spool.advance("sink")
    for n in range(1, 7):
        spool.put(b"%d" % n * 100, 10)
        spool.advance("quick", (n, n))
    assert spool.gap("quick") is None
    assert spool.gap("sink") == Record(3, 2, b"1" * 100 + b"2" * 100 + b"3" * 100)  # an earlier gap counts as one
    spool.close()
    again = Spool(tmp_path, segment_size=150, max_size=600, gap=joined)
    assert again.gap("sink").payload == b"1" * 100 + b"2" * 100 + b"3" * 100
    again.advance("sink", (1, 3))
    assert again.gap("sink") is None
    assert list(again.path.glob("gap-*")) == []
    assert [r.seq for r in again.read(3)] == [4, 5, 6]
    assert [e["sinks"] for e in entries(again, "dropped")] == [["sink"]] * 3
    again.close()


def test_a_gap_holds_only_what_its_sink_lacks(tmp_path):
    spool = Spool(tmp_path, segment_size=500, max_size=2000, gap=joined)
    for n in range(1, 5):  # the first three are in one segment
        spool.put(b"%d" % n * 100, 10)
    spool.advance("sink", (2, 2))
    while spool.segments[0].first == 1:
        spool.put(b"x" * 100, 10)
    assert spool.gap("sink").payload.startswith(b"1" * 100 + b"3" * 100)
    assert b"2" not in spool.gap("sink").payload
    spool.close()


def test_what_a_sink_is_storing_is_no_gap_when_it_is_dropped_meanwhile(tmp_path):
    spool = Spool(tmp_path, segment_size=150, max_size=600, gap=joined)
    spool.done("sink")
    spool.put(b"1" * 100, 10)
    spool.held["sink"] = 1, 1
    spool.advance("sink")  # what else is noted changes nothing
    for n in range(2, 6):
        spool.put(b"%d" % n * 100, 10)
    assert spool.gap("sink").payload == b"2" * 100  # 1 is on its way
    spool.advance("sink", (4, 4))
    for n in range(6, 8):
        spool.put(b"%d" % n * 100, 10)
    assert spool.gap("sink").payload == b"2" * 100 + b"3" * 100
    spool.advance("sink", (1, 1))
    assert spool.held == {}
    assert [e["sinks"] for e in entries(spool, "dropped")][:2] == [["sink"]] * 2  # should it die meanwhile
    spool.close()


def test_a_gap_that_is_being_stored_is_no_part_of_the_next_one(tmp_path):
    spool = Spool(tmp_path, segment_size=150, max_size=600, gap=joined)
    spool.done("sink")
    for n in range(1, 6):
        spool.put(b"%d" % n * 100, 10)
    assert spool.gap("sink").payload == b"1" * 100 + b"2" * 100
    spool.held["sink"] = 1, 2
    spool.put(b"6" * 100, 10)
    spool.advance("sink", (1, 2))
    assert (spool.gap("sink").payload, spool.gap("sink").seq) == (b"3" * 100, 3)
    spool.close()


def test_numbers_that_a_gap_stands_for_are_not_given_again(tmp_path):
    # All was dropped, the process ended, and no segment says any more how far the numbers were.
    spool = Spool(tmp_path, segment_size=150, max_size=600, gap=joined)
    spool.advance("sink")
    for n in range(1, 4):
        spool.put(b"%d" % n * 100, 10)
    while spool._drop_oldest("disk full, oldest dropped"):
        pass
    spool.close()
    again = Spool(tmp_path, gap=joined)
    assert again.put(b"new", 1) == 4
    assert again.gap("sink").seq == 3
    assert payloads(again, 3) == [(4, b"new")]
    again.close()


def test_what_all_sinks_have_goes_before_anything_is_lost(tmp_path):
    spool = Spool(tmp_path, segment_size=150, max_size=600, tail=200, gap=joined)
    for n in range(1, 10):
        spool.put(b"%d" % n * 100, 10)
        spool.advance("sink", (n, n))
    assert spool.size <= 600
    assert entries(spool, "dropped") == []
    spool.close()


def test_a_batch_larger_than_the_spool_may_be_is_taken_alone(tmp_path):
    spool = Spool(tmp_path, max_size=400, gap=joined)
    spool.done("sink")
    spool.put(b"a" * 100, 1)
    spool.put(b"b" * 1000, 1)
    assert [r.seq for r in spool.read(1)] == [2]
    assert spool.gap("sink").payload == b"a" * 100
    spool.close()


def test_a_full_spool_that_must_stop_takes_nothing_and_keeps_what_it_has(tmp_path):
    spool = Spool(tmp_path, max_size=250, when_full="stop")
    spool.put(b"a" * 100, 1)
    with pytest.raises(SpoolFull, match="its policy is to stop"):
        spool.put(b"b" * 100, 1)
    assert payloads(spool) == [(1, b"a" * 100)]
    spool.close()


@pytest.mark.parametrize("settings", [{"max_size": 250}, {"max_size": 1000, "segment_size": 100, "tail": 200}])
def test_a_full_spool_that_must_stop_takes_more_once_its_sinks_have_all(tmp_path, settings):
    spool = Spool(tmp_path, when_full="stop", **settings)
    spool.done("sink")
    with pytest.raises(SpoolFull):
        put_for_ever(spool, 60)
    spool.advance("sink", (1, spool.last))
    assert spool.put(b"a" * 60, 1) == spool.last
    spool.close()


def test_bytes_are_held_back_and_not_counted(tmp_path):
    spool = Spool(tmp_path)
    assert (tmp_path / "ballast").stat().st_size == 2**20
    assert spool.size == 0
    spool.close()


# --- names of messages ---


def test_the_messages_that_a_batch_came_from_are_committed_with_it(tmp_path):
    first = Spool(tmp_path / "spool")
    first.put(b"a", 1, {"cells": [7, 2**47], "press": [1]})
    first.put(b"b", 1)
    first.put(b"c", 1, {"cells": [8], "none": []})
    first.close()
    again = Spool(tmp_path / "spool")
    assert again.tokens(0) == {"cells": [7, 2**47, 8], "press": [1]}
    assert again.tokens(1) == {"cells": [8]}
    assert payloads(again) == [(1, b"a"), (2, b"b"), (3, b"c")]
    again.close()


def test_names_of_messages_count_towards_the_size_and_make_room(tmp_path):
    spool = Spool(tmp_path / "spool", segment_size=10_000, max_size=100_000)
    for _ in range(100):
        spool.put(b"x", 1, {"cells": list(range(1000))})
    assert 50_000 < spool.size <= 100_000
    assert sum(f.stat().st_size for f in spool.path.glob("segment-*")) == spool.size
    spool.close()


def test_names_of_messages_that_cannot_be_read_are_left_out_and_told(tmp_path):
    spool = Spool(tmp_path)
    for n in (7, 8, 9):
        spool.put(b"a", 1, {"cells": [n]})
    spool.close()
    data = bytearray(newest(tmp_path).read_bytes())
    data[data.index((8).to_bytes(8, "little"), FILE_HEAD + 2 * HEAD)] ^= 64  # 8 becomes 72
    newest(tmp_path).write_bytes(data)
    again = Spool(tmp_path)
    assert again.tokens(0) == {"cells": [7, 9]}
    assert again.ledger.counts["tail not read"] == 1
    assert [type(found) for found in again.read(0)] == [Record, Hole, Record]
    again.close()


def put_for_ever(spool, size):
    while True:
        spool.put(os.urandom(size), 1)


def newest(folder):
    return max(folder.glob("segment-*"))


# --- everything in any order ---


class SpoolMachine(RuleBasedStateMachine):
    """Puts, deliveries of two sinks, restarts and drops in any order, against a list.

    A batch's payload says its number, and a gap's payload says whose place it takes.
    """

    @initialize(seed=st.integers(0, 3))
    def open(self, seed):
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.settings = {"segment_size": 60 + 40 * seed, "max_size": 900 + 900 * seed, "gap": joined}
        self.spool = Spool(self.folder, **self.settings)
        self.put_batches = {}
        self.stored = {"a": set(), "b": set()}
        self.lost = {"a": set(), "b": set()}
        self.taken = {}
        self.at_risk = {"a": set(), "b": set()}
        """What was dropped while it was on its way, and never arrived."""
        for sink in "ab":
            self.spool.advance(sink)

    @rule(size=st.integers(0, 20))
    def put(self, size):
        payload = b"%d," % (self.spool.last + 1) * (size + 1)
        seq = self.spool.put(payload, 1)
        assert seq == len(self.put_batches) + 1
        self.put_batches[seq] = payload

    @rule(sink=st.sampled_from("ab"), most=st.integers(1, 400), live=st.booleans())
    def take(self, sink, most, live):
        """Take what comes next, or what is new beside a backlog."""
        lacking = ranges.missing(self.spool.done(sink), self.spool.last)
        if sink in self.taken or not lacking:
            return
        gap = self.spool.gap(sink)
        if gap is not None:
            first, *rest = ranges.missing(self.spool.done(sink), gap.seq)
            self.spool.advance(sink, *rest)
            self.taken[sink] = first, set(), numbers(gap.payload)
        else:
            first, last = (max(lacking[-1][0], lacking[-1][1] - 2), lacking[-1][1]) if live else lacking[0]
            found = list(self.spool.read(first - 1, most, until=last))
            good = [one for one in found if isinstance(one, Record)]
            assert all(one.payload == self.put_batches[one.seq] for one in good)
            for hole in found:
                if isinstance(hole, Hole):
                    assert set(range(hole.first, hole.last + 1)) <= self.at_risk[sink]
            end = found[-1].seq if isinstance(found[-1], Record) else found[-1].last
            self.taken[sink] = (first, end), {one.seq for one in good}, set()
        self.spool.held[sink] = self.taken[sink][0]

    @rule(sink=st.sampled_from("ab"))
    def store(self, sink):
        if sink in self.taken:
            range_, good, lost = self.taken.pop(sink)
            assert not good & self.stored[sink], "stored twice"
            assert not lost & (self.lost[sink] | self.stored[sink]), "a gap row twice, or where a good one is"
            self.stored[sink] |= good
            self.lost[sink] |= lost
            self.spool.advance(sink, range_)

    @rule()
    def restart(self):
        before = {sink: self.spool.done(sink) for sink in "ab"}
        self.spool.close()
        self.spool = Spool(self.folder, **self.settings)
        assert {sink: self.spool.done(sink) for sink in "ab"} == before
        for sink, (_, good, lost) in self.taken.items():
            self.at_risk[sink] |= good | lost
        self.taken.clear()

    @invariant()
    def no_batch_is_missing_unless_it_was_dropped_on_its_way(self):
        if hasattr(self, "spool"):
            assert self.spool.last == len(self.put_batches)
            assert self.spool.size <= self.settings["max_size"]

    def teardown(self):
        if not hasattr(self, "spool"):
            return
        for sink in "ab":
            self.store(sink)
            while self.spool.cursor(sink) < self.spool.last:
                self.take(sink, 10**6, live=False)
                self.store(sink)
            left = set(self.put_batches) - self.stored[sink] - self.lost[sink]
            assert left <= self.at_risk[sink]
            dropped = [range(e["first"], e["last"] + 1) for e in entries(self.spool, "dropped") if sink in e["sinks"]]
            assert left | self.lost[sink] <= {n for one in dropped for n in one}
        self.spool.close()
        shutil.rmtree(self.folder)


def numbers(payload):
    return {int(n) for n in payload.split(b",") if n}


SpoolMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSpoolMachine = SpoolMachine.TestCase

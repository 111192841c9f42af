"""The spool keeps what it acknowledged, in order, once, and says what it could not keep."""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from collector.host import Locked
from collector.ledger import read_ledger
from collector.spool import Spool, SpoolFormat, SpoolFull

SECOND_AGENT = """
import pathlib, sys
from collector.host import Locked
from collector.spool import Spool
try:
    Spool(pathlib.Path(sys.argv[1]))
except Locked as error:
    sys.exit(str(error))
"""


def payloads(spool, after=0):
    return [(r.seq, r.payload) for r in spool.read(after, 2**40)]


def test_batches_come_back_in_order_after_a_restart(tmp_path):
    spool = Spool(tmp_path)
    assert [spool.put(b"batch%d" % n, 1) for n in range(3)] == [1, 2, 3]
    spool.close()
    again = Spool(tmp_path)
    assert payloads(again) == [(1, b"batch0"), (2, b"batch1"), (3, b"batch2")]
    assert again.put(b"more", 1) == 4
    again.close()


def test_a_batch_is_on_disk_before_it_is_acknowledged(tmp_path):
    # A reader of its own sees the row as soon as put returns, and SQLite says that each commit is synced.
    spool = Spool(tmp_path)
    spool.put(b"x", 1)
    assert spool.segments[0].open().execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    spool.close()


def test_sequence_numbers_go_on_after_all_was_delivered_and_unlinked(tmp_path):
    spool = Spool(tmp_path, segment_size=10)
    for _ in range(5):
        spool.put(b"0123456789", 1)
    spool.advance("sink", 5)
    assert [s.first for s in spool.segments] == [5]
    spool.close()
    again = Spool(tmp_path, segment_size=10)
    assert again.put(b"x", 1) == 6
    again.close()


def test_a_segment_is_kept_until_the_slowest_sink_has_passed_it(tmp_path):
    spool = Spool(tmp_path, segment_size=10)
    spool.cursor("fast"), spool.cursor("slow")
    for _ in range(4):
        spool.put(b"0123456789", 1)
    spool.advance("fast", 4)
    assert len(payloads(spool, spool.cursor("slow"))) == 4
    spool.advance("slow", 2)
    assert [s.first for s in spool.segments] == [3, 4]
    spool.close()


def test_the_tail_stays_when_all_is_delivered(tmp_path):
    spool = Spool(tmp_path, segment_size=10, tail=3)
    for _ in range(9):
        spool.put(b"0123456789", 1)
    spool.advance("sink", 9)
    assert [seq for seq, _ in payloads(spool)] == [7, 8, 9]
    spool.close()


def test_a_second_agent_on_one_spool_is_refused_at_once(tmp_path):
    spool = Spool(tmp_path)
    done = subprocess.run([sys.executable, "-c", SECOND_AGENT, tmp_path], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "used by another agent" in done.stderr
    with pytest.raises(Locked):
        Spool(tmp_path)
    spool.close()


def test_a_full_spool_drops_its_oldest_and_the_ledger_says_what(tmp_path):
    spool = Spool(tmp_path, segment_size=100, max_size=350)
    spool.cursor("sink")
    for n in range(6):
        spool.put(bytes([n]) * 100, 10)
    assert [seq for seq, _ in payloads(spool)] == [4, 5, 6]
    lost = [e for e in read_ledger(spool.path / "ledger.jsonl") if e["event"] == "dropped"]
    assert [(e["first"], e["last"], e["rows"], e["sinks"]) for e in lost] == [(n, n, 10, ["sink"]) for n in (1, 2, 3)]
    spool.close()


def test_a_full_spool_that_must_stop_takes_nothing_and_keeps_what_it_has(tmp_path):
    spool = Spool(tmp_path, max_size=150, when_full="stop")
    spool.put(b"a" * 100, 1)
    with pytest.raises(SpoolFull):
        spool.put(b"b" * 100, 1)
    assert payloads(spool) == [(1, b"a" * 100)]
    spool.close()


def test_a_flipped_bit_costs_its_own_batch_alone_and_is_kept_in_quarantine(tmp_path):
    spool = Spool(tmp_path)
    for n in range(3):
        spool.put(b"payload %d" % n * 50, 1)
    spool.close()
    with sqlite3.connect(tmp_path / "segment-0000000000000001.db") as db:
        db.execute("UPDATE batch SET payload = replace(payload, 'payload 1', 'pAyload 1') WHERE seq = 2")
    db.close()
    again = Spool(tmp_path)
    assert [seq for seq, _ in payloads(again)] == [1, 3]
    assert again.ledger.counts["quarantined"] == 1
    assert (tmp_path / "quarantine" / "batch-0000000000000002.bin").exists()
    again.close()


def test_an_unreadable_segment_does_not_stop_the_start(tmp_path):
    spool = Spool(tmp_path, segment_size=10)
    for _ in range(3):
        spool.put(b"0123456789", 1)
    spool.close()
    (tmp_path / "segment-0000000000000002.db").write_bytes(b"not a database" * 300)
    again = Spool(tmp_path, segment_size=10)
    assert [seq for seq, _ in payloads(again)] == [1, 3]
    assert again.ledger.counts["quarantined"] == 1
    assert again.put(b"x", 1) == 4
    again.close()


def test_a_newer_format_is_refused_and_left_as_it_is(tmp_path):
    Spool(tmp_path).close()
    (tmp_path / "spool.json").write_text(json.dumps({"format": 2, "id": "x"}))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SpoolFormat, match="newer"):
        Spool(tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_a_commit_that_failed_is_put_again_under_its_number_and_comes_back_once(tmp_path):
    spool = Spool(tmp_path)
    spool.put(b"one", 1)
    # The error comes after the row landed, as with a failed sync: the number is in the file, not acknowledged.
    spool.segments[0].open().execute("INSERT INTO batch VALUES (2, 0, 1, x'00')")
    with pytest.raises(sqlite3.IntegrityError):
        spool.put(b"two", 1)
    assert spool.put(b"two and more", 2) == 2
    assert payloads(spool) == [(1, b"one"), (2, b"two and more")]
    spool.close()
    again = Spool(tmp_path)
    assert payloads(again) == [(1, b"one"), (2, b"two and more")]
    assert again.put(b"three", 1) == 3
    again.close()


def test_commits_refused_in_a_new_segment_do_not_cost_what_is_put_after_them(tmp_path):
    spool = Spool(tmp_path, segment_size=10)
    spool.cursor("sink")
    spool.put(b"0123456789", 1)
    for _ in range(2):
        spool._writable().open().execute("INSERT INTO batch VALUES (2, 0, 1, x'00')")
        with pytest.raises(sqlite3.IntegrityError):
            spool.put(b"refused", 1)
    assert [spool.put(b"%d" % n, 1) for n in (2, 3)] == [2, 3]
    spool.advance("sink", 2)
    assert payloads(spool, 2) == [(3, b"3")]
    spool.close()
    again = Spool(tmp_path, segment_size=10)
    assert payloads(again, 2) == [(3, b"3")]
    again.close()


@pytest.mark.parametrize("settings", [{"max_size": 150}, {"max_size": 1000, "segment_size": 100, "tail": 200}])
def test_a_full_spool_that_must_stop_takes_more_once_its_sinks_have_all(tmp_path, settings):
    spool = Spool(tmp_path, when_full="stop", **settings)
    spool.cursor("sink")
    with pytest.raises(SpoolFull):
        put_for_ever(spool, 60)
    spool.advance("sink", spool.last)
    assert spool.put(b"a" * 60, 1) == spool.last
    spool.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system needs root to mount")
def test_a_full_disk_refuses_keeps_what_it_has_and_recovers_alone(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path]).returncode:
        pytest.skip("this machine does not let tests mount a file system")
    try:
        spool = Spool(tmp_path / "spool", segment_size=300_000)
        ballast = tmp_path / "ballast"
        ballast.write_bytes(bytes(1_000_000))
        with pytest.raises(sqlite3.OperationalError, match="full"):
            put_for_ever(spool)
        taken = spool.last
        with pytest.raises(sqlite3.OperationalError):
            spool.put(os.urandom(50_000), 1)
        spool.ledger.add("commit failed", "the disk is full")
        ballast.unlink()
        assert spool.put(b"after", 1) == taken + 1
        assert [seq for seq, _ in payloads(spool)] == list(range(1, taken + 2))
        assert spool.ledger.counts["quarantined"] == 0
        spool.close()
        again = Spool(tmp_path / "spool")
        assert payloads(again)[-1] == (taken + 1, b"after")
        again.close()
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def put_for_ever(spool, size=50_000):
    while True:
        spool.put(os.urandom(size), 1)


class SpoolMachine(RuleBasedStateMachine):
    """Puts, deliveries and restarts in any order, against a list."""

    @initialize(folder=st.builds(tempfile.mkdtemp))
    def open(self, folder):
        self.path = Path(folder)
        self.spool = Spool(self.path, segment_size=60)
        self.spool.cursor("a"), self.spool.cursor("b")
        self.put_batches = {}
        self.delivered = {"a": 0, "b": 0}

    @rule(payload=st.binary(max_size=50))
    def put(self, payload):
        self.put_batches[self.spool.put(payload, 1)] = payload

    @rule(sink=st.sampled_from("ab"), most=st.integers(1, 100))
    def deliver(self, sink, most):
        for record in list(self.spool.read(self.delivered[sink], most)):
            assert record.seq == self.delivered[sink] + 1
            assert record.payload == self.put_batches[record.seq]
            self.delivered[sink] = record.seq
        self.spool.advance(sink, self.delivered[sink])

    @rule()
    def restart(self):
        self.spool.close()
        self.spool = Spool(self.path, segment_size=60)
        assert {s: self.spool.cursor(s) for s in "ab"} == self.delivered

    @invariant()
    def nothing_undelivered_is_missing(self):
        if hasattr(self, "spool"):
            slowest = min(self.delivered.values())
            assert [r.seq for r in self.spool.read(slowest, 2**40)] == list(
                range(slowest + 1, len(self.put_batches) + 1)
            )

    def teardown(self):
        if hasattr(self, "spool"):
            self.spool.close()


SpoolMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestSpoolMachine = SpoolMachine.TestCase


def test_the_messages_that_a_batch_came_from_are_committed_with_it(tmp_path):
    first = Spool(tmp_path / "spool")
    first.put(b"a", 1, {"cells": [7, 2**47], "press": [1]})
    first.put(b"b", 1)
    first.put(b"c", 1, {"cells": [8], "none": []})
    first.close()
    again = Spool(tmp_path / "spool")
    assert again.tokens(0) == {"cells": [7, 2**47, 8], "press": [1]}
    assert again.tokens(1) == {"cells": [8]}
    again.close()


def test_a_spool_of_the_version_before_that_knew_no_messages_is_read(tmp_path):
    first = Spool(tmp_path / "spool")
    first.put(b"a", 1)
    first.close()
    (file,) = (tmp_path / "spool").glob("segment-*.db")
    with sqlite3.connect(file) as db:
        db.execute("DROP TABLE message")
    db.close()
    again = Spool(tmp_path / "spool")
    assert again.tokens(0) == {}
    assert [record.payload for record in again.read(0)] == [b"a"]
    again.close()


def test_names_of_messages_count_towards_the_size_and_make_room(tmp_path):
    spool = Spool(tmp_path / "spool", segment_size=10_000, max_size=100_000)
    for _ in range(100):
        spool.put(b"x", 1, {"cells": list(range(1000))})
    assert 50_000 < spool.size <= 100_000
    assert sum(f.stat().st_size for f in spool.path.iterdir()) < 1_000_000
    spool.close()


@pytest.mark.parametrize("spoilt", ["zero", "torn"])
def test_names_of_messages_that_cannot_be_read_are_left_out_and_told(tmp_path, spoilt):
    spool = Spool(tmp_path)
    spool.put(b"a", 1, {"cells": [7]})
    spool.close()
    (file,) = tmp_path.glob("segment-*.db")
    with sqlite3.connect(file) as db:
        page = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'message'").fetchone()[0]
        if spoilt == "torn":
            db.execute("UPDATE message SET tokens = x'010203'")
    db.close()
    if spoilt == "zero":
        with file.open("r+b") as raw:
            raw.seek((page - 1) * 4096)
            raw.write(bytes(4096))
    again = Spool(tmp_path)
    again.put(b"b", 1, {})
    assert again.tokens(0) == {}
    assert again.ledger.counts["tail not read"] == 1
    assert [payload for _, payload in payloads(again)] == [b"a", b"b"]
    again.close()

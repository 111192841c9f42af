"""The ledger loses no entry: not after a torn line, not on a full disk, not to two threads at once."""

import errno
import os
import threading

from collector.ledger import Ledger, read_ledger


def told(path):
    return [entry["reason"] for entry in read_ledger(path)]


def test_an_entry_after_a_line_that_a_power_cut_tore_stands_for_itself(tmp_path):
    path = tmp_path / "ledger.jsonl"
    Ledger(path).add("gap", "before")
    with path.open("ab") as file:
        file.write(b'{"ts": "2026-11-21T00:0')
    Ledger(path).add("gap", "after")
    assert told(path) == ["before", "after"]


def test_what_a_full_disk_refused_is_written_with_the_next_entry(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.add("gap", "one")
    write = os.write
    room = [0, 7]

    def full(handle, data):
        if not room:
            return write(handle, data)
        if taken := room.pop():
            return write(handle, data[:taken])
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "write", full)
    ledger.add("gap", "two")  # a part of it
    ledger.add("gap", "three")  # nothing, not even the end of that part
    ledger.add("gap", "four")
    assert told(ledger.path) == ["one", "two", "three", "four"]
    assert ledger.counts["gap"] == 4


def test_entries_of_several_threads_stand_whole(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    threads = [
        threading.Thread(target=lambda n=n: [ledger.add("gap", f"{n}-{k}") for k in range(50)]) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told(ledger.path)) == sorted(f"{n}-{k}" for n in range(4) for k in range(50))

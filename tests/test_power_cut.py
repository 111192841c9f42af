"""After a power cut at any moment, in every legal torn state, what was acknowledged is there (FAULTS row 29).

Every call that changes a file is recorded; the spool is then opened in thousands of states in which the disk may be:
bytes not synced by any of their sectors, changes of folders not synced by any of them.
"""

import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from collector import host, ranges
from collector.payload import decoded, encoded
from collector.quarantine import Quarantine
from collector.sinks import parquet
from collector.spool import Record, Spool
from config.plant import Plant
from config.plant import Sink as SinkConfig
from tests.batches import rows
from tests.power_cuts import Recorder, states
from tests.soak import cases
from tests.test_spool import MEMORY, joined, numbers

SEED = 29


@pytest.fixture
def memory():
    made = Path(tempfile.mkdtemp(dir=MEMORY))
    yield made
    shutil.rmtree(made)


def batch(number, size):
    return b"%d," % number * size


def run(recorder, rng, *, restarts=False, **settings):
    """Put and deliver, and mark what was acknowledged: batches, and what each sink has; returns the spool's folder."""
    folder = recorder.root / "plant" / "spool"
    spool = Spool(folder, **settings)
    recorder.mark("open", spool.id)
    for sink in "ab":
        recorder.mark("will", sink, ((0, 0),))
        spool.advance(sink)
    for _ in range(40):
        number = spool.last + 1
        size = rng.choice([1, 5, 30, 400])
        recorder.mark("try", number, size)
        assert spool.put(batch(number, size), size, {"cells": [number]} if size == 5 else None) == number
        recorder.mark("put", number, size)
        for sink in "ab":
            if rng.random() < 0.3:
                deliver(spool, recorder, sink, rng)
        if restarts and rng.random() < 0.1:
            spool.close()
            spool = Spool(folder, **settings)
    spool.close()
    return folder


def deliver(spool, recorder, sink, rng):
    """Let a sink have what comes first, or what is new, or the gap."""
    gap = spool.gap(sink)
    lacking = ranges.missing(spool.done(sink), gap.seq if gap is not None else spool.last)
    if gap is not None:
        recorder.mark("gap", sink, frozenset(numbers(gap.payload)))
        some = lacking
    elif lacking:
        first, last = rng.choice(lacking)
        some = [(first, rng.randint(first, last))]
    else:
        return
    recorder.mark("will", sink, ranges.union([*spool.done(sink), *some]))
    spool.advance(sink, *some)
    recorder.mark("did", sink, spool.done(sink))


def judge(folder, marks, **settings):
    """Open what a power cut left, and hold it against what was acknowledged."""
    put = {mark[1]: batch(*mark[1:]) for mark in marks if mark[0] == "put"}
    spool = Spool(folder, **settings)
    try:
        opened = [mark[1] for mark in marks if mark[0] == "open"]
        assert not opened or spool.id == opened[0]
        for sink in "ab":
            will = [mark[2] for mark in marks if mark[:2] == ("will", sink)]
            did = [mark[2] for mark in marks if mark[:2] == ("did", sink)]
            if did:
                assert covers(spool.done(sink), did[-1])
            if will:
                assert covers(will[-1], spool.done(sink))
            judge_sink(spool, sink, put, {n for mark in marks if mark[:2] == ("gap", sink) for n in mark[2]})
        # What was written and not acknowledged may be there too, and then it is right.
        tried = {mark[1]: batch(*mark[1:]) for mark in marks if mark[0] == "try"}
        assert all(r.payload == tried[r.seq] for r in spool.read(0, 2**40) if isinstance(r, Record))
        number = spool.put(b"new", 1)
        assert number > max(put, default=0)
        assert list(spool.read(number - 1)) == [Record(number, 1, b"new")]
    finally:
        spool.close()


def judge_sink(spool, sink, put, had_gap):
    """Every acknowledged batch that the sink has not is read back, or named by its gap."""
    gap = spool.gap(sink)
    lost = numbers(gap.payload) if gap is not None else set()
    for first, last in ranges.missing(spool.done(sink), max(spool.last, max(put, default=0))):
        if gap is not None and last <= gap.seq:
            read = {}
        else:
            begin = max(first - 1, gap.seq if gap is not None else 0)
            read = {r.seq: r.payload for r in spool.read(begin, 2**40, until=last) if isinstance(r, Record)}
        for number in range(first, last + 1):
            if number in put and number not in lost | had_gap:
                assert read[number] == put[number], number


def covers(more, less):
    return ranges.union([*more, *less]) == more


SPOOLS = {
    "delivered as it comes": {"segment_size": 1500},
    "with restarts": {"segment_size": 1500, "restarts": True},
    "with drops": {"segment_size": 700, "max_size": 2800, "gap": joined},
    "with drops and restarts": {"segment_size": 700, "max_size": 2800, "gap": joined, "restarts": True},
}


@pytest.mark.parametrize("settings", SPOOLS.values(), ids=SPOOLS)
def test_what_was_acknowledged_is_there_in_every_legal_torn_state(memory, settings):
    recorder = Recorder(memory / "recorded")
    recorder.root.mkdir()
    rng = random.Random(SEED)
    with recorder.recording():
        run(recorder, rng, **settings)
    settings = {name: value for name, value in settings.items() if name != "restarts"}
    seen = Counter()
    for folder, marks in states(recorder, memory / "torn", SEED):
        judge(folder / "plant" / "spool", marks, **settings)
        seen[len(marks)] += 1
    assert sum(seen.values()) > 1000
    assert len(seen) > 50


DAY_NS = 86_400_000_000_000


def lake_sink(root, spool):
    ledger = spool.ledger
    quarantine = Quarantine(spool.path / "quarantine", ledger, name="sink-parquet")
    config = SinkConfig(kind="parquet", path=Path("lake"))
    return parquet.Sink(
        config, Plant(id="p", root=root), agent="a", spool=spool.id, ledger=ledger, quarantine=quarantine
    )


def store(spool, sink, most):
    """Let the lake have what it lacks, so many batches at most; returns whether that was all."""
    lacking = ranges.missing(spool.done("parquet"), spool.last)
    if not lacking:
        return True
    first, last = lacking[0][0], min(lacking[0][1], lacking[0][0] + most - 1)
    found = [one for one in spool.read(first - 1, 2**40, until=last) if isinstance(one, Record)]
    if found:  # what was never acknowledged may be a hole
        sink.write(pl.concat([decoded(one.payload) for one in found]), first, last)
    spool.advance("parquet", (first, last))
    return False


def values(files):
    """What the files hold, whether or not they count; all of them in one go, as most of a look is its beginning."""
    rows = pl.scan_parquet(files, hive_partitioning=False, glob=False)
    return rows.select(pl.col("value").cast(pl.Int64)).collect()["value"].to_list()


@pytest.mark.parametrize(
    "made",
    [
        "the lake's folder is there",
        "first start",
    ],
)
def test_through_spool_and_lake_each_acknowledged_sample_is_stored_once_in_every_legal_torn_state(memory, made):
    """Batch n has a sample of value n, of one of two days; files of the lake are merged on the way."""
    recorder = Recorder(memory / "recorded")
    recorder.root.mkdir()
    rng = random.Random(SEED)
    with recorder.recording():
        if made == "the lake's folder is there":
            for folder in (recorder.root / "lake", recorder.root / "lake" / "samples"):
                folder.mkdir()
                host.sync_folder(folder.parent)
        spool = Spool(recorder.root / "spool", segment_size=8_000)
        sink = lake_sink(recorder.root, spool)
        spool.advance("parquet", *sink.start(spool.done("parquet")))
        for number in range(1, 41):
            recorder.mark("try", number)
            spool.put(encoded(rows([("p", number + DAY_NS * (number % 2))], value=number)), 1)
            recorder.mark("put", number)
            if rng.random() < 0.5:
                store(spool, sink, rng.randint(1, 3))
            if rng.random() < 0.3:
                sink.upkeep(spool.cursor("parquet"))
        merged = [file for file in recorder.root.glob("lake/samples/*/*.parquet") if sink.upkeep(0) is not None]
        sink.close()
        spool.close()
    assert 0 < len(merged) < 20
    seen = 0
    for folder, marks in states(recorder, memory / "torn", SEED, each=2, share=min(1.0, 0.3 * cases(1))):
        put = {mark[1] for mark in marks if mark[0] == "put"}
        tried = {mark[1] for mark in marks if mark[0] == "try"}
        spool = Spool(folder / "spool")
        sink = lake_sink(folder, spool)
        spool.advance("parquet", *sink.start(spool.done("parquet")))
        while not store(spool, sink, 7):
            pass
        files = sorted(folder.glob("lake/samples/*/[!.]*.parquet"))
        stored = Counter(values(files) if files else [])
        assert put <= set(stored) <= tried
        assert set(stored.values()) <= {1}
        spool.close()
        seen += 1
    assert seen > 500

"""What is committed reaches every sink once, at its own pace (FAULTS rows 22 and 25).

The spool and the event loop are real; the sink keeps what it is given in memory, and fails, hangs or waits when told.
Batch n has one sample of value n at second n.
"""

import asyncio
import itertools
import math
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import polars as pl
import pytest

from collector import delivery, gaps, ranges
from collector.delivery import Commits, Delivery
from collector.frames import FILE_HEAD, HEAD
from collector.ledger import read_ledger
from collector.payload import encoded
from collector.sinks.base import SinkBusy, SinkRefused
from collector.spool import Spool
from collector.status import HANGS_AFTER_S, SinkStatus
from config.plant import Sink as SinkConfig
from config.status import BAD_DATA_LOST, GOOD
from tests.batches import rows
from tests.running import until
from tests.soak import cases

S = 1_000_000_000


class Store:
    """A sink that keeps frames by range, and what its calls do next."""

    def __init__(self, *, remembers=True):
        self.writes = []
        """(first, last, frame), in order."""
        self.remembers = remembers
        self.starts, self.closed, self.cursors = 0, 0, []
        self.faults = {}
        """Call -> exceptions that its next calls raise; the last one for ever if it is alone in a tuple."""
        self.gate = threading.Event()
        self.gate.set()
        """A write waits here."""
        self.at_gate = threading.Event()
        self.on_write = lambda first, last: None
        self.chores = 0

    def _fault(self, call):
        faults = self.faults.get(call)
        if isinstance(faults, Exception):
            raise faults
        if faults:
            raise faults.pop(0)

    def start(self, done):
        self.starts += 1
        self._fault("start")
        own = [(first, last) for first, last, _ in self.writes] if self.remembers else []
        return ranges.union([*done, *own])

    def write(self, frame, first, last):
        self.on_write(first, last)
        self.at_gate.set()
        assert self.gate.wait(30)
        self._fault("write")
        assert frame.height > 0
        for a, b, _ in self.writes:
            assert last < a or b < first or not self.remembers, "a range twice"
        self.writes.append((first, last, frame))
        self._fault("after write")

    def upkeep(self, cursor):
        self.cursors.append(cursor)
        self._fault("upkeep")
        self.chores -= 1
        return self.chores > 0

    def figures(self):
        return {"writes": len(self.writes)}

    def close(self):
        self.closed += 1

    @property
    def frame(self):
        return pl.concat([frame for _, _, frame in self.writes])

    @property
    def good(self):
        """Values of the good samples, as they came."""
        return self.frame.filter(pl.col("status") == GOOD)["value"].cast(pl.Int64).to_list() if self.writes else []

    @property
    def gap_rows(self):
        """(point, time [ns]) of the rows that say that data was lost."""
        lost = self.frame.filter(pl.col("status") == BAD_DATA_LOST)
        return sorted(zip(lost["point"], lost["ts"].to_physical(), strict=True))

    @property
    def ranges(self):
        return [(first, last) for first, last, _ in self.writes]


class Waits(Commits):
    """Time that passes at once."""

    def __init__(self):
        super().__init__()
        self.asked = []

    async def wait(self, seconds, rows=None, *, over=None):
        self.asked.append((seconds, rows))
        await asyncio.sleep(0.0005 if rows is not None else 0)  # where nothing waits, others have a turn


class Rig:
    """A spool and deliveries from it."""

    def __init__(self, folder, *, commits=None, points=("p",), **settings):
        self.settings = {"gap": gaps.in_place_of} | settings
        self.spool = Spool(folder / "spool", **self.settings)
        self.disk = ThreadPoolExecutor(1)
        self.commits = commits or Commits()
        self.points = pl.Series(points, dtype=pl.String)
        self.tasks, self.statuses = {}, {}

    def add(self, store, name="store", **settings):
        config = SinkConfig(kind="parquet", id=name, **{"every": "1ms"} | settings)
        self.spool.done(name)
        status = self.statuses[name] = SinkStatus(kind="store")
        one = Delivery(
            config, store, self.spool, points=self.points, disk=self.disk, commits=self.commits, status=status
        )
        self.tasks[name] = asyncio.create_task(one.run())
        return status

    def put(self, number=None, point="p", text=None):
        """Commit a batch from any thread."""
        return self.disk.submit(self._put, number, point, text).result()

    def _put(self, number, point, text):
        number = number or self.spool.last + 1
        point = point.format(number)
        return self.spool.put(encoded(rows([(point, number * S)], value=number, text=text)), 1)

    async def stored(self):
        """Wait until all sinks have all."""
        await until(lambda: all(self.spool.cursor(name) == self.spool.last for name in self.tasks))

    async def kill(self):
        """End at once, as a kill would; what a worker has in hand ends."""
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        self.tasks.clear()

    async def end(self):
        await self.commits.end()
        await asyncio.wait_for(asyncio.gather(*self.tasks.values()), 30)

    def close(self):
        self.disk.shutdown()
        self.spool.close()


@asynccontextmanager
async def rig(folder, **settings):
    made = Rig(folder, **settings)
    try:
        yield made
    finally:
        await made.kill()
        made.close()


def entries(spool, event):
    return [entry for entry in read_ledger(spool.path / "ledger.jsonl") if entry["event"] == event]


def test_what_is_committed_arrives_once_and_in_order(tmp_path):
    async def collect():
        store = Store()
        async with rig(tmp_path) as one:
            status = one.add(store)
            for _ in range(50):
                one.put()
                await one.commits.add(1)
            await one.end()
            assert (status.rows, status.cursor, status.error) == (50, 50, "")
        assert store.good == list(range(1, 51))
        assert store.closed == 1

    asyncio.run(collect())


def test_samples_wait_for_more_until_they_are_enough_or_old_enough(tmp_path):
    async def collect():
        commits = Waits()
        async with rig(tmp_path, commits=commits) as one:
            one.add(Store(), every="90s", rows=5000)
            one.put()
            await until(lambda: len(commits.asked) > 3)
        assert all(89 < seconds <= 90 and rows == 5000 for seconds, rows in commits.asked), commits.asked

    asyncio.run(collect())


def test_a_store_that_takes_longer_than_a_commit_is_written_to_no_more_often(tmp_path):
    """Something is committed in every write; still each write but the first is waited for."""

    async def collect():
        store, commits = Store(), Waits()
        async with rig(tmp_path, commits=commits) as one:
            store.on_write = lambda first, last: one.put()
            one.put()
            status = one.add(store, every="90s")
            await until(lambda: len(store.writes) > 5)
            assert len([rows for _, rows in commits.asked if rows is not None]) >= 5
            assert status.caught_up
            store.on_write = lambda first, last: None
            await one.stored()
        assert store.good == list(range(1, len(store.good) + 1))

    asyncio.run(collect())


def test_rows_that_are_committed_while_the_store_writes_count_as_rows_that_wait(tmp_path):
    async def collect():
        store = Store()
        async with rig(tmp_path) as one:
            loop = asyncio.get_running_loop()

            def meanwhile(first, last):
                one.put()
                asyncio.run_coroutine_threadsafe(one.commits.add(1), loop).result()

            store.on_write = meanwhile
            one.put()
            one.add(store, every="1h", rows=1)
            await until(lambda: len(store.writes) > 5)  # each enough for the next
            store.on_write = lambda first, last: None

    asyncio.run(collect())


def test_a_small_spool_is_stored_early_and_drops_nothing(tmp_path):
    async def collect():
        store = Store()
        async with rig(tmp_path, max_size=2**18) as one:
            one.add(store, every="1h")
            await until(lambda: store.cursors)
            for number in range(1, 301):  # 600 kB
                one.put(number, text=random.Random(number).randbytes(1000).hex())
                await one.commits.add(1)
                await until(lambda: one.spool.size < one.spool.max_size * 3 // 4)
            assert entries(one.spool, "dropped") == []
            assert 2 < len(store.writes) < 30
            await one.end()
        assert store.good == list(range(1, 301))

    asyncio.run(collect())


def test_at_the_end_all_is_stored_before_the_delivery_ends(tmp_path):
    async def collect():
        store = Store()
        async with rig(tmp_path) as one:
            one.add(store, every="1h")
            await until(lambda: store.cursors)
            for _ in range(5):
                one.put()
            await one.end()
        assert store.good == [1, 2, 3, 4, 5]

    asyncio.run(collect())


def test_a_sink_that_fails_at_the_end_keeps_the_agent_from_nothing(tmp_path):
    async def collect():
        store = Store()
        store.faults["write"] = OSError("the store is gone")
        async with rig(tmp_path) as one:
            one.put()
            status = one.add(store)
            await one.end()
            assert status.error == "the store is gone"
            assert one.spool.cursor("store") == 0
        assert store.closed == 1

    asyncio.run(collect())


# --- one sink's faults ---


def test_a_dead_sink_delays_no_other_and_gets_all_once_it_is_back(tmp_path):
    async def collect():
        live, dead = Store(), Store()
        dead.faults["start"] = OSError("connection refused")
        async with rig(tmp_path) as one:
            one.add(live, "live")
            status = one.add(dead, "dead")
            for _ in range(100):
                one.put()
            await until(lambda: one.spool.cursor("live") == 100)
            assert dead.writes == []
            await until(lambda: status.error == "connection refused")
            del dead.faults["start"]
            await one.stored()
            await until(lambda: status.error == "")
        assert live.good == dead.good == list(range(1, 101))

    asyncio.run(collect())


def test_a_dead_store_is_a_line_of_the_log_and_not_one_for_each_try(tmp_path, caplog):
    async def collect():
        store, commits = Store(), Waits()
        store.faults["start"] = OSError("connection refused")
        async with rig(tmp_path, commits=commits) as one:
            one.add(store)
            one.put()
            await until(lambda: store.starts >= 100)
            assert lines() == ["sink store: connection refused; its data waits in the spool"]
            store.faults["start"] = OSError("no route")
            tries = store.starts
            await until(lambda: store.starts >= tries + 100)
            assert lines()[1:] == ["sink store: no route; its data waits in the spool"]
            del store.faults["start"]
            await one.stored()
            store.faults["write"] = OSError("no route")
            one.put()
            await until(lambda: len(lines()) == 3)
            del store.faults["write"]
            await one.stored()

    def lines():
        return [record.getMessage() for record in caplog.records if record.name == "plantproof.agent"]

    asyncio.run(collect())


def test_a_hanging_sink_delays_no_other_and_status_shows_it(tmp_path):
    async def collect():
        live, hanging = Store(), Store()
        hanging.gate.clear()
        async with rig(tmp_path) as one:
            one.put()
            one.add(live, "live")
            status = one.add(hanging, "hanging")
            await until(hanging.at_gate.is_set)
            for _ in range(100):
                one.put()
            await until(lambda: one.spool.cursor("live") == 101)
            began = status.writing_since
            assert status.report(began + HANGS_AFTER_S - 1)["error"] == ""
            assert status.report(began + HANGS_AFTER_S + 1)["error"] == "a write takes 61 s by now; the store hangs"
            hanging.gate.set()
            await one.stored()
            assert status.report(began + 1000)["error"] == ""
        assert live.good == hanging.good == list(range(1, 102))

    asyncio.run(collect())


def test_a_store_that_asks_to_be_left_alone_is_left_alone_so_long(tmp_path):
    async def collect():
        store, commits = Store(), Waits()
        store.faults["write"] = [SinkBusy("429", 7.5), SinkBusy("503", 60.0)]
        async with rig(tmp_path, commits=commits) as one:
            one.put()
            one.add(store)
            await one.stored()
        pauses = [seconds for seconds, rows in commits.asked if rows is None]
        assert pauses == [7.5, 60.0]
        assert store.good == [1]

    asyncio.run(collect())


def test_tries_come_further_and_further_apart_and_soon_again_after_a_success(tmp_path):
    async def collect():
        store, commits = Store(), Waits()
        store.faults["write"] = [OSError("gone")] * 7
        async with rig(tmp_path, commits=commits) as one:
            one.put()
            one.add(store)
            await one.stored()
            store.faults["write"] = [SinkRefused("no such bucket")]
            one.put()
            await one.stored()
        pauses = [seconds for seconds, rows in commits.asked if rows is None]
        assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 0.5]
        assert store.good == [1, 2]
        assert store.starts == 1 + len(pauses)  # the store may have mended itself, or lost something

    asyncio.run(collect())


def test_what_nobody_expected_is_told_once_and_tried_again(tmp_path):
    async def collect():
        store = Store()
        store.faults["write"] = [ZeroDivisionError("a fault of its own")] * 5 + [OSError("gone"), KeyError("other")]
        async with rig(tmp_path, commits=Waits()) as one:
            one.put()
            status = one.add(store)
            await one.stored()
            faults = [entry["reason"] for entry in entries(one.spool, "sink fault")]
            assert faults == ["ZeroDivisionError('a fault of its own')", "KeyError('other')"]
            await until(lambda: status.error == "")
        assert store.good == [1]

    asyncio.run(collect())


def test_a_write_whose_note_failed_is_not_done_again_where_the_store_knows_it(tmp_path, monkeypatch):
    async def collect():
        store = Store()
        async with rig(tmp_path, commits=Waits()) as one:
            for _ in range(3):
                one.put()
            fail_notes(monkeypatch, one.spool, after=1)
            one.add(store)
            await one.stored()
        assert store.good == [1, 2, 3]
        assert store.starts == 2

    asyncio.run(collect())


def test_a_write_whose_note_failed_is_done_again_where_the_store_does_not_know_it(tmp_path, monkeypatch):
    async def collect():
        store = Store(remembers=False)
        async with rig(tmp_path, commits=Waits()) as one:
            one.put()
            fail_notes(monkeypatch, one.spool, after=1)
            one.add(store)
            await one.stored()
        assert store.ranges == [(1, 1), (1, 1)]  # such as InfluxDB, where the second is the first

    asyncio.run(collect())


def test_live_data_whose_note_failed_is_not_stored_twice_beside_a_backlog(tmp_path, monkeypatch):
    async def collect():
        store = Store()
        async with backlog(tmp_path, monkeypatch, 40, commits=Waits()) as one:
            # The first write is of the backlog; then comes what is new, and its note fails.
            store.on_write = lambda first, last: one.put() if first == 1 else None
            fail_notes(monkeypatch, one.spool, after=2)
            one.add(store)
            await one.stored()
        assert store.ranges[1] == (41, 41)
        assert sorted(store.good) == list(range(1, 42))

    asyncio.run(collect())


def fail_notes(monkeypatch, spool, after):
    """Let the spool fail once to note what is stored, after so many notes."""
    advance, calls = spool.advance, itertools.count()

    def failing(sink, *stored):
        if next(calls) == after:
            raise OSError(28, "No space left on device")
        advance(sink, *stored)

    monkeypatch.setattr(spool, "advance", failing)


# --- what a sink wants ---


def test_a_sink_gets_the_points_that_it_asks_for(tmp_path):
    async def collect():
        some, rest = Store(), Store()
        points = [f"line{n}/press.t" for n in range(1, 5)] + ["hall.t"]
        async with rig(tmp_path, points=points) as one:
            for n, point in enumerate(points, 1):
                one.put(n, point)
            one.put(6, "hall.t")
            one.add(some, "some", points=("line*", "hall*"), exclude=("line2/*", "hall.t"))
            one.add(rest, "rest", exclude=("line*",))
            await one.stored()
            await until(lambda: one.statuses["some"].rows == 3)
        assert some.good == [1, 3, 4]
        assert rest.good == [5, 6]

    asyncio.run(collect())


def test_a_sink_that_asks_for_none_of_what_is_there_is_up_to_date_without_a_write(tmp_path):
    async def collect():
        store = Store()
        async with rig(tmp_path) as one:
            one.put()
            one.add(store, points=("other",))
            await one.stored()
        assert store.writes == []

    asyncio.run(collect())


def test_a_sink_takes_no_more_rows_a_second_than_it_may(tmp_path, monkeypatch):
    async def collect():
        store, commits = Store(), Waits()
        async with backlog(tmp_path, monkeypatch, 40, commits=commits) as one:
            one.add(store, max_rate=2)
            await one.stored()
            await until(lambda: any(rows is not None for _, rows in commits.asked))
        pauses = [seconds for seconds, rows in commits.asked if rows is None]
        assert [frame.height for _, _, frame in store.writes] == [2] * 20
        assert pauses == [pytest.approx(1.0, abs=0.5)] * 20  # less what the write itself took

    asyncio.run(collect())


# --- a backlog ---


def size_of_batch():
    return len(encoded(rows([("p", S)], value=1)))


@asynccontextmanager
async def backlog(folder, monkeypatch, batches, **settings):
    """A rig with so many batches, of which a write takes four."""
    monkeypatch.setattr(delivery, "READ_BYTES", 4 * size_of_batch())
    async with rig(folder, **settings) as one:
        for _ in range(batches):
            one.put()
        yield one


def test_a_backlog_takes_as_many_writes_as_it_has_times_what_one_takes(tmp_path, monkeypatch):
    async def collect():
        store = Store()
        async with backlog(tmp_path, monkeypatch, 203) as one:
            one.add(store)
            await one.stored()
        assert len(store.writes) == math.ceil(203 / 4)
        assert store.good == list(range(1, 204))

    asyncio.run(collect())


def test_beside_a_backlog_what_is_new_is_stored_at_once_and_everything_once(tmp_path, monkeypatch):
    async def collect():
        store = Store()
        async with backlog(tmp_path, monkeypatch, 100, commits=Waits()) as one:
            new = itertools.count(101)
            store.on_write = lambda first, last: one.put() if next(new) <= 120 else None
            one.add(store)
            await one.stored()
        old = [r for r in store.ranges if r[0] <= 100]
        live = [r for r in store.ranges if r[0] > 100]
        assert old == [(n, n + 3) for n in range(1, 100, 4)]  # the oldest first
        assert live == sorted(live)
        assert sorted(store.good) == list(range(1, 121))
        assert store.ranges.index(live[0]) == 1
        assert len(live) >= 10  # turns of what is new between those of the backlog

    asyncio.run(collect())


def test_what_is_new_takes_no_turn_before_it_is_due(tmp_path, monkeypatch):
    async def collect():
        store = Store()
        async with backlog(tmp_path, monkeypatch, 100) as one:
            store.on_write = lambda first, last: one.put() if first <= 100 else None
            one.add(store, every="1h")
            await one.stored()
        # One turn at once; then the backlog has all of them.
        assert [r for r in store.ranges if r[0] <= 100] == [(n, n + 3) for n in range(1, 100, 4)]
        assert store.ranges[1][0] == 101
        assert all(first <= 100 for first, _ in store.ranges[2:26])
        assert sorted(store.good) == list(range(1, max(store.good) + 1))

    asyncio.run(collect())


@pytest.mark.parametrize("noted", [True, False])
def test_after_a_death_in_a_backlog_the_rest_is_stored_once(tmp_path, monkeypatch, noted):
    async def collect():
        store = Store()
        async with backlog(tmp_path, monkeypatch, 60, commits=Waits()) as one:
            store.on_write = lambda first, last: one.put()
            if not noted:  # the last writes were done, and the cursor knows nothing of them
                fail_notes(monkeypatch, one.spool, after=6)
            one.add(store)
            await until(lambda: len(store.writes) >= 6)
            await one.kill()
        before = set(store.good)
        assert before != set(range(1, max(before) + 1))  # what is new was there before what is old
        store.on_write = lambda first, last: None
        async with rig(tmp_path) as one:
            one.add(store)
            one.put()
            await one.stored()
        assert sorted(store.good) == list(range(1, max(store.good) + 1))
        assert max(store.good) > 60

    asyncio.run(collect())


def test_housekeeping_has_turns_in_a_backlog_and_its_faults_stop_no_data(tmp_path, monkeypatch):
    async def collect():
        store = Store()
        store.faults["upkeep"] = OSError("no room to merge files")
        async with backlog(tmp_path, monkeypatch, 100) as one:
            status = one.add(store)
            await one.stored()
            await until(lambda: status.upkeep == "no room to merge files")
            await until(lambda: status.error == "")
            assert store.cursors[:3] == [32, 64, 96]
            await until(lambda: status.figures == {"writes": 25})
            del store.faults["upkeep"]
            store.chores = 5
            await until(lambda: store.chores < 1)
            await until(lambda: status.upkeep == "")

    asyncio.run(collect())


def test_housekeeping_goes_on_until_the_next_write_is_due_whatever_is_committed_meanwhile(tmp_path):
    async def collect():
        store = Store()
        async with rig(tmp_path) as one:
            store.chores, chore = 20, store.upkeep

            def upkeep(cursor):
                one.put()
                return chore(cursor)

            store.upkeep = upkeep
            one.put()
            await one.commits.add(1)
            one.add(store, every="1h")
            await until(lambda: store.chores < 1)
            assert len(store.writes) == 1
            await one.end()
        assert store.good == list(range(1, 22))

    asyncio.run(collect())


def test_housekeeping_that_is_not_done_holds_up_nobody_who_waits_for_the_sinks_end(tmp_path):
    async def collect():
        store = Store()
        store.chores = 10**9
        async with rig(tmp_path) as one:
            one.put()
            one.add(store)
            await until(lambda: len(store.cursors) > 3)
            await one.end()

    asyncio.run(collect())


def test_long_texts_make_a_write_shorter(tmp_path, monkeypatch):
    async def collect():
        store = Store()
        monkeypatch.setattr(delivery, "WRITE_TEXTS", 10_000)
        async with rig(tmp_path) as one:
            for _ in range(9):
                one.put(text="x" * 4000)
            one.add(store)
            await one.stored()
        assert store.ranges == [(1, 3), (4, 6), (7, 9)]
        assert store.frame["text"].str.len_bytes().to_list() == [4000] * 9

    asyncio.run(collect())


# --- what was lost ---


def kept(batches):
    """Settings of a spool that keeps about so many batches, each in a segment of its own."""
    size = FILE_HEAD + HEAD + len(encoded(rows([("p11", S)], value=1)))
    return {"segment_size": FILE_HEAD + HEAD, "max_size": (batches + 1) * (size + 50)}


def shares(store, put):
    """The batches that arrived, and those in whose place a gap row stands; each batch has a point of its own."""
    good, lost = Counter(store.good), Counter(store.gap_rows)
    assert set(good.values()) | set(lost.values()) <= {1}, "twice"
    missing = {int(point.removeprefix("p")) for point, _ in lost}
    assert all(ns == int(point.removeprefix("p")) * S for point, ns in lost)
    assert set(good) | missing == set(range(1, put + 1))
    assert set(good) & missing == set()
    return set(good), missing


def test_dropped_batches_arrive_as_gap_rows_and_then_come_those_that_are_left(tmp_path):
    async def collect():
        store = Store()
        store.faults["start"] = OSError("down")
        async with rig(tmp_path, **kept(10)) as one:
            one.add(store)
            for _ in range(50):
                one.put(point="p{}")
            left = one.spool.segments[0].first
            del store.faults["start"]
            await one.stored()
        good, missing = shares(store, 50)
        assert missing == set(range(1, left))
        assert len(good) >= 8
        assert store.writes[0][:2] == (1, left - 1)

    asyncio.run(collect())


def test_a_gap_stands_for_all_that_was_dropped_whatever_was_stored_between(tmp_path):
    async def collect():
        store = Store()
        async with rig(tmp_path, **kept(10)) as one:
            for _ in range(8):
                one.put(point="p{}")
            one.spool.advance("store", (2, 3), (6, 6))  # beside a backlog
            while one.spool.segments[0].first < 8:
                one.put(point="p{}")
            one.add(store)
            await one.stored()
        assert store.gap_rows == [(f"p{n}", n * S) for n in (1, 4, 5, 7)]
        assert store.good == list(range(8, max(store.good) + 1))

    asyncio.run(collect())


def test_a_point_that_lost_many_samples_has_one_gap_row_at_the_first(tmp_path):
    async def collect():
        store = Store()
        async with rig(tmp_path, points=("a", "b"), **kept(4)) as one:
            for n in range(1, 31):
                one.put(n, "ab"[n % 2])
            one.spool.advance("store")
            for n in range(31, 61):
                one.put(n, "ab"[n % 2])
            one.add(store)
            await one.stored()
        first, second = sorted(ns for _, ns in store.gap_rows)
        assert {point for point, _ in store.gap_rows} == {"a", "b"}
        assert second == first + S
        assert store.good == list(range(store.good[0], 61))

    asyncio.run(collect())


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_dropped_while_it_is_being_written_is_neither_lost_nor_doubled(tmp_path, fails):
    async def collect():
        store = Store()
        store.gate.clear()
        async with rig(tmp_path, commits=Waits(), **kept(10)) as one:
            for _ in range(5):
                one.put(point="p{}")
            one.add(store)
            await until(store.at_gate.is_set)
            for _ in range(10):
                one.put(point="p{}")
            if fails:
                store.faults["write"] = OSError("gone")
                store.gate.set()
                await until(lambda: store.starts >= 3)
            for _ in range(30):  # what is being written is dropped, and more
                one.put(point="p{}")
            store.faults.clear()
            store.gate.set()
            await one.stored()
            good, missing = shares(store, one.spool.last)
            assert {1, 2, 3, 4, 5} <= good
            assert missing

    asyncio.run(collect())


def test_a_gap_that_grows_while_it_is_being_written_is_not_doubled(tmp_path):
    async def collect():
        store = Store()
        store.gate.clear()
        async with rig(tmp_path, **kept(5)) as one:
            one.spool.advance("store")
            for _ in range(20):
                one.put(point="p{}")
            one.add(store)
            await until(store.at_gate.is_set)  # the gap is being written
            for _ in range(20):
                one.put(point="p{}")
            store.gate.set()
            await one.stored()
            _, missing = shares(store, 40)
            assert missing >= set(range(1, 30))

    asyncio.run(collect())


def test_what_is_dropped_right_before_it_is_read_is_a_gap_of_its_own_points(tmp_path, monkeypatch):
    async def collect():
        store, drops = Store(), iter(range(1))
        async with rig(tmp_path, **kept(10)) as one:
            for _ in range(5):
                one.put(point="p{}")
            gap = one.spool.gap

            def followed_by_drops(sink):
                found = gap(sink)
                for _ in drops:
                    for _ in range(30):
                        one.disk.submit(one._put, None, "p{}", None)
                return found

            monkeypatch.setattr(one.spool, "gap", followed_by_drops)
            one.add(store)
            await until(lambda: one.spool.last == 35)
            await one.stored()
            _, missing = shares(store, 35)
            assert missing

    asyncio.run(collect())


@pytest.mark.parametrize("seed", range(cases(3)))
def test_however_puts_drops_and_deaths_of_the_sink_fall_together_nothing_is_lost_untold(tmp_path, seed):
    async def collect():
        rng = random.Random(seed)
        store = Store()

        def fault(first, last):
            if rng.random() < 0.3:
                for _ in range(rng.randrange(8)):
                    one.put(point="p{}")
            if rng.random() < 0.3:
                store.faults["write"] = [OSError("gone")] * rng.randrange(1, 3)
            elif rng.random() < 0.3:
                store.faults["after write"] = [OSError("no answer")]

        async with rig(tmp_path, commits=Waits(), **kept(6)) as one:
            one.spool.advance("store")
            store.on_write = fault
            one.add(store)
            while one.spool.last < 150:
                one.put(point="p{}")
                await asyncio.sleep(0)
            store.on_write = lambda first, last: None
            await one.stored()
            shares(store, one.spool.last)

    asyncio.run(collect())


def damage(spool, *numbers):
    """Flip a bit in each of these batches."""
    for number in numbers:
        for segment in spool.path.glob("segment-*.log"):
            data = bytearray(segment.read_bytes())
            mark = b"\xf3PB\xf4"
            at = -1
            while (at := data.find(mark, at + 1)) >= 0:
                if int.from_bytes(data[at + 8 : at + 16], "little") == number:
                    data[at + HEAD + 5] ^= 1
            segment.write_bytes(data)


def test_in_place_of_a_damaged_batch_every_point_is_unknown_from_the_last_sample_before_it(tmp_path):
    async def collect():
        store = Store()
        async with rig(tmp_path, points=("a", "b")) as one:
            for n in range(1, 9):
                one.put(n, "a")
            damage(one.spool, 3, 6, 7)
            one.add(store)
            await one.stored()
            told = [(entry["first"], entry["last"]) for entry in entries(one.spool, "quarantined")]
        assert store.good == [1, 2, 4, 5, 8]
        assert store.gap_rows == [(point, n * S + 1) for point in "ab" for n in (2, 5)]
        assert told == [(3, 3), (6, 6), (7, 7)]

    asyncio.run(collect())


def test_a_damaged_batch_in_a_backlog_is_unknown_then_and_not_now(tmp_path, monkeypatch):
    async def collect():
        store = Store()
        async with backlog(tmp_path, monkeypatch, 100, commits=Waits()) as one:
            damage(one.spool, 49)  # the first of a write: the one before it was of what is new
            store.on_write = lambda first, last: one.put() if first <= 100 else None
            one.add(store)
            await one.stored()
        assert store.gap_rows == [("p", 48 * S + 1)]

    asyncio.run(collect())


def test_where_nothing_is_known_before_a_damaged_batch_it_ends_with_the_first_after_it(tmp_path):
    async def collect():
        store = Store()
        async with rig(tmp_path) as one:
            for _ in range(3):
                one.put()
            damage(one.spool, 1)
            one.add(store)
            await one.stored()
        assert store.gap_rows == [("p", 2 * S - 1)]
        assert store.good == [2, 3]

    asyncio.run(collect())


def test_a_batch_that_is_whole_and_holds_no_samples_is_a_hole_too(tmp_path):
    async def collect():
        store = Store()
        async with rig(tmp_path) as one:
            one.put()
            one.disk.submit(one.spool.put, b"no frame", 1).result()
            one.put()
            one.add(store)
            await one.stored()
            told = [(entry["first"], entry["sink"]) for entry in entries(one.spool, "quarantined")]
        assert store.good == [1, 3]
        assert store.gap_rows == [("p", S + 1)]
        assert told == [(2, "store")]

    asyncio.run(collect())


def test_a_disk_that_cannot_be_read_now_holds_the_sink_up_and_costs_nothing(tmp_path, monkeypatch):
    async def collect():
        store = Store()
        async with rig(tmp_path, commits=Waits()) as one:
            for _ in range(5):
                one.put()
            read, failures = one.spool.read, iter(range(3))

            def failing(*arguments, **more):
                if next(failures, None) is not None:
                    raise OSError(5, "Input/output error")
                return read(*arguments, **more)

            monkeypatch.setattr(one.spool, "read", failing)
            one.add(store)
            await one.stored()
        assert store.good == [1, 2, 3, 4, 5]

    asyncio.run(collect())

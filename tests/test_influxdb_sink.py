"""The InfluxDB sink against a server that answers what a test says, and against the real influxd 1.6."""

import base64
import contextlib
import datetime as dt
import email.utils
import logging
import math
import ssl
import subprocess
import sys
import tempfile
import threading
import zlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.ledger import Ledger, read_ledger
from collector.quarantine import Quarantine, read_quarantine
from collector.sinks import influx_http, influxdb
from collector.sinks.base import SinkBusy, SinkRefused
from collector.sinks.influxdb import Sink
from config.plant import Asset, Plant, Point
from config.plant import Sink as SinkConfig
from tests.certificates import leaf
from tests.influx_peers import Asked, Store, drip, fake, hang, influxd, ready, reply, reset, translated
from tests.soak import cases
from tests.test_line_protocol import BAD, frame

APIS = ("v1", "v2", "v3")
SECRET = "s3cr3t-that-nobody-reads"
BEGAN = 1_790_000_000_000_000_000
POINTS = [f"line1/press{n}.total" for n in range(10)]


class Bench:
    """A sink with a quarantine and a ledger of its own."""

    def __init__(self, folder, url, api, **keys):
        self.folder = folder
        self.ledger = Ledger(folder / "ledger.jsonl")
        own = {
            "v1": {"database": "plant", "user": "agent", "password": SECRET},
            "v2": {"org": "works", "bucket": "plant", "token": SECRET},
            "v3": {"database": "plant", "token": SECRET},
        }[api]
        config = SinkConfig(**{"kind": "influxdb", "id": "influx", "url": url, "api": api, **own, **keys})
        plant = Plant(
            id="jn1",
            root=folder,
            assets=(Asset(asset="line1/press"),),
            points=tuple(Point(point=point, asset="line1/press") for point in POINTS),
        )
        quarantine = Quarantine(folder / "quarantine", self.ledger)
        self.sink = Sink(config, plant, agent="gw1", spool="0" * 32, ledger=self.ledger, quarantine=quarantine)

    def start(self):
        assert self.sink.start(((0, 4),)) == ((0, 4),)
        return self.sink

    @property
    def quarantined(self):
        return {entry["payload"].decode(): entry for entry in read_quarantine(self.folder / "quarantine")}

    @property
    def entries(self):
        return list(read_ledger(self.folder / "ledger.jsonl"))


@pytest.fixture
def bench(tmp_path):
    made = []

    def make(url, api, **keys):
        made.append(Bench(tmp_path, url, api, **keys))
        return made[-1]

    yield make
    for one in made:
        one.sink.close()
        one.sink.close()


def samples(count, began=BEGAN):
    """Return rows of ten points in turn, a millisecond apart, whose value is their number."""
    return frame([(POINTS[n % 10], began + n * 10**6, began, float(n), None, 0) for n in range(count)])


def value_of(line):
    return int(float(line.partition("value=")[2].partition(",")[0].partition(" ")[0]))


def values(lines):
    return sorted(value_of(line) for line in lines)


@pytest.mark.parametrize("api", APIS)
def test_rows_are_written_to_the_apis_place_gzipped_and_with_its_credentials(bench, api):
    with fake(Store(api)) as server:
        one = bench(server.url, api)
        one.start().write(samples(100), 0, 3)
        assert values(server.answer.stored) == list(range(100))
        (asked,) = server.writes
        assert asked.method == "POST"
        assert asked.headers["content-encoding"] == "gzip"
        assert asked.headers["content-type"].startswith("text/plain")
        assert (
            asked.query
            == {
                "v1": {"db": "plant", "precision": "ns"},
                "v2": {"org": "works", "bucket": "plant", "precision": "ns"},
                "v3": {"db": "plant", "precision": "nanosecond"},
            }[api]
        )
        basic = base64.b64encode(f"agent:{SECRET}".encode()).decode()
        expected = {"v1": f"Basic {basic}", "v2": f"Token {SECRET}", "v3": f"Bearer {SECRET}"}[api]
        assert {one.headers["authorization"] for one in server.asked} == {expected}
        figures = one.sink.figures()
        assert figures["sent_rows"] == 100
        assert figures["sent_bytes"] >= len(asked.body)
        assert one.sink.upkeep(3) is False


def test_requests_are_bounded_in_lines_and_text(bench):
    rows = [(POINTS[0], BEGAN + n, BEGAN, None, "x" * 1_000_000, 0) for n in range(9)]
    with fake(Store("v1")) as server:
        one = bench(server.url, "v1")
        one.start().write(samples(influxdb.LINES * 2 + 1), 0, 0)
        assert [len(asked.lines) for asked in server.writes] == [20_000, 20_000, 1]
        one.sink.write(frame(rows), 1, 1)
        sizes = [len(asked.text) for asked in server.writes[3:]]
        assert sum(len(asked.lines) for asked in server.writes[3:]) == 9
        assert max(sizes) <= influxdb.TEXT


# Row 23: the store refuses some lines.


def bad_every(step):
    return lambda line: "invalid number" if value_of(line) % step == 3 else ""


@pytest.mark.parametrize("words", ["named", "counted", "silent", "first"])
@pytest.mark.parametrize("api", APIS)
def test_bad_lines_go_to_the_quarantine_and_all_others_are_stored(bench, api, words):
    store = Store(api, bad_every(500), words=words)
    with fake(store) as server:
        one = bench(server.url, api)
        one.start().write(samples(2_000), 0, 3)
        bad = [3, 503, 1003, 1503]
        assert set(values(store.stored)) == set(range(2_000)) - set(bad)
        assert values(one.quarantined) == bad
        entry = next(entry for line, entry in one.quarantined.items() if value_of(line) == 503)
        assert entry["source"] == "influx"
        assert entry["topic"] == POINTS[3]
        assert ("no" if words == "silent" else "invalid number") in entry["reason"]
        assert one.sink.figures()["refused_rows"] == 4
        (noted,) = one.entries
        assert (noted["event"], noted["sink"], noted["rows"]) == ("quarantined", "influx", 4)
        # Four lines by halving 2,000 take some 80 requests, by name a few.
        assert len(server.writes) <= {"named": 3, "first": 12}.get(words, 100)


@pytest.mark.parametrize("api", APIS)
def test_a_single_bad_line_of_a_sink_that_works_is_quarantined_alone(bench, api):
    store = Store(api, bad_every(10_000), words="silent")
    with fake(store) as server:
        one = bench(server.url, api)
        one.start().write(samples(3), 0, 0)
        one.sink.write(samples(4)[3:], 1, 1)
        assert values(one.quarantined) == [3]
        assert set(values(store.stored)) == {0, 1, 2}


@pytest.mark.parametrize("api", APIS)
def test_a_server_that_refuses_everything_without_a_word_of_lines_gets_the_data_later(bench, api):
    with fake(
        lambda asked: reply(400, "<html>Bad Request</html>") if "write" in asked.path else ready(asked)
    ) as server:
        one = bench(server.url, api)
        one.start()
        with pytest.raises(SinkRefused, match=r"it refuses every line so far: Bad Request; check url"):
            one.sink.write(samples(50), 0, 3)
        assert one.quarantined == {}
        server.answer = store = Store(api)
        one.start().write(samples(50), 0, 3)
        assert set(values(store.stored)) == set(range(50))
        server.answer = lambda asked: reply(400, "no") if "write" in asked.path else ready(asked)
        with pytest.raises(SinkRefused, match="it refuses every line so far"):
            one.sink.write(samples(5, BEGAN + 10**12), 4, 4)
        assert one.quarantined == {}


def test_lines_that_are_all_refused_for_one_reason_take_one_request(bench):
    conflict = 'field type conflict: input field "value" on measurement "samples" is type float'
    store = Store("v1", lambda line: conflict if "value=" in line else "", words="counted")
    mixed = samples(20_000, BEGAN + 10**12).with_columns(value=pl.when(pl.col("value") % 2 == 0).then("value"))
    with fake(store) as server:
        one = bench(server.url, "v1")
        one.start().write(samples(5_000), 0, 3)
        assert len(server.writes) == 1
        assert len(one.quarantined) == 5_000
        assert conflict in next(iter(one.quarantined.values()))["reason"]
        # Every second line holds the field: the first answer counts them, the words say which they are.
        one.sink.write(mixed, 4, 4)
        assert len(server.writes) == 4
        assert len(one.quarantined) == 15_000
        assert len(set(store.stored)) == 10_000


@pytest.mark.parametrize("words", ["counted", "silent", "first"])
def test_looking_for_very_many_bad_lines_ends(bench, words, monkeypatch):
    monkeypatch.setattr(influxdb, "LOOKS", 200)
    store = Store("v2", bad_every(5), words=words)
    with fake(store) as server:
        one = bench(server.url, "v2")
        one.start()
        if words == "counted":  # the server wrote the others itself: what stays unknown is kept with its neighbours
            one.sink.write(samples(4_000), 0, 3)
            assert {n for n in range(4_000) if n % 5 == 3} <= set(values(one.quarantined))
            assert set(values(store.stored)) == {n for n in range(4_000) if n % 5 != 3}
        else:
            with pytest.raises(SinkRefused, match=r"did not find what it refuses"):
                one.sink.write(samples(4_000), 0, 3)
            assert one.quarantined == {}
        assert len(server.writes) <= 3 * influxdb.LOOKS


def test_samples_beyond_the_retention_are_counted_in_the_ledger(bench):
    old = "points beyond retention policy"
    store = Store("v1", lambda line: old if value_of(line) < 700 else "", words="counted")
    with fake(store) as server:
        one = bench(server.url, "v1")
        one.start().write(samples(2_000), 0, 3)
        assert len(server.writes) == 3
        assert one.quarantined == {}
        assert set(values(store.stored)) == set(range(700, 2_000))
        (entry,) = one.entries
        assert (entry["event"], entry["sink"], entry["rows"]) == ("not stored", "influx", 700)
        assert (entry["first_ns"], entry["last_ns"]) == (BEGAN, BEGAN + 699 * 10**6)
        assert one.sink.figures()["expired_rows"] == 700


@pytest.mark.parametrize("api", APIS)
def test_a_request_too_large_is_split_and_later_ones_are_small_at_once(bench, api):
    store = Store(api, most=20_000)
    with fake(store) as server:
        one = bench(server.url, api)
        one.start().write(samples(1_000), 0, 3)
        assert values(store.stored) == list(range(1_000))
        before = len(server.writes)
        one.sink.write(samples(1_000, BEGAN + 10**12), 4, 4)
        assert sorted(set(values(store.stored))) == list(range(1_000))
        assert all(len(asked.text) <= 20_000 for asked in server.writes[before:])


@pytest.mark.parametrize("api", APIS)
def test_a_single_line_too_large_goes_to_the_quarantine_cut(bench, api):
    rows = [(POINTS[0], BEGAN + n, BEGAN, None, "x" * (200_000 if n == 5 else 10), BAD) for n in range(10)]
    store = Store(api, most=100_000)
    with fake(store) as server:
        one = bench(server.url, api)
        one.start().write(frame(rows), 0, 3)
        assert len(store.stored) == 9
        ((line, entry),) = one.quarantined.items()
        assert entry["size"] > 200_000 > 65_536 == len(line)
        assert "Too Large (413)" in entry["reason"]
        assert len(server.writes) < 10


class Direct:
    """A store that is asked without a socket, and fails at some of the requests."""

    hint = ""

    def __init__(self, store, fails):
        self.store, self.fails, self.count = store, fails, 0

    def ready(self):
        pass

    def write(self, body):
        self.count += 1
        if self.count % 37 in self.fails:
            if self.count % 2:
                raise OSError("no answer")
            self.store(Asked("POST", "/write", {"precision": "ns"}, {"content-encoding": "gzip"}, body))
            raise TimeoutError("no answer in time")
        head, _, data = self.store(
            Asked("POST", "/write", {"precision": "ns"}, {"content-encoding": "gzip"}, body)
        ).partition(b"\r\n\r\n")
        return influx_http.Reply(int(head.split()[1]), "", {}, data)


@settings(max_examples=cases(30), deadline=None)
@given(
    count=st.integers(1, 150),
    bad=st.sets(st.integers(0, 149)) | st.just(set(range(150))),
    words=st.sampled_from(["named", "counted", "silent", "first"]),
    most=st.sampled_from([500, 3_000, 2**62]),
    fails=st.sets(st.integers(0, 36), max_size=8),
    lines=st.sampled_from([7, 60, 20_000]),
)
def test_every_line_is_stored_or_quarantined_once_whatever_happens(count, bad, words, most, fails, lines):
    bad = {n for n in bad if n < count}
    store = Store("v1", lambda line: "invalid" if value_of(line) in bad else "", words=words, most=most)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(influxdb, "LINES", lines)
        one = Bench(Path(folder), "http://127.0.0.1:1", "v1")
        one.sink._api = Direct(store, fails)
        writing = [(samples(1, BEGAN - 10**12).with_columns(value=pl.lit(1e6)), 0), (samples(count), 1)]
        for _ in range(2_000):
            try:
                one.sink.write(*writing[0], writing[0][1])
            except OSError:
                continue
            writing.pop(0)
            if not writing:
                break
        assert writing == []
        assert set(values(store.stored)) == set(range(count)) - bad | {1_000_000}
        kept = values(entry["payload"].decode() for entry in read_quarantine(one.folder / "quarantine"))
        assert kept == sorted(bad)


@pytest.mark.parametrize("api", APIS)
def test_a_server_that_refuses_a_body_before_it_has_read_it_is_understood(bench, api):
    store = Store(api)
    digits = np.random.default_rng(1).bytes(1_500_000).hex()
    rows = frame([(POINTS[0], BEGAN + n, BEGAN, None, digits[n::9], BAD) for n in range(9)])
    with fake(store) as server:
        one = bench(server.url, api)
        one.start()
        server.unread = reply(413, '{"error":"too large"}')
        with pytest.raises(SinkRefused, match=r"it refuses every line so far: too large \(413\)"):
            one.sink.write(rows, 0, 0)
        server.unread = b""
        one.start().write(rows, 0, 0)
        assert len(set(store.stored)) == 9


@pytest.mark.parametrize("api", APIS)
def test_a_connection_that_ends_just_as_the_next_request_comes_is_made_anew_and_the_rows_come_once(bench, api):
    store = Store(api)
    with fake(store) as server:
        one = bench(server.url, api)
        one.start()  # leaves its connection open
        fates = iter(["ends unanswered"])
        server.answer = lambda asked: (lambda client: None) if next(fates, None) else store(asked)
        one.sink.write(samples(5), 0, 0)
        assert values(store.stored) == list(range(5))
        assert one.quarantined == {}


# Row 24: the store cannot be written to now.


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("status", [401, 403, 404, 405, 418])
def test_denied_access_keeps_the_data_and_says_the_next_step(bench, api, status):
    store = Store(api)
    with fake(store) as server:
        one = bench(server.url, api)
        one.start()
        server.answer = lambda asked: reply(status, f'{{"error":"no way, {SECRET}","message":"no way, {SECRET}"}}')
        with pytest.raises(SinkRefused, match=rf"InfluxDB at {server.url}: no way, \*\*\* \({status}\); check"):
            one.sink.write(samples(5), 0, 0)
        server.answer = store
        one.start().write(samples(5), 0, 0)
        assert values(store.stored) == list(range(5))
        assert one.quarantined == {}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("status", [401, 403])
def test_a_start_that_is_denied_says_so(bench, api, status):
    with fake(lambda asked: reply(status, '{"error":"unauthorized","message":"unauthorized"}')) as server:
        what = {"v1": "user and password", "v2": "token", "v3": "token"}[api]
        with pytest.raises(SinkRefused, match=rf"unauthorized \({status}\); check the sink's {what}"):
            bench(server.url, api).start()


HTTP_DATE = email.utils.format_datetime(dt.datetime(2026, 11, 21, 12, 0, 40, tzinfo=dt.UTC), usegmt=True)
NOW = email.utils.format_datetime(dt.datetime(2026, 11, 21, 12, 0, 0, tzinfo=dt.UTC), usegmt=True)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry_After": "7"}, 7.0),
        ({"Retry_After": "0"}, 0.0),
        ({"Retry_After": HTTP_DATE, "Date": NOW}, 40.0),  # by the server's clock, whatever ours says
        ({"Retry_After": NOW, "Date": HTTP_DATE}, 0.0),
        ({"Retry_After": "99999999"}, influx_http.MOST_WAIT_S),
        ({"Retry_After": "Fri, 31 Dec 9999 23:59:59 GMT"}, influx_http.MOST_WAIT_S),
        ({"Retry_After": "soon"}, influx_http.WAIT_S),
        ({"Retry_After": "-5"}, influx_http.WAIT_S),
        ({"Retry_After": "\u00e9\u00e9"}, influx_http.WAIT_S),
        ({}, influx_http.WAIT_S),
    ],
)
def test_a_busy_server_is_left_alone_as_long_as_it_says(bench, status, headers, wait):
    store = Store("v1")
    with fake(store) as server:
        one = bench(server.url, "v1")
        one.start()
        server.answer = lambda asked: reply(status, '{"error":"slow down"}', **headers)
        with pytest.raises(SinkBusy, match="slow down") as caught:
            one.sink.write(samples(5), 0, 0)
        assert caught.value.retry_after == wait
        server.answer = store
        one.sink.write(samples(5), 0, 0)
        assert values(store.stored) == list(range(5))
        assert one.sink.figures()["retries"] == 1


@pytest.mark.parametrize("api", APIS)
def test_every_api_tells_busy_from_broken(bench, api):
    with fake(Store(api)) as server:
        one = bench(server.url, api)
        one.start()
        server.answer = lambda asked: reply(429, "", Retry_After="3")
        with pytest.raises(SinkBusy) as caught:
            one.sink.write(samples(5), 0, 0)
        assert caught.value.retry_after == 3


@contextlib.contextmanager
def hasty(sink):
    """Let requests take 0.3 s at most, where the server is not to answer."""
    before, sink._http._timeout = sink._http._timeout, 0.3
    yield
    sink._http._timeout = before


def page(status):
    return reply(status, "<html><body>" + "Please log in. " * 20 + "</body></html>", Content_Type="text/html")


BROKEN = {
    "500": (lambda asked: reply(500, '{"error":"timeout"}'), "timeout"),
    "502": (lambda asked: page(502), "Please log in"),
    "507": (lambda asked: reply(507), "507"),
    "408": (lambda asked: reply(408), "408"),
    "hang": (lambda asked: hang, "no whole answer within 0.3 s"),
    "closed": (lambda asked: lambda client: None, "no answer"),
    "reset": (lambda asked: reset(), "no answer"),
    "reset after the answer": (lambda asked: reset(reply(204)[:12]), "no answer"),
    "half an answer": (lambda asked: lambda client: client.sendall(reply(500, "x" * 99)[:-50]), "no answer"),
    "garbage": (lambda asked: lambda client: client.sendall(b"\x00\xff\x16\x03" * 99 + b"\r\n"), "no answer"),
    "two lengths": (lambda asked: b"HTTP/1.1 500 x\r\nContent-Length: 3, 4\r\n\r\nabcd", "no answer|500"),
    "endless headers": (
        lambda asked: lambda client: client.sendall(b"HTTP/1.1 204 x\r\n" + b"a: b\r\n" * 999),
        "no answer",
    ),
    "a dripping head": (lambda asked: drip(b"HTTP/1.1 204 x\r\nA: b", 0.05), "no whole answer within 0.3 s"),
    "a dripping body": (lambda asked: drip(b"HTTP/1.1 500 x\r\n\r\nx", 0.02), "no whole answer within"),
}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("fault", BROKEN)
def test_what_may_pass_keeps_the_data_and_the_same_rows_come_again(bench, api, fault):
    answer, words = BROKEN[fault]
    store = Store(api)
    with fake(store) as server:
        one = bench(server.url, api)
        one.start()
        server.answer = answer
        with hasty(one.sink), pytest.raises(OSError, match=words):
            one.sink.write(samples(5), 0, 0)
        server.answer = store
        one.start().write(samples(5), 0, 1)
        assert values(store.stored) == list(range(5))
        assert one.quarantined == {}


def test_a_reset_after_the_rows_were_taken_writes_the_same_points_again(bench):
    store = Store("v1")
    with fake(store) as server:
        one = bench(server.url, "v1")
        one.start()

        def taken_and_reset(asked):
            store(asked)
            return reset()

        server.answer = taken_and_reset
        with pytest.raises(OSError, match="no answer"):
            one.sink.write(samples(50), 0, 0)
        server.answer = store
        one.sink.write(samples(50), 0, 0)
        assert len(store.stored) == 150  # on the connection that stood, on a new one, and when the sink was asked again
        assert len(set(store.stored)) == 50


def test_a_frame_goes_on_where_it_stood_after_a_fault(bench, monkeypatch):
    monkeypatch.setattr(influxdb, "LINES", 10)
    store = Store("v1", bad_every(1000))
    with fake(store) as server:
        one = bench(server.url, "v1")
        one.start()
        server.answer = lambda asked: store(asked) if len(server.writes) <= 5 else reply(500)
        with pytest.raises(OSError, match="500"):
            one.sink.write(samples(100), 0, 3)
        server.answer = store
        one.start().write(samples(100), 0, 3)
        assert set(values(store.stored)) == set(range(100)) - {3}
        # Nothing that was acknowledged is sent again: only the nine beside the refused line were, to be sure of them.
        assert len(store.stored) == 99 + 9
        assert values(entry["payload"].decode() for entry in read_quarantine(one.folder / "quarantine")) == [3]


def test_requests_shrink_while_none_gets_through_and_keep_what_did(bench):
    rows = frame([(POINTS[0], BEGAN + n, BEGAN, None, "x" * 10_000, BAD) for n in range(200)])
    store = Store("v1")
    with fake(store) as server:
        one = bench(server.url, "v1")
        one.start()
        # As on a slow line: what has more than 70 kB does not arrive in time.
        server.answer = lambda asked: store(asked) if len(asked.text) < 70_000 else reset()
        faults = 0
        while True:
            try:
                one.sink.write(rows, 0, 0)
                break
            except OSError:
                faults += 1
        assert faults <= 15  # six to come down from 4 MB to 64 kB, then one now and then
        assert len(store.stored) == 200
        assert len(set(store.stored)) == 200


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_told_and_never_followed_with_credentials(bench, api, status):
    with fake(Store(api)) as elsewhere, fake(Store(api)) as server:
        one = bench(server.url, api)
        one.start()
        server.answer = lambda asked: reply(status, "", Location=elsewhere.url + asked.path)
        with pytest.raises(SinkRefused, match=rf"points to {elsewhere.url}.*not followed"):
            one.sink.write(samples(5), 0, 0)
        with pytest.raises(SinkRefused, match="not followed"):
            one.start()
        assert elsewhere.asked == []


@pytest.mark.parametrize("api", APIS)
def test_a_login_page_is_no_acknowledgement(bench, api):
    with fake(Store(api)) as server:
        one = bench(server.url, api)
        one.start()
        server.answer = lambda asked: page(200)
        with pytest.raises(SinkRefused, match="no answer of InfluxDB"):
            one.sink.write(samples(5), 0, 0)
        with pytest.raises(SinkRefused, match="no answer of InfluxDB"):
            one.start()


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    "answer",
    [
        reply(200, "[]"),
        reply(200, "null"),
        reply(200, '{"results":[]}'),
        reply(200, '{"results":7,"buckets":7}'),
        reply(200, "[" * 60),
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00{",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_answers_that_cannot_be_read_stop_no_start(bench, api, answer):
    with fake(lambda asked: answer) as server:
        one = bench(server.url, api)
        if api == "v3":  # its health check is a word
            one.start()
        else:
            with pytest.raises(SinkRefused, match="is no"):
                one.start()


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        '{"error": 5, "message": []}',
        '{"error": "partial write: dropped=99999"}',
        '{"error": "unable to parse \'", "data": [{"line_number": 99, "original_line": "x"}]}',
        '{"error": "x", "data": [{"line_number": 1, "original_line": "another"}]}',
        '{"error": "x", "data": [{"line_number": 1, "original_line": "samples"}, 5]}',
        "{\"error\": \"unable to parse 'samples': x\\nunable to parse 'y': z\"}",
        '{"error": "partial write: field type conflict: input field \\"value\\" x dropped=21"}',
        '{"error": "partial write: points beyond retention policy dropped=21"}',
    ],
)
def test_words_that_make_no_sense_are_found_out_by_halving(bench, api, body):
    store = Store(api, lambda line: "bad" if value_of(line) == 3 else "")

    def answer(asked):
        given_reply = store(asked)
        return given_reply if given_reply.startswith(b"HTTP/1.1 2") else reply(400, body)

    with fake(answer) as server:
        one = bench(server.url, api)
        one.start().write(samples(20), 0, 0)
        assert values(one.quarantined) == [3]
        assert set(values(store.stored)) == set(range(20)) - {3}


def test_nobody_is_reached_at_a_closed_port(bench):
    with fake(Store("v1")) as server:
        one = bench(server.url, "v1")
    with pytest.raises(OSError, match="no answer"):
        one.start()


@pytest.mark.parametrize("api", APIS)
def test_secrets_stand_in_no_error_and_no_log(bench, api, caplog):
    caplog.set_level(logging.DEBUG)
    told = []
    with fake(Store(api)) as server:
        one = bench(server.url, api)
        one.start()
        echo = f'{{"error":"{SECRET}","message":"{SECRET}"}}'
        answers = [reply(status, echo) for status in (200, 302, 400, 401, 404, 413, 500, 503)]
        answers += [hang, reset(), f"{SECRET}\r\n\r\n".encode(), reply(302, "", Location=f"http://x/{SECRET}")]
        for answer in answers:
            server.answer = lambda asked, answer=answer: answer
            for call in (lambda: one.sink.write(samples(1), 0, 0), one.start):
                with hasty(one.sink), pytest.raises((OSError, SinkRefused)) as caught:
                    call()
                error = caught.value
                while error is not None:
                    told.append(f"{error!r} {error}")
                    error = error.__cause__
        server.answer = Store(api, bad_every(5), words="silent")
        one.start().write(samples(4), 7, 7)
        told += [entry["reason"] for entry in one.quarantined.values()]
    hidden = base64.b64encode(f"agent:{SECRET}".encode()).decode()
    assert len(told) > 20
    assert SECRET not in "".join(told) + caplog.text
    assert hidden not in "".join(told) + caplog.text


# Starts.


def test_v2_names_a_missing_bucket_and_organization(bench):
    def without(asked):
        found = ready(asked, bucket="another")
        return reply(404, '{"message":"bucket not found"}') if "write" in asked.path else found

    with fake(without) as server:
        with pytest.raises(SinkRefused, match=r"organization works has no bucket plant.*influx bucket create"):
            bench(server.url, "v2").start()
        with pytest.raises(
            SinkRefused, match=r'organization nobody: organization name "x" not found \(404\); check org'
        ):
            bench(server.url, "v2", org="nobody").start()


def test_v2_tokens_that_may_only_write_see_no_bucket_and_are_tried(bench):
    answers = lambda asked: reply(204) if "write" in asked.path else ready(asked, bucket="another")  # noqa: E731
    with fake(answers) as server:
        bench(server.url, "v2").start()
        assert zlib.decompress(server.asked[-1].body, 31).startswith(b"#")


def test_v1_makes_its_database_and_asks_for_its_retention_policy(bench):
    with fake(lambda asked: reply(200, '{"results":[{"series":[{"values":[["a"]]}]}]}')) as server:
        with pytest.raises(SinkRefused, match='database pl"ant has no retention policy year; create it'):
            bench(server.url, "v1", database='pl"ant', retention_policy="year").start()
        assert [asked.text for asked in server.asked] == [
            "q=SHOW+DATABASES",
            "q=CREATE+DATABASE+%22pl%5C%22ant%22",
            "q=SHOW+RETENTION+POLICIES+ON+%22pl%5C%22ant%22",
        ]


def test_a_url_may_have_a_path(bench):
    seen = []

    def answer(asked):
        seen.append(asked.path)
        return ready(asked) if asked.path.endswith("query") else reply(204)

    with fake(lambda asked: answer(asked) if asked.path != "/influx/query" else ready_at(asked)) as server:
        one = bench(server.url + "/influx/", "v1")
        one.start().write(samples(1), 0, 0)
        assert [asked.path for asked in server.asked] == ["/influx/query", "/influx/write"]


def ready_at(asked):
    return reply(200, '{"results":[{"series":[{"values":[["plant"]]}]}]}')


# TLS.

SERVER = leaf("influxdb")


@pytest.mark.parametrize("api", APIS)
def test_only_a_trusted_certificate_is_written_to(bench, api, tmp_path):
    certificate, key = SERVER.stored(tmp_path, "server")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with fake(Store(api), tls) as server:
        one = bench(server.url, api, ca=certificate)
        one.start().write(samples(3), 0, 0)
        assert values(server.answer.stored) == [0, 1, 2]
        before = len(server.asked)
        with pytest.raises(SinkRefused, match=r"certificate is not trusted.*ca file"):
            bench(server.url, api).start()
        with pytest.raises(SinkRefused, match="certificate is not trusted"):
            bench(server.url.replace("127.0.0.1", "localhost"), api, ca=certificate).start()
        with pytest.raises(SinkRefused, match=r"ca .*none\.pem cannot be read"):
            bench(server.url, api, ca="none.pem").start()
        assert len(server.asked) == before


# The real server.


def stored(server, database="plant"):
    series = server.query("SELECT value FROM samples GROUP BY point", database)
    return sorted(int(value) for one in series for _, value in one["values"])


@pytest.mark.service
@pytest.mark.parametrize("api", APIS)
def test_the_real_server_has_every_row_once(bench, tmp_path, api):
    with influxd(tmp_path) as real, fake(translated(real)) as front:
        url = real.url if api == "v1" else front.url
        if api != "v1":
            real.query("CREATE DATABASE plant")
        one = bench(url, api)
        one.start().write(samples(30_000), 0, 3)
        one.sink.write(samples(30_000), 4, 7)  # as after a crash
        assert stored(real) == list(range(30_000))


@pytest.mark.service
@pytest.mark.parametrize("api", APIS)
def test_the_real_server_refuses_single_lines_and_keeps_the_rest(bench, tmp_path, api):
    beyond = [(POINTS[0], 2**63 - 1, BEGAN, 77.0, None, 0), (POINTS[1], -(2**63), BEGAN, 78.0, None, 0)]
    huge = [("p" * 70_000, BEGAN, BEGAN, 79.0, None, 0)]
    with influxd(tmp_path) as real, fake(translated(real)) as front:
        real.query("CREATE DATABASE plant")
        one = bench(real.url if api == "v1" else front.url, api)
        one.start().write(pl.concat([samples(50), frame(beyond + huge)]), 0, 3)
        assert stored(real) == list(range(50))
        reasons = sorted(entry["reason"] for entry in one.quarantined.values())
        assert [reason[:27] for reason in reasons] == [
            "max key length exceeded: 70",
            *["time outside range -9223372"] * 2,
        ]


@pytest.mark.service
@pytest.mark.parametrize("api", APIS)
def test_the_real_server_has_a_field_of_another_type(bench, tmp_path, api):
    rows = samples(1_000).with_columns(text=pl.when(pl.col("value") % 10 == 3).then(pl.lit("both")))
    with influxd(tmp_path) as real, fake(translated(real)) as front:
        real.query("CREATE DATABASE plant")
        real.write(f"samples,x=y text=5 {BEGAN}".encode(), "plant")
        one = bench(real.url if api == "v1" else front.url, api)
        one.start().write(rows, 0, 3)
        assert stored(real) == [n for n in range(1_000) if n % 10 != 3]
        assert values(one.quarantined) == [n for n in range(1_000) if n % 10 == 3]
        assert "field type conflict" in next(iter(one.quarantined.values()))["reason"]


@pytest.mark.service
def test_the_real_server_drops_what_its_retention_does_not_keep(bench, tmp_path):
    now = int(dt.datetime.now(dt.UTC).timestamp()) * 10**9
    with influxd(tmp_path) as real:
        real.query("CREATE DATABASE plant WITH DURATION 1h REPLICATION 1 NAME hour")
        one = bench(real.url, "v1", retention_policy="hour")
        rows = pl.concat(
            [samples(30, now - 7200 * 10**9), samples(20, now), frame([(POINTS[0], 2**63 - 1, 0, 9.0, "", 0)])]
        )
        one.start().write(rows, 0, 3)
        assert stored(real) == list(range(20))
        assert [(entry["event"], entry["rows"]) for entry in one.entries] == [("quarantined", 1), ("not stored", 30)]
        assert len(one.quarantined) == 1


@pytest.mark.service
def test_a_killed_server_that_comes_back_has_every_row_once(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(influxdb, "LINES", 200)
    with influxd(tmp_path) as real:
        one = bench(real.url, "v1", timeout=5_000_000_000)
        one.start()
        asked = threading.Event()
        exchange = influx_http.Http._exchange

        def seen(http, *rest):
            if http.requests > 20:
                asked.set()
            return exchange(http, *rest)

        monkeypatch.setattr(influx_http.Http, "_exchange", seen)

        def kill():
            asked.wait(30)
            real.kill()

        killer = threading.Thread(target=kill)
        killer.start()

        def write_on():
            for n in range(1_000):
                one.sink.write(samples(20_000), n, n)

        with pytest.raises(OSError, match="no answer"):
            write_on()
        killer.join()
        with pytest.raises(OSError, match="no answer"):
            one.start()
        real.start()
        one.start().write(samples(20_000), 2_000, 2_000)
        assert stored(real) == list(range(20_000))


@pytest.mark.service
def test_a_server_that_stands_still_costs_one_timeout_and_loses_nothing(bench, tmp_path):
    with influxd(tmp_path) as real:
        one = bench(real.url, "v1")
        one.start().write(samples(10), 0, 0)
        real.pause()
        with hasty(one.sink), pytest.raises(TimeoutError, match=r"within 0\.3 s"):
            one.sink.write(samples(100), 1, 1)
        real.go_on()
        one.sink.write(samples(100), 1, 1)
        assert stored(real) == list(range(100))


@pytest.mark.service
def test_the_real_server_asks_for_a_password(bench, tmp_path):
    with influxd(tmp_path, HTTP_AUTH_ENABLED="true") as real:
        # The first user of a server may be made by anyone.
        real.query(f"CREATE USER agent WITH PASSWORD '{SECRET}' WITH ALL PRIVILEGES")
        bench(real.url, "v1").start().write(samples(10), 0, 0)
        with pytest.raises(SinkRefused, match=r"authorization failed \(401\); check the sink's user and password"):
            bench(real.url, "v1", password="wrong").start()
        with pytest.raises(SinkRefused, match=r"unable to parse authentication credentials \(401\)"):
            bench(real.url, "v1", user="").start()


def test_values_of_helpers_are_what_they_say():
    assert value_of("samples,point=a value=7.0,status=0i 5") == 7
    assert math.isclose(samples(3)["value"][2], 2.0)


def test_the_client_of_2x_is_loaded_for_2x_alone():
    code = "import sys, collector.sinks.influxdb; print('influxdb_client' in sys.modules, 'urllib3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False True\n"
    code = "import sys, collector.agent; print('urllib3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"

"""Samples read back from the lake and from InfluxDB: the same rows, or an error that says what to do."""

import asyncio
import http.server
import itertools
import json
import math
import threading
import urllib.parse
import urllib.request

import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal

from config.load import load_plant
from config.plant import Plant, Sink
from config.schema import SAMPLE
from config.status import BAD, BAD_NO_COMMUNICATION, GOOD, GOOD_CLAMPED, UNCERTAIN
from kpis.demand import demand
from kpis.evidence.hashes import partitions_of
from kpis.facts import facts
from kpis.server.app import make_app
from kpis.stores import InfluxDB, Lake, StoreError, influxdb, store_of
from kpis.stores.base import without_receive_time
from plantproof import cli
from tests.generated_plants import generate, to_frame
from tests.influx_peers import influxd
from tests.proxy import Proxy, pieces
from tests.servers import free_port
from tests.serving import quick, running, token_of
from tests.soak import cases

pytestmark = pytest.mark.service

S = 1_000_000_000
HOUR = 3600 * S
DAY = 24 * HOUR
D = 20_400 * DAY  # 2025-11-08T00:00:00Z
WINDOW = (D, D + DAY)

databases = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with influxd(tmp_path_factory.mktemp("influxd")) as running:
        yield running


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A server that asks who comes, and gives five rows an answer at most, unless it may give them in pieces."""
    with influxd(tmp_path_factory.mktemp("strict"), HTTP_AUTH_ENABLED="true", HTTP_MAX_ROW_LIMIT="5") as running:
        running.query("CREATE USER admin WITH PASSWORD 'it\\'s: 密码' WITH ALL PRIVILEGES")
        yield running


@pytest.fixture
def both(server, tmp_path):
    """Puts samples into a lake and an InfluxDB; returns the two stores."""

    def put(samples, plant="p"):
        fill_lake(samples, tmp_path / "lake")
        return Lake(tmp_path / "lake"), influx(server, samples, plant)

    return put


def influx(server, samples, plant="p", **settings):
    database = f"d{next(databases)}"
    server.query(f"CREATE DATABASE {database}")
    server.write(lines(samples, plant), database)
    return InfluxDB(sink(server.url, database, **settings), Plant(id=plant))


def sink(url, database, **settings):
    return Sink(kind="influxdb", url=url, api="v1", database=database, **settings)


def fill_lake(samples, folder):
    days = samples.sort("point", "ts", "ts_recv").with_columns(date=pl.col("ts").dt.date())
    for (date,), part in days.partition_by("date", as_dict=True, include_key=False).items():
        (folder / f"samples/date={date}").mkdir(parents=True)
        part.write_parquet(folder / f"samples/date={date}/a-00000000-000000000001-000000000001-1of1.parquet")


def lines(samples, plant):
    """Line protocol as the sink's contract has it, row by row."""
    counted = without_receive_time(samples).with_columns(pl.col("ts").to_physical())
    return "\n".join(line(row, plant) for row in counted.iter_rows(named=True)).encode()


def line(row, plant):
    fields = []
    if row["value"] is not None and math.isfinite(row["value"]):
        fields.append(f"value={row['value']!r}")
    elif row["value"] is not None:
        fields.append(f'special="{json.dumps(row["value"])}"')  # NaN, Infinity, -Infinity
    if row["text"] is not None:
        fields.append('text="' + row["text"].replace("\\", "\\\\").replace('"', '\\"') + '"')
    if row["text"] == "":
        fields.append('special="empty"')
    if row["status"] or not fields:
        fields.append(f"status={row['status']}i")
    tags = f"plant={tag(plant)},asset=line/m1,point={tag(row['point'])}"
    return f"samples,{tags} {','.join(fields)} {row['ts']}"


def tag(name):
    return name.translate(str.maketrans({",": "\\,", "=": "\\=", " ": "\\ ", "\\": "#5C", "\n": "#0A", "#": "#23"}))


def frame(*rows):
    """SAMPLE rows from (point, ns since D, value or text, status)."""
    points, times, said, status = zip(*rows, strict=True)
    columns = {
        "point": points,
        "ts": [D + at for at in times],
        "ts_recv": [D + at for at in times],
        "value": [None if isinstance(one, str) else one for one in said],
        "text": [one if isinstance(one, str) else None for one in said],
        "status": status,
    }
    kinds = {name: pl.Int64() if name.startswith("ts") else dtype for name, dtype in SAMPLE.items()}
    return pl.DataFrame(columns, schema=kinds).cast(dict(SAMPLE))


def rows_of(samples):
    return samples.sort("point", "ts").select("point", pl.col("ts").to_physical() - D, "value", "text", "status").rows()


def assert_same(from_lake, from_influx):
    order = ["point", "ts"]
    assert_frame_equal(without_receive_time(from_lake).sort(order), from_influx.sort(order), check_exact=True)
    hashes = [partitions_of(rows, -(2**62), 2**62) for rows in (from_lake, from_influx)]  # of what evidence cites
    assert_frame_equal(*hashes)


def assert_equal_stores(both, samples, window=WINDOW):
    points = samples["point"].unique().to_list()
    lake, other = both(samples)
    assert lake.extent(points) == other.extent(points)
    read = other.read(points, *window)
    assert_same(lake.read(points, *window), read)
    return rows_of(read)


def test_a_window_is_half_open_and_comes_with_its_neighbours(both):
    samples = frame(
        ("a", -HOUR, 1.0, GOOD),
        ("a", -1, 2.0, GOOD),
        ("a", 0, 3.0, GOOD),
        ("a", DAY - 1, 4.0, GOOD),
        ("a", DAY, 5.0, GOOD),
        ("a", DAY + 1, 6.0, GOOD),
    )
    assert [row[2] for row in assert_equal_stores(both, samples)] == [2.0, 3.0, 4.0, 5.0]


def test_from_the_border_to_the_nearest_good_row_all_rows_come(both):
    samples = frame(
        ("a", -9 * HOUR, 1.0, GOOD),
        ("a", -8 * HOUR, 2.0, GOOD_CLAMPED),  # the nearest good one
        ("a", -7 * HOUR, math.nan, GOOD),  # nothing to count from
        ("a", -6 * HOUR, None, GOOD),
        ("a", -5 * HOUR, 3.0, UNCERTAIN),
        ("a", -4 * HOUR, None, BAD_NO_COMMUNICATION),
        ("a", DAY, 4.0, BAD),
        ("a", DAY + HOUR, "five", GOOD),
        ("a", DAY + 2 * HOUR, 6.0, GOOD),
    )
    assert [row[1] // HOUR for row in assert_equal_stores(both, samples)] == [-8, -7, -6, -5, -4, 24, 25]


def test_each_point_has_neighbours_of_its_own_days_away(both):
    samples = frame(
        ("near", -1 * S, 1.0, GOOD),
        ("hours", -7 * HOUR, 1.0, GOOD),
        ("days", -5 * DAY, 1.0, GOOD),
        ("last month", -31 * DAY, 1.0, GOOD),  # at midnight, 31 days before
        ("too old", -31 * DAY - 1, 1.0, GOOD),
        ("bad for long", -30 * DAY, 1.0, BAD),
        ("bad for long", -40 * DAY, 1.0, GOOD),
        ("after", 31 * DAY + HOUR, 1.0, GOOD),
        ("too late", 32 * DAY, 1.0, GOOD),
    )
    found = [row[0] for row in assert_equal_stores(both, samples)]
    assert found == ["after", "bad for long", "days", "hours", "last month", "near"]


def test_texts_and_numbers_come_back_to_the_bit(both):
    texts = [
        "", "a,b", 'q"q', '"', '""', "'", "line\nbreak", "cr\rx", "dos\r\nline", "tab\t", " spaced ", "\\", "end\\",
        '\\"', "\\n", "müde", "运行", "🙂", "null", "NaN", "-", "0", "1.0", "9007199254740993", "=1+1",
        "name,tags,time", "\x01", "#", "x" * 60_000,
    ]  # fmt: skip
    numbers = [
        0.0, -0.0, 0.1, 1 / 3, 1e300, -1e300, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e21, 1e22, 1e23,
        2.0**53, 2.0**53 + 2, -(2.0**63), 123456789.123456789, math.nan, math.inf, -math.inf, None,
    ]  # fmt: skip
    samples = frame(
        *((f"t{n}", n * S, text, GOOD) for n, text in enumerate(texts)),
        *(("bad", n * S, text, 0x8093_0000 + n) for n, text in enumerate(texts)),
        *(("n", n * S + 123_456_789, number, GOOD) for n, number in enumerate(numbers)),
        *(("u", n * S + 1, number, 0xFFFF_FFFF) for n, number in enumerate(numbers)),
    )
    assert len(assert_equal_stores(both, samples)) == 2 * len(texts) + 2 * len(numbers)


def test_ids_with_the_signs_of_the_query_language_are_found_and_no_others(server, tmp_path):
    odd = [
        "a'b",
        'a"b',
        "a,b=c",
        "a=b",
        "x/y",
        "点",
        "' OR point =~ /.*/ OR point = '",
        "a\\'b",
        "a\nb",
        "a#0Ab",
        "end\\",
    ]
    samples = frame(*((name, n * S, float(n), GOOD) for n, name in enumerate([*odd, "other"])))
    store = influx(server, samples, "plant'p\",=1")
    assert rows_of(store.read(odd, *WINDOW)) == rows_of(samples.filter(pl.col("point") != "other"))
    assert store.extent(["a'b"]) == (D, D)


def test_another_plant_in_the_same_database_is_not_seen(server):
    store = influx(server, frame(("a", 0, 1.0, GOOD)), "one")
    assert rows_of(store.read(["a"], *WINDOW)) == [("a", 0, 1.0, None, GOOD)]
    other = InfluxDB(store._config, Plant(id="two"))
    assert (other.read(["a"], *WINDOW).height, other.extent(["a"])) == (0, None)


def test_of_rows_at_one_instant_the_one_received_last_is_there(both):
    samples = frame(("a", 0, 1.0, GOOD), ("a", 0, 2.0, BAD), ("a", 0, 3.0, GOOD), ("a", S, 4.0, GOOD))
    received = pl.Series([D, D + 9, D + 5, D]).cast(SAMPLE["ts_recv"])
    found = assert_equal_stores(both, samples.with_columns(ts_recv=received))
    assert found == [("a", 0, 2.0, None, BAD), ("a", S, 4.0, None, GOOD)]


def test_the_retention_policy_that_the_sink_writes_to_is_read(server):
    store = influx(server, frame(("a", 0, 1.0, GOOD)))
    database = store._config.database
    server.query(f"CREATE RETENTION POLICY years ON {database} DURATION 0s REPLICATION 1")
    server.query("SELECT * INTO years.samples FROM samples GROUP BY *", database)
    server.write(lines(frame(("a", S, 2.0, GOOD)), "p"), database)  # the default one goes on
    named = InfluxDB(sink(server.url, database, retention_policy="years"), Plant(id="p"))
    assert (store.extent(["a"]), named.extent(["a"])) == ((D, D + S), (D, D))
    assert rows_of(named.read(["a"], *WINDOW)) == [("a", 0, 1.0, None, GOOD)]


def test_no_points_no_rows(server):
    store = influx(server, frame(("a", 0, 1.0, GOOD)))
    assert (store.read([], *WINDOW).schema, store.extent([])) == (pl.Schema(SAMPLE), None)


@pytest.mark.parametrize("seed", range(0, 3 * cases(10), 3))
def test_plants_made_up_from_a_seed_give_the_same_rows_and_facts(both, seed):
    plant, samples, start, end = generate(seed)
    points = [p.point for p in plant.points]
    lake, other = both(to_frame(samples), plant.id)
    assert lake.extent(points) == other.extent(points)
    mine, theirs = lake.read(points, start, end), other.read(points, start, end)
    inside = pl.col("ts").to_physical().is_between(start, end, closed="left")
    assert_same(mine.filter(inside), theirs.filter(inside))
    for compute in (facts, demand):
        expected = compute(plant, to_frame(samples), start, end)
        assert compute(plant, mine, start, end).equals(expected, null_equal=True)
        assert compute(plant, theirs, start, end).equals(expected, null_equal=True)


def test_an_answer_may_come_in_pieces_of_any_size(both, monkeypatch):
    rows = [(f"p{n % 7}", n * n * 37 * S // 10, "long" * 50 if n % 40 == 0 else n / 7, GOOD) for n in range(800)]
    lake, other = both(frame(*rows, ("p0", 3 * DAY, 1.0, GOOD)))
    points = [f"p{n}" for n in range(8)]
    whole = other.read(points, D, D + 20 * DAY)
    assert_same(lake.read(points, D, D + 20 * DAY), whole)
    for settings in ({"PIECE_ROWS": 9}, {"PIECE_BYTES": 3000}, {"POINTS": 3, "PIECE_ROWS": 200}):
        with monkeypatch.context() as patch:
            for name, value in settings.items():
                patch.setattr(influxdb, name, value)
            assert_same(whole, other.read(points, D, D + 20 * DAY))


def test_one_instant_that_is_too_much_is_an_error(server, monkeypatch):
    store = influx(server, frame(("a", 0, "long" * 1000, GOOD)))
    monkeypatch.setattr(influxdb, "PIECE_BYTES", 3000)
    with pytest.raises(StoreError, match="more than 3000 B at one instant; ask for fewer points"):
        store.read(["a"], *WINDOW)


def test_the_ends_of_time_can_be_asked_for(both):
    samples = frame(("a", -D, 1.0, GOOD), ("a", -D - 1, 2.0, GOOD), ("a", 2**62, 3.0, GOOD))
    assert len(assert_equal_stores(both, samples, (-9_200_000_000_000_000_000, 9_200_000_000_000_000_000))) == 3


def test_a_server_that_limits_rows_and_asks_for_a_password_gives_all_to_whom_it_knows(strict):
    samples = frame(*(("a", n * 100 * S, float(n), GOOD) for n in range(50)))
    known = urllib.parse.urlencode({"u": "admin", "p": "it's: 密码", "db": "d"})
    for place, said in (
        ("query", urllib.parse.urlencode({"q": "CREATE DATABASE d; CREATE USER guest WITH PASSWORD 'guest'"}).encode()),
        ("write", lines(samples, "p")),
    ):
        with urllib.request.urlopen(f"{strict.url}/{place}?{known}", said) as answer:
            assert b"error" not in answer.read()  # who does not listen to the end stops the query

    def store(**who):
        return InfluxDB(sink(strict.url, "d", **who), Plant(id="p"))

    assert store(user="admin", password="it's: 密码").read(["a"], *WINDOW).height == 50
    with pytest.raises(StoreError, match=r"d: answers 401: .*credentials.*; check `user` and `password` of the sink"):
        store().read(["a"], *WINDOW)
    with pytest.raises(StoreError, match=r"answers 401: authorization failed; check `user` and `password`"):
        store(user="admin", password="guess").extent(["a"])
    with pytest.raises(StoreError, match=r"not authorized.*; check `user` and `password`"):
        store(user="guest", password="guest").read(["a"], *WINDOW)


def test_the_secrets_of_the_sink_are_looked_up_and_no_others(strict, tmp_path, monkeypatch):
    known = urllib.parse.urlencode({"u": "admin", "p": "it's: 密码", "db": "own"})
    for place, said in (
        ("query", urllib.parse.urlencode({"q": "CREATE DATABASE own"}).encode()),
        ("write", lines(frame(("a", 100 * S, 1.0, GOOD)), "p")),
    ):
        with urllib.request.urlopen(f"{strict.url}/{place}?{known}", said) as answer:
            assert b"error" not in answer.read()
    (tmp_path / "plant.toml").write_text(
        'version = 1\n[plant]\nid = "p"\n'
        '[[source]]\nid = "q"\nkind = "mqtt"\nurl = "mqtt://127.0.0.1"\npassword = "${env:NOT_OURS_TO_KNOW}"\n'
        f'[[sink]]\nkind = "influxdb"\napi = "v1"\nurl = "{strict.url}"\ndatabase = "own"\n'
        'user = "${env:TEST_INFLUX_USER}"\npassword = "${file:influx-password}"\n'
    )
    (tmp_path / "assets.csv").write_text("asset\nm\n")
    (tmp_path / "points.csv").write_text("point,asset,role,source,address\na,m,measure,q,t\n")
    plant = load_plant(tmp_path)
    with pytest.raises(LookupError, match=r"sink influxdb: \$\{env:TEST_INFLUX_USER\} names no environment variable"):
        store_of(plant, None)
    monkeypatch.setenv("TEST_INFLUX_USER", "admin")
    (tmp_path / "influx-password").write_text("it's: 密码\n", encoding="utf-8")
    assert store_of(plant, None).read(["a"], *WINDOW)["value"].to_list() == [1.0]


def test_a_missing_database_is_an_error_and_no_empty_plant(server):
    store = InfluxDB(sink(server.url, "nowhere"), Plant(id="p"))
    for ask in (lambda: store.read(["a"], *WINDOW), lambda: store.extent(["a"])):
        with pytest.raises(
            StoreError, match=r"database nowhere: says: database not found: nowhere; check .*`database`"
        ):
            ask()


def test_a_database_without_samples_is_empty(server):
    server.query("CREATE DATABASE fresh")
    store = InfluxDB(sink(server.url, "fresh"), Plant(id="p"))
    assert (store.extent(["a"]), store.read(["a"], *WINDOW).height) == (None, 0)


def test_a_server_that_is_down_is_named():
    store = InfluxDB(sink(f"http://127.0.0.1:{free_port()}", "d"), Plant(id="p"))
    with pytest.raises(StoreError, match=r"http://127.0.0.1:\d+, database d: cannot be reached .*; is it running"):
        store.read(["a"], *WINDOW)


def test_a_server_that_stands_still_is_given_up(server):
    store = influx(server, frame(("a", 0, 1.0, GOOD)), timeout="200ms")
    server.pause()
    try:
        with pytest.raises(StoreError, match=r"does not answer in time .*; is it well"):
            store.extent(["a"])
    finally:
        server.go_on()


MANY = frame(*((f"p{n % 5}", n * 10 * S, n / 7, GOOD) for n in range(5000)))


@pytest.mark.parametrize("end", ["reset", "closed"])
def test_a_connection_that_ends_in_mid_answer_is_an_error(server, end):
    store = influx(server, MANY)
    points = [f"p{n}" for n in range(5)]

    async def part(reader):
        passed = 0
        async for data in pieces(reader):
            passed += len(data)
            if passed > 100_000:
                if end == "reset":
                    proxy.reset()
                return
            yield data

    async def ask():
        async with proxy:
            through = InfluxDB(sink(f"http://127.0.0.1:{proxy.port}", store._config.database), Plant(id="p"))
            return await asyncio.to_thread(through.read, points, *WINDOW)

    proxy = Proxy(server.port, whole=part)
    with pytest.raises(StoreError, match="ended its answer early"):
        asyncio.run(ask())


@pytest.fixture
def between(server):
    """Starts an HTTP server that asks influxd, and changes what it says; returns its URL."""
    running = []

    def start(change):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked = urllib.request.Request(f"{server.url}{self.path}", body, dict(self.headers))
                with urllib.request.urlopen(asked) as answer:
                    status, said = change(self.headers["Accept"], answer.read())
                self.send_response(status)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_):
                pass

        running.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=running[-1].serve_forever, args=(0.01,)).start()
        return f"http://127.0.0.1:{running[-1].server_port}"

    yield start
    for one in running:
        one.shutdown()
        one.server_close()


CSV = "application/csv"


def rows(change, status=200):
    """Change what the rows' answer says, and let the counts pass."""
    return lambda kind, data: (status, change(data)) if kind == CSV else (200, data)


def every(change, status=200):
    return lambda _, data: (status, change(data))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        # It gives a query up, and CSV has no place to say so.
        (rows(lambda data: data[: data.rindex(b"\n", 0, -9) + 1]), "gave 4999 rows where .* ended its answer early"),
        (rows(lambda data: b""), "gave 0 rows where"),
        (rows(lambda data: data[: len(data) // 2]), "ended its answer early|no table"),
        (rows(lambda data: data.replace(b",0.", b",nought.")), r"no table of samples: .*; is it an InfluxDB"),
        (rows(lambda data: data.replace(b",status", b",x")), "no table of samples: status is no column of it"),
        (rows(lambda data: data.replace(b"point=p1", b"point=q")), "no table of samples"),
        (rows(lambda data: b'error\n"no room"\n', 400), 'answers 400: "no room"'),
        (every(lambda data: b"<html>welcome</html>"), "b'<html>welcome</html>', which is no result of a query"),
        (every(lambda data: b"{}"), "is no result of a query"),
        (every(lambda data: b"[1]"), "is no result of a query"),
        (every(lambda data: b"[" * 100_000), "is no result of a query"),
        (every(lambda data: b"[" * 100_000, 500), "answers 500: "),
        (every(lambda data: b""), "ended its answer early"),
        (every(lambda data: data.replace(b'"statement_id":0', b'"partial":true')), "ended its answer early"),
        (every(lambda data: b'{"results":[{"error":"query-timeout limit exceeded"}]}'), "exceeded; look at .* limits"),
        (every(lambda data: b'{"error":"timeout"}', 503), "answers 503: timeout; look at the server's log"),
        (every(lambda data: b'{"message":"read denied"}', 403), "answers 403: read denied; check `user`"),
        (every(lambda data: b"<h1>Bad\nGateway</h1>", 502), "answers 502: <h1>Bad Gateway</h1>; look"),
        (every(lambda data: b"", 302), "answers 302: nothing more"),
    ],
)
def test_what_is_no_whole_answer_is_an_error(server, between, change, said):
    store = influx(server, MANY)
    through = InfluxDB(sink(between(change), store._config.database), Plant(id="p"))
    with pytest.raises(StoreError, match=said):
        through.read([f"p{n}" for n in range(5)], *WINDOW)


def test_rows_that_come_in_while_a_window_is_read_are_no_fault(server, between):
    store = influx(server, frame(("a", 0, 1.0, GOOD)))

    def meanwhile(kind, data):
        if kind != CSV:
            server.write(lines(frame(("a", S, 2.0, GOOD)), "p"), store._config.database)
        return 200, data

    through = InfluxDB(sink(between(meanwhile), store._config.database), Plant(id="p"))
    assert set(through.read(["a"], *WINDOW)["value"]) >= {1.0}


def test_no_message_holds_a_secret(between):
    def repeats(kind, data):
        return 401, b'{"error":"what is s3cret for?\x1b[31m"}'

    url = between(repeats).replace("//", "//someone:s3cret@")
    with pytest.raises(StoreError) as told:
        InfluxDB(sink(url, "d", user="u", password="s3cret"), Plant(id="p")).extent(["a"])
    assert "what is *** for?" in str(told.value)
    assert "s3cret" not in str(told.value)
    assert str(told.value).isprintable()


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"api": "v2", "bucket": "b", "org": "o", "token": "t"}, "Token t"),
        ({"api": "v3", "database": "b", "token": "t"}, "Bearer t"),
        ({"api": "v1", "database": "b", "user": "u", "password": "p"}, "Basic dTpw"),
        ({"api": "v1", "database": "b", "retention_policy": "month"}, None),
    ],
)
def test_each_api_is_asked_its_own_way(settings, header):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked.append((self.path, self.headers["Authorization"], dict(urllib.parse.parse_qsl(body))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"results":[{"statement_id":0}]}\n')

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.handle_request).start()
        config = Sink(kind="influxdb", url=f"http://127.0.0.1:{listening.server_port}/", **settings)
        assert InfluxDB(config, Plant(id="p"))._json("SELECT 1") == []
    ((path, who, form),) = asked
    assert (path, who, form["db"], form.get("rp")) == ("/query", header, "b", settings.get("retention_policy"))


PLANT = """version = 1
[plant]
id = "works"
[[calendar]]
shifts = [{{ name = "day", start = 08:00:00, end = 16:00:00 }}]
[spool]
path = "spool"
{}
"""
PARQUET = '[[sink]]\nkind = "parquet"\npath = "lake"\n'
INFLUX = '[[sink]]\nkind = "influxdb"\napi = "v1"\nurl = "{}"\ndatabase = "{}"\n'


@pytest.fixture
def folder(tmp_path, server):
    """A plant whose two stores hold the same day."""
    start = [(f"a.{role}", n * 60 * S, float(k), GOOD) for n in range(600) for role, k in (("state", 1), ("total", n))]
    samples = frame(*start)
    fill_lake(samples, tmp_path / "lake")
    store = influx(server, samples, "works")
    both = PARQUET + INFLUX.format(server.url, store._config.database)
    (tmp_path / "plant.toml").write_text(PLANT.format(both), encoding="utf-8")
    (tmp_path / "assets.csv").write_text("asset,ideal_cycle\nline1/a,2\n")
    (tmp_path / "points.csv").write_text("point,asset,role\na.state,line1/a,state\na.total,line1/a,total\n")
    return tmp_path


def command(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_the_kpis_of_both_stores_are_the_same(folder):
    for verb in ("kpi", "indicators"):
        lake, other = (command(verb, folder, "--store", kind, "--json") for kind in ("lake", "influxdb"))
        assert (lake.exit_code, lake.stdout) == (other.exit_code, other.stdout)
        assert json.loads(lake.stdout)
    assert command("kpi", folder, "--json").stdout == command("kpi", folder, "--store", "lake", "--json").stdout


def test_without_a_parquet_sink_influxdb_is_read(folder):
    expected = command("kpi", folder, "--json").stdout
    toml = (folder / "plant.toml").read_text().replace(PARQUET, "")
    (folder / "plant.toml").write_text(toml, encoding="utf-8")
    assert command("kpi", folder, "--json").stdout == expected
    assert command("kpi", folder, "--lake", folder / "lake", "--json").stdout == expected


def test_a_store_that_is_not_there_is_a_fault_of_the_command_line(folder):
    both = command("kpi", folder, "--store", "influxdb", "--lake", folder / "lake")
    (folder / "plant.toml").write_text(PLANT.format(PARQUET), encoding="utf-8")
    one = command("kpi", folder, "--store", "influxdb")
    (folder / "plant.toml").write_text(PLANT.format(""), encoding="utf-8")
    none = command("kpi", folder)
    assert [r.exit_code for r in (both, one, none)] == [2, 2, 2]
    assert "does not read a lake" in both.stderr
    assert "no influxdb sink" in one.stderr
    assert "no sink of kind parquet or influxdb" in none.stderr


def test_a_store_that_fails_is_told_in_one_line(folder):
    gone = INFLUX.format(f"http://127.0.0.1:{free_port()}", "d")
    (folder / "plant.toml").write_text(PLANT.format(gone), encoding="utf-8")
    for words in (("kpi", folder), ("evidence", "build", folder, "--out", folder / "out.zip")):
        result = command(*words)
        assert (result.exit_code, "cannot be reached" in result.stderr) == (1, True)


def test_evidence_from_influxdb_says_so_and_stands_against_the_lake(folder):
    package = folder / "evidence.zip"
    period = ("--from", "2025-11-08", "--to", "2025-11-09")
    for kind in ("influxdb", "lake"):
        assert command("evidence", "build", folder, *period, "--store", kind, "--out", package).exit_code == 0
        assert f'"store": "{kind}"'.encode() in package.read_bytes()
        verified = command("evidence", "verify", package, "--lake", folder / "lake")
        assert (verified.exit_code, "FAULT" in verified.stdout) == (0, False)


def test_the_rest_api_reads_either_store(folder):
    plant = load_plant(folder)
    answers = []
    for kind in ("lake", "influxdb"):
        with running(make_app(plant, store_of(plant, kind), quick)) as client:
            known = client.with_token(token_of(folder, name=kind))
            answers.append(known.get("/api/v1/kpis", {"from": "2025-11-08", "to": "2025-11-09"}))
    assert [one.status_code for one in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()


def test_of_several_sinks_of_a_kind_the_first_is_read():
    sinks = (sink("http://one:8086", "d", id="a"), sink("http://two:8086", "d", id="b"))
    assert str(store_of(Plant(id="p", sinks=sinks), None)) == "http://one:8086, database d"

"""/metrics, /healthz and /livez of the agent: only when asked, only for short, and never at the cost of a poll."""

import asyncio
import json
import re
import resource
import socket
import threading
import urllib.error
import urllib.request
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as families

from collector import health
from collector.commands import faults_of
from collector.health_http import HEAD_BYTES, Asked, Refused, parsed
from collector.host import ServiceManager
from collector.metrics import Exposition
from collector.status import ReloadStatus, SinkStatus, SourceStatus, Status
from collector.watchdog import Heart, Watchdog
from config import exits
from config.faults import ConfigError
from config.load import load_plant
from config.plant import Health, Plant, Spool
from connectors.sim.modbus import ModbusServer
from plantproof import cli
from tests.running import Asset, Point, Source, descriptors, plant_for, running, until
from tests.servers import fake_modbus, free_port, within
from tests.test_docs import rows

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LIMIT_S = 60


def watchdog(*hearts, now=0.0):
    """A watchdog of these loops, whose clock stands still."""
    return Watchdog(manager=ServiceManager({}), clock=lambda: now, hearts=list(hearts))


def full_status():
    """A status with every figure that there is: numbers that can be told from each other."""
    status = Status(agent="gw1", plant="jn1", started="2026-01-01T00:00:00+00:00")
    status.sources["line1"] = SourceStatus(
        kind="modbus",
        points=7,
        expect_ns=1,
        state="lost",
        error="no answer of 192.168.10.40",
        connects=3,
        rows=1000,
        faults=4,
        flags={"server's clock": 5, "retained": 6},
        filled=8,
        link={"bus_time": 0.25, "polls_missed": 9},
        coverage={"configured": 7, "monitored": 6, "fresh": 2, "not_fresh": []},
        silent=1,
        last_data=0.0,
    )
    figures = {"days": 10, "files": 11, "bytes": 12, "merging": 13}
    status.sinks["lake"] = SinkStatus(kind="parquet", cursor=40, rows=900, figures=figures, upkeep="cannot merge")
    sent = {"requests": 21, "sent_bytes": 22, "sent_rows": 23, "retries": 24, "refused_rows": 25, "expired_rows": 26}
    status.sinks["store"] = SinkStatus(kind="influxdb", cursor=30, error="401 of http://store:8086", figures=sent)
    status.spool = {"bytes": 31, "last": 42, "pending_rows": 33, "quarantined_bytes": 34, "error": "no space left"}
    status.ledger = {"gap": 2, "started": 1}
    status.reload = ReloadStatus(number=1, at="2026-01-01T00:01:00+00:00", refused="1 fault in the configuration")
    return status


@asynccontextmanager
async def listening(status=None, dog=None, **settings):
    """Answer for a status without an agent; yields the port."""
    port = free_port()
    plant = Plant(id="jn1", health=Health(listen=f"127.0.0.1:{port}"), spool=Spool(max_size="1KiB"), **settings)
    status = full_status() if status is None else status
    (task,) = health.started(plant, status, watchdog() if dog is None else dog)
    try:
        await until(lambda: listens(port))
        yield port
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def listens(port):
    """Whether this process listens at a port of the loopback."""
    return ("127.0.0.1", port) in listeners()


def listeners():
    """Addresses at which this process listens, and of IPv6 the port alone."""
    inodes = set()
    for one in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            inodes |= set(re.findall(r"socket:\[(\d+)\]", str(one.readlink())))
    found = set()
    for name in ("tcp", "tcp6"):
        table = Path(f"/proc/self/net/{name}")
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            cells = line.split()
            if cells[3] == "0A" and cells[9] in inodes:
                address, port = cells[1].split(":")
                host = socket.inet_ntoa(bytes.fromhex(address)[::-1]) if name == "tcp" else "::"
                found.add((host, int(port, 16)))
    return found


async def say(port, *chunks):
    """Send these bytes and return all that comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for chunk in chunks:
            writer.write(chunk)
        return await reader.read()
    finally:
        writer.close()


def taken_apart(answer):
    """Status, fields and body of an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


async def ask(port, path, method="GET", **fields):
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *(f"{k}: {v}" for k, v in fields.items())]
    return taken_apart(await say(port, ("\r\n".join(lines) + "\r\n\r\n").encode()))


def modbus(name, url):
    return Source(id=name, kind="modbus", url=url, period="20ms", timeout="500ms")


def plant_with(root, urls, port=None):
    """A plant with a source for each URL, named by the key; it listens where a port is given."""
    points = [Point(point=f"{name}.v", asset="m", source=name, address="1/holding:0", type="uint16") for name in urls]
    asked = {} if port is None else {"health": Health(listen=f"127.0.0.1:{port}")}
    sources = [modbus(name, url) for name, url in urls.items()]
    return plant_for(root, sources, [Asset(asset="m")], points, **asked)


def server():
    return ModbusServer({1: lambda: [4711]})


def dead():
    return f"modbus+tcp://127.0.0.1:{free_port()}"


# --- asked for, or not ---


def test_without_the_section_nothing_listens(tmp_path):
    async def look():
        before = listeners()
        async with running(plant_with(tmp_path, {"line1": dead()}), connected=False) as agent:
            await until(lambda: agent.status.sources)
            assert listeners() == before
            assert agent.status.report()["health"] == {}

    within(LIMIT_S, look)


def test_with_it_one_socket_listens_at_the_loopback_alone_and_is_gone_with_the_agent(tmp_path):
    async def look():
        before, port, held = listeners(), free_port(), descriptors()
        async with running(plant_with(tmp_path, {"line1": dead()}, port), connected=False):
            await until(lambda: listens(port))
            assert listeners() - before == {("127.0.0.1", port)}
            # This client says nothing, and does not keep the agent from ending.
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        assert listeners() == before
        writer.close()
        await until(lambda: descriptors() <= held)

    within(LIMIT_S, look)


def test_localhost_is_the_loopback_of_ipv4():
    made = health.Listener(Health(listen="localhost:9103"), Status(agent="a", plant="p"), watchdog(), spool_bytes=1)
    assert made._host == "127.0.0.1"


# --- what is answered ---


def test_healthy_is_where_data_flows_and_a_source_that_is_lost_is_named_without_what_it_said(tmp_path):
    async def look():
        port = free_port()
        async with server() as plc, fake_modbus(lambda *_: None) as deaf:
            async with running(plant_with(tmp_path / "a", {"line1": plc.endpoint}, port)):
                with_data = await ask(port, "/healthz")
            assert (with_data[0], json.loads(with_data[2])) == (200, {"status": "healthy"})
            plant = plant_with(tmp_path / "b", {"line1": plc.endpoint, "line2": deaf}, port)
            async with running(plant, connected=False) as agent:
                await until(lambda: agent.status.report()["sources"].get("line1", {}).get("fresh"))
                await until(lambda: agent.status.sources["line2"].state == "lost")
                status, _, body = await ask(port, "/healthz")
                alive = await ask(port, "/livez")
        assert (status, json.loads(body)) == (503, {"status": "unhealthy", "not_fresh": {"line2": "lost"}})
        assert (alive[0], json.loads(alive[2])) == (200, {"status": "alive"})

    within(LIMIT_S, look)


def test_sinks_and_spool_are_named_and_no_word_of_their_errors():
    answer = health.health_of(full_status().report())
    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert json.loads(answer.body) == {
        "status": "unhealthy", "not_fresh": {"line1": "lost"}, "sinks_with_error": ["store"], "spool_error": True
    }  # fmt: skip


def test_an_agent_without_a_source_is_not_healthy():
    answer = health.health_of(Status(agent="a", plant="p").report())
    assert json.loads(answer.body) == {"status": "unhealthy", "not_fresh": {}}


def test_a_loop_that_stands_is_not_alive_and_is_named():
    async def look():
        stuck = Heart("source line1", patience=10.0, turns=5, _seen=5, _stood_since=0.0)
        async with listening(dog=watchdog(stuck, Heart("committer"), now=11.0)) as port:
            status, _, body = await ask(port, "/livez")
            fed = values(await scrape(port))["plantproof_watchdog_fed"]
        assert (status, json.loads(body)) == (503, {"status": "stuck", "loops": ["source line1"]})
        assert fed == 0

    within(LIMIT_S, look)


def test_a_loop_that_hangs_answers_nobody():
    ready, hangs, over = threading.Event(), threading.Event(), threading.Event()
    found = {}

    def block():
        hangs.set()
        over.wait(30)

    async def serve():
        async with listening() as port:
            found["port"], found["loop"], ended = port, asyncio.get_running_loop(), asyncio.Event()
            found["end"] = ended.set
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: within(LIMIT_S, serve))
    thread.start()
    assert ready.wait(30)
    found["loop"].call_soon_threadsafe(block)
    assert hangs.wait(30)
    with socket.create_connection(("127.0.0.1", found["port"]), 0.2) as client:
        client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        with pytest.raises(TimeoutError):
            client.recv(1)
        over.set()
        client.settimeout(30)
        assert client.recv(12) == b"HTTP/1.1 200"
    found["loop"].call_soon_threadsafe(found["end"])
    thread.join(30)


def test_urllib_reads_all_three():
    async def look():
        async with listening() as port:
            for path, status in (("/metrics", 200), ("/livez", 200), ("/healthz", 503)):
                assert await asyncio.to_thread(fetched, f"http://127.0.0.1:{port}{path}") == status

    def fetched(url):
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    within(LIMIT_S, look)


# --- HTTP ---


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n", 200),
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
        (b"GET /livez?verbose HTTP/1.1\r\nhost:h\r\n\r\n", 200),
        (b"GET http://gw:9103/livez HTTP/1.1\r\nHost: gw:9103\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"GET /metrics/ HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"GET //livez HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\nabc", 405),
        (b"get /livez HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: h\r\nX: a\nb\r\n\r\n", 400),
        (b"GET /livez\r\n\r\n", 400),
        (b"GET  /livez HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET http://[/livez HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\nHost: h\r\n\r\n", 431),
    ],
)
def test_a_request_has_its_status_and_the_connection_ends(asked, status):
    async def look():
        async with listening() as port:
            found, fields, body = taken_apart(await say(port, asked))
        assert found == status
        assert fields["Connection"] == "close"
        assert fields["Content-Length"] == str(len(body))
        assert ("Allow" in fields) is (status == 405)
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", fields["Date"])

    within(LIMIT_S, look)


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/livez"])
def test_head_gives_the_head_of_get_and_no_body(path):
    async def look():
        async with listening() as port:
            got, asked = await ask(port, path), await ask(port, path, "HEAD")
        assert asked[0] == got[0]
        assert (got[2], asked[2]) == (got[2], b"")
        assert asked[1]["Content-Type"] == got[1]["Content-Type"]
        assert int(asked[1]["Content-Length"]) > 10

    within(LIMIT_S, look)


def test_a_head_may_come_in_pieces_and_what_follows_it_is_left_alone():
    async def look():
        async with listening() as port:
            pieces = [b"GET /li", b"vez HTTP/1.1\r\nHo", b"st: h\r\n\r", b"\nGET /metrics HTTP/1.1\r\nHost: h\r\n\r\n"]
            answer = await say(port, *pieces)
        assert answer.count(b"HTTP/1.1 ") == 1

    within(LIMIT_S, look)


@pytest.mark.parametrize("head", ["GET /x HTTP/1.1\r\nHost: h\r\nAccept: a\r\nACCEPT:b;q=1 \r\n\r\n"])
def test_fields_of_one_name_are_joined(head):
    assert parsed(head) == Asked("GET", "/x", "a,b;q=1 ")
    with pytest.raises(Refused, match="Bad Request"):
        parsed(head.replace("Host", "Ho st"))


# --- what clients may not do ---


def test_who_does_not_end_a_head_in_time_is_told_so_and_cut_off(monkeypatch):
    monkeypatch.setattr(health, "HEAD_S", 0.05)

    async def look():
        async with listening() as port:
            assert taken_apart(await say(port, b"GET /livez HT"))[0] == 408
            assert taken_apart(await say(port))[0] == 408

    within(LIMIT_S, look)


def test_who_does_not_take_the_answer_is_cut_off(monkeypatch):
    monkeypatch.setattr(health, "HEAD_S", 0.2)

    async def look():
        status = full_status()
        status.ledger = {f"event {n}": n for n in range(100_000)}  # some MB, more than sockets hold
        async with listening(status) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
            await until(lambda: clients() == 1)
            await until(lambda: clients() == 0)
            with suppress(ConnectionError):
                assert len(await reader.read()) < 5_000_000
            writer.close()

    within(LIMIT_S, look)


def clients():
    return sum(task.get_name() == "health client" for task in asyncio.all_tasks())


def test_the_seventeenth_client_is_turned_away_until_another_leaves():
    async def look():
        async with listening() as port:
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(health.CONNECTIONS)]
            await until(lambda: clients() == health.CONNECTIONS)
            with suppress(ConnectionError):
                assert await say(port, b"GET /livez HTTP/1.0\r\n\r\n") == b""
            held.pop()[1].close()
            await until(lambda: clients() == health.CONNECTIONS - 1)
            assert taken_apart(await say(port, b"GET /livez HTTP/1.0\r\n\r\n"))[0] == 200
            for _, writer in held:
                writer.close()

    within(LIMIT_S, look)


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard < 4096 else max(soft, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_connections_take_no_poll_from_a_source(tmp_path, many_descriptors):
    async def look():
        port = free_port()
        async with server() as plc, running(plant_with(tmp_path, {"line1": plc.endpoint}, port)) as agent:
            await until(lambda: listens(port))
            source, held, most = agent.status.sources["line1"], [], 0
            before = source.readings
            for number in range(1000):
                client = socket.socket()
                client.setblocking(False)
                held.append(client)
                with suppress(BlockingIOError):
                    client.connect(("127.0.0.1", port))
                if number % 50 == 49:
                    polled = source.readings
                    await until(lambda polled=polled: source.readings > polled)
                    most = max(most, clients())
            assert 0 < most <= health.CONNECTIONS
            assert source.readings >= before + 20
            assert (source.connects, source.fresh(asyncio.get_running_loop().time())) == (1, True)
            for client in held:
                client.close()
            await until(lambda: clients() == 0)
            assert (await ask(port, "/healthz"))[0] == 200

    within(LIMIT_S, look)


# --- where it cannot listen ---


def test_a_port_in_use_is_told_and_tried_again_and_collecting_goes_on(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(health, "AGAIN_S", 0.02)

    async def look():
        taken = socket.create_server(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with server() as plc, running(plant_with(tmp_path, {"line1": plc.endpoint}, port)) as agent:
            told = agent.status.health
            await until(lambda: "in use" in told["error"])
            before = agent.status.sources["line1"].readings
            await until(lambda: agent.status.sources["line1"].readings > before + 3)
            assert agent.status.report()["health"] == {"listen": f"127.0.0.1:{port}", "error": told["error"]}
            assert agent.status.report()["healthy"]
            taken.close()
            await until(lambda: listens(port))
            await until(lambda: not told["error"])
            assert (await ask(port, "/livez"))[0] == 200

    within(LIMIT_S, look)
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len([text for text in errors if "health: cannot listen at" in text]) == 1  # not once a try


@pytest.mark.parametrize(("listen", "why"), [("192.0.2.1:9103", "assign"), (f"{'a' * 70}.local:9103", "label")])
def test_an_address_that_is_not_there_is_told(listen, why):
    async def look():
        plant = Plant(id="p", health=Health(listen=listen, beyond_loopback=True))
        status = Status(agent="a", plant="p")
        (task,) = health.started(plant, status, watchdog())
        await until(lambda: why in status.health["error"])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    within(LIMIT_S, look)


def test_status_shows_that_it_cannot_listen(tmp_path):
    spool = tmp_path / "var" / "spool"
    spool.mkdir(parents=True)
    CliRunner().invoke(cli, ["init", str(tmp_path)], catch_exceptions=False)
    status = Status(agent="gw1", plant="plant1", spool={"bytes": 0, "last": 0})
    status.health = {"listen": "127.0.0.1:9103", "error": "address already in use"}
    status.write(spool / "status.json")
    said = CliRunner().invoke(cli, ["status", str(tmp_path)]).output
    assert "health cannot listen at 127.0.0.1:9103: address already in use" in said


# --- metrics ---


async def scrape(port, accept=""):
    """The metric families of a scrape."""
    _, fields, body = await ask(port, "/metrics", Accept=accept)
    parse = openmetrics_families if "openmetrics" in fields["Content-Type"] else families
    return list(parse(body.decode()))


def values(found):
    """Every sample: its name with the values of its labels -> value."""
    return {
        " ".join([sample.name, *(sample.labels[key] for key in sorted(sample.labels) if key != "kind")]): sample.value
        for family in found
        for sample in family.samples
    }


def test_each_figure_of_the_status_is_a_sample():
    async def look():
        async with listening() as port:
            return values(await scrape(port))

    found = {}
    within(LIMIT_S, lambda: keep(found, look()))
    ours = {name.removeprefix("plantproof_"): value for name, value in found.items() if name.startswith("plantproof")}
    assert ours.pop("build_info 0.1.0") == 1
    assert ours.pop("source_data_age_seconds line1") > 0
    assert ours == {
        "agent_info gw1 jn1": 1, "up": 1, "healthy": 0, "start_time_seconds": 1_767_225_600, "watchdog_fed": 1,
        "config_last_reload_successful": 0,
        "source_connected line1": 0, "source_fresh line1": 0, "source_configured_points line1": 7,
        "source_monitored_points line1": 6, "source_fresh_points line1": 2, "source_silent_points line1": 1,
        "source_rows_total line1": 1000, "source_connects_total line1": 3, "source_faults_total line1": 4,
        "source_flags_total line1": 11, "source_filled_rows_total line1": 8, "source_bus_time_ratio line1": 0.25,
        "source_missed_polls_total line1": 9,
        "sink_rows_total lake": 900, "sink_cursor lake": 40, "sink_lag_batches lake": 2, "sink_behind_seconds lake": 0,
        "sink_error lake": 0, "sink_upkeep_error lake": 1, "sink_lake_days lake": 10, "sink_lake_files lake": 11,
        "sink_lake_bytes lake": 12, "sink_merging_files lake": 13,
        "sink_rows_total store": 0, "sink_cursor store": 30, "sink_lag_batches store": 12,
        "sink_behind_seconds store": 0, "sink_error store": 1, "sink_upkeep_error store": 0,
        "sink_requests_total store": 21, "sink_sent_bytes_total store": 22, "sink_sent_rows_total store": 23,
        "sink_retries_total store": 24, "sink_refused_rows_total store": 25, "sink_expired_rows_total store": 26,
        "spool_bytes": 31, "spool_max_bytes": 1024, "spool_last_batch": 42, "spool_pending_rows": 33,
        "spool_quarantined_bytes": 34, "spool_error": 1,
        "ledger_events_total gap": 2, "ledger_events_total started": 1,
    }  # fmt: skip


async def keep(found, coming):
    found.update(await coming)


def table(found):
    """What a scrape says of each metric: type, unit and labels, by the name that its samples bear."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type, family.unit, {label for sample in family.samples for label in sample.labels}
        )
        for family in found
    }  # fmt: skip


def test_the_pages_table_is_what_a_scrape_gives():
    async def look():
        async with listening() as port:
            found.update(table(await scrape(port, "application/openmetrics-text; version=1.0.0")))
            plain = table(await scrape(port))
        assert {name: (kind, labels) for name, (kind, _, labels) in found.items()} == {
            name: (kind, labels) for name, (kind, _, labels) in plain.items()
        }

    found = {}
    within(LIMIT_S, look)
    page = rows(DOCS / "health.md", "Metrics")
    told = {
        name: (row["type"], row["unit"].replace("–", ""), set(re.findall(r"`(\w+)`", row["labels"])))
        for name, row in page.items()
    }
    ours = {name: about for name, about in found.items() if name.startswith("plantproof_")}
    assert {name: about for name, about in told.items() if name in ours} == ours
    rest = {name: (kind, labels) for name, (kind, _, labels) in found.items() if name not in ours}
    assert {name: (kind, labels) for name, (kind, _, labels) in told.items() if name not in ours} == rest
    assert list(rows(DOCS / "nomenclature.md", "Metrics")) == list(page)


def test_a_running_agent_gives_the_same_metrics_and_what_status_says(tmp_path):
    async def look():
        port = free_port()
        async with server() as plc, running(plant_with(tmp_path, {"line1": plc.endpoint}, port)) as agent:
            await until(lambda: agent.status.spool.get("last", 0) > 0 and agent.status.sources["line1"].link)
            await until(lambda: agent.status.sinks["parquet"].rows > 0)
            agent.reload()  # refused: it was not told where its configuration lies
            await until(lambda: agent.status.reload is not None)
            found = await scrape(port, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
            assert table(found).keys() == rows(DOCS / "health.md", "Metrics").keys()
            seen = values(found)
            assert seen["plantproof_source_connected line1"] == seen["plantproof_healthy"] == 1
            assert seen["plantproof_source_configured_points line1"] == 1
            assert 0 < seen["plantproof_source_bus_time_ratio line1"] <= 1
            assert seen["plantproof_sink_rows_total parquet"] > 0
            assert seen["plantproof_spool_max_bytes"] == agent.plant.spool.max_size
            assert seen["process_resident_memory_bytes"] > 10 * 2**20
            assert seen["process_open_fds"] > 5

    within(LIMIT_S, look)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain; version=0.0.4"),
        ("text/html, */*;q=0.1", "text/plain; version=0.0.4"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0"),
        (
            "text/plain;q=0.3,Application/OpenMetrics-Text;version=0.0.1;q=0.7",
            "application/openmetrics-text; version=1.0",
        ),
        ("application/openmetrics-text; version=x\t; escaping=\xff", "application/openmetrics-text; version=1.0.0"),
    ],
)
def test_the_format_is_the_scrapers_and_none_of_its_words_come_back(accept, kind):
    made, body = Exposition(lambda: full_status().report() | {"watchdog_fed": True}).text(accept)
    assert made.startswith(kind)
    assert "\xff" not in made
    assert "version=x" not in made
    assert body.endswith(b"# EOF\n") is kind.startswith("application")


def test_an_answer_is_given_again_for_twenty_times_what_it_took():
    now, made = 0.0, 0

    def report():
        nonlocal now, made
        now, made = now + 2, made + 1  # it takes 2 s
        return full_status().report() | {"watchdog_fed": True}

    exposition = Exposition(report, clock=lambda: now)
    exposition.text("")
    now = 41.0
    exposition.text("")
    assert made == 1
    exposition.text("application/openmetrics-text")
    assert made == 2  # another format
    now = 42.0  # 20 times 2 s after it was made
    exposition.text("")
    assert made == 3


def test_an_id_of_odd_signs_is_one_label_and_errors_are_none():
    status = full_status()
    status.sources = {'线1"}\\n 1': status.sources["line1"]}
    body = Exposition(lambda: status.report() | {"watchdog_fed": True}).text("")[1].decode()
    assert {sample.labels["source"] for family in families(body) for sample in family.samples
            if "source" in sample.labels} == {'线1"}\\n 1'}  # fmt: skip
    for word in ("192.168", "store:8086", "no space", "cannot merge", "retained"):
        assert word not in body


def test_figures_of_the_process_are_there_where_proc_shows_processes_alone(tmp_path):
    (tmp_path / "self").symlink_to("/proc/self")  # as ProcSubset=pid does: no /proc/stat
    made = Exposition(lambda: full_status().report() | {"watchdog_fed": True}, proc=str(tmp_path))
    seen = values(families(made.text("")[1].decode()))
    assert seen["process_resident_memory_bytes"] > 10 * 2**20
    assert seen["process_cpu_seconds_total"] > 0


def test_nothing_is_registered_with_the_registry_that_libraries_share():
    Exposition(lambda: full_status().report()).text("")
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("plantproof")]


# --- configuration ---


def plant_text(folder, *lines):
    folder.mkdir(exist_ok=True)
    text = ["version = 1", "[plant]", 'id = "works"', "[health]", *lines]
    (folder / "plant.toml").write_text("\n".join(text) + "\n", "utf-8")
    (folder / "assets.csv").write_text("asset\npress\n", "utf-8")
    (folder / "points.csv").write_text("point,asset\n", "utf-8")
    return folder


@pytest.mark.parametrize("listen", ["127.0.0.1:9103", "127.8.8.8:1", "[::1]:65535", "localhost:9103", "LocalHost:9103"])
def test_a_loopback_address_is_taken(tmp_path, listen):
    plant = load_plant(plant_text(tmp_path, f'listen = "{listen}"'))
    assert plant.health == Health(listen=listen)


def test_the_section_alone_means_its_default_and_no_section_means_none(tmp_path):
    assert load_plant(plant_text(tmp_path)).health == Health(listen="127.0.0.1:9103", beyond_loopback=False)
    text = (tmp_path / "plant.toml").read_text("utf-8").replace("[health]", "")
    (tmp_path / "plant.toml").write_text(text, "utf-8")
    assert load_plant(tmp_path).health is None


@pytest.mark.parametrize("listen", ["0.0.0.0:9103", "[::]:9103", "192.168.1.5:9103", "gateway:9103", "128.0.0.1:1"])
def test_an_address_beyond_the_loopback_is_refused_unless_it_is_asked_for(tmp_path, listen):
    folder = plant_text(tmp_path, f'listen = "{listen}"')
    said = CliRunner().invoke(cli, ["check", str(folder)])
    assert said.exit_code == exits.CONFIG
    assert said.stdout == (
        f"plant.toml:5: health.listen: health '{listen}': is not this machine's loopback, and whoever reaches it may "
        "read: there is no login and no encryption; write 127.0.0.1 or [::1] with a port, or beyond_loopback = true "
        "where the network is yours\n"
    )
    asked = load_plant(plant_text(tmp_path, f'listen = "{listen}"', "beyond_loopback = true"))
    assert asked.health.beyond_loopback


@pytest.mark.parametrize(
    "listen", ["", "9103", ":9103", "*:9103", "::1:9103", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "[]:1", "h:²",
               "http://127.0.0.1:9103", "127.0.0.1:9103/metrics", "127.0.0.1: 9103"]
)  # fmt: skip
def test_what_is_no_address_is_refused_at_its_line(tmp_path, listen):
    with pytest.raises(ConfigError) as error:
        load_plant(plant_text(tmp_path, f'listen = "{listen}"'))
    (fault,) = error.value.faults
    assert fault.place == "plant.toml:5: health.listen"
    assert fault.rule == "is no address with a port"


def test_a_misspelt_key_is_told_with_the_right_one(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'listen'"):
        load_plant(plant_text(tmp_path, 'lisen = "127.0.0.1:1"'))


def test_a_missing_library_is_a_fault_of_the_section_and_of_no_plant_without_it(tmp_path, monkeypatch):
    monkeypatch.setattr(health.importlib.util, "find_spec", lambda _: None)
    (fault,) = faults_of(load_plant(plant_text(tmp_path)))
    assert str(fault).startswith("plant.toml:4: health: health: wants prometheus-client, which is not installed; ")
    assert faults_of(Plant(id="p")) == []


# --- deploy/prometheus ---


def test_every_metric_and_label_of_the_alert_rules_exists():
    held = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text("utf-8"))
    known = rows(DOCS / "health.md", "Metrics")
    rules = [rule for group in held["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 5
    for rule in rules:
        used = set(re.findall(r"\b(?:plantproof|process)_\w+", rule["expr"]))
        assert used, rule["alert"]
        assert used <= known.keys(), rule["alert"]
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        words = " ".join(rule["annotations"].values())
        labels = {label for name in used for label in re.findall(r"`(\w+)`", known[name]["labels"])}
        assert set(re.findall(r"\$labels\.(\w+)", words)) - {"instance"} <= labels, rule["alert"]
        assert set(re.findall(r"(\w+)=~?\"", rule["expr"])) - {"job"} <= labels, rule["alert"]


def test_the_scrape_example_asks_the_agents_default_address():
    held = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text("utf-8"))
    job = held["scrape_configs"][0]
    assert job["static_configs"][0]["targets"] == [Health().listen]
    assert held["rule_files"] == ["alerts.yml"]

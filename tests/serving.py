"""A small plant, a real server of it on a loopback port, and a client that asks past any proxy."""

import base64
import itertools
import json
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import uvicorn

from collector.backfill import import_file
from config.load import load_plant
from kpis.evidence.archive import manifest, pack
from kpis.evidence.layout import DESCRIPTOR, MANIFEST
from kpis.server.app import Settings, make_app
from kpis.server.protocol import config_of
from kpis.server.tokens import Tokens

START = 1_763_596_800_000_000_000  # 2025-11-20T08:00:00+08:00
MINUTE = 60_000_000_000
END = START + 60 * MINUTE
FROM, TO = "2025-11-20T08:00:00+08:00", "2025-11-20T09:00:00+08:00"
DAY = ("2025-11-20", "2025-11-21")
ORDER = {"from": DAY[0], "to": DAY[1]}

PLANT = """version = 1
[plant]
id = "works"
timezone = "Asia/Shanghai"
day_start = 08:00:00
[[calendar]]
shifts = [{ name = "早班", start = 08:00:00, end = 16:00:00 }]
[[sink]]
kind = "parquet"
path = "lake"
"""
ASSETS = "asset,name,ideal_cycle\npress,1号冲压机,10\n"
POINTS = """point,asset,role,source,address,max_hold
press.state,press,state,,,10min
press.total,press,total,,,10min
"""


def hour():
    """An hour: 40 minutes of production at 6 pieces a minute, then a stop; one sample a minute."""
    yield "ts,point,value"
    for minute in range(61):
        yield f"{START + minute * MINUTE},press.state,{1 if minute < 40 else 3}"
        yield f"{START + minute * MINUTE},press.total,{6 * min(minute, 40)}"


def make_plant(folder: Path, more: str = "") -> Path:
    """The plant without samples; more: further sections of plant.toml."""
    folder.mkdir(parents=True)
    for name, text in (("plant.toml", PLANT + more), ("assets.csv", ASSETS), ("points.csv", POINTS)):
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def filled(folder: Path, more: str = "") -> Path:
    """The plant, whose lake holds an hour."""
    make_plant(folder, more)
    (folder / "hour.csv").write_text("\n".join(hour()), encoding="utf-8")
    assert import_file(load_plant(folder), folder / "hour.csv") == (122, ())
    return folder


def package_of(asked, *, plant="works", revision: int = 1, report: bool = True, padding: int = 0) -> bytes:
    """A package that says what was asked, and nothing of a plant's data."""
    about = {"plant": plant, "start_ns": asked.period[0], "end_ns": asked.period[1], "revision": revision}
    files = {
        DESCRIPTOR: json.dumps(
            {"plantproof": about | {"rubrics": list(asked.rubrics), "before": asked.before}}
        ).encode()
    }
    if report:
        files |= {"report.html": "<!doctype html>报告".encode(), "report.en.html": b"<!doctype html>report"}
    files |= {"data/facts.parquet": b"x" * padding} if padding else {}
    return pack(files | {MANIFEST: manifest(files)})


def quick(asked, progress) -> bytes:
    """A builder that needs no time."""
    progress("reading", 0.5)
    return package_of(asked)


@dataclass(frozen=True)
class Answer:
    """Status, headers and body of an answer."""

    status_code: int
    body: bytes
    headers: dict = field(default_factory=dict)

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json()["error"]


_COUNT = itertools.count()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *words):
        return None


@dataclass(frozen=True)
class Client:
    """Asks a server by the standard library, past any proxy."""

    base: str
    token: str = ""
    trusted: ssl.SSLContext | None = None

    def get(self, path, params=(), **headers):
        return self.request("GET", path, params, **headers)

    def post(self, path, data, **headers):
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        return self.request("POST", path, body=body, **{"content_type": "application/json"} | headers)

    def request(self, method, path, params=(), body=None, **headers):
        query = urllib.parse.urlencode(dict(params), doseq=True)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token and "authorization" not in sent:
            sent["authorization"] = f"Bearer {self.token}"
        url = f"{self.base}{path}{f'?{query}' if query else ''}"
        request = urllib.request.Request(url, data=body, method=method, headers=sent)
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.trusted), _NoRedirect()]
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=60) as answer:
                return Answer(answer.status, answer.read(), answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(), error.headers)

    def without_token(self):
        return replace(self, token="")

    def with_token(self, token):
        return replace(self, token=token)


def basic(token, user="anyone"):
    return "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


def token_of(folder: Path, *scopes: str, name: str = "tests") -> str:
    return Tokens(load_plant(folder).root).make(name, scopes or ("read", "build"))


def app_of(folder: Path, build=quick, **settings):
    """The API of a plant whose lake lies in its folder."""
    return make_app(load_plant(folder), folder / "lake", build, Settings(**settings))


@contextmanager
def running(app, tls=(None, None), trusted=None):
    """A client, without a token, of a real server on a free port."""
    server = uvicorn.Server(config_of(app, *tls))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # It listens already: until the server takes over, the kernel keeps a request waiting.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        scheme = "http" if trusted is None else "https"
        try:
            client = Client(f"{scheme}://127.0.0.1:{listening.getsockname()[1]}", trusted=trusted)
            assert client.get("/health").status_code == 200
            yield client
        finally:
            server.should_exit = True
            thread.join(60)
    assert not thread.is_alive()


@contextmanager
def served(folder: Path, build=quick, **settings):
    """A client with a token that may do anything."""
    name = f"tests-{next(_COUNT)}"
    token = token_of(folder, name=name)
    try:
        with running(app_of(folder, build, **settings)) as client:
            yield client.with_token(token)
    finally:
        Tokens(load_plant(folder).root).revoke(name)


def finished(client, url):
    """A job once it is over; asked for now and then, as the server works in this very process."""
    while (job := client.get(url).json())["state"] in ("queued", "running"):
        time.sleep(0.02)
    return job


def built(client, **order):
    """The package that an order leads to."""
    answer = client.post("/api/v1/evidence", ORDER | order)
    assert answer.status_code == 202, answer.body
    job = finished(client, answer.json()["url"])
    assert job["state"] == "done", job
    return client.get(f"/api/v1/evidence/{job['package']}").json()

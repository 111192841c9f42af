"""The REST API: the same figures as the command, and words for what makes no sense."""

import json
import socket
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from click.testing import CliRunner

from collector.backfill import import_file
from config.load import load_plant
from kpis.server.app import make_app
from plantproof import cli
from tests.test_evidence import END, MINUTE, PLANT, filled, make_plant

FROM, TO = "2025-11-20T08:00:00+08:00", "2025-11-20T09:00:00+08:00"
DAY = ("2025-11-20", "2025-11-21")


@pytest.fixture(scope="module")
def plant(tmp_path_factory) -> Path:
    return filled(tmp_path_factory.mktemp("server") / "plant")


@dataclass(frozen=True)
class Answer:
    """Status and body of a request."""

    status_code: int
    body: bytes

    def json(self):
        return json.loads(self.body)


@dataclass(frozen=True)
class Client:
    """Asks a server by the standard library, past any proxy."""

    base: str

    def get(self, path, params=()):
        return self.request("GET", path, params)

    def request(self, method, path, params=()):
        query = urllib.parse.urlencode(dict(params), doseq=True)
        request = urllib.request.Request(f"{self.base}{path}?{query}", method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return Answer(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read())


@contextmanager
def served(folder: Path):
    """A client of a real server on a free port."""
    app = make_app(load_plant(folder), folder / "lake")
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # It listens already: until the server takes over, the kernel keeps a request waiting.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Client(f"http://127.0.0.1:{listening.getsockname()[1]}")
        finally:
            server.should_exit = True
            thread.join(30)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def api(plant):
    with served(plant) as client:
        yield client


def told(plant, verb, *words):
    result = CliRunner().invoke(cli, [verb, str(plant), "--json", *words])
    return json.loads(result.stdout)


def test_health_names_the_plant(api):
    answer = api.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "plant": "works"}


@pytest.mark.parametrize("by", ["total", "shift", "hour", "day"])
def test_the_figures_are_those_of_the_kpi_command(api, plant, by):
    answer = api.get("/api/v1/kpis", params={"from": FROM, "to": TO, "by": by})
    assert answer.status_code == 200
    figures = answer.json()
    assert figures == told(plant, "kpi", "--from", FROM, "--to", TO, "--by", by)
    assert {f["subject"] for f in figures} == {"press", "works"}


def test_a_figure_is_what_the_hour_says(api):
    figures = api.get("/api/v1/kpis", params={"from": FROM, "to": TO, "asset": "press"}).json()
    values = {f["kpi"]: f["value"] for f in figures}
    assert values["produced_quantity"] == 240
    assert values["availability"] == pytest.approx(40 / 60)


def test_dates_are_production_days_of_the_plant(api, plant):
    answer = api.get("/api/v1/kpis", params={"from": DAY[0], "to": DAY[1]})
    assert answer.json() == told(plant, "kpi", "--from", DAY[0], "--to", DAY[1])
    assert answer.json()[0]["start"] == FROM


def test_assets_are_chosen_by_repeating_them(api):
    figures = api.get("/api/v1/kpis", params={"from": FROM, "to": TO, "asset": ["works", "press"]}).json()
    assert list(dict.fromkeys(f["subject"] for f in figures)) == ["works", "press"]


def test_the_indicators_are_those_of_the_command(api, plant):
    answer = api.get("/api/v1/indicators", params={"from": FROM, "to": TO})
    assert answer.status_code == 200
    command = told(plant, "indicators", "--from", FROM, "--to", TO)
    assert answer.json()["results"] == command["results"]
    assert [d["asset"] for d in answer.json()["devices"]] == [d["asset"] for d in command["devices"]] == ["press"]


def test_a_period_without_samples_has_figures_of_unknown_time(api):
    figures = api.get("/api/v1/kpis", params={"from": "2025-11-25", "to": "2025-11-26", "asset": "press"}).json()
    availability = next(f for f in figures if f["kpi"] == "availability")
    assert (availability["value"], availability["coverage"]) == (None, 0.0)


@pytest.mark.parametrize("path", ["/api/v1/kpis", "/api/v1/indicators"])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"from": FROM},
        {"from": "soon", "to": TO},
        {"from": "2025-11-20T08:00:00", "to": TO},  # no offset
        {"from": TO, "to": FROM},
        {"from": FROM, "to": FROM},
        {"from": "0001-01-01", "to": TO},
        {"from": FROM, "to": "9999-12-31"},
        {"from": "1601-01-01", "to": "1601-01-02"},
        {"from": "", "to": ""},
    ],
)
def test_a_period_that_makes_no_sense_is_422_with_the_reason(api, path, params):
    answer = api.get(path, params=params)
    assert answer.status_code == 422
    assert answer.json()["detail"]


def test_a_cut_that_there_is_not_is_422(api):
    assert api.get("/api/v1/kpis", params={"from": FROM, "to": TO, "by": "week"}).status_code == 422


@pytest.mark.parametrize("asset", ["nope", "", "pres", "press/", "../press", "*"])
def test_an_unknown_asset_is_404_and_named(api, asset):
    for path in ("/api/v1/kpis", "/api/v1/indicators"):
        answer = api.get(path, params={"from": FROM, "to": TO, "asset": ["press", asset]})
        assert answer.status_code == 404
        assert asset in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1/none", "/docs", "/redoc", "/health/x"])
def test_another_path_is_404(api, path):
    assert api.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/api/v1/kpis", "/api/v1/indicators", "/health"])
def test_nothing_can_be_written(api, path):
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert api.request(method, path, params={"from": FROM, "to": TO}).status_code == 405


def test_samples_that_come_later_are_in_the_next_answer(tmp_path):
    folder = filled(tmp_path / "plant")
    params = {"from": FROM, "to": "2025-11-20T10:00:00+08:00", "asset": "press"}
    with served(folder) as client:
        before = client.get("/api/v1/kpis", params=params).json()
        (folder / "more.csv").write_text(f"ts,point,value\n{END + 5 * MINUTE},press.total,250\n")
        import_file(load_plant(folder), folder / "more.csv")
        after = client.get("/api/v1/kpis", params=params).json()
    made = [next(f["value"] for f in figures if f["kpi"] == "produced_quantity") for figures in (before, after)]
    assert made == [240, 250]


def test_a_lake_that_cannot_be_read_is_503_and_health_still_answers(tmp_path):
    folder = filled(tmp_path / "plant")
    for file in (folder / "lake" / "samples").glob("*/*.parquet"):
        file.write_bytes(b"PAR1")
    with served(folder) as client:
        assert client.get("/api/v1/kpis", params={"from": FROM, "to": TO}).status_code == 503
        assert client.get("/health").status_code == 200


def test_a_calendar_whose_library_is_not_installed_is_503_with_the_next_step(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "holidays", None)
    folder = make_plant(tmp_path / "plant", plant=PLANT.replace("shifts =", 'holidays = "AT-9"\nshifts ='))
    with served(folder) as client:
        answers = [client.get(f"/api/v1/{of}", params={"from": FROM, "to": TO}) for of in ("kpis", "indicators")]
    assert [answer.status_code for answer in answers] == [503, 503]
    for answer in answers:
        assert "pip install 'plantproof[kpi]'" in answer.json()["detail"]


def test_a_plant_that_never_collected_answers_with_unknown_time(tmp_path):
    folder = make_plant(tmp_path / "plant")
    with served(folder) as client:
        figures = client.get("/api/v1/kpis", params={"from": FROM, "to": TO}).json()
    assert {f["coverage"] for f in figures if f["kpi"] == "availability"} == {0.0}

"""Packages by the API: ordered as jobs, kept on disk, handed out as they were written."""

import datetime as dt
import hashlib
import http.client
import json
import threading
from pathlib import Path

import pytest

from config.load import load_plant
from kpis.evidence.contents import Asked
from kpis.server import jobs as of_jobs
from kpis.server.jobs import BuildFault, Jobs, QueueFull
from kpis.server.shelf import DamagedPackage, Shelf
from tests.serving import DAY, END, ORDER, START, built, finished, make_plant, package_of, quick, served

EVIDENCE = "/api/v1/evidence"
ASKED = Asked(period=(START, END), before=None)


@pytest.fixture
def plant(tmp_path):
    return make_plant(tmp_path / "plant")


def on_disk(plant: Path) -> list[str]:
    return sorted(path.name for path in (plant / "var" / "evidence").iterdir() if path.is_file())


def test_an_order_is_a_job_that_leads_to_a_package(plant):
    with served(plant) as client:
        answer = client.post(EVIDENCE, ORDER)
        assert answer.status_code == 202
        assert answer.json().keys() == {"job", "url"}
        assert answer.headers["Location"] == answer.json()["url"] == f"{EVIDENCE}/jobs/{answer.json()['job']}"
        job = finished(client, answer.json()["url"])
        assert job == {"job": answer.json()["job"], "state": "done", "doing": "", "progress": 1.0, "error": None,
                       "package": job["package"]}  # fmt: skip
        (one,) = client.get(EVIDENCE).json()["packages"]
        assert one == client.get(one["url"]).json()
    data = (plant / "var" / "evidence" / f"{one['id']}.zip").read_bytes()
    assert one["sha256"] == hashlib.sha256(data).hexdigest()
    assert one["id"] == f"works-20251120-20251121-r1-{one['sha256'][:16]}"
    assert (one["plant"], one["revision"], one["replaces"], one["bytes"]) == ("works", 1, None, len(data))
    assert (one["start"], one["end"]) == ("2025-11-20T08:00:00+08:00", "2025-11-21T08:00:00+08:00")
    assert (one["key_id"], one["url"]) == (None, f"{EVIDENCE}/{one['id']}")
    assert dt.datetime.fromisoformat(one["built_at"]).tzinfo is not None


def test_the_builder_is_asked_for_what_the_order_says(plant):
    asked = []

    def noting(one, progress):
        asked.append(one)
        return package_of(one)

    with served(plant, noting) as client:
        built(client)
        built(client, compare="previous", rubrics=["factory-kpis-2025", "factory-kpis-2025"])
        built(client, compare="none", rubrics=[])
    day, hour = 24 * 60, 60_000_000_000
    first = (START, START + day * hour)
    assert [one.period for one in asked] == [first] * 3
    assert asked[0].before == (START - 365 * day * hour, START - 364 * day * hour)
    assert asked[1].before == (START - day * hour, START)
    assert asked[2].before is None
    assert [tuple(one.rubrics) for one in asked] == [("sme-2024", "factory-kpis-2025"), ("factory-kpis-2025",), ()]


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({}, "invalid_request"),
        ({"from": DAY[0]}, "invalid_request"),
        (ORDER | {"form": 1}, "invalid_request"),
        (ORDER | {"compare": "week"}, "invalid_request"),
        (ORDER | {"rubrics": ["../x"]}, "invalid_request"),
        (ORDER | {"rubrics": ["targets"]}, "invalid_request"),
        (ORDER | {"rubrics": "sme-2024"}, "invalid_request"),
        (ORDER | {"rubrics": ["sme-2024"] * 100}, "invalid_request"),
        (ORDER | {"from": 5}, "invalid_request"),
        (ORDER | {"from": None}, "invalid_request"),
        (ORDER | {"from": "x" * 1000}, "invalid_request"),
        (ORDER | {"from": "soon"}, "invalid_period"),
        (ORDER | {"from": DAY[1], "to": DAY[0]}, "invalid_period"),
        (ORDER | {"from": "2015-01-01"}, "period_too_long"),
        (ORDER | {"from": "\ud800"}, "invalid_request"),
        (ORDER | {"\ud800": 1}, "invalid_request"),
        ([], "invalid_request"),
        ("from", "invalid_request"),
        (None, "invalid_request"),
        (b"", "invalid_request"),
        (b"{", "invalid_request"),
        (b'{"from": NaN, "to": Infinity}', "invalid_request"),
        (b'{"from": ' + b"9" * 5000 + b"}", "bad_request"),
        (b"[" * 60_000, "bad_request"),
        (b'{"from": "\xff"}', "bad_request"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_with_the_reason(order_api, order, code):
    answer = order_api.post(EVIDENCE, order)
    assert answer.error["code"] == code, answer.body
    assert answer.status_code == (400 if code == "bad_request" else 422)
    assert answer.error["message"]
    assert answer.error["next"]


@pytest.fixture(scope="module")
def order_api(tmp_path_factory):
    with served(make_plant(tmp_path_factory.mktemp("orders") / "plant")) as client:
        yield client


def test_two_same_builds_are_one_package(plant):
    with served(plant) as client:
        first, second = built(client), built(client)
        assert first == second
        assert len(client.get(EVIDENCE).json()["packages"]) == 1
    assert on_disk(plant) == [f"{first['id']}.json", f"{first['id']}.zip"]


def test_the_list_is_in_the_order_of_building_and_survives_a_restart(plant):
    days = [f"2025-11-{day}" for day in (23, 21, 22)]
    with served(plant) as client:
        ids = [built(client, **{"from": day, "to": "2025-11-25"})["id"] for day in days]
        before = client.get(EVIDENCE).json()
        assert [one["id"] for one in before["packages"]] == ids
    with served(plant) as client:
        assert client.get(EVIDENCE).json() == before


class Held:
    """A builder that says how far it is, and goes on once it is told to."""

    def __init__(self):
        self.reached, self.go, self.count = threading.Event(), threading.Event(), 0

    def __call__(self, asked, progress):
        self.count += 1
        progress("reading", 0.25)
        self.reached.set()
        assert self.go.wait(60)
        progress("writing", 0.75)
        return package_of(asked)


def orders(n):
    return [ORDER | {"from": f"2025-10-{day:02d}"} for day in range(1, n + 1)]


def test_one_job_runs_at_a_time_and_says_how_far_it_is(plant):
    held = Held()
    with served(plant, held) as client:
        first, second = (client.post(EVIDENCE, order).json()["url"] for order in orders(2))
        assert held.reached.wait(60)
        job = client.get(first).json()
        assert (job["state"], job["doing"], job["progress"]) == ("running", "reading", 0.25)
        assert client.get(second).json()["state"] == "queued"
        assert client.get("/health").status_code == 200
        held.go.set()
        assert finished(client, first)["state"] == finished(client, second)["state"] == "done"
    assert held.count == 2


def test_the_same_order_while_it_waits_or_runs_is_the_same_job(plant):
    held = Held()
    with served(plant, held) as client:
        first, second = orders(2)
        jobs = [client.post(EVIDENCE, order).json()["job"] for order in (first, second, first, second)]
        assert jobs[:2] == jobs[2:]
        assert jobs[0] != jobs[1]
        held.go.set()
        finished(client, f"{EVIDENCE}/jobs/{jobs[1]}")
        assert client.post(EVIDENCE, first).json()["job"] not in jobs
    assert held.count == 3


def test_jobs_above_the_limit_are_429_and_say_when_to_come_back(plant):
    held = Held()
    with served(plant, held) as client:
        first, *rest = orders(of_jobs.MOST_QUEUED + 2)
        client.post(EVIDENCE, first)
        assert held.reached.wait(60)
        answers = [client.post(EVIDENCE, order) for order in rest]
        assert [answer.status_code for answer in answers] == [202] * of_jobs.MOST_QUEUED + [429]
        assert answers[-1].error["code"] == "queue_full"
        assert int(answers[-1].headers["Retry-After"]) > 0
        held.go.set()


def test_a_job_that_a_restart_interrupts_is_told_as_failed(plant):
    held = Held()
    with served(plant, held) as client:
        running, waiting = (client.post(EVIDENCE, order).json()["url"] for order in orders(2))
        assert held.reached.wait(60)
        # The builder goes on only after the server began to end: its next word of progress is its last.
        threading.Timer(0.5, held.go.set).start()
    with served(plant) as client:
        for url in (running, waiting):
            job = client.get(url).json()
            assert (job["state"], job["error"]["code"], job["package"]) == ("failed", "interrupted", None)
            assert job["error"]["next"] == "order it again"
        assert client.get(EVIDENCE).json() == {"packages": [], "damaged": []}
        assert built(client)


def test_a_job_that_was_killed_is_told_as_failed(plant, tmp_path):
    folder = tmp_path / "jobs"
    held = Held()
    killed = Jobs(folder, lambda asked, progress: held(asked, progress) and "x")
    killed.start()
    name = killed.order(ASKED).job
    assert held.reached.wait(60)
    after = Jobs(folder, lambda *_: "x")  # the first one's file says that it runs
    after.start()
    assert (after.find(name).state, after.find(name).error.code) == ("failed", "interrupted")
    held.go.set()
    killed.stop()
    after.stop()


def test_a_job_that_is_done_is_told_after_a_restart(plant):
    with served(plant) as client:
        url = client.post(EVIDENCE, ORDER).json()["url"]
        job = finished(client, url)
    with served(plant) as client:
        assert client.get(url).json() == job


def refusing(asked, progress):
    raise BuildFault("config/x.csv lies outside the plant's folder; move the file into it")


def breaking(asked, progress):
    raise ZeroDivisionError("secret detail")


def test_what_cannot_be_built_is_told_with_the_next_step(plant):
    with served(plant, refusing) as client:
        job = finished(client, client.post(EVIDENCE, ORDER).json()["url"])
    said = {"message": "config/x.csv lies outside the plant's folder", "next": "move the file into it"}
    assert (job["state"], job["error"]) == ("failed", {"code": "build_failed"} | said)


def test_a_fault_of_the_builder_ends_its_job_alone_and_its_detail_stays_in_the_log(plant, caplog):
    builders = [breaking, quick]

    def build(asked, progress):
        return builders.pop(0)(asked, progress)

    with served(plant, build) as client:
        job = finished(client, client.post(EVIDENCE, ORDER).json()["url"])
        assert (job["state"], job["error"]["code"]) == ("failed", "unexpected")
        assert "secret detail" not in json.dumps(job)
        assert built(client)
    assert "secret detail" in caplog.text


def test_a_disk_that_takes_no_package_is_told(plant, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with served(plant) as client:
        monkeypatch.setattr("kpis.server.shelf.files.write_json", full)
        monkeypatch.setattr("kpis.server.jobs.Jobs._write", lambda *_: None)
        job = finished(client, client.post(EVIDENCE, ORDER).json()["url"])
        assert job["state"] == "failed"
        assert "No space left on device" in job["error"]["message"]
        monkeypatch.setattr("kpis.server.jobs.Jobs._write", full)
        answer = client.post(EVIDENCE, ORDER | {"compare": "none"})
        assert (answer.status_code, answer.error["code"]) == (503, "not_kept")
        monkeypatch.undo()


@pytest.mark.parametrize(
    "name",
    ["x", "..", "%2e%2e", "..%2f..%2fplant.toml", "%00", "x" * 201, "jobs", ".unfinished-1", "a%2Fb", "*", "%ff"],
)
def test_an_id_that_there_is_not_leads_nowhere(order_api, name):
    for path in (
        f"{EVIDENCE}/{name}",
        f"{EVIDENCE}/{name}/package",
        f"{EVIDENCE}/{name}/report",
        f"{EVIDENCE}/jobs/{name}",
    ):
        answer = order_api.get(path)
        assert answer.status_code in (404, 422), path
        assert answer.error["code"] in ("unknown_package", "unknown_job", "unknown_path", "invalid_request"), path


def test_a_package_is_downloaded_as_it_lies_on_disk(plant):
    with served(plant, lambda asked, _: package_of(asked, padding=3_000_000)) as client:
        one = built(client)
        answer = client.get(f"{one['url']}/package")
        data = (plant / "var" / "evidence" / f"{one['id']}.zip").read_bytes()
        assert answer.body == data
        assert answer.headers["ETag"] == f'"{one["sha256"]}"'
        assert answer.headers["Content-Length"] == str(len(data)) == str(one["bytes"])
        assert answer.headers["Content-Type"] == "application/zip"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{one["id"]}.zip"'
        head = client.request("HEAD", f"{one['url']}/package")
        assert (head.status_code, head.body) == (200, b"")
        for name in ("ETag", "Content-Length", "Content-Type", "Content-Disposition"):
            assert head.headers[name] == answer.headers[name]


def test_who_has_a_package_is_not_sent_it_again(plant):
    with served(plant) as client:
        one = built(client)
        path, tag = f"{one['url']}/package", f'"{one["sha256"]}"'
        for sent in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            for method in ("GET", "HEAD"):
                answer = client.request(method, path, if_none_match=sent)
                assert (answer.status_code, answer.body, answer.headers["ETag"]) == (304, b"", tag), sent
        for sent in ('"x"', tag[:-2] + '"', ""):
            assert client.get(path, if_none_match=sent).status_code == 200


def test_a_download_that_broke_off_can_be_taken_up(plant):
    with served(plant) as client:
        one = built(client)
        whole = client.get(f"{one['url']}/package").body
        rest = client.get(f"{one['url']}/package", range="bytes=100-", if_range=f'"{one["sha256"]}"')
        assert (rest.status_code, rest.body) == (206, whole[100:])
        other = client.get(f"{one['url']}/package", range="bytes=100-", if_range='"x"')
        assert (other.status_code, other.body) == (200, whole)


@pytest.fixture
def damaged(plant):
    """A plant with two packages, of which the first one has one flipped byte."""
    with served(plant) as client:
        first, second = built(client), built(client, compare="none", rubrics=[])
    path = plant / "var" / "evidence" / f"{first['id']}.zip"
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data)
    return plant, first, second


def test_a_damaged_package_is_told_and_not_handed_out_and_the_others_are(damaged):
    plant, first, second = damaged
    with served(plant) as client:
        listed = client.get(EVIDENCE).json()
        assert listed["packages"] == [second]
        assert [one["file"] for one in listed["damaged"]] == [first["id"]]
        for path in ("", "/package", "/report"):
            answer = client.get(first["url"] + path)
            assert (answer.status_code, answer.error["code"]) == (409, "package_damaged")
            assert "build its period again" in answer.error["next"]
        assert client.get(f"{second['url']}/package").status_code == 200


def test_a_damaged_package_is_whole_again_once_its_period_is_built_again(damaged):
    plant, first, _ = damaged
    with served(plant) as client:
        again = built(client)
        assert again["id"] == first["id"]
        assert client.get(EVIDENCE).json()["damaged"] == []
        assert client.get(f"{first['url']}/package").headers["ETag"] == f'"{first["sha256"]}"'


def test_a_file_that_changes_while_the_server_runs_is_not_handed_out(plant):
    with served(plant) as client:
        one = built(client)
        assert client.get(f"{one['url']}/package").status_code == 200
        (plant / "var" / "evidence" / f"{one['id']}.zip").write_bytes(b"another")
        assert client.get(f"{one['url']}/package").status_code == 409


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.json", b"{}"),
        ("x.json", b"\xff"),
        ("x.json", b"[]"),
        ("x.zip", b"PK"),
        ("x.json", json.dumps(dict.fromkeys(Shelf.__annotations__, "x")).encode()),
    ],
)
def test_a_stranger_in_the_folder_is_told(plant, name, data):
    with served(plant) as client:
        (plant / "var" / "evidence" / name).write_bytes(data)
        assert [one["file"] for one in client.get(EVIDENCE).json()["damaged"]] == ["x"]
        assert client.get(f"{EVIDENCE}/x/package").status_code in (404, 409)
        assert built(client)


def test_a_package_that_names_another_ones_id_is_damaged(plant):
    shelf = Shelf(load_plant(plant), plant / "shelf")
    shelf.start()
    one = shelf.put(package_of(ASKED))
    for ending in ("json", "zip"):
        (shelf.folder / f"other.{ending}").write_bytes((shelf.folder / f"{one.id}.{ending}").read_bytes())
    with pytest.raises(DamagedPackage, match="is not the package that was written"):
        shelf.find("other")


def test_what_an_interrupted_write_left_is_cleared_away(plant):
    folder = plant / "var" / "evidence"
    folder.mkdir(parents=True)
    (folder / ".unfinished-0123").write_bytes(b"half")
    with served(plant) as client:
        assert client.get(EVIDENCE).json() == {"packages": [], "damaged": []}
    assert on_disk(plant) == []


def test_an_id_is_a_files_name_on_any_system_whatever_the_plant_is_called(plant):
    text = (plant / "plant.toml").read_text(encoding="utf-8")
    (plant / "plant.toml").write_text(text.replace('"works"', '"CON:江宁/A.b"'), encoding="utf-8")
    shelf = Shelf(load_plant(plant), plant / "shelf")
    shelf.start()
    data = package_of(ASKED, plant="CON:江宁/A.b")
    assert shelf.put(data).id.startswith("con-a-b-20251120-20251120-r1-")


def test_evidence_lies_where_the_plant_says(tmp_path):
    folder = make_plant(tmp_path / "plant", '[evidence]\npath = "elsewhere"\n')
    with served(folder) as client:
        one = built(client)
    assert (folder / "elsewhere" / f"{one['id']}.zip").exists()


def test_only_the_latest_jobs_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(of_jobs, "KEPT", 2)
    folder = tmp_path / "jobs"
    folder.mkdir()
    names = [f"179343360000{n}-{'0' * 16}" for n in range(4)]
    for name in names:
        (folder / f"{name}.json").write_text("damaged")
    jobs = Jobs(folder, lambda *_: "x")
    jobs.start()
    assert [path.stem for path in sorted(folder.iterdir())] == names[2:]
    assert jobs.find(names[3]).error.code == "unreadable"
    jobs.stop()


def test_a_server_that_runs_for_years_forgets_its_oldest_jobs(plant, monkeypatch):
    monkeypatch.setattr(of_jobs, "KEPT", 2)
    with served(plant) as client:
        urls = []
        for order in orders(5):
            urls.append(client.post(EVIDENCE, order).json()["url"])
            finished(client, urls[-1])
        assert [client.get(url).status_code for url in urls] == [404, 404, 200, 200, 200]
    assert len(list((plant / "var" / "evidence" / "jobs").iterdir())) == 3


def test_no_order_is_taken_once_the_queue_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(of_jobs, "MOST_QUEUED", 0)
    jobs = Jobs(tmp_path, lambda *_: "x")
    with pytest.raises(QueueFull):
        jobs.order(ASKED)


def test_a_connection_serves_one_request_after_another(order_api):
    connection = http.client.HTTPConnection(order_api.base.removeprefix("http://"), timeout=30)
    for _ in range(3):
        connection.request("GET", EVIDENCE, headers={"Authorization": f"Bearer {order_api.token}"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()[:13]) == (200, b'{"packages":[')
    connection.close()

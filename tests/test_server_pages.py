"""What people see of the server: packages, reports, and the API's description, without anything from elsewhere."""

import base64
import hashlib
import html.parser
import json
import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from kpis.server import models, packages, push_routes
from kpis.server.examples import ANSWERS, DEVICE, FIGURE
from kpis.server.pages import MEANINGS
from kpis.server.words import FAULTS, ROUTES
from tests.serving import app_of, basic, built, make_plant, package_of, served

MODELS = {
    "health": models.Health,
    "kpis": list[models.Result],
    "indicators": models.Indicators,
    "devices": models.Devices,
    "rubrics": models.Rubrics,
    "rubric": models.Assessment,
    "packages": packages.Packages,
    "order": packages.Started,
    "job": packages.JobState,
    "package": packages.PackageAnswer,
    "pushes": push_routes.PushTargets,
}


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    return make_plant(tmp_path_factory.mktemp("pages") / "plant")


@pytest.fixture(scope="module")
def api(plant):
    with served(plant) as client:
        built(client)
        yield client


@pytest.fixture(scope="module")
def openapi(plant):
    return app_of(plant).openapi()


def operations(openapi):
    return {
        one["operationId"]: (path, method, one) for path, of in openapi["paths"].items() for method, one in of.items()
    }


class Page(html.parser.HTMLParser):
    """What a page asks a browser to fetch, run or follow."""

    def __init__(self, answer):
        super().__init__()
        self.tags, self.links, self.sources, self.attributes = set(), [], [], set()
        self.text = answer.body.decode()
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name == "href"]
        self.sources += [value for name, value in attrs if name in ("src", "srcset", "data", "action")]


@pytest.mark.parametrize("path", ["/", "/docs"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_page_runs_nothing_and_fetches_nothing(api, path, lang):
    answer = api.get(path, {"lang": lang})
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    page = Page(answer)
    assert f'<html lang="{lang}">' in page.text
    assert not page.tags & {"script", "link", "img", "iframe", "object", "form", "base"}
    assert page.sources == []
    assert not {name for name in page.attributes if name.startswith("on") or name == "style"}
    assert all(link.startswith(("/", "?", "#")) for link in page.links)


def test_the_pages_own_style_is_the_one_that_their_policy_lets_in(api):
    answer = api.get("/")
    style = re.search(r"<style>(.*?)</style>", answer.body.decode(), re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("asked", "lang"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("de-DE,de;q=0.9", "en"),
        ("fr;q=0.9,zh;q=0.5,en;q=0.4", "zh"),
        ("zh;q=x,en;q=0.1", "en"),
        ("*", "en"),
        ("", "en"),
    ],
)
def test_a_page_is_in_the_language_that_the_browser_asks_for(api, asked, lang):
    assert api.get("/", accept_language=asked).headers["Content-Language"] == lang
    assert api.get("/", {"lang": "zh"}, accept_language=asked).headers["Content-Language"] == "zh"


def test_where_the_browser_asks_for_none_it_is_the_servers_language(tmp_path):
    with served(make_plant(tmp_path / "plant"), lang="zh") as client:
        assert "尚未生成证据包" in client.get("/").body.decode()


def test_a_language_that_there_is_not_is_refused(api):
    assert api.get("/", {"lang": "de"}).status_code == 422
    assert api.get("/docs", {"language": "en"}).status_code == 422


def test_the_first_page_leads_to_reports_and_packages_with_a_browsers_password(api):
    client = api.with_token("")
    page = Page(client.get("/", authorization=basic(api.token)))
    (one,) = api.get("/api/v1/evidence").json()["packages"]
    assert f"{one['id']}.zip" in page.text
    for link, said in (
        (f"{one['url']}/report?lang=zh", "<!doctype html>报告"),
        (f"{one['url']}/report?lang=en", "<!doctype html>report"),
    ):
        assert link in page.links
        assert client.get(link, authorization=basic(api.token)).body.decode() == said
    assert client.get(f"{one['url']}/package", authorization=basic(api.token)).status_code == 200


def test_a_report_may_run_nothing_fetch_nothing_and_send_nothing(api):
    (one,) = api.get("/api/v1/evidence").json()["packages"]
    answer = api.get(f"{one['url']}/report", accept_language="zh")
    assert (answer.headers["Content-Language"], answer.headers["Content-Type"]) == ("zh", "text/html; charset=utf-8")
    policy = [part.strip() for part in answer.headers["Content-Security-Policy"].split(";")]
    assert {"default-src 'none'", "form-action 'none'", "base-uri 'none'", "frame-ancestors 'none'", "sandbox"} <= set(
        policy
    )
    assert not [part for part in policy if part.startswith(("script-src", "connect-src"))]


def test_a_package_without_a_report_says_so(tmp_path):
    with served(make_plant(tmp_path / "plant"), lambda asked, _: package_of(asked, report=False)) as client:
        one = built(client)
        answer = client.get(f"{one['url']}/report", {"lang": "en"})
        assert (answer.status_code, answer.error["code"]) == (404, "no_report")


def test_a_name_that_is_html_stays_a_name(tmp_path):
    folder = make_plant(tmp_path / "plant")
    text = (folder / "plant.toml").read_text(encoding="utf-8")
    name = "<script>alert(1)</script>"
    (folder / "plant.toml").write_text(text.replace('id = "works"', f'id = "works"\nname = "{name}"'), encoding="utf-8")
    with served(folder) as client:
        (folder / "var" / "evidence" / "<b>x.json").write_text("{}")
        page = Page(client.get("/"))
    assert not page.tags & {"script", "b"}
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "&lt;b&gt;x" in page.text


def test_every_route_has_words_in_both_languages_and_an_example_that_holds(openapi):
    found = operations(openapi)
    assert found.keys() == ROUTES.keys()
    for name, (path, _, one) in found.items():
        assert one["summary"] == ROUTES[name].title.en, path
        assert re.search(r"[一-鿿]", one["x-summary-zh"]), path
        assert one["description"], path
    assert ANSWERS.keys() == MODELS.keys()
    for name, model in MODELS.items():
        TypeAdapter(model).validate_python(ANSWERS[name])
        (_, _, one) = found[name]
        good = next(told for status, told in one["responses"].items() if status.startswith("2"))
        assert good["content"]["application/json"]["example"] == ANSWERS[name]
        assert good["content"]["application/json"]["schema"]


def test_every_error_has_an_example_in_the_shape_of_every_error(openapi):
    found = operations(openapi)
    told = set()
    for path, _, one in found.values():
        for status, answer in one["responses"].items():
            if int(status) < 400:
                continue
            content = answer["content"]["application/json"]
            assert content["schema"] == {"$ref": "#/components/schemas/Fault"}, path
            for code, example in content["examples"].items():
                assert example["value"]["error"]["code"] == code
                assert FAULTS[code][0] == int(status)
                told.add(code)
    assert told == FAULTS.keys() - {"unknown_path"}  # that one is of no route


def test_every_code_that_the_server_can_answer_is_described():
    sources = "".join(path.read_text("utf-8") for path in Path(packages.__file__).parent.rglob("*.py"))
    used = set(re.findall(r'\b(?:ApiError(?:\.of)?|response)\(\s*\d{3}, "([a-z_]+)"', sources))
    assert used <= FAULTS.keys()
    assert len(used) > 15


def test_every_route_but_health_is_described_as_locked(openapi):
    for path, method, one in operations(openapi).values():
        kinds = [next(iter(each)) for each in one["security"]]
        assert kinds == ([] if path == "/health" else ["bearer", "basic"] if method == "get" else ["bearer"]), path


def test_the_description_is_served_as_it_is(api, openapi):
    assert api.get("/openapi.json").json() == json.loads(json.dumps(openapi))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_docs_page_shows_every_route_with_parameters_and_errors(api, openapi, lang):
    text = api.get("/docs", {"lang": lang}).body.decode()
    for name, (path, method, one) in operations(openapi).items():
        assert f'id="{name}"' in text
        assert f"<code>{path}</code>" in text
        assert method.upper() in text
        assert ROUTES[name].title.into(lang) in text.replace("&#39;", "'")
        for parameter in one.get("parameters", ()):
            assert f"<code>{parameter['name']}</code>" in text
            assert parameter["name"] in MEANINGS
    assert "took_too_long" in text
    assert "0123456789abcdef" in text  # of the example of a job


def test_the_models_know_every_field_that_figures_and_devices_have():
    for model, example in ((models.Figure, FIGURE), (models.Device, DEVICE)):
        assert model.model_validate(example).model_extra == {}
        assert set(model.model_fields) == set(example)

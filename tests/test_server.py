"""The REST API's figures: the same as the command's, and words for what makes no sense."""

import json
import sys

import pytest
from click.testing import CliRunner

from collector.backfill import import_file
from config.load import load_plant
from plantproof import cli
from tests import assessed_plant
from tests.serving import DAY, END, FROM, MINUTE, PLANT, TO, filled, make_plant, served


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("server") / "plant")


@pytest.fixture(scope="module")
def api(plant):
    with served(plant) as client:
        yield client


def told(plant, verb, *words):
    result = CliRunner().invoke(cli, [verb, str(plant), "--json", *words])
    return json.loads(result.stdout)


def test_health_says_ok_and_nothing_of_the_plant(api):
    answer = api.without_token().get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


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
    assert answer.error["message"]


def test_a_cut_that_there_is_not_is_422(api):
    assert api.get("/api/v1/kpis", params={"from": FROM, "to": TO, "by": "week"}).status_code == 422


@pytest.mark.parametrize("asset", ["nope", "", "pres", "press/", "../press", "*"])
def test_an_unknown_asset_is_404_and_named(api, asset):
    for path in ("/api/v1/kpis", "/api/v1/indicators"):
        answer = api.get(path, params={"from": FROM, "to": TO, "asset": ["press", asset]})
        assert answer.status_code == 404
        assert asset in answer.error["message"]


@pytest.mark.parametrize("path", ["/api", "/api/v1/none", "/docs/", "/redoc", "/health/x", "//", "/api/v1/kpis/"])
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
    folder = make_plant(tmp_path / "plant")
    (folder / "plant.toml").write_text(PLANT.replace("shifts =", 'holidays = "AT-9"\nshifts ='), encoding="utf-8")
    with served(folder) as client:
        answers = [client.get(f"/api/v1/{of}", params={"from": FROM, "to": TO}) for of in ("kpis", "indicators")]
    assert [answer.status_code for answer in answers] == [503, 503]
    for answer in answers:
        assert answer.error["code"] == "store_unreadable"
        assert "pip install 'plantproof[kpi]'" in answer.error["next"]


def test_a_plant_that_never_collected_answers_with_unknown_time(tmp_path):
    folder = make_plant(tmp_path / "plant")
    with served(folder) as client:
        figures = client.get("/api/v1/kpis", params={"from": FROM, "to": TO}).json()
    assert {f["coverage"] for f in figures if f["kpi"] == "availability"} == {0.0}


@pytest.fixture(scope="module")
def assessed(tmp_path_factory):
    """Ten machines, two years, declared values."""
    folder = assessed_plant.write(tmp_path_factory.mktemp("assessed") / "plant")
    import_file(load_plant(folder), folder / "samples.csv")
    return folder


@pytest.fixture(scope="module")
def api_of_assessed(assessed):
    with served(assessed) as client:
        yield client


MONTH = ("2025-01-01", "2025-02-01")


def of_the_command(plant, *words):
    return told(plant, "indicators", "--from", MONTH[0], "--to", MONTH[1], *words)


@pytest.mark.parametrize("compare", ["year", "previous"])
def test_comparisons_kinds_and_tables_are_those_of_the_command(assessed, api_of_assessed, compare):
    params = {"from": MONTH[0], "to": MONTH[1], "compare": compare, "kinds": "true", "tables": "true"}
    answer = api_of_assessed.get("/api/v1/indicators", params).json()
    command = of_the_command(assessed, "--compare", compare, "--kinds", "--tables")
    assert answer["comparisons"]
    for part in ("results", "comparisons", "kinds", "tables", "incomparable"):
        assert answer[part] == command[part], part
    assert answer.keys() == command.keys() | {"faults"}


def test_indicators_of_a_group_are_those_of_the_command(assessed, api_of_assessed):
    params = {"from": MONTH[0], "to": MONTH[1], "asset": "line1"}
    answer = api_of_assessed.get("/api/v1/indicators", params).json()
    assert answer["results"] == of_the_command(assessed, "--asset", "line1")["results"]
    assert {one["subject"] for one in answer["results"]} == {"line1"}


@pytest.mark.parametrize("rubric", ["sme-2024", "factory-kpis-2025"])
def test_an_assessment_is_that_of_the_command(assessed, api_of_assessed, rubric):
    answer = api_of_assessed.get(f"/api/v1/rubrics/{rubric}", {"from": MONTH[0], "to": MONTH[1]}).json()
    assert answer == of_the_command(assessed, "--rubric", rubric)["rubrics"][0]


def test_the_targets_are_held_against_a_period_as_well(assessed, api_of_assessed):
    answer = api_of_assessed.get("/api/v1/rubrics/targets", {"from": MONTH[0], "to": MONTH[1]}).json()
    assert answer == of_the_command(assessed, "--rubric", "sme-2024")["targets"]


def test_each_rubric_of_the_list_leads_to_its_assessment(api_of_assessed):
    listed = api_of_assessed.get("/api/v1/rubrics").json()["rubrics"]
    assert {"sme-2024", "factory-kpis-2025", "targets"} <= {one["id"] for one in listed}
    for one in listed:
        answer = api_of_assessed.get(one["url"], {"from": "2025-01-01", "to": "2025-01-02"})
        assert (answer.status_code, answer.json()["rubric"]) == (200, one["id"])


def test_an_unknown_rubric_is_404_and_named(api):
    answer = api.get("/api/v1/rubrics/nope", {"from": FROM, "to": TO})
    assert (answer.status_code, answer.error["code"]) == (404, "unknown_rubric")
    assert "nope" in answer.error["message"]


def test_the_device_list_says_the_three_states(api_of_assessed):
    answer = api_of_assessed.get("/api/v1/devices", {"from": MONTH[0], "to": MONTH[1]}).json()
    by_id = {one["asset"]: one for one in answer["devices"]}
    states = ("counted", "connectable", "connected", "evidenced")
    assert [by_id["line1/press1"][name] for name in states] == [True, True, True, True]
    assert [by_id["line1/press4"][name] for name in states] == [True, True, False, False]
    assert [by_id["line2/saw1"][name] for name in states] == [True, False, False, False]
    assert by_id["line2/lathe9"]["excluded"] == "已封存"
    assert by_id["line1/press1"]["first_good"] == "2025-01-01T00:00:00+08:00"
    assert answer["evidenced_share"] == 0.5


def test_kpis_are_chosen_by_naming_them(api):
    params = {"from": FROM, "to": TO, "kpi": ["oee", "availability"], "asset": "press"}
    figures = api.get("/api/v1/kpis", params).json()
    assert {f["kpi"] for f in figures} == {"oee", "availability"}
    answer = api.get("/api/v1/kpis", {"from": FROM, "to": TO, "kpi": "ooe"})
    assert (answer.status_code, answer.error["code"]) == (404, "unknown_kpi")


def test_ten_years_are_too_long(api):
    for of in ("kpis", "indicators", "devices", "rubrics/sme-2024"):
        answer = api.get(f"/api/v1/{of}", {"from": "2015-01-01", "to": "2025-01-01"})
        assert (answer.status_code, answer.error["code"]) == (422, "period_too_long")
        assert "3653 days" in answer.error["message"]


def test_five_years_by_the_hour_are_too_many_rows_and_one_kpi_of_a_day_is_not(api):
    years = {"from": "2020-01-01", "to": "2025-01-01", "by": "hour"}
    assert api.get("/api/v1/kpis", years).error["code"] == "too_many_rows"
    one = {"from": DAY[0], "to": DAY[1], "by": "hour", "kpi": "oee", "asset": "press"}
    assert len(api.get("/api/v1/kpis", one).json()) == 8  # the hours of the shift


@pytest.mark.parametrize("path", ["kpis", "indicators", "devices", "rubrics/sme-2024"])
def test_a_parameter_that_is_misspelled_is_refused(api, path):
    answer = api.get(f"/api/v1/{path}", {"from": FROM, "to": TO, "form": "x"})
    assert (answer.status_code, answer.error["code"]) == (422, "invalid_request")
    assert "form" in answer.error["message"]


@pytest.mark.parametrize(("first", "compare"), [("1680-01-01", "year"), ("1678-01-05", "previous")])
def test_a_period_before_which_there_is_no_time_is_refused_or_answered(api, first, compare):
    answer = api.get("/api/v1/indicators", {"from": first, "to": "1680-01-02", "compare": compare})
    assert answer.status_code in (200, 422)

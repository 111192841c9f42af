"""Requests made from the API's own description at a running server: every answer is one that it describes, no fault."""

from datetime import timedelta

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, strategies
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from kpis.server.words import ROUTES
from tests.serving import FROM, ORDER, TO, app_of, built, filled, served

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    ignored_auth,
]
SETTINGS = hypothesis.settings(
    max_examples=16,
    deadline=timedelta(seconds=60),
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("schema") / "plant")


@pytest.fixture(scope="module")
def api(plant):
    with served(plant) as client:
        yield client


@pytest.fixture(scope="module")
def real(api):
    """What there is of what ids in paths stand for."""
    job = api.post("/api/v1/evidence", ORDER).json()
    return {"id": built(api)["id"], "job": job["job"], "rubric": "sme-2024"}


def operation_of(plant, api, name):
    openapi = app_of(plant).openapi()
    schema = schemathesis.openapi.from_dict(openapi)
    schema.config.update(base_url=api.base)
    path, method = next(
        (path, method) for path, of in openapi["paths"].items() for method in of if of[method]["operationId"] == name
    )
    return schema[path][method]


def check(operation, api, mode, mend):
    """Ask what the description leads to; `mend` makes of a half of it what the plant can answer. Returns statuses."""
    statuses = set()

    @hypothesis.given(case=operation.as_strategy(generation_mode=mode), sound=strategies.booleans())
    @SETTINGS
    def asked(case, sound):
        if sound:
            mend(case)
        token = {"Authorization": f"Bearer {api.token}"}
        statuses.add(case.call_and_validate(checks=CHECKS, headers=token, timeout=60).status_code)

    asked()
    return statuses


@pytest.mark.parametrize("name", ROUTES)
def test_no_request_made_from_the_description_breaks_a_route(plant, api, real, name):
    def mend(case):
        for name, value in real.items():
            if name in (case.path_parameters or {}):
                case.path_parameters[name] = value
        for part in (case.query, case.body):
            if isinstance(part, dict) and {"from", "to"} <= part.keys():
                part |= {"from": FROM, "to": TO}

    operation = operation_of(plant, api, name)
    assert {200, 202} & check(operation, api, GenerationMode.POSITIVE, mend)


@pytest.mark.parametrize("name", ["kpis", "indicators", "devices", "rubric", "order", "report", "docs", "home"])
def test_no_request_that_is_not_as_described_breaks_a_route(plant, api, name):
    assert 422 in check(operation_of(plant, api, name), api, GenerationMode.NEGATIVE, lambda _: None)

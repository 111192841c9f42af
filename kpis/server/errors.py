"""What the API says where it cannot do what was asked: one shape, stable codes, the next step."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

log = logging.getLogger("plantproof.server")

_SHOWN = 80
"""Of a value that a client sent, so many signs are told back."""


class Said(BaseModel):
    """What is wrong."""

    code: str = Field(description="Stable within a version of the API; see docs/api.md", examples=["invalid_period"])
    message: str = Field(description="The thing, the value and the rule")
    next: str = Field(description="What to do")


class Fault(BaseModel):
    """Every answer that is no success."""

    error: Said


class ApiError(Exception):
    """An answer that is no success."""

    def __init__(
        self, status: int, code: str, message: str, step: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.step = status, code, message, step
        self.headers = dict(headers or {})

    @classmethod
    def of(cls, status: int, code: str, text: str, step: str = "see docs/api.md") -> "ApiError":
        """Return the error of a message that ends in `; next step`, as PlantProof's own do."""
        message, semicolon, rest = text.rpartition("; ")
        return cls(status, code, message if semicolon else text, rest if semicolon else step)

    def response(self) -> Response:
        """Return what the client gets."""
        return response(self.status, self.code, self.message, self.step, self.headers)


def response(status: int, code: str, message: str, step: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer in the shape of every error."""
    said = {"error": {"code": code, "message": _plain(message), "next": _plain(step)}}
    body = json.dumps(said, ensure_ascii=False).encode()
    return Response(body, status, dict(headers or {}), "application/json")


def shown(value: object) -> str:
    """Return a value that a client sent as far as it is told back."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def add(app: FastAPI) -> None:
    """Have all errors of an app answered in one shape."""
    app.add_exception_handler(ApiError, _own)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def _plain(text: str) -> str:
    # A request may hold half a surrogate pair, which no answer in UTF-8 can repeat.
    return text.encode("utf-8", "backslashreplace").decode()


def _own(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101  the handler's own type
    return error.response()


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  the handler's own type
    faults = [_fault(one) for one in error.errors()]
    more = f" (and {len(faults) - 5} more)" if len(faults) > 5 else ""
    return response(422, "invalid_request", "; ".join(faults[:5]) + more, "mend the request; see /docs")


def _fault(one: Mapping[str, Any]) -> str:
    where, *rest = one["loc"]
    name = ".".join(str(part) for part in rest) or "as a whole"
    if one["type"] == "missing":
        return f"{where} {name}: is missing"
    if one["type"] == "extra_forbidden":
        return f"{where} {shown(name)}: is unknown"
    value = "" if isinstance(one["input"], dict | list | bytes) else f" {shown(one['input'])}"
    return f"{where} {shown(name) if len(name) > _SHOWN else name}{value}: {one['msg'].removeprefix('Value error, ')}"


_HTTP: Mapping[int, tuple[str, str, str]] = {
    400: ("bad_request", "the request cannot be read", "send JSON in UTF-8"),
    404: ("unknown_path", "there is nothing at this path", "see /docs"),
    405: ("method_not_allowed", "this path does not know this method", "see the header Allow, and /docs"),
    413: ("too_large", "the request is too large", "send a smaller one"),
}


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  the handler's own type
    code, message, step = _HTTP.get(error.status_code, ("refused", str(error.detail), "see /docs"))
    return response(error.status_code, code, message, step, error.headers)


def _unexpected(request: Request, error: Exception) -> Response:
    log.error("%s %s", request.method, request.url.path, exc_info=error)
    return response(500, "unexpected", "the server has a fault of its own", "look into its log, and report it")

"""Routes of evidence packages: order, list, download, read."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import FileResponse, JSONResponse

from kpis.evidence.contents import DEFAULT_RUBRICS, RUBRICS, Asked
from kpis.indicators.said import Lang
from kpis.server import jobs
from kpis.server.asked import Compare, Moment, earlier, period_of
from kpis.server.at import At
from kpis.server.errors import ApiError, shown
from kpis.server.models import Answer
from kpis.server.shelf import DamagedPackage, Package, UnknownPackage
from kpis.server.words import answers

REPORTS: dict[Lang, str] = {"zh": "report.html", "en": "report.en.html"}
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; sandbox"
)
"""A report shows what it holds: it fetches nothing, runs nothing, sends nothing."""
T = TypeVar("T")


def _known(rubrics: list[str]) -> list[str]:
    unknown = sorted(set(rubrics) - set(RUBRICS))
    if unknown:
        raise ValueError(f"there is no rubric {shown(unknown[0])}; write some of {', '.join(RUBRICS)}")
    return sorted(set(rubrics), key=RUBRICS.index)


class Order(BaseModel):
    """A package to be built."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"from": "2026-11-01", "to": "2026-12-01", "compare": "year"}]}
    )
    start: Moment = Field(alias="from", description="Date (start of that production day) or instant with an offset")
    end: Moment = Field(alias="to", description="Date or instant; the period ends before it")
    compare: Compare = Field("year", description="What changes are told against")
    rubrics: Annotated[list[str], AfterValidator(_known)] = Field(
        list(DEFAULT_RUBRICS),
        max_length=len(RUBRICS),
        description="What the plant is held against",
        json_schema_extra={"items": {"type": "string", "enum": list(RUBRICS)}},
    )


class Started(Answer):
    """A job, and where to ask how far it is."""

    job: str
    url: str


class JobFault(Answer):
    """Why a job failed."""

    code: str
    message: str
    next: str


class JobState(Answer):
    """How far a job is."""

    job: str
    state: Literal["queued", "running", "done", "failed"]
    doing: str = Field(description="What is being done, for people")
    progress: float = Field(description="How much of the whole is done", ge=0, le=1)
    error: JobFault | None
    package: str | None = Field(description="Id of the package, once the job is done")


class PackageAnswer(Answer):
    """What is known of a package."""

    id: str
    plant: str
    start: str = Field(description="Instant with the plant's offset")
    end: str = Field(description="Instant; the period ends before it")
    revision: int = Field(description="1, 2, ... of packages of this plant and period")
    replaces: str | None = Field(description="SHA-256 of the manifest of the revision before; null for 1")
    sha256: str = Field(description="Of the zip; also its ETag")
    bytes: int
    built_at: str = Field(description="Instant in UTC")
    key_id: str | None = Field(description="Key that signed it; null: none did")
    url: str


class DamagedAnswer(Answer):
    """A file in the packages' folder that is not what was written."""

    file: str
    error: str


class Packages(Answer):
    """What lies in the packages' folder."""

    packages: Sequence[PackageAnswer] = Field(description="Oldest first")
    damaged: Sequence[DamagedAnswer] = Field(description="What is there and is not handed out")


class InLang(BaseModel):
    """The query of a page."""

    model_config = ConfigDict(extra="forbid")
    lang: Lang | None = Field(None, description="Default: what the browser asks for")


Id = Annotated[str, Path(max_length=200)]


async def order(at: At, wanted: Order) -> JSONResponse:
    """Order a package; what waits or runs for the same period already is the same job. Needs the scope build."""
    period = period_of(at.plant, wanted.start, wanted.end)
    asked = Asked(period=period, before=earlier(at.plant, period, wanted.compare), rubrics=tuple(wanted.rubrics))
    try:
        job = await at.works.do(lambda: at.jobs.order(asked))
    except jobs.QueueFull as error:
        headers = {"Retry-After": "60"}
        said = f"{jobs.MOST_QUEUED} jobs wait already"
        raise ApiError(429, "queue_full", said, "ask again after Retry-After", headers) from error
    except OSError as error:
        said = f"the job cannot be kept ({error.strerror})"
        raise ApiError(503, "not_kept", said, "look into the server's disk") from error
    url = f"/api/v1/evidence/jobs/{job.job}"
    return JSONResponse({"job": job.job, "url": url}, 202, {"Location": url})


async def job(at: At, job: Id) -> JobState:
    """How far a job is; one that a restart of the server interrupted has failed."""
    try:
        return JobState(**asdict(at.jobs.find(job)))
    except LookupError as error:
        step = "a job is known by what POST /api/v1/evidence answered"
        raise ApiError(404, "unknown_job", f"there is no job {shown(job)}", step) from error


async def packages(at: At) -> Packages:
    """Every package, oldest first; and what is damaged."""
    found, damaged = await at.works.do(at.shelf.all)
    told = [DamagedAnswer(**asdict(one)) for one in damaged]
    return Packages(packages=[told_of(one) for one in found], damaged=told)


def told_of(one: Package) -> PackageAnswer:
    """Return what the API tells of a package."""
    return PackageAnswer(**asdict(one), url=f"/api/v1/evidence/{one.id}")


async def package(at: At, id: Id) -> PackageAnswer:  # noqa: A002  its name in the path
    """What is known of one package."""
    return told_of(await at.works.do(lambda: _found(lambda: at.shelf.find(id), id)))


async def download(at: At, request: Request, id: Id) -> Response:  # noqa: A002  its name in the path
    """The zip; with If-None-Match it is not sent to who has it."""
    found = await at.works.do(lambda: _found(lambda: at.shelf.find(id), id))
    headers = {"ETag": f'"{found.sha256}"', "Cache-Control": "private, no-cache"}
    if _has(request.headers.get("if-none-match", ""), found.sha256):
        return Response(status_code=304, headers=headers)
    name = f"{found.id}.zip"
    return FileResponse(at.shelf.path(found), headers=headers, media_type="application/zip", filename=name)


async def report(at: At, request: Request, id: Id, asked: Annotated[InLang, Query()]) -> Response:  # noqa: A002
    """The report inside the package, as its readers see it."""
    lang = asked.lang or language(request, at.lang)

    def work() -> bytes:
        found = _found(lambda: at.shelf.find(id), id)
        page = at.shelf.entry(found, REPORTS[lang])
        if page is None:
            raise ApiError(404, "no_report", f"the package holds no {REPORTS[lang]}", "build its period again")
        return page

    headers = {"Content-Security-Policy": REPORT_POLICY, "Content-Language": lang}
    return Response(await at.works.do(work), headers=headers, media_type="text/html; charset=utf-8")


def _found(find: Callable[[], T], wanted: str) -> T:
    try:
        return find()
    except UnknownPackage as error:
        raise ApiError(
            404, "unknown_package", f"there is no package {shown(wanted)}", "see /api/v1/evidence"
        ) from error
    except DamagedPackage as error:
        raise ApiError.of(409, "package_damaged", str(error), "build its period again") from error


def _has(if_none_match: str, sha256: str) -> bool:
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in if_none_match.split(",")]
    return "*" in tags or sha256 in tags


def language(request: Request, default: Lang) -> Lang:
    """Return the language that a browser asks for first, of those that there are."""
    wanted: list[tuple[float, Lang]] = []
    for part in request.headers.get("accept-language", "").split(","):
        name, _, weight = part.strip().lower().partition(";q=")
        lang = name.split("-")[0]
        if lang in REPORTS:
            wanted.append((_weight(weight), "zh" if lang == "zh" else "en"))
    return max(wanted, key=lambda pair: pair[0])[1] if wanted else default


def _weight(text: str) -> float:
    try:
        return float(text) if text else 1.0
    except ValueError:
        return 0.0


_ZIP: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_PAGE: dict[str, Any] = {"schema": {"type": "string"}}


def add(app: FastAPI) -> None:
    """Add the routes; those of jobs stand before those of packages, whose ids could read `jobs`."""
    root = "/api/v1/evidence"
    app.get(root, **answers("packages"))(packages)
    app.post(root, status_code=202, response_model=Started, **_started())(order)
    app.get(f"{root}/jobs/{{job}}", **answers("job"))(job)
    app.get(f"{root}/{{id}}", **answers("package"))(package)
    app.get(f"{root}/{{id}}/package", response_class=FileResponse, **_downloaded())(download)
    app.head(f"{root}/{{id}}/package", include_in_schema=False)(download)
    app.get(f"{root}/{{id}}/report", response_class=Response, **page_answers("report"))(report)


def _started() -> dict[str, Any]:
    told = answers("order", status=202)
    told["responses"][202]["headers"] = {"Location": {"schema": {"type": "string"}, "required": True}}
    return told


def _downloaded() -> dict[str, Any]:
    told = answers("download")
    told["responses"][200] |= {
        "content": {"application/zip": _ZIP},
        "headers": {"ETag": {"schema": {"type": "string"}, "required": True, "description": "SHA-256 of the zip"}},
    }
    told["responses"][304] = {"description": "the client has it already"}
    return told


def page_answers(operation: str) -> dict[str, Any]:
    """Return what FastAPI is to be told of a route that answers with a page."""
    told = answers(operation)
    told["responses"][200]["content"] = {"text/html": _PAGE}
    return told

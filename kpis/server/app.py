"""The REST API and pages of one plant."""

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from config.plant import Plant
from kpis.evidence.contents import Asked
from kpis.evidence.progress import Progress
from kpis.indicators.said import Lang
from kpis.server import errors, figures, models, packages, pages, push_routes
from kpis.server.access import Access
from kpis.server.at import Server
from kpis.server.examples import ANSWERS
from kpis.server.guard import Guard
from kpis.server.jobs import Build, BuildFault, Jobs
from kpis.server.push import Pushes
from kpis.server.push.delivery import pause
from kpis.server.shelf import Shelf
from kpis.server.tokens import Tokens
from kpis.server.words import answers
from kpis.server.works import Works
from kpis.stores import Store, opened

Builder = Callable[[Asked, Progress], bytes]
"""Returns a package as the bytes of a zip; raises BuildFault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What of a server may be otherwise."""

    lang: Lang = "en"
    """Of pages, where the browser asks for none."""
    pause: Callable[[int], float] = pause
    """How long to wait after so many failures to send a package [s]."""
    longest_s: float = 60.0
    """A request is answered within this time, with its figures or without [s]."""


def make_app(plant: Plant, place: Path | Store, build: Builder, settings: Settings = Settings()) -> FastAPI:
    """Return the API of a plant whose samples lie in `place`: the lake's folder, or another store."""
    shelf = Shelf(plant, plant.resolve(plant.evidence.path))
    pushes = Pushes(plant, shelf, pause=settings.pause)
    jobs = Jobs(shelf.folder / "jobs", _keeping(build, shelf, pushes))
    works = Works(longest_s=settings.longest_s)
    app = FastAPI(
        title="PlantProof", version="1", docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=_lifespan
    )
    app.state.at = Server(
        plant=plant, store=opened(place), shelf=shelf, jobs=jobs, pushes=pushes, works=works, lang=settings.lang
    )
    app.add_middleware(Guard, tokens=Tokens(plant.root))
    app.add_middleware(Access)
    errors.add(app)
    app.get("/health", **answers("health"))(health)
    for part in (figures, packages, push_routes, pages):
        part.add(app)
    plainly = app.openapi
    setattr(app, "openapi", lambda: _described(plainly()))  # noqa: B010  as FastAPI asks for it
    return app


async def health() -> models.Health:
    """Tell that the server answers, and nothing of the plant."""
    return models.Health(status="ok")


def _keeping(build: Builder, shelf: Shelf, pushes: Pushes) -> Build:
    def kept(asked: Asked, progress: Progress) -> str:
        data = build(asked, progress)
        try:
            package = shelf.put(data)
        except OSError as error:
            said = f"{shelf.folder} cannot be written ({error.strerror}); mend the disk, or [evidence] path"
            raise BuildFault(said) from error
        pushes.wake()
        return package.id

    return kept


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    at: Server = app.state.at
    with ExitStack() as stack:
        stack.callback(at.works.stop)
        at.shelf.start()
        at.pushes.start()
        stack.callback(at.pushes.stop)
        at.jobs.start()
        stack.callback(at.jobs.stop)
        yield


def _described(openapi: dict[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI document that says which tokens open what, as the guard has it, and has whole examples.

    FastAPI leaves out of examples what is null, and a client must see that it may be.
    """
    openapi["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "A token of plantproof token new"},
        "basic": {"type": "http", "scheme": "basic", "description": "For browsers: any user, the token as password"},
    }
    for path, methods in openapi["paths"].items():
        for method, one in methods.items():
            kinds = () if path == "/health" else ("bearer", "basic") if method == "get" else ("bearer",)
            one["security"] = [{kind: []} for kind in kinds]
            if one["operationId"] in ANSWERS:
                good = next(told for status, told in one["responses"].items() if status.startswith("2"))
                good["content"]["application/json"]["example"] = ANSWERS[one["operationId"]]
    return openapi

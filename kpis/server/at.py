"""What the routes work with."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from config.plant import Plant
from kpis.indicators.said import Lang
from kpis.server.jobs import Jobs
from kpis.server.push import Pushes
from kpis.server.shelf import Shelf
from kpis.server.works import Works
from kpis.stores import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One plant, served."""

    plant: Plant
    store: Store
    shelf: Shelf
    jobs: Jobs
    pushes: Pushes
    works: Works
    lang: Lang
    """Of pages, where the browser asks for none."""


def _at(request: Request) -> Server:
    found: Server = request.app.state.at
    return found


At = Annotated[Server, Depends(_at)]

"""The route that tells where packages were sent, and what arrived."""

from collections.abc import Sequence
from typing import Literal

from fastapi import FastAPI
from pydantic import Field

from kpis.server.at import At
from kpis.server.models import Answer
from kpis.server.push.delivery import Delivered, Delivery, iso
from kpis.server.words import answers


class PushedPackage(Answer):
    """What became of a package at a target."""

    package: str
    state: Literal["waiting", "delivered", "refused"]
    attempts: int
    at: str | None = Field(description="Of the last attempt, in UTC")
    next_at: str | None = Field(description="Of the next attempt, in UTC")
    error: str


class PushTarget(Answer):
    """A place that packages are sent to."""

    id: str
    kind: Literal["webhook", "folder"]
    to: str
    packages: Sequence[PushedPackage] = Field(description="Oldest first; those of before the target are not sent")


class PushTargets(Answer):
    """Where packages are sent."""

    targets: Sequence[PushTarget]


async def pushes(at: At) -> PushTargets:
    """Where packages are sent, and what became of each there."""
    return PushTargets(targets=await at.works.do(lambda: [_told(one) for one in at.pushes.deliveries]))


def _told(of: Delivery) -> PushTarget:
    packages = [_package(one) for one in of.told()]
    return PushTarget(id=of.push.name, kind=of.push.kind, to=of.target.to, packages=packages)


def _package(one: Delivered) -> PushedPackage:
    return PushedPackage(
        package=one.package,
        state=one.state,
        attempts=one.attempts,
        at=iso(one.at),
        next_at=iso(one.next_at),
        error=one.error,
    )


def add(app: FastAPI) -> None:
    """Add the route."""
    app.get("/api/v1/push", **answers("pushes"))(pushes)

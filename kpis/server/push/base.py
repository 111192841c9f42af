"""What a place that packages are sent to must do, and how it says that it did not work."""

from pathlib import Path
from typing import Protocol

from kpis.server.shelf import Package


class Refused(Exception):  # noqa: N818  as it is told
    """The package is not taken, and will not be: the thing, the rule; the next step."""


class Later(Exception):  # noqa: N818  as it is told
    """It did not work this time; `after` is when to come back, where the other side says so [s]."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Target(Protocol):
    """One place; the same package may be sent again after a power cut, which must do no harm."""

    @property
    def to(self) -> str:
        """Where it is, as it may be told: without anything secret."""

    def send(self, package: Package, path: Path) -> None:
        """Send a package whose bytes lie at `path`; raises Refused or Later."""

"""Each new package is sent to where the plant says: a webhook, or a folder."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from config.evidence import Push
from config.plant import Plant
from kpis.server.push.base import Target
from kpis.server.push.delivery import Delivery, pause
from kpis.server.push.folder import Folder
from kpis.server.push.webhook import Webhook
from kpis.server.shelf import Shelf

__all__ = ["Pushes"]


class Pushes:
    """Every target of a plant."""

    def __init__(self, plant: Plant, shelf: Shelf, *, pause: Callable[[int], float] = pause) -> None:
        self.deliveries = [Delivery(one, target_of(one, plant), shelf, pause=pause) for one in plant.push]
        self._started = ExitStack()

    def start(self) -> None:
        """Begin to send; raises OSError."""
        for one in self.deliveries:
            one.start()
            self._started.callback(one.stop)

    def stop(self) -> None:
        """Send nothing more."""
        self._started.close()

    def wake(self) -> None:
        """Tell that a package is new."""
        for one in self.deliveries:
            one.wake()


def target_of(push: Push, plant: Plant) -> Target:
    """Return where a plant's `[[push]]` leads."""
    if push.kind == "folder":
        return Folder(plant.resolve(push.path or Path()))
    return Webhook(push, plant.root)

"""Packages put into a folder, such as one that a file transfer picks up."""

import hashlib
from pathlib import Path

from kpis.server import files
from kpis.server.push.base import Later, Refused
from kpis.server.shelf import Package


class Folder:
    """A folder that is there; it is never made, as it may be a share that is not mounted."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def to(self) -> str:
        """The folder."""
        return str(self._path)

    def send(self, package: Package, path: Path) -> None:
        """Put the package there whole; one that is there already, and is the same, is success."""
        target = self._path / path.name
        try:
            if not self._path.is_dir():
                raise Later(f"{self._path} is no folder, or not mounted; make or mount it")
            if not target.exists():
                files.write(target, path.read_bytes(), 0o644, mark=package.id)
            elif hashlib.sha256(target.read_bytes()).hexdigest() != package.sha256:
                raise Refused(f"{target} is there and is another file; move it away, and remove what was noted of it")
        except OSError as error:
            raise Later(f"{target} cannot be written ({error.strerror})") from error

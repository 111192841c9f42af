"""Evidence packages that the server builds: where they lie, what signs them, and where else they are sent."""

from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from config.fields import Id, Model


class Evidence(Model):
    """Where evidence packages lie, and the key that signs them."""

    path: Path = Path("var/evidence")
    """Folder of the packages that the server built, of its jobs, and of what was sent where."""
    key: Path | None = None
    """Private key that packages are signed with; empty: they are not signed."""
    passphrase_file: Path | None = None
    """File with the key's passphrase in its first line."""


class Push(Model):
    """A place that each new evidence package is sent to."""

    kind: Literal["webhook", "folder"]
    id: Id | None = None
    """Its name in what is told of it; default its kind."""
    url: str = ""
    """Webhook: where the package is posted."""
    secret: SecretStr = SecretStr("")
    """Webhook: what its signature is made with."""
    ca: Path | None = None
    """Webhook: certificates that are trusted (PEM); empty: those of the operating system."""
    plain_http: bool = False
    """Webhook: whether the url may be http:// to another machine than this one."""
    path: Path | None = None
    """Folder: where the package is put."""

    @property
    def name(self) -> str:
        """Its name in what is told of it."""
        return self.id or self.kind

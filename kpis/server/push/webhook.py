"""Packages posted to a URL, signed as Standard Webhooks says (standardwebhooks.com, specification 1.0).

webhook-signature is `v1,` and the base64 of HMAC-SHA256 over `<webhook-id>.<webhook-timestamp>.<body>`. A package has
the same webhook-id each time it is sent, so that a receiver knows one that it has.
"""

import base64
import binascii
import email.utils
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import urllib3

from config.evidence import Push
from config.load import SecretMissing, look_up
from kpis.server.push.base import Later, Refused
from kpis.server.shelf import Package

AGAIN = (408, 425, 429)
"""Statuses below 500 that ask to come back."""
SHORTEST_SECRET = 24
"""As the specification asks [B]."""
_TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)
_LONGEST_AFTER = 86_400.0


class Webhook:
    """A URL that takes packages by POST."""

    def __init__(self, push: Push, root: Path, clock: Callable[[], float] = time.time) -> None:
        """Take where to send; root: the plant's folder, where secrets and certificates are looked for."""
        self._push, self._root, self._clock = push, root, clock
        ca = None if push.ca is None else str(push.ca if push.ca.is_absolute() else root / push.ca)
        self._pool = urllib3.PoolManager(cert_reqs="CERT_REQUIRED", ca_certs=ca, timeout=_TIMEOUT, retries=False)

    @property
    def to(self) -> str:
        """Scheme, host and port; the path may be known to few."""
        parts = urlsplit(self._push.url)
        return f"{parts.scheme}://{parts.netloc}"

    def send(self, package: Package, path: Path) -> None:
        """Post the package; any answer from 200 to 299 is success."""
        secret = self._secret()
        try:
            body = path.read_bytes()
        except OSError as error:
            raise Later(f"{path.name} cannot be read ({error.strerror})") from error
        headers = self._headers(package, body, secret)
        try:
            answer = self._pool.request(
                "POST", self._push.url, body=body, headers=headers, redirect=False, preload_content=False
            )
        except urllib3.exceptions.SSLError as error:
            raise Later(f"{self.to}: its certificate is not trusted, or TLS fails; see ca") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Later(f"{self.to} does not answer ({type(error).__name__}); check the network and the url") from error
        answer.release_conn()
        answer.close()
        self._judge(answer.status, answer.headers)

    def _secret(self) -> bytes:
        try:
            return key_of(look_up(self._push.secret.get_secret_value(), self._root))
        except SecretMissing as error:
            raise Later(f"secret: {error}") from error

    def _headers(self, package: Package, body: bytes, secret: bytes) -> dict[str, str]:
        name, now = f"msg_{package.id}", str(int(self._clock()))
        return {
            "Content-Type": "application/zip",
            "Content-Disposition": f'attachment; filename="{package.id}.zip"',
            "Content-Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:",
            "User-Agent": "PlantProof",
            "webhook-id": name,
            "webhook-timestamp": now,
            "webhook-signature": signature(secret, name, now, body),
        }

    def _judge(self, status: int, headers: Mapping[str, str]) -> None:
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            raise Refused(f"{self.to} answered {status}: redirects are not followed; write the final url")
        if status >= 500 or status in AGAIN:
            raise Later(f"{self.to} answered {status}", self._after(headers.get("Retry-After", "")))
        raise Refused(f"{self.to} answered {status}; mend what it asks for, and remove what was noted of the package")

    def _after(self, text: str) -> float | None:
        """Return how long to wait [s], as Retry-After says in seconds or by a date."""
        if text.isascii() and text.isdigit():
            return min(float(text), _LONGEST_AFTER)
        try:
            moment = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return None
        return min(max(0.0, moment.timestamp() - self._clock()), _LONGEST_AFTER)


def key_of(secret: str) -> bytes:
    """Return a secret's bytes: `whsec_` and base64, or the text itself; raises Later where it is too short."""
    prefix, text = "whsec_", secret.strip()
    try:
        key = base64.b64decode(text.removeprefix(prefix), validate=True) if text.startswith(prefix) else text.encode()
    except (binascii.Error, ValueError):
        raise Later("the secret begins with whsec_ and is no base64; write it as it was given") from None
    if len(key) < SHORTEST_SECRET:
        raise Later(f"the secret has less than {SHORTEST_SECRET} bytes; make a longer one: openssl rand -base64 32")
    return key


def signature(key: bytes, name: str, timestamp: str, body: bytes) -> str:
    """Return what stands in webhook-signature."""
    made = hmac.digest(key, f"{name}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(made).decode()}"

"""Known secrets struck out of texts, in whatever form they turn up there, and logins out of URLs."""

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from config.plant import Sink

MASK = "***"
SHORTEST = 4
"""A shorter secret is not looked for in free text: it would be found in every second word [characters]."""
_USERINFO = re.compile(
    r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]{0,30}://)"
    r"(?:[^\s/:\"'<>]{0,500}:(?P<reference>\$\{[a-z]+:[^}]{1,500}\})@|[^\s/\"'<>]{0,500}@"
    r"|[^\s/:\"'<>]{0,500}:(?!\d+(?:/|$))[^\s\"'<>]{0,500}@)"
)
"""Who connects, in a URL; the last form is that of a password with a slash in it. Bounded, as texts may be long."""
_QUERY = re.compile(
    r"(?i)([?&;](?:[a-z_.-]{0,30}(?:token|secret|passw(?:or)?d|pwd|key|sig|auth)[a-z_.-]{0,30})=)[^&;#\s\"'<>]+"
)
"""A part of a URL's query that proves who asks."""


def forms(secret: str) -> list[str]:
    """Return how a secret may be written, the longest first: as it is, quoted for URL, JSON or Python, in base64 ..."""
    raw = secret.encode("utf-8", "surrogatepass")  # an environment may hold what is no UTF-8
    escaped = [json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]]
    percent = [quote(raw, safe=""), quote(raw), quote_plus(raw)]
    found = {
        secret,
        *escaped,
        *percent,
        *(one.lower() for one in percent),
        *(json.dumps(one)[1:-1] for one in escaped),
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        raw.hex(),
    }
    return sorted(filter(None, found), key=len, reverse=True)


class Redaction:
    """Strikes known secrets out of texts, and from URLs whatever proves who asks."""

    def __init__(self, secrets: Iterable[str], *, shortest: int = SHORTEST) -> None:
        """Take the secrets; those that are shorter [characters] are left, as they would be found in any text.

        A secret of several lines is struck out line by line as well.
        """
        parts = {part for one in secrets for part in (one, *one.splitlines()) if len(part) >= max(shortest, 1)}
        known = sorted({form for one in parts for form in forms(one)}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        """Return the text without them."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        return in_urls(text)


def of_sink(sink: Sink) -> tuple[str, ...]:
    """Return what a server may say again of what a sink sends it: password, token, and what Basic makes of a login."""
    password = sink.password.get_secret_value()
    return password, sink.token.get_secret_value(), f"{sink.user}:{password}" if password else ""


def in_urls(text: str) -> str:
    """Return a text whose URLs have no user, password or token; a `${env:}` or the like stays as it is written."""
    return _QUERY.sub(rf"\g<1>{MASK}", _USERINFO.sub(_nobody, text))


def _nobody(match: re.Match[str]) -> str:
    reference = f":{match['reference']}" if match["reference"] else ""
    return f"{match['scheme']}{MASK}{reference}@"

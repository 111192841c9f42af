"""As much of HTTP/1.1 as probes and scrapers ask for: one GET or HEAD a connection, its body never read."""

import email.utils
import http
import re
from asyncio import IncompleteReadError, LimitOverrunError, StreamReader
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

HEAD_BYTES = 8192
"""A longer head is refused [B]."""
METHODS = ("GET", "HEAD")

_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-~]+) HTTP/(\d)\.(\d)")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([ -~\t\x80-\xff]*)")


class Refused(Exception):  # noqa: N818
    """A request that is answered by a status alone."""

    def __init__(self, status: http.HTTPStatus) -> None:
        """Take the status."""
        super().__init__(status.phrase)
        self.status = status


@dataclass(frozen=True, slots=True)
class Asked:
    """A request's head."""

    method: str
    path: str
    accept: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered."""

    status: http.HTTPStatus
    kind: str = "text/plain; charset=utf-8"
    body: bytes = b""
    more: Mapping[str, str] = field(default_factory=dict)
    """Further fields of the head."""

    def written(self, *, head_only: bool = False) -> bytes:
        """Return the answer as it goes over the line; of HEAD everything but the body."""
        fields = {
            "Date": email.utils.formatdate(usegmt=True),
            "Content-Type": self.kind,
            "Content-Length": str(len(self.body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Connection": "close",
            **self.more,
        }
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}", *(f"{k}: {v}" for k, v in fields.items())]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        return head if head_only else head + self.body


def refusal(status: http.HTTPStatus, **more: str) -> Answer:
    """Return an answer that says no more than its status."""
    return Answer(status, body=f"{status.value} {status.phrase}\n".encode(), more=more)


async def asked(reader: StreamReader) -> Asked | None:
    """Return the request whose head comes next, None where the client left before it ended; raises Refused."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except IncompleteReadError:
        return None
    except LimitOverrunError:
        raise Refused(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) from None
    return parsed(head.decode("latin-1"))


def parsed(head: str) -> Asked:
    """Return what a whole head asks for; raises Refused."""
    first, *rest = head.removesuffix("\r\n\r\n").split("\r\n")
    line, fields = _LINE.fullmatch(first), [_FIELD.fullmatch(one) for one in rest]
    if line is None or not all(fields):
        raise Refused(http.HTTPStatus.BAD_REQUEST)
    if line[3] != "1":
        raise Refused(http.HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    if line[4] != "0" and len(_values(fields, "host")) != 1:
        raise Refused(http.HTTPStatus.BAD_REQUEST)
    try:
        path = urlsplit(line[2]).path
    except ValueError:
        raise Refused(http.HTTPStatus.BAD_REQUEST) from None
    return Asked(line[1], path, ",".join(_values(fields, "accept")))


def _values(fields: Iterable[re.Match[str] | None], name: str) -> list[str]:
    return [one[2] for one in fields if one is not None and one[1].lower() == name]

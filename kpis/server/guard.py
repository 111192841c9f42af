"""What stands before every route: the token, the body's size and time, the number of requests at once.

A route cannot forget it: what is not named in OPEN is closed.
"""

import asyncio
import base64
import binascii
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kpis.server.access import SEEN
from kpis.server.errors import ApiError
from kpis.server.tokens import Token, TokenFault, Tokens

OPEN = ("/health",)
"""Paths that answer without a token."""
MAX_BODY = 64 * 1024
"""[B]"""
BODY_S = 15.0
"""A body that takes longer is not waited for [s]."""
MOST_AT_ONCE = 64
"""Requests that are answered at the same time."""
READING = ("GET", "HEAD", "OPTIONS")
_CHALLENGES = (b'Bearer realm="PlantProof"', b'Basic realm="PlantProof", charset="UTF-8"')
_HEADERS: Mapping[bytes, bytes] = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"no-store",
}
"""Headers of every answer that has none of its own."""


class Guard:
    """Lets requests with a token through; GET wants the scope read, all else build."""

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self._app, self._tokens, self._now = app, tokens, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, _hardened(send))

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        self._now += 1
        try:
            token = await self._admitted(scope)
            body = await _body(scope, receive)
            await self._app({**scope, "token": token.name}, _replayed(body, receive), send)
        except ApiError as error:
            await error.response()(scope, receive, _challenging(send) if error.status == 401 else send)
        finally:
            self._now -= 1

    async def _admitted(self, scope: Scope) -> Token:
        """Return the request's token; raises ApiError."""
        if self._now > MOST_AT_ONCE:
            raise busy("the server answers as many requests as it takes at once")
        kind, given = _given(scope)
        try:
            token = await asyncio.to_thread(self._tokens.find, given) if given else None
        except TokenFault as error:
            raise ApiError.of(503, "tokens_unreadable", str(error)) from error
        if token is None:
            step = "send Authorization: Bearer TOKEN; make one with: plantproof token new"
            what = "the token is unknown, was revoked, or has expired" if given else "there is no token"
            raise ApiError(401, "unauthorized", what, step)
        scope[SEEN].token = token.name
        self._check_scope(scope, token, kind)
        return token

    def _check_scope(self, scope: Scope, token: Token, kind: str) -> None:
        needed = "read" if scope["method"] in READING else "build"
        if needed not in token.scopes:
            step = f"make another one with: plantproof token new --scope {needed}"
            raise ApiError(403, "missing_scope", f"token {token.name} has not the scope {needed}", step)
        if needed == "build" and kind != "bearer":
            # A browser sends what it remembers of Basic with requests that another site made it send.
            raise ApiError(403, "bearer_only", "only a bearer token starts work", "send Authorization: Bearer TOKEN")


def busy(message: str, seconds: int = 5) -> ApiError:
    """Return the answer to a request that comes at a bad time."""
    return ApiError(429, "busy", message, "ask again after Retry-After", {"Retry-After": str(seconds)})


def _given(scope: Scope) -> tuple[str, str]:
    """Return how a token was sent, and the token: that of Bearer, or the password of Basic."""
    sent = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(sent) != 1:
        return "", ""
    kind, _, rest = sent[0].decode("latin-1").partition(" ")
    if kind.lower() == "basic":
        try:
            return "basic", base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return "", ""
    return ("bearer", rest.strip()) if kind.lower() == "bearer" else ("", "")


async def _body(scope: Scope, receive: Receive) -> bytes:
    """Return the whole body; raises ApiError where it is too large or too slow."""
    large = ApiError(413, "too_large", f"the body has more than {MAX_BODY} bytes", "send a smaller one")
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > MAX_BODY:
            raise large
    body, more = bytearray(), True
    try:
        async with asyncio.timeout(BODY_S):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    break
                body += message.get("body", b"")
                if len(body) > MAX_BODY:
                    raise large
                more = message.get("more_body", False)
    except TimeoutError:
        step = "send the whole request at once"
        raise ApiError(408, "too_slow", f"the body did not come within {BODY_S:g} s", step) from None
    return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _hardened(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = list(message.get("headers", ()))
            names = {name.lower() for name, _ in own}
            message = {**message, "headers": [*own, *(pair for pair in _HEADERS.items() if pair[0] not in names)]}
        await send(message)

    return with_headers


def _challenging(send: Send) -> Send:
    async def with_challenges(message: Message) -> None:
        if message["type"] == "http.response.start":
            told = [(b"www-authenticate", one) for one in _CHALLENGES]
            message = {**message, "headers": [*message["headers"], *told]}
        await send(message)

    return with_challenges

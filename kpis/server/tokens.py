"""Tokens that open the API: made once, shown once, kept as hashes.

A token is 256 random bits, so its SHA-256 cannot be turned back by guessing: a slow hash protects what people choose,
and would only slow down every request.
"""

import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from kpis.evidence import host
from kpis.server import files

Scope = Literal["read", "build"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
FILE = Path("var/tokens.json")
"""Below the plant's folder; no package holds it."""
DAY_S = 86_400
_PREFIX = "pp_"
_LONGEST = 64


class TokenFault(Exception):  # noqa: N818  as it is told
    """A token cannot be made, or the file of tokens not be used: the thing, the rule; the next step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is kept of a token."""

    name: str
    sha256: str
    scopes: Sequence[str]
    made_at: int
    """[s since 1970, UTC]"""
    expires_at: int | None
    """[s since 1970, UTC]; None: never."""


class Tokens:
    """The tokens of a plant; read anew each time, so that what the command changes holds at once."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        """Take the plant's folder."""
        self.path, self._clock = root / FILE, clock

    def all(self) -> list[Token]:
        """Return every token, expired ones too; raises TokenFault."""
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o022:
                    raise TokenFault(f"{self.path} can be written by others; run: chmod 600 {self.path}")
                return [Token(**one) for one in json.load(file)["tokens"]]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TokenFault(f"{self.path} cannot be read ({error.strerror}); check its permissions") from error
        except (ValueError, TypeError, LookupError) as error:
            raise TokenFault(f"{self.path} is damaged; remove it, and make the tokens anew") from error

    def find(self, given: str) -> Token | None:
        """Return the token that a client gave; None where it is unknown or has expired. Raises TokenFault."""
        digest, found = _hash(given), None
        for one in self.all():
            # Each is compared, each in constant time: the time taken tells nothing of the others.
            if hmac.compare_digest(one.sha256, digest):
                found = one
        return found if found is not None and not self.expired(found) else None

    def expired(self, one: Token) -> bool:
        """Return whether a token's days are over."""
        return one.expires_at is not None and one.expires_at <= self._clock()

    def make(self, name: str, scopes: Iterable[str], days: int | None = None) -> str:
        """Return a new token, of which only its hash is kept; raises TokenFault."""
        if not name or not name.isprintable() or len(name) > _LONGEST:
            raise TokenFault(f"{name!r} is no name of a token; write up to {_LONGEST} letters, such as erp")
        given, now = _PREFIX + secrets.token_urlsafe(32), int(self._clock())
        expires = None if days is None else now + days * DAY_S
        made = Token(name=name, sha256=_hash(given), scopes=sorted(set(scopes)), made_at=now, expires_at=expires)
        self._change(lambda known: [*(one for one in known if not self._is_gone(one, name)), made])
        return given

    def revoke(self, name: str) -> None:
        """Take a token out of use at once; raises TokenFault where there is none of this name."""

        def without(known: list[Token]) -> list[Token]:
            kept = [one for one in known if one.name != name]
            if len(kept) == len(known):
                raise TokenFault(f"there is no token {name!r}; see plantproof token list")
            return kept

        self._change(without)

    def _is_gone(self, one: Token, name: str) -> bool:
        if one.name == name and not self.expired(one):
            raise TokenFault(f"there is a token {name!r} already; revoke it first, or take another name")
        return one.name == name

    def _change(self, change: Callable[[list[Token]], list[Token]]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with host.locked(self.path.with_name(f".{self.path.name}.lock")):
                kept = change(self.all())
                files.write_json(self.path, {"tokens": [asdict(one) for one in kept]}, 0o600)
        except OSError as error:
            raise TokenFault(f"{self.path} cannot be written ({error.strerror}); check the folder") from error


def _hash(given: str) -> str:
    return hashlib.sha256(given.encode("utf-8", "surrogateescape")).hexdigest()

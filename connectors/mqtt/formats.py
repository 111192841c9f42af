"""Payloads to rows: what the formats share, plain values, and which format reads which."""

from collections.abc import Sequence
from typing import Protocol

from config.plant import Source, Topic
from config.status import BAD_DECODING_ERROR
from connectors.mqtt.values import BadPayload, Maker, Row, text_of, word


class Format(Protocol):
    """The points of one topic that are read in one way."""

    unmet: set[int]
    """Positions of points that no payload spoke of so far."""

    def __init__(self, members: Sequence[tuple[int, str]], source: Source, options: Topic, maker: Maker) -> None:
        """Take each point's position and selector; raises ValueError where a selector is none."""

    def rows(self, payload: bytes, received: int) -> tuple[list[Row], str | None]:
        """Return the rows of a payload, and what did not fit, None where all did; neither where it speaks of others.

        `received` [ns since 1970, UTC] is the time of what bears none. Raises TooMany, and nothing else.
        """


MOST = 50_000
"""So many rows one message gives at most: its decoding must not keep everybody else waiting."""


class TooMany(Exception):  # noqa: N818  a state of the payload
    """A message has more samples than MOST."""


class Outcome:
    """Rows and the first reason why something did not fit."""

    def __init__(self, received: int) -> None:
        self.rows: list[Row] = []
        self.reason: str | None = None
        self.received = received

    def bad(self, position: int, reason: str) -> None:
        """Make a point bad at the receive time: what it is now, nobody knows."""
        self.rows.append((position, self.received, None, None, BAD_DECODING_ERROR))
        self.tell(reason)

    def tell(self, reason: str) -> None:
        """Say why something did not fit; the first reason counts."""
        self.reason = self.reason or reason

    def room(self, more: int = 1) -> None:
        """Raise TooMany where so many rows more would be beyond MOST."""
        if len(self.rows) + more > MOST:
            raise TooMany

    def all_bad(self, positions: Sequence[int], reason: str) -> tuple[list[Row], str | None]:
        """Return a bad row for every point, in place of all rows."""
        self.rows.clear()
        for position in positions:
            self.bad(position, reason)
        return self.rows, self.reason


class Scalar:
    """A payload that is one plain value: a number, true or false, or a text."""

    def __init__(self, members: Sequence[tuple[int, str]], source: Source, options: Topic, maker: Maker) -> None:
        """See Format; there are no selectors."""
        self._members, self._maker = members, maker
        self.unmet = {position for position, _ in members}

    def rows(self, payload: bytes, received: int) -> tuple[list[Row], str | None]:
        """See Format."""
        outcome, positions = Outcome(received), [position for position, _ in self._members]
        try:
            text = text_of(payload)
        except UnicodeDecodeError:
            return outcome.all_bad(positions, "no text in UTF-8")
        if not text.strip():
            return outcome.all_bad(positions, "empty")
        self.unmet.clear()
        for position in positions:
            try:
                value = text if self._maker.kind(position) == "string" else word(text)
                outcome.rows.append(self._maker.row(position, received, value))
            except BadPayload as error:
                outcome.bad(position, f"payload: {error}")
        return outcome.rows, outcome.reason

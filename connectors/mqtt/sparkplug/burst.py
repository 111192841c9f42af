"""What one message says of points: rows, and which values stand after it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from config.status import BAD, BAD_TYPE_MISMATCH
from connectors.mqtt.values import BadPayload, Maker, Row
from connectors.texts import clean

BEFORE_BIRTH = "data before birth"
LAST_NS = 2**63 - 1
MS = 1_000_000
"""[ns]"""
SHOWN = 60
"""So much of a name stands in a reason."""


def ns(ms: object) -> int | None:
    """Return a time of a payload [ns since 1970, UTC]; None where none is given: nothing was measured in 1970."""
    return ms * MS if isinstance(ms, int) and 0 < ms <= LAST_NS // MS else None


@dataclass(slots=True)
class Taken:
    """What a message came to."""

    rows: list[Row] = field(default_factory=list)
    historic: list[Row] = field(default_factory=list)
    """Rows that were true in their time and say nothing of now."""
    refused: str | None = None
    """Why the payload or a part of it could not be used; the rest was."""
    flags: list[str] = field(default_factory=list)
    """What is in doubt, in words that counts can go by."""
    rebirth: tuple[str, str] | None = None
    """Group and node of whom the host needs a birth; said with each message that lacks it."""


class Points:
    """What is known of each point: the time of its newest row, and whether its value stands."""

    def __init__(self, maker: Maker) -> None:
        """Take what makes the rows."""
        self.maker = maker
        self.last: dict[int, int] = {}
        self.stands: set[int] = set()

    def end(self, rows: list[Row], positions: Iterable[int], ts: int, status: int) -> None:
        """Add a row without a value for each position, at `ts` [ns since 1970, UTC] or right after its newest row.

        A clock that is ahead of ours must not put the end of a value before the value.
        """
        for position in positions:
            last = self.last.get(position)
            at = ts if last is None or ts > last else last + 1
            self.last[position] = at
            self.stands.discard(position)
            rows.append((position, at, None, None, status))


class Burst:
    """One message while it is read."""

    __slots__ = ("late", "points", "received", "sent", "taken", "wanted")

    def __init__(self, points: Points, taken: Taken, sent: int | None, received: int, late: bool) -> None:
        """Take what is known, what to add to, and when the message was sent and received [ns since 1970, UTC].

        late: its values may have been replaced since, by messages that came before it.
        """
        self.points, self.taken, self.received, self.late = points, taken, received, late
        self.sent = received if sent is None else sent
        self.wanted = False
        """Whether a birth is needed to tell what is in it."""

    def give(self, position: int, ts: int, value: object, status: int, historical: bool) -> None:
        """Add a row of a value; what its type does not allow is BadTypeMismatch."""
        points = self.points
        aside = historical or self.late
        if not aside and position not in points.stands:
            ts = self._after(position, ts)
        try:
            row = points.maker.row(position, ts, value, status)
        except BadPayload as error:
            row = (position, ts, None, None, BAD_TYPE_MISMATCH)
            self.refuse(str(error))
        if aside:
            self.taken.historic.append(row)
            return
        self.taken.rows.append(row)
        last = points.last.get(position)
        if last is None or ts > last:
            points.last[position] = ts
        if row[4] & BAD:
            points.stands.discard(position)
        else:
            points.stands.add(position)

    def past(self, position: int, ts: int, value: object, status: int, historical: bool) -> None:
        """Add a row of a value that a later one of the same message has replaced."""
        try:
            row = self.points.maker.row(position, ts, value, status)
        except BadPayload as error:
            row = (position, ts, None, None, BAD_TYPE_MISMATCH)
            self.refuse(str(error))
        (self.taken.historic if historical or self.late else self.taken.rows).append(row)

    def _after(self, position: int, ts: int) -> int:
        """Return when a value that was not known is known again, which is never before it became unknown.

        Births give old values with the time when these were captured (chapter 6, Metric); that they hold is known
        from the sending of the birth on.
        """
        last = self.points.last.get(position)
        if last is None or ts > last:
            return ts
        return self.sent if self.sent > last else max(self.received, last + 1)

    def refuse(self, reason: str, name: str | None = None) -> None:
        """Note why a part of the message could not be used; the first reason stands."""
        if self.taken.refused is None:
            self.taken.refused = reason if name is None else f"metric {clean(name)[:SHOWN]!r}: {reason}"

    def before_birth(self) -> None:
        """Note that a birth is needed to tell what is in the message."""
        self.wanted = True
        if BEFORE_BIRTH not in self.taken.flags:
            self.flag(BEFORE_BIRTH)

    def flag(self, what: str) -> None:
        """Note what is in doubt."""
        self.taken.flags.append(what)

"""Readings become columnar here, once: the change filter, and rows to a SAMPLE frame."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from config.plant import Point
from config.schema import SAMPLE
from config.status import (
    BAD,
    BAD_CONFIGURATION_ERROR,
    BAD_DATA_LOST,
    BAD_NO_COMMUNICATION,
    BAD_NODE_ID_UNKNOWN,
    BAD_OUT_OF_RANGE,
    BAD_SHUTDOWN,
)
from connectors.base import Readings, lost
from connectors.columns import rounds

NS_NULL = np.iinfo(np.int64).min
FRESH_PERIODS = 3
"""Data older than this many periods is not fresh."""
AHEAD_NS = 60_000_000_000
"""So far ahead of ours a source's clock may be before its time counts as one of the future [ns]."""
NAMED = 5
"""So many points that are not fresh are named in status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows to store, in parallel arrays; `points` are positions in the agent's point list."""

    points: NDArray[np.intp]
    ts: NDArray[np.int64]
    ts_recv: int
    value: NDArray[np.float64]
    valid: NDArray[np.bool_]
    status: NDArray[np.uint32]
    text: NDArray[np.object_] | None

    def __len__(self) -> int:
        return len(self.points)


_NOT_KNOWN = np.array([BAD_NODE_ID_UNKNOWN, BAD_CONFIGURATION_ERROR, BAD_NO_COMMUNICATION, BAD_SHUTDOWN], np.uint32)
"""StatusCodes of points that a source does not have, and of a link that is none."""
_OUR_WORD = np.append(_NOT_KNOWN, np.uint32(BAD_DATA_LOST))
"""StatusCodes of what is known of a source, by our clock, and not said by it of its past."""


class Intake:
    """One source's change filter: a row is stored when its value or status changes, and at each heartbeat.

    The link's end is a change as well: `lost` makes one bad row per point that was not bad for that reason before.

    What stands is what came last. Of a source that speaks when it will (a publisher that empties its buffer after it
    spoke of now) it is the value with the newest source time: a row that is older is stored, and no more.
    """

    def __init__(self, points: Sequence[Point], first: int, *, quiet: bool = False) -> None:
        """Take the source's points; `first` is the position of its first point in the agent's list.

        `quiet`: the source speaks when it will, not once a period.
        """
        n = len(points)
        self.first, self._quiet = first, quiet
        self.value = np.full(n, np.nan)
        self.valid = np.zeros(n, np.bool_)
        self.status = np.full(n, BAD_NO_COMMUNICATION, np.uint32)
        self.text = np.full(n, None, np.object_)
        self.ts = np.full(n, NS_NULL, np.int64)  # of the newest stored row
        self.source_ts = np.full(n, NS_NULL, np.int64)  # of what stands, as the source gave it last
        self.newest = np.full(n, NS_NULL, np.int64)  # newest source time of all that it said of itself
        self.stored = np.full(n, NS_NULL, np.int64)  # receive time of the last row that was stored as the newest
        self.owed = np.zeros(n, np.bool_)  # whether the newest stored row is not what stands: that is to be stored
        self.cut = np.zeros(n, np.bool_)  # whether what stands is our own word that the link is lost
        self.heartbeat = np.array([p.heartbeat for p in points], np.int64)
        self.lag = np.array([max(p.period or 0, p.sampling or 0) for p in points], np.int64)
        self.deadband = np.array([p.deadband for p in points])
        self.minimum = np.array([-np.inf if p.minimum is None else p.minimum for p in points], np.float64)
        self.maximum = np.array([np.inf if p.maximum is None else p.maximum for p in points], np.float64)
        self._has_limits = any(p.minimum is not None or p.maximum is not None for p in points)
        self.subscribed = np.array([p.mode == "subscribe" for p in points], np.bool_)
        self.always = np.array([p.store == "all" for p in points], np.bool_)
        self.good_ts = np.full(n, NS_NULL, np.int64)  # newest source time of a value that was not bad
        self._ids = [p.point for p in points]
        self._heard = np.full(n, NS_NULL, np.int64)  # receive time of the last row, or of word that it stands
        self._known = np.full(n, NS_NULL, np.int64)  # the same by the source's clock
        self._offset = 0  # the source's clock less ours [ns]
        self._answered = np.zeros(n, np.bool_)  # whether the source knows the point, since the link was made
        self._spoke = np.zeros(n, np.bool_)  # whether it ever spoke of the point, and did not say since that it is gone
        expect = [p.period or 0 if p.mode == "poll" and not quiet else max(p.period or 0, p.heartbeat) for p in points]
        self._fresh_ns = FRESH_PERIODS * np.array(expect, np.int64)

    def linked(self) -> None:
        """Begin a new link: which points its source knows is open again."""
        self._answered[:], self._offset = False, 0

    def coverage(self, now_ns: int) -> dict[str, Any]:
        """Return how many points are configured, known to the source (monitored), and fresh at `now_ns`.

        Fresh is a value that is not bad and not older than three periods; of a source that speaks when it will,
        three heartbeats. The first few others are named.
        """
        seen = self._heard != NS_NULL
        age = now_ns - np.where(seen, self._heard, now_ns)
        fresh = seen & self._answered & (self.status >> 30 != BAD >> 30) & (age <= self._fresh_ns)
        stale = [self._ids[n] for n in np.flatnonzero(~fresh)[:NAMED]]
        return {
            "configured": len(fresh),
            "monitored": int(self._answered.sum()),
            "fresh": int(fresh.sum()),
            "not_fresh": stale,
        }

    def silent(self, now_ns: int) -> int:
        """Return how many points of a source that speaks when it will were heard of, and not for three heartbeats.

        What the source itself says not to have, or to be dead, is bad, and is not waited for.
        """
        old = self._spoke & (now_ns - np.where(self._spoke, self._heard, now_ns) > self._fresh_ns)
        return int(old.sum()) if self._quiet else 0

    def says_something(self, readings: Readings) -> bool:
        """Return whether a source says anything of its values: rows that are not all bad, or that such values stand."""
        if len(readings.points):
            return bool((readings.status >> 30 != BAD >> 30).any())
        if readings.stands is None:
            return True
        return bool((self._has_value(readings.stands) & (self.status[readings.stands] < BAD)).any())

    def _has_value(self, points: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return where a number or a text stands."""
        return self.valid[points] | np.array([t is not None for t in self.text[points]], np.bool_)

    def recover(self, samples: pl.DataFrame) -> None:
        """Remember from SAMPLE rows of before a restart when each point's last good value was, and which points ended.

        `samples` stand as they were committed. A value that stood all the while bears its old time; as after any gap
        it is known again from now.
        """
        own = samples.filter(pl.col("point").is_in(self._ids))
        np.maximum.at(self.good_ts, *self._newest(own.filter(pl.col("status") < BAD)))
        if self._quiet:
            return
        last = own.group_by("point").last()
        ended = last.filter(pl.col("status").is_in([BAD_NO_COMMUNICATION, BAD_SHUTDOWN]))
        points, newest = self._newest(own.filter(pl.col("point").is_in(ended["point"].implode())))
        self.ts[points], self.cut[points] = newest, True

    def _newest(self, samples: pl.DataFrame) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Return which of the points have rows, and the newest time of each [ns]."""
        newest = samples.group_by("point").agg(pl.col("ts").max().dt.epoch("ns"))
        place = {point: n for n, point in enumerate(self._ids)}
        return np.array([place[point] for point in newest["point"]], np.intp), newest["ts"].to_numpy()

    def died(self, samples: pl.DataFrame) -> list[Rows]:
        """Return the rows that end the data where the run before ended without a word; `samples`: its last rows.

        What happened since its last commit nobody knows. A source that speaks when it will has what it said meanwhile
        kept for us, and what stood there stands.
        """
        own = samples.filter(pl.col("point").is_in(self._ids)).sort("ts_recv", maintain_order=True)
        if self._quiet or own.is_empty() or own["status"][-1] == BAD_SHUTDOWN:
            return []
        until: int = samples["ts_recv"].to_physical().max()  # type: ignore[assignment]
        points, newest = self._newest(own)
        self.ts[points] = newest
        ended = own.group_by("point").last().filter(pl.col("status") == BAD_NO_COMMUNICATION)
        self.stored[self._newest(ended)[0]] = until
        return self.lost(until + 1)

    def since(self, still_open: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """Return from when on each point's history is wanted [ns]: its last good value, or a gap that is still open."""
        if still_open is None:
            return self.good_ts.copy()
        return np.where(still_open == NS_NULL, self.good_ts, np.minimum(still_open, self.good_ts))

    def fill(self, readings: Readings) -> list[Rows]:
        """Return every row of a source's history, to stand in the gap that it fills; what is live goes on beside it."""
        readings = self._limited(readings)
        points = readings.points
        np.maximum.at(self.ts, points, readings.ts)
        np.maximum.at(self.good_ts, points, np.where(readings.status < BAD, readings.ts, NS_NULL))
        text = np.array(readings.text, np.object_) if readings.text is not None else None
        return [
            Rows(
                points=points + self.first,
                ts=readings.ts,
                ts_recv=readings.ts_recv,
                value=readings.value,
                valid=readings.valid,
                status=readings.status,
                text=text,
            )
        ]

    def take(self, readings: Readings) -> list[Rows]:
        """Return the rows to store, in the order in which they came.

        A point that stands several times in one burst is compared with its own row before. Where its times only
        rise that is done at once; else the burst is taken in rounds of the points' first rows, second rows and so on.
        No rows at all say that every subscribed value stands.
        """
        if not len(readings.points):
            return self._stand(readings)
        readings = self._limited(readings)
        self._note(readings)
        text = np.array(readings.text, np.object_) if readings.text is not None else None
        parts = rounds(readings.points)
        taken = []
        if len(parts) > 1:
            steady = self._steady(readings)
            taken = [self._at_once(readings, text, steady)] if len(steady) else []
            rest = np.setdiff1d(np.arange(len(readings.points)), steady, assume_unique=True)
            parts = [rest[part] for part in rounds(readings.points[rest])] if len(rest) else []
        taken += [self._round(readings, text, positions) for positions in parts]
        return [rows for rows in taken if len(rows)]

    def _steady(self, readings: Readings) -> NDArray[np.intp]:
        """Return the rows, point by point, of those whose times rise from what was before and through the burst."""
        order = np.argsort(readings.points, kind="stable")
        points, ts = readings.points[order], readings.ts[order]
        first = np.ones(len(points), np.bool_)
        first[1:] = points[1:] != points[:-1]
        known = np.maximum(np.maximum(self.ts, self.source_ts), self.newest)
        before = np.where(first, known[points], np.roll(ts, 1))
        wild = (ts <= before) | (self.deadband[points] > 0) | self.cut[points]
        return order[~np.isin(points, points[wild])]

    def _at_once(self, readings: Readings, text: NDArray[np.object_] | None, steady: NDArray[np.intp]) -> Rows:
        """Return what `_round` would of these rows one after another: each differs from the row before, or is due."""
        points, recv = readings.points[steady], readings.ts_recv
        value, valid = readings.value[steady], readings.valid[steady]
        status, ts = readings.status[steady], readings.ts[steady]
        words = text[steady] if text is not None else np.full(len(points), None, np.object_)
        first, last = np.ones(len(points), np.bool_), np.ones(len(points), np.bool_)
        first[1:] = points[1:] != points[:-1]
        last[:-1] = first[1:]

        def differs(new: NDArray[Any], state: NDArray[Any]) -> NDArray[np.bool_]:
            found: NDArray[np.bool_] = new != np.where(first, state[points], np.roll(new, 1))
            return found

        changed = differs(status, self.status) | differs(valid, self.valid) | differs(words, self.text)
        changed |= valid & differs(value.view(np.int64), self.value.view(np.int64))
        stored = self.stored[points]
        due = (stored == NS_NULL) | (recv < stored) | self.owed[points]
        due |= recv - np.where(stored == NS_NULL, 0, stored) >= self.heartbeat[points]
        keep = changed | (first & due) | self.always[points]
        self.source_ts[points[last]] = ts[last]
        own = ~np.isin(status, _OUR_WORD)
        np.maximum.at(self.newest, points[own], ts[own])
        kept = points[keep]  # of a point that is kept several times the last one stays
        self.value[kept], self.valid[kept], self.status[kept] = value[keep], valid[keep], status[keep]
        self.text[kept], self.ts[kept], self.stored[kept] = words[keep], ts[keep], recv
        self.owed[kept] = False
        return Rows(
            points=kept + self.first,
            ts=ts[keep],
            ts_recv=recv,
            value=value[keep],
            valid=valid[keep],
            status=status[keep],
            text=words[keep] if text is not None else None,
        )

    def lost(self, now_ns: int, status: int = BAD_NO_COMMUNICATION) -> list[Rows]:
        """Return one bad row per point that is not yet bad for want of communication."""
        live = np.flatnonzero(self.status != BAD_NO_COMMUNICATION)
        if status == BAD_NO_COMMUNICATION:  # a point that never spoke is a gap as well
            live = np.flatnonzero((self.status != BAD_NO_COMMUNICATION) | (self.stored == NS_NULL))
        if not len(live):
            return []
        gap = lost(live, now_ns, status)
        # Nobody knows what the source did until the loss was noticed: the gap begins with the last word of a
        # subscription, or when the first poll was missed, by the source's clock; and after the last row, not among
        # the rows before it.
        heard, known, spoke = self._heard.copy(), self._known.copy(), self._spoke.copy()
        now = now_ns + self._offset
        # What changed within the last sampling interval may not have been in the last message.
        due = np.where(known[live] != NS_NULL, known[live], now)
        due += np.where(self.subscribed[live], 1 - self.lag[live], self.lag[live])
        begin = np.minimum(due, now)
        if self._quiet:  # silence is no sign there, and a persistent session brings what was said meanwhile
            begin[:] = now
        # A clock that was ahead and was set right left a row of the future, which is not the last one.
        stray = (self.ts[live] > now + AHEAD_NS) & (self.source_ts[live] <= now + AHEAD_NS)
        last = np.where(stray, NS_NULL, self.ts[live])
        rows = self.take(replace(gap, ts=np.maximum(begin, last + 1)))
        # Our own word is none of the source.
        self.cut[live], self._heard, self._known, self._spoke = True, heard, known, spoke
        return rows

    def shutdown(self, now_ns: int) -> list[Rows]:
        """Return the rows that end the data when the agent stops."""
        return self.lost(now_ns, BAD_SHUTDOWN)

    def _limited(self, readings: Readings) -> Readings:
        """Return the readings with values beyond the points' limits bad; the values stay."""
        if not self._has_limits:
            return readings
        value, points = readings.value, readings.points
        if readings.text is not None:  # an integer that no float64 holds has its digits there
            value = np.where(readings.valid, value, [_number(text) for text in readings.text])
        beyond = (value < self.minimum[points]) | (value > self.maximum[points])
        beyond &= readings.status < BAD
        if not beyond.any():
            return readings
        return replace(readings, status=np.where(beyond, np.uint32(BAD_OUT_OF_RANGE), readings.status))

    def _clock(self, readings: Readings) -> int:
        """Return what the clock of these rows' times said when they were sent, and learn how far it is from ours."""
        if readings.clock is not None:
            self._offset = readings.clock - readings.ts_recv
        return readings.ts_recv + self._offset

    def _note(self, readings: Readings) -> None:
        """Note which points the source knows, when each was heard of, and when it was good."""
        points, status = readings.points, readings.status
        self._heard[points] = readings.ts_recv
        self._known[points] = self._clock(readings)
        self._answered[points] = self._spoke[points] = ~np.isin(status, _NOT_KNOWN)
        now = readings.ts_recv + self._offset
        # A time in the future must not hide from a later look at the history what is still to come.
        np.maximum.at(self.good_ts, points, np.where(status < BAD, np.minimum(readings.ts, now), NS_NULL))

    def _stand(self, readings: Readings) -> list[Rows]:
        stands = self.subscribed
        if readings.stands is not None:
            stands = np.zeros(len(self.subscribed), np.bool_)
            stands[readings.stands] = True
        self._heard[stands] = readings.ts_recv
        self._known[stands] = self._clock(readings)
        points = np.flatnonzero(stands)
        points = points[self._has_value(points)]
        points = points[self.owed[points] | (readings.ts_recv - self.stored[points] >= self.heartbeat[points])]
        if not len(points):
            return []
        again = Readings(
            points=points,
            ts=self.source_ts[points],
            ts_recv=readings.ts_recv,
            value=self.value[points],
            valid=self.valid[points],
            status=self.status[points],
            text=list(self.text[points]),
        )
        return self.take(again)

    def _round(self, readings: Readings, text: NDArray[np.object_] | None, positions: NDArray[np.intp]) -> Rows:
        points = readings.points[positions]
        value, valid = readings.value[positions], readings.valid[positions]
        status, ts = readings.status[positions], readings.ts[positions].copy()
        words = text[positions] if text is not None else np.full(len(points), None, np.object_)
        changed = (status != self.status[points]) | (valid != self.valid[points]) | (words != self.text[points])
        changed |= valid & _moved(value, self.value[points], self.deadband[points])
        # A source's clock that was ahead and was set right begins anew; what it said of the future stands alone.
        now = readings.ts_recv + self._offset

        def before(known: NDArray[np.int64]) -> NDArray[np.int64]:
            return np.where((known[points] > now + AHEAD_NS) & (ts <= now + AHEAD_NS), NS_NULL, known[points])

        last, newest = before(self.ts), before(self.newest)
        never = self.stored[points] == NS_NULL
        beat = never | (readings.ts_recv - np.where(never, 0, self.stored[points]) >= self.heartbeat[points])
        back_in_time = ~never & (readings.ts_recv < self.stored[points])  # our clock was set back
        own = ~np.isin(status, _OUR_WORD)
        late = (ts < newest) & own & ~back_in_time & self._quiet
        self.newest[points[own]] = np.where(back_in_time, ts, np.maximum(newest, ts))[own]
        # A source that stamps changes only says the same sample again: a heartbeat says that it stood one period ago.
        again = ~changed & ~never & (ts == self.source_ts[points])
        self.source_ts[points[~late]] = ts[~late]
        # What a quiet source says after a gap is a message of its own, kept for us meanwhile: only where its clock is
        # so far behind that the gap would stay the newest row for a heartbeat, the value is said to stand now.
        moved = again | (~changed & ~back_in_time & ~self.always[points] & (ts <= last) & (beat | (not self._quiet)))
        # After a gap a value that stood all the while bears its old time; it is known again only from now.
        moved |= self.cut[points] & (ts <= last) & (not self._quiet)
        moved &= ~late
        ts[moved] = np.maximum(now - self.lag[points], last + 1)[moved]
        # An older row says nothing new where it is equal to what stands and no stored row lies between them.
        inside = late & ~changed & (ts > last) & ~self.owed[points]
        due = beat | back_in_time | self.owed[points] | late
        keep = (changed | due | (self.always[points] & ~again)) & ~(inside & ~self.always[points])
        beyond = back_in_time | (ts > last) | ((ts == last) & ~self.cut[points] & ~self.owed[points])
        newer, stood, behind = keep & beyond, keep & ~late, keep & late & (ts > last)
        self.ts[points[newer]] = ts[newer]
        self.owed[points[behind]] |= changed[behind]
        kept = points[stood]
        self.value[kept], self.valid[kept], self.status[kept] = value[stood], valid[stood], status[stood]
        self.text[kept], self.cut[kept], self.owed[kept] = words[stood], False, ~beyond[stood]
        self.stored[points[stood & (beyond | never)]] = readings.ts_recv
        kept = points[keep]
        return Rows(
            points=kept + self.first,
            ts=ts[keep],
            ts_recv=readings.ts_recv,
            value=value[keep],
            valid=valid[keep],
            status=status[keep],
            text=words[keep] if text is not None else None,
        )


def _number(text: str | None) -> float:
    """Return the number that a text spells, NaN for other texts."""
    try:
        return float(text) if text is not None else math.nan
    except ValueError:
        return math.nan


def _moved(new: NDArray[np.float64], old: NDArray[np.float64], deadband: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where a number differs by more than the deadband; by its bits, so that NaN equals NaN."""
    differs = new.view(np.int64) != old.view(np.int64)
    with np.errstate(invalid="ignore"):
        inside = np.abs(new - old) <= deadband
    result: NDArray[np.bool_] = differs & ~((deadband > 0) & inside)
    return result


def to_frame(rows: Sequence[Rows], ids: pl.Series) -> pl.DataFrame:
    """Return the rows as one SAMPLE frame; `ids` are the point ids by position."""
    value = pl.Series("value", np.concatenate([r.value for r in rows]))
    valid = pl.Series(np.concatenate([r.valid for r in rows]))
    text = [t for r in rows for t in (r.text if r.text is not None else [None] * len(r))]
    try:
        words = pl.Series(text, dtype=pl.String)
    except UnicodeEncodeError:  # lone surrogates, as of JSON's \\ud800 or of bytes that are no UTF-8
        escaped = [t if t is None else t.encode("utf-8", "backslashreplace").decode() for t in text]
        words = pl.Series(escaped, dtype=pl.String)
    received = np.repeat(np.array([r.ts_recv for r in rows], np.int64), [len(r) for r in rows])
    frame = pl.DataFrame(
        {
            "point": ids.gather(np.concatenate([r.points for r in rows])),
            "ts": np.concatenate([r.ts for r in rows]),
            "ts_recv": received,
            "value": value,
            "text": words,
            "status": np.concatenate([r.status for r in rows]),
        }
    )
    times = [pl.col(name).cast(SAMPLE[name]) for name in ("ts", "ts_recv")]
    return frame.with_columns(*times, value=pl.when(valid).then("value"))

"""InfluxDB: samples as line protocol in gzipped requests, to 1.x, 2.x and 3 Core.

Exactly once, because a point that is written again stays the one point it was. What one request may hold is bounded,
and so is memory: a frame is encoded and sent in slices.

A refused request (400, 422) is taken apart until the lines at fault are known; they go to the quarantine, and all
others are stored. Few requests find them: servers mostly name the lines, or say how many they dropped, and where those
are all of a piece or all with one field, the piece is known. Where words say nothing, pieces are halved; after LOOKS
refused requests for one block of lines that ends. Then a piece of which the server says that it wrote the rest goes to
the quarantine whole, stored lines among it, and for one of which it says nothing `write` raises SinkRefused: its data
stays in the spool, and a person must look. Samples older than the server's retention are counted in the ledger.
"""

import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from collector.ledger import Ledger
from collector.quarantine import Quarantine
from collector.ranges import Ranges
from collector.sinks import influx_words, line_protocol
from collector.sinks.base import SinkBusy, SinkRefused
from collector.sinks.influx_apis import V1, V3, Api, headers
from collector.sinks.influx_http import Http, Reply
from collector.sinks.influx_words import Words
from config.plant import Plant
from config.plant import Sink as SinkConfig
from config.redaction import of_sink
from config.schema import SAMPLE, require
from connectors.base import Refused

LINES = 20_000
"""So many lines one request holds at most."""
TEXT = 4_000_000
"""So much text one request holds at most, before it is compressed, unless a single line is longer [B]."""
LEAST_TEXT = 64_000
"""Down to so much text requests shrink while none gets through [B]: a slow line carries a small one in time."""
GROWTH = 103
"""So much of its size the next request may have after one that got through [%]."""
LOOKS = 1_000
"""So many refused requests are spent at most on finding the lines at fault of one block."""
LEVEL = 1
"""Of gzip: higher levels cost several times the processor's time for a fifth fewer bytes."""

_GZIP = 31
_KEPT = 65_536
"""So much of a refused line is kept in the quarantine [B]."""


@dataclass(slots=True)
class _Search:
    """One block of lines on its way, and what of it was refused."""

    rows: int
    pieces: list[tuple[pl.DataFrame, bool]]
    """What is still to be sent, the last first; and whether it was part of a refused piece."""
    looks: int = 0
    accepted: bool = False
    found: list[Refused] = field(default_factory=list)
    doubtful: list[Refused] = field(default_factory=list)
    """Lines that were refused alone, in words that may as well be about every request."""
    old: list[tuple[int, int, int]] = field(default_factory=list)
    """Lines beyond the retention policy: how many, and their first and last time [ns]."""


@dataclass(slots=True)
class _Attempt:
    """A frame on its way; after a fault the same frame goes on where it stood."""

    first: int
    last: int
    rows: int
    order: NDArray[np.intp]
    tells: NDArray[np.bool_]
    done: int = 0
    search: _Search | None = None


class Sink:
    """Writes SAMPLE frames to one InfluxDB; see the module's text."""

    def __init__(
        self, config: SinkConfig, plant: Plant, *, agent: str, spool: str, ledger: Ledger, quarantine: Quarantine
    ) -> None:
        """Take the config; connects with `start`."""
        self._name, self._config = config.name, config
        self._ledger, self._quarantine = ledger, quarantine
        self._http = Http(
            config.url,
            headers=headers(config),
            secrets=of_sink(config),
            ca=plant.resolve(config.ca) if config.ca else None,
            timeout=config.timeout / 1e9,
        )
        self._api: Api | None = None
        self._series = line_protocol.Series(plant.id, {point.point: point.asset for point in plant.points})
        self._attempt: _Attempt | None = None
        self._limit = self._most_text = TEXT
        """What the server takes as far as it has said, and what a request holds now [B]."""
        self._accepted = b""
        """The last line that the server took since `start`: it may be sent again any time."""
        self._rows = self._retries = self._refused = self._old = 0

    def start(self, done: Ranges) -> Ranges:
        """See that the server answers and has a place for samples; what is done stays done."""
        self._accepted, self._limit = b"", TEXT
        self._connected().ready()
        return done

    def _connected(self) -> Api:
        if self._api is None:
            match self._config.api:
                case "v1":
                    self._api = V1(self._http, self._config)
                case "v2":
                    from collector.sinks.influx_v2 import V2  # noqa: PLC0415  only 2.x needs its client

                    self._api = V2(self._http, self._config)
                case "v3":
                    self._api = V3(self._http, self._config)
        return self._api

    def write(self, frame: pl.DataFrame, first: int, last: int) -> None:
        """Send a SAMPLE frame; every row is stored, in the quarantine or counted in the ledger when it returns."""
        frame = require(frame, SAMPLE, "samples")
        attempt = self._attempt
        if attempt is None or (attempt.first, attempt.last, attempt.rows) != (first, last, frame.height):
            order, tells = line_protocol.choose(frame, self._series)
            attempt = self._attempt = _Attempt(first, last, frame.height, order, tells)
        else:
            self._retries += 1
        while attempt.done < len(attempt.order):
            if attempt.search is None:
                part = slice(attempt.done, attempt.done + LINES)
                lines = line_protocol.encode(frame[attempt.order[part]], attempt.tells[part], self._series)
                attempt.search = _Search(lines.height, [(lines, False)])
            try:
                self._send(attempt.search)
            except SinkRefused:
                attempt.search = None  # once it is mended, the block is sent and judged anew
                raise
            except SinkBusy:
                raise
            except OSError:
                self._most_text = min(self._most_text, max(LEAST_TEXT, self._most_text // 2))
                raise
            attempt.done, attempt.search = attempt.done + attempt.search.rows, None
        self._rows += len(attempt.order)
        self._attempt = None

    def _send(self, search: _Search) -> None:
        """Bring a block of lines to the server; what it refuses is in the quarantine when this returns.

        After an OSError it goes on with the piece that stood still.
        """
        api = self._connected()
        while search.pieces:
            piece, cut = search.pieces[-1]
            parts = list(_parts(piece, self._most_text))
            if len(parts) > 1:
                search.pieces[-1:] = [(part, cut) for part in reversed(parts)]
                continue
            text = piece["line"].str.join("\n")[0].encode()
            reply = api.write(_packed(text))
            if reply.status not in (400, 413, 422):
                self._http.demand(reply, api.hint)
            search.pieces.pop()
            if reply.status == 413:
                self._too_large(search, piece, reply, len(text))
            elif reply.status in (400, 422):
                search.looks += 1
                self._look(search, piece, influx_words.read(reply, piece["line"]), cut=cut)
            else:
                self._most_text = min(self._limit, self._most_text * GROWTH // 100 + 1)
                search.accepted, self._accepted = True, piece["line"][-1].encode()
        self._account(search)

    def _too_large(self, search: _Search, piece: pl.DataFrame, reply: Reply, size: int) -> None:
        if piece.height > 1:
            self._limit = self._most_text = size // 2
            search.pieces.append((piece, False))
            return
        search.looks += 1
        search.doubtful.append(self._line(piece, 0, self._http.words(reply)))
        if search.looks >= LOOKS and not search.accepted:
            raise SinkRefused(
                f"{self._http.name}: even single lines are too large: {self._http.words(reply)}; check url"
            )

    def _look(self, search: _Search, piece: pl.DataFrame, words: Words, *, cut: bool) -> None:
        """Judge a refused piece, or cut it into smaller ones; `cut`: it was part of a refused piece."""
        if words.named and search.looks < LOOKS:
            search.found += [self._line(piece, row, reason) for row, reason in words.named.items()]
            search.pieces += [(part, True) for part in _without(piece, list(words.named), cut=cut) if part.height]
        elif words.retention and words.dropped == piece.height:
            search.old.append((piece.height, *piece.select(first=pl.min("ts"), last=pl.max("ts")).row(0)))
        elif piece.height in (words.dropped, 1):
            lines = [self._line(piece, row, words.text) for row in range(piece.height)]
            (search.found if words.of_lines else search.doubtful).extend(lines)
        elif search.looks < LOOKS:
            search.pieces += [(part, True) for part in _cut(piece, words, cut=cut) if part.height]
        elif words.partial:
            reason = f"among {piece.height} lines of which some were refused: {words.text}"
            search.found += [self._line(piece, row, reason) for row in range(piece.height)]
        else:
            raise SinkRefused(
                f"{self._http.name}: {search.looks} requests did not find what it refuses of {piece.height} lines: "
                f"{self._http.clean(words.text)}; check what the database's `samples` holds already"
            )

    def _line(self, piece: pl.DataFrame, row: int, reason: str) -> Refused:
        line = piece["line"][row].encode()
        return Refused(
            place=self._series.points[piece["code"][row]],
            reason=self._http.clean(reason),
            payload=line[:_KEPT],
            size=len(line),
            received=time.time_ns(),
        )

    def _account(self, search: _Search) -> None:
        if search.doubtful and not search.accepted and not self._takes_lines():
            words = search.doubtful[0].reason
            raise SinkRefused(f"{self._http.name}: it refuses every line so far: {words}; check url, api and settings")
        refused = search.found + search.doubtful
        if refused:
            self._quarantine.add((self._name, one) for one in refused)
            self._ledger.add("quarantined", refused[0].reason, sink=self._name, rows=len(refused))
            self._refused += len(refused)
        for rows, first, last in search.old:
            reason = "beyond the server's retention policy"
            self._ledger.add("not stored", reason, sink=self._name, rows=rows, first_ns=first, last_ns=last)
            self._old += rows

    def _takes_lines(self) -> bool:
        """Return whether the server still takes a line that it took before: then others are at fault themselves."""
        if not self._accepted:
            return False
        api = self._connected()
        reply = api.write(_packed(self._accepted))
        if reply.status in (400, 413, 422):
            return False
        self._http.demand(reply, api.hint)
        return True

    def upkeep(self, cursor: int) -> bool:
        """The server keeps its own house."""
        return False

    def figures(self) -> Mapping[str, float]:
        """Return counts since the agent's start."""
        return {
            "requests": self._http.requests,
            "sent_bytes": self._http.sent,
            "sent_rows": self._rows,
            "retries": self._retries,
            "refused_rows": self._refused,
            "expired_rows": self._old,
        }

    def close(self) -> None:
        """End the connection."""
        self._http.close()


def _packed(text: bytes) -> bytes:
    return zlib.compress(text, LEVEL, _GZIP)


def _parts(lines: pl.DataFrame, most: int) -> Iterator[pl.DataFrame]:
    """Cut lines so that each part's text is at most so long [B], or a single line."""
    ends = (lines["line"].str.len_bytes().cast(pl.Int64) + 1).cum_sum().to_numpy()
    begin = 0
    while begin < lines.height:
        before = ends[begin - 1] if begin else 0
        end = max(int(np.searchsorted(ends, before + most, "right")), begin + 1)
        yield lines[begin:end]
        begin = end


def _without(piece: pl.DataFrame, rows: list[int], *, cut: bool) -> list[pl.DataFrame]:
    """Return what stays of a piece without some rows; the second time around a single one, in parts.

    A server that names one line at a time has not looked behind it. Parts that double in length keep what is sent again
    in bounds.
    """
    if not cut or len(rows) > 1:
        return [piece.filter(~pl.int_range(pl.len()).is_in(rows))]
    parts, begin, length = [piece[: rows[0]]], rows[0] + 1, 2 * rows[0] + 16
    while begin < piece.height:
        parts.append(piece[begin : begin + length])
        begin, length = begin + length, 2 * length
    return parts[::-1]


def _cut(piece: pl.DataFrame, words: Words, *, cut: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cut a piece in two, where the server's words point to some of its lines so that these are apart."""
    piece = piece.sort("ts")  # servers keep days or weeks apart, and refuse by them
    if not cut and words.retention and words.dropped is not None and words.dropped < piece.height:
        return piece[words.dropped :], piece[: words.dropped]
    if not cut and words.field:
        pointed = piece["line"].str.contains(f"[ ,]{words.field}=")
        if 0 < pointed.sum() < piece.height:
            return piece.filter(~pointed), piece.filter(pointed)
    half = piece.height // 2
    return piece[half:], piece[:half]

"""Durable FIFO between sources and sinks: SQLite segments, one cursor per sink.

A batch is acknowledged when `put` returns: it is committed with synchronous=FULL. Segments are unlinked only after
every sink's cursor has durably passed them. One process, one thread and one connection per open segment use it.

Layout of the folder: spool.json (format, id), segment-<first sequence>.db, cursor-<sink>.json, ledger.jsonl,
quarantine/, lock.
"""

import json
import sqlite3
import uuid
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from collector import host
from collector.ledger import Ledger

FORMAT = 1
NAMES_BYTES = 64
"""What a row of the message table takes beside its names [B]."""

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS batch (
        seq INTEGER PRIMARY KEY, crc INTEGER NOT NULL, rows INTEGER NOT NULL, payload BLOB NOT NULL)""",
    # Which messages a batch came from: a broker sends again what it had no acknowledgement for.
    "CREATE TABLE IF NOT EXISTS message (seq INTEGER NOT NULL, source TEXT NOT NULL, tokens BLOB NOT NULL)",
)


class SpoolFull(Exception):  # noqa: N818
    """The spool's max_size is reached and its policy is to stop; nothing was written."""


class SpoolFormat(Exception):  # noqa: N818
    """The folder was written by a newer version; nothing was touched."""


@dataclass(frozen=True, slots=True)
class Record:
    """One committed batch."""

    seq: int
    rows: int
    payload: bytes


@dataclass(slots=True)
class Segment:
    """One SQLite file; `connection` is open while the file is written or read."""

    path: Path
    first: int
    last: int
    rows: int
    size: int
    connection: sqlite3.Connection | None = field(default=None, repr=False)

    def open(self) -> sqlite3.Connection:
        """Return the segment's one connection."""
        if self.connection is None:
            self.connection = _connect(self.path)
        return self.connection

    def close(self) -> None:
        """Close the connection, which folds the WAL into the file."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def unlink(self) -> None:
        """Remove the segment's files."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    for table in _SCHEMA:
        connection.execute(table)
    return connection


def checksum(seq: int, payload: bytes) -> int:
    """Return the CRC-32 over sequence number and payload."""
    return zlib.crc32(payload, zlib.crc32(seq.to_bytes(8, "little")))


class Spool:
    """The open spool; use it from one thread at a time, and `close` it."""

    def __init__(
        self,
        path: Path,
        *,
        segment_size: int = 64 * 2**20,
        max_size: int = 2 * 2**30,
        when_full: str = "drop_oldest",
        tail: int = 0,
    ) -> None:
        """Open or make the folder; sizes in [B]. The last `tail` batches stay when every sink has them.

        Raises host.Locked where another agent uses it and SpoolFormat where a newer version wrote it.
        """
        self._tail = tail
        self._sealed = False
        path.mkdir(parents=True, exist_ok=True)
        self.path, self.max_size, self.when_full = path, max_size, when_full
        self.segment_size = min(segment_size, max(max_size // 4, 1))  # so that room can be made by whole segments
        self._lock = host.lock_folder(path)
        self.ledger = Ledger(path / "ledger.jsonl")
        self.id = self._identify()
        self.cursors = {f.stem.removeprefix("cursor-"): _read_cursor(f) for f in path.glob("cursor-*.json")}
        self.segments = self._scan()
        self.last = max([s.last for s in self.segments] + list(self.cursors.values()) + [0])

    def _identify(self) -> str:
        file = self.path / "spool.json"
        if not file.exists():
            host.replace_durably(file, json.dumps({"format": FORMAT, "id": uuid.uuid4().hex}).encode())
        about = json.loads(file.read_bytes())
        if about["format"] > FORMAT:
            raise SpoolFormat(
                f"{self.path}: spool format {about['format']} is newer than {FORMAT}, which this version reads; "
                "use the version that wrote it, or another folder"
            )
        return str(about["id"])

    def _scan(self) -> list[Segment]:
        found: list[Segment] = []
        for file in sorted(self.path.glob("segment-*.db")):
            try:
                with_rows = _connect(file)
                first, last, rows = with_rows.execute(
                    "SELECT coalesce(min(seq), 0), coalesce(max(seq), 0), coalesce(sum(rows), 0) FROM batch"
                ).fetchone()
                with_rows.close()
            except sqlite3.OperationalError:
                raise  # the disk is full or fails: the file may be whole
            except sqlite3.DatabaseError as error:
                self._quarantine(file, str(error))
                continue
            if rows or not found:
                start = first or int(file.stem.removeprefix("segment-"))
                found.append(Segment(file, start, last or start - 1, rows, file.stat().st_size))
        return found

    def _quarantine(self, file: Path, reason: str) -> None:
        folder = self.path / "quarantine"
        folder.mkdir(exist_ok=True)
        for suffix in ("", "-wal", "-shm"):
            part = file.with_name(file.name + suffix)
            if part.exists():
                part.replace(folder / f"{part.name}.{uuid.uuid4().hex[:8]}")
        self.ledger.add("quarantined", f"unreadable segment: {reason}", segment=file.name)

    @property
    def size(self) -> int:
        """Bytes of all segments, as far as payloads and names of messages say [B]."""
        return sum(s.size for s in self.segments)

    def put(self, payload: bytes, rows: int, tokens: Mapping[str, Sequence[int]] | None = None) -> int:
        """Commit one batch durably, with the names of the messages of each source that it came from.

        Returns its sequence number. Raises SpoolFull (nothing written) or sqlite3.Error (not acknowledged; may be put
        again).
        """
        need = len(payload) + sum(NAMES_BYTES + 8 * len(some) for some in (tokens or {}).values())
        self._make_room(need)
        segment = self._writable()
        seq = self.last + 1
        try:
            self._insert(segment.open(), seq, payload, rows, tokens or {})
        except sqlite3.Error:
            # Nobody knows whether it landed. The file is never written again, and the next one begins with this
            # sequence number, which then counts instead.
            segment.close()
            self._sealed = True
            raise
        self.last = segment.last = seq
        segment.rows += rows
        segment.size += need
        return seq

    @staticmethod
    def _insert(
        connection: sqlite3.Connection, seq: int, payload: bytes, rows: int, tokens: Mapping[str, Sequence[int]]
    ) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO batch VALUES (?, ?, ?, ?)", (seq, checksum(seq, payload), rows, payload))
        names = [(seq, source, np.array(some, np.int64).tobytes()) for source, some in tokens.items() if some]
        connection.executemany("INSERT INTO message VALUES (?, ?, ?)", names)
        connection.execute("COMMIT")

    def tokens(self, after: int) -> dict[str, list[int]]:
        """Return the names of the messages in batches above `after`, of each source, oldest first.

        What cannot be read of a segment is left out, and stands in the ledger.
        """
        found: dict[str, list[int]] = {}
        for segment in self.segments:
            if segment.last > after:
                try:
                    rows = segment.open().execute(
                        "SELECT source, tokens FROM message WHERE seq > ? ORDER BY seq, rowid", (after,)
                    )
                    for source, some in rows:
                        names = np.frombuffer(some, np.int64).tolist()
                        found.setdefault(source, []).extend(names)
                except (sqlite3.Error, ValueError) as error:  # ValueError: bytes that are no whole names
                    self.ledger.add("tail not read", f"names of messages: {error}", segment=segment.path.name)
        return found

    def _new(self) -> Segment:
        first = self.last + 1
        path = self.path / f"segment-{first:016d}.db"
        segment = Segment(path, first, first - 1, 0, 0)
        segment.open()
        host.sync_folder(self.path)
        return segment

    def _writable(self) -> Segment:
        if not self.segments or self._sealed or self.segments[-1].size >= self.segment_size:
            if self.segments:
                self.segments[-1].close()
                if self.segments[-1].last < self.segments[-1].first:
                    # Nothing acknowledged lies in it, and the next one bears the same name.
                    self.segments[-1].unlink()
                    self.segments.pop()
            self.segments.append(self._new())
            self._sealed = False
        return self.segments[-1]

    def _make_room(self, need: int) -> None:
        if self.size + need <= self.max_size:
            return
        if self.when_full == "stop":
            done = min(self.cursors.values(), default=0)
            while self.segments and self.segments[0].last <= done and self.size + need > self.max_size:
                self.segments.pop(0).unlink()  # the tail is kept only while there is room
            if self.size + need <= self.max_size:
                return
            raise SpoolFull(f"{self.path} holds {self.size} B of {self.max_size} B allowed; its policy is to stop")
        while self.segments and self.size + need > self.max_size:
            oldest = self.segments.pop(0)
            unread = [name for name, seq in self.cursors.items() if seq < oldest.last]
            if unread and oldest.rows:
                facts = {"first": oldest.first, "last": oldest.last, "rows": oldest.rows, "sinks": unread}
                self.ledger.add("dropped", "spool full, oldest dropped", **facts)
            oldest.unlink()

    def read(self, after: int, max_bytes: int = 8 * 2**20) -> Iterator[Record]:
        """Yield committed batches with a sequence above `after`, oldest first, up to about `max_bytes`.

        A batch whose bytes do not match its CRC is left out and stands in the ledger.
        """
        taken = 0
        following = [*(s.first for s in self.segments), self.last + 1][1:]
        for segment, end in zip(list(self.segments), following, strict=False):
            if segment.last <= after:
                continue
            rows = segment.open().execute(
                "SELECT seq, crc, rows, CAST(payload AS BLOB) FROM batch WHERE seq > ? AND seq < ? ORDER BY seq",
                (after, end),
            )
            for seq, crc, count, payload in rows:
                if checksum(seq, payload) != crc:
                    self._damaged(segment, seq, count, payload)
                    continue
                yield Record(seq, count, payload)
                taken += len(payload)
                if taken >= max_bytes:
                    return

    def _damaged(self, segment: Segment, seq: int, rows: int, payload: bytes) -> None:
        folder = self.path / "quarantine"
        folder.mkdir(exist_ok=True)
        file = folder / f"batch-{seq:016d}.bin"
        if not file.exists():
            file.write_bytes(payload)
            self.ledger.add(
                "quarantined", "CRC of a batch does not match", segment=segment.path.name, seq=seq, rows=rows
            )

    def cursor(self, sink: str) -> int:
        """Return the last sequence that the sink has stored; a new sink starts before the oldest batch."""
        if sink not in self.cursors:
            self.cursors[sink] = self.segments[0].first - 1 if self.segments else self.last
        return self.cursors[sink]

    def forget_all_but(self, sinks: Collection[str]) -> None:
        """Let no cursor of a sink that is not configured any more hold segments back; its file stays."""
        self.cursors = {sink: seq for sink, seq in self.cursors.items() if sink in sinks}

    def advance(self, sink: str, seq: int) -> None:
        """Note durably that the sink has stored all up to `seq`, then unlink what no sink needs."""
        host.replace_durably(self.path / f"cursor-{sink}.json", json.dumps({"seq": seq}).encode())
        self.cursors[sink] = seq
        done = min(*self.cursors.values(), self.last - self._tail)
        while len(self.segments) > 1 and self.segments[0].last <= done:
            self.segments.pop(0).unlink()

    def close(self) -> None:
        """Close every segment and let go of the folder; a second call does nothing."""
        for segment in self.segments:
            segment.close()
        if self._lock >= 0:
            host.unlock(self._lock)
            self._lock = -1


def _read_cursor(file: Path) -> int:
    return int(json.loads(file.read_bytes())["seq"])

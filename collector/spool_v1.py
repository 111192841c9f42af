"""Segments of spool format 1 (SQLite), which this version reads to their end and never writes."""

import errno
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from collector.frames import Hole, Record
from collector.segment import TRIES

SUFFIX = ".db"


class OldSegment:
    """One SQLite file; closed between calls."""

    def __init__(self, path: Path) -> None:
        """Take the file; raises sqlite3.Error where it cannot be read at all, OSError where it cannot be opened now."""
        self.path = path
        self.first = int(path.stem.removeprefix("segment-"))
        self._failures: Counter[int] = Counter()
        connection, first, last = self._open(), None, None
        try:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):  # else a kill came first
                first, last = connection.execute("SELECT min(seq), max(seq) FROM batch").fetchone()
        finally:
            connection.close()
        self.first = first or self.first
        self.last = last or self.first - 1
        self.size = path.stat().st_size

    def _open(self) -> sqlite3.Connection:
        try:
            return sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        except sqlite3.OperationalError as error:
            raise OSError(errno.EIO, str(error), str(self.path)) from error

    def read(self, after: int, below: int) -> Iterator[Record | Hole]:
        """Yield the batches above `after` and below `below`, and holes for those that are damaged.

        Raises OSError where SQLite cannot read now; what it fails to give TRIES times is damaged.
        """
        connection, expected = self._open(), after + 1
        try:
            rows = connection.execute(
                "SELECT seq, crc, rows, CAST(payload AS BLOB) FROM batch WHERE seq > ? AND seq < ? ORDER BY seq",
                (after, below),
            )
            for seq, crc, count, payload in rows:
                if seq > expected:
                    yield Hole(expected, seq - 1, "batches are missing in the file")
                whole = zlib.crc32(payload, zlib.crc32(seq.to_bytes(8, "little"))) == crc
                yield Record(seq, count, payload) if whole else Hole(seq, seq, "CRC of a batch does not match")
                expected = seq + 1
        except (sqlite3.Error, TypeError, AttributeError) as error:  # a cell of a damaged page may be of any type
            self._failures[expected] += 1
            if isinstance(error, sqlite3.OperationalError) and self._failures[expected] < TRIES:  # no descriptor, say
                raise OSError(errno.EIO, str(error), str(self.path)) from error
            yield Hole(expected, below - 1, f"unreadable: {error}")
            return
        finally:
            connection.close()
        if expected < below:
            yield Hole(expected, below - 1, "batches are missing in the file")

    def tokens(self, after: int) -> Iterator[tuple[str, list[int]]]:
        """Yield sources and the names of their messages in batches above `after`, oldest first.

        Raises sqlite3.Error, ValueError.
        """
        connection = self._open()
        try:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'message'").fetchone() is None:
                return  # at first batches had none
            rows = connection.execute("SELECT source, tokens FROM message WHERE seq > ? ORDER BY seq, rowid", (after,))
            for source, some in rows:
                yield source, np.frombuffer(some, np.int64).tolist()
        finally:
            connection.close()

    def remove(self) -> None:
        """Remove the files."""
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

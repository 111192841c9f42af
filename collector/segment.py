"""One file of the spool: written by one process, once, and read until every sink has its batches."""

import contextlib
import errno
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from collector import frames, host
from collector.frames import FILE_HEAD, Frame, Hole, Reader, Record

TRIES = 5
"""How often what the disk fails to give is read, before it counts as lost."""
PLACES = 16
"""So many places are known where reading may go on: more than sinks, each with a backlog and live data."""


@dataclass(slots=True)
class Segment:
    """One file of batches; `file` is open while it is written."""

    path: Path
    spool: bytes
    first: int
    last: int
    size: int
    file: int | None = None
    failures: Counter[int] = field(default_factory=Counter)
    """How often the disk failed to give what follows a batch."""
    places: dict[int, int] = field(default_factory=dict)
    """Where the frame after a batch begins, for batches that were read last [B]."""

    def append(self, pieces: list[bytes]) -> None:
        """Append at `size` and sync; raises OSError, and then the file must not be written again."""
        if self.file is None:
            raise OSError(errno.EBADF, "the segment is sealed", str(self.path))
        length = sum(map(len, pieces))
        written = os.writev(self.file, pieces)
        if written < length:
            raise OSError(errno.ENOSPC, "no room for the whole of a batch", str(self.path))
        host.sync_data(self.file)
        self.size += length

    def seal(self) -> None:
        """Write no more; what a failed write left of a batch is cut off, if the disk lets us."""
        if self.file is not None:
            file, self.file = self.file, None
            with contextlib.suppress(OSError):
                if os.fstat(file).st_size > self.size:
                    os.ftruncate(file, self.size)
            with contextlib.suppress(OSError):  # what counts is synced, and the number is free again whatever is said
                os.close(file)

    def read(self, after: int, below: int) -> Iterator[Record | Hole]:
        """Yield the batches above `after` and below `below`, and holes for those that are damaged.

        Raises OSError where the disk fails; what it fails to give TRIES times is damaged.
        """
        try:
            reader = Reader(self.path, self.spool, self.first)
        except FileNotFoundError as error:
            yield Hole(after + 1, below - 1, str(error))
            return
        try:
            while after + 1 < below:
                try:
                    for found in self._read(reader, after, below):
                        after = found.seq if isinstance(found, Record) else found.last
                        yield found
                except OSError:
                    self.failures[after] += 1
                    if self.failures[after] < TRIES:
                        raise
                    reader.mend = True
        finally:
            reader.close()

    def _read(self, reader: Reader, after: int, below: int) -> Iterator[Record | Hole]:
        expected = after + 1
        for found in reader.frames(self.places.get(after, FILE_HEAD), below=below):
            if found.seq <= after:
                continue
            if found.seq > expected:
                yield Hole(expected, found.seq - 1, "damaged")
            record = reader.record(found)
            expected = found.seq + 1
            self._remember(found)
            yield record or Hole(found.seq, found.seq, "CRC of a batch does not match")
        if expected < below:
            yield Hole(expected, below - 1, "damaged or cut off")

    def _remember(self, found: Frame) -> None:
        self.places[found.seq] = found.end
        while len(self.places) > PLACES:
            self.places.pop(next(iter(self.places)))

    def tokens(self, after: int) -> Iterator[tuple[str, list[int]]]:
        """Yield sources and the names of their messages in batches above `after`, oldest first.

        Raises OSError, and after the last one ValueError where some are damaged.
        """
        reader = Reader(self.path, self.spool, self.first)
        damaged = []
        try:
            for found in reader.frames(below=self.last + 1):
                if found.seq > after:
                    try:
                        yield from reader.tokens(found).items()
                    except ValueError as error:
                        damaged.append(str(error))
        finally:
            reader.close()
        if damaged:
            raise ValueError(", ".join(damaged))

    def remove(self) -> None:
        """Remove the file."""
        self.seal()
        self.path.unlink(missing_ok=True)

    def find_end(self) -> bytes:
        """Find the last batch that may have been acknowledged, and return the bytes after the whole ones.

        A frame without its end was never acknowledged. Bytes that no frame's head stands before may have been one
        that was: they count as a batch, which `read` will miss.
        """
        reader = Reader(self.path, self.spool, self.first, mend=True)
        try:
            last, end = self.first - 1, min(FILE_HEAD, reader.size)
            for found in reader.frames(below=2**63):
                if found.end > reader.size:
                    break
                last, end = found.seq, found.end
            else:
                last += reader.size - end >= frames.HEAD
            self.last = last
            return reader.raw(end, reader.size)
        finally:
            reader.close()

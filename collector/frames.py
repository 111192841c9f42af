"""The spool's file format: batches one after another, each with CRCs of its own, only ever appended to.

A file begins with a head (magic, format, the spool's id, first sequence number, CRC) and goes on with frames:

    magic 4 B | CRC of the rest of this head 4 B | seq 8 B | rows, bytes of tokens, of payload, CRC of them: 4 B each
    tokens | payload

Whatever is damaged, frames before and after it are found again: by their length, or by the magic and a CRC that begins
with the spool's id and the frame's place, so that no payload and no block that the disk put elsewhere passes for one.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FORMAT = 2
SUFFIX = ".log"

_FILE_MAGIC, _MAGIC = b"PPspool\n", b"\xf3PB\xf4"
_FILE = struct.Struct("<8sI16sQ")
_FRAME = struct.Struct("<QIIII")
_CRC = struct.Struct("<I")
_PLACE = struct.Struct("<QQ")
HEAD = len(_MAGIC) + _CRC.size + _FRAME.size
"""Length of a frame's head [B]."""
FILE_HEAD = _FILE.size + _CRC.size
"""Length of a file's head [B]."""
_WINDOW = 2**18
_PAGE = 2**12


@dataclass(frozen=True, slots=True)
class Record:
    """One committed batch."""

    seq: int
    rows: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Hole:
    """Committed batches that cannot be read any more."""

    first: int
    last: int
    reason: str


Tokens = Mapping[str, Sequence[int]]
"""Names of the messages of each source."""


def frame(spool: bytes, record: Record, tokens: bytes, *, first: int = 0, at: int = 0) -> list[bytes]:
    """Return the pieces of a batch's frame, to be written one after another.

    spool: its id [16 B]. tokens: as `packed`. first: the segment's first number. at: where the frame begins in it [B].
    """
    body = zlib.crc32(record.payload, zlib.crc32(tokens, zlib.crc32(record.seq.to_bytes(8, "little"))))
    head = _FRAME.pack(record.seq, record.rows, len(tokens), len(record.payload), body)
    return [_MAGIC + _CRC.pack(zlib.crc32(head, _seed(spool, first, at))) + head, tokens, record.payload]


def _seed(spool: bytes, first: int, at: int) -> int:
    return zlib.crc32(_PLACE.pack(first, at), zlib.crc32(spool))


def file_head(spool: bytes, first: int) -> bytes:
    """Return what a segment's file begins with."""
    head = _FILE.pack(_FILE_MAGIC, FORMAT, spool, first)
    return head + _CRC.pack(zlib.crc32(head))


def spool_of(path: Path) -> bytes | None:
    """Return the id of the spool that a segment belongs to [16 B]; None where its head cannot be read."""
    with path.open("rb") as file:
        head = file.read(FILE_HEAD)
    if len(head) < FILE_HEAD or zlib.crc32(head[: _FILE.size]) != _CRC.unpack(head[_FILE.size :])[0]:
        return None
    return bytes(_FILE.unpack(head[: _FILE.size])[2])


def packed(tokens: Tokens) -> bytes:
    """Return names of messages as a frame holds them."""
    some = {source: np.array(names, np.int64) for source, names in tokens.items() if len(names)}
    if not some:
        return b""
    head = json.dumps({source: len(names) for source, names in some.items()}).encode() + b"\n"
    return head + b"".join(names.tobytes() for names in some.values())


def _unpacked(packed: bytes) -> dict[str, list[int]]:
    head, _, rest = packed.partition(b"\n")
    names, found, at = np.frombuffer(rest, np.int64), {}, 0
    for source, count in (json.loads(head) if head else {}).items():
        found[source] = names[at : at + count].tolist()
        at += count
    return found


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a batch lies in a file whose head was whole."""

    seq: int
    rows: int
    at: int
    tokens: int
    payload: int
    crc: int

    @property
    def body(self) -> int:
        """Where tokens and payload begin."""
        return self.at + HEAD

    @property
    def end(self) -> int:
        """Where the next frame begins."""
        return self.body + self.tokens + self.payload


class Reader:
    """Reads one segment's file, in which another thread or process may append meanwhile; `close` it.

    All numbers `at` are positions in the file [B].
    """

    def __init__(self, path: Path, spool: bytes, first: int = 0, *, mend: bool = False) -> None:
        """Open the file of a segment that begins with the number `first`; raises OSError.

        mend: what the disk fails to give is taken as zeros, so that the batches around it are found.
        """
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._spool, self._first, self.mend = spool, first, mend
        self.size = os.fstat(self._file).st_size
        self._window, self._from = b"", 0

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def frames(self, at: int = FILE_HEAD, *, below: int) -> Iterator[Frame]:
        """Yield the frames from `at` on whose heads are whole, with rising sequence numbers below `below`.

        What lies between them is damaged, and after the last of them torn. Raises OSError where the disk fails.
        """
        seq = -1
        while (found := self._frame(at)) is not None or (found := self._next(at)) is not None:
            if found.seq >= below:
                return
            if found.seq > seq:
                yield found
                seq = found.seq
            at = found.end

    def record(self, found: Frame) -> Record | None:
        """Return a frame's batch; None where its bytes do not match their CRC."""
        body = self._body(found)
        return None if body is None else Record(found.seq, found.rows, body[found.tokens :])

    def tokens(self, found: Frame) -> dict[str, list[int]]:
        """Return the names of a batch's messages; raises ValueError where they are damaged."""
        body = self._body(found)
        if body is None:
            raise ValueError(f"CRC of batch {found.seq} does not match")
        return _unpacked(body[: found.tokens])

    def _body(self, found: Frame) -> bytes | None:
        body = self._bytes(found.body, found.tokens + found.payload)
        whole = zlib.crc32(body, zlib.crc32(found.seq.to_bytes(8, "little"))) == found.crc
        return body if whole and len(body) == found.tokens + found.payload else None

    def raw(self, at: int, end: int) -> bytes:
        """Return the bytes of the file as they are."""
        return self._bytes(at, max(0, end - at))

    def _frame(self, at: int) -> Frame | None:
        head = self._bytes(at, HEAD)
        if len(head) < HEAD or not head.startswith(_MAGIC):
            return None
        if zlib.crc32(head[8:], _seed(self._spool, self._first, at)) != _CRC.unpack_from(head, 4)[0]:
            return None
        seq, rows, tokens, payload, crc = _FRAME.unpack_from(head, 8)
        return Frame(seq, rows, at, tokens, payload, crc)

    def _next(self, at: int) -> Frame | None:
        """Look for the next frame, byte by byte."""
        at += 1
        while len(part := self._bytes(at, _WINDOW)) >= HEAD:
            found = part.find(_MAGIC)
            while found >= 0:
                if (frame := self._frame(at + found)) is not None:
                    return frame
                found = part.find(_MAGIC, found + 1)
            at += len(part) - len(_MAGIC) + 1
        return None

    def _bytes(self, at: int, count: int) -> bytes:
        """Return the bytes from `at` on, fewer at the end of the file."""
        start = at - self._from
        if start < 0 or start + count > len(self._window):
            if count > _WINDOW:
                return self._read(at, count)
            self._window, self._from, start = self._read(at, _WINDOW), at, 0
        return self._window[start : start + count]

    def _read(self, at: int, count: int) -> bytes:
        parts = []
        while count and (part := self._part(at, count)):
            parts.append(part)
            at, count = at + len(part), count - len(part)
        return b"".join(parts)

    def _part(self, at: int, count: int) -> bytes:
        try:
            return os.pread(self._file, count, at)
        except OSError:
            if not self.mend:
                raise
        count = max(0, min(count, _PAGE - at % _PAGE, self.size - at))
        try:
            return os.pread(self._file, count, at)
        except OSError:
            return bytes(count)

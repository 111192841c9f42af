"""Reads the spool's segments by code of its own, from the description in collector/frames.py."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FILE_HEAD = struct.Struct("<8sI16sQI")
FRAME_HEAD = struct.Struct("<4sIQIIII")
PLACE = struct.Struct("<QQ")


@dataclass(frozen=True)
class Batch:
    """One batch and where its frame lies, `at` up to `end` [B]."""

    file: str
    at: int
    end: int
    seq: int
    rows: int
    tokens: bytes
    payload: bytes


def batches_of(segment: Path) -> Iterator[Batch]:
    """Yield the batches of a segment up to the first byte that is no whole frame."""
    data = segment.read_bytes()
    if len(data) < FILE_HEAD.size:
        return
    magic, version, spool, first, crc = FILE_HEAD.unpack_from(data)
    assert (magic, version, crc) == (b"PPspool\n", 2, zlib.crc32(data[: FILE_HEAD.size - 4]))
    at = FILE_HEAD.size
    while at + FRAME_HEAD.size <= len(data):
        magic, crc, seq, rows, tokens, payload, body_crc = FRAME_HEAD.unpack_from(data, at)
        place = zlib.crc32(PLACE.pack(first, at), zlib.crc32(spool))
        if magic != b"\xf3PB\xf4" or crc != zlib.crc32(data[at + 8 : at + FRAME_HEAD.size], place):
            return
        begin = at + FRAME_HEAD.size
        body = data[begin : begin + tokens + payload]
        if len(body) < tokens + payload or body_crc != zlib.crc32(body, zlib.crc32(seq.to_bytes(8, "little"))):
            return
        end = begin + len(body)
        yield Batch(segment.name, at, end, seq, rows, body[:tokens], body[tokens:])
        at = end


def batches_in(folder: Path) -> list[Batch]:
    """Return all batches of a spool, oldest first; what a later segment begins with counts in place of an earlier."""
    found: dict[int, Batch] = {}
    for segment in sorted(folder.glob("segment-*.log")):
        found |= {batch.seq: batch for batch in batches_of(segment)}
    return [found[seq] for seq in sorted(found)]

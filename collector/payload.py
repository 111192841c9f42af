"""A batch's payload: a SAMPLE frame as an Arrow IPC stream, compressed with zstd."""

import io

import polars as pl

_FILE_MAGIC = b"ARROW1"
"""Spool format 1 held Arrow files, which take twenty times as long where rows are few."""


def encoded(frame: pl.DataFrame) -> bytes:
    """Return a SAMPLE frame as a payload."""
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer, compression="zstd")
    return buffer.getvalue()


def decoded(payload: bytes) -> pl.DataFrame:
    """Return the SAMPLE frame of a payload; raises polars' errors where it is none."""
    read = pl.read_ipc if payload.startswith(_FILE_MAGIC) else pl.read_ipc_stream
    return read(io.BytesIO(payload))

"""Writes spools of format 1 by SQLite alone, as the version before left them; and one that is killed while it does.

`python -m tests.old_spool FOLDER BATCHES` writes batches for ever after the last of its segments has so many, and
prints each number once it is committed.
"""

import json
import sqlite3
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

ID = "0123456789abcdef0123456789abcdef"
TABLES = (
    "CREATE TABLE batch (seq INTEGER PRIMARY KEY, crc INTEGER NOT NULL, rows INTEGER NOT NULL, payload BLOB NOT NULL)",
    "CREATE TABLE message (seq INTEGER NOT NULL, source TEXT NOT NULL, tokens BLOB NOT NULL)",
)


def segment(folder: Path, first: int, *, tables: Sequence[str] = TABLES) -> sqlite3.Connection:
    """Make a segment that begins with a number; the caller closes it."""
    db = sqlite3.connect(folder / f"segment-{first:016d}.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    for table in tables:
        db.execute(table)
    return db


def put(
    db: sqlite3.Connection, seq: int, payload: bytes, rows: int = 1, tokens: Mapping[str, Sequence[int]] | None = None
) -> None:
    """Commit a batch with the names of its messages."""
    crc = zlib.crc32(payload, zlib.crc32(seq.to_bytes(8, "little")))
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO batch VALUES (?, ?, ?, ?)", (seq, crc, rows, payload))
    for source, names in (tokens or {}).items():
        db.execute("INSERT INTO message VALUES (?, ?, ?)", (seq, source, np.array(names, np.int64).tobytes()))
    db.execute("COMMIT")


def folder_of(folder: Path, cursors: Mapping[str, int]) -> None:
    """Make the folder's other files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spool.json").write_text(json.dumps({"format": 1, "id": ID}))
    (folder / "lock").touch()
    for sink, seq in cursors.items():
        (folder / f"cursor-{sink}.json").write_text(json.dumps({"seq": seq}))


def main() -> None:
    """Write until a kill."""
    folder, batches = Path(sys.argv[1]), int(sys.argv[2])
    folder_of(folder, {})
    seq, db = 0, None
    while True:
        if seq % batches == 0:
            if db is not None:
                db.close()
            db = segment(folder, seq + 1)
        seq += 1
        put(db, seq, b"%d," % seq * 100, tokens={"cells": [seq]})  # type: ignore[arg-type]
        print(seq, flush=True)


if __name__ == "__main__":
    main()

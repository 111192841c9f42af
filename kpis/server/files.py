"""Files that are whole after a power cut."""

import json
import os
import secrets
from pathlib import Path
from typing import Any

from kpis.evidence import host

UNFINISHED = ".unfinished-"
"""What the names of files begin with that were never finished."""


def write(path: Path, data: bytes, mode: int = 0o640, mark: str = "") -> None:
    """Write a whole file: after a power cut the old or the new one stands, never a part; raises OSError.

    mark: what the unfinished file is called by, where nobody else writes one so called; it goes over one left behind.
    """
    temporary = path.with_name(f"{UNFINISHED}{mark or secrets.token_hex(8)}")
    if mark:
        temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    host.sync_folder(path.parent)


def write_json(path: Path, data: Any, mode: int = 0o640) -> None:
    """Write data as JSON, whole; raises OSError."""
    write(path, json.dumps(data, ensure_ascii=False, indent=1, allow_nan=False).encode(), mode)


def clear_unfinished(folder: Path) -> None:
    """Remove what an interrupted write left in a folder."""
    for path in folder.glob(f"{UNFINISHED}*"):
        path.unlink(missing_ok=True)

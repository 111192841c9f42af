"""Files that show where a declared value or answer comes from: below the plant's folder, and known by their hash."""

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from config.tables import heads_of, read_table


class AttachmentError(ValueError):
    """An attachment cannot be taken; `rule` and `hint` say why, and the next step."""

    def __init__(self, rule: str, hint: str) -> None:
        """Take what is wrong and the next step."""
        super().__init__(f"{rule}; {hint}")
        self.rule, self.hint = rule, hint


def name_of(cell: str) -> str:
    """Return an attachment's name from the plant's folder, with / between folders."""
    return str(PurePosixPath(cell.strip().replace("\\", "/")))


def sha256_of(root: Path, name: str) -> str:
    """Return the hash of an attachment; raises AttachmentError."""
    folder = root.resolve()
    path = (folder / name).resolve() if "\0" not in name else folder
    if not path.is_relative_to(folder) or ":" in name:
        raise AttachmentError("lies outside the plant's folder", "copy it into the folder, such as attachments/")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        hint = "mend its name, or put the file there; names begin at the plant's folder"
        raise AttachmentError("is missing: there is no such file", hint) from None
    except OSError as error:
        raise AttachmentError(f"cannot be read ({error.strerror})", "name a file, and check its permissions") from error


def files(root: Path, tables: Mapping[str, str]) -> list[str]:
    """Return the attachments that tables of declared values and answers name.

    tables: file name by the kind of its rows, `business` or `answers`.
    """
    named = []
    for kind, name in tables.items():
        there = (root / name).is_file()
        rows = read_table(root / name, name, (), [], heads=heads_of(kind)) if there else None
        named += [name_of(cell) for row in rows or () if (cell := row.cells.get("attachment"))]
    return list(dict.fromkeys(named))

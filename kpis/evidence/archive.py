"""A package's bytes: a zip that depends on nothing but its files, and opened with caps whoever made it."""

import hashlib
import io
import zipfile
from collections.abc import Mapping

from kpis.evidence.layout import MANIFEST, SIGNATURE

MAX_ENTRIES = 10_000
MAX_BYTES = 2**31
"""More than a package of many machines and years has; whoever reads one holds it in memory."""
MAX_NAME = 240
_EPOCH = (1980, 1, 1, 0, 0, 0)
_CANNOT_OPEN = (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError)


class ArchiveError(Exception):
    """Bytes that are no package, or one that must not be opened; the message says why."""


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return a zip of the files: in order of name, with a fixed time.

    Stored, not deflated: the bytes do not depend on a version of zlib, so a verifier can pack again and compare.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """Return a package's files by name; raises ArchiveError.

    Nothing is written to a disk, and nothing is read that claims more bytes than the archive has.
    """
    try:
        return _unpacked(data)
    except _CANNOT_OPEN as error:
        raise ArchiveError(str(error)) from error


def _unpacked(data: bytes) -> dict[str, bytes]:
    if not data.startswith(b"PK\x03\x04"):
        raise ValueError("it does not start as a zip")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        # Stored entries cannot hold more than the archive has, unless several share the same bytes.
        if len(entries) > MAX_ENTRIES or sum(e.file_size for e in entries) > min(len(data), MAX_BYTES):
            raise ValueError(f"more than {MAX_ENTRIES} entries, or more bytes than the archive has or {MAX_BYTES}")
        names = [e.filename for e in entries]
        if len(set(names)) != len(names):
            raise ValueError("an entry stands twice")
        for entry in entries:
            if not safe_name(entry.filename):
                raise ValueError(f"entry {entry.filename!r} leads out of the package")
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise ValueError(f"entry {entry.filename!r} is compressed; packages are stored as they are")
        return {e.filename: archive.read(e) for e in entries}


def safe_name(name: str) -> bool:
    """Return whether a file's name stays inside the folder that it is written into, on any system."""
    parts = name.split("/")
    return (
        bool(name)
        and len(name) <= MAX_NAME
        and name.isprintable()
        and not {"", ".", ".."} & set(parts)
        and not set(name) & {"\\", ":"}
    )


def manifest(files: Mapping[str, bytes]) -> bytes:
    """Return the manifest's bytes, as `sha256sum -c` reads them: all files but itself and the signature."""
    listed = {name: data for name, data in files.items() if name not in (MANIFEST, SIGNATURE)}
    return "".join(f"{sha256(data)}  {name}\n" for name, data in sorted(listed.items())).encode()


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()

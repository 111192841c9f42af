"""Records what a program does to files, and gives every state in which a power cut may legally leave them.

Of a file's bytes written since its last sync any sectors of 512 B may be on disk, in a file of the old length, the new
one, or one between; of a folder's changes since its last sync any. What was synced is there.
"""

import io
import itertools
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SECTOR = 512
ROOT = 0

Write = tuple[int, bytes | None]
"""Bytes at a place; None: the file ends there."""
Change = tuple[str | None, str | None, int]
"""A name that goes, a name that comes, and the number of its file or folder."""


class Recorder:
    """What was done below a folder, in order; each file and folder has a number."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[tuple[Any, ...]] = [("folder", ROOT)]
        self._numbers = itertools.count(1)
        self._paths: dict[Path, int] = {root: ROOT}
        self._files: dict[int, int] = {}
        """Numbers of the files that are open, by descriptor."""
        self._ends: dict[int, int] = {}

    def mark(self, *note: Any) -> None:
        """Note something of the caller's, such as an acknowledgement."""
        self.events.append(("mark", note))

    @contextmanager
    def recording(self) -> Iterator["Recorder"]:
        """Record until the block ends; Python's calls alone are seen."""
        with pytest.MonkeyPatch.context() as patch:
            for name in _SEEN:
                patch.setattr(os, name, getattr(self, f"on_{name}")(getattr(os, name)))
            patch.setattr(io, "open", self.on_io_open(io.open))
            yield self

    def below(self, path: Any) -> Path | None:
        """Return the path if it is below the root."""
        known = None if isinstance(path, int) else Path(path)
        return known if known is not None and self.root in (known, *known.parents) else None

    def make(self, path: Path, kind: str) -> int:
        """Note a new file or folder."""
        number = self._paths[path] = next(self._numbers)
        self._ends[number] = 0
        self.events += [(kind, number), ("change", self._paths[path.parent], (None, path.name, number))]
        return number

    def write(self, number: int, data: bytes) -> None:
        """Note bytes at a file's end."""
        self.events.append(("write", number, (self._ends[number], data)))
        self._ends[number] += len(data)

    def cut(self, number: int, length: int) -> None:
        """Note that a file has another length."""
        if self._ends[number] != length:
            self.events.append(("write", number, (length, None)))
            self._ends[number] = length

    def opened(self, path: Path, file: int, *, empty: bool) -> None:
        """Note an open file; what others than Python wrote is looked at now."""
        if path not in self._paths:
            number = self.make(path, "folder" if path.is_dir() else "file")
            if path.is_file() and (data := path.read_bytes()):
                self.write(number, data)
        self._files[file] = self._paths[path]
        if empty:
            self.cut(self._paths[path], 0)

    def on_open(self, call: Callable[..., int]) -> Callable[..., int]:
        def seen(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            file = call(path, flags, *rest, **more)
            if (known := self.below(path)) is not None:
                self.opened(known, file, empty=bool(flags & os.O_TRUNC))
            return file

        return seen

    def on_io_open(self, call: Callable[..., Any]) -> Callable[..., Any]:
        recorder = self

        class File(io.FileIO):
            def write(self, data: Any) -> int:
                count = super().write(data) or 0
                recorder.write(recorder._files[self.fileno()], bytes(data)[:count])
                return count

            def close(self) -> None:
                if not self.closed:
                    recorder._files.pop(self.fileno(), None)
                super().close()

        def seen(path: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
            known = self.below(path)
            if known is None or not set(mode) & set("wax+"):
                return call(path, mode, *rest, **more)
            raw = File(known, mode.replace("b", "").replace("t", ""))
            self.opened(known, raw.fileno(), empty="w" in mode)
            return io.BufferedWriter(raw) if "b" in mode else io.TextIOWrapper(io.BufferedWriter(raw), "utf-8")

        return seen

    def on_writev(self, call: Callable[..., int]) -> Callable[..., int]:
        def seen(file: int, pieces: list[bytes]) -> int:
            count = call(file, pieces)
            if file in self._files:
                self.write(self._files[file], b"".join(pieces)[:count])
            return count

        return seen

    def on_write(self, call: Callable[..., int]) -> Callable[..., int]:
        return lambda file, data: os.writev(file, [bytes(data)])

    def on_ftruncate(self, call: Callable[..., None]) -> Callable[..., None]:
        def seen(file: int, length: int) -> None:
            call(file, length)
            if file in self._files:
                self.cut(self._files[file], length)

        return seen

    def on_posix_fallocate(self, call: Callable[..., None]) -> Callable[..., None]:
        return lambda file, at, length: self.cut(self._files[file], at + 1)  # bytes that nobody reads need no room

    def on_fsync(self, call: Callable[..., None]) -> Callable[..., None]:
        def seen(file: int) -> None:
            call(file)
            if file in self._files:
                self.events.append(("sync", self._files[file]))

        return seen

    on_fdatasync = on_fsync

    def on_close(self, call: Callable[..., None]) -> Callable[..., None]:
        def seen(file: int) -> None:
            self._files.pop(file, None)
            call(file)

        return seen

    def on_rename(self, call: Callable[..., None]) -> Callable[..., None]:
        def seen(old: Any, new: Any) -> None:
            source, target = self.below(old), self.below(new)
            if source is not None and source not in self._paths:  # others wrote it, and nobody synced it
                number = self.make(source, "file")
                self.write(number, source.read_bytes())
            call(old, new)
            if source is None or target is None:
                return
            number = self._paths[target] = self._paths.pop(source)
            here, there = self._paths[source.parent], self._paths[target.parent]
            changes = [(here, (source.name, None, number)), (there, (None, target.name, number))]
            if here == there:
                changes = [(here, (source.name, target.name, number))]
            self.events += [("change", folder, change) for folder, change in changes]

        return seen

    on_replace = on_rename

    def on_unlink(self, call: Callable[..., None]) -> Callable[..., None]:
        def seen(path: Any, **more: Any) -> None:
            call(path, **more)
            known = self.below(path)
            if known in self._paths:
                number = self._paths.pop(known)
                self.events.append(("change", self._paths[known.parent], (known.name, None, number)))

        return seen

    def on_mkdir(self, call: Callable[..., None]) -> Callable[..., None]:
        def seen(path: Any, *rest: Any, **more: Any) -> None:
            call(path, *rest, **more)
            if (known := self.below(path)) is not None:
                self.make(known, "folder")

        return seen

    def on_link(self, call: Callable[..., None]) -> Callable[..., None]:
        def seen(old: Any, new: Any, **more: Any) -> None:
            call(old, new, **more)
            source, target = self.below(old), self.below(new)
            if source in self._paths and target is not None:
                number = self._paths[target] = self._paths[source]
                self.events.append(("change", self._paths[target.parent], (None, target.name, number)))

        return seen


_SEEN = ("open", "writev", "write", "ftruncate", "posix_fallocate", "fsync", "fdatasync", "close", "rename", "replace")
_SEEN += ("unlink", "mkdir", "link")


@dataclass
class Disk:
    """What of files and folders is synced, and what was done to them since, by their numbers."""

    synced: dict[int, bytes] = field(default_factory=dict)
    writes: dict[int, list[Write]] = field(default_factory=dict)
    names: dict[int, dict[str, int]] = field(default_factory=dict)
    changes: dict[int, list[Change]] = field(default_factory=dict)

    def take(self, kind: str, number: int, what: Any = None) -> None:
        """Take one event of a record."""
        if kind == "file":
            self.synced[number], self.writes[number] = b"", []
        elif kind == "folder":
            self.names[number], self.changes[number] = {}, []
        elif kind == "write":
            self.writes[number].append(what)
        elif kind == "change":
            self.changes[number].append(what)
        elif number in self.writes:
            self.synced[number], self.writes[number] = _written(self.synced[number], self.writes[number]), []
        else:
            self.names[number], self.changes[number] = _listed(self.names[number], self.changes[number]), []

    def lay(self, folder: Path, rng: random.Random, how: str) -> None:
        """Write a state that a power cut may leave; how: "nothing", "all", "begun" or "any" of what was not synced."""
        self._lay(folder, ROOT, rng, how)

    def _lay(self, folder: Path, number: int, rng: random.Random, how: str) -> None:
        folder.mkdir()
        names = _listed(self.names[number], _some(self.changes[number], rng, how))
        for name, each in names.items():
            if each in self.names:
                self._lay(folder / name, each, rng, how)
            else:
                (folder / name).write_bytes(_torn(self.synced[each], self.writes[each], rng, how))


def _some(steps: list[Any], rng: random.Random, how: str) -> list[Any]:
    if how in ("nothing", "all"):
        return steps if how == "all" else []
    if how == "begun":
        return steps[: rng.randint(0, len(steps))]
    return [step for step in steps if rng.random() < 0.5]


def _written(old: bytes, writes: list[Write]) -> bytes:
    data = bytearray(old)
    for at, some in writes:
        if some is None:
            data = data[:at] + bytes(max(0, at - len(data)))
        else:
            data[at : at + len(some)] = some
    return bytes(data)


def _listed(old: dict[str, int], changes: list[Change]) -> dict[str, int]:
    names = dict(old)
    for goes, comes, number in changes:
        if goes is not None and names.get(goes) == number:
            del names[goes]
        if comes is not None:
            names[comes] = number
    return names


def _torn(old: bytes, writes: list[Write], rng: random.Random, how: str) -> bytes:
    """Return a file of which some sectors are old and some new, in a length of its own."""
    new = _written(old, writes)
    if not writes or how in ("nothing", "all"):
        return new if how == "all" else old
    length = rng.choice([len(old), len(new), rng.randint(min(len(old), len(new)), max(len(old), len(new)))])
    if how == "begun":  # in order, up to any byte
        return new[:length]
    share = rng.choice([0.0, 0.5, 1.0])  # 0: the length came first, and zeros where bytes should be
    data = bytearray(length)
    for at in range(0, length, SECTOR):
        part = new if rng.random() < share else old
        data[at : at + SECTOR] = part[at : at + SECTOR].ljust(min(SECTOR, length - at), b"\0")[: length - at]
    return bytes(data)


def states(
    recorder: Recorder, folder: Path, seed: int, *, each: int = 3, share: float = 1.0
) -> Iterator[tuple[Path, list[tuple[Any, ...]]]]:
    """Yield torn states of the moments of a record, or of a share of them, and the marks up to there.

    Each is laid into the same folder, which is removed again.
    """
    rng = random.Random(seed)
    disk, marks = Disk(), []
    for kind, *event in recorder.events:
        if kind == "mark":
            marks.append(event[0])
            continue
        disk.take(kind, *event)
        if rng.random() < share:
            for how in ("nothing", "all", *rng.choices(("begun", "any"), k=each)):
                disk.lay(folder, rng, how)
                yield folder, marks
                shutil.rmtree(folder)

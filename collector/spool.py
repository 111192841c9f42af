"""Durable FIFO between sources and sinks: segments of batches, and for each sink what of them it has stored.

A batch is acknowledged when `put` returns: it is in a segment and synced. A segment is unlinked only after every sink
has durably noted that it has its batches. A file that was written by an earlier process, or in which a write or a sync
failed, is never written again. One process and one thread at a time use a spool.

Layout of the folder: spool.json (format, id), segment-<first sequence>.log, cursor-<sink>.json, gap-<sink>.log,
ballast, ledger.jsonl, quarantine/, lock. Format 1 had SQLite segments (.db); they are read to their end.
"""

import contextlib
import errno
import glob
import itertools
import json
import logging
import os
import sqlite3
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from collector import frames, host, ranges, spool_v1
from collector.frames import FORMAT, Hole, Reader, Record, Tokens
from collector.ledger import Ledger
from collector.ranges import Range, Ranges
from collector.segment import Segment

log = logging.getLogger("plantproof.spool")

__all__ = ["FORMAT", "Hole", "Record", "Spool", "SpoolFormat", "SpoolFull"]

SMALLEST_SEGMENT = 256 * 2**10
"""On a small disk segments are not made smaller than this [B]."""
BALLAST = 2**20
"""So much of the disk is held back for ledger, cursors and gaps, should others fill it [B]."""
_FULL = (errno.ENOSPC, errno.EDQUOT)

Gap = Callable[[Iterable[bytes]], tuple[bytes, int, dict[str, Any]]]
"""Makes of payloads that will be lost what stands in their place: a payload, its rows, and facts for the ledger.

It may be given an earlier gap's payload first.
"""


class SpoolFull(Exception):  # noqa: N818
    """The spool's max_size is reached and its policy is to stop; nothing was written."""


class SpoolFormat(Exception):  # noqa: N818
    """The folder was written by a newer version; nothing was touched."""


AnySegment = Segment | spool_v1.OldSegment


def check_format(folder: Path, written: int) -> None:
    """Raise SpoolFormat where a newer version wrote a spool: what this one does not know is not damaged."""
    if written > FORMAT:
        raise SpoolFormat(
            f"{folder}: spool format {written} is newer than {FORMAT}, which this version reads; "
            "use the version that wrote it, or another folder"
        )


class Spool:
    """The open spool; use it from one thread at a time, and `close` it."""

    def __init__(
        self,
        path: Path,
        *,
        segment_size: int = 64 * 2**20,
        max_size: int = 2 * 2**30,
        when_full: str = "drop_oldest",
        tail: int = 0,
        gap: Gap | None = None,
    ) -> None:
        """Open or make the folder; sizes in [B]. The last `tail` batches stay when every sink has them.

        gap: makes what a sink gets in place of batches that were dropped before it had them; None: nothing.

        Raises host.Locked where another agent uses it, SpoolFormat where a newer version wrote it, and OSError.
        """
        host.make_folder(path)
        self.path, self.max_size, self.when_full = path, max_size, when_full
        self.written = 0
        """So much was committed since the spool was opened [B]."""
        self.segment_size = min(segment_size, max(max_size // 4, 1))  # so that room can be made by whole segments
        self._tail, self._gap = tail, gap
        self._disk_full = False
        self._limit = self.segment_size
        self.held: dict[str, Range] = {}
        """What a sink has taken and is storing; no gap is left in its place, should it be dropped meanwhile."""
        self._lock = host.lock_folder(path)
        try:
            self.ledger = Ledger(path / "ledger.jsonl")
            self._unreadable: list[int] = []
            self.id = self._identify()
            self._key = uuid.UUID(hex=self.id).bytes
            self.segments: list[AnySegment] = self._scan()
            self.stored: dict[str, Ranges] = {
                file.stem.removeprefix("cursor-"): known
                for file in path.glob("cursor-*.json")
                if (known := self._read_cursor(file)) is not None
            }
            self.gaps = {
                file.stem.removeprefix("gap-"): left
                for file in path.glob(f"gap-*{frames.SUFFIX}")
                if (left := self._read_gap(file)) is not None
            }
            ends = [known[-1][1] for known in self.stored.values()] + [left.seq for left in self.gaps.values()]
            self.last = max([s.last for s in self.segments] + ends + self._unreadable + [0])
            self._hold_ballast()
        except BaseException:
            host.unlock(self._lock)
            raise

    def _identify(self) -> str:
        file = self.path / "spool.json"
        about: dict[str, Any] = {}
        if file.exists():
            try:
                about = checked(file.read_bytes())
                about = {"format": int(about["format"]), "id": str(about["id"])}
                if about["format"] <= FORMAT:
                    uuid.UUID(hex=about["id"])
            except (ValueError, KeyError, TypeError) as error:
                about = {}
                self._put_aside(file, f"unreadable: {error}")
        check_format(self.path, about.get("format", 0))
        if about.get("format") != FORMAT:
            known = (frames.spool_of(each) for each in sorted(self.path.glob(f"segment-*{frames.SUFFIX}")))
            again = next((uuid.UUID(bytes=each).hex for each in known if each), uuid.uuid4().hex)
            about = {"format": FORMAT, "id": about.get("id", again)}
            host.replace_durably(file, _with_crc(about))
        return str(about["id"])

    def _scan(self) -> list[AnySegment]:
        """Return the segments; only the last one is read, to find where its whole batches end."""
        old = [found for file in self.path.glob(f"segment-*{spool_v1.SUFFIX}") if (found := self._old(file))]
        new = []
        for file in self.path.glob(f"segment-*{frames.SUFFIX}"):
            first = int(file.stem.removeprefix("segment-"))
            new.append(Segment(file, self._key, first, first - 1, file.stat().st_size))
        segments: list[AnySegment] = sorted([*old, *new], key=lambda s: (s.first, isinstance(s, Segment)))
        for one, following in itertools.pairwise(segments):
            one.last = following.first - 1
        if segments and isinstance(segments[-1], Segment) and self._look_at_end(segments[-1]):
            segments.pop().remove()
        return segments

    def _old(self, file: Path) -> spool_v1.OldSegment | None:
        try:
            return spool_v1.OldSegment(file)
        except sqlite3.OperationalError:
            raise  # the disk is full or fails: the file may be whole
        except (sqlite3.Error, TypeError) as error:
            self._put_aside(file, f"unreadable segment: {error}")
            self._unreadable.append(int(file.stem.removeprefix("segment-")))  # a batch at least is a hole
            return None

    def _look_at_end(self, one: Segment) -> bool:
        """Find where the newest segment ends; returns whether it holds nothing that was acknowledged."""
        torn = one.find_end()
        if torn:
            facts = {"segment": one.path.name, "bytes": len(torn), "last": one.last}
            self._keep(f"{one.path.name}.end", torn, facts)
            self.ledger.add("torn end", "a write was cut off, and not acknowledged, or the file is damaged", **facts)
        return one.last < one.first

    def _read_cursor(self, file: Path) -> Ranges | None:
        try:
            return ranges_of(file.read_bytes())
        except (ValueError, KeyError, TypeError) as error:
            self._put_aside(file, f"unreadable cursor, the sink begins with the oldest batch: {error}")
            return None

    def _read_gap(self, file: Path) -> Record | None:
        reader = Reader(file, self._key)
        try:
            found = next(reader.frames(0, below=2**63), None)
            return reader.record(found) if found is not None else None
        finally:
            reader.close()

    # --- what is damaged ---

    def _quarantine(self) -> Path:
        folder = self.path / "quarantine"
        folder.mkdir(exist_ok=True)
        return folder

    def _put_aside(self, file: Path, reason: str) -> None:
        """Move a file that is of no use, with its companions, into the quarantine."""
        facts = {"file": file.name}
        try:
            for part in self.path.glob(f"{glob.escape(file.name)}*"):
                part.replace(self._quarantine() / f"{part.name}.{uuid.uuid4().hex[:8]}")
        except OSError as error:
            facts["not_kept"] = str(error)
        self.ledger.add("quarantined", reason, **facts)

    def _keep(self, name: str, content: bytes, facts: dict[str, Any]) -> None:
        try:
            (self._quarantine() / name).write_bytes(content)
        except OSError as error:  # the report of a loss must not stop what is whole
            facts["not_kept"] = str(error)

    def _note(self, one: AnySegment, hole: Hole) -> None:
        """Tell the ledger of batches that are lost, once, and keep their segment for whoever can read it."""
        if self._told("quarantined", hole.first, hole.last):
            return
        facts = {"segment": one.path.name, "first": hole.first, "last": hole.last}
        try:
            (self._quarantine() / one.path.name).hardlink_to(one.path)
        except FileExistsError:
            pass
        except OSError as error:
            facts["not_kept"] = str(error)
        self.ledger.add("quarantined", hole.reason, **facts)

    def _told(self, event: str, first: int, last: int) -> bool:
        """Return whether the ledger has an entry of these batches."""
        return any(
            e["event"] == event and e.get("first", last) <= first and last <= e.get("last", first - 1)
            for e in self.ledger.read()
        )

    # --- writing ---

    @property
    def before(self) -> int:
        """The last batch before the oldest that is here."""
        return self.segments[0].first - 1 if self.segments else self.last

    @property
    def size(self) -> int:
        """Bytes of all segments [B]."""
        return sum(s.size for s in self.segments)

    @property
    def quarantined(self) -> int:
        """Bytes of what was put aside in the folder `quarantine` [B]."""
        folder = self.path / "quarantine"
        return sum(file.stat().st_size for file in folder.iterdir()) if folder.exists() else 0

    def put(self, payload: bytes, rows: int, tokens: Tokens | None = None) -> int:
        """Commit one batch durably, with the names of the messages of each source that it came from.

        Returns its sequence number. Raises SpoolFull (nothing written) or OSError (not acknowledged; may be put again).
        """
        record = Record(self.last + 1, rows, payload)
        names = frames.packed(tokens or {})
        self._make_room(frames.FILE_HEAD + frames.HEAD + len(names) + len(payload))  # of a new segment, it may be
        while True:
            try:
                one = self._writable()
                frame = frames.frame(self._key, record, names, first=one.first, at=one.size)
                one.append(frame)
                break
            except OSError as error:
                # Nobody knows whether it landed. The file is never written again, and the next one begins with this
                # sequence number, which then counts instead.
                self._seal()
                if error.errno not in _FULL:
                    raise
                if self.when_full == "stop":
                    if not self._disk_full:
                        self._tell_full(error)
                        self._take_back()
                    raise
                self._tell_full(error)
                if not self._drop_oldest("disk full, oldest dropped"):
                    raise
        self.last = self.segments[-1].last = record.seq
        self.written += sum(map(len, frame))
        self._hold_ballast()
        return record.seq

    def _writable(self) -> Segment:
        newest = self.segments[-1] if self.segments else None
        if not isinstance(newest, Segment) or newest.file is None or newest.size >= self._limit:
            self._seal()
            newest = self._new()
            self.segments.append(newest)
        return newest

    def _new(self) -> Segment:
        """Make a segment; on a small disk a small one, so that room can be made by dropping one."""
        first = self.last + 1
        path = self.path / f"segment-{first:016d}{frames.SUFFIX}"
        self._limit = min(self.segment_size, max(host.free_space(self.path) // 8, SMALLEST_SEGMENT))
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o640)
        made = Segment(path, self._key, first, first - 1, 0, file)
        try:
            made.append([frames.file_head(self._key, first)])
            host.sync_folder(self.path)
        except OSError:
            made.remove()
            raise
        return made

    def _seal(self) -> None:
        """Write no more into the newest segment, and forget it where nothing acknowledged lies in it."""
        if not self.segments or not isinstance(self.segments[-1], Segment):
            return
        newest = self.segments[-1]
        newest.seal()
        if newest.last < newest.first:
            # The next one bears the same name.
            newest.remove()
            self.segments.pop()

    # --- room ---

    def _make_room(self, need: int) -> None:
        """Keep below max_size; raises SpoolFull where the policy is to stop."""
        while self.segments and self.size + need > self.max_size:
            if not self._drop_passed():
                if self.when_full == "stop":
                    raise SpoolFull(
                        f"{self.path} holds {self.size} B of {self.max_size} B allowed; its policy is to stop"
                    )
                self._drop_oldest("spool full, oldest dropped")

    def _drop_passed(self) -> bool:
        """Remove the oldest segment if every sink has it: the tail is kept only while there is room."""
        done = min(map(ranges.cursor, self.stored.values()), default=0)
        if not self.segments or self.segments[0].last > done:
            return False
        self.segments.pop(0).remove()
        return True

    def _drop_oldest(self, reason: str) -> bool:
        """Remove the oldest segment, whoever lacks it, and leave gaps in its place; False: there is none."""
        if not self.segments:
            return False
        if self._drop_passed():
            return True
        oldest = self.segments[0]
        facts: dict[str, Any] = {"first": oldest.first, "last": oldest.last, "rows": 0, "sinks": []}
        left = [sink for sink in self.stored if self._leave_gap(sink, oldest, facts)]
        # On a disk that others filled to the last byte there is room for gaps only afterwards. Where a power cut comes
        # before that, the batches are missing, which is a gap as well.
        unwritten = [sink for sink in left if not self._gap_written(sink)]
        self.ledger.add("dropped", reason, **facts)
        if facts["rows"]:
            told = f"{facts['rows']} rows of batches {oldest.first} to {oldest.last} not stored by"
            log.error("%s: %s %s; mend the store, or raise max_size", reason, told, ", ".join(facts["sinks"]))
        self.segments.pop(0).remove()
        for sink in unwritten:
            self._gap_written(sink)
        return True

    def _leave_gap(self, sink: str, oldest: AnySegment, facts: dict[str, Any]) -> bool:
        """Let a sink that lacks batches of a segment find a gap in their place; returns whether there is a new one."""
        stored, held = self.stored[sink], self.held.get(sink, (0, -1))
        if ranges.union([*stored, (oldest.first, oldest.last)]) == stored:
            return False
        facts["sinks"].append(sink)
        known = ranges.union([*stored, held])
        lacking = [(max(a, oldest.first), b) for a, b in ranges.missing(known, oldest.last) if b >= oldest.first]
        if not lacking:
            return False
        rows: list[int] = []
        lost = self._payloads(oldest, lacking, rows)
        if self._gap is None:
            deque(lost, maxlen=0)
        else:
            earlier = self.gaps.get(sink)
            if earlier is not None and earlier.seq > ranges.cursor(known):  # else it is being stored
                lost = itertools.chain([earlier.payload], lost)
            payload, count, about = self._gap(lost)
            self.gaps[sink] = Record(oldest.last, count, payload)
            facts.update(about)
        facts["rows"] = max(facts["rows"], sum(rows))
        return self._gap is not None

    def _payloads(self, one: AnySegment, lacking: list[Range], rows: list[int]) -> Iterator[bytes]:
        """Yield the batches of a segment in these ranges, and note how many rows each has."""
        for first, last in lacking:
            for record in self._of(one, first - 1, last + 1):
                if isinstance(record, Record):
                    rows.append(record.rows)
                    yield record.payload

    def _gap_written(self, sink: str) -> bool:
        try:
            self._durably(f"gap-{sink}{frames.SUFFIX}", b"".join(frames.frame(self._key, self.gaps[sink], b"")))
        except OSError as error:
            if error.errno not in _FULL:
                raise
            return False
        return True

    def _tell_full(self, error: OSError) -> None:
        """Give the ballast back to the disk, and tell the ledger, once until there is room again."""
        (self.path / "ballast").unlink(missing_ok=True)
        if not self._disk_full:
            self._disk_full = True
            self.ledger.add("disk full", str(error), policy=self.when_full)

    def _take_back(self) -> None:
        """Hold back what is left on a full disk, lest batches take the room that cursors need to make more of it."""
        with contextlib.suppress(OSError):
            host.reserve(self.path / "ballast", min(BALLAST, host.free_space(self.path)))

    def _hold_ballast(self) -> None:
        """Take the ballast, or take it again once there is room for two segments."""
        if self._disk_full:
            if host.free_space(self.path) < 2 * self._limit:
                return
            self._disk_full = False
            self.ledger.add("disk has room", "batches are written as before", last=self.last)
        if not (self.path / "ballast").exists():
            with contextlib.suppress(OSError):
                host.reserve(self.path / "ballast", min(BALLAST, host.free_space(self.path) // 16))

    def _durably(self, name: str, content: bytes) -> None:
        try:
            host.replace_durably(self.path / name, content)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self._tell_full(error)
            host.replace_durably(self.path / name, content)
            if self.when_full == "stop":
                self._take_back()

    # --- reading ---

    def _of(self, one: AnySegment, after: int, below: int) -> Iterator[Record | Hole]:
        """Yield what a segment holds; holes are noted."""
        for found in one.read(after, below):
            if isinstance(found, Hole):
                self._note(one, found)
            yield found

    def read(self, after: int, max_bytes: int = 8 * 2**20, *, until: int | None = None) -> Iterator[Record | Hole]:
        """Yield committed batches with a sequence above `after`, oldest first, up to about `max_bytes`, or `until`.

        Where batches cannot be read any more a hole stands in their place, and in the ledger. Raises OSError where
        the disk fails.
        """
        last = self.last if until is None else min(until, self.last)
        taken, expected = 0, after + 1
        for one in list(self.segments):
            if one.last < expected:
                continue
            if expected < one.first:
                yield self._lost(expected, min(one.first - 1, last))
                expected = one.first
            if expected > last:
                return
            for found in self._of(one, expected - 1, min(one.last, last) + 1):
                yield found
                taken += len(found.payload) if isinstance(found, Record) else 0
                if taken >= max_bytes:
                    return
            expected = one.last + 1
        if expected <= last:
            yield self._lost(expected, last)

    def _lost(self, first: int, last: int) -> Hole:
        """Return the hole of batches whose segment is not there, noted once."""
        reason = "their segment is missing"
        if not self._told("missing", first, last):
            self.ledger.add("missing", reason, first=first, last=last)
        return Hole(first, last, reason)

    def tokens(self, after: int) -> dict[str, list[int]]:
        """Return the names of the messages in batches above `after`, of each source, oldest first.

        What cannot be read of a segment is left out, and stands in the ledger.
        """
        found: dict[str, list[int]] = {}
        for one in self.segments:
            if one.last > after:
                try:
                    for source, names in one.tokens(after):
                        found.setdefault(source, []).extend(names)
                except (sqlite3.Error, OSError, ValueError) as error:  # ValueError: bytes that are no whole names
                    self.ledger.add("tail not read", f"names of messages: {error}", segment=one.path.name)
        return found

    # --- sinks ---

    def done(self, sink: str) -> Ranges:
        """Return which batches the sink has stored; a new sink starts before the oldest batch."""
        if sink not in self.stored:
            self.stored[sink] = ((0, self.before),)
        return self.stored[sink]

    def cursor(self, sink: str) -> int:
        """Return the sequence up to which the sink has stored all batches."""
        return ranges.cursor(self.done(sink))

    def gap(self, sink: str) -> Record | None:
        """Return what the sink is to store in place of dropped batches, up to the one that it bears the number of."""
        gap = self.gaps.get(sink)
        return gap if gap is not None and gap.seq > self.cursor(sink) else None

    def forget_all_but(self, sinks: Collection[str]) -> None:
        """Let no sink that is not configured any more hold segments back; its files stay."""
        self.stored = {sink: known for sink, known in self.stored.items() if sink in sinks}

    def advance(self, sink: str, *stored: Range) -> None:
        """Note durably that the sink has stored these ranges too, then unlink what no sink needs."""
        known = ranges.union([*self.done(sink), *stored])
        about = {"seq": ranges.cursor(known), "beyond": known[1:]}
        self._durably(f"cursor-{sink}.json", _with_crc(about))
        self.stored[sink] = known
        if sink in self.held and ranges.union([*known, self.held[sink]]) == known:
            del self.held[sink]
        if known[-1][1] > self.last:  # the store has batches of this spool that are lost here
            self._seal()
            self.last = known[-1][1]
        if sink in self.gaps and self.gaps[sink].seq <= ranges.cursor(known):
            del self.gaps[sink]
            (self.path / f"gap-{sink}{frames.SUFFIX}").unlink(missing_ok=True)
        done = min(*map(ranges.cursor, self.stored.values()), self.last - self._tail)
        while len(self.segments) > 1 and self.segments[0].last <= done:
            self.segments.pop(0).remove()

    def close(self) -> None:
        """Close every segment and let go of the folder; a second call does nothing."""
        for one in self.segments:
            if isinstance(one, Segment):
                one.seal()
        if self._lock >= 0:
            host.unlock(self._lock)
            self._lock = -1


def _with_crc(about: dict[str, Any]) -> bytes:
    """Return facts as JSON in which a flipped bit is noticed."""
    return json.dumps(about | {"crc": _crc(about)}).encode()


def checked(content: bytes) -> dict[str, Any]:
    """Return such facts; raises ValueError where they are damaged. Those of format 1 bear no CRC."""
    about = json.loads(content)
    if not isinstance(about, dict):
        raise ValueError("it holds no table")  # noqa: TRY004  any fault of the content is told the same way
    crc = about.pop("crc", None)
    if crc is not None and crc != _crc(about):
        raise ValueError("its CRC does not match")
    return about


def ranges_of(content: bytes) -> Ranges:
    """Return the batches that a cursor's file says are stored; raises ValueError, KeyError, TypeError."""
    about = checked(content)
    return ranges.union([(0, int(about["seq"])), *((int(a), int(b)) for a, b in about.get("beyond", ()))])


def _crc(about: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(about, sort_keys=True).encode())

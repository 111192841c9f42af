"""The names of the lake's files, and which of them count.

`samples/date=2026-11-21/<agent>-<spool>-<first>-<last>-<k>of<n>.parquet`: the batches `first` to `last` of a spool, as
far as their rows belong to that UTC day; k of the n files (days) that they were cut into. A file whose range lies
within that of another file of the same writer and day is superseded: its rows are in the other one, and it does not
count.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TEXTS = "plantproof.texts"
"""Key in a file's footer: how many of its rows have a text."""
RUNS = "plantproof.runs"
"""Key in a file's footer: which points lie side by side in each row group, and how many rows of each."""

_NAME = re.compile(
    r"(?P<writer>.+-[0-9a-f]{8})-(?P<first>\d+)-(?P<last>\d+)-(?P<k>\d+)of(?P<n>\d+)\.parquet", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class LakeFile:
    """One file of the lake, by its name."""

    path: Path
    writer: str
    """Agent and spool."""
    first: int
    last: int
    n: int
    """So many files the range was cut into."""

    @property
    def range(self) -> tuple[int, int]:
        """The first and last batch."""
        return self.first, self.last


def runs_said(groups: Sequence[Mapping[str, int]]) -> str:
    """Return what stands under RUNS: the points in their order, and their rows in each row group (0 where none)."""
    points = sorted({point for group in groups for point in group})
    rows = [",".join(str(group.get(point, 0)) for point in points) for group in groups]
    return json.dumps({"points": points, "rows": rows}, ensure_ascii=False)


def runs_read(said: str) -> tuple[list[str], list[list[int]]]:
    """Return the points and their rows in each row group.

    Raises ValueError or KeyError where it is not what `runs_said` says.
    """
    found = json.loads(said)
    return found["points"], [[int(rows) for rows in group.split(",")] for group in found["rows"]]


def file_name(writer: str, first: int, last: int, k: int, n: int) -> str:
    """Return the name of the file k of n of a writer's batches `first` to `last`."""
    return f"{writer}-{first:012d}-{last:012d}-{k}of{n}.parquet"


def parse(path: Path) -> LakeFile | None:
    """Return what the name says; None for files that are not the lake's."""
    match = None if path.name.startswith(".") else _NAME.fullmatch(path.name)
    if match is None:
        return None
    return LakeFile(path, match["writer"], int(match["first"]), int(match["last"]), int(match["n"]))


def superseded(files: Iterable[LakeFile]) -> set[Path]:
    """Return the files of one day whose rows are in another of them."""
    writers: dict[str, list[LakeFile]] = defaultdict(list)
    for file in files:
        writers[file.writer].append(file)
    found = set()
    for of_one in writers.values():
        end = -1
        for file in sorted(of_one, key=lambda f: (f.first, -f.last, f.n)):
            if file.last <= end:
                found.add(file.path)
            end = max(end, file.last)
    return found

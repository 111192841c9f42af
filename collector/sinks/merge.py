"""Small files of the lake become large ones, row group by row group, in bounded memory.

What is polled together shares its times and takes little where it stands together, so a merged file holds what came
one after the other: each row group is a while of all points, sorted by point, ts and ts_recv.
"""

import itertools
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from collector import host
from collector.sinks.parquet_file import GROUPS, Effort, Writer
from config.lakefiles import LakeFile, file_name
from config.schema import SAMPLE

GROUP_ROWS = 2**16
"""So many rows a row group has at most."""
GROUP_TEXTS = 2**21
"""So much of texts a row group has at most, unless a single file had more at once [B]."""
STEP_S = 1.0
"""A piece of work takes about so long [s]."""


def row_groups(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Cut a frame sorted by point into row groups, each where a point ends if one does in its second half."""
    while frame.height > GROUP_ROWS:
        cut = _cut(frame["point"].head(GROUP_ROWS + 1))
        yield frame.head(cut)
        frame = frame.tail(-cut)
    if frame.height:
        yield frame


def _cut(points: pl.Series) -> int:
    borders = (points != points.shift(1)).arg_true()
    last = borders[-1] if len(borders) else 0
    return int(last) if last > GROUP_ROWS // 2 else GROUP_ROWS


def in_turn(paths: Iterable[Path]) -> Iterator[pl.DataFrame]:
    """Yield the rows of files one after the other, gathered to row groups that are sorted each for itself."""
    waiting: list[pl.DataFrame] = []
    rows = size = 0
    for block in itertools.chain.from_iterable(map(_blocks, paths)):
        length = int(block["text"].str.len_bytes().sum())
        rows, size = rows + block.height, size + length
        if waiting and (rows > GROUP_ROWS or size > GROUP_TEXTS):
            yield _sorted(waiting)
            waiting, rows, size = [], block.height, length
        waiting.append(block)
    if waiting:
        yield _sorted(waiting)


def _blocks(path: Path) -> Iterator[pl.DataFrame]:
    """Yield the rows of a file, a row group at a time; other files than ours GROUP_ROWS at a time."""
    scan = pl.scan_parquet(path, hive_partitioning=False, glob=False).select(list(SAMPLE))
    groups = pl.read_parquet_metadata(path).get(GROUPS, "")
    heights = [int(rows) for rows in groups.split(",") if rows] or [GROUP_ROWS] * -(-height([path]) // GROUP_ROWS)
    for at, rows in zip(itertools.accumulate(heights, initial=0), heights, strict=False):
        yield scan.slice(at, rows).collect()


def _sorted(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames, rechunk=True).sort("point", "ts", "ts_recv")


def height(paths: Sequence[Path]) -> int:
    """Return how many rows files have."""
    found: int = pl.scan_parquet(list(paths), hive_partitioning=False, glob=False).select(pl.len()).collect().item()
    return found


class Merge:
    """One merged file in the making: call `step` until it returns False."""

    def __init__(self, files: Sequence[LakeFile], about: Mapping[str, str], *, settled: bool = False) -> None:
        """Take files of one writer and day, all there are between the first and the last of them.

        settled: the file is that of a day that is over; other ones are merged again, and so compressed quickly.
        """
        first, last = files[0].first, files[-1].last
        self.files = files
        self._effort = Effort.SETTLED if settled else Effort.MERGED
        self._about = {**about, "plantproof.sequences": f"{first}-{last}"}
        self._target = files[0].path.with_name(file_name(files[0].writer, first, last, 1, 1))
        self._work = self._steps()

    def step(self) -> bool:
        """Work for about a second; returns whether more is to be done.

        Raises OSError, and polars.exceptions.PolarsError where a file cannot be read; nothing is lost then.
        """
        began = time.monotonic()
        return any(time.monotonic() - began >= STEP_S for _ in self._work)

    def close(self) -> None:
        """Give up what is not finished."""
        self._work.close()

    def _steps(self) -> Generator[None]:
        temporary = self._target.with_name(f".{self._target.name}.tmp")
        try:
            with temporary.open("wb") as file:
                writer = Writer(file, self._about, effort=self._effort, ordered=True)
                for group in in_turn([one.path for one in self.files]):
                    writer.append(group)
                    yield
                writer.finish()
            host.sync_file(temporary)
            temporary.replace(self._target)
        except (GeneratorExit, OSError, pl.exceptions.PolarsError):
            temporary.unlink(missing_ok=True)
            raise
        host.sync_folder(self._target.parent)
        # From here on readers pass over what was merged.
        for one in self.files:
            one.path.unlink(missing_ok=True)
        host.sync_folder(self._target.parent)

"""Several sorted files of the lake become one, row group by row group, in bounded memory."""

import datetime as dt
import itertools
import math
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from collector import host
from collector.sinks.parquet_file import Writer
from collector.sinks.retention import DAY_NS
from config.lakefiles import LakeFile, file_name
from config.schema import SAMPLE, UTC_NS

GROUP_ROWS = 2**18
"""So many rows a row group has at most; where a point ends in its second half, it ends there."""
READ_ROWS = 2**18
"""So many rows of all files together are in memory before they are merged."""
STEP_S = 1.0
"""A piece of work takes about so long [s]."""

Key = tuple[str, int, int]
"""What rows are sorted by: point, ts, ts_recv [ns]."""


def row_groups(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Cut sorted frames that follow each other into row groups, at borders of points where that is sensible."""
    waiting = pl.DataFrame(schema=dict(SAMPLE))
    for frame in frames:
        waiting = waiting.vstack(frame)
        while waiting.height > GROUP_ROWS:
            cut = _cut(waiting["point"].head(GROUP_ROWS + 1))
            yield waiting.head(cut).rechunk()
            waiting = waiting.tail(-cut)
    if waiting.height:
        yield waiting.rechunk()


def _cut(points: pl.Series) -> int:
    borders = (points != points.shift(1)).arg_true()
    last = borders[-1] if len(borders) else 0
    return int(last) if last > GROUP_ROWS // 2 else GROUP_ROWS


def spans(date: dt.date, rows: int) -> list[tuple[int | None, int | None]]:
    """Return the spans of a day [ns since 1970, UTC; None is open] that are sorted each for itself.

    What was polled together shares its times, and takes less where it stands together: a day of many row groups is as
    many spans as each of them has row groups. A day of more rows has spans that lie in those of fewer.
    """
    count = 2 ** max(round(math.log2(max(rows, 1) / GROUP_ROWS) / 2), 0)
    start = (date - dt.date(1970, 1, 1)).days * DAY_NS
    borders = [None, *(start + n * DAY_NS // count for n in range(1, count)), None]
    return list(itertools.pairwise(borders))


class _Stream:
    """The rows of one file in one span, a block at a time."""

    def __init__(self, path: Path, rows: int, span: tuple[int | None, int | None]) -> None:
        first, end = (pl.lit(at, pl.Int64).cast(UTC_NS) for at in span)
        inside = [pl.col("ts") >= first] * (span[0] is not None) + [pl.col("ts") < end] * (span[1] is not None)
        scan = pl.scan_parquet(path, hive_partitioning=False, glob=False).select(list(SAMPLE))
        self._scan = scan.filter(*inside) if inside else scan
        self._rows, self._at = rows, 0
        self._height: int = self._scan.select(pl.len()).collect().item()
        self.block = pl.DataFrame(schema=dict(SAMPLE))

    @property
    def ended(self) -> bool:
        """Whether all rows that there are were read."""
        return self._at >= self._height

    def fill(self) -> None:
        """Read the next block where this one is used up."""
        if not self.block.height and not self.ended:
            self.block = self._scan.slice(self._at, self._rows).collect()
            self._at += self.block.height

    def last(self) -> Key:
        """Return the key of the block's last row."""
        point, ts, recv = self.block.select("point", pl.col("ts", "ts_recv").to_physical()).row(-1)
        return point, ts, recv

    def take(self, bound: Key | None) -> pl.DataFrame:
        """Return the block's rows up to a key, all of them for None, and keep the rest."""
        count = self.block.height if bound is None else int(self.block.select(_up_to(bound).sum()).item())
        taken, self.block = self.block.head(count), self.block.tail(self.block.height - count)
        return taken


def _up_to(bound: Key) -> pl.Expr:
    point, ts, recv = bound
    at, received = pl.col("ts").to_physical(), pl.col("ts_recv").to_physical()
    same = (pl.col("point") == point) & ((at < ts) | ((at == ts) & (received <= recv)))
    return (pl.col("point") < point) | same


def in_order(paths: Sequence[Path], span: tuple[int | None, int | None] = (None, None)) -> Iterator[pl.DataFrame]:
    """Yield the rows of sorted files that lie in a span, in the order of point, ts and ts_recv."""
    streams = [_Stream(path, max(READ_ROWS // len(paths), 1), span) for path in paths]
    while streams:
        for stream in streams:
            stream.fill()
        # What a file still holds comes after the last row that was read of it.
        bound = min((stream.last() for stream in streams if not stream.ended), default=None)
        yield pl.concat([stream.take(bound) for stream in streams]).sort("point", "ts", "ts_recv")
        streams = [stream for stream in streams if stream.block.height or not stream.ended]


def height(paths: Sequence[Path]) -> int:
    """Return how many rows files have."""
    found: int = pl.scan_parquet(list(paths), hive_partitioning=False, glob=False).select(pl.len()).collect().item()
    return found


class Merge:
    """One merged file in the making: call `step` until it returns False."""

    def __init__(self, files: Sequence[LakeFile], date: dt.date, about: Mapping[str, str]) -> None:
        """Take files of one writer and day, all there are between the first and the last of them."""
        first, last = files[0].first, files[-1].last
        self.files, self._date = files, date
        self._about = {**about, "plantproof.sequences": f"{first}-{last}"}
        self._target = files[0].path.with_name(file_name(files[0].writer, first, last, 1, 1))
        self._work = self._steps()

    def step(self) -> bool:
        """Work for about a second; returns whether more is to be done.

        Raises OSError, and polars.exceptions.PolarsError where a file cannot be read; nothing is lost then.
        """
        began = time.monotonic()
        for _ in self._work:
            if time.monotonic() - began >= STEP_S:
                return True
        return False

    def close(self) -> None:
        """Give up what is not finished."""
        self._work.close()

    def _steps(self) -> Generator[None]:
        temporary = self._target.with_name(f".{self._target.name}.tmp")
        try:
            with temporary.open("wb") as file:
                writer = Writer(file, self._about, thorough=True, ordered=True)
                for group in self._groups():
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

    def _groups(self) -> Iterator[pl.DataFrame]:
        paths = [one.path for one in self.files]
        for span in spans(self._date, height(paths)):
            yield from row_groups(in_order(paths, span))

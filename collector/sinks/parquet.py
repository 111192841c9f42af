"""The Parquet lake: whole files per UTC day, exactly once by sequence range.

`samples/date=2026-11-21/<agent>-<spool>-<first>-<last>-<k>of<n>.parquet`: the name says which batches of which spool
the file holds, and how many files (days) those batches were cut into. A range is in the lake when all its n files
are; after a crash `start` removes the files of a range that is not whole, and the spool delivers it again. Lakes of
several agents merge by copying files together.
"""

import re
from collections import defaultdict
from pathlib import Path

import polars as pl

from collector import host
from config.plant import Plant
from config.plant import Sink as SinkConfig
from config.schema import SAMPLE, require

_NAME = re.compile(r"(?P<agent>.+)-(?P<spool>[0-9a-f]{8})-(?P<first>\d+)-(?P<last>\d+)-(?P<k>\d+)of(?P<n>\d+)\.parquet")


class Sink:
    """Writes SAMPLE frames into the lake's `samples/` folder."""

    def __init__(self, config: SinkConfig, plant: Plant, *, agent: str, spool: str) -> None:
        self.folder = plant.resolve(config.path) / "samples"
        self.writer = f"{agent}-{spool[:8]}"

    def start(self, cursor: int) -> int:
        """Remove what a crash left half written; return the last sequence of the last whole range."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for torn in self.folder.glob(f"*/.{self.writer}-*.tmp"):
            torn.unlink()
        ranges: dict[tuple[int, int], list[Path]] = defaultdict(list)
        for file in self.folder.glob(f"*/{self.writer}-*.parquet"):
            match = _NAME.fullmatch(file.name)
            if match is not None and int(match["last"]) > cursor:
                ranges[int(match["first"]), int(match["last"])].append(file)
        for (_, last), files in sorted(ranges.items()):
            match = _NAME.fullmatch(files[0].name)
            if match is not None and len(files) == int(match["n"]):
                cursor = max(cursor, last)
            else:
                for file in files:
                    file.unlink()
                    host.sync_folder(file.parent)
        return cursor

    def write(self, frame: pl.DataFrame, first: int, last: int) -> None:
        """Write one file per UTC day of `frame`, sorted by point and time; durable when it returns."""
        ordered = require(frame, SAMPLE, "samples").sort("point", "ts", "ts_recv")
        days = ordered.with_columns(date=pl.col("ts").dt.date()).partition_by("date", as_dict=True, include_key=False)
        renames = []
        for k, ((date,), part) in enumerate(sorted(days.items()), 1):
            folder = self.folder / f"date={date}"
            if not folder.exists():
                folder.mkdir(parents=True)
                host.sync_folder(self.folder)
            name = f"{self.writer}-{first:012d}-{last:012d}-{k}of{len(days)}.parquet"
            temporary = folder / f".{name}.tmp"
            part.write_parquet(temporary, compression="zstd")
            host.sync_file(temporary)
            renames.append((temporary, folder / name))
        for temporary, final in renames:
            temporary.replace(final)
        for folder in {final.parent for _, final in renames}:
            host.sync_folder(folder)

    def points(self) -> pl.Series:
        """Return the ids of the points of which this writer has put rows into the lake."""
        files = sorted(self.folder.glob(f"*/{self.writer}-*.parquet"))
        if not files:
            return pl.Series([], dtype=pl.String)
        return pl.scan_parquet(files, hive_partitioning=False).select(pl.col("point").unique()).collect()["point"]

    def close(self) -> None:
        """Nothing stays open between writes."""

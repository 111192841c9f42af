"""Samples from a file into the lake, past the spool: the file itself is the durable copy."""

import hashlib
from pathlib import Path

import polars as pl

from collector.ledger import Ledger
from collector.quarantine import Quarantine
from collector.sinks.parquet import Sink
from config.plant import Plant
from config.samples import read_samples


def import_file(plant: Plant, file: Path) -> tuple[int, tuple[str, ...]]:
    """Write a file's samples into the plant's parquet lake; returns the rows written now, and what was left out.

    The file's hash stands in the lake's file names in place of a spool, so the same file lies there once however
    often it is imported. The spool's ledger says what was imported; an agent may run meanwhile. Raises
    SampleFileError where it cannot be read, LookupError without a parquet sink.
    """
    config = next((s for s in plant.sinks if s.kind == "parquet"), None)
    if config is None:
        raise LookupError("the plant has no parquet sink to import into; add one to plant.toml")
    read = read_samples(file)
    known = pl.col("point").is_in([p.point for p in plant.points])
    strange = read.samples.filter(~known).group_by("point").len().sort("point")
    faults = [f"{rows} rows of point {point!r}, which points.csv does not name" for point, rows in strange.iter_rows()]
    samples = read.samples.filter(known)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    spool = plant.resolve(plant.spool.path)
    spool.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(spool / "ledger.jsonl")
    quarantine = Quarantine(spool / "quarantine", ledger)
    sink = Sink(config, plant, agent="import", spool=digest, ledger=ledger, quarantine=quarantine)
    done = sink.start(())
    # A point that points.csv did not name the last time is still to come; the others lie in the lake.
    fresh = samples.filter(~pl.col("point").is_in(sink.points().implode())) if done else samples
    left_out = (*read.faults, *faults)
    if fresh.height:
        after = done[-1][1] if done else 0
        sink.write(fresh, after + 1, after + 1)
    ledger.add("imported", "by hand", file=file.name, sha256=digest, rows=fresh.height, left_out=left_out)
    return fresh.height, left_out

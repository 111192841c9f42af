"""A store's samples -> the device list and the traces of a period, read once, in memory that does not grow with it."""

import numpy as np
import polars as pl

from config.plant import Plant
from config.status import BAD, BAD_NO_COMMUNICATION
from kpis.evidence import choice
from kpis.evidence.gaps import Gaps
from kpis.evidence.hashes import Partitions
from kpis.evidence.progress import Progress, unwatched
from kpis.evidence.reading import Part, Rows, parts_of
from kpis.evidence.timeline import timeline_of
from kpis.evidence.traces import Period, Traces
from kpis.indicators.device_list import table
from kpis.indicators.evidenced import NEVER, Evidence
from kpis.intervals import Ints, is_good, resolve, series
from kpis.partitions import HOUR_NS, samples_of
from kpis.stores.base import Store

READ, EXTRACTED = 0.9, 0.97
"""How much of the work is done once the samples are read, and once the extract is."""


def traces_of(
    plant: Plant, store: Store, start: int, end: int, *, progress: Progress = unwatched
) -> tuple[pl.DataFrame, Traces]:
    """Return the device list as `kpis.indicators.device_list` gives it, and the traces of [start, end).

    [ns since 1970, UTC]. Raises StoreError where the samples cannot be read.
    """
    through = _Pass(plant, store, start)
    for part in parts_of(plant, store, start, end):
        progress("samples", READ * (part.start - start) / (end - start))
        through.add(part)
    partitions = through.partitions.table()
    chosen = choice.period(plant, partitions, start, end)
    progress("extract", READ)
    extract = extract_of(plant, store, chosen, (start, end))
    progress("timeline", EXTRACTED)
    traces = Traces(
        store=store.kind,
        samples=int(partitions["rows"].sum()),
        partitions=partitions,
        gaps=through.gaps.table(plant.assets),
        extract=extract,
        extract_period=chosen,
        timeline=timeline_of(plant, extract, *chosen),
    )
    progress("timeline", 1.0)
    return through.devices(end), traces


def extract_of(plant: Plant, store: Store, chosen: Period, of: Period) -> pl.DataFrame:
    """Return the SAMPLE rows from which the facts of a period follow exactly, and all rows of its UTC days.

    chosen: the extract's period in that of the package; of the UTC days as much as lies in the latter, so that the
    hashes of these days can be checked; of an hour that was chosen, no more than facts need. One row an instant, by
    point and time. Raises StoreError where the samples cannot be read.
    """
    found = [samples_of(plant, store, *chosen)]
    if chosen[1] - chosen[0] > HOUR_NS:
        first, last = choice.utc_days(chosen)
        found.append(store.rows([point.point for point in plant.points], max(first, of[0]), min(last, of[1])))
    return resolve(pl.concat(found).unique())


class _Pass:
    """Takes the samples of a period, part by part."""

    def __init__(self, plant: Plant, store: Store, start: int) -> None:
        self.plant, self.good = plant, plant.uncertain == "good"
        self.evidence, self.gaps, self.partitions = Evidence(plant), Gaps(), Partitions()
        self._answered: set[int] = set()
        before = resolve(store.before(self.evidence.points, start))
        self.evidence.seed(series(before, uncertain_is_good=self.good))

    def add(self, part: Part) -> None:
        """Take the part that follows."""
        lost = self.evidence.add(part.stretch, part.start, part.end)
        for rows in part.rows:
            self.partitions.add(rows, part.day)
        bad = [self._bad(rows) for rows in part.rows]
        asset, ts, status = (np.concatenate(column) for column in zip(*bad, strict=True))
        self._answered |= set(np.unique(asset[status != BAD_NO_COMMUNICATION]).tolist())
        self.gaps.add(lost, asset, ts, status)

    def _bad(self, rows: Rows) -> tuple[Ints, Ints, Ints]:
        """Return asset, time and status of the rows that count, are of an asset of the register, and are not good."""
        place = rows.frame.select((~is_good(self.good).fill_null(value=False)).arg_true()).to_series().to_numpy()
        begins, ends = (np.array([run[n] for run in rows.runs], np.int64) for n in (1, 2))
        run = np.searchsorted(ends, place, "right")
        inside = run < len(ends)
        place, run = place[inside], run[inside]
        asset = self.evidence.number_of([point for point, _, _ in rows.runs])[run]
        counted = (place >= begins[run]) & (asset >= 0)
        found = rows.frame.select("ts", pl.col("status").fill_null(BAD))[place[counted]]
        return asset[counted], found["ts"].to_physical().to_numpy(), found["status"].to_numpy().astype(np.int64)

    def devices(self, end: int) -> pl.DataFrame:
        """Return the device list."""
        good = set(np.flatnonzero(self.evidence.last > NEVER).tolist())
        return table(self.plant, self.evidence, good | self._answered, end)

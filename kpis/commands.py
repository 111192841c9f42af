"""The command kpi, and the options that those of the other KPI rooms share with them."""

import difflib
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import polars as pl

from config import exits
from config.load import load_plant
from config.plant import Plant
from config.samples import SampleFileError, read_samples
from kpis import output, scale
from kpis.catalogue.offers import kpis_of
from kpis.compute import PERIODS, WARNINGS, Basis, Window, results, subjects_of
from kpis.demand import demand
from kpis.extras import MissingExtraError
from kpis.facts import facts
from kpis.factstore import amounts_of
from kpis.period import instant
from kpis.stores import KINDS, Store, StoreError, store_of

PLANT = click.argument("plant", type=click.Path(path_type=Path, exists=True))
FROM = click.option("--from", "start", help="Date (start of that production day) or instant with an offset.")
TO = click.option("--to", "end", help="Date or instant; the period ends before it.")
SAMPLES = click.option(
    "--samples", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Compute from this file alone."
)
LAKE = click.option("--lake", "lake_path", type=click.Path(path_type=Path), help="Default: the plant's parquet sink.")
STORE = click.option(
    "--store", type=click.Choice(KINDS), help="Where to read. Default: lake where the plant has a parquet sink."
)
ASSET = click.option("--asset", "subjects", multiple=True, help="Asset, group (line1) or plant id; may be repeated.")
_DAY_NS = 86_400_000_000_000
_LONG_NS = 20 * 366 * _DAY_NS
"""A period or samples over more time than this are more likely a slip, or of a clock that was not set [ns]."""
_FAR = 9_200_000_000_000_000_000
"""Nanoseconds from 1970 to the years 1678 and 2261; a shift or two further is still within 64 bits."""
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


def store_to_read(plant: Plant, kind: str | None, lake_path: Path | None) -> Store:
    """Return the store to read: the one asked for with --store or --lake, or that of the plant's sinks."""
    if kind == "influxdb" and lake_path is not None:
        raise click.UsageError("--store influxdb does not read a lake; leave --lake or --store out")
    try:
        return store_of(plant, kind, lake_path)
    except LookupError as error:
        raise click.UsageError(str(error.args[0])) from error


def load_samples(
    plant: Plant, start: str | None, end: str | None, samples: Path | None, lake_path: Path | None, kind: str | None
) -> tuple[pl.DataFrame, int, int]:
    """Return the samples that a command asks for and its window [ns since 1970, UTC].

    A bound that is left out is the first or last sample's time. kind: of the store, where --store names one.
    """
    if samples is None:
        return from_store(plant, store_to_read(plant, kind, lake_path), start, end)
    points = [p.point for p in plant.points]
    frame = _from_file(samples, points)
    times = frame["ts"].to_physical()
    extent = (int(times.min()), int(times.max())) if frame.height else None  # type: ignore[arg-type]
    return frame, *_window(plant, start, end, extent)


def from_store(plant: Plant, store: Store, start: str | None, end: str | None) -> tuple[pl.DataFrame, int, int]:
    """Return a store's samples and the window that they are of [ns since 1970, UTC]."""
    points = [p.point for p in plant.points]
    window = window_of(plant, store, start, end)
    try:
        return store.read(points, *window), *window
    except StoreError as error:
        raise click.ClickException(str(error)) from error


def window_of(plant: Plant, store: Store, start: str | None, end: str | None) -> tuple[int, int]:
    """Return the period asked for; a bound that is left out is that of the store's samples."""
    try:
        window = _window(plant, start, end, (0, 0)) if start is not None and end is not None else None
        if window is not None and store.height(*window):
            return window  # how far the samples go need not be looked up
        extent = store.extent([p.point for p in plant.points])
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    if extent is None:
        raise click.ClickException(f"{store} holds no samples of this plant; has its agent run?")
    _refuse_strange_times(extent, start, end)
    return _window(plant, start, end, extent)


def _refuse_strange_times(extent: tuple[int, int], start: str | None, end: str | None) -> None:
    """Raise UsageError where a clock that went wrong would make the period decades long."""
    first, last = (str(moment)[:10] for moment in pl.Series(extent).cast(pl.Datetime("ns", "UTC")))
    if end is None and extent[1] > time.time_ns() + _DAY_NS:
        raise click.UsageError(f"the newest sample is of {last}, which is to come; name the period's end with --to")
    if start is None and extent[1] - extent[0] > _LONG_NS:
        raise click.UsageError(f"the samples are from {first} to {last}; name the period's start with --from")


def _from_file(path: Path, points: list[str]) -> pl.DataFrame:
    try:
        read = read_samples(path)
    except SampleFileError as error:
        raise click.ClickException(str(error)) from error
    for fault in read.faults:
        click.echo(f"left out: {fault}", err=True)
    strange = read.samples.filter(~pl.col("point").is_in(points))
    for point, count in strange.group_by("point").len().sort("point").iter_rows():
        click.echo(f"left out: {count} rows of point {point!r}, which points.csv does not name", err=True)
    return read.samples.filter(pl.col("point").is_in(points))


def _window(plant: Plant, start: str | None, end: str | None, extent: tuple[int, int] | None) -> tuple[int, int]:
    try:
        bounds = [bounded(plant, text) if text is not None else None for text in (start, end)]
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if None in bounds and extent is None:
        raise click.UsageError("there are no samples, so name the period with --from and --to")
    first, last = (given if given is not None else found for given, found in zip(bounds, extent or (0, 0), strict=True))
    if last <= first:
        raise click.UsageError(f"the period ends at {end or 'the last sample'}, not after it starts; swap or widen it")
    if last - first > _LONG_NS:
        years = (last - first) / (366 * _DAY_NS)
        raise click.UsageError(
            f"the period is some {years:.0f} years long, 20 are the most; name a nearer --from or --to"
        )
    return first, last


def bounded(plant: Plant, text: str) -> int:
    """Return a bound of a period as [ns since 1970, UTC].

    Raises ValueError where it is no date or instant, or lies where 64 bits of nanoseconds do not reach.
    """
    try:
        moment = instant(plant, text)
    except OverflowError:
        moment = 2**63
    if not -_FAR < moment < _FAR:
        raise ValueError(f"{text!r} is not in the years 1678 to 2261; name a period that the plant has lived through")
    return moment


def checked_subjects(plant: Plant, subjects: tuple[str, ...]) -> list[str]:
    """Return the subjects asked for, all where none is; UsageError where one is unknown."""
    known = subjects_of(plant)
    for subject in subjects:
        if subject not in known:
            raise click.UsageError(
                f"--asset {subject!r} is neither an asset, nor a group, nor the plant; it is one of {', '.join(known)}"
            )
    return list(subjects) or known


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what can go wrong with the file of --out into what a person reads."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written ({error}); name another --out") from error
    except MissingExtraError as error:
        raise click.ClickException(str(error)) from error


class WithVerbs(click.Group):
    """A command that takes arguments of its own, unless its first word is one of its verbs.

    A plant whose folder is called as a verb is reached as ./verb.
    """

    allow_interspersed_args = True
    _VERB = "kpis.commands.verb"

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own arguments and options; a verb's usage line does not name them."""
        return [] if self._VERB in ctx.meta else super().get_params(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command's own arguments; those of a verb are left to it."""
        if not args or args[0] not in self.commands:
            return click.Command.parse_args(self, ctx, args)
        ctx.meta[self._VERB] = args
        return []

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb, or the command itself."""
        verb = ctx.meta.get(self._VERB)
        if verb is None:
            return click.Command.invoke(self, ctx)
        command = self.commands[verb[0]]
        with command.make_context(verb[0], verb[1:], parent=ctx) as below:
            return command.invoke(below)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return what the usage line names; verbs are listed below it."""
        return click.Command.collect_usage_pieces(self, ctx)


@click.group(cls=WithVerbs, no_args_is_help=False)
@PLANT
@FROM
@TO
@click.option("--by", type=click.Choice(PERIODS), default="total", show_default=True)
@click.option("--kpi", "wanted", multiple=True, help="Id of a KPI (docs/kpis.md); may be repeated. Default: all.")
@ASSET
@SAMPLES
@LAKE
@STORE
@JSON
@click.option("--afresh", is_flag=True, help="Compute from the samples alone, not from facts that are stored.")
@click.option("--workers", default="1", show_default=True, help="Processes, or a Dask cluster (tcp://host:8786).")
@click.option("--out", type=click.Path(path_type=Path), help="Write the rows to FILE .json, .csv, .xlsx or .parquet.")
def kpi(
    plant: Path,
    *,
    start: str | None,
    end: str | None,
    by: str,
    wanted: tuple[str, ...],
    subjects: tuple[str, ...],
    samples: Path | None,
    lake_path: Path | None,
    store: str | None,
    as_json: bool,
    workers: str,
    afresh: bool,
    out: Path | None,
) -> None:
    """Compute KPIs of assets, groups and the plant, with bounds, n/N and data coverage.

    \b
    Examples:  plantproof kpi PLANT --from 2026-11-20 --to 2026-11-21 --by shift
               plantproof kpi PLANT --from 2026-11-01 --to 2026-12-01 --asset line1 --kpi oee --json
               plantproof kpi PLANT --samples day.csv

    Exits 3 where a figure carries a data-quality warning or nothing is known of the period, 78 where the configuration
    is at fault.
    """
    loaded = load_plant(plant)
    chosen = checked_subjects(loaded, subjects)
    _check_kpis(loaded, wanted)
    with _workers(workers) as executor:
        if samples is not None:
            frame, first, last = load_samples(loaded, start, end, samples, lake_path, store)
            of_facts = facts(loaded, frame, first, last, executor=executor)
            basis = Basis(of_facts, demand(loaded, frame, first, last))
        else:
            read = store_to_read(loaded, store, lake_path)
            first, last = window_of(loaded, read, start, end)
            basis = _from_facts(loaded, read, first, last, executor, afresh=afresh)
    rows = results(loaded, basis, Window(first, last, by), chosen)
    rows = rows.filter(pl.col("kpi").is_in(list(wanted))) if wanted else rows
    if out is not None:
        with writing(out):
            output.write(loaded, rows, out)
        click.echo(f"{rows.height} rows in {out}", err=True)
    if as_json:
        click.echo(output.to_json(output.objects(loaded, rows)))
    elif out is None:
        output.print_table(output.table(loaded, rows, _title(loaded, first, last, by)))
    nothing = rows["coverage"].max() == 0
    if nothing:
        click.echo(
            "nothing is known of this period: the coverage of each figure is 0; ask for one with samples", err=True
        )
    if nothing or rows.select(pl.col("flags").list.eval(pl.element().is_in(list(WARNINGS))).list.any().any()).item():
        sys.exit(exits.QUALITY)


def _check_kpis(plant: Plant, wanted: tuple[str, ...]) -> None:
    """Raise UsageError where an id is none of the plant's KPIs."""
    known = [kpi.id for kpi in kpis_of(plant)]
    for kpi in wanted:
        if kpi not in known:
            near = difflib.get_close_matches(kpi, known, 3) or known
            raise click.UsageError(f"--kpi {kpi!r} is no KPI of this plant; did you mean {', '.join(near)}?")


def _from_facts(plant: Plant, store: Store, first: int, last: int, executor: Executor | None, *, afresh: bool) -> Basis:
    """Return what a store holds of [first, last) [ns since 1970, UTC]."""
    try:
        amounts = amounts_of(plant, store, first, last, executor, afresh=afresh)
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    return Basis(amounts.facts, amounts.demand)


@contextmanager
def _workers(where: str) -> Iterator[Executor | None]:
    """Yield what --workers asks for; UsageError where it is not to be had."""
    with ExitStack() as stack:
        try:
            executor = stack.enter_context(scale.workers(where))
        except (ValueError, scale.ClusterMissing, OSError) as error:
            raise click.UsageError(f"--workers: {error}") from error
        yield executor


def _title(plant: Plant, first: int, last: int, by: str) -> str:
    ends = pl.Series([first, last]).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(plant.timezone)
    start, end = ends.dt.strftime("%Y-%m-%d %H:%M:%S %:z").to_list()
    return f"{plant.name or plant.id}: {start} to {end}, by {by}"

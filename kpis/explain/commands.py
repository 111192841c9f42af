"""The command `kpi explain`: one figure, and why it is what it is."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import polars as pl

from config import exits
from config.load import load_plant
from config.plant import Plant
from kpis import output
from kpis.commands import (
    FROM,
    JSON,
    LAKE,
    PLANT,
    SAMPLES,
    STORE,
    TO,
    checked_subjects,
    kpi,
    load_samples,
    store_to_read,
    window_of,
)
from kpis.compute import WARNINGS
from kpis.elements import ROLES
from kpis.explain import text, view
from kpis.explain.choice import choose
from kpis.explain.explanation import explain as explained
from kpis.explain.explanation import histories
from kpis.partitions import HOUR_NS, samples_of
from kpis.states import margin
from kpis.stores import Store, StoreError
from kpis.stores.base import DAY_NS, SEARCH_DAYS

_LOOKS = (HOUR_NS, 6 * HOUR_NS, DAY_NS, 4 * DAY_NS, SEARCH_DAYS * DAY_NS)
"""How far after the period the end of a stop is looked for, on and on [ns]."""

__all__ = ["kpi"]


@kpi.command()
@PLANT
@click.argument("kpi_id", metavar="KPI")
@click.option("--asset", "subject", help="Asset, group (line1) or plant id. Default: the plant.")
@FROM
@TO
@SAMPLES
@LAKE
@STORE
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="So many stops, spans, events.")
@JSON
def explain(
    plant: Path,
    kpi_id: str,
    *,
    subject: str | None,
    start: str | None,
    end: str | None,
    samples: Path | None,
    lake_path: Path | None,
    store: str | None,
    top: int,
    as_json: bool,
) -> None:
    """Say why a figure is what it is: formula with numbers, time, stops, unknown spans, resets, rules.

    \b
    Example:  plantproof kpi explain PLANT oee --asset line1/press --from 2026-11-20 --to 2026-11-21

    Exits 3 where the figure carries a data-quality warning, 78 where the configuration is at fault.
    """
    loaded = load_plant(plant)
    asked = checked_subjects(loaded, (subject or loaded.id,))[0]
    try:
        chosen, taken = choose(loaded, kpi_id, asked)
    except LookupError as error:
        raise click.UsageError(str(error.args[0])) from error
    if samples is not None:
        frame, first, last = load_samples(loaded, start, end, samples, lake_path, store)
    else:
        frame, first, last = _stored(loaded, taken.assets, store_to_read(loaded, store, lake_path), start, end)
    found = explained(loaded, chosen, taken, frame, first, last)
    if as_json:
        click.echo(output.to_json(view.to_data(found, top)))
    else:
        text.print_text(found, top)
    if WARNINGS & set(view.flags_of(found)):
        sys.exit(exits.QUALITY)


def _stored(
    plant: Plant, assets: Sequence[str], store: Store, start: str | None, end: str | None
) -> tuple[pl.DataFrame, int, int]:
    """Return a store's samples of some assets and the period that they are of [ns since 1970, UTC]."""
    first, last = window_of(plant, store, start, end)
    points = tuple(p for p in plant.points if p.asset in assets)
    alone = plant.model_copy(update={"points": points, "assets": tuple(a for a in plant.assets if a.asset in assets)})
    try:
        return _to_the_end_of_stops(alone, store, samples_of(alone, store, first, last), first, last), first, last
    except StoreError as error:
        raise click.ClickException(str(error)) from error


def _to_the_end_of_stops(plant: Plant, store: Store, samples: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    """Return the samples with those that say when the stops end that go on at the period's end."""
    read = end + margin(plant)
    for look in _LOOKS:
        going = [h.asset.asset for h in histories(plant, plant.assets, samples, start, end) if h.open_at(read)]
        if not going:
            break
        names = [p.point for p in plant.points if p.asset in going and p.role in (*ROLES, "reason")]
        samples = pl.concat([samples, store.rows(names, read, max(read, end + look))])
        read = max(read, end + look)
    return samples

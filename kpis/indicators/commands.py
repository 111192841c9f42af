"""The command `indicators`: figures for assessments, and how a plant stands against their rubrics."""

import sys
from pathlib import Path

import click

from config import exits
from config.approvals import ApprovalError
from config.load import load_plant
from config.plant import Plant
from config.rubrics import load_rubric, rubric_ids
from kpis import output
from kpis.commands import (
    ASSET,
    FROM,
    JSON,
    LAKE,
    PLANT,
    SAMPLES,
    STORE,
    TO,
    bounded,
    checked_subjects,
    load_samples,
    store_to_read,
    window_of,
)
from kpis.compute import subjects_of
from kpis.indicators import view
from kpis.indicators.base import Figure
from kpis.indicators.case import Period, Readings, case_of, compared, of_plant, subjects_with_groups
from kpis.indicators.catalogue import figures
from kpis.indicators.comparison import RULE, Comparison, around, before, year_before
from kpis.indicators.rubrics.assessment import TARGETS, aims, assess
from kpis.indicators.rubrics.result import Assessment, Case
from kpis.indicators.said import LANGS, Lang, Said
from kpis.stores import StoreError

COMPARED = ("year", "previous")
_RUBRICS = [name for name in rubric_ids() if name != TARGETS]


@click.command()
@PLANT
@FROM
@TO
@ASSET
@click.option("--rubric", "rubrics", multiple=True, type=click.Choice(_RUBRICS), help="Assess; may be repeated.")
@click.option(
    "--compare", "compare_with", type=click.Choice(COMPARED), help="With the same period a year ago, or the one before."
)
@click.option("--retrofit", help="Compare as long before this date as the period goes on after it.")
@click.option("--lang", type=click.Choice(LANGS), default="en", show_default=True)
@SAMPLES
@LAKE
@STORE
@JSON
def indicators(
    plant: Path,
    *,
    start: str | None,
    end: str | None,
    subjects: tuple[str, ...],
    rubrics: tuple[str, ...],
    compare_with: str | None,
    retrofit: str | None,
    lang: Lang,
    samples: Path | None,
    lake_path: Path | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Compute what assessments ask for, such as the equipment networking rate (设备联网率), with what is behind it.

    \b
    Examples:  plantproof indicators PLANT --from 2026-01-01 --to 2027-01-01
               plantproof indicators PLANT --from 2026-01-01 --to 2027-01-01 --rubric sme-2024 --lang zh
               plantproof indicators PLANT --from 2026-03-01 --to 2026-06-01 --retrofit 2026-03-01

    A rubric compares with the same period a year ago where nothing else is said. Exits 3 when a figure is refused or an
    answer cannot be taken.
    """
    loaded = load_plant(plant)
    asked = checked_subjects(loaded, subjects) if subjects else []
    readings, period = _readings(loaded, start, end, samples, lake_path, store)
    period, earlier = _periods(loaded, period, compare_with or ("year" if rubrics else None), retrofit)
    try:
        chosen = subjects_with_groups(loaded, asked, subjects_of(loaded))
        found = figures(readings.grounds(period), chosen)
        if rubrics:
            case = case_of(readings, period, earlier)
            held = [assess(case, load_rubric(name)) for name in rubrics]
            _print_rubrics(case, held, lang, as_json=as_json)
        else:
            held = []
            _print_figures(readings, period, earlier, found, lang, as_json=as_json)
    except (StoreError, ApprovalError) as error:
        raise click.ClickException(str(error)) from error
    for fault in readings.faults:
        click.echo(f"left out: {fault}", err=True)
    if readings.faults or any(one.refused for one in found) or any(one.faults for one in held):
        sys.exit(exits.QUALITY)


def _readings(
    plant: Plant, start: str | None, end: str | None, samples: Path | None, lake_path: Path | None, kind: str | None
) -> tuple[Readings, Period]:
    if samples is not None:
        frame, first, last = load_samples(plant, start, end, samples, lake_path, kind)
        return Readings(plant, samples=frame), (first, last)
    store = store_to_read(plant, kind, lake_path)
    return Readings(plant, store), window_of(plant, store, start, end)


def _periods(
    plant: Plant, period: Period, compare_with: str | None, retrofit: str | None
) -> tuple[Period, Period | None]:
    """Return the period, and the one to compare it with."""
    if retrofit is not None:
        try:
            earlier, later = around(plant, bounded(plant, retrofit), period)
        except ValueError as error:
            raise click.UsageError(f"--retrofit: {error}") from error
        return later, earlier
    if compare_with == "year":
        return period, year_before(plant, period)
    return period, before(plant, period) if compare_with == "previous" else None


def _print_figures(
    readings: Readings, period: Period, earlier: Period | None, found: list[Figure], lang: Lang, *, as_json: bool
) -> None:
    plant, grounds = readings.plant, readings.grounds(period)
    changes, incomparable = ({}, {}) if earlier is None else _changes(readings, period, earlier)
    if as_json:
        told = {
            "results": [view.as_object(plant, one) for one in found],
            "devices": grounds.devices.to_dicts(),
            "comparisons": [view.comparison_object(plant, one) for one in changes.values()],
            "incomparable": {name: {"en": said.en, "zh": said.zh} for name, said in incomparable.items()},
        }
        click.echo(output.to_json(told))
        return
    output.print_table(view.table(plant, found, period, lang))
    for one in found:
        for line in view.remarks(one, lang):
            click.echo(line)
    if changes:
        output.print_table(view.comparison_table(plant, changes.values(), lang))
        click.echo(RULE.into(lang))
    for said in incomparable.values():
        click.echo(said.into(lang))
    output.print_table(view.device_table(grounds, lang))


def _changes(readings: Readings, period: Period, earlier: Period) -> tuple[dict[str, Comparison], dict[str, Said]]:
    return compared(of_plant(readings.grounds(earlier)), of_plant(readings.grounds(period)))


def _print_rubrics(case: Case, held: list[Assessment], lang: Lang, *, as_json: bool) -> None:
    targets = aims(case)
    if as_json:
        told = {"rubrics": [view.assessment_object(case, one) for one in held],
                "targets": view.assessment_object(case, targets)}  # fmt: skip
        click.echo(output.to_json(told))
        return
    for one in held:
        view.print_assessment(case, one, lang)
    view.print_assessment(case, targets, lang)
    for one in held:
        for fault in one.faults:
            click.echo(f"left out: {fault}", err=True)

"""The command `indicators`: figures for assessments, and how a plant stands against their rubrics."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from config import exits
from config.approvals import ApprovalError
from config.language import Lang, lang_option
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
    writing,
)
from kpis.indicators import export, objects, view
from kpis.indicators.base import Figure
from kpis.indicators.case import Period, Readings, case_of, compared, subjects_with_groups
from kpis.indicators.catalogue import figures, kinds
from kpis.indicators.comparison import RULE, Comparison, around, before, year_before
from kpis.indicators.energy_tables import EnergyTable, table_205_1, table_205_2
from kpis.indicators.errors import InputError
from kpis.indicators.rubrics.assessment import TARGETS, aims, assess
from kpis.indicators.said import Said
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
@click.option("--devices-from", help="Judge devices from this date on alone, such as since they were connected.")
@click.option("--kinds", "by_kind", is_flag=True, help="Rates of devices by their kind as well.")
@click.option("--tables", "energy_tables", is_flag=True, help="The energy tables 205-1 and 205-2 as well.")
@lang_option()
@SAMPLES
@LAKE
@STORE
@JSON
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write to FILE: .json or .xlsx with everything, .csv the figures or items.",
)
def indicators(
    plant: Path,
    *,
    start: str | None,
    end: str | None,
    subjects: tuple[str, ...],
    rubrics: tuple[str, ...],
    compare_with: str | None,
    retrofit: str | None,
    devices_from: str | None,
    by_kind: bool,
    energy_tables: bool,
    lang: Lang,
    samples: Path | None,
    lake_path: Path | None,
    store: str | None,
    as_json: bool,
    out: Path | None,
) -> None:
    """Compute what assessments ask for, such as the equipment networking rate (设备联网率), with what is behind it.

    \b
    Examples:  plantproof indicators PLANT --from 2026-01-01 --to 2027-01-01
               plantproof indicators PLANT --from 2026-01-01 --to 2027-01-01 --rubric sme-2024 --lang zh
               plantproof indicators PLANT --from 2026-03-01 --to 2026-06-01 --retrofit 2026-03-01

    A rubric compares with the same period a year ago where nothing else is said. Exits 3 where a figure is refused or
    an answer cannot be taken, 78 where the configuration is at fault.
    """
    loaded = load_plant(plant)
    asked = checked_subjects(loaded, subjects) if subjects else []
    if rubrics and asked not in ([], [loaded.id]):
        raise click.UsageError("a rubric is of the whole plant; leave --asset out")
    readings, period = _readings(loaded, start, end, samples, lake_path, store)
    period, earlier = _periods(loaded, period, compare_with or ("year" if rubrics else None), retrofit)
    readings.devices_span = _span(loaded, devices_from, period)
    try:
        if rubrics:
            told: _Rubrics | _Figures = _Rubrics(readings, period, earlier, rubrics)
        else:
            chosen = asked or subjects_with_groups(loaded)
            told = _Figures(readings, period, earlier, chosen, by_kind=by_kind, tables=energy_tables)
    except (StoreError, ApprovalError) as error:
        raise click.ClickException(str(error)) from error
    if out is not None:
        _write(told.data(), out, lang)
    if as_json:
        click.echo(output.to_json(told.data()))
    elif out is None:
        told.show(lang)
    left_out = [*(str(fault) for fault in readings.faults), *told.faults]
    for line in left_out:
        click.echo(f"left out: {line}", err=True)
    if left_out or any(one.refused for one in told.found):
        sys.exit(exits.QUALITY)


def _write(data: Mapping[str, Any], path: Path, lang: Lang) -> None:
    with writing(path):
        export.write(data, path, lang)
    click.echo(f"written to {path}", err=True)


def _readings(
    plant: Plant, start: str | None, end: str | None, samples: Path | None, lake_path: Path | None, kind: str | None
) -> tuple[Readings, Period]:
    if samples is not None:
        frame, first, last = load_samples(plant, start, end, samples, lake_path, kind)
        return Readings(plant, samples=frame), (first, last)
    store = store_to_read(plant, kind, lake_path)
    return Readings(plant, store), window_of(plant, store, start, end)


def _span(plant: Plant, devices_from: str | None, period: Period) -> int | None:
    """Return how much time at the period's end devices are judged by [ns]; None for all of it."""
    if devices_from is None:
        return None
    try:
        since = bounded(plant, devices_from)
    except ValueError as error:
        raise click.UsageError(f"--devices-from: {error}") from error
    if not period[0] <= since < period[1]:
        raise click.UsageError(f"--devices-from {devices_from} is not inside the period; name a date in it")
    return period[1] - since


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


def _named(found: Sequence[Figure]) -> dict[str, Figure]:
    return {f"{one.subject} {one.indicator.id}": one for one in found}


class _Figures:
    """Figures of a period, and their changes against another one."""

    def __init__(
        self,
        readings: Readings,
        period: Period,
        earlier: Period | None,
        subjects: Sequence[str],
        *,
        by_kind: bool,
        tables: bool,
    ) -> None:
        self.period, self.grounds = period, readings.grounds(period)
        self.found = figures(self.grounds, subjects)
        self.faults: list[str] = []
        self.kinds = kinds(self.grounds, subjects) if by_kind else []
        self.tables = self._tables() if tables else []
        self.changes: Mapping[str, Comparison] = {}
        self.incomparable: Mapping[str, Said] = {}
        if earlier is not None:
            before_ = figures(readings.grounds(earlier), subjects)
            self.changes, self.incomparable = compared(_named(before_), _named(self.found))

    def _tables(self) -> list[EnergyTable]:
        try:
            return [table_205_1(self.grounds), table_205_2(self.grounds)]
        except InputError as error:
            self.faults.append(f"tables 205-1 and 205-2: {error}")
            return []

    def data(self) -> dict[str, Any]:
        """Return all as plain data."""
        plant = self.grounds.plant
        return {
            "results": [objects.figure_object(plant, one) for one in self.found],
            "devices": self.grounds.devices.to_dicts(),
            "comparisons": [objects.comparison_object(plant, one) for one in self.changes.values()],
            "kinds": [{"kind": kind, **objects.figure_object(plant, one)} for kind, one in self.kinds],
            "tables": {one.id: one.frame().to_dicts() for one in self.tables},
            "incomparable": {name: {"en": said.en, "zh": said.zh} for name, said in self.incomparable.items()},
        }

    def show(self, lang: Lang) -> None:
        """Print all as tables."""
        plant = self.grounds.plant
        output.print_table(view.table(plant, self.found, self.period, lang))
        for line in [*view.told_devices(self.grounds, lang), *view.remarks(self.found, lang)]:
            click.echo(line)
        if self.kinds:
            output.print_table(view.kind_table(self.kinds, lang))
        for form in self.tables:
            output.print_table(view.energy_table(form))
        if self.changes:
            output.print_table(view.comparison_table(plant, self.changes.values(), lang))
            click.echo(RULE.into(lang))
        for said in self.incomparable.values():
            click.echo(said.into(lang))
        output.print_table(view.device_table(self.grounds, lang))


class _Rubrics:
    """Rubrics held against a period, with the targets that stand beside them."""

    def __init__(self, readings: Readings, period: Period, earlier: Period | None, names: Sequence[str]) -> None:
        before_ = None if earlier is None else readings.grounds(earlier)
        self.case = case_of(readings.grounds(period), before_)
        self.found = list(self.case.figures.values())
        self.held = [assess(self.case, load_rubric(name)) for name in names]
        self.targets = aims(self.case)
        self.faults = [fault for one in self.held for fault in one.faults]

    def data(self) -> dict[str, Any]:
        """Return all as plain data."""
        told = [objects.assessment_object(self.case, one) for one in self.held]
        return {"rubrics": told, "targets": objects.assessment_object(self.case, self.targets)}

    def show(self, lang: Lang) -> None:
        """Print all as tables."""
        for one in (*self.held, self.targets):
            view.print_assessment(self.case, one, lang)

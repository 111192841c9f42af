"""The installation's health: what would go wrong later is told now. Nothing is changed, nothing goes over a network."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from collector import doctor_clock, doctor_machine, doctor_places, doctor_secrets
from collector.commands import faults_of
from collector.doctor_machine import Machine
from collector.doctor_words import CASES, TITLES
from collector.findings import Finding, Told, found
from config import chinese
from config.faults import ConfigError, Fault
from config.language import Lang
from config.load import load_plant
from config.plant import Plant

__all__ = ["Machine", "examine", "told"]


def examine(folder: Path | None, machine: Machine) -> list[Finding]:
    """Return what there is to say of a plant's installation; without a folder, of the machine alone."""
    plant, faults = _plant(folder) if folder is not None else (None, ())
    return [*_config(plant, faults, known=folder is not None), *_checks(machine, plant)]


def _plant(folder: Path) -> tuple[Plant | None, tuple[Fault, ...]]:
    """Return the plant, or what loaded of it in spite of faults, and the faults."""
    try:
        plant = load_plant(folder)
    except ConfigError as error:
        return error.plant, error.faults
    try:
        return plant, tuple(faults_of(plant))
    except ImportError:  # a protocol's library is missing, which is told as such
        return plant, ()


def _config(plant: Plant | None, faults: tuple[Fault, ...], *, known: bool) -> Iterator[Finding]:
    if faults:
        yield found("config.faults", count=len(faults), first=faults[0])
    elif known and plant is not None:
        yield found("config.ok", sources=len(plant.sources), points=len(plant.points), sinks=len(plant.sinks))


def _checks(machine: Machine, plant: Plant | None) -> Iterator[Finding]:
    yield from doctor_machine.check(machine, plant)
    yield from doctor_clock.check(machine, plant)
    if plant is not None:
        yield from doctor_places.check(machine, plant)
        yield from doctor_secrets.check(plant, machine.now)


def told(findings: Iterable[Finding], lang: Lang) -> list[Told]:
    """Return findings in a language, and with them what fault of the configuration they tell of."""
    return [(_in_chinese(one) if lang == "zh" else one).told(CASES, TITLES, lang) for one in findings]


def _in_chinese(one: Finding) -> Finding:
    facts = {name: chinese.of_fault(fact) if isinstance(fact, Fault) else fact for name, fact in one.facts.items()}
    return replace(one, facts=facts)

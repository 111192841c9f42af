"""Rules of what is declared: amounts of periods, databases that hold them, and answers to items of assessments."""

import datetime as dt
from collections.abc import Iterator, Mapping

from config.business import clashes, period_days, unfit
from config.cells import is_date
from config.faults import Fault, did_you_mean
from config.plant import Plant
from config.registers import Declared
from config.rubrics import rubric_ids

Places = Mapping[tuple[str, str], str]

_DAY = dt.timedelta(days=1)


def check(plant: Plant, places: Places) -> Iterator[Fault]:
    """Yield the faults of declared values, their sources and answers; `places` says where each row stands."""
    where = [places.get(("Declared", f"row {n}"), "business.csv") for n in range(len(plant.business))]
    for row, place in zip(plant.business, where, strict=True):
        for fault in unfit(row, plant.coal_factors):
            yield Fault(f"{place} column {fault.column}", told(row), fault.value, fault.rule, fault.hint)
    for later, earlier, clash in clashes(plant.business):
        row, other = plant.business[later], plant.business[earlier]
        rule, hint = f"{clash}: {where[earlier]} has it for {other.period}", "keep one of the two, or mend a period"
        yield Fault(f"{where[later]} column period", told(row), row.period, rule, hint)
    yield from _months_as_days(plant, where)
    for n, source in enumerate(plant.business_sources, 1):
        url = source.url.get_secret_value()
        if "://" not in url and "${" not in url:
            hint = "write such as mysql+pymysql://reader:${env:ERP_PASSWORD}@10.0.0.5/erp, or sqlite:///erp.db"
            thing = f"business source {source.id}"
            yield Fault(f"plant.toml: business_source[{n}].url", thing, "", "has no scheme", hint)
    yield from _answers(plant, places)


def told(row: Declared) -> str:
    """Return what a row is called in faults."""
    return f"{row.measure} {row.period}"


def _months_as_days(plant: Plant, where: list[str]) -> Iterator[Fault]:
    """Look for the first of a month alone: Excel makes that day of 2025-03 when it takes it for a date."""
    days = {(row.measure, period_days(row.period)) for row in plant.business}
    for row, place in zip(plant.business, where, strict=True):
        first, last = period_days(row.period)
        beside = any((row.measure, (day, day)) in days for day in (first - _DAY, first + _DAY))
        if first == last and first.day == 1 and not beside and is_date(row.period):
            rule = "is one day, which a spreadsheet makes of a month"
            hint = f"write {first:%Y}年{first.month}月 for the month, or {first}/{first} for the day"
            yield Fault(f"{place} column period", told(row), row.period, rule, hint)


def _answers(plant: Plant, places: Places) -> Iterator[Fault]:
    known = rubric_ids() if plant.answers else []
    first: dict[tuple[str, str, dt.date], str] = {}
    for n, answer in enumerate(plant.answers):
        place, thing = places.get(("Answer", f"row {n}"), "answers.csv"), f"answer {answer.rubric} {answer.item}"
        if known and answer.rubric not in known:
            hint = did_you_mean(answer.rubric, known)
            yield Fault(f"{place} column rubric", thing, answer.rubric, "is no rubric", hint)
        before = first.setdefault((answer.rubric, answer.item, answer.declared_at), place)
        if before != place:
            rule = f"is answered on the same day in {before} already"
            yield Fault(f"{place} column item", thing, answer.item, rule, "keep one of the two")

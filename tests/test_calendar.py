"""Which days and shifts a calendar plans: holidays, make-up days and exceptions before weekdays."""

import datetime as dt
import logging
import subprocess
import sys

import pytest

from config import public_holidays
from config.faults import ConfigError
from config.plant import WEEKDAYS, Asset, Break, Calendar, CalendarException, Plant, Shift
from kpis.calendar import expand, to_ns

DAY = dt.timedelta(days=1)
EARLY = Shift(name="早班", start=dt.time(8), end=dt.time(16), breaks=(Break(start=dt.time(12), end=dt.time(12, 30)),))
LATE = Shift(name="中班", start=dt.time(16), end=dt.time(0))
OFFICE = WEEKDAYS[:5]

# 国务院办公厅关于 2024、2025、2026 年部分节假日安排的通知 of 25 October 2023, 12 November 2024 and 4 November 2025. Two
# holidays of 2024, 1 January and 10 June, are "joined with the weekend": 30 and 31 December are listed with 2023.
OFF = {
    2024: "01-01 02-10..02-17 04-04..04-06 05-01..05-05 06-08..06-10 09-15..09-17 10-01..10-07",
    2025: "01-01 01-28..02-04 04-04..04-06 05-01..05-05 05-31..06-02 10-01..10-08",
    2026: "01-01..01-03 02-15..02-23 04-04..04-06 05-01..05-05 06-19..06-21 09-25..09-27 10-01..10-07",
}
MADE_UP = {
    2024: "02-04 02-18 04-07 04-28 05-11 09-14 09-29 10-12",
    2025: "01-26 02-08 04-27 09-28 10-11",
    2026: "01-04 02-14 02-28 05-09 09-20 10-10",
}


def days(year, text):
    """Return the dates that a text lists: single ones and stretches from .. to."""
    found = set()
    for first, _, last in (part.partition("..") for part in text.split()):
        one, end = (dt.date.fromisoformat(f"{year}-{day}") for day in (first, last or first))
        found |= {one + n * DAY for n in range((end - one).days + 1)}
    return found


def planned(first, last, *calendars, zone="Asia/Shanghai", asset="press"):
    """Return the labels of the shifts that start on the dates from `first` to `last`."""
    plant = Plant(id="p", timezone=zone, assets=(Asset(asset=asset),), calendars=calendars)
    start, end = (to_ns(dt.datetime.combine(day, dt.time(0), tzinfo=plant.zone)) for day in (first, last + DAY))
    return [shift for shift in expand(plant, asset, start, end) if first <= shift.date <= last]


def worked(year, *calendars):
    """Return the dates of a year on which a shift starts."""
    return {shift.date for shift in planned(dt.date(year, 1, 1), dt.date(year, 12, 31), *calendars)}


def year_of(year):
    return {dt.date(year, 1, 1) + n * DAY for n in range(366 if year == 2024 else 365)}


@pytest.mark.parametrize("year", OFF)
def test_a_plant_that_works_every_day_stands_on_the_days_of_the_state_councils_notice_alone(year):
    assert year_of(year) - worked(year, Calendar(shifts=(EARLY,), holidays="CN")) == days(year, OFF[year])


@pytest.mark.parametrize("year", MADE_UP)
def test_a_five_day_week_works_on_the_weekend_days_of_the_notice_alone(year):
    found = worked(year, Calendar(shifts=(EARLY,), weekdays=OFFICE, holidays="CN"))
    assert {day for day in found if day.weekday() >= 5} == days(year, MADE_UP[year])
    usual = {day for day in year_of(year) if day.weekday() < 5}
    assert {day for day in found if day.weekday() < 5} == usual - days(year, OFF[year])


def test_the_spring_festival_of_2025_is_off_from_28_january_to_4_february_and_is_made_up_for_before_and_after():
    calendar = Calendar(shifts=(EARLY,), weekdays=WEEKDAYS[:6], holidays="CN")  # Saturdays are worked
    found = planned(dt.date(2025, 1, 25), dt.date(2025, 2, 9), calendar)
    assert [f"{shift.date:%m-%d %a}" for shift in found] == [
        "01-25 Sat", "01-26 Sun", "01-27 Mon", "02-05 Wed", "02-06 Thu", "02-07 Fri", "02-08 Sat",
    ]  # fmt: skip


def test_a_make_up_day_and_a_weekend_may_belong_to_the_next_years_first_holiday():
    office = Calendar(shifts=(EARLY,), weekdays=OFFICE, holidays="CN")
    assert dt.date(2011, 12, 31) in worked(2011, office)  # a Saturday, for 3 January 2012
    every = Calendar(shifts=(EARLY,), holidays="CN")
    assert worked(2023, every) & days(2023, "12-29..12-31") == days(2023, "12-29")  # joined with 1 January 2024


def test_a_make_up_day_has_the_shifts_and_breaks_of_a_weekday():
    calendar = Calendar(shifts=(EARLY, LATE), weekdays=OFFICE, holidays="CN")
    made_up, monday = (planned(day, day, calendar) for day in (dt.date(2025, 1, 26), dt.date(2025, 1, 27)))
    assert [shift.name for shift in made_up] == ["早班", "中班"]
    assert [(s.end - s.start, len(s.breaks)) for s in made_up] == [(s.end - s.start, len(s.breaks)) for s in monday]


def test_without_holidays_only_the_weekday_counts():
    calendar = Calendar(shifts=(EARLY,), weekdays=OFFICE)
    assert worked(2025, calendar) == {day for day in year_of(2025) if day.weekday() < 5}


@pytest.mark.parametrize(
    ("date", "shift", "working", "expected"),
    [
        ("2025-10-01", "", "yes", ["早班", "中班"]),  # a holiday, all of it worked
        ("2025-10-01", "早班", "yes", ["早班"]),  # a holiday, the other shift stays off
        ("2025-10-02", "早班", "no", []),  # a holiday anyway
        ("2025-09-28", "", "no", []),  # a make-up Sunday that this plant does not work
        ("2025-09-28", "中班", "no", ["早班"]),
    ],
)
def test_a_row_of_exceptions_goes_before_holidays_and_make_up_days(date, shift, working, expected):
    row = CalendarException(date=date, shift=shift, working=working)
    calendar = Calendar(shifts=(EARLY, LATE), weekdays=OFFICE, holidays="CN", exception_rows=(row,))
    assert [one.name for one in planned(row.date, row.date, calendar)] == expected


def test_an_exception_on_a_holiday_may_have_other_times():
    row = CalendarException(date="2025-10-01", shift="早班", working="yes", start="10:00", end="14:00")
    (shift,) = planned(row.date, row.date, Calendar(shifts=(EARLY, LATE), holidays="CN", exception_rows=(row,)))
    assert shift.end - shift.start == 4 * 3_600_000_000_000


def test_a_part_of_a_country_has_holidays_of_its_own():
    epiphany = dt.date(2026, 1, 6)  # a Tuesday; a holiday in Bavaria, not in all of Germany
    assert [len(planned(epiphany, epiphany, Calendar(shifts=(EARLY,), holidays=h))) for h in ("DE", "DE-BY")] == [1, 0]


def test_a_saturday_between_two_holidays_of_germany_is_worked_by_who_works_on_saturdays():
    calendar = Calendar(shifts=(EARLY,), weekdays=WEEKDAYS[:6], holidays="DE")
    found = planned(dt.date(2026, 4, 2), dt.date(2026, 4, 7), calendar, zone="Europe/Berlin")
    assert [f"{shift.date:%m-%d %a}" for shift in found] == ["04-02 Thu", "04-04 Sat", "04-07 Tue"]


def test_each_of_two_calendars_has_its_own_holidays():
    first = Calendar(shifts=(EARLY,), holidays="CN")
    second = Calendar(shifts=(LATE,))
    found = planned(dt.date(2025, 9, 30), dt.date(2025, 10, 1), first, second)
    assert [shift.label for shift in found] == ["2025-09-30 早班", "2025-09-30 中班", "2025-10-01 中班"]


def test_assets_of_the_same_calendars_share_what_was_expanded_once():
    plant = Plant(id="p", assets=(Asset(asset="a"), Asset(asset="b")), calendars=(Calendar(shifts=(EARLY,)),))
    first, second = (expand(plant, asset, 0, 10**15) for asset in ("a", "b"))
    assert len(first) == 12
    assert all(one is other for one, other in zip(first, second, strict=True))


def test_a_year_whose_make_up_days_are_not_known_yet_is_told_once(caplog):
    with caplog.at_level(logging.WARNING, "plantproof.calendar"):
        for _ in range(2):
            public_holidays.of_year("CN", 2060)
        public_holidays.of_year("CN", 2025)
        public_holidays.of_year("DE", 2060)  # moves no working days
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("calendar: holidays CN: the make-up days of 2060 are not known yet; write ")


@pytest.mark.parametrize(
    ("region", "hint"),
    [
        ("cn", "did you mean 'CN'?"),
        ("DE-BX", "'DE-BY'"),
        ("DE-by", "did you mean 'DE-BY'?"),
        ("CHN", "'CN'"),
        ("CN-31", "write CN: it has no parts here"),
        ("DE-", "did you mean 'DE'?"),
        ("Germany", "write a code of ISO 3166, such as CN, DE or DE-BY"),
    ],
)
def test_what_is_no_country_or_part_of_one_is_told_with_what_comes_near(region, hint):
    with pytest.raises(public_holidays.UnknownRegionError) as caught:
        public_holidays.of_year(region, 2026)
    assert hint in caught.value.hint


def test_without_the_library_a_kpi_s_planned_time_is_a_fault_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "holidays", None)
    with pytest.raises(ConfigError) as caught:
        worked(1997, Calendar(shifts=(EARLY,), holidays="CN"))
    (fault,) = caught.value.faults
    assert "plantproof[kpi]" in fault.hint


def test_a_plant_without_holidays_never_imports_their_library():
    code = (
        "import sys, datetime as dt, collector.agent, collector.commands, kpis.commands, kpis.facts\n"
        "from kpis.calendar import spans; from config.plant import *; from config.load import load_plant\n"
        "from importlib import resources\n"
        "load_plant(resources.files('config').joinpath('starter'))\n"
        "shift = Shift(name='day', start=dt.time(8), end=dt.time(16))\n"
        "spans(Plant(id='p', calendars=(Calendar(shifts=(shift,)),)), 'a', 0, 10**15)\n"
        "assert 'holidays' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.returncode == 0

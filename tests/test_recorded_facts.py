"""Facts of recorded machines: every nanosecond is accounted for, as the second opinion accounts for it."""

import datetime as dt

import polars as pl
import pytest

from config.plant import Asset, Break, Calendar, Plant, Point, Refinement, Shift
from config.schema import DURATIONS, ELEMENTS, SAMPLE
from config.status import BAD, GOOD
from kpis.facts import facts
from tests import oracle
from tests.recordings import okuma, shared_data, steel
from tests.test_facts_against_oracle import same, sums

DATA = shared_data()
pytestmark = pytest.mark.skipif(DATA is None, reason="the recordings are not beside the repository")

NS_PER_MINUTE = 60_000_000_000
SESSIONS = (1, 1390, 6328, 10605)  # first lines
ROLES = {"pexecution": "state", "pmode": "mode", "ppartcount": "total", "pprogram": "product"}
STATES = {
    "ACTIVE": "production", "READY": "idle", "PROGRAM_COMPLETED": "idle", "STOPPED": "delay", "INTERRUPTED": "delay",
}  # fmt: skip
AUTOMATIC = Refinement(element="production", mode_not=("AUTOMATIC", "SEMI_AUTOMATIC"), becomes="delay")


def samples(table):
    """SAMPLE rows of (ts, point, value as text); what is unavailable is bad."""
    number = pl.col("value").cast(pl.Float64, strict=False)
    lost = pl.col("value") == "UNAVAILABLE"
    columns = {
        "ts_recv": pl.col("ts"),
        "value": pl.when(~lost).then(number),
        "text": pl.when(number.is_null() & ~lost).then(pl.col("value")),
        "status": pl.when(lost).then(pl.lit(BAD)).otherwise(pl.lit(GOOD)),
    }
    return table.with_columns(**columns).select(pl.col(name).cast(kind) for name, kind in SAMPLE.items())


def accounted(plant, frame, start, end):
    """The facts of a window are the second opinion's, and its nanoseconds are in exactly one element each."""
    found = sums(facts(plant, frame, start, end))
    rows = list(frame.with_columns(pl.col("ts", "ts_recv").to_physical()).iter_rows())
    theirs = oracle.account(plant, "machine", rows, start, end)
    same(found, theirs, (start, end))
    assert sum(found[name] for name in DURATIONS) == end - start
    planned = [(b - a) for _, _, a, b, kind in oracle.planned(plant, "machine", start, end) if kind == "work"]
    assert sum(found[name] for name in ELEMENTS) == sum(planned)
    return found


@pytest.mark.parametrize("session", SESSIONS)
def test_every_nanosecond_of_a_lathes_session_is_in_one_element(session):
    recorded = okuma(DATA / "okuma.txt").filter((pl.col("session") == session) & pl.col("item").is_in(list(ROLES)))
    frame = samples(recorded.select("ts", "value", point="item"))
    start, end = frame["ts"].to_physical().min() - NS_PER_MINUTE, frame["ts"].to_physical().max() + NS_PER_MINUTE
    first = frame["ts"].min().time()
    pause = Break(start=first, end=(dt.datetime.combine(dt.date.min, first) + dt.timedelta(minutes=1)).time())
    round_the_clock = Shift(name="day", start=dt.time(0), end=dt.time(0), breaks=(pause,))
    plant = Plant(
        id="p",
        timezone="UTC",
        assets=(Asset(asset="machine", ideal_cycle=60.0),),
        points=tuple(Point(point=p, asset="machine", role=role, max_hold="30s") for p, role in ROLES.items()),
        calendars=(Calendar(shifts=(round_the_clock,)),),
        states={"default": STATES},
        refinements={"default": (AUTOMATIC,)},
        micro_stop="5s",
    )
    found = accounted(plant, frame, start, end)
    assert found["break"] == NS_PER_MINUTE
    assert found["unknown"] >= NS_PER_MINUTE - 30_000_000_000  # the minute after the last word, but for its hold


def test_every_nanosecond_of_a_steel_plants_month_is_in_one_element():
    month = steel(DATA / "steel.csv").head(31 * 96)
    table = month.select("ts", point=pl.lit("meter"), value=pl.col("meter").cast(pl.String))
    meter = Point(point="meter", asset="machine", role="energy.electricity", unit="kWh", max_hold="20min")
    weekdays = Calendar(
        weekdays=("mon", "tue", "wed", "thu", "fri"), shifts=(Shift(name="D", start=dt.time(6), end=dt.time(22)),)
    )
    plant = Plant(
        id="p", timezone="Asia/Seoul", assets=(Asset(asset="machine"),), points=(meter,), calendars=(weekdays,)
    )
    stamps = month["ts"].to_physical()
    found = accounted(plant, samples(table), stamps[0] - 7, stamps[-1] + NS_PER_MINUTE // 3)
    assert found["energy.electricity"] == (month["meter"][-1] - month["meter"][0]) * 1_000_000

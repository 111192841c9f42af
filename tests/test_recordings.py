"""The readers of the recorded data give the truths that its README knows."""

import datetime as dt
import zoneinfo

import numpy as np
import polars as pl
import pytest

from tests.recordings import OKUMA_SESSIONS, okuma, shared_data, steel

FOLDER = shared_data()
pytestmark = pytest.mark.skipif(FOLDER is None, reason="the recorded data is not beside the repository")

ACTIVE_NS = {1: 186_729_625_900, 1390: 604_962_678_600, 6328: 548_931_881_500, 10605: 16_751_898_200}
PART_COUNTS = {1: ["0", "1"], 1390: ["0", "1"], 6328: ["2", "3"], 10605: ["0", "1"]}


@pytest.fixture(scope="module")
def lines():
    return okuma(FOLDER / "okuma.txt")


@pytest.fixture(scope="module")
def meter():
    return steel(FOLDER / "steel.csv")


@pytest.mark.parametrize("session", OKUMA_SESSIONS)
def test_each_session_is_active_for_as_long_as_the_readme_says(lines, session):
    execution = lines.filter(session=session, item="pexecution").sort("ts")
    ts = execution["ts"].dt.epoch("ns").to_numpy()
    active = (execution["value"] == "ACTIVE").to_numpy()
    assert np.diff(ts)[active[:-1]].sum() == ACTIVE_NS[session]


@pytest.mark.parametrize("session", OKUMA_SESSIONS)
def test_each_session_counts_the_parts_that_the_readme_says(lines, session):
    counts = lines.filter(session=session, item="ppartcount").sort("ts", maintain_order=True)
    assert counts["value"].to_list() == PART_COUNTS[session]


def test_unavailable_stays_a_text_and_asset_blocks_leave_nothing(lines):
    assert "UNAVAILABLE" in lines["value"].to_list()
    assert not lines["item"].str.contains("[@<>*-]").any()
    assert lines.schema["ts"] == pl.Datetime("ns", "UTC")


def test_the_rows_stand_in_the_file_s_order_with_its_steps_back(lines):
    stamps = lines["ts"].dt.epoch("ns").to_numpy()
    assert lines["session"].is_sorted()
    assert (np.diff(stamps) < 0).sum() > 100


def test_the_steel_plant_used_what_the_readme_says(meter):
    assert meter.height == 35_040
    assert meter["meter"].max() == meter["meter"][-1] == 95_964_031


def test_the_steel_meter_s_intervals_have_no_gap_and_end_with_the_year(meter):
    assert (meter["ts"].diff().drop_nulls() == dt.timedelta(minutes=15)).all()
    assert meter["ts"][-1] == dt.datetime(2018, 12, 31, 15, tzinfo=dt.UTC)  # 00:00 of the new year in Seoul


def test_the_steel_plant_s_maximum_demand_and_load_factor_are_those_of_the_readme(meter):
    used = np.diff(meter["meter"].to_numpy(), prepend=0)
    peak = int(used.argmax())
    assert used[peak] * 4 == 62_872
    assert meter["ts"][peak] == dt.datetime(2018, 11, 22, 9, 45, tzinfo=zoneinfo.ZoneInfo("Asia/Seoul"))
    assert used.mean() / used[peak] == pytest.approx(0.17424, abs=5e-6)

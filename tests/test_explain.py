"""Why a figure is what it is: what is listed adds up to the facts, and a reader can do the sum by hand."""

import ast
import datetime as dt
import json
import operator
import re
import unicodedata
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from config import exits
from config.plant import Asset, Plant, Point, Swap
from config.schema import SAMPLE
from kpis.catalogue.bases import Bases
from kpis.catalogue.offers import kpis_of
from kpis.compute import Basis, Window, results
from kpis.demand import demand
from kpis.explain.choice import choose
from kpis.explain.events import counted_points, events
from kpis.explain.explanation import explain, histories
from kpis.explain.terms import arithmetic, formula_of, terms_of, values_of
from kpis.explain.text import WIDTH
from kpis.explain.unknown import status_name
from kpis.explain.view import longest_stops, to_data, unknown_spans
from kpis.explain.words import FLAGS, NEEDS, RULES
from kpis.facts import facts
from plantproof import cli
from tests.generated_plants import generate, to_frame

DOCS = Path(__file__).parents[1] / "docs"
MINUTE = 60_000_000_000
START = 1_763_596_800_000_000_000  # 2025-11-20T08:00:00+08:00
STATES = {"default": {"1": "production", "2": "setup", "3": "delay", "4": "idle", "5": "planned"}}
GOOD, NO_COMMUNICATION = 0, 0x8031_0000


def plant_of(*points, **keys):
    """A press with 10 minutes of hold a point; points: role, or role and what differs."""
    rows = [{"role": p} if isinstance(p, str) else p for p in points]
    table = tuple(Point(point=r["role"], asset="press", **({"max_hold": "10min"} | r)) for r in rows)
    known = {"assets": (Asset(asset="press", ideal_cycle=6),), "states": STATES, "points": table}
    return Plant(id="works", timezone="Asia/Shanghai", **(known | keys))


def samples(*rows):
    """SAMPLE rows of (minute, point, value or word, status)."""
    full = [(*row, GOOD)[:4] for row in rows]
    columns = {
        "point": [point for _, point, _, _ in full],
        "ts": [START + round(minute * MINUTE) for minute, _, _, _ in full],
        "value": [None if isinstance(v, str) else v for _, _, v, _ in full],
        "text": [v if isinstance(v, str) else None for _, _, v, _ in full],
        "status": [status for *_, status in full],
    }
    frame = pl.DataFrame(columns, schema_overrides={"value": pl.Float64, "text": pl.String})
    return frame.with_columns(ts_recv="ts").select(list(SAMPLE)).cast(pl.Schema(SAMPLE))


def every_minute(point, first, last, value):
    return [(minute, point, value(minute) if callable(value) else value) for minute in range(first, last)]


def explained(plant, frame, kpi, subject="press", minutes=(0, 60)):
    return explain(plant, *choose(plant, kpi, subject), frame, *(START + m * MINUTE for m in minutes))


def clock(moment):
    return moment.astimezone(dt.timezone(dt.timedelta(hours=8))).strftime("%H:%M")


OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def worked_out(line):
    """What a line of numbers, signs and units gives; a unit is the word behind its number."""
    bare = re.sub(r"(?<=\d) (?:[A-Za-z%][\w²/·]*)", "", line.replace(",", ""))
    tree = ast.parse(bare.replace("·", "*").replace("−", "-").strip(), mode="eval").body

    def of(node):
        match node:
            case ast.BinOp():
                return OPERATORS[type(node.op)](of(node.left), of(node.right))
            case ast.UnaryOp():
                return -of(node.operand)
            case ast.Constant():
                return node.value
        raise AssertionError(line)

    return of(tree)


@pytest.mark.parametrize("seed", range(30))
def test_what_is_listed_adds_up_to_the_facts(seed):
    plant, rows, start, end = generate(seed)
    frame = to_frame(rows)
    account = facts(plant, frame, start, end)
    for history in histories(plant, plant.assets, frame, start, end):
        mine = account.filter(asset=history.asset.asset).select(pl.exclude("shift", "product", "date"))
        sums = mine.select(pl.all().exclude("asset", "ideal_cycle", "hour", "start", "end").to_physical().sum()).row(
            0, named=True
        )
        stops, unknown = history.stops(), history.unknown()
        assert stops["counted"].dt.total_nanoseconds().sum() == sums["delay"]
        counted = stops.filter("counts")["micro"]
        assert ((~counted).sum(), counted.sum()) == (sums["stops"], sums["micro_stops"])
        assert stops.filter("micro")["counted"].dt.total_nanoseconds().sum() == sums["micro_stop"]
        assert unknown["counted"].dt.total_nanoseconds().sum() == sums["unknown"]
        unmapped = unknown.filter(cause="unmapped")["counted"].dt.total_nanoseconds().sum()
        assert unmapped == sums["unmapped"]
        listed = events(plant, counted_points(history.points), history.counters, start, end)
        for kind, column in (("reset", "resets"), ("gap_increment", "gap_steps"), ("refused_step", "refused_steps")):
            assert listed["kinds"].list.contains(kind).sum() == sums[column], kind


@pytest.mark.parametrize("seed", range(8))
def test_every_kpis_line_of_numbers_gives_its_value(seed):
    plant, rows, start, end = generate(seed)
    frame = to_frame(rows)
    basis = Basis(facts(plant, frame, start, end), demand(plant, frame, start, end))
    figures = {row["kpi"]: row for row in results(plant, basis, Window(start, end), [plant.id]).to_dicts()}
    bases = Bases(plant, basis.facts, basis.demand, start, end, "total")
    for row in figures.values():
        if row["value"] is not None:
            kpi, taken = choose(plant, row["kpi"], plant.id)
            line = arithmetic(formula_of(plant, kpi), values_of(terms_of(plant, kpi), bases.of(kpi, (taken,))))
            # Energy in coal and CO2 is rounded to a millionth.
            assert worked_out(line) == pytest.approx(row["value"], rel=1e-5, abs=1e-6), (kpi.id, line)


def shift_of_a_press():
    """An hour: 10 min setup, 30 min production of 5 pieces a minute (4 good), 8 min stop, 12 min without an order."""

    def state(m):
        return 2 if m < 10 else 1 if m < 40 else 3 if m < 48 else 4

    def made(m):
        return 5 * min(max(m - 10, 0), 30)

    rows = every_minute("state", 0, 61, state) + every_minute("total", 0, 61, made)
    return samples(*rows, *every_minute("good", 0, 61, lambda m: made(m) * 4 / 5))


def test_the_oee_of_an_hour_can_be_done_by_hand():
    found = explained(plant_of("state", "total", "good"), shift_of_a_press(), "oee")
    assert [(t["symbol"], t["value"], t["unit"]) for t in found.terms] == [
        ("Σ PRI·GQ", 120 * 6, "s"),  # 30 min · 4 good pieces of 6 s
        ("PBT", 3600, "s"),
    ]
    assert found.arithmetic == "720 s / 3,600 s"
    assert found.result["value"] == 0.2


@pytest.mark.parametrize(
    ("kpi", "line"),
    [
        ("availability", "1,800 s / 3,600 s"),
        ("effectiveness", "900 s / 1,800 s"),
        ("nee", "2,400 s · 720 s / 1,800 s / 3,600 s"),
        ("mtbf", "0.5 h / 1"),
        ("throughput", "150 / 0.8 h"),
        ("reject_quantity", "30"),
        ("loss_unscheduled", "1 h − 1 h"),
    ],
)
def test_a_formula_is_filled_in_with_the_units_that_give_the_value(kpi, line):
    found = explained(plant_of("state", "total", "good"), shift_of_a_press(), kpi)
    assert found.arithmetic == line
    assert worked_out(line) == pytest.approx(found.result["value"])


def test_stops_tell_their_whole_length_over_the_border_with_state_and_reason():
    rows = every_minute("state", -30, 100, lambda m: 3 if m < 10 or 20 <= m < 21 or m >= 55 else 1)
    rows += every_minute("reason", -30, 100, lambda m: "E17 料道堵塞" if -20 <= m < 10 else "0")
    found = explained(plant_of("state", "reason"), samples(*rows), "availability")
    told = longest_stops(found, 10)
    columns = ("begin", "end", "length", "counted", "micro", "from_before", "beyond", "state", "reason")
    hours = [(clock(b), clock(e), ln // 60, c // 60, *rest) for b, e, ln, c, *rest in told.select(
        "begin", "end", *(pl.col(n).dt.total_seconds() for n in ("length", "counted")), *columns[4:]
    ).iter_rows()]  # fmt: skip
    assert hours == [
        ("07:30", "08:10", 40, 10, False, True, False, "3", "E17 料道堵塞"),
        ("08:55", "09:49", 54, 5, False, False, True, "3", None),  # the last sample at 09:39 holds for 10 min
        ("08:20", "08:21", 1, 1, True, False, False, "3", None),
    ]
    assert longest_stops(found, 2).height == 2


@pytest.mark.parametrize(
    ("name", "rows", "cause", "told", "step"),
    [
        ("not yet", every_minute("state", 30, 70, 1), "no_sample", "no sample of state before", "agent"),
        (
            "silence",
            [*every_minute("state", 0, 11, 1), *every_minute("state", 50, 70, 1)],
            "hold_ran_out",
            "nothing came of state for longer than its max_hold of 600 s",
            "max_hold",
        ),
        (
            "link",
            [
                *every_minute("state", 0, 20, 1),
                (20, "state", None, NO_COMMUNICATION),
                *every_minute("state", 50, 70, 1),
            ],
            "status",
            "state had the status BadNoCommunication (0x80310000)",
            "the link or the source was down",
        ),
        (
            "doubt",
            [*every_minute("state", 0, 20, 1), (20, "state", 1, 0x4000_0000), *every_minute("state", 50, 70, 1)],
            "status",
            "state had the status Uncertain (0x40000000)",
            'uncertain = "good"',
        ),
        (
            "null",
            [*every_minute("state", 0, 20, 1), (20, "state", None), *every_minute("state", 50, 70, 1)],
            "no_value",
            "samples of state had no value",
            "points.csv",
        ),
        (
            "strange state",
            every_minute("state", 0, 70, lambda m: 1 if m < 20 or m >= 50 else 7),
            "unmapped",
            "state value '7' is not in the state map 'default'",
            'add "7" = ',
        ),
    ],
    ids=lambda v: v if isinstance(v, str) and " " not in v else "",
)
def test_unknown_time_has_its_cause_and_the_next_step(name, rows, cause, told, step):
    (row,) = unknown_spans(explained(plant_of("state"), samples(*rows), "availability"), 10).to_dicts()
    begin = {"not yet": "08:00"}.get(name, "08:20")
    end = {"not yet": "08:30"}.get(name, "08:50")
    assert (row["cause"], row["why"], clock(row["begin"]), clock(row["end"])) == (cause, told, begin, end)
    assert step in row["next_step"]


def test_a_hold_that_ran_out_before_the_link_was_known_to_be_lost_is_two_spans():
    rows = [(0, "state", 1), (30, "state", None, NO_COMMUNICATION), (31, "state", None, NO_COMMUNICATION)]
    spans = unknown_spans(explained(plant_of("state"), samples(*rows), "availability"), 10)
    assert [(r["cause"], clock(r["begin"]), clock(r["end"])) for r in spans.sort("begin").to_dicts()] == [
        ("hold_ran_out", "08:10", "08:30"),
        ("status", "08:30", "09:00"),
    ]


@pytest.mark.parametrize(
    ("plant", "cause"),
    [
        (plant_of("total", assets=(Asset(asset="press"),)), "no_ideal_cycle"),
        (plant_of("measure"), "no_state_point"),
    ],
)
def test_an_asset_of_which_nothing_tells_the_state_says_what_is_missing(plant, cause):
    (history,) = histories(plant, plant.assets, samples((0, "total", 1), (1, "total", 2)), START, START + 60 * MINUTE)
    assert history.unknown()["cause"].to_list() == [cause]


def test_a_status_without_a_name_is_told_by_its_number():
    assert status_name(0x80AA_0000) == "Bad, a status without a name here (0x80AA0000)"
    assert status_name(0x8031_0400) == "BadNoCommunication (0x80310400)"  # the lower bits are no other status


def test_resets_refused_steps_rollovers_swaps_and_gaps_say_what_they_counted_by_which_rule():
    plant = plant_of(
        "state", {"role": "total", "max_rate": 1}, {"role": "good", "modulus": 1000},
        {"role": "energy.gas", "unit": "m3"},
        swaps=(Swap(point="energy.gas", at="2025-11-20T08:05:30+08:00", last=52, first=3),),
    )  # fmt: skip
    rows = every_minute("state", 0, 61, 1)
    rows += [(0, "total", 100), (10, "total", 110), (11, "total", 4), (12, "total", 304), (13, "total", 305)]
    rows += [(0, "good", 990), (1, "good", 8), (30, "good", 9)]
    rows += [(5, "energy.gas", 50), (6, "energy.gas", 4)]
    found = explained(plant, samples(*rows), "quality_ratio")
    told = [
        (r["point"], clock(r["end"]), r["kinds"], r["before"], r["after"], r["counted"], r["refused"], r["rules"])
        for r in found.events.to_dicts()
    ]
    assert told == [
        ("good", "08:01", ["rollover"], 990, 8, 18, None, [10]),
        ("energy.gas", "08:06", ["swap"], 50, 4, 3, None, [26]),  # 52 - 50, and 4 - 3
        ("total", "08:11", ["reset"], 110, 4, 4, None, [10]),
        ("total", "08:12", ["refused_step"], 4, 304, 0, 300, [10]),
        ("good", "08:30", ["gap_increment"], 8, 9, 1, None, [11]),
    ]


def test_a_reset_that_the_machine_tells_is_one_of_rule_25():
    rows = [*every_minute("since_reset", 0, 20, lambda m: 60 * m if m < 10 else 60 * (m - 10))]
    rows += [*every_minute("total", 0, 20, lambda m: m if m < 10 else 20 + m), *every_minute("state", 0, 61, 1)]
    found = explained(plant_of("state", "total", "since_reset"), samples(*rows), "produced_quantity")
    assert [(r["kinds"], r["rules"], r["counted"]) for r in found.events.to_dicts()] == [(["reset"], [25], 30)]
    assert 25 in found.rules


def test_products_say_where_their_ideal_cycle_comes_from(tmp_path):
    plant = plant_of(
        "state", "total", "product", "ideal_cycle", products=[{"product": "A", "asset": "pr*", "ideal_cycle": 5}]
    )
    rows = every_minute("state", 0, 61, 1) + every_minute("total", 0, 61, lambda m: 2 * m)
    rows += [(0, "product", "A"), (20, "product", "B"), (40, "ideal_cycle", 4)]
    found = explained(plant, samples(*rows), "oee")
    told = found.products.select("product", "ideal_cycle", "source", "pieces", "production").rows()
    assert told == [
        ("A", 5, "products.csv", 40, 1200),
        ("B", 6, "assets.csv", 40, 1200),
        ("B", 4, "point ideal_cycle", 40, 1200),
    ]


def test_a_demand_tells_the_interval_of_the_peak_and_no_stops():
    plant = plant_of("state", {"role": "energy.electricity", "unit": "kWh"})

    def kwh(m):
        return m * 0.5 if m < 15 else 7.5 + (m - 15) * 2 if m < 30 else 37.5 + (m - 30) * 0.5

    found = explained(plant, samples(*every_minute("state", 0, 61, 3), *every_minute("energy.electricity", 0, 61, kwh)),
                      "maximum_demand")  # fmt: skip
    peak = found.demand.row(0, named=True)
    assert (clock(peak["start"]), clock(peak["end"]), peak["quantity"], peak["demand"]) == ("08:15", "08:30", 30, 120)
    assert found.result["value"] == 120
    assert found.arithmetic == "30 kWh / 0.25 h"
    assert found.stops.is_empty()
    assert found.elements.is_empty()


def test_unknown_time_of_an_energy_kpi_is_that_of_its_meter():
    plant = plant_of("state", {"role": "energy.electricity", "unit": "kWh"})
    rows = [
        *every_minute("state", 0, 61, 1),
        *every_minute("energy.electricity", 0, 11, 1),
        (50, "energy.electricity", 9),
    ]
    found = explained(plant, samples(*rows), "energy_consumption")
    (span,) = found.unknown.to_dicts()
    assert (span["point"], clock(span["begin"]), clock(span["end"])) == ("energy.electricity", "08:20", "08:50")
    assert found.result["coverage"] == 0.5  # and from 09:00 on


def test_where_there_is_no_value_the_reason_is_told():
    plant = plant_of("state", "total", "good")
    idle = samples(*every_minute("state", 0, 61, 4), *every_minute("total", 0, 61, 7), *every_minute("good", 0, 61, 7))
    assert to_data(explained(plant, idle, "quality_ratio"), 1)["no_value"] == "the denominator is 0 (rule 18)"
    rows = [*every_minute("state", 0, 61, 1), *every_minute("total", 0, 61, lambda m: m)]
    unclear = plant_of(
        "state", "total", "product", assets=(Asset(asset="press"),), products=[{"product": "A", "ideal_cycle": 5}]
    )
    told = to_data(explained(unclear, samples(*rows), "effectiveness"), 1)
    assert told["no_value"] == "nothing says Σ PRI·PQ (rules 13 and 18)"
    assert to_data(explained(plant, idle, "availability"), 1)["no_value"] is None


def test_a_groups_elements_are_told_by_asset_and_its_value_is_that_of_the_sums():
    assets = (Asset(asset="line/a", ideal_cycle=6), Asset(asset="line/b", ideal_cycle=6))
    points = tuple(Point(point=f"{a.asset}.state", asset=a.asset, role="state", max_hold="10min") for a in assets)
    plant = plant_of(assets=assets, points=points)
    rows = every_minute("line/a.state", 0, 61, 1) + every_minute("line/b.state", 0, 61, lambda m: 1 if m < 30 else 3)
    found = explained(plant, samples(*rows), "availability", "line")
    assert found.elements.select("asset", "production", "delay").rows() == [("line/a", 3600, 0), ("line/b", 1800, 1800)]
    assert found.arithmetic == "5,400 s / 7,200 s"
    assert found.result["value"] == 0.75
    assert found.shifts.select("shift", "planned_operation").rows() == [("2025-11-20 day", 7200)]
    assert 17 in found.rules


def test_an_unknown_kpi_is_refused_with_near_matches():
    with pytest.raises(LookupError, match=r"no KPI 'availabilty'; did you mean availability"):
        choose(plant_of("state"), "availabilty", "press")


@pytest.mark.parametrize(
    ("kpi", "told"),
    [
        ("oee", r"'press' lacks counts \(a point of role total, or both good and reject\)$"),
        ("energy_consumption", r"lacks energy.electricity \(a meter \(role energy.electricity\)"),
        ("maximum_demand.gas", r"lacks energy.gas"),
        ("apc_share", r"lacks apc \(a point of role apc\)"),
        ("line_oee_bottleneck", r"lacks counts"),
    ],
)
def test_a_kpi_that_an_asset_cannot_have_names_the_need_that_is_missing(kpi, told):
    with pytest.raises(LookupError, match=told):
        choose(plant_of("state"), kpi, "press")


def test_a_bottleneck_is_of_a_group():
    with pytest.raises(LookupError, match="is for a line"):
        choose(plant_of("state", "total"), "line_oee_bottleneck", "press")


def test_every_flag_need_and_rule_of_the_pages_has_its_sentence():
    names = (DOCS / "nomenclature.md").read_text("utf-8").partition("## Flags of results")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([^`]+)`", names, re.MULTILINE)) == FLAGS.keys()
    numbers = re.findall(r"^(\d+)\. ", (DOCS / "kpi-rules.md").read_text("utf-8"), re.MULTILINE)
    assert {int(n) for n in numbers} >= RULES.keys()
    needs = {need for kpi in kpis_of(plant_of("state")) for need in kpi.needs}
    assert {need for need in needs if "." not in need} <= NEEDS.keys()


FOLDER = """version = 1
[plant]
id = "works"
timezone = "Asia/Shanghai"
day_start = 08:00:00
[states.default]
"1" = "production"
"3" = "delay"
[[sink]]
kind = "parquet"
path = "lake"
"""
PERIOD = ("--from", "2025-11-20T08:00:00+08:00", "--to", "2025-11-20T10:00:00+08:00")


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "explain"  # a plant that is called as the verb
    place.mkdir()
    (place / "plant.toml").write_text(FOLDER, encoding="utf-8")
    (place / "assets.csv").write_text("asset,ideal_cycle\npress,6\n", encoding="utf-8")
    points = ("point,asset,role,max_hold", "state,press,state,10min", "total,press,total,10min")
    (place / "points.csv").write_text("\n".join(points), encoding="utf-8")
    lines = ["ts,point,value"]
    for minute in range(-60, 600):
        state = 3 if minute < 30 or minute >= 90 else 7 if 50 <= minute < 60 else 1
        lines += [f"{START + minute * MINUTE},state,{state}", f"{START + minute * MINUTE},total,{5 * minute + 300}"]
    (place / "day.csv").write_text("\n".join(lines), encoding="utf-8")
    return place


def run(*words):
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)


def test_kpi_goes_on_as_before_beside_its_verb(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    words = ("--samples", folder / "day.csv", *PERIOD, "--json")
    whole = run("kpi", folder, *words)
    assert whole.exit_code == exits.QUALITY
    assert run("kpi", "./explain", *words).stdout == whole.stdout
    assert run("kpi", *words, "./explain").stdout == whole.stdout  # options before the plant
    verb = run("kpi", "explain", "explain", "availability", "--samples", folder / "day.csv", *PERIOD)
    assert verb.stdout.startswith("Availability  可用率")
    assert run("kpi").exit_code == exits.USAGE
    assert "Usage: cli kpi explain [OPTIONS] PLANT KPI" in run("kpi", "explain").stderr


def test_the_json_has_every_part_and_the_figure_of_the_kpi_command(folder):
    words = (*PERIOD, "--samples", folder / "day.csv", "--json")
    told = run("kpi", "explain", folder, "availability", "--asset", "press", *words)
    assert told.exit_code == exits.QUALITY  # an unmapped state
    data = json.loads(told.stdout)
    figures = {r["kpi"]: r for r in json.loads(run("kpi", folder, "--asset", "press", *words).stdout)}
    assert data["result"] == figures["availability"]
    assert data["arithmetic"] == "3,000 s / 6,600 s"
    assert list(data) == [
        "kpi", "subject", "assets", "start", "end", "result", "no_value", "flags", "computed_as", "arithmetic", "terms",
        "elements", "shifts", "stops", "unknown", "events", "products", "demand", "rules",
    ]  # fmt: skip
    assert [f["flag"] for f in data["flags"]] == data["result"]["flags"]
    assert data["stops"] == {
        "count": 2,
        "counted": 3600.0,
        "listed": [
            {
                "asset": "press", "begin": "2025-11-20T09:30:00+08:00", "end": "2025-11-20T18:09:00+08:00",
                "length": 31140.0, "counted": 1800.0, "counts": True, "micro": False,
                "from_before": False, "beyond": True, "state": "3", "reason": None,
            },
            {
                "asset": "press", "begin": "2025-11-20T07:00:00+08:00", "end": "2025-11-20T08:30:00+08:00",
                "length": 5400.0, "counted": 1800.0, "counts": False, "micro": False,
                "from_before": True, "beyond": False, "state": "3", "reason": None,
            },
        ],
    }  # fmt: skip
    assert [u["said"] for u in data["unknown"]["listed"]] == ["7"]


def test_a_store_tells_the_same_as_the_file(folder):
    run("import", folder, folder / "day.csv")
    words = ("kpi", "explain", folder, "oee", *PERIOD, "--json")
    assert run(*words).stdout == run(*words, "--samples", folder / "day.csv").stdout


def test_the_text_has_the_line_of_numbers_and_its_columns_align_under_chinese(folder):
    told = run(
        "kpi", "explain", folder, "availability", "--asset", "press", *PERIOD, "--samples", folder / "day.csv"
    ).stdout
    lines = told.splitlines()
    assert "  = 3,000 s / 6,600 s" in [line.rstrip() for line in lines]
    assert max(columns_of(line) for line in lines) <= WIDTH
    rows = [
        line for line in lines if re.match(r"  (production|setup|unplanned|no order|planned down|break|outside)", line)
    ]
    assert len(rows) == 7
    assert len({columns_of(line[: line.index(" h ")]) for line in rows}) == 1
    assert "state value '7' is not in the state map 'default'" in " ".join(told.split())


def columns_of(text):
    """Columns that a terminal gives a text: two a Chinese sign."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


@pytest.mark.parametrize(
    ("words", "told"), [(("oe",), "did you mean oee"), (("oee", "--asset", "x"), "neither an asset")]
)
def test_what_cannot_be_explained_is_a_usage_error(folder, words, told):
    result = run("kpi", "explain", folder, *words, *PERIOD, "--samples", folder / "day.csv")
    assert result.exit_code == exits.USAGE
    assert told in result.stderr

"""The report: it asks nobody for anything, says what the figures say, and is the same bytes every time."""

import datetime as dt
import html.parser
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from config.load import load_plant
from config.schema import DURATIONS, SAMPLE, UTC_NS
from kpis.evidence.contents import Asked, Contents
from kpis.evidence.report import about, board, hours, numbers, render, terms, trend, without_charts
from kpis.evidence.report.charts import drawing, grids
from kpis.evidence.report.model import View
from kpis.evidence.report.trend import spans
from kpis.evidence.timeline import timeline_of
from kpis.evidence.traces import GAPS, TIMELINE
from kpis.explain.words import FLAGS, RULES
from kpis.extras import MissingExtraError
from kpis.indicators.base import percent
from kpis.indicators.case import Readings
from kpis.indicators.catalogue import INDICATORS
from kpis.indicators.input_names import input_name
from tests.assessed_plant import ASSETS
from tests.generated_plants import generate, to_frame
from tests.packaged_plant import contents_of, no_traces

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
START = 1_763_568_000_000_000_000  # 2025-11-20T00:00:00+08:00
DAYS = 3
HOSTILE = '"=1+2 <script>alert(1)</script>"'
ANSWERS = "sme-2024,q1,2+3,,赵工,2026-01-12,\n"

PLANT = """version = 1
[plant]
id = "works"
name = "江宁二厂"
timezone = "Asia/Shanghai"
[[calendar]]
shifts = [{ name = "全天", start = 00:00:00, end = 00:00:00 }]
[states.default]
"1" = "production"
"2" = "setup"
"3" = "delay"
"4" = "idle"
"""
STATES = ((0, 1), (40, 2), (45, 3), (55, 4))
"""Minute of each hour -> state: 40 min of production, 5 of setup, 10 of stop, 5 without an order."""


def working(folder: Path) -> Contents:
    """Three days of two machines whose hours are all alike; press2 is silent from 10 to 12 on the second day."""
    folder.mkdir()
    points = ["point,asset,role,source,address,unit,max_hold"]
    rows = []
    for asset in ("press1", "press2"):
        points += [f"{asset}.{role},{asset},{role},,,,16min" for role in ("state", "total", "reject")]
        points.append(f"{asset}.energy,{asset},energy.electricity,,,kWh,16min")
        for minute in range(0, DAYS * 24 * 60 + 1, 5):
            of_hour, hour = minute % 60, minute // 60
            if asset == "press2" and 24 + 10 <= minute / 60 < 24 + 12:
                continue
            made = hour * 240 + min(of_hour, 40) * 6
            state = max(at for at in STATES if at[0] <= of_hour)[1]
            values = {"state": state, "total": made, "reject": made // 20, "energy": minute / 10 + hour % 24}
            rows += [(f"{asset}.{role}", START + minute * 60 * SECOND, float(value)) for role, value in values.items()]
    (folder / "plant.toml").write_text(PLANT, encoding="utf-8")
    (folder / "assets.csv").write_text(
        f"asset,name,ideal_cycle,digital\npress1,1号冲压机,9,yes\npress2,{HOSTILE},9,yes\n", encoding="utf-8"
    )
    (folder / "points.csv").write_text("\n".join(points) + "\n", encoding="utf-8")
    plant = load_plant(folder)
    frame = pl.DataFrame(rows, schema=["point", "ts", "value"], orient="row")
    samples = frame.with_columns(
        pl.col("ts").cast(UTC_NS), ts_recv=pl.col("ts").cast(UTC_NS), text=pl.lit(None, pl.String), status=0
    ).select(pl.col(name).cast(kind) for name, kind in SAMPLE.items())
    period = (START, START + DAYS * 24 * HOUR)
    lost = (START + (24 + 9) * HOUR + (55 + 16) * 60 * SECOND, START + (24 + 12) * HOUR)
    gaps = pl.DataFrame([("press2", *lost, lost[1] - lost[0], "silent")], schema=list(GAPS), orient="row")
    traces = replace(
        no_traces(plant), samples=samples.height, gaps=gaps.cast(dict(GAPS)), extract_period=period,
        timeline=timeline_of(plant, samples, *period),
    )  # fmt: skip
    return Contents(plant=plant, asked=Asked(period=period, before=None), earlier=None, traces=traces,
                    now=Readings(plant, samples=samples).grounds(period))  # fmt: skip


@pytest.fixture(scope="module")
def assessed(tmp_path_factory) -> Contents:
    assets = ASSETS.replace("press1,1号冲压机", f"press1,{HOSTILE}")
    return contents_of(tmp_path_factory.mktemp("report") / "plant", assets=assets, answers=ANSWERS)


@pytest.fixture(scope="module")
def at_work(tmp_path_factory) -> Contents:
    return working(tmp_path_factory.mktemp("report") / "works")


@pytest.fixture(scope="module")
def pages(assessed, at_work) -> dict[tuple[str, str], str]:
    """The reports of both plants in both languages, with the charts of the one at work."""
    plants = {"assessed": assessed, "at work": at_work}
    return {(name, lang): render(of, lang, charts=of is at_work).decode() for name, of in plants.items()
            for lang in ("zh", "en")}  # fmt: skip


@pytest.fixture(scope="module")
def zh(pages) -> "Page":
    return Page(pages["assessed", "zh"])


@pytest.fixture(scope="module")
def en(pages) -> "Page":
    return Page(pages["assessed", "en"])


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: elements with their attributes, and the text of each section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.handle_data(" ")  # cells beside each other are words apart
        if tag == "section":
            self._open.append(dict(attrs)["id"])
            self.sections[self._open[-1]] = ""

    def handle_endtag(self, tag):
        if tag == "section":
            self._open.pop()

    def handle_data(self, data):
        for name in self._open:
            self.sections[name] += data

    def of(self, name: str) -> str:
        """The text of a section with single spaces."""
        return " ".join(self.sections[name].split())


def test_a_page_refers_to_nothing_outside_itself(pages):
    for text in pages.values():
        page = Page(text)
        assert {tag for tag, _ in page.elements} & {"script", "link", "img", "iframe", "object", "use"} == set()
        assert {value[0] for _, of in page.elements for name, value in of.items() if name == "href"} == {"#"}
        assert [of for _, of in page.elements if {"src", "srcset", "xlink:href", "action", "style"} & set(of)] == []
        assert [of for _, of in page.elements if any(name.startswith("on") for name in of)] == []
        assert "@import" not in text
        assert "http" not in re.sub(r'http-equiv="', "", text.partition("<body>")[0])
        assert {match[:1] for match in re.findall(r"url\(([^)]*)", text)} <= {"#"}


def test_a_page_forbids_its_browser_to_load_anything(pages):
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    for text in pages.values():
        metas = [of for tag, of in Page(text).elements if tag == "meta"]
        assert {"http-equiv": "Content-Security-Policy", "content": policy} in metas


def test_names_from_the_plant_are_text_never_markup(pages, zh):
    assert "=1+2 <script>alert(1)</script>" in zh.of("i-equipment_networking_rate")
    for text in pages.values():
        assert "<script" not in text
        assert "&lt;script&gt;alert(1)" in text


def test_ids_stand_once_and_each_link_leads_to_one(pages):
    for text in pages.values():
        page = Page(text)
        ids = Counter(of["id"] for _, of in page.elements if of.get("id"))
        assert [name for name, count in ids.items() if count > 1] == []
        links = {of["href"].removeprefix("#") for _, of in page.elements if of.get("href")}
        assert links <= set(ids)
        assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)


def test_two_renders_are_the_same_bytes(at_work, pages):
    assert render(at_work, "zh").decode() == pages["at work", "zh"]


def test_a_page_without_its_drawings_is_what_is_rendered_without_charts(at_work, pages):
    for lang in ("zh", "en"):
        bare = without_charts(pages["at work", lang].encode())
        assert bare == render(at_work, lang, charts=False)
        assert b"<svg" not in bare
        assert without_charts(bare) == bare


@pytest.mark.parametrize(
    "smuggled",
    ["<script>x</script>", "<foreignObject>x</foreignObject>", '<image href="x"/>', '<g onload="x"/>', "<p>x</p>",
     '<rect style="x"/>', "<svg><g/></svg>"],
)  # fmt: skip
def test_a_drawing_that_holds_more_than_a_drawing_is_not_taken_for_one(smuggled):
    plain = '<p>a</p><svg id="c1" width="1"><title>t</title><g><path d="M0,0"/></g></svg><p>b</p>'
    assert without_charts(plain.encode()) == b"<p>a</p><!--drawing 1--><p>b</p>"
    assert smuggled in without_charts(plain.replace("<g>", f"<g>{smuggled}").encode()).decode()


def test_a_drawing_too_many_or_too_few_shows_where_pages_are_compared(at_work, pages):
    bare, page = render(at_work, "zh", charts=False), pages["at work", "zh"]
    assert without_charts(page.replace("</main>", '<svg id="c99"><g/></svg></main>').encode()) != bare
    assert without_charts(re.sub("<svg.*?</svg>", "", page, count=1, flags=re.DOTALL).encode()) != bare


def test_bytes_that_are_no_text_stay_where_they_are():
    assert without_charts(b'\xff<svg id="c1"><g/></svg>\xc3') == b"\xff<!--drawing 1-->\xc3"


def test_each_drawing_says_in_words_what_it_shows(pages):
    for text in (pages["at work", "zh"], pages["at work", "en"]):
        drawings = re.findall(r"<svg [^>]*><title>[^<]*</title>", text)
        assert len(drawings) == text.count("<svg")
        assert all('role="img"' in one and len(re.search(r'aria-label="([^"]*)"', one)[1]) > 5 for one in drawings)


def test_a_plant_at_work_has_every_kind_of_chart(pages):
    page = Page(pages["at work", "zh"])
    drawn = {"waterfall", "pareto", "assets", "timeline", "heat", "load-electricity", "board", "i-oee"}
    assert {name for name in drawn if page.sections.get(name)} == drawn
    assert pages["at work", "zh"].count("<svg") == 13
    assert len(pages["at work", "zh"]) < 1_000_000


def test_each_indicator_has_its_page_with_definition_line_and_members(assessed, zh, en):
    mine = [one for one in assessed.figures if one.subject == "works"]
    assert len(mine) > 25
    for one in mine:
        for page in (zh, en):
            text = page.of(f"i-{one.indicator.id}")
            assert one.indicator.title_zh in text
            assert one.rule in text
            for line, words in one.indicator.cites:
                assert " ".join(words.split()) in text
                assert f"第 {line} 行" in text or f"line {line}" in text
            for member in one.amount.members:
                assert f" {member.id} " in text
                assert member.reason.zh in text or member.reason.en in text


def test_values_on_the_pages_are_those_of_the_figures(assessed, zh, en):
    mine = [one for one in assessed.figures if one.subject == "works" and one.value is not None]
    for one in mine:
        told = f"{percent(one.value)} %" if one.indicator.unit == "1" else numbers.amount(one.value)
        for page in (zh, en):
            assert told in page.of(f"i-{one.indicator.id}")
            assert told in page.of("summary")


def test_a_rate_is_shown_step_by_step(zh, en):
    page = zh.of("i-equipment_networking_rate")
    assert "n = 4 台 (已证实联网的生产设备) N = 10 台 (生产设备总数) 4 / 10 = 0.4" in page
    assert "× 100 %: = 40 % → 40.00 % (四舍五入，仅舍入一次)" in page
    assert "12 行：计入 10 行，其中满足 4 行；不计入 2 行" in page
    assert "1 / 3 ≈ 0.333333 × 100 %: ≈ 33.333333 % → 33.33 %" in en.of("i-key_process_nc_rate")


def test_comprehensive_energy_is_shown_medium_by_medium(zh):
    """310 万kWh and 1.5 万m³ of blast-furnace gas: 380.99 + 1.929 = 382.919 tce."""
    page = zh.of("i-comprehensive_energy")
    assert "+ 高炉煤气: 1.5 万立方米 × 1.286 = 1.929 吨标准煤 + 电力: 310 万千瓦时 × 1.229 = 380.99 吨标准煤" in page
    assert "382.919 吨标准煤 → 382.919 吨标准煤" in page
    assert "王能源, 2026-01-10" in page


def test_what_is_not_known_is_a_dash_and_says_what_to_do(zh, en):
    assert "未填报；请在 business.csv 中增加期间为 2025 的一行" in zh.of("i-labour_productivity")
    assert re.match(r"[\d.]+ 全员劳动生产率 – n / N –", zh.of("i-labour_productivity"))
    assert "output_value of 2025 is not declared" in en.of("i-labour_productivity")


def test_the_period_before_stands_beside_and_says_the_change(zh, en):
    assert "变化：减少" in zh.of("i-product_nonconforming_rate") or "变化：降低" in zh.of(
        "i-product_nonconforming_rate"
    )
    assert "change: down -2.00 points (better)" in en.of("i-product_nonconforming_rate")
    assert "2024-01-01 00:00 to 2025-01-01 00:00 (Asia/Shanghai)" in en.of("i-product_nonconforming_rate")


def test_the_cover_says_whose_word_it_is_and_what_is_not_proven(zh, en):
    assert "台账的当前内容未经审批" in zh.of("about")
    assert "不能证明 PLC 测得准确" in zh.of("proof")
    assert "40.03 % (35,064 h / 87,600 h) of the planned time of 10 devices" in en.of("about")


def test_each_item_of_a_rubric_stands_with_its_status_and_line(assessed, zh):
    for held in assessed.assessments:
        page = zh.of(f"r-{held.rubric.id}")
        for one in (*held.items, *held.scenes):
            assert f"L{one.of.line}" in page
            assert one.of.title in page
    assert "赵工 2026-01-12 填报" in zh.of("r-sme-2024")


def test_every_package_file_is_named_and_three_commands_check_it(zh):
    page = zh.of("check")
    assert "sha256sum -c manifest-sha256.txt" in page
    assert page.count("plantproof evidence verify") == 2
    assert "data/facts.parquet" in page


def test_the_waterfall_ends_at_the_numerator_of_oee(at_work, pages):
    """Two machines, 72 h each, 1.817 h of it unknown; of each hour 228 good pieces of 9 s are 34.2 minutes."""
    page = Page(pages["at work", "en"]).of("waterfall")
    kpis = {row["kpi"]: row["value"] for row in at_work.kpis.filter(pl.col("subject") == "works").iter_rows(named=True)}
    assert "Calendar time 144 – 100.00 %" in page
    assert f"Fully productive time {numbers.amount(kpis['fully_productive_time'], 2)}" in page
    assert numbers.share(kpis["oee"]) in page


def test_days_of_a_trend_come_to_the_whole(at_work):
    parts = trend._parts(trend._Same(at_work))
    whole = next(one for one in at_work.figures if one.indicator.id == "oee" and one.subject == "works")
    days = [of.amount for _, of in parts["oee"]]
    assert [label for label, _ in parts["oee"]] == ["2025-11-20", "2025-11-21", "2025-11-22"]
    assert sum(of.numerator for of in days) == whole.amount.numerator
    assert sum(of.denominator for of in days) == whole.amount.denominator


def test_a_long_period_is_told_by_months_that_meet(assessed):
    listed = list(spans(assessed.now))
    assert [label for label, _, _ in listed] == [f"2025-{month:02}" for month in range(1, 13)]
    assert [a[1][1] for a in listed[:-1]] == [b[1][0] for b in listed[1:]]
    assert (listed[0][1][0], listed[-1][1][1]) == assessed.asked.period


def test_the_board_shows_the_share_of_planned_time_without_gaps(at_work):
    """press2 was silent for 2 h, and its last sample, of 09:55, held for 16 min: 109 of 1,440 minutes are lost."""
    view = View(at_work, "en")
    edges = np.array([START + day * 24 * HOUR for day in range(DAYS + 1)])
    press1, press2 = at_work.plant.assets
    assert board.shares(view, press1, edges) == [1.0, 1.0, 1.0]
    assert board.shares(view, press2, edges) == [1.0, 1331 / 1440, 1.0]
    row = at_work.now.devices.filter(pl.col("asset") == "press2").row(0, named=True)
    assert row["planned_ns"] - row["evidenced_ns"] == 109 * 60 * SECOND


def test_the_gap_list_names_the_longest_and_says_how_many_more_there_are(at_work):
    gap = 60 * SECOND
    many = pl.DataFrame(
        [("press1", START + n * HOUR, START + n * HOUR + n * gap, n * gap, "silent") for n in range(1, 56)],
        schema=list(GAPS), orient="row",
    ).cast(dict(GAPS))  # fmt: skip
    contents = Contents(plant=at_work.plant, asked=at_work.asked, now=at_work.now, earlier=None,
                        traces=replace(at_work.traces, gaps=many))  # fmt: skip
    page = Page(render(contents, "en", charts=False).decode()).of("gaps")
    assert "1 press1 1号冲压机 2025-11-22 07:00:00 2025-11-22 07:55:00 0:55:00 0:55:00 silent: no rows came" in page
    assert "55 gaps of devices that have points; the 50 that took the most planned time." in page
    assert "5 more stand in gaps.csv." in page


def test_hours_of_the_heat_map_come_to_production_over_busy_time(at_work, pages):
    cells, by_hour = hours._sums(View(at_work, "zh"), at_work.now.facts)
    assert cells.height == DAYS * 24
    assert Fraction(int(by_hour["made"].sum()), int(by_hour["busy"].sum())) == pytest.approx(40 / 60, abs=0.005)
    assert "00:00–01:00 66.67 % 4.00 / 6.00 100.00 %" in Page(pages["at work", "en"]).of("heat")


def test_steps_of_a_field_begin_at_their_border():
    assert [grids.steps(share) for share in (0, 0.249, 0.25, 0.5, 0.75, 0.9, 1)] == [0, 0, 1, 2, 3, 4, 4]
    assert grids.step_names() == ["0–25 %", "25–50 %", "50–75 %", "75–90 %", "90–100 %"]


def test_a_long_timeline_is_drawn_in_few_spans_that_leave_nothing_out():
    """A day of one second of stop in each ten: production is most of every quarter of an hour."""
    edges = [START + n * 5 * SECOND for n in range(17_281)]
    rows = [
        ("press1", a, a + s, e)
        for a in edges[:-1:2]
        for a, s, e in ((a, 9 * SECOND, "production"), (a + 9 * SECOND, SECOND, "delay"))
    ]
    long = pl.DataFrame(rows, schema=list(TIMELINE), orient="row").cast(dict(TIMELINE))
    assert hours._shown(long, START) == ([("press1", START, START + 24 * HOUR, "production")], True)
    assert hours._shown(long.head(10), START)[1] is False


@pytest.mark.parametrize(("before_s", "first"), [(0.3, "01:00"), (300, "01:00"), (1500, "00:35")])
def test_a_timeline_that_begins_shortly_before_an_hour_is_drawn_and_names_the_hour(at_work, before_s, first):
    start, end = START + HOUR - int(before_s * SECOND), START + 4 * HOUR
    contents = replace(at_work, traces=replace(at_work.traces, extract_period=(start, end)))
    view = View(contents, "en")
    assert hours._ticks(view)[0][1] == first
    (chart,) = (block for block in hours._timeline(view).blocks if hasattr(block, "spec"))
    assert "03:00" in drawing._drawn(json.dumps(chart.spec()))


def test_two_ticks_of_one_second_are_drawn_as_one():
    names = {element: said.en for element, said in terms.ELEMENTS.items()}
    spec = grids.timeline([("a", 0.0, 25.0, "production")], names, [(0.0, "07:59"), (0.3, "08:00")], ["a"], "time")
    assert "08:00" in drawing._drawn(json.dumps(spec))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0"), (Fraction(1, 3), "0.3333"), (1234567, "1,234,567"), (Fraction(-12345, 10), "-1,234.5"),
     (Fraction(1, 10**6), "0.000001"), (Fraction(5, 10**5), "0.0001"), (Fraction(-1, 2), "-0.5")],
)  # fmt: skip
def test_an_amount_is_rounded_once_and_a_little_is_never_nothing(value, shown):
    assert numbers.amount(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (Fraction(117, 150), "78.00 %"), (Fraction(1, 8000), "0.01 %"), (12, "1,200.00 %")],
)
def test_a_share_is_a_percentage_with_two_decimals(value, shown):
    assert numbers.share(value) == shown


def test_durations_and_instants_are_by_the_plants_clock(at_work):
    assert numbers.length(26 * HOUR + 65 * SECOND) == "26:01:05"
    assert numbers.hours(90 * 60 * SECOND) == "1.50"
    assert numbers.instant(at_work.plant, START) == "2025-11-20 00:00"
    assert numbers.instant(at_work.plant, dt.datetime(2025, 11, 20, 4, tzinfo=dt.UTC)) == "2025-11-20 12:00"


def test_everything_that_the_code_says_in_english_has_chinese_words(assessed, at_work):
    assert set(terms.ELEMENTS) == set(DURATIONS)
    assert set(about.RULES_ZH) == set(RULES)
    assert {one.id for one in INDICATORS} == set(about.NOT_THIS)
    inputs = {of.name for contents in (assessed, at_work) for one in contents.figures for of in one.amount.inputs}
    assert [name for name in inputs if not re.search("[一-鿿]", input_name(name, "zh"))] == []
    flags = {flag for contents in (assessed, at_work) for one in contents.figures for flag in one.amount.flags}
    told = {flag: terms.flag(flag, "zh") for flag in {*FLAGS, *flags}}
    assert [flag for flag, words in told.items() if not re.search("[一-鿿]", words)] == []
    assert [flag for flag in flags if terms.flag(flag, "en") == flag] == []


@pytest.mark.parametrize("seed", range(8))
def test_any_plant_has_a_report_in_both_languages(tmp_path, seed):
    made, rows, start, end = generate(seed)
    plant, samples = made.model_copy(update={"root": tmp_path}), to_frame(rows)
    traces = replace(no_traces(plant), extract_period=(start, end), timeline=timeline_of(plant, samples, start, end))
    contents = Contents(plant=plant, asked=Asked(period=(start, end), before=None), earlier=None, traces=traces,
                        now=Readings(plant, samples=samples).grounds((start, end)))  # fmt: skip
    for lang in ("zh", "en"):
        page = Page(render(contents, lang, charts=False).decode())
        assert {"about", "summary", "i-equipment_networking_rate", "work", "gaps", "points"} <= set(page.sections)
        assert not re.search(r"\b(None|nan|inf|Fraction|Said)\b", " ".join(page.sections.values()))


def test_charts_and_templates_are_loaded_only_when_a_report_is_made():
    code = "import sys, kpis.evidence.report; print({'altair', 'vl_convert', 'jinja2'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout == "set()\n"
    )


def test_a_missing_library_is_told_with_what_to_install(at_work, monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(
        MissingExtraError,
        match=re.escape('altair is not installed, and charts need it; install it with: pip install "plantproof[kpi]"'),
    ):
        drawing.altair()


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run", "--disable-default-apps", "--no-pings", "--enable-logging=stderr",
         "--host-resolver-rules=MAP * ~NOTFOUND")  # fmt: skip
EMPTY = "<!DOCTYPE html><title>nothing</title>"


def opened(folder: Path, name: str, text: str) -> tuple[set[str], list[str], str]:
    """Hosts that a browser asked for, what its console said, and the page as it read it; no network is there."""
    page, log = folder / f"{name}.html", folder / f"{name}.json"
    page.write_text(text, encoding="utf-8")
    command = [
        CHROMIUM,
        *QUIET,
        f"--user-data-dir={folder / name}",
        f"--log-net-log={log}",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    urls = {str(event["params"]["url"]) for event in events if "url" in event.get("params", {})}
    return (
        {url.split("/")[2] for url in urls if url.startswith("http")},
        re.findall("CONSOLE.*", done.stderr),
        done.stdout,
    )


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_opens_it_from_a_file_without_a_request_or_an_error(tmp_path, pages):
    own, _, _ = opened(tmp_path, "empty", EMPTY)  # what the browser asks for by itself
    bad, said, _ = opened(tmp_path, "bad", f'{EMPTY}<img src="https://example.org/a.png"><script>nothing()</script>')
    assert "example.org" in bad - own
    assert said
    for lang in ("zh", "en"):
        asked, said, read = opened(tmp_path, lang, pages["at work", lang])
        assert asked - own == set()
        assert said == []
        assert read.count("<svg") == pages["at work", lang].count("<svg")

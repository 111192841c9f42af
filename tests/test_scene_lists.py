"""Lists of scenes, and Jiangsu's index and grades: complete, without holes, and in agreement with each other."""

import re
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from config.rubrics import Rubric, Scene, load_rubric

LISTS = ("scenes-2024", "scenes-2025", "jiangsu-scenes-2025")
TITLES_THAT_DIFFER = {
    10: (("人机协同制造", 2014), ("人机协同作业", 1663)),
    32: (("工业信息安全管控", 2047), ("工业信息安全监管", 1783)),
    37: (("研产供销深度集成", 2054), ("研产供销服深度集成", 1807)),
}
"""Number in Jiangsu's list -> its title and line there, and in the list of 2024."""
OTHER_WAY_ROUND = {20: 21, 21: 20, 29: 30, 30: 29}
"""Number in Jiangsu's list -> number in the list of 2024, where the two differ."""
DROPPED = {37: "研产供销服深度集成", 39: "全员数字化管理", 40: "可持续制造"}
"""Scenes of 2024 that no scene of 2025 continues, by our reading."""


def numbered(name: str) -> dict[int, Scene]:
    return {scene.number: scene for scene in load_rubric(name).scenes}


def lines_of(rubric: Rubric) -> list[str]:
    """The lines of the rubric's text, the first one at index 1; the test skips where the text is missing."""
    path = Path(__file__).resolve().parents[2] / "shared" / "policy" / rubric.text_file
    if not path.is_file():
        pytest.skip("the text of the policies does not lie beside the repository")
    return ["", *path.read_text(encoding="utf-8").split("\n")]


@pytest.mark.parametrize("name", LISTS)
def test_a_list_has_40_scenes_numbered_without_holes_under_titles_of_their_own(name: str):
    scenes = load_rubric(name).scenes
    assert [scene.number for scene in scenes] == list(range(1, 41))
    assert [scene.id for scene in scenes] == [f"s{number}" for number in range(1, 41)]
    for what in ("title", "title_en"):
        assert len({getattr(scene, what) for scene in scenes}) == 40


@pytest.mark.parametrize("name", ["scenes-2024", "scenes-2025"])
def test_a_national_scene_holds_all_words_from_its_heading_to_the_next(name: str):
    rubric = load_rubric(name)
    lines = lines_of(rubric)
    heads = [scene.line for scene in rubric.scenes]
    for scene, after in zip(rubric.scenes, [*heads[1:], None], strict=True):
        head, *words = scene.cites
        assert lines[head.line] == f"{scene.number}. {scene.title}"
        body = lines[head.line + 1 : after] if after else lines[head.line + 1 : scene.cites[-1].line + 1]
        assert [cite.words for cite in words] == [t for t in body if t and not re.match("[一二三四五六七八九十]+、", t)]
        assert words[-1].words.endswith("。")


@pytest.mark.parametrize("name", ["scenes-2024", "scenes-2025"])
def test_a_national_scene_stands_under_the_heading_of_its_stage(name: str):
    rubric = load_rubric(name)
    lines = lines_of(rubric)
    for scene in rubric.scenes:
        above = (lines[line] for line in range(scene.line, 0, -1))
        heading = next(t for t in above if re.match("[一二三四五六七八九十]+、", t))
        assert heading.partition("、")[2].removesuffix("环节") == scene.stage


def test_jiangsus_titles_are_those_of_2024_but_for_three():
    old = numbered("scenes-2024")
    differing = {}
    for number, scene in numbered("jiangsu-scenes-2025").items():
        (continued,) = scene.of_2024
        assert continued == OTHER_WAY_ROUND.get(number, number)
        if scene.title != old[continued].title:
            was = old[continued]
            differing[number] = ((scene.title, scene.line), (was.title, was.line))
        assert scene.mapping == ("renamed" if number in differing else "same")
    assert differing == TITLES_THAT_DIFFER


def test_jiangsus_stages_are_those_of_2024_but_for_one_word():
    old = numbered("scenes-2024")
    stages = {(scene.stage, old[scene.of_2024[0]].stage) for scene in load_rubric("jiangsu-scenes-2025").scenes}
    assert {pair for pair in stages if pair[0] != pair[1]} == {("环保管控", "环保管理")}


def test_a_grade_that_the_table_marks_with_a_slash_is_left_out():
    scenes = numbered("jiangsu-scenes-2025")
    described = {number: "".join(str(one.level) for one in scene.levels) for number, scene in scenes.items()}
    assert {n for n, levels in described.items() if levels == "234"} == {1, 2, 4, 8, 11, 23, 39}
    assert {n for n, levels in described.items() if levels == "34"} == {28, 29, 34, 35, 36, 37, 38, 40}
    assert set(described.values()) == {"1234", "234", "34"}


def test_no_word_of_jiangsus_table_is_lost_or_in_another_column():
    rubric = load_rubric("jiangsu-scenes-2025")
    lines = lines_of(rubric)
    cited: dict[int, dict[int, str]] = {}
    for scene in rubric.scenes:
        for level in scene.levels:
            for cite in level.cites:
                cited.setdefault(cite.line, {})[level.level] = cite.words
    for line in (line for line in range(2001, 2060) if lines[line]):
        columns = re.sub("</?p>", "", lines[line]).split("\t")[-4:]
        assert cited[line] == {level: words for level, words in enumerate(columns, 1) if words not in ("", "/")}


def test_each_scene_of_2024_goes_on_in_2025_or_is_dropped():
    old = numbered("scenes-2024")
    continued = {number for scene in load_rubric("scenes-2025").scenes for number in scene.of_2024}
    assert continued <= set(old)
    assert {number: old[number].title for number in set(old) - continued} == DROPPED


def test_a_mapping_says_how_many_scenes_of_2024_go_on_and_under_which_title():
    old = numbered("scenes-2024")
    scenes = load_rubric("scenes-2025").scenes
    continuing = {n: [s.number for s in scenes if n in s.of_2024] for n in old}
    for scene in scenes:
        same = [old[number].title == scene.title for number in scene.of_2024]
        shared = any(len(continuing[number]) > 1 for number in scene.of_2024)
        said = {0: "new", 1: "part" if shared else "same" if any(same) else "renamed"}
        assert scene.mapping == said.get(len(same), "merged"), scene.title


def test_the_indexs_points_run_from_0_to_100_without_a_gap():
    bands = load_rubric("jiangsu-index-2025").bands
    assert (bands[0].level, bands[0].low, bands[0].high) == (1, 0, 0)
    assert all(low.high == high.low for low, high in pairwise(bands))
    assert bands[-1].high == 100
    assert [band.low for band in bands if band.low_open] == [0]


@pytest.mark.parametrize("level", [2, 3, 4, 5, 6])
def test_a_level_of_20_points_is_divided_into_7_7_and_6(level: int):
    bands = [band for band in load_rubric("jiangsu-index-2025").bands if band.level == level]
    assert [band.fit for band in bands] == ["基本符合", "比较符合", "非常符合"]
    assert [band.high - band.low for band in bands] == [7, 7, 6]
    assert bands[0].low == 20 * (level - 2)


def test_the_index_has_ten_items_of_six_levels_but_for_the_one_without_a_rule():
    items = load_rubric("jiangsu-index-2025").items
    assert [item.number for item in items] == list(range(1, 11))
    assert [len(item.options) for item in items] == [6, 6, 6, 6, 6, 6, 0, 6, 6, 6]
    assert [item.number for item in items if item.answer == "none"] == [7]
    assert [item.number for item in items if item.not_involved] == [1, 5, 6]


def test_the_index_asks_for_an_nc_rate_above_30_and_a_networking_rate_of_50_or_more():
    items = load_rubric("jiangsu-index-2025").items
    checks = [(i.number, n, o.check) for i in items for n, o in enumerate(i.options, 1) if o.check]
    assert [(item, level, c.indicator, c.op, c.percent) for item, level, c in checks] == [
        (2, 2, "key_process_nc_rate", ">", 30),
        (2, 3, "equipment_networking_rate", ">=", 50),
    ]


@pytest.mark.parametrize(
    ("grade", "scenes", "maturity", "scores", "segments"),
    [
        ("basic", 8, 2, [60, 60], 1),
        ("advanced", 15, 2, [60, 70], 3),
        ("excellent", 20, 3, [60, 80], 5),
        ("leading", 25, 4, [60, 90], 5),
    ],
)
def test_a_grade_of_jiangsu_asks_for_scenes_maturity_points_and_segments(
    grade: str, scenes: int, maturity: int, scores: list[int], segments: int
):
    (asked,) = (g for g in load_rubric("jiangsu-grades-2025").grades if g.id == grade)
    of: dict[str, list[tuple[str, Decimal | None]]] = {}
    for condition in asked.conditions:
        of.setdefault(condition.kind, []).append((condition.op, condition.value))
    assert of["scenes"] == [(">=", scenes)]
    assert of["maturity"] == [(">=", maturity)]
    assert of["score"] == [(">", score) for score in scores]
    assert [len(c.segments) for c in asked.conditions if c.kind == "segments"] == [segments]
    assert len(of["declared"]) == 4 + 5


def test_every_box_of_the_indexs_table_is_a_level_or_says_not_involved():
    rubric = load_rubric("jiangsu-index-2025")
    lines = lines_of(rubric)
    table = re.sub("</?p>", "", "\t".join(lines[1937:1953]))
    boxes = [box.partition("\t")[0].strip() for box in re.split('<input type="checkbox"/>|□', table)[1:]]
    levels = [f"{number}.{o.text}" for i in rubric.items for number, o in enumerate(i.options, 1)]
    assert [re.sub(r"^(\d)\. ?", r"\1.", box) for box in boxes if box != "不涉及此环节。"] == levels
    assert boxes.count("不涉及此环节。") == sum(item.not_involved for item in rubric.items) == 3


def test_no_paragraph_of_jiangsus_conditions_is_left_out():
    rubric = load_rubric("jiangsu-grades-2025")
    lines = lines_of(rubric)
    entries = [*rubric.rules, *rubric.grades, *(c for grade in rubric.grades for c in grade.conditions)]
    cited = sorted({(cite.line, cite.words) for entry in entries for cite in entry.cites})
    for number in range(1829, 1904):
        left = re.sub(r"^\d\. |^[一二三四五]、", "", lines[number])
        for words in (words for line, words in cited if line == number):
            left = left.replace(words, "")
        assert re.sub("企业参考|《自评价参考》|[,，。]", "", left) in {"", "基础要求"}, (number, left)

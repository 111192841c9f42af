"""Every citation of every rubric against the text, letter by letter, and what the rubrics must add up to."""

import re
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from config.fields import Model
from config.rubrics import Cite, Entry, Grade, Item, Rubric, Rule, Scene, Target, load_rubric, rubric_ids

DOC = Path(__file__).parents[1] / "docs" / "rubrics.md"
POLICY = Path(__file__).resolve().parents[2] / "shared" / "policy"
BOX = '<input type="checkbox"/>'
MARKUP = re.compile(r"[\t\n□]|\*\*|</?\w+[^>]*>|^\s|\s$")
LEVELS = "一二三四"
EXCLUSIVE = re.compile("高于|大于")

every_rubric = pytest.mark.parametrize("name", rubric_ids())


class Texts(dict):
    """Lines of the texts by their file's name, read when they are asked for."""

    def __missing__(self, name):
        self[name] = (POLICY / name).read_text("utf-8").split("\n")
        return self[name]


@pytest.fixture(scope="module")
def texts():
    if not POLICY.is_dir():
        pytest.skip("the policy texts are not beside the repository")
    return Texts()


def walk(model, text_file, where):
    """Each model inside a model, itself first, as (where, model, the text that it cites)."""
    text_file = getattr(model, "text_file", "") or text_file
    yield where, model, text_file
    for key in type(model).model_fields:
        value = getattr(model, key)
        for number, child in enumerate(value if isinstance(value, tuple) else (value,), 1):
            if isinstance(child, Model):
                yield from walk(child, text_file, f"{where}.{key}[{number}]")


def everything(rubric, kind):
    return [(w, m, text) for w, m, text in walk(rubric, rubric.text_file, rubric.id) if isinstance(m, kind)]


def misquoted(rubric, texts):
    """What is wrong with a rubric's citations, one sentence each."""
    found = [f"{where} cites nothing" for where, entry, _ in everything(rubric, Entry) if not entry.cites]
    for where, cite, text in everything(rubric, Cite):
        lines = texts[text]
        line = lines[cite.line - 1] if cite.line <= len(lines) else ""
        if cite.words not in line:
            found.append(f"{where}: line {cite.line} of {text} does not say {cite.words!r}")
    return found


def packed(text):
    """A text without blanks: the compendium has stray ones."""
    return re.sub(r"\s", "", text)


def line_of(texts, number):
    return texts["jiangsu-policy-compendium-2025.txt"][number - 1]


def cited(rubric):
    """The words that a rubric cites, by line."""
    found = {}
    for _, cite, _ in everything(rubric, Cite):
        found.setdefault(cite.line, []).append(cite.words)
    return found


def of_one_rule(words, line=2):
    return Rubric(id="r", kind="kpis", title="一", title_en="one", year=2025, text_file="t", cites=[[1, "一"]],
                  rules=[{"id": "x", "cites": [[line, words]]}])  # fmt: skip


def test_a_changed_word_a_moved_line_and_a_line_past_the_end_are_found():
    text = {"t": ["一", "设备联网率：指联网设备占设备总数的比重", "二"]}
    assert misquoted(of_one_rule("联网设备占设备总数的比重"), text) == []
    assert misquoted(of_one_rule("联网设备占数字化设备总数的比重"), text) == [
        "r.rules[1].cites[1]: line 2 of t does not say '联网设备占数字化设备总数的比重'"
    ]
    assert misquoted(of_one_rule("联网设备占设备总数的比重", line=3), text)
    assert misquoted(of_one_rule("联网设备占设备总数的比重", line=4), text)
    assert misquoted(of_one_rule("设备联网率:"), text), "a half-width colon is no full-width one"


def test_cites_are_found_in_every_corner_of_a_rubric():
    # a weight's cite, an option's, a level's, a condition's, a target's in its own text
    cites = [[1, "错"]]
    item = Item(id="q", number=1, title="一", title_en="one", evidence="d", cites=cites, weights=[50],
                weight_cites=cites, options=[{"cites": cites}])  # fmt: skip
    scene = Scene(id="s", number=1, title="一", title_en="one", cites=cites, levels=[{"level": 1, "cites": cites}])
    conditions = [{"id": "c", "kind": "declared", "cites": cites}]
    grade = Grade(id="g", number=1, title="一", title_en="one", cites=cites, conditions=conditions)
    keys = {"title": "一", "title_en": "one", "year": 2025, "cites": cites}
    target = Target(indicator="i", percent=1, text_file="other", **keys)
    whole = Rubric(id="r", kind="kpis", text_file="t", items=[item], scenes=[scene], grades=[grade],
                   targets=[target], **keys)  # fmt: skip
    told = [sentence.split(" does")[0] for sentence in misquoted(whole, {"t": ["对"], "other": ["对"]})]
    assert told == [
        "r.cites[1]: line 1 of t",
        "r.items[1].cites[1]: line 1 of t",
        "r.items[1].options[1].cites[1]: line 1 of t",
        "r.items[1].weight_cites[1]: line 1 of t",
        "r.scenes[1].cites[1]: line 1 of t",
        "r.scenes[1].levels[1].cites[1]: line 1 of t",
        "r.grades[1].cites[1]: line 1 of t",
        "r.grades[1].conditions[1].cites[1]: line 1 of t",
        "r.targets[1].cites[1]: line 1 of other",
    ]


@pytest.mark.parametrize("cites", [[], [[0, "一"]], [[1, ""]], [["一", 1]]])
def test_an_entry_without_a_line_or_without_words_is_refused(cites):
    with pytest.raises(ValidationError):
        Rule(id="x", cites=cites)


def test_the_national_rubrics_are_there():
    assert {"sme-2024", "factory-kpis-2025", "factory-grades-2025", "targets"} <= set(rubric_ids())


@every_rubric
def test_every_citation_stands_on_its_line(name, texts):
    assert misquoted(load_rubric(name), texts) == []


@every_rubric
def test_words_are_cited_without_markup_and_without_blanks_around_them(name):
    assert [where for where, cite, _ in everything(load_rubric(name), Cite) if MARKUP.search(cite.words)] == []


@every_rubric
def test_titles_stand_on_a_cited_line(name, texts):
    rubric = load_rubric(name)
    entries = [e for e in everything(rubric, (Item, Scene, Grade, Target)) if not getattr(e[1], "secondary", False)]
    if rubric.kind != "targets":  # goals of several documents; the title is ours
        entries.append((rubric.id, rubric, rubric.text_file))
    for where, entry, text in entries:
        lines = [texts[text][cite.line - 1] for cite in entry.cites]
        assert any(packed(entry.title) in packed(line) for line in [*lines, entry.text]), (where, entry.title)


@every_rubric
def test_a_rubric_is_named_as_its_file_and_cites_its_number(name):
    rubric = load_rubric(name)
    assert rubric.id == name
    assert packed(rubric.number) in packed(rubric.text)


@every_rubric
def test_numbers_run_without_holes_and_ids_are_unique(name):
    rubric = load_rubric(name)
    for group in (rubric.items, rubric.scenes, rubric.grades):
        assert [one.number for one in group] == list(range(1, len(group) + 1))
    for scene in rubric.scenes:
        assert [one.level for one in scene.levels] == sorted({one.level for one in scene.levels}), scene.id
    in_grades = [sorted({c.id for c in grade.conditions}) for grade in rubric.grades]
    assert [len(ids) for ids in in_grades] == [len(grade.conditions) for grade in rubric.grades]
    groups = (rubric.items, rubric.scenes, rubric.grades, rubric.rules)
    ids = [one.id for group in groups for one in group] + sorted({one for ids in in_grades for one in ids})
    assert [one for one, count in Counter(ids).items() if count > 1] == []


@every_rubric
def test_a_condition_with_one_id_in_several_grades_says_the_same_in_all_of_them(name):
    said = {}
    for grade in load_rubric(name).grades:
        for condition in grade.conditions:
            if condition.value is None:  # one answer is for all; a figure is compared in each
                assert said.setdefault(condition.id, condition.cites) == condition.cites, condition.id


@every_rubric
def test_figures_stand_in_the_words_that_they_come_from(name):
    rubric = load_rubric(name)
    for item in rubric.items:
        assert len(item.weights) == len(item.weight_cites), item.id
        pairs = zip(item.weights, item.weight_cites, strict=True)
        assert all(cite.words.endswith(f" {weight}%") for weight, cite in pairs), item.id
        assert item.unit in item.text, item.id
        for option in item.options:
            assert option.segment in option.text, item.id
            if option.check is not None:
                assert f"{option.check.percent}%" in packed(option.text), item.id
                assert (option.check.op == ">") == bool(EXCLUSIVE.search(option.text)), item.id
    for grade in rubric.grades:
        for condition in grade.conditions:
            wanted = condition.value
            level = f"{LEVELS[int(wanted) - 1]}级" if condition.kind == "maturity" else str(wanted or "")
            assert level in condition.text, (grade.id, condition.id)
            if wanted is not None:
                assert (condition.op == ">") == bool(EXCLUSIVE.search(condition.text)), (grade.id, condition.id)
    for target in rubric.targets:
        assert re.search(rf"(?<!\d){target.percent} ?%", target.text), target.title
        assert str(target.year) in target.text, target.title


@every_rubric
def test_bands_begin_at_0_end_at_100_and_follow_each_other(name):
    for item in load_rubric(name).items:
        banded = [option for option in item.options if option.upto is not None]
        if not banded:
            assert all(option.over is None for option in item.options), item.id
            continue
        assert len(banded) == len(item.options), item.id
        assert [option.over for option in banded] == [None, *(option.upto for option in banded[:-1])], item.id
        assert banded[-1].upto == 100, item.id
        for option in banded:
            edges = [Decimal(number) for number in re.findall(r"\d+", option.text)]
            assert edges == [option.over or 0, option.upto], item.id


def test_the_weights_of_the_questionnaire_sum_to_100():
    points = {i.id: i.weights[0] * i.weights[1] * i.weights[2] / 10_000 for i in load_rubric("sme-2024").items}
    assert sum(points.values()) == 100
    assert points["q1"] == Decimal(8)  # 50 % x 40 % x 40 %
    assert points["q4"] == Decimal(10)  # 50 % x 20 % x 100 %
    assert points["q11"] == Decimal("7.5")  # 30 % x 50 % x 50 %
    assert points["q14"] == points["q15"] == Decimal(3)  # 20 % x 30 % x 50 %


def test_every_box_of_the_questionnaire_is_an_option(texts):
    rubric = load_rubric("sme-2024")
    asked = "\n".join(line_of(texts, number) for number in range(1321, 1340))
    boxes = [re.split(r" 具体数|\t| 企业上年|\n", words, maxsplit=1)[0].strip() for words in asked.split(BOX)[1:]]
    assert [option.text for item in rubric.items for option in item.options] == boxes
    kinds = re.findall(r"\t([单多])选$", asked, re.MULTILINE)
    assert [item.answer for item in rubric.items] == [{"单": "single", "多": "multiple"}[kind] for kind in kinds]


def test_a_choice_of_several_begins_with_none_and_a_choice_of_one_has_3_5_or_6_options():
    for item in load_rubric("sme-2024").items:
        if item.answer == "multiple":
            assert item.options[0].text == "无", item.id
        else:
            assert len(item.options) in {3, 5, 6}, item.id


def test_the_first_option_of_a_change_is_the_worse_one():
    changes = {item.id: (item.change, item.options[0].text) for item in load_rubric("sme-2024").items if item.change}
    worse = {"up": "降低", "down": "增加"}
    assert {name: worse[change] for name, (change, _) in changes.items()} == {n: t for n, (_, t) in changes.items()}
    assert sorted(changes) == ["q12", "q13", "q14", "q15"]


def test_data_are_collected_from_the_14_segments_that_the_text_defines_or_from_none(texts):
    none, *segments = load_rubric("sme-2024").item("q4").options
    defined = re.fullmatch(r"业务环节：指(.*)等环节。", line_of(texts, 1429))[1].split("、")
    assert none.text == "无"
    assert none.segment == ""
    assert [option.segment for option in segments] == [option.text for option in segments] == defined
    assert len(defined) == 14
    assert [option.segment for option in segments if option.proof] == [
        "生产管控", "质量管理", "设备管理", "安全生产", "能耗管理"
    ]  # fmt: skip


def test_16_scenes_of_which_10_are_binding_stand_under_the_stages_of_the_text(texts):
    scenes = load_rubric("sme-2024").scenes
    names = line_of(texts, 1299).split("\t")[1:]
    assert [scene.title + "*" * scene.binding for scene in scenes] == names
    assert sum(scene.binding for scene in scenes) == int(re.search(r"共计 (\d+) 项", line_of(texts, 1301))[1]) == 10
    assert len(scenes) == 16
    heads = line_of(texts, 1298).split("\t")[1:]
    heads += [""] * (len(names) - len(heads))
    under = [next(head for head in reversed(heads[: place + 1]) if head) for place in range(len(names))]
    assert [scene.stage for scene in scenes] == under


def test_every_cell_of_the_table_of_scenes_is_cited_under_its_level(texts):
    rubric = load_rubric("sme-2024")
    words = {(c.line, c.words): one.level for scene in rubric.scenes for one in scene.levels for c in one.cites}
    known = {scene.stage for scene in rubric.scenes} | {cite.words for scene in rubric.scenes for cite in scene.cites}
    cells = {
        (number, cell): column - 1
        for number in range(1353, 1374)
        for column, cell in enumerate(line_of(texts, number).split("\t"))
        if cell and cell not in known
    }
    assert words == cells
    assert [len(scene.levels) for scene in rubric.scenes] == [4] * 16


def test_a_level_of_the_questionnaire_asks_for_the_figures_of_its_row():
    for grade in load_rubric("sme-2024").grades:
        _, points, scenes = (cite.words for cite in grade.cites)
        assert points == f"≥{grade.points} 分"
        assert scenes == (f"不少于 {grade.scenes} 个应用场景（其中不少于 {grade.binding} 个约束性场景）"
                          f"等级需达到{LEVELS[grade.scene_level - 1]}级")  # fmt: skip
        assert grade.title == f"{LEVELS[grade.number - 1]}级"


def test_every_term_that_the_questionnaire_defines_is_a_rule_with_its_words(texts):
    lines = [line_of(texts, number).replace("**", "") for number in range(1381, 1436)]
    terms = [term for line in lines for term in re.findall(r"(?:^|。)([\u4e00-\u9fff]+)：(?:是?指|企业)", line)]
    rules = load_rubric("sme-2024").rules
    assert [rule.term for rule in rules if rule.text.startswith(f"{rule.term}：")] == terms
    assert len(terms) == 10


def test_every_row_of_the_table_of_indicators_is_an_item_under_its_class(texts):
    rows = [line_of(texts, number).split("\t") for number in range(847, 873)]
    group, expected = "", []
    for first, second in rows:
        group = second if first.startswith("(") else group
        expected += [] if first.startswith("(") else [(int(first), second, group)]
    items = load_rubric("factory-kpis-2025").items
    assert [(item.number, f"{item.title} ({item.unit})", item.group) for item in items] == expected
    assert len(items) == 21
    assert {item.answer for item in items} == {"number"}


def test_an_indicator_that_is_to_rise_or_fall_says_so_in_its_name():
    for item in load_rubric("factory-kpis-2025").items:
        endings = {"up": ("提升",), "down": ("下降", "降低"), "": ("",)}[item.change]
        assert item.title.endswith(endings), item.id
        rises = item.title.endswith(("提升", "下降", "降低"))
        assert not (item.indicator and rises and not item.change), item.id


def test_no_paragraph_of_the_conditions_of_smart_factories_is_left_out(texts):
    words = cited(load_rubric("factory-grades-2025"))
    for number in range(706, 827):
        text = re.sub(r"^\d\. ", "", line_of(texts, number))
        heading = re.match(r"[一二三四五]、|（[一二]）", text)
        left = text
        for cite in sorted(words.get(number, []), key=len, reverse=True):
            left = left.replace(cite, "")
        frame = ("鼓励企业参考《智能制造典型场景参考指引（2025年版）》，", "，其中", "，", "。", ";", "；")
        for one in frame:
            left = left.replace(one, "")
        assert heading or not left, (number, left)


def test_grades_of_smart_factories_ask_for_more_and_more():
    grades = load_rubric("factory-grades-2025").grades
    of_kind = {kind: [[c for c in grade.conditions if c.kind == kind] for grade in grades] for kind in (
        "maturity", "segments", "kpi", "ai_share"
    )}  # fmt: skip
    assert [[c.value for c in found] for found in of_kind["maturity"]] == [[2], [2], [3], [4]]
    assert [[len(c.segments) for c in found] for found in of_kind["segments"]] == [[1], [3], [5], [5]]
    assert [len(found) for found in of_kind["kpi"]] == [1, 1, 1, 1]
    assert [[c.value for c in found] for found in of_kind["ai_share"]] == [[], [], [20], [60]]
    assert [grade.title for grade in grades] == ["基础级", "先进级", "卓越级", "领航级"]


def test_a_target_out_of_a_digest_is_marked():
    targets = load_rubric("targets").targets
    assert [target.secondary for target in targets] == [bool(target.text_file) for target in targets]
    found = {(t.indicator, t.percent, t.year, t.secondary) for t in targets}
    nc = "key_process_nc_rate"
    assert found == {(nc, 75, 2027, False), (nc, 68, 2025, True), (nc, 65, 2024, True)}


def test_every_rubric_and_every_condition_has_its_row_in_the_docs():
    rows = {name for line in DOC.read_text("utf-8").splitlines() if line.startswith("| `")
            for name in re.findall(r"`([^`]+)`", line.split("|")[1])}  # fmt: skip
    assert set(rubric_ids()) <= rows
    conditions = {
        condition.id.replace(f"{grade.id}-", "…-", 1)
        for name in rubric_ids()
        for grade in load_rubric(name).grades
        for condition in grade.conditions
    }
    assert conditions <= rows

"""Faults of a configuration in Chinese: every text has its Chinese, and a plant's people read no English sentence."""

import datetime as dt
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from collector.commands import faults_of
from config import chinese, exits, public_holidays
from config.faults import ConfigError, Fault
from config.load import TABLES, load_plant
from plantproof import cli
from tests.fault_texts import MODULES, ROOT, Texts

CASES = ROOT / "tests" / "cases"
AT_FAULT = [*sorted((CASES / "config").iterdir()), *sorted((CASES / "modbus").glob("error-*"))]
READ = CASES / "chinese" / "what-is-read"
FILE = tomllib.loads((ROOT / "config" / "chinese.toml").read_text(encoding="utf-8"))
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|\$\{[^}]*\}|\[\[?[^\]]*\]\]?|\([^)]*\)")
NAMES = (
    "OPC UA",
    "JSON Pointer",
    "CSV UTF",
    "plantproof browse",
    "plantproof init",
    "pip install",
    "influx bucket create",
    "HTTP",
    "Node Control",
)
"""Names and commands that are the same in both languages."""
PLANTPROOF = (sys.executable, "-m", "plantproof")


def plain(english: str) -> str:
    return chinese.HOLE.sub("{}", english)


def is_sentence(text: str) -> bool:
    """Whether a template has words that follow each other, and is no list of values."""
    return re.search(r"\b[a-z]+ [a-z({]", text) is not None


def english_left(text: str) -> list[str]:
    """What of a Chinese text is English: words that follow each other, outside of quotes and brackets."""
    bare = QUOTED.sub("", text)
    for name in NAMES:
        bare = bare.replace(name, "")
    return re.findall(r"[A-Za-z]+(?: [A-Za-z]+)+", bare)


def faults(plant: Path) -> list[Fault]:
    try:
        return faults_of(load_plant(plant))
    except ConfigError as error:
        return [*error.faults, *(faults_of(error.plant) if error.plant is not None else ())]


def check(plant: Path, *words: str, **environment: str):
    return CliRunner(env=environment).invoke(cli, ["check", str(plant), *words])


TEXTS = {text: path for path in MODULES for text in Texts(path)}
"""Every text that a fault may be made of, and a module that has it."""


def test_every_text_of_a_fault_has_its_chinese():
    known = {plain(english) for english in FILE["texts"]}
    missing = [(path.name, text) for text, path in TEXTS.items() if is_sentence(text) and text not in known]
    assert missing == []
    assert len(TEXTS) > 300  # the walk over the syntax trees does find them


def test_every_text_comes_out_in_chinese_with_what_is_filled_in_and_so_do_its_rule_and_next_step_alone():
    left = []
    for text in filter(is_sentence, TEXTS):
        filled = text.replace("{}", "'x'")
        rule, _, step = filled.partition("; ")  # as a validator's error is told apart
        said = {part: chinese.of_text(part) for part in (filled, *((rule, step) if step else ()))}
        left += [(part, told) for part, told in said.items() if english_left(told)]
        assert chinese.of_text(filled).count("'x'") >= text.count("{}"), text
    assert left == []


def test_no_entry_is_of_a_text_that_there_is_not():
    assert [english for english in FILE["texts"] if plain(english) not in TEXTS] == []


def test_everything_that_a_fault_is_about_has_its_chinese_and_no_other():
    named = {word for _, _, key in TABLES.values() for word in key[:1]}  # a row is called by its key
    named |= {"date", "source", "sink", "business_source"}  # as are those of calendars, and the lists of plant.toml
    about = {text for path in MODULES for text in Texts(path).things()} | named | {f"{word} {{}}" for word in named}
    assert [text for text in about if is_sentence(text) and text not in FILE["things"]] == []
    assert [text for text in FILE["things"] if plain(text) not in about] == []


@pytest.mark.parametrize("section", FILE)
def test_an_entry_has_the_same_holes_in_both_languages(section):
    for english, told in FILE[section].items():
        own, other = chinese.HOLE.findall(english), chinese.HOLE.findall(told)
        if any(mark.isdigit() for mark in other):
            assert sorted(other) == [str(n) for n in range(len(own))], english
        else:
            assert other == own, english
        assert re.search("[\u4e00-\u9fff\uff00-\uffef]", told) or told == english, english


@pytest.mark.parametrize("case", AT_FAULT, ids=lambda case: case.name)
def test_no_english_sentence_remains_in_the_faults_of_a_case(case):
    found = faults(case)
    assert found
    for fault in found:
        said = chinese.of_fault(fault)
        assert english_left(said) == [], said
        assert said.count("：") >= 2, said


def test_check_speaks_chinese_and_counts_the_faults():
    result = check(CASES / "config" / "ten-faults", "--lang", "zh")
    expected = (CASES / "config" / "ten-faults" / "expected.zh.txt").read_text(encoding="utf-8")
    assert result.stdout == expected
    assert result.stderr == "共 10 处错误\n"
    assert result.exit_code == exits.CONFIG


def test_the_environment_says_the_language_where_the_command_line_does_not():
    case = CASES / "config" / "ten-faults"
    assert check(case, PLANTPROOF_LANG="zh").stdout == check(case, "--lang", "zh").stdout
    assert check(case, "--lang", "en", PLANTPROOF_LANG="zh").stdout == check(case).stdout
    wrong = check(case, PLANTPROOF_LANG="fr")
    assert wrong.exit_code == exits.USAGE
    assert "PLANTPROOF_LANG" in wrong.stderr


@pytest.mark.parametrize(
    ("words", "language"),
    [
        (("indicators", "--from", "2026-01-01", "--to", "2026-01-02", "--lang", "zh"), ""),
        (("indicators", "--from", "2026-01-01", "--to", "2026-01-02", "--lang=zh"), "en"),
        (("indicators", "--from", "2026-01-01", "--to", "2026-01-02"), "zh"),
        (("serve", "--lang", "zh"), ""),
        (("echo",), "zh"),
    ],
)
def test_a_verb_that_the_faults_keep_from_its_work_tells_them_in_the_language_it_was_asked_in(words, language):
    case = CASES / "config" / "ten-faults"
    told = {**os.environ, "PLANTPROOF_LANG": language or "en", "PYTHONUTF8": "1"}
    command = [*PLANTPROOF, words[0], str(case), *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=told)
    assert done.returncode == exits.CONFIG
    assert done.stderr == (case / "expected.zh.txt").read_text(encoding="utf-8")


def test_doctor_tells_the_first_fault_in_chinese():
    result = CliRunner().invoke(cli, ["doctor", str(CASES / "config" / "ten-faults"), "--lang", "zh"])
    assert "10 处错误，第一处：plant.toml 第 6 行 plant.timezone：" in result.stdout
    assert "did you mean" not in result.stdout


def test_json_has_rule_and_next_step_in_both_languages_whatever_is_asked_for():
    case = CASES / "config" / "ten-faults"
    told = json.loads(check(case, "--json").stdout)
    assert told == json.loads(check(case, "--json", "--lang", "zh").stdout)
    english = (case / "expected.txt").read_text(encoding="utf-8").splitlines()
    both = (case / "expected.zh.txt").read_text(encoding="utf-8").splitlines()
    for fault, en, zh in zip(told, english, both, strict=True):
        assert en.endswith(f": {fault['rule']}; {fault['hint']}")
        assert zh.endswith(f"：{fault['rule_zh']}；{fault['hint_zh']}")


def test_what_will_be_read_is_told_in_chinese_and_addresses_stay():
    english, told = check(READ, "--reads"), check(READ, "--reads", "--lang", "zh")
    assert told.exit_code == exits.DONE
    assert told.stderr == "提示：数据源 spare 没有点位；请在 points.csv 的 source 列填写它\n"
    for en, zh in zip(english.stdout.splitlines(), told.stdout.splitlines(), strict=True):
        if en.startswith(("      p.", "      c.")):
            assert zh == en
        else:
            assert english_left(zh) == [], zh
    assert told.stdout == (READ / "expected.zh.txt").read_text(encoding="utf-8")


LATER = dt.datetime.now(dt.UTC).year + 50
"""A year of which nobody has announced the holidays."""
OF_YEAR = public_holidays.of_year.__wrapped__


def test_a_warning_of_holidays_is_told_in_chinese(tmp_path, monkeypatch):
    shutil.copytree(READ, tmp_path, dirs_exist_ok=True)
    with (tmp_path / "plant.toml").open("a") as file:
        file.write('[[calendar]]\nholidays = "CN"\nshifts = [{ name = "a", start = 08:00:00, end = 16:00:00 }]\n')
    monkeypatch.setattr(public_holidays, "of_year", lambda region, _: OF_YEAR(region, LATER))
    assert f"日历：holidays CN：{LATER} 年的调休安排尚未公布；请把放假" in check(tmp_path, "--lang", "zh").stderr
    assert "日历" not in check(tmp_path).stderr


def test_check_prints_every_line_that_has_an_entry(caplog):
    plants = [CASES / "config" / "ten-faults", CASES / "modbus" / "error-type-unknown", READ]
    printed = "".join(check(plant, "--reads").output for plant in plants)
    OF_YEAR("CN", LATER)
    printed += caplog.text
    patterns = {english: ".*?".join(map(re.escape, re.split(r"\{\*?\}", english))) for english in FILE["printed"]}
    assert [english for english, one in patterns.items() if not re.search(f"{one}(?![a-z])", printed)] == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("did you mean 'is missing'?", "是否应为 'is missing'？"),  # what is filled in is nobody's sentence
        ("has a key of a, or b; c", "写了只用于 a, or b; c 的键"),
        ("address 'a: b; write c': it is no node id", "地址 'a: b; write c'：不是节点标识"),
        ("write 'a', 'b' or 'c'", "请写 'a', 'b' 或 'c'"),
        ("nobody wrote this yet", "nobody wrote this yet"),  # better English than nothing
        ("has 3 rows for asset m", "设备 m 有 3 行，重复"),
    ],
)
def test_what_is_filled_in_is_carried_over_as_it_is(text, told):
    assert chinese.of_text(text) == told


@pytest.mark.parametrize(
    "text", ["address a: " * 3000, "url : : " * 3000, "'a' " * 5000, " takes  registers, and unit " * 2000]
)
def test_a_text_of_any_length_is_looked_up_at_once(text):
    before = time.perf_counter()
    chinese.of_text(text)
    assert time.perf_counter() - before < 5  # a search that backtracks takes hours


def test_a_fault_in_chinese_is_one_line_that_no_terminal_obeys():
    fault = Fault("points.csv:3 column role", "point a\x1b[2J", "b\nc", "is unknown", "write it")
    assert chinese.of_fault(fault) == "points.csv 第 3 行 role 列：点位 a\\x1b[2J 'b\\nc'：无法识别；请填写"

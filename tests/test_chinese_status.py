"""`status` and `test` in Chinese: the lines that a plant's IT reads, and a Chinese word for each English one."""

import ast
import json
import re
import time
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from collector import status_words, trial_words
from collector.ledger import Ledger
from collector.status import ReloadStatus, SinkStatus, SourceStatus, Status
from config import chinese, exits
from plantproof import cli
from tests.connection_texts import MODULES, Words
from tests.test_chinese import english_left, is_sentence, plain
from tests.test_docs import DOCS, ROOT, rows, section, tables

SPOKEN = {
    "status_words": (status_words.WORDS, ("status_commands", "watch")),
    "trial_words": (trial_words.WORDS, ("trial_commands",)),
}
"""Words, and the modules that say them."""
BEGINNINGS = ("head", "of")
"""Words that functions make up of a beginning and one of their arguments."""


def run(*words: object, **environment: str):
    return CliRunner(env=environment).invoke(cli, [*map(str, words)])


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """A plant whose agent told everything that status has a line for."""
    (tmp_path / "plant.toml").write_text('version = 1\n[plant]\nid = "works"\n', encoding="utf-8")
    (tmp_path / "assets.csv").write_text("asset\npress\n", encoding="utf-8")
    (tmp_path / "points.csv").write_text("point,asset\n", encoding="utf-8")
    status = Status(agent="gw1", plant="works")
    coverage = {"configured": 9, "monitored": 8, "fresh": 2, "not_fresh": ["x", "y"]}
    bus = {"bus_time": 0.3, "requests_a_cycle": 9, "requests_per_s": 4.5, "request_ms": 12.0, "longest_ms": 80.0}
    messages = {"messages": 70, "topics": 8, "unread_messages": 2, "waiting": 1}
    status.sources = {
        "meters": SourceStatus(kind="modbus", points=9, expect_ns=1, state="connected", rows=7, coverage=coverage,
                               link=bus | {"polls_missed": 3}, flags={"retained": 1}, filled=20,
                               warnings=["x\x1b[2J", "the server's clock is 3.0 s ahead"]),
        "三号线": SourceStatus(kind="mqtt", points=1, expect_ns=1, state="lost", link=messages,
                              error="no MQTT connection to b:1883 within 5 s"),
        "new": SourceStatus(kind="opcua", points=1, expect_ns=1),
        "vault": SourceStatus(kind="opcua", points=1, expect_ns=1, state="refused", error="source vault: a\x1b[2J"),
    }  # fmt: skip
    status.sinks = {
        "lake": SinkStatus(kind="parquet", cursor=42, rows=900, figures={"days": 10, "files": 11}, upkeep="full"),
        "store": SinkStatus(kind="influxdb", cursor=30, error="401"),
    }
    status.spool = {"bytes": 31, "last": 42, "quarantined_bytes": 34, "error": "no space left"}
    status.health = {"listen": "127.0.0.1:9103", "error": "in use"}
    status.reload = ReloadStatus(number=1, at="2026-01-01T00:01:00+00:00", waits_for_restart=["spool"])
    spool = tmp_path / "var" / "spool"
    spool.mkdir(parents=True)
    status.write(spool / "status.json")
    Ledger(spool / "ledger.jsonl").add("dropped", "spool full", rows=139, sinks=["influxdb"])
    Ledger(spool / "ledger.jsonl").add("of a newer version", "x")
    return tmp_path


def test_status_tells_every_line_in_chinese_and_the_columns_line_up(plant):
    result = run("status", plant, "--lang", "zh")
    told = re.sub(r"\d{4}-\d\d-\d\dT\S+ (?=丢弃|of)", "TIME ", result.stdout)
    assert re.sub(r"于 \S+ 秒", "于 0.1 秒", told).splitlines() == [
        "采集程序 gw1（工厂 works）：异常，状态更新于 0.1 秒前",
        "  数据源   meters       modbus  已连接     数据 从未收到     7 行",
        "           9 个点位中 2 个数据新鲜，数据源认得 8 个；不新鲜：x, y 等 7 个",
        "           链路占用率 30%，每轮 9 个请求，每秒 4.5 个，应答时间 12 ms（最长 80 ms），错过轮询 3 次",
        "           提醒：x\\x1b[2J",
        "           提醒：服务器时钟比本机快 3.0 秒",
        "           存疑：retained（1）",
        "           由数据源历史补数：20 行",
        "  数据源   三号线       mqtt    已断开     数据 从未收到     0 行  5 秒内无法建立到 b:1883 的 MQTT 连接",
        "           收到 8 个主题的 70 条消息，其中 2 条的主题无点位读取，待处理 1 条",
        "  数据源   new          opcua   启动中     数据 从未收到     0 行",
        "  数据源   vault        opcua   被拒绝     数据 从未收到     0 行  数据源 vault：a\\x1b[2J",
        "  存储     lake         已存 900 行，落后 0 批",
        "           天数 10，文件数 11",
        "           提醒：存储整理受阻：full",
        "  存储     store        已存 0 行，落后 12 批  401",
        "  缓存     31 B，最新批次号 42，隔离区 34 B  no space left",
        "  监控接口 无法在 127.0.0.1:9103 监听：in use",
        "  配置     2026-01-01T00:01:00 已重新加载",
        "           提醒：plant.toml 的 spool 须重启采集程序后生效",
        "  丢失记录 TIME 丢弃最旧数据：spool full（139 行，influxdb）",
        "  丢失记录 TIME of a newer version：x",
    ]
    ends = {cell_len(line.partition(" 行")[0]) for line in result.stdout.splitlines() if "从未收到" in line}
    assert len(ends) == 1
    assert result.exit_code == exits.QUALITY


def test_an_agent_that_has_stopped_and_a_reload_that_was_refused_are_told_in_chinese(plant):
    file = plant / "var" / "spool" / "status.json"
    report = json.loads(file.read_text("utf-8"))
    report["reload"] |= {"refused": "1 fault", "faults": ["points.csv:3"]}
    report["sources"]["meters"]["age_s"] = 0.44
    file.write_text(json.dumps(report | {"stopped": True}), "utf-8")
    told = run("status", plant, "--lang", "zh").stdout
    assert "（工厂 works）：已停止，" in told
    assert "数据 0.4 秒前 " in told
    assert "  配置     2026-01-01T00:01:00 未能重新加载，仍用原配置：points.csv 第 3 行\n" in told


def test_json_of_status_and_its_failure_are_the_same_in_both_languages(plant):
    def told(*words):
        report = json.loads(run("status", plant, "--json", *words).stdout)
        return {**report, "age_s": 0}

    assert told("--lang", "zh") == told()
    (plant / "var" / "spool" / "status.json").unlink()
    as_json, english = run("status", plant, "--json", "--lang", "zh"), run("status", plant, "--json")
    assert (as_json.stdout, as_json.stderr) == (english.stdout, english.stderr)


def test_who_asks_before_an_agent_ever_ran_or_after_a_fault_came_into_the_files_is_told_so_in_chinese(plant):
    table = plant / "points.csv"
    table.write_text("point,asset\nx,nowhere\n", "utf-8")
    fault = f"配置文件现有 1 处错误；请运行 plantproof check {plant} --lang zh 查看\n"
    assert run("status", plant, "--lang", "zh").stderr == fault
    table.write_text("point,asset\n", "utf-8")
    (plant / "var" / "spool" / "status.json").unlink()
    result = run("status", plant, "--lang", "zh")
    assert result.stderr == f"尚无采集程序使用过缓存 {plant}/var/spool；启动命令：plantproof run {plant}\n"
    assert result.exit_code == exits.UNREACHABLE


@pytest.mark.parametrize("verb", ["status", "test"])
def test_the_environment_says_the_language_where_the_command_line_does_not(plant, verb):
    chinese = run(verb, plant, PLANTPROOF_LANG="zh").stdout
    assert re.search("[\u4e00-\u9fff]", chinese)
    english = run(verb, plant, "--lang", "en", PLANTPROOF_LANG="zh").stdout
    assert re.search("[\u4e00-\u9fff]", english.replace("三号线", "")) is None


@pytest.mark.parametrize("words", [status_words.WORDS, trial_words.WORDS])
def test_a_word_has_the_same_facts_in_both_languages(words):
    for name, said in words.items():
        english, chinese = (set(re.findall(r"\{(\w+)", text)) for text in said)
        assert chinese <= english | {"all"}, name
        assert english - {"more", "count"} <= chinese, name
        assert re.search("[\u4e00-\u9fff：]", said.zh) or name == "of", name


@pytest.mark.parametrize("name", SPOKEN)
def test_every_word_is_said_somewhere(name):
    words, modules = SPOKEN[name]
    said = {word for module in modules for word in texts_of(ROOT / "collector" / f"{module}.py")}
    assert set(words) - said == set()


def texts_of(path: Path) -> set[str]:
    """The words that a module names, those that it makes up of a beginning and an argument included."""
    tree = ast.parse(path.read_text("utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return texts | {f"{beginning} {text}" for beginning in BEGINNINGS for text in texts}


def test_events_and_figures_are_called_as_in_the_nomenclature():
    events = rows(DOCS / "nomenclature.md", "Ledger events")
    first = {name: re.split("[，；：（]", row["中文"])[0] for name, row in events.items()}
    assert first == status_words.EVENTS
    _, (_, *figures) = tables(section(DOCS / "nomenclature.md", "Status of a sink"))
    assert {row[0].strip("`"): row[-1] for row in figures} == status_words.FIGURES


def test_every_state_of_a_source_has_its_chinese():
    told = rows(DOCS / "nomenclature.md", "Status of a source")["state"]["English"]
    assert set(re.findall(r"`(\w+)`", told)) | {"no sign of life"} == set(status_words.STATES)


# --- what connections say ---

FILE = tomllib.loads((ROOT / "config" / "chinese_connections.toml").read_text(encoding="utf-8"))
OF_FAULTS = tomllib.loads((ROOT / "config" / "chinese.toml").read_text(encoding="utf-8"))["texts"]
TOLD = {text: path for path in MODULES for text in Words(path)}
"""Every text of a connection that is lost or refused, and a module that has it."""


def test_every_text_of_a_connection_has_its_chinese():
    known = {plain(english) for english in (*FILE["texts"], *OF_FAULTS)}
    assert [(path.name, text) for text, path in TOLD.items() if is_sentence(text) and text not in known] == []
    assert len(TOLD) > 150  # the walk over the syntax trees does find them


def test_no_entry_is_of_a_text_that_there_is_not():
    assert [english for english in FILE["texts"] if plain(english) not in TOLD] == []


@pytest.mark.parametrize("section", FILE)
def test_an_entry_has_the_same_holes_in_both_languages(section):
    for english, told in FILE[section].items():
        own, other = chinese.HOLE.findall(english), chinese.HOLE.findall(told)
        assert other == own or sorted(other) == [str(n) for n in range(len(own))], english
        assert re.search("[\u4e00-\u9fff\uff00-\uffef]", told), english


def test_every_text_comes_out_in_chinese_with_what_is_filled_in():
    left = []
    for text in filter(is_sentence, TOLD):
        said = chinese.of_connection(text.replace("{}", "'x'"))
        left += [(text, said)] if english_left(said) else []
        assert said.count("'x'") >= text.count("{}"), text
    assert left == []


PAIRS = (ROOT / "tests" / "cases" / "chinese" / "connections.txt").read_text(encoding="utf-8").strip().split("\n\n")


@pytest.mark.parametrize("pair", PAIRS)
def test_a_loss_is_told_in_chinese_with_its_parts_and_what_nobody_wrote_as_it_is(pair):
    text, told = pair.splitlines()
    assert chinese.of_connection(text) == told


@pytest.mark.parametrize("text", ["a: " * 5000, "b; c: " * 5000, "; ".join(["d: e"] * 19), "connect to " * 5000])
def test_a_text_of_any_length_is_looked_up_at_once(text):
    before = time.perf_counter()
    chinese.of_connection(text)
    assert time.perf_counter() - before < 5

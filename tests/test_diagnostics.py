"""`plantproof diagnostics` and `status --watch`: what a bundle holds and leaves out, and what is shown each second."""

import csv
import datetime as dt
import io
import json
import stat
import tomllib
import zipfile

import pytest
from click.testing import CliRunner
from rich.console import Console

from collector import watch
from collector.anonymous import Names
from collector.diagnostics import ENTRIES
from collector.speaking import Speaker
from collector.status import spool_age
from collector.status_words import WORDS
from config.load import load_plant
from plantproof import cli
from tests import serving

MORE = """
[[source]]
id = "press-line"
kind = "mqtt"
url = "mqtt://broker.works.example:1883"
client_id = "works-gateway"
user = "reader"
password = "${env:NOWHERE}"
[[business_source]]
id = "erp"
url = "mysql://reader:${file:secrets/erp}@10.1.2.3/erp"
query = "select turnover from accounts"
"""
POINTS = "press.temp,press,measure,press-line,冲压/press/temp,\n"
STATUS = {"agent": "gw1", "plant": "works", "sources": {"press-line": {"error": "10.1.2.3 and 1号冲压机 are silent"}}}


@pytest.fixture
def plant(tmp_path):
    folder = serving.make_plant(tmp_path / "plant", MORE)
    with (folder / "points.csv").open("a", encoding="utf-8") as table:
        table.write(POINTS)
    (folder / "assets.csv").write_text("asset,name,ideal_cycle,价格\npress,1号冲压机,10,1234567\n", encoding="utf-8")
    spool = folder / "var" / "spool"
    spool.mkdir(parents=True)
    (spool / "status.json").write_text(json.dumps(STATUS), encoding="utf-8")
    entries = (
        json.dumps({"ts": f"{n}", "event": "gap", "reason": f"reason {n}", "source": "press-line"}) for n in range(9)
    )
    (spool / "ledger.jsonl").write_text("\n".join(entries) + "\n", encoding="utf-8")
    (spool / "segment-1.log").write_bytes(b"samples of press.temp")
    return folder


def bundle(plant, *words, **settings):
    out = plant / "bundle.zip"
    result = CliRunner().invoke(cli, ["diagnostics", str(plant), "--out", str(out), *words], **settings)
    assert result.exit_code == 0, result.output
    with zipfile.ZipFile(out) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_it_lists_what_is_in_the_bundle_and_the_bundle_says_the_same(plant):
    result = CliRunner().invoke(cli, ["diagnostics", str(plant), "--out", str(plant / "b.zip"), "--json"])
    listed = [one["file"] for one in json.loads(result.stdout)]
    files = bundle(plant)
    assert listed == list(files)
    assert set(ENTRIES) - set(files) == {"faults.json", "log.txt"}  # there are none
    assert all(f"  {name} " in files["README.txt"] for name in files)


def test_the_bundle_is_its_makers_to_read_and_writes_over_nothing(plant):
    bundle(plant)
    assert stat.S_IMODE((plant / "bundle.zip").stat().st_mode) == 0o600
    again = CliRunner().invoke(cli, ["diagnostics", str(plant), "--out", str(plant / "bundle.zip")])
    assert again.exit_code == 1
    assert "name a new file" in again.output


def test_the_configuration_is_whole_but_for_secrets_and_what_the_business_asks_its_systems(plant):
    table = tomllib.loads(bundle(plant)["config.toml"])
    (source,), (erp,) = table["source"], table["business_source"]
    assert (source["id"], source["password"]) == ("press-line", "${env:NOWHERE}")
    assert erp["url"] == "mysql://***:${file:secrets/erp}@10.1.2.3/erp"
    assert "query" not in erp


def test_no_sample_no_free_column_and_no_figure_of_the_business_is_in_it(plant):
    (plant / "business.csv").write_text(
        "period,measure,value,unit,declared_by,declared_at\n2025,revenue,987654,元,王芳,2026-01-01\n", encoding="utf-8"
    )
    files = bundle(plant)
    assert json.loads(files["tables.json"])["rows"]["business"] == 1
    for word in ("987654", "王芳", "1234567", "samples of", "turnover"):
        assert not any(word in text for text in files.values()), word


def test_files_are_listed_with_their_sizes_and_none_of_their_content(plant):
    listed = {row["file"]: row for row in csv.DictReader(io.StringIO(bundle(plant)["files.csv"]))}
    assert listed.keys() == {"ledger.jsonl", "segment-1.log", "status.json"}
    assert (listed["segment-1.log"]["folder"], listed["segment-1.log"]["bytes"]) == ("spool", "21")


def test_of_ledger_and_log_the_last_lines_are_taken(plant):
    files = bundle(plant, "--lines", "2", "--log", "-", input="one\ntwo\nthree\n")
    assert [json.loads(line)["reason"] for line in files["ledger.jsonl"].splitlines()] == ["reason 7", "reason 8"]
    assert files["log.txt"] == "two\nthree\n"


def test_without_names_one_word_stands_for_a_name_wherever_it_stands(plant):
    log = "source press-line is lost: 192.168.7.8 and 10.1.2.3, 1号冲压机停机, press.temp\n"
    files = bundle(plant, "--anonymous", "--log", "-", input=log)
    for name in ("press", "冲压", "works", "broker", "10.1.2.3", "192.168", "reader", "gw1", str(plant)):
        assert not any(name in text for entry, text in files.items() if entry != "README.txt"), name
    source = tomllib.loads(files["config.toml"])["source"][0]["id"]
    assert list(json.loads(files["status.json"])["sources"]) == [source]
    assert json.loads(files["ledger.jsonl"].splitlines()[0])["source"] == source
    assert files["log.txt"].startswith(f"source {source} is lost")
    points = {row["point"]: row for row in json.loads(files["tables.json"])["points"]}
    (temp,) = (row for row in points.values() if row.get("source") == source)
    assert files["log.txt"].endswith(f"{temp['point']}\n")


def test_a_name_inside_a_longer_word_is_no_name(plant):
    names = Names(load_plant(plant))
    assert names("compressed, express, press") == f"compressed, express, {names('press')}"
    assert names("127.0.0.1 1.2.3.4.5") == "127.0.0.1 1.2.3.4.5"


def test_a_configuration_at_fault_is_packed_with_its_faults(plant):
    text = (plant / "plant.toml").read_text("utf-8")
    (plant / "plant.toml").write_text(text.replace('kind = "mqtt"', 'kind = "mqtt"\nperiod = 5'), "utf-8")
    (fault,) = json.loads(bundle(plant)["faults.json"])
    assert fault["rule"] == "has no unit"


def test_nothing_is_packed_where_there_is_no_configuration_to_read(plant):
    (plant / "plant.toml").write_text("version =")
    result = CliRunner().invoke(cli, ["diagnostics", str(plant), "--out", str(plant / "b.zip")])
    assert result.exit_code != 0
    assert not (plant / "b.zip").exists()


# --- status, each second ---


def report(**other):
    source = {
        "kind": "modbus", "state": "connected", "fresh": True, "age_s": 0.4, "connects": 3, "error": "",
        "coverage": {"configured": 12, "monitored": 12, "fresh": 10, "not_fresh": ["a", "b"]},
        "link": {"bus_time": 0.31},
    }  # fmt: skip
    sink = {"kind": "parquet", "cursor": 90, "rows": 4711, "error": "", "behind_s": 61.0}
    return {
        "healthy": True, "agent": "gw1", "plant": "works", "agent_state": "running", "age_s": 0.2,
        "sources": {"meters": source}, "sinks": {"lake": sink}, "ledger": {"gap": 2},
        "spool": {"bytes": 3 * 2**20, "last": 98, "pending_rows": 0, "age_s": 1.2},
        "last_losses": [{"ts": "2026-11-22T08:00:00.1", "event": "gap", "reason": "link lost"}],
    } | other  # fmt: skip


def until_stopped(count):
    """So many seconds, and then Ctrl-C."""
    yield from range(count)
    raise KeyboardInterrupt


def shown(reports, lang="en"):
    """What a terminal shows."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=160, color_system=None)
    frames = iter(reports)
    watch.live(lambda: next(frames), until_stopped(len(reports)), console, Speaker(WORDS, lang))
    return out.getvalue()


def row_of(text, name):
    """The words of a row of the last frame."""
    return [line.split() for line in text.splitlines() if line.startswith(name)][-1]


def test_each_source_is_shown_with_link_freshness_coverage_reconnects_and_bus_time():
    text = shown([report()])
    row = row_of(text, "meters")
    assert row == ["meters", "modbus", "connected", "yes", "0.4", "s", "ago", "10", "of", "12", "2", "31%"]


def test_spool_sink_and_ledger_are_shown():
    text = shown([report()])
    assert "spool 3 MiB, last batch 98, written 1 s ago, oldest not stored 61 s old" in text
    row = row_of(text, "lake")
    assert row == ["lake", "parquet", "4711", "8", "61", "s"]
    assert "gap 2" in text
    assert "2026-11-22T08:00:00 gap: link lost" in text


def test_what_an_agent_that_is_gone_said_last_is_not_fresh():
    gone = report(agent_state="no sign of life", healthy=False)
    assert "no sign of life" in shown([gone])
    assert row_of(shown([gone]), "meters")[3] == "no"


def test_ctrl_c_ends_it_and_the_last_report_stays():
    text = shown([None, report(), report(plant="last")])
    assert "no agent has run yet" in text
    assert "agent gw1 of last: healthy" in text


def test_in_chinese_a_terminal_shows_the_same_in_columns_that_line_up():
    lines = [line.rstrip() for line in shown([None, report()], "zh").splitlines()]
    assert lines[0].endswith("采集程序尚未运行；等待中")
    assert lines[1].endswith("采集程序 gw1（工厂 works）：正常，状态更新于 0.2 秒前")
    assert lines[2:9] == [
        "数据源  类型    连接状态  数据新鲜  最近数据  新鲜点数  重连次数  链路占用率  故障原因",
        "meters  modbus  已连接    是        0.4 秒前  10/12     2         31%",
        "存储  类型     已存行数  落后批数  落后时间  故障原因",
        "lake  parquet  4711      8         61 秒",
        "缓存 3 MiB，最新批次号 98，1 秒前写入，最旧的未入库数据 61 秒前，待写入 0 行",
        "丢失记录 数据源中断 2",
        "  2026-11-22T08:00:00 数据源中断：link lost",
    ]
    lost = report()
    lost["sources"]["meters"] |= {"state": "lost", "error": "source meters: unit 1 did not answer"}
    assert row_of(shown([lost], "zh"), "meters")[-5:] == ["31%", "数据源", "meters：站号", "1", "无应答"]
    gone = shown([report(agent_state="no sign of life", healthy=False, ledger={})], "zh")
    assert "（工厂 works）：无响应，" in gone
    assert row_of(gone, "meters")[3] == "否"
    assert "丢失记录 无\n" in gone


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_an_error_with_an_escape_sequence_sends_none_to_the_terminal(lang):
    bad = report(agent="a\nb")
    bad["sources"]["meters"]["error"] = "\x1b[2J[red]gone[/red]"
    text = shown([bad], lang)
    assert "a\\nb" in text
    assert "\x1b[2J" not in text
    assert "\\x1b[2J[red]gone[/red]" in text


def test_with_json_it_is_one_line_a_second(capsys):
    reports = iter([None, report(), report(healthy=False)])
    watch.lines(lambda: next(reports), until_stopped(3))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["healthy"] for line in lines] == [False, True, False]
    assert lines[0]["agent_state"] == "none ran"


def test_the_command_watches_until_ctrl_c_and_ends_with_0(plant, monkeypatch):
    monkeypatch.setattr(watch, "each_second", lambda: until_stopped(2))
    whole = report() | {"updated": dt.datetime.now(dt.UTC).isoformat(), "stopped": False}
    (plant / "var" / "spool" / "status.json").write_text(json.dumps(whole), encoding="utf-8")
    result = CliRunner().invoke(cli, ["status", str(plant), "--watch", "--json"])
    assert result.exit_code == 0
    assert [json.loads(line)["agent"] for line in result.stdout.splitlines()] == ["gw1", "gw1"]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_it_waits_for_an_agent_where_none_ran(plant, monkeypatch, lang):
    monkeypatch.setattr(watch, "each_second", lambda: until_stopped(1))
    (plant / "var" / "spool" / "status.json").unlink()
    result = CliRunner().invoke(cli, ["status", str(plant), "--watch", "--lang", lang])
    assert (result.exit_code, json.loads(result.stdout)) == (0, watch.NEVER)


def test_the_age_of_a_spool_is_that_of_what_was_written_last(plant):
    written = (plant / "var" / "spool" / "segment-1.log").stat().st_mtime
    assert spool_age(plant / "var" / "spool", now=written + 5) == 5.0
    assert spool_age(plant / "nowhere") is None

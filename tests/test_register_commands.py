"""plantproof register: what it lists, what an approval keeps, and what changed between two dates."""

import datetime as dt
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from config import exits
from config.approvals import ApprovalError, approval_of, approvals, approve
from config.load import load_plant
from plantproof import cli
from tests.test_registers import plant

ASSETS = """设备编号,设备名称,生产设备,关键设备,控制方式,数字化,投用日期,停用日期,不计入原因,审批人,审批日期
line1/press1,1号冲压机,是,是,plc,是,,,,王工,2026-01-05
line1/press2,2号冲压机,是,否,none,否,,,,,
line1/press3,3号冲压机,是,否,none,否,,2026-06-30,,,
line1/press4,4号冲压机,是,否,none,是,2099-01-01,,,,
line1/lathe9,旧车床,是,否,none,否,,,已封存,,
site/meter,总电表,否,否,none,否,,,,,
"""
NEW = ASSETS.replace("line1/press2,2号冲压机,是,否,none", "line1/press2,2号冲压机,是,否,plc").replace(
    "line1/lathe9,旧车床,是,否,none,否,,,已封存,,\n", "line1/robot1,焊接机器人,是,否,nc,是,,,,,\n"
)
POINTS = "point,asset,role,unit\nsite.energy,site/meter,energy.electricity,kWh\n"
METERS = "meter,point,level\nEM1,site.energy,site\n"


def works(folder: Path, assets: str = ASSETS) -> Path:
    """Return a plant whose production day turns at 08:00 in Shanghai, which is midnight UTC."""
    toml = 'day_start = 08:00:00\ntimezone = "Asia/Shanghai"'
    return plant(folder, toml, assets=assets, points=POINTS, meters=METERS)


def approved(folder: Path, at: str, by: str = "王工", note: str = "") -> Path:
    return approve(load_plant(folder), by, note, dt.datetime.fromisoformat(at)).folder


def run(*words: object, code: int = exits.DONE) -> str:
    result = CliRunner().invoke(cli, ["register", *map(str, words)])
    assert result.exit_code == code, result.output
    return result.stdout if code in (exits.DONE, exits.VERIFY) else result.stderr


def run_json(*words: object):
    return json.loads(run(*words, "--json"))


def changes_of(said) -> list[tuple[str, ...]]:
    return [(c["register"], c["row"], c["change"], c["column"], c["old"], c["new"]) for c in said["changes"]]


def test_show_counts_production_equipment_that_is_in_use_and_names_why_others_do_not_count(tmp_path):
    assets = run_json("show", works(tmp_path), "--kind", "assets")["assets"]
    # press1 and press2 alone: press3 left, press4 is to come, lathe9 is excluded, the meter makes nothing
    assert assets["counts"] == {
        "rows": 6, "production": 2, "not_in_use": 2, "key_equipment": 1, "digital": 1, "excluded": 1, "approved": 1,
    }  # fmt: skip
    assert assets["excluded"] == [{"id": "line1/lathe9", "reason": "已封存"}]
    assert [row["asset"] for row in assets["rows"]][:2] == ["line1/press1", "line1/press2"]
    assert (assets["rows"][0]["approved_by"], assets["file"]) == ("王工", "assets.csv")


def test_show_lists_the_registers_that_have_rows_as_tables(tmp_path):
    told = run("show", works(tmp_path))
    assert "assets: rows 6, production 2, not in use 2" in told
    assert "已封存" in told
    assert "meters: rows 1, site 1, unit 0, device 0, excluded 0, approved 0" in told
    assert "loops" not in told
    assert run_json("show", tmp_path)["loops"]["counts"] == {"rows": 0, "excluded": 0, "approved": 0}


def test_show_writes_signs_of_the_terminal_as_text(tmp_path):
    told = run("show", works(tmp_path, ASSETS.replace("旧车床", "[red]\x1b[31m旧车床")))
    assert "\x1b" not in told
    assert "[red]" in told


def test_approve_keeps_copies_of_the_registers_and_of_who_when_and_their_hashes(tmp_path):
    folder = Path(run("approve", works(tmp_path), "--by", "王工", "--note", "年度核对").strip())
    assert folder.parent == tmp_path / "registers"
    assert (folder / "assets.csv").read_text(encoding="utf-8") == ASSETS
    assert sorted(path.name for path in folder.iterdir()) == ["approval.json", "assets.csv", "meters.csv", "points.csv"]
    (one,) = run_json("history", tmp_path)
    assert (one["approved_by"], one["note"], one["faults"], one["current"]) == ("王工", "年度核对", [], True)
    assert folder.name.startswith(one["approved_at"][:10].replace("-", ""))
    assert not list((tmp_path / "registers").glob(".*"))


def test_approve_wants_a_name_and_a_plant_without_faults(tmp_path):
    assert "says who approves; name a person" in run("approve", works(tmp_path), "--by", " ", code=exits.UNEXPECTED)
    assert not (tmp_path / "registers").exists()
    works(tmp_path, "asset,control\nline1/press1,plk\n")
    assert CliRunner().invoke(cli, ["register", "approve", str(tmp_path), "--by", "王工"]).exit_code != exits.DONE
    assert not (tmp_path / "registers").exists()


def test_a_snapshot_is_never_written_over(tmp_path):
    folder = approved(works(tmp_path), "2026-01-05T10:00:00+08:00")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ApprovalError, match="is there already"):
        approved(tmp_path, "2026-01-05T10:00:00+08:00")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert approved(tmp_path, "2026-01-05T10:00:01+08:00") != folder


def test_a_snapshot_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("config.approvals.os.fsync", full)
    told = run("approve", works(tmp_path), "--by", "王工", code=exits.UNEXPECTED)
    assert "No space left on device" in told
    assert list((tmp_path / "registers").iterdir()) == []


def test_an_approval_holds_until_a_register_changes_and_again_once_it_is_as_it_was(tmp_path):
    assert approval_of(load_plant(works(tmp_path))) is None
    approved(tmp_path, "2026-01-05T10:00:00+08:00", by="王工")
    assert approval_of(load_plant(tmp_path)).approved_by == "王工"
    works(tmp_path, NEW)
    assert approval_of(load_plant(tmp_path)) is None
    approved(tmp_path, "2026-02-05T10:00:00+08:00", by="李工")
    assert approval_of(load_plant(tmp_path)).approved_by == "李工"
    works(tmp_path, ASSETS)  # the latest approval is of other registers
    assert approval_of(load_plant(tmp_path)) is None


def test_a_register_that_was_added_since_is_not_approved(tmp_path):
    approved(works(tmp_path), "2026-01-05T10:00:00+08:00")
    (tmp_path / "processes.csv").write_text("process\n冲压\n", encoding="utf-8")
    assert approval_of(load_plant(tmp_path)) is None


def test_business_data_may_change_without_a_new_approval(tmp_path):
    approved(works(tmp_path), "2026-01-05T10:00:00+08:00")
    head = "period,measure,value,unit,declared_by,declared_at\n"
    (tmp_path / "business.csv").write_text(f"{head}2025,revenue,1,元,张三,2026-01-15\n", encoding="utf-8")
    assert approval_of(load_plant(tmp_path)) is not None


@pytest.mark.parametrize("name", ["assets.csv", "approval.json"])
def test_a_snapshot_that_was_changed_afterwards_approves_nothing_and_exits_4(tmp_path, name):
    folder = approved(works(tmp_path), "2026-01-05T10:00:00+08:00")
    text = (folder / name).read_text(encoding="utf-8")
    (folder / name).write_text(text.replace("王工", "李工"), encoding="utf-8")
    assert approval_of(load_plant(tmp_path)) is None
    assert f"{name} was changed" in run("history", tmp_path, code=exits.VERIFY)
    run("diff", tmp_path, "--from", "2026-01-05", code=exits.VERIFY)


def test_a_snapshot_that_cannot_be_read_is_told_by_its_name(tmp_path):
    folder = approved(works(tmp_path), "2026-01-05T10:00:00+08:00")
    (folder / "approval.json").write_text("{", encoding="utf-8")
    told = run("history", tmp_path, code=exits.UNEXPECTED)
    assert folder.name in told
    assert "bring it back, or move the folder away" in told


def test_diff_shows_what_came_went_and_changed_and_production_equipment_before_and_after(tmp_path):
    approved(works(tmp_path), "2026-01-05T10:00:00+08:00")
    approved(works(tmp_path, NEW), "2026-09-01T10:00:00+08:00")
    said = run_json("diff", tmp_path, "--from", "2026-01-05", "--to", "2026-12-31")
    assert changes_of(said) == [
        ("assets", "line1/press2", "changed", "control", "none", "plc"),
        ("assets", "line1/robot1", "added", "", "", "焊接机器人"),
        ("assets", "line1/lathe9", "removed", "", "旧车床", ""),
    ]
    # press3 was in use until June, the robot came
    assert (said["from"]["production"], said["to"]["production"]) == (3, 3)
    told = run("diff", tmp_path, "--from", "2026-01-05", "--to", "2026-03-01")
    assert "no changes" in told
    assert "production equipment: 3 -> 3" in told


def test_diff_with_now_compares_the_files_as_they_are(tmp_path):
    approved(works(tmp_path), "2026-01-05T10:00:00+08:00")
    (tmp_path / "meters.csv").write_text(METERS + "EM2,site.power,unit\n", encoding="utf-8")
    (tmp_path / "points.csv").write_text(POINTS + "site.power,site/meter,power.electricity,kW\n", encoding="utf-8")
    said = run_json("diff", tmp_path, "--from", "2026-01-05")
    assert changes_of(said) == [
        ("points", "site.power", "added", "", "", ""), ("meters", "EM2", "added", "", "", ""),
    ]  # fmt: skip
    assert (said["to"]["name"], said["to"]["approval"]) == ("now", None)


def test_the_snapshot_in_force_is_the_latest_by_the_production_day_s_end(tmp_path):
    approved(works(tmp_path), "2026-01-06T07:59:59+08:00")  # still the production day of the 5th
    approved(works(tmp_path, NEW), "2026-01-06T08:00:01+08:00")
    assert (
        run_json("diff", tmp_path, "--from", "2026-01-05")["from"]["approval"]["approved_at"][:16] == "2026-01-05T23:59"
    )
    assert len(run_json("diff", tmp_path, "--from", "2026-01-05", "--to", "2026-01-06")["changes"]) == 3


def test_a_date_before_the_first_approval_is_told_with_that_of_the_first(tmp_path):
    told = run("diff", works(tmp_path), "--from", "2026-01-05", code=exits.UNEXPECTED)
    assert "no registers were approved by 2026-01-06 08:00 CST: nobody approved any; approve them: plantproof" in told
    approved(tmp_path, "2026-02-01T10:00:00+08:00")
    told = run("diff", tmp_path, "--from", "2026-01-05", code=exits.UNEXPECTED)
    assert "the first was approved at 2026-02-01 02:00 UTC; name a later date, or now" in told


def test_diff_holds_two_folders_against_each_other(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    works(tmp_path / "a")
    works(tmp_path / "b", NEW)
    assert len(run_json("diff", tmp_path / "a", tmp_path / "b")["changes"]) == 3
    snapshot = approved(tmp_path / "b", "2026-01-05T10:00:00+08:00")
    shutil.copytree(snapshot, tmp_path / snapshot.name)
    assert len(run_json("diff", tmp_path / "a", tmp_path / snapshot.name)["changes"]) == 3


def test_other_words_for_the_same_are_no_change(tmp_path):
    approved(works(tmp_path), "2026-01-05T10:00:00+08:00")
    english = ASSETS.replace("设备编号,设备名称", "asset,name").replace("是", "yes").replace("2026-06-30", "2026/6/30")
    works(tmp_path, english)
    assert run_json("diff", tmp_path, "--from", "2026-01-05")["changes"] == []


def test_a_further_column_and_a_cell_that_was_emptied_are_shown(tmp_path):
    works(tmp_path, "asset,厂商,ideal_cycle\nline1/press1,沈阳机床,12.5\nsite/meter,,\n")
    approved(tmp_path, "2026-01-05T10:00:00+08:00")
    works(tmp_path, "asset,厂商,ideal_cycle\nline1/press1,大连机床,\nsite/meter,,\n")
    assert changes_of(run_json("diff", tmp_path, "--from", "2026-01-05")) == [
        ("assets", "line1/press1", "changed", "ideal_cycle", "12.5", ""),
        ("assets", "line1/press1", "changed", "厂商", "沈阳机床", "大连机床"),
    ]


@pytest.mark.parametrize(
    "words", [(), ("--to", "2026-01-01"), ("--from", "yesterday"), ("--from", "2026-01-01", "OTHER")]
)
def test_diff_without_a_date_or_with_too_much_is_a_fault_of_the_command_line(tmp_path, words):
    words = [str(works(tmp_path)) if word == "OTHER" else word for word in words]
    run("diff", works(tmp_path), *words, code=exits.USAGE)


def test_snapshots_are_listed_by_when_they_were_approved(tmp_path):
    for at in ("2026-03-01T10:00:00+08:00", "2026-01-01T10:00:00+08:00", "2026-02-01T10:00:00+08:00"):
        approved(works(tmp_path), at)
    assert [one.approved_at.month for one in approvals(tmp_path)] == [1, 2, 3]

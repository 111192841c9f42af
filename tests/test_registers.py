"""Registers of processes, loops and meters: how they are read, and what is told of them."""

import datetime as dt
from pathlib import Path

import pytest
from click.testing import CliRunner

from config import exits
from config.faults import ConfigError
from config.load import load_plant
from config.plant import Asset
from config.registers import Loop, Meter, Process
from config.tables import HEADS
from kpis.evidence.configuration import config_files
from kpis.factstore import key_of
from plantproof import cli
from tests.test_config import CASES, faults
from tests.test_docs import CONFIGURATION, section, tables
from tests.test_load_tables import csv_text, write_xlsx

APC = "furnace.apc,line2/furnace,apc,\n"
ENERGY = "site.energy,line2/furnace,energy.electricity,kWh\n"


def plant(folder: Path, toml: str = "", **files: str) -> Path:
    """Return a plant of one furnace with an APC point and a meter, and further tables."""
    (folder / "plant.toml").write_text(f'version = 1\n[plant]\nid = "works"\n{toml}\n', encoding="utf-8")
    written = {
        "assets": "asset,process\nline2/furnace,热处理\n",
        "points": f"point,asset,role,unit\n{APC}{ENERGY}",
        **files,
    }
    for name, text in written.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def test_the_registers_of_a_chinese_plant_are_read_by_their_chinese_heads(tmp_path):
    loaded = load_plant(
        plant(
            tmp_path,
            assets="设备编号,工序,业务环节,投用日期,停用日期,审批人,审批日期\n"
            "line2/furnace,热处理,生产管控,2020/3/1,2026年12月31日,王工,2026.1.5\n",
            processes="工序编号,工序名称,关键工序,工序类型,不计入原因\n热处理,热处理工序,是,流程,\n包装,,否,,外协\n",
            loops="回路编号,回路名称,所属设备,所属工序\nTIC101,炉温,line2/furnace,热处理\n",
            meters="仪表编号,仪表名称,采集点,层级,用途\nEM1,总电表,site.energy,主要次级用能单位,回收利用\n",
        )
    )
    assert loaded.assets == (
        Asset(asset="line2/furnace", process="热处理", segment="生产管控", in_use_from=dt.date(2020, 3, 1),
              in_use_until=dt.date(2026, 12, 31), approved_by="王工", approved_at=dt.date(2026, 1, 5)),
    )  # fmt: skip
    assert loaded.processes == (
        Process(process="热处理", name="热处理工序", key="yes", kind="process"),
        Process(process="包装", excluded="外协"),
    )
    assert loaded.loops == (Loop(loop="TIC101", name="炉温", asset="line2/furnace", process="热处理"),)
    assert loaded.meters == (Meter(meter="EM1", name="总电表", point="site.energy", level="unit", use="recovered"),)


@pytest.mark.parametrize(
    ("cell", "level"),
    [("进出用能单位", "site"), ("次级用能单位", "unit"), ("用能设备", "device"), ("device", "device"), ("", "site")],
)
def test_the_level_of_a_meter_is_accepted_in_the_words_of_the_standard(tmp_path, cell, level):
    loaded = load_plant(plant(tmp_path, meters=f"meter,point,level\nEM1,site.energy,{cell}\n"))
    assert loaded.meters[0].level == level


@pytest.mark.parametrize(
    ("cell", "use"),
    [
        ("工业生产消费", "consumption"),
        ("加工转换投入", "transformation_input"),
        ("加工转换产出", "transformation_output"),
        ("回收利用", "recovered"),
    ],
)
def test_the_use_of_a_meter_is_accepted_in_the_words_of_the_energy_tables(tmp_path, cell, use):
    loaded = load_plant(plant(tmp_path, meters=f"meter,point,use\nEM1,site.energy,{cell}\n"))
    assert loaded.meters[0].use == use


def test_registers_are_read_where_they_are_there_and_must_be_there_where_they_are_named(tmp_path):
    loaded = load_plant(plant(tmp_path))
    assert (loaded.processes, loaded.loops, loaded.meters, loaded.business, loaded.answers) == ((), (), (), (), ())
    assert loaded.tables == {"assets": "assets.csv", "points": "points.csv"}
    (fault,) = faults(plant(tmp_path, 'loops = "control/loops.csv"'))
    assert str(fault).startswith("control/loops.csv: file 'loops.csv': cannot be read: No such file")


def test_a_register_in_excel_gives_the_rows_of_the_csv(tmp_path):
    rows = [["工序编号", "关键工序", "审批人", "审批日期"], ["冲压", "是", "王工", "2026/1/5"], ["10", "否", "", ""]]
    write_xlsx(plant(tmp_path, 'processes = "工序.xlsx"', assets="asset\nline2/furnace\n") / "工序.xlsx", rows)
    from_excel = load_plant(tmp_path).processes
    (tmp_path / "工序.csv").write_text(csv_text(rows), encoding="utf-8")
    assert (
        load_plant(plant(tmp_path, 'processes = "工序.csv"', assets="asset\nline2/furnace\n")).processes == from_excel
    )
    assert [(p.process, p.key, p.approved_at) for p in from_excel] == [
        ("冲压", True, dt.date(2026, 1, 5)), ("10", False, None),
    ]  # fmt: skip


def test_planted_faults_of_registers_are_told_line_by_line():
    result = CliRunner().invoke(cli, ["check", str(CASES / "register-faults")])
    told = (CASES / "register-faults" / "expected.txt").read_text(encoding="utf-8")
    assert result.stdout == told
    assert result.stderr == "13 faults\n"
    assert result.exit_code == exits.CONFIG


def test_a_process_that_no_register_lists_is_a_fault_only_where_there_is_a_register(tmp_path):
    load_plant(plant(tmp_path))
    (fault,) = faults(plant(tmp_path, processes="process\n热处里\n"))
    assert (fault.place, fault.hint) == ("assets.csv:2 column process", "did you mean '热处里'?")


def test_a_loop_is_not_blamed_for_a_point_that_has_a_fault_of_its_own(tmp_path):
    loops = "loop,asset\nTIC101,line2/furnace\n"
    load_plant(plant(tmp_path, loops=loops))
    (fault,) = faults(plant(tmp_path, loops=loops, points="point,asset,role,unit\nfurnace.apc,line2/furnace,acp,\n"))
    assert fault.place == "points.csv:2 column role"


def test_a_meter_and_a_loop_are_not_blamed_for_a_point_table_that_cannot_be_read(tmp_path):
    folder = plant(tmp_path, loops="loop,asset\nT,line2/furnace\n", meters="meter,point\nE,site.energy\n")
    (folder / "points.csv").unlink()
    (fault,) = faults(folder)
    assert fault.place == "points.csv"


def test_an_asset_is_not_blamed_for_a_process_whose_row_has_a_fault(tmp_path):
    (fault,) = faults(plant(tmp_path, processes="process,key\n热处理,maybe\n"))
    assert fault.place == "processes.csv:2 column key"


def test_an_asset_in_use_for_one_day_is_no_fault(tmp_path):
    loaded = load_plant(plant(tmp_path, assets="asset,in_use_from,in_use_until\nline2/furnace,2026-03-01,2026-03-01\n"))
    assert loaded.assets[0].in_use_until == dt.date(2026, 3, 1)


def test_the_nc_rule_is_all_unless_the_plant_says_any(tmp_path):
    assert load_plant(plant(tmp_path)).nc_rule == "all"
    assert load_plant(plant(tmp_path, 'nc_rule = "any"')).nc_rule == "any"
    (fault,) = faults(plant(tmp_path, 'nc_rule = "some"'))
    assert "write 'all' or 'any'" in str(fault)


def test_registers_approvals_and_declared_values_leave_stored_facts_as_they_are(tmp_path):
    before = key_of(load_plant(plant(tmp_path)))
    after = load_plant(
        plant(
            tmp_path,
            assets="asset,process,segment,in_use_from,approved_by,approved_at\n"
            "line2/furnace,热处理,安全生产,2020-01-01,王工,2026-01-05\n",
            processes="process\n热处理\n",
            loops="loop,asset\nTIC101,line2/furnace\n",
            meters="meter,point\nEM1,site.energy\n",
            business="period,measure,value,unit,declared_by,declared_at\n2025,revenue,1,万元,张三,2026-01-15\n",
        )
    )
    assert after.processes
    assert after.business
    assert key_of(after) == before


def test_an_evidence_package_holds_the_registers_and_what_is_declared_with_its_attachments(tmp_path):
    (tmp_path / "证明").mkdir()
    (tmp_path / "证明" / "营收.pdf").write_bytes(b"%PDF")
    head = "period,measure,value,unit,declared_by,declared_at,附件\n"
    folder = plant(
        tmp_path,
        processes="process\n热处理\n",
        loops="loop,asset\nTIC101,line2/furnace\n",
        meters="meter,point\nEM1,site.energy\n",
        business=f"{head}2025,revenue,1,万元,张三,2026-01-15,证明\\营收.pdf\n",
        answers="rubric,item,answer,declared_by,declared_at\n",
    )
    copied = config_files(folder)
    names = {f"{name}.csv" for name in ("assets", "points", "processes", "loops", "meters", "business", "answers")}
    assert copied.keys() == {"plant.toml", "证明/营收.pdf", *names}
    other = tmp_path / "verifier"
    for name, data in copied.items():
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_bytes(data)
    assert load_plant(other).business == load_plant(folder).business


def test_every_chinese_head_of_a_register_has_a_row_in_the_docs():
    (_, *rows), *_ = tables(section(CONFIGURATION, "Chinese heads of one table"))
    told = [(table.strip("`").removesuffix(".csv"), head.strip("`"), column.strip("`")) for table, head, column in rows]
    assert sorted(told) == sorted((table, head, column) for table, of in HEADS.items() for head, column in of.items())


def test_a_workbook_that_plant_toml_does_not_name_is_told_and_not_passed_over(tmp_path):
    (tmp_path / "plant.toml").write_text('version = 1\n[plant]\nid = "works"\n', encoding="utf-8")
    (tmp_path / "assets.csv").write_text("asset\npress\n", encoding="utf-8")
    (tmp_path / "points.csv").write_text("point,asset\n", encoding="utf-8")
    (tmp_path / "business.xlsx").write_bytes(b"PK")
    with pytest.raises(ConfigError, match=r'business\.xlsx.*write business = "business\.xlsx" under \[plant\]'):
        load_plant(tmp_path)

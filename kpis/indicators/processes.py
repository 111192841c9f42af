"""NC rate of key processes (关键工序数控化率): key processes under numerical control / key processes.

It counts processes, never machines. Where the plant has a register of processes that decides which are key; else the
device register's columns `process` and `key_process` do. A process is judged by all of its equipment, wherever that
stands; a line has the processes whose equipment lies there.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from config.plant import Asset, Plant
from config.registers import Process
from kpis.indicators.base import Amount, Grounds, Indicator, Member
from kpis.indicators.counting import count, counted, last_day, nothing_of, uncounted
from kpis.indicators.said import NOTHING, Said

PROCESSES = "processes"
"""Unit of a number of processes (个)."""

CONTROLS: Mapping[Literal["discrete", "process"], tuple[str, ...]] = {
    "discrete": ("cnc", "nc", "dnc", "fmc"),
    "process": ("plc", "dcs", "pcs"),
}
"""What of the register's column `control` is numerical control, or process control, by the kind of industry."""


def key_processes(plant: Plant) -> list[Process]:
    """Return the key processes (关键工序) of the register of processes, or else those that devices name."""
    if plant.processes:
        return [process for process in plant.processes if process.key]
    named = dict.fromkeys(asset.process for asset in plant.assets if asset.process and asset.key_process)
    return [Process.model_construct(process=name, key=True) for name in named]


def _amount(grounds: Grounds, subject: str) -> Amount | None:
    plant = grounds.plant
    here = {asset.asset for asset in grounds.assets(subject)}
    found = []
    for process in key_processes(plant):
        equipment = [asset for asset in plant.assets if asset.process == process.process]
        if subject == plant.id or any(asset.asset in here for asset in equipment):
            found.append(_member(grounds, process, equipment))
    if nothing_of(grounds, subject, found):
        return None
    n, whole = counted(found)
    return Amount(
        numerator=n,
        denominator=whole,
        inputs=(count("key processes under numerical control", n, unit=PROCESSES),
                count("key processes", whole, unit=PROCESSES)),
        members=found,
        missing=_no_key_process(found),
        rule=_rule(plant),
    )  # fmt: skip


def _rule(plant: Plant) -> str:
    return f"nc_rule={plant.nc_rule} {rule_of_controls(plant)}"


def rule_of_controls(plant: Plant) -> str:
    """Return which controls count, as results cite it."""
    controls = " ".join(f"{kind}={','.join(values)}" for kind, values in CONTROLS.items())
    return f"kind={plant.kind} {controls}"


def kind_of(plant: Plant, process: str) -> Literal["discrete", "process"]:
    """Return which rule of control a process is under: its own, else the plant's."""
    row = next((one for one in plant.processes if one.process == process), None)
    return (row.kind if row is not None else "") or plant.kind


def _member(grounds: Grounds, process: Process, equipment: Sequence[Asset]) -> Member:
    """Return a key process as a member; its reason names the equipment that is not controlled, or does not count."""
    if process.excluded:
        why = Said(process.excluded, process.excluded)
        return Member(process.process, process.name, counted=False, met=False, reason=why)
    day = last_day(grounds.plant, grounds.end)
    reasons = {asset.asset: uncounted(asset, day) for asset in equipment}
    counting = [asset for asset in equipment if reasons[asset.asset] == NOTHING]
    deciding = [asset for asset in counting if asset.key_equipment] or counting
    values = CONTROLS[process.kind or grounds.plant.kind]
    without = [asset for asset in deciding if asset.control not in values]
    enough = not without if grounds.plant.nc_rule == "all" else len(without) < len(deciding)
    met = bool(deciding) and enough
    lacks = NOTHING if met else _uncontrolled(without)
    left_out = [_left_out(name, why) for name, why in reasons.items() if why != NOTHING]
    # One machine less to control is nearer; a process without any is the furthest.
    lacking = len(without) if grounds.plant.nc_rule == "all" else 1
    near = -lacking if deciding else -len(grounds.plant.assets) - 1
    return Member(process.process, process.name, counted=True, met=met, reason=_joined([lacks, *left_out]), near=near)


def _uncontrolled(without: Sequence[Asset]) -> Said:
    if not without:
        return Said("no equipment of it counts", "没有计入的设备")
    named = ", ".join(f"{asset.asset} has control {asset.control}" for asset in without)
    return Said(named, "、".join(f"{asset.asset} 控制方式为 {asset.control}" for asset in without))


def _left_out(name: str, why: Said) -> Said:
    return Said(f"{name} does not count ({why.en})", f"{name} 不计入（{why.zh}）")


def _joined(parts: Sequence[Said]) -> Said:
    told = [part for part in parts if part != NOTHING]
    return Said("; ".join(part.en for part in told), "；".join(part.zh for part in told))


def _no_key_process(members: Sequence[Member]) -> tuple[Said, ...]:
    if members:
        return ()
    return (
        Said(
            "no process is registered as key; write yes in the column key of processes.csv, or name the process of "
            "devices in assets.csv with yes in key_process",
            "没有登记关键工序；请在工序台账标明关键工序，或在设备台账填写“工序”并将“关键工序”列填为“是”",
        ),
    )


INDICATORS = (
    Indicator(
        id="key_process_nc_rate",
        title="NC rate of key processes",
        title_zh="关键工序数控化率",
        unit="1",
        evidence="a",
        formula="key processes under numerical control (process industries: process control) / key processes",
        formula_zh="实现数控化（流程行业：过程控制系统覆盖）的关键工序数量 / 关键工序总数",
        source="中小企业数字化赋能专项行动方案（2025—2027年） names it without a formula; 关键工序: "
        "中小企业数字化水平评测指标（2024年版）; the formula: 两化融合 statistics, secondary sources",
        cites=(
            (1172, "全国规上工业中小企业关键工序数控化率达"),
            (1174, "到 75%"),
            (1938, "关键工序数控化率大于30%"),
            (1425, "关键工序：指对成品的质量、性能、功能、寿命、可靠性及成本等有直接影响的工序；"),
            (1425, "产品重要质量特性形成的工序；工艺复杂，质量容易波动，对工人技艺要求高或总"),
            (1427, "是发生问题较多的工序。"),
        ),
        proof="the registers of processes and equipment with the column `control`, and who approved them",
        proof_zh="工序台账与设备台账（控制方式列）及其审批人",
        not_this="not 关键设备数控化率: processes are counted, not machines",
        compute=_amount,
    ),
)

"""Equipment networking rate (设备联网率): networked production equipment / production equipment.

Three states per device, all shown: connectable (an address is configured), connected (any row of its points in the
window that is not BadNoCommunication), evidenced (good samples in at least a share of its planned time). The headline
counts the evidenced. Definition: 中小企业数字化水平评测指标（2024年版）, 设备联网率; the share is the plant's rule and
stands in every result.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from config.plant import Plant
from kpis.indicators.base import Amount, Figure, Grounds, Indicator, Member, figure
from kpis.indicators.counting import count, counted, last_day, nothing_of, uncounted
from kpis.indicators.device_list import DEVICES, STATES, devices, devices_of_store, passes
from kpis.indicators.said import NOTHING, Said

__all__ = ["DEVICES", "INDICATORS", "STATES", "by_kind", "devices", "devices_of_store", "passes"]

SME_2024 = "中小企业数字化水平评测指标（2024年版）"
FACTORY_KPIS_2025 = "智能工厂梯度培育要素条件（2025 年版）, 智能工厂建设关键绩效指标参考"


Row = Mapping[str, Any]
"""A row of the device list."""


def members_of(grounds: Grounds, subject: str, unmet: Callable[[Row], Said]) -> list[Member]:
    """Return a subject's devices as members; unmet: why a device is not in n, NOTHING where it is."""
    assets = grounds.assets(subject)
    mine = grounds.devices.filter(pl.col("asset").is_in([asset.asset for asset in assets]))
    rows = {row["asset"]: row for row in mine.iter_rows(named=True)}
    day, found = last_day(grounds.plant, grounds.end), []
    for asset in assets:
        left_out, lacks = uncounted(asset, day), unmet(rows[asset.asset])
        counts = left_out == NOTHING
        met, near = counts and lacks == NOTHING, sum(rows[asset.asset][state] for state in STATES)
        found.append(Member(asset.asset, asset.name, counts, met, lacks if counts else left_out, near))
    return found


def _unconnectable(plant: Plant, row: Row) -> Said:
    return NOTHING if row["connectable"] else Said("no address", "未配置地址")


def _unconnected(plant: Plant, row: Row) -> Said:
    if row["connected"]:
        return NOTHING
    return Said("never spoke", "期间内从未应答") if row["connectable"] else _unconnectable(plant, row)


def _unevidenced(plant: Plant, row: Row) -> Said:
    if row["evidenced"]:
        return NOTHING
    if not row["planned_ns"]:
        return Said("no planned time", "期间内无计划运行时间")
    if not row["evidenced_ns"] and not row["connected"]:
        return _unconnected(plant, row)
    # Down, so that it never reads as the rule's share itself.
    share, asked = row["evidenced_ns"] * 10_000 // row["planned_ns"] / 100, plant.networking.evidenced_share * 100
    return Said(
        f"share {share:g} % of planned time below {asked:g} %",
        f"有效数据占计划运行时间 {share:g} %，低于 {asked:g} %",
    )


_UNMET: Mapping[str, Callable[[Plant, Row], Said]] = {
    "connectable": _unconnectable,
    "connected": _unconnected,
    "evidenced": _unevidenced,
}


def _rule(plant: Plant, state: str) -> str:
    return f"evidenced>={plant.networking.evidenced_share:g}" if state == "evidenced" else ""


def _coverage(counting: pl.DataFrame) -> float | None:
    """Return the mean share of known planned time of devices that count."""
    return float(counting["share"].fill_null(0.0).mean()) if counting.height else None  # type: ignore[arg-type]


def coverage_of(grounds: Grounds, members: Sequence[Member]) -> float | None:
    """Return the mean share of known planned time of the members that count; None where there are none."""
    names = [member.id for member in members if member.counted]
    return _coverage(grounds.devices.filter(pl.col("asset").is_in(names)))


def _without_address(grounds: Grounds, members: Sequence[Member]) -> tuple[str, ...]:
    """Return the flag that says how many met devices have no address: their data came from files."""
    addressed = set(grounds.devices.filter("connectable")["asset"])
    without = sum(member.met and member.id not in addressed for member in members)
    return (f"without_address={without}",) if without else ()


def _computed(state: str) -> Callable[[Grounds, str], Amount | None]:
    """Return the function that counts the devices of a state."""

    def amount(grounds: Grounds, subject: str) -> Amount | None:
        members = members_of(grounds, subject, lambda row: _UNMET[state](grounds.plant, row))
        if nothing_of(grounds, subject, members):
            return None
        n, whole = counted(members)
        return Amount(
            numerator=n,
            denominator=whole,
            inputs=(count(f"{state} production equipment", n, "register" if state == "connectable" else "measured"),
                    count("production equipment", whole)),
            members=members,
            coverage=coverage_of(grounds, members),
            flags=_without_address(grounds, members),
            rule=_rule(grounds.plant, state),
        )  # fmt: skip

    return amount


INDICATORS = (
    Indicator(
        of_devices=True,
        id="equipment_networking_rate",
        title="Equipment networking rate",
        title_zh="设备联网率",
        unit="1",
        evidence="a",
        formula="evidenced production equipment / production equipment",
        formula_zh="实现联网的生产设备数量 / 总生产设备数量",
        source=SME_2024,
        cites=((1383, "设备联网率：指联网设备占设备总数的比重，其数值=实现联网的生产设备数量/总生产设备数量×100%。"),),
        proof="the register, and good samples of each device in at least the rule's share of its planned time",
        proof_zh="设备台账，以及每台设备在计划运行时间内达到规定占比的有效采集数据",
        not_this="not a share of the digital equipment: all production equipment is in N; not the share of devices "
        "with an address",
        compute=_computed("evidenced"),
    ),
    Indicator(
        of_devices=True,
        id="equipment_connected_rate",
        title="Share of devices that answered",
        title_zh="已连通设备占比",
        unit="1",
        evidence="a",
        formula="production equipment that answered at least once / production equipment",
        formula_zh="期间内至少有一次应答的生产设备数量 / 总生产设备数量",
        source="PlantProof; no official indicator",
        proof="the register, and a sample of each device that is not BadNoCommunication",
        proof_zh="设备台账，以及每台设备至少一条非“通信中断”的采样",
        not_this="not 设备联网率: one answer in the period is enough; it shows where devices fall out",
        compute=_computed("connected"),
    ),
    Indicator(
        of_devices=True,
        id="equipment_connectable_rate",
        title="Share of devices with a configured address",
        title_zh="可联网设备占比",
        unit="1",
        evidence="a",
        formula="production equipment with an address / production equipment",
        formula_zh="已配置采集地址的生产设备数量 / 总生产设备数量",
        source="PlantProof; no official indicator",
        proof="the register and the point table",
        proof_zh="设备台账与采集点表",
        not_this="not 设备联网率: an address in a table proves nothing; it shows where devices fall out",
        compute=_computed("connectable"),
    ),
)


def by_kind(indicator: Indicator, grounds: Grounds, subject: str) -> list[tuple[str, Figure]]:
    """Return the figure of each kind of device of a subject, in the order of the register.

    indicator: one whose members are devices. A kind without a figure is left out.
    """
    mine = grounds.assets(subject)
    found = []
    for kind in dict.fromkeys(asset.kind for asset in mine):
        assets = tuple(asset for asset in mine if asset.kind == kind)
        devices_of = grounds.devices.filter(pl.col("asset").is_in([asset.asset for asset in assets]))
        plant = grounds.plant.model_copy(update={"assets": assets})
        one = figure(indicator, replace(grounds, plant=plant, devices=devices_of), subject)
        if one is not None:
            found.append((kind, one))
    return found

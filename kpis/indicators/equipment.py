"""What the device register says of equipment: which is digital (设备数字化率), which key equipment is controlled.

What is "digital" no text defines: it is the register's column `digital`, and stands in the rule. A device that is
digital by declaration alone is told from one whose data prove it.
"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from config.plant import Asset
from kpis.indicators.base import Amount, Grounds, Indicator, Member
from kpis.indicators.counting import count, counted, last_day, nothing_of, uncounted
from kpis.indicators.networking import FACTORY_KPIS_2025, SME_2024, Row, coverage_of, members_of
from kpis.indicators.processes import CONTROLS, kind_of, rule_of_controls
from kpis.indicators.said import NOTHING, Said


def _digital(grounds: Grounds, subject: str) -> Amount | None:
    """Return the digital devices of the register, and how many of them are evidenced."""
    digital = {asset.asset for asset in grounds.assets(subject) if asset.digital}

    def unmet(row: Row) -> Said:
        if row["asset"] in digital:
            return NOTHING
        also = row["evidenced"]
        return Said(
            f"not digital in the register{', though evidenced' if also else ''}",
            f"台账未标记为数字化设备{'，但采集数据已证实联网' if also else ''}",
        )

    members = members_of(grounds, subject, unmet)
    if nothing_of(grounds, subject, members):
        return None
    evidenced = set(grounds.devices.filter("evidenced")["asset"])
    members = [_declared_alone(member, evidenced) for member in members]
    n, whole = counted(members)
    proven = Fraction(sum(member.met and member.id in evidenced for member in members))
    return Amount(
        numerator=n,
        denominator=whole,
        inputs=(count("digital production equipment", n), count("digital and evidenced", proven, "measured"),
                count("production equipment", whole)),
        members=members,
        coverage=coverage_of(grounds, members),
        flags=(f"proven={proven}/{n}",),
        rule="digital=register",
    )  # fmt: skip


def _declared_alone(member: Member, evidenced: set[str]) -> Member:
    """Return a member that is digital with whether its data prove it."""
    if not member.met or member.id in evidenced:
        return member
    return replace(member, reason=Said("declared: not evidenced by data", "仅台账标记，尚无采集数据佐证"))


def _key_equipment_controlled(grounds: Grounds, subject: str) -> Amount | None:
    members = [_key_member(grounds, asset) for asset in grounds.assets(subject) if asset.key_equipment]
    if nothing_of(grounds, subject, members):
        return None
    n, whole = counted(members)
    return Amount(
        numerator=n,
        denominator=whole,
        inputs=(count("key equipment under numerical control", n), count("key equipment", whole)),
        members=members,
        missing=_no_key_equipment(members),
        rule=rule_of_controls(grounds.plant),
    )


def _key_member(grounds: Grounds, asset: Asset) -> Member:
    left_out = uncounted(asset, last_day(grounds.plant, grounds.end))
    if left_out != NOTHING:
        return Member(asset.asset, asset.name, counted=False, met=False, reason=left_out)
    met = asset.control in CONTROLS[kind_of(grounds.plant, asset.process)]
    reason = NOTHING if met else Said(f"control {asset.control}", f"控制方式为 {asset.control}")
    return Member(asset.asset, asset.name, counted=True, met=met, reason=reason)


def _no_key_equipment(members: Sequence[Member]) -> tuple[Said, ...]:
    if members:
        return ()
    return (
        Said(
            "the register names no key equipment; write yes in the column key_equipment of assets.csv",
            "设备台账中没有关键设备；请在设备台账的“关键设备”列填写“是”",
        ),
    )


INDICATORS = (
    Indicator(
        of_devices=True,
        id="equipment_digitalization_rate",
        title="Equipment digitalization rate",
        title_zh="设备数字化率",
        unit="1",
        evidence="a",
        formula="digital production equipment / production equipment",
        formula_zh="数字化生产设备数量 / 总生产设备数量",
        source=SME_2024,
        cites=(
            (1381, "设备数字化率：是指企业现有生产设备的数字化程度，即数字化生产设备占总生产设备数量的比例，"),
            (1381, "其数值=数字化生产设备数量/总生产设备数量×100%。"),
        ),
        proof="the register's column `digital`; the flag `proven` says of how many of them data prove it",
        proof_zh="设备台账“数字化”列；标记 proven 给出其中有采集数据佐证的台数",
        not_this="not 设备联网率: a digital device need not be networked; no text says when a device is digital: the "
        "register does",
        compute=_digital,
    ),
    Indicator(
        of_devices=True,
        id="digital_production_equipment_rate",
        title="Share of digital production equipment",
        title_zh="数字化生产设备普及率",
        unit="1",
        evidence="a",
        formula="digital production equipment / production equipment",
        formula_zh="数字化生产设备数量 / 总生产设备数量",
        source=f"{FACTORY_KPIS_2025}; it gives no formula: by our reading the counts of 设备数字化率",
        cites=((850, "数字化生产设备普及率 (%)"),),
        proof="the register's column `digital`; the flag `proven` says of how many of them data prove it",
        proof_zh="设备台账“数字化”列；标记 proven 给出其中有采集数据佐证的台数",
        not_this="not 设备数字化率 by text: another document names it, without a definition; the counts are the same",
        compute=_digital,
    ),
    Indicator(
        id="key_equipment_nc_rate",
        title="NC rate of key equipment",
        title_zh="关键设备数控化率",
        unit="1",
        evidence="a",
        formula="key equipment under numerical control (process industries: process control) / key equipment",
        formula_zh="实现数控化的关键设备数量 / 关键设备总数",
        source=f"{FACTORY_KPIS_2025}; it names this KPI and gives no formula",
        cites=((848, "关键设备数控化率 (%)"),),
        proof="the register's columns `key_equipment` and `control`",
        proof_zh="设备台账“关键设备”“控制方式”列",
        not_this="not 关键工序数控化率: machines are counted, not processes",
        compute=_key_equipment_controlled,
    ),
)

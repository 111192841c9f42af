"""How equipment works: OEE (设备综合效率), utilization, efficiency, and the share of products that are good or not.

Of known time alone, as KPIs are (docs/kpi-rules.md, 15), from exact sums of facts. `oee` is the KPI of that id and
takes the assets that the KPI takes; the others take production equipment that counts, on the days of its use.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction

from config.schema import MICRO
from config.units import NS_PER_SECOND
from kpis.indicators import months, sums
from kpis.indicators.base import Amount, Grounds, Indicator, Input
from kpis.indicators.networking import FACTORY_KPIS_2025, SME_2024
from kpis.indicators.said import Said

_HOUR = 3600 * NS_PER_SECOND
_STATE, _PIECES, _REJECTS = ("state",), ("state", "counts"), ("counts", "reject")


def _fraction(amount: int | None, per: int) -> Fraction | None:
    return None if amount is None else Fraction(amount, per)


def _measured(name: str, value: Fraction | None, unit: str, row: sums.Row) -> Input:
    return Input(name, value, unit, "measured", coverage=sums.coverage(row))


def _without(taken: sums.Taken, grounds: Grounds, subject: str, needs: Sequence[str], rule: str) -> Amount | None:
    """Return what there is of a subject that has nothing of it: of the whole plant, what is missing."""
    if subject != grounds.plant.id:
        return None
    named = sums.named(needs)
    why = Said(
        f"no production equipment has {named.en} together; complete points.csv and assets.csv",
        f"没有生产设备同时具备{named.zh}；请补全采集点表与设备台账",
    )
    return Amount(members=taken.members, missing=(why,), rule=rule)


def _quotient(
    needs: Sequence[str],
    sides: Callable[[Grounds, sums.Row], tuple[Input, Input]],
    rule: Callable[[Grounds], str],
    *,
    counting: bool = True,
    share: bool = True,
) -> Callable[[Grounds, str], Amount | None]:
    """Return the function of an indicator that is a quotient of two sums.

    sides: n and N of them. counting: as for `sums.take`. share: whether it is to be flagged above 1.
    """

    def amount(grounds: Grounds, subject: str) -> Amount | None:
        taken = sums.take(grounds, subject, needs, counting=counting)
        if not taken.assets:
            return _without(taken, grounds, subject, needs, rule(grounds))
        found = sums.sums_of(grounds)
        row = sums.total(found.used if counting else found.rows, taken.assets)
        inputs = sides(grounds, row)
        n, whole = (one.value for one in inputs)
        odd = [] if n is None or not whole else _odd(n / whole, share=share)
        return Amount(
            numerator=n,
            denominator=whole,
            inputs=inputs,
            members=taken.members,
            coverage=sums.coverage(row),
            flags=(*sums.flags(row, of_state="state" in needs), *taken.flags, *odd),
            rule=rule(grounds),
            missing=_no_cycle(grounds, subject, taken.assets) if n is None else (),
        )

    return amount


def _odd(value: Fraction, *, share: bool) -> list[str]:
    """Return the flag of a value that is no part of a whole, as results of KPIs have it."""
    return ["below_zero"] if value < 0 else ["above_one"] if share and value > 1 else []


def _no_cycle(grounds: Grounds, subject: str, assets: Sequence[str]) -> tuple[Said, ...]:
    """Return which assets made pieces without an ideal cycle."""
    rows = sums.sums_of(grounds).rows
    lacking = ", ".join(asset for asset in assets if sums.total(rows, [asset])["ideal_good"] is None)
    return (
        Said(
            f"{lacking}: pieces were made without an ideal cycle; declare it in assets.csv or products.csv",
            f"{lacking}：有产品缺少理论节拍；请在设备台账或产品表中填写",
        ),
    )


def _oee(grounds: Grounds, row: sums.Row) -> tuple[Input, Input]:
    busy = sums.known(row) - sums.of(row, "planned")
    return (
        _measured("ideal time of good pieces", _fraction(row["ideal_good"], NS_PER_SECOND), "s", row),
        _measured("planned busy time", Fraction(busy, NS_PER_SECOND), "s", row),
    )


def _utilization(grounds: Grounds, row: sums.Row) -> tuple[Input, Input]:
    calendar = grounds.plant.utilization == "calendar"
    whole = sums.calendar(row) if calendar else sums.known(row)
    name = "known calendar time" if calendar else "known planned operation time"
    return (
        _measured("production time", Fraction(sums.of(row, "production"), NS_PER_SECOND), "s", row),
        _measured(name, Fraction(whole, NS_PER_SECOND), "s", row),
    )


def _nonconforming(grounds: Grounds, row: sums.Row) -> tuple[Input, Input]:
    return (
        _measured("rejected pieces", _fraction(row["reject_known"], MICRO), "pieces", row),
        _measured("pieces", _fraction(row["total_known"], MICRO), "pieces", row),
    )


def _efficiency(grounds: Grounds, row: sums.Row) -> tuple[Input, Input]:
    return (
        _measured("good pieces", _fraction(row["good_known"], MICRO), "pieces", row),
        _measured("known planned operation time", Fraction(sums.known(row), _HOUR), "h", row),
    )


def _qualified(grounds: Grounds, subject: str) -> Amount | None:
    taken = sums.take(grounds, subject, _REJECTS, counting=True)
    if not taken.assets:
        return _without(taken, grounds, subject, _REJECTS, months.RULE)
    return months.qualified(grounds, taken)


_OEE = ("state", "counts", "ideal_cycle")

INDICATORS = (
    Indicator(
        id="oee",
        title="Overall equipment effectiveness",
        title_zh="设备综合效率（OEE）",
        unit="1",
        evidence="b",
        formula="Σ PRI·GQ / PBT",
        formula_zh="Σ（理论节拍 × 合格品数量）/ 计划工作时间",
        source=f"{SME_2024} names it; the formula: ISO 22400-2:2014, 9.2.4 OEE index (GB/T 34044.2-2017)",
        cites=((1363, "设备综合效率（OEE）统计"),),
        proof="states, counters and ideal cycles of the machines; the KPI oee of the same period",
        proof_zh="设备状态、产量计数与理论节拍；与同期 KPI oee 一致",
        not_this="not 设备综合利用率; for a line not the OEE of its bottleneck",
        compute=_quotient(_OEE, _oee, lambda _: "", counting=False),
    ),
    Indicator(
        id="equipment_utilization_rate",
        title="Equipment utilization rate",
        title_zh="设备综合利用率",
        unit="1",
        evidence="a",
        formula="production time / planned operation time (or calendar time) in which the state is known",
        formula_zh="生产时间 / 状态已知的计划运行时间（或日历时间）",
        source=f"{FACTORY_KPIS_2025}; it names the KPI's rise and gives no formula",
        cites=((860, "设备综合利用率提升 (%)"),),
        proof="the register, and samples of each machine's state",
        proof_zh="设备台账与各设备运行状态的采集数据",
        not_this="not OEE: neither pace nor quality enters it; not itself the rise that the KPI asks for",
        compute=_quotient(_STATE, _utilization, lambda grounds: f"utilization={grounds.plant.utilization}"),
    ),
    Indicator(
        id="product_nonconforming_rate",
        title="Product nonconforming rate",
        title_zh="产品不良率",
        unit="1",
        evidence="b",
        formula="rejected pieces / pieces",
        formula_zh="不合格品数量 / 产量",
        source=f"{FACTORY_KPIS_2025}; it names the KPI's fall and gives no formula",
        cites=((859, "产品不良率下降 (%)"),),
        proof="counters of pieces and rejects",
        proof_zh="产量与不合格品计数的采集数据",
        not_this="not a rate of finished products: a piece that three machines count is counted three times",
        compute=_quotient(_REJECTS, _nonconforming, lambda _: "reject/total"),
        better="down",
    ),
    Indicator(
        id="product_qualified_rate",
        title="Monthly mean of the share of good products",
        title_zh="月均产品合格率",
        unit="1",
        evidence="b",
        formula="mean over months of good pieces / pieces",
        formula_zh="各月（合格品数量 / 产量）的平均值",
        source=f"{SME_2024}; it names it and gives no formula",
        cites=((1337, "月均产品合格率"),),
        proof="counters of pieces, good pieces and rejects, month by month",
        proof_zh="按月统计的产量、合格品与不合格品计数",
        not_this="not the share of the whole period: each month counts the same; not of finished products",
        compute=_qualified,
    ),
    Indicator(
        id="production_efficiency",
        title="Production efficiency",
        title_zh="生产效率",
        unit="件/h",
        evidence="b",
        formula="good pieces / known planned operation time",
        formula_zh="合格品数量 / 状态已知的计划运行时间",
        source=f"{FACTORY_KPIS_2025}; it names the KPI's rise and gives no formula",
        cites=((857, "生产效率提升 (%)"),),
        proof="states and counters of the machines",
        proof_zh="设备状态与产量计数的采集数据",
        not_this="not labour productivity (全员劳动生产率): pieces of all kinds are added, over machine hours",
        compute=_quotient(_PIECES, _efficiency, lambda _: "good/planned_operation", share=False),
        share=False,
    ),
)

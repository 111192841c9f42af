"""APC rate (先进过程控制投用率): time of control loops under advanced process control / time in which that is known.

Amounts come from facts (docs/kpi-rules.md, 24): planned operation time of each loop's asset. No text gives a formula.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import polars as pl

from config.plant import Plant
from config.registers import Loop
from config.schema import ELEMENTS
from config.units import NS_PER_SECOND
from kpis.indicators.base import Amount, Grounds, Indicator, Input, Member
from kpis.indicators.counting import in_use, last_day, out_of_use
from kpis.indicators.networking import FACTORY_KPIS_2025
from kpis.indicators.said import NOTHING, Said

RULE = "apc_on/apc_known"


@dataclass(frozen=True, slots=True)
class _Times:
    """An asset's time under advanced process control, time in which that is known, and planned operation time [ns]."""

    on: int = 0
    known: int = 0
    planned: int = 0


def loops_of(plant: Plant) -> list[Loop]:
    """Return the register of loops; without one, every asset with a point of role `apc` is a loop."""
    if plant.loops:
        return list(plant.loops)
    controlled = {point.asset for point in plant.points if point.role == "apc"}
    return [Loop(loop=a.asset, asset=a.asset, name=a.name) for a in plant.assets if a.asset in controlled]


def _amount(grounds: Grounds, subject: str) -> Amount | None:
    here = {asset.asset for asset in grounds.assets(subject)}
    loops = [loop for loop in loops_of(grounds.plant) if loop.asset in here]
    if not loops:
        return Amount(missing=(_NO_LOOPS,), rule=RULE) if subject == grounds.plant.id else None
    times = _times(in_use(grounds.plant, grounds.facts), [loop.asset for loop in loops])
    reasons = [_left_out(grounds, loop) for loop in loops]
    counting = [loop for loop, why in zip(loops, reasons, strict=True) if why == NOTHING]
    if not counting and subject != grounds.plant.id:
        return None
    on, known, planned = (sum(getattr(times[loop.asset], name) for loop in counting)
                          for name in ("on", "known", "planned"))  # fmt: skip
    silent = [loop.loop for loop in counting if not times[loop.asset].known]
    coverage = known / planned if planned else None
    return Amount(
        numerator=Fraction(on, NS_PER_SECOND),
        denominator=Fraction(known, NS_PER_SECOND),
        inputs=(_seconds("time of loops under advanced process control", on, coverage),
                _seconds("time of loops in which this is known", known, coverage)),
        members=[_member(*each, times) for each in zip(loops, reasons, strict=True)],
        coverage=coverage,
        flags=_flags(counting, silent),
        rule=RULE,
    )  # fmt: skip


def _flags(counting: Sequence[Loop], silent: Sequence[str]) -> tuple[str, ...]:
    # The facts of an asset are those of its one point of role `apc`.
    shared = len(counting) > len({loop.asset for loop in counting})
    return (*([f"loops_without_data={len(silent)}"] if silent else []), *(["loops_share_point"] if shared else []))


def _seconds(name: str, ns: int, coverage: float | None) -> Input:
    return Input(name, Fraction(ns, NS_PER_SECOND), "s", "measured", coverage=coverage)


def _times(facts: pl.DataFrame, assets: Sequence[str]) -> Mapping[str, _Times]:
    """Return each asset's times from the FACT rows of its use."""
    mine = facts.filter(pl.col("asset").is_in(assets))
    ns = {"on": pl.col("apc_on"), "known": pl.col("apc_known"), "planned": pl.sum_horizontal(ELEMENTS)}
    sums = mine.group_by("asset").agg(**{name: column.dt.total_nanoseconds().sum() for name, column in ns.items()})
    found = {row.pop("asset"): _Times(**row) for row in sums.to_dicts()}
    return {asset: found.get(asset, _Times()) for asset in assets}


def _left_out(grounds: Grounds, loop: Loop) -> Said:
    """Return why a loop does not count; NOTHING: it counts."""
    asset = next(asset for asset in grounds.plant.assets if asset.asset == loop.asset)
    excluded = loop.excluded or asset.excluded
    return Said(excluded, excluded) if excluded else out_of_use(asset, last_day(grounds.plant, grounds.end))


def _member(loop: Loop, left_out: Said, times: Mapping[str, _Times]) -> Member:
    """Return a loop as a member: it is met where it was under advanced process control at all."""
    of = times[loop.asset]
    if left_out != NOTHING:
        return Member(loop.loop, loop.name, counted=False, met=False, reason=left_out)
    if not of.known:
        why = Said(f"no data: apc of {loop.asset} was never known", f"无数据：{loop.asset} 的投用状态始终未知")
        return Member(loop.loop, loop.name, counted=False, met=False, reason=why)
    never = NOTHING if of.on else Said("never under advanced process control", "期间内从未投用")
    return Member(loop.loop, loop.name, counted=True, met=of.on > 0, reason=never)


_NO_LOOPS = Said(
    "no control loop is registered; add loops.csv, or a point of role apc to points.csv",
    "没有登记控制回路；请添加控制回路台账，或在采集点表中添加角色为 apc 的点位",
)

INDICATORS = (
    Indicator(
        id="apc_rate",
        title="APC rate",
        title_zh="先进过程控制投用率",
        unit="1",
        evidence="b",
        formula="time of loops under advanced process control / time in which this is known",
        formula_zh="各控制回路先进过程控制投用时间之和 / 投用状态已知时间之和",
        source=f"{FACTORY_KPIS_2025}; it names this KPI and gives no formula",
        cites=((849, "先进过程控制投用率 (%)"),),
        proof="the register of loops, and samples of each loop's point of role `apc`",
        proof_zh="控制回路台账，以及各回路投用状态的采集数据",
        not_this="not 自控率: whether loops are in automatic mode is not asked; not a share of loops: each counts with "
        "its time",
        compute=_amount,
    ),
)

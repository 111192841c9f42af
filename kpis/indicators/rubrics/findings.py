"""What the data show beside figures: which kinds of data are collected, from which devices.

A finding proves an option, or a part of it; it never raises a level by itself. A kind of data counts as collected from
a device where its points of that kind had good samples in enough of the planned time (the rule of 设备联网率).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from kpis.indicators.base import Figure, Grounds
from kpis.indicators.counting import last_day, out_of_use
from kpis.indicators.said import NOTHING, Said

KINDS: Mapping[str, tuple[tuple[str, ...], str, Said]] = {
    "collected:production": (
        ("state", "total", "good", "product", "order"),
        "生产管控",
        Said("production", "生产管控"),
    ),
    "collected:quality": (("good", "reject", "rework"), "质量管理", Said("quality", "质量管理")),
    "collected:equipment": (("state", "mode", "reason", "alarm", "measure"), "设备管理", Said("equipment", "设备管理")),
    "collected:safety": ((), "安全生产", Said("safety", "安全生产")),
    "collected:energy": (("energy", "power"), "能耗管理", Said("energy", "能耗管理")),
}
"""Finding -> the roles of points that tell of it, the 业务环节 that a register may name for a device, and its name."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether something is shown by the data, and by which devices, or why not."""

    id: str
    holds: bool
    devices: Sequence[str]
    told: Said


def findings(grounds: Grounds, figures: Mapping[str, Figure]) -> dict[str, Finding]:
    """Return every finding of a period by its id; figures: those of the whole plant, by indicator."""
    found = [_collected(grounds, name) for name in KINDS]
    found += [_shopfloor(grounds), _ledger(grounds)]
    found += [_computed("oee-computed", "oee", "OEE", "设备综合效率（OEE）", figures)]
    found += [_computed("apc-evidenced", "apc_rate", "time under advanced control", "先进过程控制投用时间", figures)]
    return {one.id: one for one in found}


def _devices(grounds: Grounds) -> pl.DataFrame:
    """Return the device list without what is excluded or not in use; meters and the like are in it."""
    day = last_day(grounds.plant, grounds.end)
    left_out = [a.asset for a in grounds.plant.assets if a.excluded or out_of_use(a, day) != NOTHING]
    return grounds.devices.filter(~pl.col("asset").is_in(left_out))


def _collected(grounds: Grounds, name: str) -> Finding:
    roles, segment, kind = KINDS[name]
    named = [asset.asset for asset in grounds.plant.assets if asset.segment == segment]
    heads = pl.col("roles").list.eval(pl.element().str.split(".").list.first().is_in(list(roles)))
    told = heads.list.any() | (pl.col("asset").is_in(named) & (pl.col("roles").list.len() > 0))
    devices = _devices(grounds).filter(told)["asset"].to_list()
    if devices:
        en = f"{kind.en} data are collected automatically from {len(devices)} devices: {_some(devices)}"
        zh = f"已从 {len(devices)} 台设备自动采集{kind.zh}数据：{_some(devices)}"
    else:
        share = f"{grounds.plant.networking.evidenced_share * 100:g} %"
        en = f"no device has good {kind.en} data in {share} of its planned time"
        zh = f"没有一台设备的{kind.zh}数据，有效时间达到计划运行时间的 {share}"
    return Finding(name, bool(devices), devices, Said(en, zh))


def _shopfloor(grounds: Grounds) -> Finding:
    devices = _devices(grounds).filter(pl.col("evidenced") & pl.col("connectable"))["asset"].to_list()
    if devices:
        en, zh = f"{len(devices)} devices are read over the plant's network", f"{len(devices)} 台设备经厂内网络采集"
    else:
        en, zh = "no device is read over the plant's network", "没有设备经厂内网络采集"
    return Finding("network:shopfloor", bool(devices), devices, Said(en, zh))


def _ledger(grounds: Grounds) -> Finding:
    plant = grounds.plant
    holds = bool(plant.assets and plant.points) and bool(_devices(grounds)["evidenced"].any())
    en = f"device register ({len(plant.assets)} rows) and point table ({len(plant.points)} rows) stand beside the data"
    zh = f"设备台账（{len(plant.assets)} 行）、采集点表（{len(plant.points)} 行）与数据对应"
    nothing = Said("there are no evidenced data that a data ledger could list", "没有可列入数据台账的有效数据")
    return Finding("data-ledger", holds, [], Said(en, zh) if holds else nothing)


def _computed(name: str, indicator: str, en: str, zh: str, figures: Mapping[str, Figure]) -> Finding:
    figure = figures.get(indicator)
    holds = figure is not None and figure.value is not None
    told = Said(f"{en} is computed from the data", f"{zh}由采集数据计算")
    return Finding(name, holds, [], told if holds else Said(f"no {en} could be computed", f"无法由数据计算{zh}"))


def _some(devices: Sequence[str], most: int = 5) -> str:
    more = ", …" if len(devices) > most else ""
    return ", ".join(devices[:most]) + more

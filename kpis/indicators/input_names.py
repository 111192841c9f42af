"""Inputs of figures and their units in Chinese."""

import re
from collections.abc import Mapping

from kpis.indicators.declared import name_zh
from kpis.indicators.said import Lang, Said

_NAMES: Mapping[str, str] = {
    "connectable production equipment": "已配置采集地址的生产设备",
    "connected production equipment": "已连通的生产设备",
    "evidenced production equipment": "已证实联网的生产设备",
    "production equipment": "生产设备总数",
    "digital production equipment": "数字化生产设备",
    "digital and evidenced": "其中由采集数据证实",
    "key equipment under numerical control": "实现数控的关键设备",
    "key equipment": "关键设备总数",
    "key processes under numerical control": "实现数控化的关键工序",
    "key processes": "关键工序总数",
    "time of loops under advanced process control": "先进过程控制投用时间",
    "time of loops in which this is known": "投用状态已知时间",
    "ideal time of good pieces": "合格品理论加工时间",
    "planned busy time": "计划工作时间（状态已知部分）",
    "known calendar time": "状态已知的日历时间",
    "known planned operation time": "状态已知的计划运行时间",
    "production time": "生产时间",
    "rejected pieces": "不合格品数量",
    "good pieces": "合格品数量",
    "pieces": "产量",
    "pieces counted": "计数产量",
    "share of good pieces": "合格品占比",
}
_UNITS: Mapping[str, str] = {
    "devices": "台", "processes": "个", "pieces": "件", "pieces/h": "件/小时", "stops": "次", "s": "秒", "h": "小时",
    "tce": "吨标准煤", "件/h": "件/小时", "1": "",
}  # fmt: skip
_OF_MONTH = re.compile(r"good (\S+) of (\S+) pieces")
_PART = re.compile(r"(.+) \((.+)\)")
"""A row that an amount is made up of: consumption.electricity (2025-03)."""
ORIGINS: Mapping[str, Said] = {
    "register": Said("register", "台账"),
    "measured": Said("measured", "采集"),
    "declared": Said("declared", "填报"),
}


def input_name(name: str, lang: Lang) -> str:
    """Return what an input is called; a measure that is declared by its Chinese name."""
    if lang == "en":
        return name
    if found := _OF_MONTH.fullmatch(name):
        return f"合格品 {found[1]} 件 / 产量 {found[2]} 件"
    if found := _PART.fullmatch(name):
        return f"{name_zh(found[1])}（{found[2]}）"
    return _NAMES.get(name) or name_zh(name)


def unit_name(unit: str, lang: Lang) -> str:
    """Return a unit as people read it; a share has none."""
    if lang == "en":
        return "" if unit == "1" else unit
    return _UNITS.get(unit) or ("" if unit in _UNITS else unit.replace("/piece", "/件"))

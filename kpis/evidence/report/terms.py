"""What the code names in English alone, in both languages: inputs, units, flags, elements."""

from collections.abc import Mapping

from config.factors import coal_factors
from config.plant import Plant
from kpis.explain.words import FLAGS
from kpis.indicators.said import Lang, Said

ELEMENTS: Mapping[str, Said] = {
    "production": Said("production", "生产"),
    "setup": Said("setup", "换型"),
    "delay": Said("unplanned stop", "非计划停机"),
    "idle": Said("idle, no order", "空闲（无任务）"),
    "planned": Said("planned down time", "计划停机"),
    "unknown": Said("unknown", "未知"),
    "break": Said("break", "班内休息"),
    "unscheduled": Said("outside every shift", "班外"),
}


CLASSES: Mapping[str, Said] = {
    "a": Said("register and telemetry", "设备台账 + 采集数据"),
    "b": Said("telemetry", "采集数据"),
    "c": Said("telemetry and business data", "采集数据 + 经营数据"),
    "d": Said("declared by a person", "人工填报"),
}


_MEDIA_ZH: Mapping[str, str] = {"electricity": "电力", "water": "水", "gas": "燃气"}

_FLAGS_ZH: Mapping[str, str] = {
    "reset": "有计数器或表计读数下降且不是满量程翻转：自下降处从 0 起继续累计",
    "gap_increment": "数据中断期间的产量或能耗增量已计入",
    "refused_step": "有计数增量超过 max_rate 或无故下降，未予计入",
    "unmapped_state": "设备上报了状态映射表中没有的状态，该时间按未知处理",
    "assumed": "没有不合格品计数，全部产量按合格品处理",
    "assets_left_out": "部分生产设备缺少计算所需数据，未计入",
    "unknown_time": "部分计划时间状态未知，已剔除；其影响见上下限",
    "above_one": "数值大于 100%：理论节拍偏大或计数偏多，未作截断",
    "below_zero": "数值小于 0：实际快于理论节拍，或各计数相互矛盾",
    "inferred": "部分设备没有状态点，生产与停机由计数节奏推断",
    "media_left_out": "部分介质没有折标系数，未计入合计",
    "bottleneck=": "数值取自该瓶颈设备（台账中理论节拍最大者）",
    "r2=": "回归拟合的决定系数，1 为完全解释",
    "proven=": "其中由采集数据证实的台数",
    "without_address=": "没有采集地址、数据来自导入文件的台数",
    "loops_without_data=": "没有数据的控制回路数",
    "loops_share_point": "多个回路共用一个投用点位",
    "months_without_pieces=": "没有产量的月份数",
    "media_left_out=": "未计入的介质",
    "meters_not_registered": "没有计量器具台账，采集点表中的表计全部计入",
    "unmetered_time=": "计量未覆盖全部时段的量",
    "declared_used=": "计量不完整，以填报值为准的量",
    "metered_less_declared=": "计量值减填报值之差",
    "mean_of_periods=": "按各期天数加权平均的填报量",
    "parts_differ=": "分期填报之和与全期填报值不一致，以全期值为准",
    "pieces_of_several_machines": "产量为多台设备计数之和，同一工件经过多台设备会重复计数",
    "secondary": "转引的公式",
}

_FLAGS_EN: Mapping[str, str] = FLAGS | {
    "proven=": "so many of them are proven by their data",
    "without_address=": "so many have no address: their data came from files",
    "loops_without_data=": "so many loops have no data",
    "loops_share_point": "several loops share one point",
    "months_without_pieces=": "so many months have no pieces",
    "media_left_out=": "media that are not in the sum, as nothing converts them",
    "meters_not_registered": "there is no register of meters: every meter of the point table counts",
    "unmetered_time=": "its meters were not known in all of the period",
    "declared_used=": "metering has gaps, so the declared amount counts",
    "metered_less_declared=": "what is metered less what is declared",
    "mean_of_periods=": "the mean of declared periods, weighted by their days",
    "parts_differ=": "declared parts do not come to the declared whole, which counts",
    "pieces_of_several_machines": "pieces of several machines are added: one that passes two is counted twice",
}


def medium(name: str, plant: Plant, lang: Lang) -> str:
    """Return what a medium is called: in Chinese as the plant's coefficients have it."""
    of = coal_factors(plant.coal_factors).factors.get(name)
    return name if lang == "en" else _MEDIA_ZH.get(name) or (of.name if of is not None else name)


def flag(text: str, lang: Lang) -> str:
    """Return a flag with what it says."""
    name, equals, _ = text.partition("=")
    words = _FLAGS_ZH if lang == "zh" else _FLAGS_EN
    meaning = words.get(name + equals) or words.get(name) or ""
    if not meaning:
        return text
    return f"{meaning}（{text}）" if lang == "zh" else f"{meaning} ({text})"

"""Which role a variable's name, type and unit suggest: the tables behind `browse --points`.

A guess is made only where the name says it outright; everything else is a measure. English, German and Chinese.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from config.units import METER_UNITS

Kind = Literal["number", "whole", "boolean", "text", "other"]

_CJK = re.compile(r"[\u4e00-\u9fff]")
_CAMEL = re.compile(r"(?<=[a-zäöüß0-9])(?=[A-ZÄÖÜ])|(?<=[A-ZÄÖÜ])(?=[A-ZÄÖÜ][a-zäöüß])")
_FOLD = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """Names that suggest a role."""

    role: str
    kinds: tuple[Kind, ...]
    exact: tuple[str, ...] = ()
    """Whole names."""
    within: tuple[str, ...] = ()
    """Words that may stand inside a longer name."""


COUNTED: tuple[Kind, ...] = ("whole", "number")
NAMED: tuple[Kind, ...] = ("text", "whole")

GUESSES: tuple[Guess, ...] = (
    Guess(
        role="rework", kinds=COUNTED,
        exact=("rework", "nacharbeit"),
        within=("rework count", "rework parts", "parts rework", "nacharbeitsteile", "返工", "返修"),
    ),
    Guess(
        role="reject", kinds=COUNTED,
        exact=("reject", "rejects", "rejected", "scrap", "ausschuss", "schlecht"),
        within=(
            "reject count", "rejected parts", "scrap count", "bad count", "bad parts", "parts bad", "defect count",
            "defective count", "ng count", "nio teile", "schlechtteile", "ausschussteile", "ausschussmenge",
            "anzahl ausschuss", "不良", "不合格", "废品", "报废", "次品",
        ),
    ),
    Guess(
        role="good", kinds=COUNTED,
        exact=("good", "gut"),
        within=(
            "good count", "good parts", "parts good", "good pieces", "ok count", "ok parts", "io teile", "gutteile",
            "gutmenge", "良品", "合格品", "合格数", "合格件",
        ),
    ),
    Guess(
        role="total", kinds=COUNTED,
        exact=("total", "产量", "总数", "stueckzahl"),
        within=(
            "part count", "parts count", "piece count", "pieces count", "parts produced", "pieces produced",
            "total count", "production count", "produced count", "total parts", "parts total", "total pieces",
            "part counter", "parts counter", "piece counter", "gesamtstueckzahl", "gesamtteile", "teilezaehler",
            "stueckzaehler", "总产量", "总产数", "生产总数", "加工总数", "加工件数", "生产数量", "累计产量", "产量计数",
        ),
    ),
    Guess(
        role="order", kinds=NAMED,
        exact=("order", "auftrag", "工单", "订单", "job"),
        within=(
            "order id", "order number", "order no", "work order", "production order", "job id", "job number",
            "auftragsnummer", "auftrags nr", "fertigungsauftrag", "工单号", "订单号", "生产订单",
        ),
    ),
    Guess(
        role="product", kinds=NAMED,
        exact=("product", "article", "produkt", "artikel", "产品"),
        within=(
            "product id", "product name", "product code", "product number", "article number", "artikelnummer",
            "artikel nr", "teilenummer", "产品型号", "产品编号", "产品名称", "产品代码", "品号",
        ),
    ),
    Guess(
        role="apc", kinds=("boolean", "whole"),
        exact=("apc", "先控"),
        within=("apc active", "apc on", "apc enabled", "先控投用", "先进控制投用"),
    ),
    Guess(
        role="alarm", kinds=("boolean", "whole", "text"),
        exact=("alarm", "fault", "stoerung", "报警", "告警", "故障"),
        within=(
            "alarm active", "alarm code", "alarm number", "fault code", "fault active", "stoerung aktiv",
            "stoermeldung", "报警代码", "报警号", "报警状态", "故障代码",
        ),
    ),
    Guess(
        role="state", kinds=NAMED,
        exact=("state", "status", "zustand", "状态"),
        within=(
            "machine state", "machine status", "state current", "operating state", "betriebszustand",
            "maschinenzustand", "maschinenstatus", "anlagenstatus", "运行状态", "设备状态", "机器状态", "机床状态",
        ),
    ),
)  # fmt: skip
"""The first that fits counts."""

NOT_ACTUAL = (
    "set", "setpoint", "target", "limit", "min", "max", "avg", "average", "mean", "last", "previous", "reset",
    "enable", "command", "cmd", "request", "requested", "plan", "planned", "remaining", "per", "time", "duration",
    "rate", "soll", "sollwert", "grenzwert", "mittelwert", "vorgabe", "rest", "zeit", "dauer", "quote",
    "设定", "目标", "上限", "下限", "平均", "计划", "剩余", "时间", "时长", "单耗",
    "合格率", "良品率", "不良率", "报废率", "稼动率", "效率", "节拍",
)  # fmt: skip
"""Words of values that are wished, limited, averaged or divided: never a counter, meter or state."""

SHORT_LIVED = (
    "today", "shift", "hour", "day", "month", "heute", "schicht", "tag", "monat", "今日", "当日", "本班", "本月",
)  # fmt: skip
"""Words of meters that begin anew again and again; another meter counts on."""

MEDIA: Mapping[str, tuple[str, ...]] = {
    "compressed_air": ("compressed air", "druckluft", "压缩空气", "压空"),
    "natural_gas": ("gas", "natural gas", "erdgas", "天然气", "燃气"),
    "steam": ("steam", "dampf", "蒸汽"),
    "water": ("water", "wasser", "自来水", "用水", "水量", "水表"),
    "heat": ("heat", "thermal", "waerme", "热量", "热能", "供热"),
    "electricity": (
        "electric", "electrical", "electricity", "energy", "active energy", "power", "active power", "strom",
        "energie", "wirkenergie", "wirkleistung", "leistung", "kwh", "kw", "电能", "电量",
        "用电", "能耗", "功率", "电表",
    ),
}  # fmt: skip
"""Medium -> words of its meters; the first that fits counts."""
_STOCK = ("tank", "level", "volume", "fuellstand", "液位", "储罐")

UNITS: Mapping[str, str] = {
    "kW·h": "kWh", "kW h": "kWh", "KWH": "kWh", "kwh": "kWh", "W·h": "Wh", "W h": "Wh", "MW·h": "MWh", "MW h": "MWh",
    "m^3": "m3", "m³": "m3", "cbm": "m3", "立方米": "m3", "Nm³": "Nm3", "Nm^3": "Nm3", "l": "L", "升": "L",
    "KW": "kW", "千瓦": "kW", "千瓦时": "kWh", "度": "kWh", "吨": "t", "千克": "kg", "公斤": "kg",
}  # fmt: skip
"""Other spellings of the units of meters; a unit that is in neither list stays as it is."""
CODES: Mapping[str, str] = {
    "WHR": "Wh", "KWH": "kWh", "MWH": "MWh", "GWH": "GWh", "JOU": "J", "KJO": "kJ", "3B": "MJ", "GV": "GJ",
    "LTR": "L", "MTQ": "m3", "KGM": "kg", "TNE": "t", "WTT": "W", "KWT": "kW", "MAW": "MW",
}  # fmt: skip
"""Common codes of UNECE Recommendation 20, which EUInformation bears as a number (OPC 10000-8, 5.6.3)."""


def unit_of(code: int, shown: str) -> str:
    """Return a unit in the project's spelling: by its UNECE code where that names one, else as it is shown."""
    letters = code.to_bytes(4, "big").lstrip(b"\0").decode("latin-1") if 0 < code < 2**31 else ""
    return CODES.get(letters) or UNITS.get(shown, shown)


def words(name: str) -> str:
    """Return a name's words in small letters between spaces: `Press1.PartCount` is ` part count `."""
    last = re.split(r"[./]", name.rstrip("./"))[-1]
    parts = re.findall(r"[^\W\d_]+", _CAMEL.sub(" ", last))
    return f" {' '.join(part.lower().translate(_FOLD) for part in parts)} "


def guess(name: str, kind: Kind, unit: str = "") -> str:
    """Return the role that a variable's name, kind of value and unit suggest; `measure` where none is clear."""
    said = words(name)
    if kind == "other" or any(_has(said, word) for word in NOT_ACTUAL):
        return "measure"
    if unit in METER_UNITS:
        return _meter(said, unit) if kind in COUNTED else "measure"
    for one in GUESSES:
        if kind in one.kinds and (said.strip() in one.exact or any(_has(said, word) for word in one.within)):
            return one.role
    return "measure"


def _has(said: str, word: str) -> bool:
    return word in said if _CJK.search(word) else f" {word} " in said


def _meter(said: str, unit: str) -> str:
    """Return `energy.<medium>` or `power.<medium>`; `measure` where the medium or the counting is in doubt."""
    dimension = METER_UNITS[unit].dimension
    if any(_has(said, word) for word in (*SHORT_LIVED, *_STOCK)):
        return "measure"
    medium = next((name for name, told in MEDIA.items() if any(_has(said, word) for word in told)), None)
    if dimension == "power":
        return f"power.{medium}" if medium in ("electricity", "heat") else "measure"
    if dimension == "energy":
        watt_hours = unit.endswith("Wh")
        return f"energy.{medium or 'electricity'}" if medium or watt_hours else "measure"
    return f"energy.{medium}" if medium not in (None, "electricity") else "measure"

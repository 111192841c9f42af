"""Writes the figures of the sizing into the documents' tables, between two marks."""

import re
from pathlib import Path
from typing import Any

from benchmarks import record

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- figures of benchmarks/results/sizing.json: begin -->", "<!-- figures: end -->"
REFERENCE = "reference loop"
"""The figure of the reference loop [ms of CPU]."""
COLUMNS = {
    "rows stored": ("rows/s", "行/秒", 0),
    "CPU": ("CPU: collect [%]", "CPU：采集 [%]", 1),
    "CPU of merging": ("CPU: merge [%]", "CPU：合并 [%]", 1),
    "RSS": ("RSS [MiB]", "RSS [MiB]", 0),
    "PSS": ("PSS [MiB]", "PSS [MiB]", 0),
    "spool": ("spool [B/s]", "本地缓存 [B/s]", 0),
    "lake a sample": ("lake [B/sample]", "原始数据库 [B/样本]", 2),
    "lake a day": ("lake [MiB/day]", "原始数据库 [MiB/天]", 0),
    "disk writes a day": ("disk writes [MiB/day]", "磁盘写入 [MiB/天]", 0),
    "network": ("network [kbit/s]", "网络 [kbit/s]", 0),
}
"""Figure of a case -> the column's heads in English and Chinese, and how many digits stand behind the point."""
HEADS = {"en": ("source", "points", "change a second"), "zh": ("数据源", "点数", "每秒变化")}
SOURCES = {
    "Modbus TCP": "Modbus TCP",
    "OPC UA, polled": "OPC UA 轮询",
    "OPC UA, subscription": "OPC UA 订阅",
    "MQTT": "MQTT",
}
PAGES = {"en": "sizing.md", "zh": "sizing.zh-CN.md"}


def publish() -> None:
    """Write the tables of both languages from what was recorded."""
    found = record.read("sizing")
    for lang, name in PAGES.items():
        page = DOCS / name
        text = page.read_text("utf-8")
        before, _, rest = text.partition(BEGIN)
        page.write_text(f"{before}{BEGIN}\n{_words(found, lang)}{END}{rest.partition(END)[2]}", "utf-8")


def cases(figures: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the figures by case and name."""
    found: dict[str, dict[str, float]] = {}
    for key, (value, *_) in figures.items():
        case, _, name = key.rpartition(": ")
        if case:
            found.setdefault(case, {})[name] = value
    return found


def _words(found: dict[str, Any], lang: str) -> str:
    about, figures = found["about"], found["figures"]
    machine = f"{about['cpu']}, {about['machine']}, {about['cores']}", f"{about['kernel']}, Python {about['python']}"
    loop = f"{figures[REFERENCE][0]:.1f} ms"
    said = {
        "en": f"Measured on {about['date']}: {machine[0]} cores, {machine[1]}. Reference loop: {loop}.",
        "zh": f"测量于 {about['date']}：{machine[0]} 核，{machine[1]}。参考循环：{loop}。",
    }[lang]
    return f"\n{said}\n\n{_table(cases(figures), lang)}\n\n"


def _table(found: dict[str, dict[str, float]], lang: str) -> str:
    heads = [*HEADS[lang], *(column[lang == "zh"] for column in COLUMNS.values())]
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)]]
    for case, figures in found.items():
        source, points, share = re.fullmatch(r"(.*), ([\d,]+) points, (\d+%) change", case).groups()  # type: ignore[union-attr]
        values = (f"{figures[name]:,.{digits}f}" for name, (*_, digits) in COLUMNS.items())
        lines.append([source if lang == "en" else SOURCES[source], points, share, *values])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

"""Names of a package's files, and what each is."""

from collections.abc import Mapping

from kpis.indicators.said import Said

FORMAT = 2
DESCRIPTOR = "datapackage.json"
MANIFEST = "manifest-sha256.txt"
SIGNATURE = "signature.dsse.json"
LEDGER = "ledger.jsonl"
CONFIG, RULES, SCHEMAS, DATA = "config/", "rules/", "schemas/", "data/"
"""Folders: the plant's own files; factors, state maps and rubrics that were used; JSON Schemas; Parquet."""

FILES: Mapping[str, Said] = {
    "README.txt": Said("what this package is and how to check it", "本证据包说明及核验方法"),
    "report.html": Said("report in Chinese", "中文报告"),
    "report.en.html": Said("report in English", "英文报告"),
    "workbook.xlsx": Said("workbook", "工作簿"),
    "indicators.json": Said("figures, KPIs and comparisons, for programs", "指标、KPI 与对比（供程序读取）"),
    "indicators.csv": Said("figures, for a spreadsheet", "指标（供电子表格打开）"),
    "kpis.csv": Said("KPIs of the period, for a spreadsheet", "KPI（供电子表格打开）"),
    "assessments.json": Said("rubrics held against the figures, for programs", "评分细则对照（供程序读取）"),
    "devices.csv": Said("device list: what counts, and what is networked", "联网设备清单"),
    "gaps.csv": Said("when devices were not known", "数据缺口清单"),
    "partitions.csv": Said("hash of each point's samples of each day", "逐日逐点采样数据校验值"),
    "declared.json": Said("declared values, by whom, with attachments' hashes", "填报数据（填报人、附件校验值）"),
    "provenance.json": Said("what came from what (PROV)", "数据来源关系（PROV）"),
    "data/facts.parquet": Said("facts of the period", "本期事实数据"),
    "data/demand.parquet": Said("metered amounts by demand interval", "按需量周期的计量数据"),
    "data/devices.parquet": Said("device list", "设备清单"),
    "data/shifts.parquet": Said("KPIs by shift", "分班次 KPI"),
    "data/gaps.parquet": Said("when devices were not known", "数据缺口"),
    "data/partitions.parquet": Said("hash of each point's samples of each day", "逐日逐点采样数据校验值"),
    "data/samples.parquet": Said("samples to check facts by", "供核验的采样数据"),
    "data/timeline.parquet": Said("states of the time that the samples are of", "采样时段的设备状态"),
}
"""Files of every package, but for the descriptor, the manifest and the signature."""
BEFORE: Mapping[str, Said] = {
    "data/before/facts.parquet": Said("facts of the period before", "对比期事实数据"),
    "data/before/demand.parquet": Said("metered amounts of the period before", "对比期计量数据"),
    "data/before/devices.parquet": Said("device list of the period before", "对比期设备清单"),
}
"""Files of a package that compares two periods."""

"""The first sheet: what the workbook is of, by which rules, and what it proves and does not prove."""

from collections.abc import Iterator, Sequence

from config.plant import Plant
from config.units import NS_PER_SECOND
from kpis.evidence.contents import Contents
from kpis.indicators.view import told_devices, told_period
from kpis.spreadsheets.sheet import Sheet

_STORES = {"lake": "原始数据库（lake）", "influxdb": "InfluxDB（influxdb）"}
_KINDS = {"discrete": "离散型", "process": "流程型"}
_YES_NO = {"good": "计为有效", "bad": "计为无效"}
_DIVIDED = {"planned": "计划运行时间", "calendar": "日历时间"}
_NC = {"all": "全部关键设备数控化", "any": "任一设备数控化"}
PROVES = (
    "本工作簿由证据包所列数据按所列规则计算得出，任何人用同一证据包重新计算，得到相同的数值。",
    "它说明采集系统在本期收到并保存了哪些数据、缺了哪些数据，以及各项指标如何由这些数据、台账和填报数据得出。",
)
NOT = (
    "它不能证明设备控制器（PLC）、仪表测得或上报的数值符合实际。",
    "台账由审批人负责；标为“自行申报”的数据由填报人负责，未经采集数据证实。",
)


def cover(contents: Contents, sheets: Sequence[Sheet]) -> Sheet:
    """Return the cover, with what the other sheets are."""
    rows = [
        *(("概况", *row) for row in _about(contents)),
        *(("规则", *row) for row in _rules(contents.plant)),
        *(("能证明什么", f"{n}", text) for n, text in enumerate(PROVES, 1)),
        *(("不能证明什么", f"{n}", text) for n, text in enumerate(NOT, 1)),
        *(("工作表", sheet.name, f"{len(sheet.rows)} 行。{sheet.note}") for sheet in sheets),
    ]
    title = f"{_name(contents.plant)} 证据工作簿"
    return Sheet(name="封面", heads=("栏目", "项目", "内容"), rows=rows, note=title, widest=110)


def _name(plant: Plant) -> str:
    return f"{plant.name}（{plant.id}）" if plant.name else plant.id


def _about(contents: Contents) -> Iterator[tuple[str, str]]:
    plant, traces, before = contents.plant, contents.traces, contents.asked.before
    yield "工厂", _name(plant)
    yield "行业类型", _KINDS[plant.kind]
    yield "统计期间", told_period(plant, contents.asked.period, "zh")
    yield "对比期间", "无" if before is None else told_period(plant, before, "zh")
    yield "时区、生产日分界", f"{plant.timezone}，{plant.day_start:%H:%M}"
    for line in told_devices(contents.now, "zh"):
        yield "设备判定期间", line
    yield "数据存储", _STORES.get(traces.store, traces.store)
    yield "本期采样数据", f"{traces.samples} 行"
    yield "随包采样数据", f"{traces.extract.height} 行，{told_period(plant, traces.extract_period, 'zh')}"
    yield "台账审批", _approval(contents)
    yield "对照的评分细则", "\n".join(f"{one.rubric.id}：{one.rubric.title}" for one in contents.assessments)


def _approval(contents: Contents) -> str:
    approval = contents.case.approval
    if approval is None:
        return "台账的当前内容未经审批，或审批之后文件又有改动"
    at = approval.approved_at.astimezone(contents.plant.zone)
    return f"{approval.approved_by}，{at:%Y-%m-%d %H:%M}" + (f"，{approval.note}" if approval.note else "")


def _rules(plant: Plant) -> Iterator[tuple[str, str]]:
    yield "设备联网", f"计划时间内有效数据占比不低于 {plant.networking.evidenced_share:.0%}"
    yield "关键工序数控化", f"{_NC[plant.nc_rule]}（nc_rule={plant.nc_rule}）"
    yield "设备综合利用率的分母", f"{_DIVIDED[plant.utilization]}（utilization={plant.utilization}）"
    yield "折标准煤系数", plant.coal_factors
    yield "电力二氧化碳排放因子", plant.co2_factors
    yield "状态为“不确定”的采样", _YES_NO[plant.uncertain]
    yield "小停机", f"短于 {plant.micro_stop / NS_PER_SECOND:g} 秒的停机"
    yield "启动损失", f"换型后 {plant.startup / NS_PER_SECOND:g} 秒内的不合格品"
    yield "需量周期", f"{plant.demand_interval / NS_PER_SECOND:g} 秒"
    yield "修约", "按精确分数计算，结果四舍五入一次；单元格中保留计算值，显示两位小数的百分数"

"""What the code says of indicators and rules in English alone, in both languages."""

from collections.abc import Mapping

from kpis.indicators.base import Indicator
from kpis.indicators.said import Lang, Said

_DEVICES = Said(
    "N is all production equipment of the register that is not excluded and is in use on the period's last production "
    "day; meters and other equipment that produces nothing do not count",
    "分母为台账中的全部生产设备：不含注明原因剔除的设备，也不含期末生产日未在用的设备；非生产设备不计入",
)

DENOMINATORS: Mapping[str, Said] = {
    "equipment_networking_rate": _DEVICES,
    "equipment_connected_rate": _DEVICES,
    "equipment_connectable_rate": _DEVICES,
    "equipment_digitalization_rate": _DEVICES,
    "digital_production_equipment_rate": _DEVICES,
    "key_equipment_nc_rate": Said(
        "N is the key equipment among the production equipment that counts", "分母为计入的生产设备中登记为关键设备者"
    ),
    "key_process_nc_rate": Said(
        "N is the key processes: those of the register of processes, or else those that devices name; processes are "
        "counted, never machines",
        "分母为关键工序数：有工序台账的以工序台账为准，否则取设备台账中登记的关键工序；按工序计数，不按设备计数",
    ),
    "apc_rate": Said(
        "N is the planned operation time of the loops' devices in which the point of role apc was known",
        "分母为各回路所在设备计划运行时间中投用状态已知的时间",
    ),
    "oee": Said(
        "N is planned busy time: planned operation time without planned down time, as far as the state is known; n "
        "holds good pieces made in breaks and outside shifts too",
        "分母为计划工作时间：计划运行时间扣除计划停机，只取状态已知的部分；分子包括休息与班外时间产出的合格品",
    ),
    "equipment_utilization_rate": Said(
        "N is planned operation time in which the state is known, or calendar time by the plant's rule",
        "分母为状态已知的计划运行时间；按企业规则也可取日历时间",
    ),
    "product_nonconforming_rate": Said("N is all pieces counted in known time", "分母为状态已知时间内的全部产量"),
    "product_qualified_rate": Said(
        "each month's denominator is the pieces counted in it; N is the number of months with pieces",
        "各月分母为当月产量；平均时分母为有产量的月份数",
    ),
    "production_efficiency": Said(
        "N is the machines' planned operation time in which the state is known [h]; n holds pieces made in breaks and "
        "outside shifts too",
        "分母为各设备状态已知的计划运行时间 [h]；分子包括休息与班外时间产出的合格品",
    ),
}
"""What stands in N, by indicator; of others the formula says it."""

NOT_THIS: Mapping[str, str] = {
    "equipment_networking_rate": "分母不是数字化设备，而是全部生产设备；也不是已配置地址的设备占比",
    "equipment_connected_rate": "不是设备联网率：期间内应答过一次即计入，用于看清设备在哪一步掉队",
    "equipment_connectable_rate": "不是设备联网率：表中有地址不等于已联网，用于看清设备在哪一步掉队",
    "equipment_digitalization_rate": "不是设备联网率：数字化设备不一定联网；数字化设备的认定文件未作规定，以台账为准",
    "digital_production_equipment_rate": "出自另一份文件且未给出定义，按本产品的理解与设备数字化率取数相同",
    "key_equipment_nc_rate": "不是关键工序数控化率：按设备计数，不按工序计数",
    "key_process_nc_rate": "不是关键设备数控化率：按工序计数，不按设备计数",
    "apc_rate": "不是自控率：不考察回路是否处于自动状态；也不是回路个数占比，各回路按时间计入",
    "oee": "不是设备综合利用率；对产线而言也不是瓶颈设备的 OEE",
    "equipment_utilization_rate": "不是 OEE：不含节拍与质量因素；也不是文件所要求的“提升”幅度本身",
    "product_nonconforming_rate": "不是成品不良率：经三台设备计数的工件计三次",
    "product_qualified_rate": "不是全期合格率：各月权重相同；不是成品合格率",
    "production_efficiency": "不是全员劳动生产率：各类产品件数相加，除以设备工时",
    "comprehensive_energy": "不是全部表计读数之和：下级表计重复计量进厂表计的用量；水不是能源",
    "energy_per_output_value": "不是单位增加值能耗；未另行说明时产值按当年价格计",
    "energy_per_100_yuan_revenue": "不是单位产值综合能耗；评测采信的是上年度与前年度相比的变化",
    "energy_per_piece": "不是单位合格品能耗；经过多台设备的工件，只有以填报产量计算时才计一次",
    "electricity_per_piece": "只含电力，不是单位产品综合能耗",
    "co2_emissions": "不是全厂排放量：不含燃料、工艺过程排放与绿电",
    "co2_per_output_value": "只含用电排放，不同排放因子之间不可比",
    "water_reuse_rate": "不是中水回用比例：水每经过一次工序即计一次重复利用",
    "solid_waste_use_rate": "不含危险废物；综合利用量包含利用往年贮存量",
    "revenue_per_head": "不是人均产值",
    "cost_per_100_yuan_revenue": "不是百元营业收入费用：销售、管理、财务费用不属于营业成本",
    "labour_productivity": "不是统计口径的全员劳动生产率（以增加值计），此处以产值计",
    "operating_cost_per_output_value": "不是单位营业收入成本",
    "digital_investment_share": "不是三个年度占比的平均；成立不满三年的企业，成立前年度按 0 填报",
    "product_qualified_rate_declared": "不是由设备计数得出的合格率（product_qualified_rate）",
}
"""What an indicator is often taken for and is not, in Chinese."""

_SOURCES = (
    (
        "; it gives no formula: by our reading the counts of 设备数字化率",
        "（未给出公式，按本产品理解与设备数字化率取数相同）",
    ),
    ("; it names this KPI and gives no formula", "（列出该指标，未给出公式）"),
    ("; it names the KPI's rise and gives no formula", "（列出其提升幅度，未给出公式）"),
    ("; it names the KPI's fall and gives no formula", "（列出其下降幅度，未给出公式）"),
    ("; it names it and gives no formula", "（列出该指标，未给出公式）"),
    (" names it and gives no formula", "（列出该指标，未给出公式）"),
    (" names it without a formula", "（列出该指标，未给出公式）"),
    ("; the formula: 两化融合 statistics, secondary sources", "；公式：两化融合统计口径（转引）"),
    (" names it; the formula: ", " 列出该指标；公式："),
    (" names it; formula of water-saving statistics (secondary)", " 列出该指标；公式：节水统计口径（转引）"),
    (" names it; formula of environmental statistics (secondary)", " 列出该指标；公式：环境统计口径（转引）"),
    ("PlantProof; no official indicator", "PlantProof 自定义，非官方指标"),
    ("common use; the compendium has no such name", "通行用法，文件汇编中没有该名称"),
    (" of the year and scope of the plant's co2_factors", "（年份与范围见企业所选排放因子）"),
    ("; 关键工序: ", "；关键工序："),
    (", 9.2.4 OEE index", "，9.2.4 OEE 指数"),
)


def source(of: Indicator, lang: Lang) -> str:
    """Return the document that defines an indicator."""
    told = of.source
    for en, zh in _SOURCES if lang == "zh" else ():
        told = told.replace(en, zh)
    return told


def not_this(of: Indicator, lang: Lang) -> str:
    """Return what an indicator is often taken for and is not."""
    return NOT_THIS.get(of.id, of.not_this) if lang == "zh" else of.not_this


RULES_ZH: Mapping[int, str] = {
    1: "同一时刻有多条数据时，以最后收到的一条为准",
    3: "有效数据保持到下一条数据为止，最长不超过 max_hold；其余时间为未知",
    5: "计划运行时间为各班次时间扣除班内休息",
    6: "每一时刻只属于一个时间要素；状态映射表未列的状态为未知",
    7: "原始状态按文本在状态映射表中查找",
    8: "增量为相邻两条有效数据之差，按时间在两者之间分摊",
    10: "读数下降时，按模数（modulus）判断合理的为翻转，否则为清零；超过 max_rate 的增量不予计入",
    11: "数据中断前后的增量予以保留，并在中断期间内分摊",
    12: "事件记在增量结束的那条数据上",
    13: "缺少的计数由其他计数推算",
    14: "落在未知时间内的产量单独列出",
    15: "比率只按已知时间计算；上下限分别将未知时间视为有效产出与损失",
    16: "数量类指标保留全部增量，包括中断期间的增量",
    17: "分组数值由各设备之和计算",
    18: "分母为零时没有数值；大于 1 的比率照实保留",
    19: "需量为按企业时钟划分的完整需量周期内的能耗",
    20: "工作模式与订单可改变由状态得出的时间要素",
    21: "停机按其完整时长判断，计在其首个计划时刻所在处",
    22: "没有状态点时，时间要素由计数节奏推断",
    23: "换型后短时间内的不合格品计为启动不合格品",
    24: "先进过程控制只在其点位已知时计入",
    25: "计数器是否清零以设备自身上报为准",
    26: "更换计数器时，按旧表末次读数与新表首次读数计",
}
"""The rules of docs/kpi-rules.md by number, in Chinese."""

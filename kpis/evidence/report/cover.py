"""The first page: whose figures, of when, what stands behind them, and what that proves."""

from kpis.evidence.layout import SIGNATURE
from kpis.evidence.report.model import Block, Cell, Facts, Mark, Section, Steps, View
from kpis.evidence.report.numbers import DASH, amount, instant, share
from kpis.indicators.view import told_devices, told_period


def cover(view: View) -> Section:
    """Return whose figures these are, of which period, and what is behind them."""
    say = view.say
    proof = Section(anchor="proof", title=say("What this proves, and what it does not", "能证明什么，不能证明什么"),
                    blocks=_proof(view))  # fmt: skip
    return Section(anchor="about", title=say("About this report", "报告说明"), blocks=(Facts(_facts(view)),),
                   parts=(proof,))  # fmt: skip


def _facts(view: View) -> list[tuple[str, Cell]]:
    say, plant, contents = view.say, view.plant, view.contents
    asked, traces = contents.asked, contents.traces
    before = DASH if asked.before is None else told_period(plant, asked.before, view.lang)
    kind = {"discrete": say("discrete industry", "离散行业"), "process": say("process industry", "流程行业")}
    rows: list[tuple[str, Cell]] = [
        (say("Plant", "企业（工厂）"), f"{plant.name or plant.id} ({plant.id}), {kind[plant.kind]}"),
        (say("Period", "统计期间"), told_period(plant, asked.period, view.lang)),
        (say("Compared with", "对比期间"), before),
        (say("Time zone; production day starts", "时区；生产日起始"), f"{plant.timezone}; {plant.day_start:%H:%M}"),
        (say("Data from", "数据来源"), _store(view)),
        (say("Samples", "采样数据"), say(f"{traces.samples:,} rows of {len(plant.points):,} points",
                                     f"{traces.samples:,} 行，{len(plant.points):,} 个采集点")),
        (say("Coverage", "数据覆盖"), _coverage(view)),
        (say("Registers approved by", "台账审批"), _approval(view)),
    ]  # fmt: skip
    told = told_devices(contents.now, view.lang)
    return [*rows, *((say("Devices", "设备判定"), line) for line in told)]


def _store(view: View) -> str:
    names = {"lake": view.say("Parquet lake of the plant", "本厂原始数据库（Parquet 文件）"), "influxdb": "InfluxDB"}
    return names.get(view.contents.traces.store, view.contents.traces.store)


def _coverage(view: View) -> str:
    """Return the part of all counted devices' planned time in which they were known."""
    counting = view.contents.now.devices.filter("counted")
    planned, known = (int(counting[name].sum()) for name in ("planned_ns", "evidenced_ns"))
    if not planned:
        return DASH
    hour = 3600 * 10**9
    told = f"{share(known / planned)} ({amount(known / hour, 1)} h / {amount(planned / hour, 1)} h)"
    zh = told.replace(" (", "（").replace(")", "）")
    return view.say(
        f"{told} of the planned time of {counting.height} devices that count is known",
        f"{zh}，即 {counting.height} 台计入设备的计划运行时间中数据已知的部分",
    )


def _approval(view: View) -> Cell:
    found = view.contents.case.approval
    if found is None:
        return Mark(view.say("nobody approved the registers as they are", "台账的当前内容未经审批"), "no")
    when = instant(view.plant, found.approved_at)
    note = f"; {found.note}" if found.note else ""
    return f"{found.approved_by}, {when}{note}"


def _proof(view: View) -> list[Block]:
    say = view.say
    proven = [
        say("Every figure follows from the facts, registers and declared values in this package: whoever holds it "
            "computes the same figures again with: plantproof evidence verify.",
            "每一个数值都由本证据包内的事实数据、台账和填报数据计算得出；"
            "持有证据包者用 plantproof evidence verify 可重新算出同一结果。"),
        say("The facts of the extract's time follow from the samples inside; the hash of each point and day in "
            "partitions.csv ties all other samples to the plant's store.",
            "采样时段的事实数据可由包内采样数据重新算出；"
            "partitions.csv 中逐日逐点的校验值使其余采样数据可与本厂存储逐一核对。"),
        say(f"A signature ({SIGNATURE}), where there is one, says which key stood for these bytes.",
            f"附有签名（{SIGNATURE}）时，说明由哪一把密钥对这些内容负责。"),
    ]  # fmt: skip
    unproven = [
        say("That a PLC measured rightly, that a sensor was where the register says, or that nobody wrote to the store "
            "before the package was built.",
            "不能证明 PLC 测得准确、传感器安装位置与台账一致，也不能证明建包之前无人改动存储。"),
        say("Declared values: they are the word of who declared them; only the bytes of their attachments are fixed.",
            "填报数据以填报人所述为准；本包只固定其附件的内容，不证明其真实。"),
        say("Time for which there are no data: it is unknown, neither run nor stop; bounds say how much it matters.",
            "没有数据的时间按“未知”处理，既不算运行也不算停机；其影响以上下限给出。"),
        say("A grade: whoever assesses the plant decides. The rubric pages say where each item stands.",
            "不构成等级结论，等级由评估方认定；评分细则各页仅说明逐项状态。"),
    ]  # fmt: skip
    return [Steps(proven, say("Proven", "可以证明"), "plain"), Steps(unproven, say("Not proven", "不能证明"), "plain")]

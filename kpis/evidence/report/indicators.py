"""The page of each indicator: what it is by which text, the calculation in numbers, who and what is behind it."""

from collections.abc import Sequence
from fractions import Fraction

from config.rubrics import Item
from kpis.evidence.report import about, calculation, cells, terms, trend
from kpis.evidence.report.model import Block, Cell, Facts, Mark, Quote, Section, Steps, Table, Text, Value, View
from kpis.evidence.report.numbers import DASH, amount, in_unit, share, steps
from kpis.indicators.base import Figure, Input, Member, rounded
from kpis.indicators.energy_tables import EnergyTable
from kpis.indicators.input_names import ORIGINS, input_name, unit_name
from kpis.indicators.rubrics.result import STATUSES
from kpis.indicators.view import told_period

COMPENDIUM = "jiangsu-policy-compendium-2025.txt"


def pages(view: View) -> Section:
    """Return a section with a page for each indicator of the plant."""
    found = [one for one in view.contents.figures if one.subject == view.plant.id]
    title = view.say("Indicators one by one", "指标明细")
    return Section(anchor="indicators", title=title, parts=[page(view, one) for one in found],
                   own_page=True)  # fmt: skip


def page(view: View, one: Figure) -> Section:
    """Return the page of one indicator of the plant."""
    told = (_definition, calculation.blocks, _comparison, trend.blocks, _members, _groups, _inputs, _tables, _assessed,
            _missing)  # fmt: skip
    blocks = [_value(view, one), *(block for part in told for block in part(view, one))]
    return Section(anchor=f"i-{one.indicator.id}", title=cells.name(view, one), blocks=blocks)


def _value(view: View, one: Figure) -> Value:
    say = view.say
    beside = [
        (f"n / N{cells.counted_in(view, one)}", cells.counts(one)),
        (say("period", "统计期间"), told_period(view.plant, (one.start, one.end), view.lang)),
        (say("data coverage", "数据覆盖"), cells.coverage(one)),
        (say("bounds for unknown time", "未知时间的上下限"), _bounds(view, one)),
        (say("rule", "规则"), one.rule),
        (say("stands on", "数据来源"), cells.origin(view, one)),
    ]
    return Value(cells.value(view, one), beside)


def _bounds(view: View, one: Figure) -> str:
    """Return low and high of the KPI of the same id, which takes the same assets; a dash where there is none."""
    kpis = view.contents.kpis
    same = kpis.filter((kpis["kpi"] == one.indicator.id) & (kpis["subject"] == one.subject))
    if same.is_empty():
        return DASH
    row = same.row(0, named=True)
    if row["low"] is None or row["high"] is None or row["value"] is None:
        return DASH
    return f"{in_unit(row['low'], row['unit'])} … {in_unit(row['high'], row['unit'])}"


def _definition(view: View, one: Figure) -> list[Block]:
    of, say = one.indicator, view.say
    lines = [(words, say(f"{COMPENDIUM}, line {line}", f"{COMPENDIUM} 第 {line} 行")) for line, words in of.cites]
    ours = say("no text has a wording: PlantProof's definition", "文件中没有原文，采用 PlantProof 的定义")
    quote = Quote(lines or [(say(of.formula, of.formula_zh), ours)])
    rows: list[tuple[str, Cell]] = [
        (say("official name", "指标名称（原文）"), of.title_zh),
        (say("id", "编号"), f"{of.id}@{of.version}"),
        (say("document", "依据文件"), about.source(of, view.lang)),
        (say("formula", "计算公式"), say(of.formula, of.formula_zh)),
        (say("denominator", "分母口径"), _denominator(view, one)),
        (say("the plant's rule", "企业适用规则"), one.amount.rule or DASH),
        (say("evidence", "证据类别"), f"{of.evidence}: {view.of(terms.CLASSES[of.evidence])}"),
        (say("proven by", "证明方式"), say(of.proof, of.proof_zh)),
        (say("what it is not", "易混淆之处"), about.not_this(of, view.lang)),
    ]
    return [quote, Facts(rows)]


def _denominator(view: View, one: Figure) -> str:
    found = about.DENOMINATORS.get(one.indicator.id)
    if found is not None:
        return view.of(found)
    if one.indicator.id in ("comprehensive_energy", "co2_emissions"):
        return view.say("none: it is an amount", "无分母（绝对量）")
    return view.say("as the formula has it", "见计算公式")


def _comparison(view: View, one: Figure) -> list[Block]:
    key, say = f"{one.subject} {one.indicator.id}", view.say
    if key in view.contents.incomparable:
        told = view.of(view.contents.incomparable[key])
        return [Text(say("Not compared: ", "不作对比：") + told, "missing")]
    found = cells.compared(view, one)
    if found is None:
        return []
    sides = ((say("before", "上期"), found.before), (say("now", "本期"), found.after))
    rows: list[list[Cell]] = [
        [label, told_period(view.plant, (of.start, of.end), view.lang), cells.value(view, of), cells.counts(of),
         cells.coverage(of), of.rule]
        for label, of in sides
    ]  # fmt: skip
    directions = {"better": say("better", "向好"), "worse": say("worse", "变差"), "same": say("same", "持平")}
    change = cells.change(view, found)
    way = directions.get(found.direction, "")
    note = say("change: ", "变化：") + change + (f" ({way})" if way and found.direction != "same" else "")
    heads = ["", say("period", "期间"), say("value", "数值"), "n / N", say("coverage", "数据覆盖"), say("rule", "规则")]
    return [Table(title=say("Against the period before", "与对比期比较"), heads=heads, rows=rows,
                  numeric=frozenset({2, 3, 4}), note=note)]  # fmt: skip


def _members(view: View, one: Figure) -> list[Block]:
    members = one.amount.members
    if not members:
        return []
    say = view.say
    inside = [member for member in members if member.counted]
    met = sum(member.met for member in inside)
    note = say(
        f"{len(members)} rows: {len(inside)} count, {met} of them are met; {len(members) - len(inside)} do not count.",
        f"共 {len(members)} 行：计入 {len(inside)} 行，其中满足 {met} 行；不计入 {len(members) - len(inside)} 行。",
    )
    timed = one.indicator.id in trend.OF_TIME
    if timed:
        note = say(
            f"{len(members)} rows: {len(inside)} count; {len(members) - len(inside)} do not.",
            f"共 {len(members)} 行：计入 {len(inside)} 行；不计入 {len(members) - len(inside)} 行。",
        )
    titles = {
        "key_process_nc_rate": say("Processes behind n and N", "分子分母对应的工序"),
        "apc_rate": say("Loops behind n and N", "分子分母对应的控制回路"),
    }
    title = titles.get(one.indicator.id, say("Devices behind n and N", "分子分母对应的设备"))
    rows: list[list[Cell]] = [[str(no), member.id, member.name, _member(view, member, timed=timed),
                               view.of(member.reason)] for no, member in enumerate(members, 1)]  # fmt: skip
    heads = [say("no.", "序号"), say("id", "编号"), say("name", "名称"), say("counts", "是否计入"), say("why", "原因")]
    return [Table(title=title, heads=heads, rows=rows, numeric=frozenset({0}), note=note, small=True)]


def _member(view: View, member: Member, *, timed: bool) -> Mark:
    """Return whether a member counts; timed: where its time or pieces count, none is met or not."""
    if not member.counted:
        return Mark(view.say("not counted", "不计入"), "off")
    if timed:
        return Mark(view.say("counts (n, N)", "计入（n、N）"), "yes")
    return Mark(view.say("met (n, N)", "满足（n、N）"), "yes") if member.met else Mark(
        view.say("not met (N)", "不满足（N）"), "no"
    )  # fmt: skip


def _groups(view: View, one: Figure) -> list[Block]:
    found = [f for f in view.contents.figures if f.indicator.id == one.indicator.id and f.subject != view.plant.id]
    if not found:
        return []
    say = view.say
    rows = [[f.subject, cells.value(view, f), cells.counts(f), cells.coverage(f), f.rule] for f in found]
    heads = [say("group", "分组"), say("value", "数值"), "n / N", say("coverage", "数据覆盖"), say("rule", "规则")]
    return [Table(title=say("By group", "各产线（分组）"), heads=heads, rows=rows, numeric=frozenset({1, 2, 3}))]


def _inputs(view: View, one: Figure) -> list[Block]:
    inputs = one.amount.inputs
    if not inputs:
        return []
    say = view.say
    rows = [[input_name(of.name, view.lang), amount(of.value, 6), _unit_of(view, of), _origin_of(view, of),
             of.period or DASH, _who(of), _attached(of), share(of.coverage)] for of in inputs]  # fmt: skip
    heads = [
        say("input", "输入量"),
        say("value", "数值"),
        say("unit", "单位"),
        say("origin", "来源"),
        say("period", "期间"),
        say("declared by, on", "填报人、日期"),
        say("attachment, SHA-256", "附件、SHA-256"),
        say("coverage", "覆盖"),
    ]
    return [Table(title=say("Inputs", "输入数据"), heads=heads, rows=rows, numeric=frozenset({1, 7}), small=True)]


def _unit_of(view: View, of: Input) -> str:
    return "[1]" if of.unit == "1" else f"[{unit_name(of.unit, view.lang)}]"


def _origin_of(view: View, of: Input) -> str:
    told = view.of(ORIGINS[of.origin])
    return told + view.say(" (beside; does not count)", "（仅列示，不计入）") if of.beside else told


def _who(of: Input) -> str:
    return ", ".join(str(each) for each in (of.declared_by, of.declared_at) if each) or DASH


def _attached(of: Input) -> str:
    return " ".join(each for each in (of.attachment, of.attachment_sha256) if each) or DASH


def _tables(view: View, one: Figure) -> list[Block]:
    if one.indicator.id != "comprehensive_energy":
        return []
    return [energy_table(view, table) for table in view.contents.energy_tables if table.rows]


def energy_table(view: View, of: EnergyTable) -> Table:
    """Return table 205-1 or 205-2, without the columns that nothing is said of."""
    told = [n for n in range(len(of.columns)) if any(row[n] not in (None, "") for row in of.rows)]
    heads = [f"{of.columns[n].number} {of.columns[n].title}" for n in told]
    rows = [[_cell(row[n]) for n in told] for row in of.rows]
    numeric = frozenset(k for k, n in enumerate(told) if any(isinstance(row[n], Fraction) for row in of.rows))
    title = view.say(f"Table {of.id}", f"{of.id} 表")
    note = view.say(f"Coefficients: {of.rule}; columns that nothing is said of are left out.",
                    f"折标系数：{of.rule}；没有数据的列略去。")  # fmt: skip
    return Table(title=title, heads=heads, rows=rows, numeric=numeric, note=note, small=True)


def _cell(of: str | Fraction | None) -> str:
    return steps(Fraction(rounded(of, 6))) if isinstance(of, Fraction) else of or DASH


def _assessed(view: View, one: Figure) -> list[Block]:
    """Return where the rubrics asked for take this indicator."""
    rows: list[list[Cell]] = []
    for held in view.contents.assessments:
        for item in held.items:
            if isinstance(item.of, Item) and item.of.indicator == one.indicator.id:
                scored = DASH if item.points is None else f"{amount(item.points, 2)} / {amount(item.most, 2)}"
                where = f"{held.rubric.title} {item.of.number} {item.of.title} (L{item.of.line})"
                rows.append([where, Mark(view.of(STATUSES[item.status]), item.status.replace(" ", "-")), scored])
    if not rows:
        return []
    say = view.say
    heads = [say("rubric and item", "评分细则与题号"), say("status", "评定状态"), say("points", "得分")]
    return [Table(title=say("Where it is asked for", "用于哪些评分项"), heads=heads, rows=rows, numeric=frozenset({2}))]


def _missing(view: View, one: Figure) -> list[Block]:
    say, blocks = view.say, list[Block]()
    flags: Sequence[str] = [terms.flag(flag, view.lang) for flag in one.amount.flags]
    if flags:
        blocks.append(Steps(flags, say("What a reader must know", "需要说明的情况"), "plain"))
    open_ones = [] if one.refused is None else [view.of(one.refused)]
    open_ones += [view.of(said) for said in one.amount.missing]
    for held in view.contents.assessments:
        for item in held.items:
            if getattr(item.of, "indicator", "") == one.indicator.id:
                open_ones += [view.of(said) for said in item.missing]
    title = say("What is missing, and the next step", "还缺什么、下一步")
    nothing = [say("Nothing.", "无。")]
    return [*blocks, Steps(list(dict.fromkeys(open_ones)) or nothing, title, "missing" if open_ones else "plain")]

"""One item of a questionnaire against figures, findings and the plant's answer.

The data decide where they can: an answer that says more than they show does not count, and an item is never called
better proven than what stands behind it.
"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from config.registers import Answer
from config.rubrics import Item
from kpis.indicators.base import Figure, Input, plain
from kpis.indicators.comparison import Comparison
from kpis.indicators.declared import name_zh
from kpis.indicators.rubrics.answers import Unanswered, options
from kpis.indicators.rubrics.gaps import to_next_band
from kpis.indicators.rubrics.result import Assessed, Case, Status
from kpis.indicators.rubrics.scoring import band, points, score, weight
from kpis.indicators.said import Said

_STEPS = {"up": {"down": 1, "same": 2, "up": 3}, "down": {"up": 1, "same": 2, "down": 3}}
"""Better direction -> how the figure went -> number of the option, from the worse to the better."""


def assess(case: Case, item: Item, answer: Answer | None) -> Assessed:
    """Return where an item stands; raises ScoreError where the answer cannot be taken."""
    if item.indicator and item.change:
        found = _by_change(case, item)
    elif item.indicator:
        found = _by_figure(case, item)
    else:
        return _scored(_by_options(case, item, answer))
    if found.chosen:
        return _scored(_beside(found, answer))
    return _scored(_declared(item, answer, found))


def _scored(found: Assessed) -> Assessed:
    item = found.of
    if not isinstance(item, Item):
        return found
    if not found.chosen:
        return replace(found, most=weight(item))
    reached = score(item, found.chosen)
    return replace(found, score=reached, points=points(item, reached), most=weight(item))


def _by_figure(case: Case, item: Item) -> Assessed:
    figure = case.figures.get(item.indicator)
    if figure is None or figure.value is None:
        return Assessed(of=item, status="not assessable", figure=figure, missing=lacking(item, figure))
    status, missing = standing(case, item, [figure])
    chosen = (band(item.options, figure.value),)
    gap, notes = to_next_band(item, figure), asked_for(case, item, [figure])
    return Assessed(of=item, status=status, chosen=chosen, figure=figure, missing=missing, gap=gap, notes=notes)


def _by_change(case: Case, item: Item) -> Assessed:
    compared, notes = _to_compare(case, item)
    figure = case.figures.get(item.indicator)
    if compared is None or compared.change is None:
        missing = [*lacking(item, figure), *_before(case, item, compared)]
        return Assessed(of=item, status="not assessable", figure=figure, comparison=compared, missing=missing)
    status, missing = standing(case, item, [compared.before, compared.after])
    chosen = (_STEPS[item.change][compared.change],)
    notes = [*notes, *asked_for(case, item, [compared.before, compared.after])]
    return Assessed(of=item, status=status, chosen=chosen, figure=compared.after, comparison=compared, missing=missing,
                    notes=notes)  # fmt: skip


def _to_compare(case: Case, item: Item) -> tuple[Comparison | None, list[Said]]:
    """Return the comparison that answers an item: the declared one where data cover too little of either period."""
    first, other = case.comparisons.get(item.indicator), case.comparisons.get(item.otherwise)
    enough = case.grounds.plant.networking.evidenced_share
    if other is None or other.change is None:
        return first, []
    if first is not None and first.change is not None:
        covered = min(figure.amount.coverage or 0 for figure in (first.before, first.after))
        if covered >= enough:
            return first, []
        en = f"data cover {covered:.2%} of a period, less than {enough:.0%} (evidenced_share): declared amounts count"
        return other, [Said(en, f"采集数据仅覆盖某一期的 {covered:.2%}，低于 {enough:.0%}，以填报数据为准")]
    return other, []


def asked_for(case: Case, item: Item, figures: Sequence[Figure]) -> list[Said]:
    """Return the amounts that an item asks for beside its option, of one period or of two."""
    found = []
    for name in item.asks:
        known = case.comparisons.get(name)
        if known is not None:
            of, values = known.after.indicator, [known.before.value, known.after.value]
            found.append(_amounts(of.title, of.title_zh, [(value, of.unit) for value in values]))
            continue
        of_name = [one for figure in figures for one in figure.amount.inputs if one.name.partition(" (")[0] == name]
        if of_name:
            found.append(_amounts(name, name_zh(name), [(one.value, one.unit) for one in of_name]))
    return found


def _amounts(name: str, in_chinese: str, amounts: Sequence[tuple[Fraction | None, str]]) -> Said:
    told = " → ".join(_amount(value, unit) for value, unit in amounts)
    return Said(f"{name}: {told}", f"{in_chinese}：{told}")


def _amount(value: Fraction | None, unit: str) -> str:
    # Forms ask for money in units of 10,000 yuan.
    ten_thousands = unit == "元" and value is not None
    exact = value / 10_000 if ten_thousands and value is not None else value
    return f"{plain(exact)} {'万元' if ten_thousands else unit}"


def _by_options(case: Case, item: Item, answer: Answer | None) -> Assessed:
    """Return an item whose options are declared, and proven one by one as far as findings go."""
    proven = [n for n, option in enumerate(item.options, 1) if option.proof and case.findings[option.proof].holds]
    notes = [case.findings[item.options[n - 1].proof].told for n in proven]
    if answer is None:
        if not proven or item.answer != "multiple":
            return Assessed(of=item, status="not assessable", missing=[no_answer(item)])
        return Assessed(of=item, status="proven", chosen=tuple(proven), notes=notes, missing=[_more_answers(item)])
    asked = options(item, answer)
    score(item, asked)
    chosen = tuple(sorted({*asked, *proven} - ({1} if proven else set())))
    halves = [item.options[n - 1].partial for n in chosen if item.options[n - 1].partial]
    held = [case.findings[name] for name in halves if case.findings[name].holds]
    status: Status = "declared"
    if proven and set(chosen) <= set(proven):
        status = "proven"
    elif proven or held:
        status = "partly proven"
    notes += [finding.told for finding in held]
    missing = [*_unproven(case, item, chosen), *_attached(item, answer, proven)]
    return Assessed(of=item, status=status, chosen=chosen, answer=answer, notes=notes, missing=missing)


def _unproven(case: Case, item: Item, chosen: Sequence[int]) -> list[Said]:
    """Return what the data do not show of the options that they could."""
    names = [item.options[n - 1].proof for n in chosen if item.options[n - 1].proof]
    return [case.findings[name].told for name in names if not case.findings[name].holds]


def _beside(found: Assessed, answer: Answer | None) -> Assessed:
    """Return an item that the data answer, with the plant's own answer beside it."""
    if answer is None or not isinstance(found.of, Item):
        return found
    own = options(found.of, answer)
    score(found.of, own)
    if own == found.chosen:
        return replace(found, answer=answer)
    en = f"option {_numbers(own)} is declared, the data show option {_numbers(found.chosen)}: the data count"
    zh = f"申报选项 {_numbers(own)}，数据显示为选项 {_numbers(found.chosen)}，以数据为准"
    return replace(found, answer=answer, notes=[*found.notes, Said(en, zh)])


def _declared(item: Item, answer: Answer | None, found: Assessed) -> Assessed:
    """Return an item that the data cannot answer, by the plant's own word."""
    if answer is None:
        return replace(found, missing=[*found.missing, no_answer(item)])
    chosen = options(item, answer)
    score(item, chosen)
    missing = [*found.missing, *_attached(item, answer, [])]
    return replace(found, status="declared", chosen=chosen, answer=answer, missing=missing)


def standing(case: Case, item: Item, figures: Sequence[Figure]) -> tuple[Status, list[Said]]:
    """Return by whose word figures stand, and what is missing to prove them."""
    inputs = [one for figure in figures for one in figure.amount.inputs if not one.beside]
    declared = [one for one in inputs if one.origin == "declared"]
    missing = [_to_measure(declared)] if declared else []
    if declared and len(declared) == len(inputs):
        return "declared", missing
    if item.evidence == "a" and case.approval is None:
        missing.append(NOT_APPROVED)
    measured = [one.coverage for one in inputs if one.coverage is not None]
    missing += [_patchy(min(measured), max(measured))] if measured and min(measured) < 1 else []
    flags = [flag for figure in figures for flag in figure.amount.flags]
    missing += [_half(flag) for flag in flags if flag.startswith("proven=") and not _whole(flag)]
    missing += [_imported(flag) for flag in flags if flag.startswith("without_address=")]
    missing += [REGISTER_ALONE] if inputs and all(one.origin == "register" for one in inputs) else []
    return ("partly proven" if missing else "proven"), missing


NOT_APPROVED = Said(
    "nobody approved the registers as they are; approve them with: plantproof register approve PLANT --by NAME",
    "台账的当前内容未经审批，或审批之后文件又有改动；请执行：plantproof register approve PLANT --by 姓名",
)


REGISTER_ALONE = Said("the register alone says so: no data enter it", "仅凭台账，没有采集数据佐证")


def _imported(flag: str) -> Said:
    count = flag.partition("=")[2]
    return Said(
        f"{count} of them have no address in the point table: their data came from files, not over a network",
        f"其中 {count} 台在采集点表中没有地址，数据来自导入文件，不能证明联网",
    )


def _to_measure(declared: Sequence[Input]) -> Said:
    """Return who declared what of which periods, and the next step."""
    names = dict.fromkeys(
        one.name.partition(" (")[0] for one in declared
    )  # rows that a sum is made of say their period
    who, when = (list(dict.fromkeys(words)) for words in
                 ([one.declared_by for one in declared], [one.period for one in declared]))  # fmt: skip
    en = f"declared by {', '.join(who)} for {', '.join(when)}: {', '.join(names)}"
    zh = f"{'、'.join(map(name_zh, names))}（{'、'.join(when)}）由{'、'.join(who)}填报"
    if all(one.attachment for one in declared):
        return Said(en, zh)
    if any("." in name for name in names):  # quantities of a medium, consumption.electricity: a meter can tell them
        return Said(f"{en}; meter it, or attach what shows it", f"{zh}；请接入计量，或附证明材料")
    return Said(f"{en}; attach what shows it", f"{zh}；请附证明材料")


def _patchy(least: float, most: float) -> Said:
    low, high = f"{least * 100:.2f}", f"{most * 100:.2f}"
    en, zh = (f"{low} %", f"{low} %") if low == high else (f"{low} to {high} %", f"{low}～{high} %")
    return Said(f"data cover {en} of the time that is asked for", f"采集数据只覆盖统计时间的 {zh}")


def _whole(flag: str) -> bool:
    shown, _, count = flag.partition("=")[2].partition("/")
    return shown == count


def _half(flag: str) -> Said:
    count = flag.partition("=")[2]
    return Said(
        f"{count} of them are shown by their data, the others by the register alone",
        f"其中由采集数据证实 {count} 台，其余仅凭台账",
    )


def lacking(item: Item, figure: Figure | None) -> list[Said]:
    """Return why an item's indicator has no value."""
    if figure is None:
        en = f"{item.indicator} could not be computed: the registers or the point table have nothing for it"
        return [Said(en, f"无法计算“{item.title}”：台账或采集点表中没有相应内容")]
    if figure.refused is not None:
        return [figure.refused]
    return list(figure.amount.missing)


def _before(case: Case, item: Item, compared: Comparison | None) -> list[Said]:
    if item.indicator in case.incomparable:
        return [case.incomparable[item.indicator]]
    if compared is None:
        return [Said("there is no figure of the period before", "没有上一期的数值")]
    return list(compared.before.amount.missing)


def no_answer(item: Item) -> Said:
    """Return what to do where nobody answered."""
    return Unanswered(
        f"no answer is declared; add a row with item {item.id} to answers.csv",
        f"未填报答案；请在 answers.csv 中增加题号为 {item.id} 的一行",
    )


def _more_answers(item: Item) -> Said:
    return Said(
        f"only what the data prove is counted; declare further options of {item.id} in answers.csv",
        f"仅计入数据可证实的选项；其他选项请在 answers.csv 中以题号 {item.id} 填报",
    )


def _attached(item: Item, answer: Answer, proven: Sequence[int]) -> list[Said]:
    if answer.attachment or proven:
        return []
    return [Said(f"the answer to {item.id} has no attachment", f"{item.id} 未附证明材料")]


def _numbers(chosen: Sequence[int]) -> str:
    return "+".join(str(one) for one in chosen)

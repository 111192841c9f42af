"""Rubrics item by item: status, what counts, points, citation, what is missing, and how far the next band is."""

from collections.abc import Sequence

from config.rubrics import Condition, Item, Scene
from kpis.evidence.report.model import Block, Cell, Mark, Section, Steps, Table, Text, View
from kpis.evidence.report.numbers import DASH, amount
from kpis.evidence.workbook.form import SME, of_years
from kpis.indicators.rubrics import view as told
from kpis.indicators.rubrics.result import STATUSES, Aim, Assessed, Assessment, Reached
from kpis.indicators.rubrics.view import gap_line, value_of
from kpis.indicators.view import told_period


def pages(view: View) -> Section:
    """Return a page for each rubric asked for, and the targets."""
    parts = [_page(view, held) for held in view.contents.assessments]
    title = view.say("Rubrics", "评分细则对照")
    return Section(anchor="rubrics", title=title, parts=[*parts, _targets(view)], own_page=True)


def _page(view: View, held: Assessment) -> Section:
    say = view.say
    name = say(f"{held.rubric.title} {held.rubric.title_en}", held.rubric.title)
    blocks: list[Block] = [Text(_about(view, held), "note")]
    if held.rubric.id == SME and not of_years(view.contents):
        blocks.append(Text(_no_years(view), "missing"))
    blocks += [Steps(told.summary(held, view.lang), "", "plain")] if told.summary(held, view.lang) else []
    blocks += [_statuses(view, held)] if held.items or held.scenes else []
    if held.faults:
        blocks.append(Steps(list(held.faults), say("Answers that could not be taken", "未能采信的答案"), "missing"))
    gaps = [line.replace("\n    ", "; ") for line in told.gap_lines(held, view.lang)]
    if gaps:
        blocks.append(Steps(gaps, say("What is missing to the next band", "距下一档的差距"), "plain"))
    if held.items:
        blocks.append(_items(view, held))
    if held.scenes:
        blocks.append(_scenes(view, held))
    plain = [one for one in held.grades if not one.conditions]
    blocks += [_levels(view, plain)] if plain else []
    blocks += [_grade(view, one) for one in held.grades if one.conditions]
    return Section(anchor=f"r-{held.rubric.id}", title=name, blocks=blocks, own_page=True)


def _about(view: View, held: Assessment) -> str:
    span = told_period(view.plant, view.contents.asked.period, view.lang)
    number = f"{held.rubric.number}; " if held.rubric.number else ""
    return view.say(
        f"{number}period: {span}; lines L: {held.rubric.text_file}.",
        f"{number.replace('; ', '；')}统计期间：{span}；原文行号 L 见 {held.rubric.text_file}。",
    )


def _no_years(view: View) -> str:
    return view.say(
        "The text asks for the last calendar year and the one before. The periods of this package are not these: items "
        "12, 14 and 15 say how the package's periods compare, and their points cannot be taken as they are.",
        "注意：原文的“上年”“前年”为自然年度，本包期间不是前后相接的两个完整年度；第 12、14、15 "
        "题按本包期间与对比期计算，其得分不可直接采用。",
    )


def _statuses(view: View, held: Assessment) -> Table:
    """Return how many items and points each status stands for."""
    say, rows = view.say, list[Sequence[Cell]]()
    listed = [*held.items, *held.scenes]
    for status, said in STATUSES.items():
        count = sum(one.status == status for one in listed)
        points = None if held.by_status is None else held.by_status.get(status)
        rows.append([Mark(view.of(said), status.replace(" ", "-")), f"{count} / {len(listed)}",
                     DASH if points is None else amount(points, 2)])  # fmt: skip
    heads = [say("status", "评定状态"), say("items", "项数"), say("points", "分值")]
    note = say("Of what is not assessable, the points are what it could give.", "“暂不能评定”一行为其可得的最高分。")
    return Table(heads=heads, rows=rows, numeric=frozenset({1, 2}), note=note if held.by_status is not None else "")


def _items(view: View, held: Assessment) -> Table:
    say = view.say
    rows: list[Sequence[Cell]] = []
    for one in held.items:
        of = one.of
        if isinstance(of, Item):
            cells: list[Cell] = [str(of.number), f"{_title(view, of)}\nL{of.line}", _counts(view, one)]
            rows.append([*cells, _points(one), _status(view, one), _why(view, one)])
    heads = [
        say("no.", "题号"),
        say("item, line", "采集项、原文行号"),
        say("what counts", "采信结果"),
        say("points", "得分"),
        say("status", "评定状态"),
        say("on what grounds; what is missing (✗)", "依据；还缺什么（✗）"),
    ]
    return Table(title=say("Items", "逐项"), heads=heads, rows=rows, numeric=frozenset({3}), small=True)


def _title(view: View, of: Item | Scene) -> str:
    return of.title if view.lang == "zh" else f"{of.title} {of.title_en}"


def _status(view: View, one: Assessed) -> Mark:
    return Mark(view.of(STATUSES[one.status]), one.status.replace(" ", "-"))


def _points(one: Assessed) -> str:
    if one.points is not None and one.most is not None:
        return f"{amount(one.points, 2)} / {amount(one.most, 2)}"
    if one.score is not None:
        return amount(one.score, 2)
    return DASH if one.most is None else f"{DASH} / {amount(one.most, 2)}"


def _counts(view: View, one: Assessed) -> str:
    """Return the options that count in the text's words, and the figure with its n/N."""
    of, lines = one.of, list[str]()
    if isinstance(of, Item):
        for n in one.chosen:
            lines.append(f"{n}. {of.options[n - 1].text}")
    elif isinstance(of, Scene):
        lines += [view.say(f"level {n}", f"{n} 级") for n in one.chosen]
    if one.comparison is not None:
        lines.append(f"{value_of(one.comparison.before)} → {value_of(one.comparison.after)}")
    elif one.figure is not None and one.figure.value is not None:
        lines.append(value_of(one.figure))
    if one.answer is not None and not one.chosen and one.met is None:
        lines.append(one.answer.answer)
    return "\n".join(lines) or DASH


def _why(view: View, one: Assessed) -> str:
    say, lines = view.say, list[str]()
    if one.answer is not None:
        lines.append(say(f"declared by {one.answer.declared_by}, {one.answer.declared_at}",
                         f"{one.answer.declared_by} {one.answer.declared_at} 填报"))  # fmt: skip
        if one.answer.attachment:
            digest = one.answer.attachment_sha256[:16]
            lines.append(
                say("attachment: ", "证明材料：") + one.answer.attachment + (f" (SHA-256 {digest}…)" if digest else "")
            )
    if one.figure is not None:
        covered = one.figure.amount.coverage
        lines.append(say("rule: ", "规则：") + one.figure.rule)
        if covered is not None:
            lines.append(say("coverage: ", "数据覆盖：") + f"{amount(covered * 100, 2)} %")
    lines += [view.of(said) for said in one.notes]
    lines += ["✗ " + view.of(said) for said in one.missing]
    return "\n".join(dict.fromkeys(lines)) or DASH


def _scenes(view: View, held: Assessment) -> Table:
    say = view.say
    rows: list[Sequence[Cell]] = []
    for one in held.scenes:
        of = one.of
        if isinstance(of, Scene):
            star = say(" (binding)", "（约束性）") if of.binding else ""
            rows.append(
                [
                    str(of.number),
                    f"{_title(view, of)}{star}\nL{of.line}",
                    _counts(view, one),
                    _status(view, one),
                    _why(view, one),
                ]
            )
    heads = [
        say("no.", "序号"),
        say("scene, line", "场景、原文行号"),
        say("level", "等级"),
        say("status", "评定状态"),
        say("on what grounds; what is missing (✗)", "依据；还缺什么（✗）"),
    ]
    return Table(title=say("Scenes", "场景"), heads=heads, rows=rows, small=True)


def _levels(view: View, found: Sequence[Reached]) -> Table:
    """Return levels that points and scenes decide."""
    say = view.say
    rows = [[_grade_name(view, one), _holds(view, one.points), _holds(view, one.scenes),
             say("; ", "；").join(view.of(said) for said in one.lacking) or DASH] for one in found]  # fmt: skip
    heads = [say("level, line", "等级、原文行号"), say("points", "得分"), say("scenes", "场景"), say("lacks", "还差")]
    return Table(title=say("Levels", "等级"), heads=heads, rows=rows, small=True)


def _holds(view: View, is_so: bool | None) -> Cell:
    if is_so is None:
        return DASH
    return Mark(view.say("enough", "达到"), "yes") if is_so else Mark(view.say("not enough", "未达到"), "no")


def _grade_name(view: View, one: Reached) -> str:
    return f"{view.say(f'{one.grade.title} {one.grade.title_en}', one.grade.title)} (L{one.grade.line})"


def _grade(view: View, one: Reached) -> Table:
    """Return a grade: whether it is reached by each condition, and what it lacks."""
    say = view.say
    rows: list[Sequence[Cell]] = []
    for held in one.conditions:
        if isinstance(held.of, Condition):
            mark = {True: Mark(say("holds", "满足"), "yes"), False: Mark(say("does not hold", "不满足"), "no")}
            met = (
                mark[held.met] if held.met is not None else Mark(say("nobody's word yet", "尚无依据"), "not-assessable")
            )
            rows.append([f"{held.of.text}\nL{held.of.line}", met, _status(view, held), _why(view, held)])
    lacking = say(f"; {len(one.lacking)} conditions lack something", f"，还差 {len(one.lacking)} 项条件")
    title = _grade_name(view, one) + (lacking if one.lacking else "")
    heads = [
        say("condition, line", "条件、原文行号"),
        say("holds", "是否满足"),
        say("status", "评定状态"),
        say("grounds; missing (✗)", "依据；还缺什么（✗）"),
    ]
    return Table(title=title, heads=heads, rows=rows, small=True)


def _targets(view: View) -> Section:
    say = view.say
    rows = [_aim(view, one) for one in view.contents.targets.aims]
    heads = [
        say("target", "目标"),
        say("year", "年份"),
        say("line", "原文行号"),
        say("to reach", "目标值"),
        say("plant", "本厂"),
        say("what reaches it", "差距"),
    ]
    span = told_period(view.plant, view.contents.asked.period, view.lang)
    note = say(
        f"Period: {span}. A target is reached where it is met exactly.", f"统计期间：{span}。等于目标值即为达到。"
    )
    table = Table(heads=heads, rows=rows, numeric=frozenset({3}), small=True, note=note)
    return Section(anchor="targets", title=say("Targets", "政策目标对照"), blocks=[table])


def _aim(view: View, one: Aim) -> list[Cell]:
    of = one.target
    second = view.say(" (secondary source)", "（转引）") if of.secondary else ""
    gap = "" if one.gap is None else gap_line("", one.gap, view.lang).lstrip(": ：").replace("\n    ", "; ")
    where = f"L{of.line}" + (f" ({of.text_file})" if of.text_file else "")
    rule = f"\n{one.figure.rule}" if one.figure is not None else ""
    return [
        view.say(of.title_en, of.title) + second,
        str(of.year),
        where,
        f"{of.percent:f} %",
        value_of(one.figure) + rule,
        gap or DASH,
    ]

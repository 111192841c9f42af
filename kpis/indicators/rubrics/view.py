"""An assessment as tables on a terminal, in English or Chinese; official names stay as the text has them."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Literal

from rich.table import Table

from config.registers import Answer
from config.rubrics import Condition, Item, Scene
from kpis.indicators.base import Figure, counts_members, percent, plain, rounded
from kpis.indicators.rubrics.result import STATUSES, Aim, Assessed, Assessment, Gap, Reached, Status
from kpis.indicators.said import Lang, Said

HEADS = {
    "no": Said("no.", "序号"),
    "item": Said("item", "采集项"),
    "scene": Said("scene", "场景"),
    "kpi": Said("key figure", "关键绩效指标"),
    "answer": Said("what counts", "采信结果"),
    "points": Said("points", "得分"),
    "level": Said("level", "等级"),
    "status": Said("status", "评定状态"),
    "why": Said("on what grounds; what is missing", "依据；还缺什么"),
    "grade": Said("grade", "等级"),
    "value": Said("value", "数值"),
    "before": Said("before → now", "上期 → 本期"),
    "reached": Said("reached", "达到"),
    "lacking": Said("lacking", "差距"),
    "target": Said("target", "目标"),
    "gap": Said("what reaches it", "达标差距"),
}
YES_NO = {True: Said("yes", "是"), False: Said("no", "否"), None: Said("–", "–")}
_MOST_WORDS = 40
_MOST_CANDIDATES = 5
_MOST_LACKING = 3


def tables(found: Assessment, lang: Lang) -> list[Table]:
    """Return an assessment's tables: items, scenes, grades, targets, as far as the rubric has them."""
    shown = []
    if found.items:
        shown.append(_kpis(found, lang) if found.rubric.kind == "kpis" else _items(found, lang))
    if found.scenes:
        shown.append(_scenes(found, lang))
    if found.grades:
        shown.append(_grades(found, lang))
    if found.aims:
        shown.append(_aims(found.aims, lang))
    return shown


def title(found: Assessment, lang: Lang) -> str:
    """Return the rubric's official name and number, and the text whose lines are cited."""
    name = found.rubric.title if lang == "zh" else f"{found.rubric.title_en} ({found.rubric.title})"
    text = Said(f" (lines L: {found.rubric.text_file})", f"（原文行号见 {found.rubric.text_file}）").into(lang)
    return f"{name} {found.rubric.number}".rstrip() + text


def summary(found: Assessment, lang: Lang) -> list[str]:
    """Return the whole in a few lines: points, by whose word, the grade, and what the next one lacks."""
    lines = []
    if found.total is not None and found.most is not None:
        lines.append(_points(found.total, found.most, lang))
    if found.by_status is not None:
        lines.append(_by_status(found.by_status, lang))
    if found.grades:
        none = Said("none", "无等级")
        name = none.into(lang) if found.grade is None else found.grade.title
        lines.append(Said("grade reached: ", "达到等级：").into(lang) + name)
        lines += _next(found, lang)
    return lines


def gap_lines(found: Assessment, lang: Lang) -> list[str]:
    """Return what is missing to the next band of each item that counts devices, processes or loops."""
    return [
        gap_line(one.figure.indicator.title_zh if lang == "zh" else one.figure.indicator.title, one.gap, lang)
        for one in found.items
        if one.gap is not None and one.figure is not None
    ]


def gap_line(name: str, gap: Gap, lang: Lang) -> str:
    """Return a gap in words: how many more, which share that is, what it adds; below it the nearest ones by name."""
    now, then = _share(gap.numerator, gap.denominator), _share(gap.needed, gap.denominator)
    edge = f"{gap.percent.numerator / gap.percent.denominator:g} %"
    if gap.more == 0:
        en, zh = f"{name}: {now}; {edge} is reached", f"{name}：{now}，已达到 {edge}"
    elif gap.needed > gap.denominator:
        en, zh = f"{name}: {now}; {edge} cannot be passed", f"{name}：{now}，无法超过 {edge}"
    else:
        one = gap.more == 1
        verb = Said("reaches" if one else "reach", "达到")
        if not gap.inclusive:
            verb = Said("exceeds" if one else "exceed", "超过")
        en = f"{name}: {now}; {gap.more} more {verb.en} {edge} ({then})"
        zh = f"{name}：{now}；再增加 {gap.more} 个即可{verb.zh} {edge}（{then}）"
    if gap.points is not None and gap.more:
        en, zh = f"{en}, +{_plain(gap.points)} points", f"{zh}，加 {_plain(gap.points)} 分"
    open_ones = [one.into(lang) for one in gap.candidates[:_MOST_CANDIDATES]]
    rest = len(gap.candidates) - _MOST_CANDIDATES
    open_ones += [Said(f"{rest} more", f"另有 {rest} 个").into(lang)] if rest > 0 else []
    return "\n    ".join([Said(en, zh).into(lang), *(open_ones if gap.more else [])])


def _points(total: Fraction, most: Fraction, lang: Lang) -> str:
    if total == most:
        return Said(f"points: {_plain(total)}", f"得分：{_plain(total)}").into(lang)
    en = f"points: {_plain(total)}, up to {_plain(most)} with what cannot be assessed yet"
    return Said(en, f"得分：{_plain(total)}；暂不能评定的项目补齐后最高 {_plain(most)}").into(lang)


def _by_status(of: Mapping[Status, Fraction], lang: Lang) -> str:
    """Return on whose word the points stand; what cannot be assessed is none of them."""
    told = {status: f"{STATUSES[status].into(lang)} {_plain(points)}" for status, points in of.items()}
    left = told.pop("not assessable")
    line = Said("of these: ", "其中：").into(lang) + Said(", ", "，").into(lang).join(told.values())
    return f"{line}{Said('; besides: ', '；另有').into(lang)}{left}" if of["not assessable"] else line


def _next(found: Assessment, lang: Lang) -> list[str]:
    number = 0 if found.grade is None else found.grade.number
    following = next((one for one in found.grades if one.grade.number == number + 1), None)
    if following is None or not following.lacking:
        return []
    told = [said.into(lang) for said in following.lacking]
    rest = len(told) - _MOST_LACKING
    if rest > 0:
        told = [*told[:_MOST_LACKING], Said(f"{rest} more, see the table", f"另有 {rest} 项，见下表").into(lang)]
    lacking = Said("; ", "；").into(lang).join(told)
    return [Said(f"{following.grade.title} lacks: {lacking}", f"距{following.grade.title}还差：{lacking}").into(lang)]


def _items(found: Assessment, lang: Lang) -> Table:
    shown = _table(lang, "no", "item", "answer", "points", "status", "why")
    for one in found.items:
        if isinstance(one.of, Item):
            shown.add_row(str(one.of.number), _name(one.of, lang), _answer(one, lang), _score(one), _status(one, lang),
                          _why(one, lang))  # fmt: skip
    return shown


def _scenes(found: Assessment, lang: Lang) -> Table:
    shown = _table(lang, "no", "scene", "level", "status", "why")
    for one in found.scenes:
        if isinstance(one.of, Scene):
            star = "*" if one.of.binding else ""
            level = str(one.chosen[0]) if one.chosen else "–"
            shown.add_row(str(one.of.number), _name(one.of, lang) + star, level, _status(one, lang), _why(one, lang))
    return shown


def _kpis(found: Assessment, lang: Lang) -> Table:
    shown = _table(lang, "no", "kpi", "value", "before", "status", "why")
    for one in found.items:
        if isinstance(one.of, Item):
            value = one.answer.answer if one.answer and not _has_value(one) else value_of(one.figure)
            shown.add_row(str(one.of.number), _name(one.of, lang), value, _change(one), _status(one, lang),
                          _why(one, lang))  # fmt: skip
    return shown


def _has_value(one: Assessed) -> bool:
    return one.figure is not None and one.figure.value is not None


def _grades(found: Assessment, lang: Lang) -> Table:
    shown = _table(lang, "grade", "reached", "lacking")
    for one in found.grades:
        met = [f"✓ {_condition(held, lang)}" for held in one.conditions if held.met]
        lacking = [f"✗ {said.into(lang)}" if one.conditions else said.into(lang) for said in one.lacking]
        shown.add_row(one.grade.title, YES_NO[_holds(one)].into(lang), "\n".join([*met, *lacking]))
    return shown


def _condition(one: Assessed, lang: Lang) -> str:
    """Return a condition that is met, with who says so."""
    words = one.of.text if len(one.of.text) <= _MOST_WORDS else f"{one.of.text[: _MOST_WORDS - 1]}…"
    who = "" if one.answer is None else f"{one.answer.declared_by} {one.answer.declared_at}"
    return f"{words}{Said(f' ({who})', f'（{who}）').into(lang)}" if who else words


def _holds(one: Reached) -> bool:
    if one.conditions:
        return all(held.met for held in one.conditions if not (isinstance(held.of, Condition) and held.of.advised))
    return bool(one.points) and bool(one.scenes)


def _aims(aims: Sequence[Aim], lang: Lang) -> Table:
    shown = _table(lang, "target", "value", "gap")
    for one in aims:
        name = one.target.title if lang == "zh" else one.target.title_en
        name += Said(" (secondary source)", "（转引）").into(lang) if one.target.secondary else ""
        gap = "" if one.gap is None else gap_line("", one.gap, lang).lstrip(": ：")
        shown.add_row(f"{name} {one.target.percent:f} % ({one.target.year})", value_of(one.figure), gap)
    return shown


def value_of(figure: Figure | None) -> str:
    """Return a figure's value as people read it: a share in percent with n/N, an amount with its unit."""
    if figure is None or figure.value is None:
        return "–"
    if figure.indicator.unit != "1":
        return f"{plain(rounded_fraction(figure.value))} {figure.indicator.unit}"
    n, total = figure.amount.numerator, figure.amount.denominator
    counted = f" ({n}/{total})" if counts_members(figure) else ""
    return f"{percent(figure.value)} %{counted}"


def rounded_fraction(value: Fraction, digits: int = 4) -> Fraction:
    """Return a value rounded once for print, half up."""
    return Fraction(rounded(value, digits))


def _change(one: Assessed) -> str:
    compared = one.comparison
    if compared is None or compared.before.value is None or compared.after.value is None:
        return ""
    return f"{value_of(compared.before)} → {value_of(compared.after)}"


def _name(thing: Item | Scene | Condition, lang: Lang) -> str:
    if isinstance(thing, Condition):
        return thing.text
    return thing.title if lang == "zh" else f"{thing.title} {thing.title_en}"


def _answer(one: Assessed, lang: Lang) -> str:
    if not isinstance(one.of, Item):
        return ""
    told = value_of(one.figure) if one.figure is not None and one.comparison is None else _change(one)
    if one.answer is not None and not one.chosen:
        told = one.answer.answer
    texts = [one.of.options[n - 1].text for n in one.chosen]
    words = Said("; ", "；").into(lang).join(text if len(text) <= 40 else f"{text[:39]}…" for text in texts)
    if words and one.points is None:  # an index gives no points: its options are levels
        words = Said(f"level {one.chosen[0]}: ", f"第{one.chosen[0]}级：").into(lang) + words
    return f"{words}\n{told}".strip() if told not in ("", "–") else words


def _score(one: Assessed) -> str:
    if one.points is not None and one.most is not None:
        return f"{_plain(one.points)}/{_plain(one.most)}"
    if one.score is not None:
        return _plain(one.score)
    return "–" if one.most is None else f"–/{_plain(one.most)}"


def _status(one: Assessed, lang: Lang) -> str:
    return STATUSES[one.status].into(lang)


def _why(one: Assessed, lang: Lang) -> str:
    cited = Said(f"L{one.of.line}", f"原文第 {one.of.line} 行").into(lang)
    who = [] if one.answer is None else [_declared(one.answer, lang)]
    rule = [] if one.figure is None else [Said("rule: ", "规则：").into(lang) + one.figure.rule]
    cross = Said("✗ ", "✗").into(lang)  # without a space Chinese text is not broken after the cross
    return "\n".join(
        [cited, *who, *rule, *_texts(one.notes, lang), *(cross + text for text in _texts(one.missing, lang))]
    )


def _declared(answer: Answer, lang: Lang) -> str:
    shown = (
        f"; {answer.attachment}" if answer.attachment else "",
        f"，证明材料：{answer.attachment}" if answer.attachment else "",
    )
    who = f"{answer.declared_by} {answer.declared_at}"
    return Said(f"declared by {who}{shown[0]}", f"{who} 填报{shown[1]}").into(lang)


def _texts(said: Iterable[Said], lang: Lang) -> list[str]:
    return list(dict.fromkeys(one.into(lang) for one in said))


def _share(n: int, total: int) -> str:
    return f"{n}/{total} = {percent(Fraction(n, total))} %"


def _plain(value: Fraction) -> str:
    return plain(Fraction(rounded(value, 2)))


def _table(lang: Lang, *heads: str) -> Table:
    shown = Table(show_lines=True)
    for name in heads:
        narrow = name in ("no", "points", "level", "status", "reached")
        justify: Literal["left", "right"] = "right" if name == "points" else "left"
        shown.add_column(HEADS[name].into(lang), no_wrap=narrow, justify=justify, overflow="fold")
    return shown
